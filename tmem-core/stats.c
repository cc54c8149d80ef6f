/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.c - counters as snapshots.
 *
 * How:     counters live beside the lock under which the counted fact changes,
 *          so counting costs the data path no shared cache line.  A snapshot
 *          takes those locks in turn: each part is exact, the sum is of slightly
 *          different moments.  A *_max is the sum of the parts' own maxima: an
 *          upper bound of the true one.
 */
#include <errno.h>
#include <string.h>

#include "client.h"
#include "index.h"
#include "os.h"
#include "share.h"

void tmem_counters_add(struct tmem_counters *sum, const struct tmem_counters *n)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)n;
	size_t i;

	for (i = 0; i < TMEM_COUNTERS; i++)
		to[i] += from[i];
}

void tmem_pool_count(struct tmem_pool *p, struct tmem_counters *sum)
{
	unsigned i;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < TMEM_STRIPES; i++) {
		struct tmem_stripe *s = &p->stripe[i];

		tmem_lock(&s->lock);
		tmem_counters_add(sum, &s->count);
		tmem_unlock(&s->lock);
	}
}

int tmem_pool_info(struct tmem_client *c, unsigned id, struct tmem_pool_info *info)
{
	struct tmem_pool *p;

	if (!c || id >= TMEM_POOL_IDS || !info)
		return -EINVAL;
	tmem_lock(&c->lock);
	p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);
	if (p) {
		info->id = id;
		info->spec = p->spec;
		tmem_pool_count(p, &info->count);
	}
	tmem_unlock(&c->lock);
	return p ? 0 : -ENXIO;
}

static uint64_t store_bytes(struct tmem_client *c, enum tmem_kind kind)
{
	return (uint64_t)atomic_load_explicit(&c->store[kind].frames, memory_order_relaxed)
	       << c->host->arena.frame_shift;
}

/* Of a shared pool's counters a member has what is held, not what others did. */
static void keep_held(struct tmem_counters *n)
{
	*n = (struct tmem_counters){
		.pages = n->pages, .pages_max = n->pages_max,
		.objects = n->objects, .objects_max = n->objects_max,
		.bytes_stored = n->bytes_stored,
		.pages_same_filled = n->pages_same_filled, .pages_raw = n->pages_raw,
		.pages_deduped = n->pages_deduped,
	};
}

static void shared_count(struct tmem_client *c, struct tmem_counters *sum)
{
	uint64_t *to = (uint64_t *)sum;
	size_t i;

	for (i = 0; i < TMEM_COUNTERS; i++)
		to[i] += atomic_load_explicit(&c->shared[i], memory_order_relaxed);
}

void tmem_client_info(struct tmem_client *c, struct tmem_client_info *info)
{
	unsigned id, kind;

	memset(info, 0, sizeof(*info));
	memcpy(info->name, c->name, sizeof(info->name));
	info->frozen = atomic_load_explicit(&c->frozen, memory_order_relaxed);
	tmem_client_quota_get(c, &info->quota);
	info->share_permille = tmem_share_permille(c);
	tmem_lock(&c->lock);
	memcpy(info->kind, c->retired, sizeof(info->kind));
	for (id = 0; id < TMEM_POOL_IDS; id++) {
		struct tmem_pool *p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);
		struct tmem_counters n;

		if (!p)
			continue;
		info->pools++;
		tmem_pool_count(p, &n);
		if (p->spec.shared)
			keep_held(&n);
		tmem_counters_add(&info->kind[p->spec.kind], &n);
	}
	shared_count(c, &info->kind[TMEM_EPHEMERAL]);
	tmem_unlock(&c->lock);
	for (kind = 0; kind < TMEM_KINDS; kind++)
		info->kind[kind].bytes_physical = store_bytes(c, kind);
	tmem_lock(&c->store[TMEM_EPHEMERAL].lock);
	info->evicted_frames = c->store[TMEM_EPHEMERAL].emptied_frames;
	tmem_unlock(&c->store[TMEM_EPHEMERAL].lock);
}

static uint32_t bin_length_locked(struct tmem_store *s, unsigned segment, unsigned bin)
{
	struct tmem *t = s->client->host;
	uint32_t frame, n = 0;

	for (frame = s->bins[segment].head[bin]; frame; frame = tmem_frame(t, frame)->next)
		n++;
	return n;
}

static void zbud_info(struct tmem_store *s, struct tmem_store_info *info)
{
	unsigned i;

	tmem_lock(&s->lock);
	for (i = 0; i < TMEM_BINS; i++) {
		info->unbuddied[i] += bin_length_locked(s, TMEM_PROBATION, i) +
				      bin_length_locked(s, TMEM_PROTECTED, i);
		info->chunk_now[i] += s->count[i].now;
		info->chunk_cumulative[i] += s->count[i].ever;
	}
	info->frames_evicted += s->emptied_frames;
	info->frames_zbud += atomic_load_explicit(&s->frames, memory_order_relaxed);
	tmem_unlock(&s->lock);
}

static void zs_info(struct tmem_store *s, struct tmem_store_info *info)
{
	unsigned i;

	tmem_lock(&s->lock);
	for (i = 0; i < TMEM_BINS; i++) {
		info->zs_unfilled[i] += bin_length_locked(s, TMEM_PROBATION, i);
		info->zs_class_now[i] += s->count[i].now;
		info->zs_class_cumulative[i] += s->count[i].ever;
	}
	info->zs_free_bytes += s->free_chunks << s->client->host->arena.chunk_shift;
	info->zs_moved_pages += s->moved_pages;
	info->zs_emptied_frames += s->emptied_frames;
	info->frames_zs += atomic_load_explicit(&s->frames, memory_order_relaxed);
	tmem_unlock(&s->lock);
}

static int add_client(struct tmem_client *c, void *arg)
{
	zbud_info(&c->store[TMEM_EPHEMERAL], arg);
	zs_info(&c->store[TMEM_PERSISTENT], arg);
	return 0;
}

static int add_ephemeral(struct tmem_client *c, void *arg)
{
	struct tmem_use *use = arg;

	use->ephemeral += store_bytes(c, TMEM_EPHEMERAL);
	return 0;
}

void tmem_use_get(struct tmem *t, struct tmem_use *use)
{
	struct tmem_arena *a = &t->arena;

	*use = (struct tmem_use){ .arena = a->size };
	tmem_lock(&a->lock);
	use->free = (uint64_t)a->warm_frames << a->frame_shift;
	tmem_unlock(&a->lock);
	use->resident = tmem_os_resident(a->fd);
	tmem_client_each(t, add_ephemeral, use);
}

void tmem_store_info(struct tmem *t, struct tmem_store_info *info)
{
	struct tmem_arena *a = &t->arena;

	memset(info, 0, sizeof(*info));
	tmem_lock(&a->lock);
	info->frames = a->frames;
	info->frames_free = a->warm_frames;
	info->frames_returned = a->returned;
	info->bytes_metadata = a->high * sizeof(*a->frame) + a->high / 4;
	tmem_unlock(&a->lock);
	info->bytes_metadata += sizeof(*t) +
				atomic_load_explicit(&t->heap.bytes, memory_order_relaxed);
	info->failed_alloc = atomic_load_explicit(&t->heap.failed, memory_order_relaxed) +
			     atomic_load_explicit(&t->scratch.failed, memory_order_relaxed);
	info->bytes_resident = tmem_os_resident(a->fd);
	info->chunk_size = 1u << a->chunk_shift;
	info->chunks = TMEM_BINS;
	tmem_client_each(t, add_client, info);
}

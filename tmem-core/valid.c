/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * valid.c - the invariants of types.h, checked.
 *
 * How:     each part under its own lock, so that it may run beside operations;
 *          what only holds when all stand still is not asked.
 * Must not: change anything.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "op.h"
#include "store.h"

struct report {
	char *why;
	size_t size;
	bool ok;
};

static bool __attribute__((format(printf, 3, 4))) check(struct report *r, bool holds,
							const char *format, ...)
{
	va_list ap;

	if (holds || !r->ok)
		return holds;
	r->ok = false;
	if (!r->why || !r->size)
		return false;
	va_start(ap, format);
	vsnprintf(r->why, r->size, format, ap);
	va_end(ap);
	return false;
}

/* ---- index ------------------------------------------------------------------ */

static void check_object_locked(struct tmem_pool *p, uint32_t number, struct tmem_counters *sum,
				struct report *r)
{
	struct tmem *t = p->host;
	struct tmem_object *o = tmem_object(t, number);
	uint32_t at = 0, tag, n = 0;
	tmem_handle h;

	check(r, o->count && o->count <= o->capacity, "object %u: %u pages in %u entries", number,
	      o->count, o->capacity);
	while ((h = tmem_page_each(o, &at, &tag))) {
		struct tmem_page page;
		struct tmem_entry e;
		unsigned kind = tmem_frame(t, tmem_handle_frame(h))->kind;

		n++;
		tmem_page_read(t, h, &page);
		check(r, tmem_page_find_handle_locked(t, o, number, page.index, h, &e),
		      "object %u index %u: in the table, and not found", number, page.index);
		check(r, kind == TMEM_FRAME_STORE + (unsigned)p->spec.kind,
		      "object %u: page in a frame of kind %u", number, kind);
		check(r, page.object == number && (page.index & 0xffffff) == tag,
		      "object %u: slot says object %u index %u", number, page.object, page.index);
		check(r, tmem_info_plausible(t, kind, page.info), "object %u index %u: info %#x",
		      number, page.index, page.info);
		sum->bytes_stored += tmem_info_size(page.info);
		sum->bytes_physical += tmem_footprint(t, kind, tmem_info_size(page.info));
		sum->pages_same_filled += tmem_info_type(page.info) == TMEM_TYPE_SAME;
		sum->pages_raw += tmem_info_type(page.info) == TMEM_TYPE_RAW;
		sum->pages_deduped += tmem_info_type(page.info) == TMEM_TYPE_REF;
	}
	check(r, n == o->count, "object %u: %u entries, count %u", number, n, o->count);
	sum->pages += n;
	sum->objects++;
}

static void check_stripe(struct tmem_pool *p, struct tmem_stripe *s, struct report *r)
{
	struct tmem_counters sum = { 0 };
	uint32_t at = 0, number, hash;

	tmem_lock(&s->lock);
	while ((number = tmem_object_each(s, &at, UINT32_MAX, &hash))) {
		const struct tmem_object_record *o;
		struct tmem_where w;

		o = tmem_record(p->host, TMEM_TABLE_OBJECT, number);
		tmem_where(p, o->oid, 0, &w);
		check(r, tmem_object_find_locked(&w) == number,
		      "pool %u: object %u is in the table, and not found", p->number, number);
		check_object_locked(p, number, &sum, r);
	}
	check(r, sum.objects == s->used && s->used == s->count.objects,
	      "pool %u: %llu objects, count %llu", p->number, (unsigned long long)sum.objects, (unsigned long long)s->count.objects);
	check(r, sum.pages == s->count.pages, "pool %u: %llu pages, count %llu", p->number,
	      (unsigned long long)sum.pages, (unsigned long long)s->count.pages);
	check(r, sum.bytes_stored == s->count.bytes_stored &&
		 sum.bytes_physical == s->count.bytes_physical &&
		 sum.pages_same_filled == s->count.pages_same_filled &&
		 sum.pages_raw == s->count.pages_raw &&
		 sum.pages_deduped == s->count.pages_deduped,
	      "pool %u: bytes or kinds of pages miscounted", p->number);
	tmem_unlock(&s->lock);
}

/* ---- stores ------------------------------------------------------------------- */

static void check_frame_locked(struct tmem_store *s, uint32_t frame, struct report *r)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame), before = *f;

	check(r, f->kind == TMEM_FRAME_STORE + (unsigned)s->kind && f->owner == s->client->number,
	      "frame %u: kind %u owner %u", frame, f->kind, f->owner);
	check(r, f->used == tmem_frame_used_locked(t, frame), "frame %u: used %u", frame, f->used);
	check(r, f->used, "frame %u: empty, not given back", frame);
	check(r, tmem_frame_map_right_locked(t, frame), "frame %u: chunk map", frame);
	tmem_frame_measure_locked(t, frame);
	check(r, f->fit == before.fit && f->free == before.free, "frame %u: fit %u free %u", frame,
	      before.fit, before.free);
}

static void check_bins_locked(struct tmem_store *s, unsigned segment, struct report *r)
{
	struct tmem *t = s->client->host;
	struct tmem_bins *b = &s->bins[segment];
	unsigned i;

	for (i = 0; i < TMEM_BINS; i++) {
		uint32_t frame;

		for (frame = b->head[i]; frame; frame = tmem_frame(t, frame)->next)
			check(r, (tmem_frame(t, frame)->fit < TMEM_BINS - 1 ?
				  tmem_frame(t, frame)->fit : TMEM_BINS - 1) == i,
			      "frame %u: in bin %u, fit %u", frame, i, tmem_frame(t, frame)->fit);
		check(r, (b->some[i / 64] >> (i % 64) & 1) == (b->head[i] != 0), "bin %u: bit", i);
	}
}

static void check_store(struct tmem_store *s, struct report *r)
{
	struct tmem *t = s->client->host;
	uint32_t frame, n;
	unsigned i;

	tmem_lock(&s->lock);
	for (i = 0; i < TMEM_SEGMENTS; i++) {
		n = 0;
		for (frame = s->age[i].newest; frame; frame = tmem_frame(t, frame)->older, n++) {
			check_frame_locked(s, frame, r);
			check(r, tmem_frame(t, frame)->segment == i, "frame %u: segment", frame);
		}
		check(r, n == s->age[i].frames, "client %u: %u frames in segment %u, count %u",
		      s->client->number, n, i, s->age[i].frames);
		check_bins_locked(s, i, r);
	}
	tmem_unlock(&s->lock);
}

static int check_client(struct tmem_client *c, void *arg)
{
	struct report *r = arg;
	unsigned id, i;

	tmem_lock(&c->lock);
	for (id = 0; id < TMEM_POOL_IDS; id++) {
		struct tmem_pool *p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);

		for (i = 0; p && i < TMEM_STRIPES; i++)
			check_stripe(p, &p->stripe[i], r);
	}
	tmem_unlock(&c->lock);
	check_store(&c->store[TMEM_EPHEMERAL], r);
	check_store(&c->store[TMEM_PERSISTENT], r);
	return !r->ok;
}

bool tmem_is_valid(struct tmem *t, char *why, size_t why_size)
{
	struct report r = { why, why_size, true };

	if (!t)
		return false;
	tmem_client_each(t, check_client, &r);
	return r.ok;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * put.c - storing a page.
 *
 * How:     stage (test, compress, hash) and place (reserve a slot, copy) happen
 *          without a lock on the index; only then the stripe is taken, the slot
 *          committed, the entry swapped and the older page killed.  Whatever
 *          fails before that ends in put_refuse(), which removes the older page.
 * Must not: look at the caller's page after stage().
 */
#include <errno.h>
#include <string.h>

#include "codec.h"
#include "dedup.h"
#include "fault.h"
#include "ghost.h"
#include "op.h"
#include "share.h"
#include "store.h"

/* What is put: name and equal are dedup's, see store_ref(). */
struct tmem_put {
	const struct tmem_staged *staged;
	uint64_t tag;
	uint64_t name;				/* 0: not shared */
	const struct tmem_staged *equal;	/* staged refers to data equal to this */
};

#define COMPRESSED_MAX	(TMEM_PAGE_SIZE - TMEM_PAGE_SIZE / 8)	/* above: stored raw */
#define RAW_SLACK	256u	/* pages a client may always store raw */

/* From the start on: the compressor reads next what this brings into the cache. */
static bool same_filled(const uint64_t *word)
{
	size_t i;

	for (i = 1; i < TMEM_PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != word[0])
			return false;
	return true;
}

/*
 * May a page be stored raw?  It saves nothing.  Let them be a quarter of what the client holds of
 * that kind: more, and memory is spent that its own disk serves as well.  The host's
 * own pools are a disk.
 */
static bool raw_allowed(struct tmem_client *c, unsigned id, enum tmem_kind kind)
{
	uint64_t raw = atomic_load_explicit(&c->raw_pages[kind], memory_order_relaxed);
	uint64_t frames = atomic_load_explicit(&c->store[kind].frames, memory_order_relaxed);

	if (tmem_store_max(c->host) < TMEM_PAGE_SIZE)
		return false;
	if (id >= TMEM_MAX_POOLS)
		return true;
	return raw < RAW_SLACK + (frames << c->host->arena.frame_shift) / TMEM_PAGE_SIZE / 4;
}

/* Two buddies a frame cannot hold a raw page: there, all that fits is welcome. */
static uint32_t compressed_max(const struct tmem *t)
{
	uint32_t max = tmem_store_max(t);

	return max < TMEM_PAGE_SIZE ? max : COMPRESSED_MAX;
}

static int stage(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id, enum tmem_kind kind,
		 const void *page, struct tmem_staged *s)
{
	unsigned codec = atomic_load_explicit(&c->codec[kind], memory_order_relaxed);
	uint64_t first;

	TMEM_FAULT_PAGE(page);
	memcpy(&first, page, sizeof(first));
	if (same_filled(page)) {
		s->word = first;
		*s = (struct tmem_staged){ TMEM_TYPE_SAME, sizeof(s->word), &s->word, 0, first };
	} else {
		s->type = TMEM_TYPE_CODEC + codec;
		s->size = (uint32_t)tmem_codecs[codec].compress(ctx, page, ctx->out);
		s->data = ctx->out;
		if ((!s->size || s->size > COMPRESSED_MAX) && raw_allowed(c, id, kind)) {
			s->type = TMEM_TYPE_RAW;
			s->size = TMEM_PAGE_SIZE;
			s->data = page;
		} else if (!s->size || s->size > compressed_max(c->host)) {
			return -E2BIG;
		}
	}
	s->sum = tmem_data_sum(s->data, s->size);
	return 0;
}

/* Reserve a slot and copy the data in. */
static int place(struct tmem_client *c, enum tmem_kind kind, const struct tmem_staged *s,
		 uint32_t mark, tmem_handle *h)
{
	struct tmem *t = c->host;
	int err = tmem_store_alloc(c, kind, s->size, mark, h);
	uint32_t extent;

	if (err)
		return err;
	extent = atomic_load_explicit(&tmem_slot(t, *h)->index, memory_order_relaxed);
	TMEM_FAULT("put-reserved");
	memcpy(tmem_slot_data(t, *h, extent), s->data, s->size);
	TMEM_FAULT("put-placed");
	return 0;
}

/* The object of the key, made if need be, with room for one more page. */
static int object_get_locked(const struct tmem_where *w, uint32_t *number)
{
	struct tmem *t = w->pool->host;
	int err = 0;

	*number = tmem_object_find_locked(w);
	if (!*number)
		err = tmem_object_create_locked(w, number);
	if (err)
		return err;
	err = tmem_page_prepare_locked(t, tmem_object(t, *number));
	if (err && !tmem_object(t, *number)->count)
		tmem_object_drop_locked(w->pool, w->stripe, *number);
	return err;
}

/*
 * Make the page in h exist.  One that refers to data of another (equal) must
 * join its referrers: -ESTALE if that data has gone meanwhile.
 */
static int appear_locked(const struct tmem_where *w, const struct tmem_put *put, tmem_handle h,
			 uint32_t number, uint32_t seq)
{
	struct tmem *t = w->pool->host;

	tmem_page_commit(t, h, put->staged, number, w->index, put->tag, seq);
	if (!put->name)
		return 0;
	if (!put->equal) {
		tmem_dedup_add(t, put->name, h);
		return 0;
	}
	if (tmem_dedup_join(t, put->name, put->equal, h))
		return 0;
	tmem_page_kill(t, h);
	return -ESTALE;
}

/* The page is in place: let it be.  *old: the slot to free, or 0. */
static int publish_locked(struct tmem_client *c, const struct tmem_where *w, struct tmem_entry *e,
			  bool found, const struct tmem_put *put, tmem_handle h, tmem_handle *old)
{
	struct tmem *t = w->pool->host;
	struct tmem_page page, before;
	uint32_t seq = 0;
	int err;

	if (found) {
		tmem_page_read(t, e->handle, &before);
		seq = tmem_info_seq(before.info) + 1;
	}
	err = appear_locked(w, put, h, e->number, seq);
	if (err)
		return err;
	tmem_page_read(t, h, &page);
	tmem_count_add_locked(t, w->stripe, &page);
	TMEM_COUNT(c, w, puts, 1);
	TMEM_COUNT(c, w, puts_ok, 1);
	if (!found) {
		tmem_page_insert_locked(t, tmem_object(t, e->number), w->index, h);
		return 0;
	}
	*old = e->handle;
	TMEM_FAULT("put-committed");
	tmem_page_replace_locked(e, h);
	tmem_page_kill(t, *old);
	TMEM_FAULT("put-replaced");
	tmem_count_remove_locked(t, &w->stripe->count, &before);
	TMEM_COUNT(c, w, dup_puts, 1);
	TMEM_COUNT(c, w, dup_puts_replaced, 1);
	return 0;
}

static int commit(struct tmem_client *c, unsigned id, const struct tmem_where *w,
		  const struct tmem_put *put, tmem_handle h)
{
	struct tmem *t = c->host;
	tmem_handle old = 0;
	struct tmem_entry e;
	bool found;
	int err;

	do {
		if (!tmem_op_lock(c, id, w))
			return -ENXIO;
		found = tmem_op_find_locked(w, &e);
		err = found ? 0 : object_get_locked(w, &e.number);
		if (!err)
			err = publish_locked(c, w, &e, found, put, h, &old);
		if (err == -ESTALE && !found && !tmem_object(t, e.number)->count)
			tmem_object_drop_locked(w->pool, w->stripe, e.number);
		tmem_unlock(&w->stripe->lock);
		if (err == -EAGAIN)
			err = tmem_table_grow(t, TMEM_TABLE_OBJECT, w->hash) ? : -EAGAIN;
	} while (err == -EAGAIN);
	if (old)
		tmem_store_free(t, old, 0);
	return err;
}

/* Place and commit; on error nothing is left behind. */
static int store(struct tmem_client *c, unsigned id, const struct tmem_where *w,
		 const struct tmem_put *put)
{
	tmem_handle h;
	int err = place(c, tmem_where_kind(w), put->staged, w->mark, &h);

	if (err)
		return err;
	err = commit(c, id, w, put, h);
	if (err)
		tmem_store_free_slot(c->host, h, 0);
	return err;
}

/* Store a name in place of data that is there already.  -ESTALE: it is not. */
static int store_ref(struct tmem_client *c, unsigned id, const struct tmem_where *w,
		     const struct tmem_put *put)
{
	struct tmem_staged ref = {
		.type = TMEM_TYPE_REF, .size = sizeof(ref.word), .data = &ref.word, .word = put->name,
	};
	struct tmem_put as_ref = {
		.staged = &ref, .tag = put->tag, .name = put->name, .equal = put->staged,
	};

	if (!put->name || put->staged->size <= ref.size ||
	    !tmem_dedup_known(c->host, put->name, put->staged))
		return -ESTALE;
	ref.sum = tmem_data_sum(ref.data, ref.size);
	return store(c, id, w, &as_ref);
}

static void count_refusal(struct tmem_client *c, const struct tmem_where *w, int err)
{
	TMEM_COUNT(c, w, puts, 1);
	TMEM_COUNT(c, w, puts_refused_quota, err == -EDQUOT);
	TMEM_COUNT(c, w, puts_refused_pressure, err == -ENOSPC);
	TMEM_COUNT(c, w, puts_refused_frozen, err == -EROFS);
	TMEM_COUNT(c, w, puts_refused_incompressible, err == -E2BIG);
	TMEM_COUNT(c, w, puts_failed_nomem, err == -ENOMEM);
}

/* The put failed: unless keep, no older page may be read under its key. */
static int put_refuse(struct tmem_client *c, unsigned id, const struct tmem_where *w, bool keep,
		      int err)
{
	struct tmem_entry e;
	bool found;

	if (!tmem_op_lock(c, id, w))
		return err;
	found = tmem_op_find_locked(w, &e);
	count_refusal(c, w, err);
	TMEM_COUNT(c, w, dup_puts, found);
	found = found && !keep;
	TMEM_FAULT("put-refused");
	if (found)
		tmem_op_unlink_locked(w->pool, w->stripe, &e);
	TMEM_COUNT(c, w, put_to_flush, found);
	tmem_unlock(&w->stripe->lock);
	if (found)
		tmem_store_free(c->host, e.handle, 0);
	return err;
}

static int admit(struct tmem_client *c, enum tmem_kind kind)
{
	if (atomic_load_explicit(&c->frozen, memory_order_acquire))
		return -EROFS;
	return atomic_load_explicit(&c->host->accept[kind], memory_order_relaxed) ? 0 : -ENOSPC;
}

/* What is sure to be needed, while the page is compressed. */
static void fetch_ahead(const struct tmem_where *w, const struct tmem_store *s)
{
	__builtin_prefetch(w->stripe, 1);
	__builtin_prefetch(&w->stripe->count, 1);
	__builtin_prefetch(&w->stripe->count.puts, 1);
	__builtin_prefetch(&s->lock, 1);
	__builtin_prefetch(s->bins[TMEM_PROBATION].some);
	__builtin_prefetch(&s->age, 1);
	if (s->kind == TMEM_EPHEMERAL)
		tmem_ghost_prefetch(s, w->mark);
}

static int put_try(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id,
		   const struct tmem_where *w, const void *page, uint64_t tag)
{
	struct tmem_staged staged;
	struct tmem_put put = { .staged = &staged, .tag = tag };
	enum tmem_kind kind = tmem_where_kind(w);
	int err;

	fetch_ahead(w, &c->store[kind]);
	err = admit(c, kind);
	if (!err)
		err = stage(ctx, c, id, kind, page, &staged);
	if (err)
		return err;
	if (kind == TMEM_EPHEMERAL)
		put.name = tmem_dedup_name(c, &staged);
	err = store_ref(c, id, w, &put);
	if (err == -ESTALE)
		err = store(c, id, w, &put);
	if (!err && kind == TMEM_PERSISTENT)
		tmem_store_tidy(c);
	return err;
}

static int put(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id,
	       const struct tmem_key *key, const void *page, uint64_t tag, bool keep)
{
	struct tmem_where w;
	struct tmem_pool *p;
	int err;

	if (!ctx || !key || !page)
		return -EINVAL;
	err = tmem_op_begin(c, id, &p);
	if (err)
		return err;
	tmem_where(p, key->oid, key->index, &w);
	err = put_try(ctx, c, id, &w, page, tag);
	return err ? put_refuse(c, id, &w, keep, err) : 0;
}

int tmem_put(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id,
	     const struct tmem_key *key, const void *page, uint64_t tag)
{
	return put(ctx, c, id, key, page, tag, false);
}

int tmem_offer(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id,
	       const struct tmem_key *key, const void *page, uint64_t tag)
{
	return put(ctx, c, id, key, page, tag, true);
}

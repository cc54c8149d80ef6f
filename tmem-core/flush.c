/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flush.c - removing pages because somebody asked: a page, an object, a pool.
 *
 * How:     an object is taken out of its pool first, whole, under its stripe;
 *          its record in the arena dies with that one store.  Its slots are then
 *          killed and freed without the stripe: nobody can find them, eviction
 *          included.  The object's number is free only when no slot bears it.
 * Must not: hold a stripe for longer than one object takes to detach.
 */
#include <errno.h>
#include <string.h>

#include "op.h"
#include "fault.h"
#include "store.h"

int tmem_flush_page(struct tmem_client *c, unsigned id, const struct tmem_key *key)
{
	struct tmem_entry e;
	struct tmem_where w;
	struct tmem_pool *p;
	int err = key ? tmem_op_begin(c, id, &p) : -EINVAL;
	bool found;

	if (err)
		return err;
	tmem_where(p, key->oid, key->index, &w);
	if (!tmem_op_lock(c, id, &w))
		return -ENXIO;
	found = tmem_op_find_locked(&w, &e);
	if (found)
		tmem_op_unlink_locked(p, w.stripe, &e);
	TMEM_COUNT(c, &w, flushes, 1);
	TMEM_COUNT(c, &w, flushes_found, found);
	tmem_unlock(&w.stripe->lock);
	TMEM_FAULT("flush-killed");
	if (found)
		tmem_store_free(p->host, e.handle, 0);
	return found;
}

/*
 * Kill and free the pages of an object detached in that generation of s; takes what
 * goes from the counters.  Meanwhile the pool may be destroyed and its structure be
 * another pool's, whose account this is not.
 */
static void pages_drop(struct tmem *t, struct tmem_stripe *s, uint32_t number,
		       uint32_t generation)
{
	struct tmem_object *o = tmem_object(t, number);
	struct tmem_counters gone = { 0 };
	uint32_t at = 0, tag;
	tmem_handle h;

	while ((h = tmem_page_each(o, &at, &tag))) {
		struct tmem_page page;

		tmem_page_read(t, h, &page);
		tmem_page_kill(t, h);
		TMEM_FAULT("flush-object-page");
		tmem_lock(&s->lock);
		tmem_count_remove_locked(t, s->generation == generation ? &s->count : &gone,
					 &page);
		tmem_unlock(&s->lock);
		tmem_store_free(t, h, 0);
	}
	tmem_pages_free(t, o);
	tmem_record_free(t, TMEM_TABLE_OBJECT, number);
}

static uint64_t object_flush(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number,
			     uint32_t hash)
{
	uint64_t pages = tmem_object(p->host, number)->count;

	tmem_object_detach_locked(p, s, number, hash);
	return pages;
}

int tmem_flush_object(struct tmem_client *c, unsigned id, const uint64_t oid[3], uint64_t *pages)
{
	struct tmem_where w;
	struct tmem_pool *p;
	int err = oid ? tmem_op_begin(c, id, &p) : -EINVAL;
	uint32_t number, generation;
	uint64_t n = 0;

	if (err)
		return err;
	tmem_where(p, oid, 0, &w);
	if (!tmem_op_lock(c, id, &w))
		return -ENXIO;
	number = tmem_object_find_locked(&w);
	if (number)
		n = object_flush(p, w.stripe, number, w.hash);
	generation = w.stripe->generation;
	TMEM_COUNT(c, &w, object_flushes, 1);
	TMEM_COUNT(c, &w, object_flushes_found, number != 0);
	tmem_unlock(&w.stripe->lock);
	if (number)
		pages_drop(p->host, w.stripe, number, generation);
	if (pages)
		*pages = n;
	return 0;
}

uint64_t tmem_op_flush_stripe(struct tmem_pool *p, struct tmem_stripe *s)
{
	uint64_t pages = 0;

	for (;;) {
		uint32_t i = 0, number = 0, generation;
		uint64_t slot;

		tmem_lock(&s->lock);
		while (i < s->capacity && !s->slots[i])
			i++;
		if (i < s->capacity) {
			slot = s->slots[i];
			number = (uint32_t)slot;
			pages += object_flush(p, s, number, (uint32_t)(slot >> 32));
		}
		generation = s->generation;
		tmem_unlock(&s->lock);
		if (!number)
			return pages;
		pages_drop(p->host, s, number, generation);
	}
}

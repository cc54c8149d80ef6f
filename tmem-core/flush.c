/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flush.c - removing pages because somebody asked: a page, an object, a pool.
 *
 * How:     an object is taken out of its pool first, whole, under its stripe;
 *          its record in the arena dies with that one store.  Its slots are then
 *          killed and freed without the stripe: nobody can find them, eviction
 *          included.  The object's number is free only when no slot bears it.
 *          A pool is taken out of its client first (pool.c), and then emptied by
 *          objects.  So what was asked for has happened before the first step, and
 *          freeing takes as many as its caller likes.
 * Must not: hold a stripe for longer than one object takes to detach.
 */
#include <errno.h>
#include <string.h>

#include "client.h"
#include "fault.h"
#include "op.h"
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

/* ---- taken out first, freed in steps ------------------------------------------ */

static void object_take_locked(struct tmem_drop *d, struct tmem_pool *p, struct tmem_stripe *s,
			       uint32_t number, uint32_t hash)
{
	tmem_object_detach_locked(p, s, number, hash);
	d->stripe = s;
	d->generation = s->generation;
	d->object = number;
	d->at = 0;
}

/*
 * Kill and free the page; takes it from the counters.  Meanwhile the pool may be
 * destroyed and its structure be another pool's, whose account this is not.
 */
static void page_drop(struct tmem_drop *d, tmem_handle h)
{
	struct tmem *t = d->host;
	struct tmem_stripe *s = d->stripe;
	struct tmem_counters gone = { 0 };
	struct tmem_page page;

	tmem_page_read(t, h, &page);
	tmem_page_kill(t, h);
	TMEM_FAULT("flush-object-page");
	tmem_lock(&s->lock);
	tmem_count_remove_locked(t, s->generation == d->generation ? &s->count : &gone, &page);
	tmem_unlock(&s->lock);
	tmem_store_free(t, h, 0);
}

/* Up to n pages of the object, which goes with the last. */
static void object_step(struct tmem_drop *d, uint64_t *n)
{
	struct tmem_object *o = tmem_object(d->host, d->object);
	tmem_handle h;
	uint32_t tag;

	for (; *n; --*n, d->pages++) {
		h = tmem_page_each(o, &d->at, &tag);
		if (!h) {
			tmem_pages_free(d->host, o);
			tmem_record_free(d->host, TMEM_TABLE_OBJECT, d->object);
			d->object = 0;
			return;
		}
		page_drop(d, h);
	}
}

#define SCAN	64u	/* places of a table looked at for the time of a page */

/*
 * Take an object out of s, which nobody adds to, or look through the table for one on
 * as far as n allows.  False: there is none any more.
 */
static bool stripe_step(struct tmem_drop *d, struct tmem_pool *p, struct tmem_stripe *s,
			uint64_t *n)
{
	uint32_t number, hash, end;

	tmem_lock(&s->lock);
	number = tmem_object_each(s, &d->at, d->at + SCAN, &hash);
	if (number) {
		d->resume = d->at - 1;
		object_take_locked(d, p, s, number, hash);
	}
	end = tmem_objects_span(s);
	tmem_unlock(&s->lock);
	--*n;
	return d->object || d->at < end;
}

/* The same with all of p's stripes; between objects d->at is a place in the table. */
static bool pool_step(struct tmem_drop *d, struct tmem_pool *p, uint64_t *n)
{
	while (*n && d->next < TMEM_STRIPES) {
		if (d->object) {
			object_step(d, n);
			if (!d->object)
				d->at = d->resume;
		} else if (!stripe_step(d, p, &p->stripe[d->next], n)) {
			d->next++;
			d->at = 0;
		}
	}
	return d->next < TMEM_STRIPES;
}

bool tmem_drop_step(struct tmem_drop *d, uint64_t n)
{
	while (n && d->pool) {
		struct tmem_pool *p = d->pool;

		if (pool_step(d, p, &n))
			continue;
		d->pool = p->next;
		d->next = 0;
		tmem_pool_end(p);
	}
	if (!d->pool && d->object)
		object_step(d, &n);
	return !d->pool && !d->object;
}

int tmem_flush_object_begin(struct tmem_client *c, unsigned id, const uint64_t oid[3],
			    struct tmem_drop *d)
{
	struct tmem_where w;
	struct tmem_pool *p;
	int err = oid && d ? tmem_op_begin(c, id, &p) : -EINVAL;
	uint32_t number;

	if (err)
		return err;
	*d = (struct tmem_drop){ .host = c->host };
	tmem_where(p, oid, 0, &w);
	if (!tmem_op_lock(c, id, &w))
		return -ENXIO;
	number = tmem_object_find_locked(&w);
	if (number)
		object_take_locked(d, p, w.stripe, number, w.hash);
	TMEM_COUNT(c, &w, object_flushes, 1);
	TMEM_COUNT(c, &w, object_flushes_found, number != 0);
	tmem_unlock(&w.stripe->lock);
	return 0;
}

int tmem_flush_object(struct tmem_client *c, unsigned id, const uint64_t oid[3], uint64_t *pages)
{
	struct tmem_drop d;
	int err = tmem_flush_object_begin(c, id, oid, &d);

	if (err)
		return err;
	tmem_drop_all(&d, pages);
	return 0;
}

void tmem_drop_all(struct tmem_drop *d, uint64_t *pages)
{
	while (!tmem_drop_step(d, UINT64_MAX))
		;
	if (pages)
		*pages = d->pages;
}

uint64_t tmem_op_flush_pool(struct tmem_pool *p)
{
	struct tmem_drop d = { .host = p->host };
	uint64_t n = UINT64_MAX, before;

	/* A table that others make grow meanwhile may be passed over in part. */
	do {
		before = d.pages;
		d.next = 0;
		while (pool_step(&d, p, &n))
			;
	} while (d.pages != before);
	return d.pages;
}

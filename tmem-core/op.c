/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * op.c - what put, get, flush and eviction share.
 *
 * Owns:    the order "take the stripe, check the pool still is the client's",
 *          which lets pools be destroyed under running operations without a
 *          reference count; and the counting of pages in and out.
 * Must not: free slots while a stripe is held, so that hold times stay short.
 */
#include "op.h"

#include <errno.h>

#include "fault.h"
#include "store.h"

static struct tmem_pool *pool_in(struct tmem_client *c, unsigned id)
{
	return atomic_load_explicit(&c->pool[id], memory_order_acquire);
}

int tmem_op_begin(struct tmem_client *c, unsigned id, struct tmem_pool **pool)
{
	if (!c || id >= TMEM_POOL_IDS)
		return -EINVAL;
	if (atomic_load_explicit(&c->killed, memory_order_acquire))
		return -ESHUTDOWN;
	*pool = pool_in(c, id);
	return *pool ? 0 : -ENXIO;
}

bool tmem_op_lock(struct tmem_client *c, unsigned id, const struct tmem_where *w)
{
	tmem_lock(&w->stripe->lock);
	if (pool_in(c, id) == w->pool &&
	    atomic_load_explicit(&w->pool->flags, memory_order_relaxed) == w->flags)
		return true;
	tmem_unlock(&w->stripe->lock);
	return false;
}

static struct tmem_client *owner(struct tmem *t, const struct tmem_page *p)
{
	return tmem_frame_client(t, tmem_handle_frame(p->handle));
}

static uint64_t footprint(struct tmem *t, const struct tmem_page *p)
{
	return tmem_footprint(t, tmem_frame(t, tmem_handle_frame(p->handle))->kind,
			      tmem_info_size(p->info));
}

static unsigned kind_of(struct tmem *t, const struct tmem_page *p)
{
	return tmem_frame(t, tmem_handle_frame(p->handle))->kind - TMEM_FRAME_STORE;
}

void tmem_count_add_locked(struct tmem *t, struct tmem_stripe *s, const struct tmem_page *p)
{
	struct tmem_counters *n = &s->count;

	n->pages++;
	if (n->pages > n->pages_max)
		n->pages_max = n->pages;
	n->bytes_stored += tmem_info_size(p->info);
	n->bytes_physical += footprint(t, p);
	n->pages_same_filled += tmem_info_type(p->info) == TMEM_TYPE_SAME;
	n->pages_deduped += tmem_info_type(p->info) == TMEM_TYPE_REF;
	if (tmem_info_type(p->info) == TMEM_TYPE_RAW) {
		n->pages_raw++;
		atomic_fetch_add_explicit(&owner(t, p)->raw_pages[kind_of(t, p)], 1,
					  memory_order_relaxed);
	}
}

void tmem_count_remove_locked(struct tmem *t, struct tmem_counters *n, const struct tmem_page *p)
{
	n->pages--;
	n->bytes_stored -= tmem_info_size(p->info);
	n->bytes_physical -= footprint(t, p);
	n->pages_same_filled -= tmem_info_type(p->info) == TMEM_TYPE_SAME;
	n->pages_deduped -= tmem_info_type(p->info) == TMEM_TYPE_REF;
	if (tmem_info_type(p->info) == TMEM_TYPE_RAW) {
		n->pages_raw--;
		atomic_fetch_sub_explicit(&owner(t, p)->raw_pages[kind_of(t, p)], 1,
					  memory_order_relaxed);
	}
}

bool tmem_op_find_locked(const struct tmem_where *w, struct tmem_entry *e)
{
	uint32_t number = tmem_object_find_locked(w);

	return number && tmem_page_find_locked(w->pool->host, number, w->index, e);
}

void tmem_op_unlink_locked(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e)
{
	struct tmem *t = p->host;
	struct tmem_page page;

	tmem_page_read(t, e->handle, &page);
	tmem_page_remove_locked(t, e);
	TMEM_FAULT("unlinked");
	tmem_page_kill(t, e->handle);
	tmem_count_remove_locked(t, &s->count, &page);
	if (!e->object->count)
		tmem_object_drop_locked(p, s, e->number);
}

/* Unlink one page of the object that is in the client's frames. */
static bool sweep_object_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number,
				struct tmem_client *c)
{
	struct tmem *t = p->host;
	struct tmem_entry e = { .object = tmem_object(t, number), .number = number };
	uint32_t next = 0, tag;

	while ((e.handle = tmem_page_each(e.object, &next, &tag))) {
		if (tmem_frame_client(t, tmem_handle_frame(e.handle)) != c)
			continue;
		e.at = next - 1;
		tmem_op_unlink_locked(p, s, &e);
		tmem_store_free_slot(t, e.handle, 0);
		return true;
	}
	return false;
}

/* One at a time, from the start again: unlinking moves entries, and this is rare. */
static bool sweep_stripe_locked(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_client *c)
{
	uint32_t at = 0, number, hash;

	while ((number = tmem_object_each(s, &at, UINT32_MAX, &hash)))
		if (sweep_object_locked(p, s, number, c))
			return true;
	return false;
}

void tmem_op_sweep_shared(struct tmem_client *c)
{
	struct tmem *t = c->host;
	struct tmem_pool *p;
	unsigned i;

	tmem_lock(&t->lock);
	for (p = t->shared; p; p = p->next)
		for (i = 0; i < TMEM_STRIPES; i++) {
			tmem_lock(&p->stripe[i].lock);
			while (sweep_stripe_locked(p, &p->stripe[i], c))
				;
			tmem_unlock(&p->stripe[i].lock);
		}
	tmem_unlock(&t->lock);
}

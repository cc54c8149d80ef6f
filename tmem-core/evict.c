/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evict.c - emptying the oldest ephemeral frame of a client.
 *
 * Owns:    the choice between a store's two segments, and the walk over a
 *          frame's pages.
 * How:     pages seen for the first time are on probation; those that came back
 *          (ghost.c) are protected and go only when they fill three quarters of
 *          the store or nothing else is left.  So a file read once passes
 *          through probation and takes nothing from the hot set.
 *          The frame is pinned (used counts one more) and out of its lists while
 *          its pages are looked up one by one in the index; one that is being
 *          put, got or flushed just then is left to whoever is at it.
 * Must not: be called with a stripe or store held.
 */
#include "evict.h"

#include <string.h>

#include "dedup.h"
#include "op.h"
#include "share.h"

#define PROTECTED_NUM	3u	/* protected pages may fill 3/4 of the store */
#define PROTECTED_DEN	4u

/* Oldest frame of the segment that is to lose one. */
static uint32_t oldest_locked(const struct tmem_store *s)
{
	const struct tmem_age *probation = &s->age[TMEM_PROBATION];
	const struct tmem_age *protected = &s->age[TMEM_PROTECTED];
	uint64_t all = (uint64_t)probation->frames + protected->frames;

	if (!probation->frames || protected->frames * (uint64_t)PROTECTED_DEN > all * PROTECTED_NUM)
		return protected->frames ? protected->oldest : probation->oldest;
	return probation->oldest;
}

unsigned tmem_frame_detach_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);

	tmem_bin_remove_locked(s, frame);
	tmem_age_remove_locked(s, frame);
	f->evicting = true;
	f->used++;
	return tmem_frame_head(t, frame)->slots;
}

/* The stripe a walk over slots holds: pages of one file lie side by side. */
struct walk {
	struct tmem *t;
	struct tmem_pool *pool;
	struct tmem_stripe *stripe;	/* held, or NULL */
	uint32_t home;
};

static void walk_leave(struct walk *w)
{
	if (w->stripe)
		tmem_unlock(&w->stripe->lock);
	w->stripe = NULL;
}

/* Hold the stripe of an object whose number may be any value; false: there is none. */
static bool walk_enter(struct walk *w, uint32_t number)
{
	struct tmem_object *o = tmem_object(w->t, number);
	uint32_t home = o ? atomic_load_explicit(&o->home, memory_order_relaxed) : 0;

	if (!home)
		return false;
	if (w->stripe && w->home == home)
		return true;
	walk_leave(w);
	w->pool = tmem_pool_at(w->t, home / TMEM_STRIPES);
	if (!w->pool)
		return false;
	w->home = home;
	w->stripe = &w->pool->stripe[home % TMEM_STRIPES];
	tmem_lock(&w->stripe->lock);
	if (atomic_load_explicit(&o->home, memory_order_relaxed) == home &&
	    tmem_pool_at(w->t, home / TMEM_STRIPES) == w->pool)
		return true;
	walk_leave(w);
	return false;
}

/*
 * What is read of the slot may be stale or in change: it only says where to
 * look; the index decides.
 */
static bool walk_visit(struct walk *w, tmem_handle h, tmem_page_fn fn, void *arg)
{
	struct tmem_slot *slot = tmem_slot(w->t, h);
	uint32_t number, index;
	struct tmem_entry e;

	if (!atomic_load_explicit(&slot->info, memory_order_acquire))
		return false;
	number = atomic_load_explicit(&slot->object, memory_order_relaxed);
	index = atomic_load_explicit(&slot->index, memory_order_relaxed);
	return walk_enter(w, number) &&
	       tmem_page_find_handle_locked(w->t, number, index, h, &e) &&
	       fn(w->pool, w->stripe, &e, arg);
}

bool tmem_page_visit(struct tmem *t, tmem_handle h, tmem_page_fn fn, void *arg)
{
	struct walk w = { .t = t };
	bool gone = walk_visit(&w, h, fn, arg);

	walk_leave(&w);
	return gone;
}

/* Unpin: true if the frame is empty and the caller's. */
static bool settle(struct tmem_store *s, uint32_t frame, const uint64_t *killed, unsigned slots,
		   unsigned count)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);
	bool empty;
	unsigned i;

	tmem_lock(&s->lock);
	empty = f->used == count + 1;
	for (i = 0; i < slots; i++) {
		if (!(killed[i / 64] >> (i % 64) & 1))
			continue;
		if (empty)
			tmem_slot_forget_locked(s, tmem_handle_of(frame, i));
		else
			tmem_slot_free_locked(s, tmem_handle_of(frame, i));
	}
	f->used--;
	f->evicting = false;
	if (empty) {
		atomic_fetch_sub_explicit(&s->frames, 1, memory_order_relaxed);
		s->emptied_frames++;
	} else {
		tmem_frame_measure_locked(t, frame);
		tmem_bin_add_locked(s, frame);
		tmem_age_add_locked(s, frame);
	}
	tmem_unlock(&s->lock);
	return empty;
}

bool tmem_frame_empty(struct tmem_store *s, uint32_t frame, unsigned slots, tmem_page_fn fn,
		      uint64_t *pages)
{
	bool alone = s->client->host->names || s->kind == TMEM_PERSISTENT;
	uint64_t killed[TMEM_MAP_WORDS_MAX] = { 0 };
	struct walk w = { .t = s->client->host };
	unsigned count = 0, i;

	for (i = 0; i < slots; i++) {
		tmem_handle h = tmem_handle_of(frame, i);
		bool gone = walk_visit(&w, h, fn, NULL);

		if (alone)	/* what follows takes stripes, or moving took long */
			walk_leave(&w);
		if (!gone)
			continue;
		tmem_dedup_evict(w.t, h);
		killed[i / 64] |= 1ull << (i % 64);
		count++;
	}
	walk_leave(&w);
	*pages = count;
	if (!settle(s, frame, killed, slots, count))
		return false;
	tmem_uncharge(s->client->host, s->client, s->kind);
	return true;
}

static bool page_evict(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e, void *arg)
{
	(void)arg;
	tmem_op_unlink_locked(p, s, e);
	s->count.evicted_pages++;
	return true;
}

#define AHEAD	16u

/*
 * Touch the frames that will be next, all at once, so that the misses overlap: each
 * frame is a page of its own to the TLB, and a prefetch that misses there is dropped.
 */
static void fetch_ahead_locked(const struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	uint32_t seen = 0;
	unsigned i;

	for (i = 0; i < AHEAD && frame; i++) {
		const struct tmem_frame_head *head = tmem_frame_head(t, frame);
		const struct tmem_slot *slot = tmem_slot(t, tmem_handle_of(frame, 0));

		seen += atomic_load_explicit(&head->kind, memory_order_relaxed);
		seen += atomic_load_explicit(&slot->info, memory_order_relaxed);
		__builtin_prefetch(slot + 4);
		__builtin_prefetch(slot + 8);
		frame = tmem_frame(t, frame)->newer;
	}
	__asm__ volatile("" : : "r"(seen));
}

uint32_t tmem_store_evict(struct tmem_client *c, uint64_t *pages)
{
	struct tmem_store *s = &c->store[TMEM_EPHEMERAL];
	unsigned slots = 0;
	uint32_t frame;

	*pages = 0;
	tmem_lock(&s->lock);
	frame = oldest_locked(s);
	if (frame) {
		if (s->emptied_frames % AHEAD == 0)
			fetch_ahead_locked(s, frame);
		slots = tmem_frame_detach_locked(s, frame);
	}
	tmem_unlock(&s->lock);
	return frame && tmem_frame_empty(s, frame, slots, page_evict, pages) ? frame : 0;
}

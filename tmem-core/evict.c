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
#include "fault.h"
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

/* Where a walk over slots is: pages of one file lie side by side. */
struct walk {
	struct tmem *t;
	struct tmem_pool *pool;
	struct tmem_stripe *stripe;	/* held, or NULL */
	struct tmem_object *object;	/* the last one, its number and home */
	uint32_t number, home;
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
	struct tmem_object *o = number == w->number ? w->object : tmem_object(w->t, number);
	uint32_t home = o ? atomic_load_explicit(&o->home, memory_order_relaxed) : 0;

	if (!home)
		return false;
	w->object = o;
	w->number = number;
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
	       tmem_page_find_handle_locked(w->t, w->object, number, index, h, &e) &&
	       fn(w->pool, w->stripe, &e, arg);
}

bool tmem_page_visit(struct tmem *t, tmem_handle h, tmem_page_fn fn, void *arg)
{
	struct walk w = { .t = t };
	bool gone = walk_visit(&w, h, fn, arg);

	walk_leave(&w);
	return gone;
}

/* A frame that is being emptied: detached, its pages visited. */
struct emptying {
	uint32_t frame;
	unsigned slots;			/* length of its directory */
	unsigned count;			/* pages that went */
	uint64_t gone[TMEM_MAP_WORDS_MAX];	/* bit a slot: it is killed and reserved */
};

static void pages_visit(struct tmem_store *s, struct emptying *e, tmem_page_fn fn)
{
	bool alone = s->client->host->names || s->kind == TMEM_PERSISTENT;
	struct walk w = { .t = s->client->host };
	unsigned i;

	e->count = 0;
	memset(e->gone, 0, (e->slots + 63) / 64 * sizeof(*e->gone));
	for (i = 0; i < e->slots; i++) {
		tmem_handle h = tmem_handle_of(e->frame, i);
		bool gone = walk_visit(&w, h, fn, NULL);

		if (alone)	/* what follows takes stripes, or moving took long */
			walk_leave(&w);
		if (!gone)
			continue;
		tmem_dedup_evict(w.t, h);
		e->gone[i / 64] |= 1ull << (i % 64);
		e->count++;
	}
	walk_leave(&w);
	TMEM_FAULT("evict-frame");
}

/* Unpin: true if the frame is empty and the caller's. */
static bool settle_locked(struct tmem_store *s, const struct emptying *e)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, e->frame);
	bool empty = f->used == e->count + 1;
	unsigned i;

	for (i = 0; i < e->slots; i++) {
		if (!(e->gone[i / 64] >> (i % 64) & 1))
			continue;
		if (empty)
			tmem_slot_forget_locked(s, tmem_handle_of(e->frame, i));
		else
			tmem_slot_free_locked(s, tmem_handle_of(e->frame, i));
	}
	f->used--;
	f->evicting = false;
	if (empty) {
		atomic_fetch_sub_explicit(&s->frames, 1, memory_order_relaxed);
		s->emptied_frames++;
	} else {
		tmem_frame_measure_locked(t, e->frame);
		tmem_bin_add_locked(s, e->frame);
		tmem_age_add_locked(s, e->frame);
	}
	return empty;
}

bool tmem_frame_empty(struct tmem_store *s, uint32_t frame, unsigned slots, tmem_page_fn fn,
		      uint64_t *pages)
{
	struct emptying e = { .frame = frame, .slots = slots };
	bool empty;

	pages_visit(s, &e, fn);
	*pages = e.count;
	tmem_lock(&s->lock);
	empty = settle_locked(s, &e);
	tmem_unlock(&s->lock);
	if (empty)
		tmem_uncharge(s->client->host, s->client, s->kind, 1);
	return empty;
}

static bool page_evict(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e, void *arg)
{
	(void)arg;
	tmem_op_unlink_locked(p, s, e);
	TMEM_FAULT("evict-page");
	s->count.evicted_pages++;
	return true;
}

#define AHEAD		16u	/* frames */
#define FETCH_MAX	512u	/* bytes of a directory, so that all stay in the nearest cache */

/*
 * Fetch the directories of the frames that will be next, all at once, so that the
 * misses overlap: each frame is a page of its own to the TLB.
 */
static void fetch_ahead_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	unsigned i;

	for (i = 0; i < AHEAD && frame; i++) {
		const struct tmem_frame_head *head = tmem_frame_head(t, frame);
		const char *slots = (const char *)tmem_slot(t, tmem_handle_of(frame, 0));
		unsigned line, end = head->slots * (unsigned)sizeof(struct tmem_slot);

		for (line = 0; line < end && line < FETCH_MAX; line += TMEM_CACHE_LINE)
			__builtin_prefetch(slots + line, 1);
		frame = tmem_frame(t, frame)->newer;
	}
	s->ahead = AHEAD;
}

unsigned tmem_store_evict(struct tmem_client *c, unsigned want, uint32_t *frames, uint64_t *pages)
{
	struct tmem_store *s = &c->store[TMEM_EPHEMERAL];
	struct emptying e[TMEM_EVICT_MAX];
	unsigned i, n, empty = 0;

	*pages = 0;
	if (want > TMEM_EVICT_MAX)
		want = TMEM_EVICT_MAX;
	tmem_lock(&s->lock);
	if (s->ahead < want)
		fetch_ahead_locked(s, oldest_locked(s));
	for (n = 0; n < want && (e[n].frame = oldest_locked(s)); n++)
		e[n].slots = tmem_frame_detach_locked(s, e[n].frame);
	s->ahead -= n;
	tmem_unlock(&s->lock);
	for (i = 0; i < n; i++) {
		pages_visit(s, &e[i], page_evict);
		*pages += e[i].count;
	}
	tmem_lock(&s->lock);
	for (i = 0; i < n; i++)
		if (settle_locked(s, &e[i]))
			frames[empty++] = e[i].frame;
	tmem_unlock(&s->lock);
	if (empty)
		tmem_uncharge(c->host, c, TMEM_EPHEMERAL, empty);
	return empty;
}

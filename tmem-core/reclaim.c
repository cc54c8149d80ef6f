/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reclaim.c - memory back to the host: free frames first, then evicted ones.
 *
 * Owns:    the account of one call: frames evicted, being punched, given back.
 * How:     frames are evicted in batches into the free ones, which arena.c then
 *          punches in runs.  Emptying a frame takes nearly as long as the kernel
 *          needs to free its memory, so a long call has a second thread punch one
 *          batch while it evicts the next.  The thread ends with the call and is
 *          only a help: without it the caller punches what it evicted.
 *          Nothing is allocated but that thread's stack: this is asked for when
 *          there is no memory.
 * Must not: choose who loses (share.c), or what goes first (evict.c).
 */
#include <signal.h>
#include <string.h>

#include "arena.h"
#include "share.h"
#include "store.h"

#define BATCH	512u	/* frames evicted before holes are punched */
#define LONG	(2 * BATCH)	/* frames worth a second thread */
#define STACK	(256u << 10)	/* bytes of its stack */
#define TRIES	64	/* frames found busy in a row before it gives up */

/*
 * One call.  Frames evicted are due until somebody claims them, then claimed until
 * they are punched; some of them may be in use again by then, so done lags behind.
 */
struct reclaim {
	struct tmem *t;
	struct tmem_lock lock;		/* all below */
	pthread_cond_t change;
	uint64_t due, claimed, done;
	bool over;			/* the helper is to end */
};

static void report_client(struct tmem_reclaim_report *r, const struct tmem_client *c,
			  unsigned frames, uint64_t pages)
{
	unsigned i, least = 0;

	r->pages_evicted += pages;
	for (i = 0; i < r->clients; i++) {
		if (!strcmp(r->from[i].name, c->name))
			break;
		if (r->from[i].frames < r->from[least].frames)
			least = i;
	}
	if (i == r->clients) {
		if (r->clients < TMEM_RECLAIM_CLIENTS)
			r->clients++;
		else
			i = least;	/* the list is of those that lost most */
		memset(&r->from[i], 0, sizeof(r->from[i]));
		memcpy(r->from[i].name, c->name, sizeof(c->name));
	}
	r->from[i].frames += frames;
	r->from[i].pages += pages;
}

/* Evict up to want frames; returns how many.  Fewer: r->stop says why. */
static uint64_t evict_batch(struct tmem *t, uint64_t want, struct tmem_reclaim_report *r)
{
	uint32_t frames[TMEM_EVICT_MAX];
	uint64_t got = 0, pages;
	unsigned tries = 0;

	while (got < want && tries < TRIES) {
		unsigned n = want - got < TMEM_EVICT_MAX ? (unsigned)(want - got) : TMEM_EVICT_MAX;
		bool floor = false;
		struct tmem_client *c = tmem_share_victim(t, &n, &floor);

		if (!c) {
			r->stop = floor ? TMEM_RECLAIM_FLOOR : TMEM_RECLAIM_EMPTY;
			return got;
		}
		n = tmem_store_evict(c, n, frames, &pages);
		if (!n) {
			tries++;
			continue;
		}
		tries = 0;
		tmem_arena_give_all(t, frames, n);
		report_client(r, c, n, pages);
		got += n;
	}
	if (got < want)
		r->stop = TMEM_RECLAIM_EMPTY;
	return got;
}

/* Punch what is due. */
static void due_punch_locked(struct reclaim *c)
{
	uint64_t n = c->due, got;

	c->due = 0;
	c->claimed += n;
	tmem_unlock(&c->lock);
	got = tmem_arena_punch(c->t, n);
	tmem_lock(&c->lock);
	c->claimed -= n;
	c->done += got;
	pthread_cond_broadcast(&c->change);
}

static void *helper_main(void *arg)
{
	struct reclaim *c = arg;

	tmem_lock(&c->lock);
	while (!c->over) {
		if (c->due)
			due_punch_locked(c);
		else
			pthread_cond_wait(&c->change, &c->lock.m);
	}
	tmem_unlock(&c->lock);
	return NULL;
}

/* Signals are for the program's own threads. */
static bool helper_start(struct reclaim *c, pthread_t *helper)
{
	pthread_attr_t attr;
	sigset_t all, old;
	bool started;

	if (pthread_attr_init(&attr))
		return false;
	sigfillset(&all);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	started = !pthread_create(helper, &attr, helper_main, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return started;
}

static void helper_stop(struct reclaim *c, pthread_t helper)
{
	tmem_lock(&c->lock);
	c->over = true;
	pthread_cond_broadcast(&c->change);
	tmem_unlock(&c->lock);
	pthread_join(helper, NULL);
}

/* Nothing is due or claimed any more. */
static void punched_wait_locked(struct reclaim *c)
{
	while (c->due || c->claimed) {
		if (c->due)
			due_punch_locked(c);
		else
			pthread_cond_wait(&c->change, &c->lock.m);
	}
}

/* Evict and punch until frames are done or no more can be evicted. */
static void reclaim_run(struct reclaim *c, uint64_t frames, bool helped,
			struct tmem_reclaim_report *r)
{
	uint64_t got, want;

	tmem_lock(&c->lock);
	for (;;) {
		if (c->done + c->due + c->claimed >= frames)
			punched_wait_locked(c);
		if (c->done >= frames)
			break;
		want = frames - c->done - c->due - c->claimed;
		if (want > BATCH)
			want = BATCH;
		tmem_unlock(&c->lock);
		got = evict_batch(c->t, want, r);
		tmem_lock(&c->lock);
		c->due += got;
		if (helped)
			pthread_cond_signal(&c->change);
		else
			due_punch_locked(c);
		if (got < want)
			break;
	}
	punched_wait_locked(c);
	tmem_unlock(&c->lock);
}

static void reclaim_evict(struct reclaim *c, uint64_t frames, struct tmem_reclaim_report *r)
{
	pthread_t helper;
	bool helped = frames - c->done >= LONG && helper_start(c, &helper);

	reclaim_run(c, frames, helped, r);
	if (helped)
		helper_stop(c, helper);
	if (c->done < frames)	/* the last pages may have left a table's frame free, too */
		c->done += tmem_arena_punch(c->t, frames - c->done);
}

uint64_t tmem_reclaim(struct tmem *t, uint64_t frames, struct tmem_reclaim_report *report)
{
	struct tmem_reclaim_report local, *r = report;
	struct reclaim c = { .t = t };

	if (!t)
		return 0;
	if (!r)
		r = &local;
	memset(r, 0, sizeof(*r));
	tmem_share_changed(t);
	c.done = tmem_arena_punch(t, frames);
	if (c.done < frames) {
		tmem_lock_init(&c.lock);
		pthread_cond_init(&c.change, NULL);
		reclaim_evict(&c, frames, r);
		pthread_cond_destroy(&c.change);
		tmem_lock_done(&c.lock);
	}
	if (c.done == frames)
		r->stop = TMEM_RECLAIM_DONE;
	r->frames = c.done;
	r->bytes = c.done << t->arena.frame_shift;
	return c.done;
}

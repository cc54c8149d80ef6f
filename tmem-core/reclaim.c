/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reclaim.c - memory back to the host: free frames first, then evicted ones.
 *
 * How:     frames are evicted in batches into the free ones, which arena.c then
 *          punches in runs.  Nothing is allocated: this is asked for when there
 *          is no memory.
 * Must not: choose who loses (share.c), or what goes first (evict.c).
 */
#include <string.h>

#include "arena.h"
#include "share.h"
#include "store.h"

#define BATCH	4096u	/* frames evicted before holes are punched */
#define TRIES	64	/* frames found busy in a row before it gives up */

static void report_client(struct tmem_reclaim_report *r, const struct tmem_client *c,
			  uint64_t pages)
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
	r->from[i].frames++;
	r->from[i].pages += pages;
}

/* Evict up to want frames; returns how many.  Fewer: r->stop says why. */
static uint64_t evict_batch(struct tmem *t, uint64_t want, struct tmem_reclaim_report *r)
{
	uint64_t got = 0, pages;
	unsigned tries = 0;

	while (got < want && tries < TRIES) {
		bool floor = false;
		struct tmem_client *c = tmem_share_victim(t, &floor);
		uint32_t frame;

		if (!c) {
			r->stop = floor ? TMEM_RECLAIM_FLOOR : TMEM_RECLAIM_EMPTY;
			return got;
		}
		frame = tmem_store_evict(c, &pages);
		if (!frame) {
			tries++;
			continue;
		}
		tries = 0;
		tmem_arena_give(t, frame);
		report_client(r, c, pages);
		got++;
	}
	if (got < want)
		r->stop = TMEM_RECLAIM_EMPTY;
	return got;
}

uint64_t tmem_reclaim(struct tmem *t, uint64_t frames, struct tmem_reclaim_report *report)
{
	struct tmem_reclaim_report local, *r = report;
	uint64_t done, got, want;

	if (!t)
		return 0;
	if (!r)
		r = &local;
	memset(r, 0, sizeof(*r));
	r->stop = TMEM_RECLAIM_DONE;
	tmem_share_changed(t);
	done = tmem_arena_punch(t, frames);
	while (done < frames) {
		want = frames - done < BATCH ? frames - done : BATCH;
		got = evict_batch(t, want, r);
		done += tmem_arena_punch(t, frames - done);
		if (got < want)
			break;
	}
	if (done == frames)	/* the last pages may have left a table's frame free, too */
		r->stop = TMEM_RECLAIM_DONE;
	r->frames = done;
	r->bytes = done << t->arena.frame_shift;
	return done;
}

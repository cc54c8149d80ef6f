/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zs.c - persistent pages kept dense.
 *
 * Owns:    when a persistent store is compacted, and how a page moves.
 * How:     persistent pages are not evicted, so the holes that flushes leave are
 *          closed by emptying one frame into the holes of others.  A store with
 *          more than a share of its chunks free empties its loosest frame, a
 *          step every few puts: whoever puts pays, and no thread of its own is
 *          needed.  tmem_compact() goes on until nothing gives way.
 *          A move is a put of the page's own compressed bytes: the copy is
 *          committed with the next sequence number, the index is turned, the
 *          old slot is killed.  The checksum is verified first: a damaged page
 *          stays where it is and keeps its wrong checksum.
 * Must not: take a frame for a move, or fail a put.
 */
#include <errno.h>
#include <string.h>

#include "evict.h"
#include "fault.h"
#include "op.h"
#include "share.h"

#define LOOSE_PART	64u	/* more than 1/64 of the chunks free: compact */
#define LOOSE_FRAMES	4u	/* so many frames' worth may always be free */
#define STEP_PUTS	8u	/* puts between two steps, and after steps in vain */
#define STEP_PUTS_MAX	1024u
#define SAMPLE		16u	/* frames looked at for the loosest */

bool tmem_store_loose_locked(const struct tmem_store *s)
{
	uint64_t chunks = s->client->host->arena.chunks;
	uint64_t all = atomic_load_explicit(&s->frames, memory_order_relaxed) * chunks;

	return s->free_chunks > all / LOOSE_PART + LOOSE_FRAMES * chunks;
}

/* Of the frames with the longest holes, the one with most free. */
static uint32_t loosest_locked(const struct tmem_store *s)
{
	const struct tmem_bins *b = &s->bins[TMEM_PROBATION];
	struct tmem *t = s->client->host;
	uint32_t frame, best = 0;
	unsigned bin, seen = 0;

	for (bin = TMEM_BINS - 1; bin && seen < SAMPLE; bin--)
		for (frame = b->head[bin]; frame && seen < SAMPLE;
		     frame = tmem_frame(t, frame)->next, seen++)
			if (!best || tmem_frame(t, frame)->free > tmem_frame(t, best)->free)
				best = frame;
	return best;
}

static bool page_move(struct tmem_pool *p, struct tmem_stripe *stripe, struct tmem_entry *e,
		      void *arg)
{
	struct tmem *t = p->host;
	struct tmem_client *c = tmem_frame_client(t, tmem_handle_frame(e->handle));
	tmem_handle to, from = e->handle;
	struct tmem_staged staged;
	struct tmem_page page;

	(void)stripe;
	(void)arg;
	tmem_page_read(t, from, &page);
	if (!tmem_page_is(t, &page, e->number, page.index))
		return false;
	staged.type = tmem_info_type(page.info);
	staged.size = tmem_info_size(page.info);
	staged.data = tmem_slot_data(t, from, page.info);
	staged.sum = tmem_data_sum(staged.data, staged.size);
	if (page.sum != tmem_page_sum(&page, staged.sum))
		return false;
	to = tmem_store_hole(&c->store[TMEM_PERSISTENT], staged.size);
	if (!to)
		return false;
	TMEM_FAULT("compact-reserved");
	memcpy(tmem_slot_data(t, to, atomic_load_explicit(&tmem_slot(t, to)->index,
							  memory_order_relaxed)),
	       staged.data, staged.size);
	tmem_page_commit(t, to, &staged, e->number, page.index, page.tag,
			 tmem_info_seq(page.info) + 1);
	TMEM_FAULT("compact-committed");
	tmem_page_replace_locked(e, to);
	tmem_page_kill(t, from);
	TMEM_FAULT("compact-moved");
	return true;
}

/* Empty the loosest frame into the others' holes: the frame, or 0. */
static uint32_t step(struct tmem_store *s, bool always)
{
	uint32_t frame = 0;
	unsigned slots = 0;
	uint64_t pages = 0;
	bool empty = false;

	tmem_lock(&s->lock);
	if (always || tmem_store_loose_locked(s))
		frame = loosest_locked(s);
	if (frame)
		slots = tmem_frame_detach_locked(s, frame);
	tmem_unlock(&s->lock);
	if (!frame)
		return 0;
	empty = tmem_frame_empty(s, frame, slots, page_move, &pages);
	tmem_lock(&s->lock);
	s->moved_pages += pages;
	tmem_unlock(&s->lock);
	return empty ? frame : 0;
}

void tmem_store_tidy(struct tmem_client *c)
{
	struct tmem_store *s = &c->store[TMEM_PERSISTENT];
	uint32_t wait = atomic_load_explicit(&s->untidy_wait, memory_order_relaxed);
	struct tmem *t = c->host;
	uint32_t frame;

	if (wait < STEP_PUTS)
		wait = STEP_PUTS;
	if (atomic_load_explicit(&s->untidy, memory_order_relaxed) < wait)
		return;
	atomic_store_explicit(&s->untidy, 0, memory_order_relaxed);
	frame = step(s, false);
	if (frame)
		wait = STEP_PUTS;
	else
		wait = 2 * wait < STEP_PUTS_MAX ? 2 * wait : STEP_PUTS_MAX;
	atomic_store_explicit(&s->untidy_wait, wait, memory_order_relaxed);
	if (!frame)
		return;
	tmem_arena_give(t, frame);
	tmem_arena_trim(t);
}

static int compact_client(struct tmem_client *c, void *arg)
{
	struct tmem_store *s = &c->store[TMEM_PERSISTENT];
	uint64_t *emptied = arg;
	uint32_t frame;

	while ((frame = step(s, true))) {
		tmem_arena_give(c->host, frame);
		(*emptied)++;
	}
	return 0;
}

uint64_t tmem_compact(struct tmem *t, struct tmem_ctx *ctx)
{
	uint64_t emptied = 0;

	(void)ctx;
	if (!t)
		return 0;
	tmem_client_each(t, compact_client, &emptied);
	return tmem_arena_punch(t, emptied);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.c - who may have a frame, and who loses one for it.
 *
 * Owns:    the charges (client's frames, persistent frames, frames used) and
 *          the arithmetic of shares.
 * How:     a frame is first charged, then checked, then taken; a charge that
 *          breaks a limit is undone.  Where the limit is the client's own max
 *          or the host's target, an ephemeral frame is evicted and handed on:
 *          used does not change.  The victim is the client whose physical
 *          frames over weight are most; it is chosen by a walk over all clients
 *          and kept for a number of frames that grows with the walk's length,
 *          so a thousand clients cost a put no more than one.
 * Must not: touch a page, a bin or the index.
 */
#include "share.h"

#include <errno.h>

#include "arena.h"
#include "store.h"
#include "table.h"

#define VICTIM_FRAMES	4	/* at least so many before the choice is made again */
#define EVICT_TRIES	8	/* frames found busy before a put gives up */

static uint32_t frames_of(const _Atomic uint32_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static bool above(struct tmem *t, uint64_t frames, const _Atomic uint64_t *limit_bytes)
{
	uint64_t limit = atomic_load_explicit(limit_bytes, memory_order_relaxed);

	return frames > limit >> t->arena.frame_shift;
}

/* ---- whom to take from ----------------------------------------------------- */

static struct tmem_client *client_at(struct tmem *t, uint32_t number)
{
	_Atomic(struct tmem_client *) *c = tmem_companion(t, TMEM_TABLE_CLIENT, number);
	struct tmem_client *client = c ? atomic_load_explicit(c, memory_order_acquire) : NULL;

	return client && atomic_load_explicit(&client->alive, memory_order_acquire) ? client : NULL;
}

static bool may_lose(struct tmem *t, struct tmem_client *c)
{
	return frames_of(&c->store[TMEM_EPHEMERAL].frames) && above(t, frames_of(&c->charged), &c->min);
}

/* Is a more above its share than b?  Cross-multiplied: no division, no rounding. */
static bool more_above(struct tmem_client *a, struct tmem_client *b)
{
	return (uint64_t)frames_of(&a->charged) * frames_of(&b->weight) >
	       (uint64_t)frames_of(&b->charged) * frames_of(&a->weight);
}

static struct tmem_client *victim_choose(struct tmem *t, bool *floor)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);
	struct tmem_client *best = NULL;

	*floor = false;
	for (number = 1; number < end; number++) {
		struct tmem_client *c = client_at(t, number);

		if (!c || !frames_of(&c->store[TMEM_EPHEMERAL].frames))
			continue;
		if (!may_lose(t, c))
			*floor = true;
		else if (!best || more_above(c, best))
			best = c;
	}
	return best;
}

/* Frames of a client that may lose some that are above its min. */
static uint32_t above_min(struct tmem *t, struct tmem_client *c)
{
	uint64_t min = atomic_load_explicit(&c->min, memory_order_relaxed) >> t->arena.frame_shift;
	uint32_t frames = frames_of(&c->charged);

	return frames > min ? frames - (uint32_t)min : 0;
}

static void at_most(unsigned *frames, uint32_t n)
{
	if (*frames > n)
		*frames = n;
}

struct tmem_client *tmem_share_victim(struct tmem *t, unsigned *frames, bool *floor)
{
	int32_t left = atomic_fetch_sub_explicit(&t->victim_left, (int32_t)*frames, memory_order_relaxed);
	struct tmem_client *c = left > 0 ? client_at(t, frames_of(&t->victim)) : NULL;

	if (!c || !may_lose(t, c)) {
		c = victim_choose(t, floor);
		left = VICTIM_FRAMES + (int32_t)(frames_of(&t->clients) / 16);
		atomic_store_explicit(&t->victim, c ? c->number : 0, memory_order_relaxed);
		atomic_store_explicit(&t->victim_left, left - (int32_t)*frames, memory_order_relaxed);
	}
	at_most(frames, (uint32_t)left);
	if (c)
		at_most(frames, above_min(t, c));
	return c;
}

void tmem_share_changed(struct tmem *t)
{
	atomic_store_explicit(&t->victim_left, 0, memory_order_relaxed);
}

uint64_t tmem_share_permille(struct tmem_client *client)
{
	struct tmem *t = client->host;
	uint64_t target = atomic_load_explicit(&t->target, memory_order_relaxed);
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);
	uint64_t weights = 0, weight = frames_of(&client->weight);

	for (number = 1; number < end; number++) {
		struct tmem_client *c = client_at(t, number);

		if (c)
			weights += frames_of(&c->weight);
	}
	if (!target || !weight)
		return 0;
	return (uint64_t)((double)frames_of(&client->charged) * 1000.0 * (double)weights /
			  ((double)target * (double)weight));
}

/* ---- charging -------------------------------------------------------------- */

static int charge_persistent(struct tmem *t, struct tmem_client *c)
{
	uint64_t limit = atomic_load_explicit(&t->persistent_max, memory_order_relaxed);
	uint64_t own = (uint64_t)atomic_fetch_add(&c->charged_persistent, 1) + 1;
	uint64_t all = (uint64_t)atomic_fetch_add(&t->persistent_frames, 1) + 1;

	if (!above(t, own, &c->persistent_max) && all <= limit)
		return 0;
	atomic_fetch_sub(&c->charged_persistent, 1);
	atomic_fetch_sub(&t->persistent_frames, 1);
	return -EDQUOT;
}

void tmem_uncharge(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t frames)
{
	if (!c)
		return;
	if (kind == TMEM_PERSISTENT) {
		atomic_fetch_sub(&c->charged_persistent, frames);
		atomic_fetch_sub(&t->persistent_frames, frames);
	}
	atomic_fetch_sub(&c->charged, frames);
}

static int charge(struct tmem *t, struct tmem_client *c, enum tmem_kind kind)
{
	int err = 0;

	if (!c)
		return 0;
	if (kind == TMEM_PERSISTENT)
		err = charge_persistent(t, c);
	if (!err)
		atomic_fetch_add(&c->charged, 1);
	return err;
}

void tmem_share_adopt(struct tmem *t, struct tmem_client *c, enum tmem_kind kind)
{
	if (kind == TMEM_PERSISTENT) {
		atomic_fetch_add(&c->charged_persistent, 1);
		atomic_fetch_add(&t->persistent_frames, 1);
	}
	atomic_fetch_add(&c->charged, 1);
}

void tmem_frame_put(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t frame)
{
	tmem_arena_give(t, frame);
	tmem_uncharge(t, c, kind, 1);
}

/* ---- getting one ------------------------------------------------------------- */

static uint32_t evict_from(struct tmem_client *c)
{
	uint32_t frame = 0;
	uint64_t pages;
	int i;

	for (i = 0; i < EVICT_TRIES && !frame; i++) {
		if (!frames_of(&c->store[TMEM_EPHEMERAL].frames))
			break;
		tmem_store_evict(c, 1, &frame, &pages);
	}
	return frame;
}

/* A frame of somebody's, at the target: from above shares first, then own. */
static uint32_t evict_for(struct tmem *t, struct tmem_client *c)
{
	uint32_t frame = 0;
	bool floor;
	int i;

	for (i = 0; i < EVICT_TRIES && !frame; i++) {
		unsigned one = 1;
		struct tmem_client *victim = tmem_share_victim(t, &one, &floor);

		if (!victim)
			break;
		frame = evict_from(victim);
	}
	return frame || !c ? frame : evict_from(c);
}

/* Count a frame as used if the target allows. */
static bool use(struct tmem *t)
{
	uint64_t target = atomic_load_explicit(&t->target, memory_order_relaxed);

	if ((uint64_t)atomic_fetch_add(&t->arena.used, 1) + 1 <= target)
		return true;
	atomic_fetch_sub(&t->arena.used, 1);
	return false;
}

static uint32_t take_free(struct tmem *t, uint32_t owner, uint32_t incarnation)
{
	uint32_t frame;

	if (!use(t))
		return 0;
	frame = tmem_arena_take(t, owner, incarnation);
	if (!frame)
		atomic_fetch_sub(&t->arena.used, 1);
	return frame;
}

int tmem_frame_get(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t *frame)
{
	uint32_t owner = c ? c->number : 0, incarnation = c ? c->incarnation : 0;
	int err = charge(t, c, kind);

	*frame = 0;
	if (err)
		return err;
	if (c && above(t, frames_of(&c->charged), &c->max)) {
		*frame = evict_from(c);
		err = -EDQUOT;
	} else {
		*frame = take_free(t, owner, incarnation);
		if (*frame)
			return 0;
		*frame = evict_for(t, c);
		err = -ENOSPC;
	}
	if (*frame) {
		tmem_arena_hand_over(t, *frame, owner, incarnation);
		return 0;
	}
	tmem_uncharge(t, c, kind, 1);
	return err;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arena.h - frames of the arena file: taken, given back, returned to the host.
 */
#ifndef TMEM_ARENA_H
#define TMEM_ARENA_H

#include "types.h"

int tmem_arena_open(struct tmem *t, const struct tmem_config *config);
void tmem_arena_close(struct tmem *t);

/*
 * A free frame for owner (client number and incarnation; 0 for a table), or 0: none
 * is free, or the file system has no room for one.
 * Its memory holds nothing another client wrote.  The caller has counted it in
 * arena.used.
 */
uint32_t tmem_arena_take(struct tmem *t, uint32_t owner, uint32_t incarnation);

/* Let owner have this frame, which nobody uses: clears it if another had it. */
void tmem_arena_hand_over(struct tmem *t, uint32_t frame, uint32_t owner, uint32_t incarnation);

/* The frame is free: its memory stays.  Uncounts it in arena.used. */
void tmem_arena_give(struct tmem *t, uint32_t frame);
void tmem_arena_give_all(struct tmem *t, const uint32_t *frames, unsigned n);

/* Give up to max free frames back to the host, in runs; returns how many. */
uint64_t tmem_arena_punch(struct tmem *t, uint64_t max);

/* Give free frames back that are more than the next puts are likely to need. */
void tmem_arena_trim(struct tmem *t);

/*
 * Rebuild: find the frames that hold memory.  They are free until one is
 * claimed, which counts it as used.
 */
void tmem_arena_survey(struct tmem *t);
bool tmem_arena_unclaimed(const struct tmem *t, uint32_t frame);
void tmem_arena_claim(struct tmem *t, uint32_t frame);

static inline uint64_t tmem_frame_bytes(const struct tmem *t)
{
	return 1ull << t->arena.frame_shift;
}

static inline struct tmem_frame_head *tmem_frame_head(const struct tmem *t, uint32_t frame)
{
	return (struct tmem_frame_head *)(t->arena.base +
					  ((uint64_t)frame << t->arena.frame_shift));
}

static inline struct tmem_frame *tmem_frame(const struct tmem *t, uint32_t frame)
{
	return &t->arena.frame[frame];
}

#endif

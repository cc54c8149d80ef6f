/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.h - pages within one frame: its chunk map and its slot directory.
 */
#ifndef TMEM_FRAME_H
#define TMEM_FRAME_H

#include "arena.h"

static inline struct tmem_slot *tmem_slot(const struct tmem *t, tmem_handle h)
{
	return (struct tmem_slot *)((char *)tmem_frame_head(t, tmem_handle_frame(h)) +
				    t->arena.slots_offset) + tmem_handle_slot(h);
}

static inline uint64_t *tmem_frame_map(const struct tmem *t, uint32_t frame)
{
	return (uint64_t *)(tmem_frame_head(t, frame) + 1);
}

static inline unsigned char *tmem_chunk(const struct tmem *t, uint32_t frame, uint32_t chunk)
{
	return (unsigned char *)tmem_frame_head(t, frame) + ((size_t)chunk << t->arena.chunk_shift);
}

/* Data of a page whose info or extent is given. */
static inline unsigned char *tmem_slot_data(const struct tmem *t, tmem_handle h, uint32_t info)
{
	return tmem_chunk(t, tmem_handle_frame(h), tmem_info_start(info));
}

/* Chunks that size bytes take in a frame of that kind (zs rounds to its classes). */
unsigned tmem_chunks_of(const struct tmem *t, unsigned kind, uint32_t size);

/* Bytes a page of that size is charged: its chunks and its slot. */
static inline uint64_t tmem_footprint(const struct tmem *t, unsigned kind, uint32_t size)
{
	return ((uint64_t)tmem_chunks_of(t, kind, size) << t->arena.chunk_shift) +
	       sizeof(struct tmem_slot);
}

/* Does info, which may be damaged, describe data that lies within a frame? */
bool tmem_info_plausible(const struct tmem *t, unsigned kind, uint32_t info);

/* Make the frame an empty one of that store.  Nobody else knows it yet. */
void tmem_frame_init(struct tmem *t, uint32_t frame, unsigned kind, uint32_t owner,
		     uint32_t incarnation);

/* All below: the owner's store lock is held. */

/* Compute free and fit from the chunk map. */
void tmem_frame_measure_locked(struct tmem *t, uint32_t frame);

/* Reserve a slot and chunks for size bytes; the frame's fit says there is room. */
uint32_t tmem_frame_place_locked(struct tmem *t, uint32_t frame, uint32_t size);

/* The slot is reserved (dead): free it and its chunks. */
void tmem_frame_remove_locked(struct tmem *t, uint32_t frame, uint32_t slot);

/* Slots not free, counted from the directory. */
unsigned tmem_frame_used_locked(struct tmem *t, uint32_t frame);

/*
 * Rebuild: recover a frame whose head, map and slots may say anything.  First
 * recover (nothing is used), then claim the chunks of each page that comes back
 * (false: not free), unclaim what lost, settle with a bit for each slot to free.
 */
void tmem_frame_recover_locked(struct tmem *t, uint32_t frame);
bool tmem_frame_claim_locked(struct tmem *t, uint32_t frame, uint32_t info);
void tmem_frame_unclaim_locked(struct tmem *t, uint32_t frame, uint32_t slot);
void tmem_frame_settle_locked(struct tmem *t, uint32_t frame, const uint64_t *free);

/* Is the chunk map the union of directory and slots?  For the validator. */
bool tmem_frame_map_right_locked(struct tmem *t, uint32_t frame);

#endif

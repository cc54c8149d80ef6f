/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ivshmem_ring.h - one split virtqueue in a shared region.
 */
#ifndef TMEM_IVSHMEM_RING_H
#define TMEM_IVSHMEM_RING_H

#include <linux/types.h>
#include <linux/virtio_ring.h>

#include "slot.h"

/*
 * Places in the region are numbered; place i has page i, block i and descriptors
 * 3i to 3i + 2.  A slot has a place while it is in the ring.
 *
 *   depth = nr_free + places that have a slot
 *   avail_idx - used_idx (modulo 2^16) = places that have a slot
 *
 * All fields are protected by the queue's lock.
 */
struct tmem_ivshmem_ring {
	struct vring_desc	*desc;		/* in the region, as the next two */
	struct vring_avail	*avail;
	struct vring_used	*used;
	void			*data;		/* in the region: pages, then blocks */
	u64			data_at;	/* data's offset in the region */
	unsigned int		size;		/* descriptors: a power of two */
	unsigned int		depth;		/* places */
	unsigned int		nr_free;
	u16			avail_idx;	/* the next to fill */
	u16			kicked_idx;	/* avail_idx when the host was last told or not */
	u16			used_idx;	/* the next to look at */
	bool			broken;
	struct tmem_slot	*slot[TMEM_SLOTS];
	u8			free[TMEM_SLOTS];
};

#define TMEM_IVSHMEM_CHAIN	3u	/* descriptors of a place */

/* Begin anew; the constant fields (desc to depth) are set. */
void tmem_ivshmem_ring_init(struct tmem_ivshmem_ring *r);

/* Copy the slot into the region and make it available.  -EIO. */
int  tmem_ivshmem_ring_submit(struct tmem_ivshmem_ring *r, struct tmem_slot *slot);

/*
 * True if the host asked to be told of what was made available since last time, or
 * if there is nothing new.
 */
bool tmem_ivshmem_ring_kick_due(struct tmem_ivshmem_ring *r);

/* The next slot that is done, its answer copied back; or NULL. */
struct tmem_slot *tmem_ivshmem_ring_complete(struct tmem_ivshmem_ring *r, u32 *written);

/* Ask for an interrupt at the next completion; false: one is there already. */
bool tmem_ivshmem_ring_arm(struct tmem_ivshmem_ring *r);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemp_ring.h - the split virtqueue as virtio 1.x publishes it (2.7).
 *
 * Owns:    the bytes of a ring that guest and host share, their places, and
 *          the one rule both sides compute: when an event index asks for a
 *          notification.
 * Used by: the host's ring engine and the user-space front-end.  A kernel
 *          guest has its own virtio driver and does not include this.
 * Must not: say who reads a field when, or in which order: that is written
 *          beside the engines.
 *
 * A ring of num descriptors (a power of two) has three parts, placed anywhere:
 *
 *   descriptors   16 * num bytes         aligned 16   written by the guest
 *   available     4 + 2 * num + 2 bytes  aligned 2    written by the guest
 *   used          4 + 8 * num + 2 bytes  aligned 4    written by the host
 *
 * The last two bytes of available are used_event, those of used avail_event;
 * both mean something only where EVENT_IDX was negotiated.  All integers are
 * little-endian; indices run freely modulo 2^16.
 */
#ifndef TMEMP_RING_H
#define TMEMP_RING_H

#include <assert.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define TMEMP_RING_NUM_MAX	1024u	/* largest ring version 1 uses */

#define TMEMP_DESC_NEXT		1u	/* the chain goes on at next */
#define TMEMP_DESC_WRITE	2u	/* the host writes it, else reads it */
#define TMEMP_DESC_INDIRECT	4u	/* addr is a table of descriptors */

#define TMEMP_AVAIL_NO_INTERRUPT	1u	/* avail.flags, without EVENT_IDX */
#define TMEMP_USED_NO_NOTIFY		1u	/* used.flags, without EVENT_IDX */

/* Feature bit numbers of virtio that a ring depends on. */
#define TMEMP_F_INDIRECT	28
#define TMEMP_F_EVENT_IDX	29
#define TMEMP_F_VERSION_1	32

struct tmemp_desc {
	__le64 addr;
	__le32 len;
	__le16 flags;
	__le16 next;
};

struct tmemp_avail {
	__le16 flags;
	__le16 idx;		/* where the guest puts the next head */
	__le16 ring[];		/* num heads, then used_event */
};

struct tmemp_used_elem {
	__le32 id;		/* head of the chain */
	__le32 len;		/* bytes written into it */
};

struct tmemp_used {
	__le16 flags;
	__le16 idx;		/* where the host puts the next element */
	struct tmemp_used_elem ring[];	/* num elements, then avail_event */
};

static_assert(sizeof(struct tmemp_desc) == 16, "ring layout");
static_assert(offsetof(struct tmemp_desc, len) == 8, "ring layout");
static_assert(offsetof(struct tmemp_desc, flags) == 12, "ring layout");
static_assert(offsetof(struct tmemp_desc, next) == 14, "ring layout");
static_assert(offsetof(struct tmemp_avail, idx) == 2, "ring layout");
static_assert(offsetof(struct tmemp_avail, ring) == 4, "ring layout");
static_assert(sizeof(struct tmemp_used_elem) == 8, "ring layout");
static_assert(offsetof(struct tmemp_used_elem, len) == 4, "ring layout");
static_assert(offsetof(struct tmemp_used, idx) == 2, "ring layout");
static_assert(offsetof(struct tmemp_used, ring) == 4, "ring layout");

static inline size_t tmemp_desc_bytes(unsigned int num)
{
	return sizeof(struct tmemp_desc) * num;
}

static inline size_t tmemp_avail_bytes(unsigned int num)
{
	return sizeof(struct tmemp_avail) + sizeof(__le16) * num + sizeof(__le16);
}

static inline size_t tmemp_used_bytes(unsigned int num)
{
	return sizeof(struct tmemp_used) + sizeof(struct tmemp_used_elem) * num + sizeof(__le16);
}

/* Written by the guest: interrupt me when used.idx passes this. */
static inline __le16 *tmemp_used_event(struct tmemp_avail *avail, unsigned int num)
{
	return &avail->ring[num];
}

/* Written by the host: kick me when avail.idx passes this. */
static inline __le16 *tmemp_avail_event(struct tmemp_used *used, unsigned int num)
{
	return (__le16 *)(void *)&used->ring[num];
}

/*
 * True if an index that went from old to now passed event, that is if event is
 * one of old, old + 1, ..., now - 1 modulo 2^16 (virtio 1.x, 2.7.7.2).
 */
static inline bool tmemp_ring_need_event(__u16 event, __u16 now, __u16 old)
{
	return (__u16)(now - event - 1) < (__u16)(now - old);
}

#endif

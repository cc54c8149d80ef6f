/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemp_ivshmem.h - the shared region of the ivshmem-doorbell transport.
 *
 * Owns:    what lies where in the region (BAR 2 of PCI device 1af4:1110), what
 *          the doorbell's vectors mean, and how rings are started and stopped.
 * Used by: the host (user space), the guest module (kernel), the user-space
 *          front-end.
 * Must not: include anything of ours.
 *
 * Conventions are those of tmemp.h.  Offsets are in bytes from the start of the
 * region.  The region is a power of two; only its first `bytes` have a meaning,
 * the host touches no others.
 *
 *   0x0000  struct tmemp_ivshmem_header   written by the host before the guest
 *                                         can see it, constant from then on
 *   0x1000  struct tmemp_ivshmem_guest    written by the guest
 *   0x2000  struct tmemp_ivshmem_host     written by the host
 *   rings   + q * ring_stride             the ring of queue q: a split virtqueue
 *                                         of ring_size descriptors, the three
 *                                         parts at 0, avail and used
 *   data    + q * data_stride             queue q's slots: first `slots` pages
 *                                         of TMEMP_PAGE_SIZE, then `slots`
 *                                         blocks of TMEMP_IVSHMEM_BLOCK
 *
 * A descriptor's address is an offset in the region; any place below `bytes` is
 * taken, the slots are only where the guest has room that nothing else uses.
 *
 * Both sides can write all of the region.  The host reads nothing back that it
 * wrote itself, but for a ring's used index once, when it starts the ring.
 *
 * Doorbells
 *   A guest rings (peer << 16 | vector) at offset 12 of BAR 0; the host
 *   interrupts by MSI-X vectors of the same numbers.
 *
 *     vector 0       control: attach changed; attached or state changed
 *     vector 1 + q   queue q
 *
 * Attaching
 *   The device says nothing when a guest reboots or reloads its driver, so the
 *   region has to.  attach is the guest's wish: 0, no rings; otherwise a number
 *   it draws, different from attached.  attached is the host's answer: the wish
 *   it has carried out.
 *
 *     guest: features, then attach = n, then doorbell 0
 *     host:  stops all rings, clears them, starts them if n != 0, then
 *            attached = n, then interrupt 0
 *     guest: sees attached == n; only now it may touch the rings
 *
 *   Rings begin with all indices 0.  After attached == 0 the host reads and
 *   writes nothing but the control page.  The host may take its time between
 *   two changes of attach; a guest rings again while it waits.
 *
 *   state says GONE once the host serves this region no more: it ended, or gave
 *   the guest up for what it did (a broken ring).  A new region comes only with
 *   a new device.
 */
#ifndef TMEMP_IVSHMEM_H
#define TMEMP_IVSHMEM_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <linux/types.h>
#include <stddef.h>
#endif

#define TMEMP_IVSHMEM_MAGIC	0x4d454d54u	/* "TMEM" */
#define TMEMP_IVSHMEM_VERSION	1u

#define TMEMP_IVSHMEM_PCI_VENDOR	0x1af4
#define TMEMP_IVSHMEM_PCI_DEVICE	0x1110
#define TMEMP_IVSHMEM_DOORBELL	12u	/* offset in BAR 0 */

#define TMEMP_IVSHMEM_GUEST_AT	0x1000u
#define TMEMP_IVSHMEM_HOST_AT	0x2000u
#define TMEMP_IVSHMEM_RINGS_AT	0x3000u	/* where this version's host puts them */

#define TMEMP_IVSHMEM_QUEUES_MAX	16u
#define TMEMP_IVSHMEM_BLOCK	256u	/* room for a request, a response, an indirect table */

struct tmemp_ivshmem_header {
	__le32 magic;
	__le32 version;
	__le32 peer;		/* the host's peer id, for doorbells */
	__le32 vectors;		/* queues + 1 */
	__le32 queues;		/* 1 to TMEMP_IVSHMEM_QUEUES_MAX */
	__le32 ring_size;	/* descriptors: a power of two */
	__le32 slots;		/* of each queue */
	__le32 ring_stride;	/* bytes */
	__le32 avail;		/* bytes from the ring's start */
	__le32 used;		/* bytes from the ring's start */
	__le64 rings;		/* offset */
	__le64 data;		/* offset */
	__le64 data_stride;	/* bytes */
	__le64 bytes;		/* of the region in use */
	__le64 features;	/* virtio's ring features that the host has */
	__le64 region;		/* drawn anew for each region; not 0 */
};

struct tmemp_ivshmem_guest {
	__le32 attach;		/* the guest's wish */
	__le32 reserved;
	__le64 features;	/* of header.features, those the guest uses */
};

#define TMEMP_IVSHMEM_ALIVE	0u
#define TMEMP_IVSHMEM_GONE	1u

struct tmemp_ivshmem_host {
	__le32 attached;	/* the wish that was carried out */
	__le32 state;		/* TMEMP_IVSHMEM_ALIVE or _GONE */
};

static_assert(sizeof(struct tmemp_ivshmem_header) == 88, "wire size");
static_assert(offsetof(struct tmemp_ivshmem_header, version) == 4, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, peer) == 8, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, vectors) == 12, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, queues) == 16, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, ring_size) == 20, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, slots) == 24, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, ring_stride) == 28, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, avail) == 32, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, used) == 36, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, rings) == 40, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, data) == 48, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, data_stride) == 56, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, bytes) == 64, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, features) == 72, "wire offset");
static_assert(offsetof(struct tmemp_ivshmem_header, region) == 80, "wire offset");
static_assert(sizeof(struct tmemp_ivshmem_guest) == 16, "wire size");
static_assert(offsetof(struct tmemp_ivshmem_guest, features) == 8, "wire offset");
static_assert(sizeof(struct tmemp_ivshmem_host) == 8, "wire size");
static_assert(offsetof(struct tmemp_ivshmem_host, state) == 4, "wire offset");

#endif

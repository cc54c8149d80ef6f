/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ivshmem_region.h - the shared region of one guest before a VMM asks for it.
 *
 * Owns:    the memory file, the doorbells (eventfds) of both directions, the
 *          layout, and the burst that hands them to a VMM.
 * How:     everything a connection needs is made before the socket listens.  A
 *          VMM reads the handshake with its guest stopped, so a stall there
 *          freezes the guest and a close makes it ask for ever: once accepted,
 *          there is nothing left that could fail or take time.
 *          The file is a power of two (a VMM aborts otherwise) and sealed, so
 *          that nobody can cut it under the others.  It is large and sparse: a
 *          BAR that does not fit below 4 GiB is placed above, where a guest may
 *          map it cached; below, some hosts would make every access uncached.
 *          Each connection gets a region of its own: a VMM that is still there
 *          has the old one mapped.
 * Must not: be used for two connections.
 *
 *   vectors = queues + 1; exactly as many eventfds are sent for each peer
 */
#ifndef HV_IVSHMEM_REGION_H
#define HV_IVSHMEM_REGION_H

#include <stdint.h>

#include "handover.h"
#include "tmemp_ivshmem.h"

#define IVSHMEM_VECTORS_MAX	(TMEMP_IVSHMEM_QUEUES_MAX + 1)
#define IVSHMEM_SIZE_DEFAULT	(2ull << 30)	/* bytes */
#define IVSHMEM_SIZE_MAX	(1ull << 40)

/* Two peers on a connection: a number is never used again on it. */
#define IVSHMEM_PEER_GUEST	0
#define IVSHMEM_PEER_HOST	1

struct ivshmem_region {
	struct tmemp_ivshmem_header layout;	/* as the guest reads it: little-endian */
	uint64_t size;				/* bytes of the file */
	uint64_t used;				/* bytes of it that mean something */
	unsigned vectors;
	int memory;
	int to_host[IVSHMEM_VECTORS_MAX];
	int to_guest[IVSHMEM_VECTORS_MAX];
};

/*
 * Make a region for that many queues.  size: bytes, 0 for the default; raised to
 * what the layout needs and to a power of two.  -EINVAL: too large; -ENOMEM, or
 * what the system said.
 */
int  ivshmem_region_create(struct ivshmem_region **out, unsigned queues, uint64_t size);
void ivshmem_region_destroy(struct ivshmem_region *r);

/*
 * Have it kept for a successor: *said tells all but the wish.  And back: -EPROTO
 * what is said makes no sense, -EBADF a descriptor is missing.
 */
void ivshmem_region_keep(const struct ivshmem_region *r, struct handover *h,
			 struct keep_ivshmem *said);
void ivshmem_region_drop(struct handover *h, const struct keep_ivshmem *said);
int  ivshmem_region_resume(struct ivshmem_region **out, struct handover *h,
			   const struct keep_ivshmem *said);

/* Send the whole handshake.  -errno of sendmsg; the connection is lost then. */
int  ivshmem_region_send(const struct ivshmem_region *r, int socket);

/* One message of the handshake; fd -1: no descriptor goes along. */
int  ivshmem_number_send(int socket, int64_t number, int fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ivshmem.h - one ivshmem-doorbell connection, the server's end.
 *
 * Owns:    the connection, its region, and the guest's wish: rings or no rings.
 * How:     the socket only says that the VMM lives; all else is in the region.
 *          The guest's wish (tmemp_ivshmem.h, "Attaching") comes with doorbell
 *          0 and is carried out on the control thread.  The rings are those of
 *          any other transport (queue.h): guest memory is the region, addresses
 *          are offsets in it.
 * Must not: read back from the region what was written there for the guest.
 *
 * What it survives, the guest writing anything anywhere in the region:
 *
 *   header or answer overwritten   never read here; costs the guest alone
 *   wish changed all the time      carried out once in HOLD_MS; doorbell 0 is
 *                                  not even looked at in between
 *   rings changed at any time      ring.h
 *   pages all over the file        it is sparse: they are the VMM's memory, as
 *                                  the guest's own; what we map is the layout
 *   file cut                       sealed
 *   eventfds made to block         alarm.h
 */
#ifndef HV_IVSHMEM_H
#define HV_IVSHMEM_H

#include "ivshmem_region.h"
#include "loop.h"
#include "queue.h"

struct ivshmem;

/*
 * Serve set over socket with a fresh region; hand it over and look for the first
 * wish.  On success socket and region belong to it, else to the caller.
 */
int  ivshmem_create(struct ivshmem **out, struct loop *l, struct queue_set *set, int socket,
		    struct ivshmem_region *region);

/*
 * Go on with the connection that set->kept tells of, its descriptors from the
 * keeper; socket is the caller's still on an error: -EPROTO the record is damaged,
 * or for another number of queues; -EBADF a descriptor is missing.  No ring is
 * served before ivshmem_go().
 */
int  ivshmem_resume(struct ivshmem **out, struct loop *l, struct queue_set *set, int socket);

/* Interrupt the guest, look at all rings and at its wish. */
void ivshmem_go(struct ivshmem *v);

/* Let go of everything but leave the connection to a successor. */
void ivshmem_leave(struct ivshmem *v);

/* Stop all rings, tell the guest that nobody serves it, close and unmap everything. */
void ivshmem_destroy(struct ivshmem *v);

/*
 * The socket has something to say.  -errno with *why set to a constant text: the
 * connection is over.  -ECONNRESET: the VMM closed it.
 */
int  ivshmem_input(struct ivshmem *v, const char **why);

/* Whether the guest had rings on this connection and wants none now. */
bool ivshmem_left(const struct ivshmem *v);

/*
 * Answer a connection that cannot be served.  A VMM that reads end of file in the
 * handshake asks again for ever; one that reads an unknown version gives up.
 */
void ivshmem_turn_away(int socket);

#endif

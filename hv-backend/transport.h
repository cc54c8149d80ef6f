/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transport.h - what the life of a guest (guest.c) needs of a transport.
 *
 * Owns:    the interface, and the table of transports.
 * How:     a connection is born on an accepted socket and dies with it.  Some
 *          transports need things made before anybody may connect: a kit, good
 *          for one connection.
 * Must not: know what goes over the socket.
 *
 * All functions run on the loop's thread.
 */
#ifndef HV_TRANSPORT_H
#define HV_TRANSPORT_H

#include "hv.h"
#include "queue.h"

struct transport_ops {
	/*
	 * Make a kit for that many queues.  region: bytes, 0 for the default.
	 * Without it there are no kits: *kit is NULL throughout.
	 */
	int  (*kit_create)(void **kit, unsigned queues, uint64_t region);
	void (*kit_destroy)(void *kit);

	/* On success socket and kit belong to the connection, else to the caller. */
	int  (*connect)(void **conn, struct loop *l, struct queue_set *set, int socket, void *kit);

	/*
	 * Go on with the connection that the set's record tells of (keep.h); socket
	 * belongs to it on success.  It serves nothing before go().
	 */
	int  (*resume)(void **conn, struct loop *l, struct queue_set *set, int socket);
	void (*go)(void *conn);

	/* Close all that is this process's, but leave the connection to a successor. */
	void (*leave)(void *conn);

	/* Stop and forget all rings, unmap guest memory, close every descriptor. */
	void (*disconnect)(void *conn);

	/*
	 * Take in what the socket has.  1: there may be more at once.  -errno with *why set to a constant text: the
	 * connection is over.  -ECONNRESET: the VMM closed it.
	 */
	int  (*input)(void *conn, const char **why);

	/* Whether the guest's driver was there and let go.  May be NULL. */
	bool (*left)(const void *conn);

	/* Tell whoever connected that this will not be; the socket stays the caller's.  May be NULL. */
	void (*turn_away)(int socket);
};

const struct transport_ops *transport_of(enum hv_transport t);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_backend.h - one vhost-user connection, the host's end.
 *
 * Owns:    the connection's buffer, negotiated features, the descriptors that
 *          came over it, and what the VMM has said of each ring.
 * How:     one table has a line for each message: its length, its descriptors,
 *          what handles it.  A message is taken in piece by piece, as much as is
 *          there; whole, it is checked against its line and handled.  Anything
 *          that breaks a rule ends the connection with a reason, after a negative
 *          acknowledgement where one was asked for.
 *          With a keeper (queue_set.handover), another process can go on with the
 *          connection wherever this one ends.
 * Must not: wait.  A VMM that sends half a message keeps its half; one that does
 *          not read its answers is failed.
 *
 * A ring runs while
 *
 *   size, addresses and a kick (or its absence) were given since the last stop,
 *   and it is enabled (always, where the VMM did not take PROTOCOL_FEATURES)
 *
 * Stopping (GET_VRING_BASE, disabling, RESET_DEVICE, the end) completes what is
 * parked.  A ring that starts is looked at without waiting for a kick: the
 * requests may be older than we are.
 */
#ifndef HV_VHOST_BACKEND_H
#define HV_VHOST_BACKEND_H

#include "queue.h"

struct vhost_backend;

/* What kind of device the set is, beside its rings.  Lives as long as the connection. */
struct vhost_device {
	uint64_t features;		/* virtio's own of that device */
	const void *config;		/* its configuration space; read-only to the guest */
	size_t config_size;		/* bytes; behind it are zeroes */
	/*
	 * NULL: no in-flight region is offered.  The stamp (not 0) of the life of what
	 * the device holds: what a region is made with.
	 */
	uint64_t (*life)(void *arg);
	/*
	 * A driver begins (fresh), or goes on with a region of that stamp, 0 being a
	 * region of somebody else's.
	 */
	void (*resumed)(void *arg, bool fresh, uint64_t stamp);
	int *inflight_file;		/* the one this VMM was given, -1: none yet (inflight.h) */
	void *arg;
};

/* Of the rings of a guest's driver: HELLO negotiates the rest. */
extern const struct vhost_device vhost_device_ring;

/* Serve set over socket, which must be non-blocking and belongs to it from now on. */
int  vhost_backend_create(struct vhost_backend **out, struct queue_set *set,
			  const struct vhost_device *device, int socket);

/*
 * Stop all rings, unmap guest memory, close every descriptor.  Persistent pages
 * and the session's boot stay.
 */
void vhost_backend_destroy(struct vhost_backend *v);

/* Let go of everything but leave the connection to a successor. */
void vhost_backend_leave(struct vhost_backend *v);

/*
 * Go on with the connection that set->kept tells of; socket is the caller's still
 * on an error: -EPROTO the record is damaged, -EBADF a descriptor is missing, or
 * what vhost_backend_create() may say.  No ring is served before vhost_backend_go().
 */
int  vhost_backend_resume(struct vhost_backend **out, struct queue_set *set,
			  const struct vhost_device *device, int socket);

/* Interrupt the guest and look at all rings that run. */
void vhost_backend_go(struct vhost_backend *v);

/*
 * Take in what the socket has.  Returns 0, 1 if there may be more at once (with a
 * keeper only: there, what is incomplete stays in the socket, which then is to be
 * watched by edges), or -errno with *why set to the reason, a
 * text that lives as long as v: the connection is over.  -ECONNRESET: the VMM
 * closed it.
 */
int  vhost_backend_input(struct vhost_backend *v, const char **why);

#endif

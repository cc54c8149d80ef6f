/* SPDX-License-Identifier: GPL-2.0 */
/*
 * transport.h - what a way to the host must be able to do.
 *
 * Owns:     the interface between slot.c (queues, slots, waiting) and a ring.
 * How:      a transport carries slots.  A ring that reaches all of the guest's
 *           memory names the slot's own buffers in its descriptors; one that
 *           shares a region copies them there in submit and back in complete;
 *           one that needs grants grants them once.  None sleeps but reset.
 * Must not: know operations, keys, or who waits for a slot.
 *
 * All calls but reset are made with the queue's lock held and interrupts off,
 * so a transport needs no lock of its own for one queue.
 */
#ifndef TMEM_TRANSPORT_H
#define TMEM_TRANSPORT_H

#include <linux/types.h>

struct tmem_slot;
struct tmem_transport;

struct tmem_transport_ops {
	/*
	 * Make the slot's request available to the host.  There is room for it;
	 * -EIO: the ring is broken.  On success the host owns the slot's
	 * buffers until complete returns the slot or reset has returned.
	 */
	int (*submit)(struct tmem_transport *t, unsigned int queue, struct tmem_slot *slot);

	/*
	 * Tell the host of what was submitted, where it asked to be told; if nothing
	 * was since the last time, somebody waits too long: tell it in any case.
	 */
	void (*notify)(struct tmem_transport *t, unsigned int queue);

	/* The next slot the host is done with, and the bytes it wrote; or NULL. */
	struct tmem_slot *(*complete)(struct tmem_transport *t, unsigned int queue, u32 *written);

	/* Ask for an interrupt at the next completion; false: one is there already. */
	bool (*arm)(struct tmem_transport *t, unsigned int queue);

	/* Ask for none; a hint. */
	void (*disarm)(struct tmem_transport *t, unsigned int queue);

	/*
	 * When this returns the host touches no buffer of any slot any more, and
	 * no interrupt is under way.  Sleeps.  Called once, after the last
	 * of the other calls; nothing follows it.
	 */
	void (*reset)(struct tmem_transport *t);
};

struct tmem_transport {
	const struct tmem_transport_ops *ops;
	const char *name;		/* for messages */
	unsigned int queues;		/* 1 to TMEM_QUEUES_MAX */
	unsigned int depth;		/* slots that fit each ring at once, whatever they ask */
};

#endif

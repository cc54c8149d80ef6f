/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inflight.h - the in-flight region of vhost-user: which requests a host that
 * died had begun and not completed.
 *
 * Owns:    the region's layout as vhost-user publishes it for split rings, its
 *          mapping, and the list of requests that are to be served again.
 * How:     the region is made here, and kept by the VMM over the end of this
 *          process.  A request is noted before it is served and unnoted after its
 *          used element is visible; a ring that starts with some noted gets those
 *          first, in the order they were begun.
 *          Behind the queues the region has a stamp of ours: the life of what the
 *          device holds.  A region that comes back with another stamp is of a
 *          time whose contents are gone.
 * Must not: believe the region, which the VMM can write: what is read is bounded,
 *          and a file cut short is sigbus.h's.
 *
 * A death at any instruction, by what is written in program order:
 *
 *   noted, not completed        served again
 *   completed, not unnoted      used.idx is one ahead of the region's: unnoted
 *
 * Locking: an inflight belongs to its queue's lock; a region is made and dropped
 * while the queues are stopped.
 */
#ifndef HV_INFLIGHT_H
#define HV_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tmemp_ring.h"

#define INFLIGHT_QUEUES_MAX	16u

struct inflight_queue;		/* one queue's part of the region */

/* One queue's view of it. */
struct inflight {
	struct inflight_queue *at;
	uint16_t size;			/* descriptors noted there */
	uint64_t counter;		/* the last one given out */
	unsigned again, again_next;	/* heads to be served again, and those that were */
	uint16_t again_head[TMEMP_RING_NUM_MAX];
};

struct inflight_region {
	int fd;				/* -1: none */
	void *map;
	size_t len;
	int guard;			/* SIGBUS slot */
	unsigned queues;
	struct inflight queue[INFLIGHT_QUEUES_MAX];
};

/* What a VMM is told of a region, or tells: bytes, and the queues it is for. */
struct inflight_place {
	uint64_t size, offset;
	uint16_t queues, queue_size;
};

/*
 * Make a region for p->queues of p->queue_size; p->size and offset are set.  *file
 * is the one that this VMM was given before (-1: none), which stays the caller's: it is
 * emptied and given again, so that asking often takes no more memory, however many
 * descriptors are kept.  -EINVAL: more than there can be; or what the system said.
 */
int  inflight_create(struct inflight_region *r, struct inflight_place *p, uint64_t stamp,
		     int *file);

/*
 * Map the one in fd, which stays the caller's.  *stamp is what it carries, 0 if
 * none of ours.  -EINVAL: it does not hold what it should; or what mmap said.
 */
int  inflight_attach(struct inflight_region *r, const struct inflight_place *p, int fd,
		     uint64_t *stamp);

/* Let go of it; the VMM may still have it.  No queue may use it. */
void inflight_drop(struct inflight_region *r);

/* A ring of num starts whose next used element is used: what is to be served again? */
void inflight_resume(struct inflight *q, unsigned num, uint16_t used);

/* The next head to be served again; false: there is none any more. */
bool inflight_again(struct inflight *q, uint16_t *head);

/* A request is about to be served; and is completed, used is the ring's index now. */
void inflight_begin(struct inflight *q, uint16_t head);
void inflight_end(struct inflight *q, uint16_t head, uint16_t used);

#endif

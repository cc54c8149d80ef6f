/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.h - a thread that drains the queues bound to it.
 *
 * Owns:    the thread, its epoll set of kick descriptors, the list of queues
 *          that are active, and its time: serve, look on for a while (spin.h),
 *          sleep.
 * How:     a kick makes a queue active.  Active queues are served in turn, a
 *          slice each, without kicks; when there is no more work and looking on
 *          does not pay, kicks are asked for again and the thread sleeps.  An
 *          idle worker costs nothing.
 * Must not: touch a ring without its queue (queue.h), or read kick descriptors:
 *          they are watched edge-triggered, so nothing can block there.
 *
 * Its control calls are made by the control thread with no lock held, and hand
 * one function to the thread, which runs it between two slices.
 */
#ifndef HV_WORKER_H
#define HV_WORKER_H

#include <stdint.h>

#include "queue.h"
#include "tmem.h"

struct worker;

/* Start a thread; poll_us bounds its spins.  -ENOMEM, or what the system said. */
int  worker_create(struct worker **out, struct tmem *core, unsigned poll_us);

/* Every queue must be stopped. */
void worker_destroy(struct worker *w);

/* Watch q's kicks; the descriptor stays the caller's.  -errno of epoll_ctl. */
int  worker_watch(struct worker *w, struct queue *q, int kick);
void worker_unwatch(struct worker *w, int kick);

/*
 * Look at q now, without a kick; from then on by time if polled (no kick will
 * ever come).
 */
void worker_activate(struct worker *w, struct queue *q, bool polled);

/*
 * queue_stop() on q's worker, under its alarm.  After it the worker
 * has no pointer to q; that its kicks are not watched any more is the caller's.
 */
uint16_t worker_stop(struct worker *w, struct queue *q);

/* queue_replay() and queue_release() on q's worker, under its alarm. */
enum queue_replayed worker_replay(struct worker *w, struct queue *q);
void worker_release(struct worker *w, struct queue *q);

struct worker_info {
	uint64_t spin_ns, busy_ns;	/* since it was started */
};
void worker_info(struct worker *w, struct worker_info *info);

/* Add its requests' latencies to out. */
void worker_latency(struct worker *w, struct latency_reading *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * queue.h - a guest's queues: a ring each, their locks, barriers, interrupts.
 *
 * Owns:    the locks that make rings, memory table and session consistent.
 * How:     the worker a queue is bound to drains it in slices under the queue's
 *          lock.  The control thread takes the lock to start and stop a ring,
 *          and all of them to change the memory table.  A barrier operation is
 *          served by its own worker with all locks held.
 * Must not: block: an interrupt is one write to a descriptor that is made not
 *          to block, and ends with its thread's alarm if it does; nothing else
 *          here is a system call.
 *
 * Lock order, everywhere in the data plane:
 *
 *   queue[0].lock < queue[1].lock < ... of one guest < the core's locks
 *   worker.c's lock stands alone: nothing is taken under it
 *
 * No thread holds locks of two guests.  Handshakes with a worker (worker.h) are
 * made with no lock held.
 *
 *   running  implies  ring is set, its layout lies in mem
 *   inflight != NULL implies nothing is parked: what is fetched is completed next
 *   unfinished implies  nothing is fetched until that is done
 *   fault    implies  the connection is to be ended by the control thread
 */
#ifndef HV_QUEUE_H
#define HV_QUEUE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fair.h"
#include "memmap.h"
#include "ring.h"
#include "session.h"

#define QUEUES_MAX	16u
static_assert(QUEUES_MAX <= KEEP_QUEUES_MAX, "a word for each ring");

struct handover;
struct inflight;
struct queue_set;
struct worker;

struct queue_lane;

/* What answers the requests of a set: a guest's session, or its disk. */
struct queue_service {
	/* Serve the chain just fetched from r: as session_serve(). */
	enum session_verdict (*serve)(void *arg, struct session_worker *w, struct ring *r,
				      const struct ring_chain *c, bool alone);
	/*
	 * Answer it with an error and nothing else: it was being executed each time
	 * the daemon died of a fault.  NULL: the set knows its own way (queue_replay()).
	 */
	void (*refuse)(void *arg, struct ring *r, const struct ring_chain *c);
};

/* Where the VMM says the ring is, in its own addresses. */
struct queue_place {
	unsigned num;
	uint64_t desc, avail, used;
};

struct queue {
	struct queue_set *set;		/* constant, as the next two */
	unsigned index;
	struct worker *worker;
	struct queue_lane *lane;	/* likewise */

	pthread_mutex_t lock;		/* protects down to inflight */
	struct ring ring;
	struct queue_place place;
	bool running;
	bool held;			/* resumed: kicks that come are not obeyed yet */
	int call;			/* interrupt descriptor, -1: none */
	bool barrier;			/* the next request waits for until[] */
	uint16_t until[QUEUES_MAX];
	bool unfinished;		/* rest is left of the request fetched last */
	bool winding_down;		/* no request is begun */
	struct session_rest rest;
	unsigned strikes;		/* of the first request after the start */
	struct inflight *inflight;	/* where its requests in flight are noted; NULL: nowhere */

	_Atomic(const char *) fault;	/* why the ring failed; constant text */
	_Atomic uint64_t kicks, interrupts;
	struct tmemp_op refused;	/* written by queue_replay() */
	unsigned deaths;

	/* The worker's own. */
	bool active;
	bool polled;			/* no kicks come: to be looked at by time */
	struct queue *next_active;	/* of its lane */
	uint64_t worked;		/* when it last had work, or was kicked */
};

/*
 * A guest's queues at one worker, which takes them in turn.  The worker's own, but
 * for worker, which is constant.
 *
 *   fair.in == (active != NULL)
 */
struct queue_lane {
	struct fair_guest fair;
	struct worker *worker;		/* NULL: not used */
	struct queue *active;		/* the next to be served; last->next_active is NULL */
};

struct queue_set {
	struct queue queue[QUEUES_MAX];
	struct queue_lane lane[QUEUES_MAX];
	unsigned count;			/* constant */
	struct memmap mem;		/* read with any lock, changed with all */
	struct session session;		/* as session.h says */
	const struct queue_service *service;	/* constant, as the next */
	void *service_arg;
	void (*failed)(void *arg);	/* from any worker: a queue has a fault to read */
	void *failed_arg;
	struct keep_guest *kept;	/* for a successor; NULL: a device's, without a session */
	struct handover *handover;	/* where its descriptors are kept; NULL: nowhere */
};

/*
 * All zero but for what is given.  worker[i] is the one queue i is bound to; kept
 * outlives the set.
 */
void queue_set_init(struct queue_set *set, unsigned count, struct worker *const worker[],
		    struct tmem_client *client, struct keep_guest *kept, struct handover *handover,
		    void (*failed)(void *arg), void *arg);

/* The same for a device that is no driver's: it has no session. */
void queue_set_init_device(struct queue_set *set, unsigned count, struct worker *const worker[],
			   const struct queue_service *service, void *service_arg,
			   void (*failed)(void *arg), void *arg);

/* Every queue must be stopped. */
void queue_set_fini(struct queue_set *set);

/* ---- control thread ----------------------------------------------------- */

/*
 * Start a ring that is not running.  -EINVAL: size or alignment; -EFAULT: not in
 * guest memory.
 */
int queue_start(struct queue *q, const struct queue_place *place, uint64_t features);

/*
 * Before its worker stops it: no request is begun any more, and what is left of one
 * is done here and not on the worker's time.
 */
void queue_wind_down(struct queue *q);

/* Note what is in flight there from the next start on; NULL: nowhere.  It is stopped. */
void queue_inflight_set(struct queue *q, struct inflight *inflight);
/*
 * Start a ring that another process served until it was killed, where that one
 * stopped.  What it was executing is queue_replay()'s, and nothing is served until
 * queue_release().  Errors as queue_start(); -EPROTO: what was kept of it makes no
 * sense.
 */
int queue_resume(struct queue *q, const struct queue_place *place, uint64_t features);

/* Send interrupts to fd (-1: nowhere) from now on; returns the one before. */
int queue_call_set(struct queue *q, int fd);

/*
 * Change the memory table: fn changes set->mem with all locks held, then running
 * rings follow.  Returns what fn did, or -EFAULT if a running ring's place is
 * no longer in memory; that ring is stopped then.
 */
int queue_set_memory(struct queue_set *set, int (*fn)(struct memmap *m, void *arg), void *arg);

/* Tell the guest of TMEMP_EVENT_* bits.  0, or -errno of alarm_create(). */
int queue_set_event(struct queue_set *set, uint64_t events);

/* End the connection that q belongs to; why is constant text. */
void queue_fail(struct queue *q, const char *why);
#define QUEUE_INTERRUPT_BLOCKS	"interrupt descriptor blocks"

/* The first fault in the set, or NULL; *index is its queue. */
const char *queue_set_fault(struct queue_set *set, unsigned *index);

/* A new connection starts without the faults of the last. */
void queue_set_fault_clear(struct queue_set *set);

/* Rings that run. */
unsigned queue_set_running(struct queue_set *set);

/* ---- worker ------------------------------------------------------------- */

/*
 * A turn: at most budget requests, or as many as take w->turn_ns, and one that is
 * begun or a step of it is not cut short.  Returns how many; 0: there was no work.
 */
unsigned queue_serve(struct queue *q, struct session_worker *w, unsigned budget);

/*
 * Stop a ring: what is parked on it is completed, its last interrupt sent; nothing
 * is unfinished (queue_wind_down()).
 * Returns the index of the next request it would have taken; also for a queue
 * that is not running.  The control thread asks for it by worker_stop().
 */
uint16_t queue_stop(struct queue *q);

/*
 * Serve the request that the process before us was executing when it died, with
 * nothing else running anywhere, so that another death is known to be its doing.
 * One that faulted twice is answered with an error in place of executing it, and
 * so is one that dies alone twice by a signal that may have come from anywhere.
 */
enum queue_replayed {
	REPLAY_NONE,		/* there was none */
	REPLAY_SERVED,
	REPLAY_REFUSED,		/* answered with an error: q->refused, q->deaths */
	REPLAY_HOPELESS,	/* not even that could be done: the queue has failed */
};
enum queue_replayed queue_replay(struct queue *q, struct session_worker *w);

/*
 * Serve a ring that was resumed, from now on.  And interrupt the guest, whatever it
 * wants: the process before us may have owed it one.
 */
void queue_release(struct queue *q);

/* Before sleep: ask for a kick.  True if there is work already. */
bool queue_kick_want(struct queue *q);

/* Awake: kicks are not needed. */
void queue_kick_spare(struct queue *q);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session.h - one guest's requests: fetch, decode and validate, execute, reply.
 *
 * Owns:    the session's state (nonce, epoch, the parked EVENT) and the table
 *          from the core's errno to the wire's status.
 * How:     session_serve() takes one chain through the four steps.  Whatever a
 *          guest puts into it ends in a status, or in used.len 0 where there is
 *          no place for one.
 * Must not: know sockets or threads, or look at guest memory but through the
 *          ring's ops.
 *
 * Locking: each queue of a guest has a lock (queue.h).  What is marked (all) is
 * written with all of them held and may be read with any one, so a request sees
 * one state from its check to its reply without a lock of its own.
 *
 * What the next process of ours needs is in the state file (keep.h) and nowhere
 * else; those fields are (all) too.
 *
 *   kept->open          implies  kept->epoch != 0
 *   parked.ring != NULL implies  that ring runs and has the head fetched
 */
#ifndef HV_SESSION_H
#define HV_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "keep.h"
#include "latency.h"
#include "ring.h"
#include "tmem.h"
#include "tmemp_decode.h"

/*
 * A request that has been executed but for what it took out of the core, which is
 * freed in steps so that others need not wait for it; then it is answered.
 */
struct session_rest {
	struct tmem_drop drop;
	uint64_t took_ns;		/* so far */
	uint64_t response;		/* guest address, checked again when used */
	uint16_t head;
	uint16_t op;
	struct tmemp_response answer;
};

/* What a thread needs to execute requests; belongs to one thread. */
struct session_worker {
	struct tmem_ctx *ctx;
	struct latency latency;		/* of what this thread has served */
	uint64_t turn_ns;		/* a queue's turn ends after so long (queue.h); constant */
	uint64_t spent_ns;		/* on requests, in this turn */
	struct ring_chain chain;	/* being served */
	struct session_rest rest;	/* of it, after SESSION_UNFINISHED */
	uint8_t page[TMEM_PAGE_SIZE] __attribute__((aligned(64)));
};

struct session_parked {
	struct ring *ring;		/* NULL: none */
	uint16_t head;
	uint64_t response;		/* guest address, checked again when used */
};

struct session {
	struct tmem_client *client;	/* constant */
	struct keep_session *kept;	/* constant */
	struct session_parked parked;	/* (all) */
	_Atomic uint64_t requests;	/* served or parked, since the guest was added */
	_Atomic uint64_t bad_requests;	/* answered with a TMEMP_BAD_* status */
};

enum session_verdict {
	SESSION_DONE,		/* answered, or parked */
	SESSION_BARRIER,	/* nothing done yet: take all locks and serve it then */
	SESSION_UNFINISHED,	/* w->rest is left of it */
};

/* kept: zeroes, or what the process before us left. */
void session_init(struct session *s, struct tmem_client *client, struct keep_session *kept);

/*
 * Serve the chain just fetched from r.  The lock of r's queue is held; alone
 * says that all are, which barriers and EVENT need.
 */
enum session_verdict session_serve(struct session *s, struct session_worker *w, struct ring *r,
				   const struct ring_chain *c, bool alone);

/*
 * A step of what is left of a request of r, whose queue's lock is held; true if
 * nothing is any more.  w: whose time it is, NULL: nobody's.  answered: r runs, and
 * is to have the answer.
 */
bool session_go_on(struct session_worker *w, struct ring *r, struct session_rest *rest,
		   bool answered);

/*
 * Tell the guest of TMEMP_EVENT_* bits now, or as soon as it parks an EVENT.  What
 * is asked for again has no result yet.  All locks held.
 */
void session_event_raise_locked(struct session *s, uint64_t events);

/* Complete the parked EVENT, if there is one, with TMEMP_EVENT_* bits.  All locks held. */
void session_event_locked(struct session *s, uint64_t events);

/* r goes on where the process before us was killed: what it had parked is parked. */
void session_resume(struct session *s, struct ring *r);

/*
 * Answer the chain just fetched with an error in place of executing it, with all
 * locks held.  flush: remove the page that a PUT would have replaced.  *what is the
 * request, as far as it can be told.
 */
void session_refuse(struct session *s, struct session_worker *w, struct ring *r,
		    const struct ring_chain *c, bool flush, struct tmemp_op *what);

/* The connection ended: ephemeral pages go, persistent ones wait.  Rings are stopped. */
void session_end(struct session *s);

/* The VMM is gone, or never to be trusted again: drop all pools and the boot. */
void session_forget(struct session *s);

#endif

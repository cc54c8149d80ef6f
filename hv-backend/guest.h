/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - one guest's life, from its socket to the last of its pages.
 *
 * Owns:    the listening socket, who is connected, the VMM process's identity,
 *          the client in the core, and when its pages go.
 * How:
 *
 *                 VMM connects            driver says HELLO
 *   [listening] -------------> [connected] --------------> [ready]
 *        ^                       |    ^                       |
 *        |                       |    | same VMM connects     |
 *        |  VMM exited:          v    |                       |
 *        '------------------- [departed] <--------------------'
 *           all pools dropped       connection ends, for whatever reason:
 *                                   ephemeral pages dropped at once
 *
 *          A VMM is a process: the peer's pid, and a pidfd that says when it has
 *          exited.  While it lives, its persistent pages wait for it to come
 *          back; another process that connects meanwhile is turned away as long
 *          as there are such pages, and takes the guest's place otherwise.
 *          What the process before us left of a guest is taken up: the client by
 *          its name, the VMM by its number and start (keep.h).  If that has
 *          exited, its pages go at once.  With a keeper (handover.h) the connection
 *          goes on as well, and so do the rings.
 *          A VMM whose process cannot be known (it lives in a pid namespace that
 *          we do not see) loses its pages with its connection.
 * Must not: let anything a VMM or guest does end more than this guest's
 *          connection.  All functions run on the loop's thread.
 */
#ifndef HV_GUEST_H
#define HV_GUEST_H

#include "hv.h"
#include "worker.h"

struct guest;

/* What all guests share. */
struct guest_env {
	struct loop *loop;
	struct tmem *core;
	struct keep *keep;
	struct handover *handover;	/* NULL: nobody keeps descriptors */
	void (*failed)(void *arg);	/* a queue of some guest has a fault; any thread */
	void *failed_arg;
	gid_t socket_group;		/* 0: whatever a socket is made with */
	unsigned poll_us;		/* of a disk's workers */
};

/*
 * Listen, and make its disk.  worker[i] serves queue i.  Errors: -EINVAL name, -ENAMETOOLONG socket,
 * -EADDRINUSE somebody else listens there, or what bind said.
 */
int  guest_create(struct guest **out, const struct guest_env *env, const struct hv_guest_config *c,
		  unsigned queues, struct worker *const worker[]);

/* Disconnect it, drop its pages and its client, remove its socket. */
void guest_destroy(struct guest *g);

/* The same for the end of the process alone: pages and client stay for the next. */
void guest_leave(struct guest *g);

const char *guest_name(const struct guest *g);

/*
 * A guest that goes on where a predecessor was killed, in two steps, both to be
 * made for all guests before the next: see to the requests that were being
 * executed, one after the other; serve.
 */
void guest_replay(struct guest *g);
void guest_go(struct guest *g);

/* If a queue has failed, end the connection. */
void guest_check(struct guest *g);

/* As hv_guest_drain(). */
int  guest_drain(struct guest *g, bool drain);

/* The strings live as long as the guest. */
void guest_info(struct guest *g, struct hv_guest_info *info);

#endif

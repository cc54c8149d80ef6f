/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * victim.h - a guest that one test does something wrong with.
 *
 * How:     every function asserts that all went as it says; a test is what stands
 *          between victim_open() and one of the two ends.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include "hosting.h"

struct victim {
	struct hosting *host;
	const char *name;
	struct front *f;
	struct front_queue *q;		/* queue 0 */
	char path[DAEMON_PATH_MAX];
};

/* Connect, HELLO, persistent pool 0. */
void victim_open(struct victim *v, struct hosting *host, const char *name, bool indirect);

/* The guest works: what was put comes back. */
void victim_check_works(struct victim *v);

/* An end: the guest works on the same connection, and the log is silent. */
void victim_check_unharmed(struct victim *v);

/*
 * The other end: the connection was closed, with one line that holds reason; and
 * the guest, set up anew as after a reset, is served again.
 */
void victim_check_failed(struct victim *v, const char *reason);

/* A request of that operation on one key, not yet queued. */
struct front_request *victim_request(struct victim *v, uint16_t op);

/* Wait for r and free its slot; its status. */
uint32_t victim_answer(struct victim *v, struct front_request *r);

/* Queue r and wait for it. */
uint32_t victim_submit(struct victim *v, struct front_request *r);

/* The same by descriptors that are already written. */
uint32_t victim_submit_head(struct victim *v, struct front_request *r, uint16_t head);

/* Show the host a chain that it is expected to fail on. */
void victim_provoke(struct victim *v, uint16_t head);

#endif

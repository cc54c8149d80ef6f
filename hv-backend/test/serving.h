/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serving.h - a loop on a thread of its own, for what serves one socket.
 *
 * Owns:    a directory for the socket, the loop, its thread.
 * How:     serving_open(), create what listens at path on loop, serving_run(); and
 *          serving_end(), destroy it, serving_close().  All assert that all went well.
 */
#ifndef SERVING_H
#define SERVING_H

#include <pthread.h>

#include "loop.h"

struct serving {
	char dir[32], path[64];
	struct loop *loop;
	struct loop_source *stop_source;
	int stop_fd;
	pthread_t thread;
};

void serving_open(struct serving *s);
void serving_run(struct serving *s);

/* The loop is at its end. */
void serving_end(struct serving *s);

/* Nothing of it is left, the socket least of all. */
void serving_close(struct serving *s);

/* A connection to it. */
int serving_dial(const struct serving *s);

#endif

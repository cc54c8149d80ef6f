/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * campaign.h - hostile guests beside honest ones in one daemon.
 *
 * Owns:    what main.c, honest.c and hostile.c share.
 * How:     main.c starts a daemon, a process that breeds hostile guests, and a
 *          thread for each honest one.  A hostile guest lives for one round, in a
 *          process of its own: all it does follows from the round's seed, and it
 *          may crash itself.  Rounds are numbered through; a campaign that fails
 *          says at which seed to begin again.
 */
#ifndef CAMPAIGN_H
#define CAMPAIGN_H

#include <pthread.h>
#include <stdatomic.h>

#include "test/hosting.h"

#define HOSTILE_GUESTS	4u	/* the last one over ivshmem */

/* Shared by all processes. */
struct campaign {
	_Atomic bool stop;
	_Atomic uint64_t next;				/* seed of the next round */
	_Atomic uint64_t running[HOSTILE_GUESTS];	/* seeds of those that run, */
	_Atomic uint64_t before[HOSTILE_GUESTS];	/* and of those before them */
	_Atomic uint64_t rounds;			/* ended */
	_Atomic uint64_t steps;				/* hostile acts */
};

uint64_t campaign_random(uint64_t *state);

static inline uint32_t campaign_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(campaign_random(state) % n);
}

/* ---- honest.c ---------------------------------------------------------- */

#define HONEST_KEYS	1500u
#define HONEST_POOLS	2u	/* by number: persistent, ephemeral */

struct honest {
	struct front *front;
	const char *name;
	pthread_t thread;
	uint64_t rng;
	uint64_t serial;			/* of the page put last */
	uint64_t held[HONEST_POOLS][HONEST_KEYS];	/* what was put: serial, or 0 */
	struct campaign *campaign;
	_Atomic uint64_t verified;		/* pages that came back right */
	char error[160];			/* "": none; read it when the thread has ended */
};

/* Connect and begin to work in a thread.  0 or -errno. */
int honest_start(struct honest *h, const struct hosting *host, bool ivshmem);

/* Wait for the thread, which ends by campaign.stop or an error; then look at every page. */
void honest_finish(struct honest *h);

/* ---- hostile.c --------------------------------------------------------- */

#define HOSTILE_ALONE	3	/* exit status: nobody listens any more */

/* One round against the guest's socket.  Returns, exits, or dies. */
void hostile_round(struct campaign *c, const char *socket, bool ivshmem, uint64_t seed);

#endif

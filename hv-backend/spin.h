/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spin.h - whether a worker that ran out of work looks on or goes to sleep.
 *
 * Owns:    the decision, as a function of what it was told; times in ns.
 * How:     two conditions, both needed:
 *            - work comes close together: the running mean of the gaps between
 *              end of work and next work is at most the longest spin (it holds the
 *              cost of a kick and of waking up while the worker sleeps, so it is
 *              an upper bound of what spinning would see);
 *            - looking on has paid: after two spins in a row that found nothing,
 *              or one in which the thread lost its processor, there is none for
 *              a rest, which doubles each time up to SPIN_REST_MAX_NS and starts
 *              anew after SPIN_HITS spins that found work.
 *          The second is what saves a host with more guests than processors:
 *          there, a spinning worker keeps the very guest from running that it
 *          waits for, gaps look short, and every spin is in vain.
 * Must not: read a clock.
 */
#ifndef HV_SPIN_H
#define HV_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_REST_MIN_NS	1000000ull
#define SPIN_REST_MAX_NS	32000000ull
#define SPIN_HITS		64u

struct spin {
	uint64_t max_ns;	/* longest spin; 0: never */
	uint64_t gap_ns;	/* running mean, each gap counted as 4 * max_ns at most */
	uint64_t rest_until;	/* absolute */
	uint64_t rest_ns;	/* the next rest */
	unsigned misses;	/* in a row */
	unsigned hits;		/* in a row */
};

void spin_init(struct spin *s, uint64_t max_ns);

/* How long to look on from now; 0: sleep at once. */
uint64_t spin_budget(const struct spin *s, uint64_t now);

/* Work came gap ns after the last ended, and was found by looking on. */
void spin_hit(struct spin *s, uint64_t gap);

/* Work came gap ns after the last ended, by a kick; spun says a spin was in vain. */
void spin_miss(struct spin *s, uint64_t now, uint64_t gap, bool spun);

/* The thread lost its processor while it looked on. */
void spin_preempted(struct spin *s, uint64_t now);

#endif

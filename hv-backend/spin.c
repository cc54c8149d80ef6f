/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spin.c - the running mean and the rests.
 */
#include "spin.h"

#define MISSES_MAX	2u
#define MEAN_SHIFT	3	/* weight of a new gap: 1/8 */

void spin_init(struct spin *s, uint64_t max_ns)
{
	/* The mean starts where spinning begins to pay, so that it is tried. */
	*s = (struct spin){
		.max_ns = max_ns,
		.gap_ns = max_ns,
		.rest_ns = SPIN_REST_MIN_NS,
	};
}

uint64_t spin_budget(const struct spin *s, uint64_t now)
{
	if (now < s->rest_until || s->gap_ns > s->max_ns)
		return 0;
	return s->max_ns;
}

static void gap_add(struct spin *s, uint64_t gap)
{
	uint64_t most = 4 * s->max_ns;

	if (gap > most)
		gap = most;
	s->gap_ns = s->gap_ns - (s->gap_ns >> MEAN_SHIFT) + (gap >> MEAN_SHIFT);
}

static void rest_begin(struct spin *s, uint64_t now)
{
	s->misses = 0;
	s->hits = 0;
	s->rest_until = now + s->rest_ns;
	if (s->rest_ns < SPIN_REST_MAX_NS)
		s->rest_ns *= 2;
}

void spin_hit(struct spin *s, uint64_t gap)
{
	gap_add(s, gap);
	s->misses = 0;
	if (++s->hits >= SPIN_HITS)
		s->rest_ns = SPIN_REST_MIN_NS;
}

void spin_miss(struct spin *s, uint64_t now, uint64_t gap, bool spun)
{
	gap_add(s, gap);
	if (!spun)
		return;
	s->hits = 0;
	if (++s->misses >= MISSES_MAX)
		rest_begin(s, now);
}

void spin_preempted(struct spin *s, uint64_t now)
{
	rest_begin(s, now);
}

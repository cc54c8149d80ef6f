// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plan.c - who would lose what.
 *
 * How:     the core's own rule, from tmem.h: the client most above its share
 *          (physical / weight) loses a frame, none goes below its min.  Large
 *          amounts are taken several frames at once, so that a plan is quick.
 */
#include "plan.h"

#include <stdio.h>

#define STEPS_MAX 8192u

void plan_guest_set(struct plan_guest *g, const struct tmem_client_info *info)
{
	*g = (struct plan_guest){
		.weight = info->quota.weight,
		.min = info->quota.min,
		.ephemeral = info->kind[TMEM_EPHEMERAL].bytes_physical,
		.physical = info->kind[TMEM_EPHEMERAL].bytes_physical +
			    info->kind[TMEM_PERSISTENT].bytes_physical,
	};
	snprintf(g->name, sizeof(g->name), "%s", info->name);
}

uint64_t plan_freeable(const struct plan_guest *g)
{
	uint64_t above = g->physical - g->lost > g->min ? g->physical - g->lost - g->min : 0;
	uint64_t left = g->ephemeral - g->lost;

	return left < above ? left : above;
}

/* a's physical / weight is above b's. */
static int is_above(const struct plan_guest *a, const struct plan_guest *b)
{
	return (unsigned __int128)(a->physical - a->lost) * b->weight >
	       (unsigned __int128)(b->physical - b->lost) * a->weight;
}

static struct plan_guest *victim(struct plan_guest *guests, size_t count)
{
	struct plan_guest *most = NULL;

	for (size_t i = 0; i < count; i++) {
		if (plan_freeable(&guests[i]) && (!most || is_above(&guests[i], most)))
			most = &guests[i];
	}
	return most;
}

uint64_t plan_shrink(struct plan_guest *guests, size_t count, uint64_t frame, uint64_t bytes)
{
	uint64_t step = (bytes / STEPS_MAX / frame + 1) * frame, taken = 0;
	struct plan_guest *g;

	while (taken < bytes && (g = victim(guests, count))) {
		uint64_t can = plan_freeable(g);
		uint64_t now = can < step ? can : step;

		g->lost += now;
		taken += now;
	}
	return taken;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fair.c - a sorted list: few guests are in hand at one time.
 */
#include <stddef.h>

#include "fair.h"

/* Before those with the same start, or behind them. */
static void insert(struct fair *f, struct fair_guest *g, bool before)
{
	struct fair_guest **at = &f->first;

	while (*at && (*at)->start + before <= g->start)
		at = &(*at)->next;
	g->next = *at;
	*at = g;
}

static void take_out(struct fair *f, struct fair_guest *g)
{
	struct fair_guest **at = &f->first;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
}

void fair_add(struct fair *f, struct fair_guest *g)
{
	if (g->in)
		return;
	g->in = true;
	if (g->start < f->now)
		g->start = f->now;
	insert(f, g, true);
}

void fair_remove(struct fair *f, struct fair_guest *g)
{
	if (!g->in)
		return;
	g->in = false;
	take_out(f, g);
}

void fair_charge(struct fair *f, struct fair_guest *g, uint64_t ns)
{
	/* One that stayed in with nothing to do was away all the same. */
	if (g->start < f->now)
		g->start = f->now;
	f->now = g->start;
	take_out(f, g);
	g->start += ns;
	insert(f, g, false);
}

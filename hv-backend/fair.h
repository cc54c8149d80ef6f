/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fair.h - which guest a worker serves next.
 *
 * Owns:    the order of the guests that a worker has in hand, by the time each had.
 * How:     start-time fair queueing (Goyal, Vin, Cheng 1996), with turns for packets
 *          and measured time for length.  A guest's start is where its next turn
 *          begins in virtual time; a turn moves it on by the time that it took.  The
 *          guest with the lowest start goes next.  Virtual time is the start of the
 *          turn served last, and a guest that was away starts no earlier: time not
 *          used is not saved up.
 *          So those who want more than their share get equal times, whatever their
 *          requests cost and however many queues they have; and one who wants less
 *          is behind all of them when it comes, and waits for one turn, that under way.
 * Must not: read a clock, or know what a guest is.
 *
 *   first, its next, ...  have ascending starts; of equal ones the last served is last
 */
#ifndef HV_FAIR_H
#define HV_FAIR_H

#include <stdbool.h>
#include <stdint.h>

struct fair_guest {
	uint64_t start;			/* virtual ns */
	struct fair_guest *next;
	bool in;			/* in the order */
};

struct fair {
	uint64_t now;			/* virtual ns */
	struct fair_guest *first;
};

/* Nothing happens if g is in already, or is not. */
void fair_add(struct fair *f, struct fair_guest *g);
void fair_remove(struct fair *f, struct fair_guest *g);

/* g, which is in, had a turn of ns. */
void fair_charge(struct fair *f, struct fair_guest *g, uint64_t ns);

#endif

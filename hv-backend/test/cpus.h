/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpus.h - processors for a measurement on a machine that has other things to do.
 *
 * Owns:    which thread has which processor, and what is known of others on it.
 * How:     threads are bound to one processor each, and are of real time where the
 *          system lets us: then no other process comes in.  Else a short computation
 *          tells how much of the processor others have.
 */
#ifndef CPUS_H
#define CPUS_H

#include <stdbool.h>
#include <stdint.h>

/* Real time, LOW giving way to HIGH; else LOW runs when nobody else wants to. */
enum cpus_rank { CPUS_LOW = 1, CPUS_HIGH };

/* The first two processors this process may use; false: there is one only. */
bool cpus_two(int cpu[2]);

/* Bind this thread, and those and processes it makes, to cpu with that rank. */
void cpus_take(int cpu, enum cpus_rank rank);

/* Permille of the time that others have of this thread's processor, in some ms. */
unsigned cpus_lost(void);

uint64_t cpus_now(void);		/* ns */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blame.h - which request a thread is executing, should it kill the daemon.
 *
 * Owns:    the handlers of the signals that mean a bug of ours, and a pointer for
 *          each thread.
 * How:     a thread says whose word (ring.h) it works for.  Should it fault, the
 *          handler adds a strike to that word, which is in memory that outlives
 *          us, and lets the signal have its way.
 * Must not: do anything in a handler but that one store.
 */
#ifndef HV_BLAME_H
#define HV_BLAME_H

#include <stdatomic.h>
#include <stdint.h>

/* Install the handlers; -errno. */
int blame_init(void);

/* From now on this thread executes for word; NULL: for nobody. */
void blame_set(_Atomic uint64_t *word);

/* For handlers of others that give up on a signal. */
void blame_strike(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - a real host with two guests that nobody uses, "a" and "b", for targets
 * that give it orders.
 */
#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include <stdlib.h>

#include "verbs.h"

extern struct verbs_host fuzz_host;

/* Or end the target: what cannot fail has failed. */
static inline void fuzz_require(int holds)
{
	if (!holds)
		abort();
}

/* Made once; stop, if not NULL, runs before it goes at the target's exit. */
void fuzz_host_start(void (*stop)(void));

#endif

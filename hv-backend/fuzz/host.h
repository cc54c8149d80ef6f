/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - a real host with two guests that nobody uses, "a" and "b", for targets
 * that give it orders.
 */
#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include "pieces.h"
#include "verbs.h"

extern struct verbs_host fuzz_host;

/* Made once; stop, if not NULL, runs before it goes at the target's exit. */
void fuzz_host_start(void (*stop)(void));

#endif

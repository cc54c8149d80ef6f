/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan.h - who would lose what: the core's fair sharing, computed on numbers.
 *
 * Owns:    the answer to "what if": freeable bytes, a shrink before it is done.
 * Must not: change anything.  The core decides when it happens, page by page, and
 *          guests go on meanwhile: a plan is an estimate.
 */
#ifndef HV_PLAN_H
#define HV_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "tmem.h"

/* Bytes.  ephemeral <= physical; lost <= ephemeral, and set by plan_shrink. */
struct plan_guest {
	char name[TMEM_NAME_MAX];
	uint64_t weight, min, physical, ephemeral, lost;
};

void plan_guest_set(struct plan_guest *g, const struct tmem_client_info *info);

/* What can go without losing data or falling below the guest's min. */
uint64_t plan_freeable(const struct plan_guest *g);

/*
 * Take bytes, a frame at a time, from the guest most above its share as long as it
 * stays above its min.  Returns what could be taken: whole frames.
 */
uint64_t plan_shrink(struct plan_guest *guests, size_t count, uint64_t frame, uint64_t bytes);

#endif

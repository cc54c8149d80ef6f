/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain.h - why a guest was refused or lost pages, in words.
 *
 * Owns:    the sentences.
 * Must not: decide or measure; it retells counters, limits and the policy's reason.
 */
#ifndef HV_EXPLAIN_H
#define HV_EXPLAIN_H

#include <jansson.h>

#include "hv.h"
#include "pressure.h"

/* Of share_permille among all guests: 1 loses pages first. */
struct explain_rank {
	unsigned rank, guests;
};

/* An array of sentences about a guest; NULL without memory. */
json_t *explain_guest(const struct hv_guest_info *g, const struct explain_rank *rank);

/*
 * How things stand, in one sentence: {"level": "good"|"notice"|"bad", "text"}.
 */
json_t *explain_verdict(const struct pressure_status *s, struct hv *hv);

/* An array of sentences about the host's memory. */
json_t *explain_host(const struct pressure_status *s);

#endif

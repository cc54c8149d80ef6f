/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - counters and states as JSON: the one place that names the keys.
 *
 * Owns:    the keys, which are stable: one may be added, none changes meaning
 *          within a REPORT_SCHEMA_VERSION.
 * How:     counts are integers, sizes integers of bytes, "no limit" is null.
 *          A function that runs out of memory returns NULL, never a part.
 */
#ifndef HV_REPORT_H
#define HV_REPORT_H

#include <jansson.h>

#include "events.h"
#include "hv.h"
#include "pressure.h"
#include "tmem.h"

#define REPORT_SCHEMA_VERSION	1

/*
 * Set a member; takes value over.  If that fails, or value is NULL, *object
 * becomes NULL and stays it, so only the whole need be checked.
 */
void report_set(json_t **object, const char *key, json_t *value);

/* A string; of text that is not UTF-8 only what is ASCII, '?' for the rest. */
json_t *report_text(const char *text);

/* An integer, or null for TMEM_NO_LIMIT. */
json_t *report_bytes(uint64_t bytes);

json_t *report_guest_summary(const struct hv_guest_info *g);
json_t *report_guest(const struct hv_guest_info *g);
json_t *report_guest_pools(const struct hv_guest_info *g);
json_t *report_quota(const struct tmem_quota *q);

/* How many guests there are in which state, and the sums of their counters. */
json_t *report_totals(struct hv *hv);

json_t *report_host_summary(struct tmem *core);
json_t *report_host(struct tmem *core, struct hv *hv);
json_t *report_event(const struct event *e);
json_t *report_pressure(const struct pressure_status *s);
json_t *report_reclaim(const struct tmem_reclaim_report *r);

#endif

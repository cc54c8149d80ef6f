/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * events.h - what was decided, with its reason: the newest EVENTS_KEPT of it.
 *
 * Owns:    the ring of events, for `tmemctl events` and `explain`.
 * How:     events are numbered from 1 without gaps; who follows them asks for what
 *          comes after the last number seen, and sees by a gap that some are lost.
 *          All of it runs on the loop's thread.
 * Must not: allocate once it is made, or be the log (log.h is).
 */
#ifndef HV_EVENTS_H
#define HV_EVENTS_H

#include <stdint.h>

#include "tmem.h"

#define EVENTS_KEPT	256u
#define EVENT_TEXT_MAX	232u

enum event_kind {
	EVENT_PRESSURE,		/* the policy changed its mind */
	EVENT_RECLAIM,		/* a guest lost pages to the host */
	EVENT_CHANGE,		/* an administrator changed something */
	EVENT_KINDS,
};

struct event {
	uint64_t number;
	int64_t  time_ms;	/* since 1970 */
	enum event_kind kind;
	char guest[TMEM_NAME_MAX];	/* "": all of them */
	char text[EVENT_TEXT_MAX];
};

struct events;

/* -ENOMEM. */
int  events_create(struct events **out);
void events_destroy(struct events *e);

/* guest may be NULL; a text too long is cut. */
void events_add(struct events *e, enum event_kind kind, const char *guest, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The oldest event kept whose number is above after; NULL: there is none yet. */
const struct event *events_next(const struct events *e, uint64_t after);

const char *event_kind_name(enum event_kind kind);

#endif

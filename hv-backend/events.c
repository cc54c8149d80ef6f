// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - a ring of the newest events.
 *
 * Owns:    their numbers.
 * How:     event n stands in slot n % EVENTS_KEPT.
 */
#include "events.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* slot[n % EVENTS_KEPT].number == n for the newest EVENTS_KEPT n <= last. */
struct events {
	uint64_t last;		/* 0: none yet */
	struct event slot[EVENTS_KEPT];
};

int events_create(struct events **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void events_destroy(struct events *e)
{
	free(e);
}

void events_add(struct events *e, enum event_kind kind, const char *guest, const char *fmt, ...)
{
	struct event *slot = &e->slot[++e->last % EVENTS_KEPT];
	struct timespec now;
	va_list args;

	clock_gettime(CLOCK_REALTIME, &now);
	slot->number = e->last;
	slot->time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	slot->kind = kind;
	snprintf(slot->guest, sizeof(slot->guest), "%s", guest ? guest : "");
	va_start(args, fmt);
	vsnprintf(slot->text, sizeof(slot->text), fmt, args);
	va_end(args);
}

const struct event *events_next(const struct events *e, uint64_t after)
{
	uint64_t oldest = e->last > EVENTS_KEPT ? e->last - EVENTS_KEPT + 1 : 1;

	if (after >= e->last)
		return NULL;
	return &e->slot[(after + 1 > oldest ? after + 1 : oldest) % EVENTS_KEPT];
}

const char *event_kind_name(enum event_kind kind)
{
	static const char *const names[EVENT_KINDS] = {
		[EVENT_PRESSURE] = "pressure",
		[EVENT_RECLAIM] = "reclaim",
		[EVENT_CHANGE] = "change",
	};

	return kind < EVENT_KINDS ? names[kind] : "unknown";
}

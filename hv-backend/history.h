/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * history.h - what guests and host did: 15 minutes by 2 s, a day by the minute.
 *
 * Owns:    two rings of samples of a fixed length, for the host and for each of the
 *          first HISTORY_GUESTS guests; about 90 KiB a guest.
 * How:     a timer on the loop takes one reading; what only grows is kept as the
 *          difference to the reading before, and a minute is one sample of its own,
 *          not thirty added up.  Samples are numbered from 1; who follows them asks
 *          for what comes after the last number seen.
 * Must not: allocate for a guest that has a place, or walk the store.
 */
#ifndef HV_HISTORY_H
#define HV_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "hv.h"
#include "loop.h"
#include "pressure.h"

#define HISTORY_GUESTS		64u
#define HISTORY_RECENT_S	2u
#define HISTORY_RECENT_LENGTH	450u
#define HISTORY_DAY_S		60u
#define HISTORY_DAY_LENGTH	1440u

enum history_span { HISTORY_RECENT, HISTORY_DAY, HISTORY_SPANS };

/* What grows, as it stands. */
struct history_counts {
	uint64_t puts, refused, gets, hits, evicted;
};

struct history_guest {
	char name[TMEM_NAME_MAX];
	bool ready;			/* a driver is at work in it */
	uint64_t ephemeral, persistent;	/* physical bytes */
	uint64_t pages;
	struct history_counts count;
};

struct history_host {
	int64_t time_ms;		/* since 1970 */
	uint64_t resident, limit;	/* bytes of arena: in memory, allowed now */
	uint64_t available;		/* bytes of the host's memory */
	bool     psi_known;
	uint64_t psi_some_us;		/* since boot */
	uint64_t evicted_pages;		/* by the memory policy */
	struct latency_reading latency;
};

struct history;

/*
 * Take a reading every HISTORY_RECENT_S on l; without a loop the caller notes them.
 * -ENOMEM, or what timerfd and epoll said. */
int  history_create(struct history **out, struct loop *l, struct hv *hv,
		    struct pressure *pressure);
void history_destroy(struct history *h);

/* The two halves of a reading: guests first, then the host, which completes it. */
void history_guest_note(struct history *h, const struct history_guest *g);
void history_host_note(struct history *h, const struct history_host *host);

/*
 * The samples after that number as columns, one JSON object from malloc; NULL
 * without memory.  null is "not known" or "no driver".
 */
char *history_json(struct history *h, enum history_span span, uint64_t after);

#endif

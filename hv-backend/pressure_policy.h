/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pressure_policy.h - how much memory the host can spare for guests' pages.
 *
 * Owns:    the decision, as a pure step function: numbers in, numbers and a
 *          reason out.
 * Must not: read files, take a clock, touch the core.  Whoever calls it does.
 *
 * The memory that tmemd lives on may be short in two domains: the whole host, and
 * the cgroup it runs in.  Each has three marks of available bytes, as the
 * kernel's own zones do:
 *
 *	below low	give memory back until high is reached again
 *	below floor	take no new persistent pages either
 *	above high	grow, but only by what is above high
 *
 * Giving back a byte of arena makes one more available and taking one makes one
 * fewer, so with use the arena's bytes in memory now
 *
 *	use + available - high
 *
 * does not depend on use: it is where the arena belongs, and steps that go there
 * do not swing.  Between low and high the arena stays as it is.
 *
 * The arena's total is the administrator's: what is above it is given back at once,
 * whatever the host has.
 *
 * Tasks that stall although the marks are kept mean that the marks are too low
 * for what the host does: while a domain stalls, its low and high count double.
 */
#ifndef HV_PRESSURE_POLICY_H
#define HV_PRESSURE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_NO_LIMIT	UINT64_MAX

enum policy_domain { POLICY_HOST, POLICY_CGROUP, POLICY_DOMAINS };

/* Bytes of available memory; 0: chosen from the size of the host. */
struct policy_config {
	bool     on;		/* false: the arena may always use total */
	uint64_t total;		/* most bytes of arena */
	uint64_t persistent_max;/* of them for persistent pages, when the target is total */
	uint64_t floor, low, high;
};

/* A /proc/pressure/memory file, or a cgroup's. */
struct policy_psi {
	bool     known;
	uint64_t some_us, full_us;		/* stalled since boot */
	unsigned some_avg10, full_avg10;	/* hundredths of a per cent */
};

struct policy_inputs {
	bool valid;			/* false: could not be read */
	struct {
		uint64_t total, available;	/* MemTotal, MemAvailable */
		struct policy_psi psi;
	} host;
	struct {
		bool     present;
		uint64_t current;		/* bytes charged */
		uint64_t reclaimable;		/* of them file pages not in use */
		uint64_t high, max;		/* POLICY_NO_LIMIT: none */
		struct policy_psi psi;
	} cgroup;
	struct {
		uint64_t frame;			/* bytes of a frame, not 0 */
		uint64_t resident;		/* bytes in memory */
		uint64_t free;			/* of them unused */
		uint64_t ephemeral;		/* of them in frames that can be evicted */
		uint64_t persistent;		/* the rest: persistent pages and tables */
	} arena;
};

enum policy_reason {
	POLICY_OFF,	/* switched off */
	POLICY_ROOM,	/* above the high mark */
	POLICY_HOLD,	/* between the marks */
	POLICY_SHRINK,	/* was below the low mark, not yet above high */
	POLICY_FLOOR,	/* below the floor */
	POLICY_EMPTY,	/* as SHRINK, and nothing is left to give back */
	POLICY_BLIND,	/* inputs are not valid: all stays as it was */
	POLICY_REASONS,
};

struct policy_decision {
	uint64_t target;		/* bytes of arena; arena.persistent <= target <= total */
	uint64_t persistent_max;	/* bytes */
	bool     accept_ephemeral, accept_persistent;
	uint64_t reclaim_frames;	/* to give back now */
	unsigned next_ms;		/* step again after this long at the latest */
	enum policy_reason reason;
	enum policy_domain domain;	/* the one that the reason speaks of */
	bool     stalled;		/* its marks are doubled */
	uint64_t available, low, high;	/* of that domain, bytes */
};

/* Stall time at the beginning of the window that is being counted. */
struct policy_window {
	bool     open, stalled;
	uint64_t some_us, full_us;
	unsigned age_ms;
};

/*
 * What one step must know of those before it.
 *   refusing  =>  shrinking
 *   last.target == target, where it was measured
 */
struct policy_state {
	uint64_t target;
	bool shrinking;			/* was below low, not yet above high */
	bool refusing;			/* persistent puts */
	struct policy_window window[POLICY_DOMAINS];
	struct policy_decision last;
};

void policy_init(struct policy_state *s, const struct policy_config *c);

/* One step; dt_ms is the time since the one before. */
struct policy_decision policy_step(struct policy_state *s, const struct policy_config *c,
				   const struct policy_inputs *in, unsigned dt_ms);

/* Whether d is worth a line beside before: another state, not only other numbers. */
bool policy_is_news(const struct policy_decision *before, const struct policy_decision *d);

/* A decision's reason: a short name, and a sentence.  policy_words returns text. */
const char *policy_reason_name(enum policy_reason reason);
#define POLICY_WORDS_MAX 192
char *policy_words(const struct policy_decision *d, char text[POLICY_WORDS_MAX]);

/* Stall time that wakes the daemon, where the kernel can do that. */
#define POLICY_STALL_WINDOW_MS	2000u
#define POLICY_STALL_SOME_US	150000u
#define POLICY_STALL_FULL_US	50000u

#endif

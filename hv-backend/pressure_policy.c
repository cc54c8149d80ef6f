// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pressure_policy.c - the step from what was measured to what may be used.
 *
 * Owns:    marks, hysteresis, the words for a decision.
 * How:     each domain is measured against its marks; the worst level decides
 *          whether to give back, the smallest room above a high mark decides how
 *          large the arena should be.  Then: free and ephemeral frames go first,
 *          ephemeral puts are refused while that lasts, persistent puts only
 *          below the floor or when nothing else is left to give.
 * Must not: ever go below what persistent pages hold.
 */
#include "pressure_policy.h"

#include <stdio.h>

#include "size.h"

#define MIB			(UINT64_C(1) << 20)

/* Given back in one step at most: a fifth of a second's work at the least. */
#define RECLAIM_STEP_BYTES	(256 * MIB)

/* The whole arena is taken again in this time, so that a hog that comes and goes finds room. */
#define REGROW_MS		16000u

/* How long to look away: nothing takes memory faster than this for long. */
#define APPETITE_PER_MS		(2 * MIB)
#define NEXT_MIN_MS		100u
#define NEXT_MAX_MS		2000u

/* A stall ends when the kernel's ten-second average is below half of what began it. */
#define STALL_END_SOME		375u	/* hundredths of a per cent */
#define STALL_END_FULL		125u

enum level { LEVEL_FLOOR, LEVEL_LOW, LEVEL_BETWEEN, LEVEL_ROOM };

/* floor <= low <= high; room = available - high. */
struct measure {
	enum policy_domain domain;
	enum level level;
	uint64_t available, floor, low, high;
	int64_t room;
	bool stalled;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* ---- stalls ------------------------------------------------------------ */

/*
 * Compare the stall time of the present window with the threshold.  The window is
 * as long as that of the kernel's triggers, so a daemon that has none sees the
 * same stalls, a poll later.
 */
static bool stall_update(struct policy_state *s, enum policy_domain d, const struct policy_psi *p,
			 unsigned dt_ms)
{
	struct policy_window *w = &s->window[d];

	if (!p->known)
		return w->open = w->stalled = false;
	w->age_ms += dt_ms < POLICY_STALL_WINDOW_MS ? dt_ms : POLICY_STALL_WINDOW_MS;
	if (w->open && (minus(p->some_us, w->some_us) >= POLICY_STALL_SOME_US ||
			minus(p->full_us, w->full_us) >= POLICY_STALL_FULL_US))
		w->stalled = true;
	else if (p->some_avg10 < STALL_END_SOME && p->full_avg10 < STALL_END_FULL)
		w->stalled = false;
	if (!w->open || w->age_ms >= POLICY_STALL_WINDOW_MS) {
		w->open = true;
		w->age_ms = 0;
		w->some_us = p->some_us;
		w->full_us = p->full_us;
	}
	return w->stalled;
}

/* ---- measures ---------------------------------------------------------- */

/*
 * Marks that nobody chose: 1/32 of the memory, 3/64 and 1/16; small cgroups get
 * more, since one burst of a daemon is the same there as on a big host.
 */
static void marks_set(struct measure *m, const struct policy_config *c, uint64_t total)
{
	bool host = m->domain == POLICY_HOST;
	uint64_t base = max_u64(total / 32, min_u64(16 * MIB, total / 8));

	m->floor = host && c->floor ? c->floor : base;
	m->low = max_u64(host && c->low ? c->low : m->floor + base / 2, m->floor);
	m->high = max_u64(host && c->high ? c->high : m->low + base / 2, m->low);
	if (m->stalled) {
		m->low *= 2;
		m->high *= 2;
	}
}

static void measure_finish(struct measure *m, const struct policy_config *c, uint64_t total)
{
	marks_set(m, c, total);
	m->room = (int64_t)m->available - (int64_t)m->high;
	if (m->available < m->floor)
		m->level = LEVEL_FLOOR;
	else if (m->available < m->low)
		m->level = LEVEL_LOW;
	else
		m->level = m->available < m->high ? LEVEL_BETWEEN : LEVEL_ROOM;
}

static struct measure host_measure(struct policy_state *s, const struct policy_config *c,
				   const struct policy_inputs *in, unsigned dt_ms)
{
	struct measure m = { .domain = POLICY_HOST, .available = in->host.available };

	m.stalled = stall_update(s, POLICY_HOST, &in->host.psi, dt_ms);
	measure_finish(&m, c, in->host.total);
	return m;
}

/* A cgroup without a limit, or with one above the host's memory, is no domain. */
static bool cgroup_measure(struct policy_state *s, const struct policy_config *c,
			   const struct policy_inputs *in, unsigned dt_ms, struct measure *m)
{
	uint64_t limit = min_u64(in->cgroup.high, in->cgroup.max);

	if (!in->cgroup.present || limit >= in->host.total)
		return false;
	*m = (struct measure){ .domain = POLICY_CGROUP };
	m->available = minus(limit, minus(in->cgroup.current, in->cgroup.reclaimable));
	m->stalled = stall_update(s, POLICY_CGROUP, &in->cgroup.psi, dt_ms);
	measure_finish(m, c, limit);
	return true;
}

/* ---- the step ---------------------------------------------------------- */

static uint64_t clamp_target(uint64_t bytes, const struct policy_config *c,
			     const struct policy_inputs *in)
{
	return max_u64(min_u64(bytes, c->total), min_u64(in->arena.persistent, c->total));
}

/* use + room, not below 0. */
static uint64_t fitting(uint64_t use, int64_t room)
{
	return room < 0 ? minus(use, (uint64_t)-room) : use + (uint64_t)room;
}

static uint64_t target_next(const struct policy_state *s, const struct policy_config *c,
			    const struct policy_inputs *in, int64_t room, unsigned dt_ms)
{
	uint64_t use = in->arena.resident, want = fitting(use, room);
	uint64_t grown = s->target + max_u64(c->total / REGROW_MS * dt_ms, in->arena.frame);

	if (s->shrinking)
		return clamp_target(want, c, in);
	/* Between the marks want < use: stay. */
	return clamp_target(min_u64(max_u64(want, use), max_u64(grown, use)), c, in);
}

static uint64_t reclaim_frames(const struct policy_inputs *in, uint64_t target)
{
	uint64_t over = minus(in->arena.resident, target);
	uint64_t can = in->arena.free + in->arena.ephemeral;
	uint64_t bytes = min_u64(min_u64(over, can), RECLAIM_STEP_BYTES);

	return bytes / in->arena.frame + (bytes % in->arena.frame != 0);
}

static unsigned next_look(const struct policy_state *s, uint64_t above_low)
{
	uint64_t ms = above_low / APPETITE_PER_MS;

	if (s->shrinking || ms < NEXT_MIN_MS)
		return NEXT_MIN_MS;
	return ms < NEXT_MAX_MS ? (unsigned)ms : NEXT_MAX_MS;
}

static enum policy_reason reason_of(const struct policy_state *s, const struct policy_inputs *in,
				    enum level level)
{
	if (level == LEVEL_FLOOR)
		return POLICY_FLOOR;
	if (s->shrinking)
		return in->arena.free + in->arena.ephemeral ? POLICY_SHRINK : POLICY_EMPTY;
	return level == LEVEL_ROOM ? POLICY_ROOM : POLICY_HOLD;
}

/* The hysteresis: what was begun below a mark ends above the next one. */
static void modes_update(struct policy_state *s, const struct policy_inputs *in, enum level level)
{
	if (level <= LEVEL_LOW)
		s->shrinking = true;
	else if (level == LEVEL_ROOM)
		s->shrinking = false;
	if (!s->shrinking)
		s->refusing = false;
	else if (level == LEVEL_FLOOR || in->arena.free + in->arena.ephemeral == 0)
		s->refusing = true;
}

/* persistent_max was given for the whole arena; a smaller target gets its part. */
static uint64_t persistent_part(const struct policy_config *c, uint64_t target)
{
	if (c->total == 0)
		return 0;
	return (uint64_t)((unsigned __int128)c->persistent_max * target / c->total);
}

static struct policy_decision measured_step(struct policy_state *s, const struct policy_config *c,
					    const struct policy_inputs *in, unsigned dt_ms)
{
	struct measure worst = host_measure(s, c, in, dt_ms), m;
	uint64_t above_low = minus(worst.available, worst.low);
	int64_t room = worst.room;
	struct policy_decision d;

	if (cgroup_measure(s, c, in, dt_ms, &m)) {
		above_low = min_u64(above_low, minus(m.available, m.low));
		if (m.level < worst.level || (m.level == worst.level && m.room < room))
			worst = m;
		room = m.room < room ? m.room : room;
	}
	modes_update(s, in, worst.level);
	s->target = target_next(s, c, in, room, dt_ms);
	d = (struct policy_decision){
		.target = s->target,
		.persistent_max = persistent_part(c, s->target),
		.accept_ephemeral = !s->shrinking,
		.accept_persistent = !s->refusing,
		.reclaim_frames = s->shrinking ? reclaim_frames(in, s->target) : 0,
		.next_ms = next_look(s, above_low),
		.reason = reason_of(s, in, worst.level),
		.domain = worst.domain,
		.stalled = worst.stalled,
		.available = worst.available,
		.low = worst.low,
		.high = worst.high,
	};
	return d;
}

static struct policy_decision off_step(struct policy_state *s, const struct policy_config *c)
{
	policy_init(s, c);
	return s->last;
}

static struct policy_decision blind_step(const struct policy_state *s)
{
	struct policy_decision d = s->last;

	d.reason = POLICY_BLIND;
	d.reclaim_frames = 0;
	d.next_ms = NEXT_MAX_MS;
	return d;
}

void policy_init(struct policy_state *s, const struct policy_config *c)
{
	*s = (struct policy_state){
		.target = c->total,
		.last = {
			.target = c->total,
			.persistent_max = c->persistent_max,
			.accept_ephemeral = true,
			.accept_persistent = true,
			.next_ms = NEXT_MAX_MS,
			.reason = POLICY_OFF,
		},
	};
}

/*
 * Whatever the host has, what is above total goes: it was lowered.  Where nothing more
 * can go, persistent pages and what guests' mins keep stay above it.
 */
static void total_keep(struct policy_decision *d, const struct policy_config *c,
		       const struct policy_inputs *in)
{
	uint64_t frames = reclaim_frames(in, c->total);

	d->target = min_u64(d->target, c->total);
	d->persistent_max = min_u64(d->persistent_max, c->persistent_max);
	d->reclaim_frames = max_u64(d->reclaim_frames, frames);
	if (frames)
		d->next_ms = NEXT_MIN_MS;
}

struct policy_decision policy_step(struct policy_state *s, const struct policy_config *c,
				   const struct policy_inputs *in, unsigned dt_ms)
{
	if (!c->on)
		s->last = off_step(s, c);
	else if (!in->valid)
		s->last = blind_step(s);
	else
		s->last = measured_step(s, c, in, dt_ms);
	total_keep(&s->last, c, in);
	return s->last;
}

/* ---- words ------------------------------------------------------------- */

/* ROOM and HOLD alternate around the high mark and refuse nothing: one state. */
static bool is_calm(const struct policy_decision *d)
{
	return d->reason == POLICY_ROOM || d->reason == POLICY_HOLD;
}

bool policy_is_news(const struct policy_decision *before, const struct policy_decision *d)
{
	if (is_calm(before) && is_calm(d))
		return false;
	return before->reason != d->reason || before->domain != d->domain ||
	       before->accept_ephemeral != d->accept_ephemeral ||
	       before->accept_persistent != d->accept_persistent;
}

static const char *const reason_names[POLICY_REASONS] = {
	[POLICY_OFF] = "off",
	[POLICY_ROOM] = "room",
	[POLICY_HOLD] = "hold",
	[POLICY_SHRINK] = "shrink",
	[POLICY_FLOOR] = "floor",
	[POLICY_EMPTY] = "empty",
	[POLICY_BLIND] = "blind",
};

const char *policy_reason_name(enum policy_reason reason)
{
	return reason < POLICY_REASONS ? reason_names[reason] : "unknown";
}

/* What follows "the host has 1.2G available, ". */
static const char *consequence(const struct policy_decision *d)
{
	switch (d->reason) {
	case POLICY_ROOM:
		return "enough: puts are taken";
	case POLICY_HOLD:
		return "between its marks: nothing is given back, the arena does not grow";
	case POLICY_SHRINK:
		return d->accept_persistent
			? "too little: ephemeral pages go, their puts are refused"
			: "too little: ephemeral pages go, puts are refused";
	case POLICY_FLOOR:
		return "below its floor: ephemeral pages go, all puts are refused";
	case POLICY_EMPTY:
		return "too little: nothing ephemeral is left, all puts are refused";
	case POLICY_OFF:
	case POLICY_BLIND:
	case POLICY_REASONS:
		break;
	}
	return "";
}

char *policy_words(const struct policy_decision *d, char text[POLICY_WORDS_MAX])
{
	char available[SIZE_TEXT_MAX], low[SIZE_TEXT_MAX], high[SIZE_TEXT_MAX];

	if (d->reason == POLICY_OFF)
		snprintf(text, POLICY_WORDS_MAX, "the policy is off: the whole arena may be used");
	else if (d->reason == POLICY_BLIND)
		snprintf(text, POLICY_WORDS_MAX,
			 "the host's memory could not be read: all stays as it was");
	else
		snprintf(text, POLICY_WORDS_MAX, "the %s has %s available (low %s, high %s%s), %s",
			 d->domain == POLICY_HOST ? "host" : "cgroup",
			 size_format(d->available, available), size_format(d->low, low),
			 size_format(d->high, high), d->stalled ? ", doubled: tasks stall" : "",
			 consequence(d));
	return text;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_pressure_policy.c - the pressure policy: single steps as a table, and whole stories.
 *
 * A story runs the policy over a recorded trace of what other programs took from a
 * host, with a model of an arena in place of the core: guests put as fast as they
 * may, frames go back as the policy asks.  What must hold is said as properties.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pressure_policy.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* ---- single steps ------------------------------------------------------ */

/* MiB; marks of the host are floor 100, low 200, high 400 unless it says otherwise. */
struct row {
	const char *name;
	bool shrinking, refusing;		/* before */
	unsigned available;
	unsigned ephemeral, persistent, free;	/* in the arena, of 1000 */
	unsigned stall_ms;			/* since the step before */
	unsigned limit, charged, file;		/* cgroup; limit 0: none */
	/* after */
	unsigned target, reclaim;
	bool eph, pers;
	enum policy_reason reason;
	enum policy_domain domain;
};

static const struct row rows[] = {
	{ "plenty", .available = 5000, .ephemeral = 100,
	  .target = 1000, .eph = true, .pers = true, .reason = POLICY_ROOM },
	{ "just above high grows by what is above", .available = 450, .ephemeral = 100,
	  .target = 150, .eph = true, .pers = true, .reason = POLICY_ROOM },
	{ "free frames count as used", .available = 450, .ephemeral = 100, .free = 50,
	  .target = 200, .eph = true, .pers = true, .reason = POLICY_ROOM },
	{ "between the marks stays", .available = 300, .ephemeral = 100, .persistent = 50,
	  .target = 150, .eph = true, .pers = true, .reason = POLICY_HOLD },
	{ "at low stays", .available = 200, .ephemeral = 100,
	  .target = 100, .eph = true, .pers = true, .reason = POLICY_HOLD },
	{ "below low gives back up to high", .available = 199, .ephemeral = 300, .persistent = 50,
	  .target = 149, .reclaim = 201, .pers = true, .reason = POLICY_SHRINK },
	{ "once begun it goes on between the marks", .shrinking = true, .available = 300,
	  .ephemeral = 300, .target = 200, .reclaim = 100, .pers = true,
	  .reason = POLICY_SHRINK },
	{ "and ends at high", .shrinking = true, .refusing = true, .available = 400,
	  .ephemeral = 300, .target = 300, .eph = true, .pers = true, .reason = POLICY_ROOM },
	{ "not below what is persistent", .available = 150, .ephemeral = 10, .persistent = 500,
	  .target = 500, .reclaim = 10, .pers = true, .reason = POLICY_SHRINK },
	{ "free frames go too", .available = 150, .free = 10, .persistent = 500,
	  .target = 500, .reclaim = 10, .pers = true, .reason = POLICY_SHRINK },
	{ "nothing left: persistent puts are refused", .available = 150, .persistent = 500,
	  .target = 500, .reason = POLICY_EMPTY },
	{ "still refused between the marks", .shrinking = true, .refusing = true,
	  .available = 399, .persistent = 500, .ephemeral = 1,
	  .target = 500, .reclaim = 1, .reason = POLICY_SHRINK },
	{ "below the floor all is refused", .available = 99, .ephemeral = 500,
	  .target = 199, .reclaim = 256, .reason = POLICY_FLOOR },
	{ "one step gives back 256 MiB at most", .available = 0, .ephemeral = 900,
	  .target = 500, .reclaim = 256, .reason = POLICY_FLOOR },
	{ "stalls double the marks", .available = 390, .ephemeral = 500, .stall_ms = 200,
	  .target = 90, .reclaim = 256, .pers = true, .reason = POLICY_SHRINK },
	{ "short stalls do not", .available = 390, .ephemeral = 500, .stall_ms = 100,
	  .target = 500, .eph = true, .pers = true, .reason = POLICY_HOLD },
	{ "stalls on a host with plenty are not of our making", .available = 5000,
	  .ephemeral = 500, .stall_ms = 1000,
	  .target = 1000, .eph = true, .pers = true, .reason = POLICY_ROOM },
	{ "a cgroup limit far away", .available = 5000, .ephemeral = 500, .limit = 3200,
	  .charged = 600, .target = 1000, .eph = true, .pers = true, .reason = POLICY_ROOM,
	  .domain = POLICY_CGROUP },
	/* Marks of a limit of 3200: 100, 150, 200. */
	{ "a cgroup limit that is near", .available = 5000, .ephemeral = 500, .limit = 3200,
	  .charged = 3060, .target = 440, .reclaim = 60, .pers = true,
	  .reason = POLICY_SHRINK, .domain = POLICY_CGROUP },
	{ "file pages of a cgroup are as good as free", .available = 5000, .ephemeral = 500,
	  .limit = 3200, .charged = 3060, .file = 30,
	  .target = 500, .eph = true, .pers = true, .reason = POLICY_HOLD,
	  .domain = POLICY_CGROUP },
	{ "a cgroup above its limit", .available = 5000, .ephemeral = 100, .limit = 3200,
	  .charged = 3300, .target = 0, .reclaim = 100, .reason = POLICY_FLOOR,
	  .domain = POLICY_CGROUP },
	{ "the worse domain gives the reason", .available = 90, .ephemeral = 500, .limit = 3200,
	  .charged = 3060, .target = 190, .reclaim = 256, .reason = POLICY_FLOOR,
	  .domain = POLICY_HOST },
	{ "a limit above the host's memory is none", .available = 300, .ephemeral = 500,
	  .limit = 33000, .charged = 32999,
	  .target = 500, .eph = true, .pers = true, .reason = POLICY_HOLD },
};

static const struct policy_config config = {
	.on = true, .total = 1000 * MIB, .persistent_max = 750 * MIB,
	.floor = 100 * MIB, .low = 200 * MIB, .high = 400 * MIB,
};

static struct policy_inputs row_inputs(const struct row *r)
{
	struct policy_inputs in = { .valid = true };

	in.host.total = 32000 * MIB;
	in.host.available = r->available * MIB;
	in.host.psi = (struct policy_psi){ .known = true, .some_us = r->stall_ms * 1000 };
	in.cgroup.present = r->limit != 0;
	in.cgroup.max = r->limit * MIB;
	in.cgroup.high = POLICY_NO_LIMIT;
	in.cgroup.current = r->charged * MIB;
	in.cgroup.reclaimable = r->file * MIB;
	in.arena.frame = 16384;
	in.arena.ephemeral = r->ephemeral * MIB;
	in.arena.persistent = r->persistent * MIB;
	in.arena.free = r->free * MIB;
	in.arena.resident = in.arena.ephemeral + in.arena.persistent + in.arena.free;
	return in;
}

static void a_step_does_what_its_row_says(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct policy_inputs in = row_inputs(r);
		struct policy_state s;
		struct policy_decision d;

		policy_init(&s, &config);
		s.shrinking = r->shrinking;
		s.refusing = r->refusing;
		s.window[POLICY_HOST] = (struct policy_window){ .open = true };
		d = policy_step(&s, &config, &in, 1000);
		if (d.target != r->target * MIB || d.reclaim_frames * 16384 != r->reclaim * MIB ||
		    d.accept_ephemeral != r->eph || d.accept_persistent != r->pers ||
		    d.reason != r->reason || d.domain != r->domain)
			fail_msg("%s: target %llu, reclaim %llu, accept %d %d, reason %s, domain %d",
				 r->name, (unsigned long long)(d.target / MIB),
				 (unsigned long long)(d.reclaim_frames * 16384 / MIB),
				 d.accept_ephemeral, d.accept_persistent,
				 policy_reason_name(d.reason), (int)d.domain);
	}
}

static void off_allows_the_whole_arena(void **unused)
{
	struct policy_inputs in = row_inputs(&(struct row){ .ephemeral = 900, .available = 0 });
	struct policy_config off = config;
	struct policy_decision d;
	struct policy_state s;

	(void)unused;
	off.on = false;
	policy_init(&s, &off);
	d = policy_step(&s, &off, &in, 1000);
	assert_int_equal(d.reason, POLICY_OFF);
	assert_int_equal(d.target, off.total);
	assert_int_equal(d.persistent_max, off.persistent_max);
	assert_int_equal(d.reclaim_frames, 0);
	assert_true(d.accept_ephemeral && d.accept_persistent);
}

/* Whatever the policy does: with room, switched off, blind. */
static void what_is_above_a_lowered_total_goes(void **unused)
{
	struct policy_inputs in = row_inputs(&(struct row){ .ephemeral = 500, .persistent = 300,
							    .available = 9000 });
	struct policy_config c = config;
	struct policy_decision d;
	struct policy_state s;

	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		c = config;
		c.on = i != 1;
		policy_init(&s, &c);
		d = policy_step(&s, &c, &in, 1000);
		assert_int_equal(d.reclaim_frames, 0);
		c.total = 700 * MIB;
		c.persistent_max = 500 * MIB;
		in.valid = i != 2;
		d = policy_step(&s, &c, &in, 1000);
		assert_int_equal(d.target, c.total);
		assert_int_equal(d.persistent_max, c.persistent_max);
		assert_int_equal(d.reclaim_frames * in.arena.frame, 100 * MIB);
		assert_true(d.accept_ephemeral && d.accept_persistent);
		in.valid = true;
	}
	/* Persistent pages do not go: only what is beside them is asked for. */
	in.arena.ephemeral = 1 * MIB;
	in.arena.resident = 301 * MIB;
	c.total = 200 * MIB;
	d = policy_step(&s, &c, &in, 1000);
	assert_int_equal(d.target, c.total);
	assert_int_equal(d.reclaim_frames * in.arena.frame, 1 * MIB);
}

static void without_inputs_all_stays(void **unused)
{
	struct policy_inputs in = row_inputs(&(struct row){ .ephemeral = 900, .available = 150 });
	struct policy_decision before, d;
	struct policy_state s;

	(void)unused;
	policy_init(&s, &config);
	before = policy_step(&s, &config, &in, 1000);
	assert_true(before.reclaim_frames > 0);
	in.valid = false;
	d = policy_step(&s, &config, &in, 1000);
	assert_int_equal(d.reason, POLICY_BLIND);
	assert_int_equal(d.target, before.target);
	assert_false(d.accept_ephemeral);
	assert_int_equal(d.reclaim_frames, 0);
}

static void persistent_part_follows_the_target(void **unused)
{
	struct policy_inputs in = row_inputs(&(struct row){ .ephemeral = 400, .available = 300 });
	struct policy_state s;

	(void)unused;
	policy_init(&s, &config);
	assert_int_equal(policy_step(&s, &config, &in, 1000).persistent_max, 300 * MIB);
}

/* Huge and senseless numbers must not wrap; a target stays within its bounds. */
static void extremes_do_not_wrap(void **unused)
{
	static const uint64_t values[] = { 0, 1, 4096, 1000 * MIB, INT64_MAX, UINT64_MAX };
	const size_t n = sizeof(values) / sizeof(values[0]);

	(void)unused;
	for (size_t i = 0; i < n * n * n * n; i++) {
		struct policy_inputs in = row_inputs(&(struct row){ .limit = 1 });
		struct policy_state s;
		struct policy_decision d;

		policy_init(&s, &config);
		in.host.total = values[i % n];
		in.host.available = values[i / n % n];
		in.cgroup.max = in.arena.persistent = values[i / n / n % n];
		in.cgroup.current = in.arena.resident = values[i / n / n / n];
		in.arena.ephemeral = values[i % n];
		d = policy_step(&s, &config, &in, (unsigned)values[i / n % n]);
		assert_true(d.target <= config.total);
		assert_true(d.persistent_max <= config.persistent_max);
		assert_true(d.target >= in.arena.persistent || d.target == config.total);
		assert_true(d.reclaim_frames <= 256 * MIB / in.arena.frame);
		assert_in_range(d.next_ms, 100, 2000);
	}
}

static void looks_more_often_when_memory_is_short(void **unused)
{
	static const struct { unsigned available, next_ms; } looks[] = {
		{ 20000, 2000 }, { 2200, 1000 }, { 1200, 500 }, { 300, 100 }, { 10, 100 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		struct policy_inputs in = row_inputs(&(struct row){
			.available = looks[i].available });
		struct policy_state s;

		policy_init(&s, &config);
		assert_int_equal(policy_step(&s, &config, &in, 1000).next_ms, looks[i].next_ms);
	}
}

static void every_reason_has_words(void **unused)
{
	struct policy_decision d = { .available = GIB, .low = 2 * GIB, .high = 3 * GIB };
	char text[POLICY_WORDS_MAX];

	(void)unused;
	for (unsigned r = 0; r < POLICY_REASONS; r++) {
		d.reason = (enum policy_reason)r;
		assert_true(strlen(policy_words(&d, text)) > 20);
		assert_string_not_equal(policy_reason_name(d.reason), "unknown");
	}
	d.reason = POLICY_SHRINK;
	d.accept_persistent = true;
	d.stalled = true;
	d.domain = POLICY_CGROUP;
	assert_string_equal(policy_words(&d, text),
			    "the cgroup has 1G available (low 2G, high 3G, doubled: tasks stall), "
			    "too little: ephemeral pages go, their puts are refused");
}

static void only_changes_are_news(void **unused)
{
	struct policy_decision a = { .reason = POLICY_ROOM, .accept_ephemeral = true }, b = a;

	(void)unused;
	assert_false(policy_is_news(&a, &b));
	b.reason = POLICY_HOLD;
	b.domain = POLICY_CGROUP;
	assert_false(policy_is_news(&a, &b));
	b.reason = POLICY_SHRINK;
	assert_true(policy_is_news(&a, &b));
	a = b;
	assert_false(policy_is_news(&a, &b));
	b.reclaim_frames = 1;
	assert_false(policy_is_news(&a, &b));
	b.accept_persistent = true;
	assert_true(policy_is_news(&a, &b));
}

/* ---- stories ----------------------------------------------------------- */

#define TRACE_MAX 1024

struct sample {
	unsigned ms;
	uint64_t used;		/* bytes that others have */
	struct policy_psi psi;
};

struct trace {
	struct sample sample[TRACE_MAX];
	size_t count;
};

/* frames of 16 KiB; ephemeral + persistent <= what the target was when they came. */
struct world {
	struct policy_config config;
	struct policy_state state;
	struct policy_decision d;
	uint64_t host, ephemeral, persistent;
	uint64_t ephemeral_rate, persistent_rate;	/* bytes a guest puts in a step */
	bool reclaims;					/* false: frames are not given back */
	/* what happened */
	unsigned steps, shrinks, flips, short_steps, short_steps_longest;
	uint64_t available_min;
};

static void trace_read(struct trace *t, const char *name)
{
	char path[128], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "hv-backend/test/traces/%s.txt", name);
	f = fopen(path, "re");
	assert_non_null(f);
	t->count = 0;
	while (fgets(line, sizeof(line), f)) {
		struct sample *s = &t->sample[t->count];
		unsigned long long kib, some, full;

		if (line[0] == '#')
			continue;
		assert_true(t->count < TRACE_MAX);
		assert_int_equal(sscanf(line, "%u %llu %llu %llu %u %u", &s->ms, &kib, &some, &full,
					&s->psi.some_avg10, &s->psi.full_avg10), 6);
		s->used = kib * 1024;
		s->psi.some_us = some;
		s->psi.full_us = full;
		s->psi.known = true;
		t->count++;
	}
	fclose(f);
	assert_true(t->count > 50);
}

static uint64_t world_available(const struct world *w, const struct sample *s)
{
	uint64_t used = s->used + w->ephemeral + w->persistent;

	return used < w->host ? w->host - used : 0;
}

static void guests_put(struct world *w)
{
	uint64_t use = w->ephemeral + w->persistent;
	uint64_t room = w->d.target > use ? w->d.target - use : 0;

	if (w->d.accept_persistent && w->persistent + w->persistent_rate <= w->d.persistent_max &&
	    room >= w->persistent_rate) {
		w->persistent += w->persistent_rate;
		room -= w->persistent_rate;
	}
	if (w->d.accept_ephemeral)
		w->ephemeral += room < w->ephemeral_rate ? room : w->ephemeral_rate;
}

static void world_note(struct world *w, const struct policy_decision *before, uint64_t available)
{
	bool is_short = available < w->d.low && w->ephemeral > 0;

	w->steps++;
	w->shrinks += before->accept_ephemeral && !w->d.accept_ephemeral;
	w->flips += before->accept_ephemeral != w->d.accept_ephemeral;
	w->short_steps = is_short ? w->short_steps + 1 : 0;
	if (w->short_steps > w->short_steps_longest)
		w->short_steps_longest = w->short_steps;
	if (available < w->available_min)
		w->available_min = available;
}

static void world_step(struct world *w, const struct sample *s, unsigned dt_ms)
{
	struct policy_inputs in = { .valid = true };
	struct policy_decision before = w->d;
	uint64_t given;

	in.host.total = w->host;
	in.host.available = world_available(w, s);
	in.host.psi = s->psi;
	in.arena.frame = 16384;
	in.arena.ephemeral = w->ephemeral;
	in.arena.persistent = w->persistent;
	in.arena.resident = w->ephemeral + w->persistent;
	w->d = policy_step(&w->state, &w->config, &in, dt_ms);
	assert_true(w->d.target >= w->persistent);
	assert_true(w->d.target <= w->config.total);
	world_note(w, &before, in.host.available);
	given = w->d.reclaim_frames * in.arena.frame;
	assert_true(given <= w->ephemeral + in.arena.frame);
	if (w->reclaims)
		w->ephemeral -= given < w->ephemeral ? given : w->ephemeral;
	guests_put(w);
}

/* The trace, then a minute in which the others have only what they began with. */
static void world_run(struct world *w, const struct trace *t)
{
	struct sample quiet = t->sample[0];
	unsigned ms = 0;

	policy_init(&w->state, &w->config);
	w->d = w->state.last;
	w->available_min = UINT64_MAX;
	for (size_t i = 0; i < t->count; i++) {
		world_step(w, &t->sample[i], t->sample[i].ms - ms);
		ms = t->sample[i].ms;
	}
	quiet.psi = t->sample[t->count - 1].psi;
	quiet.psi.some_avg10 = quiet.psi.full_avg10 = 0;
	for (unsigned i = 0; i < 240; i++)
		world_step(w, &quiet, 250);
}

static struct world burst_world(void)
{
	return (struct world){
		.config = { .on = true, .total = 3 * GIB, .persistent_max = GIB,
			    .floor = 128 * MIB, .low = 512 * MIB, .high = 768 * MIB },
		.host = 5 * GIB, .ephemeral_rate = 64 * MIB, .persistent_rate = MIB,
		.reclaims = true,
	};
}

/* A hog of 2, 3 and 4 GiB on a host of 5: each time once down, once up. */
static void a_hog_gets_its_memory(void **unused)
{
	struct world w = burst_world(), stubborn = burst_world();
	static struct trace t;

	(void)unused;
	trace_read(&t, "burst");
	world_run(&w, &t);
	assert_in_range(w.shrinks, 1, 3);
	assert_int_equal(w.flips, 2 * w.shrinks);
	assert_true(w.short_steps_longest <= 8);
	assert_true(w.available_min >= w.config.floor);

	/* What it was spared: the same without giving back. */
	stubborn.reclaims = false;
	world_run(&stubborn, &t);
	assert_int_equal(stubborn.available_min, 0);
}

static void puts_are_taken_again(void **unused)
{
	struct world w = burst_world();
	static struct trace t;

	(void)unused;
	trace_read(&t, "burst");
	world_run(&w, &t);
	assert_true(w.d.accept_ephemeral && w.d.accept_persistent);
	assert_true(w.ephemeral + w.persistent >= 2 * GIB);
	assert_true(w.d.reason == POLICY_ROOM || w.d.reason == POLICY_HOLD);
}

/*
 * Guests that fill the arena against the marks without any hog: the arena goes to
 * its place and stays there.
 */
static void a_steady_host_does_not_swing(void **unused)
{
	struct world w = burst_world();
	struct sample s = { .used = 3 * GIB };
	uint64_t settled = 0;

	(void)unused;
	w.persistent_rate = 0;
	policy_init(&w.state, &w.config);
	w.d = w.state.last;
	w.available_min = UINT64_MAX;
	for (unsigned i = 0; i < 400; i++) {
		world_step(&w, &s, 250);
		if (i == 200)
			settled = w.ephemeral;
	}
	assert_int_equal(w.shrinks, 0);
	assert_int_equal(w.ephemeral, settled);
	assert_int_equal(w.ephemeral, 5 * GIB - 3 * GIB - w.config.high);
	assert_true(w.available_min >= w.config.high);
}

/* Stalls of tasks in somebody else's cgroup cost a host with room nothing. */
static void others_stalls_take_nothing(void **unused)
{
	struct world w = burst_world();
	static struct trace t;

	(void)unused;
	trace_read(&t, "hog");
	assert_true(t.sample[t.count - 1].psi.full_us > 2 * POLICY_STALL_FULL_US);
	w.host = 16 * GIB;
	world_run(&w, &t);
	assert_int_equal(w.shrinks, 0);
}

/* The same stalls on a host near its marks are seen, and end when they end. */
static void stalls_near_the_marks_are_answered(void **unused)
{
	struct world w = burst_world(), deaf = burst_world();
	static struct trace t;

	(void)unused;
	trace_read(&t, "hog");
	w.config.total = deaf.config.total = 2 * GIB;
	w.host = deaf.host = 2 * GIB + 768 * MIB + 900 * MIB;
	world_run(&w, &t);
	assert_in_range(w.shrinks, 1, 3);
	assert_int_equal(w.flips, 2 * w.shrinks);
	assert_true(w.d.accept_ephemeral);
	for (size_t i = 0; i < t.count; i++)
		t.sample[i].psi.known = false;
	world_run(&deaf, &t);
	assert_true(w.shrinks > deaf.shrinks);
}

/* Full of persistent pages: none is asked for, and in the end they are refused. */
static void persistent_pages_stay(void **unused)
{
	struct world w = burst_world();
	static struct trace t;
	uint64_t refused_at = 0;

	(void)unused;
	trace_read(&t, "burst");
	w.persistent = 2 * GIB;
	w.persistent_rate = 0;
	w.ephemeral_rate = 0;
	policy_init(&w.state, &w.config);
	for (size_t i = 0; i < t.count; i++) {
		world_step(&w, &t.sample[i], 250);
		assert_int_equal(w.d.reclaim_frames, 0);
		if (!w.d.accept_persistent && !refused_at)
			refused_at = t.sample[i].used;
	}
	assert_int_equal(w.persistent, 2 * GIB);
	assert_true(refused_at > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_step_does_what_its_row_says),
		cmocka_unit_test(off_allows_the_whole_arena),
		cmocka_unit_test(what_is_above_a_lowered_total_goes),
		cmocka_unit_test(without_inputs_all_stays),
		cmocka_unit_test(persistent_part_follows_the_target),
		cmocka_unit_test(extremes_do_not_wrap),
		cmocka_unit_test(looks_more_often_when_memory_is_short),
		cmocka_unit_test(every_reason_has_words),
		cmocka_unit_test(only_changes_are_news),
		cmocka_unit_test(a_hog_gets_its_memory),
		cmocka_unit_test(puts_are_taken_again),
		cmocka_unit_test(a_steady_host_does_not_swing),
		cmocka_unit_test(others_stalls_take_nothing),
		cmocka_unit_test(stalls_near_the_marks_are_answered),
		cmocka_unit_test(persistent_pages_stay),
	};

	return cmocka_run_group_tests_name("pressure_policy", tests, NULL, NULL);
}

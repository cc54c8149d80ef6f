/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_pressure.c - from the sensors to the core and back, on a loop.
 *
 * The host is a small tree of files, so memory becomes short when the test says
 * so; the core is the real one, filled with ephemeral and persistent pages.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "events.h"
#include "log.h"
#include "pressure.h"

#define MIB		(UINT64_C(1) << 20)
#define ARENA		(32 * MIB)
#define EPHEMERAL	3000u	/* pages */
#define PERSISTENT	500u
#define WAIT_S		20

/* ---- a host of files --------------------------------------------------- */

static char tree[32];

static void available_set(uint64_t mib)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/meminfo", tree);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "MemTotal: 4194304 kB\nMemAvailable: %llu kB\n",
		(unsigned long long)mib * 1024);
	fclose(f);
}

static void tree_make(void)
{
	char path[64];

	strcpy(tree, "/tmp/pressure-XXXXXX");
	assert_non_null(mkdtemp(tree));
	snprintf(path, sizeof(path), "%s/proc", tree);
	assert_int_equal(mkdir(path, 0700), 0);
	available_set(4000);
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* ---- the daemon around it ---------------------------------------------- */

struct fixture {
	struct loop *loop;
	struct tmem *core;
	struct tmem_ctx *ctx;
	struct tmem_client *client;
	struct sensors *sensors;
	struct events *events;
	struct pressure *pressure;
	int arena_fd, timer_fd;
	struct loop_source *timer;
	bool (*until)(struct fixture *f);
	unsigned ticks;
};

static const struct policy_config policy = {
	.on = true, .total = ARENA, .persistent_max = ARENA / 4 * 3,
	.floor = 100 * MIB, .low = 200 * MIB, .high = 202 * MIB,
};

static void tick(void *arg, uint32_t events)
{
	struct fixture *f = arg;
	uint64_t count;

	(void)events;
	if (read(f->timer_fd, &count, sizeof(count)) != sizeof(count))
		return;
	f->ticks++;
	if (f->until(f) || f->ticks > WAIT_S * 50)
		loop_stop(f->loop);
}

/* Run the loop until until() holds; whether it did within WAIT_S. */
static bool run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	struct itimerspec every = { { 0, 20000000 }, { 0, 20000000 } };

	f->until = until;
	f->ticks = 0;
	f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	timerfd_settime(f->timer_fd, 0, &every, NULL);
	assert_int_equal(loop_add(f->loop, f->timer_fd, EPOLLIN, tick, f, &f->timer), 0);
	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(f->timer);
	close(f->timer_fd);
	return until(f);
}

static void page_make(unsigned i, uint8_t page[TMEM_PAGE_SIZE])
{
	uint32_t x = i * 2654435761u + 1;

	/* A quarter of it is noise, so a page is stored in about a kilobyte. */
	memset(page, (int)i, TMEM_PAGE_SIZE);
	for (unsigned n = 0; n < TMEM_PAGE_SIZE / 4; n++) {
		x = x * 1664525u + 1013904223u;
		page[n] = (uint8_t)(x >> 24);
	}
}

static int put(struct fixture *f, unsigned pool, unsigned i)
{
	struct tmem_key key = { .oid = { i % 16 }, .index = i };
	uint8_t page[TMEM_PAGE_SIZE];

	page_make(i, page);
	return tmem_put(f->ctx, f->client, pool, &key, page, i);
}

static bool is_there(struct fixture *f, unsigned pool, unsigned i)
{
	struct tmem_key key = { .oid = { i % 16 }, .index = i };
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	uint64_t tag;

	page_make(i, want);
	return !tmem_get(f->ctx, f->client, pool, &key, page, &tag) && tag == i &&
	       !memcmp(page, want, sizeof(page));
}

static void core_make(struct fixture *f)
{
	struct tmem_config config = { .arena_max = ARENA };

	f->arena_fd = config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	assert_int_equal(tmem_create(&f->core, &config), 0);
	assert_int_equal(tmem_ctx_create(f->core, &f->ctx), 0);
	assert_int_equal(tmem_client_create(f->core, "g", &f->client), 0);
	for (unsigned pool = 0; pool < 2; pool++)
		assert_int_equal(tmem_pool_create(f->client, pool, &(struct tmem_pool_spec){
			.kind = pool ? TMEM_PERSISTENT : TMEM_EPHEMERAL }), 0);
	for (unsigned i = 0; i < EPHEMERAL; i++)
		assert_int_equal(put(f, 0, i), 0);
	for (unsigned i = 0; i < PERSISTENT; i++)
		assert_int_equal(put(f, 1, i), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_level_set(LOG_LEVEL_ERROR);
	tree_make();
	core_make(f);
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(sensors_open(&f->sensors, tree), 0);
	assert_int_equal(events_create(&f->events), 0);
	assert_int_equal(pressure_create(&f->pressure, f->loop, f->core, f->sensors, f->events,
					 &policy), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	pressure_destroy(f->pressure);
	events_destroy(f->events);
	sensors_close(f->sensors);
	loop_destroy(f->loop);
	tmem_client_kill(f->client);
	tmem_client_destroy(f->client);
	tmem_ctx_destroy(f->ctx);
	tmem_destroy(f->core);
	close(f->arena_fd);
	free(f);
	return nftw(tree, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- conditions -------------------------------------------------------- */

static uint64_t resident(struct fixture *f)
{
	struct stat st;

	return fstat(f->arena_fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static enum policy_reason reason(struct fixture *f)
{
	struct pressure_status s;

	pressure_status(f->pressure, &s);
	return s.decision.reason;
}

static bool shrinks(struct fixture *f)
{
	return reason(f) == POLICY_SHRINK;
}

static bool is_empty(struct fixture *f)
{
	return reason(f) == POLICY_EMPTY;
}

static bool has_room(struct fixture *f)
{
	return reason(f) == POLICY_ROOM;
}

static bool has_event(struct fixture *f, enum event_kind kind, const char *guest, const char *text)
{
	const struct event *e;

	for (uint64_t n = 0; (e = events_next(f->events, n)); n = e->number) {
		if (e->kind == kind && !strcmp(e->guest, guest) && strstr(e->text, text))
			return true;
	}
	return false;
}

static bool has_told_losses(struct fixture *f)
{
	return has_event(f, EVENT_RECLAIM, "g", "ephemeral pages");
}

/* Looked at now, not when the timer says so. */
static void host_has(struct fixture *f, uint64_t mib)
{
	available_set(mib);
	pressure_configure(f->pressure, &policy);
}

/* ---- tests ------------------------------------------------------------- */

static void a_host_with_room_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct pressure_status s;
	struct tmem_limits l;

	pressure_status(f->pressure, &s);
	assert_int_equal(s.decision.reason, POLICY_ROOM);
	assert_int_equal(s.steps, 1);
	tmem_limits_get(f->core, &l);
	assert_int_equal(l.target, ARENA);
	assert_true(l.accept_ephemeral && l.accept_persistent);
	assert_true(has_event(f, EVENT_PRESSURE, "", "enough"));
}

static void frames_go_back_and_persistent_pages_stay(void **state)
{
	struct fixture *f = *state;
	uint64_t before = resident(f);
	unsigned left = 0;

	/* More is short than the arena has: all that can go, goes. */
	host_has(f, 110);
	assert_true(run_until(f, is_empty));
	assert_true(resident(f) < before / 2);
	assert_true(run_until(f, has_told_losses));
	for (unsigned i = 0; i < EPHEMERAL; i++)
		left += is_there(f, 0, i);
	assert_int_equal(left, 0);
	for (unsigned i = 0; i < PERSISTENT; i++)
		assert_true(is_there(f, 1, i));
	assert_int_not_equal(put(f, 0, 1), 0);
	assert_int_not_equal(put(f, 1, PERSISTENT), 0);

	host_has(f, 4000);
	assert_true(run_until(f, has_room));
	assert_int_equal(put(f, 0, 1), 0);
	assert_int_equal(put(f, 1, PERSISTENT), 0);
}

/* Short by 3 MiB: about so much goes, not everything. */
static void no_more_goes_than_is_short(void **state)
{
	struct fixture *f = *state;
	uint64_t before = resident(f);
	struct pressure_status s;

	host_has(f, 199);
	assert_true(run_until(f, shrinks));
	host_has(f, 202);
	assert_true(run_until(f, has_room));
	pressure_status(f->pressure, &s);
	assert_true(resident(f) <= before);
	assert_true(before - resident(f) <= 6 * MIB);
	assert_int_equal(put(f, 1, PERSISTENT), 0);
}

static void the_policy_can_be_switched_off(void **state)
{
	struct fixture *f = *state;
	struct policy_config off = policy;
	uint64_t before = resident(f);
	struct tmem_limits l;

	off.on = false;
	pressure_configure(f->pressure, &off);
	available_set(10);
	pressure_configure(f->pressure, &off);
	assert_int_equal(reason(f), POLICY_OFF);
	tmem_limits_get(f->core, &l);
	assert_int_equal(l.target, ARENA);
	assert_int_equal(resident(f), before);
}

static uint64_t lowered;	/* bytes of arena */

static bool is_within_lowered(struct fixture *f)
{
	return resident(f) <= lowered;
}

static bool has_no_ephemeral(struct fixture *f)
{
	struct tmem_use use;

	tmem_use_get(f->core, &use);
	return use.ephemeral == 0 && use.free == 0;
}

static bool takes_one_more(struct fixture *f)
{
	return !put(f, 1, PERSISTENT + 201);
}

static void lower(struct fixture *f, uint64_t total)
{
	struct policy_config c = policy;

	lowered = c.total = total;
	c.persistent_max = total / 4 * 3;
	pressure_configure(f->pressure, &c);
}

/* On a host with room: first what must stay fits, then it does not. */
static void a_lower_total_takes_ephemeral_pages_only(void **state)
{
	struct fixture *f = *state;

	assert_true(resident(f) > 3 * MIB);
	lower(f, 3 * MIB);
	assert_true(run_until(f, is_within_lowered));
	assert_true(run_until(f, has_told_losses));
	assert_int_equal(put(f, 1, PERSISTENT), 0);

	lower(f, MIB / 4);
	assert_true(run_until(f, has_no_ephemeral));
	assert_true(resident(f) > lowered);
	for (unsigned i = 0; i <= PERSISTENT; i++)
		assert_true(is_there(f, 1, i));
	assert_int_not_equal(put(f, 0, 1), 0);
	for (unsigned i = 0; i < 200; i++)
		put(f, 1, PERSISTENT + 1 + i);
	assert_int_not_equal(put(f, 1, PERSISTENT + 201), 0);

	/* It grows again step by step. */
	lower(f, ARENA);
	assert_true(run_until(f, takes_one_more));
	assert_true(is_there(f, 1, PERSISTENT));
}

static void events_are_numbered_and_bounded(void **unused)
{
	const struct event *e;
	struct events *all;
	uint64_t n = 0;

	(void)unused;
	assert_int_equal(events_create(&all), 0);
	assert_null(events_next(all, 0));
	for (unsigned i = 1; i <= 300; i++)
		events_add(all, EVENT_CHANGE, i % 2 ? "g" : NULL, "%u", i);
	e = events_next(all, 0);
	assert_int_equal(e->number, 300 - EVENTS_KEPT + 1);
	for (; (e = events_next(all, n)); n = e->number) {
		assert_int_equal(e->number, strtoul(e->text, NULL, 10));
		assert_string_equal(e->guest, e->number % 2 ? "g" : "");
	}
	assert_int_equal(n, 300);
	assert_null(events_next(all, UINT64_MAX));
	events_destroy(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_host_with_room_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(frames_go_back_and_persistent_pages_stay, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(no_more_goes_than_is_short, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_policy_can_be_switched_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lower_total_takes_ephemeral_pages_only, set_up,
						tear_down),
		cmocka_unit_test(events_are_numbered_and_bounded),
	};

	return cmocka_run_group_tests_name("pressure", tests, NULL, NULL);
}

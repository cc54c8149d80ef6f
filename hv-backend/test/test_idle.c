// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A daemon with nothing to do does nothing: over two seconds it uses at most one
 * clock tick of CPU time, with guests that are connected, that have just been
 * busy, or that have an EVENT parked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "hosting.h"

#define IDLE_S		2
#define SETTLE_MS	100	/* the longest spin is far shorter */
#define TICKS_MAX	1

static const char *const guests[] = { "idle", "busy", "parked", NULL };

static void work(struct front *f)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (uint64_t n = 0; n < 2000 / HOSTING_SLOW; n++) {
		struct front_key key = key_of(0, n);

		page_fill(page, n);
		assert_int_equal(front_put(front_queue_of(f, &key), &key, page, n), TMEMP_OK);
	}
}

static void test_idle_daemon_sleeps(void **state)
{
	struct hosting host;
	struct front *f[3];
	long before, after;

	(void)state;
	assert_int_equal(hosting_start(&host, guests, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		char path[DAEMON_PATH_MAX];
		struct front_config c = hosting_config(&host, guests[i], path);

		c.queues = 2;
		assert_int_equal(front_open(&f[i], &c), 0);
		assert_int_equal(front_pool_create(f[i], 0, TMEMP_POOL_PERSISTENT), 0);
	}
	work(f[1]);
	assert_non_null(front_event_park(f[2], TMEMP_DRAIN_NONE, 0));
	usleep(SETTLE_MS * 1000);
	before = daemon_cpu_ticks(&host.daemon);
	sleep(IDLE_S);
	after = daemon_cpu_ticks(&host.daemon);
	assert_true(before >= 0);
	assert_in_range(after - before, 0, TICKS_MAX);
	/* It was asleep, not dead. */
	work(f[0]);
	for (unsigned i = 0; i < 3; i++)
		front_destroy(f[i]);
	assert_int_equal(hosting_stop(&host), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_daemon_sleeps),
	};

	return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}

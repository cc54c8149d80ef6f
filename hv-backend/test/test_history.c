/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_history.c - readings made up, and the columns they must become.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "history.h"

static int setup(void **state)
{
	return history_create((struct history **)state, NULL, NULL, NULL);
}

static int teardown(void **state)
{
	history_destroy(*state);
	return 0;
}

/* Reading n of a guest that puts 10 pages a reading, the host counting along. */
static void note(struct history *h, uint64_t n, const char *name, bool ready)
{
	struct history_guest g = {
		.ready = ready, .ephemeral = n * 100, .persistent = n * 1000, .pages = n,
		.count = { .puts = n * 10, .refused = n, .gets = n * 4, .hits = n * 2,
			   .evicted = n * 3 },
	};

	snprintf(g.name, sizeof(g.name), "%s", name);
	history_guest_note(h, &g);
}

static void host(struct history *h, uint64_t n)
{
	struct history_host now = {
		.time_ms = (int64_t)n * 2000, .resident = n, .limit = 77, .available = 88,
		.psi_known = true, .psi_some_us = n * 500000, .evicted_pages = n * 5,
		.latency.count[LATENCY_PUT] = { [10] = n * 100 },
	};

	history_host_note(h, &now);
}

static json_t *history(struct history *h, enum history_span span, uint64_t after)
{
	char *text = history_json(h, span, after);
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	free(text);
	return o;
}

static json_t *guest(json_t *o, unsigned i)
{
	return json_array_get(json_object_get(o, "guests"), i);
}

static size_t length(json_t *o, const char *key)
{
	return json_array_size(json_object_get(o, key));
}

static json_int_t at(json_t *o, const char *key, size_t i)
{
	json_t *cell = json_array_get(json_object_get(o, key), i);

	assert_true(json_is_integer(cell));
	return json_integer_value(cell);
}

static bool is_null(json_t *o, const char *key, size_t i)
{
	return json_is_null(json_array_get(json_object_get(o, key), i));
}

static void empty_is_no_column(void **state)
{
	json_t *o = history(*state, HISTORY_RECENT, 0);

	assert_int_equal(length(o, "time_ms"), 0);
	assert_int_equal(json_integer_value(json_object_get(o, "last")), 0);
	json_decref(o);
}

static void counts_are_of_each_sample(void **state)
{
	json_t *o;

	for (uint64_t n = 1; n <= 3; n++) {
		note(*state, n, "a", true);
		host(*state, n);
	}
	o = history(*state, HISTORY_RECENT, 0);
	assert_int_equal(length(o, "time_ms"), 3);
	assert_int_equal(at(o, "time_ms", 2), 6000);
	assert_int_equal(at(guest(o, 0), "puts", 0), 0);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(at(guest(o, 0), "puts", i), 10);
		assert_int_equal(at(guest(o, 0), "puts_refused", i), 1);
		assert_int_equal(at(guest(o, 0), "gets", i), 4);
		assert_int_equal(at(guest(o, 0), "gets_ok", i), 2);
		assert_int_equal(at(guest(o, 0), "evicted_pages", i), 3);
		assert_int_equal(at(json_object_get(o, "host"), "psi_some_permille", i), 250);
		assert_int_equal(at(json_object_get(o, "host"), "evicted_pages", i), 5);
		assert_in_range(at(json_object_get(o, "host"), "put_p99_ns", i), 512, 1024);
		assert_true(is_null(json_object_get(o, "host"), "get_p99_ns", i));
	}
	assert_int_equal(at(guest(o, 0), "persistent_bytes", 2), 3000);
	assert_int_equal(at(guest(o, 0), "logical_bytes", 2), 3 * 4096);
	json_decref(o);
}

static void no_driver_is_not_zero(void **state)
{
	json_t *o;

	for (uint64_t n = 1; n <= 2; n++) {
		note(*state, n, "a", false);
		host(*state, n);
	}
	o = history(*state, HISTORY_RECENT, 0);
	assert_true(json_is_false(json_array_get(json_object_get(guest(o, 0), "driver"), 1)));
	assert_true(is_null(guest(o, 0), "puts", 1));
	assert_true(is_null(guest(o, 0), "gets", 1));
	assert_int_equal(at(guest(o, 0), "persistent_bytes", 1), 2000);
	json_decref(o);
}

static void a_guest_that_comes_later_was_absent(void **state)
{
	json_t *o;

	note(*state, 1, "a", true);
	host(*state, 1);
	note(*state, 2, "a", true);
	note(*state, 2, "b", true);
	host(*state, 2);
	host(*state, 3);
	o = history(*state, HISTORY_RECENT, 0);
	assert_true(is_null(guest(o, 1), "persistent_bytes", 0));
	assert_int_equal(at(guest(o, 1), "persistent_bytes", 1), 2000);
	assert_true(is_null(guest(o, 0), "persistent_bytes", 2));
	json_decref(o);
}

static void who_follows_gets_what_is_new(void **state)
{
	json_t *o;

	for (uint64_t n = 1; n <= 5; n++)
		host(*state, n);
	o = history(*state, HISTORY_RECENT, 3);
	assert_int_equal(length(o, "time_ms"), 2);
	assert_int_equal(at(o, "time_ms", 0), 8000);
	json_decref(o);
	o = history(*state, HISTORY_RECENT, 5);
	assert_int_equal(length(o, "time_ms"), 0);
	json_decref(o);
	o = history(*state, HISTORY_RECENT, UINT64_MAX);
	assert_int_equal(length(o, "time_ms"), 0);
	json_decref(o);
}

static void rings_are_bounded(void **state)
{
	const uint64_t readings = HISTORY_DAY_S / HISTORY_RECENT_S * (HISTORY_DAY_LENGTH + 10);
	json_t *o;

	for (uint64_t n = 1; n <= readings; n++) {
		note(*state, n, "a", true);
		host(*state, n);
	}
	o = history(*state, HISTORY_RECENT, 0);
	assert_int_equal(length(o, "time_ms"), HISTORY_RECENT_LENGTH);
	assert_int_equal(at(o, "time_ms", HISTORY_RECENT_LENGTH - 1), readings * 2000);
	json_decref(o);
	o = history(*state, HISTORY_DAY, 0);
	assert_int_equal(length(o, "time_ms"), HISTORY_DAY_LENGTH);
	assert_int_equal(at(o, "time_ms", HISTORY_DAY_LENGTH - 1), readings * 2000);
	/* A minute is one sample of its own. */
	assert_int_equal(at(guest(o, 0), "puts", 1), 300);
	assert_int_equal(at(json_object_get(o, "host"), "psi_some_permille", 1), 250);
	json_decref(o);
}

static void guests_are_bounded(void **state)
{
	char name[16];
	json_t *o;

	for (unsigned i = 0; i < HISTORY_GUESTS + 3; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		note(*state, 1, name, true);
	}
	host(*state, 1);
	o = history(*state, HISTORY_RECENT, 0);
	assert_int_equal(length(o, "guests"), HISTORY_GUESTS);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(empty_is_no_column, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_are_of_each_sample, setup, teardown),
		cmocka_unit_test_setup_teardown(no_driver_is_not_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_comes_later_was_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(who_follows_gets_what_is_new, setup, teardown),
		cmocka_unit_test_setup_teardown(rings_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(guests_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_latency.c - buckets, sums of workers, quantiles.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "latency.h"

static void a_time_falls_in_the_bucket_of_its_width(void **unused)
{
	static const struct {
		uint64_t ns;
		unsigned bucket;
	} rows[] = {
		{ 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 2 }, { 4, 3 }, { 1023, 10 }, { 1024, 11 },
		{ UINT64_C(1) << 30, 31 }, { UINT64_MAX, 31 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct latency l = { 0 };
		struct latency_reading r = { 0 };

		latency_note(&l, LATENCY_GET, rows[i].ns);
		latency_read(&l, &r);
		assert_int_equal(r.count[LATENCY_GET][rows[i].bucket], 1);
		assert_int_equal(latency_total(r.count[LATENCY_GET]), 1);
		assert_int_equal(r.ns[LATENCY_GET], rows[i].ns);
		assert_int_equal(latency_total(r.count[LATENCY_PUT]), 0);
	}
}

static void workers_add_up(void **unused)
{
	struct latency a = { 0 }, b = { 0 };
	struct latency_reading r = { 0 };

	(void)unused;
	latency_note(&a, LATENCY_PUT, 100);
	latency_note(&b, LATENCY_PUT, 120);
	latency_note(&b, LATENCY_PUT, 5000);
	latency_read(&a, &r);
	latency_read(&b, &r);
	assert_int_equal(r.count[LATENCY_PUT][7], 2);
	assert_int_equal(latency_total(r.count[LATENCY_PUT]), 3);
	assert_int_equal(r.ns[LATENCY_PUT], 5220);
}

static void a_quantile_lies_in_its_bucket(void **unused)
{
	uint64_t count[LATENCY_BUCKETS] = { [10] = 98, [20] = 2 };

	(void)unused;
	assert_in_range(latency_quantile(count, 500), 512, 1023);
	assert_in_range(latency_quantile(count, 990), 1 << 19, 1 << 20);
	assert_true(latency_quantile(count, 100) < latency_quantile(count, 900));
}

static void of_nothing_there_is_no_quantile(void **unused)
{
	const uint64_t count[LATENCY_BUCKETS] = { 0 };

	(void)unused;
	assert_int_equal(latency_quantile(count, 990), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_falls_in_the_bucket_of_its_width),
		cmocka_unit_test(workers_add_up),
		cmocka_unit_test(a_quantile_lies_in_its_bucket),
		cmocka_unit_test(of_nothing_there_is_no_quantile),
	};

	return cmocka_run_group_tests_name("latency", tests, NULL, NULL);
}

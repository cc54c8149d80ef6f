// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_spin.c - when looking on pays, by made-up times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "spin.h"

#define US 1000ull

static void test_never(void **state)
{
	struct spin s;

	(void)state;
	spin_init(&s, 0);
	spin_hit(&s, 0);
	assert_int_equal(spin_budget(&s, 1), 0);
}

static void test_busy_traffic_spins_idle_does_not(void **state)
{
	struct spin s;
	uint64_t now = 1000 * US;

	(void)state;
	spin_init(&s, 50 * US);
	for (int i = 0; i < 100; i++)
		spin_hit(&s, 2 * US);
	assert_int_equal(spin_budget(&s, now), 50 * US);
	for (int i = 0; i < 100; i++)
		spin_miss(&s, now, 10000 * US, false);
	assert_int_equal(spin_budget(&s, now), 0);
	/* It comes back when the gaps, kicks and waking included, get short. */
	for (int i = 0; i < 100; i++)
		spin_miss(&s, now, 20 * US, false);
	assert_int_equal(spin_budget(&s, now), 50 * US);
}

static void test_spins_in_vain_end(void **state)
{
	struct spin s;
	uint64_t now = 1000 * US, spent = 0;

	(void)state;
	spin_init(&s, 50 * US);
	/* A guest on our processor: it answers 3 us after we sleep, never before. */
	while (now < 1000000 * US) {
		uint64_t budget = spin_budget(&s, now);

		spent += budget;
		now += budget + 3 * US;
		spin_miss(&s, now, budget + 3 * US, budget > 0);
	}
	/* Of this second, spins took less than a hundredth. */
	assert_true(spent > 0);
	assert_true(spent < 10000 * US);
}

static void test_a_lost_processor_rests_at_once(void **state)
{
	struct spin s;
	uint64_t now = 1000 * US;

	(void)state;
	spin_init(&s, 50 * US);
	spin_hit(&s, US);
	spin_preempted(&s, now);
	assert_int_equal(spin_budget(&s, now + SPIN_REST_MIN_NS - 1), 0);
	assert_int_equal(spin_budget(&s, now + SPIN_REST_MIN_NS), 50 * US);
	spin_preempted(&s, now);
	assert_int_equal(spin_budget(&s, now + 2 * SPIN_REST_MIN_NS - 1), 0);
	for (unsigned i = 0; i < SPIN_HITS; i++)
		spin_hit(&s, US);
	spin_preempted(&s, now);
	assert_int_equal(spin_budget(&s, now + SPIN_REST_MIN_NS), 50 * US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_busy_traffic_spins_idle_does_not),
		cmocka_unit_test(test_spins_in_vain_end),
		cmocka_unit_test(test_a_lost_processor_rests_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_fair.c - whose turn it is, by made-up times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fair.h"

#define GUESTS	4u

/* Guests that always want more: a turn of cost[i] each time it is i's. */
static void greedy(struct fair *f, struct fair_guest g[], const uint64_t cost[], unsigned guests,
		   uint64_t had[], unsigned turns)
{
	for (unsigned i = 0; i < guests; i++)
		fair_add(f, &g[i]);
	while (turns--) {
		size_t i = (size_t)(f->first - g);

		had[i] += cost[i];
		fair_charge(f, &g[i], cost[i]);
	}
}

static void test_equal_times_whatever_a_turn_costs(void **state)
{
	const uint64_t cost[GUESTS] = { 1, 10, 45, 7 };
	struct fair f = { .now = 0 };
	struct fair_guest g[GUESTS] = { { .start = 0 } };
	uint64_t had[GUESTS] = { 0 };

	(void)state;
	greedy(&f, g, cost, GUESTS, had, 10000);
	for (unsigned i = 0; i < GUESTS; i++)
		for (unsigned k = 0; k < GUESTS; k++)
			assert_true(had[i] <= had[k] + cost[i] + cost[k]);
}

static void test_equals_take_turns(void **state)
{
	struct fair f = { .now = 0 };
	struct fair_guest g[2] = { { .start = 0 } };

	(void)state;
	fair_add(&f, &g[0]);
	fair_add(&f, &g[1]);
	fair_charge(&f, &g[1], 5);
	assert_ptr_equal(f.first, &g[0]);
	fair_charge(&f, &g[0], 5);
	assert_ptr_equal(f.first, &g[1]);
}

static void test_who_wants_little_goes_first(void **state)
{
	struct fair f = { .now = 0 };
	struct fair_guest greedy_one = { .start = 0 }, sparing = { .start = 0 };

	(void)state;
	fair_add(&f, &greedy_one);
	fair_add(&f, &sparing);
	for (unsigned i = 0; i < 100; i++) {
		fair_charge(&f, &greedy_one, 10);
		assert_ptr_equal(f.first, &sparing);
		fair_charge(&f, &sparing, 4);
	}
}

static void test_time_away_is_not_saved_up(void **state)
{
	struct fair f = { .now = 0 };
	struct fair_guest old = { .start = 0 }, new = { .start = 0 }, idle = { .start = 0 };

	(void)state;
	fair_add(&f, &old);
	fair_add(&f, &idle);
	for (unsigned i = 0; i < 100; i++)
		fair_charge(&f, &old, 10);
	/* First, once; then each in turn: also the one that stayed in with no work. */
	fair_add(&f, &new);
	fair_charge(&f, &new, 10);
	fair_charge(&f, &idle, 10);
	assert_ptr_equal(f.first, &old);
	fair_charge(&f, &old, 10);
	assert_ptr_not_equal(f.first, &old);
}

static void test_in_and_out(void **state)
{
	struct fair f = { .now = 0 };
	struct fair_guest a = { .start = 0 }, b = { .start = 0 };

	(void)state;
	fair_remove(&f, &a);
	assert_null(f.first);
	fair_add(&f, &a);
	fair_add(&f, &a);
	fair_add(&f, &b);
	assert_ptr_equal(f.first, &b);
	fair_remove(&f, &a);
	fair_remove(&f, &b);
	assert_null(f.first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_times_whatever_a_turn_costs),
		cmocka_unit_test(test_equals_take_turns),
		cmocka_unit_test(test_who_wants_little_goes_first),
		cmocka_unit_test(test_time_away_is_not_saved_up),
		cmocka_unit_test(test_in_and_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

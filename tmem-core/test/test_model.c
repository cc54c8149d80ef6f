/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_model.c - the core beside a naive model, over many seeds.
 *
 *   TMEM_SEEDS=N   how many seeds (20)
 *   TMEM_OPS=N     operations a seed (6000)
 *   TMEM_SEED=N    this seed alone
 *
 * The negative controls lie to the model in each way it can be lied to; a run
 * that notices nothing is a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_fixture.h"
#include "model.h"

static void run_seed(uint64_t seed, unsigned n_ops)
{
	const struct model_run run = { .seed = seed, .ops = n_ops };
	char why[512] = "";

	if (!model_run(&run, why, sizeof(why)))
		fail_msg("%s; again: TMEM_SEED=%llu TMEM_OPS=%u test_model", why,
			 (unsigned long long)seed, n_ops);
}

static void test_core_does_what_the_model_says(void **state)
{
	uint64_t seeds = env_number("TMEM_SEEDS", 20), only = env_number("TMEM_SEED", 0);
	unsigned n_ops = (unsigned)env_number("TMEM_OPS", 6000);

	(void)state;
	if (only) {
		run_seed(only, n_ops);
		return;
	}
	for (uint64_t seed = 1; seed <= seeds; seed++)
		run_seed(seed, n_ops);
}

static void test_lies_are_noticed(void **state)
{
	(void)state;
	run_seed(1, 6000);
	for (enum model_lie lie = MODEL_HONEST + 1; lie < MODEL_LIES; lie++) {
		const struct model_run run = { .seed = 1, .ops = 6000, .lie = lie };
		char why[512] = "";

		if (model_run(&run, why, sizeof(why)))
			fail_msg("lie %d went unnoticed", (int)lie);
		print_message("# lie %d: %s\n", (int)lie, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_core_does_what_the_model_says),
		cmocka_unit_test(test_lies_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

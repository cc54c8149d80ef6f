/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dedup.c - equal ephemeral pages kept once: where, for whom, and who pays.
 *
 * SEED's page is put under many keys; what that costs is read from the charge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "core_fixture.h"

#define PAGES	120u	/* of two clients: fewer than one data may have referrers */
#define SEED	1013u	/* text with some random bytes */

static struct core core;
static struct tmem_client *first, *second;

static void start(enum tmem_dedup dedup)
{
	const struct tmem_config config = { .arena_max = 16 * MIB, .dedup = dedup };

	assert_int_equal(core_open(&core, &config), 0);
	assert_non_null(first = core_client(&core, "first"));
	assert_non_null(second = core_client(&core, "second"));
}

static void finish(void)
{
	char why[256] = "";

	if (!tmem_is_valid(core.t, why, sizeof(why)))
		fail_msg("not valid: %s", why);
	core_close(&core);
}

static void put_all(struct tmem_client *c, unsigned pool, uint32_t from)
{
	for (uint32_t i = from; i < from + PAGES; i++)
		assert_int_equal(core_put(&core, c, pool, core_key(i / 100, i % 100), SEED), 0);
}

/* How many of the pages are there; each must be right. */
static uint32_t get_all(struct tmem_client *c, unsigned pool, uint32_t from)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < from + PAGES; i++) {
		int rc = core_get(&core, c, pool, core_key(i / 100, i % 100), SEED);

		assert_true(rc == 0 || rc == -ENOENT);
		n += rc == 0;
	}
	return n;
}

static struct tmem_counters of(struct tmem_client *c, enum tmem_kind kind)
{
	struct tmem_client_info info;

	tmem_client_info(c, &info);
	return info.kind[kind];
}

static void test_off_each_page_costs(void **state)
{
	(void)state;
	start(TMEM_DEDUP_OFF);
	put_all(first, 0, 0);
	assert_true(of(first, TMEM_EPHEMERAL).bytes_physical > PAGES * 300);
	assert_int_equal(get_all(first, 0, 0), PAGES);
	finish();
}

static void test_equal_pages_of_a_client_cost_once(void **state)
{
	(void)state;
	start(TMEM_DEDUP_CLIENT);
	put_all(first, 0, 0);
	assert_int_equal(of(first, TMEM_EPHEMERAL).pages, PAGES);
	assert_true(of(first, TMEM_EPHEMERAL).bytes_physical <= tmem_frame_size(core.t));
	assert_int_equal(get_all(first, 0, 0), PAGES);
	assert_int_equal(of(first, TMEM_EPHEMERAL).pages, 0);
	assert_int_equal(of(first, TMEM_EPHEMERAL).bytes_physical, 0);
	assert_int_equal(of(first, TMEM_EPHEMERAL).bytes_stored, 0);
	finish();
}

/* Whether a put was cheap would tell a guest what another one holds. */
static void test_clients_do_not_share_unless_told_to(void **state)
{
	struct tmem_store_info before, after;

	(void)state;
	start(TMEM_DEDUP_CLIENT);
	assert_int_equal(core_put(&core, first, 0, core_key(1, 1), SEED), 0);
	assert_int_equal(core_put(&core, second, 0, core_key(1, 1), SEED), 0);
	assert_int_equal(of(second, TMEM_EPHEMERAL).bytes_stored,
			 of(first, TMEM_EPHEMERAL).bytes_stored);
	finish();
	start(TMEM_DEDUP_HOST);
	put_all(first, 0, 0);
	tmem_store_info(core.t, &before);
	put_all(second, 0, 0);
	tmem_store_info(core.t, &after);
	assert_true((after.frames_zbud - before.frames_zbud) * tmem_frame_size(core.t) <= tmem_frame_size(core.t));
	finish();
}

static void test_a_page_passes_to_the_next_who_refers_to_it(void **state)
{
	(void)state;
	start(TMEM_DEDUP_HOST);
	assert_int_equal(core_put(&core, first, 0, core_key(1, 1), SEED), 0);
	put_all(second, 0, 0);
	assert_int_equal(core_get(&core, first, 0, core_key(1, 1), SEED), 0);
	assert_int_equal(of(first, TMEM_EPHEMERAL).bytes_physical, 0);
	assert_true(of(second, TMEM_EPHEMERAL).bytes_physical > 0);
	tmem_client_kill(first);
	tmem_client_destroy(first);
	assert_int_equal(get_all(second, 0, 0), PAGES);
	assert_int_equal(of(second, TMEM_EPHEMERAL).bytes_physical, 0);
	finish();
}

static void test_a_replaced_page_changes_no_other(void **state)
{
	(void)state;
	start(TMEM_DEDUP_CLIENT);
	put_all(first, 0, 0);
	for (uint32_t i = 0; i < PAGES; i += 2)
		assert_int_equal(core_put(&core, first, 0, core_key(i / 100, i % 100),
					  page_good_seed(i)), 0);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(core_get(&core, first, 0, core_key(i / 100, i % 100),
					  i % 2 ? SEED : page_good_seed(i)), 0);
	finish();
}

static void test_eviction_of_the_data_deceives_nobody(void **state)
{
	uint64_t rng = rnd_seed(7);

	(void)state;
	start(TMEM_DEDUP_HOST);
	put_all(first, 0, 0);
	put_all(second, 0, 0);
	while (tmem_reclaim(core.t, 1, NULL)) {
		int rc = core_get(&core, first, 0, core_key(rnd_below(&rng, 10), 5), SEED);

		assert_true(rc == 0 || rc == -ENOENT);
		assert_true(tmem_is_valid(core.t, NULL, 0));
	}
	assert_int_equal(get_all(first, 0, 0) + get_all(second, 0, 0), 0);
	finish();
}

static void test_persistent_pages_are_never_shared(void **state)
{
	(void)state;
	start(TMEM_DEDUP_HOST);
	put_all(first, 1, 0);
	assert_true(of(first, TMEM_PERSISTENT).bytes_physical > PAGES * 300);
	assert_int_equal(get_all(first, 1, 0), PAGES);
	finish();
}

static void test_a_rebuild_drops_or_keeps_but_never_mixes(void **state)
{
	(void)state;
	start(TMEM_DEDUP_HOST);
	put_all(first, 0, 0);
	put_all(second, 0, 0);
	put_all(second, 1, 0);
	assert_int_equal(core_rebuild(&core), 0);
	first = tmem_client_find(core.t, "first");
	second = tmem_client_find(core.t, "second");
	assert_true(first && second);
	get_all(first, 0, 0);
	get_all(second, 0, 0);
	assert_int_equal(get_all(second, 1, 0), PAGES);
	finish();
}

/* More equal pages than one data may have referrers: another copy for each 256 of them. */
static void test_many_equal_pages_need_few_copies(void **state)
{
	const uint32_t pages = 4000;
	struct tmem_counters n;

	(void)state;
	start(TMEM_DEDUP_CLIENT);
	for (uint32_t i = 0; i < pages; i++)
		assert_int_equal(core_put(&core, first, 0, core_key(i / 100, i % 100), SEED), 0);
	n = of(first, TMEM_EPHEMERAL);
	assert_int_equal(n.pages, pages);
	assert_int_equal(n.pages - n.pages_deduped, (pages + 255) / 256);
	for (uint32_t i = 0; i < pages; i += 2)
		assert_int_equal(core_get(&core, first, 0, core_key(i / 100, i % 100), SEED), 0);
	n = of(first, TMEM_EPHEMERAL);
	assert_int_equal(n.pages, pages / 2);
	assert_true(n.pages - n.pages_deduped <= (pages + 255) / 256);
	for (uint32_t i = 1; i < pages; i += 2)
		assert_int_equal(core_get(&core, first, 0, core_key(i / 100, i % 100), SEED), 0);
	assert_int_equal(of(first, TMEM_EPHEMERAL).bytes_physical, 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off_each_page_costs),
		cmocka_unit_test(test_equal_pages_of_a_client_cost_once),
		cmocka_unit_test(test_many_equal_pages_need_few_copies),
		cmocka_unit_test(test_clients_do_not_share_unless_told_to),
		cmocka_unit_test(test_a_page_passes_to_the_next_who_refers_to_it),
		cmocka_unit_test(test_a_replaced_page_changes_no_other),
		cmocka_unit_test(test_eviction_of_the_data_deceives_nobody),
		cmocka_unit_test(test_persistent_pages_are_never_shared),
		cmocka_unit_test(test_a_rebuild_drops_or_keeps_but_never_mixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

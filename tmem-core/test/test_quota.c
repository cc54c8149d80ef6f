/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_quota.c - who gets how much, and who loses pages when memory is short.
 *
 * Clients here hold pages of one look, so physical bytes follow page counts and
 * shares can be compared within a few frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core_fixture.h"

#define ARENA	(32 * MIB)
#define PLENTY	100000u		/* more puts than any limit here lets stay */

static struct core core;

static int setup(void **state)
{
	(void)state;
	return core_open_plain(&core, ARENA);
}

static int teardown(void **state)
{
	(void)state;
	assert_true(tmem_is_valid(core.t, NULL, 0));
	core_close(&core);
	return 0;
}

/* A client whose quota is the default but for what the caller changes in q. */
static struct tmem_client *client(const char *name, struct tmem_quota *q)
{
	struct tmem_client *c = core_client(&core, name);

	assert_non_null(c);
	tmem_client_quota_get(c, q);
	return c;
}

static struct tmem_client *weighted(const char *name, uint32_t weight)
{
	struct tmem_quota q;
	struct tmem_client *c = client(name, &q);

	q.weight = weight;
	assert_int_equal(tmem_client_quota_set(c, &q), 0);
	return c;
}

static uint64_t physical(struct tmem_client *c)
{
	struct tmem_client_info info;

	tmem_client_info(c, &info);
	return info.kind[TMEM_EPHEMERAL].bytes_physical + info.kind[TMEM_PERSISTENT].bytes_physical;
}

static struct tmem_client_info info_of(struct tmem_client *c)
{
	struct tmem_client_info info;

	tmem_client_info(c, &info);
	return info;
}

static uint64_t all_held(struct tmem_client *c, enum tmem_kind kind)
{
	return info_of(c).kind[kind].pages;
}

/* Put pages [from, from + n); returns how many were taken. */
static uint32_t put_range(struct tmem_client *c, unsigned pool, uint32_t from, uint32_t n)
{
	uint32_t taken = 0;

	for (uint32_t i = from; i < from + n; i++)
		taken += core_put(&core, c, pool, core_key(i / 256, i % 256), page_good_seed(i)) == 0;
	return taken;
}

/* Put until one is refused; returns how many were taken and says why it ended. */
static uint32_t put_until_refused(struct tmem_client *c, unsigned pool, int *why)
{
	for (uint32_t i = 0; i < PLENTY; i++) {
		*why = core_put(&core, c, pool, core_key(i / 256, i % 256), page_good_seed(i));
		if (*why)
			return i;
	}
	fail_msg("nothing was refused");
	return 0;
}

static void expect_all(struct tmem_client *c, unsigned pool, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(core_get(&core, c, pool, core_key(i / 256, i % 256),
					  page_good_seed(i)), 0);
}

static void near(const char *what, double got, double want, double tolerance)
{
	if (got < want * (1 - tolerance) || got > want * (1 + tolerance))
		fail_msg("%s: %.0f, not %.0f within %.0f %%", what, got, want, tolerance * 100);
}

/* ---- fair shares ------------------------------------------------------ */

/* The lightest works hardest, so that load alone would turn the shares round. */
static void test_shares_follow_weights_not_loads(void **state)
{
	struct tmem_client *c[3] = {
		weighted("light", 100), weighted("middle", 200), weighted("heavy", 400),
	};
	static const uint32_t load[3] = { 80, 40, 20 };
	uint32_t next[3] = { 0 };
	double sum = 0;

	(void)state;
	for (unsigned round = 0; round < 900; round++)
		for (unsigned i = 0; i < 3; i++) {
			put_range(c[i], 0, next[i], load[i]);
			next[i] += load[i];
		}
	for (unsigned i = 0; i < 3; i++)
		sum += (double)physical(c[i]);
	assert_true(sum > 0.85 * ARENA);
	near("light", (double)physical(c[0]), sum / 7, 0.15);
	near("middle", (double)physical(c[1]), sum * 2 / 7, 0.10);
	near("heavy", (double)physical(c[2]), sum * 4 / 7, 0.10);
	for (unsigned i = 0; i < 3; i++)
		near("share", (double)info_of(c[i]).share_permille, 1000, 0.15);
}

static void test_below_its_share_a_client_loses_nothing(void **state)
{
	struct tmem_client *quiet = weighted("quiet", 100), *busy = weighted("busy", 100);
	uint32_t n = put_range(quiet, 0, 0, 2000);

	(void)state;
	assert_int_equal(n, 2000);
	put_range(busy, 0, 0, 30000);
	assert_int_equal(info_of(quiet).evicted_frames, 0);
	assert_true(info_of(busy).evicted_frames > 0);
	assert_true(physical(busy) > ARENA / 2);
	expect_all(quiet, 0, n);
}

static void test_above_its_share_a_client_loses_down_to_it(void **state)
{
	struct tmem_client *first = weighted("first", 300), *second = weighted("second", 100);
	double sum;

	(void)state;
	put_range(first, 0, 0, 30000);
	assert_true(physical(first) > ARENA / 10 * 8);
	put_range(second, 0, 0, 30000);
	sum = (double)(physical(first) + physical(second));
	near("first", (double)physical(first), sum * 3 / 4, 0.05);
}

static void test_reclaim_takes_from_the_one_most_above_its_share(void **state)
{
	struct tmem_client *heavy = weighted("heavy", 300), *light = weighted("light", 100);
	struct tmem_store_info store;
	struct tmem_reclaim_report r;

	(void)state;
	put_range(heavy, 0, 0, 3000);
	put_range(light, 0, 0, 3000);
	tmem_store_info(core.t, &store);
	tmem_reclaim(core.t, store.frames_free + 20, &r);
	assert_int_equal(r.stop, TMEM_RECLAIM_DONE);
	assert_int_equal(r.clients, 1);
	assert_string_equal(r.from[0].name, "light");
	assert_int_equal(info_of(heavy).evicted_frames, 0);
	expect_all(heavy, 0, 3000);
}

static void test_use_is_what_the_stores_have(void **state)
{
	struct tmem_client *c = weighted("c", 100);
	uint64_t frame = tmem_frame_size(core.t);
	struct tmem_store_info store;
	struct tmem_use use;

	(void)state;
	put_range(c, 0, 0, 3000);
	put_range(c, 1, 0, 500);
	tmem_client_flush_ephemeral(c);
	put_range(c, 0, 0, 1000);
	tmem_store_info(core.t, &store);
	tmem_use_get(core.t, &use);
	assert_true(store.frames_free && store.frames_zbud);
	assert_int_equal(use.arena, store.frames * frame);
	assert_int_equal(use.free, store.frames_free * frame);
	assert_int_equal(use.ephemeral, store.frames_zbud * frame);
	assert_int_equal(use.resident, store.bytes_resident);
}

static void test_persistent_pages_count_in_the_share(void **state)
{
	struct tmem_client *swapper = weighted("swapper", 100), *reader = weighted("reader", 100);

	(void)state;
	put_range(swapper, 1, 0, 3500);
	put_range(reader, 0, 0, 3000);
	put_range(swapper, 0, 0, 30000);
	assert_int_equal(info_of(reader).evicted_frames, 0);
	expect_all(reader, 0, 3000);
	expect_all(swapper, 1, 3500);
}

static void test_a_departed_client_leaves_no_weight(void **state)
{
	struct tmem_client *gone = weighted("gone", 40000), *a, *b;

	(void)state;
	a = weighted("a", 100);
	b = weighted("b", 300);
	put_range(gone, 0, 0, 4000);
	put_range(gone, 1, 0, 1000);
	tmem_client_kill(gone);
	tmem_client_destroy(gone);
	for (uint32_t i = 0; i < 60; i++) {
		put_range(a, 0, i * 500, 500);
		put_range(b, 0, i * 500, 500);
	}
	near("b to a", (double)physical(b), 3 * (double)physical(a), 0.10);
	near("a's share", (double)info_of(a).share_permille, 1000, 0.10);
	near("b's share", (double)info_of(b).share_permille, 1000, 0.10);
}

static void test_a_weight_changes_live(void **state)
{
	struct tmem_client *a = weighted("a", 100), *b = weighted("b", 100);
	struct tmem_quota q;

	(void)state;
	for (uint32_t i = 0; i < 30; i++) {
		put_range(a, 0, i * 500, 500);
		put_range(b, 0, i * 500, 500);
	}
	near("even", (double)physical(a), (double)physical(b), 0.10);
	tmem_client_quota_get(a, &q);
	q.weight = 400;
	assert_int_equal(tmem_client_quota_set(a, &q), 0);
	for (uint32_t i = 30; i < 70; i++) {
		put_range(a, 0, i * 500, 500);
		put_range(b, 0, i * 500, 500);
	}
	near("four to one", (double)physical(a), 4 * (double)physical(b), 0.12);
}

/* ---- min --------------------------------------------------------------- */

static void test_min_is_kept_while_another_is_above_its_own(void **state)
{
	struct tmem_quota q;
	struct tmem_client *kept = client("kept", &q), *other = weighted("other", 65535);
	uint64_t before;

	(void)state;
	q.weight = 1;
	q.min = 4 * MIB;
	assert_int_equal(tmem_client_quota_set(kept, &q), 0);
	put_range(kept, 0, 0, 2000);
	before = physical(kept);
	assert_true(before < q.min);
	put_range(other, 0, 0, 30000);
	assert_int_equal(physical(kept), before);
	expect_all(kept, 0, 2000);
}

static void test_reclaim_stops_at_the_floor(void **state)
{
	struct tmem_quota q;
	struct tmem_client *a = client("a", &q), *b;
	struct tmem_reclaim_report r;
	uint64_t frame = tmem_frame_size(core.t);

	(void)state;
	b = core_client(&core, "b");
	assert_non_null(b);
	q.min = 2 * MIB;
	assert_int_equal(tmem_client_quota_set(a, &q), 0);
	put_range(a, 0, 0, 4000);
	put_range(b, 0, 0, 4000);
	tmem_reclaim(core.t, ARENA / frame, &r);
	assert_int_equal(r.stop, TMEM_RECLAIM_FLOOR);
	assert_int_equal(all_held(b, TMEM_EPHEMERAL), 0);
	assert_true(physical(a) <= q.min && physical(a) + 2 * frame > q.min);
	q.min = 0;
	assert_int_equal(tmem_client_quota_set(a, &q), 0);
	tmem_reclaim(core.t, ARENA / frame, &r);
	assert_int_equal(r.stop, TMEM_RECLAIM_EMPTY);
	assert_int_equal(all_held(a, TMEM_EPHEMERAL), 0);
}

/* ---- max ---------------------------------------------------------------- */

static void test_at_max_a_client_evicts_its_own(void **state)
{
	struct tmem_quota q;
	struct tmem_client *capped = client("capped", &q), *other = core_client(&core, "other");

	(void)state;
	assert_non_null(other);
	q.max = 2 * MIB;
	assert_int_equal(tmem_client_quota_set(capped, &q), 0);
	put_range(other, 0, 0, 3000);
	assert_int_equal(put_range(capped, 0, 0, 10000), 10000);
	assert_true(physical(capped) <= q.max);
	assert_true(physical(capped) > q.max / 10 * 8);
	assert_true(info_of(capped).evicted_frames > 0);
	assert_int_equal(info_of(other).evicted_frames, 0);
	expect_all(other, 0, 3000);
}

static void test_at_max_persistent_pages_push_ephemeral_ones_then_are_refused(void **state)
{
	struct tmem_quota q;
	struct tmem_client *capped = client("capped", &q);
	uint32_t n;
	int why;

	(void)state;
	q.max = 2 * MIB;
	assert_int_equal(tmem_client_quota_set(capped, &q), 0);
	put_range(capped, 0, 0, 3000);
	n = put_until_refused(capped, 1, &why);
	assert_int_equal(why, -EDQUOT);
	assert_true(physical(capped) <= q.max);
	assert_true(info_of(capped).kind[TMEM_PERSISTENT].bytes_physical > q.max / 10 * 8);
	assert_int_equal(info_of(capped).kind[TMEM_PERSISTENT].puts_refused_quota, 1);
	expect_all(capped, 1, n);
}

static void test_lowering_max_drops_no_persistent_page(void **state)
{
	struct tmem_quota q;
	struct tmem_client *c = client("c", &q);
	uint32_t n = put_range(c, 1, 0, 3000);

	(void)state;
	assert_int_equal(n, 3000);
	q.max = q.persistent_max = MIB / 2;
	assert_int_equal(tmem_client_quota_set(c, &q), 0);
	/* What fits in frames that are charged already may still be taken. */
	assert_true(put_range(c, 1, 90000, 1000) < 50);
	put_range(c, 0, 90000, 1000);
	expect_all(c, 1, n);
}

/* ---- persistent limits --------------------------------------------------- */

static void test_persistent_max_binds_one_client(void **state)
{
	struct tmem_quota q;
	struct tmem_client *bound = client("bound", &q), *other = core_client(&core, "other");
	uint32_t n;
	int why;

	(void)state;
	assert_non_null(other);
	q.persistent_max = 2 * MIB;
	assert_int_equal(tmem_client_quota_set(bound, &q), 0);
	n = put_until_refused(bound, 1, &why);
	assert_int_equal(why, -EDQUOT);
	assert_true(physical(bound) <= q.persistent_max);
	assert_true(physical(bound) > q.persistent_max / 10 * 8);
	assert_int_equal(put_range(bound, 0, 0, 1000), 1000);
	assert_int_equal(put_range(other, 1, 0, 3000), 3000);
	expect_all(bound, 1, n);
	expect_all(bound, 0, 1000);
}

static void test_the_hosts_persistent_limit_binds_all(void **state)
{
	struct tmem_client *a = weighted("a", 100), *b = weighted("b", 100);
	struct tmem_limits limits;
	uint32_t n, taken;
	uint64_t sum;
	int why;

	(void)state;
	tmem_limits_get(core.t, &limits);
	limits.persistent_max = 4 * MIB;
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
	taken = put_range(a, 1, 0, 2000);
	assert_int_equal(taken, 2000);
	n = put_until_refused(b, 1, &why);
	assert_int_equal(why, -EDQUOT);
	sum = physical(a) + physical(b);
	assert_true(sum <= limits.persistent_max && sum > limits.persistent_max / 10 * 8);
	assert_int_equal(put_range(a, 0, 0, 1000), 1000);
	expect_all(a, 1, taken);
	expect_all(b, 1, n);
	expect_all(a, 0, 1000);
}

static void test_lowering_host_limits_drops_no_persistent_page(void **state)
{
	struct tmem_client *c = weighted("c", 100);
	struct tmem_limits limits;
	uint32_t n = put_range(c, 1, 0, 4000);

	(void)state;
	assert_int_equal(n, 4000);
	put_range(c, 0, 0, 2000);
	tmem_limits_get(core.t, &limits);
	limits.target = limits.persistent_max = MIB;
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
	/* What fits in frames that are charged already may still be taken. */
	assert_true(put_range(c, 1, 90000, 1000) < 50);
	tmem_reclaim(core.t, ARENA / tmem_frame_size(core.t), NULL);
	expect_all(c, 1, n);
}

static void test_persistent_pages_push_others_ephemeral_ones(void **state)
{
	struct tmem_client *reader = weighted("reader", 100), *swapper = weighted("swapper", 100);

	(void)state;
	put_range(reader, 0, 0, 30000);
	assert_int_equal(put_range(swapper, 1, 0, 3000), 3000);
	assert_true(info_of(reader).evicted_frames > 0);
	expect_all(swapper, 1, 3000);
}

static void test_switched_off_puts_are_pressure(void **state)
{
	struct tmem_client *c = weighted("c", 100);
	struct tmem_limits limits;

	(void)state;
	assert_int_equal(put_range(c, 0, 0, 10) + put_range(c, 1, 0, 10), 20);
	tmem_limits_get(core.t, &limits);
	limits.accept_ephemeral = limits.accept_persistent = false;
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
	for (unsigned pool = 0; pool < 2; pool++) {
		assert_int_equal(core_put(&core, c, pool, core_key(0, 3), page_good_seed(9)),
				 -ENOSPC);
		assert_int_equal(core_get(&core, c, pool, core_key(0, 3), page_good_seed(3)),
				 -ENOENT);
		assert_int_equal(core_get(&core, c, pool, core_key(0, 4), page_good_seed(4)), 0);
		assert_int_equal(info_of(c).kind[pool].puts_refused_pressure, 1);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_shares_follow_weights_not_loads),
		T(test_below_its_share_a_client_loses_nothing),
		T(test_above_its_share_a_client_loses_down_to_it),
		T(test_reclaim_takes_from_the_one_most_above_its_share),
		T(test_use_is_what_the_stores_have),
		T(test_persistent_pages_count_in_the_share),
		T(test_a_departed_client_leaves_no_weight),
		T(test_a_weight_changes_live),
		T(test_min_is_kept_while_another_is_above_its_own),
		T(test_reclaim_stops_at_the_floor),
		T(test_at_max_a_client_evicts_its_own),
		T(test_at_max_persistent_pages_push_ephemeral_ones_then_are_refused),
		T(test_lowering_max_drops_no_persistent_page),
		T(test_persistent_max_binds_one_client),
		T(test_the_hosts_persistent_limit_binds_all),
		T(test_lowering_host_limits_drops_no_persistent_page),
		T(test_persistent_pages_push_others_ephemeral_ones),
		T(test_switched_off_puts_are_pressure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

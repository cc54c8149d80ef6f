/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_evict.c - what is evicted, and that memory really goes back to the host.
 *
 * A guest is played as one that keeps nothing itself: it gets a page, reads it
 * from its disk on a miss, and puts it back at once.
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
#define HOT	1500u	/* pages of a hot set: well inside a third of the arena */
#define FILE_ID	1000u	/* objects of the file that is read once */

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

static bool guest_reads(struct tmem_client *c, uint32_t object, uint32_t n)
{
	struct tmem_key key = core_key(object + n / 256, n % 256);
	uint64_t seed = page_good_seed((uint64_t)object * 131 + n);
	int rc = core_get(&core, c, 0, key, seed);

	assert_true(rc == 0 || rc == -ENOENT);
	core_put(&core, c, 0, key, seed);
	return rc == 0;
}

/* Reads the hot set once over in random order; returns the hit ratio. */
static double read_hot(struct tmem_client *c, uint64_t *rng)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < HOT; i++)
		hits += guest_reads(c, 0, rnd_below(rng, HOT));
	return (double)hits / HOT;
}

static void read_file_once(struct tmem_client *c, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		assert_false(guest_reads(c, FILE_ID, i));
}

/* As many pages as are held when nothing more fits, three times over. */
static uint32_t larger_than_the_cache(void)
{
	struct core k;
	struct tmem_client *c;
	struct tmem_client_info info;

	assert_int_equal(core_open_plain(&k, ARENA), 0);
	c = core_client(&k, "measure");
	assert_non_null(c);
	do {
		for (uint32_t i = 0; i < 256; i++)
			core_put(&k, c, 0, core_key(rnd_seed(i), i), page_good_seed(i));
		tmem_client_info(c, &info);
	} while (info.kind[0].pages < 256);
	core_close(&k);
	return (uint32_t)(3 * ARENA / (info.kind[0].bytes_physical / info.kind[0].pages));
}

static void scan(unsigned clients, bool others_idle)
{
	static const char *const name[] = { "reader", "second", "third" };
	uint32_t file = larger_than_the_cache();
	struct tmem_client *c[3];
	double before[3], after[3];
	uint64_t rng = rnd_seed(4);

	for (unsigned i = 0; i < clients; i++)
		assert_non_null(c[i] = core_client(&core, name[i]));
	for (unsigned round = 0; round < 6; round++)
		for (unsigned i = 0; i < clients; i++)
			before[i] = read_hot(c[i], &rng);
	for (uint32_t from = 0; from < file; from += file / 8) {
		for (uint32_t i = from; i < from + file / 8 && i < file; i++)
			guest_reads(c[0], FILE_ID, i);
		for (unsigned i = 0; i < clients && !others_idle; i++)
			read_hot(c[i], &rng);
	}
	for (unsigned i = 0; i < clients; i++) {
		after[i] = read_hot(c[i], &rng);
		print_message("# %s: hit ratio %.3f, then %.3f\n", name[i], before[i], after[i]);
	}
	for (unsigned i = 0; i < clients; i++) {
		assert_true(before[i] > 0.95);
		assert_true(after[i] >= before[i] * (i ? 0.9 : 0.8));
	}
}

static void test_a_scan_spares_idle_hot_sets(void **state)
{
	(void)state;
	scan(3, true);
}

static void test_a_scan_spares_busy_hot_sets(void **state)
{
	(void)state;
	scan(3, false);
}

static void test_a_scan_spares_the_only_clients_hot_set(void **state)
{
	(void)state;
	scan(1, true);
}

/* Without a second segment this would be a queue that a scan empties. */
static void test_once_read_pages_do_not_stay_for_ever(void **state)
{
	struct tmem_client *c = core_client(&core, "guest");
	uint32_t file = larger_than_the_cache(), hits = 0;
	uint64_t rng = rnd_seed(5);

	(void)state;
	assert_non_null(c);
	read_file_once(c, file);
	for (unsigned round = 0; round < 5; round++)
		read_hot(c, &rng);
	for (uint32_t i = 0; i < HOT; i++)
		hits += guest_reads(c, 0, i);
	assert_true(hits > HOT * 95 / 100);
}

/* ---- back to the host ---------------------------------------------------- */

static void fill(struct tmem_client *c, unsigned pool, uint32_t from, uint32_t n)
{
	for (uint32_t i = from; i < from + n; i++)
		assert_int_equal(core_put(&core, c, pool, core_key(i / 256, i % 256),
					  page_good_seed(i)), 0);
}

static void test_reclaim_gives_memory_back_to_the_kernel(void **state)
{
	struct tmem_client *c = core_client(&core, "guest");
	struct tmem_reclaim_report r;
	struct tmem_store_info info;
	uint64_t before, after, got;

	(void)state;
	assert_non_null(c);
	fill(c, 0, 0, 8000);
	before = core_resident(&core);
	tmem_store_info(core.t, &info);
	assert_int_equal(info.bytes_resident, before);
	got = tmem_reclaim(core.t, 100 + info.frames_free, &r);
	after = core_resident(&core);
	assert_int_equal(got, 100 + info.frames_free);
	assert_int_equal(r.frames, got);
	assert_int_equal(r.bytes, got * tmem_frame_size(core.t));
	assert_int_equal(r.stop, TMEM_RECLAIM_DONE);
	assert_true(r.pages_evicted > 0);
	/* A free frame may never have been touched, an evicted one was. */
	assert_true(before - after >= 100 * tmem_frame_size(core.t));
	assert_true(before - after <= r.bytes);
}

static void test_the_report_says_who_lost_what(void **state)
{
	struct tmem_client *c[2] = { core_client(&core, "big"), core_client(&core, "small") };
	struct tmem_client_info info[2];
	struct tmem_reclaim_report r;
	uint64_t frames = 0, pages = 0;

	(void)state;
	assert_true(c[0] && c[1]);
	fill(c[0], 0, 0, 6000);
	fill(c[1], 0, 0, 2000);
	tmem_reclaim(core.t, ARENA / tmem_frame_size(core.t), &r);
	assert_int_equal(r.stop, TMEM_RECLAIM_EMPTY);
	assert_int_equal(r.clients, 2);
	assert_string_equal(r.from[0].name, "big");
	assert_string_equal(r.from[1].name, "small");
	for (unsigned i = 0; i < 2; i++) {
		tmem_client_info(c[i], &info[i]);
		assert_int_equal(info[i].kind[0].pages, 0);
		assert_int_equal(info[i].kind[0].bytes_physical, 0);
		assert_int_equal(info[i].kind[0].evicted_pages, r.from[i].pages);
		assert_int_equal(info[i].evicted_frames, r.from[i].frames);
		frames += r.from[i].frames;
		pages += r.from[i].pages;
	}
	assert_int_equal(r.from[0].pages, 6000);
	assert_int_equal(r.from[1].pages, 2000);
	assert_int_equal(pages, r.pages_evicted);
	assert_true(frames <= r.frames);
}

static void test_an_emptied_arena_holds_next_to_nothing(void **state)
{
	struct tmem_client *c = core_client(&core, "guest");
	struct tmem_store_info info;
	uint64_t full;

	(void)state;
	assert_non_null(c);
	fill(c, 0, 0, 8000);
	fill(c, 1, 0, 1000);
	full = core_resident(&core);
	assert_int_equal(tmem_client_flush(c), 9000);
	tmem_reclaim(core.t, ARENA / tmem_frame_size(core.t), NULL);
	tmem_store_info(core.t, &info);
	assert_int_equal(info.frames_zbud + info.frames_zs + info.frames_free, 0);
	print_message("# resident %llu KiB, then %llu KiB\n", (unsigned long long)full / 1024,
		      (unsigned long long)core_resident(&core) / 1024);
	assert_true(core_resident(&core) < full / 16);
}

static void test_compaction_gives_memory_back(void **state)
{
	struct tmem_client *c = core_client(&core, "guest");
	struct tmem_store_info info;
	uint64_t before, got;

	(void)state;
	assert_non_null(c);
	fill(c, 1, 0, 6000);
	for (uint32_t i = 0; i < 6000; i++) {
		struct tmem_key key = core_key(i / 256, i % 256);

		if (i % 4)
			assert_int_equal(tmem_flush_page(c, 1, &key), 1);
	}
	tmem_store_info(core.t, &info);
	tmem_reclaim(core.t, info.frames_free, NULL);
	before = core_resident(&core);
	got = tmem_compact(core.t, core.ctx);
	assert_true(got > 0);
	assert_true(core_resident(&core) < before / 2);
	for (uint32_t i = 0; i < 6000; i += 4)
		assert_int_equal(core_get(&core, c, 1, core_key(i / 256, i % 256),
					  page_good_seed(i)), 0);
}

static void test_reclaim_never_takes_persistent_pages(void **state)
{
	struct tmem_client *c = core_client(&core, "guest");
	struct tmem_reclaim_report r;

	(void)state;
	assert_non_null(c);
	fill(c, 1, 0, 3000);
	tmem_reclaim(core.t, ARENA / tmem_frame_size(core.t), &r);
	assert_int_equal(r.stop, TMEM_RECLAIM_EMPTY);
	assert_int_equal(r.pages_evicted, 0);
	for (uint32_t i = 0; i < 3000; i++)
		assert_int_equal(core_get(&core, c, 1, core_key(i / 256, i % 256),
					  page_good_seed(i)), 0);
}

/* ---- the histograms -------------------------------------------------------- */

static void histograms_add_up(bool two)
{
	const struct tmem_config config = { .arena_max = ARENA, .zbud_two = two };
	struct tmem_client *c;
	struct tmem_store_info info;
	uint64_t now = 0, ever = 0, frames = 0;
	struct core k;

	assert_int_equal(core_open(&k, &config), 0);
	assert_non_null(c = core_client(&k, "guest"));
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(core_put(&k, c, 0, core_key(0, i), page_good_seed(i)), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(core_get(&k, c, 0, core_key(0, i), page_good_seed(i)), 0);
	tmem_store_info(k.t, &info);
	for (unsigned i = 0; i < info.chunks; i++) {
		now += info.chunk_now[i];
		ever += info.chunk_cumulative[i];
		frames += info.unbuddied[i];
	}
	assert_int_equal(now, 400);
	assert_int_equal(ever, 500);
	assert_true(frames <= info.frames_zbud);
	if (two) {
		assert_int_equal(info.chunk_size, 64);
		assert_int_equal(tmem_frame_size(k.t), TMEM_PAGE_SIZE);
		assert_true(info.frames_zbud >= 200);
	}
	core_close(&k);
}

static void test_histograms(void **state)
{
	(void)state;
	histograms_add_up(false);
}

static void test_histograms_of_two_buddies(void **state)
{
	(void)state;
	histograms_add_up(true);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_scan_spares_idle_hot_sets),
		T(test_a_scan_spares_busy_hot_sets),
		T(test_a_scan_spares_the_only_clients_hot_set),
		T(test_once_read_pages_do_not_stay_for_ever),
		T(test_reclaim_gives_memory_back_to_the_kernel),
		T(test_the_report_says_who_lost_what),
		T(test_an_emptied_arena_holds_next_to_nothing),
		T(test_compaction_gives_memory_back),
		T(test_reclaim_never_takes_persistent_pages),
		T(test_histograms),
		T(test_histograms_of_two_buddies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

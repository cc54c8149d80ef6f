// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_drop.c - objects of many pages: tables that change a little at a time, and
 * flushes in steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "core_fixture.h"

#define PAGES	6000u
#define STEP	100u

/* Fewer where a sanitizer makes all slow. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define GROWN	1u
#else
#define GROWN	8u
#endif

static struct core core;
static struct tmem_client *client;
static const struct tmem_pool_spec persistent = { .kind = TMEM_PERSISTENT };

static int setup(void **state)
{
	(void)state;
	if (core_open_plain(&core, 64 * MIB))
		return -1;
	client = core_client(&core, "guest");
	return client ? 0 : -1;
}

static bool is_valid(void)
{
	char why[256] = "";
	bool valid = tmem_is_valid(core.t, why, sizeof(why));

	if (!valid)
		print_error("%s\n", why);
	return valid;
}

static int teardown(void **state)
{
	bool valid = is_valid();

	(void)state;
	core_close(&core);
	return valid ? 0 : -1;
}

/* Same-filled: cheap to put. */
static void fill(unsigned pool, uint64_t object, uint32_t pages)
{
	for (uint32_t n = 0; n < pages; n++)
		assert_int_equal(core_put(&core, client, pool, core_key(object, n), n * 8), 0);
}

static uint64_t held(enum tmem_kind kind)
{
	struct tmem_client_info info;

	tmem_client_info(client, &info);
	return info.kind[kind].pages;
}

/* ---- a wide table ------------------------------------------------------------------ */

static uint64_t seed_of[PAGES];		/* + 1; 0: no page */

static void step(uint64_t *rng, bool more)
{
	uint32_t n = rnd_below(rng, PAGES);
	struct tmem_key key = core_key(1, n);
	unsigned what = rnd_below(rng, 4);

	if (!what) {
		assert_int_equal(core_get(&core, client, 1, key, seed_of[n] - 1),
				 seed_of[n] ? 0 : -ENOENT);
	} else if ((what == 1) == more) {
		assert_int_equal(tmem_flush_page(client, 1, &key), seed_of[n] != 0);
		seed_of[n] = 0;
	} else {
		seed_of[n] = (rnd(rng) >> 8) * 8 + 1;
		assert_int_equal(core_put(&core, client, 1, key, seed_of[n] - 1), 0);
	}
}

static void check_all(void)
{
	for (uint32_t n = 0; n < PAGES; n++)
		assert_int_equal(core_get(&core, client, 1, core_key(1, n), seed_of[n] - 1),
				 seed_of[n] ? 0 : -ENOENT);
}

/* It grows and shrinks several times; looked at on every way between. */
static void test_grows_and_shrinks(void **state)
{
	uint64_t rng = rnd_seed(1);

	(void)state;
	memset(seed_of, 0, sizeof(seed_of));
	for (unsigned phase = 0; phase < 6; phase++)
		for (unsigned i = 0; i < 2 * PAGES; i++) {
			step(&rng, !(phase & 1));
			if (i % 997 == 0)
				assert_true(is_valid());
		}
	check_all();
	for (uint32_t n = 0; n < PAGES; n++) {
		struct tmem_key key = core_key(1, n);

		tmem_flush_page(client, 1, &key);
		seed_of[n] = 0;
		if (n % 997 == 0)
			assert_true(is_valid());
	}
	check_all();
	assert_int_equal(held(TMEM_PERSISTENT), 0);
}

/* Wherever the table is while it grows: what is in it is found (tmem_is_valid()). */
static void test_found_on_every_step_of_growth(void **state)
{
	(void)state;
	for (uint64_t object = 0; object < GROWN; object++) {
		fill(1, object, 900);
		for (uint32_t n = 900; n < 1700; n++) {
			assert_int_equal(core_put(&core, client, 1, core_key(object, n), n * 8), 0);
			assert_true(is_valid());
		}
		assert_int_equal(tmem_flush_object(client, 1, core_key(object, 0).oid, NULL), 0);
	}
}

#define OBJECTS	(5000u * GROWN)	/* enough for wide tables: a pool has 16 of them */

/* The pool's own tables, of objects: the same. */
static void test_many_objects(void **state)
{
	uint64_t rng = rnd_seed(2), held_now = 0;
	static bool there[OBJECTS];

	(void)state;
	for (unsigned i = 0; i < 4 * OBJECTS; i++) {
		uint32_t o = rnd_below(&rng, OBJECTS);
		struct tmem_key key = core_key(o, 0);

		if (rnd_below(&rng, 8)) {
			assert_int_equal(core_put(&core, client, 1, key, o * 8), 0);
			held_now += !there[o];
			there[o] = true;
		} else {
			assert_int_equal(tmem_flush_page(client, 1, &key), there[o]);
			held_now -= there[o];
			there[o] = false;
		}
		if (i % 997 == 0)
			assert_true(is_valid());
	}
	for (uint32_t o = 0; o < OBJECTS; o++)
		assert_int_equal(core_get(&core, client, 1, core_key(o, 0), o * 8ull),
				 there[o] ? 0 : -ENOENT);
	assert_int_equal(held(TMEM_PERSISTENT), held_now);
	assert_int_equal(tmem_client_flush(client), held_now);
}

/* ---- in steps ---------------------------------------------------------------------- */

static void test_object_is_gone_before_the_first_step(void **state)
{
	struct tmem_key key = core_key(7, 3);
	unsigned steps = 0;
	struct tmem_drop d;

	(void)state;
	fill(1, 7, PAGES);
	fill(1, 8, 10);
	assert_int_equal(tmem_flush_object_begin(client, 1, key.oid, &d), 0);
	assert_int_equal(core_get(&core, client, 1, key, 24), -ENOENT);
	assert_int_equal(core_put(&core, client, 1, key, 48), 0);
	assert_int_equal(held(TMEM_PERSISTENT), PAGES + 11);
	while (!tmem_drop_step(&d, STEP)) {
		steps++;
		assert_int_equal(held(TMEM_PERSISTENT), PAGES + 11 - steps * STEP);
	}
	assert_in_range(steps, PAGES / STEP, PAGES / STEP + 1);
	assert_int_equal(d.pages, PAGES);
	assert_int_equal(core_get(&core, client, 1, key, 48), 0);
	assert_int_equal(held(TMEM_PERSISTENT), 11);
}

static void test_pool_is_gone_before_the_first_step(void **state)
{
	struct tmem_key key = core_key(0, 0);
	uint64_t steps = 0;
	struct tmem_drop d;

	(void)state;
	for (uint64_t object = 0; object < 300; object++)
		fill(1, object, 10);
	assert_int_equal(tmem_pool_destroy_begin(client, 1, &d), 0);
	assert_int_equal(core_get(&core, client, 1, key, 0), -ENXIO);
	assert_int_equal(tmem_pool_create(client, 1, &persistent), 0);
	assert_int_equal(core_put(&core, client, 1, key, 48), 0);
	while (!tmem_drop_step(&d, STEP))
		steps++;
	assert_in_range(steps, 3000 / STEP, 2 * 3000 / STEP);
	assert_int_equal(d.pages, 3000);
	assert_int_equal(core_get(&core, client, 1, key, 48), 0);
	assert_int_equal(held(TMEM_PERSISTENT), 1);
}

static void test_client_in_steps(void **state)
{
	struct tmem_drop d;

	(void)state;
	fill(0, 1, 1000);
	fill(1, 2, 1000);
	tmem_client_flush_begin(client, &d);
	assert_int_equal(held(TMEM_EPHEMERAL) + held(TMEM_PERSISTENT), 0);
	while (!tmem_drop_step(&d, 1))
		;
	assert_int_equal(d.pages, 2000);
}

static void test_nothing_to_drop(void **state)
{
	struct tmem_key key = core_key(9, 9);
	struct tmem_drop d;

	(void)state;
	assert_int_equal(tmem_flush_object_begin(client, 1, key.oid, &d), 0);
	assert_true(tmem_drop_step(&d, 1));
	assert_int_equal(tmem_pool_destroy_begin(client, 5, &d), 0);
	assert_true(tmem_drop_step(&d, 1));
	assert_int_equal(tmem_flush_object_begin(client, 5, key.oid, &d), -ENXIO);
	assert_int_equal(tmem_pool_destroy_begin(client, TMEM_POOL_IDS, &d), -EINVAL);
}

/* A core of what the arena holds now. */
static void rebuild_copy(struct core *copy)
{
	off_t from = 0;
	int fd = memfd_create("copy", MFD_CLOEXEC);

	*copy = (struct core){ .config = core.config };
	copy->config.arena_fd = fd;
	copy->config.rebuild = true;
	while (sendfile(fd, core.config.arena_fd, &from, 64 * MIB) > 0)
		;
	assert_int_equal(core_start(copy), 0);
}

/* A process that is killed between two steps has dropped all the same. */
static void test_killed_between_two_steps(void **state)
{
	struct tmem_key key = core_key(7, 3);
	struct tmem_drop object, pool;
	struct core core_before = core, copy;
	struct tmem_client *client_before = client;

	(void)state;
	fill(1, 7, 1000);
	fill(1, 8, 10);
	fill(0, 1, 1000);
	assert_int_equal(tmem_flush_object_begin(client, 1, key.oid, &object), 0);
	assert_false(tmem_drop_step(&object, STEP));
	assert_int_equal(tmem_pool_destroy_begin(client, 0, &pool), 0);
	assert_false(tmem_drop_step(&pool, STEP));
	rebuild_copy(&copy);
	core = copy;
	client = tmem_client_find(core.t, "guest");
	assert_int_equal(held(TMEM_PERSISTENT), 10);
	assert_int_equal(held(TMEM_EPHEMERAL), 0);
	assert_int_equal(core_get(&core, client, 1, key, 24), -ENOENT);
	assert_true(is_valid());
	core = core_before;
	client = client_before;
	core_close(&copy);
	while (!tmem_drop_step(&object, STEP) || !tmem_drop_step(&pool, STEP))
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grows_and_shrinks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found_on_every_step_of_growth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_object_is_gone_before_the_first_step, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_pool_is_gone_before_the_first_step, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_client_in_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_between_two_steps, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

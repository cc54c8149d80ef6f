/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_fail.c - every allocation of the core made to fail, one after the other.
 *
 * An action is tried with its first allocation failing, then with its second,
 * and so on until it makes none that fails and succeeds.  What it leaves behind
 * in the heap is compared with before; AddressSanitizer looks for the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc.h"
#include "core_fixture.h"

#define ARENA	(8 * MIB)
#define ENOUGH	10000	/* more allocations than any call makes */

static struct core core;
static struct tmem_client *client;

static int setup(void **state)
{
	(void)state;
	if (core_open_plain(&core, ARENA))
		return -1;
	client = core_client(&core, "guest");
	return client ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	tmem_alloc_fail_after(-1);
	assert_true(tmem_is_valid(core.t, NULL, 0));
	core_close(&core);
	return 0;
}

static uint64_t failed_alloc(void)
{
	struct tmem_store_info info;

	tmem_store_info(core.t, &info);
	return info.failed_alloc;
}

/* Run act with allocation 0, 1, ... failing until it succeeds; returns how often it failed. */
static unsigned fail_each(int (*act)(void *arg), void *arg)
{
	for (unsigned n = 0; n < ENOUGH; n++) {
		int rc;

		tmem_alloc_fail_after((long)n);
		rc = act(arg);
		tmem_alloc_fail_after(-1);
		if (rc == 0)
			return n;
		assert_int_equal(rc, -ENOMEM);
	}
	fail_msg("never succeeds");
	return 0;
}

static size_t heap_used(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static int act_create(void *arg)
{
	struct tmem *t = NULL;
	int rc = tmem_create(&t, arg);

	if (rc == 0)
		tmem_destroy(t);
	return rc;
}

/*
 * Again and again: malloc keeps some of what is freed and counts it as used, but
 * not more each time.
 */
static unsigned fail_each_create(struct tmem_config *config)
{
	unsigned n = fail_each(act_create, config);
	size_t before = heap_used();

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(fail_each(act_create, config), n);
	assert_true(heap_used() < before + 4096);
	return n;
}

static void test_create(void **state)
{
	struct tmem_config config = { .arena_max = ARENA };

	(void)state;
	config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	assert_true(fail_each_create(&config) > 0);
	close(config.arena_fd);
}

static int act_ctx(void *arg)
{
	struct tmem_ctx *ctx;
	int rc = tmem_ctx_create(core.t, &ctx);

	(void)arg;
	if (rc == 0)
		tmem_ctx_destroy(ctx);
	return rc;
}

static void test_contexts(void **state)
{
	uint64_t before = failed_alloc();
	unsigned n;

	(void)state;
	n = fail_each(act_ctx, NULL);
	assert_true(n > 0);
	assert_true(failed_alloc() >= before + n);
}

static int act_client(void *arg)
{
	struct tmem_client *c;
	int rc = tmem_client_create(core.t, arg, &c);

	if (rc)
		assert_null(tmem_client_find(core.t, arg));
	else
		assert_ptr_equal(tmem_client_find(core.t, arg), c);
	return rc;
}

static void test_clients(void **state)
{
	(void)state;
	assert_true(fail_each(act_client, (char[]){ "second" }) > 0);
}

struct pool_arg {
	unsigned id;
	struct tmem_pool_spec spec;
};

static int act_pool(void *arg)
{
	struct pool_arg *a = arg;
	struct tmem_pool_info info;
	int rc = tmem_pool_create(client, a->id, &a->spec);

	assert_int_equal(tmem_pool_info(client, a->id, &info), rc ? -ENXIO : 0);
	return rc;
}

static int act_authorise(void *arg)
{
	return tmem_client_authorise(client, arg, true);
}

static void test_pools_and_permissions(void **state)
{
	struct pool_arg a = { .id = 4, .spec = { .kind = TMEM_PERSISTENT } };
	struct pool_arg b = { .id = 5, .spec = { .shared = true, .uuid = { 1 } } };

	(void)state;
	assert_true(fail_each(act_pool, &a) > 0);
	fail_each(act_authorise, b.spec.uuid);
	assert_true(fail_each(act_pool, &b) > 0);
}

/* ---- puts ------------------------------------------------------------- */

struct put_arg {
	unsigned pool;
	struct tmem_key key;
	uint64_t seed;
};

/* An older page is there first; after a failure neither it nor the new one is. */
static int act_put(void *arg)
{
	struct put_arg *a = arg;
	int rc = core_put(&core, client, a->pool, a->key, a->seed);

	tmem_alloc_fail_after(0);	/* get and flush need no memory */
	if (rc)
		assert_int_equal(core_get(&core, client, a->pool, a->key, a->seed), -ENOENT);
	else
		assert_int_equal(core_get(&core, client, a->pool, a->key, a->seed), 0);
	tmem_alloc_fail_after(-1);
	if (rc)
		core_put(&core, client, a->pool, a->key, a->seed + 8);
	return rc;
}

static uint64_t failed_puts(unsigned pool)
{
	struct tmem_client_info info;

	tmem_client_info(client, &info);
	return info.kind[pool].puts_failed_nomem;
}

static void test_puts_of_new_objects(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (unsigned pool = 0; pool < 2; pool++) {
		uint64_t refused = failed_puts(pool), heap = failed_alloc();
		unsigned here = 0;

		for (uint32_t i = 0; i < 300; i++) {
			struct put_arg a = { pool, core_key(i, i), page_good_seed(i) };

			here += fail_each(act_put, &a);
		}
		assert_int_equal(failed_puts(pool), refused + here);
		assert_true(failed_alloc() >= heap + here);
		failures += here;
	}
	assert_true(failures > 0);
}

/* An object that grows: its index is made larger now and then. */
static void test_puts_into_one_object(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (unsigned pool = 0; pool < 2; pool++)
		for (uint32_t i = 0; i < 600; i++) {
			struct put_arg a = { pool, core_key(1, i * 64), page_good_seed(i) };

			failures += fail_each(act_put, &a);
		}
	assert_true(failures > 0);
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(core_get(&core, client, 1, core_key(1, i * 64), page_good_seed(i)),
				 0);
}

static void test_a_failed_replacement_leaves_nothing_old(void **state)
{
	uint64_t rng = rnd_seed(1), told[64] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t n = rnd_below(&rng, 64);
		struct tmem_key key = core_key(n / 4, n % 4);
		uint64_t seed = page_good_seed(i);

		tmem_alloc_fail_after((long)rnd_below(&rng, 3));
		told[n] = core_put(&core, client, 1, key, seed) ? 0 : seed;
		if (rnd_below(&rng, 4) == 0) {
			assert_int_equal(tmem_flush_page(client, 1, &key), told[n] != 0);
			told[n] = 0;
		}
		assert_int_equal(core_get(&core, client, 1, key, told[n]),
				 told[n] ? 0 : -ENOENT);
	}
}

static void test_nothing_else_needs_memory(void **state)
{
	struct tmem_client_info info;

	(void)state;
	for (uint32_t i = 0; i < 2000; i++)
		for (unsigned pool = 0; pool < 2; pool++)
			assert_int_equal(core_put(&core, client, pool, core_key(i / 50, i % 50),
						  page_good_seed(i)), 0);
	tmem_alloc_fail_after(0);
	assert_true(tmem_reclaim(core.t, 10, NULL) == 10);
	for (uint32_t i = 0; i < 2000; i++) {
		assert_int_equal(core_get(&core, client, 1, core_key(i / 50, i % 50),
					  page_good_seed(i)), 0);
		core_get(&core, client, 0, core_key(i / 50, i % 50), page_good_seed(i));
	}
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(tmem_flush_object(client, 1, core_key(i, 0).oid, NULL), 0);
	tmem_client_freeze(client, true);
	tmem_client_freeze(client, false);
	assert_int_equal(tmem_pool_destroy(client, 0, NULL), 0);
	tmem_client_info(client, &info);
	assert_int_equal(info.kind[1].pages, 1000);
	assert_int_equal(tmem_client_flush(client), 1000);
	tmem_client_kill(client);
	tmem_client_destroy(client);
}

/* ---- rebuild ---------------------------------------------------------- */

static void test_rebuild(void **state)
{
	unsigned failures;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(core_put(&core, client, 1, core_key(i / 20, i % 20),
					  page_good_seed(i)), 0);
	tmem_ctx_destroy(core.ctx);
	tmem_destroy(core.t);
	core.config.rebuild = true;
	failures = fail_each_create(&core.config);
	assert_true(failures > 10);
	assert_int_equal(core_start(&core), 0);
	client = tmem_client_find(core.t, "guest");
	assert_non_null(client);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(core_get(&core, client, 1, core_key(i / 20, i % 20),
					  page_good_seed(i)), 0);
}

/* ---- what the index costs ------------------------------------------------- */

/* bytes_metadata stands in density figures: it must not be less than what malloc gave. */
static void test_heap_is_counted_as_it_is(void **state)
{
	struct tmem_store_info before, after;
	size_t heap = heap_used(), grown;

	(void)state;
	tmem_store_info(core.t, &before);
	for (uint32_t i = 0; i < 4000; i++)
		assert_int_equal(core_put(&core, client, 0, core_key(i / 8, i % 8), 8ull * i), 0);
	tmem_store_info(core.t, &after);
	grown = heap_used() - heap;
	assert_true(after.bytes_metadata - before.bytes_metadata + 4096 >= grown);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		T(test_contexts),
		T(test_clients),
		T(test_pools_and_permissions),
		T(test_puts_of_new_objects),
		T(test_puts_into_one_object),
		T(test_a_failed_replacement_leaves_nothing_old),
		T(test_nothing_else_needs_memory),
		T(test_rebuild),
		T(test_heap_is_counted_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

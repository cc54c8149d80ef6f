/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_host_pool.c - the pool that the host keeps for itself in a guest's client,
 * and puts that leave the older page alone when they are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "core_fixture.h"

#define OWN	TMEM_MAX_POOLS		/* the host's first id */

static const struct tmem_pool_spec persistent = { .kind = TMEM_PERSISTENT };
static struct core core;
static struct tmem_client *client;

static int setup(void **state)
{
	(void)state;
	if (core_open_plain(&core, 16 * MIB))
		return -1;
	client = core_client(&core, "guest");
	return client ? tmem_pool_create(client, OWN, &persistent) : -1;
}

static int teardown(void **state)
{
	char why[256] = "";
	bool valid = tmem_is_valid(core.t, why, sizeof(why));

	(void)state;
	core_close(&core);
	if (!valid)
		print_error("%s\n", why);
	return valid ? 0 : -1;
}

static void test_only_persistent_and_private(void **state)
{
	struct tmem_pool_spec ephemeral = { .kind = TMEM_EPHEMERAL };
	struct tmem_pool_info info;

	(void)state;
	assert_int_equal(tmem_pool_destroy(client, OWN, NULL), 0);
	assert_int_equal(tmem_pool_create(client, OWN, &ephemeral), -EINVAL);
	assert_int_equal(tmem_pool_create(client, OWN, &persistent), 0);
	assert_int_equal(tmem_pool_info(client, OWN, &info), 0);
	assert_int_equal(info.id, OWN);
	assert_int_equal(info.spec.kind, TMEM_PERSISTENT);
}

/* A guest that boots anew has its own pools emptied, not the host's. */
static void test_outlives_the_guests_flush(void **state)
{
	uint64_t seed = page_good_seed(1);

	(void)state;
	assert_int_equal(core_put(&core, client, 1, core_key(1, 1), seed), 0);
	assert_int_equal(core_put(&core, client, OWN, core_key(1, 1), seed + 8), 0);
	assert_int_equal(tmem_client_flush(client), 1);
	assert_int_equal(core_get(&core, client, 1, core_key(1, 1), seed), -ENXIO);
	assert_int_equal(core_get(&core, client, OWN, core_key(1, 1), seed + 8), 0);
	assert_int_equal(core_rebuild(&core), 0);
	client = tmem_client_find(core.t, "guest");
	assert_non_null(client);
	assert_int_equal(core_get(&core, client, OWN, core_key(1, 1), seed + 8), 0);
}

static void test_goes_with_its_client(void **state)
{
	struct tmem_store_info *info = test_calloc(1, sizeof(*info));

	(void)state;
	for (uint32_t n = 0; n < 500; n++)
		assert_int_equal(core_put(&core, client, OWN, core_key(n, n), page_good_seed(n)), 0);
	tmem_client_destroy(client);
	tmem_store_info(core.t, info);
	assert_int_equal(info->frames_zs, 0);
	test_free(info);
}

/* Refused, a put takes the older page away and an offer leaves it. */
static void test_refused_offer_keeps_the_older_page(void **state)
{
	uint64_t seed = page_good_seed(1), other = page_good_seed(90);
	struct tmem_key key = core_key(1, 1);
	struct tmem_pool_info info;
	uint8_t page[TMEM_PAGE_SIZE];

	(void)state;
	assert_int_equal(core_put(&core, client, OWN, key, seed), 0);
	page_make(page, other);
	tmem_client_freeze(client, true);
	assert_int_equal(tmem_offer(core.ctx, client, OWN, &key, page, other), -EROFS);
	assert_int_equal(core_get(&core, client, OWN, key, seed), 0);
	assert_int_equal(tmem_pool_info(client, OWN, &info), 0);
	assert_int_equal(info.count.puts_refused_frozen, 1);
	assert_int_equal(info.count.put_to_flush, 0);
	assert_int_equal(tmem_put(core.ctx, client, OWN, &key, page, other), -EROFS);
	assert_int_equal(core_get(&core, client, OWN, key, seed), -ENOENT);
	tmem_client_freeze(client, false);
	assert_int_equal(tmem_offer(core.ctx, client, OWN, &key, page, other), 0);
	assert_int_equal(core_get(&core, client, OWN, key, other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_persistent_and_private, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outlives_the_guests_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(test_goes_with_its_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_offer_keeps_the_older_page, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

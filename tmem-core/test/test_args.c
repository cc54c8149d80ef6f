/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_args.c - every public function answers bad arguments and wrong moments
 * with the error that tmem.h documents.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core_fixture.h"

static const struct tmem_pool_spec ephemeral = { .kind = TMEM_EPHEMERAL };
static const struct tmem_pool_spec persistent = { .kind = TMEM_PERSISTENT };

static struct core core;
static struct tmem_client *client;

static int setup(void **state)
{
	(void)state;
	if (core_open_plain(&core, 16 * MIB))
		return -1;
	client = core_client(&core, "guest");
	return client ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	core_close(&core);
	return 0;
}

static void test_create_refuses_bad_configurations(void **state)
{
	struct tmem_config config = { .arena_fd = -1, .arena_max = 16 * MIB };
	struct tmem *t;
	int fd = memfd_create("arena", MFD_CLOEXEC);

	(void)state;
	assert_true(tmem_create(&t, &config) < 0);
	config.arena_fd = fd;
	assert_int_equal(tmem_create(NULL, &config), -EINVAL);
	assert_int_equal(tmem_create(&t, NULL), -EINVAL);
	config.dedup = TMEM_DEDUP_HOST + 1;
	assert_int_equal(tmem_create(&t, &config), -EINVAL);
	config.dedup = TMEM_DEDUP_OFF;
	config.arena_max = 0;
	assert_int_equal(tmem_create(&t, &config), -EINVAL);
	close(fd);
}

static void test_rebuild_leaves_a_foreign_file_alone(void **state)
{
	char before[8192], after[8192];
	struct tmem_config config = { .arena_max = 16 * MIB, .rebuild = true };
	struct tmem *t;

	(void)state;
	config.arena_fd = memfd_create("foreign", MFD_CLOEXEC);
	memset(before, 'x', sizeof(before));
	assert_int_equal(pwrite(config.arena_fd, before, sizeof(before), 0), sizeof(before));
	assert_int_equal(tmem_create(&t, &config), -EPROTO);
	assert_int_equal(lseek(config.arena_fd, 0, SEEK_END), sizeof(after));
	assert_int_equal(pread(config.arena_fd, after, sizeof(after), 0), sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	close(config.arena_fd);
}

static void test_limits(void **state)
{
	struct tmem_limits limits;

	(void)state;
	tmem_limits_get(core.t, &limits);
	assert_int_equal(limits.target, core.config.arena_max);
	assert_int_equal(limits.persistent_max, core.config.arena_max / 4 * 3);
	assert_true(limits.accept_ephemeral && limits.accept_persistent);
	assert_int_equal(tmem_limits_set(core.t, NULL), -EINVAL);
	assert_int_equal(tmem_limits_set(NULL, &limits), -EINVAL);
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
}

static void test_contexts(void **state)
{
	struct tmem_ctx *ctx;

	(void)state;
	assert_int_equal(tmem_ctx_create(NULL, &ctx), -EINVAL);
	assert_int_equal(tmem_ctx_create(core.t, NULL), -EINVAL);
}

static void test_client_names(void **state)
{
	char longest[TMEM_NAME_MAX + 1];
	struct tmem_client *c;

	(void)state;
	memset(longest, 'n', sizeof(longest));
	longest[TMEM_NAME_MAX] = '\0';
	assert_int_equal(tmem_client_create(core.t, longest, &c), -EINVAL);
	longest[TMEM_NAME_MAX - 1] = '\0';
	assert_int_equal(tmem_client_create(core.t, longest, &c), 0);
	assert_ptr_equal(tmem_client_find(core.t, longest), c);
	assert_int_equal(tmem_client_create(core.t, longest, &c), -EEXIST);
	assert_int_equal(tmem_client_create(core.t, "", &c), -EINVAL);
	assert_int_equal(tmem_client_create(core.t, NULL, &c), -EINVAL);
	assert_int_equal(tmem_client_create(core.t, "other", NULL), -EINVAL);
	assert_int_equal(tmem_client_create(NULL, "other", &c), -EINVAL);
	assert_null(tmem_client_find(core.t, "other"));
	assert_null(tmem_client_find(core.t, NULL));
}

static void test_quota_defaults_and_ranges(void **state)
{
	struct tmem_quota q, bad;

	(void)state;
	tmem_client_quota_get(client, &q);
	assert_int_equal(q.weight, 100);
	assert_int_equal(q.min, 0);
	assert_true(q.max == TMEM_NO_LIMIT && q.persistent_max == TMEM_NO_LIMIT);
	bad = q, bad.weight = 0;
	assert_int_equal(tmem_client_quota_set(client, &bad), -EINVAL);
	bad = q, bad.weight = 65536;
	assert_int_equal(tmem_client_quota_set(client, &bad), -EINVAL);
	bad = q, bad.min = 2, bad.max = 1;
	assert_int_equal(tmem_client_quota_set(client, &bad), -EINVAL);
	bad = q, bad.codec[TMEM_PERSISTENT] = TMEM_CODECS;
	assert_int_equal(tmem_client_quota_set(client, &bad), -EINVAL);
	bad = q, bad.codec[TMEM_EPHEMERAL] = TMEM_CODECS;
	assert_int_equal(tmem_client_quota_set(client, &bad), -EINVAL);
	assert_int_equal(tmem_client_quota_set(client, NULL), -EINVAL);
	assert_int_equal(tmem_client_quota_set(NULL, &q), -EINVAL);
	bad = q, bad.weight = 65535, bad.min = bad.max = 1;
	assert_int_equal(tmem_client_quota_set(client, &bad), 0);
	tmem_client_quota_get(client, &q);
	assert_int_equal(q.weight, 65535);
	assert_int_equal(q.min, 1);
}

static void test_pool_specs(void **state)
{
	struct tmem_pool_spec shared = { .kind = TMEM_EPHEMERAL, .shared = true, .uuid = { 7 } };
	struct tmem_pool_spec bad;

	(void)state;
	assert_int_equal(tmem_pool_create(client, TMEM_POOL_IDS, &ephemeral), -EINVAL);
	assert_int_equal(tmem_pool_create(client, 2, NULL), -EINVAL);
	assert_int_equal(tmem_pool_create(NULL, 2, &ephemeral), -EINVAL);
	bad = ephemeral, bad.kind = TMEM_KINDS;
	assert_int_equal(tmem_pool_create(client, 2, &bad), -EINVAL);
	bad = shared, bad.kind = TMEM_PERSISTENT;
	assert_int_equal(tmem_pool_create(client, 2, &bad), -EINVAL);
	bad = shared, bad.uuid[0] = 0;
	assert_int_equal(tmem_pool_create(client, 2, &bad), -EINVAL);
	assert_int_equal(tmem_pool_create(client, 2, &shared), -EPERM);
	assert_int_equal(tmem_client_authorise(client, NULL, true), -EINVAL);
	assert_int_equal(tmem_client_authorise(NULL, shared.uuid, true), -EINVAL);
	assert_int_equal(tmem_client_authorise(client, shared.uuid, true), 0);
	assert_int_equal(tmem_pool_create(client, 2, &shared), 0);
	assert_int_equal(tmem_pool_create(client, 2, &shared), 0);
	assert_int_equal(tmem_pool_create(client, 2, &ephemeral), -EEXIST);
	assert_int_equal(tmem_pool_create(client, 1, &ephemeral), -EEXIST);
	for (unsigned id = 3; id < TMEM_MAX_POOLS; id++)
		assert_int_equal(tmem_pool_create(client, id, &persistent), 0);
}

static void test_pool_destroy(void **state)
{
	uint64_t pages = 99;

	(void)state;
	assert_int_equal(tmem_pool_destroy(client, TMEM_POOL_IDS, &pages), -EINVAL);
	assert_int_equal(tmem_pool_destroy(NULL, 0, &pages), -EINVAL);
	assert_int_equal(tmem_pool_destroy(client, 9, &pages), 0);
	assert_int_equal(pages, 0);
	assert_int_equal(tmem_pool_destroy(client, 9, NULL), 0);
	assert_int_equal(core_put(&core, client, 1, core_key(1, 1), page_good_seed(1)), 0);
	assert_int_equal(tmem_pool_destroy(client, 1, &pages), 0);
	assert_int_equal(pages, 1);
}

static void test_data_operations(void **state)
{
	const struct tmem_key key = { .index = 1 };
	uint8_t page[TMEM_PAGE_SIZE] = { 1 };
	uint64_t tag = 0, pages;

	(void)state;
	assert_int_equal(tmem_put(core.ctx, client, 1, &key, NULL, 0), -EINVAL);
	assert_int_equal(tmem_put(core.ctx, client, 1, NULL, page, 0), -EINVAL);
	assert_int_equal(tmem_put(core.ctx, client, TMEM_POOL_IDS, &key, page, 0), -EINVAL);
	assert_int_equal(tmem_put(core.ctx, NULL, 1, &key, page, 0), -EINVAL);
	assert_int_equal(tmem_put(NULL, client, 1, &key, page, 0), -EINVAL);
	assert_int_equal(tmem_put(core.ctx, client, 2, &key, page, 0), -ENXIO);
	assert_int_equal(tmem_get(core.ctx, client, 1, &key, NULL, &tag), -EINVAL);
	assert_int_equal(tmem_get(core.ctx, client, 1, NULL, page, &tag), -EINVAL);
	assert_int_equal(tmem_get(core.ctx, client, TMEM_POOL_IDS, &key, page, &tag), -EINVAL);
	assert_int_equal(tmem_get(core.ctx, NULL, 1, &key, page, &tag), -EINVAL);
	assert_int_equal(tmem_get(NULL, client, 1, &key, page, &tag), -EINVAL);
	assert_int_equal(tmem_get(core.ctx, client, 2, &key, page, &tag), -ENXIO);
	assert_int_equal(tmem_get(core.ctx, client, 1, &key, page, &tag), -ENOENT);
	assert_int_equal(tmem_flush_page(client, TMEM_POOL_IDS, &key), -EINVAL);
	assert_int_equal(tmem_flush_page(client, 1, NULL), -EINVAL);
	assert_int_equal(tmem_flush_page(NULL, 1, &key), -EINVAL);
	assert_int_equal(tmem_flush_page(client, 2, &key), -ENXIO);
	assert_int_equal(tmem_flush_page(client, 1, &key), 0);
	assert_int_equal(tmem_flush_object(client, TMEM_POOL_IDS, key.oid, &pages), -EINVAL);
	assert_int_equal(tmem_flush_object(client, 1, NULL, &pages), -EINVAL);
	assert_int_equal(tmem_flush_object(NULL, 1, key.oid, &pages), -EINVAL);
	assert_int_equal(tmem_flush_object(client, 2, key.oid, &pages), -ENXIO);
	assert_int_equal(tmem_flush_object(client, 1, key.oid, NULL), 0);
}

static void test_a_killed_client_is_shut_down(void **state)
{
	const struct tmem_key key = { .index = 1 };
	uint8_t page[TMEM_PAGE_SIZE] = { 1 };
	uint64_t tag;

	(void)state;
	assert_int_equal(tmem_put(core.ctx, client, 1, &key, page, 0), 0);
	tmem_client_kill(client);
	tmem_client_kill(client);
	assert_int_equal(tmem_put(core.ctx, client, 1, &key, page, 0), -ESHUTDOWN);
	assert_int_equal(tmem_get(core.ctx, client, 1, &key, page, &tag), -ESHUTDOWN);
	assert_int_equal(tmem_flush_page(client, 1, &key), -ESHUTDOWN);
	assert_int_equal(tmem_flush_object(client, 1, key.oid, NULL), -ESHUTDOWN);
	assert_int_equal(tmem_pool_create(client, 5, &persistent), -ESHUTDOWN);
	tmem_client_destroy(client);
	assert_int_equal(tmem_client_create(core.t, "guest", &client), 0);
	assert_int_equal(tmem_get(core.ctx, client, 1, &key, page, &tag), -ENXIO);
}

static void test_frozen_puts_flush(void **state)
{
	struct tmem_client_info info;

	(void)state;
	for (unsigned pool = 0; pool < 2; pool++) {
		assert_int_equal(core_put(&core, client, pool, core_key(1, 1), 11), 0);
		assert_int_equal(core_put(&core, client, pool, core_key(1, 2), 11), 0);
	}
	tmem_client_freeze(client, true);
	for (unsigned pool = 0; pool < 2; pool++) {
		assert_int_equal(core_put(&core, client, pool, core_key(1, 1), 12), -EROFS);
		assert_int_equal(core_get(&core, client, pool, core_key(1, 1), 11), -ENOENT);
		assert_int_equal(core_get(&core, client, pool, core_key(1, 2), 11), 0);
	}
	tmem_client_info(client, &info);
	assert_true(info.frozen);
	for (unsigned k = 0; k < TMEM_KINDS; k++) {
		assert_int_equal(info.kind[k].puts_refused_frozen, 1);
		assert_int_equal(info.kind[k].put_to_flush, 1);
	}
	tmem_client_freeze(client, false);
	assert_int_equal(core_put(&core, client, 1, core_key(1, 1), 12), 0);
}

static int count_client(struct tmem_client *c, void *arg)
{
	(void)c;
	return ++*(int *)arg == 2 ? 7 : 0;
}

static void test_queries(void **state)
{
	struct tmem_pool_info pool;
	struct tmem_client *second, *third;
	int n = 0;

	(void)state;
	assert_int_equal(tmem_pool_info(client, 5, &pool), -ENXIO);
	assert_true(tmem_pool_info(client, TMEM_POOL_IDS, &pool) < 0);
	assert_int_equal(tmem_pool_info(client, 1, &pool), 0);
	assert_int_equal(pool.id, 1);
	assert_int_equal(pool.spec.kind, TMEM_PERSISTENT);
	assert_int_equal(tmem_client_each(core.t, count_client, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(tmem_client_create(core.t, "second", &second), 0);
	assert_int_equal(tmem_client_create(core.t, "third", &third), 0);
	n = 0;
	assert_int_equal(tmem_client_each(core.t, count_client, &n), 7);
	assert_int_equal(n, 2);
}

static void test_frame_size(void **state)
{
	uint64_t frame = tmem_frame_size(core.t);

	(void)state;
	assert_true(frame >= TMEM_PAGE_SIZE && (frame & (frame - 1)) == 0);
	assert_int_equal(tmem_reclaim(core.t, 0, NULL), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create_refuses_bad_configurations),
		T(test_rebuild_leaves_a_foreign_file_alone),
		T(test_limits),
		T(test_contexts),
		T(test_client_names),
		T(test_quota_defaults_and_ranges),
		T(test_pool_specs),
		T(test_pool_destroy),
		T(test_data_operations),
		T(test_a_killed_client_is_shut_down),
		T(test_frozen_puts_flush),
		T(test_queries),
		T(test_frame_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_damage.c - arena bytes that changed, and arena bytes that must not be
 * seen by another client.
 *
 * A page's stored bytes are found in the arena by looking for them: raw ones
 * stand there as they are, LZO ones as the library compresses them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core_fixture.h"

#define RAW_SEED 9u	/* random bytes */

static struct core core;
static struct tmem_client *client;
static uint8_t *arena;

static int setup(void **state)
{
	(void)state;
	if (core_open_plain(&core, 16 * MIB))
		return -1;
	arena = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, core.config.arena_fd, 0);
	client = core_client(&core, "guest");
	return client && arena != MAP_FAILED ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	munmap(arena, 16 * MIB);
	core_close(&core);
	return 0;
}

/* The bytes that a store keeps of a page. */
static size_t stored_bytes(uint64_t seed, uint8_t *out)
{
	static uint8_t work[LZO1X_1_MEM_COMPRESS];
	uint8_t page[TMEM_PAGE_SIZE];
	lzo_uint n = 0;

	page_make(page, seed);
	if (seed % 8 == 1) {
		memcpy(out, page, sizeof(page));
		return sizeof(page);
	}
	assert_int_equal(lzo_init(), LZO_E_OK);
	lzo1x_1_compress(page, sizeof(page), out, &n, work);
	return n;
}

/* Where the page of a seed is stored; its middle is looked for, as its ends may be shared. */
static uint8_t *find_stored(uint64_t seed)
{
	uint8_t bytes[TMEM_PAGE_SIZE * 2];
	size_t n = stored_bytes(seed, bytes);
	uint8_t *at = memmem(arena, 16 * MIB, bytes + n / 4, n / 2);

	if (!at)
		fail_msg("the page of seed %u is not in the arena", (unsigned)seed);
	return at;
}

static uint64_t damaged(enum tmem_kind kind)
{
	struct tmem_client_info info;

	tmem_client_info(client, &info);
	return info.kind[kind].damaged;
}

static void damage_persistent(uint64_t seed)
{
	struct tmem_key key = core_key(1, (uint32_t)seed);
	uint64_t before = damaged(TMEM_PERSISTENT);

	assert_int_equal(core_put(&core, client, 1, key, seed), 0);
	assert_int_equal(core_get(&core, client, 1, key, seed), 0);
	*find_stored(seed) ^= 0x10;
	assert_int_equal(core_get(&core, client, 1, key, seed), -EBADMSG);
	assert_int_equal(damaged(TMEM_PERSISTENT), before + 1);
	assert_int_equal(core_get(&core, client, 1, key, seed), -EBADMSG);
	assert_int_equal(core_put(&core, client, 1, key, seed + 8), 0);
	assert_int_equal(core_get(&core, client, 1, key, seed + 8), 0);
}

static void test_a_damaged_persistent_page_is_an_error(void **state)
{
	(void)state;
	damage_persistent(page_good_seed(3));
	damage_persistent(RAW_SEED);
}

static void test_a_damaged_persistent_page_can_be_flushed(void **state)
{
	uint64_t seed = page_good_seed(4);
	struct tmem_key key = core_key(1, 1);

	(void)state;
	assert_int_equal(core_put(&core, client, 1, key, seed), 0);
	*find_stored(seed) ^= 1;
	assert_int_equal(core_get(&core, client, 1, key, seed), -EBADMSG);
	assert_int_equal(tmem_flush_page(client, 1, &key), 1);
	assert_int_equal(core_get(&core, client, 1, key, seed), -ENOENT);
}

static void test_a_damaged_ephemeral_page_is_a_miss(void **state)
{
	uint64_t seed = page_good_seed(5);
	struct tmem_key key = core_key(1, 1);

	(void)state;
	assert_int_equal(core_put(&core, client, 0, key, seed), 0);
	*find_stored(seed) ^= 0x80;
	assert_int_equal(core_get(&core, client, 0, key, seed), -ENOENT);
	assert_int_equal(damaged(TMEM_EPHEMERAL), 1);
	assert_int_equal(core_put(&core, client, 0, key, seed), 0);
	assert_int_equal(core_get(&core, client, 0, key, seed), 0);
	assert_true(tmem_is_valid(core.t, NULL, 0));
}

/* Holes all around make compaction want to move the damaged pages. */
static void test_a_damaged_page_is_not_laundered_by_a_move(void **state)
{
	const uint32_t n = 1000;

	(void)state;
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(core_put(&core, client, 1, core_key(1, i), page_good_seed(i)), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct tmem_key key = core_key(1, i);

		if (i % 10)
			assert_int_equal(tmem_flush_page(client, 1, &key), 1);
		else
			*find_stored(page_good_seed(i)) ^= 4;
	}
	tmem_compact(core.t, core.ctx);
	for (uint32_t i = 0; i < n; i += 10)
		assert_int_equal(core_get(&core, client, 1, core_key(1, i), page_good_seed(i)),
				 -EBADMSG);
	assert_true(damaged(TMEM_PERSISTENT) >= n / 10);
}

static void test_rebuild_never_returns_a_damaged_page(void **state)
{
	uint64_t seed = page_good_seed(6), whole = page_good_seed(7);
	int rc;

	(void)state;
	assert_int_equal(core_put(&core, client, 1, core_key(1, 1), seed), 0);
	assert_int_equal(core_put(&core, client, 1, core_key(1, 2), whole), 0);
	*find_stored(seed) ^= 2;
	assert_int_equal(core_rebuild(&core), 0);
	client = tmem_client_find(core.t, "guest");
	assert_non_null(client);
	rc = core_get(&core, client, 1, core_key(1, 1), seed);
	assert_true(rc == -EBADMSG || rc == -ENOENT);
	assert_int_equal(core_get(&core, client, 1, core_key(1, 2), whole), 0);
}

/* ---- isolation -------------------------------------------------------- */

static uint64_t count_secrets(void)
{
	static const char secret[] = "SECRET-OF-THE-FIRST-GUEST-";
	uint64_t n = 0;
	uint8_t *at = arena, *end = arena + 16 * MIB;

	while ((at = memmem(at, (size_t)(end - at), secret, sizeof(secret) - 1))) {
		at += sizeof(secret) - 1;
		n++;
	}
	return n;
}

/* Random bytes, so that they are stored raw, with a mark that can be looked for. */
static void put_secrets(unsigned pool)
{
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t page[TMEM_PAGE_SIZE];
		struct tmem_key key = core_key(1, i);

		page_make(page, 8ull * i + 1);
		memcpy(page + 2000, "SECRET-OF-THE-FIRST-GUEST-", 26);
		if (tmem_put(core.ctx, client, pool, &key, page, 1) && pool == 1)
			return;
	}
}

static void hand_over(unsigned from_pool, unsigned to_pool)
{
	struct tmem_store_info info;
	struct tmem_client *next;

	put_secrets(from_pool);
	assert_true(count_secrets() > 100);
	tmem_client_kill(client);
	tmem_client_destroy(client);
	next = core_client(&core, "next");
	assert_non_null(next);
	for (uint32_t i = 0; i < 20000; i++)
		if (core_put(&core, next, to_pool, core_key(2, i), page_good_seed(i)) && to_pool == 1)
			break;
	tmem_store_info(core.t, &info);
	tmem_reclaim(core.t, info.frames_free, NULL);
	assert_int_equal(count_secrets(), 0);
}

static void test_frames_never_show_another_clients_bytes(void **state)
{
	struct tmem_limits limits;

	(void)state;
	tmem_limits_get(core.t, &limits);
	limits.persistent_max = limits.target;
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
	hand_over(1, 1);
}

static void test_nor_evicted_frames(void **state)
{
	(void)state;
	hand_over(0, 0);
}

static void test_nor_frames_that_change_kind(void **state)
{
	struct tmem_limits limits;

	(void)state;
	tmem_limits_get(core.t, &limits);
	limits.persistent_max = limits.target;
	assert_int_equal(tmem_limits_set(core.t, &limits), 0);
	hand_over(1, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_damaged_persistent_page_is_an_error),
		T(test_a_damaged_persistent_page_can_be_flushed),
		T(test_a_damaged_ephemeral_page_is_a_miss),
		T(test_a_damaged_page_is_not_laundered_by_a_move),
		T(test_rebuild_never_returns_a_damaged_page),
		T(test_frames_never_show_another_clients_bytes),
		T(test_nor_evicted_frames),
		T(test_nor_frames_that_change_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_basic.c - the core's contract in its smallest cases: each operation and
 * each refusal once, on both kinds, all codecs and both stores.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tmem.h"

#define ARENA	(16u << 20)

struct host {
	struct tmem *t;
	struct tmem_ctx *ctx;
	struct tmem_client *c;
	int fd;
};

static void host_open(struct host *h, bool two)
{
	struct tmem_config config = { .arena_max = ARENA, .zbud_two = two };

	h->fd = memfd_create("arena", MFD_CLOEXEC);
	assert_true(h->fd >= 0);
	config.arena_fd = h->fd;
	assert_int_equal(tmem_create(&h->t, &config), 0);
	assert_int_equal(tmem_ctx_create(h->t, &h->ctx), 0);
	assert_int_equal(tmem_client_create(h->t, "guest", &h->c), 0);
}

static void valid(struct host *h)
{
	char why[256] = "";

	if (!tmem_is_valid(h->t, why, sizeof(why)))
		fail_msg("%s", why);
}

static void host_close(struct host *h)
{
	valid(h);
	tmem_ctx_destroy(h->ctx);
	tmem_destroy(h->t);
	close(h->fd);
}

static void pool(struct host *h, unsigned id, enum tmem_kind kind)
{
	struct tmem_pool_spec spec = { .kind = kind };

	assert_int_equal(tmem_pool_create(h->c, id, &spec), 0);
}

/* Page n: every fourth same-filled, every fifth incompressible, else text-like. */
static void page_fill(unsigned char *page, uint32_t n)
{
	uint64_t x = n * 0x9e3779b97f4a7c15ull + 1;
	size_t i;

	for (i = 0; i < TMEM_PAGE_SIZE; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (n % 4 == 0)
			page[i] = (unsigned char)n;
		else if (n % 5 == 0)
			page[i] = (unsigned char)(x >> 56);
		else
			page[i] = i % 64 < n % 50 ? (unsigned char)(x >> 60) : (unsigned char)(i / 64);
	}
}

static struct tmem_key key_of(uint32_t n)
{
	return (struct tmem_key){ .oid = { n % 7, 1, 2 }, .index = n };
}

static int put(struct host *h, unsigned id, uint32_t n, uint32_t content)
{
	unsigned char page[TMEM_PAGE_SIZE];
	struct tmem_key key = key_of(n);

	page_fill(page, content);
	return tmem_put(h->ctx, h->c, id, &key, page, content);
}

/* The page read must be the one of that content. */
static int get(struct host *h, unsigned id, uint32_t n, uint32_t content)
{
	unsigned char page[TMEM_PAGE_SIZE], expect[TMEM_PAGE_SIZE];
	struct tmem_key key = key_of(n);
	uint64_t tag = 0;
	int err = tmem_get(h->ctx, h->c, id, &key, page, &tag);

	if (err)
		return err;
	page_fill(expect, content);
	assert_memory_equal(page, expect, sizeof(page));
	assert_int_equal(tag, content);
	return 0;
}

static void test_put_get_flush(void **state)
{
	struct host h;
	uint32_t n;
	unsigned codec;

	(void)state;
	for (codec = 0; codec < TMEM_CODECS; codec++) {
		struct tmem_quota q;

		host_open(&h, false);
		tmem_client_quota_get(h.c, &q);
		q.codec[TMEM_EPHEMERAL] = q.codec[TMEM_PERSISTENT] = codec;
		assert_int_equal(tmem_client_quota_set(h.c, &q), 0);
		pool(&h, 0, TMEM_EPHEMERAL);
		pool(&h, 1, TMEM_PERSISTENT);
		for (n = 0; n < 500; n++) {
			assert_int_equal(put(&h, 0, n, n), 0);
			assert_int_equal(put(&h, 1, n, n + 1), 0);
			assert_int_equal(put(&h, 1, n, n), 0);
		}
		valid(&h);
		for (n = 0; n < 500; n++) {
			struct tmem_key key = key_of(n);

			assert_int_equal(get(&h, 0, n, n), 0);
			assert_int_equal(get(&h, 0, n, n), -ENOENT);
			assert_int_equal(get(&h, 1, n, n), 0);
			assert_int_equal(get(&h, 1, n, n), 0);
			assert_int_equal(tmem_flush_page(h.c, 1, &key), 1);
			assert_int_equal(tmem_flush_page(h.c, 1, &key), 0);
			assert_int_equal(get(&h, 1, n, n), -ENOENT);
		}
		host_close(&h);
	}
}

static void test_objects_and_pools(void **state)
{
	struct tmem_pool_info info;
	struct host h;
	uint64_t pages;
	uint32_t n;

	(void)state;
	host_open(&h, false);
	pool(&h, 3, TMEM_PERSISTENT);
	for (n = 0; n < 700; n++)
		assert_int_equal(put(&h, 3, n, n), 0);
	assert_int_equal(tmem_flush_object(h.c, 3, key_of(2).oid, &pages), 0);
	assert_int_equal(pages, 100);
	assert_int_equal(get(&h, 3, 2, 2), -ENOENT);
	assert_int_equal(get(&h, 3, 3, 3), 0);
	assert_int_equal(tmem_pool_info(h.c, 3, &info), 0);
	assert_int_equal(info.count.pages, 600);
	assert_int_equal(info.count.objects, 6);
	valid(&h);
	assert_int_equal(tmem_pool_destroy(h.c, 3, &pages), 0);
	assert_int_equal(pages, 600);
	assert_int_equal(put(&h, 3, 1, 1), -ENXIO);
	pool(&h, 3, TMEM_EPHEMERAL);
	assert_int_equal(get(&h, 3, 3, 3), -ENOENT);
	host_close(&h);
}

/* A put that fails leaves nothing readable. */
static void test_refusals(void **state)
{
	struct tmem_limits limits;
	struct tmem_quota q;
	struct host h;
	uint32_t n;
	int err = 0;

	(void)state;
	host_open(&h, false);
	pool(&h, 0, TMEM_PERSISTENT);
	assert_int_equal(put(&h, 0, 1, 1), 0);
	tmem_client_freeze(h.c, true);
	assert_int_equal(put(&h, 0, 1, 2), -EROFS);
	assert_int_equal(get(&h, 0, 1, 1), -ENOENT);
	tmem_client_freeze(h.c, false);

	tmem_client_quota_get(h.c, &q);
	q.persistent_max = 256 << 10;
	assert_int_equal(tmem_client_quota_set(h.c, &q), 0);
	for (n = 1; n < 10000 && !err; n++)
		err = put(&h, 0, n, n);
	assert_int_equal(err, -EDQUOT);
	assert_int_equal(get(&h, 0, n - 1, n - 1), -ENOENT);
	assert_int_equal(get(&h, 0, 1, 1), 0);

	tmem_limits_get(h.t, &limits);
	limits.accept_persistent = false;
	assert_int_equal(tmem_limits_set(h.t, &limits), 0);
	assert_int_equal(put(&h, 0, 1, 1), -ENOSPC);
	assert_int_equal(get(&h, 0, 1, 1), -ENOENT);
	tmem_client_kill(h.c);
	assert_int_equal(put(&h, 0, 1, 1), -ESHUTDOWN);
	host_close(&h);
}

static void test_eviction_and_reclaim(void **state)
{
	struct tmem_reclaim_report report;
	struct tmem_client_info info;
	struct host h;
	unsigned two;
	uint32_t n;

	(void)state;
	for (two = 0; two < 2; two++) {
		host_open(&h, two);
		pool(&h, 0, TMEM_EPHEMERAL);
		for (n = 0; n < 20000; n++) {
			int err = put(&h, 0, n, n);

			assert_true(err == 0 || err == -E2BIG);
		}
		valid(&h);
		tmem_client_info(h.c, &info);
		assert_true(info.evicted_frames > 0);
		assert_true(info.kind[TMEM_EPHEMERAL].bytes_physical <= ARENA);
		assert_int_equal(tmem_reclaim(h.t, 100, &report), 100);
		assert_int_equal(report.stop, TMEM_RECLAIM_DONE);
		assert_int_equal(report.clients, 1);
		tmem_reclaim(h.t, ARENA, &report);
		assert_int_equal(report.stop, TMEM_RECLAIM_EMPTY);
		tmem_client_info(h.c, &info);
		assert_int_equal(info.kind[TMEM_EPHEMERAL].pages, 0);
		host_close(&h);
	}
}

static void test_shared_pool(void **state)
{
	struct tmem_pool_spec spec = { .kind = TMEM_EPHEMERAL, .shared = true, .uuid = { 7 } };
	struct tmem_client *first, *second;
	struct host h;

	(void)state;
	host_open(&h, false);
	first = h.c;
	assert_int_equal(tmem_client_create(h.t, "guest", &second), -EEXIST);
	assert_int_equal(tmem_client_create(h.t, "other", &second), 0);
	assert_int_equal(tmem_pool_create(first, 0, &spec), -EPERM);
	assert_int_equal(tmem_client_authorise(first, spec.uuid, true), 0);
	assert_int_equal(tmem_client_authorise(second, spec.uuid, true), 0);
	assert_int_equal(tmem_pool_create(first, 0, &spec), 0);
	assert_int_equal(tmem_pool_create(second, 5, &spec), 0);
	assert_int_equal(put(&h, 0, 9, 9), 0);
	h.c = second;
	assert_int_equal(get(&h, 5, 9, 9), 0);
	assert_int_equal(get(&h, 5, 9, 9), 0);
	tmem_client_destroy(first);
	assert_int_equal(get(&h, 5, 9, 9), -ENOENT);
	assert_ptr_equal(tmem_client_find(h.t, "other"), second);
	assert_null(tmem_client_find(h.t, "guest"));
	host_close(&h);
}

/* Slots that say nothing any more must not keep their client from ending. */
static void test_damaged_shared_slots(void **state)
{
	struct tmem_pool_spec spec = { .kind = TMEM_EPHEMERAL, .shared = true, .uuid = { 7 } };
	struct tmem_pool_info info;
	struct tmem_client *other;
	struct host h;
	uint64_t word;
	off_t at;
	uint32_t n;

	(void)state;
	host_open(&h, false);
	assert_int_equal(tmem_client_create(h.t, "other", &other), 0);
	assert_int_equal(tmem_client_authorise(h.c, spec.uuid, true), 0);
	assert_int_equal(tmem_client_authorise(other, spec.uuid, true), 0);
	assert_int_equal(tmem_pool_create(h.c, 0, &spec), 0);
	assert_int_equal(tmem_pool_create(other, 0, &spec), 0);
	for (n = 0; n < 50; n++)
		assert_int_equal(put(&h, 0, n, 4 * n), 0);
	/* Same-filled pages: the whole frame that holds their words is theirs. */
	for (at = 0; at < ARENA; at += (off_t)tmem_frame_size(h.t)) {
		uint32_t junk = 0x5a5a5a5a;
		off_t slot;

		assert_int_equal(pread(h.fd, &word, sizeof(word), at), sizeof(word));
		if ((uint32_t)word < 6)		/* not a store's */
			continue;
		for (slot = at + 160; slot < at + 160 + 50 * 24; slot += 24)
			assert_int_equal(pwrite(h.fd, &junk, sizeof(junk), slot), sizeof(junk));
	}
	tmem_client_destroy(h.c);
	h.c = other;
	assert_int_equal(tmem_pool_info(other, 0, &info), 0);
	assert_int_equal(info.count.pages, 0);
	host_close(&h);
}

/* Equal pages take one page's room; each comes back under its own key and tag. */
static void test_dedup(void **state)
{
	struct tmem_config config = { .arena_max = ARENA, .dedup = TMEM_DEDUP_HOST };
	struct tmem_client_info info;
	struct tmem_client *other;
	struct host h;
	uint32_t n;

	(void)state;
	h.fd = config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	assert_int_equal(tmem_create(&h.t, &config), 0);
	assert_int_equal(tmem_ctx_create(h.t, &h.ctx), 0);
	assert_int_equal(tmem_client_create(h.t, "other", &other), 0);
	assert_int_equal(tmem_client_create(h.t, "guest", &h.c), 0);
	pool(&h, 0, TMEM_EPHEMERAL);
	for (n = 0; n < 200; n++)
		assert_int_equal(put(&h, 0, n, 49), 0);
	tmem_client_info(h.c, &info);
	assert_int_equal(info.kind[TMEM_EPHEMERAL].pages, 200);
	assert_int_equal(info.kind[TMEM_EPHEMERAL].pages_deduped, 199);
	h.c = other;
	pool(&h, 0, TMEM_EPHEMERAL);
	assert_int_equal(put(&h, 0, 0, 49), 0);
	tmem_client_info(h.c, &info);
	assert_int_equal(info.kind[TMEM_EPHEMERAL].pages_deduped, 1);
	valid(&h);
	/* The owner goes, and its data with it to who refers to it. */
	tmem_client_destroy(tmem_client_find(h.t, "guest"));
	tmem_client_info(h.c, &info);
	assert_int_equal(info.kind[TMEM_EPHEMERAL].pages_deduped, 0);
	assert_int_equal(get(&h, 0, 0, 49), 0);
	host_close(&h);
}

/* Another process's view of the same arena: all that was held, nothing flushed. */
static void test_rebuild(void **state)
{
	struct tmem_config config = { .arena_max = ARENA, .rebuild = true };
	struct tmem_quota q;
	struct host h;
	uint32_t n;

	(void)state;
	host_open(&h, false);
	pool(&h, 0, TMEM_EPHEMERAL);
	pool(&h, 1, TMEM_PERSISTENT);
	tmem_client_quota_get(h.c, &q);
	q.weight = 333;
	assert_int_equal(tmem_client_quota_set(h.c, &q), 0);
	for (n = 0; n < 3000; n++) {
		put(&h, 0, n, n);
		put(&h, 1, n, n + 1);
		put(&h, 1, n, n);
	}
	for (n = 0; n < 3000; n += 3) {
		struct tmem_key key = key_of(n);

		tmem_flush_page(h.c, 1, &key);
	}
	tmem_ctx_destroy(h.ctx);
	tmem_destroy(h.t);
	config.arena_fd = h.fd;
	assert_int_equal(tmem_create(&h.t, &config), 0);
	assert_int_equal(tmem_ctx_create(h.t, &h.ctx), 0);
	h.c = tmem_client_find(h.t, "guest");
	assert_non_null(h.c);
	valid(&h);
	tmem_client_quota_get(h.c, &q);
	assert_int_equal(q.weight, 333);
	for (n = 0; n < 3000; n++) {
		assert_int_equal(get(&h, 0, n, n), 0);
		assert_int_equal(get(&h, 1, n, n), n % 3 ? 0 : -ENOENT);
	}
	tmem_client_destroy(h.c);
	assert_int_equal(tmem_client_create(h.t, "guest", &h.c), 0);
	host_close(&h);
}

/* A file that is no arena stays as it is. */
static void test_rebuild_refused(void **state)
{
	struct tmem_config config = { .arena_max = ARENA, .rebuild = true };
	char text[8192] = "not an arena", now[8192];
	struct tmem *t;
	int fd = memfd_create("arena", MFD_CLOEXEC);

	(void)state;
	config.arena_fd = fd;
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(tmem_create(&t, &config), -EPROTO);
	assert_int_equal(pread(fd, now, sizeof(now), 0), sizeof(now));
	assert_memory_equal(now, text, sizeof(now));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_get_flush),
		cmocka_unit_test(test_objects_and_pools),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_eviction_and_reclaim),
		cmocka_unit_test(test_shared_pool),
		cmocka_unit_test(test_damaged_shared_slots),
		cmocka_unit_test(test_dedup),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_rebuild_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_stress.c - threads that share clients and pools, while another one
 * reclaims, compacts, freezes, sets limits and destroys pools under them.
 *
 *   TMEM_STRESS_MS=N   how long (1000); longer where hardly anything was done by then
 *
 * A page's tag is its seed, and a seed names its key, so that every page that
 * comes back can be checked by itself.  Beyond that each thread owns some keys
 * of a pool that is never destroyed: what it put there last it must find.
 * Meant for ThreadSanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core_fixture.h"

#define ARENA	(6 * MIB)
#define WORKERS	3u
#define CLIENTS	2u
#define HITS	100u	/* so many pages are to come back */
#define PATIENCE_MS	10000u
#define OWNED	48u	/* keys of a worker in each client's KEPT pool */

enum { EPHEMERAL, KEPT, SHARED, DOOMED, POOLS };	/* DOOMED comes and goes */

static const struct tmem_pool_spec spec[POOLS] = {
	[EPHEMERAL] = { .kind = TMEM_EPHEMERAL },
	[KEPT] = { .kind = TMEM_PERSISTENT },
	[SHARED] = { .kind = TMEM_EPHEMERAL, .shared = true, .uuid = { 9 } },
	[DOOMED] = { .kind = TMEM_PERSISTENT },
};

static struct core core;
static struct tmem_client *client[CLIENTS];
static _Atomic bool stop;
static _Atomic unsigned errors;
static _Atomic uint64_t hits, operations;

struct worker {
	pthread_t thread;
	unsigned number;
	struct tmem_ctx *ctx;
	uint64_t rng;
	uint64_t told[CLIENTS][OWNED];	/* 0: no page */
};

static void wrong(const char *what, int rc)
{
	if (atomic_fetch_add(&errors, 1) < 10)
		print_error("%s: %d\n", what, rc);
}

/* The key's own number in the upper half, so that a page says where it belongs. */
static uint64_t seed_for(unsigned c, unsigned pool, uint32_t n, uint64_t *rng)
{
	uint64_t where = pool == SHARED ? 0 : c;

	return (where << 24 | (uint64_t)pool << 20 | n) << 32 | (rnd(rng) >> 33 << 1 | 1);
}

static struct tmem_key key_for(uint32_t n)
{
	return core_key(n / 16, n % 16);
}

static void check_page(const void *page, uint64_t tag, unsigned c, unsigned pool, uint32_t n)
{
	uint8_t want[TMEM_PAGE_SIZE];
	uint64_t state = 1;

	if (tag >> 32 != seed_for(c, pool, n, &state) >> 32)
		wrong("a page of another key", (int)pool);
	page_make(want, tag);
	if (memcmp(page, want, sizeof(want)) != 0)
		wrong("content that is not the tag's", (int)pool);
	atomic_fetch_add_explicit(&hits, 1, memory_order_relaxed);
}

static void put_any(struct worker *w, unsigned c, unsigned pool, uint32_t n)
{
	uint8_t page[TMEM_PAGE_SIZE];
	uint64_t seed = seed_for(c, pool, n, &w->rng);
	struct tmem_key key = key_for(n);
	int rc;

	page_make(page, seed);
	rc = tmem_put(w->ctx, client[c], pool, &key, page, seed);
	if (rc && rc != -EROFS && rc != -EDQUOT && rc != -ENOSPC && rc != -E2BIG &&
	    !(rc == -ENXIO && pool == DOOMED))
		wrong("put", rc);
}

static void get_any(struct worker *w, unsigned c, unsigned pool, uint32_t n)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_key key = key_for(n);
	uint64_t tag = 0;
	int rc = tmem_get(w->ctx, client[c], pool, &key, page, &tag);

	if (rc == 0)
		check_page(page, tag, c, pool, n);
	else if (rc != -ENOENT && !(rc == -ENXIO && pool == DOOMED))
		wrong("get", rc);
}

static void any_operation(struct worker *w)
{
	static const unsigned pools[3] = { EPHEMERAL, SHARED, DOOMED };
	unsigned c = rnd_below(&w->rng, CLIENTS), pool = pools[rnd_below(&w->rng, 3)];
	uint32_t n = rnd_below(&w->rng, 1024), choice = rnd_below(&w->rng, 100);
	struct tmem_key key = key_for(n);

	if (choice < 55)
		put_any(w, c, pool, n);
	else if (choice < 90)
		get_any(w, c, pool, n);
	else if (choice < 98)
		tmem_flush_page(client[c], pool, &key);
	else
		tmem_flush_object(client[c], pool, key.oid, NULL);
}

/* On its own keys a worker knows what must be there, whatever the others do. */
static void own_operation(struct worker *w)
{
	unsigned c = rnd_below(&w->rng, CLIENTS), i = rnd_below(&w->rng, OWNED);
	struct tmem_key key = key_for(w->number * OWNED + i);
	uint64_t *told = &w->told[c][i], tag = 0;
	uint8_t page[TMEM_PAGE_SIZE];
	int rc;

	switch (rnd_below(&w->rng, 4)) {
	case 0:
		*told = seed_for(c, KEPT, w->number * OWNED + i, &w->rng);
		page_make(page, *told);
		rc = tmem_put(w->ctx, client[c], KEPT, &key, page, *told);
		if (rc)
			*told = 0;
		break;
	case 1:
		rc = tmem_flush_page(client[c], KEPT, &key);
		if (rc != (*told != 0))
			wrong("flush of an own page", rc);
		*told = 0;
		break;
	default:
		rc = tmem_get(w->ctx, client[c], KEPT, &key, page, &tag);
		if (rc != (*told ? 0 : -ENOENT))
			wrong("get of an own page", rc);
		else if (*told && tag != *told)
			wrong("a stale own page", (int)i);
		else if (*told)
			check_page(page, tag, c, KEPT, w->number * OWNED + i);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop)) {
		for (unsigned i = 0; i < 32; i++) {
			any_operation(w);
			own_operation(w);
		}
		atomic_fetch_add(&operations, 64);
	}
	return NULL;
}

/* ---- what is done to them ---------------------------------------------- */

static void set_numbers(uint64_t *rng, struct tmem_client *c)
{
	struct tmem_limits limits = { .accept_ephemeral = true, .accept_persistent = true };
	struct tmem_quota q;

	limits.target = ARENA - rnd_below(rng, ARENA / 4);
	limits.persistent_max = ARENA * 3 / 4 - rnd_below(rng, ARENA / 2);
	if (tmem_limits_set(core.t, &limits))
		wrong("limits", 0);
	tmem_client_quota_get(c, &q);
	q.weight = 1 + rnd_below(rng, 1000);
	q.max = rnd_below(rng, 2) ? TMEM_NO_LIMIT : 1 * MIB + rnd_below(rng, 4 * MIB);
	q.min = rnd_below(rng, MIB);
	q.codec[rnd_below(rng, 2)] = rnd_below(rng, TMEM_CODECS);
	if (tmem_client_quota_set(c, &q))
		wrong("quota", 0);
}

static void come_and_go(struct tmem_ctx *ctx, uint64_t *rng)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_key key = key_for(rnd_below(rng, 64));
	struct tmem_client *c;
	uint64_t tag;

	if (tmem_client_create(core.t, "passer-by", &c) || tmem_pool_create(c, 0, &spec[KEPT])) {
		wrong("a client that comes", 0);
		return;
	}
	page_make(page, 3);
	if (tmem_put(ctx, c, 0, &key, page, 3) == 0 &&
	    (tmem_get(ctx, c, 0, &key, page, &tag) || tag != 3))
		wrong("a page of the passer-by", 0);
	tmem_client_kill(c);
	tmem_client_destroy(c);
}

static int look(struct tmem_client *c, void *arg)
{
	tmem_client_info(c, arg);
	return 0;
}

static void ask(void)
{
	struct tmem_client_info ci;
	struct tmem_store_info si;
	struct tmem_pool_info pi;

	tmem_client_each(core.t, look, &ci);
	tmem_store_info(core.t, &si);
	tmem_pool_info(client[0], DOOMED, &pi);
}

static void disturb(struct tmem_ctx *ctx, uint64_t *rng)
{
	struct tmem_client *c = client[rnd_below(rng, CLIENTS)];
	struct tmem_reclaim_report report;

	switch (rnd_below(rng, 8)) {
	case 0:
		tmem_reclaim(core.t, 1 + rnd_below(rng, 30), &report);
		break;
	case 1:
		tmem_compact(core.t, ctx);
		break;
	case 2:
		tmem_client_freeze(c, true);
		usleep(100);
		tmem_client_freeze(c, false);
		break;
	case 3:
		set_numbers(rng, c);
		break;
	case 4:
		if (tmem_pool_destroy(c, DOOMED, NULL) || tmem_pool_create(c, DOOMED, &spec[DOOMED]))
			wrong("pool", 0);
		break;
	case 5:
		if (rnd_below(rng, 8) == 0)
			tmem_client_flush_ephemeral(c);
		break;
	case 6:
		come_and_go(ctx, rng);
		break;
	default:
		ask();
	}
}

static void run(enum tmem_dedup dedup, bool two)
{
	const struct tmem_config config = {
		.arena_max = ARENA, .dedup = dedup, .zbud_two = two,
	};
	static const char *const name[CLIENTS] = { "first", "second" };
	static struct worker w[WORKERS];
	uint64_t rng = rnd_seed(7), ms = env_number("TMEM_STRESS_MS", 1000) / 3, elapsed;
	struct timespec start, now;
	char why[256] = "";

	atomic_store(&stop, false);
	assert_int_equal(core_open(&core, &config), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert_int_equal(tmem_client_create(core.t, name[i], &client[i]), 0);
		assert_int_equal(tmem_client_authorise(client[i], spec[SHARED].uuid, true), 0);
		for (unsigned p = 0; p < POOLS; p++)
			assert_int_equal(tmem_pool_create(client[i], p, &spec[p]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .number = i, .rng = rnd_seed(i) };
		assert_int_equal(tmem_ctx_create(core.t, &w[i].ctx), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		disturb(core.ctx, &rng);
		usleep(200);
		clock_gettime(CLOCK_MONOTONIC, &now);
		elapsed = (uint64_t)((now.tv_sec - start.tv_sec) * 1000 +
				     (now.tv_nsec - start.tv_nsec) / 1000000);
	} while (elapsed < ms || (elapsed < PATIENCE_MS && atomic_load(&hits) <= HITS));
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(w[i].thread, NULL);
		tmem_ctx_destroy(w[i].ctx);
	}
	if (!tmem_is_valid(core.t, why, sizeof(why)))
		fail_msg("not valid: %s", why);
	core_close(&core);
	assert_int_equal(atomic_load(&errors), 0);
}

static void test_many_buddies(void **state)
{
	(void)state;
	run(TMEM_DEDUP_OFF, false);
	assert_true(atomic_load(&hits) > HITS);
	print_message("# %llu operations, %llu hits\n", (unsigned long long)atomic_load(&operations),
		      (unsigned long long)atomic_load(&hits));
}

static void test_two_buddies(void **state)
{
	(void)state;
	run(TMEM_DEDUP_CLIENT, true);
}

static void test_dedup(void **state)
{
	(void)state;
	run(TMEM_DEDUP_HOST, false);
}

static void *remake(void *arg)
{
	struct tmem_client *c = arg;

	while (!atomic_load(&stop)) {
		if (tmem_pool_destroy(c, DOOMED, NULL) || tmem_pool_create(c, DOOMED, &spec[DOOMED]))
			wrong("pool", 0);
		usleep(100);	/* leaves the object time to have pages */
	}
	return NULL;
}

/*
 * An object's pages are dropped after it was detached.  A pool destroyed and made
 * anew in the middle of that, in the same structure, must not be charged for them.
 */
static void test_flush_beside_destroy(void **state)
{
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct tmem_key key = core_key(1, 0);
	struct tmem_pool_info info;
	unsigned rounds = 0;
	pthread_t thread;

	(void)state;
	atomic_store(&stop, false);
	assert_int_equal(core_open_plain(&core, ARENA), 0);
	assert_int_equal(tmem_client_create(core.t, "one", &client[0]), 0);
	assert_int_equal(tmem_pool_create(client[0], DOOMED, &spec[DOOMED]), 0);
	assert_int_equal(pthread_create(&thread, NULL, remake, client[0]), 0);
	do {
		for (key.index = 0; key.index < 256; key.index++)
			tmem_put(core.ctx, client[0], DOOMED, &key, page, 0);
		tmem_flush_object(client[0], DOOMED, key.oid, NULL);
		/* Nobody else puts pages into it. */
		if (!tmem_pool_info(client[0], DOOMED, &info) && info.count.pages)
			wrong("pages of a flushed pool", (int)info.count.pages);
	} while (++rounds < 3000);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	core_close(&core);
	assert_int_equal(atomic_load(&errors), 0);
}

/* Puts pages while there is less and less room for them, and checks what it still finds. */
static void *put_on(void *arg)
{
	struct worker *w = arg;

	for (uint32_t n = 0; !atomic_load(&stop); n++) {
		put_any(w, 1, EPHEMERAL, n % 4096);
		get_any(w, 1, EPHEMERAL, rnd_below(&w->rng, 4096));
	}
	return NULL;
}

/* Long enough for a second thread to punch holes while the first one evicts. */
static void test_long_reclaim(void **state)
{
	const struct tmem_config config = { .arena_max = 4 * ARENA, .zbud_two = true };
	struct worker w = { .rng = rnd_seed(1) };
	struct tmem_reclaim_report report;
	struct tmem_store_info info;
	uint64_t before, frames;
	char why[128];

	(void)state;
	atomic_store(&stop, false);
	assert_int_equal(core_open(&core, &config), 0);
	for (unsigned c = 0; c < CLIENTS; c++) {
		assert_int_equal(tmem_client_create(core.t, c ? "two" : "one", &client[c]), 0);
		assert_int_equal(tmem_pool_create(client[c], EPHEMERAL, &spec[EPHEMERAL]), 0);
	}
	assert_int_equal(tmem_ctx_create(core.t, &w.ctx), 0);
	for (uint32_t n = 0; n < 8192; n++)
		put_any(&w, 0, EPHEMERAL, n);
	tmem_store_info(core.t, &info);
	frames = info.frames_free + info.frames_zbud * 3 / 4;
	before = core_resident(&core);
	assert_int_equal(pthread_create(&w.thread, NULL, put_on, &w), 0);
	assert_int_equal(tmem_reclaim(core.t, frames, &report), frames);
	atomic_store(&stop, true);
	pthread_join(w.thread, NULL);
	assert_int_equal(report.stop, TMEM_RECLAIM_DONE);
	assert_int_equal(report.bytes, frames * tmem_frame_size(core.t));
	print_message("# %llu KiB held, %llu given back, %llu held\n",
		      (unsigned long long)before / 1024, (unsigned long long)report.bytes / 1024,
		      (unsigned long long)core_resident(&core) / 1024);
	assert_true(core_resident(&core) < before);
	if (!tmem_is_valid(core.t, why, sizeof(why)))
		fail_msg("not valid: %s", why);
	tmem_ctx_destroy(w.ctx);
	core_close(&core);
	assert_int_equal(atomic_load(&errors), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_beside_destroy),
		cmocka_unit_test(test_long_reclaim),
		cmocka_unit_test(test_many_buddies),
		cmocka_unit_test(test_two_buddies),
		cmocka_unit_test(test_dedup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

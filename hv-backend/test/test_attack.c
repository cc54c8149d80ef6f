// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_attack.c - a guest that wastes what it can, beside one that works.
 *
 * Both are served by one worker.  What the working guest waits for a request is
 * measured in turns: beside a neighbour that works as hard as it can, its ring always
 * full, and beside the same guest attacking.  An attack may cost others twice what hard
 * work does (the 99th percentile, medians of the turns), and no memory beyond the
 * attacker's limit.  Without a neighbour is no measure: what others wait then is mostly
 * whether the processors are busy.
 * A busy machine only adds to what is measured, so one good round of three is enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "hosting.h"

#define TURNS		3u
#define ROUNDS		3u
#define TURN_NS		80000000u	/* at least so long, */
#define TURN_OPS	(300u / HOSTING_SLOW)	/* and so many requests */
#define OPS_MAX		20000u
#define KEYS		128u
#define EVIL_KEYS	4096u		/* of 3 KiB, compressed: three times its limit */
#define EVIL_MAX	(4u << 20)	/* bytes, as in limits[] */
#define SLACK		(512u << 10)	/* frames being taken, objects' records */
#define HUGE_PAGES	20000u
#define ANON_KB		(32u << 10)	/* more heap than that no attack may cost */

static const char limits[] = "[guest evil]\nmax = 4M\npersistent-max = 1M\n";
static const char *const guests[] = { "victim", "evil", NULL };
static struct hosting host;
static struct front *victim, *evil;
static _Atomic bool stop;
static uint64_t serial;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the one who works --------------------------------------------------- */

static uint64_t ns[OPS_MAX];

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Put a page and get it back, compared: two requests. */
static void victim_work(unsigned *n)
{
	struct front_key key = key_of(0, *n % KEYS);
	uint64_t start, tag = 0;
	uint8_t page[TMEMP_PAGE_SIZE];

	page_fill(page, ++serial);
	start = now_ns();
	assert_int_equal(front_put(&victim->queue[0], &key, page, serial), TMEMP_OK);
	ns[(*n)++] = now_ns() - start;
	start = now_ns();
	assert_int_equal(front_get(&victim->queue[0], &key, page, &tag), TMEMP_OK);
	ns[(*n)++] = now_ns() - start;
	assert_int_equal(tag, serial);
	assert_true(page_is(page, serial));
}

static double victim_p99(void)
{
	uint64_t end = now_ns() + TURN_NS;
	unsigned n = 0, above;

	while (n < TURN_OPS || (n < OPS_MAX - 1 && now_ns() < end))
		victim_work(&n);
	qsort(ns, n, sizeof(ns[0]), by_value);
	above = n / 100;
	return (double)ns[n - 1 - above];
}

/* ---- the neighbour --------------------------------------------------------- */

/* A page that compresses to three quarters. */
static void poor_page(uint8_t *page, uint64_t seed)
{
	uint64_t word;

	memset(page, 0, TMEMP_PAGE_SIZE);
	for (unsigned i = 0; i < 3000; i += 8) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		word = seed ^ seed >> 29;
		memcpy(page + i, &word, 8);
	}
}

static void post(uint32_t pool, struct front_key key, const uint8_t *page)
{
	struct front_queue *q = &evil->queue[0];

	key.pool = pool;
	if (!q->free_count)
		front_queue_reap(q);
	front_put_post(q, &key, page, 1);
}

static void works(void)
{
	static uint64_t n;
	uint8_t page[TMEMP_PAGE_SIZE];

	for (unsigned i = 0; i < 64; i++) {
		page_fill(page, ++n * 13 + 1);
		post(n & 1, key_of(1, n % KEYS), page);
	}
}

static void kicks(void)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < 1000; i++)
		(void)!write(evil->queue[0].kick, &one, sizeof(one));
}

static void connects(void)
{
	struct front_config c = evil->config;
	struct front *more;

	for (unsigned i = 0; i < 20; i++) {
		if (front_create(&more, &c))
			return;
		front_dial(more);
		front_destroy(more);
	}
}

static void pools(void)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	page_fill(page, 14);
	front_pool_create(evil, 5, 0);
	for (unsigned i = 0; i < 8; i++)
		post(5, key_of(5, i), page);
	front_pool_destroy(evil, 5, NULL);
}

static void incompressible(void)
{
	static uint64_t n;
	uint8_t page[TMEMP_PAGE_SIZE];

	for (unsigned i = 0; i < 64; i++) {
		poor_page(page, ++n);
		post(n & 1, key_of(0, n % EVIL_KEYS), page);
	}
}

/* Indexes that the core's tables tell apart by the pages alone. */
static void colliding(void)
{
	static uint32_t n;
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front_key key = key_of(1, 0);

	memset(page, 1, sizeof(page));
	for (unsigned i = 0; i < 64; i++) {
		n++;
		key.index = n << 24 | (n >> 8 & 3);
		post(1, key, page);
	}
}

static void huge_object(void)
{
	static uint32_t n;
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front_key key = key_of(1, 0);

	memset(page, 2, sizeof(page));
	key.oid[0] = 77;
	for (unsigned i = 0; i < 64; i++) {
		key.index = ++n % HUGE_PAGES;
		post(1, key, page);
	}
	key.index = 0;
	if (n % HUGE_PAGES < 64)
		front_flush_object(&evil->queue[0], &key, NULL);
}

static void *neighbour(void *step)
{
	while (!atomic_load(&stop))
		((void (*)(void))step)();
	front_queue_drain(&evil->queue[0]);
	return NULL;
}

/* What the victim waits beside it. */
static double beside(void (*step)(void))
{
	pthread_t thread;
	double p99;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, neighbour, (void *)step), 0);
	p99 = victim_p99();
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	return p99;
}

static double median(double v[TURNS])
{
	for (unsigned i = 0; i < TURNS; i++)
		for (unsigned j = i + 1; j < TURNS; j++)
			if (v[j] < v[i]) {
				double t = v[i];

				v[i] = v[j];
				v[j] = t;
			}
	return v[TURNS / 2];
}

static double ratio(const char *name, void (*attack)(void))
{
	double peace[TURNS], war[TURNS];

	for (unsigned i = 0; i < TURNS; i++) {
		peace[i] = beside(works);
		war[i] = beside(attack);
	}
	print_message("# %s: p99 %.0f us alone, %.0f beside work, %.0f beside it\n", name,
		      victim_p99() / 1000, median(peace) / 1000, median(war) / 1000);
	return median(war) / median(peace);
}

/* ---- the daemon -------------------------------------------------------------- */

static long anon_kb(void)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", host.daemon.pid);
	f = fopen(path, "re");
	while (f && kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "RssAnon: %ld kB", &kb);
	if (f)
		fclose(f);
	return kb;
}

static void check(const char *name, void (*attack)(void))
{
	long before = anon_kb();
	double r = 0;

	for (unsigned i = 0; i < ROUNDS && (!i || r > 2); i++)
		r = ratio(name, attack);
	if (HOSTING_SLOW == 1) {	/* sanitizers have times of their own */
		assert_true(r <= 2);
		assert_true(anon_kb() - before < (long)ANON_KB);
	}
	assert_true(hosting_number(&host, "evil", "physical_bytes") < (long long)(EVIL_MAX + SLACK));
	assert_true(hosting_check(&host));
}

#define ATTACK(step) \
	static void test_##step(void **state) \
	{ \
		(void)state; \
		check(#step, step); \
	}

ATTACK(kicks)
ATTACK(connects)
ATTACK(pools)
ATTACK(incompressible)
ATTACK(colliding)
ATTACK(huge_object)

/* All it can hold and more, of both kinds: also where the turns were too short for it. */
static void test_memory_stays_within_the_limit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * EVIL_KEYS / 64; i++)
		incompressible();
	front_queue_drain(&evil->queue[0]);
	assert_true(hosting_number(&host, "evil", "physical_bytes") > (long long)EVIL_MAX / 2);
	assert_true(hosting_number(&host, "evil", "physical_bytes") <= (long long)EVIL_MAX);
}

static int guest_open(struct front **f, const char *name, unsigned queue_size)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, name, path);
	int err;

	c.queue_size = queue_size;
	err = front_open(f, &c);
	if (!err)
		err = front_pool_create(*f, 0, TMEMP_POOL_PERSISTENT);
	return err ? err : front_pool_create(*f, 1, 0);
}

static int start(void **state)
{
	char config[] = "/tmp/test-attack-XXXXXX";
	const char *const more[] = { "--workers", "1", "--config", config, NULL };
	int fd = mkstemp(config), err;

	(void)state;
	if (fd < 0 || write(fd, limits, sizeof(limits) - 1) != sizeof(limits) - 1)
		return -1;
	close(fd);
	err = hosting_start(&host, guests, more);
	unlink(config);
	if (!err)
		err = guest_open(&victim, "victim", 64);
	return err ? err : guest_open(&evil, "evil", 1024);
}

static int end(void **state)
{
	(void)state;
	front_destroy(victim);
	front_destroy(evil);
	return hosting_stop(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_connects),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_incompressible),
		cmocka_unit_test(test_colliding),
		cmocka_unit_test(test_huge_object),
		cmocka_unit_test(test_memory_stays_within_the_limit),
	};

	return cmocka_run_group_tests(tests, start, end);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * load.c - tmem-bench load: a guest at work on a daemon that runs already.
 *
 * Owns:    one guest's traffic: swap pages put, got and flushed, page cache put and
 *          got with misses, at a bounded rate.
 * How:     it plays the VMM as well (guest-frontend/lib).  What it gets back it
 *          compares.  With --hold it stays connected and silent when its time is
 *          over, so that what the host counts stands still.
 * Must not: measure: it is what others are measured or looked at under.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/ring_pages.h"
#include "front.h"

#define CONTENTS	256u	/* pages that differ */
#define SWAP_POOL	0u
#define CACHE_POOL	1u
#define FILES		64u	/* objects of the cache */

struct load {
	struct front *front;
	uint8_t *contents;
	uint8_t *swapped;	/* 1: the host has that swap page */
	unsigned pages;		/* swap pages, and twice as many of page cache */
	uint64_t seed;
};

static const uint8_t *content(const struct load *l, uint32_t n)
{
	return l->contents + (size_t)(n % CONTENTS) * TMEMP_PAGE_SIZE;
}

static struct front_key key_make(uint32_t pool, uint32_t n)
{
	struct front_key k = { .pool = pool, .index = tmemp_swap_index(n) };

	k.oid[0] = tmemp_swap_object(n);
	if (pool == CACHE_POOL)
		k = (struct front_key){ .pool = pool, .oid = { 1 + n % FILES },
					.index = n / FILES };
	return k;
}

static void page_check(const struct load *l, uint32_t n, const uint8_t *page)
{
	if (memcmp(page, content(l, n), TMEMP_PAGE_SIZE))
		bench_die("page %u came back wrong", n);
}

/* Out if it is in memory, in if it is out, as a guest under pressure does. */
static void swap_step(struct load *l)
{
	uint32_t n = (uint32_t)(bench_random(&l->seed) % l->pages);
	struct front_key k = key_make(SWAP_POOL, n);
	struct front_queue *q = front_queue_of(l->front, &k);
	uint8_t page[TMEMP_PAGE_SIZE];
	int st;

	if (!l->swapped[n] || bench_random(&l->seed) % 8 == 0) {
		st = front_put(q, &k, content(l, n), 0);
		l->swapped[n] = st == TMEMP_OK;
	} else {
		st = front_get(q, &k, page, NULL);
		if (st)
			bench_die("page %u is lost: %d", n, st);
		page_check(l, n, page);
		if (bench_random(&l->seed) % 4 == 0) {
			st = front_flush_page(q, &k, NULL);
			l->swapped[n] = 0;
		}
	}
	if (st < 0)
		bench_die("the host went away: %s", strerror(-st));
}

/* A read first asks the host; what it has not comes from the disk and is put later. */
static void cache_step(struct load *l)
{
	uint64_t r = bench_random(&l->seed);
	uint32_t n = (uint32_t)(r % (r >> 60 ? l->pages / 2 : 2 * l->pages));
	struct front_key k = key_make(CACHE_POOL, n);
	struct front_queue *q = front_queue_of(l->front, &k);
	uint8_t page[TMEMP_PAGE_SIZE];
	int st = front_get(q, &k, page, NULL);

	if (st == TMEMP_OK)
		page_check(l, n, page);
	else if (st > 0)
		st = front_put(q, &k, content(l, n), 0);
	if (st < 0)
		bench_die("the host went away: %s", strerror(-st));
}

static void work(struct load *l, unsigned seconds, unsigned pause_us)
{
	uint64_t end = bench_now() + seconds * 1000000000ull;

	while (!seconds || bench_now() < end) {
		for (unsigned i = 0; i < 8; i++) {
			swap_step(l);
			cache_step(l);
		}
		if (pause_us)
			usleep(pause_us);
	}
}

static void load_open(struct load *l, const char *socket)
{
	struct front_config config = FRONT_CONFIG_DEFAULT;
	int st;

	config.socket = socket;
	config.queues = 2;
	st = front_open(&l->front, &config);
	if (st)
		bench_die("%s: cannot connect: %d", socket, st);
	if (front_pool_create(l->front, SWAP_POOL, TMEMP_POOL_PERSISTENT) ||
	    front_pool_create(l->front, CACHE_POOL, 0))
		bench_die("cannot create pools");
	l->contents = ring_pages_make(CONTENTS);
	l->swapped = calloc(l->pages, 1);
	if (!l->swapped)
		bench_die("no memory");
}

int bench_load(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "pages", required_argument, NULL, 'n' },
		{ "pause-us", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 'r' },
		{ "hold", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct load l = { .pages = 4096, .seed = 1 };
	unsigned seconds = 0, pause_us = 5000;
	bool hold = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case 's': seconds = n; break;
		case 'n': l.pages = n; break;
		case 'p': pause_us = n; break;
		case 'r': l.seed = n; break;
		case 'h': hold = true; break;
		default: return BENCH_USAGE;
		}
	}
	if (optind + 1 != argc || l.pages < 2 || !l.seed)
		return BENCH_USAGE;
	load_open(&l, argv[optind]);
	work(&l, seconds, pause_us);
	if (hold) {
		puts("holding");
		fflush(stdout);
		pause();
	}
	front_destroy(l.front);
	free(l.swapped);
	free(l.contents);
	return BENCH_OK;
}

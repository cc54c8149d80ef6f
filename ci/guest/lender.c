/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lender.c - a guest of a tmemd that itself runs in a test guest.
 *
 *   lender SOCKET EPHEMERAL PERSISTENT
 *
 * Owns:    that many pages on the host, and what they must be.
 * How:     fills both kinds and says "lender: full"; then answers a line of its
 *          standard input each with one of its own:
 *            check   every persistent page compared, every ephemeral one that is
 *                    still there:  lender: persistent=N bad=N ephemeral=N
 *            again   puts until one of each kind is taken, 30 s at most, and fills
 *                    what is missing:  lender: again=1 refused=N
 *          There is one queue: what was posted has gone before what is waited for.
 *          Each page has 3 KiB of noise, so it is stored in about that.
 * Must not: keep the pages: they would be what they are to spare.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "front.h"

#define PAGE		4096u
#define NOISE		3072u
#define EPHEMERAL	0u
#define PERSISTENT	1u
#define AGAIN_S		30

static struct front *front;
static uint32_t pages[2];		/* by pool */

static void fill(uint8_t page[PAGE], uint32_t pool, uint32_t n)
{
	uint32_t x = (n * 2 + pool) * 2654435761u + 1;

	memset(page, 0, PAGE);
	for (unsigned i = 0; i < NOISE; i += 4) {
		x = x * 1664525u + 1013904223u;
		memcpy(page + i, &(uint32_t){ x ^ x >> 15 }, 4);
	}
}

static struct front_key key_of(uint32_t pool, uint32_t n)
{
	return (struct front_key){
		.pool = pool, .oid = { tmemp_swap_object(n) }, .index = tmemp_swap_index(n),
	};
}

static int put(uint32_t pool, uint32_t n)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[PAGE];

	fill(page, pool, n);
	return front_put(front_queue_of(front, &key), &key, page, n);
}

/* All ephemeral pages, many at a time as a guest does; how many were refused. */
static uint64_t ephemeral_put(void)
{
	struct front_queue *q = &front->queue[0];
	uint64_t refused = q->refused;
	uint8_t page[PAGE];

	for (uint32_t n = 0; n < pages[EPHEMERAL]; n++) {
		struct front_key key = key_of(EPHEMERAL, n);

		fill(page, EPHEMERAL, n);
		if (front_put_post(q, &key, page, n))
			return pages[EPHEMERAL];
	}
	return front_queue_drain(q) ? pages[EPHEMERAL] : q->refused - refused;
}

/* 0: as it was put; TMEMP_MISS: not there; -EBADMSG: wrong. */
static int get(uint32_t pool, uint32_t n)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[PAGE], want[PAGE];
	uint64_t tag;
	int r = front_get(front_queue_of(front, &key), &key, page, &tag);

	if (r)
		return r;
	fill(want, pool, n);
	return tag == n && !memcmp(page, want, PAGE) ? 0 : -1;
}

static void check(void)
{
	uint32_t right[2] = { 0 }, bad = 0;

	for (uint32_t pool = EPHEMERAL; pool <= PERSISTENT; pool++) {
		for (uint32_t n = 0; n < pages[pool]; n++) {
			int r = get(pool, n);

			right[pool] += r == 0;
			bad += r && (r != TMEMP_MISS || pool == PERSISTENT);
		}
	}
	printf("lender: persistent=%u bad=%u ephemeral=%u\n", right[PERSISTENT], bad, right[EPHEMERAL]);
}

static bool both_taken(void)
{
	return put(EPHEMERAL, 0) == 0 && put(PERSISTENT, pages[PERSISTENT] - 1) == 0;
}

static void again(void)
{
	time_t end = time(NULL) + AGAIN_S;
	uint64_t refused = 0;
	bool good = false;

	while (!good && time(NULL) < end) {
		good = both_taken();
		if (!good)
			usleep(100000);
	}
	if (good)
		refused = ephemeral_put();
	printf("lender: again=%d refused=%llu\n", good, (unsigned long long)refused);
}

static int serve(void)
{
	char line[64];

	puts("lender: full");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "check\n"))
			check();
		else if (!strcmp(line, "again\n"))
			again();
	}
	front_destroy(front);
	return 0;
}

int main(int argc, char **argv)
{
	struct front_config config = FRONT_CONFIG_DEFAULT;
	int err = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: lender SOCKET EPHEMERAL PERSISTENT\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	config.socket = argv[1];
	config.timeout_ms = 120000;
	pages[EPHEMERAL] = (uint32_t)strtoul(argv[2], NULL, 10);
	pages[PERSISTENT] = (uint32_t)strtoul(argv[3], NULL, 10);
	if (front_open(&front, &config) || front_pool_create(front, EPHEMERAL, 0) ||
	    front_pool_create(front, PERSISTENT, TMEMP_POOL_PERSISTENT)) {
		fprintf(stderr, "lender: no tmemd at %s\n", argv[1]);
		return 1;
	}
	for (uint32_t n = 0; n < pages[PERSISTENT] && !err; n++)
		err = put(PERSISTENT, n);
	if (err || ephemeral_put()) {
		fprintf(stderr, "lender: pages were not taken\n");
		return 1;
	}
	return serve();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring_pages.c - pages for tmem-bench ring, the same in every run.
 *
 * Owns:    contents that compress as a guest's do: three of four look like a
 *          heap (LZO to about a quarter), the fourth like text (to a half).
 * Must not: be taken for real pages: density is measured on those alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/ring_pages.h"
#include "tmemp.h"

/*
 * A heap: objects of one size laid end to end, with a type word, pointers into
 * one mapping, small numbers and zeros; some fields differ from object to object.
 */
static void fill_heap(uint64_t *word, uint64_t *seed)
{
	uint64_t base = 0x7f0000000000ull | (bench_random(seed) & 0xffff) << 24;
	unsigned fields = 6 + (unsigned)(bench_random(seed) % 7);
	uint64_t object[12] = { 1, base + (bench_random(seed) & 0xffff0) };

	for (unsigned i = 2; i < fields; i++) {
		uint64_t r = bench_random(seed);

		object[i] = r % 2 ? 0 : r % 3 ? base + (r >> 40 << 4) : (r >> 32) % 1000;
	}
	for (unsigned i = 0; i < TMEMP_PAGE_SIZE / 8; i++) {
		unsigned field = i % fields;
		uint64_t r = bench_random(seed);

		word[i] = object[field];
		if (field == 2 || (field > 2 && r % 8 == 0))
			word[i] = base + (r >> 44 << 4);
	}
}

/* Prose and code: frequent and rare words, numbers, line ends. */
static void fill_text(char *page, uint64_t *seed)
{
	static const char *const words[] = {
		"the", "page", "of", "memory", "and", "a", "request", "that", "host", "guest",
		"is", "to", "in", "kept", "swap", "cache", "index", "object", "pool", "returns",
		"when", "pressure", "it", "not", "by", "0x", "static", "int", "struct", "return",
		"=", "->",
	};
	size_t at = 0;

	while (at < TMEMP_PAGE_SIZE) {
		uint64_t r = bench_random(seed);
		char text[32];
		int n = r % 12 ? snprintf(text, sizeof(text), "%s%c",
					  words[(r >> 8) % (r % 4 ? 12 : 32)],
					  (r >> 16) % 9 ? ' ' : '\n')
			       : snprintf(text, sizeof(text), "%u ", (unsigned)((r >> 8) % 100000));
		size_t len = (size_t)n < TMEMP_PAGE_SIZE - at ? (size_t)n : TMEMP_PAGE_SIZE - at;

		memcpy(page + at, text, len);
		at += len;
	}
}

uint8_t *ring_pages_make(unsigned n)
{
	uint8_t *pages = aligned_alloc(TMEMP_PAGE_SIZE, (size_t)n * TMEMP_PAGE_SIZE);
	uint64_t seed = 20;

	if (!pages)
		bench_die("no memory for %u pages", n);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = pages + (size_t)i * TMEMP_PAGE_SIZE;

		if (i % 4)
			fill_heap((uint64_t *)p, &seed);
		else
			fill_text((char *)p, &seed);
	}
	return pages;
}

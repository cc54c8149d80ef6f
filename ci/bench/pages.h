/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.h - the pages that tmem-bench works on, and raw codecs over them.
 *
 * Owns:    pages from a file or from the running system; keys like those of
 *          guests; each codec's library called without the core between.
 * Must not: call the core.
 */
#ifndef BENCH_PAGES_H
#define BENCH_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_PAGE	4096u
#define BENCH_POOR	3584u	/* pages over this many compressed bytes are left out */

struct bench_pages {
	uint8_t *data;
	uint32_t n;
};

static inline uint8_t *bench_page(const struct bench_pages *p, uint32_t i)
{
	return p->data + (size_t)i * BENCH_PAGE;
}

/* Pages of a file, laid end to end, plain or compressed by zstd. */
void bench_pages_load(struct bench_pages *p, const char *path);

/* At most max pages from the memory of running processes. */
void bench_pages_collect(struct bench_pages *p, uint32_t max);

/* Make n pages that LZO compresses about to a third, each different. */
void bench_pages_make(struct bench_pages *p, uint32_t n);

void bench_pages_free(struct bench_pages *p);

/* One thread's use of a codec's library. */
struct bench_codec;

/* by: enum tmem_codec's number for lzo, lz4, zstd, from bench_codec_number(). */
int bench_codec_number(const char *name);	/* -1: none of that name */
struct bench_codec *bench_codec_open(int number);
void bench_codec_close(struct bench_codec *c);

/* Room that compressing a page may take. */
#define BENCH_COMPRESSED_MAX	(BENCH_PAGE + BENCH_PAGE / 16 + 512)

/* Returns compressed bytes. */
size_t bench_compress(struct bench_codec *c, const uint8_t *page, uint8_t *out);
void bench_decompress(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page);

/*
 * Leave out of p same-filled pages and those over BENCH_POOR, and compress the
 * others end to end.
 */
struct bench_packed {
	uint8_t *data;
	uint32_t *at;		/* n + 1 offsets */
};
void bench_pages_pack(struct bench_pages *p, struct bench_codec *c, struct bench_packed *out);
void bench_packed_free(struct bench_packed *p);

#endif

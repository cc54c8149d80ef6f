/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec.c - the codecs' libraries without the core between: the yardstick.
 *
 * Called as the core calls them: working memory made once, LZ4 at its default
 * acceleration, zstd at level 1, decompressors that check bounds.
 */
#include <lz4.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "bench/bench.h"
#include "bench/pages.h"

struct bench_codec {
	const struct codec_ops *ops;
	void *work;		/* LZO's or LZ4's */
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
};

struct codec_ops {
	const char *name;
	size_t (*compress)(struct bench_codec *c, const uint8_t *page, uint8_t *out);
	bool (*decompress)(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page);
};

static size_t lzo_compress(struct bench_codec *c, const uint8_t *page, uint8_t *out)
{
	lzo_uint n = 0;

	lzo1x_1_compress(page, BENCH_PAGE, out, &n, c->work);
	return n;
}

static bool lzo_decompress(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page)
{
	lzo_uint n = BENCH_PAGE;

	(void)c;
	return lzo1x_decompress_safe(in, len, page, &n, NULL) == LZO_E_OK && n == BENCH_PAGE;
}

static size_t lz4_compress(struct bench_codec *c, const uint8_t *page, uint8_t *out)
{
	return (size_t)LZ4_compress_fast_extState(c->work, (const char *)page, (char *)out,
						  BENCH_PAGE, BENCH_COMPRESSED_MAX, 1);
}

static bool lz4_decompress(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page)
{
	(void)c;
	return LZ4_decompress_safe((const char *)in, (char *)page, (int)len, BENCH_PAGE) ==
	       (int)BENCH_PAGE;
}

static size_t zstd_compress(struct bench_codec *c, const uint8_t *page, uint8_t *out)
{
	return ZSTD_compressCCtx(c->zc, out, BENCH_COMPRESSED_MAX, page, BENCH_PAGE, 1);
}

static bool zstd_decompress(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page)
{
	return ZSTD_decompressDCtx(c->zd, page, BENCH_PAGE, in, len) == BENCH_PAGE;
}

static const struct codec_ops codecs[] = {
	{ .name = "lzo", .compress = lzo_compress, .decompress = lzo_decompress },
	{ .name = "lz4", .compress = lz4_compress, .decompress = lz4_decompress },
	{ .name = "zstd", .compress = zstd_compress, .decompress = zstd_decompress },
};

int bench_codec_number(const char *name)
{
	for (int i = 0; i < (int)(sizeof(codecs) / sizeof(codecs[0])); i++)
		if (strcmp(codecs[i].name, name) == 0)
			return i;
	return -1;
}

struct bench_codec *bench_codec_open(int number)
{
	struct bench_codec *c = calloc(1, sizeof(*c));
	size_t lz4 = (size_t)LZ4_sizeofState(), lzo = LZO1X_1_MEM_COMPRESS;

	if (!c || lzo_init() != LZO_E_OK)
		bench_die("codec");
	c->ops = &codecs[number];
	c->work = malloc(lz4 > lzo ? lz4 : lzo);
	c->zc = ZSTD_createCCtx();
	c->zd = ZSTD_createDCtx();
	if (!c->work || !c->zc || !c->zd)
		bench_die("out of memory");
	return c;
}

void bench_codec_close(struct bench_codec *c)
{
	free(c->work);
	ZSTD_freeCCtx(c->zc);
	ZSTD_freeDCtx(c->zd);
	free(c);
}

size_t bench_compress(struct bench_codec *c, const uint8_t *page, uint8_t *out)
{
	return c->ops->compress(c, page, out);
}

void bench_decompress(struct bench_codec *c, const uint8_t *in, size_t len, uint8_t *page)
{
	if (!c->ops->decompress(c, in, len, page))
		bench_die("%s cannot read what it wrote", c->ops->name);
}

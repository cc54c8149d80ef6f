/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec.c - LZO1X-1, LZ4 and zstd behind one interface.
 *
 * Owns:    the codecs' parameters (constant) and scratch (one set a thread).
 * Must not: decide what is worth compressing (put.c does).
 */
#include "codec.h"

#include <errno.h>
#include <lz4.h>
#include <lzo/lzo1x.h>
#include <zstd.h>

#define ZSTD_LEVEL	1

static size_t lzo_compress(struct tmem_ctx *ctx, const void *page, void *out)
{
	lzo_uint size = TMEM_CODEC_ROOM;

	return lzo1x_1_compress(page, TMEM_PAGE_SIZE, out, &size, ctx->lzo) == LZO_E_OK ? size : 0;
}

static int lzo_decompress(struct tmem_ctx *ctx, const void *in, size_t size, void *page)
{
	lzo_uint done = TMEM_PAGE_SIZE;

	(void)ctx;
	return lzo1x_decompress_safe(in, size, page, &done, NULL) == LZO_E_OK &&
	       done == TMEM_PAGE_SIZE ? 0 : -EBADMSG;
}

static size_t lz4_compress(struct tmem_ctx *ctx, const void *page, void *out)
{
	int size = LZ4_compress_fast_extState(ctx->lz4, page, out, TMEM_PAGE_SIZE, TMEM_CODEC_ROOM, 1);

	return size > 0 ? (size_t)size : 0;
}

static int lz4_decompress(struct tmem_ctx *ctx, const void *in, size_t size, void *page)
{
	(void)ctx;
	return LZ4_decompress_safe(in, page, (int)size, TMEM_PAGE_SIZE) == (int)TMEM_PAGE_SIZE
		       ? 0 : -EBADMSG;
}

static size_t zstd_compress(struct tmem_ctx *ctx, const void *page, void *out)
{
	size_t size = ZSTD_compressCCtx(ctx->zstd_c, out, TMEM_CODEC_ROOM, page, TMEM_PAGE_SIZE,
					ZSTD_LEVEL);

	return ZSTD_isError(size) ? 0 : size;
}

static int zstd_decompress(struct tmem_ctx *ctx, const void *in, size_t size, void *page)
{
	return ZSTD_decompressDCtx(ctx->zstd_d, page, TMEM_PAGE_SIZE, in, size) == TMEM_PAGE_SIZE
		       ? 0 : -EBADMSG;
}

const struct tmem_codec_ops tmem_codecs[TMEM_CODECS] = {
	[TMEM_CODEC_LZO] = {
		.name = "lzo", .compress = lzo_compress, .decompress = lzo_decompress,
	},
	[TMEM_CODEC_LZ4] = {
		.name = "lz4", .compress = lz4_compress, .decompress = lz4_decompress,
	},
	[TMEM_CODEC_ZSTD] = {
		.name = "zstd", .compress = zstd_compress, .decompress = zstd_decompress,
	},
};

int tmem_codec_scratch(struct tmem_ctx *ctx)
{
	struct tmem_heap *h = &ctx->host->scratch;

	ctx->lzo = tmem_alloc(h, LZO1X_1_MEM_COMPRESS);
	ctx->lz4 = tmem_alloc(h, (size_t)LZ4_sizeofState());
	ctx->zstd_c = ZSTD_createCCtx();
	ctx->zstd_d = ZSTD_createDCtx();
	return ctx->lzo && ctx->lz4 && ctx->zstd_c && ctx->zstd_d ? 0 : -ENOMEM;
}

void tmem_codec_scratch_free(struct tmem_ctx *ctx)
{
	struct tmem_heap *h = &ctx->host->scratch;

	tmem_free(h, ctx->lzo);
	tmem_free(h, ctx->lz4);
	ZSTD_freeCCtx(ctx->zstd_c);
	ZSTD_freeDCtx(ctx->zstd_d);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec.h - one interface over the compressors.
 */
#ifndef TMEM_CODEC_H
#define TMEM_CODEC_H

#include "types.h"

/* Room compress() may write to. */
#define TMEM_CODEC_ROOM	(TMEM_PAGE_SIZE + TMEM_PAGE_SIZE / 8 + 128)

struct tmem_codec_ops {
	const char *name;
	/* Bytes written to out, or 0 if the page cannot be compressed. */
	size_t (*compress)(struct tmem_ctx *ctx, const void *page, void *out);
	/* Writes exactly one page; any input is safe.  0 or -EBADMSG. */
	int (*decompress)(struct tmem_ctx *ctx, const void *in, size_t size, void *page);
};

extern const struct tmem_codec_ops tmem_codecs[TMEM_CODECS];

/* Scratch of all codecs.  -ENOMEM. */
int tmem_codec_scratch(struct tmem_ctx *ctx);
void tmem_codec_scratch_free(struct tmem_ctx *ctx);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - one host: its arena, tables and limits; a thread's context.
 *
 * Owns:    the order in which the parts come up and go down, and the limits.
 * Must not: do any of the parts' work.
 */
#include <errno.h>
#include <string.h>

#include "arena.h"
#include "client.h"
#include "codec.h"
#include "dedup.h"
#include "share.h"
#include "rebuild.h"
#include "table.h"

void tmem_lock_init(struct tmem_lock *l)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	/* Holders do some hundred instructions: spin before sleeping. */
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&l->m, &attr);
	pthread_mutexattr_destroy(&attr);
}

static void tables_init(struct tmem *t)
{
	tmem_table_init(t, TMEM_TABLE_CLIENT, sizeof(struct tmem_client_record),
			sizeof(struct tmem_client *));
	tmem_table_init(t, TMEM_TABLE_POOL, sizeof(struct tmem_pool_record),
			sizeof(struct tmem_pool *));
	tmem_table_init(t, TMEM_TABLE_OBJECT, sizeof(struct tmem_object_record),
			sizeof(struct tmem_object));
	tmem_table_init(t, TMEM_TABLE_PERMIT, sizeof(struct tmem_permit_record), sizeof(bool));
}

int tmem_create(struct tmem **out, const struct tmem_config *config)
{
	struct tmem_limits limits;
	struct tmem *t;
	int err;

	if (!out || !config || config->arena_fd < 0 || (unsigned)config->dedup > TMEM_DEDUP_HOST)
		return -EINVAL;
	t = tmem_alloc_aligned(NULL, TMEM_CACHE_LINE, sizeof(*t));
	if (!t)
		return -ENOMEM;
	tmem_lock_init(&t->lock);
	tmem_lock_init(&t->permits);
	t->dedup = config->dedup;
	err = tmem_arena_open(t, config);
	if (err)
		goto fail;
	limits = (struct tmem_limits){
		.target = config->arena_max, .persistent_max = config->arena_max / 4 * 3,
		.accept_ephemeral = true, .accept_persistent = true,
	};
	tmem_limits_set(t, &limits);
	tables_init(t);
	err = tmem_dedup_init(t);
	if (err)
		goto fail;
	if (config->rebuild)
		err = tmem_rebuild(t);
	if (err)
		goto fail;
	*out = t;
	return 0;
fail:
	tmem_destroy(t);
	return err;
}

void tmem_destroy(struct tmem *t)
{
	unsigned id;

	if (!t)
		return;
	tmem_dedup_done(t);
	tmem_pools_done(t);
	tmem_clients_done(t);
	for (id = 0; id < TMEM_TABLES; id++)
		tmem_table_done(t, id);
	tmem_arena_close(t);
	tmem_lock_done(&t->permits);
	tmem_lock_done(&t->lock);
	tmem_free_aligned(NULL, t);
}

int tmem_limits_set(struct tmem *t, const struct tmem_limits *limits)
{
	unsigned shift;

	if (!t || !limits)
		return -EINVAL;
	shift = t->arena.frame_shift;
	tmem_lock(&t->lock);
	t->limits = *limits;
	atomic_store_explicit(&t->target, limits->target >> shift, memory_order_relaxed);
	atomic_store_explicit(&t->persistent_max, limits->persistent_max >> shift,
			      memory_order_relaxed);
	atomic_store_explicit(&t->accept[TMEM_EPHEMERAL], limits->accept_ephemeral,
			      memory_order_relaxed);
	atomic_store_explicit(&t->accept[TMEM_PERSISTENT], limits->accept_persistent,
			      memory_order_relaxed);
	tmem_unlock(&t->lock);
	return 0;
}

void tmem_limits_get(struct tmem *t, struct tmem_limits *limits)
{
	tmem_lock(&t->lock);
	*limits = t->limits;
	tmem_unlock(&t->lock);
}

uint64_t tmem_frame_size(const struct tmem *t)
{
	return tmem_frame_bytes(t);
}

int tmem_lock_error(const struct tmem *t)
{
	return atomic_load_explicit(&t->arena.lock_error, memory_order_relaxed);
}

int tmem_ctx_create(struct tmem *t, struct tmem_ctx **out)
{
	struct tmem_ctx *ctx;
	int err;

	if (!t || !out)
		return -EINVAL;
	ctx = tmem_alloc(&t->scratch, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->host = t;
	ctx->out = tmem_alloc(&t->scratch, TMEM_CODEC_ROOM);
	ctx->copy = tmem_alloc(&t->scratch, TMEM_PAGE_SIZE);
	err = tmem_codec_scratch(ctx);
	if (err || !ctx->out || !ctx->copy) {
		tmem_ctx_destroy(ctx);
		return -ENOMEM;
	}
	*out = ctx;
	return 0;
}

void tmem_ctx_destroy(struct tmem_ctx *ctx)
{
	struct tmem_heap *h;

	if (!ctx)
		return;
	h = &ctx->host->scratch;
	tmem_codec_scratch_free(ctx);
	tmem_free(h, ctx->out);
	tmem_free(h, ctx->copy);
	tmem_free(h, ctx);
}

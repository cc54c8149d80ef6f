/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blocks.c - read, write, patch, drop, move: each under its group's lock.
 */
#include <errno.h>
#include <string.h>

#include "blocks.h"

static pthread_mutex_t *lock_of(struct blocks *b, uint64_t block)
{
	return &b->lock[block / SPILL_GROUP % BLOCKS_LOCKS];
}

static void block_lock(struct blocks *b, uint64_t block)
{
	pthread_mutex_lock(lock_of(b, block));
}

static void block_unlock(struct blocks *b, uint64_t block)
{
	pthread_mutex_unlock(lock_of(b, block));
}

static struct tmem_key key_of(uint64_t block)
{
	return (struct tmem_key){
		.oid = { block / SPILL_GROUP },
		.index = (uint32_t)(block % SPILL_GROUP),
	};
}

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* The file's errors are the only ones that an administrator can do something about. */
static int spill_noted(struct blocks *b, int err)
{
	if (err)
		count(&b->spill_errors);
	return err;
}

/* ---- under the lock --------------------------------------------------------------- */

static int read_locked(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, void *page)
{
	struct tmem_key key = key_of(block);
	uint64_t tag;
	int err = tmem_get(ctx, b->client, BLOCKS_POOL, &key, page, &tag);

	if (!err)
		return 0;
	if (err != -ENOENT)
		return -EIO;
	if (spill_has(&b->spill, block)) {
		count(&b->spill_reads);
		return spill_noted(b, spill_read(&b->spill, block, page));
	}
	if (atomic_load_explicit(&b->lost, memory_order_relaxed))
		return -EIO;
	memset(page, 0, BLOCKS_BYTES);
	return 0;
}

/* The arena did not take it. */
static int spill_locked(struct blocks *b, uint64_t block, const void *page)
{
	struct tmem_key key = key_of(block);
	int err;

	count(&b->refused);
	if (b->spill.fd < 0)
		return -ENOSPC;
	count(&b->spill_writes);
	err = spill_noted(b, spill_write(&b->spill, block, page));
	if (err)
		return err;
	tmem_flush_page(b->client, BLOCKS_POOL, &key);
	b->spilled(b->spilled_arg);
	return 0;
}

static int write_locked(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, const void *page)
{
	struct tmem_key key = key_of(block);

	if (tmem_offer(ctx, b->client, BLOCKS_POOL, &key, page, 0))
		return spill_locked(b, block, page);
	/* Should there be no hole, the older copy is still the one that loses. */
	spill_noted(b, spill_drop(&b->spill, block, 1));
	return 0;
}

/* Blocks of one group. */
static int drop_locked(struct blocks *b, uint64_t first, uint64_t n)
{
	int err = spill_noted(b, spill_drop(&b->spill, first, n));

	if (err)
		return err;
	if (n == SPILL_GROUP)
		return tmem_flush_object(b->client, BLOCKS_POOL, key_of(first).oid, NULL);
	for (; n && !err; first++, n--) {
		struct tmem_key key = key_of(first);

		err = tmem_flush_page(b->client, BLOCKS_POOL, &key);
		err = err < 0 ? err : 0;
	}
	return err;
}

static int move_locked(struct blocks *b, struct tmem_ctx *ctx, uint64_t block)
{
	struct tmem_key key = key_of(block);
	uint8_t page[BLOCKS_BYTES];
	uint64_t tag;
	int err;

	if (!spill_has(&b->spill, block))
		return 0;
	err = tmem_get(ctx, b->client, BLOCKS_POOL, &key, page, &tag);
	/* There is a newer one, or was: the spill's is not to take its place. */
	if (!err || err == -EBADMSG)
		return spill_noted(b, spill_drop(&b->spill, block, 1));
	if (err != -ENOENT)
		return err;
	err = spill_noted(b, spill_read(&b->spill, block, page));
	if (!err)
		err = tmem_offer(ctx, b->client, BLOCKS_POOL, &key, page, 0);
	if (err)
		return err;
	count(&b->moved);
	return spill_noted(b, spill_drop(&b->spill, block, 1));
}

/* ---- the calls --------------------------------------------------------------------- */

int blocks_read(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, void *page)
{
	int err;

	block_lock(b, block);
	err = read_locked(b, ctx, block, page);
	block_unlock(b, block);
	return err;
}

int blocks_write(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, const void *page)
{
	int err;

	block_lock(b, block);
	err = write_locked(b, ctx, block, page);
	block_unlock(b, block);
	return err;
}

int blocks_patch(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, unsigned off,
		 unsigned len, const void *data)
{
	uint8_t page[BLOCKS_BYTES];
	int err;

	block_lock(b, block);
	err = read_locked(b, ctx, block, page);
	if (!err) {
		if (data)
			memcpy(page + off, data, len);
		else
			memset(page + off, 0, len);
		err = write_locked(b, ctx, block, page);
	}
	block_unlock(b, block);
	return err;
}

int blocks_drop(struct blocks *b, uint64_t first, uint64_t n)
{
	int err = 0;

	while (n && !err) {
		uint64_t left = SPILL_GROUP - first % SPILL_GROUP;
		uint64_t now = n < left ? n : left;

		block_lock(b, first);
		err = drop_locked(b, first, now);
		block_unlock(b, first);
		first += now;
		n -= now;
	}
	return err;
}

int blocks_move(struct blocks *b, struct tmem_ctx *ctx, uint64_t block)
{
	int err;

	block_lock(b, block);
	err = move_locked(b, ctx, block);
	block_unlock(b, block);
	return err;
}

int blocks_forget(struct blocks *b)
{
	const struct tmem_pool_spec spec = { .kind = TMEM_PERSISTENT };
	int err = tmem_pool_destroy(b->client, BLOCKS_POOL, NULL);

	if (!err)
		err = spill_noted(b, spill_empty(&b->spill));
	return err ? err : tmem_pool_create(b->client, BLOCKS_POOL, &spec);
}

uint64_t blocks_in_memory(struct blocks *b)
{
	struct tmem_pool_info info;

	return tmem_pool_info(b->client, BLOCKS_POOL, &info) ? 0 : info.count.pages;
}

void blocks_init(struct blocks *b, struct tmem_client *client, uint64_t n)
{
	memset(b, 0, sizeof(*b));
	b->client = client;
	b->count = n;
	b->spill.fd = -1;
	for (unsigned i = 0; i < BLOCKS_LOCKS; i++)
		pthread_mutex_init(&b->lock[i], NULL);
}

void blocks_fini(struct blocks *b)
{
	for (unsigned i = 0; i < BLOCKS_LOCKS; i++)
		pthread_mutex_destroy(&b->lock[i]);
	spill_close(&b->spill);
}

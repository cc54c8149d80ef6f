/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blocks.h - where a disk's blocks are: in the arena, in the spill, or nowhere.
 *
 * Owns:    the order of every step between the two, and the locks that make a
 *          block's reading and writing one step.
 * How:     a block is a page of a pool that the host owns in the guest's client
 *          (TMEM_MAX_POOLS): object = block / SPILL_GROUP.  What quota or pressure
 *          refuse goes to the spill.  The arena wins over the spill, and a process
 *          may die between any two steps:
 *
 *            taken      commit in the arena, then the hole in the spill
 *            refused    the spill's copy, then the arena's older one goes
 *            dropped    the hole in the spill, then the arena's copy goes
 *
 *          so at any moment what is found is the last block acknowledged or the
 *          one being written, and never an older one.
 * Must not: know requests, sockets or threads.
 *
 * Lock order: a queue's lock < a group's lock here < the core's.  One thread holds
 * one group's lock at a time; file I/O is done under it, so a caller must be one
 * that may wait.
 */
#ifndef HV_BLOCKS_H
#define HV_BLOCKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "spill.h"
#include "tmem.h"

#define BLOCKS_BYTES	TMEM_PAGE_SIZE		/* of one block */
#define BLOCKS_POOL	TMEM_MAX_POOLS		/* the host's own in the guest's client */
#define BLOCKS_LOCKS	64u

struct blocks {
	struct tmem_client *client;
	uint64_t count;
	struct spill spill;		/* fd -1: what is refused is an error */
	_Atomic bool lost;		/* what is nowhere is not known to be zeroes */
	void (*spilled)(void *arg);	/* the spill holds something now; any thread */
	void *spilled_arg;
	_Atomic uint64_t refused;	/* writes that the arena did not take */
	_Atomic uint64_t moved;		/* blocks that came back to it */
	_Atomic uint64_t spill_reads, spill_writes, spill_errors;
	pthread_mutex_t lock[BLOCKS_LOCKS];
};

/* spill.fd and what follows lost are the caller's to set; all else is. */
void blocks_init(struct blocks *b, struct tmem_client *client, uint64_t count);
void blocks_fini(struct blocks *b);

/*
 * Page of a block.  A block that was never written, or dropped, is zeroes.
 * -EIO: it cannot be returned as it was written.
 */
int  blocks_read(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, void *page);

/* On error what the block held before it still holds.  -ENOSPC and what the file says. */
int  blocks_write(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, const void *page);

/* Write len bytes at off of the block, data NULL for zeroes; the rest stays. */
int  blocks_patch(struct blocks *b, struct tmem_ctx *ctx, uint64_t block, unsigned off,
		  unsigned len, const void *data);

/* Blocks become zeroes that nothing is kept for. */
int  blocks_drop(struct blocks *b, uint64_t first, uint64_t count);

/*
 * Bring a block that the spill holds back into memory.  0: done, or it is not
 * there any more; -errno of the refusal, or of the file.
 */
int  blocks_move(struct blocks *b, struct tmem_ctx *ctx, uint64_t block);

/* Drop everything; nobody else is in a call. */
int  blocks_forget(struct blocks *b);

/* Pages in the arena. */
uint64_t blocks_in_memory(struct blocks *b);

#endif

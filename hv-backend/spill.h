/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spill.h - the file of a disk's blocks that memory did not take.
 *
 * Owns:    the file, its lock against other users, and which blocks it holds.
 * How:     block n stands at byte n * SPILL_BLOCK of a sparse file; a block that
 *          the file does not hold is a hole.  One bit a block says which; after a
 *          restart the bits are made anew from the file's holes.  Behind the last
 *          block a record says whose file it is, so that a file named by mistake
 *          is never written to.
 * Must not: be asked about a block by two threads at once: the caller's lock of
 *          SPILL_GROUP blocks (blocks.h) protects their bits and their bytes.
 *
 *   held == set bits
 *   a bit that is not set  implies  a hole, or zeroes
 *
 * A set bit does not promise that the block is the newest: a hole that could not be
 * made leaves one behind, and the arena wins over the spill.
 */
#ifndef HV_SPILL_H
#define HV_SPILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SPILL_BLOCK	4096u		/* bytes */
#define SPILL_GROUP	1024u		/* blocks under one lock: whole words of the map */

struct spill {
	int fd;				/* -1: there is none */
	uint64_t blocks;
	_Atomic uint64_t *map;		/* a bit a block; relaxed, its group's lock orders it */
	_Atomic uint64_t held;
};

/*
 * Open the file of owner's disk of that many blocks, or make it; held is what it
 * holds.  One of owner's disk of another size is made anew.
 * Errors: -EPROTO it is something else, or another owner's, and left as it is;
 * -EBUSY in use; -EOPNOTSUPP its file system makes no holes; -ENOMEM; or what the
 * system said.
 */
int  spill_open(struct spill *s, const char *path, const char *owner, uint64_t blocks);
void spill_close(struct spill *s);

/* Any thread, any time: a block may have come or gone since. */
bool spill_has(const struct spill *s, uint64_t block);

/* The first held block from there on, or s->blocks.  Likewise. */
uint64_t spill_next(const struct spill *s, uint64_t from);

int  spill_read(const struct spill *s, uint64_t block, void *page);

/* On error the file does not hold a block that it did not hold before. */
int  spill_write(struct spill *s, uint64_t block, const void *page);

/* Make holes of count blocks, which are in one group. */
int  spill_drop(struct spill *s, uint64_t first, uint64_t count);

/* Make a hole of all.  Nobody else uses it. */
int  spill_empty(struct spill *s);

#endif

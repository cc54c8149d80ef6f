/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.h - requests of virtio's block device, served from a disk's blocks.
 *
 * Owns:    the device's configuration space and features, and what each request
 *          means; the status that a request ends with.
 * How:     blk_serve() takes one chain: header out of the readable bytes, wherever
 *          the driver has cut them; the data piece by piece through a block of
 *          private memory; the status into the last writable byte.  A piece that
 *          is no whole block is read, changed and written in one step (blocks.h).
 * Must not: believe an address, a length or a sector of the driver.  Whatever it
 *          asks for ends in a status, or in used.len 0 where there is no place for
 *          one.
 *
 * Sectors are of BLK_SECTOR bytes, as virtio has them whatever block size the
 * driver is told.  A write is as safe when it is answered as it gets: it survives
 * this process where the arena does, and not the host.  So FLUSH has nothing to do.
 */
#ifndef HV_BLK_H
#define HV_BLK_H

#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include <stdint.h>

#include "blocks.h"
#include "queue.h"

#define BLK_SECTOR		512u
#define BLK_SEGMENTS		126u		/* that a driver is told: with header and status 128 */
#define BLK_RANGES		16u		/* of one discard or write-zeroes */
#define BLK_RANGE_SECTORS	(1u << 21)	/* of each: 1 GiB */
#define BLK_REQUEST_BYTES	(1u << 28)	/* of data of a request; no driver sends as much */

struct blk {
	struct blocks *blocks;
	uint64_t sectors;
	char id[VIRTIO_BLK_ID_BYTES];	/* what GET_ID answers, padded with NUL */
	struct virtio_blk_config config;	/* as the driver reads it */
	_Atomic uint64_t reads, writes, flushes, drops;	/* requests that came, by type */
	_Atomic uint64_t errors;	/* requests answered with an error */
};

/*
 * A device over all of blocks, with that many queues; block is 512 or 4096: the
 * unit that the driver is told.
 */
void blk_init(struct blk *d, struct blocks *blocks, const char *id, unsigned queues,
	      unsigned block);

/* Its virtio feature bits, beside those of a ring. */
uint64_t blk_features(void);

/* Its arg is the struct blk.  Never a barrier. */
extern const struct queue_service blk_service;

#endif

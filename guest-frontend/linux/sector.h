/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sector.h - where each page of a swap device is.  A sector here is one page.
 */
#ifndef TMEM_SECTOR_H
#define TMEM_SECTOR_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "tmemp.h"

struct bio;
struct page;
struct tmem_queue;

#define TMEM_SECTOR_NONE	U64_MAX
#define TMEM_SECTOR_OBJECTS	(1u << TMEMP_SWAP_OBJECTS_SHIFT)

/* How what was under way ended.  Any context, no lock held. */
struct tmem_sector_ops {
	/* taken: the host has the page; else it belongs on the disk. */
	void (*put_end)(struct bio *bio, bool taken);

	/* 0: bio is filled; -EIO; -EAGAIN: get it again, where one may sleep. */
	void (*get_end)(struct bio *bio, int err);
};

/*
 * For every sector:
 *
 *   held        =>  the host has the sector's page, put with its generation as
 *                   tag; any other answer to a get is an I/O error
 *   !held       =>  the truth is on the disk (or nowhere, if never written)
 *   owed        =>  not held; the host may have a page that nobody needs, and no
 *                   flush for it is queued
 *   !held && !owed && object.putting = 0
 *               =>  the host has no page of the sector, or one that a request in
 *                   the ring removes, or it failed to flush it when asked
 *
 *   closed      =>  no put is begun
 *   moving      =   the sector whose page is on its way from the host to the disk,
 *                   or TMEM_SECTOR_NONE
 *
 *   nr_held = sectors that are held
 *   object.putting = puts of the object's sectors begun and not ended
 *
 * A sector's bits and generation are protected by its object's lock; closed is set
 * with each of these locks held once since; moving changes under its sector's.
 */
struct tmem_sectors {
	const struct tmem_sector_ops *ops;	/* constant, as the next */
	u64			count;		/* at most 2^32: a tag has a sector's number */
	u32			*generation;	/* one a sector: its newest write or free */
	unsigned long		*held;		/* one bit a sector */
	unsigned long		*owed;		/* one bit a sector */
	atomic_long_t		nr_held;
	struct workqueue_struct	*workers;
	struct delayed_work	drain;		/* sends owed flushes */
	bool			closed;
	u64			moving;
	wait_queue_head_t	settled;	/* waits for moving, or for putting to be 0 */
	struct tmem_sector_object {
		spinlock_t	lock;
		unsigned int	putting;
	} ____cacheline_aligned_in_smp objects[TMEM_SECTOR_OBJECTS];
};

/* -ENOMEM; -EFBIG: more sectors than there are tags. */
int  tmem_sectors_init(struct tmem_sectors *s, u64 count, const struct tmem_sector_ops *ops);

/* No caller is left, and nothing under way.  What the host still holds stays there. */
void tmem_sectors_exit(struct tmem_sectors *s);

/*
 * Offer a sector's new page, the whole of bio, to the host; offer false: do not
 * even ask.  The queue to attend to (slot.h): it is under way and put_end will be
 * called.  NULL: the page belongs on the disk.  Wherever it belongs there, reads of
 * the sector go there from then on.  Sleeps; allocates nothing.
 */
struct tmem_queue *tmem_sector_put(struct tmem_sectors *s, u64 sector, struct bio *bio,
				   bool offer);

/*
 * Fill bio from the host.  0: it is under way, get_end will be called, and *q is the
 * queue to attend to.  -ENOENT: the page is on the disk; -EIO.  Sleeps.
 */
int  tmem_sector_get(struct tmem_sectors *s, u64 sector, struct bio *bio, struct tmem_queue **q);

/*
 * The same with a page, and waited for.  Put: 0: the host has it; -EAGAIN: it was not
 * offered, -ENOSPC: not taken; then the sector is not held, as if it had been freed.
 * Get: 0; -ENOENT: it is not held; -EAGAIN: it is and was not to be had, which
 * tmem_sector_get is to deal with.  Sleep; allocate nothing.
 */
int  tmem_sector_put_page(struct tmem_sectors *s, u64 sector, struct page *page, bool offer);
int  tmem_sector_get_page(struct tmem_sectors *s, u64 sector, struct page *page);

/* The sector's content is needed no longer.  Any context. */
void tmem_sector_free(struct tmem_sectors *s, u64 sector);

/* Nor is that of any from first on; nothing is put meanwhile.  Sleeps. */
void tmem_sectors_free(struct tmem_sectors *s, u64 first);

/* Begin no put from here on, or begin them again. */
void tmem_sectors_close(struct tmem_sectors *s);
void tmem_sectors_open(struct tmem_sectors *s);

/*
 * Move what the host holds to the disk, sector by sector, while the device is in
 * use; the sectors are closed.  0: the host holds nothing any more; else what
 * write said, or -EIO: the host did not give a page back.  One caller at a time.
 */
int  tmem_sectors_move(struct tmem_sectors *s,
		       int (*write)(void *arg, u64 sector, void *page), void *arg);

#endif

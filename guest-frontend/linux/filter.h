/* SPDX-License-Identifier: GPL-2.0 */
/*
 * filter.h - tell pages that are read once from those that come back.
 */
#ifndef TMEM_FILTER_H
#define TMEM_FILTER_H

#include <linux/atomic.h>
#include <linux/workqueue.h>

/*
 * Two bitmaps of hashes, the recent one and the one before it:
 *
 *   remembered = bits set in recent; once it is limit, they turn soon
 *   a hash that was dropped in the last limit drops, or a little more, is in one of them
 */
struct tmem_filter {
	unsigned long	*map[2];	/* 1 << bits bits each */
	unsigned int	bits;
	unsigned int	recent;		/* which of the two */
	unsigned int	limit;		/* hashes */
	atomic_t	remembered;
	struct work_struct turn;
};

/* Remember at least count drops.  -ENOMEM. */
int  tmem_filter_init(struct tmem_filter *f, unsigned long count);
void tmem_filter_exit(struct tmem_filter *f);

/* Note that the page of that hash is dropped; whether it was not long ago already.  Any context. */
bool tmem_filter_again(struct tmem_filter *f, u64 hash);

#endif

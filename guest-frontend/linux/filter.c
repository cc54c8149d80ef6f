// SPDX-License-Identifier: GPL-2.0
/*
 * filter.c - which pages were dropped not long ago.
 *
 * Owns:     two bitmaps, a Bloom filter of one hash each.
 * How:      a page that is dropped is looked for in both and set in the recent one.  When
 *           the recent one has as many as it can tell apart, it becomes the old one, and
 *           the old one, cleared, the recent.  A page read once is seen once and stays
 *           out of the host; one that comes back within the filter's memory is put.
 *           Races lose or add a bit, and cost or give one page a place in the host.
 * Must not: be relied on for what is true.
 */
#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "filter.h"

#define LOAD_SHIFT	3u	/* one bit in eight is set at most: as many false answers */

/* Not where a page is dropped: that has interrupts off, and this takes a while. */
static void filter_turn(struct work_struct *work)
{
	struct tmem_filter *f = container_of(work, struct tmem_filter, turn);
	unsigned int old = !READ_ONCE(f->recent);

	bitmap_zero(f->map[old], 1u << f->bits);
	atomic_set(&f->remembered, 0);
	WRITE_ONCE(f->recent, old);
}

bool tmem_filter_again(struct tmem_filter *f, u64 hash)
{
	unsigned long bit = hash >> (64 - f->bits);
	unsigned int recent = READ_ONCE(f->recent);
	bool seen = test_bit(bit, f->map[!recent]);

	if (test_and_set_bit(bit, f->map[recent]))
		return true;
	if (atomic_inc_return(&f->remembered) >= f->limit)
		schedule_work(&f->turn);
	return seen;
}

int tmem_filter_init(struct tmem_filter *f, unsigned long count)
{
	f->bits = order_base_2(max(count, 1024ul)) + LOAD_SHIFT;
	f->limit = 1u << (f->bits - LOAD_SHIFT);
	f->recent = 0;
	atomic_set(&f->remembered, 0);
	INIT_WORK(&f->turn, filter_turn);
	f->map[0] = vzalloc(BITS_TO_LONGS(1ul << f->bits) * sizeof(long));
	f->map[1] = vzalloc(BITS_TO_LONGS(1ul << f->bits) * sizeof(long));
	if (f->map[0] && f->map[1])
		return 0;
	tmem_filter_exit(f);
	return -ENOMEM;
}

void tmem_filter_exit(struct tmem_filter *f)
{
	if (f->map[1])
		cancel_work_sync(&f->turn);
	vfree(f->map[0]);
	vfree(f->map[1]);
	f->map[0] = NULL;
	f->map[1] = NULL;
}

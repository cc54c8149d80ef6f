/* SPDX-License-Identifier: GPL-2.0 */
/*
 * swap.h - the stacked swap device, /dev/tmemswap0.
 */
#ifndef TMEM_SWAP_H
#define TMEM_SWAP_H

#include <linux/types.h>

struct gendisk;
struct page;

/*
 * Create the device the module's parameters ask for; none: 0.  -EINVAL: they
 * contradict each other; or what opening the backing disk said.
 */
int  tmem_swap_init(void);

/* Remove it.  Nobody has it open: that would hold the module. */
void tmem_swap_exit(void);

/* Pages that only the host has. */
long tmem_swap_held(void);

/* Whether new pages are offered to the host; what it has stays there either way. */
bool tmem_swap_offers(void);
void tmem_swap_offer(bool offer);

/* The device; NULL: there is none. */
struct gendisk *tmem_swap_disk(void);

/*
 * The swap area on the device begins, or ended: what the device has is needed no
 * longer.  From then on its pages are offered by page first (true), or by bio.  Nobody
 * writes meanwhile.  Sleeps.
 */
void tmem_swap_by_page(bool by_page);

/*
 * 0: the host has the page.  Else it must be written to the device; until then nothing
 * older is found there.  Sleeps, bounded.
 */
int  tmem_swap_put_page(u64 sector, struct page *page);

/*
 * 0: page is filled.  Else it must be read from the device, which knows what became of
 * it and fails where it is lost.  Sleeps, bounded.
 */
int  tmem_swap_get_page(u64 sector, struct page *page);

/* Any context. */
void tmem_swap_free_page(u64 sector);

/*
 * Offer no more pages to the host and take back all it holds, while the device is
 * in use.  0: it holds nothing; -ENOSPC: there is no backing disk; -EIO, or what
 * the disk said.  On an error pages are offered as before.  Sleeps, for long.
 */
int  tmem_swap_drain(void);

/* Offer pages again. */
void tmem_swap_resume(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evict.h - the oldest frame of a store emptied; what evict.c and store.c share.
 */
#ifndef TMEM_EVICT_H
#define TMEM_EVICT_H

#include "index.h"
#include "store.h"

void tmem_bin_add_locked(struct tmem_store *s, uint32_t frame);
void tmem_bin_remove_locked(struct tmem_store *s, uint32_t frame);
void tmem_age_add_locked(struct tmem_store *s, uint32_t frame);
void tmem_age_remove_locked(struct tmem_store *s, uint32_t frame);

/*
 * Take the frame out of its lists and pin it: it is found by no put, and stays
 * while its pages are visited.  Returns the length of its directory.
 */
unsigned tmem_frame_detach_locked(struct tmem_store *s, uint32_t frame);

/*
 * What to do with a page, its stripe held.  True: the page is out of its slot,
 * which is killed and reserved.
 */
typedef bool (*tmem_page_fn)(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e,
			     void *arg);

/* Hand the page in a slot, if one lives there, to fn; fn's answer. */
bool tmem_page_visit(struct tmem *t, tmem_handle h, tmem_page_fn fn, void *arg);

/*
 * Visit all pages of a detached frame; *pages: those that went.  True: the frame
 * is empty and the caller's, charged to nobody but still counted as used.
 * False: it is back in its lists.
 */
bool tmem_frame_empty(struct tmem_store *s, uint32_t frame, unsigned slots, tmem_page_fn fn,
		      uint64_t *pages);

/* The slot is reserved, its frame about to be empty: only count. */
void tmem_slot_forget_locked(struct tmem_store *s, tmem_handle h);

/* The slot is reserved: free it; the frame's bin is the caller's care. */
void tmem_slot_free_locked(struct tmem_store *s, tmem_handle h);

#endif

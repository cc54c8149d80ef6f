/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evict.h - the oldest frame of a store emptied; what evict.c and store.c share.
 */
#ifndef TMEM_EVICT_H
#define TMEM_EVICT_H

#include "store.h"

void tmem_bin_add_locked(struct tmem_store *s, uint32_t frame);
void tmem_bin_remove_locked(struct tmem_store *s, uint32_t frame);
void tmem_age_add_locked(struct tmem_store *s, uint32_t frame);
void tmem_age_remove_locked(struct tmem_store *s, uint32_t frame);

/* The slot is reserved: free it; the frame's bin is the caller's care. */
void tmem_slot_free_locked(struct tmem_store *s, tmem_handle h);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ghost.h - keys that were lately taken out of an ephemeral store.
 */
#ifndef TMEM_GHOST_H
#define TMEM_GHOST_H

#include "types.h"

/* The store's lock is held.  mark: a hash of the key; 0 is never remembered. */
void tmem_ghost_add_locked(struct tmem_store *s, uint32_t mark);
bool tmem_ghost_has_locked(const struct tmem_store *s, uint32_t mark);

/* Fetch what the two above will look at; no lock. */
void tmem_ghost_prefetch(const struct tmem_store *s, uint32_t mark);

/* Room for about half as many keys as the store holds pages. */
void tmem_ghost_fit_locked(struct tmem_store *s);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - frames of one client and kind: where a page goes, what is evicted.
 */
#ifndef TMEM_STORE_H
#define TMEM_STORE_H

#include "frame.h"

void tmem_store_init(struct tmem_store *s, struct tmem_client *c, enum tmem_kind kind);
/* The longest data a frame can hold, at most a page. */
uint32_t tmem_store_max(const struct tmem *t);

void tmem_store_done(struct tmem_store *s);

/*
 * Reserve room for size bytes (1 to TMEM_PAGE_SIZE) charged to c.  mark: the
 * key's ghost mark.  The slot is reserved: its index holds the extent.
 * -EDQUOT, -ENOSPC, -E2BIG (no frame can hold it).  May evict: no stripe held.
 */
int tmem_store_alloc(struct tmem_client *c, enum tmem_kind kind, uint32_t size, uint32_t mark,
		     tmem_handle *h);

/*
 * Reserve room for size bytes in a frame there is; no frame is taken and none
 * evicted, so stripes may be held.  0: no hole is large enough.
 */
tmem_handle tmem_store_hole(struct tmem_store *s, uint32_t size);

/*
 * Free a reserved slot, whoever's it is; data that others share stays with one
 * of them.  mark: of a key that was taken out and may come back, or 0.  No
 * stripe is held.
 */
void tmem_store_free(struct tmem *t, tmem_handle h, uint32_t mark);

/* The same for a slot whose data nobody shares; stripes may be held. */
void tmem_store_free_slot(struct tmem *t, tmem_handle h, uint32_t mark);

#define TMEM_EVICT_MAX	8u

/*
 * Empty up to want of the client's oldest ephemeral frames, at most TMEM_EVICT_MAX.
 * Returns how many, in frames: they are the caller's, no longer charged to the client
 * but still counted as used.  0: there is none, or those found are busy.
 */
unsigned tmem_store_evict(struct tmem_client *c, unsigned want, uint32_t *frames, uint64_t *pages);

/* Are more of its chunks free than compaction should leave? */
bool tmem_store_loose_locked(const struct tmem_store *s);

/* Compact the client's persistent store by a step, if it is time. */
void tmem_store_tidy(struct tmem_client *c);

/* Rebuild: a recovered frame comes into the client's store. */
void tmem_store_adopt(struct tmem_client *c, enum tmem_kind kind, uint32_t frame);

/* The client a frame of a store belongs to. */
struct tmem_client *tmem_frame_client(struct tmem *t, uint32_t frame);

#endif

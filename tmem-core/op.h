/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * op.h - what put, get, flush and eviction share.
 */
#ifndef TMEM_OP_H
#define TMEM_OP_H

#include "index.h"
#include "page.h"

/* The pool an operation is for: 0, -EINVAL, -ESHUTDOWN or -ENXIO. */
int tmem_op_begin(struct tmem_client *c, unsigned id, struct tmem_pool **pool);

/*
 * Lock w's stripe and check that the pool still is the client's: false (and
 * unlocked) if it was destroyed meanwhile.
 */
bool tmem_op_lock(struct tmem_client *c, unsigned id, const struct tmem_where *w);

static inline enum tmem_kind tmem_where_kind(const struct tmem_where *w)
{
	return w->flags & TMEM_POOL_PERSISTENT ? TMEM_PERSISTENT : TMEM_EPHEMERAL;
}

/* A page came to or went from the stripe's pool. */
void tmem_count_add_locked(struct tmem *t, struct tmem_stripe *s, const struct tmem_page *p);
void tmem_count_remove_locked(struct tmem *t, struct tmem_counters *n, const struct tmem_page *p);

/* Find w's page: false if there is none. */
bool tmem_op_find_locked(const struct tmem_where *w, struct tmem_entry *e);

/*
 * Count n more of something an operation did.  A shared pool counts for all its
 * members; what each of them did is counted with the client as well.
 */
static inline void tmem_count_locked(struct tmem_client *c, const struct tmem_where *w,
				     size_t field, uint64_t n)
{
	*(uint64_t *)((char *)&w->stripe->count + field) += n;
	if (w->flags & TMEM_POOL_SHARED)
		atomic_fetch_add_explicit(&c->shared[field / sizeof(uint64_t)], n,
					  memory_order_relaxed);
}

#define TMEM_COUNT(c, w, field, n) \
	tmem_count_locked(c, w, offsetof(struct tmem_counters, field), n)

/*
 * Take a page out of index and counters and kill it; an object without pages
 * goes too.  The slot stays reserved: tmem_store_free() it without the lock.
 */
void tmem_op_unlink_locked(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e);

/*
 * Drop every page in a shared pool that lies in the client's frames, by the
 * index alone: also those whose damaged slots do not say whose they are.
 */
void tmem_op_sweep_shared(struct tmem_client *c);

/* Drop what a live pool holds; returns pages dropped. */
uint64_t tmem_op_flush_pool(struct tmem_pool *p);

/* Free all that is left of d; *pages (may be NULL) receives how many it was of. */
void tmem_drop_all(struct tmem_drop *d, uint64_t *pages);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index.h - from a key to a page: a pool's objects by id, an object's pages by index.
 */
#ifndef TMEM_INDEX_H
#define TMEM_INDEX_H

#include "frame.h"

/* Where a key lives.  Computed once, without locks. */
struct tmem_where {
	struct tmem_pool *pool;
	struct tmem_stripe *stripe;
	const uint64_t *oid;
	uint32_t flags;			/* the pool's */
	uint32_t index;
	uint32_t hash;			/* of the object id */
	uint32_t mark;			/* of the whole key, for ghosts */
};

void tmem_where(struct tmem_pool *p, const uint64_t oid[3], uint32_t index, struct tmem_where *w);

/* All below: the stripe's lock is held. */

/* Number of the object, or 0. */
uint32_t tmem_object_find_locked(const struct tmem_where *w);

/*
 * Number of a new object with no pages.  -EAGAIN: tmem_table_grow() objects
 * without the lock, then look again; -ENOMEM.
 */
int tmem_object_create_locked(const struct tmem_where *w, uint32_t *number);

/* Rebuild: the object whose record has that number comes back.  -ENOMEM. */
int tmem_object_adopt_locked(const struct tmem_where *w, uint32_t number);

/* Take the object out of the pool; its pages and number are the caller's. */
void tmem_object_detach_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number,
			       uint32_t hash);

/* Detach an object without pages and free its number. */
void tmem_object_drop_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number);

static inline struct tmem_object *tmem_object(struct tmem *t, uint32_t number);

/* A page of an object: where its entry is, and the frame and slot it names. */
struct tmem_entry {
	struct tmem_object *object;
	uint32_t number;		/* of the object */
	uint32_t at;
	tmem_handle handle;
};

/* False: no such page.  True also for a page whose slot is damaged. */
bool tmem_page_find_locked(struct tmem *t, uint32_t number, uint32_t index, struct tmem_entry *e);

/* Find the entry of that object, o, by what it names. */
bool tmem_page_find_handle_locked(struct tmem *t, struct tmem_object *o, uint32_t number,
				  uint32_t index, tmem_handle h, struct tmem_entry *e);

/* Make room for one more entry.  -ENOMEM. */
int tmem_page_prepare_locked(struct tmem *t, struct tmem_object *o);

/* Room was prepared. */
void tmem_page_insert_locked(struct tmem *t, struct tmem_object *o, uint32_t index, tmem_handle h);
void tmem_page_replace_locked(struct tmem_entry *e, tmem_handle h);
void tmem_page_remove_locked(struct tmem *t, struct tmem_entry *e);

/* Each entry of an object: start with *at = 0; 0 at the end. */
tmem_handle tmem_page_each(struct tmem_object *o, uint32_t *at, uint32_t *tag);

/*
 * Each object of a stripe, by places of its table from *at (0) to before end; 0: there
 * is none any more.  What is removed may bring another one to its place, *at - 1.
 */
uint32_t tmem_object_each(const struct tmem_stripe *s, uint32_t *at, uint32_t end,
			  uint32_t *hash);

/* Places there are; free them all. */
uint32_t tmem_objects_span(const struct tmem_stripe *s);
void tmem_objects_free(struct tmem *t, struct tmem_stripe *s);

/* Free the entries of an object that was detached. */
void tmem_pages_free(struct tmem *t, struct tmem_object *o);

/* Hash of an object id in the pool, as in tmem_where. */
uint32_t tmem_oid_hash(const struct tmem_pool *p, const uint64_t oid[3]);
static inline struct tmem_stripe *tmem_stripe_of(struct tmem_pool *p, uint32_t hash)
{
	return &p->stripe[hash % TMEM_STRIPES];
}

#include "table.h"

static inline struct tmem_object *tmem_object(struct tmem *t, uint32_t number)
{
	return tmem_companion(t, TMEM_TABLE_OBJECT, number);
}

static inline struct tmem_pool *tmem_pool_at(struct tmem *t, uint32_t number)
{
	_Atomic(struct tmem_pool *) *p = tmem_companion(t, TMEM_TABLE_POOL, number);

	return p ? atomic_load_explicit(p, memory_order_acquire) : NULL;
}

#endif

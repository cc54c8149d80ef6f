/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.h - numbered records in the arena with companions in the heap.
 */
#ifndef TMEM_TABLE_H
#define TMEM_TABLE_H

#include "types.h"

/* record and heap: bytes of a record (a power of two) and of its companion. */
void tmem_table_init(struct tmem *t, enum tmem_table_id id, unsigned record, unsigned heap);
void tmem_table_done(struct tmem *t, enum tmem_table_id id);

/*
 * Number of a record with state 0 and its companion as last left (zeroed at
 * first), or 0 if there is none free: then tmem_table_grow() and try again.
 */
uint32_t tmem_record_alloc(struct tmem *t, enum tmem_table_id id, unsigned shard);
void tmem_record_free(struct tmem *t, enum tmem_table_id id, uint32_t number);

/* Takes a frame, so evicts: call it without stripes held.  -ENOMEM, -ENOSPC. */
int tmem_table_grow(struct tmem *t, enum tmem_table_id id, unsigned shard);

/* tmem_record_alloc() growing the table where needed: number, or 0 and *err. */
uint32_t tmem_record_alloc_grow(struct tmem *t, enum tmem_table_id id, int *err);

/* The companion of a number that may be any value: NULL if it was never given out. */
void *tmem_companion(struct tmem *t, enum tmem_table_id id, uint32_t number);

/* The record of a number that is allocated. */
void *tmem_record(struct tmem *t, enum tmem_table_id id, uint32_t number);

/* The same for a number that may be any value: NULL if it has no memory. */
void *tmem_record_if(struct tmem *t, enum tmem_table_id id, uint32_t number);

/* Numbers are below this. */
uint32_t tmem_table_end(struct tmem *t, enum tmem_table_id id);

/* Rebuild: a frame found to hold a segment.  -ENOMEM, -EEXIST, -ERANGE. */
int tmem_table_adopt(struct tmem *t, enum tmem_table_id id, uint32_t frame);

/* Rebuild: after all are adopted, every record whose alive() is false is free. */
void tmem_table_settle(struct tmem *t, enum tmem_table_id id,
		       bool (*alive)(struct tmem *t, uint32_t number));

#endif

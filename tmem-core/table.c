/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.c - numbered records in the arena with companions in the heap.
 *
 * Owns:    the numbering of clients, pools, objects and permissions, and which
 *          numbers are free.
 * How:     a table grows by segments of one frame.  Free records hang on their
 *          segment, segments with free records on a shard.  A shard takes from
 *          another only if that one's lock is free just then: so a small host
 *          has one segment, and contention makes shards grow their own.
 * Must not: read a record, beyond handing out its address.
 */
#include "table.h"

#include <errno.h>
#include <string.h>

#include "arena.h"
#include "share.h"

#define LEAF_SHIFT	9
static_assert(TMEM_LEAF == 1 << LEAF_SHIFT, "a leaf's size");

void tmem_table_init(struct tmem *t, enum tmem_table_id id, unsigned record, unsigned heap)
{
	struct tmem_table *table = &t->table[id];
	unsigned i;

	table->id = id;
	table->record_size = record;
	table->heap_size = heap;
	table->span_shift = t->arena.frame_shift - (unsigned)__builtin_ctz(record);
	for (i = 0; i < TMEM_SHARDS; i++)
		tmem_lock_init(&table->shard[i].lock);
}

static struct tmem_segment *segment_of(struct tmem_table *table, uint32_t number)
{
	_Atomic(struct tmem_segment *) *leaf;

	if (number >> LEAF_SHIFT >= TMEM_DIRECTORY)
		return NULL;
	leaf = atomic_load_explicit(&table->directory[number >> LEAF_SHIFT], memory_order_acquire);
	return leaf ? atomic_load_explicit(&leaf[number % TMEM_LEAF], memory_order_acquire) : NULL;
}

static void segment_free(struct tmem *t, struct tmem_segment *s)
{
	tmem_free(&t->heap, s->heap);
	tmem_free(&t->heap, s->link);
	tmem_free(&t->heap, s);
}

void tmem_table_done(struct tmem *t, enum tmem_table_id id)
{
	struct tmem_table *table = &t->table[id];
	uint32_t i;

	if (!table->record_size)
		return;
	for (i = 0; i < TMEM_DIRECTORY * TMEM_LEAF; i++) {
		struct tmem_segment *s;

		if (!table->directory[i >> LEAF_SHIFT]) {
			i += TMEM_LEAF - 1;
			continue;
		}
		s = segment_of(table, i);
		if (s)
			segment_free(t, s);
	}
	for (i = 0; i < TMEM_DIRECTORY; i++)
		tmem_free(&t->heap, (void *)table->directory[i]);
	for (i = 0; i < TMEM_SHARDS; i++)
		tmem_lock_done(&table->shard[i].lock);
}

uint32_t tmem_table_end(struct tmem *t, enum tmem_table_id id)
{
	struct tmem_table *table = &t->table[id];

	return atomic_load_explicit(&table->segments, memory_order_acquire) << table->span_shift;
}

void *tmem_companion(struct tmem *t, enum tmem_table_id id, uint32_t number)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_segment *s = segment_of(table, number >> table->span_shift);
	uint32_t i = number & ((1u << table->span_shift) - 1);

	return s && i ? s->heap + (size_t)i * table->heap_size : NULL;
}

void *tmem_record(struct tmem *t, enum tmem_table_id id, uint32_t number)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_segment *s = segment_of(table, number >> table->span_shift);
	uint32_t i = number & ((1u << table->span_shift) - 1);

	return atomic_load_explicit(&s->arena, memory_order_acquire) +
	       (size_t)i * table->record_size;
}

void *tmem_record_if(struct tmem *t, enum tmem_table_id id, uint32_t number)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_segment *s = segment_of(table, number >> table->span_shift);

	if (!s || !(number & ((1u << table->span_shift) - 1)) || !atomic_load(&s->arena))
		return NULL;
	return tmem_record(t, id, number);
}

static void list_add(struct tmem_segment **list, struct tmem_segment *s)
{
	s->prev = NULL;
	s->next = *list;
	if (s->next)
		s->next->prev = s;
	*list = s;
}

static void list_remove(struct tmem_segment **list, struct tmem_segment *s)
{
	if (s->next)
		s->next->prev = s->prev;
	*(s->prev ? &s->prev->next : list) = s->next;
	s->next = s->prev = NULL;
}

static uint32_t pop_locked(struct tmem_table *table, struct tmem_shard *shard)
{
	struct tmem_segment *s = shard->open;
	uint16_t i;

	if (!s)
		return 0;
	i = s->free;
	s->free = s->link[i];
	s->live++;
	if (!s->free)
		list_remove(&shard->open, s);
	return s->number << table->span_shift | i;
}

uint32_t tmem_record_alloc(struct tmem *t, enum tmem_table_id id, unsigned shard)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_shard *own = &table->shard[shard % TMEM_SHARDS];
	uint32_t number;
	unsigned i;

	tmem_lock(&own->lock);
	number = pop_locked(table, own);
	tmem_unlock(&own->lock);
	for (i = 1; !number && i < TMEM_SHARDS; i++) {
		struct tmem_shard *other = &table->shard[(shard + i) % TMEM_SHARDS];

		if (pthread_mutex_trylock(&other->lock.m))
			continue;
		number = pop_locked(table, other);
		tmem_unlock(&other->lock);
	}
	return number;
}

/* The segment's frame goes back; its companions stay for who still looks. */
static uint32_t vacate_locked(struct tmem_segment *s)
{
	list_remove(&s->shard->open, s);
	list_add(&s->shard->vacant, s);
	atomic_store_explicit(&s->arena, NULL, memory_order_release);
	return s->frame;
}

void tmem_record_free(struct tmem *t, enum tmem_table_id id, uint32_t number)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_segment *s = segment_of(table, number >> table->span_shift);
	uint16_t i = (uint16_t)(number & ((1u << table->span_shift) - 1));
	uint32_t frame = 0;

	tmem_lock(&s->shard->lock);
	if (!s->free)
		list_add(&s->shard->open, s);
	s->link[i] = s->free;
	s->free = i;
	s->live--;
	if (!s->live)
		frame = vacate_locked(s);
	tmem_unlock(&s->shard->lock);
	if (frame)
		tmem_arena_give(t, frame);
}

static struct tmem_segment *segment_alloc(struct tmem *t, struct tmem_table *table)
{
	size_t span = (size_t)1 << table->span_shift;
	struct tmem_segment *s = tmem_alloc(&t->heap, sizeof(*s));

	if (!s)
		return NULL;
	s->heap = tmem_alloc(&t->heap, span * table->heap_size);
	s->link = tmem_alloc(&t->heap, span * sizeof(*s->link));
	if (s->heap && s->link)
		return s;
	segment_free(t, s);
	return NULL;
}

static _Atomic(struct tmem_segment *) *leaf_get(struct tmem *t, struct tmem_table *table,
						uint32_t number)
{
	_Atomic(struct tmem_segment *) *leaf, *seen = NULL;

	leaf = atomic_load_explicit(&table->directory[number >> LEAF_SHIFT], memory_order_acquire);
	if (leaf)
		return leaf;
	leaf = tmem_alloc(&t->heap, TMEM_LEAF * sizeof(*leaf));
	if (!leaf)
		return NULL;
	if (atomic_compare_exchange_strong(&table->directory[number >> LEAF_SHIFT], &seen, leaf))
		return leaf;
	tmem_free(&t->heap, (void *)leaf);
	return seen;
}

/* Make the segment of that number known; its shard follows from the number. */
static int segment_publish(struct tmem *t, struct tmem_table *table, struct tmem_segment *s,
			   uint32_t number)
{
	_Atomic(struct tmem_segment *) *leaf;

	if (number >= TMEM_DIRECTORY * TMEM_LEAF)
		return -ENOSPC;
	leaf = leaf_get(t, table, number);
	if (!leaf)
		return -ENOMEM;
	s->number = number;
	atomic_store_explicit(&leaf[number % TMEM_LEAF], s, memory_order_release);
	return 0;
}

/* All records of the segment become free ones. */
static void segment_fill(struct tmem_table *table, struct tmem_segment *s)
{
	uint16_t span = (uint16_t)(1u << table->span_shift), i;

	for (i = 1; i < span; i++)
		s->link[i] = i + 1u < span ? (uint16_t)(i + 1) : 0;
	s->free = 1;
	s->live = 0;
}

static struct tmem_segment *segment_get(struct tmem *t, struct tmem_table *table,
					struct tmem_shard *shard)
{
	struct tmem_segment *s;

	tmem_lock(&shard->lock);
	s = shard->vacant;
	if (s)
		list_remove(&shard->vacant, s);
	tmem_unlock(&shard->lock);
	if (s)
		return s;
	s = segment_alloc(t, table);
	if (!s)
		return NULL;
	s->shard = shard;
	if (!segment_publish(t, table, s, atomic_fetch_add(&table->segments, 1)))
		return s;
	segment_free(t, s);
	return NULL;
}

int tmem_table_grow(struct tmem *t, enum tmem_table_id id, unsigned shard)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_shard *own = &table->shard[shard % TMEM_SHARDS];
	struct tmem_segment *s = segment_get(t, table, own);
	struct tmem_frame_head *head;
	uint32_t frame;
	int err;

	if (!s)
		return -ENOMEM;
	err = tmem_frame_get(t, NULL, TMEM_EPHEMERAL, &frame);
	if (err) {
		tmem_lock(&own->lock);
		list_add(&own->vacant, s);
		tmem_unlock(&own->lock);
		return err;
	}
	head = tmem_frame_head(t, frame);
	head->owner = s->number;
	tmem_frame(t, frame)->kind = (uint8_t)(TMEM_FRAME_TABLE + id);
	atomic_store_explicit(&head->kind, TMEM_FRAME_TABLE + (uint32_t)id, memory_order_release);
	segment_fill(table, s);
	tmem_lock(&own->lock);
	s->frame = frame;
	atomic_store_explicit(&s->arena, (char *)head, memory_order_release);
	list_add(&own->open, s);
	tmem_unlock(&own->lock);
	return 0;
}

uint32_t tmem_record_alloc_grow(struct tmem *t, enum tmem_table_id id, int *err)
{
	uint32_t number;

	*err = 0;
	while (!(number = tmem_record_alloc(t, id, 0)) && !*err)
		*err = tmem_table_grow(t, id, 0);
	return number;
}

int tmem_table_adopt(struct tmem *t, enum tmem_table_id id, uint32_t frame)
{
	struct tmem_table *table = &t->table[id];
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	uint32_t number = head->owner;
	struct tmem_segment *s;
	int err;

	if (number >= TMEM_DIRECTORY * TMEM_LEAF || number >= t->arena.frames)
		return -ERANGE;
	if (segment_of(table, number))
		return -EEXIST;
	s = segment_alloc(t, table);
	if (!s)
		return -ENOMEM;
	s->shard = &table->shard[number % TMEM_SHARDS];
	s->frame = frame;
	atomic_store_explicit(&s->arena, (char *)head, memory_order_relaxed);
	err = segment_publish(t, table, s, number);
	if (err) {
		segment_free(t, s);
		return err;
	}
	if (number >= atomic_load(&table->segments))
		atomic_store(&table->segments, number + 1);
	return 0;
}

static void segment_settle(struct tmem *t, struct tmem_table *table, struct tmem_segment *s,
			   bool (*alive)(struct tmem *t, uint32_t number))
{
	uint32_t i, span = 1u << table->span_shift;

	for (i = span - 1; i; i--) {
		if (alive(t, s->number << table->span_shift | i)) {
			s->live++;
			continue;
		}
		memset(atomic_load(&s->arena) + (size_t)i * table->record_size, 0,
		       table->record_size);
		s->link[i] = s->free;
		s->free = (uint16_t)i;
	}
	if (s->free)
		list_add(&s->shard->open, s);
	if (!s->live)
		tmem_arena_give(t, vacate_locked(s));
}

void tmem_table_settle(struct tmem *t, enum tmem_table_id id,
		       bool (*alive)(struct tmem *t, uint32_t number))
{
	struct tmem_table *table = &t->table[id];
	uint32_t number, end = atomic_load(&table->segments);

	for (number = 0; number < end; number++) {
		struct tmem_segment *s = segment_of(table, number);

		if (s)
			segment_settle(t, table, s, alive);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index.c - from a key to a page.
 *
 * Owns:    the hash tables: a pool's objects by id (one table a stripe), an
 *          object's pages by index.  They are a cache of the arena.
 * How:     open addressing, linear probing, deletion by shifting back.  A page's
 *          entry is eight bytes: the low 24 bits of the index, frame, slot.  The
 *          arena's slot has the whole index, so an entry whose 24 bits match is
 *          confirmed there, which is where a get goes next anyway.  Position is
 *          a seeded hash of the 24 bits alone: growing and deleting touch no
 *          slot.  Tables grow by a quarter and are filled to seven eighths: some
 *          ten bytes a page.
 *          A radix tree would be denser for dense objects, but costs a sparse
 *          one a node a page, and the heap is charged to nobody.
 * Must not: change a slot or a counter.
 */
#include "index.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "page.h"

#define TAG_SHIFT	(TMEM_FRAME_BITS + TMEM_SLOT_BITS)
#define TAG_MASK	0xffffffu
#define HANDLE_MASK	((1ull << TAG_SHIFT) - 1)
#define SMALL		7u	/* entries searched from the start and filled up */
#define COARSE		64u	/* below, tables grow by half; above, by a quarter */

/* ---- hashes ---------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

uint32_t tmem_oid_hash(const struct tmem_pool *p, const uint64_t oid[3])
{
	return (uint32_t)(XXH3_64bits_withSeed(oid, 3 * sizeof(*oid), p->host->seed) >> 7);
}

void tmem_where(struct tmem_pool *p, const uint64_t oid[3], uint32_t index, struct tmem_where *w)
{
	w->pool = p;
	w->flags = atomic_load_explicit(&p->flags, memory_order_relaxed);
	w->oid = oid;
	w->index = index;
	w->hash = tmem_oid_hash(p, oid);
	w->stripe = tmem_stripe_of(p, w->hash);
	w->mark = (uint32_t)mix(((uint64_t)w->hash << 32 | index) ^ (uintptr_t)p);
}

static uint32_t place(uint32_t hash, uint32_t capacity)
{
	return (uint32_t)((uint64_t)hash * capacity >> 32);
}

static uint32_t page_home(const struct tmem *t, uint32_t tag, uint32_t capacity)
{
	if (capacity <= SMALL)
		return 0;
	return place((uint32_t)(mix((tag ^ t->seed) & UINT32_MAX) >> 16), capacity);
}

static uint32_t object_home(uint32_t hash, uint32_t capacity)
{
	return place((uint32_t)mix(hash), capacity);
}

static uint32_t next_at(uint32_t at, uint32_t capacity)
{
	return at + 1 < capacity ? at + 1 : 0;
}

/* Would an entry with that home be found at hole rather than at where it is? */
static bool moves_back(uint32_t home, uint32_t hole, uint32_t at)
{
	return hole <= at ? home <= hole || home > at : home <= hole && home > at;
}

/* Odd, so that eight-byte entries fill malloc's blocks. */
static uint32_t grown(uint32_t capacity)
{
	return (capacity + capacity / (capacity < COARSE ? 2 : 4) + 1) | 1;
}

static bool full(uint32_t used, uint32_t capacity)
{
	return capacity <= SMALL ? used >= capacity : used >= capacity - capacity / 8;
}

/* ---- objects ---------------------------------------------------------------- */

static struct tmem_object_record *record(struct tmem *t, uint32_t number)
{
	return tmem_record(t, TMEM_TABLE_OBJECT, number);
}

static bool object_at(const struct tmem_where *w, uint32_t *at)
{
	const struct tmem_stripe *s = w->stripe;

	if (!s->used)
		return false;
	for (*at = object_home(w->hash, s->capacity); s->slots[*at]; *at = next_at(*at, s->capacity))
		if (s->slots[*at] >> 32 == w->hash &&
		    !memcmp(record(w->pool->host, (uint32_t)s->slots[*at])->oid, w->oid,
			    3 * sizeof(*w->oid)))
			return true;
	return false;
}

uint32_t tmem_object_find_locked(const struct tmem_where *w)
{
	uint32_t at;

	return object_at(w, &at) ? (uint32_t)w->stripe->slots[at] : 0;
}

static void object_add(struct tmem_stripe *s, uint64_t slot)
{
	uint32_t at = object_home((uint32_t)(slot >> 32), s->capacity);

	while (s->slots[at])
		at = next_at(at, s->capacity);
	s->slots[at] = slot;
}

static int objects_prepare(struct tmem *t, struct tmem_stripe *s)
{
	struct tmem_stripe old = { .slots = s->slots, .capacity = s->capacity };
	uint32_t i, capacity = s->capacity ? grown(s->capacity) : 3;
	uint64_t *slots;

	if (s->used + 1 < s->capacity && !full(s->used, s->capacity))
		return 0;
	slots = tmem_alloc(&t->heap, capacity * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	s->slots = slots;
	s->capacity = capacity;
	for (i = 0; i < old.capacity; i++)
		if (old.slots[i])
			object_add(s, old.slots[i]);
	tmem_free(&t->heap, old.slots);
	return 0;
}

/* The object has a number and no pages: it can be found from now on. */
static void object_link(const struct tmem_where *w, uint32_t number)
{
	struct tmem_counters *n = &w->stripe->count;
	struct tmem_object *o = tmem_object(w->pool->host, number);

	o->slots = NULL;
	o->capacity = o->count = 0;
	atomic_store_explicit(&o->home, w->pool->number << 4 | w->hash % TMEM_STRIPES,
			      memory_order_relaxed);
	object_add(w->stripe, (uint64_t)w->hash << 32 | number);
	w->stripe->used++;
	n->objects++;
	if (n->objects > n->objects_max)
		n->objects_max = n->objects;
}

int tmem_object_create_locked(const struct tmem_where *w, uint32_t *number)
{
	struct tmem *t = w->pool->host;
	struct tmem_object_record *r;

	if (objects_prepare(t, w->stripe))
		return -ENOMEM;
	*number = tmem_record_alloc(t, TMEM_TABLE_OBJECT, w->hash);
	if (!*number)
		return -EAGAIN;
	r = record(t, *number);
	memcpy(r->oid, w->oid, sizeof(r->oid));
	r->incarnation = w->pool->incarnation;
	object_link(w, *number);
	atomic_store_explicit(&r->pool, w->pool->number, memory_order_release);
	return 0;
}

int tmem_object_adopt_locked(const struct tmem_where *w, uint32_t number)
{
	if (objects_prepare(w->pool->host, w->stripe))
		return -ENOMEM;
	object_link(w, number);
	return 0;
}

static void object_remove(struct tmem_stripe *s, uint32_t hole)
{
	uint32_t at = hole;

	for (;;) {
		at = next_at(at, s->capacity);
		if (!s->slots[at])
			break;
		if (!moves_back(object_home((uint32_t)(s->slots[at] >> 32), s->capacity), hole, at))
			continue;
		s->slots[hole] = s->slots[at];
		hole = at;
	}
	s->slots[hole] = 0;
	s->used--;
}

void tmem_object_detach_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number,
			       uint32_t hash)
{
	struct tmem *t = p->host;
	uint32_t at = object_home(hash, s->capacity);

	while (s->slots[at] != ((uint64_t)hash << 32 | number))
		at = next_at(at, s->capacity);
	object_remove(s, at);
	s->count.objects--;
	if (!s->used) {
		tmem_free(&t->heap, s->slots);
		s->slots = NULL;
		s->capacity = 0;
	}
	atomic_store_explicit(&record(t, number)->pool, 0, memory_order_release);
	atomic_store_explicit(&tmem_object(t, number)->home, 0, memory_order_relaxed);
}

void tmem_object_drop_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number)
{
	struct tmem *t = p->host;

	tmem_object_detach_locked(p, s, number, tmem_oid_hash(p, record(t, number)->oid));
	tmem_pages_free(t, tmem_object(t, number));
	tmem_record_free(t, TMEM_TABLE_OBJECT, number);
}

/* ---- pages ---------------------------------------------------------------- */

static uint64_t *entries(struct tmem_object *o)
{
	return o->capacity <= 1 ? &o->one : o->slots;
}

static uint32_t tag_of(uint64_t entry)
{
	return (uint32_t)(entry >> TAG_SHIFT);
}

/*
 * The 24 bits match.  Is it the page?  Where the slot says another index, the
 * entry is either of an index that differs in the high bits only, and then the
 * slot is intact, or it is the page and its slot is damaged.
 */
static bool confirm(struct tmem *t, uint32_t number, uint32_t index, tmem_handle h)
{
	uint32_t seen = atomic_load_explicit(&tmem_slot(t, h)->index, memory_order_relaxed);

	return seen == index || ((seen ^ index) & TAG_MASK) || !tmem_page_intact(t, h, number);
}

static bool probe(struct tmem *t, struct tmem_object *o, uint32_t number, uint32_t index,
		  tmem_handle h, struct tmem_entry *e)
{
	uint64_t *slots = entries(o);
	uint32_t tag = index & TAG_MASK, left = o->capacity;

	e->object = o;
	e->number = number;
	for (e->at = page_home(t, tag, o->capacity); left && slots[e->at];
	     e->at = next_at(e->at, o->capacity), left--) {
		if (tag_of(slots[e->at]) != tag)
			continue;
		e->handle = slots[e->at] & HANDLE_MASK;
		if (h ? e->handle == h : confirm(t, number, index, e->handle))
			return true;
	}
	return false;
}

bool tmem_page_find_locked(struct tmem *t, uint32_t number, uint32_t index, struct tmem_entry *e)
{
	return probe(t, tmem_object(t, number), number, index, 0, e);
}

bool tmem_page_find_handle_locked(struct tmem *t, struct tmem_object *o, uint32_t number,
				  uint32_t index, tmem_handle h, struct tmem_entry *e)
{
	return probe(t, o, number, index, h, e);
}

static void page_add(struct tmem *t, struct tmem_object *o, uint64_t entry)
{
	uint64_t *slots = entries(o);
	uint32_t at = page_home(t, tag_of(entry), o->capacity);

	while (slots[at])
		at = next_at(at, o->capacity);
	slots[at] = entry;
}

static int resize(struct tmem *t, struct tmem_object *o, uint32_t capacity)
{
	struct tmem_object old = { .slots = o->slots, .capacity = o->capacity };
	uint64_t *from = entries(&old), *slots = NULL;
	uint32_t i;

	if (capacity > 1) {
		slots = tmem_alloc(&t->heap, capacity * sizeof(*slots));
		if (!slots)
			return -ENOMEM;
	}
	o->slots = slots;
	o->capacity = capacity;
	for (i = 0; i < old.capacity; i++)
		if (from[i])
			page_add(t, o, from[i]);
	if (old.capacity > 1)
		tmem_free(&t->heap, old.slots);
	return 0;
}

int tmem_page_prepare_locked(struct tmem *t, struct tmem_object *o)
{
	if (!full(o->count, o->capacity))
		return 0;
	return resize(t, o, o->capacity ? grown(o->capacity) : 1);
}

void tmem_page_insert_locked(struct tmem *t, struct tmem_object *o, uint32_t index, tmem_handle h)
{
	page_add(t, o, (uint64_t)(index & TAG_MASK) << TAG_SHIFT | h);
	o->count++;
}

void tmem_page_replace_locked(struct tmem_entry *e, tmem_handle h)
{
	uint64_t *slot = &entries(e->object)[e->at];

	*slot = (*slot & ~HANDLE_MASK) | h;
	e->handle = h;
}

void tmem_page_remove_locked(struct tmem *t, struct tmem_entry *e)
{
	struct tmem_object *o = e->object;
	uint64_t *slots = entries(o);
	uint32_t hole = e->at, at = hole, left = o->capacity - 1;

	for (; left; left--) {
		at = next_at(at, o->capacity);
		if (!slots[at])
			break;
		if (!moves_back(page_home(t, tag_of(slots[at]), o->capacity), hole, at))
			continue;
		slots[hole] = slots[at];
		hole = at;
	}
	slots[hole] = 0;
	o->count--;
	/* Shrinking may fail: then the table stays as it is. */
	if (o->capacity > SMALL && o->count < o->capacity / 4)
		resize(t, o, grown(o->count));
}

tmem_handle tmem_page_each(const struct tmem_object *o, uint32_t *at, uint32_t *tag)
{
	const uint64_t *slots = o->capacity <= 1 ? &o->one : o->slots;

	while (*at < o->capacity) {
		uint64_t entry = slots[(*at)++];

		if (entry) {
			*tag = tag_of(entry);
			return entry & HANDLE_MASK;
		}
	}
	return 0;
}

void tmem_pages_free(struct tmem *t, struct tmem_object *o)
{
	if (o->capacity > 1)
		tmem_free(&t->heap, o->slots);
	o->slots = NULL;
	o->capacity = o->count = 0;
}

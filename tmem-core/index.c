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
 *          ten bytes a page.  A large one takes over from the one before by and by,
 *          or one put in a million would make everybody wait for milliseconds.
 *          A radix tree would be denser for dense objects, but costs a sparse
 *          one a node a page, and the heap is charged to nobody.
 * Must not: change a slot or a counter.
 */
#include "index.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "page.h"

#define TAG_SHIFT	(TMEM_FRAME_BITS + TMEM_SLOT_BITS)
#define TAG_MASK	0xffffffu
#define HANDLE_MASK	((1ull << TAG_SHIFT) - 1)
#define SMALL		7u	/* entries searched from the start and filled up */
#define COARSE		64u	/* below, tables grow by half; above, by a quarter */
#define WIDE		1024u	/* above, tables are filled a little at a time: */
#define MOVE		32u	/* so many places of the one before, by each put and removal */

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

/* ---- tables ---------------------------------------------------------------- */

/*
 * A wide table is filled from the one before it some places at a time, so that no
 * operation on a large object takes long.  Until that is empty, pages are in both.
 */
struct wide {
	uint64_t *old;			/* NULL: none any more */
	uint32_t old_capacity;
	uint32_t moved;			/* places of old that were emptied, from the first on */
	uint64_t slot[];
};

static bool is_wide(uint32_t capacity)
{
	return capacity > WIDE;
}

static struct wide *wide_of(uint64_t *slots)
{
	return (struct wide *)((char *)slots - offsetof(struct wide, slot));
}

static uint64_t *table_alloc(struct tmem *t, uint32_t capacity)
{
	size_t bytes = capacity * sizeof(uint64_t);
	struct wide *w;

	if (!is_wide(capacity))
		return tmem_alloc(&t->heap, bytes);
	w = tmem_alloc(&t->heap, sizeof(*w) + bytes);
	return w ? w->slot : NULL;
}

static void table_free(struct tmem *t, uint64_t *slots, uint32_t capacity)
{
	if (capacity > 1)
		tmem_free(&t->heap, is_wide(capacity) ? (void *)wide_of(slots) : slots);
}

/*
 * The places of a table that are in use.  Where the first ones were emptied, those
 * that are left are a circle of their own, and a page that belongs before them belongs
 * to their first: what it had been pushed past is gone, all behind that is not.
 */
struct circle {
	uint64_t *slots;
	uint32_t base, capacity;
};

/* Where an entry belongs. */
typedef uint32_t (*home_fn)(const struct tmem *t, uint64_t entry, uint32_t capacity);

/* What is left of the table before that one. */
static struct circle circle_before(uint64_t *slots, uint32_t capacity)
{
	struct wide *w = is_wide(capacity) ? wide_of(slots) : NULL;

	if (!w || !w->old)
		return (struct circle){ NULL, 0, 0 };
	return (struct circle){ w->old, w->moved, w->old_capacity };
}

static uint32_t circle_home(const struct tmem *t, const struct circle *c, uint64_t entry,
			    home_fn home_of)
{
	uint32_t home = home_of(t, entry, c->capacity);

	return home < c->base ? c->base : home;
}

static uint32_t circle_next(const struct circle *c, uint32_t at)
{
	return at + 1 < c->capacity ? at + 1 : c->base;
}

static void circle_add(const struct tmem *t, const struct circle *c, uint64_t entry, home_fn home_of)
{
	uint32_t at = circle_home(t, c, entry, home_of);

	assert(c->slots);
	while (c->slots[at])
		at = circle_next(c, at);
	c->slots[at] = entry;
}

static void circle_remove(const struct tmem *t, const struct circle *c, uint32_t hole,
			  home_fn home_of)
{
	uint32_t at = hole, left = c->capacity - c->base - 1;

	assert(c->slots);
	for (; left; left--) {
		at = circle_next(c, at);
		if (!c->slots[at])
			break;
		if (!moves_back(circle_home(t, c, c->slots[at], home_of), hole, at))
			continue;
		c->slots[hole] = c->slots[at];
		hole = at;
	}
	c->slots[hole] = 0;
}

/* Empty so many places more of the table before that one. */
static void table_move(struct tmem *t, uint64_t *slots, uint32_t capacity, uint32_t places,
		       home_fn home_of)
{
	struct circle now = { slots, 0, capacity };
	struct wide *w = is_wide(capacity) ? wide_of(slots) : NULL;

	if (!w || !w->old)
		return;
	for (; places && w->moved < w->old_capacity; places--) {
		uint64_t *slot = &w->old[w->moved++];

		if (*slot)
			circle_add(t, &now, *slot, home_of);
		*slot = 0;
	}
	if (w->moved < w->old_capacity)
		return;
	table_free(t, w->old, w->old_capacity);
	w->old = NULL;
}

/* slots takes over from old, which has none before it: at once, or by and by. */
static void table_succeed(struct tmem *t, uint64_t *slots, uint32_t capacity, struct circle old,
			  home_fn home_of)
{
	struct circle now = { slots, 0, capacity };
	uint32_t i;

	if (is_wide(capacity)) {
		wide_of(slots)->old = old.slots;
		wide_of(slots)->old_capacity = old.capacity;
		return;
	}
	for (i = 0; i < old.capacity; i++)
		if (old.slots[i])
			circle_add(t, &now, old.slots[i], home_of);
	table_free(t, old.slots, old.capacity);
}

/* ---- objects ---------------------------------------------------------------- */

static struct tmem_object_record *record(struct tmem *t, uint32_t number)
{
	return tmem_record(t, TMEM_TABLE_OBJECT, number);
}

static uint32_t object_home_of(const struct tmem *t, uint64_t entry, uint32_t capacity)
{
	(void)t;
	return object_home((uint32_t)(entry >> 32), capacity);
}

static uint32_t circle_object(const struct circle *c, const struct tmem_where *w)
{
	uint32_t at, left = c->capacity - c->base;

	if (!left)
		return 0;
	at = circle_home(NULL, c, (uint64_t)w->hash << 32, object_home_of);
	for (; left && c->slots[at]; at = circle_next(c, at), left--)
		if (c->slots[at] >> 32 == w->hash &&
		    !memcmp(record(w->pool->host, (uint32_t)c->slots[at])->oid, w->oid,
			    3 * sizeof(*w->oid)))
			return (uint32_t)c->slots[at];
	return 0;
}

static struct circle objects_now(const struct tmem_stripe *s)
{
	return (struct circle){ s->slots, 0, s->capacity };
}

uint32_t tmem_object_find_locked(const struct tmem_where *w)
{
	struct circle now = objects_now(w->stripe);
	struct circle old = circle_before(w->stripe->slots, w->stripe->capacity);
	uint32_t number = circle_object(&now, w);

	return number ? number : circle_object(&old, w);
}

static void object_add(struct tmem_stripe *s, uint64_t slot)
{
	struct circle now = objects_now(s);

	circle_add(NULL, &now, slot, object_home_of);
}

static int objects_prepare(struct tmem *t, struct tmem_stripe *s)
{
	uint32_t capacity = s->capacity ? grown(s->capacity) : 3;
	uint64_t *slots;

	table_move(t, s->slots, s->capacity, MOVE, object_home_of);
	if (s->used + 1 < s->capacity && !full(s->used, s->capacity))
		return 0;
	slots = table_alloc(t, capacity);
	if (!slots)
		return -ENOMEM;
	table_move(t, s->slots, s->capacity, UINT32_MAX, object_home_of);
	table_succeed(t, slots, capacity, objects_now(s), object_home_of);
	s->slots = slots;
	s->capacity = capacity;
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

/* False: it is not in c. */
static bool object_remove(const struct circle *c, uint64_t slot)
{
	uint32_t at, left = c->capacity - c->base;

	if (!left)
		return false;
	for (at = circle_home(NULL, c, slot, object_home_of); left && c->slots[at] != slot; left--) {
		if (!c->slots[at])
			return false;
		at = circle_next(c, at);
	}
	if (left)
		circle_remove(NULL, c, at, object_home_of);
	return left != 0;
}

uint32_t tmem_object_each(const struct tmem_stripe *s, uint32_t *at, uint32_t end,
			  uint32_t *hash)
{
	struct circle now = objects_now(s), old = circle_before(s->slots, s->capacity);

	if (end > now.capacity + old.capacity)
		end = now.capacity + old.capacity;
	while (*at < end) {
		uint32_t i = (*at)++;
		struct circle c = i < now.capacity ? now : old;
		uint64_t slot;

		assert(c.slots);
		slot = c.slots[i < now.capacity ? i : i - now.capacity];
		*hash = (uint32_t)(slot >> 32);
		if (slot)
			return (uint32_t)slot;
	}
	return 0;
}

uint32_t tmem_objects_span(const struct tmem_stripe *s)
{
	return s->capacity + circle_before(s->slots, s->capacity).capacity;
}

void tmem_objects_free(struct tmem *t, struct tmem_stripe *s)
{
	struct circle old = circle_before(s->slots, s->capacity);

	table_free(t, old.slots, old.capacity);
	table_free(t, s->slots, s->capacity);
	s->slots = NULL;
	s->capacity = 0;
}

void tmem_object_detach_locked(struct tmem_pool *p, struct tmem_stripe *s, uint32_t number,
			       uint32_t hash)
{
	struct tmem *t = p->host;
	struct circle now = objects_now(s), old = circle_before(s->slots, s->capacity);
	uint64_t slot = (uint64_t)hash << 32 | number;

	if (!object_remove(&now, slot))
		object_remove(&old, slot);
	s->used--;
	s->count.objects--;
	if (!s->used)
		tmem_objects_free(t, s);
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

static struct circle circle_now(struct tmem_object *o)
{
	return (struct circle){ o->capacity <= 1 ? &o->one : o->slots, 0, o->capacity };
}

static struct circle circle_old(const struct tmem_object *o)
{
	return circle_before(o->slots, o->capacity);
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

static uint32_t page_home_of(const struct tmem *t, uint64_t entry, uint32_t capacity)
{
	return page_home(t, tag_of(entry), capacity);
}

static bool circle_find(struct tmem *t, const struct circle *c, uint32_t index, tmem_handle h,
			struct tmem_entry *e)
{
	uint32_t tag = index & TAG_MASK, left = c->capacity - c->base;

	if (!left)
		return false;
	e->at = circle_home(t, c, (uint64_t)tag << TAG_SHIFT, page_home_of);
	for (; left && c->slots[e->at];
	     e->at = circle_next(c, e->at), left--) {
		if (tag_of(c->slots[e->at]) != tag)
			continue;
		e->handle = c->slots[e->at] & HANDLE_MASK;
		if (h ? e->handle == h : confirm(t, e->number, index, e->handle))
			return true;
	}
	return false;
}

static bool probe(struct tmem *t, struct tmem_object *o, uint32_t number, uint32_t index,
		  tmem_handle h, struct tmem_entry *e)
{
	struct circle now = circle_now(o), old = circle_old(o);

	e->object = o;
	e->number = number;
	if (circle_find(t, &now, index, h, e))
		return true;
	if (!circle_find(t, &old, index, h, e))
		return false;
	e->at += o->capacity;
	return true;
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

static int resize(struct tmem *t, struct tmem_object *o, uint32_t capacity)
{
	struct tmem_object before;
	uint64_t *slots = NULL;

	if (capacity > 1) {
		slots = table_alloc(t, capacity);
		if (!slots)
			return -ENOMEM;
	}
	table_move(t, o->slots, o->capacity, UINT32_MAX, page_home_of);
	before = (struct tmem_object){ .slots = o->slots, .capacity = o->capacity };
	o->slots = slots;
	o->capacity = capacity;
	table_succeed(t, circle_now(o).slots, capacity, circle_now(&before), page_home_of);
	return 0;
}

int tmem_page_prepare_locked(struct tmem *t, struct tmem_object *o)
{
	table_move(t, o->slots, o->capacity, MOVE, page_home_of);
	if (!full(o->count, o->capacity))
		return 0;
	return resize(t, o, o->capacity ? grown(o->capacity) : 1);
}

void tmem_page_insert_locked(struct tmem *t, struct tmem_object *o, uint32_t index, tmem_handle h)
{
	struct circle c = circle_now(o);

	circle_add(t, &c, (uint64_t)(index & TAG_MASK) << TAG_SHIFT | h, page_home_of);
	o->count++;
}

/* Where a position is that find or each gave. */
static struct circle circle_at(struct tmem_object *o, uint32_t *at)
{
	if (*at < o->capacity)
		return circle_now(o);
	*at -= o->capacity;
	return circle_old(o);
}

void tmem_page_replace_locked(struct tmem_entry *e, tmem_handle h)
{
	uint32_t at = e->at;
	struct circle c = circle_at(e->object, &at);

	assert(c.slots);
	c.slots[at] = (c.slots[at] & ~HANDLE_MASK) | h;
	e->handle = h;
}

void tmem_page_remove_locked(struct tmem *t, struct tmem_entry *e)
{
	struct tmem_object *o = e->object;
	uint32_t at = e->at;
	struct circle c = circle_at(o, &at);

	circle_remove(t, &c, at, page_home_of);
	o->count--;
	table_move(t, o->slots, o->capacity, MOVE, page_home_of);
	/* Shrinking may fail: then the table stays as it is. */
	if (o->capacity > SMALL && o->count < o->capacity / 4)
		resize(t, o, grown(is_wide(o->capacity) ? grown(o->count) : o->count));
}

tmem_handle tmem_page_each(struct tmem_object *o, uint32_t *at, uint32_t *tag)
{
	struct circle now = circle_now(o), old = circle_old(o);

	while (*at < now.capacity + old.capacity) {
		uint32_t i = (*at)++;
		uint64_t entry = i < now.capacity ? now.slots[i] : old.slots[i - now.capacity];

		if (entry) {
			*tag = tag_of(entry);
			return entry & HANDLE_MASK;
		}
	}
	return 0;
}

void tmem_pages_free(struct tmem *t, struct tmem_object *o)
{
	struct circle old = circle_old(o);

	table_free(t, old.slots, old.capacity);
	table_free(t, o->slots, o->capacity);
	o->slots = NULL;
	o->capacity = o->count = 0;
}

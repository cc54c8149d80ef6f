/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.c - fetch, complete, notify.  ring.h says what is ordered with what and
 * which attacks are met where.
 */
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "fault.h"
#include "ring.h"

/* Shared fields are read and written whole, exactly once, in the order named. */
static uint16_t shared_load16_relaxed(const __le16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static uint16_t shared_load16_acquire(const __le16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void shared_store16_relaxed(__le16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static void shared_store16_release(__le16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static void shared_store32_relaxed(__le32 *p, uint32_t v)
{
	__atomic_store_n(p, htole32(v), __ATOMIC_RELAXED);
}

static bool is_aligned(const void *p, uintptr_t to)
{
	return !((uintptr_t)p & (to - 1));
}

bool ring_layout_is_valid(const struct ring_layout *at)
{
	return at->num && at->num <= TMEMP_RING_NUM_MAX && !(at->num & (at->num - 1)) &&
	       is_aligned(at->desc, 16) && is_aligned(at->avail, 2) && is_aligned(at->used, 4);
}

uint64_t ring_word(const struct ring *r)
{
	return atomic_load_explicit(r->kept, memory_order_relaxed);
}

/* The indices as they are, with these bits. */
static void word_store(struct ring *r, uint64_t bits)
{
	atomic_store_explicit(r->kept, bits | r->avail_next | (uint64_t)r->used_next << 16,
			      memory_order_release);
}

void ring_judge(struct ring *r, bool alone, unsigned strikes)
{
	uint64_t word = ring_word(r) & ~(RING_ALONE | RING_STRIKES);

	atomic_store_explicit(r->kept, word | (alone ? RING_ALONE : 0) |
			      (uint64_t)strikes << RING_STRIKE_SHIFT, memory_order_release);
}

#define WORD_INDICES	0xffffffffull
#define WORD_PARKED	(RING_PARKED | 0xffffull << 32)
#define WORD_REQUEST	(RING_BUSY | RING_ALONE | RING_STRIKES)

void ring_keep(struct ring *r, _Atomic uint64_t *kept)
{
	r->kept = kept;
}

static void ring_begin(struct ring *r, const struct ring_mem_ops *ops, void *mem,
		       const struct ring_layout *at, uint64_t features)
{
	r->ops = ops;
	r->mem = mem;
	r->at = *at;
	r->event_idx = features >> TMEMP_F_EVENT_IDX & 1;
	r->indirect = features >> TMEMP_F_INDIRECT & 1;
	if (!r->kept)
		r->kept = &r->own;
}

void ring_start(struct ring *r, const struct ring_mem_ops *ops, void *mem,
		const struct ring_layout *at, uint64_t features)
{
	uint16_t used = shared_load16_relaxed(&at->used->idx);

	/*
	 * Every ring is stopped with nothing left between fetched and completed,
	 * so what has no used element was never executed, or its host died in the
	 * middle: the used index is where to begin, whatever else anyone says.
	 */
	ring_begin(r, ops, mem, at, features);
	r->avail_next = r->avail_seen = used;
	r->used_next = used;
	/*
	 * Whoever served it before may have died between an element and its
	 * interrupt: if the guest waits for any of the last ones, tell it.
	 */
	r->used_told = (uint16_t)(used - at->num);
	word_store(r, 0);
}

int ring_resume(struct ring *r, const struct ring_mem_ops *ops, void *mem,
		const struct ring_layout *at, uint64_t features)
{
	uint64_t word;

	ring_begin(r, ops, mem, at, features);
	word = ring_word(r);
	r->avail_next = (uint16_t)word;
	r->used_next = (uint16_t)(word >> 16);
	if ((uint16_t)(r->avail_next - r->used_next) !=
	    !!(word & RING_BUSY) + !!(word & RING_PARKED))
		return -EPROTO;
	if (TMEM_BROKEN("indices"))
		r->used_next = (uint16_t)(r->used_next - 1);
	if (word & RING_BUSY && !TMEM_BROKEN("replay"))
		r->avail_next--;
	r->avail_seen = r->avail_next;
	r->used_told = r->used_next;
	shared_store16_release(&r->at.used->idx, r->used_next);
	return 0;
}

void ring_move(struct ring *r, const struct ring_layout *at)
{
	r->at = *at;
}

uint16_t ring_avail_now(const struct ring *r)
{
	return shared_load16_acquire(&r->at.avail->idx);
}

bool ring_is_before(const struct ring *r, uint16_t until)
{
	uint16_t left = (uint16_t)(until - r->avail_next);

	return left && left <= r->at.num;
}

static void desc_load(const struct tmemp_desc *from, struct tmemp_desc *to)
{
	to->addr = __atomic_load_n(&from->addr, __ATOMIC_RELAXED);
	to->len = __atomic_load_n(&from->len, __ATOMIC_RELAXED);
	to->flags = __atomic_load_n(&from->flags, __ATOMIC_RELAXED);
	to->next = __atomic_load_n(&from->next, __ATOMIC_RELAXED);
}

/* One walk: the table it is in, an indirect one by guest address. */
struct walk {
	bool indirect;
	uint64_t table;
	uint32_t entries;
	uint32_t next;
};

static const char *walk_read(const struct ring *r, const struct walk *w, struct tmemp_desc *d)
{
	if (w->next >= w->entries)
		return "descriptor index out of range";
	if (!w->indirect)
		desc_load(&r->at.desc[w->next], d);
	else if (r->ops->read(r->mem, d, w->table + w->next * sizeof(*d), sizeof(*d)))
		return "indirect table outside guest memory";
	return NULL;
}

static const char *walk_enter(const struct ring *r, struct walk *w, const struct tmemp_desc *d)
{
	uint32_t len = le32toh(d->len);

	if (!r->indirect)
		return "indirect descriptor that was not negotiated";
	if (w->indirect)
		return "indirect descriptor in an indirect table";
	if (le16toh(d->flags) & TMEMP_DESC_NEXT)
		return "indirect descriptor with a next one";
	if (!len || len % sizeof(*d))
		return "indirect table of ragged length";
	/* All of it at once, so that no sum of table and offset can wrap. */
	if (!r->ops->covers(r->mem, le64toh(d->addr), len))
		return "indirect table outside guest memory";
	*w = (struct walk){
		.indirect = true,
		.table = le64toh(d->addr),
		.entries = len / (uint32_t)sizeof(*d),
	};
	return NULL;
}

static void chain_add(struct ring_chain *c, const struct tmemp_desc *d)
{
	c->part[c->parts++] = (struct ring_part){
		.addr = le64toh(d->addr),
		.len = le32toh(d->len),
		.write = le16toh(d->flags) & TMEMP_DESC_WRITE,
	};
}

static const char *chain_walk(const struct ring *r, uint16_t head, struct ring_chain *c)
{
	struct walk w = { .entries = r->at.num, .next = head };

	c->head = head;
	c->parts = 0;
	/* A driver whose ring is short may have longer tables: many do. */
	while (c->parts < (w.indirect ? RING_PARTS_MAX : r->at.num)) {
		struct tmemp_desc d;
		const char *why = walk_read(r, &w, &d);

		if (why)
			return why;
		if (le16toh(d.flags) & TMEMP_DESC_INDIRECT) {
			why = walk_enter(r, &w, &d);
			if (why)
				return why;
			continue;
		}
		chain_add(c, &d);
		if (!(le16toh(d.flags) & TMEMP_DESC_NEXT))
			return NULL;
		w.next = le16toh(d.next);
	}
	return "descriptor chain longer than the ring";
}

int ring_fetch(struct ring *r, struct ring_chain *c, const char **why)
{
	uint16_t head;

	if (r->avail_seen == r->avail_next) {
		r->avail_seen = ring_avail_now(r);
		if (r->avail_seen == r->avail_next)
			return 0;
		if ((uint16_t)(r->avail_seen - r->avail_next) > r->at.num) {
			*why = "available index more than one ring ahead";
			return -EPROTO;
		}
	}
	head = shared_load16_relaxed(&r->at.avail->ring[r->avail_next & (r->at.num - 1)]);
	*why = chain_walk(r, head, c);
	if (*why)
		return -EPROTO;
	r->avail_next++;
	word_store(r, (ring_word(r) & ~WORD_INDICES) | RING_BUSY);
	TMEM_FAULT("fetched");
	return 1;
}

int ring_refetch(struct ring *r, uint16_t head, struct ring_chain *c, const char **why)
{
	*why = chain_walk(r, head, c);
	if (*why)
		return -EPROTO;
	if (r->avail_seen == r->avail_next)
		r->avail_seen++;
	r->avail_next++;
	word_store(r, (ring_word(r) & ~WORD_INDICES) | RING_BUSY);
	return 1;
}

void ring_unfetch(struct ring *r)
{
	r->avail_next--;
	word_store(r, ring_word(r) & ~(WORD_INDICES | RING_BUSY));
}

void ring_park(struct ring *r, uint16_t head)
{
	word_store(r, RING_PARKED | (uint64_t)head << 32);
}

static void element_store(struct ring *r, uint16_t head, uint32_t written)
{
	struct tmemp_used_elem *e = &r->at.used->ring[r->used_next & (r->at.num - 1)];

	shared_store32_relaxed(&e->id, head);
	shared_store32_relaxed(&e->len, written);
	r->used_next++;
}

void ring_complete(struct ring *r, uint16_t head, uint32_t written)
{
	element_store(r, head, written);
	TMEM_FAULT("reply-element");
	word_store(r, ring_word(r) & WORD_PARKED);
	TMEM_FAULT("reply-word");
	shared_store16_release(&r->at.used->idx, r->used_next);
}

void ring_complete_parked(struct ring *r, uint16_t head, uint32_t written)
{
	element_store(r, head, written);
	word_store(r, ring_word(r) & WORD_REQUEST);
	shared_store16_release(&r->at.used->idx, r->used_next);
}

bool ring_interrupt_due(struct ring *r)
{
	uint16_t told = r->used_told;

	if (told == r->used_next)
		return false;
	r->used_told = r->used_next;
	atomic_thread_fence(memory_order_seq_cst);
	if (!r->event_idx)
		return !(shared_load16_relaxed(&r->at.avail->flags) & TMEMP_AVAIL_NO_INTERRUPT);
	return tmemp_ring_need_event(shared_load16_relaxed(tmemp_used_event(r->at.avail, r->at.num)),
				     r->used_next, told);
}

bool ring_kick_want(struct ring *r)
{
	if (r->event_idx)
		shared_store16_relaxed(tmemp_avail_event(r->at.used, r->at.num), r->avail_next);
	else
		shared_store16_relaxed(&r->at.used->flags, 0);
	atomic_thread_fence(memory_order_seq_cst);
	return r->avail_seen != r->avail_next || ring_avail_now(r) != r->avail_next;
}

void ring_kick_spare(struct ring *r)
{
	/* With EVENT_IDX the old avail_event, left behind, asks for no more kicks. */
	if (!r->event_idx)
		shared_store16_relaxed(&r->at.used->flags, TMEMP_USED_NO_NOTIFY);
}

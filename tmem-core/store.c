/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.c - frames of one client and kind, in bins by room and lists by age.
 *
 * Owns:    the bins, the ages, the histograms of a store; the life of a frame
 *          from the moment it is charged to a client until it is given back.
 * How:     a frame is in the bin of its longest free run.  A page goes to the
 *          frame of the first bin that holds it: best fit over all frames, as
 *          exact as the bins, so holes that flushes leave are filled by pages
 *          of their size and need no moving.  A frame half of whose chunks were
 *          filled anew counts as new: else fresh pages in old holes die at once.
 * Must not: choose whom to evict (share.c) or look into the index.
 */
#include "store.h"

#include <errno.h>

#include "dedup.h"
#include "evict.h"
#include "ghost.h"
#include "share.h"
#include "table.h"

void tmem_store_init(struct tmem_store *s, struct tmem_client *c, enum tmem_kind kind)
{
	tmem_lock_init(&s->lock);
	s->client = c;
	s->kind = kind;
}

uint32_t tmem_store_max(const struct tmem *t)
{
	return t->two ? TMEM_PAGE_SIZE - (2u << TMEM_CHUNK_SHIFT_TWO) : TMEM_PAGE_SIZE;
}

void tmem_store_done(struct tmem_store *s)
{
	tmem_free(&s->client->host->heap, s->ghost);
	tmem_lock_done(&s->lock);
}

struct tmem_client *tmem_frame_client(struct tmem *t, uint32_t frame)
{
	_Atomic(struct tmem_client *) *c;

	c = tmem_companion(t, TMEM_TABLE_CLIENT, tmem_frame(t, frame)->owner);
	return c ? atomic_load_explicit(c, memory_order_acquire) : NULL;
}

/* ---- bins ---------------------------------------------------------------- */

static unsigned bin_of(unsigned fit)
{
	return fit < TMEM_BINS ? fit : TMEM_BINS - 1;
}

void tmem_bin_add_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);
	struct tmem_bins *b = &s->bins[f->segment];
	unsigned bin = bin_of(f->fit);

	s->free_chunks += f->free;
	if (!f->fit)
		return;
	f->prev = 0;
	f->next = b->head[bin];
	if (f->next)
		tmem_frame(t, f->next)->prev = frame;
	b->head[bin] = frame;
	b->some[bin / 64] |= 1ull << (bin % 64);
}

void tmem_bin_remove_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);
	struct tmem_bins *b = &s->bins[f->segment];
	unsigned bin = bin_of(f->fit);

	s->free_chunks -= f->free;
	if (!f->fit)
		return;
	if (f->next)
		tmem_frame(t, f->next)->prev = f->prev;
	if (f->prev)
		tmem_frame(t, f->prev)->next = f->next;
	else
		b->head[bin] = f->next;
	if (!b->head[bin])
		b->some[bin / 64] &= ~(1ull << (bin % 64));
}

static uint32_t bin_find_locked(const struct tmem_bins *b, unsigned chunks)
{
	unsigned i = chunks / 64;
	uint64_t word = b->some[i] & ~0ull << (chunks % 64);

	while (!word) {
		if (++i == TMEM_BIN_WORDS)
			return 0;
		word = b->some[i];
	}
	return b->head[i * 64 + (unsigned)__builtin_ctzll(word)];
}

/* ---- age ----------------------------------------------------------------- */

void tmem_age_add_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);
	struct tmem_age *a = &s->age[f->segment];

	f->newer = 0;
	f->older = a->newest;
	f->fresh = 0;
	if (a->newest)
		tmem_frame(t, a->newest)->newer = frame;
	else
		a->oldest = frame;
	a->newest = frame;
	a->frames++;
}

void tmem_age_remove_locked(struct tmem_store *s, uint32_t frame)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);
	struct tmem_age *a = &s->age[f->segment];

	if (f->newer)
		tmem_frame(t, f->newer)->older = f->older;
	else
		a->newest = f->older;
	if (f->older)
		tmem_frame(t, f->older)->newer = f->newer;
	else
		a->oldest = f->newer;
	a->frames--;
}

static void age_renew_locked(struct tmem_store *s, uint32_t frame, unsigned chunks)
{
	struct tmem *t = s->client->host;
	struct tmem_frame *f = tmem_frame(t, frame);

	f->fresh = (uint16_t)(f->fresh + chunks);
	if (f->fresh <= t->arena.chunks / 2 || !f->newer)
		return;
	tmem_age_remove_locked(s, frame);
	tmem_age_add_locked(s, frame);
}

/* ---- room for a page ----------------------------------------------------- */

static tmem_handle place_locked(struct tmem_store *s, uint32_t frame, uint32_t size)
{
	struct tmem *t = s->client->host;
	unsigned chunks = tmem_chunks_of(t, tmem_frame(t, frame)->kind, size);
	uint32_t slot;

	tmem_bin_remove_locked(s, frame);
	slot = tmem_frame_place_locked(t, frame, size);
	tmem_bin_add_locked(s, frame);
	age_renew_locked(s, frame, chunks);
	s->count[bin_of(chunks)].now++;
	s->count[bin_of(chunks)].ever++;
	return tmem_handle_of(frame, slot);
}

static unsigned segment_for_locked(const struct tmem_store *s, uint32_t mark)
{
	return s->kind == TMEM_EPHEMERAL && tmem_ghost_has_locked(s, mark) ? TMEM_PROTECTED
									  : TMEM_PROBATION;
}

static void frame_add_locked(struct tmem_store *s, uint32_t frame, unsigned segment)
{
	tmem_frame(s->client->host, frame)->segment = (uint8_t)segment;
	atomic_fetch_add_explicit(&s->frames, 1, memory_order_relaxed);
	tmem_bin_add_locked(s, frame);
	tmem_age_add_locked(s, frame);
	if (s->kind == TMEM_EPHEMERAL)
		tmem_ghost_fit_locked(s);
}

int tmem_store_alloc(struct tmem_client *c, enum tmem_kind kind, uint32_t size, uint32_t mark,
		     tmem_handle *h)
{
	unsigned frame_kind = TMEM_FRAME_STORE + (unsigned)kind, segment;
	struct tmem_store *s = &c->store[kind];
	struct tmem *t = c->host;
	unsigned chunks = tmem_chunks_of(t, frame_kind, size);
	uint32_t frame;
	int err;

	if (size > tmem_store_max(t))
		return -E2BIG;
	tmem_lock(&s->lock);
	segment = segment_for_locked(s, mark);
	frame = bin_find_locked(&s->bins[segment], chunks);
	if (!frame) {
		tmem_unlock(&s->lock);
		err = tmem_frame_get(t, c, kind, &frame);
		if (err)
			return err;
		tmem_frame_init(t, frame, frame_kind, c->number, c->incarnation);
		tmem_lock(&s->lock);
		frame_add_locked(s, frame, segment);
	}
	*h = place_locked(s, frame, size);
	s->untidy += kind == TMEM_PERSISTENT && tmem_store_loose_locked(s);
	tmem_unlock(&s->lock);
	return 0;
}

tmem_handle tmem_store_hole(struct tmem_store *s, uint32_t size)
{
	struct tmem *t = s->client->host;
	unsigned chunks = tmem_chunks_of(t, TMEM_FRAME_STORE + (unsigned)s->kind, size);
	tmem_handle h = 0;
	uint32_t frame;

	tmem_lock(&s->lock);
	frame = bin_find_locked(&s->bins[TMEM_PROBATION], chunks);
	if (frame)
		h = place_locked(s, frame, size);
	tmem_unlock(&s->lock);
	return h;
}

void tmem_store_adopt(struct tmem_client *c, enum tmem_kind kind, uint32_t frame)
{
	struct tmem_store *s = &c->store[kind];
	struct tmem *t = c->host;
	unsigned i, slots = tmem_frame_head(t, frame)->slots;

	tmem_lock(&s->lock);
	frame_add_locked(s, frame, TMEM_PROBATION);
	for (i = 0; i < slots; i++) {
		struct tmem_slot *slot = tmem_slot(t, tmem_handle_of(frame, i));
		uint32_t info = atomic_load_explicit(&slot->info, memory_order_relaxed);

		if (info)
			s->count[bin_of(tmem_chunks_of(t, tmem_frame(t, frame)->kind,
						       tmem_info_size(info)))].now++;
	}
	tmem_unlock(&s->lock);
}

/* ---- and back -------------------------------------------------------------- */

static void frame_remove_locked(struct tmem_store *s, uint32_t frame)
{
	tmem_bin_remove_locked(s, frame);
	tmem_age_remove_locked(s, frame);
	atomic_fetch_sub_explicit(&s->frames, 1, memory_order_relaxed);
}

static unsigned slot_bin(const struct tmem *t, tmem_handle h)
{
	uint32_t extent = atomic_load_explicit(&tmem_slot(t, h)->index, memory_order_relaxed);

	return bin_of(tmem_chunks_of(t, tmem_frame(t, tmem_handle_frame(h))->kind,
				     tmem_info_size(extent)));
}

void tmem_slot_forget_locked(struct tmem_store *s, tmem_handle h)
{
	struct tmem *t = s->client->host;

	s->count[slot_bin(t, h)].now--;
	tmem_frame(t, tmem_handle_frame(h))->used--;
}

void tmem_slot_free_locked(struct tmem_store *s, tmem_handle h)
{
	struct tmem *t = s->client->host;

	s->count[slot_bin(t, h)].now--;
	tmem_frame_remove_locked(t, tmem_handle_frame(h), tmem_handle_slot(h));
}

void tmem_store_free(struct tmem *t, tmem_handle h, uint32_t mark)
{
	if (tmem_dedup_release(t, h))
		tmem_store_free_slot(t, h, mark);
}

void tmem_store_free_slot(struct tmem *t, tmem_handle h, uint32_t mark)
{
	uint32_t frame = tmem_handle_frame(h);
	struct tmem_frame *f = tmem_frame(t, frame);
	struct tmem_client *c = tmem_frame_client(t, frame);
	struct tmem_store *s = &c->store[f->kind - TMEM_FRAME_STORE];
	bool empty;

	tmem_lock(&s->lock);
	tmem_ghost_add_locked(s, mark);
	if (!f->evicting)
		tmem_bin_remove_locked(s, frame);
	tmem_slot_free_locked(s, h);
	empty = !f->used;
	if (!f->evicting)
		tmem_bin_add_locked(s, frame);
	if (empty)
		frame_remove_locked(s, frame);
	tmem_unlock(&s->lock);
	if (empty)
		tmem_frame_put(t, c, s->kind, frame);
}

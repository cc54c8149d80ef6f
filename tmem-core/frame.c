/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.c - pages within one frame.
 *
 * Owns:    a frame's chunk map and slot directory.
 * How:     head | chunk map | slots ... grow up >   < data from the top ... |
 *          Data is placed in the shortest run of free chunks that holds it, at
 *          the run's upper end, so that the lowest chunks stay free for the
 *          directory.  A slot's number never changes while its page lives.
 * Must not: know lists, clients' limits or the index.
 */
#include "frame.h"

#include <string.h>

/* Size classes of zs: steps of 1 chunk to 128 chunks, 2 to 256. */
static unsigned class_round(unsigned chunks)
{
	unsigned step = chunks <= 128 ? 1 : 2;

	return (chunks + step - 1) & ~(step - 1);
}

unsigned tmem_chunks_of(const struct tmem *t, unsigned kind, uint32_t size)
{
	unsigned chunks = (size + (1u << t->arena.chunk_shift) - 1) >> t->arena.chunk_shift;

	return kind == TMEM_FRAME_STORE + TMEM_PERSISTENT ? class_round(chunks) : chunks;
}

bool tmem_info_plausible(const struct tmem *t, unsigned kind, uint32_t info)
{
	uint32_t size = tmem_info_size(info), type = tmem_info_type(info);
	unsigned start = tmem_info_start(info);

	return type != TMEM_TYPE_DEAD && type < TMEM_TYPES && size && size <= TMEM_PAGE_SIZE &&
	       start < t->arena.chunks &&
	       tmem_chunks_of(t, kind, size) <= t->arena.chunks - start;
}

/* First chunk above a directory of that many slots. */
static unsigned directory_end(const struct tmem *t, unsigned slots)
{
	size_t bytes = t->arena.slots_offset + slots * sizeof(struct tmem_slot);

	return (unsigned)((bytes + (1u << t->arena.chunk_shift) - 1) >> t->arena.chunk_shift);
}

static void map_fill(uint64_t *map, unsigned start, unsigned end, bool set)
{
	while (start < end) {
		unsigned bit = start % 64, n = 64 - bit < end - start ? 64 - bit : end - start;
		uint64_t mask = (n == 64 ? ~0ull : (1ull << n) - 1) << bit;

		if (set)
			map[start / 64] |= mask;
		else
			map[start / 64] &= ~mask;
		start += n;
	}
}

/* First chunk at or after from that is set (or clear), or the end. */
static unsigned map_next(const uint64_t *map, unsigned chunks, unsigned from, bool set)
{
	uint64_t flip = set ? 0 : ~0ull;

	while (from < chunks) {
		uint64_t word = (map[from / 64] ^ flip) >> (from % 64);

		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			return from < chunks ? from : chunks;
		}
		from = (from | 63) + 1;
	}
	return chunks;
}

/* First chunk of the run of free ones that ends before chunk at. */
static unsigned map_run_start(const uint64_t *map, unsigned at)
{
	while (at) {
		unsigned bit = (at - 1) % 64;
		uint64_t word = map[(at - 1) / 64] << (63 - bit);

		if (word)
			return at - (unsigned)__builtin_clzll(word);
		at -= bit + 1;
	}
	return 0;
}

struct run { unsigned start, length; };

/* The next run of free chunks at or after from; length 0: there is none. */
static struct run run_next(const struct tmem *t, const uint64_t *map, unsigned from)
{
	unsigned start = map_next(map, t->arena.chunks, from, false);

	return (struct run){ start, map_next(map, t->arena.chunks, start, true) - start };
}

void tmem_frame_init(struct tmem *t, uint32_t frame, unsigned kind, uint32_t owner,
		     uint32_t incarnation)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);
	uint64_t *map = tmem_frame_map(t, frame);

	head->owner = owner;
	head->incarnation = incarnation;
	head->slots = 0;
	memset(map, 0, t->arena.map_words * sizeof(*map));
	map_fill(map, 0, directory_end(t, 0), true);
	f->kind = (uint8_t)kind;
	f->owner = owner;
	atomic_store_explicit(&head->kind, kind, memory_order_release);
	tmem_frame_measure_locked(t, frame);
}

static bool slot_is_free(struct tmem_slot *s)
{
	return !atomic_load_explicit(&s->object, memory_order_relaxed);
}

void tmem_frame_measure_locked(struct tmem *t, uint32_t frame)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);
	const uint64_t *map = tmem_frame_map(t, frame);
	unsigned from = directory_end(t, head->slots), longest = 0, sum = 0;
	bool room = true;
	struct run r;

	if (f->used == head->slots) {	/* a new page needs a new slot */
		unsigned end = directory_end(t, head->slots + 1);

		room = head->slots < t->arena.slots_max && end <= t->arena.chunks &&
		       map_next(map, end, from, true) == end;
		if (room) {
			sum = end - from;
			from = end;
		}
	}
	for (r = run_next(t, map, from); r.length; r = run_next(t, map, r.start + r.length)) {
		sum += r.length;
		if (r.length > longest)
			longest = r.length;
	}
	f->free = (uint16_t)sum;
	f->fit = room ? (uint16_t)longest : 0;
}

static uint32_t slot_get_locked(struct tmem *t, uint32_t frame)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, 0));
	uint32_t i;

	if (tmem_frame(t, frame)->used < head->slots)
		for (i = 0; i < head->slots; i++)
			if (slot_is_free(&s[i]))
				return i;
	i = head->slots;
	atomic_store_explicit(&s[i].info, 0, memory_order_relaxed);
	map_fill(tmem_frame_map(t, frame), directory_end(t, i), directory_end(t, i + 1), true);
	atomic_signal_fence(memory_order_release);	/* dead before it is in the directory */
	head->slots = i + 1;
	return i;
}

static unsigned chunks_get_locked(struct tmem *t, uint32_t frame, unsigned chunks)
{
	uint64_t *map = tmem_frame_map(t, frame);
	unsigned from = directory_end(t, tmem_frame_head(t, frame)->slots), start;
	struct run r, best = { 0, UINT32_MAX };

	for (r = run_next(t, map, from); r.length; r = run_next(t, map, r.start + r.length))
		if (r.length >= chunks && r.length < best.length)
			best = r;
	assert(best.length != UINT32_MAX);
	start = best.start + best.length - chunks;
	map_fill(map, start, start + chunks, true);
	return start;
}

uint32_t tmem_frame_place_locked(struct tmem *t, uint32_t frame, uint32_t size)
{
	struct tmem_frame *f = tmem_frame(t, frame);
	uint32_t slot = slot_get_locked(t, frame);
	unsigned chunks = tmem_chunks_of(t, f->kind, size);
	unsigned start = chunks_get_locked(t, frame, chunks);
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, slot));

	atomic_store_explicit(&s->index, tmem_info(TMEM_TYPE_DEAD, size, start, 0),
			      memory_order_relaxed);
	atomic_store_explicit(&s->object, TMEM_SLOT_RESERVED, memory_order_relaxed);
	f->used++;
	tmem_frame_measure_locked(t, frame);
	return slot;
}

/* Let go of free slots at the directory's end. */
static void directory_trim_locked(struct tmem *t, uint32_t frame)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, 0));
	unsigned end = directory_end(t, head->slots);

	while (head->slots && slot_is_free(&s[head->slots - 1]))
		head->slots--;
	map_fill(tmem_frame_map(t, frame), directory_end(t, head->slots), end, false);
}

/* Chunks from start to end became free, and nothing else changed. */
static void measure_freed_locked(struct tmem *t, uint32_t frame, unsigned start, unsigned end)
{
	const uint64_t *map = tmem_frame_map(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);
	unsigned run = map_next(map, t->arena.chunks, end, true) - map_run_start(map, start);

	f->free = (uint16_t)(f->free + end - start);
	if (run > f->fit)
		f->fit = (uint16_t)run;
}

void tmem_frame_remove_locked(struct tmem *t, uint32_t frame, uint32_t slot)
{
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, slot));
	uint32_t extent = atomic_load_explicit(&s->index, memory_order_relaxed);
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);
	unsigned start = tmem_info_start(extent), slots = head->slots;
	unsigned chunks = tmem_chunks_of(t, f->kind, tmem_info_size(extent));
	/* Damaged: its chunks stay lost until the whole frame is free. */
	bool sound = start >= directory_end(t, slots) && chunks <= t->arena.chunks - start;
	bool room = f->used < slots && !f->evicting;	/* no part was kept for a slot's sake */

	if (sound)
		map_fill(tmem_frame_map(t, frame), start, start + chunks, false);
	atomic_store_explicit(&s->object, 0, memory_order_relaxed);
	f->used--;
	directory_trim_locked(t, frame);
	if (sound && room && head->slots == slots)
		measure_freed_locked(t, frame, start, start + chunks);
	else
		tmem_frame_measure_locked(t, frame);
}

unsigned tmem_frame_used_locked(struct tmem *t, uint32_t frame)
{
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, 0));
	unsigned i, n = 0;

	for (i = 0; i < tmem_frame_head(t, frame)->slots; i++)
		n += !slot_is_free(&s[i]);
	return n;
}

void tmem_frame_recover_locked(struct tmem *t, uint32_t frame)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	uint64_t *map = tmem_frame_map(t, frame);

	if (head->slots > t->arena.slots_max || directory_end(t, head->slots) > t->arena.chunks)
		head->slots = 0;
	memset(map, 0, t->arena.map_words * sizeof(*map));
	map_fill(map, 0, directory_end(t, head->slots), true);
	tmem_frame(t, frame)->used = 0;
}

bool tmem_frame_claim_locked(struct tmem *t, uint32_t frame, uint32_t info)
{
	uint64_t *map = tmem_frame_map(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);
	unsigned start = tmem_info_start(info);
	unsigned end = start + tmem_chunks_of(t, f->kind, tmem_info_size(info));

	if (map_next(map, end, start, true) != end)
		return false;
	map_fill(map, start, end, true);
	f->used++;
	return true;
}

void tmem_frame_unclaim_locked(struct tmem *t, uint32_t frame, uint32_t slot)
{
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, slot));
	struct tmem_frame *f = tmem_frame(t, frame);
	uint32_t extent = atomic_load_explicit(&s->index, memory_order_relaxed);
	unsigned start = tmem_info_start(extent);

	map_fill(tmem_frame_map(t, frame), start,
		 start + tmem_chunks_of(t, f->kind, tmem_info_size(extent)), false);
	atomic_store_explicit(&s->object, 0, memory_order_relaxed);
	f->used--;
}

void tmem_frame_settle_locked(struct tmem *t, uint32_t frame, const uint64_t *free)
{
	struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, 0));
	unsigned i;

	for (i = 0; i < tmem_frame_head(t, frame)->slots; i++) {
		if (!(free[i / 64] >> (i % 64) & 1))
			continue;
		atomic_store_explicit(&s[i].info, 0, memory_order_release);
		atomic_store_explicit(&s[i].object, 0, memory_order_relaxed);
	}
	directory_trim_locked(t, frame);
	tmem_frame_measure_locked(t, frame);
}

bool tmem_frame_map_right_locked(struct tmem *t, uint32_t frame)
{
	unsigned i, slots = tmem_frame_head(t, frame)->slots;
	const uint64_t *map = tmem_frame_map(t, frame);
	uint64_t right[TMEM_MAP_WORDS_MAX] = { 0 };

	map_fill(right, 0, directory_end(t, slots), true);
	for (i = 0; i < slots; i++) {
		struct tmem_slot *s = tmem_slot(t, tmem_handle_of(frame, i));
		uint32_t info = atomic_load_explicit(&s->info, memory_order_acquire);
		unsigned start, end;

		if (slot_is_free(s))
			continue;
		if (!info)
			info = atomic_load_explicit(&s->index, memory_order_relaxed);
		start = tmem_info_start(info);
		end = start + tmem_chunks_of(t, tmem_frame(t, frame)->kind, tmem_info_size(info));
		if (map_next(right, end, start, true) != end)
			return false;
		map_fill(right, start, end, true);
	}
	return !memcmp(right, map, t->arena.map_words * sizeof(*map));
}

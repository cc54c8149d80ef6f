/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arena.c - frames of the arena file.
 *
 * Owns:    the mapping, and which frames are free: warm (memory still there),
 *          cold (a hole in the file), or never used (numbers from high on).
 * How:     one bitmap each, lowest number first, so that frames in use stay
 *          together and what is given back goes in long runs: a hole punched
 *          page by page costs four times one punched in runs.  A hole is filled
 *          before it is touched: on a full file system that is an error, where
 *          the touch would be a bus error.
 * Must not: know what a frame holds, or whose limits it counts against
 *          (share.c does).
 */
#include "arena.h"

#include <errno.h>
#include <string.h>

#include "fault.h"
#include "os.h"

#define EXTENT_SHIFT	21	/* mlock in pieces of 2 MiB */
#define TRIM_KEEP	8u	/* free frames that stay, + 1/256 of those used */
#define TRIM_PART	256u
#define TRIM_BATCH	16u	/* not worth a system call below */
#define RUN_MAX		4096u	/* frames punched at once: bounds one call's time */

static size_t bitmap_bytes(uint64_t bits)
{
	return (bits + 63) / 64 * sizeof(uint64_t);
}

static void geometry(struct tmem *t, uint32_t frame_shift, uint32_t chunk_shift, uint32_t two)
{
	struct tmem_arena *a = &t->arena;

	a->frame_shift = frame_shift;
	a->chunk_shift = chunk_shift;
	a->chunks = 1u << (frame_shift - chunk_shift);
	a->map_words = a->chunks / 64;
	a->slots_offset = (unsigned)sizeof(struct tmem_frame_head) + a->map_words * 8;
	a->slots_max = two ? 2 : (1u << TMEM_SLOT_BITS) - 1;
	t->two = two;
}

static bool geometry_known(const struct tmem_super *s)
{
	return s->two ? s->frame_shift == TMEM_FRAME_SHIFT_TWO && s->chunk_shift == TMEM_CHUNK_SHIFT_TWO
		      : s->frame_shift == TMEM_FRAME_SHIFT && s->chunk_shift == TMEM_CHUNK_SHIFT;
}

static int bookkeeping_alloc(struct tmem_arena *a)
{
	a->frame = tmem_os_reserve((size_t)a->frames * sizeof(*a->frame));
	a->warm = tmem_os_reserve(bitmap_bytes(a->frames));
	a->cold = tmem_os_reserve(bitmap_bytes(a->frames));
	a->locked = tmem_os_reserve(bitmap_bytes((a->size >> EXTENT_SHIFT) + 1));
	return a->frame && a->warm && a->cold && a->locked ? 0 : -ENOMEM;
}

static void super_write(struct tmem *t)
{
	struct tmem_super *s = t->super;

	s->version = TMEM_ARENA_VERSION;
	s->frame_shift = t->arena.frame_shift;
	s->chunk_shift = t->arena.chunk_shift;
	s->two = t->two;
	s->seed = tmem_os_random();
	__atomic_store_n(&s->magic, TMEM_MAGIC, __ATOMIC_RELEASE);
	atomic_store_explicit(&s->head.kind, TMEM_FRAME_SUPER, memory_order_release);
}

/* The superblock of an existing arena, copied through a mapping of its own; all 0: none. */
static int super_peek(int fd, struct tmem_super *s)
{
	int64_t bytes = tmem_os_size(fd);
	void *p;
	int err;

	memset(s, 0, sizeof(*s));
	if (bytes < (int64_t)TMEM_PAGE_SIZE)
		return bytes < 0 ? (int)bytes : 0;
	err = tmem_os_map(fd, TMEM_PAGE_SIZE, &p);
	if (err)
		return err;
	memcpy(s, p, sizeof(*s));
	tmem_os_unmap(p, TMEM_PAGE_SIZE);
	return 0;
}

/* Nothing but perhaps the superblock was ever written: its making was interrupted. */
static bool is_unwritten(int fd)
{
	uint64_t start, end;

	return !tmem_os_size(fd) || (tmem_os_size(fd) >= (int64_t)TMEM_PAGE_SIZE &&
				     tmem_os_data(fd, 1u << TMEM_FRAME_SHIFT, &start, &end));
}

int tmem_arena_probe(int fd, uint32_t *version)
{
	struct tmem_super s;
	int err = super_peek(fd, &s);

	if (err)
		return err;
	if (version)
		*version = s.version;
	if (s.magic != TMEM_MAGIC)
		return !s.magic && is_unwritten(fd) ? TMEM_ARENA_EMPTY : TMEM_ARENA_FOREIGN;
	return s.version == TMEM_ARENA_VERSION && geometry_known(&s) ? TMEM_ARENA_READABLE :
								       TMEM_ARENA_OTHER;
}

static int super_read(struct tmem *t, int fd, uint64_t *size)
{
	int64_t bytes = tmem_os_size(fd);
	struct tmem_super s;
	int err = super_peek(fd, &s);

	if (bytes < 0 || err)
		return err ? err : (int)bytes;
	if (s.magic != TMEM_MAGIC || s.version != TMEM_ARENA_VERSION || !geometry_known(&s))
		return -EPROTO;
	geometry(t, s.frame_shift, s.chunk_shift, s.two);
	if ((uint64_t)bytes > *size)
		*size = (uint64_t)bytes;
	return 0;
}

int tmem_arena_open(struct tmem *t, const struct tmem_config *config)
{
	struct tmem_arena *a = &t->arena;
	uint64_t size = config->arena_max;
	void *base;
	int err = 0;

	if (config->rebuild)
		err = super_read(t, config->arena_fd, &size);
	else if (config->zbud_two)
		geometry(t, TMEM_FRAME_SHIFT_TWO, TMEM_CHUNK_SHIFT_TWO, 1);
	else
		geometry(t, TMEM_FRAME_SHIFT, TMEM_CHUNK_SHIFT, 0);
	if (err)
		return err;
	size &= ~((1ull << a->frame_shift) - 1);
	if (size >> a->frame_shift >= 1u << TMEM_FRAME_BITS || size >> a->frame_shift < 4)
		return -EINVAL;
	a->fd = config->arena_fd;
	a->lock_memory = config->lock_memory;
	err = config->rebuild ? tmem_os_grow(a->fd, size) : tmem_os_reset(a->fd, size);
	if (err)
		return err;
	if (!config->rebuild)
		err = tmem_os_fill(a->fd, 0, 1ull << a->frame_shift);
	if (!err)
		err = tmem_os_map(a->fd, size, &base);
	if (err)
		return err;
	a->base = base;
	a->size = size;
	a->frames = (uint32_t)(size >> a->frame_shift);
	a->high = 1;
	a->used = 1;
	t->super = base;
	tmem_lock_init(&a->lock);
	if (!config->rebuild)
		super_write(t);
	t->seed = t->super->seed;
	return bookkeeping_alloc(a);
}

void tmem_arena_close(struct tmem *t)
{
	struct tmem_arena *a = &t->arena;

	if (!a->base)
		return;
	tmem_os_release(a->frame, (size_t)a->frames * sizeof(*a->frame));
	tmem_os_release(a->warm, bitmap_bytes(a->frames));
	tmem_os_release(a->cold, bitmap_bytes(a->frames));
	tmem_os_release(a->locked, bitmap_bytes((a->size >> EXTENT_SHIFT) + 1));
	tmem_os_unmap(a->base, a->size);
	tmem_lock_done(&a->lock);
}

static bool bit_test(const uint64_t *map, uint64_t bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

static void bit_set(uint64_t *map, uint64_t bit)
{
	map[bit / 64] |= 1ull << (bit % 64);
}

static void bit_clear(uint64_t *map, uint64_t bit)
{
	map[bit / 64] &= ~(1ull << (bit % 64));
}

/* The first set bit; *hint is the word to start at and where it was found. */
static uint32_t bit_first(const uint64_t *map, uint32_t *hint)
{
	while (!map[*hint])
		(*hint)++;
	return *hint * 64 + (uint32_t)__builtin_ctzll(map[*hint]);
}

/* Lock the extent of a frame the first time one of it is used. */
static void extent_lock_locked(struct tmem_arena *a, uint32_t frame)
{
	uint64_t extent = (uint64_t)frame << a->frame_shift >> EXTENT_SHIFT;
	uint64_t start = extent << EXTENT_SHIFT, size = 1ull << EXTENT_SHIFT;
	int err;

	if (bit_test(a->locked, extent))
		return;
	bit_set(a->locked, extent);
	if (size > a->size - start)
		size = a->size - start;
	err = tmem_os_lock(a->base + start, size);
	if (err)
		atomic_store_explicit(&a->lock_error, err, memory_order_relaxed);
}

static uint32_t take_locked(struct tmem_arena *a)
{
	uint32_t frame;

	if (a->warm_frames) {
		frame = bit_first(a->warm, &a->warm_hint);
		bit_clear(a->warm, frame);
		a->warm_frames--;
	} else if (a->cold_frames) {
		frame = bit_first(a->cold, &a->cold_hint);
		bit_clear(a->cold, frame);
		a->cold_frames--;
	} else if (a->high < a->frames) {
		frame = a->high++;
		a->frame[frame].hole = true;
	} else {
		return 0;
	}
	if (a->lock_memory)
		extent_lock_locked(a, frame);
	return frame;
}

void tmem_arena_hand_over(struct tmem *t, uint32_t frame, uint32_t owner, uint32_t incarnation)
{
	struct tmem_frame_head *head = tmem_frame_head(t, frame);
	struct tmem_frame *f = tmem_frame(t, frame);

	if (!f->hole && (!owner || head->owner != owner || head->incarnation != incarnation))
		memset(head, 0, tmem_frame_bytes(t));
	memset(f, 0, sizeof(*f));
}

/* A hole that could not be filled is as free as before. */
static void hole_put_back(struct tmem_arena *a, uint32_t frame)
{
	tmem_lock(&a->lock);
	a->frame[frame].hole = true;
	bit_set(a->cold, frame);
	a->cold_frames++;
	if (frame / 64 < a->cold_hint)
		a->cold_hint = frame / 64;
	tmem_unlock(&a->lock);
}

uint32_t tmem_arena_take(struct tmem *t, uint32_t owner, uint32_t incarnation)
{
	struct tmem_arena *a = &t->arena;
	uint32_t frame;

	tmem_lock(&a->lock);
	frame = take_locked(a);
	tmem_unlock(&a->lock);
	if (!frame)
		return 0;
	if (a->frame[frame].hole &&
	    tmem_os_fill(a->fd, (uint64_t)frame << a->frame_shift, tmem_frame_bytes(t))) {
		hole_put_back(a, frame);
		return 0;
	}
	tmem_arena_hand_over(t, frame, owner, incarnation);
	TMEM_FAULT("frame-taken");
	return frame;
}

void tmem_arena_give_all(struct tmem *t, const uint32_t *frames, unsigned n)
{
	struct tmem_arena *a = &t->arena;
	unsigned i;

	for (i = 0; i < n; i++)
		atomic_store_explicit(&tmem_frame_head(t, frames[i])->kind, TMEM_FRAME_FREE,
				      memory_order_release);
	TMEM_FAULT("frame-given");
	tmem_lock(&a->lock);
	for (i = 0; i < n; i++) {
		a->frame[frames[i]].kind = TMEM_FRAME_FREE;
		bit_set(a->warm, frames[i]);
		if (frames[i] / 64 < a->warm_hint)
			a->warm_hint = frames[i] / 64;
	}
	a->warm_frames += n;
	tmem_unlock(&a->lock);
	atomic_fetch_sub_explicit(&a->used, n, memory_order_relaxed);
}

void tmem_arena_give(struct tmem *t, uint32_t frame)
{
	tmem_arena_give_all(t, &frame, 1);
}

/* Take the first run of warm frames, at most max long, out of the bitmap. */
static uint32_t run_take_locked(struct tmem_arena *a, uint64_t max, uint32_t *length)
{
	uint32_t first, n = 0;

	if (!a->warm_frames || !max)
		return 0;
	first = bit_first(a->warm, &a->warm_hint);
	while (n < max && n < RUN_MAX && first + n < a->high && bit_test(a->warm, first + n))
		bit_clear(a->warm, first + n++);
	a->warm_frames -= n;
	*length = n;
	return first;
}

static void run_put_locked(struct tmem_arena *a, uint32_t first, uint32_t length, bool punched)
{
	uint32_t *hint = punched ? &a->cold_hint : &a->warm_hint;
	uint32_t i;

	for (i = first; i < first + length; i++) {
		bit_set(punched ? a->cold : a->warm, i);
		a->frame[i].hole = punched;
	}
	if (first / 64 < *hint)
		*hint = first / 64;
	*(punched ? &a->cold_frames : &a->warm_frames) += length;
	if (punched)
		a->returned += length;
}

uint64_t tmem_arena_punch(struct tmem *t, uint64_t max)
{
	struct tmem_arena *a = &t->arena;
	uint32_t first, length = 0;
	uint64_t done = 0;
	int err = 0;

	tmem_lock(&a->lock);
	while (!err && (first = run_take_locked(a, max - done, &length))) {
		tmem_unlock(&a->lock);
		err = tmem_os_punch(a->fd, (uint64_t)first << a->frame_shift,
				    (uint64_t)length << a->frame_shift);
		tmem_lock(&a->lock);
		run_put_locked(a, first, length, !err);
		if (!err)
			done += length;
	}
	tmem_unlock(&a->lock);
	return done;
}

void tmem_arena_trim(struct tmem *t)
{
	struct tmem_arena *a = &t->arena;
	uint32_t keep = TRIM_KEEP + atomic_load_explicit(&a->used, memory_order_relaxed) / TRIM_PART;
	uint32_t warm;

	tmem_lock(&a->lock);
	warm = a->warm_frames;
	tmem_unlock(&a->lock);
	if (warm >= keep + TRIM_BATCH)
		tmem_arena_punch(t, warm - keep);
}

void tmem_arena_survey(struct tmem *t)
{
	struct tmem_arena *a = &t->arena;
	uint64_t start, end = 0;
	uint32_t frame, last;

	while (!tmem_os_data(a->fd, end, &start, &end) && start < a->size) {
		if (end > a->size)
			end = a->size;
		tmem_os_populate(a->base + start, end - start);
		frame = (uint32_t)(start >> a->frame_shift);
		last = (uint32_t)((end - 1) >> a->frame_shift);
		for (; frame <= last && frame < a->frames; frame++) {
			if (!frame || bit_test(a->warm, frame))
				continue;
			bit_set(a->warm, frame);
			a->warm_frames++;
			a->high = frame + 1;
		}
	}
	for (frame = 1; frame < a->high; frame++) {
		if (bit_test(a->warm, frame))
			continue;
		bit_set(a->cold, frame);
		a->cold_frames++;
		a->frame[frame].hole = true;
	}
}

bool tmem_arena_unclaimed(const struct tmem *t, uint32_t frame)
{
	return bit_test(t->arena.warm, frame);
}

void tmem_arena_claim(struct tmem *t, uint32_t frame)
{
	struct tmem_arena *a = &t->arena;

	bit_clear(a->warm, frame);
	a->warm_frames--;
	if (a->lock_memory)
		extent_lock_locked(a, frame);
	atomic_fetch_add_explicit(&a->used, 1, memory_order_relaxed);
}

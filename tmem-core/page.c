/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page.c - a page in its slot.
 *
 * Owns:    the order in which a slot is written, and the checksum.
 * How:     commit stores the info word last, kill clears it first.  A process
 *          that dies between any two stores leaves the page whole or absent.
 *          The checksum covers slot and data, so that a slot found at rebuild
 *          with somebody else's data never passes for a page.
 * Must not: free slots or touch the index.
 */
#include "page.h"

#include <xxhash.h>

#include "fault.h"

uint64_t tmem_data_sum(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

uint32_t tmem_page_sum(const struct tmem_page *p, uint64_t data_sum)
{
	uint64_t all[4] = {
		data_sum, p->tag,
		(uint64_t)p->object << 32 | p->index, p->info,
	};

	return (uint32_t)XXH3_64bits(all, sizeof(all));
}

void tmem_page_read(const struct tmem *t, tmem_handle h, struct tmem_page *p)
{
	struct tmem_slot *s = tmem_slot(t, h);

	p->handle = h;
	p->info = atomic_load_explicit(&s->info, memory_order_acquire);
	p->object = atomic_load_explicit(&s->object, memory_order_relaxed);
	p->index = atomic_load_explicit(&s->index, memory_order_relaxed);
	p->tag = s->tag;
	p->sum = s->sum;
}

static unsigned kind_of(const struct tmem *t, tmem_handle h)
{
	return tmem_frame(t, tmem_handle_frame(h))->kind;
}

bool tmem_page_is(const struct tmem *t, const struct tmem_page *p, uint32_t object, uint32_t index)
{
	return p->object == object && p->index == index &&
	       tmem_info_plausible(t, kind_of(t, p->handle), p->info);
}

bool tmem_page_intact(const struct tmem *t, tmem_handle h, uint32_t object)
{
	struct tmem_page p;

	tmem_page_read(t, h, &p);
	if (!tmem_page_is(t, &p, object, p.index))
		return false;
	return p.sum == tmem_page_sum(&p, tmem_data_sum(tmem_slot_data(t, h, p.info),
							tmem_info_size(p.info)));
}

void tmem_page_commit(const struct tmem *t, tmem_handle h, const struct tmem_staged *staged,
		      uint32_t object, uint32_t index, uint64_t tag, uint32_t seq)
{
	struct tmem_slot *s = tmem_slot(t, h);
	uint32_t extent = atomic_load_explicit(&s->index, memory_order_relaxed);
	struct tmem_page p = {
		.object = object, .index = index, .tag = tag,
		.info = tmem_info(staged->type, staged->size, tmem_info_start(extent), seq),
	};

	s->tag = tag;
	s->sum = tmem_page_sum(&p, staged->sum);
	atomic_store_explicit(&s->index, index, memory_order_relaxed);
	atomic_store_explicit(&s->object, object, memory_order_relaxed);
	TMEM_FAULT("page-written");
	atomic_store_explicit(&s->info, p.info, memory_order_release);
}

void tmem_page_kill(const struct tmem *t, tmem_handle h)
{
	struct tmem_slot *s = tmem_slot(t, h);
	uint32_t info = atomic_load_explicit(&s->info, memory_order_relaxed);

	atomic_store_explicit(&s->info, 0, memory_order_relaxed);
	/* Dead before the slot says anything else, and before the space is reused. */
	atomic_thread_fence(memory_order_release);
	TMEM_FAULT("page-dead");
	atomic_store_explicit(&s->index, info, memory_order_relaxed);
	atomic_store_explicit(&s->object, TMEM_SLOT_RESERVED, memory_order_relaxed);
}

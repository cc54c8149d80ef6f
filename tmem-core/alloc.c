/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc.c - the core's heap.
 *
 * Owns:    the count of bytes held and of allocations refused.
 * How:     malloc, with what it really spends (its own header included) added
 *          to the host's count; a process-wide countdown lets tests refuse.
 * Must not: be bypassed by any other file of the core.
 */
#include "alloc.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OVERHEAD	sizeof(size_t)	/* glibc's header of a block */

static _Atomic long fail_after = -1;

void tmem_alloc_fail_after(long n)
{
	atomic_store(&fail_after, n);
}

static bool refuse(void)
{
	long left = atomic_load_explicit(&fail_after, memory_order_relaxed);

	if (left < 0)
		return false;
	while (left > 0)
		if (atomic_compare_exchange_weak(&fail_after, &left, left - 1))
			return false;
	return left == 0;
}

static void *count(struct tmem_heap *h, void *p, size_t size)
{
	if (!p) {
		if (h)
			atomic_fetch_add_explicit(&h->failed, 1, memory_order_relaxed);
		return NULL;
	}
	memset(p, 0, size);
	if (h)
		atomic_fetch_add_explicit(&h->bytes, malloc_usable_size(p) + OVERHEAD,
					  memory_order_relaxed);
	return p;
}

void *tmem_alloc(struct tmem_heap *h, size_t size)
{
	return count(h, refuse() ? NULL : malloc(size), size);
}

void *tmem_alloc_aligned(struct tmem_heap *h, size_t align, size_t size)
{
	/* Not posix_memalign: what it cuts off stays behind in the heap. */
	char *block = tmem_alloc(h, size + align + sizeof(void *));
	uintptr_t at;

	if (!block)
		return NULL;
	at = ((uintptr_t)block + sizeof(void *) + align - 1) & ~(uintptr_t)(align - 1);
	((void **)at)[-1] = block;
	return (void *)at;
}

void tmem_free_aligned(struct tmem_heap *h, void *p)
{
	if (p)
		tmem_free(h, ((void **)p)[-1]);
}

void tmem_free(struct tmem_heap *h, void *p)
{
	if (!p)
		return;
	if (h)
		atomic_fetch_sub_explicit(&h->bytes, malloc_usable_size(p) + OVERHEAD,
					  memory_order_relaxed);
	free(p);
}

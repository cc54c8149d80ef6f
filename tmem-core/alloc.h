/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc.h - the core's heap: every allocation, counted, and made to fail in tests.
 */
#ifndef TMEM_ALLOC_H
#define TMEM_ALLOC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct tmem_heap {
	_Atomic uint64_t bytes;		/* held, with the allocator's own overhead */
	_Atomic uint64_t failed;	/* allocations refused */
};

/* Zeroed memory or NULL; h may be NULL (not counted). */
void *tmem_alloc(struct tmem_heap *h, size_t size);

/* The same, aligned to a power of two; freed by tmem_free_aligned(). */
void *tmem_alloc_aligned(struct tmem_heap *h, size_t align, size_t size);
void tmem_free_aligned(struct tmem_heap *h, void *p);

void tmem_free(struct tmem_heap *h, void *p);

/*
 * For tests: the n-th allocation from now (0 the next) and all after it fail;
 * negative: none does.
 */
void tmem_alloc_fail_after(long n);

#endif

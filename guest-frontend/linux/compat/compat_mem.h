/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_mem.h - copying.
 */
#ifndef TMEM_COMPAT_MEM_H
#define TMEM_COMPAT_MEM_H

#include <linux/bvec.h>
#include <linux/highmem.h>

#if !COMPAT_SINCE(5, 15)
static inline void memcpy_from_bvec(char *to, struct bio_vec *bvec)
{
	char *from = kmap_atomic(bvec->bv_page);

	memcpy(to, from + bvec->bv_offset, bvec->bv_len);
	kunmap_atomic(from);
}

static inline void memcpy_to_bvec(struct bio_vec *bvec, const char *from)
{
	char *to = kmap_atomic(bvec->bv_page);

	memcpy(to + bvec->bv_offset, from, bvec->bv_len);
	flush_dcache_page(bvec->bv_page);
	kunmap_atomic(to);
}
#endif

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_test.h - switches that break coherence on purpose, so that a test can show that
 * it would see it.  Only where the module is built with TMEM_TEST=1; else all are off and
 * the compiler drops what asks.
 */
#ifndef TMEM_CACHE_TEST_H
#define TMEM_CACHE_TEST_H

#include <linux/bits.h>
#include <linux/types.h>

#define TMEM_BREAK_GENERATION	BIT(0)	/* invalidations end nothing */
#define TMEM_BREAK_TRUNCATE	BIT(1)	/* truncated ranges are not invalidated */
#define TMEM_BREAK_INVALIDATE	BIT(2)	/* ranges written by O_DIRECT are not invalidated */
#define TMEM_BREAK_WRITER	BIT(3)	/* pages are put while their file changes */
#define TMEM_BREAK_DELETE	BIT(4)	/* pages removed otherwise are not invalidated */
#define TMEM_BREAK_DIRTY	BIT(5)	/* pages written to are not invalidated */
#define TMEM_BREAK_NAME		BIT(6)	/* a function is looked for by a name that many have */
#define TMEM_BREAK_VERSION	BIT(7)	/* pages in a shared pool have no version */

#ifdef TMEM_TEST
extern unsigned int tmem_cache_break;

static inline bool tmem_cache_broken(unsigned int what)
{
	return tmem_cache_break & what;
}
#else
static inline bool tmem_cache_broken(unsigned int what)
{
	return false;
}
#endif

#endif

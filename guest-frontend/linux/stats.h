/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stats.h - the module's counters.  All count events since the module was
 * loaded; a page is TMEMP_PAGE_SIZE bytes.
 */
#ifndef TMEM_STATS_H
#define TMEM_STATS_H

#include <linux/percpu.h>

/* X(constant, name as shown), in the order shown. */
#define TMEM_COUNTERS(X)						\
	X(PUTS, puts)			/* pages the host took */	\
	X(PUTS_REFUSED, puts_refused)	/* pages the host refused */	\
	X(PUTS_DOUBTFUL, puts_doubtful)	/* no answer, or none that says */ \
	X(PUTS_SKIPPED, puts_skipped)	/* not offered: no host, overdue, off */ \
	X(GETS, gets)			/* pages the host gave back */	\
	X(GETS_FAILED, gets_failed)	/* pages it should have had */	\
	X(FRONTSWAP_STORES, frontswap_stores)	/* taken of the kernel's frontswap */ \
	X(FRONTSWAP_LOADS, frontswap_loads)	/* filled for it */	\
	X(FRONTSWAP_PASSES, frontswap_passes)	/* loads left to the device */ \
	X(FRONTSWAP_INVALIDATES, frontswap_invalidates) /* that it needs no more */ \
	X(FLUSHES, flushes)		/* flushes queued to the host */ \
	X(FLUSHES_OWED, flushes_owed)	/* of those, first noted as owed */ \
	X(POSTS_FAILED, posts_failed)	/* queued, nobody waited, not OK */ \
	X(CACHE_PUTS, cache_puts)	/* clean pages queued to the host */ \
	X(CACHE_PUTS_REFUSED, cache_puts_refused) /* of those, not taken */ \
	X(CACHE_PUTS_FILTERED, cache_puts_filtered) /* not put: seen once */ \
	X(CACHE_PUTS_UNSAFE, cache_puts_unsafe) /* not put: could be stale */ \
	X(CACHE_PUTS_DROPPED, cache_puts_dropped) /* not put: no room, no host */ \
	X(CACHE_PUTS_STAGED, cache_puts_staged) /* found no slot, and waited for one */ \
	X(CACHE_PUTS_LOST, cache_puts_lost) /* of those, in vain */ \
	X(CACHE_PACED, cache_paced)	/* waits of readers and kswapd */ \
	X(CACHE_GETS, cache_gets)	/* asked of the host */		\
	X(CACHE_HITS, cache_hits)	/* of those, read from there */	\
	X(CACHE_GETS_DROPPED, cache_gets_dropped) /* not asked: no room, no host */ \
	X(CACHE_INVALIDATIONS, cache_invalidations) /* generations ended */ \
	X(CACHE_INDEX_TOO_BIG, cache_index_too_big) /* not put: no such key */ \
	X(DISK_WRITES, disk_writes)	/* pages */			\
	X(DISK_READS, disk_reads)	/* pages */			\
	X(ZERO_READS, zero_reads)	/* pages nobody wrote; no disk */ \
	X(IO_ERRORS, io_errors)		/* reads and writes failed */	\
	X(TIMEOUTS, timeouts)		/* answers not waited for any longer */ \
	X(TARDY, tardy)			/* the same, after a brief wait */ \
	X(LATE, late)			/* of those, came later */	\
	X(POLLED, polled)		/* answers found without one */	\
	X(SLEPT, slept)			/* answers that took an interrupt */	\
	X(NUDGES, nudges)		/* doorbells rung again */

#define TMEM_COUNTER_ENUM(constant, name) TMEM_##constant,
enum tmem_counter { TMEM_COUNTERS(TMEM_COUNTER_ENUM) TMEM_COUNTER_END };
#undef TMEM_COUNTER_ENUM

struct tmem_counts {
	unsigned long n[TMEM_COUNTER_END];
};
DECLARE_PER_CPU(struct tmem_counts, tmem_counts);

static inline void tmem_count(enum tmem_counter counter)
{
	this_cpu_inc(tmem_counts.n[counter]);
}

int  tmem_stats_init(void);
void tmem_stats_exit(void);

#endif

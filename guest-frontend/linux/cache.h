/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache.h - the page cache in the host: between what sees the kernel's page cache (a
 * provider) and what keeps pages there (the source).
 */
#ifndef TMEM_CACHE_H
#define TMEM_CACHE_H

#include <linux/types.h>

struct page;
struct tmem_slot;

#define TMEM_CACHE_OBJECT_WORDS	3
#define TMEM_CACHE_BATCH	32u	/* pages asked for at once: what half a queue has room for */

/*
 * A file, as its provider names it.  No two files in memory at one time have the same
 * name, and every page of one is invalidated before another gets its name.
 */
struct tmem_cache_file {
	unsigned long	fs;
	u64		object[TMEM_CACHE_OBJECT_WORDS];
};

/* A page wanted; page is locked, in the page cache, and not up to date. */
struct tmem_cache_want {
	u64			index;
	struct page		*page;
	bool			hit;	/* page has been filled */
	/* The source's own. */
	struct tmem_slot	*slot;
};

/* ---- what a provider calls ------------------------------------------------ */

/*
 * The page leaves the page cache, clean and up to date, and nobody can change it or
 * find it there before this returns.  One that is not taken is invalidated.
 * worthy: it was used more than once, as the kernel saw it.  Any context.
 */
void tmem_cache_put(const struct tmem_cache_file *file, u64 index, struct page *page,
		    bool worthy);

/* What was put under these is true no longer; first to last, both included.  Any context. */
void tmem_cache_invalidate(const struct tmem_cache_file *file, u64 first, u64 last);

/* Fill what the host has of at most TMEM_CACHE_BATCH pages of a file.  Sleeps, bounded. */
void tmem_cache_get(const struct tmem_cache_file *file, struct tmem_cache_want *wants,
		    unsigned int count);

/* Until when a read that begins to wait now waits, as ktime_get_ns(). */
u64 tmem_cache_deadline_ns(void);

/* ---- providers ------------------------------------------------------------ */

struct tmem_cache_provider {
	const char *name;

	/*
	 * Begin to call, invalidations first.  On an error, of which one line in the
	 * log says why, nothing is left behind.  Sleeps.
	 */
	int (*start)(void);

	/* End in the opposite order; when this returns no call is under way.  Sleeps. */
	void (*stop)(void);
};

extern const struct tmem_cache_provider tmem_cache_hooks;
extern const struct tmem_cache_provider tmem_cache_api;

/* The one for this kernel, or NULL. */
static inline const struct tmem_cache_provider *tmem_cache_provider(void)
{
#ifdef CONFIG_CLEANCACHE
	return &tmem_cache_api;
#elif defined(CONFIG_DYNAMIC_FTRACE_WITH_REGS)
	return &tmem_cache_hooks;
#else
	return NULL;
#endif
}

/* ---- the module ----------------------------------------------------------- */

void tmem_cache_init(void);
void tmem_cache_exit(void);

#endif

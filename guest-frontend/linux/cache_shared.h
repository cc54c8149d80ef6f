/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_shared.h - pages of a cluster file system, in a pool that other guests have too.
 */
#ifndef TMEM_CACHE_SHARED_H
#define TMEM_CACHE_SHARED_H

#include "cache.h"

/* Fill a page that is in its mapping, locked.  Sleeps, bounded. */
bool tmem_shared_get(const struct tmem_cache_file *file, u64 index, struct page *page);

/* Put a page that is still in its mapping.  Any context. */
void tmem_shared_put(const struct tmem_cache_file *file, u64 index, struct page *page);

/* What was put of a page is of no use any more.  Any context. */
void tmem_shared_flush_page(const struct tmem_cache_file *file, u64 index);

/*
 * Have none of a file.  When this returns the host has done it and all that was asked of
 * that file before, or shared pools are used no more.  Sleeps.
 */
void tmem_shared_flush(const struct tmem_cache_file *file);

/* Use shared pools; or do not, but for flushes. */
void tmem_shared_start(void);
void tmem_shared_stop(void);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_stage.h - pages on their way to the host for which there was no slot yet.
 */
#ifndef TMEM_CACHE_STAGE_H
#define TMEM_CACHE_STAGE_H

#include "request.h"

struct page;

int  tmem_stage_init(unsigned int pages);
void tmem_stage_exit(void);

/*
 * Copy a page; it is put under key, tag included, soon, or lost, of which
 * tmem_cache_put_lost is told with hash.  False: no room.  Any context.
 */
bool tmem_stage_add(const struct tmem_key *key, u64 hash, struct page *page);
void tmem_cache_put_lost(u64 hash);

/*
 * Whoever reads, and so makes the kernel drop pages, waits here until the host keeps up,
 * but not past ktime_get_ns() being deadline_ns, within a jiffy.
 */
void tmem_stage_pace(u64 deadline_ns);

/* Drop what was added; nobody adds.  Sleeps. */
void tmem_stage_empty(void);

#endif

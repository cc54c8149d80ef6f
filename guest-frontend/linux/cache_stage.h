/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_stage.h - pages on their way to the host for which there was no slot yet.
 */
#ifndef TMEM_CACHE_STAGE_H
#define TMEM_CACHE_STAGE_H

#include "request.h"

struct page;

/* -ENOMEM; then what there is must be freed all the same. */
int  tmem_stage_init(unsigned int pages);
void tmem_stage_exit(void);

/*
 * Copy a page; it is put under key, tag included, soon, or lost, of which
 * tmem_cache_put_lost is told with hash.  False: no room.  Any context.
 */
bool tmem_stage_add(const struct tmem_key *key, u64 hash, struct page *page);
void tmem_cache_put_lost(u64 hash);

/* Whether it is nearly empty; wait until it is, or ktime_get_ns() is deadline_ns. */
bool tmem_stage_has_room(void);
bool tmem_stage_wait(u64 deadline_ns);

/* Drop what was added; nobody adds.  Sleeps. */
void tmem_stage_empty(void);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_fs.h - file systems whose pages the host may keep.
 */
#ifndef TMEM_CACHE_FS_H
#define TMEM_CACHE_FS_H

#include "request.h"

struct super_block;

/* What goes into the keys of a file system's pages. */
struct tmem_cache_fs_key {
	enum tmem_pool pool;
	u64 nonce;	/* drawn when it was taken */
};

/* Whether module options want a file system like that.  Any context. */
bool tmem_cache_fs_wanted(const struct super_block *sb);

/* Whether the file system of that name is taken; if not, it will be looked at.  Any context. */
bool tmem_cache_fs_find(unsigned long fs, struct tmem_cache_fs_key *key);

/* Take file systems as they are used; or let go of all, whose pages the host drops.  Sleep. */
int  tmem_cache_fs_start(void);
void tmem_cache_fs_stop(void);

/* One line a file system.  Returns the length. */
int  tmem_cache_fs_print(char *buf, size_t size);

#endif

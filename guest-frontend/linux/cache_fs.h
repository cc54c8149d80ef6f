/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_fs.h - file systems whose pages the host may keep.
 */
#ifndef TMEM_CACHE_FS_H
#define TMEM_CACHE_FS_H

#include "request.h"

struct super_block;
struct tmem_cache_file;

/* Whether module options want a file system like that.  Any context. */
bool tmem_cache_fs_wanted(const struct super_block *sb);

/*
 * Where pages of a file are kept: all of *key but index and tag.  False: nowhere, as its
 * file system is not taken; it will be looked at.  Any context.
 */
bool tmem_cache_fs_key(const struct tmem_cache_file *file, struct tmem_key *key);

/*
 * For a provider whose file systems say themselves that they come and go; they stay named
 * while the source is off.  uuid is NULL where the pool is private.  Returns the name, 0:
 * there is no pool left.  Sleep; do not wait for the host.
 */
unsigned long tmem_cache_fs_add(const u8 uuid[16]);
void tmem_cache_fs_remove(unsigned long fs);

/*
 * Get ready; take file systems as they are used, now that every change of them is
 * seen; let go of all, whose pages the host drops.  Sleep.
 */
int  tmem_cache_fs_start(void);
void tmem_cache_fs_begin(void);
void tmem_cache_fs_stop(void);

/* One line a file system.  Returns the length. */
int  tmem_cache_fs_print(char *buf, size_t size);

#endif

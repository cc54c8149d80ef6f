/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_rules.h - the rules of coherence that every provider keeps when a folio leaves the
 * page cache; cache.c has them all.
 *
 *   1. Reclaim holds the only references when it removes a folio, and has frozen them to
 *      0; nobody else is at 0.  Such a folio may be put if it is up to date, clean, not
 *      under writeback, not of an inode that is going; page by page below the end of the file.
 *   2. Between the invalidation before a direct write and the one after, a page can be
 *      read and reclaimed with what the disk had before.  So nothing is put while the
 *      file is open for writing and its lock is held or direct I/O is in flight; the
 *      kernel counts both down after the second invalidation.  Its own cleancache
 *      lacked this and returned stale pages.
 */
#ifndef TMEM_CACHE_RULES_H
#define TMEM_CACHE_RULES_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "cache_test.h"
#include "compat.h"
#include "stats.h"

/* Rule 1. */
static inline bool tmem_folio_reclaimed(struct folio *folio)
{
	return !folio_ref_count(folio) && folio_test_uptodate(folio) &&
	       !folio_test_dirty(folio) && !folio_test_writeback(folio) &&
	       !mapping_exiting(folio->mapping);
}

static inline bool tmem_index_in_file(const struct inode *inode, pgoff_t index)
{
	return index < DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);
}

/* Rule 2. */
static inline bool tmem_inode_changing(struct inode *inode)
{
	if (atomic_read(&inode->i_writecount) <= 0 || tmem_cache_broken(TMEM_BREAK_WRITER))
		return false;
	return rwsem_is_locked(&inode->i_rwsem) || atomic_read(&inode->i_dio_count) > 0;
}

/* Both, but for the end of the file. */
static inline bool tmem_folio_may_put(struct folio *folio, struct inode *inode)
{
	if (!tmem_folio_reclaimed(folio))
		return false;
	if (!tmem_inode_changing(inode))
		return true;
	tmem_count(TMEM_CACHE_PUTS_UNSAFE);
	return false;
}

#endif

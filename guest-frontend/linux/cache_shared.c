// SPDX-License-Identifier: GPL-2.0
/*
 * cache_shared.c - coherence among guests.
 *
 * Owns:     requests on shared pools.
 * How:      what is in a shared pool may be another guest's, of whose writes this one's
 *           generations know nothing.  Two things make up for that:
 *
 *   A page's tag is the time of its file's last change.  It comes with the cluster's
 *   lock and so is the same on every node that may read the file.  A write gives the file
 *   a later time, if the clock of the node that writes has gone on since the last one: a
 *   page is put only once it has.  A page of another time is not believed.  So what a
 *   node put and then overwrites is nobody's any more, though the file system says nothing
 *   of it here: it writes under its own lock, and the next node may read as soon as the
 *   disk has it.
 *
 *   Clocks of two nodes may differ, so one could write at a time that the file had at
 *   the other.  But before a node may write, the file system has every other one give up
 *   the inode's pages, and waits for that here: for the flush of the file, which comes
 *   behind all puts of its pages in the same queue.  If that gets no answer, this guest uses
 *   shared pools no more until the page cache is switched on again, and says so.
 *
 *           A flush of one page only frees memory of the host, and may be lost.
 * Must not: believe a page that may be older than the file; depend on the host for it.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/timekeeping.h>

#include "cache_fs.h"
#include "cache_shared.h"
#include "cache_test.h"
#include "compat.h"
#include "request.h"
#include "stats.h"

#define NSEC_BITS	30	/* of a version; above them are seconds */

static bool in_use;

void tmem_shared_start(void)
{
	WRITE_ONCE(in_use, true);
}

void tmem_shared_stop(void)
{
	WRITE_ONCE(in_use, false);
}

/* False: the host has no such pool for this guest, which may not be allowed to share it. */
static bool shared_key(const struct tmem_cache_file *file, u64 index, struct tmem_key *key)
{
	if (index > U32_MAX || !tmem_cache_fs_key(file, key) || !tmem_pool_granted(key->pool))
		return false;
	key->index = index;
	return true;
}

/* ---- versions ------------------------------------------------------------- */

static u64 version(struct timespec64 changed)
{
	if (tmem_cache_broken(TMEM_BREAK_VERSION))
		return 0;
	return (u64)changed.tv_sec << NSEC_BITS | changed.tv_nsec;
}

/* Whether whatever this node writes from now on has another version. */
static bool version_ends(struct timespec64 changed)
{
	struct timespec64 now;

	ktime_get_coarse_real_ts64(&now);
	return timespec64_compare(&changed, &now) < 0;
}

/* ---- requests ------------------------------------------------------------- */

bool tmem_shared_get(const struct tmem_cache_file *file, u64 index, struct page *page)
{
	u64 tag = version(page->mapping->host->i_ctime);
	struct tmem_slot *slot;
	struct tmem_key key;
	bool hit;
	void *to;

	if (!READ_ONCE(in_use) || !shared_key(file, index, &key))
		return false;
	slot = tmem_request_begin(&key, TMEM_BRIEF);
	if (!slot || tmem_get_submit(slot, &key, NULL))
		return false;
	tmem_count(TMEM_CACHE_GETS);
	if (!tmem_slot_wait_until(slot, tmem_cache_deadline_ns()))
		return false;
	hit = tmem_get_result(slot, tag) == TMEM_GET_PAGE && READ_ONCE(in_use);
	if (hit) {
		to = kmap_local_page(page);
		memcpy(to, slot->page, TMEMP_PAGE_SIZE);
		kunmap_local(to);
		flush_dcache_page(page);
		tmem_count(TMEM_CACHE_HITS);
	}
	tmem_slot_release(slot);
	return hit;
}

static void put_post(const struct tmem_key *key, struct page *page)
{
	struct tmem_slot *slot = tmem_request_begin(key, TMEM_SPARE);
	void *from;

	if (!slot) {
		tmem_count(TMEM_CACHE_PUTS_DROPPED);
		return;
	}
	from = kmap_local_page(page);
	memcpy(slot->page, from, TMEMP_PAGE_SIZE);
	kunmap_local(from);
	tmem_count(tmem_put_post(slot, key) ? TMEM_CACHE_PUTS_DROPPED : TMEM_CACHE_PUTS);
}

void tmem_shared_put(const struct tmem_cache_file *file, u64 index, struct page *page)
{
	struct timespec64 changed = page->mapping->host->i_ctime;
	struct tmem_key key;

	if (!READ_ONCE(in_use) || !shared_key(file, index, &key))
		return;
	if (!version_ends(changed)) {
		tmem_count(TMEM_CACHE_PUTS_UNSAFE);
		return;
	}
	key.tag = version(changed);
	put_post(&key, page);
}

void tmem_shared_flush_page(const struct tmem_cache_file *file, u64 index)
{
	struct tmem_slot *slot;
	struct tmem_key key;

	if (!shared_key(file, index, &key))
		return;
	slot = tmem_request_begin(&key, TMEM_SPARE);
	if (slot)
		tmem_flush_post(slot, &key, NULL);
}

void tmem_shared_flush(const struct tmem_cache_file *file)
{
	struct tmem_key key;

	if (!shared_key(file, 0, &key) || !tmem_host_ready() || !tmem_flush_object(&key))
		return;
	if (xchg(&in_use, false))
		pr_err("tmem: a flush of a shared pool was lost: shared pools are not used any more\n");
}

// SPDX-License-Identifier: GPL-2.0
/*
 * cache_shared.c - coherence among guests.
 *
 * Owns:     requests on shared pools.
 * How:      what is in a shared pool may be another guest's, of whose writes this one's
 *           generations know nothing.  There the locks of the cluster file system
 *           decide: it invalidates an inode's pages before it lets another node write
 *           them, and waits for that here.  So flushes of a file's pages are
 *           queued behind its puts, and the flush of the file is waited for, which comes
 *           behind all of them in the same queue.
 *           A flush that cannot be queued, or is not answered, may leave a page that is
 *           not true.  Then this guest uses shared pools no more until the page
 *           cache is switched on again, and says so; what the others read
 *           is theirs to tell by the cluster's own fencing.
 * Must not: believe a page after a flush was lost.
 */
#include <linux/highmem.h>
#include <linux/module.h>

#include "cache_fs.h"
#include "cache_shared.h"
#include "compat.h"
#include "stats.h"

#define SHARED_TAG	0u	/* every guest's */

static bool in_use;

void tmem_shared_start(void)
{
	WRITE_ONCE(in_use, true);
}

void tmem_shared_stop(void)
{
	WRITE_ONCE(in_use, false);
}

static void shared_lost(void)
{
	if (xchg(&in_use, false))
		pr_err("tmem: a flush of a shared pool was lost: shared pools are not used any more\n");
}

static void flush_lost(const struct tmem_call *call, struct tmem_slot *slot)
{
	shared_lost();
}

static bool shared_key(const struct tmem_cache_file *file, u64 index, struct tmem_key *key)
{
	if (index > U32_MAX || !tmem_cache_fs_key(file, key))
		return false;
	key->index = index;
	key->tag = SHARED_TAG;
	return true;
}

bool tmem_shared_get(const struct tmem_cache_file *file, u64 index, struct page *page)
{
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
	hit = tmem_get_result(slot, SHARED_TAG) == TMEM_GET_PAGE && READ_ONCE(in_use);
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

static void shared_post(const struct tmem_key *key, struct page *page)
{
	static const struct tmem_call lost = { .done = flush_lost };
	struct tmem_slot *slot = tmem_request_begin(key, page ? TMEM_SPARE : TMEM_NOWAIT);
	void *from;
	int err;

	if (!slot) {
		if (tmem_host_ready() && !page)
			shared_lost();
		return;
	}
	if (page) {
		from = kmap_local_page(page);
		memcpy(slot->page, from, TMEMP_PAGE_SIZE);
		kunmap_local(from);
		err = tmem_put_post(slot, key);
		if (!err)
			tmem_count(TMEM_CACHE_PUTS);
	} else {
		err = tmem_flush_post(slot, key, &lost);
	}
	if (err)
		shared_lost();
}

void tmem_shared_put(const struct tmem_cache_file *file, u64 index, struct page *page)
{
	struct tmem_key key;

	if (shared_key(file, index, &key))
		shared_post(&key, READ_ONCE(in_use) ? page : NULL);
}

void tmem_shared_flush(const struct tmem_cache_file *file)
{
	struct tmem_key key;

	if (shared_key(file, 0, &key) && tmem_host_ready() && tmem_flush_object(&key))
		shared_lost();
}

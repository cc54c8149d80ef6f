// SPDX-License-Identifier: GPL-2.0
/*
 * cache.c - clean pages of the page cache, kept by the host.
 *
 * Owns:     what the guest believes of pages in the host, and whether any are kept.
 * How:      a page is put when the kernel drops it, posted from where interrupts are
 *           off, never waited for; where there is no room for it, in the ring or in
 *           cache_stage.c, it is not put; cache_pace.c makes that rare.  Its tag is the sum
 *           of two generations, its file's and its own (both hashed, generation.c).  Both
 *           only grow, so two sums are equal exactly if neither ended in between.
 *           A page is got when the kernel is about to read it: a batch is queued, waited
 *           for with one deadline, and each answer believed if its tag is the present one.
 *
 *   The rules of coherence, and who keeps them:
 *   1. Only a page that is what the disk has is put; whatever leaves the page cache
 *      otherwise is invalidated.                            provider and tmem_cache_put
 *   2. Nothing is put of a file that may be changing under the page cache.    provider
 *   3. A get fills only a page that nobody has filled, in whole folios.       provider
 *   4. Only files whose pages all come and go through the page cache.         provider
 *   5. On: invalidations, puts, gets.  Off: gets, puts, invalidations.  here and provider
 *   6. No change may be under way when a file system is taken.                cache_fs.c
 *   7. A guest that was set back in time must not see pages from after that: its
 *      connection is new then, and with it the host has dropped all of them. request.c
 *   8. An invalidation depends on nobody: it ends a generation in the guest's own memory.
 *      The flush that follows it only frees memory of the host.                    here
 * Must not: wait where a page is put or invalidated; make a read wait longer than the
 *           disk would; know file systems or folios.
 *
 * Why a late answer is harmless: the tag is compared after the answer has come, with the
 * page locked, and what invalidates it later waits for that lock and drops the page.
 *
 * Why a put that is dropped is harmless, here or in cache_stage.c: it ends the generation
 * like an invalidation, so no older page under its key is believed.
 *
 * Locks:    cache_lock (on and off; sleeps) before request.c's; else none.
 */
#include <linux/hash.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "cache.h"
#include "cache_fs.h"
#include "cache_pace.h"
#include "cache_stage.h"
#include "cache_switch.h"
#include "cache_test.h"
#include "compat.h"
#include "filter.h"
#include "generation.h"
#include "request.h"
#include "stats.h"

#define RANGE_BY_PAGE	64u	/* longer ranges end the whole file's generation */
#define PAGES_PER_FILE	16u	/* words for pages to each word for files */
#define FILTER_SPAN	4u	/* drops remembered, in sizes of the guest's memory */
#define STAGE_SHARE	64u	/* part of the guest's memory for bursts of puts, but */
#define STAGE_LEAST	2048u	/* pages, unless that is more than */
#define STAGE_SMALL	16u	/* this part of it; and at most */
#define STAGE_MOST	8192u	/* pages */

static bool cache;
module_param(cache, bool, 0444);
MODULE_PARM_DESC(cache, "keep clean pages of the page cache in the host; at run time /sys/kernel/tmem/cache");

static unsigned int cache_filter = TMEM_FILTER_TWICE;
module_param(cache_filter, uint, 0444);
MODULE_PARM_DESC(cache_filter, "which pages: 0 all, 1 those used more than once or dropped before");

static unsigned int cache_wait_us = 20000;
module_param(cache_wait_us, uint, 0644);
MODULE_PARM_DESC(cache_wait_us, "longest time that a read waits for the host before it goes to the disk, and kswapd before it drops more");

static DEFINE_MUTEX(cache_lock);

static struct {
	const struct tmem_cache_provider *provider;	/* NULL: off.  Under cache_lock */
	bool ready;			/* between init and exit.  Under cache_lock */
	bool putting, getting;		/* written under cache_lock */
	struct tmem_generations files, pages;
	struct tmem_filter filter;
} source;

/* ---- names ---------------------------------------------------------------- */

/* Hashes of a page: in the table of files, and in that of pages. */
struct page_hash {
	u64 file, page;
};

static u64 file_hash(const struct tmem_cache_file *file)
{
	u64 hash = file->fs;
	unsigned int i;

	for (i = 0; i < TMEM_CACHE_OBJECT_WORDS; i++)
		hash = (hash ^ hash >> 32 ^ file->object[i]) * GOLDEN_RATIO_64;
	return hash;
}

static struct page_hash page_hash(u64 file, u64 index)
{
	return (struct page_hash){
		.file = file,
		.page = ((file ^ file >> 32) + index) * GOLDEN_RATIO_64,
	};
}

static u64 tag_mark(struct page_hash hash)
{
	u64 file = tmem_generation_mark(&source.files, hash.file);

	return file + tmem_generation_mark(&source.pages, hash.page);
}

/* Whether a page may be in the host; then its tag, if it is. */
static bool tag_now(struct page_hash hash, u64 *tag)
{
	u64 file, page;
	bool marked = tmem_generation_marked(&source.files, hash.file, &file) &
		      tmem_generation_marked(&source.pages, hash.page, &page);

	*tag = file + page;
	return marked;
}

/* ---- invalidate ----------------------------------------------------------- */

static bool generation_end(struct tmem_generations *g, u64 hash)
{
	if (tmem_cache_broken(TMEM_BREAK_GENERATION) || !tmem_generation_end(g, hash))
		return false;
	tmem_count(TMEM_CACHE_INVALIDATIONS);
	return true;
}

/* Ask the host to drop what is believed no more, if that costs nobody a slot. */
static void flush_hint(const struct tmem_cache_file *file, u64 index, bool whole)
{
	struct tmem_slot *slot;
	struct tmem_key key;

	if (!tmem_cache_fs_key(file, &key))
		return;
	key.index = index;
	slot = tmem_request_begin(&key, TMEM_SPARE);
	if (!slot)
		return;
	if (whole)
		tmem_flush_object_post(slot, &key);
	else
		tmem_flush_post(slot, &key, NULL);
}

/* A file with no mark has no page in the host; the barrier is tmem_generation_end's. */
static bool file_marked(u64 file)
{
	u64 generation;

	smp_mb();
	return tmem_generation_marked(&source.files, file, &generation);
}

void tmem_cache_invalidate(const struct tmem_cache_file *file, u64 first, u64 last)
{
	u64 hash = file_hash(file), index;

	if (!file_marked(hash))
		return;
	if (last - first >= RANGE_BY_PAGE) {
		if (generation_end(&source.files, hash))
			flush_hint(file, 0, true);
		return;
	}
	for (index = first; index <= last; index++) {
		if (generation_end(&source.pages, page_hash(hash, index).page))
			flush_hint(file, index, false);
	}
}

/* ---- put ------------------------------------------------------------------ */

static bool put_admitted(struct page_hash hash, bool worthy)
{
	bool again;

	if (READ_ONCE(cache_filter) == TMEM_FILTER_ALL)
		return true;
	again = tmem_filter_again(&source.filter, hash.page);
	if (!worthy && !again)
		tmem_count(TMEM_CACHE_PUTS_FILTERED);
	return worthy || again;
}

/* Into a slot, if there is one. */
static bool put_post(const struct tmem_key *key, struct page *page)
{
	struct tmem_slot *slot = tmem_request_begin(key, TMEM_SPARE);
	void *from;

	if (!slot)
		return false;
	from = kmap_local_page(page);
	memcpy(slot->page, from, TMEMP_PAGE_SIZE);
	kunmap_local(from);
	if (tmem_put_post(slot, key))
		return false;
	tmem_count(TMEM_CACHE_PUTS);
	return true;
}

/* True: the page is on its way to the host. */
static bool put_send(const struct tmem_cache_file *file, u64 index, struct page *page,
		     struct page_hash hash)
{
	struct tmem_key key;

	if (!tmem_cache_fs_key(file, &key))
		return false;
	key.index = index;
	key.tag = tag_mark(hash);
	if (put_post(&key, page) || (tmem_host_ready() && tmem_stage_add(&key, hash.page, page)))
		return true;
	tmem_count(TMEM_CACHE_PUTS_DROPPED);
	return false;
}

void tmem_cache_put_lost(u64 hash)
{
	tmem_count(TMEM_CACHE_PUTS_LOST);
	generation_end(&source.pages, hash);
}

void tmem_cache_put(const struct tmem_cache_file *file, u64 index, struct page *page, bool worthy)
{
	struct page_hash hash = page_hash(file_hash(file), index);
	bool sent = false;

	if (index > U32_MAX)
		tmem_count(TMEM_CACHE_INDEX_TOO_BIG);
	else if (READ_ONCE(source.putting) && put_admitted(hash, worthy))
		sent = put_send(file, index, page, hash);
	if (!sent)
		tmem_cache_invalidate(file, index, index);
}

/* ---- get ------------------------------------------------------------------ */

static u64 wait_ns(void)
{
	return (u64)READ_ONCE(cache_wait_us) * NSEC_PER_USEC;
}

u64 tmem_cache_deadline_ns(void)
{
	return ktime_get_ns() + wait_ns();
}

/* Ask for what may be there.  Returns how many were asked for. */
static unsigned int get_submit(struct tmem_key key, u64 hash, struct tmem_cache_want *wants,
			       unsigned int count)
{
	unsigned int i, asked = 0;
	u64 tag;

	for (i = 0; i < count; i++) {
		struct tmem_cache_want *w = &wants[i];

		if (w->index > U32_MAX || !tag_now(page_hash(hash, w->index), &tag))
			continue;
		key.index = w->index;
		w->slot = tmem_request_begin(&key, TMEM_BRIEF);
		if (w->slot && tmem_get_submit(w->slot, &key, NULL))
			w->slot = NULL;
		tmem_count(w->slot ? TMEM_CACHE_GETS : TMEM_CACHE_GETS_DROPPED);
		asked += !!w->slot;
	}
	return asked;
}

/* Rule 8: the tag is compared now, when the answer is there. */
static void get_finish(struct tmem_cache_want *w, u64 hash, u64 deadline_ns)
{
	u64 tag;
	void *to;

	if (!tmem_slot_wait_until(w->slot, deadline_ns))
		return;
	w->hit = tag_now(page_hash(hash, w->index), &tag) &&
		 tmem_get_result(w->slot, tag) == TMEM_GET_PAGE;
	if (w->hit) {
		to = kmap_local_page(w->page);
		memcpy(to, w->slot->page, TMEMP_PAGE_SIZE);
		kunmap_local(to);
		flush_dcache_page(w->page);
		tmem_count(TMEM_CACHE_HITS);
	}
	tmem_slot_release(w->slot);
}

void tmem_cache_get(const struct tmem_cache_file *file, struct tmem_cache_want *wants,
		    unsigned int count)
{
	u64 hash = file_hash(file), wait = wait_ns(), deadline_ns = ktime_get_ns() + wait;
	struct tmem_key key;
	unsigned int i;

	for (i = 0; i < count; i++) {
		wants[i].hit = false;
		wants[i].slot = NULL;
	}
	if (!READ_ONCE(source.getting) || !tmem_cache_fs_key(file, &key))
		return;
	tmem_pace(deadline_ns - wait / 2);
	if (!get_submit(key, hash, wants, count))
		return;
	for (i = 0; i < count; i++) {
		if (wants[i].slot)
			get_finish(&wants[i], hash, deadline_ns);
	}
}

/* ---- on and off ----------------------------------------------------------- */

static void source_free_locked(void)
{
	tmem_pace_exit();
	tmem_stage_exit();
	tmem_filter_exit(&source.filter);
	tmem_generations_exit(&source.files);
	tmem_generations_exit(&source.pages);
}

/*
 * Reclaim drops pages until its high watermark is reached: at one go some hundred in the
 * smallest guest, some thousand in a large one.
 */
static unsigned int stage_pages(unsigned long pages)
{
	unsigned long least = min_t(unsigned long, STAGE_LEAST, pages / STAGE_SMALL);

	return clamp_t(unsigned long, pages / STAGE_SHARE, least, STAGE_MOST);
}

/*
 * Once on, a guest pays of its memory 0.2 % for generations, 0.2 % for the filter, and
 * for bursts of puts 1.6 %, at most 32 MiB and at least 8, but never over 6 %.  Never on,
 * nothing.
 */
static int source_alloc_locked(void)
{
	unsigned long pages = totalram_pages();
	int err = tmem_generations_init(&source.pages, pages);

	if (!err)
		err = tmem_generations_init(&source.files, pages / PAGES_PER_FILE);
	if (!err)
		err = tmem_filter_init(&source.filter, FILTER_SPAN * pages);
	if (!err)
		err = tmem_stage_init(stage_pages(pages));
	if (!err)
		err = tmem_pace_init();
	return err;
}

static int provider_start_locked(const struct tmem_cache_provider *p)
{
	int err;

	/* What was invalidated while off was not noted. */
	tmem_generations_end_all(&source.files);
	tmem_generations_end_all(&source.pages);
	err = tmem_cache_fs_start();
	if (err)
		return err;
	err = p->start();
	if (err)
		tmem_cache_fs_stop();
	return err;
}

static int source_on_locked(void)
{
	const struct tmem_cache_provider *p = tmem_cache_provider();
	int err = 0;

	if (!p) {
		pr_err("tmem: the page cache stays off: this kernel has no way to see it\n");
		return -EOPNOTSUPP;
	}
	if (!source.pages.words) {
		err = source_alloc_locked();
		if (err)
			source_free_locked();
	}
	if (!err)
		err = provider_start_locked(p);
	if (err)
		return err;
	source.provider = p;
	WRITE_ONCE(source.putting, true);
	WRITE_ONCE(source.getting, true);
	tmem_cache_fs_begin();
	pr_info("tmem: page cache on, by %s\n", p->name);
	return 0;
}

/* Rule 5.  A get that has seen getting is still invalidated under: the provider is last. */
static void source_off_locked(void)
{
	WRITE_ONCE(source.getting, false);
	WRITE_ONCE(source.putting, false);
	source.provider->stop();
	source.provider = NULL;
	tmem_stage_empty();
	tmem_cache_fs_stop();
	pr_info("tmem: page cache off\n");
}

int tmem_cache_switch(bool on)
{
	int err = 0;

	mutex_lock(&cache_lock);
	if (!source.ready)
		err = -ENODEV;
	else if (on && !source.provider)
		err = source_on_locked();
	else if (!on && source.provider)
		source_off_locked();
	mutex_unlock(&cache_lock);
	return err;
}

bool tmem_cache_is_on(void)
{
	return READ_ONCE(source.provider);
}

unsigned int tmem_cache_filter(void)
{
	return READ_ONCE(cache_filter);
}

void tmem_cache_set_filter(unsigned int filter)
{
	WRITE_ONCE(cache_filter, filter);
}

/* A page cache that stays off has said why; the rest of the module goes on. */
void tmem_cache_init(void)
{
	mutex_lock(&cache_lock);
	cache_filter = min(cache_filter, TMEM_FILTER_TWICE);
	source.ready = true;
	if (cache)
		source_on_locked();
	mutex_unlock(&cache_lock);
}

void tmem_cache_exit(void)
{
	mutex_lock(&cache_lock);
	if (source.provider)
		source_off_locked();
	source.ready = false;
	source_free_locked();
	mutex_unlock(&cache_lock);
}

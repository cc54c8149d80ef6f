// SPDX-License-Identifier: GPL-2.0
/*
 * hooks.c - the page cache of a stock kernel, seen from a module.
 *
 * Owns:     where in the kernel the page cache is looked at, and what is safe to take.
 * How:      an event of the kernel, and what is called for it:
 *
 *   tracepoint mm_filemap_delete_from_page_cache   put, if by reclaim; else invalidate
 *   tracepoint writeback_dirty_folio               invalidate
 *   truncate_inode_pages_range                     invalidate, before and after
 *   invalidate_inode_pages2_range                  invalidate, before and after
 *   read_pages (readahead), filemap_read_folio     get; the original reads what misses
 *
 *           Before, so that nothing put earlier is believed while the change goes on;
 *           after, because a page may have been read and dropped meanwhile.
 *
 *   Rules of coherence kept here; cache.c has them all:
 *   1, 2. cache_rules.h.  The tracepoint fires with the folio locked and interrupts off.
 *   3. A folio is filled if nobody began to: not up to date, dirty, under writeback, and
 *      without private data, which says which part is up to date.  All of it or nothing.
 *   4. Regular files of the file systems taken; not encrypted or verified (what is in the
 *      page cache is not what is on the disk), not DAX (not in the page cache), not swap.
 *   5. Invalidations are placed first and removed last.
 *
 *           An inode's name is its super block and number.  Not its generation: that can
 *           be set while the inode is in use.  The number is another's only after the
 *           inode was evicted, which truncates it, pages or none.
 * Must not: skip an invalidation for any reason but that the file is of a type of file
 *           system of which nothing is ever put.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/static_call.h>
#include <linux/tracepoint.h>

#include "cache.h"
#include "cache_fs.h"
#include "cache_rules.h"
#include "cache_test.h"
#include "compat.h"
#include "hook.h"

/* ---- files ---------------------------------------------------------------- */

/* Whether anything of it can be in the host.  Does not change while the inode lives. */
static bool inode_known(const struct inode *inode)
{
	return inode && S_ISREG(inode->i_mode) && tmem_cache_fs_wanted(inode->i_sb);
}

/* Rule 4.  May change, each way. */
static bool inode_cacheable(const struct inode *inode)
{
	return inode_known(inode) && !IS_ENCRYPTED(inode) && !IS_VERITY(inode) &&
	       !IS_DAX(inode) && !IS_SWAPFILE(inode);
}

static struct tmem_cache_file file_of(const struct inode *inode)
{
	return (struct tmem_cache_file){
		.fs = (unsigned long)inode->i_sb,
		.object = { inode->i_ino },
	};
}

/* ---- put and invalidate: tracepoints -------------------------------------- */

static void folio_end(struct folio *folio, const struct inode *inode)
{
	struct tmem_cache_file file = file_of(inode);

	tmem_cache_invalidate(&file, folio->index, folio->index + folio_nr_pages(folio) - 1);
}

static void folio_removed(void *unused, struct folio *folio)
{
	struct inode *inode = folio->mapping ? folio->mapping->host : NULL;
	struct tmem_cache_file file;
	long i;

	if (!inode_known(inode))
		return;
	if (!inode_cacheable(inode) || !tmem_folio_may_put(folio, inode)) {
		if (!tmem_cache_broken(TMEM_BREAK_DELETE))
			folio_end(folio, inode);
		return;
	}
	file = file_of(inode);
	for (i = 0; i < folio_nr_pages(folio); i++) {
		pgoff_t index = folio->index + i;

		if (tmem_index_in_file(inode, index))
			tmem_cache_put(&file, index, folio_page(folio, i),
				       folio_test_workingset(folio));
		else
			tmem_cache_invalidate(&file, index, index);
	}
}

static void folio_dirtied(void *unused, struct folio *folio, struct address_space *mapping)
{
	if (mapping && inode_known(mapping->host) && !tmem_cache_broken(TMEM_BREAK_DIRTY))
		folio_end(folio, mapping->host);
}

static struct probe {
	const char *name;
	void *function;
	struct tracepoint *tracepoint;	/* NULL: not registered */
} dirtied = { COMPAT_TRACE_DIRTY, folio_dirtied },
  removed = { "mm_filemap_delete_from_page_cache", folio_removed };

static void probe_match(struct tracepoint *tp, void *arg)
{
	struct probe *p = arg;

	if (!strcmp(tp->name, p->name))
		p->tracepoint = tp;
}

static int probe_place(struct probe *p)
{
	int err = -ENOENT;

	for_each_kernel_tracepoint(probe_match, p);
	if (p->tracepoint)
		err = tracepoint_probe_register(p->tracepoint, p->function, NULL);
	if (err) {
		p->tracepoint = NULL;
		pr_err("tmem: tracepoint %s cannot be used: error %d\n", p->name, err);
	}
	return err;
}

/* When this returns nobody is in the probe. */
static void probe_remove(struct probe *p)
{
	if (!p->tracepoint)
		return;
	tracepoint_probe_unregister(p->tracepoint, p->function, NULL);
	tracepoint_synchronize_unregister();
	p->tracepoint = NULL;
}

/* ---- invalidate: ranges --------------------------------------------------- */

static struct tmem_hook truncate_hook, invalidate_hook;

/* Pages from a byte to a byte; to the end where last is -1. */
static void truncate_invalidate(const struct inode *inode, loff_t first, loff_t last)
{
	struct tmem_cache_file file;

	if (!inode_known(inode) || tmem_cache_broken(TMEM_BREAK_TRUNCATE))
		return;
	file = file_of(inode);
	tmem_cache_invalidate(&file, first >> PAGE_SHIFT,
			      last == -1 ? U64_MAX : (u64)last >> PAGE_SHIFT);
}

static void truncate_hooked(struct address_space *mapping, loff_t first, loff_t last)
{
	truncate_invalidate(mapping->host, first, last);
	truncate_inode_pages_range(mapping, first, last);
	truncate_invalidate(mapping->host, first, last);
	tmem_hook_leave(&truncate_hook);
}

static void written_invalidate(const struct inode *inode, pgoff_t first, pgoff_t last)
{
	struct tmem_cache_file file;

	if (!inode_known(inode) || tmem_cache_broken(TMEM_BREAK_INVALIDATE))
		return;
	file = file_of(inode);
	tmem_cache_invalidate(&file, first, last);
}

static int invalidate_hooked(struct address_space *mapping, pgoff_t first, pgoff_t last)
{
	int err;

	written_invalidate(mapping->host, first, last);
	err = invalidate_inode_pages2_range(mapping, first, last);
	written_invalidate(mapping->host, first, last);
	tmem_hook_leave(&invalidate_hook);
	return err;
}

static struct tmem_hook truncate_hook = {
	.name = "truncate_inode_pages_range",
	.replacement = truncate_hooked,
	.original = (unsigned long)truncate_inode_pages_range,
};

static struct tmem_hook invalidate_hook = {
	.name = "invalidate_inode_pages2_range",
	.replacement = invalidate_hooked,
	.original = (unsigned long)invalidate_inode_pages2_range,
};

/* ---- get ------------------------------------------------------------------ */

/* Rule 3. */
static bool folio_wants(struct folio *folio)
{
	return !folio_test_uptodate(folio) && !folio_test_dirty(folio) &&
	       !folio_test_writeback(folio) && !folio_test_private(folio);
}

static void folio_filled(struct folio *folio)
{
	folio_mark_uptodate(folio);
	folio_unlock(folio);
}

/* Name count pages of a folio, from its first-th on. */
static void wants_set(struct tmem_cache_want *wants, struct folio *folio, long first, long count)
{
	long i;

	for (i = 0; i < count; i++) {
		wants[i].index = folio->index + first + i;
		wants[i].page = folio_page(folio, first + i);
	}
}

static bool wants_hit(const struct tmem_cache_want *wants, long count)
{
	while (count && wants->hit) {
		wants++;
		count--;
	}
	return !count;
}

/* Fill a folio of any size, at once or not at all.  It stays locked. */
static bool folio_fetch(const struct tmem_cache_file *file, struct folio *folio)
{
	struct tmem_cache_want wants[TMEM_CACHE_BATCH];
	long nr = folio_nr_pages(folio), at, count;

	if (!folio_wants(folio))
		return false;
	for (at = 0; at < nr; at += count) {
		count = min_t(long, nr - at, TMEM_CACHE_BATCH);
		wants_set(wants, folio, at, count);
		tmem_cache_get(file, wants, count);
		if (!wants_hit(wants, count))
			return false;
	}
	return true;
}

/*
 * A readahead window: pages rac->_index to + _nr_pages of the mapping, each in a locked
 * folio, the first of which are known to be misses.  The kernel's function reads a
 * window to its end; so it is given windows that end where a hit is.
 */
DEFINE_STATIC_CALL_NULL(original_read_pages, compat_read_pages_t);

static struct tmem_hook read_pages_hook;

/* NULL: there is none, though there should be; the kernel's function will know. */
static struct folio *window_folio(struct readahead_control *rac, unsigned int at)
{
	struct folio *folio = xa_load(&rac->mapping->i_pages, rac->_index + at);

	return xa_is_value(folio) ? NULL : folio;
}

static void window_read(struct readahead_control *rac)
{
	if (rac->_nr_pages)
		COMPAT_READ_PAGES_CALL(static_call(original_read_pages), rac);
}

/* The folio at a place of the window is filled: read what is before it, step over it. */
static void window_step(struct readahead_control *rac, unsigned int at, struct folio *folio)
{
	unsigned int nr = folio_nr_pages(folio), rest = rac->_nr_pages - at;

	folio_filled(folio);
	rac->_nr_pages = at;
	window_read(rac);
	rac->_nr_pages = rest - nr;
	rac->_index += nr;
	folio_put(folio);
}

/* Name whole folios from a place on, as many as fit a batch.  Returns their pages. */
static unsigned int window_gather(struct readahead_control *rac, unsigned int at,
				  struct tmem_cache_want *wants)
{
	unsigned int count = 0;

	while (at + count < rac->_nr_pages) {
		struct folio *folio = window_folio(rac, at + count);
		long nr = folio ? folio_nr_pages(folio) : 0;

		if (!nr || !folio_wants(folio) || count + nr > TMEM_CACHE_BATCH)
			break;
		wants_set(wants + count, folio, 0, nr);
		count += nr;
	}
	return count;
}

/* Get a batch from a place on.  Returns the place of what was not looked at. */
static unsigned int window_get(struct readahead_control *rac, unsigned int at,
			       const struct tmem_cache_file *file)
{
	struct tmem_cache_want wants[TMEM_CACHE_BATCH];
	unsigned int count = window_gather(rac, at, wants), done, nr;

	tmem_cache_get(file, wants, count);
	for (done = 0; done < count; done += nr) {
		struct folio *folio = window_folio(rac, at);

		nr = folio_nr_pages(folio);
		if (wants_hit(wants + done, nr)) {
			window_step(rac, at, folio);
			at = 0;
		} else {
			at += nr;
		}
	}
	return at;
}

/* The same for one folio that is no part of a batch. */
static unsigned int window_get_single(struct readahead_control *rac, unsigned int at,
				      const struct tmem_cache_file *file)
{
	struct folio *folio = window_folio(rac, at);

	if (!folio)
		return rac->_nr_pages;
	if (!folio_fetch(file, folio))
		return at + folio_nr_pages(folio);
	window_step(rac, at, folio);
	return 0;
}

static bool window_is_plain(struct readahead_control *rac)
{
	return inode_cacheable(rac->mapping->host) && rac->mapping->a_ops->readahead &&
	       !rac->_batch_count;
}

static void read_pages_window(struct readahead_control *rac)
{
	unsigned int at = 0, next;
	struct tmem_cache_file file;

	if (window_is_plain(rac)) {
		file = file_of(rac->mapping->host);
		while (at < rac->_nr_pages) {
			next = window_get(rac, at, &file);
			if (next == at && at < rac->_nr_pages)
				next = window_get_single(rac, at, &file);
			at = next;
		}
	}
	window_read(rac);
}
COMPAT_READ_PAGES(read_pages_hooked, read_pages_window, static_call(original_read_pages),
		  tmem_hook_leave(&read_pages_hook))

static struct tmem_hook read_pages_hook = {
	.name = "read_pages",
	.replacement = read_pages_hooked,
};

#if COMPAT_HAS_READ_FOLIO
typedef int read_folio_t(struct file *file, filler_t filler, struct folio *folio);
DEFINE_STATIC_CALL_NULL(original_read_folio, read_folio_t);

static struct tmem_hook read_folio_hook;

/* The folio is locked; filled, it is unlocked as a read unlocks it. */
static bool read_folio_fetch(filler_t filler, struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct tmem_cache_file file;

	if (!mapping || !inode_cacheable(mapping->host) || filler != mapping->a_ops->read_folio)
		return false;
	file = file_of(mapping->host);
	if (!folio_fetch(&file, folio))
		return false;
	folio_filled(folio);
	return true;
}

static int read_folio_hooked(struct file *file, filler_t filler, struct folio *folio)
{
	int err = 0;

	if (!read_folio_fetch(filler, folio))
		err = static_call(original_read_folio)(file, filler, folio);
	tmem_hook_leave(&read_folio_hook);
	return err;
}

static struct tmem_hook read_folio_hook = {
	.name = "filemap_read_folio",
	.replacement = read_folio_hooked,
};

/* Costs hits only where it cannot be placed. */
static void read_folio_place(void)
{
	read_folio_hook.original = tmem_hook_find(read_folio_hook.name);
	if (!read_folio_hook.original)
		return;
	static_call_update(original_read_folio, (read_folio_t *)read_folio_hook.original);
	tmem_hook_place(&read_folio_hook);
}

static void read_folio_remove(void)
{
	tmem_hook_remove(&read_folio_hook);
}
#else
static void read_folio_place(void) { }
static void read_folio_remove(void) { }
#endif

static int read_pages_place(void)
{
	const char *name = tmem_cache_broken(TMEM_BREAK_NAME) ? "type_show" : read_pages_hook.name;

	read_pages_hook.original = tmem_hook_find(name);
	if (!read_pages_hook.original)
		return -ENOENT;
	static_call_update(original_read_pages, (compat_read_pages_t *)read_pages_hook.original);
	return tmem_hook_place(&read_pages_hook);
}

/* ---- the provider --------------------------------------------------------- */

/* Rule 5.  Each step is harmless where its place was never taken. */
static void hooks_stop(void)
{
	read_folio_remove();
	tmem_hook_remove(&read_pages_hook);
	probe_remove(&removed);
	probe_remove(&dirtied);
	tmem_hook_remove(&invalidate_hook);
	tmem_hook_remove(&truncate_hook);
}

static int hooks_start(void)
{
	int err = tmem_hook_place(&truncate_hook);

	if (!err)
		err = tmem_hook_place(&invalidate_hook);
	if (!err)
		err = probe_place(&dirtied);
	if (!err)
		err = probe_place(&removed);
	if (!err)
		err = read_pages_place();
	if (err) {
		pr_err("tmem: the page cache stays off: a hook has no place in this kernel\n");
		hooks_stop();
		return err;
	}
	read_folio_place();
	return 0;
}

const struct tmem_cache_provider tmem_cache_hooks = {
	.name = "hooks of its own",
	.start = hooks_start,
	.stop = hooks_stop,
};

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_cache.h - folios, freezing, tracing: what the page cache's hooks need.
 */
#ifndef TMEM_COMPAT_CACHE_H
#define TMEM_COMPAT_CACHE_H

#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>

/* ---- freezing a file system ----------------------------------------------- */

static inline int compat_freeze_super(struct super_block *sb)
{
#if COMPAT_SINCE(6, 17)
	return freeze_super(sb, FREEZE_HOLDER_KERNEL, NULL);
#elif COMPAT_SINCE(6, 6)
	return freeze_super(sb, FREEZE_HOLDER_KERNEL);
#else
	return freeze_super(sb);
#endif
}

static inline int compat_thaw_super(struct super_block *sb)
{
#if COMPAT_SINCE(6, 17)
	return thaw_super(sb, FREEZE_HOLDER_KERNEL, NULL);
#elif COMPAT_SINCE(6, 6)
	return thaw_super(sb, FREEZE_HOLDER_KERNEL);
#else
	return thaw_super(sb);
#endif
}

/* ---- ftrace --------------------------------------------------------------- */

/* Without a guard against recursion: a flag up to 5.10, no flag since. */
#if COMPAT_SINCE(5, 11)
#define COMPAT_FTRACE_UNGUARDED	0
#define compat_ftrace_regs	ftrace_regs
#define compat_ftrace_get_regs	ftrace_get_regs
#else
#define COMPAT_FTRACE_UNGUARDED	FTRACE_OPS_FL_RECURSION_SAFE
#define compat_ftrace_regs	pt_regs
static inline struct pt_regs *compat_ftrace_get_regs(struct pt_regs *regs)
{
	return regs;
}
#endif

/* A kprobe's address is behind the landing pad of an indirect branch, where there is one. */
static inline unsigned long compat_function_start(unsigned long address)
{
#ifdef CONFIG_X86_KERNEL_IBT
	const u32 endbr64 = 0xfa1e0ff3, sealed = 0x001f0f66, sealed_later = 0xd6401f0f;
	u32 before = *(const u32 *)(address - sizeof(before));

	if (before == endbr64 || before == sealed || before == sealed_later)
		return address - sizeof(before);
#endif
	return address;
}

#if COMPAT_SINCE(5, 18)
#define COMPAT_TRACE_DIRTY	"writeback_dirty_folio"
#else
#define COMPAT_TRACE_DIRTY	"writeback_dirty_page"
#endif

/* ---- folios --------------------------------------------------------------- */

#if !COMPAT_SINCE(5, 11)
#define kmap_local_page(page)	kmap_atomic(page)
#define kunmap_local(address)	kunmap_atomic(address)
#endif

#if !COMPAT_SINCE(5, 16)
struct folio {
	union {
		struct {
			unsigned long flags;
			struct list_head lru;
			struct address_space *mapping;
			pgoff_t index;
		};
		struct page page;
	};
};
static_assert(offsetof(struct folio, mapping) == offsetof(struct page, mapping), "one layout");
static_assert(offsetof(struct folio, index) == offsetof(struct page, index), "one layout");

#define COMPAT_FOLIO_TEST(name, old)					\
	static inline bool folio_test_##name(struct folio *folio)	\
	{								\
		return Page##old(&folio->page);				\
	}
COMPAT_FOLIO_TEST(uptodate, Uptodate)
COMPAT_FOLIO_TEST(dirty, Dirty)
COMPAT_FOLIO_TEST(writeback, Writeback)
COMPAT_FOLIO_TEST(private, Private)
COMPAT_FOLIO_TEST(locked, Locked)
COMPAT_FOLIO_TEST(workingset, Workingset)

static inline long folio_nr_pages(struct folio *folio)
{
	return thp_nr_pages(&folio->page);
}

static inline struct page *folio_page(struct folio *folio, long n)
{
	return &folio->page + n;
}

static inline int folio_ref_count(struct folio *folio)
{
	return page_ref_count(&folio->page);
}

static inline void folio_mark_uptodate(struct folio *folio)
{
	SetPageUptodate(&folio->page);
}

static inline void folio_unlock(struct folio *folio)
{
	unlock_page(&folio->page);
}

static inline void folio_put(struct folio *folio)
{
	put_page(&folio->page);
}
#endif

/* ---- reading -------------------------------------------------------------- */

/*
 * read_pages as the kernel has it, how it is called for a part of its window, and its
 * replacement, made out of a body that takes the window and what to do at the end.
 */
#if COMPAT_SINCE(5, 18)
typedef void compat_read_pages_t(struct readahead_control *rac);
#define COMPAT_READ_PAGES_CALL(original, rac)	original(rac)
#define COMPAT_READ_PAGES(name, body, original, end)			\
	static void name(struct readahead_control *rac)			\
	{								\
		body(rac);						\
		end;							\
	}
#define COMPAT_HAS_READ_FOLIO	1
#else
typedef void compat_read_pages_t(struct readahead_control *rac, struct list_head *pages,
				 bool skip_page);
/* The list is of file systems without ->readahead; there is no window in its case. */
#define COMPAT_READ_PAGES_CALL(original, rac)				\
	do {								\
		LIST_HEAD(none);					\
									\
		original(rac, &none, false);				\
	} while (0)
#define COMPAT_READ_PAGES(name, body, original, end)			\
	static void name(struct readahead_control *rac,			\
			 struct list_head *pages, bool skip_page)	\
	{								\
		if (list_empty(pages)) {				\
			body(rac);					\
			rac->_index += skip_page;			\
		} else {						\
			original(rac, pages, skip_page);		\
		}							\
		end;							\
	}
#define COMPAT_HAS_READ_FOLIO	0
#endif

#endif

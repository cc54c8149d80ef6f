// SPDX-License-Identifier: GPL-2.0
/*
 * api.c - the page cache as kernels up to 5.16 show it, where cleancache is built in.
 *
 * Owns:     the kernel's cleancache_ops.
 * How:      each of the kernel's calls is one of the source's.  A pool's number is what
 *           the file system is called there, less one.  A file's name is the key that
 *           the kernel makes of it, up to 192 bits.
 *           The kernel's calls are in place from the mount on, so no file system needs
 *           to be frozen.  Its rules of coherence lack the one against writers
 *           (cache_rules.h), which is kept here.
 *           ext4 and btrfs ask for private pools, ocfs2 for a shared one; XFS for none.
 * Must not: be unloaded: the kernel has no way to take the ops back.  Switched off,
 *           it keeps nothing and invalidates still.
 */
#include <linux/cleancache.h>
#include <linux/module.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>

#include "cache.h"
#include "cache_fs.h"
#include "cache_rules.h"
#include "cache_shared.h"

DEFINE_STATIC_PERCPU_RWSEM(api_gets);	/* held for reading by each get */
static DECLARE_BITMAP(shared_pools, TMEMP_MAX_POOLS);
static bool registered;			/* for ever */

static_assert(sizeof(struct cleancache_filekey) == sizeof_field(struct tmem_cache_file, object),
	      "a file's key is an object's id");

static struct tmem_cache_file file_of(int pool, const struct cleancache_filekey *key)
{
	struct tmem_cache_file file = { .fs = pool + 1 };

	memcpy(file.object, key, sizeof(file.object));
	return file;
}

static bool pool_is_shared(int pool)
{
	return test_bit(pool, shared_pools);
}

static int api_init_fs(size_t page_size)
{
	unsigned long fs = page_size == TMEMP_PAGE_SIZE ? tmem_cache_fs_add(NULL) : 0;

	if (!fs)
		return CLEANCACHE_NO_POOL;
	clear_bit(fs - 1, shared_pools);
	return fs - 1;
}

static int api_init_shared_fs(uuid_t *uuid, size_t page_size)
{
	unsigned long fs = page_size == TMEMP_PAGE_SIZE ? tmem_cache_fs_add(uuid->b) : 0;

	if (!fs)
		return CLEANCACHE_NO_POOL;
	set_bit(fs - 1, shared_pools);
	return fs - 1;
}

static int api_get_page(int pool, struct cleancache_filekey key, pgoff_t index, struct page *page)
{
	struct tmem_cache_want want = { .index = index, .page = page };
	struct tmem_cache_file file = file_of(pool, &key);

	percpu_down_read(&api_gets);
	if (pool_is_shared(pool))
		want.hit = tmem_shared_get(&file, index, page);
	else
		tmem_cache_get(&file, &want, 1);
	percpu_up_read(&api_gets);
	return want.hit ? 0 : -1;
}

/* The page is in its mapping still, locked, with interrupts off. */
static void api_put_page(int pool, struct cleancache_filekey key, pgoff_t index, struct page *page)
{
	struct tmem_cache_file file = file_of(pool, &key);
	struct folio *folio = (struct folio *)page;
	struct inode *inode = page->mapping->host;
	bool may = tmem_index_in_file(inode, index) && tmem_folio_may_put(folio, inode);

	if (pool_is_shared(pool) && may)
		tmem_shared_put(&file, index, page);
	else if (pool_is_shared(pool))
		tmem_shared_flush_page(&file, index);
	else if (may)
		tmem_cache_put(&file, index, page, folio_test_workingset(folio));
	else
		tmem_cache_invalidate(&file, index, index);
}

static void api_invalidate_page(int pool, struct cleancache_filekey key, pgoff_t index)
{
	struct tmem_cache_file file = file_of(pool, &key);

	if (pool_is_shared(pool))
		tmem_shared_flush_page(&file, index);
	else
		tmem_cache_invalidate(&file, index, index);
}

static void api_invalidate_inode(int pool, struct cleancache_filekey key)
{
	struct tmem_cache_file file = file_of(pool, &key);

	if (pool_is_shared(pool))
		tmem_shared_flush(&file);
	else
		tmem_cache_invalidate(&file, 0, U64_MAX);
}

static void api_invalidate_fs(int pool)
{
	tmem_cache_fs_remove(pool + 1);
}

static const struct cleancache_ops api_ops = {
	.init_fs = api_init_fs,
	.init_shared_fs = api_init_shared_fs,
	.get_page = api_get_page,
	.put_page = api_put_page,
	.invalidate_page = api_invalidate_page,
	.invalidate_inode = api_invalidate_inode,
	.invalidate_fs = api_invalidate_fs,
};

/* The kernel calls init_fs for what is mounted already. */
static int api_start(void)
{
	int err;

	tmem_shared_start();
	if (registered)
		return 0;
	err = cleancache_register_ops(&api_ops);
	if (err) {
		pr_err("tmem: the page cache stays off: cleancache is another module's\n");
		return err;
	}
	registered = true;
	__module_get(THIS_MODULE);
	return 0;
}

/* The source takes nothing any more: what was let in before that ends here. */
static void api_stop(void)
{
	tmem_shared_stop();
	synchronize_rcu();
	percpu_down_write(&api_gets);
	percpu_up_write(&api_gets);
}

const struct tmem_cache_provider tmem_cache_api = {
	.name = "the kernel's cleancache",
	.start = api_start,
	.stop = api_stop,
};

// SPDX-License-Identifier: GPL-2.0
/*
 * cache_fs.c - which file systems are taken, and a pool for each.
 *
 * Owns:     the table of file systems taken, their pools and nonces.
 * How:      a file system is taken after its first use while the source is on. A
 *           worker finds it among the super blocks of its type, freezes it and thaws it.
 *           Frozen, nobody is in the middle of a change to it; the provider's
 *           invalidations were in place before; so every change from there on is seen
 *           from its beginning.  A file system that cannot be frozen now (it is
 *           already) is tried again.  The same worker lets go of one that was unmounted.
 *
 *           A super block's address may be another's after an unmount, before the
 *           worker knows.  That is harmless: an unmount evicts every inode, which
 *           invalidates all that was put of it, so the newcomer finds nothing there, and
 *           it was mounted with the invalidations in place.
 *           A provider of the kernel's own says itself which there are; those need no
 *           freezing, as they have called it since they were mounted.
 * Must not: hold a file system mounted longer than it takes to freeze it; make a mount wait
 *           for the host.
 *
 * Locks:    table_lock for every change of the table, before request.c's.  Readers take
 *           none: an entry's key is valid while fs is its name and open is set.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "cache.h"
#include "cache_fs.h"
#include "compat.h"
#include "request.h"

#define FS_MAX		(TMEM_POOL_COUNT - TMEM_POOL_CACHE)
#define LOOK_SOON	HZ
#define LOOK_PERIOD	(5 * HZ)

static char *cache_fs = "ext4,xfs";
module_param(cache_fs, charp, 0444);
MODULE_PARM_DESC(cache_fs, "types of file systems whose clean pages are kept by the host, with commas between: of ext4 and xfs");

static struct fs_type {
	const char *name;
	unsigned long magic;
	bool wanted;		/* constant while started */
	bool used;		/* one was seen since started */
} types[] = {
	{ .name = "ext4", .magic = EXT4_SUPER_MAGIC },
	{ .name = "xfs", .magic = XFS_SUPER_MAGIC },
};

/*
 * fs is the address of a super block, or of an entry that is own the entry's place plus 1.
 * The nonce keeps apart file systems that had the same pool one after the other; it is
 * 0 where the pool is shared, whose keys others must know.
 */
static struct fs_entry {
	unsigned long fs;	/* its name; 0: free */
	bool open;		/* it has a pool */
	bool own;		/* its provider added it, and says when it goes */
	bool gone;		/* it did */
	bool seen;		/* in the present look */
	bool shared;
	u8 uuid[16];
	u64 nonce;		/* drawn when it was taken */
	char type[12];
	char id[32];
} table[FS_MAX];
static DEFINE_MUTEX(table_lock);

/* Super blocks to take, each with an active reference. */
struct fs_new {
	unsigned int count;
	struct super_block *sb[FS_MAX];
};

static void fs_look(struct work_struct *work);
static DECLARE_DELAYED_WORK(look, fs_look);
static atomic_t look_asked;	/* 1: there will be one soon */
static struct workqueue_struct *worker;	/* NULL: stopped.  Changes under table_lock */

bool tmem_cache_fs_wanted(const struct super_block *sb)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (sb->s_magic != types[i].magic)
			continue;
		if (types[i].wanted && !READ_ONCE(types[i].used))
			WRITE_ONCE(types[i].used, true);
		return types[i].wanted;
	}
	return false;
}

static struct fs_entry *fs_entry_of(unsigned long fs)
{
	unsigned int i;

	for (i = 0; i < FS_MAX; i++) {
		if (smp_load_acquire(&table[i].fs) == fs)
			return &table[i];
	}
	return NULL;
}

static enum tmem_pool fs_pool(const struct fs_entry *e)
{
	return TMEM_POOL_CACHE + (e - table);
}

bool tmem_cache_fs_key(const struct tmem_cache_file *file, struct tmem_key *key)
{
	const struct fs_entry *e = fs_entry_of(file->fs);

	if (e && READ_ONCE(e->open)) {
		*key = (struct tmem_key){
			.pool = fs_pool(e),
			.oid = { file->object[0], file->object[1], file->object[2] ^ e->nonce },
		};
		return true;
	}
	if (!e && !atomic_xchg(&look_asked, 1))
		mod_delayed_work(worker, &look, LOOK_SOON);
	return false;
}

/* ---- take and let go ------------------------------------------------------ */

static void fs_open_locked(struct fs_entry *e)
{
	e->nonce = e->shared ? 0 : get_random_u64();
	tmem_pool_open(fs_pool(e), e->shared ? e->uuid : NULL);
	WRITE_ONCE(e->open, true);
}

/* Nobody uses the pool once an RCU grace period has passed: who puts cannot sleep. */
static void fs_close_locked(struct fs_entry *e)
{
	if (!e->open)
		return;
	WRITE_ONCE(e->open, false);
	synchronize_rcu();
	tmem_pool_close(fs_pool(e));
}

static void fs_release_locked(struct fs_entry *e)
{
	fs_close_locked(e);
	WRITE_ONCE(e->fs, 0);
}

/* Frozen and thawed, it has nobody in the middle of a change that began unseen. */
static int fs_freeze(struct super_block *sb)
{
	int err = compat_freeze_super(sb);

	if (!err)
		err = compat_thaw_super(sb);
	if (err)
		pr_warn_once("tmem: %s on %s cannot be frozen now and is not cached: error %d\n",
			     sb->s_type->name, sb->s_id, err);
	return err;
}

static void fs_take(struct super_block *sb)
{
	struct fs_entry *e;

	if (!fs_entry_of(0) || fs_freeze(sb))
		return;
	mutex_lock(&table_lock);
	e = fs_entry_of(0);
	if (e) {
		*e = (struct fs_entry){ .seen = true };
		strscpy(e->type, sb->s_type->name, sizeof(e->type));
		strscpy(e->id, sb->s_id, sizeof(e->id));
		fs_open_locked(e);
		smp_store_release(&e->fs, (unsigned long)sb);
		pr_info("tmem: clean pages of %s on %s go to the host\n", e->type, e->id);
	}
	mutex_unlock(&table_lock);
}

/* ---- file systems that say so themselves ---------------------------------- */

unsigned long tmem_cache_fs_add(const u8 uuid[16])
{
	unsigned long fs = 0;
	struct fs_entry *e;

	mutex_lock(&table_lock);
	e = fs_entry_of(0);
	if (e) {
		fs = e - table + 1;
		*e = (struct fs_entry){ .own = true, .shared = uuid, .type = "cleancache" };
		if (uuid)
			memcpy(e->uuid, uuid, sizeof(e->uuid));
		snprintf(e->id, sizeof(e->id), "%s", uuid ? "shared" : "private");
		smp_store_release(&e->fs, fs);
		if (worker)
			mod_delayed_work(worker, &look, 0);
	}
	mutex_unlock(&table_lock);
	return fs;
}

void tmem_cache_fs_remove(unsigned long fs)
{
	mutex_lock(&table_lock);
	table[fs - 1].gone = true;
	if (worker)
		mod_delayed_work(worker, &look, 0);
	mutex_unlock(&table_lock);
}

/* ---- look ----------------------------------------------------------------- */

/* s_umount is held, so the super block is not freed; it may not be frozen here. */
static void fs_visit(struct super_block *sb, void *arg)
{
	struct fs_entry *e = fs_entry_of((unsigned long)sb);
	struct fs_new *new = arg;

	if (e)
		e->seen = true;
	else if (new->count < FS_MAX && atomic_inc_not_zero(&sb->s_active))
		new->sb[new->count++] = sb;
}

static void fs_look_type(const struct fs_type *t)
{
	struct file_system_type *type = get_fs_type(t->name);
	struct fs_new new = { .count = 0 };
	unsigned int i;

	if (!type)
		return;
	iterate_supers_type(type, fs_visit, &new);
	for (i = 0; i < new.count; i++) {
		fs_take(new.sb[i]);
		deactivate_super(new.sb[i]);
	}
	module_put(type->owner);
}

/* What the look has found out about an entry. */
static void fs_settle_locked(struct fs_entry *e)
{
	if (e->gone || !(e->seen || e->own))
		fs_release_locked(e);
	else if (!e->open)
		fs_open_locked(e);
}

static void fs_look(struct work_struct *work)
{
	unsigned int i;

	atomic_set(&look_asked, 0);
	for (i = 0; i < FS_MAX; i++)
		table[i].seen = false;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (READ_ONCE(types[i].used))
			fs_look_type(&types[i]);
	}
	mutex_lock(&table_lock);
	for (i = 0; i < FS_MAX; i++) {
		if (table[i].fs)
			fs_settle_locked(&table[i]);
	}
	if (worker)
		queue_delayed_work(worker, &look, LOOK_PERIOD);
	mutex_unlock(&table_lock);
}

int tmem_cache_fs_print(char *buf, size_t size)
{
	unsigned int i;
	int len = 0;

	for (i = 0; i < FS_MAX; i++) {
		if (READ_ONCE(table[i].fs) && READ_ONCE(table[i].open))
			len += scnprintf(buf + len, size - len, "%s %s pool %u\n", table[i].type,
					 table[i].id, fs_pool(&table[i]));
	}
	return len;
}

/* ---- start and stop ------------------------------------------------------- */

/* Whether list, with commas between, has word. */
static bool list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL) {
		if (!strncmp(list, word, length) && (!list[length] || list[length] == ','))
			return true;
	}
	return false;
}

int tmem_cache_fs_start(void)
{
	struct workqueue_struct *w = alloc_workqueue("tmem-cache", WQ_UNBOUND, 1);
	unsigned int i;

	if (!w)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		types[i].wanted = list_has(cache_fs, types[i].name);
		types[i].used = false;
	}
	atomic_set(&look_asked, 0);
	mutex_lock(&table_lock);
	worker = w;
	mutex_unlock(&table_lock);
	return 0;
}

void tmem_cache_fs_begin(void)
{
	mod_delayed_work(worker, &look, 0);
}

void tmem_cache_fs_stop(void)
{
	struct workqueue_struct *w = worker;
	unsigned int i;

	mutex_lock(&table_lock);
	worker = NULL;
	mutex_unlock(&table_lock);
	cancel_delayed_work_sync(&look);
	destroy_workqueue(w);
	mutex_lock(&table_lock);
	for (i = 0; i < FS_MAX; i++) {
		if (!table[i].fs)
			continue;
		if (table[i].own && !table[i].gone)
			fs_close_locked(&table[i]);
		else
			fs_release_locked(&table[i]);
	}
	mutex_unlock(&table_lock);
}

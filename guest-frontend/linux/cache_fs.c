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
 * Must not: hold a file system mounted longer than it takes to freeze it.
 *
 * Entries change in the worker alone, or when it and the provider have stopped.
 * Readers take no lock: an entry is valid while fs is its name.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/workqueue.h>

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

static struct fs_entry {
	unsigned long fs;	/* 0: free */
	struct tmem_cache_fs_key key;
	bool seen;		/* in the present look */
	char type[8];
	char id[32];
} table[FS_MAX];

/* Super blocks to take, each with an active reference. */
struct fs_new {
	unsigned int count;
	struct super_block *sb[FS_MAX];
};

static void fs_look(struct work_struct *work);
static DECLARE_DELAYED_WORK(look, fs_look);
static atomic_t look_asked;	/* 1: there will be one soon */
static struct workqueue_struct *worker;

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

bool tmem_cache_fs_find(unsigned long fs, struct tmem_cache_fs_key *key)
{
	const struct fs_entry *e = fs_entry_of(fs);

	if (e)
		*key = e->key;
	else if (!atomic_xchg(&look_asked, 1))
		mod_delayed_work(worker, &look, LOOK_SOON);
	return e;
}

/* ---- take and let go ------------------------------------------------------ */

static void fs_take(struct super_block *sb)
{
	struct fs_entry *e = fs_entry_of(0);
	int err;

	if (!e)
		return;
	err = compat_freeze_super(sb);
	if (!err)
		err = compat_thaw_super(sb);
	if (err) {
		pr_warn_ratelimited("tmem: %s on %s cannot be frozen now and is not cached: error %d\n",
				    sb->s_type->name, sb->s_id, err);
		return;
	}
	e->key.pool = TMEM_POOL_CACHE + (e - table);
	e->key.nonce = get_random_u64();
	e->seen = true;
	strscpy(e->type, sb->s_type->name, sizeof(e->type));
	strscpy(e->id, sb->s_id, sizeof(e->id));
	tmem_pool_open(e->key.pool, NULL);
	smp_store_release(&e->fs, (unsigned long)sb);
	pr_info("tmem: clean pages of %s on %s go to the host\n", e->type, e->id);
}

/* Nobody uses the entry once an RCU grace period has passed: who puts cannot sleep. */
static void fs_release(struct fs_entry *e)
{
	WRITE_ONCE(e->fs, 0);
	synchronize_rcu();
	tmem_pool_close(e->key.pool);
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
	for (i = 0; i < FS_MAX; i++) {
		if (table[i].fs && !table[i].seen)
			fs_release(&table[i]);
	}
	queue_delayed_work(worker, &look, LOOK_PERIOD);
}

int tmem_cache_fs_print(char *buf, size_t size)
{
	unsigned int i;
	int len = 0;

	for (i = 0; i < FS_MAX; i++) {
		if (READ_ONCE(table[i].fs))
			len += scnprintf(buf + len, size - len, "%s %s pool %u\n", table[i].type,
					 table[i].id, table[i].key.pool);
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
	unsigned int i;

	worker = alloc_workqueue("tmem-cache", WQ_UNBOUND, 1);
	if (!worker)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		types[i].wanted = list_has(cache_fs, types[i].name);
		types[i].used = false;
	}
	atomic_set(&look_asked, 0);
	return 0;
}

void tmem_cache_fs_stop(void)
{
	unsigned int i;

	cancel_delayed_work_sync(&look);
	destroy_workqueue(worker);
	for (i = 0; i < FS_MAX; i++) {
		if (table[i].fs)
			fs_release(&table[i]);
	}
}

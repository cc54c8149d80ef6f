// SPDX-License-Identifier: GPL-2.0
/*
 * cache_sysfs.c - the page cache's switches as files.
 *
 * Owns:     below /sys/kernel/tmem
 *             cache          1: clean pages go to the host and come back; 0: they do not
 *             cache_filter   which pages: "all", or "twice" for those that come back
 *             cache_fs       the file systems taken, one a line
 * Must not: count anything; stats.c shows the counters.
 */
#include <linux/kobject.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "cache_fs.h"
#include "cache_switch.h"

static const char *const filter_names[] = {
	[TMEM_FILTER_ALL] = "all",
	[TMEM_FILTER_TWICE] = "twice",
	NULL
};

static ssize_t cache_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", tmem_cache_is_on());
}

static ssize_t cache_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			   size_t count)
{
	bool on;
	int err = kstrtobool(buf, &on);

	if (!err)
		err = tmem_cache_switch(on);
	return err ? err : count;
}
static struct kobj_attribute cache_attr = __ATTR_RW(cache);

static ssize_t cache_filter_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", filter_names[tmem_cache_filter()]);
}

static ssize_t cache_filter_store(struct kobject *kobj, struct kobj_attribute *attr,
				  const char *buf, size_t count)
{
	int filter = sysfs_match_string(filter_names, buf);

	if (filter < 0)
		return filter;
	tmem_cache_set_filter(filter);
	return count;
}
static struct kobj_attribute cache_filter_attr = __ATTR_RW(cache_filter);

static ssize_t cache_fs_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return tmem_cache_fs_print(buf, PAGE_SIZE);
}
static struct kobj_attribute cache_fs_attr = __ATTR_RO(cache_fs);

const struct attribute *tmem_cache_files[] = {
	&cache_attr.attr,
	&cache_filter_attr.attr,
	&cache_fs_attr.attr,
	NULL
};

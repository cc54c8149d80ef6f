// SPDX-License-Identifier: GPL-2.0
/*
 * stats.c - the counters and gauges, as text, and the switches.
 *
 * Owns:     the counters, and the files that show them: "tmem/stats" under
 *           debugfs, and the same text as /sys/kernel/tmem/stats for kernels
 *           built without debugfs (User-mode Linux).  Beside it
 *             pages_held   pages of this guest that only the host has
 *             swap         1: swap pages are offered to the host; 0: they are not
 *           and the page cache's (cache_sysfs.c).
 * How:      a counter is incremented on its own processor where its fact
 *           happens, and summed when somebody reads.  One "name value" a line.
 * Must not: be read by the module itself.
 */
#include <linux/debugfs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "cache_switch.h"
#include "request.h"
#include "slot.h"
#include "stats.h"
#include "swap.h"

DEFINE_PER_CPU(struct tmem_counts, tmem_counts);

#define COUNTER_NAME(constant, name) #name,
static const char *const counter_names[] = { TMEM_COUNTERS(COUNTER_NAME) };
#undef COUNTER_NAME

static unsigned long counter_sum(unsigned int counter)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(tmem_counts, cpu).n[counter];
	return sum;
}

/* The text; at most a page, of which it fills a fifth.  Returns its length. */
static int stats_print(char *buf, size_t size)
{
	unsigned int i;
	int len = 0;

	for (i = 0; i < TMEM_COUNTER_END; i++)
		len += scnprintf(buf + len, size - len, "%s %lu\n", counter_names[i],
				 counter_sum(i));
	len += scnprintf(buf + len, size - len, "pages_held %ld\n", tmem_swap_held());
	len += scnprintf(buf + len, size - len, "overdue %u\n", tmem_queues_overdue());
	len += scnprintf(buf + len, size - len, "queues %u\n", tmem_host_queues());
	len += scnprintf(buf + len, size - len, "host_ready %d\n", tmem_host_ready());
	return len;
}

static int stats_show(struct seq_file *m, void *unused)
{
	char *buf = (char *)__get_free_page(GFP_KERNEL);

	if (!buf)
		return -ENOMEM;
	seq_write(m, buf, stats_print(buf, PAGE_SIZE));
	free_page((unsigned long)buf);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static ssize_t sysfs_stats_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return stats_print(buf, PAGE_SIZE);
}
static struct kobj_attribute stats_attr = __ATTR(stats, 0444, sysfs_stats_show, NULL);

static ssize_t pages_held_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", tmem_swap_held());
}
static struct kobj_attribute pages_held_attr = __ATTR_RO(pages_held);

static ssize_t swap_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", tmem_swap_offers());
}

static ssize_t swap_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			  size_t count)
{
	bool offer;
	int err = kstrtobool(buf, &offer);

	if (err)
		return err;
	tmem_swap_offer(offer);
	return count;
}
static struct kobj_attribute swap_attr = __ATTR_RW(swap);

static const struct attribute *sysfs_files[] = {
	&stats_attr.attr,
	&pages_held_attr.attr,
	&swap_attr.attr,
	NULL,
};

static struct dentry *debugfs;
static struct kobject *sysfs;

int tmem_stats_init(void)
{
	int err;

	sysfs = kobject_create_and_add("tmem", kernel_kobj);
	if (!sysfs)
		return -ENOMEM;
	err = sysfs_create_files(sysfs, sysfs_files);
	if (!err)
		err = sysfs_create_files(sysfs, tmem_cache_files);
	if (err) {
		kobject_put(sysfs);
		return err;
	}
	debugfs = debugfs_create_dir("tmem", NULL);
	debugfs_create_file("stats", 0444, debugfs, NULL, &stats_fops);
	return 0;
}

void tmem_stats_exit(void)
{
	debugfs_remove(debugfs);
	kobject_put(sysfs);
}

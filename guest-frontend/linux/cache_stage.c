// SPDX-License-Identifier: GPL-2.0
/*
 * cache_stage.c - room for bursts of puts.
 *
 * Owns:     a fixed number of pages, copied from the page cache, and their keys.
 * How:      reclaim drops pages by the hundred in less time than the host takes to look at
 *           its ring, and it cannot wait.  What finds no slot is copied here, and a worker,
 *           which can wait, puts it: for as long as there is a host, and however late that
 *           is.  Where this is full too the page is not kept; cache_pace.c sees to
 *           it that this is seldom so.
 *           A page may be put behind a newer one of its key here.  Then the host has the
 *           older tag, which nobody believes: that costs a hit.
 * Must not: hold up whoever adds; take slots that others need.
 *
 *   pages = free + waiting + the one in the worker's hands
 *
 * Locks:    stage.lock, with interrupts off; none is taken under it.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "cache_stage.h"
#include "compat.h"
#include "stats.h"

#define POLL_US		200u	/* for a slot; then the worker sleeps, */
#define SLEEP_US	100u	/* so long first, */
#define SLEEP_MOST_US	10000u	/* so long at last */
#define ROOM_PART	4u	/* not more than one in so many in use: there is room */

struct staged {
	struct list_head entry;
	struct tmem_key key;
	u64 hash;
	void *page;
};

static void stage_work(struct work_struct *work);

static struct {
	spinlock_t lock;
	struct list_head free, waiting;
	struct staged *all;
	unsigned int pages;
	atomic_t used;			/* pages - free */
	bool emptied;			/* what waits is lost */
	struct workqueue_struct *queue;
	wait_queue_head_t room;		/* waits for tmem_stage_has_room */
} stage = {
	.lock = __SPIN_LOCK_UNLOCKED(stage.lock),
	.free = LIST_HEAD_INIT(stage.free),
	.waiting = LIST_HEAD_INIT(stage.waiting),
	.room = __WAIT_QUEUE_HEAD_INITIALIZER(stage.room),
};
static DECLARE_WORK(worker, stage_work);

static struct staged *stage_take(struct list_head *from)
{
	struct staged *s;
	unsigned long flags;

	spin_lock_irqsave(&stage.lock, flags);
	s = list_first_entry_or_null(from, struct staged, entry);
	if (s)
		list_del(&s->entry);
	spin_unlock_irqrestore(&stage.lock, flags);
	return s;
}

static void stage_give(struct list_head *to, struct staged *s)
{
	unsigned long flags;

	spin_lock_irqsave(&stage.lock, flags);
	list_add_tail(&s->entry, to);
	spin_unlock_irqrestore(&stage.lock, flags);
}

bool tmem_stage_has_room(void)
{
	return atomic_read(&stage.used) <= stage.pages / ROOM_PART;
}

bool tmem_stage_wait(u64 deadline_ns)
{
	u64 now = ktime_get_ns();

	return now < deadline_ns &&
	       wait_event_timeout(stage.room, tmem_stage_has_room(),
				  nsecs_to_jiffies(deadline_ns - now) + 1);
}

/* Back to the free ones. */
static void stage_free(struct staged *s)
{
	stage_give(&stage.free, s);
	atomic_dec(&stage.used);
	if (tmem_stage_has_room())
		wake_up(&stage.room);
}

bool tmem_stage_add(const struct tmem_key *key, u64 hash, struct page *page)
{
	struct staged *s = stage_take(&stage.free);
	void *from;

	if (!s)
		return false;
	atomic_inc(&stage.used);
	from = kmap_local_page(page);
	memcpy(s->page, from, TMEMP_PAGE_SIZE);
	kunmap_local(from);
	s->key = *key;
	s->hash = hash;
	stage_give(&stage.waiting, s);
	queue_work(stage.queue, &worker);
	tmem_count(TMEM_CACHE_PUTS_STAGED);
	return true;
}

/*
 * A host that is at work has a slot soon: polling spares both sides an interrupt.  NULL:
 * there is no host.
 */
static struct tmem_slot *stage_slot(const struct tmem_key *key)
{
	u64 polled = ktime_get_ns() + POLL_US * NSEC_PER_USEC;
	unsigned int us = SLEEP_US;
	struct tmem_slot *slot;

	while (!(slot = tmem_request_begin(key, TMEM_SPARE))) {
		if (!tmem_host_ready() || READ_ONCE(stage.emptied))
			break;
		if (ktime_get_ns() < polled) {
			cpu_relax();
			cond_resched();
		} else {
			usleep_range(us, 2 * us);
			us = min(2 * us, SLEEP_MOST_US);
		}
	}
	return slot;
}

static void stage_put(const struct staged *s)
{
	struct tmem_slot *slot = stage_slot(&s->key);

	if (slot) {
		memcpy(slot->page, s->page, TMEMP_PAGE_SIZE);
		if (!tmem_put_post(slot, &s->key)) {
			tmem_count(TMEM_CACHE_PUTS);
			return;
		}
	}
	tmem_cache_put_lost(s->hash);
}

/* Alone: a work item does not run twice at a time. */
static void stage_work(struct work_struct *work)
{
	struct staged *s;

	while ((s = stage_take(&stage.waiting))) {
		stage_put(s);
		stage_free(s);
	}
}

void tmem_stage_empty(void)
{
	struct staged *s;

	WRITE_ONCE(stage.emptied, true);
	cancel_work_sync(&worker);
	while ((s = stage_take(&stage.waiting)))
		stage_free(s);
	WRITE_ONCE(stage.emptied, false);
}

void tmem_stage_exit(void)
{
	unsigned int i;

	for (i = 0; i < stage.pages; i++)
		free_page((unsigned long)stage.all[i].page);
	kvfree(stage.all);
	stage.pages = 0;
	stage.all = NULL;
	INIT_LIST_HEAD(&stage.free);
	if (stage.queue)
		destroy_workqueue(stage.queue);
	stage.queue = NULL;
}

/* As many as there is memory for, up to pages. */
static unsigned int stage_fill(unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++) {
		stage.all[i].page = (void *)__get_free_page(GFP_KERNEL);
		if (!stage.all[i].page)
			break;
		list_add(&stage.all[i].entry, &stage.free);
	}
	return i;
}

/* Reclaim waits for the worker: it goes first, and needs no memory to do so. */
int tmem_stage_init(unsigned int pages)
{
	stage.queue = alloc_workqueue("tmem-stage", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 1);
	if (!stage.queue)
		return -ENOMEM;
	stage.all = kvcalloc(pages, sizeof(*stage.all), GFP_KERNEL);
	if (stage.all)
		stage.pages = stage_fill(pages);
	return stage.pages == pages ? 0 : -ENOMEM;
}

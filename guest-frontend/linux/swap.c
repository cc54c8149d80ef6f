// SPDX-License-Identifier: GPL-2.0
/*
 * swap.c - the stacked swap device.
 *
 * Owns:     the block device /dev/tmemswap0 and the disk it stands on.
 * How:      a write is offered to the host; if it is not taken it goes to the same
 *           sector of the backing disk.  A read goes where the sector's bit says
 *           the page is.  The block size is a page, so that a bio of the swap code
 *           is one sector's page and longer ones are split to that.  The swap code
 *           says when it needs a page no longer (swap_slot_free_notify).
 *           Without a backing disk a write that is not taken is an I/O error.
 *
 *           Nothing waits for the host here.  A bio that was sent to it is ended by
 *           the callback.  Who submits polls for the answers for a while: at once,
 *           or where bios are plugged (readahead, reclaim) for all of them together
 *           when they are unplugged.  So a cluster of pages costs one round trip.
 *           What comes later, the interrupt brings.  Bios that have some way to go
 *           after that (refused writes to the disk, reads to a host that has to be
 *           said HELLO to) are gathered in a list, since a callback may not sleep;
 *           who polled sends them on, else a worker.
 *
 *           By page instead of by bio (frontswap.c) a caller waits for the host.  What
 *           is not taken then comes as a bio, and is not offered again.
 *
 *           Sector 0, the swap header, stays on the backing disk where there is
 *           one: swapon finds it again after the module was reloaded.
 * Must not: need memory where it writes; implement rw_page or claim to be
 *           synchronous: both make the kernel bypass its swap cache, which
 *           doubles the writes.
 *
 * The device has no write cache to declare: what the host took is as volatile as
 * the guest's own memory, which is all that swap asks for.  Nothing else may be
 * kept here, and the guest must not hibernate onto it.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/suspend.h>

#include "compat.h"
#include "sector.h"
#include "slot.h"
#include "stats.h"
#include "swap.h"

/* The swap code counts slots in its pages, the wire in its own. */
static_assert(PAGE_SIZE == TMEMP_PAGE_SIZE, "a swap slot is one page of the wire");

#define DISK_NAME	"tmemswap"
#define HEADER_SECTOR	0u

static char *swap_backing;
module_param(swap_backing, charp, 0444);
MODULE_PARM_DESC(swap_backing, "block device under /dev/tmemswap0, for pages the host refuses");

static unsigned int swap_size_mb;
module_param(swap_size_mb, uint, 0444);
MODULE_PARM_DESC(swap_size_mb, "MiB of /dev/tmemswap0 where there is no backing device; a page the host refuses is then an I/O error");

static bool swap_offer = true;
module_param(swap_offer, bool, 0644);
MODULE_PARM_DESC(swap_offer, "offer pages to the host; 0: write all to the backing device, still read what the host has");

static struct {
	struct compat_backing under;	/* .bdev is NULL where there is none */
	struct gendisk *disk;		/* NULL: there is no device */
	struct tmem_sectors sectors;
	struct notifier_block pm;
	int major;
	bool by_page;			/* new pages are offered by page, before they are bios */
	atomic_t under_way;		/* bios at the host, and plugs that know of some */
	wait_queue_head_t idle;		/* waits for under_way to be 0 */
	spinlock_t lock;		/* innermost, interrupts off: onward */
	struct bio_list onward;		/* writes that were refused, reads to be made again */
	struct workqueue_struct *worker;
	struct work_struct send;	/* sends them on */
} swap;

long tmem_swap_held(void)
{
	return atomic_long_read(&swap.sectors.nr_held);
}

bool tmem_swap_offers(void)
{
	return READ_ONCE(swap_offer);
}

void tmem_swap_offer(bool offer)
{
	WRITE_ONCE(swap_offer, offer);
}

/* ---- what is under way --------------------------------------------------- */

static void under_way_end(void)
{
	if (atomic_dec_and_test(&swap.under_way))
		wake_up(&swap.idle);
}

static void swap_fail(struct bio *bio)
{
	tmem_count(TMEM_IO_ERRORS);
	bio_io_error(bio);
}

static void swap_to_disk(struct bio *bio, enum tmem_counter counter)
{
	tmem_count(counter);
	bio_set_dev(bio, swap.under.bdev);
	submit_bio_noacct(bio);
}

static void onward_add(struct bio *bio)
{
	unsigned long flags;

	spin_lock_irqsave(&swap.lock, flags);
	bio_list_add(&swap.onward, bio);
	spin_unlock_irqrestore(&swap.lock, flags);
	queue_work(swap.worker, &swap.send);
}

static void refused_without_disk(struct bio *bio)
{
	pr_warn_ratelimited("tmem: a page was refused and there is no backing device\n");
	swap_fail(bio);
}

static void swap_put_end(struct bio *bio, bool taken)
{
	if (!taken && swap.under.bdev) {
		onward_add(bio);
		return;
	}
	if (taken)
		bio_endio(bio);
	else
		refused_without_disk(bio);
	under_way_end();
}

static void swap_get_end(struct bio *bio, int err)
{
	if (err == -EAGAIN) {
		onward_add(bio);
		return;
	}
	if (err)
		swap_fail(bio);
	else
		bio_endio(bio);
	under_way_end();
}

static const struct tmem_sector_ops swap_sector_ops = {
	.put_end = swap_put_end,
	.get_end = swap_get_end,
};

/* ---- attending to it ----------------------------------------------------- */

/* The queues that bios of one plug went to, a bit each. */
struct swap_plug {
	struct blk_plug_cb cb;
	unsigned long queues;
};

static void onward_send(void);

static void swap_unplug(struct blk_plug_cb *cb, bool from_schedule)
{
	struct swap_plug *plug = container_of(cb, struct swap_plug, cb);
	unsigned int i;

	for_each_set_bit(i, &plug->queues, TMEM_QUEUES_MAX)
		tmem_queue_attend(tmem_queue_at(i), !from_schedule);
	kfree(plug);
	if (!from_schedule)
		onward_send();
	under_way_end();
}

/* A bio went to q.  Attend to it when the caller unplugs; unplugged, or without memory, now. */
static void swap_attend(struct tmem_queue *q)
{
	struct blk_plug_cb *cb = blk_check_plugged(swap_unplug, &swap, sizeof(struct swap_plug));
	struct swap_plug *plug;

	if (!cb) {
		tmem_queue_attend(q, true);
		onward_send();
		return;
	}
	plug = container_of(cb, struct swap_plug, cb);
	if (!plug->queues)
		atomic_inc(&swap.under_way);
	__set_bit(q->index, &plug->queues);
}

/* ---- bios ---------------------------------------------------------------- */

static void swap_write(struct bio *bio, u64 sector)
{
	bool header = sector == HEADER_SECTOR && swap.under.bdev;
	bool by_page = READ_ONCE(swap.by_page);
	struct tmem_queue *q;

	atomic_inc(&swap.under_way);
	q = tmem_sector_put(&swap.sectors, sector, bio,
			    tmem_swap_offers() && !header && !by_page);
	if (q) {
		swap_attend(q);
		return;
	}
	if (!by_page)
		tmem_count(TMEM_PUTS_SKIPPED);
	if (swap.under.bdev)
		swap_to_disk(bio, TMEM_DISK_WRITES);
	else
		refused_without_disk(bio);
	under_way_end();
}

/* What nobody wrote is on the disk as well, or zero. */
static void swap_read_disk(struct bio *bio)
{
	if (swap.under.bdev) {
		swap_to_disk(bio, TMEM_DISK_READS);
		return;
	}
	tmem_count(TMEM_ZERO_READS);
	zero_fill_bio(bio);
	bio_endio(bio);
}

static void swap_read(struct bio *bio, u64 sector)
{
	struct tmem_queue *q;
	int err;

	atomic_inc(&swap.under_way);
	err = tmem_sector_get(&swap.sectors, sector, bio, &q);
	if (!err) {
		swap_attend(q);
		return;
	}
	if (err == -ENOENT)
		swap_read_disk(bio);
	else
		swap_fail(bio);
	under_way_end();
}

/* Send on what waits for somebody who may sleep. */
static void onward_send(void)
{
	struct bio_list list;
	struct bio *bio;

	if (bio_list_empty(&swap.onward))
		return;
	spin_lock_irq(&swap.lock);
	list = swap.onward;
	bio_list_init(&swap.onward);
	spin_unlock_irq(&swap.lock);

	while ((bio = bio_list_pop(&list))) {
		if (op_is_write(bio_op(bio)))
			swap_to_disk(bio, TMEM_DISK_WRITES);
		else
			swap_read(bio, bio->bi_iter.bi_sector / COMPAT_SECTORS_PER_PAGE);
		under_way_end();
	}
}

static void send_work(struct work_struct *work)
{
	onward_send();
}

static void swap_submit_bio(struct bio *bio)
{
	sector_t first;

	bio = bio_split_to_limits(bio);
	if (!bio)
		return;
	first = bio->bi_iter.bi_sector;
	if (bio->bi_iter.bi_size != TMEMP_PAGE_SIZE || first % COMPAT_SECTORS_PER_PAGE) {
		swap_fail(bio);
		return;
	}
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		swap_read(bio, first / COMPAT_SECTORS_PER_PAGE);
		break;
	case REQ_OP_WRITE:
		swap_write(bio, first / COMPAT_SECTORS_PER_PAGE);
		break;
	default:
		swap_fail(bio);
	}
}
COMPAT_SUBMIT_BIO(swap_submit_bio)

static void swap_slot_free(struct block_device *bdev, unsigned long sector)
{
	tmem_sector_free(&swap.sectors, sector);
}

static const struct block_device_operations swap_ops = {
	.owner = THIS_MODULE,
	.submit_bio = COMPAT_SUBMIT_BIO_OP(swap_submit_bio),
	.swap_slot_free_notify = swap_slot_free,
};

/* ---- by page -------------------------------------------------------------- */

struct gendisk *tmem_swap_disk(void)
{
	return swap.disk;
}

void tmem_swap_by_page(bool by_page)
{
	tmem_sectors_free(&swap.sectors, HEADER_SECTOR + 1);
	WRITE_ONCE(swap.by_page, by_page);
}

int tmem_swap_put_page(u64 sector, struct page *page)
{
	int err = tmem_sector_put_page(&swap.sectors, sector, page, tmem_swap_offers());

	if (err == -EAGAIN)
		tmem_count(TMEM_PUTS_SKIPPED);
	return err;
}

int tmem_swap_get_page(u64 sector, struct page *page)
{
	return tmem_sector_get_page(&swap.sectors, sector, page);
}

void tmem_swap_free_page(u64 sector)
{
	tmem_sector_free(&swap.sectors, sector);
}

/* ---- drain ---------------------------------------------------------------- */

static int page_to_disk(void *arg, u64 sector, void *page)
{
	tmem_count(TMEM_DISK_WRITES);
	return compat_write_page(swap.under.bdev, sector * COMPAT_SECTORS_PER_PAGE,
				 virt_to_page(page));
}

int tmem_swap_drain(void)
{
	int err;

	if (!swap.disk)
		return 0;
	if (!swap.under.bdev && tmem_swap_held())
		return -ENOSPC;
	tmem_sectors_close(&swap.sectors);
	err = tmem_sectors_move(&swap.sectors, page_to_disk, NULL);
	if (err)
		tmem_sectors_open(&swap.sectors);
	return err;
}

void tmem_swap_resume(void)
{
	if (swap.disk)
		tmem_sectors_open(&swap.sectors);
}

/* ---- the device ---------------------------------------------------------- */

/* An image written here would be gone after the reboot that is to read it. */
static int swap_pm(struct notifier_block *nb, unsigned long action, void *unused)
{
	if (action != PM_HIBERNATION_PREPARE)
		return NOTIFY_DONE;
	pr_err("tmem: no hibernation while " DISK_NAME "0 exists\n");
	return notifier_from_errno(-EBUSY);
}

static int swap_disk_add(u64 sectors)
{
	struct gendisk *disk = compat_disk_alloc(TMEMP_PAGE_SIZE);
	int err;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->major = swap.major;
	disk->first_minor = 0;
	disk->minors = 1;
	disk->fops = &swap_ops;
	snprintf(disk->disk_name, sizeof(disk->disk_name), DISK_NAME "0");
	set_capacity(disk, sectors * COMPAT_SECTORS_PER_PAGE);
	err = compat_disk_add(disk);
	if (err) {
		compat_disk_free(disk);
		return err;
	}
	swap.disk = disk;
	return 0;
}

static int swap_create(u64 sectors)
{
	int err = tmem_sectors_init(&swap.sectors, sectors, &swap_sector_ops);

	if (err)
		return err;
	spin_lock_init(&swap.lock);
	bio_list_init(&swap.onward);
	init_waitqueue_head(&swap.idle);
	INIT_WORK(&swap.send, send_work);
	swap.worker = alloc_workqueue("tmem-disk", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!swap.worker) {
		err = -ENOMEM;
		goto err_sectors;
	}
	swap.major = register_blkdev(0, DISK_NAME);
	if (swap.major < 0) {
		err = swap.major;
		goto err_worker;
	}
	swap.pm.notifier_call = swap_pm;
	err = register_pm_notifier(&swap.pm);
	if (err)
		goto err_major;
	err = swap_disk_add(sectors);
	if (err)
		goto err_pm;
	return 0;

err_pm:
	unregister_pm_notifier(&swap.pm);
err_major:
	unregister_blkdev(swap.major, DISK_NAME);
err_worker:
	destroy_workqueue(swap.worker);
err_sectors:
	tmem_sectors_exit(&swap.sectors);
	return err;
}

int tmem_swap_init(void)
{
	u64 sectors = ((u64)swap_size_mb << 20) / TMEMP_PAGE_SIZE;
	bool stacked = swap_backing && *swap_backing;
	int err;

	if (!stacked && !swap_size_mb)
		return 0;
	if (stacked && swap_size_mb) {
		pr_err("tmem: swap_backing= and swap_size_mb= exclude each other\n");
		return -EINVAL;
	}
	if (stacked) {
		err = compat_backing_open(&swap.under, swap_backing, &swap);
		if (err) {
			pr_err("tmem: cannot open %s: error %d\n", swap_backing, err);
			return err;
		}
		sectors = bdev_nr_sectors(swap.under.bdev) / COMPAT_SECTORS_PER_PAGE;
	}
	err = sectors ? swap_create(sectors) : -EINVAL;
	if (err && stacked)
		compat_backing_close(&swap.under);
	return err;
}

/*
 * del_gendisk returns when no bio is inside submit_bio any more and none will
 * come; those at the host, and plugs that were told of them, are waited for.  The free
 * notification comes only from a device that is swapped on, which would hold the
 * module.  So nobody uses the sectors when they go.
 */
void tmem_swap_exit(void)
{
	if (!swap.disk)
		return;
	del_gendisk(swap.disk);
	wait_event(swap.idle, !atomic_read(&swap.under_way));
	destroy_workqueue(swap.worker);
	compat_disk_free(swap.disk);
	unregister_pm_notifier(&swap.pm);
	unregister_blkdev(swap.major, DISK_NAME);
	tmem_sectors_exit(&swap.sectors);
	if (swap.under.bdev)
		compat_backing_close(&swap.under);
}

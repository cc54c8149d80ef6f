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
 *           Sector 0, the swap header, stays on the backing disk where there is
 *           one: swapon finds it again after the module was reloaded.
 * Must not: allocate where it writes; implement rw_page or claim to be
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

/* ---- bios ---------------------------------------------------------------- */

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

static void swap_write(struct bio *bio, u64 sector)
{
	bool header = sector == HEADER_SECTOR && swap.under.bdev;

	if (tmem_sector_put(&swap.sectors, sector, bio, tmem_swap_offers() && !header)) {
		bio_endio(bio);
	} else if (swap.under.bdev) {
		swap_to_disk(bio, TMEM_DISK_WRITES);
	} else {
		pr_warn_ratelimited("tmem: a page was refused and there is no backing device\n");
		swap_fail(bio);
	}
}

static void swap_read(struct bio *bio, u64 sector)
{
	switch (tmem_sector_get(&swap.sectors, sector, bio)) {
	case 0:
		bio_endio(bio);
		break;
	case -ENOENT:
		if (swap.under.bdev) {
			swap_to_disk(bio, TMEM_DISK_READS);
			break;
		}
		tmem_count(TMEM_ZERO_READS);
		zero_fill_bio(bio);
		bio_endio(bio);
		break;
	default:
		swap_fail(bio);
	}
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
	int err = tmem_sectors_init(&swap.sectors, sectors);

	if (err)
		return err;
	swap.major = register_blkdev(0, DISK_NAME);
	if (swap.major < 0) {
		err = swap.major;
		goto err_sectors;
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
 * del_gendisk returns when no bio is inside the device any more and none will
 * come; the free notification comes only from a device that is swapped on, which
 * would hold the module.  So nobody uses the sectors when they go.
 */
void tmem_swap_exit(void)
{
	if (!swap.disk)
		return;
	del_gendisk(swap.disk);
	compat_disk_free(swap.disk);
	unregister_pm_notifier(&swap.pm);
	unregister_blkdev(swap.major, DISK_NAME);
	tmem_sectors_exit(&swap.sectors);
	if (swap.under.bdev)
		compat_backing_close(&swap.under);
}

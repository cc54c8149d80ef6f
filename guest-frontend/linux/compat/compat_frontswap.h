/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_frontswap.h - the kernel's frontswap, exported to modules up to 5.16.
 */
#ifndef TMEM_COMPAT_FRONTSWAP_H
#define TMEM_COMPAT_FRONTSWAP_H

#if defined(CONFIG_FRONTSWAP) && !COMPAT_SINCE(5, 17)
#define COMPAT_HAS_FRONTSWAP	1

#include <linux/frontswap.h>
#include <linux/genhd.h>
#include <linux/uaccess.h>

#if COMPAT_SINCE(5, 11)
static inline struct block_device *compat_disk_bdev_get(struct gendisk *disk)
{
	return disk->part0;
}

static inline void compat_disk_bdev_put(struct block_device *bdev)
{
}
#else
static inline struct block_device *compat_disk_bdev_get(struct gendisk *disk)
{
	return bdget_disk(disk, 0);
}

static inline void compat_disk_bdev_put(struct block_device *bdev)
{
	bdput(bdev);
}
#endif

/*
 * Whether the swap area of that number, which is being switched on, is the whole of
 * disk.  swapon holds a device in the name of the kernel's record of the area, which
 * names both.  Another holder's record is something else, and may be too short to read.
 */
static inline bool compat_swap_area_is(unsigned int number, struct gendisk *disk)
{
	struct block_device *bdev = compat_disk_bdev_get(disk), *its_bdev;
	const struct swap_info_struct *area;
	signed char its_number;
	bool is;

	if (!bdev)
		return false;
	area = READ_ONCE(bdev->bd_holder);
	is = area && !get_kernel_nofault(its_bdev, &area->bdev) && its_bdev == bdev &&
	     !get_kernel_nofault(its_number, &area->type) && its_number == number;
	compat_disk_bdev_put(bdev);
	return is;
}

#else
#define COMPAT_HAS_FRONTSWAP	0
#endif

#endif

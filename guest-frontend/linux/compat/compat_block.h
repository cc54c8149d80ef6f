/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_block.h - a bio-based disk and the block device under it.
 */
#ifndef TMEM_COMPAT_BLOCK_H
#define TMEM_COMPAT_BLOCK_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#if !COMPAT_SINCE(5, 18)
#include <linux/genhd.h>
#endif

#define COMPAT_SECTORS_PER_PAGE	(4096u >> SECTOR_SHIFT)

/* ---- submit_bio's return type, splitting --------------------------------- */

#if COMPAT_SINCE(5, 16)
#define COMPAT_SUBMIT_BIO(function)
#define COMPAT_SUBMIT_BIO_OP(function)	function
#else
#define COMPAT_SUBMIT_BIO(function)					\
	static blk_qc_t function##_compat(struct bio *bio)		\
	{								\
		function(bio);						\
		return BLK_QC_T_NONE;					\
	}
#define COMPAT_SUBMIT_BIO_OP(function)	function##_compat
#endif

#if !COMPAT_SINCE(6, 0)
static inline struct bio *compat_split(struct bio *bio)
{
	blk_queue_split(&bio);
	return bio;
}
#define bio_split_to_limits(bio)	compat_split(bio)
#endif

#if !COMPAT_SINCE(5, 11)
static inline sector_t bdev_nr_sectors(struct block_device *bdev)
{
	return i_size_read(bdev->bd_inode) >> SECTOR_SHIFT;
}
#endif

/* ---- the disk ------------------------------------------------------------ */

#if !COMPAT_SINCE(6, 9)
/* Blocks of block_size bytes, and no bio longer than one. */
static inline void compat_disk_limit(struct gendisk *disk, unsigned int block_size)
{
	blk_queue_logical_block_size(disk->queue, block_size);
	blk_queue_physical_block_size(disk->queue, block_size);
	blk_queue_max_hw_sectors(disk->queue, block_size >> SECTOR_SHIFT);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, disk->queue);
}
#endif

static inline struct gendisk *compat_disk_alloc(unsigned int block_size)
{
#if COMPAT_SINCE(6, 9)
	struct queue_limits limits = {
		.logical_block_size = block_size,
		.physical_block_size = block_size,
		.max_hw_sectors = block_size >> SECTOR_SHIFT,
	};

	return blk_alloc_disk(&limits, NUMA_NO_NODE);
#elif COMPAT_SINCE(5, 14)
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	compat_disk_limit(disk, block_size);
	return disk;
#else
	struct gendisk *disk = alloc_disk(1);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->queue = blk_alloc_queue(NUMA_NO_NODE);
	if (!disk->queue) {
		put_disk(disk);
		return ERR_PTR(-ENOMEM);
	}
	compat_disk_limit(disk, block_size);
	return disk;
#endif
}

static inline int compat_disk_add(struct gendisk *disk)
{
#if COMPAT_SINCE(5, 15)
	return add_disk(disk);
#else
	add_disk(disk);
	return 0;
#endif
}

/* A disk that is not, or no longer, added. */
static inline void compat_disk_free(struct gendisk *disk)
{
#if COMPAT_SINCE(5, 19)
	put_disk(disk);
#elif COMPAT_SINCE(5, 14)
	blk_cleanup_disk(disk);
#else
	blk_cleanup_queue(disk->queue);
	put_disk(disk);
#endif
}

/* ---- writing one page and waiting for it ---------------------------------- */

static inline int compat_write_page(struct block_device *bdev, sector_t sector, struct page *page)
{
	struct bio_vec vec;
	struct bio bio;
	int err;

#if COMPAT_SINCE(5, 18)
	bio_init(&bio, bdev, &vec, 1, REQ_OP_WRITE | REQ_SYNC);
#else
	bio_init(&bio, &vec, 1);
	bio_set_dev(&bio, bdev);
	bio.bi_opf = REQ_OP_WRITE | REQ_SYNC;
#endif
	bio.bi_iter.bi_sector = sector;
	__bio_add_page(&bio, page, PAGE_SIZE, 0);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err;
}

/* ---- the block device under it ------------------------------------------- */

struct compat_backing {
	struct block_device *bdev;
	void *handle;		/* what closes it, where that is not bdev */
	void *holder;
};

/* For reading and writing, and for holder alone. */
static inline int compat_backing_open(struct compat_backing *b, const char *path, void *holder)
{
#if COMPAT_SINCE(6, 9)
	struct file *file = bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE, holder,
						   NULL);

	if (IS_ERR(file))
		return PTR_ERR(file);
	b->handle = file;
	b->bdev = file_bdev(file);
#elif COMPAT_SINCE(6, 7)
	struct bdev_handle *handle = bdev_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
						       holder, NULL);

	if (IS_ERR(handle))
		return PTR_ERR(handle);
	b->handle = handle;
	b->bdev = handle->bdev;
#else
#if COMPAT_SINCE(6, 5)
	struct block_device *bdev = blkdev_get_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
						       holder, NULL);
#else
	struct block_device *bdev = blkdev_get_by_path(path, FMODE_READ | FMODE_WRITE | FMODE_EXCL,
						       holder);
#endif

	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
	b->bdev = bdev;
#endif
	b->holder = holder;
	return 0;
}

static inline void compat_backing_close(struct compat_backing *b)
{
#if COMPAT_SINCE(6, 9)
	bdev_fput(b->handle);
#elif COMPAT_SINCE(6, 7)
	bdev_release(b->handle);
#elif COMPAT_SINCE(6, 5)
	blkdev_put(b->bdev, b->holder);
#else
	blkdev_put(b->bdev, FMODE_READ | FMODE_WRITE | FMODE_EXCL);
#endif
	b->bdev = NULL;
}

#endif

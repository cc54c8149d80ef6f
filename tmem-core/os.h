/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * os.h - all the core asks of the operating system: the arena file and one seed.
 */
#ifndef TMEM_OS_H
#define TMEM_OS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes in the file, or -errno. */
int64_t tmem_os_size(int fd);

/* Give every byte of the file back and make it size long.  0 or -errno. */
int tmem_os_reset(int fd, uint64_t size);

/* Make the file at least size long.  0 or -errno. */
int tmem_os_grow(int fd, uint64_t size);

/* Map the file shared, readable and writable.  0 or -errno. */
int tmem_os_map(int fd, uint64_t size, void **base);
void tmem_os_unmap(void *base, uint64_t size);

/*
 * Have the file hold memory there, so that touching it cannot fail.  0, -ENOSPC if
 * its file system is full, or -errno.
 */
int tmem_os_fill(int fd, uint64_t offset, uint64_t size);

/* Give the bytes back to the host: they read as zeroes afterwards.  0 or -errno. */
int tmem_os_punch(int fd, uint64_t offset, uint64_t size);

/* Keep memory from being swapped, page by page as each is first touched.  0 or -errno. */
int tmem_os_lock(void *base, uint64_t size);

/* Bytes of memory the file holds. */
uint64_t tmem_os_resident(int fd);

/*
 * The next range of data at or after offset: *start to *end, bytes.  Holes are
 * skipped without touching them.  0, -ENXIO if there is none, or -errno.
 */
int tmem_os_data(int fd, uint64_t offset, uint64_t *start, uint64_t *end);

/* Map what the file holds there, all at once, ahead of reading it.  May do nothing. */
void tmem_os_populate(void *base, uint64_t size);

uint64_t tmem_os_random(void);

/* Zeroed address space without memory until touched, or NULL. */
void *tmem_os_reserve(size_t size);
void tmem_os_release(void *p, size_t size);

#endif

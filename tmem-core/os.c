/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * os.c - the core's only boundary to the operating system.
 *
 * Owns:    nothing; each function is one system call and its errors.
 * Must not: be asked for anything but the arena file's memory.  Holes are made
 *          by fallocate only: on locked memory madvise refuses, it does not.
 *
 * #syscalls: fallocate ftruncate getrandom lseek madvise mlock2 mmap munmap
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int64_t tmem_os_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : st.st_size;
}

int tmem_os_reset(int fd, uint64_t size)
{
	return ftruncate(fd, 0) || ftruncate(fd, (off_t)size) ? -errno : 0;
}

int tmem_os_grow(int fd, uint64_t size)
{
	int64_t now = tmem_os_size(fd);

	if (now < 0)
		return (int)now;
	return (uint64_t)now < size && ftruncate(fd, (off_t)size) ? -errno : 0;
}

int tmem_os_map(int fd, uint64_t size, void **base)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*base = p;
	return 0;
}

void tmem_os_unmap(void *base, uint64_t size)
{
	munmap(base, size);
}

int tmem_os_fill(int fd, uint64_t offset, uint64_t size)
{
	int err;

	do {
		err = fallocate(fd, 0, (off_t)offset, (off_t)size) ? -errno : 0;
	} while (err == -EINTR);
	return err;
}

int tmem_os_punch(int fd, uint64_t offset, uint64_t size)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)size) ? -errno : 0;
}

int tmem_os_lock(void *base, uint64_t size)
{
	return mlock2(base, size, MLOCK_ONFAULT) ? -errno : 0;
}

uint64_t tmem_os_resident(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

int tmem_os_data(int fd, uint64_t offset, uint64_t *start, uint64_t *end)
{
	off_t from = lseek(fd, (off_t)offset, SEEK_DATA), to;

	if (from < 0)
		return -errno;
	to = lseek(fd, from, SEEK_HOLE);
	if (to < 0)
		return -errno;
	*start = (uint64_t)from;
	*end = (uint64_t)to;
	return 0;
}

void tmem_os_populate(void *base, uint64_t size)
{
#ifdef MADV_POPULATE_READ
	madvise(base, size, MADV_POPULATE_READ);	/* Linux 5.14; a fault each without */
#else
	(void)base;
	(void)size;
#endif
}

uint64_t tmem_os_random(void)
{
	uint64_t x = 0;

	/* A seed against crafted collisions: a poor one is slow, never wrong. */
	if (getrandom(&x, sizeof(x), GRND_NONBLOCK) != (ssize_t)sizeof(x))
		x = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ull;
	return x;
}

void *tmem_os_reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void tmem_os_release(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

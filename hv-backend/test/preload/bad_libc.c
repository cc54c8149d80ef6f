// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bad_libc.c - see bad_libc.h.  Stands in front of the allocator, the clock, and
 * reads and writes at a place in a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bad_libc.h"

/* What stands behind, by the names that glibc keeps for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static struct bad_libc *day;
static _Atomic uint32_t allocations;

__attribute__((constructor))
static void day_begin(void)
{
	const char *path = getenv("BAD_LIBC");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED :
		  mmap(NULL, sizeof(*day), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		day = p;
}

static int fails(void)
{
	uint32_t every = day ? day->fail_every : 0;

	if (!every || ++allocations % every)
		return 0;
	day->failed++;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return fails() ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
	void *p = fails() ? NULL : __libc_memalign(align, size);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int r = (int)syscall(SYS_clock_gettime, clock, out);

	if (!r && day && day->clock_s && clock == CLOCK_REALTIME) {
		out->tv_sec += day->clock_s;
		day->asked++;
	}
	return r;
}

time_t time(time_t *out)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

/* As a disk that is gone holds a thread up; in a call that any thread may make. */
static void wait_for_disk(int fd)
{
	const struct timespec look = { .tv_nsec = 20000000 };
	uint32_t hang = day ? day->hang : 0;
	struct stat st;

	if (!hang || fstat(fd, &st) || (uint32_t)st.st_ino != hang)
		return;
	day->hung++;
	while (day->hang == hang)
		syscall(SYS_futex, &day->hang, FUTEX_WAIT, hang, &look, NULL, 0);
	day->hung--;
}

ssize_t pread(int fd, void *to, size_t len, off_t off)
{
	wait_for_disk(fd);
	return syscall(SYS_pread64, fd, to, len, off);
}

ssize_t pwrite(int fd, const void *from, size_t len, off_t off)
{
	wait_for_disk(fd);
	return syscall(SYS_pwrite64, fd, from, len, off);
}

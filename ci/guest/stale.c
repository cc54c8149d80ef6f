/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stale.c - make a host answer that it does not know the session.
 *
 * Owns:    nothing; it borrows the region of a guest on ivshmem from its tmemd.
 * How:     writes a wrong epoch into one put or get that is on its way.  Unless the host
 *          had read it by then, it answers TMEMP_STALE_EPOCH.
 * Must not: touch a second one: the guest may have said HELLO since then, and what
 *          comes soon after that it does not forgive.
 *
 * Usage: stale PID-OF-TMEMD SECONDS    0: one was spoiled; 2: none came
 */
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tmemp.h"
#include "tmemp_ivshmem.h"

#define SLOTS_MAX	64u	/* the guest uses no more, */
#define CHAIN		3u	/* and so many descriptors for each */
#define RESPONSE	64u	/* of a block, as the module has it */

static int region_open(const char *pid)
{
	char dir[64], path[400], target[64];
	struct dirent *e;
	ssize_t n;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%s/fd", pid);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0 && !strncmp(target, "/memfd:tmem-ivshmem", 19))
			return open(path, O_RDWR | O_CLOEXEC);
	}
	return -1;
}

/* Spoil one that is on its way in a queue's blocks. */
static int queue_spoil(char *blocks, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char *block = blocks + (size_t)i * TMEMP_IVSHMEM_BLOCK;
		struct tmemp_request *r = (void *)block;
		struct tmemp_response *answer = (void *)(block + RESPONSE);
		unsigned op = le16toh(__atomic_load_n(&r->op, __ATOMIC_RELAXED));

		if ((op != TMEMP_OP_PUT && op != TMEMP_OP_GET) ||
		    le32toh(__atomic_load_n(&answer->status, __ATOMIC_RELAXED)) != TMEMP_STATUS_NONE)
			continue;
		__atomic_store_n(&r->epoch, htole64(1), __ATOMIC_RELAXED);
		return 1;
	}
	return 0;
}

static int spoil(char *region, time_t end)
{
	const struct tmemp_ivshmem_header *h = (void *)region;
	unsigned count = le32toh(h->slots), chains = le32toh(h->ring_size) / CHAIN;

	if (count > chains)
		count = chains;
	if (count > SLOTS_MAX)
		count = SLOTS_MAX;
	while (time(NULL) < end) {
		for (unsigned q = 0; q < le32toh(h->queues); q++) {
			char *data = region + le64toh(h->data) + q * le64toh(h->data_stride);

			if (queue_spoil(data + (size_t)count * TMEMP_PAGE_SIZE, count))
				return 0;
		}
	}
	return 2;
}

int main(int argc, char *argv[])
{
	int fd = argc == 3 ? region_open(argv[1]) : -1;
	struct tmemp_ivshmem_header h;
	char *region;

	if (fd < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h)) {
		fprintf(stderr, "stale: no region\n");
		return 1;
	}
	region = mmap(NULL, le64toh(h.bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (region == MAP_FAILED)
		return 1;
	return spoil(region, time(NULL) + atol(argv[2]));
}

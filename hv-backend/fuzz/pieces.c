// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pieces.c - what targets are put together from.
 */
#include "pieces.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct tmem *fuzz_core(uint64_t arena)
{
	struct tmem_config config = { .arena_max = arena };
	struct tmem *core;

	config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	fuzz_require(tmem_create(&core, &config) == 0);
	return core;
}

void *fuzz_host_alloc(size_t size)
{
	size_t whole = (size + 63) & ~(size_t)63;
	void *host = aligned_alloc(64, whole);

	fuzz_require(host != NULL);
	return memset(host, 0, whole);
}

void fuzz_ignore(void *arg)
{
	(void)arg;
}

int fuzz_lowest_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

void fuzz_memory_open(struct fuzz_memory *m)
{
	m->fd = memfd_create("guest", MFD_CLOEXEC);
	fuzz_require(ftruncate(m->fd, FUZZ_BYTES) == 0);
	m->mem = mmap(NULL, FUZZ_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	fuzz_require(m->mem != MAP_FAILED);
}

int fuzz_memory_map(struct memmap *map, void *arg)
{
	const struct fuzz_memory *m = arg;
	const struct memmap_spec s = { .guest = 0, .user = FUZZ_USER, .size = FUZZ_BYTES };

	memmap_clear(map);
	return memmap_add(map, &s, m->fd);
}

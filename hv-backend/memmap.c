/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memmap.c - mapping regions, finding bytes in them, copying.
 *
 * A table has a handful of regions and is searched from its start: with the two
 * or three that real machines have, nothing beats that.
 *
 * #syscalls: fstat fstatfs mmap munmap
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "memmap.h"
#include "sigbus.h"

static uint64_t spec_start(const struct memmap_spec *s, enum memmap_space space)
{
	return space == MEMMAP_GUEST ? s->guest : s->user;
}

void *memmap_pointer(const struct memmap *m, enum memmap_space space, uint64_t addr, uint64_t len)
{
	if (!len)
		return NULL;
	for (unsigned i = 0; i < m->count; i++) {
		const struct memmap_region *r = &m->region[i];
		uint64_t start = spec_start(&r->spec, space);
		uint64_t off = addr - start;

		if (addr >= start && off < r->spec.size && len <= r->spec.size - off)
			return r->pointer + off;
	}
	return NULL;
}

static bool spec_overlaps(const struct memmap_spec *a, const struct memmap_spec *b,
			  enum memmap_space space)
{
	uint64_t x = spec_start(a, space), y = spec_start(b, space);

	return x < y ? y - x < a->size : x - y < b->size;
}

static int spec_check(const struct memmap *m, const struct memmap_spec *s)
{
	uint64_t total = s->size;

	if (!s->size || s->size - 1 > UINT64_MAX - s->guest || s->size - 1 > UINT64_MAX - s->user ||
	    s->size > UINT64_MAX - s->offset)
		return -EINVAL;
	if (m->count == MEMMAP_REGIONS_MAX || s->size > MEMMAP_BYTES_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < m->count; i++) {
		const struct memmap_spec *o = &m->region[i].spec;

		if (spec_overlaps(s, o, MEMMAP_GUEST) || spec_overlaps(s, o, MEMMAP_USER))
			return -EEXIST;
		total += o->size;
	}
	return total > MEMMAP_BYTES_MAX ? -ENOSPC : 0;
}

/* What offset and length of a mapping of fd must be multiples of, or -errno. */
static int64_t file_granule(int fd, const struct memmap_spec *s)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADF;
	/* An honest VMM's file is long enough; a later cut is sigbus.h's. */
	if ((uint64_t)st.st_size < s->offset || (uint64_t)st.st_size - s->offset < s->size)
		return -EINVAL;
	return fs.f_type == HUGETLBFS_MAGIC ? (int64_t)fs.f_bsize : sysconf(_SC_PAGESIZE);
}

static int region_map(struct memmap_region *r, const struct memmap_spec *s, int fd)
{
	int64_t granule = file_granule(fd, s);
	uint64_t mask, lead;

	if (granule < 0)
		return (int)granule;
	mask = (uint64_t)granule - 1;
	lead = s->offset & mask;
	r->spec = *s;
	/* No wrap: size <= MEMMAP_BYTES_MAX, lead and mask are below a huge page. */
	r->map_len = (size_t)((s->size + lead + mask) & ~mask);
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(s->offset - lead));
	if (r->map == MAP_FAILED)
		return -errno;
	r->pointer = (uint8_t *)r->map + lead;
	r->guard = sigbus_guard(r->map, r->map_len);
	if (r->guard < 0) {
		munmap(r->map, r->map_len);
		return r->guard;
	}
	return 0;
}

int memmap_add(struct memmap *m, const struct memmap_spec *spec, int fd)
{
	int err = spec_check(m, spec);

	if (!err)
		err = region_map(&m->region[m->count], spec, fd);
	if (!err)
		m->count++;
	return err;
}

static void region_unmap(struct memmap_region *r)
{
	sigbus_release(r->guard);
	munmap(r->map, r->map_len);
}

int memmap_remove(struct memmap *m, const struct memmap_spec *spec)
{
	for (unsigned i = 0; i < m->count; i++) {
		struct memmap_region *r = &m->region[i];

		if (r->spec.guest != spec->guest || r->spec.user != spec->user ||
		    r->spec.size != spec->size)
			continue;
		region_unmap(r);
		*r = m->region[--m->count];
		return 0;
	}
	return -ENOENT;
}

void memmap_clear(struct memmap *m)
{
	while (m->count)
		region_unmap(&m->region[--m->count]);
}

bool memmap_is_cut(const struct memmap *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (sigbus_tripped(m->region[i].guard))
			return true;
	}
	return false;
}

/*
 * The guest may write what we read: the fences keep the compiler from reading
 * it a second time in place of the copy.
 */
static int memmap_read(void *mem, void *dst, uint64_t addr, uint32_t len)
{
	const void *src = memmap_pointer(mem, MEMMAP_GUEST, addr, len);

	if (!src)
		return -EFAULT;
	memcpy(dst, src, len);
	__asm__ volatile("" ::: "memory");
	return 0;
}

static int memmap_write(void *mem, uint64_t addr, const void *src, uint32_t len)
{
	void *dst = memmap_pointer(mem, MEMMAP_GUEST, addr, len);

	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

static bool memmap_covers(void *mem, uint64_t addr, uint32_t len)
{
	return memmap_pointer(mem, MEMMAP_GUEST, addr, len) != NULL;
}

const struct ring_mem_ops memmap_ring_ops = {
	.covers	= memmap_covers,
	.read	= memmap_read,
	.write	= memmap_write,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memmap.h - a guest's memory as mapped here, and the one way into it.
 *
 * Owns:    the table of regions, their mappings and SIGBUS guards.
 * How:     a region is known by two addresses: where the guest sees it and where
 *          the VMM has it.  memmap_pointer() alone turns either, with a length,
 *          into a pointer.
 * Must not: be changed while anybody reads it.  Rings are read with a queue's
 *          lock held, so changes are made with all queue locks of the guest
 *          held (queue.h).
 *
 * For regions r, s of one table:
 *
 *   r.size > 0, r.guest + r.size and r.user + r.size do not wrap
 *   r != s: their guest ranges are disjoint, and so are their user ranges
 *   r.pointer .. r.pointer + r.size lies in r.map .. r.map + r.map_len
 *   sum of sizes <= MEMMAP_BYTES_MAX
 */
#ifndef HV_MEMMAP_H
#define HV_MEMMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

#define MEMMAP_REGIONS_MAX	32u
#define MEMMAP_BYTES_MAX	(1ull << 42)	/* one guest may not use up our address space */

/* As a VMM describes it: bytes; offset is into the file. */
struct memmap_spec {
	uint64_t guest, size, user, offset;
};

struct memmap_region {
	struct memmap_spec spec;
	uint8_t *pointer;	/* where spec.guest is */
	void *map;
	size_t map_len;
	int guard;		/* SIGBUS slot */
};

/* All zero is an empty table.  Fields are memmap.c's own. */
struct memmap {
	unsigned count;
	struct memmap_region region[MEMMAP_REGIONS_MAX];
};

enum memmap_space { MEMMAP_GUEST, MEMMAP_USER };

/*
 * The pointer to len bytes at addr, or NULL if they do not lie in one region.
 * Never a pointer for len 0.
 */
void *memmap_pointer(const struct memmap *m, enum memmap_space space, uint64_t addr, uint64_t len);

/*
 * Map a region of the regular file fd, which stays the caller's.
 * Errors: -EINVAL wraps, is empty or ends behind the file; -EEXIST overlaps
 * another; -ENOSPC too many or too large; -EBADF not a regular file; or what
 * mmap said.
 */
int memmap_add(struct memmap *m, const struct memmap_spec *spec, int fd);

/* Unmap the region with these addresses and size.  -ENOENT. */
int memmap_remove(struct memmap *m, const struct memmap_spec *spec);

/* Unmap all. */
void memmap_clear(struct memmap *m);

/* True once the guest cut the file of a region: what is read there is not its memory. */
bool memmap_is_cut(const struct memmap *m);

/* Rings in this memory; their mem is the struct memmap. */
extern const struct ring_mem_ops memmap_ring_ops;

#endif

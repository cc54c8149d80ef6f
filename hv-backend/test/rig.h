/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rig.h - a ring and its guest in one piece of memory, for tests of one thread.
 *
 * Owns:    guest memory in a memfd, mapped once for the guest's hand and once by
 *          memmap.h as the host has it; rings laid out in it by number.
 * How:     nothing runs by itself: a test writes descriptors, makes them
 *          available, has the host serve, and looks.
 */
#ifndef RIG_H
#define RIG_H

#include <stdint.h>

#include "queue.h"
#include "tmemp.h"

#define RIG_BYTES	(1u << 20)
#define RIG_GUEST	0x40000000ull	/* guest address of byte 0 */
#define RIG_USER	0x7f0000000000ull	/* the same for the VMM */
#define RIG_NUM		16u		/* descriptors of a ring */
#define RIG_DATA	0x20000u	/* bytes before are rings */

struct rig {
	int fd;
	uint8_t *mem;			/* the guest's view */
	struct memmap_spec spec;
};

/* One ring, as the guest sees it. */
struct rig_ring {
	struct rig *rig;
	struct queue_place place;
	struct tmemp_desc *desc;
	struct tmemp_avail *avail;
	struct tmemp_used *used;
	uint16_t next_desc;
	uint16_t seen;			/* used elements taken by rig_used() */
};

void rig_open(struct rig *r);
void rig_close(struct rig *r);
int  rig_map(struct memmap *m, void *rig);	/* for queue_set_memory() */

/* Ring number n, zeroed; place has its VMM addresses. */
struct rig_ring rig_ring(struct rig *r, unsigned n);

/* Its layout as the host has it in m. */
struct ring_layout rig_layout(const struct rig_ring *q, const struct memmap *m);

/* Guest address of byte off. */
uint64_t rig_addr(uint32_t off);

void rig_desc(struct rig_ring *q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
void rig_avail(struct rig_ring *q, uint16_t head);

/* Take the next used element: its id, *len its length; -1 if there is none. */
int  rig_used(struct rig_ring *q, uint32_t *len);

/*
 * A request as it should be, at slot: request, page and response in memory of its
 * own.  Returns the head.  The guest's views of it are below.
 */
uint16_t rig_request(struct rig_ring *q, unsigned slot, const struct tmemp_request *request);
struct tmemp_response *rig_response(struct rig *r, unsigned slot);
uint8_t *rig_page(struct rig *r, unsigned slot);
uint64_t rig_request_addr(unsigned slot);
uint64_t rig_response_addr(unsigned slot);
uint64_t rig_page_addr(unsigned slot);

#endif

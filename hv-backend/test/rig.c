// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rig.c - guest memory, rings in it, well-formed requests.
 *
 * Ring n takes 4 KiB from n * 4096 on.  Slot s takes 8 KiB from RIG_DATA on: its
 * page, then the request, then the response 64 bytes behind it.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"
#include "tmemp_decode.h"

void rig_open(struct rig *r)
{
	r->fd = memfd_create("rig", MFD_CLOEXEC);
	if (r->fd < 0 || ftruncate(r->fd, RIG_BYTES) < 0)
		abort();
	r->mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->mem == MAP_FAILED)
		abort();
	r->spec = (struct memmap_spec){
		.guest = RIG_GUEST, .user = RIG_USER, .size = RIG_BYTES,
	};
}

void rig_close(struct rig *r)
{
	munmap(r->mem, RIG_BYTES);
	close(r->fd);
}

int rig_map(struct memmap *m, void *rig)
{
	struct rig *r = rig;

	return memmap_add(m, &r->spec, r->fd);
}

struct rig_ring rig_ring(struct rig *r, unsigned n)
{
	uint32_t at = n * 4096, avail = at + 1024, used = at + 2048;

	memset(r->mem + at, 0, 4096);
	return (struct rig_ring){
		.rig = r,
		.place = {
			.num = RIG_NUM,
			.desc = RIG_USER + at,
			.avail = RIG_USER + avail,
			.used = RIG_USER + used,
		},
		.desc = (void *)(r->mem + at),
		.avail = (void *)(r->mem + avail),
		.used = (void *)(r->mem + used),
	};
}

struct ring_layout rig_layout(const struct rig_ring *q, const struct memmap *m)
{
	return (struct ring_layout){
		.num = q->place.num,
		.desc = memmap_pointer(m, MEMMAP_USER, q->place.desc, 1),
		.avail = memmap_pointer(m, MEMMAP_USER, q->place.avail, 1),
		.used = memmap_pointer(m, MEMMAP_USER, q->place.used, 1),
	};
}

uint64_t rig_addr(uint32_t off)
{
	return RIG_GUEST + off;
}

void rig_desc(struct rig_ring *q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	q->desc[i] = (struct tmemp_desc){
		.addr = htole64(addr),
		.len = htole32(len),
		.flags = htole16(flags),
		.next = htole16(next),
	};
}

void rig_avail(struct rig_ring *q, uint16_t head)
{
	uint16_t idx = le16toh(q->avail->idx);

	q->avail->ring[idx % RIG_NUM] = htole16(head);
	__atomic_store_n(&q->avail->idx, htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
}

int rig_used(struct rig_ring *q, uint32_t *len)
{
	struct tmemp_used_elem *e = &q->used->ring[q->seen % RIG_NUM];

	if (q->seen == le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE)))
		return -1;
	q->seen++;
	*len = le32toh(e->len);
	return (int)le32toh(e->id);
}

static uint32_t slot_at(unsigned slot)
{
	return RIG_DATA + slot * 8192;
}

uint64_t rig_page_addr(unsigned slot)
{
	return rig_addr(slot_at(slot));
}

uint64_t rig_request_addr(unsigned slot)
{
	return rig_addr(slot_at(slot) + 4096);
}

uint64_t rig_response_addr(unsigned slot)
{
	return rig_addr(slot_at(slot) + 4096 + 64);
}

uint8_t *rig_page(struct rig *r, unsigned slot)
{
	return r->mem + slot_at(slot);
}

struct tmemp_response *rig_response(struct rig *r, unsigned slot)
{
	return (void *)(r->mem + slot_at(slot) + 4096 + 64);
}

uint16_t rig_request(struct rig_ring *q, unsigned slot, const struct tmemp_request *request)
{
	enum tmemp_page page = tmemp_page_of(le16toh(request->op));
	uint16_t head = q->next_desc;
	unsigned n = 0;

	memcpy(q->rig->mem + slot_at(slot) + 4096, request, sizeof(*request));
	memset(rig_response(q->rig, slot), 0xff, sizeof(struct tmemp_response));
	rig_desc(q, head, rig_request_addr(slot), sizeof(*request), TMEMP_DESC_NEXT,
		 (uint16_t)(head + 1));
	n++;
	if (page == TMEMP_PAGE_READ) {
		rig_desc(q, head + n, rig_page_addr(slot), TMEMP_PAGE_SIZE, TMEMP_DESC_NEXT,
			 (uint16_t)(head + n + 1));
		n++;
	}
	rig_desc(q, head + n, rig_response_addr(slot), sizeof(struct tmemp_response),
		 TMEMP_DESC_WRITE, 0);
	if (page == TMEMP_PAGE_WRITTEN) {
		q->desc[head + n].flags = htole16(TMEMP_DESC_WRITE | TMEMP_DESC_NEXT);
		q->desc[head + n].next = htole16((uint16_t)(head + n + 1));
		n++;
		rig_desc(q, head + n, rig_page_addr(slot), TMEMP_PAGE_SIZE, TMEMP_DESC_WRITE, 0);
	}
	/* Room for another chain of three, or begin anew: tests wait for answers. */
	q->next_desc = (uint16_t)(head + n + 1 + 3 > RIG_NUM ? 0 : head + n + 1);
	return head;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * ivshmem_ring.c - the driver's side of a split virtqueue in a shared region.
 *
 * Owns:     descriptors, the available ring, and copying between slots and region.
 * How:      a virtqueue as virtio 1.x lays it out, with EVENT_IDX and without
 *           indirect tables.  Addresses are offsets in the region.  The host
 *           never sees the slot's own buffers, so one that was given up on may be
 *           used again as soon as the ring is gone, whatever the host still does.
 * Must not: use the kernel's own virtqueues: their addresses are the guest's
 *           memory, which the host process does not see here.
 *
 * Who sees what before what (the host does the same, crossed over):
 *
 *   avail.idx     release   after the entry, the descriptors, block and page
 *   avail_event   full      read after avail.idx was written: either the host
 *                 barrier   sees our request, or we see its wish to be told
 *   used.idx      acquire   before the element, the response and the page
 *   used_event    full      written before used.idx is read again: either the
 *                 barrier   host sees our wish, or we see its element
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "ivshmem_ring.h"
#include "tmemp_ivshmem.h"

#define BLOCK_RESPONSE	64u	/* of a block; the request is at its start */

static_assert(sizeof(struct tmemp_request) <= BLOCK_RESPONSE);
static_assert(BLOCK_RESPONSE + sizeof(struct tmemp_response) <= TMEMP_IVSHMEM_BLOCK);
static_assert(TMEM_SLOTS <= U8_MAX + 1);

static u64 page_offset(const struct tmem_ivshmem_ring *r, unsigned int place)
{
	return (u64)place * TMEMP_PAGE_SIZE;
}

static u64 block_offset(const struct tmem_ivshmem_ring *r, unsigned int place)
{
	return page_offset(r, r->depth) + (u64)place * TMEMP_IVSHMEM_BLOCK;
}

void tmem_ivshmem_ring_init(struct tmem_ivshmem_ring *r)
{
	unsigned int i;

	r->avail_idx = 0;
	r->kicked_idx = 0;
	r->used_idx = 0;
	r->broken = false;
	r->nr_free = r->depth;
	for (i = 0; i < r->depth; i++) {
		r->slot[i] = NULL;
		r->free[i] = i;
	}
}

static void desc_set(struct tmem_ivshmem_ring *r, unsigned int i, u64 offset, u32 len, u16 flags)
{
	struct vring_desc *d = &r->desc[i];

	d->addr = cpu_to_le64(r->data_at + offset);
	d->len = cpu_to_le32(len);
	d->flags = cpu_to_le16(flags);
	d->next = cpu_to_le16(i + 1);
}

/* The order of a chain's parts is the wire's: see tmemp.h, "Carrier". */
static void chain_write(struct tmem_ivshmem_ring *r, unsigned int place, enum tmem_page_way way)
{
	unsigned int i = place * TMEM_IVSHMEM_CHAIN;
	u64 page = page_offset(r, place), block = block_offset(r, place);
	u32 response = sizeof(struct tmemp_response);

	desc_set(r, i++, block, sizeof(struct tmemp_request), VRING_DESC_F_NEXT);
	if (way == TMEM_PAGE_OUT)
		desc_set(r, i++, page, TMEMP_PAGE_SIZE, VRING_DESC_F_NEXT);
	desc_set(r, i++, block + BLOCK_RESPONSE, response,
		 VRING_DESC_F_WRITE | (way == TMEM_PAGE_IN ? VRING_DESC_F_NEXT : 0));
	if (way == TMEM_PAGE_IN)
		desc_set(r, i, page, TMEMP_PAGE_SIZE, VRING_DESC_F_WRITE);
}

int tmem_ivshmem_ring_submit(struct tmem_ivshmem_ring *r, struct tmem_slot *slot)
{
	unsigned int place;
	void *block;

	if (r->broken || WARN_ON_ONCE(!r->nr_free))
		return -EIO;
	place = r->free[--r->nr_free];
	r->slot[place] = slot;

	block = r->data + block_offset(r, place);
	memcpy(block, slot->request, sizeof(*slot->request));
	memcpy(block + BLOCK_RESPONSE, slot->response, sizeof(*slot->response));
	if (slot->way == TMEM_PAGE_OUT)
		memcpy(r->data + page_offset(r, place), slot->page, TMEMP_PAGE_SIZE);
	chain_write(r, place, slot->way);

	r->avail->ring[r->avail_idx & (r->size - 1)] = cpu_to_le16(place * TMEM_IVSHMEM_CHAIN);
	r->avail_idx++;
	virt_store_release(&r->avail->idx, cpu_to_le16(r->avail_idx));
	return 0;
}

static __virtio16 *avail_event(struct tmem_ivshmem_ring *r)
{
	return (__virtio16 *)&r->used->ring[r->size];
}

bool tmem_ivshmem_ring_kick_due(struct tmem_ivshmem_ring *r)
{
	u16 old = r->kicked_idx;

	/* Asked again with nothing new: somebody waits too long, so tell it in any case. */
	if (old == r->avail_idx)
		return true;
	r->kicked_idx = r->avail_idx;
	virt_mb();
	return vring_need_event(le16_to_cpu((__force __le16)READ_ONCE(*avail_event(r))),
				r->avail_idx, old);
}

/* The place of a used element, or -1: the host names what is not in the ring. */
static int place_of(const struct tmem_ivshmem_ring *r, u32 id)
{
	u32 place = id / TMEM_IVSHMEM_CHAIN;

	if (id % TMEM_IVSHMEM_CHAIN || place >= r->depth || !r->slot[place])
		return -1;
	return place;
}

static void answer_copy(struct tmem_ivshmem_ring *r, unsigned int place, struct tmem_slot *slot,
			u32 written)
{
	memcpy(slot->response, r->data + block_offset(r, place) + BLOCK_RESPONSE,
	       sizeof(*slot->response));
	if (slot->way == TMEM_PAGE_IN && written >= sizeof(*slot->response) + TMEMP_PAGE_SIZE)
		memcpy(slot->page, r->data + page_offset(r, place), TMEMP_PAGE_SIZE);
}

struct tmem_slot *tmem_ivshmem_ring_complete(struct tmem_ivshmem_ring *r, u32 *written)
{
	struct vring_used_elem *e = &r->used->ring[r->used_idx & (r->size - 1)];
	struct tmem_slot *slot;
	int place;

	if (r->broken ||
	    virt_load_acquire(&r->used->idx) == (__force __virtio16)cpu_to_le16(r->used_idx))
		return NULL;
	place = place_of(r, le32_to_cpu((__force __le32)READ_ONCE(e->id)));
	if (place < 0) {
		r->broken = true;
		pr_err("tmem: the host completed what was not asked\n");
		return NULL;
	}
	*written = le32_to_cpu((__force __le32)READ_ONCE(e->len));
	r->used_idx++;
	slot = r->slot[place];
	answer_copy(r, place, slot, *written);
	r->slot[place] = NULL;
	r->free[r->nr_free++] = place;
	return slot;
}

bool tmem_ivshmem_ring_arm(struct tmem_ivshmem_ring *r)
{
	__virtio16 seen = (__force __virtio16)cpu_to_le16(r->used_idx);

	WRITE_ONCE(r->avail->ring[r->size], seen);
	virt_mb();
	return READ_ONCE(r->used->idx) == seen || r->broken;
}

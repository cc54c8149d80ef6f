/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ivshmem_region.c - layout, memory file, doorbells, handshake.
 *
 * The handshake is the one of QEMU's ivshmem protocol, version 0.  Each message
 * is a 64-bit number in host byte order, with a descriptor where it says so:
 *
 *   0                       the protocol's version
 *   guest                   the VMM's own id
 *   -1      memory          the region
 *   host    to_host[v]      for each vector: how to ring us
 *   guest   to_guest[v]     for each vector: how we interrupt it
 *
 * #syscalls: eventfd2 fcntl ftruncate getrandom memfd_create pwrite64 sendmsg
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ivshmem_region.h"
#include "tmemp.h"
#include "tmemp_ring.h"

#define RING_SIZE	256u	/* three descriptors for each slot */
#define SLOTS		64u

#define FEATURES	(1ull << TMEMP_F_VERSION_1 | 1ull << TMEMP_F_EVENT_IDX | \
			 1ull << TMEMP_F_INDIRECT)

static_assert(3 * SLOTS <= RING_SIZE, "a ring has room for all slots");

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + TMEMP_PAGE_SIZE - 1) & ~(uint64_t)(TMEMP_PAGE_SIZE - 1);
}

static uint64_t power_up(uint64_t bytes)
{
	uint64_t size = TMEMP_PAGE_SIZE;

	while (size < bytes)
		size <<= 1;
	return size;
}

/* A drawn number says nothing about us; a guest only compares it. */
static int region_draw(uint64_t *region)
{
	*region = 0;
	while (!*region) {
		if (getrandom(region, sizeof(*region), 0) != (ssize_t)sizeof(*region))
			return -EIO;
	}
	return 0;
}

static void layout_make(struct ivshmem_region *r, unsigned queues, uint64_t region)
{
	uint64_t avail = tmemp_desc_bytes(RING_SIZE);
	uint64_t used = page_up(avail + tmemp_avail_bytes(RING_SIZE));
	uint64_t ring_stride = page_up(used + tmemp_used_bytes(RING_SIZE));
	uint64_t data_stride = page_up(SLOTS * (TMEMP_PAGE_SIZE + TMEMP_IVSHMEM_BLOCK));
	uint64_t data = TMEMP_IVSHMEM_RINGS_AT + queues * ring_stride;

	r->used = data + queues * data_stride;
	r->layout = (struct tmemp_ivshmem_header){
		.magic = htole32(TMEMP_IVSHMEM_MAGIC),
		.version = htole32(TMEMP_IVSHMEM_VERSION),
		.peer = htole32(IVSHMEM_PEER_HOST),
		.vectors = htole32(queues + 1),
		.queues = htole32(queues),
		.ring_size = htole32(RING_SIZE),
		.slots = htole32(SLOTS),
		.ring_stride = htole32((uint32_t)ring_stride),
		.avail = htole32((uint32_t)avail),
		.used = htole32((uint32_t)used),
		.rings = htole64(TMEMP_IVSHMEM_RINGS_AT),
		.data = htole64(data),
		.data_stride = htole64(data_stride),
		.bytes = htole64(r->used),
		.features = htole64(FEATURES),
		.region = htole64(region),
	};
}

static int memory_open(struct ivshmem_region *r)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	const struct tmemp_ivshmem_header header = r->layout;

	r->memory = memfd_create("tmem-ivshmem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->memory < 0 || ftruncate(r->memory, (off_t)r->size) < 0 ||
	    fcntl(r->memory, F_ADD_SEALS, seals) < 0)
		return -errno;
	if (pwrite(r->memory, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return -EIO;
	return 0;
}

static int doorbells_open(struct ivshmem_region *r)
{
	for (unsigned v = 0; v < r->vectors; v++) {
		r->to_host[v] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r->to_guest[v] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (r->to_host[v] < 0 || r->to_guest[v] < 0)
			return -errno;
	}
	return 0;
}

int ivshmem_region_create(struct ivshmem_region **out, unsigned queues, uint64_t size)
{
	struct ivshmem_region *r;
	uint64_t region;
	int err;

	if (!queues || queues > TMEMP_IVSHMEM_QUEUES_MAX || size > IVSHMEM_SIZE_MAX)
		return -EINVAL;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->memory = -1;
	r->vectors = queues + 1;
	memset(r->to_host, -1, sizeof(r->to_host));
	memset(r->to_guest, -1, sizeof(r->to_guest));
	err = region_draw(&region);
	if (err)
		goto fail;
	layout_make(r, queues, region);
	r->size = power_up(size > r->used ? size : size ? r->used : IVSHMEM_SIZE_DEFAULT);
	err = memory_open(r);
	if (!err)
		err = doorbells_open(r);
	if (err)
		goto fail;
	*out = r;
	return 0;

fail:
	ivshmem_region_destroy(r);
	return err;
}

static void fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void ivshmem_region_destroy(struct ivshmem_region *r)
{
	if (!r)
		return;
	for (unsigned v = 0; v < IVSHMEM_VECTORS_MAX; v++) {
		fd_close(r->to_host[v]);
		fd_close(r->to_guest[v]);
	}
	fd_close(r->memory);
	free(r);
}

void ivshmem_region_keep(const struct ivshmem_region *r, struct handover *h,
			 struct keep_ivshmem *said)
{
	*said = (struct keep_ivshmem){
		.layout = r->layout,
		.size = r->size,
		.used = r->used,
		.vectors = r->vectors,
		.memory = handover_keep(h, r->memory),
	};
	for (unsigned v = 0; v < r->vectors; v++) {
		said->to_host[v] = handover_keep(h, r->to_host[v]);
		said->to_guest[v] = handover_keep(h, r->to_guest[v]);
	}
}

void ivshmem_region_drop(struct handover *h, const struct keep_ivshmem *said)
{
	handover_drop(h, said->memory);
	for (unsigned v = 0; v < said->vectors; v++) {
		handover_drop(h, said->to_host[v]);
		handover_drop(h, said->to_guest[v]);
	}
}

int ivshmem_region_resume(struct ivshmem_region **out, struct handover *h,
			  const struct keep_ivshmem *said)
{
	struct ivshmem_region *r;
	bool missing;

	if (!said->vectors || said->vectors > IVSHMEM_VECTORS_MAX || said->used > said->size)
		return -EPROTO;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	memset(r->to_host, -1, sizeof(r->to_host));
	memset(r->to_guest, -1, sizeof(r->to_guest));
	r->layout = said->layout;
	r->size = said->size;
	r->used = said->used;
	r->vectors = said->vectors;
	r->memory = handover_take(h, said->memory);
	missing = r->memory < 0;
	for (unsigned v = 0; v < r->vectors; v++) {
		r->to_host[v] = handover_take(h, said->to_host[v]);
		r->to_guest[v] = handover_take(h, said->to_guest[v]);
		missing |= r->to_host[v] < 0 || r->to_guest[v] < 0;
	}
	if (missing) {
		ivshmem_region_destroy(r);
		return -EBADF;
	}
	*out = r;
	return 0;
}

int ivshmem_number_send(int socket, int64_t number, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(number) ? 0 : -EIO;
}

int ivshmem_region_send(const struct ivshmem_region *r, int socket)
{
	int err = ivshmem_number_send(socket, 0, -1);

	if (!err)
		err = ivshmem_number_send(socket, IVSHMEM_PEER_GUEST, -1);
	if (!err)
		err = ivshmem_number_send(socket, -1, r->memory);
	for (unsigned v = 0; !err && v < r->vectors; v++)
		err = ivshmem_number_send(socket, IVSHMEM_PEER_HOST, r->to_host[v]);
	for (unsigned v = 0; !err && v < r->vectors; v++)
		err = ivshmem_number_send(socket, IVSHMEM_PEER_GUEST, r->to_guest[v]);
	return err;
}

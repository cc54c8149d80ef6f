// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * disk.c - a VMM and its guest's driver of a vhost-user-blk disk.
 *
 * Owns:    the in-flight region that the host made, and descriptors of one request
 *          at a time on each queue.
 * How:     the header, the status and the data lie in the queue's data memory, in
 *          this order from its start.  Descriptors are written from 0 on, or an
 *          indirect table behind the data's.
 * Must not: know where the host keeps a block.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front.h"

#define HEADER_AT	0u
#define STATUS_AT	64u
#define DATA_AT		4096u
#define STATUS_NONE	0xffu

static uint8_t *memory_of(struct front_queue *q)
{
	return q->front->data.base + q->index * front_queue_data_bytes(q->size);
}

uint8_t *front_disk_buffer(struct front_queue *q)
{
	return memory_of(q) + DATA_AT;
}

/* ---- connection --------------------------------------------------------- */

/* The answer to GET_INFLIGHT_FD, with the region's descriptor beside it. */
static int region_recv(struct front *f)
{
	struct {
		struct vhost_user_header h;
		struct vhost_user_inflight p;
	} __attribute__((packed)) answer = { .h = { .request = 0 } };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control;
	struct iovec iov = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(f->socket, &m, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	if (n != (ssize_t)sizeof(answer) || answer.h.request != VHOST_USER_GET_INFLIGHT_FD || !c ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	if (f->inflight >= 0)
		close(f->inflight);
	memcpy(&f->inflight, CMSG_DATA(c), sizeof(int));
	f->inflight_place = answer.p;
	return 0;
}

static int region_begin(struct front *f)
{
	struct vhost_user_inflight p = {
		.queues = (uint16_t)f->queues,
		.queue_size = (uint16_t)f->config.queue_size,
	};
	int r = front_vhost_send(f, VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION, &p, sizeof(p),
				 NULL, 0);

	return r ? r : region_recv(f);
}

static int region_send(struct front *f)
{
	return front_vhost_set(f, VHOST_USER_SET_INFLIGHT_FD, &f->inflight_place,
			       sizeof(f->inflight_place), &f->inflight, 1);
}

int front_disk_connect(struct front *f, bool fresh)
{
	int r = front_dial(f);

	if (r)
		return r;
	r = front_negotiate(f);
	if (!r)
		r = front_memory_send(f);
	if (!r && fresh)
		r = region_begin(f);
	if (!r)
		r = region_send(f);
	for (unsigned i = 0; i < f->queues && !r; i++) {
		if (fresh)
			front_queue_reset(&f->queue[i]);
		r = front_queue_start(&f->queue[i]);
	}
	if (r)
		front_disconnect(f);
	return r;
}

int front_disk_config(struct front *f, void *config, uint32_t size)
{
	struct vhost_user_config c = { .size = size };
	uint32_t got = sizeof(c);
	struct vhost_user_header h;
	int r;

	if (size > VHOST_USER_MAX_CONFIG)
		return -EINVAL;
	r = front_vhost_send(f, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, &c,
			     (uint32_t)offsetof(struct vhost_user_config, data) + size, NULL, 0);
	if (!r)
		r = front_vhost_recv(f, &h, &c, &got);
	if (!r && (h.request != VHOST_USER_GET_CONFIG ||
		   got != offsetof(struct vhost_user_config, data) + size))
		r = -EPROTO;
	if (!r)
		memcpy(config, c.data, size);
	return r;
}

/* ---- descriptors --------------------------------------------------------- */

struct chain {
	struct front *front;
	struct tmemp_desc *desc;
	unsigned count, room;
};

static void chain_add(struct chain *c, const uint8_t *p, uint32_t len, bool write)
{
	if (c->count < c->room)
		c->desc[c->count] = (struct tmemp_desc){
			.addr = htole64(front_guest_addr(c->front, p)),
			.len = htole32(len),
			.flags = htole16(write ? TMEMP_DESC_WRITE : 0),
		};
	c->count++;
}

static void chain_add_cut(struct chain *c, const uint8_t *p, uint32_t len, uint32_t cut,
			  bool write)
{
	while (len) {
		uint32_t n = cut && cut < len ? cut : len;

		chain_add(c, p, n, write);
		p += n;
		len -= n;
	}
}

static bool device_writes(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

/* Head 0; -EINVAL: longer than there are descriptors. */
static int chain_write(struct front_queue *q, const struct front_disk_request *r)
{
	uint8_t *memory = memory_of(q), *data = memory + DATA_AT;
	uint64_t bytes = front_queue_data_bytes(q->size) - DATA_AT, table = (r->len + 15u) & ~15u;
	bool indirect = q->front->indirect;
	struct chain c = { .front = q->front, .desc = q->desc, .room = q->size };

	if (table > bytes)
		return -EINVAL;
	if (indirect) {
		c.desc = (struct tmemp_desc *)(data + table);
		c.room = (unsigned)((bytes - table) / sizeof(*c.desc));
	}
	chain_add_cut(&c, memory + HEADER_AT, sizeof(struct virtio_blk_outhdr), r->cut ? 9 : 0, false);
	chain_add_cut(&c, data, r->len, r->cut, device_writes(r->type));
	chain_add(&c, memory + STATUS_AT, 1, true);
	if (c.count > c.room)
		return -EINVAL;
	for (unsigned i = 0; i + 1 < c.count; i++) {
		c.desc[i].flags |= htole16(TMEMP_DESC_NEXT);
		c.desc[i].next = htole16((uint16_t)(i + 1));
	}
	if (indirect)
		q->desc[0] = (struct tmemp_desc){
			.addr = htole64(front_guest_addr(q->front, c.desc)),
			.len = htole32(c.count * (uint32_t)sizeof(*c.desc)),
			.flags = htole16(TMEMP_DESC_INDIRECT),
		};
	return 0;
}

/* ---- requests -------------------------------------------------------------- */

int front_disk_begin(struct front_queue *q, const struct front_disk_request *r)
{
	struct virtio_blk_outhdr h = {
		.type = htole32(r->type),
		.sector = htole64(r->sector),
	};
	int err = chain_write(q, r);

	if (err)
		return err;
	memcpy(memory_of(q) + HEADER_AT, &h, sizeof(h));
	memory_of(q)[STATUS_AT] = STATUS_NONE;
	if (!device_writes(r->type) && r->len)
		memcpy(front_disk_buffer(q), r->data, r->len);
	front_queue_expose(q, 0);
	front_queue_kick(q);
	return 0;
}

static bool is_completed(struct front_queue *q)
{
	return le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE)) == q->avail_idx;
}

/* An interrupt, or the host's end, or nothing in time. */
static int sleep_once(struct front_queue *q)
{
	struct pollfd fd[2] = {
		{ .fd = q->call, .events = POLLIN },
		{ .fd = q->front->socket, .events = POLLRDHUP },
	};
	uint64_t n;

	if (poll(fd, 2, (int)q->front->config.timeout_ms) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fd[0].revents & POLLIN)
		return read(q->call, &n, sizeof(n)) == sizeof(n) ? 0 : -errno;
	return fd[1].revents ? -ECONNRESET : -ETIMEDOUT;
}

static int wait_for(struct front_queue *q)
{
	int err = 0;

	while (!is_completed(q) && !err) {
		if (q->front->event_idx)
			__atomic_store_n(tmemp_used_event(q->avail, q->size),
					 htole16((uint16_t)(q->avail_idx - 1)), __ATOMIC_RELEASE);
		else
			__atomic_store_n(&q->avail->flags, 0, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!is_completed(q))
			err = sleep_once(q);
	}
	return is_completed(q) ? 0 : err;
}

int front_disk_end(struct front_queue *q, const struct front_disk_request *r)
{
	const struct tmemp_used_elem *e;
	uint32_t written = 1 + (device_writes(r->type) ? r->len : 0);
	uint8_t status;
	int err = wait_for(q);

	if (err)
		return err;
	e = &q->used->ring[q->used_idx & (q->size - 1)];
	q->used_idx++;
	status = memory_of(q)[STATUS_AT];
	if (le32toh(e->id) || status == STATUS_NONE ||
	    (status == VIRTIO_BLK_S_OK && le32toh(e->len) != written &&
	     r->type != VIRTIO_BLK_T_GET_ID))
		return -EPROTO;
	if (status == VIRTIO_BLK_S_OK && device_writes(r->type) && r->len)
		memcpy(r->data, front_disk_buffer(q), r->len);
	return status;
}

int front_disk(struct front_queue *q, const struct front_disk_request *r)
{
	int err = front_disk_begin(q, r);

	return err ? err : front_disk_end(q, r);
}

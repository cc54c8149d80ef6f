// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * front.c - the VMM: guest memory, connection, negotiation.
 *
 * Owns:    struct front from front_create() to front_destroy().
 * How:     memory is made once and lives over any number of connections, as a
 *          guest's does when its host process restarts.
 * Must not: look into a ring.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "front.h"

#define RINGS_ADDR	0x00100000ull
#define RINGS_OFFSET	0x3000ull
#define DATA_ADDR	0x140000000ull
#define DATA_OFFSET	0x10000ull

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int region_create(struct front_region *g, const char *name, uint64_t size,
			 uint64_t guest_addr, uint64_t offset)
{
	void *p;

	g->size = (size + 4095) & ~4095ull;
	g->guest_addr = guest_addr;
	g->offset = offset;
	g->fd = memfd_create(name, MFD_CLOEXEC);
	if (g->fd < 0)
		return -errno;
	if (ftruncate(g->fd, (off_t)(g->size + offset)))
		return -errno;
	p = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	g->base = p;
	return 0;
}

static void region_destroy(struct front_region *g)
{
	if (g->base)
		munmap(g->base, g->size);
	close_fd(&g->fd);
}

static uint64_t region_addr(const struct front_region *g, const void *p)
{
	uintptr_t at = (uintptr_t)p, base = (uintptr_t)g->base;

	return at >= base && at - base < g->size ? g->guest_addr + (at - base) : 0;
}

uint64_t front_guest_addr(const struct front *f, const void *p)
{
	uint64_t addr = region_addr(&f->rings, p);

	return addr ? addr : region_addr(&f->data, p);
}

static int memory_create(struct front *f)
{
	uint64_t n = f->config.queues;
	unsigned size = f->config.queue_size;
	int r = region_create(&f->rings, "front-rings", n * front_queue_ring_bytes(size),
			      RINGS_ADDR, RINGS_OFFSET);

	if (r)
		return r;
	return region_create(&f->data, "front-data", n * front_queue_data_bytes(size),
			     DATA_ADDR, DATA_OFFSET);
}

static int queue_create(struct front *f, unsigned i)
{
	struct front_queue *q = &f->queue[i];
	struct front_queue_place at;

	q->front = f;
	q->index = i;
	q->size = f->config.queue_size;
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick < 0 || q->call < 0)
		return -errno;
	at = front_queue_place(q);
	return front_queue_init(q, &at);
}

static bool config_valid(const struct front_config *c)
{
	return c->socket && c->queues >= 1 && c->queues <= FRONT_MAX_QUEUES &&
	       c->queue_size >= 4 && c->queue_size <= TMEMP_RING_NUM_MAX &&
	       !(c->queue_size & (c->queue_size - 1));
}

int front_create(struct front **out, const struct front_config *config)
{
	struct front *f;
	int r = -ENOMEM;

	if (!config_valid(config))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->config = *config;
	f->socket = f->backend = f->rings.fd = f->data.fd = f->inflight = -1;
	f->control_kick = f->control_call = -1;
	for (unsigned i = 0; i < FRONT_MAX_QUEUES; i++)
		f->queue[i].kick = f->queue[i].call = -1;
	f->config.socket = strdup(config->socket);
	if (!f->config.socket)
		goto fail;
	r = config->ivshmem ? 0 : memory_create(f);
	for (unsigned i = 0; i < config->queues && !r && !config->ivshmem; i++)
		r = queue_create(f, i);
	if (r)
		goto fail;
	do {
		if (getrandom(&f->nonce, sizeof(f->nonce), 0) < 0) {
			r = -errno;
			goto fail;
		}
	} while (!f->nonce);
	*out = f;
	return 0;
fail:
	front_destroy(f);
	return r;
}

void front_destroy(struct front *f)
{
	front_disconnect(f);
	for (unsigned i = 0; i < FRONT_MAX_QUEUES; i++) {
		front_queue_destroy(&f->queue[i]);
		close_fd(&f->queue[i].kick);
		close_fd(&f->queue[i].call);
	}
	close_fd(&f->control_kick);
	close_fd(&f->control_call);
	close_fd(&f->inflight);
	region_destroy(&f->rings);
	if (!f->config.ivshmem)
		region_destroy(&f->data);
	free((char *)f->config.socket);
	free(f);
}

int front_dial(struct front *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(f->config.socket) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, f->config.socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		int r = -errno;

		close(fd);
		return r;
	}
	f->socket = fd;
	return 0;
}

void front_disconnect(struct front *f)
{
	close_fd(&f->socket);
	close_fd(&f->backend);
	f->features = f->protocol_features = 0;
}

bool front_closed(struct front *f, int timeout_ms)
{
	struct pollfd fd = { .fd = f->socket, .events = POLLRDHUP };

	return poll(&fd, 1, timeout_ms) == 1;
}

static int negotiate_protocol(struct front *f)
{
	const uint64_t wanted =
		1ull << VHOST_USER_PROTOCOL_F_MQ |
		1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK |
		1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ |
		1ull << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS |
		(f->config.disk ? 1ull << VHOST_USER_PROTOCOL_F_CONFIG |
				  1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD : 0);
	uint64_t offered;
	int r = front_vhost_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES, &offered);

	if (r)
		return r;
	r = front_vhost_set_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, offered & wanted);
	f->protocol_features = offered & wanted;
	return r;
}

static int negotiate_queues(struct front *f)
{
	uint64_t most = 1;
	int r = 0;

	if (f->protocol_features & 1ull << VHOST_USER_PROTOCOL_F_MQ)
		r = front_vhost_get_u64(f, VHOST_USER_GET_QUEUE_NUM, &most);
	if (r)
		return r;
	if (!most)
		return -EPROTO;
	f->queues = most < f->config.queues ? (unsigned)most : f->config.queues;
	return 0;
}

/* A host may keep this channel to send requests of its own; none is answered. */
static int backend_channel(struct front *f)
{
	int pair[2], r;

	if (!(f->protocol_features & 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	r = front_vhost_set(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	f->backend = pair[0];
	return r;
}

static uint64_t wanted_features(const struct front *f)
{
	return 1ull << TMEMP_F_VERSION_1 | 1ull << VHOST_USER_F_PROTOCOL_FEATURES |
	       (f->config.event_idx ? 1ull << TMEMP_F_EVENT_IDX : 0) |
	       (f->config.indirect ? 1ull << TMEMP_F_INDIRECT : 0);
}

int front_negotiate(struct front *f)
{
	uint64_t offered;
	int r = front_vhost_set(f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);

	if (!r)
		r = front_vhost_get_u64(f, VHOST_USER_GET_FEATURES, &offered);
	if (r)
		return r;
	if (!(offered & 1ull << TMEMP_F_VERSION_1))
		return -EPROTO;
	f->features = offered & wanted_features(f);
	f->event_idx = f->features & 1ull << TMEMP_F_EVENT_IDX;
	f->indirect = f->features & 1ull << TMEMP_F_INDIRECT;
	if (f->features & 1ull << VHOST_USER_F_PROTOCOL_FEATURES)
		r = negotiate_protocol(f);
	if (!r)
		r = backend_channel(f);
	if (!r)
		r = negotiate_queues(f);
	return r ? r : front_vhost_set_u64(f, VHOST_USER_SET_FEATURES, f->features);
}

static struct vhost_user_region region_describe(const struct front_region *g)
{
	return (struct vhost_user_region){
		.guest_addr = g->guest_addr,
		.size = g->size,
		.user_addr = (uintptr_t)g->base,
		.mmap_offset = g->offset,
	};
}

static int region_add(struct front *f, const struct front_region *g)
{
	struct vhost_user_mem_one one = { .region = region_describe(g) };

	return front_vhost_set(f, VHOST_USER_ADD_MEM_REG, &one, sizeof(one), &g->fd, 1);
}

int front_memory_send(struct front *f)
{
	struct vhost_user_mem_table t = {
		.count = 2,
		.region = { region_describe(&f->rings), region_describe(&f->data) },
	};
	int fds[2] = { f->rings.fd, f->data.fd };
	int r;

	if (!f->config.mem_slots)
		return front_vhost_set(f, VHOST_USER_SET_MEM_TABLE, &t,
				       offsetof(struct vhost_user_mem_table, region[2]), fds, 2);
	r = region_add(f, &f->rings);
	return r ? r : region_add(f, &f->data);
}

static int queue_state(struct front_queue *q, uint32_t request, uint32_t num)
{
	struct vhost_user_vring_state s = { .index = q->index, .num = num };

	return front_vhost_set(q->front, request, &s, sizeof(s), NULL, 0);
}

static int queue_fd(struct front_queue *q, uint32_t request, int fd)
{
	uint64_t index = q->index;

	return front_vhost_set(q->front, request, &index, sizeof(index), &fd, 1);
}

int front_queue_start(struct front_queue *q)
{
	struct vhost_user_vring_addr a = {
		.index = q->index,
		.desc = (uintptr_t)q->desc,
		.avail = (uintptr_t)q->avail,
		.used = (uintptr_t)q->used,
	};
	int r = queue_state(q, VHOST_USER_SET_VRING_NUM, q->size);

	if (!r)
		r = queue_state(q, VHOST_USER_SET_VRING_BASE, q->used_idx);
	if (!r)
		r = front_vhost_set(q->front, VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
	if (!r)
		r = queue_fd(q, VHOST_USER_SET_VRING_CALL, q->call);
	if (!r)
		r = queue_fd(q, VHOST_USER_SET_VRING_KICK, q->kick);
	if (!r && q->front->features & 1ull << VHOST_USER_F_PROTOCOL_FEATURES)
		r = queue_state(q, VHOST_USER_SET_VRING_ENABLE, 1);
	return r;
}

int front_queue_stop(struct front_queue *q, uint16_t *base)
{
	struct vhost_user_vring_state s = { .index = q->index };
	struct vhost_user_header h;
	uint32_t size = sizeof(s);
	int r = front_vhost_send(q->front, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION,
				 &s, size, NULL, 0);

	if (!r)
		r = front_vhost_recv(q->front, &h, &s, &size);
	if (r)
		return r;
	if (h.request != VHOST_USER_GET_VRING_BASE || size != sizeof(s) || s.index != q->index)
		return -EPROTO;
	*base = (uint16_t)s.num;
	return 0;
}

static int ivshmem_connect(struct front *f)
{
	int r = front_ivshmem_dial(f);

	if (!r)
		r = front_ivshmem_attach(f, le32toh(front_ivshmem_host(f)->attached) + 1);
	if (r)
		front_disconnect(f);
	return r;
}

int front_connect(struct front *f)
{
	int r;

	if (f->config.ivshmem)
		return ivshmem_connect(f);
	r = front_dial(f);
	if (r)
		return r;
	r = front_negotiate(f);
	if (!r)
		r = front_memory_send(f);
	for (unsigned i = 0; i < f->queues && !r; i++) {
		front_queue_reset(&f->queue[i]);
		r = front_queue_start(&f->queue[i]);
	}
	if (r)
		front_disconnect(f);
	return r;
}

int front_open(struct front **out, const struct front_config *config)
{
	struct front *f;
	int r = front_create(&f, config);

	if (r)
		return r;
	r = front_connect(f);
	if (!r)
		r = front_hello(f);
	if (r) {
		front_destroy(f);
		return r;
	}
	*out = f;
	return 0;
}

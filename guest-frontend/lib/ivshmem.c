// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ivshmem.c - the VMM of an ivshmem-doorbell device and the guest's way in.
 *
 * Owns:    what the handshake brings: region, doorbells, interrupts.
 * How:     a connection is a new region, so everything is made anew by each
 *          dial.  A doorbell is written as the VMM would on behalf of the guest.
 * Must not: trust that the host sends what it should; a wrong message is -EPROTO.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front.h"

/* One message; *fd is -1 if none came along. */
static int number_recv(struct front *f, int64_t *number, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = number, .iov_len = sizeof(*number) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control),
	};
	struct pollfd p = { .fd = f->socket, .events = POLLIN };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	if (poll(&p, 1, (int)f->config.timeout_ms) != 1)
		return -ETIMEDOUT;
	n = recvmsg(f->socket, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	if (n <= 0)
		return -ECONNRESET;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n == (ssize_t)sizeof(*number) ? 0 : -EPROTO;
}

/* A message that must say that, and bring a descriptor if fd is given. */
static int number_expect(struct front *f, int64_t number, int *fd)
{
	int64_t got;
	int came, r = number_recv(f, &got, &came);

	if (!r && (got != number || (came >= 0) != (fd != NULL)))
		r = -EPROTO;
	if (!r && fd)
		*fd = came;
	else if (came >= 0)
		close(came);
	return r;
}

static void fd_forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void region_forget(struct front *f)
{
	for (unsigned i = 0; i < FRONT_MAX_QUEUES; i++) {
		struct front_queue *q = &f->queue[i];

		front_queue_destroy(q);
		fd_forget(&q->kick);
		fd_forget(&q->call);
	}
	fd_forget(&f->control_kick);
	fd_forget(&f->control_call);
	if (f->rings.base)
		munmap(f->rings.base, f->rings.size);
	if (f->rings.fd >= 0)
		close(f->rings.fd);
	f->rings = f->data = (struct front_region){ .fd = -1 };
	f->region = NULL;
}

static int region_map(struct front *f)
{
	struct front_region *g = &f->rings;
	struct stat st;
	void *p;

	if (fstat(g->fd, &st) < 0)
		return -errno;
	/* A VMM makes a BAR of it, which must be a power of two. */
	if (st.st_size < TMEMP_IVSHMEM_RINGS_AT || (st.st_size & (st.st_size - 1)))
		return -EPROTO;
	g->size = (uint64_t)st.st_size;
	p = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, g->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	g->base = p;
	f->region = p;
	/* Not fd: one owner is enough. */
	f->data = *g;
	f->data.fd = -1;
	return 0;
}

static int header_check(struct front *f)
{
	const struct tmemp_ivshmem_header *h = f->region;
	uint32_t queues = le32toh(h->queues);

	if (le32toh(h->magic) != TMEMP_IVSHMEM_MAGIC ||
	    le32toh(h->version) != TMEMP_IVSHMEM_VERSION || !queues ||
	    queues > TMEMP_IVSHMEM_QUEUES_MAX || le32toh(h->vectors) != queues + 1 ||
	    le64toh(h->bytes) > f->rings.size)
		return -EPROTO;
	f->queues = queues < f->config.queues ? queues : f->config.queues;
	return 0;
}

/* Descriptors for all vectors of one peer; those of queues not in use are closed. */
static int doorbells_take(struct front *f, int64_t peer, bool to_host)
{
	uint32_t vectors = le32toh(f->region->vectors);
	int fd, r = number_expect(f, peer, to_host ? &f->control_kick : &f->control_call);

	for (uint32_t v = 1; v < vectors && !r; v++) {
		struct front_queue *q = &f->queue[v - 1];

		r = number_expect(f, peer, &fd);
		if (r)
			break;
		if (v - 1 >= f->queues)
			close(fd);
		else if (to_host)
			q->kick = fd;
		else
			q->call = fd;
	}
	return r;
}

static int queue_lay(struct front *f, unsigned i)
{
	const struct tmemp_ivshmem_header *h = f->region;
	struct front_queue *q = &f->queue[i];
	struct front_queue_place at = {
		.ring = f->rings.base + le64toh(h->rings) + (uint64_t)i * le32toh(h->ring_stride),
		.data = f->data.base + le64toh(h->data) + i * le64toh(h->data_stride),
		.bytes = le32toh(h->ring_stride),
		.avail = le32toh(h->avail),
		.used = le32toh(h->used),
		.room = le32toh(h->slots),
	};

	q->front = f;
	q->index = i;
	q->size = le32toh(h->ring_size);
	return front_queue_init(q, &at);
}

int front_ivshmem_dial(struct front *f)
{
	int64_t self;
	int fd, r;

	region_forget(f);
	r = front_dial(f);
	if (!r)
		r = number_expect(f, 0, NULL);
	if (!r)
		r = number_recv(f, &self, &fd);
	if (!r)
		r = number_expect(f, -1, &f->rings.fd);
	if (!r)
		r = region_map(f);
	if (!r)
		r = header_check(f);
	if (!r)
		r = doorbells_take(f, le32toh(f->region->peer), true);
	if (!r)
		r = doorbells_take(f, self, false);
	f->features = 0;
	for (unsigned i = 0; i < f->queues && !r; i++)
		r = queue_lay(f, i);
	return r;
}

struct tmemp_ivshmem_guest *front_ivshmem_guest(struct front *f)
{
	return (void *)(f->rings.base + TMEMP_IVSHMEM_GUEST_AT);
}

struct tmemp_ivshmem_host *front_ivshmem_host(struct front *f)
{
	return (void *)(f->rings.base + TMEMP_IVSHMEM_HOST_AT);
}

static uint32_t attached_now(struct front *f)
{
	return le32toh(__atomic_load_n(&front_ivshmem_host(f)->attached, __ATOMIC_ACQUIRE));
}

static int attached_wait(struct front *f, uint32_t wish)
{
	struct pollfd p[2] = {
		{ .fd = f->control_call, .events = POLLIN },
		{ .fd = f->socket, .events = POLLRDHUP },
	};
	uint64_t n;

	while (attached_now(f) != wish) {
		if (poll(p, 2, (int)f->config.timeout_ms) < 1)
			return -ETIMEDOUT;
		if (p[1].revents)
			return -ECONNRESET;
		if (read(f->control_call, &n, sizeof(n)) < 0 && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

int front_ivshmem_attach(struct front *f, uint32_t wish)
{
	struct tmemp_ivshmem_guest *g = front_ivshmem_guest(f);
	const uint64_t one = 1;
	int r;

	f->features = le64toh(f->region->features) &
		      (1ull << TMEMP_F_VERSION_1 |
		       (f->config.event_idx ? 1ull << TMEMP_F_EVENT_IDX : 0) |
		       (f->config.indirect ? 1ull << TMEMP_F_INDIRECT : 0));
	f->event_idx = f->features & 1ull << TMEMP_F_EVENT_IDX;
	f->indirect = f->features & 1ull << TMEMP_F_INDIRECT;
	g->features = htole64(f->features);
	__atomic_store_n(&g->attach, htole32(wish), __ATOMIC_RELEASE);
	if (write(f->control_kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return -errno;
	r = attached_wait(f, wish);
	for (unsigned i = 0; i < f->queues && !r && wish; i++)
		front_queue_reset(&f->queue[i]);
	return r;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hostile.c - a guest, and its VMM, that mean harm.
 *
 * How:     it begins as a perfect guest, so that what it then breaks lies behind
 *          all the checks that come first: each act starts from something valid
 *          and changes a part of it, to a value at some edge or to any.
 * Must not: wait long for anything, or keep an account of what it did: the host
 *          may fail it at any step.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/campaign/campaign.h"

#define WAIT_MS		20	/* for an answer that may never come */
#define STEPS_MAX	300u

struct hostile {
	struct campaign *campaign;
	struct front *f;
	bool ivshmem;
	uint64_t rng;
};

static uint32_t below(struct hostile *h, uint32_t n)
{
	return campaign_below(&h->rng, n);
}

static void fill(struct hostile *h, void *p, size_t n)
{
	for (uint8_t *byte = p; n--; byte++)
		*byte = (uint8_t)campaign_random(&h->rng);
}

/* A number that somebody may not have thought of. */
static uint64_t edge(struct hostile *h)
{
	static const uint64_t some[] = {
		0, 1, 2, 3, 31, 32, 63, 64, 65, 255, 256, 4095, 4096, 4097, 0x7fff, 0x8000, 0xffff,
		0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX,
		1ull << 63, UINT64_MAX - 4095, UINT64_MAX,
	};
	struct front_region *g = below(h, 2) ? &h->f->rings : &h->f->data;

	switch (below(h, 4)) {
	case 0:
		return campaign_random(&h->rng);
	case 1:
		return g->guest_addr + campaign_random(&h->rng) % (g->size + 1);
	case 2:
		return g->guest_addr + g->size - below(h, 8192);
	default:
		return some[below(h, sizeof(some) / sizeof(some[0]))];
	}
}

static struct front_queue *queue(struct hostile *h)
{
	return &h->f->queue[h->f->queues ? below(h, h->f->queues) : 0];
}

/* ---- requests ---------------------------------------------------------- */

static void page_write(struct hostile *h, uint8_t *page)
{
	switch (below(h, 3)) {
	case 0:
		fill(h, page, TMEMP_PAGE_SIZE);
		break;
	case 1:
		memset(page, (int)below(h, 256), TMEMP_PAGE_SIZE);
		break;
	default:
		page_fill(page, campaign_random(&h->rng));
	}
}

/* A request that is right; NULL where all slots are in flight. */
static struct front_request *request(struct hostile *h, struct front_queue *q)
{
	uint16_t op = (uint16_t)(TMEMP_OP_POOL_CREATE + below(h, TMEMP_OP_EVENT - 1));
	struct front_key key = key_of(below(h, 2), below(h, 500));
	struct front_request *r;

	if (!q->request)
		return NULL;
	front_queue_reap(q);
	r = front_request_get(q);
	if (!r)
		return NULL;
	if (op == TMEMP_OP_FLUSH_OBJECT)
		key.index = 0;
	front_request_key(r, op, &key, op == TMEMP_OP_PUT ? below(h, 1000) : 0, h->f->epoch);
	if (op == TMEMP_OP_POOL_CREATE || op == TMEMP_OP_POOL_DESTROY || op == TMEMP_OP_EVENT)
		memset(r->request->raw, 0, sizeof(r->request->raw));
	if (op == TMEMP_OP_POOL_CREATE)
		r->request->create.flags = htole32(key.pool ? 0 : TMEMP_POOL_PERSISTENT);
	page_write(h, r->page);
	return r;
}

static void act_request(struct hostile *h)
{
	struct front_queue *q = queue(h);
	struct front_request *r = request(h, q);

	if (!r)
		return;
	front_queue_submit(q, r);
	if (!below(h, 4) && !front_queue_wait(q, r))
		front_request_put(q, r);
}

static void act_request_changed(struct hostile *h)
{
	struct front_queue *q = queue(h);
	struct front_request *r = request(h, q);
	uint8_t *bytes;

	if (!r)
		return;
	bytes = (uint8_t *)r->request;
	for (unsigned i = below(h, 4); i < 4; i++)
		bytes[below(h, sizeof(*r->request))] = (uint8_t)edge(h);
	front_queue_submit(q, r);
}

static void descriptor_change(struct hostile *h, struct tmemp_desc *d)
{
	switch (below(h, 4)) {
	case 0:
		d->addr = htole64(edge(h));
		break;
	case 1:
		d->len = htole32((uint32_t)edge(h));
		break;
	case 2:
		d->flags = htole16((uint16_t)(below(h, 2) ? below(h, 8) : edge(h)));
		break;
	default:
		d->next = htole16((uint16_t)edge(h));
	}
}

static void act_descriptor(struct hostile *h)
{
	struct front_queue *q = queue(h);
	struct front_request *r = request(h, q);
	uint16_t head;

	if (!r)
		return;
	head = front_queue_chain(q, r);
	for (unsigned i = below(h, 3); i < 3; i++)
		descriptor_change(h, h->f->indirect && below(h, 3) ? &r->table[below(h, 3)]
								   : &q->desc[(head + below(h, 3)) % q->size]);
	r->state = FRONT_QUEUED;
	front_queue_expose(q, head);
	front_queue_kick(q);
}

/* ---- rings and memory ---------------------------------------------------- */

static void act_available(struct hostile *h)
{
	struct front_queue *q = queue(h);

	if (!q->avail)
		return;
	if (below(h, 4))
		q->avail->ring[below(h, q->size)] = htole16((uint16_t)edge(h));
	else
		q->avail_idx = (uint16_t)(q->avail_idx + below(h, 3 * q->size));
	__atomic_store_n(&q->avail->idx, htole16(q->avail_idx), __ATOMIC_RELEASE);
	front_queue_kick(q);
}

/* Any bytes anywhere: over ivshmem also the header and both sides' blocks. */
static void act_scribble(struct hostile *h)
{
	struct front_region *g = below(h, 2) ? &h->f->rings : &h->f->data;
	uint64_t size = h->ivshmem && below(h, 2) ? TMEMP_IVSHMEM_RINGS_AT + 4096 : g->size;
	size_t n = 1 + below(h, 64);

	if (g->base && size > n && size <= g->size)
		fill(h, g->base + campaign_random(&h->rng) % (size - n), n);
}

static void act_kicks(struct hostile *h)
{
	struct front_queue *q = queue(h);
	int fd = h->ivshmem && below(h, 2) ? h->f->control_kick : q->kick;
	uint64_t n;

	for (unsigned i = below(h, 100); i < 100 && fd >= 0; i++) {
		n = below(h, 50) ? 1 : UINT64_MAX - 1;
		if (write(fd, &n, sizeof(n)) < 0)
			break;
	}
}

/* Take the memory away under requests in flight, and give it back. */
static void act_truncate(struct hostile *h)
{
	struct front_region *g = below(h, 2) ? &h->f->rings : &h->f->data;
	off_t size = (off_t)(g->size + g->offset);

	if (g->fd < 0)
		return;
	for (unsigned i = 0; i < 4; i++)
		act_request(h);
	if (ftruncate(g->fd, (off_t)(campaign_random(&h->rng) % (uint64_t)size)))
		return;
	usleep(below(h, 3000));
	if (ftruncate(g->fd, size))
		_exit(0);
}

/* ---- connection ---------------------------------------------------------- */

static int any_fd(struct hostile *h)
{
	static const char *const files[] = { "/dev/null", "/dev/zero", "/proc/self/stat", "/" };
	int fd;

	switch (below(h, 5)) {
	case 0:
		return dup(h->f->data.fd >= 0 ? h->f->data.fd : STDERR_FILENO);
	case 1:
		fd = memfd_create("hostile", MFD_CLOEXEC);
		return fd >= 0 && ftruncate(fd, (off_t)below(h, 1u << 20)) ? -1 : fd;
	case 2:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case 3:
		return eventfd(below(h, 2), EFD_CLOEXEC | (below(h, 2) ? EFD_NONBLOCK : 0));
	default:
		return open(files[below(h, 4)], O_RDONLY | O_CLOEXEC);
	}
}

static struct vhost_user_region region(struct hostile *h)
{
	const struct front_region *g = below(h, 2) ? &h->f->rings : &h->f->data;
	struct vhost_user_region r = {
		.guest_addr = g->guest_addr, .size = g->size, .user_addr = (uintptr_t)g->base,
		.mmap_offset = g->offset,
	};
	uint64_t *field[] = { &r.guest_addr, &r.size, &r.user_addr, &r.mmap_offset };

	for (unsigned i = below(h, 3); i < 2; i++)
		*field[below(h, 4)] = edge(h);
	return r;
}

/* What some message carries, not always the one it goes with; returns its bytes. */
static uint32_t payload_make(struct hostile *h, uint8_t bytes[VHOST_USER_MAX_PAYLOAD])
{
	struct vhost_user_mem_table t = { .count = below(h, 10) };
	struct vhost_user_mem_one one = { .region = region(h) };
	uint64_t number = below(h, 2) ? below(h, 20) : edge(h), words[5];

	switch (below(h, 5)) {
	case 0:
		for (unsigned i = 0; i < VHOST_USER_MAX_REGIONS; i++)
			t.region[i] = region(h);
		memcpy(bytes, &t, sizeof(t));
		return (uint32_t)sizeof(t);
	case 1:
		memcpy(bytes, &one, sizeof(one));
		return (uint32_t)sizeof(one);
	case 2:
		memcpy(bytes, &number, sizeof(number));
		return (uint32_t)sizeof(number);
	case 3:
		words[0] = below(h, 4);
		for (unsigned i = 1; i < 5; i++)
			words[i] = below(h, 2) ? (uintptr_t)h->f->rings.base + below(h, 8192) : edge(h);
		memcpy(bytes, words, sizeof(words));
		return (uint32_t)sizeof(words);
	default:
		fill(h, bytes, VHOST_USER_MAX_PAYLOAD);
		return below(h, VHOST_USER_MAX_PAYLOAD);
	}
}

static void act_message(struct hostile *h)
{
	uint32_t number = below(h, 8) ? below(h, VHOST_USER_REQUEST_END) : (uint32_t)edge(h);
	uint32_t flags = VHOST_USER_VERSION | (below(h, 2) ? VHOST_USER_NEED_REPLY : 0);
	unsigned n = below(h, 3) ? below(h, 3) : below(h, VHOST_USER_MAX_FDS + 1), nfds = 0;
	uint8_t bytes[VHOST_USER_MAX_PAYLOAD];
	uint32_t size = payload_make(h, bytes);
	int fds[VHOST_USER_MAX_FDS];

	if (h->ivshmem || h->f->socket < 0)
		return;
	while (nfds < n && (fds[nfds] = any_fd(h)) >= 0)
		nfds++;
	if (!below(h, 8))
		flags = (uint32_t)edge(h);
	front_vhost_send(h->f, number, flags, bytes, size, fds, nfds);
	while (nfds)
		close(fds[--nfds]);
	while (recv(h->f->socket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* Another connection, with bytes that are no message, or none. */
static void act_dial(struct hostile *h)
{
	struct front_config c = h->f->config;
	uint8_t bytes[100];
	struct front *other;

	if (front_create(&other, &c))
		return;
	if (!front_dial(other)) {
		fill(h, bytes, sizeof(bytes));
		(void)!send(other->socket, bytes, below(h, sizeof(bytes)), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	front_destroy(other);
}

static void connect_again(struct hostile *h)
{
	front_disconnect(h->f);
	h->f->config.timeout_ms = WAIT_MS * 10 * HOSTING_SLOW;
	if (!below(h, 3))
		h->f->nonce = campaign_random(&h->rng) | 1;
	switch (front_connect(h->f)) {
	case 0:
		break;
	case -ECONNREFUSED:
	case -ENOENT:
		_exit(HOSTILE_ALONE);
	default:
		_exit(0);
	}
	if (below(h, 8) && !front_hello(h->f)) {
		front_pool_create(h->f, 0, TMEMP_POOL_PERSISTENT);
		front_pool_create(h->f, 1, 0);
	}
	h->f->config.timeout_ms = WAIT_MS;
}

static void act_connect(struct hostile *h)
{
	if (!below(h, 8))
		connect_again(h);
}

static void act_restart(struct hostile *h)
{
	struct front_queue *q = queue(h);
	uint16_t base;

	if (h->ivshmem)
		front_ivshmem_attach(h->f, below(h, 2) ? below(h, 3) : (uint32_t)edge(h));
	else if (!front_queue_stop(q, &base) && below(h, 4))
		front_queue_start(q);
}

/* ---- a round ------------------------------------------------------------- */

static void (*const acts[])(struct hostile *) = {
	act_request, act_request, act_request, act_request, act_request, act_request,
	act_request_changed, act_request_changed, act_request_changed,
	act_descriptor, act_descriptor, act_available, act_scribble, act_scribble, act_kicks,
	act_truncate, act_message, act_message, act_dial, act_connect, act_restart,
};

static bool open_guest(struct hostile *h, const char *socket)
{
	static const unsigned sizes[] = { 4, 8, 64, 256 };
	struct front_config c = FRONT_CONFIG_DEFAULT;

	c.socket = socket;
	c.ivshmem = h->ivshmem;
	c.queues = 1 + below(h, 3);
	c.queue_size = sizes[below(h, 4)];
	c.indirect = below(h, 2);
	c.event_idx = below(h, 2);
	c.mem_slots = below(h, 2);
	if (front_create(&h->f, &c))
		return false;
	connect_again(h);
	return true;
}

void hostile_round(struct campaign *c, const char *socket, bool ivshmem, uint64_t seed)
{
	struct hostile h = { .campaign = c, .ivshmem = ivshmem, .rng = seed };
	unsigned steps = 1 + below(&h, STEPS_MAX);

	if (!open_guest(&h, socket))
		return;
	while (steps-- && !atomic_load(&c->stop)) {
		atomic_fetch_add_explicit(&c->steps, 1, memory_order_relaxed);
		acts[below(&h, sizeof(acts) / sizeof(acts[0]))](&h);
		if (front_closed(h.f, 0))
			connect_again(&h);
	}
	front_destroy(h.f);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * queue.c - the driver's side of a split virtqueue.
 *
 * Owns:    descriptors, the available ring, the slots of one queue.
 * How:     slot i has its own descriptors: 3i to 3i + 2, or descriptor i and
 *          an indirect table.  Private copies of all indices; the shared ones
 *          are written with release and read with acquire.
 * Must not: know what a request means beyond the shape of its chain.
 *
 * Barriers: an index is stored, then a full fence, then the other side's wish
 * to be told is read (kick), or the other way round (arm before sleeping).  The
 * host does the same, so that one of the two always sees the other's store.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "front.h"

#define CHAIN_MAX	3u	/* descriptors of the longest chain */
#define BLOCK_TABLE	128u	/* offsets in a slot's block */
#define BLOCK_RESPONSE	64u
#define BLOCK_BYTES	256u
#define LINE_BYTES	64u

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static uint16_t load_acquire(const __le16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store_release(__le16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* ---- layout ----------------------------------------------------------- */

static uint64_t avail_offset(unsigned size)
{
	return tmemp_desc_bytes(size);
}

static uint64_t used_offset(unsigned size)
{
	return round_up(avail_offset(size) + tmemp_avail_bytes(size), LINE_BYTES);
}

uint64_t front_queue_ring_bytes(unsigned size)
{
	return round_up(used_offset(size) + tmemp_used_bytes(size), LINE_BYTES);
}

uint64_t front_queue_data_bytes(unsigned size)
{
	return (uint64_t)size * (TMEMP_PAGE_SIZE + BLOCK_BYTES);
}

static void slot_init(struct front_queue *q, uint16_t i, uint8_t *data)
{
	struct front_request *r = &q->request[i];
	uint8_t *block = data + (uint64_t)q->room * TMEMP_PAGE_SIZE + (uint64_t)i * BLOCK_BYTES;

	r->slot = i;
	r->page = data + (uint64_t)i * TMEMP_PAGE_SIZE;
	r->request = (struct tmemp_request *)block;
	r->response = (struct tmemp_response *)(block + BLOCK_RESPONSE);
	r->table = (struct tmemp_desc *)(block + BLOCK_TABLE);
}

struct front_queue_place front_queue_place(struct front_queue *q)
{
	struct front *f = q->front;

	return (struct front_queue_place){
		.ring = f->rings.base + q->index * front_queue_ring_bytes(q->size),
		.bytes = front_queue_ring_bytes(q->size),
		.avail = avail_offset(q->size),
		.used = used_offset(q->size),
		.data = f->data.base + q->index * front_queue_data_bytes(q->size),
		.room = q->size,
	};
}

int front_queue_init(struct front_queue *q, const struct front_queue_place *at)
{
	q->desc = (struct tmemp_desc *)at->ring;
	q->avail = (struct tmemp_avail *)(at->ring + at->avail);
	q->used = (struct tmemp_used *)(at->ring + at->used);
	q->ring_bytes = at->bytes;
	q->room = at->room;
	q->request = calloc(q->room, sizeof(*q->request));
	q->free_slot = calloc(q->room, sizeof(*q->free_slot));
	if (!q->request || !q->free_slot)
		return -ENOMEM;
	for (unsigned i = 0; i < q->room; i++)
		slot_init(q, (uint16_t)i, at->data);
	front_queue_reset(q);
	return 0;
}

void front_queue_destroy(struct front_queue *q)
{
	free(q->request);
	free(q->free_slot);
	q->request = NULL;
	q->free_slot = NULL;
}

/*
 * Ask for an interrupt at the next completion, or no longer for any.  With the
 * event index the flags stay 0, and an index left behind asks for nothing.
 */
static void interrupt_arm(struct front_queue *q, bool wanted)
{
	if (!q->front->event_idx)
		store_release(&q->avail->flags, (uint16_t)(wanted ? 0 : TMEMP_AVAIL_NO_INTERRUPT));
	else if (wanted)
		store_release(tmemp_used_event(q->avail, q->size), q->used_idx);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void front_queue_reset(struct front_queue *q)
{
	memset(q->desc, 0, q->ring_bytes);
	q->avail_idx = q->kicked_idx = q->used_idx = 0;
	q->posted = 0;
	q->slots = q->front->indirect ? q->size : q->size / CHAIN_MAX;
	if (q->slots > q->room)
		q->slots = q->room;
	q->free_count = 0;
	for (unsigned i = q->slots; i-- > 0;) {
		q->request[i].state = FRONT_FREE;
		q->free_slot[q->free_count++] = (uint16_t)i;
	}
	/* Not sleeping: no interrupt wanted, until front_queue_wait() arms it. */
	store_release(tmemp_used_event(q->avail, q->size), UINT16_MAX);
	interrupt_arm(q, false);
}

/* ---- requests going out ----------------------------------------------- */

struct front_request *front_request_get(struct front_queue *q)
{
	struct front_request *r;

	if (!q->free_count)
		return NULL;
	r = &q->request[q->free_slot[--q->free_count]];
	r->state = FRONT_RESERVED;
	r->posted = false;
	r->written = 0;
	memset(r->request, 0, sizeof(*r->request));
	memset(r->response, 0, sizeof(*r->response));
	r->response->status = htole32(TMEMP_STATUS_NONE);
	return r;
}

void front_request_put(struct front_queue *q, struct front_request *r)
{
	r->state = FRONT_FREE;
	q->free_slot[q->free_count++] = r->slot;
}

static void describe(const struct front *f, struct tmemp_desc *d, const void *p, uint32_t len,
		     uint16_t flags)
{
	d->addr = htole64(front_guest_addr(f, p));
	d->len = htole32(len);
	d->flags = htole16(flags);
	d->next = 0;
}

/* Describe r's parts in d[0] on; returns how many there are. */
static unsigned describe_parts(const struct front *f, const struct front_request *r,
			       struct tmemp_desc *d)
{
	unsigned n = 0;
	uint16_t op = le16toh(r->request->op);

	describe(f, &d[n++], r->request, sizeof(*r->request), 0);
	if (op == TMEMP_OP_PUT)
		describe(f, &d[n++], r->page, TMEMP_PAGE_SIZE, 0);
	describe(f, &d[n++], r->response, sizeof(*r->response), TMEMP_DESC_WRITE);
	if (op == TMEMP_OP_GET)
		describe(f, &d[n++], r->page, TMEMP_PAGE_SIZE, TMEMP_DESC_WRITE);
	return n;
}

uint16_t front_queue_chain(struct front_queue *q, struct front_request *r)
{
	bool indirect = q->front->indirect;
	uint16_t head = (uint16_t)(indirect ? r->slot : r->slot * CHAIN_MAX);
	uint16_t first = indirect ? 0 : head;
	struct tmemp_desc *d = indirect ? r->table : &q->desc[head];
	unsigned n = describe_parts(q->front, r, d);

	for (unsigned i = 0; i + 1 < n; i++) {
		d[i].flags |= htole16(TMEMP_DESC_NEXT);
		d[i].next = htole16((uint16_t)(first + i + 1));
	}
	if (indirect)
		describe(q->front, &q->desc[head], d, n * (uint32_t)sizeof(*d),
			 TMEMP_DESC_INDIRECT);
	return head;
}

void front_queue_expose(struct front_queue *q, uint16_t head)
{
	q->avail->ring[q->avail_idx & (q->size - 1)] = htole16(head);
	q->avail_idx++;
	store_release(&q->avail->idx, q->avail_idx);
}

static bool kick_wanted(struct front_queue *q, uint16_t old)
{
	if (q->front->event_idx)
		return tmemp_ring_need_event(load_acquire(tmemp_avail_event(q->used, q->size)),
					q->avail_idx, old);
	return !(load_acquire(&q->used->flags) & TMEMP_USED_NO_NOTIFY);
}

static void signal_eventfd(int fd)
{
	/* A full counter is a kick that nobody has taken yet: as good. */
	ssize_t n = write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));

	(void)n;
}

void front_queue_kick(struct front_queue *q)
{
	uint16_t old = q->kicked_idx;

	q->kicked_idx = q->avail_idx;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (old == q->avail_idx || !kick_wanted(q, old))
		return;
	q->kicks++;
	signal_eventfd(q->kick);
}

void front_queue_submit(struct front_queue *q, struct front_request *r)
{
	uint16_t head = front_queue_chain(q, r);

	r->state = FRONT_QUEUED;
	q->posted += r->posted;
	front_queue_expose(q, head);
	front_queue_kick(q);
}

/* ---- completions coming in -------------------------------------------- */

/* The request whose chain starts at head, NULL if none is in flight there. */
static struct front_request *request_of(struct front_queue *q, uint32_t head)
{
	uint32_t per = q->front->indirect ? 1 : CHAIN_MAX;

	if (head % per || head / per >= q->slots || q->request[head / per].state != FRONT_QUEUED)
		return NULL;
	return &q->request[head / per];
}

static void posted_done(struct front_queue *q, struct front_request *r)
{
	int status = front_request_status(r);

	if (status) {
		q->refused++;
		q->last_refusal = status;
	}
	q->posted--;
	front_request_put(q, r);
}

int front_queue_reap(struct front_queue *q)
{
	uint16_t now = load_acquire(&q->used->idx);
	int n = 0;

	if ((uint16_t)(now - q->used_idx) > (uint16_t)(q->avail_idx - q->used_idx))
		return -EPROTO;
	for (; q->used_idx != now; q->used_idx++, n++) {
		const struct tmemp_used_elem *e = &q->used->ring[q->used_idx & (q->size - 1)];
		struct front_request *r = request_of(q, le32toh(e->id));

		if (!r)
			return -EPROTO;
		r->written = le32toh(e->len);
		r->state = FRONT_DONE;
		q->completed++;
		if (r->posted)
			posted_done(q, r);
	}
	return n;
}

/* Take in the interrupts that have arrived. */
static void interrupt_take(struct front_queue *q)
{
	uint64_t n;

	if (read(q->call, &n, sizeof(n)) == sizeof(n))
		q->interrupts += n;
}

/* Wait for an interrupt; 0, or -ECONNRESET, -ETIMEDOUT if there was none. */
static int interrupt_wait(struct front_queue *q, int timeout_ms)
{
	struct pollfd fd[2] = {
		{ .fd = q->call, .events = POLLIN },
		{ .fd = q->front->socket, .events = POLLRDHUP },
	};
	int n = poll(fd, 2, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (fd[0].revents & POLLIN) {
		interrupt_take(q);
		return 0;
	}
	return n ? -ECONNRESET : -ETIMEDOUT;
}

/* Sleep until something completes; what reap says, or interrupt_wait(). */
static int sleep_for_completion(struct front_queue *q, uint64_t deadline)
{
	uint64_t now = now_ns();
	int n, r = -ETIMEDOUT;

	interrupt_arm(q, true);
	n = front_queue_reap(q);
	if (!n && now < deadline)
		r = interrupt_wait(q, (int)((deadline - now) / 1000000 + 1));
	interrupt_arm(q, false);
	if (n)
		return n;
	/* What completed before the host left, or late, still counts. */
	n = front_queue_reap(q);
	return n ? n : r;
}

static bool wait_over(const struct front_queue *q, const struct front_request *r)
{
	return r ? r->state == FRONT_DONE : !q->posted;
}

/* Wait for r, or with NULL until no posted request is in flight. */
static int wait_for(struct front_queue *q, const struct front_request *r)
{
	uint64_t start = now_ns();
	uint64_t deadline = start + q->front->config.timeout_ms * 1000000ull;
	uint64_t spin_end = q->front->config.spin_ns > deadline - start ?
			    deadline : start + q->front->config.spin_ns;
	unsigned turns = 0;
	bool spin = spin_end > start;

	for (;;) {
		int n = spin ? front_queue_reap(q) : sleep_for_completion(q, deadline);

		if (wait_over(q, r))
			break;
		if (n < 0)
			return n;
		if (n)
			continue;
		cpu_relax();
		/* A look at clock or socket costs more than one at the ring. */
		if (spin && ++turns % 32 == 0)
			spin = now_ns() < spin_end;
		if (spin && turns % 65536 == 0 && front_closed(q->front, 0))
			spin = false;
	}
	interrupt_take(q);
	return 0;
}

int front_queue_wait(struct front_queue *q, struct front_request *r)
{
	return r->state == FRONT_DONE ? 0 : wait_for(q, r);
}

int front_queue_drain(struct front_queue *q)
{
	return q->posted ? wait_for(q, NULL) : 0;
}

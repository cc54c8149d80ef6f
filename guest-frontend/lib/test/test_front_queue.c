// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtqueue driver of the user-space front end against a device of a few
 * lines that lives in this file: no socket, no daemon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "front.h"

/* ---- the device ------------------------------------------------------- */

static struct tmemp_desc *dev_desc(struct front_queue *q, uint16_t head)
{
	struct tmemp_desc *d = &q->desc[head];

	if (!(le16toh(d->flags) & TMEMP_DESC_INDIRECT))
		return d;
	return (struct tmemp_desc *)(q->front->data.base +
				     (le64toh(d->addr) - q->front->data.guest_addr));
}

static uint16_t dev_avail_idx(struct front_queue *q)
{
	return le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE));
}

static void dev_push(struct front_queue *q, uint32_t head, uint32_t len)
{
	uint16_t idx = le16toh(q->used->idx);

	q->used->ring[idx & (q->size - 1)].id = htole32(head);
	q->used->ring[idx & (q->size - 1)].len = htole32(len);
	__atomic_store_n(&q->used->idx, htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
}

/* Answer the chain at avail position `at` with status. */
static void dev_answer(struct front_queue *q, uint16_t at, uint32_t status)
{
	uint16_t head = le16toh(q->avail->ring[at & (q->size - 1)]);
	struct front_request *r = &q->request[q->front->indirect ? head : head / 3];
	bool page = le16toh(r->request->op) == TMEMP_OP_GET && status == TMEMP_OK;

	r->response->status = htole32(status);
	if (page)
		memset(r->page, 0x5a, TMEMP_PAGE_SIZE);
	dev_push(q, head, (uint32_t)sizeof(*r->response) + (page ? TMEMP_PAGE_SIZE : 0));
}

static struct front *setup(unsigned size, bool indirect, bool event_idx)
{
	struct front_config c = FRONT_CONFIG_DEFAULT;
	struct front *f;

	c.socket = "unused";
	c.queue_size = size;
	c.queues = 2;
	c.timeout_ms = 50;
	assert_int_equal(front_create(&f, &c), 0);
	f->queues = 2;
	f->indirect = indirect;
	f->event_idx = event_idx;
	for (unsigned i = 0; i < 2; i++)
		front_queue_reset(&f->queue[i]);
	return f;
}

static const struct front_key key = { .pool = 3, .oid = { 1, 2, 3 }, .index = 4 };

static struct front_request *queue_op(struct front_queue *q, uint16_t op)
{
	struct front_request *r = front_request_get(q);

	assert_non_null(r);
	front_request_key(r, op, &key, 0, 7);
	front_queue_submit(q, r);
	return r;
}

static bool kicked(struct front_queue *q)
{
	uint64_t n;

	return read(q->kick, &n, sizeof(n)) == sizeof(n);
}

/* ---- tests ------------------------------------------------------------ */

static void check_desc(const struct front *f, const struct tmemp_desc *d, const void *p,
		       uint32_t len, uint16_t flags)
{
	assert_int_equal(le64toh(d->addr), front_guest_addr(f, p));
	assert_int_equal(le32toh(d->len), len);
	assert_int_equal(le16toh(d->flags), flags);
}

static void check_chains(bool indirect)
{
	struct front *f = setup(16, indirect, true);
	struct front_queue *q = &f->queue[1];
	struct front_request *r;
	struct tmemp_desc *d;

	r = queue_op(q, TMEMP_OP_PUT);
	d = dev_desc(q, le16toh(q->avail->ring[0]));
	check_desc(f, &d[0], r->request, 64, TMEMP_DESC_NEXT);
	check_desc(f, &d[1], r->page, TMEMP_PAGE_SIZE, TMEMP_DESC_NEXT);
	check_desc(f, &d[2], r->response, 32, TMEMP_DESC_WRITE);

	r = queue_op(q, TMEMP_OP_GET);
	d = dev_desc(q, le16toh(q->avail->ring[1]));
	check_desc(f, &d[0], r->request, 64, TMEMP_DESC_NEXT);
	check_desc(f, &d[1], r->response, 32, TMEMP_DESC_WRITE | TMEMP_DESC_NEXT);
	check_desc(f, &d[2], r->page, TMEMP_PAGE_SIZE, TMEMP_DESC_WRITE);

	r = queue_op(q, TMEMP_OP_FLUSH_PAGE);
	d = dev_desc(q, le16toh(q->avail->ring[2]));
	check_desc(f, &d[0], r->request, 64, TMEMP_DESC_NEXT);
	check_desc(f, &d[1], r->response, 32, TMEMP_DESC_WRITE);
	assert_int_equal(le16toh(q->avail->idx), 3);
	front_destroy(f);
}

static void test_chain_direct(void **state)
{
	(void)state;
	check_chains(false);
}

static void test_chain_indirect(void **state)
{
	(void)state;
	check_chains(true);
}

static void test_addresses(void **state)
{
	struct front *f = setup(64, true, true);
	struct front_request *last = &f->queue[1].request[63];

	(void)state;
	assert_int_equal(front_guest_addr(f, f->rings.base), f->rings.guest_addr);
	assert_int_equal(front_guest_addr(f, f->data.base + 5), f->data.guest_addr + 5);
	assert_int_equal(front_guest_addr(f, f->data.base + f->data.size), 0);
	assert_int_equal(front_guest_addr(f, f), 0);
	assert_true((uint8_t *)(last->table + 3) <= f->data.base + f->data.size);
	assert_true(last->page + TMEMP_PAGE_SIZE <= f->data.base + f->data.size);
	front_destroy(f);
}

/* More than one lap of the free-running indices, in and out of order. */
static void check_laps(bool indirect)
{
	struct front *f = setup(16, indirect, true);
	struct front_queue *q = &f->queue[0];

	for (unsigned lap = 0; lap < 30000; lap++) {
		uint16_t at = q->avail_idx;
		struct front_request *r[3];

		for (unsigned i = 0; i < 3; i++)
			r[i] = queue_op(q, i == 1 ? TMEMP_OP_GET : TMEMP_OP_PUT);
		for (unsigned i = 0; i < 3; i++)
			dev_answer(q, (uint16_t)(at + (lap % 2 ? i : 2 - i)), TMEMP_OK);
		assert_int_equal(front_queue_reap(q), 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(r[i]->state, FRONT_DONE);
			assert_int_equal(front_request_status(r[i]), TMEMP_OK);
			front_request_put(q, r[i]);
		}
	}
	assert_int_equal(q->completed, 90000);
	assert_int_equal(q->free_count, q->slots);
	front_destroy(f);
}

static void test_laps_direct(void **state)
{
	(void)state;
	check_laps(false);
}

static void test_laps_indirect(void **state)
{
	(void)state;
	check_laps(true);
}

static void test_slots_run_out(void **state)
{
	struct front *f = setup(16, false, true);
	struct front_queue *q = &f->queue[0];
	uint8_t page[TMEMP_PAGE_SIZE] = { 1 };

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		queue_op(q, TMEMP_OP_GET);
	assert_null(front_request_get(q));
	assert_int_equal(front_put(q, &key, page, 0), -EBUSY);
	front_destroy(f);
}

static void test_kick_event_idx(void **state)
{
	struct front *f = setup(16, true, true);
	struct front_queue *q = &f->queue[0];
	__le16 *avail_event = tmemp_avail_event(q->used, q->size);

	(void)state;
	*avail_event = htole16(0);
	queue_op(q, TMEMP_OP_GET);
	assert_true(kicked(q));
	queue_op(q, TMEMP_OP_GET);
	assert_false(kicked(q));
	*avail_event = htole16(3);
	queue_op(q, TMEMP_OP_GET);
	assert_false(kicked(q));
	queue_op(q, TMEMP_OP_GET);
	assert_true(kicked(q));
	/* Flags mean nothing once the event index was negotiated. */
	q->used->flags = htole16(TMEMP_USED_NO_NOTIFY);
	*avail_event = htole16(4);
	queue_op(q, TMEMP_OP_GET);
	assert_true(kicked(q));
	assert_int_equal(q->kicks, 3);
	front_destroy(f);
}

static void test_kick_flags(void **state)
{
	struct front *f = setup(16, true, false);
	struct front_queue *q = &f->queue[0];

	(void)state;
	queue_op(q, TMEMP_OP_GET);
	assert_true(kicked(q));
	q->used->flags = htole16(TMEMP_USED_NO_NOTIFY);
	queue_op(q, TMEMP_OP_GET);
	assert_false(kicked(q));
	front_destroy(f);
}

static void test_bad_completions(void **state)
{
	struct front *f = setup(16, true, true);
	struct front_queue *q = &f->queue[0];

	(void)state;
	dev_push(q, 0, 32);		/* nothing is in flight */
	assert_int_equal(front_queue_reap(q), -EPROTO);

	front_queue_reset(q);
	queue_op(q, TMEMP_OP_GET);
	dev_push(q, 16, 32);		/* no such head */
	assert_int_equal(front_queue_reap(q), -EPROTO);

	front_queue_reset(q);
	queue_op(q, TMEMP_OP_GET);
	queue_op(q, TMEMP_OP_GET);
	dev_push(q, 0, 32);
	dev_push(q, 0, 32);		/* completed twice */
	assert_int_equal(front_queue_reap(q), -EPROTO);
	front_destroy(f);
}

static void test_bad_answers(void **state)
{
	struct front *f = setup(16, true, true);
	struct front_queue *q = &f->queue[0];
	struct front_request *r = queue_op(q, TMEMP_OP_GET);

	(void)state;
	dev_push(q, r->slot, 0);
	assert_int_equal(front_queue_reap(q), 1);
	assert_int_equal(front_request_status(r), -EIO);
	r->response->status = htole32(TMEMP_OK);
	r->written = 32;		/* a hit without its page */
	assert_int_equal(front_request_status(r), -EPROTO);
	r->written = 32 + TMEMP_PAGE_SIZE;
	assert_int_equal(front_request_status(r), TMEMP_OK);
	r->response->reserved = htole32(1);
	assert_int_equal(front_request_status(r), -EPROTO);
	front_destroy(f);
}

static void *late_answer(void *arg)
{
	struct front_queue *q = arg;

	while (!dev_avail_idx(q))
		usleep(1000);
	usleep(10000);
	dev_answer(q, 0, TMEMP_MISS);
	return write(q->call, &(uint64_t){ 1 }, 8) == 8 ? q : NULL;
}

static void test_sleeping_wait(void **state)
{
	struct front *f = setup(16, true, true);
	struct front_queue *q = &f->queue[0];
	uint8_t page[TMEMP_PAGE_SIZE];
	pthread_t t;

	(void)state;
	f->config.spin_ns = 0;
	f->config.timeout_ms = 10000;
	pthread_create(&t, NULL, late_answer, q);
	assert_int_equal(front_get(q, &key, page, NULL), TMEMP_MISS);
	pthread_join(t, NULL);
	assert_int_equal(q->interrupts, 1);
	front_destroy(f);
}

static void test_timeout(void **state)
{
	struct front *f = setup(16, true, true);
	struct front_queue *q = &f->queue[0];
	struct front_request *parked = front_event_park(f, TMEMP_DRAIN_NONE, 0);
	uint8_t page[TMEMP_PAGE_SIZE] = { 0 };

	(void)state;
	f->config.spin_ns = 1000;
	assert_int_equal(front_queue_wait(q, parked), -ETIMEDOUT);
	/* A parked request keeps nobody waiting for posted ones. */
	assert_int_equal(front_queue_drain(q), 0);
	assert_int_equal(front_put_post(q, &key, page, 0), 0);
	assert_int_equal(front_queue_drain(q), -ETIMEDOUT);
	dev_answer(q, 1, TMEMP_REFUSED_QUOTA);
	assert_int_equal(front_queue_drain(q), 0);
	assert_int_equal(q->refused, 1);
	assert_int_equal(q->last_refusal, TMEMP_REFUSED_QUOTA);
	assert_int_equal(parked->state, FRONT_QUEUED);
	front_destroy(f);
}

static void test_config(void **state)
{
	struct front_config c = FRONT_CONFIG_DEFAULT;
	struct front *f;

	(void)state;
	assert_int_equal(front_create(&f, &c), -EINVAL);
	c.socket = "/nowhere/at/all";
	c.queue_size = 24;
	assert_int_equal(front_create(&f, &c), -EINVAL);
	c.queue_size = 64;
	c.queues = FRONT_MAX_QUEUES + 1;
	assert_int_equal(front_create(&f, &c), -EINVAL);
	c.queues = 1;
	assert_int_equal(front_open(&f, &c), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain_direct),
		cmocka_unit_test(test_chain_indirect),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_laps_direct),
		cmocka_unit_test(test_laps_indirect),
		cmocka_unit_test(test_slots_run_out),
		cmocka_unit_test(test_kick_event_idx),
		cmocka_unit_test(test_kick_flags),
		cmocka_unit_test(test_bad_completions),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_sleeping_wait),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests_name("front_queue", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a guest or its VMM can do wrong, done to a real daemon.
 *
 * Each test is a guest of its own.  It ends in the status that the protocol
 * names, or in a closed connection with exactly one line in the log that names
 * guest and reason; in both cases the guest can connect again, and a bystander
 * has worked on undisturbed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hosting.h"

#define FAR	0x7000000000000000ull	/* no guest has memory there */

static struct hosting host;

/* ---- a guest for one test --------------------------------------------- */

struct victim {
	const char *name;
	struct front *f;
	struct front_queue *q;
	char path[DAEMON_PATH_MAX];
};

static void victim_open(struct victim *v, const char *name, bool indirect)
{
	struct front_config c = hosting_config(&host, name, v->path);

	v->name = name;
	c.indirect = indirect;
	c.timeout_ms = 3000 * HOSTING_SLOW;
	assert_int_equal(front_open(&v->f, &c), 0);
	assert_int_equal(front_pool_create(v->f, 0, TMEMP_POOL_PERSISTENT), 0);
	v->q = &v->f->queue[0];
}

/* The guest works: what was put comes back. */
static void check_works(struct victim *v)
{
	struct front_key key = key_of(0, 99);
	uint8_t page[TMEMP_PAGE_SIZE];

	page_fill(page, 99);
	assert_int_equal(front_put(v->q, &key, page, 5), TMEMP_OK);
	memset(page, 0, sizeof(page));
	assert_int_equal(front_get(v->q, &key, page, NULL), TMEMP_OK);
	assert_true(page_is(page, 99));
}

/* Nothing bad has come of it: the guest works on the same connection. */
static void check_unharmed(struct victim *v)
{
	check_works(v);
	assert_int_equal(hosting_lines(&host, v->name), 0);
	front_destroy(v->f);
}

/*
 * The connection was closed, with one line that says why; and the guest, set up
 * anew as after a reset, is served again.
 */
static void check_failed(struct victim *v, const char *reason)
{
	const char *name = v->name;
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, name, path);

	assert_true(front_closed(v->f, (int)(5000 * HOSTING_SLOW)));
	assert_int_equal(hosting_said(&host, name, reason), 1);
	assert_int_equal(hosting_lines(&host, name), 1);
	front_destroy(v->f);

	assert_int_equal(front_open(&v->f, &c), 0);
	assert_int_equal(front_pool_create(v->f, 0, TMEMP_POOL_PERSISTENT), 0);
	v->q = &v->f->queue[0];
	check_works(v);
	assert_int_equal(hosting_lines(&host, name), 1);
	front_destroy(v->f);
}

static struct front_request *request(struct victim *v, uint16_t op)
{
	struct front_key key = key_of(0, 1);
	struct front_request *r = front_request_get(v->q);

	assert_non_null(r);
	front_request_key(r, op, &key, 0, v->f->epoch);
	return r;
}

/* Wait for r; the slot is free again. */
static uint32_t answer(struct victim *v, struct front_request *r)
{
	uint32_t status;

	assert_int_equal(front_queue_wait(v->q, r), 0);
	status = le32toh(r->response->status);
	if (status != TMEMP_OK)
		assert_true(r->written == 0 || r->written == sizeof(struct tmemp_response));
	if (r->written == 0)
		assert_int_equal(status, TMEMP_STATUS_NONE);
	front_request_put(v->q, r);
	return status;
}

static uint32_t submit(struct victim *v, struct front_request *r)
{
	front_queue_submit(v->q, r);
	return answer(v, r);
}

/* Submit r by descriptors that are already written. */
static uint32_t submit_head(struct victim *v, struct front_request *r, uint16_t head)
{
	r->state = FRONT_QUEUED;
	front_queue_expose(v->q, head);
	front_queue_kick(v->q);
	return answer(v, r);
}

/* Show the host a chain that it is expected to fail on. */
static void provoke(struct victim *v, uint16_t head)
{
	front_queue_expose(v->q, head);
	front_queue_kick(v->q);
}

/* ---- requests that are wrong ------------------------------------------ */

static void test_wrong_version(void **state)
{
	static const uint16_t versions[][2] = { { 2, 9 }, { 0, 0 }, { 0xffff, 0xffff } };
	struct victim v;

	(void)state;
	victim_open(&v, "version", true);
	for (unsigned i = 0; i < 3; i++) {
		struct front_request *r = front_request_get(v.q);

		r->request->op = htole16(TMEMP_OP_HELLO);
		r->request->hello.version_min = htole16(versions[i][0]);
		r->request->hello.version_max = htole16(versions[i][1]);
		r->request->hello.nonce = htole64(v.f->nonce);
		r->request->hello.ops = htole64(TMEMP_OPS_V1);
		assert_int_equal(submit(&v, r), TMEMP_BAD_VERSION);
	}
	check_unharmed(&v);
}

static void test_pool_out_of_range(void **state)
{
	static const uint16_t ops[] = { TMEMP_OP_PUT, TMEMP_OP_GET, TMEMP_OP_FLUSH_PAGE,
					TMEMP_OP_FLUSH_OBJECT };
	static const uint32_t pools[] = { 1, 16, 17, 0x80000000, 0xffffffff };
	struct victim v;

	(void)state;
	victim_open(&v, "pool", true);
	for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		for (unsigned k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
			struct front_request *r = request(&v, ops[k]);

			r->request->key.index = 0;
			r->request->pool = htole32(pools[i]);
			assert_int_equal(submit(&v, r), TMEMP_NO_POOL);
		}
		if (pools[i] >= TMEMP_MAX_POOLS) {
			assert_int_equal(front_pool_create(v.f, pools[i], 0), TMEMP_NO_POOL);
			assert_int_equal(front_pool_destroy(v.f, pools[i], NULL), TMEMP_NO_POOL);
		}
	}
	check_unharmed(&v);
}

/* Flip each reserved bit of each operation, one at a time. */
static void check_reserved(struct victim *v, uint16_t op, size_t from, size_t to)
{
	for (size_t bit = from * 8; bit < to * 8; bit++) {
		struct front_request *r = request(v, op);

		if (op == TMEMP_OP_FLUSH_OBJECT)
			r->request->key.index = 0;
		if (op == TMEMP_OP_POOL_CREATE || op == TMEMP_OP_EVENT || op == TMEMP_OP_POOL_DESTROY)
			memset(r->request->raw, 0, sizeof(r->request->raw));
		if (op == TMEMP_OP_POOL_CREATE || op == TMEMP_OP_POOL_DESTROY)
			r->request->pool = htole32(3);
		((uint8_t *)r->request)[bit / 8] |= (uint8_t)(1u << bit % 8);
		assert_int_equal(submit(v, r), TMEMP_BAD_REQUEST);
	}
}

static void test_reserved_bits(void **state)
{
	const size_t body = offsetof(struct tmemp_request, raw);
	const size_t all = sizeof(struct tmemp_request);
	struct victim v;

	(void)state;
	victim_open(&v, "reserved", true);
	for (unsigned op = TMEMP_OP_POOL_CREATE; op < TMEMP_OP_END; op++)
		check_reserved(&v, (uint16_t)op, 2, 4);
	for (unsigned op = TMEMP_OP_PUT; op <= TMEMP_OP_FLUSH_OBJECT; op++) {
		check_reserved(&v, (uint16_t)op, body + 28, body + 32);
		check_reserved(&v, (uint16_t)op, body + 40, all);
	}
	check_reserved(&v, TMEMP_OP_GET, body + 32, body + 40);
	check_reserved(&v, TMEMP_OP_FLUSH_OBJECT, body + 24, body + 28);
	check_reserved(&v, TMEMP_OP_POOL_CREATE, body + 1, all);
	check_reserved(&v, TMEMP_OP_POOL_DESTROY, body, all);
	check_reserved(&v, TMEMP_OP_EVENT, body + 1, all);
	/* Refused requests left no pool behind. */
	assert_int_equal(front_flush_page(v.q, &(struct front_key){ .pool = 3 }, NULL),
			 TMEMP_NO_POOL);
	check_unharmed(&v);
}

static void test_unknown_operation(void **state)
{
	static const uint16_t ops[] = { 0, TMEMP_OP_END, 100, 0xffff };
	struct victim v;

	(void)state;
	victim_open(&v, "operation", true);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		assert_int_equal(submit(&v, request(&v, ops[i])), TMEMP_BAD_REQUEST);
	assert_int_equal(front_pool_create(v.f, 2, TMEMP_POOL_PERSISTENT | TMEMP_POOL_SHARED),
			 TMEMP_BAD_REQUEST);
	check_unharmed(&v);
}

static void test_stale_epoch(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;
	uint64_t epoch;

	(void)state;
	victim_open(&v, "epoch", true);
	epoch = v.f->epoch;
	page_fill(page, 1);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_OK);
	v.f->epoch = epoch + 1;
	assert_int_equal(front_get(v.q, &key, page, NULL), TMEMP_STALE_EPOCH);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_STALE_EPOCH);
	assert_int_equal(front_flush_page(v.q, &key, NULL), TMEMP_STALE_EPOCH);
	assert_int_equal(front_flush_object(v.q, &key, NULL), TMEMP_STALE_EPOCH);
	assert_int_equal(front_pool_create(v.f, 4, 0), TMEMP_STALE_EPOCH);
	assert_int_equal(front_pool_destroy(v.f, 0, NULL), TMEMP_STALE_EPOCH);
	v.f->epoch = epoch;
	assert_int_equal(front_get(v.q, &key, page, NULL), TMEMP_OK);
	assert_true(page_is(page, 1));
	check_unharmed(&v);
}

static void test_no_hello(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE] = { 0 };
	struct victim v;

	(void)state;
	victim_open(&v, "hello", true);
	/* A new connection begins silent, whatever the last one had agreed on. */
	front_disconnect(v.f);
	while (front_connect(v.f))
		usleep(1000);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_NEED_HELLO);
	assert_int_equal(front_pool_create(v.f, 0, 0), TMEMP_NEED_HELLO);
	assert_int_equal(front_hello(v.f), 0);
	check_unharmed(&v);
}

/* ---- chains of the wrong shape ---------------------------------------- */

struct shape {
	const char *what;
	uint16_t op;
	unsigned parts;
	struct {
		enum { REQUEST, RESPONSE, PAGE } of;
		uint32_t len;
		bool write;
	} part[4];
	bool answered;		/* with BAD_REQUEST, else used.len is 0 */
};

static const struct shape shapes[] = {
	{ "request alone", TMEMP_OP_FLUSH_PAGE, 1, { { REQUEST, 64, false } }, false },
	{ "response alone", TMEMP_OP_FLUSH_PAGE, 1, { { RESPONSE, 32, true } }, true },
	{ "short request", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 63, false }, { RESPONSE, 32, true } }, true },
	{ "empty request", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 0, false }, { RESPONSE, 32, true } }, true },
	{ "long request", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 65, false }, { RESPONSE, 32, true } }, true },
	{ "short response", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 64, false }, { RESPONSE, 31, true } }, false },
	{ "long response", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 64, false }, { RESPONSE, 33, true } }, false },
	{ "response not writable", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 64, false }, { RESPONSE, 32, false } }, false },
	{ "request writable", TMEMP_OP_FLUSH_PAGE, 2,
	  { { REQUEST, 64, true }, { RESPONSE, 32, true } }, false },
	{ "flush with a page", TMEMP_OP_FLUSH_PAGE, 3,
	  { { REQUEST, 64, false }, { PAGE, 4096, false }, { RESPONSE, 32, true } }, true },
	{ "put without a page", TMEMP_OP_PUT, 2,
	  { { REQUEST, 64, false }, { RESPONSE, 32, true } }, true },
	{ "put of a short page", TMEMP_OP_PUT, 3,
	  { { REQUEST, 64, false }, { PAGE, 4095, false }, { RESPONSE, 32, true } }, true },
	{ "put of a huge page", TMEMP_OP_PUT, 3,
	  { { REQUEST, 64, false }, { PAGE, 0xffffffff, false }, { RESPONSE, 32, true } }, true },
	{ "put with one part more", TMEMP_OP_PUT, 4,
	  { { REQUEST, 64, false }, { PAGE, 4096, false }, { RESPONSE, 32, true },
	    { PAGE, 4096, true } }, true },
	{ "put of a writable page", TMEMP_OP_PUT, 3,
	  { { REQUEST, 64, false }, { PAGE, 4096, true }, { RESPONSE, 32, true } }, false },
	{ "get without a page", TMEMP_OP_GET, 2,
	  { { REQUEST, 64, false }, { RESPONSE, 32, true } }, true },
	{ "get into a short page", TMEMP_OP_GET, 3,
	  { { REQUEST, 64, false }, { RESPONSE, 32, true }, { PAGE, 4095, true } }, true },
	{ "get into a read-only page", TMEMP_OP_GET, 3,
	  { { REQUEST, 64, false }, { RESPONSE, 32, true }, { PAGE, 4096, false } }, true },
	{ "get with the page first", TMEMP_OP_GET, 3,
	  { { REQUEST, 64, false }, { PAGE, 4096, true }, { RESPONSE, 32, true } }, false },
};

static void shape_chain(struct victim *v, struct front_request *r, const struct shape *s,
			uint16_t head)
{
	for (unsigned i = 0; i < s->parts; i++) {
		const void *at = s->part[i].of == REQUEST ? (const void *)r->request :
				 s->part[i].of == RESPONSE ? (const void *)r->response :
							     (const void *)r->page;

		v->q->desc[head + i] = (struct tmemp_desc){
			.addr = htole64(front_guest_addr(v->f, at)),
			.len = htole32(s->part[i].len),
			.flags = htole16((uint16_t)((s->part[i].write ? TMEMP_DESC_WRITE : 0) |
						    (i + 1 < s->parts ? TMEMP_DESC_NEXT : 0))),
			.next = htole16((uint16_t)(head + i + 1)),
		};
	}
}

static void test_chain_shapes(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "shape", false);
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];
		struct front_request *r = request(&v, s->op);
		uint16_t head = (uint16_t)(r->slot * 3);
		uint32_t expected = s->answered ? TMEMP_BAD_REQUEST : TMEMP_STATUS_NONE;
		uint32_t status;

		shape_chain(&v, r, s, head);
		status = submit_head(&v, r, head);
		if (status != expected)
			fail_msg("%s: answered %u, not %u", s->what, status, expected);
	}
	check_unharmed(&v);
}

/* ---- addresses -------------------------------------------------------- */

static void test_bad_addresses(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "address", false);
	const struct front_region *data = &v.f->data;
	const uint64_t bad[] = {
		0, FAR, data->guest_addr - 1, data->guest_addr - TMEMP_PAGE_SIZE,
		data->guest_addr + data->size, data->guest_addr + data->size - 1,
		(uintptr_t)data->base,		/* the VMM's address is not the guest's */
		0ull - TMEMP_PAGE_SIZE,		/* the end wraps to 0 */
		0ull - 16,			/* the end wraps past 0 */
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned part = 0; part < 3; part++) {
			struct front_request *r = request(&v, TMEMP_OP_PUT);
			uint16_t head = front_queue_chain(v.q, r);
			uint32_t status;

			v.q->desc[head + part].addr = htole64(bad[i]);
			status = submit_head(&v, r, head);
			assert_int_equal(status, part == 2 ? TMEMP_STATUS_NONE : TMEMP_BAD_ADDRESS);
		}
	}
	check_unharmed(&v);
}

/* An exclusive get that cannot deliver must not have taken the page out. */
static void test_get_into_nowhere(void **state)
{
	struct front_key key = key_of(1, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front_request *r;
	struct victim v;
	uint16_t head;

	(void)state;
	victim_open(&v, "nowhere", false);
	assert_int_equal(front_pool_create(v.f, 1, 0), 0);
	page_fill(page, 3);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_OK);
	r = request(&v, TMEMP_OP_GET);
	r->request->pool = htole32(1);
	head = front_queue_chain(v.q, r);
	v.q->desc[head + 2].addr = htole64(FAR);
	assert_int_equal(submit_head(&v, r, head), TMEMP_BAD_ADDRESS);
	assert_int_equal(front_get(v.q, &key, page, NULL), TMEMP_OK);
	assert_true(page_is(page, 3));
	check_unharmed(&v);
}

/* ---- rings that are broken -------------------------------------------- */

static void test_descriptor_loop(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "loop", false);
	uint16_t head = front_queue_chain(v.q, request(&v, TMEMP_OP_PUT));

	v.q->desc[head + 2].flags |= htole16(TMEMP_DESC_NEXT);
	v.q->desc[head + 2].next = htole16(head);
	provoke(&v, head);
	check_failed(&v, "descriptor chain longer than the ring");
}

static void test_next_out_of_range(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "next", false);
	uint16_t head = front_queue_chain(v.q, request(&v, TMEMP_OP_PUT));

	v.q->desc[head].next = htole16((uint16_t)v.q->size);
	provoke(&v, head);
	check_failed(&v, "descriptor index out of range");
}

static void test_head_out_of_range(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "head", true);
	provoke(&v, 0xffff);
	check_failed(&v, "descriptor index out of range");
}

static void jump(struct victim *v, int by)
{
	v->q->avail_idx = (uint16_t)(v->q->avail_idx + by);
	__atomic_store_n(&v->q->avail->idx, htole16(v->q->avail_idx), __ATOMIC_RELEASE);
	front_queue_kick(v->q);
}

static void test_index_jumps_ahead(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "ahead", true);
	jump(&v, (int)v.q->size + 1);
	check_failed(&v, "available index more than one ring ahead");
}

static void test_index_steps_back(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "back", true);
	jump(&v, -1);
	/* Seen by a worker that looks at all: make it look. */
	(void)!write(v.q->kick, &(uint64_t){ 1 }, sizeof(uint64_t));
	check_failed(&v, "available index more than one ring ahead");
}

/* What to do to the indirect table's descriptor and first entry. */
struct indirect_case {
	const char *guest, *reason;
	uint64_t addr;		/* 0: leave it */
	uint32_t len;		/* 0: leave it */
	uint16_t flags;		/* added */
	uint16_t inner_flags;	/* added to the table's first entry */
	uint16_t inner_next;	/* 0: leave it */
};

static void check_indirect(const struct indirect_case *c)
{
	struct victim v;

	victim_open(&v, c->guest, true);
	struct front_request *r = request(&v, TMEMP_OP_PUT);
	uint16_t head = front_queue_chain(v.q, r);
	struct tmemp_desc *d = &v.q->desc[head];

	if (c->addr)
		d->addr = htole64(c->addr);
	if (c->len)
		d->len = htole32(c->len);
	d->flags |= htole16(c->flags);
	r->table[0].flags |= htole16(c->inner_flags);
	if (c->inner_next)
		r->table[0].next = htole16(c->inner_next);
	provoke(&v, head);
	check_failed(&v, c->reason);
}

static void test_indirect_tables(void **state)
{
	static const struct indirect_case cases[] = {
		{ .guest = "ind-far", .addr = FAR, .reason = "indirect table outside guest memory" },
		{ .guest = "ind-wrap", .addr = 0ull - 32, .len = 64,
		  .reason = "indirect table outside guest memory" },
		{ .guest = "ind-huge", .len = 0xfffffff0,
		  .reason = "indirect table outside guest memory" },
		{ .guest = "ind-ragged", .len = 47, .reason = "indirect table of ragged length" },
		{ .guest = "ind-nested", .inner_flags = TMEMP_DESC_INDIRECT,
		  .reason = "indirect descriptor in an indirect table" },
		{ .guest = "ind-next", .flags = TMEMP_DESC_NEXT,
		  .reason = "indirect descriptor with a next one" },
		{ .guest = "ind-range", .inner_next = 3, .reason = "descriptor index out of range" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_indirect(&cases[i]);
}

static void test_indirect_not_negotiated(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "ind-none", false);
	v.q->desc[0] = (struct tmemp_desc){
		.addr = htole64(v.f->data.guest_addr),
		.len = htole32(32),
		.flags = htole16(TMEMP_DESC_INDIRECT),
	};
	provoke(&v, 0);
	check_failed(&v, "indirect descriptor that was not negotiated");
}

/* ---- memory that changes or goes away --------------------------------- */

struct flipper {
	uint8_t *page;
	_Atomic bool stop;
};

/* Write the page all over, again and again, each time with the next value. */
static void *flip(void *arg)
{
	struct flipper *f = arg;
	uint8_t value = 0;

	while (!f->stop) {
		for (unsigned i = 0; i < TMEMP_PAGE_SIZE; i++)
			__atomic_store_n(&f->page[i], value, __ATOMIC_RELAXED);
		value++;
	}
	return NULL;
}

/*
 * A page that changes while the host reads it.  What comes back is what one copy
 * of it saw; that the host hashed, compressed and checked the same bytes shows
 * in that no get is ever answered with an error.
 */
static void test_page_changes(void **state)
{
	struct flipper flipper = { 0 };
	uint8_t page[TMEMP_PAGE_SIZE], again[TMEMP_PAGE_SIZE];
	pthread_t thread;
	struct victim v;

	(void)state;
	victim_open(&v, "flip", true);
	struct front_request *r = request(&v, TMEMP_OP_PUT);

	flipper.page = r->page;
	front_request_put(v.q, r);
	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (uint64_t i = 0; i < 3000 / HOSTING_SLOW; i++) {
		struct front_key key = key_of(0, i % 64);

		/* The slot freed last is the next one taken: its page is being flipped. */
		r = front_request_get(v.q);
		assert_ptr_equal(r->page, flipper.page);
		front_request_key(r, TMEMP_OP_PUT, &key, i, v.f->epoch);
		assert_int_equal(submit(&v, r), TMEMP_OK);

		struct front_request *held = front_request_get(v.q);
		uint64_t tag;

		assert_int_equal(front_get(v.q, &key, page, &tag), TMEMP_OK);
		assert_int_equal(tag, i);
		assert_int_equal(front_get(v.q, &key, again, NULL), TMEMP_OK);
		assert_memory_equal(page, again, sizeof(page));
		front_request_put(v.q, held);
	}
	flipper.stop = true;
	pthread_join(thread, NULL);
	check_unharmed(&v);
}

static void test_data_truncated(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;

	(void)state;
	victim_open(&v, "cut-data", false);
	page_fill(page, 1);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_OK);
	uint16_t head = front_queue_chain(v.q, request(&v, TMEMP_OP_PUT));

	assert_int_equal(ftruncate(v.f->data.fd, 0), 0);
	provoke(&v, head);
	check_failed(&v, "");
}

static void test_rings_truncated(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, "cut-rings", true);
	assert_int_equal(ftruncate(v.f->rings.fd, 0), 0);
	(void)!write(v.q->kick, &(uint64_t){ 1 }, sizeof(uint64_t));
	check_failed(&v, "");
}

/* ---- a VMM that misbehaves -------------------------------------------- */

static void test_gone_in_mid_request(void **state)
{
	static const struct vhost_user_header half = { .request = VHOST_USER_SET_MEM_TABLE,
						       .flags = VHOST_USER_VERSION, .size = 72 };
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;

	(void)state;
	page_fill(page, 7);
	for (unsigned i = 0; i < 20; i++) {
		victim_open(&v, "gone", true);
		for (unsigned k = 0; k < 40; k++) {
			key.index = k;
			assert_int_equal(front_put_post(v.q, &key, page, 0), 0);
		}
		/* Half a message is left behind every other time. */
		if (i % 2)
			assert_int_equal(send(v.f->socket, &half, sizeof(half) / 2, 0),
					 (ssize_t)sizeof(half) / 2);
		front_destroy(v.f);
	}
	victim_open(&v, "gone", true);
	check_works(&v);
	front_destroy(v.f);
}

static void test_second_connection(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "second", path);
	struct front *other;
	struct victim v;

	(void)state;
	victim_open(&v, "second", true);
	assert_int_equal(front_create(&other, &c), 0);
	assert_int_equal(front_dial(other), 0);
	assert_true(front_closed(other, (int)(5000 * HOSTING_SLOW)));
	assert_int_equal(hosting_said(&host, "second", "already connected"), 1);
	front_destroy(other);
	check_works(&v);
	assert_int_equal(hosting_lines(&host, "second"), 1);
	front_destroy(v.f);
}

/* One vhost-user message that no VMM may send. */
struct bad_message {
	const char *guest;
	uint32_t request, flags, size;
	union vhost_user_payload payload;
	unsigned fds;		/* that many memfds of a page come along */
};

static const struct bad_message bad_messages[] = {
	{ "msg-version", VHOST_USER_GET_FEATURES, 2, 0, { 0 }, 0 },
	{ "msg-long", VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 0x7fffffff, { 0 }, 0 },
	{ "msg-short", VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 4, { 0 }, 0 },
	{ "msg-unknown", 200, VHOST_USER_VERSION, 0, { 0 }, 0 },
	{ "msg-zero", 0, VHOST_USER_VERSION, 0, { 0 }, 0 },
	{ "msg-features", VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 8, { .u64 = ~0ull }, 0 },
	{ "msg-index", VHOST_USER_SET_VRING_NUM, VHOST_USER_VERSION, 8,
	  { .state = { .index = 4096, .num = 64 } }, 0 },
	{ "msg-num", VHOST_USER_SET_VRING_NUM, VHOST_USER_VERSION, 8,
	  { .state = { .index = 0, .num = 63 } }, 0 },
	{ "msg-num-big", VHOST_USER_SET_VRING_NUM, VHOST_USER_VERSION, 8,
	  { .state = { .index = 0, .num = 0x80000000 } }, 0 },
	{ "msg-addr", VHOST_USER_SET_VRING_ADDR, VHOST_USER_VERSION, 40,
	  { .addr = { .index = 0, .desc = FAR, .avail = FAR, .used = FAR } }, 0 },
	{ "msg-regions", VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 8,
	  { .mem_table = { .count = 0xffffffff } }, 0 },
	{ "msg-no-fd", VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 40,
	  { .mem_table = { .count = 1, .region = { { .size = 4096, .user_addr = 4096 } } } }, 0 },
	{ "msg-wrap", VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 40,
	  { .mem_table = { .count = 1, .region = { { .guest_addr = 0ull - 4096, .size = 8192,
						     .user_addr = 4096 } } } }, 1 },
	{ "msg-past-file", VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 40,
	  { .mem_table = { .count = 1, .region = { { .size = 1 << 20, .user_addr = 4096 } } } }, 1 },
	{ "msg-overlap", VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 72,
	  { .mem_table = { .count = 2, .region = { { .size = 4096, .user_addr = 4096 },
						   { .size = 4096, .user_addr = 4096 } } } }, 2 },
};

static void send_bad(struct victim *v, const struct bad_message *m)
{
	int fds[VHOST_USER_MAX_FDS] = { 0 };
	uint32_t bytes = m->size < sizeof(m->payload) ? m->size : (uint32_t)sizeof(m->payload);

	for (unsigned i = 0; i < m->fds; i++) {
		fds[i] = memfd_create("page", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fds[i], TMEMP_PAGE_SIZE), 0);
	}
	/* The length announced may be a lie; what is sent is what there is. */
	if (bytes == m->size) {
		assert_int_equal(front_vhost_send(v->f, m->request, m->flags, &m->payload, bytes,
						  fds, m->fds), 0);
	} else {
		assert_int_equal(front_vhost_send(v->f, m->request, m->flags, NULL, m->size,
						  fds, m->fds), 0);
	}
	for (unsigned i = 0; i < m->fds; i++)
		close(fds[i]);
}

static void test_bad_messages(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(bad_messages) / sizeof(bad_messages[0]); i++) {
		struct victim v;

		victim_open(&v, bad_messages[i].guest, true);
		send_bad(&v, &bad_messages[i]);
		check_failed(&v, "");
	}
}

/* ---- all together ----------------------------------------------------- */

static int after_each(void **state)
{
	(void)state;
	return hosting_check(&host) ? 0 : -1;
}

static int setup(void **state)
{
	static const char *const guests[] = {
		"bystander", "version", "pool", "reserved", "operation", "epoch", "hello", "shape",
		"address", "nowhere", "loop", "next", "head", "ahead", "back", "ind-far", "ind-wrap",
		"ind-huge", "ind-ragged", "ind-nested", "ind-next", "ind-range", "ind-none", "flip",
		"cut-data", "cut-rings", "gone", "second", NULL,
	};
	const char *all[64] = { NULL };
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; guests[i]; i++)
		all[n++] = guests[i];
	for (unsigned i = 0; i < sizeof(bad_messages) / sizeof(bad_messages[0]); i++)
		all[n++] = bad_messages[i].guest;
	if (hosting_start(&host, all, NULL))
		return -1;
	return hosting_bystander_start(&host, "bystander");
}

static int teardown(void **state)
{
	(void)state;
	return hosting_stop(&host);
}

#define guest_test(fn) cmocka_unit_test_teardown(fn, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
		guest_test(test_wrong_version),
		guest_test(test_pool_out_of_range),
		guest_test(test_reserved_bits),
		guest_test(test_unknown_operation),
		guest_test(test_stale_epoch),
		guest_test(test_no_hello),
		guest_test(test_chain_shapes),
		guest_test(test_bad_addresses),
		guest_test(test_get_into_nowhere),
		guest_test(test_descriptor_loop),
		guest_test(test_next_out_of_range),
		guest_test(test_head_out_of_range),
		guest_test(test_index_jumps_ahead),
		guest_test(test_index_steps_back),
		guest_test(test_indirect_tables),
		guest_test(test_indirect_not_negotiated),
		guest_test(test_page_changes),
		guest_test(test_data_truncated),
		guest_test(test_rings_truncated),
		guest_test(test_gone_in_mid_request),
		guest_test(test_second_connection),
		guest_test(test_bad_messages),
	};

	return cmocka_run_group_tests_name("bad_input", tests, setup, teardown);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests that are wrong, sent to a real daemon: each is answered with the status
 * that the protocol names, has no effect, and the guest goes on.  A bystander
 * works on undisturbed all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "victim.h"

#define FAR	0x7000000000000000ull	/* no guest has memory there */

static struct hosting host;

/* ---- requests that are wrong ------------------------------------------ */

static void test_wrong_version(void **state)
{
	static const uint16_t versions[][2] = { { 2, 9 }, { 0, 0 }, { 0xffff, 0xffff } };
	struct victim v;

	(void)state;
	victim_open(&v, &host, "version", true);
	for (unsigned i = 0; i < 3; i++) {
		struct front_request *r = front_request_get(v.q);

		r->request->op = htole16(TMEMP_OP_HELLO);
		r->request->hello.version_min = htole16(versions[i][0]);
		r->request->hello.version_max = htole16(versions[i][1]);
		r->request->hello.nonce = htole64(v.f->nonce);
		r->request->hello.ops = htole64(TMEMP_OPS_V1);
		assert_int_equal(victim_submit(&v, r), TMEMP_BAD_VERSION);
	}
	victim_check_unharmed(&v);
}

static void test_pool_out_of_range(void **state)
{
	static const uint16_t ops[] = { TMEMP_OP_PUT, TMEMP_OP_GET, TMEMP_OP_FLUSH_PAGE,
					TMEMP_OP_FLUSH_OBJECT };
	static const uint32_t pools[] = { 1, 16, 17, 0x80000000, 0xffffffff };
	struct victim v;

	(void)state;
	victim_open(&v, &host, "pool", true);
	for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		for (unsigned k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
			struct front_request *r = victim_request(&v, ops[k]);

			r->request->key.index = 0;
			r->request->pool = htole32(pools[i]);
			assert_int_equal(victim_submit(&v, r), TMEMP_NO_POOL);
		}
		if (pools[i] >= TMEMP_MAX_POOLS) {
			assert_int_equal(front_pool_create(v.f, pools[i], 0), TMEMP_NO_POOL);
			assert_int_equal(front_pool_destroy(v.f, pools[i], NULL), TMEMP_NO_POOL);
		}
	}
	victim_check_unharmed(&v);
}

/* Flip each reserved bit of each operation, one at a time. */
static void check_reserved(struct victim *v, uint16_t op, size_t from, size_t to)
{
	for (size_t bit = from * 8; bit < to * 8; bit++) {
		struct front_request *r = victim_request(v, op);

		if (op == TMEMP_OP_FLUSH_OBJECT)
			r->request->key.index = 0;
		if (op == TMEMP_OP_POOL_CREATE || op == TMEMP_OP_EVENT || op == TMEMP_OP_POOL_DESTROY)
			memset(r->request->raw, 0, sizeof(r->request->raw));
		if (op == TMEMP_OP_POOL_CREATE || op == TMEMP_OP_POOL_DESTROY)
			r->request->pool = htole32(3);
		((uint8_t *)r->request)[bit / 8] |= (uint8_t)(1u << bit % 8);
		assert_int_equal(victim_submit(v, r), TMEMP_BAD_REQUEST);
	}
}

static void test_reserved_bits(void **state)
{
	const size_t body = offsetof(struct tmemp_request, raw);
	const size_t all = sizeof(struct tmemp_request);
	struct victim v;

	(void)state;
	victim_open(&v, &host, "reserved", true);
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
	victim_check_unharmed(&v);
}

static void test_unknown_operation(void **state)
{
	static const uint16_t ops[] = { 0, TMEMP_OP_END, 100, 0xffff };
	struct victim v;

	(void)state;
	victim_open(&v, &host, "operation", true);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		assert_int_equal(victim_submit(&v, victim_request(&v, ops[i])), TMEMP_BAD_REQUEST);
	assert_int_equal(front_pool_create(v.f, 2, TMEMP_POOL_PERSISTENT | TMEMP_POOL_SHARED),
			 TMEMP_BAD_REQUEST);
	victim_check_unharmed(&v);
}

static void test_stale_epoch(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;
	uint64_t epoch;

	(void)state;
	victim_open(&v, &host, "epoch", true);
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
	victim_check_unharmed(&v);
}

static void test_no_hello(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE] = { 0 };
	struct victim v;

	(void)state;
	victim_open(&v, &host, "hello", true);
	/* A new connection begins silent, whatever the last one had agreed on. */
	front_disconnect(v.f);
	while (front_connect(v.f))
		usleep(1000);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_NEED_HELLO);
	assert_int_equal(front_pool_create(v.f, 0, 0), TMEMP_NEED_HELLO);
	assert_int_equal(front_hello(v.f), 0);
	victim_check_unharmed(&v);
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
	victim_open(&v, &host, "shape", false);
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];
		struct front_request *r = victim_request(&v, s->op);
		uint16_t head = (uint16_t)(r->slot * 3);
		uint32_t expected = s->answered ? TMEMP_BAD_REQUEST : TMEMP_STATUS_NONE;
		uint32_t status;

		shape_chain(&v, r, s, head);
		status = victim_submit_head(&v, r, head);
		if (status != expected)
			fail_msg("%s: answered %u, not %u", s->what, status, expected);
	}
	victim_check_unharmed(&v);
}

/* ---- addresses -------------------------------------------------------- */

static void test_bad_addresses(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "address", false);
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
			struct front_request *r = victim_request(&v, TMEMP_OP_PUT);
			uint16_t head = front_queue_chain(v.q, r);
			uint32_t status;

			v.q->desc[head + part].addr = htole64(bad[i]);
			status = victim_submit_head(&v, r, head);
			assert_int_equal(status, part == 2 ? TMEMP_STATUS_NONE : TMEMP_BAD_ADDRESS);
		}
	}
	victim_check_unharmed(&v);
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
	victim_open(&v, &host, "nowhere", false);
	assert_int_equal(front_pool_create(v.f, 1, 0), 0);
	page_fill(page, 3);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_OK);
	r = victim_request(&v, TMEMP_OP_GET);
	r->request->pool = htole32(1);
	head = front_queue_chain(v.q, r);
	v.q->desc[head + 2].addr = htole64(FAR);
	assert_int_equal(victim_submit_head(&v, r, head), TMEMP_BAD_ADDRESS);
	assert_int_equal(front_get(v.q, &key, page, NULL), TMEMP_OK);
	assert_true(page_is(page, 3));
	victim_check_unharmed(&v);
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
		"address", "nowhere", NULL,
	};

	(void)state;
	if (hosting_start(&host, guests, NULL))
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
	};

	return cmocka_run_group_tests_name("bad_request", tests, setup, teardown);
}

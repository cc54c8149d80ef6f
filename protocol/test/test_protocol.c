/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_protocol.c - the wire as bytes, and the decoder's verdict on each way
 * to be wrong.
 *
 * The golden requests are written byte by byte from docs/protocol.md's
 * worked examples, not from the structs, so that a change of layout or of
 * byte order shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tmemp_decode.h"

#define EPOCH	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01
#define Z4	0, 0, 0, 0
#define Z8	Z4, Z4
#define Z16	Z8, Z8

static const uint8_t golden_hello[64] = {
	1, 0, 0, 0, Z4, Z8,
	1, 0, 3, 0, Z4,				/* versions 1 to 3 */
	0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,	/* nonce */
	0xfe, 0x01, 0, 0, Z4,			/* operations 1 to 8 */
	3, 2, 1, 0,				/* driver 1.2.3 */
	0, 1, 6, 0,				/* kernel 6.1.0 */
	Z16,
};

static const uint8_t golden_put[64] = {
	4, 0, 0, 0, 15, 0, 0, 0, EPOCH,
	0x11, 0, 0, 0, Z4, 0x22, 0, 0, 0, Z4, 0x33, 0, 0, 0, 0, 0, 0, 0x80,
	0x78, 0x56, 0x34, 0x12, Z4,		/* index */
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,	/* tag */
	Z8,
};

static const uint8_t golden_create[64] = {
	2, 0, 0, 0, 7, 0, 0, 0, EPOCH,
	2, 0, 0, 0, Z4,				/* shared */
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	Z16, Z8,
};

static const uint8_t golden_event[64] = {
	8, 0, 0, 0, Z4, EPOCH,
	2, 0, 0, 0, Z4,				/* no room */
	0, 1, 0, 0, Z4,				/* 256 pages left */
	Z16, Z16,
};

static enum tmemp_status decode(const uint8_t bytes[64], struct tmemp_op *op)
{
	struct tmemp_request w;

	memcpy(&w, bytes, sizeof(w));
	return tmemp_request_decode(&w, op);
}

static void test_golden_hello(void **state)
{
	struct tmemp_op op;

	(void)state;
	assert_int_equal(decode(golden_hello, &op), TMEMP_OK);
	assert_int_equal(op.op, TMEMP_OP_HELLO);
	assert_int_equal(op.hello.version, 1);
	assert_true(op.hello.nonce == 0x0123456789abcdefull);
	assert_true(op.hello.ops == TMEMP_OPS_V1);
	assert_int_equal(op.hello.driver_version, 0x010203);
	assert_int_equal(op.hello.kernel_version, 0x060100);
}

static void test_golden_put(void **state)
{
	struct tmemp_op op;

	(void)state;
	assert_int_equal(decode(golden_put, &op), TMEMP_OK);
	assert_int_equal(op.op, TMEMP_OP_PUT);
	assert_int_equal(op.pool, 15);
	assert_true(op.epoch == 0x0102030405060708ull);
	assert_true(op.key.oid[0] == 0x11 && op.key.oid[1] == 0x22);
	assert_true(op.key.oid[2] == 0x8000000000000033ull);
	assert_int_equal(op.key.index, 0x12345678);
	assert_true(op.key.tag == 0x1122334455667788ull);
}

static void test_golden_create_and_event(void **state)
{
	struct tmemp_op op;

	(void)state;
	assert_int_equal(decode(golden_create, &op), TMEMP_OK);
	assert_int_equal(op.pool, 7);
	assert_int_equal(op.create.flags, TMEMP_POOL_SHARED);
	assert_int_equal(op.create.uuid[15], 15);
	assert_int_equal(decode(golden_event, &op), TMEMP_OK);
	assert_int_equal(op.event.drain_result, TMEMP_DRAIN_NO_ROOM);
	assert_true(op.event.drain_left == 256);
}

/* What the host writes, byte for byte. */
static void test_golden_responses(void **state)
{
	static const uint8_t hello[32] = {
		0, 0, 0, 0, Z4,
		1, 0, 16, 0, 0, 16, 0, 0,		/* version, pools, page size */
		EPOCH,
		0xfe, 0x01, 0, 0, Z4,
	};
	static const uint8_t refused[32] = { 16, 0, 0, 0, Z4, Z8, Z16 };
	struct tmemp_response r = {
		.hello = {
			.version = 1, .max_pools = TMEMP_MAX_POOLS,
			.page_size = TMEMP_PAGE_SIZE, .epoch = 0x0102030405060708ull,
			.ops = TMEMP_OPS_V1,
		},
	};

	(void)state;
	assert_memory_equal(&r, hello, sizeof(hello));
	r = (struct tmemp_response){ .status = TMEMP_REFUSED_QUOTA };
	assert_memory_equal(&r, refused, sizeof(refused));
}

/* Change one byte of a good request; the verdict must be the given one. */
struct mutation {
	const char *what;
	const uint8_t *base;
	unsigned offset;
	uint8_t value;
	enum tmemp_status expect;
};

static const struct mutation mutations[] = {
	{ "opcode 0", golden_put, 0, 0, TMEMP_BAD_REQUEST },
	{ "opcode past the end", golden_put, 0, TMEMP_OP_END, TMEMP_BAD_REQUEST },
	{ "opcode high byte", golden_put, 1, 1, TMEMP_BAD_REQUEST },
	{ "flags", golden_put, 2, 1, TMEMP_BAD_REQUEST },
	{ "pool 16", golden_put, 4, 16, TMEMP_NO_POOL },
	{ "pool huge", golden_put, 7, 0x80, TMEMP_NO_POOL },
	{ "key reserved", golden_put, 44, 1, TMEMP_BAD_REQUEST },
	{ "key reserved2", golden_put, 63, 1, TMEMP_BAD_REQUEST },
	{ "put as get carries a tag", golden_put, 0, TMEMP_OP_GET, TMEMP_BAD_REQUEST },
	{ "put as flush carries a tag", golden_put, 0, TMEMP_OP_FLUSH_PAGE, TMEMP_BAD_REQUEST },
	{ "put as destroy carries a body", golden_put, 0, TMEMP_OP_POOL_DESTROY, TMEMP_BAD_REQUEST },
	{ "hello with a pool", golden_hello, 4, 1, TMEMP_BAD_REQUEST },
	{ "hello with an epoch", golden_hello, 8, 1, TMEMP_BAD_REQUEST },
	{ "hello from version 2", golden_hello, 16, 2, TMEMP_BAD_VERSION },
	{ "hello versions reversed", golden_hello, 16, 4, TMEMP_BAD_REQUEST },
	{ "hello reserved", golden_hello, 20, 1, TMEMP_BAD_REQUEST },
	{ "hello reserved2", golden_hello, 48, 1, TMEMP_BAD_REQUEST },
	{ "create unknown flag", golden_create, 16, 6, TMEMP_BAD_REQUEST },
	{ "create shared persistent", golden_create, 16, 3, TMEMP_BAD_REQUEST },
	{ "create private with uuid", golden_create, 16, 0, TMEMP_BAD_REQUEST },
	{ "create reserved", golden_create, 20, 1, TMEMP_BAD_REQUEST },
	{ "create reserved2", golden_create, 40, 1, TMEMP_BAD_REQUEST },
	{ "event with a pool", golden_event, 4, 1, TMEMP_BAD_REQUEST },
	{ "event unknown result", golden_event, 16, 3, TMEMP_BAD_REQUEST },
	{ "event done with pages left", golden_event, 16, 1, TMEMP_BAD_REQUEST },
	{ "event reserved", golden_event, 20, 1, TMEMP_BAD_REQUEST },
	{ "event reserved2", golden_event, 63, 1, TMEMP_BAD_REQUEST },
};

static void test_mutations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
		const struct mutation *m = &mutations[i];
		uint8_t b[64];
		struct tmemp_op op;

		memcpy(b, m->base, sizeof(b));
		assert_int_equal(decode(b, &op), TMEMP_OK);
		b[m->offset] = m->value;
		enum tmemp_status s = decode(b, &op);

		if (s != m->expect)
			fail_msg("%s: %s, expected %s", m->what, tmemp_status_name(s),
				 tmemp_status_name(m->expect));
	}
}

static void test_zero_cases(void **state)
{
	struct tmemp_op op;
	uint8_t b[64];

	(void)state;
	memcpy(b, golden_hello, sizeof(b));
	memset(b + 24, 0, 8);				/* nonce 0 */
	assert_int_equal(decode(b, &op), TMEMP_BAD_REQUEST);
	memcpy(b, golden_hello, sizeof(b));
	memset(b + 16, 0, 4);				/* versions 0 to 0 */
	assert_int_equal(decode(b, &op), TMEMP_BAD_VERSION);
	memcpy(b, golden_create, sizeof(b));
	memset(b + 24, 0, 16);				/* shared without uuid */
	assert_int_equal(decode(b, &op), TMEMP_BAD_REQUEST);
	memcpy(b, golden_put, sizeof(b));
	b[0] = TMEMP_OP_FLUSH_OBJECT;
	memset(b + 48, 0, 8);				/* no tag, but an index */
	assert_int_equal(decode(b, &op), TMEMP_BAD_REQUEST);
	memset(b + 40, 0, 4);
	assert_int_equal(decode(b, &op), TMEMP_OK);
}

/* Random bytes: never a verdict outside the promised ones. */
static void test_random_bytes(void **state)
{
	uint64_t seed = 88172645463325252ull;
	unsigned good = 0;

	(void)state;
	for (unsigned n = 0; n < 200000; n++) {
		uint8_t b[64] = { 0 };
		struct tmemp_op op;

		for (unsigned i = 0; i < 4; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			b[i ? seed % 64 : 0] = (uint8_t)((seed >> 32) % (i ? 256 : 10));
		}
		enum tmemp_status s = decode(b, &op);

		assert_true(s == TMEMP_OK || s == TMEMP_BAD_REQUEST || s == TMEMP_BAD_VERSION ||
			    s == TMEMP_NO_POOL);
		good += s == TMEMP_OK;
	}
	assert_true(good > 0);
}

static void test_names(void **state)
{
	(void)state;
	for (uint16_t op = TMEMP_OP_HELLO; op < TMEMP_OP_END; op++)
		assert_string_not_equal(tmemp_opcode_name(op), "unknown");
	assert_string_equal(tmemp_opcode_name(0), "unknown");
	assert_string_equal(tmemp_opcode_name(TMEMP_OP_END), "unknown");
	assert_string_equal(tmemp_status_name(TMEMP_REFUSED_QUOTA), "REFUSED_QUOTA");
	assert_string_equal(tmemp_status_name(12345), "UNKNOWN");
	assert_int_equal(tmemp_page_of(TMEMP_OP_PUT), TMEMP_PAGE_READ);
	assert_int_equal(tmemp_page_of(TMEMP_OP_GET), TMEMP_PAGE_WRITTEN);
	assert_int_equal(tmemp_page_of(TMEMP_OP_EVENT), TMEMP_PAGE_NONE);
	assert_int_equal(tmemp_page_of(999), TMEMP_PAGE_NONE);
}

/* Neighbouring swap offsets fall on 16 objects; every offset has its own key. */
static void test_swap_key(void **state)
{
	(void)state;
	assert_true(tmemp_swap_object(0x12345) == 5);
	assert_int_equal(tmemp_swap_index(0x12345), 0x1234);
	assert_int_equal(tmemp_swap_index(TMEMP_SWAP_OFFSET_MAX), UINT32_MAX);
	for (__u64 o = 0; o < 16; o++) {
		assert_true(tmemp_swap_object(o) == o);
		assert_int_equal(tmemp_swap_index(o), 0);
	}
}

static void test_queue_of(void **state)
{
	unsigned used[4] = { 0 };

	(void)state;
	for (__u64 o = 0; o < 16; o++) {
		const __u64 oid[TMEMP_OID_WORDS] = { o };
		__u32 q = tmemp_queue_of(1, oid, 4);

		assert_true(q < 4);
		assert_int_equal(q, tmemp_queue_of(1, oid, 4));
		assert_int_equal(tmemp_queue_of(1, oid, 1), 0);
		used[q]++;
	}
	for (unsigned q = 0; q < 4; q++)
		assert_true(used[q] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_hello),
		cmocka_unit_test(test_golden_put),
		cmocka_unit_test(test_golden_create_and_event),
		cmocka_unit_test(test_golden_responses),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_zero_cases),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_swap_key),
		cmocka_unit_test(test_queue_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

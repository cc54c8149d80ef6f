/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_inflight.c - the in-flight region: what a host that dies leaves, and what
 * the next one makes of it, lies of the VMM included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inflight.h"
#include "sigbus.h"

#define STAMP	0x1122334455667788ull

static struct inflight_region first, next;
static struct inflight_place place;
static int file = -1;

static int setup(void **state)
{
	(void)state;
	place = (struct inflight_place){ .queues = 2, .queue_size = 128 };
	next.fd = -1;
	return inflight_create(&first, &place, STAMP, &file);
}

static int teardown(void **state)
{
	(void)state;
	inflight_drop(&next);
	inflight_drop(&first);
	close(file);
	file = -1;
	return 0;
}

/* Another process takes the region over; its queue 1 stands at used. */
static struct inflight *succeed(uint16_t used)
{
	uint64_t stamp = 0;

	inflight_drop(&next);
	assert_int_equal(inflight_attach(&next, &place, first.fd, &stamp), 0);
	assert_int_equal(stamp, STAMP);
	inflight_resume(&next.queue[1], 128, used);
	return &next.queue[1];
}

static void test_nothing_in_flight(void **state)
{
	uint16_t head;

	(void)state;
	inflight_resume(&first.queue[1], 128, 0);
	inflight_begin(&first.queue[1], 7);
	inflight_end(&first.queue[1], 7, 1);
	assert_false(inflight_again(succeed(1), &head));
}

static void test_begun_is_served_again_in_order(void **state)
{
	struct inflight *q;
	uint16_t head;

	(void)state;
	inflight_begin(&first.queue[1], 90);
	inflight_begin(&first.queue[1], 3);
	inflight_begin(&first.queue[1], 127);
	inflight_begin(&first.queue[0], 5);
	q = succeed(0);
	assert_true(inflight_again(q, &head));
	assert_int_equal(head, 90);
	assert_true(inflight_again(q, &head));
	assert_int_equal(head, 3);
	assert_true(inflight_again(q, &head));
	assert_int_equal(head, 127);
	assert_false(inflight_again(q, &head));
}

/* The used element is out, its request still noted. */
static void test_completed_is_not_served_again(void **state)
{
	uint16_t head;

	(void)state;
	inflight_begin(&first.queue[1], 9);
	assert_false(inflight_again(succeed(1), &head));
	/* Nor by the one after that. */
	assert_false(inflight_again(succeed(1), &head));
}

static void test_what_the_vmm_wrote_is_bounded(void **state)
{
	uint16_t head;
	unsigned n = 0;

	(void)state;
	memset(first.map, 1, first.len - 16);
	succeed(0);
	while (inflight_again(&next.queue[1], &head)) {
		assert_true(head < 128);
		n++;
	}
	assert_true(n <= 128);
	inflight_begin(&next.queue[1], 128);
	inflight_end(&next.queue[1], 65535, 1);
}

static void test_places_that_cannot_be(void **state)
{
	struct inflight_region r = { .fd = -1 };
	struct inflight_place bad = place;
	uint64_t stamp;

	(void)state;
	bad.queues = 0;
	assert_int_equal(inflight_create(&r, &bad, 1, &file), -EINVAL);
	bad = place, bad.queues = 17;
	assert_int_equal(inflight_create(&r, &bad, 1, &file), -EINVAL);
	bad = place, bad.queue_size = 2048;
	assert_int_equal(inflight_create(&r, &bad, 1, &file), -EINVAL);
	bad = place, bad.size -= 64;
	assert_int_equal(inflight_attach(&r, &bad, first.fd, &stamp), -EINVAL);
	bad = place, bad.size = UINT64_MAX;
	assert_int_equal(inflight_attach(&r, &bad, first.fd, &stamp), -EINVAL);
	bad = place, bad.offset = 1u << 20;
	assert_int_equal(inflight_attach(&r, &bad, first.fd, &stamp), -EINVAL);
	assert_int_equal(inflight_attach(&r, &place, STDERR_FILENO, &stamp), -EINVAL);
	inflight_drop(&r);
}

static void test_a_region_of_others_has_no_stamp(void **state)
{
	uint64_t stamp = 1;

	(void)state;
	memset((char *)first.map + first.len - 16, 0, 16);
	assert_int_equal(inflight_attach(&next, &place, first.fd, &stamp), 0);
	assert_int_equal(stamp, 0);
}

static void test_cut_short_under_us(void **state)
{
	uint16_t head;

	(void)state;
	succeed(0);
	/* Here, as the test framework takes the signal over before each test. */
	assert_int_equal(sigbus_init(), 0);
	assert_int_equal(ftruncate(first.fd, 0), 0);
	inflight_begin(&next.queue[1], 1);
	inflight_end(&next.queue[1], 1, 1);
	assert_false(inflight_again(&next.queue[1], &head));
}

/* However often it is asked for, and whatever the VMM made of the last one. */
static void test_one_file_for_a_vmm(void **state)
{
	struct stat a, b;
	uint16_t head;

	(void)state;
	inflight_begin(&first.queue[1], 7);
	assert_int_equal(fstat(first.fd, &a), 0);
	assert_int_equal(ftruncate(first.fd, 100), 0);
	for (unsigned i = 0; i < 3; i++) {
		inflight_drop(&next);
		assert_int_equal(inflight_create(&next, &place, STAMP, &file), 0);
		assert_int_equal(fstat(next.fd, &b), 0);
		assert_true(a.st_ino == b.st_ino && b.st_blocks <= a.st_blocks);
	}
	inflight_resume(&next.queue[1], 128, 0);
	assert_false(inflight_again(&next.queue[1], &head));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_in_flight),
		TEST(test_begun_is_served_again_in_order),
		TEST(test_completed_is_not_served_again),
		TEST(test_what_the_vmm_wrote_is_bounded),
		TEST(test_places_that_cannot_be),
		TEST(test_a_region_of_others_has_no_stamp),
		TEST(test_one_file_for_a_vmm),
		TEST(test_cut_short_under_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_ring.c - each attack that ring.h lists, and each promise it makes.
 */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define BIT(n) (1ull << (n))
#define EVENT_IDX BIT(TMEMP_F_EVENT_IDX)
#define INDIRECT BIT(TMEMP_F_INDIRECT)

struct fixture {
	struct rig rig;
	struct memmap map;
	struct rig_ring guest;
	struct ring ring;
	struct ring_chain chain;
	const char *why;
};

static struct fixture f;

static void begin(uint64_t features)
{
	struct ring_layout at;

	f.guest = rig_ring(&f.rig, 0);
	at = rig_layout(&f.guest, &f.map);
	ring_start(&f.ring, &memmap_ring_ops, &f.map, &at, features);
}

static int setup(void **state)
{
	(void)state;
	rig_open(&f.rig);
	return rig_map(&f.map, &f.rig);
}

static int teardown(void **state)
{
	(void)state;
	memmap_clear(&f.map);
	rig_close(&f.rig);
	return 0;
}

static int fetch(void)
{
	f.why = NULL;
	return ring_fetch(&f.ring, &f.chain, &f.why);
}

static void assert_broken(const char *text)
{
	assert_int_equal(fetch(), -EPROTO);
	assert_non_null(f.why);
	if (!strstr(f.why, text))
		fail_msg("\"%s\" does not say \"%s\"", f.why, text);
}

static void test_a_chain_comes_and_goes(void **state)
{
	uint32_t len;

	(void)state;
	begin(0);
	assert_int_equal(fetch(), 0);
	rig_desc(&f.guest, 5, rig_addr(10), 20, TMEMP_DESC_NEXT, 2);
	rig_desc(&f.guest, 2, rig_addr(30), 40, TMEMP_DESC_WRITE, 9);
	rig_avail(&f.guest, 5);
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.head, 5);
	assert_int_equal(f.chain.parts, 2);
	assert_int_equal(f.chain.part[0].addr, rig_addr(10));
	assert_int_equal(f.chain.part[0].len, 20);
	assert_false(f.chain.part[0].write);
	assert_int_equal(f.chain.part[1].len, 40);
	assert_true(f.chain.part[1].write);
	assert_int_equal(rig_used(&f.guest, &len), -1);
	ring_complete(&f.ring, f.chain.head, 33);
	assert_int_equal(rig_used(&f.guest, &len), 5);
	assert_int_equal(len, 33);
	assert_int_equal(fetch(), 0);
}

static void test_indices_wrap(void **state)
{
	uint32_t len;

	(void)state;
	begin(0);
	for (unsigned i = 0; i < 70000; i++) {
		uint16_t head = (uint16_t)(i % RIG_NUM);

		rig_desc(&f.guest, head, rig_addr(0), 1, 0, 0);
		rig_avail(&f.guest, head);
		assert_int_equal(fetch(), 1);
		assert_int_equal(f.chain.head, head);
		ring_complete(&f.ring, head, i);
		assert_int_equal(rig_used(&f.guest, &len), head);
		assert_int_equal(len, i);
	}
}

static void test_completion_in_any_order(void **state)
{
	uint32_t len;

	(void)state;
	begin(0);
	for (uint16_t i = 0; i < 3; i++) {
		rig_desc(&f.guest, i, rig_addr(0), 1, 0, 0);
		rig_avail(&f.guest, i);
		assert_int_equal(fetch(), 1);
	}
	ring_complete(&f.ring, 2, 0);
	ring_complete(&f.ring, 0, 0);
	ring_complete(&f.ring, 1, 0);
	assert_int_equal(rig_used(&f.guest, &len), 2);
	assert_int_equal(rig_used(&f.guest, &len), 0);
	assert_int_equal(rig_used(&f.guest, &len), 1);
}

static void test_unfetch_reads_anew(void **state)
{
	(void)state;
	begin(0);
	rig_desc(&f.guest, 0, rig_addr(0), 1, 0, 0);
	rig_avail(&f.guest, 0);
	assert_int_equal(fetch(), 1);
	ring_unfetch(&f.ring);
	rig_desc(&f.guest, 0, rig_addr(0), 2, 0, 0);
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.part[0].len, 2);
	assert_int_equal(fetch(), 0);
}

static void test_start_goes_on_at_the_used_index(void **state)
{
	struct ring_layout at;
	uint32_t len;

	(void)state;
	begin(0);
	f.guest.used->idx = htole16(65535);
	f.guest.avail->idx = htole16(65535);
	f.guest.seen = 65535;
	at = rig_layout(&f.guest, &f.map);
	ring_start(&f.ring, &memmap_ring_ops, &f.map, &at, 0);
	rig_desc(&f.guest, 1, rig_addr(0), 1, 0, 0);
	rig_avail(&f.guest, 1);
	assert_int_equal(fetch(), 1);
	ring_complete(&f.ring, f.chain.head, 0);
	assert_int_equal(le16toh(f.guest.used->idx), 0);
	assert_int_equal(rig_used(&f.guest, &len), 1);
}

static void test_index_that_jumps(void **state)
{
	(void)state;
	begin(0);
	f.guest.avail->idx = htole16(RIG_NUM + 1);
	assert_broken("ring ahead");
	begin(0);
	f.guest.avail->idx = htole16(65535);
	assert_broken("ring ahead");
	begin(0);
	f.guest.avail->idx = htole16(RIG_NUM);
	assert_int_equal(fetch(), 1);
}

static void test_indices_out_of_range(void **state)
{
	(void)state;
	begin(0);
	rig_avail(&f.guest, RIG_NUM);
	assert_broken("out of range");
	begin(0);
	rig_desc(&f.guest, 0, rig_addr(0), 1, TMEMP_DESC_NEXT, RIG_NUM);
	rig_avail(&f.guest, 0);
	assert_broken("out of range");
	begin(0);
	rig_avail(&f.guest, 65535);
	assert_broken("out of range");
}

static void test_loops(void **state)
{
	(void)state;
	begin(0);
	rig_desc(&f.guest, 3, rig_addr(0), 1, TMEMP_DESC_NEXT, 3);
	rig_avail(&f.guest, 3);
	assert_broken("longer than the ring");
	begin(0);
	rig_desc(&f.guest, 0, rig_addr(0), 1, TMEMP_DESC_NEXT, 1);
	rig_desc(&f.guest, 1, rig_addr(0), 1, TMEMP_DESC_NEXT, 0);
	rig_avail(&f.guest, 0);
	assert_broken("longer than the ring");
}

static void test_chain_as_long_as_the_ring(void **state)
{
	(void)state;
	begin(0);
	for (uint16_t i = 0; i < RIG_NUM; i++)
		rig_desc(&f.guest, i, rig_addr(i), 1, i + 1u < RIG_NUM ? TMEMP_DESC_NEXT : 0,
			 (uint16_t)(i + 1));
	rig_avail(&f.guest, 0);
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.parts, RIG_NUM);
	assert_int_equal(f.chain.part[RIG_NUM - 1].addr, rig_addr(RIG_NUM - 1));
}

/* Entry i of an indirect table in guest memory at off. */
static void table_set(uint32_t off, unsigned i, uint32_t len, uint16_t flags, uint16_t next)
{
	struct tmemp_desc d = {
		.addr = htole64(rig_addr(len)),
		.len = htole32(len),
		.flags = htole16(flags),
		.next = htole16(next),
	};

	memcpy(f.rig.mem + off + i * sizeof(d), &d, sizeof(d));
}

/* A ring whose only request is an indirect descriptor for a table. */
static void begin_indirect(uint64_t addr, uint32_t len, uint16_t more_flags)
{
	begin(INDIRECT);
	rig_desc(&f.guest, 0, addr, len, TMEMP_DESC_INDIRECT | more_flags, 1);
	rig_avail(&f.guest, 0);
}

static void test_indirect_chain(void **state)
{
	/* Odd on purpose: a table needs no alignment. */
	const uint32_t off = RIG_DATA + 3;

	(void)state;
	begin_indirect(rig_addr(off), 3 * 16, 0);
	table_set(off, 0, 10, TMEMP_DESC_NEXT, 2);
	table_set(off, 2, 20, TMEMP_DESC_NEXT | TMEMP_DESC_WRITE, 1);
	table_set(off, 1, 30, TMEMP_DESC_WRITE, 0);
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.head, 0);
	assert_int_equal(f.chain.parts, 3);
	assert_int_equal(f.chain.part[0].len, 10);
	assert_int_equal(f.chain.part[1].len, 20);
	assert_int_equal(f.chain.part[2].len, 30);
}

/* Drivers do that with rings that are short. */
static void test_table_longer_than_the_ring(void **state)
{
	const uint32_t off = RIG_DATA;

	(void)state;
	begin_indirect(rig_addr(off), 100 * 16, 0);
	for (uint16_t i = 0; i < 100; i++)
		table_set(off, i, i, i < 99 ? TMEMP_DESC_NEXT : 0, (uint16_t)(i + 1));
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.parts, 100);
	assert_int_equal(f.chain.part[99].len, 99);
}

static void test_indirect_broken(void **state)
{
	const uint32_t off = RIG_DATA;

	(void)state;
	begin_indirect(rig_addr(off), 0, 0);
	assert_broken("ragged");
	begin_indirect(rig_addr(off), 17, 0);
	assert_broken("ragged");
	begin_indirect(rig_addr(RIG_BYTES - 16), 32, 0);
	assert_broken("outside");
	begin_indirect(UINT64_MAX - 15, 32, 0);
	assert_broken("outside");
	begin_indirect(rig_addr(off), 0xfffffff0u, 0);
	assert_broken("outside");
	begin_indirect(rig_addr(off), 32, TMEMP_DESC_NEXT);
	assert_broken("next one");
	begin_indirect(rig_addr(off), 32, 0);
	table_set(off, 0, 1, TMEMP_DESC_INDIRECT, 0);
	assert_broken("in an indirect");
	begin_indirect(rig_addr(off), 32, 0);
	table_set(off, 0, 1, TMEMP_DESC_NEXT, 2);
	assert_broken("out of range");
	begin_indirect(rig_addr(off), 32, 0);
	table_set(off, 0, 1, TMEMP_DESC_NEXT, 0);
	assert_broken("longer");
	begin(0);
	rig_desc(&f.guest, 0, rig_addr(off), 32, TMEMP_DESC_INDIRECT, 0);
	rig_avail(&f.guest, 0);
	assert_broken("not negotiated");
}

static void serve_one(void)
{
	rig_desc(&f.guest, 0, rig_addr(0), 1, 0, 0);
	rig_avail(&f.guest, 0);
	assert_int_equal(fetch(), 1);
	ring_complete(&f.ring, 0, 0);
}

static void test_interrupts_without_event_idx(void **state)
{
	(void)state;
	begin(0);
	/* Nobody knows whether the last host's got through. */
	assert_true(ring_interrupt_due(&f.ring));
	assert_false(ring_interrupt_due(&f.ring));
	serve_one();
	assert_true(ring_interrupt_due(&f.ring));
	assert_false(ring_interrupt_due(&f.ring));
	f.guest.avail->flags = htole16(TMEMP_AVAIL_NO_INTERRUPT);
	serve_one();
	assert_false(ring_interrupt_due(&f.ring));
}

static void test_interrupts_with_event_idx(void **state)
{
	(void)state;
	begin(EVENT_IDX);
	/* NO_INTERRUPT means nothing here. */
	f.guest.avail->flags = htole16(TMEMP_AVAIL_NO_INTERRUPT);
	*tmemp_used_event(f.guest.avail, RIG_NUM) = htole16(2);
	serve_one();
	assert_false(ring_interrupt_due(&f.ring));
	serve_one();
	assert_false(ring_interrupt_due(&f.ring));
	serve_one();
	assert_true(ring_interrupt_due(&f.ring));
	serve_one();
	assert_false(ring_interrupt_due(&f.ring));
	/* A batch that passes the event tells once. */
	*tmemp_used_event(f.guest.avail, RIG_NUM) = htole16(5);
	serve_one();
	serve_one();
	serve_one();
	assert_true(ring_interrupt_due(&f.ring));
	assert_false(ring_interrupt_due(&f.ring));
}

/* A host dies after its used element, and the next one starts. */
static void test_a_lost_interrupt_is_sent_again(void **state)
{
	struct ring_layout at;

	(void)state;
	begin(EVENT_IDX);
	at = rig_layout(&f.guest, &f.map);
	assert_false(ring_interrupt_due(&f.ring));
	serve_one();
	serve_one();
	/* The guest has seen neither, then one, then both. */
	ring_start(&f.ring, &memmap_ring_ops, &f.map, &at, EVENT_IDX);
	assert_true(ring_interrupt_due(&f.ring));
	*tmemp_used_event(f.guest.avail, RIG_NUM) = htole16(1);
	ring_start(&f.ring, &memmap_ring_ops, &f.map, &at, EVENT_IDX);
	assert_true(ring_interrupt_due(&f.ring));
	*tmemp_used_event(f.guest.avail, RIG_NUM) = htole16(2);
	ring_start(&f.ring, &memmap_ring_ops, &f.map, &at, EVENT_IDX);
	assert_false(ring_interrupt_due(&f.ring));
}

static void test_kicks(void **state)
{
	(void)state;
	begin(0);
	ring_kick_spare(&f.ring);
	assert_int_equal(le16toh(f.guest.used->flags), TMEMP_USED_NO_NOTIFY);
	assert_false(ring_kick_want(&f.ring));
	assert_int_equal(le16toh(f.guest.used->flags), 0);
	rig_avail(&f.guest, 0);
	assert_true(ring_kick_want(&f.ring));

	begin(EVENT_IDX);
	serve_one();
	ring_kick_spare(&f.ring);
	assert_int_equal(le16toh(*tmemp_avail_event(f.guest.used, RIG_NUM)), 0);
	assert_false(ring_kick_want(&f.ring));
	assert_int_equal(le16toh(*tmemp_avail_event(f.guest.used, RIG_NUM)), 1);
	assert_int_equal(le16toh(f.guest.used->flags), 0);
}

/* ---- another process goes on ----------------------------------------------- */

static _Atomic uint64_t word;

/* What a process that is killed here leaves: the word, and what the guest sees. */
static int killed(void)
{
	struct ring_layout at = rig_layout(&f.guest, &f.map);

	memset(&f.ring, 0xee, sizeof(f.ring));
	ring_keep(&f.ring, &word);
	return ring_resume(&f.ring, &memmap_ring_ops, &f.map, &at, 0);
}

static void offer(uint16_t head)
{
	rig_desc(&f.guest, head, rig_addr(0), 1, 0, 0);
	rig_avail(&f.guest, head);
}

static void begin_kept(void)
{
	memset(&f.ring, 0, sizeof(f.ring));
	ring_keep(&f.ring, &word);
	begin(0);
}

/* Fetched and not handed back: fetched once more, and only that one. */
static void test_resume_fetches_again(void **state)
{
	uint32_t len;

	(void)state;
	begin_kept();
	offer(1);
	offer(2);
	assert_int_equal(fetch(), 1);
	ring_complete(&f.ring, f.chain.head, 0);
	assert_int_equal(fetch(), 1);
	assert_int_equal(killed(), 0);
	assert_true(ring_word(&f.ring) & RING_BUSY);
	assert_int_equal(fetch(), 1);
	assert_int_equal(f.chain.head, 2);
	ring_complete(&f.ring, 2, 7);
	assert_false(ring_word(&f.ring) & RING_BUSY);
	assert_int_equal(rig_used(&f.guest, &len), 1);
	assert_int_equal(rig_used(&f.guest, &len), 2);
	assert_int_equal(fetch(), 0);
}

/* The word says done, the guest was not shown yet; or the guest says otherwise. */
static void test_resume_shows_what_is_done(void **state)
{
	uint32_t len;

	(void)state;
	begin_kept();
	offer(3);
	assert_int_equal(fetch(), 1);
	ring_complete(&f.ring, 3, 5);
	f.guest.used->idx = 0;
	assert_int_equal(killed(), 0);
	assert_int_equal(rig_used(&f.guest, &len), 3);
	assert_int_equal(len, 5);
	assert_int_equal(fetch(), 0);
	f.guest.used->idx = htole16(1000);
	assert_int_equal(killed(), 0);
	assert_int_equal(le16toh(f.guest.used->idx), 1);
}

/* What is parked stays so, beside what is being executed. */
static void test_resume_parked(void **state)
{
	uint32_t len;

	(void)state;
	begin_kept();
	offer(4);
	assert_int_equal(fetch(), 1);
	ring_park(&f.ring, 4);
	offer(5);
	assert_int_equal(fetch(), 1);
	ring_judge(&f.ring, true, 1);
	assert_int_equal(killed(), 0);
	assert_int_equal(ring_parked_head(ring_word(&f.ring)), 4);
	assert_int_equal(ring_strikes(ring_word(&f.ring)), 1);
	assert_int_equal(fetch(), 1);
	assert_true(ring_word(&f.ring) & RING_ALONE);
	ring_complete_parked(&f.ring, 4, 0);
	assert_int_equal(ring_strikes(ring_word(&f.ring)), 1);
	ring_complete(&f.ring, 5, 0);
	assert_int_equal(ring_word(&f.ring) >> 32, 0);
	assert_int_equal(rig_used(&f.guest, &len), 4);
	assert_int_equal(rig_used(&f.guest, &len), 5);
}

static void test_resume_nonsense(void **state)
{
	(void)state;
	begin_kept();
	word = 9;
	assert_int_equal(killed(), -EPROTO);
	word = RING_BUSY;
	assert_int_equal(killed(), -EPROTO);
}

static void test_layouts(void **state)
{
	struct ring_layout good, bad;

	(void)state;
	begin(0);
	good = rig_layout(&f.guest, &f.map);
	assert_true(ring_layout_is_valid(&good));
	for (unsigned num = 0; num < 70000; num++) {
		bool power = num == 1 || num == 2 || num == 4 || num == 8 || num == 16 ||
			     num == 32 || num == 64 || num == 128 || num == 256 || num == 512 ||
			     num == 1024;

		bad = good;
		bad.num = num;
		assert_int_equal(ring_layout_is_valid(&bad), power);
	}
	bad = good;
	bad.desc = (void *)((uintptr_t)good.desc + 8);
	assert_false(ring_layout_is_valid(&bad));
	bad = good;
	bad.avail = (void *)((uintptr_t)good.avail + 1);
	assert_false(ring_layout_is_valid(&bad));
	bad = good;
	bad.used = (void *)((uintptr_t)good.used + 2);
	assert_false(ring_layout_is_valid(&bad));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain_comes_and_goes),
		cmocka_unit_test(test_indices_wrap),
		cmocka_unit_test(test_completion_in_any_order),
		cmocka_unit_test(test_unfetch_reads_anew),
		cmocka_unit_test(test_start_goes_on_at_the_used_index),
		cmocka_unit_test(test_index_that_jumps),
		cmocka_unit_test(test_indices_out_of_range),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_chain_as_long_as_the_ring),
		cmocka_unit_test(test_indirect_chain),
		cmocka_unit_test(test_table_longer_than_the_ring),
		cmocka_unit_test(test_indirect_broken),
		cmocka_unit_test(test_a_lost_interrupt_is_sent_again),
		cmocka_unit_test(test_interrupts_without_event_idx),
		cmocka_unit_test(test_interrupts_with_event_idx),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_resume_fetches_again),
		cmocka_unit_test(test_resume_shows_what_is_done),
		cmocka_unit_test(test_resume_parked),
		cmocka_unit_test(test_resume_nonsense),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

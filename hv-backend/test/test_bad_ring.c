// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rings that are broken, and memory that changes or goes away under a real daemon.
 *
 * Where there is no request left to answer the connection is closed, with exactly
 * one line in the log that names guest and reason; then the guest can connect
 * again.  A bystander works on undisturbed all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "victim.h"

#define FAR	0x7000000000000000ull	/* no guest has memory there */

static struct hosting host;

/* ---- rings that are broken -------------------------------------------- */

static void test_descriptor_loop(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "loop", false);
	uint16_t head = front_queue_chain(v.q, victim_request(&v, TMEMP_OP_PUT));

	v.q->desc[head + 2].flags |= htole16(TMEMP_DESC_NEXT);
	v.q->desc[head + 2].next = htole16(head);
	victim_provoke(&v, head);
	victim_check_failed(&v, "descriptor chain longer than the ring");
}

static void test_next_out_of_range(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "next", false);
	uint16_t head = front_queue_chain(v.q, victim_request(&v, TMEMP_OP_PUT));

	v.q->desc[head].next = htole16((uint16_t)v.q->size);
	victim_provoke(&v, head);
	victim_check_failed(&v, "descriptor index out of range");
}

static void test_head_out_of_range(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "head", true);
	victim_provoke(&v, 0xffff);
	victim_check_failed(&v, "descriptor index out of range");
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
	victim_open(&v, &host, "ahead", true);
	jump(&v, (int)v.q->size + 1);
	victim_check_failed(&v, "available index more than one ring ahead");
}

static void test_index_steps_back(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "back", true);
	jump(&v, -1);
	/* Seen by a worker that looks at all: make it look. */
	(void)!write(v.q->kick, &(uint64_t){ 1 }, sizeof(uint64_t));
	victim_check_failed(&v, "available index more than one ring ahead");
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

	victim_open(&v, &host, c->guest, true);
	struct front_request *r = victim_request(&v, TMEMP_OP_PUT);
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
	victim_provoke(&v, head);
	victim_check_failed(&v, c->reason);
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
	victim_open(&v, &host, "ind-none", false);
	v.q->desc[0] = (struct tmemp_desc){
		.addr = htole64(v.f->data.guest_addr),
		.len = htole32(32),
		.flags = htole16(TMEMP_DESC_INDIRECT),
	};
	victim_provoke(&v, 0);
	victim_check_failed(&v, "indirect descriptor that was not negotiated");
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
	victim_open(&v, &host, "flip", true);
	struct front_request *r = victim_request(&v, TMEMP_OP_PUT);

	flipper.page = r->page;
	front_request_put(v.q, r);
	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (uint64_t i = 0; i < 3000 / HOSTING_SLOW; i++) {
		struct front_key key = key_of(0, i % 64);

		/* The slot freed last is the next one taken: its page is being flipped. */
		r = front_request_get(v.q);
		assert_ptr_equal(r->page, flipper.page);
		front_request_key(r, TMEMP_OP_PUT, &key, i, v.f->epoch);
		assert_int_equal(victim_submit(&v, r), TMEMP_OK);

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
	victim_check_unharmed(&v);
}

static void test_data_truncated(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;

	(void)state;
	victim_open(&v, &host, "cut-data", false);
	page_fill(page, 1);
	assert_int_equal(front_put(v.q, &key, page, 0), TMEMP_OK);
	uint16_t head = front_queue_chain(v.q, victim_request(&v, TMEMP_OP_PUT));

	assert_int_equal(ftruncate(v.f->data.fd, 0), 0);
	victim_provoke(&v, head);
	victim_check_failed(&v, "");
}

static void test_rings_truncated(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "cut-rings", true);
	assert_int_equal(ftruncate(v.f->rings.fd, 0), 0);
	(void)!write(v.q->kick, &(uint64_t){ 1 }, sizeof(uint64_t));
	victim_check_failed(&v, "");
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
		"bystander", "loop", "next", "head", "ahead", "back", "ind-far", "ind-wrap",
		"ind-huge", "ind-ragged", "ind-nested", "ind-next", "ind-range", "ind-none",
		"flip", "cut-data", "cut-rings", NULL,
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
	};

	return cmocka_run_group_tests_name("bad_ring", tests, setup, teardown);
}

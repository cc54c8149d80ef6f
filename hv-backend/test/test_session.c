// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_session.c - requests on the queues of one guest, over the real core and
 * without a thread: statuses, sessions, barriers, EVENT, memory that changes.
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
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"
#include "sigbus.h"

#define QUEUES	3u
#define NONCE	77u
#define LOTS	1000u

struct fixture {
	int arena;
	struct tmem *core;
	struct tmem_client *client;
	struct session_worker worker;
	struct rig rig;
	struct keep_guest kept;
	struct queue_set set;
	struct rig_ring ring[QUEUES];
	uint64_t epoch;
	unsigned faults;
};

static struct fixture f;

static void on_fault(void *arg)
{
	unsigned *n = arg;

	++*n;
}

static int setup(void **state)
{
	struct worker *const none[QUEUES] = { NULL };
	struct tmem_config config = { .arena_max = 64u << 20 };

	(void)state;
	f.arena = memfd_create("arena", MFD_CLOEXEC);
	config.arena_fd = f.arena;
	assert_int_equal(tmem_create(&f.core, &config), 0);
	assert_int_equal(tmem_client_create(f.core, "guest", &f.client), 0);
	assert_int_equal(tmem_ctx_create(f.core, &f.worker.ctx), 0);
	rig_open(&f.rig);
	f.faults = 0;
	f.worker.turn_ns = UINT64_MAX;
	memset(&f.kept, 0, sizeof(f.kept));
	queue_set_init(&f.set, QUEUES, none, f.client, &f.kept, NULL, on_fault, &f.faults);
	assert_int_equal(queue_set_memory(&f.set, rig_map, &f.rig), 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		f.ring[i] = rig_ring(&f.rig, i);
		assert_int_equal(queue_start(&f.set.queue[i], &f.ring[i].place, 0), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < QUEUES; i++)
		queue_stop(&f.set.queue[i]);
	queue_set_fini(&f.set);
	rig_close(&f.rig);
	tmem_ctx_destroy(f.worker.ctx);
	tmem_client_kill(f.client);
	tmem_client_destroy(f.client);
	tmem_destroy(f.core);
	close(f.arena);
	return 0;
}

/* ---- asking ---------------------------------------------------------------- */

static struct tmemp_request request_of(uint16_t op)
{
	return (struct tmemp_request){ .op = htole16(op), .epoch = htole64(f.epoch) };
}

static struct tmemp_request key_request(uint16_t op, uint32_t pool, uint64_t oid, uint32_t index)
{
	struct tmemp_request r = request_of(op);

	r.pool = htole32(pool);
	r.key.oid[0] = htole64(oid);
	r.key.index = htole32(index);
	return r;
}

static void submit(unsigned queue, unsigned slot, const struct tmemp_request *r)
{
	rig_avail(&f.ring[queue], rig_request(&f.ring[queue], slot, r));
}

static unsigned serve(unsigned queue)
{
	return queue_serve(&f.set.queue[queue], &f.worker, LOTS);
}

/* The status in slot once queue has completed one request, with used.len checked. */
static uint32_t taken(unsigned queue, unsigned slot)
{
	uint32_t len, status = le32toh(rig_response(&f.rig, slot)->status);

	assert_true(rig_used(&f.ring[queue], &len) >= 0);
	if (status != TMEMP_OK || len != sizeof(struct tmemp_response) + TMEMP_PAGE_SIZE)
		assert_int_equal(len, sizeof(struct tmemp_response));
	assert_int_equal(rig_response(&f.rig, slot)->reserved, 0);
	return status;
}

static uint32_t ask(unsigned queue, const struct tmemp_request *r)
{
	submit(queue, queue, r);
	assert_int_equal(serve(queue), 1);
	return taken(queue, queue);
}

static uint32_t hello(uint64_t nonce)
{
	struct tmemp_request r = {
		.op = htole16(TMEMP_OP_HELLO),
		.hello = {
			.version_min = htole16(1),
			.version_max = htole16(3),
			.nonce = htole64(nonce),
			.ops = htole64(TMEMP_OPS_V1),
			.driver_version = htole32(0x10203),
		},
	};
	uint32_t st = ask(0, &r);

	if (st == TMEMP_OK)
		f.epoch = le64toh(rig_response(&f.rig, 0)->hello.epoch);
	return st;
}

static uint32_t pool_create(uint32_t pool, uint32_t flags)
{
	struct tmemp_request r = request_of(TMEMP_OP_POOL_CREATE);

	r.pool = htole32(pool);
	r.create.flags = htole32(flags);
	return ask(0, &r);
}

static uint32_t put(uint32_t pool, uint64_t oid, uint32_t index, uint8_t fill)
{
	struct tmemp_request r = key_request(TMEMP_OP_PUT, pool, oid, index);

	r.key.tag = htole64(fill + 1000u);
	memset(rig_page(&f.rig, 0), fill, TMEMP_PAGE_SIZE);
	rig_page(&f.rig, 0)[index % TMEMP_PAGE_SIZE] ^= 0x55;
	return ask(0, &r);
}

/* The page comes back whole, with its tag, or the status says why not. */
static uint32_t get(uint32_t pool, uint64_t oid, uint32_t index, uint8_t fill)
{
	struct tmemp_request r = key_request(TMEMP_OP_GET, pool, oid, index);
	uint8_t want[TMEMP_PAGE_SIZE];
	uint32_t st;

	memset(rig_page(&f.rig, 0), 0xee, TMEMP_PAGE_SIZE);
	st = ask(0, &r);
	if (st != TMEMP_OK)
		return st;
	memset(want, fill, sizeof(want));
	want[index % TMEMP_PAGE_SIZE] ^= 0x55;
	assert_memory_equal(rig_page(&f.rig, 0), want, sizeof(want));
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->tag), fill + 1000u);
	return st;
}

static void open_session(void)
{
	assert_int_equal(hello(NONCE), TMEMP_OK);
	assert_int_equal(pool_create(0, TMEMP_POOL_PERSISTENT), TMEMP_OK);
	assert_int_equal(pool_create(1, 0), TMEMP_OK);
}

/* ---- sessions ---------------------------------------------------------------- */

static void test_silent_until_hello(void **state)
{
	(void)state;
	f.epoch = 5;
	assert_int_equal(put(0, 1, 1, 1), TMEMP_NEED_HELLO);
	assert_int_equal(hello(NONCE), TMEMP_OK);
	assert_int_not_equal(f.epoch, 0);
	assert_int_equal(le16toh(rig_response(&f.rig, 0)->hello.version), 1);
	assert_int_equal(le32toh(rig_response(&f.rig, 0)->hello.page_size), TMEMP_PAGE_SIZE);
	assert_int_equal(put(0, 1, 1, 1), TMEMP_NO_POOL);
	f.epoch++;
	assert_int_equal(put(0, 1, 1, 1), TMEMP_STALE_EPOCH);
}

static void test_same_nonce_changes_nothing(void **state)
{
	uint64_t epoch;

	(void)state;
	open_session();
	epoch = f.epoch;
	assert_int_equal(put(0, 1, 1, 9), TMEMP_OK);
	assert_int_equal(hello(NONCE), TMEMP_OK);
	assert_int_equal(f.epoch, epoch);
	assert_int_equal(get(0, 1, 1, 9), TMEMP_OK);
}

static void test_new_nonce_drops_the_old_boot(void **state)
{
	uint64_t epoch;

	(void)state;
	open_session();
	epoch = f.epoch;
	assert_int_equal(put(0, 1, 1, 9), TMEMP_OK);
	assert_int_equal(hello(NONCE + 1), TMEMP_OK);
	assert_int_not_equal(f.epoch, epoch);
	assert_int_equal(get(0, 1, 1, 9), TMEMP_NO_POOL);
	assert_int_equal(pool_create(0, TMEMP_POOL_PERSISTENT), TMEMP_OK);
	assert_int_equal(get(0, 1, 1, 9), TMEMP_MISS);
}

static void test_connection_ends_and_returns(void **state)
{
	uint64_t epoch;

	(void)state;
	open_session();
	epoch = f.epoch;
	assert_int_equal(put(0, 1, 1, 9), TMEMP_OK);
	assert_int_equal(put(1, 1, 1, 9), TMEMP_OK);
	session_end(&f.set.session);
	assert_int_equal(get(0, 1, 1, 9), TMEMP_NEED_HELLO);
	assert_int_equal(hello(NONCE), TMEMP_OK);
	assert_int_equal(f.epoch, epoch);
	assert_int_equal(get(0, 1, 1, 9), TMEMP_OK);
	assert_int_equal(get(1, 1, 1, 9), TMEMP_MISS);
	session_end(&f.set.session);
	session_forget(&f.set.session);
	assert_int_equal(hello(NONCE), TMEMP_OK);
	assert_int_not_equal(f.epoch, epoch);
}

/* ---- operations ---------------------------------------------------------------- */

static void test_pages_come_and_go(void **state)
{
	struct tmemp_request r;

	(void)state;
	open_session();
	for (uint32_t pool = 0; pool < 2; pool++) {
		assert_int_equal(put(pool, 7, 5, 3), TMEMP_OK);
		assert_int_equal(put(pool, 7, 5, 4), TMEMP_OK);
		assert_int_equal(get(pool, 7, 5, 4), TMEMP_OK);
		/* Ephemeral pages are taken out, persistent ones stay. */
		assert_int_equal(get(pool, 7, 5, 4), pool ? TMEMP_MISS : TMEMP_OK);
		assert_int_equal(put(pool, 7, 6, 4), TMEMP_OK);
	}
	r = key_request(TMEMP_OP_FLUSH_PAGE, 0, 7, 5);
	assert_int_equal(ask(0, &r), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->count), 1);
	assert_int_equal(ask(0, &r), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->count), 0);
	r = key_request(TMEMP_OP_FLUSH_OBJECT, 0, 7, 0);
	assert_int_equal(ask(0, &r), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->count), 1);
	r = request_of(TMEMP_OP_POOL_DESTROY);
	r.pool = htole32(1);
	assert_int_equal(ask(0, &r), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->count), 1);
	assert_int_equal(get(1, 7, 6, 4), TMEMP_NO_POOL);
	assert_int_equal(pool_create(0, 0), TMEMP_POOL_EXISTS);
	assert_int_equal(pool_create(16, 0), TMEMP_NO_POOL);
}

static void test_frozen_and_full(void **state)
{
	struct tmem_quota quota, tight;

	(void)state;
	open_session();
	assert_int_equal(put(0, 1, 1, 1), TMEMP_OK);
	tmem_client_freeze(f.client, true);
	assert_int_equal(put(0, 1, 1, 2), TMEMP_REFUSED_FROZEN);
	tmem_client_freeze(f.client, false);
	assert_int_equal(get(0, 1, 1, 1), TMEMP_MISS);
	tmem_client_quota_get(f.client, &quota);
	tight = quota;
	tight.persistent_max = 0;
	assert_int_equal(tmem_client_quota_set(f.client, &tight), 0);
	assert_int_equal(put(0, 1, 1, 3), TMEMP_REFUSED_QUOTA);
	assert_int_equal(tmem_client_quota_set(f.client, &quota), 0);
	assert_int_equal(put(0, 1, 1, 4), TMEMP_OK);
}

/* ---- wrong requests ------------------------------------------------------------- */

/* Serve a chain as the test laid it out, with its head at 0; used.len. */
static uint32_t serve_chain(void)
{
	uint32_t len;

	rig_avail(&f.ring[0], 0);
	assert_int_equal(serve(0), 1);
	assert_int_equal(rig_used(&f.ring[0], &len), 0);
	return len;
}

/* Lay out a PUT with its head at 0. */
static void put_lay(void)
{
	struct tmemp_request r = key_request(TMEMP_OP_PUT, 0, 1, 1);

	f.ring[0].next_desc = 0;
	rig_request(&f.ring[0], 0, &r);
}

static uint32_t status(void)
{
	return le32toh(rig_response(&f.rig, 0)->status);
}

static void test_wrong_shapes_with_a_response(void **state)
{
	struct tmemp_desc *d = f.ring[0].desc;
	const uint32_t len = sizeof(struct tmemp_response);

	(void)state;
	open_session();
	put_lay();
	d[0].len = htole32(63);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
	put_lay();
	d[1].len = htole32(TMEMP_PAGE_SIZE - 1);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
	put_lay();
	d[1].len = htole32(0xffffffff);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
	/* The page is left out. */
	put_lay();
	d[0].next = htole16(2);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
	/* One part too many. */
	put_lay();
	d[2].flags = htole16(TMEMP_DESC_WRITE | TMEMP_DESC_NEXT);
	d[2].next = htole16(3);
	rig_desc(&f.ring[0], 3, rig_page_addr(1), 1, TMEMP_DESC_WRITE, 0);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
	/* Only a response. */
	put_lay();
	rig_desc(&f.ring[0], 0, rig_response_addr(0), len, TMEMP_DESC_WRITE, 0);
	assert_int_equal(serve_chain(), len);
	assert_int_equal(status(), TMEMP_BAD_REQUEST);
}

static void test_no_place_for_a_response(void **state)
{
	struct tmemp_desc *d = f.ring[0].desc;

	(void)state;
	open_session();
	put_lay();
	d[2].len = htole32(31);
	assert_int_equal(serve_chain(), 0);
	put_lay();
	d[2].flags = 0;
	assert_int_equal(serve_chain(), 0);
	put_lay();
	d[2].addr = htole64(rig_addr(RIG_BYTES - 31));
	assert_int_equal(serve_chain(), 0);
	put_lay();
	d[1].flags = htole16(TMEMP_DESC_WRITE | TMEMP_DESC_NEXT);
	assert_int_equal(serve_chain(), 0);
	assert_int_equal(status(), TMEMP_STATUS_NONE);
	assert_int_equal(get(0, 1, 1, 1), TMEMP_MISS);
}

static void test_addresses_outside_memory(void **state)
{
	struct tmemp_desc *d = f.ring[0].desc;
	struct tmemp_request r;
	static const uint64_t bad[] = {
		0, RIG_GUEST - 1, RIG_GUEST + RIG_BYTES - TMEMP_PAGE_SIZE + 1,
		RIG_GUEST + RIG_BYTES, UINT64_MAX, UINT64_MAX - TMEMP_PAGE_SIZE + 1, RIG_USER,
	};

	(void)state;
	open_session();
	r = key_request(TMEMP_OP_GET, 1, 1, 1);
	assert_int_equal(put(0, 1, 1, 8), TMEMP_OK);
	assert_int_equal(put(1, 1, 1, 8), TMEMP_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_lay();
		d[1].addr = htole64(bad[i]);
		serve_chain();
		assert_int_equal(status(), TMEMP_BAD_ADDRESS);
		f.ring[0].next_desc = 0;
		rig_request(&f.ring[0], 0, &r);
		d[2].addr = htole64(bad[i]);
		serve_chain();
		assert_int_equal(status(), TMEMP_BAD_ADDRESS);
	}
	put_lay();
	d[0].addr = htole64(rig_addr(RIG_BYTES - 63));
	serve_chain();
	assert_int_equal(status(), TMEMP_BAD_ADDRESS);
	/* No effect: the older page is there, and the exclusive one was not taken. */
	assert_int_equal(get(0, 1, 1, 8), TMEMP_OK);
	assert_int_equal(get(1, 1, 1, 8), TMEMP_OK);
	assert_true(atomic_load(&f.set.session.bad_requests) > 0);
}

static void test_undecodable(void **state)
{
	struct tmemp_request r;

	(void)state;
	open_session();
	r = request_of(TMEMP_OP_END);
	assert_int_equal(ask(0, &r), TMEMP_BAD_REQUEST);
	r = key_request(TMEMP_OP_FLUSH_PAGE, 0, 1, 1);
	r.flags = htole16(1);
	assert_int_equal(ask(0, &r), TMEMP_BAD_REQUEST);
	r = key_request(TMEMP_OP_FLUSH_PAGE, 16, 1, 1);
	assert_int_equal(ask(0, &r), TMEMP_NO_POOL);
}

static void test_a_broken_ring_stops_that_ring(void **state)
{
	unsigned index = 99;

	(void)state;
	open_session();
	f.ring[1].avail->idx = htole16(1000);
	assert_int_equal(serve(1), 0);
	assert_int_equal(f.faults, 1);
	assert_non_null(queue_set_fault(&f.set, &index));
	assert_int_equal(index, 1);
	assert_int_equal(queue_set_running(&f.set), QUEUES - 1);
	assert_int_equal(serve(1), 0);
	assert_int_equal(put(0, 1, 1, 1), TMEMP_OK);
	/* A VMM that starts the ring again does not hide it; a new connection does. */
	f.ring[1] = rig_ring(&f.rig, 1);
	assert_int_equal(queue_start(&f.set.queue[1], &f.ring[1].place, 0), 0);
	assert_non_null(queue_set_fault(&f.set, &index));
	queue_set_fault_clear(&f.set);
	assert_null(queue_set_fault(&f.set, &index));
}

/* ---- order ------------------------------------------------------------------------ */

static void test_barrier_comes_after_what_was_there(void **state)
{
	struct tmemp_request flush, destroy;

	(void)state;
	open_session();
	flush = key_request(TMEMP_OP_FLUSH_PAGE, 0, 1, 1);
	destroy = request_of(TMEMP_OP_POOL_DESTROY);
	assert_int_equal(put(0, 1, 1, 1), TMEMP_OK);
	submit(1, 1, &flush);
	submit(2, 2, &flush);
	submit(0, 0, &destroy);
	assert_int_equal(serve(0), 3);
	assert_int_equal(taken(1, 1), TMEMP_OK);
	assert_int_equal(taken(2, 2), TMEMP_OK);
	assert_int_equal(taken(0, 0), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 1)->count), 1);
	assert_int_equal(le64toh(rig_response(&f.rig, 0)->count), 0);
}

static void test_barrier_in_slices(void **state)
{
	struct tmemp_request flush, destroy, late;
	unsigned rounds = 0;
	uint32_t len;

	(void)state;
	open_session();
	flush = key_request(TMEMP_OP_FLUSH_PAGE, 0, 1, 1);
	late = key_request(TMEMP_OP_FLUSH_PAGE, 0, 1, 2);
	destroy = request_of(TMEMP_OP_POOL_DESTROY);
	for (unsigned i = 0; i < 5; i++)
		submit(1, 1, &flush);
	submit(0, 0, &destroy);
	assert_int_equal(queue_serve(&f.set.queue[0], &f.worker, 2), 2);
	assert_int_equal(rig_used(&f.ring[0], &len), -1);
	/* What comes after the mark is not waited for. */
	for (unsigned i = 0; i < 5; i++)
		submit(1, 2, &late);
	while (rig_used(&f.ring[0], &len) < 0) {
		assert_true(++rounds < 10);
		queue_serve(&f.set.queue[0], &f.worker, 2);
	}
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(taken(1, 1), TMEMP_OK);
	assert_int_equal(rig_used(&f.ring[1], &len), -1);
	assert_int_equal(serve(1), 5);
}

static void test_barriers_on_all_queues(void **state)
{
	struct tmemp_request create;

	(void)state;
	open_session();
	create = request_of(TMEMP_OP_POOL_CREATE);
	create.pool = htole32(3);
	for (unsigned i = 0; i < QUEUES; i++)
		submit(i, i, &create);
	for (unsigned i = 0; i < QUEUES; i++)
		serve(i);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(taken(i, i), TMEMP_OK);
}

/* ---- in steps ------------------------------------------------------------------------ */

#define MANY	3000u

/* Pages of an object, put past the ring; and turns of one step from now on. */
static void fill_many(uint32_t pool, uint64_t oid)
{
	static const uint8_t zero[TMEM_PAGE_SIZE];
	struct tmem_key key = { .oid = { oid } };

	for (key.index = 0; key.index < MANY; key.index++)
		assert_int_equal(tmem_put(f.worker.ctx, f.client, pool, &key, zero, 0), 0);
	f.worker.turn_ns = 1;
}

/* It is begun and not answered; others go on. */
static void begin(const struct tmemp_request *r)
{
	uint32_t len;

	submit(1, 1, r);
	assert_int_equal(serve(1), 1);
	assert_int_equal(rig_used(&f.ring[1], &len), -1);
	assert_true(queue_kick_want(&f.set.queue[1]));
	assert_int_equal(get(0, 1, 7, 0), TMEMP_MISS);
}

static void go_on_to_the_answer(void)
{
	unsigned turns = 1;

	while (rig_used(&f.ring[1], &(uint32_t){ 0 }) < 0) {
		assert_int_equal(serve(1), 1);
		turns++;
	}
	assert_in_range(turns, MANY / 100, MANY);
	assert_int_equal(le32toh(rig_response(&f.rig, 1)->status), TMEMP_OK);
	assert_int_equal(serve(1), 0);
}

static void test_flush_of_many_pages_in_turns(void **state)
{
	struct tmemp_request flush;

	(void)state;
	open_session();
	fill_many(0, 1);
	flush = key_request(TMEMP_OP_FLUSH_OBJECT, 0, 1, 0);
	begin(&flush);
	go_on_to_the_answer();
	assert_int_equal(le64toh(rig_response(&f.rig, 1)->count), MANY);
}

static void test_boot_with_many_pages_in_turns(void **state)
{
	struct tmemp_request r = {
		.op = htole16(TMEMP_OP_HELLO),
		.hello = {
			.version_min = htole16(1),
			.version_max = htole16(1),
			.nonce = htole64(NONCE + 1),
			.ops = htole64(TMEMP_OPS_V1),
		},
	};
	uint32_t len;

	(void)state;
	open_session();
	fill_many(0, 1);
	submit(1, 1, &r);
	assert_int_equal(serve(1), 1);
	assert_int_equal(rig_used(&f.ring[1], &len), -1);
	/* The old boot is over already. */
	assert_int_equal(get(0, 1, 7, 0), TMEMP_STALE_EPOCH);
	go_on_to_the_answer();
	assert_int_not_equal(le64toh(rig_response(&f.rig, 1)->hello.epoch), f.epoch);
}

/* Its queue takes nothing else meanwhile; what comes behind is served after it. */
static void test_order_behind_an_unfinished_request(void **state)
{
	struct tmemp_request destroy, create;
	unsigned turns = 0;

	(void)state;
	open_session();
	fill_many(0, 1);
	destroy = request_of(TMEMP_OP_POOL_DESTROY);
	create = request_of(TMEMP_OP_POOL_CREATE);
	create.create.flags = htole32(TMEMP_POOL_PERSISTENT);
	submit(1, 1, &destroy);
	submit(1, 2, &create);
	serve(1);
	assert_int_equal(get(0, 1, 7, 0), TMEMP_NO_POOL);
	while (le32toh(rig_response(&f.rig, 1)->status) != TMEMP_OK) {
		assert_int_equal(get(0, 1, 7, 0), TMEMP_NO_POOL);
		serve(1);
		assert_true(++turns < MANY);
	}
	serve(1);
	assert_int_equal(le64toh(rig_response(&f.rig, 1)->count), MANY);
	assert_int_equal(get(0, 1, 7, 0), TMEMP_MISS);
}

static void test_stopped_with_an_unfinished_request(void **state)
{
	struct tmemp_request flush;
	uint32_t len;

	(void)state;
	open_session();
	fill_many(0, 1);
	flush = key_request(TMEMP_OP_FLUSH_OBJECT, 0, 1, 0);
	begin(&flush);
	submit(1, 2, &flush);
	queue_wind_down(&f.set.queue[1]);
	assert_int_equal(rig_used(&f.ring[1], &len), 0);
	assert_int_equal(le64toh(rig_response(&f.rig, 1)->count), MANY);
	assert_int_equal(serve(1), 0);
	assert_int_equal(queue_stop(&f.set.queue[1]), 1);
}

/* ---- EVENT -------------------------------------------------------------------------- */

static void event_park(unsigned queue, unsigned slot)
{
	struct tmemp_request r = request_of(TMEMP_OP_EVENT);

	submit(queue, slot, &r);
	assert_int_equal(serve(queue), 1);
}

static void assert_parked(unsigned queue)
{
	uint32_t len;

	assert_int_equal(rig_used(&f.ring[queue], &len), -1);
}

static void test_event_is_displaced_by_the_next(void **state)
{
	(void)state;
	open_session();
	event_park(1, 1);
	assert_parked(1);
	assert_int_equal(put(0, 1, 1, 1), TMEMP_OK);
	event_park(2, 2);
	assert_int_equal(taken(1, 1), TMEMP_OK);
	assert_int_equal(le64toh(rig_response(&f.rig, 1)->events), 0);
	assert_parked(2);
	assert_int_equal(hello(NONCE + 1), TMEMP_OK);
	assert_int_equal(taken(2, 2), TMEMP_OK);
}

static void test_event_ends_with_its_ring(void **state)
{
	(void)state;
	open_session();
	event_park(1, 1);
	assert_int_equal(queue_stop(&f.set.queue[2]), 0);
	assert_parked(1);
	assert_int_equal(queue_stop(&f.set.queue[1]), 1);
	assert_int_equal(taken(1, 1), TMEMP_OK);
	assert_null(f.set.session.parked.ring);
}

static void test_event_on_a_broken_ring_is_let_go(void **state)
{
	(void)state;
	open_session();
	event_park(1, 1);
	f.ring[1].avail->idx = htole16(1000);
	serve(1);
	assert_int_equal(f.faults, 1);
	event_park(2, 2);
	assert_parked(1);
	assert_ptr_equal(f.set.session.parked.ring, &f.set.queue[2].ring);
}

static void test_event_interrupts_its_queue(void **state)
{
	int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	eventfd_t n;

	(void)state;
	open_session();
	assert_int_equal(queue_call_set(&f.set.queue[1], call), -1);
	event_park(1, 1);
	assert_int_equal(eventfd_read(call, &n), -1);
	event_park(2, 2);
	assert_int_equal(eventfd_read(call, &n), 0);
	assert_int_equal(queue_call_set(&f.set.queue[1], -1), call);
	close(call);
}

/* ---- memory that changes -------------------------------------------------------------- */

static int map_elsewhere(struct memmap *m, void *arg)
{
	struct rig *r = arg;
	struct memmap old = *m;
	int err;

	/* Both at once for a moment, so that the new pointers are other ones. */
	m->count = 0;
	err = rig_map(m, r);
	memmap_clear(&old);
	return err;
}

static int map_nothing(struct memmap *m, void *arg)
{
	(void)arg;
	memmap_clear(m);
	return 0;
}

static void test_rings_follow_the_memory(void **state)
{
	(void)state;
	open_session();
	event_park(1, 1);
	assert_int_equal(queue_set_memory(&f.set, map_elsewhere, &f.rig), 0);
	assert_int_equal(put(0, 1, 1, 6), TMEMP_OK);
	event_park(2, 2);
	assert_int_equal(taken(1, 1), TMEMP_OK);
	assert_int_equal(queue_set_memory(&f.set, map_nothing, NULL), -EFAULT);
	assert_int_equal(queue_set_running(&f.set), 0);
	assert_int_equal(serve(0), 0);
}

static void test_memory_cut_under_a_ring(void **state)
{
	unsigned index;

	(void)state;
	open_session();
	/* Here, as the test framework takes the signal over before each test. */
	assert_int_equal(sigbus_init(), 0);
	assert_int_equal(ftruncate(f.rig.fd, 0), 0);
	serve(0);
	assert_true(f.faults > 0);
	assert_non_null(strstr(queue_set_fault(&f.set, &index), "cut"));
	assert_int_equal(ftruncate(f.rig.fd, RIG_BYTES), 0);
}

static void test_places_that_are_none(void **state)
{
	struct queue *q = &f.set.queue[0];
	struct queue_place p = f.ring[0].place;

	(void)state;
	queue_stop(q);
	p.desc = RIG_USER + RIG_BYTES - 16 * RIG_NUM + 16;
	assert_int_equal(queue_start(q, &p, 0), -EFAULT);
	p = f.ring[0].place;
	p.used = 0;
	assert_int_equal(queue_start(q, &p, 0), -EFAULT);
	p = f.ring[0].place;
	p.avail += 1;
	assert_int_equal(queue_start(q, &p, 0), -EINVAL);
	p = f.ring[0].place;
	p.num = 0;
	assert_int_not_equal(queue_start(q, &p, 0), 0);
	p.num = 2048;
	assert_int_equal(queue_start(q, &p, 0), -EINVAL);
	p.num = 3;
	assert_int_equal(queue_start(q, &p, 0), -EINVAL);
	assert_int_equal(queue_set_running(&f.set), QUEUES - 1);
}

#define session_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		session_test(test_silent_until_hello),
		session_test(test_same_nonce_changes_nothing),
		session_test(test_new_nonce_drops_the_old_boot),
		session_test(test_connection_ends_and_returns),
		session_test(test_pages_come_and_go),
		session_test(test_frozen_and_full),
		session_test(test_wrong_shapes_with_a_response),
		session_test(test_no_place_for_a_response),
		session_test(test_addresses_outside_memory),
		session_test(test_undecodable),
		session_test(test_a_broken_ring_stops_that_ring),
		session_test(test_barrier_comes_after_what_was_there),
		session_test(test_barrier_in_slices),
		session_test(test_barriers_on_all_queues),
		session_test(test_flush_of_many_pages_in_turns),
		session_test(test_boot_with_many_pages_in_turns),
		session_test(test_order_behind_an_unfinished_request),
		session_test(test_stopped_with_an_unfinished_request),
		session_test(test_event_is_displaced_by_the_next),
		session_test(test_event_ends_with_its_ring),
		session_test(test_event_on_a_broken_ring_is_let_go),
		session_test(test_event_interrupts_its_queue),
		session_test(test_rings_follow_the_memory),
		session_test(test_memory_cut_under_a_ring),
		session_test(test_places_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ivshmem connection and its region: a guest at work, and what a guest or its
 * VMM can do wrong, done to a real daemon.
 *
 * As in test_bad_ring.c each test is a guest of its own, ends in a working guest
 * or in a closed connection with one line that says why, and a bystander (over
 * vhost-user) has worked on undisturbed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hosting.h"

#define QUEUES	4u
#define PAGES	300u

static struct hosting host;

static struct front_config config_of(const char *guest, char path[DAEMON_PATH_MAX])
{
	struct front_config c = hosting_config(&host, guest, path);

	c.ivshmem = true;
	c.queues = QUEUES;
	c.timeout_ms = 3000 * HOSTING_SLOW;
	return c;
}

static struct front *guest_open(const char *guest)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config_of(guest, path);
	struct front *f;

	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	return f;
}

static void pages_put(struct front *f, uint64_t salt)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (uint64_t n = 0; n < PAGES; n++) {
		struct front_key key = key_of(0, n);

		page_fill(page, salt + n);
		assert_int_equal(front_put(front_queue_of(f, &key), &key, page, salt + n), 0);
	}
}

static void pages_check(struct front *f, uint64_t salt)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (uint64_t n = 0; n < PAGES; n++) {
		struct front_key key = key_of(0, n);
		uint64_t tag;

		assert_int_equal(front_get(front_queue_of(f, &key), &key, page, &tag), 0);
		assert_int_equal(tag, salt + n);
		assert_true(page_is(page, salt + n));
	}
}

/* The connection was closed, with one line that says why; the next one works. */
static void check_failed(const char *guest, struct front *f, const char *reason)
{
	assert_true(front_closed(f, (int)(5000 * HOSTING_SLOW)));
	assert_int_equal(hosting_said(&host, guest, reason), 1);
	assert_int_equal(hosting_lines(&host, guest), 1);
	assert_int_equal(le32toh(__atomic_load_n(&front_ivshmem_host(f)->state, __ATOMIC_ACQUIRE)),
			 TMEMP_IVSHMEM_GONE);
	front_destroy(f);
	f = guest_open(guest);
	pages_put(f, 7);
	pages_check(f, 7);
	front_destroy(f);
}

/* ---- at work ------------------------------------------------------------------ */

static void pages_come_back(void **state)
{
	struct front *f = guest_open("work");

	(void)state;
	assert_int_equal(f->queues, QUEUES);
	pages_put(f, 1000);
	pages_put(f, 2000);
	pages_check(f, 2000);
	front_destroy(f);
	assert_int_equal(hosting_lines(&host, "work"), 0);
}

static void without_ring_features(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config_of("plain", path);
	struct front *f;

	(void)state;
	c.indirect = c.event_idx = false;
	c.spin_ns = 0;
	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	pages_put(f, 1);
	pages_check(f, 1);
	front_destroy(f);
}

/* A driver that is loaded anew says nothing on the socket: only the wish changes. */
static void attached_anew(void **state)
{
	struct front *f = guest_open("anew");

	(void)state;
	pages_put(f, 10);
	assert_int_equal(front_ivshmem_attach(f, 77), 0);
	/* The same boot: its pages are there, its session goes on. */
	pages_check(f, 10);
	assert_int_equal(front_ivshmem_attach(f, 0), 0);
	assert_int_equal(front_ivshmem_attach(f, 78), 0);
	pages_check(f, 10);
	/* Another boot: its pages are gone. */
	assert_int_equal(front_ivshmem_attach(f, 79), 0);
	f->nonce++;
	assert_int_equal(front_hello(f), 0);
	assert_int_equal(hosting_number(&host, "anew", "bad_requests"), 0);
	front_destroy(f);
}

/* No rings: what the guest writes into them is not looked at. */
static void detached_rings_are_left_alone(void **state)
{
	struct front *f = guest_open("detached");
	struct front_queue *q = &f->queue[0];
	uint64_t one = 1;

	(void)state;
	assert_int_equal(front_ivshmem_attach(f, 0), 0);
	__atomic_store_n(&q->avail->idx, htole16(3), __ATOMIC_RELEASE);
	assert_int_equal(write(q->kick, &one, sizeof(one)), sizeof(one));
	usleep(50000);
	assert_int_equal(le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE)),
			 q->used_idx);
	assert_int_equal(front_ivshmem_attach(f, 5), 0);
	pages_put(f, 3);
	pages_check(f, 3);
	front_destroy(f);
}

/* ---- the region ------------------------------------------------------------------ */

static void region_is_sealed_and_a_power_of_two(void **state)
{
	struct front *f = guest_open("sealed");
	struct stat st;

	(void)state;
	assert_int_equal(fstat(f->rings.fd, &st), 0);
	assert_int_equal(st.st_size & (st.st_size - 1), 0);
	assert_int_equal(ftruncate(f->rings.fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(f->rings.fd, 2 * st.st_size), -1);
	assert_int_equal(errno, EPERM);
	/* Sparse: a guest that does little costs little. */
	assert_true((uint64_t)st.st_blocks * 512 < 4u << 20);
	front_destroy(f);
}

static void header_and_answer_overwritten(void **state)
{
	struct front *f = guest_open("scribble");

	(void)state;
	memset(f->rings.base, 0xff, TMEMP_IVSHMEM_GUEST_AT);
	memset(front_ivshmem_host(f), 0xff, 4096);
	pages_put(f, 4);
	pages_check(f, 4);
	front_destroy(f);
	assert_int_equal(hosting_lines(&host, "scribble"), 0);
}

static void addresses_outside_the_region(void **state)
{
	struct front *f = guest_open("outside");
	uint64_t bytes = le64toh(f->region->bytes);
	const uint64_t addresses[] = { bytes, bytes - 4095, f->rings.size, f->rings.size - 4096,
				       UINT64_MAX, UINT64_MAX - 4095, 1ull << 63 };
	struct front_key key = key_of(0, 1);
	struct front_queue *q = front_queue_of(f, &key);

	(void)state;
	for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct front_request *r = front_request_get(q);
		uint16_t head;

		front_request_key(r, TMEMP_OP_PUT, &key, 0, f->epoch);
		head = front_queue_chain(q, r);
		r->table[1].addr = htole64(addresses[i]);
		r->state = FRONT_QUEUED;
		front_queue_expose(q, head);
		front_queue_kick(q);
		assert_int_equal(front_queue_wait(q, r), 0);
		assert_int_equal(le32toh(r->response->status), TMEMP_BAD_ADDRESS);
		front_request_put(q, r);
	}
	pages_put(f, 5);
	pages_check(f, 5);
	front_destroy(f);
}

static void broken_ring(void **state)
{
	struct front *f = guest_open("broken");
	struct front_queue *q = &f->queue[1];
	uint64_t one = 1;

	(void)state;
	__atomic_store_n(&q->avail->idx, htole16((uint16_t)(q->avail_idx + q->size + 1)),
			 __ATOMIC_RELEASE);
	assert_int_equal(write(q->kick, &one, sizeof(one)), sizeof(one));
	check_failed("broken", f, "queue 1: available index more than one ring ahead");
}

/* Wishes as fast as the doorbell rings: held back, and the last one counts. */
static void wishes_without_end(void **state)
{
	struct front *f = guest_open("wishes");
	struct tmemp_ivshmem_guest *g = front_ivshmem_guest(f);
	uint64_t one = 1;

	(void)state;
	for (uint32_t i = 1; i < 200000 / HOSTING_SLOW; i++) {
		__atomic_store_n(&g->attach, htole32(i), __ATOMIC_RELEASE);
		if (i % 16 == 0)
			assert_int_equal(write(f->control_kick, &one, sizeof(one)), sizeof(one));
	}
	assert_int_equal(front_ivshmem_attach(f, 0x7fffffff), 0);
	pages_put(f, 6);
	pages_check(f, 6);
	front_destroy(f);
	assert_int_equal(hosting_lines(&host, "wishes"), 0);
}

/* ---- the connection ---------------------------------------------------------------- */

static void data_on_the_socket(void **state)
{
	struct front *f = guest_open("talker");

	(void)state;
	assert_int_equal(send(f->socket, "hello", 5, MSG_NOSIGNAL), 5);
	check_failed("talker", f, "where a VMM sends none");
}

/* The VMM shares interrupt 0, and makes a write to it wait for ever. */
static void interrupt_that_blocks(void **state)
{
	const uint64_t full = UINT64_MAX - 1, one = 1;
	struct front *f = guest_open("deaf");

	(void)state;
	while (read(f->control_call, &(uint64_t){ 0 }, sizeof(full)) > 0)
		;
	assert_int_equal(fcntl(f->control_call, F_SETFL, O_RDWR), 0);
	assert_int_equal(write(f->control_call, &full, sizeof(full)), (ssize_t)sizeof(full));
	__atomic_store_n(&front_ivshmem_guest(f)->attach, htole32(77), __ATOMIC_RELEASE);
	assert_int_equal(write(f->control_kick, &one, sizeof(one)), (ssize_t)sizeof(one));
	check_failed("deaf", f, "interrupt descriptor blocks");
}

/* One that is turned away: it reads a version that no VMM knows. */
static struct front *turned_away(const struct front_config *c)
{
	struct front *f;
	int64_t version = 0;

	assert_int_equal(front_create(&f, c), 0);
	assert_int_equal(front_dial(f), 0);
	assert_int_equal(recv(f->socket, &version, sizeof(version), MSG_WAITALL), 8);
	assert_int_equal(version, -1);
	return f;
}

/*
 * QEMU waits for ever on a connection that is closed before it read the answer, so it is
 * kept open; but only the newest.
 */
static void second_connection(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config_of("second", path);
	struct front *f = guest_open("second"), *second, *third;

	(void)state;
	second = turned_away(&c);
	assert_false(front_closed(second, 100));
	third = turned_away(&c);
	assert_true(front_closed(second, (int)c.timeout_ms));
	assert_false(front_closed(third, 0));
	front_destroy(second);
	front_destroy(third);
	assert_int_equal(hosting_said(&host, "second", "already connected"), 2);
	pages_put(f, 8);
	pages_check(f, 8);
	front_destroy(f);
}

/*
 * A device that was pulled out: its driver let go, its VMM keeps the connection for a
 * while.  The next device of that VMM takes the place, and finds the pages.
 */
static void next_after_one_that_left(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config_of("heir", path);
	struct front *f = guest_open("heir"), *next;

	(void)state;
	pages_put(f, 8);
	assert_int_equal(front_ivshmem_attach(f, 0), 0);
	assert_int_equal(front_create(&next, &c), 0);
	next->nonce = f->nonce;
	assert_int_equal(front_connect(next), 0);
	assert_int_equal(front_hello(next), 0);
	assert_true(front_closed(f, (int)c.timeout_ms));
	pages_check(next, 8);
	front_destroy(next);
	front_destroy(f);
}

/* Every connection has a region of its own, with nothing of the one before in it. */
static void region_is_new_each_time(void **state)
{
	struct front *f = guest_open("fresh");
	uint64_t region = le64toh(f->region->region);

	(void)state;
	memset(f->data.base + le64toh(f->region->data), 0x5a, 4096);
	front_destroy(f);
	f = guest_open("fresh");
	assert_int_not_equal(le64toh(f->region->region), region);
	assert_int_not_equal(f->data.base[le64toh(f->region->data) + 100], 0x5a);
	front_destroy(f);
}

static void gone_in_the_handshake(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config_of("hasty", path);
	struct front *f;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(front_create(&f, &c), 0);
		assert_int_equal(front_dial(f), 0);
		front_destroy(f);
	}
	f = guest_open("hasty");
	pages_put(f, 9);
	pages_check(f, 9);
	front_destroy(f);
}

/* ---- all --------------------------------------------------------------------------- */

static int setup(void **state)
{
	static const char *const guests[] = { "bystander", NULL };
	static const char *const more[] = {
		"--guest-ivshmem", "work", "--guest-ivshmem", "plain", "--guest-ivshmem", "anew",
		"--guest-ivshmem", "detached", "--guest-ivshmem", "sealed", "--guest-ivshmem",
		"scribble", "--guest-ivshmem", "outside", "--guest-ivshmem", "broken",
		"--guest-ivshmem", "heir", "--guest-ivshmem", "wishes", "--guest-ivshmem",
		"talker", "--guest-ivshmem", "second", "--guest-ivshmem", "fresh", "--guest-ivshmem", "hasty",
		"--guest-ivshmem", "deaf", NULL,
	};
	int err = hosting_start(&host, guests, more);

	(void)state;
	return err ? err : hosting_bystander_start(&host, "bystander");
}

static int teardown(void **state)
{
	(void)state;
	return hosting_stop(&host);
}

static int undisturbed(void **state)
{
	(void)state;
	return hosting_check(&host) ? 0 : -1;
}

#define guest_test(f) cmocka_unit_test_teardown(f, undisturbed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		guest_test(pages_come_back),
		guest_test(without_ring_features),
		guest_test(attached_anew),
		guest_test(detached_rings_are_left_alone),
		guest_test(region_is_sealed_and_a_power_of_two),
		guest_test(header_and_answer_overwritten),
		guest_test(addresses_outside_the_region),
		guest_test(broken_ring),
		guest_test(wishes_without_end),
		guest_test(data_on_the_socket),
		guest_test(interrupt_that_blocks),
		guest_test(second_connection),
		guest_test(next_after_one_that_left),
		guest_test(region_is_new_each_time),
		guest_test(gone_in_the_handshake),
	};

	return cmocka_run_group_tests_name("ivshmem", tests, setup, teardown);
}

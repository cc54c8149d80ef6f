// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMMs that misbehave on a real daemon's socket: gone at the wrong time, there
 * twice, saying what no VMM may say.  A bystander works on undisturbed all the
 * time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "victim.h"

#define ASLEEP_US	400000u	/* a worker that has nothing to do has turned its alarm off */
#define LINGER_S	60
#define FAR	0x7000000000000000ull	/* no guest has memory there */

static struct hosting host;

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
		victim_open(&v, &host, "gone", true);
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
	victim_open(&v, &host, "gone", true);
	victim_check_works(&v);
	front_destroy(v.f);
}

static void test_second_connection(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "second", path);
	struct front *other;
	struct victim v;

	(void)state;
	victim_open(&v, &host, "second", true);
	assert_int_equal(front_create(&other, &c), 0);
	assert_int_equal(front_dial(other), 0);
	assert_true(front_closed(other, (int)(5000 * HOSTING_SLOW)));
	assert_int_equal(hosting_said(&host, "second", "already connected"), 1);
	front_destroy(other);
	victim_check_works(&v);
	assert_int_equal(hosting_lines(&host, "second"), 1);
	front_destroy(v.f);
}

/* Call descriptors that nobody reads, are full or lead nowhere: the VMM's loss alone. */
static void test_dead_interrupts(void **state)
{
	struct front_request *parked;
	struct victim v;
	uint16_t base;
	int fds[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t index = 0;

		victim_open(&v, &host, "call", true);
		v.f->config.spin_ns = FRONT_SPIN_FOREVER;
		assert_int_equal(i ? pipe(fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(front_vhost_set(v.f, VHOST_USER_SET_VRING_CALL, &index,
						 sizeof(index), &fds[1], 1), 0);
		close(fds[0]);
		close(fds[1]);
		/* Ask for every interrupt, of the worker and, by an EVENT, of whoever stops it. */
		for (unsigned n = 0; n < 50; n++) {
			*tmemp_used_event(v.q->avail, v.q->size) = v.q->used_idx;
			victim_check_works(&v);
		}
		parked = front_event_park(v.f, TMEMP_DRAIN_NONE, 0);
		assert_non_null(parked);
		*tmemp_used_event(v.q->avail, v.q->size) = v.q->used_idx;
		victim_check_works(&v);
		*tmemp_used_event(v.q->avail, v.q->size) = v.q->used_idx;
		assert_int_equal(front_queue_stop(v.q, &base), 0);
		assert_int_equal(front_queue_wait(v.q, parked), 0);
		front_destroy(v.f);
	}
	assert_int_equal(hosting_lines(&host, "call"), 0);
}

/* The VMM shares the interrupt descriptor and makes a write to it wait for ever. */
static void interrupt_block(struct victim *v)
{
	const uint64_t full = UINT64_MAX - 1;

	assert_int_equal(fcntl(v->q->call, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	while (read(v->q->call, &(uint64_t){ 0 }, sizeof(full)) > 0)
		;
	assert_int_equal(fcntl(v->q->call, F_SETFL, O_RDWR), 0);
	assert_int_equal(write(v->q->call, &full, sizeof(full)), (ssize_t)sizeof(full));
	*tmemp_used_event(v->q->avail, v->q->size) = htole16(v->q->used_idx);
}

static void test_interrupt_that_blocks(void **state)
{
	struct front_key key = key_of(0, 1);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct victim v;

	(void)state;
	page_fill(page, 7);
	victim_open(&v, &host, "deaf", true);
	interrupt_block(&v);
	assert_int_equal(front_put_post(v.q, &key, page, 0), 0);
	victim_check_failed(&v, "interrupt descriptor blocks");
}

/*
 * The same where stopping the ring is what interrupts, on a worker that has slept
 * for long: a daemon of its own, as a bystander would keep its worker awake.
 */
static void test_last_interrupt_that_blocks(void **state)
{
	static const char *const guests[] = { "deaf", NULL };
	struct hosting quiet;
	struct victim v;
	uint16_t base;

	(void)state;
	assert_int_equal(hosting_start(&quiet, guests, NULL), 0);
	victim_open(&v, &quiet, "deaf", true);
	assert_non_null(front_event_park(v.f, TMEMP_DRAIN_NONE, 0));
	victim_check_works(&v);
	usleep(ASLEEP_US);
	interrupt_block(&v);
	front_queue_stop(v.q, &base);
	victim_check_failed(&v, "interrupt descriptor blocks");
	assert_int_equal(hosting_stop(&quiet), 0);
}

/* The same for the interrupt that a drain asked for on the control socket raises. */
static void test_event_interrupt_that_blocks(void **state)
{
	struct victim v;
	json_t *answer;

	(void)state;
	victim_open(&v, &host, "deaf-drain", true);
	assert_non_null(front_event_park(v.f, TMEMP_DRAIN_NONE, 0));
	victim_check_works(&v);
	interrupt_block(&v);
	answer = hosting_ask(&host, "{\"verb\":\"drain\",\"guest\":\"deaf-drain\"}");
	assert_non_null(answer);
	json_decref(answer);
	victim_check_failed(&v, "interrupt descriptor blocks");
}

/* A network socket whose last close waits until its other end has read, which it never does. */
static int lingering_socket(int ends[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger on = { .l_onoff = 1, .l_linger = LINGER_S };
	static const uint8_t much[65536];
	socklen_t len = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(ends[0], (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(ends[0], 1), 0);
	assert_int_equal(getsockname(ends[0], (struct sockaddr *)&a, &len), 0);
	assert_int_equal(connect(s, (struct sockaddr *)&a, len), 0);
	ends[1] = accept(ends[0], NULL, NULL);
	while (send(s, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(s, SOL_SOCKET, SO_LINGER, &on, sizeof(on)), 0);
	return s;
}

/* It came nowhere: this process has its last descriptor, and would wait itself. */
static void linger_no_more(int s)
{
	static const struct linger off;

	assert_int_equal(setsockopt(s, SOL_SOCKET, SO_LINGER, &off, sizeof(off)), 0);
}

/*
 * Such sockets sent where descriptors belong, where none do, and where nobody
 * reads: there the daemon may have hung up before.
 */
static void test_lingering_descriptors(void **state)
{
	static const char *const guest[] = { "linger-0", "linger-1", "linger-2", "linger-3" };
	time_t begin = time(NULL);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t request[] = { VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_OWNER,
					     VHOST_USER_SET_BACKEND_REQ_FD, VHOST_USER_SET_OWNER };
		const uint64_t index = 0;
		char path[DAEMON_PATH_MAX];
		struct front_config c = hosting_config(&host, guest[i], path);
		struct front *f, *late = NULL;
		int ends[2], s = lingering_socket(ends), r;
		json_t *answer;

		assert_int_equal(front_create(&f, &c), 0);
		assert_int_equal(front_dial(f), 0);
		if (i == 3) {
			assert_int_equal(front_create(&late, &c), 0);
			assert_int_equal(front_dial(late), 0);
		}
		r = front_vhost_send(late ? late : f, request[i], VHOST_USER_VERSION, &index,
				     request[i] == VHOST_USER_SET_OWNER ? 0 : sizeof(index), &s, 1);
		if (r && late)
			linger_no_more(s);
		else
			assert_int_equal(r, 0);
		close(s);
		front_destroy(f);
		if (late)
			front_destroy(late);
		answer = hosting_ask(&host, "{\"verb\":\"list\"}");
		assert_non_null(answer);
		json_decref(answer);
		close(ends[0]);
		close(ends[1]);
	}
	assert_in_range(time(NULL) - begin, 0, LINGER_S - 1);
}

/* Memory is taken away from under rings that run. */
static void test_memory_removed(void **state)
{
	struct victim v;

	(void)state;
	victim_open(&v, &host, "removed", true);
	struct vhost_user_mem_one one = { .region = {
		.guest_addr = v.f->rings.guest_addr, .size = v.f->rings.size,
		.user_addr = (uintptr_t)v.f->rings.base, .mmap_offset = v.f->rings.offset } };

	assert_int_not_equal(front_vhost_set(v.f, VHOST_USER_REM_MEM_REG, &one, sizeof(one),
					     NULL, 0), 0);
	victim_check_failed(&v, "running ring left without memory");
}

/* One VMM after another that stops in each step of its first messages. */
static void test_half_hearted(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "half", path);
	struct victim v;

	(void)state;
	for (unsigned steps = 0; steps < 4; steps++) {
		struct front *f;

		assert_int_equal(front_create(&f, &c), 0);
		assert_int_equal(front_dial(f), 0);
		if (steps > 0)
			assert_int_equal(front_negotiate(f), 0);
		if (steps > 1)
			assert_int_equal(front_memory_send(f), 0);
		if (steps > 2)
			assert_int_equal(front_queue_start(&f->queue[0]), 0);
		front_destroy(f);
	}
	victim_open(&v, &host, "half", true);
	victim_check_unharmed(&v);
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

		victim_open(&v, &host, bad_messages[i].guest, true);
		send_bad(&v, &bad_messages[i]);
		victim_check_failed(&v, "");
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
	const char *guests[64] = {
		"bystander", "gone", "second", "call", "deaf", "removed", "half",
		"deaf-drain", "linger-0", "linger-1", "linger-2", "linger-3",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad_messages) / sizeof(bad_messages[0]); i++)
		guests[12 + i] = bad_messages[i].guest;
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
		guest_test(test_gone_in_mid_request),
		guest_test(test_second_connection),
		guest_test(test_dead_interrupts),
		guest_test(test_interrupt_that_blocks),
		guest_test(test_last_interrupt_that_blocks),
		guest_test(test_event_interrupt_that_blocks),
		guest_test(test_lingering_descriptors),
		guest_test(test_memory_removed),
		guest_test(test_half_hearted),
		guest_test(test_bad_messages),
	};

	return cmocka_run_group_tests_name("bad_vmm", tests, setup, teardown);
}

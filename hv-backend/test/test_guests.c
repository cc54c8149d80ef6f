// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests at work on a whole daemon: many at once, each with several queues, deep
 * windows of posted requests, with and without the ring's optional features.
 * Every page that comes back is compared.
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
#include <time.h>
#include <unistd.h>

#include "hosting.h"

#define GUESTS		8u
#define QUEUES		4u
#define PAGES		600u
#define PERSISTENT	0u
#define EPHEMERAL	1u
#define QUIET_MS	30000u

static struct hosting host;

/* The last two come over ivshmem. */
#define IVSHMEM		6u
static const char *const vhost_names[] = { "g0", "g1", "g2", "g3", "g4", "g5", NULL };

static struct front_config config(unsigned guest, char path[DAEMON_PATH_MAX])
{
	const char *const name[GUESTS] = { "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7" };
	struct front_config c = hosting_config(&host, name[guest], path);

	c.queues = QUEUES;
	c.ivshmem = guest >= IVSHMEM;
	return c;
}

static struct front *open_guest(const struct front_config *c)
{
	struct front *f;

	assert_int_equal(front_open(&f, c), 0);
	assert_int_equal(front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT), TMEMP_OK);
	assert_int_equal(front_pool_create(f, EPHEMERAL, 0), TMEMP_OK);
	return f;
}

/*
 * One pass over all pages of a pool: posted puts as many as the rings hold, then
 * gets, then flushes.  Returns 0 or what went wrong: these run on threads, where
 * cmocka's asserts may not.
 */
static int put_all(struct front *f, uint32_t pool, uint64_t salt, uint64_t pages)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	int r = 0;

	for (uint64_t n = 0; n < pages && !r; n++) {
		struct front_key key = key_of(pool, n);

		page_fill(page, salt + n);
		r = front_put_post(front_queue_of(f, &key), &key, page, salt + n);
	}
	for (unsigned i = 0; i < f->queues && !r; i++) {
		r = front_queue_drain(&f->queue[i]);
		if (!r && f->queue[i].refused)
			r = f->queue[i].last_refusal;
	}
	return r;
}

static int get_all(struct front *f, uint32_t pool, uint64_t salt, uint64_t pages)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	uint64_t tag;
	int r = 0;

	for (uint64_t n = 0; n < pages && !r; n++) {
		struct front_key key = key_of(pool, n);

		r = front_get(front_queue_of(f, &key), &key, page, &tag);
		if (!r && (tag != salt + n || !page_is(page, salt + n)))
			r = -EBADMSG;
	}
	return r;
}

static int flush_all(struct front *f, uint32_t pool, uint64_t pages)
{
	int r = 0;

	for (uint64_t n = 0; n < pages && !r; n++) {
		struct front_key key = key_of(pool, n);

		r = front_flush_page_post(front_queue_of(f, &key), &key);
	}
	for (unsigned i = 0; i < f->queues && !r; i++)
		r = front_queue_drain(&f->queue[i]);
	return r;
}

static int work(struct front *f, uint64_t salt, uint64_t pages)
{
	int r = 0;

	for (uint32_t pool = 0; pool < 2 && !r; pool++) {
		r = put_all(f, pool, salt, pages);
		if (!r)
			r = get_all(f, pool, salt, pages);
		if (!r)
			r = put_all(f, pool, salt + 1, pages);
		if (!r)
			r = get_all(f, pool, salt + 1, pages);
	}
	return r;
}

/* ---- ring features ---------------------------------------------------- */

static void check_features(unsigned guest, bool event_idx, bool indirect, bool mem_slots)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(guest, path);
	struct front *f;

	c.event_idx = event_idx;
	c.indirect = indirect;
	c.mem_slots = mem_slots;
	for (unsigned spin = 0; spin < 2; spin++) {
		c.spin_ns = spin ? 50000 : 0;
		f = open_guest(&c);
		assert_int_equal(f->queues, QUEUES);
		assert_int_equal(f->event_idx, event_idx);
		assert_int_equal(f->indirect, indirect);
		assert_int_equal(work(f, 1000, PAGES / HOSTING_SLOW), 0);
		front_destroy(f);
	}
}

static void test_event_idx_indirect(void **state)
{
	(void)state;
	check_features(0, true, true, false);
}

static void test_event_idx_direct(void **state)
{
	(void)state;
	check_features(0, true, false, true);
}

static void test_flags_indirect(void **state)
{
	(void)state;
	check_features(0, false, true, true);
}

static void test_flags_direct(void **state)
{
	(void)state;
	check_features(0, false, false, false);
}

static void test_ivshmem(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		check_features(IVSHMEM, i & 1, i & 2, false);
}

/* More requests than 2^16 on one small ring: every index wraps. */
static void test_indices_wrap(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(1, path);
	struct front_key key = { .pool = PERSISTENT };
	struct front *f;

	(void)state;
	c.queues = 1;
	c.queue_size = 8;
	c.spin_ns = 1000000;
	f = open_guest(&c);
	for (unsigned i = 0; i < 70000; i++) {
		key.index = i;
		assert_int_equal(front_flush_page_post(&f->queue[0], &key), 0);
	}
	assert_int_equal(front_queue_drain(&f->queue[0]), 0);
	assert_int_equal(f->queue[0].refused, 0);
	assert_int_equal(work(f, 5, 64), 0);
	front_destroy(f);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * Back to back, a ring needs neither a kick nor an interrupt for each request.  A
 * worker whose spins were in vain, or cost it the processor, does not spin for a
 * while: so not at once, but soon.
 */
static void test_busy_ring_is_quiet(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(2, path);
	uint64_t deadline = now_ms() + QUIET_MS;
	struct front *f;
	struct front_queue *q;
	bool quiet = false;

	(void)state;
	c.queues = 1;
	c.spin_ns = FRONT_SPIN_FOREVER;
	f = open_guest(&c);
	q = &f->queue[0];
	while (!quiet && now_ms() < deadline) {
		q->completed = q->kicks = q->interrupts = 0;
		/* Many at a time, then one at a time. */
		assert_int_equal(put_all(f, PERSISTENT, 3, 1000), 0);
		assert_int_equal(get_all(f, PERSISTENT, 3, 1000), 0);
		quiet = q->kicks < q->completed / 10 && q->interrupts < q->completed / 10;
	}
	front_destroy(f);
	assert_true(quiet);
}

/* ---- keys ------------------------------------------------------------- */

/* Every bit of a key counts. */
static void test_keys_are_whole(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(3, path);
	struct front *f = open_guest(&c);
	uint8_t page[TMEMP_PAGE_SIZE];

	(void)state;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned bit = 0; bit <= 224; bit++) {
			struct front_key key = { .pool = PERSISTENT, .oid = { 1, 2, 3 }, .index = 4 };
			struct front_queue *q;

			if (bit < 192)
				key.oid[bit / 64] ^= 1ull << bit % 64;
			else if (bit < 224)
				key.index ^= 1u << (bit - 192);
			q = front_queue_of(f, &key);
			page_fill(page, bit);
			if (pass == 0) {
				assert_int_equal(front_put(q, &key, page, bit), TMEMP_OK);
			} else {
				assert_int_equal(front_get(q, &key, page, NULL), TMEMP_OK);
				assert_true(page_is(page, bit));
			}
		}
	}
	front_destroy(f);
}

/* ---- many guests ------------------------------------------------------ */

struct worker {
	struct front *f;
	uint64_t salt;
	int result;
	pthread_t thread;
};

static void *worker(void *arg)
{
	struct worker *w = arg;

	for (unsigned round = 0; round < 3 && !w->result; round++)
		w->result = work(w->f, w->salt + round * 7, 200 / HOSTING_SLOW);
	return NULL;
}

/*
 * All guests at once, the same keys in each, other contents in each: nobody ever
 * sees another's page, and when all are done each still has its own.
 */
static void test_guests_are_apart(void **state)
{
	const uint64_t pages = 200 / HOSTING_SLOW;
	struct worker w[GUESTS] = { 0 };

	(void)state;
	for (unsigned i = 0; i < GUESTS; i++) {
		char path[DAEMON_PATH_MAX];
		struct front_config c = config(i, path);

		w[i].f = open_guest(&c);
		w[i].salt = (i + 1) * 1000000ull;
	}
	for (unsigned i = 0; i < GUESTS; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, worker, &w[i]), 0);
	for (unsigned i = 0; i < GUESTS; i++)
		pthread_join(w[i].thread, NULL);
	for (unsigned i = 0; i < GUESTS; i++)
		assert_int_equal(w[i].result, 0);
	for (unsigned i = 0; i < GUESTS; i++)
		assert_int_equal(get_all(w[i].f, PERSISTENT, w[i].salt + 2 * 7 + 1, pages), 0);
	/* One guest's flushes are its own. */
	assert_int_equal(flush_all(w[0].f, PERSISTENT, pages), 0);
	assert_int_equal(get_all(w[0].f, PERSISTENT, 0, 1), TMEMP_MISS);
	assert_int_equal(get_all(w[1].f, PERSISTENT, w[1].salt + 2 * 7 + 1, pages), 0);
	for (unsigned i = 0; i < GUESTS; i++)
		front_destroy(w[i].f);
}

struct queue_worker {
	struct front_queue *q;
	uint32_t object;
	int result;
	pthread_t thread;
};

static int queue_round(struct queue_worker *w, uint64_t seed)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	int r = 0;

	for (uint32_t i = 0; i < 100 && !r; i++) {
		struct front_key key = { .pool = PERSISTENT, .oid = { w->object }, .index = i };

		page_fill(page, seed + i);
		r = front_put_post(w->q, &key, page, seed + i);
		/* On one queue a get sees the put before it, waited for or not. */
		if (!r)
			r = front_get(w->q, &key, page, NULL);
		if (!r && !page_is(page, seed + i))
			r = -EBADMSG;
	}
	return r;
}

static void *queue_worker(void *arg)
{
	struct queue_worker *w = arg;

	for (unsigned round = 0; round < 24 / HOSTING_SLOW && !w->result; round++)
		w->result = queue_round(w, w->object * 100000ull + round * 1000);
	return NULL;
}

/* Each queue of one guest driven by a CPU of its own. */
static void test_queues_at_once(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(4, path);
	struct front *f = open_guest(&c);
	struct queue_worker w[QUEUES] = { 0 };

	(void)state;
	for (unsigned i = 0; i < QUEUES; i++) {
		w[i].q = &f->queue[i];
		w[i].object = i + 1;
		assert_int_equal(pthread_create(&w[i].thread, NULL, queue_worker, &w[i]), 0);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_join(w[i].thread, NULL);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(w[i].result, 0);
	front_destroy(f);
}

/* Guests come and go while others work. */
static void test_come_and_go(void **state)
{
	struct worker w = { .salt = 77 };
	char path[DAEMON_PATH_MAX];
	struct front_config c = config(5, path);

	(void)state;
	w.f = open_guest(&c);
	assert_int_equal(pthread_create(&w.thread, NULL, worker, &w), 0);
	for (unsigned i = 0; i < 40 / HOSTING_SLOW; i++) {
		char other_path[DAEMON_PATH_MAX];
		struct front_config other = config(6 + i % 2, other_path);
		struct front *f = open_guest(&other);

		assert_int_equal(put_all(f, PERSISTENT, i, 50), 0);
		assert_int_equal(get_all(f, PERSISTENT, i, 50), 0);
		front_destroy(f);
	}
	pthread_join(w.thread, NULL);
	assert_int_equal(w.result, 0);
	front_destroy(w.f);
}

static int after_each(void **state)
{
	(void)state;
	return hosting_check(&host) ? 0 : -1;
}

static int setup(void **state)
{
	static const char *const more[] = { "--queues", "4", "--workers", "2",
					    "--guest-ivshmem", "g6", "--guest-ivshmem", "g7", NULL };

	(void)state;
	return hosting_start(&host, vhost_names, more);
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
		guest_test(test_event_idx_indirect),
		guest_test(test_event_idx_direct),
		guest_test(test_flags_indirect),
		guest_test(test_flags_direct),
		guest_test(test_ivshmem),
		guest_test(test_indices_wrap),
		guest_test(test_busy_ring_is_quiet),
		guest_test(test_keys_are_whole),
		guest_test(test_guests_are_apart),
		guest_test(test_queues_at_once),
		guest_test(test_come_and_go),
	};

	return cmocka_run_group_tests_name("guests", tests, setup, teardown);
}

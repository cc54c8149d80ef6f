// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of a client as tmemp.h draws it: boots and epochs, connections that
 * end, VMM processes that exit, replay, barriers, the parked EVENT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hosting.h"

#define PERSISTENT	0u	/* pool ids here */
#define EPHEMERAL	1u
#define PAGES		50u

static struct hosting host;

static struct front *open_guest(const char *name, unsigned queues)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, name, path);
	struct front *f;

	c.queues = queues;
	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(f->queues, queues);
	return f;
}

static void make_pools(struct front *f)
{
	assert_int_equal(front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT), TMEMP_OK);
	assert_int_equal(front_pool_create(f, EPHEMERAL, 0), TMEMP_OK);
}

static void fill(struct front *f)
{
	make_pools(f);
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(page_put(f, PERSISTENT, n, n), TMEMP_OK);
		assert_int_equal(page_put(f, EPHEMERAL, n, n + 1000), TMEMP_OK);
	}
}

/* ---- boots ------------------------------------------------------------ */

static void test_hello_says(void **state)
{
	struct front *f = open_guest("one", 1);

	(void)state;
	assert_int_not_equal(f->epoch, 0);
	assert_int_equal(f->ops & TMEMP_OPS_V1, TMEMP_OPS_V1);
	front_destroy(f);
}

static void test_same_nonce_changes_nothing(void **state)
{
	struct front *f = open_guest("one", 2);
	uint64_t epoch = f->epoch;

	(void)state;
	fill(f);
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_equal(f->epoch, epoch);
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(page_get(f, PERSISTENT, n, n), TMEMP_OK);
		assert_int_equal(page_get(f, EPHEMERAL, n, n + 1000), TMEMP_OK);
	}
	front_destroy(f);
}

static void test_new_nonce_begins_anew(void **state)
{
	struct front *f = open_guest("one", 2);
	uint64_t epoch = f->epoch, fresh;

	(void)state;
	fill(f);
	f->nonce++;
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_not_equal(f->epoch, epoch);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_NO_POOL);
	assert_int_equal(page_get(f, EPHEMERAL, 1, 1), TMEMP_NO_POOL);
	/* The old boot's requests, should any still come, touch nothing. */
	fresh = f->epoch;
	f->epoch = epoch;
	assert_int_equal(page_put(f, PERSISTENT, 1, 1), TMEMP_STALE_EPOCH);
	f->epoch = fresh;
	make_pools(f);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_MISS);
	front_destroy(f);
}

/* ---- connections ------------------------------------------------------ */

static void test_reconnect(void **state)
{
	struct front *f = open_guest("one", 2);
	uint64_t epoch = f->epoch;

	(void)state;
	fill(f);
	front_disconnect(f);
	assert_int_equal(front_connect(f), 0);
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_equal(f->epoch, epoch);
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(page_get(f, PERSISTENT, n, n), TMEMP_OK);
		assert_int_equal(page_get(f, EPHEMERAL, n, 0), TMEMP_MISS);
	}
	front_destroy(f);
}

/* Rings stop and start again on one connection, as on a driver's reset. */
static void test_queue_restart(void **state)
{
	struct front *f = open_guest("one", 2);
	uint16_t base;

	(void)state;
	fill(f);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < f->queues; i++) {
			struct front_queue *q = &f->queue[i];

			assert_int_equal(front_queue_stop(q, &base), 0);
			assert_int_equal(base, q->avail_idx);
			/* Odd rounds go on where the ring stopped, even ones begin anew. */
			if (round % 2 == 0)
				front_queue_reset(q);
			assert_int_equal(front_queue_start(q), 0);
		}
		assert_int_equal(page_get(f, PERSISTENT, round, round), TMEMP_OK);
		assert_int_equal(page_get(f, PERSISTENT, round + 1, round + 1), TMEMP_OK);
	}
	front_destroy(f);
}

/* Requests that wait in a ring when it is stopped are served when it goes on. */
static void test_stop_with_work(void **state)
{
	struct front *f = open_guest("one", 1);
	struct front_queue *q = &f->queue[0];
	uint8_t page[TMEMP_PAGE_SIZE];

	(void)state;
	assert_int_equal(front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT), 0);
	for (unsigned round = 0; round < 50; round++) {
		uint16_t base;

		page_fill(page, round);
		for (unsigned i = 0; i < 60; i++) {
			struct front_key key = key_of(PERSISTENT, i);

			assert_int_equal(front_put_post(q, &key, page, round), 0);
		}
		assert_int_equal(front_queue_stop(q, &base), 0);
		assert_in_range((uint16_t)(q->avail_idx - base), 0, 60);
		assert_int_equal(front_queue_start(q), 0);
		assert_int_equal(front_queue_drain(q), 0);
	}
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(page_get(f, PERSISTENT, i, 49), TMEMP_OK);
	front_destroy(f);
}

/* What is exposed while the ring is stopped is served when it starts. */
static void test_start_looks_without_a_kick(void **state)
{
	struct front *f = open_guest("one", 1);
	struct front_queue *q = &f->queue[0];
	struct front_key key = key_of(PERSISTENT, 7);
	struct front_request *r;
	uint16_t base;

	(void)state;
	fill(f);
	assert_int_equal(front_queue_stop(q, &base), 0);
	r = front_request_get(q);
	front_request_key(r, TMEMP_OP_GET, &key, 0, f->epoch);
	r->state = FRONT_QUEUED;
	front_queue_expose(q, front_queue_chain(q, r));
	assert_int_equal(front_queue_start(q), 0);
	assert_int_equal(front_queue_wait(q, r), 0);
	assert_int_equal(front_request_status(r), TMEMP_OK);
	assert_true(page_is(r->page, 7));
	front_destroy(f);
}

/* ---- the VMM process -------------------------------------------------- */

struct boot {
	uint64_t nonce, epoch;
};

/* A VMM that fills its guest's pools, says which boot it was, and stays or goes. */
static pid_t vmm_fork(const char *guest, struct boot *boot, int *stay)
{
	int up[2], down[2];
	pid_t pid;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	pid = fork();
	if (pid == 0) {
		struct front *f = open_guest(guest, 1);
		struct boot mine = { f->nonce, f->epoch };
		char byte;

		close(down[1]);
		fill(f);
		front_disconnect(f);
		if (write(up[1], &mine, sizeof(mine)) != sizeof(mine))
			_exit(1);
		_exit(read(down[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], boot, sizeof(*boot)), sizeof(*boot));
	close(up[0]);
	*stay = down[1];
	return pid;
}

static bool all_dropped(const char *guest)
{
	for (unsigned ms = 0; ms < 5000 * HOSTING_SLOW; ms += 5) {
		if (hosting_number(&host, guest, "logical_bytes") == 0)
			return true;
		usleep(5000);
	}
	return false;
}

/*
 * The persistent pages of a VMM that closed its connection stay for as long as
 * it lives, and go when it exits: another process that says the same nonce does
 * not get them.
 */
static void test_vmm_exits(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "exits", path);
	struct boot boot;
	struct front *f;
	int stay, status;
	pid_t pid = vmm_fork("exits", &boot, &stay);

	(void)state;
	/* The connection has ended: the ephemeral half is gone, or about to go. */
	for (unsigned ms = 0; ms < 5000 && hosting_number(&host, "exits", "logical_bytes") >
				  (long long)PAGES * TMEMP_PAGE_SIZE; ms++)
		usleep(1000);
	assert_int_equal(hosting_number(&host, "exits", "logical_bytes"), PAGES * TMEMP_PAGE_SIZE);
	close(stay);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(all_dropped("exits"));
	assert_int_equal(front_create(&f, &c), 0);
	f->nonce = boot.nonce;
	assert_int_equal(front_connect(f), 0);
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_not_equal(f->epoch, boot.epoch);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_NO_POOL);
	make_pools(f);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_MISS);
	front_destroy(f);
}

/*
 * The identity is the process, not the nonce.  While a VMM lives that left
 * persistent pages, no other may take its place; then it begins with nothing.
 */
static void test_other_vmm(void **state)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "other", path);
	struct boot boot;
	struct front *f;
	int stay;
	pid_t pid = vmm_fork("other", &boot, &stay);

	(void)state;
	assert_int_equal(front_create(&f, &c), 0);
	f->nonce = boot.nonce;
	assert_int_equal(front_dial(f), 0);
	assert_true(front_closed(f, (int)c.timeout_ms));
	assert_int_equal(hosting_said(&host, "other", "persistent pages"), 1);
	front_disconnect(f);
	close(stay);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(front_connect(f), 0);
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_not_equal(f->epoch, boot.epoch);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_NO_POOL);
	front_destroy(f);
}

/* What a guest of such a daemon finds after its VMM came back; or what failed. */
static int outsider_returns(const struct hosting *inside)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(inside, "outside", path);
	struct front *f;
	int r = front_open(&f, &c);

	if (r)
		return r;
	r = front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT);
	if (!r)
		r = page_put(f, PERSISTENT, 1, 1);
	front_disconnect(f);
	if (!r)
		r = front_connect(f);
	if (!r)
		r = front_hello(f);
	if (!r)
		r = page_get(f, PERSISTENT, 1, 1);
	front_destroy(f);
	return r;
}

/*
 * A tmemd in a process namespace of its own sees the VMMs outside as no process at
 * all: they are not one another, and keep nothing when they disconnect.  A child
 * plays the VMM, as the namespace is for all that it starts later.
 */
static void test_vmm_of_another_namespace(void **state)
{
	static const char *const guests[] = { "outside", NULL };
	const int skipped = 255;
	struct hosting inside;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (unshare(CLONE_NEWPID))
			_exit(skipped);
		if (hosting_start(&inside, guests, NULL))
			_exit(254);
		status = outsider_returns(&inside);
		_exit(hosting_stop(&inside) ? 253 : status & 0xff);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == skipped)
		skip();
	assert_int_equal(WEXITSTATUS(status), TMEMP_NO_POOL);
}

/* ---- replay ----------------------------------------------------------- */

static void test_replay(void **state)
{
	struct front *f = open_guest("one", 1);
	struct front_key key = key_of(PERSISTENT, 3);
	uint64_t pages;

	(void)state;
	fill(f);
	make_pools(f);
	assert_int_equal(front_pool_create(f, PERSISTENT, 0), TMEMP_POOL_EXISTS);
	assert_int_equal(front_pool_create(f, EPHEMERAL, TMEMP_POOL_PERSISTENT), TMEMP_POOL_EXISTS);
	assert_int_equal(page_get(f, PERSISTENT, 3, 3), TMEMP_OK);
	assert_int_equal(page_get(f, PERSISTENT, 3, 3), TMEMP_OK);
	assert_int_equal(page_get(f, EPHEMERAL, 3, 1003), TMEMP_OK);
	assert_int_equal(page_get(f, EPHEMERAL, 3, 1003), TMEMP_MISS);
	assert_int_equal(front_flush_page(&f->queue[0], &key, &pages), TMEMP_OK);
	assert_int_equal(pages, 1);
	assert_int_equal(front_flush_page(&f->queue[0], &key, &pages), TMEMP_OK);
	assert_int_equal(pages, 0);
	assert_int_equal(page_get(f, PERSISTENT, 3, 3), TMEMP_MISS);
	assert_int_equal(front_flush_object(&f->queue[0], &key, &pages), TMEMP_OK);
	assert_in_range(pages, 1, PAGES);
	assert_int_equal(front_flush_object(&f->queue[0], &key, &pages), TMEMP_OK);
	assert_int_equal(pages, 0);
	assert_int_equal(page_get(f, PERSISTENT, 3 + 16, 3 + 16), TMEMP_MISS);
	assert_int_equal(page_get(f, PERSISTENT, 4, 4), TMEMP_OK);
	assert_int_equal(front_pool_destroy(f, PERSISTENT, &pages), TMEMP_OK);
	assert_in_range(pages, 1, PAGES);
	assert_int_equal(front_pool_destroy(f, PERSISTENT, &pages), TMEMP_OK);
	assert_int_equal(pages, 0);
	assert_int_equal(page_get(f, PERSISTENT, 4, 4), TMEMP_NO_POOL);
	front_destroy(f);
}

/* A put over a key replaces it, in either pool. */
static void test_put_replaces(void **state)
{
	struct front *f = open_guest("one", 1);

	(void)state;
	fill(f);
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(page_put(f, PERSISTENT, n, n + 5000), TMEMP_OK);
		assert_int_equal(page_put(f, EPHEMERAL, n, n + 6000), TMEMP_OK);
	}
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(page_get(f, PERSISTENT, n, n + 5000), TMEMP_OK);
		assert_int_equal(page_get(f, EPHEMERAL, n, n + 6000), TMEMP_OK);
	}
	front_destroy(f);
}

/* ---- what the administrator does --------------------------------------- */

static void ask(const char *request)
{
	json_t *answer = hosting_ask(&host, request);

	assert_non_null(answer);
	json_decref(answer);
}

/* Frozen: a put is refused and flushes its key; all else goes on. */
static void test_frozen(void **state)
{
	struct front *f = open_guest("one", 1);

	(void)state;
	fill(f);
	ask("{\"verb\":\"freeze\",\"guest\":\"one\"}");
	assert_int_equal(page_put(f, PERSISTENT, 1, 9), TMEMP_REFUSED_FROZEN);
	assert_int_equal(page_get(f, PERSISTENT, 1, 0), TMEMP_MISS);
	assert_int_equal(page_get(f, PERSISTENT, 2, 2), TMEMP_OK);
	assert_int_equal(page_get(f, EPHEMERAL, 2, 1002), TMEMP_OK);
	assert_int_equal(front_pool_create(f, 5, 0), TMEMP_OK);
	assert_int_equal(front_pool_destroy(f, 5, NULL), TMEMP_OK);
	ask("{\"verb\":\"thaw\",\"guest\":\"one\"}");
	assert_int_equal(page_put(f, PERSISTENT, 1, 9), TMEMP_OK);
	assert_int_equal(page_get(f, PERSISTENT, 1, 9), TMEMP_OK);
	front_destroy(f);
}

/* A refused put leaves no older page readable, and takes nothing else away. */
static void test_quota(void **state)
{
	struct front *f = open_guest("quota", 1);
	int status = TMEMP_OK;
	uint64_t taken = 0;

	(void)state;
	make_pools(f);
	while (status == TMEMP_OK && taken < 4000) {
		status = page_put(f, PERSISTENT, taken, taken + 1);
		taken += status == TMEMP_OK;
	}
	assert_int_equal(status, TMEMP_REFUSED_QUOTA);
	assert_int_equal(page_get(f, PERSISTENT, taken, 0), TMEMP_MISS);
	for (uint64_t n = 0; n < taken; n++)
		assert_int_equal(page_get(f, PERSISTENT, n, n + 1), TMEMP_OK);
	/* Nothing is left of a key whose new page was refused. */
	status = page_put(f, PERSISTENT, 0, 7);
	assert_int_equal(page_get(f, PERSISTENT, 0, 7), status == TMEMP_OK ? TMEMP_OK : TMEMP_MISS);
	front_destroy(f);
}

/* ---- barriers --------------------------------------------------------- */

/*
 * Puts are available on queue 1, nobody was told; then the pool is destroyed on
 * queue 0.  The host must execute the puts first: all succeed, all are removed.
 */
static void test_destroy_is_a_barrier(void **state)
{
	struct front *f = open_guest("one", 2);
	struct front_queue *q = &f->queue[1];
	struct front_request *r[20];
	uint64_t pages;

	(void)state;
	make_pools(f);
	for (unsigned round = 0; round < 50 / HOSTING_SLOW + 1; round++) {
		for (unsigned i = 0; i < 20; i++) {
			struct front_key key = key_of(PERSISTENT, i);

			r[i] = front_request_get(q);
			assert_non_null(r[i]);
			front_request_key(r[i], TMEMP_OP_PUT, &key, 0, f->epoch);
			page_fill(r[i]->page, i);
			r[i]->state = FRONT_QUEUED;
			front_queue_expose(q, front_queue_chain(q, r[i]));
		}
		assert_int_equal(front_pool_destroy(f, PERSISTENT, &pages), TMEMP_OK);
		assert_int_equal(pages, 20);
		/* They are done, so nothing is left to wait for. */
		assert_true(front_queue_reap(q) >= 0);
		for (unsigned i = 0; i < 20; i++) {
			assert_int_equal(r[i]->state, FRONT_DONE);
			assert_int_equal(front_request_status(r[i]), TMEMP_OK);
			front_request_put(q, r[i]);
		}
		assert_int_equal(front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT), TMEMP_OK);
		assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_MISS);
	}
	front_destroy(f);
}

/* ---- EVENT ------------------------------------------------------------ */

static void check_event_done(struct front *f, struct front_request *r)
{
	struct front_queue *q = &f->queue[0];

	assert_int_equal(front_queue_wait(q, r), 0);
	assert_int_equal(front_request_status(r), TMEMP_OK);
	assert_int_equal(r->response->events, 0);
	front_request_put(q, r);
}

static void test_event_is_parked(void **state)
{
	struct front *f = open_guest("one", 2);
	struct front_request *first, *second;
	uint16_t base;

	(void)state;
	fill(f);
	first = front_event_park(f, TMEMP_DRAIN_NONE, 0);
	assert_non_null(first);
	/* Requests behind it are served while it stays. */
	for (uint64_t n = 0; n < PAGES; n++)
		assert_int_equal(page_get(f, PERSISTENT, n, n), TMEMP_OK);
	assert_int_equal(first->state, FRONT_QUEUED);
	/* A second one completes the first. */
	second = front_event_park(f, TMEMP_DRAIN_NONE, 0);
	check_event_done(f, first);
	assert_int_equal(second->state, FRONT_QUEUED);
	/* A new boot completes it. */
	f->nonce++;
	assert_int_equal(front_hello(f), TMEMP_OK);
	check_event_done(f, second);
	/* A ring that stops completes it. */
	first = front_event_park(f, TMEMP_DRAIN_NO_ROOM, 12);
	make_pools(f);
	assert_int_equal(front_queue_stop(&f->queue[0], &base), 0);
	check_event_done(f, first);
	assert_int_equal(front_queue_start(&f->queue[0]), 0);
	assert_int_equal(page_put(f, PERSISTENT, 1, 1), TMEMP_OK);
	front_destroy(f);
}

/* A connection that ends with an EVENT parked leaves nothing behind. */
static void test_event_at_the_end(void **state)
{
	struct front *f = open_guest("one", 1);

	(void)state;
	fill(f);
	assert_non_null(front_event_park(f, TMEMP_DRAIN_NONE, 0));
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_OK);
	front_disconnect(f);
	assert_int_equal(front_connect(f), 0);
	assert_int_equal(front_hello(f), TMEMP_OK);
	assert_int_equal(page_get(f, PERSISTENT, 1, 1), TMEMP_OK);
	assert_non_null(front_event_park(f, TMEMP_DRAIN_NONE, 0));
	assert_int_equal(page_get(f, PERSISTENT, 2, 2), TMEMP_OK);
	front_destroy(f);
}

/* ---- all together ----------------------------------------------------- */

static int after_each(void **state)
{
	(void)state;
	return hosting_check(&host) ? 0 : -1;
}

static int setup(void **state)
{
	static const char *const guests[] = { "bystander", "one", "exits", "other", "quota", NULL };
	json_t *answer;

	(void)state;
	if (hosting_start(&host, guests, NULL))
		return -1;
	answer = hosting_ask(&host, "{\"verb\":\"set\",\"guest\":\"quota\","
				    "\"values\":{\"persistent_max\":1048576}}");
	if (!answer)
		return -1;
	json_decref(answer);
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
		guest_test(test_hello_says),
		guest_test(test_same_nonce_changes_nothing),
		guest_test(test_new_nonce_begins_anew),
		guest_test(test_reconnect),
		guest_test(test_queue_restart),
		guest_test(test_stop_with_work),
		guest_test(test_start_looks_without_a_kick),
		guest_test(test_vmm_exits),
		guest_test(test_other_vmm),
		guest_test(test_replay),
		guest_test(test_put_replaces),
		guest_test(test_frozen),
		guest_test(test_quota),
		guest_test(test_destroy_is_a_barrier),
		guest_test(test_event_is_parked),
		guest_test(test_event_at_the_end),
		guest_test(test_vmm_of_another_namespace),
	};

	return cmocka_run_group_tests_name("lifecycle", tests, setup, teardown);
}

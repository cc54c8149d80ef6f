// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Drain: the administrator asks, the guest hears of it by the EVENT it parked, and
 * what it says in the next one is what the administrator sees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <jansson.h>
#include <string.h>

#include "hosting.h"

static struct hosting host;

static struct front *guest_open(const char *guest, bool ivshmem)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, guest, path);
	struct front *f;

	c.ivshmem = ivshmem;
	c.spin_ns = 0;
	assert_int_equal(front_open(&f, &c), 0);
	return f;
}

static bool ask(const char *verb, const char *guest)
{
	char request[128];
	json_t *answer;

	snprintf(request, sizeof(request), "{\"verb\":\"%s\",\"guest\":\"%s\"}", verb, guest);
	answer = hosting_ask(&host, request);
	json_decref(answer);
	return answer != NULL;
}

static void check_drain(const char *guest, const char *state, long long left)
{
	char request[128];
	json_t *answer, *g;

	snprintf(request, sizeof(request), "{\"verb\":\"stats\",\"guest\":\"%s\"}", guest);
	answer = hosting_ask(&host, request);
	g = json_array_get(json_object_get(answer, "guests"), 0);
	assert_string_equal(json_string_value(json_object_get(g, "drain")), state);
	assert_int_equal(json_integer_value(json_object_get(g, "drain_left")), left);
	json_decref(answer);
}

/* The parked request comes back with just these events. */
static void check_comes(struct front *f, struct front_request *r, uint64_t events)
{
	assert_int_equal(front_queue_wait(&f->queue[0], r), 0);
	assert_int_equal(front_request_status(r), TMEMP_OK);
	assert_int_equal(le64toh(r->response->events), events);
	front_request_put(&f->queue[0], r);
}

/* Requests of a queue are served in order: with this one every earlier is. */
static void settle(struct front *f)
{
	assert_int_equal(front_hello(f), TMEMP_OK);
}

static void drain_over(const char *guest, bool ivshmem)
{
	struct front *f = guest_open(guest, ivshmem);
	struct front_request *r = front_event_park(f, TMEMP_DRAIN_NONE, 0);

	settle(f);
	assert_int_not_equal(r->state, FRONT_DONE);
	check_drain(guest, "none", 0);
	assert_true(ask("drain", guest));
	check_comes(f, r, TMEMP_EVENT_DRAIN);
	check_drain(guest, "none", 0);

	r = front_event_park(f, TMEMP_DRAIN_NO_ROOM, 17);
	settle(f);
	check_drain(guest, "no-room", 17);

	/* Asked again: the old result is not taken for the new one. */
	assert_true(ask("drain", guest));
	check_drain(guest, "none", 0);
	check_comes(f, r, TMEMP_EVENT_DRAIN);
	r = front_event_park(f, TMEMP_DRAIN_DONE, 0);
	settle(f);
	check_drain(guest, "done", 0);

	assert_true(ask("resume", guest));
	check_comes(f, r, TMEMP_EVENT_LIMITS);
	front_destroy(f);
}

static void drain_over_vhost_user(void **state)
{
	(void)state;
	drain_over("a", false);
}

static void drain_over_ivshmem(void **state)
{
	(void)state;
	drain_over("b", true);
}

/* Nothing is parked when the administrator asks: the next one brings it. */
static void asked_between_two_events(void **state)
{
	struct front *f = guest_open("a", false);

	(void)state;
	assert_true(ask("drain", "a"));
	assert_true(ask("resume", "a"));
	check_comes(f, front_event_park(f, TMEMP_DRAIN_DONE, 0),
		    TMEMP_EVENT_DRAIN | TMEMP_EVENT_LIMITS);
	check_drain("a", "none", 0);
	front_destroy(f);
}

static void nobody_there(void **state)
{
	struct front *f;

	(void)state;
	assert_false(ask("drain", "c"));
	assert_false(ask("drain", "nobody"));
	/* What was asked of one boot is not for the next. */
	f = guest_open("a", false);
	assert_true(ask("drain", "a"));
	f->nonce++;
	assert_int_equal(front_hello(f), TMEMP_OK);
	front_event_park(f, TMEMP_DRAIN_NONE, 0);
	settle(f);
	check_drain("a", "none", 0);
	assert_true(ask("resume", "a"));
	front_destroy(f);
}

static int setup(void **state)
{
	static const char *const guests[] = { "a", "c", NULL };
	static const char *const more[] = { "--guest-ivshmem", "b", NULL };

	(void)state;
	return hosting_start(&host, guests, more);
}

static int teardown(void **state)
{
	(void)state;
	return hosting_stop(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drain_over_vhost_user),
		cmocka_unit_test(drain_over_ivshmem),
		cmocka_unit_test(asked_between_two_events),
		cmocka_unit_test(nobody_there),
	};

	return cmocka_run_group_tests_name("drain", tests, setup, teardown);
}

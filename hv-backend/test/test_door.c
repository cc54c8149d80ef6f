// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_door.c - the listening socket by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "door.h"

#define VISITORS	1000u

struct house {
	struct loop *loop;
	struct door door;
	unsigned visits, visits_then;
};

static void knock(const struct house *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, h->door.path);
	assert_int_equal(connect(s, (struct sockaddr *)&a, sizeof(a)), 0);
	close(s);
}

/* For each who comes in there is the next. */
static void visited(void *arg, int socket)
{
	struct house *h = arg;

	close(socket);
	if (++h->visits < VISITORS)
		knock(h);
	else
		loop_stop(h->loop);
}

static void on_other(void *arg, uint32_t events)
{
	struct house *h = arg;

	(void)events;
	h->visits_then = h->visits;
}

/* Who comes without end keeps nobody else of the loop waiting, and nobody stays outside. */
static void test_flood(void **state)
{
	struct house h = { .visits_then = VISITORS };
	char dir[] = "/tmp/tmem-door-XXXXXX", path[64];
	struct loop_source *other;
	int bell = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/door", dir);
	h.door = (struct door){ .name = "g", .visit = visited, .arg = &h };
	assert_int_equal(loop_create(&h.loop), 0);
	assert_int_equal(door_open(&h.door, h.loop, path, 0), 0);
	assert_int_equal(loop_add(h.loop, bell, EPOLLIN | EPOLLET, on_other, &h, &other), 0);
	knock(&h);
	/* Behind the door in the loop's order. */
	eventfd_write(bell, 1);
	assert_int_equal(loop_run(h.loop), 0);
	assert_int_equal(h.visits, VISITORS);
	assert_in_range(h.visits_then, 0, VISITORS / 10);
	loop_remove(other);
	door_close(&h.door);
	loop_destroy(h.loop);
	close(bell);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests_name("door", tests, NULL, NULL);
}

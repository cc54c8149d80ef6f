// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_notify.c - what a service manager hears of the daemon, from its start to
 * its end, and that it hears nothing more from one that hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"

#define WATCHDOG_MS	200

static struct daemon tmemd;
static char program[4096];
static int manager = -1;
static char heard[512];

static const char *const arguments[] = { "--arena", "64M", "--guest", "a", NULL };

static int setup(void **state)
{
	const char *build = getenv("TMEM_BUILD");
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char usec[16];

	(void)state;
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	snprintf(usec, sizeof(usec), "%d", WATCHDOG_MS * 1000);
	snprintf(name.sun_path, sizeof(name.sun_path), "/tmp/tmem-notify-%d", (int)getpid());
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager < 0 || bind(manager, (struct sockaddr *)&name, sizeof(name)))
		return -1;
	setenv("NOTIFY_SOCKET", name.sun_path, 1);
	setenv("WATCHDOG_USEC", usec, 1);
	return daemon_start(&tmemd, program, arguments);
}

static int teardown(void **state)
{
	const char *path = getenv("NOTIFY_SOCKET");

	(void)state;
	if (path)
		unlink(path);
	close(manager);
	return tmemd.pid ? daemon_stop(&tmemd) : 0;
}

/* The next message within timeout_ms, or NULL. */
static const char *hear(int timeout_ms)
{
	struct pollfd p = { .fd = manager, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, timeout_ms) != 1)
		return NULL;
	n = recv(manager, heard, sizeof(heard) - 1, 0);
	assert_true(n >= 0);
	heard[n] = '\0';
	return heard;
}

/* Listen until a message starts so. */
static const char *hear_word(const char *word)
{
	const char *message;

	do {
		message = hear(10000);
		assert_non_null(message);
	} while (strncmp(message, word, strlen(word)));
	return message;
}

static void says_that_it_is_ready(void **state)
{
	(void)state;
	assert_non_null(strstr(hear_word("READY=1"), "\nSTATUS=0 of 1 guests connected"));
}

static void gives_signs_of_life(void **state)
{
	(void)state;
	hear_word("WATCHDOG=1");
	hear_word("WATCHDOG=1");
}

static void a_hung_one_is_silent(void **state)
{
	(void)state;
	kill(tmemd.pid, SIGSTOP);
	while (hear(WATCHDOG_MS))
		;
	assert_null(hear(2 * WATCHDOG_MS));
	kill(tmemd.pid, SIGCONT);
	hear_word("WATCHDOG=1");
}

static void brackets_a_reload(void **state)
{
	(void)state;
	kill(tmemd.pid, SIGHUP);
	assert_non_null(strstr(hear_word("RELOADING=1"), "\nMONOTONIC_USEC="));
	hear_word("READY=1");
}

static void says_that_it_ends(void **state)
{
	(void)state;
	assert_int_equal(daemon_stop(&tmemd), 0);
	hear_word("STOPPING=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_that_it_is_ready),
		cmocka_unit_test(gives_signs_of_life),
		cmocka_unit_test(a_hung_one_is_silent),
		cmocka_unit_test(brackets_a_reload),
		cmocka_unit_test(says_that_it_ends),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_http_attack.c - what can be done to tmemd over HTTP while a guest works: the
 * guest goes on, tmemctl is answered, the daemon's memory stays what it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hosting.h"

#define IDLE		1000u
#define SLOW_S		4u		/* how long the slow go on */
#define MEMORY_MAX_KB	(64u << 10)	/* more than that no attack may cost */
#define ANSWER_MS	1000u		/* tmemctl never waits longer */

static const char *const guests[] = { "bystander", NULL };
static struct hosting host;
static int fds[2 * IDLE];

static int client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	daemon_path(&host.daemon, "http.sock", address.sun_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* As much as is taken at once. */
static void say(int fd, const char *data, size_t size)
{
	ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)n;
}

static long resident_kb(void)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", host.daemon.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "RssAnon: %ld", &kb);
	fclose(f);
	return kb;
}

static unsigned descriptors(void)
{
	char path[64];
	unsigned n = 0;

	for (unsigned fd = 0; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", host.daemon.pid, fd);
		n += access(path, F_OK) == 0;
	}
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void control_answers(void)
{
	uint64_t begin = now_ms();
	json_t *answer = hosting_ask(&host, "{\"verb\":\"list\"}");

	assert_non_null(answer);
	json_decref(answer);
	assert_true(now_ms() - begin < ANSWER_MS * HOSTING_SLOW);
}

static void http_answers(void)
{
	static const char text[] = "GET /nothing HTTP/1.1\r\nHost: tmemd\r\n\r\n";
	uint64_t begin = now_ms();
	char answer[64] = "";
	int fd = client();

	say(fd, text, sizeof(text) - 1);
	assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
	assert_memory_equal(answer, "HTTP/1.1 404", 12);
	assert_true(now_ms() - begin < ANSWER_MS * HOSTING_SLOW);
	close(fd);
}

/* The guest goes on and the host can be worked with. */
static void nothing_suffers(void)
{
	assert_true(hosting_check(&host));
	control_answers();
}

static void fds_close(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- attacks --------------------------------------------------------------- */

static void a_thousand_idle_connections(void **unused)
{
	long before = resident_kb();

	(void)unused;
	for (unsigned i = 0; i < IDLE; i++)
		fds[i] = client();
	nothing_suffers();
	assert_true(resident_kb() - before < (long)(MEMORY_MAX_KB * HOSTING_SLOW));
	fds_close(IDLE);
	nothing_suffers();
}

static void more_connections_than_there_may_be(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2 * IDLE; i++)
		fds[i] = client();
	nothing_suffers();
	http_answers();
	assert_in_range(descriptors(), 1, 1400);
	fds_close(2 * IDLE);
	nothing_suffers();
}

/* Headers and bodies, a byte at a time. */
static void slow_requests(void **unused)
{
	static const char head[] = "GET /metrics HTTP/1.1\r\nHost: tmemd\r\nA: ";
	static const char body[] = "POST /api/verb HTTP/1.1\r\nHost: tmemd\r\n"
				   "Content-Length: 16000\r\n\r\n{";
	uint64_t begin = now_ms();
	long before = resident_kb();

	(void)unused;
	for (unsigned i = 0; i < IDLE; i++) {
		fds[i] = client();
		if (i % 2)
			say(fds[i], head, sizeof(head) - 1);
		else
			say(fds[i], body, sizeof(body) - 1);
	}
	while (now_ms() - begin < SLOW_S * 1000) {
		for (unsigned i = 0; i < IDLE; i++)
			say(fds[i], "x", 1);
		control_answers();
		usleep(200000);
	}
	nothing_suffers();
	assert_true(resident_kb() - before < (long)(MEMORY_MAX_KB * HOSTING_SLOW));
	fds_close(IDLE);
	nothing_suffers();
}

/* Large answers that nobody takes. */
static void answers_not_read(void **unused)
{
	static const char text[] = "GET /metrics HTTP/1.1\r\nHost: tmemd\r\n\r\n";
	long before = resident_kb();

	(void)unused;
	for (unsigned i = 0; i < IDLE / 2; i++) {
		fds[i] = client();
		for (unsigned n = 0; n < 20; n++)
			say(fds[i], text, sizeof(text) - 1);
	}
	nothing_suffers();
	assert_true(resident_kb() - before < (long)(2 * MEMORY_MAX_KB * HOSTING_SLOW));
	fds_close(IDLE / 2);
	nothing_suffers();
}

/* A guess in every request, as fast as they go. */
static void guessed_tokens(void **unused)
{
	static const char text[] = "POST /api/login HTTP/1.1\r\nHost: tmemd\r\nOrigin: http://tmemd\r\n"
				   "Content-Type: application/json\r\nContent-Length: 76\r\n\r\n"
				   "{\"token\":\"0123456789012345678901234567890123456789012345678901234567890123\"}";
	char answer[8192];
	unsigned refused = 0;
	int fd = client();

	(void)unused;
	for (unsigned i = 0; i < 500; i++) {
		ssize_t n;

		assert_int_equal(send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL), sizeof(text) - 1);
		n = recv(fd, answer, sizeof(answer) - 1, 0);
		assert_true(n > 0);
		answer[n] = '\0';
		assert_null(strstr(answer, "Set-Cookie"));
		refused += strstr(answer, "HTTP/1.1 401") != NULL;
	}
	assert_int_equal(refused, 500);
	close(fd);
	nothing_suffers();
}

static int group_setup(void **unused)
{
	struct rlimit limit;

	(void)unused;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return hosting_start(&host, guests, NULL) || hosting_bystander_start(&host, "bystander");
}

static int group_teardown(void **unused)
{
	(void)unused;
	return hosting_stop(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_idle_connections),
		cmocka_unit_test(more_connections_than_there_may_be),
		cmocka_unit_test(slow_requests),
		cmocka_unit_test(answers_not_read),
		cmocka_unit_test(guessed_tokens),
	};

	return cmocka_run_group_tests_name("http_attack", tests, group_setup, group_teardown);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_http.c - HTTP with a made-up handler behind it: whole requests in, answers
 * out, and that no client can be too long, too slow or too many.
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
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "serving.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define WAIT_MS		20000	/* far above what anything takes */
#define SILENT_S	1
#define REQUEST_S	2

struct server {
	struct serving serving;
	struct http *http;
};

/* "METHOD path host body-size", and what the body begins with. */
static void echo(void *arg, const struct http_request *q, struct http_response *r)
{
	(void)arg;
	r->status = 200;
	r->type = "text/plain";
	if (!strcmp(q->path, "/cookie"))
		snprintf(r->cookie, sizeof(r->cookie), "name=value; HttpOnly");
	if (asprintf(&r->text, "%s %s %s %zu %.*s", q->method, q->path, q->host ? q->host : "-",
		     q->body_size, (int)(q->body_size < 8 ? q->body_size : 8), q->body) < 0)
		r->text = NULL;
}

static int server_start(void **state, unsigned silent_s, unsigned request_s)
{
	struct server *s = calloc(1, sizeof(*s));
	struct http_config config = {
		.path = s->serving.path, .group = (gid_t)-1, .silent_s = silent_s,
		.request_s = request_s, .fn = echo,
	};

	serving_open(&s->serving);
	assert_int_equal(http_create(&s->http, s->serving.loop, &config), 0);
	serving_run(&s->serving);
	*state = s;
	return 0;
}

static int server_setup(void **state)
{
	return server_start(state, SILENT_S, REQUEST_S);
}

/* Nothing ends by its time. */
static int patient_setup(void **state)
{
	return server_start(state, 600, 600);
}

static int server_teardown(void **state)
{
	struct server *s = *state;

	serving_end(&s->serving);
	http_destroy(s->http);
	serving_close(&s->serving);
	free(s);
	return 0;
}

/* ---- a client ---------------------------------------------------------- */

static int client(const struct server *s)
{
	return serving_dial(&s->serving);
}

/* As far as it is listened to. */
static void say(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n < 0)
			return;
		at += n;
		size -= (size_t)n;
	}
}

static void say_text(int fd, const char *text)
{
	say(fd, text, strlen(text));
}

/* What comes until the end of the connection or of `until`; ended by a NUL. */
static size_t hear(int fd, char *text, size_t size, const char *until)
{
	size_t used = 0;

	text[0] = '\0';
	while (used < size - 1 && !(until && strstr(text, until))) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = recv(fd, text + used, size - 1 - used, 0);
		if (n <= 0)
			break;
		used += (size_t)n;
		text[used] = '\0';
	}
	return used;
}

/* The status of the answer to what is sent; 0: the connection ended without one. */
static int status_of(const struct server *s, const void *data, size_t size)
{
	int fd = client(s), status = 0;
	char text[4096];

	say(fd, data, size);
	shutdown(fd, SHUT_WR);
	hear(fd, text, sizeof(text), NULL);
	sscanf(text, "HTTP/1.1 %d", &status);
	close(fd);
	return status;
}

static int status_of_text(const struct server *s, const char *text)
{
	return status_of(s, text, strlen(text));
}

/* A request is answered right away. */
static void is_served(const struct server *s)
{
	int fd = client(s);
	char text[4096];

	say_text(fd, "GET /served HTTP/1.1\r\nHost: a\r\n\r\n");
	hear(fd, text, sizeof(text), "GET /served a 0");
	assert_non_null(strstr(text, "GET /served a 0"));
	close(fd);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- requests ------------------------------------------------------------ */

static void a_body_arrives_whole(void **state)
{
	int fd = client(*state);
	char text[4096];

	say_text(fd, "POST /a%20b?c=d HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nab");
	usleep(20000);
	say_text(fd, "cdef");
	hear(fd, text, sizeof(text), "abcdef");
	assert_non_null(strstr(text, "POST /a b h 6 abcdef"));
	/* And the next on the same connection. */
	say_text(fd, "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "3\r\nxyz\r\n0\r\n\r\n");
	hear(fd, text, sizeof(text), "xyz");
	assert_non_null(strstr(text, "POST /2 h 3 xyz"));
	close(fd);
}

static void every_answer_carries_the_policy(void **state)
{
	int fd = client(*state);
	char text[4096];

	say_text(fd, "GET /cookie HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	hear(fd, text, sizeof(text), NULL);
	assert_non_null(strstr(text, "Content-Security-Policy: default-src 'none'; "));
	assert_non_null(strstr(text, "frame-ancestors 'none'"));
	assert_non_null(strstr(text, "X-Content-Type-Options: nosniff"));
	assert_non_null(strstr(text, "Set-Cookie: name=value; HttpOnly"));
	assert_null(strstr(text, "Access-Control"));
	close(fd);
}

static void other_methods_are_not_taken(void **state)
{
	assert_int_equal(status_of_text(*state, "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n"), 405);
	assert_int_equal(status_of_text(*state, "OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n"), 405);
	assert_int_equal(status_of_text(*state, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
	is_served(*state);
}

/* ---- malformed ----------------------------------------------------------- */

static void garbage_is_no_request(void **state)
{
	static const char *const texts[] = {
		"\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nno colon\r\n\r\n", "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na",
		"GET /%00%zz%ff HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nA",
	};

	int fds[sizeof(texts) / sizeof(texts[0])];
	char answer[4096];

	/* All at once: some of them the server waits for to go on. */
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fds[i] = client(*state);
		say_text(fds[i], texts[i]);
	}
	is_served(*state);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		hear(fds[i], answer, sizeof(answer), NULL);
		close(fds[i]);
	}
	is_served(*state);
}

static void every_byte_may_come(void **state)
{
	unsigned char bytes[1024];
	char answer[4096];
	uint32_t x = 1;
	int fds[64];

	for (unsigned round = 0; round < 64; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			x = x * 1664525u + 1013904223u;
			bytes[i] = (unsigned char)(x >> 24);
		}
		fds[round] = client(*state);
		say(fds[round], bytes, sizeof(bytes));
	}
	for (unsigned round = 0; round < 64; round++) {
		hear(fds[round], answer, sizeof(answer), NULL);
		assert_null(strstr(answer, "HTTP/1.1 200"));
		close(fds[round]);
	}
	is_served(*state);
}

/* ---- too long -------------------------------------------------------------- */

static void long_headers_end_the_connection(void **state)
{
	static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
	size_t size = 1 << 20;
	char *text = malloc(size);
	int status;

	memset(text, 'a', size);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + size - 4, "\r\n\r\n", 4);
	status = status_of(*state, text, size);
	assert_true(status == 0 || status == 431 || status == 413);
	/* The same as many short ones, and as the path. */
	for (size_t i = sizeof(head) - 1; i + 8 < size - 8; i += 8)
		memcpy(text + i, "\r\nab: cd", 8);
	assert_int_not_equal(status_of(*state, text, size), 200);
	memset(text + 5, 'p', size - 9);
	assert_int_not_equal(status_of(*state, text, size), 200);
	free(text);
	is_served(*state);
}

static void a_body_ends_at_its_bound(void **state)
{
	size_t size = HTTP_BODY_MAX + 256;
	char *text = malloc(size);
	int head;

	memset(text, 'b', size);
	head = snprintf(text, size, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %u\r\n\r\n",
			HTTP_BODY_MAX);
	text[head] = 'b';
	assert_int_equal(status_of(*state, text, (size_t)head + HTTP_BODY_MAX), 200);
	head = snprintf(text, size, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %u\r\n\r\n",
			HTTP_BODY_MAX + 1);
	text[head] = 'b';
	assert_int_equal(status_of(*state, text, (size_t)head + HTTP_BODY_MAX + 1), 413);
	free(text);
}

/* No length is told, so it is seen only as it comes. */
static void a_chunked_body_ends_there_too(void **state)
{
	int fd = client(*state);
	char text[4096], chunk[1024 + 8];

	say_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	memcpy(chunk, "400\r\n", 5);
	memset(chunk + 5, 'c', 1024);
	memcpy(chunk + 1029, "\r\n", 2);
	for (unsigned i = 0; i < HTTP_BODY_MAX / 1024 + 2; i++)
		say(fd, chunk, 1031);
	say_text(fd, "0\r\n\r\n");
	hear(fd, text, sizeof(text), "\r\n\r\n");
	assert_memory_equal(text, "HTTP/1.1 413", 12);
	close(fd);
	is_served(*state);
}

/* ---- too slow ------------------------------------------------------------ */

static void silence_ends_the_connection(void **state)
{
	int fd = client(*state);
	double begin = now_s();
	char text[64];

	say_text(fd, "GET / HT");
	hear(fd, text, sizeof(text), NULL);
	assert_true(now_s() - begin < 5 * SILENT_S);
	close(fd);
}

/* A byte now and then is no silence: the time for a whole request is what ends it. */
static void a_slow_request_ends_the_connection(void **state)
{
	int fd = client(*state);
	double begin = now_s();
	bool open = true;

	say_text(fd, "GET / HTTP/1.1\r\nHost: h\r\n");
	while (open && now_s() - begin < 5 * REQUEST_S) {
		char byte;

		open = send(fd, "a", 1, MSG_NOSIGNAL) == 1 &&
		       (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
		usleep(200000);
	}
	assert_false(open);
	assert_true(now_s() - begin >= REQUEST_S - 1);
	close(fd);
	is_served(*state);
}

/* One that is answered now and then may stay. */
static void a_connection_in_use_stays(void **state)
{
	int fd = client(*state);
	double begin = now_s();
	char text[4096];

	while (now_s() - begin < REQUEST_S + 1) {
		say_text(fd, "GET /again HTTP/1.1\r\nHost: h\r\n\r\n");
		assert_int_not_equal(hear(fd, text, sizeof(text), "GET /again h 0"), 0);
		usleep(SILENT_S * 400000);
	}
	close(fd);
}

static void an_answer_not_read_holds_up_nobody(void **state)
{
	int fd = client(*state), small = 4096;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (unsigned i = 0; i < 2000; i++) {
		static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

		if (send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	}
	is_served(*state);
	close(fd);
}

/* ---- too many ------------------------------------------------------------ */

#define MANY	(HTTP_CONNECTIONS + 500)

/* Half say nothing, half begin a request; the newest is served all the same. */
static void many_connections_lock_out_nobody(void **state)
{
	const struct server *s = *state;
	struct rlimit limit;
	int *fds = calloc(MANY, sizeof(*fds));
	double begin;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned i = 0; i < MANY; i++) {
		fds[i] = client(s);
		if (i % 2)
			say_text(fds[i], "GET /slow HTTP/1.1\r\nHost");
	}
	begin = now_s();
	is_served(s);
	assert_true(now_s() - begin < 2.0);
	for (unsigned i = 0; i < MANY; i++)
		close(fds[i]);
	free(fds);
	is_served(s);
}

/* The library reads without looking at descriptors: the kernel is asked to keep them out. */
static void descriptors_are_refused(void **state)
{
	struct server *s = *state;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = { .head = {
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	char byte = 'G';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd = client(s), on;
	socklen_t size = sizeof(on);

	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &size)) {
		close(fd);
		skip();
		return;
	}
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPERM);
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_body_arrives_whole),
		TEST(every_answer_carries_the_policy),
		TEST(other_methods_are_not_taken),
		TEST(garbage_is_no_request),
		TEST(every_byte_may_come),
		TEST(long_headers_end_the_connection),
		TEST(a_body_ends_at_its_bound),
		TEST(a_chunked_body_ends_there_too),
		TEST(silence_ends_the_connection),
		TEST(a_slow_request_ends_the_connection),
		TEST(a_connection_in_use_stays),
		TEST(an_answer_not_read_holds_up_nobody),
		TEST(descriptors_are_refused),
		cmocka_unit_test_setup_teardown(many_connections_lock_out_nobody, patient_setup,
						server_teardown),
	};
#undef TEST

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}

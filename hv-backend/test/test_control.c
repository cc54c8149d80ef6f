/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_control.c - the control socket with a made-up handler behind it: lines
 * in and out, and that no client can hold up or shut out another.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "serving.h"

#define BIG_ANSWER	(4u << 20)
#define WAIT_MS		20000	/* far above what anything takes */

struct server {
	struct serving serving;
	struct control *control;
};

/* "big" is answered with BIG_ANSWER bytes, "none" not at all, the rest with itself. */
static char *answer(void *arg, const struct control_peer *peer, const char *line, size_t length)
{
	char *text;

	(void)arg;
	if (length == 3 && !memcmp(line, "big", 3)) {
		text = malloc(BIG_ANSWER + 1);
		memset(text, 'b', BIG_ANSWER);
		text[BIG_ANSWER] = '\0';
		return text;
	}
	if (length == 4 && !memcmp(line, "none", 4))
		return NULL;
	if (length == 3 && !memcmp(line, "who", 3)) {
		if (asprintf(&text, "%d %u", peer->pid, peer->uid) < 0)
			return NULL;
		return text;
	}
	return strndup(line, length);
}

static int server_setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	serving_open(&s->serving);
	assert_int_equal(control_create(&s->control, s->serving.loop, s->serving.path,
					CONTROL_OWN_GROUP, answer, s), 0);
	serving_run(&s->serving);
	*state = s;
	return 0;
}

static int server_teardown(void **state)
{
	struct server *s = *state;

	serving_end(&s->serving);
	control_destroy(s->control);
	serving_close(&s->serving);
	free(s);
	return 0;
}

/* ---- a client ---------------------------------------------------------- */

static int client(const struct server *s)
{
	return serving_dial(&s->serving);
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Bytes of one more read: 0 at the end of the connection. */
static size_t hear_some(int fd, char *text, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	n = recv(fd, text, size, 0);
	return n > 0 ? (size_t)n : 0;
}

/* Exactly these bytes come next. */
static void hear(int fd, const char *expected)
{
	char text[256];
	size_t have = 0, length = strlen(expected);

	while (have < length) {
		size_t n = hear_some(fd, text + have, length - have);

		assert_int_not_equal(n, 0);
		have += n;
	}
	assert_memory_equal(text, expected, length);
}

static void hear_end(int fd)
{
	char byte;

	assert_int_equal(hear_some(fd, &byte, 1), 0);
	close(fd);
}

/* ---- tests ------------------------------------------------------------- */

static void lines_are_answered_in_order(void **state)
{
	int fd = client(*state);

	say(fd, "one\n");
	hear(fd, "one\n");
	say(fd, "two\nthree\n\nfo");
	hear(fd, "two\nthree\n\n");
	say(fd, "ur");
	say(fd, "\n");
	hear(fd, "four\n");
	close(fd);
}

static void end_of_input_still_gets_its_answers(void **state)
{
	int fd = client(*state);

	say(fd, "a\nb\nunfinished");
	shutdown(fd, SHUT_WR);
	hear(fd, "a\nb\n");
	hear_end(fd);
}

static void peer_is_known(void **state)
{
	char expected[64];
	int fd = client(*state);

	snprintf(expected, sizeof(expected), "%d %u\n", getpid(), getuid());
	say(fd, "who\n");
	hear(fd, expected);
	close(fd);
}

static void longest_line_is_taken(void **state)
{
	char *line = malloc(CONTROL_LINE_MAX + 1), text[4096];
	size_t have = 0;
	int fd = client(*state);

	memset(line, 'x', CONTROL_LINE_MAX - 1);
	line[CONTROL_LINE_MAX - 1] = '\n';
	line[CONTROL_LINE_MAX] = '\0';
	say(fd, line);
	while (have < CONTROL_LINE_MAX)
		have += hear_some(fd, text, sizeof(text));
	assert_int_equal(have, CONTROL_LINE_MAX);
	assert_int_equal(text[0], 'x');
	close(fd);
	free(line);
}

static void longer_line_is_refused_and_ends(void **state)
{
	char line[1024];
	size_t sent = 0;
	int fd = client(*state), other = client(*state);

	memset(line, 'x', sizeof(line));
	while (sent < CONTROL_LINE_MAX) {
		assert_int_equal(send(fd, line, sizeof(line), MSG_NOSIGNAL), sizeof(line));
		sent += sizeof(line);
	}
	hear(fd, "{\"ok\":false,\"error\":\"the request is longer than 64 KiB\"");
	while (hear_some(fd, line, sizeof(line)))
		;
	close(fd);
	say(other, "still\n");
	hear(other, "still\n");
	close(other);
}

static void no_answer_ends_the_connection(void **state)
{
	int fd = client(*state);

	say(fd, "none\n");
	hear_end(fd);
}

static void slow_reader_holds_up_nobody(void **state)
{
	int slow = client(*state), other = client(*state);
	char *text = malloc(BIG_ANSWER);
	size_t have = 0;

	say(slow, "big\nbig\nafter\n");
	for (int i = 0; i < 100; i++) {
		say(other, "quick\n");
		hear(other, "quick\n");
	}
	while (have < 2 * (BIG_ANSWER + 1)) {
		size_t left = 2 * (BIG_ANSWER + 1) - have;

		have += hear_some(slow, text, left < BIG_ANSWER ? left : BIG_ANSWER);
	}
	hear(slow, "after\n");
	free(text);
	close(slow);
	close(other);
}

static void flood_of_requests_waits_its_turn(void **state)
{
	int flood = client(*state), other = client(*state);
	char lines[8192];

	for (size_t i = 0; i < sizeof(lines); i += 2)
		memcpy(lines + i, "f\n", 2);
	/* Nothing of the flood's answers is read while the other one asks. */
	assert_int_equal(fcntl(flood, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 100; i++) {
		if (send(flood, lines, sizeof(lines), MSG_NOSIGNAL) < 0)
			assert_int_equal(errno, EAGAIN);
		say(other, "quick\n");
		hear(other, "quick\n");
	}
	close(flood);
	close(other);
}

static void idle_connections_give_way(void **state)
{
	int idle[3 * CONTROL_CONNECTIONS], busy = client(*state), last;
	const size_t count = sizeof(idle) / sizeof(idle[0]);

	for (size_t i = 0; i < count; i++) {
		idle[i] = client(*state);
		say(busy, "here\n");
		hear(busy, "here\n");
	}
	last = client(*state);
	say(last, "new\n");
	hear(last, "new\n");
	/* The one that asked all the time stayed; the first that was silent went. */
	say(busy, "here\n");
	hear(busy, "here\n");
	hear_end(idle[0]);
	for (size_t i = 1; i < count; i++)
		close(idle[i]);
	close(busy);
	close(last);
}

static void vanishing_reader_is_forgotten(void **state)
{
	int other = client(*state);

	for (int i = 0; i < 2 * CONTROL_CONNECTIONS; i++) {
		int fd = client(*state);

		say(fd, "big\n");
		close(fd);
	}
	say(other, "here\n");
	hear(other, "here\n");
	close(other);
}

static void socket_is_for_owner_and_group(void **state)
{
	const struct server *s = *state;
	struct stat st;

	assert_int_equal(stat(s->serving.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
}

static void only_a_stale_socket_is_replaced(void **state)
{
	const struct server *s = *state;
	char path[80];
	struct loop *l;
	struct control *c;
	int fd;

	assert_int_equal(loop_create(&l), 0);
	snprintf(path, sizeof(path), "%s/other", s->serving.dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(control_create(&c, l, path, CONTROL_OWN_GROUP, answer, NULL), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(path), 0);
	close(fd);
	assert_int_equal(mknod(path, S_IFSOCK | 0600, 0), 0);
	assert_int_equal(control_create(&c, l, path, CONTROL_OWN_GROUP, answer, NULL), 0);
	control_destroy(c);
	loop_destroy(l);
	assert_int_equal(access(path, F_OK), -1);
}

static void path_too_long_is_refused(void **state)
{
	struct loop *l;
	struct control *c;
	char path[200];

	(void)state;
	assert_int_equal(loop_create(&l), 0);
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(control_create(&c, l, path, CONTROL_OWN_GROUP, answer, NULL), -ENAMETOOLONG);
	loop_destroy(l);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, server_setup, server_teardown)
	const struct CMUnitTest tests[] = {
		WITH_SERVER(lines_are_answered_in_order),
		WITH_SERVER(end_of_input_still_gets_its_answers),
		WITH_SERVER(peer_is_known),
		WITH_SERVER(longest_line_is_taken),
		WITH_SERVER(longer_line_is_refused_and_ends),
		WITH_SERVER(no_answer_ends_the_connection),
		WITH_SERVER(slow_reader_holds_up_nobody),
		WITH_SERVER(flood_of_requests_waits_its_turn),
		WITH_SERVER(idle_connections_give_way),
		WITH_SERVER(vanishing_reader_is_forgotten),
		WITH_SERVER(socket_is_for_owner_and_group),
		WITH_SERVER(only_a_stale_socket_is_replaced),
		cmocka_unit_test(path_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

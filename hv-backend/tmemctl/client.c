/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.c - ask the daemon one thing: connect, send a line, read a line.
 *
 * Owns:    the connection and what is printed when it fails.
 * Must not: wait for ever for a daemon that is stopped.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "complain.h"

#define CLIENT_TIMEOUT_S	30

/* EXIT_OK, EXIT_NO_DAEMON or EXIT_DENIED with the reason printed; *out is a connected stream. */
static int daemon_connect(const char *path, FILE **out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = CLIENT_TIMEOUT_S };
	int fd, code;

	if (strlen(path) >= sizeof(address.sun_path))
		return complain(EXIT_NO_DAEMON, "%s: longer than a socket's path may be", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		code = errno == EACCES ? EXIT_DENIED : EXIT_NO_DAEMON;
		complain(code, code == EXIT_DENIED ? "%s: %s" : "no daemon at %s: %s", path,
			 strerror(errno));
		if (fd >= 0)
			close(fd);
		return code;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	*out = fdopen(fd, "r+");
	if (!*out) {
		complain(EXIT_NO_DAEMON, "%s", strerror(errno));
		close(fd);
		return EXIT_NO_DAEMON;
	}
	return EXIT_OK;
}

/* One line each way.  EXIT_OK or EXIT_NO_DAEMON; *line is from malloc. */
static int exchange(FILE *stream, const char *text, char **line)
{
	size_t size = 0;

	/* A daemon that closes early is told by what it sent, not by SIGPIPE. */
	if (send(fileno(stream), text, strlen(text), MSG_NOSIGNAL) < 0 ||
	    send(fileno(stream), "\n", 1, MSG_NOSIGNAL) < 0)
		return complain(EXIT_NO_DAEMON, "the daemon went away: %s", strerror(errno));
	errno = 0;
	if (getline(line, &size, stream) > 0)
		return EXIT_OK;
	if (errno == EAGAIN)
		return complain(EXIT_NO_DAEMON, "the daemon does not answer");
	return complain(EXIT_NO_DAEMON, "the daemon closed the connection");
}

/* The daemon's own word: EXIT_OK, or the code of its error. */
static int answer_check(json_t *answer)
{
	json_int_t code = json_integer_value(json_object_get(answer, "code"));
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (json_is_true(json_object_get(answer, "ok")))
		return EXIT_OK;
	if (code != EXIT_USAGE && code != EXIT_NO_GUEST && code != EXIT_DENIED)
		code = EXIT_FAILED;
	return complain((int)code, "%s", error ? error : "the daemon's answer is not understood");
}

int client_ask(const char *socket, json_t *request, json_t **answer)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	char *line = NULL;
	FILE *stream = NULL;
	int code;

	json_decref(request);
	if (!text)
		return complain(EXIT_FAILED, "out of memory");
	code = daemon_connect(socket, &stream);
	if (code != EXIT_OK) {
		free(text);
		return code;
	}
	code = exchange(stream, text, &line);
	fclose(stream);
	free(text);
	if (code == EXIT_OK) {
		*answer = json_loads(line, 0, NULL);
		code = answer_check(*answer);
		if (code != EXIT_OK)
			json_decref(*answer);
	}
	free(line);
	return code;
}

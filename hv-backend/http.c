// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * http.c - libmicrohttpd on the loop.
 *
 * Owns:    up to two of the library's daemons, one a listening socket, each with a
 *          timer for its connections' time-outs.
 * Must not: wait.  A client that reads slowly costs a connection of CONNECTIONS
 *          until its time is up.
 */
#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>


#define CONNECTIONS	2048u		/* idle ones cost little and end by their time-out */
#define TIMEOUT_S	10u
#define MEMORY_MAX	(16u << 10)	/* of a connection, headers and all */

struct listener {
	struct MHD_Daemon *daemon;	/* NULL: not used */
	struct loop_source *source, *timer;
	int timer_fd;
};

struct http {
	http_fn *fn;
	void *arg;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct listener listener[2];
};

/* ---- answers ----------------------------------------------------------- */

/* text from malloc if freed is set; it is taken over. */
static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, char *text, bool freed,
			      const char *type)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
		strlen(text), text, freed ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result done;

	if (!r) {
		if (freed)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	done = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, char *text)
{
	return answer(c, status, text, false, "text/plain");
}

static enum MHD_Result request(void *arg, struct MHD_Connection *c, const char *url,
			       const char *method, const char *version, const char *data,
			       size_t *size, void **state)
{
	static char not_found[] = "no such page\n", no_method[] = "GET and HEAD only\n";
	static char no_memory[] = "out of memory\n";
	const struct http *h = arg;
	const char *type = NULL;
	char *text;

	(void)version;
	(void)data;
	(void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		/* What it wants to send is not read, so the connection ends here. */
		*size = 0;
		return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, no_method);
	}
	text = h->fn(h->arg, url, &type);
	if (text)
		return answer(c, MHD_HTTP_OK, text, true, type);
	if (type)
		return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, no_memory);
	return refuse(c, MHD_HTTP_NOT_FOUND, not_found);
}

/* ---- on the loop ------------------------------------------------------- */

static void listener_run(struct listener *l)
{
	struct itimerspec when = { .it_value = { 0, 0 } };
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(l->daemon);
	if (MHD_get_timeout(l->daemon, &ms) == MHD_YES) {
		when.it_value.tv_sec = (time_t)(ms / 1000);
		when.it_value.tv_nsec = (long)(ms % 1000) * 1000000 + 1;
	}
	timerfd_settime(l->timer_fd, 0, &when, NULL);
}

static void listener_ready(void *arg, uint32_t events)
{
	(void)events;
	listener_run(arg);
}

static void timer_ready(void *arg, uint32_t events)
{
	struct listener *l = arg;
	uint64_t count;

	(void)events;
	if (read(l->timer_fd, &count, sizeof(count)) == sizeof(count))
		listener_run(l);
}

static void listener_stop(struct listener *l)
{
	if (!l->daemon)
		return;
	if (l->source)
		loop_remove(l->source);
	if (l->timer)
		loop_remove(l->timer);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
	MHD_stop_daemon(l->daemon);
	l->daemon = NULL;
}

/* Takes fd over. */
static int listener_start(struct listener *l, struct loop *loop, struct http *h, int fd)
{
	const union MHD_DaemonInfo *info;
	int err;

	l->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, request, h,
				     MHD_OPTION_LISTEN_SOCKET, fd,
				     MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
				     MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
				     MHD_OPTION_END);
	if (!l->daemon) {
		close(fd);
		return -EIO;
	}
	info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = l->timer_fd < 0 ? -errno
			      : loop_add(loop, info->epoll_fd, EPOLLIN, listener_ready, l, &l->source);
	if (!err)
		err = loop_add(loop, l->timer_fd, EPOLLIN, timer_ready, l, &l->timer);
	if (err)
		listener_stop(l);
	return err;
}

/* ---- sockets ----------------------------------------------------------- */

/* The descriptor, or -errno. */
static int socket_listen(const struct sockaddr *address, socklen_t size)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address, size) || listen(fd, SOMAXCONN)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int unix_listen(struct http *h, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* Only a socket is ever removed: a path given by mistake keeps its file. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	mask = umask(0117);
	fd = socket_listen((struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (fd >= 0)
		memcpy(h->path, path, strlen(path) + 1);
	return fd;
}

static int port_listen(unsigned short port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};

	return socket_listen((struct sockaddr *)&address, sizeof(address));
}

int http_create(struct http **out, struct loop *l, const char *path, unsigned short port,
		http_fn *fn, void *arg)
{
	struct http *h = calloc(1, sizeof(*h));
	int fd, err;

	if (!h)
		return -ENOMEM;
	h->fn = fn;
	h->arg = arg;
	fd = unix_listen(h, path);
	err = fd < 0 ? fd : listener_start(&h->listener[0], l, h, fd);
	if (!err && port) {
		fd = port_listen(port);
		err = fd < 0 ? fd : listener_start(&h->listener[1], l, h, fd);
	}
	if (err) {
		http_destroy(h);
		return err;
	}
	*out = h;
	return 0;
}

void http_destroy(struct http *h)
{
	listener_stop(&h->listener[0]);
	listener_stop(&h->listener[1]);
	if (h->path[0])
		unlink(h->path);
	free(h);
}

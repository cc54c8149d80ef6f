// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * http.c - libmicrohttpd on the loop.
 *
 * Owns:    up to two of the library's daemons, one a listening socket, each with a
 *          timer for its connections' time-outs.
 * How:     the library bounds the size of headers and ends a connection that is
 *          silent for silent_s.  A client that sends a byte now and then is not
 *          silent, so each connection also has request_s from its start or its last
 *          answer to complete a request; and when there are HTTP_CONNECTIONS, the
 *          one that has gone longest without makes room.
 * Must not: wait.  A client that reads slowly costs one connection until its time
 *          is up.
 *
 * Every answer forbids the browser all that the dashboard does not need: the page
 * can load nothing from elsewhere, run nothing inline, be framed by nobody.
 *
 * #syscalls: accept4 bind chown epoll_create1 epoll_ctl epoll_wait eventfd2 getsockname getsockopt
 * #syscalls: listen poll recvfrom sendfile sendmsg sendto setsockopt shutdown socket
 * #syscalls: timerfd_create timerfd_settime umask unlink
 */
#include "http.h"
#include "sent.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX	(HTTP_CONNECTIONS + 64u)	/* those on their way out with them */
#define SILENT_S	10u
#define REQUEST_S	20u
#define LOOK_MS		1000u		/* between looks at request_s */
#define MEMORY_MAX	(16u << 10)	/* of a connection, headers and all */

/* One a connection of the library's; ordered in its listener by since. */
struct visitor {
	TAILQ_ENTRY(visitor) link;
	int fd;
	time_t since;			/* its start or its last answer */
	bool ended;			/* shut down and off the list, still the library's */
};

TAILQ_HEAD(visitors, visitor);

/* count = length of visitors */
struct listener {
	time_t request_s;
	struct MHD_Daemon *daemon;	/* NULL: not used */
	struct loop_source *source, *timer;
	int timer_fd;
	struct visitors visitors;	/* the longest without an answer first */
	unsigned count;
};

struct http {
	struct http_config config;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct listener listener[2];
};

/* ---- visitors ---------------------------------------------------------- */

static time_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* The library reads the end of the stream and closes. */
static void visitor_end(struct listener *l, struct visitor *v)
{
	shutdown(v->fd, SHUT_RDWR);
	v->ended = true;
	TAILQ_REMOVE(&l->visitors, v, link);
	l->count--;
}

static void visitor_add(struct listener *l, struct MHD_Connection *c, void **state)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct visitor *v = calloc(1, sizeof(*v));

	*state = v;
	if (!v)
		return;
	v->fd = info->connect_fd;
	v->since = now_s();
	if (l->count == HTTP_CONNECTIONS)
		visitor_end(l, TAILQ_FIRST(&l->visitors));
	TAILQ_INSERT_TAIL(&l->visitors, v, link);
	l->count++;
}

static void visitor_remove(struct listener *l, struct visitor *v)
{
	if (!v)
		return;
	if (!v->ended) {
		TAILQ_REMOVE(&l->visitors, v, link);
		l->count--;
	}
	free(v);
}

static void connection_changed(void *arg, struct MHD_Connection *c, void **state,
			       enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		visitor_add(arg, c, state);
	else
		visitor_remove(arg, *state);
}

static void visitors_look(struct listener *l)
{
	time_t now = now_s();
	struct visitor *v;

	while ((v = TAILQ_FIRST(&l->visitors)) && now - v->since >= l->request_s)
		visitor_end(l, v);
}

/* ---- answers ----------------------------------------------------------- */

static const struct {
	const char *name, *value;
} always[] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "Content-Security-Policy",
	  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
	  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cache-Control", "no-store" },
};

/* r->text is taken over. */
static enum MHD_Result answer(struct MHD_Connection *c, struct http_response *r)
{
	struct MHD_Response *m;
	enum MHD_Result done;

	if (r->text)
		m = MHD_create_response_from_buffer(strlen(r->text), r->text,
						    MHD_RESPMEM_MUST_FREE);
	else
		m = MHD_create_response_from_buffer(r->size, (void *)(uintptr_t)r->bytes,
						    MHD_RESPMEM_PERSISTENT);
	if (!m) {
		free(r->text);
		return MHD_NO;
	}
	MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		MHD_add_response_header(m, always[i].name, always[i].value);
	if (r->cookie[0])
		MHD_add_response_header(m, MHD_HTTP_HEADER_SET_COOKIE, r->cookie);
	if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(m, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST");
	done = MHD_queue_response(c, r->status, m);
	MHD_destroy_response(m);
	return done;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, const char *why)
{
	struct http_response r = {
		.status = status, .type = "text/plain", .bytes = why, .size = strlen(why),
	};

	return answer(c, &r);
}

/* ---- requests ---------------------------------------------------------- */

/* used <= HTTP_BODY_MAX, or too_long */
struct upload {
	size_t used;
	bool too_long;
	char body[];
};

static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static bool is_method(const char *method, const char *one)
{
	return !strcmp(method, one);
}

/* The first call of a request: its headers are there, its body is not. */
static enum MHD_Result begin(struct MHD_Connection *c, const char *method, struct upload **out)
{
	const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	bool post = is_method(method, MHD_HTTP_METHOD_POST);
	struct upload *u;

	/* What is refused here is not read, so the connection ends with it. */
	if (!post && !is_method(method, MHD_HTTP_METHOD_GET) &&
	    !is_method(method, MHD_HTTP_METHOD_HEAD))
		return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD and POST only\n");
	if (length && strtoull(length, NULL, 10) > HTTP_BODY_MAX)
		return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "longer than 16 KiB\n");
	u = malloc(sizeof(*u) + (post ? HTTP_BODY_MAX : 0));
	if (!u)
		return MHD_NO;
	u->used = 0;
	u->too_long = false;
	*out = u;
	return MHD_YES;
}

static void body_add(struct upload *u, const char *data, size_t size, bool post)
{
	if (!post || size > HTTP_BODY_MAX - u->used)
		u->too_long = true;
	if (u->too_long)
		return;
	memcpy(u->body + u->used, data, size);
	u->used += size;
}

static enum MHD_Result whole(struct http *h, struct MHD_Connection *c, const char *url,
			     const char *method, const struct upload *u)
{
	struct http_request q = {
		.method = method, .path = url, .body = u->body, .body_size = u->used,
		.host = header(c, MHD_HTTP_HEADER_HOST),
		.origin = header(c, MHD_HTTP_HEADER_ORIGIN),
		.cookie = header(c, MHD_HTTP_HEADER_COOKIE),
		.csrf = header(c, "X-Tmemd-Csrf"),
		.type = header(c, MHD_HTTP_HEADER_CONTENT_TYPE),
	};
	struct http_response r = { .status = 0 };

	if (u->too_long)
		return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "longer than 16 KiB\n");
	h->config.fn(h->config.arg, &q, &r);
	if (!r.text && !r.bytes)
		return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
	return answer(c, &r);
}

static enum MHD_Result request(void *arg, struct MHD_Connection *c, const char *url,
			       const char *method, const char *version, const char *data,
			       size_t *size, void **state)
{
	struct upload *u = *state;

	(void)version;
	if (!u) {
		*size = 0;
		return begin(c, method, (struct upload **)state);
	}
	if (*size) {
		body_add(u, data, *size, is_method(method, MHD_HTTP_METHOD_POST));
		*size = 0;
		return MHD_YES;
	}
	return whole(arg, c, url, method, u);
}

static void request_ended(void *arg, struct MHD_Connection *c, void **state,
			  enum MHD_RequestTerminationCode why)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct visitor *v = info->socket_context;
	struct listener *l = arg;

	free(*state);
	*state = NULL;
	if (!v || v->ended || why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		return;
	v->since = now_s();
	TAILQ_REMOVE(&l->visitors, v, link);
	TAILQ_INSERT_TAIL(&l->visitors, v, link);
}

/* ---- on the loop ------------------------------------------------------- */

static void listener_run(struct listener *l)
{
	struct itimerspec when = { .it_value = { 0, 0 } };
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(l->daemon);
	visitors_look(l);
	if (MHD_get_timeout(l->daemon, &ms) != MHD_YES || ms > LOOK_MS)
		ms = LOOK_MS;
	if (!TAILQ_EMPTY(&l->visitors)) {
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

	if (listen(fd, SOMAXCONN)) {
		err = -errno;
		close(fd);
		return err;
	}
	TAILQ_INIT(&l->visitors);
	l->request_s = h->config.request_s;
	l->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, request, h,
				     MHD_OPTION_LISTEN_SOCKET, fd,
				     MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				     MHD_OPTION_CONNECTION_TIMEOUT, h->config.silent_s,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
				     MHD_OPTION_NOTIFY_CONNECTION, connection_changed, l,
				     MHD_OPTION_NOTIFY_COMPLETED, request_ended, l,
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

/* A socket bound to address, or -errno. */
static int socket_bind(const struct sockaddr *address, socklen_t size)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address, size)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int unix_bind(struct http *h, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* Only a socket is ever removed: a path given by mistake keeps its file. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	mask = umask(0117);
	fd = socket_bind((struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (fd < 0)
		return fd;
	memcpy(h->path, path, strlen(path) + 1);
	sent_refuse(fd);
	if (chown(path, (uid_t)-1, h->config.group) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int port_bind(unsigned short port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};

	return socket_bind((struct sockaddr *)&address, sizeof(address));
}

int http_create(struct http **out, struct loop *l, const struct http_config *c)
{
	struct http *h = calloc(1, sizeof(*h));
	int fd, err;

	if (!h)
		return -ENOMEM;
	h->config = *c;
	if (!c->silent_s)
		h->config.silent_s = SILENT_S;
	if (!c->request_s)
		h->config.request_s = REQUEST_S;
	fd = unix_bind(h, c->path);
	err = fd < 0 ? fd : listener_start(&h->listener[0], l, h, fd);
	if (!err && c->port) {
		fd = port_bind(c->port);
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

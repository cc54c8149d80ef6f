/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * http.h - HTTP to tmemd: a unix socket, and 127.0.0.1 if wished.
 *
 * Owns:    the listening sockets, connections, their bounds in number, size and
 *          time (libmicrohttpd does the parsing).
 * How:     the library's epoll descriptor is a source of the loop, so a request is
 *          answered on the loop's thread, where everything may be read.
 * Must not: know what a path means or who may do what (web.h does).
 */
#ifndef HV_HTTP_H
#define HV_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

#define HTTP_BODY_MAX	16384u	/* bytes of a request's body */
#define HTTP_COOKIE_MAX	160u

struct http;

/* A whole request.  A header that was not sent is NULL. */
struct http_request {
	const char *method, *path;	/* path: decoded, without its query */
	const char *host, *origin, *cookie, *csrf, *type;
	const char *body;		/* not ended by a NUL */
	size_t body_size;		/* <= HTTP_BODY_MAX */
};

/* text is from malloc and taken over; or bytes of size, which stay as they are. */
struct http_response {
	unsigned status;
	const char *type;
	char *text;
	const void *bytes;
	size_t size;
	char cookie[HTTP_COOKIE_MAX];	/* Set-Cookie; "": none */
};

/* Fill in *r, which is all zero.  Without text and bytes: there was no memory. */
typedef void http_fn(void *arg, const struct http_request *q, struct http_response *r);

/*
 * Listen on the socket file path, mode 0660, and on 127.0.0.1:port (0: not).
 * -errno of what failed.
 */
int  http_create(struct http **out, struct loop *l, const char *path, unsigned short port,
		 http_fn *fn, void *arg);
void http_destroy(struct http *h);

#endif

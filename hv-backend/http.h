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
#include <sys/types.h>

#include "loop.h"

#define HTTP_BODY_MAX	16384u	/* bytes of a request's body */
#define HTTP_COOKIE_MAX	160u
#define HTTP_CONNECTIONS	1024u	/* of one listening socket */

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

struct http_config {
	const char *path;		/* of the socket file, made mode 0660 */
	gid_t group;			/* its group; (gid_t)-1: the daemon's own */
	unsigned short port;		/* of 127.0.0.1; 0: not there */
	unsigned silent_s, request_s;	/* seconds a connection has; 0: 10 and 20 */
	http_fn *fn;
	void *arg;
};

/* -errno of what failed. */
int  http_create(struct http **out, struct loop *l, const struct http_config *c);
void http_destroy(struct http *h);

#endif

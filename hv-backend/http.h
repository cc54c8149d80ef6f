/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * http.h - what tmemd says over HTTP: a unix socket, and 127.0.0.1 if wished.
 *
 * Owns:    the listening sockets, connections, their bounds (libmicrohttpd).
 * How:     the library's epoll descriptor is a source of the loop, so a request is
 *          answered on the loop's thread, where everything may be read.
 * Must not: change anything: there is no method but GET and HEAD.
 */
#ifndef HV_HTTP_H
#define HV_HTTP_H

#include "loop.h"

struct http;

/*
 * The body for a path, from malloc, and its *type; NULL with *type set: no memory,
 * NULL without: no such path.
 */
typedef char *http_fn(void *arg, const char *path, const char **type);

/*
 * Listen on the socket file path, mode 0660, and on 127.0.0.1:port (0: not).
 * -errno of what failed.
 */
int  http_create(struct http **out, struct loop *l, const char *path, unsigned short port,
		 http_fn *fn, void *arg);
void http_destroy(struct http *h);

#endif

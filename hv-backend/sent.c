/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sent.c - received to be closed.
 *
 * #syscalls: close recvmsg setsockopt shutdown
 */
#include "sent.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define FDS_MAX	253u	/* the kernel's bound for a message */
#define DRAIN_MAX 1024u	/* reads: no sender is followed for ever */

void sent_disarm(int fd)
{
	const struct linger off = { .l_onoff = 0 };

	/* What is no socket says so, and has no such wait. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
}

void sent_refuse(int socket)
{
	const int off = 0;

	setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

void sent_each(struct msghdr *msg, void (*fn)(void *arg, int fd), void *arg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			sent_disarm(fd);
			fn(arg, fd);
		}
	}
}

static void let_go(void *arg, int fd)
{
	(void)arg;
	close(fd);
}

ssize_t sent_recv(int socket, void *to, size_t len)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		sent_each(&msg, let_go, NULL);
	return n;
}

void sent_drop(int fd)
{
	char waste[4096];

	sent_disarm(fd);
	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		ssize_t n = sent_recv(fd, waste, sizeof(waste));

		if (!n || (n < 0 && errno != EINTR))
			break;
	}
	close(fd);
}

void sent_close(int socket)
{
	/* Nothing more can come, so what there is comes to an end. */
	shutdown(socket, SHUT_RDWR);
	sent_drop(socket);
}

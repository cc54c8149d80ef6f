/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer.c - credentials and pidfds of a socket's other end.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peer.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int pidfd_of(int socket, pid_t pid)
{
	int fd = -1;
	socklen_t len = sizeof(fd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
		return fd;
	/*
	 * Kernels before 6.5.  A peer that died since it connected may have left its
	 * number to another process; then the connection is at its end too, and what
	 * it leaves behind is nothing, as it never said a word.
	 */
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

struct peer peer_of(int socket)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);
	struct peer p;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		cred.pid = 0;
	p.pid = cred.pid;
	/*
	 * Without a number there is nothing to know it by when it comes back: what
	 * can say when one of two such processes exits cannot tell them apart.
	 */
	p.pidfd = cred.pid > 0 ? pidfd_of(socket, cred.pid) : -1;
	return p;
}

bool peer_has_exited(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

bool peer_is_over(int socket)
{
	struct pollfd p = { .fd = socket, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_inbox.c - looking, taking, consuming.
 *
 * #syscalls: getsockopt recvfrom recvmsg setsockopt
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "sent.h"
#include "vhost_inbox.h"

#define CLOSED "connection closed by the VMM"

union fds_room {
	char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
	struct cmsghdr align;
};

static int fail(const char **why, int err, const char *text)
{
	*why = text;
	return err;
}

static void message_clear(struct vhost_inbox *b)
{
	while (b->m.fds) {
		int fd = b->m.fd[--b->m.fds];

		if (fd >= 0)
			sent_drop(fd);
	}
	b->got = 0;
}

struct fds_kept {
	struct vhost_message *m;
	bool over;		/* it has no room for another */
};

static void fd_keep(void *arg, int fd)
{
	struct fds_kept *k = arg;

	if (k->m->fds < VHOST_USER_MAX_FDS) {
		k->m->fd[k->m->fds++] = fd;
	} else {
		sent_drop(fd);
		k->over = true;
	}
}

static int fds_keep(struct vhost_inbox *b, struct msghdr *msg, const char **why)
{
	struct fds_kept k = { .m = &b->m, .over = msg->msg_flags & MSG_CTRUNC };

	sent_each(msg, fd_keep, &k);
	return k.over ? fail(why, -EPROTO, "too many descriptors in a message") : 0;
}

/*
 * Read up to want bytes into to; of a message that stays, without descriptors.
 * Returns how many, 0 if none are there now, or -errno.
 */
static ssize_t take(struct vhost_inbox *b, void *to, size_t want, const char **why)
{
	union fds_room control;
	struct iovec iov = { .iov_base = to, .iov_len = want };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;
	int err;

	if (!b->told) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	n = recvmsg(b->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (b->told ? MSG_PEEK : 0));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return fail(why, -ECONNRESET, b->got ? CLOSED " in the middle of a message" : CLOSED);
	err = b->told ? 0 : fds_keep(b, &msg, why);
	return err ? err : n;
}

/* Does the message say that descriptors are beside it? */
static bool fds_announced(const struct vhost_message *m)
{
	switch (m->h.request) {
	case VHOST_USER_SET_MEM_TABLE:
		return m->p.mem_table.count;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return !(m->p.u64 & VHOST_USER_VRING_NOFD);
	case VHOST_USER_SET_BACKEND_REQ_FD:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_SET_INFLIGHT_FD:
		return true;
	default:
		return false;
	}
}

static int peek_from(struct vhost_inbox *b, int offset)
{
	return setsockopt(b->socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) ? -errno : 0;
}

/*
 * Look at the descriptors of the message that the socket begins with.  The kernel
 * shows those of the next one where it has none of its own, so this is for messages
 * that announce them; a VMM that then sends none deceives itself.
 */
static int fds_look(struct vhost_inbox *b, const char **why)
{
	union fds_room control;
	char first;
	struct iovec iov = { .iov_base = &first, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	if (!b->told || !fds_announced(&b->m))
		return 0;
	if (peek_from(b, 0) ||
	    recvmsg(b->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_PEEK) != 1 ||
	    peek_from(b, (int)b->got))
		return fail(why, -EPROTO, "descriptors cannot be read");
	return fds_keep(b, &msg, why);
}

int vhost_inbox_take(struct vhost_inbox *b, const char **why)
{
	const size_t head = sizeof(b->m.h);
	ssize_t n;
	int err;

	while (b->got < head) {
		n = take(b, (uint8_t *)&b->m.h + b->got, head - b->got, why);
		if (n <= 0)
			return (int)n;
		b->got += (size_t)n;
		if (b->got < head)
			continue;
		err = b->header_check(b->arg, why);
		if (err)
			return err;
		memset(&b->m.p, 0, sizeof(b->m.p));
	}
	while (b->got < head + b->m.h.size) {
		n = take(b, b->m.p.raw + (b->got - head), head + b->m.h.size - b->got, why);
		if (n <= 0)
			return (int)n;
		b->got += (size_t)n;
	}
	err = fds_look(b, why);
	return err ? err : 1;
}

/* Take bytes that were looked at out of the socket. */
static int consume(struct vhost_inbox *b, size_t bytes)
{
	char waste[512];

	while (bytes) {
		size_t want = bytes < sizeof(waste) ? bytes : sizeof(waste);
		ssize_t n = sent_recv(b->socket, waste, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -ECONNRESET;
		bytes -= (size_t)n;
	}
	return 0;
}

int vhost_inbox_consume(struct vhost_inbox *b, const char **why)
{
	int err = 0;

	TMEM_FAULT("message-answered");
	if (b->told) {
		err = consume(b, b->got);
		TMEM_FAULT("message-consumed");
		atomic_store_explicit(b->told, 0, memory_order_release);
	}
	message_clear(b);
	return err ? fail(why, err, CLOSED) : 0;
}

int vhost_inbox_open(struct vhost_inbox *b)
{
	if (!b->told)
		return 0;
	atomic_store_explicit(b->told, 0, memory_order_release);
	return peek_from(b, 0);
}

int vhost_inbox_resume(struct vhost_inbox *b)
{
	socklen_t len = sizeof(int);
	int looked = 0, err = 0;

	if (getsockopt(b->socket, SOL_SOCKET, SO_PEEK_OFF, &looked, &len))
		return -errno;
	if (atomic_load_explicit(b->told, memory_order_acquire) && looked > 0)
		err = consume(b, (size_t)looked);
	return err ? err : vhost_inbox_open(b);
}

void vhost_inbox_close(struct vhost_inbox *b)
{
	message_clear(b);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost.c - vhost-user messages, seen from the VMM.
 *
 * Owns:    framing: header, payload, descriptors; waiting for an answer.
 * How:     strictly one message at a time; every wait is bounded by
 *          config.timeout_ms, a closed socket is -ECONNRESET.
 * Must not: know what a message means.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "front.h"

static int send_all(int fd, struct msghdr *m)
{
	/* Messages are far smaller than a socket buffer: they go whole or not. */
	ssize_t n = sendmsg(fd, m, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? -ECONNRESET : -errno;
	return 0;
}

int front_vhost_send(struct front *f, uint32_t request, uint32_t flags,
		     const void *payload, uint32_t size, const int *fds, unsigned nfds)
{
	struct vhost_user_header h = { .request = request, .flags = flags, .size = size };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov[2] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)payload, .iov_len = payload ? size : 0 },
	};
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	if (nfds > VHOST_USER_MAX_FDS)
		return -EINVAL;
	if (nfds) {
		struct cmsghdr *c;

		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	return send_all(f->socket, &m);
}

static int read_exactly(struct front *f, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		struct pollfd fd = { .fd = f->socket, .events = POLLIN };
		int ready = poll(&fd, 1, (int)f->config.timeout_ms);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return -errno;
		if (ready == 0)
			return -ETIMEDOUT;
		n = recv(f->socket, p, len, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int front_vhost_recv(struct front *f, struct vhost_user_header *h, void *payload, uint32_t *size)
{
	uint8_t bytes[VHOST_USER_MAX_PAYLOAD];
	int r;

	*h = (struct vhost_user_header){ 0 };
	r = read_exactly(f, h, sizeof(*h));
	if (r)
		return r;
	if (h->size > sizeof(bytes))
		return -EPROTO;
	r = read_exactly(f, bytes, h->size);
	if (r)
		return r;
	if (*size > h->size)
		*size = h->size;
	memcpy(payload, bytes, *size);
	return 0;
}

/* The answer to request: a reply of exactly eight bytes. */
static int recv_u64(struct front *f, uint32_t request, uint64_t *value)
{
	struct vhost_user_header h;
	uint32_t size = sizeof(*value);
	int r = front_vhost_recv(f, &h, value, &size);

	if (r)
		return r;
	if (h.request != request || h.size != sizeof(*value) ||
	    h.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY))
		return -EPROTO;
	return 0;
}

int front_vhost_set(struct front *f, uint32_t request, const void *payload, uint32_t size,
		    const int *fds, unsigned nfds)
{
	bool ack = f->protocol_features & (1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK);
	uint32_t flags = VHOST_USER_VERSION | (ack ? VHOST_USER_NEED_REPLY : 0);
	uint64_t failed;
	int r = front_vhost_send(f, request, flags, payload, size, fds, nfds);

	if (r || !ack)
		return r;
	r = recv_u64(f, request, &failed);
	if (r)
		return r;
	return failed ? -EPROTO : 0;
}

int front_vhost_set_u64(struct front *f, uint32_t request, uint64_t value)
{
	return front_vhost_set(f, request, &value, sizeof(value), NULL, 0);
}

int front_vhost_get_u64(struct front *f, uint32_t request, uint64_t *value)
{
	int r = front_vhost_send(f, request, VHOST_USER_VERSION, NULL, 0, NULL, 0);

	return r ? r : recv_u64(f, request, value);
}

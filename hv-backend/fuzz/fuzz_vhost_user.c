/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_vhost_user.c - any bytes, in any pieces, with any descriptors, as the VMM's
 * end of a vhost-user connection; a worker and the core are behind it.
 *
 * An input is a list of pieces: the number of descriptors n, n bytes that choose
 * their kinds, a length l, l bytes.  Each piece is sent and taken in before the
 * next.  Whatever happens, no descriptor may be left open at the end.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pieces.h"
#include "sigbus.h"
#include "vhost_backend.h"
#include "vhost_user.h"
#include "worker.h"

#define QUEUES	2u
#define FDS_MAX	(VHOST_USER_MAX_FDS + 2u)
#define BYTES	(256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct tmem_client *client;
	struct worker *worker;
	int kind[4];			/* what pieces may carry */
	struct keep_guest kept;
	struct queue_set set;
};

static struct host *host_get(void)
{
	static struct host *h;
	struct tmem *core;
	int pipes[2];

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	fuzz_require(h != NULL);
	fuzz_require(sigbus_init() == 0);
	core = fuzz_core(8u << 20);
	fuzz_require(tmem_client_create(core, "guest", &h->client) == 0);
	fuzz_require(worker_create(&h->worker, core, 10) == 0);
	h->kind[0] = memfd_create("guest", MFD_CLOEXEC);
	fuzz_require(ftruncate(h->kind[0], BYTES) == 0);
	h->kind[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_require(pipe(pipes) == 0);
	h->kind[2] = pipes[1];
	h->kind[3] = pipes[0];
	return h;
}

/* Send one piece; 0 once there is none left. */
static int piece_send(const struct host *h, int socket, struct fuzz_input *in)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control = { { 0 } };
	unsigned fds = fuzz_byte(in) % (FDS_MAX + 1);
	int fd[FDS_MAX];
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (unsigned i = 0; i < fds; i++)
		fd[i] = h->kind[fuzz_byte(in) % 4];
	iov.iov_len = fuzz_byte(in);
	if (iov.iov_len > (size_t)(in->end - in->at))
		iov.iov_len = (size_t)(in->end - in->at);
	if (!iov.iov_len)
		return 0;
	iov.iov_base = (void *)(uintptr_t)in->at;
	in->at += iov.iov_len;
	if (fds) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fds);
		memcpy(CMSG_DATA(c), fd, sizeof(int) * fds);
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

static uint64_t life(void *arg)
{
	(void)arg;
	return 1;
}

static void resumed(void *arg, bool fresh, uint64_t stamp)
{
	(void)arg;
	(void)fresh;
	(void)stamp;
}

static int inflight_file = -1;

/* All that a device may have. */
static const struct vhost_device device = {
	.features = 1u << 9,
	.config = "configuration",
	.config_size = 13,
	.life = life,
	.resumed = resumed,
	.inflight_file = &inflight_file,
};

static void converse(struct host *h, const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct vhost_backend *v;
	char answers[4096];
	const char *why = NULL;
	int pair[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	fuzz_require(vhost_backend_create(&v, &h->set, &device, pair[1]) == 0);
	while (piece_send(h, pair[0], &in)) {
		if (vhost_backend_input(v, &why)) {
			fuzz_require(why && *why);
			break;
		}
		while (recv(pair[0], answers, sizeof(answers), MSG_DONTWAIT) > 0)
			;
	}
	vhost_backend_destroy(v);
	close(pair[0]);
	if (inflight_file >= 0)
		close(inflight_file);
	inflight_file = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host *h = host_get();
	struct worker *const worker[QUEUES] = { h->worker, h->worker };
	int before = fuzz_lowest_fd();

	memset(&h->kept, 0, sizeof(h->kept));
	queue_set_init(&h->set, QUEUES, worker, h->client, &h->kept, NULL, fuzz_ignore, NULL);
	converse(h, data, size);
	fuzz_require(queue_set_running(&h->set) == 0);
	fuzz_require(h->set.mem.count == 0);
	session_end(&h->set.session);
	session_forget(&h->set.session);
	queue_set_fini(&h->set);
	fuzz_require(fuzz_lowest_fd() == before);
	return 0;
}

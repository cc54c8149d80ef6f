/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c - the control socket.
 *
 * Owns:    connections and their buffers; all of it on the loop's thread.
 * How:     a connection is in one of two states: it has unsent output, and then
 *          only writing goes on; or it has none, and then lines are read.  One
 *          line is answered a turn of the loop, so a client that sends many at
 *          once waits its turn, and one that does not read its answers is not
 *          read from either.
 *          Connections stand in a list by their last request.  When there are
 *          CONTROL_CONNECTIONS, a new one takes the place of the one silent
 *          longest: idle connections can lock nobody out.
 * Must not: block; let a connection hold more than one line and one answer.
 *
 * #syscalls: accept4 bind chmod chown close getsockopt listen openat recvfrom sendto shutdown
 * #syscalls: socket umask unlink
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "sent.h"

/*
 * in_used <= CONTROL_LINE_MAX
 * out_sent < out_length  <=>  out is not NULL
 * waits for EPOLLOUT  <=>  out, or a whole line is in in[]; else for EPOLLIN
 */
struct connection {
	TAILQ_ENTRY(connection) link;
	struct control *control;
	struct loop_source *source;
	struct control_peer peer;
	int fd;
	bool ending;		/* nothing more is read; closed when out is sent */
	char *out;
	size_t out_sent, out_length;
	size_t in_used;
	char in[CONTROL_LINE_MAX];
};

TAILQ_HEAD(connections, connection);

/* count = length of all <= CONTROL_CONNECTIONS */
struct control {
	struct loop *loop;
	struct loop_source *source;
	control_fn *fn;
	void *arg;
	int fd;
	int spare_fd;		/* given up to accept and close when descriptors run out */
	unsigned count;
	struct connections all;	/* the one silent longest first */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void connection_close(struct connection *n)
{
	loop_remove(n->source);
	TAILQ_REMOVE(&n->control->all, n, link);
	n->control->count--;
	sent_close(n->fd);
	free(n->out);
	free(n);
}

/* ---- one connection ---------------------------------------------------- */

/* Send what there is to send.  0: all or as much as fits now; else it is broken. */
static int output_send(struct connection *n)
{
	while (n->out) {
		ssize_t sent = send(n->fd, n->out + n->out_sent, n->out_length - n->out_sent,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		n->out_sent += (size_t)sent;
		if (n->out_sent == n->out_length) {
			free(n->out);
			n->out = NULL;
		}
	}
	return 0;
}

/* text (from malloc) and its newline become the output.  -ENOMEM. */
static int output_set(struct connection *n, char *text)
{
	size_t length = text ? strlen(text) : 0;
	char *line = text ? realloc(text, length + 1) : NULL;

	if (!line) {
		free(text);
		return -ENOMEM;
	}
	/* The newline takes the place of the NUL: the length says where it ends. */
	line[length] = '\n';
	n->out = line;
	n->out_sent = 0;
	n->out_length = length + 1;
	return 0;
}

/* Take the first line out of in[] and answer it.  0, -EAGAIN: there is none; -ENOMEM. */
static int line_answer(struct connection *n)
{
	char *end = memchr(n->in, '\n', n->in_used);
	size_t length;
	char *answer;

	if (!end)
		return -EAGAIN;
	length = (size_t)(end - n->in);
	answer = n->control->fn(n->control->arg, &n->peer, n->in, length);
	n->in_used -= length + 1;
	memmove(n->in, end + 1, n->in_used);
	return output_set(n, answer);
}

/* A line longer than the buffer: say so, then end. */
static int line_too_long(struct connection *n)
{
	n->in_used = 0;
	n->ending = true;
	return output_set(n, strdup("{\"ok\":false,\"error\":\"the request is longer than 64 KiB\","
				    "\"code\":2,\"schema_version\":1}"));
}

/* Read once.  0: something or nothing yet; else the connection is broken. */
static int input_read(struct connection *n)
{
	ssize_t got = sent_recv(n->fd, n->in + n->in_used, sizeof(n->in) - n->in_used);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		n->ending = true;
	n->in_used += (size_t)got;
	return 0;
}

/* One turn: send, or else read and answer one line.  Non-zero: close it. */
static int connection_turn(struct connection *n)
{
	int err = output_send(n);

	if (err || n->out)
		return err;
	if (!n->ending && !memchr(n->in, '\n', n->in_used))
		err = input_read(n);
	if (err)
		return err;
	err = line_answer(n);
	if (err == -EAGAIN) {
		if (n->in_used < sizeof(n->in))
			return n->ending ? -ECONNRESET : 0;
		err = line_too_long(n);
	}
	if (err)
		return err;
	TAILQ_REMOVE(&n->control->all, n, link);
	TAILQ_INSERT_TAIL(&n->control->all, n, link);
	return output_send(n);
}

static void connection_ready(void *arg, uint32_t events)
{
	struct connection *n = arg;
	uint32_t wanted;
	bool more;

	if (events & EPOLLERR || connection_turn(n)) {
		connection_close(n);
		return;
	}
	more = n->out || memchr(n->in, '\n', n->in_used);
	if (n->ending && !more) {
		connection_close(n);
		return;
	}
	wanted = more ? EPOLLOUT : EPOLLIN;
	if (loop_modify(n->source, wanted))
		connection_close(n);
}

/* ---- the listening socket ---------------------------------------------- */

static int peer_read(int fd, struct control_peer *peer)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
		return -errno;
	peer->pid = cred.pid;
	peer->uid = cred.uid;
	return 0;
}

/* Takes fd over.  -ENOMEM, or what epoll said. */
static int connection_add(struct control *c, int fd)
{
	struct connection *n = malloc(sizeof(*n));
	int err = -ENOMEM;

	if (!n)
		goto fail;
	/* in[] stays unwritten, so an idle connection costs no memory for it. */
	n->control = c;
	n->fd = fd;
	n->peer = (struct control_peer){ .pid = 0 };
	n->ending = false;
	n->out = NULL;
	n->in_used = 0;
	err = peer_read(fd, &n->peer);
	if (!err)
		err = loop_add(c->loop, fd, EPOLLIN, connection_ready, n, &n->source);
	if (err)
		goto fail;
	if (c->count == CONTROL_CONNECTIONS)
		connection_close(TAILQ_FIRST(&c->all));
	TAILQ_INSERT_TAIL(&c->all, n, link);
	c->count++;
	return 0;
fail:
	free(n);
	sent_close(fd);
	return err;
}

static void descriptors_exhausted(struct control *c)
{
	int fd;

	log_warn("control: no descriptor left for a connection");
	close(c->spare_fd);
	fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	c->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_ready(void *arg, uint32_t events)
{
	struct control *c = arg;
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int err;

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			descriptors_exhausted(c);
		return;
	}
	err = connection_add(c, fd);
	if (err)
		log_warn("control: connection not taken: %s", strerror(-err));
}

/* Only a socket is ever removed: a path given by mistake keeps its file. */
static void stale_remove(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
}

static int listener_open(struct control *c, const char *path, gid_t group)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int err = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	memcpy(c->path, address.sun_path, sizeof(c->path));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	stale_remove(path);
	/* The mode is right from the first moment the name exists. */
	mask = umask(0117);
	if (bind(c->fd, (struct sockaddr *)&address, sizeof(address)))
		err = -errno;
	umask(mask);
	if (!err && (chown(path, (uid_t)-1, group) || listen(c->fd, SOMAXCONN))) {
		err = -errno;
		unlink(path);
	}
	if (err)
		close(c->fd);
	return err;
}

int control_create(struct control **out, struct loop *l, const char *path, gid_t group,
		   control_fn *fn, void *arg)
{
	struct control *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->fn = fn;
	c->arg = arg;
	TAILQ_INIT(&c->all);
	err = listener_open(c, path, group);
	if (err)
		goto fail_free;
	c->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	err = loop_add(l, c->fd, EPOLLIN, listener_ready, c, &c->source);
	if (err)
		goto fail_close;
	*out = c;
	return 0;
fail_close:
	close(c->spare_fd);
	close(c->fd);
	unlink(c->path);
fail_free:
	free(c);
	return err;
}

void control_destroy(struct control *c)
{
	/* The analyser does not see that closing takes it off the list. */
	while (!TAILQ_EMPTY(&c->all))
		connection_close(TAILQ_FIRST(&c->all)); /* NOLINT(clang-analyzer-unix.Malloc) */
	loop_remove(c->source);
	close(c->fd);
	unlink(c->path);
	if (c->spare_fd >= 0)
		close(c->spare_fd);
	free(c);
}

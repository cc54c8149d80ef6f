/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * door.c - bind, give away, listen, accept.
 *
 * #syscalls: accept4 access bind chmod chown connect getsockname getsockopt listen pidfd_open poll shutdown socket unlink
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "door.h"
#include "log.h"

static int stream_socket(void)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return s < 0 ? -errno : s;
}

/* Remove a socket that nobody listens on any more. */
static int stale_remove(const struct sockaddr_un *a)
{
	struct stat st;
	int s, err;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	s = stream_socket();
	if (s < 0)
		return s;
	err = connect(s, (const struct sockaddr *)a, sizeof(*a)) < 0 ? -errno : 0;
	close(s);
	if (err != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(a->sun_path) < 0 ? -errno : 0;
}

#define TURN_VISITS	16	/* all else of the loop waits for them */
#define DOOR_EVENTS	(EPOLLIN | EPOLLET)

/*
 * Edge-triggered: what cannot be accepted for want of descriptors waits for the
 * next connection, instead of keeping the loop busy.
 */
static void on_connection(void *arg, uint32_t events)
{
	struct door *d = arg;

	(void)events;
	for (unsigned i = 0; i < TURN_VISITS; i++) {
		int s = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (s >= 0) {
			d->visit(d->arg, s);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			log_guest(LOG_LEVEL_ERROR, d->name, "cannot accept: %s", strerror(errno));
		return;
	}
	/* An edge does not come again for who waits already. */
	loop_modify(d->source, DOOR_EVENTS);
}

static int socket_give(const char *path, gid_t group)
{
	return (group && chown(path, (uid_t)-1, group)) || chmod(path, 0660) ? -errno : 0;
}

static int socket_listen(const struct sockaddr_un *a, gid_t group)
{
	int s, err = stale_remove(a);

	if (err)
		return err;
	s = stream_socket();
	if (s < 0)
		return s;
	if (bind(s, (const struct sockaddr *)a, sizeof(*a)) < 0) {
		err = -errno;
		close(s);
		return err;
	}
	err = socket_give(a->sun_path, group);
	if (!err && listen(s, 8) < 0)
		err = -errno;
	if (!err)
		return s;
	close(s);
	unlink(a->sun_path);
	return err;
}

/* The socket that a predecessor listened on, if it still is the one; -1: none. */
static int listener_resume(struct door *d)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	int s = d->handover ? handover_take(d->handover, *d->kept) : -1;

	if (s < 0)
		return -1;
	if (getsockname(s, (struct sockaddr *)&a, &len) == 0 &&
	    !strncmp(a.sun_path, d->path, sizeof(a.sun_path)) && access(d->path, F_OK) == 0)
		return s;
	close(s);
	handover_drop(d->handover, *d->kept);
	return -1;
}

static int listener_new(struct door *d, gid_t group)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s;

	strcpy(a.sun_path, d->path);
	s = socket_listen(&a, group);
	if (s >= 0 && d->handover)
		*d->kept = handover_keep(d->handover, s);
	return s;
}

int door_open(struct door *d, struct loop *l, const char *path, gid_t group)
{
	int err;

	if (strlen(path) >= sizeof(d->path))
		return -ENAMETOOLONG;
	strcpy(d->path, path);
	d->listener = listener_resume(d);
	if (d->listener < 0)
		d->listener = listener_new(d, group);
	if (d->listener < 0)
		return d->listener;
	err = loop_add(l, d->listener, DOOR_EVENTS, on_connection, d, &d->source);
	if (err) {
		close(d->listener);
		unlink(d->path);
	}
	return err;
}

void door_leave(struct door *d)
{
	loop_remove(d->source);
	close(d->listener);
}

void door_close(struct door *d)
{
	door_leave(d);
	unlink(d->path);
	if (d->handover)
		handover_drop(d->handover, *d->kept);
}

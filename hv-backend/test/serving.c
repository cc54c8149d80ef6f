// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * serving.c - a loop on a thread of its own.
 */
#include "serving.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void stop_ready(void *arg, uint32_t events)
{
	(void)events;
	loop_stop(arg);
}

static void *serve(void *arg)
{
	loop_run(arg);
	return NULL;
}

void serving_open(struct serving *s)
{
	strcpy(s->dir, "/tmp/tmem-serving-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/socket", s->dir);
	assert_int_equal(loop_create(&s->loop), 0);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_add(s->loop, s->stop_fd, EPOLLIN, stop_ready, s->loop,
				  &s->stop_source), 0);
}

void serving_run(struct serving *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s->loop), 0);
}

void serving_end(struct serving *s)
{
	assert_int_equal(eventfd_write(s->stop_fd, 1), 0);
	pthread_join(s->thread, NULL);
}

void serving_close(struct serving *s)
{
	loop_remove(s->stop_source);
	close(s->stop_fd);
	loop_destroy(s->loop);
	assert_int_equal(access(s->path, F_OK), -1);
	assert_int_equal(rmdir(s->dir), 0);
}

int serving_dial(const struct serving *s)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, s->path, strlen(s->path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

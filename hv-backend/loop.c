/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.c - epoll, with sources that may vanish while their event is pending.
 *
 * epoll_wait() hands over a batch; a callback may remove any source, one of the
 * same batch included.  So a removed source is only marked and unlinked from
 * epoll; its memory goes at the end of the turn, when no event can name it.
 *
 * #syscalls: epoll_create1 epoll_ctl epoll_pwait epoll_wait
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop.h"

#define LOOP_BATCH 64

struct loop_source {
	struct loop *loop;
	int fd;
	loop_fn *fn;			/* NULL: removed */
	void *arg;
	struct loop_source *next_dead;
};

struct loop {
	int epoll;
	bool stop;
	struct loop_source *dead;
};

static void loop_bury(struct loop *l)
{
	while (l->dead) {
		struct loop_source *s = l->dead;

		l->dead = s->next_dead;
		free(s);
	}
}

int loop_create(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0) {
		err = -errno;
		free(l);
		return err;
	}
	*out = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	loop_bury(l);
	close(l->epoll);
	free(l);
}

int loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_source **out)
{
	struct loop_source *s = malloc(sizeof(*s));
	struct epoll_event ev = { .events = events, .data.ptr = s };
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct loop_source){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		err = -errno;
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

int loop_modify(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(s->loop->epoll, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

void loop_remove(struct loop_source *s)
{
	epoll_ctl(s->loop->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	s->fn = NULL;
	s->next_dead = s->loop->dead;
	s->loop->dead = s;
}

int loop_run(struct loop *l)
{
	struct epoll_event ev[LOOP_BATCH];

	l->stop = false;
	while (!l->stop) {
		int n = epoll_wait(l->epoll, ev, LOOP_BATCH, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct loop_source *s = ev[i].data.ptr;

			if (s->fn)
				s->fn(s->arg, ev[i].events);
		}
		loop_bury(l);
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

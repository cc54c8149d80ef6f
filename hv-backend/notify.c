/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * notify.c - the daemon's side of sd_notify(3).  See notify.h.
 *
 * #syscalls: getegid geteuid getgid getsockopt getuid sendmsg setsockopt socket
 * #syscalls: timerfd_create timerfd_settime
 */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

/* How often the line is renewed where nobody asked for signs of life. */
#define STATUS_USEC	10000000u

struct notify {
	struct loop_source *source;
	notify_status_fn *status;
	void *arg;
	int timer_fd;
};

static void say(struct notify *n, const char *state)
{
	char text[NOTIFY_STATUS_MAX] = "";

	n->status(n->arg, text, sizeof(text));
	sd_notifyf(0, "%s=1\nSTATUS=%s", state, text);
}

static void timer_ready(void *arg, uint32_t events)
{
	struct notify *n = arg;
	uint64_t expired;

	(void)events;
	if (read(n->timer_fd, &expired, sizeof(expired)) == sizeof(expired))
		say(n, "WATCHDOG");
}

/* The first tick comes at once: what is true at the start is soon out of date. */
static int timer_arm(struct notify *n)
{
	uint64_t usec, watchdog;
	struct itimerspec when = { .it_value.tv_nsec = 1 };

	usec = sd_watchdog_enabled(0, &watchdog) > 0 ? watchdog / 2 : STATUS_USEC;
	if (usec > STATUS_USEC)
		usec = STATUS_USEC;
	when.it_interval.tv_sec = (time_t)(usec / 1000000);
	when.it_interval.tv_nsec = (long)(usec % 1000000) * 1000;
	return timerfd_settime(n->timer_fd, 0, &when, NULL) ? -errno : 0;
}

int notify_create(struct notify **out, struct loop *l, notify_status_fn *status, void *arg)
{
	struct notify *n;
	int err;

	*out = NULL;
	if (!getenv("NOTIFY_SOCKET"))
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->status = status;
	n->arg = arg;
	n->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = n->timer_fd < 0 ? -errno : timer_arm(n);
	if (!err)
		err = loop_add(l, n->timer_fd, EPOLLIN, timer_ready, n, &n->source);
	if (err) {
		if (n->timer_fd >= 0)
			close(n->timer_fd);
		free(n);
		return err;
	}
	say(n, "READY");
	*out = n;
	return 0;
}

void notify_destroy(struct notify *n)
{
	if (!n)
		return;
	sd_notify(0, "STOPPING=1");
	loop_remove(n->source);
	close(n->timer_fd);
	free(n);
}

void notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		   (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void notify_reloaded(void)
{
	sd_notify(0, "READY=1");
}

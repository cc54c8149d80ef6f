/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * notify.h - what the service manager is told, where there is one: that the daemon
 * serves, what it does in one line, that it still runs.
 *
 * Owns:    the timer that says so.
 * How:     sd_notify(3).  Whoever started us otherwise left no $NOTIFY_SOCKET, and
 *          then all of this does nothing.
 *          The sign of life comes from the loop, as often as the manager asked for
 *          ($WATCHDOG_USEC) and twice that: a control thread that hangs is ended
 *          and started again.
 * Must not: fail the daemon: it serves whether or not somebody listens.
 */
#ifndef HV_NOTIFY_H
#define HV_NOTIFY_H

#include <stddef.h>

#include "loop.h"

struct notify;

#define NOTIFY_STATUS_MAX	128u

/* Write one line about the present state, at most size bytes with its NUL. */
typedef void notify_status_fn(void *arg, char *text, size_t size);

/* Say that the service is up, and go on with signs of life.  -ENOMEM, -errno of timerfd. */
int  notify_create(struct notify **out, struct loop *l, notify_status_fn *status, void *arg);

/* Say that the service ends. */
void notify_destroy(struct notify *n);

/* Around reading the configuration again. */
void notify_reloading(void);
void notify_reloaded(void);

#endif

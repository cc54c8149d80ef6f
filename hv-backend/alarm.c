/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alarm.c - a periodic timer, so that a signal which comes between two calls, or
 * just before one waits, is followed by another.
 *
 * #syscalls: gettid rt_sigaction timer_create timer_delete timer_settime
 */
#include <errno.h>
#include <unistd.h>

#include "alarm.h"

static void alarm_signal(int sig)
{
	(void)sig;
}

int alarm_create(struct alarm *a)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = ALARM_SIGNAL };
	/* Without SA_RESTART. */
	struct sigaction sa = { .sa_handler = alarm_signal };

	a->on = false;
	ev._sigev_un._tid = gettid();
	sigemptyset(&sa.sa_mask);
	if (sigaction(ALARM_SIGNAL, &sa, NULL) < 0 ||
	    timer_create(CLOCK_MONOTONIC, &ev, &a->timer) < 0)
		return -errno;
	return 0;
}

void alarm_destroy(struct alarm *a)
{
	timer_delete(a->timer);
}

void alarm_set(struct alarm *a, bool on)
{
	const struct timespec period = { .tv_nsec = on ? ALARM_MS * 1000000 : 0 };
	const struct itimerspec t = { .it_interval = period, .it_value = period };

	if (a->on != on)
		timer_settime(a->timer, 0, &t, NULL);
	a->on = on;
}

int alarm_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigdelset(&all, ALARM_SIGNAL);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

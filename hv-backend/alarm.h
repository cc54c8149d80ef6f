/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alarm.h - an end to system calls on descriptors that a VMM can make wait.
 *
 * Owns:    a timer for each thread that touches such descriptors, and SIGURG.
 * How:     doorbells and interrupts are made not to block, but the VMM shares
 *          them and can make them block again, with the counter or pipe full or
 *          empty.  While an alarm is on, a signal comes to its thread every
 *          ALARM_MS; its only effect is to end a call that waits, by EINTR.
 * Must not: be relied on for anything but such ends: a call that does not wait
 *          is not disturbed.
 */
#ifndef HV_ALARM_H
#define HV_ALARM_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define ALARM_MS	100
#define ALARM_SIGNAL	SIGURG		/* ignored by default, so never fatal */

struct alarm {
	timer_t timer;
	bool on;
};

/* For the calling thread, which must not block ALARM_SIGNAL.  Off.  -errno. */
int  alarm_create(struct alarm *a);
void alarm_destroy(struct alarm *a);

/* A call that waits is ended at most ALARM_MS later, as long as it is on. */
void alarm_set(struct alarm *a, bool on);

/*
 * Start a thread that takes no signals but its alarm's and those that its own
 * accesses raise.  -errno.
 */
int alarm_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif

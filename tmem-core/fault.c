/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - reading the environment once, counting, dying.
 */
#include "fault.h"

#ifdef TMEM_FAULT_POINTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char step[64], broken[64];
static _Atomic long left;

static void environment_read(void)
{
	const char *fault = getenv("TMEM_FAULT"), *wrong = getenv("TMEM_BREAK");
	long low, high;

	if (wrong)
		snprintf(broken, sizeof(broken), "%s", wrong);
	if (!fault || sscanf(fault, "%63[^:]:%ld-%ld", step, &low, &high) != 3)
		return;
	left = low + (long)(tmem_os_random() % (uint64_t)(high - low + 1));
}

void tmem_fault(const char *name)
{
	pthread_once(&once, environment_read);
	if (step[0] && !strcmp(step, name) && atomic_fetch_sub(&left, 1) == 1)
		raise(SIGKILL);
}

bool tmem_broken(const char *name)
{
	pthread_once(&once, environment_read);
	return !strcmp(broken, name);
}

void tmem_fault_page(const void *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	if (first == TMEM_POISON_ABORT)
		abort();
	if (first == TMEM_POISON_KILL)
		raise(SIGKILL);
}

#else

/* A file of C has something in it. */
typedef int tmem_fault_none;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blame.c - a strike, and the signal goes on to whoever had it before us.
 *
 * SIGBUS is sigbus.c's, which calls blame_strike() for what it cannot mend.
 *
 * #syscalls: rt_sigaction tgkill
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "blame.h"
#include "ring.h"

static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGABRT };
#define SIGNALS	(sizeof(signals) / sizeof(signals[0]))

static struct sigaction before[SIGNALS];
static _Thread_local _Atomic(_Atomic uint64_t *) working_for;

void blame_set(_Atomic uint64_t *word)
{
	atomic_store_explicit(&working_for, word, memory_order_relaxed);
}

void blame_strike(void)
{
	_Atomic uint64_t *word = atomic_load_explicit(&working_for, memory_order_relaxed);
	uint64_t was;

	if (!word)
		return;
	was = atomic_load_explicit(word, memory_order_relaxed);
	/* Counted here, so being alone at the death does not count once more. */
	if (was & RING_BUSY && (was & RING_STRIKES) != RING_STRIKES)
		atomic_store_explicit(word, (was & ~RING_ALONE) + RING_STRIKE,
				      memory_order_relaxed);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	blame_strike();
	for (size_t i = 0; i < SIGNALS; i++) {
		if (signals[i] == sig)
			sigaction(sig, &before[i], NULL);
	}
	/* A fault repeats itself when we return; what was sent must be sent again. */
	if (info->si_code <= 0)
		raise(sig);
}

int blame_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < SIGNALS; i++) {
		if (sigaction(signals[i], &sa, &before[i]) < 0)
			return -errno;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigbus.c - the guarded mappings and the handler.
 *
 * A slot is free, taken (being filled in or emptied) or live:
 *
 *   free --guard--> taken --(base, len written)--> live --release--> free
 *
 * The handler believes only slots it finds live, and a live slot's base and len
 * do not change: a thread faults in a mapping only while its guard is live
 * (sigbus_release()'s promise), so the slot it looks for is stable; any other
 * slot may change under it and then at worst does not match.
 *
 * #syscalls: mmap
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "blame.h"
#include "sigbus.h"

enum slot_state { SLOT_FREE, SLOT_TAKEN, SLOT_LIVE };

struct slot {
	_Atomic int state;
	_Atomic uintptr_t base;
	_Atomic size_t len;
	_Atomic bool tripped;
};

#define SLOTS 4096
static struct slot slots[SLOTS];

static struct slot *slot_of(uintptr_t addr)
{
	for (struct slot *s = slots; s < slots + SLOTS; s++) {
		if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_LIVE)
			continue;
		if (addr - atomic_load_explicit(&s->base, memory_order_relaxed) <
		    atomic_load_explicit(&s->len, memory_order_relaxed))
			return s;
	}
	return NULL;
}

static bool slot_replace(struct slot *s)
{
	void *base = (void *)atomic_load_explicit(&s->base, memory_order_relaxed);
	size_t len = atomic_load_explicit(&s->len, memory_order_relaxed);

	if (mmap(base, len, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return false;
	atomic_store_explicit(&s->tripped, true, memory_order_release);
	return true;
}

static void sigbus_handler(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	struct slot *s = NULL;

	(void)context;
	if (info->si_code == BUS_ADRERR)
		s = slot_of((uintptr_t)info->si_addr);
	/* Returning repeats the access: it faults again into the default action. */
	if (!s || !slot_replace(s)) {
		blame_strike();
		signal(sig, SIG_DFL);
	}
	errno = saved;
}

int sigbus_init(void)
{
	struct sigaction sa = { .sa_sigaction = sigbus_handler, .sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

int sigbus_guard(void *base, size_t len)
{
	for (int i = 0; i < SLOTS; i++) {
		struct slot *s = &slots[i];
		int expected = SLOT_FREE;

		if (!atomic_compare_exchange_strong(&s->state, &expected, SLOT_TAKEN))
			continue;
		atomic_store_explicit(&s->base, (uintptr_t)base, memory_order_relaxed);
		atomic_store_explicit(&s->len, len, memory_order_relaxed);
		atomic_store_explicit(&s->tripped, false, memory_order_relaxed);
		atomic_store_explicit(&s->state, SLOT_LIVE, memory_order_release);
		return i;
	}
	return -ENOSPC;
}

void sigbus_release(int slot)
{
	atomic_store_explicit(&slots[slot].state, SLOT_FREE, memory_order_release);
}

bool sigbus_tripped(int slot)
{
	return atomic_load_explicit(&slots[slot].tripped, memory_order_acquire);
}

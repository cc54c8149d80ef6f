// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cpus.c - see cpus.h.
 */
#include "cpus.h"

#include <sched.h>
#include <stddef.h>
#include <time.h>

#define PROBE_NS	8000000u	/* longer than a slice of the scheduler's */

uint64_t cpus_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool cpus_two(int cpu[2])
{
	cpu_set_t set;
	unsigned n = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return false;
	for (size_t i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[n++] = (int)i;
	return n == 2;
}

void cpus_take(int cpu, enum cpus_rank rank)
{
	struct sched_param p = { .sched_priority = (int)rank };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (!sched_setscheduler(0, SCHED_FIFO, &p))
		return;
	p.sched_priority = 0;
	sched_setscheduler(0, rank == CPUS_HIGH ? SCHED_OTHER : SCHED_IDLE, &p);
}

static uint64_t used_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

unsigned cpus_lost(void)
{
	uint64_t begin = cpus_now(), used = used_ns(), took;

	do
		took = cpus_now() - begin;
	while (took < PROBE_NS);
	used = used_ns() - used;
	return used < took ? (unsigned)((took - used) * 1000 / took) : 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring_raw.c - see ring_raw.h.
 */
#include <lzo/lzo1x.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/ring_raw.h"
#include "tmemp.h"

#define WAKES	400u

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double ring_quantile(double *v, size_t n, double share)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(size_t)((double)(n - 1) * share)];
}

void ring_run_on(const cpu_set_t *may, unsigned first, unsigned last)
{
	cpu_set_t some;
	unsigned nth = 0;

	CPU_ZERO(&some);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, may))
			continue;
		if (nth >= first && nth < last)
			CPU_SET(cpu, &some);
		nth++;
	}
	if (CPU_COUNT(&some))
		sched_setaffinity(0, sizeof(some), &some);
}

double ring_raw_compress(const uint8_t *pages, unsigned n, double *ns)
{
	static uint8_t out[2 * TMEMP_PAGE_SIZE];
	void *scratch = malloc(LZO1X_1_MEM_COMPRESS);

	if (!scratch)
		bench_die("no memory for the codec");
	for (unsigned i = 0; i < n; i++) {
		lzo_uint len = sizeof(out);
		uint64_t start = bench_now();

		lzo1x_1_compress(pages + (size_t)i * TMEMP_PAGE_SIZE, TMEMP_PAGE_SIZE, out, &len,
				 scratch);
		ns[i] = (double)(bench_now() - start);
	}
	free(scratch);
	return ring_quantile(ns, n, 0.5);
}

struct sleeper {
	int event, epoll;
	cpu_set_t may;
	_Atomic unsigned woken;
	_Atomic bool stop;
};

static void *sleeper(void *arg)
{
	struct sleeper *s = arg;
	struct epoll_event e;

	ring_run_on(&s->may, 1, CPU_SETSIZE);
	while (!s->stop)
		if (epoll_wait(s->epoll, &e, 1, -1) == 1)
			s->woken++;
	return NULL;
}

static void wake(struct sleeper *s)
{
	if (eventfd_write(s->event, 1))
		bench_die("eventfd does not take a write");
}

static double wake_ns(struct sleeper *s, long gap)
{
	unsigned before = s->woken;
	uint64_t start;

	nanosleep(&(struct timespec){ .tv_nsec = gap }, NULL);
	start = bench_now();
	wake(s);
	while (s->woken == before)
		;
	return (double)(bench_now() - start);
}

double ring_raw_wake(const cpu_set_t *may, long gap)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	struct sleeper s = { .may = *may };
	double ns[WAKES];
	pthread_t thread;

	if (CPU_COUNT(may) < 2)
		return 0;
	s.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.event, &e) ||
	    pthread_create(&thread, NULL, sleeper, &s))
		bench_die("no thread to wake");
	for (unsigned i = 0; i < WAKES; i++)
		ns[i] = wake_ns(&s, gap);
	s.stop = true;
	wake(&s);
	pthread_join(thread, NULL);
	close(s.epoll);
	close(s.event);
	return ring_quantile(ns, WAKES, 0.5);
}

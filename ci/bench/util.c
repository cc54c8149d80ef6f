/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util.c - clock, random numbers, medians and output of tmem-bench.
 */
#include <jansson.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/bench.h"

void bench_die(const char *fmt, ...)
{
	va_list ap;

	fputs("tmem-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(BENCH_FAILED);
}

static void print_json(const struct bench_figure *f, size_t n)
{
	json_t *o = json_object();

	for (size_t i = 0; i < n; i++) {
		double v = f[i].value;
		bool whole = v > -9e15 && v < 9e15 && v == (double)(json_int_t)v;

		json_object_set_new(o, f[i].name, whole ? json_integer((json_int_t)v) : json_real(v));
	}
	json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(o);
}

void bench_print(const struct bench_figure *f, size_t n, bool json)
{
	if (json) {
		print_json(f, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		printf("%-28s %14.10g\n", f[i].name, f[i].value);
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t bench_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_now(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* xorshift64* (Marsaglia; Vigna 2016). */
uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

void bench_shuffle(uint32_t *order, uint32_t n, uint64_t *state)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = (uint32_t)(bench_random(state) % (i + 1));

		order[i] = order[j];
		order[j] = i;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

bool bench_pin(unsigned nth)
{
	cpu_set_t may, one;

	if (sched_getaffinity(0, sizeof(may), &may) < 0)
		return false;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || nth-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) == 0;
	}
	return false;
}

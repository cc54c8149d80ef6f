/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h - what the commands of tmem-bench share.
 *
 * Owns:    the clock, the random numbers, medians and how figures are printed.
 * How:     every command measures into an array of named figures; one printer
 *          turns that into a JSON object or into lines for people.
 * Must not: measure anything itself.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Commands: argv[0] is the command's name; the result is the exit status. */
int bench_core(int argc, char **argv);
int bench_scale(int argc, char **argv);
int bench_ring(int argc, char **argv);
int bench_load(int argc, char **argv);

enum { BENCH_OK = 0, BENCH_FAILED = 1, BENCH_USAGE = 2 };

struct bench_figure {
	const char *name;
	double value;
};

/* Print n figures to stdout: one JSON object, or a line each. */
void bench_print(const struct bench_figure *f, size_t n, bool json);

/* Nanoseconds of the monotonic clock. */
uint64_t bench_now(void);

/*
 * Nanoseconds of CPU that this thread has used.  For work that never waits this
 * is its time on a machine that does nothing else.
 */
uint64_t bench_cpu_now(void);

/* The next number of a generator whose state is not 0. */
uint64_t bench_random(uint64_t *state);

/* Fill order[0..n) with 0..n-1 shuffled. */
void bench_shuffle(uint32_t *order, uint32_t n, uint64_t *state);

/* The median of n values, which are sorted in place. */
double bench_median(double *v, size_t n);

/* Bind the calling thread to the nth CPU it may use; false where there is none. */
bool bench_pin(unsigned nth);

/* Write "tmem-bench: ..." to stderr and exit with BENCH_FAILED. */
__attribute__((noreturn, format(printf, 1, 2)))
void bench_die(const char *fmt, ...);

#endif

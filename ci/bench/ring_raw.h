/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring_raw.h - what the machine takes with nothing of ours around it: one
 * compression, one waking up of a thread on another CPU.
 */
#ifndef BENCH_RING_RAW_H
#define BENCH_RING_RAW_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

/* The value that a share of the n values is below; sorts them. */
double ring_quantile(double *v, size_t n, double share);

/* Keep this thread, and what it starts, on the CPUs of may from first to before last. */
void ring_run_on(const cpu_set_t *may, unsigned first, unsigned last);

/* Median time of LZO1X-1 on one of n pages; ns[n] is scratch. */
double ring_raw_compress(const uint8_t *pages, unsigned n, double *ns);

/*
 * Median time from writing an eventfd to seeing that a thread, asleep on it in
 * epoll on the CPUs from the second on of may, has run; idle for gap ns before
 * each.  0 where there is one CPU only.
 */
double ring_raw_wake(const cpu_set_t *may, long gap);

#endif

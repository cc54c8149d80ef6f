/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * latency.c - histograms by powers of two.
 */
#include "latency.h"

static unsigned bucket_of(uint64_t ns)
{
	unsigned bits = ns ? 64u - (unsigned)__builtin_clzll(ns) : 0;

	return bits < LATENCY_BUCKETS ? bits : LATENCY_BUCKETS - 1;
}

static void add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

void latency_note(struct latency *l, enum latency_op op, uint64_t ns)
{
	add(&l->count[op][bucket_of(ns)], 1);
	add(&l->ns[op], ns);
}

void latency_read(const struct latency *l, struct latency_reading *out)
{
	for (unsigned op = 0; op < LATENCY_OPS; op++) {
		for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
			out->count[op][b] += atomic_load_explicit(&l->count[op][b],
								  memory_order_relaxed);
		out->ns[op] += atomic_load_explicit(&l->ns[op], memory_order_relaxed);
	}
}

uint64_t latency_total(const uint64_t count[LATENCY_BUCKETS])
{
	uint64_t total = 0;

	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		total += count[b];
	return total;
}

uint64_t latency_quantile(const uint64_t count[LATENCY_BUCKETS], unsigned permille)
{
	uint64_t total = latency_total(count), below = 0;
	double wanted = (double)total * permille / 1000;

	for (unsigned b = 0; total && b < LATENCY_BUCKETS; b++) {
		double low = b ? (double)(UINT64_C(1) << (b - 1)) : 0;

		if (count[b] && (double)(below + count[b]) >= wanted)
			return (uint64_t)(low + low * (wanted - (double)below) / (double)count[b]);
		below += count[b];
	}
	return 0;
}

const char *latency_op_name(enum latency_op op)
{
	static const char *const names[LATENCY_OPS] = {
		[LATENCY_PUT] = "put",
		[LATENCY_GET] = "get",
		[LATENCY_FLUSH] = "flush",
	};

	return names[op];
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * latency.h - how long requests take: histograms by powers of two.
 *
 * Owns:    which requests are timed, the buckets, quantiles out of them.
 * How:     each worker has a struct latency of its own and is the only one that
 *          writes to it, so a count is one relaxed load and store; whoever reads
 *          adds the workers up and may see one request in one number and not yet
 *          in the other.
 * Must not: read the clock.
 *
 * What is timed is the host's own part, from looking at a request to its reply
 * being visible to the guest.  The wait in the ring before is not in it.
 */
#ifndef HV_LATENCY_H
#define HV_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

enum latency_op { LATENCY_PUT, LATENCY_GET, LATENCY_FLUSH, LATENCY_OPS };

/* Bucket b counts 2^(b-1) <= ns < 2^b, bucket 0 what took 0 ns, the last all above. */
#define LATENCY_BUCKETS	32u

struct latency {
	_Atomic uint64_t count[LATENCY_OPS][LATENCY_BUCKETS];
	_Atomic uint64_t ns[LATENCY_OPS];
};

/* A reading, of one worker or of several added up. */
struct latency_reading {
	uint64_t count[LATENCY_OPS][LATENCY_BUCKETS];
	uint64_t ns[LATENCY_OPS];		/* all of them together */
};

/* By the worker that l belongs to. */
void latency_note(struct latency *l, enum latency_op op, uint64_t ns);

/* Any thread: add what l has to out. */
void latency_read(const struct latency *l, struct latency_reading *out);

uint64_t latency_total(const uint64_t count[LATENCY_BUCKETS]);

/*
 * Nanoseconds that permille of the requests took at most, taking those within a
 * bucket as evenly spread; 0 where there are none.
 */
uint64_t latency_quantile(const uint64_t count[LATENCY_BUCKETS], unsigned permille);

/* "put", "get", "flush". */
const char *latency_op_name(enum latency_op op);

#endif

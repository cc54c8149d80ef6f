/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics.h - everything countable as Prometheus text (docs/metrics.md).
 *
 * Owns:    names, units, labels and help of the metrics.
 * How:     metrics_collect() takes a snapshot on the loop's thread;
 *          metrics_text() is a pure function of it.
 * Must not: send it anywhere (http.h does).
 */
#ifndef HV_METRICS_H
#define HV_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "hv.h"
#include "pressure.h"
#include "tmem.h"

struct metrics_guest {
	char name[TMEM_NAME_MAX];
	enum hv_guest_state state;
	uint64_t requests, bad_requests, kicks, interrupts, connections, failures;
	struct tmem_client_info client;
	struct hv_disk_info disk;
	uint64_t disk_memory, disk_spilled;	/* bytes */
};

/* guests has count entries; the names are label values without '"', '\\', newline. */
struct metrics {
	struct metrics_guest *guests;
	size_t count;
	struct tmem_store_info store;
	struct tmem_limits limits;
	struct hv_info workers;
	struct pressure_status pressure;
	uint64_t frame;			/* bytes */
};

/* A snapshot, to be released by metrics_free; NULL without memory. */
struct metrics *metrics_collect(struct tmem *core, struct hv *hv, struct pressure *pressure);
void metrics_free(struct metrics *m);

/* Text exposition format 0.0.4, from malloc; NULL without memory. */
char *metrics_text(const struct metrics *m);

#endif

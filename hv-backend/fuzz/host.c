/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - a real host with two guests.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "estate.h"
#include "hv.h"
#include "log.h"
#include "loop.h"
#include "tmem.h"

struct verbs_host fuzz_host;

static struct loop *loop;
static struct estate estate;
static struct sensors *sensors;
static char dir[] = "/tmp/tmem-fuzz-XXXXXX";
static char sockets[2][64];
static void (*before_stop)(void);

static void host_stop(void)
{
	if (before_stop)
		before_stop();
	hv_destroy(fuzz_host.hv);
	pressure_destroy(fuzz_host.pressure);
	events_destroy(fuzz_host.events);
	sensors_close(sensors);
	tmem_destroy(fuzz_host.core);
	estate_close(&estate);
	loop_destroy(loop);
	rmdir(dir);
}

static void guests_add(void)
{
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "b" : "a";
		struct hv_guest_config g = {
			.name = name, .socket = sockets[i], .transport = HV_VHOST_USER,
			.quota = { .weight = 100, .max = TMEM_NO_LIMIT,
				   .persistent_max = TMEM_NO_LIMIT },
		};

		snprintf(sockets[i], sizeof(sockets[i]), "%s/%s.sock", dir, name);
		fuzz_require(!hv_guest_add(fuzz_host.hv, &g));
	}
}

void fuzz_host_start(void (*stop)(void))
{
	struct tmem_config core = { .arena_max = 16 << 20 };
	const struct policy_config policy = { .total = 16 << 20, .persistent_max = 12 << 20 };
	struct hv_config hv = { .workers = 1, .queues = 1 };
	struct verbs_host *h = &fuzz_host;

	log_level_set(LOG_LEVEL_ERROR);
	fuzz_require(mkdtemp(dir) != NULL);
	fuzz_require(!loop_create(&loop));
	fuzz_require(!estate_open(&estate, ""));
	core.arena_fd = estate.arena;
	hv.keep = estate.keep;
	fuzz_require(!tmem_create(&h->core, &core));
	fuzz_require(!sensors_open(&sensors, "") && !events_create(&h->events));
	fuzz_require(!pressure_create(&h->pressure, loop, h->core, sensors, h->events, &policy));
	fuzz_require(!hv_create(&h->hv, loop, h->core, &hv));
	guests_add();
	before_stop = stop;
	atexit(host_stop);
}

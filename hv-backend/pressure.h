/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pressure.h - memory pressure answered: sensors, policy, core, tied to the loop.
 *
 * Owns:    when the policy steps, and the thread that gives frames back.
 * How:     a stall trigger or a timer wakes the loop; one step reads the sensors,
 *          asks the policy, sets the core's limits at once, and leaves frames to
 *          give back to a thread of its own, so that a large reclaim delays no
 *          guest's connection.
 * Must not: decide (pressure_policy.h does), or allocate after its creation.
 *
 * Functions run on the loop's thread.
 */
#ifndef HV_PRESSURE_H
#define HV_PRESSURE_H

#include "events.h"
#include "loop.h"
#include "pressure_policy.h"
#include "sensors.h"
#include "tmem.h"

struct pressure;

struct pressure_status {
	struct policy_config config;
	struct policy_inputs inputs;		/* of the newest step */
	struct policy_decision decision;
	const char *sensors;			/* what they are, in words */
	uint64_t steps;
	uint64_t bytes_given, pages_evicted;	/* by the policy, since start */
};

/*
 * Take the first step and go on until destroyed.  sensors and events stay the
 * caller's and must outlive it.  -ENOMEM, or what timerfd, epoll or the thread
 * said.
 */
int  pressure_create(struct pressure **out, struct loop *l, struct tmem *core,
		     struct sensors *sensors, struct events *events,
		     const struct policy_config *config);
void pressure_destroy(struct pressure *p);

/* Other marks or another switch from now on; steps at once. */
void pressure_configure(struct pressure *p, const struct policy_config *config);

void pressure_status(struct pressure *p, struct pressure_status *out);

#endif

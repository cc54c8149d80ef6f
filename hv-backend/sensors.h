/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sensors.h - what the kernel says about memory: the host's and our cgroup's.
 *
 * Owns:    the files read, and how they are understood.
 * Must not: judge what it reads (pressure_policy.h does).
 */
#ifndef HV_SENSORS_H
#define HV_SENSORS_H

#include <stdint.h>

#include "pressure_policy.h"

struct sensors;

/*
 * Find the cgroup and ask the kernel for stall triggers.  To be called before
 * privileges are dropped: older kernels take triggers from root only.  root is
 * put before every path, "" but in tests.  A sensor that is not there is done
 * without.  -ENOMEM.
 */
int  sensors_open(struct sensors **out, const char *root);
void sensors_close(struct sensors *s);

/* What was found, for one line of the log. */
const char *sensors_words(const struct sensors *s);

/*
 * Descriptor of trigger i, which becomes ready for EPOLLPRI when tasks stall; -1:
 * there is none.  i < SENSORS_TRIGGERS.
 */
#define SENSORS_TRIGGERS 2
int sensors_trigger(const struct sensors *s, unsigned i);

/* Set in->valid, host and cgroup.  Allocates nothing. */
void sensors_read(const struct sensors *s, struct policy_inputs *in);

#endif

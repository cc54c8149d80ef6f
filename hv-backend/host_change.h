/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_change.h - change the limits of the whole host, now and in the file.
 *
 * Owns:    which options of [tmemd] can change while the daemon runs, and the order
 *          of it: all is checked, then the file is written, then what is in force
 *          changes; what is refused has changed nothing.
 * Must not: drop a page.  What is above a new limit the policy takes back, and
 *          persistent pages stay whatever it is.
 */
#ifndef HV_HOST_CHANGE_H
#define HV_HOST_CHANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "config.h"
#include "hv.h"
#include "pressure.h"
#include "tmem.h"

struct host_change {
	struct hv *hv;
	struct tmem *core;
	struct pressure *pressure;
	json_t *values;		/* option -> text or integer of bytes */
	bool live;		/* change what is in force */
	const char *file;	/* change this file too; NULL: none */
};

/*
 * -EINVAL: the values will not do; or what made the change fail.  e has the
 * reason.  *limits receives the limits as they are then, or NULL without memory.
 */
int host_change(const struct host_change *h, json_t **limits, struct config_error *e);

#endif

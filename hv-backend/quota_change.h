/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quota_change.h - change the quotas of one guest or of all, now and in the file.
 *
 * Owns:    the order of it: all is checked, then the file is written, then what
 *          is in force changes; what is refused has changed nothing.
 */
#ifndef HV_QUOTA_CHANGE_H
#define HV_QUOTA_CHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "hv.h"

struct quota_change {
	const char *guest;	/* NULL: all */
	json_t *values;		/* option -> text, integer of bytes, null for none */
	bool live;		/* change what is in force */
	const char *file;	/* change this file too; NULL: none */
	uint64_t arena;		/* bytes that all mins may add up to */
};

/*
 * Apply values, as above, to a quota and check the result.  -EINVAL with the reason
 * in e; q has some of the values then.
 */
int quota_values_apply(struct tmem_quota *q, json_t *values, struct config_error *e);

/*
 * -EINVAL: the values will not do; or what made the change fail.  e has the
 * reason.  *changed receives [{"guest", "quota"}] or NULL without memory.
 */
int quota_change(struct hv *hv, const struct quota_change *q, json_t **changed,
		 struct config_error *e);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * values.h - the "values" of a request as settings.
 */
#ifndef HV_VALUES_H
#define HV_VALUES_H

#include <jansson.h>
#include <stddef.h>

#include "config.h"
#include "config_edit.h"

#define VALUES_MAX	12u	/* six options, each in two spellings */

struct values {
	struct config_setting settings[VALUES_MAX];
	size_t count;
};

/*
 * An object of option -> text, integer of bytes, null for none; in an option's name
 * '_' is '-'.  Whether there are such options is not looked at.  -EINVAL with the
 * reason in e.
 */
int values_read(struct values *v, json_t *object, struct config_error *e);

/* Whether the option is among them. */
bool values_have(const struct values *v, const char *name);

#endif

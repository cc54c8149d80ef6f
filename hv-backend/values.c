/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * values.c - the "values" of a request as settings.
 */
#include "values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An option's name from its JSON key: '_' to '-'. */
static int setting_name(const char *key, struct config_setting *s, struct config_error *e)
{
	if (strlen(key) >= sizeof(s->name))
		return config_refuse(e, "%.60s: no such option", key);
	strcpy(s->name, key);
	for (char *p = s->name; *p; p++) {
		if (*p == '_')
			*p = '-';
	}
	return 0;
}

static int setting_read(struct config_setting *s, const char *key, json_t *value,
			struct config_error *e)
{
	const char *text = json_is_null(value) ? "none" : json_string_value(value);

	if (json_is_integer(value)) {
		snprintf(s->value, sizeof(s->value), "%lld",
			 (long long)json_integer_value(value));
	} else if (!text) {
		return config_refuse(e, "%.60s: not a text, an integer or null", key);
	} else if (strlen(text) >= sizeof(s->value)) {
		return config_refuse(e, "%.60s: \"%.40s...\" is too long", key, text);
	} else {
		strcpy(s->value, text);
	}
	return setting_name(key, s, e);
}

int values_read(struct values *v, json_t *object, struct config_error *e)
{
	const char *key;
	json_t *value;
	int err;

	v->count = 0;
	json_object_foreach(object, key, value) {
		if (v->count == VALUES_MAX)
			return config_refuse(e, "set: too many \"values\" are given");
		err = setting_read(&v->settings[v->count++], key, value, e);
		if (err)
			return err;
	}
	return 0;
}

bool values_have(const struct values *v, const char *name)
{
	for (size_t i = 0; i < v->count; i++) {
		if (!strcmp(v->settings[i].name, name))
			return true;
	}
	return false;
}

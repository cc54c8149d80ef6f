/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top.c - guests by what they do now: the differences of two lists, a second.
 *
 * How:     a list is asked for, and another after the interval; a guest that is in
 *          both has rates.  Counters that went back, for the daemon was started
 *          again, count from nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "complain.h"
#include "settings.h"

static json_int_t member(json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static json_int_t difference(json_t *before, json_t *after, const char *key)
{
	json_int_t a = member(before, key), b = member(after, key);

	return b >= a ? b - a : b;
}

static json_t *guest_find(json_t *list, const char *name)
{
	json_t *guest;
	size_t i;

	json_array_foreach(list, i, guest) {
		if (!strcmp(json_string_value(json_object_get(guest, "name")), name))
			return guest;
	}
	return NULL;
}

static json_t *guest_rates(json_t *before, json_t *after, double seconds)
{
	static const char *const counters[] = {
		"puts", "gets", "flushes", "puts_refused", "evicted_pages",
	};
	json_int_t gets = difference(before, after, "gets");
	json_t *row = json_pack("{s:O, s:O, s:O, s:O}", "name", json_object_get(after, "name"),
				"state", json_object_get(after, "state"), "frozen",
				json_object_get(after, "frozen"), "physical_bytes",
				json_object_get(after, "physical_bytes"));
	char key[64];

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		snprintf(key, sizeof(key), "%s_per_second", counters[i]);
		json_object_set_new(row, key, json_real((double)difference(before, after,
								   counters[i]) / seconds));
	}
	json_object_set_new(row, "hit_ratio", !gets ? json_null() :
			    json_real((double)difference(before, after, "gets_ok") / (double)gets));
	return row;
}

static double busyness(json_t *row)
{
	return json_real_value(json_object_get(row, "puts_per_second")) +
	       json_real_value(json_object_get(row, "gets_per_second"));
}

/* The busiest first; those alike stay in their order. */
static int row_insert(json_t *rows, json_t *row)
{
	size_t at = json_array_size(rows);

	while (at && busyness(json_array_get(rows, at - 1)) < busyness(row))
		at--;
	return json_array_insert_new(rows, at, row);
}

static json_t *rates(json_t *before, json_t *after, double seconds)
{
	json_t *rows = json_array(), *old, *guest;
	size_t i;

	json_array_foreach(json_object_get(after, "guests"), i, guest) {
		old = guest_find(json_object_get(before, "guests"),
				 json_string_value(json_object_get(guest, "name")));
		if (old)
			row_insert(rows, guest_rates(old, guest, seconds));
	}
	return json_pack("{s:b, s:f, s:o, s:i}", "ok", 1, "interval_seconds", seconds, "guests",
			 rows, "schema_version", 1);
}

static int look(const struct settings *s, json_t **answer, double *when)
{
	int code = client_ask(s->socket, json_pack("{s:s}", "verb", "list"), answer);

	*when = now_s();
	return code;
}

static int rates_show(const struct settings *s, const struct command *c, json_t *before,
		      json_t *after, double seconds)
{
	bool terminal = isatty(STDOUT_FILENO);
	json_t *answer = rates(before, after, seconds);
	int code;

	if (!answer)
		return complain(EXIT_FAILED, "out of memory");
	if (terminal && !s->json)
		fputs("\033[H\033[J", stdout);
	code = answer_show(s, c, answer);
	if (!terminal && !s->json)
		putchar('\n');
	json_decref(answer);
	return code;
}

int top_run(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	unsigned looks = 0, pause = s->watch ? s->watch : 1;
	json_t *before = NULL, *after;
	double then, now;
	int code = look(s, &before, &then);

	(void)argc;
	(void)argv;
	if (code != EXIT_OK)
		return code;
	do {
		sleep(pause);
		code = look(s, &after, &now);
		if (code != EXIT_OK)
			break;
		code = rates_show(s, c, before, after, now - then);
		json_decref(before);
		before = after;
		then = now;
	} while (code == EXIT_OK && ++looks != s->count);
	json_decref(before);
	return code;
}

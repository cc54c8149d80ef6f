/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * show.c - the daemon's answers as tables.
 *
 * Owns:    which columns there are and what they are called.
 * How:     list and pools have fixed columns; stats shows whatever members the
 *          answer has, so a counter added to the daemon needs nothing here.
 *          Histograms are left to --json.
 */
#include "show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static json_int_t member(json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

/* ---- list and pools ---------------------------------------------------- */

static void cell_state(json_t *row, const char *key, const struct table_style *style,
		       char text[TABLE_CELL_MAX])
{
	const char *state = json_string_value(json_object_get(row, key));

	(void)style;
	snprintf(text, TABLE_CELL_MAX, "%s%s", state ? state : "-",
		 json_is_true(json_object_get(row, "frozen")) ? ",frozen" : "");
}

static void cell_ratio(json_t *row, const char *key, const struct table_style *style,
		       char text[TABLE_CELL_MAX])
{
	json_int_t physical = member(row, key);

	(void)style;
	if (physical > 0)
		snprintf(text, TABLE_CELL_MAX, "%.2f",
			 (double)member(row, "logical_bytes") / (double)physical);
	else
		snprintf(text, TABLE_CELL_MAX, "-");
}

static void cell_hits(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	json_int_t gets = member(row, key);

	(void)style;
	if (gets > 0)
		snprintf(text, TABLE_CELL_MAX, "%.1f",
			 100.0 * (double)member(row, "gets_ok") / (double)gets);
	else
		snprintf(text, TABLE_CELL_MAX, "-");
}

const struct table_column list_columns[] = {
	{ "NAME", "name", table_cell_plain, false },
	{ "STATE", "state", cell_state, false },
	{ "EPHEMERAL", "ephemeral_pages", table_cell_plain, true },
	{ "PERSISTENT", "persistent_pages", table_cell_plain, true },
	{ "LOGICAL", "logical_bytes", table_cell_bytes, true },
	{ "PHYSICAL", "physical_bytes", table_cell_bytes, true },
	{ "RATIO", "physical_bytes", cell_ratio, true },
	{ "PUTS", "puts", table_cell_plain, true },
	{ "GETS", "gets", table_cell_plain, true },
	{ "HIT%", "gets", cell_hits, true },
	{ "REFUSED", "puts_refused", table_cell_plain, true },
	{ "EVICTED", "evicted_pages", table_cell_plain, true },
	{ .title = NULL },
};

int show_list(json_t *answer, const struct table_style *style)
{
	return table_print(list_columns, json_object_get(answer, "guests"), style);
}

const struct table_column pool_columns[] = {
	{ "GUEST", "guest", table_cell_plain, false },
	{ "POOL", "id", table_cell_plain, true },
	{ "KIND", "kind", table_cell_plain, false },
	{ "SHARED", "shared", table_cell_plain, false },
	{ "OBJECTS", "objects", table_cell_plain, true },
	{ "PAGES", "pages", table_cell_plain, true },
	{ "STORED", "bytes_stored", table_cell_bytes, true },
	{ "PHYSICAL", "bytes_physical", table_cell_bytes, true },
	{ "PUTS", "puts", table_cell_plain, true },
	{ "GETS", "gets", table_cell_plain, true },
	{ "HIT%", "gets", cell_hits, true },
	{ "FLUSHES", "flushes", table_cell_plain, true },
	{ "EVICTED", "evicted_pages", table_cell_plain, true },
	{ .title = NULL },
};

int show_pools(json_t *answer, const struct table_style *style)
{
	return table_print(pool_columns, json_object_get(answer, "pools"), style);
}

/* ---- members as rows --------------------------------------------------- */

/* Sizes by their names: "max" is one, "pages_max" is not. */
static void cell_member(json_t *row, const char *key, const struct table_style *style,
			char text[TABLE_CELL_MAX])
{
	const char *name = json_string_value(json_object_get(row, "member"));

	if (strstr(name, "bytes") || !strcmp(name, "min") || !strcmp(name, "max") ||
	    !strcmp(name, "persistent_max"))
		table_cell_bytes(row, key, style, text);
	else
		table_cell_plain(row, key, style, text);
}

static const struct table_column member_columns[] = {
	{ "MEMBER", "member", table_cell_plain, false },
	{ "VALUE", "value", cell_member, false },
	{ .title = NULL },
};

static const struct table_column counter_columns[] = {
	{ "COUNTER", "member", table_cell_plain, false },
	{ "EPHEMERAL", "ephemeral", cell_member, true },
	{ "PERSISTENT", "persistent", cell_member, true },
	{ .title = NULL },
};

static bool is_scalar(json_t *value)
{
	return !json_is_object(value) && !json_is_array(value);
}

/* One row for each member of object that is not an object or array itself. */
static int members_append(json_t *rows, json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		if (is_scalar(value) &&
		    json_array_append_new(rows, json_pack("{s:s, s:O}", "member", key, "value",
							  value)))
			return -ENOMEM;
	}
	return 0;
}

static int members_print(json_t *first, json_t *second, const struct table_style *style)
{
	json_t *rows = json_array();
	int err = rows ? members_append(rows, first) : -ENOMEM;

	if (!err && second)
		err = members_append(rows, second);
	if (!err)
		err = table_print(member_columns, rows, style);
	json_decref(rows);
	return err;
}

static int counters_print(json_t *guest, const struct table_style *style)
{
	json_t *rows = json_array(), *value;
	json_t *persistent = json_object_get(guest, "persistent");
	const char *key;
	int err = 0;

	json_object_foreach(json_object_get(guest, "ephemeral"), key, value) {
		err |= json_array_append_new(rows, json_pack("{s:s, s:O, s:O?}", "member", key,
							     "ephemeral", value, "persistent",
							     json_object_get(persistent, key)));
	}
	if (!err)
		err = table_print(counter_columns, rows, style);
	json_decref(rows);
	return err;
}

int show_stats(json_t *answer, const struct table_style *style)
{
	json_t *host = json_object_get(answer, "host"), *guest;
	size_t i;
	int err = host ? members_print(host, NULL, style) : 0;

	json_array_foreach(json_object_get(answer, "guests"), i, guest) {
		if (host || i)
			putchar('\n');
		if (!err)
			err = members_print(guest, json_object_get(guest, "quota"), style);
		putchar('\n');
		if (!err)
			err = counters_print(guest, style);
	}
	return err;
}

int show_version(json_t *answer, const struct table_style *style)
{
	(void)style;
	printf("tmemctl %s\ntmemd %s, protocol %lld, pid %lld\n", TMEM_VERSION,
	       json_string_value(json_object_get(answer, "version")),
	       (long long)member(answer, "protocol_version"), (long long)member(answer, "pid"));
	return 0;
}

/* ---- memory and reasons ------------------------------------------------ */

const struct table_column freeable_columns[] = {
	{ "GUEST", "guest", table_cell_plain, false },
	{ "FREEABLE", "freeable_bytes", table_cell_bytes, true },
	{ "EPHEMERAL", "ephemeral_bytes", table_cell_bytes, true },
	{ .title = NULL },
};

int show_freeable(json_t *answer, const struct table_style *style)
{
	return table_print(freeable_columns, json_object_get(answer, "guests"), style);
}

static const struct table_column plan_columns[] = {
	{ "GUEST", "guest", table_cell_plain, false },
	{ "LOSES", "bytes", table_cell_bytes, true },
	{ .title = NULL },
};

int show_plan(json_t *answer, const struct table_style *style)
{
	char taken[TABLE_CELL_MAX], unused[TABLE_CELL_MAX];

	table_cell_bytes(answer, "bytes", style, taken);
	table_cell_bytes(answer, "unused_bytes", style, unused);
	printf("%s would be given back, %s of it unused\n", taken, unused);
	if (!json_array_size(json_object_get(answer, "from")))
		return 0;
	return table_print(plan_columns, json_object_get(answer, "from"), style);
}

static void words_print(json_t *words)
{
	json_t *sentence;
	size_t i;

	json_array_foreach(words, i, sentence)
		puts(json_string_value(sentence));
}

int show_explain(json_t *answer, const struct table_style *style)
{
	json_t *guest = json_object_get(answer, "guest");

	(void)style;
	words_print(guest);
	if (guest)
		putchar('\n');
	words_print(json_object_get(answer, "host"));
	return 0;
}

/* One line for each, for people and for grep: 2026-01-31 12:00:00 KIND GUEST TEXT */
int show_events(json_t *answer, const struct table_style *style)
{
	json_t *event;
	size_t i;

	(void)style;
	json_array_foreach(json_object_get(answer, "events"), i, event) {
		const char *guest = json_string_value(json_object_get(event, "guest"));
		time_t seconds = (time_t)(member(event, "time_ms") / 1000);
		char when[32] = "?";
		struct tm tm;

		if (localtime_r(&seconds, &tm))
			strftime(when, sizeof(when), "%F %T", &tm);
		printf("%s %s %s %s\n", when, json_string_value(json_object_get(event, "kind")),
		       guest ? guest : "-", json_string_value(json_object_get(event, "text")));
	}
	return 0;
}

/* ---- changes ----------------------------------------------------------- */

/* A member of the row's quota. */
static void cell_quota(json_t *row, const char *key, const struct table_style *style,
		       char text[TABLE_CELL_MAX])
{
	table_cell_plain(json_object_get(row, "quota"), key, style, text);
}

static void cell_quota_bytes(json_t *row, const char *key, const struct table_style *style,
			     char text[TABLE_CELL_MAX])
{
	table_cell_bytes(json_object_get(row, "quota"), key, style, text);
}

const struct table_column quota_columns[] = {
	{ "GUEST", "guest", table_cell_plain, false },
	{ "WEIGHT", "weight", cell_quota, true },
	{ "MIN", "min", cell_quota_bytes, true },
	{ "MAX", "max", cell_quota_bytes, true },
	{ "PERSISTENT-MAX", "persistent_max", cell_quota_bytes, true },
	{ "CODEC-EPHEMERAL", "codec_ephemeral", cell_quota, false },
	{ "CODEC-PERSISTENT", "codec_persistent", cell_quota, false },
	{ .title = NULL },
};

int show_changed(json_t *answer, const struct table_style *style)
{
	return table_print(quota_columns, json_object_get(answer, "changed"), style);
}

int show_flushed(json_t *answer, const struct table_style *style)
{
	(void)style;
	printf("%lld pages dropped\n", (long long)member(answer, "pages"));
	return 0;
}

int show_nothing(json_t *answer, const struct table_style *style)
{
	(void)answer;
	(void)style;
	return 0;
}

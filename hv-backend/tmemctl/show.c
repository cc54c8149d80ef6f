/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * show.c - the daemon's answers as tables.
 *
 * Owns:    which columns there are and what they are called.
 * How:     list, top and pools have fixed columns; stats shows whatever members the
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

/* Bytes of a disk, where the guest has one. */
static void cell_disk(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	if (member(row, "disk_bytes"))
		table_cell_bytes(row, key, style, text);
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
	{ "DISK", "disk_bytes", cell_disk, true },
	{ "SPILLED", "spilled_bytes", cell_disk, true },
	{ .title = NULL },
};

int show_list(json_t *answer, const struct table_style *style)
{
	return table_print(list_columns, json_object_get(answer, "guests"), style);
}

static void cell_rate(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	(void)style;
	snprintf(text, TABLE_CELL_MAX, "%.0f", json_number_value(json_object_get(row, key)));
}

/* A ratio as per cent. */
static void cell_percent(json_t *row, const char *key, const struct table_style *style,
			 char text[TABLE_CELL_MAX])
{
	json_t *value = json_object_get(row, key);

	(void)style;
	if (json_is_number(value))
		snprintf(text, TABLE_CELL_MAX, "%.1f", 100.0 * json_number_value(value));
	else
		snprintf(text, TABLE_CELL_MAX, "-");
}

const struct table_column top_columns[] = {
	{ "NAME", "name", table_cell_plain, false },
	{ "STATE", "state", cell_state, false },
	{ "PHYSICAL", "physical_bytes", table_cell_bytes, true },
	{ "PUTS/S", "puts_per_second", cell_rate, true },
	{ "GETS/S", "gets_per_second", cell_rate, true },
	{ "HIT%", "hit_ratio", cell_percent, true },
	{ "FLUSHES/S", "flushes_per_second", cell_rate, true },
	{ "REFUSED/S", "puts_refused_per_second", cell_rate, true },
	{ "EVICTED/S", "evicted_pages_per_second", cell_rate, true },
	{ .title = NULL },
};

int show_top(json_t *answer, const struct table_style *style)
{
	return table_print(top_columns, json_object_get(answer, "guests"), style);
}

/* The host's own pool is a disk's. */
static void cell_kind(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	if (json_is_true(json_object_get(row, "disk")))
		snprintf(text, TABLE_CELL_MAX, "disk");
	else
		table_cell_plain(row, key, style, text);
}

const struct table_column pool_columns[] = {
	{ "GUEST", "guest", table_cell_plain, false },
	{ "POOL", "id", table_cell_plain, true },
	{ "KIND", "kind", cell_kind, false },
	{ "UUID", "uuid", table_cell_plain, false },
	{ "OBJECTS", "objects", table_cell_plain, true },
	{ "PAGES", "pages", table_cell_plain, true },
	{ "STORED", "bytes_stored", table_cell_bytes, true },
	{ "PHYSICAL", "bytes_physical", table_cell_bytes, true },
	{ "PUTS", "puts_ok", table_cell_plain, true },
	{ "OF-PUTS", "puts", table_cell_plain, true },
	{ "GETS", "gets_ok", table_cell_plain, true },
	{ "OF-GETS", "gets", table_cell_plain, true },
	{ "HIT%", "hit_ratio", cell_percent, true },
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

#define MEMBER_COLUMNS						\
	{ "MEMBER", "member", table_cell_plain, false },	\
	{ "VALUE", "value", cell_member, false }
#define COUNTER_COLUMNS						\
	{ "COUNTER", "member", table_cell_plain, false },	\
	{ "EPHEMERAL", "ephemeral", cell_member, true },	\
	{ "PERSISTENT", "persistent", cell_member, true }

static const struct table_column member_columns[] = { MEMBER_COLUMNS, { .title = NULL } };
static const struct table_column counter_columns[] = { COUNTER_COLUMNS, { .title = NULL } };

/* Of both tables: what is chosen of one only leaves the other out. */
const struct table_column stats_columns[] = {
	MEMBER_COLUMNS, COUNTER_COLUMNS, { .title = NULL },
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

/* Between tables, unless other programs may be meant. */
static void gap(const char *title, const struct table_style *style)
{
	if (!style->columns)
		printf("\n%s", title);
}

int show_stats(json_t *answer, const struct table_style *style)
{
	json_t *host = json_object_get(answer, "host"), *guest;
	size_t i;
	int err = host ? members_print(host, NULL, style) : 0;

	json_array_foreach(json_object_get(answer, "guests"), i, guest) {
		if (host || i)
			gap("", style);
		if (!err)
			err = members_print(guest, json_object_get(guest, "quota"), style);
		if (!err && json_is_object(json_object_get(guest, "disk"))) {
			gap("DISK\n", style);
			err = members_print(json_object_get(guest, "disk"), NULL, style);
		}
		gap("", style);
		if (!err)
			err = counters_print(guest, style);
	}
	return err;
}

static void words_print(json_t *words)
{
	json_t *sentence;
	size_t i;

	json_array_foreach(words, i, sentence) {
		puts(json_string_value(sentence));
	}
}

/* ---- status --------------------------------------------------------------- */

static const char *text_bytes(json_t *row, const char *key, const struct table_style *style,
			      char text[TABLE_CELL_MAX])
{
	table_cell_bytes(row, key, style, text);
	return text;
}

static void guests_line(json_t *totals)
{
	printf("Guests      %lld: %lld with a driver, %lld without, %lld not connected, "
	       "%lld frozen\n", (long long)member(totals, "guests"),
	       (long long)member(totals, "ready"), (long long)member(totals, "connected"),
	       (long long)(member(totals, "listening") + member(totals, "departed")),
	       (long long)member(totals, "frozen"));
}

static void memory_lines(json_t *answer, json_t *totals, json_t *host,
			 const struct table_style *style)
{
	char a[TABLE_CELL_MAX], b[TABLE_CELL_MAX], c[TABLE_CELL_MAX], ratio[TABLE_CELL_MAX];

	printf("Arena       %s in memory, may use %s of %s\n",
	       text_bytes(host, "resident_bytes", style, a),
	       text_bytes(host, "target_bytes", style, b),
	       text_bytes(answer, "arena_bytes", style, c));
	cell_ratio(totals, "physical_bytes", style, ratio);
	printf("Pages       %s kept in %s, ratio %s\n", text_bytes(totals, "logical_bytes", style, a),
	       text_bytes(totals, "physical_bytes", style, b), ratio);
	printf("Ephemeral   %lld pages in %s\n", (long long)member(totals, "ephemeral_pages"),
	       text_bytes(totals, "ephemeral_bytes", style, a));
	printf("Persistent  %lld pages in %s of at most %s\n",
	       (long long)member(totals, "persistent_pages"),
	       text_bytes(totals, "persistent_bytes", style, a),
	       text_bytes(host, "persistent_max_bytes", style, b));
}

static void work_lines(json_t *totals, const struct table_style *style)
{
	char hits[TABLE_CELL_MAX];
	bool any = member(totals, "gets") > 0;

	cell_hits(totals, "gets", style, hits);
	printf("Puts        %lld of %lld taken, %lld refused\n",
	       (long long)member(totals, "puts_ok"), (long long)member(totals, "puts"),
	       (long long)member(totals, "puts_refused"));
	printf("Gets        %lld of %lld found%s%s%s\n", (long long)member(totals, "gets_ok"),
	       (long long)member(totals, "gets"), any ? ", " : "", any ? hits : "",
	       any ? " %" : "");
	printf("Evicted     %lld pages\n", (long long)member(totals, "evicted_pages"));
	if (member(totals, "damaged"))
		printf("Damaged     %lld pages\n", (long long)member(totals, "damaged"));
}

int show_status(json_t *answer, const struct table_style *style)
{
	json_t *totals = json_object_get(answer, "totals"), *host = json_object_get(answer, "host");
	json_t *verdict = json_object_get(answer, "verdict");
	const char *words = json_string_value(json_object_get(verdict, "text"));

	printf("tmemd %s, pid %lld\n%s\n\n", json_string_value(json_object_get(answer, "version")),
	       (long long)member(answer, "pid"), words ? words : "");
	guests_line(totals);
	memory_lines(answer, totals, host, style);
	work_lines(totals, style);
	putchar('\n');
	words_print(json_object_get(answer, "words"));
	return 0;
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
static void cell_time(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	time_t seconds = (time_t)(member(row, key) / 1000);
	struct tm tm;

	(void)style;
	if (!localtime_r(&seconds, &tm) || !strftime(text, TABLE_CELL_MAX, "%F %T", &tm))
		strcpy(text, "?");
}

const struct table_column event_columns[] = {
	{ "TIME", "time_ms", cell_time, false },
	{ "KIND", "kind", table_cell_plain, false },
	{ "GUEST", "guest", table_cell_plain, false },
	{ "TEXT", "text", table_cell_plain, false },
	{ .title = NULL },
};

/* Lines, which -f can add to without their columns moving; a table of what -o names. */
int show_events(json_t *answer, const struct table_style *style)
{
	json_t *events = json_object_get(answer, "events"), *event;
	size_t i;

	if (style->columns)
		return table_print(event_columns, events, style);
	json_array_foreach(events, i, event) {
		const char *guest = json_string_value(json_object_get(event, "guest"));
		char when[TABLE_CELL_MAX];

		cell_time(event, "time_ms", style, when);
		printf("%s %s %s %s\n", when, json_string_value(json_object_get(event, "kind")),
		       guest ? guest : "-", json_string_value(json_object_get(event, "text")));
	}
	return 0;
}

const struct table_column doctor_columns[] = {
	{ "STATE", "state", table_cell_plain, false },
	{ "CHECK", "check", table_cell_plain, false },
	{ "FINDING", "text", table_cell_plain, false },
	{ .title = NULL },
};

int show_doctor(json_t *answer, const struct table_style *style)
{
	return table_print(doctor_columns, json_object_get(answer, "checks"), style);
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
	json_t *limits = json_object_get(answer, "limits");

	if (limits)
		return members_print(limits, NULL, style);
	return table_print(quota_columns, json_object_get(answer, "changed"), style);
}

/* What its VMM needs to know. */
int show_added(json_t *answer, const struct table_style *style)
{
	json_t *g = json_object_get(answer, "guest");

	(void)style;
	printf("socket %s, %lld vectors if over ivshmem\n",
	       json_string_value(json_object_get(g, "socket")),
	       (long long)json_integer_value(json_object_get(g, "vectors")));
	return 0;
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

/* The URL alone on its line, to be copied; how it can be reached where there is none. */
int show_dashboard(json_t *answer, const struct table_style *style)
{
	const char *url = json_string_value(json_object_get(answer, "url"));
	const char *path = json_string_value(json_object_get(answer, "path"));
	const char *socket = json_string_value(json_object_get(answer, "socket"));

	(void)style;
	if (url) {
		puts(url);
		return 0;
	}
	printf("http://127.0.0.1:9810%s\n", path ? path : "");
	fprintf(stderr, "tmemctl: http-port is not set, so forward a port to the socket:\n"
		"  ssh -L 9810:%s HOST      or, here\n"
		"  socat TCP-LISTEN:9810,bind=127.0.0.1,fork UNIX-CONNECT:%s\n",
		socket ? socket : "", socket ? socket : "");
	return 0;
}

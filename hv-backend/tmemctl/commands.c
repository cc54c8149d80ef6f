/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commands.c - one row for each command.
 *
 * How:     a command's row says which arguments and options it takes, makes the
 *          request from them, and names the function that shows the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "complain.h"
#include "settings.h"
#include "show.h"
#include "size.h"

/* ---- requests ---------------------------------------------------------- */

static json_t *request_guest(const struct settings *s, const char *verb, int argc, char *argv[])
{
	(void)s;
	if (argc == 0)
		return json_pack("{s:s}", "verb", verb);
	return json_pack("{s:s, s:s}", "verb", verb, "guest", argv[0]);
}

/* A name, --all or --host, and values: which there are, the daemon knows. */
static json_t *request_set(const struct settings *s, const char *verb, int argc, char *argv[])
{
	bool live = s->live || !s->config;
	json_t *request;

	if (s->all + s->host + argc != 1) {
		complain(EXIT_USAGE, "set: either a GUEST is named, or --all, or --host");
		return NULL;
	}
	if (s->host && s->style.columns) {
		complain(EXIT_USAGE, "set: --host shows no table for -o");
		return NULL;
	}
	if (!json_object_size(s->values)) {
		complain(EXIT_USAGE, "set: nothing to set is given");
		return NULL;
	}
	request = json_pack("{s:s, s:O, s:b, s:b}", "verb", verb, "values", s->values, "live",
			    live, "config", s->config);
	if (s->all)
		json_object_set_new(request, "all", json_true());
	else if (s->host)
		json_object_set_new(request, "host", json_true());
	else
		json_object_set_new(request, "guest", json_string(argv[0]));
	return request;
}

/* A size that was given, if it was.  EXIT_USAGE. */
static int size_set(json_t *request, const char *key, const char *text)
{
	uint64_t bytes;

	if (!text)
		return EXIT_OK;
	if (size_parse(text, &bytes) || bytes > INT64_MAX)
		return complain(EXIT_USAGE, "add: \"%s\" is not a size", text);
	json_object_set_new(request, key, json_integer((json_int_t)bytes));
	return EXIT_OK;
}

/* The daemon checks the rest. */
static json_t *request_add(const struct settings *s, const char *verb, int argc, char *argv[])
{
	json_t *request = json_pack("{s:s, s:s, s:O}", "verb", verb, "name", argv[0], "values",
				    s->values);

	(void)argc;
	if (size_set(request, "region", s->region) || size_set(request, "disk_size", s->disk)) {
		json_decref(request);
		return NULL;
	}
	if (s->transport)
		json_object_set_new(request, "transport", json_string(s->transport));
	return request;
}

static json_t *request_remove(const struct settings *s, const char *verb, int argc, char *argv[])
{
	(void)argc;
	return json_pack("{s:s, s:s, s:b}", "verb", verb, "guest", argv[0], "force", s->force);
}

static json_t *request_auth(const struct settings *s, const char *verb, int argc, char *argv[])
{
	(void)argc;
	if (s->allow == s->deny) {
		complain(EXIT_USAGE, "auth: either --allow or --deny");
		return NULL;
	}
	return json_pack("{s:s, s:s, s:s, s:b}", "verb", verb, "guest", argv[0], "uuid", argv[1],
			 "allow", s->allow);
}

/* Persistent pages cannot be dropped; that this does not is said by whom it is done. */
static json_t *request_flush(const struct settings *s, const char *verb, int argc, char *argv[])
{
	if (!s->ephemeral) {
		complain(EXIT_USAGE, "flush: only --ephemeral pages can be dropped");
		return NULL;
	}
	return request_guest(s, verb, argc, argv);
}

static json_t *request_dashboard(const struct settings *s, const char *verb, int argc,
				 char *argv[])
{
	(void)argc;
	(void)argv;
	return json_pack("{s:s, s:b}", "verb", verb, "read_only", s->read_only);
}

/* ---- commands ---------------------------------------------------------- */

int answer_show(const struct settings *s, const struct command *c, json_t *answer)
{
	int err;

	if (s->json)
		err = json_dumpf(answer, stdout, JSON_COMPACT) || putchar('\n') == EOF;
	else
		err = c->show(answer, &s->style);
	if (err || fflush(stdout))
		return complain(EXIT_FAILED, "cannot print the answer");
	return EXIT_OK;
}

static int ask_once(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	json_t *request = c->request(s, c->name, argc, argv), *answer;
	int code;

	if (!request)
		return EXIT_USAGE;
	code = client_ask(s->socket, request, &answer);
	if (code != EXIT_OK)
		return code;
	code = answer_show(s, c, answer);
	json_decref(answer);
	return code;
}

/* Once, or again and again until something fails. */
int ask(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	bool terminal = isatty(STDOUT_FILENO);
	unsigned looks = 0;
	int code;

	for (;;) {
		if (s->watch && terminal && !s->json)
			fputs("\033[H\033[J", stdout);
		code = ask_once(s, c, argc, argv);
		if (code != EXIT_OK || !s->watch || ++looks == s->count)
			return code;
		sleep(s->watch);
		if (!terminal && !s->json)
			putchar('\n');
	}
}

static int shrink_plan(const struct settings *s, const struct command *c, uint64_t wanted)
{
	json_t *answer;
	int code = client_ask(s->socket, json_pack("{s:s, s:I, s:b}", "verb", c->name, "bytes",
						   (json_int_t)wanted, "dry_run", 1), &answer);

	if (code != EXIT_OK)
		return code;
	code = answer_show(s, c, answer);
	json_decref(answer);
	return code;
}

static int shrink_code(const struct settings *s, uint64_t wanted, uint64_t given, const char *why)
{
	char text[SIZE_TEXT_MAX];

	if (s->json)
		printf("{\"ok\":%s,\"bytes\":%llu,\"stopped_because\":\"%s\","
		       "\"schema_version\":1}\n", given ? "true" : "false",
		       (unsigned long long)given, why);
	else
		printf("%s given back: %s\n", size_format(given, text), why);
	if (given >= wanted)
		return EXIT_OK;
	return given ? EXIT_PARTLY : EXIT_FAILED;
}

/* The daemon gives back a slice for each request: ask until it has no more. */
static int shrink(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	uint64_t wanted, given = 0, slice = 1;
	const char *why = "done";
	json_t *answer = NULL, *reclaimed;
	int code = EXIT_OK;

	(void)argc;
	if (size_parse(argv[0], &wanted) || !wanted || wanted > INT64_MAX)
		return complain(EXIT_USAGE, "shrink: \"%s\" is not a size above 0", argv[0]);
	if (s->dry_run)
		return shrink_plan(s, c, wanted);
	while (given < wanted && slice) {
		json_decref(answer);
		answer = NULL;
		code = client_ask(s->socket, json_pack("{s:s, s:I}", "verb", c->name, "bytes",
						       (json_int_t)(wanted - given)), &answer);
		if (code != EXIT_OK)
			return given ? EXIT_PARTLY : code;
		reclaimed = json_object_get(answer, "reclaimed");
		slice = (uint64_t)json_integer_value(json_object_get(reclaimed, "bytes"));
		given += slice;
		why = json_string_value(json_object_get(reclaimed, "stopped_because"));
		if (!json_is_true(json_object_get(reclaimed, "done")))
			break;
	}
	code = shrink_code(s, wanted, given, why);
	json_decref(answer);
	return code;
}

static int events_once(struct settings *s, const struct command *c, json_int_t *after)
{
	json_t *answer, *list, *newest;
	int code = client_ask(s->socket, json_pack("{s:s, s:I}", "verb", c->name, "after", *after),
			      &answer);

	if (code != EXIT_OK)
		return code;
	list = json_object_get(answer, "events");
	newest = json_array_get(list, json_array_size(list) - 1);
	if (newest)
		*after = json_integer_value(json_object_get(newest, "number"));
	if (newest || !s->follow) {
		code = answer_show(s, c, answer);
		s->style.noheadings = true;
	}
	json_decref(answer);
	return code;
}

static int events(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	struct settings own = *s;	/* titles come once */
	json_int_t after = 0;
	int code;

	(void)argc;
	(void)argv;
	while ((code = events_once(&own, c, &after)) == EXIT_OK && s->follow)
		sleep(1);
	return code;
}

#define TAKES_LOOKS	(TAKES_WATCH | TAKES_COUNT)

const struct command commands[] = {
	{ "status", "", "the host on one screen", 0, 0, TAKES_LOOKS, request_guest, ask,
	  show_status, NULL },
	{ "list", "", "one line for each guest", 0, 0, TAKES_LOOKS | TAKES_COLUMNS,
	  request_guest, ask, show_list, list_columns },
	{ "stats", "[GUEST]", "every counter, of one guest or of all and the host", 0, 1,
	  TAKES_LOOKS | TAKES_COLUMNS, request_guest, ask, show_stats, stats_columns },
	{ "top", "", "guests by what they do now", 0, 0, TAKES_LOOKS | TAKES_COLUMNS, NULL,
	  top_run, show_top, top_columns },
	{ "pools", "[GUEST]", "one line for each pool", 0, 1, TAKES_LOOKS | TAKES_COLUMNS,
	  request_guest, ask, show_pools, pool_columns },
	{ "version", "", "versions of tmemctl and of the daemon", 0, 0, 0, request_guest, ask,
	  show_version, NULL },
	{ "set", "GUEST|--all|--host", "change quotas: --weight, --min, --max, --persistent-max,\n"
	  "                               --codec, or the host's limits: --arena, ...; in\n"
	  "                               force, or --config: in the file", 0, 1,
	  TAKES_ALL | TAKES_HOST | TAKES_VALUES | TAKES_PLACE | TAKES_COLUMNS | TAKES_CONNECT,
	  request_set, set_run, show_changed, quota_columns },
	{ "add", "GUEST", "serve one more: --transport, --region, and as set", 1, 1,
	  TAKES_GUEST | TAKES_VALUES, request_add, ask, show_added, NULL },
	{ "remove", "GUEST", "serve one that was added no more", 1, 1, TAKES_FORCE,
	  request_remove, ask, show_nothing, NULL },
	{ "attach", "DOMAIN", "give a libvirt domain its device", 1, 1,
	  TAKES_PLACE | TAKES_PRINT_XML | TAKES_CONNECT, NULL, libvirt_run, NULL, NULL },
	{ "detach", "DOMAIN", "drain it and take its device away", 1, 1,
	  TAKES_PLACE | TAKES_FORCE | TAKES_CONNECT, NULL, libvirt_run, NULL, NULL },
	{ "freeze", "GUEST", "refuse its puts", 1, 1, 0, request_guest, ask, show_nothing, NULL },
	{ "thaw", "GUEST", "take its puts again", 1, 1, 0, request_guest, ask, show_nothing,
	  NULL },
	{ "auth", "GUEST UUID", "--allow or --deny it a shared pool", 2, 2, TAKES_RIGHT,
	  request_auth, ask, show_nothing, NULL },
	{ "flush", "GUEST", "drop its pages: --ephemeral ones", 1, 1, TAKES_EPHEMERAL,
	  request_flush, ask, show_flushed, NULL },
	{ "drain", "GUEST", "have it take its pages back to its own disk, and wait", 1, 1, 0,
	  request_guest, drain_run, NULL, NULL },
	{ "resume", "GUEST", "let it offer pages again after a drain", 1, 1, 0, request_guest,
	  ask, show_nothing, NULL },
	{ "shrink", "SIZE", "give memory back to the host", 1, 1, TAKES_DRY_RUN, NULL, shrink,
	  show_plan, NULL },
	{ "freeable", "", "what could go without losing data", 0, 0, TAKES_LOOKS | TAKES_COLUMNS,
	  request_guest, ask, show_freeable, freeable_columns },
	{ "explain", "[GUEST]", "why it was refused or lost pages; the host's memory", 0, 1,
	  TAKES_LOOKS, request_guest, ask, show_explain, NULL },
	{ "events", "", "what was decided and why", 0, 0, TAKES_FOLLOW | TAKES_COLUMNS, NULL,
	  events, show_events, event_columns },
	{ "dashboard", "", "a URL that opens the dashboard, once", 0, 0, TAKES_READ_ONLY,
	  request_dashboard, ask, show_dashboard, NULL },
	{ "doctor", "", "what on this host is not as it should be", 0, 0, TAKES_COLUMNS, NULL,
	  doctor_run, show_doctor, doctor_columns },
	{ .name = NULL },
};

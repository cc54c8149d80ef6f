/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - tmemctl: ask tmemd, show what it says.
 *
 * Owns:    the command line: options, one row for each command.
 * How:     a command's row says which arguments it takes, makes the request from
 *          them, and names the function that shows the answer.
 * Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 no such guest.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "complain.h"
#include "show.h"
#include "size.h"

#define SOCKET_DEFAULT	"/run/tmemd/control.sock"

struct settings {
	const char *socket;
	bool json;
	bool dry_run;		/* shrink: only say what would happen */
	bool follow;		/* events: go on */
	unsigned watch;		/* seconds between two looks, 0: one look */
	struct table_style style;
};

struct command {
	const char *name;
	const char *arguments, *help;
	int arguments_min, arguments_max;
	bool watchable;
	/* NULL: the arguments make no request (already complained) or no memory. */
	json_t *(*request)(const char *verb, int argc, char *argv[]);
	int (*run)(const struct settings *s, const struct command *c, int argc, char *argv[]);
	show_fn *show;
};

/* ---- requests ---------------------------------------------------------- */

static json_t *request_guest(const char *verb, int argc, char *argv[])
{
	if (argc == 0)
		return json_pack("{s:s}", "verb", verb);
	return json_pack("{s:s, s:s}", "verb", verb, "guest", argv[0]);
}

/* GUEST OPTION=VALUE...: the daemon knows the options. */
static json_t *request_set(const char *verb, int argc, char *argv[])
{
	json_t *values = json_object();

	for (int i = 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals) {
			complain(EXIT_USAGE, "set: \"%s\" is not OPTION=VALUE", argv[i]);
			json_decref(values);
			return NULL;
		}
		*equals = '\0';
		json_object_set_new(values, argv[i], json_string(equals + 1));
	}
	return json_pack("{s:s, s:s, s:o}", "verb", verb, "guest", argv[0], "values", values);
}

/* ---- commands ---------------------------------------------------------- */

static int answer_show(const struct settings *s, const struct command *c, json_t *answer)
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
	json_t *request = c->request(c->name, argc, argv), *answer;
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
static int ask(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	bool terminal = isatty(STDOUT_FILENO);
	int code;

	for (;;) {
		if (s->watch && terminal && !s->json)
			fputs("\033[H\033[J", stdout);
		code = ask_once(s, c, argc, argv);
		if (code != EXIT_OK || !s->watch)
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

/* The daemon gives back a slice for each request: ask until it has no more. */
static int shrink(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	uint64_t wanted, given = 0, slice = 1;
	const char *why = "done";
	char text[SIZE_TEXT_MAX];
	json_t *answer = NULL, *reclaimed;
	int code;

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
			return code;
		reclaimed = json_object_get(answer, "reclaimed");
		slice = (uint64_t)json_integer_value(json_object_get(reclaimed, "bytes"));
		given += slice;
		why = json_string_value(json_object_get(reclaimed, "stopped_because"));
		if (!json_is_true(json_object_get(reclaimed, "done")))
			break;
	}
	if (s->json)
		printf("{\"ok\":true,\"bytes\":%llu,\"stopped_because\":\"%s\","
		       "\"schema_version\":1}\n", (unsigned long long)given, why);
	else
		printf("%s given back: %s\n", size_format(given, text), why);
	json_decref(answer);
	return EXIT_OK;
}

static int events_once(const struct settings *s, const struct command *c, json_int_t *after)
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
	if (newest || !s->follow)
		code = answer_show(s, c, answer);
	json_decref(answer);
	return code;
}

static int events(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	json_int_t after = 0;
	int code;

	(void)argc;
	(void)argv;
	while ((code = events_once(s, c, &after)) == EXIT_OK && s->follow)
		sleep(1);
	return code;
}

/* How a guest's drain fares: "none" while there is no result; code: as client_ask(). */
static int drain_state(const struct settings *s, const char *guest, char state[16],
		       uint64_t *left)
{
	json_t *answer, *g;
	const char *text;
	int code = client_ask(s->socket, json_pack("{s:s, s:s}", "verb", "stats", "guest", guest),
			      &answer);

	if (code != EXIT_OK)
		return code;
	g = json_array_get(json_object_get(answer, "guests"), 0);
	text = json_string_value(json_object_get(g, "state"));
	if (!text || strcmp(text, "ready"))
		code = complain(EXIT_FAILED, "guest %s went away before it had drained", guest);
	text = json_string_value(json_object_get(g, "drain"));
	snprintf(state, 16, "%s", text ? text : "");
	*left = (uint64_t)json_integer_value(json_object_get(g, "drain_left"));
	json_decref(answer);
	return code;
}

/* Ask the guest, and wait for what it says. */
static int drain(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	char state[16] = "none";
	uint64_t left = 0;
	json_t *answer;
	int code = client_ask(s->socket, c->request(c->name, argc, argv), &answer);

	if (code != EXIT_OK)
		return code;
	json_decref(answer);
	while (!strcmp(state, "none")) {
		nanosleep(&pause, NULL);
		code = drain_state(s, argv[0], state, &left);
		if (code != EXIT_OK)
			return code;
	}
	if (s->json)
		printf("{\"ok\":%s,\"drain\":\"%s\",\"drain_left\":%llu,\"schema_version\":1}\n",
		       left ? "false" : "true", state, (unsigned long long)left);
	if (strcmp(state, "done"))
		return complain(EXIT_FAILED, "guest %s could not take %llu pages back and goes on",
				argv[0], (unsigned long long)left);
	if (!s->json)
		printf("drained: guest %s needs nothing of this host\n", argv[0]);
	return EXIT_OK;
}

static const struct command commands[] = {
	{ "list", "", "one line for each guest", 0, 0, true, request_guest, ask, show_list },
	{ "stats", "[GUEST]", "every counter, of one guest or of all and the host", 0, 1, true,
	  request_guest, ask, show_stats },
	{ "pools", "[GUEST]", "one line for each pool", 0, 1, true, request_guest, ask,
	  show_pools },
	{ "version", "", "versions of tmemctl and of the daemon", 0, 0, false, request_guest, ask,
	  show_version },
	{ "set", "GUEST OPTION=VALUE...", "change weight, min, max, persistent-max, codec-ephemeral,\n"
	  "                               codec-persistent of a running guest", 2, 64, false,
	  request_set, ask, show_quota },
	{ "freeze", "GUEST", "refuse its puts", 1, 1, false, request_guest, ask, show_nothing },
	{ "thaw", "GUEST", "take its puts again", 1, 1, false, request_guest, ask, show_nothing },
	{ "flush", "GUEST", "drop its ephemeral pages", 1, 1, false, request_guest, ask,
	  show_flushed },
	{ "drain", "GUEST", "have it take its pages back to its own disk, and wait", 1, 1, false,
	  request_guest, drain, NULL },
	{ "resume", "GUEST", "let it offer pages again after a drain", 1, 1, false, request_guest,
	  ask, show_nothing },
	{ "shrink", "SIZE", "give memory back to the host", 1, 1, false, NULL, shrink, show_plan },
	{ "freeable", "", "what could go without losing data", 0, 0, true, request_guest, ask,
	  show_freeable },
	{ "explain", "[GUEST]", "why it was refused or lost pages; the host's memory", 0, 1, true,
	  request_guest, ask, show_explain },
	{ "events", "", "what was decided and why", 0, 0, false, NULL, events, show_events },
};

static const size_t command_count = sizeof(commands) / sizeof(commands[0]);

static void help(void)
{
	char line[64];

	printf("Usage: tmemctl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
	for (size_t i = 0; i < command_count; i++) {
		snprintf(line, sizeof(line), "%s %s", commands[i].name, commands[i].arguments);
		printf("  %-28s %s\n", line, commands[i].help);
	}
	printf("\nOptions:\n"
	       "  --socket PATH                the daemon's control socket\n"
	       "                               (%s)\n"
	       "  --json                       the daemon's answer, one JSON object a line\n"
	       "  -b, --bytes                  sizes in bytes\n"
	       "  --raw                        columns not aligned\n"
	       "  --noheadings                 no line of titles\n"
	       "  --dry-run                    shrink: only say who would lose what\n"
	       "  -f, --follow                 events: go on as they come\n"
	       "  --watch SECONDS              list, stats, pools, freeable, explain: look\n"
	       "                               again and again\n"
	       "  -h, --help                   print this\n"
	       "  -V, --version                print the version\n\n"
	       "Exit status: 0 done, 1 failed, 2 usage, 3 no daemon, 4 no such guest.\n",
	       SOCKET_DEFAULT);
}

/* ---- command line ------------------------------------------------------ */

enum { FLAG_SOCKET = 256, FLAG_JSON, FLAG_RAW, FLAG_NOHEADINGS, FLAG_WATCH, FLAG_DRY_RUN };

static const struct option flags[] = {
	{ "socket", required_argument, NULL, FLAG_SOCKET },
	{ "json", no_argument, NULL, FLAG_JSON },
	{ "bytes", no_argument, NULL, 'b' },
	{ "raw", no_argument, NULL, FLAG_RAW },
	{ "noheadings", no_argument, NULL, FLAG_NOHEADINGS },
	{ "watch", required_argument, NULL, FLAG_WATCH },
	{ "dry-run", no_argument, NULL, FLAG_DRY_RUN },
	{ "follow", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int watch_parse(const char *text, unsigned *seconds)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || *text == '-' || n < 1 || n > 86400)
		return complain(EXIT_USAGE, "--watch: \"%s\" is not a number of seconds, 1 to 86400",
				text);
	*seconds = (unsigned)n;
	return EXIT_OK;
}

static int flag_apply(int flag, struct settings *s)
{
	switch (flag) {
	case FLAG_SOCKET:
		s->socket = optarg;
		return EXIT_OK;
	case FLAG_JSON:
		s->json = true;
		return EXIT_OK;
	case FLAG_RAW:
		s->style.raw = true;
		return EXIT_OK;
	case FLAG_NOHEADINGS:
		s->style.noheadings = true;
		return EXIT_OK;
	case FLAG_WATCH:
		return watch_parse(optarg, &s->watch);
	case FLAG_DRY_RUN:
		s->dry_run = true;
		return EXIT_OK;
	case 'f':
		s->follow = true;
		return EXIT_OK;
	case 'b':
		s->style.bytes = true;
		return EXIT_OK;
	case 'h':
		help();
		exit(EXIT_OK);
	case 'V':
		printf("tmemctl %s\n", TMEM_VERSION);
		exit(EXIT_OK);
	}
	fputs("Try 'tmemctl --help'.\n", stderr);
	return EXIT_USAGE;
}

static int command_run(const struct settings *s, int argc, char *argv[])
{
	const struct command *c = commands, *end = commands + command_count;

	if (argc == 0)
		return complain(EXIT_USAGE, "no command is given");
	while (c < end && strcmp(c->name, argv[0]))
		c++;
	if (c == end)
		return complain(EXIT_USAGE, "no command is called \"%s\"", argv[0]);
	if (argc - 1 < c->arguments_min || argc - 1 > c->arguments_max)
		return complain(EXIT_USAGE, "%s: the arguments are: %s", c->name,
				c->arguments[0] ? c->arguments : "none");
	if (s->watch && !c->watchable)
		return complain(EXIT_USAGE, "%s: there is nothing to watch", c->name);
	return c->run(s, c, argc - 1, argv + 1);
}

int main(int argc, char *argv[])
{
	struct settings s = { .socket = SOCKET_DEFAULT };
	int flag, code;

	while ((flag = getopt_long(argc, argv, "bfhV", flags, NULL)) != -1) {
		code = flag_apply(flag, &s);
		if (code != EXIT_OK)
			return code;
	}
	return command_run(&s, argc - optind, argv + optind);
}

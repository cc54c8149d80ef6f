/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - tmemctl: ask tmemd, show what it says.
 *
 * Owns:    the command line: its options, and which command is meant.
 * Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 no such guest, 5 denied,
 *          6 partly done.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "settings.h"

#define SOCKET_DEFAULT	"/run/tmemd/control.sock"

enum {
	FLAG_SOCKET = 256, FLAG_JSON, FLAG_RAW, FLAG_NOHEADINGS, FLAG_WATCH, FLAG_COUNT,
	FLAG_DRY_RUN, FLAG_ALL, FLAG_LIVE, FLAG_CONFIG, FLAG_EPHEMERAL, FLAG_ALLOW, FLAG_DENY,
	FLAG_CODEC, FLAG_VALUE, FLAG_TRANSPORT, FLAG_REGION, FLAG_DISK, FLAG_FORCE, FLAG_PRINT_XML,
	FLAG_CONNECT, FLAG_READ_ONLY, FLAG_HOST,
};

/* takes: 0 where every command does. */
static const struct flag {
	const char *name;
	int has_argument, value;
	unsigned takes;
} flag_rows[] = {
	{ "socket", required_argument, FLAG_SOCKET, 0 },
	{ "json", no_argument, FLAG_JSON, 0 },
	{ "bytes", no_argument, 'b', 0 },
	{ "raw", no_argument, FLAG_RAW, 0 },
	{ "noheadings", no_argument, FLAG_NOHEADINGS, 0 },
	{ "output", required_argument, 'o', TAKES_COLUMNS },
	{ "watch", required_argument, FLAG_WATCH, TAKES_WATCH },
	{ "count", required_argument, FLAG_COUNT, TAKES_COUNT },
	{ "dry-run", no_argument, FLAG_DRY_RUN, TAKES_DRY_RUN },
	{ "follow", no_argument, 'f', TAKES_FOLLOW },
	{ "all", no_argument, FLAG_ALL, TAKES_ALL },
	{ "host", no_argument, FLAG_HOST, TAKES_HOST },
	{ "arena", required_argument, FLAG_VALUE, TAKES_HOST },
	{ "memory-policy", required_argument, FLAG_VALUE, TAKES_HOST },
	{ "memory-floor", required_argument, FLAG_VALUE, TAKES_HOST },
	{ "memory-low", required_argument, FLAG_VALUE, TAKES_HOST },
	{ "memory-high", required_argument, FLAG_VALUE, TAKES_HOST },
	{ "live", no_argument, FLAG_LIVE, TAKES_PLACE },
	{ "config", no_argument, FLAG_CONFIG, TAKES_PLACE },
	{ "weight", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "min", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "max", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "persistent-max", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "codec", required_argument, FLAG_CODEC, TAKES_VALUES },
	{ "codec-ephemeral", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "codec-persistent", required_argument, FLAG_VALUE, TAKES_VALUES },
	{ "ephemeral", no_argument, FLAG_EPHEMERAL, TAKES_EPHEMERAL },
	{ "allow", no_argument, FLAG_ALLOW, TAKES_RIGHT },
	{ "deny", no_argument, FLAG_DENY, TAKES_RIGHT },
	{ "read-only", no_argument, FLAG_READ_ONLY, TAKES_READ_ONLY },
	{ "transport", required_argument, FLAG_TRANSPORT, TAKES_GUEST },
	{ "region", required_argument, FLAG_REGION, TAKES_GUEST },
	{ "disk", required_argument, FLAG_DISK, TAKES_GUEST },
	{ "force", no_argument, FLAG_FORCE, TAKES_FORCE },
	{ "print-xml", no_argument, FLAG_PRINT_XML, TAKES_PRINT_XML },
	{ "connect", required_argument, FLAG_CONNECT, TAKES_CONNECT },
	{ "help", no_argument, 'h', 0 },
	{ "version", no_argument, 'V', 0 },
};

#define FLAG_ROWS	(sizeof(flag_rows) / sizeof(flag_rows[0]))

_Static_assert(FLAG_ROWS <= 64, "struct settings has no bit for an option");

static void help(void)
{
	char line[64];

	printf("Usage: tmemctl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
	for (const struct command *c = commands; c->name; c++) {
		snprintf(line, sizeof(line), "%s %s", c->name, c->arguments);
		printf("  %-28s %s\n", line, c->help);
	}
	printf("\nOptions:\n"
	       "  --socket PATH                the daemon's control socket\n"
	       "                               (%s)\n"
	       "  --json                       the daemon's answer, one JSON object a line\n"
	       "  -b, --bytes                  sizes in bytes\n"
	       "  --raw                        columns not aligned\n"
	       "  --noheadings                 no line of titles\n"
	       "  -o, --output COLUMNS         of a table only these, by their titles: A,B,...\n"
	       "  --all                        set: of every guest\n"
	       "  --weight N, --min SIZE, --max SIZE, --persistent-max SIZE, --codec CODEC,\n"
	       "  --codec-ephemeral CODEC, --codec-persistent CODEC\n"
	       "                               set, add: what; a limit may be none\n"
	       "  --host                       set: of the host, these and --persistent-max:\n"
	       "  --arena SIZE, --memory-policy on|off, --memory-floor SIZE, --memory-low SIZE,\n"
	       "  --memory-high SIZE           the most it may hold; when it is given back\n"
	       "  --live, --config             set: what is in force; the configuration file, or\n"
	       "                               the domain's; attach, detach: now; at its start\n"
	       "  --transport TRANSPORT, --region SIZE\n"
	       "                               add: what its VMM speaks (ivshmem)\n"
	       "  --disk SIZE                  add: of a disk that needs no driver of ours\n"
	       "  --force                      remove, detach: though pages are lost\n"
	       "  --print-xml                  attach: only show the device\n"
	       "  --connect URI                attach, detach, set --config: of libvirt\n"
	       "  --ephemeral                  flush: pages that can be dropped\n"
	       "  --allow, --deny              auth: may it create the pool\n"
	       "  --dry-run                    shrink: only say who would lose what\n"
	       "  --read-only                  dashboard: who opens it may only look\n"
	       "  -f, --follow                 events: go on as they come\n"
	       "  --watch SECONDS              look again and again\n"
	       "  --count N                    but N times only\n"
	       "  -h, --help                   print this\n"
	       "  -V, --version                print the version\n\n"
	       "Exit status: 0 done, 1 failed, 2 usage, 3 no daemon, 4 no such guest, 5 denied,\n"
	       "6 partly done.\n",
	       SOCKET_DEFAULT);
}

static int number_parse(const char *flag, const char *text, unsigned *number)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < 1 || n > 86400)
		return complain(EXIT_USAGE, "--%s: \"%s\" is not a number, 1 to 86400", flag, text);
	*number = (unsigned)n;
	return EXIT_OK;
}

static int value_add(struct settings *s, const char *name)
{
	if (json_object_get(s->values, name))
		return complain(EXIT_USAGE, "--%s: given twice", name);
	/* Text that is not UTF-8 is no value of any option. */
	if (json_object_set_new(s->values, name, json_string(optarg)))
		return complain(EXIT_USAGE, "--%s: not understood", name);
	return EXIT_OK;
}

/* For both kinds of pages. */
static int codec_add(struct settings *s)
{
	int code = value_add(s, "codec-ephemeral");

	return code != EXIT_OK ? code : value_add(s, "codec-persistent");
}

static int argument_apply(const struct flag *f, struct settings *s)
{
	switch (f->value) {
	case FLAG_SOCKET:
		s->socket = optarg;
		break;
	case 'o':
		s->style.columns = optarg;
		break;
	case FLAG_WATCH:
		return number_parse(f->name, optarg, &s->watch);
	case FLAG_COUNT:
		return number_parse(f->name, optarg, &s->count);
	case FLAG_TRANSPORT:
		s->transport = optarg;
		break;
	case FLAG_REGION:
		s->region = optarg;
		break;
	case FLAG_DISK:
		s->disk = optarg;
		break;
	case FLAG_CONNECT:
		s->connect = optarg;
		break;
	case FLAG_VALUE:
		return value_add(s, f->name);
	case FLAG_CODEC:
		return codec_add(s);
	}
	return EXIT_OK;
}

/* Where a flag without an argument is kept; NULL: nowhere. */
static bool *switch_of(int value, struct settings *s)
{
	switch (value) {
	case FLAG_JSON: return &s->json;
	case 'b': return &s->style.bytes;
	case FLAG_RAW: return &s->style.raw;
	case FLAG_NOHEADINGS: return &s->style.noheadings;
	case FLAG_DRY_RUN: return &s->dry_run;
	case 'f': return &s->follow;
	case FLAG_ALL: return &s->all;
	case FLAG_HOST: return &s->host;
	case FLAG_LIVE: return &s->live;
	case FLAG_CONFIG: return &s->config;
	case FLAG_EPHEMERAL: return &s->ephemeral;
	case FLAG_ALLOW: return &s->allow;
	case FLAG_DENY: return &s->deny;
	case FLAG_READ_ONLY: return &s->read_only;
	case FLAG_FORCE: return &s->force;
	case FLAG_PRINT_XML: return &s->print_xml;
	}
	return NULL;
}

static int flag_apply(const struct flag *f, struct settings *s)
{
	bool *on = switch_of(f->value, s);

	s->given |= UINT64_C(1) << (f - flag_rows);
	if (on)
		*on = true;
	else if (f->value == 'h')
		help();
	else if (f->value == 'V')
		printf("tmemctl %s\n", TMEM_VERSION);
	else
		return argument_apply(f, s);
	if (!on)
		exit(EXIT_OK);
	return EXIT_OK;
}

static const struct flag *flag_find(int value, int index)
{
	if (index >= 0)
		return &flag_rows[index];
	for (size_t i = 0; i < FLAG_ROWS; i++) {
		if (flag_rows[i].value == value)
			return &flag_rows[i];
	}
	return NULL;
}

static int flags_parse(int argc, char *argv[], struct settings *s)
{
	struct option flags[FLAG_ROWS + 1] = { { 0 } };
	int value, index = -1, code;

	for (size_t i = 0; i < FLAG_ROWS; i++)
		flags[i] = (struct option){ .name = flag_rows[i].name,
					    .has_arg = flag_rows[i].has_argument,
					    .val = flag_rows[i].value };
	while ((value = getopt_long(argc, argv, "bfo:hV", flags, &index)) != -1) {
		const struct flag *f = flag_find(value, index);

		if (value == '?' || !f) {
			fputs("Try 'tmemctl --help'.\n", stderr);
			return EXIT_USAGE;
		}
		code = flag_apply(f, s);
		if (code != EXIT_OK)
			return code;
		index = -1;
	}
	return EXIT_OK;
}

/* The first option given that the command does not take. */
static int flags_check(const struct settings *s, const struct command *c)
{
	for (size_t i = 0; i < FLAG_ROWS; i++) {
		if (s->given & UINT64_C(1) << i && flag_rows[i].takes & ~c->takes)
			return complain(EXIT_USAGE, "%s: takes no --%s", c->name,
					flag_rows[i].name);
	}
	if (s->style.columns)
		return columns_check(c->columns, s->style.columns);
	return EXIT_OK;
}

static int command_run(struct settings *s, int argc, char *argv[])
{
	const struct command *c = commands;
	int code;

	if (argc == 0)
		return complain(EXIT_USAGE, "no command is given");
	while (c->name && strcmp(c->name, argv[0]))
		c++;
	if (!c->name)
		return complain(EXIT_USAGE, "no command is called \"%s\"", argv[0]);
	if (argc - 1 < c->arguments_min || argc - 1 > c->arguments_max)
		return complain(EXIT_USAGE, "%s: the arguments are: %s", c->name,
				c->arguments[0] ? c->arguments : "none");
	if (s->count && !s->watch)
		s->watch = 1;
	code = flags_check(s, c);
	return code == EXIT_OK ? c->run(s, c, argc - 1, argv + 1) : code;
}

int main(int argc, char *argv[])
{
	struct settings s = { .socket = SOCKET_DEFAULT, .values = json_object() };
	int code = flags_parse(argc, argv, &s);

	if (code == EXIT_OK)
		code = command_run(&s, argc - optind, argv + optind);
	json_decref(s.values);
	return code;
}

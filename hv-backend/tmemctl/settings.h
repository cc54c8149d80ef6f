/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings.h - the command line as the commands see it.
 */
#ifndef TMEMCTL_SETTINGS_H
#define TMEMCTL_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "table.h"

/* Options that only some commands take; a command's row has the bits of its own. */
enum takes {
	TAKES_WATCH = 1 << 0,
	TAKES_COUNT = 1 << 1,
	TAKES_COLUMNS = 1 << 2,
	TAKES_DRY_RUN = 1 << 3,
	TAKES_FOLLOW = 1 << 4,
	TAKES_ALL = 1 << 5,
	TAKES_VALUES = 1 << 6,		/* --weight, --min, ... */
	TAKES_EPHEMERAL = 1 << 7,
	TAKES_RIGHT = 1 << 8,		/* --allow, --deny */
	TAKES_PLACE = 1 << 9,		/* --live, --config */
	TAKES_GUEST = 1 << 10,		/* --transport, --region, --disk */
	TAKES_FORCE = 1 << 11,
	TAKES_PRINT_XML = 1 << 12,
	TAKES_CONNECT = 1 << 13,
	TAKES_READ_ONLY = 1 << 14,
	TAKES_HOST = 1 << 15,		/* --host, --arena, ... */
};

struct settings {
	const char *socket;
	bool json;
	bool dry_run, follow, all, host, live, config, ephemeral, allow, deny, force, print_xml;
	bool read_only;
	const char *transport, *region, *disk;	/* of add; NULL: not given */
	const char *connect;		/* libvirt's URI; NULL: its default */
	unsigned watch;		/* seconds between two looks, 0: one look */
	unsigned count;		/* looks, 0: no end */
	uint64_t given;		/* bit i: the option in row i of main.c's table */
	json_t *values;		/* of set: option -> text */
	struct table_style style;
};

/* One row for each command.  arguments counts what is no option. */
struct command {
	const char *name;
	const char *arguments, *help;
	int arguments_min, arguments_max;
	unsigned takes;
	/* NULL: the arguments make no request (already complained) or no memory. */
	json_t *(*request)(const struct settings *s, const char *verb, int argc, char *argv[]);
	/* An exit code. */
	int (*run)(const struct settings *s, const struct command *c, int argc, char *argv[]);
	int (*show)(json_t *answer, const struct table_style *style);
	const struct table_column *columns;	/* what -o chooses from */
};

/* Ends with an entry whose name is NULL. */
extern const struct command commands[];

/* Commands too large for the file of commands. */
int top_run(const struct settings *s, const struct command *c, int argc, char *argv[]);
int doctor_run(const struct settings *s, const struct command *c, int argc, char *argv[]);
int drain_run(const struct settings *s, const struct command *c, int argc, char *argv[]);
int set_run(const struct settings *s, const struct command *c, int argc, char *argv[]);
int libvirt_run(const struct settings *s, const struct command *c, int argc, char *argv[]);

/*
 * Have tmemd-libvirt do what these arguments (NULL ends them) say.  Returns only if it
 * cannot be started: an exit code.
 */
int libvirt_exec(const struct settings *s, char *const arguments[]);

/* Ask the daemon, once or as often as the settings say. */
int ask(const struct settings *s, const struct command *c, int argc, char *argv[]);

/* Print an answer as the settings say, by the command's show.  An exit code. */
int answer_show(const struct settings *s, const struct command *c, json_t *answer);

#endif

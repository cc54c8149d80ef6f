/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt.c - what concerns libvirt's domains is another program's, tmemd-libvirt.
 *
 * How:     tmemctl becomes it.  It is looked for beside tmemctl, in the sbin beside
 *          that, and on PATH; where it is not installed all else of tmemctl works.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "complain.h"
#include "settings.h"

#define PROGRAM		"tmemd-libvirt"
#define ARGUMENTS_MAX	32

/* The folder of this program with its last slash; "" if it is not known. */
static void own_folder(char folder[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	char *slash;

	folder[n < 0 ? 0 : n] = '\0';
	slash = strrchr(folder, '/');
	folder[slash ? slash + 1 - folder : 0] = '\0';
}

static void program_exec(char *const argv[])
{
	static const char *const places[] = { "", "../sbin/" };
	char folder[PATH_MAX], path[PATH_MAX + 32];

	own_folder(folder);
	for (size_t i = 0; folder[0] && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s%s" PROGRAM, folder, places[i]);
		execv(path, argv);
	}
	execvp(PROGRAM, argv);
}

int libvirt_exec(const struct settings *s, char *const arguments[])
{
	char *argv[ARGUMENTS_MAX] = { (char *)PROGRAM, (char *)"--socket", (char *)s->socket };
	size_t n = 3;

	if (s->connect) {
		argv[n++] = (char *)"--connect";
		argv[n++] = (char *)s->connect;
	}
	while (*arguments && n < ARGUMENTS_MAX - 1)
		argv[n++] = *arguments++;
	program_exec(argv);
	return complain(EXIT_FAILED, PROGRAM ": %s", errno == ENOENT ? "not installed"
								      : strerror(errno));
}

/* attach and detach. */
int libvirt_run(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	char *arguments[8] = { (char *)c->name };
	size_t n = 1;

	(void)argc;
	if (s->live)
		arguments[n++] = (char *)"--live";
	if (s->config)
		arguments[n++] = (char *)"--config";
	if (s->force)
		arguments[n++] = (char *)"--force";
	if (s->print_xml)
		arguments[n++] = (char *)"--print-xml";
	arguments[n++] = (char *)"--";
	arguments[n++] = argv[0];
	return libvirt_exec(s, arguments);
}

/* The UUID of the domain that the guest is for; "" if it is for none. */
static int domain_of(const struct settings *s, const char *guest, char uuid[40])
{
	json_t *answer, *g;
	const char *text;
	int code = client_ask(s->socket, json_pack("{s:s, s:s}", "verb", "stats", "guest", guest),
			      &answer);

	if (code != EXIT_OK)
		return code;
	g = json_array_get(json_object_get(answer, "guests"), 0);
	text = json_string_value(json_object_get(g, "domain"));
	snprintf(uuid, 40, "%s", text ? text : "");
	json_decref(answer);
	return EXIT_OK;
}

/* tmemd-libvirt set UUID NAME=VALUE...; what is live changes by what the XML says then. */
static int domain_set(const struct settings *s, char *uuid)
{
	char texts[ARGUMENTS_MAX - 8][80], *arguments[ARGUMENTS_MAX] = { (char *)"set" };
	const char *name;
	json_t *value;
	size_t n = 1, count = 0;

	arguments[n++] = (char *)(s->live ? "--live" : "--config");
	if (s->live)
		arguments[n++] = (char *)"--config";
	arguments[n++] = (char *)"--";
	arguments[n++] = uuid;
	json_object_foreach(s->values, name, value) {
		snprintf(texts[count], sizeof(texts[0]), "%s=%s", name, json_string_value(value));
		arguments[n++] = texts[count++];
	}
	return libvirt_exec(s, arguments);
}

/* A guest's configuration is tmemd's file, or its domain's XML. */
int set_run(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	char uuid[40] = "";
	int code = EXIT_OK;

	if (s->config && argc == 1 && !s->all && json_object_size(s->values))
		code = domain_of(s, argv[0], uuid);
	if (code != EXIT_OK)
		return code;
	return uuid[0] ? domain_set(s, uuid) : ask(s, c, argc, argv);
}

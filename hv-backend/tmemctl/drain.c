/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * drain.c - have a guest take its pages back, and wait until it did or could not.
 */
#include "drain.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "complain.h"
#include "settings.h"

/* How a guest's drain fares: "none" while there is no result; code: as client_ask(). */
static int drain_state(const char *socket, const char *guest, char state[16], uint64_t *left)
{
	json_t *answer, *g;
	const char *text;
	int code = client_ask(socket, json_pack("{s:s, s:s}", "verb", "stats", "guest", guest),
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

int drain_guest(const char *socket, const char *guest, char state[16], uint64_t *left)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	json_t *answer;
	int code = client_ask(socket, json_pack("{s:s, s:s}", "verb", "drain", "guest", guest),
			      &answer);

	if (code != EXIT_OK)
		return code;
	json_decref(answer);
	strcpy(state, "none");
	while (code == EXIT_OK && !strcmp(state, "none")) {
		nanosleep(&pause, NULL);
		code = drain_state(socket, guest, state, left);
	}
	return code;
}

/* Ask the guest, and wait for what it says. */
int drain_run(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	uint64_t left = 0;
	char state[16];
	int code = drain_guest(s->socket, argv[0], state, &left);

	(void)c;
	(void)argc;
	if (code != EXIT_OK)
		return code;
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

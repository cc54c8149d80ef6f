/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_config.c - any bytes as tmemd.conf: refused with a line and a reason, or
 * a configuration that keeps its promises; and what is taken is taken still, with
 * one option changed, after that option is set in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void taken_check(const struct config *c)
{
	require(c->persistent_max <= c->arena);
	require(c->workers <= 64 && c->queues >= 1 && c->queues <= 16);
	for (size_t i = 0; i < c->guest_count; i++) {
		const struct config_guest *g = &c->guests[i];

		require(config_name_is_valid(g->name));
		require(g->socket[0] && strlen(g->socket) < CONFIG_SOCKET_MAX);
		require(g->quota.min <= g->quota.max && g->quota.weight >= 1);
		for (size_t j = 0; j < i; j++)
			require(strcmp(g->name, c->guests[j].name));
	}
}

static void edited_check(const struct config *before, const char *text)
{
	const struct config_setting weight = { "weight", "7" };
	char *edited = config_edit(text, "a", &weight, 1);
	FILE *stream = fmemopen(edited, strlen(edited), "r");
	struct config_error e = { "" };
	struct config c;
	size_t found = 0;

	config_init(&c);
	require(config_read_stream(&c, stream, "f", &e) == 0);
	for (size_t i = 0; i < c.guest_count; i++) {
		if (strcmp(c.guests[i].name, "a"))
			continue;
		require(c.guests[i].quota.weight == 7);
		found++;
	}
	require(found == 1 && c.guest_count <= before->guest_count + 1);
	require(c.arena == before->arena && c.workers == before->workers);
	config_free(&c);
	fclose(stream);
	free(edited);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *stream = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	struct config_error e = { "" };
	struct config c;
	char *text;

	if (!stream)
		return 0;
	config_init(&c);
	if (config_read_stream(&c, stream, "f", &e)) {
		require(!strncmp(e.text, "f:", 2) && strlen(e.text) > 4);
	} else if (config_finish(&c, &e)) {
		require(e.text[0]);
	} else {
		taken_check(&c);
		text = strndup((const char *)data, size);
		edited_check(&c, text);
		free(text);
	}
	config_free(&c);
	fclose(stream);
	return 0;
}

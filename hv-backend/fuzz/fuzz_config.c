/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_config.c - any bytes as tmemd.conf: refused with a line and a reason, or
 * a configuration that keeps its promises.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *stream = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	struct config_error e = { "" };
	struct config c;

	if (!stream)
		return 0;
	config_init(&c);
	if (config_read_stream(&c, stream, "f", &e))
		require(!strncmp(e.text, "f:", 2) && strlen(e.text) > 4);
	else if (config_finish(&c, &e))
		require(e.text[0]);
	else
		taken_check(&c);
	config_free(&c);
	fclose(stream);
	return 0;
}

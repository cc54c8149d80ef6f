/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_control.c - any bytes as lines of the control socket, against a real host
 * with two guests: each line gets one line of JSON that says ok or why not.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "estate.h"
#include "hv.h"
#include "log.h"
#include "loop.h"
#include "tmem.h"
#include "verbs.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct verbs_host host;
static struct loop *loop;
static struct estate estate;
static struct sensors *sensors;
static char dir[] = "/tmp/tmem-fuzz-XXXXXX";
static char sockets[2][64];

static void require(int holds)
{
	if (!holds)
		abort();
}

static void host_stop(void)
{
	hv_destroy(host.hv);
	pressure_destroy(host.pressure);
	events_destroy(host.events);
	sensors_close(sensors);
	tmem_destroy(host.core);
	estate_close(&estate);
	loop_destroy(loop);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct tmem_config core = { .arena_max = 16 << 20 };
	const struct policy_config policy = { .total = 16 << 20, .persistent_max = 12 << 20 };
	struct hv_config hv = { .workers = 1, .queues = 1 };

	(void)argc;
	(void)argv;
	log_level_set(LOG_LEVEL_ERROR);
	require(mkdtemp(dir) != NULL);
	require(!loop_create(&loop));
	require(!estate_open(&estate, ""));
	core.arena_fd = estate.arena;
	hv.keep = estate.keep;
	require(!tmem_create(&host.core, &core));
	require(!sensors_open(&sensors, "") && !events_create(&host.events));
	require(!pressure_create(&host.pressure, loop, host.core, sensors, host.events, &policy));
	require(!hv_create(&host.hv, loop, host.core, &hv));
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "b" : "a";
		struct hv_guest_config g = {
			.name = name, .socket = sockets[i], .transport = HV_VHOST_USER,
			.quota = { .weight = 100, .max = TMEM_NO_LIMIT,
				   .persistent_max = TMEM_NO_LIMIT },
		};

		snprintf(sockets[i], sizeof(sockets[i]), "%s/%s.sock", dir, name);
		require(!hv_guest_add(host.hv, &g));
	}
	atexit(host_stop);
	return 0;
}

static void line_check(const char *line, size_t length)
{
	const struct control_peer peer = { .pid = 1 };
	char *text = verbs_answer(&host, &peer, line, length);
	json_t *answer = text ? json_loads(text, 0, NULL) : NULL;
	json_t *ok = json_object_get(answer, "ok");

	require(answer && !strchr(text, '\n'));
	require(json_is_true(ok) || json_string_length(json_object_get(answer, "error")) > 0);
	require(json_is_true(ok) || json_is_integer(json_object_get(answer, "code")));
	require(json_integer_value(json_object_get(answer, "schema_version")) == 1);
	json_decref(answer);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *end = line + size;

	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *stop = newline ? newline : end;

		if (stop - line < CONTROL_LINE_MAX)
			line_check(line, (size_t)(stop - line));
		line = stop + 1;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_control.c - any bytes as lines of the control socket, against a real host
 * with two guests: each line gets one line of JSON that says ok or why not.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_host_start(NULL);
	return 0;
}

static void line_check(const char *line, size_t length)
{
	const struct control_peer peer = { .pid = 1 };
	char *text = verbs_answer(&fuzz_host, &peer, line, length);
	json_t *answer = text ? json_loads(text, 0, NULL) : NULL;
	json_t *ok = json_object_get(answer, "ok");

	fuzz_require(answer && !strchr(text, '\n'));
	fuzz_require(json_is_true(ok) || json_string_length(json_object_get(answer, "error")) > 0);
	fuzz_require(json_is_true(ok) || json_is_integer(json_object_get(answer, "code")));
	fuzz_require(json_integer_value(json_object_get(answer, "schema_version")) == 1);
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

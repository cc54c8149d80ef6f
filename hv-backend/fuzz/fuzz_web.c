/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_web.c - any requests to the HTTP interface, against a real host with two
 * guests, an administrator's session and a reader's.
 *
 * How:     an input is lines "METHOD PATH HEADERS", each with its body on the next
 *          line.  HEADERS is letters: each sets one header as a page of ours does
 *          (lower case) or wrongly (upper case), so that the checks can be passed
 *          one by one; web_answer() is called with what came out.
 *          Of each answer: it has a status and something to say; a verb's is JSON;
 *          no reader changed anything; no secret of a session stands in an answer.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "web.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct history *history;

struct identity {
	char cookie[HTTP_COOKIE_MAX], csrf[WEB_SECRET];
};

static struct identity administrator, reader;

static void web_stop(void)
{
	web_destroy(fuzz_host.web);
	history_destroy(history);
}

static char *metrics(void *arg)
{
	(void)arg;
	return strdup("");
}

/* A token of web.c's own way, opened by a request of a page's own way. */
static void identity_make(struct identity *id, bool read_only)
{
	const struct web_who who = { .uid = geteuid(), .pid = 1, .reader = read_only };
	char token[WEB_SECRET], body[128];
	struct http_request q = {
		.method = "POST", .path = "/api/login", .host = "localhost",
		.origin = "http://localhost", .type = "application/json", .body = body,
	};
	struct http_response r = { .status = 0 };
	json_t *answer;

	fuzz_require(!web_token(fuzz_host.web, &who, token));
	q.body_size = (size_t)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
	web_answer(fuzz_host.web, &q, &r);
	fuzz_require(r.status == 200);
	snprintf(id->cookie, sizeof(id->cookie), "%.*s", (int)strcspn(r.cookie, ";"), r.cookie);
	answer = json_loads(r.text, 0, NULL);
	snprintf(id->csrf, sizeof(id->csrf), "%s",
		 json_string_value(json_object_get(answer, "csrf")));
	json_decref(answer);
	free(r.text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct web_config web = { .verbs = &fuzz_host, .dashboard = true, .metrics = metrics };

	(void)argc;
	(void)argv;
	fuzz_host_start(web_stop);
	fuzz_require(!history_create(&history, NULL, fuzz_host.hv, fuzz_host.pressure));
	web.history = history;
	fuzz_require(!web_create(&fuzz_host.web, &web));
	return 0;
}

/* ---- one request ----------------------------------------------------------- */

static void header_set(struct http_request *q, char letter)
{
	switch (letter) {
	case 'h': q->host = "localhost"; break;
	case 'H': q->host = "evil.example"; break;
	case 'o': q->origin = "http://localhost"; break;
	case 'O': q->origin = "http://evil.example"; break;
	case 't': q->type = "application/json"; break;
	case 'T': q->type = "text/plain"; break;
	case 'a': q->cookie = administrator.cookie; break;
	case 'A': q->cookie = "tmemd=0"; break;
	case 'r': q->cookie = reader.cookie; break;
	case 'c': q->csrf = q->cookie == reader.cookie ? reader.csrf : administrator.csrf; break;
	case 'C': q->csrf = "0"; break;
	}
}

static bool has(const char *text, const char *part)
{
	return text && strstr(text, part);
}

static uint64_t changes(void)
{
	const struct event *e;
	uint64_t after = 0, n = 0;

	for (; (e = events_next(fuzz_host.events, after)); after = e->number)
		n = e->kind == EVENT_CHANGE ? e->number : n;
	return n;
}

static void request_check(struct http_request *q)
{
	struct http_response r = { .status = 0 };
	uint64_t before = changes();
	json_t *answer;

	web_answer(fuzz_host.web, q, &r);
	fuzz_require(r.status >= 200 && r.status < 500 && r.type && (r.text || r.bytes));
	if (!strcmp(r.type, "application/json")) {
		answer = json_loads(r.text, 0, NULL);
		fuzz_require(json_is_boolean(json_object_get(answer, "ok")));
		json_decref(answer);
	}
	fuzz_require(!has(r.text, administrator.csrf) && !has(r.text, reader.csrf));
	fuzz_require(!has(r.text, administrator.cookie + strcspn(administrator.cookie, "=") + 1));
	if (q->cookie != administrator.cookie || q->csrf != administrator.csrf)
		fuzz_require(changes() == before);
	free(r.text);
}

/* The line at *at, cut off with a NUL; *at moves behind it. */
static char *line_take(char **at, char *end, size_t *length)
{
	char *line = *at, *newline = memchr(line, '\n', (size_t)(end - line));
	char *stop = newline ? newline : end;

	*stop = '\0';
	*length = (size_t)(stop - line);
	*at = newline ? newline + 1 : end;
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *at = text, *end = text + size;

	fuzz_require(text != NULL);
	if (size)
		memcpy(text, data, size);
	identity_make(&administrator, false);
	identity_make(&reader, true);
	while (at < end) {
		struct http_request q = { .method = NULL };
		size_t length;
		char *save = NULL, *line = line_take(&at, end, &length), *letters;

		q.method = strtok_r(line, " ", &save);
		q.path = strtok_r(NULL, " ", &save);
		letters = strtok_r(NULL, " ", &save);
		q.body = line_take(&at, end, &q.body_size);
		if (!q.path || q.body_size > HTTP_BODY_MAX)
			continue;
		for (; letters && *letters; letters++)
			header_set(&q, *letters);
		request_check(&q);
	}
	free(text);
	return 0;
}

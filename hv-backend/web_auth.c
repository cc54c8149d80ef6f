/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web_auth.c - tokens and sessions of the dashboard.
 *
 * #syscalls: getrandom
 */
#include "web_auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static int random_hex(char *text, size_t bytes)
{
	unsigned char raw[WEB_SECRET / 2];

	if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
		return -errno;
	for (size_t i = 0; i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

static int secret_make(char secret[WEB_SECRET])
{
	return random_hex(secret, WEB_SECRET / 2);
}

bool web_secret_is(const char secret[WEB_SECRET], const char *given)
{
	unsigned char differs = 0;

	if (!given || strlen(given) != WEB_SECRET - 1 || !secret[0])
		return false;
	for (size_t i = 0; i < WEB_SECRET; i++)
		differs |= (unsigned char)(secret[i] ^ given[i]);
	return !differs;
}

int web_auth_init(struct web_auth *a)
{
	memset(a, 0, sizeof(*a));
	memcpy(a->cookie_name, "tmemd-", sizeof("tmemd-"));
	return random_hex(a->cookie_name + strlen(a->cookie_name), 8);
}

/* ---- tokens ------------------------------------------------------------ */

int web_auth_issue(struct web_auth *a, const struct web_who *who, int64_t now_s,
		   char secret[WEB_SECRET])
{
	struct web_token *t = &a->token[0];
	int err = secret_make(secret);

	if (err)
		return err;
	for (unsigned i = 0; t->secret[0] && i < WEB_TOKENS; i++) {
		if (!a->token[i].secret[0] || a->token[i].begin_s < t->begin_s)
			t = &a->token[i];
	}
	*t = (struct web_token){ .who = *who, .begin_s = now_s };
	memcpy(t->secret, secret, WEB_SECRET);
	return 0;
}

/* Every token is looked at, whichever it is. */
static bool token_take(struct web_auth *a, const char *secret, int64_t now_s,
		       struct web_who *who)
{
	bool found = false;

	for (unsigned i = 0; i < WEB_TOKENS; i++) {
		struct web_token *t = &a->token[i];

		if (now_s - t->begin_s >= WEB_TOKEN_S)
			t->secret[0] = '\0';
		if (web_secret_is(t->secret, secret)) {
			*who = t->who;
			t->secret[0] = '\0';
			found = true;
		}
	}
	return found;
}

/* ---- sessions ---------------------------------------------------------- */

static bool session_is_over(const struct web_session *s, int64_t now_s)
{
	return now_s - s->used_s >= WEB_SILENT_S || now_s - s->begin_s >= WEB_SESSION_S;
}

/* A free place, or that of the session silent longest. */
static struct web_session *session_place(struct web_auth *a)
{
	struct web_session *s = &a->session[0];

	for (unsigned i = 0; s->secret[0] && i < WEB_SESSIONS; i++) {
		if (!a->session[i].secret[0] || a->session[i].used_s < s->used_s)
			s = &a->session[i];
	}
	return s;
}

struct web_session *web_auth_open(struct web_auth *a, const char *secret, int64_t now_s)
{
	struct web_session new = { .begin_s = now_s, .used_s = now_s }, *s;

	if (!token_take(a, secret, now_s, &new.who) || secret_make(new.secret) ||
	    secret_make(new.csrf))
		return NULL;
	s = session_place(a);
	*s = new;
	return s;
}

/* NAME's value in "a=b; NAME=value; ...", or NULL. */
static const char *cookie_value(const char *cookie, const char *name, char value[WEB_SECRET])
{
	size_t length = strlen(name);

	while (cookie) {
		cookie += strspn(cookie, "; ");
		if (!strncmp(cookie, name, length) && cookie[length] == '=') {
			size_t size = strcspn(cookie + length + 1, "; ");

			if (size != WEB_SECRET - 1)
				return NULL;
			memcpy(value, cookie + length + 1, size);
			value[size] = '\0';
			return value;
		}
		cookie = strchr(cookie, ';');
	}
	return NULL;
}

struct web_session *web_auth_find(struct web_auth *a, const char *cookie, int64_t now_s)
{
	char buffer[WEB_SECRET];
	const char *value = cookie_value(cookie, a->cookie_name, buffer);
	struct web_session *found = NULL;

	for (unsigned i = 0; i < WEB_SESSIONS; i++) {
		struct web_session *s = &a->session[i];

		if (s->secret[0] && session_is_over(s, now_s))
			web_auth_close(s);
		if (web_secret_is(s->secret, value))
			found = s;
	}
	if (found)
		found->used_s = now_s;
	return found;
}

void web_auth_close(struct web_session *s)
{
	*s = (struct web_session){ .begin_s = 0 };
}

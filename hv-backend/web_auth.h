/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web_auth.h - who may use the dashboard: tokens that open it, sessions after that.
 *
 * Owns:    both, their number, their age, the secrets they consist of.
 * How:     whoever reaches the control socket is known by the kernel and may ask
 *          for a token there.  A token opens one session, once, within
 *          WEB_TOKEN_S, with the rights of who asked for it at most.  The session
 *          is named by a cookie and proves with a second secret, which scripts of
 *          other origins cannot read, that a change was meant.
 * Must not: keep more than a fixed number: the oldest goes.
 *
 * Times are seconds of a clock that does not go back.
 */
#ifndef HV_WEB_AUTH_H
#define HV_WEB_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WEB_TOKENS	16u
#define WEB_SESSIONS	32u
#define WEB_TOKEN_S	300
#define WEB_SILENT_S	1800		/* a session that asks for nothing ends */
#define WEB_SESSION_S	43200		/* and in any case */
#define WEB_SECRET	65u		/* 256 bits as hexadecimal digits, and a NUL */

/* Who asked for it, as the kernel told (SO_PEERCRED). */
struct web_who {
	uid_t uid;
	pid_t pid;
	bool reader;			/* may look, whatever the uid may */
};

/* secret[0] is NUL  <=>  unused */
struct web_session {
	char secret[WEB_SECRET], csrf[WEB_SECRET];
	struct web_who who;
	int64_t begin_s, used_s;
};

struct web_token {
	char secret[WEB_SECRET];
	struct web_who who;
	int64_t begin_s;
};

struct web_auth {
	char cookie_name[24];		/* unlike other daemons' on this host */
	struct web_token token[WEB_TOKENS];
	struct web_session session[WEB_SESSIONS];
};

/* What getrandom said. */
int web_auth_init(struct web_auth *a);

/* A new token; the oldest makes room.  What getrandom said. */
int web_auth_issue(struct web_auth *a, const struct web_who *who, int64_t now_s,
		   char secret[WEB_SECRET]);

/* Use a token up.  NULL: there is none of that secret, or no randomness. */
struct web_session *web_auth_open(struct web_auth *a, const char *secret, int64_t now_s);

/* The session that a Cookie header names, or NULL; it counts as used now. */
struct web_session *web_auth_find(struct web_auth *a, const char *cookie, int64_t now_s);

void web_auth_close(struct web_session *s);

/* In a time that does not tell how much of them is equal. */
bool web_secret_is(const char secret[WEB_SECRET], const char *given);

#endif

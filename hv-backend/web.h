/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web.h - what tmemd answers over HTTP: metrics, the dashboard, its interface.
 *
 *   GET  /metrics        Prometheus text
 *   GET  /, /...         the dashboard's own files: no secrets in them
 *   POST /api/login      {"token": T}: a session, by cookie, and its second secret (csrf)
 *   POST /api/session    who this is
 *   POST /api/logout
 *   POST /api/verb       one request of the control socket (verbs.h), answered alike
 *   POST /api/history    {"span": "recent"|"day", "after": N} (history.h)
 *
 * Owns:    which request is let in.  In this order:
 *            Host      is this machine's own name for itself: no page elsewhere can
 *                      be this one under a name of its own (DNS rebinding)
 *            Origin    is this page's own; a POST must have it
 *            session   the cookie's; all of /api/ but login
 *            csrf      the session's second secret, likewise.  Cookies know no ports:
 *                      other servers of this host are sent ours, and that alone must
 *                      be worth nothing
 *            rights    those of who asked for the token, at most (verbs.h)
 * Must not: read files, or answer anything that another origin could read.
 */
#ifndef HV_WEB_H
#define HV_WEB_H

#include "history.h"
#include "http.h"
#include "verbs.h"
#include "web_auth.h"

struct web;

struct web_config {
	struct verbs_host *verbs;	/* stays the caller's; may follow */
	struct history *history;
	bool dashboard;			/* false: metrics only */
	char *(*metrics)(void *arg);	/* text from malloc, NULL without memory */
	void *arg;
};

/* -ENOMEM, or what getrandom said. */
int  web_create(struct web **out, const struct web_config *config);
void web_destroy(struct web *w);

/* An http_fn; arg is a struct web. */
void web_answer(void *arg, const struct http_request *q, struct http_response *r);

/* Why there is no dashboard to open, or NULL. */
const char *web_dashboard_off(const struct web *w);

/* A token for who; what getrandom said. */
int  web_token(struct web *w, const struct web_who *who, char secret[WEB_SECRET]);

#endif

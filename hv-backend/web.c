/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web.c - what tmemd answers over HTTP.
 *
 * How:     one table of the interface's functions; what each needs of the request
 *          is checked before it is called.
 */
#include "web.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "log.h"
#include "report.h"
#include "web_files.h"

#define REFUSALS_S	10	/* between lines of the log about refused logins */

struct web {
	struct web_config config;
	struct web_auth auth;
	uint64_t refusals;		/* of logins, not told yet */
	int64_t refusals_told_s;
};

/* A request of the interface on its way; session is NULL where none is needed. */
struct api_call {
	struct web *web;
	const struct http_request *q;
	struct http_response *r;
	struct web_session *session;
	json_t *body;			/* an object */
};

static int64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* ---- answers ----------------------------------------------------------- */

static void plain(struct http_response *r, unsigned status, const char *text)
{
	r->status = status;
	r->type = "text/plain";
	r->bytes = text;
	r->size = strlen(text);
}

static void json_text(struct http_response *r, unsigned status, char *text)
{
	r->status = status;
	r->type = "application/json";
	r->text = text;
}

/* object is taken over; NULL is no memory. */
static void json_answer(struct http_response *r, unsigned status, json_t *object)
{
	json_text(r, status, object ? json_dumps(object, JSON_COMPACT) : NULL);
	json_decref(object);
}

static void refuse(struct http_response *r, unsigned status, enum verb_code code, const char *why)
{
	json_answer(r, status, json_pack("{s:b, s:s, s:i, s:i}", "ok", 0, "error", why, "code",
					 (int)code, "schema_version", REPORT_SCHEMA_VERSION));
}

/* ---- who may come in --------------------------------------------------- */

/* No name of the outer world's: such a name can be made to lead here. */
static bool host_is_here(const char *host)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]", "tmemd" };

	for (size_t i = 0; host && i < sizeof(names) / sizeof(names[0]); i++) {
		size_t length = strlen(names[i]);

		if (!strncasecmp(host, names[i], length) &&
		    (!host[length] || host[length] == ':'))
			return true;
	}
	return false;
}

static bool origin_is_own(const struct http_request *q)
{
	return !strncmp(q->origin, "http://", 7) && !strcasecmp(q->origin + 7, q->host);
}

/* A path beneath /api/ is changed by POST, all else read by GET. */
static bool request_check(const struct http_request *q, struct http_response *r)
{
	bool api = !strncmp(q->path, "/api/", 5), post = !strcmp(q->method, "POST");

	if (!host_is_here(q->host))
		refuse(r, 421, VERB_DENIED, "the Host of the request is not this host's");
	else if (q->origin && !origin_is_own(q))
		refuse(r, 403, VERB_DENIED, "the request comes from another origin");
	else if (api != post)
		plain(r, 405, api ? "POST only\n" : "GET and HEAD only\n");
	else if (api && !q->origin)
		refuse(r, 403, VERB_DENIED, "the request has no Origin");
	else
		return true;
	return false;
}

static struct control_peer peer_of(const struct web_who *who)
{
	return (struct control_peer){ .pid = who->pid, .uid = who->uid, .dashboard = true,
				      .reader = who->reader };
}

/* ---- the interface ----------------------------------------------------- */

static json_t *session_report(const struct api_call *c)
{
	const struct web_session *s = c->session;
	const struct control_peer peer = peer_of(&s->who);
	bool may_change = verbs_peer_may_change(c->web->config.verbs, &peer);

	return json_pack("{s:b, s:s, s:I, s:I, s:i}", "ok", 1, "role",
			 may_change ? "administrator" : "reader", "uid",
			 (json_int_t)s->who.uid, "ends_in_s",
			 (json_int_t)(s->begin_s + WEB_SESSION_S - now_s()), "schema_version",
			 REPORT_SCHEMA_VERSION);
}

static void api_session(struct api_call *c)
{
	json_answer(c->r, 200, session_report(c));
}

/* Whoever guesses does not fill the log. */
static void refusal_note(struct web *w)
{
	int64_t now = now_s();

	w->refusals++;
	if (w->refusals_told_s && now - w->refusals_told_s < REFUSALS_S)
		return;
	log_warn("dashboard: %llu logins refused", (unsigned long long)w->refusals);
	w->refusals = 0;
	w->refusals_told_s = now;
}

static void api_login(struct api_call *c)
{
	const char *token = json_string_value(json_object_get(c->body, "token"));
	struct web_auth *a = &c->web->auth;
	json_t *report;

	c->session = web_auth_open(a, token, now_s());
	if (!c->session) {
		refusal_note(c->web);
		refuse(c->r, 401, VERB_DENIED, "the token is wrong, used or too old");
		return;
	}
	log_info("dashboard: uid %u, pid %d: logged in", c->session->who.uid,
		 c->session->who.pid);
	snprintf(c->r->cookie, sizeof(c->r->cookie),
		 "%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict", a->cookie_name,
		 c->session->secret, WEB_SESSION_S);
	/* Told once: who has only got hold of the cookie does not get it too. */
	report = session_report(c);
	report_set(&report, "csrf", json_string(c->session->csrf));
	json_answer(c->r, 200, report);
}

static void api_logout(struct api_call *c)
{
	web_auth_close(c->session);
	snprintf(c->r->cookie, sizeof(c->r->cookie),
		 "%s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", c->web->auth.cookie_name);
	json_answer(c->r, 200, json_pack("{s:b, s:i}", "ok", 1, "schema_version",
					 REPORT_SCHEMA_VERSION));
}

static void api_verb(struct api_call *c)
{
	const struct control_peer peer = peer_of(&c->session->who);

	json_text(c->r, 200, verbs_answer(c->web->config.verbs, &peer, c->q->body,
					  c->q->body_size));
}

static void api_history(struct api_call *c)
{
	const char *span = json_string_value(json_object_get(c->body, "span"));
	json_t *after = json_object_get(c->body, "after");
	bool day = span && !strcmp(span, "day");

	if (!span || (!day && strcmp(span, "recent")))
		refuse(c->r, 400, VERB_USAGE, "\"span\" is neither \"recent\" nor \"day\"");
	else if (after && (!json_is_integer(after) || json_integer_value(after) < 0))
		refuse(c->r, 400, VERB_USAGE, "\"after\" is not a number, 0 or above");
	else
		json_text(c->r, 200, history_json(c->web->config.history,
						  day ? HISTORY_DAY : HISTORY_RECENT,
						  (uint64_t)json_integer_value(after)));
}

static const struct api {
	const char *path;
	bool session;			/* and its second secret */
	void (*run)(struct api_call *c);
} apis[] = {
	{ "/api/login", false, api_login },
	{ "/api/session", true, api_session },
	{ "/api/logout", true, api_logout },
	{ "/api/verb", true, api_verb },
	{ "/api/history", true, api_history },
};

static const struct api *api_find(const char *path)
{
	for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++) {
		if (!strcmp(apis[i].path, path))
			return &apis[i];
	}
	return NULL;
}

/* A form of another page cannot be of this type. */
static bool type_is_json(const char *type)
{
	return type && !strncasecmp(type, "application/json", 16) &&
	       (!type[16] || type[16] == ';' || type[16] == ' ');
}

static bool call_check(struct api_call *c, const struct api *api)
{
	json_error_t where;

	if (!type_is_json(c->q->type)) {
		refuse(c->r, 415, VERB_USAGE, "the request is not application/json");
		return false;
	}
	c->session = web_auth_find(&c->web->auth, c->q->cookie, now_s());
	if (api->session && !c->session) {
		refuse(c->r, 401, VERB_DENIED, "not logged in: tmemctl dashboard opens a session");
		return false;
	}
	if (api->session && !web_secret_is(c->session->csrf, c->q->csrf)) {
		refuse(c->r, 403, VERB_DENIED, "the X-Tmemd-Csrf of the request is not the session's");
		return false;
	}
	c->body = json_loadb(c->q->body, c->q->body_size, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(c->body)) {
		refuse(c->r, 400, VERB_USAGE, "the request is not a JSON object");
		return false;
	}
	return true;
}

static void api_answer(struct web *w, const struct http_request *q, struct http_response *r)
{
	struct api_call c = { .web = w, .q = q, .r = r };
	const struct api *api = w->config.dashboard ? api_find(q->path) : NULL;

	if (!api)
		plain(r, 404, "no such page\n");
	else if (call_check(&c, api))
		api->run(&c);
	json_decref(c.body);
}

/* ---- files ------------------------------------------------------------- */

static void file_answer(const struct web *w, const char *path, struct http_response *r)
{
	const struct web_file *f = web_files;

	if (!strcmp(path, "/"))
		path = "/index.html";
	while (f->path && strcmp(f->path, path))
		f++;
	if (!f->path || !w->config.dashboard) {
		plain(r, 404, "no such page\n");
		return;
	}
	*r = (struct http_response){
		.status = 200, .type = f->type, .bytes = f->bytes, .size = f->size,
	};
}

void web_answer(void *arg, const struct http_request *q, struct http_response *r)
{
	struct web *w = arg;

	if (!request_check(q, r))
		return;
	if (!strcmp(q->method, "POST")) {
		api_answer(w, q, r);
	} else if (!strcmp(q->path, "/metrics")) {
		r->status = 200;
		r->type = "text/plain; version=0.0.4; charset=utf-8";
		r->text = w->config.metrics(w->config.arg);
	} else {
		file_answer(w, q->path, r);
	}
}

/* ---- life -------------------------------------------------------------- */

int web_create(struct web **out, const struct web_config *config)
{
	struct web *w = calloc(1, sizeof(*w));
	int err = w ? web_auth_init(&w->auth) : -ENOMEM;

	if (err) {
		free(w);
		return err;
	}
	w->config = *config;
	*out = w;
	return 0;
}

void web_destroy(struct web *w)
{
	if (w)
		explicit_bzero(&w->auth, sizeof(w->auth));
	free(w);
}

const char *web_dashboard_off(const struct web *w)
{
	if (!w)
		return "http = no switches it off";
	if (!w->config.dashboard)
		return "dashboard = no switches it off";
	if (!web_files[0].path)
		return "tmemd was built without it";
	return NULL;
}

int web_token(struct web *w, const struct web_who *who, char secret[WEB_SECRET])
{
	return web_auth_issue(&w->auth, who, now_s(), secret);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_web.c - which requests are let in, and what a login is worth: web_answer()
 * called as http.c calls it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <unistd.h>

#include "log.h"
#include "web.h"
#include "web_files.h"

#define HOST	"127.0.0.1:9810"
#define ORIGIN	"http://" HOST

struct fixture {
	struct verbs_host verbs;
	struct history *history;
	struct web *web;
};

/* An answer, to be looked at and released. */
struct got {
	struct http_response r;
	json_t *body;			/* NULL: not JSON */
};

static char *metrics(void *arg)
{
	(void)arg;
	return strdup("metrics\n");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct web_config config = { .dashboard = true, .metrics = metrics };

	log_level_set(LOG_LEVEL_ERROR);
	assert_int_equal(history_create(&f->history, NULL, NULL, NULL), 0);
	config.verbs = &f->verbs;
	config.history = f->history;
	assert_int_equal(web_create(&f->web, &config), 0);
	f->verbs.web = f->web;
	f->verbs.http_port = 9810;
	f->verbs.http_socket = "/run/tmemd/http.sock";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	web_destroy(f->web);
	history_destroy(f->history);
	free(f);
	return 0;
}

static struct got ask(struct fixture *f, const struct http_request *q)
{
	struct got g = { .body = NULL };

	web_answer(f->web, q, &g.r);
	assert_true(g.r.status >= 200 && (g.r.text || g.r.bytes));
	if (g.r.text)
		g.body = json_loads(g.r.text, 0, NULL);
	return g;
}

static void release(struct got *g)
{
	json_decref(g->body);
	free(g->r.text);
}

static unsigned status_of(struct fixture *f, const struct http_request *q)
{
	struct got g = ask(f, q);
	unsigned status = g.r.status;

	release(&g);
	return status;
}

/* A request of the page's own; body must outlive it. */
static struct http_request post(const char *path, const char *body)
{
	return (struct http_request){
		.method = "POST", .path = path, .host = HOST, .origin = ORIGIN,
		.type = "application/json", .body = body, .body_size = strlen(body),
	};
}

static struct http_request get(const char *path)
{
	return (struct http_request){ .method = "GET", .path = path, .host = HOST };
}

/* The answer to the verb "dashboard" of that uid. */
static json_t *token_ask(struct fixture *f, uid_t uid, const char *line)
{
	const struct control_peer peer = { .pid = 42, .uid = uid };
	char *text = verbs_answer(&f->verbs, &peer, line, strlen(line));
	json_t *answer = json_loads(text, 0, NULL);

	free(text);
	return answer;
}

/* A request body {"token": ...} from the path of an answer to "dashboard". */
static void login_body(json_t *answer, char body[128])
{
	const char *path = json_string_value(json_object_get(answer, "path"));

	assert_non_null(path);
	assert_memory_equal(path, "/#token=", 8);
	snprintf(body, 128, "{\"token\":\"%s\"}", path + 8);
}

struct session {
	char cookie[HTTP_COOKIE_MAX], csrf[WEB_SECRET], role[16];
};

static struct session login(struct fixture *f, uid_t uid, const char *line)
{
	json_t *answer = token_ask(f, uid, line);
	struct session s;
	struct http_request q;
	struct got g;
	char body[128];

	login_body(answer, body);
	q = post("/api/login", body);
	g = ask(f, &q);
	assert_int_equal(g.r.status, 200);
	assert_non_null(strstr(g.r.cookie, "; HttpOnly; SameSite=Strict"));
	snprintf(s.cookie, sizeof(s.cookie), "other=1; %.*s", (int)strcspn(g.r.cookie, ";"),
		 g.r.cookie);
	snprintf(s.csrf, sizeof(s.csrf), "%s",
		 json_string_value(json_object_get(g.body, "csrf")));
	snprintf(s.role, sizeof(s.role), "%s",
		 json_string_value(json_object_get(g.body, "role")));
	release(&g);
	json_decref(answer);
	return s;
}

static struct http_request of(const struct session *s, struct http_request q)
{
	q.cookie = s->cookie;
	q.csrf = s->csrf;
	return q;
}

/* ---- names --------------------------------------------------------------- */

static void only_names_of_this_host_are_answered(void **state)
{
	static const char *const here[] = { "127.0.0.1", "127.0.0.1:9810", "localhost:1", "LOCALHOST",
					    "[::1]:9810", "tmemd" };
	static const char *const elsewhere[] = { "evil.example", "127.0.0.1.evil.example", "",
						 "localhost.evil.example:9810", "127.0.0.11" };
	struct http_request q = get("/metrics");

	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		q.host = here[i];
		assert_int_equal(status_of(*state, &q), 200);
	}
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		q.host = elsewhere[i];
		assert_int_equal(status_of(*state, &q), 421);
	}
	q.host = NULL;
	assert_int_equal(status_of(*state, &q), 421);
}

static void another_origin_is_refused(void **state)
{
	struct http_request q = get("/metrics"), p = post("/api/session", "{}");

	q.origin = "http://evil.example";
	assert_int_equal(status_of(*state, &q), 403);
	q.origin = "http://127.0.0.1:1";
	assert_int_equal(status_of(*state, &q), 403);
	q.origin = "null";
	assert_int_equal(status_of(*state, &q), 403);
	q.origin = ORIGIN;
	assert_int_equal(status_of(*state, &q), 200);
	p.origin = NULL;
	assert_int_equal(status_of(*state, &p), 403);
}

static void methods_and_paths_go_together(void **state)
{
	struct http_request q = get("/api/session"), p = post("/metrics", "{}");

	assert_int_equal(status_of(*state, &q), 405);
	assert_int_equal(status_of(*state, &p), 405);
	q = get("/../etc/passwd");
	assert_int_equal(status_of(*state, &q), 404);
	p = post("/api/nothing", "{}");
	assert_int_equal(status_of(*state, &p), 404);
}

static void files_have_types(void **state)
{
	struct http_request q = get("/");
	struct got g;

	if (!web_files[0].path)
		skip();
	g = ask(*state, &q);
	assert_int_equal(g.r.status, 200);
	assert_string_equal(g.r.type, "text/html; charset=utf-8");
	release(&g);
}

/* ---- sessions ------------------------------------------------------------ */

static void nothing_is_told_without_a_session(void **state)
{
	static const char *const paths[] = { "/api/session", "/api/logout", "/api/verb",
					     "/api/history" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct http_request q = post(paths[i], "{}");

		assert_int_equal(status_of(*state, &q), 401);
		q.cookie = "tmemd-0000000000000000=0; x=";
		assert_int_equal(status_of(*state, &q), 401);
	}
}

static void a_token_opens_one_session_once(void **state)
{
	struct fixture *f = *state;
	json_t *answer = token_ask(f, geteuid(), "{\"verb\":\"dashboard\"}");
	struct http_request q;
	char body[128];

	login_body(answer, body);
	q = post("/api/login", body);
	assert_int_equal(status_of(f, &q), 200);
	assert_int_equal(status_of(f, &q), 401);
	q = post("/api/login", "{\"token\":\"\"}");
	assert_int_equal(status_of(f, &q), 401);
	q = post("/api/login", "{\"token\":null}");
	assert_int_equal(status_of(f, &q), 401);
	json_decref(answer);
}

static void a_session_answers_verbs(void **state)
{
	struct fixture *f = *state;
	struct session s = login(f, geteuid(), "{\"verb\":\"dashboard\"}");
	struct http_request q = of(&s, post("/api/verb", "{\"verb\":\"version\"}"));
	struct got g = ask(f, &q);

	assert_string_equal(s.role, "administrator");
	assert_int_equal(g.r.status, 200);
	assert_string_equal(json_string_value(json_object_get(g.body, "version")), TMEM_VERSION);
	release(&g);
	q = of(&s, post("/api/history", "{\"span\":\"day\",\"after\":7}"));
	assert_int_equal(status_of(f, &q), 200);
	q = of(&s, post("/api/history", "{\"span\":\"year\"}"));
	assert_int_equal(status_of(f, &q), 400);
}

static void a_cookie_alone_is_worth_nothing(void **state)
{
	struct fixture *f = *state;
	struct session s = login(f, geteuid(), "{\"verb\":\"dashboard\"}");
	struct http_request q = of(&s, post("/api/verb", "{\"verb\":\"version\"}"));
	struct http_request who = of(&s, post("/api/session", "{}"));
	struct got g = ask(f, &who);

	/* The cookie alone does not get it. */
	assert_int_equal(g.r.status, 200);
	assert_null(json_object_get(g.body, "csrf"));
	release(&g);
	who.csrf = NULL;
	assert_int_equal(status_of(f, &who), 403);
	q.csrf = NULL;
	assert_int_equal(status_of(f, &q), 403);
	q.csrf = "0000000000000000000000000000000000000000000000000000000000000000";
	assert_int_equal(status_of(f, &q), 403);
	q.csrf = s.csrf;
	q.type = "text/plain";
	assert_int_equal(status_of(f, &q), 415);
	q.type = "application/jsonp";
	assert_int_equal(status_of(f, &q), 415);
	q.type = "application/json; charset=utf-8";
	assert_int_equal(status_of(f, &q), 200);
}

static void a_reader_changes_nothing(void **state)
{
	struct fixture *f = *state;
	const char *const asked[] = { "{\"verb\":\"dashboard\",\"read_only\":true}",
				      "{\"verb\":\"dashboard\"}" };
	const uid_t uids[] = { geteuid(), 54321 };

	for (unsigned i = 0; i < 2; i++) {
		struct session s = login(f, uids[i], asked[i]);
		struct http_request q = of(&s, post("/api/verb", "{\"verb\":\"set\"}"));
		struct got g = ask(f, &q);

		assert_string_equal(s.role, "reader");
		assert_int_equal(json_integer_value(json_object_get(g.body, "code")), VERB_DENIED);
		release(&g);
	}
}

/* A session makes no other, and does not decide which guests there are. */
static void some_verbs_are_for_the_control_socket(void **state)
{
	static const char *const bodies[] = { "{\"verb\":\"dashboard\"}", "{\"verb\":\"add\"}" };
	struct fixture *f = *state;
	struct session s = login(f, geteuid(), "{\"verb\":\"dashboard\"}");

	for (unsigned i = 0; i < 2; i++) {
		struct http_request q = of(&s, post("/api/verb", bodies[i]));
		struct got g = ask(f, &q);

		assert_int_equal(json_integer_value(json_object_get(g.body, "code")), VERB_DENIED);
		release(&g);
	}
}

static void logged_out_is_out(void **state)
{
	struct fixture *f = *state;
	struct session s = login(f, geteuid(), "{\"verb\":\"dashboard\"}");
	struct http_request q = of(&s, post("/api/logout", "{}"));

	assert_int_equal(status_of(f, &q), 200);
	assert_int_equal(status_of(f, &q), 401);
}

static void bad_bodies_are_refused(void **state)
{
	static const char *const bodies[] = { "", "[]", "{", "{\"a\":1,\"a\":2}", "null", "\xff" };
	struct fixture *f = *state;
	struct session s = login(f, geteuid(), "{\"verb\":\"dashboard\"}");

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct http_request q = of(&s, post("/api/verb", bodies[i]));

		assert_int_equal(status_of(f, &q), 400);
	}
}

/* ---- bounds -------------------------------------------------------------- */

static const struct web_who someone = { .uid = 7, .pid = 8 };

static struct web_session *opened(struct web_auth *a, int64_t now)
{
	char token[WEB_SECRET];

	assert_int_equal(web_auth_issue(a, &someone, now, token), 0);
	return web_auth_open(a, token, now);
}

static struct web_session *found(struct web_auth *a, const struct web_session *s, int64_t now)
{
	char cookie[HTTP_COOKIE_MAX];

	snprintf(cookie, sizeof(cookie), "%s=%s", a->cookie_name, s->secret);
	return web_auth_find(a, cookie, now);
}

static void tokens_age(void **unused)
{
	struct web_auth a;
	char token[WEB_SECRET];

	(void)unused;
	assert_int_equal(web_auth_init(&a), 0);
	assert_int_equal(web_auth_issue(&a, &someone, 100, token), 0);
	assert_null(web_auth_open(&a, token, 100 + WEB_TOKEN_S));
	assert_null(web_auth_open(&a, token, 100));
}

static void the_oldest_token_makes_room(void **unused)
{
	struct web_auth a;
	char first[WEB_SECRET], second[WEB_SECRET], more[WEB_SECRET];

	(void)unused;
	assert_int_equal(web_auth_init(&a), 0);
	assert_int_equal(web_auth_issue(&a, &someone, 1, first), 0);
	assert_int_equal(web_auth_issue(&a, &someone, 2, second), 0);
	for (unsigned i = 0; i < WEB_TOKENS - 1; i++)
		assert_int_equal(web_auth_issue(&a, &someone, 3 + i, more), 0);
	assert_null(web_auth_open(&a, first, 30));
	assert_non_null(web_auth_open(&a, second, 30));
	assert_non_null(web_auth_open(&a, more, 30));
}

static void sessions_end(void **unused)
{
	struct web_auth a;
	struct web_session *s, copy;
	int64_t now = 5;

	(void)unused;
	assert_int_equal(web_auth_init(&a), 0);
	s = opened(&a, now);
	assert_ptr_equal(found(&a, s, now + WEB_SILENT_S - 1), s);
	copy = *s;
	assert_null(found(&a, &copy, now + 2 * WEB_SILENT_S - 1));
	s = opened(&a, now);
	copy = *s;
	for (; now < 5 + WEB_SESSION_S; now += WEB_SILENT_S / 2)
		assert_non_null(found(&a, &copy, now));
	assert_null(found(&a, &copy, now));
}

static void the_silent_session_makes_room(void **unused)
{
	struct web_auth a;
	struct web_session first, second;

	(void)unused;
	assert_int_equal(web_auth_init(&a), 0);
	first = *opened(&a, 1);
	second = *opened(&a, 2);
	for (unsigned i = 0; i < WEB_SESSIONS - 2; i++)
		opened(&a, 3);
	assert_non_null(found(&a, &first, 4));
	opened(&a, 5);
	assert_non_null(found(&a, &first, 6));
	assert_null(found(&a, &second, 6));
}

static void off_is_off(void **unused)
{
	struct verbs_host verbs = { .core = NULL };
	struct web_config config = { .verbs = &verbs, .metrics = metrics };
	struct http_request q = get("/"), p = post("/api/login", "{}"), m = get("/metrics");
	struct http_response r = { .status = 0 };
	struct web *w;

	(void)unused;
	assert_non_null(web_dashboard_off(NULL));
	assert_int_equal(web_create(&w, &config), 0);
	assert_non_null(web_dashboard_off(w));
	web_answer(w, &q, &r);
	assert_int_equal(r.status, 404);
	r = (struct http_response){ .status = 0 };
	web_answer(w, &p, &r);
	assert_int_equal(r.status, 404);
	r = (struct http_response){ .status = 0 };
	web_answer(w, &m, &r);
	assert_int_equal(r.status, 200);
	free(r.text);
	web_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_names_of_this_host_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(another_origin_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(methods_and_paths_go_together, setup, teardown),
		cmocka_unit_test_setup_teardown(files_have_types, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_told_without_a_session, setup, teardown),
		cmocka_unit_test_setup_teardown(a_token_opens_one_session_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_session_answers_verbs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cookie_alone_is_worth_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(some_verbs_are_for_the_control_socket, setup,
						teardown),
		cmocka_unit_test_setup_teardown(logged_out_is_out, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_bodies_are_refused, setup, teardown),
		cmocka_unit_test(tokens_age),
		cmocka_unit_test(the_oldest_token_makes_room),
		cmocka_unit_test(sessions_end),
		cmocka_unit_test(the_silent_session_makes_room),
		cmocka_unit_test(off_is_off),
	};

	return cmocka_run_group_tests_name("web", tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verbs.c - one line of the control socket: decode, check, do, answer.
 *
 * Owns:    the table of verbs and their arguments.
 * How:     verbs_answer() decodes the line and checks it against the verb's row
 *          (every key known, every argument of its type, a named guest there);
 *          a verb's function then only does what it is for and adds to the
 *          answer.  A verb that changes something is logged with who asked.
 * Must not: run longer than a guest's connection set-up may wait: what could is
 *          done in slices, and the caller asks again (shrink).
 */
#include "verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "added.h"
#include "config.h"
#include "events.h"
#include "explain.h"
#include "host_change.h"
#include "log.h"
#include "plan.h"
#include "pressure.h"
#include "quota_change.h"
#include "report.h"
#include "size.h"
#include "tmemp.h"
#include "web.h"

#define SHRINK_SLICE	(UINT64_C(64) << 20)	/* bytes given back in one request */

/*
 * A request on its way.  guest is the argument of that name or NULL; client is
 * set <=> the verb's row asks for a guest that has one.  answer is never NULL on
 * entry of a verb's function.
 */
struct call {
	struct verbs_host *host;
	json_t *request;
	json_t *answer;
	const char *guest;
	struct tmem_client *client;
	const struct control_peer *peer;
	int code;
	char error[256];
};

struct verb {
	const char *name;
	const char *arguments[7];	/* keys beside "verb"; the rest is NULL */
	bool guest_required;
	bool changes;
	bool root_only;			/* whatever the group may */
	bool socket_only;		/* not by the dashboard, whoever uses it */
	int (*run)(struct call *c);	/* 0, or what fail() returned */
};

__attribute__((format(printf, 3, 4)))
static int fail(struct call *c, enum verb_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, args);
	va_end(args);
	c->code = (int)code;
	return c->code;
}

/* An argument that is true or false; absent, it is preset. */
static int flag_read(struct call *c, const char *key, bool preset, bool *value)
{
	json_t *flag = json_object_get(c->request, key);

	*value = flag ? json_is_true(flag) : preset;
	if (flag && !json_is_boolean(flag))
		return fail(c, VERB_USAGE, "\"%s\" is not true or false", key);
	return 0;
}

/* ---- reports ----------------------------------------------------------- */

struct guest_walk {
	const char *only;	/* NULL: all */
	json_t *(*report)(const struct hv_guest_info *g);
	json_t *array;
	bool flat;		/* report gives an array whose members are wanted */
};

static int guest_append(const struct hv_guest_info *g, void *arg)
{
	struct guest_walk *w = arg;
	json_t *value;
	int err;

	if (w->only && strcmp(w->only, g->name))
		return 0;
	value = w->report(g);
	if (!w->flat)
		return json_array_append_new(w->array, value) ? -ENOMEM : 0;
	err = json_array_extend(w->array, value);
	json_decref(value);
	return err ? -ENOMEM : 0;
}

/* The array of all guests' reports, or only the call's; NULL without memory. */
static json_t *guests_report(struct call *c, json_t *(*report)(const struct hv_guest_info *g),
			     bool flat)
{
	struct guest_walk w = { .only = c->guest, .report = report, .flat = flat };

	w.array = json_array();
	if (w.array && hv_guest_each(c->host->hv, guest_append, &w)) {
		json_decref(w.array);
		return NULL;
	}
	return w.array;
}

static int verb_list(struct call *c)
{
	report_set(&c->answer, "guests", guests_report(c, report_guest_summary, false));
	report_set(&c->answer, "host", report_host_summary(c->host->core));
	return 0;
}

static int verb_stats(struct call *c)
{
	report_set(&c->answer, "guests", guests_report(c, report_guest, false));
	if (!c->guest)
		report_set(&c->answer, "host", report_host(c->host->core, c->host->hv));
	return 0;
}

/* Why the arena could not be locked in memory; null: it was, or was not to be. */
static json_t *lock_error(struct tmem *core)
{
	int err = tmem_lock_error(core);

	return err ? json_string(strerror(-err)) : json_null();
}

static int verb_status(struct call *c)
{
	struct pressure_status s;
	struct hv_info info;

	hv_info(c->host->hv, &info);
	pressure_status(c->host->pressure, &s);
	report_set(&c->answer, "version", json_string(TMEM_VERSION));
	report_set(&c->answer, "pid", json_integer(getpid()));
	report_set(&c->answer, "arena_bytes", report_bytes(s.config.total));
	report_set(&c->answer, "queues", json_integer(info.queues));
	report_set(&c->answer, "lock_error", lock_error(c->host->core));
	report_set(&c->answer, "totals", report_totals(c->host->hv));
	report_set(&c->answer, "host", report_host_summary(c->host->core));
	report_set(&c->answer, "pressure", report_pressure(&s));
	report_set(&c->answer, "words", explain_host(&s));
	report_set(&c->answer, "verdict", explain_verdict(&s, c->host->hv));
	return 0;
}

static int verb_pools(struct call *c)
{
	report_set(&c->answer, "pools", guests_report(c, report_guest_pools, true));
	return 0;
}

/* ---- memory and reasons ------------------------------------------------ */

struct plan {
	struct plan_guest *guests;
	size_t count;
};

static int plan_append(const struct hv_guest_info *g, void *arg)
{
	struct plan *p = arg;
	struct tmem_client_info info;
	struct plan_guest *more;

	if (!g->client)
		return 0;
	more = reallocarray(p->guests, p->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->guests = more;
	tmem_client_info(g->client, &info);
	plan_guest_set(&p->guests[p->count++], &info);
	return 0;
}

static uint64_t free_bytes(struct tmem *core)
{
	struct tmem_use use;

	tmem_use_get(core, &use);
	return use.free;
}

static int verb_freeable(struct call *c)
{
	struct plan p = { .guests = NULL };
	json_t *guests = json_array();
	uint64_t unused = free_bytes(c->host->core), sum = unused;

	if (hv_guest_each(c->host->hv, plan_append, &p)) {
		json_decref(guests);
		guests = NULL;
	}
	for (size_t i = 0; guests && i < p.count; i++) {
		uint64_t bytes = plan_freeable(&p.guests[i]);

		sum += bytes;
		json_array_append_new(guests, json_pack("{s:s, s:o, s:o}", "guest",
			p.guests[i].name, "freeable_bytes", report_bytes(bytes),
			"ephemeral_bytes", report_bytes(p.guests[i].ephemeral)));
	}
	free(p.guests);
	report_set(&c->answer, "guests", guests);
	report_set(&c->answer, "unused_bytes", report_bytes(unused));
	report_set(&c->answer, "freeable_bytes", report_bytes(sum));
	return 0;
}

static int verb_events(struct call *c)
{
	json_t *after = json_object_get(c->request, "after"), *list = json_array();
	const struct event *e;
	uint64_t n = 0;

	if (after && (!json_is_integer(after) || json_integer_value(after) < 0)) {
		json_decref(list);
		return fail(c, VERB_USAGE, "events: \"after\" is not a number, 0 or above");
	}
	if (after)
		n = (uint64_t)json_integer_value(after);
	for (; (e = events_next(c->host->events, n)); n = e->number)
		json_array_append_new(list, report_event(e));
	report_set(&c->answer, "events", list);
	return 0;
}

struct rank_walk {
	const char *name;
	uint64_t share;
	struct explain_rank rank;
	json_t *words;
};

static uint64_t share_of(const struct hv_guest_info *g)
{
	struct tmem_client_info info = { .share_permille = 0 };

	if (g->client)
		tmem_client_info(g->client, &info);
	return info.share_permille;
}

static int rank_count(const struct hv_guest_info *g, void *arg)
{
	struct rank_walk *w = arg;

	w->rank.guests++;
	if (share_of(g) > w->share)
		w->rank.rank++;
	return 0;
}

static int explain_one(const struct hv_guest_info *g, void *arg)
{
	struct rank_walk *w = arg;

	if (strcmp(g->name, w->name))
		return 0;
	w->words = explain_guest(g, &w->rank);
	return 1;
}

static int verb_explain(struct call *c)
{
	struct rank_walk w = { .name = c->guest, .rank = { .rank = 1 } };
	struct pressure_status s;
	struct tmem_client_info info;

	if (c->client) {
		tmem_client_info(c->client, &info);
		w.share = info.share_permille;
	}
	if (c->guest) {
		hv_guest_each(c->host->hv, rank_count, &w);
		hv_guest_each(c->host->hv, explain_one, &w);
		report_set(&c->answer, "guest", w.words);
	}
	pressure_status(c->host->pressure, &s);
	report_set(&c->answer, "host", explain_host(&s));
	report_set(&c->answer, "pressure", report_pressure(&s));
	return 0;
}

static int verb_version(struct call *c)
{
	report_set(&c->answer, "version", json_string(TMEM_VERSION));
	report_set(&c->answer, "protocol_version", json_integer(TMEMP_VERSION));
	report_set(&c->answer, "pid", json_integer(getpid()));
	return 0;
}

/*
 * A token that opens a session of the dashboard, with the rights of the peer at
 * most.  A session cannot make another: what it can do ends with it.
 */
static int verb_dashboard(struct call *c)
{
	struct web_who who = { .uid = c->peer->uid, .pid = c->peer->pid };
	const char *off = web_dashboard_off(c->host->web);
	char token[WEB_SECRET];
	bool read_only;

	if (off)
		return fail(c, VERB_FAILED, "dashboard: %s", off);
	if (flag_read(c, "read_only", false, &read_only))
		return c->code;
	who.reader = read_only || !verbs_peer_may_change(c->host, c->peer);
	if (web_token(c->host->web, &who, token))
		return fail(c, VERB_FAILED, "dashboard: no randomness");
	log_info("dashboard: uid %u, pid %d: a token for a%s", who.uid, who.pid,
		 who.reader ? " reader" : "n administrator");
	report_set(&c->answer, "role", json_string(who.reader ? "reader" : "administrator"));
	report_set(&c->answer, "path", json_sprintf("/#token=%s", token));
	report_set(&c->answer, "url", c->host->http_port
		   ? json_sprintf("http://127.0.0.1:%u/#token=%s", c->host->http_port, token)
		   : json_null());
	report_set(&c->answer, "socket", report_text(c->host->http_socket));
	report_set(&c->answer, "expires_s", json_integer(WEB_TOKEN_S));
	return 0;
}

/* ---- changes ----------------------------------------------------------- */

/* Whose values a set changes, and where. */
struct set_place {
	bool host, live;
	const char *file;
};

static int set_arguments(struct call *c, struct set_place *p)
{
	bool all, config;
	int err = flag_read(c, "all", false, &all);

	if (!err)
		err = flag_read(c, "host", false, &p->host);
	if (!err)
		err = flag_read(c, "live", true, &p->live);
	if (!err)
		err = flag_read(c, "config", false, &config);
	if (err)
		return err;
	if (all + p->host + !!c->guest != 1)
		return fail(c, VERB_USAGE, "set: either a \"guest\" is given, or \"all\", or "
			    "\"host\"");
	if (!p->live && !config)
		return fail(c, VERB_USAGE, "set: neither \"live\" nor \"config\"");
	if (config && !c->host->config_file)
		return fail(c, VERB_FAILED, "set: the daemon runs without a configuration file");
	p->file = config ? c->host->config_file : NULL;
	return 0;
}

static int set_guests(struct call *c, const struct set_place *p, struct config_error *e)
{
	struct quota_change q = {
		.guest = c->guest, .values = json_object_get(c->request, "values"),
		.live = p->live, .file = p->file,
	};
	struct pressure_status s;
	json_t *changed = NULL;
	int err;

	pressure_status(c->host->pressure, &s);
	q.arena = s.config.total;
	err = quota_change(c->host->hv, &q, &changed, e);
	if (!err)
		report_set(&c->answer, "changed", changed);
	return err;
}

static int set_host(struct call *c, const struct set_place *p, struct config_error *e)
{
	const struct host_change h = {
		.hv = c->host->hv, .core = c->host->core, .pressure = c->host->pressure,
		.values = json_object_get(c->request, "values"),
		.live = p->live, .file = p->file,
	};
	json_t *limits = NULL;
	int err = host_change(&h, &limits, e);

	if (!err)
		report_set(&c->answer, "limits", limits);
	return err;
}

static int verb_set(struct call *c)
{
	struct set_place p;
	struct config_error e;
	int err = set_arguments(c, &p);

	if (err)
		return err;
	err = p.host ? set_host(c, &p, &e) : set_guests(c, &p, &e);
	if (err)
		return fail(c, err == -EINVAL ? VERB_USAGE : VERB_FAILED, "%.250s", e.text);
	return 0;
}

/* ---- guests that come and go -------------------------------------------- */

static int added_host(struct call *c, struct added_host *h)
{
	struct pressure_status s;

	if (!c->host->run_dir)
		return fail(c, VERB_FAILED, "this daemon has no directory for sockets");
	pressure_status(c->host->pressure, &s);
	*h = (struct added_host){
		.hv = c->host->hv, .run_dir = c->host->run_dir,
		.spill_dir = c->host->spill_dir, .arena = s.config.total,
	};
	return 0;
}

/* A text argument; absent, it is NULL. */
static int text_read(struct call *c, const char *key, const char **text)
{
	json_t *value = json_object_get(c->request, key);

	*text = json_string_value(value);
	return value && !*text ? fail(c, VERB_USAGE, "\"%s\" is not a text", key) : 0;
}

/* A number of bytes, up to so many T; absent, it is 0. */
static int bytes_read(struct call *c, const char *key, int most, uint64_t *bytes)
{
	json_t *value = json_object_get(c->request, key);
	json_int_t n = json_integer_value(value);

	*bytes = (uint64_t)n;
	return value && (!json_is_integer(value) || n < 0 || n > (json_int_t)most << 40)
	     ? fail(c, VERB_USAGE, "\"%s\" is not a number of bytes up to %dT", key, most) : 0;
}

static int wish_read(struct call *c, struct added_wish *w)
{
	const char *transport;
	uint8_t uuid[16];
	int err = text_read(c, "name", &w->name);

	if (!err)
		err = text_read(c, "domain", &w->domain);
	if (!err)
		err = text_read(c, "transport", &transport);
	if (err)
		return err;
	if (!w->name)
		return fail(c, VERB_USAGE, "add: no \"name\" is given");
	if (w->domain && (strlen(w->domain) >= HV_DOMAIN_MAX || !added_uuid_read(w->domain, uuid)))
		return fail(c, VERB_USAGE, "add: \"domain\" is not a UUID");
	if (transport && added_transport(transport, &w->transport))
		return fail(c, VERB_USAGE, "add: \"%.40s\" is not a transport", transport);
	err = bytes_read(c, "region", 1, &w->region);
	if (!err)
		err = bytes_read(c, "disk_size", 16, &w->disk_size);
	if (err)
		return err;
	w->values = json_object_get(c->request, "values");
	w->shared_pools = json_object_get(c->request, "shared_pools");
	return 0;
}

static json_t *added_report(const struct added_host *h, const struct added_wish *w)
{
	char path[CONFIG_PATH_MAX + TMEM_NAME_MAX + 8];
	struct hv_info info;

	hv_info(h->hv, &info);
	snprintf(path, sizeof(path), "%s/%s.sock", h->run_dir, w->name);
	return json_pack("{s:s, s:o, s:i}", "name", w->name, "socket", report_text(path), "vectors",
			 info.queues + 1);
}

static int verb_add(struct call *c)
{
	struct added_wish w = { .transport = HV_IVSHMEM };
	struct added_host h = { .hv = c->host->hv };
	struct config_error e;
	int err;

	if (wish_read(c, &w) || added_host(c, &h))
		return c->code;
	err = added_admit(&h, &w, &e);
	if (err)
		return fail(c, err == -EINVAL ? VERB_USAGE : VERB_FAILED, "%.250s", e.text);
	report_set(&c->answer, "guest", added_report(&h, &w));
	return 0;
}

static int verb_remove(struct call *c)
{
	struct added_host h;
	struct config_error e;
	bool force;

	if (flag_read(c, "force", false, &force) || added_host(c, &h))
		return c->code;
	if (added_remove(&h, c->guest, force, &e))
		return fail(c, VERB_FAILED, "%.250s", e.text);
	return 0;
}

/* ---- what is done to a guest --------------------------------------------- */

static int verb_freeze(struct call *c)
{
	tmem_client_freeze(c->client, true);
	return 0;
}

static int verb_thaw(struct call *c)
{
	tmem_client_freeze(c->client, false);
	return 0;
}

/* What comes of it, the guest's stats say later. */
static int drain_ask(struct call *c, bool drain)
{
	if (hv_guest_drain(c->host->hv, c->guest, drain))
		return fail(c, VERB_FAILED, "guest %s: no driver is there to hear it", c->guest);
	return 0;
}

static int verb_drain(struct call *c)
{
	return drain_ask(c, true);
}

static int verb_resume(struct call *c)
{
	return drain_ask(c, false);
}

static int verb_auth(struct call *c)
{
	const char *text = json_string_value(json_object_get(c->request, "uuid"));
	uint8_t uuid[16] = { 0 };
	bool allow;
	int err;

	if (!text || !added_uuid_read(text, uuid))
		return fail(c, VERB_USAGE, "auth: \"uuid\" is not 32 hexadecimal digits");
	if (!json_object_get(c->request, "allow"))
		return fail(c, VERB_USAGE, "auth: no \"allow\" is given");
	if (flag_read(c, "allow", false, &allow))
		return c->code;
	err = tmem_client_authorise(c->client, uuid, allow);
	if (err)
		return fail(c, VERB_FAILED, "auth: %s", strerror(-err));
	return 0;
}

static int verb_flush(struct call *c)
{
	uint64_t pages = tmem_client_flush_ephemeral(c->client);

	report_set(&c->answer, "pages", json_integer((json_int_t)pages));
	return 0;
}

/* The same answer as a shrink's, of what would be lost by whom. */
static int shrink_plan(struct call *c, uint64_t wanted)
{
	uint64_t unused = free_bytes(c->host->core), taken = unused < wanted ? unused : wanted;
	uint64_t frame = tmem_frame_size(c->host->core);
	struct plan p = { .guests = NULL };
	json_t *from = json_array();

	if (hv_guest_each(c->host->hv, plan_append, &p)) {
		json_decref(from);
		free(p.guests);
		return fail(c, VERB_FAILED, "out of memory");
	}
	taken += plan_shrink(p.guests, p.count, frame, wanted - taken);
	for (size_t i = 0; i < p.count; i++) {
		if (p.guests[i].lost)
			json_array_append_new(from, json_pack("{s:s, s:o}", "guest",
				p.guests[i].name, "bytes", report_bytes(p.guests[i].lost)));
	}
	free(p.guests);
	report_set(&c->answer, "bytes", report_bytes(taken));
	report_set(&c->answer, "unused_bytes", report_bytes(unused < wanted ? unused : wanted));
	report_set(&c->answer, "from", from);
	return 0;
}

static int verb_shrink(struct call *c)
{
	json_t *bytes = json_object_get(c->request, "bytes");
	uint64_t frame = tmem_frame_size(c->host->core);
	struct tmem_reclaim_report *r;
	uint64_t wanted;
	bool dry_run;

	if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0)
		return fail(c, VERB_USAGE, "shrink: \"bytes\" is not a number above 0");
	if (flag_read(c, "dry_run", false, &dry_run))
		return c->code;
	wanted = (uint64_t)json_integer_value(bytes);
	if (dry_run)
		return shrink_plan(c, wanted);
	if (wanted > SHRINK_SLICE)
		wanted = SHRINK_SLICE;
	r = calloc(1, sizeof(*r));
	if (!r)
		return fail(c, VERB_FAILED, "out of memory");
	tmem_reclaim(c->host->core, (wanted + frame - 1) / frame, r);
	report_set(&c->answer, "reclaimed", report_reclaim(r));
	free(r);
	return 0;
}

/* ---- one request ------------------------------------------------------- */

static const struct verb verbs[] = {
	{ .name = "status", .run = verb_status },
	{ .name = "list", .run = verb_list },
	{ .name = "stats", .arguments = { "guest" }, .run = verb_stats },
	{ .name = "pools", .arguments = { "guest" }, .run = verb_pools },
	{ .name = "version", .run = verb_version },
	{ .name = "set", .arguments = { "guest", "all", "host", "values", "live", "config" },
	  .changes = true, .run = verb_set },
	{ .name = "add", .arguments = { "name", "domain", "transport", "region", "disk_size",
	  "values", "shared_pools" }, .changes = true, .root_only = true, .socket_only = true,
	  .run = verb_add },
	{ .name = "remove", .arguments = { "guest", "force" }, .guest_required = true,
	  .changes = true, .root_only = true, .socket_only = true, .run = verb_remove },
	{ .name = "auth", .arguments = { "guest", "uuid", "allow" }, .guest_required = true,
	  .changes = true, .socket_only = true, .run = verb_auth },
	{ .name = "freeze", .arguments = { "guest" }, .guest_required = true, .changes = true,
	  .run = verb_freeze },
	{ .name = "thaw", .arguments = { "guest" }, .guest_required = true, .changes = true,
	  .run = verb_thaw },
	{ .name = "drain", .arguments = { "guest" }, .guest_required = true, .changes = true,
	  .run = verb_drain },
	{ .name = "resume", .arguments = { "guest" }, .guest_required = true, .changes = true,
	  .run = verb_resume },
	{ .name = "flush", .arguments = { "guest" }, .guest_required = true, .changes = true,
	  .run = verb_flush },
	{ .name = "shrink", .arguments = { "bytes", "dry_run" }, .changes = true,
	  .run = verb_shrink },
	{ .name = "freeable", .run = verb_freeable },
	{ .name = "explain", .arguments = { "guest" }, .run = verb_explain },
	{ .name = "events", .arguments = { "after" }, .run = verb_events },
	{ .name = "dashboard", .arguments = { "read_only" }, .socket_only = true,
	  .run = verb_dashboard },
};

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

static bool argument_is_known(const struct verb *v, const char *key)
{
	const size_t count = sizeof(v->arguments) / sizeof(v->arguments[0]);

	if (!strcmp(key, "verb"))
		return true;
	for (size_t i = 0; i < count && v->arguments[i]; i++) {
		if (!strcmp(key, v->arguments[i]))
			return true;
	}
	return false;
}

struct guest_search {
	const char *name;
	struct tmem_client *client;
	bool found;
};

static int guest_match(const struct hv_guest_info *g, void *arg)
{
	struct guest_search *s = arg;

	if (strcmp(g->name, s->name))
		return 0;
	s->found = true;
	s->client = g->client;
	return 1;
}

static int guest_check(struct call *c, const struct verb *v)
{
	json_t *guest = json_object_get(c->request, "guest");
	struct guest_search s = { .name = json_string_value(guest) };

	if (!guest)
		return v->guest_required ? fail(c, VERB_USAGE, "%s: no \"guest\" is given", v->name)
					 : 0;
	if (!s.name)
		return fail(c, VERB_USAGE, "%s: \"guest\" is not a text", v->name);
	hv_guest_each(c->host->hv, guest_match, &s);
	if (!s.found)
		return fail(c, VERB_NO_GUEST, "no guest is called %.64s", s.name);
	if (v->guest_required && !s.client)
		return fail(c, VERB_FAILED, "guest %.64s holds nothing yet", s.name);
	c->guest = s.name;
	c->client = s.client;
	return 0;
}

/* The verb whose row the request fits, or NULL with the call failed. */
static const struct verb *request_check(struct call *c)
{
	const char *name = json_string_value(json_object_get(c->request, "verb"));
	const struct verb *v = name ? verb_find(name) : NULL;
	const char *key;
	json_t *value;

	if (!name) {
		fail(c, VERB_USAGE, "a request is an object with a \"verb\"");
		return NULL;
	}
	if (!v) {
		fail(c, VERB_USAGE, "no verb is called \"%.40s\"", name);
		return NULL;
	}
	json_object_foreach(c->request, key, value) {
		if (!argument_is_known(v, key)) {
			fail(c, VERB_USAGE, "%s: takes no \"%.40s\"", v->name, key);
			return NULL;
		}
	}
	return guest_check(c, v) ? NULL : v;
}

static void change_log(const struct call *c, const struct control_peer *peer)
{
	char *text = json_dumps(c->request, JSON_COMPACT);

	log_info("%s: uid %u, pid %d: %.400s: %s", peer->dashboard ? "dashboard" : "control",
		 peer->uid, peer->pid, text ? text : "?", c->code ? c->error : "done");
	if (!c->code)
		events_add(c->host->events, EVENT_CHANGE, c->guest, "uid %u%s: %.180s", peer->uid,
			   peer->dashboard ? " by the dashboard" : "", text ? text : "?");
	free(text);
}

static bool is_dry_run(const struct call *c)
{
	return json_is_true(json_object_get(c->request, "dry_run"));
}

static bool peer_is_ours(const struct control_peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

/* Who reaches the socket may look.  Who may change is root, and whom tmemd runs as. */
bool verbs_peer_may_change(const struct verbs_host *host, const struct control_peer *peer)
{
	return !peer->reader && (host->group_may_change || peer_is_ours(peer));
}

static bool may_run(const struct verbs_host *host, const struct verb *v,
		    const struct control_peer *peer)
{
	return verbs_peer_may_change(host, peer) && (!v->root_only || peer_is_ours(peer));
}

static void request_run(struct call *c, const struct control_peer *peer)
{
	const struct verb *v = request_check(c);
	bool changes = v && v->changes && !is_dry_run(c);

	if (!v)
		return;
	if (changes && !may_run(c->host, v, peer))
		fail(c, VERB_DENIED, "%s: user %u may look, but not change anything", v->name,
		     peer->uid);
	else if (v->socket_only && peer->dashboard)
		fail(c, VERB_DENIED, "%s: only over the control socket", v->name);
	else
		v->run(c);
	if (changes)
		change_log(c, peer);
}

/* The answer's text: what the verb added, or in its place the error. */
static char *answer_text(struct call *c)
{
	char *text;

	if (c->code) {
		json_decref(c->answer);
		c->answer = json_object();
		report_set(&c->answer, "ok", json_false());
		report_set(&c->answer, "error", report_text(c->error));
		report_set(&c->answer, "code", json_integer(c->code));
	}
	report_set(&c->answer, "schema_version", json_integer(REPORT_SCHEMA_VERSION));
	text = c->answer ? json_dumps(c->answer, JSON_COMPACT) : NULL;
	json_decref(c->answer);
	return text;
}

char *verbs_answer(void *arg, const struct control_peer *peer, const char *line, size_t length)
{
	struct call c = { .host = arg, .peer = peer, .answer = json_object() };
	json_error_t where;
	char *text;

	report_set(&c.answer, "ok", json_true());
	c.request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	if (!c.request)
		fail(&c, VERB_USAGE, "not JSON: %.160s, at byte %d", where.text, where.position);
	else
		request_run(&c, peer);
	text = answer_text(&c);
	json_decref(c.request);
	return text;
}

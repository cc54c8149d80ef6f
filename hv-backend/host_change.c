/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_change.c - change the limits of the whole host, now and in the file.
 *
 * How:     what is in force becomes a configuration, the values go into it, and it
 *          is checked as one that was read; then the pressure policy gets it, which
 *          is what sets the core's limits.
 */
#include "host_change.h"

#include <errno.h>
#include <string.h>

#include "config_edit.h"
#include "report.h"
#include "values.h"

static bool can_change(const char *name)
{
	static const char *const names[] = {
		"arena", "persistent-max", "memory-policy", "memory-floor", "memory-low",
		"memory-high",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], name))
			return true;
	}
	return false;
}

/* The limits in force. */
static void limits_get(struct pressure *p, struct config *c)
{
	struct pressure_status s;

	pressure_status(p, &s);
	config_init(c);
	c->policy = s.config;
	c->arena = s.config.total;
	c->persistent_max = s.config.persistent_max;
}

/* An arena that changes alone leaves persistent pages their share of it. */
static void persistent_max_follow(struct config *c, const struct values *v, uint64_t arena)
{
	if (arena && values_have(v, "arena") && !values_have(v, "persistent-max"))
		c->persistent_max = (uint64_t)((unsigned __int128)c->persistent_max * c->arena /
					       arena);
}

static int values_apply(struct config *c, const struct values *v, struct config_error *e)
{
	uint64_t arena = c->arena;
	int err = 0;

	for (size_t i = 0; i < v->count && !err; i++) {
		const struct config_setting *s = &v->settings[i];

		err = can_change(s->name)
			  ? config_set(c, s->name, s->value, e)
			  : config_refuse(e,
					  "%s: no option of the host that can change while it runs",
					  s->name);
	}
	if (!err)
		persistent_max_follow(c, v, arena);
	return err;
}

static int min_add(const struct hv_guest_info *g, void *arg)
{
	uint64_t *mins = arg;
	struct tmem_quota q = { .min = 0 };

	if (g->client)
		tmem_client_quota_get(g->client, &q);
	if (__builtin_add_overflow(*mins, q.min, mins))
		*mins = UINT64_MAX;
	return 0;
}

/* Whether the limits could be in force now. */
static int live_check(const struct host_change *h, struct config *c, struct config_error *e)
{
	uint64_t mins = 0;
	struct tmem_use use;
	int err = config_finish(c, e);

	if (err)
		return err;
	tmem_use_get(h->core, &use);
	if (c->arena > use.arena)
		return config_refuse(e, "arena (%llu) is above what it was made with (%llu)",
				     (unsigned long long)c->arena, (unsigned long long)use.arena);
	hv_guest_each(h->hv, min_add, &mins);
	if (mins > c->arena)
		return config_refuse(e,
				     "arena (%llu) is below what the guests' mins add up to (%llu)",
				     (unsigned long long)c->arena, (unsigned long long)mins);
	return 0;
}

static json_t *limits_report(const struct config *c)
{
	json_t *o = json_object();

	report_set(&o, "arena_bytes", report_bytes(c->arena));
	report_set(&o, "persistent_max_bytes", report_bytes(c->persistent_max));
	report_set(&o, "memory_policy", json_string(c->policy.on ? "on" : "off"));
	report_set(&o, "memory_floor_bytes", report_bytes(c->policy.floor));
	report_set(&o, "memory_low_bytes", report_bytes(c->policy.low));
	report_set(&o, "memory_high_bytes", report_bytes(c->policy.high));
	return o;
}

int host_change(const struct host_change *h, json_t **limits, struct config_error *e)
{
	static const char *const daemon_section[] = { NULL };
	struct values v = { .count = 0 };
	struct config c;
	int err = json_object_size(h->values) ? values_read(&v, h->values, e)
					      : config_refuse(e, "set: no \"values\" are given");

	if (err)
		return err;
	limits_get(h->pressure, &c);
	err = values_apply(&c, &v, e);
	if (!err && h->live)
		err = live_check(h, &c, e);
	if (!err && h->file)
		err = config_edit_file(h->file, daemon_section, 1, v.settings, v.count, 0, e);
	if (err)
		return err;
	if (h->live)
		pressure_configure(h->pressure, &c.policy);
	*limits = limits_report(&c);
	return 0;
}

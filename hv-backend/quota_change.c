/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quota_change.c - change the quotas of one guest or of all, now and in the file.
 *
 * How:     values become settings, settings are applied to a copy of each guest's
 *          quota, the copies are checked alone and together, and only then is
 *          anything written.
 */
#include "quota_change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_edit.h"
#include "report.h"
#include "values.h"

struct target {
	char name[TMEM_NAME_MAX];
	struct tmem_client *client;
	bool added;
	struct tmem_quota quota;
};

struct change {
	const char *guest;
	struct values values;
	struct target *targets;
	size_t target_count;
	uint64_t mins;		/* of all guests once it is done; saturates */
	struct config_error *e;
};

static void mins_add(struct change *ch, uint64_t min)
{
	if (__builtin_add_overflow(ch->mins, min, &ch->mins))
		ch->mins = UINT64_MAX;
}

static int quota_apply(struct change *ch, struct tmem_quota *q)
{
	int err = 0;

	for (size_t i = 0; i < ch->values.count && !err; i++)
		err = config_quota_set(q, ch->values.settings[i].name,
				       ch->values.settings[i].value, ch->e);
	return err ? err : config_quota_check(q, ch->e);
}

int quota_values_apply(struct tmem_quota *q, json_t *values, struct config_error *e)
{
	struct change ch = { .e = e };
	int err = json_is_object(values) ? values_read(&ch.values, values, e)
					 : config_refuse(e, "the \"values\" are not an object");

	return err ? err : quota_apply(&ch, q);
}

static int target_add(const struct hv_guest_info *g, void *arg)
{
	struct change *ch = arg;
	struct target *t, *more;

	if (!g->client)
		return 0;
	more = reallocarray(ch->targets, ch->target_count + 1, sizeof(*more));
	if (!more)
		return config_refuse(ch->e, "out of memory");
	ch->targets = more;
	t = &more[ch->target_count];
	tmem_client_quota_get(g->client, &t->quota);
	if (ch->guest && strcmp(ch->guest, g->name)) {
		mins_add(ch, t->quota.min);
		return 0;
	}
	ch->target_count++;
	t->client = g->client;
	t->added = g->added;
	snprintf(t->name, sizeof(t->name), "%s", g->name);
	if (quota_apply(ch, &t->quota))
		return -EINVAL;
	mins_add(ch, t->quota.min);
	return 0;
}

static int file_change(const struct change *ch, const struct quota_change *q)
{
	const char **names = calloc(ch->target_count + 1, sizeof(*names));
	int err = 0;

	if (!names)
		return config_refuse(ch->e, "out of memory");
	for (size_t i = 0; i < ch->target_count && !err; i++) {
		names[i] = ch->targets[i].name;
		if (ch->targets[i].added)
			err = config_refuse(ch->e, "guest %s stands in no configuration file",
					    names[i]);
	}
	if (!err)
		err = config_edit_file(q->file, names, ch->target_count, ch->values.settings,
				       ch->values.count, q->arena, ch->e);
	free(names);
	return err;
}

static int live_change(const struct change *ch)
{
	int err = 0;

	for (size_t i = 0; i < ch->target_count && !err; i++)
		err = tmem_client_quota_set(ch->targets[i].client, &ch->targets[i].quota);
	if (err)
		config_refuse(ch->e, "set: %s", strerror(-err));
	return err;
}

static json_t *changed_report(const struct change *ch)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ch->target_count && list; i++) {
		json_t *one = json_object();

		report_set(&one, "guest", json_string(ch->targets[i].name));
		report_set(&one, "quota", report_quota(&ch->targets[i].quota));
		if (json_array_append_new(list, one)) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

int quota_change(struct hv *hv, const struct quota_change *q, json_t **changed,
		 struct config_error *e)
{
	struct change ch = { .guest = q->guest, .e = e };
	int err = json_object_size(q->values) ? values_read(&ch.values, q->values, e)
					      : config_refuse(e, "set: no \"values\" are given");

	if (!err)
		err = hv_guest_each(hv, target_add, &ch);
	if (!err && values_have(&ch.values, "min") && ch.mins > q->arena)
		err = config_refuse(e, "min: the guests' mins add up to %llu, the arena has %llu",
				    (unsigned long long)ch.mins, (unsigned long long)q->arena);
	if (!err && q->file)
		err = file_change(&ch, q);
	if (!err && q->live)
		err = live_change(&ch);
	if (!err)
		*changed = changed_report(&ch);
	free(ch.targets);
	return err;
}

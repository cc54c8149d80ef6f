/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * added.c - guests that come and go while the daemon runs.
 *
 * How:     all is checked before anything changes: the name, who has it, the quota
 *          alone and with the others'.  Then the guest is made, or its quota is set,
 *          and the file is written as a whole beside itself and renamed.
 *
 * #syscalls: fsync openat rename unlink
 */
#include "added.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "quota_change.h"

static const char *const transports[] = {
	[HV_VHOST_USER] = "vhost-user",
	[HV_IVSHMEM] = "ivshmem",
};

#define TRANSPORTS	(sizeof(transports) / sizeof(transports[0]))

__attribute__((format(printf, 3, 4)))
static int refuse(struct config_error *e, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return err;
}

int added_transport(const char *name, enum hv_transport *transport)
{
	for (size_t i = 0; i < TRANSPORTS; i++) {
		if (!strcmp(transports[i], name)) {
			*transport = (enum hv_transport)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool added_uuid_read(const char *text, uint8_t uuid[16])
{
	unsigned digits = 0;

	memset(uuid, 0, 16);
	for (; *text; text++) {
		static const char hex[] = "0123456789abcdef";
		const char *digit = strchr(hex, *text | 0x20);

		if (*text == '-')
			continue;
		if (!digit || digits == 32)
			return false;
		uuid[digits / 2] = (uint8_t)(uuid[digits / 2] << 4 | (digit - hex));
		digits++;
	}
	return digits == 32;
}

/* ---- the file ----------------------------------------------------------- */

static void path_of(const struct added_host *h, const char *suffix, char path[CONFIG_PATH_MAX + 16])
{
	snprintf(path, CONFIG_PATH_MAX + 16, "%s/guests.conf%s", h->run_dir, suffix);
}

static void limit_write(FILE *out, const char *name, uint64_t value)
{
	if (value == TMEM_NO_LIMIT)
		fprintf(out, "%s = none\n", name);
	else
		fprintf(out, "%s = %llu\n", name, (unsigned long long)value);
}

static void disk_write(FILE *out, const struct hv_disk_config *d)
{
	if (!d->size)
		return;
	fprintf(out, "disk-size = %llu\ndisk-socket = %s\ndisk-spill = %s\ndisk-block = %u\n"
		     "disk-keep = %s\n", (unsigned long long)d->size, d->socket,
		d->spill[0] ? d->spill : "none", d->block, d->keep ? "yes" : "no");
}

static int guest_write(const struct hv_guest_info *g, void *arg)
{
	FILE *out = arg;
	struct tmem_quota q;

	if (!g->added || !g->client)
		return 0;
	tmem_client_quota_get(g->client, &q);
	fprintf(out, "\n[guest %s]\ntransport = %s\nregion = %llu\n", g->name,
		transports[g->transport], (unsigned long long)g->region);
	if (g->domain[0])
		fprintf(out, "domain = %s\n", g->domain);
	fprintf(out, "weight = %u\n", q.weight);
	limit_write(out, "max", q.max);
	limit_write(out, "min", q.min);
	limit_write(out, "persistent-max", q.persistent_max);
	fprintf(out, "codec-ephemeral = %s\ncodec-persistent = %s\n",
		config_codec_name(q.codec[TMEM_EPHEMERAL]),
		config_codec_name(q.codec[TMEM_PERSISTENT]));
	disk_write(out, &g->disk.config);
	return 0;
}

/* A guest that is there but not in the file is one to be added again some day, no more. */
static void added_save(const struct added_host *h)
{
	char path[CONFIG_PATH_MAX + 16], beside[CONFIG_PATH_MAX + 16];
	bool failed;
	FILE *out;

	path_of(h, "", path);
	path_of(h, ".new", beside);
	out = fopen(beside, "we");
	failed = !out;
	if (out) {
		fputs("# The guests added while the daemon ran.  Written by it.\n", out);
		hv_guest_each(h->hv, guest_write, out);
		failed = ferror(out);
		failed = fclose(out) || failed;
	}
	if (failed || rename(beside, path))
		log_warn("%s: %s: guests added are forgotten at the next start", path,
			 strerror(errno));
}

/* ---- who is there -------------------------------------------------------- */

struct present {
	const char *name;
	bool found, added, in_use;
	enum hv_transport transport;
	pid_t vmm_pid;			/* of its device or its disk; 0: none is there */
	uint64_t disk_size;
	char domain[HV_DOMAIN_MAX];
	struct tmem_client *client;
	uint64_t other_mins;		/* of all others; saturates */
};

static int present_look(const struct hv_guest_info *g, void *arg)
{
	struct present *p = arg;
	struct tmem_quota q = { .min = 0 };

	if (!strcmp(g->name, p->name)) {
		p->found = true;
		p->added = g->added;
		p->transport = g->transport;
		p->vmm_pid = g->vmm_pid ? g->vmm_pid : g->disk.vmm_pid;
		p->in_use = g->state != HV_GUEST_LISTENING || g->disk.connected ||
			    g->disk.vmm_pid;
		p->disk_size = g->disk.config.size;
		snprintf(p->domain, sizeof(p->domain), "%s", g->domain);
		p->client = g->client;
		return 0;
	}
	if (g->client)
		tmem_client_quota_get(g->client, &q);
	if (__builtin_add_overflow(p->other_mins, q.min, &p->other_mins))
		p->other_mins = UINT64_MAX;
	return 0;
}

static void present_find(const struct added_host *h, const char *name, struct present *p)
{
	*p = (struct present){ .name = name };
	hv_guest_each(h->hv, present_look, p);
}

/* Is the guest that is there the one that is wished for? */
static bool is_the_same(const struct present *p, const struct added_wish *w)
{
	return p->transport == w->transport && (!p->added || !strcmp(p->domain, w->domain)) &&
	       (!w->disk_size || p->disk_size == w->disk_size);
}

/* 0: p may be replaced by, or is, what is wished for. */
static int claim_check(const struct present *p, const struct added_wish *w,
		       struct config_error *e)
{
	if (!p->found || (w->domain && is_the_same(p, w)))
		return 0;
	if (!w->domain)
		return refuse(e, -EEXIST, "guest %s is there already", p->name);
	if (!p->added)
		return refuse(e, -EEXIST, "guest %s stands in the configuration, over %s", p->name,
			      transports[p->transport]);
	if (!p->in_use)
		return 0;
	if (w->disk_size && p->disk_size != w->disk_size && !strcmp(p->domain, w->domain))
		return refuse(e, -EBUSY, "guest %s has a disk of %llu bytes, which is in use",
			      p->name, (unsigned long long)p->disk_size);
	return refuse(e, -EBUSY, "guest %s is domain %s's, over %s, whose VMM (process %d) is there",
		      p->name, p->domain[0] ? p->domain : "none", transports[p->transport],
		      (int)p->vmm_pid);
}

/* ---- adding --------------------------------------------------------------- */

static int quota_of(const struct added_host *h, const struct added_wish *w,
		    const struct present *p, struct tmem_quota *q, struct config_error *e)
{
	uint64_t mins;
	int err;

	/* What the configuration says of a guest stands where nothing else does. */
	if (p->found && !p->added)
		tmem_client_quota_get(p->client, q);
	err = w->values ? quota_values_apply(q, w->values, e) : 0;
	if (err)
		return err;
	if (__builtin_add_overflow(p->other_mins, q->min, &mins) || mins > h->arena)
		return refuse(e, -EINVAL, "min: the guests' mins add up to more than the arena has, "
					  "%llu", (unsigned long long)h->arena);
	return 0;
}

static int guest_make(const struct added_host *h, const struct config_guest *g,
		      struct config_error *e)
{
	const struct hv_guest_config config = {
		.name = g->name, .socket = g->socket, .transport = g->transport,
		.region = g->region, .quota = g->quota, .domain = g->domain, .added = true, .disk = config_disk(g),
	};
	int err = hv_guest_add(h->hv, &config);

	if (err == -EADDRINUSE)
		return refuse(e, err, "guest %s: %s is there already, and not a socket left behind",
			      g->name, g->socket);
	return err ? refuse(e, err, "guest %s: %s: %s", g->name, g->socket, strerror(-err)) : 0;
}

/* The texts are UUIDs: checked before. */
static int pools_allow(const struct added_host *h, const struct added_wish *w,
		       struct config_error *e)
{
	struct present p;
	size_t index;
	json_t *text;
	int err = 0;

	present_find(h, w->name, &p);
	if (p.added)
		tmem_client_permits_drop(p.client);
	json_array_foreach(w->shared_pools, index, text) {
		uint8_t uuid[16];

		if (!err && added_uuid_read(json_string_value(text), uuid))
			err = tmem_client_authorise(p.client, uuid, true);
	}
	return err ? refuse(e, err, "guest %s: shared pools: %s", w->name, strerror(-err)) : 0;
}

static int pools_check(const struct added_wish *w, struct config_error *e)
{
	uint8_t uuid[16];
	size_t index;
	json_t *text;

	if (w->shared_pools && !json_is_array(w->shared_pools))
		return refuse(e, -EINVAL, "the shared pools are not an array");
	json_array_foreach(w->shared_pools, index, text) {
		if (!json_is_string(text) || !added_uuid_read(json_string_value(text), uuid))
			return refuse(e, -EINVAL, "a shared pool's UUID is 32 hexadecimal digits");
	}
	return 0;
}

/* Everything is checked. */
static int admit(const struct added_host *h, const struct added_wish *w, const struct present *p,
		 const struct config_guest *g, struct config_error *e)
{
	bool replaced = p->found && !(w->domain && is_the_same(p, w));
	int err = 0;

	if (replaced)
		hv_guest_remove(h->hv, w->name);
	if (!p->found || replaced)
		err = guest_make(h, g, e);
	else if (w->values)
		err = tmem_client_quota_set(p->client, &g->quota);
	if (!err && w->shared_pools)
		err = pools_allow(h, w, e);
	added_save(h);
	return err;
}

int added_admit(const struct added_host *h, const struct added_wish *w, struct config_error *e)
{
	struct config c;
	struct config_guest *g;
	struct present p;
	int err;

	config_init(&c);
	snprintf(c.run_dir, sizeof(c.run_dir), "%s", h->run_dir);
	snprintf(c.spill_dir, sizeof(c.spill_dir), "%s", h->spill_dir);
	err = config_guest_flag(&c, w->name, w->transport, e);
	if (!err && strchr(w->name, ':'))
		err = refuse(e, -EINVAL, "\"%.80s\" is not a guest name", w->name);
	if (!err)
		err = pools_check(w, e);
	if (err)
		goto out;
	g = c.guests;
	g->region = w->region;
	g->disk_size = w->disk_size;
	snprintf(g->domain, sizeof(g->domain), "%s", w->domain ? w->domain : "");
	present_find(h, w->name, &p);
	err = claim_check(&p, w, e);
	if (!err)
		err = quota_of(h, w, &p, &g->quota, e);
	if (!err)
		err = config_guest_finish(&c, g, e);
	if (!err)
		err = admit(h, w, &p, g, e);
out:
	config_free(&c);
	return err;
}

int added_remove(const struct added_host *h, const char *name, bool force,
		 struct config_error *e)
{
	struct present p;

	present_find(h, name, &p);
	if (!p.added)
		return refuse(e, -EINVAL, "guest %s stands in the configuration", name);
	if (p.in_use && !force)
		return refuse(e, -EBUSY, "guest %s: its VMM (process %d) is there", name,
			      (int)p.vmm_pid);
	hv_guest_remove(h->hv, name);
	added_save(h);
	return 0;
}

/* ---- at start -------------------------------------------------------------- */

static void guest_bring_back(const struct added_host *h, struct config *c, struct config_guest *g)
{
	struct config_error e;
	struct present p;

	present_find(h, g->name, &p);
	if (p.found)
		return;
	if (config_guest_finish(c, g, &e) || guest_make(h, g, &e))
		log_guest(LOG_LEVEL_WARN, g->name, "not added again: %s", e.text);
}

void added_load(const struct added_host *h)
{
	char path[CONFIG_PATH_MAX + 16];
	struct config_error e;
	struct config c;

	path_of(h, "", path);
	if (access(path, F_OK))
		return;
	config_init(&c);
	if (config_read(&c, path, &e))
		log_warn("guests added before are forgotten: %s", e.text);
	snprintf(c.run_dir, sizeof(c.run_dir), "%s", h->run_dir);
	snprintf(c.spill_dir, sizeof(c.spill_dir), "%s", h->spill_dir);
	for (size_t i = 0; i < c.guest_count; i++)
		guest_bring_back(h, &c, &c.guests[i]);
	config_free(&c);
}

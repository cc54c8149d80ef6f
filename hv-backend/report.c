/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.c - counters and states as JSON.
 *
 * Owns:    the keys.
 * How:     counters go through one table of key and offset; an object that lost
 *          a member becomes NULL and poisons what contains it.
 * Must not: change anything, or leave a counter of the core out.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

void report_set(json_t **object, const char *key, json_t *value)
{
	if (!*object) {
		json_decref(value);
		return;
	}
	if (json_object_set_new(*object, key, value)) {
		json_decref(*object);
		*object = NULL;
	}
}

static void array_append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
		return;
	}
	if (json_array_append_new(*array, value)) {
		json_decref(*array);
		*array = NULL;
	}
}

json_t *report_text(const char *text)
{
	json_t *string = json_string(text);
	char *ascii;

	if (string)
		return string;
	ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *p = ascii; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	string = json_string(ascii);
	free(ascii);
	return string;
}

/* JSON integers of jansson are signed; no counter gets there in practice. */
static json_t *integer(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

json_t *report_bytes(uint64_t bytes)
{
	return bytes == TMEM_NO_LIMIT ? json_null() : integer(bytes);
}

static void set_integer(json_t **object, const char *key, uint64_t n)
{
	report_set(object, key, integer(n));
}

/* ---- counters ---------------------------------------------------------- */

static const struct {
	const char *key;
	size_t offset;
} counter_keys[] = {
#define COUNTER(member) { #member, offsetof(struct tmem_counters, member) }
	COUNTER(pages),
	COUNTER(pages_max),
	COUNTER(objects),
	COUNTER(objects_max),
	COUNTER(bytes_stored),
	COUNTER(bytes_physical),
	COUNTER(pages_same_filled),
	COUNTER(pages_raw),
	COUNTER(pages_deduped),
	COUNTER(puts),
	COUNTER(puts_ok),
	COUNTER(dup_puts),
	COUNTER(dup_puts_replaced),
	COUNTER(puts_refused_quota),
	COUNTER(puts_refused_pressure),
	COUNTER(puts_refused_frozen),
	COUNTER(puts_refused_incompressible),
	COUNTER(puts_failed_nomem),
	COUNTER(put_to_flush),
	COUNTER(gets),
	COUNTER(gets_ok),
	COUNTER(flushes),
	COUNTER(flushes_found),
	COUNTER(object_flushes),
	COUNTER(object_flushes_found),
	COUNTER(evicted_pages),
	COUNTER(damaged),
#undef COUNTER
};

_Static_assert(sizeof(counter_keys) / sizeof(counter_keys[0]) ==
	       sizeof(struct tmem_counters) / sizeof(uint64_t), "a counter has no key");

static void set_counters(json_t **object, const struct tmem_counters *c)
{
	for (size_t i = 0; i < sizeof(counter_keys) / sizeof(counter_keys[0]); i++) {
		uint64_t n;

		memcpy(&n, (const char *)c + counter_keys[i].offset, sizeof(n));
		set_integer(object, counter_keys[i].key, n);
	}
}

static json_t *counters(const struct tmem_counters *c)
{
	json_t *o = json_object();

	set_counters(&o, c);
	return o;
}

static uint64_t puts_refused(const struct tmem_counters *c)
{
	return c->puts_refused_quota + c->puts_refused_pressure + c->puts_refused_frozen +
	       c->puts_refused_incompressible + c->puts_failed_nomem;
}

/* ---- guests ------------------------------------------------------------ */

static const char *const state_names[] = {
	[HV_GUEST_LISTENING] = "listening",
	[HV_GUEST_CONNECTED] = "connected",
	[HV_GUEST_READY] = "ready",
	[HV_GUEST_DEPARTED] = "departed",
};

static const char *const transport_names[] = {
	[HV_VHOST_USER] = "vhost-user",
	[HV_IVSHMEM] = "ivshmem",
};

/* major << 16 | minor << 8 | patch as text, null before HELLO. */
static json_t *version(uint32_t v)
{
	char text[32];

	if (!v)
		return json_null();
	snprintf(text, sizeof(text), "%u.%u.%u", v >> 16, v >> 8 & 0xff, v & 0xff);
	return json_string(text);
}

static void client_info(const struct hv_guest_info *g, struct tmem_client_info *info)
{
	memset(info, 0, sizeof(*info));
	if (g->client)
		tmem_client_info(g->client, info);
}

/* What a list and a full report have in common. */
static json_t *guest_head(const struct hv_guest_info *g, const struct tmem_client_info *info)
{
	const struct tmem_counters *e = &info->kind[TMEM_EPHEMERAL];
	const struct tmem_counters *p = &info->kind[TMEM_PERSISTENT];
	json_t *o = json_object();

	report_set(&o, "name", json_string(g->name));
	report_set(&o, "state", json_string(state_names[g->state]));
	report_set(&o, "frozen", json_boolean(info->frozen));
	set_integer(&o, "logical_bytes", (e->pages + p->pages) * TMEM_PAGE_SIZE);
	set_integer(&o, "stored_bytes", e->bytes_stored + p->bytes_stored);
	set_integer(&o, "physical_bytes", e->bytes_physical + p->bytes_physical);
	set_integer(&o, "share_permille", info->share_permille);
	set_integer(&o, "connections", g->connections);
	set_integer(&o, "failures", g->failures);
	return o;
}

json_t *report_guest_summary(const struct hv_guest_info *g)
{
	struct tmem_client_info info;
	const struct tmem_counters *e = &info.kind[TMEM_EPHEMERAL];
	const struct tmem_counters *p = &info.kind[TMEM_PERSISTENT];
	json_t *o;

	client_info(g, &info);
	o = guest_head(g, &info);
	set_integer(&o, "weight", info.quota.weight);
	set_integer(&o, "ephemeral_pages", e->pages);
	set_integer(&o, "persistent_pages", p->pages);
	set_integer(&o, "disk_bytes", g->disk.config.size);
	set_integer(&o, "spilled_bytes", g->disk.blocks_spilled * TMEM_PAGE_SIZE);
	set_integer(&o, "puts", e->puts + p->puts);
	set_integer(&o, "puts_ok", e->puts_ok + p->puts_ok);
	set_integer(&o, "puts_refused", puts_refused(e) + puts_refused(p));
	set_integer(&o, "gets", e->gets + p->gets);
	set_integer(&o, "gets_ok", e->gets_ok + p->gets_ok);
	set_integer(&o, "flushes", e->flushes + p->flushes);
	set_integer(&o, "evicted_pages", e->evicted_pages + p->evicted_pages);
	set_integer(&o, "damaged", e->damaged + p->damaged);
	return o;
}

json_t *report_quota(const struct tmem_quota *q)
{
	json_t *o = json_object();

	set_integer(&o, "weight", q->weight);
	set_integer(&o, "min", q->min);
	report_set(&o, "max", report_bytes(q->max));
	report_set(&o, "persistent_max", report_bytes(q->persistent_max));
	report_set(&o, "codec_ephemeral", json_string(config_codec_name(q->codec[TMEM_EPHEMERAL])));
	report_set(&o, "codec_persistent",
		   json_string(config_codec_name(q->codec[TMEM_PERSISTENT])));
	return o;
}

static const char *const drain_names[] = {
	[HV_DRAIN_NONE] = "none",
	[HV_DRAIN_DONE] = "done",
	[HV_DRAIN_NO_ROOM] = "no-room",
};

static void set_connection(json_t **o, const struct hv_guest_info *g)
{
	report_set(o, "transport", json_string(transport_names[g->transport]));
	report_set(o, "socket", report_text(g->socket));
	report_set(o, "vmm_pid", g->vmm_pid ? json_integer(g->vmm_pid) : json_null());
	report_set(o, "driver_version", version(g->driver_version));
	report_set(o, "kernel_version", version(g->kernel_version));
	report_set(o, "domain", g->domain[0] ? report_text(g->domain) : json_null());
	report_set(o, "added", json_boolean(g->added));
	set_integer(o, "queues", g->queues);
	set_integer(o, "requests", g->requests);
	set_integer(o, "bad_requests", g->bad_requests);
	set_integer(o, "kicks", g->kicks);
	set_integer(o, "interrupts", g->interrupts);
	report_set(o, "drain", json_string(drain_names[g->drain]));
	set_integer(o, "drain_left", g->drain_left);
	report_set(o, "last_failure", report_text(g->last_failure));
}

/* null: the guest has none. */
static json_t *disk(const struct hv_disk_info *d)
{
	json_t *o;

	if (!d->config.size)
		return json_null();
	o = json_object();
	report_set(&o, "socket", report_text(d->config.socket));
	report_set(&o, "spill", d->config.spill[0] ? report_text(d->config.spill) : json_null());
	set_integer(&o, "size_bytes", d->config.size);
	set_integer(&o, "block_bytes", d->config.block);
	report_set(&o, "keep", json_boolean(d->config.keep));
	report_set(&o, "connected", json_boolean(d->connected));
	report_set(&o, "vmm_pid", d->vmm_pid ? json_integer(d->vmm_pid) : json_null());
	set_integer(&o, "memory_bytes", d->blocks_memory * TMEM_PAGE_SIZE);
	set_integer(&o, "spilled_bytes", d->blocks_spilled * TMEM_PAGE_SIZE);
	set_integer(&o, "reads", d->reads);
	set_integer(&o, "writes", d->writes);
	set_integer(&o, "flushes", d->flushes);
	set_integer(&o, "discards", d->discards);
	set_integer(&o, "errors", d->errors);
	set_integer(&o, "blocks_refused", d->refused);
	set_integer(&o, "blocks_moved_back", d->moved_back);
	set_integer(&o, "spill_reads", d->spill_reads);
	set_integer(&o, "spill_writes", d->spill_writes);
	set_integer(&o, "spill_errors", d->spill_errors);
	set_integer(&o, "connections", d->connections);
	set_integer(&o, "failures", d->failures);
	report_set(&o, "last_failure", report_text(d->last_failure));
	return o;
}

json_t *report_guest(const struct hv_guest_info *g)
{
	struct tmem_client_info info;
	json_t *o;

	client_info(g, &info);
	o = guest_head(g, &info);
	set_connection(&o, g);
	report_set(&o, "quota", report_quota(&info.quota));
	set_integer(&o, "pools", info.pools);
	set_integer(&o, "evicted_frames", info.evicted_frames);
	report_set(&o, "disk", disk(&g->disk));
	report_set(&o, "ephemeral", counters(&info.kind[TMEM_EPHEMERAL]));
	report_set(&o, "persistent", counters(&info.kind[TMEM_PERSISTENT]));
	return o;
}

/* ---- all guests --------------------------------------------------------- */

struct totals {
	uint64_t guests, state[HV_GUEST_DEPARTED + 1], frozen;
	struct tmem_counters kind[TMEM_KINDS];
};

static void counters_add(struct tmem_counters *sum, const struct tmem_counters *c)
{
	for (size_t i = 0; i < sizeof(counter_keys) / sizeof(counter_keys[0]); i++) {
		uint64_t n, more;

		memcpy(&n, (const char *)sum + counter_keys[i].offset, sizeof(n));
		memcpy(&more, (const char *)c + counter_keys[i].offset, sizeof(more));
		n += more;
		memcpy((char *)sum + counter_keys[i].offset, &n, sizeof(n));
	}
}

static int totals_add(const struct hv_guest_info *g, void *arg)
{
	struct totals *t = arg;
	struct tmem_client_info info;

	client_info(g, &info);
	t->guests++;
	t->state[g->state]++;
	t->frozen += info.frozen;
	for (unsigned k = 0; k < TMEM_KINDS; k++)
		counters_add(&t->kind[k], &info.kind[k]);
	return 0;
}

json_t *report_totals(struct hv *hv)
{
	struct totals t = { .guests = 0 };
	const struct tmem_counters *e = &t.kind[TMEM_EPHEMERAL], *p = &t.kind[TMEM_PERSISTENT];
	json_t *o = json_object();

	hv_guest_each(hv, totals_add, &t);
	set_integer(&o, "guests", t.guests);
	for (unsigned i = 0; i <= HV_GUEST_DEPARTED; i++)
		set_integer(&o, state_names[i], t.state[i]);
	set_integer(&o, "frozen", t.frozen);
	set_integer(&o, "ephemeral_pages", e->pages);
	set_integer(&o, "persistent_pages", p->pages);
	set_integer(&o, "logical_bytes", (e->pages + p->pages) * TMEM_PAGE_SIZE);
	set_integer(&o, "stored_bytes", e->bytes_stored + p->bytes_stored);
	set_integer(&o, "physical_bytes", e->bytes_physical + p->bytes_physical);
	set_integer(&o, "ephemeral_bytes", e->bytes_physical);
	set_integer(&o, "persistent_bytes", p->bytes_physical);
	set_integer(&o, "puts", e->puts + p->puts);
	set_integer(&o, "puts_ok", e->puts_ok + p->puts_ok);
	set_integer(&o, "puts_refused", puts_refused(e) + puts_refused(p));
	set_integer(&o, "gets", e->gets + p->gets);
	set_integer(&o, "gets_ok", e->gets_ok + p->gets_ok);
	set_integer(&o, "evicted_pages", e->evicted_pages + p->evicted_pages);
	set_integer(&o, "damaged", e->damaged + p->damaged);
	return o;
}

/* ---- pools ------------------------------------------------------------- */

/* Of what never happened there is no ratio. */
static json_t *ratio(uint64_t good, uint64_t total)
{
	return total ? json_real((double)good / (double)total) : json_null();
}

static json_t *uuid_text(const uint8_t uuid[16])
{
	char text[37];
	size_t used = 0;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%02x", uuid[i]);
	}
	return json_string(text);
}

static json_t *pool(const char *guest, const struct tmem_pool_info *p)
{
	json_t *o = json_object();

	report_set(&o, "guest", json_string(guest));
	set_integer(&o, "id", p->id);
	report_set(&o, "kind", json_string(p->spec.kind == TMEM_PERSISTENT ? "persistent"
									  : "ephemeral"));
	report_set(&o, "shared", json_boolean(p->spec.shared));
	report_set(&o, "disk", json_boolean(p->id >= TMEM_MAX_POOLS));
	report_set(&o, "uuid", p->spec.shared ? uuid_text(p->spec.uuid) : json_null());
	report_set(&o, "hit_ratio", ratio(p->count.gets_ok, p->count.gets));
	set_counters(&o, &p->count);
	return o;
}

json_t *report_guest_pools(const struct hv_guest_info *g)
{
	json_t *pools = json_array();
	struct tmem_pool_info info;

	for (unsigned id = 0; g->client && id < TMEM_POOL_IDS; id++) {
		if (tmem_pool_info(g->client, id, &info) == 0)
			array_append(&pools, pool(g->name, &info));
	}
	return pools;
}

/* ---- host -------------------------------------------------------------- */

static json_t *histogram(const uint64_t *values, unsigned count)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < count; i++)
		array_append(&a, integer(values[i]));
	return a;
}

static void set_store(json_t **o, const struct tmem_store_info *s)
{
	set_integer(o, "resident_bytes", s->bytes_resident);
	set_integer(o, "metadata_bytes", s->bytes_metadata);
	set_integer(o, "frames", s->frames);
	set_integer(o, "frames_free", s->frames_free);
	set_integer(o, "frames_zbud", s->frames_zbud);
	set_integer(o, "frames_zs", s->frames_zs);
	set_integer(o, "frames_evicted", s->frames_evicted);
	set_integer(o, "frames_returned", s->frames_returned);
	set_integer(o, "failed_alloc", s->failed_alloc);
}

static void set_limits(json_t **o, struct tmem *core)
{
	struct tmem_limits l;

	tmem_limits_get(core, &l);
	set_integer(o, "target_bytes", l.target);
	set_integer(o, "persistent_max_bytes", l.persistent_max);
	report_set(o, "accept_ephemeral", json_boolean(l.accept_ephemeral));
	report_set(o, "accept_persistent", json_boolean(l.accept_persistent));
}

static void set_histograms(json_t **o, const struct tmem_store_info *s)
{
	unsigned n = s->chunks < TMEM_CHUNKS_MAX ? s->chunks : TMEM_CHUNKS_MAX;

	set_integer(o, "chunk_bytes", s->chunk_size);
	report_set(o, "frames_by_free_chunks", histogram(s->unbuddied, n));
	report_set(o, "pages_by_chunks", histogram(s->chunk_now, n));
	report_set(o, "pages_by_chunks_cumulative", histogram(s->chunk_cumulative, n));
	report_set(o, "persistent_frames_by_free_chunks", histogram(s->zs_unfilled, n));
	report_set(o, "persistent_pages_by_chunks", histogram(s->zs_class_now, n));
	report_set(o, "persistent_pages_by_chunks_cumulative",
		   histogram(s->zs_class_cumulative, n));
	set_integer(o, "persistent_free_bytes", s->zs_free_bytes);
	set_integer(o, "compaction_moved_pages", s->zs_moved_pages);
	set_integer(o, "compaction_emptied_frames", s->zs_emptied_frames);
}

static json_t *latency(const struct latency_reading *l)
{
	json_t *all = json_object();

	for (unsigned op = 0; op < LATENCY_OPS; op++) {
		json_t *o = json_object();

		set_integer(&o, "count", latency_total(l->count[op]));
		set_integer(&o, "total_ns", l->ns[op]);
		set_integer(&o, "p50_ns", latency_quantile(l->count[op], 500));
		set_integer(&o, "p99_ns", latency_quantile(l->count[op], 990));
		report_set(&o, "by_log2_ns", histogram(l->count[op], LATENCY_BUCKETS));
		report_set(&all, latency_op_name((enum latency_op)op), o);
	}
	return all;
}

/* Its histograms make struct tmem_store_info too big for comfort on a stack. */
static json_t *host(struct tmem *core, struct hv *hv)
{
	struct tmem_store_info *s = calloc(1, sizeof(*s));
	json_t *o = s ? json_object() : NULL;
	struct hv_info workers;

	if (!o)
		goto out;
	tmem_store_info(core, s);
	set_limits(&o, core);
	set_store(&o, s);
	if (!hv)
		goto out;
	hv_info(hv, &workers);
	set_integer(&o, "workers", workers.workers);
	set_integer(&o, "worker_spin_ns", workers.worker_spin_ns);
	set_integer(&o, "worker_busy_ns", workers.worker_busy_ns);
	set_integer(&o, "frame_bytes", tmem_frame_size(core));
	set_histograms(&o, s);
	report_set(&o, "latency", latency(&workers.latency));
out:
	free(s);
	return o;
}

json_t *report_host_summary(struct tmem *core)
{
	return host(core, NULL);
}

json_t *report_host(struct tmem *core, struct hv *hv)
{
	return host(core, hv);
}

json_t *report_event(const struct event *e)
{
	json_t *o = json_object();

	set_integer(&o, "number", e->number);
	report_set(&o, "time_ms", json_integer(e->time_ms));
	report_set(&o, "kind", json_string(event_kind_name(e->kind)));
	report_set(&o, "guest", e->guest[0] ? json_string(e->guest) : json_null());
	report_set(&o, "text", report_text(e->text));
	return o;
}

/* null: the kernel does not tell. */
static json_t *psi(const struct policy_psi *p)
{
	json_t *o;

	if (!p->known)
		return json_null();
	o = json_object();
	set_integer(&o, "some_us", p->some_us);
	set_integer(&o, "full_us", p->full_us);
	report_set(&o, "some_avg10_percent", json_real(p->some_avg10 / 100.0));
	report_set(&o, "full_avg10_percent", json_real(p->full_avg10 / 100.0));
	return o;
}

json_t *report_pressure(const struct pressure_status *s)
{
	const struct policy_decision *d = &s->decision;
	bool measured = d->reason != POLICY_OFF;
	json_t *o = json_object();

	report_set(&o, "reason", json_string(policy_reason_name(d->reason)));
	report_set(&o, "domain", !measured ? json_null()
			       : json_string(d->domain == POLICY_HOST ? "host" : "cgroup"));
	report_set(&o, "available_bytes", measured ? integer(d->available) : json_null());
	report_set(&o, "low_bytes", measured ? integer(d->low) : json_null());
	report_set(&o, "high_bytes", measured ? integer(d->high) : json_null());
	report_set(&o, "stalled", json_boolean(d->stalled));
	report_set(&o, "psi", psi(&s->inputs.host.psi));
	report_set(&o, "cgroup_psi", psi(&s->inputs.cgroup.psi));
	set_integer(&o, "target_bytes", d->target);
	report_set(&o, "accept_ephemeral", json_boolean(d->accept_ephemeral));
	report_set(&o, "accept_persistent", json_boolean(d->accept_persistent));
	set_integer(&o, "given_bytes", s->bytes_given);
	set_integer(&o, "evicted_pages", s->pages_evicted);
	set_integer(&o, "steps", s->steps);
	return o;
}

json_t *report_reclaim(const struct tmem_reclaim_report *r)
{
	static const char *const stops[] = {
		[TMEM_RECLAIM_DONE] = "done",
		[TMEM_RECLAIM_EMPTY] = "nothing ephemeral is left",
		[TMEM_RECLAIM_FLOOR] = "what is left is within its guests' min",
	};
	json_t *o = json_object(), *from = json_array();

	set_integer(&o, "frames", r->frames);
	set_integer(&o, "bytes", r->bytes);
	set_integer(&o, "pages_evicted", r->pages_evicted);
	report_set(&o, "done", json_boolean(r->stop == TMEM_RECLAIM_DONE));
	report_set(&o, "stopped_because", json_string(stops[r->stop]));
	for (unsigned i = 0; i < r->clients; i++) {
		json_t *loser = json_object();

		report_set(&loser, "guest", json_string(r->from[i].name));
		set_integer(&loser, "frames", r->from[i].frames);
		set_integer(&loser, "pages", r->from[i].pages);
		array_append(&from, loser);
	}
	report_set(&o, "from", from);
	return o;
}

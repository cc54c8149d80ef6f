// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * metrics.c - everything countable as Prometheus text.
 *
 * Owns:    the tables below: one row a metric family.
 * How:     a family is written whole, all guests of it, as the format demands.
 *          Counts that only grow end in _total; sizes are bytes, times seconds,
 *          shares ratios.  A limit of "none" has no sample rather than a number.
 * Must not: read the clock or the core while it writes.
 */
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[TMEM_KINDS] = {
	[TMEM_EPHEMERAL] = "ephemeral",
	[TMEM_PERSISTENT] = "persistent",
};

/* ---- snapshot ---------------------------------------------------------- */

static int guest_add(const struct hv_guest_info *g, void *arg)
{
	struct metrics *m = arg;
	struct metrics_guest *more = reallocarray(m->guests, m->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	m->guests = more;
	more += m->count++;
	*more = (struct metrics_guest){
		.state = g->state,
		.requests = g->requests,
		.bad_requests = g->bad_requests,
		.kicks = g->kicks,
		.interrupts = g->interrupts,
		.connections = g->connections,
		.failures = g->failures,
		.disk = g->disk,
		.disk_memory = g->disk.blocks_memory * TMEM_PAGE_SIZE,
		.disk_spilled = g->disk.blocks_spilled * TMEM_PAGE_SIZE,
	};
	snprintf(more->name, sizeof(more->name), "%s", g->name);
	if (g->client)
		tmem_client_info(g->client, &more->client);
	return 0;
}

struct metrics *metrics_collect(struct tmem *core, struct hv *hv, struct pressure *pressure)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	if (hv_guest_each(hv, guest_add, m)) {
		metrics_free(m);
		return NULL;
	}
	tmem_store_info(core, &m->store);
	tmem_limits_get(core, &m->limits);
	hv_info(hv, &m->workers);
	pressure_status(pressure, &m->pressure);
	m->frame = tmem_frame_size(core);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (m)
		free(m->guests);
	free(m);
}

/* ---- the format -------------------------------------------------------- */

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	family(f, name, type, help);
	fprintf(f, "%s %llu\n", name, (unsigned long long)value);
}

static void seconds(FILE *f, const char *name, const char *help, uint64_t ns)
{
	family(f, name, "counter", help);
	fprintf(f, "%s %llu.%09llu\n", name, (unsigned long long)(ns / 1000000000),
		(unsigned long long)(ns % 1000000000));
}

static uint64_t member(const void *base, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)base + offset, sizeof(value));
	return value;
}

/* ---- guests ------------------------------------------------------------ */

struct row {
	const char *name, *type, *help;
	size_t offset;
};

#define COUNTER(member) offsetof(struct tmem_counters, member)

static const struct row kind_rows[] = {
	{ "tmem_guest_pages", "gauge", "Pages held.", COUNTER(pages) },
	{ "tmem_guest_objects", "gauge", "Objects held.", COUNTER(objects) },
	{ "tmem_guest_stored_bytes", "gauge", "Compressed size of the pages held.",
	  COUNTER(bytes_stored) },
	{ "tmem_guest_physical_bytes", "gauge", "Host memory charged for the pages held.",
	  COUNTER(bytes_physical) },
	{ "tmem_guest_same_filled_pages", "gauge", "Pages held that are one repeated word.",
	  COUNTER(pages_same_filled) },
	{ "tmem_guest_raw_pages", "gauge", "Pages held uncompressed.", COUNTER(pages_raw) },
	{ "tmem_guest_puts_total", "counter", "Puts asked for.", COUNTER(puts) },
	{ "tmem_guest_puts_stored_total", "counter", "Puts that stored a page.", COUNTER(puts_ok) },
	{ "tmem_guest_gets_total", "counter", "Gets asked for.", COUNTER(gets) },
	{ "tmem_guest_gets_hit_total", "counter", "Gets that found their page.", COUNTER(gets_ok) },
	{ "tmem_guest_flushes_total", "counter", "Page flushes asked for.", COUNTER(flushes) },
	{ "tmem_guest_flushes_found_total", "counter", "Page flushes that removed a page.",
	  COUNTER(flushes_found) },
	{ "tmem_guest_object_flushes_total", "counter", "Object flushes asked for.",
	  COUNTER(object_flushes) },
	{ "tmem_guest_evicted_pages_total", "counter", "Pages dropped to make room.",
	  COUNTER(evicted_pages) },
	{ "tmem_guest_damaged_pages_total", "counter", "Pages whose checksum was wrong.",
	  COUNTER(damaged) },
};

static void kind_family(FILE *f, const struct metrics *m, const struct row *r)
{
	family(f, r->name, r->type, r->help);
	for (size_t i = 0; i < m->count; i++) {
		for (unsigned k = 0; k < TMEM_KINDS; k++)
			fprintf(f, "%s{guest=\"%s\",kind=\"%s\"} %llu\n", r->name, m->guests[i].name,
				kinds[k], (unsigned long long)member(&m->guests[i].client.kind[k],
								    r->offset));
	}
}

static void refused_family(FILE *f, const struct metrics *m)
{
	static const struct {
		const char *reason;
		size_t offset;
	} reasons[] = {
		{ "quota", COUNTER(puts_refused_quota) },
		{ "pressure", COUNTER(puts_refused_pressure) },
		{ "frozen", COUNTER(puts_refused_frozen) },
		{ "incompressible", COUNTER(puts_refused_incompressible) },
		{ "no_memory", COUNTER(puts_failed_nomem) },
	};
	const char *name = "tmem_guest_puts_refused_total";

	family(f, name, "counter", "Puts refused, by reason.");
	for (size_t i = 0; i < m->count; i++) {
		for (unsigned k = 0; k < TMEM_KINDS; k++) {
			for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); r++)
				fprintf(f, "%s{guest=\"%s\",kind=\"%s\",reason=\"%s\"} %llu\n", name,
					m->guests[i].name, kinds[k], reasons[r].reason,
					(unsigned long long)member(&m->guests[i].client.kind[k],
								   reasons[r].offset));
		}
	}
}

#define GUEST(member) offsetof(struct metrics_guest, member)

static const struct row guest_rows[] = {
	{ "tmem_guest_min_bytes", "gauge", "Physical bytes that pressure leaves to the guest.",
	  GUEST(client.quota.min) },
	{ "tmem_guest_max_bytes", "gauge", "Most physical bytes; no sample: no limit.",
	  GUEST(client.quota.max) },
	{ "tmem_guest_persistent_max_bytes", "gauge",
	  "Most physical bytes of persistent pages; no sample: no limit.",
	  GUEST(client.quota.persistent_max) },
	{ "tmem_guest_evicted_frames_total", "counter", "Frames taken from the guest.",
	  GUEST(client.evicted_frames) },
	{ "tmem_guest_requests_total", "counter", "Requests taken from its rings.",
	  GUEST(requests) },
	{ "tmem_guest_bad_requests_total", "counter", "Requests answered as malformed.",
	  GUEST(bad_requests) },
	{ "tmem_guest_kicks_total", "counter", "Notifications from the guest.", GUEST(kicks) },
	{ "tmem_guest_interrupts_total", "counter", "Interrupts sent to the guest.",
	  GUEST(interrupts) },
	{ "tmem_guest_connections_total", "counter", "Connections of its VMM.",
	  GUEST(connections) },
	{ "tmem_guest_connection_failures_total", "counter", "Connections closed for cause.",
	  GUEST(failures) },
};

static void guest_family(FILE *f, const struct metrics *m, const struct row *r)
{
	family(f, r->name, r->type, r->help);
	for (size_t i = 0; i < m->count; i++) {
		uint64_t value = member(&m->guests[i], r->offset);

		if (value != TMEM_NO_LIMIT)
			fprintf(f, "%s{guest=\"%s\"} %llu\n", r->name, m->guests[i].name,
				(unsigned long long)value);
	}
}

static const struct row disk_rows[] = {
	{ "tmem_disk_size_bytes", "gauge", "Size of the guest's disk.", GUEST(disk.config.size) },
	{ "tmem_disk_memory_bytes", "gauge", "Blocks of it in memory, uncompressed.",
	  GUEST(disk_memory) },
	{ "tmem_disk_spilled_bytes", "gauge", "Blocks of it in the spill file.",
	  GUEST(disk_spilled) },
	{ "tmem_disk_reads_total", "counter", "Reads asked for.", GUEST(disk.reads) },
	{ "tmem_disk_writes_total", "counter", "Writes asked for.", GUEST(disk.writes) },
	{ "tmem_disk_discards_total", "counter", "Discards and writes of zeroes asked for.",
	  GUEST(disk.discards) },
	{ "tmem_disk_errors_total", "counter", "Requests answered with an error.",
	  GUEST(disk.errors) },
	{ "tmem_disk_blocks_refused_total", "counter", "Blocks written that memory did not take.",
	  GUEST(disk.refused) },
	{ "tmem_disk_blocks_moved_back_total", "counter", "Blocks moved from the spill to memory.",
	  GUEST(disk.moved_back) },
	{ "tmem_disk_spill_reads_total", "counter", "Blocks read from the spill file.",
	  GUEST(disk.spill_reads) },
	{ "tmem_disk_spill_writes_total", "counter", "Blocks written to the spill file.",
	  GUEST(disk.spill_writes) },
	{ "tmem_disk_spill_errors_total", "counter", "Reads, writes and holes that failed there.",
	  GUEST(disk.spill_errors) },
	{ "tmem_disk_connection_failures_total", "counter", "Connections closed for cause.",
	  GUEST(disk.failures) },
};

/* Of the guests that have one. */
static void disk_family(FILE *f, const struct metrics *m, const struct row *r)
{
	family(f, r->name, r->type, r->help);
	for (size_t i = 0; i < m->count; i++) {
		if (m->guests[i].disk.config.size)
			fprintf(f, "%s{guest=\"%s\"} %llu\n", r->name, m->guests[i].name,
				(unsigned long long)member(&m->guests[i], r->offset));
	}
}

static void guest_states(FILE *f, const struct metrics *m)
{
	family(f, "tmem_guest_weight", "gauge", "Weight of its fair share.");
	for (size_t i = 0; i < m->count; i++)
		fprintf(f, "tmem_guest_weight{guest=\"%s\"} %u\n", m->guests[i].name,
			m->guests[i].client.quota.weight);
	family(f, "tmem_guest_share_ratio", "gauge", "Physical bytes over fair share.");
	for (size_t i = 0; i < m->count; i++)
		fprintf(f, "tmem_guest_share_ratio{guest=\"%s\"} %llu.%03llu\n", m->guests[i].name,
			(unsigned long long)m->guests[i].client.share_permille / 1000,
			(unsigned long long)m->guests[i].client.share_permille % 1000);
	family(f, "tmem_guest_frozen", "gauge", "1 while its puts are refused by order.");
	for (size_t i = 0; i < m->count; i++)
		fprintf(f, "tmem_guest_frozen{guest=\"%s\"} %d\n", m->guests[i].name,
			m->guests[i].client.frozen);
	family(f, "tmem_guest_ready", "gauge", "1 while a driver in the guest is at work.");
	for (size_t i = 0; i < m->count; i++)
		fprintf(f, "tmem_guest_ready{guest=\"%s\"} %d\n", m->guests[i].name,
			m->guests[i].state == HV_GUEST_READY);
}

/* ---- host -------------------------------------------------------------- */

static void frames_sample(FILE *f, const char *state, uint64_t bytes)
{
	fprintf(f, "tmem_arena_frames_bytes{state=\"%s\"} %llu\n", state,
		(unsigned long long)bytes);
}

static void arena_families(FILE *f, const struct metrics *m)
{
	const struct tmem_store_info *s = &m->store;

	number(f, "tmem_arena_max_bytes", "gauge",
	       "Most memory the arena may use however much the host has.",
	       m->pressure.config.total);
	number(f, "tmem_arena_target_bytes", "gauge", "Memory the arena may use now.",
	       m->limits.target);
	number(f, "tmem_arena_persistent_max_bytes", "gauge",
	       "Memory persistent pages may use now.", m->limits.persistent_max);
	number(f, "tmem_arena_resident_bytes", "gauge", "Memory the arena uses.",
	       s->bytes_resident);
	number(f, "tmem_index_bytes", "gauge", "Memory of the index, beside the arena.",
	       s->bytes_metadata);
	family(f, "tmem_arena_frames_bytes", "gauge", "Memory of frames by what they hold.");
	frames_sample(f, "ephemeral", s->frames_zbud * m->frame);
	frames_sample(f, "persistent", s->frames_zs * m->frame);
	frames_sample(f, "unused", s->frames_free * m->frame);
	number(f, "tmem_evicted_frames_total", "counter", "Frames emptied by eviction.",
	       s->frames_evicted);
	number(f, "tmem_returned_bytes_total", "counter", "Memory given back to the host.",
	       s->frames_returned * m->frame);
	number(f, "tmem_failed_allocations_total", "counter", "Allocations that failed.",
	       s->failed_alloc);
	family(f, "tmem_accepts_puts", "gauge", "1 while puts of the kind are taken.");
	fprintf(f, "tmem_accepts_puts{kind=\"ephemeral\"} %d\n"
		   "tmem_accepts_puts{kind=\"persistent\"} %d\n",
		m->limits.accept_ephemeral, m->limits.accept_persistent);
}

static void pressure_families(FILE *f, const struct metrics *m)
{
	const struct pressure_status *s = &m->pressure;

	family(f, "tmem_pressure_reason", "gauge", "1 for what the memory policy does now.");
	for (unsigned r = 0; r < POLICY_REASONS; r++)
		fprintf(f, "tmem_pressure_reason{reason=\"%s\"} %d\n",
			policy_reason_name((enum policy_reason)r), s->decision.reason == r);
	if (s->decision.reason != POLICY_OFF) {
		number(f, "tmem_pressure_available_bytes", "gauge",
		       "Available memory of the host, or of the cgroup if that is shorter.",
		       s->decision.available);
		number(f, "tmem_pressure_low_bytes", "gauge",
		       "Below this much available memory is given back.", s->decision.low);
		number(f, "tmem_pressure_high_bytes", "gauge",
		       "Until this much is available memory is given back.", s->decision.high);
	}
	number(f, "tmem_pressure_returned_bytes_total", "counter",
	       "Memory given back by the policy.", s->bytes_given);
	number(f, "tmem_pressure_evicted_pages_total", "counter", "Pages evicted by the policy.",
	       s->pages_evicted);
}

/* ---- histograms -------------------------------------------------------- */

/* Shorter than anything takes, longer than anything should. */
#define LATENCY_FIRST	8u	/* 256 ns */
#define LATENCY_LAST	28u	/* 268 ms */

static void latency_samples(FILE *f, const struct latency_reading *l, enum latency_op op)
{
	const char *name = "tmem_request_duration_seconds", *label = latency_op_name(op);
	uint64_t below = 0;

	for (unsigned b = 0; b <= LATENCY_LAST; b++) {
		below += l->count[op][b];
		if (b >= LATENCY_FIRST)
			fprintf(f, "%s_bucket{op=\"%s\",le=\"%.9f\"} %llu\n", name, label,
				(double)(UINT64_C(1) << b) / 1e9, (unsigned long long)below);
	}
	below = latency_total(l->count[op]);
	fprintf(f, "%s_bucket{op=\"%s\",le=\"+Inf\"} %llu\n", name, label,
		(unsigned long long)below);
	fprintf(f, "%s_sum{op=\"%s\"} %llu.%09llu\n%s_count{op=\"%s\"} %llu\n", name, label,
		(unsigned long long)(l->ns[op] / 1000000000),
		(unsigned long long)(l->ns[op] % 1000000000), name, label,
		(unsigned long long)below);
}

#define SIZE_STEP	256u	/* bytes between bounds of stored sizes */

/* stored[i] pages of at most i chunks; their sum is taken from these bounds. */
static void size_samples(FILE *f, const char *name, const char *kind, const uint64_t *stored,
			 const struct tmem_store_info *s)
{
	unsigned chunks = s->chunks < TMEM_CHUNKS_MAX ? s->chunks : TMEM_CHUNKS_MAX, i = 0;
	uint64_t below = 0, bytes = 0;

	for (unsigned le = SIZE_STEP; le <= TMEM_PAGE_SIZE; le += SIZE_STEP) {
		for (; i < chunks && i * s->chunk_size <= le; i++) {
			below += stored[i];
			bytes += stored[i] * i * s->chunk_size;
		}
		fprintf(f, "%s_bucket{kind=\"%s\",le=\"%u\"} %llu\n", name, kind, le,
			(unsigned long long)below);
	}
	for (; i < chunks; i++) {
		below += stored[i];
		bytes += stored[i] * i * s->chunk_size;
	}
	fprintf(f, "%s_bucket{kind=\"%s\",le=\"+Inf\"} %llu\n", name, kind,
		(unsigned long long)below);
	fprintf(f, "%s_sum{kind=\"%s\"} %llu\n%s_count{kind=\"%s\"} %llu\n", name, kind,
		(unsigned long long)bytes, name, kind, (unsigned long long)below);
}

/* The gauge's counterpart of a histogram: the same bounds, pages held now. */
static void held_samples(FILE *f, const char *name, const char *kind, const uint64_t *held,
			 const struct tmem_store_info *s)
{
	unsigned chunks = s->chunks < TMEM_CHUNKS_MAX ? s->chunks : TMEM_CHUNKS_MAX, i = 0;

	for (unsigned to = SIZE_STEP; to <= TMEM_PAGE_SIZE; to += SIZE_STEP) {
		uint64_t pages = 0;

		for (; i < chunks && (i * s->chunk_size <= to || to == TMEM_PAGE_SIZE); i++)
			pages += held[i];
		fprintf(f, "%s{kind=\"%s\",to_bytes=\"%u\"} %llu\n", name, kind, to,
			(unsigned long long)pages);
	}
}

static void histogram_families(FILE *f, const struct metrics *m)
{
	const char *stored = "tmem_stored_page_bytes", *held = "tmem_held_pages";

	family(f, "tmem_request_duration_seconds", "histogram",
	       "Time the host took for a request, its wait in the ring not counted.");
	for (unsigned op = 0; op < LATENCY_OPS; op++)
		latency_samples(f, &m->workers.latency, (enum latency_op)op);
	family(f, stored, "histogram", "Space taken by pages ever stored.");
	size_samples(f, stored, kinds[TMEM_EPHEMERAL], m->store.chunk_cumulative, &m->store);
	size_samples(f, stored, kinds[TMEM_PERSISTENT], m->store.zs_class_cumulative, &m->store);
	family(f, held, "gauge", "Pages held, by the space they take.");
	held_samples(f, held, kinds[TMEM_EPHEMERAL], m->store.chunk_now, &m->store);
	held_samples(f, held, kinds[TMEM_PERSISTENT], m->store.zs_class_now, &m->store);
}

/* ---- daemon ------------------------------------------------------------ */

static void psi_families(FILE *f, const struct metrics *m)
{
	const struct policy_psi *host = &m->pressure.inputs.host.psi;

	if (!host->known)
		return;
	seconds(f, "tmem_host_stall_some_seconds_total",
		"Time some task of the host waited for memory.", host->some_us * 1000);
	seconds(f, "tmem_host_stall_full_seconds_total",
		"Time all tasks of the host waited for memory.", host->full_us * 1000);
}

static void daemon_families(FILE *f, const struct metrics *m)
{
	family(f, "tmem_build_info", "gauge", "1, with the version of tmemd.");
	fprintf(f, "tmem_build_info{version=\"%s\"} 1\n", TMEM_VERSION);
	number(f, "tmem_workers", "gauge", "Threads that serve guests.", m->workers.workers);
	seconds(f, "tmem_worker_busy_seconds_total", "Time workers spent on requests.",
		m->workers.worker_busy_ns);
	seconds(f, "tmem_worker_spin_seconds_total", "Time workers spent looking for requests.",
		m->workers.worker_spin_ns);
}

char *metrics_text(const struct metrics *m)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool failed;

	if (!f)
		return NULL;
	daemon_families(f, m);
	arena_families(f, m);
	pressure_families(f, m);
	psi_families(f, m);
	histogram_families(f, m);
	for (size_t i = 0; i < sizeof(kind_rows) / sizeof(kind_rows[0]); i++)
		kind_family(f, m, &kind_rows[i]);
	refused_family(f, m);
	for (size_t i = 0; i < sizeof(guest_rows) / sizeof(guest_rows[0]); i++)
		guest_family(f, m, &guest_rows[i]);
	guest_states(f, m);
	for (size_t i = 0; i < sizeof(disk_rows) / sizeof(disk_rows[0]); i++)
		disk_family(f, m, &disk_rows[i]);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

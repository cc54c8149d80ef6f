/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * history.c - two rings of samples.
 *
 * How:     sample n of a span stands in slot n % length, of the host's ring and of
 *          each guest's.  A guest's slots that were passed over, before it was
 *          there or after it had gone, say so (HISTORY_ABSENT).
 *          A reading is noted in every guest's `now`, and turned into a sample of
 *          each span that is due when the host's half completes it.
 *
 * #syscalls: close read timerfd_create timerfd_settime
 */
#include "history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define UNKNOWN		UINT32_MAX

enum presence { HISTORY_ABSENT, HISTORY_SILENT, HISTORY_READY };

/* Counts are those of the sample's time alone. */
struct guest_sample {
	uint64_t ephemeral, persistent;
	uint32_t pages;
	uint32_t puts, refused, gets, hits, evicted;
	uint32_t presence;
};

struct host_sample {
	int64_t  time_ms;
	uint64_t resident, limit, available;
	uint32_t psi_permille;			/* UNKNOWN: no PSI */
	uint32_t evicted;
	uint32_t p50_ns[LATENCY_OPS], p99_ns[LATENCY_OPS];	/* 0: no request */
};

static const struct {
	unsigned length, every;			/* readings a sample */
} spans[HISTORY_SPANS] = {
	[HISTORY_RECENT] = { HISTORY_RECENT_LENGTH, 1 },
	[HISTORY_DAY] = { HISTORY_DAY_LENGTH, HISTORY_DAY_S / HISTORY_RECENT_S },
};

/* sample[n % length] is number n, for last - length < n <= last. */
struct guest_ring {
	struct history_counts before;		/* at the newest sample */
	struct guest_sample *sample;
};

struct guest {
	struct history_guest now;
	bool noted;				/* in the reading being taken */
	struct guest_ring ring[HISTORY_SPANS];
};

struct host_ring {
	uint64_t last;				/* number of the newest, 0: none */
	struct history_host before;		/* at the newest */
	struct host_sample *sample;
};

struct history {
	struct hv *hv;
	struct pressure *pressure;
	struct loop_source *source;
	int timer_fd;
	uint64_t readings;
	struct host_ring ring[HISTORY_SPANS];
	struct guest *guest[HISTORY_GUESTS];
	unsigned guests;
};

/* ---- samples ----------------------------------------------------------- */

/* A guest's counts begin anew where it was made anew. */
static uint32_t grown(uint64_t now, uint64_t before)
{
	uint64_t more = now >= before ? now - before : now;

	return more < UNKNOWN ? (uint32_t)more : UNKNOWN - 1;
}

static void guest_sample_add(struct guest *g, enum history_span span, uint64_t number)
{
	struct guest_ring *ring = &g->ring[span];
	struct guest_sample *s = &ring->sample[number % spans[span].length];
	const struct history_counts *now = &g->now.count, *before = &ring->before;

	if (!g->noted) {
		*s = (struct guest_sample){ .presence = HISTORY_ABSENT };
		return;
	}
	*s = (struct guest_sample){
		.presence = g->now.ready ? HISTORY_READY : HISTORY_SILENT,
		.ephemeral = g->now.ephemeral,
		.persistent = g->now.persistent,
		.pages = grown(g->now.pages, 0),
		.puts = grown(now->puts, before->puts),
		.refused = grown(now->refused, before->refused),
		.gets = grown(now->gets, before->gets),
		.hits = grown(now->hits, before->hits),
		.evicted = grown(now->evicted, before->evicted),
	};
	ring->before = *now;
}

static void latency_set(struct host_sample *s, const struct latency_reading *now,
			const struct latency_reading *before)
{
	for (unsigned op = 0; op < LATENCY_OPS; op++) {
		uint64_t count[LATENCY_BUCKETS];

		for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
			count[b] = now->count[op][b] - before->count[op][b];
		s->p50_ns[op] = (uint32_t)latency_quantile(count, 500);
		s->p99_ns[op] = (uint32_t)latency_quantile(count, 990);
	}
}

static uint32_t psi_permille(const struct history_host *now, const struct history_host *before)
{
	int64_t ms = now->time_ms - before->time_ms;
	uint64_t us = now->psi_some_us - before->psi_some_us;

	if (!now->psi_known || !before->psi_known || ms <= 0 ||
	    now->psi_some_us < before->psi_some_us)
		return UNKNOWN;
	us /= (uint64_t)ms;
	return us < 1000 ? (uint32_t)us : 1000;
}

static void host_sample_add(struct host_ring *ring, enum history_span span,
			    const struct history_host *now)
{
	struct host_sample *s = &ring->sample[++ring->last % spans[span].length];

	*s = (struct host_sample){
		.time_ms = now->time_ms,
		.resident = now->resident,
		.limit = now->limit,
		.available = now->available,
		.psi_permille = psi_permille(now, &ring->before),
		.evicted = grown(now->evicted_pages, ring->before.evicted_pages),
	};
	latency_set(s, &now->latency, &ring->before.latency);
	ring->before = *now;
}

static void guest_free(struct guest *g)
{
	for (unsigned span = 0; g && span < HISTORY_SPANS; span++)
		free(g->ring[span].sample);
	free(g);
}

static struct guest *guest_new(const struct history_guest *now)
{
	struct guest *g = calloc(1, sizeof(*g));

	for (unsigned span = 0; g && span < HISTORY_SPANS; span++) {
		struct guest_ring *ring = &g->ring[span];

		ring->before = now->count;
		ring->sample = calloc(spans[span].length, sizeof(*ring->sample));
		if (!ring->sample) {
			guest_free(g);
			return NULL;
		}
	}
	return g;
}

/* One beyond HISTORY_GUESTS, or without memory, has no history. */
void history_guest_note(struct history *h, const struct history_guest *now)
{
	unsigned i = 0;

	while (i < h->guests && strcmp(h->guest[i]->now.name, now->name))
		i++;
	if (i == h->guests) {
		struct guest *g = i < HISTORY_GUESTS ? guest_new(now) : NULL;

		if (!g)
			return;
		h->guest[h->guests++] = g;
	}
	h->guest[i]->now = *now;
	h->guest[i]->noted = true;
}

void history_host_note(struct history *h, const struct history_host *host)
{
	if (!h->readings++) {
		for (unsigned span = 0; span < HISTORY_SPANS; span++)
			h->ring[span].before = *host;
	}
	for (unsigned span = 0; span < HISTORY_SPANS; span++) {
		if (h->readings % spans[span].every)
			continue;
		host_sample_add(&h->ring[span], (enum history_span)span, host);
		for (unsigned i = 0; i < h->guests; i++)
			guest_sample_add(h->guest[i], (enum history_span)span,
					 h->ring[span].last);
	}
	for (unsigned i = 0; i < h->guests; i++)
		h->guest[i]->noted = false;
}

/* ---- columns ----------------------------------------------------------- */

/* Samples from..to of a span; at from > to there are none. */
struct window {
	struct history *h;
	enum history_span span;
	uint64_t from, to;
};

static const struct host_sample *host_at(const struct window *w, uint64_t n)
{
	return &w->h->ring[w->span].sample[n % spans[w->span].length];
}

/* Print a column's cells; value returns false for null. */
#define COLUMN(f, w, name, known, format, ...)						\
	do {										\
		fprintf(f, "\"%s\":[", name);						\
		for (uint64_t n = (w)->from; n <= (w)->to; n++) {			\
			if (n > (w)->from)						\
				fputc(',', f);						\
			if (known)							\
				fprintf(f, format, __VA_ARGS__);			\
			else								\
				fputs("null", f);					\
		}									\
		fputc(']', f);								\
	} while (0)

#define BYTES(n)	((unsigned long long)(n))

static void host_columns(FILE *f, const struct window *w)
{
	COLUMN(f, w, "time_ms", true, "%lld", (long long)host_at(w, n)->time_ms);
	fputs(",\"host\":{", f);
	COLUMN(f, w, "resident_bytes", true, "%llu", BYTES(host_at(w, n)->resident));
	fputc(',', f);
	COLUMN(f, w, "limit_bytes", true, "%llu", BYTES(host_at(w, n)->limit));
	fputc(',', f);
	COLUMN(f, w, "available_bytes", host_at(w, n)->available > 0, "%llu",
	       BYTES(host_at(w, n)->available));
	fputc(',', f);
	COLUMN(f, w, "psi_some_permille", host_at(w, n)->psi_permille != UNKNOWN, "%u",
	       host_at(w, n)->psi_permille);
	fputc(',', f);
	COLUMN(f, w, "evicted_pages", true, "%u", host_at(w, n)->evicted);
	for (unsigned op = 0; op < LATENCY_OPS; op++) {
		char name[32];

		snprintf(name, sizeof(name), "%s_p50_ns", latency_op_name((enum latency_op)op));
		fputc(',', f);
		COLUMN(f, w, name, host_at(w, n)->p50_ns[op], "%u", host_at(w, n)->p50_ns[op]);
		snprintf(name, sizeof(name), "%s_p99_ns", latency_op_name((enum latency_op)op));
		fputc(',', f);
		COLUMN(f, w, name, host_at(w, n)->p99_ns[op], "%u", host_at(w, n)->p99_ns[op]);
	}
	fputc('}', f);
}

/* A guest without a driver does nothing and holds nothing, which is not the same as 0. */
static bool sample_works(const struct guest_sample *s)
{
	return s->presence == HISTORY_READY;
}

static bool sample_holds(const struct guest_sample *s)
{
	return sample_works(s) || s->ephemeral || s->persistent;
}

static void guest_columns(FILE *f, const struct window *w, const struct guest *g)
{
	const struct guest_sample *s = g->ring[w->span].sample;
	unsigned length = spans[w->span].length;

	fprintf(f, "{\"name\":\"%s\",", g->now.name);
	COLUMN(f, w, "driver", s[n % length].presence != HISTORY_ABSENT, "%s",
	       s[n % length].presence == HISTORY_READY ? "true" : "false");
#define GUEST(name, member, known)							\
	fputc(',', f);									\
	COLUMN(f, w, name, known(&s[n % length]), "%llu", BYTES(s[n % length].member))
	GUEST("ephemeral_bytes", ephemeral, sample_holds);
	GUEST("persistent_bytes", persistent, sample_holds);
	GUEST("logical_bytes", pages * (uint64_t)TMEM_PAGE_SIZE, sample_holds);
	GUEST("puts", puts, sample_works);
	GUEST("puts_refused", refused, sample_works);
	GUEST("gets", gets, sample_works);
	GUEST("gets_ok", hits, sample_works);
	GUEST("evicted_pages", evicted, sample_works);
#undef GUEST
	fputc('}', f);
}

char *history_json(struct history *h, enum history_span span, uint64_t after)
{
	const struct host_ring *ring = &h->ring[span];
	unsigned length = spans[span].length;
	struct window w = { .h = h, .span = span, .to = ring->last,
			    .from = ring->last > length ? ring->last - length + 1 : 1 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool failed;

	if (!f)
		return NULL;
	if (after >= w.from)
		w.from = after < w.to ? after + 1 : w.to + 1;
	fprintf(f, "{\"ok\":true,\"schema_version\":1,\"step_s\":%u,\"last\":%llu,",
		spans[span].every * HISTORY_RECENT_S, BYTES(ring->last));
	host_columns(f, &w);
	fputs(",\"guests\":[", f);
	for (unsigned i = 0; i < h->guests; i++) {
		if (i)
			fputc(',', f);
		guest_columns(f, &w, h->guest[i]);
	}
	fputs("]}", f);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- readings ---------------------------------------------------------- */

static void counts_add(struct history_counts *sum, const struct tmem_counters *c)
{
	sum->puts += c->puts;
	sum->refused += c->puts_refused_quota + c->puts_refused_pressure +
			c->puts_refused_frozen + c->puts_refused_incompressible +
			c->puts_failed_nomem;
	sum->gets += c->gets;
	sum->hits += c->gets_ok;
	sum->evicted += c->evicted_pages;
}

static int guest_read(const struct hv_guest_info *info, void *arg)
{
	struct history_guest g = { .ready = info->state == HV_GUEST_READY };
	struct tmem_client_info client;

	snprintf(g.name, sizeof(g.name), "%s", info->name);
	if (info->client) {
		tmem_client_info(info->client, &client);
		g.ephemeral = client.kind[TMEM_EPHEMERAL].bytes_physical;
		g.persistent = client.kind[TMEM_PERSISTENT].bytes_physical;
		for (unsigned k = 0; k < TMEM_KINDS; k++) {
			g.pages += client.kind[k].pages;
			counts_add(&g.count, &client.kind[k]);
		}
	}
	history_guest_note(arg, &g);
	return 0;
}

static void reading_take(struct history *h)
{
	struct pressure_status s;
	struct history_host host;
	struct timespec now;
	struct hv_info info;

	hv_guest_each(h->hv, guest_read, h);
	pressure_status(h->pressure, &s);
	hv_info(h->hv, &info);
	clock_gettime(CLOCK_REALTIME, &now);
	host = (struct history_host){
		.time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
		.resident = s.inputs.arena.resident,
		.limit = s.decision.target,
		.available = s.inputs.host.available,
		.psi_known = s.inputs.host.psi.known,
		.psi_some_us = s.inputs.host.psi.some_us,
		.evicted_pages = s.pages_evicted,
		.latency = info.latency,
	};
	history_host_note(h, &host);
}

static void timer_ready(void *arg, uint32_t events)
{
	struct history *h = arg;
	uint64_t count;

	(void)events;
	if (read(h->timer_fd, &count, sizeof(count)) == sizeof(count))
		reading_take(h);
}

/* ---- life -------------------------------------------------------------- */

static int timer_start(struct history *h, struct loop *l)
{
	const struct itimerspec every = {
		.it_interval.tv_sec = HISTORY_RECENT_S, .it_value.tv_nsec = 1,
	};
	int err;

	h->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (h->timer_fd < 0)
		return -errno;
	timerfd_settime(h->timer_fd, 0, &every, NULL);
	err = loop_add(l, h->timer_fd, EPOLLIN, timer_ready, h, &h->source);
	if (err)
		close(h->timer_fd);
	return err;
}

static void history_free(struct history *h)
{
	for (unsigned span = 0; span < HISTORY_SPANS; span++)
		free(h->ring[span].sample);
	for (unsigned i = 0; i < h->guests; i++)
		guest_free(h->guest[i]);
	free(h);
}

int history_create(struct history **out, struct loop *l, struct hv *hv, struct pressure *pressure)
{
	struct history *h = calloc(1, sizeof(*h));
	int err = 0;

	if (!h)
		return -ENOMEM;
	h->hv = hv;
	h->pressure = pressure;
	for (unsigned span = 0; span < HISTORY_SPANS; span++) {
		h->ring[span].sample = calloc(spans[span].length, sizeof(*h->ring[span].sample));
		if (!h->ring[span].sample)
			err = -ENOMEM;
	}
	if (!err && l)
		err = timer_start(h, l);
	if (err) {
		history_free(h);
		return err;
	}
	*out = h;
	return 0;
}

void history_destroy(struct history *h)
{
	if (h->source) {
		loop_remove(h->source);
		close(h->timer_fd);
	}
	history_free(h);
}

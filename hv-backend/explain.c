// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * explain.c - why a guest was refused or lost pages, in words.
 *
 * How:     one function a subject, each adds a sentence where there is something to
 *          say; a sentence lost for want of memory loses the whole.
 */
#include "explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "size.h"

__attribute__((format(printf, 2, 3)))
static void say(json_t **words, const char *fmt, ...)
{
	char text[320];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (*words && json_array_append_new(*words, report_text(text))) {
		json_decref(*words);
		*words = NULL;
	}
}

static const char *limit_text(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	return bytes == TMEM_NO_LIMIT ? "none" : size_format(bytes, text);
}

/* ---- a guest ----------------------------------------------------------- */

static void say_state(json_t **words, const struct hv_guest_info *g,
		      const struct tmem_client_info *info)
{
	static const char *const states[] = {
		[HV_GUEST_LISTENING] = "nobody is connected",
		[HV_GUEST_CONNECTED] = "a VMM is connected, no driver in the guest has spoken yet",
		[HV_GUEST_READY] = "its driver is at work",
		[HV_GUEST_DEPARTED] = "its connection is gone, its VMM lives: persistent pages stay",
	};

	say(words, "%s: %s.", g->name, states[g->state]);
	if (g->last_failure[0])
		say(words, "The newest of %llu failed connections: %s.",
		    (unsigned long long)g->failures, g->last_failure);
	if (info->frozen)
		say(words, "It is frozen: its puts are refused until it is thawed.");
}

static void say_holding(json_t **words, const struct tmem_client_info *info,
			const struct explain_rank *rank)
{
	const struct tmem_counters *e = &info->kind[TMEM_EPHEMERAL];
	const struct tmem_counters *p = &info->kind[TMEM_PERSISTENT];
	char ephemeral[SIZE_TEXT_MAX], persistent[SIZE_TEXT_MAX];

	say(words, "It holds %s for %llu ephemeral pages and %s for %llu persistent pages.",
	    size_format(e->bytes_physical, ephemeral), (unsigned long long)e->pages,
	    size_format(p->bytes_physical, persistent), (unsigned long long)p->pages);
	say(words, "That is %llu.%llu %% of its fair share: number %u of %u to lose ephemeral pages.",
	    (unsigned long long)info->share_permille / 10,
	    (unsigned long long)info->share_permille % 10, rank->rank, rank->guests);
}

static void say_limits(json_t **words, const struct tmem_client_info *info)
{
	const struct tmem_quota *q = &info->quota;
	uint64_t physical = info->kind[TMEM_EPHEMERAL].bytes_physical +
			    info->kind[TMEM_PERSISTENT].bytes_physical;
	char min[SIZE_TEXT_MAX], max[SIZE_TEXT_MAX], persistent[SIZE_TEXT_MAX];

	say(words, "Its limits: weight %u, min %s, max %s, persistent-max %s.", q->weight,
	    size_format(q->min, min), limit_text(q->max, max),
	    limit_text(q->persistent_max, persistent));
	if (q->min && physical <= q->min)
		say(words, "It is within its min: others lose pages before it does.");
	if (physical >= q->max / 16 * 15)
		say(words, "It is at its max: it loses its own oldest ephemeral pages first.");
}

static void say_refused(json_t **words, const char *kind, const struct tmem_counters *c)
{
	static const struct {
		size_t offset;
		const char *why;
	} causes[] = {
		{ offsetof(struct tmem_counters, puts_refused_pressure), "the host was short of memory" },
		{ offsetof(struct tmem_counters, puts_refused_quota), "a limit was reached" },
		{ offsetof(struct tmem_counters, puts_refused_frozen), "it was frozen" },
		{ offsetof(struct tmem_counters, puts_refused_incompressible),
		  "the page did not compress" },
		{ offsetof(struct tmem_counters, puts_failed_nomem), "tmemd had no memory" },
	};

	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		uint64_t n;

		memcpy(&n, (const char *)c + causes[i].offset, sizeof(n));
		if (n)
			say(words, "%llu of %llu %s puts were refused: %s.", (unsigned long long)n,
			    (unsigned long long)c->puts, kind, causes[i].why);
	}
}

static void say_lost(json_t **words, const struct tmem_client_info *info)
{
	const struct tmem_counters *e = &info->kind[TMEM_EPHEMERAL];
	uint64_t damaged = e->damaged + info->kind[TMEM_PERSISTENT].damaged;

	if (e->evicted_pages)
		say(words, "It lost %llu ephemeral pages, to itself, to other guests or to the host.",
		    (unsigned long long)e->evicted_pages);
	if (damaged)
		say(words, "%llu pages were found damaged: look at the host's memory.",
		    (unsigned long long)damaged);
}

static void say_disk(json_t **words, const struct hv_disk_info *d)
{
	char size[SIZE_TEXT_MAX], memory[SIZE_TEXT_MAX], spilled[SIZE_TEXT_MAX];

	if (!d->config.size)
		return;
	say(words, "Its disk of %s has %s of blocks in memory and %s in the spill file.",
	    size_format(d->config.size, size),
	    size_format(d->blocks_memory * TMEM_PAGE_SIZE, memory),
	    size_format(d->blocks_spilled * TMEM_PAGE_SIZE, spilled));
	if (d->refused)
		say(words, "Memory did not take %llu blocks written to it, %llu came back later%s.",
		    (unsigned long long)d->refused, (unsigned long long)d->moved_back,
		    d->config.spill[0] ? "" : "; without a spill file such a write is an error");
	if (d->spill_errors)
		say(words, "The spill file %s failed %llu times: is its disk full?", d->config.spill,
		    (unsigned long long)d->spill_errors);
	if (d->last_failure[0])
		say(words, "The newest of %llu failed connections of the disk: %s.",
		    (unsigned long long)d->failures, d->last_failure);
}

json_t *explain_guest(const struct hv_guest_info *g, const struct explain_rank *rank)
{
	struct tmem_client_info info = { .frozen = false };
	json_t *words = json_array();

	if (g->client)
		tmem_client_info(g->client, &info);
	say_state(&words, g, &info);
	say_holding(&words, &info, rank);
	say_limits(&words, &info);
	say_refused(&words, "ephemeral", &info.kind[TMEM_EPHEMERAL]);
	say_refused(&words, "persistent", &info.kind[TMEM_PERSISTENT]);
	say_lost(&words, &info);
	say_disk(&words, &g->disk);
	return words;
}

/* ---- the host ---------------------------------------------------------- */

json_t *explain_host(const struct pressure_status *s)
{
	char words_text[POLICY_WORDS_MAX], a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX];
	json_t *words = json_array();

	say(&words, "Memory: %s.", policy_words(&s->decision, words_text));
	say(&words, "The arena holds %s, may hold %s of %s.", size_format(s->inputs.arena.resident, a),
	    size_format(s->decision.target, b), size_format(s->config.total, c));
	if (s->bytes_given)
		say(&words, "The policy has given back %s so far, %llu pages with it.",
		    size_format(s->bytes_given, a), (unsigned long long)s->pages_evicted);
	say(&words, "Sensors: %s.", s->sensors);
	return words;
}

/* ---- how things stand -------------------------------------------------- */

enum level { GOOD, NOTICE, BAD };

struct standing {
	unsigned guests, ready, frozen, full;
	uint64_t physical, damaged;
};

static int standing_add(const struct hv_guest_info *g, void *arg)
{
	struct standing *t = arg;
	struct tmem_client_info info = { .frozen = false };
	uint64_t physical = 0;

	if (g->client)
		tmem_client_info(g->client, &info);
	for (unsigned k = 0; k < TMEM_KINDS; k++) {
		physical += info.kind[k].bytes_physical;
		t->damaged += info.kind[k].damaged;
	}
	t->guests++;
	t->ready += g->state == HV_GUEST_READY;
	t->frozen += info.frozen;
	t->full += g->client && physical >= info.quota.max / 16 * 15;
	t->physical += physical;
	return 0;
}

static const struct {
	enum level level;
	const char *text;
} host_verdicts[POLICY_REASONS] = {
	[POLICY_OFF] = { GOOD, "The memory policy is off" },
	[POLICY_ROOM] = { GOOD, "The host has room" },
	[POLICY_HOLD] = { GOOD, "The host has little to spare: the arena stays as it is" },
	[POLICY_SHRINK] = { NOTICE, "The host is short of memory: guests' page cache is given back" },
	[POLICY_FLOOR] = { BAD, "The host is very short of memory: no page is taken" },
	[POLICY_EMPTY] = { BAD, "The host is short of memory and there is no page cache left to "
			   "give back" },
	[POLICY_BLIND] = { BAD, "The host's memory cannot be read" },
};

/* What most needs to be known comes first, and alone.  target: bytes of arena. */
static enum level guests_verdict(const struct standing *t, uint64_t target, char *text,
				 size_t size)
{
	char bytes[SIZE_TEXT_MAX];

	if (t->damaged) {
		snprintf(text, size, "%llu pages were found damaged",
			 (unsigned long long)t->damaged);
		return BAD;
	}
	if (t->physical >= target / 64 * 63) {
		snprintf(text, size, "all %s of the arena are in use: pages are evicted or refused",
			 size_format(target, bytes));
		return NOTICE;
	}
	if (t->frozen) {
		snprintf(text, size, "%u of %u guests %s frozen", t->frozen, t->guests,
			 t->frozen == 1 ? "is" : "are");
		return NOTICE;
	}
	if (!t->ready) {
		snprintf(text, size, "no guest has a driver at work");
		return NOTICE;
	}
	if (t->full) {
		snprintf(text, size, "%u of %u guests %s at the max", t->full, t->guests,
			 t->full == 1 ? "is" : "are");
		return NOTICE;
	}
	snprintf(text, size, "%u of %u guests %s at work, %s held for them",
		 t->ready, t->guests, t->ready == 1 ? "is" : "are", size_format(t->physical, bytes));
	return GOOD;
}

json_t *explain_verdict(const struct pressure_status *s, struct hv *hv)
{
	static const char *const levels[] = {
		[GOOD] = "good", [NOTICE] = "notice", [BAD] = "bad",
	};
	enum policy_reason reason = s->decision.reason;
	enum level level = host_verdicts[reason].level, more;
	struct standing t = { .guests = 0 };
	char text[96];

	hv_guest_each(hv, standing_add, &t);
	/* Under a shortage the arena is as full as it may be: that is said already. */
	more = guests_verdict(&t, level == GOOD ? s->decision.target : UINT64_MAX, text,
			      sizeof(text));
	return json_pack("{s:s, s:o}", "level", levels[more > level ? more : level], "text",
			 json_sprintf("%s; %s.", host_verdicts[reason].text, text));
}

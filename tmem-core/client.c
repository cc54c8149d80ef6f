/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.c - guests: their life, quotas and permissions.
 *
 * Owns:    client structures and records.
 * How:     every attribute stands in the client's record in the arena and, for
 *          the data path, as an atomic in the heap.  A quota is written to the
 *          record's spare copy and then chosen by one store of the state.
 *          The end has two phases: killed (operations answer -ESHUTDOWN), then,
 *          when the caller knows that none is running, destroyed.  Others may
 *          still be freeing pages of a shared pool in this client's frames; so
 *          destroy waits until no frame is charged to it.
 * Must not: choose victims (share.c).
 *
 * #syscalls: sched_yield
 */
#include "client.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "arena.h"
#include "op.h"
#include "share.h"
#include "store.h"
#include "table.h"

#define WEIGHT_MAX	65535u
#define DRAIN_PATIENCE	256u	/* frames found busy before damage is suspected */

static const struct tmem_quota quota_default = {
	.weight = 100,
	.max = TMEM_NO_LIMIT,
	.persistent_max = TMEM_NO_LIMIT,
	.codec = { TMEM_CODEC_LZO, TMEM_CODEC_LZO },
};

static struct tmem_client_record *record(struct tmem_client *c)
{
	return tmem_record(c->host, TMEM_TABLE_CLIENT, c->number);
}

/* ---- structures ------------------------------------------------------------ */

struct tmem_client *tmem_client_shell(struct tmem *t)
{
	struct tmem_client *c;

	tmem_lock(&t->lock);
	c = t->free_clients;
	if (c)
		t->free_clients = c->next;
	tmem_unlock(&t->lock);
	if (c)
		return c;
	c = tmem_alloc_aligned(&t->heap, TMEM_CACHE_LINE, sizeof(*c));
	if (!c)
		return NULL;
	c->host = t;
	tmem_lock_init(&c->lock);
	tmem_store_init(&c->store[TMEM_EPHEMERAL], c, TMEM_EPHEMERAL);
	tmem_store_init(&c->store[TMEM_PERSISTENT], c, TMEM_PERSISTENT);
	return c;
}

static void stores_forget(struct tmem_client *c)
{
	unsigned kind, i;

	for (kind = 0; kind < TMEM_KINDS; kind++) {
		struct tmem_store *s = &c->store[kind];

		tmem_free(&c->host->heap, s->ghost);
		s->ghost = NULL;
		s->ghost_words = 0;
		s->emptied_frames = s->moved_pages = 0;
		memset(s->count, 0, sizeof(s->count));
	}
	memset(c->retired, 0, sizeof(c->retired));
	for (i = 0; i < TMEM_COUNTERS; i++)
		atomic_store_explicit(&c->shared[i], 0, memory_order_relaxed);
}

void tmem_client_shell_free(struct tmem_client *c)
{
	struct tmem *t = c->host;

	stores_forget(c);
	tmem_lock(&t->lock);
	c->next = t->free_clients;
	t->free_clients = c;
	tmem_unlock(&t->lock);
}

static void shell_release(struct tmem_client *c)
{
	struct tmem *t = c->host;

	tmem_store_done(&c->store[TMEM_EPHEMERAL]);
	tmem_store_done(&c->store[TMEM_PERSISTENT]);
	tmem_lock_done(&c->lock);
	tmem_free_aligned(&t->heap, c);
}

static struct tmem_client *client_at(struct tmem *t, uint32_t number)
{
	_Atomic(struct tmem_client *) *c = tmem_companion(t, TMEM_TABLE_CLIENT, number);

	return c ? atomic_load_explicit(c, memory_order_acquire) : NULL;
}

static struct tmem_client *find_locked(struct tmem *t, const char *name)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);
	struct tmem_client *found = NULL;

	for (number = 1; number < end && !found; number++) {
		struct tmem_client *c = client_at(t, number);

		if (c && atomic_load_explicit(&c->alive, memory_order_acquire) && !strcmp(c->name, name))
			found = c;
	}
	return found;
}

bool tmem_client_publish(struct tmem *t, struct tmem_client *c)
{
	_Atomic(struct tmem_client *) *at = tmem_companion(t, TMEM_TABLE_CLIENT, c->number);
	bool taken;

	tmem_lock(&t->lock);
	taken = find_locked(t, c->name) != NULL;
	if (!taken) {
		atomic_store_explicit(&c->killed, false, memory_order_relaxed);
		atomic_store_explicit(&c->alive, true, memory_order_relaxed);
		atomic_store_explicit(at, c, memory_order_release);
		atomic_fetch_add(&t->clients, 1);
	}
	tmem_unlock(&t->lock);
	tmem_share_changed(t);
	return !taken;
}

void tmem_clients_done(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);
	struct tmem_client *c;

	for (number = 1; number < end; number++) {
		c = client_at(t, number);
		if (c)
			shell_release(c);
	}
	while ((c = t->free_clients)) {
		t->free_clients = c->next;
		shell_release(c);
	}
}

/* ---- quotas ------------------------------------------------------------------ */

static void quota_record(struct tmem_client *c, const struct tmem_quota *q)
{
	struct tmem_client_record *r = record(c);
	uint32_t state = atomic_load_explicit(&r->state, memory_order_relaxed) ^ TMEM_CLIENT_QUOTA_1;
	struct tmem_quota_record *spare = &r->quota[!!(state & TMEM_CLIENT_QUOTA_1)];

	spare->min = q->min;
	spare->max = q->max;
	spare->persistent_max = q->persistent_max;
	spare->weight = q->weight;
	spare->codec[TMEM_EPHEMERAL] = (uint8_t)q->codec[TMEM_EPHEMERAL];
	spare->codec[TMEM_PERSISTENT] = (uint8_t)q->codec[TMEM_PERSISTENT];
	atomic_store_explicit(&r->state, state, memory_order_release);
}

static void quota_apply(struct tmem_client *c, const struct tmem_quota *q)
{
	atomic_store_explicit(&c->weight, q->weight, memory_order_relaxed);
	atomic_store_explicit(&c->min, q->min, memory_order_relaxed);
	atomic_store_explicit(&c->max, q->max, memory_order_relaxed);
	atomic_store_explicit(&c->persistent_max, q->persistent_max, memory_order_relaxed);
	atomic_store_explicit(&c->codec[TMEM_EPHEMERAL], q->codec[TMEM_EPHEMERAL],
			      memory_order_relaxed);
	atomic_store_explicit(&c->codec[TMEM_PERSISTENT], q->codec[TMEM_PERSISTENT],
			      memory_order_relaxed);
	tmem_share_changed(c->host);
}

static bool quota_valid(const struct tmem_quota *q)
{
	return q->weight >= 1 && q->weight <= WEIGHT_MAX && q->min <= q->max &&
	       (unsigned)q->codec[TMEM_EPHEMERAL] < TMEM_CODECS &&
	       (unsigned)q->codec[TMEM_PERSISTENT] < TMEM_CODECS;
}

int tmem_client_quota_set(struct tmem_client *c, const struct tmem_quota *q)
{
	if (!c || !q || !quota_valid(q))
		return -EINVAL;
	tmem_lock(&c->lock);
	quota_record(c, q);
	quota_apply(c, q);
	tmem_unlock(&c->lock);
	return 0;
}

void tmem_client_quota_get(struct tmem_client *c, struct tmem_quota *q)
{
	tmem_lock(&c->lock);
	q->weight = atomic_load_explicit(&c->weight, memory_order_relaxed);
	q->min = atomic_load_explicit(&c->min, memory_order_relaxed);
	q->max = atomic_load_explicit(&c->max, memory_order_relaxed);
	q->persistent_max = atomic_load_explicit(&c->persistent_max, memory_order_relaxed);
	q->codec[TMEM_EPHEMERAL] = atomic_load_explicit(&c->codec[TMEM_EPHEMERAL],
							memory_order_relaxed);
	q->codec[TMEM_PERSISTENT] = atomic_load_explicit(&c->codec[TMEM_PERSISTENT],
							 memory_order_relaxed);
	tmem_unlock(&c->lock);
}

void tmem_client_freeze(struct tmem_client *c, bool frozen)
{
	struct tmem_client_record *r = record(c);

	tmem_lock(&c->lock);
	if (frozen)
		atomic_fetch_or_explicit(&r->state, TMEM_CLIENT_FROZEN, memory_order_release);
	else
		atomic_fetch_and_explicit(&r->state, ~TMEM_CLIENT_FROZEN, memory_order_release);
	atomic_store_explicit(&c->frozen, frozen, memory_order_release);
	tmem_unlock(&c->lock);
}

/* Bring a client back from its record, as far as that is sane. */
void tmem_client_restore(struct tmem_client *c)
{
	struct tmem_client_record *r = record(c);
	uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
	const struct tmem_quota_record *qr = &r->quota[!!(state & TMEM_CLIENT_QUOTA_1)];
	struct tmem_quota q = {
		.weight = qr->weight, .min = qr->min, .max = qr->max,
		.persistent_max = qr->persistent_max,
		.codec = { qr->codec[TMEM_EPHEMERAL], qr->codec[TMEM_PERSISTENT] },
	};

	memcpy(c->name, r->name, sizeof(c->name));
	c->name[sizeof(c->name) - 1] = '\0';
	c->incarnation = r->incarnation;
	quota_apply(c, quota_valid(&q) ? &q : &quota_default);
	atomic_store_explicit(&c->frozen, (state & TMEM_CLIENT_FROZEN) != 0, memory_order_relaxed);
}

/* ---- life ---------------------------------------------------------------------- */

static bool name_valid(const char *name)
{
	return name && name[0] && strnlen(name, TMEM_NAME_MAX) < TMEM_NAME_MAX;
}

struct tmem_client *tmem_client_find(struct tmem *t, const char *name)
{
	struct tmem_client *found;

	if (!t || !name)
		return NULL;
	tmem_lock(&t->lock);
	found = find_locked(t, name);
	tmem_unlock(&t->lock);
	return found;
}

static void record_write(struct tmem_client *c)
{
	struct tmem_client_record *r = record(c);

	memset(r, 0, sizeof(*r));
	memcpy(r->name, c->name, sizeof(r->name));
	r->incarnation = c->incarnation;
	quota_record(c, &quota_default);
	atomic_fetch_or_explicit(&r->state, TMEM_CLIENT_ALIVE, memory_order_release);
}

int tmem_client_create(struct tmem *t, const char *name, struct tmem_client **out)
{
	struct tmem_client *c;
	int err = 0;

	if (!t || !out || !name_valid(name))
		return -EINVAL;
	if (tmem_client_find(t, name))
		return -EEXIST;
	c = tmem_client_shell(t);
	if (!c)
		return -ENOMEM;
	c->number = tmem_record_alloc_grow(t, TMEM_TABLE_CLIENT, &err);
	if (!c->number) {
		tmem_client_shell_free(c);
		return err == -ENOSPC ? -ENOMEM : err;
	}
	memset(c->name, 0, sizeof(c->name));
	memcpy(c->name, name, strlen(name));
	c->incarnation = tmem_incarnation_next(t);
	quota_apply(c, &quota_default);
	atomic_store_explicit(&c->frozen, false, memory_order_relaxed);
	if (!tmem_client_publish(t, c)) {
		tmem_record_free(t, TMEM_TABLE_CLIENT, c->number);
		tmem_client_shell_free(c);
		return -EEXIST;
	}
	record_write(c);
	*out = c;
	return 0;
}

void tmem_client_kill(struct tmem_client *c)
{
	atomic_store_explicit(&c->killed, true, memory_order_release);
}

/* Pages this client put into pools that others keep. */
static void frames_drain(struct tmem_client *c)
{
	struct tmem *t = c->host;
	unsigned idle = 0;
	uint64_t pages;

	while (atomic_load_explicit(&c->charged, memory_order_acquire)) {
		uint32_t frames[TMEM_EVICT_MAX];
		unsigned n = tmem_store_evict(c, TMEM_EVICT_MAX, frames, &pages);

		if (n)
			tmem_arena_give_all(t, frames, n);
		else if (++idle % DRAIN_PATIENCE)
			sched_yield();	/* somebody is just freeing the last ones */
		else
			tmem_op_sweep_shared(c);
	}
}

void tmem_client_destroy(struct tmem_client *c)
{
	struct tmem *t = c->host;
	_Atomic(struct tmem_client *) *at = tmem_companion(t, TMEM_TABLE_CLIENT, c->number);
	struct tmem_client_record *r = record(c);

	tmem_client_kill(c);
	tmem_client_pools_drop(c);
	tmem_client_permits_drop(c);
	frames_drain(c);
	atomic_store_explicit(&r->state, 0, memory_order_release);
	atomic_store_explicit(&c->alive, false, memory_order_release);
	tmem_lock(&t->lock);
	atomic_store_explicit(at, NULL, memory_order_release);
	tmem_unlock(&t->lock);
	tmem_record_free(t, TMEM_TABLE_CLIENT, c->number);
	atomic_fetch_sub(&t->clients, 1);
	tmem_share_changed(t);
	tmem_client_shell_free(c);
}

int tmem_client_each(struct tmem *t, int (*fn)(struct tmem_client *c, void *arg), void *arg)
{
	uint32_t number;
	int err = 0;

	if (!t || !fn)
		return -EINVAL;
	for (number = 1; !err && number < tmem_table_end(t, TMEM_TABLE_CLIENT); number++) {
		struct tmem_client *c = client_at(t, number);

		if (c && atomic_load_explicit(&c->alive, memory_order_acquire))
			err = fn(c, arg);
	}
	return err;
}

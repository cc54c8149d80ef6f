/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool.c - pools: private ones of a client, shared ones by UUID.
 *
 * Owns:    pool structures and records, and which pool a client's id names.
 * How:     a pool exists when its record is alive and a client's record names
 *          it; both are single stores, in that order at creation and in the
 *          other at the end.  Destroying takes the pool out of the client's
 *          slot first; an operation that found it there before sees that under
 *          its stripe (op.c), so after a pass over the stripes the pool is empty
 *          and stays empty, and the structure may be used again.
 * Must not: be called with a stripe held.
 */
#include <errno.h>
#include <string.h>

#include "client.h"
#include "op.h"
#include "store.h"

static struct tmem_client_record *client_record(struct tmem_client *c)
{
	return tmem_record(c->host, TMEM_TABLE_CLIENT, c->number);
}

static struct tmem_pool_record *record(struct tmem_pool *p)
{
	return tmem_record(p->host, TMEM_TABLE_POOL, p->number);
}

/* ---- structures ---------------------------------------------------------------- */

struct tmem_pool *tmem_pool_shell(struct tmem *t)
{
	struct tmem_pool *p;
	unsigned i;

	tmem_lock(&t->lock);
	p = t->free_pools;
	if (p)
		t->free_pools = p->next;
	tmem_unlock(&t->lock);
	if (p)
		return p;
	p = tmem_alloc_aligned(&t->heap, TMEM_CACHE_LINE, sizeof(*p));
	if (!p)
		return NULL;
	p->host = t;
	for (i = 0; i < TMEM_STRIPES; i++)
		tmem_lock_init(&p->stripe[i].lock);
	return p;
}

void tmem_pool_shell_free(struct tmem_pool *p)
{
	struct tmem *t = p->host;

	tmem_lock(&t->lock);
	p->next = t->free_pools;
	t->free_pools = p;
	tmem_unlock(&t->lock);
}

static void shell_release(struct tmem_pool *p)
{
	struct tmem *t = p->host;
	unsigned i;

	for (i = 0; i < TMEM_STRIPES; i++) {
		struct tmem_stripe *s = &p->stripe[i];
		uint32_t at = 0, number, hash;

		while ((number = tmem_object_each(s, &at, UINT32_MAX, &hash)))
			tmem_pages_free(t, tmem_object(t, number));
		tmem_objects_free(t, s);
		tmem_lock_done(&s->lock);
	}
	tmem_free_aligned(&t->heap, p);
}

void tmem_pool_publish(struct tmem *t, struct tmem_pool *p)
{
	_Atomic(struct tmem_pool *) *at = tmem_companion(t, TMEM_TABLE_POOL, p->number);

	atomic_store_explicit(at, p, memory_order_release);
}

void tmem_pools_done(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_POOL);
	struct tmem_pool *p;

	for (number = 1; number < end; number++) {
		p = tmem_pool_at(t, number);
		if (p)
			shell_release(p);
	}
	while ((p = t->free_pools)) {
		t->free_pools = p->next;
		shell_release(p);
	}
}

/* ---- create ---------------------------------------------------------------------- */

static const uint8_t no_uuid[16];

static bool spec_valid(unsigned id, const struct tmem_pool_spec *s)
{
	if (id >= TMEM_MAX_POOLS && (s->kind != TMEM_PERSISTENT || s->shared))
		return false;
	if (s->kind != TMEM_EPHEMERAL && s->kind != TMEM_PERSISTENT)
		return false;
	if (s->shared)
		return s->kind == TMEM_EPHEMERAL && memcmp(s->uuid, no_uuid, 16);
	return true;
}

static bool spec_same(const struct tmem_pool_spec *a, const struct tmem_pool_spec *b)
{
	return a->kind == b->kind && a->shared == b->shared &&
	       (!a->shared || !memcmp(a->uuid, b->uuid, 16));
}

static void record_write(struct tmem_pool *p)
{
	struct tmem_pool_record *r = record(p);
	uint32_t state = TMEM_POOL_ALIVE;

	if (p->spec.kind == TMEM_PERSISTENT)
		state |= TMEM_POOL_PERSISTENT;
	if (p->spec.shared)
		state |= TMEM_POOL_SHARED;
	atomic_store_explicit(&p->flags, state, memory_order_relaxed);
	r->incarnation = p->incarnation;
	memcpy(r->uuid, p->spec.uuid, sizeof(r->uuid));
	atomic_store_explicit(&r->state, state, memory_order_release);
}

static int pool_make(struct tmem *t, const struct tmem_pool_spec *spec, struct tmem_pool **out)
{
	struct tmem_pool *p = tmem_pool_shell(t);
	unsigned i;
	int err;

	if (!p)
		return -ENOMEM;
	p->number = tmem_record_alloc_grow(t, TMEM_TABLE_POOL, &err);
	if (!p->number) {
		tmem_pool_shell_free(p);
		return -ENOMEM;
	}
	p->incarnation = tmem_incarnation_next(t);
	p->spec = *spec;
	p->members = 1;
	if (!spec->shared)
		memset(p->spec.uuid, 0, sizeof(p->spec.uuid));
	for (i = 0; i < TMEM_STRIPES; i++) {
		tmem_lock(&p->stripe[i].lock);
		memset(&p->stripe[i].count, 0, sizeof(p->stripe[i].count));
		p->stripe[i].generation++;
		tmem_unlock(&p->stripe[i].lock);
	}
	record_write(p);
	tmem_pool_publish(t, p);
	*out = p;
	return 0;
}

/* Undo pool_make() for a pool that is empty. */
void tmem_pool_end(struct tmem_pool *p)
{
	struct tmem *t = p->host;
	_Atomic(struct tmem_pool *) *at = tmem_companion(t, TMEM_TABLE_POOL, p->number);

	atomic_store_explicit(&record(p)->state, 0, memory_order_release);
	atomic_store_explicit(at, NULL, memory_order_release);
	tmem_record_free(t, TMEM_TABLE_POOL, p->number);
	tmem_pool_shell_free(p);
}

static struct tmem_pool *shared_join(struct tmem *t, const struct tmem_pool_spec *spec)
{
	struct tmem_pool *p;

	tmem_lock(&t->lock);
	for (p = t->shared; p; p = p->next)
		if (spec_same(&p->spec, spec)) {
			p->members++;
			break;
		}
	tmem_unlock(&t->lock);
	return p;
}

static int shared_get(struct tmem *t, const struct tmem_pool_spec *spec, struct tmem_pool **out)
{
	struct tmem_pool *made, *p = shared_join(t, spec);
	int err;

	if (p) {
		*out = p;
		return 0;
	}
	err = pool_make(t, spec, &made);
	if (err)
		return err;
	tmem_lock(&t->lock);
	for (p = t->shared; p && !spec_same(&p->spec, spec); p = p->next)
		;
	if (p) {
		p->members++;
	} else {
		made->next = t->shared;
		t->shared = made;
	}
	tmem_unlock(&t->lock);
	if (p)
		tmem_pool_end(made);
	*out = p ? p : made;
	return 0;
}

static int pool_get_locked(struct tmem_client *c, const struct tmem_pool_spec *spec,
			   struct tmem_pool **p)
{
	if (!spec->shared)
		return pool_make(c->host, spec, p);
	if (!tmem_client_permits_locked(c, spec->uuid))
		return -EPERM;
	return shared_get(c->host, spec, p);
}

int tmem_pool_create(struct tmem_client *c, unsigned id, const struct tmem_pool_spec *spec)
{
	struct tmem_pool *p;
	int err = 0;

	if (!c || id >= TMEM_POOL_IDS || !spec || !spec_valid(id, spec))
		return -EINVAL;
	if (atomic_load_explicit(&c->killed, memory_order_acquire))
		return -ESHUTDOWN;
	tmem_lock(&c->lock);
	p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);
	if (p) {
		err = spec_same(&p->spec, spec) ? 0 : -EEXIST;
		goto out;
	}
	err = pool_get_locked(c, spec, &p);
	if (err)
		goto out;
	atomic_store_explicit(&client_record(c)->pool[id], p->number, memory_order_release);
	atomic_store_explicit(&c->pool[id], p, memory_order_release);
out:
	tmem_unlock(&c->lock);
	return err;
}

/* ---- destroy ---------------------------------------------------------------------- */

static bool shared_leave(struct tmem_pool *p)
{
	struct tmem *t = p->host;
	struct tmem_pool **at;
	bool last;

	tmem_lock(&t->lock);
	last = !--p->members;
	for (at = &t->shared; last && *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	tmem_unlock(&t->lock);
	return last;
}

/* What the pool counted, without what it held, goes to the client's account. */
static void retire_locked(struct tmem_client *c, struct tmem_pool *p)
{
	struct tmem_counters n;

	if (p->spec.shared)
		return;
	tmem_pool_count(p, &n);
	n.pages = n.objects = n.bytes_stored = n.bytes_physical = 0;
	n.pages_same_filled = n.pages_raw = n.pages_deduped = 0;
	tmem_counters_add(&c->retired[p->spec.kind], &n);
}

/*
 * Nobody finds it any more, once what found it before has left the stripes, which
 * counting passes over; so what is counted here is all it did.
 */
static void pool_take_locked(struct tmem_client *c, unsigned id, struct tmem_drop *d)
{
	struct tmem_pool *p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);

	if (!p)
		return;
	atomic_store_explicit(&client_record(c)->pool[id], 0, memory_order_release);
	atomic_store_explicit(&c->pool[id], NULL, memory_order_release);
	if (p->spec.shared && !shared_leave(p))
		return;
	atomic_store_explicit(&record(p)->state, 0, memory_order_release);
	retire_locked(c, p);
	p->next = d->pool;
	d->pool = p;
}

int tmem_pool_destroy_begin(struct tmem_client *c, unsigned id, struct tmem_drop *d)
{
	if (!c || id >= TMEM_POOL_IDS || !d)
		return -EINVAL;
	*d = (struct tmem_drop){ .host = c->host };
	tmem_lock(&c->lock);
	pool_take_locked(c, id, d);
	tmem_unlock(&c->lock);
	return 0;
}

int tmem_pool_destroy(struct tmem_client *c, unsigned id, uint64_t *pages)
{
	struct tmem_drop d;
	int err = tmem_pool_destroy_begin(c, id, &d);

	if (!err)
		tmem_drop_all(&d, pages);
	return err;
}

static void pools_take(struct tmem_client *c, unsigned ids, struct tmem_drop *d)
{
	unsigned id;

	*d = (struct tmem_drop){ .host = c->host };
	tmem_lock(&c->lock);
	for (id = 0; id < ids; id++)
		pool_take_locked(c, id, d);
	tmem_unlock(&c->lock);
}

void tmem_client_flush_begin(struct tmem_client *c, struct tmem_drop *d)
{
	pools_take(c, TMEM_MAX_POOLS, d);
}

uint64_t tmem_client_flush(struct tmem_client *c)
{
	struct tmem_drop d;
	uint64_t pages;

	tmem_client_flush_begin(c, &d);
	tmem_drop_all(&d, &pages);
	return pages;
}

void tmem_client_pools_drop(struct tmem_client *c)
{
	struct tmem_drop d;

	pools_take(c, TMEM_POOL_IDS, &d);
	tmem_drop_all(&d, NULL);
}

uint64_t tmem_client_flush_ephemeral(struct tmem_client *c)
{
	uint64_t pages = 0;
	unsigned id;

	tmem_lock(&c->lock);
	for (id = 0; id < TMEM_MAX_POOLS; id++) {
		struct tmem_pool *p = atomic_load_explicit(&c->pool[id], memory_order_relaxed);

		if (p && p->spec.kind == TMEM_EPHEMERAL && !p->spec.shared)
			pages += tmem_op_flush_pool(p);
	}
	tmem_unlock(&c->lock);
	return pages;
}

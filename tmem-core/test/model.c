/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.c - the naive reference of tmem.
 *
 * A pool is an array of pages over a small key space.  A page is held, or not;
 * an ephemeral one may be "maybe": the core had a reason to drop it (pressure, a
 * rebuild), so a miss is right too, while another page's content never is.  In
 * half of the runs nothing presses, and then even an ephemeral page must stay.
 *
 *   held && !maybe   must be answered, with this content and tag
 *   held && maybe    may be answered, with this content and tag
 *   !held            must be a miss
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_fixture.h"
#include "model.h"

#define CLIENTS	4u
#define UUIDS	2u
#define OIDS	6u
#define INDEXES	16u
#define NOTHING	~0u

struct m_page {
	bool held, maybe;
	uint64_t seed, tag;
};

struct m_store {
	struct m_page page[OIDS][INDEXES];
	unsigned members;		/* of a shared one */
};

struct m_pool {
	bool live;
	struct tmem_pool_spec spec;
	struct m_store *store;		/* own, or one of the model's shared ones */
	struct m_store own;
};

/* What the core must have counted since base was read. */
struct m_counts {
	uint64_t puts, puts_ok, frozen, dup, dup_replaced, to_flush;
	uint64_t gets, gets_ok, flushes, flushes_found, object_flushes;
};

struct m_client {
	struct tmem_client *c;		/* NULL: not there */
	char name[TMEM_NAME_MAX];
	bool frozen;
	bool may_share[UUIDS];
	struct tmem_quota quota;
	struct m_pool pool[TMEM_MAX_POOLS];
	struct m_counts count[TMEM_KINDS];
	struct tmem_counters base[TMEM_KINDS];
};

struct model {
	struct core core;
	struct model_run run;
	bool lying;			/* the lie is being told */
	bool pressure;			/* pages may be refused and ephemeral ones lost */
	bool few_contents;		/* the same pages come again and again */
	struct tmem_limits limits;
	struct m_client client[CLIENTS];
	struct m_store shared[UUIDS];
	uint64_t rng, tag, hits;
	unsigned op;
	char *why;
	size_t why_size;
};

static bool __attribute__((format(printf, 2, 3))) wrong(struct model *m, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(m->why, m->why_size, "operation %u: ", m->op);

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < m->why_size)
		vsnprintf(m->why + n, m->why_size - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

static bool one_in(struct model *m, uint32_t n)
{
	return rnd_below(&m->rng, n) == 0;
}

static struct m_client *any_client(struct model *m)
{
	return &m->client[rnd_below(&m->rng, CLIENTS)];
}

static unsigned any_pool(struct model *m)
{
	return one_in(m, 8) ? rnd_below(&m->rng, TMEM_MAX_POOLS) : rnd_below(&m->rng, 4);
}

/* Ids that differ in one word or in the last bit; indexes at the edges of radix levels. */
static const uint64_t oids[OIDS][3] = {
	{ 0, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 },
	{ UINT64_MAX, UINT64_MAX, UINT64_MAX }, { UINT64_MAX, UINT64_MAX, UINT64_MAX - 1 },
};
static const uint32_t indexes[INDEXES] = {
	0, 1, 2, 3, 62, 63, 64, 65, 4095, 4096, 65535, 65536, 1u << 24, 1u << 31,
	UINT32_MAX - 1, UINT32_MAX,
};

static struct tmem_key key_at(unsigned o, unsigned i)
{
	struct tmem_key key = { .index = indexes[i] };

	memcpy(key.oid, oids[o], sizeof(key.oid));
	return key;
}

/* ---- counting --------------------------------------------------------- */

struct tally {
	uint64_t must, may;		/* pages that must and that may be there */
	uint64_t objects, same_filled;	/* of those that may */
};

static void tally_store(const struct m_store *s, struct tally *t)
{
	for (unsigned o = 0; o < OIDS; o++) {
		uint64_t before = t->may;

		for (unsigned i = 0; i < INDEXES; i++) {
			const struct m_page *p = &s->page[o][i];

			t->may += p->held;
			t->must += p->held && !p->maybe;
			t->same_filled += p->held && p->seed % 8 == 0;
		}
		t->objects += t->may > before;
	}
}

static struct tally tally_client(const struct m_client *cl, enum tmem_kind kind)
{
	struct tally t = { 0 };

	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		const struct m_pool *p = &cl->pool[id];

		if (p->live && !p->spec.shared && p->spec.kind == kind)
			tally_store(p->store, &t);
	}
	return t;
}

static bool in_range(struct model *m, const char *what, uint64_t n, const struct tally *t)
{
	if (n < t->must || n > t->may)
		return wrong(m, "%s: %llu pages, not %llu to %llu", what, (unsigned long long)n,
			     (unsigned long long)t->must, (unsigned long long)t->may);
	return true;
}

/* ---- puts ------------------------------------------------------------- */

static bool put_answer_is_right(const struct model *m, const struct m_client *cl,
				const struct m_pool *p, uint64_t seed, int rc)
{
	bool accepting = p->spec.kind == TMEM_EPHEMERAL ? m->limits.accept_ephemeral :
							  m->limits.accept_persistent;

	if (cl->frozen)
		return rc == -EROFS;
	switch (rc) {
	case 0:
		return accepting;
	case -E2BIG:
		return page_is_poor(seed);
	case -EDQUOT:
	case -ENOSPC:
		return m->pressure;
	default:
		return false;
	}
}

static void count_put(struct m_counts *n, bool was_held, int rc)
{
	n->puts++;
	n->puts_ok += rc == 0;
	n->frozen += rc == -EROFS;
	n->dup += was_held;
	n->dup_replaced += was_held && rc == 0;
	n->to_flush += was_held && rc != 0;
}

static void remember_put(struct model *m, struct m_page *page, bool persistent, uint64_t seed,
			 uint64_t tag)
{
	*page = (struct m_page){
		.held = true, .maybe = m->pressure && !persistent, .seed = seed, .tag = tag,
	};
	if (!m->lying || !persistent)
		return;
	if (m->run.lie == MODEL_WRONG_CONTENT)
		page->seed += 8 * 1000;
	if (m->run.lie == MODEL_WRONG_TAG)
		page->tag ^= 1;
	if (m->run.lie == MODEL_EARLY_FLUSH)
		page->held = false;
}

static bool op_put(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m), o = rnd_below(&m->rng, OIDS), i = rnd_below(&m->rng, INDEXES);
	uint64_t seed = m->few_contents ? rnd_below(&m->rng, 48) : rnd(&m->rng) >> 8;
	struct tmem_key key = key_at(o, i);
	struct m_pool *p = &cl->pool[id];
	uint8_t data[TMEM_PAGE_SIZE];
	struct m_page *page;
	int rc;

	if (!cl->c)
		return true;
	page_make(data, seed);
	rc = tmem_put(m->core.ctx, cl->c, id, &key, data, ++m->tag);
	if (!p->live)
		return rc == -ENXIO || wrong(m, "put without a pool: %d", rc);
	if (!put_answer_is_right(m, cl, p, seed, rc))
		return wrong(m, "put of %llu to %s pool %u: %d", (unsigned long long)seed,
			     cl->name, id, rc);
	page = &p->store->page[o][i];
	count_put(&cl->count[p->spec.kind], page->held, rc);
	if (rc)
		page->held = false;
	else
		remember_put(m, page, p->spec.kind == TMEM_PERSISTENT, seed, m->tag);
	return true;
}

/* ---- gets and flushes ------------------------------------------------- */

static bool get_hit(struct model *m, const struct m_page *page, const uint8_t *data, uint64_t tag)
{
	uint8_t want[TMEM_PAGE_SIZE];

	if (!page->held)
		return wrong(m, "get: a page that is not there");
	page_make(want, page->seed);
	if (memcmp(data, want, sizeof(want)) != 0)
		return wrong(m, "get: wrong content");
	if (tag != page->tag)
		return wrong(m, "get: tag %llu, not %llu", (unsigned long long)tag,
			     (unsigned long long)page->tag);
	return true;
}

/* Get one key; *found says whether a page came. */
static bool get_key(struct model *m, struct m_client *cl, unsigned id, unsigned o, unsigned i,
		    bool *found)
{
	struct tmem_key key = key_at(o, i);
	struct m_pool *p = &cl->pool[id];
	uint8_t data[TMEM_PAGE_SIZE];
	struct m_page *page;
	uint64_t tag;
	int rc = tmem_get(m->core.ctx, cl->c, id, &key, data, &tag);

	*found = rc == 0;
	if (!p->live)
		return rc == -ENXIO || wrong(m, "get without a pool: %d", rc);
	page = &p->store->page[o][i];
	cl->count[p->spec.kind].gets += m->lying && m->run.lie == MODEL_MISCOUNT ? 2 : 1;
	cl->count[p->spec.kind].gets_ok += rc == 0;
	m->hits += rc == 0;
	if (rc == 0) {
		bool right = get_hit(m, page, data, tag);

		if (p->spec.kind == TMEM_EPHEMERAL && !p->spec.shared)
			page->held = false;
		return right;
	}
	if (rc != -ENOENT)
		return wrong(m, "get from %s pool %u: %d", cl->name, id, rc);
	if (page->held && !page->maybe)
		return wrong(m, "get from %s pool %u: the %s page of tag %llu is lost", cl->name, id,
			     p->spec.kind == TMEM_PERSISTENT ? "persistent" : "ephemeral",
			     (unsigned long long)page->tag);
	page->held = false;
	return true;
}

static bool op_get(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m), o = rnd_below(&m->rng, OIDS), i = rnd_below(&m->rng, INDEXES);
	bool found;

	return !cl->c || get_key(m, cl, id, o, i, &found);
}

static bool op_flush_page(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m), o = rnd_below(&m->rng, OIDS), i = rnd_below(&m->rng, INDEXES);
	struct tmem_key key = key_at(o, i);
	struct m_pool *p = &cl->pool[id];
	struct m_page *page;
	int rc;

	if (!cl->c)
		return true;
	rc = tmem_flush_page(cl->c, id, &key);
	if (!p->live)
		return rc == -ENXIO || wrong(m, "flush without a pool: %d", rc);
	page = &p->store->page[o][i];
	cl->count[p->spec.kind].flushes++;
	cl->count[p->spec.kind].flushes_found += rc == 1;
	if (rc < 0 || rc > (page->held ? 1 : 0) || (rc == 0 && page->held && !page->maybe))
		return wrong(m, "flush of a page that is%s there: %d", page->held ? "" : " not", rc);
	if (!(m->lying && m->run.lie == MODEL_NO_FLUSH && p->spec.kind == TMEM_PERSISTENT))
		page->held = false;
	return true;
}

static bool op_flush_object(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m), o = rnd_below(&m->rng, OIDS);
	struct m_pool *p = &cl->pool[id];
	struct tally t = { 0 };
	uint64_t pages = NOTHING;
	int rc;

	if (!cl->c)
		return true;
	rc = tmem_flush_object(cl->c, id, oids[o], &pages);
	if (!p->live)
		return rc == -ENXIO || wrong(m, "object flush without a pool: %d", rc);
	if (rc)
		return wrong(m, "object flush: %d", rc);
	cl->count[p->spec.kind].object_flushes++;
	for (unsigned i = 0; i < INDEXES; i++) {
		struct m_page *page = &p->store->page[o][i];

		t.may += page->held;
		t.must += page->held && !page->maybe;
		page->held = false;
	}
	return in_range(m, "object flush", pages, &t);
}

/* ---- pools ------------------------------------------------------------ */

static struct tmem_pool_spec any_spec(struct model *m)
{
	struct tmem_pool_spec spec = { .kind = rnd_below(&m->rng, TMEM_KINDS) };

	if (spec.kind == TMEM_EPHEMERAL && one_in(m, 3)) {
		spec.shared = true;
		memset(spec.uuid, (int)(1 + rnd_below(&m->rng, UUIDS)), sizeof(spec.uuid));
	}
	return spec;
}

static bool same_spec(const struct tmem_pool_spec *a, const struct tmem_pool_spec *b)
{
	return a->kind == b->kind && a->shared == b->shared &&
	       memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
}

static void pool_open(struct model *m, struct m_pool *p, const struct tmem_pool_spec *spec)
{
	p->live = true;
	p->spec = *spec;
	if (spec->shared) {
		p->store = &m->shared[spec->uuid[0] - 1];
		p->store->members++;
	} else {
		p->store = &p->own;
		memset(&p->own, 0, sizeof(p->own));
	}
}

/* The pages of a shared pool stay while it has members, but charged to others. */
static void pool_close(struct m_pool *p)
{
	p->live = false;
	if (!p->spec.shared)
		return;
	p->store->members--;
	for (unsigned o = 0; o < OIDS; o++)
		for (unsigned i = 0; i < INDEXES; i++) {
			p->store->page[o][i].maybe = true;
			if (!p->store->members)
				p->store->page[o][i].held = false;
		}
}

static bool op_pool_create(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m);
	struct m_pool *p = &cl->pool[id];
	struct tmem_pool_spec spec = any_spec(m);
	bool allowed = !spec.shared || cl->may_share[spec.uuid[0] - 1];
	int rc;

	if (!cl->c)
		return true;
	rc = tmem_pool_create(cl->c, id, &spec);
	if (p->live && same_spec(&p->spec, &spec))
		return rc == 0 || wrong(m, "the same pool again: %d", rc);
	if (p->live && (rc == -EEXIST || (rc == -EPERM && !allowed)))
		return true;
	if (p->live || rc != (allowed ? 0 : -EPERM))
		return wrong(m, "pool create: %d", rc);
	if (rc == 0)
		pool_open(m, p, &spec);
	return true;
}

static bool op_pool_destroy(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned id = any_pool(m);
	struct m_pool *p = &cl->pool[id];
	struct tally t = { 0 };
	uint64_t pages = NOTHING;
	int rc;

	if (!cl->c)
		return true;
	rc = tmem_pool_destroy(cl->c, id, &pages);
	if (rc)
		return wrong(m, "pool destroy: %d", rc);
	if (p->live) {
		tally_store(p->store, &t);
		if (p->spec.shared)
			t.must = 0;
		pool_close(p);
	}
	return in_range(m, "pool destroy", pages, &t);
}

/* ---- clients ---------------------------------------------------------- */

static void client_leaves(struct m_client *cl)
{
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++)
		if (cl->pool[id].live)
			pool_close(&cl->pool[id]);
}

static bool client_create(struct model *m, struct m_client *cl)
{
	struct tmem_client *again;
	int rc;

	memset(cl, 0, sizeof(*cl));
	snprintf(cl->name, sizeof(cl->name), "guest-%u", (unsigned)(cl - m->client));
	rc = tmem_client_create(m->core.t, cl->name, &cl->c);
	if (rc)
		return wrong(m, "client create: %d", rc);
	if (tmem_client_create(m->core.t, cl->name, &again) != -EEXIST)
		return wrong(m, "two clients of one name");
	tmem_client_quota_get(cl->c, &cl->quota);
	return true;
}

static bool client_destroy(struct model *m, struct m_client *cl)
{
	struct tmem_key key = key_at(0, 0);
	uint8_t data[TMEM_PAGE_SIZE] = { 0 };
	uint64_t tag;

	tmem_client_kill(cl->c);
	if (tmem_put(m->core.ctx, cl->c, 0, &key, data, 1) != -ESHUTDOWN ||
	    tmem_get(m->core.ctx, cl->c, 0, &key, data, &tag) != -ESHUTDOWN ||
	    tmem_flush_page(cl->c, 0, &key) != -ESHUTDOWN)
		return wrong(m, "a killed client is served");
	tmem_client_destroy(cl->c);
	cl->c = NULL;
	client_leaves(cl);
	if (tmem_client_find(m->core.t, cl->name))
		return wrong(m, "a destroyed client is found");
	return true;
}

static bool op_client(struct model *m)
{
	struct m_client *cl = any_client(m);

	if (!cl->c)
		return client_create(m, cl);
	return !one_in(m, 8) || client_destroy(m, cl);
}

static bool op_client_flush(struct model *m)
{
	struct m_client *cl = any_client(m);
	struct tally eph = { 0 }, pers = { 0 };

	if (!cl->c)
		return true;
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		struct m_pool *p = &cl->pool[id];
		struct tally shared = { 0 };

		if (!p->live || !p->spec.shared)
			continue;
		tally_store(p->store, &shared);
		eph.may += shared.may;
	}
	for (enum tmem_kind k = 0; k < TMEM_KINDS; k++) {
		struct tally t = tally_client(cl, k);

		pers.must += t.must;
		pers.may += t.may;
	}
	pers.may += eph.may;
	client_leaves(cl);
	return in_range(m, "client flush", tmem_client_flush(cl->c), &pers);
}

static bool op_flush_ephemeral(struct model *m)
{
	struct m_client *cl = any_client(m);
	struct tally t;

	if (!cl->c)
		return true;
	t = tally_client(cl, TMEM_EPHEMERAL);
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		struct m_pool *p = &cl->pool[id];

		if (p->live && p->spec.kind == TMEM_EPHEMERAL && !p->spec.shared)
			memset(&p->own, 0, sizeof(p->own));
	}
	return in_range(m, "flush of ephemeral pages", tmem_client_flush_ephemeral(cl->c), &t);
}

static bool op_freeze(struct model *m)
{
	struct m_client *cl = any_client(m);

	if (!cl->c)
		return true;
	cl->frozen = !cl->frozen && one_in(m, 3);
	tmem_client_freeze(cl->c, cl->frozen);
	return true;
}

static bool op_authorise(struct model *m)
{
	struct m_client *cl = any_client(m);
	unsigned u = rnd_below(&m->rng, UUIDS);
	uint8_t uuid[16];

	if (!cl->c)
		return true;
	memset(uuid, (int)(1 + u), sizeof(uuid));
	cl->may_share[u] = !one_in(m, 3);
	return tmem_client_authorise(cl->c, uuid, cl->may_share[u]) == 0 || wrong(m, "authorise");
}

/* ---- numbers from outside --------------------------------------------- */

static uint64_t any_bytes(struct model *m)
{
	return one_in(m, 3) ? TMEM_NO_LIMIT : rnd_below(&m->rng, 4 * MIB);
}

static bool op_quota(struct model *m)
{
	struct m_client *cl = any_client(m);
	struct tmem_quota q = { .max = TMEM_NO_LIMIT, .persistent_max = TMEM_NO_LIMIT };

	if (!cl->c)
		return true;
	q.weight = 1 + rnd_below(&m->rng, 1000);
	for (unsigned k = 0; k < TMEM_KINDS; k++)
		q.codec[k] = rnd_below(&m->rng, TMEM_CODECS);
	if (m->pressure) {
		q.max = any_bytes(m);
		q.persistent_max = any_bytes(m);
		q.min = q.max == TMEM_NO_LIMIT ? rnd_below(&m->rng, MIB) : q.max / 4;
	}
	if (tmem_client_quota_set(cl->c, &q))
		return wrong(m, "quota refused");
	cl->quota = q;
	return true;
}

static bool op_limits(struct model *m)
{
	uint64_t max = m->core.config.arena_max;

	if (!m->pressure)
		return true;
	m->limits = (struct tmem_limits){
		.target = max >> rnd_below(&m->rng, 3),
		.persistent_max = max * (1 + rnd_below(&m->rng, 4)) / 4,
		.accept_ephemeral = !one_in(m, 8),
		.accept_persistent = !one_in(m, 8),
	};
	return tmem_limits_set(m->core.t, &m->limits) == 0 || wrong(m, "limits refused");
}

static bool op_reclaim(struct model *m)
{
	struct tmem_reclaim_report r;
	uint64_t asked = 1 + rnd_below(&m->rng, 40), got, from = 0;

	if (!m->pressure)
		return true;
	got = tmem_reclaim(m->core.t, asked, &r);
	for (unsigned i = 0; i < r.clients; i++)
		from += r.from[i].frames;
	if (got != r.frames || r.bytes != got * tmem_frame_size(m->core.t) || from > got ||
	    (got >= asked) != (r.stop == TMEM_RECLAIM_DONE))
		return wrong(m, "reclaim of %llu: %llu, report %llu, from clients %llu, stop %d",
			     (unsigned long long)asked, (unsigned long long)got,
			     (unsigned long long)r.frames, (unsigned long long)from, (int)r.stop);
	return true;
}

static bool op_compact(struct model *m)
{
	tmem_compact(m->core.t, m->core.ctx);
	return true;
}

/* ---- rebuild ---------------------------------------------------------- */

static void read_base(struct m_client *cl)
{
	struct tmem_client_info info;

	tmem_client_info(cl->c, &info);
	memset(cl->count, 0, sizeof(cl->count));
	memcpy(cl->base, info.kind, sizeof(cl->base));
}

static bool pools_came_back(struct model *m, struct m_client *cl)
{
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		struct m_pool *p = &cl->pool[id];
		struct tmem_pool_info info;
		int rc = tmem_pool_info(cl->c, id, &info);

		if (rc != (p->live ? 0 : -ENXIO))
			return wrong(m, "rebuild: %s pool %u: %d", cl->name, id, rc);
		if (!p->live)
			continue;
		if (!same_spec(&info.spec, &p->spec))
			return wrong(m, "rebuild: %s pool %u is another", cl->name, id);
		for (unsigned o = 0; o < OIDS && p->spec.kind == TMEM_EPHEMERAL; o++)
			for (unsigned i = 0; i < INDEXES; i++)
				p->store->page[o][i].maybe = true;
	}
	return true;
}

static bool quota_is(struct model *m, struct m_client *cl)
{
	struct tmem_quota q;

	tmem_client_quota_get(cl->c, &q);
	if (q.weight != cl->quota.weight || q.min != cl->quota.min || q.max != cl->quota.max ||
	    q.persistent_max != cl->quota.persistent_max || q.codec[0] != cl->quota.codec[0] ||
	    q.codec[1] != cl->quota.codec[1])
		return wrong(m, "%s has another quota", cl->name);
	return true;
}

/* Permissions and the frozen state are the administrator's: given again. */
static bool client_came_back(struct model *m, struct m_client *cl)
{
	struct tmem_client *found = tmem_client_find(m->core.t, cl->name);

	if (!found != !cl->c)
		return wrong(m, "rebuild: %s is%s there", cl->name, found ? "" : " not");
	cl->c = found;
	if (!found)
		return true;
	for (unsigned u = 0; u < UUIDS; u++) {
		uint8_t uuid[16];

		memset(uuid, (int)(1 + u), sizeof(uuid));
		if (tmem_client_authorise(found, uuid, cl->may_share[u]))
			return wrong(m, "authorise");
	}
	tmem_client_freeze(found, cl->frozen);
	read_base(cl);
	return quota_is(m, cl) && pools_came_back(m, cl);
}

static bool op_rebuild(struct model *m)
{
	int rc = core_rebuild(&m->core);

	if (rc)
		return wrong(m, "rebuild: %d", rc);
	if (tmem_limits_set(m->core.t, &m->limits))
		return wrong(m, "limits refused");
	for (unsigned i = 0; i < CLIENTS; i++)
		if (m->client[i].name[0] && !client_came_back(m, &m->client[i]))
			return false;
	return true;
}

/* ---- checks ----------------------------------------------------------- */

static bool counts_are(struct model *m, const struct m_client *cl, enum tmem_kind kind,
		       const struct tmem_counters *now)
{
	const struct m_counts *n = &cl->count[kind];
	const struct tmem_counters *base = &cl->base[kind];
	const struct {
		const char *name;
		uint64_t core, model;
		bool persistent;	/* exact for persistent pages only */
	} pair[] = {
		{ "puts", now->puts - base->puts, n->puts, false },
		{ "puts_ok", now->puts_ok - base->puts_ok, n->puts_ok, false },
		{ "puts_refused_frozen", now->puts_refused_frozen - base->puts_refused_frozen,
		  n->frozen, false },
		{ "dup_puts", now->dup_puts - base->dup_puts, n->dup, true },
		{ "dup_puts_replaced", now->dup_puts_replaced - base->dup_puts_replaced,
		  n->dup_replaced, true },
		{ "put_to_flush", now->put_to_flush - base->put_to_flush, n->to_flush, true },
		{ "gets", now->gets - base->gets, n->gets, false },
		{ "gets_ok", now->gets_ok - base->gets_ok, n->gets_ok, false },
		{ "flushes", now->flushes - base->flushes, n->flushes, false },
		{ "flushes_found", now->flushes_found - base->flushes_found, n->flushes_found,
		  false },
		{ "object_flushes", now->object_flushes - base->object_flushes, n->object_flushes,
		  false },
		{ "puts by outcome",
		  now->puts_ok + now->puts_refused_quota + now->puts_refused_pressure +
			  now->puts_refused_frozen + now->puts_refused_incompressible +
			  now->puts_failed_nomem,
		  now->puts, false },
		{ "damaged", now->damaged, 0, false },
	};

	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++)
		if (pair[i].core != pair[i].model && (kind == TMEM_PERSISTENT || !pair[i].persistent))
			return wrong(m, "%s, kind %d: %s is %llu, not %llu", cl->name, (int)kind,
				     pair[i].name, (unsigned long long)pair[i].core,
				     (unsigned long long)pair[i].model);
	return true;
}

static bool holds_right(struct model *m, const struct m_client *cl,
			const struct tmem_counters *kind)
{
	struct tally eph = tally_client(cl, TMEM_EPHEMERAL);
	struct tally pers = tally_client(cl, TMEM_PERSISTENT);
	const struct tmem_counters *p = &kind[TMEM_PERSISTENT];

	if (!in_range(m, "persistent pages", p->pages, &pers))
		return false;
	if (p->objects != pers.objects || p->pages_same_filled != pers.same_filled)
		return wrong(m, "%s: %llu objects, %llu same-filled, not %llu, %llu", cl->name,
			     (unsigned long long)p->objects,
			     (unsigned long long)p->pages_same_filled,
			     (unsigned long long)pers.objects,
			     (unsigned long long)pers.same_filled);
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++)
		if (cl->pool[id].live && cl->pool[id].spec.shared)
			return true;	/* pages of a shared pool are charged to any member */
	return in_range(m, "ephemeral pages", kind[TMEM_EPHEMERAL].pages, &eph);
}

static bool client_is_right(struct model *m, const struct m_client *cl)
{
	struct tmem_client_info info;
	unsigned pools = 0;

	tmem_client_info(cl->c, &info);
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++)
		pools += cl->pool[id].live;
	if (strcmp(info.name, cl->name) != 0 || info.frozen != cl->frozen || info.pools != pools)
		return wrong(m, "%s: name, frozen state or pools", cl->name);
	for (enum tmem_kind k = 0; k < TMEM_KINDS; k++)
		if (!counts_are(m, cl, k, &info.kind[k]))
			return false;
	return holds_right(m, cl, info.kind);
}

static bool op_check(struct model *m)
{
	char why[256] = "";

	if (!tmem_is_valid(m->core.t, why, sizeof(why)))
		return wrong(m, "not valid: %s", why);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (m->client[i].c && !client_is_right(m, &m->client[i]))
			return false;
	return true;
}

/* Read every key of a client; as many private pages must come as the core says it holds. */
static bool sweep_client(struct model *m, struct m_client *cl)
{
	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		struct tmem_pool_info info = { 0 };
		uint64_t n = 0;

		tmem_pool_info(cl->c, id, &info);
		for (unsigned o = 0; o < OIDS; o++)
			for (unsigned i = 0; i < INDEXES; i++) {
				bool found;

				if (!get_key(m, cl, id, o, i, &found))
					return false;
				n += found;
			}
		if (cl->pool[id].live && !cl->pool[id].spec.shared && n != info.count.pages)
			return wrong(m, "%s pool %u: %llu pages came, %llu counted", cl->name, id,
				     (unsigned long long)n, (unsigned long long)info.count.pages);
	}
	return true;
}

/* With the last client gone nothing is left. */
static bool finish(struct model *m)
{
	struct tmem_store_info info;

	for (unsigned i = 0; i < CLIENTS; i++)
		if (m->client[i].c && !sweep_client(m, &m->client[i]))
			return false;
	if (!op_check(m))
		return false;
	for (unsigned i = 0; i < CLIENTS; i++)
		if (m->client[i].c && !client_destroy(m, &m->client[i]))
			return false;
	tmem_store_info(m->core.t, &info);
	if (info.frames_zbud || info.frames_zs)
		return wrong(m, "%llu zbud and %llu zs frames are left without a client",
			     (unsigned long long)info.frames_zbud,
			     (unsigned long long)info.frames_zs);
	return op_check(m);
}

/* ---- the run ---------------------------------------------------------- */

static const struct {
	uint32_t share;
	bool (*op)(struct model *m);
} ops[] = {
	{ 6000, op_put },	  { 2500, op_get },	   { 700, op_flush_page },
	{ 60, op_flush_object },  { 120, op_pool_create }, { 6, op_pool_destroy },
	{ 30, op_client },	  { 1, op_client_flush },  { 5, op_flush_ephemeral },
	{ 20, op_freeze },	  { 40, op_authorise },	   { 40, op_quota },
	{ 40, op_limits },	  { 40, op_reclaim },	   { 40, op_compact },
	{ 10, op_rebuild },	  { 60, op_check },
};

static bool one_op(struct model *m)
{
	uint32_t all = 0, at;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		all += ops[i].share;
	at = rnd_below(&m->rng, all);
	for (size_t i = 0;; at -= ops[i++].share)
		if (at < ops[i].share)
			return ops[i].op(m);
}

static bool run_ops(struct model *m)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (!client_create(m, &m->client[i]))
			return false;
	for (unsigned i = 0; i < 6 * CLIENTS; i++)
		if (!op_pool_create(m))
			return false;
	for (m->op = 1; m->op <= m->run.ops; m->op++) {
		m->lying = m->run.lie != MODEL_HONEST && m->op > m->run.ops / 2;
		if (!one_op(m))
			return false;
	}
	if (!finish(m))
		return false;
	/* Pages were there to be wrong about. */
	return m->hits > m->run.ops / 500 || wrong(m, "only %llu hits", (unsigned long long)m->hits);
}

bool model_run(const struct model_run *run, char *why, size_t size)
{
	struct model *m = calloc(1, sizeof(*m));
	struct tmem_config config = { 0 };
	bool right;
	int rc;

	if (!m)
		abort();
	m->run = *run;
	m->rng = rnd_seed(run->seed);
	m->why = why;
	m->why_size = size;
	m->pressure = one_in(m, 2);
	m->few_contents = one_in(m, 2);
	config.arena_max = m->pressure ? 4 * MIB : 64 * MIB;
	config.zbud_two = one_in(m, 4);
	config.dedup = rnd_below(&m->rng, 3);
	rc = core_open(&m->core, &config);
	if (rc) {
		wrong(m, "create: %d", rc);
		free(m);
		return false;
	}
	tmem_limits_get(m->core.t, &m->limits);
	right = run_ops(m);
	core_close(&m->core);
	free(m);
	return right;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild.c - the index made anew from the arena.
 *
 * How:     a survey finds the frames that hold memory; holes are not touched.
 *          Then outside in: table segments, clients, the pools they name, the
 *          objects of those, the pages of those, each frame read once from end
 *          to end.  A frame, record or slot that nothing alive accounts for is
 *          free.  Of two pages with one key, the process died between commit and
 *          kill: the higher sequence number wins.
 *          A process dying leaves no half page that looks alive (page.c), so a
 *          live slot whose checksum is wrong was damaged later.  An ephemeral
 *          one is dropped; a persistent one is kept, so that its guest gets an
 *          error and not a miss.
 * Must not: believe a number in the arena before it is bounded, nor a name, nor
 *          an extent.  One thread, before anybody else knows the host.
 */
#include "rebuild.h"

#include <errno.h>
#include <string.h>

#include "arena.h"
#include "client.h"
#include "op.h"
#include "share.h"
#include "store.h"

/* The survey's next frame that no pass has claimed, from *frame on. */
static bool next_unclaimed(struct tmem *t, uint32_t *frame)
{
	while (++*frame < t->arena.high)
		if (tmem_arena_unclaimed(t, *frame))
			return true;
	return false;
}

static uint32_t kind_of(struct tmem *t, uint32_t frame)
{
	return atomic_load_explicit(&tmem_frame_head(t, frame)->kind, memory_order_acquire);
}

/* Given numbers stay above whatever the arena has seen. */
static void incarnation_seen(struct tmem *t, uint32_t incarnation)
{
	if (incarnation > atomic_load_explicit(&t->super->incarnation, memory_order_relaxed))
		atomic_store_explicit(&t->super->incarnation, incarnation, memory_order_relaxed);
}

/* ---- tables -------------------------------------------------------------- */

static int tables_adopt(struct tmem *t)
{
	uint32_t frame = 0, kind;
	int err;

	while (next_unclaimed(t, &frame)) {
		kind = kind_of(t, frame);
		if (kind < TMEM_FRAME_TABLE || kind >= TMEM_FRAME_STORE)
			continue;
		err = tmem_table_adopt(t, kind - TMEM_FRAME_TABLE, frame);
		if (err == -ENOMEM)
			return err;
		if (err)
			continue;	/* a number twice or out of range: a free frame */
		tmem_frame(t, frame)->kind = (uint8_t)kind;
		tmem_arena_claim(t, frame);
	}
	return 0;
}

/* ---- clients --------------------------------------------------------------- */

static struct tmem_client *client_at(struct tmem *t, uint32_t number)
{
	_Atomic(struct tmem_client *) *c = tmem_companion(t, TMEM_TABLE_CLIENT, number);

	return c ? atomic_load_explicit(c, memory_order_relaxed) : NULL;
}

static bool client_record_good(struct tmem *t, const struct tmem_client_record *r)
{
	return (atomic_load_explicit(&r->state, memory_order_acquire) & TMEM_CLIENT_ALIVE) &&
	       r->name[0] && memchr(r->name, '\0', sizeof(r->name)) &&
	       !tmem_client_find(t, r->name);
}

static int clients_restore(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);

	for (number = 1; number < end; number++) {
		struct tmem_client_record *r = tmem_record_if(t, TMEM_TABLE_CLIENT, number);
		struct tmem_client *c;

		if (!r || !client_record_good(t, r))
			continue;
		c = tmem_client_shell(t);
		if (!c)
			return -ENOMEM;
		c->number = number;
		tmem_client_restore(c);
		incarnation_seen(t, c->incarnation);
		tmem_client_publish(t, c);
	}
	return 0;
}

static bool client_alive(struct tmem *t, uint32_t number)
{
	return client_at(t, number) != NULL;
}

/* ---- pools ------------------------------------------------------------------- */

static int pool_restore(struct tmem *t, uint32_t number, struct tmem_pool_record *r,
			struct tmem_pool **out)
{
	uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
	struct tmem_pool *p = tmem_pool_shell(t);

	if (!p)
		return -ENOMEM;
	p->number = number;
	p->incarnation = r->incarnation;
	p->spec.kind = state & TMEM_POOL_PERSISTENT ? TMEM_PERSISTENT : TMEM_EPHEMERAL;
	p->spec.shared = state & TMEM_POOL_SHARED;
	memcpy(p->spec.uuid, r->uuid, sizeof(p->spec.uuid));
	p->members = 0;
	atomic_store_explicit(&p->flags, state, memory_order_relaxed);
	incarnation_seen(t, p->incarnation);
	tmem_pool_publish(t, p);
	if (p->spec.shared) {
		p->next = t->shared;
		t->shared = p;
	}
	*out = p;
	return 0;
}

/* The pool a client's record names: *p is NULL if it is none it may have. */
static int pool_named(struct tmem *t, uint32_t number, struct tmem_pool **p)
{
	struct tmem_pool_record *r = tmem_record_if(t, TMEM_TABLE_POOL, number);
	uint32_t state = r ? atomic_load_explicit(&r->state, memory_order_acquire) : 0;
	const uint32_t both = TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED;

	*p = NULL;
	if (!(state & TMEM_POOL_ALIVE) || (state & ~(both | TMEM_POOL_ALIVE)) ||
	    (state & both) == both)
		return 0;
	*p = tmem_pool_at(t, number);
	if (!*p)
		return pool_restore(t, number, r, p);
	if (!(*p)->spec.shared)
		*p = NULL;	/* a private pool twice */
	return 0;
}

static int client_pools_restore(struct tmem *t, struct tmem_client *c)
{
	struct tmem_client_record *r = tmem_record(t, TMEM_TABLE_CLIENT, c->number);
	unsigned id;

	for (id = 0; id < TMEM_POOL_IDS; id++) {
		uint32_t number = atomic_load_explicit(&r->pool[id], memory_order_acquire);
		struct tmem_pool *p = NULL;
		int err = number ? pool_named(t, number, &p) : 0;

		if (err)
			return err;
		if (p)
			p->members++;
		else
			atomic_store_explicit(&r->pool[id], 0, memory_order_release);
		atomic_store_explicit(&c->pool[id], p, memory_order_release);
	}
	return 0;
}

static int pools_restore(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_CLIENT);
	int err = 0;

	for (number = 1; number < end && !err; number++)
		if (client_at(t, number))
			err = client_pools_restore(t, client_at(t, number));
	return err;
}

static bool pool_alive(struct tmem *t, uint32_t number)
{
	return tmem_pool_at(t, number) != NULL;
}

/* ---- permissions ----------------------------------------------------------------- */

static bool permit_alive(struct tmem *t, uint32_t number)
{
	struct tmem_permit_record *r = tmem_record(t, TMEM_TABLE_PERMIT, number);
	_Atomic bool *used = tmem_companion(t, TMEM_TABLE_PERMIT, number);
	struct tmem_client *c;

	c = client_at(t, atomic_load_explicit(&r->client, memory_order_acquire));
	atomic_store_explicit(used, c && c->incarnation == r->incarnation, memory_order_relaxed);
	return c && c->incarnation == r->incarnation;
}

/* ---- objects --------------------------------------------------------------------- */

static int objects_restore(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_OBJECT);

	for (number = 1; number < end; number++) {
		struct tmem_object_record *r = tmem_record_if(t, TMEM_TABLE_OBJECT, number);
		struct tmem_pool *p;
		struct tmem_where w;
		int err;

		if (!r)
			continue;
		p = tmem_pool_at(t, atomic_load_explicit(&r->pool, memory_order_acquire));
		if (!p || p->incarnation != r->incarnation)
			continue;
		tmem_where(p, r->oid, 0, &w);
		if (tmem_object_find_locked(&w))
			continue;
		err = tmem_object_adopt_locked(&w, number);
		if (err)
			return err;
	}
	return 0;
}

static bool object_alive(struct tmem *t, uint32_t number)
{
	struct tmem_object *o = tmem_object(t, number);

	return o && atomic_load_explicit(&o->home, memory_order_relaxed);
}

/* Objects none of whose pages came back. */
static void objects_drop_empty(struct tmem *t)
{
	uint32_t number, end = tmem_table_end(t, TMEM_TABLE_OBJECT);

	for (number = 1; number < end; number++) {
		struct tmem_object *o = tmem_object(t, number);
		uint32_t home = o ? atomic_load_explicit(&o->home, memory_order_relaxed) : 0;
		struct tmem_pool *p = tmem_pool_at(t, home / TMEM_STRIPES);

		if (home && p && !o->count)
			tmem_object_drop_locked(p, &p->stripe[home % TMEM_STRIPES], number);
	}
}

/* ---- pages ------------------------------------------------------------------------- */

static struct tmem_pool *pool_of_object(struct tmem *t, uint32_t number, struct tmem_stripe **s)
{
	struct tmem_object *o = tmem_object(t, number);
	uint32_t home = o ? atomic_load_explicit(&o->home, memory_order_relaxed) : 0;
	struct tmem_pool *p = home ? tmem_pool_at(t, home / TMEM_STRIPES) : NULL;

	*s = p ? &p->stripe[home % TMEM_STRIPES] : NULL;
	return p;
}

/* Could the page in the slot come back, but for its checksum? */
static bool page_plausible(struct tmem *t, enum tmem_kind kind, const struct tmem_page *page,
			   struct tmem_stripe **s)
{
	struct tmem_pool *p;

	if (!page->info || !tmem_page_is(t, page, page->object, page->index) ||
	    tmem_info_type(page->info) == TMEM_TYPE_REF)
		return false;
	p = pool_of_object(t, page->object, s);
	return p && p->spec.kind == kind;
}

/* Is page a the later one of two with the same key? */
static bool later(struct tmem *t, const struct tmem_page *a, const struct tmem_page *b)
{
	uint32_t ahead = (tmem_info_seq(a->info) - tmem_info_seq(b->info)) & TMEM_SEQ_MASK;
	bool good = tmem_page_intact(t, a->handle, a->object);

	if (good != tmem_page_intact(t, b->handle, b->object))
		return good;
	return ahead && ahead <= TMEM_SEQ_MASK / 2;
}

/* Put a page into the index.  *loser: the slot that is to be freed, or 0. */
static int page_index(struct tmem *t, const struct tmem_page *page, struct tmem_stripe *s,
		      tmem_handle *loser)
{
	struct tmem_object *o = tmem_object(t, page->object);
	struct tmem_page other;
	struct tmem_entry e;
	int err;

	*loser = 0;
	if (tmem_page_find_locked(t, page->object, page->index, &e)) {
		tmem_page_read(t, e.handle, &other);
		if (!later(t, page, &other)) {
			*loser = page->handle;
			return 0;
		}
		*loser = e.handle;
		tmem_count_remove_locked(t, &s->count, &other);
		tmem_page_replace_locked(&e, page->handle);
	} else {
		err = tmem_page_prepare_locked(t, o);
		if (err)
			return err;
		tmem_page_insert_locked(t, o, page->index, page->handle);
	}
	tmem_count_add_locked(t, s, page);
	return 0;
}

/* The slot lost to another of the same key. */
static void page_discard(struct tmem *t, tmem_handle loser, uint32_t frame)
{
	tmem_page_kill(t, loser);
	if (tmem_handle_frame(loser) == frame)
		tmem_frame_unclaim_locked(t, frame, tmem_handle_slot(loser));
	else
		tmem_store_free(t, loser, 0);
}

/*
 * Index the pages of a frame whose checksums are right or, in a second pass,
 * those whose are not: so that a damaged extent takes no chunks from a good page.
 * *left: bit a slot that is still to be decided.
 */
static int pages_restore(struct tmem *t, uint32_t frame, enum tmem_kind kind, bool intact,
			 uint64_t *left)
{
	unsigned i, slots = tmem_frame_head(t, frame)->slots;

	for (i = 0; i < slots; i++) {
		tmem_handle loser, h = tmem_handle_of(frame, i);
		struct tmem_page page;
		struct tmem_stripe *s;
		int err;

		tmem_page_read(t, h, &page);
		if (!(left[i / 64] >> (i % 64) & 1) || !page_plausible(t, kind, &page, &s) ||
		    (intact && !tmem_page_intact(t, h, page.object)) ||
		    !tmem_frame_claim_locked(t, frame, page.info))
			continue;
		left[i / 64] &= ~(1ull << (i % 64));
		err = page_index(t, &page, s, &loser);
		if (err)
			return err;
		if (loser)
			page_discard(t, loser, frame);
	}
	return 0;
}

static int frame_restore(struct tmem *t, uint32_t frame, struct tmem_client *c,
			 enum tmem_kind kind)
{
	struct tmem_frame *f = tmem_frame(t, frame);
	uint64_t left[TMEM_MAP_WORDS_MAX];
	int err;

	memset(left, 0xff, sizeof(left));
	f->kind = (uint8_t)(TMEM_FRAME_STORE + (unsigned)kind);
	f->owner = c->number;
	tmem_frame_recover_locked(t, frame);
	err = pages_restore(t, frame, kind, true, left);
	if (!err && kind == TMEM_PERSISTENT)
		err = pages_restore(t, frame, kind, false, left);
	if (err)
		return err;
	tmem_frame_settle_locked(t, frame, left);
	if (!f->used) {
		f->kind = TMEM_FRAME_FREE;
		return 0;
	}
	tmem_arena_claim(t, frame);
	tmem_share_adopt(t, c, kind);
	tmem_store_adopt(c, kind, frame);
	return 0;
}

static int frames_restore(struct tmem *t)
{
	uint32_t frame = 0;
	int err = 0;

	while (!err && next_unclaimed(t, &frame)) {
		struct tmem_frame_head *head = tmem_frame_head(t, frame);
		uint32_t kind = kind_of(t, frame);
		struct tmem_client *c;

		if (kind < TMEM_FRAME_STORE || kind >= TMEM_FRAME_KINDS)
			continue;
		c = client_at(t, head->owner);
		if (c && c->incarnation == head->incarnation)
			err = frame_restore(t, frame, c, kind - TMEM_FRAME_STORE);
	}
	return err;
}

/* What no pass claimed is free, and says so to the next reader. */
static void rest_free(struct tmem *t)
{
	uint32_t frame = 0;

	while (next_unclaimed(t, &frame))
		atomic_store_explicit(&tmem_frame_head(t, frame)->kind, TMEM_FRAME_FREE,
				      memory_order_release);
}

int tmem_rebuild(struct tmem *t)
{
	int err;

	tmem_arena_survey(t);
	err = tables_adopt(t);
	if (!err)
		err = clients_restore(t);
	if (!err)
		err = pools_restore(t);
	if (!err)
		err = objects_restore(t);
	if (!err)
		err = frames_restore(t);
	if (err)
		return err;
	tmem_table_settle(t, TMEM_TABLE_OBJECT, object_alive);
	objects_drop_empty(t);
	tmem_table_settle(t, TMEM_TABLE_POOL, pool_alive);
	tmem_table_settle(t, TMEM_TABLE_PERMIT, permit_alive);
	tmem_table_settle(t, TMEM_TABLE_CLIENT, client_alive);
	rest_free(t);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dedup.c - equal ephemeral pages stored once.
 *
 * Owns:    a table of data by name, and who refers to data that several share.
 * How:     a name is the hash of the compressed data, which every put computes
 *          for the checksum anyway, so a page that has no equal costs one
 *          look-up; equality is decided by comparing the compressed bytes.  The
 *          first page with some data owns it, in its own slot; an equal one gets
 *          a slot of type REF that holds the name alone.  The owner is charged.
 *          When the owner's page goes, the data passes to a referrer: in place
 *          if that is the same client's, else by a copy into the referrer's
 *          own store; without room there the referrer is dropped.  When the owner's
 *          frame is evicted, its referrers go with it.
 *          Data has at most REFS_MAX referrers; the next equal page is stored
 *          again, and takes the full one's place in the table, so that a put
 *          finds the copy with room first.
 *          Names are scoped by client unless the host shares across clients.
 *          Nothing of this is in the arena: referrers are dropped at rebuild.
 * Must not: take a stripe while a table's lock is held.
 */
#include "dedup.h"

#include <errno.h>
#include <string.h>

#include "evict.h"
#include "op.h"
#include "store.h"

#define STRIPES		256u
#define REFS_MAX	255u	/* of one data: bounds what one eviction costs */
#define FULL_MAX	8u	/* copies without room looked at in one search */
#define TAG_SHIFT	48
#define SHARED		(1ull << 47)	/* the entry points to a struct share */
#define VALUE_MASK	(SHARED - 1)

struct share {
	tmem_handle owner;
	uint32_t count, room;
	tmem_handle *ref;
};

/* Entries: tag << 48 | owner's handle, or tag << 48 | SHARED | pointer; 0 is free. */
struct tmem_names {
	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	uint64_t *slots;
	uint32_t capacity, used;
};

int tmem_dedup_init(struct tmem *t)
{
	unsigned i;

	if (t->dedup == TMEM_DEDUP_OFF)
		return 0;
	t->names = tmem_alloc_aligned(&t->heap, TMEM_CACHE_LINE, STRIPES * sizeof(*t->names));
	if (!t->names)
		return -ENOMEM;
	for (i = 0; i < STRIPES; i++)
		tmem_lock_init(&t->names[i].lock);
	return 0;
}

static struct share *share_of(uint64_t entry)
{
	return entry & SHARED ? (struct share *)(uintptr_t)(entry & VALUE_MASK) : NULL;
}

static tmem_handle owner_of(uint64_t entry)
{
	return entry & SHARED ? share_of(entry)->owner : entry & VALUE_MASK;
}

static void share_free(struct tmem *t, struct share *s)
{
	tmem_free(&t->heap, s->ref);
	tmem_free(&t->heap, s);
}

void tmem_dedup_done(struct tmem *t)
{
	unsigned i;
	uint32_t at;

	if (!t->names)
		return;
	for (i = 0; i < STRIPES; i++) {
		struct tmem_names *d = &t->names[i];

		for (at = 0; at < d->capacity; at++)
			if (d->slots[at] & SHARED)
				share_free(t, share_of(d->slots[at]));
		tmem_free(&t->heap, d->slots);
		tmem_lock_done(&d->lock);
	}
	tmem_free_aligned(&t->heap, t->names);
}

/* ---- the table -------------------------------------------------------------- */

uint64_t tmem_dedup_name(const struct tmem_client *c, const struct tmem_staged *s)
{
	uint64_t scope = c->host->dedup == TMEM_DEDUP_CLIENT ? c->number : 0;

	if (c->host->dedup == TMEM_DEDUP_OFF || s->type == TMEM_TYPE_SAME)
		return 0;
	return s->sum ^ scope * 0x9e3779b97f4a7c15ull;
}

static uint64_t tag_of(uint64_t name)
{
	return name >> TAG_SHIFT;
}

static struct tmem_names *stripe_of(struct tmem *t, uint64_t name)
{
	return &t->names[name % STRIPES];
}

static uint32_t home_of(uint64_t tag, uint32_t capacity)
{
	return (uint32_t)(tag * capacity >> 16);
}

static uint32_t next_at(uint32_t at, uint32_t capacity)
{
	return at + 1 < capacity ? at + 1 : 0;
}

static void insert_locked(struct tmem_names *d, uint64_t entry)
{
	uint32_t at = home_of(tag_of(entry), d->capacity);

	while (d->slots[at])
		at = next_at(at, d->capacity);
	d->slots[at] = entry;
}

/* The same, before all entries of that tag: which have one home, so any order is right. */
static void insert_first_locked(struct tmem_names *d, uint64_t entry)
{
	uint32_t at = home_of(tag_of(entry), d->capacity);
	uint64_t first;

	while (d->slots[at] && tag_of(d->slots[at]) != tag_of(entry))
		at = next_at(at, d->capacity);
	first = d->slots[at];
	d->slots[at] = entry;
	if (first)
		insert_locked(d, first);
}

static int prepare_locked(struct tmem *t, struct tmem_names *d)
{
	struct tmem_names old = { .slots = d->slots, .capacity = d->capacity };
	uint32_t i, capacity = old.capacity + old.capacity / 2 + 15;

	if (d->used + 1 < d->capacity - d->capacity / 4)
		return 0;
	d->slots = tmem_alloc(&t->heap, capacity * sizeof(*d->slots));
	if (!d->slots) {
		d->slots = old.slots;
		return -ENOMEM;
	}
	d->capacity = capacity;
	for (i = 0; i < old.capacity; i++)
		if (old.slots[i])
			insert_locked(d, old.slots[i]);
	tmem_free(&t->heap, old.slots);
	return 0;
}

static void remove_locked(struct tmem_names *d, uint32_t hole)
{
	uint32_t at = hole;

	for (;;) {
		uint32_t home;

		at = next_at(at, d->capacity);
		if (!d->slots[at])
			break;
		home = home_of(tag_of(d->slots[at]), d->capacity);
		if (hole <= at ? home > hole && home <= at : home > hole || home <= at)
			continue;
		d->slots[hole] = d->slots[at];
		hole = at;
	}
	d->slots[hole] = 0;
	d->used--;
}

/* What the data in an owner's slot is, whether its page lives or was just killed. */
static uint32_t data_info(struct tmem *t, tmem_handle h)
{
	struct tmem_slot *s = tmem_slot(t, h);
	uint32_t info = atomic_load_explicit(&s->info, memory_order_acquire);

	return info ? info : atomic_load_explicit(&s->index, memory_order_acquire);
}

static bool data_equal(struct tmem *t, tmem_handle h, const struct tmem_staged *s)
{
	uint32_t info = data_info(t, h);

	return tmem_info_plausible(t, TMEM_FRAME_STORE + TMEM_EPHEMERAL, info) &&
	       tmem_info_type(info) == s->type && tmem_info_size(info) == s->size &&
	       !memcmp(tmem_slot_data(t, h, info), s->data, s->size);
}

static bool entry_full(uint64_t entry)
{
	const struct share *s = share_of(entry);

	return s && s->count == REFS_MAX;
}

/* An entry of data equal to s that may have one more referrer. */
static bool find_equal_locked(struct tmem *t, struct tmem_names *d, uint64_t name,
			      const struct tmem_staged *s, uint32_t *at)
{
	unsigned looked = 0;

	if (!d->used)
		return false;
	for (*at = home_of(tag_of(name), d->capacity); d->slots[*at] && looked < FULL_MAX;
	     *at = next_at(*at, d->capacity)) {
		if (tag_of(d->slots[*at]) != tag_of(name))
			continue;
		if (entry_full(d->slots[*at]))
			looked++;
		else if (data_equal(t, owner_of(d->slots[*at]), s))
			return true;
	}
	return false;
}

/* The entry whose owner is h. */
static bool find_owner_locked(struct tmem_names *d, uint64_t name, tmem_handle h, uint32_t *at)
{
	if (!d->used)
		return false;
	for (*at = home_of(tag_of(name), d->capacity); d->slots[*at]; *at = next_at(*at, d->capacity))
		if (tag_of(d->slots[*at]) == tag_of(name) && owner_of(d->slots[*at]) == h)
			return true;
	return false;
}

/* ---- putting ------------------------------------------------------------------- */

bool tmem_dedup_known(struct tmem *t, uint64_t name, const struct tmem_staged *s)
{
	struct tmem_names *d = stripe_of(t, name);
	bool found;
	uint32_t at;

	tmem_lock(&d->lock);
	found = find_equal_locked(t, d, name, s, &at);
	tmem_unlock(&d->lock);
	return found;
}

static int ref_add(struct tmem *t, struct share *s, tmem_handle ref)
{
	uint32_t room = s->room ? s->room * 2 + 1 : 3;
	tmem_handle *grown;

	if (s->count == s->room) {
		grown = tmem_alloc(&t->heap, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		if (s->count)
			memcpy(grown, s->ref, s->count * sizeof(*grown));
		tmem_free(&t->heap, s->ref);
		s->ref = grown;
		s->room = room;
	}
	s->ref[s->count++] = ref;
	return 0;
}

static struct share *share_get(struct tmem *t, uint64_t *entry)
{
	struct share *s = share_of(*entry);

	if (s)
		return s;
	s = tmem_alloc(&t->heap, sizeof(*s));
	if (!s)
		return NULL;
	s->owner = *entry & VALUE_MASK;
	*entry = tag_of(*entry) << TAG_SHIFT | SHARED | (uintptr_t)s;
	return s;
}

/* A share that nobody refers to is a plain entry again. */
static void share_settle(struct tmem *t, uint64_t *entry)
{
	struct share *s = share_of(*entry);

	if (!s || s->count)
		return;
	*entry = tag_of(*entry) << TAG_SHIFT | s->owner;
	share_free(t, s);
}

bool tmem_dedup_join(struct tmem *t, uint64_t name, const struct tmem_staged *s, tmem_handle ref)
{
	struct tmem_names *d = stripe_of(t, name);
	struct share *share;
	bool joined = false;
	uint32_t at;

	tmem_lock(&d->lock);
	if (find_equal_locked(t, d, name, s, &at)) {
		share = share_get(t, &d->slots[at]);
		joined = share && !ref_add(t, share, ref);
		share_settle(t, &d->slots[at]);
	}
	tmem_unlock(&d->lock);
	return joined;
}

void tmem_dedup_add(struct tmem *t, uint64_t name, tmem_handle h)
{
	struct tmem_names *d = stripe_of(t, name);

	tmem_lock(&d->lock);
	/* Without memory the data is just not known: it will be stored twice. */
	if (!prepare_locked(t, d)) {
		insert_first_locked(d, tag_of(name) << TAG_SHIFT | h);
		d->used++;
	}
	tmem_unlock(&d->lock);
}

/* ---- reading ------------------------------------------------------------------- */

/* The name of data in a slot, as its put computed it; 0: it is damaged. */
static uint64_t name_of(struct tmem *t, tmem_handle h, uint32_t info)
{
	struct tmem_staged s = { .type = tmem_info_type(info) };

	if (!tmem_info_plausible(t, TMEM_FRAME_STORE + TMEM_EPHEMERAL, info))
		return 0;
	s.sum = tmem_data_sum(tmem_slot_data(t, h, info), tmem_info_size(info));
	return tmem_dedup_name(tmem_frame_client(t, tmem_handle_frame(h)), &s);
}

int tmem_dedup_read(struct tmem *t, uint64_t name, void *copy, uint32_t *info)
{
	struct tmem_names *d = stripe_of(t, name);
	int err = -ENOENT;
	uint32_t at;

	tmem_lock(&d->lock);
	at = d->used ? home_of(tag_of(name), d->capacity) : 0;
	for (; d->used && err && d->slots[at]; at = next_at(at, d->capacity)) {
		tmem_handle h = owner_of(d->slots[at]);

		if (tag_of(d->slots[at]) != tag_of(name))
			continue;
		*info = data_info(t, h);
		if (name_of(t, h, *info) != name)
			continue;
		memcpy(copy, tmem_slot_data(t, h, *info), tmem_info_size(*info));
		err = 0;
	}
	tmem_unlock(&d->lock);
	return err;
}

/* ---- going ---------------------------------------------------------------------- */

static void ref_release(struct tmem *t, uint64_t name, tmem_handle ref)
{
	struct tmem_names *d = stripe_of(t, name);
	uint32_t at, i;

	tmem_lock(&d->lock);
	at = d->used ? home_of(tag_of(name), d->capacity) : 0;
	for (; d->used && d->slots[at]; at = next_at(at, d->capacity)) {
		struct share *s = tag_of(d->slots[at]) == tag_of(name) ? share_of(d->slots[at]) : NULL;

		for (i = 0; s && i < s->count; i++)
			if (s->ref[i] == ref) {
				s->ref[i] = s->ref[--s->count];
				share_settle(t, &d->slots[at]);
				goto out;
			}
	}
out:
	tmem_unlock(&d->lock);
}

/*
 * The owner h goes.  Takes the last referrer off its share; without one, the
 * entry is gone: 0.
 */
static tmem_handle heir_take(struct tmem *t, uint64_t name, tmem_handle h)
{
	struct tmem_names *d = stripe_of(t, name);
	tmem_handle heir = 0;
	struct share *s;
	uint32_t at;

	tmem_lock(&d->lock);
	if (find_owner_locked(d, name, h, &at)) {
		s = share_of(d->slots[at]);
		if (s && s->count)
			heir = s->ref[--s->count];
		share_settle(t, &d->slots[at]);
		if (!heir)
			remove_locked(d, at);
	}
	tmem_unlock(&d->lock);
	return heir;
}

static void owner_change(struct tmem *t, uint64_t name, tmem_handle from, tmem_handle to)
{
	struct tmem_names *d = stripe_of(t, name);
	struct share *s;
	uint32_t at;

	tmem_lock(&d->lock);
	if (find_owner_locked(d, name, from, &at)) {
		s = share_of(d->slots[at]);
		if (s)
			s->owner = to;
		else
			d->slots[at] = tag_of(name) << TAG_SHIFT | to;
	}
	tmem_unlock(&d->lock);
}

/*
 * Under its stripe: does the page refer to that name?  The handle came out of a
 * share; its slot may have been freed and given to another page since.
 */
static bool refers(struct tmem *t, tmem_handle h, uint64_t name)
{
	uint32_t info = atomic_load_explicit(&tmem_slot(t, h)->info, memory_order_relaxed);

	return tmem_info_type(info) == TMEM_TYPE_REF &&
	       !memcmp(tmem_slot_data(t, h, info), &name, sizeof(name));
}

struct passing {
	uint64_t name;
	tmem_handle dead;	/* the owner's slot */
	tmem_handle to;		/* where the data shall be, or 0: no room */
	struct tmem_client *client;	/* the heir's */
	bool done;
};

/*
 * Under the heir's stripe: whose is it?  The client is charged a frame it has
 * not, so that it stays until the heir has its room.
 */
static bool heir_pin(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e, void *arg)
{
	struct passing *pass = arg;

	(void)s;
	if (!refers(p->host, e->handle, pass->name))
		return false;
	pass->client = tmem_frame_client(p->host, tmem_handle_frame(e->handle));
	atomic_fetch_add(&pass->client->charged, 1);
	return false;
}

/* Where the heir's data shall be: the dead owner's slot, or its own client's room. */
static tmem_handle heir_place(struct tmem *t, struct tmem_client *c, tmem_handle dead)
{
	uint32_t info = data_info(t, dead);
	tmem_handle to;

	if (c == tmem_frame_client(t, tmem_handle_frame(dead)))
		return dead;
	if (tmem_store_alloc(c, TMEM_EPHEMERAL, tmem_info_size(info), 0, &to))
		return 0;
	memcpy(tmem_slot_data(t, to, data_info(t, to)), tmem_slot_data(t, dead, info),
	       tmem_info_size(info));
	return to;
}

/* Under the heir's stripe: make it the owner, or drop it. */
static bool heir_visit(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e, void *arg)
{
	struct passing *pass = arg;
	struct tmem *t = p->host;
	tmem_handle heir = e->handle;
	struct tmem_staged staged;
	struct tmem_page page, now;
	uint32_t info = data_info(t, pass->dead);

	if (!refers(t, heir, pass->name))
		return false;
	staged.type = tmem_info_type(info);
	staged.size = tmem_info_size(info);
	staged.data = tmem_slot_data(t, pass->dead, info);
	staged.sum = tmem_data_sum(staged.data, staged.size);
	tmem_page_read(t, heir, &page);
	if (!pass->to) {
		tmem_op_unlink_locked(p, s, e);
		s->count.evicted_pages++;
		return true;
	}
	pass->done = true;
	tmem_page_commit(t, pass->to, &staged, page.object, page.index, page.tag,
			 tmem_info_seq(page.info) + 1);
	tmem_page_replace_locked(e, pass->to);
	tmem_page_kill(t, heir);
	tmem_count_remove_locked(t, &s->count, &page);
	tmem_page_read(t, pass->to, &now);
	tmem_count_add_locked(t, s, &now);
	owner_change(t, pass->name, pass->dead, pass->to);
	return true;
}

static void heir_pass(struct tmem *t, tmem_handle heir, struct passing *pass)
{
	pass->client = NULL;
	tmem_page_visit(t, heir, heir_pin, pass);
	if (!pass->client)
		return;		/* it is going itself, and who is at it frees it */
	pass->to = heir_place(t, pass->client, pass->dead);
	if (tmem_page_visit(t, heir, heir_visit, pass))
		tmem_store_free_slot(t, heir, 0);
	if (!pass->done && pass->to && pass->to != pass->dead)
		tmem_store_free_slot(t, pass->to, 0);
	atomic_fetch_sub(&pass->client->charged, 1);
}

static bool heir_drop(struct tmem_pool *p, struct tmem_stripe *s, struct tmem_entry *e, void *arg)
{
	if (!refers(p->host, e->handle, *(const uint64_t *)arg))
		return false;
	tmem_op_unlink_locked(p, s, e);
	s->count.evicted_pages++;
	return true;
}

/* Is it a slot whose going matters here?  Its info and name. */
static bool concerns(struct tmem *t, tmem_handle h, uint32_t *info, uint64_t *name)
{
	uint32_t type;

	if (!t->names || tmem_frame(t, tmem_handle_frame(h))->kind != TMEM_FRAME_STORE + TMEM_EPHEMERAL)
		return false;
	*info = data_info(t, h);
	type = tmem_info_type(*info);
	if (type == TMEM_TYPE_DEAD || type == TMEM_TYPE_SAME)
		return false;
	if (type != TMEM_TYPE_REF)
		*name = name_of(t, h, *info);
	else
		memcpy(name, tmem_slot_data(t, h, *info), sizeof(*name));
	return true;
}

bool tmem_dedup_release(struct tmem *t, tmem_handle h)
{
	struct passing pass = { .dead = h };
	tmem_handle heir;
	uint32_t info;

	if (!concerns(t, h, &info, &pass.name))
		return true;
	if (tmem_info_type(info) == TMEM_TYPE_REF) {
		ref_release(t, pass.name, h);
		return true;
	}
	while (!pass.done && (heir = heir_take(t, pass.name, h)))
		heir_pass(t, heir, &pass);
	return !(pass.done && pass.to == h);
}

void tmem_dedup_evict(struct tmem *t, tmem_handle h)
{
	tmem_handle heir;
	uint64_t name;
	uint32_t info;

	if (!concerns(t, h, &info, &name))
		return;
	if (tmem_info_type(info) == TMEM_TYPE_REF) {
		ref_release(t, name, h);
		return;
	}
	while ((heir = heir_take(t, name, h)))
		if (tmem_page_visit(t, heir, heir_drop, &name))
			tmem_store_free_slot(t, heir, 0);
}

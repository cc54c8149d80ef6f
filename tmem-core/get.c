/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * get.c - reading a page.
 *
 * How:     a page that is taken out is unlinked and killed under the stripe;
 *          its slot is then nobody else's, so it is checked and decompressed in
 *          place, without a lock.  A page that stays is copied, compressed,
 *          under the stripe: a short copy, where decompressing there would hold
 *          the lock ten times as long.
 * Must not: return a page whose checksum does not fit, or call a persistent
 *          page that is damaged a miss.
 */
#include <errno.h>
#include <string.h>

#include "codec.h"
#include "dedup.h"
#include "fault.h"
#include "op.h"
#include "store.h"

static void refill(void *page, const unsigned char *data)
{
	uint64_t word, *out = page;
	size_t i;

	memcpy(&word, data, sizeof(word));
	for (i = 0; i < TMEM_PAGE_SIZE / sizeof(word); i++)
		memcpy(&out[i], &word, sizeof(word));
}

static int unpack_data(struct tmem_ctx *ctx, uint32_t info, const unsigned char *data, void *page)
{
	uint32_t type = tmem_info_type(info);

	if (type != TMEM_TYPE_RAW)
		return tmem_codecs[type - TMEM_TYPE_CODEC].decompress(ctx, data, tmem_info_size(info),
								      page);
	memcpy(page, data, TMEM_PAGE_SIZE);
	return 0;
}

/* The page has a name only: its data is the owner's, named by its own checksum. */
static int unpack_ref(struct tmem_ctx *ctx, const unsigned char *data, void *page)
{
	uint64_t name;
	uint32_t info;
	int err;

	memcpy(&name, data, sizeof(name));
	err = tmem_dedup_read(ctx->host, name, ctx->copy, &info);
	return err ? err : unpack_data(ctx, info, ctx->copy, page);
}

/* Check the data of a page against its slot and unpack it. */
static int unpack(struct tmem_ctx *ctx, const struct tmem_page *p, const unsigned char *data,
		  void *page)
{
	uint32_t size = tmem_info_size(p->info), type = tmem_info_type(p->info);

	if (p->sum != tmem_page_sum(p, tmem_data_sum(data, size)))
		return -EBADMSG;
	switch (type) {
	case TMEM_TYPE_SAME:
		refill(page, data);
		return 0;
	case TMEM_TYPE_REF:
		return unpack_ref(ctx, data, page);
	default:
		return unpack_data(ctx, p->info, data, page);
	}
}

static bool sound(struct tmem *t, const struct tmem_entry *e, const struct tmem_page *p,
		  uint32_t index)
{
	uint32_t type = tmem_info_type(p->info), size = tmem_info_size(p->info);

	return tmem_page_is(t, p, e->number, index) &&
	       (type != TMEM_TYPE_SAME || size == sizeof(uint64_t)) &&
	       (type != TMEM_TYPE_RAW || size == TMEM_PAGE_SIZE) &&
	       (type != TMEM_TYPE_REF || (size == sizeof(uint64_t) && t->names));
}

/*
 * Find the page and take it out, or copy it to ctx->copy.  The get is counted
 * as a good one; that is corrected where unpacking fails.
 */
static int fetch_locked(struct tmem_ctx *ctx, struct tmem_client *c, const struct tmem_where *w,
			bool take, struct tmem_page *p)
{
	struct tmem *t = w->pool->host;
	struct tmem_entry e;
	bool good;

	TMEM_COUNT(c, w, gets, 1);
	if (!tmem_op_find_locked(w, &e))
		return -ENOENT;
	TMEM_COUNT(c, w, gets_ok, 1);
	tmem_page_read(t, e.handle, p);
	if (take) {	/* what freeing the slot will need, while the page is unpacked */
		__builtin_prefetch(tmem_frame(t, tmem_handle_frame(e.handle)));
		__builtin_prefetch(tmem_frame_map(t, tmem_handle_frame(e.handle)));
	}
	good = sound(t, &e, p, w->index);
	if (take)
		tmem_op_unlink_locked(w->pool, w->stripe, &e);
	else if (good)
		memcpy(ctx->copy, tmem_slot_data(t, e.handle, p->info), tmem_info_size(p->info));
	p->handle = e.handle;
	return good ? 0 : -EBADMSG;
}

/*
 * A damaged page: an error if the guest relies on it, else a miss.  One whose
 * owner was evicted under the get (-ENOENT) is a miss like any other.
 */
static int damaged(struct tmem_client *c, const struct tmem_where *w, int err)
{
	tmem_lock(&w->stripe->lock);
	TMEM_COUNT(c, w, gets_ok, (uint64_t)-1);
	TMEM_COUNT(c, w, damaged, err != -ENOENT);
	tmem_unlock(&w->stripe->lock);
	return tmem_where_kind(w) == TMEM_PERSISTENT ? -EBADMSG : -ENOENT;
}

int tmem_get(struct tmem_ctx *ctx, struct tmem_client *c, unsigned id,
	     const struct tmem_key *key, void *page, uint64_t *tag)
{
	struct tmem_where w;
	struct tmem_page found;
	struct tmem_pool *p;
	bool take;
	int err;

	if (!ctx || !key || !page)
		return -EINVAL;
	err = tmem_op_begin(c, id, &p);
	if (err)
		return err;
	tmem_where(p, key->oid, key->index, &w);
	take = !(w.flags & (TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED));
	if (!tmem_op_lock(c, id, &w))
		return -ENXIO;
	err = fetch_locked(ctx, c, &w, take, &found);
	tmem_unlock(&w.stripe->lock);
	if (err == -ENOENT)
		return err;
	if (!err)
		err = unpack(ctx, &found, take ? tmem_slot_data(c->host, found.handle, found.info)
					       : ctx->copy, page);
	TMEM_FAULT("get-taken");
	if (take)
		tmem_store_free(c->host, found.handle, w.mark);
	if (err)
		return damaged(c, &w, err);
	if (tag)
		*tag = found.tag;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemp_decode.c - theory in tmemp_decode.h.
 *
 * One const table says for each opcode what its header may carry and which
 * function takes its body.  An opcode without a row does not exist.
 */
#include "tmemp_decode.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n--)
		if (*b++)
			return false;
	return true;
}

static enum tmemp_status decode_empty(const struct tmemp_request *w, struct tmemp_op *out)
{
	(void)out;
	return is_zero(w->raw, sizeof(w->raw)) ? TMEMP_OK : TMEMP_BAD_REQUEST;
}

static enum tmemp_status decode_key(const struct tmemp_request *w, struct tmemp_op *out)
{
	const struct tmemp_key *k = &w->key;

	if (k->reserved || k->reserved2)
		return TMEMP_BAD_REQUEST;
	if (out->op != TMEMP_OP_PUT && k->tag)
		return TMEMP_BAD_REQUEST;
	if (out->op == TMEMP_OP_FLUSH_OBJECT && k->index)
		return TMEMP_BAD_REQUEST;
	for (unsigned i = 0; i < TMEMP_OID_WORDS; i++)
		out->key.oid[i] = le64toh(k->oid[i]);
	out->key.index = le32toh(k->index);
	out->key.tag = le64toh(k->tag);
	return TMEMP_OK;
}

static enum tmemp_status decode_hello(const struct tmemp_request *w, struct tmemp_op *out)
{
	const struct tmemp_hello *h = &w->hello;
	uint16_t min = le16toh(h->version_min), max = le16toh(h->version_max);

	if (h->reserved || !is_zero(h->reserved2, sizeof(h->reserved2)) || !h->nonce)
		return TMEMP_BAD_REQUEST;
	if (min > max)
		return TMEMP_BAD_REQUEST;
	if (min > TMEMP_VERSION || max < TMEMP_VERSION)
		return TMEMP_BAD_VERSION;
	out->hello.version = TMEMP_VERSION;
	out->hello.nonce = le64toh(h->nonce);
	out->hello.ops = le64toh(h->ops);
	out->hello.driver_version = le32toh(h->driver_version);
	out->hello.kernel_version = le32toh(h->kernel_version);
	return TMEMP_OK;
}

static enum tmemp_status decode_create(const struct tmemp_request *w, struct tmemp_op *out)
{
	const struct tmemp_pool_create *c = &w->create;
	uint32_t flags = le32toh(c->flags);
	bool shared = flags & TMEMP_POOL_SHARED;

	if (c->reserved || !is_zero(c->reserved2, sizeof(c->reserved2)) ||
	    (flags & ~TMEMP_POOL_FLAGS))
		return TMEMP_BAD_REQUEST;
	if (shared && (flags & TMEMP_POOL_PERSISTENT))
		return TMEMP_BAD_REQUEST;
	if (shared == is_zero(c->uuid, sizeof(c->uuid)))
		return TMEMP_BAD_REQUEST;
	out->create.flags = flags;
	memcpy(out->create.uuid, c->uuid, sizeof(out->create.uuid));
	return TMEMP_OK;
}

static enum tmemp_status decode_event(const struct tmemp_request *w, struct tmemp_op *out)
{
	const struct tmemp_event *e = &w->event;
	uint32_t result = le32toh(e->drain_result);

	if (e->reserved || !is_zero(e->reserved2, sizeof(e->reserved2)))
		return TMEMP_BAD_REQUEST;
	if (result > TMEMP_DRAIN_NO_ROOM || (result != TMEMP_DRAIN_NO_ROOM && e->drain_left))
		return TMEMP_BAD_REQUEST;
	out->event.drain_result = result;
	out->event.drain_left = le64toh(e->drain_left);
	return TMEMP_OK;
}

struct opcode {
	const char *name;
	enum tmemp_status (*body)(const struct tmemp_request *w, struct tmemp_op *out);
	enum tmemp_page page;
	bool has_pool, has_epoch;
};

static const struct opcode opcodes[TMEMP_OP_END] = {
	[TMEMP_OP_HELLO]	= { .name = "hello", .body = decode_hello },
	[TMEMP_OP_POOL_CREATE]	= { .name = "pool-create", .body = decode_create,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_POOL_DESTROY]	= { .name = "pool-destroy", .body = decode_empty,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_PUT]		= { .name = "put", .body = decode_key, .page = TMEMP_PAGE_READ,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_GET]		= { .name = "get", .body = decode_key, .page = TMEMP_PAGE_WRITTEN,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_FLUSH_PAGE]	= { .name = "flush-page", .body = decode_key,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_FLUSH_OBJECT]	= { .name = "flush-object", .body = decode_key,
				    .has_pool = true, .has_epoch = true },
	[TMEMP_OP_EVENT]	= { .name = "event", .body = decode_event, .has_epoch = true },
};

static const struct opcode *opcode_find(uint16_t op)
{
	return op < TMEMP_OP_END && opcodes[op].body ? &opcodes[op] : NULL;
}

enum tmemp_page tmemp_page_of(uint16_t opcode)
{
	const struct opcode *o = opcode_find(opcode);

	return o ? o->page : TMEMP_PAGE_NONE;
}

enum tmemp_status tmemp_request_decode(const struct tmemp_request *wire, struct tmemp_op *out)
{
	const struct opcode *o = opcode_find(le16toh(wire->op));

	if (!o || wire->flags)
		return TMEMP_BAD_REQUEST;
	out->op = (enum tmemp_opcode)le16toh(wire->op);
	out->pool = le32toh(wire->pool);
	out->epoch = le64toh(wire->epoch);
	if ((!o->has_pool && out->pool) || (!o->has_epoch && out->epoch))
		return TMEMP_BAD_REQUEST;
	if (out->pool >= TMEMP_MAX_POOLS)
		return TMEMP_NO_POOL;
	return o->body(wire, out);
}

const char *tmemp_opcode_name(uint16_t opcode)
{
	const struct opcode *o = opcode_find(opcode);

	return o ? o->name : "unknown";
}

const char *tmemp_status_name(uint32_t status)
{
	switch ((enum tmemp_status)status) {
	case TMEMP_OK: return "OK";
	case TMEMP_MISS: return "MISS";
	case TMEMP_REFUSED_QUOTA: return "REFUSED_QUOTA";
	case TMEMP_REFUSED_PRESSURE: return "REFUSED_PRESSURE";
	case TMEMP_REFUSED_FROZEN: return "REFUSED_FROZEN";
	case TMEMP_REFUSED_INCOMPRESSIBLE: return "REFUSED_INCOMPRESSIBLE";
	case TMEMP_REFUSED_NOMEM: return "REFUSED_NOMEM";
	case TMEMP_BAD_REQUEST: return "BAD_REQUEST";
	case TMEMP_BAD_VERSION: return "BAD_VERSION";
	case TMEMP_BAD_ADDRESS: return "BAD_ADDRESS";
	case TMEMP_NO_POOL: return "NO_POOL";
	case TMEMP_POOL_EXISTS: return "POOL_EXISTS";
	case TMEMP_NOT_PERMITTED: return "NOT_PERMITTED";
	case TMEMP_NEED_HELLO: return "NEED_HELLO";
	case TMEMP_STALE_EPOCH: return "STALE_EPOCH";
	case TMEMP_DAMAGED: return "DAMAGED";
	case TMEMP_FAILED: return "FAILED";
	case TMEMP_STATUS_NONE: return "NONE";
	}
	return "UNKNOWN";
}

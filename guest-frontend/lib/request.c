// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * request.c - the operations of the tmem protocol, as a guest uses them.
 *
 * Owns:    filling in requests, checking that responses are what protocol/
 *          promises: length, reserved fields, a status at all.
 * Must not: touch descriptors or indices.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "front.h"

struct front_queue *front_queue_of(struct front *f, const struct front_key *key)
{
	return &f->queue[tmemp_queue_of(key->pool, (const __u64 *)key->oid, f->queues)];
}

static void request_begin(struct front_request *r, uint16_t op, uint32_t pool, uint64_t epoch)
{
	r->request->op = htole16(op);
	r->request->pool = htole32(pool);
	r->request->epoch = htole64(epoch);
}

void front_request_key(struct front_request *r, uint16_t op, const struct front_key *key,
		       uint64_t tag, uint64_t epoch)
{
	struct tmemp_key *k = &r->request->key;

	request_begin(r, op, key->pool, epoch);
	for (unsigned i = 0; i < TMEMP_OID_WORDS; i++)
		k->oid[i] = htole64(key->oid[i]);
	k->index = htole32(key->index);
	k->tag = htole64(tag);
}

int front_request_status(const struct front_request *r)
{
	struct tmemp_response answer = *r->response;
	uint32_t status = le32toh(answer.status);
	bool page = le16toh(r->request->op) == TMEMP_OP_GET && status == TMEMP_OK;

	if (status == TMEMP_STATUS_NONE)
		return -EIO;
	if (status > INT32_MAX || answer.reserved ||
	    r->written != sizeof(answer) + (page ? TMEMP_PAGE_SIZE : 0))
		return -EPROTO;
	return (int)status;
}

/* A slot, waiting for posted requests if all are in flight; 0 or -errno. */
static int request_reserve(struct front_queue *q, struct front_request **out)
{
	struct front_request *r = front_request_get(q);
	int n = r ? 0 : front_queue_drain(q);

	if (n)
		return n;
	*out = r ? r : front_request_get(q);
	return *out ? 0 : -EBUSY;
}

/*
 * Run r to its end.  The slot stays the caller's on a status; after -errno it
 * stays in flight, as the host may yet write to it.
 */
static int request_run(struct front_queue *q, struct front_request *r)
{
	int n;

	front_queue_submit(q, r);
	n = front_queue_wait(q, r);
	return n ? n : front_request_status(r);
}

/* Run r and give the slot back; *word is the response's first word on 0. */
static int request_finish(struct front_queue *q, struct front_request *r, uint64_t *word)
{
	int status = request_run(q, r);

	if (r->state != FRONT_DONE)
		return status;
	if (!status && word)
		*word = le64toh(r->response->count);
	front_request_put(q, r);
	return status;
}

int front_hello(struct front *f)
{
	struct front_queue *q = &f->queue[0];
	struct front_request *r;
	int status = request_reserve(q, &r);

	if (status)
		return status;
	request_begin(r, TMEMP_OP_HELLO, 0, 0);
	r->request->hello.version_min = htole16(1);
	r->request->hello.version_max = htole16(TMEMP_VERSION);
	r->request->hello.nonce = htole64(f->nonce);
	r->request->hello.ops = htole64(TMEMP_OPS_V1);
	status = request_run(q, r);
	if (r->state != FRONT_DONE)
		return status;
	if (!status) {
		f->epoch = le64toh(r->response->hello.epoch);
		f->ops = le64toh(r->response->hello.ops);
	}
	front_request_put(q, r);
	return status;
}

int front_pool_create(struct front *f, uint32_t pool, uint32_t flags)
{
	struct front_request *r;
	int status = request_reserve(&f->queue[0], &r);

	if (status)
		return status;
	request_begin(r, TMEMP_OP_POOL_CREATE, pool, f->epoch);
	r->request->create.flags = htole32(flags);
	return request_finish(&f->queue[0], r, NULL);
}

int front_pool_destroy(struct front *f, uint32_t pool, uint64_t *pages)
{
	struct front_request *r;
	int status = request_reserve(&f->queue[0], &r);

	if (status)
		return status;
	request_begin(r, TMEMP_OP_POOL_DESTROY, pool, f->epoch);
	return request_finish(&f->queue[0], r, pages);
}

static int key_request(struct front_queue *q, uint16_t op, const struct front_key *key,
		       uint64_t tag, struct front_request **out)
{
	int r = request_reserve(q, out);

	if (!r)
		front_request_key(*out, op, key, tag, q->front->epoch);
	return r;
}

int front_put(struct front_queue *q, const struct front_key *key, const void *page, uint64_t tag)
{
	struct front_request *r;
	int status = key_request(q, TMEMP_OP_PUT, key, tag, &r);

	if (status)
		return status;
	memcpy(r->page, page, TMEMP_PAGE_SIZE);
	return request_finish(q, r, NULL);
}

int front_get(struct front_queue *q, const struct front_key *key, void *page, uint64_t *tag)
{
	struct front_request *r;
	int status = key_request(q, TMEMP_OP_GET, key, 0, &r);

	if (status)
		return status;
	status = request_run(q, r);
	if (r->state != FRONT_DONE)
		return status;
	if (!status) {
		memcpy(page, r->page, TMEMP_PAGE_SIZE);
		if (tag)
			*tag = le64toh(r->response->tag);
	}
	front_request_put(q, r);
	return status;
}

int front_flush_page(struct front_queue *q, const struct front_key *key, uint64_t *pages)
{
	struct front_request *r;
	int status = key_request(q, TMEMP_OP_FLUSH_PAGE, key, 0, &r);

	return status ? status : request_finish(q, r, pages);
}

int front_flush_object(struct front_queue *q, const struct front_key *key, uint64_t *pages)
{
	struct front_key object = *key;
	struct front_request *r;
	int status;

	object.index = 0;
	status = key_request(q, TMEMP_OP_FLUSH_OBJECT, &object, 0, &r);
	return status ? status : request_finish(q, r, pages);
}

int front_put_post(struct front_queue *q, const struct front_key *key, const void *page,
		   uint64_t tag)
{
	struct front_request *r;
	int status = key_request(q, TMEMP_OP_PUT, key, tag, &r);

	if (status)
		return status;
	memcpy(r->page, page, TMEMP_PAGE_SIZE);
	r->posted = true;
	front_queue_submit(q, r);
	return 0;
}

int front_flush_page_post(struct front_queue *q, const struct front_key *key)
{
	struct front_request *r;
	int status = key_request(q, TMEMP_OP_FLUSH_PAGE, key, 0, &r);

	if (status)
		return status;
	r->posted = true;
	front_queue_submit(q, r);
	return 0;
}

struct front_request *front_event_park(struct front *f, uint32_t drain_result,
				       uint64_t drain_left)
{
	struct front_request *r = front_request_get(&f->queue[0]);

	if (!r)
		return NULL;
	request_begin(r, TMEMP_OP_EVENT, 0, f->epoch);
	r->request->event.drain_result = htole32(drain_result);
	r->request->event.drain_left = htole64(drain_left);
	front_queue_submit(&f->queue[0], r);
	return r;
}

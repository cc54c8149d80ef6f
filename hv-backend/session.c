/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session.c - the four steps of a request.
 *
 *   fetch     the request's 64 bytes into a private copy; where the page and
 *             the response are
 *   validate  tmemp_request_decode() on the copy, then what depends on state:
 *             epoch, addresses; a PUT's page is copied into the worker's memory
 *   execute   one function an operation; checks nothing again
 *   reply     page, response, used element, in this order
 *
 * What an operation took out of the core is freed between execute and reply, and may
 * be much: then that is done in steps, with others' requests in between.  The
 * operation has happened before the first: a pool or object is gone, a boot begun.
 *
 * The response part is looked for first: the first descriptor that the host may
 * write.  If that is one response in size and in guest memory, every error after
 * it has an answer.
 *
 * #syscalls: getrandom
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "fault.h"
#include "session.h"
#include "tmemp.h"
#include "tmemp_decode.h"

static_assert(TMEM_PAGE_SIZE == TMEMP_PAGE_SIZE, "one page everywhere");
static_assert(TMEM_MAX_POOLS == TMEMP_MAX_POOLS, "one set of pool ids everywhere");

/* What the core says, as the guest hears it; all else is TMEMP_FAILED. */
static const uint8_t status_of_errno[] = {
	[EPERM]		= TMEMP_NOT_PERMITTED,
	[ENOENT]	= TMEMP_MISS,
	[ENXIO]		= TMEMP_NO_POOL,
	[E2BIG]		= TMEMP_REFUSED_INCOMPRESSIBLE,
	[ENOMEM]	= TMEMP_REFUSED_NOMEM,
	[EEXIST]	= TMEMP_POOL_EXISTS,
	[ENOSPC]	= TMEMP_REFUSED_PRESSURE,
	[EROFS]		= TMEMP_REFUSED_FROZEN,
	[EBADMSG]	= TMEMP_DAMAGED,
	[EDQUOT]	= TMEMP_REFUSED_QUOTA,
};

static enum tmemp_status status_of(int err)
{
	unsigned n = (unsigned)-err;

	if (!err)
		return TMEMP_OK;
	if (n < sizeof(status_of_errno) && status_of_errno[n])
		return (enum tmemp_status)status_of_errno[n];
	return TMEMP_FAILED;
}

/* One request on its way. */
struct call {
	struct session *s;
	struct session_worker *w;
	struct ring *ring;
	const struct ring_chain *chain;
	struct tmemp_op op;			/* valid once decoded */
	const struct ring_part *response;	/* NULL: no usable one */
	const struct ring_part *page;		/* NULL: the operation has none */
	struct tmemp_response answer;
};

/* ---- fetch -------------------------------------------------------------- */

static bool part_is(const struct ring_part *p, bool write, uint32_t len)
{
	return p->write == write && p->len == len;
}

static const struct ring_part *response_find(const struct ring *r, const struct ring_chain *c)
{
	for (unsigned i = 0; i < c->parts; i++) {
		const struct ring_part *p = &c->part[i];

		if (!p->write)
			continue;
		if (p->len == sizeof(struct tmemp_response) &&
		    r->ops->covers(r->mem, p->addr, p->len))
			return p;
		return NULL;
	}
	return NULL;
}

/* The chain must be just the parts that tmemp.h lists for opcode. */
static enum tmemp_status shape_check(struct call *c, uint16_t opcode)
{
	const struct ring_chain *n = c->chain;
	enum tmemp_page kind = tmemp_page_of(opcode);
	unsigned response = kind == TMEMP_PAGE_READ ? 2 : 1;
	unsigned page = kind == TMEMP_PAGE_READ ? 1 : 2;

	if (n->parts != (kind == TMEMP_PAGE_NONE ? 2u : 3u) || c->response != &n->part[response])
		return TMEMP_BAD_REQUEST;
	if (kind == TMEMP_PAGE_NONE)
		return TMEMP_OK;
	if (!part_is(&n->part[page], kind == TMEMP_PAGE_WRITTEN, TMEMP_PAGE_SIZE))
		return TMEMP_BAD_REQUEST;
	c->page = &n->part[page];
	return TMEMP_OK;
}

static enum tmemp_status request_fetch(struct call *c, struct tmemp_request *wire)
{
	const struct ring_part *p = &c->chain->part[0];

	c->response = response_find(c->ring, c->chain);
	if (!c->response || !part_is(p, false, sizeof(*wire)))
		return TMEMP_BAD_REQUEST;
	if (c->ring->ops->read(c->ring->mem, wire, p->addr, sizeof(*wire)))
		return TMEMP_BAD_ADDRESS;
	return shape_check(c, le16toh(wire->op));
}

/* ---- validate ----------------------------------------------------------- */

static enum tmemp_status session_check(const struct session *s, const struct tmemp_op *op)
{
	if (op->op == TMEMP_OP_HELLO)
		return TMEMP_OK;
	if (!atomic_load_explicit(&s->kept->open, memory_order_relaxed))
		return TMEMP_NEED_HELLO;
	return op->epoch == s->kept->epoch ? TMEMP_OK : TMEMP_STALE_EPOCH;
}

/*
 * The page's address, before anything is executed: an exclusive GET takes the
 * page out of the core and must be able to deliver it.
 */
static enum tmemp_status page_check(struct call *c)
{
	const struct ring_part *p = c->page;

	if (!p)
		return TMEMP_OK;
	if (p->write)
		return c->ring->ops->covers(c->ring->mem, p->addr, p->len) ? TMEMP_OK :
									     TMEMP_BAD_ADDRESS;
	return c->ring->ops->read(c->ring->mem, c->w->page, p->addr, p->len) ? TMEMP_BAD_ADDRESS :
									       TMEMP_OK;
}

static enum tmemp_status request_validate(struct call *c, const struct tmemp_request *wire)
{
	enum tmemp_status st = tmemp_request_decode(wire, &c->op);

	if (st == TMEMP_OK)
		st = session_check(c->s, &c->op);
	if (st == TMEMP_OK)
		st = page_check(c);
	return st;
}

/* ---- execute: 0 or -errno, the answer's body in c->answer ---------------- */

static uint64_t epoch_new(void)
{
	uint64_t e = 0;

	/* Never blocks or fails once the system is up; the loop is for 0. */
	while (!e && getrandom(&e, sizeof(e), 0) == (ssize_t)sizeof(e))
		;
	return e;
}

static void drain_note(struct session *s, uint32_t result, uint64_t left)
{
	atomic_store(&s->kept->drain_result, result);
	atomic_store(&s->kept->drain_left, left);
}

static void boot_forget(struct session *s)
{
	s->kept->epoch = 0;
	s->kept->nonce = 0;
}

static int boot_begin(struct session *s, uint64_t nonce, struct tmem_drop *d)
{
	uint64_t epoch = epoch_new();

	if (!epoch)
		return -EIO;
	session_event_locked(s, 0);
	tmem_client_flush_begin(s->client, d);
	boot_forget(s);
	TMEM_FAULT("hello-flushed");
	s->kept->nonce = nonce;
	s->kept->epoch = epoch;
	s->kept->pending = 0;
	drain_note(s, TMEMP_DRAIN_NONE, 0);
	return 0;
}

static int exec_hello(struct call *c)
{
	struct session *s = c->s;
	const struct tmemp_op *op = &c->op;
	int err;

	if (op->hello.nonce != s->kept->nonce || !s->kept->epoch) {
		err = boot_begin(s, op->hello.nonce, &c->w->rest.drop);
		if (err)
			return err;
	}
	s->kept->driver_version = op->hello.driver_version;
	s->kept->kernel_version = op->hello.kernel_version;
	s->kept->open = 1;
	c->answer.hello = (struct tmemp_hello_result){
		.version = htole16(op->hello.version),
		.max_pools = htole16(TMEMP_MAX_POOLS),
		.page_size = htole32(TMEMP_PAGE_SIZE),
		.epoch = htole64(s->kept->epoch),
		.ops = htole64(TMEMP_OPS_V1),
	};
	return 0;
}

static int exec_pool_create(struct call *c)
{
	uint32_t flags = c->op.create.flags;
	struct tmem_pool_spec spec = {
		.kind = flags & TMEMP_POOL_PERSISTENT ? TMEM_PERSISTENT : TMEM_EPHEMERAL,
		.shared = flags & TMEMP_POOL_SHARED,
	};

	memcpy(spec.uuid, c->op.create.uuid, sizeof(spec.uuid));
	return tmem_pool_create(c->s->client, c->op.pool, &spec);
}

static int exec_pool_destroy(struct call *c)
{
	return tmem_pool_destroy_begin(c->s->client, c->op.pool, &c->w->rest.drop);
}

static struct tmem_key key_of(const struct tmemp_op *op)
{
	return (struct tmem_key){
		.oid = { op->key.oid[0], op->key.oid[1], op->key.oid[2] },
		.index = op->key.index,
	};
}

static int exec_put(struct call *c)
{
	struct tmem_key key = key_of(&c->op);

	return tmem_put(c->w->ctx, c->s->client, c->op.pool, &key, c->w->page, c->op.key.tag);
}

static int exec_get(struct call *c)
{
	struct tmem_key key = key_of(&c->op);
	uint64_t tag = 0;
	int err = tmem_get(c->w->ctx, c->s->client, c->op.pool, &key, c->w->page, &tag);

	c->answer.tag = htole64(tag);
	return err;
}

static int exec_flush_page(struct call *c)
{
	struct tmem_key key = key_of(&c->op);
	int pages = tmem_flush_page(c->s->client, c->op.pool, &key);

	if (pages < 0)
		return pages;
	c->answer.count = htole64((uint64_t)pages);
	return 0;
}

static int exec_flush_object(struct call *c)
{
	return tmem_flush_object_begin(c->s->client, c->op.pool, c->op.key.oid,
				       &c->w->rest.drop);
}

static const struct {
	bool alone;			/* needs all queue locks */
	bool timed;
	bool drops;			/* takes pages out, which are freed before the reply */
	enum latency_op latency;	/* where it is timed */
	int (*exec)(struct call *c);	/* NULL: parked, nothing to execute now */
} operation[TMEMP_OP_END] = {
	[TMEMP_OP_HELLO]	= { .alone = true, .drops = true, .exec = exec_hello },
	[TMEMP_OP_POOL_CREATE]	= { .alone = true, .exec = exec_pool_create },
	[TMEMP_OP_POOL_DESTROY]	= { .alone = true, .drops = true,
				    .exec = exec_pool_destroy },
	[TMEMP_OP_PUT]		= { .exec = exec_put, .timed = true, .latency = LATENCY_PUT },
	[TMEMP_OP_GET]		= { .exec = exec_get, .timed = true, .latency = LATENCY_GET },
	[TMEMP_OP_FLUSH_PAGE]	= { .exec = exec_flush_page, .timed = true,
				    .latency = LATENCY_FLUSH },
	[TMEMP_OP_FLUSH_OBJECT]	= { .exec = exec_flush_object, .timed = true,
				    .drops = true, .latency = LATENCY_FLUSH },
	[TMEMP_OP_EVENT]	= { .alone = true, .exec = NULL },
};

/* ---- reply -------------------------------------------------------------- */

/* Returns what was written, 0 if there is no such place any more. */
static uint32_t response_write(struct ring *r, uint64_t addr, const struct tmemp_response *answer)
{
	return r->ops->write(r->mem, addr, answer, sizeof(*answer)) ? 0 : sizeof(*answer);
}

static void reply(struct call *c, enum tmemp_status st)
{
	uint32_t page_len = 0, written;

	if (st >= TMEMP_BAD_REQUEST && st <= TMEMP_BAD_ADDRESS)
		atomic_fetch_add_explicit(&c->s->bad_requests, 1, memory_order_relaxed);
	if (!c->response) {
		ring_complete(c->ring, c->chain->head, 0);
		return;
	}
	if (st == TMEMP_OK && c->page && c->page->write) {
		page_len = c->page->len;
		if (c->ring->ops->write(c->ring->mem, c->page->addr, c->w->page, page_len))
			st = TMEMP_FAILED;
		TMEM_FAULT("reply-page");
	}
	if (st != TMEMP_OK) {
		memset(&c->answer, 0, sizeof(c->answer));
		page_len = 0;
	}
	c->answer.status = htole32(st);
	written = response_write(c->ring, c->response->addr, &c->answer);
	TMEM_FAULT("reply-response");
	ring_complete(c->ring, c->chain->head, written ? written + page_len : 0);
}

void session_event_locked(struct session *s, uint64_t events)
{
	struct session_parked p = s->parked;
	struct tmemp_response answer = {
		.status = htole32(TMEMP_OK),
		.events = htole64(events),
	};

	if (!p.ring)
		return;
	s->parked.ring = NULL;
	ring_complete_parked(p.ring, p.head, response_write(p.ring, p.response, &answer));
}

void session_event_raise_locked(struct session *s, uint64_t events)
{
	drain_note(s, TMEMP_DRAIN_NONE, 0);
	s->kept->pending |= events;
	if (!s->parked.ring)
		return;
	/* In this order: killed in between, we tell it twice rather than never. */
	session_event_locked(s, s->kept->pending);
	s->kept->pending = 0;
}

static void park(struct call *c)
{
	session_event_locked(c->s, 0);
	drain_note(c->s, c->op.event.drain_result, c->op.event.drain_left);
	c->s->parked = (struct session_parked){
		.ring = c->ring,
		.head = c->chain->head,
		.response = c->response->addr,
	};
	c->s->kept->parked = c->response->addr;
	ring_park(c->ring, c->chain->head);
	if (c->s->kept->pending)
		session_event_raise_locked(c->s, 0);
}

/* ---- all four ----------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void time_note(struct session_worker *w, unsigned op, uint64_t ns)
{
	if (operation[op].timed)
		latency_note(&w->latency, operation[op].latency, ns);
}

/* ---- in steps ----------------------------------------------------------------- */

#define STEP_PAGES	64u		/* some 10 us */

static void rest_init(struct call *c)
{
	c->w->rest = (struct session_rest){
		.op = (uint16_t)c->op.op,
		.head = c->chain->head,
		.response = c->response->addr,
	};
}

/* True if all that was taken out is freed, and the answer says how much it was. */
static bool rest_step(struct session_rest *rest, struct tmemp_response *answer)
{
	if (!tmem_drop_step(&rest->drop, STEP_PAGES))
		return false;
	if (rest->op != TMEMP_OP_HELLO)
		answer->count = htole64(rest->drop.pages);
	return true;
}

bool session_go_on(struct session_worker *w, struct ring *r, struct session_rest *rest,
		   bool answered)
{
	uint64_t begin = now_ns(), took;
	bool done = rest_step(rest, &rest->answer);

	if (done && answered)
		ring_complete(r, rest->head, response_write(r, rest->response, &rest->answer));
	took = now_ns() - begin;
	rest->took_ns += took;
	if (w)
		w->spent_ns += took;
	if (w && done)
		time_note(w, rest->op, rest->took_ns);
	return done;
}

static enum session_verdict session_execute(struct call *c, uint64_t begin)
{
	struct session_worker *w = c->w;
	uint64_t took;
	bool done = true;
	int err;

	if (operation[c->op.op].drops)
		rest_init(c);
	err = operation[c->op.op].exec(c);
	if (operation[c->op.op].drops)
		done = rest_step(&w->rest, &c->answer);
	if (done)
		reply(c, status_of(err));
	took = now_ns() - begin;
	w->spent_ns += took;
	if (!done) {
		w->rest.answer = c->answer;
		w->rest.took_ns = took;
		return SESSION_UNFINISHED;
	}
	time_note(w, c->op.op, took);
	return SESSION_DONE;
}

enum session_verdict session_serve(struct session *s, struct session_worker *w, struct ring *r,
				   const struct ring_chain *c, bool alone)
{
	struct call call = { .s = s, .w = w, .ring = r, .chain = c };
	uint64_t begin = now_ns();
	struct tmemp_request wire;
	enum tmemp_status st = request_fetch(&call, &wire);

	if (st == TMEMP_OK)
		st = request_validate(&call, &wire);
	if (st == TMEMP_OK && operation[call.op.op].alone && !alone)
		return SESSION_BARRIER;
	atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
	if (st == TMEMP_OK && operation[call.op.op].exec)
		return session_execute(&call, begin);
	if (st == TMEMP_OK)
		park(&call);
	else
		reply(&call, st);
	return SESSION_DONE;
}

void session_init(struct session *s, struct tmem_client *client, struct keep_session *kept)
{
	*s = (struct session){ .client = client, .kept = kept };
}

void session_resume(struct session *s, struct ring *r)
{
	uint64_t word = ring_word(r);

	if (word & RING_PARKED)
		s->parked = (struct session_parked){
			.ring = r,
			.head = ring_parked_head(word),
			.response = s->kept->parked,
		};
}

/* ---- a request that kills the daemon ------------------------------------- */

void session_refuse(struct session *s, struct session_worker *w, struct ring *r,
		    const struct ring_chain *c, bool flush, struct tmemp_op *what)
{
	struct call call = { .s = s, .w = w, .ring = r, .chain = c };
	struct tmemp_request wire;
	enum tmemp_status st = request_fetch(&call, &wire);

	if (st == TMEMP_OK)
		st = tmemp_request_decode(&wire, &call.op);
	if (st == TMEMP_OK)
		st = session_check(s, &call.op);
	/* A put that fails leaves no older page behind. */
	if (st == TMEMP_OK && call.op.op == TMEMP_OP_PUT && flush)
		exec_flush_page(&call);
	*what = call.op;
	reply(&call, st == TMEMP_OK ? TMEMP_FAILED : st);
}

void session_end(struct session *s)
{
	s->kept->open = 0;
	s->kept->driver_version = 0;
	s->kept->kernel_version = 0;
	tmem_client_flush_ephemeral(s->client);
}

void session_forget(struct session *s)
{
	tmem_client_flush(s->client);
	boot_forget(s);
}

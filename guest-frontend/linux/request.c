// SPDX-License-Identifier: GPL-2.0
/*
 * request.c - from the module's operations to the wire, and back.
 *
 * Owns:     the session (nonce, epoch), the pools, and every wire field.
 * How:      one nonce is drawn when the module is loaded.  Each transport that
 *           comes says HELLO with it: a host that still has the pages of this
 *           load answers the epoch it had, any other host a new one.  Queues
 *           are in use up to the number the first transport brought; a later one
 *           must bring as many, because a key must not change its queue while
 *           the module lives.
 *           A host may come back on the connection it had and know nothing of
 *           the session, or no more: it answers NEED_HELLO or STALE_EPOCH and has
 *           done nothing.  Then HELLO is said again.  If the answer is
 *           the epoch that it was, it has the pages, and gets are made again; with
 *           another epoch they are lost, each an error for who reads it.  Once in
 *           RENEW_SECONDS at most, so that a host that answers so for ever is no
 *           loop.
 * Must not: know block devices or sectors; wait without a bound.
 *
 * Locks:    session_lock (attach, detach, renew, forget; sleeps) before a queue's lock.
 */
#include <linux/bitops.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "request.h"
#include "stats.h"
#include "version.h"

#define OPS_NEEDED	((1u << TMEMP_OP_HELLO) | (1u << TMEMP_OP_POOL_CREATE) | \
			 (1u << TMEMP_OP_POOL_DESTROY) | (1u << TMEMP_OP_PUT) | \
			 (1u << TMEMP_OP_GET) | (1u << TMEMP_OP_FLUSH_PAGE))

#define RENEW_SECONDS	10u
#define RENEWING	0	/* host.flags: host.renew is queued or runs */

static void renew_work(struct work_struct *work);

static DEFINE_MUTEX(session_lock);
static DECLARE_DELAYED_WORK(renew, renew_work);
static DECLARE_WAIT_QUEUE_HEAD(renewed);

/*
 * Written under session_lock, but for flags; number, epoch, ready and renewed_ns are
 * read without it.
 *
 *   ready  =>  transport, and the host answered HELLO with epoch
 */
static struct {
	struct workqueue_struct *worker;
	struct tmem_transport *transport;
	unsigned int queues_most;	/* constant once initialised */
	unsigned int queues;		/* set by the first attach, then constant */
	unsigned long number;		/* tmem_host_number() */
	u64 nonce;			/* constant once initialised */
	u64 epoch;			/* 0: no HELLO was answered yet */
	bool ready;			/* the swap pool exists */
	struct host_pool {
		bool open;		/* the cache's: every host is to have it */
		bool granted;		/* the last one asked has */
		bool shared;
		u8 uuid[16];
	} pools[TMEM_POOL_COUNT];
	u64 renewed_ns;			/* ktime */
	unsigned long flags;		/* RENEWING */
} host;

int tmem_host_init(unsigned int queues)
{
	host.queues_most = queues;
	do {
		host.nonce = get_random_u64();
	} while (!host.nonce);
	host.worker = alloc_workqueue("tmem-session", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	return host.worker ? 0 : -ENOMEM;
}

void tmem_host_exit(void)
{
	cancel_delayed_work_sync(&renew);
	destroy_workqueue(host.worker);
}

bool tmem_host_ready(void)
{
	return READ_ONCE(host.ready);
}

unsigned long tmem_host_number(void)
{
	return READ_ONCE(host.number);
}

unsigned int tmem_host_queues(void)
{
	return READ_ONCE(host.queues);
}

unsigned int tmem_host_queues_wanted(void)
{
	return host.queues ? host.queues : host.queues_most;
}

/* The status of an answer, or STATUS_NONE where it is too short to have one. */
static u32 answer_status(const struct tmem_slot *slot)
{
	if (slot->written < sizeof(slot->answer))
		return TMEMP_STATUS_NONE;
	return le32_to_cpu(slot->answer.status);
}

static struct tmemp_request *request_start(struct tmem_slot *slot, enum tmemp_opcode op,
					   enum tmem_page_way way)
{
	struct tmemp_request *r = slot->request;

	memset(r, 0, sizeof(*r));
	slot->failed = TMEM_POSTS_FAILED;
	r->op = cpu_to_le16(op);
	r->epoch = cpu_to_le64(op == TMEMP_OP_HELLO ? 0 : host.epoch);
	slot->way = way;
	return r;
}

/* ---- one page ------------------------------------------------------------ */

struct tmem_slot *tmem_request_begin(const struct tmem_key *key, enum tmem_patience patience)
{
	if (patience == TMEM_WAIT && test_bit(RENEWING, &host.flags))
		wait_event(renewed, !test_bit(RENEWING, &host.flags));
	if (!tmem_host_ready())
		return NULL;
	return tmem_slot_acquire(tmem_queue_at(tmemp_queue_of(key->pool, key->oid, host.queues)),
				 patience);
}

static struct tmemp_request *page_start(struct tmem_slot *slot, const struct tmem_key *key,
					enum tmemp_opcode op, enum tmem_page_way way)
{
	struct tmemp_request *r = request_start(slot, op, way);
	unsigned int i;

	r->pool = cpu_to_le32(key->pool);
	for (i = 0; i < TMEMP_OID_WORDS; i++)
		r->key.oid[i] = cpu_to_le64(key->oid[i]);
	r->key.index = cpu_to_le32(key->index);
	return r;
}

static int page_submit(struct tmem_slot *slot, enum tmem_slot_state state,
		       const struct tmem_call *call)
{
	int err = tmem_slot_submit(slot, state, call);

	if (err)
		tmem_slot_release(slot);
	return err;
}

int tmem_put_submit(struct tmem_slot *slot, const struct tmem_key *key,
		    const struct tmem_call *call)
{
	page_start(slot, key, TMEMP_OP_PUT, TMEM_PAGE_OUT)->key.tag = cpu_to_le64(key->tag);
	return page_submit(slot, call ? TMEM_SLOT_CALLED : TMEM_SLOT_AWAITED, call);
}

int tmem_get_submit(struct tmem_slot *slot, const struct tmem_key *key,
		    const struct tmem_call *call)
{
	page_start(slot, key, TMEMP_OP_GET, TMEM_PAGE_IN);
	return page_submit(slot, call ? TMEM_SLOT_CALLED : TMEM_SLOT_AWAITED, call);
}

int tmem_put_post(struct tmem_slot *slot, const struct tmem_key *key)
{
	page_start(slot, key, TMEMP_OP_PUT, TMEM_PAGE_OUT)->key.tag = cpu_to_le64(key->tag);
	slot->failed = TMEM_CACHE_PUTS_REFUSED;
	return page_submit(slot, TMEM_SLOT_POSTED, NULL);
}

int tmem_flush_object_post(struct tmem_slot *slot, const struct tmem_key *key)
{
	page_start(slot, key, TMEMP_OP_FLUSH_OBJECT, TMEM_PAGE_NONE)->key.index = 0;
	return page_submit(slot, TMEM_SLOT_POSTED, NULL);
}

int tmem_flush_post(struct tmem_slot *slot, const struct tmem_key *key,
		    const struct tmem_call *lost)
{
	page_start(slot, key, TMEMP_OP_FLUSH_PAGE, TMEM_PAGE_NONE);
	return page_submit(slot, TMEM_SLOT_POSTED, lost);
}

/*
 * If the answer shows that the host does not know the session, renew it.  True: that is
 * being done, or was since the request was made.
 */
static bool session_renew(const struct tmem_slot *slot, u32 status)
{
	u64 renewed_ns = READ_ONCE(host.renewed_ns);

	if (status != TMEMP_NEED_HELLO && status != TMEMP_STALE_EPOCH)
		return false;
	if (test_bit(RENEWING, &host.flags) || slot->submitted_ns < renewed_ns)
		return true;
	if (renewed_ns && ktime_get_ns() - renewed_ns < RENEW_SECONDS * NSEC_PER_SEC)
		return false;
	if (!test_and_set_bit(RENEWING, &host.flags))
		mod_delayed_work(host.worker, &renew, 0);
	return true;
}

/* Refusals promise that nothing is readable under the key; nothing else does. */
enum tmem_put_result tmem_put_result(const struct tmem_slot *slot)
{
	u32 status = slot ? answer_status(slot) : TMEMP_STATUS_NONE;

	if (status == TMEMP_OK)
		return TMEM_PUT_TAKEN;
	if (status >= TMEMP_REFUSED_QUOTA && status <= TMEMP_REFUSED_NOMEM)
		return TMEM_PUT_REFUSED;
	session_renew(slot, status);
	return TMEM_PUT_DOUBTFUL;
}

enum tmem_get_result tmem_get_result(const struct tmem_slot *slot, u64 tag)
{
	u32 status = slot ? answer_status(slot) : TMEMP_STATUS_NONE;

	if (status == TMEMP_MISS)
		return TMEM_GET_MISS;
	if (session_renew(slot, status))
		return TMEM_GET_AGAIN;
	if (status != TMEMP_OK || slot->written < sizeof(slot->answer) + TMEMP_PAGE_SIZE)
		return TMEM_GET_FAILED;
	return le64_to_cpu(slot->answer.tag) == tag ? TMEM_GET_PAGE : TMEM_GET_MISS;
}

enum tmem_get_result tmem_get_wait(struct tmem_slot *slot, u64 tag)
{
	enum tmem_get_result result;

	if (!tmem_slot_wait(slot))
		return TMEM_GET_FAILED;
	result = tmem_get_result(slot, tag);
	if (result != TMEM_GET_PAGE)
		tmem_slot_release(slot);
	return result;
}

/* ---- events -------------------------------------------------------------- */

struct tmem_slot *tmem_event_park(u32 drain_result, u64 drain_left)
{
	struct tmem_slot *slot = NULL;
	struct tmemp_request *r;

	if (tmem_host_ready())
		slot = tmem_slot_acquire(tmem_queue_at(0), TMEM_NOWAIT);
	if (!slot)
		return NULL;
	r = request_start(slot, TMEMP_OP_EVENT, TMEM_PAGE_NONE);
	r->event.drain_result = cpu_to_le32(drain_result);
	r->event.drain_left = cpu_to_le64(drain_left);
	if (!tmem_slot_submit(slot, TMEM_SLOT_AWAITED, NULL))
		return slot;
	tmem_slot_release(slot);
	return NULL;
}

bool tmem_event_poll(struct tmem_slot *slot, u64 *events)
{
	if (!tmem_slot_poll(slot))
		return false;
	*events = answer_status(slot) == TMEMP_OK ? le64_to_cpu(slot->answer.events) : 0;
	tmem_slot_release(slot);
	return true;
}

/* ---- the session --------------------------------------------------------- */

/* Send what is in slot and wait.  0: answered OK, with the answer in *answer. */
static int control_call(struct tmem_slot *slot, struct tmemp_response *answer)
{
	int err = tmem_slot_submit(slot, TMEM_SLOT_AWAITED, NULL);
	u32 status;

	if (err) {
		tmem_slot_release(slot);
		return err;
	}
	if (!tmem_slot_wait(slot))
		return -ETIMEDOUT;
	status = answer_status(slot);
	*answer = slot->answer;
	tmem_slot_release(slot);
	if (status == TMEMP_OK)
		return 0;
	pr_warn("tmem: the host answered status %u\n", status);
	return status == TMEMP_STATUS_NONE ? -EIO : -EPROTO;
}

int tmem_flush_object(const struct tmem_key *key)
{
	struct tmem_slot *slot = tmem_request_begin(key, TMEM_WAIT);
	struct tmemp_response answer;

	if (!slot)
		return -ETIMEDOUT;
	page_start(slot, key, TMEMP_OP_FLUSH_OBJECT, TMEM_PAGE_NONE)->key.index = 0;
	return control_call(slot, &answer);
}

static int host_hello(void)
{
	struct tmem_slot *slot = tmem_slot_acquire(tmem_queue_at(0), TMEM_WAIT);
	struct tmemp_response answer;
	struct tmemp_request *r;
	u64 epoch;
	int err;

	if (!slot)
		return -ETIMEDOUT;
	r = request_start(slot, TMEMP_OP_HELLO, TMEM_PAGE_NONE);
	r->hello.version_min = cpu_to_le16(TMEMP_VERSION);
	r->hello.version_max = cpu_to_le16(TMEMP_VERSION);
	r->hello.nonce = cpu_to_le64(host.nonce);
	r->hello.ops = cpu_to_le64(OPS_NEEDED | 1u << TMEMP_OP_FLUSH_OBJECT |
				   1u << TMEMP_OP_EVENT);
	r->hello.driver_version = cpu_to_le32(TMEM_VERSION_WIRE);
	r->hello.kernel_version = cpu_to_le32(COMPAT_KERNEL_VERSION);
	err = control_call(slot, &answer);
	if (err)
		return err;

	epoch = le64_to_cpu(answer.hello.epoch);
	if (le16_to_cpu(answer.hello.version) != TMEMP_VERSION ||
	    le32_to_cpu(answer.hello.page_size) != TMEMP_PAGE_SIZE || !epoch ||
	    (le64_to_cpu(answer.hello.ops) & OPS_NEEDED) != OPS_NEEDED)
		return -EPROTO;
	if (host.epoch && host.epoch != epoch) {
		pr_warn("tmem: this host does not have the pages of the one before\n");
		WRITE_ONCE(host.number, host.number + 1);
	}
	WRITE_ONCE(host.epoch, epoch);
	return 0;
}

static int pool_call(enum tmemp_opcode op, enum tmem_pool pool, u32 flags, const u8 *uuid)
{
	struct tmem_slot *slot = tmem_slot_acquire(tmem_queue_at(0), TMEM_WAIT);
	struct tmemp_response answer;
	struct tmemp_request *r;

	if (!slot)
		return -ETIMEDOUT;
	r = request_start(slot, op, TMEM_PAGE_NONE);
	r->pool = cpu_to_le32(pool);
	if (op == TMEMP_OP_POOL_CREATE)
		r->create.flags = cpu_to_le32(flags);
	if (uuid)
		memcpy(r->create.uuid, uuid, sizeof(r->create.uuid));
	return control_call(slot, &answer);
}

static int cache_pool_create(enum tmem_pool pool)
{
	struct host_pool *p = &host.pools[pool];
	int err = pool_call(TMEMP_OP_POOL_CREATE, pool, p->shared ? TMEMP_POOL_SHARED : 0,
			    p->shared ? p->uuid : NULL);

	if (err)
		pr_warn("tmem: the host has no pool %u for the page cache: error %d\n", pool, err);
	WRITE_ONCE(p->granted, !err);
	return err;
}

/* A page cache without a pool costs hits: no reason to be without the host. */
static void cache_pools_create(void)
{
	enum tmem_pool pool;

	for (pool = TMEM_POOL_CACHE; pool < TMEM_POOL_COUNT; pool++) {
		if (host.pools[pool].open)
			cache_pool_create(pool);
	}
}

int tmem_pool_open(enum tmem_pool pool, const u8 uuid[16])
{
	struct host_pool *p = &host.pools[pool];
	int err = -ENODEV;

	mutex_lock(&session_lock);
	p->open = true;
	p->shared = uuid;
	if (uuid)
		memcpy(p->uuid, uuid, sizeof(p->uuid));
	if (host.ready)
		err = cache_pool_create(pool);
	mutex_unlock(&session_lock);
	return err;
}

void tmem_pool_close(enum tmem_pool pool)
{
	mutex_lock(&session_lock);
	host.pools[pool].open = false;
	WRITE_ONCE(host.pools[pool].granted, false);
	if (host.ready && pool_call(TMEMP_OP_POOL_DESTROY, pool, 0, NULL))
		pr_warn("tmem: the host did not confirm that it dropped pool %u\n", pool);
	mutex_unlock(&session_lock);
}

bool tmem_pool_granted(enum tmem_pool pool)
{
	return READ_ONCE(host.pools[pool].granted);
}

/* HELLO, then the pools: the transport's queues are running. */
static int session_open_locked(void)
{
	int err = host_hello();

	if (!err)
		err = pool_call(TMEMP_OP_POOL_CREATE, TMEM_POOL_SWAP, TMEMP_POOL_PERSISTENT, NULL);
	if (err)
		return err;
	cache_pools_create();
	WRITE_ONCE(host.ready, true);
	return 0;
}

static void renew_work(struct work_struct *work)
{
	int err = 0;

	mutex_lock(&session_lock);
	if (host.transport) {
		pr_warn("tmem: the host does not know this session any more: saying HELLO again\n");
		WRITE_ONCE(host.ready, false);
		err = session_open_locked();
		if (err)
			pr_warn("tmem: the session could not be renewed: error %d\n", err);
	}
	WRITE_ONCE(host.renewed_ns, ktime_get_ns());
	clear_bit(RENEWING, &host.flags);
	if (err)
		queue_delayed_work(host.worker, &renew, RENEW_SECONDS * HZ);
	mutex_unlock(&session_lock);
	wake_up_all(&renewed);
}

static void host_stop_locked(void)
{
	struct tmem_transport *t = host.transport;

	WRITE_ONCE(host.ready, false);
	tmem_queues_stop();
	t->ops->reset(t);
	tmem_queues_drop();
	host.transport = NULL;
}

static int host_start_locked(struct tmem_transport *t)
{
	t->queues = min(t->queues, host.queues_most);
	if (t->queues < host.queues) {
		pr_err("tmem: %s has %u queues, %u are in use\n", t->name, t->queues, host.queues);
		return -EINVAL;
	}
	WRITE_ONCE(host.queues, host.queues ? host.queues : t->queues);
	host.transport = t;
	tmem_queues_start(t);
	return session_open_locked();
}

int tmem_host_attach(struct tmem_transport *t)
{
	int err = -EBUSY;

	mutex_lock(&session_lock);
	if (host.transport) {
		t->ops->reset(t);
		goto out;
	}
	err = host_start_locked(t);
	if (!err) {
		WRITE_ONCE(host.number, host.number + 1);
		pr_info("tmem: host attached by %s, %u queues\n", t->name, host.queues);
	} else if (host.transport) {
		host_stop_locked();
	} else {
		t->ops->reset(t);
	}
out:
	mutex_unlock(&session_lock);
	return err;
}

void tmem_host_detach(struct tmem_transport *t)
{
	mutex_lock(&session_lock);
	if (host.transport == t) {
		host_stop_locked();
		pr_info("tmem: host detached\n");
	}
	mutex_unlock(&session_lock);
}

void tmem_host_forget(void)
{
	mutex_lock(&session_lock);
	if (host.ready) {
		WRITE_ONCE(host.ready, false);
		if (pool_call(TMEMP_OP_POOL_DESTROY, TMEM_POOL_SWAP, 0, NULL))
			pr_warn("tmem: the host did not confirm that it dropped this guest's pages\n");
	}
	mutex_unlock(&session_lock);
}

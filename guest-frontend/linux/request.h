/* SPDX-License-Identifier: GPL-2.0 */
/*
 * request.h - the session with the host, and requests about one page.
 */
#ifndef TMEM_REQUEST_H
#define TMEM_REQUEST_H

#include "slot.h"

/* The module's pools, by their number on the wire. */
enum tmem_pool {
	TMEM_POOL_SWAP,		/* persistent: the swap device's */
	TMEM_POOL_CACHE,	/* ephemeral: the first of those for file systems */
	TMEM_POOL_COUNT = TMEMP_MAX_POOLS
};

/* Which page; host byte order. */
struct tmem_key {
	enum tmem_pool pool;
	u32 index;
	u64 oid[TMEMP_OID_WORDS];
	u64 tag;	/* stored by a put, checked after a get */
};

/* How a put ended. */
enum tmem_put_result {
	TMEM_PUT_TAKEN,		/* the host has the page */
	TMEM_PUT_REFUSED,	/* it has none under that key, not an older one either */
	TMEM_PUT_DOUBTFUL,	/* it may have this page, an older one or none */
};

/* How a get ended. */
enum tmem_get_result {
	TMEM_GET_PAGE,		/* slot->page is the page that was put with the tag */
	TMEM_GET_MISS,		/* the host has none, or one with another tag */
	TMEM_GET_FAILED,	/* no answer, or none that says */
	TMEM_GET_AGAIN,		/* nothing happened: the session is being renewed */
};

/* -ENOMEM. */
int  tmem_host_init(unsigned int queues);

/* Every host is detached. */
void tmem_host_exit(void);

/*
 * Open a session over t, which must be running.  Waits, bounded.  -EBUSY: there
 * is a host already; -EPROTO: it speaks another protocol; -ETIMEDOUT, -EIO.
 * On failure the transport was reset.
 */
int  tmem_host_attach(struct tmem_transport *t);

/* The transport goes; it is reset here.  Every waiter is answered. */
void tmem_host_detach(struct tmem_transport *t);

/* Give everything the host holds for this guest back.  Waits, bounded. */
void tmem_host_forget(void);

/*
 * Park a request that the host completes when it wants something, with how the
 * last drain went.  NULL: no host, or no slot.  Does not wait.
 */
struct tmem_slot *tmem_event_park(u32 drain_result, u64 drain_left);

/* True: completed or lost, *events is what the host wants, the slot is released. */
bool tmem_event_poll(struct tmem_slot *slot, u64 *events);

bool tmem_host_ready(void);

/*
 * Have an ephemeral pool at this host and every later one; uuid names it where it is
 * shared, else it is NULL.  -ENODEV: there is no host now, later ones will be asked;
 * else how the host failed, which is asked again when it is attached again.
 * Sleeps, bounded.
 */
int  tmem_pool_open(enum tmem_pool pool, const u8 uuid[16]);

/* Have it no longer.  Sleeps, bounded. */
void tmem_pool_close(enum tmem_pool pool);

/* Whether the host gave this guest that one. */
bool tmem_pool_granted(enum tmem_pool pool);

/*
 * Which host this is: another number after each attach and where a host came back
 * without what it had.  0: there was none.
 */
unsigned long tmem_host_number(void);
unsigned int tmem_host_queues(void);		/* in use; 0 before the first host */
unsigned int tmem_host_queues_wanted(void);	/* the most a transport can be given */

/*
 * A slot on the queue that key's object belongs to; NULL: none, or no host.  With
 * TMEM_WAIT a session that is being renewed is waited for as well.
 */
struct tmem_slot *tmem_request_begin(const struct tmem_key *key, enum tmem_patience patience);

/*
 * Fill in the request and queue it; requests on one object take effect in the order
 * of these calls.  On an error the slot is released and nothing was sent.  Any
 * context.
 *
 * With a call its owner is told of the end, and must attend to the slot's queue
 * after the last of what it submits together; see slot.h.  Without one (NULL) the
 * slot must be waited for.  Several may be, one after the other: but who holds
 * submitted slots must not wait for another slot, so only the first of them may be
 * begun with TMEM_WAIT.
 */
int  tmem_put_submit(struct tmem_slot *slot, const struct tmem_key *key,
		     const struct tmem_call *call);
int  tmem_get_submit(struct tmem_slot *slot, const struct tmem_key *key,
		     const struct tmem_call *call);

/*
 * The same for requests that nobody waits for.  lost: told, with NULL, if the ring
 * went away before the host executed it; may be NULL.
 */
int  tmem_put_post(struct tmem_slot *slot, const struct tmem_key *key);
int  tmem_flush_object_post(struct tmem_slot *slot, const struct tmem_key *key);	/* all its pages */
int  tmem_flush_post(struct tmem_slot *slot, const struct tmem_key *key,
		     const struct tmem_call *lost);

/* Flush an object and wait, bounded.  0: the host has done it. */
int  tmem_flush_object(const struct tmem_key *key);

/* What an answer came to; slot NULL: there was none.  The slot stays the caller's. */
enum tmem_put_result tmem_put_result(const struct tmem_slot *slot);
enum tmem_get_result tmem_get_result(const struct tmem_slot *slot, u64 tag);

/*
 * Wait for an answer, bounded.  Unless it is TMEM_GET_PAGE, when the slot is the
 * caller's to release, the slot is gone.
 */
enum tmem_get_result tmem_get_wait(struct tmem_slot *slot, u64 tag);

#endif

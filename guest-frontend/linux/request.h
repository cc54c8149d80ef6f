/* SPDX-License-Identifier: GPL-2.0 */
/*
 * request.h - the session with the host, and requests about one page.
 */
#ifndef TMEM_REQUEST_H
#define TMEM_REQUEST_H

#include "slot.h"

#define TMEM_SWAP_POOL	0u	/* the module's one pool: persistent, the swap device's */

/* Which page; host byte order. */
struct tmem_key {
	u64 object;
	u32 index;
	u64 tag;	/* stored by a put, checked after a get; else 0 */
};

/* How a put ended. */
enum tmem_put_result {
	TMEM_PUT_TAKEN,		/* the host has the page */
	TMEM_PUT_REFUSED,	/* it has none under that key, not an older one either */
	TMEM_PUT_DOUBTFUL,	/* it may have this page, an older one or none */
};

void tmem_host_init(unsigned int queues);

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

/* The epoch of the host that was attached last; 0: there was none. */
u64  tmem_host_epoch(void);
unsigned int tmem_host_queues(void);		/* in use; 0 before the first host */
unsigned int tmem_host_queues_wanted(void);	/* the most a transport can be given */

/* A slot on the queue that an object belongs to; NULL: none, or no host. */
struct tmem_slot *tmem_request_begin(u64 object, enum tmem_patience patience);

/*
 * Fill in the request and queue it; requests on one key take effect in the order
 * of these calls.  On an error the slot is released and nothing was sent.  Any
 * context.  Put and get must then be waited for; a flush is not.
 */
int  tmem_put_submit(struct tmem_slot *slot, const struct tmem_key *key);
int  tmem_get_submit(struct tmem_slot *slot, const struct tmem_key *key);
int  tmem_flush_submit(struct tmem_slot *slot, const struct tmem_key *key);

/* Wait, bounded.  The slot is released, or left to the host. */
enum tmem_put_result tmem_put_wait(struct tmem_slot *slot);

/*
 * Wait, bounded.  True: slot->page holds the page that was put with key's tag, and
 * the slot is the caller's to release.  False: it is not there, and neither is the slot.
 */
bool tmem_get_wait(struct tmem_slot *slot, const struct tmem_key *key);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * slot.h - queues, and the slots that requests travel in.
 */
#ifndef TMEM_SLOT_H
#define TMEM_SLOT_H

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "tmemp.h"
#include "transport.h"

#define TMEM_QUEUES_MAX	16u	/* a swap device has no more objects to spread */
#define TMEM_SLOTS	64u	/* a queue; three descriptors each fit a ring of 256 */

/*
 *   FREE --acquire--> HELD --submit--> POSTED  --complete--> FREE
 *    ^                 |  '--submit--> AWAITED --complete--> DONE --wait--> HELD
 *    '-----release-----'                  '-----time out---> OVERDUE --complete--> FREE
 *
 * The host may write to a slot's buffers while it is POSTED, AWAITED or
 * OVERDUE, and at no other time.
 */
enum tmem_slot_state {
	TMEM_SLOT_FREE,		/* in its queue's list */
	TMEM_SLOT_HELD,		/* a caller's; not in the ring */
	TMEM_SLOT_POSTED,	/* in the ring; nobody waits */
	TMEM_SLOT_AWAITED,	/* in the ring; its caller waits */
	TMEM_SLOT_DONE,		/* answered; its caller has not looked yet */
	TMEM_SLOT_OVERDUE,	/* in the ring; its caller gave up */
};

/* How the page crosses; what the chain of TMEMP_OP_PUT, _GET and the rest needs. */
enum tmem_page_way { TMEM_PAGE_NONE, TMEM_PAGE_OUT, TMEM_PAGE_IN };

/* One request on its way.  Its caller's while HELD, else under the queue's lock. */
struct tmem_slot {
	struct tmem_queue	*queue;		/* constant */
	struct tmemp_request	*request;	/* shared with the host */
	struct tmemp_response	*response;	/* shared with the host */
	void			*page;		/* shared with the host; TMEMP_PAGE_SIZE bytes */
	enum tmem_page_way	way;
	enum tmem_slot_state	state;
	struct tmemp_response	answer;		/* private copy; valid once waited for */
	u32			written;	/* bytes, as the host says */
	struct completion	done;
	struct list_head	entry;
};

/*
 * A queue: one ring and its slots.
 *
 *   TMEM_SLOTS = FREE + HELD + POSTED + AWAITED + DONE + OVERDUE
 *   busy       = TMEM_SLOTS - FREE
 *   overdue    = slots that are OVERDUE
 *   transport  = NULL  =>  the ring is not touched
 *
 * All fields are protected by lock, which is taken with interrupts off and is
 * the innermost of the module.
 */
struct tmem_queue {
	spinlock_t		lock;
	unsigned int		index;		/* constant */
	struct tmem_transport	*transport;
	struct tmem_slot	*slots;		/* TMEM_SLOTS of them; constant */
	struct list_head	free;
	unsigned int		busy;
	unsigned int		overdue;
	unsigned int		sleepers;	/* tasks that need the interrupt */
	unsigned int		spin_ns;	/* how long a caller polls before it sleeps */
	wait_queue_head_t	room;		/* waits for a slot to be free */
};

enum tmem_patience {
	TMEM_NOWAIT,	/* a slot at once or none; any context */
	TMEM_OFFER,	/* waits for a slot, but none while the host is overdue */
	TMEM_NEED,	/* waits for a slot, bounded */
};

int  tmem_queues_create(unsigned int *count);
void tmem_queues_destroy(void);
struct tmem_queue *tmem_queue_at(unsigned int index);

/* Give the first t->queues queues to t. */
void tmem_queues_start(struct tmem_transport *t);

/* After this no caller enters the transport.  Slots in the ring stay there. */
void tmem_queues_stop(void);

/* The ring is no more: free or fail every slot that was in it.  Only after reset. */
void tmem_queues_drop(void);

/* Whether any queue waits for a host that gave no answer in time. */
unsigned int tmem_queues_overdue(void);

/* A slot that is the caller's, or NULL. */
struct tmem_slot *tmem_slot_acquire(struct tmem_queue *q, enum tmem_patience patience);

/*
 * Put a HELD slot on its ring.  On success it is no longer the caller's; one
 * that is to be awaited must be waited for.  -ENODEV, -EIO: still the
 * caller's.  Any context.
 */
int  tmem_slot_submit(struct tmem_slot *slot, bool awaited);

/*
 * Wait for the answer of an awaited slot, at most the module's bound.  True:
 * the slot is the caller's again, with its answer.  False: there was none, and
 * the slot is gone.
 */
bool tmem_slot_wait(struct tmem_slot *slot);

/* Whether the answer of an awaited slot is there; if so it is the caller's again. */
bool tmem_slot_poll(struct tmem_slot *slot);

void tmem_slot_release(struct tmem_slot *slot);

/* The transport's interrupt for a queue.  Any context. */
void tmem_queue_interrupt(unsigned int index);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * slot.h - queues, and the slots that requests travel in.
 */
#ifndef TMEM_SLOT_H
#define TMEM_SLOT_H

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>

#include "stats.h"
#include "tmemp.h"
#include "transport.h"

#define TMEM_QUEUES_MAX	16u	/* a swap device has no more objects to spread */
#define TMEM_SLOTS	64u	/* a queue; three descriptors each fit a ring of 256 */

/*
 *   FREE --acquire--> HELD --submit--> POSTED  --complete--> FREE
 *    ^                 |  |'-submit--> AWAITED --complete--> DONE --wait--> HELD
 *    |                 |  '--submit--> CALLED  --complete--> ANSWERED --call--> HELD
 *    '-----release-----'       AWAITED, CALLED --time out--> OVERDUE --complete--> FREE
 *
 * The host may write to a slot's buffers while it is POSTED, AWAITED, CALLED or
 * OVERDUE, and at no other time.
 */
enum tmem_slot_state {
	TMEM_SLOT_FREE,		/* in its queue's list */
	TMEM_SLOT_HELD,		/* a caller's; not in the ring */
	TMEM_SLOT_POSTED,	/* in the ring; nobody waits */
	TMEM_SLOT_AWAITED,	/* in the ring; its caller waits */
	TMEM_SLOT_CALLED,	/* in the ring; its owner is called back */
	TMEM_SLOT_DONE,		/* answered; its caller has not looked yet */
	TMEM_SLOT_ANSWERED,	/* in its queue's list of those to call back for */
	TMEM_SLOT_OVERDUE,	/* in the ring; its caller gave up */
};

/* How the page crosses; what the chain of TMEMP_OP_PUT, _GET and the rest needs. */
enum tmem_page_way { TMEM_PAGE_NONE, TMEM_PAGE_OUT, TMEM_PAGE_IN };

/*
 * Whom to tell of a request's end.  done is called once, from any context, with no
 * lock of the module held, and does not sleep.  CALLED: the slot is done's, with its
 * answer; NULL: there was none in time, or the ring is gone.  POSTED: only if the
 * ring went away with the request in it, with NULL.
 */
struct tmem_call {
	void (*done)(const struct tmem_call *call, struct tmem_slot *slot);
	void *owner;	/* these three are the caller's */
	void *cookie;
	u64 tag;
};

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
	bool			brief;		/* OVERDUE: it was waited for briefly */
	enum tmem_counter	failed;		/* POSTED: counts it if the answer is not OK */
	struct completion	done;		/* AWAITED */
	struct tmem_call	call;		/* CALLED, POSTED; .done is NULL where nobody is told */
	u64			submitted_ns;	/* ktime */
	unsigned long		deadline;	/* CALLED; jiffies */
	struct list_head	entry;
};

/*
 * A queue: one ring and its slots.
 *
 *   TMEM_SLOTS = FREE + HELD + POSTED + AWAITED + CALLED + DONE + ANSWERED + OVERDUE
 *   busy       = TMEM_SLOTS - FREE
 *   called     = slots that are CALLED
 *   overdue    = slots that are OVERDUE and not brief
 *   tardy      = slots that are OVERDUE and brief
 *   transport  = NULL  =>  the ring is not touched
 *   called, overdue or tardy  =>  watch is pending, or there is no transport
 *   expecting          =>  called
 *   an ANSWERED slot   =>  somebody who polls, the interrupt or watch calls back for it
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
	struct list_head	answered;	/* in the order of their answers */
	unsigned int		busy;
	unsigned int		called;
	unsigned int		overdue;
	unsigned int		tardy;
	unsigned int		sleepers;	/* tasks that need the interrupt */
	bool			expecting;	/* so do CALLED slots */
	unsigned int		spin_ns;	/* how long a caller polls before it sleeps */
	wait_queue_head_t	room;		/* waits for a slot to be free */
	struct timer_list	watch;		/* rings again, gives up, sees an overdue host come back */
};

enum tmem_patience {
	TMEM_NOWAIT,	/* a slot at once or none; any context */
	TMEM_BRIEF,	/* the same, but none while the host is overdue or tardy */
	TMEM_SPARE,	/* the same, and half of them are left to others */
	TMEM_WAIT,	/* waits for a slot, bounded; none while the host is overdue */
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
 * Put a HELD slot on its ring, where it is then POSTED, AWAITED or CALLED.  On
 * success it is no longer the caller's; one that is AWAITED must be waited for, one
 * that is CALLED attended to (below).  call: copied; NULL: nobody is told.  -ENODEV,
 * -EIO: still the caller's.  Any context.
 */
int  tmem_slot_submit(struct tmem_slot *slot, enum tmem_slot_state state,
		      const struct tmem_call *call);

/*
 * After the last of some CALLED submissions: poll for their answers for a while, or
 * do not, and leave the rest to the interrupt.  Does not sleep.  Answers that are
 * there are called back for by whoever sees them first, the caller of this included.
 */
void tmem_queue_attend(struct tmem_queue *q, bool poll);

/*
 * Wait for the answer of an awaited slot, at most the module's bound.  True:
 * the slot is the caller's again, with its answer.  False: there was none, and
 * the slot is gone.
 */
bool tmem_slot_wait(struct tmem_slot *slot);

/*
 * The same, until ktime_get_ns() is deadline_ns, within a jiffy.  A host that is
 * late for this is tardy, which says nothing to those who wait for longer.
 */
bool tmem_slot_wait_until(struct tmem_slot *slot, u64 deadline_ns);

/* Whether the answer of an awaited slot is there; if so it is the caller's again. */
bool tmem_slot_poll(struct tmem_slot *slot);

void tmem_slot_release(struct tmem_slot *slot);

/* The transport's interrupt for a queue.  Any context. */
void tmem_queue_interrupt(unsigned int index);

#endif

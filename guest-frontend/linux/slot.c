// SPDX-License-Identifier: GPL-2.0
/*
 * slot.c - queues of preallocated slots, and waiting for an answer.
 *
 * Owns:     every buffer the host may write to, and the time a caller waits.
 * How:      a slot is request, response and page, allocated once.  A caller
 *           copies into it and out of it; the page being swapped is never
 *           shown to the host.  So a caller may give up on a slot at any time:
 *           the slot stays in the ring, OVERDUE, until the host completes it or
 *           the transport was reset, and a host that wakes up late writes into
 *           nothing that matters.
 *           An owner who does not want to wait for each request is called back
 *           (CALLED): it submits many, then attends to their queue once.
 *           A caller polls for a while before it sleeps or leaves the rest to the
 *           interrupt.  The while adapts: it grows when the answer came soon
 *           after it was over, and shrinks when polling was in vain.  Interrupts
 *           are armed only while somebody sleeps or slots are left to them.  Once
 *           a second a sleeper, or the watch of a queue with CALLED or OVERDUE
 *           slots, rings the doorbell again, which heals a notification lost in
 *           either direction.
 *           While a slot of a queue is OVERDUE its host counts as absent, and who
 *           could wait is turned away at once: a host that was killed costs one
 *           wait, not one a page.  The watch sees it come back.
 * Must not: know what a request means; allocate after tmem_queues_create.
 *
 * Callbacks are made without a lock, from a list of those that are due, since who
 * reaps may hold the very locks that a callback takes.  So the thread that took an
 * answer from the ring is not always the one that calls back for it.
 *
 * Tear-down is in two phases.  tmem_queues_stop takes the transport away under
 * each queue's lock; every use of it is under that lock and looks first, so
 * afterwards nobody is in it or will be.  Then the transport is reset and the
 * host lets go of the buffers.  Only then does tmem_queues_drop touch the slots
 * that were in the ring.  Queues and slots themselves outlive every transport,
 * so a caller that still holds one holds nothing stale.
 */
#include <linux/cache.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "compat.h"
#include "slot.h"
#include "stats.h"

#define NUDGE_MS	1000u	/* a sleeper's doorbell */
#define SPIN_FIRST_NS	2000u	/* smallest time worth polling */

static unsigned int timeout_ms = 30000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "longest wait for the host before an operation fails; longer than a daemon takes to restart");

static unsigned int poll_us = 50;
module_param(poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us, "longest time to poll for an answer before sleeping; 0: never poll");

/* What the host sees of a slot beside its page; each part in cache lines of its own. */
struct slot_wire {
	struct tmemp_request request ____cacheline_aligned;
	struct tmemp_response response ____cacheline_aligned;
};

static struct tmem_queue *queues;
static unsigned int queue_count;

struct tmem_queue *tmem_queue_at(unsigned int index)
{
	return &queues[index];
}

/* ---- slots in the ring --------------------------------------------------- */

static void slot_free_locked(struct tmem_queue *q, struct tmem_slot *slot)
{
	slot->state = TMEM_SLOT_FREE;
	q->busy--;
	list_add(&slot->entry, &q->free);
	wake_up(&q->room);
}

static void called_less_locked(struct tmem_queue *q)
{
	if (!--q->called)
		q->expecting = false;
}

/* Which count of its queue an OVERDUE slot is in. */
static unsigned int *slot_late_count(struct tmem_slot *slot)
{
	return slot->brief ? &slot->queue->tardy : &slot->queue->overdue;
}

/* The host is done with slot.  The response is read once, here. */
static void slot_answered_locked(struct tmem_queue *q, struct tmem_slot *slot, u32 written)
{
	slot->written = written;
	memcpy(&slot->answer, slot->response, sizeof(slot->answer));

	switch (slot->state) {
	case TMEM_SLOT_AWAITED:
		slot->state = TMEM_SLOT_DONE;
		complete(&slot->done);
		break;
	case TMEM_SLOT_CALLED:
		slot->state = TMEM_SLOT_ANSWERED;
		list_add_tail(&slot->entry, &q->answered);
		called_less_locked(q);
		break;
	case TMEM_SLOT_OVERDUE:
		--*slot_late_count(slot);
		tmem_count(TMEM_LATE);
		slot_free_locked(q, slot);
		break;
	case TMEM_SLOT_POSTED:
		if (written < sizeof(slot->answer) || slot->answer.status != cpu_to_le32(TMEMP_OK))
			tmem_count(slot->failed);
		slot_free_locked(q, slot);
		break;
	default:
		WARN_ONCE(1, "tmem: completion of a slot in state %d\n", slot->state);
	}
}

static void queue_reap_locked(struct tmem_queue *q)
{
	struct tmem_transport *t = q->transport;
	struct tmem_slot *slot;
	u32 written;

	while (t && (slot = t->ops->complete(t, q->index, &written)))
		slot_answered_locked(q, slot, written);
}

/* Take what completed; leave the interrupt armed if and only if somebody needs it. */
static void queue_settle_locked(struct tmem_queue *q)
{
	struct tmem_transport *t = q->transport;

	if (!t)
		return;
	do {
		t->ops->disarm(t, q->index);
		queue_reap_locked(q);
	} while ((q->sleepers || q->expecting) && !t->ops->arm(t, q->index));
}

/*
 * The answer came ns after submission and polling missed it.  Had polling as
 * long as allowed caught it, poll longer; else poll less, down to nothing.  Two
 * callers may update at once and one update be lost, which costs nothing.
 */
static void queue_adapt(struct tmem_queue *q, u64 ns)
{
	unsigned int spin = READ_ONCE(q->spin_ns), limit = READ_ONCE(poll_us) * 1000u;

	if (ns < limit)
		spin = clamp(2 * spin, min(SPIN_FIRST_NS, limit), limit);
	else
		spin = spin / 2 < SPIN_FIRST_NS ? 0 : min(spin / 2, limit);
	WRITE_ONCE(q->spin_ns, spin);
}

static struct tmem_slot *answered_take(struct tmem_queue *q)
{
	struct tmem_slot *slot;
	unsigned long flags;

	if (list_empty(&q->answered))
		return NULL;
	spin_lock_irqsave(&q->lock, flags);
	slot = list_first_entry_or_null(&q->answered, struct tmem_slot, entry);
	if (slot) {
		list_del_init(&slot->entry);
		slot->state = TMEM_SLOT_HELD;
	}
	spin_unlock_irqrestore(&q->lock, flags);
	return slot;
}

/* Call back for what is answered.  polled: nobody had to be interrupted for it. */
static void queue_call_back(struct tmem_queue *q, bool polled)
{
	struct tmem_slot *slot;
	struct tmem_call call;

	while ((slot = answered_take(q))) {
		if (!polled)
			queue_adapt(q, ktime_get_ns() - slot->submitted_ns);
		tmem_count(polled ? TMEM_POLLED : TMEM_SLEPT);
		call = slot->call;
		call.done(&call, slot);
	}
}

void tmem_queue_interrupt(unsigned int index)
{
	struct tmem_queue *q = &queues[index];
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	queue_settle_locked(q);
	spin_unlock_irqrestore(&q->lock, flags);
	queue_call_back(q, false);
}

/* Change the number of sleepers; with change 0, ring the doorbell once more. */
static void queue_sleepers(struct tmem_queue *q, int change)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->sleepers += change;
	queue_settle_locked(q);
	if (!change && q->transport) {
		tmem_count(TMEM_NUDGES);
		q->transport->ops->notify(q->transport, q->index);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	queue_call_back(q, true);
}

/* ---- acquire, submit, release -------------------------------------------- */

/* Whether there is a slot for that patience that also fits the ring. */
static bool queue_room_locked(const struct tmem_queue *q, enum tmem_patience patience)
{
	unsigned int most = q->transport ? min(q->transport->depth, TMEM_SLOTS) : 0;

	return q->busy < (patience == TMEM_SPARE ? most / 2 : most);
}

/* Whether waiting for a slot is no use to that patience. */
static bool queue_hopeless_locked(const struct tmem_queue *q, enum tmem_patience patience)
{
	switch (patience) {
	case TMEM_BRIEF:
	case TMEM_SPARE:
		return !q->transport || q->overdue || q->tardy;
	case TMEM_WAIT:
		return !q->transport || q->overdue;
	default:
		return !q->transport;
	}
}

/* A free slot, or NULL; *hopeless says that waiting for one is no use. */
static struct tmem_slot *slot_take(struct tmem_queue *q, enum tmem_patience patience,
				   bool *hopeless)
{
	struct tmem_slot *slot = NULL;
	unsigned long flags;
	bool room;

	spin_lock_irqsave(&q->lock, flags);
	room = queue_room_locked(q, patience);
	if (!room || q->overdue || q->tardy) {
		queue_reap_locked(q);
		room = queue_room_locked(q, patience);
	}
	*hopeless = queue_hopeless_locked(q, patience);
	if (room && !*hopeless) {
		slot = list_first_entry(&q->free, struct tmem_slot, entry);
		list_del_init(&slot->entry);
		slot->state = TMEM_SLOT_HELD;
		q->busy++;
	}
	spin_unlock_irqrestore(&q->lock, flags);
	if (patience == TMEM_WAIT)
		queue_call_back(q, true);
	return slot;
}

struct tmem_slot *tmem_slot_acquire(struct tmem_queue *q, enum tmem_patience patience)
{
	unsigned int ms, left_ms = READ_ONCE(timeout_ms);
	struct tmem_slot *slot;
	bool hopeless;

	slot = slot_take(q, patience, &hopeless);
	if (slot || hopeless || patience != TMEM_WAIT)
		return slot;

	queue_sleepers(q, 1);
	for (; left_ms; left_ms -= ms) {
		ms = min(NUDGE_MS, left_ms);
		if (wait_event_timeout(q->room,
				       (slot = slot_take(q, patience, &hopeless)) || hopeless,
				       msecs_to_jiffies(ms)))
			break;
		queue_sleepers(q, 0);
	}
	queue_sleepers(q, -1);
	return slot;
}

void tmem_slot_release(struct tmem_slot *slot)
{
	struct tmem_queue *q = slot->queue;
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	slot_free_locked(q, slot);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* The next look at a queue whose slots are CALLED or OVERDUE; the earliest deadline is `at`. */
static void queue_watch_locked(struct tmem_queue *q, unsigned long at)
{
	unsigned long nudge = jiffies + msecs_to_jiffies(NUDGE_MS);

	mod_timer(&q->watch, time_before(at, nudge) ? at : nudge);
}

static void slot_overdue_locked(struct tmem_queue *q, struct tmem_slot *slot, bool brief)
{
	slot->state = TMEM_SLOT_OVERDUE;
	slot->brief = brief;
	++*slot_late_count(slot);
	tmem_count(brief ? TMEM_TARDY : TMEM_TIMEOUTS);
	if (!timer_pending(&q->watch))
		queue_watch_locked(q, jiffies + MAX_JIFFY_OFFSET);
}

static void slot_call_later_locked(struct tmem_queue *q, struct tmem_slot *slot)
{
	slot->deadline = jiffies + msecs_to_jiffies(READ_ONCE(timeout_ms));
	q->called++;
	if (!timer_pending(&q->watch))
		queue_watch_locked(q, slot->deadline);
}

int tmem_slot_submit(struct tmem_slot *slot, enum tmem_slot_state state,
		     const struct tmem_call *call)
{
	struct tmem_queue *q = slot->queue;
	struct tmem_transport *t;
	unsigned long flags;
	int err = -ENODEV;

	memset(slot->response, 0, sizeof(*slot->response));
	slot->response->status = cpu_to_le32(TMEMP_STATUS_NONE);
	slot->submitted_ns = ktime_get_ns();
	slot->call = call ? *call : (struct tmem_call){};
	reinit_completion(&slot->done);

	spin_lock_irqsave(&q->lock, flags);
	t = q->transport;
	if (t)
		err = t->ops->submit(t, q->index, slot);
	if (!err) {
		slot->state = state;
		if (state == TMEM_SLOT_CALLED)
			slot_call_later_locked(q, slot);
		t->ops->notify(t, q->index);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	return err;
}

/* ---- waiting for an answer ----------------------------------------------- */

/*
 * Poll for a while: for the answer of slot, or where that is NULL for those of all
 * CALLED ones.  Many may: whoever gets the lock reaps for all.
 */
static bool queue_spin(struct tmem_queue *q, struct tmem_slot *slot)
{
	u64 start = ktime_get_ns();
	unsigned int ns = READ_ONCE(q->spin_ns);
	unsigned long flags;

	do {
		if (spin_trylock_irqsave(&q->lock, flags)) {
			queue_reap_locked(q);
			spin_unlock_irqrestore(&q->lock, flags);
		}
		queue_call_back(q, true);
		if (slot ? completion_done(&slot->done) : !READ_ONCE(q->called))
			return true;
		cpu_relax();
	} while (ktime_get_ns() - start < ns);
	return false;
}

void tmem_queue_attend(struct tmem_queue *q, bool poll)
{
	unsigned long flags;

	if (poll)
		queue_spin(q, NULL);
	spin_lock_irqsave(&q->lock, flags);
	if (q->called) {
		q->expecting = true;
		queue_settle_locked(q);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	queue_call_back(q, true);
}

static void slot_sleep(struct tmem_slot *slot, unsigned int left_ms)
{
	struct tmem_queue *q = slot->queue;
	unsigned int ms;

	queue_sleepers(q, 1);
	for (; left_ms; left_ms -= ms) {
		ms = min(NUDGE_MS, left_ms);
		if (wait_for_completion_timeout(&slot->done, msecs_to_jiffies(ms)))
			break;
		queue_sleepers(q, 0);
	}
	queue_sleepers(q, -1);
}

static void slot_wait(struct tmem_slot *slot, unsigned int ms)
{
	struct tmem_queue *q = slot->queue;

	if (queue_spin(q, slot)) {
		tmem_count(TMEM_POLLED);
	} else {
		slot_sleep(slot, ms);
		queue_adapt(q, ktime_get_ns() - slot->submitted_ns);
		tmem_count(TMEM_SLEPT);
	}
}

/*
 * The caller waits no longer.  True: the slot is its again.  An answer may be there
 * that nobody has seen yet, where this guest did not run.
 */
static bool slot_wait_end(struct tmem_slot *slot, bool brief)
{
	struct tmem_queue *q = slot->queue;
	unsigned long flags;
	bool answered;

	spin_lock_irqsave(&q->lock, flags);
	if (slot->state == TMEM_SLOT_AWAITED)
		queue_reap_locked(q);
	answered = slot->state == TMEM_SLOT_DONE;
	if (answered)
		slot->state = TMEM_SLOT_HELD;
	else
		slot_overdue_locked(q, slot, brief);
	spin_unlock_irqrestore(&q->lock, flags);
	return answered;
}

bool tmem_slot_wait(struct tmem_slot *slot)
{
	slot_wait(slot, READ_ONCE(timeout_ms));
	return slot_wait_end(slot, false);
}

bool tmem_slot_wait_until(struct tmem_slot *slot, u64 deadline_ns)
{
	u64 now = ktime_get_ns();

	if (now < deadline_ns)
		slot_wait(slot, div_u64(deadline_ns - now, NSEC_PER_MSEC) + 1);
	return slot_wait_end(slot, true);
}

bool tmem_slot_poll(struct tmem_slot *slot)
{
	struct tmem_queue *q = slot->queue;
	unsigned long flags;
	bool answered;

	spin_lock_irqsave(&q->lock, flags);
	queue_reap_locked(q);
	answered = slot->state == TMEM_SLOT_DONE;
	if (answered)
		slot->state = TMEM_SLOT_HELD;
	spin_unlock_irqrestore(&q->lock, flags);
	queue_call_back(q, true);
	return answered;
}

/* ---- the watch ----------------------------------------------------------- */

/* Give up on one slot whose time is over; its call in *call.  False: there is none. */
static bool slot_expire(struct tmem_queue *q, struct tmem_call *call)
{
	unsigned long flags;
	bool found = false;
	unsigned int i;

	spin_lock_irqsave(&q->lock, flags);
	for (i = 0; i < TMEM_SLOTS && !found; i++) {
		struct tmem_slot *slot = &q->slots[i];

		if (slot->state != TMEM_SLOT_CALLED || time_before(jiffies, slot->deadline))
			continue;
		found = true;
		*call = slot->call;
		called_less_locked(q);
		slot_overdue_locked(q, slot, false);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	return found;
}

static unsigned long queue_deadline_locked(const struct tmem_queue *q)
{
	unsigned long first = jiffies + MAX_JIFFY_OFFSET;
	unsigned int i;

	for (i = 0; i < TMEM_SLOTS; i++) {
		if (q->slots[i].state == TMEM_SLOT_CALLED &&
		    time_before(q->slots[i].deadline, first))
			first = q->slots[i].deadline;
	}
	return first;
}

static bool queue_watched_locked(const struct tmem_queue *q)
{
	return q->transport && (q->called || q->overdue || q->tardy);
}

/* Slots that nobody attends to yet are left to the interrupt from here on. */
static void queue_watch(struct timer_list *timer)
{
	struct tmem_queue *q = container_of(timer, struct tmem_queue, watch);
	struct tmem_call call;
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->expecting = q->called > 0;
	queue_settle_locked(q);
	if (queue_watched_locked(q)) {
		tmem_count(TMEM_NUDGES);
		q->transport->ops->notify(q->transport, q->index);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	queue_call_back(q, false);

	while (slot_expire(q, &call))
		call.done(&call, NULL);

	spin_lock_irqsave(&q->lock, flags);
	if (queue_watched_locked(q))
		queue_watch_locked(q, queue_deadline_locked(q));
	spin_unlock_irqrestore(&q->lock, flags);
}

/* ---- a transport comes and goes ------------------------------------------ */

void tmem_queues_start(struct tmem_transport *t)
{
	unsigned int i;

	for (i = 0; i < t->queues; i++) {
		spin_lock_irq(&queues[i].lock);
		queues[i].transport = t;
		spin_unlock_irq(&queues[i].lock);
	}
}

void tmem_queues_stop(void)
{
	unsigned int i;

	for (i = 0; i < queue_count; i++) {
		spin_lock_irq(&queues[i].lock);
		queues[i].transport = NULL;
		wake_up(&queues[i].room);
		spin_unlock_irq(&queues[i].lock);
	}
}

/* True: call is to be told, with the slot gone. */
static bool slot_drop(struct tmem_queue *q, struct tmem_slot *slot, struct tmem_call *call)
{
	unsigned long flags;
	bool tell = false;

	spin_lock_irqsave(&q->lock, flags);
	switch (slot->state) {
	case TMEM_SLOT_AWAITED:
		slot->written = 0;
		slot->answer.status = cpu_to_le32(TMEMP_STATUS_NONE);
		slot->state = TMEM_SLOT_DONE;
		complete(&slot->done);
		break;
	case TMEM_SLOT_OVERDUE:
		--*slot_late_count(slot);
		slot_free_locked(q, slot);
		break;
	case TMEM_SLOT_POSTED:
		tmem_count(TMEM_POSTS_FAILED);
		*call = slot->call;
		tell = call->done;
		slot_free_locked(q, slot);
		break;
	case TMEM_SLOT_CALLED:
		called_less_locked(q);
		*call = slot->call;
		tell = true;
		slot_free_locked(q, slot);
		break;
	default:
		break;
	}
	spin_unlock_irqrestore(&q->lock, flags);
	return tell;
}

void tmem_queues_drop(void)
{
	struct tmem_call call;
	unsigned int i, j;

	for (i = 0; i < queue_count; i++) {
		struct tmem_queue *q = &queues[i];

		queue_call_back(q, true);
		for (j = 0; j < TMEM_SLOTS; j++) {
			if (slot_drop(q, &q->slots[j], &call))
				call.done(&call, NULL);
		}
	}
}

unsigned int tmem_queues_overdue(void)
{
	unsigned int i, sum = 0;

	for (i = 0; i < queue_count; i++)
		sum += READ_ONCE(queues[i].overdue) + READ_ONCE(queues[i].tardy);
	return sum;
}

/* ---- creation ------------------------------------------------------------ */

static int slot_init(struct tmem_queue *q, struct tmem_slot *slot)
{
	struct slot_wire *wire = kzalloc(sizeof(*wire), GFP_KERNEL);

	if (!wire)
		return -ENOMEM;
	slot->request = &wire->request;
	slot->response = &wire->response;
	slot->page = (void *)get_zeroed_page(GFP_KERNEL);
	if (!slot->page)
		return -ENOMEM;
	slot->queue = q;
	init_completion(&slot->done);
	list_add(&slot->entry, &q->free);
	return 0;
}

static int queue_init(struct tmem_queue *q, unsigned int index)
{
	unsigned int i;
	int err = 0;

	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->free);
	INIT_LIST_HEAD(&q->answered);
	timer_setup(&q->watch, queue_watch, 0);
	init_waitqueue_head(&q->room);
	q->index = index;
	q->slots = kcalloc(TMEM_SLOTS, sizeof(*q->slots), GFP_KERNEL);
	if (!q->slots)
		return -ENOMEM;
	for (i = 0; i < TMEM_SLOTS && !err; i++)
		err = slot_init(q, &q->slots[i]);
	return err;
}

static void queue_free(struct tmem_queue *q)
{
	unsigned int i;

	/* One that was not initialised is of a queue that has no slots. */
	if (!q->slots)
		return;
	timer_delete_sync(&q->watch);
	for (i = 0; i < TMEM_SLOTS; i++) {
		struct tmem_slot *slot = &q->slots[i];

		free_page((unsigned long)slot->page);
		if (slot->request)
			kfree(container_of(slot->request, struct slot_wire, request));
	}
	kfree(q->slots);
}

int tmem_queues_create(unsigned int *count)
{
	unsigned int i;
	int err = 0;

	queue_count = clamp(*count, 1u, TMEM_QUEUES_MAX);
	queues = kcalloc(queue_count, sizeof(*queues), GFP_KERNEL);
	if (!queues)
		return -ENOMEM;
	for (i = 0; i < queue_count && !err; i++)
		err = queue_init(&queues[i], i);
	if (err)
		tmem_queues_destroy();
	*count = queue_count;
	return err;
}

/* No transport, no caller: the module goes, or never came. */
void tmem_queues_destroy(void)
{
	unsigned int i;

	for (i = 0; i < queue_count; i++)
		queue_free(&queues[i]);
	kfree(queues);
	queues = NULL;
	queue_count = 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * queue.c - slices, barriers, start and stop.
 *
 * Barrier.  A queue that meets HELLO, POOL_CREATE or POOL_DESTROY puts the
 * request back, notes how far every other queue is filled, and takes all locks.
 * It then serves the others up to those marks, at most a slice at a time: other
 * guests of this worker wait no longer for a barrier than for puts.  When the
 * marks are reached it reads its own request again (the guest may have changed
 * it: what is read now counts) and serves it.  The other workers go on draining
 * the same queues in between, which only helps.
 *
 * A barrier met while draining for another one is served in its place: of two
 * barriers that the guest did not order, one goes first.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "alarm.h"
#include "blame.h"
#include "fault.h"
#include "inflight.h"
#include "queue.h"

/*
 * All locks.  A ring can fail under its own lock alone, with an EVENT parked on
 * it; whoever comes here next lets go of it, before anything can change under
 * the pointers that the dead ring still has.
 */
static void set_lock(struct queue_set *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct queue *q = &set->queue[i];

		pthread_mutex_lock(&q->lock);
		if (!q->running && set->session.parked.ring == &q->ring)
			set->session.parked.ring = NULL;
	}
}

static void set_unlock(struct queue_set *set)
{
	for (unsigned i = set->count; i--;)
		pthread_mutex_unlock(&set->queue[i].lock);
}

static void queue_fail_locked(struct queue *q, const char *why)
{
	q->running = false;
	atomic_store(&q->fault, why);
	q->set->failed(q->set->failed_arg);
}

void queue_fail(struct queue *q, const char *why)
{
	pthread_mutex_lock(&q->lock);
	queue_fail_locked(q, why);
	pthread_mutex_unlock(&q->lock);
}

/* A guest that took its memory away gets this as the reason, not what followed. */
static void queue_broken_locked(struct queue *q, const char *why)
{
	if (memmap_is_cut(&q->set->mem))
		why = "guest memory file was cut while in use";
	queue_fail_locked(q, why);
}

static void interrupt_send_locked(struct queue *q)
{
	const uint64_t one = 1;
	ssize_t n;

	if (q->call < 0)
		return;
	/* A full pipe, socket or counter has an interrupt in it already: nothing is lost. */
	TMEM_FAULT("reply-untold");
	n = write(q->call, &one, sizeof(one));
	atomic_fetch_add_explicit(&q->interrupts, 1, memory_order_relaxed);
	if (n < 0 && errno == EINTR)
		queue_fail_locked(q, QUEUE_INTERRUPT_BLOCKS);
}

static void queue_interrupt_locked(struct queue *q)
{
	if (q->running && ring_interrupt_due(&q->ring))
		interrupt_send_locked(q);
}

void queue_release(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->held = false;
	if (q->running)
		interrupt_send_locked(q);
	pthread_mutex_unlock(&q->lock);
}

/* ---- serving ------------------------------------------------------------ */

enum step { STEP_SERVED, STEP_EMPTY, STEP_BARRIER };

static bool turn_is_over(const struct session_worker *w, unsigned left)
{
	return !left || w->spent_ns >= w->turn_ns;
}

/* All a turn may still do of the request that is unfinished, but one step at least. */
static void queue_go_on_locked(struct queue *q, struct session_worker *w)
{
	blame_set(q->ring.kept);
	do
		q->unfinished = !session_go_on(w, &q->ring, &q->rest, q->running);
	while (q->unfinished && !turn_is_over(w, 1));
	blame_set(NULL);
}

/* What was in flight when the ring was started comes first. */
static int queue_fetch_locked(struct queue *q, struct ring_chain *c, const char **why)
{
	uint16_t head;

	if (q->inflight && inflight_again(q->inflight, &head))
		return ring_refetch(&q->ring, head, c, why);
	return ring_fetch(&q->ring, c, why);
}

#define STRIKES_REFUSE	2u	/* answered with an error */

/* What the daemon died of comes first after a start, and is judged once. */
static enum session_verdict queue_execute_locked(struct queue *q, struct session_worker *w,
						 bool alone)
{
	const struct queue_service *s = q->set->service;
	unsigned strikes = q->strikes;

	q->strikes = 0;
	if (strikes)
		ring_judge(&q->ring, false, strikes);
	if (strikes < STRIKES_REFUSE)
		return s->serve(q->set->service_arg, w, &q->ring, &w->chain, alone);
	s->refuse(q->set->service_arg, &q->ring, &w->chain);
	return SESSION_DONE;
}

static enum step queue_step_locked(struct queue *q, struct session_worker *w, bool alone)
{
	enum session_verdict verdict;
	const char *why;
	int n;

	if (!q->running || q->winding_down)
		return STEP_EMPTY;
	if (q->unfinished) {
		queue_go_on_locked(q, w);
		return STEP_SERVED;
	}
	n = queue_fetch_locked(q, &w->chain, &why);
	if (n < 0)
		queue_broken_locked(q, why);
	if (n <= 0)
		return STEP_EMPTY;
	if (q->inflight)
		inflight_begin(q->inflight, w->chain.head);
	blame_set(q->ring.kept);
	verdict = queue_execute_locked(q, w, alone);
	blame_set(NULL);
	if (verdict == SESSION_BARRIER) {
		ring_unfetch(&q->ring);
		return STEP_BARRIER;
	}
	if (verdict == SESSION_UNFINISHED) {
		q->unfinished = true;
		q->rest = w->rest;
		return STEP_SERVED;
	}
	if (q->inflight)
		inflight_end(q->inflight, w->chain.head, q->ring.used_next);
	return STEP_SERVED;
}

static void queue_slice_end_locked(struct queue *q)
{
	if (q->running && memmap_is_cut(&q->set->mem))
		queue_broken_locked(q, NULL);
	queue_interrupt_locked(q);
}

static void barrier_mark_locked(struct queue *q)
{
	struct queue_set *set = q->set;

	for (unsigned i = 0; i < set->count; i++) {
		struct queue *o = &set->queue[i];

		q->until[i] = o->running && o != q ? ring_avail_now(&o->ring) :
						     o->ring.avail_next;
	}
	q->barrier = true;
}

/* Serve o up to the mark; false if the turn was over before. */
static bool barrier_reach_locked(struct queue *o, uint16_t until, struct session_worker *w,
				 unsigned *budget)
{
	while (o->running && ring_is_before(&o->ring, until)) {
		if (turn_is_over(w, *budget))
			return false;
		if (queue_step_locked(o, w, true) == STEP_EMPTY)
			break;
		--*budget;
	}
	return true;
}

static unsigned queue_barrier(struct queue *q, struct session_worker *w, unsigned budget)
{
	struct queue_set *set = q->set;
	unsigned left = budget;
	bool reached = true;

	set_lock(set);
	if (!q->barrier)
		barrier_mark_locked(q);
	for (unsigned i = 0; reached && i < set->count; i++)
		reached = &set->queue[i] == q ||
			  barrier_reach_locked(&set->queue[i], q->until[i], w, &left);
	if (reached && !turn_is_over(w, left)) {
		q->barrier = false;
		if (queue_step_locked(q, w, true) == STEP_SERVED)
			left--;
	}
	for (unsigned i = 0; i < set->count; i++)
		queue_slice_end_locked(&set->queue[i]);
	set_unlock(set);
	return budget - left;
}

unsigned queue_serve(struct queue *q, struct session_worker *w, unsigned budget)
{
	enum step step = STEP_SERVED;
	unsigned served = 0;

	w->spent_ns = 0;
	pthread_mutex_lock(&q->lock);
	if (q->held)
		budget = 0;
	else if (q->running && q->barrier)
		step = STEP_BARRIER;
	while (step == STEP_SERVED && !turn_is_over(w, budget - served)) {
		step = queue_step_locked(q, w, false);
		served += step == STEP_SERVED;
	}
	queue_slice_end_locked(q);
	pthread_mutex_unlock(&q->lock);
	if (step == STEP_BARRIER)
		served += queue_barrier(q, w, budget - served);
	return served;
}

/* ---- what another process was executing ----------------------------------- */

#define STRIKES_LEAVE	3u	/* as STRIKES_REFUSE, and the key is not touched */
#define STRIKES_FAIL	4u	/* that kills, too */

static void request_refuse_locked(struct queue *q, struct session_worker *w, unsigned strikes)
{
	const char *why;
	int n;

	ring_judge(&q->ring, false, strikes + 1);
	n = ring_fetch(&q->ring, &w->chain, &why);
	if (n < 0)
		queue_broken_locked(q, why);
	if (n <= 0)
		return;
	blame_set(q->ring.kept);
	session_refuse(&q->set->session, w, &q->ring, &w->chain, strikes < STRIKES_LEAVE,
		       &q->refused);
	blame_set(NULL);
}

static enum queue_replayed replay_locked(struct queue *q, struct session_worker *w)
{
	uint64_t word = ring_word(&q->ring);
	unsigned strikes = ring_strikes(word) + !!(word & RING_ALONE);

	if (!q->running || !(word & RING_BUSY))
		return REPLAY_NONE;
	if (strikes < STRIKES_REFUSE) {
		ring_judge(&q->ring, true, strikes);
		do
			queue_step_locked(q, w, true);
		while (q->unfinished);
		return REPLAY_SERVED;
	}
	q->deaths = strikes;
	if (strikes < STRIKES_FAIL) {
		request_refuse_locked(q, w, strikes);
		return REPLAY_REFUSED;
	}
	queue_fail_locked(q, "a request kills the daemon even when it is not executed");
	return REPLAY_HOPELESS;
}

enum queue_replayed queue_replay(struct queue *q, struct session_worker *w)
{
	enum queue_replayed r;

	set_lock(q->set);
	r = replay_locked(q, w);
	for (unsigned i = 0; i < q->set->count; i++)
		queue_slice_end_locked(&q->set->queue[i]);
	set_unlock(q->set);
	return r;
}

bool queue_kick_want(struct queue *q)
{
	bool work;

	pthread_mutex_lock(&q->lock);
	/* Work is what queue_serve() would do: a worker comes back for it without a look. */
	work = q->running && !q->held && !q->winding_down &&
	       (ring_kick_want(&q->ring) || q->unfinished);
	pthread_mutex_unlock(&q->lock);
	return work;
}

void queue_kick_spare(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->running)
		ring_kick_spare(&q->ring);
	pthread_mutex_unlock(&q->lock);
}

/* ---- start, stop, memory ------------------------------------------------- */

static int place_resolve(const struct memmap *m, const struct queue_place *p,
			 struct ring_layout *at)
{
	at->num = p->num;
	if (p->num > TMEMP_RING_NUM_MAX)
		return -EINVAL;
	at->desc = memmap_pointer(m, MEMMAP_USER, p->desc, tmemp_desc_bytes(p->num));
	at->avail = memmap_pointer(m, MEMMAP_USER, p->avail, tmemp_avail_bytes(p->num));
	at->used = memmap_pointer(m, MEMMAP_USER, p->used, tmemp_used_bytes(p->num));
	if (!at->desc || !at->avail || !at->used)
		return -EFAULT;
	return ring_layout_is_valid(at) ? 0 : -EINVAL;
}

static void queue_run_locked(struct queue *q, const struct queue_place *place)
{
	q->place = *place;
	q->barrier = false;
	q->running = true;
}

/* Faults of the daemon while it executed what the ring, not started yet, takes next. */
static unsigned strikes_before(const struct queue *q)
{
	uint64_t word = q->set->service->refuse && q->ring.kept ? ring_word(&q->ring) : 0;

	return word & RING_BUSY ? ring_strikes(word) : 0;
}

int queue_start(struct queue *q, const struct queue_place *place, uint64_t features)
{
	struct ring_layout at;
	int err;

	pthread_mutex_lock(&q->lock);
	err = place_resolve(&q->set->mem, place, &at);
	if (!err) {
		q->strikes = strikes_before(q);
		ring_start(&q->ring, &memmap_ring_ops, &q->set->mem, &at, features);
		if (q->inflight)
			inflight_resume(q->inflight, at.num, q->ring.used_next);
		queue_run_locked(q, place);
	}
	pthread_mutex_unlock(&q->lock);
	return err;
}

int queue_resume(struct queue *q, const struct queue_place *place, uint64_t features)
{
	struct queue_set *set = q->set;
	struct ring_layout at;
	int err;

	set_lock(set);
	err = place_resolve(&set->mem, place, &at);
	if (!err)
		err = ring_resume(&q->ring, &memmap_ring_ops, &set->mem, &at, features);
	if (!err) {
		session_resume(&set->session, &q->ring);
		q->held = true;
		queue_run_locked(q, place);
	}
	set_unlock(set);
	return err;
}

void queue_wind_down(struct queue *q)
{
	bool unfinished;

	do {
		pthread_mutex_lock(&q->lock);
		q->winding_down = true;
		if (q->unfinished)
			q->unfinished = !session_go_on(NULL, &q->ring, &q->rest, q->running);
		unfinished = q->unfinished;
		pthread_mutex_unlock(&q->lock);
	} while (unfinished);
}

uint16_t queue_stop(struct queue *q)
{
	struct queue_set *set = q->set;
	uint16_t next;

	set_lock(set);
	if (set->session.parked.ring == &q->ring)
		session_event_locked(&set->session, 0);
	queue_interrupt_locked(q);
	q->running = false;
	q->held = false;
	q->winding_down = false;
	next = q->ring.avail_next;
	set_unlock(set);
	return next;
}

void queue_inflight_set(struct queue *q, struct inflight *inflight)
{
	pthread_mutex_lock(&q->lock);
	q->inflight = inflight;
	pthread_mutex_unlock(&q->lock);
}

int queue_call_set(struct queue *q, int fd)
{
	int old;

	pthread_mutex_lock(&q->lock);
	old = q->call;
	q->call = fd;
	pthread_mutex_unlock(&q->lock);
	return old;
}

static int queue_follow_locked(struct queue *q)
{
	struct ring_layout at;
	int err;

	if (!q->running)
		return 0;
	err = place_resolve(&q->set->mem, &q->place, &at);
	if (err)
		q->running = false;
	else
		ring_move(&q->ring, &at);
	return err;
}

int queue_set_memory(struct queue_set *set, int (*fn)(struct memmap *m, void *arg), void *arg)
{
	int err;

	set_lock(set);
	err = fn(&set->mem, arg);
	for (unsigned i = 0; i < set->count; i++) {
		int moved = queue_follow_locked(&set->queue[i]);

		if (!err)
			err = moved;
	}
	set_unlock(set);
	return err;
}

int queue_set_event(struct queue_set *set, uint64_t events)
{
	struct alarm alarm;
	int err = alarm_create(&alarm);

	if (err)
		return err;
	set_lock(set);
	session_event_raise_locked(&set->session, events);
	alarm_set(&alarm, true);
	for (unsigned i = 0; i < set->count; i++)
		queue_interrupt_locked(&set->queue[i]);
	set_unlock(set);
	alarm_destroy(&alarm);
	return 0;
}

const char *queue_set_fault(struct queue_set *set, unsigned *index)
{
	for (unsigned i = 0; i < set->count; i++) {
		const char *why = atomic_load(&set->queue[i].fault);

		if (why) {
			*index = i;
			return why;
		}
	}
	return NULL;
}

void queue_set_fault_clear(struct queue_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		atomic_store(&set->queue[i].fault, NULL);
}

unsigned queue_set_running(struct queue_set *set)
{
	unsigned n = 0;

	for (unsigned i = 0; i < set->count; i++) {
		pthread_mutex_lock(&set->queue[i].lock);
		n += set->queue[i].running;
		pthread_mutex_unlock(&set->queue[i].lock);
	}
	return n;
}

/* Its worker's lane, or the first that is none's yet. */
static struct queue_lane *lane_of(struct queue_set *set, struct worker *w)
{
	struct queue_lane *l = set->lane;

	while (l->worker && l->worker != w)
		l++;
	l->worker = w;
	return l;
}

void queue_set_init_device(struct queue_set *set, unsigned count, struct worker *const worker[],
			   const struct queue_service *service, void *service_arg,
			   void (*failed)(void *arg), void *arg)
{
	*set = (struct queue_set){
		.count = count,
		.service = service,
		.service_arg = service_arg,
		.failed = failed,
		.failed_arg = arg,
	};
	for (unsigned i = 0; i < count; i++) {
		struct queue *q = &set->queue[i];

		q->set = set;
		q->index = i;
		q->worker = worker[i];
		q->lane = lane_of(set, worker[i]);
		q->call = -1;
		pthread_mutex_init(&q->lock, NULL);
	}
}

static enum session_verdict serve_session(void *arg, struct session_worker *w, struct ring *r,
					  const struct ring_chain *c, bool alone)
{
	return session_serve(arg, w, r, c, alone);
}

static const struct queue_service session_service = { .serve = serve_session };

void queue_set_init(struct queue_set *set, unsigned count, struct worker *const worker[],
		    struct tmem_client *client, struct keep_guest *kept, struct handover *handover,
		    void (*failed)(void *arg), void *arg)
{
	queue_set_init_device(set, count, worker, &session_service, &set->session, failed, arg);
	session_init(&set->session, client, &kept->session);
	set->kept = kept;
	set->handover = handover;
	for (unsigned i = 0; i < count; i++)
		ring_keep(&set->queue[i].ring, &kept->ring[i].word);
}

void queue_set_fini(struct queue_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		pthread_mutex_destroy(&set->queue[i].lock);
	memmap_clear(&set->mem);
}

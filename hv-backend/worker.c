/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.c - the thread.
 *
 *            .--------------------------------------------------.
 *            v                                                  |
 *   [busy: a turn, whose? (fair.h), again] ------- no work --> [look on]
 *            ^                                                  | budget over
 *            |                 kick                             v
 *            '---- [sleep in epoll] <-- still no work -- [kicks asked for]
 *
 * No kick is lost: kicks are asked for before the last look at the ring
 * (ring.h), and an eventfd written between that look and epoll_wait() is an
 * edge that epoll_wait() reports at once.
 *
 * While busy, kicks of other queues are looked for every LOOK_NS, so a guest that
 * keeps the worker busy delays others by a turn and LOOK_NS.  An active queue is
 * looked at before each turn, and costs the others that look; so one that had no work
 * for REST_NS is asked for kicks and is active no more.
 *
 * #syscalls: epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "alarm.h"
#include "spin.h"
#include "worker.h"

#define SLICE		32u		/* requests in a turn */
#define LOOK_NS		20000u		/* between looks at kicks while busy */
#define REST_NS		1000000u
#define CHARGE_MAX_NS	200000u		/* a turn that took longer lost the processor */

/*
 * Others wait for the end of a turn; a shorter one would spend as much on locks and on
 * looking round as on requests, some of which take as long as this.
 */
#define TURN_NS		10000u

#define LOST_NS		200000u		/* a turn of the spin that took longer lost the processor */
#define POLLED_MS	1		/* between looks at queues without kicks */
#define EVENTS		64

/* What the control thread asks for; result is the order's own. */
struct order {
	int (*fn)(struct worker *w, struct queue *q);
	struct queue *q;
	int result;
};

struct worker {
	struct session_worker session;
	pthread_t thread;
	int epoll;
	int wake;			/* eventfd; its epoll data is NULL */

	pthread_mutex_t lock;		/* protects order; stands alone */
	pthread_cond_t done;
	struct order order;		/* fn NULL: none */

	/* The thread's own. */
	bool end;
	struct alarm alarm;		/* on over short sleeps; off by the first it disturbs */
	struct fair fair;		/* of the lanes with active queues */
	unsigned polled;		/* of these queues */
	uint64_t now;			/* when the clock was last read */
	struct spin spin;
	uint64_t work_end;		/* when work last ended */
	bool slept, spun;		/* since then */
	_Atomic uint64_t spin_ns, busy_ns;	/* written by the thread alone */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void count_ns(_Atomic uint64_t *total, uint64_t ns)
{
	atomic_store_explicit(total, atomic_load_explicit(total, memory_order_relaxed) + ns,
			      memory_order_relaxed);
}

/* ---- orders of the control thread ---------------------------------------- */

static void order_take(struct worker *w)
{
	struct order o;
	eventfd_t n;

	eventfd_read(w->wake, &n);
	pthread_mutex_lock(&w->lock);
	o = w->order;
	pthread_mutex_unlock(&w->lock);
	if (!o.fn)
		return;
	o.result = o.fn(w, o.q);
	pthread_mutex_lock(&w->lock);
	w->order = (struct order){ .result = o.result };
	pthread_cond_signal(&w->done);
	pthread_mutex_unlock(&w->lock);
}

static int order_give(struct worker *w, int (*fn)(struct worker *w, struct queue *q),
		      struct queue *q)
{
	int result;

	pthread_mutex_lock(&w->lock);
	w->order = (struct order){ .fn = fn, .q = q };
	eventfd_write(w->wake, 1);
	while (w->order.fn)
		pthread_cond_wait(&w->done, &w->lock);
	result = w->order.result;
	pthread_mutex_unlock(&w->lock);
	return result;
}

/* ---- active queues ------------------------------------------------------------ */

static struct queue_lane *lane_of(struct fair_guest *g)
{
	return (struct queue_lane *)((char *)g - offsetof(struct queue_lane, fair));
}

/* A guest that is in the order has active queues. */
static struct queue *active_of(struct fair_guest *g)
{
	return g ? lane_of(g)->active : NULL;
}

static struct queue *active_first(const struct worker *w)
{
	return active_of(w->fair.first);
}

static struct queue *active_after(const struct queue *q)
{
	return q->next_active ? q->next_active : active_of(q->lane->fair.next);
}

static void lane_append(struct queue_lane *l, struct queue *q)
{
	struct queue **at = &l->active;

	while (*at)
		at = &(*at)->next_active;
	q->next_active = NULL;
	*at = q;
}

static void lane_take(struct queue_lane *l, struct queue *q)
{
	struct queue **at = &l->active;

	while (*at != q)
		at = &(*at)->next_active;
	*at = q->next_active;
}

static void active_add(struct worker *w, struct queue *q)
{
	q->worked = w->now;
	if (q->active)
		return;
	q->active = true;
	lane_append(q->lane, q);
	fair_add(&w->fair, &q->lane->fair);
	w->polled += q->polled;
}

static void active_remove(struct worker *w, struct queue *q)
{
	if (!q->active)
		return;
	q->active = false;
	lane_take(q->lane, q);
	if (!q->lane->active)
		fair_remove(&w->fair, &q->lane->fair);
	w->polled -= q->polled;
}

static int on_activate(struct worker *w, struct queue *q)
{
	active_remove(w, q);
	q->polled = false;
	active_add(w, q);
	return 0;
}

static int on_activate_polled(struct worker *w, struct queue *q)
{
	active_remove(w, q);
	q->polled = true;
	active_add(w, q);
	return 0;
}

static int on_stop(struct worker *w, struct queue *q)
{
	active_remove(w, q);
	/* Its last interrupt may come out of a sleep. */
	alarm_set(&w->alarm, true);
	return queue_stop(q);
}

static int on_replay(struct worker *w, struct queue *q)
{
	alarm_set(&w->alarm, true);
	return (int)queue_replay(q, &w->session);
}

static int on_release(struct worker *w, struct queue *q)
{
	alarm_set(&w->alarm, true);
	queue_release(q);
	return 0;
}

/* On the worker's thread, which is the one to be disturbed. */
static int on_alarm_create(struct worker *w, struct queue *q)
{
	(void)q;
	return alarm_create(&w->alarm);
}

static int on_end(struct worker *w, struct queue *q)
{
	(void)q;
	w->end = true;
	return 0;
}

/* ---- the thread ----------------------------------------------------------- */

/* Kicks and orders that are there, or come within timeout ms (-1: for ever). */
static void worker_look(struct worker *w, int timeout)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(w->epoll, ev, EVENTS, timeout);
	bool ordered = false;

	for (int i = 0; i < n; i++) {
		struct queue *q = ev[i].data.ptr;

		if (!q) {
			ordered = true;
			continue;
		}
		atomic_fetch_add_explicit(&q->kicks, 1, memory_order_relaxed);
		active_add(w, q);
		/* After a sleep that is done for all at once. */
		if (!timeout)
			queue_kick_spare(q);
	}
	/* Disturbed by the alarm, in a sleep that is long enough to need none. */
	if (n < 0 && timeout)
		alarm_set(&w->alarm, false);
	/* Last, so that no event of this batch names a queue that was let go of. */
	if (ordered)
		order_take(w);
}

/* No work: it stays active for a while. */
static void queue_rest(struct worker *w, struct queue *q)
{
	if (!q->polled && w->now - q->worked > REST_NS && !queue_kick_want(q))
		active_remove(w, q);
}

/* One turn of the first of its queues that has work. */
static unsigned lane_serve(struct worker *w, struct queue_lane *l)
{
	struct queue *next;

	for (struct queue *q = l->active; q; q = next) {
		unsigned served = queue_serve(q, &w->session, SLICE);

		next = q->next_active;
		if (!served) {
			queue_rest(w, q);
			continue;
		}
		q->worked = w->now;
		lane_take(l, q);
		lane_append(l, q);
		return served;
	}
	return 0;
}

/* One turn; *whose it was, if there was any work. */
static unsigned worker_turn(struct worker *w, struct fair_guest **whose)
{
	struct fair_guest *next;

	for (*whose = w->fair.first; *whose; *whose = next) {
		unsigned served;

		next = (*whose)->next;
		served = lane_serve(w, lane_of(*whose));
		if (served)
			return served;
	}
	return 0;
}

/* Work was found at now, work_end is when the last ended. */
static void work_found(struct worker *w, uint64_t now)
{
	if (w->slept)
		spin_miss(&w->spin, now, now - w->work_end, w->spun);
	else if (w->spun)
		spin_hit(&w->spin, now - w->work_end);
	w->slept = false;
	w->spun = false;
}

/* Serve until there is no work and looking on does not pay. */
static void worker_busy(struct worker *w)
{
	uint64_t turn = now_ns(), looked = turn, budget = 0;
	bool spinning = false;

	w->now = turn;

	while (!w->end) {
		struct fair_guest *whose;
		unsigned served = worker_turn(w, &whose);
		uint64_t now = now_ns(), took = now - turn;

		w->now = now;
		if (served) {
			fair_charge(&w->fair, whose, took < CHARGE_MAX_NS ? took : CHARGE_MAX_NS);
			count_ns(&w->busy_ns, took);
			work_found(w, turn);
			spinning = false;
			w->work_end = now;
		} else if (!spinning) {
			budget = w->slept ? 0 : spin_budget(&w->spin, now);
			spinning = true;
			w->spun |= budget > 0;
		} else {
			count_ns(&w->spin_ns, took);
			if (took > LOST_NS) {
				spin_preempted(&w->spin, now);
				return;
			}
		}
		if (!served && now - w->work_end >= budget)
			break;
		turn = now;
		if (now - looked >= LOOK_NS) {
			worker_look(w, 0);
			looked = now;
		}
		if (spinning)
			cpu_relax();
	}
}

/* Ask every active queue for kicks; true if one has work after all. */
static bool worker_settle(struct worker *w)
{
	bool work = false;

	for (struct queue *q = active_first(w); q; q = active_after(q))
		work |= queue_kick_want(q);
	return work;
}

static void worker_rouse(struct worker *w)
{
	alarm_set(&w->alarm, w->fair.first != NULL || w->alarm.on);
	for (struct queue *q = active_first(w); q; q = active_after(q))
		queue_kick_spare(q);
}

/* Queues without kicks stay active: they are what the timeout is for. */
static void worker_quiet(struct worker *w)
{
	struct queue *next;

	for (struct queue *q = active_first(w); q; q = next) {
		next = active_after(q);
		if (!q->polled)
			active_remove(w, q);
	}
}

static void worker_sleep(struct worker *w)
{
	worker_quiet(w);
	w->slept = true;
	worker_look(w, w->polled ? POLLED_MS : -1);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	w->work_end = now_ns();
	while (!w->end) {
		worker_rouse(w);
		worker_busy(w);
		if (w->end)
			break;
		/* Whatever a ring says, orders and other kicks are looked at. */
		if (worker_settle(w))
			worker_look(w, 0);
		else
			worker_sleep(w);
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------ */

static int wake_open(struct worker *w)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0)
		return -errno;
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &ev) < 0) {
		int err = -errno;

		close(w->wake);
		return err;
	}
	return 0;
}

int worker_create(struct worker **out, struct tmem *core, unsigned poll_us)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	int err;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->session.turn_ns = TURN_NS;
	spin_init(&w->spin, poll_us * 1000ull);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->done, NULL);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	err = w->epoll < 0 ? -errno : wake_open(w);
	if (err)
		goto no_wake;
	err = tmem_ctx_create(core, &w->session.ctx);
	if (err)
		goto no_ctx;
	err = alarm_thread_create(&w->thread, worker_main, w);
	if (err)
		goto no_thread;
	err = order_give(w, on_alarm_create, NULL);
	if (err)
		goto no_alarm;
	*out = w;
	return 0;

no_alarm:
	order_give(w, on_end, NULL);
	pthread_join(w->thread, NULL);
no_thread:
	tmem_ctx_destroy(w->session.ctx);
no_ctx:
	close(w->wake);
no_wake:
	if (w->epoll >= 0)
		close(w->epoll);
	pthread_cond_destroy(&w->done);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return err;
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	order_give(w, on_end, NULL);
	pthread_join(w->thread, NULL);
	alarm_destroy(&w->alarm);
	tmem_ctx_destroy(w->session.ctx);
	close(w->wake);
	close(w->epoll);
	pthread_cond_destroy(&w->done);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int worker_watch(struct worker *w, struct queue *q, int kick)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = q };

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, kick, &ev) < 0 ? -errno : 0;
}

void worker_unwatch(struct worker *w, int kick)
{
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, kick, NULL);
}

void worker_activate(struct worker *w, struct queue *q, bool polled)
{
	order_give(w, polled ? on_activate_polled : on_activate, q);
}

enum queue_replayed worker_replay(struct worker *w, struct queue *q)
{
	return (enum queue_replayed)order_give(w, on_replay, q);
}

void worker_release(struct worker *w, struct queue *q)
{
	order_give(w, on_release, q);
}

uint16_t worker_stop(struct worker *w, struct queue *q)
{
	queue_wind_down(q);
	return (uint16_t)order_give(w, on_stop, q);
}

void worker_info(struct worker *w, struct worker_info *info)
{
	info->spin_ns = atomic_load_explicit(&w->spin_ns, memory_order_relaxed);
	info->busy_ns = atomic_load_explicit(&w->busy_ns, memory_order_relaxed);
}

void worker_latency(struct worker *w, struct latency_reading *out)
{
	latency_read(&w->session.latency, out);
}

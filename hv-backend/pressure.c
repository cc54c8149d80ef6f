// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pressure.c - memory pressure answered.
 *
 * Owns:    the timer, the triggers' sources, the reclaim thread.
 * How:     the loop's thread writes how many frames are wanted now, in place of
 *          what was wanted before: each step measures anew what is still too much.
 *          The reclaim thread takes slices of it, gives them back, and adds up who
 *          lost what; the next step collects that.
 * Locks:   pressure.lock guards wanted, stop and given; it is held for a few
 *          stores, never over a call into the core.
 */
#include "pressure.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "size.h"

#define SLICE_BYTES	(UINT64_C(16) << 20)
#define TELL_MS		1000u	/* what guests lost is told once in this time
 *
 * #syscalls: timerfd_create timerfd_settime
 */

struct loser {
	char name[TMEM_NAME_MAX];
	uint64_t frames, pages;
};

/* loser[0..losers) have distinct names; sums of theirs <= bytes / frame and pages. */
struct given {
	uint64_t bytes, pages;
	unsigned losers;
	struct loser loser[TMEM_RECLAIM_CLIENTS];
};

struct pressure {
	struct loop *loop;
	struct tmem *core;
	struct sensors *sensors;
	struct events *events;
	struct policy_config config;
	struct policy_state policy;
	struct policy_inputs inputs;
	struct policy_decision decision;	/* in force */
	uint64_t frame;				/* bytes */
	int timer_fd;
	struct loop_source *timer, *trigger[SENSORS_TRIGGERS];
	uint64_t stepped_ms, told_ms;		/* monotonic */
	uint64_t steps, bytes_given, pages_evicted;
	struct given untold;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t wanted;			/* frames */
	bool stop;
	struct given given;			/* not yet collected */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- who lost what ----------------------------------------------------- */

static void loser_add(struct given *g, const char *name, uint64_t frames, uint64_t pages)
{
	unsigned i = 0;

	while (i < g->losers && strcmp(g->loser[i].name, name))
		i++;
	if (i == TMEM_RECLAIM_CLIENTS)
		return;
	if (i == g->losers) {
		g->losers++;
		g->loser[i] = (struct loser){ .frames = 0 };
		strncpy(g->loser[i].name, name, sizeof(g->loser[i].name) - 1);
	}
	g->loser[i].frames += frames;
	g->loser[i].pages += pages;
}

static void given_add_report(struct given *g, const struct tmem_reclaim_report *r)
{
	g->bytes += r->bytes;
	g->pages += r->pages_evicted;
	for (unsigned i = 0; i < r->clients; i++)
		loser_add(g, r->from[i].name, r->from[i].frames, r->from[i].pages);
}

static void given_move(struct given *to, struct given *from)
{
	to->bytes += from->bytes;
	to->pages += from->pages;
	for (unsigned i = 0; i < from->losers; i++)
		loser_add(to, from->loser[i].name, from->loser[i].frames, from->loser[i].pages);
	from->bytes = from->pages = from->losers = 0;
}

/* ---- the reclaim thread ------------------------------------------------ */

/* Frames of the next slice, 0: to end.  Waits while nothing is wanted. */
static uint64_t slice_take(struct pressure *p)
{
	uint64_t slice = SLICE_BYTES > p->frame ? SLICE_BYTES / p->frame : 1;

	pthread_mutex_lock(&p->lock);
	while (!p->wanted && !p->stop)
		pthread_cond_wait(&p->wake, &p->lock);
	if (p->stop)
		slice = 0;
	else if (p->wanted < slice)
		slice = p->wanted;
	p->wanted -= slice;
	pthread_mutex_unlock(&p->lock);
	return slice;
}

static void *reclaim_thread(void *arg)
{
	struct pressure *p = arg;
	struct tmem_reclaim_report report;
	uint64_t slice;

	while ((slice = slice_take(p))) {
		tmem_reclaim(p->core, slice, &report);
		pthread_mutex_lock(&p->lock);
		given_add_report(&p->given, &report);
		if (report.stop != TMEM_RECLAIM_DONE)
			p->wanted = 0;
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static void reclaim_want(struct pressure *p, uint64_t frames)
{
	pthread_mutex_lock(&p->lock);
	p->wanted = frames;
	given_move(&p->untold, &p->given);
	if (frames)
		pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

/* ---- one step ---------------------------------------------------------- */

/*
 * The arena is measured before the host: frames that go back in between make the
 * host look better, and too little is asked for rather than too much.
 */
static void inputs_read(struct pressure *p)
{
	struct policy_inputs *in = &p->inputs;
	struct tmem_use use;
	uint64_t gone;

	tmem_use_get(p->core, &use);
	in->arena.frame = p->frame;
	in->arena.resident = use.resident;
	in->arena.free = use.free;
	in->arena.ephemeral = use.ephemeral;
	gone = use.free + use.ephemeral;
	in->arena.persistent = use.resident > gone ? use.resident - gone : 0;
	sensors_read(p->sensors, in);
}

static void limits_apply(struct pressure *p, const struct policy_decision *d)
{
	struct tmem_limits limits = {
		.target = d->target,
		.persistent_max = d->persistent_max,
		.accept_ephemeral = d->accept_ephemeral,
		.accept_persistent = d->accept_persistent,
	};
	int err = tmem_limits_set(p->core, &limits);

	if (err)
		log_error("pressure: limits not taken: %s", strerror(-err));
}

static void decision_tell(struct pressure *p, const struct policy_decision *d)
{
	char words[POLICY_WORDS_MAX];

	policy_words(d, words);
	log_info("pressure: %s", words);
	events_add(p->events, EVENT_PRESSURE, NULL, "%s", words);
}

static void given_tell(struct pressure *p, uint64_t now, bool last)
{
	struct given *g = &p->untold;
	char size[SIZE_TEXT_MAX];

	if (!g->bytes || (!last && now - p->told_ms < TELL_MS))
		return;
	p->told_ms = now;
	p->bytes_given += g->bytes;
	p->pages_evicted += g->pages;
	log_info("pressure: %s given back to the host, %llu pages evicted",
		 size_format(g->bytes, size), (unsigned long long)g->pages);
	for (unsigned i = 0; i < g->losers; i++)
		events_add(p->events, EVENT_RECLAIM, g->loser[i].name,
			   "lost %llu ephemeral pages (%s) to the host",
			   (unsigned long long)g->loser[i].pages,
			   size_format(g->loser[i].frames * p->frame, size));
	*g = (struct given){ .bytes = 0 };
}

static void timer_arm(struct pressure *p, unsigned ms)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 },
	};

	timerfd_settime(p->timer_fd, 0, &when, NULL);
}

static void step(struct pressure *p)
{
	struct policy_decision before = p->decision;
	uint64_t now = now_ms(), dt = now - p->stepped_ms;

	inputs_read(p);
	p->decision = policy_step(&p->policy, &p->config, &p->inputs,
				  dt < UINT32_MAX ? (unsigned)dt : UINT32_MAX);
	limits_apply(p, &p->decision);
	reclaim_want(p, p->decision.reclaim_frames);
	if (p->steps == 0 || policy_is_news(&before, &p->decision))
		decision_tell(p, &p->decision);
	given_tell(p, now, p->decision.reclaim_frames == 0);
	p->stepped_ms = now;
	p->steps++;
	timer_arm(p, p->decision.next_ms);
}

static void timer_ready(void *arg, uint32_t events)
{
	struct pressure *p = arg;
	uint64_t count;

	(void)events;
	if (read(p->timer_fd, &count, sizeof(count)) == sizeof(count))
		step(p);
}

/* EPOLLERR: the cgroup is gone, and its trigger with it. */
static void trigger_ready(void *arg, uint32_t events)
{
	struct pressure *p = arg;

	if (events & EPOLLERR) {
		for (unsigned i = 0; i < SENSORS_TRIGGERS; i++) {
			if (p->trigger[i])
				loop_remove(p->trigger[i]);
			p->trigger[i] = NULL;
		}
		log_warn("pressure: a stall trigger has gone, polling only");
	}
	step(p);
}

/* ---- life -------------------------------------------------------------- */

static int triggers_add(struct pressure *p)
{
	for (unsigned i = 0; i < SENSORS_TRIGGERS; i++) {
		int fd = sensors_trigger(p->sensors, i);
		int err = fd < 0 ? 0 : loop_add(p->loop, fd, EPOLLPRI, trigger_ready, p,
						&p->trigger[i]);

		if (err)
			return err;
	}
	return 0;
}

static void sources_remove(struct pressure *p)
{
	for (unsigned i = 0; i < SENSORS_TRIGGERS; i++) {
		if (p->trigger[i])
			loop_remove(p->trigger[i]);
	}
	if (p->timer)
		loop_remove(p->timer);
	close(p->timer_fd);
}

static int sources_add(struct pressure *p)
{
	int err;

	p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (p->timer_fd < 0)
		return -errno;
	err = loop_add(p->loop, p->timer_fd, EPOLLIN, timer_ready, p, &p->timer);
	if (!err)
		err = triggers_add(p);
	if (err)
		sources_remove(p);
	return err;
}

int pressure_create(struct pressure **out, struct loop *l, struct tmem *core,
		    struct sensors *sensors, struct events *events,
		    const struct policy_config *config)
{
	struct pressure *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->loop = l;
	p->core = core;
	p->sensors = sensors;
	p->events = events;
	p->config = *config;
	p->frame = tmem_frame_size(core);
	p->stepped_ms = now_ms();
	policy_init(&p->policy, config);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	err = sources_add(p);
	if (err)
		goto fail_free;
	err = -pthread_create(&p->thread, NULL, reclaim_thread, p);
	if (err)
		goto fail_sources;
	log_info("pressure: %s", sensors_words(sensors));
	step(p);
	*out = p;
	return 0;
fail_sources:
	sources_remove(p);
fail_free:
	free(p);
	return err;
}

void pressure_destroy(struct pressure *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	sources_remove(p);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void pressure_configure(struct pressure *p, const struct policy_config *config)
{
	p->config = *config;
	step(p);
}

void pressure_status(struct pressure *p, struct pressure_status *out)
{
	*out = (struct pressure_status){
		.config = p->config,
		.inputs = p->inputs,
		.decision = p->decision,
		.sensors = sensors_words(p->sensors),
		.steps = p->steps,
		.bytes_given = p->bytes_given + p->untold.bytes,
		.pages_evicted = p->pages_evicted + p->untold.pages,
	};
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv.c - the list of guests, the workers, and how a worker's bad news reaches
 * the control thread.
 *
 * A worker that finds a ring broken notes it at the queue and writes one
 * eventfd; the control thread then looks at all guests.  That is rare, and looking
 * at everything needs no list that could be stale.
 *
 * #syscalls: eventfd2 read write
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "blame.h"
#include "guest.h"
#include "hv.h"
#include "log.h"
#include "sigbus.h"
#include "worker.h"

#define WORKERS_MAX 64u

struct entry {
	struct guest *guest;
	struct entry *next;
};

struct hv {
	struct hv_config config;
	struct guest_env env;
	struct worker *worker[WORKERS_MAX];
	unsigned next_worker;		/* queues are bound to workers in turn */
	struct entry *guests;		/* in the order they were added */
	int bell;			/* eventfd: some queue has failed */
	struct loop_source *listening;
};

/* Any thread. */
static void bell_ring(void *arg)
{
	struct hv *h = arg;

	eventfd_write(h->bell, 1);
}

static void on_bell(void *arg, uint32_t events)
{
	struct hv *h = arg;
	eventfd_t n;

	(void)events;
	eventfd_read(h->bell, &n);
	for (struct entry *e = h->guests; e; e = e->next)
		guest_check(e->guest);
}

static void workers_stop(struct hv *h)
{
	for (unsigned i = 0; i < h->config.workers; i++)
		worker_destroy(h->worker[i]);
}

static int workers_start(struct hv *h)
{
	for (unsigned i = 0; i < h->config.workers; i++) {
		int err = worker_create(&h->worker[i], h->env.core, h->config.poll_us);

		if (err) {
			workers_stop(h);
			return err;
		}
	}
	return 0;
}

int hv_create(struct hv **out, struct loop *l, struct tmem *core, const struct hv_config *c)
{
	struct hv *h;
	int err;

	if (!c->workers || c->workers > WORKERS_MAX || !c->queues || c->queues > QUEUES_MAX)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->config = *c;
	h->env = (struct guest_env){
		.loop = l,
		.core = core,
		.keep = c->keep,
		.handover = c->handover,
		.failed = bell_ring,
		.failed_arg = h,
		.socket_group = c->guest_group,
		.poll_us = c->poll_us,
	};
	h->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = h->bell < 0 ? -errno : sigbus_init();
	if (!err)
		err = blame_init();
	if (err)
		goto no_loop;
	err = loop_add(l, h->bell, EPOLLIN, on_bell, h, &h->listening);
	if (err)
		goto no_loop;
	err = workers_start(h);
	if (err)
		goto no_workers;
	*out = h;
	return 0;

no_workers:
	loop_remove(h->listening);
no_loop:
	if (h->bell >= 0)
		close(h->bell);
	free(h);
	return err;
}

static void entry_remove(struct entry **at, void (*end)(struct guest *g))
{
	struct entry *e = *at;

	*at = e->next;
	end(e->guest);
	free(e);
}

static void hv_end(struct hv *h, void (*end)(struct guest *g))
{
	if (!h)
		return;
	while (h->guests)
		entry_remove(&h->guests, end);
	workers_stop(h);
	loop_remove(h->listening);
	close(h->bell);
	free(h);
}

void hv_destroy(struct hv *h)
{
	hv_end(h, guest_destroy);
}

void hv_leave(struct hv *h)
{
	hv_end(h, guest_leave);
}

/* Where name is linked in, or the end of the list. */
static struct entry **entry_find(struct hv *h, const char *name)
{
	struct entry **at = &h->guests;

	while (*at && strcmp(guest_name((*at)->guest), name))
		at = &(*at)->next;
	return at;
}

int hv_guest_add(struct hv *h, const struct hv_guest_config *g)
{
	struct worker *worker[QUEUES_MAX];
	struct entry **at = entry_find(h, g->name), *e;
	int err;

	if (*at)
		return -EEXIST;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	for (unsigned i = 0; i < h->config.queues; i++)
		worker[i] = h->worker[h->next_worker++ % h->config.workers];
	err = guest_create(&e->guest, &h->env, g, h->config.queues, worker);
	if (err) {
		free(e);
		return err;
	}
	*at = e;
	return 0;
}

int hv_guest_remove(struct hv *h, const char *name)
{
	struct entry **at = entry_find(h, name);

	if (!*at)
		return -ENOENT;
	entry_remove(at, guest_destroy);
	return 0;
}

struct stray_look {
	struct hv *h;
	struct tmem_client *stray;
};

/* Stops at the first client without a guest. */
static int client_is_stray(struct tmem_client *c, void *arg)
{
	struct stray_look *look = arg;
	struct tmem_client_info info;

	tmem_client_info(c, &info);
	if (*entry_find(look->h, info.name))
		return 0;
	look->stray = c;
	return 1;
}

static void stray_drop(struct tmem_client *c)
{
	struct tmem_client_info info;
	unsigned long long pages;

	tmem_client_info(c, &info);
	pages = info.kind[TMEM_EPHEMERAL].pages + info.kind[TMEM_PERSISTENT].pages;
	log_guest(LOG_LEVEL_WARN, info.name, "not configured any more, %llu pages dropped", pages);
	tmem_client_destroy(c);
}

void hv_settle(struct hv *h)
{
	struct stray_look look = { .h = h };

	for (struct entry *e = h->guests; e; e = e->next)
		guest_replay(e->guest);
	for (struct entry *e = h->guests; e; e = e->next)
		guest_go(e->guest);
	while (tmem_client_each(h->env.core, client_is_stray, &look) > 0)
		stray_drop(look.stray);
	keep_settle(h->env.keep);
}

int hv_guest_drain(struct hv *h, const char *name, bool drain)
{
	struct entry **at = entry_find(h, name);

	return *at ? guest_drain((*at)->guest, drain) : -ENOENT;
}

int hv_guest_each(struct hv *h, int (*fn)(const struct hv_guest_info *info, void *arg), void *arg)
{
	for (struct entry *e = h->guests; e; e = e->next) {
		struct hv_guest_info info;
		int err;

		guest_info(e->guest, &info);
		err = fn(&info, arg);
		if (err)
			return err;
	}
	return 0;
}

void hv_info(struct hv *h, struct hv_info *info)
{
	*info = (struct hv_info){ .workers = h->config.workers, .queues = h->config.queues };
	for (unsigned i = 0; i < h->config.workers; i++) {
		struct worker_info w;

		worker_info(h->worker[i], &w);
		worker_latency(h->worker[i], &info->latency);
		info->worker_spin_ns += w.spin_ns;
		info->worker_busy_ns += w.busy_ns;
	}
}

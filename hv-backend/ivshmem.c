/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ivshmem.c - the guest's wishes, carried out.
 *
 * Doorbell 0 is watched level-triggered and read; interrupt 0 is written.  VMMs
 * change the flags of eventfds they share, so both are done under an alarm, and
 * one that waits all the same ends the connection.  A queue's doorbell is its
 * worker's, which watches it edge-triggered and never reads it.
 *
 *      .------------- doorbell 0 -------------.
 *      |                                      v
 *   [watching] <--- HOLD_MS passed --- [holding: doorbell 0 not watched]
 *
 * #syscalls: read timerfd_create timerfd_settime write
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "alarm.h"
#include "ivshmem.h"
#include "sent.h"
#include "worker.h"

#define HOLD_MS	10	/* between two wishes carried out */

/*
 *   running  equals  said.attached != 0 and every ring was started
 *   watched = doorbells of queues that their workers watch
 */
struct ivshmem {
	struct queue_set *set;
	int socket;
	struct ivshmem_region *region;
	struct tmemp_ivshmem_guest *wish;	/* in the region */
	struct tmemp_ivshmem_host *answer;	/* in the region; written only */
	struct keep_ivshmem said;		/* attached: private, the wish carried out */
	bool running;				/* the rings */
	bool had;				/* rings, at some time */
	unsigned watched;
	struct alarm alarm;			/* the control thread's */
	int timer;
	struct loop_source *doorbell_source, *timer_source;
};

/* What a successor needs.  Without a keeper there is none. */
static void said_keep(struct ivshmem *v)
{
	if (v->set->handover)
		keep_said_write(&v->set->kept->conn, &v->said, sizeof(v->said));
}

static void guest_interrupt(struct ivshmem *v)
{
	alarm_set(&v->alarm, true);
	if (eventfd_write(v->region->to_guest[0], 1) < 0 && errno == EINTR)
		queue_fail(&v->set->queue[0], QUEUE_INTERRUPT_BLOCKS);
	alarm_set(&v->alarm, false);
}

static void doorbell_clear(struct ivshmem *v)
{
	eventfd_t n;

	alarm_set(&v->alarm, true);
	if (eventfd_read(v->region->to_host[0], &n) < 0 && errno == EINTR)
		queue_fail(&v->set->queue[0], "doorbell descriptor blocks");
	alarm_set(&v->alarm, false);
}

/* ---- rings ------------------------------------------------------------------ */

static struct queue_place ring_place(const struct ivshmem *v, unsigned index)
{
	const struct tmemp_ivshmem_header *h = &v->region->layout;
	uint64_t at = le64toh(h->rings) + (uint64_t)index * le32toh(h->ring_stride);

	return (struct queue_place){
		.num = le32toh(h->ring_size),
		.desc = at,
		.avail = at + le32toh(h->avail),
		.used = at + le32toh(h->used),
	};
}

static void rings_clear(struct ivshmem *v)
{
	const struct tmemp_ivshmem_header *h = &v->region->layout;
	uint64_t bytes = (uint64_t)v->set->count * le32toh(h->ring_stride);

	memset(memmap_pointer(&v->set->mem, MEMMAP_GUEST, le64toh(h->rings), bytes), 0, bytes);
}

/* Killed from here on, a successor has no rings, and starts them by the guest's wish. */
static void rings_disown(struct ivshmem *v)
{
	v->said.attached = 0;
	said_keep(v);
}

static void rings_stop(struct ivshmem *v)
{
	for (unsigned i = 0; i < v->set->count; i++) {
		struct queue *q = &v->set->queue[i];

		worker_stop(q->worker, q);
	}
	v->running = false;
}

/* The places are ours and lie in the region: no start can fail. */
static void rings_start(struct ivshmem *v, uint64_t features)
{
	rings_clear(v);
	for (unsigned i = 0; i < v->set->count; i++) {
		struct queue_place place = ring_place(v, i);
		struct queue *q = &v->set->queue[i];

		queue_start(q, &place, features);
	}
	v->running = true;
	v->had = true;
}

/* The guest may look: tell it what has been carried out. */
static void wish_answer(struct ivshmem *v)
{
	/* Cleared rings before the answer that lets the guest use them. */
	__atomic_store_n(&v->answer->attached, htole32(v->said.attached), __ATOMIC_RELEASE);
	guest_interrupt(v);
}

static void rings_activate(struct ivshmem *v)
{
	for (unsigned i = 0; v->running && i < v->set->count; i++) {
		struct queue *q = &v->set->queue[i];

		worker_activate(q->worker, q, false);
	}
}

/* ---- wishes ----------------------------------------------------------------- */

static void wish_look(struct ivshmem *v)
{
	uint32_t wish = le32toh(__atomic_load_n(&v->wish->attach, __ATOMIC_ACQUIRE));
	uint64_t features = le64toh(__atomic_load_n(&v->wish->features, __ATOMIC_RELAXED));

	if (wish == v->said.attached)
		return;
	rings_disown(v);
	if (v->running)
		rings_stop(v);
	v->said.features = features & le64toh(v->region->layout.features);
	if (wish)
		rings_start(v, v->said.features);
	v->said.attached = wish;
	said_keep(v);
	rings_activate(v);
	wish_answer(v);
}

static void hold_begin(struct ivshmem *v)
{
	struct itimerspec in = { .it_value.tv_nsec = HOLD_MS * 1000000l };

	/* Should the timer fail, the guest is just not held back. */
	if (!timerfd_settime(v->timer, 0, &in, NULL))
		loop_modify(v->doorbell_source, 0);
}

static void on_doorbell(void *arg, uint32_t events)
{
	struct ivshmem *v = arg;

	(void)events;
	doorbell_clear(v);
	wish_look(v);
	hold_begin(v);
}

static void on_timer(void *arg, uint32_t events)
{
	struct ivshmem *v = arg;
	uint64_t n;
	ssize_t got = read(v->timer, &n, sizeof(n));

	(void)events;
	if (got == (ssize_t)sizeof(n))
		loop_modify(v->doorbell_source, EPOLLIN);
}

int ivshmem_input(struct ivshmem *v, const char **why)
{
	char byte;
	ssize_t n = sent_recv(v->socket, &byte, 1);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		*why = "data on an ivshmem connection, where a VMM sends none";
		return -EPROTO;
	}
	*why = "connection closed by the VMM";
	return -ECONNRESET;
}

bool ivshmem_left(const struct ivshmem *v)
{
	return v->had && !v->running;
}

void ivshmem_turn_away(int socket)
{
	ivshmem_number_send(socket, -1, -1);
}

/* ---- life ------------------------------------------------------------------- */

static int memory_map(struct memmap *m, void *arg)
{
	const struct ivshmem_region *r = arg;
	struct memmap_spec spec = { .guest = 0, .size = r->used, .user = 0, .offset = 0 };

	return memmap_add(m, &spec, r->memory);
}

static int memory_drop(struct memmap *m, void *arg)
{
	(void)arg;
	memmap_clear(m);
	return 0;
}

static int doorbells_watch(struct ivshmem *v)
{
	for (unsigned i = 0; i < v->set->count; i++) {
		struct queue *q = &v->set->queue[i];
		int err = worker_watch(q->worker, q, v->region->to_host[1 + i]);

		if (err)
			return err;
		v->watched++;
		queue_call_set(q, v->region->to_guest[1 + i]);
	}
	return 0;
}

static void doorbells_forget(struct ivshmem *v)
{
	for (unsigned i = 0; i < v->watched; i++) {
		struct queue *q = &v->set->queue[i];

		worker_unwatch(q->worker, v->region->to_host[1 + i]);
		worker_stop(q->worker, q);
		queue_call_set(q, -1);
	}
}

static int control_watch(struct ivshmem *v, struct loop *l)
{
	int err;

	v->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (v->timer < 0)
		return -errno;
	err = loop_add(l, v->timer, EPOLLIN, on_timer, v, &v->timer_source);
	if (err)
		return err;
	return loop_add(l, v->region->to_host[0], EPOLLIN, on_doorbell, v, &v->doorbell_source);
}

static void control_forget(struct ivshmem *v)
{
	if (v->doorbell_source)
		loop_remove(v->doorbell_source);
	if (v->timer_source)
		loop_remove(v->timer_source);
	if (v->timer >= 0)
		close(v->timer);
}

/* Undo what ivshmem_create() has done since it had an alarm. */
static void ivshmem_undo(struct ivshmem *v)
{
	control_forget(v);
	doorbells_forget(v);
	queue_set_memory(v->set, memory_drop, NULL);
	alarm_destroy(&v->alarm);
	free(v);
}

/* All but what the VMM is told, or a predecessor said. */
static int ivshmem_new(struct ivshmem **out, struct loop *l, struct queue_set *set, int socket,
		       struct ivshmem_region *region)
{
	struct ivshmem *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->set = set;
	v->socket = socket;
	v->region = region;
	v->timer = -1;
	err = alarm_create(&v->alarm);
	if (err) {
		free(v);
		return err;
	}
	err = queue_set_memory(set, memory_map, region);
	if (err)
		goto fail;
	v->wish = memmap_pointer(&set->mem, MEMMAP_GUEST, TMEMP_IVSHMEM_GUEST_AT,
				 sizeof(*v->wish));
	v->answer = memmap_pointer(&set->mem, MEMMAP_GUEST, TMEMP_IVSHMEM_HOST_AT,
				   sizeof(*v->answer));
	err = doorbells_watch(v);
	if (!err)
		err = control_watch(v, l);
	if (err)
		goto fail;
	*out = v;
	return 0;

fail:
	ivshmem_undo(v);
	return err;
}

int ivshmem_create(struct ivshmem **out, struct loop *l, struct queue_set *set, int socket,
		   struct ivshmem_region *region)
{
	struct ivshmem *v;
	int err = ivshmem_new(&v, l, set, socket, region);

	if (err)
		return err;
	if (set->handover) {
		ivshmem_region_keep(region, set->handover, &v->said);
		said_keep(v);
	}
	/* Last: from here on the VMM waits for nothing more of us. */
	err = ivshmem_region_send(region, socket);
	if (err) {
		ivshmem_region_drop(set->handover, &v->said);
		ivshmem_undo(v);
		return err;
	}
	*out = v;
	return 0;
}

static int rings_resume(struct ivshmem *v)
{
	int err = 0;

	for (unsigned i = 0; !err && i < v->set->count; i++) {
		struct queue_place place = ring_place(v, i);

		err = queue_resume(&v->set->queue[i], &place, v->said.features);
	}
	v->running = !err;
	return err;
}

int ivshmem_resume(struct ivshmem **out, struct loop *l, struct queue_set *set, int socket)
{
	struct ivshmem_region *region;
	struct keep_ivshmem said;
	struct ivshmem *v;
	int err;

	if (!keep_said_read(&set->kept->conn, &said, sizeof(said)) ||
	    said.vectors != set->count + 1)
		return -EPROTO;
	err = ivshmem_region_resume(&region, set->handover, &said);
	if (err)
		goto no_region;
	err = ivshmem_new(&v, l, set, socket, region);
	if (err)
		goto no_conn;
	v->said = said;
	if (said.attached)
		err = rings_resume(v);
	if (err)
		goto no_rings;
	*out = v;
	return 0;

no_rings:
	rings_stop(v);
	ivshmem_undo(v);
no_conn:
	ivshmem_region_destroy(region);
no_region:
	ivshmem_region_drop(set->handover, &said);
	return err;
}

void ivshmem_go(struct ivshmem *v)
{
	for (unsigned i = 0; v->running && i < v->set->count; i++)
		worker_release(v->set->queue[i].worker, &v->set->queue[i]);
	rings_activate(v);
	wish_answer(v);
	/* The doorbell that was rung meanwhile may have been heard by the dead. */
	wish_look(v);
}

/* What is this process's alone; what others have of it stays. */
static void ivshmem_close(struct ivshmem *v)
{
	struct ivshmem_region *region = v->region;

	ivshmem_undo(v);
	ivshmem_region_destroy(region);
}

void ivshmem_leave(struct ivshmem *v)
{
	if (v->running)
		rings_stop(v);
	close(v->socket);
	ivshmem_close(v);
}

void ivshmem_destroy(struct ivshmem *v)
{
	if (v->running)
		rings_stop(v);
	ivshmem_region_drop(v->set->handover, &v->said);
	__atomic_store_n(&v->answer->state, htole32(TMEMP_IVSHMEM_GONE), __ATOMIC_RELEASE);
	guest_interrupt(v);
	sent_close(v->socket);
	ivshmem_close(v);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.c - threads, connection, lives, and the way back from the spill.
 *
 * All but what is marked is the loop thread's own once that runs; before and after
 * it is the control thread's.
 *
 * #syscalls: eventfd2 getrandom timerfd_create timerfd_settime
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "alarm.h"
#include "blk.h"
#include "disk.h"
#include "door.h"
#include "log.h"
#include "peer.h"
#include "sent.h"
#include "vhost_backend.h"
#include "worker.h"

/*
 * VMMs refuse a disk with fewer queues than the guest has processors, so all there
 * can be are offered.  Two workers: one may wait for the spill.
 */
#define DISK_WORKERS	2u

/* Back to memory: so many blocks a step, at most 10 MiB/s; longer waits after a refusal. */
#define MOVE_BLOCKS	256u
#define MOVE_MS		100u
#define MOVE_MS_MAX	6400u

struct disk {
	struct disk_env env;
	struct hv_disk_config config;
	char spill_path[256];

	struct blocks blocks;
	struct blk blk;
	struct vhost_device device;
	struct queue_set set;
	struct worker *worker[DISK_WORKERS];

	pthread_t thread;
	struct loop *loop;
	int bell;			/* eventfd: look at what follows */
	_Atomic bool end;		/* asked for by the control thread */
	struct loop_source *ringing;
	struct door door;

	struct vhost_backend *conn;	/* NULL: nobody connected */
	int socket;
	struct loop_source *talking;
	pid_t vmm;			/* 0: none, or not known */
	int pidfd;			/* of vmm; -1: none */
	struct loop_source *watching;
	int inflight_file;		/* given to it; -1: none */

	struct tmem_ctx *ctx;		/* for moving */
	int timer;
	struct loop_source *ticking;
	uint64_t move_next;		/* block to look at next */
	unsigned move_ms;		/* until the next step; 0: the timer is off */

	pthread_mutex_t lock;		/* protects report, which disk_info() reads */
	struct {
		bool connected;
		pid_t vmm;
		uint64_t connections, failures;
		char last_failure[128];
	} report;
};

#define disk_log(level, d, ...) log_guest(level, (d)->env.name, "disk: " __VA_ARGS__)

static void bell_ring(void *arg)
{
	struct disk *d = arg;

	eventfd_write(d->bell, 1);
}

static void report_now(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	d->report.connected = d->conn != NULL;
	d->report.vmm = d->vmm;
	pthread_mutex_unlock(&d->lock);
}

/* ---- lives ------------------------------------------------------------------------ */

static uint64_t life_new(void)
{
	uint64_t life = 0;

	while (!life && getrandom(&life, sizeof(life), 0) == (ssize_t)sizeof(life))
		;
	return life;
}

/* Begin empty.  No ring runs.  A process that dies on the way leaves no life. */
static int life_begin(struct disk *d)
{
	int err;

	atomic_store(&d->env.kept->life, 0);
	err = blocks_forget(&d->blocks);
	if (err) {
		disk_log(LOG_LEVEL_ERROR, d, "cannot be emptied: %s", strerror(-err));
		return err;
	}
	d->env.kept->blocks = d->blocks.count;
	atomic_store(&d->blocks.lost, false);
	atomic_store(&d->env.kept->life, life_new());
	return 0;
}

static bool holds_any(struct disk *d)
{
	return blocks_in_memory(&d->blocks) || d->blocks.spill.held;
}

static uint64_t on_life(void *arg)
{
	struct disk *d = arg;

	return atomic_load(&d->env.kept->life);
}

/* What the driver's in-flight region says of what it believes to be on the disk. */
static void on_resumed(void *arg, bool fresh, uint64_t stamp)
{
	struct disk *d = arg;
	bool lost = !fresh && stamp != atomic_load(&d->env.kept->life);

	/* Requests of a driver that is no more are nobody's to be judged. */
	for (unsigned i = 0; fresh && i < QUEUES_MAX; i++)
		atomic_store(&d->env.kept->ring[i].word, 0);
	if (lost)
		disk_log(LOG_LEVEL_ERROR, d, "what its driver wrote before is lost: "
					     "reads of it are errors");
	atomic_store(&d->blocks.lost, lost);
}

/* ---- the VMM process ---------------------------------------------------------------- */

static void vmm_unwatch(struct disk *d)
{
	if (d->watching)
		loop_remove(d->watching);
	d->watching = NULL;
	if (d->pidfd >= 0)
		close(d->pidfd);
	d->pidfd = -1;
	d->vmm = 0;
	if (d->inflight_file >= 0)
		close(d->inflight_file);
	d->inflight_file = -1;
}

/* It has exited: so ends what it left, unless that is to be kept. */
static void vmm_forget(struct disk *d)
{
	vmm_unwatch(d);
	keep_vmm_clear(&d->env.kept->vmm);
	if (!d->config.keep)
		life_begin(d);
	report_now(d);
}

static void disk_disconnect(struct disk *d)
{
	if (!d->conn)
		return;
	loop_remove(d->talking);
	d->talking = NULL;
	vhost_backend_destroy(d->conn);
	d->conn = NULL;
	report_now(d);
}

/* The connection ends.  A VMM that cannot be watched is gone with it. */
static void disk_end(struct disk *d)
{
	disk_disconnect(d);
	if (d->pidfd < 0)
		vmm_forget(d);
}

static void on_vmm_exit(void *arg, uint32_t events)
{
	struct disk *d = arg;

	(void)events;
	disk_log(LOG_LEVEL_INFO, d, "VMM process %d exited%s", (int)d->vmm,
		 d->config.keep ? "" : ", emptied");
	disk_disconnect(d);
	vmm_forget(d);
}

/* The pidfd is the disk's from now on. */
static int vmm_watch(struct disk *d, struct peer *p)
{
	d->vmm = p->pid;
	d->pidfd = p->pidfd;
	p->pidfd = -1;
	keep_vmm_note(&d->env.kept->vmm, d->vmm, 0);
	if (d->pidfd < 0)
		return 0;
	return loop_add(d->loop, d->pidfd, EPOLLIN, on_vmm_exit, d, &d->watching);
}

/* ---- connections ------------------------------------------------------------------- */

static void disk_fail(struct disk *d, const char *why)
{
	pthread_mutex_lock(&d->lock);
	d->report.failures++;
	snprintf(d->report.last_failure, sizeof(d->report.last_failure), "%s", why);
	pthread_mutex_unlock(&d->lock);
	disk_log(LOG_LEVEL_WARN, d, "connection closed: %s", why);
	disk_end(d);
}

static void on_message(void *arg, uint32_t events)
{
	struct disk *d = arg;
	const char *why;
	int err = vhost_backend_input(d->conn, &why);

	(void)events;
	if (err == -ECONNRESET) {
		disk_log(LOG_LEVEL_INFO, d, "%s", why);
		disk_end(d);
	} else if (err) {
		disk_fail(d, why);
	}
}

/* NULL, or why p may not be served.  A VMM known before that exited is forgotten. */
static const char *peer_admit(struct disk *d, const struct peer *p)
{
	/* A VMM that reconnects at once may be seen here before its old end is. */
	if (d->conn && peer_is_over(d->socket))
		disk_end(d);
	if (d->conn)
		return "already connected";
	if (d->pidfd >= 0 && peer_has_exited(d->pidfd))
		vmm_forget(d);
	if (d->pidfd < 0 || d->vmm == p->pid)
		return NULL;
	if (!d->config.keep && holds_any(d))
		return "another process, and the VMM whose disk it is is alive";
	vmm_forget(d);
	return NULL;
}

static int disk_connect(struct disk *d, int socket, struct peer *p)
{
	int err = vhost_backend_create(&d->conn, &d->set, &d->device, socket);

	if (err) {
		sent_close(socket);
		return err;
	}
	queue_set_fault_clear(&d->set);
	atomic_store(&d->blocks.lost, false);
	d->socket = socket;
	err = loop_add(d->loop, socket, EPOLLIN, on_message, d, &d->talking);
	if (err)
		goto no_loop;
	if (d->pidfd < 0)
		err = vmm_watch(d, p);
	if (err) {
		vmm_forget(d);
		disk_disconnect(d);
		return err;
	}
	pthread_mutex_lock(&d->lock);
	d->report.connections++;
	pthread_mutex_unlock(&d->lock);
	report_now(d);
	disk_log(LOG_LEVEL_INFO, d, "connected by process %d", (int)p->pid);
	return 0;

no_loop:
	vhost_backend_destroy(d->conn);
	d->conn = NULL;
	return err;
}

static void disk_visit(void *arg, int socket)
{
	struct disk *d = arg;
	struct peer p = peer_of(socket);
	const char *why = peer_admit(d, &p);
	int err;

	if (why) {
		disk_log(LOG_LEVEL_WARN, d, "connection by process %d refused: %s", (int)p.pid,
			 why);
		sent_close(socket);
	} else {
		err = disk_connect(d, socket, &p);
		if (err)
			disk_log(LOG_LEVEL_ERROR, d, "connection refused: %s", strerror(-err));
	}
	if (p.pidfd >= 0)
		close(p.pidfd);
}

/* ---- back to memory ------------------------------------------------------------------ */

static void move_after(struct disk *d, unsigned ms)
{
	struct itimerspec t = {
		.it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L },
	};

	d->move_ms = ms;
	timerfd_settime(d->timer, 0, &t, NULL);
}

/*
 * Returns how many were moved.  A block that is refused for what it is, or cannot be
 * read, is passed over; for any other refusal there is no room.
 */
static unsigned move_some(struct disk *d)
{
	struct spill *s = &d->blocks.spill;
	unsigned moved = 0;
	int err = 0;

	for (unsigned n = 0; n < MOVE_BLOCKS && (!err || err == -E2BIG || err == -EIO); n++) {
		uint64_t block = spill_next(s, d->move_next);

		if (block == s->blocks) {
			d->move_next = 0;
			continue;
		}
		err = blocks_move(&d->blocks, d->ctx, block);
		moved += !err;
		d->move_next = block + 1;
	}
	return moved;
}

static void on_tick(void *arg, uint32_t events)
{
	struct disk *d = arg;
	unsigned ms = d->move_ms;
	uint64_t n;

	(void)events;
	if (read(d->timer, &n, sizeof(n)) != sizeof(n))
		return;
	if (move_some(d))
		ms = MOVE_MS;
	else if (ms < MOVE_MS_MAX)
		ms *= 2;
	move_after(d, d->blocks.spill.held ? ms : 0);
}

/* ---- the bell ----------------------------------------------------------------------- */

static void on_bell(void *arg, uint32_t events)
{
	struct disk *d = arg;
	char text[sizeof(d->report.last_failure)];
	const char *why;
	unsigned index;
	eventfd_t n;

	(void)events;
	eventfd_read(d->bell, &n);
	if (atomic_load(&d->end)) {
		loop_stop(d->loop);
		return;
	}
	if (!d->move_ms && d->blocks.spill.held)
		move_after(d, MOVE_MS);
	why = d->conn ? queue_set_fault(&d->set, &index) : NULL;
	if (!why)
		return;
	snprintf(text, sizeof(text), "queue %u: %s", index, why);
	disk_fail(d, text);
}

/* ---- life ----------------------------------------------------------------------------- */

static void *disk_main(void *arg)
{
	struct disk *d = arg;
	int err = loop_run(d->loop);

	if (err)
		disk_log(LOG_LEVEL_ERROR, d, "event loop: %s", strerror(-err));
	return NULL;
}

static const char *spill_error(int err)
{
	switch (err) {
	case -EPROTO:
		return "is not the spill file of this guest, left as it is";
	case -EBUSY:
		return "is in use by another process or disk";
	case -EOPNOTSUPP:
		return "its file system cannot make holes in files";
	default:
		return strerror(-err);
	}
}

static int spill_start(struct disk *d)
{
	int err;

	if (!d->spill_path[0])
		return 0;
	err = spill_open(&d->blocks.spill, d->spill_path, d->env.name, d->blocks.count);
	if (err)
		disk_log(LOG_LEVEL_ERROR, d, "%s: %s", d->spill_path, spill_error(err));
	return err;
}

/*
 * What is there is of the same life if the state says so: then the arena's and the
 * spill's part of it belong together.
 */
static int contents_start(struct disk *d)
{
	struct keep_disk *k = d->env.kept;
	struct peer p = { .pid = k->vmm.pid };
	struct tmem_pool_info info;

	if (!atomic_load(&k->life) || k->blocks != d->blocks.count ||
	    tmem_pool_info(d->env.client, BLOCKS_POOL, &info)) {
		keep_vmm_clear(&k->vmm);
		return life_begin(d);
	}
	if (!p.pid)
		return 0;
	p.pidfd = keep_vmm_find(d->env.keep, &k->vmm);
	if (p.pidfd >= 0)
		return vmm_watch(d, &p);
	disk_log(LOG_LEVEL_INFO, d, "VMM process %d exited%s", (int)p.pid,
		 d->config.keep ? "" : ", emptied");
	keep_vmm_clear(&k->vmm);
	return d->config.keep ? 0 : life_begin(d);
}

static void workers_stop(struct disk *d)
{
	for (unsigned i = 0; i < DISK_WORKERS; i++)
		worker_destroy(d->worker[i]);
}

static int workers_start(struct disk *d)
{
	struct worker *of[QUEUES_MAX];
	int err = 0;

	for (unsigned i = 0; i < DISK_WORKERS && !err; i++)
		err = worker_create(&d->worker[i], d->env.core, d->env.poll_us);
	if (err) {
		workers_stop(d);
		return err;
	}
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		of[i] = d->worker[i % DISK_WORKERS];
	queue_set_init_device(&d->set, QUEUES_MAX, of, &blk_service, &d->blk, bell_ring, d);
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		ring_keep(&d->set.queue[i].ring, &d->env.kept->ring[i].word);
	return 0;
}

static int descriptors_start(struct disk *d)
{
	int err = loop_create(&d->loop);

	if (err)
		return err;
	d->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = d->bell < 0 || d->timer < 0 ? -errno : 0;
	if (!err)
		err = loop_add(d->loop, d->bell, EPOLLIN, on_bell, d, &d->ringing);
	if (!err)
		err = loop_add(d->loop, d->timer, EPOLLIN, on_tick, d, &d->ticking);
	return err;
}

static void descriptors_stop(struct disk *d)
{
	if (d->ringing)
		loop_remove(d->ringing);
	if (d->ticking)
		loop_remove(d->ticking);
	if (d->bell >= 0)
		close(d->bell);
	if (d->timer >= 0)
		close(d->timer);
	if (d->loop)
		loop_destroy(d->loop);
}

static struct disk *disk_new(const struct disk_env *env, const struct hv_disk_config *c)
{
	struct disk *d = aligned_alloc(64, (sizeof(*d) + 63) & ~(size_t)63);

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->env = *env;
	d->config = *c;
	snprintf(d->spill_path, sizeof(d->spill_path), "%s", c->spill ? c->spill : "");
	d->bell = d->timer = d->pidfd = d->inflight_file = -1;
	pthread_mutex_init(&d->lock, NULL);
	blocks_init(&d->blocks, env->client, c->size / BLOCKS_BYTES);
	d->blocks.spilled = bell_ring;
	d->blocks.spilled_arg = d;
	blk_init(&d->blk, &d->blocks, env->name, QUEUES_MAX, c->block);
	d->device = (struct vhost_device){
		.features = blk_features(),
		.config = &d->blk.config,
		.config_size = sizeof(d->blk.config),
		.life = on_life,
		.resumed = on_resumed,
		.inflight_file = &d->inflight_file,
		.arg = d,
	};
	return d;
}

static void disk_free(struct disk *d)
{
	blocks_fini(&d->blocks);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int disk_create(struct disk **out, const struct disk_env *env, const struct hv_disk_config *c)
{
	struct disk *d;
	int err;

	if (!c->size || c->size % BLOCKS_BYTES || (c->block != BLK_SECTOR &&
						   c->block != BLOCKS_BYTES))
		return -EINVAL;
	d = disk_new(env, c);
	if (!d)
		return -ENOMEM;
	err = spill_start(d);
	if (!err)
		err = descriptors_start(d);
	if (!err)
		err = contents_start(d);
	if (!err)
		err = tmem_ctx_create(env->core, &d->ctx);
	if (err)
		goto no_ctx;
	err = workers_start(d);
	if (err)
		goto no_workers;
	d->door = (struct door){ .name = env->name, .visit = disk_visit, .arg = d };
	err = door_open(&d->door, d->loop, c->socket, env->socket_group);
	if (err)
		goto no_door;
	bell_ring(d);
	err = alarm_thread_create(&d->thread, disk_main, d);
	if (err)
		goto no_thread;
	*out = d;
	return 0;

no_thread:
	door_close(&d->door);
no_door:
	queue_set_fini(&d->set);
	workers_stop(d);
no_workers:
	tmem_ctx_destroy(d->ctx);
no_ctx:
	vmm_unwatch(d);
	descriptors_stop(d);
	disk_free(d);
	return err;
}

/*
 * The loop's thread ends first: then no message, move or exit can come, and all it
 * owned is the caller's.  The rings are stopped by the end of the connection, so
 * no worker is in a call with the blocks when they go.
 */
void disk_destroy(struct disk *d, bool leave)
{
	atomic_store(&d->end, true);
	bell_ring(d);
	pthread_join(d->thread, NULL);
	door_close(&d->door);
	disk_disconnect(d);
	vmm_unwatch(d);
	queue_set_fini(&d->set);
	workers_stop(d);
	tmem_ctx_destroy(d->ctx);
	descriptors_stop(d);
	if (!leave) {
		atomic_store(&d->env.kept->life, 0);
		tmem_pool_destroy(d->env.client, BLOCKS_POOL, NULL);
		spill_empty(&d->blocks.spill);
	}
	disk_free(d);
}

static uint64_t reading(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

void disk_info(struct disk *d, struct hv_disk_info *info)
{
	const struct blocks *b = &d->blocks;

	*info = (struct hv_disk_info){
		.config = d->config,
		.blocks_memory = blocks_in_memory(&d->blocks),
		.blocks_spilled = reading(&b->spill.held),
		.reads = reading(&d->blk.reads),
		.writes = reading(&d->blk.writes),
		.flushes = reading(&d->blk.flushes),
		.discards = reading(&d->blk.drops),
		.errors = reading(&d->blk.errors),
		.refused = reading(&b->refused),
		.moved_back = reading(&b->moved),
		.spill_reads = reading(&b->spill_reads),
		.spill_writes = reading(&b->spill_writes),
		.spill_errors = reading(&b->spill_errors),
	};
	info->config.socket = d->door.path;
	info->config.spill = d->spill_path;
	pthread_mutex_lock(&d->lock);
	info->connected = d->report.connected;
	info->vmm_pid = d->report.vmm;
	info->connections = d->report.connections;
	info->failures = d->report.failures;
	memcpy(info->last_failure, d->report.last_failure, sizeof(info->last_failure));
	pthread_mutex_unlock(&d->lock);
}

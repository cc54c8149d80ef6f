/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.c - connections and departures.
 *
 * The client in the core is made with the guest and kept for its life, so a
 * guest that is not connected has its quotas and counters.  It is taken over if
 * the core already knows the name: then its pages came back from the arena.
 *
 * #syscalls: accept4 bind chmod chown getsockopt listen pidfd_open poll shutdown socket unlink
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "disk.h"
#include "door.h"
#include "guest.h"
#include "handover.h"
#include "log.h"
#include "peer.h"
#include "sent.h"
#include "tmemp.h"
#include "transport.h"

static_assert((int)HV_DRAIN_DONE == (int)TMEMP_DRAIN_DONE &&
	      (int)HV_DRAIN_NO_ROOM == (int)TMEMP_DRAIN_NO_ROOM, "one numbering");

struct guest {
	struct guest_env env;
	char name[TMEM_NAME_MAX];
	enum hv_transport transport;
	const struct transport_ops *ops;	/* of transport */
	uint64_t region;
	char domain[HV_DOMAIN_MAX];	/* "": any */
	bool added;
	struct tmem_client *client;
	struct keep_guest *kept;
	struct disk *disk;		/* NULL: none */

	struct door door;

	void *kit;			/* for the next connection; NULL: none made */
	void *conn;			/* NULL: nobody connected */
	int socket;			/* conn's, while there is one */
	struct loop_source *talking;
	int turned_away;		/* the newest that was told so; -1: none */

	pid_t vmm;			/* 0: none, or not known */
	int pidfd;			/* of vmm; -1: none */
	struct loop_source *watching;

	uint64_t connections, failures;
	char last_failure[128];
	struct queue_set set;
};

const char *guest_name(const struct guest *g)
{
	return g->name;
}

/* ---- the VMM process ------------------------------------------------------- */

/* In its own pools: what the host keeps beside them is not the VMM's to wait for. */
static bool holds_persistent(struct guest *g)
{
	struct tmem_pool_info info;

	for (unsigned id = 0; id < TMEM_MAX_POOLS; id++) {
		if (!tmem_pool_info(g->client, id, &info) && info.spec.kind == TMEM_PERSISTENT &&
		    info.count.pages)
			return true;
	}
	return false;
}

/* Its exit is no longer heard of here. */
static void vmm_unwatch(struct guest *g)
{
	if (g->watching)
		loop_remove(g->watching);
	g->watching = NULL;
	if (g->pidfd >= 0)
		close(g->pidfd);
	g->pidfd = -1;
	g->vmm = 0;
}

/* The VMM is no longer ours to wait for: all it left goes. */
static void vmm_forget(struct guest *g)
{
	vmm_unwatch(g);
	session_forget(&g->set.session);
	keep_vmm_clear(&g->kept->vmm);
	handover_drop(g->env.handover, g->kept->vmm.pidfd);
	g->kept->vmm.pidfd = 0;
}

static void guest_disconnect(struct guest *g);

static void on_vmm_exit(void *arg, uint32_t events)
{
	struct guest *g = arg;

	(void)events;
	log_guest(LOG_LEVEL_INFO, g->name, "VMM process %d exited, pages dropped", (int)g->vmm);
	guest_disconnect(g);
	vmm_forget(g);
}

static int vmm_watch(struct guest *g, const struct peer *p)
{
	g->vmm = p->pid;
	g->pidfd = p->pidfd;
	keep_vmm_note(&g->kept->vmm, p->pid,
		      p->pidfd < 0 ? 0 : handover_keep(g->env.handover, p->pidfd));
	if (p->pidfd < 0)
		return 0;
	return loop_add(g->env.loop, p->pidfd, EPOLLIN, on_vmm_exit, g, &g->watching);
}

/* A VMM that exited while nobody was there to hear it. */
static void vmm_gone(struct guest *g, pid_t pid)
{
	if (holds_persistent(g))
		log_guest(LOG_LEVEL_INFO, g->name, "VMM process %d exited, pages dropped", (int)pid);
	guest_disconnect(g);
	vmm_forget(g);
}

/* The VMM that a predecessor knew: its pages stay for as long as it lives. */
static int vmm_resume(struct guest *g)
{
	struct peer p = { .pid = g->kept->vmm.pid };
	int err;

	p.pidfd = handover_take(g->env.handover, g->kept->vmm.pidfd);
	if (p.pidfd < 0)
		p.pidfd = keep_vmm_find(g->env.keep, &g->kept->vmm);
	/* Nobody knows whether it lives: then its connection is what says so. */
	if (p.pidfd < 0 && g->conn && !g->kept->vmm.pidfd)
		return 0;
	if (p.pidfd < 0 || peer_has_exited(p.pidfd)) {
		if (p.pidfd >= 0)
			close(p.pidfd);
		vmm_gone(g, p.pid);
		return 0;
	}
	g->vmm = p.pid;
	g->pidfd = p.pidfd;
	err = loop_add(g->env.loop, p.pidfd, EPOLLIN, on_vmm_exit, g, &g->watching);
	if (!err && !g->conn)
		log_guest(LOG_LEVEL_INFO, g->name, "VMM process %d lives, pages wait for it",
			  (int)p.pid);
	return err;
}

/* ---- connections ------------------------------------------------------------- */

/* Have what the next connection needs, before anybody can ask for it. */
static int kit_ready(struct guest *g)
{
	if (g->kit || !g->ops->kit_create)
		return 0;
	return g->ops->kit_create(&g->kit, g->set.count, g->region);
}

static void kit_drop(struct guest *g)
{
	if (g->kit)
		g->ops->kit_destroy(g->kit);
	g->kit = NULL;
}

/* Let a successor know of the connection, which is whole. */
static void conn_keep(struct guest *g, uint64_t number)
{
	struct keep_conn *c = &g->kept->conn;

	c->transport = g->transport;
	c->queues = g->set.count;
	atomic_store_explicit(&c->socket, number, memory_order_release);
}

static void conn_forget(struct guest *g)
{
	uint64_t number = g->kept->conn.socket;

	atomic_store_explicit(&g->kept->conn.socket, 0, memory_order_release);
	handover_drop(g->env.handover, number);
}

/* The end of a connection, for whatever reason; the VMM may still live. */
static void guest_disconnect(struct guest *g)
{
	if (!g->conn)
		return;
	loop_remove(g->talking);
	g->talking = NULL;
	conn_forget(g);
	g->ops->disconnect(g->conn);
	g->conn = NULL;
	session_end(&g->set.session);
	if (g->pidfd < 0)
		vmm_forget(g);
	/* Should this fail, it is tried once more when somebody connects. */
	kit_ready(g);
}

static void guest_fail(struct guest *g, const char *why)
{
	g->failures++;
	snprintf(g->last_failure, sizeof(g->last_failure), "%s", why);
	log_guest(LOG_LEVEL_WARN, g->name, "connection closed: %s", why);
	guest_disconnect(g);
}

void guest_check(struct guest *g)
{
	char text[sizeof(g->last_failure)];
	unsigned index;
	const char *why = g->conn ? queue_set_fault(&g->set, &index) : NULL;

	if (!why)
		return;
	snprintf(text, sizeof(text), "queue %u: %s", index, why);
	guest_fail(g, text);
}

#define MESSAGE_EVENTS	(EPOLLIN | EPOLLRDHUP | EPOLLET)

static void on_message(void *arg, uint32_t events)
{
	struct guest *g = arg;
	const char *why;
	int err;

	(void)events;
	err = g->ops->input(g->conn, &why);
	if (err == -ECONNRESET) {
		log_guest(LOG_LEVEL_INFO, g->name, "%s", why);
		guest_disconnect(g);
	} else if (err < 0) {
		guest_fail(g, why);
	} else if (err > 0) {
		/* Edges do not come again for what is there already. */
		loop_modify(g->talking, MESSAGE_EVENTS);
	}
}

/*
 * May p take the guest's place?  NULL, or why not.  A VMM known before that is
 * not p, or is but has exited, is forgotten with all its pages if so.
 */
static const char *peer_admit(struct guest *g, const struct peer *p)
{
	/* A VMM that reconnects at once may be seen here before its old end is. */
	if (g->conn && peer_is_over(g->socket))
		guest_disconnect(g);
	/* It may also keep the end of a device that was unplugged long ago. */
	if (g->conn && p->pid == g->vmm && g->ops->left && g->ops->left(g->conn)) {
		log_guest(LOG_LEVEL_INFO, g->name, "the guest let go of its device, and has another");
		guest_disconnect(g);
	}
	if (g->conn)
		return "already connected";
	if (g->pidfd >= 0 && peer_has_exited(g->pidfd))
		vmm_forget(g);
	if (g->pidfd < 0 || g->vmm == p->pid)
		return NULL;
	if (holds_persistent(g))
		return "another process, and the VMM that left persistent pages is alive";
	vmm_forget(g);
	return NULL;
}

static void turned_away_forget(struct guest *g)
{
	if (g->turned_away >= 0)
		sent_close(g->turned_away);
	g->turned_away = -1;
}

/*
 * Who is told so is left the time to read it: a QEMU into which an ivshmem device is
 * plugged looks only later, and one that finds the connection closed by then waits for
 * ever.  One descriptor a guest, closed when the next is turned away.
 */
static void turn_away(struct guest *g, int socket)
{
	if (!g->ops->turn_away) {
		sent_close(socket);
		return;
	}
	g->ops->turn_away(socket);
	turned_away_forget(g);
	g->turned_away = socket;
}

static int guest_connect(struct guest *g, int socket, struct peer *p)
{
	uint64_t number = handover_keep(g->env.handover, socket);
	int err = kit_ready(g);

	/* No ring runs yet: what is there is of the last connection. */
	queue_set_fault_clear(&g->set);
	if (!err)
		err = g->ops->connect(&g->conn, g->env.loop, &g->set, socket, g->kit);
	if (err) {
		turn_away(g, socket);
		goto no_conn;
	}
	g->kit = NULL;
	g->socket = socket;
	err = loop_add(g->env.loop, socket, MESSAGE_EVENTS, on_message, g, &g->talking);
	if (err)
		goto no_loop;
	if (g->pidfd < 0) {
		struct peer watched = *p;

		p->pidfd = -1;
		err = vmm_watch(g, &watched);
		if (err)
			goto no_watch;
	}
	conn_keep(g, number);
	g->connections++;
	log_guest(LOG_LEVEL_INFO, g->name, "connected by process %d", (int)p->pid);
	return 0;

no_watch:
	vmm_forget(g);
	loop_remove(g->talking);
	g->talking = NULL;
no_loop:
	g->ops->disconnect(g->conn);
	g->conn = NULL;
no_conn:
	handover_drop(g->env.handover, number);
	return err;
}

static void guest_visit(void *arg, int socket)
{
	struct guest *g = arg;
	struct peer p = peer_of(socket);
	const char *why = peer_admit(g, &p);
	int err;

	if (why) {
		log_guest(LOG_LEVEL_WARN, g->name, "connection by process %d refused: %s",
			  (int)p.pid, why);
		turn_away(g, socket);
	} else {
		err = guest_connect(g, socket, &p);
		if (err)
			log_guest(LOG_LEVEL_ERROR, g->name, "connection refused: %s",
				  strerror(-err));
	}
	if (p.pidfd >= 0)
		close(p.pidfd);
}

/* ---- going on for a predecessor --------------------------------------------------- */

/* The connection that it had, if that can go on: 0, or -errno. */
static int conn_resume(struct guest *g)
{
	const struct keep_conn *c = &g->kept->conn;
	int socket = handover_take(g->env.handover, c->socket);
	int err;

	if (socket < 0)
		return -ENOTCONN;
	err = c->transport == (uint32_t)g->transport && c->queues == g->set.count ? 0 : -EPROTO;
	if (!err)
		err = g->ops->resume(&g->conn, g->env.loop, &g->set, socket);
	if (err) {
		turn_away(g, socket);
		return err;
	}
	g->socket = socket;
	err = loop_add(g->env.loop, socket, MESSAGE_EVENTS, on_message, g, &g->talking);
	if (err) {
		g->ops->disconnect(g->conn);
		g->conn = NULL;
	}
	return err;
}

/* What cannot go on ends as a connection does. */
static int guest_resume(struct guest *g)
{
	bool connected = g->kept->conn.socket != 0;
	int err = conn_resume(g);

	if (err) {
		conn_forget(g);
		session_end(&g->set.session);
	}
	if (err && connected)
		log_guest(LOG_LEVEL_WARN, g->name, "connection lost with the last process: %s",
			  err == -EPROTO ? "it does not go with what was kept" : strerror(-err));
	err = vmm_resume(g);
	if (!err && g->conn)
		log_guest(LOG_LEVEL_INFO, g->name, "connection taken over, VMM process %d",
			  (int)g->vmm);
	return err;
}

static void replayed_log(struct guest *g, unsigned index, enum queue_replayed r)
{
	const struct queue *q = &g->set.queue[index];
	const struct tmemp_op *op = &q->refused;

	if (r == REPLAY_REFUSED)
		log_guest(LOG_LEVEL_ERROR, g->name,
			  "queue %u: request answered with an error, it has killed tmemd %u times: "
			  "%s pool %u object %llx.%llx.%llx index %u", index, q->deaths,
			  tmemp_opcode_name((uint16_t)op->op), op->pool,
			  (unsigned long long)op->key.oid[2], (unsigned long long)op->key.oid[1],
			  (unsigned long long)op->key.oid[0], op->key.index);
	else if (r == REPLAY_SERVED)
		log_guest(LOG_LEVEL_INFO, g->name, "queue %u: request in flight executed again",
			  index);
}

void guest_replay(struct guest *g)
{
	for (unsigned i = 0; g->conn && i < g->set.count; i++) {
		struct queue *q = &g->set.queue[i];

		replayed_log(g, i, worker_replay(q->worker, q));
	}
}

void guest_go(struct guest *g)
{
	if (!g->conn)
		return;
	g->ops->go(g->conn);
	if (queue_set_event(&g->set, TMEMP_EVENT_RETURNED))
		log_guest(LOG_LEVEL_WARN, g->name, "not told that another process serves it");
}

/* ---- life ------------------------------------------------------------------------ */

/* Find the record and the client of g, or make them; *found: the record was there. */
static int client_open(struct guest *g, const struct tmem_quota *quota, bool *found)
{
	int err = keep_guest_get(g->env.keep, g->name, &g->kept, found);

	if (err)
		return err;
	g->client = tmem_client_find(g->env.core, g->name);
	if (!g->client)
		err = tmem_client_create(g->env.core, g->name, &g->client);
	return err ? err : tmem_client_quota_set(g->client, quota);
}

/* The connection goes on in a successor. */
static void conn_leave(struct guest *g)
{
	if (!g->conn)
		return;
	loop_remove(g->talking);
	g->ops->leave(g->conn);
	g->conn = NULL;
}

static void client_close(struct guest *g)
{
	tmem_client_kill(g->client);
	tmem_client_destroy(g->client);
	keep_guest_drop(g->kept);
}

/* One that the guest no longer has, but had, goes. */
static int disk_open(struct guest *g, const struct hv_disk_config *c)
{
	struct disk_env env = {
		.name = g->name,
		.core = g->env.core,
		.client = g->client,
		.keep = g->env.keep,
		.kept = &g->kept->disk,
		.poll_us = g->env.poll_us,
		.socket_group = g->env.socket_group,
	};

	if (c->size)
		return disk_create(&g->disk, &env, c);
	atomic_store(&g->kept->disk.life, 0);
	return tmem_pool_destroy(g->client, TMEM_MAX_POOLS, NULL);
}

static void disk_close(struct guest *g, bool leave)
{
	if (g->disk)
		disk_destroy(g->disk, leave);
	g->disk = NULL;
}

int guest_create(struct guest **out, const struct guest_env *env, const struct hv_guest_config *c,
		 unsigned queues, struct worker *const worker[])
{
	struct guest *g;
	bool found;
	int err;

	if (!c->name[0] || strlen(c->name) >= sizeof(g->name))
		return -EINVAL;
	if (c->domain && strlen(c->domain) >= sizeof(g->domain))
		return -EINVAL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->env = *env;
	g->transport = c->transport;
	g->ops = transport_of(c->transport);
	g->region = c->region;
	g->pidfd = -1;
	g->turned_away = -1;
	strcpy(g->name, c->name);
	strcpy(g->domain, c->domain ? c->domain : "");
	g->added = c->added;
	err = client_open(g, &c->quota, &found);
	if (err)
		goto no_client;
	queue_set_init(&g->set, queues, worker, g->client, g->kept, env->handover,
		       env->failed, env->failed_arg);
	if (found)
		err = guest_resume(g);
	if (!err)
		err = kit_ready(g);
	if (!err)
		err = disk_open(g, &c->disk);
	if (err)
		goto no_listener;
	g->door = (struct door){
		.handover = env->handover,
		.kept = &g->kept->listener,
		.name = g->name,
		.visit = guest_visit,
		.arg = g,
	};
	err = door_open(&g->door, env->loop, c->socket, env->socket_group);
	if (err)
		goto no_listener;
	*out = g;
	return 0;

no_listener:
	disk_close(g, found);
	conn_leave(g);
	kit_drop(g);
	vmm_unwatch(g);
	turned_away_forget(g);
	queue_set_fini(&g->set);
	/* What the last process left, the next may be able to serve. */
	if (!found)
		client_close(g);
no_client:
	free(g);
	return err;
}

/*
 * Afterwards every ring is stopped and let go of by its worker, and no new one can
 * come without a listener: nobody is inside a call with the client.
 */
static void guest_close(struct guest *g, bool leave)
{
	disk_close(g, leave);
	door_close(&g->door);
	guest_disconnect(g);
	kit_drop(g);
}

void guest_destroy(struct guest *g)
{
	guest_close(g, false);
	vmm_forget(g);
	turned_away_forget(g);
	queue_set_fini(&g->set);
	client_close(g);
	free(g);
}

void guest_leave(struct guest *g)
{
	if (g->env.handover) {
		disk_close(g, true);
		door_leave(&g->door);
		conn_leave(g);
		kit_drop(g);
	} else {
		guest_close(g, true);
	}
	vmm_unwatch(g);
	turned_away_forget(g);
	queue_set_fini(&g->set);
	free(g);
}

static enum hv_guest_state guest_state(const struct guest *g)
{
	if (!g->conn)
		return g->pidfd >= 0 ? HV_GUEST_DEPARTED : HV_GUEST_LISTENING;
	return g->kept->session.open ? HV_GUEST_READY : HV_GUEST_CONNECTED;
}

int guest_drain(struct guest *g, bool drain)
{
	if (!g->conn || !g->kept->session.open)
		return -ENOTCONN;
	return queue_set_event(&g->set, drain ? TMEMP_EVENT_DRAIN : TMEMP_EVENT_LIMITS);
}

void guest_info(struct guest *g, struct hv_guest_info *info)
{
	struct session *s = &g->set.session;

	*info = (struct hv_guest_info){
		.name = g->name,
		.socket = g->door.path,
		.domain = g->domain,
		.added = g->added,
		.transport = g->transport,
		.region = g->region,
		.state = guest_state(g),
		.vmm_pid = g->vmm,
		.driver_version = s->kept->driver_version,
		.kernel_version = s->kept->kernel_version,
		.queues = queue_set_running(&g->set),
		.drain = (enum hv_drain)s->kept->drain_result,
		.drain_left = s->kept->drain_left,
		.requests = atomic_load_explicit(&s->requests, memory_order_relaxed),
		.bad_requests = atomic_load_explicit(&s->bad_requests, memory_order_relaxed),
		.connections = g->connections,
		.failures = g->failures,
		.client = g->client,
	};
	for (unsigned i = 0; i < g->set.count; i++) {
		info->kicks += atomic_load_explicit(&g->set.queue[i].kicks, memory_order_relaxed);
		info->interrupts += atomic_load_explicit(&g->set.queue[i].interrupts,
							 memory_order_relaxed);
	}
	strcpy(info->last_failure, g->last_failure);
	if (g->disk)
		disk_info(g->disk, &info->disk);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_backend.c - messages in, answers out, rings started and stopped.
 *
 * Only what is implemented here is offered: no dirty log, so a VMM knows that it
 * cannot migrate a guest with its device attached.
 *
 * Where the set has a keeper, a message is looked at in the socket (vhost_inbox.h),
 * carried out, what it changed is said to a successor (keep.h), it is answered, and
 * only then taken out.  Every message may be carried out twice.  What cannot
 * be told is whether an answer went out when we die in the very call that sends it;
 * a successor takes it for sent, as it nearly always was.
 *
 * #syscalls: fcntl fstat getsockopt poll sendmsg shutdown
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "handover.h"
#include "inflight.h"
#include "sent.h"
#include "tmemp_ring.h"
#include "vhost_backend.h"
#include "vhost_inbox.h"
#include "vhost_user.h"
#include "worker.h"

#define BIT(n) (1ull << (n))

#define RING_FEATURES                                                                              \
	(BIT(TMEMP_F_VERSION_1) | BIT(TMEMP_F_EVENT_IDX) | BIT(TMEMP_F_INDIRECT) |                 \
	 BIT(VHOST_USER_F_PROTOCOL_FEATURES))

#define PROTOCOL_FEATURES                                                                          \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |                    \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) |              \
	 BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) | BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

/* All regions of a table, the rings' descriptors and the channel. */
#define GONE_MAX	(2 * KEEP_REGIONS_MAX + 2 * KEEP_QUEUES_MAX + 1)

/* Messages handled in one turn of the loop: other guests' connections wait for them. */
#define TURN_MESSAGES	64

struct vring {
	struct keep_vhost_ring *said;	/* constant: in the backend's */
	int kick;			/* -1: none */
};

struct vhost_backend {
	struct queue_set *set;
	const struct vhost_device *device;
	struct vhost_inbox in;
	int backend_req;		/* kept open: VMMs take its end for ours; -1 */
	struct keep_vhost said;		/* all that the VMM has said: what another process needs */
	struct vring vring[QUEUES_MAX];
	struct inflight_region inflight;
	bool told;			/* this message is carried out, and said so to a successor */
	bool again;			/* it may have been carried out by our predecessor */
	uint64_t gone[GONE_MAX];	/* descriptors to be let go of once said no longer names them */
	unsigned gone_count;
	const char *why;		/* set by whoever returns an error */
	char text[128];			/* the same with the message's name */
};

static int refuse(struct vhost_backend *v, const char *why)
{
	v->why = why;
	return -EPROTO;
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		sent_drop(*fd);
	*fd = -1;
}

static int fd_take(struct vhost_message *m)
{
	int fd = m->fd[0];

	m->fd[0] = -1;
	return fd;
}

/* ---- what a successor needs --------------------------------------------------- */

static_assert(KEEP_REGIONS_MAX >= MEMMAP_REGIONS_MAX, "every region of a table");

static bool is_kept(const struct vhost_backend *v)
{
	return v->set->handover != NULL;
}

/* A descriptor that is not used any more. */
static void number_gone(struct vhost_backend *v, uint64_t *number)
{
	if (*number && v->gone_count < GONE_MAX)
		v->gone[v->gone_count++] = *number;
	*number = 0;
}

static void gone_drop(struct vhost_backend *v)
{
	while (v->gone_count)
		handover_drop(v->set->handover, v->gone[--v->gone_count]);
}

static void said_keep(struct vhost_backend *v)
{
	if (!is_kept(v))
		return;
	keep_said_write(&v->set->kept->conn, &v->said, sizeof(v->said));
	gone_drop(v);
}

/*
 * The message has been carried out.  Killed before this, a successor does that
 * again; after, it does not, and takes the answer for sent.
 */
static void message_done(struct vhost_backend *v)
{
	if (!is_kept(v) || v->told)
		return;
	TMEM_FAULT("message-done");
	said_keep(v);
	atomic_store_explicit(&v->set->kept->conn.told, 1, memory_order_release);
	v->told = true;
}

/* ---- answers --------------------------------------------------------------- */

/* fd goes beside the answer; -1: none. */
static int answer_fd(struct vhost_backend *v, const void *payload, uint32_t size, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = { .head = {
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct vhost_user_header h = {
		.request = v->in.m.h.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = size,
	};
	struct iovec iov[] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = size },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	message_done(v);
	do {
		n = sendmsg(v->in.socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)(sizeof(h) + size))
		return 0;
	if (n < 0 && errno == EPIPE) {
		v->why = "connection closed by the VMM";
		return -ECONNRESET;
	}
	return refuse(v, "VMM does not read its answers");
}

static int answer(struct vhost_backend *v, const void *payload, uint32_t size)
{
	return answer_fd(v, payload, size, -1);
}

static int answer_u64(struct vhost_backend *v, uint64_t value)
{
	return answer(v, &value, sizeof(value));
}

/* ---- rings ------------------------------------------------------------------ */

static struct vring *vring_at(struct vhost_backend *v, uint32_t index)
{
	if (index < v->set->count)
		return &v->vring[index];
	v->why = "no such queue";
	return NULL;
}

static struct queue *queue_of(struct vhost_backend *v, struct vring *r)
{
	return &v->set->queue[r - v->vring];
}

static void vring_stop(struct vhost_backend *v, struct vring *r)
{
	struct queue *q = queue_of(v, r);

	if (!r->said->running)
		return;
	r->said->base = worker_stop(q->worker, q);
	r->said->running = false;
}

static bool vring_is_complete(const struct vhost_backend *v, const struct vring *r)
{
	bool enabled = r->said->enabled || !(v->said.features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return r->said->num && r->said->placed && r->said->kicked && enabled;
}

static struct queue_place place_said(const struct keep_vhost_ring *said)
{
	return (struct queue_place){
		.num = said->num, .desc = said->desc, .avail = said->avail, .used = said->used,
	};
}

/* Start or stop a ring, as what the VMM has said asks for. */
static int vring_update(struct vhost_backend *v, struct vring *r)
{
	struct queue *q = queue_of(v, r);
	struct queue_place place;
	int err;

	if (!vring_is_complete(v, r)) {
		vring_stop(v, r);
		return 0;
	}
	if (r->said->running)
		return 0;
	place = place_said(r->said);
	err = queue_start(q, &place, v->said.features);
	if (err == -EFAULT)
		return refuse(v, "ring outside guest memory");
	if (err)
		return refuse(v, "ring misaligned");
	r->said->running = true;
	/* Before any request is served: from then on the ring's word is what counts. */
	said_keep(v);
	worker_activate(q->worker, q, r->kick < 0);
	return 0;
}

static void vring_kick_drop(struct vhost_backend *v, struct vring *r)
{
	if (r->kick >= 0)
		worker_unwatch(queue_of(v, r)->worker, r->kick);
	fd_close(&r->kick);
}

static void vring_kick_forget(struct vhost_backend *v, struct vring *r)
{
	vring_kick_drop(v, r);
	number_gone(v, &r->said->kick);
	r->said->kicked = false;
}

static void vring_call_drop(struct vhost_backend *v, struct vring *r)
{
	int old = queue_call_set(queue_of(v, r), -1);

	fd_close(&old);
}

/*
 * Kicks end before the worker lets go of the queue, running or not: the other
 * way round a late kick would make it active again.
 */
static void vring_release(struct vhost_backend *v, struct vring *r)
{
	struct queue *q = queue_of(v, r);

	vring_kick_drop(v, r);
	worker_stop(q->worker, q);
	vring_call_drop(v, r);
}

static void vring_reset(struct vhost_backend *v, struct vring *r)
{
	vring_release(v, r);
	number_gone(v, &r->said->kick);
	number_gone(v, &r->said->call);
	memset(r->said, 0, sizeof(*r->said));
}

/* ---- handlers: 0, or -errno with v->why ------------------------------------- */

static uint64_t features_offered(const struct vhost_backend *v)
{
	return RING_FEATURES | v->device->features;
}

static uint64_t protocol_features_offered(const struct vhost_backend *v)
{
	uint64_t inflight = v->device->life ? BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) : 0;

	return PROTOCOL_FEATURES | inflight;
}

static int on_get_features(struct vhost_backend *v, struct vhost_message *m)
{
	(void)m;
	return answer_u64(v, features_offered(v));
}

static int on_set_features(struct vhost_backend *v, struct vhost_message *m)
{
	if (m->p.u64 & ~features_offered(v))
		return refuse(v, "feature that was not offered");
	v->said.features = m->p.u64;
	for (unsigned i = 0; i < v->set->count; i++) {
		int err = vring_update(v, &v->vring[i]);

		if (err)
			return err;
	}
	return 0;
}

static int on_nothing(struct vhost_backend *v, struct vhost_message *m)
{
	(void)v;
	(void)m;
	return 0;
}

static int on_get_protocol_features(struct vhost_backend *v, struct vhost_message *m)
{
	(void)m;
	return answer_u64(v, protocol_features_offered(v));
}

static int on_set_protocol_features(struct vhost_backend *v, struct vhost_message *m)
{
	if (m->p.u64 & ~protocol_features_offered(v))
		return refuse(v, "protocol feature that was not offered");
	v->said.protocol_features = m->p.u64;
	return 0;
}

static int on_get_queue_num(struct vhost_backend *v, struct vhost_message *m)
{
	(void)m;
	return answer_u64(v, v->set->count);
}

static int on_get_max_mem_slots(struct vhost_backend *v, struct vhost_message *m)
{
	(void)m;
	return answer_u64(v, MEMMAP_REGIONS_MAX);
}

static int memory_refuse(struct vhost_backend *v, int err)
{
	switch (err) {
	case 0:
		return 0;
	case -EINVAL:
		return refuse(v, "memory region wraps, is empty or exceeds its file");
	case -EEXIST:
		return refuse(v, "memory regions overlap");
	case -ENOSPC:
		return refuse(v, "too many or too large memory regions");
	case -EBADF:
		return refuse(v, "memory region is not a regular file");
	case -ENOENT:
		return refuse(v, "no such memory region");
	case -EFAULT:
		return refuse(v, "running ring left without memory");
	default:
		return refuse(v, "memory region cannot be mapped");
	}
}

static struct memmap_spec spec_of(const struct vhost_user_region *r)
{
	return (struct memmap_spec){
		.guest = r->guest_addr,
		.size = r->size,
		.user = r->user_addr,
		.offset = r->mmap_offset,
	};
}

static int memory_swap(struct memmap *m, void *arg)
{
	struct memmap *next = arg, old = *m;

	*m = *next;
	*next = old;
	return 0;
}

static struct keep_region region_said(struct vhost_backend *v, const struct memmap_spec *s, int fd)
{
	return (struct keep_region){
		.guest = s->guest, .size = s->size, .user = s->user, .offset = s->offset,
		.fd = handover_keep(v->set->handover, fd),
	};
}

static void region_forget(struct vhost_backend *v, unsigned i)
{
	number_gone(v, &v->said.region[i].fd);
	v->said.region[i] = v->said.region[--v->said.regions];
}

static void regions_forget(struct vhost_backend *v)
{
	while (v->said.regions)
		region_forget(v, v->said.regions - 1);
}

static int on_set_mem_table(struct vhost_backend *v, struct vhost_message *m)
{
	const struct vhost_user_mem_table *t = &m->p.mem_table;
	struct memmap next = { .count = 0 };
	int err = 0;

	if (t->count > VHOST_USER_MAX_REGIONS || m->fds != t->count ||
	    m->h.size < offsetof(struct vhost_user_mem_table, region) +
				t->count * sizeof(t->region[0]))
		return refuse(v, "memory table and its descriptors do not match");
	for (unsigned i = 0; !err && i < t->count; i++) {
		struct memmap_spec spec = spec_of(&t->region[i]);

		err = memmap_add(&next, &spec, m->fd[i]);
	}
	if (!err)
		err = queue_set_memory(v->set, memory_swap, &next);
	memmap_clear(&next);
	if (err)
		return memory_refuse(v, err);
	regions_forget(v);
	for (unsigned i = 0; i < t->count; i++) {
		struct memmap_spec spec = spec_of(&t->region[i]);

		v->said.region[v->said.regions++] = region_said(v, &spec, m->fd[i]);
	}
	return 0;
}

struct region_change {
	struct memmap_spec spec;
	int fd;
};

static int memory_add(struct memmap *m, void *arg)
{
	const struct region_change *c = arg;

	return memmap_add(m, &c->spec, c->fd);
}

static int memory_remove(struct memmap *m, void *arg)
{
	const struct region_change *c = arg;

	return memmap_remove(m, &c->spec);
}

/* Which of the regions said this is; said.regions if none. */
static unsigned region_find(const struct vhost_backend *v, const struct memmap_spec *s)
{
	unsigned i = 0;

	while (i < v->said.regions && (v->said.region[i].guest != s->guest ||
				       v->said.region[i].user != s->user ||
				       v->said.region[i].size != s->size))
		i++;
	return i;
}

static int on_add_mem_reg(struct vhost_backend *v, struct vhost_message *m)
{
	struct region_change c = { .spec = spec_of(&m->p.mem_one.region), .fd = m->fd[0] };
	int err;

	if (v->again && region_find(v, &c.spec) < v->said.regions)
		return 0;
	err = queue_set_memory(v->set, memory_add, &c);
	if (!err)
		v->said.region[v->said.regions++] = region_said(v, &c.spec, c.fd);
	return memory_refuse(v, err);
}

static int on_rem_mem_reg(struct vhost_backend *v, struct vhost_message *m)
{
	struct region_change c = { .spec = spec_of(&m->p.mem_one.region) };
	unsigned i = region_find(v, &c.spec);
	int err;

	if (v->again && i == v->said.regions)
		return 0;
	err = queue_set_memory(v->set, memory_remove, &c);
	if (!err)
		region_forget(v, i);
	return memory_refuse(v, err);
}

static int on_set_vring_num(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);
	uint32_t num = m->p.state.num;

	if (!r)
		return -EPROTO;
	if (r->said->running && num != r->said->num)
		return refuse(v, "size of a running ring changed");
	if (!num || num > TMEMP_RING_NUM_MAX || (num & (num - 1)))
		return refuse(v, "ring size is not a power of two up to 1024");
	r->said->num = num;
	return vring_update(v, r);
}

static int on_set_vring_addr(struct vhost_backend *v, struct vhost_message *m)
{
	const struct vhost_user_vring_addr *a = &m->p.addr;
	struct vring *r = vring_at(v, a->index);

	if (!r)
		return -EPROTO;
	if (a->flags)
		return refuse(v, "ring flags for a log that was not offered");
	vring_stop(v, r);
	r->said->desc = a->desc;
	r->said->avail = a->avail;
	r->said->used = a->used;
	r->said->placed = true;
	return vring_update(v, r);
}

/* The used ring says where to go on (ring_start()); this is only ever the same. */
static int on_set_vring_base(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);

	if (!r)
		return -EPROTO;
	if (r->said->running && m->p.state.num != r->said->base)
		return refuse(v, "base of a running ring changed");
	if (m->p.state.num > UINT16_MAX)
		return refuse(v, "ring base out of range");
	r->said->base = (uint16_t)m->p.state.num;
	return 0;
}

static int on_get_vring_base(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);
	struct vhost_user_vring_state state;

	if (!r)
		return -EPROTO;
	vring_stop(v, r);
	vring_kick_forget(v, r);
	vring_call_drop(v, r);
	number_gone(v, &r->said->call);
	state = (struct vhost_user_vring_state){ .index = m->p.state.index, .num = r->said->base };
	return answer(v, &state, sizeof(state));
}

/* The ring that a KICK, CALL or ERR message is about, its descriptor as announced. */
static struct vring *vring_of_fd(struct vhost_backend *v, const struct vhost_message *m)
{
	struct vring *r = vring_at(v, (uint32_t)(m->p.u64 & VHOST_USER_VRING_INDEX_MASK));
	bool none = m->p.u64 & VHOST_USER_VRING_NOFD;

	if (r && (m->p.u64 & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD) ||
		  m->fds != (none ? 0u : 1u))) {
		v->why = "ring descriptor missing or not announced";
		return NULL;
	}
	return r;
}

static bool fd_is_local_socket(int fd)
{
	int domain = -1;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/*
 * Descriptors that workers watch and write: an eventfd (an inode of no type), a
 * pipe, or a socket between processes of this machine (User-mode Linux's
 * interrupts).  Anything else may do more than pass a signal on.
 */
static bool fd_is_signal(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (!S_ISSOCK(st.st_mode))
		return S_ISFIFO(st.st_mode) || !(st.st_mode & S_IFMT);
	return fd_is_local_socket(fd);
}

/* Interrupts are written by a worker, which must not be made to wait. */
static bool fd_unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static int on_set_vring_kick(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_of_fd(v, m);
	struct queue *q;

	if (!r)
		return -EPROTO;
	q = queue_of(v, r);
	vring_stop(v, r);
	vring_kick_forget(v, r);
	if (m->fds) {
		if (!fd_is_signal(m->fd[0]) || worker_watch(q->worker, q, m->fd[0]))
			return refuse(v, "kick descriptor cannot be watched");
		r->kick = fd_take(m);
		r->said->kick = handover_keep(v->set->handover, r->kick);
	}
	r->said->kicked = true;
	return vring_update(v, r);
}

static int on_set_vring_call(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_of_fd(v, m);
	int old;

	if (!r)
		return -EPROTO;
	if (m->fds && (!fd_is_signal(m->fd[0]) || !fd_unblock(m->fd[0])))
		return refuse(v, "interrupt descriptor cannot be written");
	number_gone(v, &r->said->call);
	if (m->fds)
		r->said->call = handover_keep(v->set->handover, m->fd[0]);
	old = queue_call_set(queue_of(v, r), m->fds ? fd_take(m) : -1);
	fd_close(&old);
	return 0;
}

static int on_set_vring_err(struct vhost_backend *v, struct vhost_message *m)
{
	return vring_of_fd(v, m) ? 0 : -EPROTO;
}

static int on_set_vring_enable(struct vhost_backend *v, struct vhost_message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);

	if (!r)
		return -EPROTO;
	if (m->p.state.num > 1)
		return refuse(v, "ring enabled by neither 0 nor 1");
	r->said->enabled = m->p.state.num != 0;
	return vring_update(v, r);
}

static int on_set_backend_req_fd(struct vhost_backend *v, struct vhost_message *m)
{
	/* Kept for as long as the VMM likes, so not one whose end may wait. */
	if (!fd_is_local_socket(m->fd[0]))
		return refuse(v, "channel is not a local socket");
	fd_close(&v->backend_req);
	v->backend_req = fd_take(m);
	number_gone(v, &v->said.backend_req);
	v->said.backend_req = handover_keep(v->set->handover, v->backend_req);
	return 0;
}

/* What is behind the device's configuration reads as zeroes. */
static int on_get_config(struct vhost_backend *v, struct vhost_message *m)
{
	const struct vhost_device *d = v->device;
	struct vhost_user_config *c = &m->p.config;
	uint32_t head = offsetof(struct vhost_user_config, data);

	if (c->size > VHOST_USER_MAX_CONFIG || c->offset > VHOST_USER_MAX_CONFIG - c->size ||
	    m->h.size < head)
		return answer(v, NULL, 0);
	memset(c->data, 0, sizeof(c->data));
	if (c->offset < d->config_size) {
		size_t left = d->config_size - c->offset;

		memcpy(c->data, (const char *)d->config + c->offset,
		       left < c->size ? left : c->size);
	}
	return answer(v, c, head + c->size);
}

/* ---- requests in flight ------------------------------------------------------- */

static bool runs_any(const struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->set->count; i++) {
		if (v->vring[i].said->running)
			return true;
	}
	return false;
}

static void inflight_replace(struct vhost_backend *v, const struct inflight_region *r)
{
	struct inflight_region old = v->inflight;

	v->inflight = *r;
	for (unsigned i = 0; i < v->set->count; i++)
		queue_inflight_set(&v->set->queue[i],
				   r->fd >= 0 && i < r->queues ? &v->inflight.queue[i] : NULL);
	inflight_drop(&old);
}

static struct inflight_place place_of(const struct vhost_user_inflight *w)
{
	return (struct inflight_place){
		.size = w->mmap_size,
		.offset = w->mmap_offset,
		.queues = w->queues,
		.queue_size = w->queue_size,
	};
}

/* A driver that begins asks for a new one; it comes back by SET_INFLIGHT_FD. */
static int on_get_inflight_fd(struct vhost_backend *v, struct vhost_message *m)
{
	struct inflight_place p = place_of(&m->p.inflight);
	struct inflight_region r;
	int err;

	if (p.queues > v->set->count)
		return refuse(v, "more queues than were offered");
	if (inflight_create(&r, &p, v->device->life(v->device->arg), v->device->inflight_file))
		return refuse(v, "region cannot be made");
	v->device->resumed(v->device->arg, true, 0);
	m->p.inflight.mmap_size = p.size;
	m->p.inflight.mmap_offset = p.offset;
	err = answer_fd(v, &m->p.inflight, m->h.size, r.fd);
	inflight_drop(&r);
	return err;
}

static int on_set_inflight_fd(struct vhost_backend *v, struct vhost_message *m)
{
	struct inflight_place p = place_of(&m->p.inflight);
	struct inflight_region r;
	uint64_t stamp;

	if (runs_any(v))
		return refuse(v, "region changed under a running ring");
	if (p.queues > v->set->count || inflight_attach(&r, &p, m->fd[0], &stamp))
		return refuse(v, "region is not what it should be");
	inflight_replace(v, &r);
	v->device->resumed(v->device->arg, false, stamp);
	return 0;
}

static int on_reset_device(struct vhost_backend *v, struct vhost_message *m)
{
	(void)m;
	for (unsigned i = 0; i < v->set->count; i++)
		vring_reset(v, &v->vring[i]);
	v->said.features = 0;
	return 0;
}

/* ---- one line a message -------------------------------------------------------- */

#define STATE_SIZE	sizeof(struct vhost_user_vring_state)
#define CONFIG_MIN	offsetof(struct vhost_user_config, data)
#define TABLE_MIN	offsetof(struct vhost_user_mem_table, region)
/* Some VMMs send, and want, the padding that their compiler puts behind it. */
#define INFLIGHT_MIN	(offsetof(struct vhost_user_inflight, queue_size) + sizeof(uint16_t))

static const struct line {
	const char *name;
	int (*handle)(struct vhost_backend *v, struct vhost_message *m);
	uint16_t size_min, size_max;	/* bytes of payload */
	uint8_t fds_min, fds_max;
	bool answers;			/* the handler answers; else NEED_REPLY is met by us */
	uint8_t feature;		/* protocol feature it needs, plus 1; 0: none */
} lines[VHOST_USER_REQUEST_END] = {
#define LINE(req, fn, smin, smax, fmin, fmax, ans, feat)                                           \
	[VHOST_USER_##req] = { #req, fn, smin, smax, fmin, fmax, ans, feat }
#define NEEDS(f) (VHOST_USER_PROTOCOL_F_##f + 1)
	LINE(GET_FEATURES, on_get_features, 0, 0, 0, 0, true, 0),
	LINE(SET_FEATURES, on_set_features, 8, 8, 0, 0, false, 0),
	LINE(SET_OWNER, on_nothing, 0, 0, 0, 0, false, 0),
	LINE(RESET_OWNER, on_nothing, 0, 0, 0, 0, false, 0),
	LINE(SET_MEM_TABLE, on_set_mem_table, TABLE_MIN, sizeof(struct vhost_user_mem_table), 0,
	     VHOST_USER_MAX_FDS, false, 0),
	LINE(SET_VRING_NUM, on_set_vring_num, STATE_SIZE, STATE_SIZE, 0, 0, false, 0),
	LINE(SET_VRING_ADDR, on_set_vring_addr, sizeof(struct vhost_user_vring_addr),
	     sizeof(struct vhost_user_vring_addr), 0, 0, false, 0),
	LINE(SET_VRING_BASE, on_set_vring_base, STATE_SIZE, STATE_SIZE, 0, 0, false, 0),
	LINE(GET_VRING_BASE, on_get_vring_base, STATE_SIZE, STATE_SIZE, 0, 0, true, 0),
	LINE(SET_VRING_KICK, on_set_vring_kick, 8, 8, 0, 1, false, 0),
	LINE(SET_VRING_CALL, on_set_vring_call, 8, 8, 0, 1, false, 0),
	LINE(SET_VRING_ERR, on_set_vring_err, 8, 8, 0, 1, false, 0),
	LINE(GET_PROTOCOL_FEATURES, on_get_protocol_features, 0, 0, 0, 0, true, 0),
	LINE(SET_PROTOCOL_FEATURES, on_set_protocol_features, 8, 8, 0, 0, false, 0),
	LINE(GET_QUEUE_NUM, on_get_queue_num, 0, 0, 0, 0, true, NEEDS(MQ)),
	LINE(SET_VRING_ENABLE, on_set_vring_enable, STATE_SIZE, STATE_SIZE, 0, 0, false, 0),
	LINE(SET_BACKEND_REQ_FD, on_set_backend_req_fd, 0, 8, 1, 1, false, NEEDS(BACKEND_REQ)),
	LINE(GET_CONFIG, on_get_config, CONFIG_MIN, sizeof(struct vhost_user_config), 0, 0, true,
	     NEEDS(CONFIG)),
	LINE(SET_CONFIG, on_nothing, CONFIG_MIN, sizeof(struct vhost_user_config), 0, 0, false,
	     NEEDS(CONFIG)),
	LINE(GET_INFLIGHT_FD, on_get_inflight_fd, INFLIGHT_MIN,
	     sizeof(struct vhost_user_inflight), 0, 0, true, NEEDS(INFLIGHT_SHMFD)),
	LINE(SET_INFLIGHT_FD, on_set_inflight_fd, INFLIGHT_MIN,
	     sizeof(struct vhost_user_inflight), 1, 1, false, NEEDS(INFLIGHT_SHMFD)),
	LINE(RESET_DEVICE, on_reset_device, 0, 0, 0, 0, false, NEEDS(RESET_DEVICE)),
	LINE(GET_MAX_MEM_SLOTS, on_get_max_mem_slots, 0, 0, 0, 0, true,
	     NEEDS(CONFIGURE_MEM_SLOTS)),
	LINE(ADD_MEM_REG, on_add_mem_reg, sizeof(struct vhost_user_mem_one),
	     sizeof(struct vhost_user_mem_one), 1, 1, false, NEEDS(CONFIGURE_MEM_SLOTS)),
	/* Some VMMs send the region's descriptor along. */
	LINE(REM_MEM_REG, on_rem_mem_reg, sizeof(struct vhost_user_mem_one),
	     sizeof(struct vhost_user_mem_one), 0, 1, false, NEEDS(CONFIGURE_MEM_SLOTS)),
};

static const struct line *line_of(struct vhost_backend *v)
{
	const struct vhost_user_header *h = &v->in.m.h;
	const struct line *l = h->request < VHOST_USER_REQUEST_END ? &lines[h->request] : NULL;

	if (!l || !l->handle) {
		v->why = "message that is not known";
		return NULL;
	}
	if (l->feature && !(v->said.protocol_features & BIT(l->feature - 1))) {
		v->why = "message whose feature was not negotiated";
		return NULL;
	}
	return l;
}

/* The header alone decides how much follows, so it is checked before any of that. */
static int header_check(void *arg, const char **why)
{
	struct vhost_backend *v = arg;
	const struct vhost_user_header *h = &v->in.m.h;
	const struct line *l = line_of(v);

	if (!l)
		*why = v->why;
	else if ((h->flags & ~VHOST_USER_NEED_REPLY) != VHOST_USER_VERSION)
		*why = "message flags or version";
	else if (h->size < l->size_min || h->size > l->size_max)
		*why = "message of wrong length";
	else
		return 0;
	return -EPROTO;
}

/*
 * Asked after the message was handled: User-mode Linux wants its answer to the
 * very message that makes acknowledgements part of the protocol.
 */
static bool ack_wanted(const struct vhost_backend *v, const struct line *l)
{
	return !l->answers && v->in.m.h.flags & VHOST_USER_NEED_REPLY &&
	       v->said.protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

static int message_handle(struct vhost_backend *v)
{
	const struct line *l = line_of(v);
	struct vhost_message *m = &v->in.m;
	int err;

	if (!l)
		return -EPROTO;
	if (m->fds < l->fds_min || m->fds > l->fds_max)
		err = refuse(v, "message with wrong number of descriptors");
	else
		err = l->handle(v, m);
	if (!err)
		message_done(v);
	if (ack_wanted(v, l)) {
		const char *why = v->why;
		int sent = answer_u64(v, err ? 1 : 0);

		if (!err)
			err = sent;
		else
			v->why = why;
	}
	return err;
}

/* ---- taking in ------------------------------------------------------------------ */

static const char *failure_text(struct vhost_backend *v, int err)
{
	uint32_t request = v->in.m.h.request;

	if (err == -ECONNRESET || v->in.got < sizeof(v->in.m.h))
		return v->why;
	if (request < VHOST_USER_REQUEST_END && lines[request].name)
		snprintf(v->text, sizeof(v->text), "%s: %s", lines[request].name, v->why);
	else
		snprintf(v->text, sizeof(v->text), "message %u: %s", request, v->why);
	return v->text;
}

int vhost_backend_input(struct vhost_backend *v, const char **why)
{
	int err = 0;

	for (unsigned i = 0; !err && i < TURN_MESSAGES; i++) {
		err = vhost_inbox_take(&v->in, &v->why);
		if (!err)
			return 0;
		if (err > 0)
			err = message_handle(v);
		if (err)
			break;
		v->told = v->again = false;
		err = vhost_inbox_consume(&v->in, &v->why);
	}
	if (!err)
		return is_kept(v);
	*why = failure_text(v, err);
	return err;
}

/* ---- life ------------------------------------------------------------------------- */

const struct vhost_device vhost_device_ring = { .features = 0 };

static struct vhost_backend *backend_new(struct queue_set *set, const struct vhost_device *device,
					 int socket)
{
	struct vhost_backend *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->set = set;
	v->device = device;
	v->inflight.fd = -1;
	v->in = (struct vhost_inbox){
		.socket = socket,
		.header_check = header_check,
		.arg = v,
		.told = is_kept(v) ? &set->kept->conn.told : NULL,
	};
	v->backend_req = -1;
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		v->vring[i] = (struct vring){ .said = &v->said.ring[i], .kick = -1 };
	return v;
}

int vhost_backend_create(struct vhost_backend **out, struct queue_set *set,
			 const struct vhost_device *device, int socket)
{
	struct vhost_backend *v = backend_new(set, device, socket);
	int err = v ? 0 : -ENOMEM;

	if (!err) {
		said_keep(v);
		err = vhost_inbox_open(&v->in);
	}
	if (err) {
		free(v);
		return err;
	}
	*out = v;
	return 0;
}

static int memory_drop(struct memmap *m, void *arg)
{
	(void)arg;
	memmap_clear(m);
	return 0;
}

/* All that is this process's alone. */
static void backend_free(struct vhost_backend *v)
{
	inflight_replace(v, &(struct inflight_region){ .fd = -1 });
	queue_set_memory(v->set, memory_drop, NULL);
	vhost_inbox_close(&v->in);
	fd_close(&v->backend_req);
	free(v);
}

void vhost_backend_leave(struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->set->count; i++)
		vring_release(v, &v->vring[i]);
	close(v->in.socket);
	backend_free(v);
}

/* No successor goes on with it: what is kept for one goes, too. */
static void said_forget(struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->set->count; i++)
		vring_reset(v, &v->vring[i]);
	regions_forget(v);
	number_gone(v, &v->said.backend_req);
	gone_drop(v);
}

void vhost_backend_destroy(struct vhost_backend *v)
{
	said_forget(v);
	sent_close(v->in.socket);
	backend_free(v);
}

/* ---- going on for a predecessor ---------------------------------------------------- */

static int region_resume(struct memmap *m, void *arg)
{
	struct vhost_backend *v = arg;
	int err = 0;

	for (unsigned i = 0; !err && i < v->said.regions; i++) {
		const struct keep_region *r = &v->said.region[i];
		struct memmap_spec spec = { r->guest, r->size, r->user, r->offset };
		int fd = handover_take(v->set->handover, r->fd);

		err = fd < 0 ? -EBADF : memmap_add(m, &spec, fd);
		fd_close(&fd);
	}
	return err;
}

static int vring_resume(struct vhost_backend *v, struct vring *r)
{
	struct queue_place place = place_said(r->said);
	struct queue *q = queue_of(v, r);
	int call = handover_take(v->set->handover, r->said->call);
	int err;

	r->kick = handover_take(v->set->handover, r->said->kick);
	queue_call_set(q, call);
	if ((r->said->kick && r->kick < 0) || (r->said->call && call < 0))
		return -EBADF;
	err = r->kick >= 0 ? worker_watch(q->worker, q, r->kick) : 0;
	return err || !r->said->running ? err : queue_resume(q, &place, v->said.features);
}

int vhost_backend_resume(struct vhost_backend **out, struct queue_set *set,
			 const struct vhost_device *device, int socket)
{
	struct vhost_backend *v = backend_new(set, device, socket);
	int err = 0;

	if (!v)
		return -ENOMEM;
	if (!keep_said_read(&set->kept->conn, &v->said, sizeof(v->said)) ||
	    v->said.regions > KEEP_REGIONS_MAX) {
		memset(&v->said, 0, sizeof(v->said));
		err = -EPROTO;
	}
	if (!err)
		err = queue_set_memory(set, region_resume, v);
	for (unsigned i = 0; !err && i < set->count; i++)
		err = vring_resume(v, &v->vring[i]);
	if (v->said.backend_req)
		v->backend_req = handover_take(set->handover, v->said.backend_req);
	if (!err)
		err = vhost_inbox_resume(&v->in);
	v->again = true;
	if (!err) {
		*out = v;
		return 0;
	}
	said_forget(v);
	backend_free(v);
	return err;
}

void vhost_backend_go(struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->set->count; i++) {
		struct queue *q = &v->set->queue[i];

		if (!v->vring[i].said->running)
			continue;
		worker_release(q->worker, q);
		worker_activate(q->worker, q, v->vring[i].kick < 0);
	}
}

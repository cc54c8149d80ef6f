/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_backend.c - messages in, answers out, rings started and stopped.
 *
 * Only what is implemented here is offered: no dirty log, so a VMM knows that it
 * cannot migrate a guest with its device attached.
 *
 * #syscalls: fcntl fstat getsockopt poll recvmsg sendmsg shutdown
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inflight.h"
#include "tmemp_ring.h"
#include "vhost_backend.h"
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

/* Messages handled in one turn of the loop: other guests' connections wait for them. */
#define TURN_MESSAGES	64

/* What the VMM has said of one ring. */
struct vring {
	struct queue_place place;	/* num 0: not given */
	bool placed;			/* addresses given */
	bool kicked;			/* SET_VRING_KICK came */
	bool enabled;
	bool running;
	int kick;			/* -1: none */
	uint16_t base;			/* next request when not running */
};

struct message {
	struct vhost_user_header h;
	union vhost_user_payload p;
	int fd[VHOST_USER_MAX_FDS];	/* -1: taken by the handler */
	unsigned fds;
};

struct vhost_backend {
	struct queue_set *set;
	const struct vhost_device *device;
	int socket;
	int backend_req;		/* kept open: VMMs take its end for ours; -1 */
	uint64_t features, protocol_features;	/* as the VMM accepted them */
	struct vring vring[QUEUES_MAX];
	struct inflight_region inflight;
	struct message m;		/* the one being taken in */
	size_t got;			/* bytes of it: header, then payload */
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
		close(*fd);
	*fd = -1;
}

static int fd_take(struct message *m)
{
	int fd = m->fd[0];

	m->fd[0] = -1;
	return fd;
}

static void message_clear(struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->m.fds; i++)
		fd_close(&v->m.fd[i]);
	v->m.fds = 0;
	v->got = 0;
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
		.request = v->m.h.request,
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
	do {
		n = sendmsg(v->socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
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

	if (!r->running)
		return;
	r->base = worker_stop(q->worker, q);
	r->running = false;
}

static bool vring_is_complete(const struct vhost_backend *v, const struct vring *r)
{
	bool enabled = r->enabled || !(v->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return r->place.num && r->placed && r->kicked && enabled;
}

/* Start or stop a ring, as what the VMM has said asks for. */
static int vring_update(struct vhost_backend *v, struct vring *r)
{
	struct queue *q = queue_of(v, r);
	int err;

	if (!vring_is_complete(v, r)) {
		vring_stop(v, r);
		return 0;
	}
	if (r->running)
		return 0;
	err = queue_start(q, &r->place, v->features);
	if (err == -EFAULT)
		return refuse(v, "ring outside guest memory");
	if (err)
		return refuse(v, "ring misaligned");
	r->running = true;
	worker_activate(q->worker, q, r->kick < 0);
	return 0;
}

static void vring_kick_drop(struct vhost_backend *v, struct vring *r)
{
	if (r->kick >= 0)
		worker_unwatch(queue_of(v, r)->worker, r->kick);
	fd_close(&r->kick);
	r->kicked = false;
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
static void vring_reset(struct vhost_backend *v, struct vring *r)
{
	struct queue *q = queue_of(v, r);

	vring_kick_drop(v, r);
	worker_stop(q->worker, q);
	vring_call_drop(v, r);
	*r = (struct vring){ .kick = -1 };
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

static int on_get_features(struct vhost_backend *v, struct message *m)
{
	(void)m;
	return answer_u64(v, features_offered(v));
}

static int on_set_features(struct vhost_backend *v, struct message *m)
{
	if (m->p.u64 & ~features_offered(v))
		return refuse(v, "feature that was not offered");
	v->features = m->p.u64;
	for (unsigned i = 0; i < v->set->count; i++) {
		int err = vring_update(v, &v->vring[i]);

		if (err)
			return err;
	}
	return 0;
}

static int on_nothing(struct vhost_backend *v, struct message *m)
{
	(void)v;
	(void)m;
	return 0;
}

static int on_get_protocol_features(struct vhost_backend *v, struct message *m)
{
	(void)m;
	return answer_u64(v, protocol_features_offered(v));
}

static int on_set_protocol_features(struct vhost_backend *v, struct message *m)
{
	if (m->p.u64 & ~protocol_features_offered(v))
		return refuse(v, "protocol feature that was not offered");
	v->protocol_features = m->p.u64;
	return 0;
}

static int on_get_queue_num(struct vhost_backend *v, struct message *m)
{
	(void)m;
	return answer_u64(v, v->set->count);
}

static int on_get_max_mem_slots(struct vhost_backend *v, struct message *m)
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

static int on_set_mem_table(struct vhost_backend *v, struct message *m)
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
	return memory_refuse(v, err);
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

static int on_add_mem_reg(struct vhost_backend *v, struct message *m)
{
	struct region_change c = { .spec = spec_of(&m->p.mem_one.region), .fd = m->fd[0] };

	return memory_refuse(v, queue_set_memory(v->set, memory_add, &c));
}

static int on_rem_mem_reg(struct vhost_backend *v, struct message *m)
{
	struct region_change c = { .spec = spec_of(&m->p.mem_one.region) };

	return memory_refuse(v, queue_set_memory(v->set, memory_remove, &c));
}

static int on_set_vring_num(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);
	uint32_t num = m->p.state.num;

	if (!r)
		return -EPROTO;
	if (r->running)
		return refuse(v, "size of a running ring changed");
	if (!num || num > TMEMP_RING_NUM_MAX || (num & (num - 1)))
		return refuse(v, "ring size is not a power of two up to 1024");
	r->place.num = num;
	return vring_update(v, r);
}

static int on_set_vring_addr(struct vhost_backend *v, struct message *m)
{
	const struct vhost_user_vring_addr *a = &m->p.addr;
	struct vring *r = vring_at(v, a->index);

	if (!r)
		return -EPROTO;
	if (a->flags)
		return refuse(v, "ring flags for a log that was not offered");
	vring_stop(v, r);
	r->place.desc = a->desc;
	r->place.avail = a->avail;
	r->place.used = a->used;
	r->placed = true;
	return vring_update(v, r);
}

/* The used ring says where to go on (ring_start()); this is only ever the same. */
static int on_set_vring_base(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);

	if (!r)
		return -EPROTO;
	if (r->running)
		return refuse(v, "base of a running ring changed");
	if (m->p.state.num > UINT16_MAX)
		return refuse(v, "ring base out of range");
	r->base = (uint16_t)m->p.state.num;
	return 0;
}

static int on_get_vring_base(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);
	struct vhost_user_vring_state state;

	if (!r)
		return -EPROTO;
	vring_stop(v, r);
	vring_kick_drop(v, r);
	vring_call_drop(v, r);
	state = (struct vhost_user_vring_state){ .index = m->p.state.index, .num = r->base };
	return answer(v, &state, sizeof(state));
}

/* The ring that a KICK, CALL or ERR message is about, its descriptor as announced. */
static struct vring *vring_of_fd(struct vhost_backend *v, const struct message *m)
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

/*
 * Descriptors that workers watch and write: an eventfd (an inode of no type), a
 * pipe, or a socket between processes of this machine (User-mode Linux's
 * interrupts).  Anything else may do more than pass a signal on.
 */
static bool fd_is_signal(int fd)
{
	struct stat st;
	int domain = -1;
	socklen_t len = sizeof(domain);

	if (fstat(fd, &st) < 0)
		return false;
	if (!S_ISSOCK(st.st_mode))
		return S_ISFIFO(st.st_mode) || !(st.st_mode & S_IFMT);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* Interrupts are written by a worker, which must not be made to wait. */
static bool fd_unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static int on_set_vring_kick(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_of_fd(v, m);
	struct queue *q;

	if (!r)
		return -EPROTO;
	q = queue_of(v, r);
	vring_stop(v, r);
	vring_kick_drop(v, r);
	if (m->fds) {
		if (!fd_is_signal(m->fd[0]) || worker_watch(q->worker, q, m->fd[0]))
			return refuse(v, "kick descriptor cannot be watched");
		r->kick = fd_take(m);
	}
	r->kicked = true;
	return vring_update(v, r);
}

static int on_set_vring_call(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_of_fd(v, m);
	int old;

	if (!r)
		return -EPROTO;
	if (m->fds && (!fd_is_signal(m->fd[0]) || !fd_unblock(m->fd[0])))
		return refuse(v, "interrupt descriptor cannot be written");
	old = queue_call_set(queue_of(v, r), m->fds ? fd_take(m) : -1);
	fd_close(&old);
	return 0;
}

static int on_set_vring_err(struct vhost_backend *v, struct message *m)
{
	return vring_of_fd(v, m) ? 0 : -EPROTO;
}

static int on_set_vring_enable(struct vhost_backend *v, struct message *m)
{
	struct vring *r = vring_at(v, m->p.state.index);

	if (!r)
		return -EPROTO;
	if (m->p.state.num > 1)
		return refuse(v, "ring enabled by neither 0 nor 1");
	r->enabled = m->p.state.num;
	return vring_update(v, r);
}

static int on_set_backend_req_fd(struct vhost_backend *v, struct message *m)
{
	fd_close(&v->backend_req);
	v->backend_req = fd_take(m);
	return 0;
}

/* What is behind the device's configuration reads as zeroes. */
static int on_get_config(struct vhost_backend *v, struct message *m)
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
		if (v->vring[i].running)
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
static int on_get_inflight_fd(struct vhost_backend *v, struct message *m)
{
	struct inflight_place p = place_of(&m->p.inflight);
	struct inflight_region r;
	int err;

	if (p.queues > v->set->count)
		return refuse(v, "more queues than were offered");
	if (inflight_create(&r, &p, v->device->life(v->device->arg)))
		return refuse(v, "region cannot be made");
	v->device->resumed(v->device->arg, true, 0);
	m->p.inflight.mmap_size = p.size;
	m->p.inflight.mmap_offset = p.offset;
	err = answer_fd(v, &m->p.inflight, m->h.size, r.fd);
	inflight_drop(&r);
	return err;
}

static int on_set_inflight_fd(struct vhost_backend *v, struct message *m)
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

static int on_reset_device(struct vhost_backend *v, struct message *m)
{
	(void)m;
	for (unsigned i = 0; i < v->set->count; i++)
		vring_reset(v, &v->vring[i]);
	v->features = 0;
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
	int (*handle)(struct vhost_backend *v, struct message *m);
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
	const struct vhost_user_header *h = &v->m.h;
	const struct line *l = h->request < VHOST_USER_REQUEST_END ? &lines[h->request] : NULL;

	if (!l || !l->handle) {
		v->why = "message that is not known";
		return NULL;
	}
	if (l->feature && !(v->protocol_features & BIT(l->feature - 1))) {
		v->why = "message whose feature was not negotiated";
		return NULL;
	}
	return l;
}

/* The header alone decides how much follows, so it is checked before any of that. */
static int header_check(struct vhost_backend *v)
{
	const struct vhost_user_header *h = &v->m.h;
	const struct line *l = line_of(v);

	if (!l)
		return -EPROTO;
	if ((h->flags & ~VHOST_USER_NEED_REPLY) != VHOST_USER_VERSION)
		return refuse(v, "message flags or version");
	if (h->size < l->size_min || h->size > l->size_max)
		return refuse(v, "message of wrong length");
	return 0;
}

/*
 * Asked after the message was handled: User-mode Linux wants its answer to the
 * very message that makes acknowledgements part of the protocol.
 */
static bool ack_wanted(const struct vhost_backend *v, const struct line *l)
{
	return !l->answers && v->m.h.flags & VHOST_USER_NEED_REPLY &&
	       v->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

static int message_handle(struct vhost_backend *v)
{
	const struct line *l = line_of(v);
	struct message *m = &v->m;
	int err;

	if (!l)
		return -EPROTO;
	if (m->fds < l->fds_min || m->fds > l->fds_max)
		err = refuse(v, "message with wrong number of descriptors");
	else
		err = l->handle(v, m);
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

static int fds_keep(struct vhost_backend *v, struct msghdr *msg)
{
	struct message *m = &v->m;
	bool over = msg->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->fds < VHOST_USER_MAX_FDS) {
				m->fd[m->fds++] = fd;
			} else {
				close(fd);
				over = true;
			}
		}
	}
	return over ? refuse(v, "too many descriptors in a message") : 0;
}

/*
 * Read up to want bytes into to.  Returns how many, 0 if none are there now, or
 * -errno.
 */
static ssize_t take(struct vhost_backend *v, void *to, size_t want)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = want };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(v->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int err;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		v->why = v->got ? "connection closed by the VMM in the middle of a message" :
				  "connection closed by the VMM";
		return -ECONNRESET;
	}
	err = fds_keep(v, &msg);
	return err ? err : n;
}

/* Take in more of the message: 1 if it is whole, 0 if the rest is not there yet. */
static int message_take(struct vhost_backend *v)
{
	const size_t head = sizeof(v->m.h);
	ssize_t n;
	int err;

	if (v->got < head) {
		n = take(v, (uint8_t *)&v->m.h + v->got, head - v->got);
		if (n <= 0)
			return (int)n;
		v->got += (size_t)n;
		if (v->got < head)
			return 0;
		err = header_check(v);
		if (err)
			return err;
		memset(&v->m.p, 0, sizeof(v->m.p));
	}
	if (v->got < head + v->m.h.size) {
		n = take(v, v->m.p.raw + (v->got - head), head + v->m.h.size - v->got);
		if (n <= 0)
			return (int)n;
		v->got += (size_t)n;
	}
	return v->got == head + v->m.h.size;
}

static const char *failure_text(struct vhost_backend *v, int err)
{
	uint32_t request = v->m.h.request;

	if (err == -ECONNRESET || v->got < sizeof(v->m.h))
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
		err = message_take(v);
		if (!err)
			return 0;
		if (err > 0)
			err = message_handle(v);
		if (!err)
			message_clear(v);
	}
	if (err)
		*why = failure_text(v, err);
	return err;
}

/* ---- life ------------------------------------------------------------------------- */

const struct vhost_device vhost_device_ring = { .features = 0 };

int vhost_backend_create(struct vhost_backend **out, struct queue_set *set,
			 const struct vhost_device *device, int socket)
{
	struct vhost_backend *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->set = set;
	v->device = device;
	v->inflight.fd = -1;
	v->socket = socket;
	v->backend_req = -1;
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		v->vring[i].kick = -1;
	*out = v;
	return 0;
}

static int memory_drop(struct memmap *m, void *arg)
{
	(void)arg;
	memmap_clear(m);
	return 0;
}

void vhost_backend_destroy(struct vhost_backend *v)
{
	for (unsigned i = 0; i < v->set->count; i++)
		vring_reset(v, &v->vring[i]);
	inflight_replace(v, &(struct inflight_region){ .fd = -1 });
	queue_set_memory(v->set, memory_drop, NULL);
	message_clear(v);
	fd_close(&v->backend_req);
	close(v->socket);
	free(v);
}

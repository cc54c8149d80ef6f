/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * front.h - a user-space front end: one process plays the VMM and its guest.
 *
 * Owns:    guest memory (two memfds), the vhost-user connection, one split
 *          virtqueue driver a queue, and the tmem requests on it.
 * How:     three layers, each usable without the one above it, so that a test
 *          can be a perfect guest or a malicious one at any level:
 *            front_vhost_*    vhost-user messages            (vhost.c)
 *            front_ivshmem_*  handshake and region           (ivshmem.c)
 *            front_*          memory and connection          (front.c)
 *            front_queue_*    descriptors and indices        (queue.c)
 *            front_put, ...   requests of the tmem protocol  (request.c)
 *            front_disk_*     requests of a block device     (disk.c)
 *          The structures are open: what a test wants to break, it writes.
 * Must not: know the daemon beyond protocol/.
 *
 * Guest memory is two regions with unlike guest addresses, user addresses and
 * file offsets, so that a host that confuses the three fails at once:
 *
 *   rings   one descriptor table, available and used ring for each queue
 *   data    for each slot of each queue one page, and a block with request,
 *           response and indirect table
 *
 * Over ivshmem both are the host's region, and an address is an offset in it.
 *
 * A slot is a place for one request.  Queue size n has n slots where chains are
 * indirect, n / 3 otherwise; slot i always uses the same descriptors, so there
 * is no descriptor free list.
 *
 * Threads: a front_queue belongs to one thread at a time, different queues may
 * be used by different threads at once; everything else is for one thread.
 *
 * Results: 0 or a tmemp status (0 is TMEMP_OK for both), or -errno:
 *   -ECONNRESET  the host closed the connection
 *   -ETIMEDOUT   no completion within config.timeout_ms
 *   -EPROTO      the host broke the protocol (unknown head, wrong length, ...)
 *   -EIO         the host completed a request without a status
 */
#ifndef FRONT_H
#define FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tmemp.h"
#include "tmemp_ivshmem.h"
#include "tmemp_ring.h"
#include "vhost_user.h"

#define FRONT_MAX_QUEUES	16u
#define FRONT_SPIN_FOREVER	UINT64_MAX

struct front_config {
	const char *socket;	/* path the host listens on */
	unsigned queues;	/* wanted; the host may offer fewer */
	unsigned queue_size;	/* power of two, 4 to TMEMP_RING_NUM_MAX */
	bool event_idx;		/* use it where offered */
	bool indirect;		/* use it where offered */
	bool mem_slots;		/* ADD_MEM_REG instead of SET_MEM_TABLE */
	bool disk;		/* the socket is a vhost-user-blk device's */
	bool ivshmem;		/* the socket is an ivshmem server's; queue_size is the host's */
	uint64_t spin_ns;	/* look for a completion this long before sleeping */
	unsigned timeout_ms;	/* bound of every wait */
};

#define FRONT_CONFIG_DEFAULT \
	{ .queues = 1, .queue_size = 256, .event_idx = true, .indirect = true, \
	  .spin_ns = 20000, .timeout_ms = 10000 }

/* A piece of guest memory. */
struct front_region {
	int fd;
	uint8_t *base;		/* here; also what the host is told as user_addr */
	uint64_t size;		/* bytes */
	uint64_t guest_addr;
	uint64_t offset;	/* of base in fd, bytes */
};

/* request, response and page are in guest memory: the host may write there. */
struct front_request {
	struct tmemp_request *request;
	struct tmemp_response *response;
	struct tmemp_desc *table;	/* indirect table, 3 long */
	uint8_t *page;
	uint16_t slot;
	enum { FRONT_FREE, FRONT_RESERVED, FRONT_QUEUED, FRONT_DONE } state;
	bool posted;		/* nobody waits: goes back by itself when done */
	uint32_t written;	/* used.len, once DONE */
};

/*
 * Invariants: kicked_idx <= avail_idx, used_idx <= avail_idx (modulo 2^16);
 * avail_idx - used_idx == requests in state QUEUED;
 * free_count == requests in state FREE.
 */
struct front_queue {
	struct front *front;
	unsigned index;
	unsigned size;			/* descriptors */
	unsigned room;			/* requests that memory has room for */
	uint64_t ring_bytes;
	struct tmemp_desc *desc;	/* in guest memory, like the next two */
	struct tmemp_avail *avail;
	struct tmemp_used *used;
	uint16_t avail_idx;		/* private: next to make available */
	uint16_t kicked_idx;		/* private: avail_idx when last kicked or not */
	uint16_t used_idx;		/* private: next used entry to look at */
	int kick, call;			/* eventfds */

	struct front_request *request;	/* slots of them are in use */
	unsigned slots;
	uint16_t *free_slot;		/* stack of free slots */
	unsigned free_count;

	unsigned posted;		/* posted requests in flight */

	uint64_t completed, kicks, interrupts;	/* since front_create() */
	uint64_t refused;		/* posted requests not answered OK */
	int last_refusal;		/* what the newest was answered, or -errno */
};

struct front {
	struct front_config config;
	int socket;			/* -1: not connected */
	int backend;			/* our end of the host's request channel, -1: none */
	uint64_t features;		/* virtio feature bits in use */
	uint64_t protocol_features;	/* vhost-user ones in use */
	unsigned queues;		/* in use */
	bool indirect, event_idx;	/* in use */
	struct front_region rings, data;
	int control_kick, control_call;	/* ivshmem: doorbell and interrupt 0; -1 */
	struct tmemp_ivshmem_header *region;	/* ivshmem: where the region starts */
	struct front_queue queue[FRONT_MAX_QUEUES];
	uint64_t nonce;			/* what HELLO says; drawn at front_create */
	uint64_t epoch;			/* what requests carry; from HELLO */
	uint64_t ops;			/* operations the host has; from HELLO */
	int inflight;			/* a disk's in-flight region, -1: none yet */
	struct vhost_user_inflight inflight_place;
};

/* ---- life (front.c) --------------------------------------------------- */

/* Memory only; nobody is connected yet.  -ENOMEM, -EINVAL. */
int  front_create(struct front **out, const struct front_config *config);
void front_destroy(struct front *f);

/*
 * Connect, negotiate, hand over memory and rings, start the queues; the rings
 * begin anew.  -errno of connect, -ECONNRESET, -EPROTO.
 */
int  front_connect(struct front *f);

/* The steps of front_connect(), for tests that leave some out. */
int  front_dial(struct front *f);		/* socket only */
int  front_negotiate(struct front *f);		/* owner, features, queue count */
int  front_memory_send(struct front *f);	/* both regions */
int  front_queue_start(struct front_queue *q);

/* Stop the ring by GET_VRING_BASE; *base is the host's available index. */
int  front_queue_stop(struct front_queue *q, uint16_t *base);

/* Close the connection without a word, as a VMM that dies does. */
void front_disconnect(struct front *f);

/* True once the host has closed the connection; waits for it up to timeout_ms. */
bool front_closed(struct front *f, int timeout_ms);

/* create, connect and HELLO in one; *out is set only on 0. */
int  front_open(struct front **out, const struct front_config *config);

/* Guest address of a pointer into guest memory, 0 if it is not. */
uint64_t front_guest_addr(const struct front *f, const void *p);

/* ---- vhost-user messages (vhost.c) ------------------------------------ */

int front_vhost_send(struct front *f, uint32_t request, uint32_t flags,
		     const void *payload, uint32_t size, const int *fds, unsigned nfds);
/* Payload beyond *size is cut off; *size becomes the length received. */
int front_vhost_recv(struct front *f, struct vhost_user_header *h, void *payload, uint32_t *size);

/* Send, and wait for the acknowledgement where negotiated; -EPROTO if refused. */
int front_vhost_set(struct front *f, uint32_t request, const void *payload, uint32_t size,
		    const int *fds, unsigned nfds);
int front_vhost_set_u64(struct front *f, uint32_t request, uint64_t value);
int front_vhost_get_u64(struct front *f, uint32_t request, uint64_t *value);

/* ---- ivshmem (ivshmem.c) ---------------------------------------------- */

/* Dial, take the handshake in, map the region; the rings do not run yet. */
int  front_ivshmem_dial(struct front *f);

/* Make wish the guest's attach (not 0: and the queues anew); wait for the answer. */
int  front_ivshmem_attach(struct front *f, uint32_t wish);

struct tmemp_ivshmem_guest *front_ivshmem_guest(struct front *f);
struct tmemp_ivshmem_host *front_ivshmem_host(struct front *f);

/* ---- virtqueue (queue.c) ---------------------------------------------- */

/* Where a queue is: its ring, the parts' offsets in it, and its slots. */
struct front_queue_place {
	uint8_t *ring, *data;
	uint64_t bytes, avail, used;
	unsigned room;
};

/* Where it is in the two regions. */
struct front_queue_place front_queue_place(struct front_queue *q);

/* Lay the ring and the slots out there, everything free. */
int  front_queue_init(struct front_queue *q, const struct front_queue_place *at);
void front_queue_destroy(struct front_queue *q);
void front_queue_reset(struct front_queue *q);

/* Bytes a queue of that size needs in the two regions. */
uint64_t front_queue_ring_bytes(unsigned size);
uint64_t front_queue_data_bytes(unsigned size);

/* A free slot, state RESERVED, request zeroed; NULL: all are in flight. */
struct front_request *front_request_get(struct front_queue *q);
void front_request_put(struct front_queue *q, struct front_request *r);

/* Write the descriptors for r's operation; returns the chain's head. */
uint16_t front_queue_chain(struct front_queue *q, struct front_request *r);

/* Make a chain available without telling the host. */
void front_queue_expose(struct front_queue *q, uint16_t head);

/* Tell the host, if it wants to be told. */
void front_queue_kick(struct front_queue *q);

/* chain, expose and kick. */
void front_queue_submit(struct front_queue *q, struct front_request *r);

/* Take in what the host has completed; the number of requests, or -EPROTO. */
int  front_queue_reap(struct front_queue *q);

/* Wait until r is DONE: spin for config.spin_ns, then sleep. */
int  front_queue_wait(struct front_queue *q, struct front_request *r);

/* Wait until every posted request has come back. */
int  front_queue_drain(struct front_queue *q);

/* ---- requests (request.c) --------------------------------------------- */

struct front_key {
	uint32_t pool;
	uint64_t oid[TMEMP_OID_WORDS];
	uint32_t index;
};

/* The queue that the protocol wants for that key. */
struct front_queue *front_queue_of(struct front *f, const struct front_key *key);

/* Fill r->request in; PUT's page is the caller's to write. */
void front_request_key(struct front_request *r, uint16_t op, const struct front_key *key,
		       uint64_t tag, uint64_t epoch);

/* Status of a request that is DONE, checked against what the protocol promises. */
int  front_request_status(const struct front_request *r);

/* HELLO with f->nonce on queue 0; sets f->epoch and f->ops. */
int  front_hello(struct front *f);
int  front_pool_create(struct front *f, uint32_t pool, uint32_t flags);
int  front_pool_destroy(struct front *f, uint32_t pool, uint64_t *pages);

int  front_put(struct front_queue *q, const struct front_key *key, const void *page, uint64_t tag);
/* page and tag are set on 0 only; tag may be NULL. */
int  front_get(struct front_queue *q, const struct front_key *key, void *page, uint64_t *tag);
/* pages: how many were removed; may be NULL. */
int  front_flush_page(struct front_queue *q, const struct front_key *key, uint64_t *pages);
int  front_flush_object(struct front_queue *q, const struct front_key *key, uint64_t *pages);

/* As above, without waiting for the answer (but for a slot, if none is free). */
int  front_put_post(struct front_queue *q, const struct front_key *key, const void *page,
		    uint64_t tag);
int  front_flush_page_post(struct front_queue *q, const struct front_key *key);

/* Park an EVENT; NULL if no slot is free.  Await it with front_queue_wait(). */
struct front_request *front_event_park(struct front *f, uint32_t drain_result,
				       uint64_t drain_left);

/* ---- a disk (disk.c) --------------------------------------------------- */

/*
 * Connect to a disk as front_connect() does.  fresh: as a driver that begins, which
 * asks for an in-flight region; else as a VMM does whose host process came back:
 * with the region it has, and rings left as they are.
 */
int  front_disk_connect(struct front *f, bool fresh);

/* The device's configuration space; -EPROTO. */
int  front_disk_config(struct front *f, void *config, uint32_t size);

/*
 * One request: data is written for the types that read, and read for the others.
 * cut: bytes of a descriptor of the data, 0 for all in one; with it the header is
 * cut in two as well.
 */
struct front_disk_request {
	uint32_t type;
	uint64_t sector;
	void *data;
	uint32_t len, cut;
};

/* Serve it alone on q.  The status, or -errno; -EINVAL: it does not fit the queue. */
int  front_disk(struct front_queue *q, const struct front_disk_request *r);

/*
 * The same in two steps, for a host that dies between them: made available, without
 * a wait; and waited for.
 */
int  front_disk_begin(struct front_queue *q, const struct front_disk_request *r);
int  front_disk_end(struct front_queue *q, const struct front_disk_request *r);

/* Guest memory that the next request's data is in. */
uint8_t *front_disk_buffer(struct front_queue *q);

#endif

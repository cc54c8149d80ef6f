/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemp.h - the tmem wire protocol, version 1.  This header is the
 * specification; docs/protocol.md explains it and restates nothing.
 *
 * Owns:    every byte a guest and the host exchange about tmem: operations,
 *          status codes, request and response layout, chain layout.
 * Used by: the host (user space) and the guest module (kernel).
 * Must not: include anything of ours, or depend on who reads it.
 *
 * Conventions
 *   - All integers are little-endian.  Every structure is naturally aligned
 *     and its padding is explicit; sizes and offsets are asserted below.
 *   - "R" is a descriptor the host reads, "W" one it writes.
 *   - Reserved fields and flag bits must be zero in a request, and are
 *     zero in a response.  A request that breaks this is answered
 *     TMEMP_BAD_REQUEST and has no effect.  A request's body past the fields
 *     of its operation is reserved.
 *   - A page is TMEMP_PAGE_SIZE bytes, always.
 *
 * Carrier
 *   One request is one descriptor chain of a virtio 1.x split virtqueue.
 *   Each part is exactly one descriptor of exactly its size, in this order
 *   (a chain may be indirect where the ring negotiated that):
 *
 *     PUT          R request   R page       W response
 *     GET          R request   W response   W page
 *     all others   R request   W response
 *
 *   used.len is the number of bytes written, 0 if the host could not answer:
 *
 *     GET answered TMEMP_OK    sizeof(response) + TMEMP_PAGE_SIZE
 *     anything else            sizeof(response)
 *     no usable response part  0
 *
 *   The guest sets response.status to TMEMP_STATUS_NONE before it makes the
 *   chain available; a completed chain that still says so is a host failure.
 *   A ring whose structure is broken (a head or next out of range, a loop, an
 *   available index more than one ring ahead) fails the whole connection:
 *   there is no request left to answer.
 *
 * Session (state of one client = one guest)
 *
 *              HELLO(new nonce)                 HELLO(same nonce): same epoch,
 *    [silent] -----------------> [open, epoch E] --.  nothing changes (replay)
 *        ^                        |    |           |
 *        |   connection ends      |    '-----------'
 *        '------------------------'    HELLO(other nonce): every pool of the
 *                                      old boot is destroyed, new epoch
 *
 *   The guest draws one nonce (not 0) per load of its driver.  The host's
 *   epoch (never 0) is bound to the nonce and to the VMM process.  Every other
 *   request carries the epoch.  In [silent] all but HELLO are answered
 *   TMEMP_NEED_HELLO; with another epoch than E, TMEMP_STALE_EPOCH.
 *   A connection that ends leaves the client's persistent pools in place for
 *   the same nonce to find again as long as the VMM process lives; ephemeral
 *   pages are dropped.
 *
 * Order
 *   A queue is drained in the order of its available ring, and every request
 *   is executed before the next of that queue is looked at (EVENT excepted).
 *   The guest chooses the queue by tmemp_queue_of(), so that operations on one
 *   object take effect in the order they were queued.  HELLO, POOL_CREATE and
 *   POOL_DESTROY are barriers: the host executes what was available on all
 *   queues of the client when it reached the request, then the request.
 *
 * Replay
 *   Every request may be executed twice (host crash): POOL_CREATE of a pool
 *   that exists with the same type answers OK; a second exclusive GET may
 *   answer MISS; flushing or destroying what is absent answers OK.
 */
#ifndef TMEMP_H
#define TMEMP_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <linux/types.h>
#include <stddef.h>
#endif

#define TMEMP_VERSION		1	/* HELLO version spoken by this header */
#define TMEMP_PAGE_SIZE		4096u	/* bytes */
#define TMEMP_MAX_POOLS		16u	/* pool ids are 0 to 15, guest's choice */
#define TMEMP_OID_WORDS		3	/* an object id is 192 bits */

/*
 * The virtio device type used where the transport needs one.  Not assigned by
 * the virtio standard; 45 has a name in QEMU and no driver in Linux.
 */
#define TMEMP_VIRTIO_ID		45

/* Operations.  The bit (1 << op) in HELLO's masks says "known to me". */
enum tmemp_opcode {
	TMEMP_OP_HELLO		= 1,	/* negotiate; body: hello */
	TMEMP_OP_POOL_CREATE	= 2,	/* pool; body: create */
	TMEMP_OP_POOL_DESTROY	= 3,	/* pool; no body */
	TMEMP_OP_PUT		= 4,	/* pool; body: key with tag */
	TMEMP_OP_GET		= 5,	/* pool; body: key, tag 0 */
	TMEMP_OP_FLUSH_PAGE	= 6,	/* pool; body: key, tag 0 */
	TMEMP_OP_FLUSH_OBJECT	= 7,	/* pool; body: key, index 0, tag 0 */
	TMEMP_OP_EVENT		= 8,	/* no pool; body: event; parked */
	TMEMP_OP_END		= 9	/* first number not assigned */
};

/* Operations every implementation of version 1 has. */
#define TMEMP_OPS_V1 \
	((1u << TMEMP_OP_HELLO) | (1u << TMEMP_OP_POOL_CREATE) | \
	 (1u << TMEMP_OP_POOL_DESTROY) | (1u << TMEMP_OP_PUT) | \
	 (1u << TMEMP_OP_GET) | (1u << TMEMP_OP_FLUSH_PAGE) | \
	 (1u << TMEMP_OP_FLUSH_OBJECT) | (1u << TMEMP_OP_EVENT))

/*
 * Status.  Numbers are stable for ever; a guest treats one it does not know as
 * a refusal of a put, and as an error for anything else.
 */
enum tmemp_status {
	TMEMP_OK			= 0,
	TMEMP_MISS			= 1,	/* GET: no such page */

	/* A put was not taken, and no page is readable under its key. */
	TMEMP_REFUSED_QUOTA		= 16,	/* this client's or the persistent limit */
	TMEMP_REFUSED_PRESSURE		= 17,	/* the host is short of memory */
	TMEMP_REFUSED_FROZEN		= 18,	/* the administrator froze the client */
	TMEMP_REFUSED_INCOMPRESSIBLE	= 19,	/* and raw storage has no room for it */
	TMEMP_REFUSED_NOMEM		= 20,	/* the host ran out of small memory */

	/* The request is wrong; it had no effect. */
	TMEMP_BAD_REQUEST		= 32,	/* reserved bits, lengths, unknown op */
	TMEMP_BAD_VERSION		= 33,	/* HELLO: no common version */
	TMEMP_BAD_ADDRESS		= 34,	/* page or request outside guest memory */
	TMEMP_NO_POOL			= 35,	/* no such pool, or id out of range */
	TMEMP_POOL_EXISTS		= 36,	/* POOL_CREATE: exists with another type */
	TMEMP_NOT_PERMITTED		= 37,	/* shared UUID not allowed to this guest */
	TMEMP_NEED_HELLO		= 38,
	TMEMP_STALE_EPOCH		= 39,

	/* The host failed. */
	TMEMP_DAMAGED			= 48,	/* persistent page lost: an I/O error */
	TMEMP_FAILED			= 49,	/* internal error; nothing may be assumed */

	TMEMP_STATUS_NONE		= 0xffffffff	/* set by the guest, never by the host */
};

/* 192-bit object id, 32-bit index, the guest's own 64-bit tag. */
struct tmemp_key {
	__le64 oid[TMEMP_OID_WORDS];
	__le32 index;
	__le32 reserved;
	__le64 tag;		/* PUT: stored with the page, comes back in GET */
	__le64 reserved2;
};

struct tmemp_hello {
	__le16 version_min;	/* guest speaks version_min to version_max */
	__le16 version_max;
	__le32 reserved;
	__le64 nonce;		/* one per load of the guest's driver; not 0 */
	__le64 ops;		/* operations the guest may use */
	__le32 driver_version;	/* (major << 16 | minor << 8 | patch), for reports */
	__le32 kernel_version;	/* guest's LINUX_VERSION_CODE or 0, for reports */
	__le64 reserved2[2];
};

#define TMEMP_POOL_PERSISTENT	(1u << 0)	/* else ephemeral */
#define TMEMP_POOL_SHARED	(1u << 1)	/* ephemeral only; named by uuid */
#define TMEMP_POOL_FLAGS	(TMEMP_POOL_PERSISTENT | TMEMP_POOL_SHARED)

struct tmemp_pool_create {
	__le32 flags;		/* TMEMP_POOL_*; PERSISTENT excludes SHARED */
	__le32 reserved;
	__u8   uuid[16];	/* SHARED: not all zero; else all zero */
	__le64 reserved2[3];
};

/*
 * EVENT is parked by the guest and completed by the host when something
 * happens.  One is parked per client; a second one completes the first with
 * no event bits set.  A ring that stops completes it the same way.
 */
#define TMEMP_EVENT_DRAIN	(1ull << 0)	/* take your pages back, then report */
#define TMEMP_EVENT_LIMITS	(1ull << 1)	/* limits changed; refusals may end */
#define TMEMP_EVENT_RETURNED	(1ull << 2)	/* a new host process took over */
#define TMEMP_EVENTS		(TMEMP_EVENT_DRAIN | TMEMP_EVENT_LIMITS | \
				 TMEMP_EVENT_RETURNED)

/* How the guest fared with the last DRAIN; 0 where there was none. */
#define TMEMP_DRAIN_NONE	0u
#define TMEMP_DRAIN_DONE	1u	/* the host holds nothing the guest needs */
#define TMEMP_DRAIN_NO_ROOM	2u	/* the guest's own disk is full; it goes on */

struct tmemp_event {
	__le32 drain_result;	/* TMEMP_DRAIN_* */
	__le32 reserved;
	__le64 drain_left;	/* pages still needed from the host */
	__le64 reserved2[4];
};

struct tmemp_request {
	__le16 op;		/* enum tmemp_opcode */
	__le16 flags;		/* reserved */
	__le32 pool;		/* pool id; 0 where the operation has none */
	__le64 epoch;		/* from HELLO's response; 0 in HELLO */
	union {
		struct tmemp_key	 key;
		struct tmemp_hello	 hello;
		struct tmemp_pool_create create;
		struct tmemp_event	 event;
		__u8			 raw[48];
	};
};

struct tmemp_hello_result {
	__le16 version;		/* the highest both speak */
	__le16 max_pools;
	__le32 page_size;	/* bytes */
	__le64 epoch;
	__le64 ops;		/* operations the host has */
};

struct tmemp_response {
	__le32 status;		/* enum tmemp_status */
	__le32 reserved;
	union {
		struct tmemp_hello_result hello;
		__le64 tag;	/* GET */
		__le64 count;	/* FLUSH_*, POOL_DESTROY: pages removed */
		__le64 events;	/* EVENT: TMEMP_EVENT_* */
		__u8   raw[24];
	};
};

static_assert(sizeof(struct tmemp_key) == 48, "wire size");
static_assert(offsetof(struct tmemp_key, index) == 24, "wire offset");
static_assert(offsetof(struct tmemp_key, reserved) == 28, "wire offset");
static_assert(offsetof(struct tmemp_key, tag) == 32, "wire offset");
static_assert(offsetof(struct tmemp_key, reserved2) == 40, "wire offset");
static_assert(sizeof(struct tmemp_hello) == 48, "wire size");
static_assert(offsetof(struct tmemp_hello, version_max) == 2, "wire offset");
static_assert(offsetof(struct tmemp_hello, reserved) == 4, "wire offset");
static_assert(offsetof(struct tmemp_hello, nonce) == 8, "wire offset");
static_assert(offsetof(struct tmemp_hello, ops) == 16, "wire offset");
static_assert(offsetof(struct tmemp_hello, driver_version) == 24, "wire offset");
static_assert(offsetof(struct tmemp_hello, kernel_version) == 28, "wire offset");
static_assert(offsetof(struct tmemp_hello, reserved2) == 32, "wire offset");
static_assert(sizeof(struct tmemp_pool_create) == 48, "wire size");
static_assert(offsetof(struct tmemp_pool_create, reserved) == 4, "wire offset");
static_assert(offsetof(struct tmemp_pool_create, uuid) == 8, "wire offset");
static_assert(offsetof(struct tmemp_pool_create, reserved2) == 24, "wire offset");
static_assert(sizeof(struct tmemp_event) == 48, "wire size");
static_assert(offsetof(struct tmemp_event, reserved) == 4, "wire offset");
static_assert(offsetof(struct tmemp_event, drain_left) == 8, "wire offset");
static_assert(offsetof(struct tmemp_event, reserved2) == 16, "wire offset");
static_assert(sizeof(struct tmemp_request) == 64, "wire size");
static_assert(offsetof(struct tmemp_request, flags) == 2, "wire offset");
static_assert(offsetof(struct tmemp_request, pool) == 4, "wire offset");
static_assert(offsetof(struct tmemp_request, epoch) == 8, "wire offset");
static_assert(offsetof(struct tmemp_request, raw) == 16, "wire offset");
static_assert(sizeof(struct tmemp_hello_result) == 24, "wire size");
static_assert(offsetof(struct tmemp_hello_result, max_pools) == 2, "wire offset");
static_assert(offsetof(struct tmemp_hello_result, page_size) == 4, "wire offset");
static_assert(offsetof(struct tmemp_hello_result, epoch) == 8, "wire offset");
static_assert(offsetof(struct tmemp_hello_result, ops) == 16, "wire offset");
static_assert(sizeof(struct tmemp_response) == 32, "wire size");
static_assert(offsetof(struct tmemp_response, reserved) == 4, "wire offset");
static_assert(offsetof(struct tmemp_response, raw) == 8, "wire offset");

/*
 * The swap key.  A swap device has one persistent pool; its pages are spread
 * over 16 objects by the low bits of the page's offset, so that neighbours
 * fall on different locks and queues (zcache's swizzle).  An offset of 2^36
 * pages or more has no key.
 */
#define TMEMP_SWAP_OBJECTS_SHIFT	4
#define TMEMP_SWAP_OFFSET_MAX		((1ull << (32 + TMEMP_SWAP_OBJECTS_SHIFT)) - 1)

static inline __u64 tmemp_swap_object(__u64 offset)
{
	return offset & ((1u << TMEMP_SWAP_OBJECTS_SHIFT) - 1);
}

static inline __u32 tmemp_swap_index(__u64 offset)
{
	return (__u32)(offset >> TMEMP_SWAP_OBJECTS_SHIFT);
}

/*
 * The queue of an object, 0 to queues - 1 (queues >= 1).  Arguments in host
 * byte order.  Only the guest relies on it; the host accepts any queue.
 */
static inline __u32 tmemp_queue_of(__u32 pool, const __u64 oid[TMEMP_OID_WORDS],
				   __u32 queues)
{
	__u64 h = (oid[0] ^ (oid[1] << 1) ^ (oid[2] << 2) ^ pool) *
		  0x9e3779b97f4a7c15ull;

	return (__u32)(h >> 32) % queues;
}

#endif

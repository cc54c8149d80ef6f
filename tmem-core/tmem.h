/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem.h - public interface of the core: clients, pools, objects, pages.
 *
 * Owns:    the semantics of tmem: what put, get and flush mean, who is charged
 *          what, who loses pages when memory is short.
 * How:     client -> pool -> object -> index -> page.  Pages are kept compressed
 *          in an arena of shared memory; ephemeral ones in zbud frames that can
 *          be evicted whole, persistent ones in size classes (zs).
 * Must not: know sockets, clocks, configuration or the wire.  Quotas and
 *          pressure enter as numbers; counters leave as snapshots.
 *
 * Conventions
 *   - Every function returns 0 (or a count where it says so) or -errno, and
 *     checks its arguments: -EINVAL on any that is out of range.
 *   - Sizes are bytes unless the name says pages or frames.  A page is
 *     TMEM_PAGE_SIZE bytes of logical data.
 *   - Unless it says otherwise a function may be called from any thread at any
 *     time.  A struct tmem_ctx belongs to one thread at a time.
 *   - No function calls back into its caller and none sleeps longer than a lock
 *     is held by another operation.
 */
#ifndef TMEM_H
#define TMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TMEM_PAGE_SIZE	4096u
#define TMEM_MAX_POOLS	16u	/* a guest's own: ids 0 to 15 */
#define TMEM_HOST_POOLS	1u	/* the host's, in the same client: ids from TMEM_MAX_POOLS on */
#define TMEM_POOL_IDS	(TMEM_MAX_POOLS + TMEM_HOST_POOLS)
#define TMEM_NAME_MAX	64u	/* client name with its NUL */
#define TMEM_NO_LIMIT	UINT64_MAX

struct tmem;		/* one host: an arena and all clients */
struct tmem_ctx;	/* one thread's codec scratch and staging buffers */
struct tmem_client;	/* one guest */

struct tmem_key {
	uint64_t oid[3];
	uint32_t index;
};

enum tmem_kind { TMEM_EPHEMERAL, TMEM_PERSISTENT, TMEM_KINDS };
enum tmem_codec { TMEM_CODEC_LZO, TMEM_CODEC_LZ4, TMEM_CODEC_ZSTD, TMEM_CODECS };
enum tmem_dedup { TMEM_DEDUP_OFF, TMEM_DEDUP_CLIENT, TMEM_DEDUP_HOST };

/* ---- host ------------------------------------------------------------- */

struct tmem_config {
	int      arena_fd;	/* memfd or tmpfs file; the caller keeps it open */
	uint64_t arena_max;	/* bytes; the file is grown sparsely up to this */
	bool     rebuild;	/* read what the arena holds; else it is emptied */
	bool     zbud_two;	/* reference store: two buddies a frame, 64-byte chunks */
	enum tmem_dedup dedup;
	bool     lock_memory;	/* mlock extents as they are used */
};

/*
 * Make a host over an arena.  With rebuild, clients come back without a
 * connection: find them by tmem_client_find().  A file that does not hold an
 * arena of this version is -EPROTO and left untouched.
 * Errors: -ENOMEM, -EINVAL, -EPROTO, or what ftruncate/mmap said.
 */
int tmem_create(struct tmem **out, const struct tmem_config *config);

enum tmem_arena_state {
	TMEM_ARENA_EMPTY,	/* an empty file, or one whose making was not finished */
	TMEM_ARENA_READABLE,	/* may be rebuilt from */
	TMEM_ARENA_OTHER,	/* an arena of another format version */
	TMEM_ARENA_FOREIGN,	/* something else */
};

#define TMEM_ARENA_VERSION	2u	/* of the format that this core writes and reads */

/* What fd holds; *version (may be NULL) receives the format's. -errno of fstat or pread. */
int tmem_arena_probe(int fd, uint32_t *version);

/*
 * Free the index and unmap the arena; the arena's contents stay as they are.
 * No other call may be running or follow.
 */
void tmem_destroy(struct tmem *t);

/* Host-wide numbers; may be set at any time. */
struct tmem_limits {
	uint64_t target;		/* bytes of arena the host may use now */
	uint64_t persistent_max;	/* bytes of arena for persistent pages of all clients */
	bool     accept_ephemeral;	/* false: puts are -ENOSPC (pressure) */
	bool     accept_persistent;
};

/* Default: target = arena_max, persistent_max = 3/4 of target, accept both. */
int tmem_limits_set(struct tmem *t, const struct tmem_limits *limits);
void tmem_limits_get(struct tmem *t, struct tmem_limits *limits);

int tmem_ctx_create(struct tmem *t, struct tmem_ctx **out);
void tmem_ctx_destroy(struct tmem_ctx *ctx);

/* -errno of the last attempt to lock the arena's memory, or 0. */
int tmem_lock_error(const struct tmem *t);

/* ---- clients ---------------------------------------------------------- */

struct tmem_quota {
	uint32_t weight;		/* 1 to 65535; default 100 */
	uint64_t min;			/* physical bytes kept under pressure; default 0 */
	uint64_t max;			/* physical bytes; default TMEM_NO_LIMIT */
	uint64_t persistent_max;	/* physical bytes; default TMEM_NO_LIMIT */
	enum tmem_codec codec[TMEM_KINDS];
};

/*
 * Add a client.  name: 1 to TMEM_NAME_MAX - 1 bytes, unique among live clients.
 * Errors: -EEXIST, -ENOMEM.
 */
int tmem_client_create(struct tmem *t, const char *name, struct tmem_client **out);

/* The live client of that name, or NULL. */
struct tmem_client *tmem_client_find(struct tmem *t, const char *name);

/*
 * Phase one of the end: every data operation of the client that starts after
 * this returns answers -ESHUTDOWN.  May be called twice.
 */
void tmem_client_kill(struct tmem_client *c);

/*
 * Phase two: drop all its pools and the client itself.  The caller promises
 * that none of its own threads is inside, or will start, a call with c.
 */
void tmem_client_destroy(struct tmem_client *c);

/* Applies to later puts; never drops a persistent page.  -EINVAL: min > max. */
int tmem_client_quota_set(struct tmem_client *c, const struct tmem_quota *q);
void tmem_client_quota_get(struct tmem_client *c, struct tmem_quota *q);

/* Frozen: puts are -EROFS and flush their key; all else goes on. */
void tmem_client_freeze(struct tmem_client *c, bool frozen);

/* Allow or deny a shared pool's UUID; a live pool stays.  -ENOMEM. */
int tmem_client_authorise(struct tmem_client *c, const uint8_t uuid[16], bool allow);

/* Deny all UUIDs; live pools stay. */
void tmem_client_permits_drop(struct tmem_client *c);

/* Drop all ephemeral pages of private pools; returns pages dropped. */
uint64_t tmem_client_flush_ephemeral(struct tmem_client *c);

/* Destroy all pools of the guest's own ids; returns pages dropped. */
uint64_t tmem_client_flush(struct tmem_client *c);

/* ---- pools ------------------------------------------------------------ */

struct tmem_pool_spec {
	enum tmem_kind kind;
	bool     shared;	/* ephemeral only */
	uint8_t  uuid[16];	/* shared: not all zero */
};

/*
 * Create pool id (below TMEM_POOL_IDS; the host's are private and persistent, and
 * take any number of pages that do not compress).
 * The same spec again is 0 and changes nothing.
 * Errors: -EEXIST (another spec), -EPERM (UUID not allowed), -ENOMEM, -ESHUTDOWN.
 */
int tmem_pool_create(struct tmem_client *c, unsigned id, const struct tmem_pool_spec *spec);

/*
 * Destroy a pool with all its pages; *pages (may be NULL) receives how many.
 * An absent pool is 0 with no pages.  A shared pool is left; its pages go with
 * its last member.
 */
int tmem_pool_destroy(struct tmem_client *c, unsigned id, uint64_t *pages);

/*
 * What was taken out of a client and is not freed yet.  Freeing a page takes some
 * 0.1 us, and there can be millions: whoever has others waiting does it in steps.
 * To everybody else it is gone from the beginning, but for the frames that it is
 * charged.  One that was begun must be finished, and before its client is destroyed;
 * it belongs to one thread at a time.
 */
struct tmem_drop {
	uint64_t pages;			/* freed so far */

	/* The core's. */
	struct tmem *host;
	struct tmem_pool *pool;		/* being emptied, and its next after it; or NULL */
	struct tmem_stripe *stripe;	/* the object's */
	uint32_t object, generation;	/* being freed; 0: none */
	uint32_t at, resume;		/* in its table; in the stripe's, after it */
	unsigned next;			/* of the pool's stripes */
};

/* The three in two steps: errors, and what they do, are those of the functions named so. */
int  tmem_flush_object_begin(struct tmem_client *c, unsigned pool, const uint64_t oid[3],
			     struct tmem_drop *d);
int  tmem_pool_destroy_begin(struct tmem_client *c, unsigned id, struct tmem_drop *d);
void tmem_client_flush_begin(struct tmem_client *c, struct tmem_drop *d);

/* Free about n pages more; true if d is finished. */
bool tmem_drop_step(struct tmem_drop *d, uint64_t n);

/* ---- pages ------------------------------------------------------------ */

/*
 * Store a page (TMEM_PAGE_SIZE bytes, memory only this thread can change)
 * under key with the caller's tag, in place of any older one.  Whatever the
 * error, no page is readable under key afterwards.
 * Errors: -ENXIO no such pool; -EDQUOT quota or persistent limit; -ENOSPC the
 * target is used up or puts are not accepted; -EROFS frozen; -E2BIG
 * incompressible; -ENOMEM; -ESHUTDOWN.
 */
int tmem_put(struct tmem_ctx *ctx, struct tmem_client *c, unsigned pool,
	     const struct tmem_key *key, const void *page, uint64_t tag);

/*
 * The same, but an error leaves an older page under key as it is: for a caller
 * that has somewhere else to put this one and may fail there.
 */
int tmem_offer(struct tmem_ctx *ctx, struct tmem_client *c, unsigned pool,
	       const struct tmem_key *key, const void *page, uint64_t tag);

/*
 * Read a page.  From a private ephemeral pool it is taken out.
 * Errors: -ENXIO no such pool; -ENOENT no such page (or a damaged ephemeral
 * one, counted); -EBADMSG a persistent page that cannot be returned intact;
 * -ESHUTDOWN.  On error page's contents are undefined.
 */
int tmem_get(struct tmem_ctx *ctx, struct tmem_client *c, unsigned pool,
	     const struct tmem_key *key, void *page, uint64_t *tag);

/* Remove a page; returns pages removed (0 or 1), -ENXIO or -ESHUTDOWN. */
int tmem_flush_page(struct tmem_client *c, unsigned pool, const struct tmem_key *key);

/* Remove an object; *pages (may be NULL) receives how many.  0, -ENXIO, -ESHUTDOWN. */
int tmem_flush_object(struct tmem_client *c, unsigned pool, const uint64_t oid[3],
		      uint64_t *pages);

/* ---- memory back to the host ------------------------------------------ */

enum tmem_reclaim_stop {
	TMEM_RECLAIM_DONE,	/* as many as asked */
	TMEM_RECLAIM_EMPTY,	/* nothing ephemeral is left */
	TMEM_RECLAIM_FLOOR,	/* what is left is within its clients' min */
};

#define TMEM_RECLAIM_CLIENTS 16

struct tmem_reclaim_report {
	uint64_t frames;		/* frames given back to the host */
	uint64_t bytes;			/* the same in bytes */
	uint64_t pages_evicted;
	enum tmem_reclaim_stop stop;
	unsigned clients;		/* entries in from[], those that lost most */
	struct { char name[TMEM_NAME_MAX]; uint64_t frames, pages; } from[TMEM_RECLAIM_CLIENTS];
};

/*
 * Give frames (of tmem_frame_size() bytes) back to the host: free ones first,
 * then by evicting ephemeral pages from the client most above its share.
 * Allocates nothing.  Returns frames given back; report may be NULL.
 */
uint64_t tmem_reclaim(struct tmem *t, uint64_t frames, struct tmem_reclaim_report *report);

/* Bytes of one frame: a power of two, at least TMEM_PAGE_SIZE. */
uint64_t tmem_frame_size(const struct tmem *t);

/* Compact persistent pages; gives emptied frames back, returns how many. */
uint64_t tmem_compact(struct tmem *t, struct tmem_ctx *ctx);

/* ---- counters --------------------------------------------------------- */

#define TMEM_CHUNKS_MAX	512	/* longest chunk histogram */

/* Pages and bytes held; cumulative operations since creation. */
struct tmem_counters {
	uint64_t pages, pages_max;		/* pages held, now and at most */
	uint64_t objects, objects_max;
	uint64_t bytes_stored;			/* compressed bytes of the pages held */
	uint64_t bytes_physical;		/* arena bytes charged for them */
	uint64_t pages_same_filled, pages_raw;	/* of pages */
	uint64_t pages_deduped;			/* of pages: their data is another's */
	uint64_t puts, puts_ok;
	uint64_t dup_puts, dup_puts_replaced;	/* the key held a page; put succeeded */
	uint64_t puts_refused_quota, puts_refused_pressure, puts_refused_frozen;
	uint64_t puts_refused_incompressible, puts_failed_nomem;
	uint64_t put_to_flush;			/* refused puts that removed an older page */
	uint64_t gets, gets_ok;
	uint64_t flushes, flushes_found;	/* page flushes */
	uint64_t object_flushes, object_flushes_found;
	uint64_t evicted_pages;
	uint64_t damaged;			/* checksum failures */
};

struct tmem_client_info {
	char name[TMEM_NAME_MAX];
	bool frozen;
	struct tmem_quota quota;
	unsigned pools;
	struct tmem_counters kind[TMEM_KINDS];
	uint64_t evicted_frames;
	uint64_t share_permille;	/* physical / fair share, 1000 = at its share */
};

struct tmem_pool_info {
	unsigned id;
	struct tmem_pool_spec spec;
	struct tmem_counters count;
};

struct tmem_store_info {
	uint64_t frames, frames_free;		/* in the arena; of those unused but not given back */
	uint64_t frames_zbud, frames_zs;
	uint64_t bytes_resident;		/* blocks of the arena file */
	uint64_t bytes_metadata;		/* heap of the index */
	uint64_t frames_evicted, frames_returned;
	uint64_t failed_alloc;
	unsigned chunk_size;			/* bytes */
	unsigned chunks;			/* entries used in the histograms */
	uint64_t unbuddied[TMEM_CHUNKS_MAX];	/* zbud frames by free chunks, now */
	uint64_t chunk_now[TMEM_CHUNKS_MAX];	/* zbud pages held by size in chunks */
	uint64_t chunk_cumulative[TMEM_CHUNKS_MAX];	/* the same of all ever stored */
	uint64_t zs_unfilled[TMEM_CHUNKS_MAX];	/* zs frames by longest free run in chunks, now */
	uint64_t zs_class_now[TMEM_CHUNKS_MAX];	/* zs pages held by size class in chunks */
	uint64_t zs_class_cumulative[TMEM_CHUNKS_MAX];
	uint64_t zs_free_bytes;			/* within zs frames */
	uint64_t zs_moved_pages, zs_emptied_frames;	/* by compaction */
};

void tmem_client_info(struct tmem_client *c, struct tmem_client_info *info);

/* -ENXIO: no such pool. */
int tmem_pool_info(struct tmem_client *c, unsigned id, struct tmem_pool_info *info);

void tmem_store_info(struct tmem *t, struct tmem_store_info *info);

/*
 * What the arena is used for, in bytes, from counters alone: no store is locked,
 * so the numbers need not be of one instant.
 */
struct tmem_use {
	uint64_t arena;			/* the most it can be */
	uint64_t resident;		/* blocks of the arena file */
	uint64_t free;			/* of them unused but not given back */
	uint64_t ephemeral;		/* of them in frames of ephemeral pages */
};

void tmem_use_get(struct tmem *t, struct tmem_use *use);

/*
 * Call fn for each live client; fn may call the functions above but not create
 * or destroy a client.  Stops at the first non-zero result and returns it.
 */
int tmem_client_each(struct tmem *t, int (*fn)(struct tmem_client *c, void *arg), void *arg);

/* ---- self-check -------------------------------------------------------- */

/*
 * Check every invariant written above the structures.  Returns true if all
 * hold; else writes the first that fails to why (may be NULL).  Takes all
 * locks in turn: for tests.
 */
bool tmem_is_valid(struct tmem *t, char *why, size_t why_size);

#endif

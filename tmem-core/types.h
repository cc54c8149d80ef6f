/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * types.h - the structures of the core, their invariants and the lock order.
 *
 * Owns:    every structure that more than one file looks into: what stands in
 *          the arena (the truth) and what stands in the heap (a cache of it).
 * How:     the arena is an array of frames.  Frame 0 is the superblock; others
 *          hold table records (clients, pools, objects, permissions) or pages.
 *          Everything in the arena is named by number, never by address.
 * Must not: contain code beyond one-line accessors.
 *
 * Lock order, outermost first.  A lock may be taken while any above it is held,
 * none while one below it is held, and never two of the same line.
 *
 *   tmem_client.lock	its pools, quota, retired counters
 *   tmem.permits	permission records
 *   tmem.lock		names, shared pools, host limits, structures for reuse
 *   tmem_stripe.lock	objects whose id hashes here, their pages, counters
 *   tmem_names.lock	data known by name, who refers to it
 *   tmem_shard.lock	free records of a table
 *   tmem_store.lock	frames of one client and kind: chunk maps, lists, slots
 *   tmem_arena.lock	free frames
 *
 * Eviction takes stripes and stores of any client, so it starts with nothing
 * of the stripes or below held.
 *
 * What keeps memory alive without a lock
 *   Clients, pools and objects are type-stable: their heap memory is recycled
 *   for the same type only and freed in tmem_destroy().  Whoever found one
 *   without its lock takes the lock and then checks that it still is what it
 *   was (pool: still in the client's slot; object: still of that stripe; page:
 *   the index still holds that very frame and slot).
 */
#ifndef TMEM_TYPES_H
#define TMEM_TYPES_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "alloc.h"
#include "tmem.h"

#define TMEM_FRAME_SHIFT	14	/* many buddies: 16-KiB frames, 16-byte chunks */
#define TMEM_CHUNK_SHIFT	4
#define TMEM_FRAME_SHIFT_TWO	12	/* two buddies: 4-KiB frames, 64-byte chunks */
#define TMEM_CHUNK_SHIFT_TWO	6
#define TMEM_MAP_WORDS_MAX	16	/* 1024 chunks */
#define TMEM_BINS		257	/* free runs of 0 to 256 chunks; longer ones in the last */
#define TMEM_BIN_WORDS		((TMEM_BINS + 63) / 64)
#define TMEM_STRIPES		16	/* a pool's locks */
#define TMEM_SLOT_BITS		10
#define TMEM_FRAME_BITS		30
#define TMEM_CACHE_LINE		64

/* ---- in the arena ------------------------------------------------------- */

enum tmem_frame_kind {
	TMEM_FRAME_FREE,
	TMEM_FRAME_SUPER,
	TMEM_FRAME_TABLE,		/* + enum tmem_table_id */
	TMEM_FRAME_STORE = TMEM_FRAME_TABLE + 4,	/* + enum tmem_kind */
	TMEM_FRAME_KINDS = TMEM_FRAME_STORE + TMEM_KINDS
};

enum tmem_table_id {
	TMEM_TABLE_CLIENT,
	TMEM_TABLE_POOL,
	TMEM_TABLE_OBJECT,
	TMEM_TABLE_PERMIT,
	TMEM_TABLES
};
static_assert(TMEM_FRAME_TABLE + TMEM_TABLES == TMEM_FRAME_STORE, "one frame kind a table");

/* Start of every frame in use.  kind is stored last. */
struct tmem_frame_head {
	_Atomic uint32_t kind;		/* enum tmem_frame_kind */
	uint32_t owner;			/* store: client's number; table: segment's number */
	uint32_t incarnation;		/* store: client's incarnation */
	uint32_t slots;			/* store: length of the slot directory */
	uint64_t reserved[2];
};
static_assert(sizeof(struct tmem_frame_head) == 32, "arena layout");

/*
 * A page, as it stands in the slot directory of its frame.  The directory
 * follows the frame's head and chunk map and grows upwards; data lies in the
 * chunks the info word names.
 *
 *   free slot	object == 0			only the store's lock changes to or from
 *   reserved	object == SLOT_RESERVED, info == 0, index == extent (as info)
 *   live	info != 0			index, tag, object, sum are the page's
 *
 * A page exists from the release store of info != 0 to that of info = 0.
 */
struct tmem_slot {
	_Atomic uint32_t object;	/* number of the object's record */
	_Atomic uint32_t index;
	uint64_t tag;
	uint32_t sum;			/* of all the rest and the data */
	_Atomic uint32_t info;		/* TMEM_INFO_* */
};
static_assert(sizeof(struct tmem_slot) == 24, "arena layout");

#define TMEM_SLOT_RESERVED	UINT32_MAX

/* info: size 0-12, type 13-15, first chunk 16-25, sequence number 26-31. */
enum tmem_type {
	TMEM_TYPE_DEAD,			/* so that a live info is never 0 */
	TMEM_TYPE_SAME,			/* data: the 8 bytes it repeats */
	TMEM_TYPE_RAW,
	TMEM_TYPE_CODEC,		/* + enum tmem_codec */
	TMEM_TYPE_REF = TMEM_TYPE_CODEC + TMEM_CODECS,	/* data: a name, see dedup.c */
	TMEM_TYPES
};
static_assert(TMEM_TYPES <= 8, "three bits");

#define TMEM_SEQ_MASK	63u

static inline uint32_t tmem_info(enum tmem_type type, uint32_t size, uint32_t start, uint32_t seq)
{
	return size | (uint32_t)type << 13 | start << 16 | (seq & TMEM_SEQ_MASK) << 26;
}

static inline uint32_t tmem_info_size(uint32_t info)  { return info & 0x1fff; }
static inline uint32_t tmem_info_type(uint32_t info)  { return info >> 13 & 7; }
static inline uint32_t tmem_info_start(uint32_t info) { return info >> 16 & 0x3ff; }
static inline uint32_t tmem_info_seq(uint32_t info)   { return info >> 26; }

/* Records.  A record is alive while its state is not 0; state is stored last. */
struct tmem_quota_record {
	uint64_t min, max, persistent_max;
	uint32_t weight;
	uint8_t  codec[TMEM_KINDS];
	uint8_t  reserved[2];
};

#define TMEM_CLIENT_ALIVE	1u
#define TMEM_CLIENT_QUOTA_1	2u	/* quota[1] counts, not quota[0] */
#define TMEM_CLIENT_FROZEN	4u

struct tmem_client_record {
	_Atomic uint32_t state;
	uint32_t incarnation;
	char     name[TMEM_NAME_MAX];
	_Atomic uint32_t pool[TMEM_POOL_IDS];	/* number of the pool's record or 0 */
	uint32_t reserved0;
	struct tmem_quota_record quota[2];	/* written aside, then chosen by state */
	uint8_t  reserved[48];
};
static_assert(sizeof(struct tmem_client_record) == 256, "arena layout");

#define TMEM_POOL_ALIVE		1u
#define TMEM_POOL_PERSISTENT	2u
#define TMEM_POOL_SHARED	4u

struct tmem_pool_record {
	_Atomic uint32_t state;
	uint32_t incarnation;
	uint8_t  uuid[16];
	uint64_t reserved;
};
static_assert(sizeof(struct tmem_pool_record) == 32, "arena layout");

struct tmem_object_record {
	uint64_t oid[3];
	_Atomic uint32_t pool;		/* the state: number of the pool's record */
	uint32_t incarnation;		/* that pool's */
};
static_assert(sizeof(struct tmem_object_record) == 32, "arena layout");

struct tmem_permit_record {
	_Atomic uint32_t client;	/* the state: number of the client's record */
	uint32_t incarnation;		/* that client's */
	uint8_t  uuid[16];
	uint64_t reserved;
};
static_assert(sizeof(struct tmem_permit_record) == 32, "arena layout");

#define TMEM_MAGIC	0x30616e6572416d54ull	/* "TmArena0" */

struct tmem_super {
	struct tmem_frame_head head;
	uint64_t magic;
	uint32_t version;
	uint32_t frame_shift;
	uint32_t chunk_shift;
	uint32_t two;			/* two buddies a frame */
	uint64_t seed;			/* of the index's hashes */
	_Atomic uint32_t incarnation;	/* the last one given out */
};

/* ---- in the heap -------------------------------------------------------- */

struct tmem_lock {
	pthread_mutex_t m;
};

static inline void tmem_lock(struct tmem_lock *l)   { pthread_mutex_lock(&l->m); }
static inline void tmem_unlock(struct tmem_lock *l) { pthread_mutex_unlock(&l->m); }
void tmem_lock_init(struct tmem_lock *l);
static inline void tmem_lock_done(struct tmem_lock *l) { pthread_mutex_destroy(&l->m); }

/* A frame and a slot of it, packed; 0 is none, as frame 0 holds no page. */
typedef uint64_t tmem_handle;

static inline tmem_handle tmem_handle_of(uint32_t frame, uint32_t slot)
{
	return (uint64_t)frame << TMEM_SLOT_BITS | slot;
}

static inline uint32_t tmem_handle_frame(tmem_handle h) { return (uint32_t)(h >> TMEM_SLOT_BITS); }
static inline uint32_t tmem_handle_slot(tmem_handle h)  { return h & ((1u << TMEM_SLOT_BITS) - 1); }

/*
 * What the heap knows of a frame.  Fields belong to the owner's store lock
 * while the frame is in a store (to the arena's while it is free), except kind
 * and owner, which do not change while the frame holds a page.
 *
 *   used  == slots that are not free (+ 1 while it is being evicted)
 *   free  == clear bits of the chunk map
 *   fit   == longest run of free chunks that a new page could have; the frame
 *	      is in the bin of fit, and in none if fit == 0 or it is being evicted
 */
struct tmem_frame {
	uint32_t next, prev;		/* in its bin */
	uint32_t newer, older;		/* in its segment, by age */
	uint32_t owner;			/* client number; kept after the frame is freed */
	uint16_t used;
	uint16_t fit;
	uint16_t free;
	uint16_t fresh;			/* chunks filled since it was last the newest */
	uint8_t  kind;			/* enum tmem_frame_kind */
	uint8_t  segment;
	bool	 evicting;
	bool	 hole;			/* reads as zeroes: never used or given back */
};
static_assert(sizeof(struct tmem_frame) == 32, "two bytes a page");

struct tmem_arena {
	int fd;
	char *base;
	uint64_t size;			/* bytes mapped */
	uint32_t frames;		/* of the mapping, the superblock included */
	unsigned frame_shift;
	unsigned chunk_shift;
	unsigned chunks;		/* in a frame */
	unsigned map_words;
	unsigned slots_offset;		/* of the slot directory in a frame */
	unsigned slots_max;
	struct tmem_frame *frame;	/* [frames] */

	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	uint64_t *warm;			/* bit a frame: free, memory still there */
	uint64_t *cold;			/* bit a frame: free, a hole in the file */
	uint32_t warm_frames, cold_frames;
	uint32_t warm_hint, cold_hint;	/* no bit is set in words before */
	uint32_t high;			/* frames ever used are below it */
	uint64_t returned;		/* frames given back, cumulative */
	bool lock_memory;
	uint64_t *locked;		/* bit an extent: mlock was asked */
	_Atomic int lock_error;

	_Alignas(TMEM_CACHE_LINE) _Atomic uint32_t used;	/* frames not free */
};

/*
 * A table: records of one kind in segments of one frame each, with a companion
 * in the heap for each record.  Record 0 of a segment lies under the frame's
 * head and is not used, so no record has number 0.
 *
 *   segment.live == records handed out
 */
struct tmem_segment {
	_Atomic(char *) arena;		/* records, or NULL if the frame was given back */
	char	*heap;			/* companions; never freed before the end */
	uint32_t number;
	uint32_t frame;
	uint32_t live;
	uint16_t free;			/* first free record (in the segment), 0 none */
	uint16_t *link;			/* the free record after each free record */
	struct tmem_shard *shard;
	struct tmem_segment *next, *prev;	/* shard's open or vacant ones */
};

struct tmem_shard {
	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	struct tmem_segment *open;	/* with free records */
	struct tmem_segment *vacant;	/* without a frame */
};

#define TMEM_SHARDS		16
#define TMEM_DIRECTORY		256	/* leaves of a table's directory */
#define TMEM_LEAF		512	/* segments in a leaf */

struct tmem_table {
	enum tmem_table_id id;
	unsigned record_size, heap_size;
	unsigned span_shift;		/* numbers a segment spans, as a shift */
	_Atomic uint32_t segments;	/* numbers given out */
	_Atomic(_Atomic(struct tmem_segment *) *) directory[TMEM_DIRECTORY];
	struct tmem_shard shard[TMEM_SHARDS];
};

/*
 * An object: the pages of it by index.  slots is an open-addressed table of
 * entries (index.c), and may have one before it that is not emptied yet; with
 * capacity 1 the one entry stands in the object itself.
 * Protected by its stripe's lock, except home, which may be read at any time.
 *
 *   count == entries != 0 <= capacity;  home == 0 <=> the object is dead
 */
struct tmem_object {
	union {
		uint64_t *slots;
		uint64_t one;
	};
	uint32_t capacity;
	uint32_t count;
	_Atomic uint32_t home;		/* pool number << 4 | stripe */
};
static_assert(TMEM_STRIPES == 16, "home has four bits for the stripe");

/*
 * Objects of a pool whose id hashes to this stripe, and what was counted there.
 *
 *   count.pages	   == sum of the objects' counts
 *   count.objects	   == objects in the table
 *   count.bytes_physical == sum over pages of chunks' bytes + a slot's
 */
struct tmem_stripe {
	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	uint64_t *slots;		/* hash << 32 | object number */
	uint32_t capacity, used;
	uint32_t generation;		/* changes when count starts anew, for another pool */
	struct tmem_counters count;
};

struct tmem_pool {
	struct tmem *host;
	uint32_t number;
	uint32_t incarnation;
	struct tmem_pool_spec spec;	/* fixed while the pool is some client's */
	_Atomic uint32_t flags;		/* TMEM_POOL_*, the same; may be read at any time */
	unsigned members;		/* shared: clients that joined; tmem.lock */
	struct tmem_pool *next;		/* tmem.lock: live shared pools, or free ones */
	struct tmem_stripe stripe[TMEM_STRIPES];
};

struct tmem_bins {
	uint64_t some[TMEM_BIN_WORDS];	/* bit a bin: not empty */
	uint32_t head[TMEM_BINS];	/* first frame */
};

/* Pages by size in chunks: held now, and ever stored. */
struct tmem_chunk_count {
	uint64_t ever;
	uint64_t now;
};

struct tmem_age {
	uint32_t newest, oldest;
	uint32_t frames;
};

enum { TMEM_PROBATION, TMEM_PROTECTED, TMEM_SEGMENTS };

/*
 * Frames of one client and kind.  Persistent pages use one segment only.
 *
 *   frames == sum of age[].frames + frames being emptied
 */
struct tmem_store {
	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	struct tmem_client *client;
	enum tmem_kind kind;
	_Atomic uint32_t frames;
	struct tmem_age age[TMEM_SEGMENTS];
	_Atomic(uint64_t *) ghost;	/* four 16-bit marks a word, newest lowest */
	_Atomic uint32_t ghost_words;	/* 0 or a power of two */
	_Atomic uint32_t untidy;	/* persistent puts since it had too many free chunks */
	_Atomic uint32_t untidy_wait;	/* so many before the next step; longer after vain ones */
	uint64_t free_chunks;		/* sum of the listed frames' free */
	struct tmem_bins bins[TMEM_SEGMENTS];
	struct tmem_chunk_count count[TMEM_BINS];
	uint32_t ahead;			/* oldest frames that were touched already */
	uint64_t emptied_frames;	/* by eviction or compaction, cumulative */
	uint64_t moved_pages;		/* by compaction, cumulative */
};

#define TMEM_COUNTERS	(sizeof(struct tmem_counters) / sizeof(uint64_t))

struct tmem_client {
	struct tmem *host;
	uint32_t number;
	uint32_t incarnation;
	char name[TMEM_NAME_MAX];
	_Atomic bool alive;		/* false: recycled or not yet made */
	_Atomic bool killed;
	_Atomic bool frozen;
	_Atomic uint32_t weight;
	_Atomic uint64_t min, max, persistent_max;	/* bytes */
	_Atomic uint32_t codec[TMEM_KINDS];
	_Atomic(struct tmem_pool *) pool[TMEM_POOL_IDS];

	_Alignas(TMEM_CACHE_LINE) _Atomic uint32_t charged;	/* frames of both stores */
	_Atomic uint32_t charged_persistent;
	_Atomic uint64_t raw_pages[TMEM_KINDS];
	struct tmem_lock lock;
	struct tmem_counters retired[TMEM_KINDS];	/* of private pools destroyed */
	_Atomic uint64_t shared[TMEM_COUNTERS];		/* operations in shared pools */
	struct tmem_client *next;	/* tmem.lock: free ones */
	struct tmem_store store[TMEM_KINDS];
};

struct tmem {
	struct tmem_heap heap;		/* the index's: what pages cost beside the arena */
	struct tmem_heap scratch;	/* the threads' */
	struct tmem_arena arena;
	struct tmem_super *super;
	uint64_t seed;
	bool two;
	enum tmem_dedup dedup;
	struct tmem_names *names;		/* data by content; NULL: dedup is off */
	struct tmem_table table[TMEM_TABLES];

	_Atomic uint64_t target;		/* frames */
	_Atomic uint64_t persistent_max;	/* frames */
	_Atomic bool accept[TMEM_KINDS];
	_Atomic uint32_t victim;		/* client number, see share.c */
	_Atomic int32_t victim_left;		/* frames before the choice is made again */

	_Alignas(TMEM_CACHE_LINE) _Atomic uint32_t persistent_frames;
	_Atomic uint32_t clients;		/* alive */

	_Alignas(TMEM_CACHE_LINE) struct tmem_lock lock;
	struct tmem_lock permits;
	struct tmem_limits limits;
	struct tmem_pool *shared;
	struct tmem_pool *free_pools;
	struct tmem_client *free_clients;
};

struct tmem_ctx {
	struct tmem *host;
	void *lzo, *lz4, *zstd_c, *zstd_d;	/* codec scratch */
	unsigned char *out;		/* compressed page being put */
	unsigned char *copy;		/* compressed page being read */
};

#endif

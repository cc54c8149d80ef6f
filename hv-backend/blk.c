/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.c - fetch, check, execute, answer.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "blk.h"

#define BIT(n) (1ull << (n))

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "wire size");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "wire size");
static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36, "wire offset");

/* ---- bytes of a chain, as if they stood in one row -------------------------------- */

/* The readable or the writable ones of a chain, from some byte on. */
struct cursor {
	struct ring *ring;
	const struct ring_chain *chain;
	bool write;
	unsigned part;
	uint32_t off;			/* in that part */
	uint64_t done;			/* bytes copied so far */
};

/* Go to the next part that has bytes of this kind; false: there is none. */
static bool cursor_settle(struct cursor *c)
{
	while (c->part < c->chain->parts) {
		const struct ring_part *p = &c->chain->part[c->part];

		if (p->write == c->write && c->off < p->len)
			return true;
		c->part++;
		c->off = 0;
	}
	return false;
}

/* Copy len bytes on; -EFAULT: there are not so many, or not in guest memory. */
static int cursor_copy(struct cursor *c, void *bytes, uint32_t len)
{
	char *at = bytes;

	while (len) {
		const struct ring_part *p;
		uint32_t n;
		int err;

		if (!cursor_settle(c))
			return -EFAULT;
		p = &c->chain->part[c->part];
		if (p->addr > UINT64_MAX - p->len)
			return -EFAULT;
		n = p->len - c->off < len ? p->len - c->off : len;
		if (c->write)
			err = c->ring->ops->write(c->ring->mem, p->addr + c->off, at, n);
		else
			err = c->ring->ops->read(c->ring->mem, at, p->addr + c->off, n);
		if (err)
			return err;
		c->off += n;
		c->done += n;
		at += n;
		len -= n;
	}
	return 0;
}

static uint64_t chain_bytes(const struct ring_chain *c, bool write)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->parts; i++)
		sum += c->part[i].write == write ? c->part[i].len : 0;
	return sum;
}

/* ---- one request -------------------------------------------------------------------- */

struct request {
	struct blk *d;
	struct session_worker *w;
	struct cursor in, out;		/* the driver's, seen from the device: read, written */
	uint64_t in_bytes, out_bytes;	/* of data */
	uint32_t type;
	uint64_t sector;
};

/* Bytes of the disk that a request is about. */
struct span {
	uint64_t at, len;
};

static bool range_is_valid(const struct blk *d, uint64_t sector, uint64_t sectors)
{
	return sectors <= d->sectors && sector <= d->sectors - sectors;
}

/* 0, or -EINVAL for what no disk of this size can do. */
static int span_of(const struct request *r, uint64_t bytes, struct span *s)
{
	if (bytes % BLK_SECTOR || bytes > BLK_REQUEST_BYTES ||
	    !range_is_valid(r->d, r->sector, bytes / BLK_SECTOR))
		return -EINVAL;
	*s = (struct span){ .at = r->sector * BLK_SECTOR, .len = bytes };
	return 0;
}

/* Bytes from at on within its block, at most left. */
static uint32_t piece(uint64_t at, uint64_t left)
{
	uint32_t room = BLOCKS_BYTES - (uint32_t)(at % BLOCKS_BYTES);

	return left < room ? (uint32_t)left : room;
}

static int exec_in(struct request *r)
{
	struct span s;
	int err = span_of(r, r->out_bytes, &s);

	while (!err && s.len) {
		uint32_t n = piece(s.at, s.len);

		err = blocks_read(r->d->blocks, r->w->ctx, s.at / BLOCKS_BYTES, r->w->page);
		if (!err)
			err = cursor_copy(&r->out, r->w->page + s.at % BLOCKS_BYTES, n);
		s.at += n;
		s.len -= n;
	}
	return err;
}

static int exec_out(struct request *r)
{
	struct span s;
	int err = span_of(r, r->in_bytes, &s);

	while (!err && s.len) {
		uint32_t n = piece(s.at, s.len);
		uint64_t block = s.at / BLOCKS_BYTES;

		err = cursor_copy(&r->in, r->w->page, n);
		if (!err && n == BLOCKS_BYTES)
			err = blocks_write(r->d->blocks, r->w->ctx, block, r->w->page);
		else if (!err)
			err = blocks_patch(r->d->blocks, r->w->ctx, block, s.at % BLOCKS_BYTES, n,
					   r->w->page);
		s.at += n;
		s.len -= n;
	}
	return err;
}

static int exec_flush(struct request *r)
{
	(void)r;
	return 0;
}

static int exec_get_id(struct request *r)
{
	uint64_t n = r->out_bytes < sizeof(r->d->id) ? r->out_bytes : sizeof(r->d->id);

	return cursor_copy(&r->out, r->d->id, (uint32_t)n);
}

/* Zeroes where a range covers only a part of its first or last block. */
static int edge_clear(struct request *r, struct span *s, bool must)
{
	while (s->len) {
		uint32_t n = piece(s->at, s->len);
		int err = 0;

		if (n == BLOCKS_BYTES)
			return 0;
		if (must)
			err = blocks_patch(r->d->blocks, r->w->ctx, s->at / BLOCKS_BYTES,
					   s->at % BLOCKS_BYTES, n, NULL);
		if (err)
			return err;
		s->at += n;
		s->len -= n;
	}
	return 0;
}

static int range_drop(struct request *r, struct span s)
{
	/* A discard may leave what is not a whole block; write-zeroes may not. */
	bool must = r->type == VIRTIO_BLK_T_WRITE_ZEROES;
	int err = edge_clear(r, &s, must);
	uint64_t whole = s.len / BLOCKS_BYTES;

	if (!err && whole)
		err = blocks_drop(r->d->blocks, s.at / BLOCKS_BYTES, whole);
	s.at += whole * BLOCKS_BYTES;
	s.len -= whole * BLOCKS_BYTES;
	return err ? err : edge_clear(r, &s, must);
}

/* Nothing is dropped unless all ranges are good. */
static int exec_drop(struct request *r)
{
	struct virtio_blk_discard_write_zeroes range[BLK_RANGES];
	uint32_t known = r->type == VIRTIO_BLK_T_WRITE_ZEROES ?
			 VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	unsigned n = (unsigned)(r->in_bytes / sizeof(range[0]));
	int err;

	if (!r->in_bytes || r->in_bytes % sizeof(range[0]) || r->in_bytes > sizeof(range))
		return -EINVAL;
	err = cursor_copy(&r->in, range, (uint32_t)r->in_bytes);
	for (unsigned i = 0; i < n && !err; i++) {
		uint32_t sectors = le32toh(range[i].num_sectors);

		if (le32toh(range[i].flags) & ~known)
			err = -EOPNOTSUPP;
		else if (sectors > BLK_RANGE_SECTORS ||
			 !range_is_valid(r->d, le64toh(range[i].sector), sectors))
			err = -EINVAL;
	}
	for (unsigned i = 0; i < n && !err; i++)
		err = range_drop(r, (struct span){
			.at = le64toh(range[i].sector) * BLK_SECTOR,
			.len = (uint64_t)le32toh(range[i].num_sectors) * BLK_SECTOR,
		});
	return err;
}

static const struct operation {
	uint32_t type;
	int (*exec)(struct request *r);
	size_t counter;			/* in struct blk */
} operations[] = {
	{ VIRTIO_BLK_T_IN, exec_in, offsetof(struct blk, reads) },
	{ VIRTIO_BLK_T_OUT, exec_out, offsetof(struct blk, writes) },
	{ VIRTIO_BLK_T_FLUSH, exec_flush, offsetof(struct blk, flushes) },
	{ VIRTIO_BLK_T_GET_ID, exec_get_id, offsetof(struct blk, reads) },
	{ VIRTIO_BLK_T_DISCARD, exec_drop, offsetof(struct blk, drops) },
	{ VIRTIO_BLK_T_WRITE_ZEROES, exec_drop, offsetof(struct blk, drops) },
};

static int execute(struct request *r)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const struct operation *o = &operations[i];

		if (o->type != r->type)
			continue;
		atomic_fetch_add_explicit((_Atomic uint64_t *)(void *)((char *)r->d + o->counter), 1,
					  memory_order_relaxed);
		return o->exec(r);
	}
	return -EOPNOTSUPP;
}

/* ---- fetch and answer ------------------------------------------------------------------ */

/* -EINVAL: a chain without room for header and status; in_bytes 0 then. */
static int request_fetch(struct request *r, struct blk *d, struct session_worker *w,
			 struct ring *ring, const struct ring_chain *c)
{
	struct virtio_blk_outhdr h;
	uint64_t in = chain_bytes(c, false), out = chain_bytes(c, true);

	*r = (struct request){
		.d = d,
		.w = w,
		.in = { .ring = ring, .chain = c },
		.out = { .ring = ring, .chain = c, .write = true },
		.out_bytes = out ? out - 1 : 0,
	};
	if (!out || in < sizeof(h) || cursor_copy(&r->in, &h, sizeof(h)))
		return -EINVAL;
	r->in_bytes = in - sizeof(h);
	r->type = le32toh(h.type);
	r->sector = le64toh(h.sector);
	return 0;
}

/* The last writable byte of the chain; false: it is not in guest memory. */
static bool status_write(struct ring *ring, const struct ring_chain *c, uint8_t status)
{
	for (unsigned i = c->parts; i--;) {
		const struct ring_part *p = &c->part[i];

		if (p->write && p->len)
			return !ring->ops->write(ring->mem, p->addr + p->len - 1, &status, 1);
	}
	return false;
}

static uint8_t status_of(int err)
{
	if (!err)
		return VIRTIO_BLK_S_OK;
	return err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* used.len promises bytes from the first on: the status counts if all before it do. */
static enum session_verdict serve(void *arg, struct session_worker *w, struct ring *ring,
				  const struct ring_chain *c, bool alone)
{
	struct request r;
	struct blk *d = arg;
	int err = request_fetch(&r, d, w, ring, c);

	(void)alone;
	if (!err)
		err = execute(&r);
	if (err)
		atomic_fetch_add_explicit(&d->errors, 1, memory_order_relaxed);
	if (status_write(ring, c, status_of(err)) && r.out.done == r.out_bytes)
		r.out.done++;
	ring_complete(ring, c->head, (uint32_t)r.out.done);
	return SESSION_DONE;
}

static void refuse(void *arg, struct ring *ring, const struct ring_chain *c)
{
	struct blk *d = arg;

	atomic_fetch_add_explicit(&d->errors, 1, memory_order_relaxed);
	status_write(ring, c, VIRTIO_BLK_S_IOERR);
	ring_complete(ring, c->head, 0);
}

const struct queue_service blk_service = { .serve = serve, .refuse = refuse };

/* ---- the device ---------------------------------------------------------------------- */

uint64_t blk_features(void)
{
	return BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
	       BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ) |
	       BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

void blk_init(struct blk *d, struct blocks *blocks, const char *id, unsigned queues,
	      unsigned block)
{
	uint64_t sectors = blocks->count * (BLOCKS_BYTES / BLK_SECTOR);

	memset(d, 0, sizeof(*d));
	d->blocks = blocks;
	d->sectors = sectors;
	memcpy(d->id, id, strnlen(id, sizeof(d->id)));
	d->config = (struct virtio_blk_config){
		.capacity = htole64(sectors),
		.seg_max = htole32(BLK_SEGMENTS),
		.blk_size = htole32(block),
		.physical_block_exp = block == BLK_SECTOR ? 3 : 0,
		.min_io_size = htole16((uint16_t)(BLOCKS_BYTES / block)),
		.opt_io_size = htole32(0),
		.num_queues = htole16((uint16_t)queues),
		.max_discard_sectors = htole32(BLK_RANGE_SECTORS),
		.max_discard_seg = htole32(BLK_RANGES),
		.discard_sector_alignment = htole32(BLOCKS_BYTES / BLK_SECTOR),
		.max_write_zeroes_sectors = htole32(BLK_RANGE_SECTORS),
		.max_write_zeroes_seg = htole32(BLK_RANGES),
		.write_zeroes_may_unmap = 1,
	};
}

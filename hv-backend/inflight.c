/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inflight.c - the region's layout, its mapping, what is served again.
 *
 * #syscalls: dup fallocate fstat ftruncate memfd_create mmap munmap
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inflight.h"
#include "sigbus.h"

#define VERSION		1u
#define QUEUE_ALIGN	64u
#define MAGIC		0x74696c66656d74ull	/* "tmeflit" */

/* As vhost-user publishes them, all in the host's byte order. */
struct inflight_desc {
	_Atomic uint8_t inflight;	/* 1: begun and not completed */
	uint8_t padding[5];
	uint16_t next;			/* not used here: completions come one by one */
	_Atomic uint64_t counter;	/* the order of beginning */
};

struct inflight_queue {
	uint64_t features;		/* none are defined */
	uint16_t version;
	uint16_t desc_num;
	_Atomic uint16_t last_batch_head;
	_Atomic uint16_t used_idx;
	struct inflight_desc desc[];
};

static_assert(sizeof(struct inflight_desc) == 16, "wire size");
static_assert(offsetof(struct inflight_desc, counter) == 8, "wire offset");
static_assert(offsetof(struct inflight_queue, used_idx) == 14, "wire offset");
static_assert(offsetof(struct inflight_queue, desc) == 16, "wire offset");

/* Ours, behind the last queue. */
struct stamp {
	uint64_t magic;
	uint64_t life;
};

static uint64_t queue_bytes(unsigned size)
{
	uint64_t n = sizeof(struct inflight_queue) + size * sizeof(struct inflight_desc);

	return (n + QUEUE_ALIGN - 1) & ~(uint64_t)(QUEUE_ALIGN - 1);
}

static uint64_t queues_bytes(const struct inflight_place *p)
{
	return p->queues * queue_bytes(p->queue_size);
}

static bool place_is_valid(const struct inflight_place *p)
{
	return p->queues && p->queues <= INFLIGHT_QUEUES_MAX && p->queue_size &&
	       p->queue_size <= TMEMP_RING_NUM_MAX;
}

static int region_map(struct inflight_region *r, const struct inflight_place *p, int fd)
{
	uint64_t bytes = queue_bytes(p->queue_size);

	r->len = (size_t)p->size;
	r->map = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)p->offset);
	if (r->map == MAP_FAILED)
		return -errno;
	r->guard = sigbus_guard(r->map, r->len);
	if (r->guard < 0) {
		munmap(r->map, r->len);
		return r->guard;
	}
	r->queues = p->queues;
	for (unsigned i = 0; i < p->queues; i++) {
		r->queue[i].at = (void *)((char *)r->map + i * bytes);
		r->queue[i].size = p->queue_size;
	}
	return 0;
}

/* size bytes of zeroes, whatever the VMM has made of it; it may have it mapped. */
static int file_empty(int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size) < 0)
		return -errno;
	if ((uint64_t)st.st_size < size && ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return 0;
}

static int file_give(int *file, uint64_t size)
{
	int err, fd;

	if (*file < 0)
		*file = memfd_create("tmemd-inflight", MFD_CLOEXEC);
	if (*file < 0)
		return -errno;
	err = file_empty(*file, size);
	if (err)
		return err;
	fd = dup(*file);
	return fd < 0 ? -errno : fd;
}

int inflight_create(struct inflight_region *r, struct inflight_place *p, uint64_t stamp,
		    int *file)
{
	struct stamp s = { .magic = MAGIC, .life = stamp };
	int err;

	*r = (struct inflight_region){ .fd = -1 };
	if (!place_is_valid(p))
		return -EINVAL;
	p->size = queues_bytes(p) + sizeof(s);
	p->offset = 0;
	r->fd = file_give(file, p->size);
	if (r->fd < 0)
		return r->fd;
	err = region_map(r, p, r->fd);
	if (err) {
		close(r->fd);
		r->fd = -1;
		return err;
	}
	for (unsigned i = 0; i < p->queues; i++) {
		r->queue[i].at->version = VERSION;
		r->queue[i].at->desc_num = p->queue_size;
	}
	memcpy((char *)r->map + queues_bytes(p), &s, sizeof(s));
	return 0;
}

static int file_check(const struct inflight_place *p, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !place_is_valid(p) || p->size < queues_bytes(p) ||
	    p->size > 2 * queues_bytes(p) + 4096 || p->offset & 4095 ||
	    (uint64_t)st.st_size < p->offset || (uint64_t)st.st_size - p->offset < p->size)
		return -EINVAL;
	return 0;
}

int inflight_attach(struct inflight_region *r, const struct inflight_place *p, int fd,
		    uint64_t *stamp)
{
	struct stamp s = { .magic = 0 };
	int err = file_check(p, fd);

	*r = (struct inflight_region){ .fd = -1 };
	if (err)
		return err;
	r->fd = dup(fd);
	if (r->fd < 0)
		return -errno;
	err = region_map(r, p, r->fd);
	if (err) {
		close(r->fd);
		r->fd = -1;
		return err;
	}
	if (p->size - queues_bytes(p) >= sizeof(s))
		memcpy(&s, (char *)r->map + queues_bytes(p), sizeof(s));
	*stamp = s.magic == MAGIC ? s.life : 0;
	return 0;
}

void inflight_drop(struct inflight_region *r)
{
	if (r->fd < 0)
		return;
	sigbus_release(r->guard);
	munmap(r->map, r->len);
	close(r->fd);
	r->fd = -1;
}

/* ---- requests ---------------------------------------------------------------- */

/* A head and when it was begun. */
struct begun {
	uint64_t counter;
	uint16_t head;
};

static int begun_compare(const void *a, const void *b)
{
	const struct begun *x = a, *y = b;

	return (x->counter > y->counter) - (x->counter < y->counter);
}

/* Completed by a host that died before it could unnote it. */
static void batch_settle(struct inflight_queue *at, unsigned num, uint16_t used)
{
	uint16_t head = atomic_load(&at->last_batch_head);

	if (atomic_load(&at->used_idx) == used)
		return;
	if (head < num)
		atomic_store(&at->desc[head].inflight, 0);
	atomic_store(&at->used_idx, used);
}

void inflight_resume(struct inflight *q, unsigned num, uint16_t used)
{
	struct begun begun[TMEMP_RING_NUM_MAX] = { { .counter = 0 } };

	num = num < q->size ? num : q->size;
	q->again = q->again_next = 0;
	batch_settle(q->at, num, used);
	for (unsigned i = 0; i < num; i++) {
		uint64_t counter = atomic_load(&q->at->desc[i].counter);

		if (atomic_load(&q->at->desc[i].inflight) != 1)
			continue;
		begun[q->again++] = (struct begun){ .counter = counter, .head = (uint16_t)i };
		if (counter > q->counter)
			q->counter = counter;
	}
	qsort(begun, q->again, sizeof(begun[0]), begun_compare);
	for (unsigned i = 0; i < q->again; i++)
		q->again_head[i] = begun[i].head;
}

bool inflight_again(struct inflight *q, uint16_t *head)
{
	if (q->again_next == q->again)
		return false;
	*head = q->again_head[q->again_next++];
	return true;
}

void inflight_begin(struct inflight *q, uint16_t head)
{
	if (head >= q->size)
		return;
	atomic_store(&q->at->desc[head].counter, ++q->counter);
	atomic_store(&q->at->desc[head].inflight, 1);
	/* One request is one batch: it is the one whose end may be cut in two. */
	atomic_store(&q->at->last_batch_head, head);
}

void inflight_end(struct inflight *q, uint16_t head, uint16_t used)
{
	if (head >= q->size)
		return;
	atomic_store(&q->at->desc[head].inflight, 0);
	atomic_store(&q->at->used_idx, used);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkio.c - a guest's disk as libblkio sees it: a front end that is not ours.
 * Usage: blkio SOCKET BYTES [SEED]
 *
 * Owns:     the one connection, and a copy of what the disk should hold.
 * How:      the disk is cut into lanes, 32 for each of 4 queues.  A lane has one
 *           request under way at any time; so what each request must find is known,
 *           whatever order they are served in.  One queue is polled: it asks for no
 *           interrupts.  After each kind of load the whole disk is compared.  The
 *           last test changes a bit behind the copy's back: the comparison must see
 *           it.  Prints TAP without numbers.
 * Must not: know tmemd: what is expected is what a block device does, and that
 *           discarded blocks are zeroes.
 */
#include <blkio.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUEUES		4u	/* the last one is polled */
#define DEPTH		32u
#define LANES		(QUEUES * DEPTH)
#define REQUEST_MAX	(16u << 10)
#define PARTS		4u	/* pieces of memory of one request */
#define BLOCK		4096u
#define SWEEP		(1u << 20)
#define WAIT_S		120

enum what { READ, WRITE, ZEROES, DISCARD, FLUSH };

/* What requests a load is made of: so many of 16, the rest are reads. */
struct load {
	const char *name;
	unsigned writes, zeroes, discards, flushes;
	unsigned requests;	/* of a queue */
	uint32_t unit;		/* places and lengths are multiples of it; 0: the disk's */
	uint32_t len_max;
};

struct lane {
	uint64_t start;		/* on the disk */
	uint8_t *buffer;	/* REQUEST_MAX bytes in shared memory */
	enum what what;
	uint64_t at;
	uint32_t len;
	struct iovec part[PARTS];
};

struct worker {
	pthread_t thread;
	struct blkioq *queue;
	struct lane *lane;	/* DEPTH */
	const struct load *load;
	uint64_t seed;
	unsigned wrong;		/* answers */
};

static const struct load loads[] = {
	{ "4-KiB blocks", .writes = 8, .requests = 2000, .unit = BLOCK, .len_max = BLOCK },
	{ "any place and length", .writes = 8, .requests = 2000, .len_max = REQUEST_MAX },
	{ "discards, zeroes and flushes among them", .writes = 5, .zeroes = 2, .discards = 2,
	  .flushes = 1, .requests = 2000, .len_max = REQUEST_MAX },
};

static struct blkio *disk;
static struct blkio_mem_region memory;
static uint64_t size, seed;
static uint32_t unit;		/* the disk's */
static uint8_t *copy;
static struct lane lanes[LANES];
static struct worker workers[QUEUES];

static void test(const char *name, bool passed)
{
	printf("%sok - libblkio: %s\n", passed ? "" : "not ", name);
	fflush(stdout);
}

static void need(const char *what, int err)
{
	if (err >= 0)
		return;
	printf("not ok - libblkio: %s: %s (%s)\n", what, strerror(-err), blkio_get_error_msg());
	exit(1);
}

static uint32_t below(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((*state >> 32) * n >> 32);
}

/* ---- life ------------------------------------------------------------------------ */

static void disk_open(const char *path)
{
	uint64_t capacity;
	int queues, alignment;

	need("driver", blkio_create("virtio-blk-vhost-user", &disk));
	need("path", blkio_set_str(disk, "path", path));
	need("connects", blkio_connect(disk));
	need("capacity", blkio_get_uint64(disk, "capacity", &capacity));
	need("queues", blkio_get_int(disk, "max-queues", &queues));
	need("alignment", blkio_get_int(disk, "request-alignment", &alignment));
	unit = (uint32_t)alignment;
	printf("# capacity %llu, queues %d, alignment %d\n", (unsigned long long)capacity, queues,
	       alignment);
	test("the disk has its size", capacity == size);
	test("and the queues", queues >= (int)QUEUES);
	need("queues", blkio_set_int(disk, "num-queues", QUEUES - 1));
	need("polled queue", blkio_set_int(disk, "num-poll-queues", 1));
	need("starts", blkio_start(disk));
	need("memory", blkio_alloc_mem_region(disk, &memory, LANES * REQUEST_MAX + SWEEP));
	need("memory", blkio_map_mem_region(disk, &memory));
	for (unsigned i = 0; i < LANES; i++) {
		lanes[i].start = size / LANES * i;
		lanes[i].buffer = (uint8_t *)memory.addr + i * REQUEST_MAX;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		workers[i].lane = &lanes[i * DEPTH];
		workers[i].queue = i < QUEUES - 1 ? blkio_get_queue(disk, (int)i)
						  : blkio_get_poll_queue(disk, 0);
	}
}

/* Wait for one to max requests; their number, at least 1. */
static int reap(struct blkioq *q, struct blkio_completion *done, int max)
{
	struct timespec limit = { .tv_sec = WAIT_S };
	int n = blkioq_do_io(q, done, 1, max, &limit);

	need("answers in time", n);
	return n;
}

/* ---- the whole disk ---------------------------------------------------------------- */

/* Blocks that differ from the copy; all of them if a read fails. */
static unsigned differing(void)
{
	uint8_t *buffer = (uint8_t *)memory.addr + LANES * REQUEST_MAX;
	struct blkio_completion done;
	unsigned n = 0;

	for (uint64_t at = 0; at < size; at += SWEEP) {
		memset(buffer, 0xee, SWEEP);
		blkioq_read(workers[0].queue, at, buffer, SWEEP, NULL, 0);
		reap(workers[0].queue, &done, 1);
		if (done.ret)
			return (unsigned)(size / BLOCK);
		for (uint64_t k = 0; k < SWEEP; k += BLOCK)
			n += memcmp(buffer + k, copy + at + k, BLOCK) != 0;
	}
	return n;
}

/* ---- one request --------------------------------------------------------------------- */

/* Cut the buffer into pieces of memory; how many. */
static int cut(struct lane *l, uint64_t *state)
{
	uint32_t done = 0;
	unsigned n = 0;

	while (done < l->len) {
		uint32_t len = l->len - done;

		if (n + 1 < PARTS && len > unit)
			len = (1 + below(state, len / unit)) * unit;
		l->part[n++] = (struct iovec){ l->buffer + done, len };
		done += len;
	}
	return (int)n;
}

static enum what choose(const struct load *load, uint64_t *state)
{
	unsigned n = below(state, 16);

	if (n < load->writes)
		return WRITE;
	n -= load->writes;
	if (n < load->zeroes)
		return ZEROES;
	n -= load->zeroes;
	if (n < load->discards)
		return DISCARD;
	return n - load->discards < load->flushes ? FLUSH : READ;
}

static void place(struct lane *l, const struct load *load, uint64_t *state)
{
	uint32_t u = l->what == DISCARD ? BLOCK : load->unit ? load->unit : unit;

	l->len = (1 + below(state, load->len_max / u)) * u;
	l->at = l->start + below(state, ((uint32_t)(size / LANES) - l->len) / u + 1) * u;
}

/* Text that compresses, or noise that does not. */
static void scribble(struct lane *l, uint64_t *state)
{
	bool noise = below(state, 2);

	for (uint32_t i = 0; i < l->len; i++)
		l->buffer[i] = noise ? (uint8_t)below(state, 256) : (uint8_t)(l->at + i / 64);
}

static void submit(struct worker *w, struct lane *l)
{
	l->what = choose(w->load, &w->seed);
	place(l, w->load, &w->seed);
	switch (l->what) {
	case READ:
		memset(l->buffer, 0xee, l->len);
		blkioq_readv(w->queue, l->at, l->part, cut(l, &w->seed), l, 0);
		return;
	case WRITE:
		scribble(l, &w->seed);
		memcpy(copy + l->at, l->buffer, l->len);
		blkioq_writev(w->queue, l->at, l->part, cut(l, &w->seed), l, 0);
		return;
	case ZEROES:
		memset(copy + l->at, 0, l->len);
		blkioq_write_zeroes(w->queue, l->at, l->len, l,
				    below(&w->seed, 2) ? BLKIO_REQ_NO_UNMAP : 0);
		return;
	case DISCARD:
		memset(copy + l->at, 0, l->len);
		blkioq_discard(w->queue, l->at, l->len, l, 0);
		return;
	case FLUSH:
		blkioq_flush(w->queue, l, 0);
		return;
	}
}

static bool right(const struct lane *l, const struct blkio_completion *done)
{
	return !done->ret && (l->what != READ || !memcmp(l->buffer, copy + l->at, l->len));
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	unsigned begun = 0, ended = 0;

	for (; begun < DEPTH; begun++)
		submit(w, &w->lane[begun]);
	while (ended < begun) {
		struct blkio_completion done[DEPTH];
		int n = reap(w->queue, done, DEPTH);

		for (int i = 0; i < n; i++, ended++) {
			struct lane *l = done[i].user_data;

			w->wrong += !right(l, &done[i]);
			if (begun < w->load->requests) {
				submit(w, l);
				begun++;
			}
		}
	}
	return NULL;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void test_load(const struct load *load)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < QUEUES; i++) {
		workers[i].load = load;
		workers[i].wrong = 0;
		workers[i].seed = seed++;
		need("thread", -pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]));
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		pthread_join(workers[i].thread, NULL);
		wrong += workers[i].wrong;
	}
	test(load->name, !wrong && !differing());
}

static void test_end(void)
{
	struct blkio_completion done;

	blkioq_write(workers[0].queue, size, lanes[0].buffer, BLOCK, NULL, 0);
	reap(workers[0].queue, &done, 1);
	test("behind the end is an error", done.ret < 0 && !differing());
}

/* Can differing() tell? */
static void test_wrong_byte(void)
{
	struct blkio_completion done;
	uint64_t at = size / 3 / BLOCK * BLOCK;

	memcpy(lanes[0].buffer, copy + at, BLOCK);
	lanes[0].buffer[1234] ^= 1;
	blkioq_write(workers[0].queue, at, lanes[0].buffer, BLOCK, NULL, 0);
	reap(workers[0].queue, &done, 1);
	test("a wrong bit would be seen", !done.ret && differing() == 1);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	size = strtoull(argv[2], NULL, 0);
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL);
	printf("# seed %llu\n", (unsigned long long)seed);
	copy = calloc(1, size);
	if (!copy || size % SWEEP)
		return 2;
	disk_open(argv[1]);
	test("a new disk is zeroes", !differing());
	for (unsigned i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
		test_load(&loads[i]);
	test_end();
	blkio_destroy(&disk);
	disk_open(argv[1]);
	test("connected again, it has what it had", !differing());
	test_load(&loads[2]);
	test_wrong_byte();
	blkio_destroy(&disk);
	free(copy);
	return 0;
}

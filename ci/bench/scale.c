/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scale.c - tmem-bench scale: what more threads, pages, clients and memory cost.
 *
 * Owns:    the figures of docs/performance.md that compare the core with itself.
 * How:     pages are made up, so that the same are used everywhere.  Of two
 *          things compared each is measured in short turns, one after the other,
 *          and the medians are compared.  Giving memory back is compared with
 *          punching the very same holes into a file that was filled the same, in
 *          turns, too; all CPUs may be used for it, as the daemon's thread may.
 * Must not: depend on files of the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/pages.h"
#include "tmem.h"

#define PAGES		4096u		/* different pages that are put */
#define TURNS		15u
#define THREAD_NS	300000000u	/* one turn of a thread */
#define PUTS_A_TURN	4000u
#define FEW		10000u
#define MANY		4000000u
#define CLIENTS		1000u
#define GIB		(1ull << 30)
#define PIECES		4u		/* in which a GiB is given back */

static struct bench_pages pages;

static void must(int rc, const char *what)
{
	if (rc)
		bench_die("%s: %s", what, strerror(-rc));
}

static const uint8_t *page_of(uint64_t n)
{
	return bench_page(&pages, (uint32_t)(n % PAGES));
}

static struct tmem_key key_of(uint64_t n)
{
	return (struct tmem_key){ .oid = { n >> 9, 7, 0 }, .index = (uint32_t)(n & 511) };
}

/* ---- a store -------------------------------------------------------------- */

struct store {
	int fd;
	uint64_t arena_max;
	struct tmem *t;
	struct tmem_ctx *ctx;
};

static void store_start(struct store *s, bool rebuild)
{
	const struct tmem_config config = {
		.arena_fd = s->fd, .arena_max = s->arena_max, .rebuild = rebuild,
	};

	must(tmem_create(&s->t, &config), "tmem_create");
	must(tmem_ctx_create(s->t, &s->ctx), "tmem_ctx_create");
}

static void store_open(struct store *s, uint64_t arena_max)
{
	s->arena_max = arena_max;
	s->fd = memfd_create("arena", MFD_CLOEXEC);
	if (s->fd < 0)
		bench_die("memfd_create: %s", strerror(errno));
	store_start(s, false);
}

static void store_stop(struct store *s)
{
	tmem_ctx_destroy(s->ctx);
	tmem_destroy(s->t);
}

static void store_close(struct store *s)
{
	store_stop(s);
	close(s->fd);
}

static struct tmem_client *client(struct store *s, const char *name)
{
	const struct tmem_pool_spec spec = { .kind = TMEM_EPHEMERAL };
	struct tmem_client *c;

	must(tmem_client_create(s->t, name, &c), "tmem_client_create");
	must(tmem_pool_create(c, 0, &spec), "tmem_pool_create");
	return c;
}

static uint64_t resident(const struct store *s)
{
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		bench_die("fstat: %s", strerror(errno));
	return (uint64_t)st.st_blocks * 512;
}

static void put(struct tmem_ctx *ctx, struct tmem_client *c, uint64_t n, const uint8_t *page)
{
	struct tmem_key key = key_of(n);

	must(tmem_put(ctx, c, 0, &key, page, n), "put");
}

/* ---- two threads ---------------------------------------------------------- */

struct worker {
	pthread_t thread;
	unsigned cpu;
	bool raw;
	struct store *store;
	struct tmem_client *client;
	_Atomic bool *stop;
	uint64_t operations;
};

/* A put and a get of the same page some hundred puts later: a cache that works. */
static void work_core(struct worker *w)
{
	uint8_t out[BENCH_PAGE];
	struct tmem_ctx *ctx;
	uint64_t base = (uint64_t)w->cpu << 32, n;

	must(tmem_ctx_create(w->store->t, &ctx), "tmem_ctx_create");
	for (n = 0; !atomic_load_explicit(w->stop, memory_order_relaxed); n++) {
		struct tmem_key key = key_of(base + n - 256);

		put(ctx, w->client, base + n, page_of(n));
		if (n >= 256)
			must(tmem_get(ctx, w->client, 0, &key, out, &key.oid[0]), "get");
	}
	w->operations = 2 * n;
	tmem_ctx_destroy(ctx);
}

static void work_raw(struct worker *w)
{
	uint8_t packed[BENCH_COMPRESSED_MAX], out[BENCH_PAGE];
	struct bench_codec *codec = bench_codec_open(bench_codec_number("lzo"));
	uint64_t n;

	for (n = 0; !atomic_load_explicit(w->stop, memory_order_relaxed); n++)
		bench_decompress(codec, packed, bench_compress(codec, page_of(n), packed), out);
	w->operations = 2 * n;
	bench_codec_close(codec);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	bench_pin(w->cpu);
	if (w->raw)
		work_raw(w);
	else
		work_core(w);
	return NULL;
}

/* Operations a second of n threads, each with a client of its own, in one turn. */
static double turn_of_threads(struct store *s, struct tmem_client **c, unsigned n, bool raw)
{
	_Atomic bool stop = false;
	struct worker w[2];
	uint64_t start, done = 0;
	double ns;

	for (unsigned i = 0; i < n; i++)
		w[i] = (struct worker){ .cpu = i, .raw = raw, .store = s, .client = c[i],
					.stop = &stop };
	start = bench_now();
	for (unsigned i = 0; i < n; i++)
		must(-pthread_create(&w[i].thread, NULL, worker_main, &w[i]), "pthread_create");
	usleep(THREAD_NS / 1000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		done += w[i].operations;
	}
	ns = (double)(bench_now() - start);
	for (unsigned i = 0; i < n && !raw; i++)
		tmem_client_flush_ephemeral(c[i]);
	return (double)done * 1e9 / ns;
}

struct threads {
	double one, two, speedup, raw_speedup;
};

static void measure_threads(struct threads *out)
{
	enum { CORE_1, CORE_2, RAW_1, RAW_2, KINDS };
	double v[KINDS][5];
	struct tmem_client *c[2];
	struct store s;

	store_open(&s, 256u << 20);
	c[0] = client(&s, "first");
	c[1] = client(&s, "second");
	turn_of_threads(&s, c, 2, false);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned k = 0; k < KINDS; k++)
			v[k][i] = turn_of_threads(&s, c, 1 + (k & 1), k >= RAW_1);
	store_close(&s);
	out->one = bench_median(v[CORE_1], 5);
	out->two = bench_median(v[CORE_2], 5);
	out->speedup = out->two / out->one;
	out->raw_speedup = bench_median(v[RAW_2], 5) / bench_median(v[RAW_1], 5);
}

/* ---- many pages ------------------------------------------------------------- */

/* A page that is a word and its number over and over: LZO makes 30 bytes of it. */
static void small_page(uint8_t *page, uint64_t n)
{
	uint64_t pair[2] = { n * 0x9e3779b97f4a7c15u, n };

	for (size_t i = 0; i < BENCH_PAGE; i += sizeof(pair))
		memcpy(page + i, pair, sizeof(pair));
}

struct filler {
	pthread_t thread;
	unsigned cpu;
	struct store *store;
	struct tmem_client *client;
	uint64_t from, to;
	bool small;
};

static void *fill_main(void *arg)
{
	struct filler *f = arg;
	uint8_t page[BENCH_PAGE];
	struct tmem_ctx *ctx;

	bench_pin(f->cpu);
	must(tmem_ctx_create(f->store->t, &ctx), "tmem_ctx_create");
	for (uint64_t n = f->from; n < f->to; n++) {
		if (f->small)
			small_page(page, n);
		put(ctx, f->client, n, f->small ? page : page_of(n));
	}
	tmem_ctx_destroy(ctx);
	return NULL;
}

/* Put pages 0 to n - 1 from two threads. */
static void fill(struct store *s, struct tmem_client *c, uint64_t n, bool small)
{
	struct filler f[2];

	for (unsigned i = 0; i < 2; i++) {
		f[i] = (struct filler){ .cpu = i, .store = s, .client = c, .from = n / 2 * i,
					.to = i ? n : n / 2, .small = small };
		must(-pthread_create(&f[i].thread, NULL, fill_main, &f[i]), "pthread_create");
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(f[i].thread, NULL);
}

/* Nanoseconds a put of keys that are not there yet; they are flushed after. */
static double turn_of_puts(struct store *s, struct tmem_client **c, unsigned clients,
			   uint64_t *rng)
{
	uint64_t start, base = 1ull << 40;
	unsigned offset = (unsigned)(bench_random(rng) % clients);
	double ns;

	start = bench_cpu_now();
	for (unsigned i = 0; i < PUTS_A_TURN; i++)
		put(s->ctx, c[(offset + i) % clients], base + i, page_of(i));
	ns = (double)(bench_cpu_now() - start) / PUTS_A_TURN;
	for (unsigned i = 0; i < PUTS_A_TURN; i++) {
		struct tmem_key key = key_of(base + i);

		tmem_flush_page(c[(offset + i) % clients], 0, &key);
	}
	return ns;
}

static void turns(struct store *a, struct tmem_client **ca, unsigned na, double *ns_a,
		  struct store *b, struct tmem_client **cb, unsigned nb, double *ns_b)
{
	double va[TURNS], vb[TURNS];
	uint64_t rng = 0x7475726e;

	turn_of_puts(a, ca, na, &rng);
	turn_of_puts(b, cb, nb, &rng);
	for (unsigned i = 0; i < TURNS; i++) {
		va[i] = turn_of_puts(a, ca, na, &rng);
		vb[i] = turn_of_puts(b, cb, nb, &rng);
	}
	*ns_a = bench_median(va, TURNS);
	*ns_b = bench_median(vb, TURNS);
}

struct held {
	double few_ns, many_ns, metadata;
};

static void measure_pages_held(struct held *out)
{
	struct tmem_store_info info;
	struct tmem_client *few, *many;
	struct store a, b;

	store_open(&a, 256u << 20);
	store_open(&b, 2 * GIB);
	few = client(&a, "few");
	many = client(&b, "many");
	fill(&a, few, FEW, true);
	fill(&b, many, MANY, true);
	tmem_store_info(b.t, &info);
	out->metadata = (double)info.bytes_metadata / MANY;
	turns(&a, &few, 1, &out->few_ns, &b, &many, 1, &out->many_ns);
	store_close(&a);
	store_close(&b);
}

/* ---- many clients ------------------------------------------------------------ */

static void measure_clients(double *one_ns, double *many_ns)
{
	static struct tmem_client *many[CLIENTS];
	struct tmem_client *one;
	struct store a, b;
	uint8_t page[BENCH_PAGE];

	store_open(&a, 256u << 20);
	store_open(&b, 256u << 20);
	one = client(&a, "one");
	for (unsigned i = 0; i < CLIENTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "client-%u", i);
		many[i] = client(&b, name);
	}
	for (unsigned i = 0; i < 20 * CLIENTS; i++) {
		small_page(page, i);
		put(a.ctx, one, i, page);
		put(b.ctx, many[i % CLIENTS], i, page);
	}
	turns(&a, &one, 1, one_ns, &b, many, CLIENTS, many_ns);
	store_close(&a);
	store_close(&b);
}

/* ---- memory back, and a rebuild ------------------------------------------------ */

struct extents {
	off_t (*range)[2];
	size_t n, room;
};

static void extent_add(struct extents *e, off_t from, off_t to)
{
	if (e->n == e->room) {
		e->room = e->room ? e->room * 2 : 1024;
		e->range = realloc(e->range, e->room * sizeof(*e->range));
		if (!e->range)
			bench_die("out of memory");
	}
	e->range[e->n][0] = from;
	e->range[e->n++][1] = to;
}

static void data_of(int fd, struct extents *e)
{
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		extent_add(e, at, end);
		at = end;
	}
}

/* Punch what is data in before and no more in after: both in order, after within before. */
static void punch_difference(int fd, const struct extents *before, const struct extents *after)
{
	size_t j = 0;

	for (size_t i = 0; i < before->n; i++) {
		off_t at = before->range[i][0], end = before->range[i][1];

		while (at < end) {
			off_t stop = end, next = end;

			if (j < after->n && after->range[j][0] < end) {
				stop = after->range[j][0];
				next = after->range[j++][1];
			}
			if (stop > at && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						   at, stop - at))
				bench_die("fallocate: %s", strerror(errno));
			at = next;
		}
	}
}

/* The whole file mapped, with memory where e has data: what the arena is to the core. */
static uint8_t *map_touched(int fd, size_t size, const struct extents *e)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		bench_die("mmap: %s", strerror(errno));
	for (size_t i = 0; i < e->n; i++)
		memset(p + e->range[i][0], 1, (size_t)(e->range[i][1] - e->range[i][0]));
	return p;
}

/* Seconds to read what the arena holds once, as a rebuild has to. */
static double read_once(const struct store *s)
{
	struct extents e = { 0 };
	size_t size = (size_t)lseek(s->fd, 0, SEEK_END);
	uint64_t *p = mmap(NULL, size, PROT_READ, MAP_SHARED, s->fd, 0), sum = 0, start;
	double seconds;

	if (p == MAP_FAILED)
		bench_die("mmap: %s", strerror(errno));
	start = bench_now();
	data_of(s->fd, &e);
	for (size_t i = 0; i < e.n; i++)
		for (off_t at = e.range[i][0] / 8; at < e.range[i][1] / 8; at++)
			sum += p[at];
	seconds = (double)(bench_now() - start) / 1e9;
	__asm__ volatile("" : : "r"(sum));
	munmap(p, size);
	free(e.range);
	return seconds;
}

struct memory {
	double reclaim, bare, rebuild, read;
};

static void measure_rebuild(struct store *s, struct memory *out)
{
	double gib = (double)resident(s) / (double)GIB;
	uint64_t start;

	store_stop(s);
	out->read = read_once(s) / gib;
	start = bench_now();
	store_start(s, true);
	out->rebuild = (double)(bench_now() - start) / 1e9 / gib;
}

static double seconds_since(uint64_t start)
{
	return (double)(bench_now() - start) / 1e9;
}

/* Have the core give frames back, then punch the same out of the file fd. */
static void reclaim_piece(struct store *s, int fd, uint64_t frames, struct memory *out)
{
	struct extents before = { 0 }, after = { 0 };
	struct tmem_reclaim_report report;
	uint64_t start;

	data_of(s->fd, &before);
	start = bench_now();
	tmem_reclaim(s->t, frames, &report);
	out->reclaim += seconds_since(start);
	if (report.frames != frames)
		bench_die("only %llu frames were reclaimed", (unsigned long long)report.frames);
	data_of(s->fd, &after);
	start = bench_now();
	punch_difference(fd, &before, &after);
	out->bare += seconds_since(start);
	free(before.range);
	free(after.range);
}

static void measure_reclaim(struct store *s, struct memory *out)
{
	struct extents held = { 0 };
	uint64_t frames = GIB / tmem_frame_size(s->t);
	size_t size = (size_t)lseek(s->fd, 0, SEEK_END);
	int fd = memfd_create("bare", MFD_CLOEXEC);
	uint8_t *bare;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		bench_die("memfd: %s", strerror(errno));
	data_of(s->fd, &held);
	bare = map_touched(fd, size, &held);
	out->reclaim = out->bare = 0;
	for (unsigned i = 0; i < PIECES; i++)
		reclaim_piece(s, fd, frames / PIECES, out);
	munmap(bare, size);
	free(held.range);
	close(fd);
}

static void measure_memory(struct memory *out)
{
	struct tmem_client *c;
	struct store s;
	uint64_t n = 0, chunk = 65536;

	store_open(&s, 2 * GIB);
	c = client(&s, "guest");
	for (; resident(&s) < GIB + (GIB >> 4); n += chunk)
		for (uint64_t i = n; i < n + chunk; i++)
			put(s.ctx, c, i, page_of(i));
	measure_rebuild(&s, out);
	measure_reclaim(&s, out);
	store_close(&s);
}

/* ---- the command ---------------------------------------------------------------- */

int bench_scale(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 },
	};
	struct threads threads;
	struct held held;
	struct memory memory;
	double one_ns, many_ns;
	cpu_set_t may;
	bool json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt != 'j')
			return BENCH_USAGE;
		json = true;
	}
	if (optind != argc)
		return BENCH_USAGE;
	CPU_ZERO(&may);
	sched_getaffinity(0, sizeof(may), &may);
	bench_pages_make(&pages, PAGES);
	measure_threads(&threads);
	bench_pin(0);
	measure_pages_held(&held);
	bench_pin(0);
	measure_clients(&one_ns, &many_ns);
	sched_setaffinity(0, sizeof(may), &may);
	measure_memory(&memory);
	bench_pages_free(&pages);

	const struct bench_figure f[] = {
		{ "threads1_ops", threads.one },
		{ "threads2_ops", threads.two },
		{ "speedup", threads.speedup },
		{ "raw_codec_speedup", threads.raw_speedup },
		{ "put_ns_10k_pages", held.few_ns },
		{ "put_ns_4m_pages", held.many_ns },
		{ "metadata_bytes_4m_pages", held.metadata },
		{ "clients1_ns", one_ns },
		{ "clients1000_ns", many_ns },
		{ "reclaim_1gib_s", memory.reclaim },
		{ "bare_punch_1gib_s", memory.bare },
		{ "rebuild_s_per_gib", memory.rebuild },
		{ "read_s_per_gib", memory.read },
	};

	bench_print(f, sizeof(f) / sizeof(f[0]), json);
	return BENCH_OK;
}

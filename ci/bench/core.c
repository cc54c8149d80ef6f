/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core.c - tmem-bench core: what the core costs above its codec, and how dense
 * it keeps pages.
 *
 * Owns:    the figures of docs/performance.md about one thread and one codec.
 * How:     time: the pages are put and got in runs of RUN, in one random order.
 *          For each run the codec alone and the core take turns on the same
 *          pages, the one first that was second in the round before; a run's
 *          time is the median of all rounds, a figure the sum over runs.  CPU
 *          time is taken, as nothing here waits; so what else the machine does
 *          weighs little, and on both alike.
 *          density: a store of CAPACITY is filled, then worked on by 5 times as
 *          many puts while a fifth as many pages are flushed at random.
 *          Pages come again and again there, so dedup, asked for or not, is off.
 * Must not: count pages that the codec cannot get below BENCH_POOR, or
 *          same-filled ones: neither shows what a store does.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/pages.h"
#include "tmem.h"

#define RUN		250u
#define ROUNDS_MAX	41u
#define ROUNDS_MIN	5u
#define ROUNDS_NS	5000000000u
#define CAPACITY	(32u << 20)
#define COLLECTED	6000u

enum { EPHEMERAL_POOL, PERSISTENT_POOL };

struct options {
	const char *corpus;
	int codec;
	bool json, dedup, two;
};

struct store {
	int fd;
	struct tmem *t;
	struct tmem_ctx *ctx;
	struct tmem_client *c;
};

enum metric {
	RAW_COMPRESS, PUT, RAW_DECOMPRESS, GET,
	RAW_COMPRESS_2, PUT_PERSISTENT, RAW_DECOMPRESS_2, GET_PERSISTENT, METRICS,
};

struct bench {
	struct options o;
	struct bench_codec *codec;
	struct bench_pages pages;
	struct bench_packed packed;
	struct tmem_key *file_key, *swap_key;	/* of page i */
	uint32_t *put_order, *get_order;
	uint64_t rng;
	unsigned runs, rounds;
	double *sample;				/* [metric][run][round] */
	double cold_ns;
	double ephemeral_density, persistent_density, compacted_density;
	double metadata, full_put_ns;
};

static void must(int rc, const char *what)
{
	if (rc)
		bench_die("%s: %s", what, strerror(-rc));
}

/* ---- stores and keys -------------------------------------------------- */

static void store_open(struct store *s, const struct options *o, uint64_t arena_max, bool dedup)
{
	struct tmem_config config = {
		.arena_fd = memfd_create("arena", MFD_CLOEXEC),
		.arena_max = arena_max,
		.zbud_two = o->two,
		.dedup = dedup ? TMEM_DEDUP_CLIENT : TMEM_DEDUP_OFF,
	};
	const struct tmem_pool_spec spec[] = {
		{ .kind = TMEM_EPHEMERAL }, { .kind = TMEM_PERSISTENT },
	};
	struct tmem_quota quota;

	if (config.arena_fd < 0)
		bench_die("memfd_create: %s", strerror(errno));
	s->fd = config.arena_fd;
	must(tmem_create(&s->t, &config), "tmem_create");
	must(tmem_ctx_create(s->t, &s->ctx), "tmem_ctx_create");
	must(tmem_client_create(s->t, "bench", &s->c), "tmem_client_create");
	tmem_client_quota_get(s->c, &quota);
	quota.codec[TMEM_EPHEMERAL] = quota.codec[TMEM_PERSISTENT] = (enum tmem_codec)o->codec;
	must(tmem_client_quota_set(s->c, &quota), "tmem_client_quota_set");
	must(tmem_pool_create(s->c, EPHEMERAL_POOL, &spec[0]), "tmem_pool_create");
	must(tmem_pool_create(s->c, PERSISTENT_POOL, &spec[1]), "tmem_pool_create");
}

static void store_close(struct store *s)
{
	tmem_client_kill(s->c);
	tmem_client_destroy(s->c);
	tmem_ctx_destroy(s->ctx);
	tmem_destroy(s->t);
	close(s->fd);
}

/* Pages of the files of a Debian system: their 20-quantiles, the last one its mean. */
static const uint32_t file_pages[20] = {
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 6, 11, 300,
};

struct files {
	uint64_t file;
	uint32_t index, pages;
};

static struct tmem_key next_file_key(struct files *f, uint64_t *rng)
{
	struct tmem_key key;

	if (f->index == f->pages) {
		f->file++;
		f->index = 0;
		f->pages = file_pages[bench_random(rng) % 20];
	}
	key = (struct tmem_key){ .oid = { f->file, 1, 0 }, .index = f->index++ };
	return key;
}

/* A swap offset is spread over 16 objects, as the guest module does. */
static struct tmem_key swap_key(uint32_t offset)
{
	return (struct tmem_key){ .oid = { offset % 16, 0, 0 }, .index = offset / 16 };
}

static int put(struct store *s, unsigned pool, const struct tmem_key *key, const uint8_t *page)
{
	return tmem_put(s->ctx, s->c, pool, key, page, 1);
}

/* ---- time ------------------------------------------------------------- */

struct run {
	struct bench *b;
	struct store *s;
	uint32_t from, to;
	uint8_t *scratch;
};

static void raw_compress(const struct run *r)
{
	for (uint32_t i = r->from; i < r->to; i++)
		bench_compress(r->b->codec, bench_page(&r->b->pages, r->b->put_order[i]), r->scratch);
}

static void raw_decompress(const struct run *r)
{
	const uint32_t *at = r->b->packed.at;

	for (uint32_t i = r->from; i < r->to; i++) {
		uint32_t p = r->b->get_order[i];

		bench_decompress(r->b->codec, r->b->packed.data + at[p], at[p + 1] - at[p],
				 r->scratch);
	}
}

static void put_run(const struct run *r, unsigned pool, const struct tmem_key *key)
{
	for (uint32_t i = r->from; i < r->to; i++) {
		uint32_t p = r->b->put_order[i];

		must(put(r->s, pool, &key[p], bench_page(&r->b->pages, p)), "put");
	}
}

static void get_run(const struct run *r, unsigned pool, const struct tmem_key *key)
{
	uint64_t tag;

	for (uint32_t i = r->from; i < r->to; i++)
		must(tmem_get(r->s->ctx, r->s->c, pool, &key[r->b->get_order[i]], r->scratch, &tag),
		     "get");
}

static void put_ephemeral(const struct run *r)
{
	put_run(r, EPHEMERAL_POOL, r->b->file_key);
}

static void get_ephemeral(const struct run *r)
{
	get_run(r, EPHEMERAL_POOL, r->b->file_key);
}

static void put_persistent(const struct run *r)
{
	put_run(r, PERSISTENT_POOL, r->b->swap_key);
}

static void get_persistent(const struct run *r)
{
	get_run(r, PERSISTENT_POOL, r->b->swap_key);
}

typedef void (*run_fn)(const struct run *r);

static double timed(run_fn fn, const struct run *r)
{
	uint64_t start = bench_cpu_now();

	fn(r);
	return (double)(bench_cpu_now() - start);
}

static double *samples_of(struct bench *b, enum metric m, unsigned run)
{
	return &b->sample[((size_t)m * b->runs + run) * ROUNDS_MAX];
}

/* Run by run the codec alone (metric m) and the core (m + 1), taking turns. */
static void measure_pair(struct bench *b, struct run *r, enum metric m, run_fn raw, run_fn core)
{
	for (unsigned i = 0; i < b->runs; i++) {
		bool raw_first = (i + b->rounds) % 2;
		double *raw_ns = samples_of(b, m, i) + b->rounds;
		double *core_ns = samples_of(b, m + 1, i) + b->rounds;

		r->from = i * RUN;
		r->to = r->from + RUN < b->pages.n ? r->from + RUN : b->pages.n;
		if (raw_first)
			*raw_ns = timed(raw, r);
		*core_ns = timed(core, r);
		if (!raw_first)
			*raw_ns = timed(raw, r);
	}
}

/* Nanoseconds a page. */
static double figure(struct bench *b, enum metric m)
{
	double sum = 0;

	for (unsigned i = 0; i < b->runs; i++)
		sum += bench_median(samples_of(b, m, i), b->rounds);
	return sum / b->pages.n;
}

static void measure_time(struct bench *b)
{
	uint8_t scratch[BENCH_COMPRESSED_MAX];
	struct store s;
	struct run r = { .b = b, .s = &s, .to = b->pages.n, .scratch = scratch };
	uint64_t end;

	store_open(&s, &b->o, (uint64_t)b->pages.n * BENCH_PAGE * 4 + (64u << 20), b->o.dedup);
	b->cold_ns = timed(put_ephemeral, &r) / b->pages.n;
	put_persistent(&r);
	get_ephemeral(&r);
	end = bench_now() + ROUNDS_NS;
	while (b->rounds < ROUNDS_MAX && (b->rounds < ROUNDS_MIN || bench_now() < end)) {
		measure_pair(b, &r, RAW_COMPRESS, raw_compress, put_ephemeral);
		measure_pair(b, &r, RAW_DECOMPRESS, raw_decompress, get_ephemeral);
		for (uint32_t i = 0; i < b->pages.n; i++)
			tmem_flush_page(s.c, PERSISTENT_POOL, &b->swap_key[i]);
		measure_pair(b, &r, RAW_COMPRESS_2, raw_compress, put_persistent);
		measure_pair(b, &r, RAW_DECOMPRESS_2, raw_decompress, get_persistent);
		b->rounds++;
	}
	store_close(&s);
}

/* ---- density ---------------------------------------------------------- */

static const uint8_t *any_page(struct bench *b)
{
	return bench_page(&b->pages, (uint32_t)(bench_random(&b->rng) % b->pages.n));
}

static double density(struct bench *b, struct store *s, enum tmem_kind kind)
{
	struct tmem_client_info client;
	struct tmem_store_info store;
	struct stat st;
	double held, metadata;

	tmem_client_info(s->c, &client);
	tmem_store_info(s->t, &store);
	if (fstat(s->fd, &st) < 0)
		bench_die("fstat: %s", strerror(errno));
	held = (double)client.kind[kind].pages;
	metadata = (double)store.bytes_metadata / held;
	if (metadata > b->metadata)
		b->metadata = metadata;
	return held * BENCH_PAGE / ((double)st.st_blocks * 512 + (double)store.bytes_metadata);
}

/*
 * Puts under new keys in batches of RUN, a fifth as many flushes before each.
 * Keys are drawn from the last `held` ones; some were evicted already, as they
 * would be to a guest that forgets a file.
 */
static void churn_ephemeral(struct bench *b, struct store *s, struct files *f, uint32_t held)
{
	struct tmem_key *key = calloc(held, sizeof(*key));
	uint32_t batches = held * 5 / RUN + 1, n = 0;
	double *ns = calloc(batches, sizeof(*ns));

	if (!key || !ns)
		bench_die("out of memory");
	for (uint32_t i = 0; i < batches; i++) {
		uint64_t start;

		for (uint32_t j = 0; j < RUN / 5 && n > held; j++)
			tmem_flush_page(s->c, EPHEMERAL_POOL, &key[bench_random(&b->rng) % held]);
		start = bench_cpu_now();
		for (uint32_t j = 0; j < RUN; j++, n++) {
			key[n % held] = next_file_key(f, &b->rng);
			put(s, EPHEMERAL_POOL, &key[n % held], any_page(b));
		}
		ns[i] = (double)(bench_cpu_now() - start) / RUN;
	}
	b->full_put_ns = bench_median(ns, batches);
	free(ns);
	free(key);
}

static void measure_ephemeral_density(struct bench *b)
{
	struct files f = { 0 };
	struct tmem_client_info info;
	struct store s;

	store_open(&s, &b->o, CAPACITY, false);
	do {
		for (uint32_t i = 0; i < RUN; i++) {
			struct tmem_key key = next_file_key(&f, &b->rng);

			put(&s, EPHEMERAL_POOL, &key, any_page(b));
		}
		tmem_client_info(s.c, &info);
	} while (!info.kind[TMEM_EPHEMERAL].evicted_pages);
	churn_ephemeral(b, &s, &f, (uint32_t)info.kind[TMEM_EPHEMERAL].pages);
	b->ephemeral_density = density(b, &s, TMEM_EPHEMERAL);
	store_close(&s);
}

/*
 * A swap area of as many slots as fill CAPACITY.  The limit is lifted before
 * the slots are written over: refusals let small pages in and keep large ones
 * out, and such a store would look denser than its pages.
 */
static void measure_persistent_density(struct bench *b)
{
	struct tmem_limits limits = {
		.target = CAPACITY, .persistent_max = CAPACITY,
		.accept_ephemeral = true, .accept_persistent = true,
	};
	struct store s;
	uint32_t slots = 0;
	struct tmem_key key;

	store_open(&s, &b->o, 3ull * CAPACITY, false);
	must(tmem_limits_set(s.t, &limits), "tmem_limits_set");
	for (key = swap_key(0); !put(&s, PERSISTENT_POOL, &key, any_page(b)); key = swap_key(slots))
		slots++;
	if (!slots)
		bench_die("no persistent page was taken");
	limits.target = limits.persistent_max = 3ull * CAPACITY;
	must(tmem_limits_set(s.t, &limits), "tmem_limits_set");
	for (uint32_t n = 0; n < 5 * slots; n++) {
		if (n % 5 == 0) {
			key = swap_key((uint32_t)(bench_random(&b->rng) % slots));
			tmem_flush_page(s.c, PERSISTENT_POOL, &key);
		}
		key = swap_key((uint32_t)(bench_random(&b->rng) % slots));
		must(put(&s, PERSISTENT_POOL, &key, any_page(b)), "put");
	}
	b->persistent_density = density(b, &s, TMEM_PERSISTENT);
	tmem_compact(s.t, s.ctx);
	b->compacted_density = density(b, &s, TMEM_PERSISTENT);
	store_close(&s);
}

/* ---- the command ------------------------------------------------------ */

static void prepare(struct bench *b)
{
	struct files f = { 0 };
	uint32_t n;

	b->rng = 0x70616765;
	b->codec = bench_codec_open(b->o.codec);
	if (b->o.corpus)
		bench_pages_load(&b->pages, b->o.corpus);
	else
		bench_pages_collect(&b->pages, COLLECTED);
	bench_pages_pack(&b->pages, b->codec, &b->packed);
	n = b->pages.n;
	b->runs = (n + RUN - 1) / RUN;
	b->file_key = calloc(n, sizeof(*b->file_key));
	b->swap_key = calloc(n, sizeof(*b->swap_key));
	b->put_order = calloc(n, sizeof(*b->put_order));
	b->get_order = calloc(n, sizeof(*b->get_order));
	b->sample = calloc((size_t)METRICS * b->runs * ROUNDS_MAX, sizeof(*b->sample));
	if (!b->file_key || !b->swap_key || !b->put_order || !b->get_order || !b->sample)
		bench_die("out of memory");
	for (uint32_t i = 0; i < n; i++) {
		b->file_key[i] = next_file_key(&f, &b->rng);
		b->swap_key[i] = swap_key(i);
	}
	bench_shuffle(b->put_order, n, &b->rng);
	bench_shuffle(b->get_order, n, &b->rng);
}

static void finish(struct bench *b)
{
	free(b->sample);
	free(b->get_order);
	free(b->put_order);
	free(b->swap_key);
	free(b->file_key);
	bench_packed_free(&b->packed);
	bench_pages_free(&b->pages);
	bench_codec_close(b->codec);
}

static void report(struct bench *b)
{
	double n = b->pages.n, ratio = n * BENCH_PAGE / b->packed.at[b->pages.n];
	double raw_c = figure(b, RAW_COMPRESS), put_ns = figure(b, PUT);
	double raw_d = figure(b, RAW_DECOMPRESS), get_ns = figure(b, GET);
	double put_p = figure(b, PUT_PERSISTENT), get_p = figure(b, GET_PERSISTENT);
	const struct bench_figure f[] = {
		{ "pages", n },
		{ "raw_compress_ns", raw_c },
		{ "put_ns", put_ns },
		{ "put_overhead", put_ns / raw_c },
		{ "raw_decompress_ns", raw_d },
		{ "get_ns", get_ns },
		{ "get_overhead", get_ns / raw_d },
		{ "put_persistent_ns", put_p },
		{ "put_persistent_overhead", put_p / figure(b, RAW_COMPRESS_2) },
		{ "get_persistent_ns", get_p },
		{ "get_persistent_overhead", get_p / figure(b, RAW_DECOMPRESS_2) },
		{ "cold_put_ns", b->cold_ns },
		{ "full_put_ns", b->full_put_ns },
		{ "codec_ratio", ratio },
		{ "ephemeral_density", b->ephemeral_density },
		{ "persistent_density", b->persistent_density },
		{ "persistent_density_compacted", b->compacted_density },
		{ "metadata_bytes_per_page", b->metadata },
		{ "rounds", b->rounds },
	};

	bench_print(f, sizeof(f) / sizeof(f[0]), b->o.json);
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "corpus", required_argument, NULL, 'f' }, { "codec", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },	    { "dedup", no_argument, NULL, 'd' },
		{ "zbud-two", no_argument, NULL, '2' },	    { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 'f':
			o->corpus = optarg;
			break;
		case 'c':
			o->codec = bench_codec_number(optarg);
			if (o->codec < 0) {
				fprintf(stderr, "tmem-bench: no codec \"%s\"\n", optarg);
				return BENCH_USAGE;
			}
			break;
		case 'j':
			o->json = true;
			break;
		case 'd':
			o->dedup = true;
			break;
		case '2':
			o->two = true;
			break;
		default:
			return BENCH_USAGE;
		}
	}
	return optind == argc ? BENCH_OK : BENCH_USAGE;
}

int bench_core(int argc, char **argv)
{
	struct bench b = { 0 };
	int rc = parse(&b.o, argc, argv);

	if (rc)
		return rc;
	bench_pin(0);
	prepare(&b);
	measure_time(&b);
	measure_ephemeral_density(&b);
	measure_persistent_density(&b);
	report(&b);
	finish(&b);
	return BENCH_OK;
}

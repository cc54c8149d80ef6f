// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring.c - tmem-bench ring: what a page costs over the whole way.
 *
 * Owns:    the daemon under test (its own child, found beside this program)
 *          and the measured loops.
 * How:     one guest with one persistent pool and one queue puts all pages, gets
 *          them back and compares each.  Three runs over each transport:
 *            busy, depth 1    back to back, guest and worker spin
 *            busy, depth 32   as above, a window of requests in flight
 *            asleep, depth 1  an idle gap before each request, longer than any
 *                             spin of the worker
 *          Raw compression is timed before and
 *          after each run on the same pages, and the figure beside a run is the
 *          mean of those two passes' medians; raw_wake_ns beside the asleep run is
 *          what this machine takes to wake any thread after such a gap.
 *          A request's time is from writing the page into the bounce buffer to
 *          having seen the answer (and, for a get, having copied the page out).
 *          Guest and daemon are kept on different CPUs where there are two.
 * Must not: report a figure of a run whose pages did not all come back right.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/ring_pages.h"
#include "bench/ring_raw.h"
#include "daemon.h"
#include "front.h"

#define PAGES		4096u	/* of the busy runs */
#define ROUNDS		3u
#define ASLEEP_PAGES	1000u
/*
 * Several times what a worker spins, so that it sleeps (kicks_per_op shows it);
 * not so long that what is measured is how deep this machine's idle CPUs sleep.
 */
#define ASLEEP_GAP_NS	100000
#define DEPTH		32u
#define POOL		0u

struct run {
	const char *mode;
	unsigned depth, pages, rounds;
	long gap_ns;		/* idle before each request */
	uint64_t spin_ns;	/* of the guest, before it sleeps */
};

static const struct run runs[] = {
	{ "busy",   1,     PAGES,        ROUNDS, 0,             FRONT_SPIN_FOREVER },
	{ "busy",   DEPTH, PAGES,        ROUNDS, 0,             FRONT_SPIN_FOREVER },
	{ "asleep", 1,     ASLEEP_PAGES, 1,      ASLEEP_GAP_NS, 200000 },
};

struct figures {
	double put_p50, put_p99, get_p50, get_p99, ops_per_s, raw_compress, raw_wake;
	double kicks_per_op, interrupts_per_op;
};

static const struct transport {
	const char *name, *option, *guest;
} transports[] = {
	{ "vhost-user", "--guest",         "bench" },
	{ "ivshmem",    "--guest-ivshmem", "bench-ivshmem" },
};

static struct daemon host;
static cpu_set_t cpus;		/* what this process may run on */

/* ---- the guest -------------------------------------------------------- */

static struct front_key key_of(uint32_t page)
{
	return (struct front_key){
		.pool = POOL,
		.oid = { tmemp_swap_object(page) },
		.index = tmemp_swap_index(page),
	};
}

struct pass {
	struct front_queue *q;
	const struct run *run;
	const uint8_t *pages;
	double *ns;		/* time of each request, run->pages of them */
};

static const uint8_t *page_of(const struct pass *p, uint32_t i)
{
	return p->pages + (size_t)i * TMEMP_PAGE_SIZE;
}

static struct front_request *begin(const struct pass *p, uint16_t op, uint32_t i)
{
	struct front_key key = key_of(i);
	struct front_request *r = front_request_get(p->q);

	if (!r)
		bench_die("the ring has no room for %u requests", p->run->depth);
	front_request_key(r, op, &key, 0, p->q->front->epoch);
	if (op == TMEMP_OP_PUT)
		memcpy(r->page, page_of(p, i), TMEMP_PAGE_SIZE);
	front_queue_submit(p->q, r);
	return r;
}

static void finish(const struct pass *p, uint16_t op, uint32_t i, struct front_request *r,
		   uint8_t *copy)
{
	int status = r ? front_queue_wait(p->q, r) : -ENOENT;

	if (!status)
		status = front_request_status(r);
	if (status)
		bench_die("%s of page %u was answered %d",
			  op == TMEMP_OP_PUT ? "put" : "get", i, status);
	if (op == TMEMP_OP_GET)
		memcpy(copy, r->page, TMEMP_PAGE_SIZE);
	front_request_put(p->q, r);
}

/* One operation on every page with run->depth in flight; returns its duration. */
static uint64_t pass(const struct pass *p, uint16_t op)
{
	struct front_request *window[DEPTH] = { NULL };
	uint64_t since[DEPTH] = { 0 }, start = bench_now(), idle = 0;
	unsigned depth = p->run->depth;
	uint8_t copy[TMEMP_PAGE_SIZE];

	for (uint32_t i = 0; i < p->run->pages + depth - 1; i++) {
		if (p->run->gap_ns) {
			uint64_t from = bench_now();

			nanosleep(&(struct timespec){ .tv_nsec = p->run->gap_ns }, NULL);
			idle += bench_now() - from;
		}
		if (i < p->run->pages) {
			since[i % DEPTH] = bench_now();
			window[i % DEPTH] = begin(p, op, i);
		}
		if (i + 1 >= depth) {
			uint32_t done = i + 1 - depth;

			finish(p, op, done, window[done % DEPTH], copy);
			p->ns[done] = (double)(bench_now() - since[done % DEPTH]);
			if (op == TMEMP_OP_GET && memcmp(copy, page_of(p, done), TMEMP_PAGE_SIZE))
				bench_die("page %u came back wrong", done);
		}
	}
	return bench_now() - start - idle;
}

/* ---- figures ---------------------------------------------------------- */

static struct figures measure(struct front *f, const struct run *run, const uint8_t *pages)
{
	struct front_queue *q = &f->queue[0];
	size_t n = (size_t)run->pages * run->rounds;
	double *put = calloc(n, sizeof(*put)), *get = calloc(n, sizeof(*get));
	uint64_t kicks = q->kicks, interrupts = q->interrupts, busy_ns = 0;
	double raw[2], ops = 2 * (double)n;
	struct figures out;

	if (!put || !get)
		bench_die("no memory for %zu times", n);
	f->config.spin_ns = run->spin_ns;
	raw[0] = ring_raw_compress(pages, run->pages, put);
	for (unsigned i = 0; i < run->rounds; i++) {
		struct pass p = { .q = q, .run = run, .pages = pages };

		p.ns = put + (size_t)i * run->pages;
		busy_ns += pass(&p, TMEMP_OP_PUT);
		p.ns = get + (size_t)i * run->pages;
		busy_ns += pass(&p, TMEMP_OP_GET);
	}
	out = (struct figures){
		.put_p50 = ring_quantile(put, n, 0.5), .put_p99 = ring_quantile(put, n, 0.99),
		.get_p50 = ring_quantile(get, n, 0.5), .get_p99 = ring_quantile(get, n, 0.99),
		.ops_per_s = ops * 1e9 / (double)busy_ns,
		.kicks_per_op = (double)(q->kicks - kicks) / ops,
		.interrupts_per_op = (double)(q->interrupts - interrupts) / ops,
	};
	raw[1] = ring_raw_compress(pages, run->pages, put);
	out.raw_compress = bench_median(raw, 2);
	out.raw_wake = run->gap_ns ? ring_raw_wake(&cpus, run->gap_ns) : 0;
	free(put);
	free(get);
	return out;
}

static json_t *describe(const struct transport *t, const struct run *run, const struct figures *r)
{
	return json_pack("{ss ss si sI sI sI sI sI sI sI sf sf}",
			 "transport", t->name, "mode", run->mode, "queue_depth", (int)run->depth,
			 "put_p50_ns", (json_int_t)r->put_p50, "put_p99_ns", (json_int_t)r->put_p99,
			 "get_p50_ns", (json_int_t)r->get_p50, "get_p99_ns", (json_int_t)r->get_p99,
			 "ops_per_s", (json_int_t)r->ops_per_s,
			 "raw_compress_ns", (json_int_t)r->raw_compress,
			 "raw_wake_ns", (json_int_t)r->raw_wake,
			 "kicks_per_op", r->kicks_per_op, "interrupts_per_op", r->interrupts_per_op);
}

#define COLUMN	12	/* the narrowest */

static int width_of(const char *column)
{
	int n = (int)strlen(column) + 2;

	return n > COLUMN ? n : COLUMN;
}

static void print_lines(const json_t *all)
{
	json_t *one, *v;
	const char *key;
	size_t row;

	json_object_foreach(json_array_get(all, 0), key, v) {
		printf("%*s", width_of(key), key);
	}
	putchar('\n');
	json_array_foreach(all, row, one) {
		json_object_foreach(one, key, v) {
			if (json_is_string(v))
				printf("%*s", width_of(key), json_string_value(v));
			else
				printf("%*.*f", width_of(key), json_is_real(v) ? 3 : 0,
				       json_number_value(v));
		}
		putchar('\n');
	}
}

/* ---- the host --------------------------------------------------------- */

static void stop_host(void)
{
	if (host.pid)
		daemon_stop(&host);
}

static void start_host(void)
{
	const char *args[16] = { "--arena", "256M", "--workers", "1", "--log-level", "warn" };
	char program[PATH_MAX + sizeof("/tmemd")];
	unsigned at = 6;
	char *slash;

	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
		args[at++] = transports[i].option;
		args[at++] = transports[i].guest;
	}
	if (!realpath("/proc/self/exe", program) || sched_getaffinity(0, sizeof(cpus), &cpus))
		bench_die("%s", strerror(errno));
	slash = strrchr(program, '/');
	strcpy(slash, "/tmemd");
	ring_run_on(&cpus, 1, CPU_SETSIZE);
	if (daemon_start(&host, program, args))
		bench_die("%s does not run", program);
	atexit(stop_host);
	ring_run_on(&cpus, 0, 1);
}

static void measure_transport(const struct transport *t, const uint8_t *pages, json_t *all)
{
	struct front_config c = FRONT_CONFIG_DEFAULT;
	char name[80], path[DAEMON_PATH_MAX];
	struct front *f;
	int r;

	snprintf(name, sizeof(name), "%s.sock", t->guest);
	c.socket = daemon_path(&host, name, path);
	c.ivshmem = !strcmp(t->name, "ivshmem");
	r = front_open(&f, &c);
	if (!r)
		r = front_pool_create(f, POOL, TMEMP_POOL_PERSISTENT);
	if (r)
		bench_die("the daemon does not answer over %s (%d)", t->name, r);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		struct figures one = measure(f, &runs[i], pages);

		json_array_append_new(all, describe(t, &runs[i], &one));
	}
	front_destroy(f);
}

int bench_ring(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	json_t *all = json_array();
	uint8_t *pages;

	if (argc > 2 || (argc == 2 && !json)) {
		fputs("usage: tmem-bench ring [--json]\n", stderr);
		return BENCH_USAGE;
	}
	start_host();
	pages = ring_pages_make(PAGES);
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		measure_transport(&transports[i], pages, all);
	if (json) {
		json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(4));
		putchar('\n');
	} else {
		print_lines(all);
	}
	json_decref(all);
	free(pages);
	return BENCH_OK;
}

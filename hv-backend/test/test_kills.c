// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_kills.c - the daemon is killed again and again under guests that put, get
 * and flush all the time, over both transports, and that notice nothing but a pause.
 *
 *   KILLS=N       kills at random times (30); the named steps die N / 10 times each
 *   HOLD=N        MiB of pages held beside, for what a rebuild takes (0)
 *   STEP=TEXT     of the named steps only those with TEXT in their name
 *   TEST=NAME     only this test
 *   TMEM_SEED=N   of the guests' choices
 *
 * Each thread has a queue and keys of its own, and knows what every key must show:
 * a persistent page what was put last, an ephemeral one that or nothing.  It asks
 * all the time and once more at the end.
 *
 * Built with FAULT=1, the daemon also dies at every named step (fault.h), requests
 * that kill it are tried, and so is a daemon that takes over wrongly, which these
 * guests must notice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "hosting.h"

#define THREADS		4u		/* two queues of each guest */
#define OBJECTS		8u		/* of a thread and pool */
#define PAGES		96u		/* of an object */
#define KEYS		(OBJECTS * PAGES)
#define EPHEMERAL_KEYS	(2 * KEYS)
#define WAIT_MS		20000u

struct guest_thread {
	struct front *front;
	struct front_queue *queue;
	pthread_t thread;
	unsigned number;
	uint64_t rng;
	uint64_t seeds;			/* given out */
	uint64_t persistent[KEYS], ephemeral[EPHEMERAL_KEYS];	/* seed shown; 0: none */
	_Atomic uint64_t done_ns;	/* when the last request came back */
	_Atomic uint64_t requests;
	_Atomic bool *stop;
	char wrong[160];		/* the first thing that was; "": none */
};

struct world {
	struct hosting host;
	struct front *front[2];
	struct guest_thread guest[THREADS];
	_Atomic bool stop;
	unsigned timeout_ms;
	unsigned deaths;
	double pause_ms[65536];
	unsigned pauses;
};

static struct world w;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned kills_wanted(void)
{
	const char *kills = getenv("KILLS");

	return kills ? (unsigned)strtoul(kills, NULL, 10) : 30u / (HOSTING_SLOW > 1 ? 3 : 1);
}

/* ---- pages ----------------------------------------------------------------- */

/* Half of it random, an eighth of them all of it: some are refused. */
static void content(void *page, uint64_t seed)
{
	unsigned random = seed % 8 ? TMEMP_PAGE_SIZE / 16 : TMEMP_PAGE_SIZE / 8;
	uint64_t x = seed;

	for (unsigned i = 0; i < TMEMP_PAGE_SIZE / 8; i++) {
		uint64_t word = i < random ? random_next(&x) : seed;

		memcpy((uint8_t *)page + i * sizeof(word), &word, sizeof(word));
	}
}

static bool content_is(const void *page, uint64_t seed)
{
	uint8_t want[TMEMP_PAGE_SIZE];

	content(want, seed);
	return !memcmp(page, want, sizeof(want));
}

static struct front_key key_at(const struct guest_thread *g, unsigned pool, unsigned n)
{
	return (struct front_key){
		.pool = pool,
		.oid = { g->number * OBJECTS + n % OBJECTS, 7 },
		.index = n / OBJECTS,
	};
}

/* ---- a guest's thread ----------------------------------------------------------- */

static void wrong(struct guest_thread *g, const char *what, unsigned pool, unsigned n, int status,
		  uint64_t is, uint64_t expected)
{
	if (g->wrong[0])
		return;
	snprintf(g->wrong, sizeof(g->wrong),
		 "thread %u: %s pool %u key %u: status %d, page %" PRIu64 ", expected %" PRIu64,
		 g->number, what, pool, n, status, is, expected);
}

static void done(struct guest_thread *g)
{
	atomic_store_explicit(&g->done_ns, now_ns(), memory_order_relaxed);
	atomic_fetch_add_explicit(&g->requests, 1, memory_order_relaxed);
}

static bool refusal(int status)
{
	return status >= TMEMP_REFUSED_QUOTA && status <= TMEMP_REFUSED_NOMEM;
}

static void put(struct guest_thread *g, unsigned pool, uint64_t *shown, unsigned n)
{
	uint64_t seed = g->number * 1000000000ull + ++g->seeds;
	struct front_key key = key_at(g, pool, n);
	uint8_t page[TMEMP_PAGE_SIZE];
	int r;

	content(page, seed);
	if (pool && g->seeds % 2) {
		r = front_put_post(g->queue, &key, page, seed);
		if (r)
			wrong(g, "put posted", pool, n, r, seed, seed);
	} else {
		r = front_put(g->queue, &key, page, seed);
		if (r && !refusal(r))
			wrong(g, "put", pool, n, r, seed, seed);
	}
	*shown = r ? 0 : seed;
	done(g);
}

static void get(struct guest_thread *g, unsigned pool, uint64_t *shown, unsigned n)
{
	struct front_key key = key_at(g, pool, n);
	uint8_t page[TMEMP_PAGE_SIZE];
	uint64_t tag = 0;
	int r = front_get(g->queue, &key, page, &tag);
	bool may_miss = pool || !*shown;

	if (r == TMEMP_MISS ? !may_miss : r || !*shown || tag != *shown ||
					  !content_is(page, tag))
		wrong(g, "get", pool, n, r, tag, *shown);
	if (pool)
		*shown = 0;
	done(g);
}

static void flush(struct guest_thread *g, unsigned pool, uint64_t *shown, unsigned n)
{
	struct front_key key = key_at(g, pool, n);
	int r;

	if (g->seeds % 2)
		r = front_flush_page_post(g->queue, &key);
	else
		r = front_flush_page(g->queue, &key, NULL);
	if (r)
		wrong(g, "flush", pool, n, r, 0, 0);
	*shown = 0;
	done(g);
}

static void flush_object(struct guest_thread *g)
{
	unsigned object = random_below(&g->rng, OBJECTS);
	struct front_key key = key_at(g, 0, object);
	int r = front_flush_object(g->queue, &(struct front_key){ .pool = 0, .oid = {
		key.oid[0], key.oid[1] } }, NULL);

	if (r)
		wrong(g, "flush object", 0, object, r, 0, 0);
	for (unsigned n = object; n < KEYS; n += OBJECTS)
		g->persistent[n] = 0;
	done(g);
}

/* Barriers: a pool of the guest's first thread comes and goes. */
static void pool_again(struct guest_thread *g)
{
	int r;

	if (g->queue->index)
		return;
	r = front_pool_destroy(g->front, 2, NULL);
	if (!r)
		r = front_pool_create(g->front, 2, TMEMP_POOL_PERSISTENT);
	if (r)
		wrong(g, "pool", 2, 0, r, 0, 0);
	done(g);
}

static void step(struct guest_thread *g)
{
	unsigned n = random_below(&g->rng, KEYS), e = random_below(&g->rng, EPHEMERAL_KEYS);
	unsigned choice = random_below(&g->rng, 1000);

	if (choice < 350)
		put(g, 0, &g->persistent[n], n);
	else if (choice < 550)
		get(g, 0, &g->persistent[n], n);
	else if (choice < 650)
		flush(g, 0, &g->persistent[n], n);
	else if (choice < 850)
		put(g, 1, &g->ephemeral[e], e);
	else if (choice < 960)
		get(g, 1, &g->ephemeral[e], e);
	else if (choice < 990)
		flush(g, 1, &g->ephemeral[e], e);
	else if (choice < 997)
		flush_object(g);
	else
		pool_again(g);
}

static void *guest_run(void *arg)
{
	struct guest_thread *g = arg;

	while (!atomic_load(g->stop) && !g->wrong[0])
		step(g);
	for (unsigned n = 0; n < KEYS && !g->wrong[0]; n++)
		get(g, 0, &g->persistent[n], n);
	for (unsigned n = 0; n < EPHEMERAL_KEYS && !g->wrong[0]; n++)
		get(g, 1, &g->ephemeral[n], n);
	return NULL;
}

/* ---- the world ------------------------------------------------------------------ */

static unsigned hold_mib(void)
{
	const char *hold = getenv("HOLD");

	return hold ? (unsigned)strtoul(hold, NULL, 10) : 0;
}

static void world_start(unsigned timeout_ms)
{
	static char arena[32];
	static const char *const args[] = {
		"--log-level", "info", "--arena", arena, "--persistent-max", "3M",
		"--workers", "2",
		"--guest", "v", "--guest-ivshmem", "i", "--guest", "p", NULL,
	};
	const char *build = getenv("TMEM_BUILD");
	static char program[4096], keeper[4096];

	snprintf(arena, sizeof(arena), "%uM", 12 + hold_mib());
	memset(&w, 0, sizeof(w));
	w.timeout_ms = timeout_ms;
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	snprintf(keeper, sizeof(keeper), "%s/tmem-keeper", build ? build : "build");
	w.host.daemon.keeper = keeper;
	assert_int_equal(daemon_start(&w.host.daemon, program, args), 0);
}

static struct front *guest_open(const char *name, bool ivshmem)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&w.host, name, path);
	struct front *f;

	c.ivshmem = ivshmem;
	c.queues = ivshmem ? 4 : 2;
	c.timeout_ms = w.timeout_ms;
	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	assert_int_equal(front_pool_create(f, 1, 0), 0);
	assert_int_equal(front_pool_create(f, 2, TMEMP_POOL_PERSISTENT), 0);
	return f;
}

static void guests_start(void)
{
	const char *seed = getenv("TMEM_SEED");
	uint64_t s = seed ? strtoull(seed, NULL, 10) : (uint64_t)now_ns();

	/* Either is the later. */
	for (unsigned i = 0; i < 2; i++) {
		bool ivshmem = (s + i) % 2;

		w.front[ivshmem] = guest_open(ivshmem ? "i" : "v", ivshmem);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		struct guest_thread *g = &w.guest[i];

		g->front = w.front[i / 2];
		g->queue = &g->front->queue[i % 2];
		g->number = i;
		g->rng = s * THREADS + i;
		g->stop = &w.stop;
		assert_int_equal(pthread_create(&g->thread, NULL, guest_run, g), 0);
	}
}

/* Stop the guests; the first thing that one found wrong, or "". */
static const char *guests_stop(void)
{
	const char *found = "";

	atomic_store(&w.stop, true);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w.guest[i].thread, NULL);
		if (!found[0])
			found = w.guest[i].wrong;
	}
	front_destroy(w.front[0]);
	front_destroy(w.front[1]);
	w.front[0] = w.front[1] = NULL;
	return found;
}

static bool guests_wrong(void)
{
	for (unsigned i = 0; i < THREADS; i++) {
		if (w.guest[i].wrong[0])
			return true;
	}
	return false;
}

/* Every thread has had an answer since then. */
static bool guests_went_on(uint64_t since)
{
	for (unsigned i = 0; i < THREADS; i++) {
		if (atomic_load_explicit(&w.guest[i].done_ns, memory_order_relaxed) < since)
			return false;
	}
	return true;
}

static pid_t daemon_wait(pid_t other_than)
{
	for (unsigned ms = 0; ms < WAIT_MS; ms++) {
		pid_t pid = daemon_kept(&w.host.daemon);

		if (pid && pid != other_than)
			return pid;
		usleep(1000);
	}
	fail_msg("no daemon was started again");
	return 0;
}

static void log_show(void)
{
	char *text = daemon_log(&w.host.daemon);

	if (text)
		fputs(strlen(text) > 6000 ? text + strlen(text) - 6000 : text, stderr);
	free(text);
}

static int teardown(void **state)
{
	(void)state;
	if (w.front[0])
		guests_stop();
	if (w.host.daemon.pid)
		daemon_stop(&w.host.daemon);
	unsetenv("TMEM_FAULT");
	unsetenv("TMEM_BREAK");
	return 0;
}

static void world_stop(const char *found)
{
	/* It dies of what we do to it, and of nothing else. */
	if (!found[0] && (daemon_log_count(&w.host.daemon, "Sanitizer", "", 0) ||
			  daemon_log_count(&w.host.daemon, "ended by status", "", 0)))
		found = "the daemon ended by itself";
	if (found[0])
		log_show();
	daemon_stop(&w.host.daemon);
	assert_string_equal(found, "");
}

/* ---- kills at random times -------------------------------------------------------- */

/* The pause of the slowest thread. */
static void pause_note(uint64_t killed)
{
	while (!guests_went_on(killed + 1000000) && !guests_wrong())
		usleep(200);
	if (w.pauses < sizeof(w.pause_ms) / sizeof(w.pause_ms[0]))
		w.pause_ms[w.pauses++] = (double)(now_ns() - killed) / 1e6;
}

static void kill_some(unsigned kills, uint64_t *rng)
{
	for (unsigned i = 0; i < kills && !guests_wrong(); i++) {
		pid_t pid = daemon_wait(0);
		uint64_t at;

		usleep(random_below(rng, 40000));
		at = now_ns();
		kill(pid, SIGKILL);
		daemon_wait(pid);
		w.deaths++;
		/* Every fourth dies once more while the next is starting. */
		if (i % 4)
			pause_note(at);
		else
			usleep(random_below(rng, 20000));
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(double *v, unsigned n, unsigned percent)
{
	qsort(v, n, sizeof(*v), compare);
	return n ? v[(n - 1) * percent / 100] : 0;
}

static void pauses_print(void)
{
	static double rebuild[65536];
	char *text = daemon_log(&w.host.daemon), *save = NULL;
	double pages = 0, ms = 0, p50 = percentile(w.pause_ms, w.pauses, 50);
	unsigned n = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long found;
		double took;
		char *at = strstr(line, "arena: ");

		if (!at || n == 65536 || sscanf(at, "arena: %llu pages found, index rebuilt in %lf ms",
						&found, &took) != 2)
			continue;
		rebuild[n++] = took;
		pages += (double)found;
		ms += took;
	}
	free(text);
	print_message("# %u kills: pause p50 %.1f ms, p99 %.1f ms; rebuild p50 %.2f ms (%.0f %%), "
		      "%.0f ms for each GiB held\n", w.deaths, p50,
		      percentile(w.pause_ms, w.pauses, 99), percentile(rebuild, n, 50),
		      p50 > 0 ? percentile(rebuild, n, 50) / p50 * 100 : 0,
		      pages > 0 ? ms / (pages * TMEMP_PAGE_SIZE / 1073741824.0) : 0);
}

/* Pages that only make the arena fuller. */
static struct front *hold(void)
{
	struct front *f = guest_open("p", false);
	uint8_t page[TMEMP_PAGE_SIZE];

	for (unsigned n = 0; n < hold_mib() * 256; n++) {
		struct front_key key = key_of(1, n);

		content(page, n + 1);
		assert_int_equal(front_put_post(&f->queue[0], &key, page, n), 0);
	}
	assert_int_equal(front_queue_drain(&f->queue[0]), 0);
	return f;
}

static void test_random(void **state)
{
	uint64_t rng = now_ns();
	struct front *holder;
	const char *found;

	(void)state;
	world_start(WAIT_MS * HOSTING_SLOW);
	holder = hold();
	guests_start();
	kill_some(kills_wanted(), &rng);
	found = guests_stop();
	front_destroy(holder);
	pauses_print();
	world_stop(found);
}

#ifdef TMEM_FAULT_POINTS

/* ---- kills at named steps ----------------------------------------------------------- */

/* How often a step is passed before one dies there. */
static const struct {
	const char *name;
	unsigned low, high;
} steps[] = {
	{ "fetched", 20, 2000 },
	{ "put-reserved", 20, 1000 },
	{ "put-placed", 20, 1000 },
	{ "page-written", 20, 1000 },
	{ "put-committed", 5, 200 },
	{ "put-replaced", 5, 200 },
	{ "put-refused", 2, 20 },
	{ "unlinked", 20, 500 },
	{ "page-dead", 20, 500 },
	{ "flush-killed", 10, 200 },
	{ "flush-object-page", 5, 100 },
	{ "get-taken", 20, 500 },
	{ "compact-reserved", 2, 20 },
	{ "compact-committed", 2, 20 },
	{ "compact-moved", 2, 20 },
	{ "evict-page", 2, 100 },
	{ "evict-frame", 2, 10 },
	{ "frame-taken", 2, 50 },
	{ "frame-given", 2, 200 },	/* a start gives some: fewer would be a loop of deaths */
	{ "reply-page", 20, 500 },
	{ "reply-response", 20, 2000 },
	{ "reply-element", 20, 2000 },
	{ "reply-word", 20, 2000 },
	{ "reply-untold", 20, 500 },
	{ "message-done", 3, 12 },
	{ "message-answered", 3, 12 },
	{ "message-consumed", 3, 12 },
	{ "hello-flushed", 2, 2 },	/* the later guest's: one that dies twice is refused */
};

/* Deaths until so many were seen, or none comes for long. */
static unsigned deaths_watch(unsigned wanted)
{
	pid_t pid = daemon_wait(0);
	unsigned deaths = 0, quiet = 0;

	while (deaths < wanted && quiet++ < WAIT_MS / 4 && !guests_wrong()) {
		pid_t now = daemon_kept(&w.host.daemon);

		if (now && now != pid) {
			deaths++;
			quiet = 0;
			pid = now;
		}
		usleep(1000);
	}
	return deaths;
}

static unsigned log_deaths(void)
{
	return daemon_log_count(&w.host.daemon, "ended by signal 9", "tmemd", 0);
}

static void step_run(const char *name, unsigned low, unsigned high, unsigned wanted)
{
	bool early = !strncmp(name, "message", 7) || !strncmp(name, "hello", 5);
	char fault[128];
	const char *found;
	unsigned deaths;

	snprintf(fault, sizeof(fault), "%s:%u-%u", name, low, high);
	setenv("TMEM_FAULT", fault, 1);
	world_start(WAIT_MS);
	guests_start();
	/* Connecting is over once the guests work. */
	if (early)
		usleep(100000);
	else
		deaths_watch(wanted);
	found = guests_stop();
	deaths = log_deaths();
	unsetenv("TMEM_FAULT");
	if (!found[0] && !deaths)
		found = "nobody came to this step";
	print_message("# %s: %u deaths\n", name, deaths);
	world_stop(found);
}

static void test_steps(void **state)
{
	unsigned wanted = kills_wanted() / 10 + 1;
	const char *only = getenv("STEP");

	(void)state;
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (!only || strstr(steps[i].name, only))
			step_run(steps[i].name, steps[i].low, steps[i].high, wanted);
}

/* ---- requests that kill --------------------------------------------------------------- */

static void poison_put(uint64_t poison, const char *said)
{
	struct front_key key = { .pool = 0, .oid = { 5 }, .index = 1 };
	struct front_key beside = { .pool = 0, .oid = { 5 }, .index = 2 };
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front *f;
	uint64_t tag;

	world_start(WAIT_MS);
	guests_start();
	f = guest_open("p", false);
	content(page, 1);
	assert_int_equal(front_put(&f->queue[0], &key, page, 1), 0);
	assert_int_equal(front_put(&f->queue[0], &beside, page, 2), 0);
	memcpy(page, &poison, sizeof(poison));
	assert_int_equal(front_put(&f->queue[0], &key, page, 3), TMEMP_FAILED);
	/* Not the older page either; all else is there, on the same connection. */
	assert_int_equal(front_get(&f->queue[0], &key, page, &tag), TMEMP_MISS);
	assert_int_equal(front_get(&f->queue[0], &beside, page, &tag), 0);
	assert_true(content_is(page, 1));
	assert_int_equal(daemon_log_count(&w.host.daemon, "guest p", said, 1000), 1);
	front_destroy(f);
	world_stop(guests_stop());
}

static void test_poison(void **state)
{
	(void)state;
	poison_put(TMEM_POISON_ABORT, "it has killed tmemd 2 times: put pool 0 object 0.0.5 index 1");
	poison_put(TMEM_POISON_KILL, "it has killed tmemd 2 times: put pool 0 object 0.0.5 index 1");
}

/* ---- a daemon that takes over wrongly is noticed --------------------------------------- */

static void noticed(const char *broken)
{
	uint64_t rng = now_ns();
	const char *found;

	setenv("TMEM_BREAK", broken, 1);
	world_start(1000);
	guests_start();
	kill_some(60, &rng);
	found = guests_stop();
	unsetenv("TMEM_BREAK");
	print_message("# without %s: %s\n", broken, found);
	daemon_stop(&w.host.daemon);
	assert_string_not_equal(found, "");
}

static void test_noticed(void **state)
{
	(void)state;
	noticed("replay");
	noticed("indices");
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_random, teardown),
#ifdef TMEM_FAULT_POINTS
		cmocka_unit_test_teardown(test_steps, teardown),
		cmocka_unit_test_teardown(test_poison, teardown),
		cmocka_unit_test_teardown(test_noticed, teardown),
#endif
	};

	cmocka_set_test_filter(getenv("TEST"));
	return cmocka_run_group_tests_name("kills", tests, NULL, NULL);
}

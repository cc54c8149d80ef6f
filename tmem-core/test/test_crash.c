/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_crash.c - a writer is killed at random points; what it had been told
 * must be in the arena.
 *
 *   TMEM_CRASH_ROUNDS=N   how many writers die (50)
 *   TMEM_SEED=N           of the random choices; the moment of death is the
 *			   kernel's, so a seed repeats a run only roughly
 *
 * The arena and the log are memory that outlives the writer.  For every key the
 * log says which page the writer was told to be there (0: none), and which one
 * it was about to have there when it died.  After a rebuild a key shows
 *
 *   persistent, nothing under way   the page told, or none if none was told
 *   persistent, something under way one of both pages, or none
 *   ephemeral                       the same, or none
 *
 * A page that is neither is stale or torn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core_fixture.h"

#define ARENA	(4 * MIB)
#define THREADS	2u
#define OBJECTS	8u		/* of a thread */
#define PAGES	64u		/* of an object */

/* tag of a page == its seed; 0 is no page. */
struct entry {
	_Atomic uint64_t told, next;
	_Atomic bool busy;		/* next may be there already */
};

struct log {
	struct entry page[TMEM_KINDS][THREADS][OBJECTS][PAGES];
	_Atomic uint32_t weight[2];	/* told, about to be */
	_Atomic uint64_t seeds;		/* last seed given out */
	_Atomic int error;		/* the writer saw something wrong */
};

struct writer {
	struct core *core;
	struct tmem_client *client;
	struct tmem_ctx *ctx;
	struct log *log;
	unsigned thread;
	uint64_t rng;
};

static struct tmem_key key_of(unsigned thread, unsigned o, unsigned p)
{
	return core_key(thread * OBJECTS + o + 1, p * 37);
}

/* ---- the writer ---------------------------------------------------------- */

static void writer_failed(struct writer *w, int why)
{
	int none = 0;

	atomic_compare_exchange_strong(&w->log->error, &none, why);
	_exit(1);
}

static void begin(struct entry *e, uint64_t next)
{
	atomic_store(&e->next, next);
	atomic_store(&e->busy, true);
}

static void end(struct entry *e, uint64_t told)
{
	atomic_store(&e->told, told);
	atomic_store(&e->busy, false);
}

static void write_page(struct writer *w, enum tmem_kind kind, unsigned o, unsigned p)
{
	struct entry *e = &w->log->page[kind][w->thread][o][p];
	struct tmem_key key = key_of(w->thread, o, p);
	uint64_t seed = atomic_fetch_add(&w->log->seeds, 1) + 1;
	uint8_t page[TMEM_PAGE_SIZE];

	page_make(page, seed);
	begin(e, seed);
	end(e, tmem_put(w->ctx, w->client, kind, &key, page, seed) ? 0 : seed);
}

static void read_page(struct writer *w, unsigned o, unsigned p)
{
	struct entry *e = &w->log->page[TMEM_PERSISTENT][w->thread][o][p];
	struct tmem_key key = key_of(w->thread, o, p);
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	uint64_t tag = 0, told = atomic_load(&e->told);
	int rc = tmem_get(w->ctx, w->client, TMEM_PERSISTENT, &key, page, &tag);

	if (rc != (told ? 0 : -ENOENT))
		writer_failed(w, 1);
	page_make(want, told);
	if (told && (tag != told || memcmp(page, want, sizeof(page)) != 0))
		writer_failed(w, 2);
}

static void flush_page(struct writer *w, enum tmem_kind kind, unsigned o, unsigned p)
{
	struct entry *e = &w->log->page[kind][w->thread][o][p];
	struct tmem_key key = key_of(w->thread, o, p);
	uint64_t told = atomic_load(&e->told);
	int rc;

	begin(e, 0);
	rc = tmem_flush_page(w->client, kind, &key);
	end(e, 0);
	if (rc < 0 || (kind == TMEM_PERSISTENT && rc != (told != 0)))
		writer_failed(w, 3);
}

static void flush_object(struct writer *w, enum tmem_kind kind, unsigned o)
{
	struct entry *e = w->log->page[kind][w->thread][o];
	struct tmem_key key = key_of(w->thread, o, 0);

	for (unsigned p = 0; p < PAGES; p++)
		begin(&e[p], 0);
	if (tmem_flush_object(w->client, kind, key.oid, NULL))
		writer_failed(w, 4);
	for (unsigned p = 0; p < PAGES; p++)
		end(&e[p], 0);
}

static void set_weight(struct writer *w)
{
	uint32_t weight = 1 + rnd_below(&w->rng, 1000);
	struct tmem_quota q;

	if (w->thread)
		return;
	tmem_client_quota_get(w->client, &q);
	q.weight = weight;
	q.codec[TMEM_PERSISTENT] = rnd_below(&w->rng, TMEM_CODECS);
	atomic_store(&w->log->weight[1], weight);
	if (tmem_client_quota_set(w->client, &q))
		writer_failed(w, 5);
	atomic_store(&w->log->weight[0], weight);
}

static void *write_for_ever(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		unsigned o = rnd_below(&w->rng, OBJECTS), p = rnd_below(&w->rng, PAGES);
		enum tmem_kind kind = rnd_below(&w->rng, 3) ? TMEM_PERSISTENT : TMEM_EPHEMERAL;
		uint32_t choice = rnd_below(&w->rng, 1000);

		if (choice < 600)
			write_page(w, kind, o, p);
		else if (choice < 750)
			read_page(w, o, p);
		else if (choice < 960)
			flush_page(w, kind, o, p);
		else if (choice < 970)
			flush_object(w, kind, o);
		else if (choice < 975)
			set_weight(w);
		else if (choice < 985)
			tmem_reclaim(w->core->t, 4, NULL);
		else
			tmem_compact(w->core->t, w->ctx);
	}
	return NULL;
}

static void run_writer(struct core *k, struct log *log, uint64_t seed)
{
	static struct writer w[THREADS];
	pthread_t other;

	if (core_rebuild(k))
		_exit(1);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct writer){ .core = k, .log = log, .thread = i,
					.client = tmem_client_find(k->t, "guest"),
					.rng = rnd_seed(seed * THREADS + i) };
		if (!w[i].client || tmem_ctx_create(k->t, &w[i].ctx))
			writer_failed(&w[i], 6);
	}
	if (pthread_create(&other, NULL, write_for_ever, &w[1]))
		_exit(1);
	write_for_ever(&w[0]);
}

/* ---- the judge ------------------------------------------------------------ */

/* Does key show what the log allows?  Then the log is told what it shows. */
static void judge(struct core *k, struct tmem_client *c, enum tmem_kind kind, struct entry *e,
		  struct tmem_key key)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	uint64_t tag = 0, told = atomic_load(&e->told), next = atomic_load(&e->next);
	bool busy = atomic_load(&e->busy);
	int rc = tmem_get(k->ctx, c, kind, &key, page, &tag);

	if (rc == -ENOENT) {
		if (kind == TMEM_PERSISTENT && told && !busy)
			fail_msg("the persistent page %llu is lost", (unsigned long long)told);
		end(e, 0);
		return;
	}
	if (rc)
		fail_msg("get after rebuild: %d", rc);
	if (!tag || (tag != told && !(busy && tag == next)))
		fail_msg("page %llu is there, told was %llu%s %llu", (unsigned long long)tag,
			 (unsigned long long)told, busy ? ", under way" : ", before it",
			 (unsigned long long)next);
	page_make(want, tag);
	assert_memory_equal(page, want, sizeof(page));
	end(e, kind == TMEM_PERSISTENT ? tag : 0);
}

static void judge_all(struct core *k, struct log *log)
{
	struct tmem_client *c = tmem_client_find(k->t, "guest");
	struct tmem_quota q;
	char why[256] = "";

	assert_non_null(c);
	if (!tmem_is_valid(k->t, why, sizeof(why)))
		fail_msg("not valid after rebuild: %s", why);
	tmem_client_quota_get(c, &q);
	assert_true(q.weight == log->weight[0] || q.weight == log->weight[1]);
	log->weight[0] = log->weight[1] = q.weight;
	for (enum tmem_kind kind = 0; kind < TMEM_KINDS; kind++)
		for (unsigned t = 0; t < THREADS; t++)
			for (unsigned o = 0; o < OBJECTS; o++)
				for (unsigned p = 0; p < PAGES; p++)
					judge(k, c, kind, &log->page[kind][t][o][p],
					      key_of(t, o, p));
}

static void kill_writer(struct core *k, struct log *log, uint64_t *rng)
{
	uint64_t seed = rnd(rng);
	uint64_t enough = atomic_load(&log->seeds) + 1 + rnd_below(rng, 1500);
	uint32_t delay = rnd_below(rng, 500);
	bool in_rebuild = rnd_below(rng, 8) == 0;
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_writer(k, log, seed);
	while (!in_rebuild && atomic_load(&log->seeds) < enough &&
	       waitpid(pid, &status, WNOHANG) == 0)
		usleep(50);
	usleep(delay);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (atomic_load(&log->error))
		fail_msg("the writer saw error %d", atomic_load(&log->error));
}

static struct log *log_create(void)
{
	struct log *log = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(log != MAP_FAILED);
	log->weight[0] = log->weight[1] = 100;
	return log;
}

static void start(struct core *k, bool two)
{
	const struct tmem_config config = { .arena_max = ARENA, .zbud_two = two };

	assert_int_equal(core_open(k, &config), 0);
	assert_non_null(core_client(k, "guest"));
}

static void kill_writers(bool two, uint64_t rounds)
{
	uint64_t rng = rnd_seed(env_number("TMEM_SEED", 1));
	struct log *log = log_create();
	struct core k;

	start(&k, two);
	for (uint64_t i = 0; i < rounds; i++) {
		kill_writer(&k, log, &rng);
		assert_int_equal(core_rebuild(&k), 0);
		judge_all(&k, log);
	}
	print_message("# %llu writers killed, %llu pages written\n", (unsigned long long)rounds,
		      (unsigned long long)atomic_load(&log->seeds));
	assert_true(atomic_load(&log->seeds) > rounds * 10);
	core_close(&k);
	munmap(log, sizeof(*log));
}

static void test_what_a_killed_writer_was_told_is_true(void **state)
{
	(void)state;
	kill_writers(false, env_number("TMEM_CRASH_ROUNDS", 50));
}

static void test_it_is_with_two_buddies(void **state)
{
	(void)state;
	kill_writers(true, env_number("TMEM_CRASH_ROUNDS", 50) / 5);
}

/* The judge must not be one who finds everything right. */
static void test_a_page_that_was_never_written_would_be_missed(void **state)
{
	uint64_t rng = rnd_seed(1);
	struct log *log = log_create();
	struct tmem_key key = key_of(0, 0, 0);
	uint8_t page[TMEM_PAGE_SIZE];
	struct entry *e = &log->page[TMEM_PERSISTENT][0][0][0];
	struct core k;
	uint64_t tag;

	(void)state;
	start(&k, false);
	kill_writer(&k, log, &rng);
	assert_int_equal(core_rebuild(&k), 0);
	judge_all(&k, log);
	end(e, 1ull << 40);
	if (tmem_get(k.ctx, tmem_client_find(k.t, "guest"), 1, &key, page, &tag) == 0)
		assert_int_not_equal(tag, atomic_load(&e->told));
	core_close(&k);
	munmap(log, sizeof(*log));
}

/* ---- bytes that changed ------------------------------------------------- */

static void copy_arena(int from, int to)
{
	static uint8_t buffer[65536];
	off_t at = 0, stop;

	assert_int_equal(ftruncate(to, 0), 0);
	assert_int_equal(ftruncate(to, lseek(from, 0, SEEK_END)), 0);
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		stop = lseek(from, at, SEEK_HOLE);
		while (at < stop) {
			size_t n = (size_t)(stop - at) < sizeof(buffer) ? (size_t)(stop - at) :
									  sizeof(buffer);

			assert_int_equal(pread(from, buffer, n, at), n);
			assert_int_equal(pwrite(to, buffer, n, at), n);
			at += (off_t)n;
		}
	}
}

/* A byte somewhere in data; near a frame's start more often, where headers are. */
static void spoil(int fd, uint64_t *rng)
{
	off_t size = lseek(fd, 0, SEEK_END);
	off_t at = (off_t)(rnd(rng) % (uint64_t)size);
	uint8_t byte;

	if (rnd_below(rng, 2))
		at = at / TMEM_PAGE_SIZE * TMEM_PAGE_SIZE + rnd_below(rng, 512);
	at = lseek(fd, at, SEEK_DATA);
	if (at < 0 || pread(fd, &byte, 1, at) != 1)
		return;
	switch (rnd_below(rng, 3)) {
	case 0:
		byte ^= (uint8_t)(1u << rnd_below(rng, 8));
		break;
	case 1:
		byte = 0;
		break;
	default:
		byte = (uint8_t)rnd(rng);
	}
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* Whatever is found under a key is the page that was told to be there. */
static void nothing_is_wrong(struct core *k, struct log *log)
{
	struct tmem_client *c = tmem_client_find(k->t, "guest");
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	char why[256] = "";
	uint64_t tag = 0;

	if (!tmem_is_valid(k->t, why, sizeof(why)))
		fail_msg("not valid after rebuild: %s", why);
	for (unsigned i = 0; c && i < THREADS * OBJECTS * PAGES; i++) {
		unsigned t = i / (OBJECTS * PAGES), o = i / PAGES % OBJECTS, p = i % PAGES;
		struct tmem_key key = key_of(t, o, p);

		if (tmem_get(k->ctx, c, TMEM_PERSISTENT, &key, page, &tag))
			continue;
		assert_int_equal(tag, log->page[TMEM_PERSISTENT][t][o][p].told);
		page_make(want, tag);
		assert_memory_equal(page, want, sizeof(page));
	}
}

/* And it can be worked with: puts and flushes over it do no harm. */
static void work_on(struct core *k)
{
	struct tmem_client *c = tmem_client_find(k->t, "guest");

	for (uint32_t i = 0; c && i < 200; i++) {
		int rc = core_put(k, c, i % 2, core_key(500, i), page_good_seed(i));

		if (rc == 0 && i % 2)
			assert_int_equal(core_get(k, c, 1, core_key(500, i), page_good_seed(i)), 0);
	}
	for (uint32_t i = 0; c && i < 4; i++)
		tmem_pool_destroy(c, i, NULL);
	assert_true(tmem_is_valid(k->t, NULL, 0));
}

static void test_changed_bytes_never_crash_or_deceive(void **state)
{
	uint64_t rounds = env_number("TMEM_CRASH_ROUNDS", 50) * 2, opened = 0;
	uint64_t rng = rnd_seed(env_number("TMEM_SEED", 1));
	struct log *log = log_create();
	struct core k;

	(void)state;
	start(&k, false);
	/* Judged each time: only then does the log know what became of the last operation. */
	for (unsigned writers = 0; writers < 2; writers++) {
		kill_writer(&k, log, &rng);
		assert_int_equal(core_rebuild(&k), 0);
		judge_all(&k, log);
	}
	for (uint64_t i = 0; i < rounds; i++) {
		struct core spoilt = { .config = k.config };
		uint32_t n = 1 + rnd_below(&rng, 40);
		int rc;

		spoilt.config.arena_fd = memfd_create("spoilt", MFD_CLOEXEC);
		copy_arena(k.config.arena_fd, spoilt.config.arena_fd);
		while (n--)
			spoil(spoilt.config.arena_fd, &rng);
		rc = core_start(&spoilt);
		assert_true(rc == 0 || rc == -EPROTO);
		if (rc == 0) {
			opened++;
			nothing_is_wrong(&spoilt, log);
			work_on(&spoilt);
		}
		core_close(&spoilt);
	}
	assert_true(opened > rounds / 2);
	core_close(&k);
	munmap(log, sizeof(*log));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_killed_writer_was_told_is_true),
		cmocka_unit_test(test_it_is_with_two_buddies),
		cmocka_unit_test(test_a_page_that_was_never_written_would_be_missed),
		cmocka_unit_test(test_changed_bytes_never_crash_or_deceive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

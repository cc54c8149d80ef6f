/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_step.c - a writer that could die after any store to the arena.
 *
 * A child does one operation with the arena write-protected.  A store faults,
 * is let through as a single step, and the child waits while its parent copies
 * the arena as it stands, which is what a SIGKILL there would leave, and
 * rebuilds the copy.  Every state on the way must show the pages from
 * before the operation or after it, each page going from the one to the other
 * once and not back.  A few hundred kills at random moments (test_crash.c) do
 * not meet the ten instructions between committing a page and killing the old.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "core_fixture.h"

#define ARENA	(MIB / 2)
#define KEYS	12u

/* What is under key i of both pools: the seed of the page, 0 none. */
struct sight {
	uint64_t seed[TMEM_KINDS][KEYS];
};

struct step {
	const char *name;
	void (*prepare)(struct core *k, struct tmem_client *c);
	void (*act)(struct core *k, struct tmem_client *c);
	bool gap;	/* several calls: between them a key may show nothing */
};

/* Keys 0 to 7 are of one object, the others each of their own. */
static struct tmem_key key_at(unsigned i)
{
	return i < 8 ? core_key(1, i * 100) : core_key(i, 3);
}

static void store(struct core *k, struct tmem_client *c, unsigned pool, unsigned i, uint64_t seed)
{
	if (core_put(k, c, pool, key_at(i), seed))
		_exit(3);
}

static void look(struct core *k, struct sight *s)
{
	struct tmem_client *c = tmem_client_find(k->t, "guest");
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

	memset(s, 0, sizeof(*s));
	for (unsigned pool = 0; c && pool < TMEM_KINDS; pool++)
		for (unsigned i = 0; i < KEYS; i++) {
			struct tmem_key key = key_at(i);
			uint64_t tag = 0;
			int rc = tmem_get(k->ctx, c, pool, &key, page, &tag);

			if (rc == -ENOENT || rc == -ENXIO)
				continue;
			if (rc)
				fail_msg("get: %d", rc);
			page_make(want, tag);
			assert_memory_equal(page, want, sizeof(page));
			s->seed[pool][i] = tag;
		}
}

static void copy_arena(int from, int to, const uint8_t *bytes)
{
	off_t at = 0, stop;

	assert_int_equal(ftruncate(to, 0), 0);
	assert_int_equal(ftruncate(to, lseek(from, 0, SEEK_END)), 0);
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		stop = lseek(from, at, SEEK_HOLE);
		assert_int_equal(pwrite(to, bytes + at, (size_t)(stop - at), at), stop - at);
		at = stop;
	}
}

/* What a new process would find in a copy of the arena. */
static void sight_of(const struct core *k, const uint8_t *arena, struct sight *s)
{
	struct core copy = { .config = k->config };
	char why[256] = "";

	copy.config.rebuild = true;
	copy.config.arena_fd = memfd_create("copy", MFD_CLOEXEC);
	copy_arena(k->config.arena_fd, copy.config.arena_fd, arena);
	assert_int_equal(core_start(&copy), 0);
	if (!tmem_is_valid(copy.t, why, sizeof(why)))
		fail_msg("not valid: %s", why);
	look(&copy, s);
	/* And once more, after others have used what the first rebuild found free. */
	if (tmem_client_find(copy.t, "guest")) {
		struct sight again;

		for (uint32_t i = 0; i < 6; i++)
			core_put(&copy, tmem_client_find(copy.t, "guest"), 1, core_key(77, i),
				 page_good_seed(i));
		assert_int_equal(core_rebuild(&copy), 0);
		look(&copy, &again);
		assert_memory_equal(again.seed[1], s->seed[1], sizeof(s->seed[1]));
	}
	core_close(&copy);
}

struct walk {
	const struct step *step;
	struct sight before, after;
	bool passed[TMEM_KINDS][KEYS];	/* shows what it shows afterwards */
	unsigned states;
};

static void judge(struct walk *w, const struct sight *now)
{
	for (unsigned pool = 0; pool < TMEM_KINDS; pool++)
		for (unsigned i = 0; i < KEYS; i++) {
			uint64_t was = w->before.seed[pool][i], will = w->after.seed[pool][i];
			uint64_t is = now->seed[pool][i];

			if (w->step->gap && !is && !w->passed[pool][i])
				continue;
			if (is != was && is != will)
				fail_msg("%s, state %u: pool %u key %u shows %llu, not %llu or %llu",
					 w->step->name, w->states, pool, i, (unsigned long long)is,
					 (unsigned long long)was, (unsigned long long)will);
			if (w->passed[pool][i] && is != will)
				fail_msg("%s, state %u: pool %u key %u went back", w->step->name,
					 w->states, pool, i);
			w->passed[pool][i] = is == will;
		}
}

/* ---- the child, store by store --------------------------------------------- */

#define TRAP_FLAG 0x100		/* x86: a trap after the next instruction */

static uint8_t *watched;	/* where the core mapped its arena */
static int to_parent, from_parent;
static long long fault_at;	/* the instruction that stores */
static unsigned rounds;

#ifdef __x86_64__
static greg_t *reg(void *context, int number)
{
	return &((ucontext_t *)context)->uc_mcontext.gregs[number];
}
#else
static long long none;
#define REG_EFL 0
#define REG_RIP 0
#define reg(context, number) ((void)(context), &none)
#endif

static void single_step(void *context, bool on)
{
	*reg(context, REG_EFL) &= ~TRAP_FLAG;
	*reg(context, REG_EFL) |= on ? TRAP_FLAG : 0;
}

/*
 * A string instruction that copies or clears traps after each round of it: one
 * round in 256 is enough to look at.
 */
static bool goes_on(void *context)
{
	rounds = *reg(context, REG_RIP) == fault_at ? rounds + 1 : 0;
	return rounds % 256;
}

static void on_store(int sig, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;

	(void)sig;
	if (at < watched || at >= watched + ARENA || mprotect(watched, ARENA, PROT_READ | PROT_WRITE))
		_exit(4);
	fault_at = *reg(context, REG_RIP);
	single_step(context, true);
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	char byte = 0;

	(void)sig;
	(void)info;
	if (goes_on(context))
		return;
	single_step(context, false);
	if (mprotect(watched, ARENA, PROT_READ) || write(to_parent, &byte, 1) != 1 ||
	    read(from_parent, &byte, 1) != 1)
		_exit(5);
}

static uint8_t *find_mapping(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from = 0;
	char line[512];
	bool found = false;

	while (maps && !found && fgets(line, sizeof(line), maps))
		found = strstr(line, " rw-s ") && strstr(line, "memfd:arena") &&
			sscanf(line, "%lx", &from) == 1;
	if (maps)
		fclose(maps);
	return found ? (uint8_t *)from : NULL;
}

static void child(struct core *k, const struct step *step)
{
	struct sigaction store_action = { .sa_sigaction = on_store, .sa_flags = SA_SIGINFO };
	struct sigaction step_action = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	struct tmem_client *c;

	if (core_rebuild(k))
		_exit(2);
	c = tmem_client_find(k->t, "guest");
	watched = find_mapping();
	if (!c || !watched || sigaction(SIGSEGV, &store_action, NULL) ||
	    sigaction(SIGTRAP, &step_action, NULL) || mprotect(watched, ARENA, PROT_READ))
		_exit(3);
	step->act(k, c);
	_exit(0);
}

/* ---- the parent -------------------------------------------------------------- */

static void changed(const struct core *k, struct walk *w, const uint8_t *arena, uint8_t *last)
{
	struct sight now;

	memcpy(last, arena, ARENA);
	w->states++;
	sight_of(k, arena, &now);
	judge(w, &now);
}

static void step_through(const struct core *k, struct walk *w, const uint8_t *arena, uint8_t *last)
{
	int up[2], down[2], status;
	struct core writer = *k;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(up) + pipe(down), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(up[0]);
		close(down[1]);
		to_parent = up[1];
		from_parent = down[0];
		child(&writer, w->step);
	}
	close(up[1]);
	close(down[0]);
	while (read(up[0], &byte, 1) == 1) {
		if (memcmp(last, arena, ARENA) != 0)
			changed(k, w, arena, last);
		assert_int_equal(write(down[1], &byte, 1), 1);
	}
	close(up[0]);
	close(down[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("%s: the writer ended with %x", w->step->name, (unsigned)status);
}

/* The state afterwards comes from an unwatched run on a copy. */
static void foresee(const struct core *k, const uint8_t *arena, struct walk *w)
{
	struct core copy = { .config = k->config };

	copy.config.rebuild = true;
	copy.config.arena_fd = memfd_create("copy", MFD_CLOEXEC);
	copy_arena(k->config.arena_fd, copy.config.arena_fd, arena);
	assert_int_equal(core_start(&copy), 0);
	w->step->act(&copy, tmem_client_find(copy.t, "guest"));
	assert_int_equal(core_rebuild(&copy), 0);
	look(&copy, &w->after);
	core_close(&copy);
}

static void walk(const struct step *step)
{
	const struct tmem_config config = { .arena_max = ARENA };
	struct walk w = { .step = step };
	static uint8_t last[ARENA];
	struct tmem_client *c;
	uint8_t *arena;
	struct core k;

	assert_int_equal(core_open(&k, &config), 0);
	c = core_client(&k, "guest");
	assert_non_null(c);
	step->prepare(&k, c);
	arena = mmap(NULL, ARENA, PROT_READ, MAP_SHARED, k.config.arena_fd, 0);
	assert_true(arena != MAP_FAILED);
	sight_of(&k, arena, &w.before);
	foresee(&k, arena, &w);
	memcpy(last, arena, ARENA);
	step_through(&k, &w, arena, last);
	print_message("# %s: %u states\n", step->name, w.states);
	assert_true(w.states > 0);
	munmap(arena, ARENA);
	core_close(&k);
}

/* ---- what is done ------------------------------------------------------------ */

/* Pages of a few bytes, so that copying their data makes few states. */
static uint64_t same(unsigned i)
{
	return 8ull * (i + 4);
}

static void prepare_none(struct core *k, struct tmem_client *c)
{
	(void)k;
	(void)c;
}

static void prepare_all(struct core *k, struct tmem_client *c)
{
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned pool = 0; pool < TMEM_KINDS; pool++)
			store(k, c, pool, i, i % 3 ? same(i) : page_good_seed(i));
}

static void act_put_first(struct core *k, struct tmem_client *c)
{
	store(k, c, 1, 0, same(1));
}

static void act_put_codec(struct core *k, struct tmem_client *c)
{
	store(k, c, 1, 9, page_good_seed(500));
}

static void act_replace(struct core *k, struct tmem_client *c)
{
	store(k, c, 1, 1, same(100));
	store(k, c, 0, 2, same(101));
}

static void act_replace_refused(struct core *k, struct tmem_client *c)
{
	tmem_client_freeze(c, true);
	core_put(k, c, 1, key_at(1), same(100));
	core_put(k, c, 1, key_at(9), same(100));
}

static void act_flush_page(struct core *k, struct tmem_client *c)
{
	struct tmem_key a = key_at(2), b = key_at(10);

	(void)k;
	tmem_flush_page(c, 1, &a);
	tmem_flush_page(c, 1, &b);
}

/* The space and the object's number of what went are used again at once. */
static void act_flush_and_put(struct core *k, struct tmem_client *c)
{
	struct tmem_key key = key_at(10);

	tmem_flush_page(c, 1, &key);
	store(k, c, 1, 10, same(102));
	tmem_flush_object(c, 1, key_at(11).oid, NULL);
	store(k, c, 1, 11, same(103));
}

static void act_flush_object(struct core *k, struct tmem_client *c)
{
	(void)k;
	tmem_flush_object(c, 1, key_at(0).oid, NULL);
}

static void act_pool_destroy(struct core *k, struct tmem_client *c)
{
	(void)k;
	tmem_pool_destroy(c, 1, NULL);
}

static void act_pool_again(struct core *k, struct tmem_client *c)
{
	const struct tmem_pool_spec spec = { .kind = TMEM_PERSISTENT };

	(void)k;
	tmem_pool_destroy(c, 1, NULL);
	tmem_pool_create(c, 1, &spec);
}

static void act_client_destroy(struct core *k, struct tmem_client *c)
{
	(void)k;
	tmem_client_kill(c);
	tmem_client_destroy(c);
}

static void act_client_again(struct core *k, struct tmem_client *c)
{
	act_client_destroy(k, c);
	core_client(k, "guest");
}

static void act_take(struct core *k, struct tmem_client *c)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_key key = key_at(1);
	uint64_t tag;

	tmem_get(k->ctx, c, 0, &key, page, &tag);
}

static void act_quota(struct core *k, struct tmem_client *c)
{
	struct tmem_quota q;

	(void)k;
	tmem_client_quota_get(c, &q);
	q.weight = 7;
	q.min = 4096;
	tmem_client_quota_set(c, &q);
}

static void act_reclaim(struct core *k, struct tmem_client *c)
{
	(void)c;
	tmem_reclaim(k->t, 60, NULL);
}

/* Frames mostly empty: what is left of them is moved together. */
static void prepare_sparse(struct core *k, struct tmem_client *c)
{
	for (uint32_t i = 0; i < 60; i++)
		core_put(k, c, 1, core_key(900, i), page_good_seed(i));
	for (unsigned i = 0; i < KEYS; i++)
		store(k, c, 1, i, same(i));
	for (uint32_t i = 0; i < 60; i++)
		core_put(k, c, 1, core_key(901, i), page_good_seed(i));
	store(k, c, 1, 3, page_good_seed(3));
	for (uint32_t i = 0; i < 60; i++)
		for (uint32_t o = 900; o < 902; o++) {
			struct tmem_key key = core_key(o, i);

			tmem_flush_page(c, 1, &key);
		}
}

static void act_compact(struct core *k, struct tmem_client *c)
{
	(void)c;
	tmem_compact(k->t, k->ctx);
}

static void test_every_state_is_one_that_was_told(void **state)
{
	static const struct step steps[] = {
		{ "first put", prepare_none, act_put_first, false },
		{ "compressed put", prepare_none, act_put_codec, false },
		{ "replacement", prepare_all, act_replace, false },
		{ "refused replacement", prepare_all, act_replace_refused, false },
		{ "page flush", prepare_all, act_flush_page, false },
		{ "flush and put", prepare_all, act_flush_and_put, true },
		{ "object flush", prepare_all, act_flush_object, false },
		{ "pool destroy", prepare_all, act_pool_destroy, false },
		{ "pool destroy and create", prepare_all, act_pool_again, false },
		{ "client destroy", prepare_all, act_client_destroy, false },
		{ "client destroy and create", prepare_all, act_client_again, false },
		{ "exclusive get", prepare_all, act_take, false },
		{ "quota", prepare_all, act_quota, false },
		{ "reclaim", prepare_all, act_reclaim, false },
		{ "compaction", prepare_sparse, act_compact, false },
	};

	(void)state;
#ifndef __x86_64__
	print_message("# single steps are known for x86-64 only\n");
	skip();
#endif
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		walk(&steps[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state_is_one_that_was_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

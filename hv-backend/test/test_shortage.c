/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_shortage.c - a host that runs short for real: tmemd and a program that
 * wants its memory share a memory cgroup with a limit.
 *
 * Under the policy the program gets what it asks for, out of ephemeral pages; the
 * persistent ones are all there afterwards, and puts are taken again.  Without the
 * policy the kernel kills the program: what the policy is for.
 *
 * A cgroup of version 1 of which the test may make children; else it is skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hosting.h"
#include "procfs.h"

#define MIB		(UINT64_C(1) << 20)
#define EPHEMERAL	28000u		/* pages, stored in some 3 KiB each */
#define PERSISTENT	4000u
#define SPARE		(64 * MIB)	/* left below the limit before the hog comes */
#define WANTED		(40 * MIB)	/* more than that is what the hog takes */
#define HOG_STEP	(2 * MIB)
#define HOG_STEP_US	40000u
#define AGAIN_S		20

static char parent[PROCFS_PATH_MAX], cgroup[PROCFS_PATH_MAX + 32];

/* ---- the cgroup -------------------------------------------------------- */

static bool file_write(const char *dir, const char *name, unsigned long long value)
{
	char path[PROCFS_PATH_MAX + 64];
	FILE *f;
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f)
		return false;
	err = fprintf(f, "%llu", value) < 0;
	return !(fclose(f) || err);
}

static uint64_t usage(void)
{
	char path[PROCFS_PATH_MAX + 64];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", cgroup);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%llu", &bytes), 1);
	fclose(f);
	return bytes;
}

static char *file_load(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (f && getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static bool cgroup_find(void)
{
	char *membership = file_load("/proc/self/cgroup"), *mounts = file_load("/proc/self/mountinfo");
	struct procfs_cgroup c;
	bool found = membership && mounts && !procfs_cgroup_find(membership, mounts, &c) &&
		     c.version == 1;

	free(membership);
	free(mounts);
	if (found)
		snprintf(parent, sizeof(parent), "%s", c.dir);
	return found;
}

/* Move into a new cgroup; false: this host has none for us. */
static bool cgroup_enter(void)
{
	if (!cgroup_find())
		return false;
	snprintf(cgroup, sizeof(cgroup), "%s/tmem-test-%d", parent, (int)getpid());
	if (mkdir(cgroup, 0755))
		return false;
	if (file_write(cgroup, "cgroup.procs", (unsigned long long)getpid()))
		return true;
	rmdir(cgroup);
	return false;
}

/* The ended processes are charged off a moment later. */
static void cgroup_leave(void)
{
	file_write(parent, "cgroup.procs", (unsigned long long)getpid());
	for (int i = 0; i < 100 && rmdir(cgroup); i++)
		usleep(20000);
}

/* ---- the hog ----------------------------------------------------------- */

static _Noreturn void hog_run(uint64_t bytes)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* If anything is killed, let it be this. */
	if (fd < 0 || write(fd, "1000", 4) != 4)
		_exit(2);
	for (uint64_t have = 0; have < bytes; have += HOG_STEP) {
		/* Past the C library: a sanitizer would take as much again for its shadow. */
		long p = syscall(SYS_mmap, NULL, HOG_STEP, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (p == -1)
			_exit(3);
		usleep(HOG_STEP_US);
	}
	_exit(0);
}

/* How it ended: 0 with all it wanted, SIGKILL by the kernel. */
static int hog(uint64_t bytes)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		hog_run(bytes);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- a guest full of pages --------------------------------------------- */

static void noise(uint8_t page[4096], uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;

	memset(page, 0, 4096);
	for (unsigned i = 0; i < 3072; i++) {
		x = x * 1664525u + 1013904223u;
		page[i] = (uint8_t)(x >> 24);
	}
}

static int put(struct front *f, uint32_t pool, uint32_t n)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[4096];

	noise(page, n);
	return front_put(front_queue_of(f, &key), &key, page, n);
}

static bool has(struct front *f, uint32_t pool, uint32_t n)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[4096], want[4096];
	uint64_t tag;

	noise(want, n);
	return front_get(front_queue_of(f, &key), &key, page, &tag) == 0 && tag == n &&
	       !memcmp(page, want, sizeof(page));
}

static void fill(struct front *f)
{
	assert_int_equal(front_pool_create(f, 0, 0), 0);
	assert_int_equal(front_pool_create(f, 1, TMEMP_POOL_PERSISTENT), 0);
	for (uint32_t n = 0; n < PERSISTENT; n++)
		assert_int_equal(put(f, 1, n), 0);
	for (uint32_t n = 0; n < EPHEMERAL; n++)
		assert_int_equal(put(f, 0, n), 0);
}

static long long resident(struct hosting *h)
{
	json_t *stats = hosting_ask(h, "{\"verb\":\"stats\"}");
	long long bytes = json_integer_value(json_object_get(json_object_get(stats, "host"),
							     "resident_bytes"));

	json_decref(stats);
	return bytes;
}

/* ---- tests ------------------------------------------------------------- */

struct scene {
	struct hosting hosting;
	struct front *front;
	bool started;
};

static void scene_open(struct scene *s, const char *policy)
{
	static const char *const guests[] = { "one", NULL };
	const char *const more[] = { "--arena", "128M", "--memory-policy", policy, NULL };
	struct front_config config;
	char path[DAEMON_PATH_MAX];

	s->started = cgroup_enter();
	if (!s->started)
		skip();
	assert_int_equal(hosting_start(&s->hosting, guests, more), 0);
	config = hosting_config(&s->hosting, "one", path);
	assert_int_equal(front_open(&s->front, &config), 0);
	fill(s->front);
	assert_true(file_write(cgroup, "memory.limit_in_bytes", usage() + SPARE));
	/* A limit out of nothing may be seen two seconds later; this looks at once. */
	kill(s->hosting.daemon.pid, SIGHUP);
}

static int scene_make(void **state)
{
	*state = calloc(1, sizeof(struct scene));
	return *state ? 0 : -1;
}

static int scene_remove(void **state)
{
	struct scene *s = *state;

	if (s->front)
		front_destroy(s->front);
	if (s->started) {
		hosting_stop(&s->hosting);
		cgroup_leave();
	}
	free(s);
	return 0;
}

static bool puts_are_taken_again(struct front *f)
{
	for (unsigned i = 0; i < AGAIN_S * 20; i++) {
		if (put(f, 0, EPHEMERAL + i) == 0 && put(f, 1, PERSISTENT) == 0)
			return true;
		usleep(50000);
	}
	return false;
}

static void a_program_gets_memory_that_guests_only_borrowed(void **state)
{
	struct scene *s = *state;
	long long before;
	unsigned gone = 0;

	scene_open(s, "on");
	before = resident(&s->hosting);
	assert_int_equal(hog(SPARE + WANTED), 0);
	assert_true(before - resident(&s->hosting) >= (long long)WANTED);
	for (uint32_t n = 0; n < PERSISTENT; n++)
		assert_true(has(s->front, 1, n));
	for (uint32_t n = 0; n < EPHEMERAL; n++)
		gone += !has(s->front, 0, n);
	assert_true(gone >= WANTED / 4096);
	assert_true(puts_are_taken_again(s->front));
}

static void without_the_policy_it_does_not(void **state)
{
	struct scene *s = *state;
	long long before;

	scene_open(s, "off");
	before = resident(&s->hosting);
	assert_int_equal(hog(SPARE + WANTED), SIGKILL);
	assert_true(resident(&s->hosting) >= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_program_gets_memory_that_guests_only_borrowed,
						scene_make, scene_remove),
		cmocka_unit_test_setup_teardown(without_the_policy_it_does_not, scene_make,
						scene_remove),
	};

	return cmocka_run_group_tests_name("shortage", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_estate.c - a daemon ends, by kill -9 or by request, and the next one has
 * the arena's file: who finds which pages, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hosting.h"

#define PAGES	300u

static struct hosting host;
static char program[4096], dir[] = "/tmp/tmem-estate-XXXXXX", arena[64], state_file[80];

static const char *const both[] = {
	"--log-level", "info", "--arena", "64M", "--arena-file", arena,
	"--guest", "a", "--guest", "b", NULL,
};
static const char *const only_b[] = {
	"--log-level", "info", "--arena", "64M", "--arena-file", arena, "--guest", "b", NULL,
};

static int setup(void **state)
{
	const char *build = getenv("TMEM_BUILD");

	(void)state;
	unlink(arena);
	unlink(state_file);
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	memset(&host, 0, sizeof(host));
	return daemon_start(&host.daemon, program, both);
}

static int teardown(void **state)
{
	(void)state;
	return daemon_stop(&host.daemon);
}

static struct front *guest_open(const char *guest)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, guest, path);
	struct front *f;

	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	assert_int_equal(front_pool_create(f, 1, 0), 0);
	return f;
}

static void fill(struct front *f)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (unsigned n = 0; n < PAGES; n++) {
		for (unsigned pool = 0; pool < 2; pool++) {
			struct front_key key = key_of(pool, n);

			page_fill(page, n);
			assert_int_equal(front_put(&f->queue[0], &key, page, n + 1), 0);
		}
	}
}

static void expect_all(struct front *f, int persistent, int ephemeral)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	uint64_t tag;

	for (unsigned n = 0; n < PAGES; n++) {
		struct front_key key = key_of(0, n);

		assert_int_equal(front_get(&f->queue[0], &key, page, &tag), persistent);
		if (persistent == TMEMP_OK) {
			assert_int_equal(tag, n + 1);
			assert_true(page_is(page, n));
		}
		key.pool = 1;
		assert_int_equal(front_get(&f->queue[0], &key, page, &tag), ephemeral);
	}
}

/* The same VMM comes back to another daemon: boot, epoch and persistent pages are there. */
static void comes_back(struct front *f)
{
	uint64_t epoch = f->epoch;

	front_disconnect(f);
	assert_int_equal(front_connect(f), 0);
	assert_int_equal(front_hello(f), 0);
	assert_int_equal(f->epoch, epoch);
	expect_all(f, TMEMP_OK, TMEMP_MISS);
}

static void test_killed(void **state)
{
	struct front *f = guest_open("a");

	(void)state;
	fill(f);
	for (unsigned i = 0; i < 3; i++) {
		daemon_kill(&host.daemon);
		assert_int_equal(daemon_again(&host.daemon, program, both), 0);
		comes_back(f);
	}
	assert_int_equal(daemon_log_count(&host.daemon, "600 pages found", "rebuilt", 0), 1);
	assert_int_equal(hosting_said(&host, "a", "pages wait for it"), 3);
	front_destroy(f);
}

static void test_ended(void **state)
{
	struct front *f = guest_open("a");

	(void)state;
	fill(f);
	assert_int_equal(daemon_end(&host.daemon), 0);
	assert_int_equal(daemon_again(&host.daemon, program, both), 0);
	comes_back(f);
	front_destroy(f);
}

/* A VMM that exits while no daemon is there to hear it has left nothing. */
static void test_vmm_exits_meanwhile(void **state)
{
	int up[2], down[2], status;
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(up) | pipe(down), 0);
	pid = fork();
	if (!pid) {
		close(down[1]);
		fill(guest_open("a"));
		_exit(write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) != 0);
	}
	close(down[0]);
	assert_int_equal(read(up[0], &byte, 1), 1);
	assert_int_equal(hosting_number(&host, "a", "logical_bytes"), 2 * PAGES * TMEMP_PAGE_SIZE);
	daemon_kill(&host.daemon);
	close(down[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(daemon_again(&host.daemon, program, both), 0);
	assert_int_equal(hosting_number(&host, "a", "logical_bytes"), 0);
	close(up[0]);
	close(up[1]);
}

static void test_not_configured_any_more(void **state)
{
	struct front *f = guest_open("a"), *b = guest_open("b");

	(void)state;
	fill(f);
	fill(b);
	front_destroy(f);
	daemon_kill(&host.daemon);
	assert_int_equal(daemon_again(&host.daemon, program, only_b), 0);
	assert_int_equal(hosting_said(&host, "a", "not configured any more"), 1);
	comes_back(b);
	daemon_kill(&host.daemon);
	assert_int_equal(daemon_again(&host.daemon, program, both), 0);
	assert_int_equal(hosting_number(&host, "a", "logical_bytes"), 0);
	front_destroy(b);
}

/* ---- what cannot be read ------------------------------------------------- */

static void patch(const char *path, off_t at, uint32_t value)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
	close(fd);
}

static uint32_t number_at(const char *path, off_t at)
{
	int fd = open(path, O_RDONLY);
	uint32_t value = 0;

	assert_int_equal(pread(fd, &value, sizeof(value), at), sizeof(value));
	close(fd);
	return value;
}

/* With the number at `at` another: refused, said, left alone, and taken again after. */
static void refused(const char *path, off_t at, uint32_t number, const char *said)
{
	struct front *f = guest_open("a");
	uint32_t was;

	fill(f);
	daemon_kill(&host.daemon);
	was = number_at(path, at);
	patch(path, at, number);
	assert_int_not_equal(daemon_again(&host.daemon, program, both), 0);
	assert_int_equal(daemon_log_count(&host.daemon, path, said, 0), 1);
	assert_int_equal(number_at(path, at), number);
	patch(path, at, was);
	assert_int_equal(daemon_again(&host.daemon, program, both), 0);
	comes_back(f);
	front_destroy(f);
}

static void test_other_arena(void **state)
{
	(void)state;
	refused(arena, 40, 77, "an arena of format 77, this tmemd has format");
}

static void test_foreign_arena(void **state)
{
	(void)state;
	refused(arena, 32, 0x12345678, "not an arena of tmemd");
}

static void test_other_state(void **state)
{
	(void)state;
	refused(state_file, 8, 7, "a state of format 7, this tmemd has format");
}

static void test_foreign_state(void **state)
{
	(void)state;
	refused(state_file, 0, 0x12345678, "not a state of tmemd");
}

static void test_damaged_state(void **state)
{
	(void)state;
	refused(state_file, 12, 99, "damaged");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vmm_exits_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_configured_any_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_arena, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_arena, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_state, setup, teardown),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(arena, sizeof(arena), "%s/arena", dir);
	snprintf(state_file, sizeof(state_file), "%s.state", arena);
	failed = cmocka_run_group_tests_name("estate", tests, NULL, NULL);
	unlink(arena);
	unlink(state_file);
	rmdir(dir);
	return failed;
}

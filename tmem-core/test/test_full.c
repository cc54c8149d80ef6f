// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_full.c - an arena file whose file system is smaller than the arena.
 *
 * The file system runs full while frames are taken.  That is a shortage like any
 * other: ephemeral pages make room, persistent ones are refused, what was taken
 * comes back.  It is not a bus error.
 *
 * A tmpfs in a mount namespace of the test's own; where it may not have that, the
 * tests are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core_fixture.h"

#define FULL	"size=2m"
#define ARENA	(16u * MIB)
#define PAGES	4000u		/* more than fit */

static struct core core;
static char dir[] = "/tmp/tmem-full-XXXXXX";

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", dir, "tmpfs", 0, FULL))
		*state = dir;	/* not for us */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	umount(dir);
	return rmdir(dir);
}

static int file_open(const char *name)
{
	int fd;

	assert_int_equal(chdir(dir), 0);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(chdir("/"), 0);
	return fd;
}

static struct tmem_client *start(void **state)
{
	if (*state)
		skip();
	core.config = (struct tmem_config){ .arena_max = ARENA, .arena_fd = file_open("arena") };
	assert_int_equal(core_start(&core), 0);
	return core_client(&core, "guest");
}

static void check_valid(void)
{
	char why[256] = "";

	if (!tmem_is_valid(core.t, why, sizeof(why)))
		fail_msg("not valid: %s", why);
}

static uint64_t seed_of(unsigned n)
{
	return page_good_seed(100 + 8ull * n);
}

static void persistent_pages_are_refused(void **state)
{
	struct tmem_client *c = start(state);
	unsigned taken = 0, refused = 0;
	uint64_t flushed;
	int err = 0;

	while (taken < PAGES && !(err = core_put(&core, c, 1, core_key(1, taken), seed_of(taken))))
		taken++;
	assert_int_equal(err, -ENOSPC);
	assert_true(taken > 100);
	for (unsigned n = 0; n < 100; n++)
		refused += core_put(&core, c, 1, core_key(2, n), seed_of(n)) == -ENOSPC;
	assert_true(refused > 50);
	check_valid();
	for (unsigned n = 0; n < taken; n++)
		assert_int_equal(core_get(&core, c, 1, core_key(1, n), seed_of(n)), 0);
	/* What is flushed makes room again. */
	assert_int_equal(tmem_flush_object(c, 1, core_key(1, 0).oid, &flushed), 0);
	assert_int_equal(flushed, taken);
	assert_int_equal(core_put(&core, c, 1, core_key(3, 0), seed_of(0)), 0);
	core_close(&core);
}

static void ephemeral_pages_make_room(void **state)
{
	struct tmem_client *c = start(state);
	unsigned there = 0;

	for (unsigned n = 0; n < PAGES; n++)
		assert_int_equal(core_put(&core, c, 0, core_key(1, n), seed_of(n)), 0);
	check_valid();
	for (unsigned n = 0; n < PAGES; n++)
		there += core_get(&core, c, 0, core_key(1, n), seed_of(n)) == 0;
	assert_true(there > 100 && there < PAGES);
	core_close(&core);
}

static void no_room_at_all_is_an_error(void **state)
{
	uint8_t bytes[4096] = { 1 };
	int fd, err;

	if (*state)
		skip();
	fd = file_open("filler");
	while (write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
	core.config = (struct tmem_config){ .arena_max = ARENA, .arena_fd = file_open("arena") };
	err = core_start(&core);
	assert_int_equal(err, -ENOSPC);
	close(core.config.arena_fd);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(persistent_pages_are_refused),
		cmocka_unit_test(ephemeral_pages_make_room),
		cmocka_unit_test(no_room_at_all_is_an_error),
	};

	return cmocka_run_group_tests_name("full", tests, setup, teardown);
}

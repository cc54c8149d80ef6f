// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_keep.c - the state file by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "keep.h"

/* A file where there is room for that many bytes, or -1. */
static int file_with_room(unsigned bytes)
{
	char dir[] = "/tmp/tmem-keep-XXXXXX", path[64], options[32];
	int fd = -1;

	snprintf(options, sizeof(options), "size=%u", bytes);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/state", dir);
	if (!mount("tmpfs", dir, "tmpfs", 0, options)) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return fd;
}

static int records_get(struct keep *k)
{
	int err = 0;

	for (unsigned n = 0; !err && n < KEEP_GUESTS_MAX; n++) {
		struct keep_guest *g;
		char name[16];
		bool found;

		snprintf(name, sizeof(name), "g%u", n);
		err = keep_guest_get(k, name, &g, &found);
	}
	return err;
}

/* A full file system is met at the start, and not by a store to a hole of the file. */
static void test_no_room(void **state)
{
	static const unsigned room[] = { 4096, 1u << 20, 64u << 20 };

	(void)state;
	for (unsigned i = 0; i < sizeof(room) / sizeof(room[0]); i++) {
		int fd = file_with_room(room[i]), err;
		struct keep *k;

		if (fd < 0) {
			skip();
			return;
		}
		err = keep_open(&k, fd, "state");
		if (i < 2)
			assert_int_equal(err, -ENOSPC);
		else
			assert_int_equal(err ? err : records_get(k), 0);
		if (!err)
			keep_close(k);
		close(fd);
	}
}

static int memory_state(struct keep **k)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(keep_open(k, fd, "state"), 0);
	return fd;
}

/* A VMM of which only the number can be told, for want of descriptors, still has its pages. */
static void test_vmm_hard_to_tell(void **state)
{
	struct keep_vmm v = { .pid = 0 };
	struct rlimit was, few;
	int fd, free_fd, found;
	struct keep *k;

	(void)state;
	fd = memory_state(&k);
	keep_vmm_note(&v, getpid(), 0);
	assert_true(v.start > 0);
	free_fd = dup(fd);
	close(free_fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = was;
	few.rlim_cur = (rlim_t)free_fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	found = keep_vmm_find(k, &v);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_true(found >= 0);
	close(found);
	/* Another process of that number is known as such. */
	v.start++;
	assert_int_equal(keep_vmm_find(k, &v), -ESRCH);
	keep_close(k);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_vmm_hard_to_tell),
	};

	return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}

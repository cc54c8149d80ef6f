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
#include <sys/mount.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bad_day.c - see bad_day.h.  Daemon and test map one file, which needs no name once
 * the daemon runs.
 */
#include "bad_day.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char file[32];

struct bad_libc *bad_day_begin(void)
{
	const char *build = getenv("TMEM_BUILD");
	char library[PATH_MAX], absolute[PATH_MAX];
	struct bad_libc *day = MAP_FAILED;
	int fd;

	snprintf(library, sizeof(library), "%s/test/bad_libc.so", build ? build : "build");
	if (!realpath(library, absolute))
		return NULL;
	fd = mkstemp(strcpy(file, "/tmp/tmemd-day-XXXXXX"));
	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, sizeof(*day)))
		day = mmap(NULL, sizeof(*day), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (day == MAP_FAILED) {
		unlink(file);
		return NULL;
	}
	setenv("LD_PRELOAD", absolute, 1);
	setenv("BAD_LIBC", file, 1);
	return day;
}

void bad_day_begun(void)
{
	unsetenv("LD_PRELOAD");
	unsetenv("BAD_LIBC");
	unlink(file);
}

void bad_day_end(struct bad_libc *day)
{
	munmap(day, sizeof(*day));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * estate.c - opening, locking and telling apart.
 */
#include "estate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"

#define REFUSED_SECONDS	2u	/* before we end with what was kept unread */

int estate_lock(int fd, const char *path)
{
	int err;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	log_error("%s: %s", path, err == -EBUSY ? "another tmemd uses it" : strerror(-err));
	return err;
}

/* A descriptor or -errno, said. */
static int file_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = fd < 0 ? -errno : 0;

	if (err)
		log_error("%s: %s", path, strerror(-err));
	else
		err = estate_lock(fd, path);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

/* The keeper's memory of that name, or memory that it has from now on. */
static int memory_open(struct handover *h, const char *name)
{
	int fd = handover_take_named(h, name);

	if (fd >= 0)
		return fd;
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	handover_keep_named(h, name, fd);
	return fd;
}

static int files_open(struct estate *e, const char *arena_file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s.state", arena_file);
	e->arena = file_open(arena_file);
	if (e->arena < 0)
		return e->arena;
	e->state = file_open(path);
	return e->state < 0 ? e->state : 0;
}

static int memories_open(struct estate *e)
{
	e->arena = memory_open(e->handover, "arena");
	if (e->arena < 0)
		return e->arena;
	e->state = memory_open(e->handover, "state");
	return e->state < 0 ? e->state : 0;
}

static int arena_check(struct estate *e)
{
	uint32_t version = 0;
	int is = tmem_arena_probe(e->arena, &version);

	e->found = is == TMEM_ARENA_READABLE;
	if (is == TMEM_ARENA_FOREIGN)
		log_error("%s: not an arena of tmemd, left as it is", e->name);
	else if (is == TMEM_ARENA_OTHER)
		log_error("%s: an arena of format %u, this tmemd has format %u; left as it is: start "
			  "the version that wrote it", e->name, version, TMEM_ARENA_VERSION);
	if (is < 0)
		return is;
	return is == TMEM_ARENA_FOREIGN || is == TMEM_ARENA_OTHER ? -EPROTO : 0;
}

int estate_open(struct estate *e, const char *arena_file)
{
	char name[PATH_MAX];
	int err;

	*e = (struct estate){ .arena = -1, .state = -1 };
	err = handover_open(&e->handover);
	if (err)
		return err;
	e->outlives = arena_file[0] || e->handover;
	e->name = arena_file[0] ? arena_file : "arena";
	snprintf(name, sizeof(name), "%s.state", e->name);
	err = arena_file[0] ? files_open(e, arena_file) : memories_open(e);
	if (!err)
		err = arena_check(e);
	if (!err)
		err = keep_open(&e->keep, e->state, name);
	/* Who starts us again counts how often: what was kept must not go for that. */
	if (err == -EPROTO && e->handover)
		sleep(REFUSED_SECONDS);
	if (err)
		estate_close(e);
	else
		handover_number_by(e->handover, e->keep);
	return err;
}

void estate_close(struct estate *e)
{
	handover_close(e->handover);
	keep_close(e->keep);
	if (e->state >= 0)
		close(e->state);
	if (e->arena >= 0)
		close(e->arena);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.c - an array.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int room_make(struct store *s)
{
	size_t room = s->room ? s->room * 2 : 64;
	struct store_entry *e;

	if (s->count >= s->max)
		return -ENOSPC;
	if (s->count < s->room)
		return 0;
	e = realloc(s->entry, room * sizeof(*e));
	if (!e)
		return -ENOMEM;
	s->entry = e;
	s->room = room;
	return 0;
}

int store_add(struct store *s, const char *name, int fd)
{
	char *copy = strdup(name);
	int err = copy ? room_make(s) : -ENOMEM;

	if (err) {
		free(copy);
		return err;
	}
	s->entry[s->count++] = (struct store_entry){ .name = copy, .fd = fd };
	return 0;
}

void store_remove(struct store *s, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct store_entry *e = &s->entry[i];

		if (strcmp(e->name, name)) {
			s->entry[kept++] = *e;
			continue;
		}
		close(e->fd);
		free(e->name);
	}
	s->count = kept;
}

void store_clear(struct store *s)
{
	for (size_t i = 0; i < s->count; i++) {
		close(s->entry[i].fd);
		free(s->entry[i].name);
	}
	free(s->entry);
	*s = (struct store){ .max = s->max };
}

int store_lay_out(struct store *s, int first)
{
	int above = first + (int)s->count;

	/* Out of the way first, so that no place is taken by one that is still to move. */
	for (size_t i = 0; i < s->count; i++) {
		s->entry[i].fd = fcntl(s->entry[i].fd, F_DUPFD_CLOEXEC, above);
		if (s->entry[i].fd < 0)
			return -errno;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (dup2(s->entry[i].fd, first + (int)i) < 0)
			return -errno;
	}
	return 0;
}

char *store_names(const struct store *s)
{
	size_t bytes = 1;
	char *names, *end;

	for (size_t i = 0; i < s->count; i++)
		bytes += strlen(s->entry[i].name) + 1;
	names = malloc(bytes);
	if (!names)
		return NULL;
	end = names;
	*end = '\0';
	for (size_t i = 0; i < s->count; i++) {
		if (i)
			*end++ = ':';
		end = stpcpy(end, s->entry[i].name);
	}
	return names;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - descriptors by name.
 *
 * Owns:    the descriptors.
 * Must not: care what they are.
 */
#ifndef KEEPER_STORE_H
#define KEEPER_STORE_H

#include <stddef.h>

#define STORE_NAME_MAX	256u		/* with its NUL; as systemd has it */

struct store_entry {
	char *name;
	int fd;
};

/* count <= max; all zero but for max is an empty store. */
struct store {
	struct store_entry *entry;
	size_t count, room, max;
};

/* Take fd under name, which need not be the only one of that name.  -ENOMEM, -ENOSPC. */
int  store_add(struct store *s, const char *name, int fd);

/* Close all of that name. */
void store_remove(struct store *s, const char *name);

/* Close all, free all. */
void store_clear(struct store *s);

/*
 * Duplicate all to the numbers from first on, inheritable, in a child before exec;
 * the store is not to be used after.  -errno.
 */
int  store_lay_out(struct store *s, int first);

/* Their names in that order, with ':' between; to be freed.  NULL: no memory. */
char *store_names(const struct store *s);

#endif

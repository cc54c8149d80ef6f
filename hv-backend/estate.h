/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * estate.h - what outlives the process: the arena and the state file.
 *
 * Owns:    where both come from, and that nobody else uses them.
 * How:     with a path for the arena, the state is PATH.state beside it, and both
 *          stay when the daemon ends.  Without, both are memory: a keeper's
 *          (handover.h), or of the process alone if there is none.
 * Must not: look into a file further than to tell what it is.
 */
#ifndef HV_ESTATE_H
#define HV_ESTATE_H

#include <stdbool.h>

#include "handover.h"
#include "keep.h"
#include "tmem.h"

struct estate {
	int arena, state;	/* descriptors */
	bool outlives;		/* there is a next process to leave it to */
	bool found;		/* the arena is one to be rebuilt from */
	struct keep *keep;
	struct handover *handover;	/* NULL: no keeper */
	const char *name;	/* of the arena, for the log */
};

/*
 * Open both, or make them.  arena_file: "" for memory; it must live as long as e.
 * -EPROTO: there is something that this version cannot read, left as it is; said.
 * -EBUSY: another process uses it; said.  Else what the system said.
 */
int  estate_open(struct estate *e, const char *arena_file);
void estate_close(struct estate *e);

/* Take fd for this process alone, or say why not and return -errno. */
int  estate_lock(int fd, const char *path);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * door.h - a listening socket for VMMs, and who comes in by it.
 *
 * Owns:    the socket file: made anew over one that nobody listens on, of mode
 *          0660, removed at the end.
 * How:     whose the file is is set before anybody can connect.  Whoever connects
 *          is accepted at once and handed on.
 *          With a keeper the socket outlives the process, so that whoever comes
 *          meanwhile waits.
 * Must not: know who may come in.
 */
#ifndef HV_DOOR_H
#define HV_DOOR_H

#include <sys/types.h>
#include <sys/un.h>

#include "handover.h"
#include "loop.h"

struct door {
	struct handover *handover;	/* NULL: nobody keeps the socket */
	uint64_t *kept;			/* its number there, in the guest's record */
	const char *name;		/* the guest's, for the log */
	/* Somebody came: socket is non-blocking and the callee's to close. */
	void (*visit)(void *arg, int socket);
	void *arg;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listener;
	struct loop_source *source;
};

/*
 * Listen on path; name, visit and arg are set, the rest is 0 or a keeper's.
 * group: 0 for the file's own.
 * Errors: -ENAMETOOLONG; -EADDRINUSE somebody else listens there, or it is no
 * socket; or what bind said.
 */
int  door_open(struct door *d, struct loop *l, const char *path, gid_t group);
void door_close(struct door *d);

/* Leave the socket to a successor. */
void door_leave(struct door *d);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.h - the control socket: one line in, one line out.
 *
 * Owns:    the listening socket, its connections, their buffers and bounds.
 * Must not: know what a line means (verbs.h does), or wait for anyone.
 */
#ifndef HV_CONTROL_H
#define HV_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "loop.h"

#define CONTROL_LINE_MAX	65536	/* bytes of a request with its newline */
#define CONTROL_CONNECTIONS	64	/* one more, and the one silent longest is closed */

struct control;

/*
 * Who asks: whom the kernel names at the other end of a connection (SO_PEERCRED),
 * or for the dashboard whom it named when the session's token was asked for.
 */
struct control_peer {
	pid_t pid;
	uid_t uid;
	bool dashboard;
	bool reader;		/* may look, whatever the uid may */
};

/*
 * Answer one line (length bytes, no newline in it): text from malloc without a
 * newline in it, or NULL if there is no memory for one.
 */
typedef char *control_fn(void *arg, const struct control_peer *peer, const char *line,
			 size_t length);

#define CONTROL_OWN_GROUP	((gid_t)-1)

/*
 * Listen on path, mode 0660, of this group; a socket left there by a daemon that
 * died is replaced.  Errors: what socket, bind, chown, listen said; -ENOMEM.
 */
int control_create(struct control **out, struct loop *l, const char *path, gid_t group,
		   control_fn *fn, void *arg);

/* Close every connection, remove the socket. */
void control_destroy(struct control *c);

#endif

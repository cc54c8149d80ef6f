/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_inbox.h - vhost-user messages out of a socket, whole ones.
 *
 * Owns:    the message being taken in, its descriptors.
 * How:     as much as is there is taken, header first: whoever knows the messages
 *          is asked whether the rest may follow.
 *          Where there may be a successor (told is not NULL) a message is only
 *          looked at, and stays in the socket until it has been carried out and
 *          answered: then it is consumed.  How far was looked is the socket's own
 *          peek offset, which outlives us as the socket does, and goes down as bytes
 *          are consumed.
 * Must not: wait, or know what messages mean beyond their descriptors.
 */
#ifndef HV_VHOST_INBOX_H
#define HV_VHOST_INBOX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost_user.h"

struct vhost_message {
	struct vhost_user_header h;
	union vhost_user_payload p;
	int fd[VHOST_USER_MAX_FDS];	/* -1: taken by whoever handles it */
	unsigned fds;
};

struct vhost_inbox {
	int socket;
	/* 0, or -errno with *why: what the header says must not follow. */
	int (*header_check)(void *arg, const char **why);
	void *arg;
	_Atomic uint32_t *told;		/* keep.h's; NULL: messages do not stay */
	struct vhost_message m;
	size_t got;			/* bytes of it: header, then payload */
};

/* Begin with what the socket has; all but m and got are set.  -errno. */
int  vhost_inbox_open(struct vhost_inbox *b);

/*
 * The same for a predecessor that was killed.  What it had told of as carried out is
 * consumed, unless it had been.  -errno, -ECONNRESET.
 */
int  vhost_inbox_resume(struct vhost_inbox *b);

/* Close the descriptors that nobody took. */
void vhost_inbox_close(struct vhost_inbox *b);

/*
 * Take in more of the message: 1 if it is whole, 0 if the rest is not there yet,
 * -errno with *why set; -ECONNRESET: the peer closed.
 */
int  vhost_inbox_take(struct vhost_inbox *b, const char **why);

/* Done with it.  0, or -ECONNRESET. */
int  vhost_inbox_consume(struct vhost_inbox *b, const char **why);

#endif

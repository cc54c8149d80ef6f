/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sent.h - descriptors that come over a socket, let go of without waiting.
 *
 * Owns:    nothing.
 * How:     the last close of a network socket with SO_LINGER waits for its other
 *          end, for as long as the sender has set, and so does the end of one that
 *          was sent here and never looked at.  So all that comes is received, asked
 *          not to linger, and closed.
 * Must not: be thought to help against a file whose file system answers late: what
 *          can connect must not be able to mount.
 */
#ifndef HV_SENT_H
#define HV_SENT_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The close of fd, which somebody sent, waits for nobody. */
void sent_disarm(int fd);

/* fn, whose they are then, for each descriptor that was received with msg; disarmed. */
void sent_each(struct msghdr *msg, void (*fn)(void *arg, int fd), void *arg);

/*
 * Have the kernel refuse descriptors to who sends them over a local socket, or over what
 * is accepted of it: where others than us read.  Linux before 6.16 does not know how.
 */
void sent_refuse(int socket);

/* recv(2) without waiting; what comes beside the bytes is let go of. */
ssize_t sent_recv(int socket, void *to, size_t len);

/*
 * Close fd, which somebody sent, and what was sent over it and not received.  Others
 * may have it still.
 */
void sent_drop(int fd);

/* End a connection, for all who have it, and do the same. */
void sent_close(int socket);

#endif

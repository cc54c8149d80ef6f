/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer.h - which process is at the other end of a socket.
 *
 * Owns:    the way from a connected socket to a process's number and a pidfd.
 * Must not: keep anything.
 */
#ifndef HV_PEER_H
#define HV_PEER_H

#include <stdbool.h>
#include <sys/types.h>

struct peer {
	pid_t pid;	/* 0: not known here */
	int pidfd;	/* the caller's to close; -1: none */
};

struct peer peer_of(int socket);

/* The process of a pidfd is no more. */
bool peer_has_exited(int pidfd);

/* The peer has closed its end, seen or not. */
bool peer_is_over(int socket);

#endif

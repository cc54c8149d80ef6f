/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * drain.h - have a guest take its pages back, and wait until it did or could not.
 */
#ifndef TMEMCTL_DRAIN_H
#define TMEMCTL_DRAIN_H

#include <stdint.h>

/*
 * An exit code; what failed has been said.  With EXIT_OK state is "done", or the
 * guest goes on with `left` pages that it has no room for.
 */
int drain_guest(const char *socket, const char *guest, char state[16], uint64_t *left);

#endif

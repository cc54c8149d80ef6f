/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.h - descriptors that outlive the process, in the hands of a keeper.
 *
 * Owns:    the client's side of the service manager's descriptor store: systemd
 *          or tmem-keeper, which speaks the same.
 * How:     a descriptor is sent away under a name that is never used again, and
 *          the number in that name is what the state file (keep.h) has of it.
 *          What comes back at the start and nobody asks for by the end of it, no
 *          record knows: it was on its way when the process died, and is let go.
 *          A record names a descriptor only after it was sent, and stops naming
 *          it before it is let go; so it never names one that is not there.
 * Must not: be asked what became of a descriptor: a keeper does not answer.
 *
 * A NULL handover is one without a keeper: it keeps nothing and has nothing.  All
 * functions run on the loop's thread.
 */
#ifndef HV_HANDOVER_H
#define HV_HANDOVER_H

#include <stdint.h>

#include "keep.h"

struct handover;

/*
 * Find the keeper, and what it has of us, in the environment.  *out is NULL if there
 * is none.  -errno.
 */
int  handover_open(struct handover **out);
void handover_close(struct handover *h);

/* Numbers are the state's; it is opened after what has names. */
void handover_number_by(struct handover *h, struct keep *k);

/* A descriptor known by name alone: -1 if there is none, else the caller's. */
int  handover_take_named(struct handover *h, const char *name);
void handover_keep_named(struct handover *h, const char *name, int fd);

/* Have a duplicate of fd kept; its number, 0 if nobody keeps it. */
uint64_t handover_keep(struct handover *h, int fd);

/* The descriptor of that number, the caller's from now on; -1: there is none. */
int  handover_take(struct handover *h, uint64_t number);

/* Have it kept no longer.  0 is none. */
void handover_drop(struct handover *h, uint64_t number);

/* All that has records has taken: let go of the rest. */
void handover_settle(struct handover *h);

#endif

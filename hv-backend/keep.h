/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keep.h - the state file: what the next process must know to go on for us.
 *
 * Owns:    the file's format, and a record for each guest in it.
 * How:     the file is mapped, and the records are the very memory that the
 *          session and the guest's life use: nothing is saved, so nothing can be
 *          forgotten.  A process killed at any instruction leaves in it what its
 *          stores, in program order, have made of it; so every record says below
 *          which store makes it count.
 *          It lives as long as the arena does: a memory file or, where the arena
 *          has a path, a file beside it.
 * Must not: be believed when it comes from another version or another boot.
 *          Which process a number of an earlier boot meant, nobody knows.
 *
 * Locking: a guest's record belongs to whoever owns the guest's part it describes;
 * keep_*() run on the loop's thread.
 */
#ifndef HV_KEEP_H
#define HV_KEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tmem.h"

#define KEEP_VERSION	1u
#define KEEP_GUESTS_MAX	1024u

/*
 * A guest's session (session.h, which has the locking).
 *
 *   epoch == 0  implies  no boot is known, whatever nonce says
 *
 * A boot begins by epoch = 0, nonce, epoch, in this order.
 */
struct keep_session {
	_Atomic uint64_t nonce, epoch;
	_Atomic uint64_t pending;	/* TMEMP_EVENT_* not told yet */
	_Atomic uint64_t drain_left;
	_Atomic uint64_t parked;	/* where the parked EVENT's response goes, guest address */
	_Atomic uint32_t drain_result;
	_Atomic uint32_t open;		/* HELLO done on this connection */
	_Atomic uint32_t driver_version, kernel_version;
};

/* A VMM process.  pid is stored last, and cleared first; 0: none known. */
struct keep_vmm {
	_Atomic int32_t pid;
	uint32_t reserved;
	uint64_t start;			/* when it was started, as /proc has it; 0: not known */
};

#define KEEP_QUEUES_MAX	16u

/* A ring's word (ring.h). */
struct keep_ring {
	_Alignas(64) _Atomic uint64_t word;
};

/* used is stored last, and cleared first. */
struct keep_guest {
	_Atomic uint32_t used;
	uint32_t reserved;
	char name[TMEM_NAME_MAX];
	struct keep_vmm vmm;
	struct keep_session session;
	struct keep_ring ring[KEEP_QUEUES_MAX];
};

struct keep;

/*
 * Map the state in fd, which stays the caller's; an empty file becomes a new one.
 * file is what the log calls it.
 * Errors: -EPROTO not a state, or of another version: said, and left untouched.
 */
int  keep_open(struct keep **out, int fd, const char *file);
void keep_close(struct keep *k);

/* The record of that name; *found says whether it was there before. -ENOSPC. */
int  keep_guest_get(struct keep *k, const char *name, struct keep_guest **out, bool *found);

/* The guest is gone for good, and its record with it. */
void keep_guest_drop(struct keep_guest *g);

/* All guests there are have asked for their records: the others go. */
void keep_settle(struct keep *k);

void keep_vmm_note(struct keep_vmm *v, pid_t pid);
void keep_vmm_clear(struct keep_vmm *v);

/* A pidfd of the VMM noted, if that very process still runs; else -ESRCH. */
int  keep_vmm_find(const struct keep *k, const struct keep_vmm *v);

#endif

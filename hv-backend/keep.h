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
#include "tmemp_ivshmem.h"

#define KEEP_VERSION	3u
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
	uint64_t pidfd;			/* kept (handover.h); 0: not */
};

#define KEEP_QUEUES_MAX	16u

/* A ring's word (ring.h). */
struct keep_ring {
	_Alignas(64) _Atomic uint64_t word;
};

/*
 * What a VMM has said on a vhost-user connection.  Descriptors are numbers
 * (handover.h), 0 where there is none; addresses are the VMM's but for guest.
 */
struct keep_region {
	uint64_t guest, size, user, offset;
	uint64_t fd;
};

struct keep_vhost_ring {
	uint64_t desc, avail, used;
	uint64_t kick, call;
	uint32_t num;			/* 0: not said */
	uint16_t base;			/* next request when not running */
	uint8_t  placed;		/* addresses said */
	uint8_t  kicked;		/* SET_VRING_KICK came, with a descriptor or not */
	uint8_t  enabled, running;
	uint8_t  reserved[6];
};

#define KEEP_REGIONS_MAX	32u

struct keep_vhost {
	uint64_t features, protocol_features;	/* as accepted */
	uint64_t backend_req;
	uint32_t regions, reserved;
	struct keep_region region[KEEP_REGIONS_MAX];
	struct keep_vhost_ring ring[KEEP_QUEUES_MAX];
};

#define KEEP_VECTORS_MAX	(KEEP_QUEUES_MAX + 1u)

/* An ivshmem region and the guest's wish that is carried out; 0: no rings run. */
struct keep_ivshmem {
	struct tmemp_ivshmem_header layout;
	uint64_t size, used;		/* bytes: the file, what of it means something */
	uint64_t features;		/* of the rings that run */
	uint64_t memory;
	uint64_t to_host[KEEP_VECTORS_MAX], to_guest[KEEP_VECTORS_MAX];
	uint32_t vectors;
	uint32_t attached;
};

/*
 * A connection.  What was said on it stands in one of two copies: the other is
 * written, then chosen by one store.
 *
 *   socket != 0  implies  copy[current] is whole, and its sum right
 *   told	  the message being looked at (not consumed yet) has been carried out,
 *		  and its answer sent or about to be
 */
struct keep_conn {
	_Atomic uint64_t socket;
	_Atomic uint32_t told;
	_Atomic uint32_t current;
	uint32_t transport, queues;
	struct {
		uint64_t sum;
		union {
			struct keep_vhost vhost;
			struct keep_ivshmem ivshmem;
		};
	} copy[2];
};

/* A guest's disk.  life is stored last, and cleared first; 0: it holds nothing. */
struct keep_disk {
	struct keep_vmm vmm;
	uint64_t blocks;		/* it has, of 4 KiB */
	_Atomic uint64_t life;		/* drawn whenever it begins empty */
	struct keep_ring ring[KEEP_QUEUES_MAX];	/* their strikes alone outlive a connection */
};

/* used is stored last, and cleared first. */
struct keep_guest {
	_Atomic uint32_t used;
	uint32_t reserved;
	char name[TMEM_NAME_MAX];
	struct keep_vmm vmm;
	struct keep_session session;
	struct keep_disk disk;
	struct keep_ring ring[KEEP_QUEUES_MAX];
	uint64_t listener;		/* the socket it listens on, kept */
	struct keep_conn conn;
};

struct keep;

/*
 * Map the state in fd, which stays the caller's; an empty file becomes a new one.
 * file is what the log calls it.
 * Errors: -EPROTO not a state, or of another version: said, and left untouched;
 * -ENOSPC no room for all of it, said.
 */
int  keep_open(struct keep **out, int fd, const char *file);
void keep_close(struct keep *k);

/* The record of that name; *found says whether it was there before. -ENOSPC. */
int  keep_guest_get(struct keep *k, const char *name, struct keep_guest **out, bool *found);

/* The guest is gone for good, and its record with it. */
void keep_guest_drop(struct keep_guest *g);

/* All guests there are have asked for their records: the others go. */
void keep_settle(struct keep *k);

/* A number never given before, not 0. */
uint64_t keep_number(struct keep *k);

/* What was said, size bytes, in place of what stands there; and back, false if it is damaged. */
void keep_said_write(struct keep_conn *c, const void *said, size_t size);
bool keep_said_read(const struct keep_conn *c, void *said, size_t size);

/* pidfd: its number, or 0. */
void keep_vmm_note(struct keep_vmm *v, pid_t pid, uint64_t pidfd);
void keep_vmm_clear(struct keep_vmm *v);

/* A pidfd of the VMM noted, if that very process still runs; else -ESRCH. */
int  keep_vmm_find(const struct keep *k, const struct keep_vmm *v);

#endif

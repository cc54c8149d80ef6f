/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.h - a guest's disk in host memory: vhost-user-blk, needing no driver of ours.
 *
 * Owns:    its threads, its socket and who is connected there, and how long what it
 *          holds lives.
 * How:     a disk may have to wait for its spill file, and nobody is to wait with
 *          it.  So it has threads of its own: workers for its rings, and one that
 *          runs a loop for its socket and brings spilled blocks back to memory.
 *          What it holds lives as long as the VMM process does, or with keep until
 *          the guest is removed; a stamp drawn at the begin of each life goes into
 *          the in-flight region that the VMM keeps.  A VMM that comes back with
 *          another stamp has lost what was there: what is nowhere is then an
 *          error, not zeroes, until its driver begins anew.
 * Must not: end for anything that a VMM or a driver does, or be waited for by the
 *          control thread but when it is removed.
 *
 * disk_create(), disk_destroy() and disk_info() are the control thread's.
 */
#ifndef HV_DISK_H
#define HV_DISK_H

#include "hv.h"
#include "keep.h"

struct disk;

/* What a disk needs beside its configuration; all of it outlives the disk. */
struct disk_env {
	const char *name;		/* of the guest */
	struct tmem *core;
	struct tmem_client *client;
	struct keep *keep;
	struct keep_disk *kept;		/* zeroes, or what the process before us left */
	unsigned poll_us;
	gid_t socket_group;
};

/*
 * Listen.  What kept and the arena say it holds is taken up if its size is the
 * same, unless the VMM it was for has exited.
 * Errors: as door_open() and spill_open(), said with the reason.
 */
int  disk_create(struct disk **out, const struct disk_env *env, const struct hv_disk_config *c);

/* Disconnect it and stop its threads.  leave: what it holds stays for the next process. */
void disk_destroy(struct disk *d, bool leave);

/* The strings live as long as the disk. */
void disk_info(struct disk *d, struct hv_disk_info *info);

#endif

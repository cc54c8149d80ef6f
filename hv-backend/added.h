/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * added.h - guests that come and go while the daemon runs.
 *
 * Owns:    who may take a name that is there already, and RUN_DIR/guests.conf, in
 *          which a daemon that starts again finds the guests it had.
 * How:     a guest's socket is RUN_DIR/NAME.sock.  A guest added for a domain (a
 *          virtual machine's UUID) is that domain's alone: asked for again by it,
 *          the guest only has its quota changed; asked for by another, it is made
 *          anew, and only if no VMM is there.
 *          The file has the syntax of tmemd.conf.  It lives in the run directory,
 *          since what it is about is as old as the machine's boot at most.
 * Must not: touch a guest of the configuration but for its quota.
 */
#ifndef HV_ADDED_H
#define HV_ADDED_H

#include <jansson.h>
#include <stdbool.h>

#include "config.h"
#include "hv.h"

struct added_host {
	struct hv *hv;
	const char *run_dir, *spill_dir;
	uint64_t arena;		/* bytes that all mins may add up to */
};

struct added_wish {
	const char *name;
	const char *domain;	/* NULL: for any VMM; the name must be free then */
	enum hv_transport transport;
	uint64_t region;	/* 0: default */
	uint64_t disk_size;	/* 0: whatever it has */
	json_t *values;		/* of the quota, as of quota_change.h; what is absent has its
				   default; NULL: a guest that is there keeps its own */
	json_t *shared_pools;	/* UUIDs as text, these and no others; NULL: as it is */
};

/* Add the guest, or have it be so.  -EINVAL, or what hv_guest_add() said; why in e. */
int added_admit(const struct added_host *h, const struct added_wish *w, struct config_error *e);

/* Remove a guest that was added.  -EBUSY: a VMM is there, and it is not by force. */
int added_remove(const struct added_host *h, const char *name, bool force,
		 struct config_error *e);

/* At start: the guests of the file that are not there.  What will not do is logged. */
void added_load(const struct added_host *h);

/* A transport by its name in the configuration.  -EINVAL. */
int added_transport(const char *name, enum hv_transport *transport);

/* 32 hexadecimal digits, with '-' anywhere between them. */
bool added_uuid_read(const char *text, uint8_t uuid[16]);

#endif

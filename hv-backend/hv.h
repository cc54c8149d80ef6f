/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv.h - the data plane as the rest of the daemon sees it: guests that have a
 * socket each, workers that drain their rings into the core.
 *
 * The control plane (configuration, control socket) includes this and tmem.h
 * and nothing else of the data plane.  All functions run on the loop's thread.
 */
#ifndef HV_HV_H
#define HV_HV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "handover.h"
#include "keep.h"
#include "latency.h"
#include "loop.h"
#include "tmem.h"

struct hv;

struct hv_config {
	unsigned workers;	/* worker threads, 1 to 64 */
	unsigned queues;	/* queues offered to each guest, 1 to 16 */
	unsigned poll_us;	/* longest spin of a worker before it sleeps; 0: never spin */
	struct keep *keep;	/* what guests find of themselves, and leave */
	struct handover *handover;	/* who keeps their descriptors; NULL: nobody */
	gid_t    guest_group;	/* owns the guests' sockets; 0: whatever they are made with */
};

int  hv_create(struct hv **out, struct loop *l, struct tmem *core, const struct hv_config *c);

/* Close every guest, drop its pages, stop the workers. */
void hv_destroy(struct hv *h);

/* The same, but pages and clients stay for the next process. */
void hv_leave(struct hv *h);

/*
 * All guests have been added: those that a predecessor served go on, and what it
 * had of guests that nobody asked for any more is dropped with their pages.
 */
void hv_settle(struct hv *h);

enum hv_transport { HV_VHOST_USER, HV_IVSHMEM };

#define HV_DOMAIN_MAX	37u	/* a UUID in text, with its NUL */

/* A disk of the guest's in host memory, which needs no driver of ours. */
struct hv_disk_config {
	uint64_t size;			/* bytes, a multiple of 4096; 0: no disk */
	const char *socket;		/* path of the socket to listen on */
	const char *spill;		/* file for what memory does not take; NULL, "": none */
	unsigned block;			/* bytes, what its driver is told: 512 or 4096 */
	bool keep;			/* what it holds outlives the VMM process */
};

struct hv_guest_config {
	const char *name;		/* also the client's name in the core */
	const char *socket;		/* path of the socket to listen on */
	enum hv_transport transport;
	uint64_t region;		/* bytes of the shared region; 0: default; HV_IVSHMEM only */
	struct tmem_quota quota;
	const char *domain;		/* UUID of the virtual machine it is for; NULL: any */
	bool added;			/* at run time, by no configuration */
	struct hv_disk_config disk;
};

/* -EEXIST: name in use; or what bind said.  The socket file is made mode 0660. */
int  hv_guest_add(struct hv *h, const struct hv_guest_config *g);

/* Disconnect it, drop its pages, remove its socket.  -ENOENT. */
int  hv_guest_remove(struct hv *h, const char *name);

/*
 * Ask the guest's driver to take back all its pages and offer none; or, with drain
 * false, to go on.  How it fared is in hv_guest_info.  -ENOENT; -ENOTCONN: no
 * driver is there to hear it.
 */
int  hv_guest_drain(struct hv *h, const char *name, bool drain);

enum hv_drain {
	HV_DRAIN_NONE,		/* none asked for, or no answer yet */
	HV_DRAIN_DONE,		/* the guest needs nothing from us */
	HV_DRAIN_NO_ROOM,	/* its own disk could not take them all; it goes on */
};

enum hv_guest_state {
	HV_GUEST_LISTENING,	/* nobody connected */
	HV_GUEST_CONNECTED,	/* a VMM is there, no driver has said HELLO */
	HV_GUEST_READY,		/* HELLO done */
	HV_GUEST_DEPARTED,	/* connection gone, VMM process alive: persistent pages kept */
};

struct hv_disk_info {
	struct hv_disk_config config;	/* size 0: the guest has none */
	bool connected;
	pid_t vmm_pid;			/* 0: none */
	uint64_t blocks_memory, blocks_spilled;		/* of 4096 bytes, now */
	uint64_t reads, writes, flushes, discards, errors;	/* requests */
	uint64_t refused;		/* writes of a block that memory did not take */
	uint64_t moved_back;		/* blocks that came from the spill to memory */
	uint64_t spill_reads, spill_writes, spill_errors;	/* of blocks */
	uint64_t connections, failures;
	char last_failure[128];
};

struct hv_guest_info {
	const char *name, *socket;
	const char *domain;		/* "": any */
	bool     added;			/* at run time, by no configuration */
	enum hv_transport transport;
	uint64_t region;		/* as it was asked for */
	enum hv_guest_state state;
	pid_t    vmm_pid;		/* 0: none */
	uint32_t driver_version;	/* from HELLO: major << 16 | minor << 8 | patch; 0 before */
	uint32_t kernel_version;	/* from HELLO: LINUX_VERSION_CODE; 0 unknown */
	unsigned queues;		/* running */
	enum hv_drain drain;
	uint64_t drain_left;		/* pages the guest still needs from us */
	uint64_t requests, kicks, interrupts;	/* since the guest was added */
	uint64_t bad_requests;		/* answered with a TMEMP_BAD_* status */
	uint64_t connections, failures;	/* failures: connections closed for cause */
	char     last_failure[128];	/* reason of the newest, "" if none */
	struct tmem_client *client;	/* NULL while there is none */
	struct hv_disk_info disk;
};

/* Info is valid during fn only; stops at the first non-zero result. */
int  hv_guest_each(struct hv *h, int (*fn)(const struct hv_guest_info *info, void *arg), void *arg);

struct hv_info {
	unsigned workers, queues;
	uint64_t worker_spin_ns, worker_busy_ns;	/* all workers, since start */
	struct latency_reading latency;			/* likewise */
};
void hv_info(struct hv *h, struct hv_info *info);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * procfs.h - the kernel's texts about memory, as pure functions.
 *
 * Owns:    what the files say; a text ends with a NUL and may be cut anywhere.
 * Must not: open a file (sensors.h does).
 */
#ifndef HV_PROCFS_H
#define HV_PROCFS_H

#include <stdint.h>

#include "pressure_policy.h"

/* /proc/meminfo.  -EPROTO: MemTotal or MemAvailable is not there or no number. */
int procfs_meminfo_parse(const char *text, uint64_t *total, uint64_t *available);

/* A pressure file.  -EPROTO; a missing "full" line is zeros. */
int procfs_psi_parse(const char *text, struct policy_psi *psi);

/* A limit: bytes, "max", or v1's number above any memory.  -EPROTO. */
int procfs_limit_parse(const char *text, uint64_t *bytes);

/* The number behind key in lines of "key number".  -ENOENT, -EPROTO. */
int procfs_stat_parse(const char *text, const char *key, uint64_t *value);

#define PROCFS_PATH_MAX 1024

/* root_length <= strlen(dir); dir[0..root_length) is the mount point. */
struct procfs_cgroup {
	int  version;			/* 1 or 2 */
	char dir[PROCFS_PATH_MAX];	/* the cgroup that the process is in */
	unsigned root_length;
};

/*
 * Where the memory controller of a process has its files, from the texts of
 * /proc/self/cgroup and /proc/self/mountinfo.  -ENOENT: nowhere.
 */
int procfs_cgroup_find(const char *cgroup, const char *mountinfo, struct procfs_cgroup *out);

#endif

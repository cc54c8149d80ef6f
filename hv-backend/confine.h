/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.h - what the running daemon may still do to the host.
 *
 * Owns:    the daemon's identity, its Landlock domain, its seccomp filter.
 * How:     three stages, each irreversible, each taken as soon as the start no
 *          longer needs what it gives up:
 *
 *            confine_identity   user, groups and capabilities, no new privileges;
 *                               after what only root can open (pressure triggers)
 *            confine_files      files and TCP ports by Landlock; before the first
 *                               thread, since it binds the caller and its children
 *            confine_calls      system calls by seccomp, all threads at once;
 *                               once the last socket that is not a unix one is bound
 *
 *          A thread created later inherits all three.
 * Must not: be undone or widened; what a configuration read again asks for
 *          beyond it fails with the error the kernel gives.
 */
#ifndef HV_CONFINE_H
#define HV_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum confine_mode {
	CONFINE_OFF,	/* none of it: for debuggers */
	CONFINE_LOG,	/* as on, but a forbidden system call is logged by the kernel and made */
	CONFINE_ON,	/* a forbidden system call ends the daemon */
};

/* What a path is used for after the start; each takes in all that lies beneath. */
enum confine_use {
	CONFINE_READ,		/* files are read, directories listed */
	CONFINE_SOCKETS,	/* sockets are made and removed, directories listed */
	CONFINE_FILES,		/* files are made, written, cut, renamed within, removed */
	CONFINE_REMOVED,	/* an empty directory in it is removed */
};

/*
 * A Landlock domain being put together.
 *
 *   abi = 0  <=>  ruleset = -1  <=>  the kernel has no Landlock
 */
struct confine_files {
	int ruleset, abi;
	uint64_t handled;	/* what can be taken away from files */
	int err;		/* the first */
};

/*
 * Become `user` with that user's groups ("": stay who we are) and keep of all
 * capabilities only those the daemon uses: CAP_IPC_LOCK if lock_memory, and as
 * root those that make root's files usable.  Nothing executed later gains any.
 *
 * -ENOENT: no such user; -EPERM: not root and another user.
 */
int confine_identity(const char *user, bool lock_memory);

/* -ENOENT: no such user. */
int confine_user_ids(const char *user, unsigned *uid, unsigned *gid);

/*
 * Leave the calling thread and all it creates the paths that are allowed between
 * begin and end and, for TCP, binding to tcp_port (0: none); no signal to, no
 * abstract socket of and no ptrace of anything outside.  What the kernel's
 * Landlock does not know yet is left as it is.  A path that does not exist is
 * passed over.  confine_files_beside allows the directory that a file lies in.
 *
 * confine_files_end puts it in force: the version of Landlock, 0 for none, or
 * the first error of all.
 */
void confine_files_begin(struct confine_files *f, uint16_t tcp_port);
void confine_files_allow(struct confine_files *f, const char *path, enum confine_use use);
void confine_files_beside(struct confine_files *f, const char *file, enum confine_use use);
int confine_files_end(struct confine_files *f);

/*
 * Leave all threads the system calls that the sources name in their "#syscalls"
 * lines, without those that make memory executable or create a process.
 *
 * The number of system calls left, or -errno.  -ENOTSUP: built with a sanitizer,
 * whose own calls nobody lists; nothing is changed.
 */
int confine_calls(enum confine_mode mode);

#endif

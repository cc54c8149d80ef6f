/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.h - a tmemd of one's own, for tests and benchmarks.
 *
 * Owns:    the child process, its run directory, what it says on stderr.
 * How:     everything lives in a fresh directory: NAME.sock for each guest,
 *          control.sock, and the log as a file.  The child dies with its parent.
 * Must not: know more of the daemon than its command line.
 */
#ifndef FRONT_DAEMON_H
#define FRONT_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#define DAEMON_PATH_MAX	104	/* bytes; a socket's path is no longer */

struct daemon {
	pid_t pid;		/* the child: the program, or its keeper; 0: ended and waited for */
	char dir[DAEMON_PATH_MAX / 2];
	const char *keeper;	/* run the program by this one; NULL: directly */
};

/*
 * Run `program --run-dir DIR args...`; args ends with NULL, d is zero but for keeper.  Returns once the
 * control socket is there: 0, -ETIMEDOUT, -ECHILD if the program ended, -errno.
 */
int daemon_start(struct daemon *d, const char *program, const char *const args[]);

/* SIGKILL and wait; the directory stays. */
void daemon_kill(struct daemon *d);

/* The process that a keeper runs; 0 if there is none just now. */
pid_t daemon_kept(const struct daemon *d);

/* Run again in the directory of one that was killed or has ended. */
int daemon_again(struct daemon *d, const char *program, const char *const args[]);

/* SIGTERM and wait; the directory stays.  The exit status, as daemon_stop(). */
int daemon_end(struct daemon *d);

/* SIGTERM, wait, remove the directory.  The exit status, 128 + signal if killed. */
int daemon_stop(struct daemon *d);

/* True as long as the process runs. */
bool daemon_alive(struct daemon *d);

/* The path of a file in the run directory, in buf; returns buf. */
char *daemon_path(const struct daemon *d, const char *name, char buf[DAEMON_PATH_MAX]);

/* Everything logged so far; to be freed. NULL without memory. */
char *daemon_log(const struct daemon *d);

/*
 * Lines of the log that hold both strings, waiting up to timeout_ms for the
 * first one.
 */
unsigned daemon_log_count(const struct daemon *d, const char *a, const char *b, int timeout_ms);

/* CPU time the process has used, in clock ticks (user and system); -errno. */
long daemon_cpu_ticks(const struct daemon *d);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * complain.h - how tmemctl fails: a line on stderr and an exit code.
 */
#ifndef TMEMCTL_COMPLAIN_H
#define TMEMCTL_COMPLAIN_H

/* The daemon's errors carry FAILED, USAGE, NO_GUEST or DENIED as their code. */
enum exit_code {
	EXIT_OK,
	EXIT_FAILED,
	EXIT_USAGE,
	EXIT_NO_DAEMON,
	EXIT_NO_GUEST,
	EXIT_DENIED,
	EXIT_PARTLY,
};

/* Print "PROGRAM: ..." and return code. */
int complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * complain.c - the one place where tmemctl writes to stderr.
 */
#include "complain.h"

#include <stdarg.h>
#include <stdio.h>

int complain(int code, const char *fmt, ...)
{
	va_list args;

	fputs("tmemctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs(code == EXIT_USAGE ? "\nTry 'tmemctl --help'.\n" : "\n", stderr);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * complain.c - the one place where tmemctl, and what is built with it, writes to stderr.
 */
#include "complain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int complain(int code, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	if (code == EXIT_USAGE)
		fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bad_day.h - run a daemon on a C library that has bad days (preload/bad_libc.h).
 *
 * Not where a sanitizer is built in: it has an allocator of its own (HOSTING_SLOW
 * is above 1 then).
 */
#ifndef BAD_DAY_H
#define BAD_DAY_H

#include "preload/bad_libc.h"

/* What is started from now on has it, and does what is written there.  NULL: none. */
struct bad_libc *bad_day_begin(void);

/* It is started: nothing else gets one. */
void bad_day_begun(void);

void bad_day_end(struct bad_libc *day);

#endif

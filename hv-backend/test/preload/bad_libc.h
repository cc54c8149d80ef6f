/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bad_libc.h - a C library and a disk that have bad days, to be preloaded into a daemon.
 *
 * The environment variable BAD_LIBC names a file that holds a struct bad_libc; a
 * test maps the same file and changes it while the daemon runs.
 */
#ifndef BAD_LIBC_H
#define BAD_LIBC_H

#include <stdint.h>

struct bad_libc {
	_Atomic uint32_t fail_every;	/* each that many-th allocation fails; 0: none */
	_Atomic uint32_t failed;	/* how many did */
	_Atomic int64_t clock_s;	/* added to the time of day, seconds */
	_Atomic uint32_t asked;		/* times of day that were shifted */
	_Atomic uint32_t hang;		/* inode number of a file that does not answer; 0: none */
	_Atomic uint32_t hung;		/* its reads and writes that wait until that changes */
};

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web_files.h - the dashboard's files, part of the program.
 *
 * How:     hv-backend/dashboard/embed makes the table when tmemd is built, from the
 *          folder it lies in; a build without the dashboard has an empty one.
 */
#ifndef HV_WEB_FILES_H
#define HV_WEB_FILES_H

#include <stddef.h>

struct web_file {
	const char *path, *type;
	const unsigned char *bytes;
	size_t size;
};

/* Ends with an entry whose path is NULL. */
extern const struct web_file web_files[];

#endif

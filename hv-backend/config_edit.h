/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config_edit.h - change options in tmemd.conf and nothing else of it.
 *
 * Owns:    how a configuration file is written.
 * Must not: lose a comment, or leave a file that would not be read again.
 */
#ifndef HV_CONFIG_EDIT_H
#define HV_CONFIG_EDIT_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* An option and its text; neither has a newline, a blank or a ';' in it. */
struct config_setting {
	char name[24], value[40];
};

/*
 * The file's text with these options of the guest (NULL: of [tmemd]) set: where they stand
 * in its section their values are exchanged, else they are added at its end; a section
 * that is not there is added.  From malloc; NULL without memory.
 */
char *config_edit(const char *text, const char *guest, const struct config_setting *settings,
		  size_t count);

/*
 * The same for several guests in a file, which is replaced at once or stays as it
 * is.  What would not be read again, or where mins add up to more than arena
 * bytes, is refused; with arena 0, what the daemon would not start with.  -EINVAL with
 * the reason in e, or what the file system said.
 */
int config_edit_file(const char *path, const char *const *guests, size_t guest_count,
		     const struct config_setting *settings, size_t count, uint64_t arena,
		     struct config_error *e);

#endif

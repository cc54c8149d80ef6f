/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - tmemd's command line over its configuration file.
 */
#ifndef HV_OPTIONS_H
#define HV_OPTIONS_H

#include "config.h"

enum options_wish { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/*
 * Read the file that argv names (or CONFIG_DEFAULT_FILE, if it is there), then
 * the flags over it, and finish the configuration.  c is initialised here and
 * freed by the caller, also after an error.  May be called again with the same
 * arguments, to see what changed in the file.
 * Errors: -EINVAL or what open said of the file, with the reason in e;
 * -ENOTSUP: the command line itself is not understood.
 */
int options_parse(int argc, char *const argv[], struct config *c, enum options_wish *wish,
		  struct config_error *e);

void options_help(void);

#endif

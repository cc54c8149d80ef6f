/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c - tmemd's command line over its configuration file.
 *
 * Owns:    --config, --guest, --help, --version; every option of [tmemd] is a
 *          flag of the same name by config.c's table.
 * How:     argv is read twice, first for --config alone: flags stand over the
 *          file wherever they stand on the line.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLAG_CONFIG = 256, FLAG_GUEST, FLAG_GUEST_IVSHMEM, FLAG_HELP, FLAG_VERSION, FLAG_OPTION };

#define FLAGS_MAX	64

static void flags_build(struct option flags[FLAGS_MAX])
{
	static const struct option own[] = {
		{ "config", required_argument, NULL, FLAG_CONFIG },
		{ "guest", required_argument, NULL, FLAG_GUEST },
		{ "guest-ivshmem", required_argument, NULL, FLAG_GUEST_IVSHMEM },
		{ "help", no_argument, NULL, FLAG_HELP },
		{ "version", no_argument, NULL, FLAG_VERSION },
	};
	size_t n = sizeof(own) / sizeof(own[0]);

	memset(flags, 0, FLAGS_MAX * sizeof(flags[0]));
	memcpy(flags, own, sizeof(own));
	for (const struct config_option *o = config_options; o->name && n < FLAGS_MAX - 1; o++)
		flags[n++] = (struct option){ o->name, required_argument, NULL, FLAG_OPTION };
}

/* First reading: what is wished and which file.  -ENOTSUP. */
static int wish_parse(int argc, char *const argv[], const struct option *flags, const char **file,
		      enum options_wish *wish)
{
	int flag;

	optind = 0;
	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag == '?')
			return -ENOTSUP;
		if (flag == FLAG_CONFIG)
			*file = optarg;
		else if (flag == FLAG_HELP)
			*wish = OPTIONS_HELP;
		else if (flag == FLAG_VERSION)
			*wish = OPTIONS_VERSION;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: \"%s\" is not an option\n", argv[0], argv[optind]);
		return -ENOTSUP;
	}
	return 0;
}

/* Second reading: flags over the file. */
static int flags_apply(int argc, char *const argv[], const struct option *flags, struct config *c,
		       struct config_error *e)
{
	int flag, index = 0, err = 0;

	optind = 0;
	while (!err && (flag = getopt_long(argc, argv, "", flags, &index)) != -1) {
		if (flag == FLAG_GUEST)
			err = config_guest_flag(c, optarg, HV_VHOST_USER, e);
		else if (flag == FLAG_GUEST_IVSHMEM)
			err = config_guest_flag(c, optarg, HV_IVSHMEM, e);
		else if (flag == FLAG_OPTION)
			err = config_set(c, flags[index].name, optarg, e);
	}
	return err;
}

int options_parse(int argc, char *const argv[], struct config *c, enum options_wish *wish,
		  struct config_error *e)
{
	struct option flags[FLAGS_MAX];
	const char *file = NULL;
	int err;

	config_init(c);
	flags_build(flags);
	*wish = OPTIONS_RUN;
	err = wish_parse(argc, argv, flags, &file, wish);
	if (err || *wish != OPTIONS_RUN)
		return err;
	if (!file && access(CONFIG_DEFAULT_FILE, F_OK) == 0)
		file = CONFIG_DEFAULT_FILE;
	if (file) {
		snprintf(c->file, sizeof(c->file), "%s", file);
		err = config_read(c, file, e);
	}
	if (!err)
		err = flags_apply(argc, argv, flags, c, e);
	return err ? err : config_finish(c, e);
}

void options_help(void)
{
	char flag[64];

	printf("Usage: tmemd [OPTION]...\n"
	       "Hold pages of virtual machines in compressed memory of this host.\n\n"
	       "  --config FILE              read this file (%s)\n"
	       "  --guest NAME[:SOCKET]      serve a guest; may be given several times\n"
	       "  --guest-ivshmem NAME[:SOCKET]\n"
	       "                             the same over ivshmem-doorbell\n",
	       CONFIG_DEFAULT_FILE);
	for (const struct config_option *o = config_options; o->name; o++) {
		snprintf(flag, sizeof(flag), "--%s %s", o->name, o->value);
		printf("  %-26s %s\n", flag, o->help);
	}
	printf("  --version                  print the version\n"
	       "  --help                     print this\n\n"
	       "SIZE is bytes, or has one of the suffixes K M G T (powers of 1024).\n"
	       "Flags stand over the file.  Exit status: 0 ended by a signal to end,\n"
	       "1 could not start or go on, 2 the command line is wrong.\n");
}

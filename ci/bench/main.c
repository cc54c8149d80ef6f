/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - tmem-bench: measures the parts of tmemd.
 *
 * Owns:    the command table.
 * How:     the first argument names a command, which reads the rest.
 * Must not: know what a command measures.
 */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
};

static const struct command commands[] = {
	{ "core", bench_core,
	  "[--corpus FILE] [--codec lzo|lz4|zstd] [--dedup] [--zbud-two] [--json]   core against codec" },
	{ "scale", bench_scale, "[--json]   more threads, pages, clients, memory" },
	{ "ring", bench_ring, "[--json]   cost of a page over the whole way to a daemon" },
	{ "load", bench_load,
	  "[--seconds N] [--pages N] [--pause-us N] [--seed N] [--hold] SOCKET   a guest at work" },
	{ NULL, NULL, NULL },
};

static void print_usage(FILE *to)
{
	fputs("usage: tmem-bench COMMAND [OPTION...]\n", to);
	for (const struct command *c = commands; c->name; c++)
		fprintf(to, "  %-6s %s\n", c->name, c->usage);
}

static int run(const struct command *c, int argc, char **argv)
{
	int rc = c->run(argc, argv);

	if (rc == BENCH_USAGE)
		fprintf(stderr, "usage: tmem-bench %s %s\n", c->name, c->usage);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_usage(stderr);
		return BENCH_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_usage(stdout);
		return BENCH_OK;
	}
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, argv[1]) == 0)
			return run(c, argc - 1, argv + 1);
	fprintf(stderr, "tmem-bench: no command \"%s\"\n", argv[1]);
	print_usage(stderr);
	return BENCH_USAGE;
}

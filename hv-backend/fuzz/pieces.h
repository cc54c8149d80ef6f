/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pieces.h - what targets are put together from: the input's bytes, a core, a
 * guest's memory.
 */
#ifndef FUZZ_PIECES_H
#define FUZZ_PIECES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "memmap.h"
#include "tmem.h"

/* Or end the target: what cannot fail has failed. */
static inline void fuzz_require(int holds)
{
	if (!holds)
		abort();
}

/* ---- input ---------------------------------------------------------------- */

struct fuzz_input {
	const uint8_t *at, *end;
};

/* The next byte, 0 behind the last. */
static inline unsigned fuzz_byte(struct fuzz_input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* The next two, the low one first. */
static inline unsigned fuzz_word(struct fuzz_input *in)
{
	unsigned low = fuzz_byte(in);

	return low | fuzz_byte(in) << 8;
}

/* ---- a host ----------------------------------------------------------------- */

/* A core with an arena of that many bytes; never destroyed. */
struct tmem *fuzz_core(uint64_t arena);

/* All of a target's host, zeroed, in cache lines of its own; never freed. */
void *fuzz_host_alloc(size_t size);

/* What a queue calls when its guest is at fault. */
void fuzz_ignore(void *arg);

/* The lowest descriptor that is free: the same before and after, or one leaked. */
int fuzz_lowest_fd(void);

/* ---- a guest's memory ---------------------------------------------------------- */

#define FUZZ_BYTES	65536u
#define FUZZ_USER	(1u << 20)	/* where its VMM has it */

struct fuzz_memory {
	int fd;
	uint8_t *mem;			/* FUZZ_BYTES, guest address 0 on */
};

void fuzz_memory_open(struct fuzz_memory *m);

/* For queue_set_memory(): nothing but that memory, a struct fuzz_memory. */
int fuzz_memory_map(struct memmap *map, void *arg);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * generation.h - how long a page that was put stays true.
 */
#ifndef TMEM_GENERATION_H
#define TMEM_GENERATION_H

#include <linux/atomic.h>

/*
 * A table of words, found by hash:
 *
 *   word     = generation << TMEM_GENERATION_MARKS | marks
 *   a mark is set          =>  a page whose hash has it may have been put in this generation
 *   none of a hash's marks =>  no page of that hash was put in this generation
 *   the generation only grows, and all marks are clear when it has grown
 *
 * 48 bits of generation outlast any machine.
 */
#define TMEM_GENERATION_MARKS	16u

struct tmem_generations {
	atomic64_t *words;		/* 1 << bits of them */
	unsigned int bits;
};

/* At least count words.  -ENOMEM. */
int  tmem_generations_init(struct tmem_generations *g, unsigned long count);
void tmem_generations_exit(struct tmem_generations *g);

/* Set the hash's mark and return its generation.  Any context. */
u64  tmem_generation_mark(struct tmem_generations *g, u64 hash);

/* Whether the hash's mark is set; then *generation is what it is in.  Any context. */
bool tmem_generation_marked(const struct tmem_generations *g, u64 hash, u64 *generation);

/*
 * End the generation of everything whose mark is the hash's.  False: nothing was put
 * since the last time, so nothing had to end.  What the caller did before is seen by
 * whoever still marks the old generation.  Any context.
 */
bool tmem_generation_end(struct tmem_generations *g, u64 hash);

/* End every generation. */
void tmem_generations_end_all(struct tmem_generations *g);

#endif

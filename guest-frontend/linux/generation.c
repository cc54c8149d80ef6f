// SPDX-License-Identifier: GPL-2.0
/*
 * generation.c - the guest's own memory of what the host's pages are still worth.
 *
 * Owns:     a table of generations of a fixed size.
 * How:      a put marks its word and takes its generation along as a tag; what
 *           invalidates a page ends the generation; a get is believed if the tag that
 *           comes back is of the present one.  All three are one atomic operation on
 *           memory of the guest: no ring, no host, no lock, no allocation.
 *           The marks tell pages apart that share a word.  Without them every write to
 *           a file would end the generation of unrelated pages in the host; with them
 *           one in sixteen does.  They also tell a get that there is nothing to ask for.
 *           Words shared by chance cost hits, never truth: ending too much is safe.
 * Must not: know what is put, or where.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "generation.h"

#define MARK_BITS	4u	/* of the hash, to choose one of TMEM_GENERATION_MARKS */

static_assert(1u << MARK_BITS == TMEM_GENERATION_MARKS, "a hash chooses any mark");

/* The hash's high bits choose the word, the next ones the mark. */
static atomic64_t *word_of(const struct tmem_generations *g, u64 hash)
{
	return &g->words[hash >> (64 - g->bits)];
}

static u64 mark_of(const struct tmem_generations *g, u64 hash)
{
	return 1ull << (hash >> (64 - g->bits - MARK_BITS) & (TMEM_GENERATION_MARKS - 1));
}

/* The next generation's word, with no mark set. */
static u64 word_next(u64 word)
{
	return ((word >> TMEM_GENERATION_MARKS) + 1) << TMEM_GENERATION_MARKS;
}

/*
 * A mark that is set already is only read, which spares the cache line.  A generation
 * that ends between this read and the put makes the put one that nobody will believe.
 */
u64 tmem_generation_mark(struct tmem_generations *g, u64 hash)
{
	u64 mark = mark_of(g, hash), word = atomic64_read(word_of(g, hash));

	if (!(word & mark))
		word = atomic64_fetch_or(mark, word_of(g, hash));
	return word >> TMEM_GENERATION_MARKS;
}

bool tmem_generation_marked(const struct tmem_generations *g, u64 hash, u64 *generation)
{
	u64 word = atomic64_read(word_of(g, hash));

	*generation = word >> TMEM_GENERATION_MARKS;
	return word & mark_of(g, hash);
}

/*
 * The barrier orders the caller's look at the page cache before this look at the mark;
 * a put marks before its page leaves the page cache.  So either the caller found the
 * page there and dealt with it, or the mark is seen here.
 */
bool tmem_generation_end(struct tmem_generations *g, u64 hash)
{
	s64 word;

	smp_mb();
	word = atomic64_read(word_of(g, hash));
	do {
		if (!(word & mark_of(g, hash)))
			return false;
	} while (!atomic64_try_cmpxchg(word_of(g, hash), &word, word_next(word)));
	return true;
}

void tmem_generations_end_all(struct tmem_generations *g)
{
	unsigned long i;

	for (i = 0; i < 1ul << g->bits; i++)
		atomic64_set(&g->words[i], word_next(atomic64_read(&g->words[i])));
}

int tmem_generations_init(struct tmem_generations *g, unsigned long count)
{
	g->bits = order_base_2(max(count, 2ul));
	g->words = vzalloc(sizeof(*g->words) << g->bits);
	return g->words ? 0 : -ENOMEM;
}

void tmem_generations_exit(struct tmem_generations *g)
{
	vfree(g->words);
	g->words = NULL;
}

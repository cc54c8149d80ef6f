/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ghost.c - keys that were lately taken out of an ephemeral store.
 *
 * Owns:    a small table of 16-bit marks, four to a word.
 * How:     an exclusive get takes the page out, so a page that is used again
 *          and again is put again and again: second chance never fires.  The
 *          mark left behind tells a page that comes back from one seen first.
 *          A word's four marks are a queue: adding shifts the oldest out.
 * Must not: matter for correctness.  A false match costs a place in the wrong
 *          segment; lack of memory costs the table.
 */
#include "ghost.h"

#define MARKS_PER_FRAME	8	/* two words for some fifteen pages */
#define WORDS_MIN	64

static uint64_t fingerprint(uint32_t mark)
{
	uint64_t f = mark >> 16;

	return f ? f : 1;
}

/* The word of a mark, or NULL.  Without the lock: an address to prefetch only. */
static uint64_t *word_of(const struct tmem_store *s, uint32_t mark)
{
	uint32_t words = atomic_load_explicit(&s->ghost_words, memory_order_relaxed);
	uint64_t *ghost = atomic_load_explicit(&s->ghost, memory_order_relaxed);

	return mark && words && ghost ? &ghost[mark & (words - 1)] : NULL;
}

void tmem_ghost_prefetch(const struct tmem_store *s, uint32_t mark)
{
	__builtin_prefetch(word_of(s, mark));
}

void tmem_ghost_add_locked(struct tmem_store *s, uint32_t mark)
{
	uint64_t *w = word_of(s, mark);

	if (w)
		*w = *w << 16 | fingerprint(mark);
}

bool tmem_ghost_has_locked(const struct tmem_store *s, uint32_t mark)
{
	uint64_t *at = word_of(s, mark), f = fingerprint(mark), w;

	if (!at)
		return false;
	w = *at;
	return (w & 0xffff) == f || (w >> 16 & 0xffff) == f || (w >> 32 & 0xffff) == f || w >> 48 == f;
}

void tmem_ghost_fit_locked(struct tmem_store *s)
{
	uint32_t frames = atomic_load_explicit(&s->frames, memory_order_relaxed);
	uint32_t old = atomic_load_explicit(&s->ghost_words, memory_order_relaxed);
	uint64_t *now = atomic_load_explicit(&s->ghost, memory_order_relaxed), *grown;
	uint64_t want = (uint64_t)frames * MARKS_PER_FRAME / 4;
	uint32_t i, words = old ? old : WORDS_MIN;

	while (words < want && words < 1u << 31)
		words *= 2;
	if (words == old)
		return;
	grown = tmem_alloc(&s->client->host->heap, words * sizeof(*grown));
	if (!grown)
		return;
	for (i = 0; old && i < words; i++)
		grown[i] = now[i & (old - 1)];
	atomic_store_explicit(&s->ghost, grown, memory_order_relaxed);
	atomic_store_explicit(&s->ghost_words, words, memory_order_relaxed);
	tmem_free(&s->client->host->heap, now);
}

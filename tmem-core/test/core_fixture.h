/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core_fixture.h - what the tests of the core share.
 *
 * Owns:    a core over a memfd, pages made from a number, random numbers.
 * How:     a page's whole content follows from a 64-bit seed, so a test keeps
 *          only seeds and makes the page again to compare.
 * Must not: look behind tmem.h.
 */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tmem.h"

#define MIB (1024u * 1024u)

struct core {
	struct tmem_config config;	/* arena_fd is ours */
	struct tmem *t;
	struct tmem_ctx *ctx;
};

/* Open a core over a new memfd; config's arena_fd is ignored.  0 or -errno. */
int core_open(struct core *k, const struct tmem_config *config);

/* The same with all options off. */
int core_open_plain(struct core *k, uint64_t arena_max);

/* Make a core of config as it stands, arena_fd too.  0 or -errno. */
int core_start(struct core *k);

/* End the core and make it again from what the arena holds.  0 or -errno. */
int core_rebuild(struct core *k);

void core_close(struct core *k);

/* Bytes of the arena that the kernel holds in memory. */
uint64_t core_resident(const struct core *k);

/* A client with one pool of each kind: 0 ephemeral, 1 persistent; or NULL. */
struct tmem_client *core_client(struct core *k, const char *name);

/* The key of page n of object o. */
struct tmem_key core_key(uint64_t o, uint32_t n);

/* Put or get the page made from seed, tag = seed.  A get whose content or tag is wrong is -EILSEQ. */
int core_put(struct core *k, struct tmem_client *c, unsigned pool, struct tmem_key key,
	     uint64_t seed);
int core_get(struct core *k, struct tmem_client *c, unsigned pool, struct tmem_key key,
	     uint64_t seed);

/* The next number of a generator whose state is not 0; and one below n. */
uint64_t rnd(uint64_t *state);
uint32_t rnd_below(uint64_t *state, uint32_t n);

/* A generator state from a small number. */
uint64_t rnd_seed(uint64_t n);

/*
 * Make the page of a seed.  seed % 8 chooses its look: 0 same-filled, 1 random
 * bytes, 2 mostly random, the others text with a random part of any length.
 */
void page_make(void *page, uint64_t seed);

/* May a store refuse this page as incompressible? */
bool page_is_poor(uint64_t seed);

/* A seed near n whose page always compresses and is not same-filled. */
uint64_t page_good_seed(uint64_t n);

/* Environment variable as a number. */
uint64_t env_number(const char *name, uint64_t otherwise);

#endif

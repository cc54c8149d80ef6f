/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core_fixture.c - a core to test, and pages to give it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core_fixture.h"

int core_start(struct core *k)
{
	int rc = tmem_create(&k->t, &k->config);

	if (rc)
		return rc;
	rc = tmem_ctx_create(k->t, &k->ctx);
	if (rc) {
		tmem_destroy(k->t);
		k->t = NULL;
	}
	return rc;
}

int core_open(struct core *k, const struct tmem_config *config)
{
	int rc;

	*k = (struct core){ .config = *config };
	k->config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	if (k->config.arena_fd < 0)
		return -errno;
	rc = core_start(k);
	if (rc)
		close(k->config.arena_fd);
	return rc;
}

int core_open_plain(struct core *k, uint64_t arena_max)
{
	const struct tmem_config config = { .arena_max = arena_max };

	return core_open(k, &config);
}

static void core_stop(struct core *k)
{
	tmem_ctx_destroy(k->ctx);
	tmem_destroy(k->t);
	k->ctx = NULL;
	k->t = NULL;
}

int core_rebuild(struct core *k)
{
	core_stop(k);
	k->config.rebuild = true;
	return core_start(k);
}

void core_close(struct core *k)
{
	if (k->t)
		core_stop(k);
	close(k->config.arena_fd);
}

uint64_t core_resident(const struct core *k)
{
	struct stat st;

	return fstat(k->config.arena_fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

struct tmem_client *core_client(struct core *k, const char *name)
{
	const struct tmem_pool_spec spec[TMEM_KINDS] = {
		{ .kind = TMEM_EPHEMERAL }, { .kind = TMEM_PERSISTENT },
	};
	struct tmem_client *c;

	if (tmem_client_create(k->t, name, &c) || tmem_pool_create(c, 0, &spec[0]) ||
	    tmem_pool_create(c, 1, &spec[1]))
		return NULL;
	return c;
}

struct tmem_key core_key(uint64_t o, uint32_t n)
{
	return (struct tmem_key){ .oid = { o, ~o, o << 32 }, .index = n };
}

int core_put(struct core *k, struct tmem_client *c, unsigned pool, struct tmem_key key,
	     uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	page_make(page, seed);
	return tmem_put(k->ctx, c, pool, &key, page, seed);
}

int core_get(struct core *k, struct tmem_client *c, unsigned pool, struct tmem_key key,
	     uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	uint64_t tag = ~seed;
	int rc = tmem_get(k->ctx, c, pool, &key, page, &tag);

	if (rc)
		return rc;
	page_make(want, seed);
	return tag == seed && memcmp(page, want, sizeof(page)) == 0 ? 0 : -EILSEQ;
}

/* xorshift64* (Marsaglia; Vigna 2016). */
uint64_t rnd(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

uint32_t rnd_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((rnd(state) >> 32) * n >> 32);
}

/* splitmix64's finaliser: neighbours in n are far apart in state. */
uint64_t rnd_seed(uint64_t n)
{
	n += 0x9e3779b97f4a7c15u;
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
	n ^= n >> 31;
	return n ? n : 1;
}

static void fill_same(uint64_t *word, uint64_t seed)
{
	static const uint64_t common[] = { 0, UINT64_MAX, 0x0101010101010101u };
	uint64_t v = seed / 8 % 4 < 3 ? common[seed / 8 % 4] : rnd_seed(seed);

	for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
		word[i] = v;
}

static void fill_text(uint8_t *at, size_t len, uint64_t *state)
{
	static const char phrase[8][33] = {
		"the page of this object is held ", "static int frame_of(struct tmem)",
		"return client->pool[id].object; ", "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0 ",
		"two buddies share one host frame", "if (chunk >= frame->first_free) ",
		"0x00007f3a5c000000 0x00007f3a5c8", "compressed to about a third of i",
	};
	uint64_t bits = 0;

	for (size_t done = 0; done < len;) {
		size_t n = len - done < 32 ? len - done : 32;

		if (!bits)
			bits = rnd(state);
		memcpy(at + done, phrase[bits & 7], n);
		bits >>= 3;
		done += n;
	}
}

static size_t random_part(uint64_t seed, uint64_t *state)
{
	switch (seed % 8) {
	case 1:
		return TMEM_PAGE_SIZE;
	case 2:
		return 2800 + rnd_below(state, TMEM_PAGE_SIZE - 2800) / 8 * 8;
	default:
		return rnd_below(state, 2200) / 8 * 8;
	}
}

void page_make(void *page, uint64_t seed)
{
	uint8_t *at = page;
	uint64_t state = rnd_seed(seed);
	size_t n;

	if (seed % 8 == 0) {
		fill_same(page, seed);
		return;
	}
	/* Text first: LZO strides over what follows random bytes and would miss it. */
	n = TMEM_PAGE_SIZE - random_part(seed, &state);
	fill_text(at, n, &state);
	for (; n < TMEM_PAGE_SIZE; n += 8) {
		uint64_t r = rnd(&state);

		memcpy(at + n, &r, sizeof(r));
	}
}

bool page_is_poor(uint64_t seed)
{
	return seed % 8 == 1 || seed % 8 == 2;
}

uint64_t page_good_seed(uint64_t n)
{
	return n * 8 + 3 + n % 5;
}

uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

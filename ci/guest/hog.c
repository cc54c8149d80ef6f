/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hog.c - use more anonymous memory than a guest has, and verify every byte of it.
 *
 *   hog --mb N [--rounds N] [--seed N] [--seconds N] [--corrupt]
 *
 * Owns:    the contents: what they look like and that they are right.
 * How:     a page's bytes are a function of (seed, page number, version).  They
 *          look like what guests have in memory: text, arrays of pointers,
 *          records of small numbers, mostly empty pages; none is random as a
 *          whole, so none is incompressible, and no two pages are the same.  Each
 *          round visits every page once on average (even rounds in order, odd
 *          ones at random), compares it with what it must be, and gives one in
 *          four a new version.  A page that cannot be read (SIGBUS: the kernel
 *          could not swap it in) is lost, which is not the same as bad, and is
 *          replaced by an empty one.
 *          --corrupt changes one byte of one page behind the checker's back: the
 *          run must then report it.
 *          A line a round, and one at the end:
 *            hog: pages=N rounds=N checked=N bad=N lost=N seconds=S
 *          Exit status 0: all good; 1: bad pages; 2: usage; 3: lost, none bad.
 * Must not: keep a copy of what it checks, or let what it needs for checking be
 *          swapped itself.
 */
#include <getopt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096u

struct hog {
	uint64_t seed;
	size_t pages;
	unsigned rounds;
	double limit;		/* seconds; 0: none */
	int corrupt;
	unsigned char *memory;
	uint32_t *version;	/* of each page */
	uint64_t random;
	uint64_t checked, bad, lost;
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 29;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- contents ------------------------------------------------------------ */

static void fill_text(unsigned char *page, uint64_t s)
{
	static const char *const words[] = {
		"memory ", "the ", "page ", "of ", "guest ", "and ", "host ", "is ",
		"swap ", "in ", "cache ", "to ", "kernel ", "a ", "return ", "error: ",
		"status=", "\n\t", "if (", "size", "count ", "with ", "not ", "for ",
		"pool ", "key ", "object ", "index ", "{ ", "} ", "1024", ";\n",
	};
	size_t at = 0;

	while (at < PAGE) {
		const char *word = words[next(&s) % (sizeof(words) / sizeof(words[0]))];
		size_t length = strlen(word);

		if (length > PAGE - at)
			length = PAGE - at;
		memcpy(page + at, word, length);
		at += length;
	}
}

/* Objects of a heap that point at each other. */
static void fill_pointers(unsigned char *page, uint64_t s)
{
	uint64_t *word = (uint64_t *)page, heap = 0x00007f3a00000000ull + (next(&s) & 0xfff) * PAGE;

	for (size_t i = 0; i < PAGE / 8; i += 4) {
		word[i] = heap + (next(&s) & 0x3ff) * 16;
		word[i + 1] = heap + 0x40;
		word[i + 2] = 1 + next(&s) % 3;
		word[i + 3] = 0;
	}
}

static void fill_numbers(unsigned char *page, uint64_t s)
{
	uint32_t *word = (uint32_t *)page, serial = (uint32_t)next(&s);

	for (size_t i = 0; i < PAGE / 4; i += 4) {
		word[i] = serial++;
		word[i + 1] = (uint32_t)(next(&s) % 200);
		word[i + 2] = (uint32_t)(next(&s) % 16);
		word[i + 3] = 0xffffffff;
	}
}

static void fill_sparse(unsigned char *page, uint64_t s)
{
	memset(page, 0, PAGE);
	for (size_t i = 0; i < 12; i++)
		page[next(&s) % PAGE] = (unsigned char)next(&s);
}

/* What page number n must be in a version.  Its first words say who it is. */
static void fill(const struct hog *h, unsigned char *page, size_t n, uint32_t version)
{
	uint64_t who[2] = { n, h->seed << 32 | version };
	uint64_t s = mix(mix(who[1]) + n);

	switch (s % 8) {
	case 0: case 1: case 2:
		fill_text(page, s);
		break;
	case 3: case 4:
		fill_pointers(page, s);
		break;
	case 5: case 6:
		fill_numbers(page, s);
		break;
	default:
		fill_sparse(page, s);
		break;
	}
	memcpy(page, who, sizeof(who));
}

/* ---- visiting pages -------------------------------------------------------- */

static sigjmp_buf unreadable;

static void on_sigbus(int signal)
{
	siglongjmp(unreadable, signal);
}

static void complain(const struct hog *h, size_t n, const unsigned char *page)
{
	uint64_t who[2];

	memcpy(who, page, sizeof(who));
	printf("hog: page %zu of seed %llu version %u is wrong; it says page %llu seed %llu version %u\n",
	       n, (unsigned long long)h->seed, h->version[n], (unsigned long long)who[0],
	       (unsigned long long)(who[1] >> 32), (unsigned)who[1]);
}

static void check(struct hog *h, size_t n, unsigned char *page)
{
	static unsigned char expected[PAGE] __attribute__((aligned(64)));

	fill(h, expected, n, h->version[n]);
	h->checked++;
	if (memcmp(page, expected, PAGE) && h->bad++ < 8)
		complain(h, n, page);
}

static void visit(struct hog *h, size_t n)
{
	unsigned char *page = h->memory + n * PAGE;

	if (sigsetjmp(unreadable, 1)) {
		h->lost++;
		if (mmap(page, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			abort();
		fill(h, page, n, h->version[n]);
		return;
	}
	check(h, n, page);
	if (next(&h->random) % 4 == 0)
		fill(h, page, n, ++h->version[n]);
}

static void report(const struct hog *h, unsigned rounds, double start)
{
	printf("hog: pages=%zu rounds=%u checked=%llu bad=%llu lost=%llu seconds=%.1f\n", h->pages,
	       rounds, (unsigned long long)h->checked, (unsigned long long)h->bad,
	       (unsigned long long)h->lost, now() - start);
}

static int hog(struct hog *h)
{
	double start = now();
	unsigned round = 0;

	for (size_t n = 0; n < h->pages; n++)
		fill(h, h->memory + n * PAGE, n, 0);
	if (h->corrupt)
		h->memory[h->pages / 2 * PAGE + PAGE / 2] ^= 0x10;
	for (; round < h->rounds && !(h->limit && now() - start > h->limit); round++) {
		for (size_t n = 0; n < h->pages; n++)
			visit(h, round % 2 ? next(&h->random) % h->pages : n);
		report(h, round + 1, start);
	}
	/* The last word is about every page, wherever it is by now. */
	for (size_t n = 0; n < h->pages; n++)
		visit(h, n);
	printf("hog: done\n");
	report(h, round, start);
	return h->bad ? 1 : h->lost ? 3 : 0;
}

static int options(struct hog *h, int argc, char **argv)
{
	static const struct option known[] = {
		{ "mb", required_argument, NULL, 'm' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "corrupt", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'm': h->pages = strtoul(optarg, NULL, 10) * (1u << 20) / PAGE; break;
		case 'r': h->rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': h->seed = strtoul(optarg, NULL, 10) & 0xffffffff; break;
		case 't': h->limit = strtod(optarg, NULL); break;
		case 'c': h->corrupt = 1; break;
		default: return -1;
		}
	}
	return h->pages && optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct hog h = { .seed = 1, .rounds = 2 };

	if (options(&h, argc, argv)) {
		fprintf(stderr, "usage: hog --mb N [--rounds N] [--seed N] [--seconds N] [--corrupt]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGBUS, on_sigbus);
	h.random = mix(h.seed);
	h.version = calloc(h.pages, sizeof(*h.version));
	if (mlockall(MCL_CURRENT))
		perror("hog: cannot lock its own memory");
	h.memory = mmap(NULL, h.pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (!h.version || h.memory == MAP_FAILED) {
		perror("hog"); /* NOLINT(clang-analyzer-unix.Malloc): freed by exiting */
		return 2;
	}
	return hog(&h);
}

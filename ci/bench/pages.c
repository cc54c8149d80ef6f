/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.c - pages to measure with: a corpus, the running system, or made up.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "bench/bench.h"
#include "bench/pages.h"

static void *allocate(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (!p)
		bench_die("out of memory");
	return p;
}

static uint8_t *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *data;
	size_t done = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		bench_die("%s: %s", path, strerror(errno));
	*size = (size_t)st.st_size;
	data = allocate(*size);
	while (done < *size) {
		ssize_t n = read(fd, data + done, *size - done);

		if (n <= 0)
			bench_die("%s: %s", path, n ? strerror(errno) : "short read");
		done += (size_t)n;
	}
	close(fd);
	return data;
}

/* A stream need not say its length: the buffer doubles. */
static uint8_t *unpack(const char *path, const uint8_t *packed, size_t packed_size, size_t *size)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = { packed, packed_size, 0 };
	ZSTD_outBuffer out = { NULL, 0, 0 };

	if (!s)
		bench_die("out of memory");
	while (in.pos < in.size) {
		size_t rc;

		if (out.pos == out.size) {
			out.size = out.size ? out.size * 2 : 1u << 20;
			out.dst = realloc(out.dst, out.size);
			if (!out.dst)
				bench_die("out of memory");
		}
		rc = ZSTD_decompressStream(s, &out, &in);
		if (ZSTD_isError(rc))
			bench_die("%s: %s", path, ZSTD_getErrorName(rc));
	}
	ZSTD_freeDStream(s);
	*size = out.pos;
	return out.dst;
}

static bool is_zstd(const uint8_t *data, size_t size)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	return size >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

void bench_pages_load(struct bench_pages *p, const char *path)
{
	size_t size;
	uint8_t *data = read_file(path, &size);

	if (is_zstd(data, size)) {
		uint8_t *packed = data;

		data = unpack(path, packed, size, &size);
		free(packed);
	}
	p->data = data;
	p->n = (uint32_t)(size / BENCH_PAGE);
	if (!p->n)
		bench_die("%s: not one page", path);
}

/* ---- the running system ------------------------------------------------- */

/* Of a mapping every step-th page, so that one big heap is not all there is. */
static void collect_range(struct bench_pages *p, uint32_t max, int mem, uint64_t from, uint64_t to)
{
	uint64_t n = (to - from) / BENCH_PAGE, step = n / 512 + 1;

	for (uint64_t i = 0; i < n && p->n < max; i += step)
		if (pread(mem, bench_page(p, p->n), BENCH_PAGE, (off_t)(from + i * BENCH_PAGE)) ==
		    BENCH_PAGE)
			p->n++;
}

static void collect_process(struct bench_pages *p, uint32_t max, const char *pid)
{
	char path[64], line[512];
	unsigned long long from, to;
	char mode[5];
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %4s", &from, &to, mode) == 3 && mode[0] == 'r' &&
		    mode[3] == 'p')
			collect_range(p, max, mem, from, to);
	if (maps)
		fclose(maps);
	close(mem);
}

void bench_pages_collect(struct bench_pages *p, uint32_t max)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	p->data = allocate((size_t)max * BENCH_PAGE);
	p->n = 0;
	while (proc && (e = readdir(proc)) && p->n < max)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			collect_process(p, max, e->d_name);
	if (proc)
		closedir(proc);
	if (!p->n)
		bench_die("no page of a running process could be read: give --corpus");
}

/* ---- made up -------------------------------------------------------------- */

/* Random bytes among runs that repeat bytes already there, as in heaps. */
static void make_page(uint8_t *page, uint64_t *state)
{
	size_t at = 64;

	for (size_t i = 0; i < at; i += 8) {
		uint64_t r = bench_random(state);

		memcpy(page + i, &r, 8);
	}
	while (at < BENCH_PAGE) {
		uint64_t r = bench_random(state);
		size_t len = 12 + (r & 31), from = (size_t)(r >> 8) % (at - 40);

		if (len > BENCH_PAGE - at)
			len = BENCH_PAGE - at;
		memmove(page + at, page + from, len);
		at += len;
		for (size_t i = 0; i < 8 && at < BENCH_PAGE; i++)
			page[at++] = (uint8_t)(r >> (8 + 7 * i));
	}
}

void bench_pages_make(struct bench_pages *p, uint32_t n)
{
	uint64_t state = 0x746d656d;

	p->data = allocate((size_t)n * BENCH_PAGE);
	p->n = n;
	for (uint32_t i = 0; i < n; i++)
		make_page(bench_page(p, i), &state);
}

void bench_pages_free(struct bench_pages *p)
{
	free(p->data);
	p->data = NULL;
}

/* ---- packing -------------------------------------------------------------- */

static bool is_same_filled(const uint8_t *page)
{
	return memcmp(page, page + 8, BENCH_PAGE - 8) == 0;
}

void bench_pages_pack(struct bench_pages *p, struct bench_codec *c, struct bench_packed *out)
{
	uint32_t kept = 0, used = 0;

	out->data = allocate((size_t)p->n * BENCH_PAGE + BENCH_COMPRESSED_MAX);
	out->at = allocate(((size_t)p->n + 1) * sizeof(*out->at));
	for (uint32_t i = 0; i < p->n; i++) {
		const uint8_t *page = bench_page(p, i);
		size_t len;

		if (is_same_filled(page))
			continue;
		len = bench_compress(c, page, out->data + used);
		if (len > BENCH_POOR)
			continue;
		memmove(bench_page(p, kept), page, BENCH_PAGE);
		out->at[kept++] = used;
		used += (uint32_t)len;
	}
	out->at[kept] = used;
	p->n = kept;
	if (!kept)
		bench_die("no page compresses to %u bytes or less", BENCH_POOR);
}

void bench_packed_free(struct bench_packed *p)
{
	free(p->data);
	free(p->at);
}

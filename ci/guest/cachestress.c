/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cachestress.c - files whose every page is known, and what can go wrong with them.
 *
 * Owns:    the content of the files it is given, and a model of it in memory.
 * How:     a page's content follows from a number that no other write ever had, so an
 *          older version of the page, or another page, is told from the right one.
 *            write FILE          a file of --mb, its numbers made of --seed
 *            verify FILE         the same file read and compared; --mmap, --random
 *            stress DIR          --processes at random operations on --files each, compared
 *                                with the model at every read and in whole at the end
 *            race FILE           each page written is read back, while others read the same
 *                                pages and drop them from the page cache; --direct: written
 *                                by O_DIRECT and read through the page cache
 * Must not: share a file between two processes that write: the model is each one's own.
 *
 * The last line is "cachestress: COMMAND ... bad=N".  Ends with 0 if N is 0, with 2 if it
 * could not go on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096
#define WORDS		(PAGE / 8)
#define RUN_MAX		16	/* pages of one operation */
#define SHOWN_MAX	10	/* bad pages described */

static struct {
	unsigned long mb, seed, seconds, processes, files;
	bool direct, drop, mmap, random, ranges;
} option = { .mb = 16, .seed = 1, .seconds = 10, .processes = 2, .files = 4 };

/* ---- content -------------------------------------------------------------- */

/* What a page holds: what id makes of it, with length bytes from at on being byte. */
struct model {
	uint64_t id;		/* 0: zeros */
	uint16_t at, length;
	uint8_t byte;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* Compresses to a half or so, as files do. */
static void page_make(uint64_t *page, const struct model *m)
{
	uint64_t word = mix(m->id);

	for (int i = 0; i < WORDS; i++) {
		page[i] = m->id ? word >> 32 : 0;
		word = word * 6364136223846793005ull + 1442695040888963407ull;
	}
	memset((char *)page + m->at, m->byte, m->length);
}

static bool page_is(const void *page, const struct model *m)
{
	uint64_t want[WORDS];

	page_make(want, m);
	return !memcmp(page, want, PAGE);
}

static _Thread_local uint64_t dice_state;

static uint64_t dice(uint64_t sides)
{
	dice_state += 0x9e3779b97f4a7c15ull;
	return sides ? mix(dice_state) % sides : 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("cachestress: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void *pages_alloc(size_t count)
{
	void *p = NULL;

	must(posix_memalign(&p, PAGE, count * PAGE) == 0, "memory");
	return p;
}

/* ---- write and verify ----------------------------------------------------- */

static struct model plain_model(unsigned long index)
{
	return (struct model){ .id = option.seed << 32 | (index + 1) };
}

static unsigned long plain_pages(void)
{
	return option.mb * ((1ul << 20) / PAGE);
}

static int plain_write(const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	uint64_t *buffer = pages_alloc(RUN_MAX);

	must(fd >= 0, path);
	for (unsigned long i = 0; i < plain_pages(); i += RUN_MAX) {
		for (int j = 0; j < RUN_MAX; j++) {
			struct model m = plain_model(i + j);

			page_make(buffer + j * WORDS, &m);
		}
		must(write(fd, buffer, RUN_MAX * PAGE) == RUN_MAX * PAGE, "write");
	}
	must(fsync(fd) == 0, "fsync");
	close(fd);
	return 0;
}

static int plain_verify(const char *path)
{
	int fd = open(path, O_RDONLY);
	char *map = MAP_FAILED, *page = pages_alloc(1);
	unsigned long bad = 0, pages = plain_pages();

	must(fd >= 0, path);
	dice_state = option.seed;
	if (option.mmap) {
		map = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
		must(map != MAP_FAILED, "mmap");
	}
	for (unsigned long i = 0; i < pages; i++) {
		unsigned long index = option.random ? dice(pages) : i;
		struct model m = plain_model(index);

		if (!option.mmap)
			must(pread(fd, page, PAGE, (off_t)index * PAGE) == PAGE, "pread");
		if (!page_is(option.mmap ? map + index * PAGE : page, &m))
			bad++;
	}
	printf("cachestress: verify pages=%lu bad=%lu\n", pages, bad);
	return bad > 0;
}

/* ---- stress: files and their model ---------------------------------------- */

struct file {
	char path[200];
	int fd, direct;		/* direct: -1 where O_DIRECT is not asked for */
	unsigned long pages;	/* its size */
	struct model *model;	/* of limit pages; zeros from pages on */
};

static struct {
	unsigned long limit;	/* pages of a file at most */
	uint64_t next_id;
	char *buffer;		/* RUN_MAX pages */
	unsigned long bad;	/* this process's */
	unsigned long *all_bad;	/* everybody's */
} stress;

static void file_open(struct file *f)
{
	f->fd = open(f->path, O_CREAT | O_RDWR | O_TRUNC, 0644);
	must(f->fd >= 0, f->path);
	f->direct = option.direct ? open(f->path, O_RDWR | O_DIRECT) : -1;
	must(!option.direct || f->direct >= 0, "O_DIRECT");
	f->pages = 0;
	memset(f->model, 0, stress.limit * sizeof(*f->model));
}

static void file_close(struct file *f)
{
	close(f->fd);
	if (f->direct >= 0)
		close(f->direct);
}

static void bad_page(const struct file *f, unsigned long index, const char *how)
{
	__atomic_fetch_add(stress.all_bad, 1, __ATOMIC_RELAXED);
	if (stress.bad++ < SHOWN_MAX)
		printf("cachestress: bad page %lu of %s, %s\n", index, f->path, how);
}

static void page_check(const struct file *f, unsigned long index, const void *page, const char *how)
{
	if (!page_is(page, &f->model[index]))
		bad_page(f, index, how);
}

/* A run of pages; below the end of the file where inside. */
struct run {
	unsigned long first, count;
};

static bool run_choose(const struct file *f, bool inside, struct run *r)
{
	unsigned long limit = inside ? f->pages : stress.limit;

	if (!limit)
		return false;
	r->first = dice(limit);
	r->count = 1 + dice(RUN_MAX);
	if (r->count > limit - r->first)
		r->count = limit - r->first;
	return true;
}

/* New content for a run, in the model and at memory. */
static void run_fill(struct file *f, const struct run *r, char *memory)
{
	for (unsigned long i = 0; i < r->count; i++) {
		f->model[r->first + i] = (struct model){ .id = ++stress.next_id };
		page_make((uint64_t *)(memory + i * PAGE), &f->model[r->first + i]);
	}
}

/* ---- stress: operations --------------------------------------------------- */

static void op_read(struct file *f)
{
	bool direct = f->direct >= 0 && dice(8) == 0;
	ssize_t want, got;
	struct run r;

	if (!run_choose(f, true, &r))
		return;
	want = (ssize_t)r.count * PAGE;
	got = pread(direct ? f->direct : f->fd, stress.buffer, want, (off_t)r.first * PAGE);
	if (got != want)
		bad_page(f, r.first, "short");
	for (unsigned long i = 0; got == want && i < r.count; i++)
		page_check(f, r.first + i, stress.buffer + i * PAGE, direct ? "direct" : "read");
}

static void op_read_mapped(struct file *f)
{
	struct run r;
	char *map;

	if (!run_choose(f, true, &r))
		return;
	map = mmap(NULL, r.count * PAGE, PROT_READ, MAP_SHARED, f->fd, (off_t)r.first * PAGE);
	must(map != MAP_FAILED, "mmap");
	for (unsigned long i = 0; i < r.count; i++)
		page_check(f, r.first + i, map + i * PAGE, "mapped");
	munmap(map, r.count * PAGE);
}

static void op_write(struct file *f)
{
	int fd = f->direct >= 0 && dice(3) == 0 ? f->direct : f->fd;
	struct run r;

	if (!run_choose(f, false, &r))
		return;
	run_fill(f, &r, stress.buffer);
	must(pwrite(fd, stress.buffer, r.count * PAGE, (off_t)r.first * PAGE) ==
	     (ssize_t)r.count * PAGE, "pwrite");
	if (f->pages < r.first + r.count)
		f->pages = r.first + r.count;
}

static void op_write_mapped(struct file *f)
{
	struct run r;
	char *map;

	if (!run_choose(f, true, &r))
		return;
	map = mmap(NULL, r.count * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd,
		   (off_t)r.first * PAGE);
	must(map != MAP_FAILED, "mmap");
	run_fill(f, &r, map);
	munmap(map, r.count * PAGE);
}

/* Bytes of one page: what is read, changed and written back. */
static void op_write_bytes(struct file *f)
{
	char bytes[200];
	struct model *m;
	struct run r;

	if (!run_choose(f, true, &r))
		return;
	m = &f->model[r.first];
	if (m->length)
		return;
	m->at = (uint16_t)dice(PAGE - sizeof(bytes));
	m->length = (uint16_t)(1 + dice(sizeof(bytes)));
	m->byte = (uint8_t)dice(256);
	memset(bytes, m->byte, sizeof(bytes));
	must(pwrite(f->fd, bytes, m->length, (off_t)r.first * PAGE + m->at) == m->length, "pwrite");
}

/* To a size within a page and back to its end, which clears the rest of the page. */
static void truncate_within(struct file *f, unsigned long index)
{
	struct model *m = &f->model[index];

	if (m->length)
		return;
	m->at = (uint16_t)(1 + dice(PAGE - 1));
	m->length = (uint16_t)(PAGE - m->at);
	m->byte = 0;
	must(ftruncate(f->fd, (off_t)index * PAGE + m->at) == 0, "ftruncate");
	must(ftruncate(f->fd, (off_t)(index + 1) * PAGE) == 0, "ftruncate");
	memset(m + 1, 0, (stress.limit - index - 1) * sizeof(*m));
	f->pages = index + 1;
}

static void op_truncate(struct file *f)
{
	unsigned long pages = f->pages - dice(f->pages / 4 + 1);

	if (pages && dice(2)) {
		truncate_within(f, pages - 1);
		return;
	}
	if (dice(8) == 0)
		pages = dice(stress.limit + 1);
	must(ftruncate(f->fd, (off_t)pages * PAGE) == 0, "ftruncate");
	if (pages < f->pages)
		memset(&f->model[pages], 0, (f->pages - pages) * sizeof(*f->model));
	f->pages = pages;
}

static void op_punch(struct file *f)
{
	int mode = dice(2) ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	struct run r;

	if (!run_choose(f, true, &r))
		return;
	must(fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)r.first * PAGE,
		       (off_t)r.count * PAGE) == 0, "fallocate");
	memset(&f->model[r.first], 0, r.count * sizeof(*f->model));
}

/* Take a run out of the middle: what is behind it moves to other indexes. */
static void op_collapse(struct file *f)
{
	struct run r;

	if (!run_choose(f, true, &r) || r.first + r.count >= f->pages)
		return;
	must(fallocate(f->fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)r.first * PAGE,
		       (off_t)r.count * PAGE) == 0, "collapse");
	f->pages -= r.count;
	memmove(&f->model[r.first], &f->model[r.first + r.count],
		(f->pages - r.first) * sizeof(*f->model));
	memset(&f->model[f->pages], 0, r.count * sizeof(*f->model));
}

static void op_insert(struct file *f)
{
	struct run r;

	if (!run_choose(f, true, &r) || f->pages + r.count > stress.limit)
		return;
	must(fallocate(f->fd, FALLOC_FL_INSERT_RANGE, (off_t)r.first * PAGE,
		       (off_t)r.count * PAGE) == 0, "insert");
	memmove(&f->model[r.first + r.count], &f->model[r.first],
		(f->pages - r.first) * sizeof(*f->model));
	memset(&f->model[r.first], 0, r.count * sizeof(*f->model));
	f->pages += r.count;
}

static void op_sync(struct file *f)
{
	must(fdatasync(f->fd) == 0, "fdatasync");
}

/* Out of the page cache, as reclaim does it. */
static void op_drop(struct file *f)
{
	op_sync(f);
	posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* Out of the page cache for everybody; 3 takes inodes along. */
static void op_drop_all(struct file *f)
{
	int fd = option.drop ? open("/proc/sys/vm/drop_caches", O_WRONLY) : -1;

	if (fd < 0)
		return;
	op_sync(f);
	if (write(fd, dice(2) ? "1" : "3", 1) != 1)
		printf("cachestress: caches not dropped\n");
	close(fd);
}

/* Another file, which is likely to get the same inode. */
static void op_replace(struct file *f)
{
	file_close(f);
	must(unlink(f->path) == 0, "unlink");
	file_open(f);
}

static const struct {
	void (*run)(struct file *f);
	unsigned int share;	/* of all operations, in thousands */
	bool ranges;		/* only with --ranges */
} operations[] = {
	{ op_read, 400, false },	{ op_read_mapped, 60, false },
	{ op_write, 250, false },	{ op_write_mapped, 50, false },
	{ op_write_bytes, 40, false },	{ op_truncate, 40, false },
	{ op_punch, 50, false },	{ op_collapse, 10, true },
	{ op_insert, 10, true },	{ op_sync, 20, false },
	{ op_drop, 60, false },		{ op_drop_all, 4, false },
	{ op_replace, 6, false },
};

static void operation_run(struct file *f)
{
	unsigned int n = (unsigned int)dice(1000);

	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		if (n < operations[i].share) {
			if (!operations[i].ranges || option.ranges)
				operations[i].run(f);
			return;
		}
		n -= operations[i].share;
	}
}

static void file_verify(struct file *f)
{
	op_drop(f);
	for (unsigned long i = 0; i < f->pages; i++) {
		if (pread(f->fd, stress.buffer, PAGE, (off_t)i * PAGE) != PAGE)
			bad_page(f, i, "short at the end");
		else
			page_check(f, i, stress.buffer, "at the end");
	}
}

static int stress_process(const char *dir, unsigned long id)
{
	struct file *files = calloc(option.files, sizeof(*files));
	double end = now() + (double)option.seconds;
	unsigned long done = 0;

	must(files, "memory");
	dice_state = mix(option.seed * 1000 + id);
	stress.limit = plain_pages();
	stress.next_id = mix(dice_state) << 40;
	stress.buffer = pages_alloc(RUN_MAX);
	for (unsigned long i = 0; i < option.files; i++) {
		snprintf(files[i].path, sizeof(files[i].path), "%s/stress-%lu-%lu", dir, id, i);
		files[i].model = calloc(stress.limit, sizeof(*files[i].model));
		must(files[i].model, "memory");
		file_open(&files[i]);
	}
	for (; now() < end; done++)
		operation_run(&files[dice(option.files)]);
	for (unsigned long i = 0; i < option.files; i++) {
		file_verify(&files[i]);
		file_close(&files[i]);
	}
	printf("cachestress: process %lu operations=%lu bad=%lu\n", id, done, stress.bad);
	return stress.bad ? 1 : 0;
}

/* Until all processes it began have ended; one that could not go on ends this one too. */
static void children_wait(void)
{
	int status;

	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
			exit(2);
	}
}

static int stress_run(const char *dir)
{
	stress.all_bad = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(stress.all_bad != MAP_FAILED, "mmap");
	fflush(stdout);
	for (unsigned long i = 0; i < option.processes; i++) {
		if (fork() == 0)
			exit(stress_process(dir, i));
	}
	children_wait();
	printf("cachestress: stress processes=%lu bad=%lu\n", option.processes, *stress.all_bad);
	return *stress.all_bad > 0;
}

/* ---- race ----------------------------------------------------------------- */

#define RACE_PAGES	8

static void race_reader(const char *path, unsigned long id, double end)
{
	int fd = open(path, O_RDONLY);
	char *page = pages_alloc(1);

	must(fd >= 0, path);
	dice_state = mix(id + 1);
	while (now() < end) {
		must(pread(fd, page, PAGE, (off_t)dice(RACE_PAGES) * PAGE) == PAGE, "pread");
		if (dice(2))
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
}

/* Whether a page is as it was written last; in the page cache it cannot be otherwise. */
static bool race_page_is(int fd, unsigned long index, const struct model *m, char *page)
{
	if (!option.direct)
		posix_fadvise(fd, (off_t)index * PAGE, PAGE, POSIX_FADV_DONTNEED);
	must(pread(fd, page, PAGE, (off_t)index * PAGE) == PAGE, "pread");
	return page_is(page, m);
}

static int race_run(const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | (option.direct ? O_DIRECT : 0), 0644);
	int buffered = open(path, O_RDONLY);
	double end = now() + (double)option.seconds;
	struct model pages[RACE_PAGES] = { 0 };
	char *page = pages_alloc(RACE_PAGES);
	unsigned long stale = 0, writes = 0;

	must(fd >= 0 && buffered >= 0, path);
	memset(page, 0, RACE_PAGES * PAGE);
	must(pwrite(fd, page, RACE_PAGES * PAGE, 0) == RACE_PAGES * PAGE, "pwrite");
	must(fsync(fd) == 0, "fsync");
	fflush(stdout);
	for (unsigned long i = 0; i < option.processes; i++) {
		if (fork() == 0) {
			race_reader(path, i, end);
			exit(0);
		}
	}
	while (now() < end) {
		unsigned long index = dice(RACE_PAGES), other = dice(RACE_PAGES);

		pages[index].id = ++writes;
		page_make((uint64_t *)page, &pages[index]);
		must(pwrite(fd, page, PAGE, (off_t)index * PAGE) == PAGE, "pwrite");
		must(option.direct || fdatasync(fd) == 0, "fdatasync");
		stale += !race_page_is(buffered, index, &pages[index], page);
		stale += !race_page_is(buffered, other, &pages[other], page);
	}
	children_wait();
	printf("cachestress: race writes=%lu bad=%lu\n", writes, stale);
	return stale > 0;
}

/* ---- the command line ----------------------------------------------------- */

static const struct option options[] = {
	{ "mb", required_argument, NULL, 'm' },
	{ "seed", required_argument, NULL, 's' },
	{ "seconds", required_argument, NULL, 't' },
	{ "processes", required_argument, NULL, 'p' },
	{ "files", required_argument, NULL, 'f' },
	{ "direct", no_argument, NULL, 'd' },
	{ "drop", no_argument, NULL, 'c' },
	{ "ranges", no_argument, NULL, 'r' },
	{ "mmap", no_argument, NULL, 'M' },
	{ "random", no_argument, NULL, 'R' },
	{ 0 },
};

static bool option_set(int letter)
{
	switch (letter) {
	case 'm': option.mb = strtoul(optarg, NULL, 0); break;
	case 's': option.seed = strtoul(optarg, NULL, 0); break;
	case 't': option.seconds = strtoul(optarg, NULL, 0); break;
	case 'p': option.processes = strtoul(optarg, NULL, 0); break;
	case 'f': option.files = strtoul(optarg, NULL, 0); break;
	case 'd': option.direct = true; break;
	case 'c': option.drop = true; break;
	case 'r': option.ranges = true; break;
	case 'M': option.mmap = true; break;
	case 'R': option.random = true; break;
	default: return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *path);
	} commands[] = {
		{ "write", plain_write }, { "verify", plain_verify },
		{ "stress", stress_run }, { "race", race_run },
	};
	int letter;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((letter = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (!option_set(letter))
			return 2;
	}
	for (size_t i = 0; argc - optind == 2 && i < sizeof(commands) / sizeof(*commands); i++) {
		if (!strcmp(argv[optind], commands[i].name))
			return commands[i].run(argv[optind + 1]);
	}
	fprintf(stderr, "usage: cachestress [options] write|verify|stress|race PATH\n");
	return 2;
}

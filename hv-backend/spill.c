/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spill.c - a sparse file and its map.
 *
 * #syscalls: fallocate flock fstat ftruncate lseek openat pread64 pwrite64
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spill.h"
#include "tmem.h"

#define MAGIC	0x306c6c6970536d54ull	/* "TmSpill0" */

/* The record behind the last block. */
struct spill_record {
	uint64_t magic;
	uint64_t blocks;
	char     owner[TMEM_NAME_MAX];
};

static_assert(sizeof(struct spill_record) == 80, "file layout");

static off_t at(uint64_t block)
{
	return (off_t)(block * SPILL_BLOCK);
}

/* ---- bytes ------------------------------------------------------------------- */

static int read_all(int fd, void *to, size_t len, off_t off)
{
	while (len) {
		ssize_t n = pread(fd, to, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		to = (char *)to + n;
		len -= (size_t)n;
		off += n;
	}
	return 0;
}

static int write_all(int fd, const void *from, size_t len, off_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, from, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from = (const char *)from + n;
		len -= (size_t)n;
		off += n;
	}
	return 0;
}

static int punch(int fd, uint64_t first, uint64_t count)
{
	int err;

	do {
		err = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at(first),
				at(count));
	} while (err < 0 && errno == EINTR);
	return err < 0 ? -errno : 0;
}

/* ---- the map ------------------------------------------------------------------- */

static uint64_t word_of(const struct spill *s, uint64_t block)
{
	return atomic_load_explicit(&s->map[block / 64], memory_order_relaxed);
}

static void word_put(struct spill *s, uint64_t block, uint64_t word)
{
	atomic_store_explicit(&s->map[block / 64], word, memory_order_relaxed);
}

bool spill_has(const struct spill *s, uint64_t block)
{
	return s->fd >= 0 && word_of(s, block) >> (block % 64) & 1;
}

static void bit_set(struct spill *s, uint64_t block)
{
	if (spill_has(s, block))
		return;
	word_put(s, block, word_of(s, block) | 1ull << (block % 64));
	atomic_fetch_add(&s->held, 1);
}

static void bit_clear(struct spill *s, uint64_t block)
{
	if (!spill_has(s, block))
		return;
	word_put(s, block, word_of(s, block) & ~(1ull << (block % 64)));
	atomic_fetch_sub(&s->held, 1);
}

uint64_t spill_next(const struct spill *s, uint64_t from)
{
	while (from < s->blocks) {
		uint64_t word = word_of(s, from) >> (from % 64);

		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			break;
		}
		from = (from / 64 + 1) * 64;
	}
	return from < s->blocks ? from : s->blocks;
}

/* ---- blocks -------------------------------------------------------------------- */

int spill_read(const struct spill *s, uint64_t block, void *page)
{
	return read_all(s->fd, page, SPILL_BLOCK, at(block));
}

int spill_write(struct spill *s, uint64_t block, const void *page)
{
	int err = write_all(s->fd, page, SPILL_BLOCK, at(block));

	if (!err)
		bit_set(s, block);
	else if (!spill_has(s, block))
		punch(s->fd, block, 1);
	return err;
}

int spill_drop(struct spill *s, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	while (s->fd >= 0 && (first = spill_next(s, first)) < end) {
		uint64_t last = first + 1;
		int err;

		while (last < end && spill_has(s, last))
			last++;
		err = punch(s->fd, first, last - first);
		if (err)
			return err;
		for (; first < last; first++)
			bit_clear(s, first);
	}
	return 0;
}

int spill_empty(struct spill *s)
{
	if (s->fd < 0)
		return 0;
	for (uint64_t block = 0; (block = spill_next(s, block)) < s->blocks;)
		bit_clear(s, block);
	return punch(s->fd, 0, s->blocks);
}

/* ---- life ------------------------------------------------------------------------ */

static int record_write(int fd, const char *owner, uint64_t blocks)
{
	struct spill_record r = { .magic = MAGIC, .blocks = blocks };

	strncpy(r.owner, owner, sizeof(r.owner) - 1);
	if (ftruncate(fd, at(blocks + 1)) < 0)
		return -errno;
	return write_all(fd, &r, sizeof(r), at(blocks));
}

/* Its making was interrupted. */
static bool is_unwritten(int fd, off_t size, uint64_t blocks)
{
	return size == at(blocks + 1) && lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

/* Does the file end with a record of owner's? */
static bool is_of(int fd, off_t size, const char *owner)
{
	struct spill_record r;

	if (size < at(1) || size % SPILL_BLOCK ||
	    read_all(fd, &r, sizeof(r), size - (off_t)SPILL_BLOCK))
		return false;
	r.owner[sizeof(r.owner) - 1] = '\0';
	return r.magic == MAGIC && size == at(r.blocks + 1) && !strcmp(r.owner, owner);
}

/* A disk of another size begins empty, and so does its file. */
static int record_check(int fd, const char *owner, uint64_t blocks)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EPROTO;
	if (!st.st_size || is_unwritten(fd, st.st_size, blocks))
		return record_write(fd, owner, blocks);
	if (!is_of(fd, st.st_size, owner))
		return -EPROTO;
	if (st.st_size == at(blocks + 1))
		return 0;
	return ftruncate(fd, 0) < 0 ? -errno : record_write(fd, owner, blocks);
}

/* What the file holds is what is no hole. */
static int map_make(struct spill *s)
{
	uint64_t words = (s->blocks + SPILL_GROUP - 1) / SPILL_GROUP * (SPILL_GROUP / 64);
	off_t end, start = 0;

	s->map = calloc(words, sizeof(*s->map));
	if (!s->map)
		return -ENOMEM;
	while ((start = lseek(s->fd, start, SEEK_DATA)) >= 0 && start < at(s->blocks)) {
		end = lseek(s->fd, start, SEEK_HOLE);
		if (end < 0)
			return -errno;
		for (off_t off = start & -(off_t)SPILL_BLOCK; off < end && off < at(s->blocks);
		     off += SPILL_BLOCK)
			bit_set(s, (uint64_t)off / SPILL_BLOCK);
		start = end;
	}
	return start < 0 && errno != ENXIO ? -errno : 0;
}

static int file_lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

int spill_open(struct spill *s, const char *path, const char *owner, uint64_t blocks)
{
	int err;

	*s = (struct spill){ .blocks = blocks };
	s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (s->fd < 0)
		return -errno;
	err = file_lock(s->fd);
	if (!err)
		err = record_check(s->fd, owner, blocks);
	/* Behind the end: nothing is lost by the attempt. */
	if (!err)
		err = punch(s->fd, blocks + 1, 1);
	if (!err)
		err = map_make(s);
	if (err)
		spill_close(s);
	return err;
}

void spill_close(struct spill *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->map);
	*s = (struct spill){ .fd = -1 };
}

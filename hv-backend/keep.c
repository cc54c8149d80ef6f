/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keep.c - the file's head, its records by name, processes known again.
 *
 *   [head, padded to a page] [guest 0] [guest 1] ... [guest KEEP_GUESTS_MAX - 1]
 *
 * The file is mapped whole, so that a record never moves, and has all its blocks
 * before: a store to a hole that the file system cannot fill would kill us.
 *
 * #syscalls: fallocate openat pidfd_open
 */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xxhash.h>

#include "log.h"

#define MAGIC		0x3065746174536d54ull	/* "TmState0" */
#define HEAD_BYTES	4096u
#define BOOT_BYTES	40u
#define FILE_BYTES	(HEAD_BYTES + KEEP_GUESTS_MAX * sizeof(struct keep_guest))

/* magic is stored last; sum is of the numbers before it. */
struct head {
	_Atomic uint64_t magic;
	uint32_t version;
	uint32_t guest_bytes, guests;
	uint32_t reserved;
	uint64_t sum;
	char boot[BOOT_BYTES];		/* the boot that VMMs' numbers are of */
	_Atomic uint64_t number;	/* the last given out */
};

struct keep {
	struct head *head;		/* start of the mapping */
	struct keep_guest *guest;
	char boot[BOOT_BYTES];		/* this one */
	bool adopted[KEEP_GUESTS_MAX];
};

static uint64_t head_sum(const struct head *h)
{
	return XXH3_64bits((const char *)h + offsetof(struct head, version),
			   offsetof(struct head, sum) - offsetof(struct head, version));
}

static void boot_read(char boot[BOOT_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, BOOT_BYTES - 1);

	boot[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* A process that died while it made the file has left it without a magic. */
static bool head_is_new(const struct head *h)
{
	return !atomic_load_explicit(&h->magic, memory_order_relaxed) && !h->version;
}

static int head_check(const struct head *h, const char *file)
{
	if (atomic_load_explicit(&h->magic, memory_order_relaxed) != MAGIC) {
		log_error("%s: not a state of tmemd, left as it is", file);
		return -EPROTO;
	}
	if (h->version != KEEP_VERSION) {
		log_error("%s: a state of format %u, this tmemd has format %u; left as it is: start the "
			  "version that wrote it", file, h->version, KEEP_VERSION);
		return -EPROTO;
	}
	if (h->sum != head_sum(h) || h->guest_bytes != sizeof(struct keep_guest) ||
	    h->guests != KEEP_GUESTS_MAX) {
		log_error("%s: the state is damaged; left as it is", file);
		return -EPROTO;
	}
	return 0;
}

/* Look before anything is mapped or changed; *fresh: there is nothing in it yet. */
static int file_check(int fd, const char *file, bool *fresh)
{
	struct head h;
	struct stat st;
	ssize_t n;

	memset(&h, 0, sizeof(h));
	if (fstat(fd, &st))
		return -errno;
	n = pread(fd, &h, sizeof(h), 0);
	if (n < 0)
		return -errno;
	*fresh = !st.st_size || (st.st_size == (off_t)FILE_BYTES && head_is_new(&h));
	return *fresh ? 0 : head_check(&h, file);
}

/* A file system that gives no blocks ahead is taken as it is. */
static int file_size(int fd, const char *file)
{
	int err = ftruncate(fd, FILE_BYTES) ? -errno : 0;

	while (!err && fallocate(fd, 0, 0, FILE_BYTES)) {
		if (errno == EOPNOTSUPP)
			break;
		err = errno == EINTR ? 0 : -errno;
	}
	if (err)
		log_error("%s: no room for %zu bytes: %s", file, FILE_BYTES, strerror(-err));
	return err;
}

static void head_write(struct keep *k)
{
	struct head *h = k->head;

	h->version = KEEP_VERSION;
	h->guest_bytes = sizeof(struct keep_guest);
	h->guests = KEEP_GUESTS_MAX;
	h->sum = head_sum(h);
	memcpy(h->boot, k->boot, sizeof(h->boot));
	atomic_store_explicit(&h->magic, MAGIC, memory_order_release);
}

int keep_open(struct keep **out, int fd, const char *file)
{
	bool fresh = false;
	int err = file_check(fd, file, &fresh);
	struct keep *k;
	void *p;

	if (err)
		return err;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	boot_read(k->boot);
	err = file_size(fd, file);
	if (err)
		goto fail;
	p = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	k->head = p;
	k->guest = (struct keep_guest *)((char *)p + HEAD_BYTES);
	if (fresh)
		head_write(k);
	*out = k;
	return 0;
fail:
	free(k);
	return err;
}

void keep_close(struct keep *k)
{
	if (!k)
		return;
	munmap(k->head, FILE_BYTES);
	free(k);
}

/* ---- guests ---------------------------------------------------------------- */

static bool guest_used(const struct keep_guest *g)
{
	return atomic_load_explicit(&g->used, memory_order_acquire);
}

void keep_guest_drop(struct keep_guest *g)
{
	atomic_store_explicit(&g->used, 0, memory_order_release);
}

static struct keep_guest *guest_find(struct keep *k, const char *name)
{
	for (unsigned i = 0; i < KEEP_GUESTS_MAX; i++) {
		struct keep_guest *g = &k->guest[i];

		if (guest_used(g) && !strncmp(g->name, name, sizeof(g->name)))
			return g;
	}
	return NULL;
}

static struct keep_guest *guest_new(struct keep *k, const char *name)
{
	for (unsigned i = 0; i < KEEP_GUESTS_MAX; i++) {
		struct keep_guest *g = &k->guest[i];

		if (guest_used(g))
			continue;
		memset(g, 0, sizeof(*g));
		snprintf(g->name, sizeof(g->name), "%s", name);
		atomic_store_explicit(&g->used, 1, memory_order_release);
		return g;
	}
	return NULL;
}

int keep_guest_get(struct keep *k, const char *name, struct keep_guest **out, bool *found)
{
	struct keep_guest *g = guest_find(k, name);

	*found = g != NULL;
	if (!g)
		g = guest_new(k, name);
	if (!g)
		return -ENOSPC;
	k->adopted[g - k->guest] = true;
	*out = g;
	return 0;
}

void keep_settle(struct keep *k)
{
	for (unsigned i = 0; i < KEEP_GUESTS_MAX; i++) {
		if (!k->adopted[i])
			keep_guest_drop(&k->guest[i]);
	}
	memcpy(k->head->boot, k->boot, sizeof(k->boot));
}

/* ---- connections -------------------------------------------------------------- */

uint64_t keep_number(struct keep *k)
{
	return atomic_fetch_add(&k->head->number, 1) + 1;
}

void keep_said_write(struct keep_conn *c, const void *said, size_t size)
{
	uint32_t other = !atomic_load_explicit(&c->current, memory_order_relaxed);

	memcpy(&c->copy[other].vhost, said, size);
	c->copy[other].sum = XXH3_64bits(said, size);
	atomic_store_explicit(&c->current, other, memory_order_release);
}

bool keep_said_read(const struct keep_conn *c, void *said, size_t size)
{
	uint32_t current = atomic_load_explicit(&c->current, memory_order_acquire) & 1;

	memcpy(said, &c->copy[current].vhost, size);
	return c->copy[current].sum == XXH3_64bits(said, size);
}

/* ---- VMM processes ----------------------------------------------------------- */

/* Clock ticks since boot at which pid was started; 0: not known. */
static uint64_t start_of(pid_t pid)
{
	char path[64], text[1024];
	unsigned long long start;
	const char *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* The name may hold anything; the fields are counted from its last ')'. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
				"%*d %*d %*d %*d %llu", &start) != 1)
		return 0;
	return start;
}

void keep_vmm_clear(struct keep_vmm *v)
{
	atomic_store_explicit(&v->pid, 0, memory_order_release);
}

void keep_vmm_note(struct keep_vmm *v, pid_t pid, uint64_t pidfd)
{
	keep_vmm_clear(v);
	v->start = start_of(pid);
	v->pidfd = pidfd;
	atomic_store_explicit(&v->pid, pid, memory_order_release);
}

int keep_vmm_find(const struct keep *k, const struct keep_vmm *v)
{
	pid_t pid = atomic_load_explicit(&v->pid, memory_order_acquire);
	uint64_t start;
	int fd;

	if (pid <= 0 || strncmp(k->head->boot, k->boot, sizeof(k->boot)))
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	/*
	 * Its number may have passed to another process.  Where that cannot be told,
	 * waiting for the wrong one to end costs memory; not to wait, a guest's pages.
	 */
	start = start_of(pid);
	if (v->start && start && start != v->start) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

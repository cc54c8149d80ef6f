// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sensors.c - what the kernel says about memory.
 *
 * Owns:    /proc/meminfo, /proc/pressure/memory, and the files of the memory
 *          cgroup, version 1 or 2, with all its parents: the limit that is
 *          nearest counts, whoever set it.
 * How:     reading is one short open, read, close into a buffer on the stack, so
 *          that it works when memory is what there is none of.
 * Must not: fail where a file is missing.  A host without PSI, a cgroup without a
 *          limit, a container that sees half of it: each is a case of its own.
 */
#include "sensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"

#define FILE_MAX	8192	/* memory.stat is the longest
 *
 * #syscalls: openat pread64
 */

/* ---- files ------------------------------------------------------------- */

struct sensors {
	bool in_cgroup;
	struct procfs_cgroup cgroup;		/* dir with root before it */
	char meminfo[PROCFS_PATH_MAX], psi[PROCFS_PATH_MAX];
	int  trigger[SENSORS_TRIGGERS];
	char words[320];
};

/* Up to size - 1 bytes of a file as a text.  -errno. */
static int file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -errno;
	while (got > 0 && used < size - 1) {
		got = read(fd, text + used, size - 1 - used);
		used += got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		got = -errno;
	close(fd);
	text[used] = '\0';
	return got < 0 ? (int)got : 0;
}

/* dir of the length given, with name behind it. */
static int level_read(const char *dir, size_t length, const char *name, char text[FILE_MAX])
{
	char path[PROCFS_PATH_MAX + 64];
	int n = snprintf(path, sizeof(path), "%.*s/%s", (int)length, dir, name);

	return n < (int)sizeof(path) ? file_read(path, text, FILE_MAX) : -ENAMETOOLONG;
}

static uint64_t level_limit(const char *dir, size_t length, const char *name)
{
	char text[FILE_MAX];
	uint64_t limit;

	if (level_read(dir, length, name, text) || procfs_limit_parse(text, &limit))
		return POLICY_NO_LIMIT;
	return limit;
}

static int level_number(const char *dir, size_t length, const char *name, uint64_t *value)
{
	char text[FILE_MAX];
	int err = level_read(dir, length, name, text);

	return err ? err : procfs_limit_parse(text, value);
}

/*
 * Of the file pages only those nobody used lately count as good as free: the
 * others would come back at once, from disk.
 */
static uint64_t level_reclaimable(const char *dir, size_t length, int version)
{
	char text[FILE_MAX];
	uint64_t value;

	if (level_read(dir, length, "memory.stat", text) ||
	    procfs_stat_parse(text, version == 1 ? "total_inactive_file" : "inactive_file", &value))
		return 0;
	return value;
}

static void level_psi(const char *dir, size_t length, struct policy_psi *psi)
{
	char text[FILE_MAX];

	if (level_read(dir, length, "memory.pressure", text) || procfs_psi_parse(text, psi))
		psi->known = false;
}

static uint64_t distance(const struct policy_inputs *in)
{
	uint64_t limit = in->cgroup.high < in->cgroup.max ? in->cgroup.high : in->cgroup.max;
	uint64_t used = in->cgroup.current > in->cgroup.reclaimable
		      ? in->cgroup.current - in->cgroup.reclaimable : 0;

	return limit > used ? limit - used : 0;
}

/* One cgroup on the way up; false: it has no limit or no numbers. */
static bool level_measure(const struct procfs_cgroup *c, size_t length, struct policy_inputs *in)
{
	bool v1 = c->version == 1;

	in->cgroup.max = level_limit(c->dir, length, v1 ? "memory.limit_in_bytes" : "memory.max");
	in->cgroup.high = v1 ? POLICY_NO_LIMIT : level_limit(c->dir, length, "memory.high");
	if (in->cgroup.max == POLICY_NO_LIMIT && in->cgroup.high == POLICY_NO_LIMIT)
		return false;
	if (level_number(c->dir, length, v1 ? "memory.usage_in_bytes" : "memory.current",
			 &in->cgroup.current))
		return false;
	in->cgroup.reclaimable = level_reclaimable(c->dir, length, c->version);
	in->cgroup.psi = (struct policy_psi){ .known = false };
	if (!v1)
		level_psi(c->dir, length, &in->cgroup.psi);
	in->cgroup.present = true;
	return true;
}

/* The cgroup and its parents up to the mount; the one nearest its limit is kept. */
static void cgroup_read(const struct procfs_cgroup *c, struct policy_inputs *in)
{
	struct policy_inputs level = { .valid = false };
	size_t length = strlen(c->dir);

	in->cgroup.present = false;
	for (;;) {
		if (level_measure(c, length, &level) &&
		    (!in->cgroup.present || distance(&level) < distance(in)))
			memcpy(&in->cgroup, &level.cgroup, sizeof(in->cgroup));
		if (length <= c->root_length)
			break;
		do {
			length--;
		} while (length > c->root_length && c->dir[length] != '/');
	}
}

void sensors_read(const struct sensors *s, struct policy_inputs *in)
{
	char text[FILE_MAX];

	in->valid = !file_read(s->meminfo, text, sizeof(text)) &&
		    !procfs_meminfo_parse(text, &in->host.total, &in->host.available);
	if (file_read(s->psi, text, sizeof(text)) || procfs_psi_parse(text, &in->host.psi))
		in->host.psi = (struct policy_psi){ .known = false };
	in->cgroup.present = false;
	if (s->in_cgroup)
		cgroup_read(&s->cgroup, in);
}

/* ---- opening ----------------------------------------------------------- */

/* A whole file, to be freed; NULL if it cannot be read. */
static char *file_load(const char *root, const char *path)
{
	char full[PROCFS_PATH_MAX], *text = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	f = fopen(full, "re");
	if (!f)
		return NULL;
	if (getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		text = NULL;
	}
	fclose(f);
	return text;
}

static bool cgroup_open(struct sensors *s, const char *root)
{
	char *membership = file_load(root, "/proc/self/cgroup");
	char *mounts = file_load(root, "/proc/self/mountinfo");
	struct procfs_cgroup found;
	size_t before = strlen(root);
	int n = -1;

	if (membership && mounts && !procfs_cgroup_find(membership, mounts, &found)) {
		n = snprintf(s->cgroup.dir, sizeof(s->cgroup.dir), "%s%s", root, found.dir);
		s->cgroup.version = found.version;
		s->cgroup.root_length = (unsigned)before + found.root_length;
	}
	free(membership);
	free(mounts);
	return n >= 0 && n < (int)sizeof(s->cgroup.dir);
}

/* The descriptor, or -errno.  Without the final NUL the kernel cuts the last digit. */
static int trigger_open(const char *path)
{
	char order[64];
	int n = snprintf(order, sizeof(order), "some %u %u", POLICY_STALL_SOME_US,
			 POLICY_STALL_WINDOW_MS * 1000);
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	if (write(fd, order, (size_t)n + 1) == n + 1)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static void triggers_open(struct sensors *s)
{
	char path[PROCFS_PATH_MAX + 32];

	s->trigger[POLICY_HOST] = trigger_open(s->psi);
	s->trigger[POLICY_CGROUP] = -ENOENT;
	if (s->in_cgroup && s->cgroup.version == 2) {
		snprintf(path, sizeof(path), "%s/memory.pressure", s->cgroup.dir);
		s->trigger[POLICY_CGROUP] = trigger_open(path);
	}
}

static void words_set(struct sensors *s)
{
	char cgroup[160] = "no cgroup";
	const char *stalls = "the kernel wakes us when tasks stall";
	char refused[96];

	if (s->in_cgroup)
		snprintf(cgroup, sizeof(cgroup), "cgroup v%d %.120s", s->cgroup.version,
			 s->cgroup.dir);
	if (s->trigger[POLICY_HOST] < 0) {
		snprintf(refused, sizeof(refused), "no stall triggers (%.60s), polling only",
			 strerror(-s->trigger[POLICY_HOST]));
		stalls = refused;
	}
	snprintf(s->words, sizeof(s->words), "%s; %s", stalls, cgroup);
}

int sensors_open(struct sensors **out, const char *root)
{
	struct sensors *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	snprintf(s->meminfo, sizeof(s->meminfo), "%s/proc/meminfo", root);
	snprintf(s->psi, sizeof(s->psi), "%s/proc/pressure/memory", root);
	s->in_cgroup = cgroup_open(s, root);
	triggers_open(s);
	words_set(s);
	*out = s;
	return 0;
}

void sensors_close(struct sensors *s)
{
	for (unsigned i = 0; i < SENSORS_TRIGGERS; i++) {
		if (s->trigger[i] >= 0)
			close(s->trigger[i]);
	}
	free(s);
}

const char *sensors_words(const struct sensors *s)
{
	return s->words;
}

int sensors_trigger(const struct sensors *s, unsigned i)
{
	return s->trigger[i] >= 0 ? s->trigger[i] : -1;
}

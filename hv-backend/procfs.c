// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * procfs.c - the kernel's texts about memory, understood.
 *
 * Owns:    the grammar of meminfo, pressure files, cgroup files and mountinfo.
 * How:     functions over a text that ends with a NUL; lines are walked in place.
 * Must not: open anything, or read past the text whatever it holds.
 */
#include "procfs.h"

#include <errno.h>
#include <string.h>

/* ---- texts ------------------------------------------------------------- */

/* Digits up to the first other character, *end.  -EPROTO: none, or too large. */
static int number_parse(const char *text, const char **end, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -EPROTO;
	}
	*end = p;
	*out = n;
	return p == text ? -EPROTO : 0;
}

static const char *line_next(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

/* What follows prefix in the line that begins with it, or NULL. */
static const char *line_find(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	for (; *text; text = line_next(text)) {
		if (!strncmp(text, prefix, length))
			return text + length;
	}
	return NULL;
}

static int meminfo_value(const char *text, const char *key, uint64_t *bytes)
{
	const char *value = line_find(text, key), *end;
	uint64_t kib;

	if (!value || number_parse(value + strspn(value, " "), &end, &kib) ||
	    strncmp(end, " kB", 3) || kib > UINT64_MAX / 1024)
		return -EPROTO;
	*bytes = kib * 1024;
	return 0;
}

int procfs_meminfo_parse(const char *text, uint64_t *total, uint64_t *available)
{
	uint64_t t, a;

	if (meminfo_value(text, "MemTotal:", &t) || meminfo_value(text, "MemAvailable:", &a) ||
	    t == 0)
		return -EPROTO;
	*total = t;
	*available = a;
	return 0;
}

/* The text behind " key=" in a line that ends at the newline, or NULL. */
static const char *pair_find(const char *line, const char *key)
{
	const char *found = strstr(line, key);

	return found && found < line + strcspn(line, "\n") ? found + strlen(key) : NULL;
}

/* "avg10=1.23 avg60=... total=456" */
static int psi_line(const char *line, unsigned *avg10, uint64_t *total_us)
{
	const char *avg = pair_find(line, "avg10="), *total = pair_find(line, "total=");
	uint64_t whole, hundredths, us;

	if (!avg || number_parse(avg, &avg, &whole) || *avg != '.' || whole > 100 ||
	    number_parse(avg + 1, &avg, &hundredths) || hundredths > 99)
		return -EPROTO;
	if (!total || number_parse(total, &total, &us))
		return -EPROTO;
	*avg10 = (unsigned)(whole * 100 + hundredths);
	*total_us = us;
	return 0;
}

int procfs_psi_parse(const char *text, struct policy_psi *psi)
{
	const char *some = line_find(text, "some "), *full = line_find(text, "full ");
	struct policy_psi p = { .known = true };

	if (!some || psi_line(some, &p.some_avg10, &p.some_us))
		return -EPROTO;
	if (full && psi_line(full, &p.full_avg10, &p.full_us))
		return -EPROTO;
	*psi = p;
	return 0;
}

int procfs_limit_parse(const char *text, uint64_t *bytes)
{
	const char *end;
	uint64_t n;

	if (!strcmp(text, "max") || !strcmp(text, "max\n")) {
		*bytes = POLICY_NO_LIMIT;
		return 0;
	}
	if (number_parse(text, &end, &n) || (*end && *end != '\n'))
		return -EPROTO;
	/* "None" of version 1 is the largest signed number of whole pages. */
	*bytes = n >= UINT64_C(1) << 62 ? POLICY_NO_LIMIT : n;
	return 0;
}

int procfs_stat_parse(const char *text, const char *key, uint64_t *value)
{
	size_t length = strlen(key);
	const char *end;
	uint64_t n;

	for (; *text; text = line_next(text)) {
		if (strncmp(text, key, length) || text[length] != ' ')
			continue;
		if (number_parse(text + length + 1, &end, &n) || (*end && *end != '\n'))
			return -EPROTO;
		*value = n;
		return 0;
	}
	return -ENOENT;
}

/* ---- where the cgroup is ----------------------------------------------- */

/* Part of a text, not ended by a NUL. */
struct span {
	const char *at;
	size_t length;
};

static bool span_is(struct span s, const char *text)
{
	return s.length == strlen(text) && !memcmp(s.at, text, s.length);
}

/* The next piece of *from up to one of ends, or to the end of the line. */
static struct span span_take(const char **from, const char *ends)
{
	struct span s = { *from, 0 };

	while (s.at[s.length] && s.at[s.length] != '\n' && !strchr(ends, s.at[s.length]))
		s.length++;
	*from = s.at + s.length;
	if (**from && **from != '\n')
		(*from)++;
	return s;
}

static bool list_has(struct span list, const char *word)
{
	const char *p = list.at, *end = list.at + list.length;

	while (p < end) {
		struct span item = span_take(&p, ",");

		if (item.at + item.length > end)
			item.length = (size_t)(end - item.at);
		if (span_is(item, word))
			return true;
	}
	return false;
}

/* Lines "ID:CONTROLLERS:PATH"; the memory controller's, else that of version 2. */
static int membership_find(const char *text, int *version, struct span *path)
{
	int found = 0;

	for (; *text; text = line_next(text)) {
		const char *p = text;
		struct span id = span_take(&p, ":");
		struct span controllers = span_take(&p, ":");
		bool v1 = list_has(controllers, "memory");

		if (!v1 && !(span_is(id, "0") && controllers.length == 0))
			continue;
		if (found == 1)
			continue;
		found = v1 ? 1 : 2;
		*path = span_take(&p, "");
	}
	*version = found;
	return found && path->length ? 0 : -ENOENT;
}

/*
 * A line of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE
 * SUPEROPTIONS.
 */
static bool mount_matches(const char *line, int version, struct span *root, struct span *point)
{
	struct span type, options;

	for (int i = 0; i < 3; i++)
		span_take(&line, " ");
	*root = span_take(&line, " ");
	*point = span_take(&line, " ");
	do {
		type = span_take(&line, " ");
	} while (type.length && !span_is(type, "-"));
	type = span_take(&line, " ");
	span_take(&line, " ");
	options = span_take(&line, " ");
	if (version == 2)
		return span_is(type, "cgroup2");
	return span_is(type, "cgroup") && list_has(options, "memory");
}

/* The character that an escape of mountinfo's (\040: a blank) stands for, 0: it is none. */
static char escape_decode(const char *at, size_t length)
{
	if (length < 4 || at[0] != '\\' || at[1] < '0' || at[1] > '3' ||
	    strspn(at + 1, "01234567") < 3)
		return 0;
	return (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
}

/* -ENAMETOOLONG. */
static int path_append(struct procfs_cgroup *c, size_t *used, struct span s)
{
	for (size_t i = 0; i < s.length; i++) {
		char escaped = escape_decode(s.at + i, s.length - i);

		if (*used + 1 >= sizeof(c->dir))
			return -ENAMETOOLONG;
		c->dir[(*used)++] = escaped ? escaped : s.at[i];
		i += escaped ? 3 : 0;
	}
	c->dir[*used] = '\0';
	return 0;
}

/*
 * path as seen below a mount of root: in a container the mount may show only a
 * part of the hierarchy.  Where the two do not go together, its top is all we see.
 */
static struct span path_below(struct span path, struct span root)
{
	if (path.length <= 1 || (path.length >= 3 && !memcmp(path.at, "/..", 3)))
		return (struct span){ path.at, 0 };
	if (root.length == 1)
		return path;
	if (path.length < root.length || memcmp(path.at, root.at, root.length) ||
	    (path.length > root.length && path.at[root.length] != '/'))
		return (struct span){ path.at, 0 };
	return (struct span){ path.at + root.length, path.length - root.length };
}

int procfs_cgroup_find(const char *cgroup, const char *mountinfo, struct procfs_cgroup *out)
{
	struct span path, root, point;
	size_t used = 0;
	int err = membership_find(cgroup, &out->version, &path);

	if (err)
		return err;
	for (; *mountinfo; mountinfo = line_next(mountinfo)) {
		if (mount_matches(mountinfo, out->version, &root, &point))
			break;
	}
	if (!*mountinfo)
		return -ENOENT;
	err = path_append(out, &used, point);
	out->root_length = (unsigned)used;
	return err ? err : path_append(out, &used, path_below(path, root));
}

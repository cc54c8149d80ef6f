/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config_edit.c - change options in tmemd.conf and nothing else of it.
 *
 * How:     one walk over the lines copies them; a line of the section meant that
 *          sets one of the options keeps its indentation and its comment.  What was
 *          not met is inserted after the section's last option.  The new text is
 *          parsed as the daemon would, written beside the file, synced, and renamed
 *          over it.
 *
 * #syscalls: fchmod fchown fsync getrandom readlink rename unlink
 */
#include "config_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX	(4 << 20)	/* bytes */

/* ---- the text ----------------------------------------------------------- */

static const char *line_end(const char *line)
{
	const char *newline = strchr(line, '\n');

	return newline ? newline + 1 : line + strlen(line);
}

/* [guest NAME], or without a guest [tmemd] */
static bool is_section_of(const char *line, const char *guest)
{
	const char *text = line + strspn(line, CONFIG_BLANKS);
	size_t length;

	if (!guest)
		return !strncmp(text, "[tmemd]", 7);
	length = strlen(guest);
	return !strncmp(text, "[guest ", 7) && !strncmp(text + 7, guest, length) &&
	       text[7 + length] == ']';
}

/* The option a line sets has this name. */
static bool sets(const char *line, const char *name)
{
	const char *text = line + strspn(line, CONFIG_BLANKS);
	size_t length = strlen(name);

	if (strncmp(text, name, length))
		return false;
	text += length + strspn(text + length, CONFIG_BLANKS);
	return *text == '=' || *text == ':';
}

static bool is_option(const char *line)
{
	return !strchr("#;[\n", line[strspn(line, CONFIG_BLANKS)]);
}

/* The line with another value: what stands before it and the comment behind it stay. */
static void line_exchange(FILE *out, const char *line, const char *value)
{
	const char *at = strpbrk(line, "=:") + 1;

	at += strspn(at, CONFIG_BLANKS);
	fwrite(line, 1, (size_t)(at - line), out);
	fputs(value, out);
	/* A ';' begins a comment only behind a blank. */
	while (*at && *at != '\n' && *at != '\r' && !(strchr(CONFIG_BLANKS, *at) && at[1] == ';'))
		at++;
	fwrite(at, 1, (size_t)(line_end(at) - at), out);
}

static void line_copy(FILE *out, const char *line, const struct config_setting *settings,
		      size_t count, uint32_t *done)
{
	for (size_t i = 0; i < count; i++) {
		if (sets(line, settings[i].name)) {
			line_exchange(out, line, settings[i].value);
			*done |= 1u << i;
			return;
		}
	}
	fwrite(line, 1, (size_t)(line_end(line) - line), out);
}

static void missing_add(FILE *out, const struct config_setting *settings, size_t count,
			uint32_t done)
{
	for (size_t i = 0; i < count; i++) {
		if (!(done & 1u << i))
			fprintf(out, "%s = %s\n", settings[i].name, settings[i].value);
	}
}

/* Where the section's options end: behind the last of them, or its title. */
static const char *section_end(const char *title)
{
	const char *end = line_end(title);

	for (const char *line = end; *line; line = line_end(line)) {
		if (line[strspn(line, CONFIG_BLANKS)] == '[')
			break;
		if (is_option(line))
			end = line_end(line);
	}
	return end;
}

static void newline_add(FILE *out, const char *text, const char *end)
{
	if (end > text && end[-1] != '\n')
		fputc('\n', out);
}

static void text_edit(FILE *out, const char *text, const char *guest,
		      const struct config_setting *settings, size_t count)
{
	const char *line = text, *end;
	uint32_t done = 0;

	while (*line && !is_section_of(line, guest))
		line = line_end(line);
	fwrite(text, 1, (size_t)(line - text), out);
	if (!*line) {
		newline_add(out, text, line);
		fprintf(out, "\n[%s%s]\n", guest ? "guest " : "tmemd", guest ? guest : "");
		missing_add(out, settings, count, 0);
		return;
	}
	end = section_end(line);
	for (; line < end; line = line_end(line))
		line_copy(out, line, settings, count, &done);
	newline_add(out, text, end);
	missing_add(out, settings, count, done);
	fputs(end, out);
}

char *config_edit(const char *text, const char *guest, const struct config_setting *settings,
		  size_t count)
{
	char *edited = NULL;
	size_t size;
	FILE *out = open_memstream(&edited, &size);
	bool failed;

	if (!out)
		return NULL;
	text_edit(out, text, guest, settings, count);
	failed = ferror(out);
	if (fclose(out) || failed) {
		free(edited);
		return NULL;
	}
	return edited;
}

/* ---- the file ------------------------------------------------------------ */

static int refuse_errno(struct config_error *e, const char *path, int err)
{
	snprintf(e->text, sizeof(e->text), "%.300s: %s", path, strerror(-err));
	return err;
}

/* The whole file as text, from malloc, NULL after an error.  st receives what it is. */
static int file_load(const char *path, char **text, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t got = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st))
		err = -errno;
	else if (!S_ISREG(st->st_mode) || st->st_size > FILE_MAX)
		err = -EFBIG;
	*text = err ? NULL : calloc(1, (size_t)st->st_size + 1);
	if (!err && !*text)
		err = -ENOMEM;
	if (!err)
		got = read(fd, *text, (size_t)st->st_size);
	if (!err && (got != st->st_size || strlen(*text) != (size_t)got))
		err = -EIO;
	close(fd);
	if (err) {
		free(*text);
		*text = NULL;
	}
	return err;
}

/* A file of this text, as the daemon would read it. */
static int text_check(const char *text, const char *path, uint64_t arena, struct config_error *e)
{
	FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	struct config c;
	int err;

	if (!stream)
		return refuse_errno(e, path, -errno);
	config_init(&c);
	err = config_read_stream(&c, stream, path, e);
	if (!err)
		err = arena ? config_mins_check(&c, arena, e) : config_finish(&c, e);
	config_free(&c);
	fclose(stream);
	return err;
}

static int write_whole(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* The name is safe on disk only when its directory is. */
static int directory_sync(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, err;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

/*
 * Owner and mode are the old file's.  One that is not root cannot give files away:
 * whoever made the directory ours lets the new file be ours too.
 */
static int ownership_copy(int fd, const struct stat *st)
{
	if (fchown(fd, st->st_uid, st->st_gid) && errno != EPERM)
		return -errno;
	return fchmod(fd, st->st_mode & 07777) ? -errno : 0;
}

/* path is absolute. */
static int file_replace(const char *path, const char *text, const struct stat *st)
{
	char beside[PATH_MAX + 8];
	int fd, err;

	snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = ownership_copy(fd, st);
	if (!err)
		err = write_whole(fd, text);
	close(fd);
	if (!err && rename(beside, path))
		err = -errno;
	if (err) {
		unlink(beside);
		return err;
	}
	return directory_sync(path);
}

static int texts_edit(char **text, const char *const *guests, size_t guest_count,
		      const struct config_setting *settings, size_t count)
{
	for (size_t i = 0; i < guest_count; i++) {
		char *edited = config_edit(*text, guests[i], settings, count);

		if (!edited)
			return -ENOMEM;
		free(*text);
		*text = edited;
	}
	return 0;
}

int config_edit_file(const char *path, const char *const *guests, size_t guest_count,
		     const struct config_setting *settings, size_t count, uint64_t arena,
		     struct config_error *e)
{
	char real[PATH_MAX];
	struct stat st;
	char *text = NULL;
	int err = realpath(path, real) ? file_load(real, &text, &st) : -errno;

	if (!text)
		return refuse_errno(e, path, err);
	err = texts_edit(&text, guests, guest_count, settings, count);
	if (err)
		refuse_errno(e, path, err);
	else
		err = text_check(text, path, arena, e);
	if (!err) {
		err = file_replace(real, text, &st);
		if (err)
			refuse_errno(e, path, err);
	}
	free(text);
	return err;
}

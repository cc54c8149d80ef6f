/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_config_edit.c - options of guests changed in a configuration file: what is
 * exchanged, what is added, what stays byte for byte, and that a file is replaced
 * whole or not at all.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_edit.h"

#define ARENA	(UINT64_C(1) << 30)

static const struct config_setting settings[] = {
	{ "max", "2G" }, { "codec-ephemeral", "lz4" },
};

static void rows_of_texts(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		/* Exchanged in place, with its indentation and comments. */
		{ "[guest a]\n# keep\n\tmax=1G ; why\ncodec-ephemeral : lzo\n",
		  "[guest a]\n# keep\n\tmax=2G ; why\ncodec-ephemeral : lz4\n" },
		/* Added behind the last option, before the comment on the next section. */
		{ "[guest a]\nmin = 1\n\n# of b\n[guest b]\nmax = 1\n",
		  "[guest a]\nmin = 1\nmax = 2G\ncodec-ephemeral = lz4\n\n# of b\n"
		  "[guest b]\nmax = 1\n" },
		/* A default that is commented out is not an option. */
		{ "[guest a]\n#max = none\n; max = 1\n",
		  "[guest a]\nmax = 2G\ncodec-ephemeral = lz4\n#max = none\n; max = 1\n" },
		/* Names of which one begins with the other. */
		{ "[guest ab]\nmax = 1\n[guest a]\npersistent-max = 1\n",
		  "[guest ab]\nmax = 1\n[guest a]\npersistent-max = 1\nmax = 2G\n"
		  "codec-ephemeral = lz4\n" },
		/* No section, no newline at the end. */
		{ "[tmemd]\narena = 1G", "[tmemd]\narena = 1G\n\n[guest a]\nmax = 2G\n"
		  "codec-ephemeral = lz4\n" },
		{ "[guest a]", "[guest a]\nmax = 2G\ncodec-ephemeral = lz4\n" },
		{ "[guest a]\nmax = 1G", "[guest a]\nmax = 2G\ncodec-ephemeral = lz4\n" },
		{ "", "\n[guest a]\nmax = 2G\ncodec-ephemeral = lz4\n" },
		/* Other ends of lines. */
		{ "[guest a]\r\nmax = 1G\r\ncodec-ephemeral = zstd\r\n",
		  "[guest a]\r\nmax = 2G\r\ncodec-ephemeral = lz4\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *once = config_edit(rows[i].before, "a", settings, 2);
		char *twice = config_edit(once, "a", settings, 2);

		assert_string_equal(once, rows[i].after);
		assert_string_equal(twice, once);
		free(once);
		free(twice);
	}
}

/* ---- files ------------------------------------------------------------- */

struct directory {
	char dir[32], path[64];
};

static int setup(void **state)
{
	struct directory *d = calloc(1, sizeof(*d));

	strcpy(d->dir, "/tmp/tmem-edit-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/tmemd.conf", d->dir);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct directory *d = *state;

	unlink(d->path);
	/* Fails if anything was left beside it. */
	assert_int_equal(rmdir(d->dir), 0);
	free(d);
	return 0;
}

static void file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void assert_file(const char *path, const char *expected)
{
	char text[1024];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_string_equal(text, expected);
}

static const char *const both[] = { "a", "b" };

static void a_file_is_replaced_with_its_mode(void **state)
{
	struct directory *d = *state;
	struct config_error e;
	struct stat before, after;

	file_write(d->path, "[guest a]\n[guest b]\nmax = 1\n");
	assert_int_equal(chmod(d->path, 0640), 0);
	assert_int_equal(stat(d->path, &before), 0);
	assert_int_equal(config_edit_file(d->path, both, 2, settings, 1, ARENA, &e), 0);
	assert_file(d->path, "[guest a]\nmax = 2G\n[guest b]\nmax = 2G\n");
	assert_int_equal(stat(d->path, &after), 0);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_true(after.st_ino != before.st_ino);
}

static void a_link_stays_a_link(void **state)
{
	struct directory *d = *state;
	char link[64];
	struct config_error e;
	struct stat st;

	snprintf(link, sizeof(link), "%s/link", d->dir);
	file_write(d->path, "");
	assert_int_equal(symlink(d->path, link), 0);
	assert_int_equal(config_edit_file(link, both, 1, settings, 1, ARENA, &e), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_file(d->path, "\n[guest a]\nmax = 2G\n");
	assert_int_equal(unlink(link), 0);
}

static void what_will_not_do_stays_as_it_is(void **state)
{
	static const struct {
		const char *text;
		struct config_setting setting;
		const char *reason;
	} rows[] = {
		{ "[guest a]\nmin = 3G\n", { "max", "1G" }, ":3: min (3221225472) is above max" },
		{ "[guest a]\n", { "min", "600M" }, "mins add up to 1258291200" },
		{ "[guest a]\nnonsense\n", { "max", "1G" }, ":2: \"nonsense\"" },
		{ "[guest a]\n", { "colour", "red" }, "colour: no such option" },
	};
	struct directory *d = *state;
	struct config_error e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		file_write(d->path, rows[i].text);
		assert_int_equal(config_edit_file(d->path, both, 2, &rows[i].setting, 1, ARENA, &e),
				 -EINVAL);
		assert_non_null(strstr(e.text, rows[i].reason));
		assert_file(d->path, rows[i].text);
	}
}

static const char *const daemon_section[] = { NULL };

static void the_daemons_section_is_edited(void **state)
{
	static const struct config_setting arena[] = { { "arena", "2G" } };
	static const struct {
		const char *before, *after;
	} rows[] = {
		{ "[tmemd]\narena = 1G ; so much\nhttp = no\n[guest a]\nmax = 1G\n",
		  "[tmemd]\narena = 2G ; so much\nhttp = no\n[guest a]\nmax = 1G\n" },
		{ "[tmemd]\n#arena = 1G\n\n[guest a]\n",
		  "[tmemd]\narena = 2G\n#arena = 1G\n\n[guest a]\n" },
		{ "[guest tmemd]\n", "[guest tmemd]\n\n[tmemd]\narena = 2G\n" },
	};
	struct directory *d = *state;
	struct config_error e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		file_write(d->path, rows[i].before);
		assert_int_equal(config_edit_file(d->path, daemon_section, 1, arena, 1, 0, &e), 0);
		assert_file(d->path, rows[i].after);
	}
}

/* What a daemon would not start with. */
static void limits_that_do_not_go_together_stay_as_they_are(void **state)
{
	static const struct {
		const char *text;
		struct config_setting setting;
		const char *reason;
	} rows[] = {
		{ "[tmemd]\npersistent-max = 1G\narena = 2G\n", { "arena", "512M" },
		  "persistent-max (1073741824) is above arena" },
		{ "[guest a]\nmin = 1G\n", { "arena", "512M" }, "mins add up to 1073741824" },
		{ "[tmemd]\nmemory-high = 1G\n", { "memory-low", "2G" },
		  "memory-low (2147483648) is above memory-high" },
		{ "", { "arena", "1K" }, "out of range" },
	};
	struct directory *d = *state;
	struct config_error e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		file_write(d->path, rows[i].text);
		assert_int_equal(config_edit_file(d->path, daemon_section, 1, &rows[i].setting, 1,
						  0, &e), -EINVAL);
		assert_non_null(strstr(e.text, rows[i].reason));
		assert_file(d->path, rows[i].text);
	}
}

static void absent_and_odd_files(void **state)
{
	struct directory *d = *state;
	struct config_error e;

	assert_int_equal(config_edit_file(d->path, both, 1, settings, 1, ARENA, &e), -ENOENT);
	assert_non_null(strstr(e.text, "No such file"));
	assert_int_equal(config_edit_file(d->dir, both, 1, settings, 1, ARENA, &e), -EFBIG);
}

int main(void)
{
#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_texts),
		WITH_DIRECTORY(a_file_is_replaced_with_its_mode),
		WITH_DIRECTORY(a_link_stays_a_link),
		WITH_DIRECTORY(what_will_not_do_stays_as_it_is),
		WITH_DIRECTORY(the_daemons_section_is_edited),
		WITH_DIRECTORY(limits_that_do_not_go_together_stay_as_they_are),
		WITH_DIRECTORY(absent_and_odd_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

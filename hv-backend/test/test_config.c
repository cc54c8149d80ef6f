/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_config.c - tmemd.conf and flags: what is taken, and that every refusal
 * names its line and its reason.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "size.h"

static int read_text(struct config *c, const char *text, size_t length, struct config_error *e)
{
	FILE *stream = fmemopen((void *)(uintptr_t)text, length, "r");
	int err;

	assert_non_null(stream);
	config_init(c);
	err = config_read_stream(c, stream, "f", e);
	fclose(stream);
	return err;
}

static void sizes_are_parsed(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "64K", 0, 64 << 10 },
		{ "64k", 0, 64 << 10 },
		{ "3MiB", 0, 3 << 20 },
		{ "2G", 0, UINT64_C(2) << 30 },
		{ "5T", 0, UINT64_C(5) << 40 },
		{ "15E", 0, UINT64_C(15) << 60 },
		{ "16E", -ERANGE, 0 },
		{ "16777215T", 0, UINT64_C(16777215) << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999K", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1KiBx", -EINVAL, 0 },
		{ "1X", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t bytes = 7;

		if (size_parse(rows[i].text, &bytes) != rows[i].err)
			fail_msg("size \"%s\"", rows[i].text);
		assert_int_equal(bytes, rows[i].err ? 7 : rows[i].bytes);
	}
}

static void sizes_are_written(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0" }, { 1023, "1023" }, { 1024, "1K" }, { 1536, "1.5K" },
		{ 10 << 10, "10K" }, { 36 << 20, "36M" }, { UINT64_C(1) << 30, "1G" },
		{ UINT64_MAX, "15E" },
	};
	char text[SIZE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(size_format(rows[i].bytes, text), rows[i].text);
}

static const char whole_file[] =
	"# a comment\n"
	"[tmemd]\n"
	"run-dir = /tmp/r   ; where\n"
	"arena=2G\r\n"
	"persistent-max = 1G\n"
	"dedup = client\n"
	"lock-memory = yes\n"
	"zbud-buddies = two\n"
	"memory-policy = off\n"
	"memory-floor = 1M\n"
	"memory-low = 2M\n"
	"memory-high = 3M\n"
	"  workers = 3\n"
	"queues = 16\n"
	"poll-us = 0\n"
	"http = no\n"
	"http-port = 9810\n"
	"log-level = debug\n"
	"\n"
	"[guest web-1]\n"
	"weight = 300\n"
	"min = 64M\n"
	"\t\fmax = 1G\n"
	"persistent-max = 512M\n"
	"codec-ephemeral = lz4\n"
	"codec-persistent = zstd\n"
	"[guest db]\n"
	"socket = /tmp/s/db.sock\n"
	"max = none\n"
	"[guest empty]";

static void whole_file_is_taken(void **state)
{
	struct config c;
	struct config_error e;

	(void)state;
	assert_int_equal(read_text(&c, whole_file, sizeof(whole_file) - 1, &e), 0);
	assert_int_equal(config_finish(&c, &e), 0);
	assert_string_equal(c.run_dir, "/tmp/r");
	assert_string_equal(c.control_socket, "/tmp/r/control.sock");
	assert_string_equal(c.arena_file, "");
	assert_int_equal(c.arena, UINT64_C(2) << 30);
	assert_int_equal(c.persistent_max, UINT64_C(1) << 30);
	assert_int_equal(c.dedup, TMEM_DEDUP_CLIENT);
	assert_true(c.lock_memory);
	assert_true(c.zbud_two);
	assert_false(c.policy.on);
	assert_int_equal(c.policy.floor, 1 << 20);
	assert_int_equal(c.policy.low, 2 << 20);
	assert_int_equal(c.policy.high, 3 << 20);
	assert_int_equal(c.policy.total, c.arena);
	assert_int_equal(c.policy.persistent_max, c.persistent_max);
	assert_int_equal(c.workers, 3);
	assert_int_equal(c.queues, 16);
	assert_int_equal(c.poll_us, 0);
	assert_false(c.http);
	assert_int_equal(c.http_port, 9810);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c.guest_count, 3);
	assert_string_equal(c.guests[0].name, "web-1");
	assert_string_equal(c.guests[0].socket, "/tmp/r/web-1.sock");
	assert_int_equal(c.guests[0].quota.weight, 300);
	assert_int_equal(c.guests[0].quota.min, 64 << 20);
	assert_int_equal(c.guests[0].quota.max, 1 << 30);
	assert_int_equal(c.guests[0].quota.persistent_max, 512 << 20);
	assert_int_equal(c.guests[0].quota.codec[TMEM_EPHEMERAL], TMEM_CODEC_LZ4);
	assert_int_equal(c.guests[0].quota.codec[TMEM_PERSISTENT], TMEM_CODEC_ZSTD);
	assert_string_equal(c.guests[1].socket, "/tmp/s/db.sock");
	assert_int_equal(c.guests[1].quota.max, TMEM_NO_LIMIT);
	assert_int_equal(c.guests[1].quota.weight, 100);
	assert_string_equal(c.guests[2].name, "empty");
	config_free(&c);
}

static void defaults_stand(void **state)
{
	struct config c;
	struct config_error e;

	(void)state;
	config_init(&c);
	assert_int_equal(config_finish(&c, &e), 0);
	assert_int_equal(c.persistent_max, c.arena / 4 * 3);
	assert_int_equal(c.guest_count, 0);
	assert_false(c.lock_memory);
	config_free(&c);
}

static void refusals_name_line_and_reason(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[tmemd]\narena = 1Q\n",
		  "f:2: arena: \"1Q\" is not a size (like 512M or 2G)" },
		{ "[tmemd]\n\narena = 99999999999G\n", "f:3: arena: 99999999999G is too large" },
		{ "[tmemd]\narena = 1K\n",
		  "f:2: arena: 1K is out of range, 1048576 to 70368744177664" },
		{ "[tmemd]\nqueues = 17\n", "f:2: queues: 17 is out of range, 1 to 16" },
		{ "[tmemd]\nqueues = 1K\n", "f:2: queues: \"1K\" is not a number" },
		{ "[tmemd]\nworkers = many\n", "f:2: workers: \"many\" is not a number" },
		{ "[tmemd]\nlog-level = loud\n",
		  "f:2: log-level: \"loud\" is not one of error, warn, info, debug" },
		{ "[tmemd]\nrun-dir =\n", "f:2: run-dir: is empty" },
		{ "[tmemd]\ncolour = red\n", "f:2: colour: no such option of [tmemd]" },
		{ "[tmemd]\narena = 1G\narena = 2G\n", "f:3: arena: given twice" },
		{ "arena = 1G\n", "f:1: arena: stands before any section" },
		{ "[tmemd]\n[tmemd]\n", "f:2: [tmemd] stands twice" },
		{ "[tmemd\n", "f:1: a section line is [tmemd] or [guest NAME]" },
		{ "[tmemd] x\n", "f:1: a section line is [tmemd] or [guest NAME]" },
		{ "[host]\n", "f:1: [host]: no such section" },
		{ "[tmemd]\nnonsense\n", "f:2: \"nonsense\" is not OPTION = VALUE" },
		{ "[guest a]\nmin = 2G\nweight = 3\nmax = 1G\n",
		  "f:4: min (2147483648) is above max (1073741824)" },
		{ "[guest a]\nmax = 1G\nmin = 2G\n",
		  "f:3: min (2147483648) is above max (1073741824)" },
		{ "[guest a]\nmin = none\n",
		  "f:2: min: \"none\" is not a size (like 512M or 2G)" },
		{ "[guest a]\nweight = 0\n", "f:2: weight: 0 is out of range, 1 to 65535" },
		{ "[guest a]\ncodec-ephemeral = gzip\n",
		  "f:2: codec-ephemeral: \"gzip\" is not one of lzo, lz4, zstd" },
		{ "[guest a]\narena = 1G\n", "f:2: arena: no such option of a guest" },
		{ "[guest a]\nsocket = /a\nsocket = /b\n", "f:3: socket: given twice" },
		{ "[guest a]\n[guest b]\n[guest a]\n", "f:3: [guest a] stands twice" },
		{ "[guest ../a]\n", "f:1: \"../a\" is not a guest name: 1 to 63 letters, digits, "
				    ". _ -, a letter or digit first" },
		{ "[guest ]\n", "f:1: \"\" is not a guest name: 1 to 63 letters, digits, "
				". _ -, a letter or digit first" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config c;
		struct config_error e = { "" };

		if (!read_text(&c, rows[i].text, strlen(rows[i].text), &e))
			fail_msg("taken: %s", rows[i].text);
		assert_string_equal(e.text, rows[i].error);
		config_free(&c);
	}
}

static void long_lines_and_nul_are_refused(void **state)
{
	char text[600] = "[tmemd]\n";
	struct config c;
	struct config_error e;

	(void)state;
	memset(text + 8, 'a', 500);
	assert_int_equal(read_text(&c, text, 508, &e), -EINVAL);
	assert_non_null(strstr(e.text, "f:2: a line is longer than"));
	config_free(&c);
	assert_int_equal(read_text(&c, "[tmemd]\n\nare\0na", 15, &e), -EINVAL);
	assert_string_equal(e.text, "f:3: a NUL byte");
	config_free(&c);
}

static void guest_names_of_63_bytes_fit(void **state)
{
	char text[80], name[80];
	struct config c;
	struct config_error e;

	(void)state;
	memset(name, 'n', sizeof(name));
	snprintf(text, sizeof(text), "[guest %.63s]\n", name);
	assert_int_equal(read_text(&c, text, strlen(text), &e), 0);
	assert_int_equal(strlen(c.guests[0].name), 63);
	config_free(&c);
	snprintf(text, sizeof(text), "[guest %.64s]\n", name);
	assert_int_equal(read_text(&c, text, strlen(text), &e), -EINVAL);
	config_free(&c);
}

static void flags_stand_over_the_file(void **state)
{
	static const char text[] = "[tmemd]\nworkers = 3\n[guest a]\nweight = 5\n"
				   "[guest c]\ntransport = ivshmem\nregion = 16M\n";
	struct config c;
	struct config_error e;

	(void)state;
	assert_int_equal(read_text(&c, text, sizeof(text) - 1, &e), 0);
	assert_int_equal(config_set(&c, "workers", "7", &e), 0);
	assert_int_equal(config_guest_flag(&c, "a:/tmp/x.sock", HV_VHOST_USER, &e), 0);
	assert_int_equal(config_guest_flag(&c, "b", HV_IVSHMEM, &e), 0);
	assert_int_equal(config_guest_flag(&c, "c", HV_VHOST_USER, &e), 0);
	assert_int_equal(config_finish(&c, &e), 0);
	assert_int_equal(c.workers, 7);
	assert_int_equal(c.guest_count, 3);
	assert_int_equal(c.guests[0].quota.weight, 5);
	assert_string_equal(c.guests[0].socket, "/tmp/x.sock");
	assert_int_equal(c.guests[0].transport, HV_VHOST_USER);
	assert_int_equal(c.guests[1].transport, HV_IVSHMEM);
	assert_int_equal(c.guests[1].region, 16 << 20);
	assert_string_equal(c.guests[2].socket, "/run/tmemd/b.sock");
	assert_int_equal(c.guests[2].transport, HV_IVSHMEM);
	config_free(&c);
}

static void flags_are_refused_with_a_reason(void **state)
{
	struct config c;
	struct config_error e;

	(void)state;
	config_init(&c);
	assert_int_equal(config_set(&c, "poll-us", "5000", &e), -EINVAL);
	assert_string_equal(e.text, "poll-us: 5000 is out of range, 0 to 1000");
	assert_int_equal(config_set(&c, "colour", "red", &e), -EINVAL);
	assert_string_equal(e.text, "colour: no such option");
	assert_int_equal(config_guest_flag(&c, "a/b", HV_VHOST_USER, &e), -EINVAL);
	assert_int_equal(config_guest_flag(&c, ":/tmp/x", HV_VHOST_USER, &e), -EINVAL);
	assert_int_equal(config_guest_flag(&c, "a:", HV_VHOST_USER, &e), -EINVAL);
	assert_string_equal(e.text, "socket: is empty");
	config_free(&c);
}

static void every_option_shown_is_settable(void **state)
{
	struct config c;
	struct config_error e;

	(void)state;
	config_init(&c);
	for (const struct config_option *o = config_options; o->name; o++) {
		e.text[0] = '\0';
		config_set(&c, o->name, "", &e);
		assert_null(strstr(e.text, "no such option"));
	}
	config_free(&c);
}

static void relations_are_checked(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[tmemd]\narena = 1G\npersistent-max = 2G\n",
		  "persistent-max (2147483648) is above arena (1073741824)" },
		{ "[tmemd]\nmemory-floor = 2M\nmemory-low = 1M\n",
		  "memory-floor (2097152) is above memory-low (1048576)" },
		{ "[tmemd]\nmemory-low = 2M\nmemory-high = 1M\n",
		  "memory-low (2097152) is above memory-high (1048576)" },
		{ "[tmemd]\nmemory-floor = 2M\nmemory-high = 1M\n",
		  "memory-floor (2097152) is above memory-high (1048576)" },
		{ "[guest control]\n",
		  "guest control: /run/tmemd/control.sock is the control socket" },
		{ "[guest http]\n",
		  "guest http: /run/tmemd/http.sock is the socket of the metrics" },
		{ "[guest a]\nsocket = /x\n[guest b]\nsocket = /x\n",
		  "guests a and b have the same socket, /x" },
		{ "[guest a]\nsocket = /x\n[guest b]\ndisk-size = 1M\ndisk-socket = /x\n",
		  "guests a and b have the same socket, /x" },
		{ "[guest a]\ndisk-size = 1M\n[guest a-disk]\n",
		  "guests a and a-disk have the same socket, /run/tmemd/a-disk.sock" },
		{ "[guest a]\nsocket = /x\ndisk-size = 1M\ndisk-socket = /x\n",
		  "guests a and a have the same socket, /x" },
		{ "[guest a]\ndisk-size = 5000\n",
		  "guest a: disk-size (5000) is not a multiple of 4096" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config c;
		struct config_error e = { "" };

		assert_int_equal(read_text(&c, rows[i].text, strlen(rows[i].text), &e), 0);
		assert_int_equal(config_finish(&c, &e), -EINVAL);
		assert_string_equal(e.text, rows[i].error);
		config_free(&c);
	}
}

/* A spill file of its own, one that follows from the directory, or none. */
static void disks_are_filled_in(void **state)
{
	static const char text[] = "[tmemd]\nspill-dir = /s\n[guest a]\ndisk-size = 8M\n"
				   "[guest b]\ndisk-size = 8M\ndisk-spill = none\ndisk-block = 512\n"
				   "[guest c]\ndisk-size = 8M\ndisk-spill = /x\ndisk-keep = yes\n[guest d]\n";
	struct config_error e;
	struct hv_disk_config d;
	struct config c;

	(void)state;
	assert_int_equal(read_text(&c, text, sizeof(text) - 1, &e), 0);
	assert_int_equal(config_finish(&c, &e), 0);
	d = config_disk(&c.guests[0]);
	assert_int_equal(d.size, 8 << 20);
	assert_string_equal(d.socket, "/run/tmemd/a-disk.sock");
	assert_string_equal(d.spill, "/s/a.spill");
	assert_int_equal(d.block, 4096);
	assert_false(d.keep);
	d = config_disk(&c.guests[1]);
	assert_string_equal(d.spill, "");
	assert_int_equal(d.block, 512);
	d = config_disk(&c.guests[2]);
	assert_string_equal(d.spill, "/x");
	assert_true(d.keep);
	assert_int_equal(config_disk(&c.guests[3]).size, 0);
	config_free(&c);
}

static void long_socket_paths_are_refused(void **state)
{
	struct config c;
	struct config_error e;
	char dir[120];

	(void)state;
	memset(dir, 'd', sizeof(dir));
	dir[sizeof(dir) - 1] = '\0';
	config_init(&c);
	assert_int_equal(config_set(&c, "run-dir", dir, &e), 0);
	assert_int_equal(config_finish(&c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "longer than a socket's path may be"));
	config_free(&c);
}

static void quotas_are_set_by_name(void **state)
{
	struct tmem_quota q = { .weight = 100, .max = TMEM_NO_LIMIT };
	struct config_error e;

	(void)state;
	assert_int_equal(config_quota_set(&q, "max", "1M", &e), 0);
	assert_int_equal(config_quota_set(&q, "min", "2M", &e), 0);
	assert_int_equal(config_quota_check(&q, &e), -EINVAL);
	assert_int_equal(config_quota_set(&q, "max", "none", &e), 0);
	assert_int_equal(config_quota_check(&q, &e), 0);
	assert_int_equal(config_quota_set(&q, "socket", "/x", &e), -EINVAL);
}

static void absent_file_says_so(void **state)
{
	struct config c;
	struct config_error e;

	(void)state;
	config_init(&c);
	assert_int_equal(config_read(&c, "/nonexistent/tmemd.conf", &e), -ENOENT);
	assert_string_equal(e.text, "/nonexistent/tmemd.conf: No such file or directory");
	config_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_parsed),
		cmocka_unit_test(sizes_are_written),
		cmocka_unit_test(whole_file_is_taken),
		cmocka_unit_test(defaults_stand),
		cmocka_unit_test(refusals_name_line_and_reason),
		cmocka_unit_test(long_lines_and_nul_are_refused),
		cmocka_unit_test(guest_names_of_63_bytes_fit),
		cmocka_unit_test(flags_stand_over_the_file),
		cmocka_unit_test(flags_are_refused_with_a_reason),
		cmocka_unit_test(every_option_shown_is_settable),
		cmocka_unit_test(relations_are_checked),
		cmocka_unit_test(disks_are_filled_in),
		cmocka_unit_test(long_socket_paths_are_refused),
		cmocka_unit_test(quotas_are_set_by_name),
		cmocka_unit_test(absent_file_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

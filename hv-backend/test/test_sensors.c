/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_sensors.c - the kernel's texts, whole, broken and cut; then the readers on
 * small trees of files that stand for a host, a cgroup v1, a v2, a container.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "procfs.h"
#include "sensors.h"

#define MEMINFO "MemTotal:       24683656 kB\nMemFree:        22576652 kB\n" \
		"MemAvailable:   24227464 kB\n"
#define PSI	"some avg10=1.25 avg60=0.09 avg300=0.00 total=169584\n" \
		"full avg10=0.07 avg60=0.00 avg300=0.00 total=167860\n"

/* ---- texts ------------------------------------------------------------- */

static void meminfo_is_parsed(void **unused)
{
	static const char *const bad[] = {
		"", "MemTotal:", "MemTotal: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: 1\n",
		"MemTotal: 1 kB\nMemAvailable: -1 kB\n", "MemTotal: 0 kB\nMemAvailable: 1 kB\n",
		"MemTotal: 1 kB\nMemAvailable: 99999999999999999999 kB\n",
		"MemTotal: 1 kB\nMemAvailable: 18446744073709551615 kB\n",
		"xMemTotal: 1 kB\nMemAvailable: 1 kB\n",
	};
	uint64_t total = 7, available = 7;

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (procfs_meminfo_parse(bad[i], &total, &available) != -EPROTO)
			fail_msg("taken: \"%s\"", bad[i]);
	}
	assert_int_equal(total, 7);
	assert_int_equal(procfs_meminfo_parse(MEMINFO, &total, &available), 0);
	assert_int_equal(total, UINT64_C(24683656) * 1024);
	assert_int_equal(available, UINT64_C(24227464) * 1024);
}

static void pressure_is_parsed(void **unused)
{
	static const char *const bad[] = {
		"", "some", "some avg10=1 total=1\n", "some avg10=1.2\n", "full avg10=0.00 total=1\n",
		"some avg10=101.00 total=1\n", "some avg10=1.100 total=1\n",
		"some avg10=0.00\ntotal=5\n", "some avg10=0.00 total=x\n",
		"some avg10=0.00 total=1\nfull avg10=0.00 total=\n",
	};
	struct policy_psi p = { .some_us = 7 };

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (procfs_psi_parse(bad[i], &p) != -EPROTO)
			fail_msg("taken: \"%s\"", bad[i]);
	}
	assert_int_equal(p.some_us, 7);
	assert_int_equal(procfs_psi_parse(PSI, &p), 0);
	assert_true(p.known);
	assert_int_equal(p.some_us, 169584);
	assert_int_equal(p.full_us, 167860);
	assert_int_equal(p.some_avg10, 125);
	assert_int_equal(p.full_avg10, 7);
	assert_int_equal(procfs_psi_parse("some avg10=0.00 total=1\n", &p), 0);
	assert_int_equal(p.full_us, 0);
}

static void limits_are_parsed(void **unused)
{
	static const struct { const char *text; int err; uint64_t bytes; } rows[] = {
		{ "max\n", 0, POLICY_NO_LIMIT }, { "max", 0, POLICY_NO_LIMIT },
		{ "9223372036854771712\n", 0, POLICY_NO_LIMIT },
		{ "104857600\n", 0, 104857600 }, { "0\n", 0, 0 },
		{ "", -EPROTO, 0 }, { "-1\n", -EPROTO, 0 }, { "1K\n", -EPROTO, 0 },
		{ "maximum\n", -EPROTO, 0 }, { "99999999999999999999\n", -EPROTO, 0 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t bytes = 7;

		if (procfs_limit_parse(rows[i].text, &bytes) != rows[i].err)
			fail_msg("limit \"%s\"", rows[i].text);
		assert_int_equal(bytes, rows[i].err ? 7 : rows[i].bytes);
	}
}

static void stat_is_parsed(void **unused)
{
	static const char text[] = "cache 5\ntotal_inactive_file 9\ninactive_file 4096\nx y\n";
	uint64_t value = 7;

	(void)unused;
	assert_int_equal(procfs_stat_parse(text, "inactive_file", &value), 0);
	assert_int_equal(value, 4096);
	assert_int_equal(procfs_stat_parse(text, "inactive", &value), -ENOENT);
	assert_int_equal(procfs_stat_parse(text, "x", &value), -EPROTO);
	assert_int_equal(procfs_stat_parse("", "x", &value), -ENOENT);
	assert_int_equal(value, 4096);
}


static void cgroups_are_found(void **unused)
{
	static const struct {
		const char *cgroup, *mounts;
		const char *dir;	/* NULL: not found */
		int version;
		size_t root_length;
	} rows[] = {
		{ "9:name=systemd:/a\n4:cpu,memory:/a/b\n0::/x\n",
		  "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
		  "32 31 0:29 / /c/cpuset rw - cgroup cgroup rw,cpuset\n"
		  "35 31 0:32 / /c/memory rw - cgroup cgroup rw,cpu,memory\n",
		  "/c/memory/a/b", 1, 9 },
		{ "0::/system.slice/tmemd.service\n", "41 31 0:38 / /c rw shared:4 - cgroup2 c rw\n",
		  "/c/system.slice/tmemd.service", 2, 2 },
		{ "0::/\n", "41 31 0:38 / /c rw - cgroup2 c rw\n", "/c", 2, 2 },
		{ "0::/docker/1/a", "41 31 0:38 /docker/1 /c rw - cgroup2 c rw\n", "/c/a", 2, 2 },
		{ "0::/docker/1", "41 31 0:38 /docker/1 /c rw - cgroup2 c rw\n", "/c", 2, 2 },
		{ "0::/docker/12", "41 31 0:38 /docker/1 /c rw - cgroup2 c rw\n", "/c", 2, 2 },
		{ "0::/../b", "41 31 0:38 / /c rw - cgroup2 c rw\n", "/c", 2, 2 },
		{ "0::/a", "41 31 0:38 / /my\\040c rw - cgroup2 c rw\n", "/my c/a", 2, 5 },
		{ "0::/a", "41 31 0:38 / /my\\400c rw - cgroup2 c rw\n", "/my\\400c/a", 2, 8 },
		{ "4:memory:/a\n", "41 31 0:38 / /c rw - cgroup2 c rw\n", NULL, 0, 0 },
		{ "4:memory_x:/a\n", "35 31 0:32 / /c rw - cgroup cgroup rw,memory\n", NULL, 0, 0 },
		{ "", "", NULL, 0, 0 },
		{ "0::", "41 31 0:38 / /c rw - cgroup2 c rw\n", NULL, 0, 0 },
		{ "0::/a", "41 31 0:38 / /c rw -", NULL, 0, 0 },
		{ "0::/a", "41", NULL, 0, 0 },
		{ ":::::\n\n0\n", "- - - - -\n", NULL, 0, 0 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct procfs_cgroup c;
		int err = procfs_cgroup_find(rows[i].cgroup, rows[i].mounts, &c);

		if (err != (rows[i].dir ? 0 : -ENOENT))
			fail_msg("row %zu: %d", i, err);
		if (err)
			continue;
		assert_string_equal(c.dir, rows[i].dir);
		assert_int_equal(c.version, rows[i].version);
		assert_int_equal(c.root_length, rows[i].root_length);
	}
}

static void a_path_too_long_is_refused(void **unused)
{
	char cgroup[2 * PROCFS_PATH_MAX];
	struct procfs_cgroup c;

	(void)unused;
	snprintf(cgroup, sizeof(cgroup), "0::/%0*d", PROCFS_PATH_MAX, 0);
	assert_int_equal(procfs_cgroup_find(cgroup, "41 31 0:38 / /c rw - cgroup2 c rw\n", &c),
			 -ENAMETOOLONG);
}

/* ---- files ------------------------------------------------------------- */

static char tree[32];

static void tree_write(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", tree, path);
	for (char *p = full + strlen(tree) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static int tree_make(void **unused)
{
	(void)unused;
	strcpy(tree, "/tmp/sensors-XXXXXX");
	if (!mkdtemp(tree))
		return -1;
	tree_write("/proc/meminfo", MEMINFO);
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tree_remove(void **unused)
{
	(void)unused;
	return nftw(tree, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* The order for a trigger goes into a plain file as well, so that is written last. */
static struct policy_inputs tree_read(const char *psi, char words[320])
{
	struct policy_inputs in = { .valid = false };
	struct sensors *s;

	assert_int_equal(sensors_open(&s, tree), 0);
	if (psi)
		tree_write("/proc/pressure/memory", psi);
	sensors_read(s, &in);
	snprintf(words, 320, "%s", sensors_words(s));
	sensors_close(s);
	return in;
}

static void a_bare_host_is_read(void **unused)
{
	char words[320];
	struct policy_inputs in = tree_read(NULL, words);

	(void)unused;
	assert_true(in.valid);
	assert_int_equal(in.host.total, UINT64_C(24683656) * 1024);
	assert_false(in.host.psi.known);
	assert_false(in.cgroup.present);
	assert_string_equal(words, "no stall triggers (No such file or directory), polling only; "
				   "no cgroup");
}

static void a_host_without_meminfo_is_not_valid(void **unused)
{
	char words[320];

	(void)unused;
	tree_write("/proc/meminfo", "MemTotal: 5 kB\n");
	assert_false(tree_read(NULL, words).valid);
}

static void the_order_of_a_trigger_ends_in_nul(void **unused)
{
	char path[64], order[64] = "";
	struct sensors *s;
	FILE *f;

	(void)unused;
	tree_write("/proc/pressure/memory", "");
	assert_int_equal(sensors_open(&s, tree), 0);
	assert_true(sensors_trigger(s, POLICY_HOST) >= 0);
	assert_int_equal(sensors_trigger(s, POLICY_CGROUP), -1);
	assert_non_null(strstr(sensors_words(s), "the kernel wakes us"));
	snprintf(path, sizeof(path), "%s/proc/pressure/memory", tree);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fread(order, 1, sizeof(order), f), sizeof("some 150000 2000000"));
	assert_string_equal(order, "some 150000 2000000");
	fclose(f);
	sensors_close(s);
}

static void a_cgroup_v1_is_read(void **unused)
{
	char words[320];
	struct policy_inputs in;

	(void)unused;
	tree_write("/proc/pressure/memory", "");
	tree_write("/proc/self/cgroup", "4:memory:/a\n");
	tree_write("/proc/self/mountinfo", "35 31 0:32 / /c/memory rw - cgroup cgroup rw,memory\n");
	tree_write("/c/memory/memory.limit_in_bytes", "9223372036854771712\n");
	tree_write("/c/memory/a/memory.limit_in_bytes", "1048576\n");
	tree_write("/c/memory/a/memory.usage_in_bytes", "524288\n");
	tree_write("/c/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 4096\n");
	in = tree_read(PSI, words);
	assert_true(in.valid && in.cgroup.present);
	assert_true(in.host.psi.known);
	assert_int_equal(in.host.psi.some_us, 169584);
	assert_int_equal(in.cgroup.max, 1048576);
	assert_int_equal(in.cgroup.high, POLICY_NO_LIMIT);
	assert_int_equal(in.cgroup.current, 524288);
	assert_int_equal(in.cgroup.reclaimable, 4096);
	assert_false(in.cgroup.psi.known);
	assert_non_null(strstr(words, "cgroup v1 "));
}

static void the_nearest_limit_of_a_cgroup_v2_counts(void **unused)
{
	char words[320];
	struct policy_inputs in;

	(void)unused;
	tree_write("/proc/self/cgroup", "0::/a/b\n");
	tree_write("/proc/self/mountinfo", "41 31 0:38 / /c rw - cgroup2 cgroup2 rw\n");
	tree_write("/c/a/b/memory.max", "max\n");
	tree_write("/c/a/b/memory.high", "9000000\n");
	tree_write("/c/a/b/memory.current", "1000000\n");
	tree_write("/c/a/memory.max", "3000000\n");
	tree_write("/c/a/memory.high", "max\n");
	tree_write("/c/a/memory.current", "2000000\n");
	tree_write("/c/a/memory.stat", "anon 5\ninactive_file 77\n");
	tree_write("/c/a/memory.pressure", PSI);
	in = tree_read(NULL, words);
	assert_true(in.cgroup.present);
	assert_int_equal(in.cgroup.max, 3000000);
	assert_int_equal(in.cgroup.current, 2000000);
	assert_int_equal(in.cgroup.reclaimable, 77);
	assert_true(in.cgroup.psi.known);

	tree_write("/c/a/b/memory.current", "8900000\n");
	in = tree_read(NULL, words);
	assert_int_equal(in.cgroup.high, 9000000);
	assert_false(in.cgroup.psi.known);

	tree_write("/c/a/b/memory.high", "max\n");
	tree_write("/c/a/memory.max", "max\n");
	assert_false(tree_read(NULL, words).cgroup.present);
}

/* Whatever this machine is. */
static void this_host_is_read(void **unused)
{
	struct policy_inputs in = { .valid = false };
	struct sensors *s;

	(void)unused;
	assert_int_equal(sensors_open(&s, ""), 0);
	sensors_read(s, &in);
	assert_true(in.valid);
	assert_true(in.host.available > 0 && in.host.available <= in.host.total);
	sensors_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meminfo_is_parsed),
		cmocka_unit_test(pressure_is_parsed),
		cmocka_unit_test(limits_are_parsed),
		cmocka_unit_test(stat_is_parsed),
		cmocka_unit_test(cgroups_are_found),
		cmocka_unit_test(a_path_too_long_is_refused),
		cmocka_unit_test_setup_teardown(a_bare_host_is_read, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(a_host_without_meminfo_is_not_valid, tree_make,
						tree_remove),
		cmocka_unit_test_setup_teardown(the_order_of_a_trigger_ends_in_nul, tree_make,
						tree_remove),
		cmocka_unit_test_setup_teardown(a_cgroup_v1_is_read, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(the_nearest_limit_of_a_cgroup_v2_counts, tree_make,
						tree_remove),
		cmocka_unit_test(this_host_is_read),
	};

	return cmocka_run_group_tests_name("sensors", tests, NULL, NULL);
}

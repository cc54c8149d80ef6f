// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's bad days: memory, descriptors, the log, the clock or the arena fail
 * under a daemon that serves guests.  Each test says what is expected of it; what
 * is always expected is that it lives, that a page it took comes back right, and
 * that it is as good as new when the day is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bad_day.h"
#include "hosting.h"

#define PERSISTENT	0u
#define EPHEMERAL	1u
#define PAGES		1000u

static struct hosting host;
static const char *const guests[] = { "by", "old", "new", NULL };

static const char *build(void)
{
	const char *dir = getenv("TMEM_BUILD");

	return dir ? dir : "build";
}

static struct front *guest_open(const char *name)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, name, path);
	struct front *f;

	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT), TMEMP_OK);
	assert_int_equal(front_pool_create(f, EPHEMERAL, 0), TMEMP_OK);
	return f;
}

static void fill(struct front *f, uint64_t from)
{
	for (uint64_t n = 0; n < PAGES; n++)
		assert_int_equal(page_put(f, PERSISTENT, from + n, from + n), TMEMP_OK);
}

static void all_there(struct front *f, uint64_t from)
{
	for (uint64_t n = 0; n < PAGES; n++)
		assert_int_equal(page_get(f, PERSISTENT, from + n, from + n), TMEMP_OK);
}

static void start(void)
{
	assert_int_equal(hosting_start(&host, guests, NULL), 0);
	assert_int_equal(hosting_bystander_start(&host, "by"), 0);
}

static void stop(void)
{
	assert_true(hosting_check(&host));
	assert_int_equal(hosting_stop(&host), 0);
}

/* ---- the C library ------------------------------------------------------- */

#if HOSTING_SLOW == 1

static struct bad_libc *day;

static void day_start(void)
{
	day = bad_day_begin();
	assert_non_null(day);
	/* No bystander: it would be refused pages as everybody is. */
	assert_int_equal(hosting_start(&host, guests, NULL), 0);
	bad_day_begun();
}

static void day_stop(void)
{
	stop();
	bad_day_end(day);
}

/* All that makes a daemon allocate; what comes of it is not looked at. */
static void errands(unsigned round)
{
	static const char *const verbs[] = {
		"{\"verb\":\"list\"}", "{\"verb\":\"stats\"}", "{\"verb\":\"events\"}",
		"{\"verb\":\"set\",\"guest\":\"new\",\"weight\":7}", "{\"verb\":\"nonsense\"}",
		"{\"verb\":\"pools\",\"guest\":\"old\"}",
	};
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "new", path);
	struct front *f;

	json_decref(hosting_ask(&host, verbs[round % (sizeof(verbs) / sizeof(verbs[0]))]));
	if (!front_open(&f, &c)) {
		front_pool_create(f, PERSISTENT, TMEMP_POOL_PERSISTENT);
		for (uint64_t n = 0; n < 20; n++)
			page_put(f, PERSISTENT, round * 1000 + n, n);
		front_destroy(f);
	}
}

/* Each page is stored or refused; what was stored before and meanwhile is there. */
static void test_memory_runs_out(void **state)
{
	unsigned stored = 0, refused = 0;
	struct front *f;

	(void)state;
	day_start();
	f = guest_open("old");
	fill(f, 0);
	day->fail_every = 3;
	for (uint64_t n = 0; n < PAGES; n++) {
		/* Far apart: new nodes of the index, new objects. */
		uint64_t at = 1000000 + n * 4096;
		int status = page_put(f, PERSISTENT, at, at);

		if (status == TMEMP_OK) {
			stored++;
			assert_int_equal(page_get(f, PERSISTENT, at, at), TMEMP_OK);
		} else {
			refused++;
			assert_int_equal(status, TMEMP_REFUSED_NOMEM);
			assert_int_equal(page_get(f, PERSISTENT, at, at), TMEMP_MISS);
		}
	}
	for (unsigned round = 0; round < 60; round++)
		errands(round);
	assert_true(day->failed > 100);
	day->fail_every = 0;
	assert_true(stored > 0);
	assert_true(refused > 0);
	all_there(f, 0);
	fill(f, 5000);
	all_there(f, 5000);
	front_destroy(f);
	f = guest_open("new");
	fill(f, 0);
	all_there(f, 0);
	front_destroy(f);
	day_stop();
}

/* The time of day serves for what people read, and for nothing else. */
static void test_clock_jumps(void **state)
{
	static const int64_t jumps[] = { 400 * 86400, -400 * 86400, 1, -1, INT32_MAX, 0 };
	struct front *f;

	(void)state;
	day_start();
	f = guest_open("old");
	fill(f, 0);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		json_t *answer;

		day->clock_s = jumps[i];
		answer = hosting_ask(&host, "{\"verb\":\"freeze\",\"guest\":\"new\"}");
		assert_non_null(answer);
		json_decref(answer);
		answer = hosting_ask(&host, "{\"verb\":\"thaw\",\"guest\":\"new\"}");
		assert_non_null(answer);
		json_decref(answer);
		all_there(f, 0);
		assert_true(hosting_check(&host));
	}
	assert_true(day->asked > 0);
	front_destroy(f);
	day_stop();
}

#else

static void test_memory_runs_out(void **state)
{
	(void)state;
	skip();		/* a sanitizer has an allocator of its own */
}

static void test_clock_jumps(void **state)
{
	(void)state;
	skip();
}

#endif

/* ---- descriptors --------------------------------------------------------- */

static unsigned descriptors(void)
{
	char path[64];
	struct dirent *e;
	unsigned top = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", host.daemon.pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.' && (unsigned)atoi(e->d_name) >= top)
			top = (unsigned)atoi(e->d_name) + 1;
	}
	closedir(d);
	return top;
}

/* Those who are connected go on; whoever comes waits or is let go, at no cost. */
static void test_no_descriptor_left(void **state)
{
	struct rlimit none, before;
	char path[DAEMON_PATH_MAX];
	struct front_config c;
	struct front *f, *late;
	long ticks;

	(void)state;
	start();
	f = guest_open("old");
	fill(f, 0);
	assert_int_equal(prlimit(host.daemon.pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = (struct rlimit){ descriptors(), before.rlim_max };
	assert_int_equal(prlimit(host.daemon.pid, RLIMIT_NOFILE, &none, NULL), 0);
	c = hosting_config(&host, "new", path);
	c.timeout_ms = 200;
	for (unsigned i = 0; i < 5; i++) {
		if (!front_open(&late, &c))
			front_destroy(late);
		json_decref(hosting_ask(&host, "{\"verb\":\"list\"}"));
	}
	all_there(f, 0);
	assert_true(hosting_check(&host));
	ticks = daemon_cpu_ticks(&host.daemon);
	usleep(500000);
	/* A listener that is ready and cannot be served must not be asked about for ever. */
	assert_true(daemon_cpu_ticks(&host.daemon) - ticks < sysconf(_SC_CLK_TCK) / 4);
	assert_int_equal(prlimit(host.daemon.pid, RLIMIT_NOFILE, &before, NULL), 0);
	late = guest_open("new");
	fill(late, 0);
	all_there(late, 0);
	front_destroy(late);
	front_destroy(f);
	stop();
}

/* ---- a stopped daemon ------------------------------------------------------ */

/* Requests wait as long as it does, and are then answered as if nothing had been. */
static void test_stopped_and_continued(void **state)
{
	struct front *f;
	pid_t waker;
	int status;

	(void)state;
	start();
	f = guest_open("old");
	fill(f, 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(kill(host.daemon.pid, SIGSTOP), 0);
		waker = fork();
		if (!waker) {
			usleep(400000);
			kill(host.daemon.pid, SIGCONT);
			_exit(0);
		}
		fill(f, 5000 + round * PAGES);
		assert_int_equal(waitpid(waker, &status, 0), waker);
		all_there(f, 5000 + round * PAGES);
	}
	all_there(f, 0);
	front_destroy(f);
	stop();
}

/* ---- the log --------------------------------------------------------------- */

/* A guest that is refused once more: a line in the log. */
static void line_cause(void)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "by", path);
	struct front *f;

	/* The bystander is connected there. */
	c.timeout_ms = 500;
	assert_int_equal(front_create(&f, &c), 0);
	assert_int_not_equal(front_connect(f), 0);
	front_destroy(f);
}

/* As hosting_start(), with a FIFO for a log; both its ends are the test's. */
static int start_with_fifo(void)
{
	const char *const args[] = { "--arena", "64M", "--guest", "by", "--guest", "old", NULL };
	char path[DAEMON_PATH_MAX], program[512];
	int fd;

	memset(&host, 0, sizeof(host));
	strcpy(host.daemon.dir, "/tmp/tmemd-XXXXXX");
	assert_non_null(mkdtemp(host.daemon.dir));
	daemon_path(&host.daemon, "log", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	assert_true(fd >= 0);
	snprintf(program, sizeof(program), "%s/tmemd", build());
	assert_int_equal(daemon_again(&host.daemon, program, args), 0);
	assert_int_equal(hosting_bystander_start(&host, "by"), 0);
	return fd;
}

/* Nobody reads the log and it is full: lines are lost and counted, no thread waits. */
static void test_nobody_reads_the_log(void **state)
{
	char text[65536];
	struct front *f;
	ssize_t got, all = 0;
	int fifo;

	(void)state;
	fifo = start_with_fifo();
	f = guest_open("old");
	memset(text, '.', sizeof(text));
	while (write(fifo, text, 512) > 0)
		continue;
	for (unsigned i = 0; i < 5; i++)
		line_cause();
	fill(f, 0);
	all_there(f, 0);
	assert_true(hosting_check(&host));
	/* Read again, and the next line is followed by the count of the lost. */
	while (read(fifo, text, sizeof(text)) > 0)
		continue;
	usleep(1100000);
	line_cause();
	usleep(200000);
	while ((got = read(fifo, text + all, sizeof(text) - 1 - (size_t)all)) > 0)
		all += got;
	text[all] = '\0';
	assert_non_null(strstr(text, "lines lost, the log had no room"));
	front_destroy(f);
	stop();
	close(fifo);
}

/* ---- the arena --------------------------------------------------------------- */

/* Flip a bit in each frame of the arena that holds memory, from that byte on. */
static unsigned arena_spoil(const char *path, off_t from)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned spoilt = 0;
	uint8_t byte;

	assert_true(fd >= 0);
	for (off_t at = lseek(fd, from, SEEK_DATA); at >= 0; at = lseek(fd, at, SEEK_DATA)) {
		off_t byte_at = at + 1500;

		assert_int_equal(pread(fd, &byte, 1, byte_at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, byte_at), 1);
		spoilt++;
		at += 16384;
	}
	close(fd);
	return spoilt;
}

/* Gets of the guest that found a damaged page, of either kind. */
static long long counted_damaged(const char *guest)
{
	json_t *answer = hosting_ask(&host, "{\"verb\":\"list\"}"), *g;
	long long n = -1;
	size_t i;

	json_array_foreach(json_object_get(answer, "guests"), i, g) {
		if (!strcmp(json_string_value(json_object_get(g, "name")), guest))
			n = json_integer_value(json_object_get(g, "damaged"));
	}
	json_decref(answer);
	return n;
}

/* What is damaged is counted and reported as lost, and never handed out as good. */
static void test_damaged_arena(void **state)
{
	char arena[] = "/tmp/tmemd-arena-XXXXXX", state_file[sizeof(arena) + 8];
	int fd = mkstemp(arena);
	unsigned right = 0, damaged = 0, missed = 0;
	struct front *f;

	(void)state;
	assert_true(fd >= 0);
	/* Without a bystander: its pages would be spoilt as well. */
	assert_int_equal(hosting_start(&host, guests,
				       (const char *[]){ "--arena-file", arena, NULL }), 0);
	f = guest_open("old");
	fill(f, 0);
	for (uint64_t n = 0; n < PAGES; n++)
		assert_int_equal(page_put(f, EPHEMERAL, n, n), TMEMP_OK);
	assert_true(arena_spoil(arena, 65536) > 10);
	for (uint64_t n = 0; n < PAGES; n++) {
		int status = page_get(f, PERSISTENT, n, n);

		if (status == TMEMP_OK)
			right++;
		else if (status == TMEMP_DAMAGED)
			damaged++;
		else
			fail_msg("page %llu: status %d", (unsigned long long)n, status);
		/* An ephemeral one is only not there. */
		status = page_get(f, EPHEMERAL, n, n);
		missed += status == TMEMP_MISS;
		assert_true(status == TMEMP_OK || status == TMEMP_MISS);
	}
	assert_true(right > 0);
	assert_true(damaged > 0);
	assert_true(missed > 0);
	assert_int_equal(counted_damaged("old"), damaged + missed);
	/* Written again they are good again. */
	fill(f, 0);
	all_there(f, 0);
	front_destroy(f);
	stop();
	close(fd);
	unlink(arena);
	snprintf(state_file, sizeof(state_file), "%s.state", arena);
	unlink(state_file);
}

/* ---- a limit that shrinks ------------------------------------------------------ */

#define CGROUPS	"/sys/fs/cgroup/memory"

static int text_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

static long long number_read(const char *dir, const char *name)
{
	char path[256], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	return atoll(text);
}

/* The test's own memory cgroup (version 1), to go back to. */
static void cgroup_own(char out[256])
{
	char line[256];
	FILE *f = fopen("/proc/self/cgroup", "re");

	snprintf(out, 256, "%s", CGROUPS);
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, ":memory:");

		line[strcspn(line, "\n")] = '\0';
		if (at)
			snprintf(out, 256, "%s%.200s", CGROUPS, at + 8);
	}
	if (f)
		fclose(f);
	if (access(out, F_OK))
		snprintf(out, 256, "%s", CGROUPS);
}

static bool limit_set(const char *dir, long long bytes)
{
	char path[256], text[32];

	snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", dir);
	snprintf(text, sizeof(text), "%lld", bytes);
	return !text_write(path, text);
}

/* A daemon in a cgroup of its own; false where there can be none. */
static bool start_in_cgroup(const char *dir)
{
	char own[256], path[300], pid[32];
	bool moved;

	cgroup_own(own);
	if (mkdir(dir, 0755))
		return false;
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	moved = limit_set(dir, 1ll << 30) && !text_write(path, pid);
	if (moved) {
		assert_int_equal(hosting_start(&host, guests, NULL), 0);
		snprintf(path, sizeof(path), "%s/cgroup.procs", own);
		assert_int_equal(text_write(path, pid), 0);
	}
	return moved;
}

/*
 * The limit comes down on what is used, and again on what is left: the kernel finds
 * nothing there that it could take by itself, so the daemon must give, and it lives.
 */
static void test_limit_lowered(void **state)
{
	char dir[64];
	long long first, usage;
	struct front *f;

	(void)state;
	snprintf(dir, sizeof(dir), CGROUPS "/tmemd-test-%d", getpid());
	/* Most of what a sanitizer's build uses is not the daemon's to give. */
	if (HOSTING_SLOW > 1 || !start_in_cgroup(dir)) {
		rmdir(dir);
		skip();
	}
	f = guest_open("old");
	fill(f, 0);
	for (uint64_t n = 0; n < 60 * PAGES; n++)
		page_put(f, EPHEMERAL, n, n);
	first = usage = number_read(dir, "memory.usage_in_bytes");
	for (unsigned i = 0; i < 100 && usage > first / 2; i++) {
		limit_set(dir, usage + (2 << 20));
		usleep(100000);
		usage = number_read(dir, "memory.usage_in_bytes");
	}
	assert_true(usage <= first / 2);
	all_there(f, 0);
	front_destroy(f);
	stop();
	for (unsigned i = 0; i < 100 && rmdir(dir); i++)
		usleep(20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_runs_out),
		cmocka_unit_test(test_clock_jumps),
		cmocka_unit_test(test_no_descriptor_left),
		cmocka_unit_test(test_stopped_and_continued),
		cmocka_unit_test(test_nobody_reads_the_log),
		cmocka_unit_test(test_damaged_arena),
		cmocka_unit_test(test_limit_lowered),
	};

	signal(SIGPIPE, SIG_IGN);	/* a daemon without memory hangs up */
	return cmocka_run_group_tests_name("bad_days", tests, NULL, NULL);
}

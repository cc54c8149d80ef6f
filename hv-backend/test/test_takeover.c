// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_takeover.c - the daemon is killed under guests that do not notice: their
 * connections, rings and pages go on in the next one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hosting.h"

#define PAGES	300u

static struct hosting host;
static char program[4096], keeper[4096];

static const char *const args[] = {
	"--log-level", "info", "--arena", "64M", "--guest", "a", "--guest-ivshmem", "b",
	"--guest", "c", NULL,
};

static int setup(void **state)
{
	const char *build = getenv("TMEM_BUILD");

	(void)state;
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	snprintf(keeper, sizeof(keeper), "%s/tmem-keeper", build ? build : "build");
	memset(&host, 0, sizeof(host));
	host.daemon.keeper = keeper;
	return daemon_start(&host.daemon, program, args);
}

static int teardown(void **state)
{
	unsigned wrong = daemon_log_count(&host.daemon, "Sanitizer", "", 0);

	(void)state;
	return daemon_stop(&host.daemon) || wrong;
}

/* Kill the daemon and wait until another serves. */
static void kill_by(int signal, unsigned ready)
{
	pid_t was = daemon_kept(&host.daemon);

	assert_true(was > 0);
	kill(was, signal);
	for (unsigned ms = 0; ms < 20000; ms++) {
		pid_t now = daemon_kept(&host.daemon);

		if (now && now != was &&
		    daemon_log_count(&host.daemon, "control socket", "version", 0) >= ready)
			return;
		usleep(1000);
	}
	fail_msg("nobody took over");
}

static struct front *guest_open(const char *guest, bool ivshmem, unsigned queues)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, guest, path);
	struct front *f;

	c.ivshmem = ivshmem;
	c.queues = queues;
	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	assert_int_equal(front_pool_create(f, 1, 0), 0);
	return f;
}

static void put_one(struct front *f, unsigned n, uint64_t seed)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front_key key = key_of(0, n);

	page_fill(page, seed);
	assert_int_equal(front_put(front_queue_of(f, &key), &key, page, seed), 0);
}

static void get_one(struct front *f, unsigned n, uint64_t seed)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front_key key = key_of(0, n);
	uint64_t tag = 0;

	assert_int_equal(front_get(front_queue_of(f, &key), &key, page, &tag), 0);
	assert_int_equal(tag, seed);
	assert_true(page_is(page, seed));
}

static void goes_on(struct front *f)
{
	uint64_t epoch = f->epoch;

	for (unsigned n = 0; n < PAGES; n++)
		put_one(f, n, n + 1);
	for (unsigned i = 1; i <= 3; i++) {
		kill_by(SIGKILL, i + 1);
		for (unsigned n = 0; n < PAGES; n++) {
			get_one(f, n, n + i);
			put_one(f, n, n + i + 1);
		}
	}
	assert_int_equal(front_hello(f), 0);
	assert_int_equal(f->epoch, epoch);
	assert_false(front_closed(f, 0));
}

static void test_vhost_user(void **state)
{
	struct front *f = guest_open("a", false, 2);

	(void)state;
	goes_on(f);
	assert_int_equal(hosting_said(&host, "a", "connection taken over"), 3);
	front_destroy(f);
}

static void test_ivshmem(void **state)
{
	struct front *f = guest_open("b", true, 4);

	(void)state;
	goes_on(f);
	assert_int_equal(hosting_said(&host, "b", "connection taken over"), 3);
	front_destroy(f);
}

/* Ended by request, as an upgrade does: the same way. */
static void test_ended(void **state)
{
	struct front *a = guest_open("a", false, 2), *b = guest_open("b", true, 4);

	(void)state;
	for (unsigned n = 0; n < PAGES; n++) {
		put_one(a, n, n + 1);
		put_one(b, n, n + 2);
	}
	kill_by(SIGTERM, 2);
	for (unsigned n = 0; n < PAGES; n++) {
		get_one(a, n, n + 1);
		get_one(b, n, n + 2);
	}
	front_destroy(a);
	front_destroy(b);
}

/* A parked event is parked still, and says that somebody else is there. */
static void test_event(void **state)
{
	struct front *f = guest_open("a", false, 2);
	struct front_request *r = front_event_park(f, 0, 0);

	(void)state;
	assert_non_null(r);
	put_one(f, 1, 1);
	kill_by(SIGKILL, 2);
	put_one(f, 2, 2);
	assert_int_equal(front_queue_wait(&f->queue[0], r), 0);
	assert_int_equal(front_request_status(r), TMEMP_OK);
	assert_true(le64toh(r->response->events) & TMEMP_EVENT_RETURNED);
	front_request_put(&f->queue[0], r);
	get_one(f, 1, 1);
	front_destroy(f);
}

/* Ended for good: guests hear of it, and nothing stays for a next one. */
static void test_ended_for_good(void **state)
{
	struct front *a = guest_open("a", false, 2), *b = guest_open("b", true, 4);

	(void)state;
	put_one(a, 1, 1);
	put_one(b, 1, 1);
	kill(host.daemon.pid, SIGTERM);
	assert_true(front_closed(a, 10000));
	for (unsigned ms = 0; ms < 10000 && !front_ivshmem_host(b)->state; ms++)
		usleep(1000);
	assert_int_equal(le32toh(front_ivshmem_host(b)->state), TMEMP_IVSHMEM_GONE);
	assert_int_equal(daemon_end(&host.daemon), 0);
	front_destroy(a);
	front_destroy(b);
}

/* A VMM that exits while nobody is there leaves nothing, not even a connection. */
static void test_vmm_exits_meanwhile(void **state)
{
	int up[2], down[2];
	char byte = 0;
	pid_t pid, vmm;

	(void)state;
	assert_int_equal(pipe(up) | pipe(down), 0);
	vmm = fork();
	if (!vmm) {
		close(down[1]);
		put_one(guest_open("a", false, 1), 1, 1);
		_exit(write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) != 0);
	}
	close(down[0]);
	assert_int_equal(read(up[0], &byte, 1), 1);
	pid = daemon_kept(&host.daemon);
	kill(pid, SIGSTOP);
	close(down[1]);
	assert_int_equal(waitpid(vmm, NULL, 0), vmm);
	kill_by(SIGKILL, 2);
	assert_int_equal(hosting_said(&host, "a", "exited, pages dropped"), 1);
	assert_int_equal(hosting_number(&host, "a", "logical_bytes"), 0);
	close(up[0]);
	close(up[1]);
}

/* The keeper's memory file of that name, opened; it is found by what the kernel calls it. */
static int kept_memory(const char *name)
{
	char path[64], link[128], want[64];

	snprintf(want, sizeof(want), "/memfd:%s (deleted)", name);
	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)host.daemon.pid, fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (!strcmp(link, want))
			return open(path, O_RDWR);
	}
	return -1;
}

/* Kept by another version: refused for as long as it is, and then gone on with. */
static void other_version(const char *name, off_t at, const char *said)
{
	struct front *f = guest_open("a", false, 1);
	int memory = kept_memory(name);
	uint32_t was, other = 77;

	put_one(f, 1, 1);
	assert_true(memory >= 0);
	assert_int_equal(pread(memory, &was, sizeof(was), at), sizeof(was));
	assert_int_equal(pwrite(memory, &other, sizeof(other), at), sizeof(other));
	kill(daemon_kept(&host.daemon), SIGKILL);
	assert_true(daemon_log_count(&host.daemon, said, "start the version that wrote it", 20000) > 0);
	assert_int_equal(pread(memory, &other, sizeof(other), at), sizeof(other));
	assert_int_equal(other, 77);
	assert_int_equal(pwrite(memory, &was, sizeof(was), at), sizeof(was));
	close(memory);
	/* All the while the guest waits for its answer. */
	get_one(f, 1, 1);
	put_one(f, 1, 2);
	front_destroy(f);
}

static void test_other_state(void **state)
{
	(void)state;
	other_version("state", 8, "a state of format 77");
}

static void test_other_arena(void **state)
{
	(void)state;
	other_version("arena", 40, "an arena of format 77");
}

static unsigned kept_count(void)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)host.daemon.pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* The guest's memory is cut while nobody is there: nothing of the connection is kept. */
static void test_cut_meanwhile(void **state)
{
	struct front *f;
	unsigned before;

	(void)state;
	/* What comes with the first connection, and stays. */
	front_destroy(guest_open("a", false, 2));
	assert_int_equal(hosting_said(&host, "a", "closed by the VMM"), 1);
	usleep(200000);
	before = kept_count();
	f = guest_open("a", false, 2);
	kill(daemon_kept(&host.daemon), SIGSTOP);
	assert_int_equal(ftruncate(f->data.fd, 0), 0);
	kill_by(SIGKILL, 2);
	assert_int_equal(hosting_said(&host, "a", "connection lost with the last process"), 1);
	front_destroy(f);
	for (unsigned ms = 0; ms < 5000 && kept_count() > before; ms += 10)
		usleep(10000);
	assert_in_range(kept_count(), 1, before);
}

/* A connection that ends while nobody is there, and one that begins. */
static void test_meanwhile(void **state)
{
	struct front *a = guest_open("a", false, 1), *c;
	pid_t pid = daemon_kept(&host.daemon);

	(void)state;
	put_one(a, 1, 1);
	kill(pid, SIGSTOP);
	front_disconnect(a);
	kill_by(SIGKILL, 2);
	assert_int_equal(front_connect(a), 0);
	assert_int_equal(front_hello(a), 0);
	get_one(a, 1, 1);
	c = guest_open("c", false, 1);
	put_one(c, 1, 2);
	front_destroy(a);
	front_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vhost_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ivshmem, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ended_for_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vmm_exits_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_event, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_arena, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests_name("takeover", tests, NULL, NULL);
}

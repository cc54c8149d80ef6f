// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_keeper.c - tmem-keeper by itself.  The program that it runs is this one again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LIMIT	64u	/* descriptors of a keeper that has few */
#define WAIT_MS	20000

static char self[4096], keeper[4096], dir[] = "/tmp/tmem-keeper-test-XXXXXX", path[64], result[64];

/* ---- what is kept ------------------------------------------------------------ */

/* The first hands over more than can be kept, and dies; those after say what they got. */
static int kept(const char *file)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), got = sd_listen_fds(0);
	FILE *f;

	if (got) {
		f = fopen(file, "we");
		if (f)
			fprintf(f, "%d\n", got);
		if (f)
			fclose(f);
		return pause();
	}
	sd_notify(0, "READY=1");
	for (unsigned i = 0; i < 2 * LIMIT; i++)
		sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=one", &null, 1);
	return raise(SIGKILL);
}

/* ---- the keeper ---------------------------------------------------------------- */

static pid_t keeper_start(const char *user, rlim_t limit)
{
	const struct rlimit few = { .rlim_cur = limit, .rlim_max = limit };
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent ||
	    !freopen("/dev/null", "w", stderr) ||
	    (limit && setrlimit(RLIMIT_NOFILE, &few)))
		_exit(127);
	if (user)
		execl(keeper, keeper, "--socket", path, "--user", user, "--", "sleep", "600", NULL);
	else
		execl(keeper, keeper, "--socket", path, "--", self, result, NULL);
	_exit(127);
}

static void keeper_end(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

static int number_wait(void)
{
	int n = 0;

	for (unsigned ms = 0; !n && ms < WAIT_MS; ms += 5) {
		FILE *f = fopen(result, "re");

		if (f && fscanf(f, "%d", &n) != 1)
			n = 0;
		if (f)
			fclose(f);
		usleep(5000);
	}
	return n;
}

/* What is kept can always be handed over. */
static void test_few_descriptors(void **state)
{
	pid_t pid = keeper_start(NULL, LIMIT);
	int n = number_wait();

	(void)state;
	keeper_end(pid);
	assert_in_range(n, LIMIT / 4, LIMIT / 2);
}

/* ---- who may write --------------------------------------------------------------- */

/* 0, or why uid cannot send to the keeper. */
static int send_as(uid_t uid)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int status, s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pid_t pid = fork();

	strcpy(a.sun_path, path);
	if (!pid) {
		if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
			_exit(127);
		_exit(sendto(s, "X=1", 3, 0, (struct sockaddr *)&a, sizeof(a)) < 0 ? errno : 0);
	}
	close(s);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* What somebody else sends could make the keeper wait: the close of a descriptor may. */
static void test_others_cannot_write(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	pid_t pid;

	(void)state;
	if (geteuid() || !nobody) {
		skip();
		return;
	}
	pid = keeper_start("nobody", 0);
	for (unsigned ms = 0; ms < WAIT_MS && send_as(nobody->pw_uid); ms += 10)
		usleep(10000);
	assert_int_equal(send_as(nobody->pw_uid), 0);
	assert_int_equal(send_as(nobody->pw_uid - 1), EACCES);
	keeper_end(pid);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_descriptors),
		cmocka_unit_test(test_others_cannot_write),
	};
	const char *build = getenv("TMEM_BUILD");
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int failed;

	if (argc > 1)
		return kept(argv[1]);
	self[n > 0 ? n : 0] = '\0';
	snprintf(keeper, sizeof(keeper), "%s/tmem-keeper", build ? build : "build");
	if (!mkdtemp(dir) || chmod(dir, 0711))
		return 1;
	snprintf(path, sizeof(path), "%s/notify", dir);
	snprintf(result, sizeof(result), "%s/result", dir);
	failed = cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
	unlink(result);
	unlink(path);
	rmdir(dir);
	return failed;
}

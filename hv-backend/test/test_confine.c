// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a running daemon may do, asked of the kernel: system calls are made in the
 * daemon's own name, as an intruder in it would make them, by ptrace.  The same
 * calls succeed in a daemon that is not confined, else these tests show nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hosting.h"

/* The one architecture whose registers are known here. */
#if defined(__x86_64__) && HOSTING_SLOW == 1

#define SYSCALL	0x050f		/* the instruction, as a little-endian number */
#define ENDED	LONG_MIN	/* a call that was the daemon's last */

static struct daemon tmemd;

static void start(const char *mode)
{
	const char *args[] = { "--arena", "64M", "--guest", "a", "--confine", mode, NULL };
	char program[512];

	snprintf(program, sizeof(program), "%s/tmemd", getenv("TMEM_BUILD"));
	assert_int_equal(daemon_start(&tmemd, program, args), 0);
}

/* Wait for the traced thread to stop; false if it ended. */
static bool stopped(int *status)
{
	assert_int_equal(waitpid(tmemd.pid, status, __WALL), tmemd.pid);
	return WIFSTOPPED(*status);
}

/* Stop the main thread where it waits in a system call, which it does when idle. */
static void stop_in_call(struct user_regs_struct *regs)
{
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, tmemd.pid, 0, 0), 0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(ptrace(PTRACE_INTERRUPT, tmemd.pid, 0, 0), 0);
		assert_true(stopped(&status));
		assert_int_equal(ptrace(PTRACE_GETREGS, tmemd.pid, 0, regs), 0);
		if ((ptrace(PTRACE_PEEKTEXT, tmemd.pid, regs->rip - 2, 0) & 0xffff) == SYSCALL)
			return;
		assert_int_equal(ptrace(PTRACE_CONT, tmemd.pid, 0, 0), 0);
		usleep(1000);
	}
	fail_msg("the daemon is never idle");
}

/* Some bytes of the daemon's stack below what it uses. */
static unsigned long text_give(const struct user_regs_struct *regs, const char *text)
{
	const unsigned long at = (regs->rsp - 4096) & ~7ul;
	long words[64] = { 0 };

	assert_true(strlen(text) < sizeof(words));
	memcpy(words, text, strlen(text));
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(ptrace(PTRACE_POKEDATA, tmemd.pid, at + i * 8, words[i]), 0);
	return at;
}

/*
 * Let the daemon's main thread make one system call; text (or NULL) stands for
 * that argument, counted from 0.  What it returned, or ENDED.
 */
static long call(long nr, const char *text, unsigned text_arg, const unsigned long args[6])
{
	struct user_regs_struct saved, regs;
	unsigned long a[6];
	long result = ENDED;
	bool refused = false;
	int status;

	memcpy(a, args, sizeof(a));
	stop_in_call(&saved);
	regs = saved;
	if (text)
		a[text_arg] = text_give(&saved, text);
	regs.rip -= 2;		/* back onto the instruction that makes calls */
	regs.orig_rax = ~0ul;
	regs.rax = (unsigned long)nr;
	regs.rdi = a[0]; regs.rsi = a[1]; regs.rdx = a[2];
	regs.r10 = a[3]; regs.r8 = a[4]; regs.r9 = a[5];
	assert_int_equal(ptrace(PTRACE_SETREGS, tmemd.pid, 0, &regs), 0);
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, tmemd.pid, 0, 0), 0);
	while (stopped(&status)) {
		int sig = WSTOPSIG(status);

		refused |= sig == SIGSYS;
		if (sig == SIGTRAP && !refused) {
			assert_int_equal(ptrace(PTRACE_GETREGS, tmemd.pid, 0, &regs), 0);
			result = (long)regs.rax;
			break;
		}
		/* The step is over by the time the handler of SIGSYS begins. */
		assert_int_equal(ptrace(PTRACE_CONT, tmemd.pid, 0, sig == SIGTRAP ? 0 : sig), 0);
	}
	if (result == ENDED) {
		tmemd.pid = 0;
		return ENDED;
	}
	saved.orig_rax = ~0ul;
	saved.rax = (unsigned long)-EINTR;	/* the wait it was in is tried again */
	assert_int_equal(ptrace(PTRACE_SETREGS, tmemd.pid, 0, &saved), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, tmemd.pid, 0, 0), 0);
	return result;
}

static long open_in_daemon(const char *path, int flags)
{
	return call(SYS_openat, path, 1,
		    (unsigned long[6]){ (unsigned long)AT_FDCWD, 0, (unsigned long)flags, 0600 });
}

/* A line of the daemon's /proc/PID/status. */
static void status_line(const char *key, char out[256])
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tmemd.pid);
	f = fopen(path, "re");
	assert_non_null(f);
	out[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			snprintf(out, 256, "%s", line + strlen(key) + 2);
	}
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

static void test_the_kernel_says_confined(void **state)
{
	char text[256];

	(void)state;
	start("on");
	status_line("NoNewPrivs", text);
	assert_string_equal(text, "1");
	status_line("Seccomp", text);
	assert_string_equal(text, "2");
	status_line("CapBnd", text);
	/* CAP_CHOWN and CAP_DAC_OVERRIDE at most. */
	assert_int_equal(strtoull(text, NULL, 16) & ~0x3ull, 0);
	status_line("CapEff", text);
	assert_int_equal(strtoull(text, NULL, 16) & ~0x3ull, 0);
	assert_int_equal(daemon_stop(&tmemd), 0);
}

/* As its administrator starts it: in a run directory that it makes and gives away. */
static void start_as(const char *user)
{
	char program[512], run_dir[64], control[96];

	snprintf(program, sizeof(program), "%s/tmemd", getenv("TMEM_BUILD"));
	snprintf(run_dir, sizeof(run_dir), "/tmp/tmemd-confine-%d", getpid());
	snprintf(control, sizeof(control), "%s/control.sock", run_dir);
	tmemd = (struct daemon){ .pid = fork() };
	if (!tmemd.pid) {
		execl(program, program, "--run-dir", run_dir, "--arena", "64M", "--guest", "a",
		      "--user", user, "--log-level", "warn", NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && access(control, F_OK); i++)
		usleep(10000);
	assert_int_equal(access(control, F_OK), 0);
}

static void test_becomes_another_user(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	char text[256], ids[64];
	int status;

	(void)state;
	if (geteuid() != 0 || !nobody) {
		skip();
		return;
	}
	start_as("nobody");
	snprintf(ids, sizeof(ids), "%1$u\t%1$u\t%1$u\t%1$u", nobody->pw_uid);
	status_line("Uid", text);
	assert_string_equal(text, ids);
	status_line("CapEff", text);
	assert_int_equal(strtoull(text, NULL, 16), 0);
	status_line("CapBnd", text);
	assert_int_equal(strtoull(text, NULL, 16), 0);
	kill(tmemd.pid, SIGTERM);
	assert_int_equal(waitpid(tmemd.pid, &status, 0), tmemd.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Files: what is listed opens, nothing else, whoever the daemon runs as. */
static void files_are_shut(const char *mode, bool shut)
{
	char made[128];
	long fd;

	start(mode);
	assert_true(open_in_daemon("/proc/meminfo", O_RDONLY) >= 0);
	fd = open_in_daemon("/etc/passwd", O_RDONLY);
	assert_true(shut ? fd == -EACCES : fd >= 0);
	fd = open_in_daemon("/proc/self/mem", O_RDWR);
	assert_true(shut ? fd == -EACCES : fd >= 0);
	snprintf(made, sizeof(made), "/tmp/tmemd-made-%d", getpid());
	fd = open_in_daemon(made, O_RDWR | O_CREAT);
	assert_true(shut ? fd == -EACCES : fd >= 0);
	unlink(made);
	assert_true(daemon_alive(&tmemd));
	assert_int_equal(daemon_stop(&tmemd), 0);
}

static void test_no_file_but_the_listed(void **state)
{
	(void)state;
	files_are_shut("on", true);
}

static void test_files_unconfined(void **state)
{
	(void)state;
	files_are_shut("off", false);
}

/* Calls that only an intruder makes, with arguments that do no harm where they succeed. */
static const struct forbidden {
	const char *name;
	long nr;
	const char *text;
	unsigned long args[6];
} forbidden[] = {
	{ "execve", SYS_execve, "/nothing", { 0 } },
	{ "fork", SYS_fork, NULL, { 0 } },
	{ "clone without CLONE_THREAD", SYS_clone, NULL, { SIGCHLD, 0, 0, 0, 0, 0 } },
	{ "ptrace", SYS_ptrace, NULL, { PTRACE_PEEKDATA, 1, 0, 0, 0, 0 } },
	{ "socket(AF_INET)", SYS_socket, NULL, { AF_INET, SOCK_STREAM, 0, 0, 0, 0 } },
	{ "kill", SYS_kill, NULL, { 0x7ffffff, 0, 0, 0, 0, 0 } },
	{ "setuid", SYS_setuid, NULL, { 0 } },
	{ "unshare", SYS_unshare, NULL, { 0 } },
	{ "mount", SYS_mount, NULL, { 0 } },
	{ "bpf", SYS_bpf, NULL, { ~0ul, 0, 0, 0, 0, 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, NULL, { 0 } },
	{ "process_vm_readv", SYS_process_vm_readv, NULL, { 0 } },
	{ "mmap(PROT_EXEC)", SYS_mmap, NULL,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ~0ul, 0 } },
	{ "mprotect(PROT_EXEC)", SYS_mprotect, NULL, { 0, 0, PROT_EXEC, 0, 0, 0 } },
};

#define FORBIDDEN (sizeof(forbidden) / sizeof(forbidden[0]))

static void test_forbidden_calls_end_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORBIDDEN; i++) {
		const struct forbidden *f = &forbidden[i];
		char said[64];

		start("on");
		if (call(f->nr, f->text, 0, f->args) != ENDED)
			fail_msg("%s: the daemon lives", f->name);
		snprintf(said, sizeof(said), "system call %5ld is not", f->nr);
		if (daemon_log_count(&tmemd, "tmemd", said, 1000) != 1)
			fail_msg("%s: not said", f->name);
		daemon_stop(&tmemd);
	}
}

/* The same calls in a daemon that is not confined: each comes back. */
static void test_the_same_calls_unconfined(void **state)
{
	(void)state;
	start("off");
	for (size_t i = 0; i < FORBIDDEN; i++) {
		const struct forbidden *f = &forbidden[i];

		/* A child would go on as a second daemon. */
		if (f->nr == SYS_fork || f->nr == SYS_clone)
			continue;
		if (call(f->nr, f->text, 0, f->args) == ENDED)
			fail_msg("%s: ended a daemon that is not confined", f->name);
	}
	assert_int_equal(daemon_stop(&tmemd), 0);
}

static void test_threads_are_confined_too(void **state)
{
	char path[64], line[256];
	unsigned threads = 0;

	(void)state;
	start("on");
	for (int tid = tmemd.pid; tid < tmemd.pid + 64; tid++) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/status", tmemd.pid, tid);
		f = fopen(path, "re");
		if (!f)
			continue;
		threads++;
		while (fgets(line, sizeof(line), f)) {
			if (!strncmp(line, "Seccomp:", 8))
				assert_string_equal(line + 9, "2\n");
		}
		fclose(f);
	}
	assert_true(threads >= 2);	/* with a worker at least */
	assert_int_equal(daemon_stop(&tmemd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_kernel_says_confined),
		cmocka_unit_test(test_becomes_another_user),
		cmocka_unit_test(test_no_file_but_the_listed),
		cmocka_unit_test(test_files_unconfined),
		cmocka_unit_test(test_forbidden_calls_end_it),
		cmocka_unit_test(test_the_same_calls_unconfined),
		cmocka_unit_test(test_threads_are_confined_too),
	};

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}

#else

static void test_confine(void **state)
{
	(void)state;
	skip();		/* a sanitizer's calls are nobody's; other registers are not known here */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_confine) };

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * daemon.c - see daemon.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

#define START_MS	20000	/* a sanitizer build on a busy machine is slow */
#define STOP_MS		20000
#define ARGS_MAX	160

static void sleep_ms(unsigned ms)
{
	usleep(ms * 1000);
}

char *daemon_path(const struct daemon *d, const char *name, char buf[DAEMON_PATH_MAX])
{
	snprintf(buf, DAEMON_PATH_MAX, "%s/%s", d->dir, name);
	return buf;
}

/* A keeper is asked to end, as its own child would go on without it. */
static _Noreturn void child_run(const char *program, char *const argv[], const char *log,
				pid_t parent, bool keeper)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(127);
	close(fd);
	/*
	 * The parent may have gone before the child asked to hear of it; 0 is one
	 * that made a process namespace for its children.
	 */
	if (prctl(PR_SET_PDEATHSIG, keeper ? SIGTERM : SIGKILL) || (getppid() != parent && getppid()))
		_exit(127);
	execv(program, argv);
	fprintf(stderr, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

bool daemon_alive(struct daemon *d)
{
	siginfo_t info = { 0 };

	return d->pid > 0 && waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

static int wait_until_ready(struct daemon *d)
{
	char path[DAEMON_PATH_MAX];

	daemon_path(d, "control.sock", path);
	for (int ms = 0; ms < START_MS; ms += 5) {
		if (!access(path, F_OK))
			return 0;
		if (!daemon_alive(d))
			return -ECHILD;
		sleep_ms(5);
	}
	return -ETIMEDOUT;
}

int daemon_again(struct daemon *d, const char *program, const char *const args[])
{
	const char *argv[ARGS_MAX + 6] = { d->keeper, "--" };
	unsigned n = d->keeper ? 2 : 0;
	char path[DAEMON_PATH_MAX];
	pid_t parent = getpid();
	int r;

	argv[n++] = program;
	argv[n++] = "--run-dir";
	argv[n++] = d->dir;
	for (unsigned i = 0; args[i]; i++) {
		if (n == ARGS_MAX + 5)
			return -E2BIG;
		argv[n++] = args[i];
	}
	unlink(daemon_path(d, "control.sock", path));
	daemon_path(d, "log", path);
	d->pid = fork();
	if (d->pid < 0)
		return -errno;
	if (d->pid == 0)
		child_run(argv[0], (char *const *)argv, path, parent, d->keeper != NULL);
	r = wait_until_ready(d);
	if (r)
		daemon_end(d);
	return r;
}

int daemon_start(struct daemon *d, const char *program, const char *const args[])
{
	int r;

	strcpy(d->dir, "/tmp/tmemd-XXXXXX");
	if (!mkdtemp(d->dir))
		return -errno;
	r = daemon_again(d, program, args);
	if (r) {
		char *text = daemon_log(d);

		fprintf(stderr, "%s did not start: %s\n%s", program, strerror(-r), text ? text : "");
		free(text);
		daemon_stop(d);
	}
	return r;
}

pid_t daemon_kept(const struct daemon *d)
{
	char path[64];
	int child = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)d->pid, (int)d->pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &child) != 1)
		child = 0;
	fclose(f);
	return child;
}

void daemon_kill(struct daemon *d)
{
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	d->pid = 0;
}

static void dir_remove(const struct daemon *d)
{
	DIR *dir = opendir(d->dir);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(d->dir);
}

int daemon_end(struct daemon *d)
{
	int status = 0;

	if (d->pid > 0) {
		kill(d->pid, SIGTERM);
		for (int ms = 0; ms < STOP_MS && daemon_alive(d); ms += 2)
			sleep_ms(2);
		kill(d->pid, SIGKILL);
		waitpid(d->pid, &status, 0);
		d->pid = 0;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int daemon_stop(struct daemon *d)
{
	int status = daemon_end(d);

	dir_remove(d);
	return status;
}

char *daemon_log(const struct daemon *d)
{
	char path[DAEMON_PATH_MAX];
	int fd = open(daemon_path(d, "log", path), O_RDONLY | O_CLOEXEC);
	struct stat st = { 0 };
	ssize_t n = 0;
	char *text;

	if (fd >= 0)
		fstat(fd, &st);
	text = malloc((size_t)st.st_size + 1);
	if (text && fd >= 0)
		n = pread(fd, text, (size_t)st.st_size, 0);
	if (text)
		text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static unsigned count_lines(char *text, const char *a, const char *b)
{
	unsigned n = 0;

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		n += strstr(line, a) && strstr(line, b);
	return n;
}

unsigned daemon_log_count(const struct daemon *d, const char *a, const char *b, int timeout_ms)
{
	for (int ms = 0; ; ms += 5) {
		char *text = daemon_log(d);
		unsigned n = text ? count_lines(text, a, b) : 0;

		free(text);
		if (n || ms >= timeout_ms)
			return n;
		sleep_ms(5);
	}
}

long daemon_cpu_ticks(const struct daemon *d)
{
	char path[64], text[1024];
	unsigned long user, system;
	FILE *f;
	size_t n;
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)d->pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	/* The name may hold anything; the fields are counted from its last ')'. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			 &user, &system) != 2)
		return -EPROTO;
	return (long)(user + system);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * init.c - process 1 of a test guest.
 *
 * Owns:    the guest's mounts, and that it always says how its test ended.
 * How:     inserts /modules in the order of their names; mounts what a test needs
 *          and, where the kernel's command line says share=DIR or share9p=TAG, the
 *          host's folder on /host; runs /test, then /after if there is one, each
 *          under the shell; prints "guest: test ended with N" and powers off.
 *          The guest's disk is /dev/ubda everywhere.
 * Must not: have memory that can be swapped: a test may break swap on purpose
 *          and the guest must live on to tell.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void attach(const char *what, const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(what, where, type, 0, options) && errno != EBUSY)
		printf("guest: cannot mount %s on %s: %s\n", type, where, strerror(errno));
}

static void module_insert(const char *name)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		printf("guest: cannot insert %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void modules_insert(void)
{
	struct dirent **list;
	int n = scandir("/modules", &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			module_insert(list[i]->d_name);
	}
}

/* The exit status of a script; 128 and more: the signal that ended it. */
static int run(const char *script)
{
	char *const arguments[] = { "sh", (char *)script, NULL };
	pid_t pid = fork(), ended;
	int status = 0;

	if (pid == 0) {
		execv("/bin/sh", arguments);
		_exit(127);
	}
	do {
		ended = wait(&status);
	} while (ended != pid && (ended > 0 || errno == EINTR));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	const char *share = getenv("share"), *tag = getenv("share9p");

	mlockall(MCL_CURRENT | MCL_FUTURE);
	setvbuf(stdout, NULL, _IONBF, 0);
	setenv("PATH", "/bin", 1);
	attach("proc", "proc", "/proc", NULL);
	attach("sys", "sysfs", "/sys", NULL);
	attach("dev", "devtmpfs", "/dev", NULL);
	modules_insert();
	if (access("/dev/vda", F_OK) == 0)
		symlink("vda", "/dev/ubda");
	if (share)
		attach("none", "hostfs", "/host", share);
	if (tag)
		attach(tag, "9p", "/host", "trans=virtio,version=9p2000.L,cache=none");
	printf("guest: test ended with %d\n", run("/test"));
	if (access("/after", R_OK) == 0)
		printf("guest: after ended with %d\n", run("/after"));
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}

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
 *          rootdisk=DEV: all that happens in the ext4 file system there, with what
 *          the initramfs brought at /initramfs.  With systemd=1 as well, that
 *          system's own process 1 takes over, and its unit tmem-test calls this
 *          program, as /initramfs/run-test, for the rest.
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

/*
 * A kernel that checks its locks stops for good at the first report, or when it runs
 * out of room: it must say at the end that it did to the end.
 */
static void lockdep_tell(void)
{
	FILE *stats = fopen("/proc/lockdep_stats", "re");
	char line[128];
	int on;

	while (stats && fgets(line, sizeof(line), stats)) {
		if (sscanf(line, " debug_locks: %d", &on) == 1)
			printf("guest: locks are %s\n", on ? "checked" : "not checked any more");
	}
	if (stats)
		fclose(stats);
}

static int tests_run(const char *test, const char *after)
{
	printf("guest: test ended with %d\n", run(test));
	if (access(after, R_OK) == 0)
		printf("guest: after ended with %d\n", run(after));
	lockdep_tell();
	return 0;
}

/* The initramfs cannot be left by pivot_root, which is why this is a mount moved and a chroot. */
static void root_enter(const char *disk)
{
	static const char *const kept[] = { "/proc", "/sys", "/dev", "/host" };
	char to[32];

	attach(disk, "ext4", "/root", NULL);
	if (mount("/", "/root/initramfs", NULL, MS_BIND, NULL))
		printf("guest: %s is no root file system: %s\n", disk, strerror(errno));
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		snprintf(to, sizeof(to), "/root%s", kept[i]);
		mount(kept[i], to, NULL, MS_MOVE, NULL);
	}
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		printf("guest: cannot enter %s: %s\n", disk, strerror(errno));
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/initramfs/bin", 1);
}

static void mounts_make(const char *share, const char *tag)
{
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
}

int main(void)
{
	const char *disk = getenv("rootdisk");

	mlockall(MCL_CURRENT | MCL_FUTURE);
	setvbuf(stdout, NULL, _IONBF, 0);
	if (getpid() != 1)
		return tests_run("/initramfs/test", "/initramfs/after");
	setenv("PATH", "/bin", 1);
	mounts_make(getenv("share"), getenv("share9p"));
	if (!disk) {
		tests_run("/test", "/after");
	} else {
		root_enter(disk);
		if (getenv("systemd"))
			execl("/sbin/init", "/sbin/init", (char *)NULL);
		tests_run("/initramfs/test", "/initramfs/after");
	}
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}

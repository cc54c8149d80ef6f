/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.c - identity by libcap-ng, files by Landlock, system calls by libseccomp.
 *
 * How:     the list of system calls is generated at build time from "#syscalls"
 *          lines, which stand beside the callers; a call that nobody names is one
 *          that nobody makes.  Below are those that the C library makes on its own.
 *
 *          A forbidden call is not made.  It raises SIGSYS, whose handler says
 *          which one it was and lets the signal end the process: somebody else
 *          runs in it, or the list lacks a line.  Both want to be seen.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"

/*
 * The C library:
 * memory	#syscalls: brk madvise mmap mprotect mremap munmap
 * threads	#syscalls: clone exit futex gettid rseq sched_getaffinity set_robust_list
 * signals	#syscalls: getpid restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn tgkill
 * stdio	#syscalls: close fcntl fstat lseek newfstatat openat read write writev
 * time		#syscalls: clock_gettime clock_nanosleep gettimeofday nanosleep time
 * the end	#syscalls: exit_group
 */

/* ---- identity ---------------------------------------------------------- */

int confine_user_ids(const char *user, unsigned *uid, unsigned *gid)
{
	const struct passwd *p = getpwnam(user);

	if (!p)
		return -ENOENT;
	*uid = p->pw_uid;
	*gid = p->pw_gid;
	return 0;
}

/*
 * Root without CAP_DAC_OVERRIDE is no longer served by other users' directories,
 * and without CAP_CHOWN could not give the control socket to its group.
 */
static void capabilities_choose(bool root, bool lock_memory)
{
	const capng_type_t sets = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;
	const capng_type_t have = CAPNG_PERMITTED;

	bool lock = lock_memory && capng_have_capability(have, CAP_IPC_LOCK);
	bool override = root && capng_have_capability(have, CAP_DAC_OVERRIDE);
	bool own = root && capng_have_capability(have, CAP_CHOWN);

	capng_clear(CAPNG_SELECT_ALL);
	if (lock)
		capng_update(CAPNG_ADD, sets, CAP_IPC_LOCK);
	if (override)
		capng_update(CAPNG_ADD, sets, CAP_DAC_OVERRIDE);
	if (own)
		capng_update(CAPNG_ADD, sets, CAP_CHOWN);
}

int confine_identity(const char *user, bool lock_memory)
{
	const bool change = user[0] != '\0';
	unsigned uid = geteuid(), gid = getegid();
	int err = change ? confine_user_ids(user, &uid, &gid) : 0;

	if (err)
		return err;
	if (change && uid != geteuid() && geteuid() != 0)
		return -EPERM;
	if (capng_get_caps_process())
		return -EIO;
	capabilities_choose(uid == 0, lock_memory);
	if (change && uid != geteuid())
		err = capng_change_id((int)uid, (int)gid,
				      CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING |
				      CAPNG_CLEAR_AMBIENT);
	else
		err = capng_apply(geteuid() == 0 ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS);
	if (err)
		return -EPERM;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* ---- files ------------------------------------------------------------- */

/* What linux/landlock.h of an older build host lacks; the kernel may know it all the same. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE	(1ULL << 14)
#endif
#define ACCESS_FS_IOCTL_DEV		(1ULL << 15)
#define ACCESS_NET_BIND_TCP		(1ULL << 0)
#define ACCESS_NET_CONNECT_TCP		(1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET	(1ULL << 0)
#define SCOPE_SIGNAL			(1ULL << 1)
#define RULE_NET_PORT			2

struct ruleset {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

struct net_port {
	uint64_t allowed_access, port;
};

/* All that version abi of Landlock can take away. */
static struct ruleset ruleset_of(int abi)
{
	struct ruleset r = { .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };

	if (abi >= 2)
		r.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		r.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 4)
		r.handled_access_net = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP;
	if (abi >= 5)
		r.handled_access_fs |= ACCESS_FS_IOCTL_DEV;
	if (abi >= 6)
		r.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	return r;
}

static size_t ruleset_size(int abi)
{
	return abi >= 6 ? sizeof(struct ruleset) :
	       abi >= 4 ? offsetof(struct ruleset, scoped) :
			  offsetof(struct ruleset, handled_access_net);
}

static uint64_t access_of(enum confine_use use)
{
	static const uint64_t access[] = {
		[CONFINE_READ] = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
		[CONFINE_SOCKETS] = LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
				    LANDLOCK_ACCESS_FS_REMOVE_FILE,
		[CONFINE_FILES] = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
				  LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
				  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE,
		[CONFINE_REMOVED] = LANDLOCK_ACCESS_FS_REMOVE_DIR,
	};

	return access[use];
}

/* Of what may be done to a directory only this makes sense for a file. */
#define ACCESS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
			 LANDLOCK_ACCESS_FS_TRUNCATE)

static int path_allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	struct stat st;
	int err = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(rule.parent_fd, &st))
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= ACCESS_OF_FILES;
	if (!err && rule.allowed_access &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		err = -errno;
	close(rule.parent_fd);
	return err;
}

static int port_allow(int ruleset, uint16_t port)
{
	const struct net_port rule = { .allowed_access = ACCESS_NET_BIND_TCP, .port = port };

	return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) ? -errno : 0;
}

void confine_files_begin(struct confine_files *f, uint16_t tcp_port)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset r;

	*f = (struct confine_files){ .ruleset = -1 };
	if (abi <= 0)
		return;
	f->abi = (int)abi;
	r = ruleset_of(f->abi);
	f->handled = r.handled_access_fs;
	f->ruleset = (int)syscall(SYS_landlock_create_ruleset, &r, ruleset_size(f->abi), 0);
	if (f->ruleset < 0)
		f->err = -errno;
	else if (tcp_port && r.handled_access_net)
		f->err = port_allow(f->ruleset, tcp_port);
}

void confine_files_allow(struct confine_files *f, const char *path, enum confine_use use)
{
	if (f->abi && !f->err)
		f->err = path_allow(f->ruleset, path, access_of(use) & f->handled);
}

void confine_files_beside(struct confine_files *f, const char *file, enum confine_use use)
{
	const char *slash = strrchr(file, '/');
	char *directory;

	if (!slash) {
		confine_files_allow(f, ".", use);
		return;
	}
	/* "/file" lies in "/". */
	directory = strndup(file, slash == file ? 1 : (size_t)(slash - file));
	if (directory)
		confine_files_allow(f, directory, use);
	else if (!f->err)
		f->err = -ENOMEM;
	free(directory);
}

int confine_files_end(struct confine_files *f)
{
	if (f->abi && !f->err && syscall(SYS_landlock_restrict_self, f->ruleset, 0))
		f->err = -errno;
	if (f->ruleset >= 0)
		close(f->ruleset);
	return f->err ? f->err : f->abi;
}

/* ---- system calls ------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const char *const listed[] = {
#include "syscalls.inc"
};

/* Allowed by their arguments alone. */
static const struct argued {
	const char *name;
	struct scmp_arg_cmp arg;
} argued[] = {
	/* Memory that was written never runs. */
	{ "mmap", { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 } },
	{ "mprotect", { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 } },
	/* Threads, no processes and no namespaces. */
	{ "clone", { 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER, CLONE_THREAD } },
	/* No way out by the network; the HTTP port is bound by now. */
	{ "socket", { 0, SCMP_CMP_EQ, AF_UNIX, 0 } },
};

static const struct scmp_arg_cmp *argument_of(const char *name)
{
	for (size_t i = 0; i < sizeof(argued) / sizeof(argued[0]); i++) {
		if (!strcmp(argued[i].name, name))
			return &argued[i].arg;
	}
	return NULL;
}

/* A name that this architecture does not have is passed over: others have it instead. */
static int calls_allow(scmp_filter_ctx filter)
{
	int allowed = 0;

	for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
		const struct scmp_arg_cmp *arg = argument_of(listed[i]);
		int nr = seccomp_syscall_resolve_name(listed[i]);
		int err;

		if (nr < 0)
			continue;
		err = arg ? seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, nr, 1, arg) :
			    seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, nr, 0, NULL);
		if (err)
			return err;
		allowed++;
	}
	return allowed;
}

/* Only calls that are safe in a handler: the number is made into digits by hand. */
static void forbidden(int sig, siginfo_t *info, void *context)
{
	char text[] = "tmemd: system call       is not one that tmemd makes: ended\n";
	char *digit = text + sizeof("tmemd: system call      ") - 2;
	unsigned nr = (unsigned)info->si_syscall;
	ssize_t said;

	(void)context;
	do {
		*digit-- = (char)('0' + nr % 10);
		nr /= 10;
	} while (nr && *digit == ' ');
	said = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)said;		/* there is nothing else to be tried */
	raise(sig);		/* held back until here returns, then by default: the end */
}

static int forbidden_handler_set(void)
{
	struct sigaction sa = { .sa_sigaction = forbidden,
				.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND) };

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL) ? -errno : 0;
}

int confine_calls(enum confine_mode mode)
{
	scmp_filter_ctx filter;
	int allowed, err;

	if (SANITIZED)
		return -ENOTSUP;
	filter = seccomp_init(mode == CONFINE_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!filter)
		return -ENOMEM;
	err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	/* Its flags lie in memory, where no filter can look; the C library then calls clone. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	allowed = err ? err : calls_allow(filter);
	err = allowed < 0 ? allowed : forbidden_handler_set();
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	/* What the library says where another filter forbids it to ask the kernel. */
	if (err == -EOPNOTSUPP)
		err = -ENOSYS;
	return err ? err : allowed;
}

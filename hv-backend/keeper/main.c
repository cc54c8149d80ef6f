/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - tmem-keeper: hold a daemon's descriptors and start it again when it dies.
 *
 * Owns:    the descriptors of one daemon, the daemon's process, the socket on
 *          which it hands them over.
 * How:     what systemd's descriptor store does, for hosts without systemd: the
 *          daemon finds $NOTIFY_SOCKET and sends FDSTORE=1, FDSTOREREMOVE=1 and
 *          READY=1 (sd_notify(3)); a new one gets what is stored by LISTEN_FDS
 *          (sd_listen_fds(3)).  What a daemon sent before it died is read before
 *          the next is started.
 *
 *            [running] -- daemon ends --> [waiting] -- pause over --> [running]
 *                ^    '-- SIGTERM, SIGINT: the daemon gets SIGINT, which says that
 *                         no other follows; it ends, and so do we, with its status
 *
 *          A daemon that had come as far as READY is started again at once; one
 *          that had not, after a pause that doubles.  If the very first ends
 *          before READY with a status, so do we: it is a mistake, not a death.
 *          Only the daemon's user can write to the socket: the last close of a
 *          descriptor may wait as long as its sender has set.
 * Must not: understand anything of what it holds.  Its format is sd_notify's, so
 *          a new version of the daemon never needs a new one of this.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store.h"

#define FIRST_FD	3
#define OWN_FDS		16		/* beside those kept, at most */
#define FDS_MAX		253		/* the kernel's bound for a message */
#define MESSAGE_MAX	4096
#define PAUSE_MIN_MS	100
#define PAUSE_MAX_MS	10000

struct keeper {
	char *const *argv;		/* of the daemon */
	struct store store;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char dir[64];			/* made for the socket; "": it was not */
	uid_t user;			/* whose the socket is */
	int notify, signals;
	sigset_t mask_before;
	pid_t daemon;			/* 0: none runs */
	bool ready, was_ready;		/* this one; any */
	bool ending;
	int pause_ms;			/* before the next start */
	uint64_t start_at;		/* when that is, if none runs */
	int status;			/* the last one's, as a shell has it */
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("tmem-keeper: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- messages ------------------------------------------------------------- */

struct message {
	char text[MESSAGE_MAX + 1];
	int fd[FDS_MAX];
	unsigned fds;
	pid_t from;
};

/* The value of a line NAME=value in m; NULL: there is none. */
static const char *value_of(const struct message *m, const char *name, char value[STORE_NAME_MAX])
{
	size_t len = strlen(name);

	for (const char *line = m->text; *line;) {
		size_t end = strcspn(line, "\n");

		if (end > len && line[len] == '=' && !memcmp(line, name, len)) {
			snprintf(value, STORE_NAME_MAX, "%.*s", (int)(end - len - 1), line + len + 1);
			return value;
		}
		line += end + (line[end] == '\n');
	}
	return NULL;
}

static bool says(const struct message *m, const char *name)
{
	char value[STORE_NAME_MAX];

	return value_of(m, name, value) && !strcmp(value, "1");
}

/* Printable, and without the colon that stands between names. */
static bool name_is_good(const char *name)
{
	for (const char *c = name; *c; c++) {
		if (*c <= ' ' || *c > '~' || *c == ':')
			return false;
	}
	return *name;
}

static void fds_close(struct message *m)
{
	while (m->fds)
		close(m->fd[--m->fds]);
}

static void fds_store(struct keeper *k, struct message *m)
{
	char value[STORE_NAME_MAX];
	const char *name = value_of(m, "FDNAME", value);

	for (unsigned i = 0; i < m->fds; i++) {
		int err = store_add(&k->store, name && name_is_good(name) ? name : "stored", m->fd[i]);

		if (!err)
			continue;
		say("descriptor %s not kept: %s", name ? name : "", strerror(-err));
		close(m->fd[i]);
	}
	m->fds = 0;
}

static void message_obey(struct keeper *k, struct message *m)
{
	char value[STORE_NAME_MAX];

	if (m->from != k->daemon)
		return;
	if (says(m, "FDSTORE"))
		fds_store(k, m);
	if (says(m, "FDSTOREREMOVE") && value_of(m, "FDNAME", value))
		store_remove(&k->store, value);
	if (says(m, "READY") && !k->ready) {
		k->ready = k->was_ready = true;
		k->pause_ms = 0;
	}
}

static void control_take(struct message *m, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS && bytes <= sizeof(m->fd)) {
			memcpy(m->fd, CMSG_DATA(c), bytes);
			m->fds = (unsigned)(bytes / sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS && bytes == sizeof(cred)) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			m->from = cred.pid;
		}
	}
}

/* One message, if there is one. */
static bool message_read(struct keeper *k)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct message m = { .fds = 0 };
	struct iovec iov = { .iov_base = m.text, .iov_len = MESSAGE_MAX };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(k->notify, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR;
	m.text[n] = '\0';
	control_take(&m, &msg);
	if (msg.msg_flags & MSG_CTRUNC)
		say("out of descriptors: one was not kept");
	message_obey(k, &m);
	fds_close(&m);
	return true;
}

/* ---- the daemon ------------------------------------------------------------- */

/* What is left in the environment would be somebody else's: ours, or nothing. */
static int environment_set(struct keeper *k)
{
	char number[16], *names;
	int err = setenv("NOTIFY_SOCKET", k->path, 1);

	unsetenv("LISTEN_FDS");
	if (err || !k->store.count)
		return err ? -ENOMEM : 0;
	names = store_names(&k->store);
	if (!names || setenv("LISTEN_FDNAMES", names, 1))
		err = -ENOMEM;
	free(names);
	snprintf(number, sizeof(number), "%zu", k->store.count);
	if (!err && setenv("LISTEN_FDS", number, 1))
		err = -ENOMEM;
	snprintf(number, sizeof(number), "%d", (int)getpid());
	if (!err && setenv("LISTEN_PID", number, 1))
		err = -ENOMEM;
	return err;
}

static _Noreturn void daemon_exec(struct keeper *k)
{
	int err = environment_set(k);

	if (!err)
		err = store_lay_out(&k->store, FIRST_FD);
	if (err) {
		say("cannot hand over: %s", strerror(-err));
		_exit(126);
	}
	sigprocmask(SIG_SETMASK, &k->mask_before, NULL);
	execvp(k->argv[0], k->argv);
	say("%s: %s", k->argv[0], strerror(errno));
	_exit(127);
}

static void daemon_start(struct keeper *k)
{
	pid_t pid = fork();

	if (!pid)
		daemon_exec(k);
	if (pid < 0) {
		say("fork: %s", strerror(errno));
		k->start_at = now_ms() + PAUSE_MAX_MS;
		return;
	}
	k->daemon = pid;
	k->ready = false;
}

static void daemon_ended(struct keeper *k, int status)
{
	bool killed = WIFSIGNALED(status);

	/* All that it sent comes before its end. */
	while (message_read(k))
		;
	k->daemon = 0;
	k->status = killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (!k->was_ready && !killed)
		k->ending = true;
	if (k->ending)
		return;
	say("%s ended by %s %d, starting it again%s; %zu descriptors kept", k->argv[0],
	    killed ? "signal" : "status", killed ? WTERMSIG(status) : WEXITSTATUS(status),
	    k->pause_ms ? " after a pause" : "", k->store.count);
	k->start_at = now_ms() + (uint64_t)k->pause_ms;
	/* Taken back by READY. */
	k->pause_ms = k->pause_ms ? k->pause_ms * 2 : PAUSE_MIN_MS;
	if (k->pause_ms > PAUSE_MAX_MS)
		k->pause_ms = PAUSE_MAX_MS;
}

static void children_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->daemon)
			daemon_ended(k, status);
	}
}

static void signal_take(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		children_reap(k);
		return;
	}
	if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
		k->ending = true;
		info.ssi_signo = SIGINT;
	}
	if (k->daemon)
		kill(k->daemon, (int)info.ssi_signo);
}

/* ---- the whole ----------------------------------------------------------------- */

static int socket_dir_make(struct keeper *k)
{
	snprintf(k->dir, sizeof(k->dir), "%s/tmem-keeper-XXXXXX", getuid() ? "/tmp" : "/run");
	if (!mkdtemp(k->dir)) {
		k->dir[0] = '\0';
		return -errno;
	}
	snprintf(k->path, sizeof(k->path), "%s/notify", k->dir);
	/* The daemon may have become another user. */
	return chmod(k->dir, 0711) ? -errno : 0;
}

static int socket_open(struct keeper *k)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const int on = 1;
	mode_t mask;
	int err = k->path[0] ? 0 : socket_dir_make(k);

	if (err)
		return err;
	memcpy(a.sun_path, k->path, sizeof(a.sun_path));
	k->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (k->notify < 0)
		return -errno;
	if (!k->dir[0])
		unlink(k->path);
	mask = umask(0177);
	err = setsockopt(k->notify, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	      bind(k->notify, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(mask);
	if (!err && k->user != geteuid() && lchown(k->path, k->user, (gid_t)-1))
		err = -errno;
	return err;
}

static void socket_remove(struct keeper *k)
{
	unlink(k->path);
	if (k->dir[0])
		rmdir(k->dir);
}

static int signals_open(struct keeper *k)
{
	static const int taken[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_BLOCK, &set, &k->mask_before);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return k->signals < 0 ? -errno : 0;
}

/* How long to sleep: for ever while one runs. */
static int wait_ms(const struct keeper *k)
{
	uint64_t now = now_ms();

	if (k->daemon)
		return -1;
	return k->start_at > now ? (int)(k->start_at - now) : 0;
}

static void keep(struct keeper *k)
{
	while (k->daemon || !k->ending) {
		struct pollfd p[] = {
			{ .fd = k->signals, .events = POLLIN },
			{ .fd = k->notify, .events = POLLIN },
		};

		if (!k->daemon && !wait_ms(k)) {
			daemon_start(k);
			continue;
		}
		if (poll(p, 2, wait_ms(k)) < 0)
			continue;
		if (p[1].revents)
			message_read(k);
		if (p[0].revents)
			signal_take(k);
	}
}

static int usage(void)
{
	fputs("Usage: tmem-keeper [--socket PATH] [--user NAME] [--] PROGRAM [ARGUMENT]...\n"
	      "Run PROGRAM, hold the descriptors that it hands over by sd_notify(3), and start\n"
	      "it again with them when it dies.\n", stderr);
	return 2;
}

static bool user_take(struct keeper *k, const char *name)
{
	const struct passwd *p = getpwnam(name);

	if (p)
		k->user = p->pw_uid;
	else
		say("there is no user %s", name);
	return p != NULL;
}

static bool options_take(struct keeper *k, int argc, char *argv[])
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "user", required_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option == 'u' && user_take(k, optarg))
			continue;
		if (option != 's' || strlen(optarg) >= sizeof(k->path))
			return false;
		strcpy(k->path, optarg);
	}
	k->argv = argv + optind;
	return optind < argc;
}

/* To hand over takes a second number for each that is kept. */
static void room_make(struct keeper *k)
{
	struct rlimit limit = { .rlim_cur = 1024 };

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			getrlimit(RLIMIT_NOFILE, &limit);
	}
	k->store.max = limit.rlim_cur > OWN_FDS ? (limit.rlim_cur - OWN_FDS) / 2 : 0;
}

int main(int argc, char *argv[])
{
	struct keeper k = { .status = 1, .user = geteuid() };
	int err;

	if (!options_take(&k, argc, argv))
		return usage();
	room_make(&k);
	err = signals_open(&k);
	if (!err)
		err = socket_open(&k);
	if (err)
		say("%s: %s", k.path[0] ? k.path : "socket", strerror(-err));
	else
		keep(&k);
	socket_remove(&k);
	store_clear(&k.store);
	return k.status;
}

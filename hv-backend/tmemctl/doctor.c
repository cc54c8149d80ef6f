/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor.c - what on this host keeps tmem from working, or from working well.
 *
 * How:     each check adds rows with a state and a sentence: ok; warn, it works but
 *          not well; fail, it does not work or is not safe.  What can be seen
 *          without the daemon is looked at without it.
 * Must not: change anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "complain.h"
#include "settings.h"
#include "size.h"

enum state { STATE_OK, STATE_WARN, STATE_FAIL };

struct findings {
	json_t *rows;
	bool failed;
};

__attribute__((format(printf, 4, 5)))
static void add(struct findings *f, enum state state, const char *check, const char *fmt, ...)
{
	static const char *const names[] = {
		[STATE_OK] = "ok", [STATE_WARN] = "warn", [STATE_FAIL] = "fail",
	};
	char text[TABLE_CELL_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (state == STATE_FAIL)
		f->failed = true;
	json_array_append_new(f->rows, json_pack("{s:s, s:s, s:s}", "check", check, "state",
						 names[state], "text", text));
}

/* ---- the host ------------------------------------------------------------ */

static void kvm_check(struct findings *f)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		add(f, STATE_WARN, "kvm", "there is no /dev/kvm: guests are emulated and slow");
		return;
	}
	if (fd < 0) {
		add(f, STATE_WARN, "kvm", "/dev/kvm: %s", strerror(errno));
		return;
	}
	if (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) > 0 &&
	    ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0)
		add(f, STATE_OK, "kvm", "notifications go through the kernel (ioeventfd, irqfd)");
	else
		add(f, STATE_WARN, "kvm", "no ioeventfd or irqfd: notifications go through the VMM");
	close(fd);
}

static void psi_check(struct findings *f)
{
	char line[16];
	FILE *psi = fopen("/proc/pressure/memory", "re");

	/* With psi=0 the file is there, but reading it is not supported. */
	if (psi && fgets(line, sizeof(line), psi))
		add(f, STATE_OK, "psi", "the kernel counts how long tasks wait for memory");
	else
		add(f, STATE_WARN, "psi", "no /proc/pressure/memory (boot with psi=1): available "
		    "memory alone is looked at");
	if (psi)
		fclose(psi);
}

/* ---- the daemon ------------------------------------------------------------ */

static void socket_check(struct findings *f, const char *check, const char *path)
{
	struct stat st;
	struct group *g;

	if (lstat(path, &st)) {
		add(f, STATE_FAIL, check, "%.80s: %s", path, strerror(errno));
		return;
	}
	g = getgrgid(st.st_gid);
	if (!S_ISSOCK(st.st_mode))
		add(f, STATE_FAIL, check, "%.80s is not a socket", path);
	else if (st.st_mode & S_IWOTH)
		add(f, STATE_FAIL, check, "%.60s: mode %04o, anyone may connect", path,
		    st.st_mode & 07777);
	else
		add(f, STATE_OK, check, "mode %04o, group %.32s", st.st_mode & 07777,
		    g ? g->gr_name : "without a name");
}

/* The number behind a name in a file of /proc; -1: not there, or "unlimited". */
static long long proc_number(long long pid, const char *file, const char *name)
{
	char path[64], line[256];
	long long number = -1;
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%lld/%s", pid, file);
	stream = fopen(path, "re");
	while (stream && fgets(line, sizeof(line), stream)) {
		if (!strncmp(line, name, strlen(name))) {
			sscanf(line + strlen(name), "%lld", &number);
			break;
		}
	}
	if (stream)
		fclose(stream);
	return number;
}

static bool host_swaps(void)
{
	char line[256];
	FILE *swaps = fopen("/proc/swaps", "re");
	bool any = swaps && fgets(line, sizeof(line), swaps) && fgets(line, sizeof(line), swaps);

	if (swaps)
		fclose(swaps);
	return any;
}

static void memlock_check(struct findings *f, json_t *status)
{
	long long pid = json_integer_value(json_object_get(status, "pid"));
	long long arena = json_integer_value(json_object_get(status, "arena_bytes"));
	long long limit = proc_number(pid, "limits", "Max locked memory");
	const char *error = json_string_value(json_object_get(status, "lock_error"));
	char text[SIZE_TEXT_MAX];

	if (error)
		add(f, STATE_FAIL, "memlock", "the arena could not be locked in memory: %s", error);
	else if (proc_number(pid, "status", "VmLck:") > 0)
		add(f, STATE_OK, "memlock", "the arena is locked in memory");
	else if (host_swaps())
		add(f, STATE_WARN, "memlock", "the host has swap and may put the arena there "
		    "(lock-memory = yes)");
	else if (limit >= 0 && limit < arena)
		add(f, STATE_OK, "memlock", "not locked, no swap; the limit would allow %s",
		    size_format((uint64_t)limit, text));
	else
		add(f, STATE_OK, "memlock", "not locked, and the host has no swap");
}

/* What the guest said in HELLO, and how its requests come. */
static void driver_check(struct findings *f, const char *check, const char *state, json_t *guest)
{
	const char *driver = json_string_value(json_object_get(guest, "driver_version"));
	const char *kernel = json_string_value(json_object_get(guest, "kernel_version"));
	const char *transport = json_string_value(json_object_get(guest, "transport"));
	bool same = !strcmp(driver, TMEM_VERSION);

	add(f, same ? STATE_OK : STATE_WARN, check,
	    "%s; its driver is %s on Linux %s, %lld queues over %s%s%s", state, driver,
	    kernel ? kernel : "unknown",
	    (long long)json_integer_value(json_object_get(guest, "queues")),
	    transport ? transport : "unknown", same ? "" : "; this is ", same ? "" : TMEM_VERSION);
}

static void guest_check(struct findings *f, json_t *guest)
{
	const char *name = json_string_value(json_object_get(guest, "name"));
	const char *state = json_string_value(json_object_get(guest, "state"));
	bool driver = json_is_string(json_object_get(guest, "driver_version"));
	const char *failure = json_string_value(json_object_get(guest, "last_failure"));
	char check[80];

	snprintf(check, sizeof(check), "guest %s", name);
	if (!strcmp(state, "connected"))
		add(f, STATE_WARN, check, "a VMM is there, but no driver in the guest");
	else if (driver)
		driver_check(f, check, state, guest);
	else
		add(f, STATE_OK, check, "nobody is connected");
	if (failure && *failure)
		add(f, STATE_WARN, check, "was disconnected last: %s", failure);
	snprintf(check, sizeof(check), "socket %s", name);
	socket_check(f, check, json_string_value(json_object_get(guest, "socket")));
}

static void daemon_check(struct findings *f, const char *socket)
{
	json_t *status, *stats, *guest;
	size_t i;

	if (client_ask(socket, json_pack("{s:s}", "verb", "status"), &status) != EXIT_OK) {
		add(f, STATE_FAIL, "daemon", "does not answer at %.80s", socket);
		return;
	}
	add(f, STATE_OK, "daemon", "version %s, pid %lld",
	    json_string_value(json_object_get(status, "version")),
	    (long long)json_integer_value(json_object_get(status, "pid")));
	socket_check(f, "control", socket);
	memlock_check(f, status);
	json_decref(status);
	if (client_ask(socket, json_pack("{s:s}", "verb", "stats"), &stats) != EXIT_OK)
		return;
	json_array_foreach(json_object_get(stats, "guests"), i, guest) {
		guest_check(f, guest);
	}
	json_decref(stats);
}

int doctor_run(const struct settings *s, const struct command *c, int argc, char *argv[])
{
	struct findings f = { .rows = json_array() };
	json_t *answer;
	int code;

	(void)argc;
	(void)argv;
	kvm_check(&f);
	psi_check(&f);
	daemon_check(&f, s->socket);
	answer = json_pack("{s:b, s:o, s:i}", "ok", !f.failed, "checks", f.rows, "schema_version",
			   1);
	if (!answer)
		return complain(EXIT_FAILED, "out of memory");
	code = answer_show(s, c, answer);
	json_decref(answer);
	return code == EXIT_OK && f.failed ? EXIT_FAILED : code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd.c - the daemon's life: start in stages, run the loop, stop in reverse.
 *
 * Owns:    process-wide things: the run directory and its lock, what outlives the
 *          process (estate.h), signals.
 * How:     each stage has a start and a stop; what started is stopped in reverse
 *          order, after a signal as after a stage that failed.  The control
 *          socket comes last, and after it the word to the service manager:
 *          whoever reaches us finds everything there.
 * Must not: end, once running, for anything but SIGTERM, SIGINT or the loop
 *          itself failing.
 *
 * SIGTERM leaves guests to the next process where something outlives this one
 * (estate.h); SIGINT says to those that a keeper could hand on that there is none.
 * SIGHUP reads the configuration again and applies log-level, the guests' quotas
 * and the host's limits.  All else needs a restart.
 *
 * #syscalls: flock geteuid rmdir signalfd4 unlink
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "added.h"
#include "config.h"
#include "confine.h"
#include "control.h"
#include "estate.h"
#include "events.h"
#include "history.h"
#include "http.h"
#include "hv.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "notify.h"
#include "options.h"
#include "pressure.h"
#include "sensors.h"
#include "size.h"
#include "tmem.h"
#include "verbs.h"
#include "web.h"

#define WORKERS_DEFAULT_MAX	4u

struct daemon {
	int argc;
	char *const *argv;
	struct config config;
	int run_dir_fd;
	bool run_dir_made;
	struct estate estate;
	bool for_good;			/* no other process follows: guests are told */
	int signal_fd;
	gid_t control_group, guest_group;	/* of their sockets, as control.h and hv.h have it */
	int landlock;				/* the version in force, 0: none */
	struct loop *loop;
	struct loop_source *signal_source;
	struct tmem *core;
	struct sensors *sensors;
	struct events *events;
	struct pressure *pressure;
	struct hv *hv;
	struct verbs_host verbs;
	struct control *control;
	struct notify *notify;
	struct history *history;
	struct web *web;
	struct http *http;
};

/* ---- stages ------------------------------------------------------------ */

/* A guest costs some descriptors a queue; the soft limit is for programs with select(). */
static int descriptors_start(struct daemon *d)
{
	struct rlimit limit;

	(void)d;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return 0;
}

/* The segments of one program or library; *err is the first error. */
static int object_lock(struct dl_phdr_info *object, size_t size, void *err)
{
	(void)size;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && mlock((void *)(object->dlpi_addr + p->p_vaddr),
						  p->p_memsz) && !*(int *)err)
			*(int *)err = errno;
	}
	return 0;
}

/*
 * A host or a cgroup that is short drops a program's code first; reading it again
 * takes memory, and above memory.high seconds for each page, just when we are to
 * give memory back.  So code and data that are loaded now stay.  The arena has an
 * option of its own.  Not mlockall(): a locked stack may not grow beyond the limit
 * of locked memory, and that is a fault once our right to exceed it is given up.
 */
static int code_start(struct daemon *d)
{
	int err = 0;

	(void)d;
	dl_iterate_phdr(object_lock, &err);
	if (err)
		log_info("the daemon's own code can be dropped from memory: %s", strerror(err));
	return 0;
}

/* -errno, said with the path it is about. */
static int path_error(const char *path)
{
	int err = -errno;

	log_error("%s: %s", path, strerror(-err));
	return err;
}

/* A directory that was there belongs to whom its maker chose. */
static int run_dir_give(struct daemon *d)
{
	const char *user = d->config.user;
	unsigned uid, gid;
	int err;

	if (!d->run_dir_made || !user[0])
		return 0;
	err = confine_user_ids(user, &uid, &gid);
	if (err)
		log_error("user: there is no user %s", user);
	else if (fchown(d->run_dir_fd, uid, gid))
		err = path_error(d->config.run_dir);
	return err;
}

/* The lock is on the directory itself, so that nothing is left when it goes. */
static int run_dir_start(struct daemon *d)
{
	const char *dir = d->config.run_dir;
	int err;

	if (mkdir(dir, 0755) == 0)
		d->run_dir_made = true;
	d->run_dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->run_dir_fd < 0)
		return path_error(dir);
	err = estate_lock(d->run_dir_fd, dir);
	if (!err)
		err = run_dir_give(d);
	if (err)
		close(d->run_dir_fd);
	return err;
}

static void run_dir_stop(struct daemon *d)
{
	if (d->run_dir_made)
		rmdir(d->config.run_dir);
	close(d->run_dir_fd);
}

static int estate_start(struct daemon *d)
{
	return estate_open(&d->estate, d->config.arena_file);
}

static void estate_stop(struct daemon *d)
{
	estate_close(&d->estate);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int count_client(struct tmem_client *c, void *arg)
{
	struct tmem_client_info info;
	uint64_t *pages = arg;

	tmem_client_info(c, &info);
	*pages += info.kind[TMEM_EPHEMERAL].pages + info.kind[TMEM_PERSISTENT].pages;
	return 0;
}

static void found_log(const struct daemon *d, uint64_t ns)
{
	uint64_t pages = 0;

	tmem_client_each(d->core, count_client, &pages);
	log_info("%s: %llu pages found, index rebuilt in %llu.%03llu ms", d->estate.name,
		 (unsigned long long)pages, (unsigned long long)ns / 1000000,
		 (unsigned long long)ns / 1000 % 1000);
}

static int core_start(struct daemon *d)
{
	const struct config *c = &d->config;
	struct tmem_config config = {
		.arena_fd = d->estate.arena,
		.arena_max = c->arena,
		.rebuild = d->estate.found,
		.zbud_two = c->zbud_two,
		.dedup = c->dedup,
		.lock_memory = c->lock_memory,
	};
	struct tmem_limits limits;
	uint64_t start = now_ns();
	int err = tmem_create(&d->core, &config);

	if (err)
		return err;
	if (d->estate.found)
		found_log(d, now_ns() - start);
	tmem_limits_get(d->core, &limits);
	limits.persistent_max = c->persistent_max;
	err = tmem_limits_set(d->core, &limits);
	if (err)
		tmem_destroy(d->core);
	return err;
}

static void core_stop(struct daemon *d)
{
	tmem_destroy(d->core);
}

static int loop_start(struct daemon *d)
{
	return loop_create(&d->loop);
}

static void loop_stop_stage(struct daemon *d)
{
	loop_destroy(d->loop);
}

static void quotas_apply(struct daemon *d, const struct config *c)
{
	for (size_t i = 0; i < c->guest_count; i++) {
		struct tmem_client *client = tmem_client_find(d->core, c->guests[i].name);
		int err = client ? tmem_client_quota_set(client, &c->guests[i].quota) : 0;

		if (err)
			log_guest(LOG_LEVEL_WARN, c->guests[i].name, "quota not changed: %s",
				  strerror(-err));
	}
}

/* An arena has no more than it was made with. */
static void limits_apply(struct daemon *d, const struct config *c)
{
	struct policy_config policy = c->policy;
	struct tmem_use use;

	tmem_use_get(d->core, &use);
	if (policy.total > use.arena)
		policy.total = use.arena;
	if (policy.persistent_max > policy.total)
		policy.persistent_max = policy.total;
	pressure_configure(d->pressure, &policy);
}

static void configuration_reread(struct daemon *d)
{
	enum options_wish wish;
	struct config c;
	struct config_error e;

	notify_reloading();
	if (options_parse(d->argc, d->argv, &c, &wish, &e)) {
		log_error("configuration not read again: %s", e.text);
	} else {
		log_level_set(c.log_level);
		quotas_apply(d, &c);
		limits_apply(d, &c);
		log_info("configuration read again: log level, quotas and the host's limits are "
			 "in force");
	}
	config_free(&c);
	notify_reloaded();
}

static void signal_ready(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		configuration_reread(d);
		return;
	}
	d->for_good = info.ssi_signo == SIGINT;
	log_info("ending on %s", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	loop_stop(d->loop);
}

/* Before any thread: they inherit the mask. */
static int signals_start(struct daemon *d)
{
	sigset_t set;
	int err;

	signal(SIGPIPE, SIG_IGN);
	/* A spill file that may not grow is an error of the write, not our end. */
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return -errno;
	err = loop_add(d->loop, d->signal_fd, EPOLLIN, signal_ready, d, &d->signal_source);
	if (err)
		close(d->signal_fd);
	return err;
}

static void signals_stop(struct daemon *d)
{
	loop_remove(d->signal_source);
	close(d->signal_fd);
}

static int pressure_start(struct daemon *d)
{
	int err = sensors_open(&d->sensors, "");

	if (err)
		return err;
	err = events_create(&d->events);
	if (err)
		goto fail_sensors;
	err = pressure_create(&d->pressure, d->loop, d->core, d->sensors, d->events,
			      &d->config.policy);
	if (err)
		goto fail_events;
	return 0;
fail_events:
	events_destroy(d->events);
fail_sensors:
	sensors_close(d->sensors);
	return err;
}

static void pressure_stop(struct daemon *d)
{
	pressure_destroy(d->pressure);
	events_destroy(d->events);
	sensors_close(d->sensors);
}

/* ---- confinement: what is opened after the start, and nothing else -------- */

/* The number of the option's group; "" leaves *group.  -ENOENT: there is none. */
static int group_find(const char *option, const char *name, gid_t *group)
{
	struct group *g;

	if (!name[0])
		return 0;
	g = getgrnam(name);
	if (!g) {
		log_error("%s: there is no group %s", option, name);
		return -ENOENT;
	}
	*group = g->gr_gid;
	return 0;
}

/* It is edited where it really is, not where a link to it lies. */
static void config_file_allow(struct confine_files *f, const char *file)
{
	char *real = realpath(file, NULL);

	confine_files_beside(f, file, CONFINE_READ);
	if (real)
		confine_files_beside(f, real, CONFINE_FILES);
	free(real);
}

/*
 * The kernel's own files tell of memory and of who a peer is; the run directory
 * has the sockets and the list of guests that came later; a configuration is read
 * again and edited.
 */
static int files_confine(const struct daemon *d)
{
	const struct config *c = &d->config;
	struct confine_files f;

	confine_files_begin(&f, c->http ? (uint16_t)c->http_port : 0);
	confine_files_allow(&f, "/proc", CONFINE_READ);
	confine_files_allow(&f, "/sys/fs/cgroup", CONFINE_READ);
	confine_files_allow(&f, "/dev/null", CONFINE_READ);
	confine_files_allow(&f, c->run_dir, CONFINE_SOCKETS);
	confine_files_allow(&f, c->run_dir, CONFINE_FILES);
	if (c->spill_dir[0])
		confine_files_allow(&f, c->spill_dir, CONFINE_FILES);
	for (size_t i = 0; i < c->guest_count; i++) {
		confine_files_beside(&f, c->guests[i].socket, CONFINE_SOCKETS);
		if (!c->guests[i].disk_size)
			continue;
		confine_files_beside(&f, c->guests[i].disk_socket, CONFINE_SOCKETS);
		if (c->guests[i].disk_spill[0])
			confine_files_beside(&f, c->guests[i].disk_spill, CONFINE_FILES);
	}
	if (d->run_dir_made)
		confine_files_beside(&f, c->run_dir, CONFINE_REMOVED);
	if (c->file[0])
		config_file_allow(&f, c->file);
	return confine_files_end(&f);
}

/* Names of users and groups are looked up here for the last time. */
static int confinement_start(struct daemon *d)
{
	const struct config *c = &d->config;
	int err = group_find("control-group", c->control_group, &d->control_group);

	if (!err)
		err = group_find("guest-group", c->guest_group, &d->guest_group);
	if (err || c->confine == CONFINE_OFF)
		return err;
	err = confine_identity(c->user, c->lock_memory);
	if (err)
		return err;
	d->landlock = files_confine(d);
	return d->landlock < 0 ? d->landlock : 0;
}

static int calls_start(struct daemon *d)
{
	int left;

	if (d->config.confine == CONFINE_OFF) {
		log_warn("not confined: confine = off");
		return 0;
	}
	left = confine_calls(d->config.confine);
	if (left == -ENOTSUP)
		return 0;
	if (left < 0) {
		log_error("the kernel takes no system call filter; confine = off goes without");
		return left;
	}
	log_info("confined: uid %u, %d system calls left, files by Landlock %d%s", geteuid(), left,
		 d->landlock, d->landlock ? "" : " (this kernel has none)");
	return 0;
}

static unsigned workers_default(void)
{
	cpu_set_t set;
	int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return (unsigned)cpus < WORKERS_DEFAULT_MAX ? (unsigned)cpus : WORKERS_DEFAULT_MAX;
}

static int hv_start(struct daemon *d)
{
	struct hv_config config = {
		.workers = d->config.workers ? d->config.workers : workers_default(),
		.queues = d->config.queues,
		.poll_us = d->config.poll_us,
		.keep = d->estate.keep,
		.handover = d->estate.handover,
		.guest_group = d->guest_group,
	};

	d->config.workers = config.workers;
	return hv_create(&d->hv, d->loop, d->core, &config);
}

static void hv_stop(struct daemon *d)
{
	if (d->estate.outlives && !(d->for_good && d->estate.handover))
		hv_leave(d->hv);
	else
		hv_destroy(d->hv);
}

/* Guests end with the data plane. */
static int guests_start(struct daemon *d)
{
	const struct added_host added = {
		.hv = d->hv, .run_dir = d->config.run_dir,
		.spill_dir = d->config.spill_dir, .arena = d->config.arena,
	};

	for (size_t i = 0; i < d->config.guest_count; i++) {
		const struct config_guest *g = &d->config.guests[i];
		struct hv_guest_config config = {
			.name = g->name,
			.socket = g->socket,
			.transport = g->transport,
			.region = g->region,
			.quota = g->quota,
			.domain = g->domain,
			.disk = config_disk(g),
		};
		int err = hv_guest_add(d->hv, &config);

		if (err) {
			log_guest(LOG_LEVEL_ERROR, g->name, "%s: %s", g->socket, strerror(-err));
			return err;
		}
	}
	added_load(&added);
	hv_settle(d->hv);
	handover_settle(d->estate.handover);
	return 0;
}

static char *metrics_page(void *arg)
{
	struct daemon *d = arg;
	struct metrics *m = metrics_collect(d->core, d->hv, d->pressure);
	char *text = m ? metrics_text(m) : NULL;

	metrics_free(m);
	return text;
}

/* ---- what can be asked and changed, over two sockets --------------------- */

static int verbs_start(struct daemon *d)
{
	const struct config *c = &d->config;

	d->verbs = (struct verbs_host){
		.core = d->core, .hv = d->hv, .events = d->events, .pressure = d->pressure,
		.group_may_change = c->control_group_may_change,
		.run_dir = c->run_dir,
		.spill_dir = c->spill_dir,
		.config_file = c->file[0] ? c->file : NULL,
		.http_socket = c->http_socket, .http_port = c->http_port,
	};
	return 0;
}

static int web_start(struct daemon *d)
{
	struct web_config config = {
		.verbs = &d->verbs, .dashboard = d->config.dashboard, .metrics = metrics_page,
		.arg = d,
	};
	int err;

	if (!d->config.http)
		return 0;
	err = history_create(&d->history, d->loop, d->hv, d->pressure);
	if (err)
		return err;
	config.history = d->history;
	err = web_create(&d->web, &config);
	if (err)
		history_destroy(d->history);
	d->verbs.web = d->web;
	return err;
}

static void web_stop(struct daemon *d)
{
	if (!d->web)
		return;
	web_destroy(d->web);
	history_destroy(d->history);
}

static int http_start(struct daemon *d)
{
	const struct http_config config = {
		.path = d->config.http_socket, .group = d->control_group,
		.port = (unsigned short)d->config.http_port,
		.fn = web_answer, .arg = d->web,
	};

	return d->config.http ? http_create(&d->http, d->loop, &config) : 0;
}

static void http_stop(struct daemon *d)
{
	if (d->http)
		http_destroy(d->http);
}

static int control_start(struct daemon *d)
{
	return control_create(&d->control, d->loop, d->config.control_socket, d->control_group,
			      verbs_answer, &d->verbs);
}

static void control_stop(struct daemon *d)
{
	control_destroy(d->control);
}

struct serving {
	unsigned guests, ready;
};

static int serving_count(const struct hv_guest_info *info, void *arg)
{
	struct serving *s = arg;

	s->guests++;
	s->ready += info->state == HV_GUEST_READY;
	return 0;
}

static void status_say(void *arg, char *text, size_t size)
{
	struct daemon *d = arg;
	struct serving serving = { 0 };
	struct pressure_status pressure;
	char used[SIZE_TEXT_MAX], target[SIZE_TEXT_MAX];

	hv_guest_each(d->hv, serving_count, &serving);
	pressure_status(d->pressure, &pressure);
	snprintf(text, size, "%u of %u guests connected; holds %s of %s", serving.ready,
		 serving.guests, size_format(pressure.inputs.arena.resident, used),
		 size_format(pressure.decision.target, target));
}

static int notify_start(struct daemon *d)
{
	return notify_create(&d->notify, d->loop, status_say, d);
}

static void notify_stop(struct daemon *d)
{
	notify_destroy(d->notify);
}

static const struct stage {
	const char *name;
	int (*start)(struct daemon *d);
	void (*stop)(struct daemon *d);		/* NULL: nothing to undo */
} stages[] = {
	{ "descriptors", descriptors_start, NULL },
	{ "code", code_start, NULL },
	{ "run directory", run_dir_start, run_dir_stop },
	{ "arena", estate_start, estate_stop },
	{ "core", core_start, core_stop },
	{ "event loop", loop_start, loop_stop_stage },
	{ "signals", signals_start, signals_stop },
	{ "memory policy", pressure_start, pressure_stop },
	{ "confinement", confinement_start, NULL },
	{ "workers", hv_start, hv_stop },
	{ "guests", guests_start, NULL },
	{ "verbs", verbs_start, NULL },
	{ "web", web_start, web_stop },
	{ "HTTP", http_start, http_stop },
	{ "system calls", calls_start, NULL },
	{ "control socket", control_start, control_stop },
	{ "service manager", notify_start, notify_stop },
};

/* ---- the whole --------------------------------------------------------- */

static void started_log(const struct daemon *d)
{
	char arena[SIZE_TEXT_MAX];

	log_info("version %s: arena %s, %u workers, %zu guests, control socket %s", TMEM_VERSION,
		 size_format(d->config.arena, arena), d->config.workers, d->config.guest_count,
		 d->config.control_socket);
}

static int daemon_run(struct daemon *d)
{
	const size_t count = sizeof(stages) / sizeof(stages[0]);
	size_t started = 0;
	int err = 0;

	while (started < count) {
		err = stages[started].start(d);
		if (err) {
			log_error("cannot start: %s: %s", stages[started].name, strerror(-err));
			break;
		}
		started++;
	}
	if (!err) {
		started_log(d);
		err = loop_run(d->loop);
		if (err)
			log_error("event loop: %s", strerror(-err));
	}
	while (started-- > 0) {
		if (stages[started].stop)
			stages[started].stop(d);
	}
	return err ? 1 : 0;
}

int main(int argc, char *argv[])
{
	struct daemon d = { .argc = argc, .argv = argv, .control_group = CONTROL_OWN_GROUP };
	struct config_error e;
	enum options_wish wish;
	int err = options_parse(argc, argv, &d.config, &wish, &e);
	int status = 0;

	if (err == -ENOTSUP) {
		fprintf(stderr, "Try 'tmemd --help'.\n");
		status = 2;
	} else if (err) {
		fprintf(stderr, "tmemd: %s\n", e.text);
		status = 1;
	} else if (wish == OPTIONS_HELP) {
		options_help();
	} else if (wish == OPTIONS_VERSION) {
		printf("tmemd %s\n", TMEM_VERSION);
	} else {
		log_level_set(d.config.log_level);
		status = daemon_run(&d);
	}
	config_free(&d.config);
	return status;
}

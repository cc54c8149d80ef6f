/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.c - keep tmemd's guests as libvirt's domains are.
 *
 * Owns:    the connections to both daemons, and what is to be done again.
 * How:     libvirt's events say which domain changed; the domain's XML is then read and
 *          announced to tmemd as a whole.  After either daemon was away, all domains
 *          are.  A guest whose domain has no device of ours any more is removed; while
 *          its VMM is still seen, that is tried again.
 *
 *                      .---- lost: try each second ----.
 *                      v                               |
 *          libvirt  [open, events asked for] ----> all domains
 *          tmemd    [connected, silent]      ----> all domains
 *
 * Must not: end for anything but a signal; keep what a domain's XML could be asked for.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../tmemctl/client.h"
#include "../tmemctl/complain.h"
#include "announce.h"
#include "log.h"
#include "virt.h"

#define AGAIN_MS	1000
#define KEEPALIVE_S	5
#define KEEPALIVE_TIMES	3
#define EVENTS		4

/*
 *   timer runs  equals  !conn || tmemd < 0 || all || prune
 */
struct watch {
	const struct virt *virt;
	virConnectPtr conn;	/* NULL: libvirt is away */
	int events[EVENTS];	/* asked for of conn, each with a reference to it; -1: not */
	int tmemd;		/* -1: tmemd is away */
	int tmemd_watch;	/* of libvirt's loop */
	int timer;
	bool all;		/* all domains are to be read */
	bool prune;		/* a guest is to be removed */
	bool libvirt_said, tmemd_said;	/* that it is away */
	bool ending;
};

static void again(struct watch *w)
{
	bool wanted = !w->conn || w->tmemd < 0 || w->all || w->prune;

	virEventUpdateTimeout(w->timer, wanted ? AGAIN_MS : -1);
}

/* ---- one domain --------------------------------------------------------------- */

static void domain_sync(struct watch *w, virDomainPtr dom)
{
	struct domain d;

	if (virt_read(w->virt, dom, VIRT_LIVE, &d) != EXIT_OK)
		return;
	if (d.guest[0] && announce(w->virt->socket, d.guest, &d) == EXIT_OK)
		log_guest(LOG_LEVEL_INFO, d.guest, "announced for domain %s", d.name);
	domain_free(&d);
}

static bool domain_uses(struct watch *w, virDomainPtr dom, const char *guest)
{
	bool uses = false;

	for (enum virt_place place = VIRT_LIVE; place <= VIRT_CONFIG && !uses; place++) {
		struct domain d;

		/* What cannot be read may be a domain that has just gone, or use it. */
		if (virt_read(w->virt, dom, place, &d) != EXIT_OK)
			return true;
		uses = !strcmp(d.guest, guest);
		domain_free(&d);
	}
	return uses;
}

/* ---- guests without a domain ---------------------------------------------------- */

/* 1: there is no such domain, or it has no device for that guest. */
static int is_unused(struct watch *w, const char *guest, const char *uuid)
{
	virDomainPtr dom = virDomainLookupByUUIDString(w->conn, uuid);
	bool unused;

	if (!dom)
		return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
	unused = !domain_uses(w, dom, guest);
	virDomainFree(dom);
	return unused;
}

/* A guest of tmemd's report.  False: it is to be tried again. */
static bool guest_prune(struct watch *w, json_t *g)
{
	const char *name = json_string_value(json_object_get(g, "name"));
	const char *uuid = json_string_value(json_object_get(g, "domain"));
	const char *state = json_string_value(json_object_get(g, "state"));
	json_t *answer;

	if (!name || !uuid || !state || !json_is_true(json_object_get(g, "added")) ||
	    !is_unused(w, name, uuid))
		return true;
	if (strcmp(state, "listening"))
		return false;
	if (client_ask(w->virt->socket, json_pack("{s:s, s:s}", "verb", "remove", "guest", name),
		       &answer))
		return false;
	json_decref(answer);
	log_guest(LOG_LEVEL_INFO, name, "removed: no domain has a device for it");
	return true;
}

static void guests_prune(struct watch *w)
{
	json_t *answer, *g;
	size_t index;

	if (client_ask(w->virt->socket, json_pack("{s:s}", "verb", "stats"), &answer))
		return;
	w->prune = false;
	json_array_foreach(json_object_get(answer, "guests"), index, g) {
		if (!guest_prune(w, g))
			w->prune = true;
	}
	json_decref(answer);
}

/* ---- all domains ------------------------------------------------------------------ */

static void all_sync(struct watch *w)
{
	virDomainPtr *list = NULL;
	int count = virConnectListAllDomains(w->conn, &list, 0);

	if (count < 0) {
		virt_complain(EXIT_FAILED, "domains");
		return;
	}
	for (int i = 0; i < count; i++) {
		domain_sync(w, list[i]);
		virDomainFree(list[i]);
	}
	free(list);
	w->all = false;
	w->prune = true;
}

/* ---- libvirt's events ---------------------------------------------------------------- */

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *arg)
{
	struct watch *w = arg;

	(void)conn;
	(void)detail;
	if (event == VIR_DOMAIN_EVENT_DEFINED || event == VIR_DOMAIN_EVENT_STARTED)
		domain_sync(w, dom);
	w->prune = true;
	again(w);
	return 0;
}

static void on_metadata(virConnectPtr conn, virDomainPtr dom, int type, const char *uri, void *arg)
{
	(void)conn;
	if (type == VIR_DOMAIN_METADATA_ELEMENT && uri && !strcmp(uri, METADATA_URI))
		domain_sync(arg, dom);
}

static void on_device_added(virConnectPtr conn, virDomainPtr dom, const char *alias, void *arg)
{
	(void)conn;
	(void)alias;
	domain_sync(arg, dom);
}

static void on_device_removed(virConnectPtr conn, virDomainPtr dom, const char *alias, void *arg)
{
	struct watch *w = arg;

	(void)conn;
	(void)dom;
	(void)alias;
	w->prune = true;
	again(w);
}

static void libvirt_close(struct watch *w)
{
	for (size_t i = 0; i < EVENTS; i++) {
		if (w->events[i] >= 0)
			virConnectDomainEventDeregisterAny(w->conn, w->events[i]);
		w->events[i] = -1;
	}
	virConnectClose(w->conn);
	w->conn = NULL;
}

static void on_libvirt_closed(virConnectPtr conn, int reason, void *arg)
{
	struct watch *w = arg;

	(void)conn;
	(void)reason;
	log_warn("libvirt is away");
	w->libvirt_said = true;
	libvirt_close(w);
	again(w);
}

/* ---- both connections ------------------------------------------------------------------ */

static bool events_ask(struct watch *w)
{
	static const struct {
		int id;
		virConnectDomainEventGenericCallback fn;
	} wanted[EVENTS] = {
		{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
		{ VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed) },
	};

	for (size_t i = 0; i < EVENTS; i++) {
		w->events[i] = virConnectDomainEventRegisterAny(w->conn, NULL, wanted[i].id,
								wanted[i].fn, w, NULL);
		if (w->events[i] < 0)
			return false;
	}
	return !virConnectRegisterCloseCallback(w->conn, on_libvirt_closed, w, NULL);
}

static void libvirt_open(struct watch *w)
{
	w->conn = virConnectOpen(w->virt->uri);
	if (w->conn && !events_ask(w))
		libvirt_close(w);
	if (!w->conn) {
		if (!w->libvirt_said)
			virt_complain(EXIT_FAILED, w->virt->uri);
		w->libvirt_said = true;
		return;
	}
	/* A libvirtd that is stopped closes nothing. */
	virConnectSetKeepAlive(w->conn, KEEPALIVE_S, KEEPALIVE_TIMES);
	log_info("libvirt is there");
	w->libvirt_said = false;
	w->all = true;
}

/* It never says anything: what comes is its end. */
static void on_tmemd_closed(int watch, int fd, int events, void *arg)
{
	struct watch *w = arg;

	(void)events;
	log_warn("tmemd is away");
	w->tmemd_said = true;
	virEventRemoveHandle(watch);
	close(fd);
	w->tmemd = -1;
	again(w);
}

static void tmemd_open(struct watch *w)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->virt->socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		if (!w->tmemd_said)
			log_warn("no tmemd at %s: %s", w->virt->socket, strerror(errno));
		w->tmemd_said = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	w->tmemd = fd;
	w->tmemd_watch = virEventAddHandle(fd, VIR_EVENT_HANDLE_READABLE, on_tmemd_closed, w, NULL);
	log_info("tmemd is there");
	w->tmemd_said = false;
	w->all = true;
}

static void on_timer(int timer, void *arg)
{
	struct watch *w = arg;

	(void)timer;
	if (!w->conn)
		libvirt_open(w);
	if (w->tmemd < 0)
		tmemd_open(w);
	if (w->conn && w->tmemd >= 0 && w->all)
		all_sync(w);
	if (w->conn && w->tmemd >= 0 && w->prune)
		guests_prune(w);
	again(w);
}

/* ---- life ------------------------------------------------------------------------------ */

static void on_signal(int watch, int fd, int events, void *arg)
{
	struct watch *w = arg;

	(void)watch;
	(void)fd;
	(void)events;
	w->ending = true;
}

static int signals_open(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int watch_run(const struct virt *v)
{
	struct watch w = { .virt = v, .tmemd = -1, .events = { -1, -1, -1, -1 } };
	int signals = signals_open();

	if (signals < 0 || virEventRegisterDefaultImpl() < 0)
		return complain(EXIT_FAILED, "cannot start: %s", strerror(errno));
	virEventAddHandle(signals, VIR_EVENT_HANDLE_READABLE, on_signal, &w, NULL);
	w.timer = virEventAddTimeout(0, on_timer, &w, NULL);
	while (!w.ending) {
		if (virEventRunDefaultImpl() < 0)
			return virt_complain(EXIT_FAILED, "event loop");
	}
	if (w.conn) {
		virConnectUnregisterCloseCallback(w.conn, on_libvirt_closed);
		libvirt_close(&w);
	}
	if (w.tmemd >= 0)
		close(w.tmemd);
	close(signals);
	return EXIT_OK;
}

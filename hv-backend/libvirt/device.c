/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - give a domain its device, and take it away.
 *
 * How:     attach: tmemd serves the guest first, since QEMU connects at once; then
 *          libvirt plugs the device in, writes it into the definition, or both.
 *          detach: the guest takes its pages back first, since what only the host has
 *          goes with the device; then libvirt asks the guest for the device and we
 *          wait until it is gone.
 * Must not: take the device of a guest that still needs something of this host, but
 *          by --force.
 */
#include "virt.h"

#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../tmemctl/client.h"
#include "../tmemctl/complain.h"
#include "../tmemctl/drain.h"
#include "announce.h"

#define UNPLUG_S	60	/* longest wait for a guest to let its device go */

static const unsigned flags_of[] = {
	[VIRT_LIVE] = VIR_DOMAIN_AFFECT_LIVE,
	[VIRT_CONFIG] = VIR_DOMAIN_AFFECT_CONFIG,
};

static bool is_meant(const struct virt *v, enum virt_place place)
{
	return place == VIRT_LIVE ? v->live : v->config;
}

/* ---- attach --------------------------------------------------------------- */

/* One for control and one for each queue. */
static int vectors_ask(const struct virt *v, unsigned *vectors)
{
	json_t *answer;
	int code = client_ask(v->socket, json_pack("{s:s}", "verb", "status"), &answer);

	if (code != EXIT_OK)
		return code;
	*vectors = (unsigned)json_integer_value(json_object_get(answer, "queues")) + 1;
	json_decref(answer);
	return EXIT_OK;
}

static int attach_check(const struct domain *d, enum virt_place place)
{
	if (d->device)
		return complain(EXIT_FAILED, "domain %s has its device already", d->name);
	if (place == VIRT_LIVE && d->q35 && !d->port)
		return complain(EXIT_FAILED, "domain %s: no root port of a q35 machine has room for "
				"the device, unless one is given it (alias " DOMAIN_PORT_ALIAS
				", see tmemd-libvirt(8)); with --config it is there at the next "
				"start", d->name);
	return EXIT_OK;
}

static int attach_one(const struct virt *v, virDomainPtr dom, enum virt_place place,
		      unsigned vectors)
{
	char socket[CONFIG_PATH_MAX + TMEM_NAME_MAX + 8];
	xmlChar *device = NULL;
	struct domain d;
	int code = virt_read(v, dom, place, &d);

	if (code != EXIT_OK)
		return code;
	snprintf(socket, sizeof(socket), "%s/%s.sock", v->run_dir, domain_guest_name(&d));
	code = attach_check(&d, place);
	if (code == EXIT_OK)
		device = domain_device(&d, socket, vectors);
	if (v->print_xml && device) {
		printf("%s\n", (const char *)device);
	} else if (device) {
		code = announce(v->socket, domain_guest_name(&d), &d);
		if (code == EXIT_OK && virDomainAttachDeviceFlags(dom, (const char *)device,
								  flags_of[place]))
			code = virt_complain(EXIT_FAILED, d.name);
	}
	xmlFree(device);
	domain_free(&d);
	return code;
}

int attach_run(const struct virt *v, virDomainPtr dom)
{
	unsigned vectors = 0;
	int code = vectors_ask(v, &vectors);

	for (enum virt_place place = VIRT_LIVE; place <= VIRT_CONFIG && code == EXIT_OK; place++) {
		if (is_meant(v, place))
			code = attach_one(v, dom, place, vectors);
	}
	return code;
}

/* ---- detach --------------------------------------------------------------- */

struct guest_now {
	bool ready, known;
	uint64_t pages;
};

static void guest_look(const struct virt *v, const char *guest, struct guest_now *now)
{
	json_t *answer, *g, *state;

	*now = (struct guest_now){ .ready = false };
	if (client_ask(v->socket, json_pack("{s:s, s:s}", "verb", "stats", "guest", guest), &answer))
		return;
	g = json_array_get(json_object_get(answer, "guests"), 0);
	state = json_object_get(g, "state");
	now->known = true;
	now->ready = json_is_string(state) && !strcmp(json_string_value(state), "ready");
	now->pages = (uint64_t)json_integer_value(
		json_object_get(json_object_get(g, "persistent"), "pages"));
	json_decref(answer);
}

/* Until the guest needs nothing of this host. */
static int emptied(const struct virt *v, const char *guest)
{
	struct guest_now now;
	uint64_t left = 0;
	char state[16];
	int code = EXIT_OK;

	guest_look(v, guest, &now);
	if (now.ready)
		code = drain_guest(v->socket, guest, state, &left);
	if (code == EXIT_OK && left)
		code = complain(EXIT_FAILED, "guest %s has no room for %llu of its pages and goes "
				"on with its device", guest, (unsigned long long)left);
	if (code == EXIT_OK && !now.ready && now.pages)
		code = complain(EXIT_FAILED, "guest %s has %llu pages here and no driver to take "
				"them back", guest, (unsigned long long)now.pages);
	return code;
}

/* The device is ours to forget once nobody has it. */
static bool is_gone(const struct virt *v, virDomainPtr dom)
{
	struct domain d;
	bool gone;

	if (virt_read(v, dom, VIRT_LIVE, &d) != EXIT_OK)
		return false;
	gone = !d.device;
	domain_free(&d);
	return gone;
}

static int gone_await(const struct virt *v, virDomainPtr dom, const char *guest)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	json_t *answer;

	for (unsigned i = 0; i < UNPLUG_S * 5; i++) {
		if (is_gone(v, dom))
			return EXIT_OK;
		nanosleep(&pause, NULL);
	}
	if (!client_ask(v->socket, json_pack("{s:s, s:s}", "verb", "resume", "guest", guest),
			&answer))
		json_decref(answer);
	return complain(EXIT_FAILED, "guest %s did not let its device go in %d s", guest, UNPLUG_S);
}

static int unplug(const struct virt *v, virDomainPtr dom, const struct domain *d,
		  enum virt_place place)
{
	int code = EXIT_OK;

	if (place == VIRT_LIVE && !v->force)
		code = emptied(v, d->guest);
	if (code == EXIT_OK &&
	    virDomainDetachDeviceFlags(dom, (const char *)d->device, flags_of[place]))
		code = virt_complain(EXIT_FAILED, d->name);
	if (code == EXIT_OK && place == VIRT_LIVE)
		code = gone_await(v, dom, d->guest);
	return code;
}

static int detach_one(const struct virt *v, virDomainPtr dom, enum virt_place place,
		      char guest[TMEM_NAME_MAX])
{
	struct domain d;
	int code = virt_read(v, dom, place, &d);

	if (code != EXIT_OK)
		return code;
	snprintf(guest, TMEM_NAME_MAX, "%s", d.guest);
	if (d.device)
		code = unplug(v, dom, &d, place);
	else
		code = complain(EXIT_FAILED, "domain %s has no device of tmemd's", d.name);
	domain_free(&d);
	return code;
}

/* Serve it no more, where it has the device nowhere.  Nothing of it is here. */
static void guest_forget(const struct virt *v, virDomainPtr dom, const char *guest)
{
	bool used = false;
	struct domain d;
	json_t *answer;

	for (enum virt_place place = VIRT_LIVE; place <= VIRT_CONFIG; place++) {
		if (virt_read(v, dom, place, &d) != EXIT_OK)
			return;
		used = used || !strcmp(d.guest, guest);
		domain_free(&d);
	}
	if (!used && !client_ask(v->socket, json_pack("{s:s, s:s, s:b}", "verb", "remove", "guest",
						      guest, "force", 1), &answer))
		json_decref(answer);
}

int detach_run(const struct virt *v, virDomainPtr dom)
{
	char guest[TMEM_NAME_MAX] = "";
	int code = EXIT_OK;

	for (enum virt_place place = VIRT_LIVE; place <= VIRT_CONFIG && code == EXIT_OK; place++) {
		if (is_meant(v, place))
			code = detach_one(v, dom, place, guest);
	}
	if (code == EXIT_OK)
		guest_forget(v, dom, guest);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt.c - tmemd-libvirt: which domains have a guest of tmemd's.
 *
 * Owns:    the command line, and the first words with libvirt.
 * How:     without a command it stays and watches all domains (watch.c); attach,
 *          detach and set are run by tmemctl for one.
 * Exit codes: as tmemctl's.
 */
#include "virt.h"

#include <getopt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tmemctl/complain.h"
#include "announce.h"

#define SOCKET_DEFAULT	"/run/tmemd/control.sock"
#define URI_DEFAULT	"qemu:///system"

/* ---- libvirt -------------------------------------------------------------- */

int virt_complain(int code, const char *what)
{
	const char *why = virGetLastErrorMessage();

	return complain(code, "%s: %s", what, why ? why : "failed");
}

/* What libvirt would print itself is said where it is met. */
static void on_error(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

virConnectPtr virt_connect(const struct virt *v)
{
	virConnectPtr conn = virConnectOpen(v->uri);

	if (!conn)
		virt_complain(EXIT_NO_DAEMON, v->uri);
	return conn;
}

virDomainPtr virt_domain(virConnectPtr conn, const char *name)
{
	virDomainPtr dom = virDomainLookupByName(conn, name);

	if (!dom)
		dom = virDomainLookupByUUIDString(conn, name);
	if (!dom)
		complain(EXIT_NO_GUEST, "no domain is called %.64s", name);
	return dom;
}

int virt_read(const struct virt *v, virDomainPtr dom, enum virt_place place, struct domain *d)
{
	char *xml = virDomainGetXMLDesc(dom, place == VIRT_CONFIG ? VIR_DOMAIN_XML_INACTIVE : 0);
	struct config_error e;
	int code = EXIT_OK;

	if (!xml)
		return virt_complain(EXIT_FAILED, virDomainGetName(dom));
	if (domain_read(d, xml, v->run_dir, &e)) {
		domain_free(d);
		code = complain(EXIT_FAILED, "domain %s: %s", virDomainGetName(dom), e.text);
	}
	free(xml);
	return code;
}

/* ---- the command line ------------------------------------------------------- */

static const struct command {
	const char *name;
	int (*run)(const struct virt *v, virDomainPtr dom);
	bool takes_values;
} commands[] = {
	{ "attach", attach_run, false },
	{ "detach", detach_run, false },
	{ "set", set_domain_run, true },
};

static void help(void)
{
	printf("Usage: tmemd-libvirt [OPTION]... [COMMAND DOMAIN [NAME=VALUE]...]\n\n"
	       "Without a command: have tmemd serve the guests of libvirt's domains, and apply\n"
	       "what their metadata says, until ended by a signal.\n\n"
	       "  attach DOMAIN               give it its device\n"
	       "  detach DOMAIN               drain it and take its device away\n"
	       "  set DOMAIN NAME=VALUE...    change quotas in its metadata\n\n"
	       "  --socket PATH               tmemd's control socket (%s)\n"
	       "  --connect URI               of libvirt (%s)\n"
	       "  --live, --config            while it runs; in its definition\n"
	       "  --force                     detach: though pages are lost\n"
	       "  --print-xml                 attach: only show the device\n"
	       "  --help, --version           print this; the version\n\n"
	       "Exit status: as tmemctl's.\n", SOCKET_DEFAULT, URI_DEFAULT);
}

static int options_parse(struct virt *v, int argc, char *argv[])
{
	static const struct option flags[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "connect", required_argument, NULL, 'c' },
		{ "live", no_argument, NULL, 'l' },
		{ "config", no_argument, NULL, 'C' },
		{ "force", no_argument, NULL, 'f' },
		{ "print-xml", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		switch (flag) {
		case 's': v->socket = optarg; break;
		case 'c': v->uri = optarg; break;
		case 'l': v->live = true; break;
		case 'C': v->config = true; break;
		case 'f': v->force = true; break;
		case 'p': v->print_xml = true; break;
		case 'h': help(); exit(EXIT_OK);
		case 'V': printf("tmemd-libvirt %s\n", TMEM_VERSION); exit(EXIT_OK);
		default: return complain(EXIT_USAGE, "the command line is not understood");
		}
	}
	announce_run_dir(v->socket, v->run_dir);
	return EXIT_OK;
}

static int values_parse(struct virt *v, int argc, char *argv[])
{
	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		char name[32];

		if (!equals || equals - argv[i] >= (int)sizeof(name))
			return complain(EXIT_USAGE, "set: \"%.60s\" is not NAME=VALUE", argv[i]);
		snprintf(name, sizeof(name), "%.*s", (int)(equals - argv[i]), argv[i]);
		if (json_object_set_new(v->values, name, json_string(equals + 1)))
			return complain(EXIT_USAGE, "set: \"%.60s\" is not text", argv[i]);
	}
	return EXIT_OK;
}

/* Where nothing is said: what runs, or else what it starts with. */
static int place_choose(struct virt *v, virDomainPtr dom)
{
	int active = virDomainIsActive(dom);

	if (active < 0)
		return virt_complain(EXIT_FAILED, virDomainGetName(dom));
	if (!v->live && !v->config)
		*(active ? &v->live : &v->config) = true;
	if (v->live && !active)
		return complain(EXIT_FAILED, "domain %s does not run", virDomainGetName(dom));
	return EXIT_OK;
}

static int command_run(struct virt *v, const struct command *c, int argc, char *argv[])
{
	virDomainPtr dom = NULL;
	virConnectPtr conn;
	int code;

	if (argc < 2 || (argc > 2 && !c->takes_values))
		return complain(EXIT_USAGE, "%s: the argument is: DOMAIN", c->name);
	code = values_parse(v, argc - 2, argv + 2);
	if (code != EXIT_OK)
		return code;
	conn = virt_connect(v);
	if (!conn)
		return EXIT_NO_DAEMON;
	dom = virt_domain(conn, argv[1]);
	code = dom ? place_choose(v, dom) : EXIT_NO_GUEST;
	if (code == EXIT_OK)
		code = c->run(v, dom);
	if (dom)
		virDomainFree(dom);
	virConnectClose(conn);
	return code;
}

static int run(struct virt *v, int argc, char *argv[])
{
	if (argc == 0)
		return watch_run(v);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, argv[0]))
			return command_run(v, &commands[i], argc, argv);
	}
	return complain(EXIT_USAGE, "no command is called \"%s\"", argv[0]);
}

int main(int argc, char *argv[])
{
	struct virt v = {
		.socket = SOCKET_DEFAULT, .uri = URI_DEFAULT, .values = json_object(),
	};
	int code = options_parse(&v, argc, argv);

	xmlInitParser();
	virSetErrorFunc(NULL, on_error);
	if (code == EXIT_OK)
		code = run(&v, argc - optind, argv + optind);
	json_decref(v.values);
	return code;
}

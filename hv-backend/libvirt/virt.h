/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt.h - tmemd-libvirt's parts, and what they share.
 */
#ifndef TMEM_LIBVIRT_VIRT_H
#define TMEM_LIBVIRT_VIRT_H

#include <jansson.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>

#include "domain.h"

/* The command line. */
struct virt {
	const char *socket;		/* of tmemd's control */
	const char *uri;		/* of libvirt */
	char run_dir[CONFIG_PATH_MAX];
	bool live, config, force, print_xml;
	json_t *values;			/* of set: option -> text */
};

/* What of a domain is meant: what runs, what it starts with. */
enum virt_place { VIRT_LIVE, VIRT_CONFIG };

/* Say what libvirt said last; returns code. */
int virt_complain(int code, const char *what);

/* A connection, or NULL with the reason said. */
virConnectPtr virt_connect(const struct virt *v);

/* By name, then by UUID; NULL, with the reason said. */
virDomainPtr virt_domain(virConnectPtr conn, const char *name);

/* Read the domain as it is there.  An exit code; freed by domain_free() if EXIT_OK. */
int virt_read(const struct virt *v, virDomainPtr dom, enum virt_place place, struct domain *d);

/* Serve domains until SIGTERM or SIGINT.  An exit code. */
int watch_run(const struct virt *v);

/* The commands.  An exit code. */
int attach_run(const struct virt *v, virDomainPtr dom);
int detach_run(const struct virt *v, virDomainPtr dom);
int set_domain_run(const struct virt *v, virDomainPtr dom);

#endif

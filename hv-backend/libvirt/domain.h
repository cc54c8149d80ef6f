/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.h - what a libvirt domain's XML says of tmem.
 *
 * Owns:    which of a domain's devices are ours: a <shmem> on a socket NAME.sock in the
 *          daemon's run directory, a vhost-user disk on NAME-disk.sock.  NAME is the
 *          guest, of both.
 * How:     a pure function of text; libvirt is not asked.
 */
#ifndef TMEM_LIBVIRT_DOMAIN_H
#define TMEM_LIBVIRT_DOMAIN_H

#include "config.h"
#include "metadata.h"

#define DOMAIN_PORT_ALIAS	"ua-tmem"	/* of a root port that has room for the region */

struct domain {
	char name[256];
	char uuid[HV_DOMAIN_MAX];
	bool q35;			/* a machine of PCI Express */
	unsigned port;			/* bus behind the root port of that alias; 0: none */
	char guest[TMEM_NAME_MAX];	/* of its devices; "": it has none of ours */
	xmlChar *device;		/* its <shmem> as text; NULL: it has none of ours */
	bool has_disk;
	xmlChar *element;		/* of its metadata, as text; NULL: it has none */
	struct metadata metadata;
	char complaint[sizeof(((struct config_error *)0)->text)];	/* about it; "": none */
};

/* -EINVAL: not a domain, with the reason in e.  What is freed by domain_free(). */
int domain_read(struct domain *d, const char *xml, const char *run_dir, struct config_error *e);
void domain_free(struct domain *d);

/* The guest that a domain gets which has none: its name if it will do, or its UUID. */
const char *domain_guest_name(const struct domain *d);

/* The <shmem> for that guest, to be freed by xmlFree(); NULL without memory. */
xmlChar *domain_device(const struct domain *d, const char *socket, unsigned vectors);

#endif

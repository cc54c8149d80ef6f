/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * announce.h - tell tmemd of a domain's guest.
 *
 * Owns:    how a domain becomes a request of tmemd's control socket.
 * Must not: call libvirt: libvirt's own hook runs this, while libvirt waits for it.
 */
#ifndef TMEM_LIBVIRT_ANNOUNCE_H
#define TMEM_LIBVIRT_ANNOUNCE_H

#include "domain.h"

/* The run directory whose control socket that is. */
void announce_run_dir(const char *socket, char run_dir[CONFIG_PATH_MAX]);

/*
 * Have tmemd serve the guest for the domain, with what its metadata says; metadata
 * that will not do is said, and leaves a guest that is there as it is.
 * An exit code of complain.h; what failed has been printed.
 */
int announce(const char *socket, const char *guest, const struct domain *d);

/* The domain of this XML, if it has a device of ours. */
int announce_xml(const char *socket, const char *xml);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * announce.c - tell tmemd of a domain's guest.
 *
 * The request is always the whole of what the domain's XML says: a guest whose
 * metadata went has the defaults again.
 */
#include "announce.h"

#include <string.h>

#include "../tmemctl/client.h"
#include "../tmemctl/complain.h"

void announce_run_dir(const char *socket, char run_dir[CONFIG_PATH_MAX])
{
	const char *slash = strrchr(socket, '/');

	snprintf(run_dir, CONFIG_PATH_MAX, "%.*s", slash ? (int)(slash - socket) : 1,
		 slash ? socket : ".");
}

int announce(const char *socket, const char *guest, const struct domain *d)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:s, s:I}", "verb", "add", "name", guest,
				    "domain", d->uuid, "transport", "ivshmem", "region",
				    (json_int_t)d->metadata.region);
	json_t *answer;
	int code;

	if (d->complaint[0]) {
		complain(EXIT_FAILED, "domain %s: %s", d->name, d->complaint);
	} else {
		json_object_set(request, "values", d->metadata.values);
		json_object_set(request, "shared_pools", d->metadata.shared_pools);
		if (d->has_disk)
			json_object_set_new(request, "disk_size",
					    json_integer((json_int_t)d->metadata.swap));
	}
	code = client_ask(socket, request, &answer);
	if (code == EXIT_OK)
		json_decref(answer);
	else
		complain(code == EXIT_USAGE ? EXIT_FAILED : code, "domain %s: not announced",
			 d->name);
	return code == EXIT_OK && d->complaint[0] ? EXIT_FAILED : code;
}

int announce_xml(const char *socket, const char *xml)
{
	char run_dir[CONFIG_PATH_MAX];
	struct config_error e;
	struct domain d;
	int code = EXIT_OK;

	announce_run_dir(socket, run_dir);
	if (domain_read(&d, xml, run_dir, &e))
		code = complain(EXIT_FAILED, "%s", e.text);
	else if (d.guest[0])
		code = announce(socket, d.guest, &d);
	domain_free(&d);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * set.c - change a guest's quota in its domain's metadata.
 *
 * How:     the element that is there is edited, checked as it will be read, and given
 *          back to libvirt, which tells whoever watches.
 */
#include "virt.h"

#include <libxml/parser.h>

#include "../tmemctl/complain.h"
#include "announce.h"

static int element_change(const struct virt *v, virDomainPtr dom, enum virt_place place)
{
	const unsigned flags = place == VIRT_LIVE ? VIR_DOMAIN_AFFECT_LIVE
						  : VIR_DOMAIN_AFFECT_CONFIG;
	struct config_error e;
	struct domain d;
	xmlChar *element;
	int code = virt_read(v, dom, place, &d);

	if (code != EXIT_OK)
		return code;
	element = metadata_edit((const char *)d.element, v->values, &e);
	domain_free(&d);
	if (!element)
		return complain(EXIT_USAGE, "set: %s", e.text);
	if (virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, (const char *)element,
				 METADATA_KEY, METADATA_URI, flags))
		code = virt_complain(EXIT_FAILED, virDomainGetName(dom));
	xmlFree(element);
	return code;
}

/* Whether or not anybody watches. */
static int in_force(const struct virt *v, virDomainPtr dom)
{
	struct domain d;
	int code = virt_read(v, dom, VIRT_LIVE, &d);

	if (code != EXIT_OK)
		return code;
	if (d.guest[0])
		code = announce(v->socket, d.guest, &d);
	domain_free(&d);
	return code;
}

int set_domain_run(const struct virt *v, virDomainPtr dom)
{
	int code = EXIT_OK;

	if (!json_object_size(v->values))
		return complain(EXIT_USAGE, "set: nothing to set is given");
	if (v->config)
		code = element_change(v, dom, VIRT_CONFIG);
	if (code == EXIT_OK && v->live)
		code = element_change(v, dom, VIRT_LIVE);
	if (code == EXIT_OK && v->live)
		code = in_force(v, dom);
	return code;
}

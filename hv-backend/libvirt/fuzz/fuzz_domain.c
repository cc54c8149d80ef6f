/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_domain.c - any bytes as a domain's XML: it is read whole, or there is a reason.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include "libvirt/domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

/* What was read can be changed, and is read again then. */
static void edit_check(const struct domain *d)
{
	json_t *values = json_pack("{s:s}", "weight", "7");
	struct config_error e = { "" };
	xmlChar *edited = metadata_edit((const char *)d->element, values, &e);

	require(edited || e.text[0]);
	require(!edited || !strstr((const char *)edited, METADATA_URI "'"));
	xmlFree(edited);
	json_decref(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct config_error e = { "" };
	struct domain d;

	require(text != NULL);
	if (domain_read(&d, text, "/run/tmemd", &e)) {
		require(e.text[0] != '\0');
	} else {
		require(d.name[0] && d.uuid[0]);
		require(!d.device || d.guest[0]);
		require(!d.guest[0] || config_name_is_valid(d.guest));
		edit_check(&d);
	}
	domain_free(&d);
	free(text);
	return 0;
}

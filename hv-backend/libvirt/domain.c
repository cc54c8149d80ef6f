/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.c - what a libvirt domain's XML says of tmem.
 */
#include "domain.h"

#include <errno.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The first node that the expression finds, or NULL.  "t:" is our namespace. */
static xmlNode *node_find(xmlDoc *doc, const char *expression)
{
	xmlXPathContext *context = xmlXPathNewContext(doc);
	xmlXPathObject *found = NULL;
	xmlNode *node = NULL;

	if (context && !xmlXPathRegisterNs(context, (const xmlChar *)"t",
					   (const xmlChar *)METADATA_URI))
		found = xmlXPathEvalExpression((const xmlChar *)expression, context);
	if (found && found->nodesetval && found->nodesetval->nodeNr > 0)
		node = found->nodesetval->nodeTab[0];
	xmlXPathFreeObject(found);
	xmlXPathFreeContext(context);
	return node;
}

/* Its text in out, cut; false: there is no such node. */
static bool text_find(xmlDoc *doc, const char *expression, char *out, size_t size)
{
	xmlNode *node = node_find(doc, expression);
	xmlChar *text = node ? xmlNodeGetContent(node) : NULL;

	snprintf(out, size, "%s", text ? (const char *)text : "");
	xmlFree(text);
	return node != NULL;
}

/* A node as a document of its own, from its first line on. */
static xmlChar *node_text(xmlNode *node)
{
	xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *copy = doc ? xmlDocCopyNode(node, doc, 1) : NULL;
	xmlBuffer *buffer = xmlBufferCreate();
	xmlChar *text = NULL;

	if (copy)
		xmlDocSetRootElement(doc, copy);
	if (copy && buffer && xmlNodeDump(buffer, doc, copy, 0, 0) > 0)
		text = xmlBufferDetach(buffer);
	xmlBufferFree(buffer);
	xmlFreeDoc(doc);
	return text;
}

/* ---- devices -------------------------------------------------------------- */

/* The guest whose socket that is, or false. */
static bool guest_of(const char *path, const char *run_dir, char guest[TMEM_NAME_MAX])
{
	char folder[PATH_MAX], real[PATH_MAX], own[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t length;

	if (!slash)
		return false;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (strcmp(folder, run_dir) && (!realpath(folder, real) || !realpath(run_dir, own) ||
					strcmp(real, own)))
		return false;
	length = strlen(slash + 1);
	if (length < 6 || length - 5 >= TMEM_NAME_MAX || strcmp(slash + 1 + length - 5, ".sock"))
		return false;
	memcpy(guest, slash + 1, length - 5);
	guest[length - 5] = '\0';
	if (config_name_is_valid(guest))
		return true;
	guest[0] = '\0';
	return false;
}

static xmlNode *child_find(xmlNode *node, const char *name)
{
	xmlNode *child = node->children;

	while (child && strcmp((const char *)child->name, name))
		child = child->next;
	return child;
}

/* The first <shmem> of the domain that is ours. */
static void device_find(struct domain *d, xmlDoc *doc, const char *run_dir)
{
	xmlNode *devices = node_find(doc, "/domain/devices");

	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next) {
		xmlNode *server = strcmp((const char *)n->name, "shmem") ? NULL
									: child_find(n, "server");
		xmlChar *path = server ? xmlGetNoNsProp(server, (const xmlChar *)"path") : NULL;
		bool ours = path && guest_of((const char *)path, run_dir, d->guest);

		xmlFree(path);
		if (ours) {
			d->device = node_text(n);
			return;
		}
	}
}

static void port_find(struct domain *d, xmlDoc *doc)
{
	char text[32];

	text_find(doc, "/domain/devices/controller[@type='pci'][alias/@name='"
		       DOMAIN_PORT_ALIAS "']/@index", text, sizeof(text));
	d->port = (unsigned)strtoul(text, NULL, 10);
	text_find(doc, "/domain/devices/controller[@model='pcie-root']/@index", text, sizeof(text));
	d->q35 = text[0] != '\0';
}

/* ---- metadata --------------------------------------------------------------- */

static void metadata_find(struct domain *d, xmlDoc *doc)
{
	xmlNode *node = node_find(doc, "/domain/metadata/t:*");
	struct config_error e;

	d->element = node ? node_text(node) : NULL;
	if (d->element && metadata_read(&d->metadata, (const char *)d->element, &e))
		snprintf(d->complaint, sizeof(d->complaint), "%s", e.text);
}

/* ---- the whole ---------------------------------------------------------------- */

int domain_read(struct domain *d, const char *xml, const char *run_dir, struct config_error *e)
{
	xmlDoc *doc = metadata_parse(xml, e);

	memset(d, 0, sizeof(*d));
	metadata_init(&d->metadata);
	if (!doc)
		return -EINVAL;
	text_find(doc, "/domain/name", d->name, sizeof(d->name));
	text_find(doc, "/domain/uuid", d->uuid, sizeof(d->uuid));
	if (!d->name[0] || !d->uuid[0]) {
		snprintf(e->text, sizeof(e->text), "not a domain's XML");
		xmlFreeDoc(doc);
		return -EINVAL;
	}
	device_find(d, doc, run_dir);
	port_find(d, doc);
	metadata_find(d, doc);
	xmlFreeDoc(doc);
	return 0;
}

void domain_free(struct domain *d)
{
	xmlFree(d->device);
	xmlFree(d->element);
	metadata_free(&d->metadata);
}

const char *domain_guest_name(const struct domain *d)
{
	return config_name_is_valid(d->name) ? d->name : d->uuid;
}

xmlChar *domain_device(const struct domain *d, const char *socket, unsigned vectors)
{
	xmlChar *path = xmlEncodeSpecialChars(NULL, (const xmlChar *)socket);
	char address[96] = "", text[PATH_MAX + 512];

	if (!path)
		return NULL;
	if (d->port)
		snprintf(address, sizeof(address), "  <address type='pci' domain='0x0000' "
			 "bus='0x%02x' slot='0x00' function='0x0'/>\n", d->port);
	snprintf(text, sizeof(text),
		 "<shmem name='tmem'>\n"
		 "  <model type='ivshmem-doorbell'/>\n"
		 "  <server path='%s'/>\n"
		 "  <msi vectors='%u' ioeventfd='on'/>\n"
		 "%s</shmem>", (const char *)path, vectors, address);
	xmlFree(path);
	return xmlStrdup((const xmlChar *)text);
}

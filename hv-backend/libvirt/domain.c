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

/* The guest whose socket that is: its name, then suffix, in the run directory. */
static bool guest_of(const char *path, const char *run_dir, const char *suffix,
		     char guest[TMEM_NAME_MAX])
{
	char folder[PATH_MAX], real[PATH_MAX], own[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t length = slash ? strlen(slash + 1) : 0, end = strlen(suffix);

	if (length <= end || length - end >= TMEM_NAME_MAX ||
	    strcmp(slash + 1 + length - end, suffix))
		return false;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (strcmp(folder, run_dir) && (!realpath(folder, real) || !realpath(run_dir, own) ||
					strcmp(real, own)))
		return false;
	snprintf(guest, TMEM_NAME_MAX, "%.*s", (int)(length - end), slash + 1);
	return config_name_is_valid(guest);
}

static xmlNode *child_find(xmlNode *node, const char *name)
{
	xmlNode *child = node->children;

	while (child && strcmp((const char *)child->name, name))
		child = child->next;
	return child;
}

static const struct device_kind {
	const char *element, *child, *suffix;
} shmem_kind = { "shmem", "server", ".sock" }, disk_kind = { "disk", "source", "-disk.sock" };

/* The first device of that kind that is ours, with its guest; NULL: there is none. */
static xmlNode *device_find(xmlDoc *doc, const struct device_kind *kind, const char *run_dir,
			    char guest[TMEM_NAME_MAX])
{
	xmlNode *devices = node_find(doc, "/domain/devices");

	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next) {
		xmlNode *child = strcmp((const char *)n->name, kind->element)
			       ? NULL : child_find(n, kind->child);
		xmlChar *path = child ? xmlGetNoNsProp(child, (const xmlChar *)"path") : NULL;
		bool ours = path && guest_of((const char *)path, run_dir, kind->suffix, guest);

		xmlFree(path);
		if (ours)
			return n;
	}
	return NULL;
}

/* A domain is one guest, whatever it has. */
static void devices_find(struct domain *d, xmlDoc *doc, const char *run_dir)
{
	char shmem[TMEM_NAME_MAX], disk[TMEM_NAME_MAX];
	xmlNode *device = device_find(doc, &shmem_kind, run_dir, shmem);

	d->has_disk = device_find(doc, &disk_kind, run_dir, disk) != NULL;
	if (device)
		d->device = node_text(device);
	if (device || d->has_disk)
		snprintf(d->guest, sizeof(d->guest), "%s", device ? shmem : disk);
	if (device && d->has_disk && strcmp(shmem, disk)) {
		snprintf(d->complaint, sizeof(d->complaint),
			 "its disk is guest %s's, its <shmem> guest %s's: the disk is not served",
			 disk, shmem);
		d->has_disk = false;
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
		snprintf(d->complaint, sizeof(d->complaint), "metadata: %.400s", e.text);
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
	devices_find(d, doc, run_dir);
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

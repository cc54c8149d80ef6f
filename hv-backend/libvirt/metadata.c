/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metadata.c - a guest's settings in a libvirt domain's <metadata>.
 */
#include "metadata.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <stdarg.h>
#include <string.h>

#include "size.h"

/* hv-backend/libvirt/tmem.rng, as a text. */
extern const char metadata_schema[];
__asm__(".pushsection .rodata\n"
	"metadata_schema: .incbin \"hv-backend/libvirt/tmem.rng\"\n"
	".byte 0\n"
	".popsection\n");

/* Which attribute is which option. */
static const struct attribute {
	const char *element, *name, *option;
} attributes[] = {
	{ "quota", "weight", "weight" },
	{ "quota", "max", "max" },
	{ "quota", "min", "min" },
	{ "quota", "persistent-max", "persistent-max" },
	{ "codec", "ephemeral", "codec-ephemeral" },
	{ "codec", "persistent", "codec-persistent" },
};

#define ATTRIBUTES	(sizeof(attributes) / sizeof(attributes[0]))

__attribute__((format(printf, 3, 4)))
static int refuse(struct config_error *e, long line, const char *fmt, ...)
{
	va_list args;
	int n = line ? snprintf(e->text, sizeof(e->text), "line %ld: ", line) : 0;

	va_start(args, fmt);
	vsnprintf(e->text + n, sizeof(e->text) - (size_t)n, fmt, args);
	va_end(args);
	e->text[strcspn(e->text, "\n")] = '\0';
	return -EINVAL;
}

/* ---- parsing ------------------------------------------------------------ */

static void silence(void *arg, xmlErrorPtr error)
{
	(void)arg;
	(void)error;
}

/* Neither libvirt nor we write a DTD; without one there are no entities to expand. */
xmlDoc *metadata_parse(const char *text, struct config_error *e)
{
	xmlParserCtxt *context;
	xmlError *error;
	xmlDoc *doc = NULL;

	if (strstr(text, "<!DOCTYPE")) {
		refuse(e, 0, "has a document type, which is not wanted");
		return NULL;
	}
	context = xmlNewParserCtxt();
	if (context) {
		context->sax->serror = silence;
		doc = xmlCtxtReadMemory(context, text, (int)strlen(text), NULL, "UTF-8",
					XML_PARSE_NONET);
	}
	error = context ? xmlCtxtGetLastError(context) : NULL;
	if (!doc)
		refuse(e, error ? error->line : 0, "%s", error ? error->message : "out of memory");
	xmlFreeParserCtxt(context);
	return doc;
}

/* ---- the schema ------------------------------------------------------------ */

struct complaint {
	long line;
	char text[256];
};

/* The first is nearest to what is wrong: those that follow say what failed with it. */
static void complaint_keep(void *arg, xmlErrorPtr error)
{
	struct complaint *c = arg;

	if (c->line)
		return;
	c->line = error->line ? error->line : 1;
	snprintf(c->text, sizeof(c->text), "%s", error->message ? error->message : "not valid");
}

static int schema_check(xmlDoc *doc, struct config_error *e)
{
	struct complaint c = { .line = 0 };
	xmlRelaxNGParserCtxt *parser =
		xmlRelaxNGNewMemParserCtxt(metadata_schema,
					   (int)strlen(metadata_schema));
	xmlRelaxNG *schema = parser ? xmlRelaxNGParse(parser) : NULL;
	xmlRelaxNGValidCtxt *valid = schema ? xmlRelaxNGNewValidCtxt(schema) : NULL;
	int err = -ENOMEM;

	if (valid) {
		xmlRelaxNGSetValidStructuredErrors(valid, complaint_keep, &c);
		err = xmlRelaxNGValidateDoc(valid, doc);
	}
	if (err)
		refuse(e, c.line, "%s", c.line ? c.text : "cannot be validated");
	xmlRelaxNGFreeValidCtxt(valid);
	xmlRelaxNGFree(schema);
	xmlRelaxNGFreeParserCtxt(parser);
	return err ? -EINVAL : 0;
}

/* ---- what it says: the schema holds from here on ------------------------------ */

static bool is_named(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

/* The attribute's text as a JSON string; NULL: it has none of that name. */
static json_t *attribute_text(xmlNode *node, const char *name)
{
	xmlChar *text = xmlGetNoNsProp(node, (const xmlChar *)name);
	json_t *string = text ? json_string((const char *)text) : NULL;

	xmlFree(text);
	return string;
}

static int options_read(struct metadata *m, xmlNode *node, struct tmem_quota *q,
			struct config_error *e)
{
	struct config_error reason;

	for (size_t i = 0; i < ATTRIBUTES; i++) {
		json_t *text = is_named(node, attributes[i].element)
			     ? attribute_text(node, attributes[i].name) : NULL;

		if (!text)
			continue;
		json_object_set_new(m->values, attributes[i].option, text);
		if (config_quota_set(q, attributes[i].option, json_string_value(text), &reason) ||
		    config_quota_check(q, &reason))
			return refuse(e, xmlGetLineNo(node), "%.200s", reason.text);
	}
	return 0;
}

static int size_read(xmlNode *node, uint64_t *size, struct config_error *e)
{
	json_t *text = attribute_text(node, "size");
	int err = size_parse(json_string_value(text), size);

	if (err || *size > INT64_MAX)
		err = refuse(e, xmlGetLineNo(node), "size: %.40s is too large",
			     json_string_value(text));
	json_decref(text);
	return err;
}

static bool is_given_again(const xmlNode *node)
{
	for (const xmlNode *n = node->prev; n; n = n->prev) {
		if (is_named(n, (const char *)node->name))
			return true;
	}
	return false;
}

static int element_read(struct metadata *m, xmlNode *node, struct tmem_quota *q,
			struct config_error *e)
{
	if (node->type != XML_ELEMENT_NODE)
		return 0;
	if (!is_named(node, "shared-pool") && is_given_again(node))
		return refuse(e, xmlGetLineNo(node), "%s: given twice", (const char *)node->name);
	if (is_named(node, "region"))
		return size_read(node, &m->region, e);
	if (is_named(node, "swap"))
		return size_read(node, &m->swap, e);
	if (is_named(node, "shared-pool"))
		return json_array_append_new(m->shared_pools, attribute_text(node, "uuid"));
	return options_read(m, node, q, e);
}

void metadata_init(struct metadata *m)
{
	*m = (struct metadata){ .values = json_object(), .shared_pools = json_array() };
}

void metadata_free(struct metadata *m)
{
	json_decref(m->values);
	json_decref(m->shared_pools);
}

int metadata_read(struct metadata *m, const char *text, struct config_error *e)
{
	struct tmem_quota q = {
		.weight = 100, .max = TMEM_NO_LIMIT, .persistent_max = TMEM_NO_LIMIT,
	};
	xmlDoc *doc = metadata_parse(text, e);
	int err = doc ? schema_check(doc, e) : -EINVAL;
	xmlNode *node = err ? NULL : xmlDocGetRootElement(doc)->children;

	for (; node && !err; node = node->next)
		err = element_read(m, node, &q, e);
	xmlFreeDoc(doc);
	if (err) {
		metadata_free(m);
		metadata_init(m);
	}
	return err;
}

/* ---- changing it ------------------------------------------------------------- */

/* The child of that name, added if there is none; NULL without memory. */
static xmlNode *child_of(xmlNode *root, const char *name)
{
	for (xmlNode *n = root->children; n; n = n->next) {
		if (is_named(n, name))
			return n;
	}
	return xmlNewChild(root, root->ns, (const xmlChar *)name, NULL);
}

static int option_set(xmlNode *root, const char *option, const char *value)
{
	for (size_t i = 0; i < ATTRIBUTES; i++) {
		xmlNode *node;

		if (strcmp(attributes[i].option, option))
			continue;
		node = child_of(root, attributes[i].element);
		return node && xmlSetProp(node, (const xmlChar *)attributes[i].name,
					  (const xmlChar *)value) ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static int options_set(xmlDoc *doc, json_t *values, struct config_error *e)
{
	const char *option;
	json_t *value;

	json_object_foreach(values, option, value) {
		if (option_set(xmlDocGetRootElement(doc), option, json_string_value(value)))
			return refuse(e, 0, "%.60s: no such option of a domain", option);
	}
	return 0;
}

static xmlChar *element_text(xmlDoc *doc)
{
	xmlBuffer *buffer = xmlBufferCreate();
	xmlChar *text = NULL;

	if (buffer && xmlNodeDump(buffer, doc, xmlDocGetRootElement(doc), 0, 1) > 0)
		text = xmlBufferDetach(buffer);
	xmlBufferFree(buffer);
	return text;
}

/* libvirt adds the namespace that it is told of, and takes no element that has it. */
static void namespace_drop(xmlNode *node)
{
	for (; node; node = node->next) {
		node->ns = NULL;
		if (node->type == XML_ELEMENT_NODE)
			namespace_drop(node->children);
	}
}

/* The document is of no use afterwards. */
static xmlChar *bare_text(xmlDoc *doc)
{
	xmlNode *root = xmlDocGetRootElement(doc);

	namespace_drop(root);
	xmlFreeNsList(root->nsDef);
	root->nsDef = NULL;
	return element_text(doc);
}

xmlChar *metadata_edit(const char *text, json_t *values, struct config_error *e)
{
	static const char none[] = "<" METADATA_KEY ":guest xmlns:" METADATA_KEY "='"
				   METADATA_URI "'/>";
	xmlDoc *doc = metadata_parse(text ? text : none, e);
	xmlChar *edited = NULL;
	struct metadata m;

	metadata_init(&m);
	if (doc && !options_set(doc, values, e))
		edited = element_text(doc);
	if (edited) {
		bool right = !metadata_read(&m, (const char *)edited, e);

		xmlFree(edited);
		edited = right ? bare_text(doc) : NULL;
	}
	metadata_free(&m);
	xmlFreeDoc(doc);
	return edited;
}

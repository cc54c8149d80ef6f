/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metadata.h - a guest's settings in a libvirt domain's <metadata>.
 *
 * Owns:    the element's namespace, its schema, what it means.
 * How:     the text is parsed without network, entities or a DTD, validated against
 *          tmem.rng, which is part of the program, and its quota is checked as the
 *          one of a configuration file is.
 * Must not: give half of an element: it is right as a whole, or there is a line and
 *          a reason.
 */
#ifndef TMEM_LIBVIRT_METADATA_H
#define TMEM_LIBVIRT_METADATA_H

#include <jansson.h>
#include <libxml/tree.h>
#include <stdint.h>

#include "config.h"

#define METADATA_URI	"urn:tmemd:guest:1"
#define METADATA_KEY	"tmem"		/* the prefix libvirt writes it with */

struct metadata {
	json_t *values;		/* of the quota: option -> text */
	json_t *shared_pools;	/* UUIDs */
	uint64_t region;	/* bytes, 0: default */
	uint64_t swap;		/* bytes, 0: none is given */
};

/* A document from text that nobody vouches for, or NULL with the reason in e. */
xmlDoc *metadata_parse(const char *text, struct config_error *e);

/* Nothing set. */
void metadata_init(struct metadata *m);
void metadata_free(struct metadata *m);

/*
 * Read the element, as text.  -EINVAL: "line N: reason", N within the element, and
 * m is as of metadata_init().
 */
int metadata_read(struct metadata *m, const char *text, struct config_error *e);

/*
 * The element with these options of the quota set ("NAME" -> text), as libvirt wants
 * it, which is without our namespace; to be freed by xmlFree().  text NULL: there is
 * none yet.  NULL with the reason in e.
 */
xmlChar *metadata_edit(const char *text, json_t *values, struct config_error *e);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_shrinker.h - being called by reclaim.
 */
#ifndef TMEM_COMPAT_SHRINKER_H
#define TMEM_COMPAT_SHRINKER_H

#include <linux/atomic.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

typedef unsigned long compat_shrink_t(struct shrinker *s, struct shrink_control *sc);

/* NULL: no memory. */
static inline struct shrinker *compat_shrinker_add(const char *name, compat_shrink_t *count,
						   compat_shrink_t *scan)
{
#if COMPAT_SINCE(6, 7)
	struct shrinker *s = shrinker_alloc(0, "%s", name);

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	shrinker_register(s);
	return s;
#else
	struct shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);
	int err;

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	s->seeks = DEFAULT_SEEKS;
#if COMPAT_SINCE(6, 0)
	err = register_shrinker(s, "%s", name);
#else
	err = register_shrinker(s);
#endif
	if (!err)
		return s;
	kfree(s);
	return NULL;
#endif
}

/* When this returns nobody is in it. */
static inline void compat_shrinker_remove(struct shrinker *s)
{
#if COMPAT_SINCE(6, 7)
	shrinker_free(s);
#else
	unregister_shrinker(s);
	kfree(s);
#endif
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_switch.h - the page cache's switches, for whoever shows them.
 */
#ifndef TMEM_CACHE_SWITCH_H
#define TMEM_CACHE_SWITCH_H

#include <linux/types.h>

struct attribute;

/* Values of the filter. */
#define TMEM_FILTER_ALL		0u	/* put every clean page that is dropped */
#define TMEM_FILTER_TWICE	1u	/* those used more than once, or dropped before */

/* What the provider said, of which one line in the log says why.  Sleeps, for long. */
int  tmem_cache_switch(bool on);
bool tmem_cache_is_on(void);

unsigned int tmem_cache_filter(void);
void tmem_cache_set_filter(unsigned int filter);

/* Their files below /sys/kernel/tmem, ended by NULL. */
extern const struct attribute *tmem_cache_files[];

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cache_pace.h - slow down who makes the kernel drop more pages than the host takes.
 */
#ifndef TMEM_CACHE_PACE_H
#define TMEM_CACHE_PACE_H

#include <linux/types.h>

/* -ENOMEM. */
int  tmem_pace_init(void);
void tmem_pace_exit(void);

/*
 * A reader is about to read: wait until the host keeps up, but not past ktime_get_ns()
 * being deadline_ns, within a jiffy.
 */
void tmem_pace(u64 deadline_ns);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild.h - the index made anew from the arena.
 */
#ifndef TMEM_REBUILD_H
#define TMEM_REBUILD_H

#include "types.h"

/* The arena is open, the tables are empty.  -ENOMEM. */
int tmem_rebuild(struct tmem *t);

#endif

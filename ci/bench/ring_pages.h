/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ring_pages.h - the pages of tmem-bench ring. */
#ifndef BENCH_RING_PAGES_H
#define BENCH_RING_PAGES_H

#include <stdint.h>

/* n pages of 4096 bytes end to end, to be freed. */
uint8_t *ring_pages_make(unsigned n);

#endif

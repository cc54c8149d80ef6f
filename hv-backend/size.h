/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * size.h - sizes as people write them: 4096, 64K, 1G, 2TiB.  Powers of 1024.
 */
#ifndef HV_SIZE_H
#define HV_SIZE_H

#include <stdint.h>

/* -EINVAL: not a size; -ERANGE: above 2^64 - 1 bytes. */
int size_parse(const char *text, uint64_t *bytes);

#define SIZE_TEXT_MAX	16

/* Shortest text within 5 %: "0", "812", "1.5K", "36M".  Returns text. */
char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX]);

#endif

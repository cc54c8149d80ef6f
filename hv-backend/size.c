/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * size.c - sizes as people write them.
 *
 * Owns:    the one grammar for sizes: decimal digits, then optionally one of
 *          K M G T P E (either case), alone or followed by "iB".
 * Must not: accept a sign, a blank, a fraction, or a value that wraps.
 */
#include "size.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char units[] = "KMGTPE";

/* Bits to shift by for the unit that text is, or -1. */
static int unit_shift(const char *text)
{
	const char *unit;
	char upper;

	if (!*text)
		return 0;
	upper = (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
	unit = strchr(units, upper);
	if (!unit || (text[1] && strcmp(text + 1, "iB")))
		return -1;
	return 10 * (int)(unit - units + 1);
}

int size_parse(const char *text, uint64_t *bytes)
{
	uint64_t n = 0;
	int shift;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return -ERANGE;
	}
	shift = unit_shift(text);
	if (shift < 0)
		return -EINVAL;
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}

char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	unsigned long long whole = bytes;
	int unit = -1;
	unsigned tenth = 0;

	while (whole >= 1024) {
		tenth = (unsigned)(whole % 1024 * 10 / 1024);
		whole /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(text, SIZE_TEXT_MAX, "%llu", whole);
	else if (whole < 10 && tenth)
		snprintf(text, SIZE_TEXT_MAX, "%llu.%u%c", whole, tenth, units[unit]);
	else
		snprintf(text, SIZE_TEXT_MAX, "%llu%c", whole, units[unit]);
	return text;
}

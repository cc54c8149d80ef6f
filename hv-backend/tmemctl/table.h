/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.h - rows of JSON as a table for people (libsmartcols).
 */
#ifndef TMEMCTL_TABLE_H
#define TMEMCTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>

struct table_style {
	bool raw;		/* no alignment, one blank between columns */
	bool noheadings;
	bool bytes;		/* sizes in bytes, not 1.5G */
	const char *columns;	/* titles with commas between, NULL: all */
};

#define TABLE_CELL_MAX	256	/* the longest: an event's text */

/* Write the cell of a row into text; key is the column's. */
typedef void table_cell_fn(json_t *row, const char *key, const struct table_style *style,
			   char text[TABLE_CELL_MAX]);

struct table_column {
	const char *title;
	const char *key;
	table_cell_fn *cell;
	bool right;
};

/* A member as it is: text, an integer, yes or no; "-" for null and for none. */
table_cell_fn table_cell_plain;

/* A member that is a number of bytes; null is "none". */
table_cell_fn table_cell_bytes;

/* EXIT_OK if list names columns of these by their titles, in any case; or complain. */
int columns_check(const struct table_column *columns, const char *list);

/*
 * Print rows (an array of objects); nothing if the style's columns are all those of
 * another table of the answer.  columns ends with an empty entry.  0 or -ENOMEM.
 */
int table_print(const struct table_column *columns, json_t *rows, const struct table_style *style);

#endif

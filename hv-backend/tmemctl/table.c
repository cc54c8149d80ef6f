/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.c - rows of JSON as a table for people.
 *
 * Owns:    the use of libsmartcols, and how a single value is written.
 * Must not: know what the columns mean.
 */
#include "table.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdint.h>
#include <stdio.h>

#include "size.h"

void table_cell_plain(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	json_t *value = json_object_get(row, key);

	(void)style;
	if (json_is_string(value))
		snprintf(text, TABLE_CELL_MAX, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, TABLE_CELL_MAX, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		snprintf(text, TABLE_CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(text, TABLE_CELL_MAX, "-");
}

void table_cell_bytes(json_t *row, const char *key, const struct table_style *style,
		      char text[TABLE_CELL_MAX])
{
	json_t *value = json_object_get(row, key);
	char size[SIZE_TEXT_MAX];

	if (json_is_null(value))
		snprintf(text, TABLE_CELL_MAX, "none");
	else if (style->bytes)
		table_cell_plain(row, key, style, text);
	else
		snprintf(text, TABLE_CELL_MAX, "%s",
			 size_format((uint64_t)json_integer_value(value), size));
}

static int line_fill(struct libscols_line *line, const struct table_column *columns, json_t *row,
		     const struct table_style *style)
{
	char text[TABLE_CELL_MAX];
	int err = 0;

	for (size_t i = 0; columns[i].title && !err; i++) {
		columns[i].cell(row, columns[i].key, style, text);
		/* Raw output is split at blanks: no cell may be empty. */
		err = scols_line_set_data(line, i, text[0] ? text : "-");
	}
	return err;
}

static int table_fill(struct libscols_table *t, const struct table_column *columns, json_t *rows,
		      const struct table_style *style)
{
	struct libscols_line *line;
	size_t i;
	json_t *row;
	int err = 0;

	for (const struct table_column *c = columns; c->title; c++) {
		if (!scols_table_new_column(t, c->title, 0, c->right ? SCOLS_FL_RIGHT : 0))
			return -ENOMEM;
	}
	json_array_foreach(rows, i, row) {
		line = scols_table_new_line(t, NULL);
		err = line ? line_fill(line, columns, row, style) : -ENOMEM;
		if (err)
			break;
	}
	return err;
}

int table_print(const struct table_column *columns, json_t *rows, const struct table_style *style)
{
	struct libscols_table *t = scols_new_table();
	int err;

	if (!t)
		return -ENOMEM;
	scols_table_enable_raw(t, style->raw);
	scols_table_enable_noheadings(t, style->noheadings);
	err = table_fill(t, columns, rows, style);
	if (!err)
		err = scols_print_table(t);
	scols_unref_table(t);
	return err;
}

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
#include <string.h>
#include <strings.h>

#include "complain.h"
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

/* ---- the columns that are wanted ---------------------------------------- */

#define COLUMNS_MAX 32

/* The column whose title begins list and ends there or at a comma. */
static const struct table_column *column_find(const struct table_column *columns,
					      const char *list)
{
	size_t length = strcspn(list, ",");

	for (; columns->title; columns++) {
		if (strlen(columns->title) == length && !strncasecmp(columns->title, list, length))
			return columns;
	}
	return NULL;
}

/* The next name of a list, NULL behind the last. */
static const char *list_next(const char *list)
{
	list += strcspn(list, ",");
	return *list ? list + 1 : NULL;
}

int columns_check(const struct table_column *columns, const char *list)
{
	char known[256] = "";
	size_t used = 0, count = 0;

	for (const struct table_column *c = columns; c->title; c++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, " %s", c->title);
	for (; list; list = list_next(list)) {
		if (!column_find(columns, list))
			return complain(EXIT_USAGE, "-o: no column is called \"%.*s\"; there are%s",
					(int)strcspn(list, ","), list, known);
		if (++count == COLUMNS_MAX)
			return complain(EXIT_USAGE, "-o: too many columns");
	}
	return EXIT_OK;
}

/* list has passed columns_check. */
static void columns_choose(const struct table_column *columns, const char *list,
			   struct table_column chosen[COLUMNS_MAX])
{
	size_t n = 0;

	for (; list && n < COLUMNS_MAX - 1; list = list_next(list)) {
		const struct table_column *c = column_find(columns, list);

		if (c)
			chosen[n++] = *c;
	}
	chosen[n] = (struct table_column){ .title = NULL };
}

/* ---- the table ------------------------------------------------------------ */

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
	struct table_column chosen[COLUMNS_MAX];
	struct libscols_table *t;
	int err;

	if (style->columns) {
		columns_choose(columns, style->columns, chosen);
		columns = chosen;
	}
	if (!columns->title)
		return 0;
	t = scols_new_table();
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * show.h - the daemon's answers as tables, one function a verb.
 */
#ifndef TMEMCTL_SHOW_H
#define TMEMCTL_SHOW_H

#include <jansson.h>

#include "table.h"

/* Print an answer.  0, or an error when there is no memory. */
typedef int show_fn(json_t *answer, const struct table_style *style);

show_fn show_status, show_top, show_list, show_stats, show_pools, show_version;
show_fn show_freeable, show_plan, show_explain, show_events;
show_fn show_doctor, show_added, show_changed, show_flushed, show_nothing, show_dashboard;

/* What -o chooses from. */
extern const struct table_column list_columns[], pool_columns[], freeable_columns[];
extern const struct table_column quota_columns[], top_columns[], doctor_columns[];
extern const struct table_column stats_columns[], event_columns[];

#endif

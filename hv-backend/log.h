/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - what tmemd says: one line an event, to stderr or the journal.
 *
 * Owns:    levels, prefixes, the rate limit for lines a guest can cause.
 * Must not: be called with a lock held that the data path takes.
 */
#ifndef HV_LOG_H
#define HV_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_level_set(enum log_level level);

/* -EINVAL: no such level ("error", "warn", "info", "debug"). */
int log_level_parse(const char *text, enum log_level *level);

void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * A line about a guest: "guest NAME: ...".  At most 10 lines a second for each
 * name; what is left out is counted and said with the next line that passes.
 */
void log_guest(enum log_level level, const char *guest, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c - one line an event, written by one write(2) to stderr.
 *
 * Owns:    levels, prefixes, the rate limit for lines a guest can cause.
 * How:     a line is formatted on the stack and written whole, so that lines of
 *          several threads never mix.  Where stderr is the journal the level
 *          goes in front as "<N>" (sd-daemon(3)), elsewhere as a word.  A line
 *          that stderr has no room for, a pipe that nobody reads or a full file
 *          system, is lost and counted; the next that passes is followed by the
 *          count.
 * Must not: let a message become two lines, or block a caller on a full table or
 *          on whoever reads the log.
 *
 * #syscalls: poll write
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES	1024
#define NAME_BYTES	64
#define GUESTS_LIMITED	64	/* names tracked at once; the one silent longest makes room */
#define LINES_A_SECOND	10

static const struct {
	const char *name;
	const char *journal;	/* syslog priority */
	const char *word;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "<3>", "error: " },
	[LOG_LEVEL_WARN]  = { "warn",  "<4>", "warning: " },
	[LOG_LEVEL_INFO]  = { "info",  "<6>", "" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>", "debug: " },
};

static _Atomic enum log_level threshold = LOG_LEVEL_INFO;
static bool to_journal;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;

/* One guest's lines in the second that began at window: passed <= LINES_A_SECOND. */
struct guest_lines {
	char name[NAME_BYTES];
	time_t window;
	unsigned passed;
	uint64_t left_out;
};

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;	/* innermost */
static uint64_t lines_lost;					/* write_lock */

static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;
static struct guest_lines limits[GUESTS_LIMITED];	/* limit_lock */

void log_level_set(enum log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

int log_level_parse(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(text, levels[i].name)) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool level_passes(enum log_level level)
{
	return level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* JOURNAL_STREAM names the journal's socket; only if stderr is that very one. */
static void journal_detect(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	to_journal = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
		     fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

__attribute__((format(printf, 3, 4)))
static size_t line_append(char *line, size_t used, const char *fmt, ...);
static size_t line_vappend(char *line, size_t used, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Returns bytes used: at most LINE_MAX_BYTES - 1, the rest of the text is cut. */
static size_t line_vappend(char *line, size_t used, const char *fmt, va_list args)
{
	int n = vsnprintf(line + used, LINE_MAX_BYTES - used, fmt, args);

	if (n < 0)
		return used;
	return (size_t)n < LINE_MAX_BYTES - used ? used + (size_t)n : LINE_MAX_BYTES - 1;
}

static size_t line_append(char *line, size_t used, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	used = line_vappend(line, used, fmt, args);
	va_end(args);
	return used;
}

static size_t line_begin(char *line, enum log_level level)
{
	pthread_once(&journal_once, journal_detect);
	if (to_journal)
		return line_append(line, 0, "%s", levels[level].journal);
	return line_append(line, 0, "tmemd: %s", levels[level].word);
}

/*
 * Room for one line makes room for all of it: a line is shorter than PIPE_BUF, and
 * under the lock no other thread takes the room away.
 */
static bool bytes_write(const char *line, size_t used)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents & POLLOUT &&
	       write(STDERR_FILENO, line, used) == (ssize_t)used;
}

static void lost_report(void)
{
	char line[LINE_MAX_BYTES];
	size_t used = line_begin(line, LOG_LEVEL_WARN);

	used = line_append(line, used, "%llu lines lost, the log had no room",
			   (unsigned long long)lines_lost);
	line[used++] = '\n';
	if (bytes_write(line, used))
		lines_lost = 0;
}

static void line_write(char *line, size_t used)
{
	for (size_t i = 0; i < used; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[used] = '\n';
	pthread_mutex_lock(&write_lock);
	if (!bytes_write(line, used + 1))
		lines_lost++;
	else if (lines_lost)
		lost_report();
	pthread_mutex_unlock(&write_lock);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	size_t used;
	va_list args;

	if (!level_passes(level))
		return;
	used = line_begin(line, level);
	va_start(args, fmt);
	used = line_vappend(line, used, fmt, args);
	va_end(args);
	line_write(line, used);
}

static struct guest_lines *guest_lines_find_locked(const char *name)
{
	struct guest_lines *oldest = &limits[0];

	for (unsigned i = 0; i < GUESTS_LIMITED; i++) {
		if (!strncmp(limits[i].name, name, NAME_BYTES - 1))
			return &limits[i];
		if (limits[i].window < oldest->window)
			oldest = &limits[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	snprintf(oldest->name, sizeof(oldest->name), "%s", name);
	return oldest;
}

/* May a line of this guest pass now?  *left_out: lines dropped since the last that did. */
static bool guest_line_passes(const char *name, uint64_t *left_out)
{
	struct guest_lines *g;
	struct timespec now;
	bool passes;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&limit_lock);
	g = guest_lines_find_locked(name);
	if (g->window != now.tv_sec) {
		g->window = now.tv_sec;
		g->passed = 0;
	}
	passes = g->passed < LINES_A_SECOND;
	*left_out = g->left_out;
	if (passes) {
		g->passed++;
		g->left_out = 0;
	} else {
		g->left_out++;
	}
	pthread_mutex_unlock(&limit_lock);
	return passes;
}

void log_guest(enum log_level level, const char *guest, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	uint64_t left_out;
	size_t used;
	va_list args;

	if (!level_passes(level) || !guest_line_passes(guest, &left_out))
		return;
	used = line_begin(line, level);
	used = line_append(line, used, "guest %s: ", guest);
	va_start(args, fmt);
	used = line_vappend(line, used, fmt, args);
	va_end(args);
	if (left_out)
		used = line_append(line, used, " (%llu lines left out before)",
				   (unsigned long long)left_out);
	line_write(line, used);
}

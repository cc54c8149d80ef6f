/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config.c - tmemd.conf and flags into one checked struct config.
 *
 * Owns:    the tables of options: name, kind, range, where the value goes.
 * How:     inih splits lines into names and values.  The reader handed to it
 *          counts lines, takes section lines itself (inih cuts their names at
 *          49 bytes and says nothing of empty sections) and refuses what inih
 *          would cut silently.  A value goes through its option's kind into the
 *          field; the first error ends the reading.
 * Must not: guess.  An unknown section or option, a value out of range, or an
 *          option given twice is refused with its line.
 *
 * #syscalls: access openat
 */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

enum kind {
	KIND_NUMBER,	/* unsigned, min to max */
	KIND_SIZE,	/* uint64_t bytes, min to max */
	KIND_LIMIT,	/* the same, or "none" */
	KIND_TEXT,	/* path of at most max bytes with its NUL */
	KIND_CHOICE,	/* one of choices, by its position */
};

struct field {
	const char *name;
	enum kind kind;
	size_t offset, size;
	uint64_t min, max;
	const char *const *choices;	/* ends with NULL */
};

#define FIELD(type, member) offsetof(type, member), sizeof(((type *)0)->member)

static const char *const yes_no[] = { "no", "yes", NULL };
static const char *const rights[] = { "look", "change", NULL };
static const char *const blocks[] = {
	[CONFIG_BLOCK_4096] = "4096", [CONFIG_BLOCK_512] = "512", NULL,
};
static const char *const off_on[] = { "off", "on", NULL };
static const char *const confines[] = {
	[CONFINE_OFF] = "off", [CONFINE_LOG] = "log", [CONFINE_ON] = "on", NULL,
};
static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const dedups[] = { "off", "client", "host", NULL };
static const char *const codecs[] = { "lzo", "lz4", "zstd", NULL };
static const char *const stores[] = { "many", "two", NULL };
static const char *const transports[] = {
	[HV_VHOST_USER] = "vhost-user", [HV_IVSHMEM] = "ivshmem", NULL,
};

static const struct field daemon_fields[] = {
	{ "run-dir", KIND_TEXT, FIELD(struct config, run_dir), 1, CONFIG_PATH_MAX, NULL },
	{ "user", KIND_TEXT, FIELD(struct config, user), 0, 64, NULL },
	{ "confine", KIND_CHOICE, FIELD(struct config, confine), 0, 0, confines },
	{ "control-group", KIND_TEXT, FIELD(struct config, control_group), 0, 64, NULL },
	{ "control-group-may", KIND_CHOICE, FIELD(struct config, control_group_may_change), 0, 0,
	  rights },
	{ "guest-group", KIND_TEXT, FIELD(struct config, guest_group), 0, 64, NULL },
	{ "arena", KIND_SIZE, FIELD(struct config, arena), 1 << 20, UINT64_C(1) << 46, NULL },
	{ "arena-file", KIND_TEXT, FIELD(struct config, arena_file), 0, CONFIG_PATH_MAX, NULL },
	{ "spill-dir", KIND_TEXT, FIELD(struct config, spill_dir), 0, CONFIG_PATH_MAX, NULL },
	{ "persistent-max", KIND_SIZE, FIELD(struct config, persistent_max), 0, UINT64_C(1) << 46,
	  NULL },
	{ "dedup", KIND_CHOICE, FIELD(struct config, dedup), 0, 0, dedups },
	{ "lock-memory", KIND_CHOICE, FIELD(struct config, lock_memory), 0, 0, yes_no },
	{ "zbud-buddies", KIND_CHOICE, FIELD(struct config, zbud_two), 0, 0, stores },
	{ "memory-policy", KIND_CHOICE, FIELD(struct config, policy.on), 0, 0, off_on },
	{ "memory-floor", KIND_SIZE, FIELD(struct config, policy.floor), 0, UINT64_C(1) << 46,
	  NULL },
	{ "memory-low", KIND_SIZE, FIELD(struct config, policy.low), 0, UINT64_C(1) << 46, NULL },
	{ "memory-high", KIND_SIZE, FIELD(struct config, policy.high), 0, UINT64_C(1) << 46, NULL },
	{ "workers", KIND_NUMBER, FIELD(struct config, workers), 0, 64, NULL },
	{ "queues", KIND_NUMBER, FIELD(struct config, queues), 1, 16, NULL },
	{ "poll-us", KIND_NUMBER, FIELD(struct config, poll_us), 0, 1000, NULL },
	{ "http", KIND_CHOICE, FIELD(struct config, http), 0, 0, yes_no },
	{ "http-port", KIND_NUMBER, FIELD(struct config, http_port), 0, 65535, NULL },
	{ "dashboard", KIND_CHOICE, FIELD(struct config, dashboard), 0, 0, yes_no },
	{ "log-level", KIND_CHOICE, FIELD(struct config, log_level), 0, 0, log_levels },
	{ .name = NULL },
};

static const struct field quota_fields[] = {
	{ "weight", KIND_NUMBER, FIELD(struct tmem_quota, weight), 1, 65535, NULL },
	{ "min", KIND_SIZE, FIELD(struct tmem_quota, min), 0, UINT64_MAX, NULL },
	{ "max", KIND_LIMIT, FIELD(struct tmem_quota, max), 0, UINT64_MAX, NULL },
	{ "persistent-max", KIND_LIMIT, FIELD(struct tmem_quota, persistent_max), 0, UINT64_MAX,
	  NULL },
	{ "codec-ephemeral", KIND_CHOICE, FIELD(struct tmem_quota, codec[TMEM_EPHEMERAL]), 0, 0,
	  codecs },
	{ "codec-persistent", KIND_CHOICE, FIELD(struct tmem_quota, codec[TMEM_PERSISTENT]), 0, 0,
	  codecs },
	{ .name = NULL },
};

enum { GUEST_SOCKET, GUEST_TRANSPORT };

static const struct field guest_fields[] = {
	[GUEST_SOCKET] = { "socket", KIND_TEXT, FIELD(struct config_guest, socket), 1,
			   CONFIG_SOCKET_MAX, NULL },
	[GUEST_TRANSPORT] = { "transport", KIND_CHOICE, FIELD(struct config_guest, transport), 0, 0,
			      transports },
	{ "region", KIND_SIZE, FIELD(struct config_guest, region), 0, UINT64_C(1) << 40, NULL },
	{ "domain", KIND_TEXT, FIELD(struct config_guest, domain), 0, HV_DOMAIN_MAX, NULL },
	{ "disk-size", KIND_SIZE, FIELD(struct config_guest, disk_size), 0, UINT64_C(1) << 44, NULL },
	{ "disk-socket", KIND_TEXT, FIELD(struct config_guest, disk_socket), 1, CONFIG_SOCKET_MAX,
	  NULL },
	{ "disk-spill", KIND_TEXT, FIELD(struct config_guest, disk_spill), 1, CONFIG_PATH_MAX, NULL },
	{ "disk-block", KIND_CHOICE, FIELD(struct config_guest, disk_block), 0, 0, blocks },
	{ "disk-keep", KIND_CHOICE, FIELD(struct config_guest, disk_keep), 0, 0, yes_no },
	{ .name = NULL },
};

const struct config_option config_options[] = {
	{ "run-dir", "DIR", "sockets live here (/run/tmemd)" },
	{ "user", "USER", "become this user once started as root (stay)" },
	{ "confine", "on|log|off", "keep the daemon to the files and system calls it needs (on)" },
	{ "control-group", "GROUP", "may use tmemctl (the daemon's own group)" },
	{ "control-group-may", "look|change", "what its members may (look)" },
	{ "guest-group", "GROUP", "owns the guests' sockets (the daemon's own group)" },
	{ "arena", "SIZE", "most memory for guests' pages (1G)" },
	{ "arena-file", "PATH", "keep them in this file (default: anonymous memory)" },
	{ "spill-dir", "DIR", "where disks keep what memory refuses (default: nowhere)" },
	{ "persistent-max", "SIZE", "most of the arena for persistent pages (3/4 of it)" },
	{ "dedup", "off|client|host", "share equal ephemeral pages (off)" },
	{ "lock-memory", "no|yes", "keep the arena out of the host's swap (no)" },
	{ "zbud-buddies", "many|two", "compressed pages sharing a frame (many)" },
	{ "memory-policy", "on|off", "give memory back when the host is short of it (on)" },
	{ "memory-floor", "SIZE", "take no page while less is available on the host (1/32)" },
	{ "memory-low", "SIZE", "give memory back when less is available (3/64)" },
	{ "memory-high", "SIZE", "until this much is available (1/16)" },
	{ "workers", "N", "worker threads, 0: one per processor, at most 4 (0)" },
	{ "queues", "N", "queues offered to each guest, 1 to 16 (4)" },
	{ "poll-us", "N", "longest spin before a worker sleeps, 0: none (50)" },
	{ "http", "yes|no", "serve metrics and dashboard on RUN-DIR/http.sock (yes)" },
	{ "http-port", "N", "and on 127.0.0.1 at this port, 0: not (0)" },
	{ "dashboard", "yes|no", "beside the metrics (yes)" },
	{ "log-level", "LEVEL", "error, warn, info or debug (info)" },
	{ NULL, NULL, NULL },
};

int config_refuse(struct config_error *e, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return -EINVAL;
}

/* ---- values ------------------------------------------------------------ */

static void store_integer(const struct field *f, void *base, uint64_t value)
{
	uint8_t byte = (uint8_t)value;
	uint32_t word = (uint32_t)value;
	void *to = (char *)base + f->offset;

	if (f->size == sizeof(byte))
		memcpy(to, &byte, sizeof(byte));
	else if (f->size == sizeof(word))
		memcpy(to, &word, sizeof(word));
	else
		memcpy(to, &value, sizeof(value));
}

static int set_integer(const struct field *f, void *base, const char *text, struct config_error *e)
{
	uint64_t value;
	int err;

	if (f->kind == KIND_LIMIT && !strcmp(text, "none")) {
		store_integer(f, base, TMEM_NO_LIMIT);
		return 0;
	}
	err = size_parse(text, &value);
	if (err == -ERANGE)
		return config_refuse(e, "%s: %.40s is too large", f->name, text);
	if (err || (f->kind == KIND_NUMBER && text[strspn(text, "0123456789")]))
		return config_refuse(e, "%s: \"%.40s\" is not a %s", f->name, text,
				     f->kind == KIND_NUMBER ? "number" : "size (like 512M or 2G)");
	if (value < f->min || value > f->max)
		return config_refuse(e, "%s: %.40s is out of range, %llu to %llu", f->name, text,
				     (unsigned long long)f->min, (unsigned long long)f->max);
	store_integer(f, base, value);
	return 0;
}

static int set_text(const struct field *f, void *base, const char *text, struct config_error *e)
{
	size_t length = strlen(text);

	if (length < f->min)
		return config_refuse(e, "%s: is empty", f->name);
	if (length >= f->max)
		return config_refuse(e, "%s: is longer than %llu bytes", f->name,
				     (unsigned long long)f->max - 1);
	memcpy((char *)base + f->offset, text, length + 1);
	return 0;
}

static int set_choice(const struct field *f, void *base, const char *text, struct config_error *e)
{
	char known[128] = "";
	size_t used = 0;

	for (unsigned i = 0; f->choices[i]; i++) {
		if (!strcmp(f->choices[i], text)) {
			store_integer(f, base, i);
			return 0;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 f->choices[i]);
	}
	return config_refuse(e, "%s: \"%.40s\" is not one of %s", f->name, text, known);
}

static int field_set(const struct field *f, void *base, const char *text, struct config_error *e)
{
	switch (f->kind) {
	case KIND_TEXT:
		return set_text(f, base, text, e);
	case KIND_CHOICE:
		return set_choice(f, base, text, e);
	case KIND_NUMBER:
	case KIND_SIZE:
	case KIND_LIMIT:
		break;
	}
	return set_integer(f, base, text, e);
}

static const struct field *field_find(const struct field *fields, const char *name)
{
	for (; fields->name; fields++) {
		if (!strcmp(fields->name, name))
			return fields;
	}
	return NULL;
}

int config_set(struct config *c, const char *name, const char *value, struct config_error *e)
{
	const struct field *f = field_find(daemon_fields, name);

	return f ? field_set(f, c, value, e) : config_refuse(e, "%.60s: no such option", name);
}

int config_quota_set(struct tmem_quota *q, const char *name, const char *value,
		     struct config_error *e)
{
	const struct field *f = field_find(quota_fields, name);

	return f ? field_set(f, q, value, e) : config_refuse(e, "%.60s: no such option", name);
}

int config_quota_check(const struct tmem_quota *q, struct config_error *e)
{
	if (q->min > q->max)
		return config_refuse(e, "min (%llu) is above max (%llu)",
				     (unsigned long long)q->min, (unsigned long long)q->max);
	return 0;
}

int config_mins_check(const struct config *c, uint64_t arena, struct config_error *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->guest_count; i++) {
		if (__builtin_add_overflow(sum, c->guests[i].quota.min, &sum))
			sum = UINT64_MAX;
	}
	if (sum > arena)
		return config_refuse(e, "min: the guests' mins add up to %llu, the arena has %llu",
				     (unsigned long long)sum, (unsigned long long)arena);
	return 0;
}

const char *config_codec_name(enum tmem_codec codec)
{
	return codec < TMEM_CODECS ? codecs[codec] : "unknown";
}

/* ---- guests ------------------------------------------------------------ */

bool config_name_is_valid(const char *name)
{
	size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789._-");

	return length > 0 && length < TMEM_NAME_MAX && !name[length] && !strchr("._-", name[0]);
}

static struct config_guest *guest_find(struct config *c, const char *name)
{
	for (size_t i = 0; i < c->guest_count; i++) {
		if (!strcmp(c->guests[i].name, name))
			return &c->guests[i];
	}
	return NULL;
}

/* The guest of that name, added if there is none; NULL if name will not do. */
static struct config_guest *guest_get(struct config *c, const char *name, struct config_error *e)
{
	struct config_guest *g = guest_find(c, name);

	if (g)
		return g;
	if (!config_name_is_valid(name)) {
		config_refuse(e, "\"%.80s\" is not a guest name: 1 to %u letters, digits, . _ -, "
			      "a letter or digit first", name, TMEM_NAME_MAX - 1);
		return NULL;
	}
	g = reallocarray(c->guests, c->guest_count + 1, sizeof(*g));
	if (!g) {
		config_refuse(e, "out of memory");
		return NULL;
	}
	c->guests = g;
	g += c->guest_count++;
	memset(g, 0, sizeof(*g));
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->quota = (struct tmem_quota){
		.weight = 100, .max = TMEM_NO_LIMIT, .persistent_max = TMEM_NO_LIMIT,
	};
	return g;
}

int config_guest_flag(struct config *c, const char *text, enum hv_transport transport,
		      struct config_error *e)
{
	const char *colon = strchr(text, ':');
	char name[TMEM_NAME_MAX + 1];
	struct config_guest *g;

	snprintf(name, sizeof(name), "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
	g = guest_get(c, name, e);
	if (!g)
		return -EINVAL;
	if (transport != HV_VHOST_USER)
		g->transport = transport;
	return colon ? field_set(&guest_fields[GUEST_SOCKET], g, colon + 1, e) : 0;
}

/* ---- the file ---------------------------------------------------------- */

#define SEEN_GUEST 16

/*
 * seen has bit i set  <=>  field i of the section was given.  Guests' bits: the
 * quota's fields in order, then, from SEEN_GUEST on, the others.
 */
struct parser {
	struct config *c;
	FILE *stream;
	unsigned line;
	enum { SECTION_NONE, SECTION_DAEMON, SECTION_GUEST } section;
	size_t guest;		/* index: the array moves as it grows */
	size_t guests_before;	/* guests from here on were added by this file */
	bool daemon_done;
	uint32_t seen;
	int err;
	struct config_error *e;
};

static int section_begin(struct parser *p, char *text)
{
	char *end = strrchr(text, ']');
	struct config_guest *g;
	size_t known = p->c->guest_count;

	if (!end || end[1 + strspn(end + 1, " \t")])
		return config_refuse(p->e, "a section line is [tmemd] or [guest NAME]");
	*end = '\0';
	p->seen = 0;
	if (!strcmp(text, "tmemd")) {
		if (p->daemon_done)
			return config_refuse(p->e, "[tmemd] stands twice");
		p->daemon_done = true;
		p->section = SECTION_DAEMON;
		return 0;
	}
	if (strncmp(text, "guest ", 6))
		return config_refuse(p->e, "[%.60s]: no such section", text);
	g = guest_get(p->c, text + 6, p->e);
	if (!g)
		return -EINVAL;
	p->guest = (size_t)(g - p->c->guests);
	if (p->c->guest_count == known && p->guest >= p->guests_before)
		return config_refuse(p->e, "[guest %s] stands twice", g->name);
	p->section = SECTION_GUEST;
	return 0;
}

/*
 * One line without its end; -ENODATA at the end of the file.  line has room for
 * size bytes, what does not fit is refused.
 */
static int line_get(struct parser *p, char *line, size_t size)
{
	size_t length = 0;
	int ch;

	p->line++;
	while ((ch = getc(p->stream)) != EOF && ch != '\n') {
		if (ch == '\0')
			return config_refuse(p->e, "a NUL byte");
		if (length + 2 >= size)
			return config_refuse(p->e, "a line is longer than %zu bytes", size - 2);
		line[length++] = (char)ch;
	}
	if (ferror(p->stream))
		return config_refuse(p->e, "cannot be read");
	if (length && line[length - 1] == '\r')
		length--;
	line[length] = '\0';
	return ch == EOF && !length ? -ENODATA : 0;
}

/*
 * inih's reader.  Leading blanks go, so that an indented option is not taken
 * for the continuation of the one above.
 */
static char *parser_line(char *line, int size, void *arg)
{
	struct parser *p = arg;
	char *text;

	if (p->err)
		return NULL;
	p->err = line_get(p, line, (size_t)size);
	if (p->err == -ENODATA) {
		p->err = 0;
		return NULL;
	}
	if (p->err)
		return NULL;
	text = line + strspn(line, CONFIG_BLANKS);
	if (*text == '[') {
		p->err = section_begin(p, text + 1);
		*text = '\0';
	} else if (*text && !strchr("#;", *text) && !strpbrk(text, "=:")) {
		p->err = config_refuse(p->e, "\"%.60s\" is not OPTION = VALUE", text);
	}
	if (p->err)
		return NULL;
	memmove(line, text, strlen(text) + 1);
	return line;
}

static int mark_seen(struct parser *p, unsigned field, const char *name)
{
	if (p->seen & (1u << field))
		return config_refuse(p->e, "%s: given twice", name);
	p->seen |= 1u << field;
	return 0;
}

static int guest_option(struct parser *p, const char *name, const char *value)
{
	struct config_guest *g = &p->c->guests[p->guest];
	const struct field *f;
	int err;

	f = field_find(guest_fields, name);
	if (f) {
		err = mark_seen(p, SEEN_GUEST + (unsigned)(f - guest_fields), name);
		return err ? err : field_set(f, g, value, p->e);
	}
	f = field_find(quota_fields, name);
	if (!f)
		return config_refuse(p->e, "%.60s: no such option of a guest", name);
	err = mark_seen(p, (unsigned)(f - quota_fields), name);
	if (!err)
		err = field_set(f, &g->quota, value, p->e);
	return err ? err : config_quota_check(&g->quota, p->e);
}

static int daemon_option(struct parser *p, const char *name, const char *value)
{
	const struct field *f = field_find(daemon_fields, name);
	int err;

	if (!f)
		return config_refuse(p->e, "%.60s: no such option of [tmemd]", name);
	err = mark_seen(p, (unsigned)(f - daemon_fields), name);
	return err ? err : field_set(f, p->c, value, p->e);
}

/* inih's handler: non-zero goes on. */
static int parser_option(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;

	(void)section;
	if (p->err)
		return 0;
	switch (p->section) {
	case SECTION_NONE:
		p->err = config_refuse(p->e, "%.60s: stands before any section", name);
		break;
	case SECTION_DAEMON:
		p->err = daemon_option(p, name, value);
		break;
	case SECTION_GUEST:
		p->err = guest_option(p, name, value);
		break;
	}
	return !p->err;
}

int config_read_stream(struct config *c, FILE *stream, const char *file, struct config_error *e)
{
	struct config_error reason = { "" };
	struct parser p = {
		.c = c, .stream = stream, .guests_before = c->guest_count, .e = &reason,
	};
	int err = ini_parse_stream(parser_line, &p, parser_option, &p);

	if (!p.err && err)
		p.err = config_refuse(&reason, "not understood");
	if (p.err)
		config_refuse(e, "%.200s:%u: %.280s", file, p.line, reason.text);
	return p.err;
}

int config_read(struct config *c, const char *file, struct config_error *e)
{
	FILE *stream = fopen(file, "re");
	int err;

	if (!stream) {
		err = -errno;
		config_refuse(e, "%.200s: %s", file, strerror(-err));
		return err;
	}
	err = config_read_stream(c, stream, file, e);
	fclose(stream);
	return err;
}

/* ---- the whole --------------------------------------------------------- */

void config_init(struct config *c)
{
	*c = (struct config){
		.run_dir = "/run/tmemd",
		.arena = UINT64_C(1) << 30,
		.persistent_max = TMEM_NO_LIMIT,
		.dedup = TMEM_DEDUP_OFF,
		.policy.on = true,
		.confine = CONFINE_ON,
		.http = true,
		.dashboard = true,
		.queues = 4,
		.poll_us = 50,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_free(struct config *c)
{
	free(c->guests);
	c->guests = NULL;
	c->guest_count = 0;
}

/* RUN_DIR/NAME + suffix, which must fit a socket address. */
static int socket_path(const struct config *c, const char *name, const char *suffix,
		       char out[CONFIG_SOCKET_MAX], struct config_error *e)
{
	int n = snprintf(out, CONFIG_SOCKET_MAX, "%s/%s%s", c->run_dir, name, suffix);

	if (n < 0 || n >= CONFIG_SOCKET_MAX)
		return config_refuse(e,
				     "run-dir: %s/%s%s is longer than a socket's path may be (%d)",
				     c->run_dir, name, suffix, CONFIG_SOCKET_MAX - 1);
	return 0;
}

/* Socket n of the guest's, NULL where it has no more. */
static const char *socket_of(const struct config_guest *g, unsigned n)
{
	if (n == 0)
		return g->socket;
	return n == 1 && g->disk_size ? g->disk_socket : NULL;
}

/* Is the path a socket of guest g's, its first `own` ones? */
static const char *socket_find(const struct config_guest *g, unsigned own, const char *path)
{
	for (unsigned n = 0; n < own && socket_of(g, n); n++) {
		if (!strcmp(socket_of(g, n), path))
			return g->name;
	}
	return NULL;
}

/* Neither the daemon's nor one of those before it in the configuration. */
static int socket_is_free(const struct config *c, size_t guest, unsigned n,
			  struct config_error *e)
{
	const struct config_guest *g = &c->guests[guest];
	const char *path = socket_of(g, n), *other = NULL;

	if (!strcmp(path, c->control_socket))
		return config_refuse(e, "guest %s: %s is the control socket", g->name, path);
	if (!strcmp(path, c->http_socket))
		return config_refuse(e, "guest %s: %s is the socket of the metrics", g->name, path);
	for (size_t i = 0; i <= guest && !other; i++)
		other = socket_find(&c->guests[i], i < guest ? UINT_MAX : n, path);
	if (other)
		return config_refuse(e, "guests %s and %s have the same socket, %s", other, g->name,
				     path);
	return 0;
}

/* disk-spill: a path, "none", or what follows from spill-dir. */
static int disk_finish(const struct config *c, struct config_guest *g, struct config_error *e)
{
	int n = 0;

	if (g->disk_size % TMEM_PAGE_SIZE)
		return config_refuse(e, "guest %s: disk-size (%llu) is not a multiple of %u",
				     g->name, (unsigned long long)g->disk_size, TMEM_PAGE_SIZE);
	if (!strcmp(g->disk_spill, "none"))
		g->disk_spill[0] = '\0';
	else if (!g->disk_spill[0] && c->spill_dir[0])
		n = snprintf(g->disk_spill, sizeof(g->disk_spill), "%s/%s.spill", c->spill_dir,
			     g->name);
	if (n >= (int)sizeof(g->disk_spill))
		return config_refuse(e, "spill-dir: %s/%s.spill is longer than %zu bytes",
				     c->spill_dir, g->name, sizeof(g->disk_spill) - 1);
	return g->disk_socket[0] ? 0 : socket_path(c, g->name, "-disk.sock", g->disk_socket, e);
}

int config_guest_finish(const struct config *c, struct config_guest *g, struct config_error *e)
{
	int err = g->socket[0] ? 0 : socket_path(c, g->name, ".sock", g->socket, e);

	return err || !g->disk_size ? err : disk_finish(c, g, e);
}

struct hv_disk_config config_disk(const struct config_guest *g)
{
	return (struct hv_disk_config){
		.size = g->disk_size,
		.socket = g->disk_socket,
		.spill = g->disk_spill,
		.block = g->disk_block == CONFIG_BLOCK_512 ? 512 : 4096,
		.keep = g->disk_keep,
	};
}

static int mark_order(const char *lower_name, uint64_t lower, const char *upper_name,
		      uint64_t upper, struct config_error *e)
{
	if (lower && upper && lower > upper)
		return config_refuse(e, "%s (%llu) is above %s (%llu)", lower_name,
				     (unsigned long long)lower, upper_name,
				     (unsigned long long)upper);
	return 0;
}

static int policy_finish(struct config *c, struct config_error *e)
{
	struct policy_config *p = &c->policy;
	int err = mark_order("memory-floor", p->floor, "memory-low", p->low, e);

	if (!err)
		err = mark_order("memory-low", p->low, "memory-high", p->high, e);
	if (!err)
		err = mark_order("memory-floor", p->floor, "memory-high", p->high, e);
	p->total = c->arena;
	p->persistent_max = c->persistent_max;
	return err;
}

int config_finish(struct config *c, struct config_error *e)
{
	int err = socket_path(c, "control", ".sock", c->control_socket, e);

	if (!err)
		err = socket_path(c, "http", ".sock", c->http_socket, e);
	if (err)
		return err;
	if (c->persistent_max == TMEM_NO_LIMIT)
		c->persistent_max = c->arena / 4 * 3;
	if (c->persistent_max > c->arena)
		return config_refuse(e, "persistent-max (%llu) is above arena (%llu)",
				     (unsigned long long)c->persistent_max,
				     (unsigned long long)c->arena);
	err = policy_finish(c, e);
	if (!err)
		err = config_mins_check(c, c->arena, e);
	if (err)
		return err;
	for (size_t i = 0; c->guests && i < c->guest_count; i++) {
		err = config_guest_finish(c, &c->guests[i], e);
		for (unsigned n = 0; !err && socket_of(&c->guests[i], n); n++)
			err = socket_is_free(c, i, n, e);
		if (err)
			return err;
	}
	return 0;
}

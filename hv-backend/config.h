/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config.h - what the administrator asked for: tmemd.conf, and flags over it.
 *
 * Owns:    every option's name, default, range and meaning.
 * Must not: start anything; a configuration is checked whole before it is used.
 */
#ifndef HV_CONFIG_H
#define HV_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "confine.h"
#include "hv.h"
#include "log.h"
#include "pressure_policy.h"
#include "tmem.h"

#define CONFIG_BLANKS		" \t\v\f\r"	/* what inih skips around names and values */
#define CONFIG_DEFAULT_FILE	"/etc/tmemd/tmemd.conf"
#define CONFIG_PATH_MAX		256	/* with its NUL */
#define CONFIG_SOCKET_MAX	108	/* sockaddr_un, with its NUL */

struct config_guest {
	char name[TMEM_NAME_MAX];
	char socket[CONFIG_SOCKET_MAX];	/* after config_finish never empty */
	enum hv_transport transport;
	uint64_t region;		/* bytes of the shared region, 0: default */
	char domain[HV_DOMAIN_MAX];	/* UUID of the virtual machine; "": any */
	uint64_t disk_size;		/* bytes; 0: none */
	char disk_socket[CONFIG_SOCKET_MAX];	/* after config_finish never empty */
	char disk_spill[CONFIG_PATH_MAX];	/* after config_finish "": none */
	unsigned disk_block;		/* CONFIG_BLOCK_* */
	bool disk_keep;
	struct tmem_quota quota;
};

enum { CONFIG_BLOCK_4096, CONFIG_BLOCK_512 };

/* The disk that g says; its texts are g's. */
struct hv_disk_config config_disk(const struct config_guest *g);

struct config {
	char     run_dir[CONFIG_PATH_MAX];
	char     file[CONFIG_PATH_MAX];			/* what was read, "": none */
	char     control_socket[CONFIG_SOCKET_MAX];	/* RUN_DIR/control.sock */
	char     http_socket[CONFIG_SOCKET_MAX];	/* RUN_DIR/http.sock */
	bool     http;
	unsigned http_port;				/* 0: no TCP */
	bool     dashboard;				/* beside the metrics */
	char     control_group[64];			/* owns that socket; "": the daemon's own */
	bool     control_group_may_change;		/* not only look */
	char     guest_group[64];			/* owns the guests' sockets; "": likewise */
	char     arena_file[CONFIG_PATH_MAX];		/* "": anonymous memory */
	char     spill_dir[CONFIG_PATH_MAX];		/* "": disks have none by default */
	uint64_t arena;					/* bytes */
	uint64_t persistent_max;			/* bytes, <= arena */
	enum tmem_dedup dedup;
	struct policy_config policy;			/* total, persistent_max: as above */
	char     user[64];				/* runs as this one; "": as started */
	enum confine_mode confine;
	bool     lock_memory;
	bool     zbud_two;
	unsigned workers, queues, poll_us;
	enum log_level log_level;
	struct config_guest *guests;
	size_t   guest_count;
};

/* Why a configuration is refused, ready to be printed. */
struct config_error {
	char text[512];
};

/* Say why in e; -EINVAL. */
__attribute__((format(printf, 2, 3)))
int config_refuse(struct config_error *e, const char *fmt, ...);

/* One option of [tmemd]: NAME = value in the file, --NAME value as a flag. */
struct config_option {
	const char *name, *value, *help;
};

/* Ends with an entry whose name is NULL. */
extern const struct config_option config_options[];

void config_init(struct config *c);
void config_free(struct config *c);

/*
 * Read a file over what c holds.  file is what the error calls the stream:
 * "FILE:LINE: reason".  -EINVAL; config_read also what open said.
 */
int config_read(struct config *c, const char *file, struct config_error *e);
int config_read_stream(struct config *c, FILE *stream, const char *file, struct config_error *e);

/* Fill in the sockets and the spill file that g does not name.  -EINVAL. */
int config_guest_finish(const struct config *c, struct config_guest *g, struct config_error *e);

/* Set one option of [tmemd].  -EINVAL. */
int config_set(struct config *c, const char *name, const char *value, struct config_error *e);

/*
 * NAME or NAME:SOCKET; adds the guest or, if it is there, sets its socket.  The
 * file's transport stays where transport is the default, HV_VHOST_USER.
 */
int config_guest_flag(struct config *c, const char *text, enum hv_transport transport,
		      struct config_error *e);

/* Fill in what follows from other options and check how they go together.  -EINVAL. */
int config_finish(struct config *c, struct config_error *e);

/*
 * Set one option of a [guest] that is part of its quota.  -EINVAL.  Several may
 * be set before config_quota_check looks at the result.
 */
int config_quota_set(struct tmem_quota *q, const char *name, const char *value,
		     struct config_error *e);
int config_quota_check(const struct tmem_quota *q, struct config_error *e);

/* The guests' mins must fit the arena (bytes) together.  -EINVAL. */
int config_mins_check(const struct config *c, uint64_t arena, struct config_error *e);

const char *config_codec_name(enum tmem_codec codec);

/* 1 to TMEM_NAME_MAX - 1 of A-Z a-z 0-9 . _ - and not one of . _ - first. */
bool config_name_is_valid(const char *name);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verbs.h - what the control socket understands.
 *
 *   request   {"verb": "list", ...arguments}           one line
 *   answer    {"ok": true, ..., "schema_version": 1}   one line
 *        or   {"ok": false, "error": "why", "code": N, "schema_version": 1}
 *
 * N is what tmemctl exits with.
 */
#ifndef HV_VERBS_H
#define HV_VERBS_H

#include "control.h"
#include "events.h"
#include "hv.h"
#include "pressure.h"
#include "tmem.h"

enum verb_code {
	VERB_FAILED = 1,	/* understood, and could not be done */
	VERB_USAGE = 2,		/* not understood */
	VERB_NO_GUEST = 4,
	VERB_DENIED = 5,	/* the peer may only look */
};

struct web;

/* What the verbs act on. */
struct verbs_host {
	struct tmem *core;
	struct hv *hv;
	struct events *events;
	struct pressure *pressure;
	bool group_may_change;		/* every peer may; else root and the daemon's user */
	const char *run_dir;		/* of guests' sockets; NULL: no guest can be added */
	const char *spill_dir;		/* "": disks have no file by default */
	const char *config_file;	/* for what is to outlast the daemon; NULL: none */
	struct web *web;		/* NULL: no HTTP */
	const char *http_socket;	/* where the dashboard is, if there is one */
	unsigned http_port;		/* 0: not there */
};

/* Whether it may change anything. */
bool verbs_peer_may_change(const struct verbs_host *host, const struct control_peer *peer);

/* A control_fn; arg is a struct verbs_host. */
char *verbs_answer(void *arg, const struct control_peer *peer, const char *line, size_t length);

#endif

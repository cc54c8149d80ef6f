/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - ask the daemon one thing.
 */
#ifndef TMEMCTL_CLIENT_H
#define TMEMCTL_CLIENT_H

#include <jansson.h>

/*
 * Send request (taken over; NULL is "out of memory") and wait for its answer,
 * at most CLIENT_TIMEOUT_S.  EXIT_OK: *answer is the caller's.  Else the reason
 * has been printed.
 */
int client_ask(const char *socket, json_t *request, json_t **answer);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.c - one message each way of a descriptor.
 *
 * sd_pid_notify_with_fds(3): FDSTORE=1 with FDNAME= and the descriptor beside it,
 * FDSTOREREMOVE=1 with FDNAME=.  FDPOLL=0: a connection whose other end hung up is
 * still ours to find so.  sd_listen_fds_with_names(3): what comes back.
 *
 * #syscalls: getegid geteuid getgid getsockopt getuid sendmsg setsockopt socket
 */
#include "handover.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "log.h"

#define NAME_BYTES	32u

struct handover {
	struct keep *keep;
	int count;
	char **name;			/* of descriptor SD_LISTEN_FDS_START + i */
	bool *taken;
};

int handover_open(struct handover **out)
{
	struct handover *h;

	*out = NULL;
	if (!getenv("NOTIFY_SOCKET"))
		return 0;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->count = sd_listen_fds_with_names(true, &h->name);
	if (h->count < 0) {
		int err = h->count;

		free(h);
		return err;
	}
	h->taken = calloc((size_t)h->count + 1, sizeof(*h->taken));
	if (!h->taken) {
		h->count = 0;
		handover_close(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

void handover_close(struct handover *h)
{
	if (!h)
		return;
	for (int i = 0; i < h->count; i++) {
		if (!h->taken[i])
			close(SD_LISTEN_FDS_START + i);
		free(h->name[i]);
	}
	free(h->name);
	free(h->taken);
	free(h);
}

void handover_number_by(struct handover *h, struct keep *k)
{
	if (h)
		h->keep = k;
}

static int store(const char *name, int fd)
{
	char text[64 + NAME_BYTES];
	int r;

	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	if (r <= 0)
		log_error("the keeper does not hear us: %s", strerror(-r));
	return r > 0 ? 0 : -EPIPE;
}

static void unstore(const char *name)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int handover_take_named(struct handover *h, const char *name)
{
	for (int i = 0; h && i < h->count; i++) {
		if (h->taken[i] || strcmp(h->name[i], name))
			continue;
		h->taken[i] = true;
		return SD_LISTEN_FDS_START + i;
	}
	return -1;
}

void handover_keep_named(struct handover *h, const char *name, int fd)
{
	if (h)
		store(name, fd);
}

static void number_name(char name[NAME_BYTES], uint64_t number)
{
	snprintf(name, NAME_BYTES, "fd-%llu", (unsigned long long)number);
}

uint64_t handover_keep(struct handover *h, int fd)
{
	char name[NAME_BYTES];
	uint64_t number;

	if (!h)
		return 0;
	number = keep_number(h->keep);
	number_name(name, number);
	return store(name, fd) ? 0 : number;
}

int handover_take(struct handover *h, uint64_t number)
{
	char name[NAME_BYTES];

	number_name(name, number);
	return number ? handover_take_named(h, name) : -1;
}

void handover_drop(struct handover *h, uint64_t number)
{
	char name[NAME_BYTES];

	if (!h || !number)
		return;
	number_name(name, number);
	unstore(name);
}

void handover_settle(struct handover *h)
{
	for (int i = 0; h && i < h->count; i++) {
		if (h->taken[i])
			continue;
		close(SD_LISTEN_FDS_START + i);
		h->taken[i] = true;
		unstore(h->name[i]);
	}
}

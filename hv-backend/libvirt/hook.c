/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hook.c - tmemd-qemu-hook: libvirt's qemu hook, which has a guest's socket there
 * before its QEMU wants it.
 *
 * How:     libvirt runs it as PROGRAM DOMAIN OPERATION SUB-OPERATION EXTRA with the
 *          domain's XML on standard input, and waits for it.  At "prepare begin" and
 *          "reconnect begin" the domain is announced to tmemd; all else is nothing to
 *          us.
 * Must not: call libvirt, which would wait for itself; take longer than LIMIT_S; fail:
 *          a domain starts whatever becomes of tmemd.  libvirt throws away what a hook
 *          says that did not fail, so it goes to the system's log too.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "../tmemctl/complain.h"
#include "announce.h"

#define LIMIT_S		3
#define XML_MAX		(4u << 20)	/* bytes */
#define SOCKET_DEFAULT	"/run/tmemd/control.sock"
#define SOCKET_VARIABLE	"TMEMD_CONTROL_SOCKET"

static void on_alarm(int signal)
{
	static const char text[] = "tmemd-qemu-hook: tmemd did not answer in time\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signal;
	(void)n;
	_exit(0);
}

static bool is_ours(int argc, char *argv[])
{
	return argc > 3 && !strcmp(argv[3], "begin") &&
	       (!strcmp(argv[2], "prepare") || !strcmp(argv[2], "reconnect"));
}

/* All of standard input, from malloc; NULL: too long, or not to be read. */
static char *input_read(void)
{
	char *text = malloc(XML_MAX + 1);
	size_t used = 0;
	ssize_t n = 1;

	while (text && used < XML_MAX && n > 0) {
		n = read(STDIN_FILENO, text + used, XML_MAX - used);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			used += (size_t)n;
	}
	if (n != 0) {
		free(text);
		return NULL;
	}
	text[used] = '\0';
	return text;
}

static void said_tell(FILE *said, char **text, const size_t *length)
{
	if (!fclose(said) && *length) {
		ssize_t n = write(STDERR_FILENO, *text, *length);

		(void)n;
		syslog(LOG_DAEMON | LOG_WARNING, "%.1000s", *text);
	}
	free(*text);
}

int main(int argc, char *argv[])
{
	const char *socket = getenv(SOCKET_VARIABLE);
	char *xml, *text = NULL;
	size_t length = 0;
	FILE *said;

	if (!is_ours(argc, argv))
		return 0;
	signal(SIGALRM, on_alarm);
	alarm(LIMIT_S);
	said = open_memstream(&text, &length);
	if (said)
		stderr = said;
	xml = input_read();
	if (xml)
		announce_xml(socket ? socket : SOCKET_DEFAULT, xml);
	else
		complain(EXIT_FAILED, "domain %s: no XML", argv[1]);
	free(xml);
	if (said)
		said_tell(said, &text, &length);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hosting.h - a daemon with guests, for tests of the whole of tmemd.
 *
 * Owns:    the daemon under test, its guests' sockets, a bystander guest that
 *          puts, gets and verifies all the time, the pages' contents.
 * How:     each test has a guest name of its own, so that what the log says about
 *          that name is what the test caused.  hosting_check() after each test
 *          asks that the daemon lives and the bystander went on undisturbed.
 * Must not: touch a guest whose test is running.
 */
#ifndef HOSTING_H
#define HOSTING_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon.h"
#include "front.h"

/* How much less to do where a sanitizer makes everything slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HOSTING_SLOW	8u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define HOSTING_SLOW	8u
#endif
#endif
#ifndef HOSTING_SLOW
#define HOSTING_SLOW	1u
#endif

struct hosting {
	struct daemon daemon;
	pthread_t bystander;
	bool has_bystander;
	struct front *front;		/* the bystander's; its thread's alone while it runs */
	_Atomic bool stop;
	_Atomic uint64_t rounds;	/* puts and gets that came back right */
	_Atomic int error;		/* first wrong answer; 0: none */
};

/*
 * Run TMEM_BUILD/tmemd for the guests (NULL ends both lists) at log level warn
 * with more arguments; under a keeper if TMEM_TEST_KEEPER is set.  0 or -errno.
 */
int hosting_start(struct hosting *h, const char *const guests[], const char *const more[]);

/* Let a guest of that name work until the end. */
int hosting_bystander_start(struct hosting *h, const char *guest);

/* Stop all; the daemon's exit status, or -1 if the bystander saw an error. */
int hosting_stop(struct hosting *h);

/* True if the daemon runs and the bystander has done verified work just now. */
bool hosting_check(struct hosting *h);

/* A configuration for a guest of that daemon; the socket's path is in buf. */
struct front_config hosting_config(const struct hosting *h, const char *guest,
				   char buf[DAEMON_PATH_MAX]);

/* Lines of the log that name the guest and hold the text, waiting for the first. */
unsigned hosting_said(const struct hosting *h, const char *guest, const char *text);

/* Lines of the log that name the guest, now. */
unsigned hosting_lines(const struct hosting *h, const char *guest);

/*
 * One request to the control socket, a JSON object.  The answer, to be released;
 * NULL if there is none or it is not "ok".
 */
json_t *hosting_ask(const struct hosting *h, const char *request);

/* The number `key` that "stats" reports of the guest; -1 if it has none. */
long long hosting_number(const struct hosting *h, const char *guest, const char *key);

/* A page that seed determines: mostly compressible, every 13th same-filled. */
void page_fill(void *page, uint64_t seed);
bool page_is(const void *page, uint64_t seed);

/* Numbers from a state of any value. */
uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t n);

/*
 * Put that page as the n-th of a pool, with its seed as the tag; get the n-th and
 * compare both.  The status, or -errno; -EBADMSG: another page or tag came.
 */
int page_put(struct front *f, uint32_t pool, uint64_t n, uint64_t seed);
int page_get(struct front *f, uint32_t pool, uint64_t n, uint64_t seed);

/* Pool 0, object and index from n by the swap key. */
struct front_key key_of(uint32_t pool, uint64_t n);

#endif

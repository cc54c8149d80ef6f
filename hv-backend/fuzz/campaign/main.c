// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - hostile guests beside honest ones, for a time.
 *
 *   campaign [--seconds N] [--seed N]      TMEM_BUILD: where tmemd is (build)
 *
 * Owns:    the daemon, the breeder and its rounds, the verdict.
 * How:     the breeder is forked before there is any thread.  It keeps one round
 *          running for each hostile guest.  A round that hangs is ended.
 *          What fails the campaign: an honest guest that sees anything wrong, a
 *          daemon that ends or does not end well, a word of a sanitizer.  It says
 *          at which seed to begin again: at the earliest round that was running.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/campaign/campaign.h"

#define ROUND_SECONDS	20u

static const char *const hostile_name[HOSTILE_GUESTS] = { "evil-0", "evil-1", "evil-2", "evil-i" };

uint64_t campaign_random(uint64_t *state)
{
	/* splitmix64 (Steele, Lea, Flood 2014) */
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---- the breeder --------------------------------------------------------- */

static _Noreturn void round_run(struct campaign *c, const struct hosting *host, unsigned guest,
				uint64_t seed)
{
	char name[32], path[DAEMON_PATH_MAX];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It may well crash: by memory that it truncated itself. */
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	alarm(ROUND_SECONDS);
	snprintf(name, sizeof(name), "%s.sock", hostile_name[guest]);
	hostile_round(c, daemon_path(&host->daemon, name, path), guest == HOSTILE_GUESTS - 1, seed);
	_exit(0);
}

static _Noreturn void breed(struct campaign *c, const struct hosting *host)
{
	pid_t pid[HOSTILE_GUESTS] = { 0 }, ended;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&c->stop)) {
		for (unsigned i = 0; i < HOSTILE_GUESTS; i++) {
			if (pid[i] > 0)
				continue;
			c->before[i] = c->running[i];
			c->running[i] = atomic_fetch_add(&c->next, 1);
			pid[i] = fork();
			if (pid[i] == 0)
				round_run(c, host, i, c->running[i]);
		}
		ended = wait(&status);
		if (WIFEXITED(status) && WEXITSTATUS(status) == HOSTILE_ALONE)
			break;	/* the daemon is gone: start no more, so that seeds stay */
		for (unsigned i = 0; i < HOSTILE_GUESTS; i++)
			if (pid[i] == ended)
				pid[i] = 0;
		atomic_fetch_add(&c->rounds, 1);
	}
	for (unsigned i = 0; i < HOSTILE_GUESTS; i++)
		if (pid[i] > 0)
			kill(pid[i], SIGKILL);
	_exit(0);
}

/* ---- the verdict ---------------------------------------------------------- */

struct verdict {
	char text[256];		/* "": all is well */
};

static void verdict_set(struct verdict *v, const char *text, const char *detail)
{
	if (!v->text[0])
		snprintf(v->text, sizeof(v->text), "%s%s", text, detail);
}

/* Watch until the time is over or something is wrong. */
static void watch(struct campaign *c, struct hosting *host, unsigned seconds, struct verdict *v)
{
	for (unsigned tenths = 0; tenths < 10 * seconds && !atomic_load(&c->stop); tenths++) {
		usleep(100000);
		if (!daemon_alive(&host->daemon)) {
			verdict_set(v, "the daemon ended", "");
			break;
		}
	}
	atomic_store(&c->stop, true);
}

static void check_log(const struct hosting *host, struct verdict *v)
{
	static const char *const words[] = { "Sanitizer", "runtime error:" };
	char *text = daemon_log(&host->daemon);

	for (unsigned i = 0; i < 2 && text; i++) {
		char *at = strstr(text, words[i]);

		if (!at)
			continue;
		while (at > text && at[-1] != '\n')
			at--;
		fprintf(stderr, "%.*s\n", 4000, at);
		verdict_set(v, "a sanitizer's report", "");
	}
	free(text);
}

/* ---- the command ---------------------------------------------------------- */

static int start(struct hosting *host)
{
	static const char *const guests[] = { "alice", "bob", "evil-0", "evil-1", "evil-2", NULL };
	static const char *const more[] = {
		"--guest-ivshmem", "carol", "--guest-ivshmem", "evil-i", NULL,
	};

	return hosting_start(host, guests, more);
}

static void run(struct campaign *c, struct hosting *host, unsigned seconds, struct verdict *v)
{
	static struct honest honest[3] = { { .name = "alice" }, { .name = "bob" }, { .name = "carol" } };
	pid_t breeder = fork();
	uint64_t verified = 0;

	if (breeder == 0)
		breed(c, host);
	for (unsigned i = 0; i < 3; i++) {
		honest[i].campaign = c;
		honest[i].rng = c->next + i;
		if (honest_start(&honest[i], host, i == 2)) {
			verdict_set(v, "cannot start guest ", honest[i].name);
			atomic_store(&c->stop, true);
			kill(breeder, SIGKILL);
			return;
		}
	}
	watch(c, host, seconds, v);
	waitpid(breeder, NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		honest_finish(&honest[i]);
		verdict_set(v, honest[i].error, "");
		verified += honest[i].verified;
	}
	printf("# %llu rounds, %llu hostile acts, %llu pages verified\n", (unsigned long long)c->rounds,
	       (unsigned long long)c->steps, (unsigned long long)verified);
	if (!verified || !c->rounds)
		verdict_set(v, "nothing was done", "");
}

static uint64_t seed_first(const struct campaign *c)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < HOSTILE_GUESTS; i++)
		if (c->before[i] < first)
			first = c->before[i];
	return first;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", required_argument, NULL, 't' }, { "seed", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	struct campaign *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct verdict v = { "" };
	unsigned seconds = 30;
	struct hosting host;
	uint64_t seed = 0;
	int opt, status;

	if (c == MAP_FAILED || getrandom(&seed, 4, 0) != 4)
		return 1;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 't')
			seconds = (unsigned)strtoul(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	for (unsigned i = 0; i < HOSTILE_GUESTS; i++)
		c->running[i] = seed;
	atomic_store(&c->next, seed);
	status = start(&host);
	if (status) {
		printf("not ok 1 - campaign: no daemon\n0 passed, 1 failed\n");
		return 1;
	}
	run(c, &host, seconds, &v);
	check_log(&host, &v);
	status = hosting_stop(&host);
	if (status)
		verdict_set(&v, "the daemon did not end well", "");
	if (v.text[0])
		printf("not ok 1 - campaign: %s; again with: TMEM_BUILD=%s %s --seed %llu\n", v.text,
		       getenv("TMEM_BUILD") ? getenv("TMEM_BUILD") : "build", argv[0],
		       (unsigned long long)seed_first(c));
	else
		printf("ok 1 - campaign, %u s from seed %llu\n", seconds, (unsigned long long)seed);
	printf("%d passed, %d failed\n", !v.text[0], !!v.text[0]);
	return v.text[0] ? 1 : 0;
}

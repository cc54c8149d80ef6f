// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hosting.c - see hosting.h.
 */
#include "hosting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ARGS_MAX	150
#define BYSTANDER_PAGES	256u
#define LOG_WAIT_MS	5000
#define PROGRESS_MS	10000

/* ---- pages ------------------------------------------------------------ */

static uint64_t mix(uint64_t x)
{
	/* splitmix64 (Steele, Lea, Flood 2014) */
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint64_t random_next(uint64_t *state)
{
	return mix((*state)++);
}

uint32_t random_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((random_next(state) >> 32) * n >> 32);
}

void page_fill(void *page, uint64_t seed)
{
	uint64_t word[TMEMP_PAGE_SIZE / 8];
	bool same = seed % 13 == 0;

	for (unsigned i = 0; i < TMEMP_PAGE_SIZE / 8; i++)
		word[i] = mix(!same && i % 8 == 0 ? seed + i : seed);
	memcpy(page, word, sizeof(word));
}

bool page_is(const void *page, uint64_t seed)
{
	uint8_t expected[TMEMP_PAGE_SIZE];

	page_fill(expected, seed);
	return !memcmp(page, expected, sizeof(expected));
}

struct front_key key_of(uint32_t pool, uint64_t n)
{
	return (struct front_key){
		.pool = pool,
		.oid = { tmemp_swap_object(n) },
		.index = tmemp_swap_index(n),
	};
}

int page_put(struct front *f, uint32_t pool, uint64_t n, uint64_t seed)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[TMEMP_PAGE_SIZE];

	page_fill(page, seed);
	return front_put(front_queue_of(f, &key), &key, page, seed);
}

int page_get(struct front *f, uint32_t pool, uint64_t n, uint64_t seed)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[TMEMP_PAGE_SIZE];
	uint64_t tag;
	int status = front_get(front_queue_of(f, &key), &key, page, &tag);

	return status == TMEMP_OK && (tag != seed || !page_is(page, seed)) ? -EBADMSG : status;
}

/* ---- daemon ----------------------------------------------------------- */

int hosting_start(struct hosting *h, const char *const guests[], const char *const more[])
{
	const char *build = getenv("TMEM_BUILD");
	const char *args[ARGS_MAX + 1] = { "--log-level", "warn", "--arena", "256M" };
	static char keeper[4096];
	char program[4096];
	unsigned n = 4;

	memset(h, 0, sizeof(*h));
	for (unsigned i = 0; guests[i] && n + 2 <= ARGS_MAX; i++) {
		args[n++] = "--guest";
		args[n++] = guests[i];
	}
	for (unsigned i = 0; more && more[i] && n < ARGS_MAX; i++)
		args[n++] = more[i];
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	snprintf(keeper, sizeof(keeper), "%s/tmem-keeper", build ? build : "build");
	if (getenv("TMEM_TEST_KEEPER"))
		h->daemon.keeper = keeper;
	return daemon_start(&h->daemon, program, args);
}

struct front_config hosting_config(const struct hosting *h, const char *guest,
				   char buf[DAEMON_PATH_MAX])
{
	struct front_config c = FRONT_CONFIG_DEFAULT;
	char name[80];

	snprintf(name, sizeof(name), "%s.sock", guest);
	c.socket = daemon_path(&h->daemon, name, buf);
	c.queue_size = 64;
	c.timeout_ms *= HOSTING_SLOW;
	return c;
}

static char *tag_of(const char *guest, char buf[96])
{
	snprintf(buf, 96, "guest %s:", guest);
	return buf;
}

unsigned hosting_said(const struct hosting *h, const char *guest, const char *text)
{
	char tag[96];

	return daemon_log_count(&h->daemon, tag_of(guest, tag), text, LOG_WAIT_MS);
}

unsigned hosting_lines(const struct hosting *h, const char *guest)
{
	char tag[96];

	return daemon_log_count(&h->daemon, tag_of(guest, tag), "", 0);
}

/* ---- control socket --------------------------------------------------- */

static FILE *control_open(const struct hosting *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char path[DAEMON_PATH_MAX];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *f;

	if (fd < 0)
		return NULL;
	strcpy(a.sun_path, daemon_path(&h->daemon, "control.sock", path));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return NULL;
	}
	f = fdopen(fd, "r+");
	if (!f)
		close(fd);
	return f;
}

json_t *hosting_ask(const struct hosting *h, const char *request)
{
	FILE *f = control_open(h);
	char *line = NULL;
	size_t size = 0;
	json_t *answer = NULL;

	if (!f)
		return NULL;
	if (fprintf(f, "%s\n", request) > 0 && !fflush(f) && getline(&line, &size, f) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	fclose(f);
	if (answer && !json_is_true(json_object_get(answer, "ok"))) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

long long hosting_number(const struct hosting *h, const char *guest, const char *key)
{
	char request[160];
	json_t *answer, *value;
	long long n = -1;

	snprintf(request, sizeof(request), "{\"verb\":\"stats\",\"guest\":\"%s\"}", guest);
	answer = hosting_ask(h, request);
	value = json_object_get(json_array_get(json_object_get(answer, "guests"), 0), key);
	if (json_is_integer(value))
		n = json_integer_value(value);
	json_decref(answer);
	return n;
}

/* ---- the bystander ---------------------------------------------------- */

/* Put a new generation of page n into both pools and read both back. */
static int bystander_round(struct front *f, uint64_t n, uint64_t generation)
{
	uint8_t page[TMEMP_PAGE_SIZE];
	uint64_t seed = generation << 20 | n, tag;
	int r = 0;

	for (uint32_t pool = 0; pool < 2 && !r; pool++) {
		struct front_key key = key_of(pool, n);
		struct front_queue *q = front_queue_of(f, &key);

		page_fill(page, seed + pool);
		r = front_put(q, &key, page, seed);
		if (!r)
			r = front_get(q, &key, page, &tag);
		if (!r && (tag != seed || !page_is(page, seed + pool)))
			r = -EBADMSG;
	}
	return r;
}

static void *bystander(void *arg)
{
	struct hosting *h = arg;
	int r = 0;

	for (uint64_t i = 0; !r && !h->stop; i++) {
		r = bystander_round(h->front, i % BYSTANDER_PAGES, i / BYSTANDER_PAGES);
		if (!r)
			h->rounds++;
		/* Leave the machine to the test; requests still overlap with all it does. */
		usleep(200);
	}
	h->error = r;
	return NULL;
}

int hosting_bystander_start(struct hosting *h, const char *guest)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(h, guest, path);
	int r;

	c.queues = 2;
	r = front_open(&h->front, &c);
	if (r)
		return r;
	r = front_pool_create(h->front, 0, TMEMP_POOL_PERSISTENT);
	if (!r)
		r = front_pool_create(h->front, 1, 0);
	if (!r)
		r = -pthread_create(&h->bystander, NULL, bystander, h);
	h->has_bystander = !r;
	return r;
}

bool hosting_check(struct hosting *h)
{
	uint64_t from = h->rounds;

	for (unsigned ms = 0; h->has_bystander && ms < PROGRESS_MS * HOSTING_SLOW; ms++) {
		if (h->error || h->rounds >= from + 3)
			break;
		usleep(1000);
	}
	if (h->error)
		fprintf(stderr, "bystander: answer %d in round %llu\n", h->error,
			(unsigned long long)h->rounds);
	return daemon_alive(&h->daemon) && !h->error &&
	       (!h->has_bystander || h->rounds >= from + 3);
}

int hosting_stop(struct hosting *h)
{
	int status;

	if (h->has_bystander) {
		h->stop = true;
		pthread_join(h->bystander, NULL);
	}
	if (h->front)
		front_destroy(h->front);
	status = daemon_stop(&h->daemon);
	return h->error ? -1 : status;
}

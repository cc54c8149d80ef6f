// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_disk.c - a guest's disk over its socket: what is written is what is read,
 * in memory, in the spill, over both, and over the end of the daemon.
 *
 * Every test keeps a copy of what the disk should hold and compares; "lots" of
 * random requests are drawn from a seed that is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hosting.h"

#define SECTOR		512u
#define BLOCK		4096u
#define SIZE		(8u << 20)	/* of the disk */
#define SECTORS		(SIZE / SECTOR)
#define REQUEST_MAX	(128u << 10)
#define ROUNDS		(2500u / HOSTING_SLOW)

static struct hosting host;
static char program[4096], dir[] = "/tmp/tmem-disk-XXXXXX", conf[80], arena[80], spill[80];
static uint8_t shadow[SIZE], buffer[REQUEST_MAX];
static uint64_t seed;

/* ---- a daemon with one disk ----------------------------------------------------- */

/* quota: options of the guest's; arena_file and with_spill say what survives where. */
static void conf_write(const char *quota, bool arena_file, bool with_spill)
{
	FILE *f = fopen(conf, "w");

	assert_non_null(f);
	fprintf(f, "[tmemd]\narena = 64M\nlog-level = info\nmemory-policy = off\n");
	if (arena_file)
		fprintf(f, "arena-file = %s\n", arena);
	fprintf(f, "[guest g]\n%sdisk-size = %u\n", quota, SIZE);
	if (with_spill)
		fprintf(f, "disk-spill = %s\n", spill);
	assert_int_equal(fclose(f), 0);
}

static void start(void)
{
	const char *const args[] = { "--config", conf, NULL };

	assert_int_equal(daemon_start(&host.daemon, program, args), 0);
}

static void again(void)
{
	const char *const args[] = { "--config", conf, NULL };

	assert_int_equal(daemon_again(&host.daemon, program, args), 0);
}

static int setup(void **state)
{
	const char *build = getenv("TMEM_BUILD");

	(void)state;
	snprintf(program, sizeof(program), "%s/tmemd", build ? build : "build");
	memset(&host, 0, sizeof(host));
	memset(shadow, 0, sizeof(shadow));
	unlink(arena);
	unlink(spill);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return daemon_stop(&host.daemon);
}

static struct front *disk_make(unsigned queues, bool indirect)
{
	static char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "g-disk", path);
	struct front *f;

	c.disk = true;
	c.queues = queues;
	c.queue_size = 128;
	c.indirect = indirect;
	assert_int_equal(front_create(&f, &c), 0);
	return f;
}

static struct front *disk_open(unsigned queues)
{
	struct front *f = disk_make(queues, true);

	assert_int_equal(front_disk_connect(f, true), 0);
	return f;
}

static long long number(const char *key)
{
	json_t *answer = hosting_ask(&host, "{\"verb\":\"stats\",\"guest\":\"g\"}");
	json_t *guest = json_array_get(json_object_get(answer, "guests"), 0);
	json_t *value = json_object_get(json_object_get(guest, "disk"), key);
	long long n = json_is_integer(value) ? json_integer_value(value) : -1;

	json_decref(answer);
	return n;
}

/* ---- contents ------------------------------------------------------------------ */

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

/* Runs of one byte, of text, or of noise. */
static void scribble(uint8_t *to, uint32_t len)
{
	unsigned look = rnd() % 3;

	for (uint32_t i = 0; i < len; i++)
		to[i] = look == 0 ? (uint8_t)seed : look == 1 ? (uint8_t)"tmem "[i % 5] : (uint8_t)rnd();
}

static int request(struct front_queue *q, uint32_t type, uint64_t sector, void *data, uint32_t len,
		   uint32_t cut)
{
	const struct front_disk_request r = {
		.type = type, .sector = sector, .data = data, .len = len, .cut = cut,
	};

	return front_disk(q, &r);
}

static void write_at(struct front_queue *q, uint64_t sector, uint32_t sectors, uint32_t cut)
{
	scribble(shadow + sector * SECTOR, sectors * SECTOR);
	assert_int_equal(request(q, VIRTIO_BLK_T_OUT, sector, shadow + sector * SECTOR,
				 sectors * SECTOR, cut), VIRTIO_BLK_S_OK);
}

static void read_at(struct front_queue *q, uint64_t sector, uint32_t sectors, uint32_t cut)
{
	memset(buffer, 0xee, sectors * SECTOR);
	assert_int_equal(request(q, VIRTIO_BLK_T_IN, sector, buffer, sectors * SECTOR, cut),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(buffer, shadow + sector * SECTOR, sectors * SECTOR);
}

static void read_all(struct front_queue *q)
{
	for (uint64_t at = 0; at < SECTORS; at += REQUEST_MAX / SECTOR)
		read_at(q, at, REQUEST_MAX / SECTOR, 0);
}

static int drop(struct front_queue *q, uint32_t type, uint64_t sector, uint32_t sectors,
		uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = htole64(sector), .num_sectors = htole32(sectors), .flags = htole32(flags),
	};

	return request(q, type, 0, &range, sizeof(range), 0);
}

static void zero_at(struct front_queue *q, uint64_t sector, uint32_t sectors)
{
	memset(shadow + sector * SECTOR, 0, sectors * SECTOR);
	assert_int_equal(drop(q, VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors, rnd() & 1), 0);
}

/* Whole blocks become zeroes; what is not whole may become what it likes: here it stays. */
static void discard_at(struct front_queue *q, uint64_t sector, uint32_t sectors)
{
	uint64_t first = (sector + 7) / 8 * 8, end = (sector + sectors) / 8 * 8;

	if (first < end)
		memset(shadow + first * SECTOR, 0, (end - first) * SECTOR);
	assert_int_equal(drop(q, VIRTIO_BLK_T_DISCARD, sector, sectors, 0), 0);
}

static void anything(struct front_queue *q)
{
	uint32_t sectors = 1 + rnd() % (rnd() % 4 ? 24 : REQUEST_MAX / SECTOR);
	uint64_t sector = rnd() % (SECTORS - sectors + 1);
	uint32_t cut = rnd() % 2 ? 0 : 100 + rnd() % 5000;
	unsigned what = rnd() % 16;

	while (cut && sectors * SECTOR / cut > 100)
		cut *= 2;
	if (rnd() % 2)
		sector = sector / 8 * 8;
	if (what < 7)
		write_at(q, sector, sectors, cut);
	else if (what < 13)
		read_at(q, sector, sectors, cut);
	else if (what == 13)
		zero_at(q, sector, sectors);
	else if (what == 14)
		discard_at(q, sector, sectors);
	else
		assert_int_equal(request(q, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, 0), 0);
}

static void lots(struct front *f, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		anything(&f->queue[rnd() % f->queues]);
}

/* Blocks 0 to n - 1 full of noise, which no codec makes smaller. */
static void noise(struct front_queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 4096; k++)
			shadow[i * 4096 + k] = (uint8_t)rnd();
		assert_int_equal(request(q, VIRTIO_BLK_T_OUT, i * 8, shadow + i * 4096, 4096, 0), 0);
	}
}

/* ---- in memory ------------------------------------------------------------------- */

static void test_what_the_driver_is_told(void **state)
{
	struct virtio_blk_config c;
	char id[VIRTIO_BLK_ID_BYTES];
	struct front *f;

	(void)state;
	conf_write("", false, false);
	start();
	f = disk_open(4);
	assert_int_equal(front_disk_config(f, &c, sizeof(c)), 0);
	assert_int_equal(le64toh(c.capacity), SECTORS);
	assert_int_equal(le32toh(c.blk_size), 4096);
	assert_int_equal(le16toh(c.num_queues), 16);
	assert_int_equal(le32toh(c.discard_sector_alignment), 8);
	assert_int_equal(request(&f->queue[0], VIRTIO_BLK_T_GET_ID, 0, id, sizeof(id), 0), 0);
	assert_string_equal(id, "g");
	read_all(&f->queue[3]);
	assert_int_equal(number("memory_bytes"), 0);
	front_destroy(f);
}

static void test_any_alignment(void **state)
{
	struct front *f;

	(void)state;
	conf_write("", false, false);
	start();
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		f = disk_make(4, indirect);
		assert_int_equal(front_disk_connect(f, true), 0);
		lots(f, ROUNDS / 2);
		read_all(&f->queue[1]);
		front_destroy(f);
	}
	assert_int_equal(number("spilled_bytes"), 0);
	assert_int_equal(number("errors"), 0);
}

static void test_dropped_blocks_cost_nothing(void **state)
{
	struct front *f;

	(void)state;
	conf_write("", false, false);
	start();
	f = disk_open(1);
	noise(&f->queue[0], SIZE / 8192);
	assert_true(number("memory_bytes") == SIZE / 2);
	discard_at(&f->queue[0], 0, SECTORS);
	assert_int_equal(number("memory_bytes"), 0);
	read_all(&f->queue[0]);
	front_destroy(f);
}

/* ---- what no disk can do ------------------------------------------------------------ */

static void test_bad_requests(void **state)
{
	struct virtio_blk_discard_write_zeroes many[17] = { { 0 } };
	struct front_queue *q;
	struct front *f;

	(void)state;
	conf_write("", false, false);
	start();
	f = disk_open(1);
	q = &f->queue[0];
	write_at(q, 0, 64, 0);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		assert_int_equal(request(q, type, SECTORS, buffer, 512, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, SECTORS - 1, buffer, 1024, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, UINT64_MAX, buffer, 512, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, UINT64_MAX / 512, buffer, 4096, 0),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, 0, buffer, 513, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, 0, buffer, 511, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(q, type, 0, NULL, 0, 0), VIRTIO_BLK_S_OK);
	}
	assert_int_equal(request(q, 77, 0, buffer, 512, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(drop(q, VIRTIO_BLK_T_DISCARD, SECTORS - 8, 16, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(drop(q, VIRTIO_BLK_T_DISCARD, UINT64_MAX - 3, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(drop(q, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(drop(q, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(drop(q, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(q, VIRTIO_BLK_T_DISCARD, 0, many, sizeof(many), 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(q, VIRTIO_BLK_T_DISCARD, 0, many, 15, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(q, VIRTIO_BLK_T_DISCARD, 0, NULL, 0, 0), VIRTIO_BLK_S_IOERR);
	read_all(q);
	assert_int_equal(number("errors"), 21);
	front_destroy(f);
}

/* ---- the spill ---------------------------------------------------------------------- */

static const char little[] = "persistent-max = 1M\n";

static void test_over_memory_and_spill(void **state)
{
	struct front *f;

	(void)state;
	conf_write(little, false, true);
	start();
	f = disk_open(4);
	noise(&f->queue[0], 1000);
	lots(f, ROUNDS);
	read_all(&f->queue[0]);
	assert_true(number("spilled_bytes") > 0);
	assert_true(number("memory_bytes") > 0);
	assert_int_equal(number("errors"), 0);
	discard_at(&f->queue[0], 0, SECTORS);
	assert_int_equal(number("spilled_bytes"), 0);
	read_all(&f->queue[0]);
	front_destroy(f);
}

/* Writers of different sectors of the same blocks, the mover among them. */
#define WRITERS	4u
#define SHARED	6u		/* blocks they share */

struct writer {
	pthread_t thread;
	struct front_queue *queue;
	unsigned index;
	uint8_t sector[SHARED][SECTOR];	/* what its sector of each block holds */
	int error;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	uint64_t state = w->index + 1;
	uint8_t back[SECTOR];

	for (unsigned i = 0; i < 4000 / HOSTING_SLOW && !w->error; i++) {
		unsigned block, at;

		state = state * 6364136223846793005ull + 1442695040888963407ull;
		block = (unsigned)(state >> 33) % SHARED;
		at = block * 8 + w->index;
		for (unsigned k = 0; k < SECTOR; k++) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			w->sector[block][k] = (uint8_t)(state >> 40);
		}
		if (request(w->queue, VIRTIO_BLK_T_OUT, at, w->sector[block], SECTOR, 0) ||
		    request(w->queue, VIRTIO_BLK_T_IN, at, back, SECTOR, 0) ||
		    memcmp(back, w->sector[block], SECTOR))
			w->error = 1;
	}
	return NULL;
}

static void test_neighbours_in_a_block(void **state)
{
	static struct writer writer[WRITERS];
	struct front *f;

	(void)state;
	memset(writer, 0, sizeof(writer));
	conf_write("persistent-max = 16K\n", false, true);
	start();
	f = disk_open(WRITERS);
	for (unsigned i = 0; i < WRITERS; i++) {
		writer[i].index = i;
		writer[i].queue = &f->queue[i];
		assert_int_equal(pthread_create(&writer[i].thread, NULL, writer_main, &writer[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writer[i].thread, NULL);
		assert_int_equal(writer[i].error, 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		for (unsigned block = 0; block < SHARED; block++)
			memcpy(shadow + block * 4096 + i * SECTOR, writer[i].sector[block], SECTOR);
	}
	assert_true(number("blocks_refused") > 0);
	read_all(&f->queue[0]);
	front_destroy(f);
}

static void test_comes_back_when_there_is_room(void **state)
{
	struct front *f;
	json_t *answer;
	unsigned i;

	(void)state;
	conf_write(little, false, true);
	start();
	f = disk_open(1);
	noise(&f->queue[0], 1000);
	assert_true(number("spilled_bytes") > 2 << 20);
	answer = hosting_ask(&host, "{\"verb\":\"set\",\"guest\":\"g\","
				    "\"values\":{\"persistent-max\":\"none\"}}");
	assert_non_null(answer);
	json_decref(answer);
	/* As long as it comes: the mover waits longer after each refusal. */
	for (i = 0; i < 300 * HOSTING_SLOW && number("spilled_bytes"); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	assert_int_equal(number("spilled_bytes"), 0);
	assert_true(number("blocks_moved_back") > 500);
	assert_int_equal(number("memory_bytes"), 1000 * 4096);
	read_all(&f->queue[0]);
	front_destroy(f);
}

static void test_no_spill_is_an_error(void **state)
{
	unsigned failed = 0;
	struct front *f;

	(void)state;
	conf_write(little, false, false);
	start();
	f = disk_open(1);
	for (unsigned i = 0; i < 1000; i++) {
		for (unsigned k = 0; k < 4096; k++)
			buffer[k] = (uint8_t)rnd();
		if (request(&f->queue[0], VIRTIO_BLK_T_OUT, i % 500 * 8, buffer, 4096, 0))
			failed++;
		else
			memcpy(shadow + i % 500 * 4096, buffer, 4096);
	}
	assert_true(failed > 100);
	/* What a failed write was to replace is still there. */
	read_all(&f->queue[0]);
	front_destroy(f);
}

/* Noise everywhere, until many writes failed; what they were to replace is there. */
static void write_until_full(struct front_queue *q)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t at = rnd() % (SIZE / 4096);

		for (unsigned k = 0; k < 4096; k++)
			buffer[k] = (uint8_t)rnd();
		if (request(q, VIRTIO_BLK_T_OUT, at * 8, buffer, 4096, 0))
			failed++;
		else
			memcpy(shadow + at * 4096, buffer, 4096);
	}
	assert_true(failed > 100);
	assert_true(number("spill_errors") >= failed);
	read_all(q);
}

static void test_spill_too_long(void **state)
{
	struct rlimit limit = { .rlim_cur = 2 << 20, .rlim_max = RLIM_INFINITY };
	struct front *f;

	(void)state;
	conf_write(little, false, true);
	start();
	f = disk_open(1);
	noise(&f->queue[0], 1000);
	assert_int_equal(prlimit(host.daemon.pid, RLIMIT_FSIZE, &limit, NULL), 0);
	write_until_full(&f->queue[0]);
	front_destroy(f);
}

/* A file system of 2 MiB that only this process and its daemon see. */
static bool small_mounted(const char *at)
{
	return mkdir(at, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", at, "tmpfs", 0, "size=2m") == 0;
}

static void small_unmount(const char *at)
{
	umount2(at, MNT_DETACH);
	rmdir(at);
}

static void test_full_spill(void **state)
{
	char small[80], usual[sizeof(spill)];
	struct front *f;

	(void)state;
	snprintf(small, sizeof(small), "%s/small", dir);
	if (!small_mounted(small)) {
		small_unmount(small);
		skip();		/* not root */
	}
	strcpy(usual, spill);
	snprintf(spill, sizeof(spill), "%s/small/spill", dir);
	conf_write(little, false, true);
	start();
	f = disk_open(1);
	write_until_full(&f->queue[0]);
	/* When there is room again, all is as it was before. */
	discard_at(&f->queue[0], 0, SECTORS);
	noise(&f->queue[0], 300);
	assert_true(number("spilled_bytes") > 0);
	read_all(&f->queue[0]);
	front_destroy(f);
	assert_int_equal(daemon_end(&host.daemon), 0);
	strcpy(spill, usual);
	small_unmount(small);
}

static void test_foreign_spill(void **state)
{
	const char *const args[] = { "--config", conf, NULL };
	struct stat before, after;
	FILE *other;

	(void)state;
	conf_write("", false, false);
	start();
	daemon_end(&host.daemon);
	other = fopen(spill, "w");
	assert_non_null(other);
	fprintf(other, "somebody's only copy\n");
	fclose(other);
	assert_int_equal(stat(spill, &before), 0);
	conf_write("", false, true);
	assert_int_not_equal(daemon_again(&host.daemon, program, args), 0);
	assert_int_equal(daemon_log_count(&host.daemon, "guest g", "not the spill file", 0), 1);
	assert_int_equal(stat(spill, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	unlink(spill);
	again();
}

/* Write, leave, and come back as another VMM would. */
static int outsider_returns(void)
{
	struct front *f = disk_open(1);
	int err;

	memset(buffer, 'x', BLOCK);
	err = request(&f->queue[0], VIRTIO_BLK_T_OUT, 0, buffer, BLOCK, 0);
	front_destroy(f);
	if (err)
		return 1;
	f = disk_open(1);
	err = request(&f->queue[0], VIRTIO_BLK_T_IN, 0, buffer, BLOCK, 0);
	front_destroy(f);
	return err ? 2 : buffer[0] || memcmp(buffer, buffer + 1, BLOCK - 1) ? 3 : 0;
}

/* A VMM whose process the daemon cannot see leaves nothing to whoever comes next. */
static void test_vmm_of_another_namespace(void **state)
{
	const int skipped = 255;
	int status, wrong;
	pid_t pid;

	(void)state;
	conf_write("", false, false);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(skipped);
		start();
		wrong = outsider_returns();
		_exit(daemon_stop(&host.daemon) ? 4 : wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == skipped)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the end of the daemon ------------------------------------------------------------ */

static void test_ended_and_started_again(void **state)
{
	struct front *f;

	(void)state;
	conf_write(little, true, true);
	start();
	f = disk_open(2);
	noise(&f->queue[0], 1000);
	for (unsigned i = 0; i < 3; i++) {
		lots(f, ROUNDS / 4);
		assert_int_equal(daemon_end(&host.daemon), 0);
		front_disconnect(f);
		again();
		assert_int_equal(front_disk_connect(f, false), 0);
		read_all(&f->queue[0]);
	}
	assert_true(number("spilled_bytes") > 0);
	front_destroy(f);
}

/* Killed with a write on its way: the next one serves it. */
static void test_killed_with_requests_in_flight(void **state)
{
	struct front *f;

	(void)state;
	conf_write(little, true, true);
	start();
	f = disk_open(2);
	lots(f, ROUNDS / 4);
	for (unsigned i = 0; i < 5; i++) {
		struct front_disk_request r[2];

		for (unsigned n = 0; n < 2; n++) {
			uint32_t at = n * SIZE / 2 + rnd() % 30 * REQUEST_MAX;

			scribble(shadow + at, REQUEST_MAX);
			r[n] = (struct front_disk_request){
				.type = VIRTIO_BLK_T_OUT, .sector = at / SECTOR,
				.data = shadow + at, .len = REQUEST_MAX,
			};
			assert_int_equal(front_disk_begin(&f->queue[n], &r[n]), 0);
		}
		nanosleep(&(struct timespec){ .tv_nsec = (long)(rnd() % 1000000) }, NULL);
		daemon_kill(&host.daemon);
		front_disconnect(f);
		again();
		assert_int_equal(front_disk_connect(f, false), 0);
		assert_int_equal(front_disk_end(&f->queue[0], &r[0]), 0);
		assert_int_equal(front_disk_end(&f->queue[1], &r[1]), 0);
		read_all(&f->queue[i % 2]);
	}
	front_destroy(f);
}

/* A keeper has the arena, and starts the next daemon by itself. */
static void test_killed_under_a_keeper(void **state)
{
	static char keeper[4096];
	const char *build = getenv("TMEM_BUILD");
	struct front *f;

	(void)state;
	snprintf(keeper, sizeof(keeper), "%s/tmem-keeper", build ? build : "build");
	conf_write(little, false, true);
	host.daemon.keeper = keeper;
	start();
	f = disk_open(2);
	noise(&f->queue[0], 500);
	for (unsigned i = 0; i < 3; i++) {
		pid_t was = daemon_kept(&host.daemon);
		unsigned tries = 0;

		lots(f, ROUNDS / 8);
		assert_true(was > 0);
		kill(was, SIGKILL);
		assert_true(front_closed(f, 10000));
		front_disconnect(f);
		/* As QEMU does: again and again until somebody listens. */
		while (front_disk_connect(f, false) && tries++ < 2000)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
		read_all(&f->queue[i % 2]);
	}
	front_destroy(f);
}

/* The arena went with the daemon: errors, not zeroes, until the driver begins anew. */
static void test_lost(void **state)
{
	struct front *f;

	(void)state;
	conf_write(little, false, true);
	start();
	f = disk_open(1);
	noise(&f->queue[0], 500);
	daemon_kill(&host.daemon);
	front_disconnect(f);
	again();
	assert_int_equal(front_disk_connect(f, false), 0);
	assert_int_equal(hosting_said(&host, "g", "is lost"), 1);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(request(&f->queue[0], VIRTIO_BLK_T_IN, i * 8, buffer, 4096, 0),
				 VIRTIO_BLK_S_IOERR);
	write_at(&f->queue[0], 16, 8, 0);
	read_at(&f->queue[0], 16, 8, 0);
	front_disconnect(f);
	assert_int_equal(front_disk_connect(f, true), 0);
	memset(shadow, 0, 8192);
	memset(shadow + 12288, 0, SIZE - 12288);
	read_all(&f->queue[0]);
	front_destroy(f);
}

/* ---- VMMs ------------------------------------------------------------------------------- */

/* In a process of its own: connect, write, say so, wait to be told to end. */
static pid_t other_vmm(int *said, int *end)
{
	int up[2], down[2];
	pid_t pid;
	char byte = 0;

	assert_int_equal(pipe(up) | pipe(down), 0);
	pid = fork();
	if (!pid) {
		struct front *f;

		close(down[1]);
		f = disk_make(1, true);
		if (front_disk_connect(f, true))
			_exit(1);
		memset(buffer, 7, 4096);
		if (request(&f->queue[0], VIRTIO_BLK_T_OUT, 0, buffer, 4096, 0))
			_exit(2);
		front_disconnect(f);
		_exit(write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) != 0);
	}
	close(down[0]);
	close(up[1]);
	*said = up[0];
	*end = down[1];
	return pid;
}

static void test_goes_with_its_vmm(void **state)
{
	int said, end, status;
	struct front *f;
	char byte;
	pid_t pid;

	(void)state;
	conf_write("", false, true);
	start();
	pid = other_vmm(&said, &end);
	assert_int_equal(read(said, &byte, 1), 1);
	f = disk_make(1, true);
	/* Its disk waits for it. */
	assert_int_not_equal(front_disk_connect(f, true), 0);
	assert_int_equal(number("memory_bytes"), 4096);
	close(end);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	front_disconnect(f);
	assert_int_equal(front_disk_connect(f, true), 0);
	read_all(&f->queue[0]);
	close(said);
	front_destroy(f);
}

static void test_kept_for_the_next_vmm(void **state)
{
	int said, end, status;
	struct front *f;
	char byte;
	pid_t pid;

	(void)state;
	conf_write("disk-keep = yes\n", false, true);
	start();
	pid = other_vmm(&said, &end);
	assert_int_equal(read(said, &byte, 1), 1);
	close(end);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	f = disk_open(1);
	memset(shadow, 7, 4096);
	read_all(&f->queue[0]);
	close(said);
	front_destroy(f);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_the_driver_is_told),
		TEST(test_any_alignment),
		TEST(test_dropped_blocks_cost_nothing),
		TEST(test_bad_requests),
		TEST(test_over_memory_and_spill),
		TEST(test_neighbours_in_a_block),
		TEST(test_comes_back_when_there_is_room),
		TEST(test_no_spill_is_an_error),
		TEST(test_spill_too_long),
		TEST(test_full_spill),
		TEST(test_foreign_spill),
		TEST(test_ended_and_started_again),
		TEST(test_killed_with_requests_in_flight),
		cmocka_unit_test_setup(test_vmm_of_another_namespace, setup),
		TEST(test_killed_under_a_keeper),
		TEST(test_lost),
		TEST(test_goes_with_its_vmm),
		TEST(test_kept_for_the_next_vmm),
	};
	const char *given = getenv("TMEM_SEED");
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(conf, sizeof(conf), "%s/tmemd.conf", dir);
	snprintf(arena, sizeof(arena), "%s/arena", dir);
	snprintf(spill, sizeof(spill), "%s/spill", dir);
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	print_message("# TMEM_SEED=%llu\n", (unsigned long long)seed);
	seed = seed * 0x9e3779b97f4a7c15ull + 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(conf);
	unlink(arena);
	unlink(spill);
	strcat(arena, ".state");
	unlink(arena);
	rmdir(dir);
	return failed;
}

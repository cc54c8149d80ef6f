// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_hung_spill.c - one guest's spill file is on a disk that does not answer.
 *
 * While it hangs, another guest's ring, another guest's disk, the ring of the very
 * guest and the control socket go on, with the right contents; when it answers, the
 * request that waited is done and nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bad_day.h"
#include "hosting.h"

#define BLOCK		4096u
#define BLOCKS		1000u		/* of a disk, a quarter of which memory takes */
#define PAGES		200u

static struct hosting host;
static struct bad_libc *day;
static char dir[] = "/tmp/tmem-hung-XXXXXX", conf[64], spill[64];

/* Noise that place and version determine. */
static void block_fill(uint8_t *block, uint64_t at, uint64_t version)
{
	uint64_t state = at << 32 | version;

	for (unsigned i = 0; i < BLOCK; i += 8) {
		uint64_t word = random_next(&state) * 0x2545f4914f6cdd1dull;

		memcpy(block + i, &word, sizeof(word));
	}
}

static int block_request(struct front_queue *q, uint32_t type, uint64_t at, uint8_t *block)
{
	const struct front_disk_request r = {
		.type = type, .sector = at * (BLOCK / 512), .data = block, .len = BLOCK,
	};

	return front_disk(q, &r);
}

static void block_write(struct front_queue *q, uint64_t at, uint64_t version)
{
	uint8_t block[BLOCK];

	block_fill(block, at, version);
	assert_int_equal(block_request(q, VIRTIO_BLK_T_OUT, at, block), VIRTIO_BLK_S_OK);
}

static bool block_is(struct front_queue *q, uint64_t at, uint64_t version)
{
	uint8_t block[BLOCK], expected[BLOCK];

	block_fill(expected, at, version);
	assert_int_equal(block_request(q, VIRTIO_BLK_T_IN, at, block), VIRTIO_BLK_S_OK);
	return !memcmp(block, expected, BLOCK);
}

static struct front *disk_open(const char *socket)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, socket, path);
	struct front *f;

	c.disk = true;
	assert_int_equal(front_create(&f, &c), 0);
	assert_int_equal(front_disk_connect(f, true), 0);
	return f;
}

/* ---- two guests with disks, one without ---------------------------------------------- */

static void conf_write(void)
{
	FILE *f = fopen(conf, "w");

	assert_non_null(f);
	fprintf(f, "[tmemd]\nmemory-policy = off\nspill-dir = %s\n", dir);
	fprintf(f, "[guest hung]\npersistent-max = 1M\ndisk-size = %u\ndisk-spill = %s\n",
		BLOCKS * BLOCK, spill);
	fprintf(f, "[guest well]\npersistent-max = 1M\ndisk-size = %u\n", BLOCKS * BLOCK);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	static const char *const guests[] = { "by", NULL };
	const char *const more[] = { "--config", conf, NULL };

	(void)state;
	conf_write();
	day = bad_day_begin();
	assert_non_null(day);
	assert_int_equal(hosting_start(&host, guests, more), 0);
	bad_day_begun();
	return hosting_bystander_start(&host, "by");
}

static int teardown(void **state)
{
	int status;

	(void)state;
	day->hang = 0;
	status = hosting_stop(&host);
	bad_day_end(day);
	return status;
}

/* From now on; with one request that waits for it, which memory has no room for. */
static void hang(struct front *f, struct front_disk_request *r, uint8_t block[BLOCK])
{
	struct stat st;

	for (unsigned at = 0; at < BLOCKS; at++)
		block_write(&f->queue[0], at, 0);
	assert_int_equal(stat(spill, &st), 0);
	day->hang = (uint32_t)st.st_ino;
	block_fill(block, BLOCKS - 1, 1);
	*r = (struct front_disk_request){
		.type = VIRTIO_BLK_T_OUT, .sector = (BLOCKS - 1) * (BLOCK / 512),
		.data = block, .len = BLOCK,
	};
	assert_int_equal(front_disk_begin(&f->queue[0], r), 0);
	for (unsigned i = 0; i < 1000 && !day->hung; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	assert_true(day->hung > 0);
}

static void ring_goes_on(const char *guest)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, guest, path);
	uint8_t page[TMEMP_PAGE_SIZE];
	struct front *f;
	uint64_t tag;

	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, 0), TMEMP_OK);
	for (uint64_t n = 0; n < PAGES; n++) {
		struct front_key key = key_of(0, n);

		page_fill(page, n);
		assert_int_equal(front_put(&f->queue[0], &key, page, n), TMEMP_OK);
		assert_int_equal(front_get(&f->queue[0], &key, page, &tag), TMEMP_OK);
		assert_true(page_is(page, n));
	}
	front_destroy(f);
}

static void all_others_go_on(void)
{
	struct front *f = disk_open("well-disk");
	json_t *answer;

	for (unsigned at = 0; at < BLOCKS; at++)
		block_write(&f->queue[0], at, 7);
	for (unsigned at = 0; at < BLOCKS; at++)
		assert_true(block_is(&f->queue[0], at, 7));
	front_destroy(f);
	ring_goes_on("well");
	ring_goes_on("hung");
	answer = hosting_ask(&host, "{\"verb\":\"stats\"}");
	assert_non_null(answer);
	json_decref(answer);
	assert_true(hosting_check(&host));
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_holds_up_nobody_else(void **state)
{
	struct front *f = disk_open("hung-disk");
	struct front_disk_request r;
	uint8_t block[BLOCK];

	(void)state;
	hang(f, &r, block);
	all_others_go_on();
	assert_true(day->hung > 0);
	assert_int_equal(f->queue[0].used->idx, f->queue[0].used_idx);
	day->hang = 0;
	assert_int_equal(front_disk_end(&f->queue[0], &r), VIRTIO_BLK_S_OK);
	for (unsigned at = 0; at < BLOCKS; at++)
		assert_true(block_is(&f->queue[0], at, at == BLOCKS - 1));
	front_destroy(f);
}

/* A request that nobody was told the end of may have been done or not. */
static void test_vmm_leaves_meanwhile(void **state)
{
	struct front *f = disk_open("hung-disk");
	struct front_disk_request r;
	uint8_t block[BLOCK];

	(void)state;
	hang(f, &r, block);
	front_destroy(f);
	all_others_go_on();
	assert_true(day->hung > 0);
	day->hang = 0;
	f = disk_open("hung-disk");
	for (unsigned at = 0; at < BLOCKS - 1; at++)
		assert_true(block_is(&f->queue[0], at, 0));
	assert_true(block_is(&f->queue[0], BLOCKS - 1, 0) || block_is(&f->queue[0], BLOCKS - 1, 1));
	front_destroy(f);
}

static void test_sanitized(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_holds_up_nobody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vmm_leaves_meanwhile, setup, teardown),
	};
	const struct CMUnitTest none[] = { cmocka_unit_test(test_sanitized) };
	char own[64];
	int failed;

	if (HOSTING_SLOW > 1)
		return cmocka_run_group_tests_name("hung_spill", none, NULL, NULL);
	if (!mkdtemp(dir))
		return 1;
	snprintf(conf, sizeof(conf), "%s/tmemd.conf", dir);
	snprintf(spill, sizeof(spill), "%s/hung", dir);
	snprintf(own, sizeof(own), "%s/well.spill", dir);
	failed = cmocka_run_group_tests_name("hung_spill", tests, NULL, NULL);
	unlink(conf);
	unlink(spill);
	unlink(own);
	rmdir(dir);
	return failed;
}

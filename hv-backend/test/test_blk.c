// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_blk.c - chains that no good driver makes, served by a disk; and the file
 * behind it, step by step.
 *
 * One thread: a ring in rig's memory, a disk of a few blocks, no daemon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blk.h"
#include "inflight.h"
#include "rig.h"

#define BLOCKS	64u
#define HEADER	0x30000u	/* offsets in the guest's memory */
#define STATUS	0x31000u
#define DATA	0x40000u
#define NONE	0xee

struct fixture {
	int arena;
	struct tmem *core;
	struct tmem_client *client;
	struct session_worker worker;
	struct rig rig;
	struct queue_set set;
	struct rig_ring ring;
	struct blocks blocks;
	struct blk blk;
	unsigned spilled;
	char path[64];
};

static struct fixture f;

static void on_spilled(void *arg)
{
	(void)arg;
	f.spilled++;
}

static void on_fault(void *arg)
{
	(void)arg;
}

static void core_open(void)
{
	struct tmem_config config = { .arena_max = 8u << 20 };
	struct tmem_pool_spec spec = { .kind = TMEM_PERSISTENT };

	f.arena = memfd_create("arena", MFD_CLOEXEC);
	config.arena_fd = f.arena;
	assert_int_equal(tmem_create(&f.core, &config), 0);
	assert_int_equal(tmem_client_create(f.core, "guest", &f.client), 0);
	assert_int_equal(tmem_pool_create(f.client, BLOCKS_POOL, &spec), 0);
	assert_int_equal(tmem_ctx_create(f.core, &f.worker.ctx), 0);
	f.worker.turn_ns = UINT64_MAX;
}

static int setup(void **state)
{
	struct worker *const none[1] = { NULL };

	(void)state;
	f.spilled = 0;
	core_open();
	rig_open(&f.rig);
	blocks_init(&f.blocks, f.client, BLOCKS);
	f.blocks.spilled = on_spilled;
	blk_init(&f.blk, &f.blocks, "a name longer than twenty bytes", 1, 512);
	queue_set_init_device(&f.set, 1, none, &blk_service, &f.blk, on_fault, NULL);
	assert_int_equal(queue_set_memory(&f.set, rig_map, &f.rig), 0);
	f.ring = rig_ring(&f.rig, 0);
	assert_int_equal(queue_start(&f.set.queue[0], &f.ring.place, 0), 0);
	strcpy(f.path, "/tmp/tmem-blk-XXXXXX");
	close(mkstemp(f.path));
	unlink(f.path);
	return 0;
}

static int teardown(void **state)
{
	bool valid = tmem_is_valid(f.core, NULL, 0);

	(void)state;
	queue_stop(&f.set.queue[0]);
	queue_set_fini(&f.set);
	blocks_fini(&f.blocks);
	tmem_ctx_destroy(f.worker.ctx);
	tmem_destroy(f.core);
	close(f.arena);
	rig_close(&f.rig);
	unlink(f.path);
	return valid ? 0 : -1;
}

/* ---- chains ---------------------------------------------------------------------- */

static void header_set(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = htole32(type), .sector = htole64(sector) };

	memcpy(f.rig.mem + HEADER, &h, sizeof(h));
	f.rig.mem[STATUS] = NONE;
}

struct piece {
	uint64_t addr;
	uint32_t len;
	bool write;
};

/* Serve a chain of these; used.len. */
static uint32_t serve(const struct piece *p, unsigned n)
{
	uint32_t len = 0;

	for (unsigned i = 0; i < n; i++)
		rig_desc(&f.ring, i, p[i].addr, p[i].len,
			 (uint16_t)((p[i].write ? TMEMP_DESC_WRITE : 0) |
				    (i + 1 < n ? TMEMP_DESC_NEXT : 0)), (uint16_t)(i + 1));
	rig_avail(&f.ring, 0);
	assert_int_equal(queue_serve(&f.set.queue[0], &f.worker, 8), 1);
	assert_int_equal(rig_used(&f.ring, &len), 0);
	return len;
}

static uint8_t status(void)
{
	return f.rig.mem[STATUS];
}

#define HEAD	{ rig_addr(HEADER), 16, false }
#define TAIL	{ rig_addr(STATUS), 1, true }
#define SERVE(...) serve((const struct piece[]){ __VA_ARGS__ },				\
			 sizeof((const struct piece[]){ __VA_ARGS__ }) / sizeof(struct piece))

static void test_cut_anywhere(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_OUT, 1);
	memset(f.rig.mem + DATA, 0x5a, 512);
	/* A header in three, the last with the first bytes of the data; an empty part. */
	memcpy(f.rig.mem + DATA - 6, f.rig.mem + HEADER + 10, 6);
	assert_int_equal(SERVE({ rig_addr(HEADER), 1, false }, { rig_addr(HEADER + 1), 9, false },
			       { rig_addr(DATA - 6), 6 + 100, false }, { rig_addr(DATA), 0, false },
			       { rig_addr(DATA + 100), 412, false }, TAIL), 1);
	assert_int_equal(status(), VIRTIO_BLK_S_OK);
	/* Back, with the status at the end of the data's last part. */
	header_set(VIRTIO_BLK_T_IN, 1);
	memset(f.rig.mem + DATA, 0, 512);
	f.rig.mem[DATA + 512] = NONE;
	assert_int_equal(SERVE(HEAD, { rig_addr(DATA), 7, true }, { rig_addr(DATA + 7), 506, true }),
			 513);
	assert_int_equal(f.rig.mem[DATA + 512], VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(f.rig.mem[DATA + i], 0x5a);
}

static void test_no_place_for_a_status(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_FLUSH, 0);
	assert_int_equal(SERVE(HEAD), 0);
	assert_int_equal(SERVE(HEAD, { rig_addr(STATUS), 0, true }), 0);
	assert_int_equal(SERVE(HEAD, { 0xdead0000, 1, true }), 0);
	assert_int_equal(SERVE(HEAD, { UINT64_MAX, 1, true }), 0);
	assert_int_equal(status(), NONE);
	assert_int_equal(f.blk.errors, 2);
}

static void test_no_whole_header(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_IN, 0);
	SERVE({ rig_addr(HEADER), 15, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_IN, 0);
	SERVE(TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_IN, 0);
	SERVE({ 0xdead0000, 16, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
}

static void test_data_outside_memory(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_OUT, 0);
	SERVE(HEAD, { 0xdead0000, 4096, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_OUT, 0);
	SERVE(HEAD, { UINT64_MAX - 100, 4096, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_IN, 0);
	assert_int_equal(SERVE(HEAD, { rig_addr(DATA), 512, true }, { 0xdead0000, 512, true }, TAIL),
			 512);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blocks_in_memory(&f.blocks), 0);
}

static void test_lengths_that_add_up_to_too_much(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_IN, 0);
	SERVE(HEAD, { rig_addr(DATA), UINT32_MAX - 511, true }, { rig_addr(DATA), UINT32_MAX, true },
	      { rig_addr(DATA), UINT32_MAX, true }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_OUT, UINT64_MAX - 7);
	SERVE(HEAD, { rig_addr(DATA), 4096, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	header_set(VIRTIO_BLK_T_OUT, 1ull << 55);
	SERVE(HEAD, { rig_addr(DATA), 4096, false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
}

static void test_get_id(void **state)
{
	(void)state;
	header_set(VIRTIO_BLK_T_GET_ID, 0);
	memset(f.rig.mem + DATA, NONE, 64);
	/* More room than it needs: what is not written is not claimed. */
	assert_int_equal(SERVE(HEAD, { rig_addr(DATA), 64, true }, TAIL), 20);
	assert_int_equal(status(), VIRTIO_BLK_S_OK);
	assert_memory_equal(f.rig.mem + DATA, "a name longer than t", 20);
	assert_int_equal(f.rig.mem[DATA + 20], NONE);
	header_set(VIRTIO_BLK_T_GET_ID, 0);
	assert_int_equal(SERVE(HEAD, { rig_addr(DATA), 5, true }, TAIL), 6);
	header_set(VIRTIO_BLK_T_GET_ID, 0);
	assert_int_equal(SERVE(HEAD, TAIL), 1);
}

/* Nothing of a list with one bad range is carried out. */
static void test_drops_all_or_nothing(void **state)
{
	struct virtio_blk_discard_write_zeroes r[2] = {
		{ .sector = htole64(0), .num_sectors = htole32(8) },
		{ .sector = htole64(BLOCKS * 8), .num_sectors = htole32(8) },
	};
	uint8_t page[BLOCKS_BYTES] = { 1 };

	(void)state;
	assert_int_equal(blocks_write(&f.blocks, f.worker.ctx, 0, page), 0);
	memcpy(f.rig.mem + DATA, r, sizeof(r));
	header_set(VIRTIO_BLK_T_DISCARD, 0);
	SERVE(HEAD, { rig_addr(DATA), sizeof(r), false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blocks_in_memory(&f.blocks), 1);
	header_set(VIRTIO_BLK_T_DISCARD, 0);
	SERVE(HEAD, { rig_addr(DATA), sizeof(r[0]), false }, TAIL);
	assert_int_equal(status(), VIRTIO_BLK_S_OK);
	assert_int_equal(blocks_in_memory(&f.blocks), 0);
}

static void test_a_broken_ring_fails_the_connection_alone(void **state)
{
	unsigned index;

	(void)state;
	rig_desc(&f.ring, 0, rig_addr(HEADER), 16, TMEMP_DESC_NEXT, 0);
	rig_avail(&f.ring, 0);
	assert_int_equal(queue_serve(&f.set.queue[0], &f.worker, 8), 0);
	assert_non_null(queue_set_fault(&f.set, &index));
}

/* Noted in the region when the host died: served again, then the rest of the ring. */
static void test_in_flight_comes_first(void **state)
{
	struct inflight_place place = { .queues = 1, .queue_size = RIG_NUM };
	struct queue *q = &f.set.queue[0];
	struct inflight_region r;
	int file = -1;
	uint32_t len;

	(void)state;
	assert_int_equal(inflight_create(&r, &place, 1, &file), 0);
	header_set(VIRTIO_BLK_T_FLUSH, 0);
	for (uint16_t head = 0; head < 6; head += 2) {
		rig_desc(&f.ring, head, rig_addr(HEADER), 16, TMEMP_DESC_NEXT, (uint16_t)(head + 1));
		rig_desc(&f.ring, head + 1u, rig_addr(STATUS), 1, TMEMP_DESC_WRITE, 0);
	}
	/* The guest has queued 2, 0, 4; the host that died had begun 2 and 0, 0 first. */
	rig_avail(&f.ring, 2);
	rig_avail(&f.ring, 0);
	rig_avail(&f.ring, 4);
	inflight_begin(&r.queue[0], 0);
	inflight_begin(&r.queue[0], 2);
	queue_stop(q);
	queue_inflight_set(q, &r.queue[0]);
	assert_int_equal(queue_start(q, &f.ring.place, 0), 0);
	assert_int_equal(queue_serve(q, &f.worker, 8), 3);
	assert_int_equal(rig_used(&f.ring, &len), 0);
	assert_int_equal(rig_used(&f.ring, &len), 2);
	assert_int_equal(rig_used(&f.ring, &len), 4);
	assert_int_equal(rig_used(&f.ring, &len), -1);
	queue_stop(q);
	queue_inflight_set(q, NULL);
	inflight_drop(&r);
	close(file);
}

/* The daemon died twice of what it executed there: an error, and on with the next. */
static void test_what_kills_twice_is_refused(void **state)
{
	static _Atomic uint64_t word;
	struct queue *q = &f.set.queue[0];

	(void)state;
	queue_stop(q);
	ring_keep(&q->ring, &word);
	for (unsigned strikes = 0; strikes < 4; strikes++) {
		header_set(VIRTIO_BLK_T_FLUSH, 0);
		atomic_store(&word, RING_BUSY | (uint64_t)strikes << RING_STRIKE_SHIFT);
		assert_int_equal(queue_start(q, &f.ring.place, 0), 0);
		SERVE(HEAD, TAIL);
		assert_int_equal(status(), strikes < 2 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		header_set(VIRTIO_BLK_T_FLUSH, 0);
		SERVE(HEAD, TAIL);
		assert_int_equal(status(), VIRTIO_BLK_S_OK);
		queue_stop(q);
	}
}

/* ---- the spill, and a process that dies between two steps --------------------------- */

static void page_make(void *page, uint8_t seed)
{
	memset(page, seed, BLOCKS_BYTES);
}

static void expect(uint64_t block, uint8_t seed)
{
	uint8_t page[BLOCKS_BYTES], right[BLOCKS_BYTES];

	page_make(right, seed);
	assert_int_equal(blocks_read(&f.blocks, f.worker.ctx, block, page), 0);
	assert_memory_equal(page, right, sizeof(right));
}

static int put(uint64_t block, uint8_t seed)
{
	uint8_t page[BLOCKS_BYTES];

	page_make(page, seed);
	return blocks_write(&f.blocks, f.worker.ctx, block, page);
}

static void spill_use(void)
{
	assert_int_equal(spill_open(&f.blocks.spill, f.path, "guest", BLOCKS), 0);
}

static void spill_again(void)
{
	spill_close(&f.blocks.spill);
	spill_use();
}

/* Frozen, memory takes nothing; thawed, it takes all. */
static void test_from_memory_to_spill_and_back(void **state)
{
	(void)state;
	spill_use();
	assert_int_equal(put(3, 1), 0);
	tmem_client_freeze(f.client, true);
	assert_int_equal(put(3, 2), 0);
	expect(3, 2);
	assert_int_equal(f.spilled, 1);
	assert_int_equal(f.blocks.spill.held, 1);
	assert_int_equal(blocks_in_memory(&f.blocks), 0);
	assert_int_equal(blocks_move(&f.blocks, f.worker.ctx, 3), -EROFS);
	expect(3, 2);
	tmem_client_freeze(f.client, false);
	assert_int_equal(blocks_move(&f.blocks, f.worker.ctx, 3), 0);
	expect(3, 2);
	assert_int_equal(f.blocks.spill.held, 0);
	assert_int_equal(blocks_in_memory(&f.blocks), 1);
	spill_again();
	assert_int_equal(f.blocks.spill.held, 0);
}

/* Committed in the arena, the hole not made yet: the arena wins, also over the mover. */
static void test_died_between_commit_and_hole(void **state)
{
	uint8_t page[BLOCKS_BYTES];

	(void)state;
	spill_use();
	page_make(page, 1);
	assert_int_equal(spill_write(&f.blocks.spill, 5, page), 0);
	spill_close(&f.blocks.spill);
	assert_int_equal(put(5, 2), 0);
	spill_use();
	assert_int_equal(f.blocks.spill.held, 1);
	expect(5, 2);
	assert_int_equal(blocks_move(&f.blocks, f.worker.ctx, 5), 0);
	expect(5, 2);
	assert_int_equal(f.blocks.spill.held, 0);
	assert_int_equal(f.blocks.moved, 0);
}

/* The hole made, the arena's copy still there: the discard was not answered. */
static void test_died_in_a_discard(void **state)
{
	(void)state;
	spill_use();
	assert_int_equal(put(5, 2), 0);
	assert_int_equal(spill_drop(&f.blocks.spill, 5, 1), 0);
	spill_again();
	expect(5, 2);
	assert_int_equal(blocks_drop(&f.blocks, 5, 1), 0);
	expect(5, 0);
}

static void test_drop_across_groups_and_runs(void **state)
{
	(void)state;
	spill_use();
	tmem_client_freeze(f.client, true);
	for (uint64_t b = 0; b < BLOCKS; b++)
		assert_int_equal(put(b, (uint8_t)(b + 1)), 0);
	assert_int_equal(blocks_drop(&f.blocks, 10, 20), 0);
	spill_again();
	assert_int_equal(f.blocks.spill.held, BLOCKS - 20);
	for (uint64_t b = 0; b < BLOCKS; b++)
		expect(b, b >= 10 && b < 30 ? 0 : (uint8_t)(b + 1));
	assert_int_equal(blocks_forget(&f.blocks), 0);
	spill_again();
	assert_int_equal(f.blocks.spill.held, 0);
}

static void test_spill_file_of_another(void **state)
{
	struct spill other;

	(void)state;
	spill_use();
	assert_int_equal(spill_open(&other, f.path, "guest", BLOCKS), -EBUSY);
	spill_close(&f.blocks.spill);
	assert_int_equal(spill_open(&other, f.path, "another", BLOCKS), -EPROTO);
	assert_int_equal(spill_open(&other, "/dev/zero", "guest", BLOCKS), -EPROTO);
	assert_int_equal(spill_open(&other, "/tmp", "guest", BLOCKS), -EISDIR);
	assert_int_equal(other.fd, -1);
	/* Of another size it is made anew. */
	assert_int_equal(spill_open(&other, f.path, "guest", 2 * BLOCKS), 0);
	assert_int_equal(other.held, 0);
	spill_close(&other);
}

static void test_lost_is_no_zeroes(void **state)
{
	uint8_t page[BLOCKS_BYTES];

	(void)state;
	atomic_store(&f.blocks.lost, true);
	assert_int_equal(blocks_read(&f.blocks, f.worker.ctx, 1, page), -EIO);
	assert_int_equal(blocks_patch(&f.blocks, f.worker.ctx, 1, 0, 512, page), -EIO);
	assert_int_equal(put(1, 9), 0);
	expect(1, 9);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cut_anywhere),
		TEST(test_no_place_for_a_status),
		TEST(test_no_whole_header),
		TEST(test_data_outside_memory),
		TEST(test_lengths_that_add_up_to_too_much),
		TEST(test_get_id),
		TEST(test_drops_all_or_nothing),
		TEST(test_a_broken_ring_fails_the_connection_alone),
		TEST(test_in_flight_comes_first),
		TEST(test_what_kills_twice_is_refused),
		TEST(test_from_memory_to_spill_and_back),
		TEST(test_died_between_commit_and_hole),
		TEST(test_died_in_a_discard),
		TEST(test_drop_across_groups_and_runs),
		TEST(test_spill_file_of_another),
		TEST(test_lost_is_no_zeroes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_blk.c - a guest that writes what it likes into the ring of its disk, with
 * memory, the spill file and the in-flight region behind it.
 *
 * An input is a program for the guest's hand; one step is an opcode byte and its
 * arguments:
 *
 *   0 off:2 n:1 bytes            write into guest memory
 *   1 n:1                        serve at most n + 1 requests
 *   2 type:1 sector:1 len:1 cut:1  a good request, made available as the next head:
 *                                len * 256 bytes of data from 32768 on, in
 *                                descriptors of cut * 64 bytes, and a part of a
 *                                discard's range from what is there
 *   3 features:1                 the host dies and is started again
 *   4                            map the memory anew
 *   5 frozen:1                   memory takes nothing, or takes pages again
 *   6 block:1                    the mover looks at the block
 *   7 head:1                     make head available
 *
 * The ring has 16 descriptors at 0, its available ring 1024 and its used ring 2048
 * bytes behind.
 */
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk.h"
#include "inflight.h"
#include "pieces.h"

#define NUM	16u
#define HEADER	16384u
#define STATUS	16640u
#define DATA	32768u
#define BLOCKS	20u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct tmem *core;
	struct session_worker worker;
	struct fuzz_memory memory;
	struct blocks blocks;
	struct blk blk;
	struct inflight_region inflight;
	struct queue_set set;
	uint16_t next;		/* descriptor of the next good request */
	struct fuzz_input in;
};

static void disk_open(struct host *h)
{
	char path[] = "/tmp/tmem-fuzz-XXXXXX";
	struct tmem_client *client;
	int fd;

	fuzz_require(tmem_client_create(h->core, "guest", &client) == 0);
	blocks_init(&h->blocks, client, BLOCKS);
	h->blocks.spilled = fuzz_ignore;
	fuzz_require((fd = mkstemp(path)) >= 0);
	close(fd);
	fuzz_require(spill_open(&h->blocks.spill, path, "guest", BLOCKS) == 0);
	unlink(path);
	blk_init(&h->blk, &h->blocks, "guest", 1, 512);
}

static struct host *host_get(void)
{
	static struct host *h;

	if (h)
		return h;
	h = fuzz_host_alloc(sizeof(*h));
	h->core = fuzz_core(4u << 20);
	fuzz_require(tmem_ctx_create(h->core, &h->worker.ctx) == 0);
	h->worker.turn_ns = UINT64_MAX;
	disk_open(h);
	fuzz_memory_open(&h->memory);
	return h;
}

static void start(struct host *h, unsigned features)
{
	const struct queue_place p = {
		.num = NUM, .desc = FUZZ_USER, .avail = FUZZ_USER + 1024u, .used = FUZZ_USER + 2048u,
	};
	uint64_t bits = (uint64_t)(features & 1) << TMEMP_F_EVENT_IDX |
			(uint64_t)(features >> 1 & 1) << TMEMP_F_INDIRECT;

	fuzz_require(queue_start(&h->set.queue[0], &p, bits) == 0);
}

static void step_write(struct host *h)
{
	unsigned off = fuzz_word(&h->in), n = fuzz_byte(&h->in);

	for (; n && off < FUZZ_BYTES; n--)
		h->memory.mem[off++] = (uint8_t)fuzz_byte(&h->in);
}

static void desc(struct host *h, unsigned i, uint64_t addr, uint32_t len, uint16_t flags)
{
	struct tmemp_desc d = {
		.addr = htole64(addr), .len = htole32(len), .flags = htole16(flags),
		.next = htole16((uint16_t)((i + 1) % NUM)),
	};

	memcpy(h->memory.mem + i % NUM * sizeof(d), &d, sizeof(d));
}

static void available(struct host *h, unsigned head)
{
	uint8_t *avail = h->memory.mem + 1024u;
	uint16_t idx, entry = htole16((uint16_t)head);

	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % NUM), &entry, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
}

static void step_request(struct host *h)
{
	struct virtio_blk_outhdr header = { .type = htole32(fuzz_byte(&h->in)) };
	unsigned head = h->next, n = head, len, cut, flags;

	header.sector = htole64(fuzz_byte(&h->in));
	len = fuzz_byte(&h->in) * 256u;
	cut = (fuzz_byte(&h->in) + 1u) * 64u;
	memcpy(h->memory.mem + HEADER, &header, sizeof(header));
	flags = header.type == htole32(VIRTIO_BLK_T_IN) ||
		header.type == htole32(VIRTIO_BLK_T_GET_ID) ? TMEMP_DESC_WRITE : 0;
	if (header.type == htole32(VIRTIO_BLK_T_DISCARD) ||
	    header.type == htole32(VIRTIO_BLK_T_WRITE_ZEROES))
		len = len / 16 % 320;
	desc(h, n++, HEADER, sizeof(header), TMEMP_DESC_NEXT);
	for (unsigned at = 0; at < len && n - head < NUM - 2; at += cut)
		desc(h, n++, DATA + at % (FUZZ_BYTES - DATA), len - at < cut ? len - at : cut,
		     (uint16_t)(flags | TMEMP_DESC_NEXT));
	desc(h, n++, STATUS, 1, TMEMP_DESC_WRITE);
	h->next = (uint16_t)(n % NUM);
	available(h, head);
}

/* What it noted as begun stays noted, as by a host that was killed. */
static void step_restart(struct host *h)
{
	if (fuzz_byte(&h->in) & 4)
		inflight_begin(&h->inflight.queue[0], (uint16_t)(h->next % NUM));
	queue_stop(&h->set.queue[0]);
	start(h, fuzz_byte(&h->in));
}

static void step(struct host *h)
{
	switch (fuzz_byte(&h->in) % 8) {
	case 0:
		step_write(h);
		break;
	case 1:
		queue_serve(&h->set.queue[0], &h->worker, fuzz_byte(&h->in) + 1);
		break;
	case 2:
		step_request(h);
		break;
	case 3:
		step_restart(h);
		break;
	case 4:
		fuzz_require(queue_set_memory(&h->set, fuzz_memory_map, &h->memory) == 0);
		break;
	case 5:
		tmem_client_freeze(h->blocks.client, fuzz_byte(&h->in) & 1);
		break;
	case 6:
		blocks_move(&h->blocks, h->worker.ctx, fuzz_byte(&h->in) % BLOCKS);
		break;
	default:
		available(h, fuzz_byte(&h->in));
	}
}

static uint64_t bits(const struct spill *s)
{
	uint64_t n = 0;

	for (uint64_t b = 0; (b = spill_next(s, b)) < s->blocks; b++)
		n++;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inflight_place place = { .queues = 1, .queue_size = NUM };
	struct worker *const none[1] = { NULL };
	struct host *h = host_get();
	static int file = -1;

	memset(h->memory.mem, 0, FUZZ_BYTES);
	h->in = (struct fuzz_input){ data, data + size };
	h->next = 0;
	tmem_client_freeze(h->blocks.client, false);
	fuzz_require(blocks_forget(&h->blocks) == 0);
	fuzz_require(inflight_create(&h->inflight, &place, 1, &file) == 0);
	queue_set_init_device(&h->set, 1, none, &blk_service, &h->blk, fuzz_ignore, NULL);
	fuzz_require(queue_set_memory(&h->set, fuzz_memory_map, &h->memory) == 0);
	queue_inflight_set(&h->set.queue[0], &h->inflight.queue[0]);
	start(h, fuzz_byte(&h->in));
	while (h->in.at < h->in.end)
		step(h);
	queue_stop(&h->set.queue[0]);
	queue_inflight_set(&h->set.queue[0], NULL);
	inflight_drop(&h->inflight);
	fuzz_require(bits(&h->blocks.spill) == h->blocks.spill.held);
	fuzz_require(tmem_is_valid(h->core, NULL, 0));
	queue_set_fini(&h->set);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_ring.c - a guest that writes what it likes into its rings and requests,
 * with sessions, barriers and the core behind them.
 *
 * An input is a program for the guest's hand; one step is an opcode byte and its
 * arguments:
 *
 *   0 off:2 n:1 bytes    write into guest memory
 *   1 q:1                serve queue q & 1, at most (q >> 1) + 1 requests
 *   2 off:2              write the session's epoch there, which nobody can guess
 *   3 q:1 features:1     stop queue q and start it again
 *   4                    map the memory anew
 *   5                    the connection ends
 *   6 q:1                ask for kicks, then do without them
 *   7 q:1 head:1         make head available on queue q
 *
 * Queue i has 16 descriptors at 4096 * i, its available ring 1024 and its used
 * ring 2048 bytes behind.
 */
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pieces.h"
#include "queue.h"
#include "tmemp_ring.h"

#define QUEUES	2u
#define NUM	16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct tmem *core;
	struct tmem_client *client;
	struct session_worker worker;
	struct fuzz_memory memory;
	struct keep_guest kept;
	struct queue_set set;
	struct fuzz_input in;
};

static struct host *host_get(void)
{
	static struct host *h;

	if (h)
		return h;
	h = fuzz_host_alloc(sizeof(*h));
	h->core = fuzz_core(8u << 20);
	fuzz_require(tmem_client_create(h->core, "guest", &h->client) == 0);
	fuzz_require(tmem_ctx_create(h->core, &h->worker.ctx) == 0);
	h->worker.turn_ns = UINT64_MAX;
	fuzz_memory_open(&h->memory);
	return h;
}

static void start(struct host *h, unsigned i, unsigned features)
{
	const struct queue_place p = {
		.num = NUM,
		.desc = FUZZ_USER + 4096u * i,
		.avail = FUZZ_USER + 4096u * i + 1024u,
		.used = FUZZ_USER + 4096u * i + 2048u,
	};
	uint64_t bits = (uint64_t)(features & 1) << TMEMP_F_EVENT_IDX |
			(uint64_t)(features >> 1 & 1) << TMEMP_F_INDIRECT;

	fuzz_require(queue_start(&h->set.queue[i], &p, bits) == 0);
}

static void step_write(struct host *h)
{
	unsigned off = fuzz_word(&h->in), n = fuzz_byte(&h->in);

	for (; n && off < FUZZ_BYTES; n--)
		h->memory.mem[off++] = (uint8_t)fuzz_byte(&h->in);
}

static void step_epoch(struct host *h)
{
	unsigned off = fuzz_word(&h->in);

	if (off <= FUZZ_BYTES - sizeof(uint64_t))
		memcpy(h->memory.mem + off, &h->set.session.kept->epoch, sizeof(uint64_t));
}

static void step_available(struct host *h)
{
	uint8_t *avail = h->memory.mem + 4096u * (fuzz_byte(&h->in) % QUEUES) + 1024u;
	unsigned head = fuzz_byte(&h->in);
	uint16_t idx;

	memcpy(&idx, avail + 2, 2);
	avail[4 + 2 * (idx % NUM)] = (uint8_t)head;
	avail[5 + 2 * (idx % NUM)] = 0;
	idx++;
	memcpy(avail + 2, &idx, 2);
}

static void step(struct host *h)
{
	unsigned op = fuzz_byte(&h->in) % 8, i;

	switch (op) {
	case 0:
		step_write(h);
		break;
	case 1:
		i = fuzz_byte(&h->in);
		queue_serve(&h->set.queue[i % QUEUES], &h->worker, (i >> 1) + 1);
		break;
	case 2:
		step_epoch(h);
		break;
	case 3:
		i = fuzz_byte(&h->in) % QUEUES;
		queue_stop(&h->set.queue[i]);
		start(h, i, fuzz_byte(&h->in));
		break;
	case 4:
		fuzz_require(queue_set_memory(&h->set, fuzz_memory_map, &h->memory) == 0);
		break;
	case 5:
		session_end(&h->set.session);
		break;
	case 6:
		i = fuzz_byte(&h->in) % QUEUES;
		queue_kick_want(&h->set.queue[i]);
		queue_kick_spare(&h->set.queue[i]);
		break;
	default:
		step_available(h);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct worker *const none[QUEUES] = { NULL };
	struct host *h = host_get();
	unsigned features;

	memset(h->memory.mem, 0, FUZZ_BYTES);
	h->in = (struct fuzz_input){ data, data + size };
	memset(&h->kept, 0, sizeof(h->kept));
	queue_set_init(&h->set, QUEUES, none, h->client, &h->kept, NULL, fuzz_ignore, NULL);
	fuzz_require(queue_set_memory(&h->set, fuzz_memory_map, &h->memory) == 0);
	features = fuzz_byte(&h->in);
	for (unsigned i = 0; i < QUEUES; i++)
		start(h, i, features >> (2 * i));
	while (h->in.at < h->in.end)
		step(h);
	for (unsigned i = 0; i < QUEUES; i++)
		queue_stop(&h->set.queue[i]);
	fuzz_require(h->set.session.parked.ring == NULL);
	session_end(&h->set.session);
	session_forget(&h->set.session);
	fuzz_require(tmem_is_valid(h->core, NULL, 0));
	queue_set_fini(&h->set);
	return 0;
}

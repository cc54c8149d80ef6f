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
#include <sys/mman.h>
#include <unistd.h>

#include "queue.h"
#include "tmemp_ring.h"

#define QUEUES	2u
#define NUM	16u
#define BYTES	65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct tmem *core;
	struct tmem_client *client;
	struct session_worker worker;
	int fd;
	uint8_t *mem;
	struct keep_guest kept;
	struct queue_set set;
	const uint8_t *in, *end;
};

static void require(int holds)
{
	if (!holds)
		abort();
}

static void on_fault(void *arg)
{
	(void)arg;
}

static struct host *host_get(void)
{
	static struct host *h;
	struct tmem_config config = { .arena_max = 8u << 20 };

	if (h)
		return h;
	h = aligned_alloc(64, (sizeof(*h) + 63) & ~(size_t)63);
	require(h != NULL);
	memset(h, 0, sizeof(*h));
	config.arena_fd = memfd_create("arena", MFD_CLOEXEC);
	require(tmem_create(&h->core, &config) == 0);
	require(tmem_client_create(h->core, "guest", &h->client) == 0);
	require(tmem_ctx_create(h->core, &h->worker.ctx) == 0);
	h->worker.turn_ns = UINT64_MAX;
	h->fd = memfd_create("guest", MFD_CLOEXEC);
	require(ftruncate(h->fd, BYTES) == 0);
	h->mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	require(h->mem != MAP_FAILED);
	return h;
}

static int map_anew(struct memmap *m, void *arg)
{
	const struct host *h = arg;
	const struct memmap_spec s = { .guest = 0, .user = 1u << 20, .size = BYTES };

	memmap_clear(m);
	return memmap_add(m, &s, h->fd);
}

static unsigned byte(struct host *h)
{
	return h->in < h->end ? *h->in++ : 0;
}

static unsigned word(struct host *h)
{
	unsigned low = byte(h);

	return low | byte(h) << 8;
}

static void start(struct host *h, unsigned i, unsigned features)
{
	const struct queue_place p = {
		.num = NUM,
		.desc = (1u << 20) + 4096u * i,
		.avail = (1u << 20) + 4096u * i + 1024u,
		.used = (1u << 20) + 4096u * i + 2048u,
	};
	uint64_t bits = (uint64_t)(features & 1) << TMEMP_F_EVENT_IDX |
			(uint64_t)(features >> 1 & 1) << TMEMP_F_INDIRECT;

	require(queue_start(&h->set.queue[i], &p, bits) == 0);
}

static void step_write(struct host *h)
{
	unsigned off = word(h), n = byte(h);

	for (; n && off < BYTES; n--)
		h->mem[off++] = (uint8_t)byte(h);
}

static void step_epoch(struct host *h)
{
	unsigned off = word(h);

	if (off <= BYTES - sizeof(uint64_t))
		memcpy(h->mem + off, &h->set.session.kept->epoch, sizeof(uint64_t));
}

static void step_available(struct host *h)
{
	uint8_t *avail = h->mem + 4096u * (byte(h) % QUEUES) + 1024u;
	unsigned head = byte(h);
	uint16_t idx;

	memcpy(&idx, avail + 2, 2);
	avail[4 + 2 * (idx % NUM)] = (uint8_t)head;
	avail[5 + 2 * (idx % NUM)] = 0;
	idx++;
	memcpy(avail + 2, &idx, 2);
}

static void step(struct host *h)
{
	unsigned op = byte(h) % 8, i;

	switch (op) {
	case 0:
		step_write(h);
		break;
	case 1:
		i = byte(h);
		queue_serve(&h->set.queue[i % QUEUES], &h->worker, (i >> 1) + 1);
		break;
	case 2:
		step_epoch(h);
		break;
	case 3:
		i = byte(h) % QUEUES;
		queue_stop(&h->set.queue[i]);
		start(h, i, byte(h));
		break;
	case 4:
		require(queue_set_memory(&h->set, map_anew, h) == 0);
		break;
	case 5:
		session_end(&h->set.session);
		break;
	case 6:
		i = byte(h) % QUEUES;
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

	memset(h->mem, 0, BYTES);
	h->in = data;
	h->end = data + size;
	memset(&h->kept, 0, sizeof(h->kept));
	queue_set_init(&h->set, QUEUES, none, h->client, &h->kept, NULL, on_fault, NULL);
	require(queue_set_memory(&h->set, map_anew, h) == 0);
	features = byte(h);
	for (unsigned i = 0; i < QUEUES; i++)
		start(h, i, features >> (2 * i));
	while (h->in < h->end)
		step(h);
	for (unsigned i = 0; i < QUEUES; i++)
		queue_stop(&h->set.queue[i]);
	require(h->set.session.parked.ring == NULL);
	session_end(&h->set.session);
	session_forget(&h->set.session);
	require(tmem_is_valid(h->core, NULL, 0));
	queue_set_fini(&h->set);
	return 0;
}

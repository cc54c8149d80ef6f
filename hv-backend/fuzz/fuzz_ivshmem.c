/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_ivshmem.c - a guest that writes what it likes into its shared region and
 * rings every doorbell, and a VMM that talks or leaves; worker, session and core
 * are behind it.
 *
 * An input is a program for the guest's hand; one step is an opcode byte and its
 * arguments:
 *
 *   0 off:2 n:1 bytes    write into the region at 2 * off
 *   1 v:1                ring doorbell v
 *   2 wish:1 features:1  attach, ring, and let the control thread look
 *   3                    let the control thread look
 *   4 off:2              write the session's epoch there, which nobody can guess
 *   5 q:1 head:1         make head available on queue q, ring its doorbell
 *   6 n:1                the VMM sends n bytes
 *   7                    the host's hold on wishes runs out (three times at most)
 *
 * Whatever happens, no ring may run and no descriptor be open at the end.
 */
#include <endian.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ivshmem.h"
#include "pieces.h"
#include "sigbus.h"
#include "tmemp_ring.h"
#include "worker.h"

#define QUEUES		2u
#define HOLD_MS		15	/* more than the host holds back */
#define HOLDS_MAX	3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct tmem_client *client;
	struct worker *worker;
	struct loop *loop;
	int stop;			/* eventfd: ends one turn of the loop */
	struct loop_source *stopping;
	struct keep_guest kept;
	struct queue_set set;
	struct ivshmem *v;
	struct ivshmem_region *region;
	uint8_t *mem;
	int vmm;			/* the VMM's end of the socket */
	unsigned holds;
	struct fuzz_input in;
};

static void on_stop(void *arg, uint32_t events)
{
	struct host *h = arg;
	eventfd_t n;

	(void)events;
	eventfd_read(h->stop, &n);
	loop_stop(h->loop);
}

static struct host *host_get(void)
{
	static struct host *h;
	struct tmem *core;

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	fuzz_require(h != NULL);
	fuzz_require(sigbus_init() == 0);
	core = fuzz_core(8u << 20);
	fuzz_require(tmem_client_create(core, "guest", &h->client) == 0);
	fuzz_require(worker_create(&h->worker, core, 10) == 0);
	fuzz_require(loop_create(&h->loop) == 0);
	h->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_require(loop_add(h->loop, h->stop, EPOLLIN, on_stop, h, &h->stopping) == 0);
	return h;
}

static void control_look(struct host *h)
{
	eventfd_write(h->stop, 1);
	fuzz_require(loop_run(h->loop) == 0);
}

static void step_write(struct host *h)
{
	uint64_t off = 2u * fuzz_word(&h->in);
	unsigned n = fuzz_byte(&h->in);

	for (; n && off < h->region->used; n--)
		h->mem[off++] = (uint8_t)fuzz_byte(&h->in);
}

static void step_wish(struct host *h)
{
	struct tmemp_ivshmem_guest *g = (void *)(h->mem + TMEMP_IVSHMEM_GUEST_AT);

	g->attach = htole32(fuzz_byte(&h->in));
	g->features = htole64((uint64_t)fuzz_byte(&h->in) << TMEMP_F_INDIRECT);
	eventfd_write(h->region->to_host[0], 1);
	control_look(h);
}

static void step_epoch(struct host *h)
{
	uint64_t off = 2u * fuzz_word(&h->in);

	if (off + sizeof(uint64_t) <= h->region->used)
		memcpy(h->mem + off, &h->set.session.kept->epoch, sizeof(uint64_t));
}

static void step_available(struct host *h)
{
	const struct tmemp_ivshmem_header *l = &h->region->layout;
	unsigned q = fuzz_byte(&h->in) % QUEUES, head = fuzz_byte(&h->in);
	uint64_t at = le64toh(l->rings) + q * le32toh(l->ring_stride) + le32toh(l->avail);
	struct tmemp_avail *avail = (void *)(h->mem + at);
	uint16_t idx = le16toh(avail->idx);

	avail->ring[idx & (le32toh(l->ring_size) - 1)] = htole16((uint16_t)head);
	__atomic_store_n(&avail->idx, htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
	eventfd_write(h->region->to_host[1 + q], 1);
}

/* Returns 0 once the connection is over. */
static int step_vmm(struct host *h)
{
	unsigned n = fuzz_byte(&h->in);
	const char *why = NULL;
	char bytes[255] = { 0 };

	if (n && send(h->vmm, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return 0;
	if (!ivshmem_input(h->v, &why))
		return 1;
	fuzz_require(why && *why);
	return 0;
}

static int step(struct host *h)
{
	switch (fuzz_byte(&h->in) % 8) {
	case 0:
		step_write(h);
		break;
	case 1:
		eventfd_write(h->region->to_host[fuzz_byte(&h->in) % (QUEUES + 1)], 1);
		break;
	case 2:
		step_wish(h);
		break;
	case 3:
		control_look(h);
		break;
	case 4:
		step_epoch(h);
		break;
	case 5:
		step_available(h);
		break;
	case 6:
		return step_vmm(h);
	case 7:
		if (h->holds++ < HOLDS_MAX)
			poll(NULL, 0, HOLD_MS);
		control_look(h);
		break;
	}
	return 1;
}

static void converse(struct host *h)
{
	int pair[2];

	h->holds = 0;
	fuzz_require(ivshmem_region_create(&h->region, QUEUES, 1) == 0);
	h->mem = mmap(NULL, h->region->used, PROT_READ | PROT_WRITE, MAP_SHARED, h->region->memory,
		      0);
	fuzz_require(h->mem != MAP_FAILED);
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	h->vmm = pair[0];
	fuzz_require(ivshmem_create(&h->v, h->loop, &h->set, pair[1], h->region) == 0);
	while (h->in.at < h->in.end && step(h))
		;
	munmap(h->mem, h->region->used);
	ivshmem_destroy(h->v);
	close(h->vmm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host *h = host_get();
	struct worker *const worker[QUEUES] = { h->worker, h->worker };
	int before = fuzz_lowest_fd();

	h->in = (struct fuzz_input){ data, data + size };
	memset(&h->kept, 0, sizeof(h->kept));
	queue_set_init(&h->set, QUEUES, worker, h->client, &h->kept, NULL, fuzz_ignore, NULL);
	converse(h);
	fuzz_require(queue_set_running(&h->set) == 0);
	fuzz_require(h->set.mem.count == 0);
	session_end(&h->set.session);
	session_forget(&h->set.session);
	queue_set_fini(&h->set);
	fuzz_require(fuzz_lowest_fd() == before);
	return 0;
}

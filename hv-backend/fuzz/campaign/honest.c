// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * honest.c - a guest that must not notice the others.
 *
 * Owns:    the account of what was put under each key.
 * How:     a page's content and tag follow from its serial number.  A persistent
 *          page that was taken comes back as long as it is not flushed; an
 *          ephemeral one comes back as it was put last, or not at all.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz/campaign/campaign.h"

enum { PERSISTENT, EPHEMERAL };

static bool wrong(struct honest *h, const char *what, unsigned pool, unsigned n, int status)
{
	snprintf(h->error, sizeof(h->error), "guest %s, pool %u, page %u: %s (%d)", h->name, pool,
		 n, what, status);
	return false;
}

static bool refused(int status)
{
	return status >= TMEMP_REFUSED_QUOTA && status <= TMEMP_REFUSED_NOMEM;
}

static bool put(struct honest *h, unsigned pool, unsigned n)
{
	struct front_key key = key_of(pool, n);
	uint8_t page[TMEMP_PAGE_SIZE];
	int status;

	page_fill(page, ++h->serial);
	status = front_put(front_queue_of(h->front, &key), &key, page, h->serial);
	h->held[pool][n] = status == TMEMP_OK ? h->serial : 0;
	return status == TMEMP_OK || refused(status) || wrong(h, "put", pool, n, status);
}

static bool get(struct honest *h, unsigned pool, unsigned n)
{
	struct front_key key = key_of(pool, n);
	uint64_t held = h->held[pool][n], tag = 0;
	uint8_t page[TMEMP_PAGE_SIZE];
	int status = front_get(front_queue_of(h->front, &key), &key, page, &tag);

	if (pool == EPHEMERAL)
		h->held[pool][n] = 0;	/* taken out */
	if (status == TMEMP_MISS)
		return !held || pool == EPHEMERAL || wrong(h, "lost", pool, n, status);
	if (status)
		return wrong(h, "get", pool, n, status);
	if (!held)
		return wrong(h, "a page that was flushed", pool, n, status);
	if (tag != held || !page_is(page, held))
		return wrong(h, "another page", pool, n, status);
	atomic_fetch_add_explicit(&h->verified, 1, memory_order_relaxed);
	return true;
}

static bool flush(struct honest *h, unsigned pool, unsigned n)
{
	struct front_key key = key_of(pool, n);
	bool held = h->held[pool][n];
	uint64_t pages = 0;
	int status = front_flush_page(front_queue_of(h->front, &key), &key, &pages);

	h->held[pool][n] = 0;
	if (status)
		return wrong(h, "flush", pool, n, status);
	return pool == EPHEMERAL || pages == held || wrong(h, "flush found", pool, n, (int)pages);
}

static bool work(struct honest *h)
{
	uint32_t dice = campaign_below(&h->rng, 100), n = campaign_below(&h->rng, HONEST_KEYS);
	unsigned pool = campaign_below(&h->rng, 3) ? PERSISTENT : EPHEMERAL;

	if (dice < 45)
		return put(h, pool, n);
	return dice < 90 ? get(h, pool, n) : flush(h, pool, n);
}

static void *honest_main(void *arg)
{
	struct honest *h = arg;

	while (!atomic_load(&h->campaign->stop))
		if (!work(h)) {
			atomic_store(&h->campaign->stop, true);
			break;
		}
	return NULL;
}

int honest_start(struct honest *h, const struct hosting *host, bool ivshmem)
{
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(host, h->name, path);
	int err;

	c.queues = 2;
	c.ivshmem = ivshmem;
	err = front_open(&h->front, &c);
	if (!err)
		err = front_pool_create(h->front, PERSISTENT, TMEMP_POOL_PERSISTENT);
	if (!err)
		err = front_pool_create(h->front, EPHEMERAL, 0);
	return err ? err : -pthread_create(&h->thread, NULL, honest_main, h);
}

void honest_finish(struct honest *h)
{
	pthread_join(h->thread, NULL);
	for (unsigned n = 0; n < HONEST_KEYS && !h->error[0]; n++)
		get(h, PERSISTENT, n);
	front_destroy(h->front);
}

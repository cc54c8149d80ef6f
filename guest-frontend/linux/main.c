// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - the module comes and goes.
 *
 * Owns:     the order in which the parts are started and stopped.
 * How:      what waits (queues) exists before what may call it (hosts, devices),
 *           and is freed after.  On the way out the device goes first, so that no
 *           request is made; then the host is told to drop what it holds; then
 *           the transport is reset, which returns every buffer; then the buffers
 *           are freed.
 * Must not: hold state.
 */
#include <linux/cpumask.h>
#include <linux/minmax.h>
#include <linux/module.h>

#include "cache.h"
#include "event.h"
#include "frontswap.h"
#include "ivshmem.h"
#include "request.h"
#include "slot.h"
#include "stats.h"
#include "swap.h"
#include "version.h"
#include "virtio.h"

#define QUEUES_DEFAULT	4u

static unsigned int queues;
module_param(queues, uint, 0444);
MODULE_PARM_DESC(queues, "request queues, at most 16 and at most what the host has; 0: one a processor, at most 4");

static int __init tmem_init(void)
{
	int err;

	if (!queues)
		queues = min(num_online_cpus(), QUEUES_DEFAULT);
	err = tmem_queues_create(&queues);
	if (err)
		return err;
	err = tmem_host_init(queues);
	if (err)
		goto err_queues;
	err = tmem_stats_init();
	if (err)
		goto err_session;
	err = tmem_virtio_init();
	if (err)
		goto err_stats;
	err = tmem_ivshmem_init();
	if (err)
		goto err_virtio;
	err = tmem_swap_init();
	if (err)
		goto err_host;
	err = tmem_event_init();
	if (err)
		goto err_swap;
	err = tmem_frontswap_init();
	if (err)
		goto err_event;
	tmem_cache_init();
	return 0;

err_event:
	tmem_event_exit();
err_swap:
	tmem_swap_exit();
err_host:
	tmem_host_forget();
	tmem_ivshmem_exit();
err_virtio:
	tmem_virtio_exit();
err_stats:
	tmem_stats_exit();
err_session:
	tmem_host_exit();
err_queues:
	tmem_queues_destroy();
	return err;
}

static void __exit tmem_exit(void)
{
	tmem_cache_exit();
	tmem_event_exit();
	tmem_swap_exit();
	tmem_host_forget();
	tmem_ivshmem_exit();
	tmem_virtio_exit();
	tmem_stats_exit();
	tmem_host_exit();
	tmem_queues_destroy();
}

module_init(tmem_init);
module_exit(tmem_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Transcendent memory: swap pages and page cache kept by the host");
MODULE_VERSION(TMEM_VERSION_TEXT);

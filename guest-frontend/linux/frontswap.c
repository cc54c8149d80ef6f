// SPDX-License-Identifier: GPL-2.0
/*
 * frontswap.c - swap pages as kernels up to 5.16 offer them by themselves.
 *
 * Owns:     the kernel's frontswap_ops, and which of its swap areas is the device's.
 * How:      the kernel offers a page before it makes a bio of it, and asks here before
 *           it makes one to read it.  Whatever is not done here it does with the
 *           device under its swap area, and what a page's bit says (sector.c) is true
 *           for both ways.
 *
 *           That device must be this module's.  A load that fails makes the kernel read
 *           the page's place on the device, without another word, and of a page
 *           that only the host had an older one is there, or somebody else's.  No
 *           answer of a load prevents that.  /dev/tmemswap0 does: it looks at the bit,
 *           asks the host again and waits as it does for any bio, and fails the read
 *           if the page is lost; who needed it gets a SIGBUS.  So pages of other swap
 *           areas are not taken.
 *
 *           Drain, the switch and hosts that come and go are the device's business as
 *           well: a page that was moved to the disk is not held any more, so the kernel,
 *           which still believes it here, is sent on to the device.
 *
 *           store, load        may sleep; the page is locked.  Store runs for reclaim:
 *                              nothing is allocated
 *           invalidate_page    under the area's spinlock, maybe with interrupts off
 *           init, invalidate_area   from swapon and swapoff, one at a time
 *
 *           Writethrough and exclusive gets are one switch for all back-ends of the
 *           kernel, off at first, and stay as they are.  With either on, pages are right
 *           too: what is written through is not held, and what is freed without a
 *           word here the device is told of.
 *           Another back-end (zswap) may be there: this one is asked first, and holds
 *           nothing older of a page that it lets pass.
 * Must not: be removed: the kernel has no way to take the ops back.
 */
#include <linux/module.h>
#include <linux/string.h>

#include "compat.h"
#include "frontswap.h"
#include "stats.h"
#include "swap.h"

static char *swap_source = "device";
module_param(swap_source, charp, 0444);
MODULE_PARM_DESC(swap_source, "how swap pages come: device, as bios; frontswap, by the kernel's interface (up to 5.16) and, as bios, what that does not get rid of");

#if COMPAT_HAS_FRONTSWAP

#define AREA_NONE	UINT_MAX

/* Changes while no page of the area that it names or named is on its way. */
static unsigned int area_on_device = AREA_NONE;

static bool area_is_ours(unsigned int area)
{
	return area == READ_ONCE(area_on_device);
}

static void source_init(unsigned int area)
{
	if (!compat_swap_area_is(area, tmem_swap_disk()))
		return;
	tmem_swap_by_page(true);
	WRITE_ONCE(area_on_device, area);
}

static void source_invalidate_area(unsigned int area)
{
	if (!area_is_ours(area))
		return;
	WRITE_ONCE(area_on_device, AREA_NONE);
	tmem_swap_by_page(false);
}

static int source_store(unsigned int area, pgoff_t offset, struct page *page)
{
	if (!area_is_ours(area) || tmem_swap_put_page(offset, page))
		return -1;
	tmem_count(TMEM_FRONTSWAP_STORES);
	return 0;
}

static int source_load(unsigned int area, pgoff_t offset, struct page *page)
{
	if (!area_is_ours(area))
		return -1;
	if (tmem_swap_get_page(offset, page)) {
		tmem_count(TMEM_FRONTSWAP_PASSES);
		return -1;
	}
	tmem_count(TMEM_FRONTSWAP_LOADS);
	return 0;
}

static void source_invalidate_page(unsigned int area, pgoff_t offset)
{
	if (!area_is_ours(area))
		return;
	tmem_swap_free_page(offset);
	tmem_count(TMEM_FRONTSWAP_INVALIDATES);
}

/* The kernel links it into its list. */
static struct frontswap_ops source_ops = {
	.init = source_init,
	.store = source_store,
	.load = source_load,
	.invalidate_page = source_invalidate_page,
	.invalidate_area = source_invalidate_area,
};

static void frontswap_start(void)
{
	__module_get(THIS_MODULE);
	frontswap_register_ops(&source_ops);
}

#else

static void frontswap_start(void)
{
	pr_warn("tmem: this kernel has no frontswap for modules: swap pages come by the device alone\n");
}

#endif

int tmem_frontswap_init(void)
{
	if (!strcmp(swap_source, "device"))
		return 0;
	if (strcmp(swap_source, "frontswap")) {
		pr_err("tmem: swap_source= is device or frontswap\n");
		return -EINVAL;
	}
	if (!tmem_swap_disk()) {
		pr_err("tmem: swap_source=frontswap needs swap_backing= (or swap_size_mb=)\n");
		return -EINVAL;
	}
	frontswap_start();
	return 0;
}

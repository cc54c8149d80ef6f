// SPDX-License-Identifier: GPL-2.0
/*
 * cache_pace.c - the pace at which pages are dropped.
 *
 * Owns:     who waits when pages leave the page cache faster than the host takes them.
 * How:      a put cannot wait; what finds the stage (cache_stage.c) full is not kept, and
 *           is read from the disk next time.  So those wait who make the kernel drop
 *           pages and may sleep, while the stage is filling up:
 *             a reader   before it asks for pages and so needs memory for the next ones
 *             kswapd     between two rounds of reclaim: shrinkers are called there, and
 *                        this is one that never has anything to free
 *           Who reclaims for itself, because it needs memory now, does not wait: a
 *           page of the cache is not worth that.  If kswapd is held up so that others
 *           have to, it was for cache_wait_us at most.
 *           A wait ends at its deadline.  A host that lets VAIN_MOST of them end so, one
 *           after the other, paces nobody for UNPACED; nor does one that owes an answer.
 * Must not: hold up an allocation; wait for a host that does not get on.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/swap.h>

#include "cache.h"
#include "cache_pace.h"
#include "cache_stage.h"
#include "compat.h"
#include "slot.h"
#include "stats.h"

#define VAIN_MOST	3u
#define UNPACED		HZ

/* Two who wait may change these at once and one change be lost, which costs a wait. */
static unsigned int vain;		/* waits in vain since the last that was not */
static unsigned long unpaced;		/* in jiffies: nobody is paced before */
static struct shrinker *between_rounds;

void tmem_pace(u64 deadline_ns)
{
	if (tmem_stage_has_room() || tmem_queues_overdue() ||
	    time_before(jiffies, READ_ONCE(unpaced)))
		return;
	tmem_count(TMEM_CACHE_PACED);
	if (tmem_stage_wait(deadline_ns)) {
		WRITE_ONCE(vain, 0);
		return;
	}
	WRITE_ONCE(vain, READ_ONCE(vain) + 1);
	if (READ_ONCE(vain) > VAIN_MOST)
		WRITE_ONCE(unpaced, jiffies + UNPACED);
}

static unsigned long pace_count(struct shrinker *s, struct shrink_control *sc)
{
	if (current_is_kswapd())
		tmem_pace(tmem_cache_deadline_ns());
	return 0;
}

/* The kernel does not call it after a count of 0, but from a file for debugging. */
static unsigned long pace_scan(struct shrinker *s, struct shrink_control *sc)
{
	return SHRINK_STOP;
}

int tmem_pace_init(void)
{
	unpaced = jiffies;
	between_rounds = compat_shrinker_add("tmem-pace", pace_count, pace_scan);
	return between_rounds ? 0 : -ENOMEM;
}

void tmem_pace_exit(void)
{
	if (between_rounds)
		compat_shrinker_remove(between_rounds);
	between_rounds = NULL;
}

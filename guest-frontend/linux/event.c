// SPDX-License-Identifier: GPL-2.0
/*
 * event.c - do what the host asks for: drain, and go on afterwards.
 *
 * Owns:     the parked EVENT and what the last drain came to.
 * How:      a worker looks once a second whether the parked request came back.  It
 *           does not sleep in wait for it: a sleeper keeps its queue's interrupts
 *           armed, and every swapped page would raise one.
 *           Drained, the module offers nothing more to that host until it says
 *           that limits changed; then it goes on as before, as it does with
 *           another host and with one that was detached and came back: neither
 *           asked for anything.
 * Must not: run where memory is reclaimed without a worker of its own: a write to
 *           the sector that is on its way waits for it.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "event.h"
#include "request.h"
#include "swap.h"

#define LOOK_PERIOD	HZ

static void event_work(struct work_struct *work);

/* The worker's alone. */
static struct {
	struct workqueue_struct *worker;
	struct tmem_slot *parked;	/* NULL: none */
	u32 drain_result;		/* TMEMP_DRAIN_* */
	u64 drain_left;			/* pages */
	unsigned long host;		/* whose drain that was; 0: none */
} event;
static DECLARE_DELAYED_WORK(event_look, event_work);

static void event_drain(void)
{
	int err;

	event.host = tmem_host_number();
	err = tmem_swap_drain();
	event.drain_result = err ? TMEMP_DRAIN_NO_ROOM : TMEMP_DRAIN_DONE;
	event.drain_left = err ? tmem_swap_held() : 0;
	if (err)
		pr_warn("tmem: drain stopped with %llu pages left: error %d\n", event.drain_left, err);
	else
		pr_info("tmem: drained: the host holds nothing of this guest\n");
}

static void event_resume(void)
{
	event.drain_result = TMEMP_DRAIN_NONE;
	event.drain_left = 0;
	event.host = 0;
	tmem_swap_resume();
}

static bool event_host_is_another(void)
{
	return event.host && tmem_host_ready() && tmem_host_number() != event.host;
}

static void event_work(struct work_struct *work)
{
	u64 events = 0;

	if (event.parked && tmem_event_poll(event.parked, &events))
		event.parked = NULL;
	if (events & TMEMP_EVENT_LIMITS || event_host_is_another())
		event_resume();
	if (events & TMEMP_EVENT_DRAIN)
		event_drain();
	if (!event.parked)
		event.parked = tmem_event_park(event.drain_result, event.drain_left);
	queue_delayed_work(event.worker, &event_look, LOOK_PERIOD);
}

int tmem_event_init(void)
{
	event.worker = alloc_workqueue("tmem-event", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!event.worker)
		return -ENOMEM;
	queue_delayed_work(event.worker, &event_look, LOOK_PERIOD);
	return 0;
}

/* The parked slot stays with the ring; the transport's reset returns it. */
void tmem_event_exit(void)
{
	cancel_delayed_work_sync(&event_look);
	destroy_workqueue(event.worker);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * hook.c - one function of the kernel replaced at run time, by ftrace.
 *
 * Owns:     how a hook is placed, and the proof that it is gone.
 * How:      ftrace calls hook_enter at the original's entry, which sends the caller to
 *           the replacement; one whose caller is this module passes, so a replacement
 *           calls the original by its own name.  That needs real calls: this module
 *           is built without sibling calls.  The flags say that the instruction pointer
 *           is changed, which no two users may do at one function (live patches are such
 *           users), and that tracing cannot be switched off under it.
 *           There is no guard against recursion: what it would skip, a nested call, may
 *           be an invalidation.
 *           A function that is not exported is found by its name, if that is no other's
 *           as well: the kernel would name the first, which may be the wrong one.
 * Must not: know what it replaces.
 *
 * Removal: unregistering ends when nobody is in hook_enter any more, which counted each
 * call that it redirected.  When the count is 0 all of them have reached tmem_hook_leave.
 * A task can still be on its way from there to the return; it does not sleep between, so
 * it has left when every task has gone to sleep once or been in user space.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "hook.h"

#define WAIT_MS		10u

static void notrace hook_enter(unsigned long ip, unsigned long caller, struct ftrace_ops *ops,
			       struct compat_ftrace_regs *fregs)
{
	struct tmem_hook *h = container_of(ops, struct tmem_hook, ops);

	if (within_module(caller, THIS_MODULE))
		return;
	this_cpu_inc(*h->running);
	instruction_pointer_set(compat_ftrace_get_regs(fregs), (unsigned long)h->replacement);
}

/* ---- finding a function by its name --------------------------------------- */

/* A symbol of the kernel's: text from start to before end. */
struct symbol {
	unsigned long start, end;
	char name[];		/* KSYM_SYMBOL_LEN bytes */
};

/* The one that address is in.  False: there is none. */
static bool symbol_at(struct symbol *s, unsigned long address)
{
	unsigned long offset, size;
	char *numbers;

	sprint_symbol(s->name, address);
	numbers = strrchr(s->name, '+');
	if (!numbers || sscanf(numbers, "+%lx/%lx", &offset, &size) != 2 || offset >= size)
		return false;
	*numbers = '\0';
	s->start = address - offset;
	s->end = s->start + size;
	return true;
}

/* Whether a function from address on, up or down to the end of the kernel's text, has that name. */
static bool name_is_met(struct symbol *s, const char *name, unsigned long address, bool up)
{
	while (symbol_at(s, address)) {
		if (!strcmp(s->name, name))
			return true;
		if (up && !strcmp(s->name, "_etext"))
			return false;
		address = up ? s->end : s->start - 1;
		cond_resched();
	}
	return false;
}

/*
 * Whether no other function of the kernel is called like the one at address.  Nothing
 * that modules may call answers that, so every symbol is looked at, which takes less than
 * a second.
 */
static bool name_is_alone(const char *name, unsigned long address)
{
	struct symbol *s = kmalloc(sizeof(*s) + KSYM_SYMBOL_LEN, GFP_KERNEL);
	bool alone = false;

	if (s && symbol_at(s, address)) {
		unsigned long below = s->start - 1;

		alone = !name_is_met(s, name, s->end, true) && !name_is_met(s, name, below, false);
	}
	kfree(s);
	return alone;
}

/* A kprobe that could be placed names the first of them. */
unsigned long tmem_hook_find(const char *name)
{
	struct kprobe probe = { .symbol_name = name };
	unsigned long address;

	if (register_kprobe(&probe)) {
		pr_err("tmem: this kernel has no function %s of its own\n", name);
		return 0;
	}
	address = compat_function_start((unsigned long)probe.addr);
	unregister_kprobe(&probe);
	if (name_is_alone(name, address))
		return address;
	pr_err("tmem: this kernel has more than one function %s\n", name);
	return 0;
}

/* ---- placing and removing -------------------------------------------------- */

/* Have ftrace watch the original alone; or give back what that took. */
static int hook_filter(struct tmem_hook *h, bool remove)
{
	return ftrace_set_filter_ip(&h->ops, h->original, remove, 0);
}

static int hook_register(struct tmem_hook *h)
{
	int err;

	/* From nothing each time: ftrace leaves its own traces in it. */
	h->ops = (struct ftrace_ops){
		.func = hook_enter,
		.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY |
			 FTRACE_OPS_FL_PERMANENT | COMPAT_FTRACE_UNGUARDED,
	};
	err = hook_filter(h, false);
	if (!err)
		err = register_ftrace_function(&h->ops);
	if (err)
		hook_filter(h, true);
	return err;
}

int tmem_hook_place(struct tmem_hook *h)
{
	int err;

	h->running = alloc_percpu(int);
	if (!h->running)
		return -ENOMEM;
	err = hook_register(h);
	if (err) {
		pr_err("tmem: %s cannot be hooked: error %d\n", h->name, err);
		free_percpu(h->running);
		return err;
	}
	h->placed = true;
	return 0;
}

/* Once nobody enters any more this only falls, and is 0 only when it is. */
static int hook_running(const struct tmem_hook *h)
{
	int cpu, sum = 0;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(h->running, cpu));
	return sum;
}

void tmem_hook_remove(struct tmem_hook *h)
{
	if (!h->placed)
		return;
	unregister_ftrace_function(&h->ops);
	hook_filter(h, true);
	while (hook_running(h))
		msleep(WAIT_MS);
	synchronize_rcu_tasks();
	free_percpu(h->running);
	h->placed = false;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hook.h - put a function of the module in the place of one of the kernel's.
 */
#ifndef TMEM_HOOK_H
#define TMEM_HOOK_H

#include <linux/ftrace.h>
#include <linux/percpu.h>

/*
 *   placed   =>  calls of the original from outside the module enter the replacement
 *   running  =   calls that were redirected and have not reached tmem_hook_leave
 */
struct tmem_hook {
	const char *name;		/* for messages */
	void *replacement;		/* of the original's type; calls tmem_hook_leave */
	unsigned long original;		/* address */
	struct ftrace_ops ops;
	int __percpu *running;
	bool placed;
};

/*
 * The address of a function that is not exported; 0: there is none, or more than one of
 * that name, and the log says so.  Sleeps.
 */
unsigned long tmem_hook_find(const char *name);

/* An error, of which the log says which function it was.  Sleeps. */
int  tmem_hook_place(struct tmem_hook *h);

/* When this returns nobody is in the replacement.  Nothing if it is not placed.  Sleeps. */
void tmem_hook_remove(struct tmem_hook *h);

/* The last thing a replacement does. */
static inline void tmem_hook_leave(struct tmem_hook *h)
{
	this_cpu_dec(*h->running);
}

#endif

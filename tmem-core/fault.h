/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.h - named steps at which a test build dies, and what it does wrong.
 *
 * Owns:    nothing in a product: there all of this is empty.
 * How:     built with -DTMEM_FAULT_POINTS, a process whose environment has
 *            TMEM_FAULT=NAME:LOW-HIGH  kills itself (SIGKILL) when a thread comes to
 *                                  that step for the n-th time, n drawn anew by each
 *                                  process
 *            TMEM_BREAK=NAME       does the thing of that name wrong
 *          and dies of pages whose first word is a poison.
 * Must not: change what is done but by dying, or where TMEM_BREAK asks for it.
 */
#ifndef TMEM_FAULT_H
#define TMEM_FAULT_H

#ifdef TMEM_FAULT_POINTS

#include <stdbool.h>
#include <stdint.h>

#define TMEM_POISON_ABORT	0x6e6f73696f700001ull	/* dies by abort() */
#define TMEM_POISON_KILL	0x6e6f73696f700002ull	/* by SIGKILL */

void tmem_fault(const char *name);
bool tmem_broken(const char *name);
void tmem_fault_page(const void *page);

#define TMEM_FAULT(name)	tmem_fault(name)
#define TMEM_BROKEN(name)	tmem_broken(name)
#define TMEM_FAULT_PAGE(page)	tmem_fault_page(page)

#else

#define TMEM_FAULT(name)	((void)0)
#define TMEM_BROKEN(name)	false
#define TMEM_FAULT_PAGE(page)	((void)0)

#endif
#endif

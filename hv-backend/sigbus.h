/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigbus.h - survive a guest that truncates the memory file we have mapped.
 *
 * Owns:    the process's SIGBUS handler and a fixed table of guarded mappings.
 * How:     a fault inside a guarded mapping replaces the whole mapping by
 *          anonymous memory and marks it tripped; the access then goes on and
 *          sees zeros.  Whoever works on that memory looks at the mark after
 *          each batch and fails the guest.  The whole mapping, because a single
 *          page cannot be replaced where the file has huge pages, and because
 *          a guest with one hole in its memory is lost anyway.
 *          A fault anywhere else takes the default action.
 * Must not: lock or allocate: the handler runs on any thread at any time.
 */
#ifndef HV_SIGBUS_H
#define HV_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>

/* Install the handler for the whole process.  -errno of sigaction. */
int sigbus_init(void);

/*
 * Guard len bytes mapped at base; returns a slot for the calls below, or
 * -ENOSPC.  Any thread.
 */
int sigbus_guard(void *base, size_t len);

/*
 * End the guard, before the mapping goes.  The caller promises that no thread
 * touches the mapping any more.
 */
void sigbus_release(int slot);

/* True once a fault replaced the mapping. */
bool sigbus_tripped(int slot);

#endif

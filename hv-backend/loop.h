/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.h - the control thread's event loop: epoll, one callback a descriptor.
 *
 * Everything that is not page data runs here, on one thread: connections,
 * vhost-user messages, the control socket, signals, timers (timerfd).
 */
#ifndef HV_LOOP_H
#define HV_LOOP_H

#include <stdint.h>

struct loop;
struct loop_source;

typedef void loop_fn(void *arg, uint32_t epoll_events);

int  loop_create(struct loop **out);
void loop_destroy(struct loop *l);

/*
 * Call fn(arg, events) whenever fd is ready for events (EPOLLIN ...).  The
 * descriptor stays the caller's.  -errno of epoll_ctl, -ENOMEM.
 */
int  loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
	      struct loop_source **out);
int  loop_modify(struct loop_source *s, uint32_t events);

/*
 * After this fn is not called again, even if the descriptor was ready in this
 * very turn; may be called from within any callback.  s is gone afterwards.
 */
void loop_remove(struct loop_source *s);

/* Run until loop_stop(); 0 or -errno of epoll_wait. */
int  loop_run(struct loop *l);
void loop_stop(struct loop *l);

#endif

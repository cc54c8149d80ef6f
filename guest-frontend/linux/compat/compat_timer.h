/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_timer.h - names of timer functions.
 */
#ifndef TMEM_COMPAT_TIMER_H
#define TMEM_COMPAT_TIMER_H

#include <linux/timer.h>

#if !COMPAT_SINCE(6, 15)
#define timer_delete_sync(timer)	del_timer_sync(timer)
#endif

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - every difference between kernels, 5.10 and newer.
 *
 * Owns:     all version checks of the module.
 * How:      the module is written for the newest kernel.  What is missing in an
 *           older one is defined here under its new name; where the new form
 *           cannot be had (a type changed), both hide behind a compat_ function.
 * Must not: contain anything the newest kernel needs.
 */
#ifndef TMEM_COMPAT_H
#define TMEM_COMPAT_H

#include <linux/version.h>

#define COMPAT_KERNEL_VERSION	LINUX_VERSION_CODE
#define COMPAT_SINCE(a, b)	(LINUX_VERSION_CODE >= KERNEL_VERSION(a, b, 0))

#include "compat_block.h"
#include "compat_cache.h"
#include "compat_frontswap.h"
#include "compat_mem.h"
#include "compat_shrinker.h"
#include "compat_timer.h"
#include "compat_virtio.h"

#endif

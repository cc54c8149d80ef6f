// SPDX-License-Identifier: GPL-2.0
/*
 * cache_test.c - the switches of cache_test.h, as the module's option cache_break.
 */
#include <linux/module.h>

#include "cache_test.h"

unsigned int tmem_cache_break;
module_param_named(cache_break, tmem_cache_break, uint, 0644);
MODULE_PARM_DESC(cache_break, "what is not done, as bits: for tests alone, corrupts files");

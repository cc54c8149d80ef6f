/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TMEM_VERSION_H
#define TMEM_VERSION_H

#include <linux/stringify.h>

#define TMEM_MAJOR	0
#define TMEM_MINOR	1
#define TMEM_PATCH	0

#define TMEM_VERSION_TEXT \
	__stringify(TMEM_MAJOR) "." __stringify(TMEM_MINOR) "." __stringify(TMEM_PATCH)
/* As HELLO reports it. */
#define TMEM_VERSION_WIRE \
	((u32)TMEM_MAJOR << 16 | (u32)TMEM_MINOR << 8 | (u32)TMEM_PATCH)

#endif

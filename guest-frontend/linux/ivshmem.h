/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TMEM_IVSHMEM_H
#define TMEM_IVSHMEM_H

#include <linux/kconfig.h>

#if IS_ENABLED(CONFIG_PCI)

/* From here on hosts come and go by themselves. */
int  tmem_ivshmem_init(void);

/* Every host is detached when this returns. */
void tmem_ivshmem_exit(void);

#else

static inline int tmem_ivshmem_init(void)
{
	return 0;
}

static inline void tmem_ivshmem_exit(void)
{
}

#endif
#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * frontswap.h - swap pages by the kernel's own interface, where it has one.
 */
#ifndef TMEM_FRONTSWAP_H
#define TMEM_FRONTSWAP_H

/*
 * The device exists, if there is to be one.  -EINVAL: the parameters make no sense.
 * Registered, the module is never removed: nothing that can fail comes after this.
 */
int  tmem_frontswap_init(void);

#endif

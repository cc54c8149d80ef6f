/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TMEM_VIRTIO_H
#define TMEM_VIRTIO_H

/* From here on hosts come and go by themselves. */
int  tmem_virtio_init(void);

/* Every host is detached when this returns. */
void tmem_virtio_exit(void);

#endif

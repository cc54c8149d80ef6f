/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat_virtio.h - finding virtqueues and resetting a device.
 */
#ifndef TMEM_COMPAT_VIRTIO_H
#define TMEM_COMPAT_VIRTIO_H

#include <linux/virtio.h>
#include <linux/virtio_config.h>

#define COMPAT_VQS_MAX	16u

/*
 * count virtqueues (at most COMPAT_VQS_MAX) with one callback and one name, which
 * never use indirect descriptors: that is what asking for contexts means.
 */
static inline int compat_find_vqs(struct virtio_device *vdev, unsigned int count,
				  struct virtqueue *vqs[], vq_callback_t *callback,
				  const char *name)
{
#if COMPAT_SINCE(6, 11)
	struct virtqueue_info info[COMPAT_VQS_MAX] = {};
	unsigned int i;

	for (i = 0; i < count; i++) {
		info[i].name = name;
		info[i].callback = callback;
		info[i].ctx = true;
	}
	return virtio_find_vqs(vdev, count, vqs, info, NULL);
#else
	vq_callback_t *callbacks[COMPAT_VQS_MAX];
	const char *names[COMPAT_VQS_MAX];
	bool contexts[COMPAT_VQS_MAX];
	unsigned int i;

	for (i = 0; i < count; i++) {
		names[i] = name;
		callbacks[i] = callback;
		contexts[i] = true;
	}
	return virtio_find_vqs_ctx(vdev, count, vqs, callbacks, names, contexts, NULL);
#endif
}

#if !COMPAT_SINCE(5, 17)
static inline void virtio_reset_device(struct virtio_device *vdev)
{
	vdev->config->reset(vdev);
}
#endif

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * virtio.c - the transport over a virtio device of type TMEMP_VIRTIO_ID.
 *
 * Owns:     the virtio device and its virtqueues.
 * How:      each queue is one virtqueue, each slot one chain of descriptors that
 *           point at the slot's own buffers.  The virtqueues are made without
 *           indirect descriptors, for which the ring would allocate memory with
 *           every request.  The feature bit itself is left alone: to decline it
 *           means to negotiate twice, which makes User-mode Linux forget that it
 *           must stop its queues.
 * Must not: use config space or device feature bits, which some VMMs mask or
 *           break; what is to be negotiated, HELLO negotiates.
 */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "compat.h"
#include "request.h"
#include "virtio.h"

#define VDEV_CHAIN_MAX	3u	/* descriptors of a put or get */

struct tmem_virtio {
	struct tmem_transport transport;
	struct virtio_device *vdev;
	struct virtqueue *vqs[TMEM_QUEUES_MAX];
	bool fresh[TMEM_QUEUES_MAX];	/* submitted to since the last notification */
};

static struct tmem_virtio *to_virtio(struct tmem_transport *t)
{
	return container_of(t, struct tmem_virtio, transport);
}

/* The order of a chain's parts is the wire's: see tmemp.h, "Carrier". */
static int vdev_submit(struct tmem_transport *t, unsigned int queue, struct tmem_slot *slot)
{
	struct scatterlist request, response, page, *parts[VDEV_CHAIN_MAX];
	struct tmem_virtio *v = to_virtio(t);
	unsigned int out = 1, in = 1;

	sg_init_one(&request, slot->request, sizeof(*slot->request));
	sg_init_one(&response, slot->response, sizeof(*slot->response));
	sg_init_one(&page, slot->page, TMEMP_PAGE_SIZE);

	parts[0] = &request;
	switch (slot->way) {
	case TMEM_PAGE_NONE:
		parts[1] = &response;
		break;
	case TMEM_PAGE_OUT:
		parts[1] = &page;
		parts[2] = &response;
		out = 2;
		break;
	case TMEM_PAGE_IN:
		parts[1] = &response;
		parts[2] = &page;
		in = 2;
		break;
	}
	v->fresh[queue] = true;
	return virtqueue_add_sgs(v->vqs[queue], parts, out, in, slot, GFP_ATOMIC);
}

static void vdev_notify(struct tmem_transport *t, unsigned int queue)
{
	struct tmem_virtio *v = to_virtio(t);

	if (!v->fresh[queue] || virtqueue_kick_prepare(v->vqs[queue]))
		virtqueue_notify(v->vqs[queue]);
	v->fresh[queue] = false;
}

static struct tmem_slot *vdev_complete(struct tmem_transport *t, unsigned int queue,
					 u32 *written)
{
	return virtqueue_get_buf(to_virtio(t)->vqs[queue], written);
}

static bool vdev_arm(struct tmem_transport *t, unsigned int queue)
{
	return virtqueue_enable_cb(to_virtio(t)->vqs[queue]);
}

static void vdev_disarm(struct tmem_transport *t, unsigned int queue)
{
	virtqueue_disable_cb(to_virtio(t)->vqs[queue]);
}

/*
 * Some VMMs have no device reset that reaches the host process and stop the
 * queues only when they are deleted, so the host has let go after both.
 */
static void vdev_reset(struct tmem_transport *t)
{
	struct virtio_device *vdev = to_virtio(t)->vdev;

	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct tmem_transport_ops vdev_ops = {
	.submit = vdev_submit,
	.notify = vdev_notify,
	.complete = vdev_complete,
	.arm = vdev_arm,
	.disarm = vdev_disarm,
	.reset = vdev_reset,
};

static void vdev_callback(struct virtqueue *vq)
{
	tmem_queue_interrupt(vq->index);
}

/* As many virtqueues as the device has, halving from the most the module can use. */
static int vdev_queues_find(struct tmem_virtio *v)
{
	unsigned int n = tmem_host_queues_wanted();
	int err;

	do {
		err = compat_find_vqs(v->vdev, n, v->vqs, vdev_callback, "tmem");
		v->transport.queues = n;
		n /= 2;
	} while (err && n);
	return err;
}

static int vdev_start(struct virtio_device *vdev)
{
	struct tmem_virtio *v = vdev->priv;
	int err = vdev_queues_find(v);

	if (err)
		return err;
	v->transport.depth = virtqueue_get_vring_size(v->vqs[0]) / VDEV_CHAIN_MAX;
	virtio_device_ready(vdev);
	return tmem_host_attach(&v->transport);
}

static int vdev_probe(struct virtio_device *vdev)
{
	struct tmem_virtio *v = kzalloc(sizeof(*v), GFP_KERNEL);
	int err;

	if (!v)
		return -ENOMEM;
	v->vdev = vdev;
	v->transport.ops = &vdev_ops;
	v->transport.name = dev_name(&vdev->dev);
	vdev->priv = v;
	err = vdev_start(vdev);
	if (err) {
		dev_err(&vdev->dev, "tmem: no host: error %d\n", err);
		kfree(v);
	}
	return err;
}

static void vdev_remove(struct virtio_device *vdev)
{
	struct tmem_virtio *v = vdev->priv;

	tmem_host_detach(&v->transport);
	kfree(v);
}

static int __maybe_unused vdev_freeze(struct virtio_device *vdev)
{
	struct tmem_virtio *v = vdev->priv;

	tmem_host_detach(&v->transport);
	return 0;
}

static const struct virtio_device_id vdev_ids[] = {
	{ TMEMP_VIRTIO_ID, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, vdev_ids);

static struct virtio_driver tmem_virtio_driver = {
	.driver.name = "tmem",
	.driver.owner = THIS_MODULE,
	.id_table = vdev_ids,
	.probe = vdev_probe,
	.remove = vdev_remove,
#ifdef CONFIG_PM_SLEEP	/* else the fields may not exist */
	.freeze = vdev_freeze,
	.restore = vdev_start,
#endif
};

int tmem_virtio_init(void)
{
	return register_virtio_driver(&tmem_virtio_driver);
}

void tmem_virtio_exit(void)
{
	unregister_virtio_driver(&tmem_virtio_driver);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * ivshmem.c - the transport over an ivshmem-doorbell PCI device.
 *
 * Owns:     the device, its interrupts, the mapped region, and whether the host
 *           runs our rings.
 * How:      the region's header (tmemp_ivshmem.h) says where everything is; it is
 *           read once and checked.  A device whose region is not the host's is
 *           another's and left alone.  Rings are started by a wish that the host
 *           answers, and stopped by the wish for none, which needs no answer: the
 *           host never sees a slot's own buffers.
 *           A host that says it is gone is detached at once, so that what waits
 *           for it fails now and not after the module's bound.
 * Must not: wait without a bound: a doorbell may be lost, so it is rung again.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "ivshmem.h"
#include "ivshmem_ring.h"
#include "request.h"
#include "tmemp_ivshmem.h"

#define BAR_REGISTERS	0
#define BAR_REGION	2
#define NUDGE_MS	500u	/* between doorbells while waiting for the host's answer */
#define NUDGES		20u
#define RING_SIZE_MAX	1024u

#define FEATURES	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX)

struct tmem_ivshmem;

struct tmem_ivshmem_queue {
	struct tmem_ivshmem	*v;
	struct tmem_ivshmem_ring ring;
};

/* What the header says, checked once; host byte order. */
struct tmem_ivshmem_layout {
	u32 peer, queues, ring_size, slots, ring_stride, avail, used;
	u64 rings, data, data_stride, bytes;
};

struct tmem_ivshmem {
	struct tmem_transport	transport;
	struct pci_dev		*pdev;
	void __iomem		*registers;
	void			*region;
	struct tmem_ivshmem_layout layout;
	wait_queue_head_t	answered;	/* the control interrupt came */
	struct work_struct	gone;
	struct tmem_ivshmem_queue queue[TMEM_QUEUES_MAX];
};

static struct tmem_ivshmem *to_ivshmem(struct tmem_transport *t)
{
	return container_of(t, struct tmem_ivshmem, transport);
}

static void doorbell(struct tmem_ivshmem *v, u32 vector)
{
	writel(v->layout.peer << 16 | vector, v->registers + TMEMP_IVSHMEM_DOORBELL);
}

/* ---- the transport ------------------------------------------------------- */

static int ivshmem_submit(struct tmem_transport *t, unsigned int queue, struct tmem_slot *slot)
{
	return tmem_ivshmem_ring_submit(&to_ivshmem(t)->queue[queue].ring, slot);
}

static void ivshmem_notify(struct tmem_transport *t, unsigned int queue)
{
	struct tmem_ivshmem *v = to_ivshmem(t);

	if (tmem_ivshmem_ring_kick_due(&v->queue[queue].ring))
		doorbell(v, 1 + queue);
}

static struct tmem_slot *ivshmem_complete(struct tmem_transport *t, unsigned int queue,
					  u32 *written)
{
	return tmem_ivshmem_ring_complete(&to_ivshmem(t)->queue[queue].ring, written);
}

static bool ivshmem_arm(struct tmem_transport *t, unsigned int queue)
{
	return tmem_ivshmem_ring_arm(&to_ivshmem(t)->queue[queue].ring);
}

/* The event index that was passed asks for no more: nothing to do. */
static void ivshmem_disarm(struct tmem_transport *t, unsigned int queue)
{
}

static struct tmemp_ivshmem_guest *region_guest(struct tmem_ivshmem *v)
{
	return v->region + TMEMP_IVSHMEM_GUEST_AT;
}

static struct tmemp_ivshmem_host *region_host(struct tmem_ivshmem *v)
{
	return v->region + TMEMP_IVSHMEM_HOST_AT;
}

static void queue_irqs_free(struct tmem_ivshmem *v, unsigned int count)
{
	while (count--)
		free_irq(pci_irq_vector(v->pdev, 1 + count), &v->queue[count]);
}

/* The host lets go of the rings when it hears of it; nobody waits for that. */
static void rings_detach(struct tmem_ivshmem *v)
{
	WRITE_ONCE(region_guest(v)->attach, cpu_to_le32(0));
	virt_mb();
	doorbell(v, 0);
}

static void ivshmem_reset(struct tmem_transport *t)
{
	struct tmem_ivshmem *v = to_ivshmem(t);

	rings_detach(v);
	queue_irqs_free(v, t->queues);
}

static const struct tmem_transport_ops ivshmem_ops = {
	.submit = ivshmem_submit,
	.notify = ivshmem_notify,
	.complete = ivshmem_complete,
	.arm = ivshmem_arm,
	.disarm = ivshmem_disarm,
	.reset = ivshmem_reset,
};

/* ---- interrupts ---------------------------------------------------------- */

static bool host_is_gone(struct tmem_ivshmem *v)
{
	return READ_ONCE(region_host(v)->state) != cpu_to_le32(TMEMP_IVSHMEM_ALIVE);
}

static void gone_work(struct work_struct *work)
{
	struct tmem_ivshmem *v = container_of(work, struct tmem_ivshmem, gone);

	dev_warn(&v->pdev->dev, "tmem: the host serves this device no more\n");
	tmem_host_detach(&v->transport);
}

static irqreturn_t control_irq(int irq, void *data)
{
	struct tmem_ivshmem *v = data;

	if (host_is_gone(v))
		schedule_work(&v->gone);
	wake_up(&v->answered);
	return IRQ_HANDLED;
}

static irqreturn_t queue_irq(int irq, void *data)
{
	struct tmem_ivshmem_queue *q = data;

	tmem_queue_interrupt(q - q->v->queue);
	return IRQ_HANDLED;
}

static int queue_irqs_request(struct tmem_ivshmem *v)
{
	unsigned int i;
	int err;

	for (i = 0; i < v->transport.queues; i++) {
		err = request_irq(pci_irq_vector(v->pdev, 1 + i), queue_irq, 0, "tmem",
				  &v->queue[i]);
		if (err) {
			queue_irqs_free(v, i);
			return err;
		}
	}
	return 0;
}

/* ---- attaching ----------------------------------------------------------- */

static bool wish_is_answered(struct tmem_ivshmem *v, __le32 wish)
{
	return virt_load_acquire(&region_host(v)->attached) == wish || host_is_gone(v);
}

/* Have the host clear and run the rings. */
static int rings_attach(struct tmem_ivshmem *v)
{
	struct tmemp_ivshmem_guest *guest = region_guest(v);
	unsigned int i;
	__le32 wish;

	do {
		wish = cpu_to_le32(get_random_u32());
	} while (!wish || wish == READ_ONCE(region_host(v)->attached));
	guest->features = cpu_to_le64(FEATURES);
	virt_store_release(&guest->attach, wish);

	for (i = 0; i < NUDGES; i++) {
		virt_mb();
		doorbell(v, 0);
		if (wait_event_timeout(v->answered, wish_is_answered(v, wish),
				       msecs_to_jiffies(NUDGE_MS)))
			return host_is_gone(v) ? -ENODEV : 0;
	}
	return -ETIMEDOUT;
}

static void rings_place(struct tmem_ivshmem *v)
{
	const struct tmem_ivshmem_layout *l = &v->layout;
	unsigned int i;

	for (i = 0; i < v->transport.queues; i++) {
		struct tmem_ivshmem_ring *r = &v->queue[i].ring;
		void *at = v->region + l->rings + (u64)i * l->ring_stride;

		v->queue[i].v = v;
		r->desc = at;
		r->avail = at + l->avail;
		r->used = at + l->used;
		r->data_at = l->data + i * l->data_stride;
		r->data = v->region + r->data_at;
		r->size = l->ring_size;
		r->depth = v->transport.depth;
		tmem_ivshmem_ring_init(r);
	}
}

static int ivshmem_start(struct tmem_ivshmem *v)
{
	int err;

	v->transport.queues = min(v->layout.queues, tmem_host_queues_wanted());
	v->transport.depth = min3(v->layout.slots, v->layout.ring_size / TMEM_IVSHMEM_CHAIN,
				  TMEM_SLOTS);
	rings_place(v);
	err = rings_attach(v);
	if (!err)
		err = queue_irqs_request(v);
	if (err) {
		rings_detach(v);
		return err;
	}
	return tmem_host_attach(&v->transport);
}

/* ---- the device ---------------------------------------------------------- */

static bool layout_read(struct tmem_ivshmem_layout *l, const struct tmemp_ivshmem_header *h)
{
	if (le32_to_cpu(h->magic) != TMEMP_IVSHMEM_MAGIC)
		return false;
	l->peer = le32_to_cpu(h->peer);
	l->queues = le32_to_cpu(h->queues);
	l->ring_size = le32_to_cpu(h->ring_size);
	l->slots = le32_to_cpu(h->slots);
	l->ring_stride = le32_to_cpu(h->ring_stride);
	l->avail = le32_to_cpu(h->avail);
	l->used = le32_to_cpu(h->used);
	l->rings = le64_to_cpu(h->rings);
	l->data = le64_to_cpu(h->data);
	l->data_stride = le64_to_cpu(h->data_stride);
	l->bytes = le64_to_cpu(h->bytes);
	return true;
}

/* count pieces of stride bytes from start on lie in the region. */
static bool pieces_fit(const struct tmem_ivshmem_layout *l, u64 start, u64 stride, u32 count)
{
	return start <= l->bytes && stride <= (l->bytes - start) / count;
}

static bool layout_is_sound(const struct tmem_ivshmem_layout *l)
{
	u64 size = l->ring_size;

	return l->queues && l->queues <= TMEMP_IVSHMEM_QUEUES_MAX &&
	       size >= TMEM_IVSHMEM_CHAIN && size <= RING_SIZE_MAX && is_power_of_2(size) &&
	       l->slots && l->slots <= RING_SIZE_MAX &&
	       l->avail >= size * sizeof(struct vring_desc) &&
	       l->used >= l->avail + (size + 3) * sizeof(u16) &&
	       l->ring_stride >= l->used + size * sizeof(struct vring_used_elem) + 3 * sizeof(u16) &&
	       l->data_stride >= (u64)l->slots * (TMEMP_PAGE_SIZE + TMEMP_IVSHMEM_BLOCK) &&
	       !((l->rings | l->ring_stride | l->avail | l->used | l->data | l->data_stride) & 15) &&
	       pieces_fit(l, l->rings, l->ring_stride, l->queues) &&
	       pieces_fit(l, l->data, l->data_stride, l->queues);
}

static void *region_map(struct tmem_ivshmem *v, u64 bytes)
{
	return memremap(pci_resource_start(v->pdev, BAR_REGION), bytes, MEMREMAP_WB);
}

/* Read the header, then map what it says.  -ENODEV: not the host's region. */
static int region_open(struct tmem_ivshmem *v)
{
	struct device *dev = &v->pdev->dev;
	u64 length = pci_resource_len(v->pdev, BAR_REGION);
	struct tmemp_ivshmem_header header;
	void *head;

	/* A region that did not come yet, or was smaller than its header. */
	if (length < TMEMP_IVSHMEM_RINGS_AT)
		return -ENODEV;
	head = region_map(v, PAGE_SIZE);
	if (!head)
		return -ENOMEM;
	memcpy(&header, head, sizeof(header));
	memunmap(head);
	if (!layout_read(&v->layout, &header))
		return -ENODEV;
	if (le32_to_cpu(header.version) != TMEMP_IVSHMEM_VERSION || v->layout.bytes > length ||
	    !layout_is_sound(&v->layout) || (le64_to_cpu(header.features) & FEATURES) != FEATURES) {
		dev_err(dev, "tmem: this host's region is of another version or broken\n");
		return -EPROTO;
	}
	if (pci_resource_start(v->pdev, BAR_REGION) < SZ_4G)
		dev_warn(dev, "tmem: the region is below 4 GiB, where some hosts make every access uncached; a larger one goes above\n");
	v->region = region_map(v, v->layout.bytes);
	return v->region ? 0 : -ENOMEM;
}

static int interrupts_open(struct tmem_ivshmem *v)
{
	int wanted = v->layout.queues + 1;
	int have = pci_alloc_irq_vectors(v->pdev, wanted, wanted, PCI_IRQ_MSIX);
	int err;

	if (have < 0) {
		dev_err(&v->pdev->dev, "tmem: no %d interrupt vectors (device has %d): error %d\n",
			wanted, pci_msix_vec_count(v->pdev), have);
		return have;
	}
	err = request_irq(pci_irq_vector(v->pdev, 0), control_irq, 0, "tmem-control", v);
	if (err)
		pci_free_irq_vectors(v->pdev);
	return err;
}

static void interrupts_close(struct tmem_ivshmem *v)
{
	free_irq(pci_irq_vector(v->pdev, 0), v);
	cancel_work_sync(&v->gone);
	pci_free_irq_vectors(v->pdev);
}

static int device_open(struct tmem_ivshmem *v)
{
	int err = pci_enable_device(v->pdev);

	if (err)
		return err;
	err = pci_request_regions(v->pdev, "tmem");
	if (err)
		goto err_disable;
	pci_set_master(v->pdev);
	v->registers = pci_iomap(v->pdev, BAR_REGISTERS, 0);
	err = v->registers ? region_open(v) : -ENOMEM;
	if (err)
		goto err_unmap;
	return 0;

err_unmap:
	if (v->registers)
		pci_iounmap(v->pdev, v->registers);
	pci_release_regions(v->pdev);
err_disable:
	pci_disable_device(v->pdev);
	return err;
}

static void device_close(struct tmem_ivshmem *v)
{
	memunmap(v->region);
	pci_iounmap(v->pdev, v->registers);
	pci_release_regions(v->pdev);
	pci_disable_device(v->pdev);
}

static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct tmem_ivshmem *v = kzalloc(sizeof(*v), GFP_KERNEL);
	int err;

	if (!v)
		return -ENOMEM;
	v->pdev = pdev;
	v->transport.ops = &ivshmem_ops;
	v->transport.name = pci_name(pdev);
	init_waitqueue_head(&v->answered);
	INIT_WORK(&v->gone, gone_work);
	err = device_open(v);
	if (err)
		goto err_free;
	err = interrupts_open(v);
	if (err)
		goto err_close;
	pci_set_drvdata(pdev, v);
	err = ivshmem_start(v);
	if (err) {
		dev_err(&pdev->dev, "tmem: no host: error %d\n", err);
		goto err_interrupts;
	}
	return 0;

err_interrupts:
	interrupts_close(v);
err_close:
	device_close(v);
err_free:
	kfree(v);
	return err;
}

/*
 * Two phases.  Detaching takes the transport from every caller and waits for
 * queue interrupts that run; freeing the control interrupt, then its work, leaves
 * nobody that could know v.  Only then it goes.  On a device that was pulled out
 * reads give ones and writes go nowhere; nothing here waits for an answer.
 */
static void ivshmem_remove(struct pci_dev *pdev)
{
	struct tmem_ivshmem *v = pci_get_drvdata(pdev);

	tmem_host_detach(&v->transport);
	interrupts_close(v);
	device_close(v);
	kfree(v);
}

static const struct pci_device_id ivshmem_ids[] = {
	{ PCI_DEVICE(TMEMP_IVSHMEM_PCI_VENDOR, TMEMP_IVSHMEM_PCI_DEVICE) },
	{ 0 },
};
MODULE_DEVICE_TABLE(pci, ivshmem_ids);

static struct pci_driver tmem_ivshmem_driver = {
	.name = "tmem",
	.id_table = ivshmem_ids,
	.probe = ivshmem_probe,
	.remove = ivshmem_remove,
};

int tmem_ivshmem_init(void)
{
	return pci_register_driver(&tmem_ivshmem_driver);
}

void tmem_ivshmem_exit(void)
{
	pci_unregister_driver(&tmem_ivshmem_driver);
}

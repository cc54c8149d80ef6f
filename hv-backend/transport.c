/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transport.c - the table of transports, each under its own types.
 */
#include <stddef.h>

#include "ivshmem.h"
#include "transport.h"
#include "vhost_backend.h"

/* ---- vhost-user ---------------------------------------------------------------- */

static int vhost_connect(void **conn, struct loop *l, struct queue_set *set, int socket, void *kit)
{
	struct vhost_backend *v;
	int err = vhost_backend_create(&v, set, &vhost_device_ring, socket);

	(void)l;
	(void)kit;
	if (!err)
		*conn = v;
	return err;
}

static int vhost_resume(void **conn, struct loop *l, struct queue_set *set, int socket)
{
	struct vhost_backend *v;
	int err = vhost_backend_resume(&v, set, &vhost_device_ring, socket);

	(void)l;
	if (!err)
		*conn = v;
	return err;
}

static void vhost_go(void *conn)
{
	vhost_backend_go(conn);
}

static void vhost_leave(void *conn)
{
	vhost_backend_leave(conn);
}

static void vhost_disconnect(void *conn)
{
	vhost_backend_destroy(conn);
}

static int vhost_input(void *conn, const char **why)
{
	return vhost_backend_input(conn, why);
}

/* ---- ivshmem-doorbell ---------------------------------------------------------- */

static int region_create(void **kit, unsigned queues, uint64_t region)
{
	struct ivshmem_region *r;
	int err = ivshmem_region_create(&r, queues, region);

	if (!err)
		*kit = r;
	return err;
}

static void region_destroy(void *kit)
{
	ivshmem_region_destroy(kit);
}

static int region_connect(void **conn, struct loop *l, struct queue_set *set, int socket, void *kit)
{
	struct ivshmem *v;
	int err = ivshmem_create(&v, l, set, socket, kit);

	if (!err)
		*conn = v;
	return err;
}

static int region_resume(void **conn, struct loop *l, struct queue_set *set, int socket)
{
	struct ivshmem *v;
	int err = ivshmem_resume(&v, l, set, socket);

	if (!err)
		*conn = v;
	return err;
}

static void region_go(void *conn)
{
	ivshmem_go(conn);
}

static void region_leave(void *conn)
{
	ivshmem_leave(conn);
}

static void region_disconnect(void *conn)
{
	ivshmem_destroy(conn);
}

static int region_input(void *conn, const char **why)
{
	return ivshmem_input(conn, why);
}

static bool region_left(const void *conn)
{
	return ivshmem_left(conn);
}

/* ---- table ----------------------------------------------------------------------- */

static const struct transport_ops transports[] = {
	[HV_VHOST_USER] = {
		.connect	= vhost_connect,
		.resume		= vhost_resume,
		.go		= vhost_go,
		.leave		= vhost_leave,
		.disconnect	= vhost_disconnect,
		.input		= vhost_input,
	},
	[HV_IVSHMEM] = {
		.kit_create	= region_create,
		.kit_destroy	= region_destroy,
		.connect	= region_connect,
		.resume		= region_resume,
		.go		= region_go,
		.leave		= region_leave,
		.disconnect	= region_disconnect,
		.input		= region_input,
		.left		= region_left,
		.turn_away	= ivshmem_turn_away,
	},
};

const struct transport_ops *transport_of(enum hv_transport t)
{
	return &transports[t];
}

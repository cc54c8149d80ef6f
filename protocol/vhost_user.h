/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_user.h - the part of the vhost-user protocol that tmem speaks.
 *
 * Owns:    message numbers, payload layouts and feature bits, as published in
 *          QEMU's docs/interop/vhost-user.rst.
 * Used by: the daemon (back end) and the user-space front end.
 * Must not: depend on either.
 *
 * A message is a header, `size` bytes of payload, and file descriptors beside
 * its first byte.  Integers are in the host's byte order: both ends are on one
 * machine.
 */
#ifndef VHOST_USER_H
#define VHOST_USER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES			= 1,
	VHOST_USER_SET_FEATURES			= 2,
	VHOST_USER_SET_OWNER			= 3,
	VHOST_USER_RESET_OWNER			= 4,
	VHOST_USER_SET_MEM_TABLE		= 5,
	VHOST_USER_SET_LOG_BASE			= 6,
	VHOST_USER_SET_LOG_FD			= 7,
	VHOST_USER_SET_VRING_NUM		= 8,
	VHOST_USER_SET_VRING_ADDR		= 9,
	VHOST_USER_SET_VRING_BASE		= 10,
	VHOST_USER_GET_VRING_BASE		= 11,	/* also stops the ring */
	VHOST_USER_SET_VRING_KICK		= 12,
	VHOST_USER_SET_VRING_CALL		= 13,
	VHOST_USER_SET_VRING_ERR		= 14,
	VHOST_USER_GET_PROTOCOL_FEATURES	= 15,
	VHOST_USER_SET_PROTOCOL_FEATURES	= 16,
	VHOST_USER_GET_QUEUE_NUM		= 17,
	VHOST_USER_SET_VRING_ENABLE		= 18,
	VHOST_USER_SET_BACKEND_REQ_FD		= 21,
	VHOST_USER_GET_CONFIG			= 24,
	VHOST_USER_SET_CONFIG			= 25,
	VHOST_USER_GET_INFLIGHT_FD		= 31,
	VHOST_USER_SET_INFLIGHT_FD		= 32,
	VHOST_USER_RESET_DEVICE			= 34,
	VHOST_USER_GET_MAX_MEM_SLOTS		= 36,
	VHOST_USER_ADD_MEM_REG			= 37,
	VHOST_USER_REM_MEM_REG			= 38,
	VHOST_USER_SET_STATUS			= 39,
	VHOST_USER_GET_STATUS			= 40,
	VHOST_USER_SET_DEVICE_STATE_FD		= 42,
	VHOST_USER_CHECK_DEVICE_STATE		= 43,
	VHOST_USER_REQUEST_END			= 44	/* first number not known here */
};

/* vhost_user_header.flags */
#define VHOST_USER_VERSION		0x1u
#define VHOST_USER_VERSION_MASK		0x3u
#define VHOST_USER_REPLY		(1u << 2)
#define VHOST_USER_NEED_REPLY		(1u << 3)	/* with REPLY_ACK only */

struct vhost_user_header {
	uint32_t request;	/* enum vhost_user_request */
	uint32_t flags;
	uint32_t size;		/* bytes of payload that follow */
};

/* Bit of the virtio feature word that opens the protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES	30
#define VHOST_F_LOG_ALL			26

/* Protocol feature bits. */
enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ			= 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD			= 1,
	VHOST_USER_PROTOCOL_F_REPLY_ACK			= 3,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ		= 5,
	VHOST_USER_PROTOCOL_F_CONFIG			= 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD		= 10,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD		= 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE		= 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS	= 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS	= 15,
	VHOST_USER_PROTOCOL_F_STATUS			= 16,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE		= 19
};

#define VHOST_USER_MAX_FDS	8	/* descriptors of one message */
#define VHOST_USER_MAX_REGIONS	8	/* regions of one SET_MEM_TABLE */
#define VHOST_USER_MAX_CONFIG	256	/* bytes of a config space access */
#define VHOST_USER_MAX_PAYLOAD	512	/* bytes; no known message is longer */

/*
 * Bytes [guest_addr, guest_addr + size) of the guest are those of the file from
 * mmap_offset on; user_addr is where the VMM sees them, and what ring addresses
 * are given in.
 */
struct vhost_user_region {
	uint64_t guest_addr;
	uint64_t size;		/* bytes */
	uint64_t user_addr;
	uint64_t mmap_offset;	/* bytes */
};

struct vhost_user_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vhost_user_region region[VHOST_USER_MAX_REGIONS];
};

struct vhost_user_mem_one {	/* ADD_MEM_REG, REM_MEM_REG */
	uint64_t padding;
	struct vhost_user_region region;
};

struct vhost_user_vring_state {
	uint32_t index;		/* queue */
	uint32_t num;		/* size, base or enable, by the request */
};

#define VHOST_USER_VRING_F_LOG	0u	/* bit of flags: log writes to the used ring */

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;		/* VMM virtual addresses */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

/* SET_VRING_KICK, _CALL, _ERR carry a word: queue index and "no descriptor". */
#define VHOST_USER_VRING_INDEX_MASK	0xffu
#define VHOST_USER_VRING_NOFD		(1u << 8)

struct vhost_user_config {
	uint32_t offset;	/* bytes */
	uint32_t size;		/* bytes of data that follow */
	uint32_t flags;
	uint8_t  data[VHOST_USER_MAX_CONFIG];
};

struct vhost_user_log {
	uint64_t size;		/* bytes */
	uint64_t offset;	/* bytes */
};

struct vhost_user_inflight {
	uint64_t mmap_size;	/* bytes */
	uint64_t mmap_offset;	/* bytes */
	uint16_t queues;
	uint16_t queue_size;
};

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_mem_table mem_table;
	struct vhost_user_mem_one mem_one;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_config config;
	struct vhost_user_log log;
	struct vhost_user_inflight inflight;
	uint8_t raw[VHOST_USER_MAX_PAYLOAD];
};

static_assert(sizeof(struct vhost_user_header) == 12, "wire size");
static_assert(sizeof(struct vhost_user_region) == 32, "wire size");
static_assert(offsetof(struct vhost_user_region, mmap_offset) == 24, "wire offset");
static_assert(offsetof(struct vhost_user_mem_table, region) == 8, "wire offset");
static_assert(offsetof(struct vhost_user_mem_one, region) == 8, "wire offset");
static_assert(sizeof(struct vhost_user_mem_one) == 40, "wire size");
static_assert(sizeof(struct vhost_user_vring_state) == 8, "wire size");
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "wire size");
static_assert(offsetof(struct vhost_user_vring_addr, used) == 16, "wire offset");
static_assert(offsetof(struct vhost_user_vring_addr, avail) == 24, "wire offset");
static_assert(offsetof(struct vhost_user_config, data) == 12, "wire offset");
static_assert(sizeof(struct vhost_user_log) == 16, "wire size");
static_assert(sizeof(union vhost_user_payload) == VHOST_USER_MAX_PAYLOAD, "wire size");

#endif

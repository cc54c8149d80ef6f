/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemp_decode.h - from the bytes of a request to a validated operation.
 *
 * Owns:    every check of a request that its own bytes decide: operation,
 *          reserved fields, ranges, flag combinations.
 * How:     a pure function of a private copy; any 64 bytes are an input.
 * Must not: read shared memory, or know sessions, pools that exist, or the
 *          core.  What depends on state (epoch, HELLO done) is the session's.
 */
#ifndef TMEMP_DECODE_H
#define TMEMP_DECODE_H

#include <stdint.h>

#include "tmemp.h"

/* A request in host byte order; only the arm that op selects is set. */
struct tmemp_op {
	enum tmemp_opcode op;
	uint32_t pool;		/* 0 to TMEMP_MAX_POOLS - 1 */
	uint64_t epoch;
	union {
		struct {
			uint64_t oid[TMEMP_OID_WORDS];
			uint32_t index;
			uint64_t tag;
		} key;		/* PUT, GET, FLUSH_PAGE, FLUSH_OBJECT */
		struct {
			uint16_t version;	/* the highest both speak */
			uint64_t nonce;
			uint64_t ops;
			uint32_t driver_version, kernel_version;
		} hello;
		struct {
			uint32_t flags;
			uint8_t uuid[16];
		} create;
		struct {
			uint32_t drain_result;
			uint64_t drain_left;
		} event;
	};
};

/* How a request's page crosses, seen from the host. */
enum tmemp_page { TMEMP_PAGE_NONE, TMEMP_PAGE_READ, TMEMP_PAGE_WRITTEN };

/* The page of an opcode as it stands on the wire; NONE for unknown ones. */
enum tmemp_page tmemp_page_of(uint16_t opcode);

/*
 * Decode wire, a copy that nobody else can change.  Returns TMEMP_OK with *out
 * set, or TMEMP_BAD_REQUEST, TMEMP_BAD_VERSION or TMEMP_NO_POOL (pool id out of
 * range) with *out undefined.
 */
enum tmemp_status tmemp_request_decode(const struct tmemp_request *wire, struct tmemp_op *out);

/* A short name for reports: "put", "get", ...; "unknown" for the rest. */
const char *tmemp_opcode_name(uint16_t opcode);

/* The status's name as in the header, without its prefix: "REFUSED_QUOTA". */
const char *tmemp_status_name(uint32_t status);

#endif

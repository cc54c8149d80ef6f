/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_decode.c - any bytes through the decoder; what it accepts must be
 * within the ranges that its header promises.
 */
#include <stdlib.h>
#include <string.h>

#include "tmemp_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmemp_request w = { 0 };
	struct tmemp_op op;

	memcpy(&w, data, size < sizeof(w) ? size : sizeof(w));
	enum tmemp_status s = tmemp_request_decode(&w, &op);

	require(s == TMEMP_OK || s == TMEMP_BAD_REQUEST || s == TMEMP_BAD_VERSION ||
		s == TMEMP_NO_POOL);
	if (s != TMEMP_OK)
		return 0;
	require(op.op >= TMEMP_OP_HELLO && op.op < TMEMP_OP_END);
	require(op.pool < TMEMP_MAX_POOLS);
	if (op.op == TMEMP_OP_HELLO)
		require(op.hello.nonce && op.hello.version == TMEMP_VERSION);
	if (op.op == TMEMP_OP_POOL_CREATE)
		require(!(op.create.flags & ~TMEMP_POOL_FLAGS) &&
			op.create.flags != TMEMP_POOL_FLAGS);
	if (op.op == TMEMP_OP_EVENT)
		require(op.event.drain_result <= TMEMP_DRAIN_NO_ROOM);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * permit.c - which shared pools a client may join.
 *
 * Owns:    permission records in the arena: a client's number and a UUID.
 * How:     a walk over all records; there are few, and only creating a shared
 *          pool asks.
 * Must not: touch pools: a live one stays when its permission goes.
 */
#include <errno.h>
#include <string.h>

#include "client.h"
#include "table.h"

static struct tmem_permit_record *of_client(struct tmem_client *c, uint32_t number)
{
	_Atomic bool *used = tmem_companion(c->host, TMEM_TABLE_PERMIT, number);
	struct tmem_permit_record *r;

	if (!used || !atomic_load_explicit(used, memory_order_acquire))
		return NULL;
	r = tmem_record(c->host, TMEM_TABLE_PERMIT, number);
	return atomic_load_explicit(&r->client, memory_order_acquire) == c->number ? r : NULL;
}

static uint32_t find_locked(struct tmem_client *c, const uint8_t uuid[16])
{
	uint32_t number, end = tmem_table_end(c->host, TMEM_TABLE_PERMIT);

	for (number = 1; number < end; number++) {
		struct tmem_permit_record *r = of_client(c, number);

		if (r && !memcmp(r->uuid, uuid, 16))
			return number;
	}
	return 0;
}

bool tmem_client_permits_locked(struct tmem_client *c, const uint8_t uuid[16])
{
	bool found;

	tmem_lock(&c->host->permits);
	found = find_locked(c, uuid) != 0;
	tmem_unlock(&c->host->permits);
	return found;
}

static void drop_locked(struct tmem *t, uint32_t number)
{
	_Atomic bool *used = tmem_companion(t, TMEM_TABLE_PERMIT, number);
	struct tmem_permit_record *r = tmem_record(t, TMEM_TABLE_PERMIT, number);

	atomic_store_explicit(&r->client, 0, memory_order_release);
	atomic_store_explicit(used, false, memory_order_release);
	tmem_record_free(t, TMEM_TABLE_PERMIT, number);
}

void tmem_client_permits_drop(struct tmem_client *c)
{
	uint32_t number;

	tmem_lock(&c->host->permits);
	for (number = 1; number < tmem_table_end(c->host, TMEM_TABLE_PERMIT); number++)
		if (of_client(c, number))
			drop_locked(c->host, number);
	tmem_unlock(&c->host->permits);
}

static int add_locked(struct tmem_client *c, const uint8_t uuid[16])
{
	struct tmem_permit_record *r;
	_Atomic bool *used;
	uint32_t number;
	int err;

	number = tmem_record_alloc_grow(c->host, TMEM_TABLE_PERMIT, &err);
	if (!number)
		return -ENOMEM;
	r = tmem_record(c->host, TMEM_TABLE_PERMIT, number);
	memcpy(r->uuid, uuid, 16);
	r->incarnation = c->incarnation;
	atomic_store_explicit(&r->client, c->number, memory_order_release);
	used = tmem_companion(c->host, TMEM_TABLE_PERMIT, number);
	atomic_store_explicit(used, true, memory_order_release);
	return 0;
}

int tmem_client_authorise(struct tmem_client *c, const uint8_t uuid[16], bool allow)
{
	uint32_t number;
	int err = 0;

	if (!c || !uuid)
		return -EINVAL;
	tmem_lock(&c->host->permits);
	number = find_locked(c, uuid);
	if (allow && !number)
		err = add_locked(c, uuid);
	else if (!allow && number)
		drop_locked(c->host, number);
	tmem_unlock(&c->host->permits);
	return err;
}

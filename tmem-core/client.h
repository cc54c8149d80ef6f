/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - what clients, pools and the host share.
 */
#ifndef TMEM_CLIENT_H
#define TMEM_CLIENT_H

#include "types.h"

static inline uint32_t tmem_incarnation_next(struct tmem *t)
{
	return atomic_fetch_add_explicit(&t->super->incarnation, 1, memory_order_relaxed) + 1;
}

/* A client or pool structure: recycled or new, its locks ready.  NULL: no memory. */
struct tmem_client *tmem_client_shell(struct tmem *t);
struct tmem_pool *tmem_pool_shell(struct tmem *t);
void tmem_client_shell_free(struct tmem_client *c);
void tmem_pool_shell_free(struct tmem_pool *p);

/* Make a structure known under its number.  A client: false if its name is taken. */
bool tmem_client_publish(struct tmem *t, struct tmem_client *c);
void tmem_pool_publish(struct tmem *t, struct tmem_pool *p);

/* Name, quota and flags from the client's record, as far as they are sane. */
void tmem_client_restore(struct tmem_client *c);

/* Is the UUID allowed?  client.lock is held. */
bool tmem_client_permits_locked(struct tmem_client *c, const uint8_t uuid[16]);

/* Destroy all its pools, the host's as well. */
void tmem_client_pools_drop(struct tmem_client *c);

/* The last of a pool that was taken out of its client, and is empty. */
void tmem_pool_end(struct tmem_pool *p);

/* The pool's counters, summed over its stripes. */
void tmem_pool_count(struct tmem_pool *p, struct tmem_counters *sum);
void tmem_counters_add(struct tmem_counters *sum, const struct tmem_counters *n);

/* Release every structure kept for reuse; no thread is in the core. */
void tmem_clients_done(struct tmem *t);
void tmem_pools_done(struct tmem *t);

#endif

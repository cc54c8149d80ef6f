/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dedup.h - equal ephemeral pages stored once.
 */
#ifndef TMEM_DEDUP_H
#define TMEM_DEDUP_H

#include "index.h"
#include "page.h"

/* Off: nothing.  -ENOMEM. */
int tmem_dedup_init(struct tmem *t);
void tmem_dedup_done(struct tmem *t);

/* The name of staged data within the client's scope; 0 is no name. */
uint64_t tmem_dedup_name(const struct tmem_client *c, const struct tmem_staged *s);

/* Is there such data?  An answer of the moment: join may still fail. */
bool tmem_dedup_known(struct tmem *t, uint64_t name, const struct tmem_staged *s);

/*
 * Stripe held.  The slot ref becomes a referrer of data equal to s, or is to
 * hold it itself: data placed in h is known from now on.
 */
bool tmem_dedup_join(struct tmem *t, uint64_t name, const struct tmem_staged *s, tmem_handle ref);
void tmem_dedup_add(struct tmem *t, uint64_t name, tmem_handle h);

/* Copy the data a referrer means, at most a page.  info: what the data is.  -ENOENT. */
int tmem_dedup_read(struct tmem *t, uint64_t name, void *copy, uint32_t *info);

/*
 * Stripe not held.  The page in this reserved slot is gone; its data is about
 * to be.  True: the slot may be freed.  False: its data passed to a referrer
 * that lives there now.
 */
bool tmem_dedup_release(struct tmem *t, tmem_handle h);

/* The same for a slot whose frame is being emptied: its referrers go too. */
void tmem_dedup_evict(struct tmem *t, tmem_handle h);

#endif

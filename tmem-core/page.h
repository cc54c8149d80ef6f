/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page.h - a page in its slot: checksum, commit, kill.
 */
#ifndef TMEM_PAGE_H
#define TMEM_PAGE_H

#include "frame.h"

/* A page ready to be stored: compressed, tested, hashed; refers to the ctx's memory. */
struct tmem_staged {
	enum tmem_type type;
	uint32_t size;
	const void *data;
	uint64_t sum;			/* of the data */
	uint64_t word;			/* TMEM_TYPE_SAME, REF: what data points to */
};

/* What a live slot says, read once. */
struct tmem_page {
	tmem_handle handle;
	uint32_t object, index, sum, info;
	uint64_t tag;
};

uint64_t tmem_data_sum(const void *data, size_t size);
uint32_t tmem_page_sum(const struct tmem_page *p, uint64_t data_sum);

/* Copy the slot. */
void tmem_page_read(const struct tmem *t, tmem_handle h, struct tmem_page *p);

/* Does the slot name this object and index, and data within its frame? */
bool tmem_page_is(const struct tmem *t, const struct tmem_page *p, uint32_t object, uint32_t index);

/* Is the page in the slot the object's, and its checksum right? */
bool tmem_page_intact(const struct tmem *t, tmem_handle h, uint32_t object);

/* Fill a reserved slot, whose data is in place, and make the page exist. */
void tmem_page_commit(const struct tmem *t, tmem_handle h, const struct tmem_staged *staged,
		      uint32_t object, uint32_t index, uint64_t tag, uint32_t seq);

/* The page exists no more; its slot stays reserved until it is freed. */
void tmem_page_kill(const struct tmem *t, tmem_handle h);

#endif

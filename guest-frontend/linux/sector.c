// SPDX-License-Identifier: GPL-2.0
/*
 * sector.c - one bit a sector that says where its page is.
 *
 * Owns:     the held bit, the owed bit and the generation of every sector.
 * How:      every change of a sector, and the queueing of the request that goes
 *           with it, happen under the lock of the sector's object.  All requests
 *           of an object go to one queue, which the host drains in order; so the
 *           order in which the lock is taken is the order in which the host acts.
 *           Nobody waits for the put or get of a bio: their end is called back,
 *           outside the lock.  The kernel's frontswap, which has pages and no bios,
 *           waits for each; what happens under the lock is the same.
 *
 *           put:  take a new generation, queue the put with it as tag.  Its
 *                 outcome is applied only if the generation is still the
 *                 sector's newest: a write or free that came meanwhile has queued
 *                 its own request behind this one, and its outcome counts.
 *           get:  if held, queue the get; at its end compare the tag.
 *           free: not held any more; queue a flush.  A new generation, so that
 *                 a put still under way cannot set the bit again.
 *
 *           A flush never waits.  If it finds no slot or no host, the owed bit
 *           keeps it and a worker sends it later.  A put of the same sector does
 *           what an owed flush would have done, since a put leaves no older page
 *           readable whatever its outcome; so it takes the debt over under the
 *           lock, and the worker, which looks again under the lock, cannot
 *           send a flush behind it.  A flush that was in a ring that went away is
 *           owed again, unless the sector is held: then a put behind it was
 *           executed, so it was itself.
 *
 *           A put without an answer is a refusal here, and leaves a flush owed:
 *           if the host executes it after all, the page is found by nobody (the
 *           bit is clear) and is flushed by the request that follows it in the
 *           same queue.
 *
 *           move: puts are closed and those under way have ended, so a held sector's
 *                 generation is that of the host's page.  The sector is named in
 *                 moving under its lock, got, written to the disk, and disowned if
 *                 its generation is still the same.  A write to it that comes
 *                 meanwhile takes a new generation under the same lock, and then
 *                 waits until moving names another before it goes to the disk: the
 *                 older page never lands on top of it.
 * Must not: allocate after tmem_sectors_init; hold a lock while it waits.
 *
 * Locks:    an object's lock before a queue's lock.  Both with interrupts off.
 *
 * The swap code never reads or frees a slot while it writes it.  Others who read
 * the device meanwhile can see an I/O error, but no page that was not written.
 */
#include <linux/bio.h>
#include <linux/bitmap.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "request.h"
#include "sector.h"
#include "stats.h"

#define DRAIN_RETRY	HZ	/* when the host takes no flush now */

static struct tmem_sector_object *object_of(struct tmem_sectors *s, u64 sector)
{
	return &s->objects[tmemp_swap_object(sector)];
}

static spinlock_t *sector_lock(struct tmem_sectors *s, u64 sector)
{
	return &object_of(s, sector)->lock;
}

/* The sector is in the tag, so that a page under a wrong key is found out as well. */
static struct tmem_key sector_key(const struct tmem_sectors *s, u64 sector)
{
	return (struct tmem_key){
		.pool = TMEM_POOL_SWAP,
		.oid = { tmemp_swap_object(sector) },
		.index = tmemp_swap_index(sector),
		.tag = sector << 32 | s->generation[sector],
	};
}

static u64 call_sector(const struct tmem_call *call)
{
	return call->tag >> 32;
}

static void held_set_locked(struct tmem_sectors *s, u64 sector)
{
	if (!test_and_set_bit(sector, s->held))
		atomic_long_inc(&s->nr_held);
}

static bool held_clear_locked(struct tmem_sectors *s, u64 sector)
{
	if (!test_and_clear_bit(sector, s->held))
		return false;
	atomic_long_dec(&s->nr_held);
	return true;
}

/* ---- flushes ------------------------------------------------------------- */

static void owe_locked(struct tmem_sectors *s, u64 sector, unsigned long delay)
{
	if (!test_and_set_bit(sector, s->owed)) {
		tmem_count(TMEM_FLUSHES_OWED);
		queue_delayed_work(s->workers, &s->drain, delay);
	}
}

/* The ring is gone, and with it a flush that the host did not execute. */
static void flush_lost(const struct tmem_call *call, struct tmem_slot *slot)
{
	struct tmem_sectors *s = call->owner;
	u64 sector = call_sector(call);
	unsigned long flags;

	spin_lock_irqsave(sector_lock(s, sector), flags);
	if (!test_bit(sector, s->held))
		owe_locked(s, sector, DRAIN_RETRY);
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
}

/* Queue a flush in slot.  On an error the slot is released. */
static int flush_post_locked(struct tmem_sectors *s, u64 sector, struct tmem_slot *slot)
{
	struct tmem_key key = sector_key(s, sector);
	const struct tmem_call lost = { .done = flush_lost, .owner = s, .tag = key.tag };
	int err = tmem_flush_post(slot, &key, &lost);

	if (!err) {
		clear_bit(sector, s->owed);
		tmem_count(TMEM_FLUSHES);
	}
	return err;
}

/* Queue a flush, or leave it owed. */
static void flush_locked(struct tmem_sectors *s, u64 sector)
{
	struct tmem_key key = sector_key(s, sector);
	struct tmem_slot *slot = tmem_request_begin(&key, TMEM_NOWAIT);

	if (!slot || flush_post_locked(s, sector, slot))
		owe_locked(s, sector, 0);
}

/*
 * The host's page, if any, is not the truth any more.  A put under way may be
 * this sector's; then the flush belongs behind it, else it is one too many.
 */
static void disown_locked(struct tmem_sectors *s, u64 sector)
{
	if (held_clear_locked(s, sector) || test_bit(sector, s->owed) ||
	    object_of(s, sector)->putting)
		flush_locked(s, sector);
}

/* Send one owed flush.  -EAGAIN: the host takes none now. */
static int drain_sector(struct tmem_sectors *s, u64 sector)
{
	struct tmem_key key = sector_key(s, sector);
	struct tmem_slot *slot = tmem_request_begin(&key, TMEM_WAIT);
	unsigned long flags;
	int err = 0;

	if (!slot)
		return -EAGAIN;
	spin_lock_irqsave(sector_lock(s, sector), flags);
	if (test_bit(sector, s->owed))
		err = flush_post_locked(s, sector, slot);
	else
		tmem_slot_release(slot);
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
	return err;
}

static void drain_work(struct work_struct *work)
{
	struct tmem_sectors *s = container_of(work, struct tmem_sectors, drain.work);
	unsigned long sector;

	for_each_set_bit(sector, s->owed, s->count) {
		if (drain_sector(s, sector)) {
			queue_delayed_work(s->workers, &s->drain, DRAIN_RETRY);
			return;
		}
		cond_resched();
	}
}

void tmem_sector_free(struct tmem_sectors *s, u64 sector)
{
	unsigned long flags;

	spin_lock_irqsave(sector_lock(s, sector), flags);
	s->generation[sector]++;
	disown_locked(s, sector);
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
}

void tmem_sectors_free(struct tmem_sectors *s, u64 first)
{
	unsigned long sector = first;

	for_each_set_bit_from(sector, s->held, s->count) {
		tmem_sector_free(s, sector);
		cond_resched();
	}
}

/* ---- put ----------------------------------------------------------------- */

static void page_from_bio(void *page, struct bio *bio)
{
	struct bio_vec part;
	struct bvec_iter iter;

	bio_for_each_segment(part, bio, iter) {
		memcpy_from_bvec(page, &part);
		page += part.bv_len;
	}
}

static void page_to_bio(struct bio *bio, const void *page)
{
	struct bio_vec part;
	struct bvec_iter iter;

	bio_for_each_segment(part, bio, iter) {
		memcpy_to_bvec(&part, page);
		page += part.bv_len;
	}
}

static void put_end(struct tmem_sectors *s, u64 sector, u32 generation,
		    enum tmem_put_result result)
{
	static const enum tmem_counter counters[] = {
		[TMEM_PUT_TAKEN] = TMEM_PUTS,
		[TMEM_PUT_REFUSED] = TMEM_PUTS_REFUSED,
		[TMEM_PUT_DOUBTFUL] = TMEM_PUTS_DOUBTFUL,
	};
	unsigned long flags;

	tmem_count(counters[result]);
	spin_lock_irqsave(sector_lock(s, sector), flags);
	if (!--object_of(s, sector)->putting && s->closed)
		wake_up(&s->settled);
	if (s->generation[sector] == generation) {
		switch (result) {
		case TMEM_PUT_TAKEN:
			held_set_locked(s, sector);
			break;
		case TMEM_PUT_REFUSED:
			held_clear_locked(s, sector);
			break;
		case TMEM_PUT_DOUBTFUL:
			held_clear_locked(s, sector);
			flush_locked(s, sector);
			break;
		}
	}
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
}

static void put_done(const struct tmem_call *call, struct tmem_slot *slot)
{
	enum tmem_put_result result = tmem_put_result(slot);
	struct tmem_sectors *s = call->owner;

	if (slot)
		tmem_slot_release(slot);
	put_end(s, call_sector(call), (u32)call->tag, result);
	s->ops->put_end(call->cookie, result == TMEM_PUT_TAKEN);
}

/*
 * A new generation, its tag in *call, and the put of it on its way.  If nobody is to
 * be called the slot is to be waited for.  On an error it is used up.
 */
static int put_begin(struct tmem_sectors *s, u64 sector, struct tmem_slot *slot,
		     struct tmem_call *call)
{
	unsigned long flags;
	struct tmem_key key;
	int err;

	spin_lock_irqsave(sector_lock(s, sector), flags);
	if (s->closed) {
		tmem_slot_release(slot);
		err = -ESHUTDOWN;
	} else {
		s->generation[sector]++;
		key = sector_key(s, sector);
		call->tag = key.tag;
		err = tmem_put_submit(slot, &key, call->done ? call : NULL);
	}
	if (!err) {
		clear_bit(sector, s->owed);
		object_of(s, sector)->putting++;
	}
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
	return err;
}

/* A slot to put a sector with; NULL: it is not to be offered, or cannot be. */
static struct tmem_slot *put_slot(struct tmem_sectors *s, u64 sector, bool offer)
{
	struct tmem_key key = sector_key(s, sector);

	return offer && !READ_ONCE(s->closed) ? tmem_request_begin(&key, TMEM_WAIT) : NULL;
}

struct tmem_queue *tmem_sector_put(struct tmem_sectors *s, u64 sector, struct bio *bio, bool offer)
{
	struct tmem_call call = { .done = put_done, .owner = s, .cookie = bio };
	struct tmem_slot *slot = put_slot(s, sector, offer);
	struct tmem_queue *q;

	if (slot) {
		q = slot->queue;
		page_from_bio(slot->page, bio);
		if (!put_begin(s, sector, slot, &call))
			return q;
	}
	tmem_sector_free(s, sector);
	wait_event(s->settled, READ_ONCE(s->moving) != sector);
	return NULL;
}

int tmem_sector_put_page(struct tmem_sectors *s, u64 sector, struct page *page, bool offer)
{
	struct tmem_slot *slot = put_slot(s, sector, offer);
	struct tmem_call call = {};
	enum tmem_put_result result;

	if (slot) {
		memcpy_from_page(slot->page, page, 0, PAGE_SIZE);
		if (put_begin(s, sector, slot, &call))
			slot = NULL;
	}
	if (!slot) {
		tmem_sector_free(s, sector);
		return -EAGAIN;
	}
	if (!tmem_slot_wait(slot))
		slot = NULL;
	result = tmem_put_result(slot);
	if (slot)
		tmem_slot_release(slot);
	put_end(s, sector, (u32)call.tag, result);
	return result == TMEM_PUT_TAKEN ? 0 : -ENOSPC;
}

/* ---- get ----------------------------------------------------------------- */

static void get_failed(u64 sector, enum tmem_get_result result)
{
	pr_err_ratelimited("tmem: the host %s page %llu\n",
			   result == TMEM_GET_MISS ? "lost" : "did not give back", sector);
	tmem_count(TMEM_GETS_FAILED);
}

static void get_done(const struct tmem_call *call, struct tmem_slot *slot)
{
	enum tmem_get_result result = tmem_get_result(slot, call->tag);
	struct tmem_sectors *s = call->owner;
	int err = 0;

	if (result == TMEM_GET_PAGE) {
		page_to_bio(call->cookie, slot->page);
		tmem_count(TMEM_GETS);
	} else if (result == TMEM_GET_AGAIN) {
		err = -EAGAIN;
	} else {
		get_failed(call_sector(call), result);
		err = -EIO;
	}
	if (slot)
		tmem_slot_release(slot);
	s->ops->get_end(call->cookie, err);
}

/* Queue the get of a page the host holds; -ENOENT: it does not.  slot is used up. */
static int get_begin(struct tmem_sectors *s, u64 sector, struct tmem_slot *slot, struct bio *bio)
{
	struct tmem_call call = { .done = get_done, .owner = s, .cookie = bio };
	unsigned long flags;
	struct tmem_key key;
	int err = -ENOENT;

	spin_lock_irqsave(sector_lock(s, sector), flags);
	key = sector_key(s, sector);
	call.tag = key.tag;
	if (test_bit(sector, s->held))
		err = tmem_get_submit(slot, &key, &call);
	else
		tmem_slot_release(slot);
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
	return err;
}

int tmem_sector_get(struct tmem_sectors *s, u64 sector, struct bio *bio, struct tmem_queue **q)
{
	struct tmem_key key = sector_key(s, sector);
	struct tmem_slot *slot;
	int err = -EIO;

	if (!test_bit(sector, s->held))
		return -ENOENT;
	slot = tmem_request_begin(&key, TMEM_WAIT);
	if (slot) {
		*q = slot->queue;
		err = get_begin(s, sector, slot, bio);
	}
	if (!err || err == -ENOENT)
		return err;
	get_failed(sector, TMEM_GET_FAILED);
	return -EIO;
}

/*
 * Get the page of a held sector and wait.  move: the sector is moving then.  NULL, and
 * *result says why: TMEM_GET_PAGE where nothing was asked, as it is not held.
 */
static struct tmem_slot *held_get(struct tmem_sectors *s, u64 sector, struct tmem_key *key,
				  bool move, enum tmem_get_result *result)
{
	struct tmem_slot *slot;
	unsigned long flags;
	bool asked = false;

	*result = TMEM_GET_PAGE;
	*key = sector_key(s, sector);
	slot = tmem_request_begin(key, TMEM_WAIT);
	if (!slot)
		return NULL;
	spin_lock_irqsave(sector_lock(s, sector), flags);
	*key = sector_key(s, sector);
	if (test_bit(sector, s->held)) {
		asked = !tmem_get_submit(slot, key, NULL);
		if (asked && move)
			WRITE_ONCE(s->moving, sector);
	} else {
		tmem_slot_release(slot);
	}
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
	if (!asked)
		return NULL;
	*result = tmem_get_wait(slot, key->tag);
	return *result == TMEM_GET_PAGE ? slot : NULL;
}

int tmem_sector_get_page(struct tmem_sectors *s, u64 sector, struct page *page)
{
	enum tmem_get_result result;
	struct tmem_slot *slot;
	struct tmem_key key;

	if (!test_bit(sector, s->held))
		return -ENOENT;
	slot = held_get(s, sector, &key, false, &result);
	if (!slot)
		return -EAGAIN;
	memcpy_to_page(page, 0, slot->page, PAGE_SIZE);
	tmem_slot_release(slot);
	tmem_count(TMEM_GETS);
	return 0;
}

/* ---- moving everything to the disk --------------------------------------- */

static bool putting_ended(struct tmem_sectors *s)
{
	unsigned int i, putting = 0;

	for (i = 0; i < TMEM_SECTOR_OBJECTS; i++) {
		spin_lock_irq(&s->objects[i].lock);
		putting += s->objects[i].putting;
		spin_unlock_irq(&s->objects[i].lock);
	}
	return !putting;
}

/* A put is waited for within the module's bound, so this ends. */
void tmem_sectors_close(struct tmem_sectors *s)
{
	WRITE_ONCE(s->closed, true);
	wait_event(s->settled, putting_ended(s));
}

void tmem_sectors_open(struct tmem_sectors *s)
{
	WRITE_ONCE(s->closed, false);
}

/* The page of a held sector, in a slot; the sector is moving then.  NULL: not held, or lost. */
static struct tmem_slot *move_begin(struct tmem_sectors *s, u64 sector, struct tmem_key *key)
{
	enum tmem_get_result result;
	struct tmem_slot *slot = held_get(s, sector, key, true, &result);

	if (!slot && result != TMEM_GET_PAGE)
		get_failed(sector, result);
	return slot;
}

static void move_end(struct tmem_sectors *s, u64 sector, const struct tmem_key *key, bool written)
{
	unsigned long flags;

	spin_lock_irqsave(sector_lock(s, sector), flags);
	if (written && sector_key(s, sector).tag == key->tag)
		disown_locked(s, sector);
	WRITE_ONCE(s->moving, TMEM_SECTOR_NONE);
	spin_unlock_irqrestore(sector_lock(s, sector), flags);
	wake_up_all(&s->settled);
}

/* 0 where there is nothing to move any more. */
static int sector_move(struct tmem_sectors *s, u64 sector,
		       int (*write)(void *arg, u64 sector, void *page), void *arg)
{
	struct tmem_key key = {};
	struct tmem_slot *slot = move_begin(s, sector, &key);
	int err = -EIO;

	if (slot) {
		err = write(arg, sector, slot->page);
		tmem_slot_release(slot);
	}
	move_end(s, sector, &key, !err);
	return err && test_bit(sector, s->held) ? err : 0;
}

int tmem_sectors_move(struct tmem_sectors *s,
		      int (*write)(void *arg, u64 sector, void *page), void *arg)
{
	unsigned long sector;
	int err;

	for_each_set_bit(sector, s->held, s->count) {
		err = sector_move(s, sector, write, arg);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* ---- creation ------------------------------------------------------------ */

int tmem_sectors_init(struct tmem_sectors *s, u64 count, const struct tmem_sector_ops *ops)
{
	unsigned int i;

	if (count > 1ull << 32 || count > ULONG_MAX / sizeof(*s->generation))
		return -EFBIG;
	s->ops = ops;
	s->count = count;
	s->closed = false;
	s->moving = TMEM_SECTOR_NONE;
	init_waitqueue_head(&s->settled);
	atomic_long_set(&s->nr_held, 0);
	INIT_DELAYED_WORK(&s->drain, drain_work);
	for (i = 0; i < TMEM_SECTOR_OBJECTS; i++)
		spin_lock_init(&s->objects[i].lock);
	s->generation = vzalloc(count * sizeof(*s->generation));
	s->held = vzalloc(BITS_TO_LONGS(count) * sizeof(long));
	s->owed = vzalloc(BITS_TO_LONGS(count) * sizeof(long));
	s->workers = alloc_workqueue("tmem", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (s->generation && s->held && s->owed && s->workers)
		return 0;
	tmem_sectors_exit(s);
	return -ENOMEM;
}

void tmem_sectors_exit(struct tmem_sectors *s)
{
	if (s->workers) {
		cancel_delayed_work_sync(&s->drain);
		destroy_workqueue(s->workers);
	}
	vfree(s->owed);
	vfree(s->held);
	vfree(s->generation);
}

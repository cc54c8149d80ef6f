/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - the host's side of a split virtqueue, whatever transport carries it.
 *
 * Owns:    the host's private indices, the walk of descriptor chains, used
 *          elements, and when to ask for or send notifications.
 * How:     everything the guest writes is read once, into private memory.  A
 *          chain is fetched, served by the caller, and completed; chains may be
 *          completed later and in another order (EVENT does).
 *          What a process that takes over must know of it is one word, changed by
 *          single stores: killed between any two, it says exactly which requests
 *          have been handed back.
 * Must not: know requests, file descriptors or threads.  The caller serialises
 *          all calls on one ring (queue.h's lock).
 *
 * What it survives, the guest writing anything at any time:
 *
 *   available index jumps        more than num ahead of us fails the ring
 *   available index steps back   the same, seen modulo 2^16
 *   head or next out of range    compared with num or the table's length, on
 *                                the private copy, before it is used
 *   descriptor loop              a walk takes at most num + 1 steps, in an indirect
 *                                table RING_PARTS_MAX
 *   nested or misplaced indirect fails the ring, as does a table that is empty,
 *                                ragged or outside guest memory
 *   descriptor changed while     each is copied once; a walk may mix old and new
 *     it is walked               ones, which gives some chain, checked as any
 *   a head made available twice  two chains with one id; the guest gets both back
 *   used ring overwritten        never read, but for used.idx once at start
 *   used_event at random         costs the guest interrupts, nobody else
 *   memory taken away            sigbus.h: reads give zeros, the caller finds out
 *
 * Who sees what before what:
 *
 *   avail.idx      acquire   before ring entries and descriptors it announces
 *   used.idx       release   after the element and all the caller wrote for it
 *   avail_event,   full      before avail.idx is read again: either the guest
 *   used.flags     fence     sees our wish to be kicked, or we see its request
 *   used.idx       full      before used_event or avail.flags is read: either we
 *                  fence     see the guest's wish, or it sees our element
 */
#ifndef HV_RING_H
#define HV_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tmemp_ring.h"

/*
 * Guest memory as a transport gives it: by address and length, which come from
 * the guest and are checked here and nowhere else.  read and write copy, so
 * that memory which must be mapped or granted page by page fits too.
 */
struct ring_mem_ops {
	bool (*covers)(void *mem, uint64_t addr, uint32_t len);
	int  (*read)(void *mem, void *dst, uint64_t addr, uint32_t len);	/* 0, -EFAULT */
	int  (*write)(void *mem, uint64_t addr, const void *src, uint32_t len);	/* 0, -EFAULT */
};

/* Where the three parts are; all of each must stay mapped. */
struct ring_layout {
	unsigned num;		/* descriptors: a power of two, 1 to TMEMP_RING_NUM_MAX */
	struct tmemp_desc *desc;
	struct tmemp_avail *avail;
	struct tmemp_used *used;
};

/*
 * The word that is kept:  avail_next  0-15, used_next 16-31, parked head 32-47
 *
 *   BUSY     the request before avail_next was fetched, not completed or parked;
 *	      the next process fetches it again
 *   PARKED   the chain at the parked head is to be completed later
 *   ALONE    BUSY is a replay, with nothing else running
 *   strikes  deaths that are this request's doing, see queue_replay()
 *
 * Completing: the element, then the word, then used.idx.  The next process stores
 * used.idx again, so the guest sees a request done exactly if the word says so.
 */
#define RING_BUSY		(1ull << 48)
#define RING_PARKED		(1ull << 49)
#define RING_ALONE		(1ull << 50)
#define RING_STRIKE_SHIFT	56
#define RING_STRIKE		(1ull << RING_STRIKE_SHIFT)
#define RING_STRIKES		(7ull << RING_STRIKE_SHIFT)

static inline uint16_t ring_parked_head(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

static inline unsigned ring_strikes(uint64_t word)
{
	return (unsigned)((word & RING_STRIKES) >> RING_STRIKE_SHIFT);
}

/*
 * Fetched and not completed = avail_next - used_next (mod 2^16), at most num.
 * Known and not fetched     = avail_seen - avail_next (mod 2^16), at most num.
 */
struct ring {
	const struct ring_mem_ops *ops;
	void *mem;
	struct ring_layout at;
	bool event_idx, indirect;	/* negotiated */
	uint16_t avail_next;	/* the next entry to fetch */
	uint16_t avail_seen;	/* avail.idx when last read */
	uint16_t used_next;	/* the next element to write; used.idx is its copy */
	uint16_t used_told;	/* used_next when an interrupt was last decided */
	_Atomic uint64_t *kept;	/* the word; outlives us if it is in the state file */
	_Atomic uint64_t own;	/* where there is no other place for it */
};

struct ring_part {
	uint64_t addr;
	uint32_t len;
	bool write;		/* the host writes it */
};

/* The longest chain that is served; a device may put it in a ring shorter than that. */
#define RING_PARTS_MAX	TMEMP_RING_NUM_MAX

struct ring_chain {
	uint16_t head;
	unsigned parts;		/* in part[] */
	struct ring_part part[RING_PARTS_MAX];
};

/* True if num and the alignment of the parts are as virtio demands. */
bool ring_layout_is_valid(const struct ring_layout *at);

/*
 * Begin with the first request that has no used element yet; features are
 * virtio's bits as the driver accepted them.  The layout must be valid.
 */
void ring_start(struct ring *r, const struct ring_mem_ops *ops, void *mem,
		const struct ring_layout *at, uint64_t features);

/* Have the word in *kept from now on; the ring is started or resumed afterwards. */
void ring_keep(struct ring *r, _Atomic uint64_t *kept);

/*
 * Go on where the process that last wrote the word was killed.  -EPROTO: the word
 * is none that a ring of this size can have.
 */
int ring_resume(struct ring *r, const struct ring_mem_ops *ops, void *mem,
		const struct ring_layout *at, uint64_t features);

/* The word as it is now. */
uint64_t ring_word(const struct ring *r);

/* Change its bits on BUSY: ALONE and the strikes. */
void ring_judge(struct ring *r, bool alone, unsigned strikes);

/* Go on with the same ring at other pointers. */
void ring_move(struct ring *r, const struct ring_layout *at);

/*
 * Take the next chain.  Returns 1 with *c set, 0 if there is none, or -EPROTO
 * with *why set to a constant text if the ring is broken; then it must not be
 * used any more.
 */
int ring_fetch(struct ring *r, struct ring_chain *c, const char **why);

/*
 * Take the chain at head again, in place of the next ring_fetch(): one that was
 * fetched before the ring was started and has no used element.
 */
int ring_refetch(struct ring *r, uint16_t head, struct ring_chain *c, const char **why);

/* Undo the last ring_fetch(), to have the chain read anew by the next. */
void ring_unfetch(struct ring *r);

/* Hand the chain fetched last back with the number of bytes written into it. */
void ring_complete(struct ring *r, uint16_t head, uint32_t written);

/* The chain fetched last is completed later; at most one is parked at a time. */
void ring_park(struct ring *r, uint16_t head);

/* Hand the parked chain back. */
void ring_complete_parked(struct ring *r, uint16_t head, uint32_t written);

/* avail.idx as it is now. */
uint16_t ring_avail_now(const struct ring *r);

/* True while entries before index until are not fetched; until was avail.idx once. */
bool ring_is_before(const struct ring *r, uint16_t until);

/* True if completions since the last call are to be told by an interrupt. */
bool ring_interrupt_due(struct ring *r);

/* Ask for a kick by the next request; true if one is there already. */
bool ring_kick_want(struct ring *r);

/* Kicks are not needed: we look by ourselves. */
void ring_kick_spare(struct ring *r);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.h - who may have a frame, and who loses one for it.
 */
#ifndef TMEM_SHARE_H
#define TMEM_SHARE_H

#include "types.h"

/*
 * A frame for the client and kind, charged and zeroed of others' data; for a
 * table with c NULL, charged to nobody.  Evicts where limits say so.
 * -EDQUOT: the client's or the host's persistent limit; -ENOSPC: the target.
 */
int tmem_frame_get(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t *frame);

/* An empty frame of the client's store goes to the free ones. */
void tmem_frame_put(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t frame);

/* So many frames of the client are not its any more (but still counted as used). */
void tmem_uncharge(struct tmem *t, struct tmem_client *c, enum tmem_kind kind, uint32_t frames);

/* Rebuild: charge a frame whatever the limits. */
void tmem_share_adopt(struct tmem *t, struct tmem_client *c, enum tmem_kind kind);

/*
 * The client that should lose ephemeral frames now: the one most above its share
 * among those above their min; NULL: there is none.  *frames: how many are wanted,
 * then how many it may lose before somebody else may be the one.  *floor: some
 * client has ephemeral frames but is within its min.
 */
struct tmem_client *tmem_share_victim(struct tmem *t, unsigned *frames, bool *floor);

/* Physical bytes over fair share, 1000: at its share. */
uint64_t tmem_share_permille(struct tmem_client *c);

/* The choice of victim is to be made again. */
void tmem_share_changed(struct tmem *t);

#endif

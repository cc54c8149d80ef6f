/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TMEM_EVENT_H
#define TMEM_EVENT_H

/* From here on the host may ask for a drain.  -ENOMEM. */
int  tmem_event_init(void);

/* It may not any more; a drain under way is waited for.  Before its device goes. */
void tmem_event_exit(void);

#endif

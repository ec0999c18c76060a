/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Synchronous changes: GRANT, CHECKIN, CHANGE, each with a slot, so that the
 * server carries each out once however often it is sent.
 */
#ifndef ARCHIL_SYNC_H
#define ARCHIL_SYNC_H

#include <linux/bitmap.h>
#include <linux/wait.h>

#include "shared/record.h"

struct archil_across;
struct archil_mount;
struct dentry;
struct inode;

struct archil_slots {
	spinlock_t lock;
	DECLARE_BITMAP(busy, ARCHIL_SLOTS);	/* protected by lock */
	u32 seq[ARCHIL_SLOTS];			/* the last used; protected by lock */
	wait_queue_head_t wait;
};

void archil_slots_init(struct archil_mount *m);
/* A free slot and its next sequence number; @timeout: jiffies. -EINTR, -ETIMEDOUT. */
int archil_slot_get(struct archil_mount *m, struct archil_slot *slot, long timeout);
/* @used: the server has, or may have, seen the number. */
void archil_slot_put(struct archil_mount *m, const struct archil_slot *slot, bool used);

/* Until every request that is out now is answered; @timeout: jiffies. -EINTR, -ETIMEDOUT. */
int archil_slots_settle(struct archil_mount *m, long timeout);
/* Until no slot is busy. Nobody asks any more. */
void archil_slots_wait_idle(struct archil_mount *m);

/*
 * A CREATE record as a CHANGE. @grant: ask for ownership of the inode that it makes; what is
 * granted is installed, with @root, the new name, also if the caller is killed
 * meanwhile. Killable. Errnos of the server.
 */
int archil_sync_create(struct archil_mount *m, const struct archil_record *rec, bool grant,
		       struct dentry *root, struct archil_change_rep *rep, u64 *commit);

/* LINK, UNLINK or RENAME as a CHANGE; for across.c, whose @ac is consumed. Killable. */
int archil_sync_across(struct archil_mount *m, const struct archil_record *rec,
		       struct archil_across *ac, u64 *commit);

/*
 * Ownership of a regular file where nobody has it, on the data connection: no
 * agent is needed. 0: owned now. -EBUSY, -ENOENT, -ESTALE, ...
 */
int archil_sync_grant(struct inode *inode, struct dentry *root);

#endif /* ARCHIL_SYNC_H */

/* SPDX-License-Identifier: GPL-2.0 */
/* What of a mount is not durable yet, and when it is written back. dirty.c has the rules. */
#ifndef ARCHIL_DIRTY_H
#define ARCHIL_DIRTY_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct archil_mount;
struct inode;

struct archil_dirty {
	spinlock_t lock;
	struct list_head inodes;	/* archil_inode.dirty_list; protected by lock */
	struct mutex walk_mutex;	/* who takes inodes off, to look at them */
	atomic_t flushing;		/* who is in archil_dirty_flush(), and sends the logs at its end */
	struct delayed_work commit_work; /* within commit seconds while anything is not durable */
	unsigned long flags;		/* ARCHIL_COMMIT_*, atomic bit operations */
};

void archil_dirty_init(struct archil_mount *m);

/* Its bytes, size or times are not durable: look at it at the next commit. */
void archil_mark_dirty(struct inode *inode);
/* It lost its last name: nothing of it is written back for the sake of commit=. */
void archil_unmark_dirty(struct inode *inode);

/*
 * Write back every inode that is dirty, wait, and append the sizes and times that this makes true.
 * 0, -EINTR if @killable, -EIO, -ENOMEM.
 */
int archil_dirty_flush(struct archil_mount *m, bool killable);

/* Something is not durable: the next commit comes within commit seconds. */
void archil_commit_soon(struct archil_mount *m);
/* There is much of it: the next commit comes at once. */
void archil_commit_now(struct archil_mount *m);
/* No commit comes any more, unless something asks for one; at the end of a mount: what is still dirty goes. */
void archil_commit_cancel(struct archil_mount *m);
void archil_dirty_drop(struct archil_mount *m);

#endif /* ARCHIL_DIRTY_H */

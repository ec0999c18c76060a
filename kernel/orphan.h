/* SPDX-License-Identifier: GPL-2.0 */
/* Files that lost their last name and are still open: orphans. */
#ifndef ARCHIL_ORPHAN_H
#define ARCHIL_ORPHAN_H

struct archil_deleg;
struct archil_batch_rec;
struct inode;
struct work_struct;

/* It is about to lose its last name, or begins without one: RELEASE is prepared. -ENOMEM. */
int archil_orphan_prepare(struct inode *inode);
/* It has a name after all. Never blocks. */
void archil_orphan_cancel(struct inode *inode);
/*
 * Has the server made it an orphan with a delegation of its own? Then that is
 * installed. 0; -EROFS: it has not; -EINTR, -ENOMEM, errnos of the server.
 */
int archil_orphan_adopt(struct inode *inode);
/* It is evicted, and was in @d (or NULL). Never waits for network. */
void archil_orphan_release(struct inode *inode, struct archil_deleg *d);
/* @d goes on after draining: what was released meanwhile. Under delegs->lock. */
void archil_orphans_go_on(struct archil_deleg *d);
/* @d is closed: what was released while it drained is said where it is now. May sleep. */
void archil_orphans_closed(struct archil_deleg *d);
/* The same for what was released later still: archil_deleg.release_work. Puts the delegation. */
void archil_orphans_work(struct work_struct *work);
/* For the last one to put @d. */
void archil_orphans_forget(struct archil_deleg *d);

#endif /* ARCHIL_ORPHAN_H */

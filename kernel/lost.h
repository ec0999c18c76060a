/* SPDX-License-Identifier: GPL-2.0 */
/* Cleaning up after a delegation that was lost. */
#ifndef ARCHIL_LOST_H
#define ARCHIL_LOST_H

struct archil_mount;
struct inode;
struct work_struct;

/* archil_deleg.lost_work: tells and drops, then sets `cleaned`; puts a reference. */
void archil_lost_work(struct work_struct *work);
/* What was lost until now is cleaned up. 0 or, if @killable, -EINTR. */
int archil_lost_wait_all(struct archil_mount *m, bool killable);
/* Entering said -EIO: wait, killably, until what was lost is cleaned up. Then it may be ours anew. */
int archil_lost_wait(struct inode *inode);

#endif /* ARCHIL_LOST_H */

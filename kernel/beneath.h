/* SPDX-License-Identifier: GPL-2.0 */
/* Which delegations lie beneath a directory, found without looking at all that are held. */
#ifndef ARCHIL_BENEATH_H
#define ARCHIL_BENEATH_H

#include <linux/types.h>

struct archil_deleg;
struct dentry;
struct inode;

/* A delegation is about to be had on @dentry, or @dentry about to be moved here: a directory. */
void archil_beneath_mark(struct dentry *dentry);
/* d_splice_alias(), which may move a directory. */
struct dentry *archil_splice_alias(struct inode *inode, struct dentry *dentry);

/*
 * Of those that lie on @dentry, a directory or not, or beneath it, and are no orphan's: the first with a
 * number above @number, with a reference; or NULL.
 */
struct archil_deleg *archil_beneath_next(struct dentry *dentry, u64 number);

#endif /* ARCHIL_BENEATH_H */

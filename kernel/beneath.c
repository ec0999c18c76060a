// SPDX-License-Identifier: GPL-2.0
/*
 * Which delegations lie beneath a directory, found without looking at all that are held.
 *
 * 1. Each directory above a delegation's root has ARCHIL_I_ABOVE, from before the delegation is in the
 *    tables. It is never taken away: a directory may have it that nothing lies beneath any more, until
 *    memory forgets it. One that something lies beneath is not forgotten: the root is pinned.
 * 2. Before a directory moves to another, all above its new place get it, whatever lies in it.
 * 3. So beneath a directory without it lies nothing, and what lies on the directory itself is found
 *    by its number.
 */
#include <linux/dcache.h>

#include "beneath.h"
#include "deleg.h"
#include "inode.h"

void archil_beneath_mark(struct dentry *dentry)
{
	struct dentry *at = dget(dentry), *parent;

	/* Who moves a part of this way meanwhile marks what is above it then. */
	while (!IS_ROOT(at)) {
		parent = dget_parent(at);
		dput(at);
		at = parent;
		set_bit(ARCHIL_I_ABOVE, &archil_i(d_inode(at))->flags);
	}
	dput(at);
}

struct dentry *archil_splice_alias(struct inode *inode, struct dentry *dentry)
{
	if (!IS_ERR_OR_NULL(inode) && S_ISDIR(inode->i_mode) && !hlist_empty(&inode->i_dentry))
		archil_beneath_mark(dentry);
	return d_splice_alias(inode, dentry);
}

/* Does @d lie on @dentry, a directory or not, or beneath it? An orphan's lies nowhere. */
static bool archil_deleg_beneath(struct archil_deleg *d, struct dentry *dentry)
{
	bool is = false;

	/* Its name may have been dropped. */
	if (d->ino == archil_i(d_inode(dentry))->ino)
		return d->origin;
	spin_lock(&d->mount->delegs.lock);
	if (d->root)
		is = is_subdir(d->root, dentry);
	spin_unlock(&d->mount->delegs.lock);
	return is;
}

struct archil_deleg *archil_beneath_next(struct dentry *dentry, u64 number)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_inode *ai = archil_i(d_inode(dentry));
	bool above = test_bit(ARCHIL_I_ABOVE, &ai->flags);
	struct archil_deleg *d;

	while ((d = above ? archil_deleg_next(m, number) :
			    archil_deleg_next_at(m, number, ai->ino)) &&
	       !archil_deleg_beneath(d, dentry)) {
		number = d->number;
		archil_deleg_put(d);
		cond_resched();
	}
	return d;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Cached names.
 *
 * 1. A name, there or not, was seen at a commit. In a directory that we own it is
 *    valid, without asking, if that is not before the grant's; only we change it.
 * 2. Elsewhere it is valid for cache_ttl after it was seen, then asked for again.
 * 3. That a name is not there is not believed by who is about to make it, unless we
 *    own the directory.
 *    What is appended to a log names only what was seen under that delegation
 *    (archil_name_under()): the VFS looked names up before it took the locks.
 * 4. When a delegation is lost, all names are asked for again (names_epoch): what we did
 *    under it may not have happened. So when one is granted on a directory that was
 *    there before: a name may be younger than cache_ttl and still from before.
 */
#include <linux/namei.h>
#include <linux/slab.h>

#include "dir.h"
#include "inode.h"
#include "names.h"

static int archil_d_init(struct dentry *dentry)
{
	struct archil_name *name = kzalloc(sizeof(*name), GFP_KERNEL_ACCOUNT);

	if (!name)
		return -ENOMEM;
	name->dentry = dentry;
	dentry->d_fsdata = name;
	return 0;
}

static void archil_d_release(struct dentry *dentry)
{
	struct archil_name *name = archil_name_of(dentry);

	if (name)
		kfree_rcu(name, rcu);
}

/*
 * A name leaves the cache: its directory is not complete any more, first of all. What is not hashed
 * is no name, but what was removed while open or had another renamed over it; who drops a
 * name that is there says so (archil_dir_incomplete()).
 */
static void archil_d_prune(struct dentry *dentry)
{
	struct inode *dir;

	if (!d_is_negative(dentry) && !d_unhashed(dentry) && !IS_ROOT(dentry)) {
		dir = d_inode(dentry->d_parent);
		if (dir)
			archil_dir_incomplete(dir);
	}
	archil_dir_unlist(dentry);
}

static void archil_name_set(struct dentry *dentry, u64 commit, unsigned long asked, bool primed)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_name *name = archil_name_of(dentry);

	WRITE_ONCE(name->commit, commit);
	WRITE_ONCE(name->expires, asked + m->cache_ttl * HZ);
	WRITE_ONCE(name->epoch, READ_ONCE(m->delegs.names_epoch));
	WRITE_ONCE(name->primed, primed);
}

void archil_name_seen(struct dentry *dentry, u64 commit)
{
	archil_name_set(dentry, commit, jiffies, false);
}

void archil_name_listed(struct dentry *dentry, u64 commit, unsigned long asked)
{
	archil_name_set(dentry, commit, asked, true);
}

void archil_name_doubt(struct dentry *dentry)
{
	struct archil_name *name = archil_name_of(dentry);

	WRITE_ONCE(name->commit, 0);
	WRITE_ONCE(name->expires, jiffies - 1);
}

void archil_name_asked(struct dentry *dentry, u64 commit)
{
	archil_name_set(dentry, commit, jiffies, READ_ONCE(archil_name_of(dentry)->primed));
}

void archil_name_confirm(struct dentry *dentry, u64 change, u64 commit, unsigned long asked)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_name *name = archil_name_of(dentry);
	u64 seen = READ_ONCE(name->commit);

	/* To be renamed changes a directory, and changes are numbered as commits are. */
	if (IS_ROOT(dentry) || seen < change || seen > commit)
		return;
	WRITE_ONCE(name->commit, commit);
	WRITE_ONCE(name->expires, asked + m->cache_ttl * HZ);
}

/* Is it about to be made? */
static bool archil_name_made(struct dentry *dentry, unsigned int flags)
{
	return flags & (LOOKUP_CREATE | LOOKUP_RENAME_TARGET) && d_is_negative(dentry);
}

/* Without references or locks: under RCU, or with a stable parent. */
static inline bool archil_name_valid(struct dentry *dentry, struct inode *dir, unsigned int flags)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_name *name = archil_name_of(dentry);
	u64 since;

	if (READ_ONCE(name->epoch) != READ_ONCE(m->delegs.names_epoch))
		return false;
	since = archil_owned_since(archil_i(dir));
	if (since)
		return READ_ONCE(name->commit) >= since;
	return time_before(jiffies, READ_ONCE(name->expires)) && !(flags & LOOKUP_REVAL) &&
	       !archil_name_made(dentry, flags);
}

bool archil_name_under(struct dentry *dentry, const struct archil_deleg *d)
{
	struct archil_name *name = archil_name_of(dentry);

	return READ_ONCE(name->epoch) == READ_ONCE(d->mount->delegs.names_epoch) &&
	       READ_ONCE(name->commit) >= d->commit;
}

/* Somebody has named it: ownership may be taken by itself again. */
static void archil_named(struct dentry *dentry)
{
	struct inode *inode = d_inode_rcu(dentry);

	if (inode && test_bit(ARCHIL_I_GIVEN, &archil_i(inode)->flags))
		clear_bit(ARCHIL_I_GIVEN, &archil_i(inode)->flags);
}

static noinline int archil_d_revalidate_ref(struct dentry *dentry, unsigned int flags)
{
	struct dentry *parent = dget_parent(dentry);
	struct inode *inode = d_inode(parent);
	int ret;

	archil_deleg_put(archil_deleg_told(inode));
	ret = archil_name_valid(dentry, inode, flags) ? 1 : archil_name_ask(inode, dentry);
	/* The VFS drops the name without asking archil_d_prune(). */
	if (!ret)
		archil_dir_incomplete(inode);
	dput(parent);
	return ret;
}

static int archil_d_revalidate(struct inode *dir, const struct qstr *qname,
			       struct dentry *dentry, unsigned int flags)
{
	struct inode *inode;

	archil_named(dentry);
	if (!(flags & LOOKUP_RCU))
		return archil_d_revalidate_ref(dentry, flags);
	inode = d_inode_rcu(READ_ONCE(dentry->d_parent));
	return inode && archil_name_valid(dentry, inode, flags) ? 1 : -ECHILD;
}
COMPAT_D_REVALIDATE(archil_d_revalidate)

const struct dentry_operations archil_dentry_ops = {
	.d_init		= archil_d_init,
	.d_prune	= archil_d_prune,
	.d_release	= archil_d_release,
	.d_revalidate	= COMPAT_D_REVALIDATE_OP(archil_d_revalidate),
};

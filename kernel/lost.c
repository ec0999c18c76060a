// SPDX-License-Identifier: GPL-2.0
/*
 * Cleaning up after a delegation that was lost: who is told EIO, what is dropped.
 *
 * 1. Losing waits for nobody: archil_deleg_lost() sets the state, fails the log and queues this.
 * 2. The work waits for those who are inside a change: what they were told is done counts. Then the
 *    error is recorded for each inode that lost something, of its own or of the way to it, while
 *    all of them are still known to be of the delegation.
 * 3. Then, per inode, `lost` moves, so that descriptors opened before are refused, mappings are
 *    removed and pages dropped.
 * 4. Until that is done an inode stays with what was lost: no later delegation finds anything of it.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/pagemap.h>

#include "inode.h"
#include "lost.h"
#include "pagecache.h"

/* Was anything of it not durable? Small contents are, once their records are. */
static bool archil_inode_loses(struct archil_deleg *d, struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	if (max(READ_ONCE(ai->last_seq), READ_ONCE(ai->size_seq)) > READ_ONCE(d->log.acked))
		return true;
	return S_ISREG(inode->i_mode) && test_bit(ARCHIL_I_BULK, &ai->flags) &&
	       archil_inode_dirty(inode);
}

/* Were names or attributes of directories that lead to it not durable? */
static bool archil_way_loses(struct archil_deleg *d, struct inode *inode)
{
	struct dentry *dentry = d_find_any_alias(inode), *parent;
	struct archil_inode *ai;
	bool loses = false;

	while (dentry && !IS_ROOT(dentry) && !loses) {
		parent = dget_parent(dentry);
		dput(dentry);
		dentry = parent;
		ai = archil_i(d_inode(dentry));
		spin_lock(&ai->lock);
		loses = ai->own == d && ai->led_seq > READ_ONCE(d->log.acked);
		spin_unlock(&ai->lock);
	}
	dput(dentry);
	return loses;
}

/* Before the first is disowned: what leads to an inode must still be known to be of @d. */
static int archil_tell_inode(struct archil_deleg *d, struct inode *inode, void *arg)
{
	if (archil_inode_loses(d, inode) || archil_way_loses(d, inode)) {
		set_bit(ARCHIL_I_TOLD, &archil_i(inode)->flags);
		mapping_set_error(inode->i_mapping, -EIO);
	}
	return 0;
}

static int archil_lose_inode(struct archil_deleg *d, struct inode *inode, void *arg)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *old;
	bool told;

	atomic_inc(&ai->lost);
	smp_mb(); /* lost before the pages go: whoever dirties one later sees it */
	told = test_and_clear_bit(ARCHIL_I_TOLD, &ai->flags);
	old = archil_inode_disown(ai);
	/* archil_lost_wait() finds some that nobody has looked at. */
	if (!told && archil_inode_loses(d, inode))
		mapping_set_error(inode->i_mapping, -EIO);
	if (S_ISREG(inode->i_mode))
		archil_drop_data(inode);
	archil_inode_expire(inode);
	archil_deleg_put(old);
	return 0;
}

int archil_lost_wait_all(struct archil_mount *m, bool killable)
{
	atomic_t *cleaning = &m->delegs.cleaning;

	if (!killable)
		wait_var_event(cleaning, !atomic_read(cleaning));
	else if (wait_var_event_killable(cleaning, !atomic_read(cleaning)))
		return -EINTR;
	return 0;
}

int archil_lost_wait(struct inode *inode)
{
	int err = archil_lost_wait_all(archil_mnt(inode->i_sb), true);
	struct archil_deleg *d;

	if (err)
		return err;
	/* It may have come to cache what was lost when that was cleaned up already. */
	d = archil_deleg_cached(inode);
	if (!d)
		return 0;
	mutex_lock(&d->walk_mutex);
	if (READ_ONCE(d->cleaned) && READ_ONCE(archil_i(inode)->own) == d)
		archil_lose_inode(d, inode, NULL);
	mutex_unlock(&d->walk_mutex);
	archil_deleg_put(d);
	return 0;
}

void archil_lost_work(struct work_struct *work)
{
	struct archil_deleg *d = container_of(work, struct archil_deleg, lost_work);
	struct archil_delegs *ds = &d->mount->delegs;
	struct dentry *root;

	wait_event(d->wait, !atomic_read(&d->users));	/* who comes now leaves at once */
	archil_log_fail(d);	/* before we look: what lost something is judged by its log */
	spin_lock(&ds->lock);
	root = d->root;
	d->root = NULL;
	spin_unlock(&ds->lock);
	/* While the superblock dies nobody is left to be told, and no inode may be held. */
	if (!READ_ONCE(d->mount->dying)) {
		/* Some that lost something may not be in memory any more. */
		if (!archil_log_idle(d))
			errseq_set(&d->mount->sb->s_wb_err, -EIO);
		archil_deleg_for_inodes(d, archil_tell_inode, NULL);
		archil_deleg_for_inodes(d, archil_lose_inode, NULL);
	}
	WRITE_ONCE(d->cleaned, true);
	wake_up_all(&d->wait);
	dput(root);
	if (atomic_dec_and_test(&ds->cleaning))
		wake_up_var(&ds->cleaning);
	archil_deleg_put(d);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What of a mount is not durable yet.
 *
 * 1. A file with dirty pages, or of which no record tells the size or times yet, is on the list of
 *    dirty inodes, with a reference; or it is off it in the hands of who has walk_mutex. It leaves
 *    for good when it is found clean, or has lost its last name.
 * 2. Who dirties an inode puts it on the list afterwards; who takes it off looks afterwards
 *    whether it is clean. So one of the two sees the other.
 * 3. What a delegation's log has that is not durable, deleg.c knows (delegs->stirred).
 * 4. So commit= and syncfs look at what was changed, not at all that is owned or in memory.
 * 5. A commit begins to write and waits for nothing. While somebody flushes it leaves
 *    the inodes to him.
 */
#include <linux/pagemap.h>
#include <linux/writeback.h>

#include "dirty.h"
#include "inode.h"
#include "pagecache.h"
#include "super.h"

enum { ARCHIL_COMMIT_NOW };		/* archil_commit_now() was called */

static void archil_commit_work(struct work_struct *work);

void archil_dirty_init(struct archil_mount *m)
{
	struct archil_dirty *dirty = &m->dirty;

	spin_lock_init(&dirty->lock);
	INIT_LIST_HEAD(&dirty->inodes);
	mutex_init(&dirty->walk_mutex);
	INIT_DELAYED_WORK(&dirty->commit_work, archil_commit_work);
}

/* ---- the list ---- */

void archil_mark_dirty(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_mount *m = archil_mnt(inode->i_sb);

	smp_mb(); /* dirty before we look; pairs with archil_dirty_again() */
	if (!list_empty_careful(&ai->dirty_list))
		return;
	spin_lock(&m->dirty.lock);
	if (list_empty(&ai->dirty_list)) {
		ihold(inode);
		list_add_tail(&ai->dirty_list, &m->dirty.inodes);
	}
	spin_unlock(&m->dirty.lock);
	archil_commit_soon(m);
}

void archil_unmark_dirty(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_mount *m = archil_mnt(inode->i_sb);
	bool was;

	spin_lock(&m->dirty.lock);
	was = !list_empty(&ai->dirty_list);
	list_del_init(&ai->dirty_list);
	spin_unlock(&m->dirty.lock);
	if (was)
		iput(inode);	/* not the last reference */
}

/* Off the list and in our hands. A file without a name that nobody has open any more just goes. */
static bool archil_dirty_wanted(struct inode *inode)
{
	return inode->i_nlink || atomic_read(&inode->i_count) > 1;
}

/* After something was done about it: back to the list, if it is not clean. */
static void archil_dirty_again(struct inode *inode)
{
	smp_mb(); /* off the list before we look; pairs with archil_mark_dirty() */
	if (archil_inode_dirty(inode) && !READ_ONCE(archil_mnt(inode->i_sb)->dying))
		archil_mark_dirty(inode);
}

/* Takes the first one off, with its reference; or NULL. The lock is held. */
static struct archil_inode *archil_dirty_first(struct list_head *list)
{
	struct archil_inode *ai = list_first_entry_or_null(list, struct archil_inode, dirty_list);

	if (ai)
		list_del_init(&ai->dirty_list);
	return ai;
}

/* ---- flushing ---- */

/* All bytes are on their way before the first are waited for. */
static void archil_dirty_begin(struct archil_mount *m, struct list_head *todo, struct list_head *begun)
{
	struct archil_inode *ai;
	struct inode *inode;

	spin_lock(&m->dirty.lock);
	list_splice_init(&m->dirty.inodes, todo);
	while ((ai = list_first_entry_or_null(todo, struct archil_inode, dirty_list))) {
		list_move_tail(&ai->dirty_list, begun);
		inode = &ai->vfs;
		if (!test_bit(ARCHIL_I_BULK, &ai->flags) || !archil_dirty_wanted(inode))
			continue;
		ihold(inode);
		spin_unlock(&m->dirty.lock);
		filemap_flush(inode->i_mapping);
		iput(inode);
		cond_resched();
		spin_lock(&m->dirty.lock);
	}
	spin_unlock(&m->dirty.lock);
}

int archil_dirty_flush(struct archil_mount *m, bool killable)
{
	struct archil_dirty *dirty = &m->dirty;
	struct archil_inode *ai;
	LIST_HEAD(begun);
	LIST_HEAD(todo);
	int err, ret = 0;

	if (!killable)
		mutex_lock(&dirty->walk_mutex);
	else if (mutex_lock_killable(&dirty->walk_mutex))
		return -EINTR;
	atomic_inc(&dirty->flushing);
	archil_dirty_begin(m, &todo, &begun);
	spin_lock(&dirty->lock);
	while (ret != -EINTR && (ai = archil_dirty_first(&begun))) {
		spin_unlock(&dirty->lock);
		if (archil_dirty_wanted(&ai->vfs)) {
			err = archil_flush_data(&ai->vfs, killable);
			ret = err == -EINTR ? err : ret ?: err;
			archil_dirty_again(&ai->vfs);
		}
		iput(&ai->vfs);
		cond_resched();
		spin_lock(&dirty->lock);
	}
	list_splice(&begun, &dirty->inodes);
	spin_unlock(&dirty->lock);
	atomic_dec(&dirty->flushing);
	mutex_unlock(&dirty->walk_mutex);
	return ret;
}

/* ---- writing back in the background ---- */

void archil_commit_soon(struct archil_mount *m)
{
	struct delayed_work *work = &m->dirty.commit_work;

	if (!delayed_work_pending(work))
		queue_delayed_work(m->wq, work, m->commit * HZ);
}

void archil_commit_now(struct archil_mount *m)
{
	if (!test_and_set_bit(ARCHIL_COMMIT_NOW, &m->dirty.flags))
		mod_delayed_work(m->wq, &m->dirty.commit_work, 0);
}

static void archil_commit_inode(struct inode *inode)
{
	if (!archil_dirty_wanted(inode))
		return;
	/* Small contents are clean when the log is: there is nothing to do but to send that. */
	if (!archil_content_pending(inode))
		filemap_flush(inode->i_mapping);
	archil_size_update(inode);
	archil_dirty_again(inode);
}

static void archil_commit_inodes(struct archil_mount *m)
{
	struct archil_inode *ai;
	LIST_HEAD(todo);

	spin_lock(&m->dirty.lock);
	list_splice_init(&m->dirty.inodes, &todo);
	while ((ai = archil_dirty_first(&todo))) {
		spin_unlock(&m->dirty.lock);
		archil_commit_inode(&ai->vfs);
		iput(&ai->vfs);
		cond_resched();
		spin_lock(&m->dirty.lock);
	}
	spin_unlock(&m->dirty.lock);
}

static void archil_commit_work(struct work_struct *work)
{
	struct archil_mount *m = container_of(to_delayed_work(work), struct archil_mount,
					      dirty.commit_work);

	clear_bit(ARCHIL_COMMIT_NOW, &m->dirty.flags);
	if (mutex_trylock(&m->dirty.walk_mutex)) {
		archil_commit_inodes(m);
		mutex_unlock(&m->dirty.walk_mutex);
	} else {
		/* What was dirtied since the flush began may be what somebody waits for. */
		queue_delayed_work(m->wq, &m->dirty.commit_work, HZ / 10);
	}
	archil_delegs_kick(m);
}

void archil_commit_cancel(struct archil_mount *m)
{
	cancel_delayed_work_sync(&m->dirty.commit_work);
}

void archil_dirty_drop(struct archil_mount *m)
{
	archil_commit_cancel(m);
	archil_commit_inodes(m);
	archil_delegs_kick(m);
	archil_commit_cancel(m);
}

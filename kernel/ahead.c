// SPDX-License-Identifier: GPL-2.0
/*
 * Listings of directories that are not ours, kept for a while, and asked for ahead of a walk.
 *
 * 1. Who reads a directory whose name came from a listing a moment ago is walking a tree.
 *    The request for it asks for what the walk visits next too (struct archil_readdir_req).
 * 2. What was asked for, and what came ahead, is kept for cache_ttl after it was asked for;
 *    names and attributes that are made of it are believed until then, not longer. A directory
 *    that is listed and has not changed is confirmed, and so is its name.
 * 3. It is for directories that are not ours: what we own may be ahead of the server. Whenever a
 *    delegation comes or goes, all is dropped (gen), so nothing is older than what we did.
 * 4. It is not used when the directory is known to have changed since.
 * 5. As much is asked for as was of use lately, and kept no more than ARCHIL_AHEAD_BYTES.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "ahead.h"
#include "inode.h"
#include "names.h"

#define ARCHIL_AHEAD_BYTES	(4u << 20)
#define ARCHIL_AHEAD_MIN	(4u << 10)
#define ARCHIL_AHEAD_MAX	(512u << 10)

/* ---- keeping ---- */

void archil_ahead_put(struct archil_ahead_dir *ad)
{
	if (ad && refcount_dec_and_test(&ad->ref))
		kvfree(ad);
}

/* Under the lock. */
static void archil_ahead_unlink(struct archil_ahead *ahead, struct archil_ahead_dir *ad)
{
	hash_del(&ad->by_ino);
	list_del(&ad->list);
	ahead->bytes -= struct_size(ad, data, ad->len);
}

static bool archil_ahead_good(struct archil_mount *m, const struct archil_ahead_dir *ad)
{
	return ad->gen == archil_ahead_gen(m) &&
	       time_before(jiffies, ad->asked + m->cache_ttl * HZ);
}

/* Those that are of no use, and the oldest that there is no room for. */
static void archil_ahead_trim(struct archil_mount *m, size_t most)
{
	struct archil_ahead *ahead = &m->ahead;
	struct archil_ahead_dir *ad, *next;
	LIST_HEAD(gone);

	spin_lock(&ahead->lock);
	list_for_each_entry_safe(ad, next, &ahead->list, list) {
		if (ahead->bytes <= most && archil_ahead_good(m, ad))
			break;
		archil_ahead_unlink(ahead, ad);
		list_add(&ad->list, &gone);
	}
	spin_unlock(&ahead->lock);
	list_for_each_entry_safe(ad, next, &gone, list)
		archil_ahead_put(ad);
}

static void archil_ahead_expire(struct work_struct *work)
{
	struct archil_ahead *ahead = container_of(to_delayed_work(work), struct archil_ahead,
						  expire_work);
	struct archil_mount *m = container_of(ahead, struct archil_mount, ahead);
	bool more;

	archil_ahead_trim(m, ARCHIL_AHEAD_BYTES);
	spin_lock(&ahead->lock);
	more = !list_empty(&ahead->list);
	spin_unlock(&ahead->lock);
	if (more)
		queue_delayed_work(m->wq, &ahead->expire_work, (m->cache_ttl + 1) * HZ);
}

void archil_ahead_init(struct archil_mount *m)
{
	struct archil_ahead *ahead = &m->ahead;

	spin_lock_init(&ahead->lock);
	hash_init(ahead->dirs);
	INIT_LIST_HEAD(&ahead->list);
	atomic_set(&ahead->gen, 0);
	ahead->window = 32 * ARCHIL_AHEAD_MIN;
	INIT_DELAYED_WORK(&ahead->expire_work, archil_ahead_expire);
}

void archil_ahead_exit(struct archil_mount *m)
{
	cancel_delayed_work_sync(&m->ahead.expire_work);
	archil_ahead_drop(m);
	archil_ahead_trim(m, 0);
}

void archil_ahead_drop(struct archil_mount *m)
{
	atomic_inc(&m->ahead.gen);
	smp_mb__after_atomic(); /* pairs with archil_ahead_gen() */
}

u32 archil_ahead_gen(struct archil_mount *m)
{
	smp_rmb(); /* whether it is ours was looked at before; pairs with archil_ahead_drop() */
	return atomic_read(&m->ahead.gen);
}

/* ---- asking ---- */

/* Did the name come from a listing, a moment ago? */
static bool archil_ahead_walked(struct dentry *dentry)
{
	struct archil_name *name = archil_name_of(dentry);

	return !IS_ROOT(dentry) && READ_ONCE(name->primed) &&
	       time_before(jiffies, READ_ONCE(name->expires));
}

u32 archil_ahead_wanted(struct dentry *dentry, u64 *top)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_ahead *ahead = &m->ahead;
	struct dentry *parent;
	u32 window;

	if (!m->cache_ttl || !archil_ahead_walked(dentry))
		return 0;
	dget(dentry);
	while (archil_ahead_walked(dentry)) {
		parent = dget_parent(dentry);
		dput(dentry);
		dentry = parent;
	}
	*top = archil_i(d_inode(dentry))->ino;
	dput(dentry);

	spin_lock(&ahead->lock);
	if (ahead->given && ahead->used >= ahead->given / 2)
		ahead->window = min(4 * ahead->window, ARCHIL_AHEAD_MAX);
	else if (ahead->given)
		ahead->window = max(ahead->window / 2, ARCHIL_AHEAD_MIN);
	ahead->given = 0;
	ahead->used = 0;
	window = ahead->window;
	spin_unlock(&ahead->lock);
	return window;
}

/* The youngest. Under the lock. */
static struct archil_ahead_dir *archil_ahead_find(struct archil_ahead *ahead, u64 ino)
{
	struct archil_ahead_dir *ad;

	hash_for_each_possible(ahead->dirs, ad, by_ino, ino)
		if (ad->dir == ino)
			return ad;
	return NULL;
}

static void archil_ahead_add(struct archil_mount *m, const struct archil_ahead_dir *head,
			     const void *entries)
{
	struct archil_ahead *ahead = &m->ahead;
	struct archil_ahead_dir *ad, *old;

	ad = kvmalloc(struct_size(ad, data, head->len), GFP_KERNEL_ACCOUNT);
	if (!ad)
		return;
	*ad = *head;
	refcount_set(&ad->ref, 1);
	memcpy(ad->data, entries, ad->len);
	spin_lock(&ahead->lock);
	old = archil_ahead_find(ahead, ad->dir);
	if (old)
		archil_ahead_unlink(ahead, old);
	hash_add(ahead->dirs, &ad->by_ino, ad->dir);
	list_add_tail(&ad->list, &ahead->list);
	ahead->bytes += struct_size(ad, data, ad->len);
	if (ad->came)
		ahead->given++;
	spin_unlock(&ahead->lock);
	archil_ahead_put(old);
}

void archil_ahead_keep(struct archil_mount *m, const struct archil_ahead_dir *head, const void *buf,
		       size_t len)
{
	struct archil_ahead_dir came = *head;
	size_t pos = head->len;
	struct archil_dirlist dl;
	const void *entries;

	if (!m->cache_ttl)
		return;
	if (head->dir)
		archil_ahead_add(m, head, buf);
	came.came = true;
	while (archil_dirlist_next(buf, len, &pos, &dl, &entries) > 0) {
		came.dir = le64_to_cpu(dl.dir);
		came.change = le64_to_cpu(dl.dir_change);
		came.len = le32_to_cpu(dl.len);
		archil_ahead_add(m, &came, entries);
		if (archil_ahead_good(m, &came))
			archil_inode_confirm(m, came.dir, came.change, came.commit, came.asked);
	}
	archil_ahead_trim(m, ARCHIL_AHEAD_BYTES);
	queue_delayed_work(m->wq, &m->ahead.expire_work, (m->cache_ttl + 1) * HZ);
}

struct archil_ahead_dir *archil_ahead_use(struct inode *dir)
{
	struct archil_mount *m = archil_mnt(dir->i_sb);
	struct archil_ahead *ahead = &m->ahead;
	struct archil_inode *ai = archil_i(dir);
	struct archil_ahead_dir *ad;
	bool good;

	spin_lock(&ahead->lock);
	ad = archil_ahead_find(ahead, ai->ino);
	if (ad)
		refcount_inc(&ad->ref);
	spin_unlock(&ahead->lock);
	if (!ad)
		return NULL;
	spin_lock(&ai->lock);
	good = archil_ahead_good(m, ad) && ad->commit >= ai->floor &&
	       (ad->change == ai->change || ad->commit >= ai->commit);
	spin_unlock(&ai->lock);
	if (!good) {
		archil_ahead_put(ad);	/* a better one takes its place */
		return NULL;
	}
	spin_lock(&ahead->lock);
	if (ad->came)
		ahead->used++;
	ad->came = false;
	spin_unlock(&ahead->lock);
	return ad;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes and their attributes.
 *
 * Validity:
 *
 * 1. What a reply brought was read at a commit, and an older reply never
 *    replaces what a newer one brought.
 * 2. Under a delegation, attributes read at or after the grant's commit are valid while it
 *    lives, without asking, and only the owner's own changes move them: replies
 *    are ignored (they tell what is durable, we know what comes). Older ones are not valid,
 *    however young: another owner may have come between.
 * 3. Otherwise they are valid for cache_ttl after the reply.
 * 4. Pages belong to the change number at which they were read; attributes with
 *    another one drop them.
 * 5. Others may remove names of what is ours, never make them. NOTIFY says so; it says not
 *    how many are left by our count, which has links and removals that the server has not
 *    seen. Too high a count does no harm (what has more than one name is removed by the
 *    server's word); who wants to see it asks.
 */
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "inode.h"
#include "file.h"
#include "folio.h"
#include "names.h"
#include "orphan.h"
#include "pagecache.h"

/* How long the server may take to say what the mounted root is now. */
#define ARCHIL_ROOT_PATIENCE	(5 * HZ)

static struct kmem_cache *archil_inode_cache;

static void archil_inode_init_once(void *p)
{
	struct archil_inode *ai = p;

	inode_init_once(&ai->vfs);
}

int archil_inode_cache_init(void)
{
	archil_inode_cache = kmem_cache_create("archil_inode", sizeof(struct archil_inode), 0,
					       SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					       archil_inode_init_once);
	return archil_inode_cache ? 0 : -ENOMEM;
}

void archil_inode_cache_exit(void)
{
	rcu_barrier();
	kmem_cache_destroy(archil_inode_cache);
}

struct inode *archil_alloc_inode(struct super_block *sb)
{
	struct archil_inode *ai = alloc_inode_sb(sb, archil_inode_cache, GFP_KERNEL);

	if (!ai)
		return NULL;
	memset(ai, 0, offsetof(struct archil_inode, vfs));
	memset((char *)ai + offsetofend(struct archil_inode, vfs), 0,
	       sizeof(*ai) - offsetofend(struct archil_inode, vfs));
	spin_lock_init(&ai->lock);
	mutex_init(&ai->own_mutex);
	mutex_init(&ai->size_mutex);
	INIT_LIST_HEAD(&ai->own_list);
	INIT_LIST_HEAD(&ai->dirty_list);
	INIT_WORK(&ai->size_work, archil_size_work);
	archil_listing_init(&ai->listing);
	return &ai->vfs;
}

void archil_free_inode(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
	kmem_cache_free(archil_inode_cache, archil_i(inode));
}

void archil_evict_inode(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;

	truncate_inode_pages_final(&inode->i_data);
	/* An answer that ended the last page's writeback has queued the work by then. */
	spin_lock(&ai->lock);
	spin_unlock(&ai->lock);
	cancel_work_sync(&ai->size_work);
	clear_inode(inode);
	if (S_ISDIR(inode->i_mode))
		archil_listing_exit(inode);
	archil_credit_return(archil_mnt(inode->i_sb), atomic64_xchg(&ai->charged, 0));
	d = archil_inode_disown(ai);
	archil_orphan_release(inode, d);
	archil_deleg_put(d);
}

/* ---- times ---- */

void archil_time_to_wire(struct archil_time *t, struct timespec64 ts)
{
	t->sec = cpu_to_le64(ts.tv_sec);
	t->nsec = cpu_to_le32(ts.tv_nsec);
}

static struct timespec64 archil_time_from_wire(const struct archil_time *t)
{
	return (struct timespec64) {
		.tv_sec = (s64)le64_to_cpu(t->sec),
		.tv_nsec = min_t(u32, le32_to_cpu(t->nsec), NSEC_PER_SEC - 1),
	};
}

struct archil_time archil_now(struct inode *inode)
{
	struct archil_time t;

	archil_time_to_wire(&t, current_time(inode));
	return t;
}

/* ---- attributes in ---- */

static int archil_inode_set_type(struct inode *inode, const struct archil_wattr *attr,
				 const char *target, unsigned int target_len)
{
	inode->i_mode = le32_to_cpu(attr->mode);
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &archil_file_iops;
		inode->i_fop = &archil_file_fops;
		inode->i_mapping->a_ops = &archil_aops;
		archil_folios_init(inode, archil_mnt(inode->i_sb)->payload_max);
		return 0;
	case S_IFDIR:
		inode->i_op = &archil_dir_iops;
		inode->i_fop = &archil_dir_fops;
		return 0;
	case S_IFLNK:
		inode->i_op = &archil_symlink_iops;
		inode_nohighmem(inode);
		inode->i_link = kmemdup_nul(target, target_len, GFP_KERNEL_ACCOUNT);
		return inode->i_link ? 0 : -ENOMEM;
	case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		inode->i_op = &archil_special_iops;
		init_special_inode(inode, inode->i_mode, MKDEV(le32_to_cpu(attr->rdev_major),
							      le32_to_cpu(attr->rdev_minor)));
		return 0;
	}
	return -EUCLEAN;
}

/* Under ai->lock. */
static void archil_tell(struct archil_inode *ai, u64 number, u64 commit)
{
	if (commit < ai->told_commit)
		return;
	WRITE_ONCE(ai->told, number);
	ai->told_commit = commit;
}

void archil_inode_tell(struct inode *inode, u64 number, u64 commit)
{
	struct archil_inode *ai = archil_i(inode);

	spin_lock(&ai->lock);
	archil_tell(ai, number, commit);
	spin_unlock(&ai->lock);
}

/* Under ai->lock. */
static void archil_inode_set_attr(struct inode *inode, const struct archil_wattr *attr, u64 commit)
{
	struct archil_inode *ai = archil_i(inode);
	u64 size = min_t(u64, le64_to_cpu(attr->size), MAX_LFS_FILESIZE);
	u32 flags = le32_to_cpu(attr->flags);

	inode->i_mode = (inode->i_mode & S_IFMT) | (le32_to_cpu(attr->mode) & 07777);
	i_uid_write(inode, le32_to_cpu(attr->uid));
	i_gid_write(inode, le32_to_cpu(attr->gid));
	set_nlink(inode, le32_to_cpu(attr->nlink));
	inode_set_atime_to_ts(inode, archil_time_from_wire(&attr->atime));
	inode_set_mtime_to_ts(inode, archil_time_from_wire(&attr->mtime));
	inode_set_ctime_to_ts(inode, archil_time_from_wire(&attr->ctime));
	ai->btime = archil_time_from_wire(&attr->btime);
	if (S_ISDIR(inode->i_mode)) {
		ai->next_cookie = max_t(u64, le64_to_cpu(attr->bytes), ARCHIL_COOKIE_FIRST);
		i_size_write(inode, size);
		/* It was removed, and that was lost. */
		if (IS_DEADDIR(inode) && inode->i_nlink)
			inode_set_flags(inode, 0, S_DEAD);
	} else {
		inode->i_blocks = (min_t(u64, le64_to_cpu(attr->bytes), 1ull << 60) + 511) >> 9;
		i_size_write(inode, size);
		ai->logged_size = size;
	}
	if (flags & ARCHIL_AF_XATTR)
		clear_bit(ARCHIL_I_NO_XATTR, &ai->flags);
	else
		set_bit(ARCHIL_I_NO_XATTR, &ai->flags);
	if (flags & ARCHIL_AF_BULK)
		set_bit(ARCHIL_I_BULK, &ai->flags);
	ai->other = flags & ARCHIL_AF_OTHER;
	archil_tell(ai, le64_to_cpu(attr->deleg), commit);
	ai->change = le64_to_cpu(attr->change);
	ai->commit = commit;
	ai->expires = jiffies + archil_mnt(inode->i_sb)->cache_ttl * HZ;
}

static int archil_inode_test(struct inode *inode, void *ino)
{
	return archil_i(inode)->ino == *(u64 *)ino;
}

static int archil_inode_set(struct inode *inode, void *ino)
{
	archil_i(inode)->ino = *(u64 *)ino;
	inode->i_ino = *(u64 *)ino;
	return 0;
}

struct inode *archil_iget(struct super_block *sb, const struct archil_wattr *attr, u64 commit,
			  const char *target, unsigned int target_len)
{
	u64 ino = le64_to_cpu(attr->ino);
	struct archil_inode *ai;
	struct inode *inode;
	int err;

	if (!ino || ino > ARCHIL_INO_MAX)
		return ERR_PTR(-EUCLEAN);
	inode = iget5_locked(sb, ino, archil_inode_test, archil_inode_set, &ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode_state_read_once(inode) & I_NEW)) {
		err = archil_inode_update(inode, attr, commit);
		if (err) {
			iput(inode);
			return ERR_PTR(err);
		}
		return inode;
	}
	ai = archil_i(inode);
	err = archil_inode_set_type(inode, attr, target, target_len);
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	inode->i_flags |= S_NOATIME;
	spin_lock(&ai->lock);
	archil_inode_set_attr(inode, attr, commit);
	ai->data_change = ai->change;
	spin_unlock(&ai->lock);
	unlock_new_inode(inode);
	return inode;
}

/*
 * Rule 2, under ai->lock: whoever has changed it has cached its delegation before. It is
 * another one's if that has moved and the reply says so (@number).
 */
static bool archil_inode_is_ours(struct archil_inode *ai, u64 number)
{
	struct archil_deleg *d = ai->own;

	return d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING && ai->commit >= d->commit &&
	       (number == d->number || test_bit(ARCHIL_I_ORPHAN, &ai->flags) ||
		ai->own_epoch == READ_ONCE(archil_mnt(ai->vfs.i_sb)->delegs.epoch));
}

int archil_inode_update(struct inode *inode, const struct archil_wattr *attr, u64 commit)
{
	struct archil_inode *ai = archil_i(inode);
	bool drop = false;

	if (le64_to_cpu(attr->ino) != ai->ino ||
	    ((le32_to_cpu(attr->mode) ^ inode->i_mode) & S_IFMT))
		return -ESTALE;

	spin_lock(&ai->lock);
	if (archil_inode_is_ours(ai, le64_to_cpu(attr->deleg))) {
		archil_tell(ai, le64_to_cpu(attr->deleg), commit);
		ai->other = le32_to_cpu(attr->flags) & ARCHIL_AF_OTHER;
	} else if (commit >= ai->commit && commit >= ai->floor) {
		archil_inode_set_attr(inode, attr, commit);
		drop = S_ISREG(inode->i_mode) && ai->data_change != ai->change;
		ai->data_change = ai->change;
	}
	spin_unlock(&ai->lock);
	if (drop && inode->i_mapping->nrpages)
		invalidate_inode_pages2(inode->i_mapping);
	return 0;
}

void archil_inode_listed(struct inode *inode, u64 commit, unsigned long asked)
{
	struct archil_inode *ai = archil_i(inode);

	spin_lock(&ai->lock);
	if (ai->commit == commit)
		ai->expires = asked + archil_mnt(inode->i_sb)->cache_ttl * HZ;
	spin_unlock(&ai->lock);
}

void archil_inode_confirm(struct archil_mount *m, u64 ino, u64 change, u64 commit,
			  unsigned long asked)
{
	struct inode *inode = ilookup5_nowait(m->sb, ino, archil_inode_test, &ino);
	struct archil_inode *ai;
	struct dentry *dentry;
	bool same;

	if (!inode)
		return;
	ai = archil_i(inode);
	spin_lock(&ai->lock);
	same = ai->change == change && commit >= ai->commit && commit >= ai->floor;
	if (same)
		ai->expires = asked + m->cache_ttl * HZ;
	spin_unlock(&ai->lock);
	dentry = same ? d_find_alias(inode) : NULL;
	if (dentry)
		archil_name_confirm(dentry, change, commit, asked);
	dput(dentry);
	iput(inode);
}

void archil_inode_notify(struct archil_mount *m, const struct archil_wattr *attr)
{
	u64 ino = le64_to_cpu(attr->ino);
	struct super_block *sb = READ_ONCE(m->sb);
	struct archil_inode *ai;
	struct inode *inode;

	if (!sb)
		return;
	rcu_read_lock();
	inode = find_inode_rcu(sb, ino, archil_inode_test, &ino);
	if (inode) {
		ai = archil_i(inode);
		spin_lock(&ai->lock);
		/* Its home has moved: it says not as of when, so we ask before we change it. */
		if (ai->told != le64_to_cpu(attr->deleg))
			ai->told_commit = 0;
		set_bit(ARCHIL_I_LINKS, &ai->flags);
		spin_unlock(&ai->lock);
	}
	rcu_read_unlock();
}

/* Under ai->lock. A write that the server has not heard of may have moved ctime further. */
static void archil_inode_set_links(struct inode *inode, const struct archil_wattr *attr)
{
	struct timespec64 mine = inode_get_ctime(inode), ctime = archil_time_from_wire(&attr->ctime);

	set_nlink(inode, le32_to_cpu(attr->nlink));
	if (timespec64_compare(&ctime, &mine) > 0)
		inode_set_ctime_to_ts(inode, ctime);
}

void archil_inode_relinked(struct inode *inode, const struct archil_wattr *attr, u64 commit)
{
	struct archil_inode *ai = archil_i(inode);

	if (le64_to_cpu(attr->ino) != ai->ino)
		return;
	spin_lock(&ai->lock);
	archil_inode_set_links(inode, attr);
	archil_tell(ai, le64_to_cpu(attr->deleg), commit);
	ai->other = le32_to_cpu(attr->flags) & ARCHIL_AF_OTHER;
	spin_unlock(&ai->lock);
}

void archil_inode_reread(struct inode *inode, u64 commit)
{
	struct archil_inode *ai = archil_i(inode);

	spin_lock(&ai->lock);
	ai->commit = 0;
	ai->floor = max(ai->floor, commit);
	ai->expires = jiffies - 1;
	spin_unlock(&ai->lock);
}

bool archil_inode_outdated(struct inode *inode, u64 commit)
{
	return commit < READ_ONCE(archil_i(inode)->floor);
}

void archil_inode_expire(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	spin_lock(&ai->lock);
	ai->expires = jiffies - 1;
	/* What we did to it may be lost: then it did not change, and is not what we have. */
	if (S_ISDIR(inode->i_mode))
		ai->change = 0;
	spin_unlock(&ai->lock);
}

static bool archil_deleg_live(const struct archil_deleg *d)
{
	return d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING;
}

u64 archil_own_since(struct archil_inode *ai)
{
	struct archil_mount *m = archil_mnt(ai->vfs.i_sb);
	struct archil_deleg *d;
	u64 since = 0;

	rcu_read_lock();
	d = READ_ONCE(ai->own);	/* freed by RCU */
	if (archil_deleg_live(d) && READ_ONCE(ai->own_epoch) == READ_ONCE(m->delegs.epoch))
		since = d->commit;
	rcu_read_unlock();
	return since;
}

/* As good as it gets, under a delegation, without references: for walks under RCU. */
static bool archil_inode_valid_owned(struct archil_inode *ai)
{
	u64 since = archil_owned_since(ai);

	return since && READ_ONCE(ai->commit) >= since;
}

bool archil_inode_valid(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;
	bool valid;

	if (archil_inode_valid_owned(ai))
		return true;
	if (archil_not_ours(inode))
		return time_before(jiffies, READ_ONCE(ai->expires));
	d = archil_deleg_told(inode);
	if (archil_deleg_live(d)) {
		valid = ai->commit >= d->commit;
	} else {
		/* By its names it may have become ours since. */
		archil_deleg_put(d);
		d = archil_deleg_of(inode, NULL);
		valid = time_before(jiffies, READ_ONCE(ai->expires)) &&
			!(archil_deleg_live(d) && ai->commit < d->commit);
	}
	archil_deleg_put(d);
	return valid;
}

int archil_ask_settled(struct inode *inode)
{
	/* Its records are in the log of the one that it caches, those of its names in the other's. */
	struct archil_deleg *cached = archil_deleg_cached(inode);
	struct archil_deleg *d = archil_deleg_of(inode, NULL);
	int err = 0;

	/* -EIO: lost; then what the server has is right */
	if (archil_deleg_live(cached))
		err = archil_log_wait(cached, 0, true);
	if (err != -EINTR && d != cached && archil_deleg_live(d))
		err = archil_log_wait(d, 0, true);
	archil_deleg_put(cached);
	archil_deleg_put(d);
	return err == -EIO ? 0 : err;
}

static int archil_ask_attr_for(struct archil_mount *m, u64 ino, struct archil_wattr *attr,
			       u64 *commit, long timeout)
{
	struct archil_getattr_req *body;
	struct archil_req *req;
	int err;

	req = archil_req_new(m, ARCHIL_OP_GETATTR, sizeof(*body),
			     sizeof(struct archil_attr_rep) + ARCHIL_PATH_LEN, GFP_NOFS);
	if (!req)
		return -ENOMEM;
	body = req->body;
	body->ino = cpu_to_le64(ino);
	archil_req_submit(req);
	err = archil_req_wait_for(req, timeout);
	if (!err) {
		*attr = ((struct archil_attr_rep *)req->rep)->attr;
		*commit = req->commit;
	}
	archil_req_put(req);
	return err;
}

int archil_ask_attr_of(struct archil_mount *m, u64 ino, struct archil_wattr *attr, u64 *commit)
{
	return archil_ask_attr_for(m, ino, attr, commit, MAX_SCHEDULE_TIMEOUT);
}

int archil_ask_attr(struct inode *inode, struct archil_wattr *attr, u64 *commit)
{
	int err = archil_ask_settled(inode);

	if (err)
		return err;
	return archil_ask_attr_of(archil_mnt(inode->i_sb), archil_i(inode)->ino, attr, commit);
}

/* What asking has brought, or the error that it had. */
static int archil_revalidated(struct inode *inode, int err, const struct archil_wattr *attr,
			      u64 commit)
{
	if (!err)
		err = archil_inode_update(inode, attr, commit);
	if (err == -ESTALE)
		set_bit(ARCHIL_I_STALE, &archil_i(inode)->flags);
	return err;
}

int archil_revalidate(struct inode *inode, bool force)
{
	struct archil_wattr attr;
	u64 commit;
	int err;

	if (!force && archil_inode_valid(inode))
		return 0;
	err = archil_ask_attr(inode, &attr, &commit);
	return archil_revalidated(inode, err, &attr, commit);
}

/*
 * Others have removed names of it. Under i_rwsem, and with the log settled, what the server
 * counts is what there is.
 */
static int archil_ask_links(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_wattr attr;
	int err = 0;
	u64 commit;

	if (down_read_killable(&inode->i_rwsem))
		return -EINTR;
	if (test_and_clear_bit(ARCHIL_I_LINKS, &ai->flags)) {
		err = archil_ask_attr(inode, &attr, &commit);
		err = archil_revalidated(inode, err, &attr, commit);
		spin_lock(&ai->lock);
		if (err || commit < ai->told_commit)
			set_bit(ARCHIL_I_LINKS, &ai->flags);
		else if (inode->i_nlink && attr.nlink)
			archil_inode_set_links(inode, &attr);
		spin_unlock(&ai->lock);
	}
	up_read(&inode->i_rwsem);
	return err;
}

static int archil_revalidate_root(struct inode *inode)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	struct archil_wattr attr;
	u64 commit;
	int err;

	if (!archil_transport_is_up(m) || archil_inode_valid(inode))
		return 0;
	/* Records of ours that concern it there are none: then it would be valid. */
	err = archil_ask_attr_for(m, ai->ino, &attr, &commit, ARCHIL_ROOT_PATIENCE);
	if (err == -ETIMEDOUT) {
		/* Who has waited once does not wait again for the same call. */
		spin_lock(&ai->lock);
		ai->expires = jiffies + HZ;
		spin_unlock(&ai->lock);
		return 0;
	}
	return archil_revalidated(inode, err, &attr, commit);
}

int archil_revalidate_way(struct inode *inode)
{
	if (inode == d_inode(inode->i_sb->s_root))
		return archil_revalidate_root(inode);
	return archil_revalidate(inode, false);
}

/* ---- attributes out, and changing them ---- */

bool archil_inode_gone(struct inode *inode)
{
	return !inode->i_nlink && !test_bit(ARCHIL_I_ORPHAN, &archil_i(inode)->flags);
}

int archil_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		   u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	int err = 0;

	if ((flags & AT_STATX_SYNC_TYPE) != AT_STATX_DONT_SYNC)
		err = test_bit(ARCHIL_I_LINKS, &archil_i(inode)->flags) ?
		      archil_ask_links(inode) : archil_revalidate(inode, false);
	if (err)
		return err;
	generic_fillattr(idmap, mask, inode, stat);
	stat->ino = archil_i(inode)->ino;
	stat->btime = archil_i(inode)->btime;
	stat->result_mask |= STATX_BTIME;
	/* Space is counted when data are written; 0 would say that there are none. */
	if (S_ISREG(inode->i_mode) && !stat->blocks &&
	    (!test_bit(ARCHIL_I_BULK, &archil_i(inode)->flags) || archil_inode_dirty(inode)))
		stat->blocks = (stat->size + 511) >> 9;
	return 0;
}

int archil_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	int err;

	if (!time_before(jiffies, READ_ONCE(archil_i(inode)->expires)) &&
	    !archil_inode_valid_owned(archil_i(inode))) {
		if (mask & MAY_NOT_BLOCK)
			return -ECHILD;
		err = archil_revalidate_way(inode);
		if (err)
			return err;
	}
	return generic_permission(idmap, inode, mask);
}

static void archil_setattr_record(struct inode *inode, const struct iattr *ia,
				  struct archil_record *rec)
{
	rec->type = ARCHIL_REC_SETATTR;
	rec->ino = archil_i(inode)->ino;
	if (ia->ia_valid & ATTR_MODE) {
		rec->valid |= ARCHIL_SET_MODE;
		rec->mode = ia->ia_mode & 07777;
	}
	if (ia->ia_valid & ATTR_UID) {
		rec->valid |= ARCHIL_SET_UID;
		rec->uid = from_kuid(inode->i_sb->s_user_ns, ia->ia_uid);
	}
	if (ia->ia_valid & ATTR_GID) {
		rec->valid |= ARCHIL_SET_GID;
		rec->gid = from_kgid(inode->i_sb->s_user_ns, ia->ia_gid);
	}
	if (ia->ia_valid & ATTR_ATIME) {
		rec->valid |= ARCHIL_SET_ATIME;
		archil_time_to_wire(&rec->atime, ia->ia_atime);
	}
	if (ia->ia_valid & ATTR_MTIME) {
		rec->valid |= ARCHIL_SET_MTIME;
		archil_time_to_wire(&rec->mtime, ia->ia_mtime);
	}
	if (ia->ia_valid & ATTR_CTIME) {
		rec->valid |= ARCHIL_SET_CTIME;
		archil_time_to_wire(&rec->ctime, ia->ia_ctime);
	}
	if (ia->ia_valid & ATTR_SIZE) {
		rec->valid |= ARCHIL_SET_SIZE;
		rec->size = ia->ia_size;
	}
}

int archil_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *ia)
{
	struct inode *inode = d_inode(dentry);
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	/* Through a descriptor that was opened before; an open with O_TRUNC is by name. */
	bool by_file = (ia->ia_valid & ATTR_FILE) && !(ia->ia_valid & ATTR_OPEN);
	struct archil_record rec = { };
	struct archil_batch_rec *e;
	struct archil_deleg *d;
	u64 seq;
	int err;

	err = archil_revalidate(inode, false);
	if (!err)
		err = setattr_prepare(idmap, dentry, ia);
	if (err)
		return err;
	if (by_file && archil_file_lost(ia->ia_file))
		return -EIO;

	/* truncate(2) leaves it to us that a file of another size was modified. */
	if ((ia->ia_valid & ATTR_SIZE) && ia->ia_size != i_size_read(inode))
		ia->ia_valid |= ATTR_MTIME | ATTR_CTIME;
	archil_setattr_record(inode, ia, &rec);
	e = archil_log_rec_new(m, &rec, ARCHIL_LOG_WAIT);
	if (IS_ERR(e))
		return PTR_ERR(e);
	if (ia->ia_valid & ATTR_SIZE) {
		err = archil_settle_growth(inode, ia->ia_size);
		/* The server must not meet a WRITE of what is cut behind the record. */
		if (!err)
			err = archil_wait_writeback(inode, ia->ia_size, LLONG_MAX);
		if (err)
			goto err_entry;
	}
	err = archil_own(inode, !by_file, dentry, &d);
	if (by_file && archil_file_lost(ia->ia_file)) {
		if (!err)
			archil_deleg_leave(d);
		err = -EIO;
	}
	if (err)
		goto err_entry;
	if (archil_inode_gone(inode)) {
		setattr_copy(idmap, inode, ia);
		archil_deleg_leave(d);
		err = 0;
		goto err_entry;
	}
	if (ia->ia_valid & ATTR_SIZE) {
		archil_zero_tail(inode);
		archil_size_cut(inode, ia->ia_size);
		truncate_setsize(inode, ia->ia_size);
		archil_credit_of_clean(inode);
		archil_blocks_add(inode, 0);
	}
	seq = archil_log_append(d, e);
	if (seq) {
		setattr_copy(idmap, inode, ia);
		spin_lock(&ai->lock);
		archil_inode_recorded(inode, seq);
		if (ia->ia_valid & ATTR_SIZE)
			ai->logged_size = ia->ia_size;
		spin_unlock(&ai->lock);
		if (ia->ia_valid & ATTR_MTIME)
			clear_bit(ARCHIL_I_TIMES, &ai->flags);
	}
	archil_deleg_leave(d);
	return seq ? 0 : -EIO;

err_entry:
	archil_log_rec_free(m, e);
	return err;
}

const struct inode_operations archil_symlink_iops = {
	.get_link	= simple_get_link,
	.getattr	= archil_getattr,
	.setattr	= archil_setattr,
	.permission	= archil_permission,
	.listxattr	= archil_listxattr,
};

const struct inode_operations archil_special_iops = {
	.getattr	= archil_getattr,
	.setattr	= archil_setattr,
	.permission	= archil_permission,
	.listxattr	= archil_listxattr,
};

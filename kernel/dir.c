// SPDX-License-Identifier: GPL-2.0
/*
 * Names: looking up and changing them.
 *
 * A change takes one of two ways. Where one delegation covers everything that
 * changes, it is a record in its log: prepare what can fail, enter, append, change
 * memory, leave; the acknowledgment is fsync's affair. Otherwise it is a CHANGE: the
 * server makes the new name (archil_create_sync()), or what is concerned is drained first
 * (across.c); it does it or says why not, and memory follows the reply.
 */
#include <linux/slab.h>

#include "across.h"
#include "beneath.h"
#include "complete.h"
#include "dir.h"
#include "inode.h"
#include "lost.h"
#include "names.h"
#include "orphan.h"
#include "pagecache.h"

/* ---- looking up ---- */

/* -ENOENT comes with the commit too. */
static struct inode *archil_lookup_ask(struct inode *dir, const struct qstr *name, u64 *commit)
{
	struct archil_lookup_req *body;
	const struct archil_attr_rep *rep;
	struct archil_req *req;
	struct inode *inode;
	int err;

	err = archil_ask_settled(dir);
	if (err)
		return ERR_PTR(err);
	req = archil_req_new(archil_mnt(dir->i_sb), ARCHIL_OP_LOOKUP, sizeof(*body) + name->len,
			     sizeof(*rep) + ARCHIL_PATH_LEN, GFP_KERNEL);
	if (!req)
		return ERR_PTR(-ENOMEM);
	body = req->body;
	body->dir = cpu_to_le64(archil_i(dir)->ino);
	body->name_len = cpu_to_le16(name->len);
	memcpy(body + 1, name->name, name->len);
	err = archil_req_call(req);
	if (err != -EINTR)
		*commit = req->commit;
	if (err) {
		inode = ERR_PTR(err);
	} else {
		rep = req->rep;
		inode = archil_iget(dir->i_sb, &rep->attr, req->commit, (const char *)(rep + 1),
				    le16_to_cpu(rep->target_len));
	}
	archil_req_put(req);
	return inode;
}

/*
 * @inode has been found in @dir. A directory that is still cached under the name that it had before
 * is moved by d_splice_alias(), but not while directories are being renamed, which may be
 * what this lookup is for: then that name goes, as it would when somebody used it.
 */
static void archil_drop_old_name(struct inode *inode, struct inode *dir)
{
	struct dentry *old, *parent;

	if (!S_ISDIR(inode->i_mode) || !mutex_is_locked(&inode->i_sb->s_vfs_rename_mutex))
		return;
	old = d_find_any_alias(inode);
	if (!old)
		return;
	parent = dget_parent(old);
	if (!IS_ROOT(old) && d_inode(parent) != dir) {
		archil_dir_incomplete(d_inode(parent));
		d_invalidate(old);
	}
	dput(parent);
	dput(old);
}

/* NULL: there is none. */
static struct inode *archil_lookup_inode(struct inode *dir, struct dentry *dentry,
					 struct archil_around *around, u64 *commit)
{
	struct inode *inode;
	int err;

	if (archil_dir_complete(dir, commit))
		return NULL;
	err = archil_dir_read_around(dentry, around);
	if (err != -EAGAIN) {
		*commit = around->commit;
		return err ? ERR_PTR(err) : around->inode;
	}
	inode = archil_lookup_ask(dir, &dentry->d_name, commit);
	return inode == ERR_PTR(-ENOENT) ? NULL : inode;
}

static struct dentry *archil_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	struct archil_around around = { };
	struct dentry *other;
	struct inode *inode;
	u64 commit = 0;

	if (dentry->d_name.len > ARCHIL_NAME_LEN)
		return ERR_PTR(-ENAMETOOLONG);
	inode = archil_lookup_inode(dir, dentry, &around, &commit);
	if (IS_ERR(inode))
		return ERR_CAST(inode);
	if (inode)
		clear_bit(ARCHIL_I_GIVEN, &archil_i(inode)->flags);
	archil_name_seen(dentry, commit);
	if (inode)
		archil_drop_old_name(inode, dir);
	other = archil_splice_alias(inode, dentry);
	if (IS_ERR(other))
		return other;
	if (other)
		archil_name_seen(other, commit);
	/* Who was killed while he changed it does not keep us out. */
	if (archil_inode_outdated(dir, commit))
		archil_name_doubt(other ?: dentry);
	archil_dir_read_done(dir, other ?: dentry, &around);
	return other;
}

int archil_name_ask(struct inode *dir, struct dentry *dentry)
{
	struct name_snapshot name;
	struct inode *inode;
	u64 commit = 0;
	int ret;

	take_dentry_name_snapshot(&name, dentry);
	inode = archil_lookup_ask(dir, &name.name, &commit);
	release_dentry_name_snapshot(&name);
	if (inode == ERR_PTR(-ENOENT))
		inode = NULL;
	else if (inode == ERR_PTR(-ESTALE))
		return 0;
	else if (IS_ERR(inode))
		return PTR_ERR(inode);
	ret = inode == d_inode(dentry);
	if (ret)
		archil_name_asked(dentry, commit);
	iput(inode);
	return ret;
}

/* ---- the way through the log ---- */

/* The directory's cookie counter is right: attributes are from after the grant. */
static int archil_dir_ready(struct inode *dir)
{
	struct archil_deleg *d = archil_deleg_of(dir, NULL);
	int err = 0;

	if (d && (archil_i(dir)->commit < d->commit || !archil_owned(dir)))
		err = archil_revalidate(dir, true);
	archil_deleg_put(d);
	return err;
}

/* 0: a name that was looked up is as it was. -ESTALE: the VFS should look again. */
static int archil_name_again(struct inode *dir, struct dentry *dentry)
{
	int ret = archil_name_ask(dir, dentry);

	return ret > 0 ? 0 : ret ?: -ESTALE;
}

/* Own @dir, for changing a name in it that was seen under the delegation entered. */
static int archil_own_name(struct inode *dir, struct dentry *dentry, struct archil_deleg **dp)
{
	int err;

	for (;;) {
		err = archil_own(dir, false, NULL, dp);
		if (err || archil_name_under(dentry, *dp))
			return err;
		archil_deleg_leave(*dp);
		err = archil_name_again(dir, dentry);
		if (err)
			return err;
	}
}

/* In memory: entries of this directory changed in record @seq. */
static void archil_dir_changed(struct inode *dir, u64 seq, struct timespec64 now, int links)
{
	struct archil_inode *ai = archil_i(dir);

	spin_lock(&ai->lock);
	inode_set_mtime_to_ts(dir, now);
	inode_set_ctime_to_ts(dir, now);
	set_nlink(dir, dir->i_nlink + links);
	ai->last_seq = seq;
	spin_unlock(&ai->lock);
}

static void archil_inode_linked(struct inode *inode, u64 seq, struct timespec64 now, int links)
{
	struct archil_inode *ai = archil_i(inode);

	spin_lock(&ai->lock);
	inode_set_ctime_to_ts(inode, now);
	set_nlink(inode, inode->i_nlink + links);
	archil_inode_recorded(inode, seq);
	spin_unlock(&ai->lock);
}

/* Memory has followed the record; 0 is none, it was lost. */
static int archil_dir_done(struct archil_deleg *d, u64 seq)
{
	archil_deleg_leave(d);
	return seq ? 0 : -EIO;
}

static u64 archil_cookie(struct inode *dir)
{
	return archil_i(dir)->next_cookie;	/* i_rwsem is held */
}

/* ---- create, mkdir, symlink, mknod, tmpfile ---- */

static void archil_create_attr(const struct archil_record *rec, struct archil_wattr *attr,
			       struct inode *dir)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = cpu_to_le64(rec->ino);
	attr->size = cpu_to_le64(rec->data_len);
	attr->parent = cpu_to_le64(archil_i(dir)->ino);
	attr->atime = rec->atime;
	attr->mtime = rec->mtime;
	attr->ctime = rec->ctime;
	attr->btime = rec->btime;
	attr->mode = cpu_to_le32(rec->mode);
	attr->nlink = cpu_to_le32(S_ISDIR(rec->mode) ? 2 : rec->flags & ARCHIL_CREATE_TMPFILE ? 0 : 1);
	attr->uid = cpu_to_le32(rec->uid);
	attr->gid = cpu_to_le32(rec->gid);
	attr->rdev_major = cpu_to_le32(rec->rdev_major);
	attr->rdev_minor = cpu_to_le32(rec->rdev_minor);
	if (S_ISDIR(rec->mode))
		attr->bytes = cpu_to_le64(ARCHIL_COOKIE_FIRST);
}

static int archil_create_record(struct inode *dir, const struct qstr *name, umode_t mode,
				dev_t rdev, const char *target, struct archil_record *rec)
{
	struct user_namespace *ns = dir->i_sb->s_user_ns;
	kgid_t gid = current_fsgid();

	if (dir->i_mode & S_ISGID) {
		gid = dir->i_gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	rec->type = ARCHIL_REC_CREATE;
	rec->dir = archil_i(dir)->ino;
	rec->mode = mode;
	rec->uid = from_kuid(ns, current_fsuid());
	rec->gid = from_kgid(ns, gid);
	if (rec->uid == (u32)-1 || rec->gid == (u32)-1)
		return -EOVERFLOW;
	rec->rdev_major = MAJOR(rdev);
	rec->rdev_minor = MINOR(rdev);
	rec->time = archil_now(dir);
	rec->atime = rec->time;
	rec->mtime = rec->time;
	rec->ctime = rec->time;
	rec->btime = rec->time;
	if (name) {
		rec->name = name->name;
		rec->name_len = name->len;
	}
	if (target) {
		rec->data = target;
		rec->data_len = strlen(target);
	}
	return archil_ino_new(archil_mnt(dir->i_sb), &rec->ino);
}

/* In a directory that we own. -EROFS: we do not. */
static struct inode *archil_create_log(struct inode *dir, struct dentry *dentry,
				       struct archil_record *rec)
{
	bool tmp = rec->flags & ARCHIL_CREATE_TMPFILE;
	struct archil_wattr attr;
	struct archil_batch_rec *e;
	struct archil_deleg *d;
	struct inode *inode;
	bool waited = false;
	u64 seq;
	int err;

	for (;;) {
		err = archil_dir_ready(dir);
		if (err)
			return ERR_PTR(err);
		rec->cookie = tmp ? 0 : archil_cookie(dir);
		e = archil_log_rec_new(archil_mnt(dir->i_sb), rec, ARCHIL_LOG_WAIT);
		if (IS_ERR(e))
			return ERR_CAST(e);
		err = archil_deleg_enter(dir, &d);
		if (!err && (tmp || (rec->cookie == archil_cookie(dir) &&
				     archil_name_under(dentry, d))))
			break;
		archil_log_rec_free(archil_mnt(dir->i_sb), e);
		if (!err) {
			/* A new one: neither cookies nor names were known under it. */
			archil_deleg_leave(d);
			err = tmp ? 0 : archil_name_again(dir, dentry);
		} else if (err == -EAGAIN) {
			err = archil_deleg_wait(d);
		} else if (err == -EIO && !waited) {
			waited = true;
			err = archil_lost_wait(dir);
		}
		if (err)
			return ERR_PTR(err);
	}

	archil_create_attr(rec, &attr, dir);
	attr.deleg = cpu_to_le64(d->number);
	inode = archil_iget(dir->i_sb, &attr, d->commit, rec->data, rec->data_len);
	if (IS_ERR(inode)) {
		archil_log_rec_free(archil_mnt(dir->i_sb), e);
		archil_deleg_leave(d);
		return inode;
	}
	if (tmp) {
		err = archil_orphan_prepare(inode);
		if (err) {
			archil_log_rec_free(archil_mnt(dir->i_sb), e);
			goto out;
		}
		set_bit(ARCHIL_I_ORPHAN, &archil_i(inode)->flags);
	}
	/* It is made in this delegation, whatever was moved since that was granted. */
	archil_inode_tell(inode, d->number, max(d->commit, READ_ONCE(d->mount->delegs.moved)));
	archil_inode_own(archil_i(inode), d, READ_ONCE(d->mount->delegs.epoch));
	seq = archil_log_append(d, e);
	if (seq) {
		archil_inode_recorded(inode, seq);
		if (S_ISDIR(rec->mode))
			archil_dir_begins(inode, d->number);
		if (!tmp) {
			archil_dir_list(dir, dentry, archil_i(dir)->next_cookie++);
			archil_name_seen(dentry, d->commit);
			ihold(inode);
			d_instantiate(dentry, inode);
			archil_dir_changed(dir, seq, inode_get_mtime(inode), S_ISDIR(rec->mode));
		}
	}
	err = archil_dir_done(d, seq);
	if (!err)
		return inode;
	iput(inode);
	archil_dir_incomplete(dir);
	d_drop(dentry);
	return ERR_PTR(err);
out:
	archil_deleg_leave(d);
	iput(inode);
	return ERR_PTR(err);
}

/* Where nobody owns the directory: the server makes it, and grants it to us. */
static struct inode *archil_create_sync(struct inode *dir, struct dentry *dentry,
					struct archil_record *rec)
{
	bool grant = S_ISREG(rec->mode) || S_ISDIR(rec->mode);
	struct archil_change_rep rep;
	struct inode *inode;
	u64 commit;
	int err;

	rec->cookie = 0;
	err = archil_sync_create(archil_mnt(dir->i_sb), rec, grant, dentry, &rep, &commit);
	if (err)
		return ERR_PTR(err);
	if (le64_to_cpu(rep.attr.ino) == rec->ino)
		inode = archil_iget(dir->i_sb, &rep.attr, commit, rec->data, rec->data_len);
	else
		inode = ERR_PTR(-EUCLEAN);
	if (IS_ERR(inode))
		return inode;
	if (S_ISDIR(rec->mode))
		archil_dir_begins(inode, le64_to_cpu(rep.grant.number));
	archil_name_seen(dentry, commit);
	ihold(inode);
	d_instantiate(dentry, inode);
	archil_dir_incomplete(dir);	/* the server has picked the cookie */
	archil_inode_reread(dir, commit);
	return inode;
}

static int archil_make(struct inode *dir, struct dentry *dentry, umode_t mode, dev_t rdev,
		       const char *target)
{
	struct archil_record rec = { };
	struct inode *inode;
	int err, tries;

	err = archil_create_record(dir, &dentry->d_name, mode, rdev, target, &rec);
	if (err)
		return err;
	for (tries = 0;; tries++) {
		inode = archil_create_log(dir, dentry, &rec);
		if (inode != ERR_PTR(-EROFS))
			break;
		inode = archil_create_sync(dir, dentry, &rec);
		/* The directory is ours after all, by a grant that is on its way or has come. */
		if (inode != ERR_PTR(-ESTALE) || tries == 4 || archil_revalidate(dir, true))
			break;
	}
	if (IS_ERR(inode)) {
		d_drop(dentry);
		/* Somebody was quicker: the VFS looks again, and knows whether that matters. */
		return inode == ERR_PTR(-EEXIST) ? -ESTALE : PTR_ERR(inode);
	}
	iput(inode);
	return 0;
}

static int archil_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
			 umode_t mode)
{
	return archil_make(dir, dentry, mode, 0, NULL);
}
COMPAT_CREATE(archil_create)

static struct dentry *archil_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				   struct dentry *dentry, umode_t mode)
{
	return ERR_PTR(archil_make(dir, dentry, mode | S_IFDIR, 0, NULL));
}
COMPAT_MKDIR(archil_mkdir)

static int archil_mknod(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
			umode_t mode, dev_t rdev)
{
	return archil_make(dir, dentry, mode, rdev, NULL);
}

static int archil_symlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
			  const char *target)
{
	if (strlen(target) > ARCHIL_PATH_LEN)
		return -ENAMETOOLONG;
	return archil_make(dir, dentry, S_IFLNK | 0777, 0, target);
}

static int archil_tmpfile(struct mnt_idmap *idmap, struct inode *dir, struct file *file,
			  umode_t mode)
{
	struct dentry *dentry = file->f_path.dentry;
	struct archil_record rec = { .flags = ARCHIL_CREATE_TMPFILE };
	struct inode *inode;
	int err;

	err = archil_create_record(dir, NULL, mode, 0, NULL, &rec);
	if (err)
		return err;
	inode = archil_create_log(dir, dentry, &rec);
	if (inode == ERR_PTR(-EROFS))
		return archil_not_owned(dir);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	set_nlink(inode, 1);	/* d_tmpfile() takes it to 0 */
	d_tmpfile(file, inode);
	return finish_open_simple(file, 0);
}

/* ---- link, unlink, rmdir, rename ---- */

/* Is this inode covered by the same delegation as a directory, as far as a log may say? */
static bool archil_same_deleg(struct inode *inode, struct archil_deleg *d)
{
	struct archil_deleg *own = archil_deleg_told(inode);

	archil_deleg_put(own);
	return own == d && READ_ONCE(archil_i(inode)->commit) >= d->commit;
}

/* EBUSY on anything that would change goes before EROFS on something else. */
static int archil_refused(int err, struct inode *a, struct inode *b)
{
	if (err == -EROFS && a && !archil_owned(a))
		err = archil_not_owned(a);
	if (err == -EROFS && b && !archil_owned(b))
		err = archil_not_owned(b);
	return err;
}

static int archil_link(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = d_inode(old);
	struct archil_inode *ai = archil_i(inode);
	struct archil_mount *m = archil_mnt(dir->i_sb);
	struct archil_record rec = {
		.type = ARCHIL_REC_LINK,
		.dir = archil_i(dir)->ino,
		.ino = ai->ino,
		.name = dentry->d_name.name,
		.name_len = dentry->d_name.len,
	};
	struct timespec64 now = current_time(dir);
	struct archil_deleg *d;
	struct archil_batch_rec *e;
	u64 seq;
	int err;

	/* the same moment in memory and in the record */
	archil_time_to_wire(&rec.time, now);
	err = archil_own(inode, false, NULL, &d);
	if (err)
		return archil_refused(err, dir, NULL);
	archil_deleg_leave(d);
	err = archil_own_name(dir, dentry, &d);
	if (err)
		return err;
	if (archil_same_deleg(inode, d)) {
		rec.cookie = archil_cookie(dir);
		archil_deleg_leave(d);
		e = archil_log_rec_new(m, &rec, ARCHIL_LOG_WAIT);
		if (IS_ERR(e))
			return PTR_ERR(e);
		err = archil_own_name(dir, dentry, &d);
		if (err) {
			archil_log_rec_free(m, e);
			return err;
		}
		if (archil_same_deleg(inode, d) && rec.cookie == archil_cookie(dir)) {
			seq = archil_log_append(d, e);
			if (seq) {
				archil_dir_list(dir, dentry, archil_i(dir)->next_cookie++);
				archil_inode_linked(inode, seq, now, 1);
				archil_orphan_cancel(inode);
				if (S_ISREG(inode->i_mode) && archil_inode_dirty(inode))
					archil_mark_dirty(inode);	/* it has a name again */
				archil_dir_changed(dir, seq, now, 0);
				archil_name_seen(dentry, d->commit);
				ihold(inode);
				d_instantiate(dentry, inode);
			}
			return archil_dir_done(d, seq);
		}
		archil_log_rec_free(m, e);
	}
	archil_deleg_leave(d);

	return archil_link_across(old, dir, dentry, &rec);
}

static int archil_dir_is_empty(struct dentry *dentry)
{
	struct inode *dir = d_inode(dentry);
	int ret = -EAGAIN;
	u64 commit;

	if (archil_dir_complete(dir, &commit))
		ret = archil_dir_lists(dir);
	if (ret < 0)
		return archil_dir_empty(dir);
	return ret ? -ENOTEMPTY : 0;
}

static int archil_remove(struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = d_inode(dentry);
	struct archil_mount *m = archil_mnt(dir->i_sb);
	struct timespec64 now = current_time(dir);
	bool isdir = S_ISDIR(inode->i_mode);
	struct archil_record rec = {
		.type = ARCHIL_REC_UNLINK,
		.flags = S_ISREG(inode->i_mode) ? ARCHIL_UNLINK_OPEN : 0,
		.dir = archil_i(dir)->ino,
		.ino = archil_i(inode)->ino,
		.name = dentry->d_name.name,
		.name_len = dentry->d_name.len,
	};
	struct archil_batch_rec *e;
	struct archil_deleg *d;
	u64 seq, number;
	int err;

	archil_time_to_wire(&rec.time, now);
again:
	err = archil_own_name(dir, dentry, &d);
	if (err)
		return archil_refused(err, inode, NULL);
	number = d->number;
	archil_deleg_leave(d);
	if (isdir) {
		err = archil_dir_is_empty(dentry);
		if (err)
			return err;
	}
	if (!isdir && inode->i_nlink > 1)
		return archil_unlink_across(dir, dentry, &rec);

	e = archil_log_rec_new(m, &rec, ARCHIL_LOG_WAIT);
	if (IS_ERR(e))
		return PTR_ERR(e);
	err = S_ISREG(inode->i_mode) ? archil_orphan_prepare(inode) : 0;
	if (!err)
		err = archil_own_name(dir, dentry, &d);
	if (err) {
		archil_log_rec_free(m, e);
		return err;
	}
	if (d->number != number) {
		/* Another one: it need not be empty any more, nor have one link. */
		archil_deleg_leave(d);
		archil_log_rec_free(m, e);
		goto again;
	}
	archil_inode_own(archil_i(inode), d, READ_ONCE(m->delegs.epoch));
	seq = archil_log_append(d, e);
	if (seq) {
		if (S_ISREG(inode->i_mode))
			set_bit(ARCHIL_I_ORPHAN, &archil_i(inode)->flags);
		archil_inode_linked(inode, seq, now, isdir ? -(int)inode->i_nlink : -1);
		archil_unmark_dirty(inode);
		archil_dir_unlist(dentry);
		archil_dir_changed(dir, seq, now, isdir ? -1 : 0);
		archil_name_seen(dentry, d->commit);
	}
	return archil_dir_done(d, seq);
}

/* EBUSY on one of the two goes before EROFS on the other. @number: what owns the new one. */
static int archil_own_both(struct inode *old_dir, struct dentry *old, struct inode *new_dir,
			   struct dentry *new, u64 *number)
{
	struct archil_deleg *d;
	int err, err2;

	err = archil_own_name(old_dir, old, &d);
	if (!err)
		archil_deleg_leave(d);
	else if (err != -EROFS)
		return err;
	err2 = archil_own_name(new_dir, new, &d);
	if (!err2) {
		*number = d->number;
		archil_deleg_leave(d);
	}
	return err2 == -EBUSY ? err2 : err ?: err2;
}

/* The dentries are about to change places, or the old one to take the place of the new. */
static void archil_rename_listed(struct inode *old_dir, struct dentry *old, struct inode *new_dir,
				 struct dentry *new, bool exchange)
{
	u64 old_cookie = archil_dir_cookie_of(old), new_cookie = archil_dir_cookie_of(new);

	archil_dir_unlist(old);
	archil_dir_unlist(new);
	if (!exchange) {
		archil_dir_list(new_dir, old, archil_i(new_dir)->next_cookie++);
		return;
	}
	if (new_cookie)
		archil_dir_list(new_dir, old, new_cookie);
	else
		archil_dir_incomplete(new_dir);
	if (old_cookie)
		archil_dir_list(old_dir, new, old_cookie);
	else
		archil_dir_incomplete(old_dir);
}

/* What the log may carry: both directories, what moves and what it replaces, in one delegation. */
static int archil_rename_log(struct archil_deleg *d, struct inode *old_dir, struct dentry *old,
			     struct inode *new_dir, struct dentry *new, struct archil_batch_rec *e,
			     bool exchange, struct timespec64 now)
{
	struct inode *inode = d_inode(old), *target = d_inode(new);
	bool isdir = S_ISDIR(inode->i_mode), tdir = target && S_ISDIR(target->i_mode);
	int old_links = 0, new_links = 0;
	u64 seq = archil_log_append(d, e);

	if (!seq)
		return archil_dir_done(d, 0);
	if (old_dir != new_dir) {
		old_links = (exchange && tdir) - isdir;
		new_links = isdir - (exchange && tdir);
	}
	archil_rename_listed(old_dir, old, new_dir, new, exchange);
	if (!exchange && tdir)
		new_links--;
	archil_inode_linked(inode, seq, now, 0);
	if (target && exchange) {
		archil_inode_linked(target, seq, now, 0);
	} else if (target) {
		if (S_ISREG(target->i_mode))
			set_bit(ARCHIL_I_ORPHAN, &archil_i(target)->flags);
		archil_inode_own(archil_i(target), d, READ_ONCE(d->mount->delegs.epoch));
		archil_inode_linked(target, seq, now, tdir ? -(int)target->i_nlink : -1);
		archil_unmark_dirty(target);
	}
	archil_dir_changed(old_dir, seq, now, old_links);
	if (new_dir != old_dir || new_links)
		archil_dir_changed(new_dir, seq, now, new_links);
	archil_name_seen(old, d->commit);
	archil_name_seen(new, d->commit);
	return archil_dir_done(d, seq);
}

static int archil_rename(struct mnt_idmap *idmap, struct inode *old_dir, struct dentry *old,
			 struct inode *new_dir, struct dentry *new, unsigned int flags)
{
	struct inode *inode = d_inode(old), *target = d_inode(new);
	struct archil_mount *m = archil_mnt(old_dir->i_sb);
	bool exchange = flags & RENAME_EXCHANGE;
	struct timespec64 now = current_time(old_dir);
	struct archil_record rec = {
		.type = ARCHIL_REC_RENAME,
		.flags = exchange ? ARCHIL_RENAME_EXCHANGE : 0,
		.dir = archil_i(old_dir)->ino,
		.new_dir = archil_i(new_dir)->ino,
		.ino = archil_i(inode)->ino,
		.target = target ? archil_i(target)->ino : 0,
		.name = old->d_name.name,
		.name_len = old->d_name.len,
		.new_name = new->d_name.name,
		.new_name_len = new->d_name.len,
	};
	struct archil_deleg *d;
	struct archil_batch_rec *e;
	u64 number;
	bool one;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (target && !exchange && S_ISREG(target->i_mode))
		rec.flags |= ARCHIL_RENAME_OPEN;
	archil_time_to_wire(&rec.time, now);
	if (old_dir != new_dir) {
		if (S_ISDIR(inode->i_mode))
			archil_beneath_mark(new);
		if (exchange && S_ISDIR(target->i_mode))
			archil_beneath_mark(old);
	}

again:
	err = archil_own_both(old_dir, old, new_dir, new, &number);
	if (err)
		return archil_refused(err, inode, target);
	if (target && !exchange && S_ISDIR(target->i_mode)) {
		err = archil_dir_is_empty(new);
		if (err)
			return err;
	}
	/* The new name never shows less than the data that it was given for. */
	if (target && !exchange && S_ISREG(inode->i_mode) &&
	    test_bit(ARCHIL_I_BULK, &archil_i(inode)->flags)) {
		err = archil_flush_data(inode, true);
		if (err)
			return err;
	}
	if (!S_ISDIR(inode->i_mode) && inode->i_nlink > 1)
		return archil_rename_across(old_dir, old, new_dir, new, &rec);
	if (target && !S_ISDIR(target->i_mode) && target->i_nlink > 1)
		return archil_rename_across(old_dir, old, new_dir, new, &rec);

	rec.cookie = exchange ? 0 : archil_cookie(new_dir);
	e = archil_log_rec_new(m, &rec, ARCHIL_LOG_WAIT);
	if (IS_ERR(e))
		return PTR_ERR(e);
	err = target && S_ISREG(target->i_mode) && !exchange ? archil_orphan_prepare(target) : 0;
	if (!err)
		err = archil_own_name(new_dir, new, &d);
	if (err) {
		archil_log_rec_free(m, e);
		return err;
	}
	one = archil_same_deleg(old_dir, d) && archil_same_deleg(inode, d) &&
	      (!target || archil_same_deleg(target, d)) && archil_name_under(old, d) &&
	      (exchange || rec.cookie == archil_cookie(new_dir));
	if (one && d->number == number)
		return archil_rename_log(d, old_dir, old, new_dir, new, e, exchange, now);
	one = d->number == number;
	archil_deleg_leave(d);
	archil_log_rec_free(m, e);
	/* Another one: a target need not be empty any more, nor have one link. */
	if (!one)
		goto again;
	return archil_rename_across(old_dir, old, new_dir, new, &rec);
}

const struct inode_operations archil_dir_iops = {
	.lookup		= archil_lookup,
	.create		= COMPAT_CREATE_OP(archil_create),
	.mkdir		= COMPAT_MKDIR_OP(archil_mkdir),
	.mknod		= archil_mknod,
	.symlink	= archil_symlink,
	.tmpfile	= archil_tmpfile,
	.link		= archil_link,
	.unlink		= archil_remove,
	.rmdir		= archil_remove,
	.rename		= archil_rename,
	.getattr	= archil_getattr,
	.setattr	= archil_setattr,
	.permission	= archil_permission,
	.listxattr	= archil_listxattr,
};

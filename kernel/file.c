// SPDX-License-Identifier: GPL-2.0
/*
 * Regular files.
 *
 * O_DIRECT goes through the page cache: a direct write is written back, and a
 * direct read dropped from the cache first, before they return. So a request
 * never outlives the task that owns its memory, and the server sees one
 * order.
 */
#include <linux/falloc.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "file.h"
#include "ioctl.h"
#include "pagecache.h"

static int archil_file_open(struct inode *inode, struct file *file)
{
	struct archil_deleg *d;
	struct archil_file *af;
	int err;

	err = archil_revalidate(inode, false);
	if (err)
		return err;
	/* Opening for writing is a change; where nobody owns the file it takes ownership. */
	if (file->f_mode & FMODE_WRITE) {
		err = archil_own(inode, true, file->f_path.dentry, &d);
		if (err)
			return err;
		archil_deleg_leave(d);
	}
	af = kmalloc(sizeof(*af), GFP_KERNEL_ACCOUNT);
	if (!af)
		return -ENOMEM;
	af->lost = atomic_read(&archil_i(inode)->lost);
	af->given = atomic_read(&archil_i(inode)->given);
	file->private_data = af;
	file->f_mode |= FMODE_CAN_ODIRECT;
	return 0;
}

static int archil_file_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t archil_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t ret;

	ret = archil_revalidate(inode, false);
	if (ret)
		return ret;
	if (iocb->ki_flags & IOCB_DIRECT) {
		if (!iov_iter_count(to))
			return 0;
		ret = archil_flush_data(inode, true);
		if (ret)
			return ret;
		invalidate_inode_pages2_range(inode->i_mapping, iocb->ki_pos >> PAGE_SHIFT,
					      (iocb->ki_pos + iov_iter_count(to) - 1) >> PAGE_SHIFT);
		iocb->ki_flags &= ~IOCB_DIRECT;
	}
	if (test_bit(ARCHIL_I_AHEAD, &archil_i(inode)->flags))
		archil_smalls_used(iocb->ki_filp);
	return generic_file_read_iter(iocb, to);
}

static ssize_t archil_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	bool direct = iocb->ki_flags & IOCB_DIRECT;
	loff_t start;
	ssize_t ret;
	int err;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	iocb->ki_flags &= ~IOCB_DIRECT;
	ret = archil_file_lost(iocb->ki_filp) ? -EIO : archil_revalidate(inode, false);
	if (!ret)
		ret = generic_write_checks(iocb, from);
	if (ret <= 0)
		goto out;
	start = iocb->ki_pos;
	ret = file_remove_privs(iocb->ki_filp);
	if (!ret)
		ret = archil_perform_write(iocb, from);
out:
	inode_unlock(inode);
	if (ret <= 0)
		return ret;
	if (direct) {
		err = archil_flush_data(inode, true);
		if (err)
			return err;
		invalidate_mapping_pages(inode->i_mapping, start >> PAGE_SHIFT,
					 (iocb->ki_pos - 1) >> PAGE_SHIFT);
	}
	return generic_write_sync(iocb, ret);
}

static int archil_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	int err = archil_sync_inode(file_inode(file), true);
	int err2 = file_check_and_advance_wb_err(file);

	return err2 ?: err;
}


static loff_t archil_llseek(struct file *file, loff_t off, int whence)
{
	struct inode *inode = file_inode(file);
	struct archil_seek_req *body;
	struct archil_req *req;
	loff_t ret;

	ret = archil_revalidate(inode, false);
	if (ret)
		return ret;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek(file, off, whence);
	if (off < 0 || off >= i_size_read(inode))
		return -ENXIO;
	/* The server knows where the holes are once it has everything. */
	ret = archil_sync_inode(inode, true);
	if (ret)
		return ret;
	req = archil_req_new(archil_mnt(inode->i_sb), ARCHIL_OP_SEEK, sizeof(*body),
			     sizeof(struct archil_seek_rep), GFP_KERNEL);
	if (!req)
		return -ENOMEM;
	body = req->body;
	body->ino = cpu_to_le64(archil_i(inode)->ino);
	body->off = cpu_to_le64(off);
	body->whence = cpu_to_le32(whence);
	ret = archil_req_call(req);
	if (!ret)
		off = le64_to_cpu(((struct archil_seek_rep *)req->rep)->off);
	archil_req_put(req);
	return ret ?: vfs_setpos(file, off, inode->i_sb->s_maxbytes);
}

/* ---- fallocate ---- */

/* Append one record of an inode that is locked and entered; its number, or 0. */
static u64 archil_append(struct inode *inode, struct archil_deleg *d, struct archil_batch_rec *e)
{
	struct archil_inode *ai = archil_i(inode);
	u64 seq = archil_log_append(d, e);

	if (seq) {
		spin_lock(&ai->lock);
		ai->last_seq = seq;
		spin_unlock(&ai->lock);
	}
	return seq;
}

static int archil_falloc_record(struct file *file, struct archil_record *rec, loff_t new_size)
{
	struct inode *inode = file_inode(file);
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	struct timespec64 now = current_time(inode);
	struct archil_batch_rec *e;
	struct archil_deleg *d;
	u64 seq;
	int err;

	rec->ino = ai->ino;
	archil_time_to_wire(&rec->time, now);
	e = archil_log_rec_new(m, rec, ARCHIL_LOG_WAIT);
	if (IS_ERR(e))
		return PTR_ERR(e);
	err = archil_own(inode, false, NULL, &d);
	if (err) {
		archil_log_rec_free(m, e);
		return archil_file_lost(file) ? -EIO : err;
	}
	if (archil_file_lost(file)) {
		archil_log_rec_free(m, e);
		archil_deleg_leave(d);
		return -EIO;
	}
	seq = archil_append(inode, d, e);
	if (seq) {
		/* Where the server makes it a bulk file, no small contents may follow. */
		if (rec->type == ARCHIL_REC_ALLOC && rec->off + rec->length > ARCHIL_INLINE_MAX)
			set_bit(ARCHIL_I_BULK, &ai->flags);
		inode_set_mtime_to_ts(inode, now);
		inode_set_ctime_to_ts(inode, now);
		if (new_size > i_size_read(inode)) {
			i_size_write(inode, new_size);
			ai->logged_size = new_size;
		}
		if (rec->type == ARCHIL_REC_ALLOC)
			archil_blocks_add(inode, rec->length);
	}
	archil_deleg_leave(d);
	return seq ? 0 : -EIO;
}

static int archil_do_fallocate(struct file *file, int mode, loff_t off, loff_t len)
{
	struct inode *inode = file_inode(file);
	struct archil_record rec = { .off = off, .length = len };
	loff_t size = i_size_read(inode), new_size = 0;
	struct archil_deleg *d;
	int err;

	if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > size) {
		new_size = off + len;
		err = inode_newsize_ok(inode, new_size);
		if (err)
			return err;
	}
	/* Pages are touched before the record is appended: not where we may not. */
	err = archil_own(inode, false, NULL, &d);
	if (err)
		return archil_file_lost(file) ? -EIO : err;
	archil_deleg_leave(d);
	if (new_size)
		archil_zero_tail(inode);
	/* What is dirty or under way goes first: the record takes effect behind it. */
	err = archil_flush_data(inode, true);
	/* Times move with the record, if that is accepted. */
	if (!err)
		err = file_remove_privs(file);
	if (err)
		return err;

	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		rec.type = ARCHIL_REC_PUNCH;
		archil_blocks_add(inode, -len);
		truncate_pagecache_range(inode, off, off + len - 1);
		err = archil_falloc_record(file, &rec, 0);
		if (err || !new_size)
			return err;
		rec = (struct archil_record) { .off = off, .length = len };
	}
	rec.type = ARCHIL_REC_ALLOC;
	rec.flags = mode & FALLOC_FL_KEEP_SIZE ? ARCHIL_ALLOC_KEEP_SIZE : 0;
	return archil_falloc_record(file, &rec, new_size);
}

static long archil_fallocate(struct file *file, int mode, loff_t off, loff_t len)
{
	struct inode *inode = file_inode(file);
	long err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	err = archil_file_lost(file) ? -EIO : archil_do_fallocate(file, mode, off, len);
	inode_unlock(inode);
	return err;
}

/* ---- locks: local, but an exclusive one takes ownership ---- */

/* flock(2) locks exclusively also what is open for reading only; ownership is for who may write. */
static bool archil_may_own(struct file *file)
{
	return (file->f_mode & FMODE_WRITE) || !file_permission(file, MAY_WRITE);
}

static int archil_lock_own(struct file *file, struct file_lock *fl)
{
	const struct archil_file *af = file->private_data;
	struct inode *inode = file_inode(file);
	struct archil_deleg *d;
	bool old = af->given != atomic_read(&archil_i(inode)->given);
	bool may;
	int err;

	if (!lock_is_write(fl) || sb_rdonly(inode->i_sb))
		return 0;
	if (archil_file_lost(file))
		return -EIO;
	may = archil_may_own(file);
	err = archil_own(inode, !old && may, file->f_path.dentry, &d);
	if (!err)
		archil_deleg_leave(d);
	else if (err == -EROFS && !may)
		err = -EBADF;	/* as over NFS: to be opened for writing */
	return archil_file_lost(file) ? -EIO : err;
}

static int archil_lock(struct file *file, int cmd, struct file_lock *fl)
{
	int err;

	if (IS_GETLK(cmd)) {
		posix_test_lock(file, fl);
		return 0;
	}
	err = archil_lock_own(file, fl);
	return err ?: posix_lock_file(file, fl, NULL);
}

static int archil_flock(struct file *file, int cmd, struct file_lock *fl)
{
	int err = archil_lock_own(file, fl);

	return err ?: locks_lock_file_wait(file, fl);
}

/* ---- mappings ---- */

static const struct vm_operations_struct archil_vm_ops = {
	.fault		= filemap_fault,
	.map_pages	= filemap_map_pages,
	.page_mkwrite	= archil_page_mkwrite,
};

static int archil_mmap(struct file *file, struct vm_area_struct *vma)
{
	int err = archil_revalidate(file_inode(file), false);

	if (err)
		return err;
	file_accessed(file);
	vma->vm_ops = &archil_vm_ops;
	return 0;
}

const struct file_operations archil_file_fops = {
	.open		= archil_file_open,
	.release	= archil_file_release,
	.read_iter	= archil_read_iter,
	.write_iter	= archil_write_iter,
	.mmap		= archil_mmap,
	.fsync		= archil_fsync,
	.llseek		= archil_llseek,
	.fallocate	= archil_fallocate,
	.lock		= archil_lock,
	.flock		= archil_flock,
	.splice_read	= filemap_splice_read,
	.splice_write	= iter_file_splice_write,
	.unlocked_ioctl	= archil_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.setlease	= simple_nosetlease,
};

const struct inode_operations archil_file_iops = {
	.getattr	= archil_getattr,
	.setattr	= archil_setattr,
	.permission	= archil_permission,
	.listxattr	= archil_listxattr,
};

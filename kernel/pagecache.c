// SPDX-License-Identifier: GPL-2.0
/*
 * File pages.
 *
 * 1. Ownership is tested with the folio locked, entered until the folio is dirty
 *    (deleg.c). Reading what a partial write needs, taking credit and waiting for a drain
 *    come before that, killably.
 * 2. Small contents: as long as a file was never larger than inline_max and never
 *    stored to through a mapping (ARCHIL_I_BULK), every write(2) appends a CONTENT
 *    record of what it wrote, and that is how the bytes travel. The folio is dirty until the
 *    record is acknowledged, so that memory keeps it, but it is never sent. When write(2) makes a
 *    file larger than that before anybody wanted those records sent, they are withdrawn.
 * 3. Bulk: dirty folios are sent as WRITEs, each after the last record of its inode.
 *    The range stays under write-back until answered.
 * 4. Size and times follow in a SETATTR record when WRITEs were acknowledged: the size only up
 *    to the first page that is still dirty or under way, so nobody ever sees a
 *    size without its bytes. With the only WRITE that somebody waits for they go along
 *    (struct archil_write_req), if the log has nothing under way; the server may decline.
 * 5. A dirty folio without a live delegation is dropped and EIO recorded.
 */
#include <linux/backing-dev.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "inode.h"
#include "file.h"
#include "folio.h"
#include "pagecache.h"

/* ---- reading ---- */

void archil_io_release(struct archil_req *req)
{
	struct archil_io *io = req->private;

	archil_deleg_put(io->deleg);
	kfree(io);
}

struct archil_io *archil_io_new(struct inode *inode, loff_t pos, unsigned int cap, gfp_t gfp)
{
	struct archil_io *io = kmalloc(struct_size(io, vec, cap), gfp);

	if (io) {
		io->inode = inode;
		io->deleg = NULL;
		io->pos = pos;
		io->grow = 0;
		io->nr = 0;
		io->cap = cap;
	}
	return io;
}

static void archil_read_done(struct archil_req *req)
{
	struct archil_io *io = req->private;
	struct archil_inode *ai = archil_i(io->inode);
	const struct archil_read_rep *rep = req->rep;
	bool ok = !req->error && !req->status;
	size_t left = ok ? req->in_len : 0;
	unsigned int i;

	if (ok && le64_to_cpu(rep->change) != READ_ONCE(ai->data_change) && !io->deleg)
		WRITE_ONCE(ai->expires, jiffies - 1);
	for (i = 0; i < io->nr; i++) {
		struct folio *folio = page_folio(io->vec[i].bv_page);
		size_t size = folio_size(folio), got = min(left, size);

		if (ok && got < size)
			folio_zero_segment(folio, got, size);
		left -= got;
		flush_dcache_folio(folio);
		folio_end_read(folio, ok);
	}
}

/* Read these folios, locked, which are unlocked when it is done. Consumes @io. */
static int archil_read_submit(struct archil_io *io)
{
	struct archil_mount *m = archil_mnt(io->inode->i_sb);
	struct archil_read_req *body;
	struct archil_req *req;
	u32 len = 0;
	unsigned int i;

	for (i = 0; i < io->nr; i++)
		len += io->vec[i].bv_len;
	req = archil_req_new(m, ARCHIL_OP_READ, sizeof(*body), sizeof(struct archil_read_rep),
			     GFP_NOFS);
	if (!req) {
		for (i = 0; i < io->nr; i++)
			folio_end_read(page_folio(io->vec[i].bv_page), false);
		kfree(io);
		return -ENOMEM;
	}
	if (archil_owned(io->inode))
		io->deleg = archil_deleg_told(io->inode);
	body = req->body;
	body->ino = cpu_to_le64(archil_i(io->inode)->ino);
	body->off = cpu_to_le64(io->pos);
	body->len = cpu_to_le32(len);
	body->flags = cpu_to_le32(io->deleg ? ARCHIL_READ_OWNER : 0);
	req->in_bvec = io->vec;
	req->in_nr = io->nr;
	req->in_cap = len;
	req->private = io;
	req->done = archil_read_done;
	req->release = archil_io_release;
	archil_req_submit(req);
	archil_req_put(req);
	return 0;
}

/* What we appended of this inode concerns what a READ gives. Killable. */
static int archil_read_settled(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;
	int err = 0;

	if (!READ_ONCE(ai->last_seq))
		return 0;
	d = archil_deleg_cached(inode);
	if (d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING)
		err = archil_log_wait(d, READ_ONCE(ai->last_seq), true);
	archil_deleg_put(d);
	return err == -EIO ? 0 : err;
}

/* Is the beginning of a small file that is not ours about to be read? */
static bool archil_read_cold(struct file *file, struct inode *inode, pgoff_t index)
{
	return file && !index && !test_bit(ARCHIL_I_BULK, &archil_i(inode)->flags) &&
	       i_size_read(inode) <= archil_mnt(inode->i_sb)->inline_max && !archil_owned(inode);
}

static int archil_read_folio(struct file *file, struct folio *folio)
{
	struct inode *inode = folio->mapping->host;
	bool cold = archil_read_cold(file, inode, folio->index);
	struct archil_io *io;
	int err;

	if (folio_pos(folio) >= i_size_read(inode)) {
		folio_zero_segment(folio, 0, folio_size(folio));
		folio_end_read(folio, true);
		return 0;
	}
	/* The log needs no folio lock, so waiting with one is safe. */
	err = archil_read_settled(inode);
	io = err ? NULL : archil_io_new(inode, folio_pos(folio), 1, GFP_NOFS);
	if (!io) {
		folio_unlock(folio);
		return err ?: -ENOMEM;
	}
	bvec_set_folio(&io->vec[io->nr++], folio, folio_size(folio), 0);
	err = archil_read_submit(io);
	if (!err && cold)
		archil_smalls_cold(file);
	return err;
}

static void archil_readahead(struct readahead_control *rac)
{
	struct inode *inode = rac->mapping->host;
	unsigned int cap = archil_mnt(inode->i_sb)->io_max >> PAGE_SHIFT;
	bool cold = archil_read_cold(rac->file, inode, readahead_index(rac));
	struct archil_io *io = NULL;
	struct folio *folio;
	size_t len = 0;

	if (archil_read_settled(inode))
		return;
	while ((folio = readahead_folio(rac))) {
		if (io && (io->nr == io->cap ||
			   len + folio_size(folio) > (size_t)cap << PAGE_SHIFT)) {
			archil_read_submit(io);
			io = NULL;
		}
		if (!io) {
			io = archil_io_new(inode, folio_pos(folio),
					   min(cap, readahead_count(rac) + 1), GFP_NOFS);
			len = 0;
		}
		if (!io) {
			folio_unlock(folio);
			continue;
		}
		bvec_set_folio(&io->vec[io->nr++], folio, folio_size(folio), 0);
		len += folio_size(folio);
	}
	if (io)
		archil_read_submit(io);
	if (cold)
		archil_smalls_cold(rac->file);
}

/* ---- being dirty ---- */

bool archil_inode_lags(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	smp_rmb(); /* after tags of pages; archil_write_done() sets it, then takes the tag away */
	return test_bit(ARCHIL_I_TIMES, &ai->flags) || i_size_read(inode) > ai->logged_size;
}

bool archil_inode_dirty(struct inode *inode)
{
	return mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY) ||
	       mapping_tagged(inode->i_mapping, PAGECACHE_TAG_WRITEBACK) ||
	       archil_inode_lags(inode);
}

void archil_credit_of_clean(struct inode *inode)
{
	if (!mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY) &&
	    !mapping_tagged(inode->i_mapping, PAGECACHE_TAG_WRITEBACK))
		archil_credit_return(archil_mnt(inode->i_sb),
				     atomic64_xchg(&archil_i(inode)->charged, 0));
}

void archil_zero_tail(struct inode *inode)
{
	loff_t size = i_size_read(inode);
	struct folio *folio;

	folio = filemap_lock_folio(inode->i_mapping, size >> PAGE_SHIFT);
	if (IS_ERR_OR_NULL(folio))
		return;
	if (folio_pos(folio) < size && folio_test_uptodate(folio))
		folio_zero_segment(folio, offset_in_folio(folio, size), folio_size(folio));
	folio_unlock(folio);
	folio_put(folio);
}

void archil_blocks_add(struct inode *inode, s64 bytes)
{
	s64 most = round_up(i_size_read(inode), PAGE_SIZE) >> 9;

	spin_lock(&archil_i(inode)->lock);
	inode->i_blocks = clamp_t(s64, (s64)inode->i_blocks + (bytes >> 9), 0, most);
	spin_unlock(&archil_i(inode)->lock);
}

/*
 * From now on its bytes travel beside the log: after all that are in it. With @d, entered, those of
 * a new file that has outgrown the log are taken back if they can be. They are dirty still, and travel
 * with the others, once.
 */
static void archil_set_bulk(struct archil_inode *ai, struct archil_deleg *d)
{
	u64 charge;

	if (test_bit(ARCHIL_I_BULK, &ai->flags))
		return;
	spin_lock(&ai->lock);	/* see archil_append_content() and archil_logged_size() */
	if (d && !test_bit(ARCHIL_I_BULK, &ai->flags) && ai->content_seq &&
	    archil_log_withdraw(d, ai->ino, &charge)) {
		ai->logged_size = 0;
		atomic64_add(charge, &ai->charged);
	}
	set_bit(ARCHIL_I_BULK, &ai->flags);
	spin_unlock(&ai->lock);
}

/* Would contents of this size travel in the log? */
static bool archil_is_small(struct inode *inode, loff_t size)
{
	return !test_bit(ARCHIL_I_BULK, &archil_i(inode)->flags) &&
	       max(size, i_size_read(inode)) <= archil_mnt(inode->i_sb)->inline_max;
}

/*
 * [@from, @to) of the folio, locked, was changed; inside. @credit: bytes that were taken for it, or
 * 0 for what is charged already.
 */
static void archil_folio_written(struct inode *inode, struct folio *folio, size_t from, size_t to,
				 size_t credit)
{
	size_t more = archil_folio_dirty(folio, from, to);
	struct archil_inode *ai = archil_i(inode);

	if (credit) {
		atomic64_add(more, &ai->charged);
		archil_credit_return(archil_mnt(inode->i_sb), credit - more);
	}
	set_bit(ARCHIL_I_TIMES, &ai->flags);
	archil_mark_dirty(inode);
}

/* Nothing known covers what @file has open. 0: something does; enter again. */
static int archil_own_again(struct file *file)
{
	struct archil_deleg *d;
	int err = archil_own(file_inode(file), false, NULL, &d);

	if (!err)
		archil_deleg_leave(d);
	return err && archil_file_lost(file) ? -EIO : err;
}

/* ---- write(2) ---- */

/*
 * A folio for writing at @pos, locked; *@len: bytes, and then how many of them go into this folio. It is
 * uptodate unless all of it will be written. @whole: they will be written.
 */
static struct folio *archil_write_begin(struct inode *inode, loff_t pos, size_t *len, bool whole)
{
	struct address_space *mapping = inode->i_mapping;
	fgf_t flags = FGP_WRITEBEGIN;
	struct folio *folio;
	size_t all = *len;
	int err;

	if (whole)
		flags |= fgf_set_order(all);
	for (;;) {
		folio = __filemap_get_folio(mapping, pos >> PAGE_SHIFT, flags,
					    mapping_gfp_mask(mapping));
		if (IS_ERR(folio))
			return folio;
		*len = min(all, folio_size(folio) - offset_in_folio(folio, pos));
		if (folio_test_uptodate(folio) || (whole && *len == folio_size(folio)))
			return folio;
		if (folio_pos(folio) >= i_size_read(inode)) {
			folio_zero_segment(folio, 0, folio_size(folio));
			folio_mark_uptodate(folio);
			return folio;
		}
		err = archil_read_folio(NULL, folio);	/* unlocks */
		if (!err)
			err = folio_wait_locked_killable(folio);
		if (!err && !folio_test_uptodate(folio))
			err = -EIO;
		folio_put(folio);
		if (err)
			return ERR_PTR(err);
	}
}

/*
 * Small contents: what the folio now has at [off, off + len) as a record; consumes
 * @e. -EAGAIN: a store through a mapping came between, the bytes travel in bulk. -EIO.
 */
static int archil_append_content(struct inode *inode, struct archil_deleg *d, struct folio *folio,
				 loff_t pos, size_t len, struct archil_batch_rec *e)
{
	struct archil_inode *ai = archil_i(inode);
	void *data = kmap_local_folio(folio, offset_in_folio(folio, pos));
	struct archil_time time;
	u64 seq = 0;
	int err;

	archil_time_to_wire(&time, inode_get_mtime(inode));
	archil_log_rec_fill(d->mount, e, data, len, &time);
	kunmap_local(data);
	/* Test and append at once: no WRITE is sent before the last CONTENT is in the log. */
	spin_lock(&ai->lock);
	err = test_bit(ARCHIL_I_BULK, &ai->flags) ? -EAGAIN : 0;
	if (!err) {
		seq = archil_log_append(d, e);
		err = seq ? 0 : -EIO;
	}
	if (seq) {
		ai->last_seq = seq;
		ai->content_seq = seq;
		ai->logged_size = max_t(u64, ai->logged_size, pos + len);
	}
	spin_unlock(&ai->lock);
	if (err == -EAGAIN)
		archil_log_rec_free(d->mount, e);
	return err;
}

static struct archil_batch_rec *archil_content_entry(struct inode *inode, loff_t pos, size_t len)
{
	struct archil_record rec = {
		.type = ARCHIL_REC_CONTENT,
		.ino = archil_i(inode)->ino,
		.off = pos,
		.data_len = len,
	};

	return archil_log_rec_new(archil_mnt(inode->i_sb), &rec, ARCHIL_LOG_WAIT);
}

/*
 * Of @len bytes those that go into one folio. Bytes copied (0: fault the source in and try again), or
 * an error.
 */
static ssize_t archil_write_one(struct kiocb *iocb, struct inode *inode, loff_t pos, size_t len,
				struct iov_iter *from, bool whole)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	bool small = archil_is_small(inode, pos + len);
	struct archil_batch_rec *e = NULL;
	size_t n, off, need, credit = 0, copied = 0;
	struct archil_deleg *d;
	struct folio *folio;
	int err;

	if (small) {
		len = min_t(size_t, len, PAGE_SIZE - offset_in_page(pos));
		e = archil_content_entry(inode, pos, len);
		if (IS_ERR(e))
			return PTR_ERR(e);
	}
	for (;;) {
		n = len;
		folio = archil_write_begin(inode, pos, &n, whole);
		if (IS_ERR(folio)) {
			err = PTR_ERR(folio);
			goto err_credit;
		}
		off = offset_in_folio(folio, pos);
		need = small ? 0 : archil_folio_more(folio, off, off + n);
		if (need > credit && archil_credit_try(m, need - credit))
			credit = need;
		d = NULL;
		err = need > credit ? -ENOSPC : archil_deleg_enter(inode, &d);
		if (!err)
			break;
		folio_unlock(folio);
		folio_put(folio);
		if (need > credit) {
			err = archil_credit_take(m, need - credit);
			credit = err ? credit : need;
		} else if (err == -EAGAIN) {
			err = archil_deleg_wait(d);
		} else if (err == -EROFS) {
			err = archil_own_again(iocb->ki_filp);
		}
		if (err)
			goto err_credit;
	}
	err = archil_file_lost(iocb->ki_filp) ? -EIO : 0;
	/* A store through a mapping came between: the bytes travel in bulk. */
	if (!err && small && !archil_is_small(inode, pos + n))
		err = -EAGAIN;
	if (err)
		goto out;
	copied = copy_page_from_iter_atomic(folio_page(folio, 0), off, n, from);
	flush_dcache_folio(folio);
	if (!folio_test_uptodate(folio)) {
		if (copied < n) {
			iov_iter_revert(from, copied);
			copied = 0;
			goto out;
		}
		folio_mark_uptodate(folio);
	}
	if (!copied)
		goto out;
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
	if (small) {
		err = archil_append_content(inode, d, folio, pos, copied, e);
		e = NULL;
		if (err && err != -EAGAIN)
			goto out;
		if (err) {
			err = 0;	/* what was charged is about as much */
			archil_folio_written(inode, folio, off, off + copied, 0);
		} else {
			archil_folio_dirty(folio, off, off + copied);
			archil_mark_dirty(inode);
		}
	} else {
		archil_set_bulk(archil_i(inode), d);
		archil_folio_written(inode, folio, off, off + copied, credit);
		credit = 0;
	}
	/* After it is dirty: until it is clean no record says that the file is so long. */
	smp_wmb(); /* pairs with archil_size_now() */
	if (pos + copied > i_size_read(inode))
		i_size_write(inode, pos + copied);
out:
	folio_unlock(folio);
	folio_put(folio);
	archil_deleg_leave(d);
err_credit:
	if (e)
		archil_log_rec_free(m, e);
	if (credit)
		archil_credit_return(m, credit);
	return err ?: copied;
}

ssize_t archil_perform_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	loff_t pos = iocb->ki_pos;
	bool whole = true;
	ssize_t n = 0, written = 0;
	size_t len;

	if (pos > i_size_read(inode))
		archil_zero_tail(inode);
	while (iov_iter_count(from)) {
		len = archil_folio_room(inode, pos, iov_iter_count(from));
		if (unlikely(fault_in_iov_iter_readable(from, len) == len)) {
			n = -EFAULT;
			break;
		}
		if (fatal_signal_pending(current)) {
			n = -EINTR;
			break;
		}
		n = archil_write_one(iocb, inode, pos, len, from, whole);
		if (n == -EAGAIN)
			continue;
		if (n < 0)
			break;
		whole = n > 0;	/* a short copy into a new folio: read it first */
		pos += n;
		written += n;
		cond_resched();
		balance_dirty_pages_ratelimited(inode->i_mapping);
	}
	iocb->ki_pos = pos;
	return written ?: n;
}

/* ---- stores through a mapping ---- */

vm_fault_t archil_page_mkwrite(struct vm_fault *vmf)
{
	struct file *file = vmf->vma->vm_file;
	struct inode *inode = file_inode(file);
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct folio *folio = page_folio(vmf->page);
	size_t size = folio_size(folio);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct archil_deleg *d;
	int err;

	sb_start_pagefault(inode->i_sb);
	/* All of it: a large one may be mapped as one. */
	err = archil_credit_take(m, size);
	if (err)
		goto out;
	folio_lock(folio);
	if (folio->mapping != inode->i_mapping || (loff_t)vmf->pgoff << PAGE_SHIFT >= i_size_read(inode)) {
		folio_unlock(folio);
		ret = VM_FAULT_NOPAGE;
		goto out_credit;
	}
	err = archil_deleg_enter(inode, &d);
	if (err) {
		folio_unlock(folio);
		/* With mmap_lock held, but killably, and no drain needs that lock. */
		if (err == -EAGAIN)
			err = archil_deleg_wait(d);
		else if (err == -EROFS)
			err = archil_own_again(file);
		if (!err)
			ret = VM_FAULT_NOPAGE;
		goto out_credit;
	}
	if (archil_file_lost(file)) {
		archil_deleg_leave(d);
		folio_unlock(folio);
		goto out_credit;
	}
	archil_set_bulk(archil_i(inode), NULL);
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
	archil_folio_written(inode, folio, 0, size, size);
	archil_deleg_leave(d);
	ret = VM_FAULT_LOCKED;
	goto out;
out_credit:
	archil_credit_return(m, size);
out:
	sb_end_pagefault(inode->i_sb);
	return ret;
}

const struct address_space_operations archil_aops = {
	.read_folio	= archil_read_folio,
	.readahead	= archil_readahead,
	.writepages	= archil_writepages,
	.dirty_folio	= archil_dirty_folio,
	.invalidate_folio = archil_invalidate_folio,
	.release_folio	= archil_release_folio,
	.migrate_folio	= filemap_migrate_folio,
};

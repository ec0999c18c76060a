// SPDX-License-Identifier: GPL-2.0
/*
 * Writing pages back, and what follows from it: size and times, flushing,
 * dropping. Rules 2 to 5 of pagecache.c.
 */
#include <linux/backing-dev.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/writeback.h>

#include "folio.h"
#include "inode.h"
#include "pagecache.h"

/*
 * Twice what the server flushes at once, so that some come while others are flushed; of small ones so
 * many that it flushes them together.
 */
#define ARCHIL_WRITES_IN_FLIGHT	512
#define ARCHIL_BYTES_IN_FLIGHT	(32 << 20)

/* ---- how far a file is at the server ---- */

/* How long the file is, and how often it was cut until then. */
static loff_t archil_size_now(struct inode *inode, u32 *cuts)
{
	loff_t size;

	spin_lock(&inode->i_lock);
	*cuts = archil_i(inode)->cuts;
	size = i_size_read(inode);
	spin_unlock(&inode->i_lock);
	smp_rmb(); /* size before tags of pages; pairs with archil_write_one() */
	return size;
}

/* Of a file that was seen to be bulk: after what was withdrawn then. */
static u64 archil_logged_size(struct archil_inode *ai)
{
	u64 size;

	spin_lock(&ai->lock);
	size = ai->logged_size;
	spin_unlock(&ai->lock);
	return size;
}

/* The first page from @index on that is under way, but not in @io. */
static bool archil_under_way(struct address_space *mapping, const struct archil_io *io,
			     unsigned long *index)
{
	struct folio *first, *last;

	if (!xa_find(&mapping->i_pages, index, ULONG_MAX, PAGECACHE_TAG_WRITEBACK))
		return false;
	if (!io)
		return true;
	first = page_folio(io->vec[0].bv_page);
	last = page_folio(io->vec[io->nr - 1].bv_page);
	if (*index < first->index || *index >= last->index + folio_nr_pages(last))
		return true;
	*index = last->index + folio_nr_pages(last);
	return xa_find(&mapping->i_pages, index, ULONG_MAX, PAGECACHE_TAG_WRITEBACK);
}

/*
 * How long the file is as far as its pages are at the server, and when those of @io (or NULL) will
 * be, too.
 */
static loff_t archil_clean_size(struct inode *inode, const struct archil_io *io, u32 *cuts)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long from = archil_logged_size(archil_i(inode)) >> PAGE_SHIFT;
	unsigned long dirty = from, under_way = from;
	loff_t size = archil_size_now(inode, cuts);

	if (xa_find(&mapping->i_pages, &dirty, ULONG_MAX, PAGECACHE_TAG_DIRTY))
		size = min_t(loff_t, size, (loff_t)dirty << PAGE_SHIFT);
	if (archil_under_way(mapping, io, &under_way))
		size = min_t(loff_t, size, (loff_t)under_way << PAGE_SHIFT);
	return size;
}

/* ---- WRITEs ---- */

/*
 * An orphan that is being evicted: nobody asks for it any more, and a drain passes it over, so that
 * its delegation may be closed with WRITEs on their way.
 */
static bool archil_is_going(struct inode *inode)
{
	return !inode->i_nlink && (inode_state_read_once(inode) & I_FREEING);
}

/* What was to go with a WRITE has, or will have to follow it. */
static void archil_write_grown(struct archil_io *io, bool grown)
{
	struct archil_inode *ai = archil_i(io->inode);

	if (!io->grow)
		return;
	if (!grown && io->grow & ARCHIL_WRITE_TIMES)
		set_bit(ARCHIL_I_TIMES, &ai->flags);
	if (grown && io->grow & ARCHIL_WRITE_SIZE_UP) {
		spin_lock(&io->inode->i_lock);
		spin_lock(&ai->lock);
		if (ai->cuts == io->cuts)
			ai->logged_size = max_t(u64, ai->logged_size, io->size);
		spin_unlock(&ai->lock);
		spin_unlock(&io->inode->i_lock);
	}
	clear_bit_unlock(ARCHIL_I_GROWING, &ai->flags);
}

static void archil_write_done(struct archil_req *req)
{
	struct archil_io *io = req->private;
	struct archil_inode *ai = archil_i(io->inode);
	struct archil_mount *m = req->mount;
	const struct archil_write_rep *rep = req->rep;
	int err = req->error ?: archil_status_to_errno(req->status);
	u64 bytes = round_up((u64)req->out_len, PAGE_SIZE), charged;
	bool grown = !err && le32_to_cpu(rep->flags) & ARCHIL_WRITE_GROWN, follows;
	unsigned int i;

	if (err) {
		if (!archil_is_going(io->inode))
			mapping_set_error(io->inode->i_mapping, err);
		if (!req->error && req->status == ARCHIL_ST_TAKEN)
			archil_deleg_lost(io->deleg);
	} else {
		archil_credit_add(m, le64_to_cpu(rep->credit));
		archil_blocks_add(io->inode, bytes);
	}
	archil_write_grown(io, grown);
	/* else all was said, and no record waits to be sent with what this one makes true */
	follows = !grown || archil_inode_lags(io->inode) || !archil_log_idle(io->deleg);
	charged = min_t(u64, bytes, atomic64_read(&ai->charged));
	atomic64_sub(charged, &ai->charged);
	archil_credit_settle(m, charged);

	/*
	 * Whoever evicts the inode waits for its pages, then for the lock, then for
	 * the work: so that is queued before the last page lets go.
	 */
	for (i = 0; i + 1 < io->nr; i++)
		folio_end_writeback(page_folio(io->vec[i].bv_page));
	spin_lock(&ai->lock);
	folio_end_writeback(page_folio(io->vec[i].bv_page));
	if (follows)
		queue_work(m->wq, &ai->size_work);
	spin_unlock(&ai->lock);
	atomic_sub(req->out_len, &m->write_bytes);
	atomic_dec(&m->writes);
	if (wq_has_sleeper(&m->writes_wait))
		wake_up(&m->writes_wait);
}

static bool archil_may_write(struct archil_mount *m)
{
	return atomic_read(&m->writes) < ARCHIL_WRITES_IN_FLIGHT &&
	       atomic_read(&m->write_bytes) < ARCHIL_BYTES_IN_FLIGHT;
}

/* -EINTR: killed. */
static int archil_wait_may_write(struct archil_mount *m)
{
	/* Whoever has umount's signals goes on: nobody comes after him. */
	if (READ_ONCE(m->ending))
		wait_event(m->writes_wait, archil_may_write(m));
	else if (wait_event_killable(m->writes_wait, archil_may_write(m)))
		return -EINTR;
	return 0;
}

struct archil_wb {
	struct inode *inode;
	struct archil_io *io;		/* being collected, or NULL */
	u32 len;
	bool several;			/* one was submitted before */
};

/*
 * Rule 4: size and times into the WRITE, behind all that was appended. Records of the inode are
 * appended, and have their effect in memory, with one of these locks; so what is in memory is
 * what they say, and those that will be are behind. One at a time: a WRITE that is sent again
 * must not bring back older times than a later one has brought.
 */
static void archil_write_grow(struct archil_io *io, struct archil_write_req *body)
{
	struct inode *inode = io->inode;
	struct archil_inode *ai = archil_i(inode);
	u64 last;

	if (!inode_trylock_shared(inode))
		return;
	if (!mutex_trylock(&ai->size_mutex))
		goto out_inode;
	if (!archil_log_settled(io->deleg, &last) || READ_ONCE(ai->last_seq) > last ||
	    test_and_set_bit_lock(ARCHIL_I_GROWING, &ai->flags))
		goto out;
	io->size = archil_clean_size(inode, io, &io->cuts);
	if (io->size > archil_logged_size(ai))
		io->grow |= ARCHIL_WRITE_SIZE_UP;
	if (test_and_clear_bit(ARCHIL_I_TIMES, &ai->flags))
		io->grow |= ARCHIL_WRITE_TIMES;
	if (!io->grow) {
		clear_bit_unlock(ARCHIL_I_GROWING, &ai->flags);
		goto out;
	}
	body->after = cpu_to_le64(last);
	body->size = cpu_to_le64(io->size);
	archil_time_to_wire(&body->mtime, inode_get_mtime(inode));
	archil_time_to_wire(&body->ctime, inode_get_ctime(inode));
	body->flags = cpu_to_le32(io->grow);
out:
	mutex_unlock(&ai->size_mutex);
out_inode:
	inode_unlock_shared(inode);
}

/*
 * @urgent: somebody waits, and this is the last. The server flushes a file at once for an urgent
 * WRITE and answers all before it; the others it flushes together.
 */
static int archil_write_submit(struct archil_wb *wb, struct writeback_control *wbc, bool urgent)
{
	struct archil_io *io = wb->io;
	struct archil_mount *m = archil_mnt(wb->inode->i_sb);
	struct archil_write_req *body;
	struct archil_req *req;
	bool several = wb->several;
	unsigned int i;
	int err;

	wb->io = NULL;
	wb->several = true;
	if (!io)
		return 0;
	req = archil_req_new(m, ARCHIL_OP_WRITE, sizeof(*body), sizeof(struct archil_write_rep),
			     GFP_NOFS);
	err = req ? 0 : -ENOMEM;
	if (!err && archil_wait_may_write(m)) {
		archil_req_put(req);
		err = -EINTR;
	}
	if (err) {
		for (i = 0; i < io->nr; i++) {
			struct folio *folio = page_folio(io->vec[i].bv_page);

			archil_folio_redirty(folio, wbc);
			folio_end_writeback(folio);
		}
		archil_deleg_put(io->deleg);
		kfree(io);
		return err;
	}
	body = req->body;
	body->deleg = cpu_to_le64(io->deleg->number);
	body->ino = cpu_to_le64(archil_i(wb->inode)->ino);
	body->off = cpu_to_le64(io->pos);
	body->after = cpu_to_le64(READ_ONCE(archil_i(wb->inode)->last_seq));
	if (urgent && !several)
		archil_write_grow(io, body);
	if (le64_to_cpu(body->after) > READ_ONCE(io->deleg->log.acked))
		archil_log_kick(io->deleg);
	req->out_bvec = io->vec;
	req->out_nr = io->nr;
	req->out_len = wb->len;
	req->urgent = urgent;
	req->private = io;
	req->done = archil_write_done;
	req->release = archil_io_release;
	atomic_inc(&m->writes);
	atomic_add(req->out_len, &m->write_bytes);
	archil_req_submit(req);
	archil_req_put(req);
	return 0;
}

/* Clean without being sent: acknowledged by other means, or beyond the end. */
static void archil_folio_clean(struct folio *folio)
{
	folio_start_writeback(folio);
	folio_unlock(folio);
	folio_end_writeback(folio);
}

bool archil_content_pending(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;
	bool pending;

	if (test_bit(ARCHIL_I_BULK, &ai->flags))
		return false;
	d = archil_deleg_cached(inode);
	pending = d && READ_ONCE(d->state) != ARCHIL_OWN_TAKEN &&
		  READ_ONCE(ai->content_seq) > READ_ONCE(d->log.acked);
	archil_deleg_put(d);
	return pending;
}

/* Small contents: clean when the record that has them is durable. */
static int archil_clean_small(struct folio *folio, struct writeback_control *wbc, void *data)
{
	struct inode *inode = folio->mapping->host;
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d = archil_deleg_cached(inode);

	if (!d || READ_ONCE(d->state) == ARCHIL_OWN_TAKEN) {
		mapping_set_error(inode->i_mapping, -EIO);
		archil_folio_clean(folio);
	} else if (test_bit(ARCHIL_I_BULK, &ai->flags) ||
		   READ_ONCE(ai->content_seq) > READ_ONCE(d->log.acked)) {
		folio_redirty_for_writepage(wbc, folio);
		folio_unlock(folio);
	} else {
		archil_folio_clean(folio);
	}
	archil_deleg_put(d);
	return 0;
}

static int archil_write_bulk(struct folio *folio, struct writeback_control *wbc, void *data)
{
	struct archil_wb *wb = data;
	struct inode *inode = wb->inode;
	loff_t size = i_size_read(inode), pos = folio_pos(folio);
	size_t io_max = archil_mnt(inode->i_sb)->io_max, from, to;
	struct archil_deleg *d;
	int err;

	archil_folio_take(folio, &from, &to);
	if (pos < size && size - pos < folio_size(folio)) {
		folio_zero_segment(folio, size - pos, folio_size(folio));
		to = min_t(size_t, to, size - pos);
	}
	if (pos >= size || from >= to) {
		archil_folio_clean(folio);
		return 0;
	}
	pos += from;
	d = archil_deleg_cached(inode);
	if (!d || READ_ONCE(d->state) == ARCHIL_OWN_TAKEN) {
		archil_deleg_put(d);
		mapping_set_error(inode->i_mapping, -EIO);
		archil_folio_clean(folio);
		return 0;
	}
	/* A folio that is larger than io_max goes alone. */
	if (wb->io && (wb->io->nr == wb->io->cap || wb->len + to - from > io_max ||
		       wb->io->deleg != d || wb->io->pos + wb->len != pos)) {
		err = archil_write_submit(wb, wbc, false);
		if (err)
			goto redirty;
	}
	if (!wb->io) {
		wb->io = archil_io_new(inode, pos, io_max >> PAGE_SHIFT, GFP_NOFS);
		err = -ENOMEM;
		if (!wb->io)
			goto redirty;
		wb->len = 0;
		wb->io->deleg = d;
		refcount_inc(&d->ref);
	}
	archil_deleg_put(d);
	bvec_set_folio(&wb->io->vec[wb->io->nr++], folio, to - from, from);
	wb->len += to - from;
	folio_start_writeback(folio);
	folio_unlock(folio);
	return 0;

redirty:
	archil_deleg_put(d);
	archil_folio_redirty(folio, wbc);
	folio_unlock(folio);
	return err;
}

int archil_writepages(struct address_space *mapping, struct writeback_control *wbc)
{
	struct inode *inode = mapping->host;
	struct archil_inode *ai = archil_i(inode);
	struct archil_wb wb = { .inode = inode };
	struct archil_deleg *d;
	int err, err2;

	/* Age is for commit= to judge, not for the machine's flusher. */
	if (wbc->for_kupdate)
		return 0;
	if (!test_bit(ARCHIL_I_BULK, &ai->flags)) {
		if (!archil_content_pending(inode))
			return compat_writeback_folios(mapping, wbc, archil_clean_small, NULL);
		/*
		 * Whoever means them durable waits for the log, as archil_sync_fs() does. Not here:
		 * whoever removes the file would wait for this, and not killably.
		 */
		if (wbc->sync_mode == WB_SYNC_NONE) {
			d = archil_deleg_cached(inode);
			if (d)
				archil_log_kick(d);
			archil_deleg_put(d);
		}
		return 0;
	}
	err = compat_writeback_folios(mapping, wbc, archil_write_bulk, &wb);
	err2 = archil_write_submit(&wb, wbc, wbc->sync_mode == WB_SYNC_ALL);
	return err ?: err2;
}

int archil_wait_writeback(struct inode *inode, loff_t start, loff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t index = start >> PAGE_SHIFT, last = end >> PAGE_SHIFT;
	struct folio_batch fbatch;
	unsigned int i;
	int err = 0;

	if (!mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK))
		return 0;
	folio_batch_init(&fbatch);
	while (!err && filemap_get_folios_tag(mapping, &index, last, PAGECACHE_TAG_WRITEBACK,
					      &fbatch)) {
		for (i = 0; !err && i < folio_batch_count(&fbatch); i++)
			err = folio_wait_writeback_killable(fbatch.folios[i]);
		folio_batch_release(&fbatch);
		cond_resched();
	}
	return err ? -EINTR : 0;
}

/* ---- size and times after WRITEs ---- */

void archil_size_cut(struct inode *inode, loff_t size)
{
	spin_lock(&inode->i_lock);
	if (size < i_size_read(inode)) {
		archil_i(inode)->cuts++;
		i_size_write(inode, size);
	}
	spin_unlock(&inode->i_lock);
}

/*
 * Append what follows from WRITEs. Not if the inode is going: what is appended before the eviction
 * begins the drain waits for, and there is nothing later, when the log may be closed. -EAGAIN: the
 * file was cut since its size was looked at, and the record of that may be in the log.
 */
static int archil_size_append(struct inode *inode, struct archil_deleg *d,
			      struct archil_batch_rec *e, u32 cuts)
{
	struct archil_inode *ai = archil_i(inode);
	u64 size = e->rec.size, seq;
	u32 valid = e->rec.valid;
	int err = 0;

	spin_lock(&inode->i_lock);
	if (archil_is_going(inode))
		err = -ESTALE;
	else if (ai->cuts != cuts)
		err = -EAGAIN;
	if (err)
		goto out;
	seq = archil_log_append(d, e);
	if (!seq) {
		/* Lost; until that is cleaned up, it shows that something was not durable. */
		if (valid & ARCHIL_SET_MTIME)
			set_bit(ARCHIL_I_TIMES, &ai->flags);
		goto out;
	}
	spin_lock(&ai->lock);
	ai->size_seq = seq;
	if (valid & ARCHIL_SET_SIZE_UP)
		ai->logged_size = max(ai->logged_size, size);
	spin_unlock(&ai->lock);
out:
	spin_unlock(&inode->i_lock);
	return err;
}

/*
 * @reached: all of the file went to the server when it was that long, and was cut @cuts
 * times; or 0. What is being written again since does not count: the bytes from before are there.
 */
static int archil_size_log(struct inode *inode, struct archil_deleg *d, loff_t reached, u32 cuts)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_record rec = { .type = ARCHIL_REC_SETATTR, .ino = ai->ino };
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_batch_rec *e;
	u32 now;
	int err;

	rec.size = archil_clean_size(inode, NULL, &now);
	if (now == cuts && reached > rec.size)
		rec.size = reached;
	if (rec.size > archil_logged_size(ai))
		rec.valid |= ARCHIL_SET_SIZE_UP;
	if (test_and_clear_bit(ARCHIL_I_TIMES, &ai->flags))
		rec.valid |= ARCHIL_SET_MTIME | ARCHIL_SET_CTIME;
	if (!rec.valid)
		return 0;
	archil_time_to_wire(&rec.mtime, inode_get_mtime(inode));
	archil_time_to_wire(&rec.ctime, inode_get_ctime(inode));
	e = archil_log_rec_new(m, &rec, ARCHIL_LOG_FREE);
	err = PTR_ERR_OR_ZERO(e);
	if (!err) {
		err = archil_size_append(inode, d, e, now);
		if (err)
			archil_log_rec_free(m, e);
	}
	if (err && rec.valid & ARCHIL_SET_MTIME)
		set_bit(ARCHIL_I_TIMES, &ai->flags);
	return err;
}

/* @reached was under delegation @then: of what another one has, it says nothing. */
static int archil_size_reached(struct inode *inode, const struct archil_deleg *then,
			       loff_t reached, u32 cuts)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;
	int err;

	/* Small contents carry both in their records. */
	if (!test_bit(ARCHIL_I_BULK, &ai->flags))
		return 0;
	d = archil_deleg_cached(inode);
	if (!d)
		return 0;
	mutex_lock(&ai->size_mutex);
	do {
		err = archil_size_log(inode, d, d == then ? reached : 0, cuts);
	} while (err == -EAGAIN);
	mutex_unlock(&ai->size_mutex);
	archil_deleg_put(d);
	return err == -ESTALE ? 0 : err;
}

int archil_size_update(struct inode *inode)
{
	return archil_size_reached(inode, NULL, 0, 0);
}

void archil_size_work(struct work_struct *work)
{
	struct archil_inode *ai = container_of(work, struct archil_inode, size_work);
	struct archil_deleg *d;

	archil_size_update(&ai->vfs);
	/* The last of its WRITEs: whoever reads it elsewhere waits for the size. */
	if (mapping_tagged(ai->vfs.i_mapping, PAGECACHE_TAG_DIRTY) ||
	    mapping_tagged(ai->vfs.i_mapping, PAGECACHE_TAG_WRITEBACK))
		return;
	d = archil_deleg_cached(&ai->vfs);
	if (d && !atomic_read(&d->flushing) && !atomic_read(&d->mount->dirty.flushing))
		archil_log_kick(d);
	archil_deleg_put(d);
}

/* ---- flushing, dropping ---- */

int archil_flush_data(struct inode *inode, bool killable)
{
	struct archil_inode *ai = archil_i(inode);
	struct address_space *mapping = inode->i_mapping;
	struct archil_deleg *d = archil_deleg_cached(inode);
	loff_t size;
	int err = 0;
	u32 cuts;

	size = archil_size_now(inode, &cuts);
	if (d && !test_bit(ARCHIL_I_BULK, &ai->flags))
		err = archil_log_wait(d, READ_ONCE(ai->content_seq), killable);
	if (err == -EINTR)
		goto out;
	err = filemap_fdatawrite(mapping);
	if (err == -ENOMEM || err == -EINTR)
		goto out;
	err = 0;
	if (!killable)
		filemap_fdatawait_keep_errors(mapping);
	else
		err = archil_wait_writeback(inode, 0, LLONG_MAX);
	if (!err)
		err = archil_size_reached(inode, d, size, cuts);
out:
	archil_deleg_put(d);
	return err;
}

int archil_settle_growth(struct inode *inode, loff_t size)
{
	struct archil_inode *ai = archil_i(inode);
	loff_t known = READ_ONCE(ai->logged_size);

	if (!test_bit(ARCHIL_I_BULK, &ai->flags) || size <= known || i_size_read(inode) <= known)
		return 0;
	return archil_flush_data(inode, true);
}

static int archil_sync_log(struct archil_deleg *d, bool killable)
{
	int err = d ? archil_log_wait(d, 0, killable) : 0;

	/*
	 * Lost: who calls reports the error that cleaning up records, not the next one to ask. Also if
	 * the log lost nothing: what would have gone there by now may be lost, as a size is.
	 */
	if (d && err != -EINTR && killable && READ_ONCE(d->state) == ARCHIL_OWN_TAKEN &&
	    wait_event_killable(d->wait, READ_ONCE(d->cleaned)))
		err = -EINTR;
	return err;
}

int archil_sync_inode(struct inode *inode, bool killable)
{
	struct archil_deleg *cached, *d;
	int err = 0, err2;

	if (S_ISREG(inode->i_mode))
		err = archil_flush_data(inode, killable);
	if (err)
		return err;
	/* Its records are in the log of the one that it caches, its name in the other's. */
	cached = archil_deleg_cached(inode);
	d = archil_deleg_of(inode, NULL);
	err = archil_sync_log(cached, killable);
	if (d != cached && err != -EINTR) {
		err2 = archil_sync_log(d, killable);
		err = err2 == -EINTR ? err2 : err ?: err2;
	}
	archil_deleg_put(cached);
	archil_deleg_put(d);
	return err;
}

void archil_drop_data(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	unmap_mapping_range(inode->i_mapping, 0, 0, 0);
	truncate_inode_pages(inode->i_mapping, 0);
	/* A WRITE that was waited for may have left them behind. */
	clear_bit(ARCHIL_I_TIMES, &ai->flags);
	archil_credit_return(archil_mnt(inode->i_sb), atomic64_xchg(&ai->charged, 0));
}

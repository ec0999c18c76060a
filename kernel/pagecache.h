/* SPDX-License-Identifier: GPL-2.0 */
/* File pages: reading, writing, writing back, dropping. */
#ifndef ARCHIL_PAGECACHE_H
#define ARCHIL_PAGECACHE_H

#include <linux/bvec.h>
#include <linux/fs.h>

struct archil_deleg;
struct archil_req;
struct kiocb;
struct iov_iter;
struct vm_fault;
struct writeback_control;

/* A READ or WRITE of consecutive folios. */
struct archil_io {
	struct inode *inode;
	struct archil_deleg *deleg;	/* WRITE: reference */
	loff_t pos;
	u32 grow;			/* WRITE: ARCHIL_WRITE_*, what it brings besides, or 0; then: */
	loff_t size;			/* how long the file is with it */
	u32 cuts;			/* ai->cuts when it was that long */
	unsigned int nr, cap;
	struct bio_vec vec[];
};

/* NULL: no memory. */
struct archil_io *archil_io_new(struct inode *inode, loff_t pos, unsigned int cap, gfp_t gfp);
/* A release() for requests whose private is one. */
void archil_io_release(struct archil_req *req);

int archil_writepages(struct address_space *mapping, struct writeback_control *wbc);

/* Copy into the page cache; the inode is locked. Bytes, or an error. */
ssize_t archil_perform_write(struct kiocb *iocb, struct iov_iter *from);
vm_fault_t archil_page_mkwrite(struct vm_fault *vmf);

/* Does this file have anything that is not at the server? */
bool archil_inode_dirty(struct inode *inode);
/* Does the server lack its size or times, whatever it has of its bytes? */
bool archil_inode_lags(struct inode *inode);
/*
 * The file is about to grow: what a mapping has stored behind its end is not to show. The
 * inode is locked.
 */
void archil_zero_tail(struct inode *inode);
/*
 * i_blocks of a file that we change: so many bytes more (or less), never more than its size
 * has. An estimate; the server's count replaces it.
 */
void archil_blocks_add(struct inode *inode, s64 bytes);
/* Pages were dropped: if none is dirty any more, their credit is free again. */
void archil_credit_of_clean(struct inode *inode);
/* Small contents of it are in the log and not durable: so its pages can not be clean yet. */
bool archil_content_pending(struct inode *inode);
/*
 * Write the pages back, wait, and append the size and times that this makes
 * true. 0, -EINTR if @killable, -ENOMEM. Errors of the writes are in the mapping.
 */
int archil_flush_data(struct inode *inode, bool killable);
/* The same and everything that was appended, names that lead here included, is durable. */
int archil_sync_inode(struct inode *inode, bool killable);
/*
 * Before a record sets the size to @size: what has grown below it and is not at the server yet is
 * flushed, or others would see a size without its bytes. Killable; errors as archil_flush_data().
 */
int archil_settle_growth(struct inode *inode, loff_t size);
/* Wait for what is being written back in this range; killable. */
int archil_wait_writeback(struct inode *inode, loff_t start, loff_t end);
/* Before its pages go: if it gets shorter, no record of the longer size is appended any more. */
void archil_size_cut(struct inode *inode, loff_t size);
/* Append size and times, as far as the pages are written back. */
int archil_size_update(struct inode *inode);
void archil_size_work(struct work_struct *work);
/* All pages go, dirty ones too; mappings fault anew. Private copies stay. */
void archil_drop_data(struct inode *inode);

#endif /* ARCHIL_PAGECACHE_H */

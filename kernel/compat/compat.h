/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one place that knows kernel versions. It is included by force before
 * everything else (Kbuild), so that the rest is written as if for the newest
 * kernel; what these headers lack is made up here. COMPAT_HAVE_... comes from
 * probe.sh.
 *
 * Three means:
 *	- an alias or a small inline function under the newest kernel's name;
 *	- thunks, where a callback's signature changed: COMPAT_X(fn) after fn is
 *	  defined emits the form that this kernel wants, and
 *	  .member = COMPAT_X_OP(fn) names it;
 *	- one helper for what changed too much: compat_writeback_folios().
 */
#ifndef ARCHIL_COMPAT_H
#define ARCHIL_COMPAT_H

#include <linux/backing-dev.h>
#include <linux/bvec.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/net.h>
#include <linux/pagemap.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <linux/writeback.h>
#include <linux/xattr.h>
#ifdef COMPAT_HAVE_FILELOCK_H
#include <linux/filelock.h>
#endif
#ifdef COMPAT_HAVE_FOLIO_BATCH_H
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

/* ---- 6.3: mnt_idmap, which was a user_namespace ---- */

#ifndef COMPAT_HAVE_MNT_IDMAP
static inline struct user_namespace *user_namespace(const struct vfsmount *mnt)
{
	return mnt_user_ns(mnt);
}
#define mnt_idmap		user_namespace	/* the type and the function */
#define nop_mnt_idmap		init_user_ns
#define file_mnt_idmap(file)	file_mnt_user_ns(file)
#endif

/* ---- inodes and attributes ---- */

#ifndef COMPAT_HAVE_FILLATTR_MASK	/* 6.6 */
#define generic_fillattr(idmap, mask, inode, stat)	generic_fillattr(idmap, inode, stat)
#endif

#ifndef COMPAT_HAVE_INODE_TIMES		/* 6.7 */
static inline struct timespec64 inode_get_atime(const struct inode *inode)
{
	return inode->i_atime;
}

static inline struct timespec64 inode_set_atime_to_ts(struct inode *inode, struct timespec64 ts)
{
	inode->i_atime = ts;
	return ts;
}

static inline struct timespec64 inode_get_mtime(const struct inode *inode)
{
	return inode->i_mtime;
}

static inline struct timespec64 inode_set_mtime_to_ts(struct inode *inode, struct timespec64 ts)
{
	inode->i_mtime = ts;
	return ts;
}
#endif

/* The next name of a directory in memory that is younger than this one, or NULL; parent->d_lock. */
#ifdef COMPAT_HAVE_D_SIB			/* 6.8 */
static inline struct dentry *compat_d_newer(struct dentry *parent, struct dentry *dentry)
{
	if (dentry->d_sib.pprev == &parent->d_children.first)
		return NULL;
	return hlist_entry(container_of(dentry->d_sib.pprev, struct hlist_node, next),
			   struct dentry, d_sib);
}
#else
static inline struct dentry *compat_d_newer(struct dentry *parent, struct dentry *dentry)
{
	if (dentry->d_child.prev == &parent->d_subdirs)
		return NULL;
	return list_prev_entry(dentry, d_child);
}
#endif

#ifndef COMPAT_HAVE_INODE_STATE_READ	/* 6.19 */
static inline unsigned long inode_state_read_once(struct inode *inode)
{
	return READ_ONCE(inode->i_state);
}
#endif

#ifndef COMPAT_HAVE_INODE_GENERIC_DROP	/* 6.18 */
#define inode_generic_drop	generic_drop_inode
#endif

#ifndef COMPAT_HAVE_SET_DEFAULT_D_OP	/* 6.17 */
static inline void set_default_d_op(struct super_block *sb, const struct dentry_operations *ops)
{
	sb->s_d_op = ops;
}
#endif

/* 6.7: an array of constant pointers, which s_xattr was not meant for before */
#ifdef COMPAT_HAVE_XATTR_HANDLER_CONST
#define compat_s_xattr(handlers)	(handlers)
#else
#define compat_s_xattr(handlers)	((const struct xattr_handler **)(handlers))
#endif

/*
 * 6.15: mkdir gives back a dentry, for when it is not the one passed in.
 * struct dentry *fn(struct mnt_idmap *, struct inode *, struct dentry *, umode_t)
 */
#ifdef COMPAT_HAVE_MKDIR_DENTRY
#define COMPAT_MKDIR(fn)
#define COMPAT_MKDIR_OP(fn)	fn
#else
#define COMPAT_MKDIR(fn)							\
static int fn##_compat(struct mnt_idmap *idmap, struct inode *dir,		\
		       struct dentry *dentry, umode_t mode)			\
{										\
	struct dentry *other = fn(idmap, dir, dentry, mode);			\
										\
	if (IS_ERR(other))							\
		return PTR_ERR(other);						\
	dput(other);								\
	return 0;								\
}
#define COMPAT_MKDIR_OP(fn)	fn##_compat
#endif

/*
 * 7.3: create without the flag that the name must be new.
 * int fn(struct mnt_idmap *, struct inode *, struct dentry *, umode_t)
 */
#ifdef COMPAT_HAVE_CREATE_EXCL
#define COMPAT_CREATE(fn)							\
static int fn##_compat(struct mnt_idmap *idmap, struct inode *dir,		\
		       struct dentry *dentry, umode_t mode, bool excl)		\
{										\
	return fn(idmap, dir, dentry, mode);					\
}
#define COMPAT_CREATE_OP(fn)	fn##_compat
#else
#define COMPAT_CREATE(fn)
#define COMPAT_CREATE_OP(fn)	fn
#endif

/*
 * 6.14: d_revalidate is told directory and name. On older kernels dir is NULL
 * and the name may change under the callee: neither is to be used.
 * int fn(struct inode *, const struct qstr *, struct dentry *, unsigned int)
 */
#ifdef COMPAT_HAVE_D_REVALIDATE_NAME
#define COMPAT_D_REVALIDATE(fn)
#define COMPAT_D_REVALIDATE_OP(fn)	fn
#else
#define COMPAT_D_REVALIDATE(fn)							\
static int fn##_compat(struct dentry *dentry, unsigned int flags)		\
{										\
	return fn(NULL, &dentry->d_name, dentry, flags);			\
}
#define COMPAT_D_REVALIDATE_OP(fn)	fn##_compat
#endif

/* ---- file locks ---- */

#ifndef COMPAT_HAVE_FILE_LOCK_CORE	/* 6.9 */
static inline bool lock_is_write(struct file_lock *fl)
{
	return fl->fl_type == F_WRLCK;
}
#endif

/* ---- page cache ---- */

#ifndef FGP_WRITEBEGIN			/* 6.4, and with it: ERR_PTR where NULL was */
#define FGP_WRITEBEGIN	(FGP_LOCK | FGP_WRITE | FGP_CREAT | FGP_STABLE)

static inline struct folio *__compat_folio_or_err(struct folio *folio, int flags)
{
	if (folio)
		return folio;
	if (!(flags & FGP_CREAT))
		return ERR_PTR(-ENOENT);
	return ERR_PTR(flags & FGP_NOWAIT ? -EAGAIN : -ENOMEM);
}
#define COMPAT_FOLIO_OR_ERR(folio, flags)	__compat_folio_or_err(folio, flags)
#else
#define COMPAT_FOLIO_OR_ERR(folio, flags)	(folio)
#endif

/*
 * 6.6: the order that a new folio may have, in the flags; FGP_WRITEBEGIN goes with it.
 */
#ifndef COMPAT_HAVE_FGF_SET_ORDER
#define COMPAT_FGF_ORDER_SHIFT	26

typedef unsigned int fgf_t;

static inline fgf_t fgf_set_order(size_t size)
{
	return size > PAGE_SIZE ? (fgf_t)(ilog2(size) - PAGE_SHIFT) << COMPAT_FGF_ORDER_SHIFT : 0;
}

/* A new folio of this order or less, but not a single page; locked, in the page cache. Or NULL. */
static inline struct folio *__compat_folio_large(struct address_space *mapping, pgoff_t index,
						 unsigned int order, gfp_t gfp)
{
	struct folio *folio;

	if (!mapping_large_folio_support(mapping))
		return NULL;
	if (index)
		order = min_t(unsigned int, order, __ffs(index));
	if (mapping_can_writeback(mapping))
		gfp |= __GFP_WRITE;
	/* until 6.8 none may have order 1 */
	for (; order > 1; order--) {
		folio = filemap_alloc_folio(gfp | __GFP_NORETRY | __GFP_NOWARN, order);
		if (!folio)
			continue;
		if (!filemap_add_folio(mapping, folio, index, gfp))
			return folio;
		folio_put(folio);
	}
	return NULL;
}

static inline struct folio *__compat_filemap_get_folio(struct address_space *mapping,
						       pgoff_t index, fgf_t flags, gfp_t gfp)
{
	unsigned int order = flags >> COMPAT_FGF_ORDER_SHIFT;
	struct folio *folio = NULL;

	flags &= (1u << COMPAT_FGF_ORDER_SHIFT) - 1;
	if (order) {
		folio = __filemap_get_folio(mapping, index, flags & ~FGP_CREAT, gfp);
		if (IS_ERR_OR_NULL(folio))
			folio = __compat_folio_large(mapping, index, order, gfp);
	}
	if (!folio)
		folio = __filemap_get_folio(mapping, index, flags, gfp);
	return COMPAT_FOLIO_OR_ERR(folio, flags);
}

/* all of them, used or not: the difference would not be seen by a compiler */
#define __filemap_get_folio	__compat_filemap_get_folio
#define filemap_get_folio(mapping, index)	__filemap_get_folio(mapping, index, 0, 0)
#define filemap_lock_folio(mapping, index)	__filemap_get_folio(mapping, index, FGP_LOCK, 0)
#define filemap_grab_folio(mapping, index)					\
	__filemap_get_folio(mapping, index, FGP_LOCK | FGP_ACCESSED | FGP_CREAT,	\
			    mapping_gfp_mask(mapping))
#endif

/*
 * Folios of up to @max bytes, a power of two. Not where that bound can not be set and the kernel's
 * own is larger; nor where the page cache still loses data of large folios: until 6.10, and what
 * xas_get_order() was taken back to; and until 6.12 with CONFIG_BASE_SMALL, where xas_split() puts
 * one page in the place of sixteen.
 */
static inline void compat_mapping_set_folios(struct address_space *mapping, size_t max)
{
#if defined(COMPAT_HAVE_FOLIO_ORDER_RANGE)	/* 6.12 */
	mapping_set_folio_order_range(mapping, 0, ilog2(max) - PAGE_SHIFT);
#elif defined(COMPAT_HAVE_XAS_GET_ORDER) && defined(CONFIG_TRANSPARENT_HUGEPAGE)
	if (HPAGE_PMD_SIZE <= max && HPAGE_PMD_ORDER < 2 * XA_CHUNK_SHIFT)
		mapping_set_large_folios(mapping);
#endif
}

static inline size_t compat_mapping_max_folio_size(struct address_space *mapping)
{
#if defined(COMPAT_HAVE_FOLIO_ORDER_RANGE)
	return mapping_max_folio_size(mapping);
#elif defined(CONFIG_TRANSPARENT_HUGEPAGE)
	return mapping_large_folio_support(mapping) ? HPAGE_PMD_SIZE : PAGE_SIZE;
#else
	return PAGE_SIZE;
#endif
}

#ifndef COMPAT_HAVE_FOLIO_END_READ	/* 6.7 */
static inline void folio_end_read(struct folio *folio, bool success)
{
	if (success)
		folio_mark_uptodate(folio);
	folio_unlock(folio);
}
#endif

#ifndef COMPAT_HAVE_BVEC_SET_FOLIO	/* 6.3 */
static inline void bvec_set_folio(struct bio_vec *bv, struct folio *folio, size_t len,
				  size_t offset)
{
	bvec_set_page(bv, &folio->page, len, offset);
}
#endif

#ifndef COMPAT_HAVE_FILEMAP_SPLICE_READ	/* 6.5 */
#define filemap_splice_read	generic_file_splice_read
#endif

/* ---- sockets ---- */

/*
 * sock_sendmsg() of a bvec's bytes, where the socket keeps the pages instead of copies of them. They
 * may change until it has sent them. Bytes, which may be fewer, or an error.
 */
static inline int compat_sock_send_pages(struct socket *sock, struct msghdr *msg)
{
#ifdef COMPAT_HAVE_KERNEL_SENDPAGE		/* until 6.5 */
	const struct bio_vec *vec = msg->msg_iter.bvec;
	size_t off = msg->msg_iter.iov_offset;
	size_t len = min(vec->bv_len - off, msg_data_left(msg));
	int n;

	n = kernel_sendpage(sock, vec->bv_page, vec->bv_offset + off, len, msg->msg_flags |
			    (len < msg_data_left(msg) ? MSG_MORE | MSG_SENDPAGE_NOTLAST : 0));
	if (n > 0)
		iov_iter_advance(&msg->msg_iter, n);
	return n;
#else
	msg->msg_flags |= MSG_SPLICE_PAGES;
	return sock_sendmsg(sock, msg);
#endif
}

/* ---- write-back ---- */

/*
 * Called for each dirty folio, locked and with its dirty flag cleared; it
 * unlocks. 0, or an error, which ends the walk if nobody waits for it.
 */
typedef int (*compat_writeback_fn)(struct folio *folio, struct writeback_control *wbc,
				   void *data);

#ifdef COMPAT_HAVE_WRITEBACK_ITER	/* 6.9 */
static inline int compat_writeback_folios(struct address_space *mapping,
					  struct writeback_control *wbc,
					  compat_writeback_fn fn, void *data)
{
	struct folio *folio = NULL;
	int err = 0;

	while ((folio = writeback_iter(mapping, wbc, folio, &err)))
		err = fn(folio, wbc, data);
	return err;
}
#else
struct compat_writeback {
	compat_writeback_fn fn;
	void *data;
};

#ifdef COMPAT_HAVE_WRITEPAGE_FOLIO	/* 6.3 */
static inline int compat_writeback_one(struct folio *folio, struct writeback_control *wbc,
				       void *data)
{
	struct compat_writeback *cw = data;

	return cw->fn(folio, wbc, cw->data);
}
#else
static inline int compat_writeback_one(struct page *page, struct writeback_control *wbc,
				       void *data)
{
	struct compat_writeback *cw = data;

	return cw->fn(page_folio(page), wbc, cw->data);
}
#endif

static inline int compat_writeback_folios(struct address_space *mapping,
					  struct writeback_control *wbc,
					  compat_writeback_fn fn, void *data)
{
	struct compat_writeback cw = { .fn = fn, .data = data };

	return write_cache_pages(mapping, wbc, compat_writeback_one, &cw);
}
#endif

#endif /* ARCHIL_COMPAT_H */

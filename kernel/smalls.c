// SPDX-License-Identifier: GPL-2.0
/*
 * Small contents ahead.
 *
 * 1. Who reads a second small file of a directory, neither of them cached, is reading them all: those
 *    that the listing has behind it are asked for in one request (READ_SMALL), and before the
 *    last of them is read, those behind them.
 * 2. Pages are in the cache, locked, before anything is asked for, as with any read-ahead: who
 *    wants one waits for it, and eviction does too. So a request that is under way holds no inode, which
 *    is touched only before its last page is unlocked.
 * 3. What comes is as good as what a READ brings: if it is not of the change that we know, the
 *    file is asked about before it is used again.
 * 4. A page that did not come is left to who wants it, who asks for it with a READ.
 * 5. It is for files that are not ours, and as many as were of use lately.
 */
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "inode.h"
#include "pagecache.h"
#include "smalls.h"

#define ARCHIL_SMALLS_FIRST	8		/* files */
#define ARCHIL_SMALLS_MAX	128
#define ARCHIL_SMALLS_BYTES	(512u << 10)
#define ARCHIL_SMALLS_STEPS	4		/* names looked at for each file wanted */
#define ARCHIL_SMALLS_PAGES	DIV_ROUND_UP(ARCHIL_INLINE_MAX, PAGE_SIZE)

struct archil_smalls_io {
	struct kvec vec;
	unsigned int nr_found, nr;
	struct inode *found[ARCHIL_SMALLS_MAX];		/* with references, until it is asked for */
	struct archil_smalls_file {
		struct inode *inode;
		unsigned int pages;
		struct folio *folio[ARCHIL_SMALLS_PAGES];	/* locked, with references */
	} file[ARCHIL_SMALLS_MAX];
	__le64 ino[ARCHIL_SMALLS_MAX];
};

/* ---- what came ---- */

static void archil_smalls_fill(struct folio *folio, const void *data, size_t len)
{
	size_t n = min(len, folio_size(folio));
	void *to = kmap_local_folio(folio, 0);

	memcpy(to, data, n);
	kunmap_local(to);
	folio_zero_segment(folio, n, folio_size(folio));
	flush_dcache_folio(folio);
}

/* @data: NULL: it did not come. */
static void archil_smalls_end(struct archil_smalls_file *f, const struct archil_small *small,
			      const void *data)
{
	struct archil_inode *ai = archil_i(f->inode);
	size_t left = data ? le32_to_cpu(small->len) : 0, n;
	unsigned int i;

	if (data && le64_to_cpu(small->change) != READ_ONCE(ai->data_change))
		WRITE_ONCE(ai->expires, jiffies - 1);
	if (data)
		set_bit(ARCHIL_I_AHEAD, &ai->flags);
	else
		clear_bit(ARCHIL_I_AHEAD_NEXT, &ai->flags);
	for (i = 0; i < f->pages; i++) {
		n = min(left, PAGE_SIZE);
		if (data) {
			archil_smalls_fill(f->folio[i], data, n);
			data += n;
			left -= n;
		}
		folio_end_read(f->folio[i], data != NULL);
		folio_put(f->folio[i]);
	}
}

static void archil_smalls_done(struct archil_req *req)
{
	struct archil_smalls_io *io = req->private;
	size_t len = req->error || req->status ? 0 : req->in_len, pos = 0;
	struct archil_small small;
	const void *data;
	unsigned int i;
	bool more = true;

	for (i = 0; i < io->nr; i++) {
		more = more && archil_small_next(req->in_buf, len, &pos, &small, &data) > 0 &&
		       small.ino == io->ino[i];
		archil_smalls_end(&io->file[i], &small, more && !small.status ? data : NULL);
	}
}

static void archil_smalls_release(struct archil_req *req)
{
	kvfree(req->in_buf);
	kvfree(req->private);
}

/* ---- asking ---- */

/* Is it a file whose contents could be asked for? Reads nothing that needs a lock. */
static bool archil_smalls_wants(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	return S_ISREG(inode->i_mode) && !READ_ONCE(inode->i_mapping->nrpages) &&
	       !test_bit(ARCHIL_I_BULK, &ai->flags) && !READ_ONCE(ai->own) &&
	       i_size_read(inode) > 0 && i_size_read(inode) <= ARCHIL_INLINE_MAX;
}

/* Files behind @dentry in its directory's listing. */
static void archil_smalls_find(struct archil_smalls_io *io, struct dentry *dentry, unsigned int max)
{
	unsigned int steps = max * ARCHIL_SMALLS_STEPS;
	struct dentry *parent = dget_parent(dentry), *child = dentry;
	struct inode *inode;

	io->nr_found = 0;
	spin_lock(&parent->d_lock);
	if (dentry->d_parent != parent || d_unhashed(dentry))
		steps = 0;
	while (io->nr_found < max && steps-- && (child = compat_d_newer(parent, child))) {
		spin_lock_nested(&child->d_lock, DENTRY_D_LOCK_NESTED);
		inode = d_unhashed(child) ? NULL : d_inode(child);
		if (inode && archil_smalls_wants(inode)) {
			ihold(inode);
			io->found[io->nr_found++] = inode;
		}
		spin_unlock(&child->d_lock);
	}
	spin_unlock(&parent->d_lock);
	dput(parent);
}

/* Its pages, locked, into the cache; as many as there are. */
static void archil_smalls_lock(struct archil_smalls_file *f, struct inode *inode)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned int want = DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);
	gfp_t gfp = readahead_gfp_mask(mapping);
	struct folio *folio;

	f->inode = inode;
	f->pages = 0;
	if (want > ARCHIL_SMALLS_PAGES || archil_owned(inode))
		return;
	/* another mapping's is held: do not wait for this one */
	if (!filemap_invalidate_trylock_shared(mapping))
		return;
	while (f->pages < want) {
		folio = filemap_alloc_folio(gfp, 0);
		if (!folio)
			break;
		if (filemap_add_folio(mapping, folio, f->pages, gfp)) {
			folio_put(folio);
			break;
		}
		f->folio[f->pages++] = folio;
	}
	filemap_invalidate_unlock_shared(mapping);
}

static struct archil_req *archil_smalls_req(struct archil_mount *m, struct archil_smalls_io *io,
					    u32 max)
{
	struct archil_read_small_req *body;
	struct archil_req *req;

	req = archil_req_new(m, ARCHIL_OP_READ_SMALL, sizeof(*body),
			     sizeof(struct archil_read_small_rep), GFP_NOFS);
	if (!req)
		return NULL;
	req->in_buf = kvmalloc(max, GFP_NOFS);
	if (!req->in_buf) {
		archil_req_put(req);
		return NULL;
	}
	body = req->body;
	body->max = cpu_to_le32(max);
	io->vec.iov_base = io->ino;
	io->vec.iov_len = io->nr * sizeof(io->ino[0]);
	req->out_kvec = &io->vec;
	req->out_nr = 1;
	req->out_len = io->vec.iov_len;
	req->in_cap = max;
	req->private = io;
	req->done = archil_smalls_done;
	req->release = archil_smalls_release;
	return req;
}

/* Lock the pages of what was found; bytes of the reply. */
static u32 archil_smalls_take(struct archil_smalls_io *io, u32 most)
{
	struct archil_smalls_file *f;
	struct inode *inode;
	unsigned int i;
	u32 max = 0, size;

	io->nr = 0;
	for (i = 0; i < io->nr_found; i++) {
		inode = io->found[i];
		size = sizeof(struct archil_small) + round_up(i_size_read(inode), 8);
		if (max + size > most)
			break;
		f = &io->file[io->nr];
		archil_smalls_lock(f, inode);
		if (f->pages) {
			io->ino[io->nr++] = cpu_to_le64(archil_i(inode)->ino);
			max += size;
		}
	}
	return max;
}

/* Ask for the files behind this one. */
static void archil_smalls_ask(struct dentry *dentry, unsigned int window)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_req *req = NULL;
	struct archil_smalls_io *io;
	unsigned int i;
	u32 max;

	io = kvmalloc(sizeof(*io), GFP_NOFS);
	if (!io)
		return;
	archil_smalls_find(io, dentry, window);
	max = archil_smalls_take(io, min(ARCHIL_SMALLS_BYTES, m->payload_max));
	if (io->nr) {
		/* while those before it are read, the next are on their way */
		set_bit(ARCHIL_I_AHEAD_NEXT, &archil_i(io->file[io->nr / 2].inode)->flags);
		WRITE_ONCE(m->smalls.given, m->smalls.given + io->nr);
		req = archil_smalls_req(m, io, max);
	}
	if (req)
		archil_req_submit(req);
	else
		for (i = 0; i < io->nr; i++)
			archil_smalls_end(&io->file[i], NULL, NULL);
	/* The last reference waits for the pages, which are on their way by now. */
	for (i = 0; i < io->nr_found; i++)
		iput(io->found[i]);
	if (req)
		archil_req_put(req);
	else
		kvfree(io);
}

/* Another window: as much as was of use. */
static unsigned int archil_smalls_window(struct archil_smalls *smalls)
{
	unsigned int window = READ_ONCE(smalls->window), given = READ_ONCE(smalls->given);

	if (given && READ_ONCE(smalls->used) >= given / 2)
		window = min(2 * window, (unsigned int)ARCHIL_SMALLS_MAX);
	else if (given)
		window = window / 2 < ARCHIL_SMALLS_FIRST ? 0 : window / 2;
	WRITE_ONCE(smalls->window, window);
	WRITE_ONCE(smalls->given, 0);
	WRITE_ONCE(smalls->used, 0);
	return window;
}

void archil_smalls_cold(struct file *file)
{
	struct dentry *dentry = file_dentry(file), *parent;
	struct archil_smalls *smalls = &archil_mnt(dentry->d_sb)->smalls;
	struct archil_inode *dir;
	unsigned int window;

	if (IS_ROOT(dentry))
		return;
	window = archil_smalls_window(smalls);
	if (!window) {
		parent = dget_parent(dentry);
		dir = archil_i(d_inode(parent));
		/* every second time: who reads here and there is given little in vain */
		if (test_and_change_bit(ARCHIL_I_READ_COLD, &dir->flags))
			window = ARCHIL_SMALLS_FIRST;
		WRITE_ONCE(smalls->window, window);
		dput(parent);
	}
	if (window)
		archil_smalls_ask(dentry, window);
}

void archil_smalls_used(struct file *file)
{
	struct dentry *dentry = file_dentry(file);
	struct archil_smalls *smalls = &archil_mnt(dentry->d_sb)->smalls;
	struct archil_inode *ai = archil_i(d_inode(dentry));

	if (!test_and_clear_bit(ARCHIL_I_AHEAD, &ai->flags))
		return;
	WRITE_ONCE(smalls->used, smalls->used + 1);
	if (test_and_clear_bit(ARCHIL_I_AHEAD_NEXT, &ai->flags))
		archil_smalls_ask(dentry, archil_smalls_window(smalls));
}

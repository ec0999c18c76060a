// SPDX-License-Identifier: GPL-2.0
/*
 * Listing a directory. A position is the cookie of the entry before it (0 and 1: before "."
 * and ".."), and cookies never change or come back, so telldir and seekdir hold
 * across changes. The server answers each request from one committed state.
 *
 * Entries come with attributes, so names and inodes are made of them: whoever
 * lists mostly looks at the files next.
 */
#include <linux/slab.h>

#include "ahead.h"
#include "beneath.h"
#include "complete.h"
#include "dir.h"
#include "inode.h"
#include "ioctl.h"
#include "names.h"
#include "pagecache.h"

#define ARCHIL_DIR_BUF	(128u << 10)	/* at most, of one directory */
#define ARCHIL_DIR_ONE	ARCHIL_DIRENT_SIZE(ARCHIL_NAME_LEN + ARCHIL_PATH_LEN)
#define ARCHIL_DIR_STEP		16	/* names taken from memory at a time */

struct archil_dir_file {
	void *block;			/* what buf is in: this, kvmalloc, or */
	struct archil_ahead_dir *kept;	/* this, a reference */
	const void *buf;		/* of struct archil_dirent, or NULL */
	size_t len, pos;		/* bytes in it; of the next entry */
	u64 cookie;			/* position that buf + pos continues; f_pos_lock */
	bool eof;			/* nothing follows the buffer */
	u64 commit;			/* at which the buffer was read */
	u64 deleg, appended;		/* what covered the directory when it was asked for, its log then */
	unsigned long asked;		/* jiffies */
	u32 gen;			/* archil_ahead_gen() then */
	unsigned int primed;		/* entries that were made names of */
	u64 read_deleg;			/* read from the beginning under this one, and all primed; or 0 */
	u32 read_gen;			/* archil_dir_reading() */
};

static int archil_dir_open(struct inode *inode, struct file *file)
{
	struct archil_dir_file *df;
	int err = archil_revalidate_way(inode);

	if (err)
		return err;
	df = kzalloc(sizeof(*df), GFP_KERNEL_ACCOUNT);
	if (!df)
		return -ENOMEM;
	file->private_data = df;
	return 0;
}

static void archil_dir_buf_drop(struct archil_dir_file *df)
{
	kvfree(df->block);
	archil_ahead_put(df->kept);
	df->block = NULL;
	df->kept = NULL;
	df->buf = NULL;
}

static int archil_dir_release(struct inode *inode, struct file *file)
{
	struct archil_dir_file *df = file->private_data;

	archil_dir_buf_drop(df);
	kfree(df);
	return 0;
}

/* A READDIR, not sent yet, for what follows a position; and @ahead bytes for a walk from @top. */
static struct archil_req *archil_dir_req(struct inode *dir, u64 cookie, u32 max, u32 ahead, u64 top)
{
	struct archil_readdir_req *body;
	struct archil_req *req;

	req = archil_req_new(archil_mnt(dir->i_sb), ARCHIL_OP_READDIR, sizeof(*body),
			     sizeof(struct archil_readdir_rep), GFP_KERNEL);
	if (!req)
		return NULL;
	body = req->body;
	body->dir = cpu_to_le64(archil_i(dir)->ino);
	body->cookie = cpu_to_le64(cookie);
	body->top = cpu_to_le64(top);
	body->max = cpu_to_le32(max);
	body->ahead = cpu_to_le32(ahead);
	/* The request owns the buffer: we may be killed before it is answered. */
	req->in_buf = kvmalloc(max, GFP_KERNEL);
	if (!req->in_buf) {
		archil_req_put(req);
		return NULL;
	}
	req->in_cap = max;
	req->release = archil_req_free_in_buf;
	return req;
}

/* Bytes for what can be behind @cookie (a symlink's target may not fit), at least for one entry. */
static u32 archil_dir_room(struct inode *dir, u64 cookie)
{
	const u32 entry = ARCHIL_DIRENT_SIZE(ARCHIL_NAME_LEN);
	u64 next = READ_ONCE(archil_i(dir)->next_cookie);
	u64 entries = next - clamp_t(u64, cookie, ARCHIL_COOKIE_FIRST, next);

	return clamp_t(u64, entries, ARCHIL_DIR_ONE / entry + 1, ARCHIL_DIR_BUF / entry) * entry;
}

static int archil_dir_fill(struct dentry *dentry, struct archil_dir_file *df, u64 cookie)
{
	struct inode *dir = d_inode(dentry);
	struct archil_mount *m = archil_mnt(dir->i_sb);
	struct archil_ahead_dir head = { .asked = df->asked, .gen = df->gen };
	const struct archil_readdir_rep *rep;
	struct archil_req *req;
	u32 ahead = 0;
	u64 top = 0;
	int err;

	if (cookie < ARCHIL_COOKIE_FIRST && !df->deleg)
		ahead = archil_ahead_wanted(dentry, &top);
	req = archil_dir_req(dir, cookie, min(archil_dir_room(dir, cookie) + ahead, m->payload_max),
			     ahead, top);
	if (!req)
		return -ENOMEM;
	err = archil_req_call(req);
	if (err)
		goto out;
	rep = req->rep;
	err = -EUCLEAN;
	if (le32_to_cpu(rep->len) > req->in_len)
		goto out;
	err = 0;
	archil_dir_buf_drop(df);
	df->block = req->in_buf;
	df->buf = df->block;
	df->len = le32_to_cpu(rep->len);
	df->pos = 0;
	df->cookie = cookie;
	df->eof = le32_to_cpu(rep->flags) & ARCHIL_RD_EOF;
	df->commit = req->commit;
	req->in_buf = NULL;
	if (cookie < ARCHIL_COOKIE_FIRST && !df->deleg) {
		head.dir = df->eof ? archil_i(dir)->ino : 0;
		head.change = le64_to_cpu(rep->dir_change);
		head.commit = df->commit;
		head.len = df->len;
		archil_ahead_keep(m, &head, df->buf, req->in_len);
	}
out:
	archil_req_put(req);
	return err;
}

/* What was kept, or came ahead, if it is there. */
static bool archil_dir_fill_ahead(struct inode *dir, struct archil_dir_file *df)
{
	struct archil_ahead_dir *ad = archil_ahead_use(dir);

	if (!ad)
		return false;
	archil_dir_buf_drop(df);
	df->kept = ad;
	df->buf = ad->data;
	df->len = ad->len;
	df->pos = 0;
	df->cookie = 0;
	df->eof = true;
	df->commit = ad->commit;
	df->asked = ad->asked;
	df->gen = ad->gen;
	return true;
}

int archil_dir_empty(struct inode *dir)
{
	struct archil_req *req;
	int err = archil_ask_settled(dir);

	if (err)
		return err;
	req = archil_dir_req(dir, 0, ARCHIL_DIR_ONE, 0, 0);
	if (!req)
		return -ENOMEM;
	err = archil_req_call(req);
	if (!err && req->in_len)
		err = -ENOTEMPTY;
	archil_req_put(req);
	return err;
}

/*
 * An entry of a listing as a name in memory, and where the directory is being made complete
 * in its listing; what fails is asked for when it is needed. Returns whether it is there.
 */
static bool archil_dir_prime(struct dentry *parent, const struct archil_dirent *de,
			     const char *name, unsigned int name_len,
			     const struct archil_dir_file *df)
{
	DECLARE_WAIT_QUEUE_HEAD_ONSTACK(wq);
	struct qstr qname = QSTR_INIT(name, name_len);
	bool bare = S_ISLNK(le32_to_cpu(de->attr.mode)) && !de->target_len;
	struct dentry *dentry = NULL, *alias;
	struct inode *inode;
	bool there = false;

	qname.hash = full_name_hash(parent, name, name_len);
	if (bare || df->read_deleg)
		dentry = d_lookup(parent, &qname);
	/* There is something now; names only come and go with the directory locked for it. */
	if (dentry && df->read_deleg && d_is_negative(dentry)) {
		d_drop(dentry);
		dput(dentry);
		dentry = NULL;
	}
	if (!dentry && bare)
		return false;
	if (!dentry)
		dentry = d_alloc_parallel(parent, &qname, &wq);
	if (IS_ERR(dentry))
		return false;
	if (!d_in_lookup(dentry)) {
		inode = d_inode(dentry);
		if (inode && archil_i(inode)->ino == le64_to_cpu(de->attr.ino) &&
		    !archil_inode_update(inode, &de->attr, df->commit)) {
			archil_inode_listed(inode, df->commit, df->asked);
			archil_name_listed(dentry, df->commit, df->asked);
			there = true;
		}
		goto out;
	}
	inode = archil_iget(parent->d_sb, &de->attr, df->commit, name + name_len,
			    le16_to_cpu(de->target_len));
	if (!IS_ERR(inode)) {
		archil_inode_listed(inode, df->commit, df->asked);
		archil_name_listed(dentry, df->commit, df->asked);
		alias = archil_splice_alias(inode, dentry);
		there = !IS_ERR(alias);
	} else {
		alias = NULL;
	}
	d_lookup_done(dentry);
	if (!IS_ERR_OR_NULL(alias)) {
		archil_name_listed(alias, df->commit, df->asked);
		dput(dentry);
		dentry = alias;
	}
	/* Who was killed while he removed it does not keep us out. */
	if (archil_inode_outdated(d_inode(parent), df->commit)) {
		archil_name_doubt(dentry);
		there = false;
	}
out:
	if (there && df->read_deleg)
		archil_dir_list_read(d_inode(parent), dentry, le64_to_cpu(de->cookie),
				     df->read_gen);
	dput(dentry);
	return there;
}

/* What covers the directory, and how much was appended to that. */
static u64 archil_dir_covered(struct inode *dir, u64 *appended)
{
	struct archil_deleg *d = archil_deleg_of(dir, NULL);
	u64 number = d ? d->number : 0;

	*appended = d ? archil_log_appended(d) : 0;
	archil_deleg_put(d);
	return number;
}

/*
 * A buffer may be older than what was done since: a name that was removed or renamed
 * meanwhile must not come back, nor attributes. What is done at once (across.c) is in no log.
 */
static bool archil_dir_current(struct inode *dir, const struct archil_dir_file *df)
{
	struct archil_mount *m = archil_mnt(dir->i_sb);
	u64 appended, deleg = archil_dir_covered(dir, &appended);

	return deleg == df->deleg && appended == df->appended &&
	       !archil_inode_outdated(dir, df->commit) &&
	       (deleg || (df->gen == archil_ahead_gen(m) &&
			  time_before(jiffies, df->asked + m->cache_ttl * HZ)));
}

/* The directory is locked, so an inode stays what it is. */
static bool archil_dir_emit(struct dir_context *ctx, struct dentry *dentry)
{
	struct inode *inode = d_inode(dentry);
	struct name_snapshot name;
	bool room;

	take_dentry_name_snapshot(&name, dentry);
	room = dir_emit(ctx, name.name.name, name.name.len, archil_i(inode)->ino,
			fs_umode_to_dtype(inode->i_mode));
	release_dentry_name_snapshot(&name);
	return room;
}

/* What memory has of a complete directory; -EAGAIN: not all of it. */
static int archil_readdir_memory(struct inode *dir, struct dir_context *ctx)
{
	struct dentry *found[ARCHIL_DIR_STEP];
	u64 cookies[ARCHIL_DIR_STEP];
	bool more = true;
	int i, n;

	while (more) {
		n = archil_dir_next(dir, ctx->pos, found, cookies, ARCHIL_DIR_STEP);
		if (n <= 0)
			return n;
		for (i = 0; i < n; i++) {
			if (more)
				more = archil_dir_emit(ctx, found[i]);
			if (more)
				ctx->pos = cookies[i];
			dput(found[i]);
		}
	}
	return 0;
}

/* More from the server. */
static int archil_dir_refill(struct dentry *dentry, struct archil_dir_file *df, u64 pos)
{
	struct inode *dir = d_inode(dentry);
	u64 deleg = archil_dir_covered(dir, &df->appended);

	if (pos < ARCHIL_COOKIE_FIRST) {
		df->read_deleg = archil_owned(dir) ? deleg : 0;
		df->read_gen = archil_dir_reading(dir, df->read_deleg);
	} else if (deleg != df->read_deleg || pos != df->cookie) {
		df->read_deleg = 0;
	}
	df->deleg = deleg;
	if (!deleg && pos < ARCHIL_COOKIE_FIRST && archil_dir_fill_ahead(dir, df))
		return 0;
	df->gen = archil_ahead_gen(archil_mnt(dir->i_sb));
	df->asked = jiffies;
	return archil_dir_fill(dentry, df, pos);
}

static int archil_readdir_server(struct file *file, struct dir_context *ctx)
{
	struct inode *dir = file_inode(file);
	struct archil_dir_file *df = file->private_data;
	struct archil_dirent de;
	unsigned int name_len;
	const char *name;
	bool current_buf, there;
	size_t pos;
	u64 cookie;
	int ret;

	ret = archil_ask_settled(dir);
	if (ret)
		return ret;
	current_buf = df->buf && archil_dir_current(dir, df);
	for (;;) {
		if (!df->buf || df->cookie != ctx->pos || (df->pos == df->len && !df->eof)) {
			ret = archil_dir_refill(file_dentry(file), df, ctx->pos);
			if (ret)
				return ret;
			current_buf = true;	/* the directory is locked since */
		}
		pos = df->pos;
		ret = archil_dirent_next(df->buf, df->len, &pos, &de, &name, &name_len);
		if (!ret && df->read_deleg && current_buf)
			archil_dir_read(dir, df->read_gen, df->read_deleg);
		if (ret <= 0)
			return ret == -EPROTO ? -EUCLEAN : ret;
		cookie = le64_to_cpu(de.cookie);
		if (cookie <= ctx->pos || cookie > ARCHIL_COOKIE_MAX)
			return -EUCLEAN;
		if (!dir_emit(ctx, name, name_len, le64_to_cpu(de.attr.ino),
			      fs_umode_to_dtype(le32_to_cpu(de.attr.mode))))
			return 0;
		there = false;
		if (current_buf && df->primed < ARCHIL_DIR_PRIME) {
			df->primed++;
			there = archil_dir_prime(file_dentry(file), &de, name, name_len, df);
		}
		if (!there)
			df->read_deleg = 0;
		df->pos = pos;
		df->cookie = cookie;
		ctx->pos = cookie;
	}
}

/* ---- reading around a name that is looked up ---- */

/* The next entry; 0 at the end. -EAGAIN: it would not make the directory complete. */
static int archil_around_next(struct dentry *parent, struct archil_dir_file *df,
			      struct archil_dirent *de, const char **name, unsigned int *name_len)
{
	size_t pos;
	int ret;

	if (!df->buf || (df->pos == df->len && !df->eof)) {
		ret = archil_dir_refill(parent, df, df->cookie);
		if (ret)
			return ret;
	}
	if (!df->read_deleg || !archil_dir_undisturbed(d_inode(parent), df->read_gen) ||
	    df->primed > ARCHIL_DIR_PRIME)
		return -EAGAIN;
	pos = df->pos;
	ret = archil_dirent_next(df->buf, df->len, &pos, de, name, name_len);
	if (ret <= 0)
		return ret == -EPROTO ? -EUCLEAN : ret;
	if (le64_to_cpu(de->cookie) <= df->cookie || le64_to_cpu(de->cookie) > ARCHIL_COOKIE_MAX)
		return -EUCLEAN;
	df->primed++;
	df->pos = pos;
	df->cookie = le64_to_cpu(de->cookie);
	return 1;
}

static bool archil_around_is(const struct dentry *dentry, const char *name, unsigned int name_len)
{
	return dentry->d_name.len == name_len && !memcmp(dentry->d_name.name, name, name_len);
}

/* Is it ours since the reading began, without a break? */
static bool archil_around_ours(struct inode *dir, const struct archil_dir_file *df)
{
	u64 appended;

	return archil_owned(dir) && archil_dir_covered(dir, &appended) == df->read_deleg &&
	       archil_dir_undisturbed(dir, df->read_gen);
}

/* What is found is as good as the first part of the listing. */
static int archil_around_all(struct dentry *dentry, struct archil_dir_file *df,
			     struct archil_around *around)
{
	struct dentry *parent = dentry->d_parent;
	struct archil_dirent de;
	struct inode *inode;
	unsigned int name_len;
	const char *name;
	int ret;

	for (;;) {
		ret = archil_around_next(parent, df, &de, &name, &name_len);
		if (!around->commit)
			around->commit = df->commit;
		if (!ret && !archil_around_ours(d_inode(parent), df))
			ret = -EAGAIN;
		if (ret <= 0)
			return ret;
		if (!archil_around_is(dentry, name, name_len)) {
			if (!archil_dir_prime(parent, &de, name, name_len, df))
				return -EAGAIN;
			continue;
		}
		if (around->inode)
			return -EUCLEAN;
		if (S_ISLNK(le32_to_cpu(de.attr.mode)) && !de.target_len)
			return -EAGAIN;
		inode = archil_iget(parent->d_sb, &de.attr, df->commit, name + name_len,
				    le16_to_cpu(de.target_len));
		if (IS_ERR(inode))
			return PTR_ERR(inode);
		around->inode = inode;
		around->cookie = df->cookie;
	}
}

int archil_dir_read_around(struct dentry *dentry, struct archil_around *around)
{
	struct inode *dir = d_inode(dentry->d_parent);
	struct archil_dir_file *df;
	int err;

	if (!archil_dir_around_begin(dir))
		return -EAGAIN;
	df = kzalloc(sizeof(*df), GFP_KERNEL);
	err = df ? archil_ask_settled(dir) : -EAGAIN;
	if (!err)
		err = archil_around_all(dentry, df, around);
	if (!err) {
		around->deleg = df->read_deleg;
		around->gen = df->read_gen;
	} else {
		iput(around->inode);
		around->inode = NULL;
	}
	if (df)
		archil_dir_buf_drop(df);
	kfree(df);
	archil_dir_around_end(dir, err);
	/* Whatever is wrong, with another name perhaps: asking for this one tells. */
	return err && err != -EINTR ? -EAGAIN : err;
}

void archil_dir_read_done(struct inode *dir, struct dentry *dentry,
			  const struct archil_around *around)
{
	if (!around->deleg)
		return;
	if (around->cookie)
		archil_dir_list_read(dir, dentry, around->cookie, around->gen);
	archil_dir_read(dir, around->gen, around->deleg);
}

/* ---- the VFS's side ---- */

static int archil_readdir(struct file *file, struct dir_context *ctx)
{
	u64 commit;
	int ret;

	if (!dir_emit_dots(file, ctx))
		return 0;
	if (archil_dir_complete(file_inode(file), &commit)) {
		ret = archil_readdir_memory(file_inode(file), ctx);
		if (ret != -EAGAIN)
			return ret;
	}
	return archil_readdir_server(file, ctx);
}

static loff_t archil_dir_llseek(struct file *file, loff_t off, int whence)
{
	struct archil_dir_file *df = file->private_data;

	if (whence == SEEK_CUR)
		off += file->f_pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (off < 0)
		return -EINVAL;
	/* Rewinding reads it anew. */
	if (!off)
		archil_dir_buf_drop(df);
	file->f_pos = off;
	return off;
}

static int archil_dir_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	int err = archil_sync_inode(file_inode(file), true);
	int err2 = file_check_and_advance_wb_err(file);

	return err2 ?: err;
}

const struct file_operations archil_dir_fops = {
	.open		= archil_dir_open,
	.release	= archil_dir_release,
	.read		= generic_read_dir,
	.iterate_shared	= archil_readdir,
	.llseek		= archil_dir_llseek,
	.fsync		= archil_dir_fsync,
	.unlocked_ioctl	= archil_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.setlease	= simple_nosetlease,
};

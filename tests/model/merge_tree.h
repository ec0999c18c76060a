/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A naive filesystem in memory, for the merge rules. It is as strict as the
 * server: a record that does not fit the tree is refused.
 */
#ifndef TESTS_MODEL_MERGE_TREE_H
#define TESTS_MODEL_MERGE_TREE_H

#include <stdbool.h>

#include "record.h"

#define INODES		6000	/* a sequence makes at most so many */
#define NAMES		6	/* "a" to "f" */
#define BYTES		64	/* contents of a file */
#define XATTRS		4	/* "user.a" to "user.d" */
#define VALUE		8

static u64 last_ino;

struct entry {
	u64 ino;	/* 0: none */
	u64 cookie;
};

struct xattr {
	bool there;
	u8 len;
	u8 value[VALUE];
};

struct inode {
	bool there;
	bool touched;	/* in this batch */
	bool bulk;
	u32 mode, uid, gid, rdev_major, rdev_minor;
	u32 nlink;	/* names; 0: an open orphan */
	struct archil_time atime, mtime, ctime, btime;
	u64 size;
	u8 data[BYTES];	/* of a bulk file also what lies beyond its size */
	u8 target[8];
	u32 target_len;
	struct {
		u64 dir, cookie;
	} home;		/* the home link; zeros: an orphan, or the root */
	u64 next_cookie;
	struct entry entry[NAMES];
	struct xattr xattr[XATTRS];
};

struct tree {
	struct inode inode[INODES];	/* by number; 0 is unused */
};

static int name_index(const char *name, u32 len)
{
	return len == 1 && name[0] >= 'a' && name[0] < 'a' + NAMES ? name[0] - 'a' : -1;
}

static int xattr_index(const char *name, u32 len)
{
	return len == 6 && !memcmp(name, "user.", 5) ? name[5] - 'a' : -1;
}

static struct inode *get(struct tree *t, u64 ino)
{
	return ino && ino < INODES && t->inode[ino].there ? &t->inode[ino] : NULL;
}

static struct inode *get_dir(struct tree *t, u64 ino)
{
	struct inode *in = get(t, ino);

	return in && S_ISDIR(in->mode) ? in : NULL;
}

static bool empty(const struct inode *dir)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (dir->entry[i].ino)
			return false;
	return true;
}

static bool lies_in(struct tree *t, u64 dir, u64 top)
{
	while (dir != top && dir != ARCHIL_INO_ROOT)
		dir = t->inode[dir].home.dir;
	return dir == top;
}

static void dir_changed(struct inode *dir, const struct archil_time *time)
{
	dir->mtime = *time;
	dir->ctime = *time;
	dir->touched = true;
}

static void node_changed(struct inode *in, const struct archil_time *time)
{
	in->ctime = *time;
	in->touched = true;
}

static bool take_cookie(struct inode *dir, u64 cookie)
{
	if (cookie < dir->next_cookie)
		return false;
	dir->next_cookie = cookie + 1;
	return true;
}

static void set_home(struct inode *in, u64 dir, u64 cookie)
{
	in->home.dir = dir;
	in->home.cookie = cookie;
}

static bool is_home(const struct inode *in, u64 dir, u64 cookie)
{
	return in->home.dir == dir && in->home.cookie == cookie;
}

/* The home link went: as at the server, the first of the others is home now. */
static void new_home(struct tree *t, struct inode *in, u64 ino)
{
	struct inode *dir;
	u64 d;
	int i;

	set_home(in, 0, 0);
	for (d = 1; d <= last_ino && !in->home.dir; d++) {
		dir = get_dir(t, d);
		for (i = 0; dir && i < NAMES; i++)
			if (dir->entry[i].ino == ino &&
			    (!in->home.dir || dir->entry[i].cookie < in->home.cookie))
				set_home(in, d, dir->entry[i].cookie);
	}
}

/* A link of @ino, which is out of its directory already. */
static void drop_link(struct tree *t, u64 ino, u64 dir, u64 cookie, bool open,
		      const struct archil_time *time)
{
	struct inode *in = &t->inode[ino];

	node_changed(in, time);
	if (is_home(in, dir, cookie))
		new_home(t, in, ino);
	if (!--in->nlink && !open)
		in->there = false;
}

static void relink(struct inode *in, u64 dir, u64 cookie, u64 new_dir, u64 new_cookie)
{
	if (is_home(in, dir, cookie))
		set_home(in, new_dir, new_cookie);
}

static bool apply_create(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in;
	int name;

	if (!dir || rec->ino >= INODES || get(t, rec->ino))
		return false;
	in = &t->inode[rec->ino];
	memset(in, 0, sizeof(*in));
	if (!(rec->flags & ARCHIL_CREATE_TMPFILE)) {
		name = name_index(rec->name, rec->name_len);
		if (name < 0 || dir->entry[name].ino || !dir->nlink ||
		    !take_cookie(dir, rec->cookie))
			return false;
		dir->entry[name] = (struct entry){ rec->ino, rec->cookie };
		dir_changed(dir, &rec->time);
		in->nlink = 1;
	}
	in->there = in->touched = true;
	in->mode = rec->mode;
	in->uid = rec->uid;
	in->gid = rec->gid;
	in->rdev_major = rec->rdev_major;
	in->rdev_minor = rec->rdev_minor;
	in->atime = rec->atime;
	in->mtime = rec->mtime;
	in->ctime = rec->ctime;
	in->btime = rec->btime;
	in->target_len = rec->data_len;
	if (rec->data_len)
		memcpy(in->target, rec->data, rec->data_len);
	if (in->nlink)
		set_home(in, rec->dir, rec->cookie);
	in->next_cookie = ARCHIL_COOKIE_FIRST;
	return true;
}

static bool apply_link(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in = get(t, rec->ino);
	int name = name_index(rec->name, rec->name_len);

	if (!dir || !in || name < 0 || S_ISDIR(in->mode) || dir->entry[name].ino || !dir->nlink ||
	    !take_cookie(dir, rec->cookie))
		return false;
	dir->entry[name] = (struct entry){ rec->ino, rec->cookie };
	if (!in->nlink++)
		set_home(in, rec->dir, rec->cookie);
	dir_changed(dir, &rec->time);
	node_changed(in, &rec->time);
	return true;
}

static bool apply_unlink(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in = get(t, rec->ino);
	int name = name_index(rec->name, rec->name_len);
	u64 cookie;

	if (!dir || !in || name < 0 || dir->entry[name].ino != rec->ino)
		return false;
	if (S_ISDIR(in->mode) && !empty(in))
		return false;
	cookie = dir->entry[name].cookie;
	dir->entry[name] = (struct entry){ 0 };
	dir_changed(dir, &rec->time);
	drop_link(t, rec->ino, rec->dir, cookie, rec->flags & ARCHIL_UNLINK_OPEN, &rec->time);
	return true;
}

static bool apply_exchange(struct inode *old_dir, struct inode *new_dir, struct inode *in,
			   struct inode *other, int old, int new,
			   const struct archil_record *rec)
{
	u64 at_old = old_dir->entry[old].cookie, at_new = new_dir->entry[new].cookie;

	old_dir->entry[old].ino = rec->target;
	new_dir->entry[new].ino = rec->ino;
	relink(in, rec->dir, at_old, rec->new_dir, at_new);
	relink(other, rec->new_dir, at_new, rec->dir, at_old);
	dir_changed(old_dir, &rec->time);
	dir_changed(new_dir, &rec->time);
	node_changed(in, &rec->time);
	node_changed(other, &rec->time);
	return true;
}

static bool apply_rename(struct tree *t, const struct archil_record *rec)
{
	struct inode *old_dir = get_dir(t, rec->dir), *new_dir = get_dir(t, rec->new_dir);
	struct inode *in = get(t, rec->ino), *target = get(t, rec->target);
	int old = name_index(rec->name, rec->name_len);
	int new = name_index(rec->new_name, rec->new_name_len);
	u64 cookie;

	if (!old_dir || !new_dir || !in || old < 0 || new < 0 || !new_dir->nlink)
		return false;
	if (old_dir->entry[old].ino != rec->ino || new_dir->entry[new].ino != rec->target ||
	    (rec->target && !target))
		return false;
	if (S_ISDIR(in->mode) && lies_in(t, rec->new_dir, rec->ino))
		return false;
	if (target && S_ISDIR(target->mode) && lies_in(t, rec->dir, rec->target))
		return false;
	if (rec->flags & ARCHIL_RENAME_EXCHANGE)
		return target && apply_exchange(old_dir, new_dir, in, target, old, new, rec);
	if (target) {
		if (S_ISDIR(target->mode) != S_ISDIR(in->mode) ||
		    (S_ISDIR(target->mode) && !empty(target)))
			return false;
		cookie = new_dir->entry[new].cookie;
		new_dir->entry[new] = (struct entry){ 0 };
		drop_link(t, rec->target, rec->new_dir, cookie, rec->flags & ARCHIL_RENAME_OPEN,
			  &rec->time);
	}
	if (!take_cookie(new_dir, rec->cookie))
		return false;
	relink(in, rec->dir, old_dir->entry[old].cookie, rec->new_dir, rec->cookie);
	old_dir->entry[old] = (struct entry){ 0 };
	new_dir->entry[new] = (struct entry){ rec->ino, rec->cookie };
	dir_changed(old_dir, &rec->time);
	dir_changed(new_dir, &rec->time);
	node_changed(in, &rec->time);
	return true;
}

static bool apply_setattr(struct inode *in, const struct archil_record *rec)
{
	if (rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP) &&
	    (!S_ISREG(in->mode) || rec->size > BYTES))
		return false;
	if (rec->valid & ARCHIL_SET_SIZE) {
		/* what a WRITE has put below the new size stays, as at the server */
		memset(in->data + rec->size, 0, BYTES - rec->size);
		in->size = rec->size;
	}
	if (rec->valid & ARCHIL_SET_SIZE_UP && in->size < rec->size)
		in->size = rec->size;
	if (rec->valid & ARCHIL_SET_MODE)
		in->mode = (in->mode & S_IFMT) | rec->mode;
	if (rec->valid & ARCHIL_SET_UID)
		in->uid = rec->uid;
	if (rec->valid & ARCHIL_SET_GID)
		in->gid = rec->gid;
	if (rec->valid & ARCHIL_SET_ATIME)
		in->atime = rec->atime;
	if (rec->valid & ARCHIL_SET_MTIME)
		in->mtime = rec->mtime;
	if (rec->valid & ARCHIL_SET_CTIME)
		in->ctime = rec->ctime;
	in->touched = true;
	return true;
}

static bool apply_bytes(struct inode *in, const struct archil_record *rec)
{
	u64 len = rec->type == ARCHIL_REC_CONTENT ? rec->data_len : rec->length;

	if (!S_ISREG(in->mode) || rec->off + len > BYTES)
		return false;
	switch (rec->type) {
	case ARCHIL_REC_CONTENT:
		if (in->bulk)
			return false;
		memcpy(in->data + rec->off, rec->data, len);
		break;
	case ARCHIL_REC_PUNCH:
		memset(in->data + rec->off, 0, len);
		break;
	}
	if (rec->type != ARCHIL_REC_PUNCH && !(rec->flags & ARCHIL_ALLOC_KEEP_SIZE) &&
	    in->size < rec->off + len)
		in->size = rec->off + len;
	in->mtime = rec->time;
	node_changed(in, &rec->time);
	return true;
}

static bool apply_xattr(struct inode *in, const struct archil_record *rec)
{
	int i = xattr_index(rec->name, rec->name_len);

	if (rec->type == ARCHIL_REC_RMXATTR) {
		if (!in->xattr[i].there)
			return false;
		in->xattr[i] = (struct xattr){ 0 };
	} else {
		in->xattr[i] = (struct xattr){ .there = true, .len = rec->data_len };
		if (rec->data_len)
			memcpy(in->xattr[i].value, rec->data, rec->data_len);
	}
	node_changed(in, &rec->time);
	return true;
}

static bool apply(struct tree *t, const struct archil_record *rec)
{
	struct inode *in = get(t, rec->ino);

	if (!in && rec->type != ARCHIL_REC_CREATE)
		return false;
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		return apply_create(t, rec);
	case ARCHIL_REC_LINK:
		return apply_link(t, rec);
	case ARCHIL_REC_UNLINK:
		return apply_unlink(t, rec);
	case ARCHIL_REC_RENAME:
		return apply_rename(t, rec);
	case ARCHIL_REC_SETATTR:
		return apply_setattr(in, rec);
	case ARCHIL_REC_CONTENT:
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		return apply_bytes(in, rec);
	case ARCHIL_REC_SETXATTR:
	case ARCHIL_REC_RMXATTR:
		return apply_xattr(in, rec);
	case ARCHIL_REC_RELEASE:
		if (in->nlink)
			return false;
		in->there = false;
		return true;
	}
	return false;
}

#endif

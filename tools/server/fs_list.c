// SPDX-License-Identifier: GPL-2.0
/*
 * Listing directories.
 *
 * 1. One iterator steps through packs of entries and one through packs of inodes: a directory's
 *    files mostly have been numbered in a row, so the next inode is in the same pack or the next.
 * 2. Ahead of a walk (struct archil_readdir_req) go the directories that it comes to
 *    next: those below the one just listed, then its later siblings, then its parent's, as far as
 *    the walk's top. Each is given whole or not at all. What is not asked for costs no
 *    more than AHEAD_MAX bytes and AHEAD_SCAN entries that are passed over.
 */
#include <stdlib.h>

#include "fs_priv.h"

enum {
	AHEAD_MAX	= 512 << 10,	/* bytes */
	AHEAD_SCAN	= 4096,		/* entries of parents */
	AHEAD_DIRS	= 1024,		/* directories remembered */
	AHEAD_SIBLINGS	= 256,		/* directories of a parent that are looked for */
	PACK_STEP	= 4,		/* packs passed over rather than sought */
};

struct ahead_dir {
	struct archil_wattr attr;	/* with mode 0 only the number is known */
	u64 entries;			/* then not this either */
};

struct lister {
	struct fs_view *view;
	struct fs_list *list;
	struct fs_scan entries, inodes;
	bool stands;			/* entries: on a pack */
	bool inodes_stand;
	u64 at;				/* inodes: on which pack */
	struct fs_item item;		/* the last one looked at in it, if pos is not 0 */
	size_t pos;			/* behind that */
	struct fs_inode in;		/* of the entry that is added */
	u32 count;
	/* to be listed, the next one last; NULL: none are collected */
	struct ahead_dir *dirs;
	size_t n_dirs;
	bool too_many;			/* of them: some are not in dirs */
};

static int lister_open(struct lister *l, struct fs_view *view, struct fs_list *list)
{
	struct fs_key prefix;
	int err;

	memset(l, 0, sizeof(*l));
	l->view = view;
	l->list = list;
	err = view->txn ? fs_names_settle(view->txn) : 0;
	if (err)
		return err;
	fs_key0(&prefix, FS_ENTRY);
	err = fs_scan_open(view, &prefix, &l->entries);
	if (err)
		return err;
	fs_key0(&prefix, FS_INODE);
	err = fs_scan_open(view, &prefix, &l->inodes);
	if (err)
		fs_scan_close(&l->entries);
	return err;
}

static void lister_close(struct lister *l)
{
	fs_scan_close(&l->inodes);
	fs_scan_close(&l->entries);
	free(l->dirs);
}

static int stand(struct lister *l, int r)
{
	l->inodes_stand = r > 0;
	l->pos = 0;
	if (l->inodes_stand)
		l->at = fs_key_nr(l->inodes.key, l->inodes.key_len, 0);
	return r;
}

/* Mostly it is the one behind the last. */
static int find_slot(struct lister *l, unsigned int slot)
{
	int r;

	if (l->item.slot >= slot)
		l->pos = 0;
	do {
		r = fs_pack_next(l->inodes.val, l->inodes.val_len, &l->pos, &l->item);
	} while (r > 0 && l->item.slot < slot);
	return r > 0 ? l->item.slot == slot : r;
}

/* The inode of an entry, which must be there. */
static int read_child(struct lister *l, u64 ino)
{
	u64 pack = ino / FS_PACK;
	struct fs_key key;
	int r = 1;

	if (l->view->txn) {
		r = fs_inode_read(l->view, ino, &l->in);
		return r == -ESTALE ? -EBADMSG : r;
	}
	if (l->inodes_stand && l->at < pack && pack - l->at <= PACK_STEP) {
		while (r > 0 && l->at < pack)
			r = stand(l, fs_scan_next(&l->inodes));
	} else if (!l->inodes_stand || l->at != pack) {
		fs_key_inode(&key, ino);
		r = stand(l, fs_scan_first(&l->inodes, &key));
	}
	if (r > 0 && l->at == pack)
		r = find_slot(l, ino % FS_PACK);
	else if (r > 0)
		r = 0;
	if (r <= 0)
		return r ? r : -EBADMSG;
	return fs_inode_decode(ino, l->item.data, l->item.len, &l->in);
}

static void collect(struct lister *l, const struct archil_wattr *attr, u64 entries)
{
	if (l->dirs && l->n_dirs < AHEAD_DIRS)
		l->dirs[l->n_dirs++] = (struct ahead_dir){ *attr, entries };
	else
		l->too_many = true;
}

/* Those collected since there were @from: the first of them is to be the next. */
static void collected(struct lister *l, size_t from)
{
	struct ahead_dir dir;
	size_t to = l->n_dirs;

	while (from + 1 < to) {
		dir = l->dirs[from];
		l->dirs[from++] = l->dirs[--to];
		l->dirs[to] = dir;
	}
}

static void fill_attr(struct lister *l, const struct fs_inode *in, struct archil_wattr *attr)
{
	fs_inode_wattr(in, attr);
	if (l->list->owner)
		l->list->owner(l->list->ctx, attr);
}

struct child {
	struct fs_entry entry;
	const char *name;
	size_t len;
};

/* -ENOSPC: the page is full. */
static int add_entry(struct lister *l, const struct child *child)
{
	struct archil_dirent de = { .cookie = cpu_to_le64(child->entry.cookie) };
	struct fs_list *list = l->list;
	struct store_value target = {};
	int err;

	if (ARCHIL_DIRENT_SIZE(child->len) > list->cap - list->len)
		return -ENOSPC;
	err = read_child(l, child->entry.ino);
	if (err)
		return err;
	fill_attr(l, &l->in, &de.attr);
	if (S_ISLNK(l->in.mode)) {
		err = fs_contents(l->view, &l->in, &target);
		if (err)
			return err;
	}
	err = archil_dirent_put(list->buf, list->cap, &list->len, &de, child->name, child->len,
				target.data, target.len);
	if (S_ISLNK(l->in.mode))
		store_value_put(&target);
	if (err)
		return err;
	l->count++;
	if (S_ISDIR(l->in.mode))
		collect(l, &de.attr, l->in.entries);
	return 0;
}

typedef int each_fn(struct lister *l, const struct child *child);

/* The entries above a cookie of the pack that the iterator stands on. */
static int each_of_pack(struct lister *l, u64 dir, u64 cookie, each_fn *each)
{
	u64 pack = fs_key_nr(l->entries.key, l->entries.key_len, 1);
	struct child child = { .entry.dir = dir };
	struct fs_item item;
	size_t pos = 0;
	int r;

	while ((r = fs_pack_next(l->entries.val, l->entries.val_len, &pos, &item)) > 0) {
		child.entry.cookie = pack * FS_PACK + item.slot;
		if (child.entry.cookie <= cookie)
			continue;
		r = fs_entry_decode(&item, &child.entry, &child.name, &child.len);
		if (!r)
			r = each(l, &child);
		if (r)
			return r;
	}
	return r;
}

/* Where the iterator stands, as memcmp() says it. Keys of entries are all of one length. */
static int place_of(const struct lister *l, const struct fs_key *key)
{
	return l->entries.key_len == key->len ? memcmp(l->entries.key, key->b, key->len) : 1;
}

static int entries_at(struct lister *l, int r)
{
	l->stands = r > 0;
	return r;
}

/* To the first pack from @from on. What comes behind a directory mostly is the one listed next. */
static int first_pack(struct lister *l, const struct fs_key *from)
{
	int c = l->stands ? place_of(l, from) : 1, step, r;

	for (step = 0; c < 0 && step < PACK_STEP; step++) {
		r = entries_at(l, fs_scan_next(&l->entries));
		if (r <= 0)
			return r;
		c = place_of(l, from);
		if (c >= 0)
			return 1;
	}
	return c ? entries_at(l, fs_scan_first(&l->entries, from)) : 1;
}

/* Go through the entries of a directory above a cookie, until @each says no. */
static int each_entry(struct lister *l, u64 dir, u64 cookie, each_fn *each)
{
	struct fs_key from;
	int r;

	if (cookie >= ARCHIL_COOKIE_MAX)
		return 0;
	fs_key_entry(&from, dir, cookie + 1);
	for (r = first_pack(l, &from); r > 0; r = entries_at(l, fs_scan_next(&l->entries))) {
		if (fs_key_nr(l->entries.key, l->entries.key_len, 0) != dir)
			return 0;
		r = each_of_pack(l, dir, cookie, each);
		if (r)
			return r;
	}
	return r;
}

/* ---- ahead ---- */

static int collect_entry(struct lister *l, const struct child *child)
{
	struct archil_wattr attr = { .ino = cpu_to_le64(child->entry.ino) };

	if (child->entry.type == S_IFDIR >> 12)
		collect(l, &attr, 0);
	return ++l->count > AHEAD_SCAN || l->n_dirs == AHEAD_SIBLINGS ? -ENOSPC : 0;
}

/* Is there room if all names are short? Else it is not begun. */
static bool fits(const struct fs_list *list, u64 entries)
{
	size_t left = list->cap - list->len;

	return left >= sizeof(struct archil_dirlist) &&
	       entries <= (left - sizeof(struct archil_dirlist)) / ARCHIL_DIRENT_SIZE(1);
}

/* A directory's listing with its header; the page is as it was when it does not fit. */
static int add_listing(struct lister *l, struct ahead_dir *dir)
{
	size_t start = l->list->len, dirs = l->n_dirs;
	struct fs_list *list = l->list;
	struct archil_dirlist dl = {};
	int err;

	if (!dir->attr.mode) {
		err = read_child(l, le64_to_cpu(dir->attr.ino));
		if (err)
			return err;
		if (!S_ISDIR(l->in.mode))
			return -EBADMSG;
		fill_attr(l, &l->in, &dir->attr);
		dir->entries = l->in.entries;
	}
	if (!fits(list, dir->entries))
		return -ENOSPC;
	if (list->enter)
		list->enter(list->ctx, &dir->attr);
	list->len += sizeof(dl);
	err = each_entry(l, le64_to_cpu(dir->attr.ino), 0, add_entry);
	if (err) {
		list->len = start;
		return err;
	}
	dl.dir = dir->attr.ino;
	dl.dir_change = dir->attr.change;
	dl.len = cpu_to_le32(list->len - start - sizeof(dl));
	memcpy((u8 *)list->buf + start, &dl, sizeof(dl));
	collected(l, dirs);
	return 0;
}

/* All below @dir is listed: what comes behind it in its parent, which becomes @dir. */
static int climb(struct lister *l, u64 *dir)
{
	struct fs_inode in;
	int err = fs_dir_read(l->view, *dir, &in);

	if (err)
		return err;
	if (!in.parent || in.parent == *dir)
		return -ENOENT;
	*dir = in.parent;
	err = each_entry(l, in.parent, in.cookie, collect_entry);
	collected(l, 0);
	if (err != -ENOSPC)
		return err;
	/* what was found comes next all the same */
	l->too_many = true;
	return 0;
}

/* What cannot be read is told to who asks for it. */
static void list_ahead(struct lister *l, u64 dir, u64 top)
{
	struct ahead_dir next;

	l->count = 0;
	for (;;) {
		while (l->n_dirs) {
			/* what lies in it is collected in its place */
			next = l->dirs[--l->n_dirs];
			if (add_listing(l, &next))
				return;
		}
		if (l->too_many || dir == top || climb(l, &dir))
			return;
	}
}

int fs_readdir(struct fs_view *view, const struct archil_readdir_req *req, struct fs_list *list,
	       struct archil_readdir_rep *rep)
{
	u64 dir = le64_to_cpu(req->dir), cookie = le64_to_cpu(req->cookie);
	size_t ahead = le32_to_cpu(req->ahead);
	struct fs_inode in;
	struct lister l;
	int r;

	memset(rep, 0, sizeof(*rep));
	list->len = 0;
	r = fs_dir_read(view, dir, &in);
	if (r)
		return r;
	r = lister_open(&l, view, list);
	if (r)
		return r;
	/* a walk that has come to the middle of a directory has not been below it */
	if (ahead && cookie < ARCHIL_COOKIE_FIRST)
		l.dirs = malloc(AHEAD_DIRS * sizeof(*l.dirs));
	r = each_entry(&l, dir, cookie, add_entry);
	if ((r && r != -ENOSPC) || (r && !l.count)) {
		lister_close(&l);
		return r == -ENOSPC ? -EINVAL : r;
	}
	rep->dir_change = cpu_to_le64(in.change);
	rep->count = cpu_to_le32(l.count);
	rep->flags = cpu_to_le32(r ? 0 : ARCHIL_RD_EOF);
	rep->len = cpu_to_le32(list->len);
	if (!r && l.dirs) {
		if (ahead > AHEAD_MAX)
			ahead = AHEAD_MAX;
		if (list->cap - list->len > ahead)
			list->cap = list->len + ahead;
		collected(&l, 0);
		list_ahead(&l, dir, le64_to_cpu(req->top));
	}
	lister_close(&l);
	return 0;
}

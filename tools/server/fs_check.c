// SPDX-License-Identifier: GPL-2.0
/*
 * Is a disk consistent with itself? Every key is read and held
 * against those it must agree with:
 *
 *  1. An inode: its home entry leads to it, its links are as many as it counts,
 *     its contents and xattrs are as long as it says; a directory's entries are
 *     as many as it counts; an orphan has its key or is in a list, and nothing leads to it.
 *  2. An entry stands in both orders, by cookie and by hash, and leads to an inode that knows of it.
 *  3. Every directory is reached from the root.
 *  4. What belongs to an inode, a session or a delegation has one.
 *  5. Delegations are disjoint. Counters are above all that was given out.
 *  6. A data file belongs to a bulk inode, or is about to be removed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs_priv.h"

#define REACHED		65536	/* directories remembered as reached; a power of two */
#define TEXT		256

/* Inodes of which there may be very many: two such sets are the same or not. */
struct check_set {
	u64 n, sum;
};

struct check {
	struct fs_view *view;
	void (*line)(void *arg, const char *text);
	void *arg;
	int lines;
	struct fs_counters counters;
	u64 inodes;
	struct check_set released, listed;	/* orphans; those in lists */
	u64 *reached;		/* REACHED inode numbers, by their low bits */
	struct fs_inos roots;	/* of delegations; sorted in check_disjoint() */
};

__attribute__((format(printf, 2, 3)))
static void wrong(struct check *c, const char *fmt, ...)
{
	char text[TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->lines++;
	c->line(c->arg, text);
}

/* Calls fn for each key that begins with prefix. */
static int walk(struct check *c, const struct fs_key *prefix,
		int (*fn)(struct check *c, const struct fs_scan *scan, void *arg), void *arg)
{
	struct fs_scan scan;
	int r;

	r = fs_scan_open(c->view, prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		r = fn(c, &scan, arg);
		if (r)
			break;
	}
	fs_scan_close(&scan);
	return r;
}

/* 1, 0: there is none, or an error; one that cannot be read is told of once, elsewhere. */
static int inode_of(struct check *c, u64 ino, struct fs_inode *in)
{
	int err = fs_inode_read(c->view, ino, in);

	if (err == -ESTALE || err == -EBADMSG)
		return 0;
	return err ? err : 1;
}

/*
 * Calls fn for each item of the pack that scan stands on; @before: numbers in its key before
 * the pack's own. Return: 0, 1 (it is malformed from somewhere on), or an error of fn's.
 */
static int each_item(struct check *c, const struct fs_scan *scan, unsigned int before,
		     int (*fn)(struct check *c, u64 nr, const struct fs_item *item, void *arg),
		     void *arg)
{
	u64 first = fs_key_nr(scan->key, scan->key_len, before) * FS_PACK;
	struct fs_item item;
	size_t pos = 0;
	int r;

	while ((r = fs_pack_next(scan->val, scan->val_len, &pos, &item)) > 0) {
		r = fn(c, first + item.slot, &item, arg);
		if (r)
			return r;
	}
	return r || !pos;
}

/* Does the entry at (dir, cookie) lead to ino? 1, 0 or an error. */
static int leads_to(struct check *c, u64 dir, u64 cookie, u64 ino)
{
	struct fs_entry entry;
	struct store_value val;
	const char *name;
	size_t len;
	int err;

	err = fs_entry_at(c->view, dir, cookie, &val, &entry, &name, &len);
	if (err == -ENOENT || err == -EBADMSG)
		return 0;
	if (err)
		return err;
	store_value_put(&val);
	return entry.ino == ino;
}

/* ---- inodes ---- */

struct links {
	u64 ino;
	u32 n;
};

static int check_link(struct check *c, const struct fs_scan *scan, void *arg)
{
	struct links *links = arg;
	u64 dir = fs_key_nr(scan->key, scan->key_len, 1);
	u64 cookie = fs_key_nr(scan->key, scan->key_len, 2);
	int r = leads_to(c, dir, cookie, links->ino);

	if (r < 0)
		return r;
	if (!r)
		wrong(c, "inode %llu: no link %llu in directory %llu",
		      (unsigned long long)links->ino, (unsigned long long)cookie,
		      (unsigned long long)dir);
	links->n++;
	return 0;
}

static int check_links(struct check *c, const struct fs_inode *in)
{
	struct links links = { .ino = in->ino };
	bool orphan = in->flags & ARCHIL_AF_ORPHAN;
	struct fs_key prefix;
	u32 count;
	int r;

	if (!orphan && in->ino != ARCHIL_INO_ROOT) {
		r = leads_to(c, in->parent, in->cookie, in->ino);
		if (r < 0)
			return r;
		if (!r)
			wrong(c, "inode %llu: its home entry %llu in directory %llu is not there",
			      (unsigned long long)in->ino, (unsigned long long)in->cookie,
			      (unsigned long long)in->parent);
	}
	fs_key1(&prefix, FS_LINK, in->ino);
	r = walk(c, &prefix, check_link, &links);
	if (r)
		return r;
	count = orphan ? 0 : S_ISDIR(in->mode) ? in->nlink : links.n + 1;
	if (in->nlink != count || ((orphan || S_ISDIR(in->mode)) && links.n))
		wrong(c, "inode %llu: counts %u links, has %u", (unsigned long long)in->ino,
		      in->nlink, links.n + !orphan);
	return 0;
}

static void set_add(struct check_set *set, u64 ino)
{
	set->n++;
	ino = (ino ^ ino >> 31) * 0x9e3779b97f4a7c15ull;
	set->sum += ino ^ ino >> 29;
}

static int check_orphan(struct check *c, const struct fs_inode *in)
{
	struct fs_key key;
	int r;

	if (!in->orphan_of) {
		set_add(&c->released, in->ino);
		return 0;
	}
	fs_key2(&key, FS_ORPHAN, in->orphan_of, in->ino);
	r = fs_has(c->view, &key);
	if (r < 0)
		return r;
	if (!r)
		wrong(c, "inode %llu: has no name and is not among the orphans",
		      (unsigned long long)in->ino);
	return 0;
}

static int check_content(struct check *c, const struct fs_inode *in)
{
	bool bulk = in->flags & ARCHIL_AF_BULK;
	struct store_value val;
	struct fs_key key;
	u64 len = 0;
	int err;

	fs_key1(&key, FS_CONTENT, in->ino);
	err = fs_get(c->view, &key, &val);
	if (err && err != -ENOENT)
		return err;
	if (!err) {
		len = val.len;
		store_value_put(&val);
	}
	if (len != in->content_len || (bulk && len))
		wrong(c, "inode %llu: has %llu bytes of contents, counts %llu",
		      (unsigned long long)in->ino, (unsigned long long)len,
		      (unsigned long long)in->content_len);
	if (S_ISLNK(in->mode) && (len != in->size || !len))
		wrong(c, "inode %llu: target of a symlink has %llu bytes, not %llu",
		      (unsigned long long)in->ino, (unsigned long long)len,
		      (unsigned long long)in->size);
	if (bulk && !S_ISREG(in->mode))
		wrong(c, "inode %llu: no regular file has a data file",
		      (unsigned long long)in->ino);
	return 0;
}

static int count_xattr(struct check *c, const struct fs_scan *scan, void *arg)
{
	u64 *bytes = arg;

	*bytes += scan->key_len - (1 + sizeof(u64)) + 1;
	return 0;
}

static int check_xattrs(struct check *c, const struct fs_inode *in)
{
	struct fs_key prefix;
	u64 bytes = 0;
	int r;

	fs_key1(&prefix, FS_XATTR, in->ino);
	r = walk(c, &prefix, count_xattr, &bytes);
	if (r)
		return r;
	if (bytes != in->xattr_bytes)
		wrong(c, "inode %llu: names of xattrs take %llu bytes, not %u",
		      (unsigned long long)in->ino, (unsigned long long)bytes, in->xattr_bytes);
	return 0;
}

/* ---- directories ---- */

struct dir {
	const struct fs_inode *in;
	u64 entries, hashed;
	u32 dirs;
};

/* The entry's inode knows of it: it is the home link, or one of the others. */
static int check_child(struct check *c, const struct fs_entry *entry)
{
	struct fs_inode in;
	struct fs_key key;
	int r = inode_of(c, entry->ino, &in);

	if (r < 0)
		return r;
	if (!r || in.flags & ARCHIL_AF_ORPHAN) {
		wrong(c, "directory %llu: entry %llu leads to inode %llu, which is %s",
		      (unsigned long long)entry->dir, (unsigned long long)entry->cookie,
		      (unsigned long long)entry->ino, r ? "an orphan" : "not there");
		return 0;
	}
	if (in.mode >> 12 != entry->type)
		wrong(c, "directory %llu: entry %llu is of type %u, inode %llu of %u",
		      (unsigned long long)entry->dir, (unsigned long long)entry->cookie,
		      entry->type, (unsigned long long)entry->ino, in.mode >> 12);
	if (in.parent == entry->dir && in.cookie == entry->cookie)
		return 0;
	fs_key3(&key, FS_LINK, entry->ino, entry->dir, entry->cookie);
	r = fs_has(c->view, &key);
	if (r < 0)
		return r;
	if (!r)
		wrong(c, "directory %llu: inode %llu does not know of entry %llu",
		      (unsigned long long)entry->dir, (unsigned long long)entry->ino,
		      (unsigned long long)entry->cookie);
	return 0;
}

static int check_entry(struct check *c, u64 cookie, const struct fs_item *item, void *arg)
{
	struct dir *dir = arg;
	struct fs_entry entry = { .dir = dir->in->ino, .cookie = cookie }, by_name;
	const char *name;
	size_t len;
	int err;

	if (fs_entry_decode(item, &entry, &name, &len)) {
		wrong(c, "directory %llu: entry %llu is malformed",
		      (unsigned long long)entry.dir, (unsigned long long)entry.cookie);
		return 0;
	}
	dir->entries++;
	dir->dirs += entry.type == S_IFDIR >> 12;
	if (!archil_name_ok(name, len))
		wrong(c, "directory %llu: entry %llu has no good name",
		      (unsigned long long)entry.dir, (unsigned long long)entry.cookie);
	if (entry.cookie >= dir->in->next_cookie)
		wrong(c, "directory %llu: entry %llu is above the next to be given, %llu",
		      (unsigned long long)entry.dir, (unsigned long long)entry.cookie,
		      (unsigned long long)dir->in->next_cookie);
	err = fs_entry_find(c->view, dir->in, name, len, &by_name);
	if (err && err != -ENOENT && err != -EBADMSG)
		return err;
	if (err || by_name.cookie != entry.cookie)
		wrong(c, "directory %llu: entry %llu is not found by its name",
		      (unsigned long long)entry.dir, (unsigned long long)entry.cookie);
	return check_child(c, &entry);
}

static int check_entries(struct check *c, const struct fs_scan *scan, void *arg)
{
	struct dir *dir = arg;
	int r = each_item(c, scan, 1, check_entry, dir);

	if (r <= 0)
		return r;
	wrong(c, "directory %llu: a pack of its entries is malformed",
	      (unsigned long long)dir->in->ino);
	return 0;
}

/* When each entry was found, and there are as many, they are these. */
static int count_hashed(struct check *c, const struct fs_scan *scan, void *arg)
{
	struct store_value val = { .data = scan->val, .len = scan->val_len };
	struct dir *dir = arg;
	size_t n;

	if (fs_hashed_decode(&val, &n))
		wrong(c, "directory %llu: a bucket of its names is malformed",
		      (unsigned long long)dir->in->ino);
	else
		dir->hashed += n;
	return 0;
}

/* From a directory up to one that is known to be reached. */
static int check_reached(struct check *c, const struct fs_inode *dir)
{
	struct fs_inode in = *dir;
	unsigned int depth = 0;
	int r;

	while (in.ino != ARCHIL_INO_ROOT && c->reached[in.ino & (REACHED - 1)] != in.ino) {
		r = inode_of(c, in.parent, &in);
		if (r < 0)
			return r;
		if (!r || !S_ISDIR(in.mode) || in.flags & ARCHIL_AF_ORPHAN ||
		    in.ino == dir->ino || ++depth > 1u << 20) {
			wrong(c, "directory %llu: is not reached from the root",
			      (unsigned long long)dir->ino);
			return 0;
		}
	}
	c->reached[dir->ino & (REACHED - 1)] = dir->ino;
	return 0;
}

static int check_dir(struct check *c, const struct fs_inode *in)
{
	bool orphan = in->flags & ARCHIL_AF_ORPHAN;
	struct dir dir = { .in = in };
	struct fs_key prefix;
	int r;

	fs_key1(&prefix, FS_ENTRY, in->ino);
	r = walk(c, &prefix, check_entries, &dir);
	if (r)
		return r;
	fs_key1(&prefix, FS_HASH, in->ino);
	r = walk(c, &prefix, count_hashed, &dir);
	if (r)
		return r;
	if (dir.hashed != dir.entries)
		wrong(c, "directory %llu: has %llu names for %llu entries",
		      (unsigned long long)in->ino, (unsigned long long)dir.hashed,
		      (unsigned long long)dir.entries);
	if (dir.entries != in->entries || (orphan && dir.entries))
		wrong(c, "directory %llu: counts %llu entries, has %llu",
		      (unsigned long long)in->ino, (unsigned long long)in->entries,
		      (unsigned long long)dir.entries);
	if (in->splits && !in->entries)
		wrong(c, "directory %llu: is empty, and its hash table was split %llu times",
		      (unsigned long long)in->ino, (unsigned long long)in->splits);
	if (orphan)
		return 0;
	if (in->nlink != dir.dirs + 2)
		wrong(c, "directory %llu: counts %u links, has %u", (unsigned long long)in->ino,
		      in->nlink, dir.dirs + 2);
	return check_reached(c, in);
}

static int check_inode(struct check *c, u64 ino, const struct fs_item *item, void *arg)
{
	struct fs_inode in;
	int r;

	c->inodes++;
	if (fs_inode_decode(ino, item->data, item->len, &in)) {
		wrong(c, "inode %llu: malformed", (unsigned long long)ino);
		return 0;
	}
	if (ino >= c->counters.next_ino)
		wrong(c, "inode %llu: was never handed out", (unsigned long long)ino);
	if (ino == ARCHIL_INO_ROOT && (!S_ISDIR(in.mode) || in.parent != ino ||
				       in.flags & ARCHIL_AF_ORPHAN))
		wrong(c, "inode 1: is not a root directory");
	if (in.change > c->view->commit)
		wrong(c, "inode %llu: changed at commit %llu, which is to come",
		      (unsigned long long)ino, (unsigned long long)in.change);
	r = check_links(c, &in);
	if (!r && in.flags & ARCHIL_AF_ORPHAN)
		r = check_orphan(c, &in);
	if (!r)
		r = check_content(c, &in);
	if (!r)
		r = check_xattrs(c, &in);
	if (!r && S_ISDIR(in.mode))
		r = check_dir(c, &in);
	return r;
}

static int check_inodes(struct check *c, const struct fs_scan *scan, void *arg)
{
	int r = each_item(c, scan, 0, check_inode, arg);

	if (r <= 0)
		return r;
	wrong(c, "a pack of inodes, from %llu on, is malformed",
	      (unsigned long long)fs_key_nr(scan->key, scan->key_len, 0) * FS_PACK);
	return 0;
}

/* ---- what must have an inode ---- */

struct owner {
	const char *what;
	bool dir;	/* that is a directory */
	u64 last;	/* the last inode asked for, and whether it was there */
	int there;
	struct fs_inode in;
};

static int look_up(struct check *c, struct owner *owner, u64 ino)
{
	if (owner->last != ino || !ino) {
		owner->there = inode_of(c, ino, &owner->in);
		owner->last = ino;
	}
	return owner->there;
}

static int check_belongs(struct check *c, const struct fs_scan *scan, void *arg)
{
	struct owner *owner = arg;
	u64 ino = fs_key_nr(scan->key, scan->key_len, 0);
	u64 before = owner->last;
	int r = look_up(c, owner, ino);

	if (r < 0)
		return r;
	if (ino == before && ino)
		return 0;
	if (!r)
		wrong(c, "inode %llu: has %s, but is not there", (unsigned long long)ino,
		      owner->what);
	else if (owner->dir && !S_ISDIR(owner->in.mode))
		wrong(c, "inode %llu: has %s, but is no directory", (unsigned long long)ino,
		      owner->what);
	return 0;
}

static int check_owned(struct check *c, enum fs_tag tag, const char *what)
{
	struct owner owner = { .what = what, .dir = tag == FS_ENTRY || tag == FS_HASH };
	struct fs_key prefix;

	fs_key0(&prefix, tag);
	return walk(c, &prefix, check_belongs, &owner);
}

/* It stands among the orphans: kept open by a delegation, or released then. */
static int check_is_orphan(struct check *c, u64 ino, u64 deleg, u64 released)
{
	struct fs_inode in;
	int r = inode_of(c, ino, &in);

	if (r < 0)
		return r;
	if (!r || !(in.flags & ARCHIL_AF_ORPHAN) || in.orphan_of != deleg ||
	    in.released != released)
		wrong(c, "inode %llu: stands among the orphans and is none there",
		      (unsigned long long)ino);
	return 0;
}

static int check_open(struct check *c, const struct fs_scan *scan, void *arg)
{
	u64 deleg = fs_key_nr(scan->key, scan->key_len, 0);
	u64 ino = fs_key_nr(scan->key, scan->key_len, 1);
	int r = check_is_orphan(c, ino, deleg, 0);
	struct fs_key key;

	if (r)
		return r;
	fs_key1(&key, FS_DELEG, deleg);
	r = fs_has(c->view, &key);
	if (r < 0)
		return r;
	if (!r)
		wrong(c, "inode %llu: kept open by delegation %llu, which is not there",
		      (unsigned long long)ino, (unsigned long long)deleg);
	return 0;
}

static int check_released(struct check *c, const struct fs_scan *scan, void *arg)
{
	u64 time = fs_key_nr(scan->key, scan->key_len, 0);
	struct fs_released_val val;
	int i, n, r = 0;

	n = fs_released_decode(scan->val, scan->val_len, &val);
	if (n < 0)
		wrong(c, "a list of orphans that were released cannot be read");
	for (i = 0; i < n && !r; i++) {
		set_add(&c->listed, le64_to_cpu(val.ino[i]));
		r = check_is_orphan(c, le64_to_cpu(val.ino[i]), 0, time);
	}
	return r;
}

static int check_orphans(struct check *c)
{
	struct fs_key prefix;
	int r;

	fs_key0(&prefix, FS_ORPHAN);
	r = walk(c, &prefix, check_open, NULL);
	if (r)
		return r;
	fs_key0(&prefix, FS_RELEASED);
	r = walk(c, &prefix, check_released, NULL);
	if (!r && (c->released.n != c->listed.n || c->released.sum != c->listed.sum))
		wrong(c, "the released orphans, %llu, are not those that are listed, %llu",
		      (unsigned long long)c->released.n, (unsigned long long)c->listed.n);
	return r;
}

/* ---- sessions and delegations ---- */

static int check_session_of(struct check *c, const char *what, u64 number, u64 session)
{
	struct fs_key key;
	int r;

	fs_key1(&key, FS_SESSION, session);
	r = fs_has(c->view, &key);
	if (r < 0)
		return r;
	if (!r)
		wrong(c, "%s %llu: its session %llu is not there", what,
		      (unsigned long long)number, (unsigned long long)session);
	return 0;
}

static int check_session(void *ctx, const struct fs_session *session)
{
	struct check *c = ctx;

	if (session->id >= c->counters.next_session)
		wrong(c, "session %llu: was never handed out", (unsigned long long)session->id);
	return 0;
}

static int check_deleg(void *ctx, const struct fs_deleg *deleg)
{
	bool of_orphan = deleg->flags & FS_DELEG_ORPHAN;
	struct check *c = ctx;
	struct fs_inode in;
	int r;

	if (deleg->number >= c->counters.next_deleg)
		wrong(c, "delegation %llu: was never handed out",
		      (unsigned long long)deleg->number);
	r = inode_of(c, deleg->ino, &in);
	if (r < 0)
		return r;
	if (!r || of_orphan != !!(in.flags & ARCHIL_AF_ORPHAN) ||
	    (of_orphan && in.orphan_of != deleg->number))
		wrong(c, "delegation %llu: its inode %llu %s", (unsigned long long)deleg->number,
		      (unsigned long long)deleg->ino,
		      !r ? "is not there" : of_orphan ? "is not its orphan" : "is an orphan");
	else if (!of_orphan)
		r = fs_inos_add(&c->roots, deleg->ino);
	if (r < 0)
		return r;
	return check_session_of(c, "delegation", deleg->number, deleg->session);
}

static int check_tomb(void *ctx, const struct fs_tomb *tomb)
{
	return check_session_of(ctx, "closed delegation", tomb->number, tomb->session);
}

static int check_slot(struct check *c, const struct fs_scan *scan, void *arg)
{
	return check_session_of(c, "slot", fs_key_nr(scan->key, scan->key_len, 1),
				fs_key_nr(scan->key, scan->key_len, 0));
}

static int cmp(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* None of the ancestors of a delegation's root is the root of another. */
static int check_disjoint(struct check *c)
{
	struct fs_chain chain = {};
	u64 *root = c->roots.ino;
	size_t i, j, n = c->roots.n;
	int err = 0;

	if (n)
		qsort(root, n, sizeof(*root), cmp);
	for (i = 0; !err && i < n; i++) {
		if (i && root[i] == root[i - 1])
			wrong(c, "inode %llu: has two delegations", (unsigned long long)root[i]);
		err = fs_chain(c->view, root[i], &chain);
		if (err == -EBADMSG) {	/* told of already */
			err = 0;
			continue;
		}
		for (j = 0; !err && j + 1 < chain.n; j++)
			if (bsearch(&chain.ino[j], root, n, sizeof(*root), cmp))
				wrong(c, "inode %llu: its delegation lies in that of inode %llu",
				      (unsigned long long)root[i],
				      (unsigned long long)chain.ino[j]);
	}
	fs_chain_free(&chain);
	return err;
}

static int check_sessions(struct check *c)
{
	struct fs_key prefix;
	int r;

	r = fs_sessions_each(c->view, check_session, c);
	if (!r)
		r = fs_delegs_each(c->view, check_deleg, c);
	if (!r)
		r = fs_tombs_each(c->view, check_tomb, c);
	fs_key0(&prefix, FS_SLOT);
	if (!r)
		r = walk(c, &prefix, check_slot, NULL);
	return r ? r : check_disjoint(c);
}

/* ---- data files, and what nobody knows ---- */

/* Has the newest state a reason for a data file of @ino? 1, 0 or an error. */
static int has_data(struct check *c, u64 ino)
{
	struct check now = { 0 };
	struct fs_key prefix;
	struct fs_scan scan;
	struct fs_inode in;
	int r;

	now.view = fs_view_get(c->view->fs);
	if (!now.view)
		return -ENOMEM;
	r = inode_of(&now, ino, &in);
	if (r < 0 || (r && in.flags & ARCHIL_AF_BULK))
		goto out;
	fs_key1(&prefix, FS_INTENT, ino);
	r = fs_scan_open(now.view, &prefix, &scan);
	if (r)
		goto out;
	r = fs_scan_first(&scan, NULL);
	fs_scan_close(&scan);
out:
	fs_view_put(now.view);
	return r;
}

/* The disk goes on meanwhile: what was removed since it was seen is none. */
static int check_data(void *arg, uint64_t ino, uint64_t bytes)
{
	struct check *c = arg;
	struct store_op op = { .kind = STORE_SEEK_DATA, .ino = ino };
	int r = has_data(c, ino);

	if (r)
		return r < 0 ? r : 0;
	if (store_run(c->view->fs->store, &op) >= 0)
		wrong(c, "inode %llu: a data file of %llu bytes belongs to it, but it has none",
		      (unsigned long long)ino, (unsigned long long)bytes);
	return 0;
}

static int check_tags(struct check *c)
{
	static const char known[] = "CDcdehiloprstxy";
	struct store_iter *it;
	const char *key;
	u8 next = 1;
	size_t len;
	int r;

	it = store_iter_open(c->view->fs->store, c->view->snap, NULL, 0);
	if (!it)
		return -ENOMEM;
	/* one seek a letter */
	while ((r = store_iter_seek(it, &next, 1)) > 0) {
		key = store_iter_key(it, &len);
		next = key[0];
		if (!strchr(known, next))
			wrong(c, "keys that begin with byte %u are not known", next);
		if (next++ == 0xff)
			break;
	}
	store_iter_close(it);
	return r < 0 ? r : 0;
}

static int check_all(struct check *c)
{
	static const struct {
		enum fs_tag tag;
		const char *what;
	} owned[] = {
		{ FS_ENTRY, "entries" },
		{ FS_HASH, "names" },
		{ FS_LINK, "links" },
		{ FS_CONTENT, "contents" },
		{ FS_XATTR, "xattrs" },
	};
	struct fs_key prefix;
	size_t i;
	int r;

	fs_key0(&prefix, FS_INODE);
	r = walk(c, &prefix, check_inodes, NULL);
	for (i = 0; !r && i < ARRAY_SIZE(owned); i++)
		r = check_owned(c, owned[i].tag, owned[i].what);
	if (!r)
		r = check_orphans(c);
	if (!r)
		r = check_sessions(c);
	if (!r)
		r = check_tags(c);
	if (!r)
		r = store_data_each(c->view->fs->store, check_data, c);
	if (!r && c->inodes != c->counters.inodes)
		wrong(c, "%llu inodes in use, %llu are counted", (unsigned long long)c->inodes,
		      (unsigned long long)c->counters.inodes);
	return r;
}

int fs_check(struct fs_view *view, void (*line)(void *arg, const char *text), void *arg)
{
	struct check c = { .view = view, .line = line, .arg = arg };
	struct store_value val;
	struct fs_key key;
	int r;

	c.reached = calloc(REACHED, sizeof(*c.reached));
	if (!c.reached)
		return -ENOMEM;
	fs_key0(&key, FS_COUNTERS);
	r = fs_get(view, &key, &val);
	if (r)
		goto out;
	r = fs_counters_decode(val.data, val.len, &c.counters);
	store_value_put(&val);
	if (!r)
		r = check_all(&c);
out:
	free(c.roots.ino);
	free(c.reached);
	return r ? r : c.lines;
}

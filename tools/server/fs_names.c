// SPDX-License-Identifier: GPL-2.0
/*
 * Records that change names: CREATE, LINK, UNLINK, RENAME.
 *
 * Each goes through the same steps: find what is named, in the order in which
 * the VFS would complain; ask whether all that changes may change; refuse what
 * is left to refuse; change.
 */
#include <stdlib.h>

#include "fs_priv.h"

static u8 type_of(const struct fs_node *node)
{
	return node->in.mode >> 12;
}

static bool is_dir(const struct fs_node *node)
{
	return S_ISDIR(node->in.mode);
}

static bool is_orphan(const struct fs_node *node)
{
	return node->in.flags & ARCHIL_AF_ORPHAN;
}

/* ---- entries ---- */

/* Its entries changed. */
static void dir_changed(struct fs_op *op, struct fs_node *dir)
{
	dir->in.mtime = op->rec->time;
	dir->in.ctime = op->rec->time;
	fs_node_change(op->txn, dir);
}

static void node_changed(struct fs_op *op, struct fs_node *node)
{
	node->in.ctime = op->rec->time;
	fs_node_change(op->txn, node);
}

/* The cookie of a new entry; the directory's counter goes behind it. */
static int take_cookie(struct fs_op *op, struct fs_node *dir, u64 *cookie)
{
	*cookie = op->rec->cookie;
	if (*cookie < dir->in.next_cookie) {
		if (op->who->deleg)
			return -EUCLEAN;
		*cookie = dir->in.next_cookie;
	}
	if (*cookie > ARCHIL_COOKIE_MAX)
		return -ENOSPC;
	dir->in.next_cookie = *cookie + 1;
	return 0;
}

/* Put an entry for @node into @dir and count it. */
static int enter(struct fs_op *op, struct fs_node *dir, struct fs_node *node,
		 const char *name, size_t len, struct fs_entry *entry)
{
	int err;

	entry->dir = dir->in.ino;
	entry->ino = node->in.ino;
	entry->type = type_of(node);
	err = take_cookie(op, dir, &entry->cookie);
	if (err)
		return err;
	if (is_dir(node))
		dir->in.nlink++;
	dir_changed(op, dir);
	return fs_node_enter(op->txn, dir, entry, name, len);
}

static int leave(struct fs_op *op, struct fs_node *dir, struct fs_node *node,
		 const char *name, size_t len, const struct fs_entry *entry)
{
	if (is_dir(node))
		dir->in.nlink--;
	dir_changed(op, dir);
	return fs_node_leave(op->txn, dir, entry, name, len);
}

static int find_dir(struct fs_op *op, u64 ino, struct fs_node **dirp)
{
	int err = fs_node_get(op->txn, ino, dirp);

	if (err)
		return err;
	return is_dir(*dirp) ? 0 : -ENOTDIR;
}

/* The entry of a record's name, and the inode that it must lead to. */
static int find_entry(struct fs_op *op, struct fs_node *dir, const char *name, size_t len,
		      u64 ino, struct fs_entry *entry, struct fs_node **nodep)
{
	int err;

	err = fs_node_entry(op->txn, dir, name, len, entry);
	if (err)
		return err;
	if (entry->ino != ino)
		return -ESTALE;
	err = fs_node_get(op->txn, ino, nodep);
	return err == -ESTALE ? -EBADMSG : err;
}

/* ---- links ---- */

static bool is_home(const struct fs_node *node, const struct fs_entry *entry)
{
	return node->in.parent == entry->dir && node->in.cookie == entry->cookie;
}

static int link_put(struct fs_txn *txn, u64 ino, const struct fs_entry *entry)
{
	struct fs_key key;

	fs_key3(&key, FS_LINK, ino, entry->dir, entry->cookie);
	return fs_put(txn, &key, "", 0);
}

static int link_del(struct fs_txn *txn, u64 ino, const struct fs_entry *entry)
{
	struct fs_key key;

	fs_key3(&key, FS_LINK, ino, entry->dir, entry->cookie);
	return fs_del(txn, &key);
}

/* The home link went: the first of the others is home now. */
static int new_home(struct fs_txn *txn, struct fs_node *node)
{
	struct fs_key prefix, key;
	struct fs_scan scan;
	int r;

	fs_key1(&prefix, FS_LINK, node->in.ino);
	r = fs_scan_open(&txn->view, &prefix, &scan);
	if (r)
		return r;
	r = fs_scan_first(&scan, NULL);
	if (r > 0) {
		node->in.parent = fs_key_nr(scan.key, scan.key_len, 1);
		node->in.cookie = fs_key_nr(scan.key, scan.key_len, 2);
	}
	fs_scan_close(&scan);
	if (r <= 0)
		return r ? r : -EBADMSG;
	fs_key3(&key, FS_LINK, node->in.ino, node->in.parent, node->in.cookie);
	return fs_del(txn, &key);
}

/* A link has moved from one entry to another. */
static int relink(struct fs_txn *txn, struct fs_node *node, const struct fs_entry *from,
		  const struct fs_entry *to)
{
	int err;

	if (is_home(node, from)) {
		node->in.parent = to->dir;
		node->in.cookie = to->cookie;
		if (is_dir(node) && from->dir != to->dir)
			txn->moves++;
		return 0;
	}
	err = link_del(txn, node->in.ino, from);
	return err ? err : link_put(txn, node->in.ino, to);
}

/* The asking session's delegation that covers an inode, for a change outside a log; 0: none. */
static int covered(struct fs_op *op, u64 ino, u64 *deleg)
{
	struct fs_place place = { .ino = ino };
	struct fs_chain chain = {};
	int err;

	*deleg = 0;
	if (!op->who->cover)
		return 0;
	err = fs_chain(&op->txn->view, ino, &chain);
	if (!err) {
		place.chain = chain.ino;
		place.n = chain.n;
		*deleg = op->who->cover(op->who->ctx, &place);
	}
	fs_chain_free(&chain);
	return err;
}

/*
 * Which delegation will keep the inode open if its last link goes now. Asked
 * while it still has its place.
 */
static int keeper(struct fs_op *op, struct fs_node *node, bool keep, u64 *deleg)
{
	*deleg = keep ? op->who->deleg : 0;
	return keep && !*deleg ? covered(op, node->in.ino, deleg) : 0;
}

/*
 * The count or ctime of a file with several links changed, and it may belong to
 * somebody else: remember to tell. Who asked for a change outside a log has the answer.
 */
static int note_link(struct fs_op *op, struct fs_node *node)
{
	struct fs_txn *txn = op->txn;
	u64 deleg;
	int err;

	if (is_dir(node) || is_orphan(node))
		return 0;
	if (op->who->deleg) {
		err = fs_node_inside(txn, node, op->who->deleg, op->who->root);
		if (err != -EUCLEAN)
			return err;
	} else {
		/* by where its home is now, which the node's own entry may not say yet */
		err = covered(op, node->in.parent, &deleg);
		if (err || deleg)
			return err;
	}
	return fs_inos_add(&txn->links, node->in.ino);
}

/* One link less; @entry is out of its directory already. */
static int drop_link(struct fs_op *op, struct fs_node *node, const struct fs_entry *entry,
		     u64 deleg)
{
	int err;

	node_changed(op, node);
	if (is_dir(node) || node->in.nlink <= 1)
		return fs_orphan_make(op->txn, node, deleg);
	node->in.nlink--;
	if (is_home(node, entry))
		err = new_home(op->txn, node);
	else
		err = link_del(op->txn, node->in.ino, entry);
	return err ? err : note_link(op, node);
}

/* ---- the records ---- */

static int fill_node(struct fs_op *op, struct fs_node *node)
{
	const struct archil_record *rec = op->rec;
	struct fs_inode *in = &node->in;
	struct fs_key key;

	in->mode = rec->mode;
	in->uid = rec->uid;
	in->gid = rec->gid;
	in->rdev_major = rec->rdev_major;
	in->rdev_minor = rec->rdev_minor;
	in->atime = rec->atime;
	in->mtime = rec->mtime;
	in->ctime = rec->ctime;
	in->btime = rec->btime;
	if (is_dir(node)) {
		in->nlink = 2;
		in->next_cookie = ARCHIL_COOKIE_FIRST;
	} else {
		in->nlink = 1;
	}
	if (!S_ISLNK(rec->mode))
		return 0;
	in->size = rec->data_len;
	in->content_len = rec->data_len;
	fs_key1(&key, FS_CONTENT, in->ino);
	return fs_put(op->txn, &key, rec->data, rec->data_len);
}

static int create_orphan(struct fs_op *op, struct fs_node *dir, struct fs_node *node)
{
	struct fs_place place = { .ino = dir->in.ino };
	struct fs_chain chain = {};
	u64 deleg = op->who->deleg ? op->who->deleg : op->who->grant;
	int err;

	if (!deleg && op->who->cover) {
		err = fs_chain(&op->txn->view, dir->in.ino, &chain);
		if (!err) {
			place.chain = chain.ino;
			place.n = chain.n;
			deleg = op->who->cover(op->who->ctx, &place);
		}
		fs_chain_free(&chain);
		if (err)
			return err;
	}
	return fs_orphan_make(op->txn, node, deleg);
}

int fs_op_create(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	bool tmpfile = rec->flags & ARCHIL_CREATE_TMPFILE;
	struct fs_node *dir, *node;
	struct fs_entry entry;
	int err;

	err = find_dir(op, rec->dir, &dir);
	if (err)
		return err;
	if (tmpfile && !S_ISREG(rec->mode))
		return -EINVAL;
	if (!tmpfile) {
		err = fs_node_entry(op->txn, dir, rec->name, rec->name_len, &entry);
		if (err != -ENOENT)
			return err ? err : -EEXIST;
	}
	if (is_orphan(dir))
		return -ENOENT;
	err = fs_op_touch(op, FS_TOUCH_CREATE, dir);
	if (err || op->refused)
		return err;

	err = fs_node_new(op->txn, rec->ino, &node);
	if (err)
		return err;
	err = fill_node(op, node);
	if (err)
		return err;
	op->res->dir = rec->dir;
	if (tmpfile)
		return create_orphan(op, dir, node);
	err = enter(op, dir, node, rec->name, rec->name_len, &entry);
	if (err)
		return err;
	node->in.parent = entry.dir;
	node->in.cookie = entry.cookie;
	return 0;
}

/* An orphan gets a name: its delegation, if of it alone, has ended. */
static int adopt(struct fs_op *op, struct fs_node *node, const struct fs_entry *entry)
{
	struct fs_deleg deleg;
	u64 was = node->in.orphan_of;
	int err;

	err = fs_orphan_move(op->txn, node, 0);
	if (err)
		return err;
	node->in.flags &= ~(u32)ARCHIL_AF_ORPHAN;
	node->in.parent = entry->dir;
	node->in.cookie = entry->cookie;
	node->in.nlink = 1;
	if (op->who->deleg)
		return 0;
	err = fs_deleg_get(&op->txn->view, was, &deleg);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (deleg.flags & FS_DELEG_ORPHAN)
		op->res->ended = was;
	return 0;
}

int fs_op_link(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	struct fs_node *dir, *node;
	struct fs_entry entry;
	int err;

	err = fs_node_get(op->txn, rec->ino, &node);
	if (err)
		return err;
	err = find_dir(op, rec->dir, &dir);
	if (err)
		return err;
	err = fs_node_entry(op->txn, dir, rec->name, rec->name_len, &entry);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	if (is_orphan(dir))
		return -ENOENT;
	if (is_dir(node))
		return -EPERM;
	if (is_orphan(node) && !node->in.orphan_of)
		return -ENOENT;
	err = fs_op_touch(op, FS_TOUCH_ENTRIES, dir);
	if (err)
		return err;
	err = fs_op_touch(op, FS_TOUCH_INODE, node);
	if (err || op->refused)
		return err;
	if (node->in.nlink >= FS_LINK_MAX)
		return -EMLINK;

	op->res->dir = rec->dir;
	err = enter(op, dir, node, rec->name, rec->name_len, &entry);
	if (err)
		return err;
	node_changed(op, node);
	if (is_orphan(node))
		return adopt(op, node, &entry);
	node->in.nlink++;
	err = link_put(op->txn, node->in.ino, &entry);
	return err ? err : note_link(op, node);
}

int fs_op_unlink(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	struct fs_node *dir, *node;
	struct fs_entry entry;
	u64 deleg;
	int err;

	err = find_dir(op, rec->dir, &dir);
	if (err)
		return err;
	err = find_entry(op, dir, rec->name, rec->name_len, rec->ino, &entry, &node);
	if (err)
		return err;
	/* the inode: its home is here, or only its link count and ctime change */
	err = fs_op_touch(op, FS_TOUCH_ENTRIES, dir);
	if (err || op->refused)
		return err;
	if (is_dir(node) && node->in.entries)
		return -ENOTEMPTY;

	op->res->dir = rec->dir;
	err = keeper(op, node, rec->flags & ARCHIL_UNLINK_OPEN, &deleg);
	if (err)
		return err;
	err = leave(op, dir, node, rec->name, rec->name_len, &entry);
	return err ? err : drop_link(op, node, &entry, deleg);
}

/* ---- RENAME ---- */

struct rename {
	struct fs_op *op;
	struct fs_node *old_dir, *new_dir;
	struct fs_node *node, *target;	/* target: NULL when the new name is free */
	struct fs_entry from, to;
};

/* Does @dir lie in @top, or is it @top? */
static int lies_in(struct fs_txn *txn, struct fs_node *dir, struct fs_node *top)
{
	struct fs_chain chain = {};
	int err, r = 0;
	size_t i;

	if (!is_dir(top))
		return 0;
	if (dir == top)
		return 1;
	if (dir->in.ino == ARCHIL_INO_ROOT || dir->in.parent == top->in.parent)
		return 0;
	err = fs_chain(&txn->view, dir->in.ino, &chain);
	for (i = 0; !err && i < chain.n; i++)
		if (chain.ino[i] == top->in.ino)
			r = 1;
	fs_chain_free(&chain);
	return err ? err : r;
}

static int rename_find_target(struct rename *rn)
{
	const struct archil_record *rec = rn->op->rec;
	int err;

	err = fs_node_entry(rn->op->txn, rn->new_dir, rec->new_name, rec->new_name_len, &rn->to);
	if (err == -ENOENT) {
		if (rec->flags & ARCHIL_RENAME_EXCHANGE)
			return -ENOENT;
		return rec->target ? -ESTALE : 0;
	}
	if (err)
		return err;
	if (rn->to.ino != rec->target)
		return rec->target ? -ESTALE : -EEXIST;
	err = fs_node_get(rn->op->txn, rec->target, &rn->target);
	return err == -ESTALE ? -EBADMSG : err;
}

static int rename_find(struct rename *rn)
{
	struct fs_op *op = rn->op;
	const struct archil_record *rec = op->rec;
	int err;

	err = find_dir(op, rec->dir, &rn->old_dir);
	if (err)
		return err;
	err = find_dir(op, rec->new_dir, &rn->new_dir);
	if (err)
		return err;
	err = find_entry(op, rn->old_dir, rec->name, rec->name_len, rec->ino, &rn->from,
			 &rn->node);
	if (err)
		return err;
	if (is_orphan(rn->new_dir))
		return -ENOENT;
	return rename_find_target(rn);
}

/* What the VFS checks before it calls a filesystem. */
static int rename_check(struct rename *rn)
{
	bool exchange = rn->op->rec->flags & ARCHIL_RENAME_EXCHANGE;
	int r;

	r = lies_in(rn->op->txn, rn->new_dir, rn->node);
	if (r)
		return r < 0 ? r : -EINVAL;
	if (!rn->target)
		return 0;
	r = lies_in(rn->op->txn, rn->old_dir, rn->target);
	if (r)
		return r < 0 ? r : exchange ? -EINVAL : -ENOTEMPTY;
	if (exchange || is_dir(rn->node) == is_dir(rn->target))
		return 0;
	return is_dir(rn->node) ? -ENOTDIR : -EISDIR;
}

static int rename_exchange(struct rename *rn)
{
	struct fs_op *op = rn->op;
	const struct archil_record *rec = op->rec;
	struct fs_entry at_old = rn->from, at_new = rn->to;
	int d = is_dir(rn->target) - is_dir(rn->node), err;

	fs_node_dirty(op->txn, rn->node);
	fs_node_dirty(op->txn, rn->target);
	at_old.ino = rn->target->in.ino;
	at_old.type = type_of(rn->target);
	at_new.ino = rn->node->in.ino;
	at_new.type = type_of(rn->node);
	err = fs_node_reenter(op->txn, rn->old_dir, &at_old, rec->name, rec->name_len);
	if (err)
		return err;
	err = fs_node_reenter(op->txn, rn->new_dir, &at_new, rec->new_name, rec->new_name_len);
	if (err)
		return err;
	err = relink(op->txn, rn->node, &rn->from, &rn->to);
	if (err)
		return err;
	err = relink(op->txn, rn->target, &rn->to, &rn->from);
	if (err)
		return err;
	rn->old_dir->in.nlink += d;
	rn->new_dir->in.nlink -= d;
	dir_changed(op, rn->old_dir);
	dir_changed(op, rn->new_dir);
	node_changed(op, rn->target);
	return rn->target->in.nlink > 1 ? note_link(op, rn->target) : 0;
}

static int rename_move(struct rename *rn)
{
	struct fs_op *op = rn->op;
	const struct archil_record *rec = op->rec;
	struct fs_entry entry;
	u64 deleg;
	int err;

	fs_node_dirty(op->txn, rn->node);
	if (rn->target) {
		err = keeper(op, rn->target, rec->flags & ARCHIL_RENAME_OPEN, &deleg);
		if (err)
			return err;
		err = leave(op, rn->new_dir, rn->target, rec->new_name, rec->new_name_len, &rn->to);
		if (err)
			return err;
		err = drop_link(op, rn->target, &rn->to, deleg);
		if (err)
			return err;
	}
	err = leave(op, rn->old_dir, rn->node, rec->name, rec->name_len, &rn->from);
	if (err)
		return err;
	err = enter(op, rn->new_dir, rn->node, rec->new_name, rec->new_name_len, &entry);
	return err ? err : relink(op->txn, rn->node, &rn->from, &entry);
}

int fs_op_rename(struct fs_op *op)
{
	bool exchange = op->rec->flags & ARCHIL_RENAME_EXCHANGE;
	struct rename rn = { .op = op };
	int err;

	err = rename_find(&rn);
	if (err)
		return err;
	err = rename_check(&rn);
	if (err)
		return err;
	err = fs_op_touch(op, FS_TOUCH_ENTRIES, rn.old_dir);
	if (err)
		return err;
	if (rn.new_dir != rn.old_dir) {
		err = fs_op_touch(op, FS_TOUCH_ENTRIES, rn.new_dir);
		if (err)
			return err;
	}
	if (op->refused)
		return 0;
	if (rn.target && !exchange && is_dir(rn.target) && rn.target->in.entries)
		return -ENOTEMPTY;

	op->res->dir = op->rec->new_dir;
	op->res->old_dir = op->rec->dir;
	op->res->target = op->rec->target;
	err = exchange ? rename_exchange(&rn) : rename_move(&rn);
	if (err)
		return err;
	node_changed(op, rn.node);
	return rn.node->in.nlink > 1 ? note_link(op, rn.node) : 0;
}

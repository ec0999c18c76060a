// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes without a link: kept open by a delegation (`o`), then released and
 * readable for a while (`r`), then removed, a few keys at a time.
 */
#include "fs_priv.h"

static int put_open(struct fs_txn *txn, struct fs_node *node, u64 deleg)
{
	struct fs_key key;

	node->in.orphan_of = deleg;
	fs_key2(&key, FS_ORPHAN, deleg, node->in.ino);
	return fs_put(txn, &key, "", 0);
}

static int del_open(struct fs_txn *txn, struct fs_node *node)
{
	struct fs_key key;

	fs_key2(&key, FS_ORPHAN, node->in.orphan_of, node->in.ino);
	node->in.orphan_of = 0;
	return fs_del(txn, &key);
}

/* They are put together: a key for each would be more than all else that removing a file changes. */
static int put_released(struct fs_txn *txn, struct fs_node *node)
{
	node->in.released = txn->now;
	return fs_inos_add(&txn->released, node->in.ino);
}

int fs_orphan_lists(struct fs_txn *txn)
{
	struct fs_released_val val;
	size_t i, n, done = 0;
	struct fs_key key;
	u64 nr = 0;
	int err;

	while (done < txn->released.n) {
		n = txn->released.n - done;
		if (n > FS_RELEASED_MAX)
			n = FS_RELEASED_MAX;
		for (i = 0; i < n; i++)
			val.ino[i] = cpu_to_le64(txn->released.ino[done + i]);
		fs_key3(&key, FS_RELEASED, txn->now, txn->nr, nr++);
		err = fs_put(txn, &key, &val, n * sizeof(val.ino[0]));
		if (err)
			return err;
		done += n;
	}
	txn->released.n = 0;
	return 0;
}

int fs_orphan_make(struct fs_txn *txn, struct fs_node *node, u64 deleg)
{
	node->in.nlink = 0;
	node->in.parent = 0;
	node->in.cookie = 0;
	node->in.flags |= ARCHIL_AF_ORPHAN;
	node->inside = 0;
	fs_node_dirty(txn, node);
	return deleg ? put_open(txn, node, deleg) : put_released(txn, node);
}

int fs_orphan_release(struct fs_txn *txn, struct fs_node *node)
{
	int err = del_open(txn, node);

	fs_node_dirty(txn, node);
	return err ? err : put_released(txn, node);
}

int fs_orphan_move(struct fs_txn *txn, struct fs_node *node, u64 deleg)
{
	int err = del_open(txn, node);

	fs_node_dirty(txn, node);
	return err || !deleg ? err : put_open(txn, node, deleg);
}

/* ---- reaping ---- */

/* Its xattrs, as far as @left reaches. */
static int reap_xattrs(struct fs_txn *txn, struct fs_node *node, unsigned int *left)
{
	struct fs_key prefix, key;
	struct fs_scan scan;
	int r;

	if (!node->in.xattr_bytes)
		return 0;
	fs_key1(&prefix, FS_XATTR, node->in.ino);
	r = fs_scan_open(&txn->view, &prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0 && *left; r = fs_scan_next(&scan)) {
		if (scan.key_len > sizeof(key.b) || scan.key_len < prefix.len ||
		    scan.key_len - prefix.len + 1 > node->in.xattr_bytes) {
			r = -EBADMSG;
			break;
		}
		memcpy(key.b, scan.key, scan.key_len);
		key.len = scan.key_len;
		node->in.xattr_bytes -= key.len - prefix.len + 1;
		fs_node_dirty(txn, node);
		(*left)--;
		r = fs_del(txn, &key);
		if (r)
			break;
	}
	fs_scan_close(&scan);
	return r < 0 ? r : 0;
}

/* 1: it is gone. 0: @left is used up. */
static int reap_one(struct fs_txn *txn, u64 ino, unsigned int *left)
{
	struct fs_node *node;
	struct fs_key key;
	int err;

	err = fs_node_get(txn, ino, &node);
	if (err)
		return err == -ESTALE ? -EBADMSG : err;
	if (!(node->in.flags & ARCHIL_AF_ORPHAN) || node->in.orphan_of)
		return -EBADMSG;
	err = reap_xattrs(txn, node, left);
	if (err)
		return err;
	if (!*left)
		return 0;	/* goes on next time */
	if (node->in.xattr_bytes)
		return -EBADMSG;
	(*left)--;
	if (node->in.content_len) {
		fs_key1(&key, FS_CONTENT, ino);
		err = fs_del(txn, &key);
		if (err)
			return err;
	}
	if (node->in.flags & ARCHIL_AF_BULK) {
		err = fs_intent_add(txn, ino, FS_INTENT_REMOVE, 0, 0, NULL);
		if (err)
			return err;
	}
	fs_node_gone(txn, node);
	return 1;
}

/* Those of a list, as far as @left reaches. */
static int reap_list(struct fs_txn *txn, const struct fs_scan *scan, unsigned int *left)
{
	struct fs_released_val val;
	struct fs_key key = { .len = scan->key_len };
	int i, n, r = 1;

	n = fs_released_decode(scan->val, scan->val_len, &val);
	if (n < 0 || key.len > sizeof(key.b))
		return -EBADMSG;
	memcpy(key.b, scan->key, key.len);
	for (i = 0; i < n && *left; i++) {
		r = reap_one(txn, le64_to_cpu(val.ino[i]), left);
		if (r <= 0)
			break;
	}
	if (r < 0)
		return r;
	if (i == n)
		return fs_del(txn, &key);
	return i ? fs_put(txn, &key, val.ino + i, (n - i) * sizeof(val.ino[0])) : 0;
}

/*
 * What was reaped leaves marks in the store until it tidies up. The floor keeps
 * the walk from passing over them again and again: times only grow.
 */
int fs_reap(struct fs_txn *txn, u64 before, unsigned int max)
{
	struct fs *fs = txn->fs;
	struct fs_key prefix, from;
	unsigned int left = max;
	struct fs_scan scan;
	u64 time;
	int r;

	if (before > txn->now)
		before = txn->now;
	fs_key0(&prefix, FS_RELEASED);
	r = fs_scan_open(&txn->view, &prefix, &scan);
	if (r)
		return r;
	fs_key1(&from, FS_RELEASED, __atomic_load_n(&fs->reap_floor, __ATOMIC_RELAXED));
	for (r = fs_scan_first(&scan, &from); r > 0 && left; r = fs_scan_next(&scan)) {
		time = fs_key_nr(scan.key, scan.key_len, 0);
		if (time > before)
			break;
		__atomic_store_n(&fs->reap_floor, time, __ATOMIC_RELAXED);
		r = reap_list(txn, &scan, &left);
		if (r)
			break;
	}
	fs_scan_close(&scan);
	return r < 0 ? r : (int)(max - left);
}

int fs_reap_next(struct fs_view *view, u64 *released)
{
	struct fs_key prefix, from;
	struct fs_scan scan;
	int r;

	fs_key0(&prefix, FS_RELEASED);
	r = fs_scan_open(view, &prefix, &scan);
	if (r)
		return r;
	fs_key1(&from, FS_RELEASED, __atomic_load_n(&view->fs->reap_floor, __ATOMIC_RELAXED));
	r = fs_scan_first(&scan, &from);
	if (r > 0)
		*released = fs_key_nr(scan.key, scan.key_len, 0);
	fs_scan_close(&scan);
	return r > 0 ? 0 : r ? r : -ENOENT;
}

/* ---- counting ---- */

/* Keys with this letter; of FS_RELEASED what they list. */
static int count_keys(struct fs_view *view, enum fs_tag tag, u64 *n)
{
	struct fs_released_val list;
	struct fs_key prefix;
	struct fs_scan scan;
	int r;

	fs_key0(&prefix, tag);
	r = fs_scan_open(view, &prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		if (tag == FS_RELEASED)
			r = fs_released_decode(scan.val, scan.val_len, &list);
		if (r < 0)
			break;
		*n += r;
	}
	fs_scan_close(&scan);
	return r;
}

static int count_data(void *arg, uint64_t ino, uint64_t bytes)
{
	u64 *n = arg;

	(*n)++;
	return 0;
}

int fs_count(struct fs_view *view, struct fs_counts *counts)
{
	int r = count_keys(view, FS_ORPHAN, &counts->orphans);

	if (!r)
		r = count_keys(view, FS_RELEASED, &counts->released);
	if (!r)
		r = count_keys(view, FS_INTENT, &counts->intents);
	return r ? r : store_data_each(view->fs->store, count_data, &counts->data_files);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Contents of regular files: small ones, which are a key, and what is to happen
 * to data files (fs_txn.h, rules 4 to 6).
 *
 * A small file's content has content_len bytes, at most the size; what lies
 * behind them is zeros.
 */
#include <assert.h>
#include <stdlib.h>

#include "fs_priv.h"

#define PAGE	4096ull

static u64 pages(u64 bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

static u64 min(u64 a, u64 b)
{
	return a < b ? a : b;
}

/* ---- intents ---- */

static struct fs_intent *intent_new(u64 ino, u64 nr, enum fs_intent_kind kind, u64 off, u64 len,
				    const void *data, size_t data_len)
{
	struct fs_intent *intent = malloc(sizeof(*intent) + data_len);

	if (!intent)
		return NULL;
	intent->ino = ino;
	intent->nr = nr;
	intent->kind = kind;
	intent->off = off;
	intent->len = len;
	if (data_len)
		memcpy(intent->data, data, data_len);
	return intent;
}

int fs_intent_add(struct fs_txn *txn, u64 ino, enum fs_intent_kind kind, u64 off, u64 len,
		  const void *data)
{
	u8 buf[sizeof(struct fs_intent_val) + ARCHIL_INLINE_MAX];
	struct fs_intent_val val = {
		.kind = kind,
		.off = cpu_to_le64(off),
		.len = cpu_to_le64(len),
	};
	size_t data_len = data ? len : 0;
	struct fs_intent *intent;
	struct fs_key key;
	int err;

	assert(txn->in_batch);
	intent = intent_new(ino, txn->counters.next_intent, kind, off, len, data, data_len);
	if (!intent)
		return -ENOMEM;
	memcpy(buf, &val, sizeof(val));
	if (data_len)
		memcpy(buf + sizeof(val), data, data_len);
	fs_key2(&key, FS_INTENT, ino, txn->counters.next_intent);
	err = fs_put(txn, &key, buf, sizeof(val) + data_len);
	if (err) {
		free(intent);
		return err;
	}
	txn->counters.next_intent++;
	STAILQ_INSERT_TAIL(&txn->batch_intents, intent, link);
	return 0;
}

static struct fs_intent *intent_load(const struct fs_scan *scan, int *err)
{
	struct fs_intent_val val;
	struct fs_intent *intent;
	size_t data_len;

	*err = -EBADMSG;
	if (scan->val_len < sizeof(val))
		return NULL;
	memcpy(&val, scan->val, sizeof(val));
	data_len = scan->val_len - sizeof(val);
	if (val.kind < FS_INTENT_FILL || val.kind > FS_INTENT_REMOVE ||
	    data_len != (val.kind == FS_INTENT_FILL ? le64_to_cpu(val.len) : 0))
		return NULL;
	*err = -ENOMEM;
	intent = intent_new(fs_key_nr(scan->key, scan->key_len, 0),
			    fs_key_nr(scan->key, scan->key_len, 1), val.kind,
			    le64_to_cpu(val.off), le64_to_cpu(val.len),
			    scan->val + sizeof(val), data_len);
	if (intent)
		*err = 0;
	return intent;
}

int fs_intents_load(struct fs_view *view, struct fs_intents *list)
{
	struct fs_intent *intent;
	struct fs_key prefix;
	struct fs_scan scan;
	int r, err;

	fs_key0(&prefix, FS_INTENT);
	r = fs_scan_open(view, &prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		intent = intent_load(&scan, &err);
		if (!intent) {
			r = err;
			break;
		}
		STAILQ_INSERT_TAIL(list, intent, link);
	}
	fs_scan_close(&scan);
	return r;
}

int fs_intent_done(struct fs_txn *txn, u64 ino, u64 nr)
{
	struct fs_key key;

	assert(txn->in_batch);
	fs_key2(&key, FS_INTENT, ino, nr);
	return fs_del(txn, &key);
}

/* ---- small contents ---- */

static int content_get(struct fs_txn *txn, struct fs_node *node, u8 *buf)
{
	struct store_value val;
	struct fs_key key;
	int err;

	if (!node->in.content_len)
		return 0;
	fs_key1(&key, FS_CONTENT, node->in.ino);
	err = fs_get(&txn->view, &key, &val);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (val.len == node->in.content_len)
		memcpy(buf, val.data, val.len);
	else
		err = -EBADMSG;
	store_value_put(&val);
	return err;
}

static int content_put(struct fs_txn *txn, struct fs_node *node, const void *buf, size_t len)
{
	struct fs_key key;

	node->in.content_len = len;
	fs_key1(&key, FS_CONTENT, node->in.ino);
	return len ? fs_put(txn, &key, buf, len) : fs_del(txn, &key);
}

static int content_cut(struct fs_txn *txn, struct fs_node *node, u64 len)
{
	u8 buf[ARCHIL_INLINE_MAX];
	int err;

	if (len >= node->in.content_len)
		return 0;
	err = len ? content_get(txn, node, buf) : 0;
	return err ? err : content_put(txn, node, buf, len);
}

int fs_node_content(struct fs_txn *txn, struct fs_node *node, u32 off, const void *data, u32 len)
{
	u64 end = (u64)off + len, was = node->in.content_len;
	u8 buf[ARCHIL_INLINE_MAX];
	int err;

	if (end > sizeof(buf))
		return -EINVAL;
	if (end > node->in.size)
		node->in.size = end;
	if (!off && len >= was)
		return content_put(txn, node, data, len);
	err = content_get(txn, node, buf);
	if (err)
		return err;
	if (off > was)
		memset(buf + was, 0, off - was);
	memcpy(buf + off, data, len);
	return content_put(txn, node, buf, end > was ? end : was);
}

/* ---- both kinds ---- */

/*
 * From here on this delegation's are the bytes beyond the size; those of the
 * one before are cut.
 */
static int take_over(struct fs_txn *txn, struct fs_node *node, u64 deleg)
{
	if (!(node->in.flags & ARCHIL_AF_BULK) || node->in.writer == deleg)
		return 0;
	fs_node_dirty(txn, node);
	node->in.writer = deleg;
	return fs_intent_add(txn, node->in.ino, FS_INTENT_TRUNCATE, node->in.size, 0, NULL);
}

int fs_node_bulk(struct fs_txn *txn, struct fs_node *node, u64 deleg)
{
	u8 buf[ARCHIL_INLINE_MAX];
	u64 len = node->in.content_len;
	int err;

	if (node->in.flags & ARCHIL_AF_BULK)
		return take_over(txn, node, deleg);
	fs_node_dirty(txn, node);
	err = content_get(txn, node, buf);
	if (err)
		return err;
	if (len) {
		err = fs_intent_add(txn, node->in.ino, FS_INTENT_FILL, 0, len, buf);
		if (err)
			return err;
		err = content_put(txn, node, NULL, 0);
		if (err)
			return err;
	}
	node->in.flags |= ARCHIL_AF_BULK;
	node->in.writer = deleg;
	node->in.bytes = pages(len);
	return 0;
}

int fs_node_resize(struct fs_txn *txn, struct fs_node *node, u64 size, u64 deleg)
{
	u64 was = node->in.size, cut;

	if (size > txn->fs->max_file_size)
		return -EFBIG;
	node->in.size = size;
	if (!(node->in.flags & ARCHIL_AF_BULK))
		return content_cut(txn, node, size);
	/* the writer's own bytes up to the new size may be there before their SIZE_UP */
	cut = node->in.writer == deleg ? size : min(size, was);
	node->in.writer = deleg;
	node->in.bytes = min(node->in.bytes, pages(size));
	return fs_intent_add(txn, node->in.ino, FS_INTENT_TRUNCATE, cut, 0, NULL);
}

int fs_node_grow(struct fs_txn *txn, struct fs_node *node, u64 size, u64 deleg)
{
	int err;

	if (size <= node->in.size)
		return 0;
	if (size > txn->fs->max_file_size)
		return -EFBIG;
	err = take_over(txn, node, deleg);
	if (err)
		return err;
	node->in.size = size;
	return 0;
}

int fs_node_punch(struct fs_txn *txn, struct fs_node *node, u64 off, u64 len)
{
	u64 end = off + len, was = node->in.content_len, first, last;
	u8 buf[ARCHIL_INLINE_MAX];
	int err;

	if (node->in.flags & ARCHIL_AF_BULK) {
		first = pages(off);
		last = end & ~(PAGE - 1);
		if (last > first)
			node->in.bytes -= min(node->in.bytes, last - first);
		return fs_intent_add(txn, node->in.ino, FS_INTENT_PUNCH, off, len, NULL);
	}
	if (end >= was)
		return content_cut(txn, node, off);
	err = content_get(txn, node, buf);
	if (err)
		return err;
	memset(buf + off, 0, len);
	return content_put(txn, node, buf, was);
}

int fs_node_alloc(struct fs_txn *txn, struct fs_node *node, u64 off, u64 len, bool keep_size,
		  u64 deleg)
{
	u64 end = off + len, size = node->in.size;
	int err;

	if (end > txn->fs->max_file_size)
		return -EFBIG;
	if (!keep_size && end > size)
		size = end;
	if (node->in.flags & ARCHIL_AF_BULK || end > ARCHIL_INLINE_MAX) {
		err = fs_node_bulk(txn, node, deleg);
		if (err)
			return err;
		err = fs_intent_add(txn, node->in.ino, FS_INTENT_ALLOC, off, len, NULL);
		if (err)
			return err;
		node->in.bytes = min(node->in.bytes + pages(len), pages(end > size ? end : size));
	}
	node->in.size = size;
	return 0;
}

/* ---- what the data path asks for ---- */

static int bulk_node(struct fs_txn *txn, u64 ino, struct fs_node **nodep)
{
	int err = fs_node_get(txn, ino, nodep);

	if (err)
		return err;
	return S_ISREG((*nodep)->in.mode) ? 0 : -EINVAL;
}

int fs_bulk_begin(struct fs_txn *txn, u64 ino, u64 deleg, u64 root)
{
	struct fs_node *node;
	int err;

	err = bulk_node(txn, ino, &node);
	if (err)
		return err;
	err = fs_node_inside(txn, node, deleg, root);
	return err ? err : fs_node_bulk(txn, node, deleg);
}

int fs_bulk_grow(struct fs_txn *txn, u64 ino, const struct fs_grow *grow)
{
	struct fs_node *node;
	int err;

	err = bulk_node(txn, ino, &node);
	if (!err)
		err = fs_node_inside(txn, node, grow->deleg, grow->root);
	if (err)
		return err == -ESTALE || err == -EUCLEAN ? 0 : err;
	if (node->in.change != grow->change || !(node->in.flags & ARCHIL_AF_BULK) ||
	    node->in.writer != grow->deleg || grow->size > txn->fs->max_file_size)
		return 0;
	fs_node_change(txn, node);
	err = fs_node_grow(txn, node, grow->size, grow->deleg);
	if (err)
		return err;
	if (grow->times) {
		node->in.mtime = grow->mtime;
		node->in.ctime = grow->ctime;
	}
	return 1;
}

int fs_touch_change(struct fs_txn *txn, u64 ino)
{
	struct fs_node *node;
	int err = fs_node_get(txn, ino, &node);

	if (!err)
		fs_node_change(txn, node);
	return err;
}

int fs_set_bytes(struct fs_txn *txn, u64 ino, u64 bytes)
{
	struct fs_node *node;
	int err = bulk_node(txn, ino, &node);

	if (err || !(node->in.flags & ARCHIL_AF_BULK) || node->in.bytes == bytes)
		return err;
	fs_node_dirty(txn, node);
	node->in.bytes = bytes;
	return 0;
}

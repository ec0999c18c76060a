// SPDX-License-Identifier: GPL-2.0
/* Inodes, in views and in the committer's cache; where they lie. */
#include <assert.h>
#include <stdlib.h>

#include "fs_priv.h"

/* No path is longer; one that seems to be goes round in a circle. */
#define DEPTH_MAX	(1u << 20)

/* ---- the cache ---- */

static struct fs_node **bucket_of(struct fs_txn *txn, u64 ino)
{
	return &txn->bucket[(ino * 0x9e3779b97f4a7c15ull) >> 32 & (txn->buckets - 1)];
}

int fs_nodes_init(struct fs_txn *txn)
{
	txn->bucket = calloc(FS_BUCKETS_MIN, sizeof(*txn->bucket));
	if (!txn->bucket)
		return -ENOMEM;
	txn->buckets = FS_BUCKETS_MIN;
	return 0;
}

/* Twice the buckets; without memory it goes on with those that it has. */
static void nodes_spread(struct fs_txn *txn)
{
	struct fs_node **old = txn->bucket, *node, **pos;
	size_t n = txn->buckets, i;

	txn->bucket = calloc(2 * n, sizeof(*old));
	if (!txn->bucket) {
		txn->bucket = old;
		return;
	}
	txn->buckets = 2 * n;
	for (i = 0; i < n; i++) {
		while ((node = old[i])) {
			old[i] = node->next;
			pos = bucket_of(txn, node->in.ino);
			node->next = *pos;
			*pos = node;
		}
	}
	free(old);
}

static struct fs_node *node_find(struct fs_txn *txn, u64 ino)
{
	struct fs_node *node;

	for (node = *bucket_of(txn, ino); node; node = node->next)
		if (node->in.ino == ino)
			return node;
	return NULL;
}

static struct fs_node *node_add(struct fs_txn *txn, const struct fs_inode *in)
{
	struct fs_node *node = calloc(1, sizeof(*node)), **bucket;

	if (!node)
		return NULL;
	if (txn->nodes >= 2 * txn->buckets)
		nodes_spread(txn);
	bucket = bucket_of(txn, in->ino);
	node->in = *in;
	node->next = *bucket;
	*bucket = node;
	txn->nodes++;
	return node;
}

static void node_free(struct fs_txn *txn, struct fs_node *node)
{
	struct fs_node **p = bucket_of(txn, node->in.ino);

	while (*p != node)
		p = &(*p)->next;
	*p = node->next;
	txn->nodes--;
	free(node);
}

/* From the store, or from the batch. */
static int inode_load(struct fs_view *view, u64 ino, struct fs_inode *in)
{
	struct store_value val;
	struct fs_item item;
	struct fs_key key;
	int err;

	fs_key_inode(&key, ino);
	err = fs_item_get(view, &key, ino % FS_PACK, &val, &item);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	err = fs_inode_decode(ino, item.data, item.len, in);
	store_value_put(&val);
	return err;
}

static void set_whole(struct fs_txn *txn, u64 first, bool whole)
{
	struct fs_node *node;
	u64 ino;

	for (ino = first; ino < first + FS_PACK; ino++) {
		node = node_find(txn, ino);
		if (node)
			node->whole = whole;
	}
}

static bool is_whole(struct fs_txn *txn, u64 first)
{
	struct fs_node *node;
	u64 ino;

	for (ino = first; ino < first + FS_PACK; ino++) {
		node = node_find(txn, ino);
		if (node && node->whole)
			return true;
	}
	return false;
}

/* What is wrong with one of them is told to who looks for it. */
static int add_all(struct fs_txn *txn, u64 first, const struct store_value *val)
{
	struct fs_item item;
	struct fs_inode in;
	bool whole = true;
	size_t pos = 0;
	int r;

	while ((r = fs_pack_next(val->data, val->len, &pos, &item)) > 0) {
		if (node_find(txn, first + item.slot))
			continue;
		if (fs_inode_decode(first + item.slot, item.data, item.len, &in))
			whole = false;
		else if (!node_add(txn, &in))
			return -ENOMEM;
	}
	if (!r && whole)
		set_whole(txn, first, true);
	return 0;
}

static int add_one(struct fs_txn *txn, u64 ino, const struct store_value *val)
{
	struct fs_item item;
	struct fs_inode in;
	int r;

	r = fs_pack_find(val->data, val->len, ino % FS_PACK, &item);
	if (r > 0)
		r = fs_inode_decode(ino, item.data, item.len, &in);
	else
		r = r ? r : -ESTALE;
	if (r)
		return r;
	return node_add(txn, &in) ? 0 : -ENOMEM;
}

/*
 * One that is not in the cache. Who goes through a tree mostly goes through numbers in order:
 * then all that share its pack.
 */
static int load(struct fs_txn *txn, u64 ino, struct fs_node **nodep)
{
	u64 first = ino - ino % FS_PACK, last = txn->last_pack;
	struct store_value val;
	struct fs_key key;
	int err;

	fs_key_inode(&key, ino);
	err = fs_get(&txn->view, &key, &val);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	txn->last_pack = first;
	err = first - last <= FS_PACK ? add_all(txn, first, &val) : 0;
	*nodep = node_find(txn, ino);
	if (!err && !*nodep) {
		err = add_one(txn, ino, &val);
		*nodep = node_find(txn, ino);
	}
	store_value_put(&val);
	return err;
}

int fs_node_get(struct fs_txn *txn, u64 ino, struct fs_node **nodep)
{
	struct fs_node *node = node_find(txn, ino);
	int err = node ? 0 : load(txn, ino, &node);

	if (err)
		return err;
	if (node->gone)
		return -ESTALE;
	*nodep = node;
	return 0;
}

/* Where the block of a number is remembered, if it is. */
static struct fs_block *block_of(struct fs_txn *txn, u64 ino, u64 *nr)
{
	*nr = ino / FS_BLOCK_INOS + 1;
	return &txn->blocks[*nr % FS_BLOCKS];
}

void fs_nodes_handed_out(struct fs_txn *txn, u64 first, u32 n)
{
	u64 ino, nr, end = first + n;
	struct fs_block *block;

	for (ino = first; ino < end; ino = nr * FS_BLOCK_INOS) {
		block = block_of(txn, ino, &nr);
		if (block->block == nr)
			continue;
		block->block = nr;
		block->unused = ino;
	}
}

/* Is there an inode of that number? 1, 0 or an error. */
static int in_use(struct fs_txn *txn, u64 ino)
{
	struct fs_block *block;
	struct fs_inode in;
	u64 nr;
	int err;

	if (node_find(txn, ino))
		return 1;
	block = block_of(txn, ino, &nr);
	if (block->block == nr && ino >= block->unused) {
		block->unused = ino + 1;
		return 0;
	}
	err = inode_load(&txn->view, ino, &in);
	return err ? err == -ESTALE ? 0 : err : 1;
}

int fs_node_new(struct fs_txn *txn, u64 ino, struct fs_node **nodep)
{
	struct fs_inode in = { .ino = ino };
	struct fs_node *node;
	int r;

	if (ino <= ARCHIL_INO_ROOT || ino >= txn->counters.next_ino)
		return -EUCLEAN;
	r = in_use(txn, ino);
	if (r)
		return r < 0 ? r : -EUCLEAN;
	node = node_add(txn, &in);
	if (!node)
		return -ENOMEM;
	node->bare = txn->nr;
	fs_node_change(txn, node);
	txn->counters.inodes++;
	*nodep = node;
	return 0;
}

void fs_node_dirty(struct fs_txn *txn, struct fs_node *node)
{
	assert(txn->in_batch);
	if (node->dirty)
		return;
	node->dirty = true;
	LIST_INSERT_HEAD(&txn->dirty, node, dirty_link);
}

void fs_node_change(struct fs_txn *txn, struct fs_node *node)
{
	node->in.change = txn->nr;
	fs_node_dirty(txn, node);
}

void fs_node_gone(struct fs_txn *txn, struct fs_node *node)
{
	node->gone = true;
	fs_node_dirty(txn, node);
	txn->counters.inodes--;
}

static size_t item_of(const struct fs_node *node, u8 *item)
{
	return node->gone ? 0 : fs_inode_encode(&node->in, item);
}

static void node_clean(struct fs_txn *txn, struct fs_node *node)
{
	if (!node->dirty)
		return;
	LIST_REMOVE(node, dirty_link);
	node->dirty = false;
	if (node->gone)
		node_free(txn, node);
}

/* A pack of which all that is there is in the cache. */
static int flush_whole(struct fs_txn *txn, const struct fs_key *key, u64 first)
{
	struct fs_pack *pack = &txn->flushed;
	u8 item[FS_INODE_MAX];
	struct fs_node *node;
	size_t len;
	u64 ino;

	pack->len = 0;
	for (ino = first; ino < first + FS_PACK; ino++) {
		node = node_find(txn, ino);
		if (!node)
			continue;
		node->whole = true;
		len = item_of(node, item);
		if (len)
			fs_pack_add(pack, ino % FS_PACK, item, len);
		node_clean(txn, node);
	}
	return fs_pack_put(txn, key, pack);
}

/* Has each item of a pack a node? */
static bool all_there(struct fs_txn *txn, u64 first, const struct fs_pack *pack)
{
	struct fs_item item;
	size_t pos = 0;
	int r;

	while ((r = fs_pack_next(pack->b, pack->len, &pos, &item)) > 0)
		if (!node_find(txn, first + item.slot))
			return false;
	return !r;
}

/* All dirty ones that share a pack. */
static int flush_pack(struct fs_txn *txn, u64 first)
{
	struct fs_pack *pack = &txn->flushed;
	u8 item[FS_INODE_MAX];
	struct store_value val;
	struct fs_node *node;
	struct fs_key key;
	u64 ino;
	int err;

	fs_key_inode(&key, first);
	if (is_whole(txn, first))
		return flush_whole(txn, &key, first);
	err = fs_get(&txn->view, &key, &val);
	if (err == -ENOENT)
		return flush_whole(txn, &key, first);
	if (!err)
		err = fs_pack_load(pack, &val);
	for (ino = first; !err && ino < first + FS_PACK; ino++) {
		node = node_find(txn, ino);
		if (!node || !node->dirty)
			continue;
		err = fs_pack_set(pack, ino % FS_PACK, item, item_of(node, item));
		if (!err)
			node_clean(txn, node);
	}
	if (err)
		return err;
	if (all_there(txn, first, pack))
		set_whole(txn, first, true);
	return fs_pack_put(txn, &key, pack);
}

int fs_nodes_flush(struct fs_txn *txn)
{
	struct fs_node *node;
	int err;

	while ((node = LIST_FIRST(&txn->dirty))) {
		err = flush_pack(txn, node->in.ino - node->in.ino % FS_PACK);
		if (err)
			return err;
	}
	return 0;
}

void fs_nodes_forget(struct fs_txn *txn)
{
	struct fs_node *node;

	while ((node = LIST_FIRST(&txn->dirty))) {
		LIST_REMOVE(node, dirty_link);
		set_whole(txn, node->in.ino - node->in.ino % FS_PACK, false);
		node_free(txn, node);
	}
	txn->moves++;	/* what clean directories remember may rest on what is undone */
}

void fs_nodes_drop(struct fs_txn *txn)
{
	struct fs_node *node;
	size_t i;

	for (i = 0; i < txn->buckets; i++) {
		while ((node = txn->bucket[i])) {
			txn->bucket[i] = node->next;
			free(node);
		}
	}
	txn->nodes = 0;
	LIST_INIT(&txn->dirty);
	txn->moves++;
}

int fs_inode_read(struct fs_view *view, u64 ino, struct fs_inode *in)
{
	struct fs_node *node;
	int err;

	if (!view->txn)
		return inode_load(view, ino, in);
	err = fs_node_get(view->txn, ino, &node);
	if (!err)
		*in = node->in;
	return err;
}

/* ---- where an inode lies ---- */

static int chain_add(struct fs_chain *chain, u64 ino)
{
	size_t cap = chain->cap ? chain->cap * 2 : 16;
	u64 *p;

	if (chain->n == DEPTH_MAX)
		return -EBADMSG;
	if (chain->n == chain->cap) {
		p = realloc(chain->ino, cap * sizeof(*p));
		if (!p)
			return -ENOMEM;
		chain->ino = p;
		chain->cap = cap;
	}
	chain->ino[chain->n++] = ino;
	return 0;
}

int fs_chain(struct fs_view *view, u64 ino, struct fs_chain *chain)
{
	struct fs_inode in;
	size_t i;
	u64 swap;
	int err;

	chain->n = 0;
	for (;;) {
		err = fs_inode_read(view, ino, &in);
		if (err)	/* only the first may be missing */
			return err == -ESTALE && chain->n ? -EBADMSG : err;
		err = chain_add(chain, ino);
		if (err)
			return err;
		if (ino == ARCHIL_INO_ROOT || in.flags & ARCHIL_AF_ORPHAN)
			break;
		ino = in.parent;
	}
	for (i = 0; i < chain->n / 2; i++) {
		swap = chain->ino[i];
		chain->ino[i] = chain->ino[chain->n - 1 - i];
		chain->ino[chain->n - 1 - i] = swap;
	}
	return 0;
}

void fs_chain_free(struct fs_chain *chain)
{
	free(chain->ino);
	memset(chain, 0, sizeof(*chain));
}

static int verdict(const struct fs_inode *in, u64 deleg, u64 root, bool *done)
{
	*done = true;
	if (in->flags & ARCHIL_AF_ORPHAN)
		return in->orphan_of == deleg ? 0 : -EUCLEAN;
	if (in->ino == root)
		return 0;
	if (in->ino == ARCHIL_INO_ROOT)
		return -EUCLEAN;
	*done = false;
	return 0;
}

/*
 * Costs the depth once; then every directory on the way remembers that it lies
 * inside, for as long as no directory moves.
 */
int fs_node_inside(struct fs_txn *txn, struct fs_node *node, u64 deleg, u64 root)
{
	struct fs_node *at = node;
	unsigned int depth;
	bool done;
	int err;

	for (depth = 0; ; depth++) {
		if (depth == DEPTH_MAX)
			return -EBADMSG;
		if (at->inside == deleg && at->inside_moves == txn->moves)
			break;
		err = verdict(&at->in, deleg, root, &done);
		if (err)
			return err;
		if (done)
			break;
		err = fs_node_get(txn, at->in.parent, &at);
		if (err)
			return err == -ESTALE ? -EBADMSG : err;
	}
	while (node != at) {
		if (S_ISDIR(node->in.mode)) {
			node->inside = deleg;
			node->inside_moves = txn->moves;
		}
		err = fs_node_get(txn, node->in.parent, &node);
		if (err)
			return err;
	}
	return 0;
}

int fs_inside(struct fs_view *view, u64 ino, u64 deleg, u64 root)
{
	unsigned int depth;
	struct fs_inode in;
	bool done;
	int err;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		err = fs_inode_read(view, ino, &in);
		if (err)
			return err == -ESTALE && depth ? -EBADMSG : err;
		err = verdict(&in, deleg, root, &done);
		if (err || done)
			return err;
		ino = in.parent;
	}
	return -EBADMSG;
}

int fs_orphan_of(struct fs_view *view, u64 ino, u64 *deleg)
{
	struct fs_inode in;
	int err = fs_inode_read(view, ino, &in);

	if (!err)
		*deleg = in.orphan_of;
	return err;
}

int fs_writer(struct fs_view *view, u64 ino, u64 *deleg)
{
	struct fs_inode in;
	int err = fs_inode_read(view, ino, &in);

	if (!err)
		*deleg = in.writer;
	return err;
}

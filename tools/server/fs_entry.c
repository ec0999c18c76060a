// SPDX-License-Identifier: GPL-2.0
/*
 * Entries: in packs, by their cookies; and found by name, by way of the hash table.
 *
 * 1. The committer keeps the pack that it used last, and puts it into its batch when it comes to
 *    another: what changes a directory mostly goes through it in the order of its cookies. So it
 *    does with the bucket (fs_hash.c). At the end of a batch, and before somebody reads entries in
 *    its view, they are put there: fs_names_settle().
 * 2. A directory is *bare* while none of its names is committed: then only the batch is asked.
 */
#include "fs_priv.h"

int fs_entry_at(struct fs_view *view, u64 dir, u64 cookie, struct store_value *val,
		struct fs_entry *entry, const char **name, size_t *len)
{
	struct fs_item item;
	struct fs_key key;
	int err;

	err = view->txn ? fs_names_settle(view->txn) : 0;
	if (err)
		return err;
	fs_key_entry(&key, dir, cookie);
	err = fs_item_get(view, &key, cookie % FS_PACK, val, &item);
	if (err)
		return err;
	entry->dir = dir;
	entry->cookie = cookie;
	err = fs_entry_decode(&item, entry, name, len);
	if (err)
		store_value_put(val);
	return err;
}

/* Is it of that name? -ENOENT: no. */
static int at_is(struct fs_view *view, u64 dir, u64 cookie, const char *name, size_t len,
		 struct fs_entry *entry)
{
	struct store_value val;
	const char *has;
	size_t has_len;
	int err;

	err = fs_entry_at(view, dir, cookie, &val, entry, &has, &has_len);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (has_len != len || memcmp(has, name, len))
		err = -ENOENT;
	store_value_put(&val);
	return err;
}

int fs_entry_find(struct fs_view *view, const struct fs_inode *dir, const char *name, size_t len,
		  struct fs_entry *entry)
{
	const struct fs_hashed *item;
	struct store_value val;
	size_t i, n;
	u32 hash;
	int err;

	if (!len || len > ARCHIL_NAME_LEN || !dir->entries)
		return -ENOENT;
	hash = fs_hash(view->fs, name, len);
	err = fs_hash_get(view, dir, hash, &val, &n);
	if (err)
		return err;
	item = val.data;
	err = -ENOENT;
	for (i = 0; i < n && err == -ENOENT; i++)
		if (le32_to_cpu(item[i].hash) == hash)
			err = at_is(view, dir->ino, le64_to_cpu(item[i].cookie), name, len, entry);
	store_value_put(&val);
	return err;
}

/* ---- the committer's ---- */

static int settle(struct fs_txn *txn)
{
	struct fs_pack_used *used = &txn->pack_used;
	int err;

	if (!used->dirty)
		return 0;
	err = fs_pack_put(txn, &used->key, &used->pack);
	if (!err)
		used->dirty = false;
	return err;
}

int fs_names_settle(struct fs_txn *txn)
{
	int err = settle(txn);

	return err ? err : fs_hash_settle(txn);
}

void fs_names_forget(struct fs_txn *txn)
{
	txn->pack_used.key.len = 0;
	txn->pack_used.dirty = false;
	fs_hash_forget(&txn->bucket_used);
}

int fs_node_names_get(struct fs_txn *txn, struct fs_node *dir, const struct fs_key *key,
		      struct store_value *val)
{
	int err;

	if (dir->bare != txn->nr)
		return fs_get(&txn->view, key, val);
	err = fs_get_own(txn, key, val);
	return err == -ENODATA ? -ENOENT : err;
}

/* Makes the pack of a cookie the one that is used. */
static int use(struct fs_txn *txn, struct fs_node *dir, u64 cookie)
{
	struct fs_pack_used *used = &txn->pack_used;
	struct store_value val;
	struct fs_key key;
	int err;

	fs_key_entry(&key, dir->in.ino, cookie);
	if (used->key.len == key.len && !memcmp(used->key.b, key.b, key.len))
		return 0;
	err = settle(txn);
	if (err)
		return err;
	used->key.len = 0;
	used->pack.len = 0;
	err = fs_node_names_get(txn, dir, &key, &val);
	if (!err)
		err = fs_pack_load(&used->pack, &val);
	if (err && err != -ENOENT)
		return err;
	used->key = key;
	return 0;
}

/* The entry of that cookie is what is given; without a length there is none. */
static int set(struct fs_txn *txn, struct fs_node *dir, u64 cookie, const u8 *data, size_t len)
{
	struct fs_pack_used *used = &txn->pack_used;
	int err = use(txn, dir, cookie);

	if (!err)
		err = fs_pack_set(&used->pack, cookie % FS_PACK, data, len);
	if (!err)
		used->dirty = true;
	return err;
}

int fs_node_entry(struct fs_txn *txn, struct fs_node *dir, const char *name, size_t len,
		  struct fs_entry *entry)
{
	const struct fs_bucket *bucket = &txn->bucket_used;
	const struct fs_pack *pack = &txn->pack_used.pack;
	struct fs_item item;
	const char *has;
	size_t i, has_len;
	u32 hash;
	int r;

	if (!len || len > ARCHIL_NAME_LEN)
		return -ENOENT;
	/* empty, and not yet changed in this transaction */
	if (!dir->in.entries && dir->in.change != txn->nr)
		dir->bare = txn->nr;
	hash = fs_hash(txn->fs, name, len);
	r = fs_hash_use(txn, dir, hash);
	for (i = 0; !r && i < bucket->n; i++) {
		if (le32_to_cpu(bucket->item[i].hash) != hash)
			continue;
		entry->dir = dir->in.ino;
		entry->cookie = le64_to_cpu(bucket->item[i].cookie);
		r = use(txn, dir, entry->cookie);
		if (r)
			break;
		r = fs_pack_find(pack->b, pack->len, entry->cookie % FS_PACK, &item);
		r = r > 0 ? fs_entry_decode(&item, entry, &has, &has_len) : -EBADMSG;
		if (!r && has_len == len && !memcmp(has, name, len))
			return 0;
	}
	return r ? r : -ENOENT;
}

int fs_node_enter(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		  const char *name, size_t len)
{
	int err;

	dir->in.entries++;
	err = fs_node_reenter(txn, dir, entry, name, len);
	return err ? err : fs_hash_add(txn, dir, fs_hash(txn->fs, name, len), entry->cookie);
}

int fs_node_reenter(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		    const char *name, size_t len)
{
	u8 buf[FS_ITEM_MAX];

	return set(txn, dir, entry->cookie, buf, fs_entry_encode(entry, name, len, buf));
}

int fs_node_leave(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		  const char *name, size_t len)
{
	int err;

	dir->in.entries--;
	err = set(txn, dir, entry->cookie, NULL, 0);
	return err ? err : fs_hash_del(txn, dir, fs_hash(txn->fs, name, len), entry->cookie);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Names of a directory by their hashes: a table that grows by one bucket at a time (linear
 * hashing), each bucket a key of the store.
 *
 * 1. A directory with n splits has the buckets 0 to n; where a hash lies, and what a new bucket
 *    takes from which, is as in memory (htable.c, rules 1 and 2).
 * 2. A bucket has the hash and the cookie of each of its entries; the name is with the entry
 *    (fs_entry.c). One without entries has no key.
 * 3. When there are more than FS_BUCKET entries for each bucket, one is added. A directory without
 *    entries has one.
 * 4. Hashes are SipHash with a key of the disk's own.
 * 5. The committer keeps the bucket that it used last: fs_entry.c, rule 1.
 */
#include <sodium/crypto_shorthash.h>
#include <stdlib.h>

#include "fs_priv.h"
#include "htable.h"

_Static_assert(FS_HASH_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash");

u32 fs_hash(const struct fs *fs, const char *name, size_t len)
{
	u8 out[crypto_shorthash_BYTES];
	__le32 low;

	crypto_shorthash(out, (const u8 *)name, len, fs->hash_key);
	memcpy(&low, out, sizeof(low));
	return le32_to_cpu(low);
}

static u64 bucket_of(u64 splits, u32 hash)
{
	return htable_bucket(splits + 1, hash);
}

int fs_hashed_decode(const struct store_value *val, size_t *n)
{
	if (!val->len || val->len % sizeof(struct fs_hashed))
		return -EBADMSG;
	*n = val->len / sizeof(struct fs_hashed);
	return 0;
}

int fs_hash_get(struct fs_view *view, const struct fs_inode *dir, u32 hash,
		struct store_value *val, size_t *n)
{
	struct fs_key key;
	int err;

	err = view->txn ? fs_names_settle(view->txn) : 0;
	if (err)
		return err;
	fs_key2(&key, FS_HASH, dir->ino, bucket_of(dir->splits, hash));
	err = fs_get(view, &key, val);
	if (err)
		return err;
	err = fs_hashed_decode(val, n);
	if (err)
		store_value_put(val);
	return err;
}

/* ---- the committer's ---- */

void fs_hash_forget(struct fs_bucket *bucket)
{
	bucket->dir = 0;
	bucket->dirty = false;
}

static int bucket_room(struct fs_bucket *bucket, size_t n)
{
	struct fs_hashed *p;

	if (n <= bucket->max)
		return 0;
	n += FS_BUCKET;
	p = realloc(bucket->item, n * sizeof(*p));
	if (!p)
		return -ENOMEM;
	bucket->item = p;
	bucket->max = n;
	return 0;
}

static int bucket_read(struct fs_bucket *bucket, struct store_value *val)
{
	int err = fs_hashed_decode(val, &bucket->n);

	if (!err)
		err = bucket_room(bucket, bucket->n);
	if (!err)
		memcpy(bucket->item, val->data, val->len);
	store_value_put(val);
	return err;
}

static int put(struct fs_txn *txn, u64 dir, u64 nr, const struct fs_hashed *item, size_t n)
{
	struct fs_key key;

	fs_key2(&key, FS_HASH, dir, nr);
	return fs_rewrite(txn, &key, item, n * sizeof(*item));
}

int fs_hash_settle(struct fs_txn *txn)
{
	struct fs_bucket *bucket = &txn->bucket_used;
	int err;

	if (!bucket->dirty)
		return 0;
	err = put(txn, bucket->dir, bucket->nr, bucket->item, bucket->n);
	if (!err)
		bucket->dirty = false;
	return err;
}

/* Makes a bucket the one that is used. */
static int use(struct fs_txn *txn, struct fs_node *dir, u64 nr)
{
	struct fs_bucket *bucket = &txn->bucket_used;
	struct store_value val;
	struct fs_key key;
	int err;

	if (bucket->dir == dir->in.ino && bucket->nr == nr)
		return 0;
	err = fs_hash_settle(txn);
	if (err)
		return err;
	bucket->dir = 0;
	bucket->n = 0;
	fs_key2(&key, FS_HASH, dir->in.ino, nr);
	err = fs_node_names_get(txn, dir, &key, &val);
	if (!err)
		err = bucket_read(bucket, &val);
	if (err && err != -ENOENT)
		return err;
	bucket->dir = dir->in.ino;
	bucket->nr = nr;
	return 0;
}

int fs_hash_use(struct fs_txn *txn, struct fs_node *dir, u32 hash)
{
	return use(txn, dir, bucket_of(dir->in.splits, hash));
}

/* Rule 3. */
static int split(struct fs_txn *txn, struct fs_node *dir)
{
	struct fs_bucket *bucket = &txn->bucket_used;
	u64 nr = dir->in.splits + 1, from = htable_bucket(nr, nr);
	struct fs_hashed item;
	size_t i = 0, stay;
	int err;

	err = use(txn, dir, from);
	if (err)
		return err;
	dir->in.splits++;
	for (stay = bucket->n; i < stay; ) {
		item = bucket->item[i];
		if (bucket_of(dir->in.splits, le32_to_cpu(item.hash)) == from) {
			i++;
			continue;
		}
		bucket->item[i] = bucket->item[--stay];
		bucket->item[stay] = item;
	}
	if (stay == bucket->n)
		return 0;
	err = put(txn, dir->in.ino, nr, bucket->item + stay, bucket->n - stay);
	bucket->n = stay;
	bucket->dirty = true;
	return err;
}

int fs_hash_add(struct fs_txn *txn, struct fs_node *dir, u32 hash, u64 cookie)
{
	struct fs_bucket *bucket = &txn->bucket_used;
	int err = fs_hash_use(txn, dir, hash);

	if (!err)
		err = bucket_room(bucket, bucket->n + 1);
	if (err)
		return err;
	bucket->item[bucket->n++] = (struct fs_hashed){
		.hash = cpu_to_le32(hash), .cookie = cpu_to_le64(cookie),
	};
	bucket->dirty = true;
	if (dir->in.entries <= FS_BUCKET * (dir->in.splits + 1) ||
	    dir->in.splits + 1 == FS_SPLITS_MAX)
		return 0;
	return split(txn, dir);
}

int fs_hash_del(struct fs_txn *txn, struct fs_node *dir, u32 hash, u64 cookie)
{
	struct fs_bucket *bucket = &txn->bucket_used;
	int err = fs_hash_use(txn, dir, hash);
	struct fs_hashed *item;
	size_t i;

	if (err)
		return err;
	for (i = 0; i < bucket->n; i++) {
		item = &bucket->item[i];
		if (le32_to_cpu(item->hash) == hash && le64_to_cpu(item->cookie) == cookie)
			break;
	}
	if (i == bucket->n)
		return -EBADMSG;
	*item = bucket->item[--bucket->n];
	bucket->dirty = true;
	if (!dir->in.entries)
		dir->in.splits = 0;
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/* A disk's namespace: format, open, views, and access to keys. */
#include <stdlib.h>
#include <sys/random.h>

#include "fs_priv.h"

#define DISK_MODE	(S_IFDIR | 0755)

/* ---- keys ---- */

/* Damage has one number here; EUCLEAN is what a client's record gets. */
static int from_store(int err)
{
	return err == -EUCLEAN ? -EBADMSG : err;
}

int fs_get(struct fs_view *view, const struct fs_key *key, struct store_value *val)
{
	struct fs *fs = view->fs;

	if (view->txn)
		return from_store(store_batch_get(fs->batch, key->b, key->len, val));
	return from_store(store_get(fs->store, view->snap, key->b, key->len, val));
}

int fs_get_own(struct fs_txn *txn, const struct fs_key *key, struct store_value *val)
{
	return from_store(store_batch_get_own(txn->fs->batch, key->b, key->len, val));
}

int fs_put(struct fs_txn *txn, const struct fs_key *key, const void *val, size_t len)
{
	return store_batch_put(txn->fs->batch, key->b, key->len, val, len);
}

int fs_rewrite(struct fs_txn *txn, const struct fs_key *key, const void *val, size_t len)
{
	if (!len)
		return fs_del(txn, key);
	return store_batch_rewrite(txn->fs->batch, key->b, key->len, val, len);
}

int fs_del(struct fs_txn *txn, const struct fs_key *key)
{
	return store_batch_delete(txn->fs->batch, key->b, key->len);
}

int fs_has(struct fs_view *view, const struct fs_key *key)
{
	struct store_value val;
	int err = fs_get(view, key, &val);

	if (err)
		return err == -ENOENT ? 0 : err;
	store_value_put(&val);
	return 1;
}

int fs_item_get(struct fs_view *view, const struct fs_key *key, unsigned int slot,
		struct store_value *val, struct fs_item *item)
{
	int r = fs_get(view, key, val);

	if (r)
		return r;
	r = fs_pack_find(val->data, val->len, slot, item);
	if (r > 0)
		return 0;
	store_value_put(val);
	return r ? r : -ENOENT;
}

int fs_pack_load(struct fs_pack *pack, struct store_value *val)
{
	int err = 0;

	if (val->len <= sizeof(pack->b)) {
		memcpy(pack->b, val->data, val->len);
		pack->len = val->len;
	} else {
		err = -EBADMSG;
	}
	store_value_put(val);
	return err;
}

int fs_pack_put(struct fs_txn *txn, const struct fs_key *key, const struct fs_pack *pack)
{
	return fs_rewrite(txn, key, pack->b, pack->len);
}

int fs_scan_open(struct fs_view *view, const struct fs_key *prefix, struct fs_scan *scan)
{
	struct fs *fs = view->fs;

	scan->start = *prefix;
	fs_key_end(&scan->end, prefix);
	if (view->txn)
		scan->it = store_batch_iter_open(fs->batch, scan->end.b, scan->end.len);
	else
		scan->it = store_iter_open(fs->store, view->snap, scan->end.b, scan->end.len);
	return scan->it ? 0 : -ENOMEM;
}

void fs_scan_close(struct fs_scan *scan)
{
	store_iter_close(scan->it);
}

static int scan_at(struct fs_scan *scan, int r)
{
	if (r <= 0)
		return from_store(r);
	scan->key = store_iter_key(scan->it, &scan->key_len);
	scan->val = store_iter_value(scan->it, &scan->val_len);
	return 1;
}

int fs_scan_first(struct fs_scan *scan, const struct fs_key *from)
{
	const struct fs_key *key = from ? from : &scan->start;

	return scan_at(scan, store_iter_seek(scan->it, key->b, key->len));
}

int fs_scan_next(struct fs_scan *scan)
{
	return scan_at(scan, store_iter_next(scan->it));
}

/* ---- a disk ---- */

static void set_verifier(struct fs_disk_val *val, const struct scram_verifier *verifier)
{
	memcpy(val->salt, verifier->salt, sizeof(val->salt));
	memcpy(val->stored_key, verifier->stored_key, sizeof(val->stored_key));
	memcpy(val->server_key, verifier->server_key, sizeof(val->server_key));
}

static int disk_decode(const struct store_value *raw, struct fs_disk_val *val)
{
	__le32 version;

	if (raw->len < sizeof(version))
		return -EBADMSG;
	memcpy(&version, raw->data, sizeof(version));
	if (le32_to_cpu(version) != FS_FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (raw->len != sizeof(*val))
		return -EBADMSG;
	memcpy(val, raw->data, sizeof(*val));
	return 0;
}

static int put(struct store_batch *batch, const struct fs_key *key, const void *val, size_t len)
{
	return store_batch_put(batch, key->b, key->len, val, len);
}

int fs_format(struct store *store, const struct scram_verifier *verifier, u64 now)
{
	struct archil_time time = {
		.sec = cpu_to_le64(now / 1000000000),
		.nsec = cpu_to_le32(now % 1000000000),
	};
	struct fs_counters counters = {
		.next_ino = ARCHIL_INO_ROOT + 1,
		.next_deleg = 1,
		.next_session = 1,
		.next_intent = 1,
		.inodes = 1,
	};
	struct fs_inode root = {
		.ino = ARCHIL_INO_ROOT,
		.parent = ARCHIL_INO_ROOT,
		.next_cookie = ARCHIL_COOKIE_FIRST,
		.atime = time, .mtime = time, .ctime = time, .btime = time,
		.mode = DISK_MODE,
		.nlink = 2,
	};
	struct fs_disk_val disk = {
		.version = cpu_to_le32(FS_FORMAT_VERSION),
		.created = cpu_to_le64(now),
	};
	struct fs_counters_val counters_val;
	struct fs_pack pack = { 0 };
	u8 root_item[FS_INODE_MAX];
	struct store_batch *batch;
	struct store_value val;
	struct fs_key key;
	int err;

	if (getrandom(disk.hash_key, sizeof(disk.hash_key), 0) != sizeof(disk.hash_key))
		return -EIO;
	fs_key0(&key, FS_DISK);
	err = store_get(store, NULL, key.b, key.len, &val);
	if (!err) {
		store_value_put(&val);
		return -EEXIST;
	}
	if (err != -ENOENT)
		return from_store(err);
	batch = store_batch_new(store);
	if (!batch)
		return -ENOMEM;
	root.change = store_batch_nr(batch);

	set_verifier(&disk, verifier);
	err = put(batch, &key, &disk, sizeof(disk));
	if (err)
		goto out_batch;
	fs_key0(&key, FS_COUNTERS);
	fs_counters_encode(&counters, &counters_val);
	err = put(batch, &key, &counters_val, sizeof(counters_val));
	if (err)
		goto out_batch;
	fs_key_inode(&key, ARCHIL_INO_ROOT);
	err = fs_pack_set(&pack, ARCHIL_INO_ROOT % FS_PACK, root_item,
			  fs_inode_encode(&root, root_item));
	if (!err)
		err = put(batch, &key, pack.b, pack.len);
	if (err)
		goto out_batch;
	err = store_batch_commit(batch);
out_batch:
	store_batch_free(batch);
	return err;
}

static int disk_get(struct fs_view *view, struct fs_disk_val *disk)
{
	struct store_value val;
	struct fs_key key;
	int err;

	fs_key0(&key, FS_DISK);
	err = fs_get(view, &key, &val);
	if (err)
		return err;
	err = disk_decode(&val, disk);
	store_value_put(&val);
	return err;
}

int fs_disk_info(struct fs_view *view, struct fs_disk_info *info)
{
	struct fs_counters counters;
	struct store_value val;
	struct fs_disk_val disk;
	struct fs_key key;
	int err;

	err = disk_get(view, &disk);
	if (err)
		return err;
	if (view->txn) {
		counters = view->txn->counters;
	} else {
		fs_key0(&key, FS_COUNTERS);
		err = fs_get(view, &key, &val);
		if (err)
			return err == -ENOENT ? -EBADMSG : err;
		err = fs_counters_decode(val.data, val.len, &counters);
		store_value_put(&val);
		if (err)
			return err;
	}
	memcpy(info->verifier.salt, disk.salt, sizeof(disk.salt));
	memcpy(info->verifier.stored_key, disk.stored_key, sizeof(disk.stored_key));
	memcpy(info->verifier.server_key, disk.server_key, sizeof(disk.server_key));
	info->created = le64_to_cpu(disk.created);
	info->inodes = counters.inodes;
	info->next_ino = counters.next_ino;
	info->next_deleg = counters.next_deleg;
	info->next_session = counters.next_session;
	return 0;
}

int fs_set_verifier(struct fs_txn *txn, const struct scram_verifier *verifier)
{
	struct fs_disk_val val;
	struct fs_key key;
	int err;

	err = disk_get(&txn->view, &val);
	if (err)
		return err;
	set_verifier(&val, verifier);
	fs_key0(&key, FS_DISK);
	return fs_put(txn, &key, &val, sizeof(val));
}

/* The counters as they are in the store, and the format version checked. */
static int load(struct fs *fs)
{
	struct fs_txn *txn = &fs->txn;
	struct fs_disk_val disk;
	struct store_statfs st;
	struct store_value val;
	struct fs_view *view;
	struct fs_key key;
	int err;

	err = store_statfs(fs->store, &st);
	if (err)
		return err;
	fs->max_file_size = st.max_file_size;
	view = fs_view_get(fs);
	if (!view)
		return -ENOMEM;
	err = disk_get(view, &disk);
	if (err)
		goto out_view;
	memcpy(fs->hash_key, disk.hash_key, sizeof(fs->hash_key));
	fs_key0(&key, FS_COUNTERS);
	err = fs_get(view, &key, &val);
	if (err)
		goto out_view;
	err = fs_counters_decode(val.data, val.len, &txn->counters);
	store_value_put(&val);
	txn->committed = txn->counters;
out_view:
	fs_view_put(view);
	return err;
}

int fs_open(struct store *store, struct fs **fsp)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	struct fs_txn *txn;
	int err;

	if (!fs)
		return -ENOMEM;
	fs->store = store;
	pthread_mutex_init(&fs->lock, NULL);
	txn = &fs->txn;
	txn->fs = fs;
	txn->view.fs = fs;
	txn->view.txn = txn;
	LIST_INIT(&txn->dirty);
	STAILQ_INIT(&txn->intents);
	STAILQ_INIT(&txn->batch_intents);
	err = fs_nodes_init(txn);
	if (!err)
		err = load(fs);
	if (err)
		goto out_free;
	fs->batch = store_batch_new(store);
	if (!fs->batch) {
		err = -ENOMEM;
		goto out_free;
	}
	*fsp = fs;
	return 0;

out_free:
	fs_close(fs);
	return err;
}

void fs_close(struct fs *fs)
{
	struct fs_intents intents = STAILQ_HEAD_INITIALIZER(intents);
	struct fs_intent *intent;

	if (!fs)
		return;
	fs_txn_intents(&fs->txn, &intents);
	while ((intent = STAILQ_FIRST(&intents))) {
		STAILQ_REMOVE_HEAD(&intents, link);
		free(intent);
	}
	fs_nodes_drop(&fs->txn);
	free(fs->txn.bucket);
	free(fs->txn.links.ino);
	free(fs->txn.released.ino);
	free(fs->txn.bucket_used.item);
	if (fs->current)
		fs_view_put(fs->current);
	if (fs->batch)
		store_batch_free(fs->batch);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

/* ---- views ---- */

static struct fs_view *view_make(struct fs *fs)
{
	struct fs_view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	view->fs = fs;
	view->refs = 1;
	view->snap = store_snapshot(fs->store);
	if (!view->snap)
		goto out_free;
	if (store_commit_nr(fs->store, view->snap, &view->commit))
		goto out_snap;
	return view;

out_snap:
	store_snap_put(view->snap);
out_free:
	free(view);
	return NULL;
}

struct fs_view *fs_view_get(struct fs *fs)
{
	struct fs_view *view;

	pthread_mutex_lock(&fs->lock);
	if (!fs->current)
		fs->current = view_make(fs);
	view = fs->current;
	if (view)
		__atomic_add_fetch(&view->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&fs->lock);
	return view;
}

void fs_view_put(struct fs_view *view)
{
	if (__atomic_sub_fetch(&view->refs, 1, __ATOMIC_ACQ_REL))
		return;
	store_snap_put(view->snap);
	free(view);
}

u64 fs_view_commit(const struct fs_view *view)
{
	return view->commit;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Keys and values over RocksDB: get, iterate, snapshot, the committer's batch.
 *
 * That what readers see is on stable storage (store.h, rule 1) rests on this: in
 * RocksDB's plain write path (neither pipelined nor unordered nor two queues)
 * the one writer appends to the log, syncs it (WriteOptions.sync), then
 * changes the memtable, then publishes the new sequence number; readers look
 * only below that number. A failed append or sync ends before the memtable.
 * At open, what is recovered from the logs is written to synced tables before
 * the open returns.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "store_local.h"

struct store_snap {
	struct store *store;
	const rocksdb_snapshot_t *snapshot;
	rocksdb_readoptions_t *read;
};

struct store_batch {
	struct store *store;
	rocksdb_writebatch_wi_t *wi;
	uint64_t changes;	/* moves with each change, for iterators */
	bool empty;
};

struct store_iter {
	struct store *store;
	struct store_batch *batch;	/* NULL: committed state */
	uint64_t seen;			/* batch->changes when the engine's iterator was made */
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *it;
	char *key;			/* batch: where it stands */
	size_t klen, space;
	bool placed;
	char *hi;
	size_t hilen;
};

/* Our own keys begin with byte 0; nobody else's may. */
static const char commit_key[] = "\0commit";
static const char first_key[] = "\1";

/*
 * Ends the log record of each commit with bytes that are not zero; see rule 3 in
 * store_local_log.c. Exists in the log only.
 */
static const char commit_end[] = "archil-commit-end";

static bool key_good(const void *key, size_t klen)
{
	return klen && klen <= STORE_KEY_MAX && *(const char *)key;
}

void store_value_put(struct store_value *val)
{
	if (val->pin)
		rocksdb_pinnableslice_destroy(val->pin);
	rocksdb_free(val->buf);
	memset(val, 0, sizeof(*val));
}

/* ---- committed state -------------------------------------------------------- */

struct store_snap *store_snapshot(struct store *store)
{
	struct store_snap *snap = calloc(1, sizeof(*snap));

	if (!snap)
		return NULL;
	snap->store = store;
	snap->snapshot = rocksdb_create_snapshot(store->db);
	snap->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_snapshot(snap->read, snap->snapshot);
	return snap;
}

void store_snap_put(struct store_snap *snap)
{
	if (!snap)
		return;
	rocksdb_readoptions_destroy(snap->read);
	rocksdb_release_snapshot(snap->store->db, snap->snapshot);
	free(snap);
}

static int get_pinned(struct store *store, rocksdb_readoptions_t *read, const void *key,
		      size_t klen, struct store_value *val)
{
	char *err = NULL;

	memset(val, 0, sizeof(*val));
	val->pin = rocksdb_get_pinned(store->db, read, key, klen, &err);
	if (err)
		return store_engine_error(store, "cannot read a key", err);
	if (!val->pin)
		return -ENOENT;
	val->data = rocksdb_pinnableslice_value(val->pin, &val->len);
	return 0;
}

int store_get(struct store *store, struct store_snap *snap, const void *key, size_t klen,
	      struct store_value *val)
{
	if (!key_good(key, klen))
		return -EINVAL;
	return get_pinned(store, snap ? snap->read : store->read, key, klen, val);
}

int store_read_commit_nr(struct store *store, rocksdb_readoptions_t *read, uint64_t *nr)
{
	struct store_value val;
	int err = get_pinned(store, read, commit_key, sizeof(commit_key) - 1, &val);
	uint64_t le;

	*nr = 0;
	if (err)
		return err == -ENOENT ? 0 : err;
	if (val.len == sizeof(le)) {
		memcpy(&le, val.data, sizeof(le));
		*nr = le64toh(le);
	} else {
		err = store_fail(store, -EUCLEAN, "the number of the last commit has %zu bytes",
				 val.len);
	}
	store_value_put(&val);
	return err;
}

int store_commit_nr(struct store *store, struct store_snap *snap, uint64_t *nr)
{
	if (snap)
		return store_read_commit_nr(store, snap->read, nr);
	*nr = atomic_load(&store->commit_nr);
	return 0;
}

/* ---- iterators -------------------------------------------------------------- */

static struct store_iter *iter_new(struct store *store, struct store_batch *batch,
				   const struct store_snap *snap, const void *hi, size_t hilen)
{
	struct store_iter *it = calloc(1, sizeof(*it));

	if (!it)
		return NULL;
	it->store = store;
	it->batch = batch;
	if (hilen) {
		it->hi = malloc(hilen);
		if (!it->hi) {
			free(it);
			return NULL;
		}
		memcpy(it->hi, hi, hilen);
		it->hilen = hilen;
	}
	it->read = rocksdb_readoptions_create();
	if (snap)
		rocksdb_readoptions_set_snapshot(it->read, snap->snapshot);
	if (hilen)
		rocksdb_readoptions_set_iterate_upper_bound(it->read, it->hi, hilen);
	it->it = rocksdb_create_iterator(store->db, it->read);
	if (batch) {
		it->it = rocksdb_writebatch_wi_create_iterator_with_base(batch->wi, it->it);
		it->seen = batch->changes;
	}
	return it;
}

struct store_iter *store_iter_open(struct store *store, struct store_snap *snap, const void *hi,
				   size_t hilen)
{
	return iter_new(store, NULL, snap, hi, hilen);
}

struct store_iter *store_batch_iter_open(struct store_batch *batch, const void *hi, size_t hilen)
{
	return iter_new(batch->store, batch, NULL, hi, hilen);
}

void store_iter_close(struct store_iter *it)
{
	if (!it)
		return;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it->key);
	free(it->hi);
	free(it);
}

static int compare(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c ? c : (alen > blen) - (alen < blen);
}

static int keep_key(struct store_iter *it, const char *key, size_t klen)
{
	if (klen > it->space) {
		char *more = realloc(it->key, klen);

		if (!more)
			return -ENOMEM;
		it->key = more;
		it->space = klen;
	}
	memcpy(it->key, key, klen);
	it->klen = klen;
	return 0;
}

/* Where the engine's iterator stands: 1, 0 or an errno. */
static int settle(struct store_iter *it)
{
	const char *key;
	char *err = NULL;
	size_t klen;

	it->placed = false;
	if (!rocksdb_iter_valid(it->it)) {
		rocksdb_iter_get_error(it->it, &err);
		return err ? store_engine_error(it->store, "cannot read on", err) : 0;
	}
	key = rocksdb_iter_key(it->it, &klen);
	if (!*key)
		return 0;
	/* the engine bounds the committed keys only */
	if (it->hilen && compare(key, klen, it->hi, it->hilen) >= 0)
		return 0;
	if (it->batch && keep_key(it, key, klen))
		return -ENOMEM;
	it->placed = true;
	return 1;
}

/* The engine's iterators do not outlive a change of the batch. */
static void renew(struct store_iter *it)
{
	rocksdb_iterator_t *base;

	if (!it->batch || it->seen == it->batch->changes)
		return;
	rocksdb_iter_destroy(it->it);
	base = rocksdb_create_iterator(it->store->db, it->read);
	it->it = rocksdb_writebatch_wi_create_iterator_with_base(it->batch->wi, base);
	it->seen = it->batch->changes;
}

int store_iter_seek(struct store_iter *it, const void *key, size_t klen)
{
	renew(it);
	if (!klen || !*(const char *)key) {
		key = first_key;
		klen = 1;
	}
	rocksdb_iter_seek(it->it, key, klen);
	return settle(it);
}

int store_iter_seek_before(struct store_iter *it, const void *key, size_t klen)
{
	size_t len;

	renew(it);
	if (it->hilen && compare(key, klen, it->hi, it->hilen) > 0) {
		key = it->hi;
		klen = it->hilen;
	}
	rocksdb_iter_seek_for_prev(it->it, key, klen);
	if (rocksdb_iter_valid(it->it)) {
		const char *at = rocksdb_iter_key(it->it, &len);

		if (!compare(at, len, key, klen))
			rocksdb_iter_prev(it->it);
	}
	return settle(it);
}

int store_iter_next(struct store_iter *it)
{
	size_t klen;
	const char *key;

	if (!it->placed)
		return 0;
	if (!it->batch || it->seen == it->batch->changes) {
		rocksdb_iter_next(it->it);
		return settle(it);
	}
	renew(it);
	rocksdb_iter_seek(it->it, it->key, it->klen);
	if (rocksdb_iter_valid(it->it)) {
		key = rocksdb_iter_key(it->it, &klen);
		if (!compare(key, klen, it->key, it->klen))
			rocksdb_iter_next(it->it);
	}
	return settle(it);
}

const void *store_iter_key(const struct store_iter *it, size_t *klen)
{
	return rocksdb_iter_key(it->it, klen);
}

const void *store_iter_value(const struct store_iter *it, size_t *vlen)
{
	return rocksdb_iter_value(it->it, vlen);
}

/* ---- the batch -------------------------------------------------------------- */

struct store_batch *store_batch_new(struct store *store)
{
	struct store_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	batch->store = store;
	batch->wi = rocksdb_writebatch_wi_create(0, 1);
	batch->empty = true;
	return batch;
}

void store_batch_free(struct store_batch *batch)
{
	if (!batch)
		return;
	rocksdb_writebatch_wi_destroy(batch->wi);
	free(batch);
}

int store_batch_get(struct store_batch *batch, const void *key, size_t klen,
		    struct store_value *val)
{
	struct store *store = batch->store;
	char *err = NULL;

	memset(val, 0, sizeof(*val));
	if (!key_good(key, klen))
		return -EINVAL;
	val->buf = rocksdb_writebatch_wi_get_from_batch_and_db(batch->wi, store->db, store->read,
							       key, klen, &val->len, &err);
	if (err)
		return store_engine_error(store, "cannot read a key", err);
	if (!val->buf)
		return -ENOENT;
	val->data = val->buf;
	return 0;
}

int store_batch_put(struct store_batch *batch, const void *key, size_t klen, const void *val,
		    size_t vlen)
{
	if (!key_good(key, klen) || vlen > STORE_VALUE_MAX)
		return -EINVAL;
	rocksdb_writebatch_wi_put(batch->wi, key, klen, vlen ? val : "", vlen);
	batch->changes++;
	batch->empty = false;
	return 0;
}

int store_batch_delete(struct store_batch *batch, const void *key, size_t klen)
{
	if (!key_good(key, klen))
		return -EINVAL;
	rocksdb_writebatch_wi_delete(batch->wi, key, klen);
	batch->changes++;
	batch->empty = false;
	return 0;
}

void store_batch_savepoint(struct store_batch *batch)
{
	rocksdb_writebatch_wi_set_save_point(batch->wi);
}

int store_batch_rollback(struct store_batch *batch)
{
	char *err = NULL;

	rocksdb_writebatch_wi_rollback_to_save_point(batch->wi, &err);
	if (err) {
		rocksdb_free(err);
		return -EINVAL;
	}
	batch->changes++;
	batch->empty = !rocksdb_writebatch_wi_count(batch->wi);
	return 0;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
	size_t bytes;

	rocksdb_writebatch_wi_data(batch->wi, &bytes);
	return bytes;
}

uint64_t store_batch_nr(const struct store_batch *batch)
{
	return atomic_load(&batch->store->commit_nr) + 1;
}

void store_batch_clear(struct store_batch *batch)
{
	rocksdb_writebatch_wi_clear(batch->wi);
	batch->changes++;
	batch->empty = true;
}

int store_batch_commit(struct store_batch *batch)
{
	struct store *store = batch->store;
	uint64_t nr = store_batch_nr(batch), le = htole64(nr);
	char *err = NULL;
	int code = 0;

	if (store_failed(store)) {
		store_batch_clear(batch);
		return -EROFS;
	}
	if (!batch->empty) {
		rocksdb_writebatch_wi_put(batch->wi, commit_key, sizeof(commit_key) - 1,
					  (const char *)&le, sizeof(le));
		rocksdb_writebatch_wi_put_log_data(batch->wi, commit_end, sizeof(commit_end) - 1);
		rocksdb_write_writebatch_wi(store->db, store->synced, batch->wi, &err);
	}
	if (err) {
		code = strstr(err, "No space left") ? -ENOSPC : -EIO;
		store_fail(store, code, "commit %" PRIu64 ": %s", nr, err);
		rocksdb_free(err);
	} else if (!batch->empty) {
		atomic_store(&store->commit_nr, nr);
	}
	store_batch_clear(batch);
	return code;
}

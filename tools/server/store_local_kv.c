// SPDX-License-Identifier: GPL-2.0
/*
 * Keys and values over RocksDB: get, iterate, snapshot.
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

/*
 * Stands on a key of the committed state, or on a change of the batch. The
 * engine's iterator is never before that key; what it stands on, the batch may
 * have deleted.
 */
struct store_iter {
	struct store *store;
	struct store_batch *batch;	/* NULL: committed state */
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *it;
	const struct store_change *change;	/* where it stands; NULL: with the engine's */
	bool placed;
	char *hi;
	size_t hilen;
	char key[STORE_KEY_MAX];	/* batch: where it stands */
	size_t klen;
};

/* Our own keys begin with byte 0; nobody else's may. */
static const char first_key[] = "\1";

bool store_key_good(const void *key, size_t klen)
{
	return klen && klen <= STORE_KEY_MAX && *(const char *)key;
}

void store_value_put(struct store_value *val)
{
	if (val->pin)
		rocksdb_pinnableslice_destroy(val->pin);
	memset(val, 0, sizeof(*val));
}

void store_thread(void)
{
	rocksdb_set_perf_level(rocksdb_disable);
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
	if (!store_key_good(key, klen))
		return -EINVAL;
	return get_pinned(store, snap ? snap->read : store->read, key, klen, val);
}

int store_read_commit_nr(struct store *store, rocksdb_readoptions_t *read, uint64_t *nr)
{
	struct store_value val;
	int err = get_pinned(store, read, STORE_COMMIT_KEY, STORE_COMMIT_KEY_LEN, &val);
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
	return it;
}

struct store_iter *store_iter_open(struct store *store, struct store_snap *snap, const void *hi,
				   size_t hilen)
{
	return iter_new(store, NULL, snap, hi, hilen);
}

struct store_iter *store_batch_iter_open(struct store_batch *batch, const void *hi, size_t hilen)
{
	return iter_new(store_batch_store(batch), batch, NULL, hi, hilen);
}

void store_iter_close(struct store_iter *it)
{
	if (!it)
		return;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it->hi);
	free(it);
}

static int compare(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c ? c : (alen > blen) - (alen < blen);
}

/* The committed key that the engine's iterator stands on; NULL: none within bounds. */
static const char *base_key(struct store_iter *it, size_t *klen)
{
	const char *key;

	if (!rocksdb_iter_valid(it->it))
		return NULL;
	key = rocksdb_iter_key(it->it, klen);
	if (!*key)
		return NULL;
	return it->hilen && compare(key, *klen, it->hi, it->hilen) >= 0 ? NULL : key;
}

/* It ended: with an error? */
static int base_error(struct store_iter *it)
{
	char *err = NULL;

	rocksdb_iter_get_error(it->it, &err);
	return err ? store_engine_error(it->store, "cannot read on", err) : 0;
}

static int stand(struct store_iter *it, const struct store_change *change, const char *key,
		 size_t klen)
{
	it->change = change;
	it->placed = true;
	if (it->batch) {
		memcpy(it->key, key, klen);
		it->klen = klen;
	}
	return 1;
}

/*
 * Goes to the first key that is there, of what the engine's iterator stands on and
 * the first change.
 */
static int settle(struct store_iter *it, const struct store_change *change)
{
	const char *key;
	size_t klen;
	int c, err;

	it->placed = false;
	for (;;) {
		if (change && it->hilen &&
		    compare(change->key, change->klen, it->hi, it->hilen) >= 0)
			change = NULL;
		key = base_key(it, &klen);
		err = key ? 0 : base_error(it);
		if (err)
			return err;
		if (!key && !change)
			return 0;
		c = !change ? -1 : !key ? 1 : compare(key, klen, change->key, change->klen);
		if (c < 0)
			return stand(it, NULL, key, klen);
		if (!c)
			rocksdb_iter_next(it->it);
		if (change->state == CHANGE_PUT)
			return stand(it, change, change->key, change->klen);
		change = store_batch_from(it->batch, change->key, change->klen, true);
	}
}

int store_iter_seek(struct store_iter *it, const void *key, size_t klen)
{
	if (!klen || !*(const char *)key) {
		key = first_key;
		klen = 1;
	}
	rocksdb_iter_seek(it->it, key, klen);
	return settle(it, it->batch ? store_batch_from(it->batch, key, klen, false) : NULL);
}

int store_iter_next(struct store_iter *it)
{
	if (!it->placed)
		return 0;
	if (!it->change)
		rocksdb_iter_next(it->it);
	return settle(it, it->batch ? store_batch_from(it->batch, it->key, it->klen, true) : NULL);
}

const void *store_iter_key(const struct store_iter *it, size_t *klen)
{
	if (!it->change)
		return rocksdb_iter_key(it->it, klen);
	*klen = it->change->klen;
	return it->change->key;
}

const void *store_iter_value(const struct store_iter *it, size_t *vlen)
{
	if (!it->change)
		return rocksdb_iter_value(it->it, vlen);
	*vlen = it->change->vlen;
	return it->change->val;
}

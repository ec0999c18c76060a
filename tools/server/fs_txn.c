// SPDX-License-Identifier: GPL-2.0
/* Transactions: groups of client batches that become one commit. */
#include <assert.h>
#include <stdlib.h>

#include "fs_priv.h"

static void free_intents(struct fs_intents *list)
{
	struct fs_intent *intent;

	while ((intent = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(intent);
	}
}

int fs_inos_add(struct fs_inos *inos, u64 ino)
{
	size_t cap = inos->cap ? inos->cap * 2 : 64;
	u64 *p;

	if (inos->n == inos->cap) {
		p = realloc(inos->ino, cap * sizeof(*p));
		if (!p)
			return -ENOMEM;
		inos->ino = p;
		inos->cap = cap;
	}
	inos->ino[inos->n++] = ino;
	return 0;
}

struct fs_txn *fs_txn_begin(struct fs *fs, u64 now)
{
	struct fs_txn *txn = &fs->txn;

	assert(!txn->open);
	free_intents(&txn->intents);
	txn->links.n = 0;
	fs_names_forget(txn);
	txn->open = true;
	txn->nr = store_batch_nr(fs->batch);
	txn->view.commit = txn->nr;
	if (now > txn->now)	/* released orphans are found in the order of time */
		txn->now = now;
	return txn;
}

void fs_batch_begin(struct fs_txn *txn)
{
	assert(txn->open && !txn->in_batch);
	if (txn->nodes > FS_NODES_MAX)
		fs_nodes_drop(txn);
	txn->in_batch = true;
	txn->batch_counters = txn->counters;
	txn->links.batch = txn->links.n;
	txn->released.batch = txn->released.n;
	store_batch_savepoint(txn->fs->batch);
}

int fs_batch_end(struct fs_txn *txn)
{
	int err;

	assert(txn->in_batch);
	err = fs_names_settle(txn);
	if (!err)
		err = fs_nodes_flush(txn);
	if (err) {
		fs_nodes_drop(txn);	/* some are clean already, of what will be undone */
		return err;
	}
	STAILQ_CONCAT(&txn->intents, &txn->batch_intents);
	txn->in_batch = false;
	return 0;
}

void fs_batch_abort(struct fs_txn *txn)
{
	assert(txn->in_batch);
	fs_names_forget(txn);
	fs_nodes_forget(txn);
	free_intents(&txn->batch_intents);
	txn->counters = txn->batch_counters;
	txn->links.n = txn->links.batch;
	txn->released.n = txn->released.batch;
	__atomic_store_n(&txn->fs->reap_floor, 0, __ATOMIC_RELAXED);
	store_batch_rollback(txn->fs->batch);
	txn->in_batch = false;
}

size_t fs_txn_bytes(const struct fs_txn *txn)
{
	return store_batch_bytes(txn->fs->batch);
}

u64 fs_txn_nr(const struct fs_txn *txn)
{
	return txn->nr;
}

struct fs_view *fs_txn_view(struct fs_txn *txn)
{
	return &txn->view;
}

static int put_counters(struct fs_txn *txn)
{
	struct fs_counters_val val;
	struct fs_key key;

	if (!memcmp(&txn->counters, &txn->committed, sizeof(txn->counters)))
		return 0;
	fs_counters_encode(&txn->counters, &val);
	fs_key0(&key, FS_COUNTERS);
	return fs_put(txn, &key, &val, sizeof(val));
}

int fs_txn_commit(struct fs_txn *txn)
{
	struct fs *fs = txn->fs;
	struct fs_view *old;
	int err;

	assert(txn->open && !txn->in_batch);
	err = put_counters(txn);
	if (!err)
		err = fs_orphan_lists(txn);
	if (!err)
		err = store_batch_commit(fs->batch);
	if (err) {
		fs_txn_abort(txn);
		return err;
	}
	txn->committed = txn->counters;
	txn->open = false;
	pthread_mutex_lock(&fs->lock);
	old = fs->current;
	fs->current = NULL;
	pthread_mutex_unlock(&fs->lock);
	if (old)
		fs_view_put(old);
	return 0;
}

void fs_settle(struct fs *fs)
{
	store_batch_settle(fs->batch);
}

void fs_txn_abort(struct fs_txn *txn)
{
	assert(txn->open);
	if (txn->in_batch)
		fs_batch_abort(txn);
	store_batch_clear(txn->fs->batch);
	fs_nodes_drop(txn);
	free_intents(&txn->intents);
	txn->links.n = 0;
	txn->released.n = 0;
	txn->counters = txn->committed;
	__atomic_store_n(&txn->fs->reap_floor, 0, __ATOMIC_RELAXED);
	txn->open = false;
}

void fs_txn_intents(struct fs_txn *txn, struct fs_intents *list)
{
	STAILQ_CONCAT(list, &txn->intents);
}

const u64 *fs_txn_links(const struct fs_txn *txn, size_t *n)
{
	*n = txn->links.n;
	return txn->links.ino;
}

/* ---- numbers ---- */

int fs_alloc_inos(struct fs_txn *txn, u32 want, u64 *first)
{
	struct fs_counters *c = &txn->counters;

	assert(txn->in_batch);
	if (want > ARCHIL_INO_MAX - c->next_ino)
		return -ENOSPC;
	*first = c->next_ino;
	c->next_ino += want;
	fs_nodes_handed_out(txn, *first, want);
	return 0;
}

u64 fs_alloc_deleg(struct fs_txn *txn)
{
	assert(txn->in_batch);
	return txn->counters.next_deleg++;
}

u64 fs_alloc_session(struct fs_txn *txn)
{
	assert(txn->in_batch);
	return txn->counters.next_session++;
}

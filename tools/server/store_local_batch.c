// SPDX-License-Identifier: GPL-2.0
/*
 * The committer's batch: what is to change over the committed state.
 *
 * 1. A key that was changed since the last commit has one *change*: a value, or
 *    that it is deleted, or (rolled back) nothing. It stays where it is, and so
 *    does each value it ever had, until the batch is empty again: who has a
 *    pointer to one keeps it over further changes.
 * 2. Changes are kept in the order of their keys, in blocks, so that each access
 *    costs two short binary searches; and the engine takes what comes in order in
 *    a fraction of the time.
 * 3. With a savepoint each change is noted with what it was before: a rollback
 *    goes back over the notes down to the savepoint's own. One note for each savepoint is enough.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_local.h"

enum {
	BLOCK_SLOTS	= 128,
	CHUNK_BYTES	= 64 << 10,
	ENGINE_KEEP	= 4 << 20,	/* memory of the engine's batch */
};

/* The beginning of a key as two numbers that compare as it does. */
struct slot {
	uint64_t head[2];
	struct store_change *change;
};

struct block {
	unsigned int n;			/* never 0 */
	struct slot slot[BLOCK_SLOTS];	/* in order */
};

struct top {
	struct slot first;		/* a copy of the block's */
	struct block *block;
};

/* Memory that is given back all at once. */
struct chunk {
	struct chunk *next;
	size_t size, used;
	char bytes[];
};

/* What a change was; without a change it is a savepoint. */
struct note {
	struct store_change *change;
	union {
		const char *val;
		size_t before;		/* the savepoint before: its number, or 0 */
	};
	uint32_t vlen, room;
	uint16_t state;
};

struct store_batch {
	struct store *store;
	struct top *top;		/* in order */
	size_t n_top, max_top;
	struct chunk *chunks;		/* the first is in use, the last is kept */
	struct note *notes;
	size_t n_notes, max_notes;
	size_t savepoint;		/* number of the last one's note, from 1; 0: there is none */
	size_t changes;			/* that are not rolled back */
	size_t bytes;
	bool large;			/* there was a commit larger than a memtable */
	rocksdb_writebatch_t *engine;	/* empty between commits, but for its memory */
};

/*
 * Ends the log record of each commit with bytes that are not zero; see rule 3 in
 * store_local_log.c. Exists in the log only.
 */
static const char commit_end[] = "archil-commit-end";

/* ---- memory ------------------------------------------------------------------ */

static void *take(struct store_batch *batch, size_t len)
{
	struct chunk *chunk = batch->chunks;
	size_t size = len > CHUNK_BYTES ? len : CHUNK_BYTES;
	void *p;

	if (!chunk || chunk->size - chunk->used < len) {
		chunk = malloc(sizeof(*chunk) + size);
		if (!chunk)
			return NULL;
		chunk->size = size;
		chunk->used = 0;
		chunk->next = batch->chunks;
		batch->chunks = chunk;
	}
	p = chunk->bytes + chunk->used;
	/* the next one is aligned */
	chunk->used += (len + 7) & ~(size_t)7;
	if (chunk->used > chunk->size)
		chunk->used = chunk->size;
	return p;
}

/* Room for one more in an array; false when there is no memory. */
static bool room(void **array, size_t n, size_t *max, size_t size)
{
	size_t more = *max ? 2 * *max : 64;
	void *p;

	if (n < *max)
		return true;
	p = reallocarray(*array, more, size);
	if (!p)
		return false;
	*array = p;
	*max = more;
	return true;
}

/* ---- order ------------------------------------------------------------------- */

struct probe {
	uint64_t head[2];
	const char *key;
	size_t klen;
};

static void head_of(const char *key, size_t klen, uint64_t head[2])
{
	uint64_t be[2] = { 0 };

	memcpy(be, key, klen < sizeof(be) ? klen : sizeof(be));
	head[0] = be64toh(be[0]);
	head[1] = be64toh(be[1]);
}

static struct probe probe_of(const void *key, size_t klen)
{
	struct probe probe = { .key = key, .klen = klen };

	head_of(key, klen, probe.head);
	return probe;
}

/* Less than, equal to or greater than 0: the slot's key is before, is, is behind the probe's. */
static int slot_compare(const struct slot *slot, const struct probe *probe)
{
	const size_t n = sizeof(slot->head);
	const struct store_change *change = slot->change;
	int c;

	if (slot->head[0] != probe->head[0])
		return slot->head[0] < probe->head[0] ? -1 : 1;
	if (slot->head[1] != probe->head[1])
		return slot->head[1] < probe->head[1] ? -1 : 1;
	/* a short key goes on with zeros in its head: then it is the longer one's beginning */
	if (change->klen > n && probe->klen > n) {
		c = memcmp(change->key + n, probe->key + n,
			   (change->klen < probe->klen ? change->klen : probe->klen) - n);
		if (c)
			return c;
	}
	return (change->klen > probe->klen) - (change->klen < probe->klen);
}

/* A place between slots: what is at it or behind it is not before the key. */
struct place {
	size_t top;
	unsigned int slot;	/* up to the block's n */
};

static struct place find(const struct store_batch *batch, const struct probe *probe, bool *found)
{
	size_t low = 0, high = batch->n_top, mid;
	struct place at = { 0 };
	struct block *block;
	int c;

	*found = false;
	/* the last block that does not begin behind the key */
	while (low < high) {
		mid = (low + high) / 2;
		if (slot_compare(&batch->top[mid].first, probe) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return at;
	at.top = low - 1;
	block = batch->top[at.top].block;
	for (low = 0, high = block->n; low < high; ) {
		mid = (low + high) / 2;
		c = slot_compare(&block->slot[mid], probe);
		if (!c)
			*found = true;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	at.slot = low;
	return at;
}

static bool top_insert(struct store_batch *batch, size_t at, struct block *block)
{
	if (!room((void **)&batch->top, batch->n_top, &batch->max_top, sizeof(*batch->top)))
		return false;
	memmove(&batch->top[at + 1], &batch->top[at], (batch->n_top - at) * sizeof(*batch->top));
	batch->top[at].block = block;
	batch->n_top++;
	return true;
}

/* Makes room in a full block; @at moves with it. */
static bool split(struct store_batch *batch, struct place *at)
{
	struct block *block = batch->top[at->top].block, *next = malloc(sizeof(*next));
	/* keys that come in order leave full blocks behind */
	unsigned int keep = at->slot == BLOCK_SLOTS ? BLOCK_SLOTS - 1 : BLOCK_SLOTS / 2;

	if (!next)
		return false;
	next->n = block->n - keep;
	memcpy(next->slot, block->slot + keep, next->n * sizeof(next->slot[0]));
	if (!top_insert(batch, at->top + 1, next)) {
		free(next);
		return false;
	}
	batch->top[at->top + 1].first = next->slot[0];
	block->n = keep;
	if (at->slot > keep) {
		at->top++;
		at->slot -= keep;
	}
	return true;
}

static bool insert(struct store_batch *batch, struct place at, const struct probe *probe,
		   struct store_change *change)
{
	struct block *block;

	if (!batch->n_top) {
		block = malloc(sizeof(*block));
		if (!block)
			return false;
		block->n = 0;
		if (!top_insert(batch, 0, block)) {
			free(block);
			return false;
		}
	} else if (batch->top[at.top].block->n == BLOCK_SLOTS && !split(batch, &at)) {
		return false;
	}
	block = batch->top[at.top].block;
	memmove(&block->slot[at.slot + 1], &block->slot[at.slot],
		(block->n - at.slot) * sizeof(block->slot[0]));
	block->slot[at.slot] = (struct slot){
		.head = { probe->head[0], probe->head[1] }, .change = change,
	};
	block->n++;
	if (!at.slot)
		batch->top[at.top].first = block->slot[0];
	return true;
}

const struct store_change *store_batch_find(const struct store_batch *batch, const void *key,
					    size_t klen)
{
	struct probe probe = probe_of(key, klen);
	const struct store_change *change;
	struct place at;
	bool found;

	at = find(batch, &probe, &found);
	if (!found)
		return NULL;
	change = batch->top[at.top].block->slot[at.slot].change;
	return change->state == CHANGE_NONE ? NULL : change;
}

const struct store_change *store_batch_from(const struct store_batch *batch, const void *key,
					    size_t klen, bool behind)
{
	struct probe probe = probe_of(key, klen);
	const struct block *block;
	struct place at;
	bool found;

	at = find(batch, &probe, &found);
	if (found && behind)
		at.slot++;
	for (; at.top < batch->n_top; at.top++, at.slot = 0) {
		block = batch->top[at.top].block;
		for (; at.slot < block->n; at.slot++)
			if (block->slot[at.slot].change->state != CHANGE_NONE)
				return block->slot[at.slot].change;
	}
	return NULL;
}

/* ---- changing ---------------------------------------------------------------- */

static bool note(struct store_batch *batch, struct store_change *change)
{
	if (!room((void **)&batch->notes, batch->n_notes, &batch->max_notes,
		  sizeof(*batch->notes)))
		return false;
	if (change) {
		batch->notes[batch->n_notes] = (struct note){
			.change = change, .val = change->val, .vlen = change->vlen,
			.room = change->room, .state = change->state,
		};
		change->noted = batch->n_notes + 1;
	} else {
		batch->notes[batch->n_notes] = (struct note){ .before = batch->savepoint };
	}
	batch->n_notes++;
	return true;
}

/* Does no savepoint need what it is: none is, or it is noted since the last one? */
static bool fresh(const struct store_batch *batch, const struct store_change *change)
{
	if (!batch->savepoint)
		return true;
	return change->noted > batch->savepoint && change->noted <= batch->n_notes &&
	       batch->notes[change->noted - 1].change == change;
}

static void set(struct store_batch *batch, struct store_change *change, enum change_state state,
		const char *val, uint32_t vlen, uint32_t room)
{
	batch->changes += (state != CHANGE_NONE) - (change->state != CHANGE_NONE);
	change->state = state;
	change->val = val;
	change->vlen = vlen;
	change->room = room;
}

/* The change of a key, made if it is not there. */
static struct store_change *change_of(struct store_batch *batch, const void *key, size_t klen)
{
	struct probe probe = probe_of(key, klen);
	struct store_change *change;
	struct place at;
	bool found;

	at = find(batch, &probe, &found);
	if (found)
		return batch->top[at.top].block->slot[at.slot].change;
	change = take(batch, sizeof(*change) + klen);
	if (!change)
		return NULL;
	change->val = NULL;
	change->vlen = 0;
	change->room = 0;
	change->noted = 0;
	change->state = CHANGE_NONE;
	change->klen = klen;
	memcpy(change->key, key, klen);
	return insert(batch, at, &probe, change) ? change : NULL;
}

static int change(struct store_batch *batch, const void *key, size_t klen,
		  enum change_state state, const void *val, size_t vlen)
{
	struct store_change *change = change_of(batch, key, klen);
	char *copy = NULL;

	if (!change || (batch->savepoint && !note(batch, change)))
		return -ENOMEM;
	if (vlen) {
		copy = take(batch, vlen);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, val, vlen);
	}
	set(batch, change, state, copy ? copy : "", vlen, vlen);
	batch->bytes += klen + vlen;
	return 0;
}

int store_batch_rewrite(struct store_batch *batch, const void *key, size_t klen, const void *val,
			size_t vlen)
{
	struct store_change *change;
	size_t room = vlen + vlen / 2;	/* what is rewritten mostly grows */
	char *copy;

	if (!store_key_good(key, klen) || !vlen || vlen > STORE_VALUE_MAX)
		return -EINVAL;
	change = change_of(batch, key, klen);
	if (!change)
		return -ENOMEM;
	if (!fresh(batch, change)) {
		if (!note(batch, change))
			return -ENOMEM;
		change->room = 0;
	}
	copy = (char *)change->val;
	if (change->room < vlen) {
		copy = take(batch, room);
		if (!copy)
			return -ENOMEM;
		batch->bytes += klen + room;
	} else {
		room = change->room;
	}
	memcpy(copy, val, vlen);
	set(batch, change, CHANGE_PUT, copy, vlen, room);
	return 0;
}

int store_batch_put(struct store_batch *batch, const void *key, size_t klen, const void *val,
		    size_t vlen)
{
	if (!store_key_good(key, klen) || vlen > STORE_VALUE_MAX)
		return -EINVAL;
	return change(batch, key, klen, CHANGE_PUT, val, vlen);
}

int store_batch_delete(struct store_batch *batch, const void *key, size_t klen)
{
	if (!store_key_good(key, klen))
		return -EINVAL;
	return change(batch, key, klen, CHANGE_DELETE, NULL, 0);
}

static int value_of(const struct store_change *change, struct store_value *val)
{
	memset(val, 0, sizeof(*val));
	if (change->state == CHANGE_DELETE)
		return -ENOENT;
	val->data = change->val;
	val->len = change->vlen;
	return 0;
}

int store_batch_get(struct store_batch *batch, const void *key, size_t klen,
		    struct store_value *val)
{
	const struct store_change *change;

	if (!store_key_good(key, klen))
		return -EINVAL;
	change = store_batch_find(batch, key, klen);
	return change ? value_of(change, val) : store_get(batch->store, NULL, key, klen, val);
}

int store_batch_get_own(struct store_batch *batch, const void *key, size_t klen,
			struct store_value *val)
{
	const struct store_change *change;

	if (!store_key_good(key, klen))
		return -EINVAL;
	change = store_batch_find(batch, key, klen);
	return change ? value_of(change, val) : -ENODATA;
}

void store_batch_savepoint(struct store_batch *batch)
{
	/* as the engine does: there is nobody to tell */
	if (!note(batch, NULL))
		abort();
	batch->savepoint = batch->n_notes;
}

int store_batch_rollback(struct store_batch *batch)
{
	struct note *n;

	if (!batch->savepoint)
		return -EINVAL;
	for (;;) {
		n = &batch->notes[--batch->n_notes];
		if (!n->change)
			break;
		set(batch, n->change, n->state, n->val, n->vlen, n->room);
	}
	batch->savepoint = n->before;
	return 0;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
	return batch->bytes;
}

/* ---- its life ---------------------------------------------------------------- */

struct store_batch *store_batch_new(struct store *store)
{
	struct store_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	batch->store = store;
	batch->engine = rocksdb_writebatch_create();
	return batch;
}

struct store *store_batch_store(const struct store_batch *batch)
{
	return batch->store;
}

void store_batch_clear(struct store_batch *batch)
{
	struct chunk *chunk;
	size_t i;

	for (i = 0; i < batch->n_top; i++)
		free(batch->top[i].block);
	while ((chunk = batch->chunks) && chunk->next) {
		batch->chunks = chunk->next;
		free(chunk);
	}
	if (chunk && chunk->size > CHUNK_BYTES) {
		batch->chunks = NULL;
		free(chunk);
	} else if (chunk) {
		chunk->used = 0;
	}
	batch->n_top = 0;
	batch->n_notes = 0;
	batch->savepoint = 0;
	batch->changes = 0;
	batch->bytes = 0;
}

void store_batch_free(struct store_batch *batch)
{
	if (!batch)
		return;
	store_batch_clear(batch);
	rocksdb_writebatch_destroy(batch->engine);
	free(batch->chunks);
	free(batch->notes);
	free(batch->top);
	free(batch);
}

uint64_t store_batch_nr(const struct store_batch *batch)
{
	return atomic_load(&batch->store->commit_nr) + 1;
}

/* The same for the engine, as its commit of this number; its length. */
static size_t engine_fill(struct store_batch *batch, uint64_t nr)
{
	rocksdb_writebatch_t *wb = batch->engine;
	const struct store_change *change;
	uint64_t le = htole64(nr);
	const struct block *block;
	size_t i, bytes;
	unsigned int j;

	rocksdb_writebatch_put(wb, STORE_COMMIT_KEY, STORE_COMMIT_KEY_LEN, (const char *)&le,
			       sizeof(le));
	for (i = 0; i < batch->n_top; i++) {
		block = batch->top[i].block;
		for (j = 0; j < block->n; j++) {
			change = block->slot[j].change;
			if (change->state == CHANGE_PUT)
				rocksdb_writebatch_put(wb, change->key, change->klen, change->val,
						       change->vlen);
			else if (change->state == CHANGE_DELETE)
				rocksdb_writebatch_delete(wb, change->key, change->klen);
		}
	}
	rocksdb_writebatch_put_log_data(wb, commit_end, sizeof(commit_end) - 1);
	rocksdb_writebatch_data(wb, &bytes);
	return bytes;
}

static void engine_empty(struct store_batch *batch, size_t bytes)
{
	if (bytes <= ENGINE_KEEP) {
		rocksdb_writebatch_clear(batch->engine);
		return;
	}
	rocksdb_writebatch_destroy(batch->engine);
	batch->engine = rocksdb_writebatch_create();
}

int store_batch_commit(struct store_batch *batch)
{
	struct store *store = batch->store;
	uint64_t nr = store_batch_nr(batch);
	char *err = NULL;
	size_t bytes;
	int code;

	if (store_failed(store)) {
		store_batch_clear(batch);
		return -EROFS;
	}
	if (!batch->changes) {
		store_batch_clear(batch);
		return 0;
	}
	bytes = engine_fill(batch, nr);
	store_batch_clear(batch);
	batch->large = batch->large || bytes > store->write_buffer;
	rocksdb_write(store->db, store->synced, batch->engine, &err);
	engine_empty(batch, bytes);
	if (err) {
		code = strstr(err, "No space left") ? -ENOSPC : -EIO;
		store_fail(store, code, "commit %" PRIu64 ": %s", nr, err);
		rocksdb_free(err);
		return code;
	}
	atomic_store(&store->commit_nr, nr);
	log_space_used(&store->log_space, store->meta, bytes);
	return 0;
}

void store_batch_settle(struct store_batch *batch)
{
	struct store *store = batch->store;
	rocksdb_flushoptions_t *opts;
	char *err = NULL;

	if (!batch->large)
		return;
	batch->large = false;
	/* the engine itself would begin with the next write */
	opts = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(opts, 0);
	rocksdb_flush(store->db, opts, &err);
	rocksdb_flushoptions_destroy(opts);
	if (err)
		store_engine_error(store, "cannot write tables", err);
}

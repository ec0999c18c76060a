/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the namespace share among themselves. */
#ifndef ARCHIL_FS_PRIV_H
#define ARCHIL_FS_PRIV_H

#include <pthread.h>
#include <sys/stat.h>

#include "fs_keys.h"

struct fs_view {
	struct fs *fs;
	struct fs_txn *txn;		/* the view of a transaction; else NULL */
	struct store_snap *snap;	/* strong; NULL in a transaction's */
	u64 commit;
	unsigned int refs;		/* atomic; of a transaction's: unused */
};

/*
 * An inode in the committer's cache, which is true to the open transaction:
 * clean nodes are as the batch has them, dirty ones are written to it at the
 * batch's end. There is no other writer, so they stay true over transactions.
 * A node is dirty before it is changed: when a batch is given up, the dirty ones are forgotten.
 */
struct fs_node {
	struct fs_inode in;
	struct fs_node *next;		/* in its bucket */
	LIST_ENTRY(fs_node) dirty_link;
	bool dirty, gone;
	u64 bare;			/* in this transaction: none of its names is committed */
	bool whole;			/* so is all of its pack: nothing but the cache has to be looked at */
	/* A directory that lay in this delegation when txn->moves was that. */
	u64 inside, inside_moves;
};

LIST_HEAD(fs_nodes, fs_node);

#define FS_BUCKETS_MIN	8192		/* a power of two; doubled with the nodes in a batch */
#define FS_NODES_MAX	32768		/* kept between batches */

/*
 * Inode numbers that were handed out since the disk was opened, in blocks of neighbours: of
 * such a block no number from @unused on was ever in use. A block is forgotten when another
 * takes its place; then the store is asked.
 */
struct fs_block {
	u64 block;			/* number / FS_BLOCK_INOS + 1; 0: none */
	u64 unused;
};

#define FS_BLOCK_INOS	256
#define FS_BLOCKS	4096

#define FS_BUCKET	16		/* entries of a bucket of names: so many on the average, at most */

/* A pack of entries, and a bucket of a directory's hash table, that the committer used last. */
struct fs_pack_used {
	struct fs_key key;		/* of no length: none is used */
	bool dirty;			/* not in the batch yet */
	struct fs_pack pack;
};

struct fs_bucket {
	u64 dir, nr;			/* dir: 0: none is used */
	bool dirty;
	size_t n, max;
	struct fs_hashed *item;
};

/* Inodes that a transaction or a check collects. */
struct fs_inos {
	u64 *ino;
	size_t n, cap;
	size_t batch;			/* of a transaction: how many when the batch began */
};

struct fs_txn {
	struct fs *fs;
	struct fs_view view;
	u64 now, nr;
	bool open, in_batch;
	struct fs_counters counters;
	struct fs_counters batch_counters;	/* as the batch began */
	struct fs_counters committed;

	struct fs_node **bucket;
	size_t buckets, nodes;
	struct fs_nodes dirty;
	u64 last_pack;			/* of inodes, from which one was loaded */
	u64 moves;			/* directories got another parent, or may have */
	struct fs_block blocks[FS_BLOCKS];
	struct fs_pack flushed;		/* of inodes; for fs_nodes_flush() */
	struct fs_pack_used pack_used;
	struct fs_bucket bucket_used;

	struct fs_intents intents;	/* of finished batches */
	struct fs_intents batch_intents;
	struct fs_inos links;		/* fs_txn_links() */
	struct fs_inos released;	/* in no list of FS_RELEASED yet */
};

struct fs {
	struct store *store;
	struct store_batch *batch;
	u64 max_file_size;
	u8 hash_key[FS_HASH_KEY_SIZE];
	u64 reap_floor;			/* nothing released before is left; atomic */
	struct fs_txn txn;		/* the committer's */
	pthread_mutex_t lock;
	struct fs_view *current;	/* newest, or NULL: not made yet; protected by lock */
};

int fs_inos_add(struct fs_inos *inos, u64 ino);

/* ---- keys (fs.c) ---- */

/* As the store's, -EUCLEAN made -EBADMSG. */
int fs_get(struct fs_view *view, const struct fs_key *key, struct store_value *val);
/* What the transaction itself has changed: -ENOENT: deleted, -ENODATA: not changed. */
int fs_get_own(struct fs_txn *txn, const struct fs_key *key, struct store_value *val);
int fs_put(struct fs_txn *txn, const struct fs_key *key, const void *val, size_t len);
int fs_del(struct fs_txn *txn, const struct fs_key *key);
/* For what is put again and again (store_batch_rewrite()); without a length there is no key. */
int fs_rewrite(struct fs_txn *txn, const struct fs_key *key, const void *val, size_t len);
/* Is it there? 1, 0 or an error. */
int fs_has(struct fs_view *view, const struct fs_key *key);

/* An item of a pack, which leads into @val, to be put. -ENOENT, -EBADMSG, or as fs_get(). */
int fs_item_get(struct fs_view *view, const struct fs_key *key, unsigned int slot,
		struct store_value *val, struct fs_item *item);
/* A pack as it is in the store; puts @val. 0, -EBADMSG. */
int fs_pack_load(struct fs_pack *pack, struct store_value *val);
/* Without items it has no key. */
int fs_pack_put(struct fs_txn *txn, const struct fs_key *key, const struct fs_pack *pack);

/* Walk all keys that begin with a prefix; in a transaction they may be changed meanwhile. */
struct fs_scan {
	struct store_iter *it;
	struct fs_key start, end;
	const u8 *key, *val;		/* where it stands */
	size_t key_len, val_len;
};

int fs_scan_open(struct fs_view *view, const struct fs_key *prefix, struct fs_scan *scan);
void fs_scan_close(struct fs_scan *scan);
/* 1: it stands on a key; 0: the end; or an error. from: NULL: where it starts. */
int fs_scan_first(struct fs_scan *scan, const struct fs_key *from);
int fs_scan_next(struct fs_scan *scan);

/* ---- inodes (fs_inode.c) ---- */

int fs_nodes_init(struct fs_txn *txn);
/* -ESTALE: there is none. */
int fs_inode_read(struct fs_view *view, u64 ino, struct fs_inode *in);
int fs_node_get(struct fs_txn *txn, u64 ino, struct fs_node **nodep);
/* These were handed out. */
void fs_nodes_handed_out(struct fs_txn *txn, u64 first, u32 n);
/* -EUCLEAN: the number is in use or was never handed out. */
int fs_node_new(struct fs_txn *txn, u64 ino, struct fs_node **nodep);
/* It will be written; and: it gets a new change number too. */
void fs_node_dirty(struct fs_txn *txn, struct fs_node *node);
void fs_node_change(struct fs_txn *txn, struct fs_node *node);
void fs_node_gone(struct fs_txn *txn, struct fs_node *node);
int fs_nodes_flush(struct fs_txn *txn);
void fs_nodes_forget(struct fs_txn *txn);	/* the dirty ones */
void fs_nodes_drop(struct fs_txn *txn);		/* all */

/* 0, -EUCLEAN: it lies outside of the delegation. */
int fs_node_inside(struct fs_txn *txn, struct fs_node *node, u64 deleg, u64 root);

/* ---- entries (fs_entry.c) ---- */

/* Find an entry by name: -ENOENT. */
int fs_entry_find(struct fs_view *view, const struct fs_inode *dir, const char *name, size_t len,
		  struct fs_entry *entry);
/* By its cookie: -ENOENT. @name leads into @val, to be put. */
int fs_entry_at(struct fs_view *view, u64 dir, u64 cookie, struct store_value *val,
		struct fs_entry *entry, const char **name, size_t *len);

/* The same for directories in the committer's cache. */
int fs_node_entry(struct fs_txn *txn, struct fs_node *dir, const char *name, size_t len,
		  struct fs_entry *entry);
/* An entry comes and is counted, one is another inode's now, one goes. The directory is dirty. */
int fs_node_enter(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		  const char *name, size_t len);
int fs_node_reenter(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		    const char *name, size_t len);
int fs_node_leave(struct fs_txn *txn, struct fs_node *dir, const struct fs_entry *entry,
		  const char *name, size_t len);
/* What they changed is in the batch; and: forget what is not. */
int fs_names_settle(struct fs_txn *txn);
void fs_names_forget(struct fs_txn *txn);
/* A key of the directory's names: -ENOENT. */
int fs_node_names_get(struct fs_txn *txn, struct fs_node *dir, const struct fs_key *key,
		      struct store_value *val);

/* ---- names by their hashes (fs_hash.c) ---- */

u32 fs_hash(const struct fs *fs, const char *name, size_t len);
/* How many there are in a bucket's value: 0, or -EBADMSG. */
int fs_hashed_decode(const struct store_value *val, size_t *n);
/* The bucket of a hash: @n of struct fs_hashed in @val, to be put. -ENOENT: none. */
int fs_hash_get(struct fs_view *view, const struct fs_inode *dir, u32 hash,
		struct store_value *val, size_t *n);
/* Makes it txn->bucket_used. */
int fs_hash_use(struct fs_txn *txn, struct fs_node *dir, u32 hash);
/* For an entry that the directory's counter has already, or has no more. */
int fs_hash_add(struct fs_txn *txn, struct fs_node *dir, u32 hash, u64 cookie);
int fs_hash_del(struct fs_txn *txn, struct fs_node *dir, u32 hash, u64 cookie);
int fs_hash_settle(struct fs_txn *txn);
void fs_hash_forget(struct fs_bucket *bucket);

/* ---- reading (fs_read.c) ---- */

/* -ENOTDIR, -ESTALE. */
int fs_dir_read(struct fs_view *view, u64 ino, struct fs_inode *dir);
/* Small contents, or a symlink's target: content_len bytes, to be put. */
int fs_contents(struct fs_view *view, const struct fs_inode *in, struct store_value *val);

/* ---- orphans (fs_orphan.c) ---- */

/* The last link is gone; deleg: keeps it open, 0: none. */
int fs_orphan_make(struct fs_txn *txn, struct fs_node *node, u64 deleg);
int fs_orphan_release(struct fs_txn *txn, struct fs_node *node);
/* Another delegation keeps it; 0: nobody does, it is about to get a name. */
int fs_orphan_move(struct fs_txn *txn, struct fs_node *node, u64 deleg);
/* Before the commit: those that were released in it, in lists. */
int fs_orphan_lists(struct fs_txn *txn);

/* ---- data files (fs_data.c) ---- */

int fs_intent_add(struct fs_txn *txn, u64 ino, enum fs_intent_kind kind, u64 off, u64 len,
		  const void *data);
/* Small contents move to a data file. */
int fs_node_bulk(struct fs_txn *txn, struct fs_node *node, u64 deleg);
/* The size becomes what it is told: contents, data file and bytes follow. */
int fs_node_resize(struct fs_txn *txn, struct fs_node *node, u64 size, u64 deleg);
int fs_node_grow(struct fs_txn *txn, struct fs_node *node, u64 size, u64 deleg);
int fs_node_content(struct fs_txn *txn, struct fs_node *node, u32 off, const void *data, u32 len);
int fs_node_punch(struct fs_txn *txn, struct fs_node *node, u64 off, u64 len);
int fs_node_alloc(struct fs_txn *txn, struct fs_node *node, u64 off, u64 len, bool keep_size,
		  u64 deleg);

/* ---- names (fs_names.c) and the rest (fs_apply.c) ---- */

/* One record being applied. */
struct fs_op {
	struct fs_txn *txn;
	const struct fs_who *who;
	const struct archil_record *rec;
	struct fs_result *res;
	int refused;		/* by who->may so far: -EBUSY, -EROFS, 0 */
};

/* Ask whether the place may change; op->refused has the answer when all are asked. */
int fs_op_touch(struct fs_op *op, enum fs_touch what, struct fs_node *node);
int fs_op_create(struct fs_op *op);
int fs_op_link(struct fs_op *op);
int fs_op_unlink(struct fs_op *op);
int fs_op_rename(struct fs_op *op);

#endif

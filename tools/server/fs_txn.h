/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Changing a disk. All of it is for one thread, the committer.
 *
 *	txn = fs_txn_begin(fs, now);
 *	for each client batch or synchronous change:
 *		fs_batch_begin(txn);
 *		... fs_apply(), fs_deleg_put(), fs_slot_put(), ...
 *		fs_batch_end(txn) or fs_batch_abort(txn);
 *	fs_txn_commit(txn);		answer what was asked
 *
 * Rules:
 *
 *  1. A batch happens whole or not at all; batches of one transaction are one
 *     commit. Whatever changes the disk happens inside a batch.
 *  2. After a function failed in a batch, the batch must be aborted.
 *  3. A commit that fails is the end (store.h, rule 3): the disk is read-only.
 *  4. What must happen to a data file because of a change (cut, punch, fill,
 *     remove) is an *intent*: a key in the same commit. After the commit the
 *     data path takes the list of intents, runs those of one inode in order,
 *     flushes, and deletes them by fs_intent_done() in a later transaction. At
 *     a start all that are there are run first: each can be run twice.
 *  5. While an inode has an intent, WRITEs to it wait, and so do READs and
 *     SEEKs of its data file. A WRITE is *answered* only when the deletion of the
 *     intents before it is committed: an intent redone must not cut it.
 *  6. A data file holds nothing beyond the committed size but what the
 *     delegation wrote that wrote last (fs_bulk_begin): bytes of an owner that
 *     was forced away or died never come to light when the file grows.
 */
#ifndef ARCHIL_FS_TXN_H
#define ARCHIL_FS_TXN_H

#include <sys/queue.h>

#include "fs.h"

/* ---- transactions ---- */

/*
 * fs_txn_begin() - begin a transaction; one at a time. It belongs to @fs and is
 * there until its commit or abort.
 * @now: server's clock, ns since 1970: when orphans made in it were released.
 */
struct fs_txn *fs_txn_begin(struct fs *fs, u64 now);

void fs_batch_begin(struct fs_txn *txn);
/* Return: 0, or an error after which fs_batch_abort() is due. */
int fs_batch_end(struct fs_txn *txn);
void fs_batch_abort(struct fs_txn *txn);

/* Bytes that were changed in it, about what the commit will write: for bounding a group. */
size_t fs_txn_bytes(const struct fs_txn *txn);
/* The number of this commit: change number of all that it changes. */
u64 fs_txn_nr(const struct fs_txn *txn);
/* The state with all changes so far. Belongs to @txn: do not put it. */
struct fs_view *fs_txn_view(struct fs_txn *txn);

/*
 * fs_txn_commit() - make it durable and visible, and end it. A transaction that
 * changed nothing writes nothing and leaves the commit number where it was.
 * What fs_txn_intents() and fs_txn_links() return outlives it until the next begin.
 */
int fs_txn_commit(struct fs_txn *txn);
/* After a commit, when it was answered: store_batch_settle(). */
void fs_settle(struct fs *fs);
/* Give it up, all batches of it. */
void fs_txn_abort(struct fs_txn *txn);

/* ---- records ---- */

enum fs_touch {
	FS_TOUCH_CREATE,	/* a directory: gets a name for a new inode, nothing else */
	FS_TOUCH_ENTRIES,	/* a directory: its entries change in another way */
	FS_TOUCH_INODE,		/* an inode: attributes, contents, xattrs, a new link */
};

/* Where something is that changes. */
struct fs_place {
	u64 ino;
	const u64 *chain;	/* fs_chain(); an orphan's is itself alone */
	size_t n;
	u64 orphan_of;		/* of an open orphan: the delegation that keeps it; else 0 */
};

/* On whose behalf a record is applied. */
struct fs_who {
	/* Under a delegation: its number and its root inode. 0: a synchronous CHANGE. */
	u64 deleg, root;

	/* CHANGE only. */

	/* The delegation that is granted with it and will own the new inode, or 0. */
	u64 grant;
	/*
	 * May this session change that? 0, -EBUSY, -EROFS. Called when everything
	 * that the VFS would find first is known to be right, for each place that
	 * changes; -EBUSY of one goes before -EROFS of another.
	 */
	int (*may)(void *ctx, enum fs_touch what, const struct fs_place *place);
	/* The session's delegation that covers it, 0: none. For orphans that stay open. */
	u64 (*cover)(void *ctx, const struct fs_place *place);
	void *ctx;
};

struct fs_result {
	u64 ino;	/* the inode that was made, linked, unlinked, moved or changed */
	u64 target;	/* RENAME: what was replaced or exchanged; else 0 */
	u64 dir;	/* the (new) directory; 0: none */
	u64 old_dir;	/* RENAME: the old directory; else 0 */
	/*
	 * Not 0: this one-inode delegation of an orphan has ended with this record
	 * (RELEASE, or LINK gave it a name). The caller closes it in the same
	 * transaction: fs_deleg_close(FS_CLOSED), after storing what was applied.
	 */
	u64 ended;
	int why;	/* with -EUCLEAN: what was wrong, an errno */
};

/*
 * fs_apply() - apply one record, by the rules of record.h.
 * @rec: as archil_record_next() left it.
 *
 * Cookies: under a delegation as given; a CHANGE whose cookie is used already
 * gets the directory's next (its sender does not own the directory).
 *
 * Return: 0. Under a delegation, -EUCLEAN when the record does not fit the
 * tree or lies outside the delegation: client and server disagree, nothing of
 * its batch must be applied. For a CHANGE the errno of the system call, in the
 * order of semantics.md 6 (-ESTALE: an inode that vanished; -EUCLEAN: an inode
 * number that was never handed out or is in use). Besides -ENOMEM, -EIO,
 * -EBADMSG: the server's own trouble.
 */
int fs_apply(struct fs_txn *txn, const struct fs_who *who, const struct archil_record *rec,
	     struct fs_result *res);

struct fs_deleg;	/* fs_meta.h */

struct fs_log_result {
	u64 bad_seq;	/* on error: the record that was refused, 0: none in particular */
	u64 bad_ino;	/* what it is about */
	u32 bad_type;	/* enum archil_rec_type */
	int why;	/* what was wrong with it, where the error is only -EUCLEAN */
	u64 ended;	/* as in struct fs_result */
	u64 charge;	/* without error: archil_record_charge() of all records */
	bool moves;	/* without error: names of inodes went or moved, or came to be more */
};

/* Records that lie together, as in struct archil_log_req. */
struct fs_log_part {
	const void *buf;
	size_t len;
	u32 count;
};

/*
 * fs_apply_log() - a client's batch, a batch here too (begins and ends it).
 * @deleg: its delegation; applied is moved, in memory and in the store.
 * @first_seq: the number of its first record.
 * @part, @n: its records, at least one; a record lies in one part.
 *
 * Records up to deleg->applied are passed over. Return: 0; -EPROTO (a gap,
 * malformed records, another count); else as fs_apply(). After an error
 * nothing has changed and the transaction can go on.
 */
int fs_apply_log(struct fs_txn *txn, struct fs_deleg *deleg, u64 first_seq,
		 const struct fs_log_part *part, size_t n, struct fs_log_result *res);

/*
 * Inodes whose link count changed by records from outside the delegation that
 * they belong to, in this transaction: their owners are told (NOTIFY). May hold
 * one twice, or one that is gone.
 */
const u64 *fs_txn_links(const struct fs_txn *txn, size_t *n);

/* ---- numbers ---- */

/* fs_alloc_inos() - @want inode numbers from *@first on. -ENOSPC: 2^48 are used up. */
int fs_alloc_inos(struct fs_txn *txn, u32 want, u64 *first);
u64 fs_alloc_deleg(struct fs_txn *txn);
u64 fs_alloc_session(struct fs_txn *txn);

/* ---- data files ---- */

enum fs_intent_kind {
	FS_INTENT_FILL = 1,	/* empty the data file, then write data[len] at 0 */
	FS_INTENT_TRUNCATE = 2,	/* forget all bytes from off on */
	FS_INTENT_PUNCH = 3,	/* forget [off, off + len) */
	FS_INTENT_ALLOC = 4,	/* set space aside for [off, off + len) */
	FS_INTENT_REMOVE = 5,	/* forget the data file; the inode is gone */
};

struct fs_intent {
	STAILQ_ENTRY(fs_intent) link;
	u64 ino;
	u64 nr;			/* order among those of one inode */
	enum fs_intent_kind kind;
	u64 off, len;
	u8 data[];		/* FILL */
};

STAILQ_HEAD(fs_intents, fs_intent);

/*
 * fs_txn_intents() - after the commit: moves its intents to the end of @list,
 * each to be freed by free(). What is not taken is dropped at the next begin
 * (the keys stay).
 */
void fs_txn_intents(struct fs_txn *txn, struct fs_intents *list);
/* fs_intents_load() - all that the disk has, in order, for a start. 0 or an error. */
int fs_intents_load(struct fs_view *view, struct fs_intents *list);
int fs_intent_done(struct fs_txn *txn, u64 ino, u64 nr);

/*
 * fs_bulk_begin() - must be committed before the first WRITE to @ino under
 * delegation @deleg is run: makes it a bulk file (with a FILL intent if it has
 * small contents), and when another delegation wrote it before, makes an intent
 * that cuts what that one left beyond the size. Needed exactly when the inode is
 * not ARCHIL_AF_BULK or fs_writer() is not @deleg. So no data file is ever there
 * without a bulk inode, or an intent to remove it.
 * Return: 0, -ESTALE, -EINVAL (not a regular file), -EUCLEAN (@ino is outside
 * the delegation whose root is @root).
 */
int fs_bulk_begin(struct fs_txn *txn, u64 ino, u64 deleg, u64 root);

/*
 * fs_inside() - does @ino lie in the delegation @deleg with root @root? For WRITE.
 * Return: 0, -EUCLEAN (no), -ESTALE.
 */
int fs_inside(struct fs_view *view, u64 ino, u64 deleg, u64 root);

/* What a WRITE says of its file besides the bytes. */
struct fs_grow {
	u64 deleg, root;	/* as for fs_bulk_begin() */
	u64 change;		/* of the inode, before */
	u64 size;		/* at least; or 0 */
	bool times;
	struct archil_time mtime, ctime;
};

/*
 * fs_bulk_grow() - set size and times of a bulk file behind a WRITE, if it has not changed.
 * Return: 1; 0: that would not be right, nothing was done; an error: the batch must be aborted.
 */
int fs_bulk_grow(struct fs_txn *txn, u64 ino, const struct fs_grow *grow);

/*
 * fs_touch_change() - move the change number and nothing else: before bytes
 * below the size are overwritten that a reader may have seen under the present one.
 */
int fs_touch_change(struct fs_txn *txn, u64 ino);

/*
 * fs_set_bytes() - space that a bulk file takes (stat's blocks), when the data
 * path knows it. Between calls it is estimated from what records say.
 */
int fs_set_bytes(struct fs_txn *txn, u64 ino, u64 bytes);

/* ---- orphans ---- */

/*
 * An inode without a link is an orphan. It is *open* while a delegation keeps
 * it, until that one's RELEASE, force, or the session's end; then *released*, and
 * readable by others until reaped.
 *
 * fs_reap() - remove released orphans, in at most @max steps (keys, roughly).
 * @before: those released up to then, ns since 1970.
 * Return: steps taken (0: nothing to do), or a negative errno.
 */
int fs_reap(struct fs_txn *txn, u64 before, unsigned int max);
/* fs_reap_next() - when the oldest was released; -ENOENT: there is none. */
int fs_reap_next(struct fs_view *view, u64 *released);

#endif

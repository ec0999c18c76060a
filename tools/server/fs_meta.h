/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The records of sessions, delegations, slots and tombstones. They are kept in
 * memory by those who use them; here they are stored in the commit of the
 * effects that they guard, and loaded at a start.
 */
#ifndef ARCHIL_FS_META_H
#define ARCHIL_FS_META_H

#include "fs_txn.h"

/* ---- delegations ---- */

enum { FS_DELEG_ORPHAN = 0x1 };	/* of one inode without a name; not listed */

struct fs_deleg {
	u64 number;
	u64 ino;		/* its root */
	u64 session;
	u64 commit;		/* at which it was granted */
	u64 since;		/* ns since 1970 */
	u64 applied;		/* last record of its log applied; moved by fs_apply_log() */
	u32 origin;		/* enum archil_origin */
	u32 flags;		/* FS_DELEG_* */
};

int fs_deleg_put(struct fs_txn *txn, const struct fs_deleg *deleg);
/* -ENOENT */
int fs_deleg_get(struct fs_view *view, u64 number, struct fs_deleg *deleg);

enum fs_close_how {
	FS_CLOSED = 1,		/* checked in or swallowed, drained: orphans live on */
	FS_TAKEN = 2,		/* by force: its orphans are released */
	FS_ENDED = 3,		/* its session is over: the same, and no tombstone */
};

/*
 * fs_deleg_close() - end a delegation: its record goes, a tombstone is left
 * (not with FS_ENDED), and its open orphans are, with FS_CLOSED, each given an
 * FS_DELEG_ORPHAN delegation of the same session, else released. Closing an
 * FS_DELEG_ORPHAN delegation releases its orphan however.
 * @made: called for each new delegation; may be NULL with FS_TAKEN and FS_ENDED.
 * Return: 0, -ENOENT, what @made returned.
 */
int fs_deleg_close(struct fs_txn *txn, u64 number, enum fs_close_how how,
		   int (*made)(void *ctx, const struct fs_deleg *deleg), void *ctx);

/* ---- tombstones ---- */

struct fs_tomb {
	u64 number;		/* of the delegation that was */
	u64 session;
	u64 applied;		/* closed at this record */
	enum fs_close_how how;	/* FS_CLOSED or FS_TAKEN */
};

/* -ENOENT */
int fs_tomb_get(struct fs_view *view, u64 number, struct fs_tomb *tomb);
int fs_tomb_del(struct fs_txn *txn, u64 number);

/* ---- sessions ---- */

struct fs_session {
	u64 id;
	u64 opened;		/* ns since 1970 */
	u64 root;		/* inode that is mounted */
	u32 flags;		/* ARCHIL_OS_* */
	u8 incarnation[ARCHIL_UUID_LEN];
	u8 mount[ARCHIL_UUID_LEN];
	char client[ARCHIL_CLIENT_LEN + 1];
};

int fs_session_put(struct fs_txn *txn, const struct fs_session *session);
/* fs_session_del() - with its slots. Its delegations and tombstones are the caller's. */
int fs_session_del(struct fs_txn *txn, u64 id);

/* ---- slots ---- */

/* @reply: the frame to answer a repetition with, at most 64 KiB. */
int fs_slot_put(struct fs_txn *txn, u64 session, u32 slot, u32 seq,
		const void *reply, size_t len);

/* ---- the disk ---- */

int fs_set_verifier(struct fs_txn *txn, const struct scram_verifier *verifier);

/* ---- loading: each calls @fn for all, in order of number; not 0 ends it ---- */

int fs_sessions_each(struct fs_view *view,
		     int (*fn)(void *ctx, const struct fs_session *session), void *ctx);
int fs_delegs_each(struct fs_view *view,
		   int (*fn)(void *ctx, const struct fs_deleg *deleg), void *ctx);
int fs_tombs_each(struct fs_view *view,
		  int (*fn)(void *ctx, const struct fs_tomb *tomb), void *ctx);
int fs_slots_each(struct fs_view *view, u64 session,
		  int (*fn)(void *ctx, u32 slot, u32 seq, const void *reply, size_t len),
		  void *ctx);

#endif

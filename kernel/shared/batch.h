/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A batch while it is open: log records in order, what they say of each inode,
 * and the times that must outlive records that went. Pure: no locks (the
 * caller's protects a batch and all that is in it). merge.h adds records to it.
 *
 * 1. Adding does not sleep and does not fail: a record brings all the memory
 *    that it can need, and where more would only be better, it is asked for
 *    without waiting.
 * 2. Adding frees no record, since that may sleep: those that go are junk, for
 *    the caller to free elsewhere.
 * 3. Adding costs the same in an empty batch and in one of 200,000 records. So
 *    the index of inodes grows by a bucket at a time (linear hashing).
 * 4. The inode that a record is about lies in the record's own memory if it is
 *    new to the batch, and if such a record never goes before its inode does:
 *    not SETATTR, CONTENT and the xattrs', which later ones replace.
 * 5. A batch is added to, then drained, then cleared. It is not movable.
 */
#ifndef ARCHIL_BATCH_H
#define ARCHIL_BATCH_H

#include "record.h"

struct archil_batch_rec;

struct archil_batch_link {
	struct archil_batch_link *prev, *next;	/* next is NULL: in no list */
	struct archil_batch_rec *rec;		/* NULL: the list's head */
};

/* What a batch knows of an inode that its records name. */
struct archil_batch_inode {
	u64 ino;
	struct archil_batch_inode *next;	/* in the bucket, of a record's spares, in b->late */
	struct archil_batch_link recs;		/* head: own, and RENAMEs over it, in order */
	struct archil_batch_rec *create;	/* in whose memory it lies; NULL: older than the batch */
	struct archil_batch_rec *setattr;	/* the last one */
	struct archil_batch_rec *last_name;	/* the last LINK, UNLINK or RENAME, also over it */
	struct archil_batch_rec *mtime_by;	/* the last to set it; NULL: none, or pending */
	struct archil_batch_rec *ctime_by;
	u64 entries_at;		/* position of the last record that put in or took out an entry */
	u32 nlink;		/* names, if create */
	u32 as_dir;		/* records that name it as a directory, each mention */
	u32 name_recs;		/* its LINKs, UNLINKs, RENAMEs, also over it */
	u8 since;		/* ARCHIL_SET_*: set by others since setattr, else create */
	u8 pending;		/* ARCHIL_SET_MTIME, _CTIME: merge.h, rule B */
	bool gone;		/* at the end of the batch it is not there */
	bool in_rec;		/* lies in the memory of a record */
	bool put_over;		/* create, and renamed over another */
	struct archil_time mtime, ctime;	/* as far as pending */
};

struct archil_batch_rec {
	struct archil_record rec;
	struct archil_batch_rec *prev;		/* in the batch */
	/* In the batch; in the junk; the caller's while it is in neither. */
	struct archil_batch_rec *next;
	u64 charge;		/* the caller's: credit taken for it */
	u64 pos;		/* place in the batch; grows */
	struct archil_batch_link own, over;	/* inode->recs of rec.ino, of rec.target */
	struct archil_batch_inode *ino, *dir, *new_dir, *target;	/* NULL: it has none */
	struct archil_batch_inode *spares;	/* until it is added: for inodes new to the batch */
	struct archil_batch_rec *extra;		/* merge.h, rules 6, 7: where the name lies */
	u32 cap;		/* bytes of parts[] */
	bool has_inode;		/* rule 4: parts[] begins with room for an inode, else with the data */
	u8 parts[] __aligned(8);
};

#define ARCHIL_BATCH_FEW	16	/* buckets to begin with */
#define ARCHIL_BATCH_SEGMENT	512	/* buckets in a segment, and segments at most: a page each */

struct archil_batch_segment {
	struct archil_batch_inode *bucket[ARCHIL_BATCH_SEGMENT];
};

struct archil_batch {
	struct archil_batch_rec *first, *last;	/* records in order */
	u32 count;		/* records, the pending times included; read only */
	size_t bytes;		/* that archil_batch_drain() will write; read only */
	size_t max;		/* bytes to stay below */
	u64 pos;
	struct archil_batch_rec *junk;
	/* Inodes by number. */
	u32 inodes, buckets;
	u32 mask;		/* the least 2^n - 1 that is not below buckets - 1 */
	struct archil_batch_segment **segments;	/* NULL while the few do */
	struct archil_batch_inode *few[ARCHIL_BATCH_FEW];	/* instead of the first segment's */
	/* Once it is drained. */
	bool draining;
	struct archil_batch_inode *late;	/* whose times are pending */
	struct archil_batch_rec *kept;		/* records in which such inodes lie */
};

/* @max: see archil_batch_add(). */
void archil_batch_init(struct archil_batch *b, size_t max);
/*
 * Frees everything, at any moment, junk too; the batch is empty and can be
 * used again. May sleep.
 */
void archil_batch_clear(struct archil_batch *b);

/* Bytes until max; 0 if it has been exceeded. */
static inline size_t archil_batch_left(const struct archil_batch *b)
{
	return b->bytes < b->max ? b->max - b->bytes : 0;
}

static inline bool archil_batch_fits(const struct archil_batch *b, const struct archil_record *rec)
{
	return archil_record_size(rec) <= archil_batch_left(b);
}

/**
 * archil_batch_rec_new - a copy of a record with all that adding it can need
 * @rec: if its data is NULL and data_len is not 0, room is kept for so much,
 *	 and archil_batch_rec_fill() brings it
 *
 * NULL: no memory. May sleep.
 */
struct archil_batch_rec *archil_batch_rec_new(const struct archil_record *rec);
/* The data of a CONTENT record, at most as much as there is room for, and its time. */
void archil_batch_rec_fill(struct archil_batch_rec *e, const void *data, u32 data_len,
			   const struct archil_time *time);
/* One that was not added. May sleep. */
void archil_batch_rec_free(struct archil_batch_rec *e);

/* Takes what adding left over, a list by `next`; NULL: nothing. */
struct archil_batch_rec *archil_batch_junk(struct archil_batch *b);
/* May sleep. */
void archil_batch_junk_free(struct archil_batch_rec *list);

/**
 * archil_batch_drain - take the next part of what is to be sent
 * @buf, @cap:	where the records go, as many as fit. At least ARCHIL_REC_MAX, or all that is
 *		left (b->bytes)
 * @len, @count, @charge: what was written: bytes, records, sum of archil_record_charge()
 *
 * Nothing can be added any more. What was written is freed, and no longer in b->bytes and
 * b->count. Into however many buffers: the same bytes. May sleep: no lock is held.
 *
 * Returns true when the batch is empty.
 */
bool archil_batch_drain(struct archil_batch *b, void *buf, size_t cap, size_t *len, u32 *count,
			u64 *charge);

/* ---- for merge.c ---- */

#define ARCHIL_BATCH_TIMES	(ARCHIL_SET_MTIME | ARCHIL_SET_CTIME)
/* What a pending time takes in the log. */
#define ARCHIL_BATCH_PENDING_SIZE	((sizeof(struct archil_rec_setattr) + 7) & ~(size_t)7)

void archil_batch_link_del(struct archil_batch_link *link);

/* Find the inodes that a record names, and begin those that are new. */
void archil_batch_inodes_get(struct archil_batch *b, struct archil_batch_rec *e);
/* NULL: no record names it. */
struct archil_batch_inode *archil_batch_inode_find(struct archil_batch *b, u64 ino);
/* No record may name it any more. */
void archil_batch_inode_forget(struct archil_batch *b, struct archil_batch_inode *x);

/* An empty record with room for @cap bytes of parts, or NULL. */
struct archil_batch_rec *archil_batch_rec_alloc(size_t cap, bool wait);
/* Put it at the end. */
void archil_batch_insert(struct archil_batch *b, struct archil_batch_rec *e);
/*
 * Take it out; drop() makes it junk too. The caller sees to it that the times
 * that it set are kept: by inherit(), touch() or a record that sets them.
 */
void archil_batch_take_out(struct archil_batch *b, struct archil_batch_rec *e);
void archil_batch_drop(struct archil_batch *b, struct archil_batch_rec *e);
/* One that is not in the batch becomes junk. */
void archil_batch_junk_add(struct archil_batch *b, struct archil_batch_rec *e);

/* @which, everywhere: ARCHIL_SET_MTIME, ARCHIL_SET_CTIME, or both. */

/* The record at the end of the batch sets these (and, of @which, a size). */
void archil_batch_sets(struct archil_batch *b, struct archil_batch_inode *x, u32 which,
		       struct archil_batch_rec *e);
/* These times are to end as @time, though no record comes for it: now. */
void archil_batch_touch(struct archil_batch *b, struct archil_batch_inode *x, u32 which,
			const struct archil_time *time);
/* @e, which is about to go, names x as a directory: keep what x has from it last. */
void archil_batch_inherit(struct archil_batch *b, struct archil_batch_inode *x,
			  const struct archil_batch_rec *e);
/* They are set again, or x is gone. */
void archil_batch_unpend(struct archil_batch *b, struct archil_batch_inode *x, u32 which);

#endif /* ARCHIL_BATCH_H */

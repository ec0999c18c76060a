/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A batch while it is open: log records in order, what they say of each inode,
 * and the times that must outlive records that went. Pure: no locks (the
 * caller's protects a batch and all that is in it), nothing sleeps but
 * archil_batch_rec_new(). merge.h adds records to it.
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
	struct archil_batch_inode *next;	/* in the bucket, or of a record's spares */
	struct archil_batch_link recs;		/* head: own, and RENAMEs over it, in order */
	struct archil_batch_rec *create;	/* NULL: older than the batch */
	struct archil_batch_rec *setattr;	/* the last one */
	struct archil_batch_rec *last_name;	/* the last LINK, UNLINK or RENAME, also over it */
	struct archil_batch_rec *mtime_by;	/* the last to set it; NULL: none, or pending */
	struct archil_batch_rec *ctime_by;
	u32 since;		/* ARCHIL_SET_*: set by others since setattr, else create */
	u32 pending;		/* ARCHIL_SET_MTIME, _CTIME: merge.h, rule B */
	struct archil_time mtime, ctime;	/* as far as pending */
	u64 entries_at;		/* position of the last record that put in or took out an entry */
	u32 nlink;		/* names, if create */
	u32 as_dir;		/* records that name it as a directory, each mention */
	u32 name_recs;		/* its LINKs, UNLINKs, RENAMEs, also over it */
	bool gone;		/* at the end of the batch it is not there */
};

struct archil_batch_rec {
	struct archil_record rec;
	u64 pos;		/* place in the batch; grows */
	struct archil_batch_link order;		/* batch->order */
	struct archil_batch_link own, over;	/* inode->recs of rec.ino, of rec.target */
	struct archil_batch_inode *ino, *dir, *new_dir, *target;	/* NULL: it has none */
	struct archil_batch_inode *spares;	/* for inodes that the batch does not know */
	struct archil_batch_rec *extra;		/* merge.h, rules 6, 7: where the name lies */
	u32 cap;		/* bytes of parts[] */
	u8 parts[];
};

#define ARCHIL_BATCH_BUCKETS	8

struct archil_batch {
	struct archil_batch_link order;		/* head: all records */
	u32 count;		/* records, the pending ones included; read only */
	size_t bytes;		/* that archil_batch_encode() will write; read only */
	size_t max;		/* limit of bytes */
	u64 pos;
	u32 inodes, buckets;	/* buckets: a power of two */
	struct archil_batch_inode **bucket;
	struct archil_batch_inode *few[ARCHIL_BATCH_BUCKETS];	/* the buckets at first */
};

/* @max: bytes that the batch may come to, at most ARCHIL_PAYLOAD_MAX. */
void archil_batch_init(struct archil_batch *b, size_t max);
/* Frees everything; the batch is empty and can be used again. */
void archil_batch_clear(struct archil_batch *b);

static inline bool archil_batch_fits(const struct archil_batch *b, const struct archil_record *rec)
{
	return archil_record_size(rec) <= b->max - b->bytes;
}

/*
 * A copy of a record with all that adding it can need; NULL: no memory. May
 * sleep.
 */
struct archil_batch_rec *archil_batch_rec_new(const struct archil_record *rec);
/* One that was not added. */
void archil_batch_rec_free(struct archil_batch_rec *e);

/**
 * archil_batch_encode - the payload of a LOG request
 * @buf, @cap:	at least b->bytes
 *
 * Returns 0, or -ENOSPC.
 */
int archil_batch_encode(const struct archil_batch *b, void *buf, size_t cap);

/* ---- for merge.c ---- */

#define ARCHIL_BATCH_TIMES	(ARCHIL_SET_MTIME | ARCHIL_SET_CTIME)
/* What a pending time takes in the log. */
#define ARCHIL_BATCH_PENDING_SIZE	((sizeof(struct archil_rec_setattr) + 7) & ~(size_t)7)

void archil_batch_link_del(struct archil_batch_link *link);

/* Find an inode, or begin it with one of the record's spares. NULL: @ino is 0. */
struct archil_batch_inode *archil_batch_inode_get(struct archil_batch *b,
						  struct archil_batch_rec *e, u64 ino);
/* No record may name it any more. */
void archil_batch_inode_forget(struct archil_batch *b, struct archil_batch_inode *x);

/* An empty record with room for @cap bytes of parts, or NULL. */
struct archil_batch_rec *archil_batch_rec_alloc(size_t cap, bool wait);
/* Put it at the end. */
void archil_batch_insert(struct archil_batch *b, struct archil_batch_rec *e);
/*
 * Take it out; drop() frees it too. The caller sees to it that the times that
 * it set are kept: by inherit(), touch() or a record that sets them.
 */
void archil_batch_take_out(struct archil_batch *b, struct archil_batch_rec *e);
void archil_batch_drop(struct archil_batch *b, struct archil_batch_rec *e);

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

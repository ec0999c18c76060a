/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File data: READ, SEEK, WRITE, and what records do to data files (intents).
 * All of it belongs to the loop; the store does the I/O.
 *
 * 1. What is done to one inode's data goes through its struct inode_io, in the
 *    order of arrival but for what may pass.
 * 2. While the inode has intents, everything else waits. Intents run in order,
 *    are flushed, and are deleted in a commit; then the rest goes on.
 * 3. The loop may be behind the store by one commit. A READ or WRITE that sees a
 *    commit of which the loop does not know all yet (disk->settled) waits for that: for its
 *    intents, and for how far logs stand.
 * 4. A WRITE runs when record `after` of its log is durable, its delegation is
 *    alive and covers the inode, the inode is a bulk file last written under
 *    this delegation (fs_bulk_begin()), and, if it overwrites what readers may
 *    have seen, the change number has moved since. The last two are made so by a
 *    commit before (struct prepare), one for as many inodes as come within PREPARE_MS
 *    (PREPARE_IDLE_MS, when nothing is being received), or at once when somebody waits.
 * 5. It is answered when flushed: at once when urgent or when a reader waits, else
 *    together with others: after FLUSH_BYTES, or when the last was written FLUSH_IDLE_MS ago
 *    and nothing else is on its way (a WRITE, or the beginning of any request). What is on its way
 *    is waited for FLUSH_QUIET_MS, and FLUSH_MS in all. One that brings size and times
 *    (struct archil_write_req) is answered when these are committed, which follows the flush.
 * 6. Unflushed bytes are seen by the session that wrote them and nobody
 *    else: another's READ of them waits for the flush, and later WRITEs wait
 *    for that READ.
 * 7. "Moved since" is remembered while the inode_io is cached (bumped): set by
 *    the commit, cleared by a READ. Forgetting it costs a commit, nothing more.
 * 8. The space that data take (stat's blocks) is counted when they are flushed: a
 *    cut's in the commit that ends its intents; that of WRITEs at most COUNT_MS
 *    later, many inodes in one commit. Nobody waits for it; a crash before leaves
 *    the old number until the data change again.
 */
#ifndef ARCHIL_DATA_H
#define ARCHIL_DATA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "commit.h"
#include "fs_txn.h"
#include "loop.h"
#include "store.h"

struct disk;
struct dlg;
struct req;
struct session;
struct inode_io;

enum {
	FLUSH_IDLE_MS	= 1,
	FLUSH_QUIET_MS	= 15,
	FLUSH_MS	= 150,
	FLUSH_BYTES	= 16 << 20,
	COUNT_MS	= 500,
	PREPARE_IDLE_MS	= 1,
	PREPARE_MS	= 5,
	PREPARE_MAX	= 256,
	INODE_BUCKETS	= 16384,
	INODE_IDLE_MAX	= 32768,
};

enum dio_kind { DIO_READ, DIO_SEEK, DIO_WRITE };

enum dio_where {
	DIO_WAITING,		/* dlg->waiting: for its log, or for the delegation's end */
	DIO_QUEUED,		/* ii->queue */
	DIO_RUNNING,		/* ii->reading or ii->writing: at the store */
	DIO_WRITTEN,		/* ii->written: not flushed */
	DIO_FLUSHING,		/* ii->flushing */
};

/* One READ, SEEK or WRITE. */
struct dio {
	TAILQ_ENTRY(dio) link;
	enum dio_kind kind;
	enum dio_where where;
	struct req *req;
	struct disk *disk;
	struct session *ses;	/* the connection's: lives as long as req */
	struct inode_io *ii;	/* when past DIO_WAITING */
	struct dlg *dlg;	/* WRITE; strong */
	uint64_t ino, off, len, after;
	uint32_t whence;	/* SEEK */
	uint64_t size, change;	/* READ, SEEK: as they were when it began */
	bool urgent;		/* WRITE */
	bool grows;		/* WRITE: it brings grow; not any more if the log was further when it ran */
	struct fs_grow grow;
	bool coming;		/* WRITE: on its way to the store's file, counted */
	bool owner;		/* READ: ARCHIL_READ_OWNER */
	struct iovec iov;
	struct store_op op;
};

TAILQ_HEAD(dios, dio);

/* What was true of an inode, or a directory, under this delegation, */
struct as_of {
	uint64_t deleg;
	uint64_t seq;		/* while its log stood there */
	uint64_t shape;		/* and data->shape was this */
};

struct inode_io {
	struct inode_io *next;		/* in its bucket */
	TAILQ_ENTRY(inode_io) lru;	/* data->idle */
	TAILQ_ENTRY(inode_io) dirty;	/* data->dirty */
	TAILQ_ENTRY(inode_io) behind;	/* data->behind */
	struct disk *disk;
	uint64_t ino;
	bool idle, is_dirty, is_behind;

	struct dios queue, reading, writing, written, flushing;
	unsigned int n_queue;
	bool flush_again;		/* somebody waits for what is written meanwhile */
	struct store_op flush_op;

	bool preparing;			/* a struct prepare is under way */
	uint64_t ready;			/* the delegation of fs_bulk_begin(), 0: not known */
	bool bumped, read_since;	/* rule 7; read_since: after the prepare was submitted */
	struct as_of known;		/* it lies inside, and file is right */
	struct fs_file file;

	struct fs_intents intents;	/* to be run */
	struct fs_intents run;		/* run, not yet deleted */
	bool cutting;
	bool broken;			/* an intent failed: -EIO until a restart */
	struct store_op cut_op;
	struct iovec cut_iov;

	TAILQ_ENTRY(inode_io) count;	/* data->count */
	bool to_count;			/* is there */
	bool counting;			/* rule 8: at the store, or on its way to a commit */
	struct store_op count_op;
};

struct data {
	struct inode_io **buckets;
	TAILQ_HEAD(, inode_io) idle;	/* oldest first */
	unsigned int n_idle;
	TAILQ_HEAD(, inode_io) dirty;	/* have something written */
	TAILQ_HEAD(, inode_io) behind;	/* have something that waits for rule 3 */
	struct works prepares;		/* of WRITEs, to be submitted */
	unsigned int n_prepares;
	struct loop_timer prepare_timer;
	unsigned int n_coming;		/* WRITEs on their way */
	unsigned int n_receiving;	/* connections in the middle of a request */
	uint64_t dirty_bytes;
	struct loop_timer flush_timer;
	uint64_t written_at;		/* ms: when the last of what is dirty was */
	uint64_t flush_latest;		/* ms: the timer is not set beyond that */
	TAILQ_HEAD(, inode_io) count;	/* flushed, not yet counted */
	struct loop_timer count_timer;
	uint64_t shape;			/* moves when an inode may have changed delegations */
	uint64_t dir;			/* the last directory that a file was inside with */
	struct as_of dir_inside;
	unsigned int ops;		/* at the store */
	uint64_t bytes_read, bytes_written;
};

int data_init(struct disk *disk);
void data_destroy(struct disk *disk);
/* Nothing is at the store, or will be without being asked. */
bool data_idle(const struct disk *disk);

/* After a commit: takes over its intents. */
void data_intents(struct disk *disk, struct fs_intents *intents);
/* After the answers of a commit: what waited for it goes on. */
void data_settled(struct disk *disk);
/* More of its log is durable, or it is gone: what waited for that goes on. */
void data_dlg_moved(struct disk *disk, struct dlg *dlg);
/* At a start, before anything else: redoes all intents. 0 or a negative errno. */
int data_redo(struct disk *disk);

/* Between the files of this module. */
struct inode_io *inode_io_get(struct disk *disk, uint64_t ino);
void inode_io_queue(struct inode_io *ii, struct dio *io);
void inode_io_pump(struct inode_io *ii);
void inode_io_flush(struct inode_io *ii);
void data_written(struct inode_io *ii, struct dio *io);
/* Puts a WRITE onto its delegation's list. */
void dio_wait(struct dio *io);
void data_submit(struct disk *disk, struct store_op *op);
/* Takes a queued one off its list, whichever that is. */
void dio_unlink(struct dio *io);
/* Fails or drops it, and frees it. status: negative errno or enum archil_status. */
void dio_fail(struct dio *io, int status);
void dio_free(struct dio *io);
/* true: done with, in one way or another; false: it has to wait. */
bool read_start(struct inode_io *ii, struct dio *io);
bool write_start(struct inode_io *ii, struct dio *io);
void write_flushed(struct dio *io);
void prepare_fire(struct loop_timer *timer);
/* The disk goes: what was not submitted never will be. */
void prepares_drop(struct disk *disk);
void cut_start(struct inode_io *ii);
/* WRITEs of ii were flushed: what it takes is to be counted. */
void count_later(struct inode_io *ii);
void count_fire(struct loop_timer *timer);
/* Is the state that readers see ahead of what the loop knows? Then ii waits. */
bool data_behind(struct inode_io *ii, struct fs_view *view);

#endif

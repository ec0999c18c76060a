/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log of one delegation: append, seal, send, acknowledge, send again.
 */
#ifndef ARCHIL_OPLOG_H
#define ARCHIL_OPLOG_H

#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "shared/merge.h"

struct archil_deleg;
struct archil_log_batch;
struct archil_mount;

struct archil_log {
	spinlock_t lock;
	struct archil_log_batch *open;	/* what is not sealed; NULL once lost; protected by lock */
	struct archil_batch_rec *dead;	/* records that came too late; protected by lock */
	u64 next_seq;			/* of the open batch's first record; from 1; protected by lock */
	u64 appended;			/* how many ever were; protected by lock */
	u64 acked;			/* all up to here are durable; read with READ_ONCE */
	u64 want_seq;			/* up to here it is to be sent; protected by lock */
	unsigned int in_flight;		/* batches; protected by lock */
	int error;			/* -EIO once the delegation was taken; protected by lock */
	struct work_struct send_work;	/* holds a reference while queued */
	wait_queue_head_t wait;		/* acked moved, error, or there is nothing left to send */
	atomic_t backlog;		/* records not acknowledged */
	atomic64_t backlog_bytes;
};

/* For all logs; with the module. */
int archil_log_wq_init(void);
void archil_log_wq_exit(void);
/* What is sending now has let go of its log and mount. */
void archil_logs_settle(void);

/* 0 or -ENOMEM. */
int archil_log_init(struct archil_log *log);
/* Nobody uses it any more. */
void archil_log_exit(struct archil_log *log);

enum archil_log_how {
	ARCHIL_LOG_WAIT,	/* for the server to take what was appended, and for credit; killably */
	ARCHIL_LOG_FREE,	/* does not wait and needs no credit; from anywhere that may sleep */
};

/**
 * archil_log_rec_new - a record to be appended, with credit taken
 * @rec: copied. Without data, though data_len says so, room is kept for that many bytes of
 *	 contents, and archil_log_rec_fill() brings them
 *
 * ERR_PTR(-ENOMEM); -ENOSPC: there is no credit and the server has no room; -EINTR; -EIO.
 */
struct archil_batch_rec *archil_log_rec_new(struct archil_mount *m, const struct archil_record *rec,
					    enum archil_log_how how);
/* @len: at most what was kept. */
void archil_log_rec_fill(struct archil_mount *m, struct archil_batch_rec *e, const void *data,
			 u32 len, const struct archil_time *time);
/* One that was not appended. May sleep. */
void archil_log_rec_free(struct archil_mount *m, struct archil_batch_rec *e);
/* What merging left over. May sleep. */
void archil_log_junk_free(struct archil_mount *m);

/**
 * archil_log_append - append, and merge with what is open
 * @e: consumed
 *
 * Returns the number of the first record of the open batch: when that is acknowledged this
 * change is durable. 0 when the delegation was taken (the credit is free again). The caller is
 * inside archil_deleg_enter(), or drains. Never blocks.
 */
u64 archil_log_append(struct archil_deleg *d, struct archil_batch_rec *e);
/* The same under delegs->lock: archil_deleg_stir_locked() follows. */
u64 archil_log_append_locked(struct archil_deleg *d, struct archil_batch_rec *e);

/**
 * archil_log_withdraw - take back all contents of an inode that are in the open batch
 * @charge: the credit that was taken for them, the caller's again
 *
 * False: none are there any more, somebody waits for them, or rule 11 of merge.h is against it;
 * they stay where they are. The caller is inside archil_deleg_enter(). Never blocks.
 */
bool archil_log_withdraw(struct archil_deleg *d, u64 ino, u64 *charge);

/* Is all of it durable? *@last: the last number; what comes has a higher one. */
bool archil_log_settled(struct archil_deleg *d, u64 *last);
/* Begin to send what is open, and send all of it. Never blocks. */
void archil_log_kick(struct archil_deleg *d);
/*
 * Wait until record @seq is durable (0: until all that is appended now is).
 * Killable if @killable: -EINTR. -EIO: it is lost. Sends what is open.
 */
int archil_log_wait(struct archil_deleg *d, u64 seq, bool killable);
/* The delegation was taken: drop what is not sealed, fail what waits. */
void archil_log_fail(struct archil_deleg *d);
/* A number that moves with every append. */
u64 archil_log_appended(struct archil_deleg *d);
/* Nothing is appended and not acknowledged. */
bool archil_log_idle(struct archil_deleg *d);

#endif /* ARCHIL_OPLOG_H */

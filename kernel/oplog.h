/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log of one delegation: append, seal, send, acknowledge, send again.
 */
#ifndef ARCHIL_OPLOG_H
#define ARCHIL_OPLOG_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "shared/record.h"

struct archil_deleg;
struct archil_mount;

/* One record, encoded, from append to acknowledgement. */
struct archil_entry {
	struct list_head list;		/* log->open or a batch's; protected by log->lock */
	u64 seq;
	u32 len;
	u32 charge;			/* credit taken for it, bytes */
	u8 data[];
};

struct archil_log {
	spinlock_t lock;
	struct list_head open;		/* entries not sealed, in order; protected by lock */
	struct list_head dead;		/* entries that came too late; protected by lock */
	size_t open_bytes;		/* protected by lock */
	u64 next_seq;			/* of the next entry; from 1; protected by lock */
	u64 acked;			/* all up to here are durable; read with READ_ONCE */
	u64 want_seq;			/* up to here it is to be sent; protected by lock */
	unsigned int in_flight;		/* batches; protected by lock */
	int error;			/* -EIO once the delegation was taken; protected by lock */
	struct work_struct send_work;	/* holds a reference while queued */
	wait_queue_head_t wait;		/* acked moved, or error */
	atomic_t backlog;		/* entries not acknowledged */
	atomic64_t backlog_bytes;
};

/* For all logs; with the module. */
int archil_log_wq_init(void);
void archil_log_wq_exit(void);
/* What is sending now has let go of its log and mount. */
void archil_logs_settle(void);

void archil_log_init(struct archil_log *log);
/* Nobody uses it any more. */
void archil_log_exit(struct archil_log *log);

enum archil_entry_credit {
	ARCHIL_ENTRY_WAIT,	/* ask the server for credit and wait, killably */
	ARCHIL_ENTRY_NOWAIT,	/* -EAGAIN instead */
	ARCHIL_ENTRY_FREE,	/* needs none */
};

/*
 * An entry for this record, with credit taken. ERR_PTR(-ENOMEM), ERR_PTR(-ENOSPC):
 * there is no credit and the server has no room; ERR_PTR(-EINTR).
 */
struct archil_entry *archil_entry_new(struct archil_mount *m, const struct archil_record *rec,
				      gfp_t gfp, enum archil_entry_credit how);
/*
 * The same in two steps: room and credit for a record whose data are not known
 * yet (rec->data is not looked at), then the record, of at most that size.
 */
struct archil_entry *archil_entry_reserve(struct archil_mount *m, const struct archil_record *rec,
					  gfp_t gfp);
void archil_entry_fill(struct archil_entry *e, const struct archil_record *rec);
/* An entry that was not appended. */
void archil_entry_free(struct archil_mount *m, struct archil_entry *e);

/*
 * Append: consumes the entry, returns its number; 0 when the delegation was
 * taken (the entry is kept until the log goes, its credit is free again). The caller is inside archil_deleg_enter(), or
 * drains. Never blocks.
 */
u64 archil_log_append(struct archil_deleg *d, struct archil_entry *e);

/* Begin to send what is open, and send all of it. Never blocks. */
void archil_log_kick(struct archil_deleg *d);
/*
 * Wait until record @seq is durable (0: until all that is appended now is).
 * Killable if @killable: -EINTR. -EIO: it is lost. Sends what is open.
 */
int archil_log_wait(struct archil_deleg *d, u64 seq, bool killable);
/* The delegation was taken: drop what is not sealed, fail what waits. */
void archil_log_fail(struct archil_deleg *d);
u64 archil_log_last(struct archil_deleg *d);
/* Nothing is appended and not acknowledged. */
bool archil_log_idle(struct archil_deleg *d);

#endif /* ARCHIL_OPLOG_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * The log of one delegation.
 *
 * 1. Records are numbered from 1 without a gap, in the order of append; append and
 *    numbering are one step under the log's lock.
 * 2. A batch is sealed when it is sent, never before: what is open can still be added to.
 *    Batches are submitted in order, several may be in flight, and the transport
 *    keeps their order when it sends again.
 * 3. A batch is acknowledged when it is durable. acked only grows.
 * 4. An accepted record can not fail at the server. If the server refuses a batch
 *    all the same, or says that the delegation was taken, the delegation is lost.
 * 5. Sending waits for memory by trying again, not by failing.
 * 6. Sending has a workqueue of its own, in which nothing waits for anything but memory: a
 *    rescuer takes all works of its queue, and who waits for a log must not be among them.
 */
#include <linux/delay.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "super.h"
#include "trace.h"

#define ARCHIL_LOG_IN_FLIGHT	4
#define ARCHIL_BATCH_RECORDS	1024
#define ARCHIL_LOG_KICK		(256 << 10)	/* open bytes that are sent without being asked */
/* What a mount may have appended and not acknowledged. */
#define ARCHIL_BACKLOG_RECORDS	200000
#define ARCHIL_BACKLOG_BYTES	(128ll << 20)

static struct workqueue_struct *archil_log_wq;

int __init archil_log_wq_init(void)
{
	archil_log_wq = alloc_workqueue("archil-log", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return archil_log_wq ? 0 : -ENOMEM;
}

void archil_log_wq_exit(void)
{
	destroy_workqueue(archil_log_wq);
}

void archil_logs_settle(void)
{
	flush_workqueue(archil_log_wq);
}

struct archil_batch_req {
	struct archil_deleg *deleg;	/* reference */
	struct list_head entries;
	u64 last_seq;
	u64 charge;
	unsigned int count;
	u64 bytes;
	struct kvec vec[];
};

static bool archil_log_full(struct archil_mount *m)
{
	return atomic_read(&m->backlog) >= ARCHIL_BACKLOG_RECORDS ||
	       atomic64_read(&m->backlog_bytes) >= ARCHIL_BACKLOG_BYTES;
}

static struct archil_entry *archil_entry_alloc(struct archil_mount *m,
					       const struct archil_record *rec, gfp_t gfp,
					       enum archil_entry_credit how)
{
	size_t len = archil_record_size(rec);
	struct archil_entry *e;
	int err;

	/* A writer that outruns the server waits here, where it holds nothing of ours. */
	if (how == ARCHIL_ENTRY_WAIT && unlikely(archil_log_full(m)) &&
	    wait_event_killable(m->backlog_wait, !archil_log_full(m)))
		return ERR_PTR(-EINTR);
	e = kvmalloc(struct_size(e, data, len), gfp);
	if (!e)
		return ERR_PTR(-ENOMEM);
	e->len = len;
	e->charge = how == ARCHIL_ENTRY_FREE ? 0 : archil_record_charge(rec);
	err = archil_credit_take(m, e->charge, how == ARCHIL_ENTRY_NOWAIT);
	if (err) {
		kvfree(e);
		return ERR_PTR(err);
	}
	return e;
}

void archil_entry_fill(struct archil_entry *e, const struct archil_record *rec)
{
	size_t pos = 0;

	archil_record_put(e->data, e->len, &pos, rec);
	e->len = pos;
}

struct archil_entry *archil_entry_reserve(struct archil_mount *m, const struct archil_record *rec,
					  gfp_t gfp)
{
	return archil_entry_alloc(m, rec, gfp, ARCHIL_ENTRY_WAIT);
}

struct archil_entry *archil_entry_new(struct archil_mount *m, const struct archil_record *rec,
				      gfp_t gfp, enum archil_entry_credit how)
{
	struct archil_entry *e = archil_entry_alloc(m, rec, gfp, how);

	if (!IS_ERR(e))
		archil_entry_fill(e, rec);
	return e;
}

void archil_entry_free(struct archil_mount *m, struct archil_entry *e)
{
	archil_credit_return(m, e->charge);
	kvfree(e);
}

u64 archil_log_append(struct archil_deleg *d, struct archil_entry *e)
{
	struct archil_log *log = &d->log;
	u32 len = e->len;
	bool kick;
	u64 seq;

	spin_lock(&log->lock);
	if (log->error) {
		/* Not freed here: that may sleep, and callers hold locks. */
		list_add_tail(&e->list, &log->dead);
		spin_unlock(&log->lock);
		archil_credit_return(d->mount, e->charge);
		return 0;
	}
	seq = log->next_seq++;
	e->seq = seq;
	list_add_tail(&e->list, &log->open);
	log->open_bytes += len;
	kick = log->open_bytes >= ARCHIL_LOG_KICK;
	atomic_inc(&log->backlog);
	atomic64_add(len, &log->backlog_bytes);
	atomic_inc(&d->mount->backlog);
	atomic64_add(len, &d->mount->backlog_bytes);
	spin_unlock(&log->lock);
	/* From here on it may be sent, acknowledged and freed. */
	archil_commit_soon(d->mount);
	trace_archil_log_append(d->mount->id, d->number, seq, len);
	if (kick)
		archil_log_kick(d);
	return seq;
}

/* So much less is waiting for an acknowledgment. */
static void archil_log_shrink(struct archil_deleg *d, unsigned int count, u64 bytes)
{
	struct archil_mount *m = d->mount;

	atomic_sub(count, &d->log.backlog);
	atomic64_sub(bytes, &d->log.backlog_bytes);
	atomic_sub(count, &m->backlog);
	atomic64_sub(bytes, &m->backlog_bytes);
	if (wq_has_sleeper(&m->backlog_wait) && !archil_log_full(m))
		wake_up_all(&m->backlog_wait);
}

static void archil_log_free(struct archil_deleg *d, struct list_head *entries)
{
	struct archil_entry *e, *next;

	list_for_each_entry_safe(e, next, entries, list) {
		archil_log_shrink(d, 1, e->len);
		archil_entry_free(d->mount, e);
	}
	INIT_LIST_HEAD(entries);
}

/* ---- sending ---- */

static void archil_log_go_on(struct archil_deleg *d);

static void archil_batch_done(struct archil_req *req)
{
	struct archil_batch_req *b = req->private;
	const struct archil_log_rep *rep = req->rep;
	const struct archil_closed *closed = req->rep;
	struct archil_deleg *d = b->deleg;
	struct archil_log *log = &d->log;
	u64 applied = 0, credit = 0;
	bool more;

	if (!req->error && !req->status) {
		applied = le64_to_cpu(rep->applied);
		credit = le64_to_cpu(rep->credit);
	} else if (!req->error && req->status == ARCHIL_ST_CLOSED && req->rep_len >= sizeof(*closed)) {
		applied = le64_to_cpu(closed->seq);
	}
	if (applied >= b->last_seq) {
		struct archil_entry *e, *next;

		list_for_each_entry_safe(e, next, &b->entries, list)
			kvfree(e);
		INIT_LIST_HEAD(&b->entries);
		archil_credit_settle(d->mount, b->charge);
		archil_credit_add(d->mount, credit);
		archil_log_shrink(d, b->count, b->bytes);
		spin_lock(&log->lock);
		log->in_flight--;
		if (b->last_seq > log->acked)
			WRITE_ONCE(log->acked, b->last_seq);
		more = !list_empty(&log->open) && log->want_seq > log->acked;
		spin_unlock(&log->lock);
		trace_archil_log_ack(d->mount->id, d->number, b->last_seq);
		wake_up_all(&log->wait);
		if (more)
			archil_log_go_on(d);
		else if (READ_ONCE(d->released) && archil_log_idle(d))
			archil_deleg_close(d);
		return;
	}
	spin_lock(&log->lock);
	log->in_flight--;
	spin_unlock(&log->lock);
	if (!req->error && req->status != ARCHIL_ST_TAKEN)
		pr_err("mount %llu: the server refuses records up to %llu of delegation %llu: %u\n",
		       d->mount->id, b->last_seq, d->number, req->status);
	archil_deleg_lost(d);
	wake_up_all(&log->wait);
}

static void archil_batch_release(struct archil_req *req)
{
	struct archil_batch_req *b = req->private;

	archil_log_free(b->deleg, &b->entries);
	archil_deleg_put(b->deleg);
	kvfree(b);
}

/* Seal what is open, as much as fits, and submit it. False: no memory. */
static bool archil_log_send_batch(struct archil_deleg *d)
{
	struct archil_log *log = &d->log;
	u32 limit = d->mount->payload_max;
	struct archil_log_req *body;
	struct archil_batch_req *b;
	struct archil_entry *e, *next;
	struct archil_req *req;

	b = kvmalloc(struct_size(b, vec, ARCHIL_BATCH_RECORDS), GFP_NOFS);
	if (!b)
		return false;
	req = archil_req_new(d->mount, ARCHIL_OP_LOG, sizeof(*body), sizeof(struct archil_log_rep),
			     GFP_NOFS);
	if (!req) {
		kvfree(b);
		return false;
	}
	INIT_LIST_HEAD(&b->entries);
	b->count = 0;
	b->charge = 0;
	b->bytes = 0;
	body = req->body;
	body->deleg = cpu_to_le64(d->number);

	spin_lock(&log->lock);
	list_for_each_entry_safe(e, next, &log->open, list) {
		if (b->count == ARCHIL_BATCH_RECORDS || req->out_len + e->len > limit)
			break;
		if (!b->count)
			body->first_seq = cpu_to_le64(e->seq);
		b->vec[b->count].iov_base = e->data;
		b->vec[b->count++].iov_len = e->len;
		b->charge += e->charge;
		b->bytes += e->len;
		b->last_seq = e->seq;
		req->out_len += e->len;
		log->open_bytes -= e->len;
		list_move_tail(&e->list, &b->entries);
	}
	if (b->count)
		log->in_flight++;
	spin_unlock(&log->lock);

	refcount_inc(&d->ref);
	b->deleg = d;
	body->count = cpu_to_le32(b->count);
	req->out_kvec = b->vec;
	req->out_nr = b->count;
	req->urgent = true;
	req->private = b;
	req->done = archil_batch_done;
	req->release = archil_batch_release;
	if (b->count) {
		atomic64_add(b->count, &d->mount->tp.records);
		atomic64_inc(&d->mount->tp.batches);
		trace_archil_log_batch(d->mount->id, d->number, b->last_seq, b->count);
		archil_req_submit(req);
	}
	archil_req_put(req);
	return true;
}

static void archil_log_send(struct work_struct *work)
{
	struct archil_log *log = container_of(work, struct archil_log, send_work);
	struct archil_deleg *d = container_of(log, struct archil_deleg, log);
	unsigned int nofs = memalloc_nofs_save();
	bool due;

	for (;;) {
		spin_lock(&log->lock);
		due = !log->error && !list_empty(&log->open) && log->in_flight < ARCHIL_LOG_IN_FLIGHT;
		spin_unlock(&log->lock);
		if (!due)
			break;
		if (!archil_log_send_batch(d))
			msleep(20);	/* rule 5 */
	}
	memalloc_nofs_restore(nofs);
	archil_deleg_put(d);
}

/* Go on sending, as far as somebody wants. */
static void archil_log_go_on(struct archil_deleg *d)
{
	refcount_inc(&d->ref);
	if (!queue_work(archil_log_wq, &d->log.send_work))
		archil_deleg_put(d);
}

void archil_log_kick(struct archil_deleg *d)
{
	struct archil_log *log = &d->log;

	spin_lock(&log->lock);
	/* All of it, though only so many batches are in flight at a time. */
	log->want_seq = max(log->want_seq, log->next_seq - 1);
	spin_unlock(&log->lock);
	archil_log_go_on(d);
}

int archil_log_wait(struct archil_deleg *d, u64 seq, bool killable)
{
	struct archil_log *log = &d->log;
	bool open;

	spin_lock(&log->lock);
	if (!seq)
		seq = log->next_seq - 1;
	if (seq > log->want_seq)
		log->want_seq = seq;
	open = !list_empty(&log->open);
	spin_unlock(&log->lock);
	if (READ_ONCE(log->acked) >= seq)
		return 0;
	if (open)
		archil_log_go_on(d);
	if (!killable)
		wait_event(log->wait, READ_ONCE(log->acked) >= seq || READ_ONCE(log->error));
	else if (wait_event_killable(log->wait,
				     READ_ONCE(log->acked) >= seq || READ_ONCE(log->error)))
		return -EINTR;
	return READ_ONCE(log->acked) >= seq ? 0 : READ_ONCE(log->error);
}

void archil_log_fail(struct archil_deleg *d)
{
	struct archil_log *log = &d->log;
	LIST_HEAD(lost);

	spin_lock(&log->lock);
	WRITE_ONCE(log->error, -EIO);
	list_splice_init(&log->open, &lost);
	log->open_bytes = 0;
	spin_unlock(&log->lock);
	archil_log_free(d, &lost);
	wake_up_all(&log->wait);
}

u64 archil_log_last(struct archil_deleg *d)
{
	u64 last;

	spin_lock(&d->log.lock);
	last = d->log.next_seq - 1;
	spin_unlock(&d->log.lock);
	return last;
}

bool archil_log_idle(struct archil_deleg *d)
{
	return READ_ONCE(d->log.acked) >= archil_log_last(d);
}

void archil_log_exit(struct archil_log *log)
{
	struct archil_entry *e, *next;

	list_for_each_entry_safe(e, next, &log->dead, list)
		kvfree(e);
}

void archil_log_init(struct archil_log *log)
{
	spin_lock_init(&log->lock);
	INIT_LIST_HEAD(&log->open);
	INIT_LIST_HEAD(&log->dead);
	log->next_seq = 1;
	INIT_WORK(&log->send_work, archil_log_send);
	init_waitqueue_head(&log->wait);
}

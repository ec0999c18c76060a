// SPDX-License-Identifier: GPL-2.0
/*
 * The log of one delegation.
 *
 * 1. What is appended goes into the open batch, and is merged with what is in it (shared/merge.h).
 *    Appending and merging are one step under the log's lock.
 * 2. A batch is sealed when it is sent, never before; then its records get their numbers, from 1
 *    without a gap. Until then a change is known by the number that the open batch will begin
 *    with: the batch is applied whole, so when that record is durable all of it is.
 * 3. A batch goes out as one or more parts, each a request, one behind the other; the server
 *    applies them as one. Batches are submitted in order, several may be in flight, and the
 *    transport keeps their order when it sends again.
 * 4. A batch is acknowledged when it is durable. acked only grows.
 * 5. An accepted record can not fail at the server. If the server refuses a batch
 *    all the same, or says that the delegation was taken, the delegation is lost.
 * 6. Sending waits for memory by trying again, not by failing.
 * 7. Sending has a workqueue of its own, in which nothing waits for anything but memory: a
 *    rescuer takes all works of its queue, and who waits for a log must not be among them.
 * 8. What a mount has appended and not acknowledged is bounded, in records and bytes, and counted
 *    before it is appended. Above a half of that all logs are sent, no more often than the clock
 *    ticks; above three quarters with each change, and writers are slowed; at the bound they wait.
 *    What frees or follows is counted and never waits.
 * 9. Records that merging drops are freed by whoever makes the next one, and by who sends: to free
 *    them may sleep.
 */
#include <linux/delay.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "super.h"
#include "trace.h"

#define ARCHIL_LOG_IN_FLIGHT	4
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

struct archil_log_batch {
	struct archil_batch batch;
	u64 charge;			/* credit taken for its records; protected by the log's lock */

	/* Once sealed. */
	struct archil_deleg *deleg;	/* reference */
	u64 first_seq, last_seq;
	u32 records;
	u64 bytes;
	refcount_t ref;			/* one a part, and the sender's */
	u32 parts;			/* not answered, and one while sending; protected by the log's lock */
	bool failed;			/* a part was; protected by the log's lock */
	u32 status;			/* of that part, for the message */
	u64 credit;			/* that came with the answers; protected by the log's lock */
};

struct archil_log_part {
	struct archil_log_batch *batch;	/* reference */
	u64 last_seq;			/* of the batch if it is its last part, else 0 */
	struct kvec vec;
};

/* ---- the backlog ---- */

/* So many eighths of the bound are taken. */
static bool archil_backlog_above(struct archil_mount *m, unsigned int eighths)
{
	return atomic_read(&m->backlog) >= ARCHIL_BACKLOG_RECORDS / 8 * eighths ||
	       atomic64_read(&m->backlog_bytes) >= ARCHIL_BACKLOG_BYTES / 8 * eighths;
}

static void archil_backlog_shrink(struct archil_mount *m, s64 bytes)
{
	atomic64_sub(bytes, &m->backlog_bytes);
	if (wq_has_sleeper(&m->backlog_wait) && !archil_backlog_above(m, 8))
		wake_up_all(&m->backlog_wait);
}

/* A writer that outruns the server is slowed here, where it holds nothing of ours. */
static int archil_backlog_wait(struct archil_mount *m)
{
	if (likely(!archil_backlog_above(m, 4)))
		return 0;
	if (!archil_backlog_above(m, 6)) {
		if (time_after(jiffies, READ_ONCE(m->backlog_tick))) {
			WRITE_ONCE(m->backlog_tick, jiffies);
			archil_commit_now(m);
		}
		return 0;
	}
	archil_commit_now(m);
	if (schedule_timeout_killable(1) && fatal_signal_pending(current))
		return -EINTR;
	if (wait_event_killable(m->backlog_wait,
				!archil_backlog_above(m, 8) || archil_transport_is_over(m)))
		return -EINTR;
	return 0;
}

/* In a delegation's log it is so much more, or less, than before. */
static void archil_log_count(struct archil_deleg *d, int records, s64 bytes)
{
	atomic_add(records, &d->log.backlog);
	atomic64_add(bytes, &d->log.backlog_bytes);
	atomic_add(records, &d->mount->backlog);
	archil_backlog_shrink(d->mount, -bytes);
}

/* ---- records ---- */

struct archil_batch_rec *archil_log_rec_new(struct archil_mount *m, const struct archil_record *rec,
					    enum archil_log_how how)
{
	s64 size = archil_record_size(rec);
	struct archil_batch_rec *e;
	unsigned int nofs;
	int err;

	archil_log_junk_free(m);
	if (how == ARCHIL_LOG_WAIT) {
		err = archil_backlog_wait(m);
		if (err)
			return ERR_PTR(err);
		e = archil_batch_rec_new(rec);
	} else {
		nofs = memalloc_nofs_save();
		e = archil_batch_rec_new(rec);
		memalloc_nofs_restore(nofs);
	}
	if (!e)
		return ERR_PTR(-ENOMEM);
	e->charge = how == ARCHIL_LOG_FREE ? 0 : archil_record_charge(rec);
	err = archil_credit_take(m, e->charge);
	if (err) {
		archil_batch_rec_free(e);
		return ERR_PTR(err);
	}
	atomic64_add(size, &m->backlog_bytes);
	return e;
}

void archil_log_rec_fill(struct archil_mount *m, struct archil_batch_rec *e, const void *data,
			 u32 len, const struct archil_time *time)
{
	s64 size = archil_record_size(&e->rec);

	archil_batch_rec_fill(e, data, len, time);
	archil_backlog_shrink(m, size - (s64)archil_record_size(&e->rec));
}

void archil_log_rec_free(struct archil_mount *m, struct archil_batch_rec *e)
{
	archil_credit_return(m, e->charge);
	archil_backlog_shrink(m, archil_record_size(&e->rec));
	archil_batch_rec_free(e);
}

static void archil_log_junk_add(struct archil_mount *m, struct archil_batch_rec *list)
{
	struct archil_batch_rec *last = list, *first;

	while (last->next)
		last = last->next;
	do {
		first = READ_ONCE(m->log_junk);
		last->next = first;
	} while (cmpxchg(&m->log_junk, first, list) != first);
}

void archil_log_junk_free(struct archil_mount *m)
{
	if (READ_ONCE(m->log_junk))
		archil_batch_junk_free(xchg(&m->log_junk, NULL));
}

/* ---- appending ---- */

static bool archil_log_open_empty(const struct archil_log *log)
{
	return !log->open || !log->open->batch.count;
}

/* The last number that stands for something appended. */
static u64 archil_log_last(const struct archil_log *log)
{
	return archil_log_open_empty(log) ? log->next_seq - 1 : log->next_seq;
}

u64 archil_log_append_locked(struct archil_deleg *d, struct archil_batch_rec *e)
{
	s64 size = archil_record_size(&e->rec), bytes;
	struct archil_log *log = &d->log;
	struct archil_mount *m = d->mount;
	struct archil_batch_rec *junk;
	struct archil_log_batch *b;
	int records;
	bool empty;
	u64 seq;

	spin_lock(&log->lock);
	if (log->error) {
		/* Not freed here: that may sleep, and callers hold locks. */
		e->next = log->dead;
		log->dead = e;
		spin_unlock(&log->lock);
		archil_credit_return(m, e->charge);
		archil_backlog_shrink(m, size);
		return 0;
	}
	b = log->open;
	b->charge += e->charge;
	records = b->batch.count;
	bytes = b->batch.bytes;
	archil_batch_add(&b->batch, e);
	records = b->batch.count - records;
	bytes = b->batch.bytes - bytes;
	empty = !b->batch.count;
	junk = archil_batch_junk(&b->batch);
	log->appended++;
	seq = log->next_seq;
	archil_log_count(d, records, bytes);
	spin_unlock(&log->lock);
	/* From here on it may be sent, acknowledged and freed. */
	archil_room_changed(m);
	archil_backlog_shrink(m, size);	/* counted twice until now */
	archil_commit_soon(m);
	trace_archil_log_append(m->id, d->number, seq, size);
	if (junk)
		archil_log_junk_add(m, junk);
	if (unlikely(empty))
		wake_up_all(&log->wait);
	return seq;
}

u64 archil_log_append(struct archil_deleg *d, struct archil_batch_rec *e)
{
	u64 seq = archil_log_append_locked(d, e);

	if (seq)
		archil_deleg_stir(d);
	return seq;
}

bool archil_log_withdraw(struct archil_deleg *d, u64 ino, u64 *charge)
{
	struct archil_batch_rec *junk = NULL;
	struct archil_log *log = &d->log;
	struct archil_log_batch *b;
	bool done = false;
	int records;
	s64 bytes;

	spin_lock(&log->lock);
	b = log->open;
	/* What is to be sent stays as it is: an fsync may count on it. */
	if (!log->error && log->want_seq < log->next_seq) {
		records = b->batch.count;
		bytes = b->batch.bytes;
		done = archil_batch_withdraw(&b->batch, ino, charge);
		b->charge -= *charge;
		records = b->batch.count - records;
		bytes = b->batch.bytes - bytes;
		junk = archil_batch_junk(&b->batch);
		archil_log_count(d, records, bytes);
	}
	spin_unlock(&log->lock);
	if (junk)
		archil_log_junk_add(d->mount, junk);
	return done;
}

/* ---- batches ---- */

static struct archil_log_batch *archil_log_batch_new(gfp_t gfp)
{
	struct archil_log_batch *b = kzalloc(sizeof(*b), gfp);

	if (!b)
		return NULL;
	archil_batch_init(&b->batch, ARCHIL_BATCH_MAX);
	refcount_set(&b->ref, 1);
	return b;
}

static void archil_log_batch_free(struct archil_log_batch *b)
{
	archil_batch_clear(&b->batch);
	kfree(b);
}

static void archil_log_batch_put(struct archil_log_batch *b)
{
	struct archil_deleg *d = b->deleg;

	if (!refcount_dec_and_test(&b->ref))
		return;
	archil_log_batch_free(b);
	archil_deleg_put(d);
}

/* What was sealed counts no more: acknowledged, or lost. */
static void archil_log_batch_uncount(struct archil_log_batch *b)
{
	archil_log_count(b->deleg, -(int)b->records, -(s64)b->bytes);
}

/* ---- sending ---- */

static void archil_log_go_on(struct archil_deleg *d);

/* Is there something to seal, and may it go? The log is locked. */
static bool archil_log_due(const struct archil_log *log)
{
	return !log->error && !archil_log_open_empty(log) && log->want_seq >= log->next_seq;
}

static void archil_log_batch_acked(struct archil_log_batch *b)
{
	struct archil_deleg *d = b->deleg;
	struct archil_log *log = &d->log;
	bool more;

	archil_credit_settle(d->mount, b->charge);
	archil_credit_add(d->mount, b->credit);
	archil_log_batch_uncount(b);
	archil_room_changed(d->mount);
	spin_lock(&log->lock);
	log->in_flight--;
	if (b->last_seq > log->acked)
		WRITE_ONCE(log->acked, b->last_seq);
	more = archil_log_due(log);
	spin_unlock(&log->lock);
	trace_archil_log_ack(d->mount->id, d->number, b->last_seq);
	wake_up_all(&log->wait);
	if (more)
		archil_log_go_on(d);
	else if (READ_ONCE(d->released) && archil_log_idle(d))
		archil_deleg_close(d);
}

static void archil_log_batch_refused(struct archil_log_batch *b)
{
	struct archil_deleg *d = b->deleg;
	struct archil_log *log = &d->log;

	archil_credit_return(d->mount, b->charge);
	archil_log_batch_uncount(b);
	spin_lock(&log->lock);
	log->in_flight--;
	spin_unlock(&log->lock);
	if (b->status && b->status != ARCHIL_ST_TAKEN)
		pr_err("mount %llu: the server refuses records up to %llu of delegation %llu: %u\n",
		       d->mount->id, b->last_seq, d->number, b->status);
	archil_deleg_lost(d);
	wake_up_all(&log->wait);
}

/* One part is answered, or all are submitted. */
static void archil_log_part_over(struct archil_log_batch *b, bool failed, u32 status, u64 credit)
{
	struct archil_log *log = &b->deleg->log;
	bool over;

	spin_lock(&log->lock);
	if (failed) {
		b->failed = true;
		b->status = status;
	}
	b->credit += min_t(u64, credit, 1ull << 50);
	over = !--b->parts;
	spin_unlock(&log->lock);
	if (!over)
		return;
	if (b->failed)
		archil_log_batch_refused(b);
	else
		archil_log_batch_acked(b);
}

static void archil_log_part_done(struct archil_req *req)
{
	struct archil_log_part *part = req->private;
	const struct archil_log_rep *rep = req->rep;
	const struct archil_closed *closed = req->rep;
	u64 applied = 0, credit = 0;
	bool fine = false;

	if (!req->error && !req->status) {
		fine = true;
		applied = le64_to_cpu(rep->applied);
		credit = le64_to_cpu(rep->credit);
	} else if (!req->error && req->status == ARCHIL_ST_CLOSED && req->rep_len >= sizeof(*closed)) {
		fine = true;
		applied = le64_to_cpu(closed->seq);
	}
	archil_log_part_over(part->batch, !fine || applied < part->last_seq, req->status, credit);
}

static void archil_log_part_release(struct archil_req *req)
{
	struct archil_log_part *part = req->private;

	archil_log_batch_put(part->batch);
	kvfree(part->vec.iov_base);
	kfree(part);
}

static struct archil_req *archil_log_part_new(struct archil_log_batch *b, size_t cap)
{
	struct archil_log_part *part = kmalloc(sizeof(*part), GFP_NOFS);
	struct archil_req *req;
	void *buf;

	if (!part)
		return NULL;
	buf = kvmalloc(cap, GFP_NOFS);
	if (!buf)
		goto err_part;
	req = archil_req_new(b->deleg->mount, ARCHIL_OP_LOG, sizeof(struct archil_log_req),
			     sizeof(struct archil_log_rep), GFP_NOFS);
	if (!req)
		goto err_buf;
	refcount_inc(&b->ref);
	part->batch = b;
	part->last_seq = 0;
	part->vec.iov_base = buf;
	req->out_kvec = &part->vec;
	req->out_nr = 1;
	req->urgent = true;
	req->private = part;
	req->done = archil_log_part_done;
	req->release = archil_log_part_release;
	return req;

err_buf:
	kvfree(buf);
err_part:
	kfree(part);
	return NULL;
}

/* Send a batch that is sealed: rule 3. */
static void archil_log_send_batch(struct archil_log_batch *b)
{
	struct archil_deleg *d = b->deleg;
	struct archil_mount *m = d->mount;
	u64 seq = b->first_seq, charge = 0, part_charge;
	size_t left = b->bytes, len;
	struct archil_log_part *part;
	struct archil_log_req *body;
	struct archil_req *req;
	bool last = false;
	u32 count;

	while (!last) {
		while (!(req = archil_log_part_new(b, min_t(size_t, left, m->io_max))))
			msleep(20);	/* rule 6 */
		part = req->private;
		last = archil_batch_drain(&b->batch, part->vec.iov_base,
					  min_t(size_t, left, m->io_max), &len, &count,
					  &part_charge);
		charge += part_charge;
		left -= len;
		if (last) {
			/* What merging has saved is credit again. */
			if (!WARN_ON_ONCE(charge > b->charge))
				archil_credit_return(m, b->charge - charge);
			b->charge = charge;
			part->last_seq = b->last_seq;
		}
		body = req->body;
		body->deleg = cpu_to_le64(d->number);
		body->first_seq = cpu_to_le64(seq);
		body->count = cpu_to_le32(count);
		body->flags = cpu_to_le32(last ? 0 : ARCHIL_LOG_MORE);
		seq += count;
		part->vec.iov_len = len;
		req->out_len = len;
		spin_lock(&d->log.lock);
		b->parts++;
		spin_unlock(&d->log.lock);
		archil_req_submit(req);
		archil_req_put(req);
		cond_resched();
	}
	archil_log_part_over(b, false, 0, 0);
}

/* Seal what is open, if it is due; @next takes its place and is consumed then. */
static struct archil_log_batch *archil_log_seal(struct archil_deleg *d,
						struct archil_log_batch **next)
{
	struct archil_log *log = &d->log;
	struct archil_log_batch *b = NULL;

	spin_lock(&log->lock);
	if (archil_log_due(log) && log->in_flight < ARCHIL_LOG_IN_FLIGHT) {
		b = log->open;
		b->records = b->batch.count;
		b->bytes = b->batch.bytes;
		b->first_seq = log->next_seq;
		log->next_seq += b->records;
		b->last_seq = log->next_seq - 1;
		b->parts = 1;
		b->deleg = d;
		refcount_inc(&d->ref);
		log->open = *next;
		*next = NULL;
		log->in_flight++;
	}
	spin_unlock(&log->lock);
	return b;
}

static void archil_log_send(struct work_struct *work)
{
	struct archil_log *log = container_of(work, struct archil_log, send_work);
	struct archil_deleg *d = container_of(log, struct archil_deleg, log);
	unsigned int nofs = memalloc_nofs_save();
	struct archil_log_batch *b, *next = NULL;

	for (;;) {
		while (!next && !(next = archil_log_batch_new(GFP_NOFS)))
			msleep(20);	/* rule 6 */
		b = archil_log_seal(d, &next);
		if (!b)
			break;
		atomic64_add(b->records, &d->mount->tp.records);
		atomic64_inc(&d->mount->tp.batches);
		trace_archil_log_batch(d->mount->id, d->number, b->last_seq, b->records);
		archil_log_send_batch(b);
		archil_log_batch_put(b);
	}
	archil_log_batch_free(next);
	archil_log_junk_free(d->mount);
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
	bool due;

	spin_lock(&log->lock);
	log->want_seq = max(log->want_seq, archil_log_last(log));
	due = archil_log_due(log);
	spin_unlock(&log->lock);
	if (due)
		archil_log_go_on(d);
}

/* Is it durable, lost, or did it come to nothing by merging? */
static bool archil_log_reached(struct archil_log *log, u64 seq)
{
	bool reached;

	if (READ_ONCE(log->acked) >= seq || READ_ONCE(log->error))
		return true;
	spin_lock(&log->lock);
	reached = log->acked >= min(seq, archil_log_last(log));
	spin_unlock(&log->lock);
	return reached;
}

int archil_log_wait(struct archil_deleg *d, u64 seq, bool killable)
{
	struct archil_log *log = &d->log;
	bool due;

	spin_lock(&log->lock);
	if (!seq)
		seq = archil_log_last(log);
	if (seq > log->want_seq)
		log->want_seq = seq;
	due = archil_log_due(log);
	spin_unlock(&log->lock);
	if (READ_ONCE(log->acked) >= seq)
		return 0;
	if (due)
		archil_log_go_on(d);
	if (!killable)
		wait_event(log->wait, archil_log_reached(log, seq));
	else if (wait_event_killable(log->wait, archil_log_reached(log, seq)))
		return -EINTR;
	return READ_ONCE(log->acked) >= seq ? 0 : READ_ONCE(log->error);
}

void archil_log_fail(struct archil_deleg *d)
{
	struct archil_log *log = &d->log;
	struct archil_log_batch *b;

	spin_lock(&log->lock);
	WRITE_ONCE(log->error, -EIO);
	b = log->open;
	/* Its number is used up: who asks later whether all that was appended is durable hears no. */
	if (!archil_log_open_empty(log))
		log->next_seq++;
	log->open = NULL;
	spin_unlock(&log->lock);
	if (b) {
		archil_log_count(d, -(int)b->batch.count, -(s64)b->batch.bytes);
		archil_credit_return(d->mount, b->charge);
		archil_log_batch_free(b);
	}
	wake_up_all(&log->wait);
}

u64 archil_log_appended(struct archil_deleg *d)
{
	u64 appended;

	spin_lock(&d->log.lock);
	appended = d->log.appended;
	spin_unlock(&d->log.lock);
	return appended;
}

bool archil_log_settled(struct archil_deleg *d, u64 *last)
{
	struct archil_log *log = &d->log;
	bool settled;

	spin_lock(&log->lock);
	*last = archil_log_last(log);
	settled = log->acked >= *last;
	spin_unlock(&log->lock);
	return settled;
}

bool archil_log_idle(struct archil_deleg *d)
{
	u64 last;

	return archil_log_settled(d, &last);
}

void archil_log_exit(struct archil_log *log)
{
	archil_batch_junk_free(log->dead);
	if (log->open)
		archil_log_batch_free(log->open);
}

int archil_log_init(struct archil_log *log)
{
	log->open = archil_log_batch_new(GFP_NOFS | __GFP_ACCOUNT);
	if (!log->open)
		return -ENOMEM;
	spin_lock_init(&log->lock);
	log->next_seq = 1;
	INIT_WORK(&log->send_work, archil_log_send);
	init_waitqueue_head(&log->wait);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * LOG: batches of what the owners of delegations did; and INOS, which they need for that.
 *
 * 1. A number that the session does not hold is answered by its tombstone: closed
 *    at a record. Without one it was taken: whoever does not own a number has lost
 *    it, and so has who made it up.
 * 2. Under a delegation that is about to end, batches wait for the end.
 * 3. Credit is settled for the whole batch, what was suppressed included: after a
 *    reconnect the client has counted it again.
 * 4. A one-inode delegation of an orphan ends with the record that releases it.
 *    Its tombstone answers a repetition of that batch; of these the last
 *    RELEASED_MAX are kept, which is more than a client has in flight.
 * 5. A batch that comes in parts (wire.h) gathers in its session, under its
 *    delegation's number: its requests are held and wait for the next part. The
 *    last one makes it a work like any other. Lost with the connection before
 *    that, it goes without a trace; a part that does not follow refuses it whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "log.h"
#include "record.h"
#include "server.h"
#include "session.h"
#include "space.h"

enum { RELEASED_MAX = 4096 };

struct log_work {
	struct work work;
	LIST_ENTRY(log_work) gathering;	/* of session->batches, until it is complete */
	struct conn *conn;		/* all parts came on it, and hold it */
	STAILQ_HEAD(, req) parts;
	size_t n_parts;
	struct session *ses;
	uint64_t number;		/* the delegation's */
	uint64_t first, next;		/* its records: first .. next - 1 */
	uint64_t charge;
	bool moves;			/* an inode may have come to another delegation */
	struct dlg *dlg;
	int status;		/* 0, -errno, enum archil_status */
	uint64_t applied;	/* or, with ST_CLOSED, closed at */
	struct ended ended;
};

static void unknown(struct log_work *lw, struct fs_txn *txn)
{
	struct fs_tomb tomb;

	lw->status = ARCHIL_ST_TAKEN;
	if (fs_tomb_get(fs_txn_view(txn), lw->number, &tomb) || tomb.session != lw->ses->rec.id)
		return;
	if (tomb.how == FS_CLOSED) {
		lw->status = ARCHIL_ST_CLOSED;
		lw->applied = tomb.applied;
	}
}

static int forget_released(struct session *ses, struct fs_txn *txn)
{
	size_t i;
	int rc;

	if (ses->released.n < RELEASED_MAX)
		return 0;
	for (i = 0; i < RELEASED_MAX / 2; i++) {
		rc = fs_tomb_del(txn, ses->released.nr[i]);
		if (rc)
			return rc;
	}
	return 0;
}

/* Rule 4. 0 or a negative errno. */
static int end_orphan(struct log_work *lw, struct fs_txn *txn, uint64_t number)
{
	struct session *ses = lw->ses;
	struct deleg *deleg = tree_find(ses->disk, number);
	int rc;

	if (!deleg)
		return -EIO;
	ended_stop(ses->disk, &lw->ended, &deleg, 1);
	fs_batch_begin(txn);
	rc = ended_close(&lw->ended, txn, deleg, FS_CLOSED);
	if (!rc)
		rc = forget_released(ses, txn);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc) {
		fs_batch_abort(txn);
		ended_forget(&lw->ended);
		return rc;
	}
	ended_apply(ses->disk, &lw->ended);
	if (ses->released.n >= RELEASED_MAX) {
		ses->released.n -= RELEASED_MAX / 2;
		memmove(ses->released.nr, ses->released.nr + RELEASED_MAX / 2,
			ses->released.n * sizeof(*ses->released.nr));
	}
	numbers_add(&ses->released, number);
	return 0;
}

static void count(struct disk_stats *stats, uint64_t before, const struct log_work *lw)
{
	uint64_t n = lw->next - lw->first, again = before >= lw->first ? before - lw->first + 1 : 0;

	if (again > n)
		again = n;
	stats->batches++;
	stats->suppressed += again;
	stats->records += n - again;
}

static int apply_parts(struct log_work *lw, struct fs_txn *txn, struct dlg *dlg,
		       struct fs_log_result *res)
{
	struct fs_log_part one, *part = &one;
	struct archil_log_req *msg;
	struct req *req;
	size_t n = 0;
	int rc;

	if (lw->n_parts > 1) {
		part = calloc(lw->n_parts, sizeof(*part));
		if (!part)
			server_oom();
	}
	STAILQ_FOREACH(req, &lw->parts, next) {
		msg = (void *)req->body;
		part[n].buf = req->payload;
		part[n].len = req->payload_len;
		part[n++].count = le32_to_cpu(msg->count);
	}
	rc = fs_apply_log(txn, &dlg->rec, lw->first, part, n, res);
	/* the commit takes as much memory again */
	STAILQ_FOREACH(req, &lw->parts, next) {
		free(req->payload);
		req->payload = NULL;
	}
	if (part != &one)
		free(part);
	return rc;
}

static int log_apply(struct work *work, struct fs_txn *txn)
{
	struct log_work *lw = container_of(work, struct log_work, work);
	struct disk *disk = work->disk;
	struct fs_log_result res;
	uint64_t before;
	struct dlg *dlg;
	int rc;

	if (lw->ses->ending) {
		lw->status = ARCHIL_ST_OVER;
		return WORK_DONE;
	}
	dlg = dlg_find(disk, lw->number, lw->ses->rec.id);
	if (!dlg) {
		unknown(lw, txn);
		disk->stats.refused++;
		return WORK_DONE;
	}
	if (dlg_stopped(disk, dlg))
		return WORK_PARK;
	before = dlg->rec.applied;
	rc = apply_parts(lw, txn, dlg, &res);
	if (rc) {
		log_warn("disk %s: client %s: records %llu to %llu of delegation %llu refused at %llu, %s of inode %llu: %s (%s)",
			 disk->name, lw->ses->rec.client, (unsigned long long)lw->first,
			 (unsigned long long)(lw->next - 1), (unsigned long long)lw->number,
			 (unsigned long long)res.bad_seq, archil_record_name(res.bad_type),
			 (unsigned long long)res.bad_ino, strerror(-rc), strerror(-res.why));
		disk->stats.refused++;
		lw->status = rc == -EBADMSG ? -EIO : rc;
		return WORK_DONE;
	}
	count(&disk->stats, before, lw);
	lw->dlg = dlg;
	lw->applied = dlg->rec.applied;
	lw->charge = res.charge;
	lw->moves = res.moves;
	if (res.ended)
		lw->status = end_orphan(lw, txn, res.ended);
	return WORK_DONE;
}

/* Each part with the batch's status; it loses its requests. */
static void fail_parts(struct log_work *lw, int status, const void *body, uint32_t len)
{
	struct req *req;

	while ((req = STAILQ_FIRST(&lw->parts))) {
		STAILQ_REMOVE_HEAD(&lw->parts, next);
		req->lost = NULL;
		req->commit = lw->work.commit;
		req_fail_body(req, status, body, len);
	}
}

static void answer_parts(struct log_work *lw)
{
	uint64_t credit = space_settle(lw->ses, lw->charge);
	struct archil_log_rep rep = { .applied = cpu_to_le64(lw->applied) };
	struct req *req;

	while ((req = STAILQ_FIRST(&lw->parts))) {
		STAILQ_REMOVE_HEAD(&lw->parts, next);
		if (STAILQ_EMPTY(&lw->parts))
			rep.credit = cpu_to_le64(credit);
		req->commit = lw->work.commit;
		req_reply(req, &rep, sizeof(rep), NULL, 0);
	}
}

static void log_done(struct work *work, int err)
{
	struct log_work *lw = container_of(work, struct log_work, work);
	struct disk *disk = work->disk;
	struct archil_closed closed;

	if (err || !work->ran) {
		fail_parts(lw, err ? err : -EIO, NULL, 0);
	} else if (lw->status == ARCHIL_ST_CLOSED) {
		closed.seq = cpu_to_le64(lw->applied);
		fail_parts(lw, lw->status, &closed, sizeof(closed));
	} else if (lw->status) {
		fail_parts(lw, lw->status, NULL, 0);
	} else {
		if (lw->moves)
			disk->data.shape++;
		answer_parts(lw);
	}
	if (!err && lw->dlg) {
		lw->dlg->committed = lw->applied;
		data_dlg_moved(disk, lw->dlg);
	}
	ended_done(disk, &lw->ended, err);
	free(lw);
}

/* ---- gathering; all in the loop ---- */

static struct log_work *gathering(struct session *ses, uint64_t number)
{
	struct log_work *lw;

	LIST_FOREACH(lw, &ses->batches[number % SESSION_BATCHES], gathering)
		if (lw->number == number)
			return lw;
	return NULL;
}

static struct log_work *batch_new(struct req *req)
{
	struct archil_log_req *msg = (void *)req->body;
	struct log_work *lw = calloc(1, sizeof(*lw));

	if (!lw)
		server_oom();
	lw->work.apply = log_apply;
	lw->work.done = log_done;
	lw->conn = req->conn;
	lw->ses = req->conn->session;
	lw->number = le64_to_cpu(msg->deleg);
	lw->first = lw->next = le64_to_cpu(msg->first_seq);
	STAILQ_INIT(&lw->parts);
	return lw;
}

/* Its connection is gone, and with that each of its parts. */
static void part_lost(struct req *req)
{
	struct log_work *lw = req->ctx;

	req_drop(req);
	if (!--lw->n_parts) {
		LIST_REMOVE(lw, gathering);
		free(lw);
	}
}

/* Is this the batch's next part? */
static bool follows(const struct log_work *lw, const struct req *req)
{
	const struct archil_log_req *msg = (const void *)req->body;

	return req->conn == lw->conn && le64_to_cpu(msg->first_seq) == lw->next &&
	       le32_to_cpu(msg->count);
}

static void add_part(struct log_work *lw, struct req *req)
{
	struct archil_log_req *msg = (void *)req->body;

	STAILQ_INSERT_TAIL(&lw->parts, req, next);
	lw->n_parts++;
	lw->next += le32_to_cpu(msg->count);
}

static void submit(struct log_work *lw)
{
	struct req *req;

	STAILQ_FOREACH(req, &lw->parts, next)
		req->lost = NULL;
	commit_submit(lw->conn->disk, &lw->work);
}

void handle_log(struct req *req)
{
	struct archil_log_req *msg = (void *)req->body;
	bool more = le32_to_cpu(msg->flags) & ARCHIL_LOG_MORE;
	struct session *ses = req->conn->session;
	uint64_t number = le64_to_cpu(msg->deleg);
	struct log_work *lw = gathering(ses, number);

	if (lw ? !follows(lw, req) : !le32_to_cpu(msg->count) || !le64_to_cpu(msg->first_seq)) {
		if (lw) {
			LIST_REMOVE(lw, gathering);
			fail_parts(lw, -EPROTO, NULL, 0);
			free(lw);
		}
		req_fail(req, -EPROTO);
		return;
	}
	if ((lw || more) && !req_hold(req)) {
		conn_close(req->conn, "more than %d MiB of parts of batches", ARCHIL_BATCH_MAX >> 20);
		req_drop(req);
		return;
	}
	if (!lw) {
		lw = batch_new(req);
		if (more)
			LIST_INSERT_HEAD(&ses->batches[number % SESSION_BATCHES], lw, gathering);
	} else if (!more) {
		LIST_REMOVE(lw, gathering);
	}
	add_part(lw, req);
	if (more) {
		req->ctx = lw;
		req->lost = part_lost;
	} else {
		submit(lw);
	}
}

/* ---- inode numbers ---- */

enum { INOS_MAX = 65536 };

struct inos_work {
	struct work work;
	struct req *req;
	uint64_t first;
	uint32_t want;
	int rc;
};

static int inos_apply(struct work *work, struct fs_txn *txn)
{
	struct inos_work *iw = container_of(work, struct inos_work, work);

	fs_batch_begin(txn);
	iw->rc = fs_alloc_inos(txn, iw->want, &iw->first);
	if (!iw->rc)
		iw->rc = fs_batch_end(txn);
	if (iw->rc)
		fs_batch_abort(txn);
	return WORK_DONE;
}

static void inos_done(struct work *work, int err)
{
	struct inos_work *iw = container_of(work, struct inos_work, work);
	struct archil_inos_rep rep = { 0 };

	if (!err)
		err = iw->rc;
	iw->req->commit = work->commit;
	rep.first = cpu_to_le64(iw->first);
	rep.count = cpu_to_le32(iw->want);
	if (err)
		req_fail(iw->req, err);
	else
		req_reply(iw->req, &rep, sizeof(rep), NULL, 0);
	free(iw);
}

void handle_inos(struct req *req)
{
	struct archil_inos_req *msg = (void *)req->body;
	uint32_t want = le32_to_cpu(msg->want);
	struct inos_work *iw;

	if (!want || want > INOS_MAX) {
		req_fail(req, -EINVAL);
		return;
	}
	if (req->conn->session->rec.flags & ARCHIL_OS_RO) {
		req_fail(req, -EROFS);
		return;
	}
	iw = calloc(1, sizeof(*iw));
	if (!iw)
		server_oom();
	iw->work.apply = inos_apply;
	iw->work.done = inos_done;
	iw->req = req;
	iw->want = want;
	commit_submit(req->conn->disk, &iw->work);
}

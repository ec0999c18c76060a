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
	struct req *req;
	struct session *ses;
	struct dlg *dlg;
	int status;		/* 0, -errno, enum archil_status */
	uint64_t applied;	/* or, with ST_CLOSED, closed at */
	struct ended ended;
};

static void unknown(struct log_work *lw, struct fs_txn *txn, uint64_t number)
{
	struct fs_tomb tomb;

	lw->status = ARCHIL_ST_TAKEN;
	if (fs_tomb_get(fs_txn_view(txn), number, &tomb) || tomb.session != lw->ses->rec.id)
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

static void count(struct disk_stats *stats, uint64_t before, uint64_t first, uint32_t n)
{
	uint64_t again = before >= first ? before - first + 1 : 0;

	if (again > n)
		again = n;
	stats->batches++;
	stats->suppressed += again;
	stats->records += n - again;
}

static int log_apply(struct work *work, struct fs_txn *txn)
{
	struct log_work *lw = container_of(work, struct log_work, work);
	struct archil_log_req *msg = (void *)lw->req->body;
	uint64_t number = le64_to_cpu(msg->deleg), first = le64_to_cpu(msg->first_seq), before;
	uint32_t n = le32_to_cpu(msg->count);
	struct disk *disk = work->disk;
	struct fs_log_result res;
	struct dlg *dlg;
	int rc;

	if (lw->ses->ending) {
		lw->status = ARCHIL_ST_OVER;
		return WORK_DONE;
	}
	dlg = dlg_find(disk, number, lw->ses->rec.id);
	if (!dlg) {
		unknown(lw, txn, number);
		disk->stats.refused++;
		return WORK_DONE;
	}
	if (dlg_stopped(disk, dlg))
		return WORK_PARK;
	before = dlg->rec.applied;
	rc = fs_apply_log(txn, &dlg->rec, first, n, lw->req->payload, lw->req->payload_len, &res);
	if (rc) {
		log_warn("disk %s: client %s: records %llu to %llu of delegation %llu refused at %llu, %s of inode %llu: %s (%s)",
			 disk->name, lw->ses->rec.client, (unsigned long long)first,
			 (unsigned long long)(first + n - 1), (unsigned long long)number,
			 (unsigned long long)res.bad_seq, archil_record_name(res.bad_type),
			 (unsigned long long)res.bad_ino, strerror(-rc), strerror(-res.why));
		disk->stats.refused++;
		lw->status = rc == -EBADMSG ? -EIO : rc;
		return WORK_DONE;
	}
	count(&disk->stats, before, first, n);
	lw->dlg = dlg;
	lw->applied = dlg->rec.applied;
	if (res.ended)
		lw->status = end_orphan(lw, txn, res.ended);
	return WORK_DONE;
}

/* Credit that the batch settles; *moves: an inode may have come to another delegation. */
static uint64_t charge(const struct req *req, bool *moves)
{
	struct archil_record rec;
	uint64_t bytes = 0;
	size_t pos = 0;

	*moves = false;
	while (archil_record_next(req->payload, req->payload_len, &pos, &rec) > 0) {
		bytes += archil_record_charge(&rec);
		if (rec.type == ARCHIL_REC_RENAME || rec.type == ARCHIL_REC_UNLINK ||
		    rec.type == ARCHIL_REC_LINK)
			*moves = true;
	}
	return bytes;
}

static void log_done(struct work *work, int err)
{
	struct log_work *lw = container_of(work, struct log_work, work);
	struct disk *disk = work->disk;
	struct archil_log_rep rep;
	struct archil_closed closed;
	bool moves;

	lw->req->commit = work->commit;
	if (err || !work->ran) {
		req_fail(lw->req, err ? err : -EIO);
	} else if (lw->status == ARCHIL_ST_CLOSED) {
		closed.seq = cpu_to_le64(lw->applied);
		req_fail_body(lw->req, lw->status, &closed, sizeof(closed));
	} else if (lw->status) {
		req_fail(lw->req, lw->status);
	} else {
		rep.applied = cpu_to_le64(lw->applied);
		rep.credit = cpu_to_le64(space_settle(lw->ses, charge(lw->req, &moves)));
		if (moves)
			disk->data.shape++;
		req_reply(lw->req, &rep, sizeof(rep), NULL, 0);
	}
	if (!err && lw->dlg) {
		lw->dlg->committed = lw->applied;
		data_dlg_moved(disk, lw->dlg);
	}
	ended_done(disk, &lw->ended, err);
	free(lw);
}

void handle_log(struct req *req)
{
	struct archil_log_req *msg = (void *)req->body;
	struct log_work *lw;

	if (!le32_to_cpu(msg->count) || !le64_to_cpu(msg->first_seq)) {
		req_fail(req, -EPROTO);
		return;
	}
	lw = calloc(1, sizeof(*lw));
	if (!lw)
		server_oom();
	lw->work.apply = log_apply;
	lw->work.done = log_done;
	lw->req = req;
	lw->ses = req->conn->session;
	commit_submit(req->conn->disk, &lw->work);
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

// SPDX-License-Identifier: GPL-2.0
#include "slotted.h"

#include <errno.h>
#include <stdlib.h>

#include "conn.h"
#include "disk.h"
#include "server.h"
#include "session.h"
#include "util.h"

void slotted_reply(struct slotted *sl, int status, const void *body, uint32_t len)
{
	free(sl->reply);
	sl->reply = slot_reply_new(status < 0 ? -status : status, body, len);
}

int slotted_busy(struct slotted *sl, struct fs_txn *txn, const struct deleg *holder,
		 const char *text)
{
	unsigned char body[ERROR_BODY_MAX];
	size_t len = error_holder(sl->ses->disk, fs_txn_view(txn), holder, text, body);

	slotted_reply(sl, -EBUSY, body, len);
	return -EBUSY;
}

/* Undoes what op() did in memory: its batch is aborted. */
static void forget(struct slotted *sl)
{
	ended_forget(&sl->ended);
	if (sl->granted)
		dlg_put(sl->granted);
	sl->granted = NULL;
}

/* Returns 0, WORK_PARK, or a negative errno: what the client is told if reply is not set. */
static int try_op(struct slotted *sl, struct fs_txn *txn)
{
	struct session *ses = sl->ses;
	int rc;

	fs_batch_begin(txn);
	rc = sl->op(sl, txn);
	if (!rc) {
		sl->reply->commit = fs_txn_nr(txn);
		rc = slot_store(ses, txn, sl->slot, sl->seq, sl->reply);
		if (!rc)
			rc = fs_batch_end(txn);
	}
	if (!rc)
		return 0;
	fs_batch_abort(txn);
	forget(sl);
	return rc;
}

/* The failure uses up the sequence number as well. */
static int keep_failure(struct slotted *sl, struct fs_txn *txn, int err)
{
	int rc;

	if (!sl->reply || !sl->reply->status)
		slotted_reply(sl, err, NULL, 0);
	fs_batch_begin(txn);
	sl->reply->commit = fs_txn_nr(txn);
	rc = slot_store(sl->ses, txn, sl->slot, sl->seq, sl->reply);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc)
		fs_batch_abort(txn);
	return rc;
}

static void moved(struct slotted *sl)
{
	struct disk *disk = sl->ses->disk;
	size_t n;
	uint64_t *closed = ended_closed(&sl->ended, &n);
	struct slot_reply *kept;

	kept = slot_reply_new(sl->reply->status, sl->reply->body, sl->reply->body_len);
	kept->commit = sl->reply->commit;
	slot_moved(sl->ses, sl->slot, sl->seq, kept, closed, n);
	ended_apply(disk, &sl->ended);
	if (sl->granted && dlg_insert(disk, &sl->chain, sl->granted))
		server_oom();
	sl->granted = NULL;
}

static int slotted_apply(struct work *work, struct fs_txn *txn)
{
	struct slotted *sl = container_of(work, struct slotted, work);
	struct session *ses = sl->ses;
	struct slot_reply *last = ses->slots[sl->slot].reply;
	int rc;

	if (ses->ending && !sl->parked) {
		slotted_reply(sl, ARCHIL_ST_OVER, NULL, 0);
		return WORK_DONE;
	}
	switch (slot_check(ses, sl->slot, sl->seq)) {
	case SLOT_REPEATED:
		slotted_reply(sl, last->status, last->body, last->body_len);
		sl->reply->commit = last->commit;
		work->disk->stats.repeated++;
		goto done;
	case SLOT_BAD:
		slotted_reply(sl, ARCHIL_ST_BAD_SEQ, NULL, 0);
		goto done;
	}
	rc = try_op(sl, txn);
	if (rc == WORK_PARK) {
		if (!sl->parked)
			ses->n_parked++;
		sl->parked = true;
		return WORK_PARK;
	}
	if (rc < 0)
		rc = keep_failure(sl, txn, rc);
	if (rc) {
		/* not even that: the server is in trouble, nothing is used up */
		slotted_reply(sl, rc == -ENOMEM ? -ENOMEM : -EIO, NULL, 0);
		goto done;
	}
	work->disk->stats.changes++;
	moved(sl);
done:
	if (sl->parked)
		ses->n_parked--;
	return WORK_DONE;
}

static void slotted_done(struct work *work, int err)
{
	struct slotted *sl = container_of(work, struct slotted, work);
	struct disk *disk = work->disk;

	/* inodes may have changed hands */
	disk->data.shape++;
	ended_done(disk, &sl->ended, err);
	if (err || !work->ran) {
		req_fail(sl->req, err ? err : -EIO);
	} else {
		sl->req->commit = sl->reply->commit;
		req_fail_body(sl->req, sl->reply->status, sl->reply->body, sl->reply->body_len);
	}
	fs_chain_free(&sl->chain);
	free(sl->reply);
	free(sl);
}

void slotted_submit(struct req *req, int (*op)(struct slotted *sl, struct fs_txn *txn))
{
	struct archil_slot *msg = (void *)req->body;
	struct slotted *sl = calloc(1, sizeof(*sl));

	if (!sl)
		server_oom();
	sl->work.apply = slotted_apply;
	sl->work.done = slotted_done;
	sl->req = req;
	sl->ses = req->conn->session;
	sl->slot = le32_to_cpu(msg->slot);
	sl->seq = le32_to_cpu(msg->seq);
	sl->op = op;
	commit_submit(req->conn->disk, &sl->work);
}

/* ---- granting ---- */

struct dlg *deleg_grant(struct disk *disk, struct fs_txn *txn, struct session *ses, uint64_t number,
			uint64_t ino, uint32_t origin, int *rc)
{
	struct fs_deleg rec = {
		.number = number,
		.ino = ino,
		.session = ses->rec.id,
		.commit = fs_txn_nr(txn),
		.since = realtime_ns(),
		.origin = origin,
	};

	*rc = fs_deleg_put(txn, &rec);
	return *rc ? NULL : dlg_new(ses, &rec);
}

static int close_all(struct fs_txn *txn, struct deleg **list, size_t n, enum fs_close_how how,
		     struct ended *ended)
{
	size_t i;
	int rc;

	for (i = 0; i < n; i++) {
		rc = ended_close(ended, txn, list[i], how);
		if (rc)
			return rc;
	}
	return 0;
}

bool any_above(struct deleg *const *list, size_t n, uint64_t known)
{
	while (n)
		if (list[--n]->grant.number > known)
			return true;
	return false;
}

int place_take(struct disk *disk, struct fs_txn *txn, const struct fs_chain *chain, uint64_t known,
	       uint64_t session, bool force, struct ended *ended, struct deleg **holder)
{
	struct deleg **own, **others;
	struct deleg_conflict conflict = { 0 };
	size_t n_own, n_others;
	int rc;

	pthread_mutex_lock(&disk->lock);
	rc = deleg_tree_check(&disk->tree, chain->ino, chain->n, session, &conflict);
	pthread_mutex_unlock(&disk->lock);
	if (rc < 0)
		return rc;
	*holder = conflict.deleg;
	if (rc == DELEG_COVERED)
		return TAKE_COVERED;
	if (rc == DELEG_CONFLICT && !force)
		return TAKE_BUSY;

	others = tree_conflicts(disk, chain, session, &n_others);
	own = tree_held(disk, chain->ino[chain->n - 1], session, &n_own);
	if (any_above(own, n_own, known)) {
		rc = -EAGAIN;
		goto out;
	}
	rc = TAKE_PARK;
	/* both, so that what has to end does so at the same time */
	if (ended_stop(disk, ended, others, n_others) & ended_stop(disk, ended, own, n_own)) {
		rc = close_all(txn, others, n_others, FS_TAKEN, ended);
		if (!rc)
			rc = close_all(txn, own, n_own, FS_CLOSED, ended);
		if (!rc)
			rc = TAKE_FREE;
	}
out:
	free(others);
	free(own);
	return rc;
}

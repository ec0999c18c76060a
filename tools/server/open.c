// SPDX-License-Identifier: GPL-2.0
/*
 * OPEN_SESSION.
 *
 * 1. The same (client, incarnation, mount) finds the session that was opened.
 * 2. Sessions of another incarnation of the client are over: nothing unwritten of
 *    them can have survived. But first their connections are pinged; if any
 *    answers within PING_MS, or another of them was opened meanwhile, the newcomer
 *    is refused: two machines cloned from one image do not fence each other.
 * 3. An exclusive mount owns its root from the same commit on, or is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "log.h"
#include "server.h"
#include "session.h"
#include "slotted.h"

enum { PING_MS = 3000 };

struct opening {
	struct work work;
	TAILQ_ENTRY(opening) pinging;	/* disk->openings */
	struct loop_timer timer;
	struct req *req;
	struct fs_session rec;		/* as it shall be */
	uint64_t evict_to;		/* sessions with numbers up to this were pinged */
	bool evicting;			/* committer's: what has begun to end has to end */
	const char *path;
	size_t path_len;

	/* committer's */
	struct ended ended;
	struct session **victims;
	size_t n_victims;
	struct dlg *granted;
	struct fs_chain chain;
	struct session *ses;
	int status;
	struct archil_open_session_rep rep;
	unsigned char error[ERROR_BODY_MAX];
	size_t error_len;
};

static bool same_client(const struct opening *op, const struct session *ses)
{
	return !strcmp(op->rec.client, ses->rec.client);
}

static bool same_incarnation(const struct opening *op, const struct session *ses)
{
	return !memcmp(op->rec.incarnation, ses->rec.incarnation, ARCHIL_UUID_LEN);
}

static void opening_free(struct opening *op)
{
	fs_chain_free(&op->chain);
	free(op->victims);
	free(op);
}

/* ---- committer ---- */

static struct session *existing(struct opening *op)
{
	struct session *ses;

	TAILQ_FOREACH(ses, &op->work.disk->sessions, all)
		if (!ses->ending && same_client(op, ses) && same_incarnation(op, ses) &&
		    !memcmp(op->rec.mount, ses->rec.mount, ARCHIL_UUID_LEN))
			return ses;
	return NULL;
}

/* Has a session been opened that is to end by rule 2, but was not pinged? */
static bool unpinged(struct opening *op)
{
	struct session *ses;

	TAILQ_FOREACH(ses, &op->work.disk->sessions, all)
		if (same_client(op, ses) && !same_incarnation(op, ses) && ses->rec.id > op->evict_to)
			return true;
	return false;
}

/* Ends what rule 2 ends. WORK_DONE, WORK_PARK, WORK_AGAIN or a negative errno. */
static int evict(struct opening *op, struct fs_txn *txn)
{
	struct session *ses, *tmp, **victims;
	int rc;

	if (!op->evicting && unpinged(op))
		return -EBUSY;
	op->evicting = true;
	TAILQ_FOREACH_SAFE(ses, &op->work.disk->sessions, all, tmp) {
		if (!same_client(op, ses) || same_incarnation(op, ses) ||
		    ses->rec.id > op->evict_to)
			continue;
		victims = reallocarray(op->victims, op->n_victims + 1, sizeof(*victims));
		if (!victims)
			return -ENOMEM;
		op->victims = victims;
		rc = session_end_step(ses, txn, &op->ended);
		if (rc)
			return rc;
		victims[op->n_victims++] = ses;
	}
	return unpinged(op) ? -EBUSY : 0;
}

static int fill_reply(struct opening *op, struct fs_txn *txn, uint64_t id, uint64_t root,
		      const struct dlg *own)
{
	struct archil_attr_rep attr;
	struct store_statfs st;
	int rc = fs_getattr(fs_txn_view(txn), root, &attr, NULL);

	if (!rc)
		rc = store_statfs(op->work.disk->store, &st);
	if (rc)
		return rc;
	op->rep.session = cpu_to_le64(id);
	op->rep.max_file_size = cpu_to_le64(st.max_file_size);
	op->rep.inline_max = cpu_to_le32(ARCHIL_INLINE_MAX);
	op->rep.payload_max = cpu_to_le32(ARCHIL_PAYLOAD_MAX);
	op->rep.root = attr.attr;
	if (own) {
		dlg_grant_fill(own, &op->rep.grant);
		op->rep.root.deleg = op->rep.grant.number;
	}
	return 0;
}

/* The session was there: its answer again. */
static int open_again(struct opening *op, struct fs_txn *txn)
{
	struct disk *disk = op->work.disk;
	struct session *ses = op->ses;
	struct deleg *deleg;
	int rc = fs_chain(fs_txn_view(txn), ses->rec.root, &op->chain);

	if (rc)
		return rc;
	deleg = tree_cover(disk, op->chain.ino, op->chain.n);
	if (deleg && deleg->grant.session != ses->rec.id)
		deleg = NULL;
	return fill_reply(op, txn, ses->rec.id, ses->rec.root, deleg ? deleg->data : NULL);
}

static int resolve(struct opening *op, struct fs_view *view)
{
	struct archil_attr_rep attr;
	int rc = fs_resolve(view, op->path, op->path_len, &op->rec.root);

	if (!rc)
		rc = fs_getattr(view, op->rec.root, &attr, NULL);
	if (rc)
		return rc;
	if (!S_ISDIR(le32_to_cpu(attr.attr.mode)))
		return -ENOTDIR;
	return fs_chain(view, op->rec.root, &op->chain);
}

/* Inside a batch. 0, WORK_PARK, a negative errno. */
static int open_new(struct opening *op, struct fs_txn *txn)
{
	bool owns = !(op->rec.flags & (ARCHIL_OS_SHARED | ARCHIL_OS_RO));
	struct disk *disk = op->work.disk;
	struct deleg *holder;
	int rc;

	rc = resolve(op, fs_txn_view(txn));
	if (rc)
		return rc;
	op->rec.id = fs_alloc_session(txn);
	rc = fs_session_put(txn, &op->rec);
	if (rc)
		return rc;
	op->ses = session_new(disk, &op->rec);
	if (!owns)
		return fill_reply(op, txn, op->rec.id, op->rec.root, NULL);

	rc = place_take(disk, txn, &op->chain, UINT64_MAX, op->rec.id, op->rec.flags & ARCHIL_OS_FORCE,
			&op->ended, &holder);
	if (rc == TAKE_BUSY) {
		op->error_len = error_holder(disk, fs_txn_view(txn), holder, NULL, op->error);
		return -EBUSY;
	}
	if (rc != TAKE_FREE)
		return rc == TAKE_PARK ? WORK_PARK : rc < 0 ? rc : -EIO;
	op->granted = deleg_grant(disk, txn, op->ses, fs_alloc_deleg(txn), op->rec.root,
				  ARCHIL_ORIGIN_MOUNT, &rc);
	return rc ? rc : fill_reply(op, txn, op->rec.id, op->rec.root, op->granted);
}

static void forget(struct opening *op)
{
	ended_forget(&op->ended);
	if (op->granted)
		dlg_put(op->granted);
	op->granted = NULL;
	if (op->ses)
		session_free(op->ses);
	op->ses = NULL;
}

static int open_apply(struct work *work, struct fs_txn *txn)
{
	struct opening *op = container_of(work, struct opening, work);
	int rc;

	op->error_len = 0;
	op->ses = existing(op);
	if (op->ses) {
		op->status = open_again(op, txn);
		return WORK_DONE;
	}
	rc = evict(op, txn);
	if (rc > 0)
		return rc;
	if (rc) {
		op->status = rc;
		return WORK_DONE;
	}
	fs_batch_begin(txn);
	rc = open_new(op, txn);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc) {
		fs_batch_abort(txn);
		forget(op);
		op->status = rc;
		return rc == WORK_PARK ? WORK_PARK : WORK_DONE;
	}
	op->status = 0;
	session_insert(op->ses);
	ended_apply(work->disk, &op->ended);
	if (op->granted && dlg_insert(work->disk, &op->chain, op->granted))
		server_oom();
	return WORK_DONE;
}

/* ---- loop ---- */

static const char *address_of(struct opening *op)
{
	struct session *ses;
	struct conn *conn;

	TAILQ_FOREACH(ses, &op->work.disk->sessions, all) {
		if (!same_client(op, ses) || same_incarnation(op, ses))
			continue;
		TAILQ_FOREACH(conn, &ses->conns, of_session)
			return conn->peer;
	}
	return "another host";
}

static void refuse_in_use(struct opening *op, const char *peer)
{
	log_warn("%s: client id %s is in use by %s", op->req->conn->peer, op->rec.client, peer);
	req_fail_text(op->req, -EBUSY, "client id in use by %s", peer);
}

static void open_done(struct work *work, int err)
{
	struct opening *op = container_of(work, struct opening, work);
	struct disk *disk = work->disk;
	struct req *req = op->req;
	struct conn *conn = req->conn;
	size_t i;

	disk->data.shape++;
	ended_done(disk, &op->ended, err);
	for (i = 0; i < op->n_victims; i++)
		session_finish(op->victims[i], "a new incarnation of its client is there");
	req->commit = work->commit;
	if (!err && !work->ran)
		err = -EIO;
	if (!err)
		err = op->status;
	if (err == -EBUSY && !op->error_len) {
		pthread_mutex_lock(&disk->lock);
		refuse_in_use(op, address_of(op));
		pthread_mutex_unlock(&disk->lock);
	} else if (err) {
		req_fail_body(req, err, op->error, op->error_len);
	} else {
		log_info("disk %s: session %llu of client %s (%s)%s%s", disk->name,
			 (unsigned long long)op->ses->rec.id, op->rec.client, conn->peer,
			 op->rec.flags & ARCHIL_OS_SHARED ? ", shared" : "",
			 op->rec.flags & ARCHIL_OS_RO ? ", read-only" : "");
		conn->refs++;
		req_reply(req, &op->rep, sizeof(op->rep), NULL, 0);
		if (!conn->closed && !op->ses->over)
			session_attach(op->ses, conn);
		conn_put(conn);
	}
	opening_free(op);
}

static void submit(struct opening *op)
{
	struct disk *disk = op->work.disk;

	if (op->timer.armed) {
		TAILQ_REMOVE(&disk->openings, op, pinging);
		loop_timer_clear(&disk->server->loop, &op->timer);
	}
	op->req->lost = NULL;
	commit_submit(disk, &op->work);
}

static void ping_over(struct loop_timer *timer)
{
	struct opening *op = container_of(timer, struct opening, timer);

	TAILQ_REMOVE(&op->work.disk->openings, op, pinging);
	submit(op);
}

static void opening_lost(struct req *req)
{
	struct opening *op = req->ctx;

	TAILQ_REMOVE(&op->work.disk->openings, op, pinging);
	loop_timer_clear(&op->work.disk->server->loop, &op->timer);
	req_drop(req);
	opening_free(op);
}

/* Rule 2. Returns how many connections of other incarnations there are; pings them. */
static unsigned int others(struct opening *op, bool ping)
{
	struct disk *disk = op->work.disk;
	struct session *ses;
	struct conn *conn;
	unsigned int n = 0;

	pthread_mutex_lock(&disk->lock);
	TAILQ_FOREACH(ses, &disk->sessions, all) {
		if (ping)
			op->evict_to = ses->rec.id;
		if (!same_client(op, ses) || same_incarnation(op, ses))
			continue;
		TAILQ_FOREACH(conn, &ses->conns, of_session) {
			n++;
			if (ping)
				conn_ping(conn, ++disk->server->ping_tag);
		}
	}
	pthread_mutex_unlock(&disk->lock);
	return n;
}

void open_ping_answered(struct conn *conn)
{
	struct opening *op, *tmp;
	struct disk *disk = conn->disk;

	if (!conn->session)
		return;
	TAILQ_FOREACH_SAFE(op, &disk->openings, pinging, tmp) {
		if (!same_client(op, conn->session) || same_incarnation(op, conn->session))
			continue;
		TAILQ_REMOVE(&disk->openings, op, pinging);
		loop_timer_clear(&disk->server->loop, &op->timer);
		op->req->lost = NULL;
		refuse_in_use(op, conn->peer);
		opening_free(op);
	}
}

void open_conn_lost(struct conn *conn)
{
	struct opening *op, *tmp;
	struct disk *disk = conn->disk;

	TAILQ_FOREACH_SAFE(op, &disk->openings, pinging, tmp)
		if (!others(op, false))
			submit(op);
}

void handle_open_session(struct req *req)
{
	struct archil_open_session_req *msg = (void *)req->body;
	uint16_t client_len = le16_to_cpu(msg->client_len);
	uint32_t flags = le32_to_cpu(msg->flags);
	struct disk *disk = req->conn->disk;
	struct opening *op;

	if (!client_len || (flags & ARCHIL_OS_FORCE && flags & (ARCHIL_OS_SHARED | ARCHIL_OS_RO))) {
		req_fail(req, -EINVAL);
		return;
	}
	op = calloc(1, sizeof(*op));
	if (!op)
		server_oom();
	op->work.apply = open_apply;
	op->work.done = open_done;
	op->work.disk = disk;
	op->req = req;
	op->rec.opened = realtime_ns();
	op->rec.flags = flags;
	memcpy(op->rec.incarnation, msg->incarnation, ARCHIL_UUID_LEN);
	memcpy(op->rec.mount, msg->mount, ARCHIL_UUID_LEN);
	memcpy(op->rec.client, msg + 1, client_len);
	op->path = (char *)(msg + 1) + client_len;
	op->path_len = le16_to_cpu(msg->path_len);
	if (!others(op, true)) {
		submit(op);
		return;
	}
	req->ctx = op;
	req->lost = opening_lost;
	op->timer.fire = ping_over;
	loop_timer_set(&disk->server->loop, &op->timer, PING_MS);
	TAILQ_INSERT_TAIL(&disk->openings, op, pinging);
}

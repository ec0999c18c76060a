// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deleg.h"
#include "disk.h"
#include "handlers.h"
#include "log.h"
#include "server.h"
#include "space.h"

enum { END_STEP = 4096 };	/* delegations closed in one commit */

void numbers_add(struct numbers *list, uint64_t nr)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 16;
		uint64_t *more = reallocarray(list->nr, cap, sizeof(*more));

		if (!more)
			server_oom();
		list->nr = more;
		list->cap = cap;
	}
	list->nr[list->n++] = nr;
}

void numbers_clear(struct numbers *list)
{
	free(list->nr);
	memset(list, 0, sizeof(*list));
}

/* ---- the table ---- */

static struct session **bucket(struct disk *disk, uint64_t id)
{
	return &disk->session_bucket[id % SESSION_BUCKETS];
}

struct session *session_find(struct disk *disk, uint64_t id)
{
	struct session *ses;

	for (ses = *bucket(disk, id); ses; ses = ses->next)
		if (ses->rec.id == id)
			return ses;
	return NULL;
}

struct session *session_new(struct disk *disk, const struct fs_session *rec)
{
	struct session *ses = calloc(1, sizeof(*ses));

	if (!ses)
		server_oom();
	ses->disk = disk;
	ses->rec = *rec;
	ses->refs = 1;
	TAILQ_INIT(&ses->conns);
	return ses;
}

void session_insert(struct session *ses)
{
	struct disk *disk = ses->disk;
	struct session **pos = bucket(disk, ses->rec.id);

	pthread_mutex_lock(&disk->lock);
	TAILQ_INSERT_TAIL(&disk->sessions, ses, all);
	ses->next = *pos;
	*pos = ses;
	disk->n_sessions++;
	pthread_mutex_unlock(&disk->lock);
}

static void session_remove(struct session *ses)
{
	struct disk *disk = ses->disk;
	struct session **pos;

	pthread_mutex_lock(&disk->lock);
	for (pos = bucket(disk, ses->rec.id); *pos != ses; pos = &(*pos)->next)
		;
	*pos = ses->next;
	TAILQ_REMOVE(&disk->sessions, ses, all);
	disk->n_sessions--;
	pthread_mutex_unlock(&disk->lock);
}

void session_free(struct session *ses)
{
	unsigned int i;

	for (i = 0; i < ARCHIL_SLOTS; i++)
		slot_free(&ses->slots[i]);
	numbers_clear(&ses->tombs);
	numbers_clear(&ses->released);
	numbers_clear(&ses->taken);
	numbers_clear(&ses->notified);
	free(ses);
}

struct session *session_get(struct session *ses)
{
	ses->refs++;
	return ses;
}

void session_put(struct session *ses)
{
	if (!--ses->refs)
		session_free(ses);
}

/* ---- ending ---- */

static int forget(struct session *ses, struct fs_txn *txn)
{
	const struct numbers *lists[] = { &ses->tombs, &ses->released };
	size_t i, j;
	int rc;

	for (i = 0; i < 2; i++) {
		for (j = 0; j < lists[i]->n; j++) {
			rc = fs_tomb_del(txn, lists[i]->nr[j]);
			if (rc)
				return rc;
		}
	}
	for (i = 0; i < ARCHIL_SLOTS; i++) {
		for (j = 0; j < ses->slots[i].n_closed; j++) {
			rc = fs_tomb_del(txn, ses->slots[i].closed[j]);
			if (rc)
				return rc;
		}
	}
	return fs_session_del(txn, ses->rec.id);
}

int session_end_step(struct session *ses, struct fs_txn *txn, struct ended *ended)
{
	struct disk *disk = ses->disk;
	struct deleg *list[END_STEP], *d, *tmp;
	size_t n = 0, i;
	bool last;
	int rc = 0;

	ses->ending = true;
	if (ses->n_parked)
		return WORK_PARK;
	pthread_mutex_lock(&disk->lock);
	deleg_tree_for_each_of_session(d, tmp, &disk->tree, ses->rec.id) {
		if (n == END_STEP)
			break;
		list[n++] = d;
	}
	pthread_mutex_unlock(&disk->lock);
	last = !d;
	if (!ended_stop(disk, ended, list, n))
		return WORK_PARK;
	fs_batch_begin(txn);
	for (i = 0; i < n && !rc; i++)
		rc = ended_close(ended, txn, list[i], FS_ENDED);
	if (!rc && last)
		rc = forget(ses, txn);
	if (!rc)
		rc = fs_batch_end(txn);
	if (rc) {
		fs_batch_abort(txn);
		ended_forget(ended);
		return rc;
	}
	ended_apply(disk, ended);
	if (!last)
		return WORK_AGAIN;
	session_remove(ses);
	return WORK_DONE;
}

void session_finish(struct session *ses, const char *why)
{
	struct conn *conn, *tmp;

	ses->over = true;
	space_end(ses);
	log_info("disk %s: session %llu of client %s is over: %s", ses->disk->name,
		 (unsigned long long)ses->rec.id, ses->rec.client, why ? why : "closed");
	if (ses->binding) {
		req_fail(ses->binding, ARCHIL_ST_OVER);
		ses->binding = NULL;
	}
	session_get(ses);
	TAILQ_FOREACH_SAFE(conn, &ses->conns, of_session, tmp) {
		if (why)
			conn_push(conn, ARCHIL_OP_SESSION_OVER, NULL, 0);
		conn_finish(conn);
	}
	session_put(ses);
	session_put(ses);
}

struct close_work {
	struct work work;
	struct session *ses;
	struct req *req;
	struct ended ended;
	int rc;
};

static int close_apply(struct work *work, struct fs_txn *txn)
{
	struct close_work *cls = container_of(work, struct close_work, work);
	int rc;

	/* ended by somebody else meanwhile */
	if (session_find(work->disk, cls->ses->rec.id) != cls->ses) {
		cls->rc = ARCHIL_ST_OVER;
		return WORK_DONE;
	}
	rc = session_end_step(cls->ses, txn, &cls->ended);
	if (rc > 0)
		return rc;
	cls->rc = rc;
	return WORK_DONE;
}

static void close_done(struct work *work, int err)
{
	struct close_work *cls = container_of(work, struct close_work, work);
	struct session *ses = cls->ses;

	ended_done(work->disk, &cls->ended, err);
	if (!err)
		err = cls->rc;
	if (err)
		req_fail(cls->req, err);
	else
		req_reply(cls->req, NULL, 0, NULL, 0);
	if (!err)
		session_finish(ses, NULL);
	session_put(ses);
	free(cls);
}

void handle_close_session(struct req *req)
{
	struct close_work *cls = calloc(1, sizeof(*cls));

	if (!cls)
		server_oom();
	cls->work.apply = close_apply;
	cls->work.done = close_done;
	cls->req = req;
	cls->ses = session_get(req->conn->session);
	commit_submit(req->conn->disk, &cls->work);
}

/* ---- connections ---- */

void session_push(struct session *ses, unsigned int op, const void *body, uint32_t len)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &ses->conns, of_session)
		conn_push(conn, op, body, len);
}

void session_revoke(struct session *ses, uint64_t number)
{
	struct archil_revoke msg = { .number = cpu_to_le64(number) };

	numbers_add(&ses->taken, number);
	session_push(ses, ARCHIL_OP_REVOKE, &msg, sizeof(msg));
}

/* ---- links that others changed ---- */

/*
 * The attributes of an inode for the session that owns it now; NULL if none does.
 * chain: to be used again.
 */
static struct session *owner_of(struct disk *disk, struct fs_view *view, uint64_t ino,
				struct fs_chain *chain, struct archil_notify *msg)
{
	struct archil_attr_rep rep;
	struct session *ses = NULL;
	struct deleg *deleg;

	if (fs_getattr(view, ino, &rep, NULL) || fs_chain(view, ino, chain))
		return NULL;
	pthread_mutex_lock(&disk->lock);
	deleg = deleg_tree_cover(&disk->tree, chain->ino, chain->n);
	if (deleg) {
		ses = session_find(disk, deleg->grant.session);
		rep.attr.deleg = cpu_to_le64(deleg->grant.number);
	}
	pthread_mutex_unlock(&disk->lock);
	msg->attr = rep.attr;
	return ses;
}

/* Keeps the last ones: what was said on a connection that broke may not have arrived. */
static void remember(struct session *ses, uint64_t ino)
{
	struct numbers *list = &ses->notified;

	if (list->n && list->nr[list->n - 1] == ino)
		return;
	if (list->n == SESSION_NOTIFIED_MAX) {
		list->n /= 2;
		memmove(list->nr, list->nr + list->n, list->n * sizeof(*list->nr));
	}
	numbers_add(list, ino);
}

void session_notify_links(struct disk *disk, const uint64_t *inos, size_t n)
{
	struct fs_view *view = fs_view_get(disk->fs);
	struct fs_chain chain = { 0 };
	struct archil_notify msg;
	struct session *ses;
	struct conn *conn;
	size_t i;

	if (!view)
		server_oom();
	for (i = 0; i < n; i++) {
		ses = owner_of(disk, view, inos[i], &chain, &msg);
		if (!ses)
			continue;
		remember(ses, inos[i]);
		/* one of the data connections is enough */
		TAILQ_FOREACH(conn, &ses->conns, of_session)
			if (conn->kind == ARCHIL_CONN_DATA)
				break;
		if (conn)
			conn_push(conn, ARCHIL_OP_NOTIFY, &msg, sizeof(msg));
	}
	fs_chain_free(&chain);
	fs_view_put(view);
}

static void notify_again(struct session *ses, struct conn *conn)
{
	struct fs_chain chain = { 0 };
	struct archil_notify msg;
	struct fs_view *view;
	size_t i;

	if (!ses->notified.n || conn->kind != ARCHIL_CONN_DATA)
		return;
	view = fs_view_get(ses->disk->fs);
	if (!view)
		server_oom();
	for (i = 0; i < ses->notified.n; i++)
		if (owner_of(ses->disk, view, ses->notified.nr[i], &chain, &msg) == ses)
			conn_push(conn, ARCHIL_OP_NOTIFY, &msg, sizeof(msg));
	fs_chain_free(&chain);
	fs_view_put(view);
}

void session_attach(struct session *ses, struct conn *conn)
{
	size_t i;

	conn_attach(conn, ses);
	for (i = 0; i < ses->taken.n; i++) {
		struct archil_revoke msg = { .number = cpu_to_le64(ses->taken.nr[i]) };

		conn_push(conn, ARCHIL_OP_REVOKE, &msg, sizeof(msg));
	}
	notify_again(ses, conn);
}

/* Finds a live session for RESUME and BIND; answers ST_OVER when there is none. */
static struct session *find_for(struct req *req, uint64_t id, const uint8_t *mount)
{
	struct disk *disk = req->conn->disk;
	struct session *ses;

	pthread_mutex_lock(&disk->lock);
	ses = session_find(disk, id);
	pthread_mutex_unlock(&disk->lock);
	if (ses && !ses->over && !memcmp(ses->rec.mount, mount, ARCHIL_UUID_LEN))
		return ses;
	req_fail(req, ARCHIL_ST_OVER);
	return NULL;
}

void handle_resume(struct req *req)
{
	struct archil_resume_req *msg = (void *)req->body;
	struct conn *conn = req->conn, *other, *tmp;
	struct session *ses = find_for(req, le64_to_cpu(msg->session), msg->mount);

	if (!ses)
		return;
	TAILQ_FOREACH_SAFE(other, &ses->conns, of_session, tmp)
		if (other->kind == ARCHIL_CONN_CONTROL)
			conn_close(other, "its session has a new control connection");
	req_reply(req, NULL, 0, NULL, 0);
	session_attach(ses, conn);
}

static void bound(struct req *req, struct session *ses)
{
	struct archil_bind_rep rep = { .epoch = cpu_to_le64(ses->epoch) };
	struct conn *conn = req->conn;

	req->lost = NULL;
	conn->epoch = ses->epoch;
	req_reply(req, &rep, sizeof(rep), NULL, 0);
	session_attach(ses, conn);
}

static void binding_lost(struct req *req)
{
	struct session *ses = req->ctx;

	req->lost = NULL;
	ses->binding = NULL;
	session_put(ses);
	req_drop(req);
}

void session_io_end(struct session *ses)
{
	struct req *req = ses->binding;

	if (--ses->io || !req)
		return;
	ses->binding = NULL;
	bound(req, ses);
	session_put(ses);
}

/* A new epoch: the older connections go, and what was submitted from them ends. */
static void bind_new(struct req *req, struct session *ses)
{
	struct conn *conn, *tmp;

	if (ses->binding) {
		struct req *older = ses->binding;

		older->lost = NULL;
		ses->binding = NULL;
		session_put(ses);
		req_fail(older, -ESTALE);
	}
	TAILQ_FOREACH_SAFE(conn, &ses->conns, of_session, tmp)
		if (conn->kind == ARCHIL_CONN_DATA)
			conn_close(conn, "its session has a new epoch");
	ses->epoch = ++ses->disk->server->epoch;
	if (!ses->io) {
		bound(req, ses);
		return;
	}
	req->ctx = session_get(ses);
	req->lost = binding_lost;
	ses->binding = req;
}

void handle_bind(struct req *req)
{
	struct archil_bind_req *msg = (void *)req->body;
	uint64_t epoch = le64_to_cpu(msg->epoch);
	struct session *ses = find_for(req, le64_to_cpu(msg->session), msg->mount);
	struct conn *conn;
	unsigned int n = 0;

	if (!ses)
		return;
	if (!epoch) {
		bind_new(req, ses);
		return;
	}
	TAILQ_FOREACH(conn, &ses->conns, of_session)
		n++;
	if (epoch != ses->epoch || ses->binding)
		req_fail(req, -ESTALE);
	else if (n >= SESSION_CONNS_MAX)
		req_fail(req, -EMFILE);
	else
		bound(req, ses);
}


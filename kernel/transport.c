// SPDX-License-Identifier: GPL-2.0
/*
 * Requests and replies.
 *
 * 1. A request is on exactly one list, unsent or sent, from submission until it
 *    is answered. WRITEs have an unsent list of their own and let everything else pass, so
 *    nobody's fsync is behind somebody's write-back. Otherwise the order of sending is that of
 *    submission; the order of LOG batches rests on this.
 * 2. A reply ends a request, whoever waits for it or not. What it needs (buffers,
 *    folios) stays until then, so a late reply never meets freed memory.
 * 3. When a connection is lost, everything that was sent and not answered is put back
 *    in front, in order. The server keeps repetitions harmless: reads are
 *    idempotent, LOG has record numbers, slots have sequence numbers, and a new
 *    epoch fences WRITEs of the old one.
 * 4. The old connection's threads have ended before a new one begins, and
 *    before requests are failed: nobody else touches a request's buffers then.
 * 5. The threads of a connection wait for nothing but their socket.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>

#include "conn.h"
#include "netlink.h"
#include "super.h"
#include "trace.h"

/* Connecting again waits for no work of a mount's: those may wait for the connection. */
static struct workqueue_struct *archil_conn_wq;

int __init archil_conn_wq_init(void)
{
	archil_conn_wq = alloc_workqueue("archil-conn", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return archil_conn_wq ? 0 : -ENOMEM;
}

void archil_conn_wq_exit(void)
{
	destroy_workqueue(archil_conn_wq);
}

int archil_status_to_errno(u32 status)
{
	switch (status) {
	case 0:
		return 0;
	case ARCHIL_ST_CLOSED:
		return -ESTALE;
	case ARCHIL_ST_TAKEN:
	case ARCHIL_ST_OVER:
	case ARCHIL_ST_BAD_SEQ:
		return -EIO;
	}
	return status < MAX_ERRNO ? -(int)status : -EIO;
}

struct archil_req *archil_req_new(struct archil_mount *m, enum archil_op op, u32 body_len,
				  u32 rep_cap, gfp_t gfp)
{
	struct archil_req *req;

	req = kzalloc(sizeof(*req) + body_len + rep_cap, gfp);
	if (!req)
		return NULL;
	refcount_set(&req->ref, 1);
	INIT_LIST_HEAD(&req->list);
	INIT_HLIST_NODE(&req->by_tag);
	init_completion(&req->completion);
	req->mount = m;
	req->op = op;
	req->body = req->data;
	req->body_len = body_len;
	req->rep = req->data + body_len;
	req->rep_cap = rep_cap;
	return req;
}

void archil_req_put(struct archil_req *req)
{
	if (!refcount_dec_and_test(&req->ref))
		return;
	if (req->release)
		req->release(req);
	kfree(req);
}

void archil_req_free_in_buf(struct archil_req *req)
{
	kvfree(req->in_buf);
}

/* Answered, or failed: off all lists. Drops the transport's reference. */
static void archil_req_finish(struct archil_req *req)
{
	trace_archil_reply(req->mount->id, req->op, req->tag, req->error ? -req->error : req->status,
			   req->commit);
	if (req->done)
		req->done(req);
	complete_all(&req->completion);
	archil_req_put(req);
}

static struct list_head *archil_unsent_list(struct archil_req *req)
{
	struct archil_transport *tp = &req->mount->tp;

	return req->op == ARCHIL_OP_WRITE ? &tp->unsent_bulk : &tp->unsent;
}

void archil_req_submit(struct archil_req *req)
{
	struct archil_transport *tp = &req->mount->tp;
	struct archil_conn *conn = NULL;

	refcount_inc(&req->ref);
	atomic64_inc(&tp->requests[req->op]);
	spin_lock(&tp->lock);
	if (tp->state == ARCHIL_TP_OVER) {
		spin_unlock(&tp->lock);
		req->error = -EIO;
		archil_req_finish(req);
		return;
	}
	req->tag = ++tp->next_tag;
	trace_archil_request(req->mount->id, req->op, req->tag, req->body_len, req->out_len);
	hash_add(tp->tags, &req->by_tag, req->tag);
	list_add_tail(&req->list, archil_unsent_list(req));
	if (tp->state == ARCHIL_TP_UP) {
		conn = tp->conn;
		archil_conn_kick(conn);
	}
	spin_unlock(&tp->lock);
}

int archil_req_wait_for(struct archil_req *req, long timeout)
{
	timeout = wait_for_completion_killable_timeout(&req->completion, timeout);
	if (timeout <= 0)
		return timeout ? -EINTR : -ETIMEDOUT;
	return req->error ?: archil_status_to_errno(req->status);
}

int archil_req_wait(struct archil_req *req)
{
	return archil_req_wait_for(req, MAX_SCHEDULE_TIMEOUT);
}

int archil_req_call(struct archil_req *req)
{
	archil_req_submit(req);
	return archil_req_wait(req);
}

/* The next request to send on this connection, marked as being sent; or NULL. */
struct archil_req *archil_transport_next(struct archil_mount *m, struct archil_conn *conn)
{
	struct archil_transport *tp = &m->tp;
	struct archil_req *req = NULL;

	spin_lock(&tp->lock);
	if (tp->conn == conn && tp->state == ARCHIL_TP_UP) {
		req = list_first_entry_or_null(&tp->unsent, struct archil_req, list) ?:
		      list_first_entry_or_null(&tp->unsent_bulk, struct archil_req, list);
		if (req) {
			list_move_tail(&req->list, &tp->sent);
			req->sending = true;
			req->was_sent = true;
			refcount_inc(&req->ref);
		}
	}
	spin_unlock(&tp->lock);
	return req;
}

/* The sender has let go of the request. */
void archil_transport_sent(struct archil_req *req)
{
	struct archil_transport *tp = &req->mount->tp;
	bool answered;

	spin_lock(&tp->lock);
	req->sending = false;
	answered = req->answered;
	spin_unlock(&tp->lock);
	if (answered)
		archil_req_finish(req);
	archil_req_put(req);
}

/* The request that a reply is for, with a reference; NULL: none that was sent. */
struct archil_req *archil_transport_find(struct archil_mount *m, u32 tag)
{
	struct archil_transport *tp = &m->tp;
	struct archil_req *req, *found = NULL;

	spin_lock(&tp->lock);
	hash_for_each_possible(tp->tags, req, by_tag, tag) {
		if (req->tag == tag && req->was_sent) {
			refcount_inc(&req->ref);
			found = req;
			break;
		}
	}
	spin_unlock(&tp->lock);
	return found;
}

/* The answer is in the request, whole. Puts the reference of find(). */
void archil_transport_answered(struct archil_req *req)
{
	struct archil_transport *tp = &req->mount->tp;
	bool finish = false;

	spin_lock(&tp->lock);
	if (!list_empty(&req->list)) {
		list_del_init(&req->list);
		hash_del(&req->by_tag);
		req->answered = req->sending;
		finish = !req->sending;
	}
	spin_unlock(&tp->lock);
	if (finish)
		archil_req_finish(req);
	archil_req_put(req);
}

/* ---- connecting ---- */

static void archil_transport_connected(struct archil_upcall *up)
{
	struct archil_mount *m = up->mount;
	struct archil_transport *tp = &m->tp;
	struct socket *sock = up->sock;
	int err = up->status;

	up->sock = NULL;
	if (!err && sock)
		err = archil_transport_attach(m, sock, up->epoch);
	if (!err)
		return;
	if (err == -ESTALE) {
		pr_warn("mount %llu: the server has ended the session\n", m->id);
		archil_transport_over_async(m);
		return;
	}
	spin_lock(&tp->lock);
	if (tp->state != ARCHIL_TP_OVER)
		mod_delayed_work(archil_conn_wq, &tp->connect_work, HZ);
	spin_unlock(&tp->lock);
}

static void archil_transport_connect(struct work_struct *work)
{
	struct archil_transport *tp = container_of(to_delayed_work(work), struct archil_transport,
						   connect_work);
	struct archil_mount *m = container_of(tp, struct archil_mount, tp);
	struct archil_upcall *up;

	if (archil_transport_is_over(m))
		return;
	up = archil_upcall_new(m, ARCHIL_UPCALL_CONNECT);
	if (!up) {
		mod_delayed_work(archil_conn_wq, &tp->connect_work, HZ);
		return;
	}
	up->done = archil_transport_connected;
	archil_upcall_submit(up);
	archil_upcall_put(up);
}

/* A connection's thread has found it dead. */
void archil_transport_lost(struct archil_mount *m, struct archil_conn *conn)
{
	struct archil_transport *tp = &m->tp;

	spin_lock(&tp->lock);
	if (tp->conn == conn && tp->state == ARCHIL_TP_UP) {
		tp->state = ARCHIL_TP_LOST;
		trace_archil_conn(m->id, "lost");
		if (!tp->connecting) {
			tp->connecting = true;
			mod_delayed_work(archil_conn_wq, &tp->connect_work, 0);
		}
	}
	spin_unlock(&tp->lock);
}

int archil_transport_attach(struct archil_mount *m, struct socket *sock, u64 epoch)
{
	struct archil_transport *tp = &m->tp;
	struct archil_req *req, *next, *hello;
	struct archil_conn *conn, *old;

	mutex_lock(&tp->conn_mutex);
	spin_lock(&tp->lock);
	old = tp->conn;
	tp->conn = NULL;
	if (tp->state == ARCHIL_TP_UP)
		tp->state = ARCHIL_TP_LOST;
	spin_unlock(&tp->lock);
	if (old)
		archil_conn_stop(old);

	/* No reply changes what we hold any more, until the new connection runs. */
	hello = archil_credit_hello(m);
	if (!hello) {
		mutex_unlock(&tp->conn_mutex);
		sockfd_put(sock);
		return -ENOMEM;
	}
	conn = archil_conn_new(m, sock);
	if (IS_ERR(conn)) {
		mutex_unlock(&tp->conn_mutex);
		archil_req_put(hello);
		return PTR_ERR(conn);
	}

	spin_lock(&tp->lock);
	if (tp->state == ARCHIL_TP_OVER) {
		spin_unlock(&tp->lock);
		archil_conn_stop(conn);
		mutex_unlock(&tp->conn_mutex);
		archil_req_put(hello);
		return 0;
	}
	list_for_each_entry_safe_reverse(req, next, &tp->sent, list) {
		atomic64_inc(&tp->resent);
		list_move(&req->list, archil_unsent_list(req));
	}
	hello->tag = ++tp->next_tag;
	hash_add(tp->tags, &hello->by_tag, hello->tag);
	list_add(&hello->list, &tp->unsent);	/* its reference goes along */
	if (tp->epoch)
		atomic64_inc(&tp->reconnects);
	tp->conn = conn;
	tp->epoch = epoch;
	tp->state = ARCHIL_TP_UP;
	tp->connecting = false;
	archil_conn_kick(conn);
	/* Not before: who finds the connection dead says so once, and is believed if it is ours. */
	archil_conn_start(conn);
	spin_unlock(&tp->lock);
	trace_archil_conn(m->id, "up");
	mutex_unlock(&tp->conn_mutex);
	return 0;
}

bool archil_transport_is_over(struct archil_mount *m)
{
	return READ_ONCE(m->tp.state) == ARCHIL_TP_OVER;
}

bool archil_transport_is_up(struct archil_mount *m)
{
	return READ_ONCE(m->tp.state) == ARCHIL_TP_UP;
}

void archil_transport_over(struct archil_mount *m)
{
	struct archil_transport *tp = &m->tp;
	struct archil_req *req;
	struct archil_conn *conn;
	LIST_HEAD(all);

	mutex_lock(&tp->conn_mutex);
	spin_lock(&tp->lock);
	tp->state = ARCHIL_TP_OVER;
	conn = tp->conn;
	tp->conn = NULL;
	spin_unlock(&tp->lock);
	if (conn)
		archil_conn_stop(conn);

	/* Nothing is added any more, and no thread is in a request. */
	spin_lock(&tp->lock);
	list_splice_init(&tp->sent, &all);
	list_splice_tail_init(&tp->unsent, &all);
	list_splice_tail_init(&tp->unsent_bulk, &all);
	list_for_each_entry(req, &all, list)
		hash_del(&req->by_tag);
	spin_unlock(&tp->lock);
	while ((req = list_first_entry_or_null(&all, struct archil_req, list))) {
		list_del_init(&req->list);
		req->error = -EIO;
		archil_req_finish(req);
	}
	mutex_unlock(&tp->conn_mutex);
	trace_archil_conn(m->id, "over");
	archil_delegs_over(m);
	wake_up_all(&m->inos.wait);
	wake_up_all(&m->credit.wait);
	wake_up_all(&m->backlog_wait);
	archil_upcalls_drop(m, 0);
}

static void archil_transport_over_work(struct work_struct *work)
{
	struct archil_transport *tp = container_of(work, struct archil_transport, over_work);
	struct archil_mount *m = container_of(tp, struct archil_mount, tp);

	if (!archil_transport_is_over(m))
		archil_transport_over(m);
	archil_mount_put(m);
}

void archil_transport_over_async(struct archil_mount *m)
{
	/* The mount may be on its way out, and past waiting for this. */
	refcount_inc(&m->ref);
	if (!queue_work(archil_conn_wq, &m->tp.over_work))
		archil_mount_put(m);
}

void archil_transport_init(struct archil_mount *m)
{
	struct archil_transport *tp = &m->tp;

	spin_lock_init(&tp->lock);
	INIT_LIST_HEAD(&tp->unsent);
	INIT_LIST_HEAD(&tp->unsent_bulk);
	INIT_LIST_HEAD(&tp->sent);
	hash_init(tp->tags);
	mutex_init(&tp->conn_mutex);
	tp->state = ARCHIL_TP_LOST;
	INIT_DELAYED_WORK(&tp->connect_work, archil_transport_connect);
	INIT_WORK(&tp->over_work, archil_transport_over_work);
}

void archil_transport_exit(struct archil_mount *m)
{
	archil_transport_over(m);
	cancel_delayed_work_sync(&m->tp.connect_work);
	if (cancel_work_sync(&m->tp.over_work))
		archil_mount_put(m);	/* not the last reference */
}

// SPDX-License-Identifier: GPL-2.0
/*
 * One socket, two threads: one sends what the transport has next, one receives.
 * Neither waits for anything but the socket. The first that fails shuts the
 * socket down, which ends the other, and tells the transport once.
 *
 * A connection lives from archil_conn_new() to archil_conn_stop(); the threads, once started,
 * stay until they are told to stop, so the structure needs no reference count.
 */
#include <linux/kthread.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/tcp.h>
#include <net/sock.h>

#include "conn.h"
#include "deleg.h"
#include "inode.h"
#include "super.h"

/* Bytes of a page on the average, from which on the socket keeps it: less is copied sooner. */
#define ARCHIL_CONN_KEEP	(16 << 10)
#define ARCHIL_CONN_NOTSENT	(256 << 10)	/* bytes that the socket keeps and has not sent */

struct archil_conn {
	struct archil_mount *mount;
	struct socket *sock;		/* reference through its file */
	struct task_struct *tx, *rx;
	wait_queue_head_t wait;		/* tx: something to send, dead, or stop */
	bool kicked;
	bool dead;
	spinlock_t pong_lock;
	bool pong;			/* a PING to answer; protected by pong_lock */
	u64 pong_tag;			/* the latest; protected by pong_lock */
	u8 body[ARCHIL_BODY_MAX];	/* rx only */
};

static void archil_conn_failed(struct archil_conn *conn)
{
	if (!xchg(&conn->dead, true)) {
		kernel_sock_shutdown(conn->sock, SHUT_RDWR);
		archil_transport_lost(conn->mount, conn);
		wake_up(&conn->wait);
	}
}

void archil_conn_kick(struct archil_conn *conn)
{
	WRITE_ONCE(conn->kicked, true);
	wake_up(&conn->wait);
}

/* ---- sending ---- */

static int archil_conn_send_iter(struct archil_conn *conn, struct msghdr *msg, bool keep)
{
	int n;

	while (msg_data_left(msg)) {
		n = keep ? compat_sock_send_pages(conn->sock, msg) : sock_sendmsg(conn->sock, msg);
		if (n <= 0)
			return n ?: -EPIPE;
		atomic64_add(n, &conn->mount->tp.tx_bytes);
	}
	return 0;
}

static int archil_conn_send_kvec(struct archil_conn *conn, const struct kvec *vec, unsigned int nr,
				 size_t len, bool more)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0) };

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, nr, len);
	return archil_conn_send_iter(conn, &msg, false);
}

static int archil_conn_send(struct archil_conn *conn, struct archil_req *req)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	struct kvec vec[2] = {
		{ &req->hdr, sizeof(req->hdr) },
		{ req->body, req->body_len },
	};
	int err;

	archil_hdr_fill(&req->hdr, req->op, req->urgent ? ARCHIL_F_URGENT : 0, req->tag,
			req->body_len, req->out_len);
	err = archil_conn_send_kvec(conn, vec, 2, sizeof(req->hdr) + req->body_len, req->out_len);
	if (err || !req->out_len)
		return err;
	if (req->out_kvec)
		return archil_conn_send_kvec(conn, req->out_kvec, req->out_nr, req->out_len, false);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, req->out_bvec, req->out_nr, req->out_len);
	return archil_conn_send_iter(conn, &msg, req->out_len / req->out_nr >= ARCHIL_CONN_KEEP);
}

static int archil_conn_pong(struct archil_conn *conn)
{
	struct archil_hdr hdr;
	struct kvec vec = { &hdr, sizeof(hdr) };
	bool pong;

	spin_lock(&conn->pong_lock);
	pong = conn->pong;
	conn->pong = false;
	archil_hdr_fill(&hdr, ARCHIL_OP_PING, ARCHIL_F_REPLY, conn->pong_tag, 0, 0);
	spin_unlock(&conn->pong_lock);
	return pong ? archil_conn_send_kvec(conn, &vec, 1, sizeof(hdr), false) : 0;
}

static int archil_conn_tx(void *data)
{
	struct archil_conn *conn = data;
	unsigned int noreclaim = memalloc_noreclaim_save();
	struct archil_req *req;
	int err = 0;

	while (!kthread_should_stop()) {
		wait_event_idle(conn->wait, READ_ONCE(conn->kicked) || kthread_should_stop());
		WRITE_ONCE(conn->kicked, false);
		smp_mb(); /* kicked is cleared before we look: a later kick is not lost */
		if (READ_ONCE(conn->dead))
			continue;
		err = archil_conn_pong(conn);
		while (!err && (req = archil_transport_next(conn->mount, conn))) {
			err = archil_conn_send(conn, req);
			archil_transport_sent(req);
			if (!err)
				err = archil_conn_pong(conn);
		}
		if (err)
			archil_conn_failed(conn);
	}
	memalloc_noreclaim_restore(noreclaim);
	return 0;
}

/* ---- receiving ---- */

static int archil_conn_recv(struct archil_conn *conn, struct msghdr *msg)
{
	int n;

	while (msg_data_left(msg)) {
		n = sock_recvmsg(conn->sock, msg, MSG_WAITALL);
		if (n <= 0)
			return n ?: -ECONNRESET;
		atomic64_add(n, &conn->mount->tp.rx_bytes);
	}
	return 0;
}

static int archil_conn_recv_buf(struct archil_conn *conn, void *buf, size_t len)
{
	struct msghdr msg = { };
	struct kvec vec = { buf, len };

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, len);
	return archil_conn_recv(conn, &msg);
}

static int archil_conn_push(struct archil_conn *conn, const struct archil_hdr *hdr)
{
	struct archil_mount *m = conn->mount;
	const struct archil_revoke *revoke = (void *)conn->body;
	const struct archil_notify *notify = (void *)conn->body;

	switch (le16_to_cpu(hdr->op)) {
	case ARCHIL_OP_REVOKE:
		archil_deleg_revoked(m, le64_to_cpu(revoke->number));
		return 0;
	case ARCHIL_OP_NOTIFY:
		archil_inode_notify(m, &notify->attr);
		return 0;
	case ARCHIL_OP_SESSION_OVER:
		archil_transport_over_async(m);
		return 0;
	case ARCHIL_OP_PING:
		spin_lock(&conn->pong_lock);
		conn->pong = true;
		conn->pong_tag = le64_to_cpu(hdr->tag);
		spin_unlock(&conn->pong_lock);
		archil_conn_kick(conn);
		return 0;
	}
	return -EPROTO;
}

static int archil_conn_reply(struct archil_conn *conn, const struct archil_hdr *hdr)
{
	u32 body_len = le32_to_cpu(hdr->body_len), payload = archil_payload_len(hdr);
	u64 tag = le64_to_cpu(hdr->tag);
	struct archil_req *req;
	struct msghdr msg = { };
	int err = -EPROTO;

	if (tag > U32_MAX)
		return -EPROTO;
	req = archil_transport_find(conn->mount, tag);
	if (!req || req->op != le16_to_cpu(hdr->op) || payload > req->in_cap)
		goto out;
	req->status = le32_to_cpu(hdr->status);
	if (!req->status && body_len > req->rep_cap)
		goto out;
	req->commit = le64_to_cpu(hdr->commit);
	req->rep_len = min(body_len, req->rep_cap);
	memcpy(req->rep, conn->body, req->rep_len);
	req->in_len = payload;
	err = 0;
	if (payload && req->in_buf) {
		err = archil_conn_recv_buf(conn, req->in_buf, payload);
	} else if (payload) {
		iov_iter_bvec(&msg.msg_iter, ITER_DEST, req->in_bvec, req->in_nr, payload);
		err = archil_conn_recv(conn, &msg);
	}
	if (!err) {
		archil_transport_answered(req);
		return 0;
	}
out:
	if (req)
		archil_req_put(req);
	return err;
}

static int archil_conn_frame(struct archil_conn *conn)
{
	struct archil_hdr hdr;
	int err;

	err = archil_conn_recv_buf(conn, &hdr, sizeof(hdr));
	if (!err)
		err = archil_hdr_check(&hdr, ARCHIL_CONN_DATA, true);
	if (!err)
		err = archil_conn_recv_buf(conn, conn->body, le32_to_cpu(hdr.body_len));
	if (!err)
		err = archil_body_check(&hdr, conn->body);
	if (err)
		return err;
	if (le16_to_cpu(hdr.flags) & ARCHIL_F_REPLY)
		return archil_conn_reply(conn, &hdr);
	return archil_conn_push(conn, &hdr);
}

static int archil_conn_rx(void *data)
{
	struct archil_conn *conn = data;
	unsigned int noreclaim = memalloc_noreclaim_save();
	int err = 0;

	while (!err && !kthread_should_stop())
		err = archil_conn_frame(conn);
	if (err == -EPROTO)
		pr_warn_ratelimited("mount %llu: the server does not keep to the protocol\n",
				    conn->mount->id);
	archil_conn_failed(conn);
	memalloc_noreclaim_restore(noreclaim);
	wait_event_idle(conn->wait, kthread_should_stop());
	return 0;
}

/* ---- life ---- */

struct archil_conn *archil_conn_new(struct archil_mount *m, struct socket *sock)
{
	struct archil_conn *conn;
	struct task_struct *task;

	conn = kzalloc(sizeof(*conn), GFP_KERNEL);
	if (!conn) {
		task = ERR_PTR(-ENOMEM);
		goto err_sock;
	}
	conn->mount = m;
	conn->sock = sock;
	init_waitqueue_head(&conn->wait);
	spin_lock_init(&conn->pong_lock);

	/* Writing back is how memory gets free: it must not wait for memory. */
	sk_set_memalloc(sock->sk);
	sock->sk->sk_allocation = GFP_NOIO;
	sock->sk->sk_rcvtimeo = MAX_SCHEDULE_TIMEOUT;
	sock->sk->sk_sndtimeo = MAX_SCHEDULE_TIMEOUT;
	/* What is urgent passes what waits here, but not what waits in the socket. */
	WRITE_ONCE(tcp_sk(sock->sk)->notsent_lowat, ARCHIL_CONN_NOTSENT);

	task = kthread_create(archil_conn_tx, conn, "archil-tx/%llu", m->id);
	if (IS_ERR(task))
		goto err_conn;
	conn->tx = task;
	task = kthread_create(archil_conn_rx, conn, "archil-rx/%llu", m->id);
	if (IS_ERR(task))
		goto err_tx;
	conn->rx = task;
	get_task_struct(conn->tx);
	get_task_struct(conn->rx);
	return conn;

err_tx:
	kthread_stop(conn->tx);
err_conn:
	sk_clear_memalloc(sock->sk);
	kfree(conn);
err_sock:
	sockfd_put(sock);
	return ERR_CAST(task);
}

void archil_conn_start(struct archil_conn *conn)
{
	wake_up_process(conn->tx);
	wake_up_process(conn->rx);
}

void archil_conn_stop(struct archil_conn *conn)
{
	if (!xchg(&conn->dead, true))
		kernel_sock_shutdown(conn->sock, SHUT_RDWR);
	kthread_stop(conn->tx);
	kthread_stop(conn->rx);
	put_task_struct(conn->tx);
	put_task_struct(conn->rx);
	sk_clear_memalloc(conn->sock->sk);
	sockfd_put(conn->sock);
	kfree(conn);
}

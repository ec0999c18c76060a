// SPDX-License-Identifier: GPL-2.0
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk.h"
#include "log.h"
#include "server.h"
#include "session.h"

static void *xalloc(size_t size)
{
	void *p = malloc(size);

	/* Nobody can be answered without memory; a restart costs a resend. */
	if (!p)
		server_oom();
	return p;
}

/* Reads on in this turn of the loop, not here: whoever answers is in the middle of something. */
static void resume(struct conn *conn)
{
	if (conn->closed || conn->resuming || conn->receiving)
		return;
	conn->resuming = true;
	conn->refs++;
	TAILQ_INSERT_TAIL(&conn->server->resumers, conn, resumer);
}

/* ---- budget: bytes that a session makes the server keep ---- */

static void budget_add(struct conn *conn, uint64_t bytes)
{
	conn->budget += bytes;
	if (conn->session)
		conn->session->budget += bytes;
}

static void budget_sub(struct conn *conn, uint64_t bytes)
{
	struct session *ses = conn->session;
	struct conn *other;
	bool was_over;

	conn->budget -= bytes;
	if (!ses)
		return;
	was_over = ses->budget >= BUDGET_MAX;
	ses->budget -= bytes;
	if (!was_over || ses->budget >= BUDGET_MAX)
		return;
	TAILQ_FOREACH(other, &ses->conns, of_session)
		resume(other);
}

static bool throttled(const struct conn *conn)
{
	uint64_t budget = conn->session ? conn->session->budget : conn->budget;

	return conn->n_reqs >= CONN_MAX_REQS || budget >= BUDGET_MAX;
}

/* ---- life ---- */

static void tune(int fd)
{
	int one = 1, idle = 30, interval = 10, count = 3, user_ms = 60000;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
}

static void conn_pump(struct conn *conn);
static void recv_done(struct loop_op *op, int res);
static void send_done(struct loop_op *op, int res);

static void req_free(struct req *req)
{
	free(req->payload);
	free(req);
}

static void out_clear(struct conn *conn)
{
	struct frame *frame;

	while ((frame = STAILQ_FIRST(&conn->out))) {
		STAILQ_REMOVE_HEAD(&conn->out, next);
		budget_sub(conn, frame->head_len + frame->payload_len);
		free(frame->payload);
		free(frame);
	}
}

void conn_put(struct conn *conn)
{
	if (--conn->refs)
		return;
	out_clear(conn);
	if (conn->cur) {
		budget_sub(conn, conn->cur->body_len + conn->cur->payload_len);
		req_free(conn->cur);
	}
	close(conn->fd);
	scram_server_wipe(&conn->scram);
	if (conn->session)
		session_put(conn->session);
	if (conn->disk)
		disk_put(conn->disk);
	TAILQ_REMOVE(&conn->server->conns, conn, all);
	free(conn->rbuf);
	free(conn);
}

/* Counts it among those that are in the middle of a request, or not. */
static void expect_more(struct conn *conn, bool more)
{
	if (!conn->disk || conn->expecting == more)
		return;
	conn->expecting = more;
	if (more)
		conn->disk->data.n_receiving++;
	else
		conn->disk->data.n_receiving--;
}

void conn_close(struct conn *conn, const char *why, ...)
{
	struct req *req, *tmp;
	char text[160];
	va_list ap;

	if (conn->closed)
		return;
	if (why) {
		va_start(ap, why);
		vsnprintf(text, sizeof(text), why, ap);
		va_end(ap);
		log_info("%s: connection ended: %s", conn->peer, text);
	}
	conn->closed = true;
	shutdown(conn->fd, SHUT_RDWR);
	if (conn->stage < CONN_AUTHED) {
		TAILQ_REMOVE(&conn->server->unauth, conn, unauth);
		conn->server->n_unauth--;
	}
	if (conn->stage == CONN_LIVE) {
		TAILQ_REMOVE(&conn->session->conns, conn, of_session);
		open_conn_lost(conn);
	}
	expect_more(conn, false);
	TAILQ_FOREACH_SAFE(req, &conn->reqs, of_conn, tmp)
		if (req->lost)
			req->lost(req);
	conn_put(conn);
}

void conn_new(struct server *server, int fd, const char *peer)
{
	struct conn *conn = calloc(1, sizeof(*conn)), *oldest;

	if (!conn) {
		close(fd);
		return;
	}
	tune(fd);
	conn->server = server;
	conn->fd = fd;
	conn->refs = 1;
	conn->since = server->loop.now;
	snprintf(conn->peer, sizeof(conn->peer), "%s", peer);
	conn->rbuf = xalloc(CONN_RBUF);
	conn->recv_op.done = recv_done;
	conn->send_op.done = send_done;
	TAILQ_INIT(&conn->reqs);
	STAILQ_INIT(&conn->out);
	TAILQ_INSERT_TAIL(&server->conns, conn, all);
	TAILQ_INSERT_TAIL(&server->unauth, conn, unauth);
	if (++server->n_unauth > CONN_MAX_UNAUTH) {
		oldest = TAILQ_FIRST(&server->unauth);
		conn_close(oldest, "too many connections that have not authenticated");
	}
	conn_pump(conn);
}

void conn_authed(struct conn *conn, struct disk *disk)
{
	conn->disk = disk_get(disk);
	conn->stage = CONN_AUTHED;
	TAILQ_REMOVE(&conn->server->unauth, conn, unauth);
	conn->server->n_unauth--;
}

void conn_attach(struct conn *conn, struct session *session)
{
	conn->session = session_get(session);
	session->budget += conn->budget;
	conn->stage = CONN_LIVE;
	TAILQ_INSERT_TAIL(&session->conns, conn, of_session);
}

void conn_expire(struct server *server)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&server->unauth)) &&
	       conn->since + CONN_AUTH_MS <= server->loop.now)
		conn_close(conn, "not authenticated within %d s", CONN_AUTH_MS / 1000);
}

/* ---- receiving ---- */

static void recv_arm(struct conn *conn)
{
	struct req *req = conn->cur;
	unsigned int n = 0;

	if (conn->receiving || conn->closed || conn->finishing)
		return;
	if (conn->rpos) {
		memmove(conn->rbuf, conn->rbuf + conn->rpos, conn->rend - conn->rpos);
		conn->rend -= conn->rpos;
		conn->rpos = 0;
	}
	/* the rest of a payload goes where it stays, and what follows beside it */
	if (req && conn->cur_body == req->body_len) {
		conn->recv_iov[n].iov_base = (char *)req->payload + conn->cur_payload;
		conn->recv_iov[n++].iov_len = req->payload_len - conn->cur_payload;
	}
	conn->recv_iov[n].iov_base = conn->rbuf + conn->rend;
	conn->recv_iov[n++].iov_len = CONN_RBUF - conn->rend;
	memset(&conn->recv_msg, 0, sizeof(conn->recv_msg));
	conn->recv_msg.msg_iov = conn->recv_iov;
	conn->recv_msg.msg_iovlen = n;
	io_uring_prep_recvmsg(loop_sqe(&conn->server->loop, &conn->recv_op), conn->fd,
			      &conn->recv_msg, 0);
	conn->receiving = true;
	conn->refs++;
}

static void recv_done(struct loop_op *op, int res)
{
	struct conn *conn = container_of(op, struct conn, recv_op);
	uint32_t n = res > 0 ? res : 0;

	conn->receiving = false;
	if (conn->closed)
		goto out;
	if (res == 0) {
		conn_close(conn, NULL);
		goto out;
	}
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		conn_close(conn, "%s", strerror(-res));
		goto out;
	}
	if (n && conn->recv_msg.msg_iovlen == 2) {
		uint32_t first = conn->recv_iov[0].iov_len;

		if (first > n)
			first = n;
		conn->cur_payload += first;
		n -= first;
	}
	conn->rend += n;
	conn_pump(conn);
out:
	conn_put(conn);
}

/* Begins a request when its header is there. Returns false when it is not, or is refused. */
static bool req_begin(struct conn *conn)
{
	enum archil_conn_kind kind = conn->kind ? conn->kind : ARCHIL_CONN_CONTROL;
	struct archil_hdr hdr;
	uint32_t body_len, payload_len;
	struct req *req;
	unsigned int op;

	if (conn->rend - conn->rpos < sizeof(hdr) || throttled(conn))
		return false;
	/* what opens, resumes or binds is answered before anything else is looked at */
	if (conn->stage == CONN_AUTHED && conn->n_reqs)
		return false;
	memcpy(&hdr, conn->rbuf + conn->rpos, sizeof(hdr));
	op = le16_to_cpu(hdr.op);
	if (archil_hdr_check(&hdr, kind, false)) {
		conn_close(conn, "what arrived is not archil's protocol");
		return false;
	}
	if (!dispatch_allowed(conn, op)) {
		conn_close(conn, "%s out of order", archil_op_name(op));
		return false;
	}
	conn->rpos += sizeof(hdr);
	body_len = le32_to_cpu(hdr.body_len);
	payload_len = archil_payload_len(&hdr);
	req = xalloc(sizeof(*req) + body_len);
	memset(req, 0, sizeof(*req));
	req->conn = conn;
	req->op = op;
	req->flags = le16_to_cpu(hdr.flags);
	req->tag = le64_to_cpu(hdr.tag);
	req->body_len = body_len;
	req->payload_len = payload_len;
	if (payload_len)
		req->payload = xalloc(payload_len);
	budget_add(conn, body_len + payload_len);
	conn->cur = req;
	conn->cur_body = 0;
	conn->cur_payload = 0;
	return true;
}

static uint32_t take(struct conn *conn, void *to, uint32_t want)
{
	uint32_t n = conn->rend - conn->rpos;

	if (n > want)
		n = want;
	if (n)
		memcpy(to, conn->rbuf + conn->rpos, n);
	conn->rpos += n;
	return n;
}

/* Returns false when more has to be received first. */
static bool req_complete(struct conn *conn)
{
	struct req *req = conn->cur;

	conn->cur_body += take(conn, req->body + conn->cur_body, req->body_len - conn->cur_body);
	if (conn->cur_body < req->body_len)
		return false;
	conn->cur_payload += take(conn, (char *)req->payload + conn->cur_payload,
				  req->payload_len - conn->cur_payload);
	return conn->cur_payload == req->payload_len;
}

static void req_run(struct conn *conn)
{
	struct req *req = conn->cur;
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, req->op, req->flags, req->tag, req->body_len, req->payload_len);
	if (archil_body_check(&hdr, req->body)) {
		/* conn_put() frees it */
		conn_close(conn, "damaged %s", archil_op_name(req->op));
		return;
	}
	conn->cur = NULL;
	conn->refs++;
	conn->n_reqs++;
	TAILQ_INSERT_TAIL(&conn->reqs, req, of_conn);
	dispatch(req);
}

/* Takes apart what was received, then receives more. */
static void conn_pump(struct conn *conn)
{
	if (conn->receiving || conn->closed || conn->finishing)
		return;
	conn->refs++;
	while (!conn->closed && !conn->finishing) {
		if (!conn->cur && !req_begin(conn))
			break;
		if (!req_complete(conn))
			break;
		req_run(conn);
	}
	expect_more(conn, conn->cur && !conn->closed);
	/* a whole header that was not begun waits for others to end, not for more bytes */
	if (conn->cur || conn->rend - conn->rpos < sizeof(struct archil_hdr))
		recv_arm(conn);
	conn_put(conn);
}

/* ---- sending ---- */

static void send_queue(struct conn *conn, struct frame *frame)
{
	if (conn->closed) {
		free(frame->payload);
		free(frame);
		return;
	}
	STAILQ_INSERT_TAIL(&conn->out, frame, next);
	budget_add(conn, frame->head_len + frame->payload_len);
	if (!conn->sending && !conn->send_wanted) {
		conn->send_wanted = true;
		conn->refs++;
		TAILQ_INSERT_TAIL(&conn->server->senders, conn, sender);
	}
}

/* Gathers what is queued, skipping what of the first frame is sent. */
static unsigned int gather(struct conn *conn)
{
	uint64_t skip = conn->out_done;
	struct frame *frame;
	unsigned int n = 0;

	STAILQ_FOREACH(frame, &conn->out, next) {
		if (n + 2 > CONN_SEND_IOV)
			break;
		if (skip < frame->head_len) {
			conn->send_iov[n].iov_base = frame->head + skip;
			conn->send_iov[n++].iov_len = frame->head_len - skip;
			skip = 0;
		} else {
			skip -= frame->head_len;
		}
		if (frame->payload_len > skip) {
			conn->send_iov[n].iov_base = (char *)frame->payload + skip;
			conn->send_iov[n++].iov_len = frame->payload_len - skip;
		}
		skip = 0;
	}
	return n;
}

static void send_start(struct conn *conn)
{
	if (conn->sending || conn->closed || STAILQ_EMPTY(&conn->out))
		return;
	memset(&conn->send_msg, 0, sizeof(conn->send_msg));
	conn->send_msg.msg_iov = conn->send_iov;
	conn->send_msg.msg_iovlen = gather(conn);
	io_uring_prep_sendmsg(loop_sqe(&conn->server->loop, &conn->send_op), conn->fd,
			      &conn->send_msg, MSG_NOSIGNAL);
	conn->sending = true;
	conn->refs++;
}

void conn_resume_all(struct server *server)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&server->resumers))) {
		TAILQ_REMOVE(&server->resumers, conn, resumer);
		conn->resuming = false;
		conn_pump(conn);
		conn_put(conn);
	}
}

void conn_send_all(struct server *server)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&server->senders))) {
		TAILQ_REMOVE(&server->senders, conn, sender);
		conn->send_wanted = false;
		send_start(conn);
		conn_put(conn);
	}
}

static void send_done(struct loop_op *op, int res)
{
	struct conn *conn = container_of(op, struct conn, send_op);
	struct frame *frame;

	conn->sending = false;
	if (conn->closed)
		goto out;
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		conn_close(conn, "%s", strerror(-res));
		goto out;
	}
	if (res > 0)
		conn->out_done += res;
	while ((frame = STAILQ_FIRST(&conn->out)) &&
	       conn->out_done >= frame->head_len + frame->payload_len) {
		uint64_t size = (uint64_t)frame->head_len + frame->payload_len;

		STAILQ_REMOVE_HEAD(&conn->out, next);
		conn->out_done -= size;
		free(frame->payload);
		free(frame);
		budget_sub(conn, size);
	}
	if (STAILQ_EMPTY(&conn->out) && conn->finishing)
		conn_close(conn, NULL);
	else
		send_start(conn);
	conn_pump(conn);
out:
	conn_put(conn);
}

void conn_finish(struct conn *conn)
{
	if (conn->closed)
		return;
	conn->finishing = true;
	if (STAILQ_EMPTY(&conn->out))
		conn_close(conn, NULL);
}

static struct frame *frame_new(unsigned int op, unsigned int flags, uint64_t tag, uint32_t status,
			       uint64_t commit, const void *body, uint32_t body_len,
			       void *payload, uint32_t payload_len)
{
	struct frame *frame = xalloc(sizeof(*frame) + sizeof(struct archil_hdr) + body_len);
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, flags, tag, body_len, payload_len);
	hdr.status = cpu_to_le32(status);
	hdr.commit = cpu_to_le64(commit);
	frame->payload = payload;
	frame->payload_len = payload_len;
	frame->head_len = sizeof(hdr) + body_len;
	memcpy(frame->head, &hdr, sizeof(hdr));
	if (body_len)
		memcpy(frame->head + sizeof(hdr), body, body_len);
	return frame;
}

void conn_push(struct conn *conn, unsigned int op, const void *body, uint32_t len)
{
	send_queue(conn, frame_new(op, ARCHIL_F_PUSH, 0, 0, 0, body, len, NULL, 0));
}

void conn_ping(struct conn *conn, uint64_t tag)
{
	conn->ping_tag = tag;
	send_queue(conn, frame_new(ARCHIL_OP_PING, 0, tag, 0, 0, NULL, 0, NULL, 0));
}

/* ---- answering ---- */

static uint32_t held_bytes(const struct req *req)
{
	return req->payload_len < ARCHIL_PART_MIN ? ARCHIL_PART_MIN : req->payload_len;
}

bool req_hold(struct req *req)
{
	struct conn *conn = req->conn;
	struct session *ses = conn->session;

	if (req->held)
		return true;
	if (ses->held + held_bytes(req) > ARCHIL_BATCH_MAX)
		return false;
	ses->held += held_bytes(req);
	req->held = true;
	conn->n_reqs--;
	budget_sub(conn, req->body_len + req->payload_len);
	return true;
}

void req_drop(struct req *req)
{
	struct conn *conn = req->conn;

	TAILQ_REMOVE(&conn->reqs, req, of_conn);
	if (req->held) {
		conn->session->held -= held_bytes(req);
	} else {
		conn->n_reqs--;
		budget_sub(conn, req->body_len + req->payload_len);
	}
	req_free(req);
	resume(conn);
	conn_put(conn);
}

static void answer(struct req *req, uint32_t status, const void *body, uint32_t body_len,
		   void *payload, uint32_t payload_len)
{
	send_queue(req->conn, frame_new(req->op, ARCHIL_F_REPLY, req->tag, status, req->commit,
					body, body_len, payload, payload_len));
	req_drop(req);
}

void req_reply(struct req *req, const void *body, uint32_t body_len,
	       void *payload, uint32_t payload_len)
{
	answer(req, 0, body, body_len, payload, payload_len);
}

void req_fail_body(struct req *req, int status, const void *body, uint32_t body_len)
{
	/* damage is never served, and it is the server's own business */
	if (status == -EBADMSG) {
		log_err("disk %s: %s met damaged metadata: run 'archil-server check'",
			req->conn->disk_name, archil_op_name(req->op));
		status = -EIO;
	}
	/* not for good: the server starts anew when there is room, and is asked again */
	if ((status == -EROFS || status == -EIO || status == -ENOSPC) && req->conn->disk &&
	    store_failed(req->conn->disk->store) == -ENOSPC) {
		req_drop(req);
		return;
	}
	answer(req, status < 0 ? -status : status, body, body_len, NULL, 0);
}

void req_fail(struct req *req, int status)
{
	req_fail_body(req, status, NULL, 0);
}

void req_fail_text(struct req *req, int status, const char *fmt, ...)
{
	unsigned char body[sizeof(struct archil_error) + ARCHIL_TEXT_LEN + 1];
	struct archil_error err = { 0 };
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf((char *)body + sizeof(err), ARCHIL_TEXT_LEN + 1, fmt, ap);
	va_end(ap);
	if (len < 0)
		len = 0;
	if (len > ARCHIL_TEXT_LEN)
		len = ARCHIL_TEXT_LEN;
	err.text_len = cpu_to_le16(len);
	memcpy(body, &err, sizeof(err));
	req_fail_body(req, status, body, sizeof(err) + len);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A server for the agent's tests: threads that speak the protocol with blocking
 * calls, and do at one step what a good server does not.
 */
#ifndef TEST_AGENT_SERVER_H
#define TEST_AGENT_SERVER_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scram.h"
#include "util.h"
#include "wire.h"

enum deed {
	NOTHING,
	CLOSE,			/* at once, the request unread */
	CLOSE_AFTER,		/* it has been carried out, and is not answered */
	SILENCE,
	GARBAGE,		/* bytes that are no header */
	TRUNCATE,		/* half a reply, then the end */
	HALF_HEADER,
	TOO_LONG,		/* a header that announces more than there may be */
	BAD_BODY,		/* a reply of the wrong size */
	WRONG_OP,		/* a reply to something that was not asked */
	WRONG_TAG,
	WITH_PAYLOAD,
	REFUSE,			/* status, and error if there is one */
	WRONG_VERSION,
	WRONG_SIGNATURE,
};

enum { FAKE_DISK_SESSION = 42, FAKE_EPOCH = 7, FAKE_CONNS = 512 };

struct fake_conn {
	struct fake *fake;
	int fd;
	pthread_t thread;
	enum archil_conn_kind kind;
};

struct fake {
	int listen_fd;
	uint16_t port;
	pthread_t thread;
	struct scram_token token;
	struct scram_verifier verifier;

	pthread_mutex_t lock;		/* protects all below */
	bool stop;
	struct fake_conn conn[FAKE_CONNS];
	int conns;
	struct fake_conn *control;	/* the last one that has a session */
	/* what to do, so many times, at this step */
	enum archil_conn_kind kind;
	unsigned int op;
	enum deed deed;
	int times;
	uint32_t status;
	uint8_t error[256];
	size_t error_len;

	int seen[3][ARCHIL_OP_MAX];	/* requests, by kind of connection and opcode */
	bool session;			/* there is one */
	uint8_t mount[ARCHIL_UUID_LEN];	/* its mount */
	uint32_t open_flags;
	char client[ARCHIL_CLIENT_LEN + 1];
	char path[256];
	int pings_answered;
	bool push_after_bind;
	uint8_t last_slotted[64];	/* the body of the last GRANT or CHECKIN */
};

static int recv_full(int fd, void *buf, size_t n)
{
	return !n || recv(fd, buf, n, MSG_WAITALL) == (ssize_t)n ? 0 : -1;
}

static void send_full(int fd, const void *buf, size_t n)
{
	/* the other end may be gone: then the test sees it there */
	if (send(fd, buf, n, MSG_NOSIGNAL) != (ssize_t)n)
		return;
}

static void send_frame(int fd, unsigned int op, unsigned int flags, uint64_t tag, uint32_t status,
		       const void *body, size_t len)
{
	uint8_t frame[sizeof(struct archil_hdr) + ARCHIL_BODY_MAX];
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, flags, tag, len, 0);
	hdr.status = cpu_to_le32(status);
	hdr.commit = cpu_to_le64(flags & ARCHIL_F_REPLY ? 1000 + op : 0);
	memcpy(frame, &hdr, sizeof(hdr));
	if (len)
		memcpy(frame + sizeof(hdr), body, len);
	send_full(fd, frame, sizeof(hdr) + len);
}

static void wait_for_end(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		;
}

/* Returns false: the connection is to end. */
static bool misbehave(struct fake_conn *c, const struct archil_hdr *req, enum deed deed)
{
	unsigned int op = le16_to_cpu(req->op);
	uint64_t tag = le64_to_cpu(req->tag);
	uint8_t buf[4096] = { };
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, ARCHIL_F_REPLY, tag, archil_op_table[op].rep_size, 0);
	switch (deed) {
	case SILENCE:
		wait_for_end(c->fd);
		return false;
	case GARBAGE:
		memset(buf, 0xa5, sizeof(buf));
		send_full(c->fd, buf, sizeof(buf));
		wait_for_end(c->fd);
		return false;
	case TRUNCATE:
		memcpy(buf, &hdr, sizeof(hdr));
		send_full(c->fd, buf, sizeof(hdr) + archil_op_table[op].rep_size / 2);
		return false;
	case HALF_HEADER:
		send_full(c->fd, &hdr, sizeof(hdr) / 2);
		return false;
	case TOO_LONG:
		hdr.body_len = cpu_to_le32(ARCHIL_BODY_MAX + 1);
		hdr.len = cpu_to_le32(sizeof(hdr) + ARCHIL_BODY_MAX + 1);
		send_full(c->fd, &hdr, sizeof(hdr));
		wait_for_end(c->fd);
		return false;
	case BAD_BODY:
		send_frame(c->fd, op, ARCHIL_F_REPLY, tag, 0, buf,
			   archil_op_table[op].rep_size + 8);
		wait_for_end(c->fd);
		return false;
	case WRONG_OP:
		op = op == ARCHIL_OP_PING ? ARCHIL_OP_GRANT : ARCHIL_OP_PING;
		send_frame(c->fd, op, ARCHIL_F_REPLY, tag, 0, buf, archil_op_table[op].rep_size);
		wait_for_end(c->fd);
		return false;
	case WRONG_TAG:
		send_frame(c->fd, op, ARCHIL_F_REPLY, tag ^ 1, 0, buf,
			   archil_op_table[op].rep_size);
		wait_for_end(c->fd);
		return false;
	case WITH_PAYLOAD:
		archil_hdr_fill(&hdr, op, ARCHIL_F_REPLY, tag, archil_op_table[op].rep_size, 64);
		memcpy(buf, &hdr, sizeof(hdr));
		send_full(c->fd, buf, le32_to_cpu(hdr.len));
		wait_for_end(c->fd);
		return false;
	case REFUSE:
		send_frame(c->fd, op, ARCHIL_F_REPLY, tag, c->fake->status, c->fake->error,
			   c->fake->error_len);
		return true;
	default:
		return false;
	}
}

struct fake_hello {
	struct scram_server scram;
};

static bool serve_hello(struct fake_conn *c, const struct archil_hdr *req, const uint8_t *body,
			struct fake_hello *hello, enum deed deed)
{
	struct archil_hello_req in;
	struct archil_hello_rep out = { .version = cpu_to_le16(ARCHIL_PROTO_MAX) };
	struct scram_context context = { };

	memcpy(&in, body, sizeof(in));
	ck_assert_uint_eq(le64_to_cpu(in.magic), ARCHIL_MAGIC);
	c->kind = le16_to_cpu(in.kind);
	context.min_version = le16_to_cpu(in.min_version);
	context.max_version = le16_to_cpu(in.max_version);
	context.version = ARCHIL_PROTO_MAX;
	context.kind = c->kind;
	memcpy(context.disk, body + sizeof(in), le16_to_cpu(in.disk_len));
	ck_assert_int_eq(scram_server_first(&hello->scram, &context, &c->fake->verifier, in.nonce,
					    out.nonce, out.salt), 0);
	if (deed == WRONG_VERSION)
		out.version = cpu_to_le16(ARCHIL_PROTO_MAX + 1);
	send_frame(c->fd, ARCHIL_OP_HELLO, ARCHIL_F_REPLY, le64_to_cpu(req->tag), 0, &out,
		   sizeof(out));
	return true;
}

static bool serve_auth(struct fake_conn *c, const struct archil_hdr *req, const uint8_t *body,
		       struct fake_hello *hello, enum deed deed)
{
	struct archil_auth_req in;
	struct archil_auth_rep out;

	memcpy(&in, body, sizeof(in));
	if (scram_server_final(&hello->scram, in.proof, out.signature)) {
		send_frame(c->fd, ARCHIL_OP_AUTH, ARCHIL_F_REPLY, le64_to_cpu(req->tag), EACCES,
			   NULL, 0);
		return false;
	}
	if (deed == WRONG_SIGNATURE)
		out.signature[5] ^= 1;
	send_frame(c->fd, ARCHIL_OP_AUTH, ARCHIL_F_REPLY, le64_to_cpu(req->tag), 0, &out,
		   sizeof(out));
	return true;
}

static void serve_open(struct fake_conn *c, const uint8_t *body,
		       struct archil_open_session_rep *out)
{
	struct fake *fake = c->fake;
	struct archil_open_session_req in;
	unsigned int n;

	memcpy(&in, body, sizeof(in));
	/* the same mount again finds what it has opened */
	if (fake->session)
		ck_assert_mem_eq(fake->mount, in.mount, sizeof(in.mount));
	fake->session = true;
	memcpy(fake->mount, in.mount, sizeof(in.mount));
	fake->open_flags = le32_to_cpu(in.flags);
	n = le16_to_cpu(in.client_len);
	memcpy(fake->client, body + sizeof(in), n);
	fake->client[n] = '\0';
	memcpy(fake->path, body + sizeof(in) + n, le16_to_cpu(in.path_len));
	fake->path[le16_to_cpu(in.path_len)] = '\0';
	out->session = cpu_to_le64(FAKE_DISK_SESSION);
	out->inline_max = cpu_to_le32(16384);
	fake->control = c;
}

/* Carries a request out; answers it unless told not to. */
static bool serve(struct fake_conn *c, const struct archil_hdr *req, const uint8_t *body,
		  bool answer)
{
	union {
		struct archil_open_session_rep open;
		struct archil_bind_rep bind;
		struct archil_grant_rep grant;
		struct archil_checkin_rep checkin;
	} out = { };
	struct archil_revoke revoke = { .number = cpu_to_le64(77) };
	unsigned int op = le16_to_cpu(req->op);
	struct fake *fake = c->fake;
	uint32_t status = 0;
	size_t len;

	switch (op) {
	case ARCHIL_OP_OPEN_SESSION:
		serve_open(c, body, &out.open);
		break;
	case ARCHIL_OP_RESUME:
		if (!fake->session || memcmp(body + 8, fake->mount, sizeof(fake->mount)))
			status = ARCHIL_ST_OVER;
		fake->control = c;
		break;
	case ARCHIL_OP_BIND:
		if (!fake->session || memcmp(body + 16, fake->mount, sizeof(fake->mount)))
			status = ARCHIL_ST_OVER;
		out.bind.epoch = cpu_to_le64(FAKE_EPOCH);
		break;
	case ARCHIL_OP_CLOSE_SESSION:
		fake->session = false;
		break;
	case ARCHIL_OP_GRANT:
	case ARCHIL_OP_CHECKIN:
		memcpy(fake->last_slotted, body, le32_to_cpu(req->body_len));
		out.checkin.released = cpu_to_le32(3);
		break;
	}
	if (!answer)
		return false;
	len = status ? 0 : archil_op_table[op].rep_size;
	send_frame(c->fd, op, ARCHIL_F_REPLY, le64_to_cpu(req->tag), status, &out, len);
	if (op == ARCHIL_OP_BIND && fake->push_after_bind)
		send_frame(c->fd, ARCHIL_OP_REVOKE, ARCHIL_F_PUSH, 0, 0, &revoke, sizeof(revoke));
	return true;
}

static void *fake_connection(void *arg)
{
	struct fake_conn *c = arg;
	struct fake *fake = c->fake;
	struct fake_hello hello = { };
	uint8_t body[ARCHIL_BODY_MAX];
	struct archil_hdr hdr;
	bool go_on = true;

	c->kind = ARCHIL_CONN_CONTROL;
	while (go_on && !recv_full(c->fd, &hdr, sizeof(hdr))) {
		unsigned int op = le16_to_cpu(hdr.op);
		enum archil_conn_kind kind = c->kind;
		enum deed deed = NOTHING;

		if (op == ARCHIL_OP_HELLO) {
			if (recv_full(c->fd, body, le32_to_cpu(hdr.body_len)))
				break;
			kind = body[offsetof(struct archil_hello_req, kind)];
		} else if (recv_full(c->fd, body, le32_to_cpu(hdr.body_len))) {
			break;
		}
		/* everything a client sends is well formed */
		ck_assert_int_eq(archil_hdr_check(&hdr, kind, false), 0);
		ck_assert_int_eq(archil_body_check(&hdr, body), 0);

		pthread_mutex_lock(&fake->lock);
		if (le16_to_cpu(hdr.flags) & ARCHIL_F_REPLY) {
			fake->pings_answered++;
			pthread_mutex_unlock(&fake->lock);
			continue;
		}
		fake->seen[kind][op]++;
		if (fake->times && fake->kind == kind && fake->op == op) {
			fake->times--;
			deed = fake->deed;
		}
		if (deed == NOTHING || deed == CLOSE_AFTER || deed >= WRONG_VERSION) {
			if (op == ARCHIL_OP_HELLO)
				go_on = serve_hello(c, &hdr, body, &hello, deed);
			else if (op == ARCHIL_OP_AUTH)
				go_on = serve_auth(c, &hdr, body, &hello, deed);
			else
				go_on = serve(c, &hdr, body, deed != CLOSE_AFTER);
			go_on = go_on && deed != CLOSE_AFTER;
			pthread_mutex_unlock(&fake->lock);
		} else {
			pthread_mutex_unlock(&fake->lock);
			go_on = misbehave(c, &hdr, deed);
		}
	}
	scram_server_wipe(&hello.scram);
	pthread_mutex_lock(&fake->lock);
	shutdown(c->fd, SHUT_RDWR);
	if (fake->control == c)
		fake->control = NULL;
	pthread_mutex_unlock(&fake->lock);
	return NULL;
}

static void *fake_listener(void *arg)
{
	struct fake *fake = arg;
	struct fake_conn *c;
	int fd;

	while ((fd = accept(fake->listen_fd, NULL, NULL)) >= 0) {
		pthread_mutex_lock(&fake->lock);
		ck_assert_int_lt(fake->conns, FAKE_CONNS);
		c = &fake->conn[fake->conns++];
		c->fake = fake;
		c->fd = fd;
		ck_assert_int_eq(pthread_create(&c->thread, NULL, fake_connection, c), 0);
		pthread_mutex_unlock(&fake->lock);
	}
	return NULL;
}

static void fake_listen(struct fake *fake)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(fake->port) };
	socklen_t len = sizeof(sa);
	int one = 1;

	inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
	fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fake->listen_fd, 0);
	setsockopt(fake->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ck_assert_int_eq(bind(fake->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(fake->listen_fd, 64), 0);
	ck_assert_int_eq(getsockname(fake->listen_fd, (struct sockaddr *)&sa, &len), 0);
	fake->port = ntohs(sa.sin_port);
	ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_listener, fake), 0);
}

static void fake_start(struct fake *fake)
{
	memset(fake, 0, sizeof(*fake));
	pthread_mutex_init(&fake->lock, NULL);
	ck_assert_int_eq(scram_token_generate(&fake->token), 0);
	ck_assert_int_eq(scram_verifier_make(&fake->token, &fake->verifier), 0);
	fake_listen(fake);
}

/* No more connections, and those that are there end. What it knows stays. */
static void fake_crash(struct fake *fake)
{
	int i;

	shutdown(fake->listen_fd, SHUT_RDWR);
	pthread_join(fake->thread, NULL);
	close(fake->listen_fd);
	for (i = 0; i < fake->conns; i++) {
		shutdown(fake->conn[i].fd, SHUT_RDWR);
		pthread_join(fake->conn[i].thread, NULL);
		close(fake->conn[i].fd);
	}
	fake->conns = 0;
}

static void fake_do(struct fake *fake, enum archil_conn_kind kind, unsigned int op, enum deed deed,
		    int times)
{
	pthread_mutex_lock(&fake->lock);
	fake->kind = kind;
	fake->op = op;
	fake->deed = deed;
	fake->times = times;
	pthread_mutex_unlock(&fake->lock);
}

static void fake_refuse(struct fake *fake, enum archil_conn_kind kind, unsigned int op,
			uint32_t status, const char *client, const char *path, const char *text)
{
	struct archil_error error = {
		.since = cpu_to_le64(client ? realtime_ns() : 0),
		.client_len = cpu_to_le16(client ? strlen(client) : 0),
		.path_len = cpu_to_le16(path ? strlen(path) : 0),
		.text_len = cpu_to_le16(text ? strlen(text) : 0),
	};

	memcpy(fake->error, &error, sizeof(error));
	snprintf((char *)fake->error + sizeof(error), sizeof(fake->error) - sizeof(error),
		 "%s%s%s", client ? client : "", path ? path : "", text ? text : "");
	fake->error_len = client || path || text ? sizeof(error) +
		strlen((char *)fake->error + sizeof(error)) : 0;
	fake->status = status;
	fake_do(fake, kind, op, REFUSE, 1000);
}

static int fake_seen(struct fake *fake, enum archil_conn_kind kind, unsigned int op)
{
	int n;

	pthread_mutex_lock(&fake->lock);
	n = fake->seen[kind][op];
	pthread_mutex_unlock(&fake->lock);
	return n;
}

/* Says something on the control connection, unasked. */
static void fake_push(struct fake *fake, unsigned int op, unsigned int flags, uint64_t tag,
		      const void *body, size_t len)
{
	pthread_mutex_lock(&fake->lock);
	ck_assert_ptr_nonnull(fake->control);
	send_frame(fake->control->fd, op, flags, tag, 0, body, len);
	pthread_mutex_unlock(&fake->lock);
}

#endif

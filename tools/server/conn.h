/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections and requests. All of it belongs to the loop's thread.
 *
 * 1. A frame is received whole and checked (archil_hdr_check(),
 *    archil_body_check()) before anything looks inside. One that fails, or that
 *    the connection's stage does not allow, ends the connection.
 * 2. Every request is answered exactly once, by one of the functions
 *    below; that frees it. After the connection is lost the answer goes nowhere.
 * 3. A request may outlive its connection, and holds it in memory.
 * 4. Reading stops while the connection has CONN_MAX_REQS requests outstanding,
 *    or its session BUDGET_MAX bytes of requests and unsent replies.
 *    A reader that is too slow thereby only slows itself.
 *    A request that waits for another one still to be read is *held*: it counts
 *    for neither, but a session has ARCHIL_BATCH_MAX bytes of such at most.
 * 5. Whoever has not authenticated after CONN_AUTH_MS is dropped, and the oldest
 *    such when there are more than CONN_MAX_UNAUTH.
 * 6. A silent peer keeps its connection as long as its host answers TCP keepalive.
 */
#ifndef ARCHIL_CONN_H
#define ARCHIL_CONN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "loop.h"
#include "scram.h"
#include "wire.h"

struct server;
struct session;
struct disk;

enum {
	CONN_MAX_REQS	= 1024,
	CONN_MAX_UNAUTH	= 512,
	CONN_AUTH_MS	= 10000,
	CONN_RBUF	= 16384,
	CONN_SEND_IOV	= 64,
	CONN_PEER_TEXT	= 80,
	BUDGET_MAX	= 64 << 20,
};

enum conn_stage {
	CONN_NEW,	/* HELLO is next */
	CONN_HELLO,	/* AUTH is next */
	CONN_AUTHED,	/* OPEN_SESSION, RESUME or BIND is next */
	CONN_LIVE,	/* has a session */
};

struct frame {		/* on its way out */
	STAILQ_ENTRY(frame) next;
	void *payload;			/* malloc()ed, or NULL */
	uint32_t payload_len;
	uint32_t head_len;		/* header and body */
	unsigned char head[];
};

struct conn {
	struct server *server;
	TAILQ_ENTRY(conn) all;		/* server->conns */
	TAILQ_ENTRY(conn) unauth;	/* server->unauth, until CONN_AUTHED */
	TAILQ_ENTRY(conn) of_session;	/* session->conns, when CONN_LIVE */
	unsigned int refs;		/* one of its own until closed, each request, each op */
	int fd;
	bool closed;			/* nothing more is read or answered */
	bool finishing;			/* nothing more is read; closed when all is sent */
	enum conn_stage stage;
	enum archil_conn_kind kind;	/* from HELLO on */
	uint16_t version;
	uint64_t since;			/* ms, loop time */
	uint64_t epoch;			/* data: see BIND */
	uint64_t ping_tag;		/* of the PING that waits for an answer, or 0 */
	char peer[CONN_PEER_TEXT];
	char disk_name[ARCHIL_DISK_LEN + 1];
	struct scram_server scram;	/* CONN_HELLO */
	bool known_disk;		/* CONN_HELLO: scram is of a disk that exists */
	struct disk *disk;		/* strong, from CONN_AUTHED */
	struct session *session;	/* strong, when CONN_LIVE */

	/* receiving */
	struct loop_op recv_op;
	struct msghdr recv_msg;
	struct iovec recv_iov[2];
	bool receiving;
	bool resuming;			/* on server->resumers */
	TAILQ_ENTRY(conn) resumer;
	struct req *cur;		/* being received */
	uint32_t cur_body, cur_payload;	/* bytes of it that are there */
	bool expecting;			/* the rest of cur, and is counted for that by the disk */
	uint32_t rpos, rend;		/* of rbuf: received and not yet looked at */
	unsigned char *rbuf;

	/* requests */
	TAILQ_HEAD(, req) reqs;		/* outstanding */
	unsigned int n_reqs;
	uint64_t budget;		/* bytes of requests and unsent replies */

	/* sending */
	struct loop_op send_op;
	struct msghdr send_msg;
	struct iovec send_iov[CONN_SEND_IOV];
	bool sending;
	bool send_wanted;		/* on server->senders */
	TAILQ_ENTRY(conn) sender;
	STAILQ_HEAD(, frame) out;
	uint64_t out_done;		/* bytes of the first frame that are sent */
};

struct req {
	TAILQ_ENTRY(req) of_conn;
	struct conn *conn;		/* strong */
	unsigned int op;		/* enum archil_op */
	unsigned int flags;		/* ARCHIL_F_* */
	uint64_t tag;
	uint64_t commit;		/* for the reply's header */
	bool held;			/* rule 4 */
	uint32_t body_len;
	uint32_t payload_len;
	void *payload;			/* malloc()ed; a handler may take it and put NULL */
	/*
	 * Set while the request waits for something that only its own client
	 * could bring about: called when the connection is lost.
	 */
	void (*lost)(struct req *req);
	void *ctx;			/* the handler's */
	STAILQ_ENTRY(req) next;		/* the same */
	unsigned char body[] __attribute__((aligned(8)));
};

/* Takes over fd. */
void conn_new(struct server *server, int fd, const char *peer);
/* Ends it: nothing more is read, or sent but what the kernel has. why: for the log. */
void conn_close(struct conn *conn, const char *why, ...) __attribute__((format(printf, 2, 3)));
/* Ends it when what is queued has been sent. */
void conn_finish(struct conn *conn);
void conn_put(struct conn *conn);
/* Once a turn of the loop each: reads on where there is room again; sends what was queued. */
void conn_resume_all(struct server *server);
void conn_send_all(struct server *server);
/* It has a session now, or is authenticated; reading goes on. */
void conn_attach(struct conn *conn, struct session *session);
void conn_authed(struct conn *conn, struct disk *disk);
/* Drops those that did not authenticate in time; a timer calls it. */
void conn_expire(struct server *server);

void conn_push(struct conn *conn, unsigned int op, const void *body, uint32_t len);
void conn_ping(struct conn *conn, uint64_t tag);

/* From now on it is held, until it is answered: rule 4. False: the session has too much of that. */
bool req_hold(struct req *req);
/* Answers with status 0; payload is given away (may be NULL). */
void req_reply(struct req *req, const void *body, uint32_t body_len,
	       void *payload, uint32_t payload_len);
/* Answers with an errno (negative) or an enum archil_status, and a body or none. */
void req_fail_body(struct req *req, int status, const void *body, uint32_t body_len);
void req_fail(struct req *req, int status);
/* The same with a sentence. */
void req_fail_text(struct req *req, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* No answer: the connection is gone, or will be. */
void req_drop(struct req *req);

/* In dispatch.c: a checked request that the connection's stage allows. */
void dispatch(struct req *req);
/* Is this opcode allowed now? */
bool dispatch_allowed(const struct conn *conn, unsigned int op);

#endif

// SPDX-License-Identifier: GPL-2.0
#include "conn.h"
#include "handlers.h"
#include "session.h"

/* A PING of the client's, or its answer to ours. */
static void handle_ping(struct req *req)
{
	struct conn *conn = req->conn;

	if (!(req->flags & ARCHIL_F_REPLY)) {
		req_reply(req, NULL, 0, NULL, 0);
		return;
	}
	if (conn->ping_tag && req->tag == conn->ping_tag) {
		conn->ping_tag = 0;
		open_ping_answered(conn);
	}
	req_drop(req);
}

static void (*const handler[ARCHIL_OP_MAX])(struct req *req) = {
	[ARCHIL_OP_HELLO]		= handle_hello,
	[ARCHIL_OP_AUTH]		= handle_auth,
	[ARCHIL_OP_PING]		= handle_ping,
	[ARCHIL_OP_OPEN_SESSION]	= handle_open_session,
	[ARCHIL_OP_RESUME]		= handle_resume,
	[ARCHIL_OP_BIND]		= handle_bind,
	[ARCHIL_OP_CLOSE_SESSION]	= handle_close_session,
	[ARCHIL_OP_LOOKUP]		= handle_lookup,
	[ARCHIL_OP_GETATTR]		= handle_getattr,
	[ARCHIL_OP_READDIR]		= handle_readdir,
	[ARCHIL_OP_READ]		= handle_read,
	[ARCHIL_OP_SEEK]		= handle_seek,
	[ARCHIL_OP_GETXATTR]		= handle_getxattr,
	[ARCHIL_OP_LISTXATTR]		= handle_listxattr,
	[ARCHIL_OP_STATFS]		= handle_statfs,
	[ARCHIL_OP_READ_SMALL]		= handle_read_small,
	[ARCHIL_OP_LOG]			= handle_log,
	[ARCHIL_OP_WRITE]		= handle_write,
	[ARCHIL_OP_CREDIT]		= handle_credit,
	[ARCHIL_OP_INOS]		= handle_inos,
	[ARCHIL_OP_GRANT]		= handle_grant,
	[ARCHIL_OP_CHECKIN]		= handle_checkin,
	[ARCHIL_OP_CHANGE]		= handle_change,
};

bool dispatch_allowed(const struct conn *conn, unsigned int op)
{
	if (op >= ARCHIL_OP_MAX || !handler[op])
		return false;
	switch (conn->stage) {
	case CONN_NEW:
		return op == ARCHIL_OP_HELLO;
	case CONN_HELLO:
		return op == ARCHIL_OP_AUTH;
	case CONN_AUTHED:
		return op == ARCHIL_OP_PING || op == ARCHIL_OP_OPEN_SESSION ||
		       op == ARCHIL_OP_RESUME || op == ARCHIL_OP_BIND;
	case CONN_LIVE:
		return op == ARCHIL_OP_PING || !(archil_op_table[op].flags & ARCHIL_SETUP);
	}
	return false;
}

void dispatch(struct req *req)
{
	handler[req->op](req);
}

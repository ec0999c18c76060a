// SPDX-License-Identifier: GPL-2.0
/*
 * The first two exchanges of every connection: version, disk, and proof of the
 * token both ways.
 *
 * 1. A disk that does not exist is answered like one that does, with a salt made
 *    up, so that HELLO costs the same either way; AUTH then says ENOENT.
 * 2. Any failure ends the connection, after it was said and logged.
 */
#include <string.h>

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "log.h"
#include "server.h"

void handle_hello(struct req *req)
{
	struct archil_hello_req *msg = (void *)req->body;
	struct archil_hello_rep rep = { 0 };
	struct scram_verifier verifier = { 0 };
	struct conn *conn = req->conn;
	uint16_t min = le16_to_cpu(msg->min_version), max = le16_to_cpu(msg->max_version);
	uint16_t kind = le16_to_cpu(msg->kind), disk_len = le16_to_cpu(msg->disk_len);
	struct scram_context context = { 0 };
	struct disk *disk;
	int rc;

	if (le64_to_cpu(msg->magic) != ARCHIL_MAGIC ||
	    (kind != ARCHIL_CONN_CONTROL && kind != ARCHIL_CONN_DATA)) {
		conn_close(conn, "HELLO is not archil's");
		req_drop(req);
		return;
	}
	if (min > ARCHIL_PROTO_MAX || max < ARCHIL_PROTO_MIN || min > max) {
		log_warn("%s: speaks protocol versions %u to %u, this server %u to %u",
			 conn->peer, min, max, ARCHIL_PROTO_MIN, ARCHIL_PROTO_MAX);
		req_fail_text(req, -EPROTO,
			      "the client speaks protocol versions %u to %u, the server %u to %u",
			      min, max, ARCHIL_PROTO_MIN, ARCHIL_PROTO_MAX);
		conn_finish(conn);
		return;
	}
	conn->kind = kind;
	conn->version = max < ARCHIL_PROTO_MAX ? max : ARCHIL_PROTO_MAX;
	memcpy(conn->disk_name, msg + 1, disk_len);
	conn->disk_name[disk_len] = 0;

	context.min_version = min;
	context.max_version = max;
	context.version = conn->version;
	context.kind = kind;
	memcpy(context.disk, conn->disk_name, sizeof(conn->disk_name));
	disk = server_disk(conn->server, conn->disk_name);
	conn->known_disk = disk;
	if (disk)
		verifier = disk->verifier;
	else
		server_fake_salt(conn->server, conn->disk_name, verifier.salt);
	rc = scram_server_first(&conn->scram, &context, &verifier, msg->nonce, rep.nonce, rep.salt);
	if (rc) {
		req_fail(req, rc);
		conn_finish(conn);
		return;
	}
	rep.version = cpu_to_le16(conn->version);
	conn->stage = CONN_HELLO;
	req_reply(req, &rep, sizeof(rep), NULL, 0);
}

void handle_auth(struct req *req)
{
	struct archil_auth_req *msg = (void *)req->body;
	struct archil_auth_rep rep;
	struct conn *conn = req->conn;
	struct disk *disk = server_disk(conn->server, conn->disk_name);
	int rc = scram_server_final(&conn->scram, msg->proof, rep.signature);

	if (!disk || !conn->known_disk)
		rc = -ENOENT;
	if (rc) {
		log_warn("%s: %s disk %s", conn->peer,
			 rc == -ENOENT ? "asks for unknown" :
			 rc == -EACCES ? "has the wrong token for" : "cannot authenticate for",
			 conn->disk_name);
		req_fail(req, rc);
		conn_finish(conn);
		return;
	}
	conn_authed(conn, disk);
	req_reply(req, &rep, sizeof(rep), NULL, 0);
}

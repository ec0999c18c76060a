// SPDX-License-Identifier: GPL-2.0
#include "handshake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void put_frame(struct handshake *hs, unsigned int op, const void *body, size_t len,
		      const void *tail, size_t tail_len)
{
	struct archil_hdr hdr;

	archil_hdr_fill(&hdr, op, 0, op, len + tail_len, 0);
	memcpy(hs->out, &hdr, sizeof(hdr));
	memcpy(hs->out + sizeof(hdr), body, len);
	if (tail_len)
		memcpy(hs->out + sizeof(hdr) + len, tail, tail_len);
	hs->out_len = sizeof(hdr) + len + tail_len;
	hs->expect = op;
}

static int fail(struct handshake *hs, int rc, bool final, const char *text)
{
	snprintf(hs->err, sizeof(hs->err), "%s", text);
	hs->final = final;
	handshake_end(hs);
	return rc;
}

int handshake_start(struct handshake *hs, enum archil_conn_kind kind, const char *disk,
		    const struct scram_token *token)
{
	struct archil_hello_req req = {
		.magic = cpu_to_le64(ARCHIL_MAGIC),
		.min_version = cpu_to_le16(ARCHIL_PROTO_MIN),
		.max_version = cpu_to_le16(ARCHIL_PROTO_MAX),
		.kind = cpu_to_le16(kind),
	};
	size_t disk_len = strlen(disk);
	int rc;

	memset(hs, 0, sizeof(*hs));
	if (!disk_len || disk_len > ARCHIL_DISK_LEN)
		return fail(hs, -EINVAL, true, "no valid name of a disk");
	rc = scram_client_first(&hs->client, token, req.nonce);
	if (rc)
		return fail(hs, rc, true, "OpenSSL failed");
	hs->context.min_version = ARCHIL_PROTO_MIN;
	hs->context.max_version = ARCHIL_PROTO_MAX;
	hs->context.kind = kind;
	memcpy(hs->context.disk, disk, disk_len);
	req.disk_len = cpu_to_le16(disk_len);
	put_frame(hs, ARCHIL_OP_HELLO, &req, sizeof(req), disk, disk_len);
	return 0;
}

static int hello_reply(struct handshake *hs, const void *body)
{
	struct archil_hello_rep rep;
	struct archil_auth_req req;
	unsigned int version;
	int rc;

	memcpy(&rep, body, sizeof(rep));
	version = le16_to_cpu(rep.version);
	if (version < ARCHIL_PROTO_MIN || version > ARCHIL_PROTO_MAX) {
		snprintf(hs->err, sizeof(hs->err),
			 "the server wants protocol version %u, we speak %u to %u", version,
			 ARCHIL_PROTO_MIN, ARCHIL_PROTO_MAX);
		hs->final = true;
		handshake_end(hs);
		return -EPROTO;
	}
	hs->context.version = version;
	rc = scram_client_final(&hs->client, &hs->context, rep.nonce, rep.salt, req.proof);
	if (rc)
		return fail(hs, rc, true, "OpenSSL failed");
	put_frame(hs, ARCHIL_OP_AUTH, &req, sizeof(req), NULL, 0);
	return 1;
}

static int auth_reply(struct handshake *hs, const void *body)
{
	struct archil_auth_rep rep;
	int rc;

	memcpy(&rep, body, sizeof(rep));
	rc = scram_client_verify(&hs->client, rep.signature);
	if (rc == -EACCES)
		return fail(hs, rc, true, "the server does not know the token of this disk: "
			    "it may not be the right server");
	if (rc)
		return fail(hs, rc, true, "OpenSSL failed");
	handshake_end(hs);
	return 0;
}

/* What the server says, or else what the status means. */
static int refused(struct handshake *hs, const struct archil_hdr *hdr, const void *body)
{
	unsigned int op = le16_to_cpu(hdr->op), status = le32_to_cpu(hdr->status);
	struct wire_error error;

	wire_error_parse(hdr, body, &error);
	hs->final = true;
	if (op == ARCHIL_OP_HELLO && status == EPROTO && error.text[0]) {
		snprintf(hs->err, sizeof(hs->err),
			 "no protocol version in common: we speak %u to %u; the server says: %s",
			 ARCHIL_PROTO_MIN, ARCHIL_PROTO_MAX, error.text);
	} else if (op == ARCHIL_OP_HELLO && status == EPROTO) {
		snprintf(hs->err, sizeof(hs->err),
			 "no protocol version in common: we speak %u to %u, the server does not",
			 ARCHIL_PROTO_MIN, ARCHIL_PROTO_MAX);
	} else if (op == ARCHIL_OP_AUTH && status == EACCES) {
		snprintf(hs->err, sizeof(hs->err), "wrong token for disk %s", hs->context.disk);
	} else if (op == ARCHIL_OP_AUTH && status == ENOENT) {
		snprintf(hs->err, sizeof(hs->err), "the server has no disk %s", hs->context.disk);
	} else {
		snprintf(hs->err, sizeof(hs->err), "the server refused %s: %s", archil_op_name(op),
			 error.text[0] ? error.text :
			 status <= ARCHIL_ERRNO_MAX ? strerror(status) : "protocol status");
		hs->final = false;
	}
	handshake_end(hs);
	return status <= ARCHIL_ERRNO_MAX ? -(int)status : -EPROTO;
}

int handshake_reply(struct handshake *hs, const struct archil_hdr *hdr, const void *body)
{
	unsigned int op = le16_to_cpu(hdr->op);

	if (!hs->expect || op != hs->expect || le64_to_cpu(hdr->tag) != op ||
	    !(le16_to_cpu(hdr->flags) & ARCHIL_F_REPLY) || archil_payload_len(hdr))
		return fail(hs, -EPROTO, true, "the server does not follow the protocol");
	hs->expect = 0;
	if (hdr->status)
		return refused(hs, hdr, body);
	return op == ARCHIL_OP_HELLO ? hello_reply(hs, body) : auth_reply(hs, body);
}

void handshake_end(struct handshake *hs)
{
	scram_client_wipe(&hs->client);
	hs->expect = 0;
	hs->out_len = 0;
}

void wire_error_parse(const struct archil_hdr *hdr, const void *body, struct wire_error *error)
{
	const char *p = (const char *)body + sizeof(struct archil_error);
	struct archil_error raw;
	unsigned int n;

	memset(error, 0, sizeof(*error));
	if (le32_to_cpu(hdr->status) == ARCHIL_ST_CLOSED || !hdr->status ||
	    le32_to_cpu(hdr->body_len) < sizeof(raw))
		return;
	memcpy(&raw, body, sizeof(raw));
	error->since = le64_to_cpu(raw.since);
	error->deleg = le64_to_cpu(raw.deleg);
	n = le16_to_cpu(raw.client_len);
	memcpy(error->client, p, n);
	p += n;
	n = le16_to_cpu(raw.path_len);
	memcpy(error->path, p, n);
	p += n;
	n = le16_to_cpu(raw.text_len);
	memcpy(error->text, p, n);
}

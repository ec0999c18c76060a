/* SPDX-License-Identifier: GPL-2.0 */
/* Random frames that archil_hdr_check() and archil_body_check() must accept. */
#ifndef TESTS_FRAMES_H
#define TESTS_FRAMES_H

#include "wire.h"
#include "random.h"

enum frame_kind { FRAME_REQUEST, FRAME_REPLY, FRAME_ERROR };

struct frame {
	struct archil_hdr hdr;
	u8 body[ARCHIL_BODY_MAX + 64];
	enum archil_conn_kind conn;
	bool from_server;
};

#define FRAME_ERROR_PARTS	3

static const struct archil_var frame_error_var[FRAME_ERROR_PARTS] = {
	{ offsetof(struct archil_error, client_len), ARCHIL_CLIENT_LEN },
	{ offsetof(struct archil_error, path_len), ARCHIL_PATH_LEN },
	{ offsetof(struct archil_error, text_len), ARCHIL_TEXT_LEN },
};

/* The fixed part of such a body, and its variable ones. */
static inline u32 frame_layout(const struct archil_op_desc *desc, enum frame_kind kind,
			       const struct archil_var **var, size_t *n)
{
	switch (kind) {
	case FRAME_REQUEST:
		*var = desc->req_var;
		*n = ARRAY_SIZE(desc->req_var);
		return desc->req_size;
	case FRAME_REPLY:
		*var = desc->rep_var;
		*n = ARRAY_SIZE(desc->rep_var);
		return desc->rep_size;
	default:
		*var = frame_error_var;
		*n = FRAME_ERROR_PARTS;
		return sizeof(struct archil_error);
	}
}

/* A body whose parts have the lengths given, over all limits if need be. */
static inline void frame_body(struct rnd *r, struct frame *f, enum frame_kind kind,
			      const u16 *part_len)
{
	const struct archil_op_desc *desc = &archil_op_table[le16_to_cpu(f->hdr.op)];
	const struct archil_var *var;
	__le32 slot, flags;
	__le16 len;
	size_t i, n;
	u32 pos;

	pos = frame_layout(desc, kind, &var, &n);
	rnd_bytes(r, f->body, pos);
	for (i = 0; i < n && var[i].max; i++) {
		len = cpu_to_le16(part_len[i]);
		memcpy(f->body + var[i].at, &len, sizeof(len));
		rnd_name(r, (char *)f->body + pos, part_len[i]);
		pos += part_len[i];
	}
	if (kind == FRAME_REQUEST && desc->flags_at) {
		flags = cpu_to_le32(rnd64(r) & desc->flags_known);
		memcpy(f->body + desc->flags_at, &flags, sizeof(flags));
	}
	if (kind == FRAME_REQUEST && desc->flags & ARCHIL_SLOTTED) {
		slot = cpu_to_le32(rnd_below(r, ARCHIL_SLOTS));
		memcpy(f->body, &slot, sizeof(slot));
	}
	f->hdr.body_len = cpu_to_le32(pos);
	f->hdr.len = cpu_to_le32(sizeof(f->hdr) + pos);
}

/* A frame of this opcode; a push if that is what the opcode is. */
static inline void random_frame(struct rnd *r, struct frame *f, unsigned int op,
				enum frame_kind kind)
{
	const struct archil_op_desc *desc = &archil_op_table[op];
	const struct archil_var *var;
	u16 len[FRAME_ERROR_PARTS];
	u32 flags = 0, payload = 0;
	size_t i, n;

	f->conn = desc->flags & ARCHIL_ON_CONTROL ? ARCHIL_CONN_CONTROL : ARCHIL_CONN_DATA;
	if (desc->flags & ARCHIL_ON_DATA && rnd_one_in(r, 2))
		f->conn = ARCHIL_CONN_DATA;
	f->from_server = kind != FRAME_REQUEST || desc->flags & ARCHIL_IS_PUSH;
	if (op == ARCHIL_OP_PING)
		f->from_server = rnd_one_in(r, 2);
	if (desc->flags & ARCHIL_IS_PUSH)
		flags |= ARCHIL_F_PUSH;
	else if (kind != FRAME_REQUEST)
		flags |= ARCHIL_F_REPLY;
	flags |= rnd64(r) & 0xff00;	/* what need not be known */
	if (kind != FRAME_ERROR &&
	    desc->flags & (kind == FRAME_REQUEST ? ARCHIL_REQ_PAYLOAD : ARCHIL_REP_PAYLOAD))
		payload = rnd_len(r, 0, op == ARCHIL_OP_GETXATTR || op == ARCHIL_OP_LISTXATTR ?
				  ARCHIL_XATTR_SIZE : ARCHIL_PAYLOAD_MAX);

	archil_hdr_fill(&f->hdr, op, flags, flags & ARCHIL_F_PUSH ? 0 : rnd64(r), 0, 0);
	if (kind == FRAME_ERROR)
		f->hdr.status = cpu_to_le32(rnd_range(r, 1, ARCHIL_ERRNO_MAX));
	frame_layout(desc, kind, &var, &n);
	for (i = 0; i < n; i++)
		len[i] = rnd_len(r, 0, var[i].max);
	frame_body(r, f, kind, len);
	f->hdr.len = cpu_to_le32(le32_to_cpu(f->hdr.len) + payload);
}

#endif

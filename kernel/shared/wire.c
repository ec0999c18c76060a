// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The wire's codec: see wire.h.
 *
 * Everything here looks at bytes that a stranger may have sent: a length is
 * compared before it is used, and nothing is read through a pointer of a type
 * that needs alignment (the structures are packed).
 */
#include "wire.h"

#define VAR(type, field, limit)	{ offsetof(struct type, field), limit }
#define FLAGS(type, known) \
	.flags_at = offsetof(struct type, flags), .flags_known = (known)

#define ON_BOTH	(ARCHIL_ON_CONTROL | ARCHIL_ON_DATA)

const struct archil_op_desc archil_op_table[ARCHIL_OP_MAX] = {
	[ARCHIL_OP_HELLO] = {
		.name = "HELLO",
		.flags = ON_BOTH | ARCHIL_SETUP,
		.req_size = sizeof(struct archil_hello_req),
		.rep_size = sizeof(struct archil_hello_rep),
		.req_var = { VAR(archil_hello_req, disk_len, ARCHIL_DISK_LEN) },
	},
	[ARCHIL_OP_AUTH] = {
		.name = "AUTH",
		.flags = ON_BOTH | ARCHIL_SETUP,
		.req_size = sizeof(struct archil_auth_req),
		.rep_size = sizeof(struct archil_auth_rep),
	},
	[ARCHIL_OP_PING] = {
		.name = "PING",
		.flags = ON_BOTH,
	},
	[ARCHIL_OP_OPEN_SESSION] = {
		.name = "OPEN_SESSION",
		.flags = ARCHIL_ON_CONTROL | ARCHIL_SETUP,
		.req_size = sizeof(struct archil_open_session_req),
		.rep_size = sizeof(struct archil_open_session_rep),
		.req_var = {
			VAR(archil_open_session_req, client_len, ARCHIL_CLIENT_LEN),
			VAR(archil_open_session_req, path_len, ARCHIL_PATH_LEN),
		},
		FLAGS(archil_open_session_req,
		      ARCHIL_OS_SHARED | ARCHIL_OS_FORCE | ARCHIL_OS_RO),
	},
	[ARCHIL_OP_RESUME] = {
		.name = "RESUME",
		.flags = ARCHIL_ON_CONTROL | ARCHIL_SETUP,
		.req_size = sizeof(struct archil_resume_req),
	},
	[ARCHIL_OP_BIND] = {
		.name = "BIND",
		.flags = ARCHIL_ON_DATA | ARCHIL_SETUP,
		.req_size = sizeof(struct archil_bind_req),
		.rep_size = sizeof(struct archil_bind_rep),
	},
	[ARCHIL_OP_CLOSE_SESSION] = {
		.name = "CLOSE_SESSION",
		.flags = ON_BOTH,
	},
	[ARCHIL_OP_REVOKE] = {
		.name = "REVOKE",
		.flags = ON_BOTH | ARCHIL_IS_PUSH,
		.req_size = sizeof(struct archil_revoke),
	},
	[ARCHIL_OP_NOTIFY] = {
		.name = "NOTIFY",
		.flags = ARCHIL_ON_DATA | ARCHIL_IS_PUSH,
		.req_size = sizeof(struct archil_notify),
	},
	[ARCHIL_OP_SESSION_OVER] = {
		.name = "SESSION_OVER",
		.flags = ON_BOTH | ARCHIL_IS_PUSH,
	},

	[ARCHIL_OP_LOOKUP] = {
		.name = "LOOKUP",
		.flags = ARCHIL_ON_DATA,
		.req_size = sizeof(struct archil_lookup_req),
		.rep_size = sizeof(struct archil_attr_rep),
		.req_var = { VAR(archil_lookup_req, name_len, ARCHIL_NAME_LEN) },
		.rep_var = { VAR(archil_attr_rep, target_len, ARCHIL_PATH_LEN) },
	},
	[ARCHIL_OP_GETATTR] = {
		.name = "GETATTR",
		.flags = ARCHIL_ON_DATA,
		.req_size = sizeof(struct archil_getattr_req),
		.rep_size = sizeof(struct archil_attr_rep),
		.rep_var = { VAR(archil_attr_rep, target_len, ARCHIL_PATH_LEN) },
	},
	[ARCHIL_OP_READDIR] = {
		.name = "READDIR",
		.flags = ARCHIL_ON_DATA | ARCHIL_REP_PAYLOAD,
		.req_size = sizeof(struct archil_readdir_req),
		.rep_size = sizeof(struct archil_readdir_rep),
	},
	[ARCHIL_OP_READ] = {
		.name = "READ",
		.flags = ARCHIL_ON_DATA | ARCHIL_REP_PAYLOAD,
		.req_size = sizeof(struct archil_read_req),
		.rep_size = sizeof(struct archil_read_rep),
		FLAGS(archil_read_req, ARCHIL_READ_OWNER),
	},
	[ARCHIL_OP_SEEK] = {
		.name = "SEEK",
		.flags = ARCHIL_ON_DATA,
		.req_size = sizeof(struct archil_seek_req),
		.rep_size = sizeof(struct archil_seek_rep),
	},
	[ARCHIL_OP_GETXATTR] = {
		.name = "GETXATTR",
		.flags = ARCHIL_ON_DATA | ARCHIL_REP_PAYLOAD,
		.req_size = sizeof(struct archil_getxattr_req),
		.req_var = { VAR(archil_getxattr_req, name_len, ARCHIL_NAME_LEN) },
	},
	[ARCHIL_OP_LISTXATTR] = {
		.name = "LISTXATTR",
		.flags = ARCHIL_ON_DATA | ARCHIL_REP_PAYLOAD,
		.req_size = sizeof(struct archil_listxattr_req),
	},
	[ARCHIL_OP_STATFS] = {
		.name = "STATFS",
		.flags = ARCHIL_ON_DATA,
		.rep_size = sizeof(struct archil_statfs_rep),
	},
	[ARCHIL_OP_READ_SMALL] = {
		.name = "READ_SMALL",
		.flags = ARCHIL_ON_DATA | ARCHIL_REQ_PAYLOAD | ARCHIL_REP_PAYLOAD,
		.req_size = sizeof(struct archil_read_small_req),
		.rep_size = sizeof(struct archil_read_small_rep),
	},

	[ARCHIL_OP_LOG] = {
		.name = "LOG",
		.flags = ARCHIL_ON_DATA | ARCHIL_REQ_PAYLOAD,
		.req_size = sizeof(struct archil_log_req),
		.rep_size = sizeof(struct archil_log_rep),
		FLAGS(archil_log_req, ARCHIL_LOG_MORE),
	},
	[ARCHIL_OP_WRITE] = {
		.name = "WRITE",
		.flags = ARCHIL_ON_DATA | ARCHIL_REQ_PAYLOAD,
		.req_size = sizeof(struct archil_write_req),
		.rep_size = sizeof(struct archil_write_rep),
		FLAGS(archil_write_req, ARCHIL_WRITE_SIZE_UP | ARCHIL_WRITE_TIMES),
	},
	[ARCHIL_OP_CREDIT] = {
		.name = "CREDIT",
		.flags = ARCHIL_ON_DATA,
		.req_size = sizeof(struct archil_credit_req),
		.rep_size = sizeof(struct archil_credit_rep),
	},
	[ARCHIL_OP_INOS] = {
		.name = "INOS",
		.flags = ARCHIL_ON_DATA,
		.req_size = sizeof(struct archil_inos_req),
		.rep_size = sizeof(struct archil_inos_rep),
	},

	[ARCHIL_OP_GRANT] = {
		.name = "GRANT",
		.flags = ON_BOTH | ARCHIL_SLOTTED,
		.req_size = sizeof(struct archil_grant_req),
		.rep_size = sizeof(struct archil_grant_rep),
		FLAGS(archil_grant_req, ARCHIL_GR_FORCE),
	},
	[ARCHIL_OP_CHECKIN] = {
		.name = "CHECKIN",
		.flags = ON_BOTH | ARCHIL_SLOTTED,
		.req_size = sizeof(struct archil_checkin_req),
		.rep_size = sizeof(struct archil_checkin_rep),
	},
	[ARCHIL_OP_CHANGE] = {
		.name = "CHANGE",
		.flags = ON_BOTH | ARCHIL_SLOTTED | ARCHIL_REQ_PAYLOAD,
		.req_size = sizeof(struct archil_change_req),
		.rep_size = sizeof(struct archil_change_rep),
		FLAGS(archil_change_req, ARCHIL_CH_GRANT),
	},
};

static const struct archil_var error_var[] = {
	VAR(archil_error, client_len, ARCHIL_CLIENT_LEN),
	VAR(archil_error, path_len, ARCHIL_PATH_LEN),
	VAR(archil_error, text_len, ARCHIL_TEXT_LEN),
};

static const struct archil_op_desc *op_desc(unsigned int op)
{
	if (op >= ARCHIL_OP_MAX || !archil_op_table[op].name)
		return NULL;
	return &archil_op_table[op];
}

const char *archil_op_name(unsigned int op)
{
	const struct archil_op_desc *desc = op_desc(op);

	return desc ? desc->name : "?";
}

static bool status_ok(u32 status)
{
	return status <= ARCHIL_ERRNO_MAX ||
	       (status >= ARCHIL_ST_TAKEN && status <= ARCHIL_ST_BAD_SEQ);
}

/* May a frame of this opcode carry so many bytes of payload? */
static bool payload_ok(unsigned int op, bool reply, u32 status, u32 len)
{
	u16 flags = archil_op_table[op].flags;

	if (!len)
		return true;
	if (len > ARCHIL_PAYLOAD_MAX)
		return false;
	if (!(flags & (reply ? ARCHIL_REP_PAYLOAD : ARCHIL_REQ_PAYLOAD)))
		return false;
	if (status)
		return false;
	if (op == ARCHIL_OP_GETXATTR || op == ARCHIL_OP_LISTXATTR)
		return len <= ARCHIL_XATTR_SIZE;
	return true;
}

int archil_hdr_check(const struct archil_hdr *hdr, enum archil_conn_kind kind, bool from_server)
{
	u32 len = le32_to_cpu(hdr->len), body_len = le32_to_cpu(hdr->body_len);
	u16 op = le16_to_cpu(hdr->op), flags = le16_to_cpu(hdr->flags);
	u32 status = le32_to_cpu(hdr->status);
	const struct archil_op_desc *desc = op_desc(op);
	bool reply = flags & ARCHIL_F_REPLY, push = flags & ARCHIL_F_PUSH;
	u16 on = kind == ARCHIL_CONN_CONTROL ? ARCHIL_ON_CONTROL : ARCHIL_ON_DATA;

	if (body_len > ARCHIL_BODY_MAX || len < sizeof(*hdr) + body_len)
		return -EPROTO;
	if (!desc || !(desc->flags & on))
		return -EPROTO;
	if (flags & ARCHIL_F_MANDATORY & ~(ARCHIL_F_REPLY | ARCHIL_F_PUSH))
		return -EPROTO;
	if (push != !!(desc->flags & ARCHIL_IS_PUSH) || (push && reply))
		return -EPROTO;
	/* the server answers and pushes, the client asks; PING goes both ways */
	if ((reply || push) != from_server && op != ARCHIL_OP_PING)
		return -EPROTO;
	if (push && hdr->tag)
		return -EPROTO;
	if (reply ? !status_ok(status) : status != 0)
		return -EPROTO;
	if (!payload_ok(op, reply, status, len - sizeof(*hdr) - body_len))
		return -EPROTO;
	return 0;
}

/* A fixed part of @size bytes, then the @n parts whose lengths it gives. */
static int parts_check(const u8 *body, u32 len, u32 size, const struct archil_var *var, size_t n)
{
	u32 pos = size;
	size_t i;

	if (len < size)
		return -EPROTO;
	for (i = 0; i < n && var[i].max; i++) {
		__le16 raw;
		u16 part;

		memcpy(&raw, body + var[i].at, sizeof(raw));
		part = le16_to_cpu(raw);
		if (part > var[i].max || part > len - pos)
			return -EPROTO;
		if (part && memchr(body + pos, 0, part))
			return -EPROTO;
		pos += part;
	}
	return pos == len ? 0 : -EPROTO;
}

static int reply_check(const struct archil_op_desc *desc, u32 status, const u8 *body, u32 len)
{
	if (!status)
		return parts_check(body, len, desc->rep_size, desc->rep_var,
				   ARRAY_SIZE(desc->rep_var));
	if (status == ARCHIL_ST_CLOSED)
		return len == sizeof(struct archil_closed) ? 0 : -EPROTO;
	if (!len)
		return 0;
	return parts_check(body, len, sizeof(struct archil_error), error_var,
			   ARRAY_SIZE(error_var));
}

static int request_check(const struct archil_op_desc *desc, const u8 *body, u32 len)
{
	struct archil_slot slot;
	__le32 flags;

	if (parts_check(body, len, desc->req_size, desc->req_var, ARRAY_SIZE(desc->req_var)))
		return -EPROTO;
	if (desc->flags_at) {
		memcpy(&flags, body + desc->flags_at, sizeof(flags));
		if (le32_to_cpu(flags) & ~(u32)desc->flags_known)
			return -EPROTO;
	}
	if (desc->flags & ARCHIL_SLOTTED) {
		memcpy(&slot, body, sizeof(slot));
		if (le32_to_cpu(slot.slot) >= ARCHIL_SLOTS)
			return -EPROTO;
	}
	return 0;
}

int archil_body_check(const struct archil_hdr *hdr, const void *body)
{
	const struct archil_op_desc *desc = op_desc(le16_to_cpu(hdr->op));
	u32 len = le32_to_cpu(hdr->body_len);

	if (!desc)
		return -EPROTO;
	if (le16_to_cpu(hdr->flags) & ARCHIL_F_REPLY)
		return reply_check(desc, le32_to_cpu(hdr->status), body, len);
	return request_check(desc, body, len);
}

void archil_hdr_fill(struct archil_hdr *hdr, unsigned int op, unsigned int flags, u64 tag,
		     u32 body_len, u32 payload_len)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->len = cpu_to_le32(sizeof(*hdr) + body_len + payload_len);
	hdr->op = cpu_to_le16(op);
	hdr->flags = cpu_to_le16(flags);
	hdr->tag = cpu_to_le64(tag);
	hdr->body_len = cpu_to_le32(body_len);
}

bool archil_name_ok(const char *name, size_t len)
{
	size_t i;

	if (!len || len > ARCHIL_NAME_LEN)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	for (i = 0; i < len; i++)
		if (!name[i] || name[i] == '/')
			return false;
	return true;
}

static bool all_zero(const u8 *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

int archil_dirent_next(const void *buf, size_t len, size_t *pos, struct archil_dirent *de,
		       const char **name, unsigned int *name_len)
{
	const u8 *p = (const u8 *)buf + *pos;
	size_t left = len - *pos, text, size;
	unsigned int target_len;
	u64 cookie;

	if (!left)
		return 0;
	if (left < sizeof(*de))
		return -EPROTO;
	memcpy(de, p, sizeof(*de));
	p += sizeof(*de);
	*name = (const char *)p;
	*name_len = le16_to_cpu(de->name_len);
	target_len = le16_to_cpu(de->target_len);
	if (target_len && (target_len > ARCHIL_PATH_LEN || !S_ISLNK(le32_to_cpu(de->attr.mode))))
		return -EPROTO;
	text = *name_len + target_len;
	size = ARCHIL_DIRENT_SIZE(text);
	if (left < size || !archil_name_ok(*name, *name_len) ||
	    !all_zero(p + text, size - sizeof(*de) - text))
		return -EPROTO;
	cookie = le64_to_cpu(de->cookie);
	if (cookie < ARCHIL_COOKIE_FIRST || cookie > ARCHIL_COOKIE_MAX)
		return -EPROTO;
	*pos += size;
	return 1;
}

int archil_dirent_put(void *buf, size_t cap, size_t *pos, struct archil_dirent *de,
		      const char *name, unsigned int name_len,
		      const char *target, unsigned int target_len)
{
	size_t text = name_len + target_len, size = ARCHIL_DIRENT_SIZE(text);
	u8 *p = (u8 *)buf + *pos;

	if (size > cap - *pos)
		return -ENOSPC;
	de->name_len = cpu_to_le16(name_len);
	de->target_len = cpu_to_le16(target_len);
	memset(de->pad, 0, sizeof(de->pad));
	memcpy(p, de, sizeof(*de));
	memcpy(p + sizeof(*de), name, name_len);
	if (target_len)
		memcpy(p + sizeof(*de) + name_len, target, target_len);
	memset(p + sizeof(*de) + text, 0, size - sizeof(*de) - text);
	*pos += size;
	return 0;
}

int archil_dirlist_next(const void *buf, size_t len, size_t *pos, struct archil_dirlist *dl,
			const void **entries)
{
	const u8 *p = (const u8 *)buf + *pos;
	size_t left = len - *pos;

	if (!left)
		return 0;
	if (left < sizeof(*dl))
		return -EPROTO;
	memcpy(dl, p, sizeof(*dl));
	if (le32_to_cpu(dl->len) > left - sizeof(*dl))
		return -EPROTO;
	*entries = p + sizeof(*dl);
	*pos += sizeof(*dl) + le32_to_cpu(dl->len);
	return 1;
}

/* ---- small contents ---- */

static size_t small_size(u32 len)
{
	return sizeof(struct archil_small) + ((len + (size_t)7) & ~(size_t)7);
}

int archil_small_next(const void *buf, size_t len, size_t *pos, struct archil_small *small,
		      const void **data)
{
	const u8 *p = (const u8 *)buf + *pos;
	size_t left = len - *pos;
	u32 bytes;

	if (!left)
		return 0;
	if (left < sizeof(*small))
		return -EPROTO;
	memcpy(small, p, sizeof(*small));
	bytes = le32_to_cpu(small->len);
	if (bytes > left || small_size(bytes) > left || bytes > le64_to_cpu(small->size))
		return -EPROTO;
	*data = p + sizeof(*small);
	*pos += small_size(bytes);
	return 1;
}

int archil_small_put(void *buf, size_t cap, size_t *pos, const struct archil_small *small,
		     const void *data)
{
	u32 bytes = le32_to_cpu(small->len);
	size_t size = small_size(bytes);
	u8 *p = (u8 *)buf + *pos;

	if (size > cap - *pos)
		return -ENOSPC;
	memcpy(p, small, sizeof(*small));
	if (bytes)
		memcpy(p + sizeof(*small), data, bytes);
	memset(p + sizeof(*small) + bytes, 0, size - sizeof(*small) - bytes);
	*pos += size;
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/* The wire's codec: what may travel, and what ends a connection. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../frames.h"

#define ROUNDS	64

/* ck_assert() tells the parent process of each one: too slow for a million of them. */
#define must(cond) do {								\
	if (!(cond))								\
		ck_abort_msg("not true: %s", #cond);				\
} while (0)

static struct rnd rnd;
static struct frame frame;

/*
 * Every opcode, said once more: C and D are the connections, P a push, q and p
 * a request and a reply that may have a payload.
 */
static const struct expect {
	unsigned int op;
	const char *name, *where;
	size_t req, rep;
} expect[] = {
	{ ARCHIL_OP_HELLO, "HELLO", "CD", 48, 72 },
	{ ARCHIL_OP_AUTH, "AUTH", "CD", 32, 32 },
	{ ARCHIL_OP_PING, "PING", "CD", 0, 0 },
	{ ARCHIL_OP_OPEN_SESSION, "OPEN_SESSION", "C", 40, 192 },
	{ ARCHIL_OP_RESUME, "RESUME", "C", 24, 0 },
	{ ARCHIL_OP_BIND, "BIND", "D", 32, 8 },
	{ ARCHIL_OP_CLOSE_SESSION, "CLOSE_SESSION", "CD", 0, 0 },
	{ ARCHIL_OP_REVOKE, "REVOKE", "CDP", 8, 0 },
	{ ARCHIL_OP_NOTIFY, "NOTIFY", "DP", 128, 0 },
	{ ARCHIL_OP_SESSION_OVER, "SESSION_OVER", "CDP", 0, 0 },
	{ ARCHIL_OP_LOOKUP, "LOOKUP", "D", 16, 144 },
	{ ARCHIL_OP_GETATTR, "GETATTR", "D", 8, 144 },
	{ ARCHIL_OP_READDIR, "READDIR", "Dp", 32, 24 },
	{ ARCHIL_OP_READ, "READ", "Dp", 24, 16 },
	{ ARCHIL_OP_SEEK, "SEEK", "D", 24, 8 },
	{ ARCHIL_OP_GETXATTR, "GETXATTR", "Dp", 16, 0 },
	{ ARCHIL_OP_LISTXATTR, "LISTXATTR", "Dp", 8, 0 },
	{ ARCHIL_OP_STATFS, "STATFS", "D", 0, 32 },
	{ ARCHIL_OP_READ_SMALL, "READ_SMALL", "Dpq", 8, 8 },
	{ ARCHIL_OP_LOG, "LOG", "Dq", 24, 16 },
	{ ARCHIL_OP_WRITE, "WRITE", "Dq", 72, 16 },
	{ ARCHIL_OP_CREDIT, "CREDIT", "D", 16, 8 },
	{ ARCHIL_OP_INOS, "INOS", "D", 8, 16 },
	{ ARCHIL_OP_GRANT, "GRANT", "CD", 32, 168 },
	{ ARCHIL_OP_CHECKIN, "CHECKIN", "CD", 24, 8 },
	{ ARCHIL_OP_CHANGE, "CHANGE", "CDq", 16, 184 },
};

static const struct expect *expected(unsigned int op)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(expect); i++)
		if (expect[i].op == op)
			return &expect[i];
	return NULL;
}

static int hdr_verdict(void)
{
	return archil_hdr_check(&frame.hdr, frame.conn, frame.from_server);
}

/* The body at an odd address, with nothing behind it. */
static int body_verdict(void)
{
	u32 len = le32_to_cpu(frame.hdr.body_len);
	u8 *block = malloc(len + 1);
	int ret;

	must(block);
	memcpy(block + 1, frame.body, len);
	ret = archil_body_check(&frame.hdr, block + 1);
	free(block);
	return ret;
}

static void set_body_len(u32 len)
{
	frame.hdr.body_len = cpu_to_le32(len);
	frame.hdr.len = cpu_to_le32(sizeof(frame.hdr) + len);
}

static bool is_push(unsigned int op)
{
	return strchr(expected(op)->where, 'P');
}

/* Runs its body for each opcode and each kind of frame that this can have. */
#define for_each_frame(op, kind)						\
	for (size_t e_ = 0; e_ < ARRAY_SIZE(expect); e_++)			\
		for (unsigned int op = expect[e_].op, kind = FRAME_REQUEST;	\
		     kind <= (is_push(op) ? FRAME_REQUEST : FRAME_ERROR); kind++)

START_TEST(table)
{
	unsigned int op;

	for (op = 0; op < 70000; op++) {
		const struct archil_op_desc *desc;
		const struct expect *e = expected(op);

		if (!e) {
			ck_assert_str_eq(archil_op_name(op), "?");
			continue;
		}
		desc = &archil_op_table[op];
		ck_assert_str_eq(archil_op_name(op), e->name);
		ck_assert_uint_eq(desc->req_size, e->req);
		ck_assert_uint_eq(desc->rep_size, e->rep);
		ck_assert_int_eq(!!(desc->flags & ARCHIL_IS_PUSH), is_push(op));
		ck_assert_int_eq(!!(desc->flags & ARCHIL_SETUP),
				 op <= ARCHIL_OP_BIND && op != ARCHIL_OP_PING);
		ck_assert_int_eq(!!(desc->flags & ARCHIL_SLOTTED), op >= ARCHIL_OP_GRANT);
	}
}
END_TEST

/* The layout does not move: a frame, byte for byte. */
START_TEST(layout)
{
	static const u8 bytes[] = {
		56, 0, 0, 0, 33, 0, 0, 1, 8, 7, 6, 5, 4, 3, 2, 1,
		0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	struct archil_hdr hdr;

	ck_assert_uint_eq(sizeof(hdr), 32);
	archil_hdr_fill(&hdr, ARCHIL_OP_WRITE, ARCHIL_F_URGENT, 0x0102030405060708, 16, 8);
	ck_assert_mem_eq(&hdr, bytes, sizeof(bytes));
	ck_assert_uint_eq(archil_payload_len(&hdr), 8);
	ck_assert_uint_eq(sizeof(struct archil_dirent), 144);
	ck_assert_mem_eq("ARCHIL\r\n", &(__le64){ cpu_to_le64(ARCHIL_MAGIC) }, 8);
}
END_TEST

START_TEST(accepted)
{
	int i;

	for (i = 0; i < ROUNDS; i++)
		for_each_frame(op, kind) {
			random_frame(&rnd, &frame, op, kind);
			must(hdr_verdict() == 0);
			must(body_verdict() == 0);
		}
}
END_TEST

/* Which way, on which connection, with which of the two flags, with a payload? */
START_TEST(directions)
{
	unsigned int op, flags, payload, conn, server;

	for (op = 0; op < 80; op++)
	for (flags = 0; flags < 4; flags++)
	for (payload = 0; payload < 2; payload++)
	for (conn = ARCHIL_CONN_CONTROL; conn <= ARCHIL_CONN_DATA; conn++)
	for (server = 0; server < 2; server++) {
		const struct expect *e = expected(op);
		bool ok = e && strchr(e->where, conn == ARCHIL_CONN_CONTROL ? 'C' : 'D');

		if (ok && is_push(op))
			ok = flags == ARCHIL_F_PUSH && server;
		else if (ok)
			ok = flags != ARCHIL_F_PUSH && flags != 3 &&
			     (op == ARCHIL_OP_PING || server == flags);
		if (ok && payload)
			ok = strchr(e->where, flags == ARCHIL_F_REPLY ? 'p' : 'q');
		archil_hdr_fill(&frame.hdr, op, flags, 0, 0, payload);
		ck_assert_msg(archil_hdr_check(&frame.hdr, conn, server) == (ok ? 0 : -EPROTO),
			      "op %u flags %u payload %u conn %u server %u",
			      op, flags, payload, conn, server);
	}
}
END_TEST

START_TEST(unknown_frame_flags)
{
	int bit;

	for_each_frame(op, kind)
		for (bit = 0; bit < 16; bit++) {
			random_frame(&rnd, &frame, op, kind);
			frame.hdr.flags |= cpu_to_le16(1 << bit);
			if (bit >= 2)
				must(hdr_verdict() == (bit < 8 ? -EPROTO : 0));
		}
}
END_TEST

START_TEST(frame_lengths)
{
	u32 len, body;

	for_each_frame(op, kind) {
		random_frame(&rnd, &frame, op, kind);
		body = le32_to_cpu(frame.hdr.body_len);
		for (len = 0; len < sizeof(frame.hdr) + body; len++) {
			frame.hdr.len = cpu_to_le32(len);
			must(hdr_verdict() == -EPROTO);
		}
		frame.hdr.len = cpu_to_le32(len);
		must(hdr_verdict() == 0);
		frame.hdr.len = cpu_to_le32(UINT32_MAX);
		must(hdr_verdict() == -EPROTO);
		frame.hdr.body_len = cpu_to_le32(UINT32_MAX);
		must(hdr_verdict() == -EPROTO);
		frame.hdr.body_len = cpu_to_le32(UINT32_MAX - sizeof(frame.hdr) + 1);
		must(hdr_verdict() == -EPROTO);
		set_body_len(ARCHIL_BODY_MAX);
		must(hdr_verdict() == 0);
		set_body_len(ARCHIL_BODY_MAX + 1);
		must(hdr_verdict() == -EPROTO);
	}
}
END_TEST

START_TEST(payload_limits)
{
	u32 max, body;

	for_each_frame(op, kind) {
		random_frame(&rnd, &frame, op, kind);
		max = ARCHIL_PAYLOAD_MAX;
		if (op == ARCHIL_OP_GETXATTR || op == ARCHIL_OP_LISTXATTR)
			max = ARCHIL_XATTR_SIZE;
		if (kind == FRAME_ERROR ||
		    !strchr(expected(op)->where, kind == FRAME_REPLY ? 'p' : 'q'))
			max = 0;
		body = le32_to_cpu(frame.hdr.body_len);
		frame.hdr.len = cpu_to_le32(sizeof(frame.hdr) + body + max);
		must(hdr_verdict() == 0);
		ck_assert_uint_eq(archil_payload_len(&frame.hdr), max);
		frame.hdr.len = cpu_to_le32(sizeof(frame.hdr) + body + max + 1);
		must(hdr_verdict() == -EPROTO);
	}
}
END_TEST

START_TEST(statuses)
{
	u32 status;

	random_frame(&rnd, &frame, ARCHIL_OP_LOG, FRAME_REPLY);
	for (status = 0; status < 5000; status++) {
		bool ok = status <= 133 || (status >= 1001 && status <= 1004);

		frame.hdr.status = cpu_to_le32(status);
		must(hdr_verdict() == (ok ? 0 : -EPROTO));
	}
	frame.hdr.status = cpu_to_le32(UINT32_MAX);
	must(hdr_verdict() == -EPROTO);
	for_each_frame(op, kind) {
		random_frame(&rnd, &frame, op, kind);
		frame.hdr.status = cpu_to_le32(1);
		if (kind == FRAME_REQUEST)
			must(hdr_verdict() == -EPROTO);
	}
	random_frame(&rnd, &frame, ARCHIL_OP_REVOKE, FRAME_REQUEST);
	frame.hdr.tag = cpu_to_le64(1);
	must(hdr_verdict() == -EPROTO);
}
END_TEST

/* Every shorter body, and every longer one by up to 9 bytes. */
START_TEST(body_lengths)
{
	int i;

	for (i = 0; i < 2; i++)
		for_each_frame(op, kind) {
			u32 len, whole;

			random_frame(&rnd, &frame, op, kind);
			whole = le32_to_cpu(frame.hdr.body_len);
			memset(frame.body + whole, 'x', 9);
			for (len = 0; len < whole + 9; len++) {
				bool ok = len == whole || (!len && kind == FRAME_ERROR);

				set_body_len(len);
				ck_assert_msg(body_verdict() == (ok ? 0 : -EPROTO),
					      "%s: %u of %u bytes", archil_op_name(op), len, whole);
			}
		}
}
END_TEST

/* Each variable part at its limit, over it, and with a NUL in it. */
START_TEST(parts)
{
	int i;

	for_each_frame(op, kind) {
		u16 part_len[FRAME_ERROR_PARTS] = { 0 };
		const struct archil_var *var;
		size_t part, n;
		u32 pos;

		random_frame(&rnd, &frame, op, kind);
		pos = frame_layout(&archil_op_table[op], kind, &var, &n);
		for (part = 0; part < n && var[part].max; part++) {
			part_len[part] = var[part].max;
			frame_body(&rnd, &frame, kind, part_len);
			must(body_verdict() == 0);
			for (i = 0; i < 3; i++) {
				u32 at = pos + (i == 0 ? 0 : i == 1 ? var[part].max - 1u :
						rnd_below(&rnd, var[part].max));

				frame_body(&rnd, &frame, kind, part_len);
				frame.body[at] = 0;
				must(body_verdict() == -EPROTO);
			}
			part_len[part]++;
			frame_body(&rnd, &frame, kind, part_len);
			must(body_verdict() == -EPROTO);
			part_len[part] = 0;
		}
	}
}
END_TEST

START_TEST(body_flags)
{
	static const struct {
		unsigned int op;
		size_t at;
		u32 known;
	} flags[] = {
		{ ARCHIL_OP_OPEN_SESSION, offsetof(struct archil_open_session_req, flags), 7 },
		{ ARCHIL_OP_READ, offsetof(struct archil_read_req, flags), 1 },
		{ ARCHIL_OP_LOG, offsetof(struct archil_log_req, flags), 1 },
		{ ARCHIL_OP_GRANT, offsetof(struct archil_grant_req, flags), 1 },
		{ ARCHIL_OP_CHANGE, offsetof(struct archil_change_req, flags), 1 },
	};
	size_t i;
	int bit;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		for (bit = 0; bit < 32; bit++) {
			__le32 value = cpu_to_le32(1u << bit);

			random_frame(&rnd, &frame, flags[i].op, FRAME_REQUEST);
			memcpy(frame.body + flags[i].at, &value, sizeof(value));
			ck_assert_int_eq(body_verdict(),
					 flags[i].known & 1u << bit ? 0 : -EPROTO);
		}
}
END_TEST

START_TEST(slots)
{
	unsigned int op;
	__le32 slot;

	for (op = ARCHIL_OP_GRANT; op <= ARCHIL_OP_CHANGE; op++) {
		random_frame(&rnd, &frame, op, FRAME_REQUEST);
		slot = cpu_to_le32(ARCHIL_SLOTS - 1);
		memcpy(frame.body, &slot, sizeof(slot));
		must(body_verdict() == 0);
		slot = cpu_to_le32(ARCHIL_SLOTS);
		memcpy(frame.body, &slot, sizeof(slot));
		must(body_verdict() == -EPROTO);
		slot = cpu_to_le32(UINT32_MAX);
		memcpy(frame.body, &slot, sizeof(slot));
		must(body_verdict() == -EPROTO);
	}
}
END_TEST

START_TEST(closed)
{
	u32 len;

	random_frame(&rnd, &frame, ARCHIL_OP_LOG, FRAME_REPLY);
	frame.hdr.status = cpu_to_le32(ARCHIL_ST_CLOSED);
	for (len = 0; len < 100; len++) {
		set_body_len(len);
		memset(frame.body, 0, len);
		ck_assert_int_eq(body_verdict(),
				 len == sizeof(struct archil_closed) ? 0 : -EPROTO);
	}
}
END_TEST

START_TEST(names)
{
	char name[ARCHIL_NAME_LEN + 1];

	memset(name, 'n', sizeof(name));
	ck_assert(archil_name_ok(name, 1));
	ck_assert(archil_name_ok(name, ARCHIL_NAME_LEN));
	ck_assert(!archil_name_ok(name, ARCHIL_NAME_LEN + 1));
	ck_assert(!archil_name_ok(name, 0));
	ck_assert(!archil_name_ok(".", 1));
	ck_assert(!archil_name_ok("..", 2));
	ck_assert(archil_name_ok("...", 3));
	ck_assert(archil_name_ok(".a", 2));
	ck_assert(archil_name_ok("\xff\x01 ", 3));
	ck_assert(!archil_name_ok("a/", 2));
	ck_assert(!archil_name_ok("a\0", 2));
}
END_TEST

/* ---- directory entries ---- */

static struct archil_dirent de;
static char name[ARCHIL_NAME_LEN + 1], target[ARCHIL_PATH_LEN];
static unsigned int target_len;

static void random_dirent(unsigned int name_len)
{
	rnd_bytes(&rnd, &de, sizeof(de));
	de.cookie = cpu_to_le64(rnd_range(&rnd, ARCHIL_COOKIE_FIRST, ARCHIL_COOKIE_MAX));
	rnd_name(&rnd, name, name_len);
	target_len = 0;
	if (S_ISLNK(le32_to_cpu(de.attr.mode)) || rnd_one_in(&rnd, 3)) {
		de.attr.mode = cpu_to_le32((le32_to_cpu(de.attr.mode) & 07777) | S_IFLNK);
		target_len = rnd_len(&rnd, 0, ARCHIL_PATH_LEN);
		rnd_bytes(&rnd, target, target_len);
	}
}

/* The first entry of len bytes of buf, at an odd address, with nothing behind. */
static int step(const u8 *buf, size_t len)
{
	u8 *block = malloc(len + 1);
	struct archil_dirent out;
	unsigned int out_len;
	const char *out_name;
	size_t pos = 0;
	int ret;

	must(block);
	memcpy(block + 1, buf, len);
	ret = archil_dirent_next(block + 1, len, &pos, &out, &out_name, &out_len);
	must((pos > 0) == (ret == 1));
	free(block);
	return ret;
}

START_TEST(dirents)
{
	static u8 buf[65536];
	size_t end = 0, pos = 0, before;
	struct archil_dirent out;
	unsigned int len, count = 0, out_len;
	const char *out_name;
	struct rnd start = rnd;
	int ret;

	for (;;) {
		len = rnd_len(&rnd, 1, ARCHIL_NAME_LEN);
		random_dirent(len);
		before = end;
		if (archil_dirent_put(buf, sizeof(buf) - 1, &end, &de, name, len, target, target_len))
			break;
		ck_assert_uint_eq(end, before + ARCHIL_DIRENT_SIZE(len + target_len));
		ck_assert_uint_eq(end % 8, 0);
		count++;
	}
	ck_assert_uint_eq(end, before);
	ck_assert_uint_lt(sizeof(buf) - 1 - end, ARCHIL_DIRENT_SIZE(len + target_len));

	rnd = start;
	while ((ret = archil_dirent_next(buf, end, &pos, &out, &out_name, &out_len)) == 1) {
		len = rnd_len(&rnd, 1, ARCHIL_NAME_LEN);
		random_dirent(len);
		ck_assert_uint_eq(out_len, len);
		ck_assert_uint_eq(le16_to_cpu(out.name_len), len);
		ck_assert_mem_eq(out_name, name, len);
		ck_assert_uint_eq(le16_to_cpu(out.target_len), target_len);
		ck_assert_mem_eq(out_name + len, target, target_len);
		ck_assert_uint_eq(le64_to_cpu(out.cookie), le64_to_cpu(de.cookie));
		ck_assert_mem_eq(&out.attr, &de.attr, sizeof(out.attr));
		count--;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(dirent_refused)
{
	static const char *const bad[] = { ".", "..", "a/b" };
	static char big[ARCHIL_PATH_LEN + 1];
	static u8 buf[8192];
	size_t end, len, i;

	for (i = 1; i <= ARCHIL_NAME_LEN; i++) {
		random_dirent(i);
		end = 0;
		target_len %= 100;
		ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, name, i, target,
						   target_len), 0);
		for (len = 1; len < end; len++)
			must(step(buf, len) == -EPROTO);
		must(step(buf, 0) == 0);
		must(step(buf, end) == 1);
		if (end > sizeof(de) + i + target_len) {
			buf[end - 1] = 1;
			must(step(buf, end) == -EPROTO);
		}
	}
	memset(name, 'n', sizeof(name));
	end = 0;
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, name, 256, NULL, 0), 0);
	must(step(buf, end) == -EPROTO);
	end = 0;
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, name, 0, NULL, 0), 0);
	must(step(buf, end) == -EPROTO);
	end = 0;
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, "a\0b", 3, NULL, 0), 0);
	must(step(buf, end) == -EPROTO);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		end = 0;
		ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, bad[i],
						   strlen(bad[i]), NULL, 0), 0);
		must(step(buf, end) == -EPROTO);
	}
	end = 0;
	de.attr.mode = cpu_to_le32(S_IFREG);
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, "n", 1, "t", 1), 0);
	must(step(buf, end) == -EPROTO);
	end = 0;
	de.attr.mode = cpu_to_le32(S_IFLNK);
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, "n", 1, big,
					   sizeof(big)), 0);
	must(step(buf, end) == -EPROTO);
	end = 0;
	de.cookie = cpu_to_le64(ARCHIL_COOKIE_FIRST - 1);
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, "n", 1, NULL, 0), 0);
	must(step(buf, end) == -EPROTO);
	end = 0;
	de.cookie = cpu_to_le64(ARCHIL_COOKIE_MAX + 1);
	ck_assert_int_eq(archil_dirent_put(buf, sizeof(buf), &end, &de, "n", 1, NULL, 0), 0);
	must(step(buf, end) == -EPROTO);
}
END_TEST

START_TEST(dirlists)
{
	static u8 buf[4096];
	struct archil_dirlist dl, out;
	const void *entries;
	size_t end = 0, pos = 0, len;
	u32 i;

	for (i = 0; i < 20; i++) {
		rnd_bytes(&rnd, &dl, sizeof(dl));
		dl.len = cpu_to_le32(i * 8);
		memcpy(buf + end, &dl, sizeof(dl));
		memset(buf + end + sizeof(dl), i, i * 8);
		end += sizeof(dl) + i * 8;
	}
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(archil_dirlist_next(buf, end, &pos, &out, &entries), 1);
		ck_assert_uint_eq(le32_to_cpu(out.len), i * 8);
		if (i)
			ck_assert_uint_eq(((const u8 *)entries)[i * 8 - 1], i);
	}
	ck_assert_int_eq(archil_dirlist_next(buf, end, &pos, &out, &entries), 0);
	/* nothing that does not fit */
	for (len = 1; len < sizeof(dl) + 152; len++) {
		pos = 0;
		ck_assert_int_eq(archil_dirlist_next(buf + end - sizeof(dl) - 152, len, &pos, &out,
						     &entries), -EPROTO);
		ck_assert_uint_eq(pos, 0);
	}
}
END_TEST

START_TEST(smalls)
{
	static u8 buf[8192], data[1000];
	struct archil_small small, out;
	const void *bytes;
	size_t end = 0, pos = 0, before, len;
	struct rnd start = rnd;
	u32 i, n = 0;

	for (;;) {
		rnd_bytes(&rnd, &small, sizeof(small));
		i = rnd_len(&rnd, 0, sizeof(data));
		rnd_bytes(&rnd, data, i);
		small.len = cpu_to_le32(i);
		small.size = cpu_to_le64(i + rnd_len(&rnd, 0, 9));
		before = end;
		if (archil_small_put(buf, sizeof(buf), &end, &small, data))
			break;
		ck_assert_uint_eq(end % 8, 0);
		n++;
	}
	ck_assert_uint_eq(end, before);
	ck_assert_uint_gt(n, 5);
	rnd = start;
	while (archil_small_next(buf, end, &pos, &out, &bytes) == 1) {
		rnd_bytes(&rnd, &small, sizeof(small));
		i = rnd_len(&rnd, 0, sizeof(data));
		rnd_bytes(&rnd, data, i);
		small.len = cpu_to_le32(i);
		small.size = cpu_to_le64(i + rnd_len(&rnd, 0, 9));
		ck_assert_mem_eq(&out, &small, sizeof(small));
		ck_assert_mem_eq(bytes, data, i);
		n--;
	}
	ck_assert_uint_eq(pos, end);
	ck_assert_uint_eq(n, 0);

	small.len = cpu_to_le32(100);
	small.size = cpu_to_le64(100);
	end = 0;
	ck_assert_int_eq(archil_small_put(buf, sizeof(buf), &end, &small, data), 0);
	for (len = 1; len < end; len++) {
		pos = 0;
		ck_assert_int_eq(archil_small_next(buf, len, &pos, &out, &bytes), -EPROTO);
	}
	/* no bytes behind the end, no length that wraps */
	small.size = cpu_to_le64(99);
	memcpy(buf, &small, sizeof(small));
	pos = 0;
	ck_assert_int_eq(archil_small_next(buf, end, &pos, &out, &bytes), -EPROTO);
	small.len = cpu_to_le32(UINT32_MAX);
	small.size = cpu_to_le64(UINT64_MAX);
	memcpy(buf, &small, sizeof(small));
	ck_assert_int_eq(archil_small_next(buf, end, &pos, &out, &bytes), -EPROTO);
}
END_TEST

int main(void)
{
	const char *seed = getenv("SEED");
	Suite *suite = suite_create("wire");
	TCase *frames = tcase_create("frames"), *entries = tcase_create("directory entries");
	SRunner *runner;
	int failed;

	rnd.state = seed ? strtoull(seed, NULL, 0) : 1;
	printf("SEED=%" PRIu64 "\n", rnd.state);

	tcase_set_timeout(frames, 120);
	tcase_set_timeout(entries, 120);
	tcase_add_test(frames, table);
	tcase_add_test(frames, layout);
	tcase_add_test(frames, accepted);
	tcase_add_test(frames, directions);
	tcase_add_test(frames, unknown_frame_flags);
	tcase_add_test(frames, frame_lengths);
	tcase_add_test(frames, payload_limits);
	tcase_add_test(frames, statuses);
	tcase_add_test(frames, body_lengths);
	tcase_add_test(frames, parts);
	tcase_add_test(frames, body_flags);
	tcase_add_test(frames, slots);
	tcase_add_test(frames, closed);
	suite_add_tcase(suite, frames);
	tcase_add_test(entries, names);
	tcase_add_test(entries, dirents);
	tcase_add_test(entries, dirent_refused);
	tcase_add_test(entries, dirlists);
	tcase_add_test(entries, smalls);
	suite_add_tcase(suite, entries);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

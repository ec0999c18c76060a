// SPDX-License-Identifier: GPL-2.0
/*
 * Frames from a stranger: one byte that says on which connection and from
 * whom, a header, a body, a payload. Whatever the checkers accept must be as
 * wire.h promises; whatever they refuse they must not read beyond.
 */
#include "../../kernel/shared/wire.c"

#define FUZZ_ROUNDS	500000
#include "fuzz.h"
#include "../frames.h"

static size_t put_dirents(struct rnd *r, u8 *buf, size_t cap)
{
	char name[ARCHIL_NAME_LEN], target[64];
	struct archil_dirent de;
	size_t end = 0, count = rnd_below(r, 8), len, target_len;

	while (count--) {
		len = rnd_len(r, 1, ARCHIL_NAME_LEN);
		rnd_name(r, name, len);
		rnd_bytes(r, &de, sizeof(de));
		de.cookie = cpu_to_le64(rnd_range(r, ARCHIL_COOKIE_FIRST, ARCHIL_COOKIE_MAX));
		target_len = rnd_one_in(r, 3) ? rnd_len(r, 1, sizeof(target)) : 0;
		rnd_bytes(r, target, target_len);
		if (target_len)
			de.attr.mode = cpu_to_le32(S_IFLNK | 0777);
		FUZZ_CHECK(!archil_dirent_put(buf, cap, &end, &de, name, len, target, target_len));
	}
	return end;
}

static size_t fuzz_valid(struct rnd *r, u8 *buf)
{
	static struct frame f;
	unsigned int op;
	size_t len = 0, payload;
	u32 body_len;

	do
		op = rnd_below(r, ARCHIL_OP_MAX);
	while (!archil_op_table[op].name);
	if (rnd_one_in(r, 4))
		op = ARCHIL_OP_READDIR;
	random_frame(r, &f, op, archil_op_table[op].flags & ARCHIL_IS_PUSH ? FRAME_REQUEST :
		     (enum frame_kind)rnd_below(r, 3));
	body_len = le32_to_cpu(f.hdr.body_len);
	payload = archil_payload_len(&f.hdr);
	if (payload > 256)
		payload = 256;

	buf[len++] = f.conn | f.from_server << 4;
	len += sizeof(f.hdr);
	memcpy(buf + len, f.body, body_len);
	len += body_len;
	if (payload && op == ARCHIL_OP_READDIR)
		payload = put_dirents(r, buf + len, 4096);
	else
		rnd_bytes(r, buf + len, payload);
	f.hdr.len = cpu_to_le32(sizeof(f.hdr) + body_len + payload);
	memcpy(buf + 1, &f.hdr, sizeof(f.hdr));
	return len + payload;
}

/* The promise of archil_body_check(), read back in another way: from the end. */
static void check_body(const struct archil_hdr *hdr, const u8 *body, u32 len)
{
	enum frame_kind kind = FRAME_REQUEST;
	const struct archil_var *var;
	size_t i, n;
	u32 sum;

	if (le16_to_cpu(hdr->flags) & ARCHIL_F_REPLY)
		kind = hdr->status ? FRAME_ERROR : FRAME_REPLY;
	if (kind == FRAME_ERROR && (!len || le32_to_cpu(hdr->status) == ARCHIL_ST_CLOSED))
		return;
	if (le16_to_cpu(hdr->op) == ARCHIL_OP_LOG && kind == FRAME_REQUEST) {
		struct archil_log_req req;

		memcpy(&req, body, sizeof(req));
		FUZZ_CHECK(!(le32_to_cpu(req.flags) & ~ARCHIL_LOG_MORE));
	}
	sum = frame_layout(&archil_op_table[le16_to_cpu(hdr->op)], kind, &var, &n);
	for (i = 0; i < n && var[i].max; i++) {
		u16 part = body[var[i].at] | body[var[i].at + 1] << 8;

		FUZZ_CHECK(part <= var[i].max);
		while (part--)
			FUZZ_CHECK(body[sum++]);
	}
	FUZZ_CHECK(sum == len);
}

static void check_dirents(const u8 *buf, size_t len)
{
	u8 *again = fuzz_copy(buf, len);
	size_t pos = 0, before = 0, end = 0;
	struct archil_dirent de;
	unsigned int name_len, target_len;
	const char *name;
	int ret;

	while ((ret = archil_dirent_next(buf, len, &pos, &de, &name, &name_len)) == 1) {
		FUZZ_CHECK(pos > before && pos <= len && pos % 8 == 0);
		target_len = le16_to_cpu(de.target_len);
		FUZZ_CHECK((const u8 *)name + name_len + target_len <= buf + pos);
		FUZZ_CHECK(!target_len || S_ISLNK(le32_to_cpu(de.attr.mode)));
		FUZZ_CHECK(archil_name_ok(name, name_len));
		memset(again + before, 0xff, pos - before);
		FUZZ_CHECK(!archil_dirent_put(again, len, &end, &de, name, name_len,
					      name + name_len, target_len));
		FUZZ_CHECK(end == pos);
		before = pos;
	}
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	FUZZ_CHECK(ret || pos == len);
	FUZZ_CHECK(pos == before);
	fuzz_copy_free(again, len);
}

static void check_dirlists(const u8 *buf, size_t len)
{
	size_t pos = 0, before = 0;
	struct archil_dirlist dl;
	const void *entries;
	int ret;

	while ((ret = archil_dirlist_next(buf, len, &pos, &dl, &entries)) == 1) {
		FUZZ_CHECK(pos > before && pos <= len);
		FUZZ_CHECK((const u8 *)entries == buf + before + sizeof(dl));
		FUZZ_CHECK((const u8 *)entries + le32_to_cpu(dl.len) == buf + pos);
		before = pos;
	}
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	FUZZ_CHECK(ret || pos == len);
}

static void check_smalls(const u8 *buf, size_t len)
{
	size_t pos = 0, before = 0;
	struct archil_small small;
	const void *data;
	int ret;

	while ((ret = archil_small_next(buf, len, &pos, &small, &data)) == 1) {
		FUZZ_CHECK(pos > before && pos <= len);
		FUZZ_CHECK((const u8 *)data + le32_to_cpu(small.len) <= buf + pos);
		FUZZ_CHECK(le32_to_cpu(small.len) <= le64_to_cpu(small.size));
		before = pos;
	}
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	FUZZ_CHECK(ret || pos == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archil_hdr hdr;
	u32 body_len;
	u8 *body;

	if (size < 1 + sizeof(hdr))
		return 0;
	memcpy(&hdr, data + 1, sizeof(hdr));
	if (archil_hdr_check(&hdr, data[0] & 0xf, data[0] >> 4))
		return 0;
	data += 1 + sizeof(hdr);
	size -= 1 + sizeof(hdr);
	body_len = le32_to_cpu(hdr.body_len);
	FUZZ_CHECK(body_len <= ARCHIL_BODY_MAX);
	FUZZ_CHECK(archil_payload_len(&hdr) <= ARCHIL_PAYLOAD_MAX);
	if (size < body_len)
		return 0;

	body = fuzz_copy(data, body_len);
	if (!archil_body_check(&hdr, body))
		check_body(&hdr, body, body_len);
	fuzz_copy_free(body, body_len);

	/* entries, whatever the header says of the payload's length */
	if (le16_to_cpu(hdr.op) == ARCHIL_OP_READDIR) {
		body = fuzz_copy(data + body_len, size - body_len);
		check_dirents(body, size - body_len);
		check_dirlists(body, size - body_len);
		fuzz_copy_free(body, size - body_len);
	}
	if (le16_to_cpu(hdr.op) == ARCHIL_OP_READ_SMALL) {
		body = fuzz_copy(data + body_len, size - body_len);
		check_smalls(body, size - body_len);
		fuzz_copy_free(body, size - body_len);
	}
	return 0;
}

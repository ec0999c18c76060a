// SPDX-License-Identifier: GPL-2.0
/*
 * The worked example of docs/protocol.md, spoken to a real server: a mount, a
 * file with contents, its fsync, a checkin. The LOG request is the one whose
 * bytes stand there; SHOW=1 prints it. Run from the top of the tree.
 */
#include "protoclient.h"

#define DOC	"docs/protocol.md"

static char doc[1 << 17];

/* The frame as the document shows it: 16 bytes a line, offset first. */
static void hexdump(char *out, size_t size, const unsigned char *p, size_t len)
{
	size_t at = 0, i;

	for (i = 0; i < len; i++) {
		if (i % 16 == 0)
			at += snprintf(out + at, size - at, "%04zx ", i);
		at += snprintf(out + at, size - at, " %02x", p[i]);
		if (i % 16 == 15 || i == len - 1)
			at += snprintf(out + at, size - at, "\n");
	}
}

START_TEST(worked_example)
{
	static const char contents[] = "hello, world\n";
	unsigned char frame[1024];
	char text[8192];
	struct client *cl = cl_new("web-1");
	struct archil_log_req req;
	struct archil_record rec;
	struct archil_hdr hdr;
	struct archil_wattr attr;
	uint32_t released, n = 2;
	size_t len = 0;
	uint64_t ino;

	/* an exclusive mount of the disk's root */
	ck_assert_uint_eq(cl_open(cl, "", 0), 0);
	ck_assert_uint_eq(cl->session, 1);
	ck_assert_uint_eq(cl->deleg, 1);
	ck_assert_uint_eq(cl->root_ino, ARCHIL_INO_ROOT);
	ck_assert_uint_eq(le64_to_cpu(cl->root.bytes), ARCHIL_COOKIE_FIRST);
	ck_assert_uint_eq(cl_bind(cl), 0);
	ino = cl_ino(cl);
	ck_assert_uint_eq(ino, 2);

	/* create and write(2), as records 1 and 2 */
	rec_create(&rec, ARCHIL_INO_ROOT, "hello", ino, ARCHIL_COOKIE_FIRST, S_IFREG | 0644);
	rec.time = rec.atime = rec.mtime = rec.ctime = rec.btime = pc_time(1700000000);
	cl_add(cl, &rec);
	rec_content(&rec, ino, 0, contents, strlen(contents));
	rec.time = pc_time(1700000001);
	cl_add(cl, &rec);

	/* fsync: send them, wait */
	req = (struct archil_log_req){
		.deleg = cpu_to_le64(cl->deleg),
		.first_seq = cpu_to_le64(1),
		.count = cpu_to_le32(n),
	};
	cl->data.tag = 0x10;
	archil_hdr_fill(&hdr, ARCHIL_OP_LOG, ARCHIL_F_URGENT, ++cl->data.tag, sizeof(req),
			cl->batch_len);
	memcpy(frame, &hdr, sizeof(hdr));
	len += sizeof(hdr);
	memcpy(frame + len, &req, sizeof(req));
	len += sizeof(req);
	memcpy(frame + len, cl->batch, cl->batch_len);
	len += cl->batch_len;
	hexdump(text, sizeof(text), frame, len);
	if (getenv("SHOW"))
		printf("%s", text);
	else
		ck_assert_msg(strstr(doc, text), "%s shows another frame than\n%s", DOC, text);
	pc_write(cl->data.fd, frame, len);
	ck_assert_uint_eq(pc_wait(&cl->data, cl->data.tag), 0);
	ck_assert_uint_eq(cl->data.in.body_len, sizeof(struct archil_log_rep));
	ck_assert_mem_eq(cl->data.in.body, "\2\0\0\0\0\0\0\0", 8);

	/* it is there, for anybody */
	ck_assert_uint_eq(cl_lookup(cl, ARCHIL_INO_ROOT, "hello", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.size), strlen(contents));
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), 1);
	cl_expect(cl, ino, 0, contents, strlen(contents));

	/* checkin; the log is closed at 2, so a repetition is told that */
	ck_assert_uint_eq(cl_checkin(cl, ARCHIL_INO_ROOT, &released), 0);
	ck_assert_uint_eq(released, 1);
	pc_write(cl->data.fd, frame, len);
	ck_assert_uint_eq(pc_wait(&cl->data, le64_to_cpu(hdr.tag)), ARCHIL_ST_CLOSED);
	ck_assert_mem_eq(cl->data.in.body, "\2\0\0\0\0\0\0\0", 8);
	cl_unmount(cl);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = { PS_TEST(worked_example), { NULL, NULL } };
	FILE *f = fopen(DOC, "r");

	if (!f) {
		printf("skip: no %s here: run me from the top of the tree\n", DOC);
		return 77;
	}
	doc[fread(doc, 1, sizeof(doc) - 1, f)] = 0;
	fclose(f);
	return ps_run("protocol", tests);
}

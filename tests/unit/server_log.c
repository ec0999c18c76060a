// SPDX-License-Identifier: GPL-2.0
/* What owners do: LOG, WRITE, and what others read of it; space. */
#include "protoclient.h"

#include "control.h"

static unsigned char *pattern(size_t len, unsigned int seed)
{
	unsigned char *buf = malloc(len);

	for (size_t i = 0; i < len; i++)
		buf[i] = (seed = seed * 1103515245 + 12345) >> 16;
	return buf;
}

static uint64_t change_of(struct client *cl, uint64_t ino)
{
	struct archil_wattr attr;

	ck_assert_uint_eq(cl_getattr(cl, ino, &attr), 0);
	return le64_to_cpu(attr.change);
}

/* ---- names ---- */

START_TEST(creates_are_seen_by_others)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t dir = cl_make(a, ARCHIL_INO_ROOT, "dir", 3, S_IFDIR | 0750);
	uint64_t file = cl_make(a, dir, "file", 3, S_IFREG | 0640);
	struct archil_wattr attr;

	ck_assert_uint_eq(cl_lookup(b, ARCHIL_INO_ROOT, "dir", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.ino), dir);
	ck_assert_uint_eq(le32_to_cpu(attr.mode), S_IFDIR | 0750);
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), 0);
	ck_assert(le32_to_cpu(attr.flags) & ARCHIL_AF_OTHER);
	ck_assert_uint_eq(cl_lookup(b, dir, "file", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.ino), file);
	ck_assert(le32_to_cpu(attr.flags) & ARCHIL_AF_OTHER);
	ck_assert_uint_ne(b->data.in.commit, 0);
	ck_assert_uint_eq(cl_lookup(b, dir, "none", &attr), ENOENT);
	ck_assert_uint_ne(b->data.in.commit, 0);
	ck_assert_uint_eq(cl_lookup(b, file, "x", &attr), ENOTDIR);
	ck_assert_uint_eq(cl_lookup(b, 12345, "x", &attr), ESTALE);
	ck_assert_uint_eq(cl_getattr(b, 12345, &attr), ESTALE);

	ck_assert_uint_eq(cl_lookup(a, dir, "file", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), a->deleg);
	ck_assert(!(le32_to_cpu(attr.flags) & ARCHIL_AF_OTHER));
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

START_TEST(listings_come_in_pages)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t dir = cl_make(a, ARCHIL_INO_ROOT, "dir", 3, S_IFDIR | 0755), cookie = 0;
	struct archil_readdir_req req = { .dir = cpu_to_le64(dir), .max = cpu_to_le32(4096) };
	struct archil_readdir_rep rep;
	struct archil_record rec;
	unsigned int seen = 0, pages = 0;

	for (int i = 0; i < 300; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%03d", i);
		rec_create(&rec, dir, name, cl_ino(a), 3 + i, S_IFREG | 0644);
		cl_add(a, &rec);
	}
	ck_assert_uint_eq(cl_log(a), 0);
	do {
		struct archil_dirent de;
		const char *name;
		unsigned int len;
		size_t pos = 0;

		req.cookie = cpu_to_le64(cookie);
		ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READDIR, &req, sizeof(req), NULL, 0),
				  0);
		memcpy(&rep, b->data.in.body, sizeof(rep));
		while (archil_dirent_next(b->data.in.payload, b->data.in.payload_len, &pos, &de,
					  &name, &len) > 0) {
			char want[16];

			snprintf(want, sizeof(want), "f%03d", seen++);
			ck_assert(len == strlen(want) && !memcmp(name, want, len));
			ck_assert_uint_gt(le64_to_cpu(de.cookie), cookie);
			cookie = le64_to_cpu(de.cookie);
			ck_assert(le32_to_cpu(de.attr.flags) & ARCHIL_AF_OTHER);
		}
		pages++;
	} while (!(le32_to_cpu(rep.flags) & ARCHIL_RD_EOF));
	ck_assert_uint_eq(seen, 300);
	ck_assert_uint_gt(pages, 3);
	req.max = cpu_to_le32(10);
	req.cookie = 0;
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READDIR, &req, sizeof(req), NULL, 0), EINVAL);
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

START_TEST(small_files_at_once)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	struct archil_read_small_req req = { .max = cpu_to_le32(65536) };
	struct archil_read_small_rep rep;
	struct archil_small small;
	struct archil_record rec;
	__le64 ino[ARCHIL_READ_SMALL_MAX + 1] = {};
	char text[32];
	const void *data;
	size_t pos = 0;
	unsigned int i;

	for (i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "f%u", i);
		ino[i] = cpu_to_le64(cl_make(a, ARCHIL_INO_ROOT, text, 3 + i, S_IFREG | 0644));
		rec_content(&rec, le64_to_cpu(ino[i]), 0, "some text, cut", 5 + i);
		ck_assert_uint_eq(cl_do(a, &rec), 0);
	}
	/* one with a hole at its end, one that is a directory, one that is not there */
	rec_size(&rec, le64_to_cpu(ino[9]), ARCHIL_SET_SIZE, 5000);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ino[10] = cpu_to_le64(ARCHIL_INO_ROOT);
	ino[11] = cpu_to_le64(1ull << 40);
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, 12 * 8), 0);
	memcpy(&rep, b->data.in.body, sizeof(rep));
	ck_assert_uint_eq(le32_to_cpu(rep.count), 12);
	for (i = 0; i < 12; i++) {
		ck_assert_int_eq(archil_small_next(b->data.in.payload, b->data.in.payload_len, &pos,
						   &small, &data), 1);
		ck_assert_uint_eq(le64_to_cpu(small.ino), le64_to_cpu(ino[i]));
		ck_assert_uint_eq(le32_to_cpu(small.status), i < 10 ? 0 : i == 10 ? EISDIR : ESTALE);
		if (i >= 10)
			continue;
		ck_assert_uint_eq(le32_to_cpu(small.len), 5 + i);
		ck_assert_uint_eq(le64_to_cpu(small.size), i < 9 ? 5 + i : 5000);
		ck_assert_uint_ne(le64_to_cpu(small.change), 0);
		ck_assert_mem_eq(data, "some text, cut", 5 + i);
	}
	ck_assert_uint_eq(pos, b->data.in.payload_len);
	/* as many as fit */
	req.max = cpu_to_le32(3 * (sizeof(small) + 8));
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, 12 * 8), 0);
	memcpy(&rep, b->data.in.body, sizeof(rep));
	ck_assert_uint_eq(le32_to_cpu(rep.count), 3);
	req.max = 0;
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, 12 * 8), 0);
	ck_assert_uint_eq(b->data.in.payload_len, 0);
	/* not asked rightly */
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), NULL, 0), EINVAL);
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, 12), EINVAL);
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, sizeof(ino)),
			  EINVAL);
	req.max = cpu_to_le32(UINT32_MAX);
	ck_assert_uint_eq(pc_call(&b->data, ARCHIL_OP_READ_SMALL, &req, sizeof(req), ino, 8), EINVAL);
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

START_TEST(symlinks_and_xattrs)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_ino(a);
	struct archil_record rec;
	struct archil_wattr attr;
	unsigned char body[64];
	struct archil_getxattr_req get = { .ino = cpu_to_le64(ino), .name_len = cpu_to_le16(6) };
	struct archil_listxattr_req list = { .ino = cpu_to_le64(ino) };

	rec_create(&rec, ARCHIL_INO_ROOT, "link", ino, 3, S_IFLNK | 0777);
	rec.data = "to/there";
	rec.data_len = 8;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert_uint_eq(cl_lookup(a, ARCHIL_INO_ROOT, "link", &attr), 0);
	ck_assert(!memcmp(a->data.in.body + sizeof(struct archil_attr_rep), "to/there", 8));
	rec_name(&rec, ARCHIL_REC_SETXATTR, 0, "user.x", ino);
	rec.data = "value";
	rec.data_len = 5;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	memcpy(body, &get, sizeof(get));
	memcpy(body + sizeof(get), "user.x", 6);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_GETXATTR, body, sizeof(get) + 6, NULL, 0), 0);
	ck_assert_uint_eq(a->data.in.payload_len, 5);
	ck_assert(!memcmp(a->data.in.payload, "value", 5));
	body[sizeof(get)] = 'v';
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_GETXATTR, body, sizeof(get) + 6, NULL, 0),
			  ENODATA);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_LISTXATTR, &list, sizeof(list), NULL, 0), 0);
	ck_assert_uint_eq(a->data.in.payload_len, 7);
	ck_assert(!memcmp(a->data.in.payload, "user.x", 7));
	cl_unmount(a);
}
END_TEST

/* ---- exactly once ---- */

static json_int_t stat_of(const char *key)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "session-list", "disk", "d");
	json_t *reply = control_request(ps_dir, request);
	json_int_t n = json_integer_value(json_object_get(json_object_get(reply, "stats"), key));

	json_decref(request);
	json_decref(reply);
	return n;
}

START_TEST(what_is_sent_again_is_applied_once)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_record rec;
	struct archil_log_rep rep;
	uint64_t first, ino;

	cl_make(a, ARCHIL_INO_ROOT, "one", 3, S_IFREG | 0644);
	ino = cl_ino(a);
	rec_create(&rec, ARCHIL_INO_ROOT, "two", ino, 4, S_IFREG | 0644);
	cl_add(a, &rec);
	rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, "two", ino);
	cl_add(a, &rec);
	first = a->seq + 1;
	/* applied, but the answer is lost, and so is the server */
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first)), 0);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first)), 0);
		memcpy(&rep, a->data.in.body, sizeof(rep));
		ck_assert_uint_eq(le64_to_cpu(rep.applied), first + 1);
	}
	ck_assert_int_eq(stat_of("suppressed"), 6);
	ck_assert_int_eq(stat_of("records"), 0);
	/* one of them known, one new: the batch was sealed anew after a reconnect */
	a->seq = first;
	rec_create(&rec, ARCHIL_INO_ROOT, "three", cl_ino(a), 5, S_IFREG | 0644);
	cl_add(a, &rec);
	a->batch_n = 3;
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first)), 0);
	memcpy(&rep, a->data.in.body, sizeof(rep));
	ck_assert_uint_eq(le64_to_cpu(rep.applied), first + 2);
	ck_assert_int_eq(stat_of("records"), 1);
	/* a gap, a count that lies, and no record at all */
	a->batch_len = a->batch_n = 0;
	rec_create(&rec, ARCHIL_INO_ROOT, "four", cl_ino(a), 6, S_IFREG | 0644);
	cl_add(a, &rec);
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first + 4)), EPROTO);
	a->batch_n = 2;
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first + 3)), EPROTO);
	a->batch_n = 0;
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first + 3)), EPROTO);
	a->batch_n = 1;
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, first + 3)), 0);
	cl_unmount(a);
}
END_TEST

START_TEST(batches_in_flight_keep_their_order)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t tags[50], inos[50];

	for (int i = 0; i < 50; i++)
		inos[i] = cl_ino(a);
	for (int i = 0; i < 50; i++) {
		a->batch_len = a->batch_n = 0;
		rec_create(&rec, ARCHIL_INO_ROOT, "same", inos[i], 3 + i, S_IFREG | 0644);
		cl_add(a, &rec);
		rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, "same", inos[i]);
		if (i < 49)
			cl_add(a, &rec);
		tags[i] = cl_log_send(a, 2 * i + 1);
	}
	for (int i = 0; i < 50; i++)
		ck_assert_uint_eq(pc_wait(&a->data, tags[i]), 0);
	ck_assert_uint_eq(cl_lookup(a, ARCHIL_INO_ROOT, "same", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.ino), inos[49]);
	cl_unmount(a);
}
END_TEST

/* A batch applies whole or not at all, and nothing outside of the delegation. */
START_TEST(records_that_do_not_fit_change_nothing)
{
	struct client *a = cl_mount("a", "", 0), *b;
	uint64_t x = cl_make(a, ARCHIL_INO_ROOT, "x", 3, S_IFDIR | 0755);
	uint64_t y = cl_make(a, ARCHIL_INO_ROOT, "y", 4, S_IFDIR | 0755);
	struct archil_record rec;
	struct archil_wattr attr;

	rec_create(&rec, x, "good", cl_ino(a), 3, S_IFREG | 0644);
	cl_add(a, &rec);
	rec_name(&rec, ARCHIL_REC_UNLINK, x, "missing", 77);
	cl_add(a, &rec);
	ck_assert_uint_eq(cl_log(a), EUCLEAN);
	ck_assert_uint_eq(cl_lookup(a, x, "good", &attr), ENOENT);
	cl_unmount(a);

	b = cl_mount("b", "x", 0);
	rec_create(&rec, y, "outside", cl_ino(b), 3, S_IFREG | 0644);
	ck_assert_uint_eq(cl_do(b, &rec), EUCLEAN);
	rec_size(&rec, y, ARCHIL_SET_MODE, 0);
	rec.mode = 0700;
	ck_assert_uint_eq(cl_do(b, &rec), EUCLEAN);
	cl_make(b, x, "inside", 3, S_IFREG | 0644);
	cl_unmount(b);
}
END_TEST

/* ---- contents ---- */

START_TEST(small_contents)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), change;
	struct archil_record rec;
	struct archil_read_rep rep;

	rec_content(&rec, ino, 0, "hello world", 11);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_expect(b, ino, 0, "hello world", 11);
	change = change_of(b, ino);
	rec_content(&rec, ino, 6, "there", 5);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_expect(b, ino, 0, "hello there", 11);
	ck_assert_uint_gt(change_of(b, ino), change);
	ck_assert_uint_eq(cl_read(b, ino, 6, 100, &rep), 0);
	ck_assert_uint_eq(b->data.in.payload_len, 5);
	ck_assert_uint_eq(le64_to_cpu(rep.size), 11);
	ck_assert_uint_eq(cl_read(b, ino, 100, 100, &rep), 0);
	ck_assert_uint_eq(b->data.in.payload_len, 0);
	ck_assert_uint_eq(cl_read(b, ARCHIL_INO_ROOT, 0, 100, &rep), EISDIR);
	ck_assert_uint_eq(cl_read(b, 9999, 0, 100, &rep), ESTALE);
	ck_assert_uint_eq(cl_read(b, ino, 0, ARCHIL_PAYLOAD_MAX + 1, &rep), EINVAL);
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

START_TEST(bulk_is_seen_with_its_size_and_not_before)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	size_t len = 300000;
	unsigned char *data = pattern(len, 1);
	struct archil_read_rep rep;
	struct archil_record rec;

	ck_assert_uint_eq(cl_write(a, ino, 0, data, len), 0);
	ck_assert_uint_eq(cl_read(b, ino, 0, len, &rep), 0);
	ck_assert_uint_eq(le64_to_cpu(rep.size), 0);
	ck_assert_uint_eq(b->data.in.payload_len, 0);
	/* but its owner may ask for it; nobody else */
	ck_assert_uint_eq(cl_read_flags(b, ino, 0, len, ARCHIL_READ_OWNER, &rep), 0);
	ck_assert_uint_eq(b->data.in.payload_len, 0);
	ck_assert_uint_eq(cl_read_flags(a, ino, 0, len, ARCHIL_READ_OWNER, &rep), 0);
	ck_assert_uint_eq(a->data.in.payload_len, len);
	ck_assert_uint_eq(le64_to_cpu(rep.size), 0);
	ck_assert(!memcmp(a->data.in.payload, data, len));

	rec_size(&rec, ino, ARCHIL_SET_SIZE_UP, len);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_expect(b, ino, 0, data, len);
	cl_expect(b, ino, 100000, data + 100000, 1234);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_expect(b, ino, 0, data, len);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
}
END_TEST

START_TEST(small_contents_move_to_bulk)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	unsigned char *data = pattern(50000, 2);
	struct archil_record rec;
	struct archil_wattr attr;

	rec_content(&rec, ino, 0, data, 10000);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_put(a, ino, 8192, data + 8192, 50000 - 8192);
	ck_assert_uint_eq(cl_getattr(b, ino, &attr), 0);
	ck_assert(le32_to_cpu(attr.flags) & ARCHIL_AF_BULK);
	cl_expect(b, ino, 0, data, 50000);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_expect(b, ino, 0, data, 50000);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
}
END_TEST

/* What an inode's data take, as others see it, when it lies between the two; waits for that. */
static bool takes(struct client *cl, uint64_t ino, uint64_t least, uint64_t most)
{
	struct archil_wattr attr;
	uint64_t bytes;

	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(cl_getattr(cl, ino, &attr), 0);
		bytes = le64_to_cpu(attr.bytes);
		if (bytes >= least && bytes <= most)
			return true;
		usleep(50000);
	}
	printf("takes %llu bytes\n", (unsigned long long)bytes);
	return false;
}

/* Of a sparse file what is there, not how long it is; also after a restart. */
START_TEST(space_is_counted)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	unsigned char *data = pattern(1 << 20, 6);
	struct archil_record rec;

	cl_put(a, ino, 0, data, 65536);
	cl_put(a, ino, 64 << 20, data, 1 << 20);
	ck_assert(takes(b, ino, (1 << 20) + 65536, 8 << 20));
	rec_size(&rec, ino, 0, 0);
	rec.type = ARCHIL_REC_PUNCH;
	rec.off = 64 << 20;
	rec.length = 1 << 20;
	rec.time = pc_time(5);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert(takes(b, ino, 65536, 512 << 10));
	/* counted before the server ends */
	cl_put(a, ino, 32 << 20, data, 1 << 20);
	ps_stop();
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	ck_assert(takes(b, ino, (1 << 20) + 65536, 8 << 20));
	ck_assert_uint_eq(cl_bind(a), 0);
	rec_size(&rec, ino, ARCHIL_SET_SIZE, 4096);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert(takes(b, ino, 4096, 8192));
	rec_size(&rec, ino, 0, 0);
	rec.type = ARCHIL_REC_ALLOC;
	rec.length = 2 << 20;
	rec.time = pc_time(6);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert(takes(b, ino, 2 << 20, 4 << 20));
	cl_unmount(b);
	cl_unmount(a);
	free(data);
}
END_TEST

/* Before bytes that somebody may have read are overwritten, the change number moves. */
START_TEST(overwriting_moves_the_change_number)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), change, commits;
	unsigned char *one = pattern(65536, 3), *two = pattern(65536, 4);
	struct archil_read_rep rep;

	cl_put(a, ino, 0, one, 65536);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(cl_read(b, ino, 0, 65536, &rep), 0);
		change = le64_to_cpu(rep.change);
		ck_assert(!memcmp(b->data.in.payload, i % 2 ? two : one, 65536));
		ck_assert_uint_eq(cl_write(a, ino, 0, i % 2 ? one : two, 65536), 0);
		ck_assert_uint_eq(cl_read(b, ino, 0, 65536, &rep), 0);
		ck_assert_uint_gt(le64_to_cpu(rep.change), change);
		ck_assert(!memcmp(b->data.in.payload, i % 2 ? one : two, 65536));
	}
	/* while nobody reads, writing on costs no commits; a GETATTR is no READ */
	ck_assert(takes(b, ino, 65536, 1 << 20));
	ck_assert_uint_eq(cl_write(a, ino, 0, one, 4096), 0);
	commits = stat_of("commits");
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(cl_write(a, ino, 4096 * i, one + 4096 * i, 4096), 0);
	ck_assert_uint_eq((uint64_t)stat_of("commits"), commits);
	cl_unmount(b);
	cl_unmount(a);
	free(one);
	free(two);
}
END_TEST

/* Cut and grown again: zeros, also when the server dies between. */
START_TEST(what_was_cut_reads_as_zeros)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	unsigned char *data = pattern(200000, 5), *want = calloc(1, 200000);
	struct archil_record rec;

	cl_put(a, ino, 0, data, 200000);
	rec_size(&rec, ino, ARCHIL_SET_SIZE, 1000);
	cl_add(a, &rec);
	rec_size(&rec, ino, ARCHIL_SET_SIZE, 200000);
	cl_add(a, &rec);
	ck_assert_uint_eq(cl_log(a), 0);
	memcpy(want, data, 1000);
	cl_expect(b, ino, 0, want, 200000);

	cl_put(a, ino, 100000, data, 50000);
	memcpy(want + 100000, data, 50000);
	rec_size(&rec, ino, 0, 0);
	rec.type = ARCHIL_REC_PUNCH;
	rec.off = 110000;
	rec.length = 20000;
	rec.time = pc_time(5);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ps_kill();
	memset(want + 110000, 0, 20000);
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	cl_expect(b, ino, 0, want, 200000);
	ck_assert_uint_eq(cl_bind(a), 0);
	/* a WRITE behind the cut is not lost to the cut being redone */
	rec_size(&rec, ino, ARCHIL_SET_SIZE, 50000);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_put(a, ino, 60000, data, 1000);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	memset(want + 50000, 0, 150000);
	memcpy(want + 60000, data, 1000);
	cl_expect(b, ino, 0, want, 61000);
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
	free(want);
}
END_TEST

START_TEST(a_write_waits_for_its_record)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_ino(a), tag, log;
	struct archil_record rec;
	char data[5000] = "after";

	rec_create(&rec, ARCHIL_INO_ROOT, "f", ino, 3, S_IFREG | 0644);
	cl_add(a, &rec);
	/* the WRITE overtakes the record that makes the file */
	a->seq = 1;
	tag = cl_write_send(a, ARCHIL_F_URGENT, ino, 0, data, sizeof(data));
	usleep(50000);
	log = cl_log_send(a, 1);
	ck_assert_uint_eq(pc_wait(&a->data, log), 0);
	ck_assert_uint_eq(pc_wait(&a->data, tag), 0);
	a->batch_len = a->batch_n = 0;
	rec_size(&rec, ino, ARCHIL_SET_SIZE_UP, sizeof(data));
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_expect(a, ino, 0, data, sizeof(data));
	/* one whose record never comes does not keep the connection's end */
	a->seq = 100;
	cl_write_send(a, 0, ino, 0, data, sizeof(data));
	pc_close(&a->data);
	a->seq = 2;
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_unmount(a);
}
END_TEST

/* ---- size and times behind a WRITE ---- */

static uint64_t grow_send(struct client *cl, uint64_t ino, uint64_t off, const void *data,
			  size_t len, uint64_t after, uint64_t secs)
{
	struct archil_write_req req = {
		.deleg = cpu_to_le64(cl->deleg), .ino = cpu_to_le64(ino), .off = cpu_to_le64(off),
		.after = cpu_to_le64(after),
		.size = cpu_to_le64(off + len), .mtime = pc_time(secs), .ctime = pc_time(secs + 1),
		.flags = cpu_to_le32(ARCHIL_WRITE_SIZE_UP | ARCHIL_WRITE_TIMES),
	};

	return pc_send(&cl->data, ARCHIL_OP_WRITE, ARCHIL_F_URGENT, &req, sizeof(req), data, len);
}

/* Did the WRITE bring them? */
static bool grown(struct client *cl, uint64_t tag)
{
	struct archil_write_rep rep;

	ck_assert_uint_eq(pc_wait(&cl->data, tag), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	return le32_to_cpu(rep.flags) & ARCHIL_WRITE_GROWN;
}

static void attr_is(struct client *cl, uint64_t ino, uint64_t size, uint64_t mtime, uint64_t ctime)
{
	struct archil_wattr attr;

	ck_assert_uint_eq(cl_getattr(cl, ino, &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.size), size);
	ck_assert_uint_eq(le64_to_cpu(attr.mtime.sec), mtime);
	ck_assert_uint_eq(le64_to_cpu(attr.ctime.sec), ctime);
}

START_TEST(a_write_brings_size_and_times)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), commits, change;
	unsigned char *data = pattern(40000, 7);
	struct archil_read_rep rep;

	ck_assert(grown(a, grow_send(a, ino, 0, data, 10000, a->seq, 50)));
	attr_is(b, ino, 10000, 50, 51);
	commits = stat_of("commits");
	ck_assert(grown(a, grow_send(a, ino, 10000, data + 10000, 10000, a->seq, 60)));
	ck_assert_uint_eq((uint64_t)stat_of("commits"), commits + 1);
	attr_is(b, ino, 20000, 60, 61);
	cl_expect(b, ino, 0, data, 20000);
	/* what was below the size is not made less */
	ck_assert(grown(a, grow_send(a, ino, 0, data, 100, a->seq, 70)));
	attr_is(b, ino, 20000, 70, 71);
	/* bytes that a reader has seen by such a size do not change under the same number */
	ck_assert_uint_eq(cl_read(b, ino, 0, 20000, &rep), 0);
	change = le64_to_cpu(rep.change);
	ck_assert_uint_eq(cl_write(a, ino, 15000, data, 1000), 0);
	ck_assert_uint_eq(cl_read(b, ino, 0, 20000, &rep), 0);
	ck_assert_uint_gt(le64_to_cpu(rep.change), change);
	memcpy(data + 15000, data, 1000);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(b), 0);
	attr_is(b, ino, 20000, 70, 71);
	cl_expect(b, ino, 0, data, 20000);
	ck_assert_uint_eq(cl_bind(a), 0);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
}
END_TEST

START_TEST(a_write_does_not_overtake_records)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), tag, log;
	unsigned char *data = pattern(5000, 8);
	struct archil_read_rep rep;
	uint32_t status[2];
	struct archil_record rec;

	cl_put(a, ino, 0, data, 5000);
	/* the log is further than the client knew */
	ck_assert(!grown(a, grow_send(a, ino, 5000, data, 5000, a->seq - 1, 50)));
	attr_is(b, ino, 5000, 1, 1);
	/* a record that comes while it is on its way has the last word, whoever is first */
	for (unsigned int i = 0; i < 100; i++) {
		tag = grow_send(a, ino, 5000, data, 5000, a->seq, 100 + i);
		usleep(i % 10 * 300);
		rec_size(&rec, ino, ARCHIL_SET_MTIME | ARCHIL_SET_CTIME | ARCHIL_SET_SIZE, 5000);
		rec.mtime = pc_time(1000 + i);
		rec.ctime = pc_time(2000 + i);
		cl_add(a, &rec);
		log = cl_log_send(a, a->seq + 1);
		pc_wait_both(&a->data, tag, &status[0], log, &status[1]);
		ck_assert_uint_eq(status[0], 0);
		ck_assert_uint_eq(status[1], 0);
		a->seq++;
		a->batch_len = a->batch_n = 0;
		attr_is(b, ino, 5000, 1000 + i, 2000 + i);
	}
	/* also where all are sent at once: which of them share a commit is not ours to say */
	for (unsigned int i = 0; i < 300; i++) {
		for (unsigned int k = 0; k < 4; k++) {
			if (k == 2) {
				grow_send(a, ino, 5000, data, 5000, a->seq, 5000 + i);
				continue;
			}
			rec_size(&rec, ino, ARCHIL_SET_MTIME | ARCHIL_SET_CTIME | ARCHIL_SET_SIZE, 5000);
			rec.mtime = pc_time(10000 + 4 * i + k);
			rec.ctime = pc_time(20000 + 4 * i + k);
			cl_add(a, &rec);
			cl_log_send(a, ++a->seq);
			a->batch_len = a->batch_n = 0;
		}
		for (unsigned int k = 0; k < 4; k++) {
			do {
				ck_assert(pc_next(&a->data));
			} while (pc_aside(&a->data));
			ck_assert_uint_eq(a->data.in.status, 0);
		}
		attr_is(b, ino, 5000, 10003 + 4 * i, 20003 + 4 * i);
		/* sometimes somebody has read what it goes over, and a commit comes before it */
		if (i % 2)
			ck_assert_uint_eq(cl_read(b, ino, 0, 5000, &rep), 0);
	}
	/* nor is it of another delegation's */
	cl_unmount(a);
	ck_assert_uint_eq(cl_checkout(b, ino, 0), 0);
	ck_assert(grown(b, grow_send(b, ino, 5000, data, 1000, b->seq, 50)));
	attr_is(b, ino, 6000, 50, 51);
	cl_unmount(b);
	free(data);
}
END_TEST

START_TEST(writes_without_hurry_are_flushed_together)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), tags[64];
	unsigned char *data = pattern(64 * 65536, 6);
	bool answered[64] = { 0 };
	struct archil_record rec;

	for (int i = 0; i < 64; i++)
		tags[i] = cl_write_send(a, 0, ino, i * 65536, data + i * 65536, 65536);
	for (int i = 0; i < 64; i++) {
		ck_assert(pc_next(&a->data));
		ck_assert_uint_eq(a->data.in.status, 0);
		for (int j = 0; j < 64; j++)
			if (tags[j] == a->data.in.tag)
				answered[j] = true;
	}
	for (int i = 0; i < 64; i++)
		ck_assert(answered[i]);
	rec_size(&rec, ino, ARCHIL_SET_SIZE_UP, 64 * 65536);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	for (int i = 0; i < 4; i++)
		cl_expect(a, ino, i << 20, data + (i << 20), 1 << 20);
	cl_unmount(a);
	free(data);
}
END_TEST

static uint32_t seek(struct client *cl, uint64_t ino, uint64_t off, int whence, uint64_t *out)
{
	struct archil_seek_req req = {
		.ino = cpu_to_le64(ino), .off = cpu_to_le64(off), .whence = cpu_to_le32(whence),
	};
	struct archil_seek_rep rep;
	uint32_t status = pc_call(&cl->data, ARCHIL_OP_SEEK, &req, sizeof(req), NULL, 0);

	if (!status) {
		memcpy(&rep, cl->data.in.body, sizeof(rep));
		*out = le64_to_cpu(rep.off);
	}
	return status;
}

START_TEST(holes_are_found)
{
	struct client *a = cl_mount("a", "", 0);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644), off;
	unsigned char *data = pattern(65536, 7);
	struct archil_record rec;

	cl_put(a, ino, 1 << 20, data, 65536);
	rec_size(&rec, ino, ARCHIL_SET_SIZE, 4 << 20);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert_uint_eq(seek(a, ino, 0, SEEK_DATA, &off), 0);
	ck_assert_uint_eq(off, 1 << 20);
	ck_assert_uint_eq(seek(a, ino, 0, SEEK_HOLE, &off), 0);
	ck_assert_uint_eq(off, 0);
	ck_assert_uint_eq(seek(a, ino, 1 << 20, SEEK_HOLE, &off), 0);
	ck_assert_uint_eq(off, (1 << 20) + 65536);
	ck_assert_uint_eq(seek(a, ino, 2 << 20, SEEK_DATA, &off), ENXIO);
	/* in whole blocks, as file systems do */
	cl_put(a, ino, 2 << 20, data, 100);
	ck_assert_uint_eq(seek(a, ino, 2 << 20, SEEK_HOLE, &off), 0);
	ck_assert_uint_eq(off, (2 << 20) + 4096);
	ck_assert_uint_eq(seek(a, ino, 4 << 20, SEEK_HOLE, &off), ENXIO);
	ck_assert_uint_eq(seek(a, ino, 0, 9, &off), EINVAL);
	cl_unmount(a);
	free(data);
}
END_TEST

/* Removed but open: its owner goes on; others read it until it is reaped. */
START_TEST(orphans)
{
	struct client *a = cl_mount("a", "", 0), *b = cl_mount("b", "", ARCHIL_OS_SHARED);
	uint64_t ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	unsigned char *data = pattern(50000, 8);
	struct archil_record rec;
	struct archil_wattr attr;

	cl_put(a, ino, 0, data, 50000);
	rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, "f", ino);
	rec.flags = ARCHIL_UNLINK_OPEN;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert_uint_eq(cl_lookup(b, ARCHIL_INO_ROOT, "f", &attr), ENOENT);
	ck_assert_uint_eq(cl_getattr(a, ino, &attr), 0);
	ck_assert(le32_to_cpu(attr.flags) & ARCHIL_AF_ORPHAN);
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), a->deleg);
	cl_expect(b, ino, 0, data, 50000);
	cl_put(a, ino, 50000, data, 1000);
	rec_size(&rec, ino, 0, 0);
	rec.type = ARCHIL_REC_RELEASE;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	cl_expect(b, ino, 0, data, 50000);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
}
END_TEST

START_TEST(released_orphans_are_reaped)
{
	struct client *a;
	struct archil_record rec;
	struct archil_wattr attr;
	char data[20000] = { 0 };
	uint64_t ino;

	ps_stop();
	ps_reap_ms = 0;
	ps_start();
	a = cl_mount("a", "", 0);
	ino = cl_make(a, ARCHIL_INO_ROOT, "f", 3, S_IFREG | 0644);
	cl_put(a, ino, 0, data, sizeof(data));
	rec_name(&rec, ARCHIL_REC_UNLINK, ARCHIL_INO_ROOT, "f", ino);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	for (int i = 0; cl_getattr(a, ino, &attr) != ESTALE; i++) {
		ck_assert_int_lt(i, 200);
		usleep(100000);
	}
	cl_unmount(a);
	ps_reap_ms = 600000;
}
END_TEST

/* ---- space and the rest ---- */

START_TEST(credit_and_statfs)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_credit_req req = { .have = cpu_to_le64(4096), .want = cpu_to_le64(1 << 20) };
	struct archil_statfs_rep st;
	struct archil_credit_rep rep;
	struct archil_log_rep log;
	struct archil_record rec;

	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, a->data.in.body, sizeof(rep));
	ck_assert_uint_gt(le64_to_cpu(rep.credit), 0);
	ck_assert_uint_le(le64_to_cpu(rep.credit), 1 << 20);
	/* a steady writer is given more than it uses, as long as there is room */
	rec_create(&rec, ARCHIL_INO_ROOT, "f", cl_ino(a), 3, S_IFREG | 0644);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	memcpy(&log, a->data.in.body, sizeof(log));
	ck_assert_uint_ge(le64_to_cpu(log.credit), archil_record_charge(&rec));

	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_STATFS, NULL, 0, NULL, 0), 0);
	memcpy(&st, a->data.in.body, sizeof(st));
	ck_assert_uint_gt(le64_to_cpu(st.total), 0);
	ck_assert_uint_le(le64_to_cpu(st.avail), le64_to_cpu(st.free));
	ck_assert_uint_eq(le64_to_cpu(st.files), 2);
	cl_unmount(a);
}
END_TEST

/* A client that says it holds a petabyte, first or later, takes nothing from another. */
START_TEST(credit_is_not_believed)
{
	struct client *liar = cl_mount("liar", "", ARCHIL_OS_SHARED);
	struct client *a = cl_mount("a", "", ARCHIL_OS_SHARED);
	struct archil_credit_req req = { .have = cpu_to_le64(1ull << 50) };
	struct archil_credit_rep rep;
	int i;

	for (i = 0; i < 2; i++)
		ck_assert_uint_eq(pc_call(&liar->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	req = (struct archil_credit_req){ .want = cpu_to_le64(1 << 20) };
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, a->data.in.body, sizeof(rep));
	ck_assert_uint_eq(le64_to_cpu(rep.credit), 1 << 20);
	cl_unmount(liar);
	cl_unmount(a);
}
END_TEST

/* What it was granted before the server's start it still has: it is not granted again. */
START_TEST(credit_outlives_the_server)
{
	struct client *a = cl_mount("a", "", 0);
	struct archil_credit_req req = { .want = cpu_to_le64(1ull << 40) };
	struct archil_credit_rep rep;
	struct archil_log_rep log;
	struct archil_record rec;
	uint64_t have;

	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, a->data.in.body, sizeof(rep));
	have = le64_to_cpu(rep.credit);
	ck_assert_uint_gt(have, 1 << 20);
	for (int i = 0; i < 3; i++) {
		ps_stop();
		ps_start();
		pc_close(&a->data);
		ck_assert_uint_eq(cl_bind_on(a, &a->data, 0), 0);
		req = (struct archil_credit_req){ .have = cpu_to_le64(have) };
		ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CREDIT, &req, sizeof(req), NULL, 0), 0);
		memcpy(&rep, a->data.in.body, sizeof(rep));
		ck_assert_uint_eq(le64_to_cpu(rep.credit), 0);
		rec_create(&rec, ARCHIL_INO_ROOT, "abc" + i, cl_ino(a), 3 + i, S_IFREG | 0644);
		ck_assert_uint_eq(cl_do(a, &rec), 0);
		memcpy(&log, a->data.in.body, sizeof(log));
		ck_assert_uint_le(le64_to_cpu(log.credit), archil_record_charge(&rec) + (1 << 20));
	}
	cl_unmount(a);
}
END_TEST

START_TEST(inode_numbers_are_given_once)
{
	struct client *a = cl_mount("a", "", ARCHIL_OS_SHARED);
	struct archil_inos_req req = { .want = cpu_to_le32(1000) };
	struct archil_inos_rep rep;
	uint64_t last = 0;

	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_INOS, &req, sizeof(req), NULL, 0), 0);
		memcpy(&rep, a->data.in.body, sizeof(rep));
		ck_assert_uint_gt(le64_to_cpu(rep.first), last);
		last = le64_to_cpu(rep.first) + le32_to_cpu(rep.count) - 1;
		if (i == 2) {
			ps_kill();
			ps_start();
			ck_assert_uint_eq(cl_bind(a), 0);
		}
	}
	req.want = 0;
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_INOS, &req, sizeof(req), NULL, 0), EINVAL);
	cl_unmount(a);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(creates_are_seen_by_others),
		PS_TEST(listings_come_in_pages),
		PS_TEST(small_files_at_once),
		PS_TEST(symlinks_and_xattrs),
		PS_TEST(what_is_sent_again_is_applied_once),
		PS_TEST(batches_in_flight_keep_their_order),
		PS_TEST(records_that_do_not_fit_change_nothing),
		PS_TEST(small_contents),
		PS_TEST(bulk_is_seen_with_its_size_and_not_before),
		PS_TEST(small_contents_move_to_bulk),
		PS_TEST(space_is_counted),
		PS_TEST(overwriting_moves_the_change_number),
		PS_TEST(what_was_cut_reads_as_zeros),
		PS_TEST(a_write_waits_for_its_record),
		PS_TEST(a_write_brings_size_and_times),
		PS_TEST(a_write_does_not_overtake_records),
		PS_TEST(writes_without_hurry_are_flushed_together),
		PS_TEST(holes_are_found),
		PS_TEST(orphans),
		PS_TEST(released_orphans_are_reaped),
		PS_TEST(credit_and_statfs),
		PS_TEST(credit_is_not_believed),
		PS_TEST(credit_outlives_the_server),
		PS_TEST(inode_numbers_are_given_once),
		{ }
	};

	return ps_run("server: log and data", tests);
}

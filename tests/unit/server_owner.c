// SPDX-License-Identifier: GPL-2.0
/* Who owns what: checkout, checkin, force, dynamic ownership, synchronous changes, slots. */
#include "protoclient.h"

/*
 *	/group/models	a directory with a file "m" in it
 *	/group/data	an empty directory
 *	/file		a small file
 */
struct tree {
	uint64_t group, models, data, m, file;
};

static struct tree make_tree(void)
{
	struct client *cl = cl_mount("maker", "", 0);
	struct archil_record rec;
	struct tree t;

	t.group = cl_make(cl, ARCHIL_INO_ROOT, "group", 3, S_IFDIR | 0755);
	t.models = cl_make(cl, t.group, "models", 3, S_IFDIR | 0755);
	t.data = cl_make(cl, t.group, "data", 4, S_IFDIR | 0755);
	t.m = cl_make(cl, t.models, "m", 3, S_IFREG | 0644);
	t.file = cl_make(cl, ARCHIL_INO_ROOT, "file", 4, S_IFREG | 0644);
	rec_content(&rec, t.file, 0, "contents", 8);
	ck_assert_uint_eq(cl_do(cl, &rec), 0);
	cl_unmount(cl);
	return t;
}

static struct client *shared(const char *id)
{
	return cl_mount(id, "", ARCHIL_OS_SHARED);
}

/* ---- checkout and checkin ---- */

START_TEST(ancestor_rule)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_grant_rep rep;
	struct archil_wattr attr;
	uint32_t n;

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	ck_assert_uint_eq(cl_checkout(b, t.models, 0), EBUSY);
	ck_assert_str_eq(pc_holder(&b->data), "a:/group/models");
	ck_assert_uint_eq(cl_checkout(b, t.group, 0), EBUSY);
	ck_assert_str_eq(pc_holder(&b->data), "a:/group/models");
	ck_assert_uint_eq(cl_checkout(b, ARCHIL_INO_ROOT, 0), EBUSY);
	ck_assert_uint_eq(cl_checkout(b, t.m, 0), EBUSY);
	ck_assert_uint_eq(cl_checkout(b, t.data, 0), 0);
	ck_assert_uint_eq(cl_lookup(a, t.group, "data", &attr), 0);
	ck_assert(le32_to_cpu(attr.flags) & ARCHIL_AF_OTHER);

	/* covered: through what */
	ck_assert_uint_eq(cl_grant(a, t.m, ARCHIL_ORIGIN_CHECKOUT, 0, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.grant.flags), ARCHIL_GF_COVERED);
	ck_assert_uint_eq(le64_to_cpu(rep.grant.number), a->deleg);
	ck_assert_uint_eq(le64_to_cpu(rep.grant.ino), t.models);
	ck_assert_uint_eq(le64_to_cpu(rep.attr.ino), t.m);

	/* a covered path is not checked in, a free one neither */
	ck_assert_uint_eq(cl_checkin(a, t.m, &n), EBUSY);
	ck_assert_str_eq(pc_holder(&a->data), "a:/group/models");
	ck_assert_uint_eq(cl_checkin(a, t.file, &n), ENOENT);
	ck_assert_uint_eq(cl_checkin(a, t.data, &n), ENOENT);
	ck_assert_uint_eq(cl_checkin(a, 99999, &n), ESTALE);
	ck_assert_uint_eq(cl_checkin(b, t.data, &n), 0);
	ck_assert_uint_eq(n, 1);
	/* what lies beneath is swallowed */
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	ck_assert_uint_eq(cl_checkout(a, t.group, 0), 0);
	ck_assert_uint_eq(cl_checkin(a, ARCHIL_INO_ROOT, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(cl_checkout(b, ARCHIL_INO_ROOT, 0), 0);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

/* Of the entries in @buf, as of each by itself. */
static unsigned int compare_owners(struct client *cl, const void *buf, size_t len)
{
	struct archil_wattr attr;
	struct archil_dirent de;
	unsigned int name_len, n = 0;
	const char *name;
	size_t pos = 0;

	for (; archil_dirent_next(buf, len, &pos, &de, &name, &name_len) > 0; n++) {
		ck_assert_uint_eq(cl_getattr(cl, le64_to_cpu(de.attr.ino), &attr), 0);
		ck_assert_uint_eq(le64_to_cpu(de.attr.deleg), le64_to_cpu(attr.deleg));
		ck_assert_uint_eq(le32_to_cpu(de.attr.flags), le32_to_cpu(attr.flags));
	}
	ck_assert_uint_eq(pos, len);
	return n;
}

static void compare_walk(struct client *cl, unsigned int want)
{
	struct archil_readdir_req req = {
		.dir = cpu_to_le64(ARCHIL_INO_ROOT),
		.top = cpu_to_le64(ARCHIL_INO_ROOT),
		.max = cpu_to_le32(65536),
		.ahead = cpu_to_le32(65536),
	};
	struct archil_readdir_rep rep;
	struct archil_dirlist dl;
	const void *entries;
	unsigned char *buf;
	unsigned int n;
	size_t len, pos;

	ck_assert_uint_eq(pc_call(&cl->data, ARCHIL_OP_READDIR, &req, sizeof(req), NULL, 0), 0);
	memcpy(&rep, cl->data.in.body, sizeof(rep));
	len = cl->data.in.payload_len;
	buf = memcpy(malloc(len), cl->data.in.payload, len);
	pos = le32_to_cpu(rep.len);
	n = compare_owners(cl, buf, pos);
	while (archil_dirlist_next(buf, len, &pos, &dl, &entries) > 0)
		n += compare_owners(cl, entries, le32_to_cpu(dl.len));
	ck_assert_uint_eq(n, want);
	free(buf);
}

START_TEST(listings_say_who_owns_what)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b"), *c = shared("c");
	struct archil_record rec;
	uint64_t sub;

	/* /group/models/sub/f, and models/m again as data/m */
	ck_assert_uint_eq(cl_checkout(c, ARCHIL_INO_ROOT, 0), 0);
	sub = cl_make(c, t.models, "sub", 20, S_IFDIR | 0755);
	cl_make(c, sub, "f", 3, S_IFREG | 0644);
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "m", t.m);
	rec.cookie = 20;
	ck_assert_uint_eq(cl_do(c, &rec), 0);
	compare_walk(c, 8);
	compare_walk(a, 8);
	ck_assert_uint_eq(cl_checkin(c, ARCHIL_INO_ROOT, NULL), 0);
	ck_assert_uint_eq(cl_checkout(a, sub, 0), 0);
	ck_assert_uint_eq(cl_checkout(b, t.data, 0), 0);
	compare_walk(a, 8);
	compare_walk(b, 8);
	compare_walk(c, 8);
	ck_assert_uint_eq(cl_checkout(b, t.m, 0), 0);
	compare_walk(a, 8);
	compare_walk(b, 8);
	cl_unmount(c);
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

START_TEST(a_checkin_releases_all_beneath)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	uint32_t n;

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	ck_assert_uint_eq(cl_checkout(a, t.file, 0), 0);
	ck_assert_uint_eq(cl_checkin(a, t.group, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(cl_checkout(b, t.group, 0), 0);
	ck_assert_uint_eq(cl_checkout(b, t.file, 0), EBUSY);
	cl_unmount(a);
	ck_assert_uint_eq(cl_checkout(b, t.file, 0), 0);
	cl_unmount(b);
}
END_TEST

START_TEST(a_closed_log_says_where)
{
	struct tree t = make_tree();
	struct client *a = shared("a");
	struct archil_record rec;
	struct archil_closed closed;
	uint64_t first, second, seq;

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	first = a->deleg;
	cl_make(a, t.models, "x", 4, S_IFREG | 0644);
	cl_make(a, t.models, "y", 5, S_IFREG | 0644);
	seq = a->seq;
	ck_assert_uint_eq(cl_checkin(a, t.models, NULL), 0);
	rec_create(&rec, t.models, "z", cl_ino(a), 6, S_IFREG | 0644);
	ck_assert_uint_eq(cl_do(a, &rec), ARCHIL_ST_CLOSED);
	memcpy(&closed, a->data.in.body, sizeof(closed));
	ck_assert_uint_eq(le64_to_cpu(closed.seq), seq);
	ck_assert_uint_eq(cl_write(a, t.m, 0, "x", 1), ARCHIL_ST_CLOSED);
	memcpy(&closed, a->data.in.body, sizeof(closed));
	ck_assert_uint_eq(le64_to_cpu(closed.seq), seq);
	/* also after a restart: a late batch is never taken for one under a force */
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(cl_do(a, &rec), ARCHIL_ST_CLOSED);
	/* the next number is another */
	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	second = a->deleg;
	ck_assert_uint_gt(second, first);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	/* one that never was ours */
	a->deleg = second + 1000;
	ck_assert_uint_eq(cl_do(a, &rec), ARCHIL_ST_TAKEN);
	ck_assert_uint_eq(cl_write(a, t.m, 0, "x", 1), ARCHIL_ST_TAKEN);
	cl_unmount(a);
}
END_TEST

START_TEST(what_cannot_be_checked_out)
{
	struct tree t = make_tree();
	struct client *a = cl_mount("a", "", 0), *ro;
	struct archil_grant_rep rep;
	uint64_t fifo = cl_make(a, ARCHIL_INO_ROOT, "fifo", 9, S_IFIFO | 0644);

	cl_unmount(a);
	a = shared("a");
	ck_assert_uint_eq(cl_checkout(a, fifo, 0), EINVAL);
	ck_assert_uint_eq(cl_checkout(a, 99999, 0), ESTALE);
	ck_assert_uint_eq(cl_grant(a, t.models, ARCHIL_ORIGIN_DYNAMIC, 0, &rep), EINVAL);
	ck_assert_uint_eq(cl_grant(a, t.models, 77, 0, &rep), EINVAL);
	ck_assert_uint_eq(cl_grant(a, t.m, ARCHIL_ORIGIN_DYNAMIC, 0, &rep), 0);
	ro = cl_mount("ro", "", ARCHIL_OS_RO);
	ck_assert_uint_eq(cl_checkout(ro, t.models, 0), EROFS);
	cl_unmount(ro);
	cl_unmount(a);
}
END_TEST

START_TEST(ownership_survives_a_restart)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	cl_make(a, t.models, "x", 4, S_IFREG | 0644);
	for (int i = 0; i < 2; i++) {
		if (i)
			ps_kill();
		else
			ps_stop();
		ps_start();
		ck_assert_uint_eq(cl_bind(a), 0);
		ck_assert_uint_eq(cl_bind(b), 0);
		ck_assert_uint_eq(cl_checkout(b, t.group, 0), EBUSY);
		ck_assert_str_eq(pc_holder(&b->data), "a:/group/models");
		cl_make(a, t.models, i ? "y" : "z", 5 + i, S_IFREG | 0644);
	}
	cl_unmount(b);
	cl_unmount(a);
}
END_TEST

/* ---- force ---- */

START_TEST(force_takes_whole_delegations)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_revoke revoke;
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t taken;

	ck_assert_uint_eq(cl_checkout(a, t.group, 0), 0);
	taken = a->deleg;
	cl_make(a, t.data, "durable", 3, S_IFREG | 0644);
	ck_assert_uint_eq(cl_checkout(b, t.models, ARCHIL_GR_FORCE), 0);
	memcpy(&revoke, pc_expect_push(&a->data, ARCHIL_OP_REVOKE), sizeof(revoke));
	ck_assert_uint_eq(le64_to_cpu(revoke.number), taken);
	memcpy(&revoke, pc_expect_push(&a->ctl, ARCHIL_OP_REVOKE), sizeof(revoke));
	ck_assert_uint_eq(le64_to_cpu(revoke.number), taken);

	rec_create(&rec, t.data, "late", cl_ino(a), 4, S_IFREG | 0644);
	ck_assert_uint_eq(cl_do(a, &rec), ARCHIL_ST_TAKEN);
	ck_assert_uint_eq(cl_write(a, t.m, 0, "x", 1), ARCHIL_ST_TAKEN);
	ck_assert_uint_eq(cl_lookup(b, t.data, "durable", &attr), 0);
	ck_assert_uint_eq(cl_lookup(b, t.data, "late", &attr), ENOENT);
	/* the rest of it is free now */
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	/* still taken, and said again, after a restart */
	ps_kill();
	ps_start();
	a->data.n_push = 0;
	ck_assert_uint_eq(cl_bind(a), 0);
	memcpy(&revoke, pc_expect_push(&a->data, ARCHIL_OP_REVOKE), sizeof(revoke));
	ck_assert_uint_eq(le64_to_cpu(revoke.number), taken);
	a->deleg = taken;
	ck_assert_uint_eq(cl_do(a, &rec), ARCHIL_ST_TAKEN);
	ck_assert_uint_eq(cl_bind(b), 0);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

START_TEST(mount_by_force)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *c = shared("c"), *b = cl_new("b");

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	ck_assert_uint_eq(cl_checkout(c, t.file, 0), 0);
	ck_assert_uint_eq(cl_open(b, "", 0), EBUSY);
	ck_assert_uint_eq(cl_open(b, "", ARCHIL_OS_FORCE), 0);
	ck_assert_uint_eq(cl_bind(b), 0);
	pc_expect_push(&a->data, ARCHIL_OP_REVOKE);
	pc_expect_push(&c->data, ARCHIL_OP_REVOKE);
	ck_assert_uint_eq(cl_checkout(a, t.models, 0), EBUSY);
	cl_make(b, t.models, "mine", 9, S_IFREG | 0644);
	cl_unmount(b);
	cl_unmount(a);
	cl_unmount(c);
}
END_TEST

/*
 * Data in flight when the place is taken: each WRITE is either answered as
 * durable and there, or refused; and after the grant nothing changes any more.
 */
START_TEST(force_in_the_middle_of_writes)
{
	enum { N = 200, SIZE = 16384 };
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	unsigned char *data = malloc(SIZE), *was = malloc(N * SIZE);
	struct archil_record rec;
	struct archil_read_rep rep;
	unsigned int taken = 0, done = 0;
	uint64_t tags[N];

	memset(data, 0xaa, SIZE);
	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(pc_wait(&a->data, cl_write_send(a, ARCHIL_F_URGENT, t.m, i * SIZE,
								  data, SIZE)), 0);
	rec_size(&rec, t.m, ARCHIL_SET_SIZE_UP, N * SIZE);
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	memset(data, 0xbb, SIZE);
	for (int i = 0; i < N; i++)
		tags[i] = cl_write_send(a, 0, t.m, i * SIZE, data, SIZE);
	ck_assert_uint_eq(cl_checkout(b, t.group, ARCHIL_GR_FORCE), 0);
	for (int i = 0; i < N; i += 50) {
		ck_assert_uint_eq(cl_read(b, t.m, i * SIZE, 50 * SIZE, &rep), 0);
		ck_assert_uint_eq(b->data.in.payload_len, 50 * SIZE);
		memcpy(was + i * SIZE, b->data.in.payload, 50 * SIZE);
	}
	for (int i = 0; i < N; i++) {
		int j;

		do
			ck_assert(pc_next(&a->data));
		while (pc_aside(&a->data));
		for (j = 0; tags[j] != a->data.in.tag; j++)
			ck_assert_int_lt(j, N - 1);
		if (a->data.in.status == ARCHIL_ST_TAKEN)
			taken++;
		else
			ck_assert_uint_eq(a->data.in.status, 0);
		if (!a->data.in.status) {
			done++;
			ck_assert_uint_eq(was[j * SIZE], 0xbb);
		}
	}
	ck_assert_uint_eq(taken + done, N);
	for (int i = 0; i < N; i += 50)
		cl_expect(b, t.m, i * SIZE, was + i * SIZE, 50 * SIZE);
	cl_unmount(b);
	cl_unmount(a);
	free(data);
	free(was);
}
END_TEST

/* What was written past the size and then lost never comes to light. */
START_TEST(lost_bytes_stay_lost)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	unsigned char *data = malloc(100000), *zeros = calloc(1, 100000);
	struct archil_record rec;

	memset(data, 0xcc, 100000);
	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	cl_put(a, t.m, 0, data, 1000);
	ck_assert_uint_eq(cl_write(a, t.m, 1000, data, 99000), 0);
	ck_assert_uint_eq(cl_checkout(b, t.models, ARCHIL_GR_FORCE), 0);
	rec_size(&rec, t.m, ARCHIL_SET_SIZE, 100000);
	ck_assert_uint_eq(cl_do(b, &rec), 0);
	memcpy(zeros, data, 1000);
	cl_expect(a, t.m, 0, zeros, 100000);
	/* and when the new owner writes there itself */
	ck_assert_uint_eq(cl_write(b, t.m, 150000, data, 10), 0);
	ck_assert_uint_eq(cl_checkout(a, t.models, ARCHIL_GR_FORCE), 0);
	cl_put(a, t.m, 199990, data, 10);
	cl_expect(b, t.m, 100000, zeros + 1000, 99000);
	cl_unmount(a);
	cl_unmount(b);
	free(data);
	free(zeros);
}
END_TEST

/* ---- dynamic ownership ---- */

START_TEST(creating_where_nobody_owns)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_change_rep rep;
	struct archil_record rec;
	uint64_t f = cl_ino(a), d = cl_ino(a), s = cl_ino(a), dir_change;

	rec_create(&rec, t.data, "f", f, 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &rep), 0);
	ck_assert_uint_ne(le64_to_cpu(rep.grant.number), 0);
	ck_assert_uint_eq(le64_to_cpu(rep.grant.ino), f);
	ck_assert_uint_eq(le32_to_cpu(rep.grant.origin), ARCHIL_ORIGIN_DYNAMIC);
	ck_assert_uint_eq(le64_to_cpu(rep.attr.ino), f);
	ck_assert_uint_eq(le64_to_cpu(rep.attr.deleg), le64_to_cpu(rep.grant.number));
	dir_change = le64_to_cpu(rep.dir_change);
	/* at once usable */
	a->deleg = le64_to_cpu(rep.grant.number);
	a->seq = 0;
	cl_put(a, f, 0, "dynamic", 7);
	cl_expect(b, f, 0, "dynamic", 7);

	rec_create(&rec, t.data, "f", cl_ino(b), 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(b, &rec, ARCHIL_CH_GRANT, &rep), EEXIST);
	rec_create(&rec, t.data, "d", d, 0, S_IFDIR | 0755);
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &rep), 0);
	ck_assert_uint_gt(le64_to_cpu(rep.dir_change), dir_change);
	a->deleg = le64_to_cpu(rep.grant.number);
	a->seq = 0;
	cl_make(a, d, "inside", 3, S_IFREG | 0644);
	rec_create(&rec, t.data, "s", s, 0, S_IFLNK | 0777);
	rec.data = "f";
	rec.data_len = 1;
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &rep), EINVAL);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), 0);
	ck_assert_uint_eq(le64_to_cpu(rep.grant.number), 0);
	/* others: not in there, and not out of the parent */
	rec_create(&rec, d, "mine", cl_ino(b), 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(b, &rec, ARCHIL_CH_GRANT, &rep), EBUSY);
	ck_assert_str_eq(pc_holder(&b->data), "a:/group/data/d");
	rec_name(&rec, ARCHIL_REC_UNLINK, t.data, "s", s);
	ck_assert_uint_eq(cl_change(b, &rec, 0, &rep), EROFS);
	rec_name(&rec, ARCHIL_REC_UNLINK, t.data, "none", s);
	ck_assert_uint_eq(cl_change(b, &rec, 0, &rep), ENOENT);
	/* where we own the directory, it belongs in the log */
	ck_assert_uint_eq(cl_checkout(b, t.models, 0), 0);
	rec_create(&rec, t.models, "covered", cl_ino(b), 100, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(b, &rec, ARCHIL_CH_GRANT, &rep), ESTALE);
	ck_assert_uint_eq(cl_change(b, &rec, 0, &rep), ESTALE);
	ck_assert_uint_eq(cl_do(b, &rec), 0);
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &rep), EEXIST);
	cl_unmount(a);
	ck_assert_uint_eq(cl_checkout(b, t.data, 0), 0);
	cl_unmount(b);
}
END_TEST

/* What the client did not know of when it drained is not closed under it. */
START_TEST(only_what_is_known_is_closed)
{
	struct tree t = make_tree();
	struct client *a = shared("a");
	struct archil_grant_req grant = {
		.ino = cpu_to_le64(t.group), .origin = cpu_to_le32(ARCHIL_ORIGIN_CHECKOUT),
	};
	struct archil_checkin_req checkin = { .ino = cpu_to_le64(t.group) };
	uint64_t number;

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	number = a->deleg;
	grant.slot = cl_slot(a, 0);
	grant.known = cpu_to_le64(number - 1);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_GRANT, &grant, sizeof(grant), NULL, 0), EAGAIN);
	checkin.slot = cl_slot(a, 0);
	checkin.known = cpu_to_le64(number - 1);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CHECKIN, &checkin, sizeof(checkin), NULL, 0),
			  EAGAIN);
	checkin.slot = cl_slot(a, 0);
	checkin.known = cpu_to_le64(number);
	ck_assert_uint_eq(pc_call(&a->data, ARCHIL_OP_CHECKIN, &checkin, sizeof(checkin), NULL, 0), 0);
	cl_unmount(a);
}
END_TEST

START_TEST(one_wins_the_race_for_a_name)
{
	struct tree t = make_tree();
	struct client *cl[2] = { shared("a"), shared("b") };

	for (int i = 0; i < 100; i++) {
		struct archil_record rec[2];
		uint64_t tags[2];
		unsigned int won = 0;
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		for (int j = 0; j < 2; j++) {
			struct archil_change_req req;
			unsigned char buf[512];
			size_t len = 0;

			rec_create(&rec[j], t.data, name, cl_ino(cl[j]), 0, S_IFREG | 0644);
			ck_assert_int_eq(archil_record_put(buf, sizeof(buf), &len, &rec[j]), 0);
			req = (struct archil_change_req){
				.slot = cl_slot(cl[j], 1), .flags = cpu_to_le32(ARCHIL_CH_GRANT),
			};
			tags[j] = pc_send(&cl[j]->data, ARCHIL_OP_CHANGE, 0, &req, sizeof(req), buf,
					  len);
		}
		for (int j = 0; j < 2; j++) {
			uint32_t status = pc_wait(&cl[j]->data, tags[j]);

			ck_assert(!status || status == EEXIST);
			won += !status;
		}
		ck_assert_uint_eq(won, 1);
	}
	cl_unmount(cl[0]);
	cl_unmount(cl[1]);
}
END_TEST

/* ---- links and renames across delegations ---- */

START_TEST(links_from_outside_are_told)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_change_rep rep;
	struct archil_notify notify;
	struct archil_record rec;
	struct archil_wattr attr;

	/* a second link, made by somebody who owns both places */
	ck_assert_uint_eq(cl_checkout(a, t.group, 0), 0);
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "l", t.m);
	rec.cookie = 3;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert_uint_eq(cl_checkin(a, t.group, NULL), 0);

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	ck_assert_uint_eq(cl_checkout(b, t.data, 0), 0);
	/* the target is another's */
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "l2", t.m);
	ck_assert_uint_eq(cl_change(b, &rec, 0, &rep), EBUSY);
	ck_assert_str_eq(pc_holder(&b->data), "a:/group/models");
	/* but removing a link needs the directory only */
	rec_name(&rec, ARCHIL_REC_UNLINK, t.data, "l", t.m);
	ck_assert_uint_eq(cl_change(b, &rec, 0, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.attr.nlink), 1);
	memcpy(&notify, pc_expect_push(&a->data, ARCHIL_OP_NOTIFY), sizeof(notify));
	ck_assert_uint_eq(le64_to_cpu(notify.attr.ino), t.m);
	ck_assert_uint_eq(le32_to_cpu(notify.attr.nlink), 1);
	/* once more on a new connection: the old one may have broken before it arrived */
	a->data.n_push = 0;
	ck_assert_uint_eq(cl_bind(a), 0);
	memcpy(&notify, pc_expect_push(&a->data, ARCHIL_OP_NOTIFY), sizeof(notify));
	ck_assert_uint_eq(le64_to_cpu(notify.attr.ino), t.m);

	/* who changes it has the answer, and is not told */
	ck_assert_uint_eq(cl_checkin(b, t.data, NULL), 0);
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "l3", t.m);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.attr.nlink), 2);
	a->data.n_push = 0;
	rec_name(&rec, ARCHIL_REC_UNLINK, t.data, "l3", t.m);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.attr.nlink), 1);
	ck_assert_uint_eq(cl_lookup(a, t.data, "l3", &attr), ENOENT);
	ck_assert_int_eq(a->data.n_push, 0);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

START_TEST(renames_across)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_change_rep rep;
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t models, data;

	rec_name(&rec, ARCHIL_REC_RENAME, t.models, "m", t.m);
	rec.new_dir = t.data;
	rec.new_name = "moved";
	rec.new_name_len = 5;
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), EROFS);
	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	models = a->deleg;
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), EROFS);
	ck_assert_uint_eq(cl_checkout(b, t.data, 0), 0);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), EBUSY);
	ck_assert_str_eq(pc_holder(&a->data), "b:/group/data");
	ck_assert_uint_eq(cl_checkin(b, t.data, NULL), 0);
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	data = a->deleg;
	a->deleg = models;
	ck_assert_uint_eq(cl_write(a, t.m, 0, "models", 6), 0);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), 0);
	ck_assert_uint_ne(le64_to_cpu(rep.dir_change), 0);
	ck_assert_uint_ne(le64_to_cpu(rep.old_dir_change), 0);
	ck_assert_uint_eq(le64_to_cpu(rep.attr.deleg), data);
	ck_assert_uint_eq(cl_lookup(b, t.data, "moved", &attr), 0);
	/* it is under the other one now, and no longer under this */
	ck_assert_uint_eq(cl_write(a, t.m, 0, "models", 6), ESTALE);
	a->deleg = data;
	ck_assert_uint_eq(cl_write(a, t.m, 0, "data", 4), 0);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

/* ---- slots ---- */

START_TEST(a_repeated_change_is_answered_again)
{
	struct tree t = make_tree();
	struct client *a = shared("a");
	struct archil_change_rep first, again;
	struct archil_record rec;
	struct archil_grant_rep grant;

	rec_create(&rec, t.data, "once", cl_ino(a), 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &first), 0);
	for (int i = 0; i < 2; i++) {
		a->slot_seq[0]--;
		ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &again), 0);
		ck_assert(!memcmp(&first, &again, sizeof(first)));
		ps_kill();
		ps_start();
		ck_assert_uint_eq(cl_bind(a), 0);
	}
	/* a failure too */
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &again), EEXIST);
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "other", 1);
	a->slot_seq[0]--;
	ck_assert_uint_eq(cl_change(a, &rec, 0, &again), EEXIST);
	/* neither the next nor the last */
	a->slot_seq[0] += 5;
	ck_assert_uint_eq(cl_change(a, &rec, 0, &again), ARCHIL_ST_BAD_SEQ);
	a->slot_seq[0] -= 6;
	ck_assert_uint_eq(cl_grant(a, t.file, ARCHIL_ORIGIN_DYNAMIC, 0, &grant), 0);
	/* on the control connection as well: the slots are the session's */
	a->slot_seq[0]--;
	{
		struct archil_grant_req req = {
			.slot = cl_slot(a, 0), .ino = cpu_to_le64(t.file),
			.origin = cpu_to_le32(ARCHIL_ORIGIN_DYNAMIC),
		};

		ck_assert_uint_eq(cl_resume(a), 0);
		ck_assert_uint_eq(pc_call(&a->ctl, ARCHIL_OP_GRANT, &req, sizeof(req), NULL, 0), 0);
		ck_assert(!memcmp(a->ctl.in.body, &grant, sizeof(grant)));
	}
	cl_unmount(a);
}
END_TEST

/* ---- orphans and the ends of delegations ---- */

START_TEST(an_open_orphan_outlives_the_checkin)
{
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	struct archil_record rec;
	struct archil_wattr attr;

	ck_assert_uint_eq(cl_checkout(a, t.models, 0), 0);
	rec_name(&rec, ARCHIL_REC_UNLINK, t.models, "m", t.m);
	rec.flags = ARCHIL_UNLINK_OPEN;
	ck_assert_uint_eq(cl_do(a, &rec), 0);
	ck_assert_uint_eq(cl_checkin(a, t.models, NULL), 0);
	ck_assert_uint_eq(cl_getattr(a, t.m, &attr), 0);
	ck_assert_uint_ne(le64_to_cpu(attr.deleg), 0);
	ck_assert_uint_ne(le64_to_cpu(attr.deleg), a->deleg);
	ck_assert_uint_eq(cl_getattr(b, t.m, &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), 0);
	/* a force on the place no longer concerns it */
	ck_assert_uint_eq(cl_checkout(b, ARCHIL_INO_ROOT, ARCHIL_GR_FORCE), 0);
	ps_kill();
	ps_start();
	ck_assert_uint_eq(cl_bind(a), 0);
	ck_assert_uint_eq(cl_bind(b), 0);
	ck_assert_uint_eq(cl_getattr(a, t.m, &attr), 0);
	a->deleg = le64_to_cpu(attr.deleg);
	a->seq = 0;
	cl_put(a, t.m, 0, "still here", 10);
	cl_expect(a, t.m, 0, "still here", 10);
	rec_size(&rec, t.m, 0, 0);
	rec.type = ARCHIL_REC_RELEASE;
	cl_add(a, &rec);
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, a->seq + 1)), 0);
	/* the answer was lost: it is closed, at that record */
	ck_assert_uint_eq(pc_wait(&a->data, cl_log_send(a, a->seq + 1)), ARCHIL_ST_CLOSED);
	cl_unmount(a);
	cl_unmount(b);
}
END_TEST

START_TEST(tmpfile_and_linkat)
{
	struct tree t = make_tree();
	struct client *a = shared("a");
	struct archil_change_rep rep;
	struct archil_record rec;
	struct archil_wattr attr;
	uint64_t ino = cl_ino(a), tmp;

	rec_create(&rec, t.data, "", ino, 0, S_IFREG | 0600);
	rec.flags = ARCHIL_CREATE_TMPFILE;
	ck_assert_uint_eq(cl_change(a, &rec, ARCHIL_CH_GRANT, &rep), 0);
	tmp = le64_to_cpu(rep.grant.number);
	ck_assert_uint_ne(tmp, 0);
	a->deleg = tmp;
	a->seq = 0;
	cl_put(a, ino, 0, "temporary", 9);
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	rec_name(&rec, ARCHIL_REC_LINK, t.data, "named", ino);
	ck_assert_uint_eq(cl_change(a, &rec, 0, &rep), 0);
	ck_assert_uint_eq(le64_to_cpu(rep.attr.deleg), a->deleg);
	ck_assert_uint_eq(cl_lookup(a, t.data, "named", &attr), 0);
	ck_assert_uint_eq(le64_to_cpu(attr.ino), ino);
	ck_assert_uint_eq(le64_to_cpu(attr.deleg), a->deleg);
	ck_assert(!(le32_to_cpu(attr.flags) & ARCHIL_AF_ORPHAN));
	cl_put(a, ino, 9, " no more", 8);
	cl_expect(a, ino, 0, "temporary no more", 17);
	a->deleg = tmp;
	ck_assert_uint_eq(cl_write(a, ino, 0, "x", 1), ARCHIL_ST_CLOSED);
	cl_unmount(a);
}
END_TEST

START_TEST(a_read_only_session_changes_nothing)
{
	struct tree t = make_tree();
	struct client *ro = cl_mount("ro", "", ARCHIL_OS_RO), *a = shared("a");
	struct archil_inos_req inos = { .want = cpu_to_le32(1) };
	struct archil_change_rep rep;
	struct archil_record rec;

	ck_assert_uint_eq(pc_call(&ro->data, ARCHIL_OP_INOS, &inos, sizeof(inos), NULL, 0), EROFS);
	rec_create(&rec, t.data, "x", 100, 0, S_IFREG | 0644);
	ck_assert_uint_eq(cl_change(ro, &rec, ARCHIL_CH_GRANT, &rep), EROFS);
	ck_assert_uint_eq(cl_checkout(a, t.data, 0), 0);
	ro->deleg = a->deleg;
	ck_assert_uint_eq(cl_do(ro, &rec), ARCHIL_ST_TAKEN);
	cl_expect(ro, t.file, 0, "contents", 8);
	cl_unmount(ro);
	cl_unmount(a);
}
END_TEST

/* A session with so many delegations that ending it takes several commits. */
START_TEST(ending_a_large_session)
{
	enum { N = 6000 };
	struct tree t = make_tree();
	struct client *a = shared("a"), *b = shared("b");
	uint64_t tags[ARCHIL_SLOTS];

	for (int i = 0; i < N; i++) {
		struct archil_change_req req;
		struct archil_record rec;
		unsigned char buf[512];
		size_t len = 0;
		char name[16];
		uint64_t ino;

		if (i % ARCHIL_SLOTS == 0 && a->inos_end - a->inos < ARCHIL_SLOTS)
			a->inos = a->inos_end;
		ino = cl_ino(a);
		snprintf(name, sizeof(name), "f%d", i);
		rec_create(&rec, t.data, name, ino, 0, S_IFREG | 0644);
		ck_assert_int_eq(archil_record_put(buf, sizeof(buf), &len, &rec), 0);
		req = (struct archil_change_req){
			.slot = cl_slot(a, i % ARCHIL_SLOTS), .flags = cpu_to_le32(ARCHIL_CH_GRANT),
		};
		tags[i % ARCHIL_SLOTS] = pc_send(&a->data, ARCHIL_OP_CHANGE, 0, &req, sizeof(req),
						 buf, len);
		if (i % ARCHIL_SLOTS == ARCHIL_SLOTS - 1)
			for (int j = 0; j < ARCHIL_SLOTS; j++)
				ck_assert_uint_eq(pc_wait(&a->data, tags[j]), 0);
	}
	for (int j = 0; j < N % ARCHIL_SLOTS; j++)
		ck_assert_uint_eq(pc_wait(&a->data, tags[j]), 0);
	ck_assert_uint_eq(cl_checkout(b, ARCHIL_INO_ROOT, 0), EBUSY);
	cl_unmount(a);
	ck_assert_uint_eq(cl_checkout(b, ARCHIL_INO_ROOT, 0), 0);
	cl_unmount(b);
}
END_TEST

int main(void)
{
	const struct ps_test tests[] = {
		PS_TEST(ancestor_rule),
		PS_TEST(listings_say_who_owns_what),
		PS_TEST(a_checkin_releases_all_beneath),
		PS_TEST(a_closed_log_says_where),
		PS_TEST(what_cannot_be_checked_out),
		PS_TEST(ownership_survives_a_restart),
		PS_TEST(force_takes_whole_delegations),
		PS_TEST(mount_by_force),
		PS_TEST(force_in_the_middle_of_writes),
		PS_TEST(lost_bytes_stay_lost),
		PS_TEST(creating_where_nobody_owns),
		PS_TEST(only_what_is_known_is_closed),
		PS_TEST(one_wins_the_race_for_a_name),
		PS_TEST(links_from_outside_are_told),
		PS_TEST(renames_across),
		PS_TEST(a_repeated_change_is_answered_again),
		PS_TEST(an_open_orphan_outlives_the_checkin),
		PS_TEST(tmpfile_and_linkat),
		PS_TEST(a_read_only_session_changes_nothing),
		PS_TEST(ending_a_large_session),
		{ }
	};

	return ps_run("server: ownership", tests);
}

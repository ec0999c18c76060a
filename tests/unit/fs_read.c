// SPDX-License-Identifier: GPL-2.0
/* Views, listings, paths; and the records of sessions. */
#include "fs_disk.h"

START_TEST(views_are_one_commit_each)
{
	struct fs_view *before = fs_view_get(fs), *same, *after;
	struct archil_attr_rep rep;

	same = fs_view_get(fs);
	ck_assert_ptr_eq(before, same);
	fs_view_put(same);
	begin();
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(1, "f", 10)), 0);
	ck_assert_int_eq(fs_lookup(fs_txn_view(txn), 1, "f", 1, &rep, NULL), 0);
	same = fs_view_get(fs);
	ck_assert_int_eq(fs_lookup(same, 1, "f", 1, &rep, NULL), -ENOENT);
	fs_view_put(same);
	end();
	after = fs_view_get(fs);
	ck_assert_int_eq(fs_lookup(before, 1, "f", 1, &rep, NULL), -ENOENT);
	ck_assert_int_eq(fs_lookup(after, 1, "f", 1, &rep, NULL), 0);
	ck_assert_uint_eq(fs_view_commit(after), fs_view_commit(before) + 1);
	ck_assert_uint_eq(fs_view_commit(after), le64_to_cpu(rep.attr.change));
	ck_assert_uint_eq(fs_view_commit(after), le64_to_cpu(rep.dir_change));
	fs_view_put(before);
	fs_view_put(after);
}
END_TEST

START_TEST(paths_and_chains)
{
	struct fs_chain chain = {};
	struct fs_view *view;
	char buf[64], small[12];
	u64 ino;

	MUST(DIR_AT(1, "group", 2));
	MUST(DIR_AT(2, "models", 3));
	MUST(FILE_AT(3, "f", 4));
	MUST(FILE_AT(3, "gone", 5));
	MUST(UNLINK_AT(3, "gone", 5, 0));
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_path(view, 4, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/group/models/f");
	ck_assert_int_eq(fs_path(view, 1, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/");
	ck_assert_int_eq(fs_path(view, 5, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "(removed)");
	ck_assert_int_eq(fs_path(view, 900, buf, sizeof(buf)), -ESTALE);
	ck_assert_int_eq(fs_path(view, 4, small, sizeof(small)), 0);
	ck_assert_str_eq(small, ".../f");
	ck_assert_int_eq(fs_path(view, 3, buf, 13), 0);
	ck_assert_str_eq(buf, ".../models");
	ck_assert_int_eq(fs_path(view, 3, buf, 14), 0);
	ck_assert_str_eq(buf, "/group/models");

	ck_assert_int_eq(fs_resolve(view, "", 0, &ino), 0);
	ck_assert_uint_eq(ino, 1);
	ck_assert_int_eq(fs_resolve(view, "/group//models/", 15, &ino), 0);
	ck_assert_uint_eq(ino, 3);
	ck_assert_int_eq(fs_resolve(view, "group/x", 7, &ino), -ENOENT);
	ck_assert_int_eq(fs_resolve(view, "group/models/f/x", 16, &ino), -ENOTDIR);
	ck_assert_int_eq(fs_resolve(view, "group/..", 8, &ino), -EINVAL);

	ck_assert_int_eq(fs_chain(view, 4, &chain), 0);
	ck_assert_uint_eq(chain.n, 4);
	ck_assert_uint_eq(chain.ino[0], 1);
	ck_assert_uint_eq(chain.ino[3], 4);
	ck_assert_int_eq(fs_chain(view, 900, &chain), -ESTALE);
	fs_chain_free(&chain);
	fs_view_put(view);
}
END_TEST

static void own(void *ctx, struct archil_wattr *attr)
{
	attr->deleg = cpu_to_le64(le64_to_cpu(attr->ino) + *(u64 *)ctx);
}

static int list_dir(struct fs_view *view, u64 dir, u64 cookie, struct fs_list *list,
		    struct archil_readdir_rep *rep)
{
	struct archil_readdir_req req = { .dir = cpu_to_le64(dir), .cookie = cpu_to_le64(cookie) };

	return fs_readdir(view, &req, list, rep);
}

START_TEST(listings_and_xattrs)
{
	struct archil_readdir_rep rep;
	struct archil_dirent de;
	struct fs_view *view;
	unsigned int name_len;
	u64 add = 1000, out, size;
	size_t len, pos = 0;
	const char *name;
	char buf[1024];
	struct fs_list list = { .buf = buf, .owner = own, .ctx = &add };

	MUST(FILE_AT(1, "first", 10));
	MUST(FILE_AT(1, "second", 11));
	MUST(XATTR(10, "user.a", "value"));
	MUST(XATTR(10, "user.b", ""));
	view = fs_view_get(fs);
	list.cap = 160;
	ck_assert_int_eq(list_dir(view, 1, 0, &list, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.count), 1);
	ck_assert_uint_eq(le32_to_cpu(rep.flags), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.len), list.len);
	ck_assert_int_eq(archil_dirent_next(buf, list.len, &pos, &de, &name, &name_len), 1);
	ck_assert_uint_eq(le64_to_cpu(de.attr.deleg), 1010);
	ck_assert(name_len == 5 && !memcmp(name, "first", 5));
	list.cap = sizeof(buf);
	list.owner = NULL;
	ck_assert_int_eq(list_dir(view, 1, le64_to_cpu(de.cookie), &list, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.count), 1);
	ck_assert_uint_eq(le32_to_cpu(rep.flags), ARCHIL_RD_EOF);
	ck_assert_int_eq(list_dir(view, 1, UINT64_MAX, &list, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.flags), ARCHIL_RD_EOF);
	ck_assert_uint_eq(list.len, 0);
	list.cap = 100;
	ck_assert_int_eq(list_dir(view, 1, 0, &list, &rep), -EINVAL);
	ck_assert_int_eq(list_dir(view, 10, 0, &list, &rep), -ENOTDIR);

	ck_assert_int_eq(fs_getxattr(view, 10, "user.a", 6, buf, 4, &len), -ERANGE);
	ck_assert_int_eq(fs_getxattr(view, 10, "user.a", 6, buf, 5, &len), 0);
	ck_assert_uint_eq(len, 5);
	ck_assert_int_eq(fs_getxattr(view, 10, "user.c", 6, buf, 5, &len), -ENODATA);
	ck_assert_int_eq(fs_getxattr(view, 11, "user.a", 6, buf, 5, &len), -ENODATA);
	ck_assert_int_eq(fs_listxattr(view, 10, buf, 13, &len), -E2BIG);
	ck_assert_int_eq(fs_listxattr(view, 10, buf, 14, &len), 0);
	ck_assert(len == 14 && !memcmp(buf, "user.a\0user.b", 14));

	ck_assert_int_eq(fs_seek(view, 10, 0, 3, &out, &size), -ENXIO);
	ck_assert_int_eq(fs_seek(view, 10, 0, 5, &out, &size), -EINVAL);
	ck_assert_int_eq(fs_seek(view, 1, 0, 3, &out, &size), -EINVAL);
	fs_view_put(view);
}
END_TEST

/* A file goes back and forth between two names: each view has it under one of them. */
static bool stop;

static void *look(void *arg)
{
	struct archil_attr_rep rep;
	struct fs_view *view;
	u64 last = 0;
	int a, b;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		view = fs_view_get(fs);
		a = fs_lookup(view, 2, "x", 1, &rep, NULL);
		b = fs_lookup(view, 3, "x", 1, &rep, NULL);
		if (!a == !b || fs_view_commit(view) < last)
			return "torn";
		last = fs_view_commit(view);
		fs_view_put(view);
	}
	return NULL;
}

START_TEST(readers_run_beside_the_committer)
{
	pthread_t thread[2];
	void *said;

	MUST(DIR_AT(1, "a", 2));
	MUST(DIR_AT(1, "b", 3));
	MUST(FILE_AT(2, "x", 4));
	stop = false;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, look, NULL), 0);
	for (int i = 0; i < 300; i++) {
		MUST(RENAME_AT(2, "x", 4, 3, "x", 0, 0));
		MUST(RENAME_AT(3, "x", 4, 2, "x", 0, 0));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], &said);
		ck_assert_msg(!said, "%s", (char *)said);
	}
}
END_TEST

/* ---- records of sessions ---- */

static int take_session(void *ctx, const struct fs_session *session)
{
	struct fs_session *out = ctx;

	out[session->id] = *session;
	return 0;
}

static int take_slot(void *ctx, u32 slot, u32 seq, const void *reply, size_t len)
{
	ck_assert_uint_eq(slot, 63);
	ck_assert_uint_eq(seq, 8);
	ck_assert(len == 5 && !memcmp(reply, "again", 5));
	++*(int *)ctx;
	return 0;
}

static int count_tombs(void *ctx, const struct fs_tomb *tomb)
{
	++*(int *)ctx;
	return 0;
}

START_TEST(sessions_slots_tombstones)
{
	struct fs_session session = { .root = 1, .opened = 5, .flags = ARCHIL_OS_RO,
				      .client = "web-2" }, got[8] = { 0 };
	struct fs_deleg deleg;
	struct fs_view *view;
	int n = 0;

	memset(session.mount, 7, sizeof(session.mount));
	begin();
	session.id = fs_alloc_session(txn);
	ck_assert_int_eq(fs_session_put(txn, &session), 0);
	ck_assert_int_eq(fs_slot_put(txn, session.id, 63, 7, "once", 4), 0);
	ck_assert_int_eq(fs_slot_put(txn, session.id, 63, 8, "again", 5), 0);
	ck_assert_int_eq(fs_slot_put(txn, session.id, 64, 1, "", 0), -EINVAL);
	end();
	deleg = grant(1);
	close_deleg(deleg.number, FS_CLOSED);
	disk_reopen();
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_sessions_each(view, take_session, got), 0);
	ck_assert(!memcmp(&got[session.id], &session, sizeof(session)));
	ck_assert_int_eq(fs_slots_each(view, session.id, take_slot, &n), 0);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(fs_slots_each(view, session.id + 1, take_slot, &n), 0);
	ck_assert_int_eq(fs_tombs_each(view, count_tombs, &n), 0);
	ck_assert_int_eq(n, 2);
	fs_view_put(view);
	ck_assert_int_eq(check_disk(), 0);

	begin();
	ck_assert_int_eq(fs_tomb_del(txn, deleg.number), 0);
	ck_assert_int_eq(fs_session_del(txn, session.id), 0);
	ck_assert_int_eq(fs_session_del(txn, deleg.session), 0);
	end();
	view = fs_view_get(fs);
	n = 0;
	memset(got, 0, sizeof(got));
	ck_assert_int_eq(fs_sessions_each(view, take_session, got), 0);
	ck_assert_int_eq(fs_slots_each(view, session.id, take_slot, &n), 0);
	ck_assert_int_eq(fs_tombs_each(view, count_tombs, &n), 0);
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got[session.id].id, 0);
	fs_view_put(view);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_read");

	tcase_add_test(tc, views_are_one_commit_each);
	tcase_add_test(tc, paths_and_chains);
	tcase_add_test(tc, listings_and_xattrs);
	tcase_add_test(tc, readers_run_beside_the_committer);
	tcase_add_test(tc, sessions_slots_tombstones);
	return run_disk_tests(tc, "fs_read");
}

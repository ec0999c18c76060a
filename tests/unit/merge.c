// SPDX-License-Identifier: GPL-2.0
/*
 * Merge rule 10 at the server: a file that was open when it was removed, and is
 * closed in the same batch, is as one that was not open.
 */
#include "fs_disk.h"

static struct fs_inode inode_of(u64 ino)
{
	struct fs_view *view = fs_view_get(fs);
	struct fs_inode in;

	ck_assert_int_eq(fs_inode_read(view, ino, &in), 0);
	fs_view_put(view);
	return in;
}

/* Two inodes that differ in nothing but their numbers. */
static void same_inode(u64 a, u64 b)
{
	struct fs_inode x = inode_of(a), y = inode_of(b);

	ck_assert_uint_eq(x.flags & ARCHIL_AF_ORPHAN, ARCHIL_AF_ORPHAN);
	ck_assert_uint_eq(x.orphan_of, 0);
	ck_assert_uint_eq(x.released, now);
	ck_assert_uint_eq(x.orphan_of, y.orphan_of);
	ck_assert_uint_eq(x.released, y.released);
	ck_assert_uint_eq(x.change, y.change);
	ck_assert_uint_eq(x.flags, y.flags);
	ck_assert_uint_eq(x.nlink, y.nlink);
	ck_assert_uint_eq(x.parent, y.parent);
	ck_assert_uint_eq(x.cookie, y.cookie);
	ck_assert_mem_eq(&x.ctime, &y.ctime, sizeof(x.ctime));
	ck_assert_mem_eq(&x.mtime, &y.mtime, sizeof(x.mtime));
}

static void log_all(struct fs_deleg *deleg, const struct archil_record *const *recs, u32 n)
{
	struct fs_log_result lr;

	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_in(deleg, recs, n, &lr), 0);
	ck_assert_uint_eq(lr.ended, 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
}

static struct fs_deleg two_files(const char *a, const char *b)
{
	struct fs_deleg deleg;

	MUST(DIR_AT(1, "d", 2));
	deleg = grant(2);
	LOG(&deleg, FILE_AT(2, a, 10));
	LOG(&deleg, FILE_AT(2, b, 11));
	return deleg;
}

START_TEST(an_unlinked_file_that_is_closed)
{
	struct fs_deleg deleg = two_files("a", "b");
	const struct archil_record *const recs[] = {
		UNLINK_AT(2, "a", 10, ARCHIL_UNLINK_OPEN), RELEASE(10),
		UNLINK_AT(2, "b", 11, 0),
	};

	log_all(&deleg, recs, ARRAY_SIZE(recs));
	same_inode(10, 11);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(a_file_of_two_links_that_is_closed)
{
	struct fs_deleg deleg = two_files("a", "b");
	const struct archil_record *const recs[] = {
		UNLINK_AT(2, "a", 10, ARCHIL_UNLINK_OPEN),
		UNLINK_AT(2, "a2", 10, ARCHIL_UNLINK_OPEN), RELEASE(10),
		UNLINK_AT(2, "b", 11, ARCHIL_UNLINK_OPEN),
		UNLINK_AT(2, "b2", 11, 0),
	};

	LOG(&deleg, LINK_AT(2, "a2", 10));
	LOG(&deleg, LINK_AT(2, "b2", 11));
	log_all(&deleg, recs, ARRAY_SIZE(recs));
	same_inode(10, 11);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(a_replaced_file_that_is_closed)
{
	struct fs_deleg deleg = two_files("a", "b");
	struct archil_record one = *RENAME_AT(2, "c", 12, 2, "a", 10, ARCHIL_RENAME_OPEN);
	struct archil_record two = *RENAME_AT(2, "e", 13, 2, "b", 11, 0);
	const struct archil_record *const recs[] = { &one, RELEASE(10), &two };

	LOG(&deleg, FILE_AT(2, "c", 12));
	LOG(&deleg, FILE_AT(2, "e", 13));
	one.cookie = inode_of(2).next_cookie;
	two.cookie = one.cookie + 1;
	log_all(&deleg, recs, ARRAY_SIZE(recs));
	same_inode(10, 11);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("rule 10");

	tcase_add_test(tc, an_unlinked_file_that_is_closed);
	tcase_add_test(tc, a_file_of_two_links_that_is_closed);
	tcase_add_test(tc, a_replaced_file_that_is_closed);
	return run_disk_tests(tc, "merge");
}

// SPDX-License-Identifier: GPL-2.0
/* Changing the namespace of a disk, rule by rule; tests/model/apply.c has the rest. */
#include "fs_disk.h"

START_TEST(a_disk_is_formatted_once)
{
	struct scram_verifier verifier = { .salt = { 7 } };
	struct fs_disk_info info;
	struct fs_view *view;
	__le32 version = cpu_to_le32(FS_FORMAT_VERSION + 1);
	struct store_batch *batch;

	ck_assert_int_eq(fs_format(store, &verifier, now), -EEXIST);
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_disk_info(view, &info), 0);
	fs_view_put(view);
	ck_assert_uint_eq(info.verifier.salt[0], 1);
	ck_assert_uint_eq(info.created, NOW);
	ck_assert_uint_eq(info.inodes, 1);
	ck_assert_uint_eq(info.next_ino, 1002);

	begin();
	ck_assert_int_eq(fs_set_verifier(txn, &verifier), 0);
	end();
	disk_reopen();
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_disk_info(view, &info), 0);
	fs_view_put(view);
	ck_assert(!memcmp(&info.verifier, &verifier, sizeof(verifier)));
	ck_assert_uint_eq(info.created, NOW);

	fs_close(fs);
	batch = store_batch_new(store);
	ck_assert_int_eq(store_batch_put(batch, "D", 1, &version, sizeof(version)), 0);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	ck_assert_int_eq(fs_open(store, &fs), -EPROTONOSUPPORT);
	ck_assert_int_eq(store_batch_delete(batch, "D", 1), 0);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	store_batch_free(batch);
	ck_assert_int_eq(fs_open(store, &fs), -ENOENT);
	fs = NULL;
}
END_TEST

/* Whether the store is asked, or what is remembered of numbers that were handed out. */
START_TEST(an_inode_number_is_used_once)
{
	const u64 used[] = { 500, 300, 301, 5, 1003, 1002 };
	u64 first;

	MUST(FILE_AT(1, "a", 500));
	MUST(FILE_AT(1, "b", 300));
	MUST(FILE_AT(1, "b5", 5));
	ck_assert_int_eq(change(FILE_AT(1, "x", 500)), -EUCLEAN);
	ck_assert_int_eq(change(FILE_AT(1, "x", 300)), -EUCLEAN);
	disk_reopen();
	ck_assert_int_eq(change(FILE_AT(1, "x", 500)), -EUCLEAN);
	ck_assert_int_eq(change(FILE_AT(1, "x", 300)), -EUCLEAN);
	ck_assert_int_eq(change(FILE_AT(1, "x", 5)), -EUCLEAN);
	MUST(FILE_AT(1, "c", 301));
	/* these begin in the middle of a block of which nothing is known any more */
	begin();
	ck_assert_int_eq(fs_alloc_inos(txn, 100, &first), 0);
	ck_assert_uint_eq(first, 1002);
	end();
	begin();
	ck_assert_int_eq(fs_apply(txn, &anyone, FILE_AT(1, "d", 1003), &res), 0);
	fs_batch_abort(txn);
	fs_batch_begin(txn);
	end();
	MUST(FILE_AT(1, "d", 1003));
	MUST(FILE_AT(1, "e", 1002));
	for (size_t i = 0; i < ARRAY_SIZE(used); i++)
		ck_assert_int_eq(change(FILE_AT(1, "x", used[i])), -EUCLEAN);
	ck_assert_int_eq(change(FILE_AT(1, "x", 1102)), -EUCLEAN);
	MUST(FILE_AT(1, "x", 1101));
}
END_TEST

START_TEST(a_name_is_there_once_in_a_directory_without_committed_names)
{
	begin();
	ck_assert_int_eq(apply_as(&anyone, DIR_AT(1, "d", 2)), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f", 3)), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f", 4)), -EEXIST);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "g", 3, 0)), -ENOENT);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "f", 3, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f", 5)), 0);
	end();
	ck_assert_int_eq(change(FILE_AT(2, "f", 6)), -EEXIST);
	MUST(FILE_AT(2, "g", 6));
	ck_assert_int_eq(change(FILE_AT(2, "g", 7)), -EEXIST);
	/* one that is empty now, and one that was when the transaction began */
	MUST(UNLINK_AT(2, "f", 5, 0));
	MUST(UNLINK_AT(2, "g", 6, 0));
	begin();
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f", 8)), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f", 9)), -EEXIST);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "f", 8, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "f", 8, 0)), -ENOENT);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "g", 9)), 0);
	end();
	begin();
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "g", 9, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "g", 9, 0)), -ENOENT);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "g", 10)), 0);
	end();
}
END_TEST

enum { MANY = 200 };

static const char *numbered(unsigned int n)
{
	static char name[8];

	snprintf(name, sizeof(name), "f%03u", n);
	return name;
}

static int unlink_numbered(unsigned int n, u64 ino)
{
	return apply_as(&anyone, UNLINK_AT(2, numbered(n), ino, 0));
}

/* What the committer has read ahead is not what it finds changed by itself. */
START_TEST(a_directory_is_emptied_in_order)
{
	unsigned int i;

	begin();
	ck_assert_int_eq(apply_as(&anyone, DIR_AT(1, "d", 2)), 0);
	for (i = 0; i < MANY; i++)
		ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, numbered(i), 10 + i)), 0);
	end();
	disk_reopen();
	begin();
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(unlink_numbered(i, 10 + i), 0);
	ck_assert_int_eq(unlink_numbered(9, 19), -ENOENT);
	ck_assert_int_eq(apply_as(&anyone, RENAME_AT(2, "f020", 30, 2, "g020", 0, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f021", 300)), -EEXIST);
	ck_assert_int_eq(apply_as(&anyone, RENAME_AT(2, "f024", 34, 2, "f023", 33, 0)), 0);
	ck_assert_int_eq(unlink_numbered(22, 32), 0);
	ck_assert_int_eq(apply_as(&anyone, FILE_AT(2, "f022", 300)), 0);
	for (; i < 20; i++)
		ck_assert_int_eq(unlink_numbered(i, 10 + i), 0);
	ck_assert_int_eq(unlink_numbered(20, 30), -ENOENT);
	ck_assert_int_eq(unlink_numbered(21, 31), 0);
	ck_assert_int_eq(unlink_numbered(22, 32), -ESTALE);
	ck_assert_int_eq(unlink_numbered(22, 300), 0);
	ck_assert_int_eq(unlink_numbered(23, 33), -ESTALE);
	ck_assert_int_eq(unlink_numbered(23, 34), 0);
	ck_assert_int_eq(unlink_numbered(24, 34), -ENOENT);
	/* undone */
	ck_assert_int_eq(fs_apply(txn, &anyone, UNLINK_AT(2, "f025", 35, 0), &res), 0);
	fs_batch_abort(txn);
	fs_batch_begin(txn);
	ck_assert_int_eq(unlink_numbered(25, 35), 0);
	for (i = 26; i < 30; i++)
		ck_assert_int_eq(unlink_numbered(i, 10 + i), 0);
	end();
	/* committed meanwhile */
	MUST(RENAME_AT(2, "f031", 41, 2, "g031", 0, 0));
	begin();
	ck_assert_int_eq(unlink_numbered(30, 40), 0);
	ck_assert_int_eq(unlink_numbered(31, 41), -ENOENT);
	for (i = 32; i < MANY; i++)
		ck_assert_int_eq(unlink_numbered(i, 10 + i), 0);
	ck_assert_int_eq(unlink_numbered(MANY, 10 + i), -ENOENT);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(1, "d", 2, 0)), -ENOTEMPTY);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "g020", 30, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(2, "g031", 41, 0)), 0);
	ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(1, "d", 2, 0)), 0);
	end();
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

/* ---- the errnos of a synchronous change ---- */

static void make_tree(void)
{
	MUST(DIR_AT(1, "d", 2));
	MUST(DIR_AT(2, "sub", 3));
	MUST(FILE_AT(1, "f", 4));
	MUST(DIR_AT(1, "empty", 5));
	MUST(FILE_AT(3, "g", 6));
	MUST(CREATE_AT(1, "s", 7, S_IFLNK | 0777, .data = "f", .data_len = 1));
	MUST(DIR_AT(1, "gone", 8));
	MUST(UNLINK_AT(1, "gone", 8, 0));
	MUST(FILE_AT(1, "was", 9));
	MUST(UNLINK_AT(1, "was", 9, 0));
}

START_TEST(errnos_come_in_the_order_of_the_vfs)
{
	make_tree();
	const struct {
		const struct archil_record *rec;
		int err;
	} t[] = {
		{ FILE_AT(900, "x", 20), -ESTALE },
		{ FILE_AT(4, "x", 20), -ENOTDIR },
		{ FILE_AT(1, "f", 20), -EEXIST },
		{ FILE_AT(8, "x", 20), -ENOENT },
		{ FILE_AT(1, "x", 4), -EUCLEAN },
		{ FILE_AT(1, "x", 9), -EUCLEAN },
		{ FILE_AT(1, "x", 1), -EUCLEAN },
		{ FILE_AT(1, "x", 1002), -EUCLEAN },
		{ CREATE_AT(1, "", 20, S_IFDIR, .flags = ARCHIL_CREATE_TMPFILE), -EINVAL },
		{ LINK_AT(1, "x", 900), -ESTALE },
		{ LINK_AT(1, "f", 4), -EEXIST },
		{ LINK_AT(1, "x", 2), -EPERM },
		{ LINK_AT(1, "x", 9), -ENOENT },
		{ LINK_AT(4, "x", 4), -ENOTDIR },
		{ LINK_AT(8, "x", 4), -ENOENT },
		{ UNLINK_AT(1, "x", 4, 0), -ENOENT },
		{ UNLINK_AT(1, "f", 5, 0), -ESTALE },
		{ UNLINK_AT(1, "d", 2, 0), -ENOTEMPTY },
		{ RENAME_AT(1, "x", 4, 2, "y", 0, 0), -ENOENT },
		{ RENAME_AT(1, "f", 5, 2, "y", 0, 0), -ESTALE },
		{ RENAME_AT(1, "f", 4, 8, "y", 0, 0), -ENOENT },
		{ RENAME_AT(1, "f", 4, 2, "sub", 0, 0), -EEXIST },
		{ RENAME_AT(1, "f", 4, 2, "y", 3, 0), -ESTALE },
		{ RENAME_AT(1, "f", 4, 2, "sub", 5, 0), -ESTALE },
		{ RENAME_AT(1, "f", 4, 2, "sub", 3, 0), -EISDIR },
		{ RENAME_AT(1, "d", 2, 1, "f", 4, 0), -ENOTDIR },
		{ RENAME_AT(1, "d", 2, 2, "x", 0, 0), -EINVAL },
		{ RENAME_AT(1, "d", 2, 3, "x", 0, 0), -EINVAL },
		{ RENAME_AT(2, "sub", 3, 1, "d", 2, 0), -ENOTEMPTY },
		{ RENAME_AT(1, "empty", 5, 1, "d", 2, 0), -ENOTEMPTY },
		{ RENAME_AT(2, "sub", 3, 1, "d", 2, ARCHIL_RENAME_EXCHANGE), -EINVAL },
		{ RENAME_AT(1, "d", 2, 2, "sub", 3, ARCHIL_RENAME_EXCHANGE), -EINVAL },
		{ RENAME_AT(1, "f", 4, 2, "y", 3, ARCHIL_RENAME_EXCHANGE), -ENOENT },
		{ SIZE(900, 0), -ESTALE },
		{ SIZE(2, 0), -EISDIR },
		{ SIZE(7, 0), -EINVAL },
		{ CONTENT(2, "x"), -EISDIR },
		{ PUNCH(7, 0, 1), -EINVAL },
		{ RMXATTR(4, "user.x"), -ENODATA },
		{ RELEASE(4), -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		ck_assert_msg(change(t[i].rec) == t[i].err, "%zu: %s: not %d", i,
			      archil_record_name(t[i].rec->type), t[i].err);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

/* What the callback is asked, and what it answers. */
struct asked {
	int n;
	u64 ino[4];
	enum fs_touch what[4];
	int answer[4];
};

static int may_asked(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	struct asked *asked = ctx;
	int i = asked->n++;

	ck_assert_int_lt(i, 4);
	ck_assert_uint_eq(place->chain[place->n - 1], place->ino);
	asked->ino[i] = place->ino;
	asked->what[i] = what;
	return asked->answer[i];
}

static int ask(struct asked *asked, const struct archil_record *rec)
{
	struct fs_who who = { .may = may_asked, .ctx = asked };
	int err;

	asked->n = 0;
	begin();
	err = apply_as(&who, rec);
	end();
	return err;
}

START_TEST(ownership_is_asked_after_names_and_before_the_rest)
{
	struct asked asked = { .answer = { -EROFS, -EBUSY } };

	make_tree();
	ck_assert_int_eq(ask(&asked, RENAME_AT(1, "empty", 5, 2, "x", 0, 0)), -EBUSY);
	ck_assert_int_eq(asked.n, 2);
	ck_assert_uint_eq(asked.ino[0], 1);
	ck_assert_uint_eq(asked.ino[1], 2);
	ck_assert_int_eq(asked.what[1], FS_TOUCH_ENTRIES);
	asked = (struct asked){ .answer = { -EBUSY, -EROFS } };
	ck_assert_int_eq(ask(&asked, LINK_AT(1, "x", 6)), -EBUSY);
	ck_assert_uint_eq(asked.ino[1], 6);
	ck_assert_int_eq(asked.what[1], FS_TOUCH_INODE);
	asked = (struct asked){ .answer = { -EROFS } };
	ck_assert_int_eq(ask(&asked, FILE_AT(1, "f", 20)), -EEXIST);
	ck_assert_int_eq(asked.n, 0);
	ck_assert_int_eq(ask(&asked, FILE_AT(1, "x", 20)), -EROFS);
	ck_assert_int_eq(asked.what[0], FS_TOUCH_CREATE);
	ck_assert_int_eq(ask(&asked, UNLINK_AT(1, "d", 2, 0)), -EROFS);
	ck_assert_int_eq(ask(&asked, RENAME_AT(1, "empty", 5, 1, "d", 2, 0)), -EROFS);
	ck_assert_int_eq(asked.n, 1);
	ck_assert_int_eq(ask(&asked, SIZE(6, 1ull << 62)), -EROFS);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(limits)
{
	struct fs_pack pack = { 0 };
	struct store_value val;
	struct fs_node *node;
	struct fs_key key;
	u8 junk[100];

	make_tree();
	fs->max_file_size = 1 << 20;
	ck_assert_int_eq(change(SIZE(4, (1 << 20) + 1)), -EFBIG);
	ck_assert_int_eq(change(SIZE_UP(4, (1 << 20) + 1)), -EFBIG);
	ck_assert_int_eq(change(ALLOC(4, 1 << 20, 1)), -EFBIG);
	ck_assert_int_eq(change(SIZE(4, 1 << 20)), 0);

	begin();
	ck_assert_int_eq(fs_node_get(txn, 4, &node), 0);
	node->in.nlink = FS_LINK_MAX;
	fs_node_dirty(txn, node);
	ck_assert_int_eq(apply_as(&anyone, LINK_AT(1, "x", 4)), -EMLINK);
	ck_assert_int_eq(fs_node_get(txn, 4, &node), 0);
	ck_assert_uint_eq(node->in.nlink, 1);
	node->in.nlink = FS_LINK_MAX - 1;
	fs_node_dirty(txn, node);
	ck_assert_int_eq(apply_as(&anyone, LINK_AT(1, "x", 4)), 0);
	fs_txn_abort(txn);

	/* cookies and inode numbers come to an end, one at a time */
	begin();
	ck_assert_int_eq(fs_node_get(txn, 5, &node), 0);
	node->in.next_cookie = ARCHIL_COOKIE_MAX;
	fs_node_dirty(txn, node);
	txn->counters.next_ino = ARCHIL_INO_MAX - 10;
	end();
	ck_assert_int_eq(change(FILE_AT(5, "last", 20)), 0);
	ck_assert_int_eq(change(FILE_AT(5, "more", 21)), -ENOSPC);
	begin();
	ck_assert_int_eq(fs_alloc_inos(txn, 11, &now), -ENOSPC);
	ck_assert_int_eq(fs_alloc_inos(txn, 10, &now), 0);
	end();

	/* a damaged inode is not guessed around */
	fs_key_inode(&key, 6);
	begin();
	memset(junk, 0xff, sizeof(junk));
	ck_assert_int_eq(fs_get(fs_txn_view(txn), &key, &val), 0);
	ck_assert_int_eq(fs_pack_load(&pack, &val), 0);
	ck_assert_int_eq(fs_pack_set(&pack, 6, junk, sizeof(junk)), 0);
	ck_assert_int_eq(fs_pack_put(txn, &key, &pack), 0);
	end();
	disk_reopen();
	ck_assert_int_eq(change(SIZE(6, 1)), -EBADMSG);
	/* nor does it keep its neighbours from anybody */
	ck_assert_int_eq(change(SIZE(4, 1)), 0);
}
END_TEST

/* ---- logs ---- */

START_TEST(a_log_is_applied_exactly_once)
{
	struct fs_deleg deleg, other, old;
	struct fs_log_result lr;
	u8 buf[4096];
	size_t len = 0;
	u64 commit;

	MUST(DIR_AT(1, "d", 2));
	deleg = grant(2);
	for (int i = 0; i < 3; i++)
		archil_record_put(buf, sizeof(buf), &len,
				  CREATE_AT(2, i ? i > 1 ? "c" : "b" : "a", 10 + i, S_IFREG,
					    .cookie = 3 + i));
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_whole(txn, &deleg, 2, 3, buf, len, &lr), -EPROTO);
	ck_assert_int_eq(log_whole(txn, &deleg, 0, 3, buf, len, &lr), -EPROTO);
	ck_assert_int_eq(log_whole(txn, &deleg, 1, 2, buf, len, &lr), -EPROTO);
	ck_assert_int_eq(log_whole(txn, &deleg, 1, 4, buf, len, &lr), -EPROTO);
	ck_assert_int_eq(log_whole(txn, &deleg, 1, 3, buf, len - 8, &lr), -EPROTO);
	ck_assert_uint_eq(lr.bad_seq, 3);
	ck_assert_uint_eq(deleg.applied, 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	ck_assert_uint_eq(le32_to_cpu(attr_of(2).nlink), 2);

	/* two of three, then all three */
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_whole(txn, &deleg, 1, 2, buf, len / 3 * 2, &lr), 0);
	ck_assert_int_eq(log_whole(txn, &deleg, 1, 3, buf, len, &lr), 0);
	ck_assert_uint_eq(deleg.applied, 3);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	disk_reopen();
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(fs_deleg_get(fs_txn_view(txn), deleg.number, &old), 0);
	ck_assert_uint_eq(old.applied, 3);
	commit = fs_txn_nr(txn);
	ck_assert_int_eq(log_whole(txn, &old, 1, 3, buf, len, &lr), 0);
	ck_assert_int_eq(log_whole(txn, &old, 4, 0, buf, 0, &lr), 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	txn = fs_txn_begin(fs, ++now);
	ck_assert_uint_eq(fs_txn_nr(txn), commit);	/* nothing was written */
	fs_txn_abort(txn);

	/* a refused batch leaves nothing, and its neighbours in the group stay */
	MUST(DIR_AT(1, "e", 3));
	other = grant(3);
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_in(&deleg, (const struct archil_record *[]){
			CREATE_AT(2, "x", 20, S_IFREG, .cookie = 6) }, 1, &lr), 0);
	ck_assert_int_eq(log_in(&other, (const struct archil_record *[]){
			CREATE_AT(3, "x", 21, S_IFREG, .cookie = 3), SIZE(21, 5), SIZE(2, 5),
			SIZE(21, 6) }, 4, &lr), -EUCLEAN);
	ck_assert_uint_eq(lr.bad_seq, 3);
	ck_assert_int_eq(log_in(&deleg, (const struct archil_record *[]){ SIZE(20, 7) }, 1, &lr), 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	ck_assert_uint_eq(le64_to_cpu(attr_of(20).size), 7);
	ck_assert_int_eq(change(FILE_AT(1, "y", 21)), 0);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

/* What directories remember of where they lie goes when one of them moves. */
START_TEST(a_log_stays_inside_its_delegation)
{
	struct fs_deleg a, b;

	MUST(DIR_AT(1, "a", 2));
	MUST(DIR_AT(1, "b", 3));
	MUST(DIR_AT(2, "in", 4));
	MUST(DIR_AT(4, "deep", 5));
	MUST(FILE_AT(5, "f", 6));
	a = grant(2);
	b = grant(3);
	LOG(&a, CONTENT(6, "x"));
	ck_assert_int_eq(log_one(&b, CONTENT(6, "y")), -EUCLEAN);
	ck_assert_int_eq(log_one(&a, SIZE(1, 0)), -EUCLEAN);
	ck_assert_int_eq(log_one(&a, DIR_AT(3, "x", 20)), -EUCLEAN);
	ck_assert_int_eq(log_one(&a, RENAME_AT(2, "in", 4, 3, "in", 0, 0)), -EUCLEAN);

	/* moved by a change */
	LOG(&a, CONTENT(6, "x"));
	MUST(RENAME_AT(2, "in", 4, 3, "in", 0, 0));
	ck_assert_int_eq(log_one(&a, CONTENT(6, "x")), -EUCLEAN);
	ck_assert_int_eq(log_one(&a, FILE_AT(5, "x", 20)), -EUCLEAN);
	LOG(&b, CONTENT(6, "y"));

	/* moved, used, and the move undone */
	begin();
	ck_assert_int_eq(fs_apply(txn, &anyone, RENAME_AT(3, "in", 4, 2, "in", 0, 0), &res), 0);
	ck_assert_int_eq(fs_apply(txn, &(struct fs_who){ .deleg = a.number, .root = 2 },
				  CONTENT(6, "z"), &res), 0);
	fs_batch_abort(txn);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	ck_assert_int_eq(log_one(&a, CONTENT(6, "z")), -EUCLEAN);
	LOG(&b, CONTENT(6, "y"));

	/* a directory that is gone */
	LOG(&b, DIR_AT(3, "tmp", 20));
	LOG(&b, FILE_AT(20, "f", 21));
	LOG(&b, UNLINK_AT(20, "f", 21, 0));
	LOG(&b, UNLINK_AT(3, "tmp", 20, 0));
	ck_assert_int_eq(log_one(&b, XATTR(20, "user.a", "v")), -EUCLEAN);
	ck_assert_int_eq(log_one(&b, XATTR(21, "user.a", "v")), -EUCLEAN);
	ck_assert_int_eq(log_one(&b, FILE_AT(20, "g", 22)), -EUCLEAN);

	/* a cookie that was used, or none */
	LOG(&b, FILE_AT(3, "u", 30));
	ck_assert_int_eq(log_one(&b, UNLINK_AT(3, "u", 31, 0)), -EUCLEAN);
	txn = fs_txn_begin(fs, ++now);
	for (u64 cookie = 0; cookie < 5; cookie += 4) {
		struct fs_log_result lr;

		ck_assert_int_eq(log_in(&b, (const struct archil_record *[]){
				CREATE_AT(3, "v", 31, S_IFREG, .cookie = cookie) }, 1, &lr),
				-EUCLEAN);
	}
	fs_txn_abort(txn);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(links_reach_out_of_a_delegation)
{
	struct fs_deleg a, b;
	const u64 *links;
	u64 change_nr;
	size_t n;

	MUST(DIR_AT(1, "a", 2));
	MUST(DIR_AT(1, "b", 3));
	MUST(FILE_AT(2, "f", 4));
	MUST(LINK_AT(3, "f", 4));
	MUST(LINK_AT(3, "g", 4));
	a = grant(2);
	b = grant(3);
	ck_assert_uint_eq(le64_to_cpu(attr_of(4).parent), 2);
	/* its home is elsewhere: b may drop and move its own links and nothing more */
	ck_assert_int_eq(log_one(&b, CONTENT(4, "x")), -EUCLEAN);
	ck_assert_int_eq(log_one(&b, LINK_AT(3, "h", 4)), -EUCLEAN);
	change_nr = le64_to_cpu(attr_of(4).change);
	LOG(&b, RENAME_AT(3, "g", 4, 3, "h", 0, 0));
	links = fs_txn_links(txn, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(links[0], 4);
	ck_assert_uint_gt(le64_to_cpu(attr_of(4).change), change_nr);
	LOG(&b, UNLINK_AT(3, "h", 4, 0));
	fs_txn_links(txn, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(le32_to_cpu(attr_of(4).nlink), 2);
	LOG(&a, RENAME_AT(2, "f", 4, 2, "f2", 0, 0));
	fs_txn_links(txn, &n);
	ck_assert_uint_eq(n, 0);	/* its owner did it */
	/* the home link goes: the file is b's */
	LOG(&a, UNLINK_AT(2, "f2", 4, 0));
	links = fs_txn_links(txn, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(links[0], 4);
	ck_assert_uint_eq(le64_to_cpu(attr_of(4).parent), 3);
	ck_assert_int_eq(log_one(&a, CONTENT(4, "x")), -EUCLEAN);
	LOG(&b, CONTENT(4, "x"));
	/* and of a refused batch nobody is told */
	MUST(LINK_AT(2, "again", 4));
	txn = fs_txn_begin(fs, ++now);
	struct fs_log_result lr;
	ck_assert_int_eq(log_in(&a, (const struct archil_record *[]){
			UNLINK_AT(2, "again", 4, 0), SIZE(4, 0) }, 2, &lr), -EUCLEAN);
	fs_txn_links(txn, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(a_directory_costs_one_write_a_batch)
{
	struct archil_record rec[1000];
	const struct archil_record *recs[1000];
	struct fs_log_result lr;
	struct fs_deleg deleg;
	char name[1000][16];
	u64 first;

	MUST(DIR_AT(1, "d", 2));
	begin();
	ck_assert_int_eq(fs_alloc_inos(txn, 1000, &first), 0);
	end();
	deleg = grant(2);
	for (int i = 0; i < 1000; i++) {
		snprintf(name[i], sizeof(name[i]), "f%d", i);
		rec[i] = *CREATE_AT(2, name[i], first + i, S_IFREG, .cookie = 3 + i);
		recs[i] = &rec[i];
	}
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_in(&deleg, recs, 1000, &lr), 0);
	/* an inode, an entry and a hash each */
	ck_assert_uint_lt(fs_txn_bytes(txn), 1000 * 150);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(neighbours_are_loaded_for_who_goes_in_order)
{
	struct fs_node *node;
	char name[16];

	for (u64 ino = 2; ino < 200; ino++) {
		snprintf(name, sizeof(name), "f%d", (int)ino);
		MUST(FILE_AT(1, name, ino));
	}
	disk_reopen();
	begin();
	for (u64 ino = 190; ino > 50; ino -= 2 * FS_PACK) {
		ck_assert_int_eq(fs_node_get(txn, ino, &node), 0);
		node->in.uid = 7;
		fs_node_dirty(txn, node);
	}
	ck_assert_uint_eq(txn->nodes, 5);
	ck_assert_int_eq(fs_node_get(txn, 65, &node), 0);
	ck_assert_uint_eq(txn->nodes, 5 + FS_PACK);
	/* 94 is there */
	ck_assert_int_eq(fs_node_get(txn, 80, &node), 0);
	ck_assert_uint_eq(txn->nodes, 5 + 2 * FS_PACK - 1);
	end();
	disk_reopen();
	/* those beside it are as they were */
	for (u64 ino = 2; ino < 200; ino++)
		ck_assert_uint_eq(le32_to_cpu(attr_of(ino).uid),
				  ino > 50 && ino <= 190 && (190 - ino) % (2 * FS_PACK) == 0 ? 7 : 0);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(what_is_undone_is_not_written_beside_another)
{
	struct archil_record more = *CONTENT(3, "more");
	struct fs_key key;

	MUST(FILE_AT(1, "damaged", 3));
	MUST(CONTENT(3, "contents"));
	MUST(FILE_AT(1, "neighbour", 4));
	fs_key1(&key, FS_CONTENT, 3);
	begin();
	ck_assert_int_eq(fs_put(txn, &key, "content", 7), 0);
	end();
	disk_reopen();
	more.off = 100;
	ck_assert_int_eq(change(&more), -EBADMSG);
	MUST(SIZE(4, 5));
	disk_reopen();
	ck_assert_uint_eq(le64_to_cpu(attr_of(4).size), 5);
	ck_assert_uint_eq(le64_to_cpu(attr_of(3).size), 8);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs");

	tcase_add_test(tc, what_is_undone_is_not_written_beside_another);

	tcase_add_test(tc, neighbours_are_loaded_for_who_goes_in_order);

	tcase_add_test(tc, a_disk_is_formatted_once);
	tcase_add_test(tc, an_inode_number_is_used_once);
	tcase_add_test(tc, a_name_is_there_once_in_a_directory_without_committed_names);
	tcase_add_test(tc, a_directory_is_emptied_in_order);
	tcase_add_test(tc, errnos_come_in_the_order_of_the_vfs);
	tcase_add_test(tc, ownership_is_asked_after_names_and_before_the_rest);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, a_log_is_applied_exactly_once);
	tcase_add_test(tc, a_log_stays_inside_its_delegation);
	tcase_add_test(tc, links_reach_out_of_a_delegation);
	tcase_add_test(tc, a_directory_costs_one_write_a_batch);
	return run_disk_tests(tc, "fs");
}

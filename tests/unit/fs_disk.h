/* SPDX-License-Identifier: GPL-2.0 */
/* A formatted disk with a namespace on it, and records in one line each. */
#ifndef TESTS_FS_DISK_H
#define TESTS_FS_DISK_H

#include "fs_priv.h"

#include "store_dir.h"
#include "../logparts.h"

#define NOW	1000000000ull

static struct store *store;
static struct fs *fs;
static struct fs_txn *txn;
static struct fs_result res;
static u64 now;

static inline void disk_open(void)
{
	store = must_open();
	ck_assert_int_eq(fs_open(store, &fs), 0);
}

static inline void disk_close(void)
{
	fs_close(fs);
	store_close(store);
}

static inline void disk_reopen(void)
{
	disk_close();
	disk_open();
}

static inline void begin(void)
{
	txn = fs_txn_begin(fs, ++now);
	fs_batch_begin(txn);
}

static inline void end(void)
{
	ck_assert_int_eq(fs_batch_end(txn), 0);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
}

/* With inode numbers 2..1001 handed out. */
static inline void disk_make(void)
{
	struct scram_verifier verifier = { .salt = { 1 }, .stored_key = { 2 }, .server_key = { 3 } };
	u64 first;

	test_dir_make();
	now = NOW;
	store = must_create();
	ck_assert_int_eq(fs_format(store, &verifier, now), 0);
	ck_assert_int_eq(fs_open(store, &fs), 0);
	begin();
	ck_assert_int_eq(fs_alloc_inos(txn, 1000, &first), 0);
	ck_assert_uint_eq(first, 2);
	end();
}

static inline void disk_remove(void)
{
	disk_close();
	test_dir_remove();
}

/* ---- records ---- */

#define NAMED(n)	.name = (n), .name_len = strlen(n)
#define TIME(s)		{ .sec = cpu_to_le64(s) }

#define CREATE_AT(d, n, i, m, ...) (&(struct archil_record){		\
	.type = ARCHIL_REC_CREATE, .dir = (d), NAMED(n), .ino = (i), .mode = (m), \
	.time = TIME(1), __VA_ARGS__ })
#define FILE_AT(d, n, i)	CREATE_AT(d, n, i, S_IFREG | 0644)
#define DIR_AT(d, n, i)		CREATE_AT(d, n, i, S_IFDIR | 0755)
#define TMP_AT(d, i)		CREATE_AT(d, "", i, S_IFREG | 0600, .flags = ARCHIL_CREATE_TMPFILE)
#define LINK_AT(d, n, i) (&(struct archil_record){			\
	.type = ARCHIL_REC_LINK, .dir = (d), NAMED(n), .ino = (i), .time = TIME(2) })
#define UNLINK_AT(d, n, i, f) (&(struct archil_record){			\
	.type = ARCHIL_REC_UNLINK, .dir = (d), NAMED(n), .ino = (i), .flags = (f), \
	.time = TIME(3) })
#define RENAME_AT(d, n, i, d2, n2, t, f) (&(struct archil_record){	\
	.type = ARCHIL_REC_RENAME, .dir = (d), NAMED(n), .ino = (i), .new_dir = (d2), \
	.new_name = (n2), .new_name_len = strlen(n2), .target = (t), .flags = (f), \
	.time = TIME(4) })
#define RELEASE(i)	(&(struct archil_record){ .type = ARCHIL_REC_RELEASE, .ino = (i) })
#define SIZE(i, s) (&(struct archil_record){				\
	.type = ARCHIL_REC_SETATTR, .ino = (i), .valid = ARCHIL_SET_SIZE, .size = (s) })
#define SIZE_UP(i, s) (&(struct archil_record){				\
	.type = ARCHIL_REC_SETATTR, .ino = (i), .valid = ARCHIL_SET_SIZE_UP, .size = (s) })
#define CONTENT(i, text) (&(struct archil_record){			\
	.type = ARCHIL_REC_CONTENT, .ino = (i), .data = (text), .data_len = strlen(text) })
#define ALLOC(i, o, l) (&(struct archil_record){			\
	.type = ARCHIL_REC_ALLOC, .ino = (i), .off = (o), .length = (l) })
#define PUNCH(i, o, l) (&(struct archil_record){			\
	.type = ARCHIL_REC_PUNCH, .ino = (i), .off = (o), .length = (l) })
#define XATTR(i, n, v) (&(struct archil_record){			\
	.type = ARCHIL_REC_SETXATTR, .ino = (i), NAMED(n), .data = (v), .data_len = strlen(v) })
#define RMXATTR(i, n) (&(struct archil_record){				\
	.type = ARCHIL_REC_RMXATTR, .ino = (i), NAMED(n) })

static inline int may_all(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	return 0;
}

static const struct fs_who anyone = { .may = may_all };

/* One record in a batch, in the open transaction; a refused one is undone. */
static inline int apply_as(const struct fs_who *who, const struct archil_record *rec)
{
	int err = fs_apply(txn, who, rec, &res);

	if (err)
		fs_batch_abort(txn);
	else
		ck_assert_int_eq(fs_batch_end(txn), 0);
	fs_batch_begin(txn);
	return err;
}

/* A synchronous change of one who may do everything, committed. */
static inline int change(const struct archil_record *rec)
{
	int err;

	begin();
	err = apply_as(&anyone, rec);
	end();
	return err;
}

#define MUST(rec)	ck_assert_int_eq(change(rec), 0)

/* A delegation on an inode, of a session that is there. */
static inline struct fs_deleg grant(u64 ino)
{
	struct fs_session session = { .client = "c" };
	struct fs_deleg deleg = { .ino = ino, .origin = ARCHIL_ORIGIN_CHECKOUT };

	begin();
	session.id = fs_alloc_session(txn);
	ck_assert_int_eq(fs_session_put(txn, &session), 0);
	deleg.number = fs_alloc_deleg(txn);
	deleg.session = session.id;
	deleg.commit = fs_txn_nr(txn);
	ck_assert_int_eq(fs_deleg_put(txn, &deleg), 0);
	end();
	return deleg;
}

/* Records as one batch of a log, in the open transaction (outside of a batch). */
static inline int log_in(struct fs_deleg *deleg, const struct archil_record *const *recs, u32 n,
			 struct fs_log_result *lr)
{
	static u8 buf[ARCHIL_PAYLOAD_MAX];
	size_t len = 0;

	for (u32 i = 0; i < n; i++)
		ck_assert_int_eq(archil_record_put(buf, sizeof(buf), &len, recs[i]), 0);
	return log_whole(txn, deleg, deleg->applied + 1, n, buf, len, lr);
}

/* The same, committed, with the cookie filled in that a log needs. */
static inline int log_one(struct fs_deleg *deleg, const struct archil_record *rec)
{
	struct archil_record with = *rec;
	const struct archil_record *recs[] = { &with };
	struct fs_log_result lr;
	struct fs_inode dir;
	u64 in = rec->new_dir ? rec->new_dir : rec->dir;
	int err;

	txn = fs_txn_begin(fs, ++now);
	if (in && !fs_inode_read(fs_txn_view(txn), in, &dir) &&
	    !(rec->type == ARCHIL_REC_CREATE && !rec->name_len) &&
	    rec->type != ARCHIL_REC_UNLINK &&
	    !(rec->type == ARCHIL_REC_RENAME && rec->flags & ARCHIL_RENAME_EXCHANGE))
		with.cookie = dir.next_cookie;
	err = log_in(deleg, recs, 1, &lr);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	return err;
}

#define LOG(deleg, rec)	ck_assert_int_eq(log_one(deleg, rec), 0)

/* Delegations made of orphans by the last close_deleg(). */
static struct fs_deleg made[8];
static int n_made;

static inline int note_made(void *ctx, const struct fs_deleg *deleg)
{
	made[n_made++] = *deleg;
	return 0;
}

static inline void close_deleg(u64 number, enum fs_close_how how)
{
	n_made = 0;
	begin();
	ck_assert_int_eq(fs_deleg_close(txn, number, how, note_made, NULL), 0);
	end();
}

static inline struct archil_wattr attr_of(u64 ino)
{
	struct fs_view *view = fs_view_get(fs);
	struct archil_attr_rep rep;

	ck_assert_int_eq(fs_getattr(view, ino, &rep, NULL), 0);
	fs_view_put(view);
	return rep.attr;
}

static inline void say_line(void *arg, const char *text)
{
	if (arg)
		fprintf(stderr, "fs_check: %s\n", text);
}

static inline int check_disk(void)
{
	struct fs_view *view = fs_view_get(fs);
	int lines = fs_check(view, say_line, NULL);

	if (lines && !getenv("DAMAGE"))
		lines = fs_check(view, say_line, "");
	fs_view_put(view);
	return lines;
}

static inline int run_disk_tests(TCase *tc, const char *name)
{
	Suite *s = suite_create(name);
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, disk_make, disk_remove);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

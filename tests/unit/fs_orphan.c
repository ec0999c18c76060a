// SPDX-License-Identifier: GPL-2.0
/* Inodes without a name, and what happens to data files. */
#include "fs_disk.h"

static int tomb_of(u64 number, struct fs_tomb *tomb)
{
	struct fs_view *view = fs_view_get(fs);
	int err = fs_tomb_get(view, number, tomb);

	fs_view_put(view);
	return err;
}

static u64 keeper_of(u64 ino)
{
	struct fs_view *view = fs_view_get(fs);
	u64 number;

	ck_assert_int_eq(fs_orphan_of(view, ino, &number), 0);
	fs_view_put(view);
	return number;
}

static int reap_all(u64 before)
{
	int r, steps = 0;

	do {
		begin();
		r = fs_reap(txn, before, 4);
		ck_assert_int_ge(r, 0);
		ck_assert_int_le(r, 4);
		end();
		steps += r;
	} while (r);
	return steps;
}

START_TEST(orphans_outlive_a_checkin_and_end_by_force)
{
	struct fs_deleg deleg, own;
	struct fs_log_result lr;
	struct fs_tomb tomb;

	MUST(DIR_AT(1, "d", 2));
	deleg = grant(2);
	LOG(&deleg, FILE_AT(2, "a", 10));
	LOG(&deleg, FILE_AT(2, "b", 11));
	LOG(&deleg, TMP_AT(2, 12));
	LOG(&deleg, UNLINK_AT(2, "a", 10, ARCHIL_UNLINK_OPEN));
	LOG(&deleg, UNLINK_AT(2, "b", 11, 0));
	ck_assert_uint_eq(le32_to_cpu(attr_of(10).flags), ARCHIL_AF_ORPHAN);
	ck_assert_uint_eq(le32_to_cpu(attr_of(10).nlink), 0);
	ck_assert_uint_eq(keeper_of(10), deleg.number);
	ck_assert_uint_eq(keeper_of(11), 0);
	LOG(&deleg, CONTENT(10, "still"));
	ck_assert_int_eq(log_one(&deleg, CONTENT(11, "no")), -EUCLEAN);
	LOG(&deleg, LINK_AT(2, "named", 12));
	LOG(&deleg, UNLINK_AT(2, "named", 12, ARCHIL_UNLINK_OPEN));

	close_deleg(deleg.number, FS_CLOSED);
	ck_assert_int_eq(n_made, 2);
	ck_assert_int_eq(tomb_of(deleg.number, &tomb), 0);
	ck_assert_int_eq(tomb.how, FS_CLOSED);
	ck_assert_uint_eq(tomb.applied, deleg.applied);
	ck_assert_uint_eq(tomb.session, deleg.session);
	own = made[0];
	ck_assert_uint_eq(own.ino, 10);
	ck_assert_uint_eq(own.session, deleg.session);
	ck_assert_uint_eq(keeper_of(10), own.number);
	LOG(&own, CONTENT(10, "and on"));
	ck_assert_int_eq(log_one(&own, CONTENT(12, "another's")), -EUCLEAN);
	ck_assert_int_eq(log_one(&own, LINK_AT(2, "x", 10)), -EUCLEAN);
	ck_assert_int_eq(check_disk(), 0);

	/* released, with its delegation */
	txn = fs_txn_begin(fs, ++now);
	ck_assert_int_eq(log_in(&own, (const struct archil_record *[]){ RELEASE(10) }, 1, &lr), 0);
	ck_assert_uint_eq(lr.ended, own.number);
	fs_batch_begin(txn);
	ck_assert_int_eq(fs_deleg_close(txn, own.number, FS_CLOSED, NULL, NULL), 0);
	end();
	ck_assert_uint_eq(keeper_of(10), 0);
	ck_assert_int_eq(check_disk(), 0);

	/* the other one by force of its session's end: no tombstone */
	close_deleg(made[1].number, FS_ENDED);
	ck_assert_int_eq(tomb_of(made[1].number, &tomb), -ENOENT);
	ck_assert_uint_eq(keeper_of(12), 0);

	/* forced: what was open is open no more */
	deleg = grant(2);
	LOG(&deleg, TMP_AT(2, 13));
	close_deleg(deleg.number, FS_TAKEN);
	ck_assert_int_eq(n_made, 0);
	ck_assert_uint_eq(keeper_of(13), 0);
	ck_assert_int_eq(tomb_of(deleg.number, &tomb), 0);
	ck_assert_int_eq(tomb.how, FS_TAKEN);
	ck_assert_int_eq(check_disk(), 0);
	reap_all(now);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

static void count(u64 orphans, u64 released, u64 intents, u64 data_files)
{
	struct fs_view *view = fs_view_get(fs);
	struct fs_counts counts = { 0 };

	ck_assert_int_eq(fs_count(view, &counts), 0);
	fs_view_put(view);
	ck_assert_uint_eq(counts.orphans, orphans);
	ck_assert_uint_eq(counts.released, released);
	ck_assert_uint_eq(counts.intents, intents);
	ck_assert_uint_eq(counts.data_files, data_files);
}

START_TEST(what_is_kept_is_counted)
{
	struct iovec iov = { "x", 1 };
	struct store_op op = { .kind = STORE_WRITE, .ino = 10, .iov = &iov, .iovcnt = 1 };
	struct fs_deleg deleg;

	MUST(DIR_AT(1, "d", 2));
	deleg = grant(2);
	LOG(&deleg, FILE_AT(2, "a", 10));
	LOG(&deleg, FILE_AT(2, "b", 11));
	count(0, 0, 0, 0);
	begin();
	ck_assert_int_eq(fs_bulk_begin(txn, 10, deleg.number, 2), 0);
	end();
	ck_assert_int_eq(store_run(store, &op), 1);
	count(0, 0, 0, 1);
	LOG(&deleg, UNLINK_AT(2, "a", 10, ARCHIL_UNLINK_OPEN));
	LOG(&deleg, UNLINK_AT(2, "b", 11, 0));
	LOG(&deleg, TMP_AT(2, 12));
	count(2, 1, 0, 1);
	close_deleg(deleg.number, FS_ENDED);
	count(0, 3, 0, 1);
	reap_all(now);
	count(0, 0, 1, 1);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

static u64 cover_5(void *ctx, const struct fs_place *place)
{
	ck_assert_uint_eq(place->chain[0], 1);
	return *(u64 *)ctx;
}

START_TEST(orphans_of_synchronous_changes)
{
	struct fs_deleg deleg, own = { .flags = FS_DELEG_ORPHAN };
	struct fs_who who = { .may = may_all, .cover = cover_5 };

	MUST(DIR_AT(1, "d", 2));
	MUST(FILE_AT(2, "f", 10));
	MUST(FILE_AT(2, "g", 11));
	MUST(FILE_AT(2, "h", 12));
	deleg = grant(2);
	who.ctx = &deleg.number;
	begin();
	ck_assert_int_eq(apply_as(&who, UNLINK_AT(2, "f", 10, ARCHIL_UNLINK_OPEN)), 0);
	ck_assert_int_eq(apply_as(&who, RENAME_AT(2, "g", 11, 2, "h", 12, ARCHIL_RENAME_OPEN)), 0);
	ck_assert_uint_eq(res.target, 12);
	end();
	ck_assert_uint_eq(keeper_of(10), deleg.number);
	ck_assert_uint_eq(keeper_of(12), deleg.number);

	/* O_TMPFILE where nobody owns the place: a delegation of its own, until it gets a name */
	begin();
	own.number = fs_alloc_deleg(txn);
	own.ino = 20;
	own.session = deleg.session;
	ck_assert_int_eq(fs_deleg_put(txn, &own), 0);
	ck_assert_int_eq(apply_as(&(struct fs_who){ .may = may_all, .grant = own.number },
				  TMP_AT(1, 20)), 0);
	end();
	ck_assert_uint_eq(keeper_of(20), own.number);
	LOG(&own, CONTENT(20, "made in secret"));
	begin();
	ck_assert_int_eq(apply_as(&anyone, LINK_AT(1, "named", 20)), 0);
	ck_assert_uint_eq(res.ended, own.number);
	ck_assert_int_eq(fs_deleg_close(txn, own.number, FS_CLOSED, NULL, NULL), 0);
	end();
	ck_assert_uint_eq(le32_to_cpu(attr_of(20).nlink), 1);
	ck_assert_uint_eq(le32_to_cpu(attr_of(20).flags), 0);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(reaping_goes_in_small_steps)
{
	struct fs_intents intents = STAILQ_HEAD_INITIALIZER(intents);
	struct fs_deleg deleg;
	struct archil_attr_rep rep;
	struct fs_intent *intent;
	struct fs_view *view, *old;
	char name[32];
	u64 when;

	MUST(DIR_AT(1, "d", 2));
	MUST(FILE_AT(2, "f", 10));
	MUST(FILE_AT(2, "g", 11));
	MUST(CONTENT(10, "some"));
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "user.%d", i);
		MUST(XATTR(10, name, "value"));
	}
	deleg = grant(2);
	begin();
	ck_assert_int_eq(fs_bulk_begin(txn, 10, deleg.number, 2), 0);
	end();
	LOG(&deleg, UNLINK_AT(2, "f", 10, 0));
	when = now;
	LOG(&deleg, UNLINK_AT(2, "g", 11, 0));
	old = fs_view_get(fs);
	ck_assert_int_eq(fs_reap_next(old, &now), 0);
	ck_assert_uint_eq(now, when);
	now += 100;
	ck_assert_int_eq(reap_all(when - 1), 0);
	ck_assert_int_eq(reap_all(when), 31);
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_getattr(view, 10, &rep, NULL), -ESTALE);
	ck_assert_int_eq(fs_getattr(view, 11, &rep, NULL), 0);
	ck_assert_int_eq(fs_getattr(old, 10, &rep, NULL), 0);	/* what it saw stays */
	fs_view_put(old);
	ck_assert_int_eq(fs_reap_next(view, &when), 0);
	ck_assert_int_eq(fs_intents_load(view, &intents), 0);
	fs_view_put(view);
	/* fill, of the first write; then remove */
	intent = STAILQ_FIRST(&intents);
	ck_assert_int_eq(intent->kind, FS_INTENT_FILL);
	ck_assert(intent->len == 4 && !memcmp(intent->data, "some", 4));
	intent = STAILQ_NEXT(intent, link);
	ck_assert_int_eq(intent->kind, FS_INTENT_REMOVE);
	ck_assert_uint_eq(intent->ino, 10);
	ck_assert_ptr_null(STAILQ_NEXT(intent, link));
	begin();
	while ((intent = STAILQ_FIRST(&intents))) {
		STAILQ_REMOVE_HEAD(&intents, link);
		ck_assert_int_eq(fs_intent_done(txn, intent->ino, intent->nr), 0);
		free(intent);
	}
	end();
	ck_assert_int_eq(reap_all(now), 1);
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_reap_next(view, &when), -ENOENT);
	ck_assert_int_eq(fs_intents_load(view, &intents), 0);
	ck_assert(STAILQ_EMPTY(&intents));
	fs_view_put(view);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

/* In one commit, but for the last, whose batch is given up: it keeps its name. */
START_TEST(many_are_released_at_once)
{
	enum { MANY = 2 * FS_RELEASED_MAX + 7, STEP = 100 };
	char name[MANY][16];
	u64 when;

	begin();
	for (int i = 0; i < MANY; i++) {
		snprintf(name[i], sizeof(name[i]), "f%d", i);
		ck_assert_int_eq(apply_as(&anyone, FILE_AT(1, name[i], 10 + i)), 0);
	}
	end();
	begin();
	when = now;
	for (int i = 0; i < MANY - 1; i++)
		ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(1, name[i], 10 + i, 0)), 0);
	ck_assert_int_eq(fs_apply(txn, &anyone, UNLINK_AT(1, name[MANY - 1], 10 + MANY - 1, 0),
				  &res), 0);
	fs_batch_abort(txn);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	count(0, MANY - 1, 0, 0);
	ck_assert_int_eq(check_disk(), 0);

	for (int left = MANY - 1; left > 0; left -= STEP) {
		begin();
		ck_assert_int_eq(fs_reap(txn, when, STEP), left < STEP ? left : STEP);
		end();
		count(0, left < STEP ? 0 : left - STEP, 0, 0);
		disk_reopen();
		ck_assert_int_eq(check_disk(), 0);
	}
	ck_assert_uint_eq(le32_to_cpu(attr_of(10 + MANY - 1).nlink), 1);
}
END_TEST

/* ---- data files ---- */

struct taken {
	enum fs_intent_kind kind;
	u64 off, len, nr;
};

static struct taken take(struct fs_intents *list)
{
	struct fs_intent *intent = STAILQ_FIRST(list);
	struct taken copy;

	ck_assert_ptr_nonnull(intent);
	copy = (struct taken){ intent->kind, intent->off, intent->len, intent->nr };
	STAILQ_REMOVE_HEAD(list, link);
	free(intent);
	return copy;
}

START_TEST(data_files_are_cut_by_intents)
{
	struct fs_intents list = STAILQ_HEAD_INITIALIZER(list);
	struct fs_deleg a, b;
	struct fs_view *view;
	struct taken in;
	u64 writer, nr;

	MUST(DIR_AT(1, "d", 2));
	MUST(FILE_AT(2, "f", 10));
	MUST(CREATE_AT(2, "s", 11, S_IFLNK | 0777, .data = "f", .data_len = 1));
	a = grant(2);
	begin();
	ck_assert_int_eq(fs_bulk_begin(txn, 11, a.number, 2), -EINVAL);
	ck_assert_int_eq(fs_bulk_begin(txn, 900, a.number, 2), -ESTALE);
	ck_assert_int_eq(fs_bulk_begin(txn, 10, a.number, 3), -EUCLEAN);
	ck_assert_int_eq(fs_bulk_begin(txn, 10, a.number, 2), 0);
	end();
	fs_txn_intents(txn, &list);
	ck_assert(STAILQ_EMPTY(&list));		/* a new file: nothing to cut */
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_writer(view, 10, &writer), 0);
	ck_assert_uint_eq(writer, a.number);
	fs_view_put(view);
	ck_assert_int_eq(log_one(&a, CONTENT(10, "small")), -EUCLEAN);

	/* the writer's own bytes up to the new size are kept */
	LOG(&a, SIZE_UP(10, 10000));
	LOG(&a, SIZE(10, 20000));
	fs_txn_intents(txn, &list);
	in = take(&list);
	ck_assert_int_eq(in.kind, FS_INTENT_TRUNCATE);
	ck_assert_uint_eq(in.off, 20000);
	nr = in.nr;
	LOG(&a, PUNCH(10, 4096, 8192));
	LOG(&a, ALLOC(10, 0, 30000));
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_intents_load(view, &list), 0);
	fs_view_put(view);
	ck_assert_uint_eq(take(&list).nr, nr);
	in = take(&list);
	ck_assert(in.kind == FS_INTENT_PUNCH && in.off == 4096 && in.len == 8192 && in.nr > nr);
	in = take(&list);
	ck_assert(in.kind == FS_INTENT_ALLOC && in.off == 0 && in.len == 30000);
	ck_assert(STAILQ_EMPTY(&list));
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).size), 30000);

	/* another owner: what the first left beyond the size is cut before it grows */
	close_deleg(a.number, FS_TAKEN);
	b = grant(2);
	LOG(&b, SIZE_UP(10, 50000));
	fs_txn_intents(txn, &list);
	in = take(&list);
	ck_assert(in.kind == FS_INTENT_TRUNCATE && in.off == 30000);
	ck_assert(STAILQ_EMPTY(&list));
	LOG(&b, SIZE_UP(10, 60000));
	begin();
	ck_assert_int_eq(fs_bulk_begin(txn, 10, b.number, 2), 0);
	end();
	fs_txn_intents(txn, &list);
	ck_assert(STAILQ_EMPTY(&list));

	/* what a refused batch would have cut is not cut */
	txn = fs_txn_begin(fs, ++now);
	struct fs_log_result lr;
	ck_assert_int_eq(log_in(&b, (const struct archil_record *[]){ SIZE(10, 0), SIZE(1, 0) },
				2, &lr), -EUCLEAN);
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	fs_txn_intents(txn, &list);
	ck_assert(STAILQ_EMPTY(&list));
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

START_TEST(change_numbers_and_bytes)
{
	u64 nr;

	MUST(FILE_AT(1, "f", 10));
	nr = le64_to_cpu(attr_of(10).change);
	begin();
	ck_assert_int_eq(fs_touch_change(txn, 10), 0);
	ck_assert_int_eq(fs_touch_change(txn, 900), -ESTALE);
	end();
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).change), fs_txn_nr(txn));
	ck_assert_uint_gt(fs_txn_nr(txn), nr);
	MUST(CONTENT(10, "text"));
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).bytes), 512);
	MUST(ALLOC(10, 0, 100000));
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).bytes), 102400);
	MUST(PUNCH(10, 100, 8192));
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).bytes), 102400 - 4096);
	MUST(SIZE(10, 5000));
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).bytes), 8192);
	begin();
	ck_assert_int_eq(fs_set_bytes(txn, 10, 4096), 0);
	end();
	ck_assert_uint_eq(le64_to_cpu(attr_of(10).bytes), 4096);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_orphan");

	tcase_add_test(tc, orphans_outlive_a_checkin_and_end_by_force);
	tcase_add_test(tc, what_is_kept_is_counted);
	tcase_add_test(tc, orphans_of_synchronous_changes);
	tcase_add_test(tc, reaping_goes_in_small_steps);
	tcase_add_test(tc, many_are_released_at_once);
	tcase_add_test(tc, data_files_are_cut_by_intents);
	tcase_add_test(tc, change_numbers_and_bytes);
	return run_disk_tests(tc, "fs_orphan");
}

// SPDX-License-Identifier: GPL-2.0
/* The store's keys and values: batch, iterators, snapshots, and when what is seen. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "store_dir.h"
#include "store_local.h"

/*
 * The engine syncs its log through this fdatasync: a test can hold it or let it
 * fail.
 */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int syncs, waiting, sync_errno;

int fdatasync(int fd)
{
	static int (*real)(int);

	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	atomic_fetch_add(&waiting, 1);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_sub(&waiting, 1);
	if (sync_errno) {
		errno = sync_errno;
		return -1;
	}
	atomic_fetch_add(&syncs, 1);
	return real(fd);
}

START_TEST(root_is_made_once_and_recognized)
{
	char dir[160], path[200], *msg = NULL;
	FILE *f;

	snprintf(dir, sizeof(dir), "%s/root", test_dir);
	ck_assert_int_eq(store_root_check(dir, &msg), -ENOENT);
	free(msg);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(store_root_check(dir, &msg), -EINVAL);
	ck_assert_ptr_nonnull(strstr(msg, "is not a store"));
	free(msg);

	snprintf(path, sizeof(path), "%s/letter", dir);
	f = fopen(path, "w");
	fclose(f);
	ck_assert_int_eq(store_root_init(dir, &msg), -ENOTEMPTY);
	ck_assert_ptr_nonnull(strstr(msg, "not empty"));
	free(msg);
	unlink(path);

	ck_assert_int_eq(store_root_init(dir, &msg), 0);
	ck_assert_int_eq(store_root_check(dir, &msg), 0);
	ck_assert_int_eq(store_root_init(dir, &msg), -EEXIST);
	free(msg);

	snprintf(path, sizeof(path), "%s/archil-store", dir);
	f = fopen(path, "w");
	fputs("archil-store 7\n", f);
	fclose(f);
	ck_assert_int_eq(store_root_check(dir, &msg), -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(msg, "version 7"));
	free(msg);
}
END_TEST

static int count_name(void *arg, const char *name)
{
	strcat(arg, name);
	strcat(arg, " ");
	return 0;
}

START_TEST(disks_are_made_listed_deleted)
{
	char dir[160], names[64] = "", *msg = NULL, *a, *b, *hidden;
	struct store *store;

	snprintf(dir, sizeof(dir), "%s/root", test_dir);
	ck_assert_int_eq(store_root_init(dir, &msg), 0);
	b = store_disk_path(dir, "b");
	a = store_disk_path(dir, "a");
	ck_assert_int_eq(store_create(b, &msg), 0);
	ck_assert_int_eq(store_create(a, &msg), 0);
	ck_assert_int_eq(store_create(a, &msg), -EEXIST);
	free(msg);
	ck_assert_int_eq(store_disk_each(dir, count_name, names), 0);
	ck_assert_str_eq(names, "a b ");

	ck_assert_int_eq(store_open(a, NULL, &store, &msg), 0);
	ck_assert_int_eq(store_destroy(a, &msg), -EBUSY);
	free(msg);
	store_close(store);
	ck_assert_int_eq(store_destroy(a, &msg), 0);
	ck_assert_int_eq(store_destroy(a, &msg), -ENOENT);
	free(msg);
	names[0] = 0;
	ck_assert_int_eq(store_disk_each(dir, count_name, names), 0);
	ck_assert_str_eq(names, "b ");

	/* what a crash in the midst of it leaves */
	hidden = store_disk_path(dir, ".b.deleted");
	ck_assert_int_eq(rename(b, hidden), 0);
	ck_assert_int_eq(store_disk_each(dir, count_name, names), 0);
	ck_assert_str_eq(names, "b ");
	ck_assert_int_eq(store_root_sweep(dir), 0);
	ck_assert_int_ne(access(hidden, F_OK), 0);
	free(hidden);
	free(a);
	free(b);
}
END_TEST

START_TEST(one_process_at_a_time)
{
	struct store *store = must_create(), *second = NULL;
	char *msg = NULL;

	ck_assert_int_eq(store_open(test_disk, NULL, &second, &msg), -EBUSY);
	ck_assert_ptr_nonnull(strstr(msg, "in use"));
	free(msg);
	store_close(store);
	store_close(must_open());
}
END_TEST

START_TEST(batch_is_seen_inside_then_committed)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_value val;
	struct store_snap *snap;
	uint64_t nr;

	ck_assert_uint_eq(store_batch_nr(batch), 1);
	put(batch, "a", "1");
	put(batch, "empty", "");
	ck_assert_int_eq(store_batch_get(batch, "a", 1, &val), 0);
	ck_assert_uint_eq(val.len, 1);
	store_value_put(&val);
	ck_assert_int_eq(store_batch_get(batch, "b", 1, &val), -ENOENT);
	expect(store, NULL, "a", NULL);
	ck_assert_uint_gt(store_batch_bytes(batch), 0);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	expect(store, NULL, "a", "1");
	expect(store, NULL, "empty", "");

	snap = store_snapshot(store);
	ck_assert_int_eq(store_batch_delete(batch, "a", 1), 0);
	put(batch, "b", "2");
	ck_assert_int_eq(store_batch_get(batch, "a", 1, &val), -ENOENT);
	ck_assert_uint_eq(store_batch_nr(batch), 2);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	expect(store, NULL, "a", NULL);
	expect(store, snap, "a", "1");
	expect(store, snap, "b", NULL);
	ck_assert_int_eq(store_commit_nr(store, snap, &nr), 0);
	ck_assert_uint_eq(nr, 1);
	ck_assert_int_eq(store_commit_nr(store, NULL, &nr), 0);
	ck_assert_uint_eq(nr, 2);
	store_snap_put(snap);

	/* nothing to commit is no commit */
	ck_assert_int_eq(store_batch_commit(batch), 0);
	put(batch, "c", "3");
	store_batch_clear(batch);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	expect(store, NULL, "c", NULL);
	ck_assert_uint_eq(store_batch_nr(batch), 3);
	store_batch_free(batch);
	store_close(store);

	store = must_open();
	ck_assert_int_eq(store_commit_nr(store, NULL, &nr), 0);
	ck_assert_uint_eq(nr, 2);
	expect(store, NULL, "b", "2");
	store_close(store);
}
END_TEST

START_TEST(keys_out_of_range_are_refused)
{
	static char big[STORE_KEY_MAX + 1];
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_value val;

	memset(big, 'k', sizeof(big));
	ck_assert_int_eq(store_batch_put(batch, big, sizeof(big), "", 0), -EINVAL);
	ck_assert_int_eq(store_batch_put(batch, big, sizeof(big) - 1, NULL, 0), 0);
	ck_assert_int_eq(store_batch_put(batch, "", 0, "", 0), -EINVAL);
	ck_assert_int_eq(store_batch_put(batch, "\0x", 2, "", 0), -EINVAL);
	ck_assert_int_eq(store_batch_delete(batch, "\0commit", 7), -EINVAL);
	ck_assert_int_eq(store_get(store, NULL, "\0commit", 7, &val), -EINVAL);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	store_batch_free(batch);
	store_close(store);
}
END_TEST

START_TEST(savepoints_nest)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_value val;

	ck_assert_int_eq(store_batch_rollback(batch), -EINVAL);
	put(batch, "a", "1");
	store_batch_savepoint(batch);
	put(batch, "a", "2");
	put(batch, "b", "1");
	store_batch_savepoint(batch);
	ck_assert_int_eq(store_batch_delete(batch, "a", 1), 0);
	put(batch, "c", "1");
	ck_assert_int_eq(store_batch_rollback(batch), 0);
	ck_assert_int_eq(store_batch_get(batch, "a", 1, &val), 0);
	ck_assert(*(const char *)val.data == '2');
	store_value_put(&val);
	ck_assert_int_eq(store_batch_rollback(batch), 0);
	ck_assert_int_eq(store_batch_rollback(batch), -EINVAL);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	expect(store, NULL, "a", "1");
	expect(store, NULL, "b", NULL);
	expect(store, NULL, "c", NULL);

	store_batch_savepoint(batch);
	put(batch, "d", "1");
	ck_assert_int_eq(store_batch_commit(batch), 0);
	ck_assert_int_eq(store_batch_rollback(batch), -EINVAL);
	expect(store, NULL, "d", "1");
	store_batch_free(batch);
	store_close(store);
}
END_TEST

/* Keys in any order, more than fit in one place; half of them rolled back. */
START_TEST(a_large_batch)
{
	enum { KEYS = 20000 };
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_value val;
	struct store_iter *it;
	char key[32], want[32];
	size_t klen;
	int at;

	for (int order = 0; order < 3; order++) {
		store_batch_savepoint(batch);
		for (int i = 0; i < KEYS; i++) {
			/* up, down, across; the last time those not divided by 3 */
			at = order == 0 ? i : order == 1 ? KEYS - 1 - i : i * 7919 % KEYS;
			snprintf(key, sizeof(key), "a-common-beginning-%05d", at);
			if (order == 2 && at % 3 == 0)
				ck_assert_int_eq(store_batch_delete(batch, key, strlen(key)), 0);
			else
				put(batch, key, key + 19);
		}
		if (order < 2)
			ck_assert_int_eq(store_batch_rollback(batch), 0);
		else
			store_batch_savepoint(batch);
	}
	for (int i = 0; i < KEYS; i += 2) {
		snprintf(key, sizeof(key), "a-common-beginning-%05d", i);
		put(batch, key, "other");
	}
	ck_assert_int_eq(store_batch_rollback(batch), 0);
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "a-common-beginning-%05d", i);
		ck_assert_int_eq(store_batch_get(batch, key, strlen(key), &val),
				 i % 3 ? 0 : -ENOENT);
		ck_assert(i % 3 == 0 || (val.len == 5 && !memcmp(val.data, key + 19, 5)));
	}
	for (int committed = 0; committed < 2; committed++) {
		it = committed ? store_iter_open(store, NULL, NULL, 0) :
				 store_batch_iter_open(batch, NULL, 0);
		at = store_iter_seek(it, "", 0);
		for (int i = 1; i < KEYS; i += i % 3 == 1 ? 1 : 2) {
			snprintf(want, sizeof(want), "a-common-beginning-%05d", i);
			ck_assert_int_eq(at, 1);
			ck_assert(!memcmp(store_iter_key(it, &klen), want, strlen(want)));
			at = store_iter_next(it);
		}
		ck_assert_int_eq(at, 0);
		store_iter_close(it);
		ck_assert_int_eq(store_batch_commit(batch), 0);
	}
	store_batch_free(batch);
	store_close(store);
}
END_TEST

static void next_is(struct store_iter *it, int stands, const char *key)
{
	size_t klen;
	const char *k;

	ck_assert_int_eq(stands, key ? 1 : 0);
	if (!key)
		return;
	k = store_iter_key(it, &klen);
	ck_assert_uint_eq(klen, strlen(key));
	ck_assert(!memcmp(k, key, klen));
}

START_TEST(iterators_merge_and_follow_the_batch)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_iter *it;
	size_t vlen;

	put(batch, "a", "1");
	put(batch, "c", "1");
	put(batch, "e", "1");
	put(batch, "g", "1");
	ck_assert_int_eq(store_batch_commit(batch), 0);
	put(batch, "b", "2");
	put(batch, "c", "22");
	ck_assert_int_eq(store_batch_delete(batch, "e", 1), 0);

	it = store_iter_open(store, NULL, "g", 1);
	next_is(it, store_iter_next(it), NULL);
	next_is(it, store_iter_seek(it, "", 0), "a");
	next_is(it, store_iter_next(it), "c");
	next_is(it, store_iter_next(it), "e");
	next_is(it, store_iter_next(it), NULL);
	store_iter_close(it);

	it = store_batch_iter_open(batch, "g", 1);
	next_is(it, store_iter_seek(it, "a", 1), "a");
	next_is(it, store_iter_next(it), "b");
	next_is(it, store_iter_next(it), "c");
	store_iter_value(it, &vlen);
	ck_assert_uint_eq(vlen, 2);
	/* change what lies before, under and behind the iterator */
	ck_assert_int_eq(store_batch_delete(batch, "c", 1), 0);
	put(batch, "bb", "3");
	put(batch, "d", "3");
	put(batch, "h", "3");
	next_is(it, store_iter_next(it), "d");
	next_is(it, store_iter_next(it), NULL);
	next_is(it, store_iter_seek(it, "h", 1), NULL);
	store_iter_close(it);

	it = store_batch_iter_open(batch, NULL, 0);
	next_is(it, store_iter_seek(it, "d", 1), "d");
	next_is(it, store_iter_next(it), "g");
	next_is(it, store_iter_next(it), "h");
	next_is(it, store_iter_next(it), NULL);
	store_iter_close(it);
	store_batch_free(batch);
	store_close(store);
}
END_TEST

START_TEST(large_values_go_to_blob_files_and_come_back)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	size_t len = 100000;
	char *big = malloc(len);
	struct store_value val;

	for (size_t i = 0; i < len; i++)
		big[i] = i * 2654435761u >> 24;
	for (int i = 0; i < 8; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_int_eq(store_batch_put(batch, key, 2, big + i, len - i), 0);
	}
	ck_assert_int_eq(store_batch_commit(batch), 0);
	store_batch_free(batch);
	/* what is in the log is written to tables at the next open */
	store_close(store);
	store = must_open();
	for (int i = 0; i < 8; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_int_eq(store_get(store, NULL, key, 2, &val), 0);
		ck_assert_uint_eq(val.len, len - i);
		ck_assert(!memcmp(val.data, big + i, val.len));
		store_value_put(&val);
	}
	last_file("meta/*.blob", (char[256]){ 0 });
	free(big);
	store_close(store);
}
END_TEST

static void *commit_one(void *arg)
{
	return (void *)(intptr_t)store_batch_commit(arg);
}

START_TEST(nothing_is_seen_before_it_is_synced)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	struct store_iter *it;
	pthread_t thread;
	void *result;
	uint64_t nr;
	int before;

	put(batch, "a", "1");
	before = syncs;
	pthread_mutex_lock(&gate);
	ck_assert_int_eq(pthread_create(&thread, NULL, commit_one, batch), 0);
	while (!waiting)
		usleep(1000);
	usleep(20000);
	expect(store, NULL, "a", NULL);
	it = store_iter_open(store, NULL, NULL, 0);
	ck_assert_int_eq(store_iter_seek(it, "", 0), 0);
	store_iter_close(it);
	ck_assert_int_eq(store_commit_nr(store, NULL, &nr), 0);
	ck_assert_uint_eq(nr, 0);
	ck_assert_int_eq(syncs, before);
	pthread_mutex_unlock(&gate);
	pthread_join(thread, &result);
	ck_assert_int_eq((intptr_t)result, 0);
	ck_assert_int_gt(syncs, before);
	expect(store, NULL, "a", "1");
	store_batch_free(batch);
	store_close(store);
}
END_TEST

START_TEST(a_failed_sync_is_the_end_of_writing)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);

	put(batch, "a", "1");
	ck_assert_int_eq(store_batch_commit(batch), 0);
	ck_assert_int_eq(store_failed(store), 0);
	ck_assert_ptr_null(store_failure(store));
	put(batch, "b", "1");
	sync_errno = EIO;
	ck_assert_int_eq(store_batch_commit(batch), -EIO);
	sync_errno = 0;
	ck_assert_int_eq(store_failed(store), -EIO);
	ck_assert_ptr_nonnull(strstr(store_failure(store), "commit 2"));
	expect(store, NULL, "a", "1");
	expect(store, NULL, "b", NULL);
	put(batch, "c", "1");
	ck_assert_int_eq(store_batch_commit(batch), -EROFS);
	store_batch_free(batch);
	store_close(store);
	store = must_open();
	expect(store, NULL, "a", "1");
	expect(store, NULL, "c", NULL);
	store_close(store);
}
END_TEST

static _Atomic bool stop_reading;

static void *read_on(void *arg)
{
	struct store *store = arg;
	uint64_t last = 0;

	while (!stop_reading) {
		struct store_snap *snap = store_snapshot(store);
		struct store_value a, b;
		uint64_t nr;

		/* each commit writes both: never one without the other */
		if (store_commit_nr(store, snap, &nr) || nr < last)
			return "number";
		last = nr;
		if (nr) {
			if (store_get(store, snap, "a", 1, &a) ||
			    store_get(store, snap, "z", 1, &b))
				return "missing";
			if (memcmp(a.data, b.data, 8) || memcmp(a.data, &nr, 8))
				return "torn";
			store_value_put(&a);
			store_value_put(&b);
		}
		store_snap_put(snap);
	}
	return NULL;
}

START_TEST(readers_see_whole_commits)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);
	pthread_t threads[2];
	void *result;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, store), 0);
	for (int i = 0; i < 200; i++) {
		uint64_t nr = store_batch_nr(batch);

		ck_assert_int_eq(store_batch_put(batch, "a", 1, &nr, 8), 0);
		ck_assert_int_eq(store_batch_put(batch, "z", 1, &nr, 8), 0);
		ck_assert_int_eq(store_batch_commit(batch), 0);
	}
	stop_reading = true;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &result);
		ck_assert_msg(!result, "%s", (char *)result);
	}
	store_batch_free(batch);
	store_close(store);
}
END_TEST

/* By definition, bit by bit. */
static uint32_t slow_crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

START_TEST(checksums_are_crc32c)
{
	uint8_t buf[300];
	uint32_t want, part;

	/* RFC 3720, B.4 */
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
	memset(buf, 0, 32);
	ck_assert_uint_eq(crc32c_by_table(0, buf, 32), 0x8a9136aau);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = i * 131 + (i >> 3);
	for (size_t at = 0; at < 8; at++) {
		for (size_t len = 0; len < 250; len++) {
			want = slow_crc32c(buf + at, len);
			ck_assert_uint_eq(crc32c(0, buf + at, len), want);
			ck_assert_uint_eq(crc32c_by_table(0, buf + at, len), want);
			part = crc32c_by_table(0, buf + at, len / 3);
			ck_assert_uint_eq(crc32c_by_table(part, buf + at + len / 3, len - len / 3), want);
			part = crc32c(0, buf + at, len / 3);
			ck_assert_uint_eq(crc32c(part, buf + at + len / 3, len - len / 3), want);
		}
	}
}
END_TEST

#ifdef __x86_64__
/* Whoever asks for the engine's by its name gets ours: it is exported, and found first. */
START_TEST(the_engine_finds_our_checksum)
{
	ck_assert_ptr_eq(dlsym(RTLD_DEFAULT, ROCKSDB_CRC32C_EXTEND), (void *)rocksdb_crc32c_extend);
	ck_assert_uint_eq(rocksdb_crc32c_extend(0, "123456789", 9), 0xe3069283u);
}
END_TEST
#endif

int main(void)
{
	TCase *tc = tcase_create("store");

	tcase_add_test(tc, root_is_made_once_and_recognized);
	tcase_add_test(tc, disks_are_made_listed_deleted);
	tcase_add_test(tc, one_process_at_a_time);
	tcase_add_test(tc, batch_is_seen_inside_then_committed);
	tcase_add_test(tc, keys_out_of_range_are_refused);
	tcase_add_test(tc, savepoints_nest);
	tcase_add_test(tc, a_large_batch);
	tcase_add_test(tc, iterators_merge_and_follow_the_batch);
	tcase_add_test(tc, large_values_go_to_blob_files_and_come_back);
	tcase_add_test(tc, nothing_is_seen_before_it_is_synced);
	tcase_add_test(tc, a_failed_sync_is_the_end_of_writing);
	tcase_add_test(tc, readers_see_whole_commits);
	tcase_add_test(tc, checksums_are_crc32c);
#ifdef __x86_64__
	tcase_add_test(tc, the_engine_finds_our_checksum);
#endif
	return run_tests(tc, "store");
}

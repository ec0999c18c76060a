// SPDX-License-Identifier: GPL-2.0
/*
 * The data side of the store: sparse files, through the event loop's interface
 * and through the blocking one, and what a flush makes durable.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store_dir.h"

/* Syncs by the threads and by store_run() come through here; the ring's do not. */
static _Atomic int dir_syncs, sync_errno;
static _Atomic bool watching;

static int count_sync(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	struct stat st;

	if (watching && !fstat(fd, &st) && S_ISDIR(st.st_mode))
		atomic_fetch_add(&dir_syncs, 1);
	if (watching && sync_errno) {
		errno = sync_errno;
		return -1;
	}
	return real(fd);
}

int fdatasync(int fd)
{
	return count_sync("fdatasync", fd);
}

static _Atomic int fs_syncs;

int syncfs(int fd)
{
	if (watching)
		atomic_fetch_add(&fs_syncs, 1);
	return count_sync("syncfs", fd);
}

int fsync(int fd)
{
	return count_sync("fsync", fd);
}

static bool all_are(const char *buf, size_t len, char byte)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != byte)
			return false;
	return true;
}

static unsigned int ended;

static void op_done(struct store_op *op, int64_t result)
{
	op->len = (uint64_t)result;
	ended++;
}

/* Runs the loop until @n operations have ended. */
static void wait_for(struct store *store, unsigned int n)
{
	struct pollfd pfd = { .fd = store_fd(store), .events = POLLIN };

	for (;;) {
		store_poll(store);
		if (ended >= n)
			break;
		ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
	}
	ck_assert_uint_eq(ended, n);
}

/* One operation, either way. */
static bool by_loop;

static int64_t run(struct store *store, struct store_op *op)
{
	if (!by_loop)
		return store_run(store, op);
	op->done = op_done;
	ended = 0;
	store_submit(store, op);
	ck_assert_uint_eq(ended, 0);
	wait_for(store, 1);
	return (int64_t)op->len;
}

static int64_t rw(struct store *store, enum store_op_kind kind, uint64_t ino, uint64_t off,
		  void *buf, size_t len)
{
	struct iovec iov[2] = { { buf, len / 3 }, { (char *)buf + len / 3, len - len / 3 } };
	struct store_op op = { .kind = kind, .ino = ino, .off = off, .iov = iov, .iovcnt = 2 };

	return run(store, &op);
}

static int64_t other(struct store *store, enum store_op_kind kind, uint64_t ino, uint64_t off,
		     uint64_t len)
{
	struct store_op op = { .kind = kind, .ino = ino, .off = off, .len = len };

	return run(store, &op);
}

static void ways(void (*test)(struct store *store))
{
	struct store *store = must_create();

	by_loop = false;
	test(store);
	store_close(store);
	ck_assert_int_eq(store_destroy(test_disk, NULL), 0);
	store = must_create();
	by_loop = true;
	test(store);
	store_close(store);
}

/* The last byte of a large write goes first, and fails here as the write itself does. */
static void check_too_large(struct store *store)
{
	const struct rlimit limit = { 80000, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
	static char in[100000], out[100000];

	memset(in, 'x', sizeof(in));
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 0, in, 10), 10);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 0, in, sizeof(in)), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	ck_assert_int_eq(store_failed(store), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 5, 0, out, sizeof(out)), limit.rlim_cur);
	ck_assert(all_are(out, limit.rlim_cur, 'x'));
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 0, in, sizeof(in)), sizeof(in));
	ck_assert_int_eq(rw(store, STORE_READ, 5, 0, out, sizeof(out)), sizeof(out));
	ck_assert(!memcmp(in, out, sizeof(in)));
}

START_TEST(a_write_that_is_too_large_fails_and_no_other)
{
	ways(check_too_large);
}
END_TEST

/* Nothing that was written went nowhere: a place that somebody has removed is an error. */
static void check_no_place(struct store *store)
{
	char data[sizeof(test_disk) + 8], byte = 'x';

	snprintf(data, sizeof(data), "%s/data", test_disk);
	ck_assert_int_eq(nftw(data, test_remove, 64, FTW_DEPTH | FTW_PHYS), 0);
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 0, &byte, 1), -EIO);
	ck_assert_int_eq(rw(store, STORE_READ, 5, 0, &byte, 1), 0);
}

START_TEST(a_write_without_a_place_fails)
{
	ways(check_no_place);
}
END_TEST

static void check_read_write(struct store *store)
{
	static char in[100000], out[100000];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = i * 2654435761u >> 20;
	ck_assert_int_eq(rw(store, STORE_READ, 5, 0, out, 10), 0);
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 1000, in, sizeof(in)), sizeof(in));
	ck_assert_int_eq(rw(store, STORE_READ, 5, 1000, out, sizeof(out)), sizeof(out));
	ck_assert(!memcmp(in, out, sizeof(in)));
	/* short at the end, zeros before the beginning */
	ck_assert_int_eq(rw(store, STORE_READ, 5, 100990, out, 100), 10);
	ck_assert_int_eq(rw(store, STORE_READ, 5, 200000, out, 100), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 5, 0, out, 1000), 1000);
	ck_assert(all_are(out, 1000, 0));
	ck_assert_int_eq(rw(store, STORE_WRITE, 5, 0, in, 0), 0);
}

START_TEST(bytes_come_back)
{
	ways(check_read_write);
}
END_TEST

static void check_shapes(struct store *store)
{
	static char block[65536], out[65536];
	int64_t space;

	memset(block, 'x', sizeof(block));
	/* nothing there yet */
	ck_assert_int_eq(other(store, STORE_TRUNCATE, 7, 0, 0), 0);
	ck_assert_int_eq(other(store, STORE_PUNCH, 7, 0, 10), 0);
	ck_assert_int_eq(other(store, STORE_REMOVE, 7, 0, 0), 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 7, 0, 0), 0);
	ck_assert_int_eq(other(store, STORE_SEEK_DATA, 7, 3, 0), -ENXIO);
	ck_assert_int_eq(other(store, STORE_SEEK_HOLE, 7, 3, 0), 3);
	ck_assert_int_eq(other(store, STORE_SPACE, 7, 0, 0), 0);

	ck_assert_int_eq(rw(store, STORE_WRITE, 7, 0, block, 65536), 65536);
	ck_assert_int_eq(rw(store, STORE_WRITE, 7, 1 << 20, block, 65536), 65536);
	ck_assert_int_eq(other(store, STORE_SEEK_HOLE, 7, 0, 0), 65536);
	ck_assert_int_eq(other(store, STORE_SEEK_DATA, 7, 65536, 0), 1 << 20);
	ck_assert_int_eq(other(store, STORE_SEEK_HOLE, 7, 2 << 20, 0), 2 << 20);
	ck_assert_int_eq(other(store, STORE_SEEK_DATA, 7, 2 << 20, 0), -ENXIO);

	ck_assert_int_eq(other(store, STORE_FLUSH, 7, 0, 0), 0);
	space = other(store, STORE_SPACE, 7, 0, 0);
	ck_assert_int_ge(space, 2 * 65536);
	ck_assert_int_lt(space, 1 << 20);
	ck_assert_int_eq(other(store, STORE_PUNCH, 7, 1 << 20, 65536), 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 7, 0, 0), 0);
	ck_assert_int_le(other(store, STORE_SPACE, 7, 0, 0), space - 65536);

	ck_assert_int_eq(other(store, STORE_PUNCH, 7, 100, 4000), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 0, out, 65536), 65536);
	ck_assert(all_are(out, 100, 'x') && all_are(out + 100, 4000, 0) &&
		  all_are(out + 4100, 65536 - 4100, 'x'));

	/* cut, and grow again: the rest stays gone */
	ck_assert_int_eq(other(store, STORE_TRUNCATE, 7, 5000, 0), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 0, out, 65536), 5000);
	ck_assert_int_eq(other(store, STORE_TRUNCATE, 7, 50000, 0), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 0, out, 65536), 5000);
	ck_assert_int_eq(rw(store, STORE_WRITE, 7, 10000, block, 1), 1);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 5000, out, 65536), 5001);
	ck_assert(all_are(out, 5000, 0));

	ck_assert_int_eq(other(store, STORE_ALLOCATE, 7, 0, 1 << 20), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 10001, out, 10), 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 7, 0, 0), 0);
	ck_assert_int_ge(other(store, STORE_SPACE, 7, 0, 0), 1 << 20);
	ck_assert_int_eq(other(store, STORE_REMOVE, 7, 0, 0), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 7, 0, out, 10), 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 7, 0, 0), 0);
}

START_TEST(files_are_cut_punched_removed)
{
	ways(check_shapes);
}
END_TEST

static void check_ranges(struct store *store)
{
	struct store_statfs st;
	char byte = 'x';

	ck_assert_int_eq(store_statfs(store, &st), 0);
	ck_assert_uint_ge(st.total, st.free);
	ck_assert_uint_ge(st.free, st.avail);
	ck_assert_uint_gt(st.max_file_size, 1ull << 31);

	ck_assert_int_eq(rw(store, STORE_READ, STORE_INO_MAX, 0, &byte, 1), -EINVAL);
	ck_assert_int_eq(rw(store, STORE_WRITE, 9, UINT64_MAX, &byte, 1), -EINVAL);
	ck_assert_int_eq(rw(store, STORE_WRITE, 9, INT64_MAX, &byte, 1), -EINVAL);
	ck_assert_int_eq(rw(store, STORE_WRITE, 9, st.max_file_size, &byte, 1), -EFBIG);
	ck_assert_int_eq(other(store, STORE_ALLOCATE, 9, 0, st.max_file_size + 1), -EFBIG);
	ck_assert_int_eq(other(store, STORE_PUNCH, 9, 1, INT64_MAX), -EINVAL);
	ck_assert_int_eq(rw(store, STORE_WRITE, 9, st.max_file_size - 1, &byte, 1), 1);
	byte = 0;
	ck_assert_int_eq(rw(store, STORE_READ, 9, st.max_file_size - 1, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
}

START_TEST(ranges_are_checked)
{
	ways(check_ranges);
}
END_TEST

#define MANY	500

/* More files than may be open, all at once, each written twice in parts. */
START_TEST(many_at_once)
{
	struct store_opts opts = { .max_data_fds = 16 };
	static struct store_op ops[MANY];
	static struct iovec iovs[MANY];
	static char bufs[MANY][4096];
	struct store *store;
	char *msg = NULL;

	ck_assert_int_eq(store_create(test_disk, &msg), 0);
	ck_assert_int_eq(store_open(test_disk, &opts, &store, &msg), 0);
	for (int pass = 0; pass < 4; pass++) {
		/* write even ones, the rest, flush, read */
		static const enum store_op_kind kinds[] = {
			STORE_WRITE, STORE_WRITE, STORE_FLUSH, STORE_READ,
		};
		ended = 0;
		for (int i = 0; i < MANY; i++) {
			uint64_t half = pass == 1 ? 2048 : 0;

			if (pass < 2)
				memset(bufs[i] + half, 1 + i % 100 + pass, 2048);
			else
				memset(bufs[i], 0, sizeof(bufs[i]));
			iovs[i].iov_base = bufs[i] + half;
			iovs[i].iov_len = pass < 2 ? 2048 : 4096;
			ops[i] = (struct store_op){
				.kind = kinds[pass], .ino = 1000 + i * 77, .off = half,
				.iov = &iovs[i], .iovcnt = 1, .done = op_done,
			};
			store_submit(store, &ops[i]);
		}
		wait_for(store, MANY);
		for (int i = 0; i < MANY; i++)
			ck_assert_int_eq((int64_t)ops[i].len, pass == 2 ? 0 : pass == 3 ? 4096 : 2048);
	}
	for (int i = 0; i < MANY; i++)
		ck_assert(all_are(bufs[i], 2048, 1 + i % 100) &&
			  all_are(bufs[i] + 2048, 2048, 2 + i % 100));
	store_close(store);
}
END_TEST

START_TEST(writes_to_one_new_file_at_once)
{
	static struct store_op ops[64];
	static struct iovec iovs[64];
	static char buf[64][512], out[64 * 512];
	struct store *store = must_create();

	ended = 0;
	for (int i = 0; i < 64; i++) {
		memset(buf[i], i, 512);
		iovs[i] = (struct iovec){ buf[i], 512 };
		ops[i] = (struct store_op){
			.kind = STORE_WRITE, .ino = 3, .off = 512 * i, .iov = &iovs[i],
			.iovcnt = 1, .done = op_done,
		};
		store_submit(store, &ops[i]);
	}
	wait_for(store, 64);
	by_loop = true;
	ck_assert_int_eq(other(store, STORE_FLUSH, 3, 0, 0), 0);
	ck_assert_int_eq(rw(store, STORE_READ, 3, 0, out, sizeof(out)), sizeof(out));
	for (int i = 0; i < 64; i++)
		ck_assert(all_are(out + 512 * i, 512, i));
	store_close(store);
}
END_TEST

static void check_dirs(struct store *store)
{
	char byte = 1;

	watching = true;
	dir_syncs = 0;
	ck_assert_int_eq(rw(store, STORE_WRITE, 300, 0, &byte, 1), 1);
	ck_assert_int_eq(dir_syncs, 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 300, 0, 0), 0);
	/* the file's directory is new, so is that one's */
	ck_assert_int_eq(dir_syncs, 3);
	ck_assert_int_eq(rw(store, STORE_WRITE, 300, 9, &byte, 1), 1);
	ck_assert_int_eq(other(store, STORE_FLUSH, 300, 0, 0), 0);
	ck_assert_int_eq(dir_syncs, 3);
	/* a neighbour is a new name in the same directory */
	ck_assert_int_eq(rw(store, STORE_WRITE, 301, 0, &byte, 1), 1);
	ck_assert_int_eq(other(store, STORE_FLUSH, 301, 0, 0), 0);
	ck_assert_int_eq(dir_syncs, 4);
	ck_assert_int_eq(other(store, STORE_REMOVE, 301, 0, 0), 0);
	ck_assert_int_eq(other(store, STORE_FLUSH, 301, 0, 0), 0);
	ck_assert_int_eq(dir_syncs, 5);
	ck_assert_int_eq(other(store, STORE_FLUSH, 301, 0, 0), 0);
	ck_assert_int_eq(dir_syncs, 5);
	watching = false;
}

START_TEST(a_flush_covers_the_names)
{
	ways(check_dirs);
}
END_TEST

static void check_failed_flush(struct store *store)
{
	struct store_batch *batch = store_batch_new(store);
	char byte = 1;

	ck_assert_int_eq(rw(store, STORE_WRITE, 300, 0, &byte, 1), 1);
	watching = true;
	sync_errno = EIO;
	ck_assert_int_eq(other(store, STORE_FLUSH, 300, 0, 0), -EIO);
	watching = false;
	sync_errno = 0;
	ck_assert_int_eq(store_failed(store), -EIO);
	ck_assert_ptr_nonnull(strstr(store_failure(store), "flush of data/"));
	/* never again, not even of other things */
	ck_assert_int_eq(other(store, STORE_FLUSH, 300, 0, 0), -EROFS);
	ck_assert_int_eq(rw(store, STORE_WRITE, 301, 0, &byte, 1), -EROFS);
	put(batch, "a", "1");
	ck_assert_int_eq(store_batch_commit(batch), -EROFS);
	/* what is there can be read */
	ck_assert_int_eq(rw(store, STORE_READ, 300, 0, &byte, 1), 1);
	store_batch_free(batch);
}

START_TEST(a_failed_flush_is_the_end_of_writing)
{
	ways(check_failed_flush);
}
END_TEST

enum { GROUP = 40 };

/* Submits a flush of each of GROUP files at the same time; what each came to is in its len. */
static void flush_group(struct store *store, struct store_op *op)
{
	memset(op, 0, GROUP * sizeof(*op));
	ended = 0;
	for (unsigned int i = 0; i < GROUP; i++) {
		op[i].kind = STORE_FLUSH;
		op[i].ino = 1000 + 300 * i;
		op[i].done = op_done;
		store_submit(store, &op[i]);
	}
	wait_for(store, GROUP);
}

static void write_group(struct store *store)
{
	char byte = 1;

	for (unsigned int i = 0; i < GROUP; i++)
		ck_assert_int_eq(rw(store, STORE_WRITE, 1000 + 300 * i, 0, &byte, 1), 1);
}

START_TEST(many_flushes_are_one_sync)
{
	struct store *store = must_create();
	struct store_op op[GROUP];

	by_loop = true;
	write_group(store);
	watching = true;
	dir_syncs = 0;
	fs_syncs = 0;
	flush_group(store, op);
	ck_assert_int_eq(fs_syncs, 1);
	ck_assert_int_eq(dir_syncs, 1);		/* that one: no directory of its own */
	for (unsigned int i = 0; i < GROUP; i++)
		ck_assert_int_eq(op[i].len, 0);
	/* names and bytes are known to be durable */
	ck_assert_int_eq(other(store, STORE_FLUSH, 1000, 0, 0), 0);
	ck_assert_int_eq(dir_syncs, 1);

	write_group(store);
	sync_errno = EIO;
	flush_group(store, op);
	watching = false;
	sync_errno = 0;
	for (unsigned int i = 0; i < GROUP; i++)
		ck_assert_int_eq((int64_t)op[i].len, -EIO);
	ck_assert_int_eq(store_failed(store), -EIO);
	store_close(store);
}
END_TEST

static unsigned int chain_left;

static void chain(struct store_op *op, int64_t result)
{
	ck_assert_int_eq(result, 0);
	ended++;
	if (chain_left--)
		store_submit((struct store *)op->off, op);
}

/* An operation that ends at once, submitted from done(), does not recurse or stall. */
START_TEST(done_may_submit)
{
	struct store *store = must_create();
	struct store_op op = { .kind = STORE_READ, .ino = 1, .done = chain };

	op.off = (uintptr_t)store;
	chain_left = 100000;
	ended = 0;
	store_submit(store, &op);
	wait_for(store, 100001);
	store_close(store);
}
END_TEST

static int sum_up(void *arg, uint64_t ino, uint64_t bytes)
{
	uint64_t *sums = arg;

	sums[0] += ino;
	sums[1] += bytes;
	return 0;
}

START_TEST(all_inodes_with_data_are_listed)
{
	struct store *store = must_create();
	uint64_t sums[2] = { 0 }, want = 0;
	char buf[8192] = "x";

	by_loop = false;
	for (uint64_t ino = 1; ino < STORE_INO_MAX; ino = ino * 5 + 3) {
		ck_assert_int_eq(rw(store, STORE_WRITE, ino, 0, buf, sizeof(buf)), sizeof(buf));
		ck_assert_int_eq(other(store, STORE_FLUSH, ino, 0, 0), 0);
		want += ino;
	}
	ck_assert_int_eq(store_data_each(store, sum_up, sums), 0);
	ck_assert_uint_eq(sums[0], want);
	ck_assert_uint_gt(sums[1], 8192);
	store_close(store);
}
END_TEST

START_TEST(data_survives_a_restart)
{
	struct store *store = must_create();
	char buf[4] = "abc";

	by_loop = true;
	ck_assert_int_eq(rw(store, STORE_WRITE, 12, 4096, buf, 4), 4);
	store_close(store);
	store = must_open();
	memset(buf, 0, 4);
	ck_assert_int_eq(rw(store, STORE_READ, 12, 4096, buf, 4), 4);
	ck_assert_str_eq(buf, "abc");
	store_close(store);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("data");

	tcase_add_test(tc, a_write_that_is_too_large_fails_and_no_other);
	tcase_add_test(tc, a_write_without_a_place_fails);
	tcase_add_test(tc, bytes_come_back);
	tcase_add_test(tc, files_are_cut_punched_removed);
	tcase_add_test(tc, ranges_are_checked);
	tcase_add_test(tc, many_at_once);
	tcase_add_test(tc, writes_to_one_new_file_at_once);
	tcase_add_test(tc, a_flush_covers_the_names);
	tcase_add_test(tc, a_failed_flush_is_the_end_of_writing);
	tcase_add_test(tc, many_flushes_are_one_sync);
	tcase_add_test(tc, done_may_submit);
	tcase_add_test(tc, all_inodes_with_data_are_listed);
	tcase_add_test(tc, data_survives_a_restart);
	return run_tests(tc, "data");
}

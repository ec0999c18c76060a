// SPDX-License-Identifier: GPL-2.0
/*
 * What the store says when its files are not what it wrote: every bit of its
 * logs, bytes all over its tables, lost tails, lost files; and that what a crash
 * leaves behind is not mistaken for damage.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "store_dir.h"

#define COMMITS	20

static unsigned int seed = 1;

static void commit_nr(struct store *store, struct store_batch *batch, int i, size_t len)
{
	char key[16], *val = malloc(len + 1);

	snprintf(key, sizeof(key), "key-%06d", i);
	for (size_t j = 0; j < len; j++)
		val[j] = 'a' + rand_r(&seed) % 26;
	val[len] = 0;
	(void)store;
	put(batch, key, val);
	ck_assert_int_eq(store_batch_commit(batch), 0);
	free(val);
}

/*
 * A disk whose process dies after @n commits of @len bytes each. (First thing in
 * a test: the engine's threads do not survive a fork.)
 */
static void make_crashed(int n, size_t len)
{
	int status;
	pid_t pid;

	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct store *store = must_create();
		struct store_batch *batch = store_batch_new(store);

		for (int i = 0; i < n; i++)
			commit_nr(store, batch, i, len);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A disk that was closed in order, with its commits in the log. */
static void make_closed(int n, size_t len)
{
	struct store *store = must_create();
	struct store_batch *batch = store_batch_new(store);

	for (int i = 0; i < n; i++)
		commit_nr(store, batch, i, len);
	store_batch_free(batch);
	store_close(store);
}

/* How many of @n keys are there, and are they the first ones? */
static int count_keys(struct store *store, int n)
{
	int found = 0;

	for (int i = 0; i < n; i++) {
		struct store_value val;
		char key[16];

		snprintf(key, sizeof(key), "key-%06d", i);
		if (store_get(store, NULL, key, strlen(key), &val))
			continue;
		ck_assert_int_eq(found, i);
		found++;
		store_value_put(&val);
	}
	return found;
}

static const char *base(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* The open is refused, and the sentence names @path. */
static void must_refuse(const char *path, const char *how, off_t at)
{
	struct store *store = NULL;
	char *msg = NULL;
	int err = store_open(test_disk, NULL, &store, &msg);

	ck_assert_msg(err == -EUCLEAN, "%s at %jd: %d %s", how, (intmax_t)at, err, msg);
	ck_assert_msg(strstr(msg, base(path)), "%s at %jd: %s", how, (intmax_t)at, msg);
	free(msg);
}

static char *slurp(const char *path, off_t size)
{
	char *data = malloc(size);
	FILE *f = fopen(path, "r");

	ck_assert_uint_eq(fread(data, 1, size, f), size);
	fclose(f);
	return data;
}

/* Where the log ends in a file; behind that is prepared space. */
static off_t log_end(const char *path)
{
	off_t end = file_size(path);
	char *data = slurp(path, end);

	while (end && !data[end - 1])
		end--;
	free(data);
	return end;
}

static void flip_each_bit(const char *path)
{
	off_t size = log_end(path);

	for (off_t at = 0; at < size; at++) {
		for (int bit = 0; bit < 8; bit++) {
			flip(path, at, 1 << bit);
			must_refuse(path, "flip", at);
			flip(path, at, 1 << bit);
		}
	}
	store_close(must_open());
}

/* A copy of the disk, and back. */
static void copy_disk(const char *from, const char *to)
{
	char command[400];

	snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(every_bit_of_the_log_counts_after_a_crash)
{
	struct store *store;
	char path[256];

	make_crashed(COMMITS, 40);
	last_file("meta/*.log", path);
	ck_assert_int_gt(log_end(path), COMMITS * 40);
	/* some of it is in space that was prepared */
	ck_assert_int_gt(file_size(path), log_end(path) + 1000);
	flip_each_bit(path);
	store = must_open();
	ck_assert_int_eq(count_keys(store, COMMITS), COMMITS);
	store_close(store);
}
END_TEST

START_TEST(prepared_space_is_not_of_the_log)
{
	char path[256], kept[200];
	off_t end, size;

	snprintf(kept, sizeof(kept), "%s/kept", test_dir);
	make_crashed(COMMITS, 40);
	last_file("meta/*.log", path);
	copy_disk(test_disk, kept);
	end = log_end(path);
	size = file_size(path);
	/* a sector is written whole: this is no beginning of a commit */
	flip(path, end + 8, 1);
	must_refuse(path, "flip", end + 8);
	flip(path, end + 8, 1);
	/* as it was left, and with something in it of which the beginning was not written */
	for (off_t at = end - 1; at < size; at += at < end ? 1024 : size / 40) {
		struct store *store;

		if (at >= end)
			flip(path, at, 1 << at % 8);
		store = must_open();
		ck_assert_int_eq(count_keys(store, COMMITS), COMMITS);
		store_close(store);
		copy_disk(kept, test_disk);
	}
}
END_TEST

START_TEST(many_small_commits_come_back)
{
	struct store *store;
	char path[256];
	int n = 3000;

	make_crashed(n, 300);	/* through several spaces */
	last_file("meta/*.log", path);
	ck_assert_int_gt(log_end(path), n * 300);
	ck_assert_int_gt(file_size(path), log_end(path));
	ck_assert_int_lt(file_size(path), log_end(path) + (300 << 10));
	store = must_open();
	ck_assert_int_eq(count_keys(store, n), n);
	store_close(store);
	/* a log that was closed has none */
	last_file("meta/*.log", path);
	ck_assert_int_eq(file_size(path), log_end(path));
}
END_TEST

START_TEST(every_bit_of_the_log_counts_after_a_close)
{
	char path[256];

	make_closed(COMMITS, 40);
	last_file("meta/*.log", path);
	flip_each_bit(path);
}
END_TEST

START_TEST(long_records_count_too)
{
	char path[256];
	off_t size;

	make_crashed(6, 50000);
	last_file("meta/*.log", path);
	size = file_size(path);
	ck_assert_int_gt(size, 6 * 50000);
	/* around the bounds of the blocks of the log, and anywhere */
	for (int i = 0; i < 400; i++) {
		off_t at = i < 200 ? 32768 * (1 + i % 9) - 20 + i % 40 : rand_r(&seed) % size;
		unsigned char mask = 1 << rand_r(&seed) % 8;

		flip(path, at, mask);
		must_refuse(path, "flip", at);
		flip(path, at, mask);
	}
	store_close(must_open());
}
END_TEST

START_TEST(every_bit_of_the_manifest_counts)
{
	char path[256];

	make_crashed(COMMITS, 5000);
	store_close(must_open());	/* now there are tables and a blob file */
	last_file("meta/MANIFEST-*", path);
	flip_each_bit(path);
	/* and without the mark of the close */
	snprintf(path, sizeof(path), "%s/clean", test_disk);
	ck_assert_int_eq(unlink(path), 0);
	last_file("meta/MANIFEST-*", path);
	flip_each_bit(path);
}
END_TEST

START_TEST(every_bit_of_current_counts)
{
	char path[256];

	make_crashed(1, 10);
	last_file("meta/CURRENT", path);
	flip_each_bit(path);
}
END_TEST

/* ---- tails -------------------------------------------------------------------- */


START_TEST(a_torn_tail_costs_the_last_commit_only)
{
	char path[256], kept[200];
	off_t size, last;

	snprintf(kept, sizeof(kept), "%s/kept", test_dir);
	make_crashed(COMMITS, 700);
	last_file("meta/*.log", path);
	copy_disk(test_disk, kept);
	size = log_end(path);
	last = size / COMMITS * (COMMITS - 1);	/* they are all of one length */
	ck_assert_int_eq(size % COMMITS, 0);
	for (off_t end = last; end < size; end += end - last < 20 ? 1 : 31) {
		struct store *store;

		ck_assert_int_eq(truncate(path, end), 0);
		store = must_open();
		ck_assert_int_eq(count_keys(store, COMMITS), COMMITS - 1);
		store_close(store);
		copy_disk(kept, test_disk);
	}
	/* grown, but never written */
	for (off_t end = last; end + 512 < size; end += 97) {
		struct store *store;

		ck_assert_int_eq(truncate(path, end), 0);
		ck_assert_int_eq(truncate(path, end % 2 ? size : 1 << 20), 0);
		store = must_open();
		ck_assert_int_eq(count_keys(store, COMMITS), COMMITS - 1);
		store_close(store);
		/* cut off for good: it opens again, and what was there stays */
		store = must_open();
		ck_assert_int_eq(count_keys(store, COMMITS), COMMITS - 1);
		store_close(store);
		copy_disk(kept, test_disk);
	}
}
END_TEST

START_TEST(a_long_torn_tail_costs_the_last_commit_only)
{
	char path[256], kept[200];
	off_t size;

	snprintf(kept, sizeof(kept), "%s/kept", test_dir);
	make_crashed(3, 80000);
	last_file("meta/*.log", path);
	copy_disk(test_disk, kept);
	size = log_end(path);
	for (off_t end = size / 3 * 2 + 100; end < size; end += 9973) {
		struct store *store;
		int fd;

		ck_assert_int_eq(truncate(path, end), 0);
		store = must_open();
		ck_assert_int_eq(count_keys(store, 3), 2);
		store_close(store);
		copy_disk(kept, test_disk);

		/* one sector in it was not written, what follows was */
		fd = open(path, O_RDWR);
		ck_assert_int_eq(pwrite(fd, (char[512]){ 0 }, 512, end / 512 * 512), 512);
		close(fd);
		store = must_open();
		ck_assert_int_eq(count_keys(store, 3), 2);
		store_close(store);
		copy_disk(kept, test_disk);
	}
}
END_TEST

START_TEST(a_zeroed_sector_in_the_middle_is_damage)
{
	char path[256];
	off_t size;
	char *data;
	int fd;

	make_crashed(COMMITS, 2000);
	last_file("meta/*.log", path);
	size = log_end(path);
	data = slurp(path, size);
	fd = open(path, O_RDWR);
	for (off_t at = 0; at + 4096 < size; at += 512) {
		ck_assert_int_eq(pwrite(fd, (char[512]){ 0 }, 512, at), 512);
		must_refuse(path, "zeros", at);
		ck_assert_int_eq(pwrite(fd, data + at, 512, at), 512);
	}
	close(fd);
	free(data);
	store_close(must_open());
}
END_TEST

START_TEST(a_lost_tail_after_a_close_is_damage)
{
	const char *patterns[] = { "meta/*.log", "meta/MANIFEST-*", "meta/CURRENT", "clean" };

	make_closed(COMMITS, 40);
	for (size_t i = 0; i < 4; i++) {
		char path[256];
		off_t size, step;
		char *data;
		int fd;

		last_file(patterns[i], path);
		size = file_size(path);
		step = size > 200 ? size / 100 : 1;
		data = slurp(path, size);
		for (off_t end = 0; end < size; end += step) {
			ck_assert_int_eq(truncate(path, end), 0);
			must_refuse(path, "end", end);
			fd = open(path, O_WRONLY);
			ck_assert_int_eq(pwrite(fd, data, size, 0), size);
			close(fd);
		}
		free(data);
	}
	store_close(must_open());
}
END_TEST

START_TEST(a_lost_log_after_a_close_is_damage)
{
	char path[256], other[300];

	make_closed(COMMITS, 40);
	last_file("meta/*.log", path);
	snprintf(other, sizeof(other), "%s.away", path);
	ck_assert_int_eq(rename(path, other), 0);
	must_refuse(path, "missing", 0);
	ck_assert_int_eq(rename(other, path), 0);
	store_close(must_open());
}
END_TEST

START_TEST(a_record_missing_between_two_is_damage)
{
	off_t size, one;
	char path[256];
	char *data;
	FILE *f;

	make_crashed(COMMITS, 100);
	last_file("meta/*.log", path);
	size = log_end(path);
	one = size / COMMITS;
	data = slurp(path, size);
	f = fopen(path, "w");
	fwrite(data, 1, one * 5, f);
	fwrite(data + one * 6, 1, size - one * 6, f);
	fclose(f);
	must_refuse(path, "missing record", one * 5);
	free(data);
}
END_TEST

/* ---- tables --------------------------------------------------------------------- */

static void keep_line(void *arg, const char *text)
{
	char **lines = arg, *more;

	ck_assert_int_ge(asprintf(&more, "%s%s\n", *lines ? *lines : "", text), 0);
	free(*lines);
	*lines = more;
}

/* The check of the closed disk finds damage and names @path. */
static void check_must_find(const char *path, off_t at)
{
	char *lines = NULL, *msg = NULL;
	int n = store_check_path(test_disk, keep_line, &lines, &msg);

	ck_assert_msg(n > 0, "%s at %jd: %d %s", path, (intmax_t)at, n, msg);
	ck_assert_msg(strstr(lines, base(path)), "%s at %jd: %s", path, (intmax_t)at, lines);
	free(lines);
}

/* Reading everything meets the damage, or the open did; @path is named. */
static void read_must_fail(const char *path, off_t at)
{
	struct store *store = NULL;
	struct store_batch *batch;
	char *msg = NULL;
	int err, bad = 0;

	err = store_open(test_disk, NULL, &store, &msg);
	if (err) {
		ck_assert_int_eq(err, -EUCLEAN);
		ck_assert_msg(strstr(msg, base(path)), "%s", msg);
		free(msg);
		return;
	}
	for (int i = 0; i < COMMITS; i++) {
		struct store_value val;
		char key[16];

		snprintf(key, sizeof(key), "key-%06d", i);
		err = store_get(store, NULL, key, strlen(key), &val);
		if (!err) {
			store_value_put(&val);
			continue;
		}
		ck_assert_int_eq(err, -EUCLEAN);
		bad++;
	}
	ck_assert_msg(bad, "%s at %jd not noticed", path, (intmax_t)at);
	ck_assert_int_eq(store_failed(store), -EUCLEAN);
	ck_assert_msg(strstr(store_failure(store), base(path)), "%s", store_failure(store));
	batch = store_batch_new(store);
	put(batch, "more", "1");
	ck_assert_int_eq(store_batch_commit(batch), -EROFS);
	store_batch_free(batch);
	store_close(store);
}

static void damage_tables(const char *pattern, size_t len)
{
	char path[256], kept[200];
	off_t size;

	snprintf(kept, sizeof(kept), "%s/kept", test_dir);
	make_crashed(COMMITS, len);
	store_close(must_open());
	last_file(pattern, path);
	size = file_size(path);
	copy_disk(test_disk, kept);
	for (int i = 0; i < 25; i++) {
		off_t at = rand_r(&seed) % size;

		flip(path, at, 1 << rand_r(&seed) % 8);
		check_must_find(path, at);
		copy_disk(kept, test_disk);
	}
	/* the beginning is data: it must fail to be read */
	for (int i = 0; i < 10; i++) {
		off_t at = 100 + rand_r(&seed) % (COMMITS * len / 4);

		flip(path, at, 1 << rand_r(&seed) % 8);
		read_must_fail(path, at);
		copy_disk(kept, test_disk);
	}
	ck_assert_int_eq(truncate(path, size - 1), 0);
	must_refuse(path, "truncated", size - 1);
	check_must_find(path, size - 1);
	ck_assert_int_eq(unlink(path), 0);
	must_refuse(path, "missing", 0);
	check_must_find(path, 0);
}

START_TEST(a_damaged_table_is_named)
{
	damage_tables("meta/*.sst", 1000);
}
END_TEST

START_TEST(a_damaged_blob_file_is_named)
{
	damage_tables("meta/*.blob", 8000);
}
END_TEST

START_TEST(check_finds_all_and_nothing_else)
{
	char *lines = NULL, *msg = NULL, wal[256], table[256], blob[256];
	struct store *store;
	struct store_batch *batch;

	ck_assert_int_eq(store_check_path(test_disk, keep_line, &lines, &msg), -ENOENT);
	ck_assert_ptr_nonnull(msg);
	free(msg);
	make_crashed(COMMITS, 6000);
	ck_assert_int_eq(store_check_path(test_disk, keep_line, &lines, &msg), 0);
	ck_assert_ptr_null(lines);

	/* beside changes */
	store = must_open();
	batch = store_batch_new(store);
	for (int i = 0; i < COMMITS; i++)
		commit_nr(store, batch, i, 500);
	ck_assert_int_eq(store_check_path(test_disk, keep_line, &lines, &msg), -EBUSY);
	free(msg);
	ck_assert_int_eq(store_check(store, keep_line, &lines), 0);
	ck_assert_ptr_null(lines);
	commit_nr(store, batch, COMMITS, 500);
	store_batch_free(batch);
	store_close(store);

	last_file("meta/*.log", wal);
	last_file("meta/*.sst", table);
	last_file("meta/*.blob", blob);
	flip(wal, 30, 4);
	flip(table, 300, 4);
	flip(blob, 300, 4);
	ck_assert_int_ge(store_check_path(test_disk, keep_line, &lines, &msg), 3);
	for (char *line = lines; *line; line = strchr(line, '\n') + 1)
		ck_assert_msg(strstr(line, base(wal)) || strstr(line, base(table)) ||
			      strstr(line, base(blob)), "%s", line);
	ck_assert_ptr_nonnull(strstr(lines, base(wal)));
	ck_assert_ptr_nonnull(strstr(lines, base(table)));
	ck_assert_ptr_nonnull(strstr(lines, base(blob)));
	free(lines);
}
END_TEST

START_TEST(check_of_an_open_disk_finds_damage)
{
	struct store *store;
	char *lines = NULL, path[256];

	make_crashed(COMMITS, 6000);
	store = must_open();
	last_file("meta/*.blob", path);
	flip(path, 5000, 1);
	ck_assert_int_gt(store_check(store, keep_line, &lines), 0);
	ck_assert_ptr_nonnull(strstr(lines, base(path)));
	free(lines);
	ck_assert_int_eq(store_failed(store), -EUCLEAN);
	store_close(store);
}
END_TEST

/* ---- crashes ---------------------------------------------------------------------- */

/* Commits and reports until killed. */
static void commit_until_killed(int nr, int fd)
{
	struct store *store = nr ? must_open() : must_create();
	struct store_batch *batch = store_batch_new(store);

	for (; ; nr++) {
		commit_nr(store, batch, nr, 10 + rand_r(&seed) % 9000);
		if (write(fd, &nr, sizeof(nr)) != sizeof(nr))
			_exit(1);
	}
}

START_TEST(what_was_acknowledged_survives_a_kill)
{
	int acked = 0, found;
	struct store *store;

	for (int round = 0; round < 5; round++) {
		int fds[2], nr, status;
		pid_t pid;

		ck_assert_int_eq(pipe(fds), 0);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (!pid) {
			close(fds[0]);
			commit_until_killed(acked, fds[1]);
		}
		close(fds[1]);
		for (int i = 0; i < 50 + 37 * round; i++) {
			ck_assert_int_eq(read(fds[0], &nr, sizeof(nr)), sizeof(nr));
			ck_assert_int_eq(nr, acked);
			acked = nr + 1;
		}
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		while (read(fds[0], &nr, sizeof(nr)) == sizeof(nr))
			acked = nr + 1;
		close(fds[0]);
	}
	store = must_open();
	found = count_keys(store, acked + 1);
	ck_assert_msg(found == acked || found == acked + 1, "%d of %d", found, acked);
	store_close(store);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("damage");

	tcase_add_test(tc, every_bit_of_the_log_counts_after_a_crash);
	tcase_add_test(tc, prepared_space_is_not_of_the_log);
	tcase_add_test(tc, many_small_commits_come_back);
	tcase_add_test(tc, every_bit_of_the_log_counts_after_a_close);
	tcase_add_test(tc, long_records_count_too);
	tcase_add_test(tc, every_bit_of_the_manifest_counts);
	tcase_add_test(tc, every_bit_of_current_counts);
	tcase_add_test(tc, a_torn_tail_costs_the_last_commit_only);
	tcase_add_test(tc, a_long_torn_tail_costs_the_last_commit_only);
	tcase_add_test(tc, a_zeroed_sector_in_the_middle_is_damage);
	tcase_add_test(tc, a_lost_tail_after_a_close_is_damage);
	tcase_add_test(tc, a_lost_log_after_a_close_is_damage);
	tcase_add_test(tc, a_record_missing_between_two_is_damage);
	tcase_add_test(tc, a_damaged_table_is_named);
	tcase_add_test(tc, a_damaged_blob_file_is_named);
	tcase_add_test(tc, check_finds_all_and_nothing_else);
	tcase_add_test(tc, check_of_an_open_disk_finds_damage);
	tcase_add_test(tc, what_was_acknowledged_survives_a_kill);
	return run_tests(tc, "damage");
}

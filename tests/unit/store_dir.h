/* SPDX-License-Identifier: GPL-2.0 */
/* A disk in a directory of its own, for the tests of the store. */
#ifndef TESTS_STORE_DIR_H
#define TESTS_STORE_DIR_H

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

static char test_dir[128], test_disk[160];

static int test_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void test_dir_make(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(test_dir, sizeof(test_dir), "%s/archil-store.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(test_dir));
	snprintf(test_disk, sizeof(test_disk), "%s/disk", test_dir);
}

static void test_dir_remove(void)
{
	nftw(test_dir, test_remove, 64, FTW_DEPTH | FTW_PHYS);
}

static struct store *must_open(void)
{
	struct store *store = NULL;
	char *msg = NULL;
	int err = store_open(test_disk, NULL, &store, &msg);

	ck_assert_msg(!err, "store_open: %d %s", err, msg);
	return store;
}

static inline struct store *must_create(void)
{
	char *msg = NULL;
	int err = store_create(test_disk, &msg);

	ck_assert_msg(!err, "store_create: %d %s", err, msg);
	return must_open();
}

static inline void put(struct store_batch *batch, const char *key, const char *val)
{
	ck_assert_int_eq(store_batch_put(batch, key, strlen(key), val, strlen(val)), 0);
}

static inline void expect(struct store *store, struct store_snap *snap, const char *key,
			  const char *val)
{
	struct store_value got;
	int err = store_get(store, snap, key, strlen(key), &got);

	if (!val) {
		ck_assert_int_eq(err, -ENOENT);
		return;
	}
	ck_assert_int_eq(err, 0);
	ck_assert_uint_eq(got.len, strlen(val));
	ck_assert(!memcmp(got.data, val, got.len));
	store_value_put(&got);
}

/* The last file of meta/ (or another directory) that matches, by name. */
static inline void last_file(const char *pattern, char path[static 256])
{
	char full[256];
	glob_t g;

	snprintf(full, sizeof(full), "%s/%s", test_disk, pattern);
	ck_assert_msg(!glob(full, 0, NULL, &g), "no %s", full);
	snprintf(path, 256, "%s", g.gl_pathv[g.gl_pathc - 1]);
	globfree(&g);
}

static inline off_t file_size(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

/* Turns over the bits of @mask in one byte. */
static inline void flip(const char *path, off_t at, unsigned char mask)
{
	int fd = open(path, O_RDWR);
	unsigned char byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= mask;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static inline int run_tests(TCase *tc, const char *name)
{
	Suite *s = suite_create(name);
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, test_dir_make, test_dir_remove);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

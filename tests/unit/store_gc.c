// SPDX-License-Identifier: GPL-2.0
/*
 * Room for collecting garbage: against a model that has blob files of random sizes, and compactions
 * that begin and end when they like and write all that they may. And that the engine hears of it.
 */
#include <errno.h>

#include "store_dir.h"
#include "store_local.h"

enum { FILE_MAX = 1 << 20, FILES = 4000, RESERVE = BLOB_FILES_NARROW * FILE_MAX };

static uint64_t sizes[FILES];

static struct blob_files files(unsigned int n, bool compacting)
{
	struct blob_files blobs = { .count = n, .compacting = compacting };

	while (n--)
		blobs.bytes += sizes[n];
	return blobs;
}

/* What a compaction that begins now may write. */
static uint64_t eligible(double cutoff, unsigned int n)
{
	unsigned int oldest = cutoff * n;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < oldest && i < n; i++)
		bytes += sizes[i];
	return bytes;
}

START_TEST(what_a_compaction_may_write_is_kept)
{
	unsigned int n = 0, wide = 0, narrow = 0;
	struct blob_gc gc = { 0 };
	uint64_t writes = 0;		/* what the running compaction may write; 0: none runs */
	double told = 0;

	srand(_i);
	for (unsigned int i = 0; i < FILES; i++)
		sizes[i] = rand() % 4 ? FILE_MAX : 1 + rand() % FILE_MAX;
	for (unsigned int i = 0; i < 20000; i++) {
		struct blob_files blobs;
		uint64_t spare = (uint64_t)(rand() % 3000) * FILE_MAX / (1 + rand() % 100);

		/* files come one by one, and go in numbers */
		if (n < FILES && rand() % 8)
			n++;
		else if (n && !(rand() % 50))
			n -= 1 + rand() % n;
		if (writes && !(rand() % 5))
			writes = 0;
		else if (!writes && !(rand() % 5))
			writes = eligible(told, n);
		blobs = files(n, writes);
		if (blob_gc_step(&gc, &blobs, FILE_MAX, spare))
			told = gc.cutoff;
		ck_assert(told >= 0 && told <= 1);
		/* files that came since it began are none of its own: it takes no more */
		ck_assert_uint_le(writes, gc.kept + RESERVE);
		ck_assert_uint_le(eligible(told, n), gc.kept + RESERVE);
		if (!writes && gc.wide)
			ck_assert_uint_le(gc.kept, blobs.bytes);
		/* wide only where there is room for it */
		if (gc.wide)
			ck_assert_uint_le(2 * eligible(told, n), spare + 2 * RESERVE);
		/* and never less than narrow */
		if (n / 4 > BLOB_FILES_NARROW)
			ck_assert_uint_ge((unsigned int)(told * n), BLOB_FILES_NARROW - 2);
		*(gc.wide ? &wide : &narrow) += 1;
	}
	ck_assert_uint_gt(wide, 500);
	ck_assert_uint_gt(narrow, 500);
}
END_TEST

/* a quarter of 400 files and one, each a little larger than it should be */
#define KEPT	(101ull * (FILE_MAX + (64 << 10)))

START_TEST(what_was_kept_is_free_again)
{
	struct blob_files blobs = { .count = 400, .bytes = 400ull * FILE_MAX };
	struct blob_gc gc = { 0 };

	ck_assert(blob_gc_step(&gc, &blobs, FILE_MAX, 3 * KEPT));
	ck_assert(gc.wide && gc.kept == KEPT);
	ck_assert(!blob_gc_step(&gc, &blobs, FILE_MAX, 5 * KEPT / 2));
	blobs.compacting = true;
	ck_assert(blob_gc_step(&gc, &blobs, FILE_MAX, 2 * KEPT - 1));
	ck_assert(!gc.wide && gc.kept == KEPT);
	ck_assert(!blob_gc_step(&gc, &blobs, FILE_MAX, KEPT / 10));
	ck_assert_uint_eq(gc.kept, KEPT);
	blobs.compacting = false;
	ck_assert(!blob_gc_step(&gc, &blobs, FILE_MAX, KEPT / 10));
	ck_assert_uint_eq(gc.kept, 0);
	/* not back and forth */
	ck_assert(!blob_gc_step(&gc, &blobs, FILE_MAX, 5 * KEPT / 2));
	ck_assert(blob_gc_step(&gc, &blobs, FILE_MAX, 3 * KEPT));
	ck_assert(gc.wide);
}
END_TEST

/* What the engine goes by; it writes that down. */
static double told(void)
{
	static const char key[] = "blob_garbage_collection_age_cutoff=";
	char path[256], line[256];
	double cutoff = -1;
	FILE *f;

	last_file("meta/OPTIONS-*", path);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, key))
			cutoff = atof(strstr(line, key) + sizeof(key) - 1);
	fclose(f);
	return cutoff;
}

START_TEST(the_engine_is_told)
{
	struct store *store = must_create();
	struct store_batch *batch;
	static char val[8192];

	for (int i = 0; i < 8; i++) {
		batch = store_batch_new(store);
		ck_assert_int_eq(store_batch_put(batch, &"abcdefgh"[i], 1, val, sizeof(val)), 0);
		ck_assert_int_eq(store_batch_commit(batch), 0);
		store_batch_free(batch);
		store_close(store);
		store = must_open();
	}
	ck_assert(told() == 0);
	ck_assert_uint_eq(store_collect(store, 1 << 20), 0);
	ck_assert(told() == 0.25);
	store_close(store);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("gc");

	tcase_add_loop_test(tc, what_a_compaction_may_write_is_kept, 0, 10);
	tcase_add_test(tc, what_was_kept_is_free_again);
	tcase_add_test(tc, the_engine_is_told);
	return run_tests(tc, "store: room for garbage collection");
}

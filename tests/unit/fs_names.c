// SPDX-License-Identifier: GPL-2.0
/*
 * A directory that grows and shrinks, against a table: names come, go, move and change
 * places, in batches and transactions of which some are given up.
 */
#include "fs_disk.h"

#include "../random.h"

enum { NAMES = 900, DIR = 2 };

static struct rnd rnd;
static u64 table[NAMES], before_txn[NAMES], before_batch[NAMES];	/* inode or 0 */
static u64 next;

static const char *name_of(unsigned int i)
{
	static char buf[4][32];
	static int n;
	char *name = buf[n++ % 4];

	snprintf(name, sizeof(buf[0]), "a name %u", i * 7919);
	return name;
}

/* A name that is there, or is not; NAMES: none is. */
static unsigned int some(bool there)
{
	unsigned int i = rnd_below(&rnd, NAMES), n;

	for (n = 0; n < NAMES && !table[i] == there; n++)
		i = (i + 1) % NAMES;
	return n < NAMES ? i : NAMES;
}

static int apply(const struct archil_record *rec)
{
	return fs_apply(txn, &anyone, rec, &res);
}

static void come(unsigned int to)
{
	u64 ino = next++;

	ck_assert_int_eq(apply(FILE_AT(DIR, name_of(to), ino)), 0);
	table[to] = ino;
}

static void go(unsigned int from)
{
	ck_assert_int_eq(apply(UNLINK_AT(DIR, name_of(from), table[from], 0)), 0);
	table[from] = 0;
}

static void move(unsigned int from, unsigned int to)
{
	ck_assert_int_eq(apply(RENAME_AT(DIR, name_of(from), table[from], DIR, name_of(to),
					 table[to], 0)), 0);
	table[to] = table[from];
	table[from] = 0;
}

static void swap(unsigned int a, unsigned int b)
{
	u64 ino = table[a];

	ck_assert_int_eq(apply(RENAME_AT(DIR, name_of(a), table[a], DIR, name_of(b), table[b],
					 ARCHIL_RENAME_EXCHANGE)), 0);
	table[a] = table[b];
	table[b] = ino;
}

static void step(bool grow)
{
	unsigned int there = some(true), free = some(false), other = some(true);

	switch (rnd_below(&rnd, 8)) {
	case 0:
		if (there < NAMES && free < NAMES)
			move(there, free);
		break;
	case 1:
		if (there < NAMES && other != there)
			swap(there, other);
		break;
	case 2:
		if (there < NAMES && other != there)
			move(there, other);
		break;
	default:
		if (grow ? free < NAMES : there == NAMES)
			come(free);
		else
			go(there);
	}
}

static void same(struct fs_view *view)
{
	struct fs_entry entry;
	struct fs_inode dir;
	u64 n = 0;
	int err;

	ck_assert_int_eq(fs_inode_read(view, DIR, &dir), 0);
	for (unsigned int i = 0; i < NAMES; i++) {
		err = fs_entry_find(view, &dir, name_of(i), strlen(name_of(i)), &entry);
		ck_assert_int_eq(err, table[i] ? 0 : -ENOENT);
		if (table[i])
			ck_assert_uint_eq(entry.ino, table[i]);
		n += !!table[i];
	}
	ck_assert_uint_eq(dir.entries, n);
	ck_assert_uint_ge(dir.splits + 1, (n + FS_BUCKET - 1) / FS_BUCKET);
	if (!n)
		ck_assert_uint_eq(dir.splits, 0);
}

static void a_batch(bool grow)
{
	fs_batch_begin(txn);
	memcpy(before_batch, table, sizeof(table));
	for (unsigned int n = rnd_range(&rnd, 1, 40); n; n--)
		step(grow);
	if (rnd_one_in(&rnd, 5)) {
		fs_batch_abort(txn);
		memcpy(table, before_batch, sizeof(table));
	} else {
		ck_assert_int_eq(fs_batch_end(txn), 0);
	}
}

static void a_txn(bool grow)
{
	struct fs_view *view;

	txn = fs_txn_begin(fs, ++now);
	fs_batch_begin(txn);
	ck_assert_int_eq(fs_alloc_inos(txn, 500, &next), 0);
	ck_assert_int_eq(fs_batch_end(txn), 0);
	memcpy(before_txn, table, sizeof(table));
	for (unsigned int n = rnd_range(&rnd, 1, 6); n; n--)
		a_batch(grow);
	if (rnd_one_in(&rnd, 8)) {
		fs_txn_abort(txn);
		memcpy(table, before_txn, sizeof(table));
		return;
	}
	same(fs_txn_view(txn));
	ck_assert_int_eq(fs_txn_commit(txn), 0);
	view = fs_view_get(fs);
	same(view);
	fs_view_put(view);
}

static unsigned int count(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NAMES; i++)
		n += !!table[i];
	return n;
}

START_TEST(a_directory_grows_and_shrinks)
{
	rnd.state = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : _i + 1ull;
	MUST(DIR_AT(1, "dir", DIR));
	for (int round = 0; round < 2; round++) {
		while (count() < NAMES - 50)
			a_txn(true);
		ck_assert_int_eq(check_disk(), 0);
		disk_reopen();
		while (count())
			a_txn(false);
		ck_assert_int_eq(check_disk(), 0);
	}
}
END_TEST

/* A name that hashes as another does is another all the same. */
START_TEST(names_may_collide)
{
	enum { MANY = 400000 };
	struct { u32 hash; u32 nr; } *seen = calloc(1 << 20, sizeof(*seen)), *at;
	struct fs_view *view;
	struct fs_entry entry;
	struct fs_inode dir;
	char a[32], b[32];
	unsigned int nr;
	u32 hash;

	/* 2^32 hashes: among so many names several agree */
	for (nr = 1; nr <= MANY; nr++) {
		snprintf(a, sizeof(a), "%u", nr);
		hash = fs_hash(fs, a, strlen(a));
		for (at = &seen[hash % (1 << 20)]; at->nr && at->hash != hash; )
			at = at == &seen[(1 << 20) - 1] ? seen : at + 1;
		if (at->nr)
			break;
		at->hash = hash;
		at->nr = nr;
	}
	ck_assert_uint_le(nr, MANY);
	snprintf(b, sizeof(b), "%u", at->nr);
	free(seen);

	MUST(DIR_AT(1, "dir", DIR));
	MUST(FILE_AT(DIR, a, 10));
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_dir_read(view, DIR, &dir), 0);
	ck_assert_int_eq(fs_entry_find(view, &dir, b, strlen(b), &entry), -ENOENT);
	fs_view_put(view);
	ck_assert_int_eq(change(UNLINK_AT(DIR, b, 10, 0)), -ENOENT);
	MUST(FILE_AT(DIR, b, 11));
	ck_assert_int_eq(check_disk(), 0);
	MUST(UNLINK_AT(DIR, a, 10, 0));
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_entry_find(view, &dir, a, strlen(a), &entry), -ENOENT);
	ck_assert_int_eq(fs_entry_find(view, &dir, b, strlen(b), &entry), 0);
	ck_assert_uint_eq(entry.ino, 11);
	fs_view_put(view);
	ck_assert_int_eq(check_disk(), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_names");

	tcase_add_loop_test(tc, a_directory_grows_and_shrinks, 0, 2);
	tcase_add_test(tc, names_may_collide);
	return run_disk_tests(tc, "fs_names");
}

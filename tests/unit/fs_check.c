// SPDX-License-Identifier: GPL-2.0
/* fs_check() finds each kind of damage, and none where there is none. */
#include "fs_disk.h"

enum {
	DIR = 2, SUB, FILE_1, FILE_2, LINKED, SYMLINK, XATTRED, OPEN_ORPHAN, RELEASED, BULK, DIR_2,
};

static struct fs_deleg deleg;

/* One of everything. */
static void fill(void)
{
	MUST(DIR_AT(1, "dir", DIR));
	MUST(DIR_AT(DIR, "sub", SUB));
	MUST(DIR_AT(1, "dir2", DIR_2));
	MUST(FILE_AT(SUB, "one", FILE_1));
	MUST(CONTENT(FILE_1, "contents"));
	MUST(FILE_AT(DIR, "two", FILE_2));
	MUST(FILE_AT(DIR, "linked", LINKED));
	MUST(LINK_AT(SUB, "linked too", LINKED));
	MUST(CREATE_AT(1, "symlink", SYMLINK, S_IFLNK | 0777, .data = "dir", .data_len = 3));
	MUST(FILE_AT(1, "xattred", XATTRED));
	MUST(XATTR(XATTRED, "user.a", "value"));
	MUST(FILE_AT(1, "released", RELEASED));
	MUST(UNLINK_AT(1, "released", RELEASED, 0));
	MUST(FILE_AT(DIR, "bulk", BULK));
	deleg = grant(DIR);
	LOG(&deleg, TMP_AT(DIR, OPEN_ORPHAN));
	begin();
	ck_assert_int_eq(fs_bulk_begin(txn, BULK, deleg.number, DIR), 0);
	ck_assert_int_eq(fs_slot_put(txn, deleg.session, 1, 1, "x", 1), 0);
	end();
	ck_assert_int_eq(check_disk(), 0);
}

static int damaged(void)
{
	disk_reopen();
	setenv("DAMAGE", "1", 1);
	return check_disk();
}

static void put_key(const struct fs_key *key, const void *val, size_t len)
{
	begin();
	ck_assert_int_eq(fs_put(txn, key, val, len), 0);
	end();
}

static void del_key(const struct fs_key *key)
{
	begin();
	ck_assert_int_eq(fs_has(fs_txn_view(txn), key), 1);
	ck_assert_int_eq(fs_del(txn, key), 0);
	end();
}

/* Makes an item of a pack be this, or go. */
static void put_item(const struct fs_key *key, unsigned int slot, const void *data, size_t len)
{
	struct fs_pack pack = { 0 };
	struct store_value val;
	int err;

	begin();
	err = fs_get(fs_txn_view(txn), key, &val);
	if (!err)
		err = fs_pack_load(&pack, &val);
	ck_assert(!err || err == -ENOENT);
	ck_assert_int_eq(fs_pack_set(&pack, slot, data, len), 0);
	ck_assert_int_eq(fs_pack_put(txn, key, &pack), 0);
	end();
}

static void put_inode(const struct fs_inode *in)
{
	u8 item[FS_INODE_MAX];
	struct fs_key key;

	fs_key_inode(&key, in->ino);
	put_item(&key, in->ino % FS_PACK, item, fs_inode_encode(in, item));
}

static void put_entry(u64 dir, u64 cookie, u64 ino, const char *name)
{
	struct fs_entry entry = { .ino = ino, .type = S_IFREG >> 12 };
	u8 item[FS_ITEM_MAX];
	struct fs_key key;

	fs_key_entry(&key, dir, cookie);
	put_item(&key, cookie % FS_PACK, item, fs_entry_encode(&entry, name, strlen(name), item));
}

/* Of the list with RELEASED in it. */
static void released_key(struct fs_key *key)
{
	struct fs_view *view = fs_view_get(fs);
	struct fs_key prefix;
	struct fs_scan scan;

	fs_key0(&prefix, FS_RELEASED);
	ck_assert_int_eq(fs_scan_open(view, &prefix, &scan), 0);
	ck_assert_int_eq(fs_scan_first(&scan, NULL), 1);
	memcpy(key->b, scan.key, key->len = scan.key_len);
	fs_scan_close(&scan);
	fs_view_put(view);
}

/* Every key that can go is missed; one a run of the test. */
static void key_of(int i, struct fs_key *key)
{
	switch (i) {
	case 0: return fs_key2(key, FS_HASH, DIR, 0);
	case 1: return fs_key2(key, FS_HASH, SUB, 0);
	case 2: return fs_key_entry(key, DIR, 4);
	case 3: return fs_key_entry(key, SUB, 4);
	case 4: return fs_key3(key, FS_LINK, LINKED, SUB, 4);
	case 5: return fs_key1(key, FS_CONTENT, FILE_1);
	case 6: return fs_key1(key, FS_CONTENT, SYMLINK);
	case 7: return fs_key_xattr(key, XATTRED, "user.a", 6);
	case 8: return fs_key2(key, FS_ORPHAN, deleg.number, OPEN_ORPHAN);
	case 9: return fs_key1(key, FS_DELEG, deleg.number);
	case 10: return fs_key1(key, FS_SESSION, deleg.session);
	case 11: return released_key(key);
	}
}

START_TEST(a_missing_key_is_found)
{
	struct fs_key key;

	fill();
	key_of(_i, &key);
	del_key(&key);
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

START_TEST(a_missing_inode_is_found)
{
	static const u64 inode[] = { 1, DIR, SUB, FILE_2, OPEN_ORPHAN, RELEASED };
	struct fs_key key;

	fill();
	fs_key_inode(&key, inode[_i]);
	put_item(&key, inode[_i] % FS_PACK, NULL, 0);
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

static u32 hash_of(const char *name)
{
	return fs_hash(fs, name, strlen(name));
}

/* What is wrong with entries. */
static void bend(int i, struct fs_hashed *hashed, size_t *n)
{
	struct fs_key key;

	switch (i) {
	case 0:		/* missing */
		fs_key_entry(&key, DIR, 4);
		return put_item(&key, 4 % FS_PACK, NULL, 0);
	case 1:		/* of nothing */
		return put_entry(DIR, 99, FILE_2, "stray");
	case 2:		/* to another inode */
		return put_entry(DIR, 4, FILE_1, "two");
	case 3:		/* to none */
		return put_entry(DIR, 4, 900, "two");
	case 4:		/* of another name */
		return put_entry(DIR, 4, FILE_2, "tow");
	case 5:		/* the same name twice */
		return put_entry(DIR, 4, FILE_2, "linked");
	case 6:		/* in what is no directory */
		return put_entry(FILE_2, 3, FILE_1, "stray");
	case 7:		/* in what is not there */
		return put_entry(900, 3, FILE_1, "stray");
	case 8:		/* a hash too many: of nothing */
		hashed[(*n)++] = (struct fs_hashed){ .cookie = cpu_to_le64(99) };
		return;
	case 9:		/* the same one twice */
		hashed[*n] = hashed[*n - 1];
		(*n)++;
		return;
	case 10:	/* one too few */
		(*n)--;
		return;
	case 11:	/* of another name */
		hashed[0].hash ^= cpu_to_le32(1);
		return;
	case 12:	/* with another cookie */
		hashed[0].cookie = cpu_to_le64(99);
		return;
	}
}

START_TEST(a_wrong_entry_is_found)
{
	struct fs_hashed hashed[16];
	struct store_value val;
	struct fs_key key;
	size_t n;

	fill();
	fs_key2(&key, FS_HASH, DIR, 0);
	begin();
	ck_assert_int_eq(fs_get(fs_txn_view(txn), &key, &val), 0);
	ck_assert_int_eq(fs_hashed_decode(&val, &n), 0);
	ck_assert_uint_eq(n, 4);
	memcpy(hashed, val.data, val.len);
	store_value_put(&val);
	end();
	bend(_i, hashed, &n);
	put_key(&key, hashed, n * sizeof(hashed[0]));
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

/* Keys of nothing. */
static void stray(int i, struct fs_key *key, u8 *val, size_t *len)
{
	struct fs_hashed hashed = { .hash = cpu_to_le32(hash_of("two")),
				    .cookie = cpu_to_le64(4) };
	struct fs_deleg_val inner = { .ino = cpu_to_le64(SUB),
				      .session = cpu_to_le64(deleg.session) };
	struct fs_session_val session = { 0 };
	__le64 list[] = { cpu_to_le64(RELEASED), cpu_to_le64(FILE_2) };

	*len = 0;
	switch (i) {
	case 0:
		fs_key2(key, FS_HASH, DIR, 1);
		memcpy(val, &hashed, *len = sizeof(hashed));
		break;
	case 1:		/* half a one */
		fs_key2(key, FS_HASH, DIR, 0);
		memcpy(val, &hashed, *len = sizeof(hashed) / 2);
		break;
	case 2:
		fs_key3(key, FS_LINK, FILE_2, SUB, 99);
		break;
	case 3:
		fs_key1(key, FS_CONTENT, 900);
		*len = 1;
		break;
	case 4:
		fs_key1(key, FS_CONTENT, BULK);
		*len = 1;
		break;
	case 5:
		fs_key_xattr(key, FILE_2, "user.x", 6);
		break;
	case 6:
		fs_key_xattr(key, 900, "user.x", 6);
		break;
	case 7:
		released_key(key);
		memcpy(val, list, *len = sizeof(list));
		break;
	case 8:
		fs_key2(key, FS_ORPHAN, deleg.number, FILE_2);
		break;
	case 9:
		fs_key1(key, FS_DELEG, deleg.number - 1);
		memcpy(val, &inner, *len = sizeof(inner));
		break;
	case 10:
		fs_key1(key, FS_SESSION, 900);
		memcpy(val, &session, *len = sizeof(session));
		break;
	case 11:
		fs_key2(key, FS_SLOT, 900, 1);
		*len = sizeof(struct fs_slot_val);
		break;
	case 12:
		fs_key0(key, 'z');
		break;
	case 13:
		fs_key2(key, FS_HASH, FILE_2, 0);
		memcpy(val, &hashed, *len = sizeof(hashed));
		break;
	case 14:	/* items that are none */
		fs_key_entry(key, DIR_2, 3);
		*len = 20;
		break;
	case 19:	/* nothing in it */
		fs_key_entry(key, DIR_2, 3);
		break;
	case 20:
		fs_key_inode(key, 900);
		*len = 20;
		break;
	case 21:
		fs_key_inode(key, 900);
		break;
	case 15:	/* nothing in it */
		released_key(key);
		break;
	case 16:	/* half a number in it */
		released_key(key);
		memcpy(val, list, *len = 12);
		break;
	case 17:	/* at another time, by whichever list it is found */
		fs_key3(key, FS_RELEASED, 5, 1, 0);
		memcpy(val, list, *len = 8);
		break;
	case 18:	/* the same one twice */
		released_key(key);
		list[1] = list[0];
		memcpy(val, list, *len = sizeof(list));
		break;
	}
}

START_TEST(a_stray_key_is_found)
{
	struct fs_key key;
	u8 val[256] = { 0 };
	size_t len;

	fill();
	if (_i == 9) {	/* a number for the delegation inside the other */
		begin();
		deleg.number = fs_alloc_deleg(txn) + 1;
		end();
	}
	stray(_i, &key, val, &len);
	put_key(&key, val, len);
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

/* An inode that says something else than the rest. */
static void twist(int i, struct fs_inode *in)
{
	switch (i) {
	case 0: in->nlink++; break;
	case 1: in->entries++; break;
	case 2: in->next_cookie = 3; break;
	case 3: in->cookie++; break;
	case 4: in->parent = in->ino; break;
	case 5: in->change = 1ull << 60; break;
	case 6: in->xattr_bytes = 5; break;
	case 7: in->mode = S_IFIFO; break;
	case 8: in->parent = SUB; break;
	case 9: in->splits = FS_SPLITS_MAX; break;
	}
}

START_TEST(a_wrong_inode_is_found)
{
	struct fs_inode in;
	struct fs_view *view;

	fill();
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_inode_read(view, DIR, &in), 0);
	fs_view_put(view);
	twist(_i, &in);
	put_inode(&in);
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

START_TEST(a_hash_table_of_nothing_is_found)
{
	struct fs_inode in;
	struct fs_view *view;

	fill();
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_inode_read(view, DIR_2, &in), 0);
	fs_view_put(view);
	in.splits = 1;
	put_inode(&in);
	ck_assert_int_eq(damaged(), 1);
}
END_TEST

START_TEST(wrong_counters_are_found)
{
	struct fs_counters_val val;
	struct fs_counters c;
	struct fs_key key;

	fill();
	c = fs->txn.counters;
	switch (_i) {
	case 0: c.inodes++; break;
	case 1: c.next_ino = BULK; break;
	case 2: c.next_deleg = deleg.number; break;
	case 3: c.next_session = deleg.session; break;
	}
	fs_counters_encode(&c, &val);
	fs_key0(&key, FS_COUNTERS);
	put_key(&key, &val, sizeof(val));
	ck_assert_int_gt(damaged(), 0);
}
END_TEST

static void write_data(u64 ino)
{
	struct iovec iov = { "x", 1 };
	struct store_op op = { .kind = STORE_WRITE, .ino = ino, .iov = &iov, .iovcnt = 1 };

	ck_assert_int_eq(store_run(store, &op), 1);
	op = (struct store_op){ .kind = STORE_FLUSH, .ino = ino };
	ck_assert_int_eq(store_run(store, &op), 0);
}

START_TEST(a_data_file_of_nothing_is_found)
{
	fill();
	write_data(BULK);
	ck_assert_int_eq(check_disk(), 0);
	begin();
	ck_assert_int_eq(fs_intent_add(txn, 500, FS_INTENT_REMOVE, 0, 0, NULL), 0);
	end();
	write_data(500);
	ck_assert_int_eq(check_disk(), 0);
	write_data(_i ? FILE_1 : 501);
	ck_assert_int_eq(damaged(), 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_check");

	tcase_add_loop_test(tc, a_missing_key_is_found, 0, 12);
	tcase_add_loop_test(tc, a_missing_inode_is_found, 0, 6);
	tcase_add_loop_test(tc, a_wrong_entry_is_found, 0, 13);
	tcase_add_loop_test(tc, a_stray_key_is_found, 0, 22);
	tcase_add_loop_test(tc, a_wrong_inode_is_found, 0, 10);
	tcase_add_test(tc, a_hash_table_of_nothing_is_found);
	tcase_add_loop_test(tc, wrong_counters_are_found, 0, 4);
	tcase_add_loop_test(tc, a_data_file_of_nothing_is_found, 0, 2);
	return run_disk_tests(tc, "fs_check");
}

// SPDX-License-Identifier: GPL-2.0
/* Packs against an array, and what lies in them to bytes and back. */
#include <stdlib.h>
#include <sys/stat.h>

#include <check.h>

#include "../random.h"
#include "fs_keys.h"

static struct rnd rnd;

/* ---- packs ---- */

struct naive {
	size_t len[FS_PACK];
	u8 data[FS_PACK][FS_ITEM_MAX];
};

static void same(const struct fs_pack *pack, const struct naive *naive)
{
	struct fs_item item;
	unsigned int i = 0;
	size_t pos = 0;

	while (fs_pack_next(pack->b, pack->len, &pos, &item) == 1) {
		for (; i < item.slot; i++)
			ck_assert_uint_eq(naive->len[i], 0);
		ck_assert_uint_eq(item.len, naive->len[i]);
		ck_assert_mem_eq(item.data, naive->data[i], item.len);
		i++;
	}
	ck_assert_uint_eq(pos, pack->len);
	for (; i < FS_PACK; i++)
		ck_assert_uint_eq(naive->len[i], 0);
	for (i = 0; i < FS_PACK; i++)
		ck_assert_int_eq(fs_pack_find(pack->b, pack->len, i, &item), !!naive->len[i]);
}

START_TEST(a_pack_has_what_was_put_there)
{
	struct naive naive = { 0 };
	struct fs_pack pack = { 0 };

	for (int n = 0; n < 5000; n++) {
		unsigned int slot = rnd_below(&rnd, FS_PACK);
		size_t len = rnd_one_in(&rnd, 3) ? 0 : rnd_range(&rnd, 1, FS_ITEM_MAX);

		/* sometimes all of them are as large as can be */
		if (n / 100 % 10 == 0 && len)
			len = FS_ITEM_MAX;
		rnd_bytes(&rnd, naive.data[slot], len);
		naive.len[slot] = len;
		ck_assert_int_eq(fs_pack_set(&pack, slot, naive.data[slot], len), 0);
		same(&pack, &naive);
	}
}
END_TEST

START_TEST(a_malformed_pack_is_refused)
{
	static const struct {
		size_t len;
		u8 b[8];
	} bad[] = {
		{ 1, { 0 } },
		{ 2, { 0, 1 } },
		{ 3, { 0, 1, 0 } },			/* shorter than it says */
		{ 3, { 0, 0, 0 } },			/* an empty item */
		{ 4, { FS_PACK, 1, 0, 'x' } },
		{ 8, { 1, 1, 0, 'x', 1, 1, 0, 'x' } },	/* twice */
		{ 8, { 1, 1, 0, 'x', 0, 1, 0, 'x' } },	/* out of order */
		{ 5, { 1, 1, 0, 'x', 2 } },
	};
	struct fs_pack pack = { .len = bad[_i].len };
	struct fs_item item;
	size_t pos = 0;
	int r;

	memcpy(pack.b, bad[_i].b, pack.len);
	while ((r = fs_pack_next(pack.b, pack.len, &pos, &item)) > 0)
		;
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_int_eq(fs_pack_find(pack.b, pack.len, FS_PACK - 1, &item), -EBADMSG);
	ck_assert_int_eq(fs_pack_set(&pack, FS_PACK - 1, "x", 1), -EBADMSG);
	ck_assert_uint_eq(pack.len, bad[_i].len);
}
END_TEST

/* ---- what lies in them ---- */

/* 0, small, or anything. */
static u64 number(void)
{
	switch (rnd_below(&rnd, 3)) {
	case 0: return 0;
	case 1: return rnd_below(&rnd, 300);
	default: return rnd64(&rnd) >> rnd_below(&rnd, 64);
	}
}

static struct archil_time a_time(void)
{
	struct archil_time time = {
		.sec = cpu_to_le64(rnd_one_in(&rnd, 2) ? number() : -number()),
		.nsec = cpu_to_le32(rnd_below(&rnd, 1000000000)),
	};

	return time;
}

static void an_inode(struct fs_inode *in)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFSOCK };

	*in = (struct fs_inode){
		.ino = number(), .change = number(), .size = number(), .bytes = number(),
		.next_cookie = number(), .entries = number(), .splits = number() % FS_SPLITS_MAX,
		.writer = number(), .rdev_major = number(), .rdev_minor = number(),
		.mode = types[rnd_below(&rnd, 5)] | (number() & 07777),
		.nlink = rnd_one_in(&rnd, 2) ? 1 : number(), .uid = number(), .gid = number(),
		.flags = number(), .xattr_bytes = number(),
		.mtime = a_time(), .atime = a_time(), .ctime = a_time(), .btime = a_time(),
	};
	in->content_len = rnd_below(&rnd, 2) ? in->size % ARCHIL_INLINE_MAX : 0;
	if (in->flags & ARCHIL_AF_ORPHAN) {
		in->orphan_of = number();
		in->released = number();
	} else {
		in->parent = number();
		in->cookie = number();
	}
	if (rnd_below(&rnd, 2))
		in->atime = in->ctime = in->btime = in->mtime;
}

START_TEST(an_inode_comes_back_as_it_was)
{
	struct fs_inode in, out;
	u8 buf[FS_INODE_MAX + 1];
	size_t len, cut;

	for (int n = 0; n < 5000; n++) {
		an_inode(&in);
		memset(&out, 0xff, sizeof(out));
		buf[FS_INODE_MAX] = 0x5a;
		len = fs_inode_encode(&in, buf);
		ck_assert_uint_le(len, FS_INODE_MAX);
		ck_assert_uint_eq(buf[FS_INODE_MAX], 0x5a);
		ck_assert_int_eq(fs_inode_decode(in.ino, buf, len, &out), 0);
		ck_assert_mem_eq(&in, &out, sizeof(in));
		/* neither less nor more */
		for (cut = 0; cut < len; cut++)
			ck_assert_int_eq(fs_inode_decode(in.ino, buf, cut, &out), -EBADMSG);
		if (len < FS_INODE_MAX) {
			buf[len] = 0;
			ck_assert_int_eq(fs_inode_decode(in.ino, buf, len + 1, &out), -EBADMSG);
		}
	}
}
END_TEST

START_TEST(a_number_that_does_not_fit_is_refused)
{
	/* the lowest two bits: the width of change, of 64 bits; the next two: mode, of 32 */
	static const struct {
		size_t len;
		u8 b[16];
		int err;
	} item[] = {
		{ 16, { 3, [8] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 0 },
		{ 12, { 2 << 2, [8] = 0xff, 0xff, 0xff, 0xff }, 0 },
		{ 16, { 3 << 2, [8] = 0xff, 0xff, 0xff, 0xff, 1 }, -EBADMSG },	/* 33 bits */
		{ 10, { [6] = 1 << 4, [8] = 1 }, -EBADMSG },	/* no such field */
		{ 8, { 0 }, 0 },
		{ 7, { 0 }, -EBADMSG },
	};
	struct fs_inode in;

	ck_assert_int_eq(fs_inode_decode(1, item[_i].b, item[_i].len, &in), item[_i].err);
}
END_TEST

START_TEST(a_new_file_is_small)
{
	struct archil_time now = { cpu_to_le64(1796000000), cpu_to_le32(123456789) };
	struct fs_inode in = {
		.ino = 1 << 20, .change = 100000, .parent = 1 << 19, .cookie = 70, .mode = S_IFREG | 0644,
		.nlink = 1, .atime = now, .mtime = now, .ctime = now, .btime = now,
	};
	u8 buf[FS_INODE_MAX];

	ck_assert_uint_le(fs_inode_encode(&in, buf), 30);
}
END_TEST

START_TEST(any_bytes_can_be_decoded)
{
	struct fs_item item = { 0 };
	struct fs_entry entry;
	u8 buf[FS_ITEM_MAX];
	struct fs_inode in;
	const char *name;
	size_t len;

	for (int n = 0; n < 50000; n++) {
		/* of its own, so that no byte behind it is read unseen */
		item.len = rnd_below(&rnd, rnd_one_in(&rnd, 2) ? 20 : sizeof(buf));
		u8 *copy = malloc(item.len + !item.len);

		rnd_bytes(&rnd, copy, item.len);
		item.data = copy;
		fs_inode_decode(1, item.data, item.len, &in);
		if (!fs_entry_decode(&item, &entry, &name, &len)) {
			ck_assert_ptr_eq(name + len, copy + item.len);
			ck_assert_uint_le(len, ARCHIL_NAME_LEN);
			ck_assert_uint_gt(len, 0);
		}
		free(copy);
	}
}
END_TEST

START_TEST(an_entry_comes_back_as_it_was)
{
	struct fs_item item = { 0 };
	struct fs_entry in, out;
	char name[ARCHIL_NAME_LEN];
	u8 buf[FS_ITEM_MAX];
	const char *has;
	size_t len, has_len;

	item.data = buf;
	for (int n = 0; n < 5000; n++) {
		len = rnd_range(&rnd, 1, ARCHIL_NAME_LEN);
		rnd_bytes(&rnd, name, len);
		in = (struct fs_entry){
			.dir = 1, .cookie = 2, .ino = number() & ARCHIL_INO_MAX, .type = rnd_below(&rnd, 16),
		};
		out = (struct fs_entry){ .dir = 1, .cookie = 2 };
		item.len = fs_entry_encode(&in, name, len, buf);
		ck_assert_int_eq(fs_entry_decode(&item, &out, &has, &has_len), 0);
		ck_assert_uint_eq(out.ino, in.ino);
		ck_assert_uint_eq(out.type, in.type);
		ck_assert_uint_eq(has_len, len);
		ck_assert_mem_eq(has, name, len);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_pack");
	Suite *suite = suite_create("fs_pack");
	SRunner *runner;
	int failed;

	rnd.state = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : 1;
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_pack_has_what_was_put_there);
	tcase_add_loop_test(tc, a_malformed_pack_is_refused, 0, 8);
	tcase_add_test(tc, an_inode_comes_back_as_it_was);
	tcase_add_loop_test(tc, a_number_that_does_not_fit_is_refused, 0, 6);
	tcase_add_test(tc, a_new_file_is_small);
	tcase_add_test(tc, an_entry_comes_back_as_it_was);
	tcase_add_test(tc, any_bytes_can_be_decoded);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

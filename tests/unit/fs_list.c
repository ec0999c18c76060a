// SPDX-License-Identifier: GPL-2.0
/* What a walk is given ahead, against the walk itself: random trees, done naively. */
#include "fs_disk.h"
#include "../random.h"

enum { INODES = 300, CAP = 128 << 10 };

static struct rnd rnd;
/* the naive tree: in order of creation, which is that of listings */
static struct {
	u64 parent;
	bool dir, gone;
	char target[64];
} node[INODES];
static u64 nodes;

static struct archil_record random_record(u64 ino)
{
	static char name[32];
	u64 parent;

	do
		parent = rnd_range(&rnd, 1, ino - 1);
	while (!node[parent].dir || node[parent].gone);
	node[ino].parent = parent;
	node[ino].dir = rnd_one_in(&rnd, 3);
	node[ino].target[0] = 0;
	snprintf(name, sizeof(name), "n%llu", (unsigned long long)ino);
	if (node[ino].dir)
		return *DIR_AT(parent, name, ino);
	if (!rnd_one_in(&rnd, 5))
		return *FILE_AT(parent, name, ino);
	snprintf(node[ino].target, sizeof(node[ino].target), "to/%llu", (unsigned long long)ino);
	return *CREATE_AT(parent, name, ino, S_IFLNK | 0777, .data = node[ino].target,
			 .data_len = strlen(node[ino].target));
}

static void random_tree(void)
{
	struct archil_record rec;
	u64 i, moved;

	memset(node, 0, sizeof(node));
	node[1].dir = true;
	nodes = INODES;
	begin();
	for (i = 2; i < nodes; i++) {
		rec = random_record(i);
		ck_assert_int_eq(apply_as(&anyone, &rec), 0);
	}
	/* a few go: numbers are not in a row everywhere */
	for (i = 0; i < 20; i++) {
		char name[32];

		moved = rnd_range(&rnd, 2, nodes - 1);
		if (node[moved].dir || node[moved].gone)
			continue;
		snprintf(name, sizeof(name), "n%llu", (unsigned long long)moved);
		ck_assert_int_eq(apply_as(&anyone, UNLINK_AT(node[moved].parent, name, moved, 0)), 0);
		node[moved].gone = true;
	}
	end();
}

static bool is_in(u64 ino, u64 dir)
{
	return !node[ino].gone && node[ino].parent == dir;
}

/* The directories below one, as a walk comes to them. */
static size_t below(u64 dir, u64 *list, size_t n)
{
	u64 i;

	for (i = 2; i < nodes; i++)
		if (node[i].dir && is_in(i, dir)) {
			list[n++] = i;
			n = below(i, list, n);
		}
	return n;
}

static size_t walk(u64 dir, u64 top, u64 *list)
{
	size_t n = below(dir, list, 0);
	u64 i;

	for (; dir != top && dir != 1; dir = node[dir].parent)
		for (i = dir + 1; i < nodes; i++)
			if (node[i].dir && is_in(i, node[dir].parent)) {
				list[n++] = i;
				n = below(i, list, n);
			}
	return n;
}

static void is_listing(u64 dir, const void *buf, size_t len)
{
	struct archil_dirent de;
	unsigned int name_len;
	const char *name;
	size_t pos = 0;
	u64 i;

	for (i = 2; i < nodes; i++) {
		if (!is_in(i, dir))
			continue;
		ck_assert_int_eq(archil_dirent_next(buf, len, &pos, &de, &name, &name_len), 1);
		ck_assert_uint_eq(le64_to_cpu(de.attr.ino), i);
		ck_assert_uint_eq(strtoul(name + 1, NULL, 10), i);
		ck_assert_uint_eq(S_ISDIR(le32_to_cpu(de.attr.mode)), node[i].dir);
		ck_assert_uint_eq(le16_to_cpu(de.target_len), strlen(node[i].target));
		ck_assert_mem_eq(name + name_len, node[i].target, strlen(node[i].target));
	}
	ck_assert_int_eq(archil_dirent_next(buf, len, &pos, &de, &name, &name_len), 0);
}

/* Listings follow that are next in a walk; returns how many. */
static size_t is_ahead(const struct fs_list *list, size_t pos, u64 dir, u64 top)
{
	static u64 next[INODES];
	size_t n = walk(dir, top, next), i;
	struct archil_dirlist dl;
	const void *entries;

	for (i = 0; archil_dirlist_next(list->buf, list->len, &pos, &dl, &entries) > 0; i++) {
		ck_assert_uint_lt(i, n);
		ck_assert_uint_eq(le64_to_cpu(dl.dir), next[i]);
		ck_assert_uint_ne(le64_to_cpu(dl.dir_change), 0);
		is_listing(next[i], entries, le32_to_cpu(dl.len));
	}
	ck_assert_uint_eq(pos, list->len);
	return n - i;
}

START_TEST(walks)
{
	static u8 buf[CAP];
	struct fs_list list = { .buf = buf };
	struct archil_readdir_req req = {};
	struct archil_readdir_rep rep;
	struct fs_view *view;
	u64 dir, top;
	size_t len, all;
	int i;

	rnd = (struct rnd){ (getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : 1) * 8 + _i };
	random_tree();
	view = fs_view_get(fs);
	for (i = 0; i < 200; i++) {
		do
			dir = rnd_range(&rnd, 1, nodes - 1);
		while (!node[dir].dir);
		for (top = dir; top != 1 && !rnd_one_in(&rnd, 3); top = node[top].parent)
			;
		req.dir = cpu_to_le64(dir);
		req.top = cpu_to_le64(top);
		req.cookie = cpu_to_le64(rnd_below(&rnd, ARCHIL_COOKIE_FIRST));
		/* room for everything */
		req.ahead = cpu_to_le32(CAP);
		list.cap = CAP;
		ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
		ck_assert_uint_eq(le32_to_cpu(rep.flags), ARCHIL_RD_EOF);
		len = le32_to_cpu(rep.len);
		is_listing(dir, buf, len);
		ck_assert_uint_eq(is_ahead(&list, len, dir, top), 0);
		all = list.len - len;
		/* room for some, by either limit */
		req.ahead = cpu_to_le32(rnd_range(&rnd, 0, all));
		ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
		ck_assert_uint_le(list.len, len + le32_to_cpu(req.ahead));
		is_ahead(&list, len, dir, top);
		req.ahead = cpu_to_le32(CAP);
		list.cap = len + rnd_range(&rnd, 0, all);
		if (list.cap) {
			ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
			is_ahead(&list, len, dir, top);
		}
		/* what does not end has nothing behind it */
		list.cap = len - 1;
		if (len > 400) {
			ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
			ck_assert_uint_eq(le32_to_cpu(rep.flags), 0);
			ck_assert_uint_eq(le32_to_cpu(rep.len), list.len);
		}
	}
	fs_view_put(view);
}
END_TEST

/* More directories than are remembered: as far as it is known, nothing is passed over. */
START_TEST(many_directories)
{
	static u8 buf[CAP];
	struct fs_list list = { .buf = buf, .cap = CAP };
	struct archil_readdir_req req = { .dir = cpu_to_le64(1), .top = cpu_to_le64(1),
					  .ahead = cpu_to_le32(CAP) };
	struct archil_readdir_rep rep;
	struct archil_dirlist dl;
	const void *entries;
	struct fs_view *view;
	char name[32];
	size_t pos;
	u64 ino;

	begin();
	for (ino = 2; ino < 700; ino++) {
		snprintf(name, sizeof(name), "d%llu", (unsigned long long)ino);
		ck_assert_int_eq(apply_as(&anyone, DIR_AT(1, name, ino)), 0);
	}
	end();
	view = fs_view_get(fs);
	ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
	ck_assert_uint_eq(le32_to_cpu(rep.count), 698);
	pos = le32_to_cpu(rep.len);
	for (ino = 2; archil_dirlist_next(buf, list.len, &pos, &dl, &entries) > 0; ino++) {
		ck_assert_uint_eq(le64_to_cpu(dl.dir), ino);
		ck_assert_uint_eq(le32_to_cpu(dl.len), 0);
	}
	ck_assert_uint_eq(ino, 700);
	/* a walk that is in one of them: some of those behind it */
	req.dir = cpu_to_le64(300);
	list.cap = CAP;
	ck_assert_int_eq(fs_readdir(view, &req, &list, &rep), 0);
	pos = le32_to_cpu(rep.len);
	for (ino = 301; archil_dirlist_next(buf, list.len, &pos, &dl, &entries) > 0; ino++)
		ck_assert_uint_eq(le64_to_cpu(dl.dir), ino);
	ck_assert_uint_ge(ino, 501);
	ck_assert_uint_lt(ino, 700);
	fs_view_put(view);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fs_list");

	tcase_add_loop_test(tc, walks, 0, 8);
	tcase_add_test(tc, many_directories);
	return run_disk_tests(tc, "fs_list");
}

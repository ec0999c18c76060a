/* SPDX-License-Identifier: GPL-2.0 */
/* The disk of the model test, and everything on it held against the model. */
#ifndef TESTS_APPLY_DISK_H
#define TESTS_APPLY_DISK_H

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../random.h"
#include "apply_model.h"

static char dir[64], path[96];
static struct store *store;
static struct fs *fs;
static struct model *m;
static struct rnd rnd;
static u64 seed;
static u64 max_file_size;
static struct fs_intents pending = STAILQ_HEAD_INITIALIZER(pending);

#define FAIL(...)							\
	do {								\
		fprintf(stderr, "SEED=%llu: %s:%d: ",			\
			(unsigned long long)seed, __FILE__, __LINE__);	\
		fprintf(stderr, __VA_ARGS__);				\
		fprintf(stderr, "\n");					\
		abort();						\
	} while (0)
#define EXPECT(cond)							\
	do {								\
		if (!(cond))						\
			FAIL("not true: %s", #cond);			\
	} while (0)
#define SAME(a, b)							\
	do {								\
		long long a_ = (a), b_ = (b);				\
		if (a_ != b_)						\
			FAIL("%s is %lld, %s is %lld", #a, a_, #b, b_);	\
	} while (0)

/* ---- the disk ---- */

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(name);
}

static void open_disk(void)
{
	struct store_statfs st;
	char *msg = NULL;

	if (store_open(path, NULL, &store, &msg))
		FAIL("store_open: %s", msg);
	SAME(fs_open(store, &fs), 0);
	SAME(store_statfs(store, &st), 0);
	max_file_size = st.max_file_size;
}

static void close_disk(void)
{
	struct fs_intent *intent;

	while ((intent = STAILQ_FIRST(&pending))) {
		STAILQ_REMOVE_HEAD(&pending, link);
		free(intent);
	}
	fs_close(fs);
	store_close(store);
}

static struct fs_txn *begin(void)
{
	struct fs_txn *txn = fs_txn_begin(fs, ++m->now);

	m->nr = fs_txn_nr(txn);
	return txn;
}

static void commit(struct fs_txn *txn)
{
	SAME(fs_txn_commit(txn), 0);
	fs_txn_intents(txn, &pending);
}

/* ---- data files ---- */

static int64_t run(enum store_op_kind kind, u64 ino, u64 off, u64 len, void *data)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct store_op op = {
		.kind = kind, .ino = ino, .off = off, .len = len,
		.iov = data ? &iov : NULL, .iovcnt = !!data,
	};

	return store_run(store, &op);
}

static void run_intent(struct fs_intent *intent)
{
	int64_t r;

	switch (intent->kind) {
	case FS_INTENT_FILL:
		SAME(run(STORE_TRUNCATE, intent->ino, 0, 0, NULL), 0);
		SAME(run(STORE_WRITE, intent->ino, 0, intent->len, intent->data), intent->len);
		break;
	case FS_INTENT_TRUNCATE:
		SAME(run(STORE_TRUNCATE, intent->ino, intent->off, 0, NULL), 0);
		break;
	case FS_INTENT_PUNCH:
		SAME(run(STORE_PUNCH, intent->ino, intent->off, intent->len, NULL), 0);
		break;
	case FS_INTENT_ALLOC:
		r = run(STORE_ALLOCATE, intent->ino, intent->off, intent->len, NULL);
		EXPECT(!r || r == -EOPNOTSUPP);
		break;
	case FS_INTENT_REMOVE:
		SAME(run(STORE_REMOVE, intent->ino, 0, 0, NULL), 0);
		break;
	}
	SAME(run(STORE_FLUSH, intent->ino, 0, 0, NULL), 0);
}

/* Run them all, and forget them unless told otherwise. */
static void settle(bool forget)
{
	struct fs_intent *intent;
	struct fs_txn *txn;

	STAILQ_FOREACH(intent, &pending, link)
		run_intent(intent);
	if (!forget)
		return;
	txn = begin();
	fs_batch_begin(txn);
	while ((intent = STAILQ_FIRST(&pending))) {
		SAME(fs_intent_done(txn, intent->ino, intent->nr), 0);
		STAILQ_REMOVE_HEAD(&pending, link);
		free(intent);
	}
	SAME(fs_batch_end(txn), 0);
	commit(txn);
}

/* ---- comparing ---- */

static bool same_time(struct archil_time a, struct archil_time b)
{
	return !memcmp(&a, &b, sizeof(a));
}

static void compare_attr(struct m_node *node, const struct archil_wattr *attr)
{
	u32 flags = (node->bulk ? ARCHIL_AF_BULK : 0) | (node->orphan ? ARCHIL_AF_ORPHAN : 0) |
		    (node->n_xattrs ? ARCHIL_AF_XATTR : 0);
	bool is_dir = S_ISDIR(node->mode);

	SAME(le64_to_cpu(attr->ino), node->ino);
	SAME(le64_to_cpu(attr->change), node->change);
	SAME(le64_to_cpu(attr->size), is_dir ? 4096 : node->size);
	if (is_dir)
		SAME(le64_to_cpu(attr->bytes), node->next_cookie);
	SAME(le64_to_cpu(attr->parent), node->orphan ? 0 : node->home_dir);
	SAME(le32_to_cpu(attr->mode), node->mode);
	SAME(le32_to_cpu(attr->nlink), m_links(m, node));
	SAME(le32_to_cpu(attr->uid), node->uid);
	SAME(le32_to_cpu(attr->gid), node->gid);
	SAME(le32_to_cpu(attr->rdev_major), node->major);
	SAME(le32_to_cpu(attr->rdev_minor), node->minor);
	SAME(le32_to_cpu(attr->flags), flags);
	EXPECT(same_time(attr->atime, node->atime));
	EXPECT(same_time(attr->mtime, node->mtime));
	EXPECT(same_time(attr->ctime, node->ctime));
	EXPECT(same_time(attr->btime, node->btime));
}

static void compare_data(struct fs_view *view, struct m_node *node)
{
	static u8 buf[M_DATA];
	struct archil_read_rep rep;
	size_t len = node->size < M_DATA ? node->size : M_DATA, got, at;
	u64 out, size;
	int64_t r;
	int bulk;

	bulk = fs_read(view, node->ino, 0, len, buf, &got, &rep);
	SAME(bulk, node->bulk);
	SAME(le64_to_cpu(rep.size), node->size);
	SAME(le64_to_cpu(rep.change), node->change);
	if (bulk) {
		r = len ? run(STORE_READ, node->ino, 0, len, buf) : 0;
		EXPECT(r >= 0);
		got = r;
	}
	memset(buf + got, 0, len - got);
	for (at = 0; at < len; at++)
		if (buf[at] != (node->data ? node->data[at] : 0))
			FAIL("inode %llu differs at %zu", (unsigned long long)node->ino, at);
	if (bulk || !len)
		return;
	/* what is a hole reads as zeros, what is data begins where it says */
	SAME(fs_seek(view, node->ino, 0, 4, &out, &size), 0);
	SAME(out, got);
	SAME(fs_seek(view, node->ino, 0, 3, &out, &size), got ? 0 : -ENXIO);
	at = rnd_below(&rnd, len);
	SAME(fs_read(view, node->ino, at, 100, buf, &got, &rep), 0);
	EXPECT(!got || !memcmp(buf, node->data + at, got));
}

static void compare_xattrs(struct fs_view *view, struct m_node *node)
{
	char names[M_XATTRS * (M_NAME + 1)], value[64];
	size_t len, want = 0;

	for (int i = 0; i < node->n_xattrs; i++) {
		struct m_xattr *x = &node->xattr[i];

		want += x->name_len + 1;
		SAME(fs_getxattr(view, node->ino, x->name, x->name_len, value, sizeof(value),
				 &len), 0);
		SAME(len, x->len);
		EXPECT(!memcmp(value, x->value, len));
	}
	SAME(fs_listxattr(view, node->ino, names, sizeof(names), &len), 0);
	SAME(len, want);
	SAME(fs_getxattr(view, node->ino, "none", 4, value, sizeof(value), &len), -ENODATA);
}

static void compare_node(struct fs_view *view, struct m_node *node)
{
	struct fs_chain chain = {};
	struct archil_attr_rep rep;
	char target[ARCHIL_PATH_LEN];
	u64 want[M_DEPTH], number;
	size_t n;

	SAME(fs_getattr(view, node->ino, &rep, target), 0);
	compare_attr(node, &rep.attr);
	if (S_ISLNK(node->mode))
		EXPECT(le16_to_cpu(rep.target_len) == node->size &&
		       !memcmp(target, node->target, node->size));
	if (S_ISREG(node->mode))
		compare_data(view, node);
	compare_xattrs(view, node);
	SAME(fs_orphan_of(view, node->ino, &number), 0);
	SAME(number, node->orphan_of);
	n = m_chain(m, node->ino, want);
	SAME(fs_chain(view, node->ino, &chain), 0);
	SAME(chain.n, n);
	for (size_t i = 0; i < n; i++)
		SAME(chain.ino[i], want[n - 1 - i]);
	fs_chain_free(&chain);
	for (int i = 0; i < m->delegs; i++) {
		struct fs_deleg *d = &m->deleg[i].rec;

		SAME(fs_inside(view, node->ino, d->number, d->ino),
		     m_owner(m, node->ino) == &m->deleg[i] ? 0 : -EUCLEAN);
	}
}

/* All entries of a directory, in pages of random size. */
static void compare_dir(struct fs_view *view, struct m_node *node)
{
	struct archil_readdir_req req = { .dir = cpu_to_le64(node->ino) };
	struct archil_readdir_rep rep;
	static u8 buf[8192];
	struct fs_list list = { .buf = buf };
	struct archil_attr_rep attr;
	struct archil_dirent de;
	struct m_dent *dent;
	unsigned int name_len;
	const char *name;
	u64 cookie = 0;
	int count = 0;
	size_t pos;

	do {
		req.cookie = cpu_to_le64(cookie);
		list.cap = rnd_range(&rnd, 200, sizeof(buf));
		SAME(fs_readdir(view, &req, &list, &rep), 0);
		SAME(le64_to_cpu(rep.dir_change), node->change);
		EXPECT(le32_to_cpu(rep.count) || le32_to_cpu(rep.flags) & ARCHIL_RD_EOF);
		for (pos = 0; archil_dirent_next(buf, list.len, &pos, &de, &name, &name_len) > 0;
		     count++) {
			EXPECT(le64_to_cpu(de.cookie) > cookie);
			cookie = le64_to_cpu(de.cookie);
			dent = m_find(m, node->ino, name, name_len);
			EXPECT(dent);
			SAME(dent->cookie, cookie);
			SAME(le64_to_cpu(de.attr.ino), dent->ino);
			compare_attr(m_node(m, dent->ino), &de.attr);
			SAME(fs_lookup(view, node->ino, name, name_len, &attr, NULL), 0);
			EXPECT(!memcmp(&attr.attr, &de.attr, sizeof(de.attr)));
		}
	} while (!(le32_to_cpu(rep.flags) & ARCHIL_RD_EOF));
	SAME(count, m_entries(m, node->ino));
	SAME(fs_lookup(view, node->ino, "none", 4, &attr, NULL), -ENOENT);
	SAME(le64_to_cpu(attr.dir_change), node->change);
}

static void say(void *arg, const char *text)
{
	fprintf(stderr, "fs_check: %s\n", text);
}

static void compare(bool check)
{
	struct fs_disk_info info;
	struct fs_deleg deleg;
	struct fs_view *view;

	settle(true);
	view = fs_view_get(fs);
	EXPECT(view);
	SAME(fs_disk_info(view, &info), 0);
	SAME(info.inodes, m->nodes);
	SAME(info.next_ino, m->next_ino);
	for (int i = 0; i < m->nodes; i++) {
		compare_node(view, &m->node[i]);
		if (S_ISDIR(m->node[i].mode))
			compare_dir(view, &m->node[i]);
	}
	for (int i = 0; i < m->delegs; i++) {
		SAME(fs_deleg_get(view, m->deleg[i].rec.number, &deleg), 0);
		EXPECT(!memcmp(&deleg, &m->deleg[i].rec, sizeof(deleg)));
	}
	if (check)
		SAME(fs_check(view, say, NULL), 0);
	fs_view_put(view);
}

#endif

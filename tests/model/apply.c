// SPDX-License-Identifier: GPL-2.0
/*
 * The server's namespace against a naive one (apply_model.h): random records,
 * as clients send them under delegations and as synchronous changes, in groups;
 * delegations granted, checked in, taken; data files written; orphans reaped.
 *
 * At random commits (in the first rounds at every one) the disk is closed and
 * opened again, now and then with a group that never was committed; batches sent
 * again must change nothing, refused ones leave nothing behind. The whole tree is
 * read and compared, and fs_check() finds nothing.
 *
 * SEED=n repeats a run; LOOPS=n makes it longer.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../random.h"
#include "apply_model.h"

#define ROUNDS		6
#define REAP_DELAY	50
#define SESSIONS	2

static char dir[64], path[96];
static struct store *store;
static struct fs *fs;
static struct model *m;
static struct rnd rnd;
static u64 seed, session[SESSIONS];
static u64 max_file_size;
static struct fs_intents pending = STAILQ_HEAD_INITIALIZER(pending);
static u8 *sent[4096];		/* every batch, freed at the end of a round */
static int n_sent;
static unsigned long applied, refused, restarts, crashes, again;

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
	struct archil_readdir_rep rep;
	static u8 buf[8192];
	struct archil_attr_rep attr;
	struct archil_dirent de;
	struct m_dent *dent;
	unsigned int name_len;
	const char *name;
	size_t len, pos;
	u64 cookie = 0;
	int count = 0;

	do {
		SAME(fs_readdir(view, node->ino, cookie, buf, rnd_range(&rnd, 200, sizeof(buf)),
				&len, &rep, NULL, NULL), 0);
		SAME(le64_to_cpu(rep.dir_change), node->change);
		EXPECT(le32_to_cpu(rep.count) || le32_to_cpu(rep.flags) & ARCHIL_RD_EOF);
		for (pos = 0; archil_dirent_next(buf, len, &pos, &de, &name, &name_len) > 0;
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

/* ---- records as a client makes them ---- */

static u64 random_dir(struct m_deleg *deleg)
{
	u64 ino = ARCHIL_INO_ROOT;

	for (int i = 0; i < 30; i++) {
		struct m_node *node = &m->node[rnd_below(&rnd, m->nodes)];

		if (!S_ISDIR(node->mode) && !rnd_one_in(&rnd, 40))
			continue;
		ino = node->ino;
		if (!deleg || m_owner(m, ino) == deleg)
			break;
	}
	return rnd_one_in(&rnd, 200) ? m->fresh + 5 : ino;
}

static u64 random_node(struct m_deleg *deleg, bool regular)
{
	u64 ino = ARCHIL_INO_ROOT;

	for (int i = 0; i < 30; i++) {
		struct m_node *node = &m->node[rnd_below(&rnd, m->nodes)];

		if (regular && !S_ISREG(node->mode) && !rnd_one_in(&rnd, 40))
			continue;
		ino = node->ino;
		if (!deleg || m_owner(m, ino) == deleg)
			break;
	}
	return rnd_one_in(&rnd, 200) ? m->fresh + 5 : ino;
}

static struct archil_time a_time(void)
{
	return (struct archil_time){
		.sec = cpu_to_le64(rnd_below(&rnd, 1000)),
		.nsec = cpu_to_le32(rnd_below(&rnd, 1000)),
	};
}

struct parts {
	char name[2][M_NAME];
	u8 data[ARCHIL_INLINE_MAX];
};

/* One of a few names; or, mostly when asked to, one that is there, and its inode. */
static u16 a_name(u64 in, bool existing, char *name, u64 *ino)
{
	struct m_dent *found = NULL;
	int n = 0;

	if (existing && !rnd_one_in(&rnd, 12)) {
		for (int i = 0; i < m->dents; i++)
			if (m->dent[i].dir == in && rnd_one_in(&rnd, ++n))
				found = &m->dent[i];
	}
	if (found) {
		memcpy(name, found->name, found->len);
		if (ino && !rnd_one_in(&rnd, 50))
			*ino = found->ino;
		return found->len;
	}
	n = rnd_one_in(&rnd, 10) ? M_NAME : 1 + rnd_below(&rnd, 2);
	for (int i = 0; i < n; i++)
		name[i] = 'a' + rnd_below(&rnd, n == 1 ? 12 : 4);
	return n;
}

static u64 a_cookie(u64 in)
{
	struct m_node *node = m_node(m, in);
	u64 next = node ? node->next_cookie : ARCHIL_COOKIE_FIRST;

	return rnd_one_in(&rnd, 60) ? rnd_range(&rnd, 0, 1) * ARCHIL_COOKIE_FIRST :
				      next + rnd_below(&rnd, 3);
}

static u64 a_size(void)
{
	switch (rnd_below(&rnd, 8)) {
	case 0:
		return 0;
	case 1:
		return rnd_one_in(&rnd, 20) ? (1ull << 62) : rnd_below(&rnd, 1ull << 40);
	case 2:
		return rnd_below(&rnd, M_DATA);
	default:
		return rnd_below(&rnd, 3000);
	}
}

static void gen_create(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	static const u32 types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFCHR };

	rec->dir = random_dir(deleg);
	rec->ino = rnd_one_in(&rnd, 60) ? random_node(NULL, false) : m->fresh;
	rec->mode = types[rnd_below(&rnd, ARRAY_SIZE(types))] | rnd_below(&rnd, 01000);
	rec->uid = rnd_below(&rnd, 5);
	rec->gid = rnd_below(&rnd, 5);
	rec->atime = a_time();
	rec->mtime = a_time();
	rec->ctime = a_time();
	rec->btime = a_time();
	if (rnd_one_in(&rnd, 10)) {
		rec->flags = ARCHIL_CREATE_TMPFILE;
		if (!rnd_one_in(&rnd, 10))
			rec->mode = S_IFREG | 0600;
	} else {
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, rnd_one_in(&rnd, 20), p->name[0], NULL);
		rec->cookie = a_cookie(rec->dir);
	}
	if (S_ISCHR(rec->mode))
		rec->rdev_major = rec->rdev_minor = 5;
	if (S_ISLNK(rec->mode)) {
		rec->data = memcpy(p->data, "the target", 10);
		rec->data_len = 1 + rnd_below(&rnd, 10);
	}
}

static void gen_rename(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	bool over = rnd_one_in(&rnd, 2);

	rec->dir = random_dir(deleg);
	rec->new_dir = rnd_one_in(&rnd, 3) ? rec->dir : random_dir(deleg);
	rec->ino = random_node(deleg, false);
	rec->name = p->name[0];
	rec->name_len = a_name(rec->dir, true, p->name[0], &rec->ino);
	rec->new_name = p->name[1];
	rec->new_name_len = a_name(rec->new_dir, over, p->name[1], &rec->target);
	if (rec->target == rec->ino)
		rec->target = 0;
	if (rec->target && rnd_one_in(&rnd, 2))
		rec->flags = rnd_one_in(&rnd, 2) ? ARCHIL_RENAME_EXCHANGE : ARCHIL_RENAME_OPEN;
	if (rec->flags != ARCHIL_RENAME_EXCHANGE)
		rec->cookie = a_cookie(rec->new_dir);
}

static void gen_setattr(struct archil_record *rec, struct m_deleg *deleg)
{
	rec->valid = rnd_range(&rnd, 1, ARCHIL_SET_CTIME * 2 - 1);
	rec->mode = rec->valid & ARCHIL_SET_MODE ? rnd_below(&rnd, 010000) : 0;
	rec->uid = rec->valid & ARCHIL_SET_UID ? 7 : 0;
	rec->gid = rec->valid & ARCHIL_SET_GID ? 8 : 0;
	if (rec->valid & ARCHIL_SET_ATIME)
		rec->atime = a_time();
	if (rec->valid & ARCHIL_SET_MTIME)
		rec->mtime = a_time();
	if (rec->valid & ARCHIL_SET_CTIME)
		rec->ctime = a_time();
	if (rnd_one_in(&rnd, 2)) {
		rec->valid |= rnd_one_in(&rnd, 2) ? ARCHIL_SET_SIZE : ARCHIL_SET_SIZE_UP;
		rec->size = a_size();
	}
	rec->ino = random_node(deleg, rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP));
}

static void gen(struct archil_record *rec, struct parts *p, struct m_deleg *deleg)
{
	static const u8 types[] = {
		ARCHIL_REC_CREATE, ARCHIL_REC_CREATE, ARCHIL_REC_CREATE, ARCHIL_REC_CREATE,
		ARCHIL_REC_LINK, ARCHIL_REC_LINK, ARCHIL_REC_UNLINK, ARCHIL_REC_UNLINK,
		ARCHIL_REC_UNLINK, ARCHIL_REC_RENAME, ARCHIL_REC_RENAME, ARCHIL_REC_RENAME,
		ARCHIL_REC_SETATTR, ARCHIL_REC_SETATTR, ARCHIL_REC_CONTENT, ARCHIL_REC_CONTENT,
		ARCHIL_REC_PUNCH, ARCHIL_REC_ALLOC, ARCHIL_REC_SETXATTR, ARCHIL_REC_RMXATTR,
		ARCHIL_REC_RELEASE,
	};

	memset(rec, 0, sizeof(*rec));
	rec->type = types[rnd_below(&rnd, ARRAY_SIZE(types))];
	if (rec->type != ARCHIL_REC_SETATTR && rec->type != ARCHIL_REC_RELEASE)
		rec->time = a_time();
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		gen_create(rec, p, deleg);
		break;
	case ARCHIL_REC_LINK:
		rec->dir = random_dir(deleg);
		rec->ino = random_node(deleg, true);
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, false, p->name[0], NULL);
		rec->cookie = a_cookie(rec->dir);
		break;
	case ARCHIL_REC_UNLINK:
		rec->dir = random_dir(deleg);
		rec->ino = random_node(deleg, false);
		rec->name = p->name[0];
		rec->name_len = a_name(rec->dir, true, p->name[0], &rec->ino);
		rec->flags = rnd_one_in(&rnd, 3) ? ARCHIL_UNLINK_OPEN : 0;
		break;
	case ARCHIL_REC_RENAME:
		gen_rename(rec, p, deleg);
		break;
	case ARCHIL_REC_SETATTR:
		gen_setattr(rec, deleg);
		break;
	case ARCHIL_REC_CONTENT:
		rec->ino = random_node(deleg, true);
		rec->off = rnd_one_in(&rnd, 2) ? 0 : rnd_below(&rnd, 6000);
		rec->data_len = rnd_range(&rnd, 1, rnd_one_in(&rnd, 8) ? 10000 : 500);
		rnd_bytes(&rnd, p->data, rec->data_len);
		rec->data = p->data;
		break;
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		rec->ino = random_node(deleg, true);
		rec->off = rnd_below(&rnd, 12000);
		rec->length = rnd_range(&rnd, 1, 12000);
		if (rec->type == ARCHIL_REC_ALLOC && rnd_one_in(&rnd, 2))
			rec->flags = ARCHIL_ALLOC_KEEP_SIZE;
		break;
	case ARCHIL_REC_SETXATTR:
	case ARCHIL_REC_RMXATTR:
		rec->ino = random_node(deleg, false);
		memcpy(p->name[0], "user.a", 6);
		p->name[0][5] += rnd_below(&rnd, M_XATTRS);
		rec->name = p->name[0];
		rec->name_len = 6;
		if (rec->type == ARCHIL_REC_SETXATTR) {
			rec->data_len = rnd_below(&rnd, 32);
			rnd_bytes(&rnd, p->data, rec->data_len);
			rec->data = p->data;
		}
		break;
	case ARCHIL_REC_RELEASE:
		rec->ino = deleg && deleg->rec.flags ? deleg->rec.ino : random_node(deleg, true);
		for (int i = 0; i < m->nodes && !rnd_one_in(&rnd, 8); i++)
			if (m->node[i].orphan_of && (!deleg || m_owner(m, m->node[i].ino) == deleg))
				rec->ino = m->node[i].ino;
		break;
	}
}

static bool full(void)
{
	return m->nodes > M_NODES - 40 || m->dents > M_DENTS - 40 || m->delegs > M_DELEGS - 10 ||
	       m->fresh + 40 > m->next_ino;
}

/* ---- steps of a group; a batch each ---- */

/* A batch under a random delegation; some hold a record that must be refused. */
static void step_log(struct fs_txn *txn)
{
	struct m_deleg *deleg, *now;
	struct archil_record rec;
	struct fs_log_result res;
	struct model *before;
	struct fs_deleg mine;
	struct m_who who = {};
	static struct parts p;
	u64 number, first;
	size_t len = 0;
	u8 *buf;
	int want = 0, err, n, count = 0;

	if (!m->delegs || n_sent == ARRAY_SIZE(sent))
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	number = deleg->rec.number;
	first = deleg->rec.applied + 1;
	mine = deleg->rec;
	who.deleg = number;
	before = m_copy(m);
	buf = sent[n_sent++] = malloc(ARCHIL_PAYLOAD_MAX);

	n = rnd_range(&rnd, 1, 12);
	for (int tries = 0; count < n && tries < 200 && !want && !full(); tries++) {
		deleg = m_deleg(m, number);
		if (!deleg)
			break;	/* it released its orphan */
		gen(&rec, &p, deleg);
		err = m_apply(m, &who, &rec, max_file_size);
		if (err && !rnd_one_in(&rnd, 200))
			continue;
		want = err;
		SAME(archil_record_put(buf, ARCHIL_PAYLOAD_MAX, &len, &rec), 0);
		count++;
	}
	err = fs_apply_log(txn, &mine, first, count, buf, len, &res);
	if (want) {
		SAME(err, -EUCLEAN);
		SAME(res.bad_seq, first + count - 1);
		SAME(mine.applied, first - 1);
		m_drop(m);
		m = before;
		refused++;
		return;
	}
	m_drop(before);
	SAME(err, 0);
	SAME(mine.applied, first + count - 1);
	applied += count;
	now = m_deleg(m, number);
	SAME(res.ended, now ? 0 : number);
	if (!now) {
		fs_batch_begin(txn);
		SAME(fs_deleg_close(txn, number, FS_CLOSED, NULL, NULL), 0);
		SAME(fs_batch_end(txn), 0);
		return;
	}
	now->rec = mine;
	if (!count)
		return;
	now->batch = buf;
	now->len = len;
	now->first_seq = first;
	now->count = count;
}

static int may(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	u64 chain[M_DEPTH];
	size_t n = m_chain(m, place->ino, chain);

	SAME(place->n, n);
	for (size_t i = 0; i < n; i++)
		SAME(place->chain[i], chain[n - 1 - i]);
	SAME(place->orphan_of, m_node(m, place->ino)->orphan_of);
	return m_may(m, *(u64 *)ctx, what, place->ino);
}

static u64 cover(void *ctx, const struct fs_place *place)
{
	return m_cover(m, *(u64 *)ctx, place->ino);
}

static void step_change(struct fs_txn *txn)
{
	u64 *ses = &session[rnd_below(&rnd, SESSIONS)];
	struct m_who who = { .session = *ses };
	struct fs_who fs_who = { .may = may, .cover = cover, .ctx = ses };
	struct m_deleg *mine = NULL;
	struct archil_record rec;
	struct fs_result res;
	static struct parts p;
	struct model *before;
	u64 keep;
	int want, err;

	if (full())
		return;
	if (m->delegs && !rnd_one_in(&rnd, 3))
		mine = &m->deleg[rnd_below(&rnd, m->delegs)];
	gen(&rec, &p, rnd_one_in(&rnd, 2) ? mine : NULL);
	/* ours asks the model as it is before */
	fs_batch_begin(txn);
	err = fs_apply(txn, &fs_who, &rec, &res);
	before = m_copy(m);
	want = m_apply(m, &who, &rec, max_file_size);
	if (err != want)
		FAIL("%s: %d instead of %d", archil_record_name(rec.type), err, want);
	if (err) {
		fs_batch_abort(txn);
	} else {
		SAME(res.ino, rec.ino);
		if (res.ended) {
			keep = m_deleg(before, res.ended)->rec.ino;
			SAME(keep, rec.ino);
			SAME(fs_deleg_close(txn, res.ended, FS_CLOSED, NULL, NULL), 0);
		}
		SAME(m->delegs, before->delegs - !!res.ended);
		SAME(fs_batch_end(txn), 0);
		applied++;
	}
	m_drop(before);
}

static void step_inos(struct fs_txn *txn)
{
	u64 first;

	fs_batch_begin(txn);
	SAME(fs_alloc_inos(txn, 100, &first), 0);
	SAME(first, m->next_ino);
	if (rnd_one_in(&rnd, 8)) {
		fs_batch_abort(txn);
		return;
	}
	SAME(fs_batch_end(txn), 0);
	m->next_ino += 100;
}

static void step_grant(struct fs_txn *txn)
{
	u64 ino = random_node(NULL, rnd_one_in(&rnd, 3));
	struct m_node *node = m_node(m, ino);
	struct fs_deleg *rec;

	if (!node || node->orphan || m_owner(m, ino) || full() ||
	    (!S_ISDIR(node->mode) && !S_ISREG(node->mode)) || (ino == 1 && !rnd_one_in(&rnd, 4)))
		return;
	for (int i = 0; i < m->delegs; i++)
		if (!m_node(m, m->deleg[i].rec.ino)->orphan && m_under(m, m->deleg[i].rec.ino, ino))
			return;
	memset(&m->deleg[m->delegs], 0, sizeof(m->deleg[0]));
	rec = &m->deleg[m->delegs++].rec;
	fs_batch_begin(txn);
	*rec = (struct fs_deleg){
		.number = fs_alloc_deleg(txn),
		.ino = ino,
		.session = session[rnd_below(&rnd, SESSIONS)],
		.commit = fs_txn_nr(txn),
		.since = m->now,
		.origin = ARCHIL_ORIGIN_CHECKOUT,
	};
	SAME(fs_deleg_put(txn, rec), 0);
	SAME(fs_batch_end(txn), 0);
}

static int made(void *ctx, const struct fs_deleg *rec)
{
	struct m_node *node = m_node(m, rec->ino);

	EXPECT(node->orphan);
	SAME(node->orphan_of, *(u64 *)ctx);
	EXPECT(rec->flags & FS_DELEG_ORPHAN);
	node->orphan_of = rec->number;
	memset(&m->deleg[m->delegs], 0, sizeof(m->deleg[0]));
	m->deleg[m->delegs++].rec = *rec;
	return 0;
}

static void step_close(struct fs_txn *txn)
{
	enum fs_close_how how = FS_CLOSED + rnd_below(&rnd, 3);
	struct m_deleg *deleg;
	struct fs_tomb tomb;
	struct fs_deleg old;
	u64 number;
	int err;

	if (!m->delegs)
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	old = deleg->rec;
	number = old.number;
	fs_batch_begin(txn);
	SAME(fs_deleg_close(txn, number, how, made, &number), 0);
	err = fs_tomb_get(fs_txn_view(txn), number, &tomb);
	if (how == FS_ENDED) {
		SAME(err, -ENOENT);
	} else {
		SAME(err, 0);
		SAME(tomb.how, how);
		SAME(tomb.session, old.session);
		SAME(tomb.applied, old.applied);
		if (rnd_one_in(&rnd, 2))
			SAME(fs_tomb_del(txn, number), 0);
	}
	SAME(fs_batch_end(txn), 0);
	/* those that found no new keeper are released */
	for (int i = 0; i < m->nodes; i++) {
		if (m->node[i].orphan_of == number) {
			EXPECT(how != FS_CLOSED || old.flags & FS_DELEG_ORPHAN);
			m_orphan(m, &m->node[i], 0);
		}
	}
	deleg = m_deleg(m, number);
	*deleg = m->deleg[--m->delegs];
}

/* ---- what takes more than one transaction ---- */

/* WRITE, with or without the size record that would make it seen. */
static void do_write(void)
{
	static u8 data[8192];
	struct m_deleg *deleg;
	struct m_node *node;
	struct fs_txn *txn;
	u64 off, len, ino;

	if (!m->delegs)
		return;
	deleg = &m->deleg[rnd_below(&rnd, m->delegs)];
	ino = random_node(deleg, true);
	node = m_node(m, ino);
	if (!node || !S_ISREG(node->mode) || m_owner(m, ino) != deleg)
		return;
	txn = begin();
	fs_batch_begin(txn);
	SAME(fs_bulk_begin(txn, ino, deleg->rec.number, deleg->rec.ino), 0);
	SAME(fs_touch_change(txn, ino), 0);
	SAME(fs_set_bytes(txn, ino, 4096), 0);
	SAME(fs_batch_end(txn), 0);
	commit(txn);
	m_take_over(node, deleg->rec.number);
	node->bulk = true;
	node->writer = deleg->rec.number;
	node->change = m->nr;
	settle(true);

	off = rnd_below(&rnd, M_DATA - sizeof(data));
	len = rnd_range(&rnd, 1, sizeof(data));
	rnd_bytes(&rnd, data, len);
	SAME(run(STORE_WRITE, ino, off, len, data), len);
	SAME(run(STORE_FLUSH, ino, 0, 0, NULL), 0);
	memcpy(m_data(node) + off, data, len);
}

static void do_reap(void)
{
	u64 before = m->now > REAP_DELAY ? m->now - REAP_DELAY : 0, oldest, want = UINT64_MAX;
	struct fs_view *view;
	struct fs_txn *txn;
	int max, r;

	do {
		txn = begin();
		fs_batch_begin(txn);
		max = rnd_range(&rnd, 1, 10);
		r = fs_reap(txn, before, max);
		EXPECT(r >= 0 && r <= max);
		SAME(fs_batch_end(txn), 0);
		commit(txn);
	} while (r);
	for (int i = 0; i < m->nodes; i++) {
		if (!m->node[i].orphan || m->node[i].orphan_of)
			continue;
		if (m->node[i].released <= before)
			m_remove(m, i--);
		else if (m->node[i].released < want)
			want = m->node[i].released;
	}
	view = fs_view_get(fs);
	r = fs_reap_next(view, &oldest);
	SAME(r, want == UINT64_MAX ? -ENOENT : 0);
	if (!r)
		SAME(oldest, want);
	fs_view_put(view);
}

static int count_one(void *ctx, const struct fs_deleg *deleg)
{
	struct m_deleg *mine = m_deleg(m, deleg->number);

	EXPECT(mine && !memcmp(&mine->rec, deleg, sizeof(*deleg)));
	++*(int *)ctx;
	return 0;
}

static void reopen(void)
{
	struct fs_view *view;
	int n = 0;

	close_disk();
	open_disk();
	view = fs_view_get(fs);
	SAME(fs_delegs_each(view, count_one, &n), 0);
	SAME(n, m->delegs);
	SAME(fs_intents_load(view, &pending), 0);
	fs_view_put(view);
	if (rnd_one_in(&rnd, 2))
		settle(false);	/* and it dies again before they are forgotten */
	restarts++;
}

/* The client did not hear: every last batch again, and a gap is refused. */
static void resend(void)
{
	struct fs_log_result res;
	struct fs_deleg deleg;
	struct fs_txn *txn;

	txn = begin();
	for (int i = 0; i < m->delegs; i++) {
		struct m_deleg *d = &m->deleg[i];

		if (!d->batch)
			continue;
		deleg = d->rec;
		SAME(fs_apply_log(txn, &deleg, d->first_seq, d->count, d->batch, d->len, &res), 0);
		EXPECT(!memcmp(&deleg, &d->rec, sizeof(deleg)));
		SAME(fs_apply_log(txn, &deleg, d->rec.applied + 2, d->count, d->batch, d->len,
				  &res), -EPROTO);
		SAME(fs_apply_log(txn, &deleg, d->first_seq, d->count + 1, d->batch, d->len,
				  &res), -EPROTO);
		again++;
	}
	SAME(fs_txn_bytes(txn) > 100, false);
	SAME(fs_txn_commit(txn), 0);
}

static void do_group(bool every)
{
	struct model *before = m_copy(m);
	struct fs_txn *txn = begin();
	bool crash = rnd_one_in(&rnd, 25);
	int n;

	if (m->fresh + 60 > m->next_ino)
		step_inos(txn);
	for (n = rnd_range(&rnd, 1, 6); n; n--) {
		switch (rnd_below(&rnd, 20)) {
		case 0:
		case 1:
			step_grant(txn);
			break;
		case 2:
			if (rnd_one_in(&rnd, 3))
				step_close(txn);
			break;
		case 3 ... 8:
			step_change(txn);
			break;
		default:
			step_log(txn);
		}
	}
	if (crash) {
		if (rnd_one_in(&rnd, 2))
			fs_batch_begin(txn);
		fs_txn_abort(txn);
		before->now = m->now;
		m_drop(m);
		m = before;
		crashes++;
	} else {
		commit(txn);
		m_drop(before);
	}
	if (crash ? rnd_one_in(&rnd, 2) : every || rnd_one_in(&rnd, 40)) {
		reopen();
		resend();
	}
}

static void open_sessions(void)
{
	struct fs_txn *txn = begin();
	struct fs_session rec = { .root = 1 };

	fs_batch_begin(txn);
	for (int i = 0; i < SESSIONS; i++) {
		session[i] = rec.id = fs_alloc_session(txn);
		SAME(fs_session_put(txn, &rec), 0);
	}
	SAME(fs_batch_end(txn), 0);
	commit(txn);
}

static void round_of(unsigned int groups, bool every)
{
	struct scram_verifier verifier = {};
	char *msg = NULL;

	m = calloc(1, sizeof(*m));
	m_init(m, 1000);
	if (store_create(path, &msg) || store_open(path, NULL, &store, &msg))
		FAIL("store: %s", msg);
	SAME(fs_format(store, &verifier, m->now), 0);
	store_close(store);
	open_disk();
	open_sessions();
	for (unsigned int i = 0; i < groups; i++) {
		do_group(every);
		if (rnd_one_in(&rnd, 4))
			do_write();
		if (rnd_one_in(&rnd, 6))
			settle(rnd_one_in(&rnd, 2));
		if (rnd_one_in(&rnd, 12) || full())
			do_reap();
		if (rnd_one_in(&rnd, 12))
			compare(rnd_one_in(&rnd, 3));
	}
	compare(true);
	close_disk();
	m_drop(m);
	while (n_sent)
		free(sent[--n_sent]);
	if (store_destroy(path, &msg))
		FAIL("store_destroy: %s", msg);
}

int main(void)
{
	const char *tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	const char *env = getenv("SEED");
	unsigned int groups;

	seed = env ? strtoull(env, NULL, 0) : (u64)getpid() << 20 ^ time(NULL);
	rnd.state = seed;
	env = getenv("LOOPS");
	groups = env ? atoi(env) : 150;
	printf("apply: SEED=%llu LOOPS=%u\n", (unsigned long long)seed, groups);
	snprintf(dir, sizeof(dir), "%s/archil-apply.XXXXXX", tmp);
	if (!mkdtemp(dir))
		FAIL("mkdtemp: %s", dir);
	snprintf(path, sizeof(path), "%s/disk", dir);
	for (int i = 0; i < ROUNDS; i++)
		round_of(i < 2 ? groups / 4 : groups, i < 2);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("apply: %lu records, %lu batches refused, %lu sent again, %lu restarts, %lu crashes\n",
	       applied, refused, again, restarts, crashes);
	EXPECT(applied > groups && refused && again && restarts && crashes);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The merge rules against a naive filesystem in memory. Random operations are
 * applied to one tree record by record as they come, and as merged batches to
 * another; after each batch the two must be the same: names, cookies, contents,
 * attributes, extended attributes, times. The naive filesystem is as strict as
 * the server: a record that does not fit the tree ends the test.
 *
 *	merge [-n SEQUENCES] [-s SEED] [-v]
 *
 * SEED may be in the environment, and ARCHIL_LONG, for a hundred times as many.
 * Sequence i uses seed SEED + i; what fails says which. Before that, each rule is
 * seen to do what it says.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Memory that is sometimes not there when one cannot wait for it. */
static unsigned int alloc_fails;	/* one in so many; 0: never */
static int alloc_left = -1;	/* this many succeed, waiting or not; -1: all */
static void *test_alloc(size_t size, bool wait);

#define port_alloc(size, wait)	test_alloc(size, wait)
#define port_free(p)		free(p)

#include "../../kernel/shared/batch.c"
#include "../../kernel/shared/merge.c"
#include "../random.h"

#define SEQUENCES	25000
#define INODES		320	/* a sequence makes at most so many */
#define NAMES		6	/* "a" to "f" */
#define BYTES		64	/* contents of a file */
#define XATTRS		4	/* "user.a" to "user.d" */
#define VALUE		8

static struct rnd rnd;
static u64 seed, clock_now;
static bool verbose;

/* ---- the naive filesystem ---- */

struct entry {
	u64 ino;	/* 0: none */
	u64 cookie;
};

struct xattr {
	bool there;
	u8 len;
	u8 value[VALUE];
};

struct inode {
	bool there;
	bool touched;	/* in this batch */
	bool bulk;
	u32 mode, uid, gid, rdev_major, rdev_minor;
	u32 nlink;	/* names; 0: an open orphan */
	struct archil_time atime, mtime, ctime, btime;
	u64 size;
	u8 data[BYTES];	/* of a bulk file also what lies beyond its size */
	u8 target[8];
	u32 target_len;
	struct {
		u64 dir, cookie;
	} home;		/* the home link; zeros: an orphan, or the root */
	u64 next_cookie;
	struct entry entry[NAMES];
	struct xattr xattr[XATTRS];
};

struct tree {
	struct inode inode[INODES];	/* by number; 0 is unused */
};

static struct tree plain, merged;
static u64 last_ino;

static void *test_alloc(size_t size, bool wait)
{
	if (!wait && alloc_fails && rnd_one_in(&rnd, alloc_fails))
		return NULL;
	if (!alloc_left || (alloc_left > 0 && !alloc_left--))
		return NULL;
	return malloc(size);
}

static int name_index(const char *name, u32 len)
{
	return len == 1 && name[0] >= 'a' && name[0] < 'a' + NAMES ? name[0] - 'a' : -1;
}

static int xattr_index(const char *name, u32 len)
{
	return len == 6 && !memcmp(name, "user.", 5) ? name[5] - 'a' : -1;
}

static struct inode *get(struct tree *t, u64 ino)
{
	return ino && ino < INODES && t->inode[ino].there ? &t->inode[ino] : NULL;
}

static struct inode *get_dir(struct tree *t, u64 ino)
{
	struct inode *in = get(t, ino);

	return in && S_ISDIR(in->mode) ? in : NULL;
}

static bool empty(const struct inode *dir)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (dir->entry[i].ino)
			return false;
	return true;
}

static bool lies_in(struct tree *t, u64 dir, u64 top)
{
	while (dir != top && dir != ARCHIL_INO_ROOT)
		dir = t->inode[dir].home.dir;
	return dir == top;
}

static void dir_changed(struct inode *dir, const struct archil_time *time)
{
	dir->mtime = *time;
	dir->ctime = *time;
	dir->touched = true;
}

static void node_changed(struct inode *in, const struct archil_time *time)
{
	in->ctime = *time;
	in->touched = true;
}

static bool take_cookie(struct inode *dir, u64 cookie)
{
	if (cookie < dir->next_cookie)
		return false;
	dir->next_cookie = cookie + 1;
	return true;
}

static void set_home(struct inode *in, u64 dir, u64 cookie)
{
	in->home.dir = dir;
	in->home.cookie = cookie;
}

static bool is_home(const struct inode *in, u64 dir, u64 cookie)
{
	return in->home.dir == dir && in->home.cookie == cookie;
}

/* The home link went: as at the server, the first of the others is home now. */
static void new_home(struct tree *t, struct inode *in, u64 ino)
{
	struct inode *dir;
	u64 d;
	int i;

	set_home(in, 0, 0);
	for (d = 1; d < INODES && !in->home.dir; d++) {
		dir = get_dir(t, d);
		for (i = 0; dir && i < NAMES; i++)
			if (dir->entry[i].ino == ino &&
			    (!in->home.dir || dir->entry[i].cookie < in->home.cookie))
				set_home(in, d, dir->entry[i].cookie);
	}
}

/* A link of @ino, which is out of its directory already. */
static void drop_link(struct tree *t, u64 ino, u64 dir, u64 cookie, bool open,
		      const struct archil_time *time)
{
	struct inode *in = &t->inode[ino];

	node_changed(in, time);
	if (is_home(in, dir, cookie))
		new_home(t, in, ino);
	if (!--in->nlink && !open)
		in->there = false;
}

static void relink(struct inode *in, u64 dir, u64 cookie, u64 new_dir, u64 new_cookie)
{
	if (is_home(in, dir, cookie))
		set_home(in, new_dir, new_cookie);
}

static bool apply_create(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in;
	int name;

	if (!dir || rec->ino >= INODES || get(t, rec->ino))
		return false;
	in = &t->inode[rec->ino];
	memset(in, 0, sizeof(*in));
	if (!(rec->flags & ARCHIL_CREATE_TMPFILE)) {
		name = name_index(rec->name, rec->name_len);
		if (name < 0 || dir->entry[name].ino || !dir->nlink ||
		    !take_cookie(dir, rec->cookie))
			return false;
		dir->entry[name] = (struct entry){ rec->ino, rec->cookie };
		dir_changed(dir, &rec->time);
		in->nlink = 1;
	}
	in->there = in->touched = true;
	in->mode = rec->mode;
	in->uid = rec->uid;
	in->gid = rec->gid;
	in->rdev_major = rec->rdev_major;
	in->rdev_minor = rec->rdev_minor;
	in->atime = rec->atime;
	in->mtime = rec->mtime;
	in->ctime = rec->ctime;
	in->btime = rec->btime;
	in->target_len = rec->data_len;
	if (rec->data_len)
		memcpy(in->target, rec->data, rec->data_len);
	if (in->nlink)
		set_home(in, rec->dir, rec->cookie);
	in->next_cookie = ARCHIL_COOKIE_FIRST;
	return true;
}

static bool apply_link(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in = get(t, rec->ino);
	int name = name_index(rec->name, rec->name_len);

	if (!dir || !in || name < 0 || S_ISDIR(in->mode) || dir->entry[name].ino || !dir->nlink ||
	    !take_cookie(dir, rec->cookie))
		return false;
	dir->entry[name] = (struct entry){ rec->ino, rec->cookie };
	if (!in->nlink++)
		set_home(in, rec->dir, rec->cookie);
	dir_changed(dir, &rec->time);
	node_changed(in, &rec->time);
	return true;
}

static bool apply_unlink(struct tree *t, const struct archil_record *rec)
{
	struct inode *dir = get_dir(t, rec->dir), *in = get(t, rec->ino);
	int name = name_index(rec->name, rec->name_len);
	u64 cookie;

	if (!dir || !in || name < 0 || dir->entry[name].ino != rec->ino)
		return false;
	if (S_ISDIR(in->mode) && !empty(in))
		return false;
	cookie = dir->entry[name].cookie;
	dir->entry[name] = (struct entry){ 0 };
	dir_changed(dir, &rec->time);
	drop_link(t, rec->ino, rec->dir, cookie, rec->flags & ARCHIL_UNLINK_OPEN, &rec->time);
	return true;
}

static bool apply_exchange(struct inode *old_dir, struct inode *new_dir, struct inode *in,
			   struct inode *other, int old, int new,
			   const struct archil_record *rec)
{
	u64 at_old = old_dir->entry[old].cookie, at_new = new_dir->entry[new].cookie;

	old_dir->entry[old].ino = rec->target;
	new_dir->entry[new].ino = rec->ino;
	relink(in, rec->dir, at_old, rec->new_dir, at_new);
	relink(other, rec->new_dir, at_new, rec->dir, at_old);
	dir_changed(old_dir, &rec->time);
	dir_changed(new_dir, &rec->time);
	node_changed(in, &rec->time);
	node_changed(other, &rec->time);
	return true;
}

static bool apply_rename(struct tree *t, const struct archil_record *rec)
{
	struct inode *old_dir = get_dir(t, rec->dir), *new_dir = get_dir(t, rec->new_dir);
	struct inode *in = get(t, rec->ino), *target = get(t, rec->target);
	int old = name_index(rec->name, rec->name_len);
	int new = name_index(rec->new_name, rec->new_name_len);
	u64 cookie;

	if (!old_dir || !new_dir || !in || old < 0 || new < 0 || !new_dir->nlink)
		return false;
	if (old_dir->entry[old].ino != rec->ino || new_dir->entry[new].ino != rec->target ||
	    (rec->target && !target))
		return false;
	if (S_ISDIR(in->mode) && lies_in(t, rec->new_dir, rec->ino))
		return false;
	if (target && S_ISDIR(target->mode) && lies_in(t, rec->dir, rec->target))
		return false;
	if (rec->flags & ARCHIL_RENAME_EXCHANGE)
		return target && apply_exchange(old_dir, new_dir, in, target, old, new, rec);
	if (target) {
		if (S_ISDIR(target->mode) != S_ISDIR(in->mode) ||
		    (S_ISDIR(target->mode) && !empty(target)))
			return false;
		cookie = new_dir->entry[new].cookie;
		new_dir->entry[new] = (struct entry){ 0 };
		drop_link(t, rec->target, rec->new_dir, cookie, rec->flags & ARCHIL_RENAME_OPEN,
			  &rec->time);
	}
	if (!take_cookie(new_dir, rec->cookie))
		return false;
	relink(in, rec->dir, old_dir->entry[old].cookie, rec->new_dir, rec->cookie);
	old_dir->entry[old] = (struct entry){ 0 };
	new_dir->entry[new] = (struct entry){ rec->ino, rec->cookie };
	dir_changed(old_dir, &rec->time);
	dir_changed(new_dir, &rec->time);
	node_changed(in, &rec->time);
	return true;
}

static bool apply_setattr(struct inode *in, const struct archil_record *rec)
{
	if (rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP) &&
	    (!S_ISREG(in->mode) || rec->size > BYTES))
		return false;
	if (rec->valid & ARCHIL_SET_SIZE) {
		/* what a WRITE has put below the new size stays, as at the server */
		memset(in->data + rec->size, 0, BYTES - rec->size);
		in->size = rec->size;
	}
	if (rec->valid & ARCHIL_SET_SIZE_UP && in->size < rec->size)
		in->size = rec->size;
	if (rec->valid & ARCHIL_SET_MODE)
		in->mode = (in->mode & S_IFMT) | rec->mode;
	if (rec->valid & ARCHIL_SET_UID)
		in->uid = rec->uid;
	if (rec->valid & ARCHIL_SET_GID)
		in->gid = rec->gid;
	if (rec->valid & ARCHIL_SET_ATIME)
		in->atime = rec->atime;
	if (rec->valid & ARCHIL_SET_MTIME)
		in->mtime = rec->mtime;
	if (rec->valid & ARCHIL_SET_CTIME)
		in->ctime = rec->ctime;
	in->touched = true;
	return true;
}

static bool apply_bytes(struct inode *in, const struct archil_record *rec)
{
	u64 len = rec->type == ARCHIL_REC_CONTENT ? rec->data_len : rec->length;

	if (!S_ISREG(in->mode) || rec->off + len > BYTES)
		return false;
	switch (rec->type) {
	case ARCHIL_REC_CONTENT:
		if (in->bulk)
			return false;
		memcpy(in->data + rec->off, rec->data, len);
		break;
	case ARCHIL_REC_PUNCH:
		memset(in->data + rec->off, 0, len);
		break;
	}
	if (rec->type != ARCHIL_REC_PUNCH && !(rec->flags & ARCHIL_ALLOC_KEEP_SIZE) &&
	    in->size < rec->off + len)
		in->size = rec->off + len;
	in->mtime = rec->time;
	node_changed(in, &rec->time);
	return true;
}

static bool apply_xattr(struct inode *in, const struct archil_record *rec)
{
	int i = xattr_index(rec->name, rec->name_len);

	if (rec->type == ARCHIL_REC_RMXATTR) {
		if (!in->xattr[i].there)
			return false;
		in->xattr[i] = (struct xattr){ 0 };
	} else {
		in->xattr[i] = (struct xattr){ .there = true, .len = rec->data_len };
		if (rec->data_len)
			memcpy(in->xattr[i].value, rec->data, rec->data_len);
	}
	node_changed(in, &rec->time);
	return true;
}

static bool apply(struct tree *t, const struct archil_record *rec)
{
	struct inode *in = get(t, rec->ino);

	if (!in && rec->type != ARCHIL_REC_CREATE)
		return false;
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		return apply_create(t, rec);
	case ARCHIL_REC_LINK:
		return apply_link(t, rec);
	case ARCHIL_REC_UNLINK:
		return apply_unlink(t, rec);
	case ARCHIL_REC_RENAME:
		return apply_rename(t, rec);
	case ARCHIL_REC_SETATTR:
		return apply_setattr(in, rec);
	case ARCHIL_REC_CONTENT:
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		return apply_bytes(in, rec);
	case ARCHIL_REC_SETXATTR:
	case ARCHIL_REC_RMXATTR:
		return apply_xattr(in, rec);
	case ARCHIL_REC_RELEASE:
		if (in->nlink)
			return false;
		in->there = false;
		return true;
	}
	return false;
}

/* ---- what happens in a batch, and what is wrong ---- */

static struct archil_batch batch;
static u8 log_buf[1 << 16];	/* the plain records of the batch */
static size_t log_len;
static u64 plain_charge, all_plain, all_merged;

static void say(const struct archil_record *rec)
{
	printf("  %-8s ino %" PRIu64, archil_record_name(rec->type), rec->ino);
	if (rec->flags)
		printf(" flags %x", rec->flags);
	if (rec->dir)
		printf(" %" PRIu64 "/%.*s", rec->dir, rec->name_len, rec->name_len ? rec->name : "");
	if (rec->new_dir)
		printf(" -> %" PRIu64 "/%.*s over %" PRIu64, rec->new_dir, rec->new_name_len,
		       rec->new_name, rec->target);
	if (rec->cookie)
		printf(" cookie %" PRIu64, rec->cookie);
	if (rec->valid)
		printf(" valid %x size %" PRIu64 " mtime %" PRIu64 " ctime %" PRIu64, rec->valid,
		       rec->size, le64_to_cpu(rec->mtime.sec), le64_to_cpu(rec->ctime.sec));
	if (rec->type >= ARCHIL_REC_CONTENT && rec->type <= ARCHIL_REC_ALLOC)
		printf(" off %" PRIu64 " len %" PRIu64, rec->off, rec->length + rec->data_len);
	if (rec->type == ARCHIL_REC_SETXATTR || rec->type == ARCHIL_REC_RMXATTR)
		printf(" %.*s", rec->name_len, rec->name);
	printf(" time %" PRIu64 "\n", le64_to_cpu(rec->time.sec));
}

static void say_all(const char *what, const u8 *buf, size_t len)
{
	struct archil_record rec;
	size_t pos = 0;

	printf("%s:\n", what);
	while (archil_record_next(buf, len, &pos, &rec) == 1)
		say(&rec);
}

static u8 sealed_buf[1 << 16];
static size_t sealed_len;

static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	say_all("plain", log_buf, log_len);
	say_all("merged", sealed_buf, sealed_len);
	printf("to see it again: -n 1 -s %" PRIu64 "\n", seed);
	exit(1);
}

#define MUST(cond, ...) do { if (!(cond)) fail(__VA_ARGS__); } while (0)

static void compare(void)
{
	u64 ino;
	int i;

	for (ino = 1; ino <= last_ino; ino++) {
		struct inode *a = &plain.inode[ino], *b = &merged.inode[ino];

		MUST(a->there == b->there, "inode %" PRIu64 " is there in one only", ino);
		if (!a->there)
			continue;
#define SAME(field)								\
		MUST(!memcmp(&a->field, &b->field, sizeof(a->field)),		\
		     "inode %" PRIu64 ": " #field " differs", ino)
		SAME(mode);
		SAME(uid);
		SAME(gid);
		SAME(rdev_major);
		SAME(rdev_minor);
		SAME(nlink);
		SAME(atime);
		SAME(mtime);
		SAME(ctime);
		SAME(btime);
		SAME(size);
		SAME(data);
		SAME(target);
		SAME(target_len);
		SAME(home);
		for (i = 0; i < NAMES; i++) {
			SAME(entry[i].ino);
			SAME(entry[i].cookie);
			MUST(b->entry[i].cookie < b->next_cookie || !b->entry[i].ino,
			     "inode %" PRIu64 ": the cookie counter is behind", ino);
		}
		for (i = 0; i < XATTRS; i++) {
			SAME(xattr[i].there);
			SAME(xattr[i].len);
			SAME(xattr[i].value);
		}
		MUST(b->touched || !a->touched, "inode %" PRIu64 " keeps its change number", ino);
	}
}

/* Send the batch: apply it to the merged tree, compare. */
static void seal(void)
{
	struct archil_record rec;
	u64 ino, charge = 0;
	size_t pos = 0;
	u32 count = 0, want;
	u64 drained;
	size_t got;
	u8 *buf;
	int ret;

	sealed_len = batch.bytes;
	want = batch.count;
	MUST(sealed_len <= batch.max, "the batch has %zu bytes", sealed_len);
	buf = malloc(sealed_len + 1);
	MUST(buf, "no memory");
	MUST(archil_batch_drain(&batch, buf, sealed_len, &got, &count, &charge),
	     "it takes more than batch.bytes");
	MUST(got == sealed_len && count == want && !batch.bytes && !batch.count,
	     "%zu bytes, %u records", got, count);
	count = 0;
	drained = charge;
	charge = 0;
	memcpy(sealed_buf, buf, sealed_len);
	while ((ret = archil_record_next(buf, sealed_len, &pos, &rec)) == 1) {
		MUST(apply(&merged, &rec), "record %u cannot be applied", count);
		charge += archil_record_charge(&rec);
		count++;
	}
	MUST(!ret && count == want && charge == drained, "%u records of %u", count, want);
	MUST(charge <= plain_charge, "it charges more");
	free(buf);
	compare();
	if (verbose) {
		say_all("plain", log_buf, log_len);
		say_all("merged", sealed_buf, sealed_len);
	}
	all_merged += count;
	archil_batch_clear(&batch);
	log_len = 0;
	plain_charge = 0;
	for (ino = 1; ino <= last_ino; ino++)
		plain.inode[ino].touched = merged.inode[ino].touched = false;
}

static void record(const struct archil_record *rec)
{
	struct archil_batch_rec *e;

	if (!archil_batch_fits(&batch, rec) ||
	    log_len + archil_record_size(rec) > sizeof(log_buf))
		seal();
	MUST(!archil_record_put(log_buf, sizeof(log_buf), &log_len, rec), "the log is full");
	MUST(apply(&plain, rec), "the test made an impossible operation");
	plain_charge += archil_record_charge(rec);
	all_plain++;
	e = archil_batch_rec_new(rec);
	MUST(e, "no memory");
	archil_batch_add(&batch, e);
}

/* ---- operations: random, but possible ---- */

static struct archil_time now(void)
{
	clock_now++;
	return (struct archil_time){ .sec = cpu_to_le64(clock_now) };
}

static u64 pick_from(u64 ino, bool (*ok)(const struct inode *))
{
	u64 n = 0, found = 0;

	for (; ino <= last_ino; ino++)
		if (plain.inode[ino].there && ok(&plain.inode[ino]) && rnd_one_in(&rnd, ++n))
			found = ino;
	return found;
}

/* Half of the time one of the newest; 0: there is none. */
static u64 pick_ino(bool (*ok)(const struct inode *))
{
	u64 ino = 0;

	if (last_ino > 4 && rnd_one_in(&rnd, 2))
		ino = pick_from(last_ino - 4, ok);
	return ino ? ino : pick_from(1, ok);
}

static bool is_any(const struct inode *in)
{
	return true;
}

static bool is_live_dir(const struct inode *in)
{
	return S_ISDIR(in->mode) && in->nlink;
}

static bool is_linkable(const struct inode *in)
{
	return !S_ISDIR(in->mode);
}

static bool is_reg(const struct inode *in)
{
	return S_ISREG(in->mode);
}

static bool is_orphan(const struct inode *in)
{
	return !in->nlink;
}

static const char *const names[NAMES] = { "a", "b", "c", "d", "e", "f" };
static const char *const xattrs[XATTRS] = { "user.a", "user.b", "user.c", "user.d" };

/* A random entry: its directory and name. */
static bool pick_entry(u64 *dir, int *name)
{
	int i, n = 0;

	*dir = pick_ino(is_live_dir);
	if (!*dir)
		return false;
	for (i = 0; i < NAMES; i++)
		if (plain.inode[*dir].entry[i].ino && rnd_one_in(&rnd, ++n))
			*name = i;
	return n;
}

static bool pick_free(u64 *dir, int *name)
{
	int i, n = 0;

	*dir = pick_ino(is_live_dir);
	if (!*dir)
		return false;
	for (i = 0; i < NAMES; i++)
		if (!plain.inode[*dir].entry[i].ino && rnd_one_in(&rnd, ++n))
			*name = i;
	return n;
}

/* Clients leave gaps between cookies now and then. */
static u64 new_cookie(u64 dir)
{
	return plain.inode[dir].next_cookie + (rnd_one_in(&rnd, 4) ? rnd_below(&rnd, 5) : 0);
}

static void op_create(void)
{
	static const u32 types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR };
	struct archil_record rec = { .type = ARCHIL_REC_CREATE };
	int name;

	if (last_ino + 1 == INODES || !pick_free(&rec.dir, &name))
		return;
	rec.ino = ++last_ino;
	rec.mode = types[rnd_below(&rnd, ARRAY_SIZE(types))] | rnd_below(&rnd, 010000);
	rec.uid = rnd_below(&rnd, 3);
	rec.gid = rnd_below(&rnd, 3);
	if (S_ISCHR(rec.mode))
		rec.rdev_minor = rnd_below(&rnd, 3);
	rec.time = rec.atime = rec.mtime = rec.ctime = rec.btime = now();
	if (S_ISLNK(rec.mode)) {
		rec.data = "target";
		rec.data_len = rnd_range(&rnd, 1, 6);
	}
	if (S_ISREG(rec.mode) && rnd_one_in(&rnd, 8)) {
		rec.flags = ARCHIL_CREATE_TMPFILE;
	} else {
		rec.name = names[name];
		rec.name_len = 1;
		rec.cookie = new_cookie(rec.dir);
	}
	record(&rec);
}

static void op_link(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_LINK };
	int name;

	rec.ino = pick_ino(is_linkable);
	if (!rec.ino || !pick_free(&rec.dir, &name))
		return;
	rec.name = names[name];
	rec.name_len = 1;
	rec.cookie = new_cookie(rec.dir);
	rec.time = now();
	record(&rec);
}

static bool removable(u64 ino)
{
	return !S_ISDIR(plain.inode[ino].mode) || empty(&plain.inode[ino]);
}

static void op_unlink(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_UNLINK };
	int name;

	if (!pick_entry(&rec.dir, &name))
		return;
	rec.ino = plain.inode[rec.dir].entry[name].ino;
	if (!removable(rec.ino))
		return;
	rec.flags = rnd_one_in(&rnd, 4) ? ARCHIL_UNLINK_OPEN : 0;
	rec.name = names[name];
	rec.name_len = 1;
	rec.time = now();
	record(&rec);
}

static void op_rename(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_RENAME };
	struct inode *in, *target;
	int name, new_name;

	if (!pick_entry(&rec.dir, &name))
		return;
	rec.ino = plain.inode[rec.dir].entry[name].ino;
	in = &plain.inode[rec.ino];
	rec.new_dir = rnd_one_in(&rnd, 2) ? rec.dir : pick_ino(is_live_dir);
	if (!rec.new_dir || (S_ISDIR(in->mode) && lies_in(&plain, rec.new_dir, rec.ino)))
		return;
	new_name = rnd_below(&rnd, NAMES);
	rec.target = plain.inode[rec.new_dir].entry[new_name].ino;
	if (rec.target == rec.ino)
		return;
	target = &plain.inode[rec.target];
	if (rec.target && S_ISDIR(target->mode) && lies_in(&plain, rec.dir, rec.target))
		return;
	if (rec.target && rnd_one_in(&rnd, 4)) {
		rec.flags = ARCHIL_RENAME_EXCHANGE;
	} else if (rec.target) {
		if (!removable(rec.target) || S_ISDIR(in->mode) != S_ISDIR(target->mode))
			return;
		rec.flags = rnd_one_in(&rnd, 4) ? ARCHIL_RENAME_OPEN : 0;
	}
	if (rec.flags != ARCHIL_RENAME_EXCHANGE)
		rec.cookie = new_cookie(rec.new_dir);
	rec.name = names[name];
	rec.new_name = names[new_name];
	rec.name_len = rec.new_name_len = 1;
	rec.time = now();
	record(&rec);
}

static void op_setattr(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_SETATTR };
	struct inode *in;

	rec.ino = pick_ino(is_any);
	in = &plain.inode[rec.ino];
	rec.valid = rnd_below(&rnd, ARCHIL_SET_SIZE);
	if (S_ISREG(in->mode) && rnd_one_in(&rnd, 3))
		rec.valid |= in->bulk && rnd_one_in(&rnd, 2) ? ARCHIL_SET_SIZE_UP : ARCHIL_SET_SIZE;
	if (!rec.valid)
		return;
	if (rec.valid & ARCHIL_SET_MODE)
		rec.mode = rnd_below(&rnd, 010000);
	if (rec.valid & ARCHIL_SET_UID)
		rec.uid = rnd_below(&rnd, 9);
	if (rec.valid & ARCHIL_SET_GID)
		rec.gid = rnd_below(&rnd, 9);
	if (rec.valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
		rec.size = rnd_below(&rnd, BYTES + 1);
	if (rec.valid & ARCHIL_SET_ATIME)
		rec.atime = now();
	if (rec.valid & ARCHIL_SET_MTIME)
		rec.mtime = now();
	if (rec.valid & ARCHIL_SET_CTIME)
		rec.ctime = now();
	record(&rec);
}

static void op_content(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_CONTENT };
	u8 data[BYTES];

	rec.ino = pick_ino(is_reg);
	if (!rec.ino || plain.inode[rec.ino].bulk)
		return;
	rec.off = rnd_below(&rnd, BYTES);
	rec.data_len = rnd_range(&rnd, 1, rnd_one_in(&rnd, 4) || rec.off > BYTES - 8 ?
				 BYTES - rec.off : 8);
	rnd_bytes(&rnd, data, rec.data_len);
	rec.data = data;
	rec.time = now();
	record(&rec);
}

static void op_range(void)
{
	struct archil_record rec = {
		.type = rnd_one_in(&rnd, 2) ? ARCHIL_REC_PUNCH : ARCHIL_REC_ALLOC,
	};

	rec.ino = pick_ino(is_reg);
	if (!rec.ino)
		return;
	if (rec.type == ARCHIL_REC_ALLOC && rnd_one_in(&rnd, 2))
		rec.flags = ARCHIL_ALLOC_KEEP_SIZE;
	rec.off = rnd_below(&rnd, BYTES);
	rec.length = rnd_range(&rnd, 1, BYTES - rec.off);
	rec.time = now();
	record(&rec);
}

static void op_xattr(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_SETXATTR };
	int i = rnd_below(&rnd, XATTRS);
	u8 value[VALUE];

	rec.ino = pick_ino(is_any);
	if (plain.inode[rec.ino].xattr[i].there && rnd_one_in(&rnd, 2)) {
		rec.type = ARCHIL_REC_RMXATTR;
	} else {
		rec.data = value;
		rec.data_len = rnd_below(&rnd, VALUE + 1);
		rnd_bytes(&rnd, value, rec.data_len);
	}
	rec.name = xattrs[i];
	rec.name_len = 6;
	rec.time = now();
	record(&rec);
}

static void op_release(void)
{
	struct archil_record rec = { .type = ARCHIL_REC_RELEASE };

	rec.ino = pick_ino(is_orphan);
	if (rec.ino)
		record(&rec);
}

/* Bulk bytes, beside the log: only between batches, when the inode is at the server. */
static void op_write(void)
{
	u64 ino = pick_ino(is_reg), off = rnd_below(&rnd, BYTES);
	u64 len = rnd_range(&rnd, 1, BYTES - off);

	if (!ino)
		return;
	seal();
	plain.inode[ino].bulk = merged.inode[ino].bulk = true;
	rnd_bytes(&rnd, plain.inode[ino].data + off, len);
	memcpy(merged.inode[ino].data + off, plain.inode[ino].data + off, len);
}

static void op_seal(void)
{
	seal();
}

static const struct {
	void (*run)(void);
	unsigned int weight;
} ops[] = {
	{ op_create, 20 }, { op_link, 6 }, { op_unlink, 14 }, { op_rename, 16 },
	{ op_setattr, 16 }, { op_content, 14 }, { op_range, 3 }, { op_xattr, 10 },
	{ op_release, 4 }, { op_write, 1 }, { op_seal, 2 },
};

static void start(size_t max)
{
	struct inode *root = &plain.inode[ARCHIL_INO_ROOT];

	memset(plain.inode, 0, sizeof(plain.inode[0]) * (last_ino + 1));
	root->there = true;
	root->mode = S_IFDIR | 0755;
	root->nlink = 1;
	root->next_cookie = ARCHIL_COOKIE_FIRST;
	memcpy(merged.inode, plain.inode, sizeof(plain.inode[0]) * (last_ino + 1));
	last_ino = ARCHIL_INO_ROOT;
	clock_now = 0;
	log_len = 0;
	sealed_len = 0;
	archil_batch_init(&batch, max);
}

/* ---- the rules, one by one ---- */

/*
 * What is done, one step a line, and what is sent. Before it there is a directory
 * 2 as 1/d and a file 3 as 1/e; the batch's steps have times 11, 12, ... and
 * entries take the next cookie. Sent: the type; the inode; its names; ":" the
 * times (m, c: the inode's; t: the record's) and what else there is to know.
 */
static const struct rule {
	const char *what, *done, *sent;
} rules[] = {
	{ "1: attributes of one inode",
	  "chmod 3, chown 3, utimes 3",
	  "SETATTR 3: m13 c13 valid 0x33" },
	{ "1: over contents",
	  "chown 3, write 3 0 4, utimes 3",
	  "CONTENT 3: t12 0+4, SETATTR 3: m13 c13 valid 0x32" },
	{ "1: two sizes, smaller",
	  "size 3 9, size 3 5",
	  "SETATTR 3: m12 c12 valid 0x70 size 5" },
	{ "1: two sizes, greater",
	  "size 3 5, size 3 9",
	  "SETATTR 3: m11 c11 valid 0x70 size 5, SETATTR 3: m12 c12 valid 0x70 size 9" },
	{ "2: attributes of a new inode",
	  "create 4 1/a, chmod 4, utimes 4",
	  "CREATE 4 1/a: m13 c13 t11" },
	{ "2: times that contents set again stay",
	  "create 4 1/a, write 4 0 4, utimes 4",
	  "CREATE 4 1/a: m11 c11 t11, CONTENT 4: t12 0+4, SETATTR 4: m13 c13 valid 0x30" },
	{ "3: contents that join",
	  "write 3 0 4, write 3 4 4, write 3 8 4",
	  "CONTENT 3: t13 0+12" },
	{ "3: contents that overlap, over others",
	  "write 3 8 4, write 3 30 4, write 3 4 6",
	  "CONTENT 3: t12 30+4, CONTENT 3: t13 4+8" },
	{ "3: not over a size",
	  "write 3 0 4, size 3 2, write 3 4 4",
	  "CONTENT 3: t11 0+4, SETATTR 3: m12 c12 valid 0x70 size 2, CONTENT 3: t13 4+4" },
	{ "4: an xattr set twice",
	  "setx 3 a, setx 3 b, setx 3 a",
	  "SETXATTR 3 user.b: t12, SETXATTR 3 user.a: t13" },
	{ "5: an xattr that came and went",
	  "create 4 1/a, setx 4 a, rmx 4 a",
	  "CREATE 4 1/a: m11 c11 t11, SETATTR 4: c13 valid 0x20" },
	{ "5: of an older inode both stay",
	  "setx 3 a, rmx 3 a",
	  "SETXATTR 3 user.a: t11, RMXATTR 3 user.a: t12" },
	{ "6: a new inode renamed",
	  "create 4 1/a, rename 4 1/a 1/b",
	  "CREATE 4 1/b: m11 c12 t12" },
	{ "6: and again, with contents",
	  "create 4 1/a, write 4 0 4, rename 4 1/a 2/a, rename 4 2/a 1/c",
	  "CREATE 4 1/c: m11 c11 t14, CONTENT 4: t12 0+4, "
	  "SETATTR 2: m14 c14 valid 0x30, SETATTR 4: c14 valid 0x20, "
	  "SETATTR 1: m14 c14 valid 0x30" },
	{ "6: into another directory",
	  "create 4 1/a, rename 4 1/a 2/a",
	  "CREATE 4 2/a: m11 c12 t12, SETATTR 1: m12 c12 valid 0x30" },
	{ "6: not past another entry",
	  "create 4 1/a, create 5 1/b, rename 4 1/a 1/c",
	  "CREATE 4 1/a: m11 c11 t11, CREATE 5 1/b: m12 c12 t12, RENAME 4 1/a 1/c: t13" },
	{ "6: not into a directory made later",
	  "create 4 1/a, mkdir 5 2/b, rename 4 1/a 5/c",
	  "CREATE 4 1/a: m11 c11 t11, CREATE 5 2/b: m12 c12 t12, RENAME 4 1/a 5/c: t13" },
	{ "6: not over another",
	  "create 4 1/a, rename 4 1/a 1/e over 3",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 4 1/a 1/e over 3: t12" },
	{ "6: not a directory in which something was done",
	  "mkdir 4 1/a, rename 2 1/d 4/d, rename 2 4/d 1/d, rename 4 1/a 2/a",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 2 1/d 4/d: t12, RENAME 2 4/d 1/d: t13, "
	  "RENAME 4 1/a 2/a: t14" },
	{ "7: a temporary file gets its name",
	  "tmp 4 2, write 4 0 4, link 4 1/a",
	  "CREATE 4 1/a: m11 c11 t13, CONTENT 4: t12 0+4, SETATTR 4: c13 valid 0x20" },
	{ "8: a link that came and went",
	  "create 4 1/a, link 4 2/b, unlink 4 2/b",
	  "CREATE 4 1/a: m11 c11 t11, SETATTR 2: m13 c13 valid 0x30, SETATTR 4: c13 valid 0x20" },
	{ "8: of an older inode both stay",
	  "link 3 2/b, unlink 3 2/b",
	  "LINK 3 2/b: t11, UNLINK 3 2/b: t12" },
	{ "9: a file that came and went",
	  "create 4 2/a, write 4 0 4, setx 4 a, size 4 2, unlink 4 2/a",
	  "SETATTR 2: m15 c15 valid 0x30" },
	{ "9: with two names",
	  "create 4 2/a, link 4 1/b, unlink 4 2/a, unlink 4 1/b",
	  "SETATTR 2: m13 c13 valid 0x30, SETATTR 1: m14 c14 valid 0x30" },
	{ "9: a whole tree",
	  "mkdir 4 2/a, create 5 4/a, mkdir 6 4/b, unlink 5 4/a, unlink 6 4/b, unlink 4 2/a",
	  "SETATTR 2: m16 c16 valid 0x30" },
	{ "9: the next entry's time is the later",
	  "create 4 2/a, unlink 4 2/a, create 5 2/b",
	  "CREATE 5 2/b: m13 c13 t13" },
	{ "9: an earlier entry's CREATE takes the time",
	  "create 4 2/a, create 5 2/b, unlink 5 2/b",
	  "CREATE 4 2/a: m11 c11 t11, SETATTR 2: m13 c13 valid 0x30" },
	{ "9: replaced by another new one",
	  "create 4 2/a, create 5 2/b, rename 5 2/b 2/a over 4",
	  "CREATE 5 2/a: m12 c13 t13" },
	{ "9: having replaced an older one",
	  "create 4 1/a, rename 4 1/a 1/e over 3, unlink 4 1/e",
	  "UNLINK 3 1/e: t12, SETATTR 1: m13 c13 valid 0x30" },
	{ "9: open, it stays",
	  "create 4 1/a, unlink 4 1/a open",
	  "CREATE 4 1/a: m11 c11 t11, UNLINK 4 1/a open: t12" },
	{ "9: until it is closed",
	  "create 4 1/a, unlink 4 1/a open, write 4 0 4, release 4",
	  "SETATTR 1: m12 c12 valid 0x30" },
	{ "9: exchanged, it stays",
	  "create 4 1/a, rename 4 1/a 1/e xchg 3, unlink 4 1/e",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 4 1/a 1/e xchg 3: t12, UNLINK 4 1/e: t13" },
	{ "9: a directory that something older passed through stays",
	  "mkdir 4 1/a, rename 3 1/e 4/e, rename 3 4/e 1/e, unlink 4 1/a",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 3 1/e 4/e: t12, RENAME 3 4/e 1/e: t13, "
	  "UNLINK 4 1/a: t14" },
};

static void do_path(const char *path, u64 *dir, const char **name, u16 *len)
{
	char *slash;

	*dir = strtoull(path, &slash, 10);
	if (*slash) {
		*name = names[slash[1] - 'a'];
		*len = 1;
	}
}

static void do_step(const char *step)
{
	char verb[16] = "", a[16] = "", b[16] = "", flag[16] = "";
	static const u8 data[BYTES] = "0123456789abcdef";
	struct archil_record rec = { 0 };
	u64 over = 0;

	MUST(sscanf(step, " %15s %" SCNu64 " %15s %15s %15s %" SCNu64, verb, &rec.ino, a, b,
		    flag, &over) >= 2, "what is \"%s\"?", step);
	rec.time = now();
	if (!strcmp(verb, "create") || !strcmp(verb, "mkdir") || !strcmp(verb, "tmp")) {
		rec.type = ARCHIL_REC_CREATE;
		rec.mode = *verb == 'm' ? S_IFDIR | 0755 : S_IFREG | 0644;
		rec.flags = *verb == 't' ? ARCHIL_CREATE_TMPFILE : 0;
		rec.atime = rec.mtime = rec.ctime = rec.btime = rec.time;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		rec.cookie = rec.name_len ? plain.inode[rec.dir].next_cookie : 0;
		last_ino = rec.ino;
	} else if (!strcmp(verb, "link")) {
		rec.type = ARCHIL_REC_LINK;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		rec.cookie = plain.inode[rec.dir].next_cookie;
	} else if (!strcmp(verb, "unlink")) {
		rec.type = ARCHIL_REC_UNLINK;
		rec.flags = *b ? ARCHIL_UNLINK_OPEN : 0;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
	} else if (!strcmp(verb, "rename")) {
		rec.type = ARCHIL_REC_RENAME;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		do_path(b, &rec.new_dir, &rec.new_name, &rec.new_name_len);
		rec.target = over;
		rec.flags = *flag == 'x' ? ARCHIL_RENAME_EXCHANGE : 0;
		rec.cookie = rec.flags ? 0 : plain.inode[rec.new_dir].next_cookie;
	} else if (!strcmp(verb, "write")) {
		rec.type = ARCHIL_REC_CONTENT;
		rec.off = strtoull(a, NULL, 10);
		rec.data_len = strtoul(b, NULL, 10);
		rec.data = data;
	} else if (!strcmp(verb, "setx") || !strcmp(verb, "rmx")) {
		rec.type = *verb == 's' ? ARCHIL_REC_SETXATTR : ARCHIL_REC_RMXATTR;
		rec.name = xattrs[*a - 'a'];
		rec.name_len = 6;
	} else if (!strcmp(verb, "release")) {
		rec.type = ARCHIL_REC_RELEASE;
	} else {
		rec.type = ARCHIL_REC_SETATTR;
		rec.mtime = rec.ctime = rec.time;
		rec.valid = ARCHIL_SET_CTIME;
		if (!strcmp(verb, "chmod"))
			rec.valid |= ARCHIL_SET_MODE;
		else if (!strcmp(verb, "chown"))
			rec.valid |= ARCHIL_SET_UID;
		else
			rec.valid |= ARCHIL_SET_MTIME;
		if (!strcmp(verb, "size"))
			rec.valid |= ARCHIL_SET_SIZE;
		rec.size = strtoull(a, NULL, 10);
	}
	record(&rec);
}

static void sent_text(FILE *out)
{
	struct archil_record rec;
	bool open, xchg;
	size_t pos = 0;

	while (archil_record_next(sealed_buf, sealed_len, &pos, &rec) == 1) {
		fprintf(out, "%s%s %" PRIu64, ftell(out) ? ", " : "",
			archil_record_name(rec.type), rec.ino);
		if (rec.dir)
			fprintf(out, " %" PRIu64 "/%.*s", rec.dir, rec.name_len, rec.name);
		else if (rec.name_len)
			fprintf(out, " %.*s", rec.name_len, rec.name);
		open = rec.type == ARCHIL_REC_UNLINK && rec.flags;
		xchg = rec.type == ARCHIL_REC_RENAME && rec.flags;
		if (rec.new_dir)
			fprintf(out, " %" PRIu64 "/%.*s", rec.new_dir, rec.new_name_len,
				rec.new_name);
		if (rec.target)
			fprintf(out, " %s %" PRIu64, xchg ? "xchg" : "over", rec.target);
		fprintf(out, "%s:", open ? " open" : "");
		if (rec.mtime.sec)
			fprintf(out, " m%" PRIu64, le64_to_cpu(rec.mtime.sec));
		if (rec.ctime.sec)
			fprintf(out, " c%" PRIu64, le64_to_cpu(rec.ctime.sec));
		if (rec.time.sec)
			fprintf(out, " t%" PRIu64, le64_to_cpu(rec.time.sec));
		if (rec.valid)
			fprintf(out, " valid %#x", rec.valid);
		if (rec.valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
			fprintf(out, " size %" PRIu64, rec.size);
		if (rec.type == ARCHIL_REC_CONTENT)
			fprintf(out, " %" PRIu64 "+%u", rec.off, rec.data_len);
	}
}

static void check_rule(const struct rule *rule)
{
	char steps[512], *save, *step, *text;
	size_t len;
	FILE *out;

	start(sizeof(sealed_buf));
	do_step("mkdir 2 1/d");
	do_step("create 3 1/e");
	seal();
	clock_now = 10;
	snprintf(steps, sizeof(steps), "%s", rule->done);
	for (step = strtok_r(steps, ",", &save); step; step = strtok_r(NULL, ",", &save))
		do_step(step);
	seal();
	out = open_memstream(&text, &len);
	MUST(out, "no memory");
	sent_text(out);
	fclose(out);
	if (strcmp(text, rule->sent)) {
		printf("FAILED: rule %s\n  done:     %s\n  sent:     %s\n  expected: %s\n",
		       rule->what, rule->done, text, rule->sent);
		exit(1);
	}
	free(text);
}

/* A record for which there is no memory leaves nothing behind. */
static void check_no_memory(void)
{
	struct archil_record rec = {
		.type = ARCHIL_REC_RENAME, .ino = 2, .dir = 3, .new_dir = 4, .target = 5,
		.name = "a", .name_len = 1, .new_name = "b", .new_name_len = 1, .cookie = 3,
	};
	struct archil_batch_rec *e;
	int n = 0;

	do {
		alloc_left = n++;
		e = archil_batch_rec_new(&rec);
	} while (!e);
	alloc_left = -1;
	archil_batch_rec_free(e);
	MUST(n == 5, "a RENAME takes %d allocations", n - 1);
}

static void sequence(void)
{
	unsigned int steps, total = 0, dice, i, k;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		total += ops[i].weight;
	alloc_fails = rnd_one_in(&rnd, 4) ? rnd_range(&rnd, 1, 4) : 0;
	start(rnd_one_in(&rnd, 4) ? rnd_range(&rnd, 256, 2048) : sizeof(sealed_buf));
	/* now and then long ones: the index grows, the looks back end */
	steps = rnd_one_in(&rnd, 32) ? rnd_range(&rnd, 300, 900) : rnd_range(&rnd, 2, 90);
	for (; steps; steps--) {
		dice = rnd_below(&rnd, total);
		for (k = 0; dice >= ops[k].weight; k++)
			dice -= ops[k].weight;
		ops[k].run();
	}
	seal();
	alloc_fails = 0;
}

int main(int argc, char **argv)
{
	u64 n = getenv("ARCHIL_LONG") ? 100 * SEQUENCES : SEQUENCES, i;
	const char *env = getenv("SEED");
	int opt;

	seed = env ? strtoull(env, NULL, 0) : 1;
	while ((opt = getopt(argc, argv, "n:s:v")) != -1) {
		if (opt == 'n') {
			n = strtoull(optarg, NULL, 0);
		} else if (opt == 's') {
			seed = strtoull(optarg, NULL, 0);
		} else if (opt == 'v') {
			verbose = true;
		} else {
			fprintf(stderr, "usage: %s [-n SEQUENCES] [-s SEED] [-v]\n", argv[0]);
			return 2;
		}
	}
	printf("seed %" PRIu64 ", %" PRIu64 " sequences\n", seed, n);
	last_ino = INODES - 1;
	for (i = 0; i < ARRAY_SIZE(rules); i++)
		check_rule(&rules[i]);
	check_no_memory();
	all_plain = all_merged = 0;
	for (i = 0; i < n; i++, seed++) {
		rnd.state = seed;
		sequence();
	}
	printf("%" PRIu64 " records, merged %" PRIu64 "\n", all_plain, all_merged);
	return 0;
}

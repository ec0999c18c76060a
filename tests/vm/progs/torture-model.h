/* SPDX-License-Identifier: GPL-2.0 */
/*
 * torture: what a worker does to its directory, as pure logic. No system call, no clock.
 *
 * 1. A worker owns one directory and does operations in it, one after the other. A struct op
 *    says all about one of them, apply() does it to a struct model. Both are plain values: a
 *    model is copied by assignment, and the same operations on the same model give the same.
 * 2. The operations of a round are numbered from 1. "State K" is the model at the round's start
 *    with operations 1 to K applied.
 * 3. A node is a file, symlink or directory. Its id is never used again. What the disk says of
 *    it (inode number, times) the worker has seen right after the operation, and op.seen brings
 *    it into the model. What nobody has seen is 0: anything will do.
 * 4. Small files are never larger than SMALL_MAX and only written with write(2): the model
 *    has their contents. Of bulk files it has the size; what may be in their blocks follows from
 *    what was there when the round began (node.block) and the operations (torture-check.h).
 * 5. A bulk file is written in blocks of BLOCK bytes. Each word of a block names the worker, the
 *    file, the operation that wrote it (by a number that is unique over all rounds of the
 *    worker: model.before + its number in the round) and its place.
 * 6. node.changed is the last operation that changed the node itself: contents, attributes, for
 *    a directory its entries. node.led, of directories: the last one that made or moved its name or
 *    set its attributes, that is what concerns all that is reached through it.
 */
#ifndef TORTURE_MODEL_H
#define TORTURE_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NAMES		6		/* a directory's, "n0" to "n5" */
#define DIRS		5		/* at most, with the worker's own */
#define NODES		(1 + DIRS * NAMES)
#define XATTRS		2		/* a node's, "user.t0" and "user.t1" */
#define SMALL_MAX	(16 << 10)	/* the inline limit */
#define PAGE		4096u
#define BLOCK		512u
#define BULK_MAX	(1u << 20)
#define BLOCKS		(BULK_MAX / BLOCK)
#define BLOCK_BAD	0xffffffffu	/* nobody's */
#define MIXES		32u
#define TOP		1u		/* id of the worker's directory */
#define WORKERS		8
#define SEEN		4

enum kind { SMALL, BULK, SYMLINK, DIRECTORY };

struct node {
	uint32_t id;
	enum kind kind;
	uint32_t mode, links;
	uint32_t size;			/* of a symlink: what its target says */
	uint32_t xattr[XATTRS];		/* number of its value; 0: none */
	uint32_t parent, name;		/* of directories */
	uint32_t changed, led;
	uint64_t ino, mtime, ctime;	/* times in ns */
	union {
		uint32_t slot[NAMES];	/* ids; 0: free */
		uint8_t data[SMALL_MAX]; /* zeros behind the size */
		struct bulk_data {
			uint32_t block[BLOCKS];	/* who wrote its first word; 0: zeros */
			struct {
				uint32_t block, who;
			} mix[MIXES];		/* who wrote others of its words */
			uint32_t mixes;
		} bulk;
	};
};

struct model {
	uint32_t worker;
	uint32_t before;		/* operations of earlier rounds */
	uint32_t n;			/* of this round */
	uint32_t last_id;
	uint32_t held;			/* id of a file that is kept open, or 0 */
	uint32_t rare;			/* of what would sync, only one in so many is done */
	uint32_t touched[SEEN];		/* ids, by the last operation */
	unsigned int ntouched;
	uint32_t ids[NODES];		/* of node[]; 0: unused */
	struct node node[NODES];
};

enum what {
	CREATE, MKDIR, MKSYMLINK, WRITE, CUT, BULK_WRITE, BULK_CUT, PUNCH, CHMOD, UTIMES, SETXATTR, RMXATTR,
	RENAME, EXCHANGE, LINK, UNLINK, RMDIR, HOLD, FSYNC, SYNCFS, RELEASE, WHATS
};

static const char *const what_names[WHATS] = {
	"create", "mkdir", "symlink", "write", "truncate", "bulk write", "bulk truncate", "punch",
	"chmod", "utimes", "setxattr", "removexattr", "rename", "exchange", "link", "unlink", "rmdir", "hold",
	"fsync", "syncfs", "checkin",
};

/* How bytes are written. */
enum how { BY_WRITE, BY_APPEND, BY_SYNC, BY_STORE, BY_DIRECT, BY_HELD };

struct seen {
	uint32_t id;
	uint64_t ino, mtime, ctime;
};

struct op {
	enum what what;
	enum how how;
	enum kind kind;			/* CREATE */
	uint32_t id;			/* what is at dir/name, or will be */
	uint32_t dir, name, dir2, name2;
	uint32_t id2;			/* what is at dir2/name2, or 0 */
	uint32_t at, len;		/* WRITE, BULK_WRITE, PUNCH; len: CUT, BULK_CUT */
	uint32_t value;			/* mode, time, xattr's value (at: its number) */
	/* how it went */
	uint64_t began;			/* ns, by the clock of mtime */
	int err;			/* errno */
	struct seen seen[SEEN];
	uint32_t covered[WORKERS];	/* SYNCFS: operations that were done before, by worker; 0: others' */
};

/* ---- random numbers ---- */

static uint32_t rnd(uint64_t *state, uint32_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state * 0x2545f4914f6cdd1dull >> 33) % below;
}

/* A state for each combination of numbers. */
static uint64_t rnd_init(uint64_t seed, uint64_t a, uint64_t b)
{
	uint64_t state = (seed * 1000003 + a) * 1000003 + b + 0x9e3779b97f4a7c15ull;
	int i;

	for (i = 0; i < 8; i++)
		rnd(&state, 2);
	return state ? state : 1;
}

/* ---- nodes ---- */

static struct node *node_of(struct model *m, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < NODES; i++)
		if (id && m->ids[i] == id)
			return &m->node[i];
	return NULL;
}

static struct node *node_new(struct model *m, uint32_t id, enum kind kind)
{
	unsigned int i;

	for (i = 0; i < NODES; i++) {
		if (m->ids[i])
			continue;
		memset(&m->node[i], 0, sizeof(m->node[i]));
		m->ids[i] = m->node[i].id = id;
		m->node[i].kind = kind;
		return &m->node[i];
	}
	return NULL;
}

static void node_drop(struct model *m, struct node *n)
{
	m->ids[n - m->node] = 0;
}

/* The next one after @n, or the first; NULL at the end. */
static struct node *node_next(struct model *m, struct node *n)
{
	unsigned int i;

	for (i = n ? n - m->node + 1 : 0; i < NODES; i++)
		if (m->ids[i])
			return &m->node[i];
	return NULL;
}

static bool is_file(const struct node *n)
{
	return n->kind == SMALL || n->kind == BULK;
}

static bool is_empty(const struct node *dir)
{
	unsigned int i;

	for (i = 0; i < NAMES; i++)
		if (dir->slot[i])
			return false;
	return true;
}

/* Is directory @id @dir, or in it? */
static bool is_within(struct model *m, uint32_t id, uint32_t dir)
{
	while (id != dir && id != TOP)
		id = node_of(m, id)->parent;
	return id == dir;
}

static unsigned int count_dirs(struct model *m)
{
	struct node *n = NULL;
	unsigned int count = 0;

	while ((n = node_next(m, n)))
		count += n->kind == DIRECTORY;
	return count;
}

/* Any name of a node. */
static bool find_name(struct model *m, uint32_t id, uint32_t *dir, uint32_t *name)
{
	struct node *d = NULL;

	while ((d = node_next(m, d)))
		for (*name = 0; d->kind == DIRECTORY && *name < NAMES; ++*name)
			if (d->slot[*name] == id) {
				*dir = d->id;
				return true;
			}
	return false;
}

static void model_init(struct model *m, uint32_t worker)
{
	struct node *top;

	memset(m, 0, sizeof(*m));
	m->worker = worker;
	m->last_id = TOP;
	m->rare = 1;
	top = node_new(m, TOP, DIRECTORY);
	top->mode = 0755;
	top->links = 1;
}

/* ---- contents ---- */

/* What write number @gen puts at @at of a small file. */
static void small_fill(uint8_t *buf, uint32_t gen, uint32_t at, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		buf[i] = (gen * 2654435761u + (at + i) * 40503u) >> 15;
}

static uint64_t bulk_word(uint32_t worker, uint32_t id, uint32_t gen, uint32_t at)
{
	return (uint64_t)(worker << 16 | (id & 0xffff)) << 44 | (uint64_t)(gen & 0xffffff) << 20 | at / 8;
}

/* A block is now of @who. */
static void block_set(struct bulk_data *data, uint32_t block, uint32_t who)
{
	uint32_t i;

	data->block[block] = who;
	for (i = data->mixes; i--; )
		if (data->mix[i].block == block)
			data->mix[i] = data->mix[--data->mixes];
}

/* And in part of @who. */
static void block_mix(struct bulk_data *data, uint32_t block, uint32_t who)
{
	if (data->mixes == MIXES) {
		block_set(data, block, BLOCK_BAD);
		return;
	}
	data->mix[data->mixes].block = block;
	data->mix[data->mixes++].who = who;
}

static bool block_has(const struct bulk_data *data, uint32_t block, uint32_t who)
{
	uint32_t i;

	for (i = 0; i < data->mixes; i++)
		if (data->mix[i].block == block && data->mix[i].who == who)
			return true;
	return data->block[block] == who;
}

/* ---- doing an operation ---- */

static void touch(struct model *m, struct node *n)
{
	n->mtime = n->ctime = 0;
	n->changed = m->n;
	m->touched[m->ntouched++] = n->id;
}

/* As touch(), of what has no new mtime. */
static void touch_inode(struct model *m, struct node *n)
{
	uint64_t mtime = n->mtime;

	touch(m, n);
	n->mtime = mtime;
}

static void unlinked(struct model *m, struct node *n)
{
	if (--n->links)
		touch_inode(m, n);
	else
		node_drop(m, n);
}

static void made(struct model *m, const struct op *op, enum kind type, uint32_t mode)
{
	struct node *dir = node_of(m, op->dir), *n = node_new(m, op->id, type);

	n->mode = mode;
	n->links = 1;
	n->parent = op->dir;
	n->name = op->name;
	n->led = m->n;
	if (type == SYMLINK)
		n->size = op->id;
	dir->slot[op->name] = op->id;
	if (op->id > m->last_id)
		m->last_id = op->id;
	touch(m, n);
	touch(m, dir);
}

static void placed(struct model *m, uint32_t id, uint32_t dir, uint32_t name)
{
	struct node *n = node_of(m, id);

	node_of(m, dir)->slot[name] = id;
	n->parent = dir;
	n->name = name;
	n->led = m->n;
	touch_inode(m, n);
}

/* A small write, up to byte @upto of it. */
static void small_write(struct model *m, struct node *n, const struct op *op, uint32_t upto)
{
	small_fill(n->data + op->at, m->before + m->n, op->at, upto);
	if (n->size < op->at + upto)
		n->size = op->at + upto;
}

/* Number m->n + 1; it is possible. */
static void apply(struct model *m, const struct op *op)
{
	struct node *n = node_of(m, op->id), *over, *dir;
	unsigned int i;

	m->n++;
	m->ntouched = 0;
	switch (op->what) {
	case CREATE:
		made(m, op, op->kind, 0644);
		break;
	case MKDIR:
		made(m, op, DIRECTORY, 0755);
		break;
	case MKSYMLINK:
		made(m, op, SYMLINK, 0777);
		break;
	case WRITE:
		small_write(m, n, op, op->len);
		touch(m, n);
		break;
	case CUT:
		if (op->len < n->size)
			memset(n->data + op->len, 0, n->size - op->len);
		n->size = op->len;
		touch(m, n);
		break;
	case BULK_WRITE:
		if (n->size < op->at + op->len)
			n->size = op->at + op->len;
		touch(m, n);
		break;
	case BULK_CUT:
		n->size = op->len;
		touch(m, n);
		break;
	case PUNCH:
		touch(m, n);
		break;
	case CHMOD:
		n->mode = op->value;
		n->led = m->n;
		touch_inode(m, n);
		break;
	case UTIMES:
		n->led = m->n;
		touch(m, n);
		n->mtime = op->value * 1000000001ull;
		break;
	case SETXATTR:
		n->xattr[op->at] = op->value;
		n->led = m->n;
		touch_inode(m, n);
		break;
	case RMXATTR:
		n->xattr[op->at] = 0;
		n->led = m->n;
		touch_inode(m, n);
		break;
	case RENAME:
		over = node_of(m, op->id2);
		if (over)
			unlinked(m, over);
		node_of(m, op->dir)->slot[op->name] = 0;
		placed(m, op->id, op->dir2, op->name2);
		break;
	case EXCHANGE:
		placed(m, op->id, op->dir2, op->name2);
		placed(m, op->id2, op->dir, op->name);
		break;
	case LINK:
		node_of(m, op->dir2)->slot[op->name2] = op->id;
		n->links++;
		touch_inode(m, n);
		break;
	case UNLINK: case RMDIR:
		node_of(m, op->dir)->slot[op->name] = 0;
		unlinked(m, n);
		break;
	case HOLD:
		m->held = op->id;
		break;
	case FSYNC: case SYNCFS: case RELEASE: case WHATS:
		break;
	}
	/* the directories of names that changed */
	if (op->what == RENAME || op->what == EXCHANGE || op->what == UNLINK || op->what == RMDIR)
		touch(m, node_of(m, op->dir));
	if (op->what == LINK || ((op->what == RENAME || op->what == EXCHANGE) && op->dir2 != op->dir))
		touch(m, node_of(m, op->dir2));
	if (m->held && !node_of(m, m->held))
		m->held = 0;
	for (i = 0; i < SEEN && op->seen[i].id; i++) {
		dir = node_of(m, op->seen[i].id);
		dir->mtime = op->seen[i].mtime;
		dir->ctime = op->seen[i].ctime;
		dir->ino = op->seen[i].ino;
	}
}

/* ---- choosing one ---- */

#define MASK(kind)	(1u << (kind))
#define FILES		(MASK(SMALL) | MASK(BULK))
#define ANY		(FILES | MASK(SYMLINK) | MASK(DIRECTORY))

/* A random name of a node of these kinds. */
static struct node *pick(struct model *m, uint64_t *r, unsigned int kinds, uint32_t *dir, uint32_t *name)
{
	struct node *d = NULL, *n, *got = NULL;
	unsigned int i, count = 0;

	while ((d = node_next(m, d))) {
		for (i = 0; d->kind == DIRECTORY && i < NAMES; i++) {
			n = node_of(m, d->slot[i]);
			if (!n || !(MASK(n->kind) & kinds) || rnd(r, ++count))
				continue;
			got = n;
			*dir = d->id;
			*name = i;
		}
	}
	return got;
}

/* Any name, free or not. */
static struct node *pick_place(struct model *m, uint64_t *r, uint32_t *dir, uint32_t *name)
{
	struct node *d = NULL, *got = NULL;
	unsigned int count = 0;

	while ((d = node_next(m, d)))
		if (d->kind == DIRECTORY && !rnd(r, ++count))
			got = d;
	*dir = got->id;
	*name = rnd(r, NAMES);
	return node_of(m, got->slot[*name]);
}

static bool choose_bytes(struct model *m, uint64_t *r, struct op *op, struct node *n)
{
	static const enum how hows[] = { BY_WRITE, BY_WRITE, BY_WRITE, BY_WRITE, BY_STORE, BY_DIRECT };
	uint32_t blocks = 1 + rnd(r, 1 << rnd(r, 10)), at = 0;

	op->how = BY_WRITE;
	if (n->kind == SMALL) {
		op->what = WRITE;
		op->at = rnd(r, 3) ? rnd(r, 2) ? 0 : n->size : rnd(r, SMALL_MAX);
		op->len = 1 + rnd(r, rnd(r, 3) ? 300 : SMALL_MAX);
		if (op->at == n->size && rnd(r, 2))
			op->how = BY_APPEND;
	} else {
		op->what = BULK_WRITE;
		at = rnd(r, n->size / BLOCK + 1 + (rnd(r, 4) ? 0 : 20));
		if (!rnd(r, 3))
			at = rnd(r, 2) ? 0 : n->size / BLOCK;
		op->at = at * BLOCK;
		op->len = blocks * BLOCK;
		op->how = hows[rnd(r, 6)];
		if (op->how == BY_WRITE && op->at == n->size && rnd(r, 2))
			op->how = BY_APPEND;
		if (op->how == BY_STORE && op->at + op->len > n->size)
			return false;
	}
	if (op->how == BY_WRITE && m->held == n->id)
		op->how = BY_HELD;
	if (op->how == BY_WRITE && !rnd(r, 50 * m->rare))
		op->how = BY_SYNC;
	if (op->how == BY_DIRECT && rnd(r, m->rare))
		op->how = BY_WRITE;
	return op->at + op->len <= (n->kind == SMALL ? SMALL_MAX : BULK_MAX);
}

/* May @a be renamed over @b, and into @dir? */
static bool may_rename(struct model *m, struct node *a, struct node *b, uint32_t dir)
{
	if (a == b || (a->kind == DIRECTORY && is_within(m, dir, a->id)))
		return false;
	return !b || ((a->kind == DIRECTORY) == (b->kind == DIRECTORY) &&
		      (b->kind != DIRECTORY || is_empty(b)));
}

static bool choose_names(struct model *m, uint64_t *r, struct op *op)
{
	struct node *a = pick(m, r, ANY, &op->dir, &op->name), *b;

	b = pick_place(m, r, &op->dir2, &op->name2);
	if (!a || (b && !rnd(r, 2)))
		b = pick_place(m, r, &op->dir2, &op->name2);
	if (!a || a == b)
		return false;
	op->id = a->id;
	op->id2 = b ? b->id : 0;
	switch (op->what) {
	case RENAME:
		return may_rename(m, a, b, op->dir2);
	case EXCHANGE:
		return b && (a->kind != DIRECTORY || !is_within(m, op->dir2, a->id)) &&
			(b->kind != DIRECTORY || !is_within(m, op->dir, b->id));
	default:
		return !b && a->kind != DIRECTORY;
	}
}

static bool choose_attr(struct model *m, uint64_t *r, struct op *op)
{
	struct node *n = pick(m, r, ANY & ~MASK(SYMLINK), &op->dir, &op->name);

	if (!n)
		return false;
	op->id = n->id;
	switch (op->what) {
	case CHMOD:
		op->value = n->kind == DIRECTORY ? 0700 | rnd(r, 0100) : 0600 | rnd(r, 0200);
		return true;
	case UTIMES:
		op->value = 1 + rnd(r, 1000000);
		return true;
	case SETXATTR:
		op->at = rnd(r, XATTRS);
		op->value = 1 + rnd(r, 1000000);
		return true;
	default:
		op->at = rnd(r, XATTRS);
		return n->xattr[op->at];
	}
}

static bool choose_new(struct model *m, uint64_t *r, struct op *op)
{
	static const enum kind kinds[] = { SMALL, SMALL, BULK };

	if (pick_place(m, r, &op->dir, &op->name))
		return false;
	op->id = m->last_id + 1;
	op->kind = kinds[rnd(r, 3)];
	return op->what != MKDIR || count_dirs(m) < DIRS;
}

static bool choose_one(struct model *m, uint64_t *r, struct op *op)
{
	static const uint8_t weights[WHATS] = {
		[CREATE] = 14, [MKDIR] = 3, [MKSYMLINK] = 2, [WRITE] = 26, [CUT] = 5, [BULK_WRITE] = 16,
		[BULK_CUT] = 3, [PUNCH] = 3, [CHMOD] = 4, [UTIMES] = 2, [SETXATTR] = 4, [RMXATTR] = 3, [RENAME] = 12,
		[EXCHANGE] = 3, [LINK] = 5, [UNLINK] = 9, [RMDIR] = 4, [HOLD] = 2, [FSYNC] = 5, [SYNCFS] = 1,
		[RELEASE] = 1,
	};
	unsigned int i, sum = 0, x;
	struct node *n;

	for (i = 0; i < WHATS; i++)
		sum += weights[i];
	x = rnd(r, sum);
	for (i = 0; x >= weights[i]; i++)
		x -= weights[i];
	memset(op, 0, sizeof(*op));
	op->what = i;
	switch (op->what) {
	case CREATE: case MKDIR: case MKSYMLINK:
		return choose_new(m, r, op);
	case WRITE: case BULK_WRITE:
		n = pick(m, r, MASK(op->what == WRITE ? SMALL : BULK), &op->dir, &op->name);
		if (!n)
			return false;
		op->id = n->id;
		return choose_bytes(m, r, op, n);
	case CUT: case BULK_CUT:
		n = pick(m, r, MASK(op->what == CUT ? SMALL : BULK), &op->dir, &op->name);
		if (!n)
			return false;
		op->id = n->id;
		if (rnd(r, 3))
			op->len = rnd(r, n->size + 1);
		else if (rnd(r, 2))
			op->len = rnd(r, n->kind == SMALL ? SMALL_MAX : BULK_MAX);
		if (n->kind == BULK)
			op->len -= op->len % BLOCK;
		return true;
	case PUNCH:
		/* it waits for what is dirty */
		n = rnd(r, m->rare) ? NULL : pick(m, r, MASK(BULK), &op->dir, &op->name);
		if (!n || !n->size)
			return false;
		op->id = n->id;
		op->at = rnd(r, n->size / BLOCK) * BLOCK;
		op->len = (1 + rnd(r, (n->size - op->at) / BLOCK)) * BLOCK;
		return true;
	case CHMOD: case UTIMES: case SETXATTR: case RMXATTR:
		return choose_attr(m, r, op);
	case RENAME: case EXCHANGE: case LINK:
		return choose_names(m, r, op);
	case UNLINK: case RMDIR: case HOLD:
		n = pick(m, r, op->what == RMDIR ? MASK(DIRECTORY) : op->what == HOLD ? FILES :
			 FILES | MASK(SYMLINK), &op->dir, &op->name);
		if (!n || (op->what == RMDIR && !is_empty(n)))
			return false;
		op->id = n->id;
		return true;
	case FSYNC:
		if (rnd(r, m->rare))
			return false;
		n = NULL;
		if (m->ntouched && rnd(r, 2))
			n = node_of(m, m->touched[rnd(r, m->ntouched)]);
		if (n && n->kind != SYMLINK) {
			op->id = n->id;
			return n->id == TOP || find_name(m, n->id, &op->dir, &op->name);
		}
		n = pick(m, r, ANY & ~MASK(SYMLINK), &op->dir, &op->name);
		op->id = n ? n->id : TOP;
		return true;
	case SYNCFS:
		return !rnd(r, 3 * m->rare);
	default:
		return !rnd(r, 8 * m->rare);
	}
}

/* The next operation; it is possible. */
static void choose(struct model *m, uint64_t *r, struct op *op)
{
	while (!choose_one(m, r, op))
		;
}

#endif

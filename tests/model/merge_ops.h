/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Random operations on a naive tree, all of them possible.
 */
#ifndef TESTS_MODEL_MERGE_OPS_H
#define TESTS_MODEL_MERGE_OPS_H

#include "merge_batch.h"

/* One batch as long as the sequence. */
static bool no_seal;

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

/* Mostly nobody has it open but the one who removes it. */
static void close_soon(u64 ino)
{
	struct archil_record rec = { .type = ARCHIL_REC_RELEASE, .ino = ino };

	if (plain.inode[ino].there && !plain.inode[ino].nlink && rnd_one_in(&rnd, 2))
		record(&rec);
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
	rec.flags = rnd_one_in(&rnd, 2) ? ARCHIL_UNLINK_OPEN : 0;
	rec.name = names[name];
	rec.name_len = 1;
	rec.time = now();
	record(&rec);
	close_soon(rec.ino);
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
		rec.flags = rnd_one_in(&rnd, 2) ? ARCHIL_RENAME_OPEN : 0;
	}
	if (rec.flags != ARCHIL_RENAME_EXCHANGE)
		rec.cookie = new_cookie(rec.new_dir);
	rec.name = names[name];
	rec.new_name = names[new_name];
	rec.name_len = rec.new_name_len = 1;
	rec.time = now();
	record(&rec);
	if (rec.flags == ARCHIL_RENAME_OPEN)
		close_soon(rec.target);
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

/* What was written goes, as if it had not been, but for the times. */
static void outgrow(u64 ino)
{
	struct inode *in = &plain.inode[ino];
	u64 charge = 0, twin_charge = 0;
	bool done;

	adding = true;
	done = archil_batch_withdraw(&batch, ino, &charge);
	if (with_twin)
		MUST(archil_batch_withdraw(&twin, ino, &twin_charge) == done && twin_charge == charge,
		     "the twin does not do the same");
	adding = false;
	MUST(batch.bytes <= batch.max || !done, "%zu bytes", batch.bytes);
	MUST(charge <= plain_charge && (done || !charge), "a charge of %" PRIu64, charge);
	plain_charge -= charge;
	if (!done)
		return;
	in->bulk = true;
	in->size = 0;
	memset(in->data, 0, sizeof(in->data));
	all_withdrawn++;
}

static void op_outgrow(void)
{
	u64 ino = pick_ino(is_reg);

	if (ino && !plain.inode[ino].bulk)
		outgrow(ino);
}

/* Bulk bytes, beside the log: only between batches, when the inode is at the server. */
static void op_write(void)
{
	u64 ino = pick_ino(is_reg), off = rnd_below(&rnd, BYTES);
	u64 len = rnd_range(&rnd, 1, BYTES - off);

	if (!ino || no_seal)
		return;
	seal();
	plain.inode[ino].bulk = merged.inode[ino].bulk = true;
	rnd_bytes(&rnd, plain.inode[ino].data + off, len);
	memcpy(merged.inode[ino].data + off, plain.inode[ino].data + off, len);
}

static void op_seal(void)
{
	if (!no_seal)
		seal();
}

static const struct {
	void (*run)(void);
	unsigned int weight;
} ops[] = {
	{ op_create, 20 }, { op_link, 6 }, { op_unlink, 14 }, { op_rename, 16 },
	{ op_setattr, 16 }, { op_content, 14 }, { op_range, 3 }, { op_xattr, 10 },
	{ op_release, 4 }, { op_write, 1 }, { op_outgrow, 2 }, { op_seal, 2 },
};

#endif

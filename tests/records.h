/* SPDX-License-Identifier: GPL-2.0 */
/* Random records that archil_record_next() must accept. */
#ifndef TESTS_RECORDS_H
#define TESTS_RECORDS_H

#include "record.h"
#include "random.h"

/* What a record's pointers lead to; a test may go one byte over the limits. */
struct rec_parts {
	char name[ARCHIL_NAME_LEN + 1];
	char new_name[ARCHIL_NAME_LEN + 1];
	char data[ARCHIL_XATTR_SIZE + 1];
};

static inline struct archil_time random_time(struct rnd *r)
{
	struct archil_time time = {
		.sec = cpu_to_le64(rnd64(r)),
		.nsec = cpu_to_le32(rnd_range(r, 0, 999999999)),
	};

	return time;
}

static inline u64 random_ino(struct rnd *r)
{
	return rnd_one_in(r, 8) ? ARCHIL_INO_MAX : rnd_range(r, 1, ARCHIL_INO_MAX);
}

static inline u64 random_cookie(struct rnd *r)
{
	switch (rnd_below(r, 8)) {
	case 0:
		return 0;
	case 1:
		return ARCHIL_COOKIE_MAX;
	default:
		return rnd_range(r, ARCHIL_COOKIE_FIRST, ARCHIL_COOKIE_MAX);
	}
}

static inline void random_name(struct rnd *r, struct archil_record *rec, struct rec_parts *parts)
{
	rec->name = parts->name;
	rec->name_len = rnd_len(r, 1, ARCHIL_NAME_LEN);
	rnd_name(r, parts->name, rec->name_len);
}

static inline void random_data(struct rnd *r, struct archil_record *rec, struct rec_parts *parts,
			       size_t min, size_t max)
{
	rec->data = parts->data;
	rec->data_len = rnd_len(r, min, max);
	rnd_bytes(r, parts->data, rec->data_len);
}

static inline void random_create(struct rnd *r, struct archil_record *rec, struct rec_parts *parts)
{
	static const u32 types[] = {
		S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK,
	};

	rec->flags = rnd_one_in(r, 4) ? ARCHIL_CREATE_TMPFILE : 0;
	rec->dir = random_ino(r);
	rec->mode = types[rnd_below(r, ARRAY_SIZE(types))] | rnd_below(r, 010000);
	rec->uid = rnd64(r);
	rec->gid = rnd64(r);
	rec->atime = random_time(r);
	rec->mtime = random_time(r);
	rec->ctime = random_time(r);
	rec->btime = random_time(r);
	if (S_ISCHR(rec->mode) || S_ISBLK(rec->mode)) {
		rec->rdev_major = rnd_below(r, 1 << 12);
		rec->rdev_minor = rnd_below(r, 1 << 20);
	}
	if (!rec->flags) {
		rec->cookie = random_cookie(r);
		random_name(r, rec, parts);
	}
	if (S_ISLNK(rec->mode)) {
		rec->data = parts->data;
		rec->data_len = rnd_len(r, 1, ARCHIL_PATH_LEN);
		rnd_name(r, parts->data, rec->data_len);
	}
}

static inline void random_rename(struct rnd *r, struct archil_record *rec, struct rec_parts *parts)
{
	rec->dir = random_ino(r);
	rec->new_dir = random_ino(r);
	do
		rec->target = rnd_one_in(r, 2) ? random_ino(r) : 0;
	while (rec->target == rec->ino);
	if (rec->target && rnd_one_in(r, 2))
		rec->flags = rnd_one_in(r, 2) ? ARCHIL_RENAME_EXCHANGE : ARCHIL_RENAME_OPEN;
	if (rec->flags != ARCHIL_RENAME_EXCHANGE)
		rec->cookie = random_cookie(r);
	random_name(r, rec, parts);
	rec->new_name = parts->new_name;
	rec->new_name_len = rnd_len(r, 1, ARCHIL_NAME_LEN);
	rnd_name(r, parts->new_name, rec->new_name_len);
}

static inline void random_setattr(struct rnd *r, struct archil_record *rec)
{
	do
		rec->valid = rnd_below(r, ARCHIL_SET_ALL + 1);
	while (!rec->valid ||
	       (rec->valid & ARCHIL_SET_SIZE && rec->valid & ARCHIL_SET_SIZE_UP));
	if (rec->valid & ARCHIL_SET_MODE)
		rec->mode = rnd_below(r, 010000);
	if (rec->valid & ARCHIL_SET_UID)
		rec->uid = rnd64(r);
	if (rec->valid & ARCHIL_SET_GID)
		rec->gid = rnd64(r);
	if (rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
		rec->size = rnd64(r) >> rnd_range(r, 1, 63);
	if (rec->valid & ARCHIL_SET_ATIME)
		rec->atime = random_time(r);
	if (rec->valid & ARCHIL_SET_MTIME)
		rec->mtime = random_time(r);
	if (rec->valid & ARCHIL_SET_CTIME)
		rec->ctime = random_time(r);
}

/* A record of this type. */
static inline void random_record(struct rnd *r, unsigned int type, struct archil_record *rec,
				 struct rec_parts *parts)
{
	memset(rec, 0, sizeof(*rec));
	rec->type = type;
	rec->ino = random_ino(r);
	if (type != ARCHIL_REC_SETATTR && type != ARCHIL_REC_RELEASE)
		rec->time = random_time(r);
	switch (type) {
	case ARCHIL_REC_CREATE:
		random_create(r, rec, parts);
		break;
	case ARCHIL_REC_LINK:
		rec->dir = random_ino(r);
		rec->cookie = random_cookie(r);
		random_name(r, rec, parts);
		break;
	case ARCHIL_REC_UNLINK:
		rec->flags = rnd_one_in(r, 2) ? ARCHIL_UNLINK_OPEN : 0;
		rec->dir = random_ino(r);
		random_name(r, rec, parts);
		break;
	case ARCHIL_REC_RENAME:
		random_rename(r, rec, parts);
		break;
	case ARCHIL_REC_SETATTR:
		random_setattr(r, rec);
		break;
	case ARCHIL_REC_CONTENT:
		random_data(r, rec, parts, 1, ARCHIL_INLINE_MAX);
		rec->off = rnd_range(r, 0, ARCHIL_INLINE_MAX - rec->data_len);
		break;
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		rec->off = rnd64(r) >> rnd_range(r, 1, 63);
		rec->length = rnd_range(r, 1, INT64_MAX - rec->off ? INT64_MAX - rec->off : 1);
		rec->off -= rec->off == INT64_MAX;
		if (type == ARCHIL_REC_ALLOC && rnd_one_in(r, 2))
			rec->flags = ARCHIL_ALLOC_KEEP_SIZE;
		break;
	case ARCHIL_REC_SETXATTR:
		random_name(r, rec, parts);
		random_data(r, rec, parts, 0, ARCHIL_XATTR_SIZE);
		break;
	case ARCHIL_REC_RMXATTR:
		random_name(r, rec, parts);
		break;
	}
}

/* Do two records say the same? */
static inline bool same_part(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && (!a_len || !memcmp(a, b, a_len));
}

static inline bool same_record(const struct archil_record *a, const struct archil_record *b)
{
	struct archil_record x = *a, y = *b;

	if (!same_part(a->name, a->name_len, b->name, b->name_len) ||
	    !same_part(a->new_name, a->new_name_len, b->new_name, b->new_name_len) ||
	    !same_part(a->data, a->data_len, b->data, b->data_len))
		return false;
	x.name = y.name = x.new_name = y.new_name = NULL;
	x.data = y.data = NULL;
	/* both were made by zeroing a whole structure: no padding differs */
	return !memcmp(&x, &y, sizeof(x));
}

#endif

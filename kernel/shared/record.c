// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Log records, to bytes and back: see record.h.
 *
 * A record has one encoding: fields that its flags do not name are written as
 * zeros and read as zeros, so that equal records are equal bytes.
 */
#include "record.h"

#define REC_OFF_MAX	((1ull << 63) - 1)	/* of a byte in a file */
#define NSEC_MAX	999999999u
#define RDEV_MAJOR_MAX	((1u << 12) - 1)	/* as in the kernel's dev_t */
#define RDEV_MINOR_MAX	((1u << 20) - 1)

union any_rec {
	struct archil_rec h;
	struct archil_rec_create create;
	struct archil_rec_link link;
	struct archil_rec_unlink unlink;
	struct archil_rec_rename rename;
	struct archil_rec_setattr setattr;
	struct archil_rec_content content;
	struct archil_rec_punch punch;
	struct archil_rec_alloc alloc;
	struct archil_rec_setxattr setxattr;
	struct archil_rec_rmxattr rmxattr;
	struct archil_rec_release release;
};

static const struct rec_desc {
	const char *name;
	u16 size;		/* of the fixed structure */
	u16 flags;		/* that are known */
} rec_table[ARCHIL_REC_TYPES] = {
	[ARCHIL_REC_CREATE] = { "CREATE", sizeof(struct archil_rec_create),
				ARCHIL_CREATE_TMPFILE },
	[ARCHIL_REC_LINK] = { "LINK", sizeof(struct archil_rec_link), 0 },
	[ARCHIL_REC_UNLINK] = { "UNLINK", sizeof(struct archil_rec_unlink),
				ARCHIL_UNLINK_OPEN },
	[ARCHIL_REC_RENAME] = { "RENAME", sizeof(struct archil_rec_rename),
				ARCHIL_RENAME_EXCHANGE | ARCHIL_RENAME_OPEN },
	[ARCHIL_REC_SETATTR] = { "SETATTR", sizeof(struct archil_rec_setattr), 0 },
	[ARCHIL_REC_CONTENT] = { "CONTENT", sizeof(struct archil_rec_content), 0 },
	[ARCHIL_REC_PUNCH] = { "PUNCH", sizeof(struct archil_rec_punch), 0 },
	[ARCHIL_REC_ALLOC] = { "ALLOC", sizeof(struct archil_rec_alloc),
			       ARCHIL_ALLOC_KEEP_SIZE },
	[ARCHIL_REC_SETXATTR] = { "SETXATTR", sizeof(struct archil_rec_setxattr), 0 },
	[ARCHIL_REC_RMXATTR] = { "RMXATTR", sizeof(struct archil_rec_rmxattr), 0 },
	[ARCHIL_REC_RELEASE] = { "RELEASE", sizeof(struct archil_rec_release), 0 },
};

const char *archil_record_name(unsigned int type)
{
	return type < ARCHIL_REC_TYPES && rec_table[type].name ? rec_table[type].name : "?";
}

/* ---- reading ---- */

static bool ino_ok(u64 ino)
{
	return ino && ino <= ARCHIL_INO_MAX;
}

/* 0: the server picks, in a CHANGE; whoever applies a log refuses it. */
static bool cookie_ok(u64 cookie)
{
	return !cookie || (cookie >= ARCHIL_COOKIE_FIRST && cookie <= ARCHIL_COOKIE_MAX);
}

static bool range_ok(u64 off, u64 length)
{
	return length && off <= REC_OFF_MAX && length <= REC_OFF_MAX - off;
}

bool archil_time_ok(const struct archil_time *time)
{
	return le32_to_cpu(time->nsec) <= NSEC_MAX;
}

static bool xattr_name_ok(const char *name, size_t len)
{
	return len && len <= ARCHIL_NAME_LEN && !memchr(name, 0, len);
}

static bool rdev_ok(const struct archil_record *rec)
{
	if (S_ISCHR(rec->mode) || S_ISBLK(rec->mode))
		return rec->rdev_major <= RDEV_MAJOR_MAX && rec->rdev_minor <= RDEV_MINOR_MAX;
	return !rec->rdev_major && !rec->rdev_minor;
}

static bool mode_ok(u32 mode)
{
	if (mode & ~(u32)(S_IFMT | 07777))
		return false;
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) ||
	       S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode);
}

static bool create_ok(const struct archil_record *rec)
{
	if (!ino_ok(rec->dir) || !mode_ok(rec->mode) || !rdev_ok(rec))
		return false;
	if (!archil_time_ok(&rec->atime) || !archil_time_ok(&rec->mtime) || !archil_time_ok(&rec->ctime) ||
	    !archil_time_ok(&rec->btime))
		return false;
	if (rec->flags & ARCHIL_CREATE_TMPFILE ?
	    rec->name_len || rec->cookie :
	    !archil_name_ok(rec->name, rec->name_len) || !cookie_ok(rec->cookie))
		return false;
	if (!S_ISLNK(rec->mode))
		return !rec->data_len;
	return rec->data_len && rec->data_len <= ARCHIL_PATH_LEN &&
	       !memchr(rec->data, 0, rec->data_len);
}

static bool rename_ok(const struct archil_record *rec)
{
	if (!ino_ok(rec->dir) || !ino_ok(rec->new_dir) ||
	    !archil_name_ok(rec->name, rec->name_len) ||
	    !archil_name_ok(rec->new_name, rec->new_name_len))
		return false;
	if (rec->target && (!ino_ok(rec->target) || rec->target == rec->ino))
		return false;
	/* both an exchange and an open target need a target; not both at once */
	if (rec->flags && (!rec->target || rec->flags == (ARCHIL_RENAME_EXCHANGE |
							  ARCHIL_RENAME_OPEN)))
		return false;
	return rec->flags & ARCHIL_RENAME_EXCHANGE ? !rec->cookie : cookie_ok(rec->cookie);
}

static bool setattr_ok(const struct archil_record *rec)
{
	if (!rec->valid || rec->valid & ~(u32)ARCHIL_SET_ALL)
		return false;
	if ((rec->valid & ARCHIL_SET_SIZE) && (rec->valid & ARCHIL_SET_SIZE_UP))
		return false;
	return !(rec->mode & ~(u32)07777) && rec->size <= REC_OFF_MAX &&
	       archil_time_ok(&rec->atime) && archil_time_ok(&rec->mtime) && archil_time_ok(&rec->ctime);
}

/* Everything that does not need the tree, of a record whose lengths are right. */
static bool record_ok(const struct archil_record *rec)
{
	if (!ino_ok(rec->ino) || !archil_time_ok(&rec->time))
		return false;
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		return create_ok(rec);
	case ARCHIL_REC_LINK:
		return ino_ok(rec->dir) && cookie_ok(rec->cookie) &&
		       archil_name_ok(rec->name, rec->name_len);
	case ARCHIL_REC_UNLINK:
		return ino_ok(rec->dir) && archil_name_ok(rec->name, rec->name_len);
	case ARCHIL_REC_RENAME:
		return rename_ok(rec);
	case ARCHIL_REC_SETATTR:
		return setattr_ok(rec);
	case ARCHIL_REC_CONTENT:
		return rec->data_len && rec->off <= ARCHIL_INLINE_MAX &&
		       rec->data_len <= ARCHIL_INLINE_MAX - rec->off;
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		return range_ok(rec->off, rec->length);
	case ARCHIL_REC_SETXATTR:
		return xattr_name_ok(rec->name, rec->name_len) &&
		       rec->data_len <= ARCHIL_XATTR_SIZE;
	case ARCHIL_REC_RMXATTR:
		return xattr_name_ok(rec->name, rec->name_len);
	default:
		return true;	/* RELEASE: the inode is all */
	}
}

static void get_create(struct archil_record *rec, const struct archil_rec_create *raw)
{
	rec->dir = le64_to_cpu(raw->dir);
	rec->ino = le64_to_cpu(raw->ino);
	rec->cookie = le64_to_cpu(raw->cookie);
	rec->mode = le32_to_cpu(raw->mode);
	rec->uid = le32_to_cpu(raw->uid);
	rec->gid = le32_to_cpu(raw->gid);
	rec->rdev_major = le32_to_cpu(raw->rdev_major);
	rec->rdev_minor = le32_to_cpu(raw->rdev_minor);
	rec->atime = raw->atime;
	rec->mtime = raw->mtime;
	rec->ctime = raw->ctime;
	rec->btime = raw->btime;
	rec->time = raw->time;
	rec->name_len = le16_to_cpu(raw->name_len);
	rec->data_len = le16_to_cpu(raw->target_len);
}

static void get_setattr(struct archil_record *rec, const struct archil_rec_setattr *raw)
{
	u32 valid = le32_to_cpu(raw->valid);

	rec->ino = le64_to_cpu(raw->ino);
	rec->valid = valid;
	if (valid & ARCHIL_SET_MODE)
		rec->mode = le32_to_cpu(raw->mode);
	if (valid & ARCHIL_SET_UID)
		rec->uid = le32_to_cpu(raw->uid);
	if (valid & ARCHIL_SET_GID)
		rec->gid = le32_to_cpu(raw->gid);
	if (valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
		rec->size = le64_to_cpu(raw->size);
	if (valid & ARCHIL_SET_ATIME)
		rec->atime = raw->atime;
	if (valid & ARCHIL_SET_MTIME)
		rec->mtime = raw->mtime;
	if (valid & ARCHIL_SET_CTIME)
		rec->ctime = raw->ctime;
}

static void get_fixed(struct archil_record *rec, const union any_rec *raw)
{
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		get_create(rec, &raw->create);
		break;
	case ARCHIL_REC_LINK:
		rec->dir = le64_to_cpu(raw->link.dir);
		rec->ino = le64_to_cpu(raw->link.ino);
		rec->cookie = le64_to_cpu(raw->link.cookie);
		rec->time = raw->link.time;
		rec->name_len = le16_to_cpu(raw->link.name_len);
		break;
	case ARCHIL_REC_UNLINK:
		rec->dir = le64_to_cpu(raw->unlink.dir);
		rec->ino = le64_to_cpu(raw->unlink.ino);
		rec->time = raw->unlink.time;
		rec->name_len = le16_to_cpu(raw->unlink.name_len);
		break;
	case ARCHIL_REC_RENAME:
		rec->dir = le64_to_cpu(raw->rename.old_dir);
		rec->new_dir = le64_to_cpu(raw->rename.new_dir);
		rec->ino = le64_to_cpu(raw->rename.ino);
		rec->target = le64_to_cpu(raw->rename.target);
		rec->cookie = le64_to_cpu(raw->rename.cookie);
		rec->time = raw->rename.time;
		rec->name_len = le16_to_cpu(raw->rename.old_len);
		rec->new_name_len = le16_to_cpu(raw->rename.new_len);
		break;
	case ARCHIL_REC_SETATTR:
		get_setattr(rec, &raw->setattr);
		break;
	case ARCHIL_REC_CONTENT:
		rec->ino = le64_to_cpu(raw->content.ino);
		rec->time = raw->content.time;
		rec->off = le32_to_cpu(raw->content.off);
		rec->data_len = le32_to_cpu(raw->content.data_len);
		break;
	case ARCHIL_REC_PUNCH:
		rec->ino = le64_to_cpu(raw->punch.ino);
		rec->off = le64_to_cpu(raw->punch.off);
		rec->length = le64_to_cpu(raw->punch.length);
		rec->time = raw->punch.time;
		break;
	case ARCHIL_REC_ALLOC:
		rec->ino = le64_to_cpu(raw->alloc.ino);
		rec->off = le64_to_cpu(raw->alloc.off);
		rec->length = le64_to_cpu(raw->alloc.length);
		rec->time = raw->alloc.time;
		break;
	case ARCHIL_REC_SETXATTR:
		rec->ino = le64_to_cpu(raw->setxattr.ino);
		rec->time = raw->setxattr.time;
		rec->name_len = le16_to_cpu(raw->setxattr.name_len);
		rec->data_len = le32_to_cpu(raw->setxattr.value_len);
		break;
	case ARCHIL_REC_RMXATTR:
		rec->ino = le64_to_cpu(raw->rmxattr.ino);
		rec->time = raw->rmxattr.time;
		rec->name_len = le16_to_cpu(raw->rmxattr.name_len);
		break;
	case ARCHIL_REC_RELEASE:
		rec->ino = le64_to_cpu(raw->release.ino);
		break;
	}
}

int archil_record_next(const void *buf, size_t len, size_t *pos, struct archil_record *rec)
{
	const u8 *p = (const u8 *)buf + *pos, *end;
	size_t left = len - *pos, size;
	union any_rec raw;

	if (!left)
		return 0;
	if (left < sizeof(raw.h))
		return -EPROTO;
	memcpy(&raw.h, p, sizeof(raw.h));
	memset(rec, 0, sizeof(*rec));
	rec->type = le16_to_cpu(raw.h.type);
	rec->flags = le16_to_cpu(raw.h.flags);
	size = le32_to_cpu(raw.h.len);
	if (rec->type >= ARCHIL_REC_TYPES || !rec_table[rec->type].name)
		return -EPROTO;
	if (rec->flags & ~(u32)rec_table[rec->type].flags)
		return -EPROTO;
	if (size > left || size < rec_table[rec->type].size)
		return -EPROTO;

	memcpy(&raw, p, rec_table[rec->type].size);
	get_fixed(rec, &raw);
	/* the first comparison keeps the sum in the second from wrapping */
	if (rec->data_len > size || archil_record_size(rec) != size)
		return -EPROTO;
	rec->name = (const char *)p + rec_table[rec->type].size;
	rec->new_name = rec->name + rec->name_len;
	rec->data = rec->new_name + rec->new_name_len;
	for (end = (const u8 *)rec->data + rec->data_len; end < p + size; end++)
		if (*end)
			return -EPROTO;
	if (!record_ok(rec))
		return -EPROTO;
	*pos += size;
	return 1;
}

/* ---- writing ---- */

size_t archil_record_size(const struct archil_record *rec)
{
	return (rec_table[rec->type].size + (size_t)rec->name_len + rec->new_name_len +
		rec->data_len + 7) & ~(size_t)7;
}

static void put_create(struct archil_rec_create *raw, const struct archil_record *rec)
{
	raw->dir = cpu_to_le64(rec->dir);
	raw->ino = cpu_to_le64(rec->ino);
	raw->cookie = cpu_to_le64(rec->cookie);
	raw->mode = cpu_to_le32(rec->mode);
	raw->uid = cpu_to_le32(rec->uid);
	raw->gid = cpu_to_le32(rec->gid);
	raw->rdev_major = cpu_to_le32(rec->rdev_major);
	raw->rdev_minor = cpu_to_le32(rec->rdev_minor);
	raw->atime = rec->atime;
	raw->mtime = rec->mtime;
	raw->ctime = rec->ctime;
	raw->btime = rec->btime;
	raw->time = rec->time;
	raw->name_len = cpu_to_le16(rec->name_len);
	raw->target_len = cpu_to_le16(rec->data_len);
}

static void put_setattr(struct archil_rec_setattr *raw, const struct archil_record *rec)
{
	raw->ino = cpu_to_le64(rec->ino);
	raw->valid = cpu_to_le32(rec->valid);
	if (rec->valid & ARCHIL_SET_MODE)
		raw->mode = cpu_to_le32(rec->mode & 07777);
	if (rec->valid & ARCHIL_SET_UID)
		raw->uid = cpu_to_le32(rec->uid);
	if (rec->valid & ARCHIL_SET_GID)
		raw->gid = cpu_to_le32(rec->gid);
	if (rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
		raw->size = cpu_to_le64(rec->size);
	if (rec->valid & ARCHIL_SET_ATIME)
		raw->atime = rec->atime;
	if (rec->valid & ARCHIL_SET_MTIME)
		raw->mtime = rec->mtime;
	if (rec->valid & ARCHIL_SET_CTIME)
		raw->ctime = rec->ctime;
}

static void put_fixed(union any_rec *raw, const struct archil_record *rec)
{
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		put_create(&raw->create, rec);
		break;
	case ARCHIL_REC_LINK:
		raw->link.dir = cpu_to_le64(rec->dir);
		raw->link.ino = cpu_to_le64(rec->ino);
		raw->link.cookie = cpu_to_le64(rec->cookie);
		raw->link.time = rec->time;
		raw->link.name_len = cpu_to_le16(rec->name_len);
		break;
	case ARCHIL_REC_UNLINK:
		raw->unlink.dir = cpu_to_le64(rec->dir);
		raw->unlink.ino = cpu_to_le64(rec->ino);
		raw->unlink.time = rec->time;
		raw->unlink.name_len = cpu_to_le16(rec->name_len);
		break;
	case ARCHIL_REC_RENAME:
		raw->rename.old_dir = cpu_to_le64(rec->dir);
		raw->rename.new_dir = cpu_to_le64(rec->new_dir);
		raw->rename.ino = cpu_to_le64(rec->ino);
		raw->rename.target = cpu_to_le64(rec->target);
		raw->rename.cookie = cpu_to_le64(rec->cookie);
		raw->rename.time = rec->time;
		raw->rename.old_len = cpu_to_le16(rec->name_len);
		raw->rename.new_len = cpu_to_le16(rec->new_name_len);
		break;
	case ARCHIL_REC_SETATTR:
		put_setattr(&raw->setattr, rec);
		break;
	case ARCHIL_REC_CONTENT:
		raw->content.ino = cpu_to_le64(rec->ino);
		raw->content.time = rec->time;
		raw->content.off = cpu_to_le32(rec->off);
		raw->content.data_len = cpu_to_le32(rec->data_len);
		break;
	case ARCHIL_REC_PUNCH:
		raw->punch.ino = cpu_to_le64(rec->ino);
		raw->punch.off = cpu_to_le64(rec->off);
		raw->punch.length = cpu_to_le64(rec->length);
		raw->punch.time = rec->time;
		break;
	case ARCHIL_REC_ALLOC:
		raw->alloc.ino = cpu_to_le64(rec->ino);
		raw->alloc.off = cpu_to_le64(rec->off);
		raw->alloc.length = cpu_to_le64(rec->length);
		raw->alloc.time = rec->time;
		break;
	case ARCHIL_REC_SETXATTR:
		raw->setxattr.ino = cpu_to_le64(rec->ino);
		raw->setxattr.time = rec->time;
		raw->setxattr.value_len = cpu_to_le32(rec->data_len);
		raw->setxattr.name_len = cpu_to_le16(rec->name_len);
		break;
	case ARCHIL_REC_RMXATTR:
		raw->rmxattr.ino = cpu_to_le64(rec->ino);
		raw->rmxattr.time = rec->time;
		raw->rmxattr.name_len = cpu_to_le16(rec->name_len);
		break;
	case ARCHIL_REC_RELEASE:
		raw->release.ino = cpu_to_le64(rec->ino);
		break;
	}
}

static u8 *put_part(u8 *p, const void *part, size_t len)
{
	if (len)
		memcpy(p, part, len);
	return p + len;
}

int archil_record_put(void *buf, size_t cap, size_t *pos, const struct archil_record *rec)
{
	size_t size = archil_record_size(rec);
	u8 *p = (u8 *)buf + *pos, *end = p + size;
	union any_rec raw;

	if (size > cap - *pos)
		return -ENOSPC;
	memset(&raw, 0, sizeof(raw));
	put_fixed(&raw, rec);
	raw.h.type = cpu_to_le16(rec->type);
	raw.h.flags = cpu_to_le16(rec->flags);
	raw.h.len = cpu_to_le32(size);
	p = put_part(p, &raw, rec_table[rec->type].size);
	p = put_part(p, rec->name, rec->name_len);
	p = put_part(p, rec->new_name, rec->new_name_len);
	p = put_part(p, rec->data, rec->data_len);
	memset(p, 0, end - p);
	*pos += size;
	return 0;
}

/* ---- credit ---- */

/*
 * An inode, an entry and its hash, with a part of what is written again of their
 * neighbours; contents and allocations take whole pages.
 */
#define CHARGE_INODE	1024u
#define CHARGE_NAME	256u
#define CHARGE_XATTR	256u
#define CHARGE_PAGE	4096u

u64 archil_record_charge(const struct archil_record *rec)
{
	u64 end;

	switch (rec->type) {
	case ARCHIL_REC_CREATE:
		return CHARGE_INODE + CHARGE_NAME + 2 * rec->name_len + rec->data_len;
	case ARCHIL_REC_LINK:
		return CHARGE_NAME + 2 * rec->name_len;
	case ARCHIL_REC_RENAME:
		return CHARGE_NAME + 2 * rec->new_name_len;
	case ARCHIL_REC_CONTENT:
		/* from 0: a gap before it is stored too */
		end = rec->off + rec->data_len;
		return (end + CHARGE_PAGE - 1) / CHARGE_PAGE * CHARGE_PAGE;
	case ARCHIL_REC_ALLOC:
		end = rec->off + rec->length + CHARGE_PAGE - 1;
		return (end & ~(u64)(CHARGE_PAGE - 1)) - (rec->off & ~(u64)(CHARGE_PAGE - 1));
	case ARCHIL_REC_SETXATTR:
		return CHARGE_XATTR + rec->name_len + rec->data_len;
	default:
		return 0;
	}
}

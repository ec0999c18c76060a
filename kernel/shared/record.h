/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Log records: one a change. A record says everything that is needed to apply
 * it and nothing about how the client found out.
 *
 * A record is struct archil_rec, the fixed structure of its type, the variable
 * parts whose lengths that gives, and zeros up to a multiple of 8 bytes.
 *
 * Rules of applying (the server does; a client's memory must agree):
 *
 * 1. A record applies whole or its batch does not.
 * 2. Every inode that a record touches lies in the delegation's subtree, but
 *    for link count and ctime of a file with several links.
 * 3. Names are given with the inode number that the client believes to be
 *    behind them; another one there is a damaged log (EUCLEAN), never a guess.
 * 4. A directory's mtime and ctime become the record's `time` with every change
 *    of its entries; so does the ctime of an inode that is linked, unlinked or
 *    renamed. All other times are as given.
 * 5. Every inode touched gets a new change number.
 * 6. An accepted record does not fail for want of space: the client has taken
 *    credit for it.
 */
#ifndef ARCHIL_RECORD_H
#define ARCHIL_RECORD_H

#include "wire.h"

enum archil_rec_type {
	ARCHIL_REC_CREATE	= 1,
	ARCHIL_REC_LINK		= 2,
	ARCHIL_REC_UNLINK	= 3,	/* rmdir too */
	ARCHIL_REC_RENAME	= 4,
	ARCHIL_REC_SETATTR	= 5,
	ARCHIL_REC_CONTENT	= 6,
	ARCHIL_REC_PUNCH	= 7,
	ARCHIL_REC_ALLOC	= 8,
	ARCHIL_REC_SETXATTR	= 9,
	ARCHIL_REC_RMXATTR	= 10,
	ARCHIL_REC_RELEASE	= 11,
	ARCHIL_REC_TYPES	= 12,
};

struct archil_rec {
	__le16	type;		/* enum archil_rec_type */
	__le16	flags;		/* of the type; an unknown one is EPROTO */
	__le32	len;		/* of the whole record, a multiple of 8 */
} __packed;

enum { ARCHIL_CREATE_TMPFILE = 0x1 };	/* no name: an orphan from the start; dir and cookie say
					 * where it belongs (0 cookie), name_len is 0 */

struct archil_rec_create {
	struct archil_rec h;
	__le64	dir;
	__le64	ino;		/* from a range of this session, never used before */
	__le64	cookie;		/* of the entry; unused in this directory, above all that were.
				 * In a CHANGE 0, here and elsewhere: the server picks */
	__le32	mode, uid, gid;
	__le32	rdev_major, rdev_minor;
	struct archil_time atime, mtime, ctime, btime;
	struct archil_time time;	/* the directory's */
	__le16	name_len;
	__le16	target_len;	/* a symlink's */
	/* name, target */
} __packed;

struct archil_rec_link {
	struct archil_rec h;
	__le64	dir;
	__le64	ino;
	__le64	cookie;
	struct archil_time time;
	__le16	name_len;
	/* name */
} __packed;

enum { ARCHIL_UNLINK_OPEN = 0x1 };	/* if this was the last link: it is open, keep an orphan */

struct archil_rec_unlink {
	struct archil_rec h;
	__le64	dir;
	__le64	ino;
	struct archil_time time;
	__le16	name_len;
	/* name */
} __packed;

enum {
	ARCHIL_RENAME_EXCHANGE	= 0x1,	/* the two entries swap inodes and keep cookies */
	ARCHIL_RENAME_OPEN	= 0x2,	/* the one replaced is open, as in UNLINK; not both */
};

struct archil_rec_rename {
	struct archil_rec h;
	__le64	old_dir, new_dir;
	__le64	ino;
	__le64	target;		/* inode behind the new name before, or 0 */
	__le64	cookie;		/* of the new entry; 0 with EXCHANGE */
	struct archil_time time;
	__le16	old_len, new_len;
	/* old name, new name */
} __packed;

enum {
	ARCHIL_SET_MODE		= 0x01,	/* permissions (07777); the type stays */
	ARCHIL_SET_UID		= 0x02,
	ARCHIL_SET_GID		= 0x04,
	ARCHIL_SET_ATIME	= 0x08,
	ARCHIL_SET_MTIME	= 0x10,
	ARCHIL_SET_CTIME	= 0x20,
	ARCHIL_SET_SIZE		= 0x40,	/* exactly: cuts, or extends with zeros */
	ARCHIL_SET_SIZE_UP	= 0x80,	/* at least: after WRITEs; never cuts. Not both sizes */
	ARCHIL_SET_ALL		= 0xff,
};

struct archil_rec_setattr {
	struct archil_rec h;
	__le64	ino;
	__le32	valid;		/* ARCHIL_SET_* */
	__le32	mode, uid, gid;
	__le64	size;
	struct archil_time atime, mtime, ctime;
} __packed;

/*
 * Small contents, as one write(2) left them: data at off, the size raised to
 * off + len if it was less. Only for a regular file that is not
 * ARCHIL_AF_BULK, and off + len is at most inline_max. mtime and ctime: time.
 */
struct archil_rec_content {
	struct archil_rec h;
	__le64	ino;
	struct archil_time time;
	__le32	off;
	__le32	data_len;	/* not 0 */
	/* data */
} __packed;

/* Zeros in [off, off + len), the size unchanged; storage is given back. */
struct archil_rec_punch {
	struct archil_rec h;
	__le64	ino;
	__le64	off, length;
	struct archil_time time;	/* mtime, ctime */
} __packed;

enum { ARCHIL_ALLOC_KEEP_SIZE = 0x1 };

/* Storage for [off, off + len), contents unchanged. */
struct archil_rec_alloc {
	struct archil_rec h;
	__le64	ino;
	__le64	off, length;
	struct archil_time time;
} __packed;

struct archil_rec_setxattr {
	struct archil_rec h;
	__le64	ino;
	struct archil_time time;	/* ctime */
	__le32	value_len;
	__le16	name_len;
	/* name, value */
} __packed;

struct archil_rec_rmxattr {
	struct archil_rec h;
	__le64	ino;
	struct archil_time time;
	__le16	name_len;
	/* name */
} __packed;

/* The orphan is closed: it goes. */
struct archil_rec_release {
	struct archil_rec h;
	__le64	ino;
} __packed;

/* The longest record: an xattr's. */
#define ARCHIL_REC_MAX \
	((sizeof(struct archil_rec_setxattr) + ARCHIL_NAME_LEN + ARCHIL_XATTR_SIZE + 7) & ~7ul)

/*
 * A record, taken apart. Only what its type has is set (and, in SETATTR, what
 * its valid names); the rest is zero. A pointer means something only if its
 * length is not 0. The times are as on the wire.
 */
struct archil_record {
	u16	type, flags;
	u64	ino;
	u64	dir;		/* CREATE, LINK, UNLINK; RENAME: the old one */
	u64	new_dir, target, cookie;
	u32	valid, mode, uid, gid, rdev_major, rdev_minor;
	u64	size;
	u64	off, length;
	struct archil_time atime, mtime, ctime, btime, time;
	const char *name;	/* RENAME: the old one */
	const char *new_name;	/* RENAME */
	const void *data;	/* CREATE: target; CONTENT: data; SETXATTR: value */
	u16	name_len, new_name_len;
	u32	data_len;
};

/**
 * archil_record_next - take the next record off a buffer
 * @buf, @len:	records, of any alignment
 * @pos:	where it begins; moved behind it. Start with 0
 * @rec:	filled in; its pointers lead into @buf
 *
 * Checks everything that can be checked without the tree: lengths, flags,
 * names, numbers in range (inodes below 2^48 and not 0, cookies below 2^63 and
 * from ARCHIL_COOKIE_FIRST or 0, offsets and their sums below 2^63, nanoseconds,
 * device numbers), the type in a mode, a symlink's target, what must not come
 * together.
 * Returns 1, 0 at the end, -EPROTO.
 */
int archil_record_next(const void *buf, size_t len, size_t *pos, struct archil_record *rec);

/* Is it one that can be: at most 999,999,999 ns? */
bool archil_time_ok(const struct archil_time *time);

/* Bytes that archil_record_put() will need. */
size_t archil_record_size(const struct archil_record *rec);

/**
 * archil_record_put - append a record
 * @buf, @cap:	of any alignment
 * @pos:	length so far; moved
 * @rec:	as archil_record_next() gives it: nothing is checked here. Of the mode
 *		in a SETATTR only the permissions are taken
 *
 * Returns 0, or -ENOSPC and nothing changed.
 */
int archil_record_put(void *buf, size_t cap, size_t *pos, const struct archil_record *rec);

/**
 * archil_record_charge - credit that this record uses up, in bytes
 *
 * The same for client and server: what its keys and values can take in the
 * store, rounded generously; 0 for what removes or shrinks.
 */
u64 archil_record_charge(const struct archil_record *rec);

const char *archil_record_name(unsigned int type);

#endif /* ARCHIL_RECORD_H */

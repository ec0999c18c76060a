/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a disk is laid out in the store's keys.
 *
 * A key is a letter and numbers of 8 bytes, big-endian, so that byte order is
 * number order; a name may follow. Values are packed and little-endian.
 *
 *	key			value			what
 *	D			fs_disk_val		format version, token verifier
 *	C			fs_counters_val		numbers to give out, inodes in use
 *	i ino			fs_inode_val		an inode
 *	n dir name		fs_name_val		an entry by name
 *	e dir cookie		fs_entry_val, name	the same entry in listing order
 *	l ino dir cookie	-			a link that is not the home link
 *	c ino			bytes			small contents; a symlink's target
 *	x ino name		bytes			an xattr
 *	o deleg ino		-			an orphan that this delegation keeps open
 *	r time commit nr	inode numbers		orphans released then, to be reaped
 *	p ino nr		fs_intent_val, bytes	what is to happen to a data file
 *	d number		fs_deleg_val		a delegation
 *	t number		fs_tomb_val		a delegation that was
 *	s id			fs_session_val, client	a session
 *	y session slot		fs_slot_val, reply	the last reply of a slot
 *
 * The home link of an inode is (parent, cookie) in the inode itself, so a file
 * with one link costs no `l`, and its name is found by way of `e`.
 */
#ifndef ARCHIL_FS_KEYS_H
#define ARCHIL_FS_KEYS_H

#include "fs_meta.h"

enum fs_tag {
	FS_DISK = 'D',
	FS_COUNTERS = 'C',
	FS_INODE = 'i',
	FS_NAME = 'n',
	FS_ENTRY = 'e',
	FS_LINK = 'l',
	FS_CONTENT = 'c',
	FS_XATTR = 'x',
	FS_ORPHAN = 'o',
	FS_RELEASED = 'r',
	FS_INTENT = 'p',
	FS_DELEG = 'd',
	FS_TOMB = 't',
	FS_SESSION = 's',
	FS_SLOT = 'y',
};

struct fs_key {
	size_t len;
	u8 b[1 + 3 * 8 + ARCHIL_NAME_LEN];
};

/* A letter alone, and with one to three numbers. */
void fs_key0(struct fs_key *key, enum fs_tag tag);
void fs_key1(struct fs_key *key, enum fs_tag tag, u64 a);
void fs_key2(struct fs_key *key, enum fs_tag tag, u64 a, u64 b);
void fs_key3(struct fs_key *key, enum fs_tag tag, u64 a, u64 b, u64 c);
/* A letter, a number and a name: FS_NAME, FS_XATTR. */
void fs_key_name(struct fs_key *key, enum fs_tag tag, u64 a, const char *name, size_t len);
/* The first key behind all that begin with @prefix. */
void fs_key_end(struct fs_key *key, const struct fs_key *prefix);

/* Number @i (from 0) of a key in the store; 0 when the key is too short for it. */
u64 fs_key_nr(const void *key, size_t len, unsigned int i);

/* ---- values ---- */

struct fs_disk_val {
	__le32 version;			/* FS_FORMAT_VERSION */
	__le64 created;
	u8 salt[SCRAM_SALT_SIZE];
	u8 stored_key[SCRAM_KEY_SIZE];
	u8 server_key[SCRAM_KEY_SIZE];
} __packed;

struct fs_counters_val {
	__le64 next_ino, next_deleg, next_session, next_intent;
	__le64 inodes;			/* in use, orphans included */
} __packed;

struct fs_inode_val {
	__le64 change, size, bytes;
	union {
		struct {
			__le64 parent, cookie;
		} home;			/* of the root: 1, 0 */
		struct {
			__le64 deleg;	/* open: kept by this delegation; else 0 */
			__le64 released; /* ns since 1970, when deleg is 0 */
		} orphan;		/* with ARCHIL_AF_ORPHAN */
	};
	union {
		struct {
			__le64 next_cookie, entries;
		} dir;
		struct {
			__le64 writer;	/* delegation that wrote the data file last */
			__le64 content_len; /* of FS_CONTENT; a symlink's target too */
		} file;
		struct {
			__le64 major, minor;
		} dev;
	};
	struct archil_time atime, mtime, ctime, btime;
	__le32 mode, nlink, uid, gid;
	__le32 flags;			/* ARCHIL_AF_BULK, ARCHIL_AF_ORPHAN */
	__le32 xattr_bytes;		/* of its xattrs' names, each with a NUL */
} __packed;

struct fs_name_val {
	__le64 cookie;
	__le64 ino;
	u8 type;			/* mode >> 12, as in DT_* */
} __packed;

struct fs_entry_val {
	__le64 ino;
	u8 type;
} __packed;

/* Of FS_RELEASED: so many at most, for one commit may release very many. */
#define FS_RELEASED_MAX	256

struct fs_released_val {
	__le64 ino[FS_RELEASED_MAX];	/* those that are left; at least one */
} __packed;

struct fs_intent_val {
	u8 kind;
	__le64 off, len;
} __packed;

struct fs_deleg_val {
	__le64 ino, session, commit, since, applied;
	__le32 origin, flags;
} __packed;

struct fs_tomb_val {
	__le64 session, applied;
	u8 how;
} __packed;

struct fs_session_val {
	__le64 opened, root;
	__le32 flags;
	u8 incarnation[ARCHIL_UUID_LEN];
	u8 mount[ARCHIL_UUID_LEN];
} __packed;

struct fs_slot_val {
	__le32 seq;
} __packed;

/* ---- the same in memory ---- */

struct fs_counters {
	u64 next_ino, next_deleg, next_session, next_intent;
	u64 inodes;
};

struct fs_inode {
	u64 ino;
	u64 change, size, bytes;
	u64 parent, cookie;		/* home link; 0 of an orphan */
	u64 orphan_of, released;	/* of an orphan; else 0 */
	u64 next_cookie, entries;	/* of a directory */
	u64 writer, content_len;	/* of a file; content_len of a symlink */
	u32 rdev_major, rdev_minor;
	struct archil_time atime, mtime, ctime, btime;
	u32 mode, nlink, uid, gid;
	u32 flags;
	u32 xattr_bytes;
};

struct fs_entry {
	u64 dir, cookie, ino;
	u8 type;
};

void fs_inode_encode(const struct fs_inode *in, struct fs_inode_val *val);
/* The decoders: 0, or -EBADMSG. */
int fs_inode_decode(u64 ino, const void *val, size_t len, struct fs_inode *in);
void fs_counters_encode(const struct fs_counters *c, struct fs_counters_val *val);
int fs_counters_decode(const void *val, size_t len, struct fs_counters *c);
/* How many there are, or -EBADMSG. */
int fs_released_decode(const void *val, size_t len, struct fs_released_val *list);
int fs_name_decode(u64 dir, const void *val, size_t len, struct fs_entry *entry);

/* As a reader sees it; deleg is 0. */
void fs_inode_wattr(const struct fs_inode *in, struct archil_wattr *attr);

#endif

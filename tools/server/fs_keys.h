/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a disk is laid out in the store's keys.
 *
 * A key is a letter and numbers of 8 bytes, big-endian, so that byte order is
 * number order; a name may follow. Values are packed and little-endian.
 *
 *	key			value			what
 *	D			fs_disk_val		format version, token verifier, key of hashes
 *	C			fs_counters_val		numbers to give out, inodes in use
 *	i ino/16		a pack of inodes	see fs_inode_encode()
 *	e dir cookie/16		a pack of entries	in listing order: see fs_entry_encode()
 *	h dir bucket		fs_hashed[]		the same entries by their names' hashes
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
 * Packs: fs_pack.h. Buckets: fs_hash.c.
 *
 * The home link of an inode is (parent, cookie) in the inode itself, so a file
 * with one link costs no `l`, and its name is found by way of `e`.
 */
#ifndef ARCHIL_FS_KEYS_H
#define ARCHIL_FS_KEYS_H

#include "fs_meta.h"
#include "fs_pack.h"

enum fs_tag {
	FS_DISK = 'D',
	FS_COUNTERS = 'C',
	FS_INODE = 'i',
	FS_ENTRY = 'e',
	FS_HASH = 'h',
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
/* The packs in which these lie. */
void fs_key_inode(struct fs_key *key, u64 ino);
void fs_key_entry(struct fs_key *key, u64 dir, u64 cookie);
void fs_key_xattr(struct fs_key *key, u64 ino, const char *name, size_t len);
/* The first key behind all that begin with @prefix. */
void fs_key_end(struct fs_key *key, const struct fs_key *prefix);

/* Number @i (from 0) of a key in the store; 0 when the key is too short for it. */
u64 fs_key_nr(const void *key, size_t len, unsigned int i);

/* ---- values ---- */

#define FS_HASH_KEY_SIZE	16

struct fs_disk_val {
	__le32 version;			/* FS_FORMAT_VERSION */
	__le64 created;
	u8 salt[SCRAM_SALT_SIZE];
	u8 stored_key[SCRAM_KEY_SIZE];
	u8 server_key[SCRAM_KEY_SIZE];
	u8 hash_key[FS_HASH_KEY_SIZE];	/* random: nobody chooses names that collide */
} __packed;

struct fs_counters_val {
	__le64 next_ino, next_deleg, next_session, next_intent;
	__le64 inodes;			/* in use, orphans included */
} __packed;

#define FS_SPLITS_MAX	(1ull << 32)	/* there are no more hashes */

/* An entry in its directory's hash table; in no order there. */
struct fs_hashed {
	__le32 hash;
	__le64 cookie;
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
	u64 splits;			/* of its hash table: its buckets but one */
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

#define FS_INODE_MAX	256		/* bytes */

/*
 * fs_inode_encode() - as an item of a pack. Its fields are numbers of which most are 0: what is the
 * rule is written as 0, and times as their difference from mtime. First come two bits for each,
 * how many bytes it takes: 0, 2, 4 or 8; then these, the lowest byte first.
 * @buf: FS_INODE_MAX bytes.
 * Return: bytes.
 */
size_t fs_inode_encode(const struct fs_inode *in, u8 *buf);
/* The decoders: 0, or -EBADMSG. */
int fs_inode_decode(u64 ino, const void *val, size_t len, struct fs_inode *in);
/*
 * An item of a pack: inode * 16 + type, 7 bits a byte, the lowest first, bit 7 says that more come;
 * then the name.
 * @buf: FS_ITEM_MAX bytes. Returns bytes.
 */
size_t fs_entry_encode(const struct fs_entry *entry, const char *name, size_t len, u8 *buf);
/* @entry: inode and type are filled in. @name leads into the item. */
int fs_entry_decode(const struct fs_item *item, struct fs_entry *entry, const char **name,
		    size_t *len);
void fs_counters_encode(const struct fs_counters *c, struct fs_counters_val *val);
int fs_counters_decode(const void *val, size_t len, struct fs_counters *c);
/* How many there are, or -EBADMSG. */
int fs_released_decode(const void *val, size_t len, struct fs_released_val *list);

/* As a reader sees it; deleg is 0. */
void fs_inode_wattr(const struct fs_inode *in, struct archil_wattr *attr);

#endif

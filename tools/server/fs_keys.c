// SPDX-License-Identifier: GPL-2.0
/* Keys and values, to bytes and back: see fs_keys.h. */
#include <sys/stat.h>

#include "fs_keys.h"

#define DIR_SIZE	4096	/* what stat says of every directory */
#define SECTOR		512	/* granularity of stat's blocks */

static void put_nr(struct fs_key *key, u64 nr)
{
	u64 be = htobe64(nr);

	memcpy(key->b + key->len, &be, sizeof(be));
	key->len += sizeof(be);
}

void fs_key0(struct fs_key *key, enum fs_tag tag)
{
	key->b[0] = tag;
	key->len = 1;
}

void fs_key1(struct fs_key *key, enum fs_tag tag, u64 a)
{
	fs_key0(key, tag);
	put_nr(key, a);
}

void fs_key2(struct fs_key *key, enum fs_tag tag, u64 a, u64 b)
{
	fs_key1(key, tag, a);
	put_nr(key, b);
}

void fs_key3(struct fs_key *key, enum fs_tag tag, u64 a, u64 b, u64 c)
{
	fs_key2(key, tag, a, b);
	put_nr(key, c);
}

void fs_key_name(struct fs_key *key, enum fs_tag tag, u64 a, const char *name, size_t len)
{
	fs_key1(key, tag, a);
	memcpy(key->b + key->len, name, len);
	key->len += len;
}

void fs_key_end(struct fs_key *key, const struct fs_key *prefix)
{
	*key = *prefix;
	while (key->b[key->len - 1] == 0xff)
		key->len--;	/* ends at the letter, which is not 0xff */
	key->b[key->len - 1]++;
}

u64 fs_key_nr(const void *key, size_t len, unsigned int i)
{
	size_t at = 1 + i * sizeof(u64);
	u64 be;

	if (len < at + sizeof(be))
		return 0;
	memcpy(&be, (const u8 *)key + at, sizeof(be));
	return be64toh(be);
}

void fs_inode_encode(const struct fs_inode *in, struct fs_inode_val *val)
{
	memset(val, 0, sizeof(*val));
	val->change = cpu_to_le64(in->change);
	val->size = cpu_to_le64(in->size);
	val->bytes = cpu_to_le64(in->bytes);
	if (in->flags & ARCHIL_AF_ORPHAN) {
		val->orphan.deleg = cpu_to_le64(in->orphan_of);
		val->orphan.released = cpu_to_le64(in->released);
	} else {
		val->home.parent = cpu_to_le64(in->parent);
		val->home.cookie = cpu_to_le64(in->cookie);
	}
	if (S_ISDIR(in->mode)) {
		val->dir.next_cookie = cpu_to_le64(in->next_cookie);
		val->dir.entries = cpu_to_le64(in->entries);
	} else if (S_ISREG(in->mode) || S_ISLNK(in->mode)) {
		val->file.writer = cpu_to_le64(in->writer);
		val->file.content_len = cpu_to_le64(in->content_len);
	} else {
		val->dev.major = cpu_to_le64(in->rdev_major);
		val->dev.minor = cpu_to_le64(in->rdev_minor);
	}
	val->atime = in->atime;
	val->mtime = in->mtime;
	val->ctime = in->ctime;
	val->btime = in->btime;
	val->mode = cpu_to_le32(in->mode);
	val->nlink = cpu_to_le32(in->nlink);
	val->uid = cpu_to_le32(in->uid);
	val->gid = cpu_to_le32(in->gid);
	val->flags = cpu_to_le32(in->flags);
	val->xattr_bytes = cpu_to_le32(in->xattr_bytes);
}

int fs_inode_decode(u64 ino, const void *buf, size_t len, struct fs_inode *in)
{
	struct fs_inode_val val;

	if (len != sizeof(val))
		return -EBADMSG;
	memcpy(&val, buf, sizeof(val));
	memset(in, 0, sizeof(*in));
	in->ino = ino;
	in->change = le64_to_cpu(val.change);
	in->size = le64_to_cpu(val.size);
	in->bytes = le64_to_cpu(val.bytes);
	in->mode = le32_to_cpu(val.mode);
	in->nlink = le32_to_cpu(val.nlink);
	in->uid = le32_to_cpu(val.uid);
	in->gid = le32_to_cpu(val.gid);
	in->flags = le32_to_cpu(val.flags);
	in->xattr_bytes = le32_to_cpu(val.xattr_bytes);
	if (in->flags & ARCHIL_AF_ORPHAN) {
		in->orphan_of = le64_to_cpu(val.orphan.deleg);
		in->released = le64_to_cpu(val.orphan.released);
	} else {
		in->parent = le64_to_cpu(val.home.parent);
		in->cookie = le64_to_cpu(val.home.cookie);
	}
	if (S_ISDIR(in->mode)) {
		in->next_cookie = le64_to_cpu(val.dir.next_cookie);
		in->entries = le64_to_cpu(val.dir.entries);
	} else if (S_ISREG(in->mode) || S_ISLNK(in->mode)) {
		in->writer = le64_to_cpu(val.file.writer);
		in->content_len = le64_to_cpu(val.file.content_len);
		if (in->content_len > ARCHIL_INLINE_MAX || in->content_len > in->size)
			return -EBADMSG;
	} else {
		in->rdev_major = le64_to_cpu(val.dev.major);
		in->rdev_minor = le64_to_cpu(val.dev.minor);
	}
	in->atime = val.atime;
	in->mtime = val.mtime;
	in->ctime = val.ctime;
	in->btime = val.btime;
	return 0;
}

void fs_counters_encode(const struct fs_counters *c, struct fs_counters_val *val)
{
	val->next_ino = cpu_to_le64(c->next_ino);
	val->next_deleg = cpu_to_le64(c->next_deleg);
	val->next_session = cpu_to_le64(c->next_session);
	val->next_intent = cpu_to_le64(c->next_intent);
	val->inodes = cpu_to_le64(c->inodes);
}

int fs_counters_decode(const void *buf, size_t len, struct fs_counters *c)
{
	struct fs_counters_val val;

	if (len != sizeof(val))
		return -EBADMSG;
	memcpy(&val, buf, sizeof(val));
	c->next_ino = le64_to_cpu(val.next_ino);
	c->next_deleg = le64_to_cpu(val.next_deleg);
	c->next_session = le64_to_cpu(val.next_session);
	c->next_intent = le64_to_cpu(val.next_intent);
	c->inodes = le64_to_cpu(val.inodes);
	return 0;
}

int fs_released_decode(const void *val, size_t len, struct fs_released_val *list)
{
	if (!len || len > sizeof(*list) || len % sizeof(list->ino[0]))
		return -EBADMSG;
	memcpy(list, val, len);
	return len / sizeof(list->ino[0]);
}

int fs_name_decode(u64 dir, const void *buf, size_t len, struct fs_entry *entry)
{
	struct fs_name_val val;

	if (len != sizeof(val))
		return -EBADMSG;
	memcpy(&val, buf, sizeof(val));
	entry->dir = dir;
	entry->cookie = le64_to_cpu(val.cookie);
	entry->ino = le64_to_cpu(val.ino);
	entry->type = val.type;
	return 0;
}

/* As struct archil_wattr wants it. */
static u64 bytes_of(const struct fs_inode *in)
{
	if (S_ISDIR(in->mode))
		return in->next_cookie;
	if (!S_ISREG(in->mode))
		return 0;
	if (in->flags & ARCHIL_AF_BULK)
		return in->bytes;
	return (in->content_len + SECTOR - 1) / SECTOR * SECTOR;
}

void fs_inode_wattr(const struct fs_inode *in, struct archil_wattr *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = cpu_to_le64(in->ino);
	attr->change = cpu_to_le64(in->change);
	attr->size = cpu_to_le64(S_ISDIR(in->mode) ? DIR_SIZE : in->size);
	attr->bytes = cpu_to_le64(bytes_of(in));
	attr->parent = cpu_to_le64(in->parent);
	attr->atime = in->atime;
	attr->mtime = in->mtime;
	attr->ctime = in->ctime;
	attr->btime = in->btime;
	attr->mode = cpu_to_le32(in->mode);
	attr->nlink = cpu_to_le32(in->nlink);
	attr->uid = cpu_to_le32(in->uid);
	attr->gid = cpu_to_le32(in->gid);
	attr->rdev_major = cpu_to_le32(in->rdev_major);
	attr->rdev_minor = cpu_to_le32(in->rdev_minor);
	attr->flags = cpu_to_le32(in->flags | (in->xattr_bytes ? ARCHIL_AF_XATTR : 0));
}

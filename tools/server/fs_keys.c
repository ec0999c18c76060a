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

void fs_key_inode(struct fs_key *key, u64 ino)
{
	fs_key1(key, FS_INODE, ino / FS_PACK);
}

void fs_key_entry(struct fs_key *key, u64 dir, u64 cookie)
{
	fs_key2(key, FS_ENTRY, dir, cookie / FS_PACK);
}

void fs_key_xattr(struct fs_key *key, u64 ino, const char *name, size_t len)
{
	fs_key1(key, FS_XATTR, ino);
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

/* ---- numbers of variable length ---- */

static u8 *put_var(u8 *p, u64 nr)
{
	for (; nr > 0x7f; nr >>= 7)
		*p++ = nr | 0x80;
	*p++ = nr;
	return p;
}

/* NULL: it is longer than the buffer or than a number. */
static const u8 *get_var(const u8 *p, const u8 *end, u64 *nr)
{
	unsigned int shift;
	u64 got = 0;
	u8 byte;

	for (shift = 0; p < end && shift < 64; shift += 7) {
		byte = *p++;
		if (shift == 63 && byte > 1)
			return NULL;
		got |= (u64)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*nr = got;
			return p;
		}
	}
	return NULL;
}

/* Small ones of either sign become small. */
static u64 fold(u64 nr)
{
	return nr << 1 ^ -(nr >> 63);
}

static u64 unfold(u64 nr)
{
	return nr >> 1 ^ -(nr & 1);
}

/* ---- inodes ---- */

/* Those of every new file come first. */
enum {
	F_CHANGE, F_MODE, F_HOME_DIR, F_HOME_COOKIE, F_MTIME, F_MTIME_NSEC, F_SIZE,
	F_CONTENT_LEN, F_NEXT_COOKIE, F_ENTRIES, F_SPLITS, F_NLINK, F_UID, F_GID, F_FLAGS,
	F_XATTR_BYTES, F_BYTES, F_WRITER, F_RDEV_MAJOR, F_RDEV_MINOR,
	F_ATIME, F_ATIME_NSEC, F_CTIME, F_CTIME_NSEC, F_BTIME, F_BTIME_NSEC,
	FIELDS
};

static u32 usual_nlink(const struct fs_inode *in)
{
	return S_ISDIR(in->mode) ? 2 : 1;
}

static void put_time(u64 *field, const struct archil_time *time, const struct archil_time *base)
{
	field[0] = fold(le64_to_cpu(time->sec) - (base ? le64_to_cpu(base->sec) : 0));
	field[1] = le32_to_cpu(time->nsec) ^ (base ? le32_to_cpu(base->nsec) : 0);
}

static void get_time(const u64 *field, struct archil_time *time, const struct archil_time *base)
{
	time->sec = cpu_to_le64(unfold(field[0]) + (base ? le64_to_cpu(base->sec) : 0));
	time->nsec = cpu_to_le32((u32)field[1] ^ (base ? le32_to_cpu(base->nsec) : 0));
}

static void to_fields(const struct fs_inode *in, u64 *f)
{
	bool orphan = in->flags & ARCHIL_AF_ORPHAN;

	f[F_CHANGE] = in->change;
	f[F_MODE] = in->mode;
	f[F_HOME_DIR] = orphan ? in->orphan_of : in->parent;
	f[F_HOME_COOKIE] = orphan ? in->released : in->cookie;
	put_time(&f[F_MTIME], &in->mtime, NULL);
	f[F_SIZE] = in->size;
	f[F_CONTENT_LEN] = in->content_len;
	f[F_NEXT_COOKIE] = in->next_cookie;
	f[F_ENTRIES] = in->entries;
	f[F_SPLITS] = in->splits;
	f[F_NLINK] = in->nlink ^ usual_nlink(in);
	f[F_UID] = in->uid;
	f[F_GID] = in->gid;
	f[F_FLAGS] = in->flags;
	f[F_XATTR_BYTES] = in->xattr_bytes;
	f[F_BYTES] = in->bytes;
	f[F_WRITER] = in->writer;
	f[F_RDEV_MAJOR] = in->rdev_major;
	f[F_RDEV_MINOR] = in->rdev_minor;
	put_time(&f[F_ATIME], &in->atime, &in->mtime);
	put_time(&f[F_CTIME], &in->ctime, &in->mtime);
	put_time(&f[F_BTIME], &in->btime, &in->mtime);
}

static void from_fields(const u64 *f, struct fs_inode *in)
{
	in->change = f[F_CHANGE];
	in->mode = f[F_MODE];
	in->flags = f[F_FLAGS];
	if (in->flags & ARCHIL_AF_ORPHAN) {
		in->orphan_of = f[F_HOME_DIR];
		in->released = f[F_HOME_COOKIE];
	} else {
		in->parent = f[F_HOME_DIR];
		in->cookie = f[F_HOME_COOKIE];
	}
	get_time(&f[F_MTIME], &in->mtime, NULL);
	in->size = f[F_SIZE];
	in->content_len = f[F_CONTENT_LEN];
	in->next_cookie = f[F_NEXT_COOKIE];
	in->entries = f[F_ENTRIES];
	in->splits = f[F_SPLITS];
	in->nlink = f[F_NLINK] ^ usual_nlink(in);
	in->uid = f[F_UID];
	in->gid = f[F_GID];
	in->xattr_bytes = f[F_XATTR_BYTES];
	in->bytes = f[F_BYTES];
	in->writer = f[F_WRITER];
	in->rdev_major = f[F_RDEV_MAJOR];
	in->rdev_minor = f[F_RDEV_MINOR];
	get_time(&f[F_ATIME], &in->atime, &in->mtime);
	get_time(&f[F_CTIME], &in->ctime, &in->mtime);
	get_time(&f[F_BTIME], &in->btime, &in->mtime);
}

/* Two bits a field, the first lowest: how many bytes it takes. */
enum { W_0, W_2, W_4, W_8 };

#define LOW_BITS	0x5555555555555555ull
#define WIDE(field)	(1ull << 2 * (field))
/* W_8, which has both bits, in those of 32 bits. */
#define TOO_WIDE	(WIDE(F_MODE) | WIDE(F_MTIME_NSEC) | WIDE(F_NLINK) | WIDE(F_UID) | WIDE(F_GID) | \
			 WIDE(F_FLAGS) | WIDE(F_XATTR_BYTES) | WIDE(F_RDEV_MAJOR) | \
			 WIDE(F_RDEV_MINOR) | WIDE(F_ATIME_NSEC) | WIDE(F_CTIME_NSEC) | \
			 WIDE(F_BTIME_NSEC))

static u8 *put_field(u8 *p, u64 nr, unsigned int width)
{
	__le64 le = cpu_to_le64(nr);
	size_t len = (size_t)1 << width;

	memcpy(p, &le, len);
	return p + len;
}

size_t fs_inode_encode(const struct fs_inode *in, u8 *buf)
{
	u64 f[FIELDS], widths = 0;
	u8 *p = buf + sizeof(widths);
	unsigned int i, width;

	to_fields(in, f);
	for (i = 0; i < FIELDS; i++) {
		if (!f[i])
			continue;
		width = f[i] >> 32 ? W_8 : f[i] >> 16 ? W_4 : W_2;
		widths |= (u64)width << 2 * i;
		p = put_field(p, f[i], width);
	}
	put_field(buf, widths, W_8);
	return p - buf;
}

/* NULL: the bytes end before. Mostly others follow, so that 8 can be read, whatever the width. */
static const u8 *get_field(const u8 *p, const u8 *end, unsigned int width, u64 *nr)
{
	static const u64 mask[] = { [W_2] = UINT16_MAX, [W_4] = UINT32_MAX, [W_8] = UINT64_MAX };
	ptrdiff_t len = (ptrdiff_t)1 << width;
	__le64 le = 0;

	if (end - p >= (ptrdiff_t)sizeof(le))
		memcpy(&le, p, sizeof(le));
	else if (end - p >= len)
		memcpy(&le, p, len);
	else
		return NULL;
	*nr = le64_to_cpu(le) & mask[width];
	return p + len;
}

int fs_inode_decode(u64 ino, const void *val, size_t len, struct fs_inode *in)
{
	const u8 *p = val, *end = p + len;
	u64 f[FIELDS] = {}, widths, used;
	unsigned int bit;

	p = get_field(p, end, W_8, &widths);
	if (!p || widths >> 2 * FIELDS || (widths & (widths >> 1) & TOO_WIDE))
		return -EBADMSG;
	for (used = (widths | widths >> 1) & LOW_BITS; used; used &= used - 1) {
		bit = __builtin_ctzll(used);
		p = get_field(p, end, widths >> bit & 3, &f[bit / 2]);
		if (!p)
			return -EBADMSG;
	}
	if (p != end)
		return -EBADMSG;
	memset(in, 0, sizeof(*in));
	in->ino = ino;
	from_fields(f, in);
	if (in->content_len > ARCHIL_INLINE_MAX || in->content_len > in->size ||
	    in->splits >= FS_SPLITS_MAX)
		return -EBADMSG;
	return 0;
}

/* ---- entries ---- */

size_t fs_entry_encode(const struct fs_entry *entry, const char *name, size_t len, u8 *buf)
{
	u8 *p = put_var(buf, entry->ino << 4 | entry->type);

	memcpy(p, name, len);
	return p + len - buf;
}

int fs_entry_decode(const struct fs_item *item, struct fs_entry *entry, const char **name,
		    size_t *len)
{
	const u8 *end = item->data + item->len, *p;
	u64 nr;

	p = get_var(item->data, end, &nr);
	if (!p || p == end || end - p > ARCHIL_NAME_LEN)
		return -EBADMSG;
	entry->ino = nr >> 4;
	entry->type = nr & 15;
	*name = (const char *)p;
	*len = end - p;
	return 0;
}

/* ---- the rest ---- */

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

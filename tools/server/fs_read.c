// SPDX-License-Identifier: GPL-2.0
/* Reading a view: attributes, names, listings, small contents, xattrs, paths. */
#include <stdio.h>

#include "fs_priv.h"

enum { SEEK_TO_DATA = 3, SEEK_TO_HOLE = 4 };	/* struct archil_seek_req */

int fs_contents(struct fs_view *view, const struct fs_inode *in, struct store_value *val)
{
	struct fs_key key;
	int err;

	fs_key1(&key, FS_CONTENT, in->ino);
	err = fs_get(view, &key, val);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (val->len == in->content_len)
		return 0;
	store_value_put(val);
	return -EBADMSG;
}

static int fill_rep(struct fs_view *view, const struct fs_inode *in, struct archil_attr_rep *rep,
		    char *target)
{
	struct store_value val;
	int err;

	fs_inode_wattr(in, &rep->attr);
	if (!target || !S_ISLNK(in->mode))
		return 0;
	err = fs_contents(view, in, &val);
	if (err)
		return err;
	if (val.len <= ARCHIL_PATH_LEN) {
		memcpy(target, val.data, val.len);
		rep->target_len = cpu_to_le16(val.len);
	} else {
		err = -EBADMSG;
	}
	store_value_put(&val);
	return err;
}

int fs_getattr(struct fs_view *view, u64 ino, struct archil_attr_rep *rep, char *target)
{
	struct fs_inode in;
	int err;

	memset(rep, 0, sizeof(*rep));
	err = fs_inode_read(view, ino, &in);
	return err ? err : fill_rep(view, &in, rep, target);
}

int fs_dir_read(struct fs_view *view, u64 ino, struct fs_inode *dir)
{
	int err = fs_inode_read(view, ino, dir);

	if (err)
		return err;
	return S_ISDIR(dir->mode) ? 0 : -ENOTDIR;
}

/* The inode of an entry must be there. */
static int read_child(struct fs_view *view, u64 ino, struct fs_inode *in)
{
	int err = fs_inode_read(view, ino, in);

	return err == -ESTALE ? -EBADMSG : err;
}

int fs_lookup(struct fs_view *view, u64 dir, const char *name, size_t len,
	      struct archil_attr_rep *rep, char *target)
{
	struct fs_entry entry;
	struct fs_inode in;
	int err;

	memset(rep, 0, sizeof(*rep));
	err = fs_dir_read(view, dir, &in);
	if (err)
		return err;
	rep->dir_change = cpu_to_le64(in.change);
	err = fs_entry_find(view, &in, name, len, &entry);
	if (err)
		return err;
	err = read_child(view, entry.ino, &in);
	return err ? err : fill_rep(view, &in, rep, target);
}

/* ---- small contents ---- */

static int read_file(struct fs_view *view, u64 ino, struct fs_inode *in)
{
	int err = fs_inode_read(view, ino, in);

	if (err)
		return err;
	if (S_ISREG(in->mode))
		return 0;
	return S_ISDIR(in->mode) ? -EISDIR : -EINVAL;
}

int fs_file(struct fs_view *view, u64 ino, struct fs_file *file)
{
	struct fs_inode in;
	int err = read_file(view, ino, &in);

	if (err)
		return err;
	*file = (struct fs_file){
		.size = in.size,
		.writer = in.writer,
		.parent = in.flags & ARCHIL_AF_ORPHAN ? 0 : in.parent,
		.change = in.change,
		.bulk = in.flags & ARCHIL_AF_BULK,
	};
	return 0;
}

int fs_read(struct fs_view *view, u64 ino, u64 off, size_t len, void *buf, size_t *got,
	    struct archil_read_rep *rep)
{
	struct store_value val;
	struct fs_inode in;
	int err;

	memset(rep, 0, sizeof(*rep));
	*got = 0;
	err = read_file(view, ino, &in);
	if (err)
		return err;
	rep->change = cpu_to_le64(in.change);
	rep->size = cpu_to_le64(in.size);
	if (in.flags & ARCHIL_AF_BULK)
		return 1;
	if (off >= in.content_len)
		return 0;
	err = fs_contents(view, &in, &val);
	if (err)
		return err;
	*got = in.content_len - off < len ? in.content_len - off : len;
	memcpy(buf, (const u8 *)val.data + off, *got);
	store_value_put(&val);
	return 0;
}

int fs_seek(struct fs_view *view, u64 ino, u64 off, u32 whence, u64 *out, u64 *size)
{
	struct fs_inode in;
	int err;

	err = read_file(view, ino, &in);
	if (err)
		return err == -EISDIR ? -EINVAL : err;
	*size = in.size;
	if (whence != SEEK_TO_DATA && whence != SEEK_TO_HOLE)
		return -EINVAL;
	if (in.flags & ARCHIL_AF_BULK)
		return 1;
	if (off >= in.size || (whence == SEEK_TO_DATA && off >= in.content_len))
		return -ENXIO;
	*out = off;
	if (whence == SEEK_TO_HOLE && off < in.content_len)
		*out = in.content_len;
	return 0;
}

/* ---- xattrs ---- */

int fs_getxattr(struct fs_view *view, u64 ino, const char *name, size_t name_len,
		void *buf, size_t cap, size_t *len)
{
	struct store_value val;
	struct fs_inode in;
	struct fs_key key;
	int err;

	err = fs_inode_read(view, ino, &in);
	if (err)
		return err;
	if (!in.xattr_bytes || !name_len || name_len > ARCHIL_NAME_LEN)
		return -ENODATA;
	fs_key_xattr(&key, ino, name, name_len);
	err = fs_get(view, &key, &val);
	if (err)
		return err == -ENOENT ? -ENODATA : err;
	*len = val.len;
	if (val.len > cap)
		err = -ERANGE;
	else
		memcpy(buf, val.data, val.len);
	store_value_put(&val);
	return err;
}

int fs_listxattr(struct fs_view *view, u64 ino, char *buf, size_t cap, size_t *len)
{
	struct fs_key prefix;
	struct fs_scan scan;
	struct fs_inode in;
	size_t n;
	int r;

	*len = 0;
	r = fs_inode_read(view, ino, &in);
	if (r || !in.xattr_bytes)
		return r;
	if (in.xattr_bytes > cap)
		return -E2BIG;
	fs_key1(&prefix, FS_XATTR, ino);
	r = fs_scan_open(view, &prefix, &scan);
	if (r)
		return r;
	for (r = fs_scan_first(&scan, NULL); r > 0; r = fs_scan_next(&scan)) {
		n = scan.key_len - prefix.len;
		if (n + 1 > cap - *len) {
			r = -EBADMSG;	/* more than the inode counts */
			break;
		}
		memcpy(buf + *len, scan.key + prefix.len, n);
		buf[*len + n] = '\0';
		*len += n + 1;
	}
	fs_scan_close(&scan);
	return r;
}

/* ---- paths ---- */

int fs_resolve(struct fs_view *view, const char *path, size_t len, u64 *ino)
{
	const char *end = path + len, *slash;
	struct fs_entry entry;
	struct fs_inode dir;
	size_t n;
	int err;

	*ino = ARCHIL_INO_ROOT;
	while (path < end) {
		slash = memchr(path, '/', end - path);
		n = (slash ? slash : end) - path;
		if (n) {
			if (!archil_name_ok(path, n))
				return n > ARCHIL_NAME_LEN ? -ENOENT : -EINVAL;
			err = fs_dir_read(view, *ino, &dir);
			if (err)
				return err;
			err = fs_entry_find(view, &dir, path, n, &entry);
			if (err)
				return err;
			*ino = entry.ino;
		}
		path += n + !!slash;
	}
	return 0;
}

/* Put "/name" of a home link in front of what ends at @end; 0 when it does not fit. */
static int prepend_name(struct fs_view *view, const struct fs_inode *in, char *buf, size_t *at)
{
	struct fs_entry entry;
	struct store_value val;
	const char *name;
	size_t n;
	int err;

	err = fs_entry_at(view, in->parent, in->cookie, &val, &entry, &name, &n);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (n + 1 <= *at) {
		*at -= n + 1;
		buf[*at] = '/';
		memcpy(buf + *at + 1, name, n);
		err = 1;
	}
	store_value_put(&val);
	return err;
}

int fs_path(struct fs_view *view, u64 ino, char *buf, size_t cap)
{
	static const char dots[] = "...";
	struct fs_inode in;
	size_t at = cap - 1;
	char *slash;
	int r;

	if (cap < sizeof("(removed)"))
		return -EINVAL;
	r = fs_inode_read(view, ino, &in);
	if (r)
		return r;
	buf[at] = '\0';
	while (in.ino != ARCHIL_INO_ROOT) {
		if (in.flags & ARCHIL_AF_ORPHAN) {
			strcpy(buf, "(removed)");
			return 0;
		}
		r = prepend_name(view, &in, buf, &at);
		if (r < 0)
			return r;
		if (!r) {	/* names give way until there is room for the dots */
			while (at < strlen(dots) && (slash = strchr(buf + at + 1, '/')))
				at = slash - buf;
			if (at < strlen(dots))
				at = strlen(dots);
			at -= strlen(dots);
			memcpy(buf + at, dots, strlen(dots));
			break;
		}
		r = read_child(view, in.parent, &in);
		if (r)
			return r;
	}
	if (!buf[at])
		buf[--at] = '/';
	memmove(buf, buf + at, cap - at);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/* Extended attributes: user, trusted, security. Read from the server, changed through the log. */
#include <linux/capability.h>
#include <linux/slab.h>
#include <linux/xattr.h>

#include "inode.h"

/* Ask; the payload goes to a buffer of the request's. */
static struct archil_req *archil_xattr_ask(struct inode *inode, enum archil_op op,
					   const char *name, size_t name_len)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_getxattr_req *get;
	struct archil_listxattr_req *list;
	struct archil_req *req;
	int err = archil_ask_settled(inode);

	if (err)
		return ERR_PTR(err);
	req = archil_req_new(m, op, name ? sizeof(*get) + name_len : sizeof(*list), 0, GFP_KERNEL);
	if (!req)
		return ERR_PTR(-ENOMEM);
	if (name) {
		get = req->body;
		get->ino = cpu_to_le64(archil_i(inode)->ino);
		get->name_len = cpu_to_le16(name_len);
		memcpy(get + 1, name, name_len);
	} else {
		list = req->body;
		list->ino = cpu_to_le64(archil_i(inode)->ino);
	}
	req->in_buf = kvmalloc(ARCHIL_XATTR_SIZE, GFP_KERNEL);
	req->in_cap = ARCHIL_XATTR_SIZE;
	req->release = archil_req_free_in_buf;
	err = req->in_buf ? archil_req_call(req) : -ENOMEM;
	if (err) {
		archil_req_put(req);
		return ERR_PTR(err);
	}
	return req;
}

/* Most inodes have none, and what we know of them says so. */
static bool archil_has_no_xattr(struct inode *inode)
{
	return archil_inode_valid(inode) && test_bit(ARCHIL_I_NO_XATTR, &archil_i(inode)->flags);
}

static int archil_xattr_get(const struct xattr_handler *handler, struct dentry *dentry,
			    struct inode *inode, const char *name, void *buffer, size_t size)
{
	const char *full = xattr_full_name(handler, name);
	struct archil_req *req;
	int ret;

	if (archil_has_no_xattr(inode))
		return -ENODATA;
	if (strlen(full) > ARCHIL_NAME_LEN)
		return -ERANGE;
	req = archil_xattr_ask(inode, ARCHIL_OP_GETXATTR, full, strlen(full));
	if (IS_ERR(req))
		return PTR_ERR(req);
	ret = req->in_len;
	if (size && ret > size)
		ret = -ERANGE;
	else if (size)
		memcpy(buffer, req->in_buf, ret);
	archil_req_put(req);
	return ret;
}

static int archil_xattr_set(const struct xattr_handler *handler, struct mnt_idmap *idmap,
			    struct dentry *dentry, struct inode *inode, const char *name,
			    const void *value, size_t size, int flags)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	const char *full = xattr_full_name(handler, name);
	struct timespec64 now = current_time(inode);
	struct archil_record rec = {
		.type = value ? ARCHIL_REC_SETXATTR : ARCHIL_REC_RMXATTR,
		.ino = ai->ino,
		.name = full,
		.name_len = strlen(full),
		.data = value,
		.data_len = size,
	};
	struct archil_batch_rec *e;
	struct archil_deleg *d;
	u64 seq, number;
	int err;

	archil_time_to_wire(&rec.time, now);
	if (strlen(full) > ARCHIL_NAME_LEN)
		return -ERANGE;
	if (size > ARCHIL_XATTR_SIZE)
		return -E2BIG;
again:
	err = archil_own(inode, true, dentry, &d);
	if (err)
		return err;
	number = d->number;
	archil_deleg_leave(d);
	/* The inode is locked, so the answer holds as long as it is ours. */
	if (flags || !value) {
		err = archil_xattr_get(handler, dentry, inode, name, NULL, 0);
		if (err == -ENODATA && ((flags & XATTR_REPLACE) || !value))
			return -ENODATA;
		if (err >= 0 && (flags & XATTR_CREATE))
			return -EEXIST;
		if (err < 0 && err != -ENODATA)
			return err;
	}
	e = archil_log_rec_new(m, &rec, ARCHIL_LOG_WAIT);
	if (IS_ERR(e))
		return PTR_ERR(e);
	err = archil_own(inode, true, dentry, &d);
	if (err) {
		archil_log_rec_free(m, e);
		return err;
	}
	if (archil_inode_gone(inode)) {
		archil_deleg_leave(d);
		archil_log_rec_free(m, e);
		return -ESTALE;
	}
	if (d->number != number) {
		archil_deleg_leave(d);
		archil_log_rec_free(m, e);
		goto again;
	}
	seq = archil_log_append(d, e);
	if (seq) {
		inode_set_ctime_to_ts(inode, now);
		spin_lock(&ai->lock);
		archil_inode_recorded(inode, seq);
		spin_unlock(&ai->lock);
		if (value)
			clear_bit(ARCHIL_I_NO_XATTR, &ai->flags);
	}
	archil_deleg_leave(d);
	return seq ? 0 : -EIO;
}

ssize_t archil_listxattr(struct dentry *dentry, char *list, size_t size)
{
	struct inode *inode = d_inode(dentry);
	bool trusted = capable(CAP_SYS_ADMIN);
	const char *name, *end;
	struct archil_req *req;
	ssize_t ret = 0;
	size_t len;

	ret = archil_revalidate(inode, false);
	if (ret || archil_has_no_xattr(inode))
		return ret;
	req = archil_xattr_ask(inode, ARCHIL_OP_LISTXATTR, NULL, 0);
	if (IS_ERR(req))
		return PTR_ERR(req);
	end = (char *)req->in_buf + req->in_len;
	for (name = req->in_buf; name < end; name += len) {
		len = strnlen(name, end - name) + 1;
		if (len > end - name) {
			ret = -EUCLEAN;
			break;
		}
		if (!trusted && !strncmp(name, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN))
			continue;
		if (size && ret + len > size) {
			ret = -ERANGE;
			break;
		}
		if (size)
			memcpy(list + ret, name, len);
		ret += len;
	}
	archil_req_put(req);
	return ret;
}

static const struct xattr_handler archil_xattr_user = {
	.prefix	= XATTR_USER_PREFIX,
	.get	= archil_xattr_get,
	.set	= archil_xattr_set,
};

static bool archil_xattr_trusted_list(struct dentry *dentry)
{
	return capable(CAP_SYS_ADMIN);
}

static const struct xattr_handler archil_xattr_trusted = {
	.prefix	= XATTR_TRUSTED_PREFIX,
	.list	= archil_xattr_trusted_list,
	.get	= archil_xattr_get,
	.set	= archil_xattr_set,
};

static const struct xattr_handler archil_xattr_security = {
	.prefix	= XATTR_SECURITY_PREFIX,
	.get	= archil_xattr_get,
	.set	= archil_xattr_set,
};

const struct xattr_handler * const archil_xattr_handlers[] = {
	&archil_xattr_security,	/* asked for most, by the kernel and by ls -l */
	&archil_xattr_user,
	&archil_xattr_trusted,
	NULL,
};

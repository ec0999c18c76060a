// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls: on any file or directory of a mount, and on /dev/archil for a mount
 * that cannot be reached by a path. The structures are of several KiB and live
 * on the heap; each is copied in whole, and what the caller does not set is zero
 * on the way out.
 */
#include <linux/backing-dev.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/miscdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "inode.h"
#include "ioctl.h"
#include "netlink.h"

/*
 * Copy in, and check what every structure begins with: its size and flags. The
 * caller frees. ERR_PTR(-EFAULT), -ENOMEM, -EINVAL.
 */
static void *archil_ioc_get(const void __user *uarg, size_t size, u32 flags_known)
{
	struct archil_ioc_flags *head;

	head = memdup_user(uarg, size);
	if (IS_ERR(head))
		return head;
	if (head->size != size || (head->flags & ~flags_known)) {
		kfree(head);
		return ERR_PTR(-EINVAL);
	}
	return head;
}

static bool archil_ioc_zero(const void *field, size_t size)
{
	return !memchr_inv(field, 0, size);
}

/* What was done is told; so is who is in the way. */
static int archil_ioc_result(void __user *uarg, const void *arg, size_t size, int err)
{
	if (err && err != -EBUSY)
		return err;
	return copy_to_user(uarg, arg, size) ? -EFAULT : err;
}

/* ---- ownership ---- */

static int archil_ioc_checkout(struct file *file, void __user *uarg)
{
	struct archil_ioc_checkout *arg;
	int err = -EINVAL;

	arg = archil_ioc_get(uarg, sizeof(*arg), ARCHIL_CHECKOUT_FORCE);
	if (IS_ERR(arg))
		return PTR_ERR(arg);
	if (arg->reserved0 || !archil_ioc_zero(arg->reserved, sizeof(arg->reserved)))
		goto out;
	arg->covered = 0;
	arg->number = 0;
	memset(&arg->holder, 0, sizeof(arg->holder));
	err = archil_checkout(file_dentry(file), arg);
	err = archil_ioc_result(uarg, arg, sizeof(*arg), err);
out:
	kfree(arg);
	return err;
}

/* Whoever could have checked it out, and the owner of a file that is read-only for all. */
static int archil_may_checkin(struct file *file)
{
	struct inode *inode = file_inode(file);

	if (sb_rdonly(inode->i_sb) || uid_eq(current_fsuid(), inode->i_uid))
		return 0;
	return inode_permission(file_mnt_idmap(file), inode, MAY_WRITE);
}

static int archil_ioc_checkin(struct file *file, void __user *uarg)
{
	struct archil_ioc_checkin *arg;
	int err = -EINVAL;

	arg = archil_ioc_get(uarg, sizeof(*arg), 0);
	if (IS_ERR(arg))
		return PTR_ERR(arg);
	if (arg->reserved0 || !archil_ioc_zero(arg->reserved, sizeof(arg->reserved)))
		goto out;
	err = archil_may_checkin(file);
	if (err)
		goto out;
	arg->released = 0;
	memset(&arg->holder, 0, sizeof(arg->holder));
	err = archil_checkin(file_dentry(file), arg);
	err = archil_ioc_result(uarg, arg, sizeof(*arg), err);
out:
	kfree(arg);
	return err;
}

/* ---- looking ---- */

static u32 archil_status_state(struct archil_mount *m)
{
	switch (READ_ONCE(m->tp.state)) {
	case ARCHIL_TP_UP:
		return ARCHIL_CONN_UP;
	case ARCHIL_TP_LOST:
		return ARCHIL_CONN_LOST;
	case ARCHIL_TP_OVER:
		break;
	}
	return ARCHIL_CONN_OVER;
}

static void archil_status_counters(struct archil_transport *tp, struct archil_ioc_status *st)
{
	unsigned int op;

	BUILD_BUG_ON(ARRAY_SIZE(st->requests_by_op) != ARRAY_SIZE(tp->requests));
	for (op = 0; op < ARRAY_SIZE(st->requests_by_op); op++) {
		st->requests_by_op[op] = atomic64_read(&tp->requests[op]);
		st->requests += st->requests_by_op[op];
	}
	st->resent = atomic64_read(&tp->resent);
	st->reconnects = atomic64_read(&tp->reconnects);
	st->bytes_sent = atomic64_read(&tp->tx_bytes);
	st->bytes_received = atomic64_read(&tp->rx_bytes);
	st->records = atomic64_read(&tp->records);
	st->batches = atomic64_read(&tp->batches);
}

static void archil_status_backlog(struct archil_mount *m, struct archil_ioc_status *st)
{
	struct archil_deleg *d;
	u64 number = 0;

	while ((d = archil_deleg_next(m, number))) {
		number = d->number;
		st->backlog_records += atomic_read(&d->log.backlog);
		st->backlog_bytes += atomic64_read(&d->log.backlog_bytes);
		archil_deleg_put(d);
		cond_resched();
	}
}

void archil_status_fill(struct archil_mount *m, struct archil_ioc_status *st)
{
	struct bdi_writeback *wb = &m->sb->s_bdi->wb;

	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	st->state = archil_status_state(m);
	if (m->flags & ARCHIL_MOUNT_SHARED)
		st->mount_flags |= ARCHIL_STATUS_SHARED;
	if (sb_rdonly(m->sb))
		st->mount_flags |= ARCHIL_STATUS_RO;
	if (archil_agent_alive(m->net))
		st->mount_flags |= ARCHIL_STATUS_AGENT;
	st->mount_id = m->id;
	st->session = m->session;
	st->epoch = READ_ONCE(m->tp.epoch);
	st->delegations = READ_ONCE(m->delegs.count);
	st->taken = atomic64_read(&m->taken);
	st->dirty_bytes = wb_stat_sum(wb, WB_RECLAIMABLE) << PAGE_SHIFT;
	st->writeback_bytes = wb_stat_sum(wb, WB_WRITEBACK) << PAGE_SHIFT;
	st->credit_bytes = max_t(s64, READ_ONCE(m->credit.avail), 0);
	archil_status_backlog(m, st);
	archil_status_counters(&m->tp, st);
	strscpy(st->server, m->server, sizeof(st->server));
	strscpy(st->disk, m->disk, sizeof(st->disk));
	strscpy(st->subdir, m->subdir, sizeof(st->subdir));
}

static int archil_ioc_status(struct archil_mount *m, void __user *uarg)
{
	struct archil_ioc_status *st;
	int err = -EINVAL;

	st = archil_ioc_get(uarg, sizeof(*st), 0);
	if (IS_ERR(st))
		return PTR_ERR(st);
	if (archil_ioc_zero(st->reserved, sizeof(st->reserved))) {
		archil_status_fill(m, st);
		err = archil_ioc_result(uarg, st, sizeof(*st), 0);
	}
	kfree(st);
	return err;
}

/* Names of what others work in, in directories that are closed to the asker, are not for him. */
static bool archil_may_see_path(struct dentry *root)
{
	return ns_capable(root->d_sb->s_user_ns, CAP_SYS_ADMIN) ||
	       uid_eq(current_fsuid(), d_inode(root)->i_uid);
}

/* The path of its root as seen from the mounted root, or "" if no name is known or to be seen. */
static void archil_deleg_path(struct archil_deleg *d, char *buf, int size)
{
	struct dentry *root = NULL;
	char *path;

	spin_lock(&d->mount->delegs.lock);
	if (d->root)
		root = dget(d->root);
	spin_unlock(&d->mount->delegs.lock);
	if (root && archil_may_see_path(root)) {
		path = dentry_path_raw(root, buf, size);
		if (IS_ERR(path))
			buf[0] = 0;
		else
			memmove(buf, path, buf + size - path);
	}
	dput(root);
}

/* The next that is still held; one that was lost is not listed any more. */
static struct archil_deleg *archil_deleg_next_held(struct archil_mount *m, u64 number)
{
	struct archil_deleg *d;

	while ((d = archil_deleg_next(m, number)) &&
	       READ_ONCE(d->state) > ARCHIL_OWN_DRAINING) {
		number = d->number;
		archil_deleg_put(d);
	}
	return d;
}

static int archil_ioc_delegation(struct archil_mount *m, void __user *uarg)
{
	struct archil_ioc_delegation *arg;
	struct archil_deleg *d;
	int err = -EINVAL;

	arg = archil_ioc_get(uarg, sizeof(*arg), 0);
	if (IS_ERR(arg))
		return PTR_ERR(arg);
	if (!archil_ioc_zero(arg->reserved, sizeof(arg->reserved)))
		goto out;
	err = -ENOENT;
	d = archil_deleg_next_held(m, arg->cursor);
	if (!d)
		goto out;
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->cursor = d->number;
	arg->number = d->number;
	arg->ino = d->ino;
	arg->since_ns = d->since;
	arg->state = READ_ONCE(d->state) == ARCHIL_OWN_LIVE ? ARCHIL_DELEG_LIVE :
							      ARCHIL_DELEG_DRAINING;
	arg->origin = d->origin;
	arg->backlog = atomic_read(&d->log.backlog);
	archil_deleg_path(d, arg->path, sizeof(arg->path));
	archil_deleg_put(d);
	err = archil_ioc_result(uarg, arg, sizeof(*arg), 0);
out:
	kfree(arg);
	return err;
}

/* ---- the session as a whole ---- */

static int archil_ioc_flags_get(void __user *uarg)
{
	struct archil_ioc_flags arg;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.size != sizeof(arg) || arg.flags ||
	    !archil_ioc_zero(arg.reserved, sizeof(arg.reserved)))
		return -EINVAL;
	return 0;
}

static int archil_ioc_abort(struct archil_mount *m, struct super_block *sb)
{
	if (!ns_capable(sb->s_user_ns, CAP_SYS_ADMIN))
		return -EPERM;
	archil_mount_abort(m);
	return 0;
}

long archil_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct super_block *sb = file_inode(file)->i_sb;
	struct archil_mount *m = archil_mnt(sb);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case ARCHIL_IOC_CHECKOUT:
		return archil_ioc_checkout(file, uarg);
	case ARCHIL_IOC_CHECKIN:
		return archil_ioc_checkin(file, uarg);
	case ARCHIL_IOC_STATUS:
		return archil_ioc_status(m, uarg);
	case ARCHIL_IOC_DELEGATION:
		return archil_ioc_delegation(m, uarg);
	case ARCHIL_IOC_SYNC:
		return archil_ioc_flags_get(uarg) ?: archil_mount_sync(m);
	case ARCHIL_IOC_ABORT:
		return archil_ioc_flags_get(uarg) ?: archil_ioc_abort(m, sb);
	}
	return -ENOTTY;
}

/* ---- /dev/archil ---- */

static int archil_dev_abort(void __user *uarg)
{
	struct archil_dev_abort arg;
	struct archil_mount *m;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.size != sizeof(arg) || arg.flags ||
	    !archil_ioc_zero(arg.reserved, sizeof(arg.reserved)))
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	m = archil_mount_get(arg.mount_id);
	if (!m)
		return -ENOENT;
	archil_mount_abort(m);
	archil_mount_put(m);
	return 0;
}

static long archil_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd == ARCHIL_DEV_ABORT)
		return archil_dev_abort((void __user *)arg);
	return -ENOTTY;
}

static const struct file_operations archil_dev_fops = {
	.owner		= THIS_MODULE,
	.open		= nonseekable_open,
	.unlocked_ioctl	= archil_dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice archil_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "archil",
	.fops	= &archil_dev_fops,
	.mode	= 0600,
};

int __init archil_dev_init(void)
{
	return misc_register(&archil_dev);
}

void archil_dev_exit(void)
{
	misc_deregister(&archil_dev);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Mounting, unmounting, and what concerns a whole file system.
 *
 * Mounting: OPEN_SESSION goes up to the agent before there is a superblock, with no lock of
 * the VFS's held but the caller's own. A mount that fails after the session was
 * opened closes it.
 *
 * Unmounting, in this order; signals do not break it off (they may be from long before), but
 * umount -f or archilctl abort do:
 * 1. everything is written back while the superblock still works;
 * 2. delegations and requests let go of their dentries, and the superblock dies;
 *    evicting orphans appends their RELEASE records;
 * 3. the logs are drained again;
 * 4. CLOSE_SESSION on the data connection, so no agent is needed;
 * 5. the connection ends, the agent is told to forget the mount.
 */
#include <linux/backing-dev.h>
#include <linux/delay.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/writeback.h>
#include <net/sock.h>

#include "debugfs.h"
#include "inode.h"
#include "names.h"
#include "netlink.h"
#include "pagecache.h"

#define ARCHIL_READ_AHEAD	(4 << 20)	/* bytes */
#define ARCHIL_IO_MAX		(1 << 20)	/* bytes */
#define ARCHIL_DIRTY_RATIO	75		/* percent of vm.dirty_ratio, for all of a mount */
#define ARCHIL_CLOSE_PATIENCE	(5L * HZ)	/* with a killed umount's CLOSE_SESSION */

static LIST_HEAD(archil_mounts);
static DEFINE_MUTEX(archil_mounts_lock);
static u64 archil_next_mount = 1;	/* protected by archil_mounts_lock */

/* ---- mounts ---- */

static void archil_mount_free(struct archil_mount *m)
{
	if (m->wq)
		destroy_workqueue(m->wq);
	put_net(m->net);
	kfree_sensitive(m->token);
	kfree(m->source);
	kfree(m->disk);
	kfree(m->subdir);
	kfree(m);
}

void archil_mount_put(struct archil_mount *m)
{
	if (refcount_dec_and_test(&m->ref))
		archil_mount_free(m);
}

struct archil_mount *archil_mount_get(u64 id)
{
	struct archil_mount *m, *found = NULL;

	mutex_lock(&archil_mounts_lock);
	list_for_each_entry(m, &archil_mounts, list) {
		if (m->id == id && refcount_inc_not_zero(&m->ref)) {
			found = m;
			break;
		}
	}
	mutex_unlock(&archil_mounts_lock);
	return found;
}

void archil_mounts_of(struct net *net, void (*fn)(struct archil_mount *m))
{
	struct archil_mount *m;

	mutex_lock(&archil_mounts_lock);
	list_for_each_entry(m, &archil_mounts, list)
		if (m->net == net)
			fn(m);
	mutex_unlock(&archil_mounts_lock);
}

/*
 * What the options say, from fsopen() on. Anybody in a user namespace gets this far, so it is
 * small and charged to him; the mount is made when the VFS has asked whether he may mount.
 */
struct archil_options {
	unsigned int flags;		/* ARCHIL_MOUNT_* */
	unsigned int cache_ttl, commit, timeo;
	char *token;
	struct archil_upcall *opened;	/* OPEN_SESSION's answer, for archil_fill_super() */
};

static struct archil_mount *archil_mount_new(struct net *net, struct archil_options *opts)
{
	struct archil_mount *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	refcount_set(&m->ref, 1);
	INIT_LIST_HEAD(&m->list);
	m->net = get_net(net);
	uuid_gen(&m->uuid);
	m->flags = opts->flags;
	m->cache_ttl = opts->cache_ttl;
	m->commit = opts->commit;
	m->timeo = opts->timeo;
	swap(m->token, opts->token);
	spin_lock_init(&m->room.lock);
	init_waitqueue_head(&m->writes_wait);
	init_waitqueue_head(&m->backlog_wait);
	m->backlog_tick = jiffies;
	archil_dirty_init(m);
	archil_transport_init(m);
	archil_delegs_init(m);
	archil_space_init(m);
	archil_slots_init(m);
	archil_ahead_init(m);
	mutex_lock(&archil_mounts_lock);
	m->id = archil_next_mount++;
	mutex_unlock(&archil_mounts_lock);
	m->wq = alloc_workqueue("archil/%llu", WQ_MEM_RECLAIM | WQ_UNBOUND, 0, m->id);
	if (!m->wq) {
		archil_mount_free(m);
		return NULL;
	}
	return m;
}

/* ---- syncing ---- */

int archil_mount_sync(struct archil_mount *m)
{
	return archil_delegs_flush(m, true);
}

static int archil_sync_fs(struct super_block *sb, int wait)
{
	struct archil_mount *m = archil_mnt(sb);

	if (!wait) {
		archil_delegs_kick(m);
		return 0;
	}
	return archil_delegs_flush(m, false);
}

/* ---- ending ---- */

/* Tell the server; true if it has answered. */
static bool archil_close_session(struct archil_mount *m, long timeout)
{
	struct archil_req *req;
	long left;

	req = archil_req_new(m, ARCHIL_OP_CLOSE_SESSION, 0, 0, GFP_KERNEL);
	if (!req)
		return false;
	archil_req_submit(req);
	left = wait_for_completion_killable_timeout(&req->completion, timeout);
	/* The signal may be an old one, from when there was something to write back. */
	if (left < 0)
		left = wait_for_completion_timeout(&req->completion,
						   min(timeout, ARCHIL_CLOSE_PATIENCE));
	archil_req_put(req);
	return left > 0;
}

/* Only the transport's end breaks it off. */
static void archil_flush_all(struct archil_mount *m)
{
	while (archil_delegs_flush(m, false) == -ENOMEM && !archil_transport_is_over(m))
		msleep(100);
}

void archil_mount_abort(struct archil_mount *m)
{
	if (archil_transport_is_over(m))
		return;
	pr_warn("mount %llu: aborted; what was not durable is lost\n", m->id);
	archil_delegs_over(m);
	archil_close_session(m, HZ);
	archil_transport_over(m);
}

/* The session is over, or is to be; the superblock is gone. */
static void archil_mount_end(struct archil_mount *m)
{
	struct archil_upcall *up;

	WRITE_ONCE(m->sb, NULL);
	/* without an epoch there never was a connection to say it on */
	if (m->tp.epoch && !archil_transport_is_over(m)) {
		archil_flush_all(m);
		/* One that was never mounted keeps nobody waiting for long. */
		archil_close_session(m, m->dying ? MAX_SCHEDULE_TIMEOUT : m->timeo * HZ);
	}
	mutex_lock(&archil_mounts_lock);
	list_del_init(&m->list);
	mutex_unlock(&archil_mounts_lock);
	archil_transport_exit(m);
	/* Orphans evicted last were appended, and asked for a commit. */
	archil_commit_cancel(m);
	archil_ahead_exit(m);
	flush_workqueue(m->wq);
	archil_logs_settle();
	archil_delegs_exit(m);
	up = archil_upcall_new(m, ARCHIL_UPCALL_CLOSED);
	if (up) {
		archil_upcall_submit(up);
		archil_upcall_put(up);
	}
	archil_mount_put(m);
}

static void archil_kill_sb(struct super_block *sb)
{
	struct archil_mount *m = archil_mnt(sb);

	if (sb->s_root) {
		archil_debugfs_remove(m);
		WRITE_ONCE(m->ending, true);
		archil_flush_all(m);
		/* Whatever is still dirty could not be written: its inodes go all the same. */
		WRITE_ONCE(m->dying, true);
		archil_dirty_drop(m);
		archil_delegs_unpin(m);
		/*
		 * Requests of killed callers, and what was lost or given back just now, let
		 * go of their dentries and inodes. What the agent has not answered it need not.
		 */
		archil_upcalls_drop(m, ARCHIL_UPCALL_FORWARD);
		archil_slots_wait_idle(m);
		flush_workqueue(m->wq);
	}
	kill_anon_super(sb);
	archil_mount_end(m);
}

static void archil_umount_begin(struct super_block *sb)
{
	archil_mount_abort(archil_mnt(sb));
}

/* ---- what a superblock answers ---- */

static int archil_room_ask(struct archil_mount *m, struct archil_statfs_rep *rep)
{
	struct archil_room *room = &m->room;
	unsigned long asked = jiffies;
	struct archil_req *req;
	int err;

	req = archil_req_new(m, ARCHIL_OP_STATFS, 0, sizeof(*rep), GFP_KERNEL);
	if (!req)
		return -ENOMEM;
	spin_lock(&room->lock);
	room->known = false;
	WRITE_ONCE(room->valid, true);	/* unless something changes meanwhile */
	spin_unlock(&room->lock);
	err = archil_req_call(req);
	if (!err) {
		memcpy(rep, req->rep, sizeof(*rep));
		spin_lock(&room->lock);
		room->rep = *rep;
		room->asked = asked;
		room->known = true;
		spin_unlock(&room->lock);
	}
	archil_req_put(req);
	return err;
}

/* Believed for cache_ttl, as attributes are, and until we change something. */
static bool archil_room_known(struct archil_mount *m, struct archil_statfs_rep *rep)
{
	struct archil_room *room = &m->room;
	bool known;

	spin_lock(&room->lock);
	known = READ_ONCE(room->valid) && room->known &&
		time_before(jiffies, room->asked + m->cache_ttl * HZ);
	*rep = room->rep;
	spin_unlock(&room->lock);
	return known;
}

static int archil_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_statfs_rep rep;
	int err;

	if (!archil_room_known(m, &rep)) {
		err = archil_room_ask(m, &rep);
		if (err)
			return err;
	}
	buf->f_type = ARCHIL_SUPER_MAGIC;
	buf->f_bsize = PAGE_SIZE;
	buf->f_frsize = PAGE_SIZE;
	buf->f_blocks = le64_to_cpu(rep.total) >> PAGE_SHIFT;
	buf->f_bfree = le64_to_cpu(rep.free) >> PAGE_SHIFT;
	buf->f_bavail = le64_to_cpu(rep.avail) >> PAGE_SHIFT;
	buf->f_files = ARCHIL_INO_MAX;
	buf->f_ffree = ARCHIL_INO_MAX - min(le64_to_cpu(rep.files), ARCHIL_INO_MAX);
	buf->f_namelen = ARCHIL_NAME_LEN;
	buf->f_fsid = u64_to_fsid(*(u64 *)&m->uuid);
	return 0;
}

static int archil_show_options(struct seq_file *seq, struct dentry *root)
{
	struct archil_mount *m = archil_mnt(root->d_sb);

	if (m->flags & ARCHIL_MOUNT_SHARED)
		seq_puts(seq, ",shared");
	seq_printf(seq, ",cache_ttl=%u,commit=%u,timeo=%u", m->cache_ttl, m->commit, m->timeo);
	return 0;
}

static const struct super_operations archil_super_ops = {
	.alloc_inode	= archil_alloc_inode,
	.free_inode	= archil_free_inode,
	.drop_inode	= inode_generic_drop,
	.evict_inode	= archil_evict_inode,
	.sync_fs	= archil_sync_fs,
	.statfs		= archil_statfs,
	.show_options	= archil_show_options,
	.umount_begin	= archil_umount_begin,
};

/* ---- mounting ---- */

enum {
	Opt_source, Opt_shared, Opt_force, Opt_cache_ttl, Opt_commit, Opt_timeo, Opt_token,
};

static const struct fs_parameter_spec archil_parameters[] = {
	fsparam_string("source", Opt_source),
	fsparam_flag("shared", Opt_shared),
	fsparam_flag("force", Opt_force),
	fsparam_u32("cache_ttl", Opt_cache_ttl),
	fsparam_u32("commit", Opt_commit),
	fsparam_u32("timeo", Opt_timeo),
	fsparam_string("token", Opt_token),
	{}
};

static int archil_seconds(struct fs_context *fc, struct fs_parameter *param, u32 value, u32 min,
			  unsigned int *seconds)
{
	if (value < min || value > 86400)
		return invalfc(fc, "%s must be from %u to 86400 seconds", param->key, min);
	*seconds = value;
	return 0;
}

static int archil_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct archil_options *opts = fc->fs_private;
	struct fs_parse_result result;
	int opt = fs_parse(fc, archil_parameters, param, &result);

	if (opt < 0)
		return opt;
	switch (opt) {
	case Opt_source:
		if (fc->source)
			return invalfc(fc, "more than one source");
		fc->source = param->string;
		param->string = NULL;
		return 0;
	case Opt_shared:
		opts->flags |= ARCHIL_MOUNT_SHARED;
		return 0;
	case Opt_force:
		opts->flags |= ARCHIL_MOUNT_FORCE;
		return 0;
	case Opt_cache_ttl:
		return archil_seconds(fc, param, result.uint_32, 0, &opts->cache_ttl);
	case Opt_commit:
		return archil_seconds(fc, param, result.uint_32, 1, &opts->commit);
	case Opt_timeo:
		return archil_seconds(fc, param, result.uint_32, 1, &opts->timeo);
	case Opt_token:
		kfree_sensitive(opts->token);
		opts->token = param->string;
		param->string = NULL;
		return 0;
	}
	return -EINVAL;
}

/* "server[:port]/disk[:/sub]": the agent reads it; here only for people. */
static int archil_split_source(struct fs_context *fc, struct archil_mount *m)
{
	const char *disk = fc->source ? strchr(fc->source, '/') : NULL, *sub;

	if (!disk || disk == fc->source || !disk[1])
		return invalfc(fc, "the source must be SERVER[:PORT]/DISK[:/SUBDIR]");
	disk++;
	sub = strchr(disk, ':');
	m->source = kstrdup(fc->source, GFP_KERNEL);
	m->disk = sub ? kmemdup_nul(disk, sub - disk, GFP_KERNEL) : kstrdup(disk, GFP_KERNEL);
	for (sub = sub ? sub + 1 : ""; *sub == '/'; sub++)
		;
	m->subdir = kstrdup(sub, GFP_KERNEL);
	return m->source && m->disk && m->subdir ? 0 : -ENOMEM;
}

static int archil_open_session(struct fs_context *fc, struct archil_mount *m,
			       struct archil_upcall **upp)
{
	struct archil_upcall *up;
	int err;

	up = archil_upcall_new(m, ARCHIL_UPCALL_OPEN);
	if (!up)
		return -ENOMEM;
	err = archil_upcall_call(up, m->timeo);
	if (err) {
		archil_upcall_put(up);
		if (err == -ENOTCONN)
			errorf(fc, "no archil-agent is running in this network namespace");
		else if (err == -ETIMEDOUT)
			errorf(fc, "no answer within %u s", m->timeo);
		return err;
	}
	if (up->status) {
		err = up->status;
		if (up->message[0])
			errorf(fc, "%s", up->message);
		archil_upcall_put(up);
		return err;
	}
	*upp = up;
	return 0;
}

static int archil_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct archil_mount *m = sb->s_fs_info;
	struct archil_options *opts = fc->fs_private;
	struct archil_upcall *up = opts->opened;
	const struct archil_grant *grant = &up->open.grant;
	struct archil_deleg *d = NULL;
	struct inode *root;
	int err;

	sb->s_magic = ARCHIL_SUPER_MAGIC;
	sb->s_op = &archil_super_ops;
	sb->s_xattr = compat_s_xattr(archil_xattr_handlers);
	set_default_d_op(sb, &archil_dentry_ops);
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_maxbytes = min_t(u64, m->max_file_size, MAX_LFS_FILESIZE);
	sb->s_time_gran = 1;
	sb->s_flags |= SB_NOSEC;
	err = super_setup_bdi_name(sb, "archil-%llu", m->id);
	if (err)
		return err;
	/* Enough is asked for ahead to fill a long link, in requests as large as they may be. */
	sb->s_bdi->ra_pages = ARCHIL_READ_AHEAD >> PAGE_SHIFT;
	sb->s_bdi->io_pages = m->io_max >> PAGE_SHIFT;
	/* While the server is away what waits for it must not stop writing to other file systems. */
	err = bdi_set_max_ratio(sb->s_bdi, ARCHIL_DIRTY_RATIO);
	if (err)
		return err;
	m->sb = sb;

	if (grant->number) {
		d = archil_deleg_alloc(m);
		if (!d)
			return -ENOMEM;
	}
	root = archil_iget(sb, &up->open.root, up->commit, NULL, 0);
	if (IS_ERR(root)) {
		archil_deleg_put(d);
		return PTR_ERR(root);
	}
	if (!S_ISDIR(root->i_mode)) {
		iput(root);
		archil_deleg_put(d);
		errorf(fc, "the server gave something that is no directory");
		return -EPROTO;
	}
	sb->s_root = d_make_root(root);
	if (!sb->s_root) {
		archil_deleg_put(d);
		return -ENOMEM;
	}
	if (d)
		archil_deleg_install(d, grant, sb->s_root);
	archil_debugfs_add(m);
	return 0;
}

/* The session is open: connect, and make a superblock, which takes m over from fc->s_fs_info. */
static int archil_mount_tree(struct fs_context *fc, struct archil_mount *m,
			     struct archil_upcall *up)
{
	struct archil_options *opts = fc->fs_private;
	struct socket *sock = up->sock;
	int err;

	m->session = up->session;
	m->max_file_size = le64_to_cpu(up->open.max_file_size);
	m->inline_max = min_t(u32, le32_to_cpu(up->open.inline_max), ARCHIL_INLINE_MAX);
	m->payload_max = le32_to_cpu(up->open.payload_max);
	strscpy(m->server, up->server, sizeof(m->server));
	/* The longest record must fit. */
	if (m->payload_max < SZ_128K || m->payload_max > ARCHIL_PAYLOAD_MAX ||
	    !is_power_of_2(m->payload_max))
		return -EPROTO;
	m->io_max = min_t(u32, m->payload_max, ARCHIL_IO_MAX);
	up->sock = NULL;
	err = archil_transport_attach(m, sock, up->epoch);
	if (err)
		return err;
	mutex_lock(&archil_mounts_lock);
	list_add_tail(&m->list, &archil_mounts);
	mutex_unlock(&archil_mounts_lock);

	err = archil_upcall_opened(up);
	if (err)
		return err;
	opts->opened = up;
	err = get_tree_nodev(fc, archil_fill_super);
	opts->opened = NULL;
	return err;
}

static int archil_get_tree(struct fs_context *fc)
{
	struct archil_options *opts = fc->fs_private;
	struct archil_upcall *up;
	struct archil_mount *m;
	int err;

	if (fc->sb_flags & SB_RDONLY)
		opts->flags |= ARCHIL_MOUNT_RO;
	if ((opts->flags & ARCHIL_MOUNT_FORCE) &&
	    (opts->flags & (ARCHIL_MOUNT_SHARED | ARCHIL_MOUNT_RO)))
		return invalfc(fc, "force goes with neither shared nor ro");
	m = archil_mount_new(fc->net_ns, opts);
	if (!m)
		return -ENOMEM;
	err = archil_split_source(fc, m);
	if (!err)
		err = archil_open_session(fc, m, &up);
	if (err) {
		archil_mount_put(m);
		return err;
	}
	fc->s_fs_info = m;
	err = archil_mount_tree(fc, m, up);
	/* Without a superblock nobody else ends the session. */
	if (err && fc->s_fs_info) {
		fc->s_fs_info = NULL;
		archil_mount_end(m);
	}
	archil_upcall_put(up);
	return err;
}

static int archil_reconfigure(struct fs_context *fc)
{
	struct archil_mount *m = archil_mnt(fc->root->d_sb);
	struct archil_options *opts = fc->fs_private;

	sync_filesystem(fc->root->d_sb);
	if ((m->flags & ARCHIL_MOUNT_RO) && !(fc->sb_flags & SB_RDONLY))
		return invalfc(fc, "a session opened with ro can not become writable; mount anew");
	if (opts->flags & ~m->flags)
		return invalfc(fc, "shared and force are for mounting; mount anew");
	WRITE_ONCE(m->cache_ttl, opts->cache_ttl);
	WRITE_ONCE(m->commit, opts->commit);
	WRITE_ONCE(m->timeo, opts->timeo);
	return 0;
}

static void archil_free_fc(struct fs_context *fc)
{
	struct archil_options *opts = fc->fs_private;

	kfree_sensitive(opts->token);
	kfree(opts);
}

static const struct fs_context_operations archil_context_ops = {
	.parse_param	= archil_parse_param,
	.get_tree	= archil_get_tree,
	.reconfigure	= archil_reconfigure,
	.free		= archil_free_fc,
};

static int archil_init_fs_context(struct fs_context *fc)
{
	struct archil_options *opts = kzalloc(sizeof(*opts), GFP_KERNEL_ACCOUNT);
	struct archil_mount *m;

	if (!opts)
		return -ENOMEM;
	opts->cache_ttl = 1;
	opts->commit = 5;
	opts->timeo = 30;
	if (fc->purpose == FS_CONTEXT_FOR_RECONFIGURE) {
		/* What is not named stays as it is. */
		m = archil_mnt(fc->root->d_sb);
		opts->cache_ttl = m->cache_ttl;
		opts->commit = m->commit;
		opts->timeo = m->timeo;
	}
	fc->fs_private = opts;
	fc->ops = &archil_context_ops;
	return 0;
}

struct file_system_type archil_fs_type = {
	.owner			= THIS_MODULE,
	.name			= "archil",
	.init_fs_context	= archil_init_fs_context,
	.parameters		= archil_parameters,
	.kill_sb		= archil_kill_sb,
};
MODULE_ALIAS_FS("archil");

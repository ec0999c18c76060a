/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mount: one session with a server, and the superblock that shows it.
 */
#ifndef ARCHIL_SUPER_H
#define ARCHIL_SUPER_H

#include <linux/fs.h>
#include <linux/refcount.h>
#include <linux/uuid.h>
#include <net/net_namespace.h>

#include "ahead.h"
#include "compat/compat.h"
#include "shared/wire.h"
#include "smalls.h"
#include "space.h"
#include "sync.h"
#include "transport.h"
#include "deleg.h"
#include "dirty.h"

/* What the server said of its room, for statfs(). */
struct archil_room {
	spinlock_t lock;
	struct archil_statfs_rep rep;	/* these three: protected by lock */
	unsigned long asked;		/* jiffies */
	bool known;
	bool valid;			/* nothing of ours has changed since, that we know of */
};

struct archil_mount {
	refcount_t ref;			/* superblock, upcalls in flight */
	u64 id;				/* names this mount to agent and tools; never reused */
	struct list_head list;		/* archil_mounts; protected by archil_mounts_lock */
	struct net *net;		/* the mounter's; strong reference */
	struct super_block *sb;		/* NULL until there is one and after it died */

	/* Constant once mounted. */
	char *source;			/* as given */
	char *disk, *subdir;		/* parts of it */
	char *token;			/* or NULL; freed with kfree_sensitive() */
	uuid_t uuid;
	u32 flags;			/* ARCHIL_MOUNT_* */
	unsigned int cache_ttl;		/* seconds; these three change when remounted */
	unsigned int commit;		/* seconds */
	unsigned int timeo;		/* seconds */
	char server[128];		/* address, for people */
	u64 session;
	u64 max_file_size;
	u32 inline_max, payload_max;	/* bytes */
	u32 io_max;			/* bytes of one request, but for a larger folio */
	kuid_t owner_uid;

	struct archil_transport tp;
	struct archil_delegs delegs;
	struct archil_inos inos;
	struct archil_credit credit;
	struct archil_slots slots;
	struct archil_ahead ahead;
	struct archil_smalls smalls;

	struct archil_dirty dirty;

	atomic_t writes, write_bytes;	/* WRITEs in flight, and what they carry */
	wait_queue_head_t writes_wait;	/* for fewer */

	struct workqueue_struct *wq;	/* WQ_MEM_RECLAIM: write-back, revocation, the log */
	bool ending;			/* being unmounted: written back whatever signals come */
	bool dying;			/* the superblock goes: what is dirty now is not written */
	atomic_t backlog;		/* log records not acknowledged, of all delegations */
	atomic64_t backlog_bytes;	/* and of what is about to be appended */
	wait_queue_head_t backlog_wait;	/* for less of it */
	unsigned long backlog_tick;	/* jiffies when it was last sent for being large */
	struct archil_batch_rec *log_junk;	/* dropped by merging, to be freed; xchg, cmpxchg */
	atomic64_t taken;		/* delegations lost by force */
	struct archil_room room;
	struct dentry *debugfs;
};

/* 0, -EINTR or -ETIMEDOUT for what wait_event_killable_timeout() has returned. */
static inline int archil_waited(long left)
{
	return left > 0 ? 0 : left ? -EINTR : -ETIMEDOUT;
}

static inline struct archil_mount *archil_mnt(const struct super_block *sb)
{
	return sb->s_fs_info;
}

/* Find a live mount by its id, with a reference, or NULL. */
struct archil_mount *archil_mount_get(u64 id);
void archil_mount_put(struct archil_mount *m);

/* Call @fn for each live mount of a network namespace; may sleep. */
void archil_mounts_of(struct net *net, void (*fn)(struct archil_mount *m));

/* End the session without writing back: everything that waits gets EIO. */
void archil_mount_abort(struct archil_mount *m);

/* Something of ours may have taken or given back room on the server. From any context. */
static inline void archil_room_changed(struct archil_mount *m)
{
	if (READ_ONCE(m->room.valid))
		WRITE_ONCE(m->room.valid, false);
}

/* Write back everything and wait, killably. 0, -EINTR, -EIO, ... */
int archil_mount_sync(struct archil_mount *m);

extern u8 archil_incarnation[ARCHIL_UUID_LEN];
extern struct file_system_type archil_fs_type;

#endif /* ARCHIL_SUPER_H */

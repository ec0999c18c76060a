/* SPDX-License-Identifier: GPL-2.0 */
/* Inodes: what is kept of each, attributes in and out. */
#ifndef ARCHIL_INODE_H
#define ARCHIL_INODE_H

#include <linux/fs.h>

#include "complete.h"
#include "super.h"

enum archil_inode_flag {
	ARCHIL_I_BULK,		/* contents are (or will be, a store came) in a data file */
	ARCHIL_I_TIMES,		/* mtime and ctime moved by writes, not in the log yet */
	ARCHIL_I_GROWING,	/* a WRITE that brings size and times is under way */
	ARCHIL_I_ORPHAN,	/* has no name any more, and this session keeps it */
	ARCHIL_I_STALE,		/* the server does not know it any more */
	ARCHIL_I_GIVEN,		/* given back, and not looked up by name since */
	ARCHIL_I_NO_XATTR,	/* had no xattr when last asked */
	ARCHIL_I_AHEAD,		/* contents came ahead and were not read yet */
	ARCHIL_I_AHEAD_NEXT,	/* when they are, those behind are asked for */
	ARCHIL_I_READ_COLD,	/* directory: a small file of it was read that was not cached */
	ARCHIL_I_TOLD,		/* own was lost, and the error is recorded */
	ARCHIL_I_LINKS,		/* others have removed names of it: the count may be too high */
	ARCHIL_I_ABOVE,		/* directory: delegations may lie beneath it; see beneath.c */
};

struct archil_inode {
	struct inode vfs;
	u64 ino;
	unsigned long flags;		/* enum archil_inode_flag, atomic bit operations */
	spinlock_t lock;		/* the fields below */
	u64 change;			/* of the attributes that we have */
	u64 data_change;		/* of the pages that we have */
	u64 commit;			/* at which the attributes were read */
	u64 floor;			/* none from before this one */
	unsigned long expires;		/* jiffies: until then without asking */
	u64 told;			/* number of our delegation that covers it, or 0: the server's word */
	u64 told_commit;		/* at which it was */
	bool other;			/* another session owned it when last asked */
	struct timespec64 btime;

	/* Ownership, cached; see archil_deleg_of(). Protected by lock. */
	struct archil_deleg *own;	/* reference */
	u32 own_epoch;
	struct mutex own_mutex;		/* own is being changed */
	struct list_head own_list;	/* own->inodes; protected by own->inodes_lock */

	u64 logged_size;		/* what the log says the size is */
	u32 cuts;			/* how often it was made shorter; protected by i_lock */
	u64 last_seq;			/* last record that concerns this inode, in own's log */
	u64 size_seq;			/* the same for what follows WRITEs, which neither READ nor WRITE waits for */
	union {
		u64 content_seq;	/* file: last CONTENT record of it */
		u64 led_seq;		/* directory: last record of itself, not of its entries */
	};
	struct list_head dirty_list;	/* mount->dirty, with a reference to the inode */
	struct work_struct size_work;	/* after WRITEs */
	struct mutex size_mutex;	/* one SETATTR after WRITEs at a time */
	atomic64_t charged;		/* credit taken for dirty pages, bytes */

	atomic_t lost;			/* how often ownership was forced away */
	atomic_t given;			/* how often it was given back */
	struct archil_batch_rec *release;	/* an orphan's last record, made in advance */
	u64 next_cookie;		/* directory: for the next entry; from the server; owner only */
	struct archil_listing listing;	/* directory: its names, while all are cached */
};

static inline struct archil_inode *archil_i(const struct inode *inode)
{
	return container_of(inode, struct archil_inode, vfs);
}

/* Record @seq of own's log is about the inode itself. Under ai->lock, or while it is new. */
static inline void archil_inode_recorded(struct inode *inode, u64 seq)
{
	struct archil_inode *ai = archil_i(inode);

	ai->last_seq = seq;
	if (S_ISDIR(inode->i_mode))
		ai->led_seq = seq;
}

int archil_inode_cache_init(void);
void archil_inode_cache_exit(void);
struct inode *archil_alloc_inode(struct super_block *sb);
void archil_free_inode(struct inode *inode);
void archil_evict_inode(struct inode *inode);

/*
 * The inode of these attributes, made or brought up to date. @target: a symlink's
 * target, @target_len bytes. ERR_PTR(-ENOMEM), -ESTALE, or -EUCLEAN for what cannot be.
 */
struct inode *archil_iget(struct super_block *sb, const struct archil_wattr *attr, u64 commit,
			  const char *target, unsigned int target_len);
/* Attributes that a reply brought; ignored where our own are newer by right (owner). */
int archil_inode_update(struct inode *inode, const struct archil_wattr *attr, u64 commit);
/* They are from a listing that was asked for then (jiffies), and are as old as that. */
void archil_inode_listed(struct inode *inode, u64 commit, unsigned long asked);
/*
 * A directory is listed at @commit and has not changed since @change: if that is what we know, it is
 * right, and the name it has. Asked for then (jiffies).
 */
void archil_inode_confirm(struct archil_mount *m, u64 ino, u64 change, u64 commit,
			  unsigned long asked);
/* NOTIFY: another session has removed a name of an inode that we own. Never blocks. */
void archil_inode_notify(struct archil_mount *m, const struct archil_wattr *attr);
/* What the server says of it now; nothing is updated. Killable. */
int archil_ask_attr(struct inode *inode, struct archil_wattr *attr, u64 *commit);
/* The same without an inode, and without waiting for what we appended. */
int archil_ask_attr_of(struct archil_mount *m, u64 ino, struct archil_wattr *attr, u64 *commit);
/* What we know is from before ownership ended: ask before using it. */
void archil_inode_expire(struct inode *inode);
/* A synchronous change moved its links: follow the reply. Never blocks. */
void archil_inode_relinked(struct inode *inode, const struct archil_wattr *attr, u64 commit);
/* It is in this delegation of ours (0: none), as of a commit. Never blocks. */
void archil_inode_tell(struct inode *inode, u64 number, u64 commit);
/*
 * The server changed it at our asking, at this commit: ask before using it, owned or
 * not; what was read before is nothing. Never blocks.
 */
void archil_inode_reread(struct inode *inode, u64 commit);
/* Is what was read of it, or in it, at this commit from before that? Names: once they are hashed. */
bool archil_inode_outdated(struct inode *inode, u64 commit);
/*
 * Whoever asks the server about something that we own waits first until
 * what we appended has arrived there. Killable: -EINTR.
 */
int archil_ask_settled(struct inode *inode);
/*
 * A directory or special file whose last name we removed: the server does not know it any
 * more, and its attributes are memory's alone. The inode is locked.
 */
bool archil_inode_gone(struct inode *inode);
/* What archil_owned_since() does where a delegation is cached. */
u64 archil_own_since(struct archil_inode *ai);

/*
 * The commit of the grant, if a delegation that covers it is cached and lives; else 0. Takes no
 * references or locks: for walks under RCU.
 */
static inline u64 archil_owned_since(struct archil_inode *ai)
{
	return READ_ONCE(ai->own) ? archil_own_since(ai) : 0;
}

/* No delegation covers it, nor has any that was lost something of it: there are none. */
static inline bool archil_not_ours(const struct inode *inode)
{
	return !READ_ONCE(archil_i(inode)->own) && !READ_ONCE(archil_mnt(inode->i_sb)->delegs.count);
}

/* Are attributes fresh enough to be used without asking? */
bool archil_inode_valid(struct inode *inode);
/* Ask if they are not. Killable. -ESTALE, ... */
int archil_revalidate(struct inode *inode, bool force);
/*
 * For opening a directory and going through it. While the server is away, or does not
 * answer for some seconds, the mounted root is let through as it was: status and abort
 * must get at it.
 */
int archil_revalidate_way(struct inode *inode);

int archil_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		   u32 mask, unsigned int flags);
int archil_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *iattr);
int archil_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);

/* A record's time from the clock of this inode's superblock. */
struct archil_time archil_now(struct inode *inode);

ssize_t archil_listxattr(struct dentry *dentry, char *list, size_t size);
void archil_time_to_wire(struct archil_time *t, struct timespec64 ts);

extern const struct inode_operations archil_file_iops, archil_dir_iops, archil_symlink_iops,
	archil_special_iops;
extern const struct file_operations archil_file_fops, archil_dir_fops;
extern const struct address_space_operations archil_aops;
extern const struct dentry_operations archil_dentry_ops;
extern const struct xattr_handler * const archil_xattr_handlers[];

#endif /* ARCHIL_INODE_H */

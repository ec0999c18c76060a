/* SPDX-License-Identifier: GPL-2.0 */
/* Listings that are kept, or came ahead of a walk; ahead.c has the rules. */
#ifndef ARCHIL_AHEAD_H
#define ARCHIL_AHEAD_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct archil_mount;
struct dentry;
struct inode;

/* A whole listing. */
struct archil_ahead_dir {
	refcount_t ref;
	bool came;			/* ahead, and was not used yet; protected by the lock */
	struct hlist_node by_ino;	/* these two: protected by the lock */
	struct list_head list;
	u64 dir, change, commit;
	unsigned long asked;		/* jiffies, before the server looked */
	u32 gen;
	u32 len;
	u8 data[];			/* of struct archil_dirent */
};

/* Of a mount. */
struct archil_ahead {
	spinlock_t lock;
	DECLARE_HASHTABLE(dirs, 10);	/* one a directory; protected by lock, as all but gen */
	struct list_head list;		/* the oldest first */
	size_t bytes;			/* of them */
	unsigned int window;		/* bytes to ask for */
	unsigned int given, used;	/* listings, since it was changed */
	atomic_t gen;
	struct delayed_work expire_work;
};

void archil_ahead_init(struct archil_mount *m);
void archil_ahead_exit(struct archil_mount *m);

/* A delegation comes or goes: what was asked for before is not used. From any context. */
void archil_ahead_drop(struct archil_mount *m);
/* Before asking; what is asked for later than a drop has another number. */
u32 archil_ahead_gen(struct archil_mount *m);

/*
 * Bytes to ask for behind the listing of a directory that is read from the beginning. 0: this
 * is no walk. @top is set to the directory that the walk began in.
 */
u32 archil_ahead_wanted(struct dentry *dentry, u64 *top);
/*
 * Keep what a reply of @len bytes brought: first @head's entries, if that names a directory
 * (else nothing or part of them), then those that came ahead: struct archil_dirlist.
 */
void archil_ahead_keep(struct archil_mount *m, const struct archil_ahead_dir *head, const void *buf,
		       size_t len);
/* The listing of a directory that is not ours, if there is a good one; with a reference. */
struct archil_ahead_dir *archil_ahead_use(struct inode *dir);
void archil_ahead_put(struct archil_ahead_dir *ad);

#endif /* ARCHIL_AHEAD_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Delegations as the client holds them: who owns an inode, entering and
 * leaving a change, draining, losing. deleg.c has the rules.
 */
#ifndef ARCHIL_DELEG_H
#define ARCHIL_DELEG_H

#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>

#include "oplog.h"
#include "uapi/archil.h"

struct archil_inode;
struct archil_mount;
struct dentry;
struct inode;

struct archil_deleg {
	refcount_t ref;			/* the tables (while there), each inode that caches it, users */
	struct rcu_head rcu;
	struct rb_node by_number;	/* delegs->numbers; protected by delegs->lock */
	struct rb_node by_stirred;	/* delegs->stirred, if @stirred; protected by delegs->lock */
	bool stirred;			/* something in its log may not be durable; delegs->lock, READ_ONCE */
	struct hlist_node by_ino;	/* delegs->inos; RCU, changed under delegs->lock */
	struct archil_mount *mount;	/* lives longer */

	/* Constant after the grant. */
	u64 number;
	u64 ino;			/* of the root */
	u64 commit;			/* what was read at or after it is valid while this lives */
	u64 since;
	u32 origin;			/* enum archil_origin; 0: an orphan's, not listed */
	struct dentry *root;		/* strong reference until closed, or NULL; delegs->lock */

	enum archil_own_state {
		ARCHIL_OWN_LIVE,
		ARCHIL_OWN_DRAINING,	/* changes wait */
		ARCHIL_OWN_CLOSED,	/* given back or swallowed */
		ARCHIL_OWN_TAKEN,	/* lost */
	} state;			/* changed under delegs->lock; tested inside enter */
	atomic_t users;			/* changes under way, see archil_deleg_enter() */
	wait_queue_head_t wait;		/* state changed, or users fell to 0 */

	spinlock_t inodes_lock;
	struct list_head inodes;	/* archil_inode.own_list: those that cache this; inodes_lock */
	struct mutex walk_mutex;	/* one walk over inodes at a time */

	struct archil_log log;
	atomic_t flushing;		/* who is in archil_deleg_flush(), and sends the log at its end */
	struct archil_batch_rec *releases; /* of orphans evicted while it drains, or later; delegs->lock */
	struct work_struct release_work; /* for the later ones */
	bool released;			/* an orphan's own, and its RELEASE is appended */
	struct work_struct lost_work;
	bool cleaned;			/* lost_work is through; wait tells */
};

#define ARCHIL_DELEG_HASH_BITS	12

struct archil_delegs {
	spinlock_t lock;
	struct rb_root numbers;		/* protected by lock */
	struct rb_root stirred;		/* those with something in the log, by number; lock */
	DECLARE_HASHTABLE(inos, ARCHIL_DELEG_HASH_BITS);	/* RCU, changed under lock */
	unsigned int count;		/* changed under lock */
	u32 epoch;			/* moves when anything changes delegations by rename, link, unlink */
	u64 moved;			/* commit of the last such rename of a directory */
	u64 newest;			/* the highest commit of a grant; all three: lock, READ_ONCE */
	u64 top;			/* the highest number of a grant; protected by lock */
	unsigned int held_back;		/* dynamic grants wait: a checkout or checkin meets new ones */
	wait_queue_head_t held_back_wait;
	u32 names_epoch;		/* moves when one is lost or checked out: names are asked again */
	/*
	 * Revocations of numbers that are not known (yet): the grant's reply may
	 * be behind. Kept until no slot is busy. More than fit are forgotten: the
	 * server refuses what comes under them.
	 */
	u64 early[ARCHIL_SLOTS];
	unsigned int nr_early;
	atomic_t cleaning;		/* lost ones whose lost_work is not through; a wait_var */
	struct mutex orphan_mutex;	/* one orphan's delegation is asked for at a time */
	unsigned long checkout;		/* bit 0: a checkout or checkin of this mount is under way */
	wait_queue_head_t checkout_wait;	/* it has ended */
};

void archil_delegs_init(struct archil_mount *m);
/* The superblock is gone and the session closed. */
void archil_delegs_exit(struct archil_mount *m);

/* Prepare, before asking: what a grant will need. Or NULL. */
struct archil_deleg *archil_deleg_alloc(struct archil_mount *m);
void archil_deleg_put(struct archil_deleg *d);
/*
 * Make a prepared delegation the one that the server granted. Never blocks.
 * @root may be NULL. Consumes the caller's reference to @d. What no honest server
 * grants is reported and not installed.
 */
void archil_deleg_install(struct archil_deleg *d, const struct archil_grant *g,
			  struct dentry *root);
/* Given back or swallowed; everything in it is durable. May sleep. */
void archil_deleg_close(struct archil_deleg *d);
struct archil_deleg *archil_deleg_by_number(struct archil_mount *m, u64 number);

/*
 * With a reference, or NULL; whatever its state but CLOSED:
 * told: the delegation that covers this inode, by the server's word;
 * of: the same, else what may cover it by its names in memory. @dentry: one, or NULL;
 * cached: the one in whose log its records, and under which its dirty pages, are.
 */
struct archil_deleg *archil_deleg_told(struct inode *inode);
struct archil_deleg *archil_deleg_of(struct inode *inode, struct dentry *dentry);
struct archil_deleg *archil_deleg_cached(struct inode *inode);

bool archil_owned(struct inode *inode);
/* Cache a delegation in an inode; forget it (the cached reference is returned, or NULL). */
void archil_inode_own(struct archil_inode *ai, struct archil_deleg *d, u32 epoch);
struct archil_deleg *archil_inode_disown(struct archil_inode *ai);
/*
 * Enter a change of this inode: while inside, the delegation does not finish
 * draining. Inside nobody waits for network or user memory. On success
 * *dp holds a reference; archil_deleg_leave() gives it back.
 *
 * -EAGAIN: it is draining; leave all locks below i_rwsem, archil_deleg_wait(*dp), again
 * (*dp then holds a reference that the wait puts). -EROFS: not owned, as far as we
 * were told: archil_own() asks. -EIO: taken.
 */
int archil_deleg_enter(struct inode *inode, struct archil_deleg **dp);
void archil_deleg_leave(struct archil_deleg *d);
/* Wait, killably, until it is neither draining nor being revoked; puts the reference. */
int archil_deleg_wait(struct archil_deleg *d);

/*
 * enter, but waiting and asking as needed, and taking ownership of a regular file by itself
 * where nobody owns it if @dynamic (semantics.md 3.7); @dentry is then its name. -EBUSY,
 * -EROFS, -EINTR, -EIO.
 */
int archil_own(struct inode *inode, bool dynamic, struct dentry *dentry, struct archil_deleg **dp);

/* Why may this not be changed? Asks the server: -EBUSY, else -EROFS. */
int archil_not_owned(struct inode *inode);

/*
 * No more changes; 0 when none is under way. Waits, killably, while somebody else
 * drains it (@timeout: jiffies): so who takes several takes them in order of number.
 * -EAGAIN: it is closed; -EIO: lost; -EINTR, -ETIMEDOUT.
 */
int archil_deleg_quiesce_wait(struct archil_deleg *d, long timeout);
/* Not given back after all. */
void archil_deleg_resume(struct archil_deleg *d);
/* Something was appended to its log. delegs->lock is not held; with it: locked. */
void archil_deleg_do_stir(struct archil_deleg *d);
void archil_deleg_stir_locked(struct archil_deleg *d);
static inline void archil_deleg_stir(struct archil_deleg *d)
{
	smp_mb(); /* appended before we look; pairs with archil_deleg_calm() */
	if (!READ_ONCE(d->stirred))
		archil_deleg_do_stir(d);
}

/* Write back everything in it and wait. 0, -EINTR (if @killable), -EIO. */
int archil_deleg_flush(struct archil_deleg *d, bool killable);
/*
 * Call @fn for every inode that caches this delegation, once; with a reference to
 * the inode, no lock held. Stops at the first error.
 */
int archil_deleg_for_inodes(struct archil_deleg *d,
			    int (*fn)(struct archil_deleg *d, struct inode *inode, void *arg),
			    void *arg);

/* Checkout and checkin, for ioctl.c; fill in the result's holder. Killable. */
int archil_checkout(struct dentry *dentry, struct archil_ioc_checkout *arg);
int archil_checkin(struct dentry *dentry, struct archil_ioc_checkin *arg);

/* The server took it: from agent or data connection, in any order. Never blocks. */
void archil_deleg_revoked(struct archil_mount *m, u64 number);

/* The same for one that we hold: it is lost, whatever the server says next. */
void archil_deleg_lost(struct archil_deleg *d);
/* No request that could bring a grant is out. */
void archil_delegs_no_grant_due(struct archil_mount *m);
/* The session is over: whatever is held is lost. May sleep. */
void archil_delegs_over(struct archil_mount *m);

/* Write back what is held and wait. @killable. 0, -EINTR, -EIO. */
int archil_delegs_flush(struct archil_mount *m, bool killable);
/* Begin to send whatever is appended. */
void archil_delegs_kick(struct archil_mount *m);
/* Before the superblock goes: no dentry is held any more. */
void archil_delegs_unpin(struct archil_mount *m);
/* Next delegation above a cursor, for listing; with a reference, or NULL. */
struct archil_deleg *archil_deleg_next(struct archil_mount *m, u64 number);
/* The first above @number that is on this inode, an orphan's too. */
struct archil_deleg *archil_deleg_next_at(struct archil_mount *m, u64 number, u64 ino);

#endif /* ARCHIL_DELEG_H */

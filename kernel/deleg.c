// SPDX-License-Identifier: GPL-2.0
/*
 * Ownership in the hot path: what covers an inode, entering and leaving a
 * change, losing.
 *
 * 1. A change is made inside archil_deleg_enter() .. archil_deleg_leave(). Entering
 *    counts itself in d->users and then tests the state; draining sets the state and
 *    then waits until users is 0. So what is inside is seen by the drain, and
 *    whoever comes later sees the drain. Inside nobody waits for network or user
 *    memory.
 * 2. Data: entered with the folio locked, in write_begin and page_mkwrite, and left when
 *    it is dirty. Names and attributes: entered around append and the change of
 *    memory.
 * 3. Losing by force waits for nobody: see lost.c.
 * 4. What covers an inode the server says, with its attributes: the number of a delegation of
 *    ours, or none. Its word is good if it is not older than the grant, nor than the
 *    last move of a directory between delegations (delegs->moved). Only then is anything
 *    changed under it, and only if the attributes are not older than the grant either. An
 *    inode caches it with a reference, in d->inodes; the cache is right as long as the
 *    delegation is not closed and nothing was moved between delegations since
 *    (delegs->epoch).
 * 5. The server's pushes may overtake the reply that brings a grant: a revocation
 *    of an unknown number is kept until no grant can be on its way.
 * 6. A delegation's root dentry is pinned, so the path from there to the mounted root is in
 *    memory, and what lies beneath a directory can be told.
 * 7. Where its word is too old, names in memory tell what may cover an inode. That is
 *    good enough to not believe what was read before the grant, and for nothing else.
 * 8. A delegation is in ds->stirred from after an append until its log is found durable by somebody
 *    who looks again when it is out. So syncfs and commit= pass over what is only held.
 */
#include <linux/dcache.h>
#include <linux/slab.h>

#include "beneath.h"
#include "inode.h"
#include "lost.h"
#include "names.h"
#include "orphan.h"
#include "pagecache.h"
#include "trace.h"

#define ARCHIL_ASK_TIMES	5

void archil_delegs_init(struct archil_mount *m)
{
	struct archil_delegs *ds = &m->delegs;

	spin_lock_init(&ds->lock);
	ds->numbers = RB_ROOT;
	ds->stirred = RB_ROOT;
	hash_init(ds->inos);
	init_waitqueue_head(&ds->checkout_wait);
	mutex_init(&ds->orphan_mutex);
	init_waitqueue_head(&ds->held_back_wait);
}

/* ---- life ---- */

struct archil_deleg *archil_deleg_alloc(struct archil_mount *m)
{
	struct archil_deleg *d;

	/* Charged: it stays until it is given back, and anybody takes as many as he has files. */
	d = kzalloc(sizeof(*d), GFP_NOFS | __GFP_ACCOUNT);
	if (!d)
		return NULL;
	if (archil_log_init(&d->log)) {
		kfree(d);
		return NULL;
	}
	refcount_set(&d->ref, 1);
	RB_CLEAR_NODE(&d->by_number);
	mutex_init(&d->walk_mutex);
	d->mount = m;
	init_waitqueue_head(&d->wait);
	spin_lock_init(&d->inodes_lock);
	INIT_LIST_HEAD(&d->inodes);
	INIT_WORK(&d->lost_work, archil_lost_work);
	INIT_WORK(&d->release_work, archil_orphans_work);
	return d;
}

void archil_deleg_put(struct archil_deleg *d)
{
	if (!d || !refcount_dec_and_test(&d->ref))
		return;
	archil_orphans_forget(d);
	archil_log_exit(&d->log);
	kfree_rcu(d, rcu);
}

/* Both trees of delegations are by number; @at is where in a delegation its node is. */
static struct archil_deleg *archil_deleg_of_node(struct rb_node *node, size_t at)
{
	return (void *)node - at;
}

/* The first with a number of at least this. */
static struct archil_deleg *archil_tree_from(struct rb_root *tree, size_t at, u64 number)
{
	struct archil_deleg *d, *found = NULL;
	struct rb_node *node = tree->rb_node;

	while (node) {
		d = archil_deleg_of_node(node, at);
		if (d->number >= number) {
			found = d;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/* False: there is one of that number. */
static bool archil_tree_insert(struct rb_root *tree, size_t at, struct archil_deleg *d)
{
	struct rb_node **link = &tree->rb_node, *parent = NULL;
	struct rb_node *node = (void *)d + at;
	u64 number;

	while (*link) {
		parent = *link;
		number = archil_deleg_of_node(parent, at)->number;
		if (d->number == number)
			return false;
		link = d->number < number ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(node, parent, link);
	rb_insert_color(node, tree);
	return true;
}

static struct archil_deleg *archil_deleg_from(struct archil_delegs *ds, u64 number)
{
	lockdep_assert_held(&ds->lock);
	return archil_tree_from(&ds->numbers, offsetof(struct archil_deleg, by_number), number);
}

static bool archil_deleg_insert(struct archil_delegs *ds, struct archil_deleg *d)
{
	if (!archil_tree_insert(&ds->numbers, offsetof(struct archil_deleg, by_number), d))
		return false;
	hash_add_rcu(ds->inos, &d->by_ino, d->ino);
	WRITE_ONCE(ds->count, ds->count + 1);
	return true;
}

static void archil_deleg_unstir(struct archil_delegs *ds, struct archil_deleg *d)
{
	if (d->stirred)
		rb_erase(&d->by_stirred, &ds->stirred);
	WRITE_ONCE(d->stirred, false);
}

/* False: it was not there any more. */
static bool archil_deleg_erase(struct archil_delegs *ds, struct archil_deleg *d,
			       enum archil_own_state state)
{
	lockdep_assert_held(&ds->lock);
	if (RB_EMPTY_NODE(&d->by_number))
		return false;
	archil_ahead_drop(d->mount);	/* before anybody can see that it is not ours */
	WRITE_ONCE(d->state, state);
	rb_erase(&d->by_number, &ds->numbers);
	RB_CLEAR_NODE(&d->by_number);
	archil_deleg_unstir(ds, d);
	hash_del_rcu(&d->by_ino);
	WRITE_ONCE(ds->count, ds->count - 1);
	return true;
}

void archil_deleg_install(struct archil_deleg *d, const struct archil_grant *g,
			  struct dentry *root)
{
	struct archil_delegs *ds = &d->mount->delegs;
	bool lost = false, fine;
	unsigned int i;

	d->number = le64_to_cpu(g->number);
	d->ino = le64_to_cpu(g->ino);
	d->commit = le64_to_cpu(g->commit);
	d->since = le64_to_cpu(g->since);
	d->origin = le32_to_cpu(g->origin);
	d->root = dget(root);
	refcount_inc(&d->ref);	/* it may be lost as soon as it is in the tables */
	if (root)
		archil_beneath_mark(root);
	archil_ahead_drop(d->mount);	/* what was made with it is in no listing from before */

	spin_lock(&ds->lock);
	fine = d->number && d->number != U64_MAX && archil_deleg_insert(ds, d);
	if (fine && d->number > ds->top)
		ds->top = d->number;
	if (fine && d->commit > ds->newest)
		WRITE_ONCE(ds->newest, d->commit);
	if (fine && d->origin == ARCHIL_ORIGIN_CHECKOUT)
		WRITE_ONCE(ds->names_epoch, ds->names_epoch + 1);
	for (i = 0; i < ds->nr_early; i++)
		lost |= ds->early[i] == d->number;
	spin_unlock(&ds->lock);
	if (!fine) {
		pr_err("mount %llu: the server grants delegation %llu, which cannot be\n",
		       d->mount->id, d->number);
		d->root = NULL;
		dput(root);	/* not the last reference */
		archil_deleg_put(d);	/* the tables' */
	} else {
		trace_archil_grant(d->mount->id, d->number, d->ino, d->origin);
		if (lost)
			archil_deleg_lost(d);
	}
	archil_deleg_put(d);
}

/* Given back or swallowed; everything in it is durable. May sleep. */
void archil_deleg_close(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;
	struct dentry *root = NULL;
	bool was;

	spin_lock(&ds->lock);
	was = archil_deleg_erase(ds, d, ARCHIL_OWN_CLOSED);
	if (was)
		swap(root, d->root);
	spin_unlock(&ds->lock);
	wake_up_all(&d->wait);
	dput(root);
	if (was)
		archil_deleg_put(d);	/* the tables' */
}

/* The first with a number above this one, with a reference; or NULL. */
static struct archil_deleg *archil_deleg_above(struct archil_mount *m, u64 number)
{
	struct archil_deleg *d;

	spin_lock(&m->delegs.lock);
	d = archil_deleg_from(&m->delegs, number + 1);
	if (d)
		refcount_inc(&d->ref);
	spin_unlock(&m->delegs.lock);
	return d;
}

struct archil_deleg *archil_deleg_by_number(struct archil_mount *m, u64 number)
{
	struct archil_deleg *d;

	spin_lock(&m->delegs.lock);
	d = archil_deleg_from(&m->delegs, number);
	if (d && d->number == number)
		refcount_inc(&d->ref);
	else
		d = NULL;
	spin_unlock(&m->delegs.lock);
	return d;
}

struct archil_deleg *archil_deleg_next(struct archil_mount *m, u64 number)
{
	struct archil_deleg *d;

	while ((d = archil_deleg_above(m, number)) && !d->origin) {
		number = d->number;
		archil_deleg_put(d);
	}
	return d;
}

struct archil_deleg *archil_deleg_next_at(struct archil_mount *m, u64 number, u64 ino)
{
	struct archil_deleg *d, *first = NULL;

	spin_lock(&m->delegs.lock);
	hash_for_each_possible(m->delegs.inos, d, by_ino, ino)
		if (d->ino == ino && d->number > number && (!first || d->number < first->number))
			first = d;
	if (first)
		refcount_inc(&first->ref);
	spin_unlock(&m->delegs.lock);
	return first;
}

/* ---- which one covers an inode ---- */

/* One on just this inode, with a reference; or NULL. Under RCU. */
static struct archil_deleg *archil_deleg_at(struct archil_mount *m, u64 ino)
{
	struct archil_deleg *d;

	hash_for_each_possible_rcu(m->delegs.inos, d, by_ino, ino)
		if (d->ino == ino)
			return refcount_inc_not_zero(&d->ref) ? d : NULL;
	return NULL;
}

/* Walk up from a name. A rename under way makes it start again. */
static struct archil_deleg *archil_deleg_walk(struct archil_mount *m, struct dentry *dentry)
{
	struct archil_deleg *d = NULL;
	struct dentry *p;
	struct inode *inode;
	unsigned int seq;

	rcu_read_lock();
	do {
		archil_deleg_put(d);
		d = NULL;
		seq = read_seqbegin(&rename_lock);
		for (p = dentry;; p = READ_ONCE(p->d_parent)) {
			inode = d_inode_rcu(p);
			if (inode)
				d = archil_deleg_at(m, archil_i(inode)->ino);
			if (d || IS_ROOT(p))
				break;
		}
	} while (read_seqretry(&rename_lock, seq));
	rcu_read_unlock();
	return d;
}

/* Rule 7. */
static struct archil_deleg *archil_deleg_named(struct inode *inode, struct dentry *dentry)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_deleg *d;
	struct dentry *alias;

	rcu_read_lock();
	d = archil_deleg_at(m, archil_i(inode)->ino);
	rcu_read_unlock();
	if (d)
		return d;
	if (dentry && d_inode(dentry) == inode)
		return archil_deleg_walk(m, dentry);
	alias = d_find_any_alias(inode);
	if (!alias)
		return NULL;
	d = archil_deleg_walk(m, alias);
	dput(alias);
	return d;
}

/* Forget what is cached; returns it, with its reference. Under own_mutex. */
static struct archil_deleg *archil_inode_forget(struct archil_inode *ai)
{
	struct archil_deleg *d;

	spin_lock(&ai->lock);
	d = ai->own;
	WRITE_ONCE(ai->own, NULL);
	spin_unlock(&ai->lock);
	if (d) {
		spin_lock(&d->inodes_lock);
		list_del_init(&ai->own_list);
		spin_unlock(&d->inodes_lock);
	}
	return d;
}

struct archil_deleg *archil_inode_disown(struct archil_inode *ai)
{
	struct archil_deleg *d;

	/* Nobody puts it on another list before it is off this one. */
	mutex_lock(&ai->own_mutex);
	d = archil_inode_forget(ai);
	mutex_unlock(&ai->own_mutex);
	return d;
}

/* Cache a delegation, with a reference of its own. */
void archil_inode_own(struct archil_inode *ai, struct archil_deleg *d, u32 epoch)
{
	struct archil_deleg *old;

	spin_lock(&ai->lock);
	if (ai->own == d) {
		ai->own_epoch = epoch;
		spin_unlock(&ai->lock);
		return;
	}
	spin_unlock(&ai->lock);

	mutex_lock(&ai->own_mutex);
	/* Somebody else may have, and have changed it under that already. */
	if (READ_ONCE(ai->own) == d) {
		WRITE_ONCE(ai->own_epoch, epoch);
		mutex_unlock(&ai->own_mutex);
		return;
	}
	old = archil_inode_forget(ai);
	refcount_inc(&d->ref);
	spin_lock(&d->inodes_lock);
	list_add_tail(&ai->own_list, &d->inodes);
	spin_unlock(&d->inodes_lock);
	spin_lock(&ai->lock);
	WRITE_ONCE(ai->own, d);
	ai->own_epoch = epoch;
	/* The old log was drained; numbers of the new one mean something else. */
	ai->last_seq = 0;
	ai->size_seq = 0;
	ai->content_seq = 0;
	clear_bit(ARCHIL_I_TOLD, &ai->flags);
	spin_unlock(&ai->lock);
	mutex_unlock(&ai->own_mutex);
	archil_deleg_put(old);
}

struct archil_deleg *archil_deleg_cached(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_deleg *d;

	spin_lock(&ai->lock);
	d = ai->own;
	if (d && READ_ONCE(d->state) != ARCHIL_OWN_CLOSED)
		refcount_inc(&d->ref);
	else
		d = NULL;
	spin_unlock(&ai->lock);
	return d;
}

struct archil_deleg *archil_deleg_told(struct inode *inode)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_delegs *ds = &m->delegs;
	struct archil_inode *ai = archil_i(inode);
	u32 epoch = READ_ONCE(ds->epoch);
	struct archil_deleg *d;
	u64 number, at;

	if (archil_not_ours(inode))
		return NULL;
	spin_lock(&ai->lock);
	d = ai->own;
	/* What was lost stays with the lost one until that is cleaned: rule 3. */
	if (d && READ_ONCE(d->state) != ARCHIL_OWN_CLOSED &&
	    (ai->own_epoch == epoch || READ_ONCE(d->state) == ARCHIL_OWN_TAKEN ||
	     test_bit(ARCHIL_I_ORPHAN, &ai->flags))) {
		refcount_inc(&d->ref);
		spin_unlock(&ai->lock);
		return d;
	}
	number = ai->told;
	at = ai->told_commit;
	spin_unlock(&ai->lock);
	if (!number || at < READ_ONCE(ds->moved))
		return NULL;
	d = archil_deleg_by_number(m, number);
	if (d && at < d->commit) {
		archil_deleg_put(d);
		return NULL;
	}
	if (d)
		archil_inode_own(ai, d, epoch);
	return d;
}

struct archil_deleg *archil_deleg_of(struct inode *inode, struct dentry *dentry)
{
	struct archil_deleg *d = archil_deleg_told(inode);

	if (d || !READ_ONCE(archil_mnt(inode->i_sb)->delegs.count))
		return d;
	return archil_deleg_named(inode, dentry);
}

bool archil_owned(struct inode *inode)
{
	struct archil_deleg *d = archil_deleg_told(inode);
	bool owned = d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING;

	archil_deleg_put(d);
	return owned;
}

/* ---- entering and leaving ---- */

int archil_deleg_enter(struct inode *inode, struct archil_deleg **dp)
{
	struct archil_deleg *d;

	for (;;) {
		*dp = d = archil_deleg_told(inode);
		if (!d)
			return -EROFS;
		atomic_inc(&d->users);
		smp_mb__after_atomic(); /* pairs with archil_deleg_quiesce() */
		switch (READ_ONCE(d->state)) {
		case ARCHIL_OWN_LIVE:
			if (READ_ONCE(archil_i(inode)->commit) >= d->commit)
				return 0;
			archil_deleg_leave(d);
			return -EROFS;
		case ARCHIL_OWN_DRAINING:
			refcount_inc(&d->ref);
			archil_deleg_leave(d);
			return -EAGAIN;
		case ARCHIL_OWN_TAKEN:
			archil_deleg_leave(d);
			return -EIO;
		case ARCHIL_OWN_CLOSED:
			archil_deleg_leave(d);
			break;
		}
	}
}

void archil_deleg_leave(struct archil_deleg *d)
{
	if (atomic_dec_and_test(&d->users) && READ_ONCE(d->state) != ARCHIL_OWN_LIVE)
		wake_up_all(&d->wait);
	archil_deleg_put(d);
}

static int archil_deleg_wait_for(struct archil_deleg *d, long timeout)
{
	int err = archil_waited(wait_event_killable_timeout(d->wait,
					READ_ONCE(d->state) != ARCHIL_OWN_DRAINING, timeout));

	archil_deleg_put(d);
	return err;
}

int archil_deleg_wait(struct archil_deleg *d)
{
	return archil_deleg_wait_for(d, MAX_SCHEDULE_TIMEOUT);
}

int archil_not_owned(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	int err = archil_revalidate(inode, true);

	if (err)
		return err;
	return READ_ONCE(ai->other) ? -EBUSY : -EROFS;
}

/*
 * What we were told of it may be too old: ask. 0: it is ours, enter again. -EROFS: it
 * is not, or there is no need to ask. Killable.
 */
static int archil_deleg_ask(struct inode *inode)
{
	struct archil_delegs *ds = &archil_mnt(inode->i_sb)->delegs;
	struct archil_inode *ai = archil_i(inode);
	bool known;
	int err;

	spin_lock(&ai->lock);
	known = !ai->told && ai->told_commit >= READ_ONCE(ds->newest) &&
		ai->told_commit >= READ_ONCE(ds->moved);
	spin_unlock(&ai->lock);
	/* Of several links another may be the home by now. */
	if (!S_ISDIR(inode->i_mode) && inode->i_nlink > 1)
		known = false;
	if (known || !READ_ONCE(ds->count))
		return -EROFS;
	err = archil_revalidate(inode, true);
	if (err)
		return err;
	if (!READ_ONCE(ai->told))
		return -EROFS;
	return inode->i_nlink ? 0 : archil_orphan_adopt(inode);
}

int archil_own(struct inode *inode, bool dynamic, struct dentry *dentry, struct archil_deleg **dp)
{
	struct archil_inode *ai = archil_i(inode);
	unsigned int asked = 0;
	bool cleaned = false;
	int err;

	for (;;) {
		err = archil_deleg_enter(inode, dp);
		if (!err)
			return 0;
		if (err == -EAGAIN) {
			err = archil_deleg_wait(*dp);
			if (err)
				return err;
			continue;
		}
		if (err == -EIO && !cleaned) {
			/* A descriptor from before is refused all the same, a new one need not be. */
			err = archil_lost_wait(inode);
			if (err)
				return err;
			cleaned = true;
			continue;
		}
		if (err != -EROFS || sb_rdonly(inode->i_sb))
			return err;
		/* More than once: delegations may come and go while we ask, but not for ever. */
		if (asked++ < ARCHIL_ASK_TIMES) {
			err = archil_deleg_ask(inode);
			if (!err)
				continue;
			if (err != -EROFS)
				return err;
		}
		/* Given back, and nobody has named it since: this comes through an old descriptor. */
		if (!dynamic || !S_ISREG(inode->i_mode) || asked > ARCHIL_ASK_TIMES ||
		    test_bit(ARCHIL_I_GIVEN, &ai->flags))
			return archil_not_owned(inode);
		err = archil_sync_grant(inode, dentry);
		if (err)
			return err;
	}
}

/* ---- draining ---- */

/* Not given back after all. */
void archil_deleg_resume(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;

	spin_lock(&ds->lock);
	if (d->state == ARCHIL_OWN_DRAINING) {
		WRITE_ONCE(d->state, ARCHIL_OWN_LIVE);
		archil_orphans_go_on(d);
	}
	spin_unlock(&ds->lock);
	wake_up_all(&d->wait);
}

/* No more changes. 0; -EAGAIN: it is not live; -EINTR: killed. */
static int archil_deleg_quiesce(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;
	bool live;

	spin_lock(&ds->lock);
	live = d->state == ARCHIL_OWN_LIVE;
	if (live)
		WRITE_ONCE(d->state, ARCHIL_OWN_DRAINING);
	spin_unlock(&ds->lock);
	if (!live)
		return -EAGAIN;
	smp_mb(); /* pairs with archil_deleg_enter() */
	if (!wait_event_killable(d->wait, !atomic_read(&d->users)))
		return 0;
	archil_deleg_resume(d);
	return -EINTR;
}

int archil_deleg_quiesce_wait(struct archil_deleg *d, long timeout)
{
	int err;

	while ((err = archil_deleg_quiesce(d)) == -EAGAIN) {
		switch (READ_ONCE(d->state)) {
		case ARCHIL_OWN_CLOSED:
			return -EAGAIN;
		case ARCHIL_OWN_TAKEN:
			return -EIO;
		default:
			refcount_inc(&d->ref);
			err = archil_deleg_wait_for(d, timeout);
			if (err)
				return err;
		}
	}
	return err;
}

/*
 * Call @fn for every inode that caches this delegation, once; with a reference to
 * the inode, no lock held. Stops at the first error.
 */
int archil_deleg_for_inodes(struct archil_deleg *d,
			    int (*fn)(struct archil_deleg *d, struct inode *inode, void *arg),
			    void *arg)
{
	struct archil_inode *ai, *next;
	LIST_HEAD(todo);
	struct inode *inode;
	int err = 0;

	mutex_lock(&d->walk_mutex);
	spin_lock(&d->inodes_lock);
	list_splice_init(&d->inodes, &todo);
	while (!list_empty(&todo)) {
		ai = list_first_entry(&todo, struct archil_inode, own_list);
		list_move_tail(&ai->own_list, &d->inodes);
		if (err)
			continue;
		inode = igrab(&ai->vfs);
		if (!inode)
			continue;	/* being evicted: it is clean */
		spin_unlock(&d->inodes_lock);
		err = fn(d, inode, arg);
		iput(inode);
		cond_resched();
		spin_lock(&d->inodes_lock);
	}
	list_for_each_entry_safe(ai, next, &todo, own_list)
		list_move_tail(&ai->own_list, &d->inodes);
	spin_unlock(&d->inodes_lock);
	mutex_unlock(&d->walk_mutex);
	return err;
}

/* All of it is on its way before the first is waited for. */
static int archil_flush_begin(struct archil_deleg *d, struct inode *inode, void *arg)
{
	if (S_ISREG(inode->i_mode) && test_bit(ARCHIL_I_BULK, &archil_i(inode)->flags))
		filemap_flush(inode->i_mapping);
	return 0;
}

static int archil_flush_inode(struct archil_deleg *d, struct inode *inode, void *killable)
{
	return S_ISREG(inode->i_mode) ? archil_flush_data(inode, killable != NULL) : 0;
}

/* Write back everything in it and wait. */
int archil_deleg_flush(struct archil_deleg *d, bool killable)
{
	int err, err2;

	archil_log_kick(d);
	atomic_inc(&d->flushing);
	archil_deleg_for_inodes(d, archil_flush_begin, NULL);
	err = archil_deleg_for_inodes(d, archil_flush_inode, killable ? d : NULL);
	atomic_dec(&d->flushing);
	if (err == -EINTR)
		return err;
	err2 = archil_log_wait(d, 0, killable);
	return err2 ?: err;
}

/* ---- what is not durable ---- */

void archil_deleg_stir_locked(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;

	lockdep_assert_held(&ds->lock);
	if (d->stirred || RB_EMPTY_NODE(&d->by_number))
		return;
	archil_tree_insert(&ds->stirred, offsetof(struct archil_deleg, by_stirred), d);
	WRITE_ONCE(d->stirred, true);
}

void archil_deleg_do_stir(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;

	spin_lock(&ds->lock);
	archil_deleg_stir_locked(d);
	spin_unlock(&ds->lock);
}

/* All of its log was durable. If it still is, nobody asks until something is appended. */
static void archil_deleg_calm(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;

	spin_lock(&ds->lock);
	archil_deleg_unstir(ds, d);
	smp_mb(); /* calm before we look; pairs with archil_deleg_stir() */
	if (!archil_log_idle(d))
		archil_deleg_stir_locked(d);
	spin_unlock(&ds->lock);
}

/* The first that is stirred with a number above this one, with a reference; or NULL. */
static struct archil_deleg *archil_stirred_above(struct archil_mount *m, u64 number)
{
	struct archil_delegs *ds = &m->delegs;
	struct archil_deleg *d;

	spin_lock(&ds->lock);
	d = archil_tree_from(&ds->stirred, offsetof(struct archil_deleg, by_stirred), number + 1);
	if (d)
		refcount_inc(&d->ref);
	spin_unlock(&ds->lock);
	return d;
}

int archil_delegs_flush(struct archil_mount *m, bool killable)
{
	struct archil_deleg *d;
	int err, ret = 0;
	u64 number;

	/* All logs begin to move before the first is waited for. */
	archil_delegs_kick(m);
	ret = archil_dirty_flush(m, killable);
	if (ret == -EINTR)
		return ret;
	archil_delegs_kick(m);
	for (number = 0; (d = archil_stirred_above(m, number)); archil_deleg_put(d)) {
		number = d->number;
		err = archil_log_wait(d, 0, killable);
		if (err == -EINTR) {
			archil_deleg_put(d);
			return err;
		}
		if (!err)
			archil_deleg_calm(d);
		ret = ret ?: err;
	}
	/* What was lost is said by the call that waited for it, not by the next one. */
	err = archil_lost_wait_all(m, killable);
	return err ?: ret;
}

/* Begin to send whatever is appended. */
void archil_delegs_kick(struct archil_mount *m)
{
	struct archil_deleg *d;
	u64 number;

	for (number = 0; (d = archil_stirred_above(m, number)); archil_deleg_put(d)) {
		number = d->number;
		if (archil_log_idle(d))
			archil_deleg_calm(d);
		else
			archil_log_kick(d);
	}
}

/* ---- losing ---- */

void archil_deleg_lost(struct archil_deleg *d)
{
	struct archil_delegs *ds = &d->mount->delegs;

	spin_lock(&ds->lock);
	if (!archil_deleg_erase(ds, d, ARCHIL_OWN_TAKEN)) {
		spin_unlock(&ds->lock);
		return;
	}
	WRITE_ONCE(ds->names_epoch, ds->names_epoch + 1);
	refcount_inc(&d->ref);
	atomic_inc(&ds->cleaning);
	/* Its reference goes to the work, under the lock: who unmounts finds the one or the other. */
	queue_work(d->mount->wq, &d->lost_work);
	spin_unlock(&ds->lock);

	if (d->origin)
		atomic64_inc(&d->mount->taken);
	trace_archil_lost(d->mount->id, d->number);
	archil_log_fail(d);
	wake_up_all(&d->wait);
	archil_deleg_put(d);
}

void archil_deleg_revoked(struct archil_mount *m, u64 number)
{
	struct archil_delegs *ds = &m->delegs;
	struct archil_deleg *d;

	spin_lock(&ds->lock);
	d = archil_deleg_from(ds, number);
	if (d && d->number == number) {
		refcount_inc(&d->ref);
	} else {
		d = NULL;
		if (ds->nr_early < ARRAY_SIZE(ds->early))
			ds->early[ds->nr_early++] = number;
	}
	spin_unlock(&ds->lock);
	if (d) {
		archil_deleg_lost(d);
		archil_deleg_put(d);
	}
}

void archil_delegs_no_grant_due(struct archil_mount *m)
{
	spin_lock(&m->delegs.lock);
	m->delegs.nr_early = 0;
	spin_unlock(&m->delegs.lock);
}

void archil_delegs_over(struct archil_mount *m)
{
	struct archil_deleg *d;

	while ((d = archil_deleg_above(m, 0))) {
		archil_deleg_lost(d);
		archil_deleg_put(d);
	}
}

void archil_delegs_unpin(struct archil_mount *m)
{
	struct archil_delegs *ds = &m->delegs;
	struct archil_deleg *d;
	struct dentry *root;
	u64 number;

	for (number = 0; (d = archil_deleg_above(m, number)); archil_deleg_put(d)) {
		number = d->number;
		root = NULL;
		spin_lock(&ds->lock);
		swap(root, d->root);
		spin_unlock(&ds->lock);
		dput(root);
	}
}

void archil_delegs_exit(struct archil_mount *m)
{
	struct archil_deleg *d;

	while ((d = archil_deleg_above(m, 0))) {
		archil_deleg_close(d);
		archil_deleg_put(d);
	}
}

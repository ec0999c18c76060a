// SPDX-License-Identifier: GPL-2.0
/*
 * Changes that no single log can carry.
 *
 * 1. The delegations concerned, those of the directories, of what moves and of what it
 *    replaces, are quiesced in order of their numbers and stay so until the
 *    answer is taken in. So no record and no WRITE of ours arrives under a delegation
 *    that has lost its inode.
 * 2. What moves is written back, and the logs are durable, before the server is asked.
 * 3. The answer is taken in by the thread that received it, before changes go on: names
 *    that do not hold any more are dropped; what moved to another delegation is told
 *    so (archil_inode_tell()), and what is beneath a directory that moved is asked
 *    for anew (delegs->moved).
 * 4. If the caller was killed the VFS moves no name: those concerned are dropped.
 */
#include <linux/slab.h>

#include "across.h"
#include "inode.h"
#include "names.h"
#include "orphan.h"
#include "pagecache.h"

#define ARCHIL_ACROSS_MAX	4

struct archil_across {
	struct archil_deleg *held[ARCHIL_ACROSS_MAX];	/* with references, by number */
	unsigned int nr_held;
	unsigned int type;		/* enum archil_rec_type */
	bool exchange;
	u64 dir_number;			/* of the delegation of dir, held */
	/* With references. new and target may be NULL. */
	struct dentry *old, *new;
	struct inode *dir, *new_dir, *inode, *target;
	struct inode *orphan;		/* one of these, if it may have lost its last name */
};

static struct archil_across *archil_across_new(const struct archil_record *rec,
					       struct inode *dir, struct dentry *old,
					       struct inode *new_dir, struct dentry *new)
{
	struct archil_across *ac = kzalloc(sizeof(*ac), GFP_NOFS);

	if (!ac)
		return NULL;
	ac->type = rec->type;
	ac->exchange = rec->type == ARCHIL_REC_RENAME && (rec->flags & ARCHIL_RENAME_EXCHANGE);
	ac->old = dget(old);
	ac->inode = d_inode(old);
	ac->dir = dir;
	ac->new_dir = new_dir;
	ihold(ac->inode);
	ihold(dir);
	ihold(new_dir);
	if (new) {
		ac->new = dget(new);
		ac->target = d_inode(new);
	}
	if (ac->target)
		ihold(ac->target);
	return ac;
}

void archil_across_finish(struct archil_across *ac)
{
	struct archil_mount *m = archil_mnt(ac->dir->i_sb);

	/* The server keeps it for us: so that it hears when we are done with it. */
	if (ac->orphan && !READ_ONCE(m->dying))
		archil_orphan_adopt(ac->orphan);
	dput(ac->new);
	dput(ac->old);
	iput(ac->target);
	iput(ac->inode);
	iput(ac->new_dir);
	iput(ac->dir);
	kfree(ac);
}

/* ---- draining ---- */

static void archil_across_let_go(struct archil_across *ac)
{
	while (ac->nr_held) {
		ac->nr_held--;
		archil_deleg_resume(ac->held[ac->nr_held]);
		archil_deleg_put(ac->held[ac->nr_held]);
	}
}

void archil_across_drop(struct archil_across *ac)
{
	archil_across_let_go(ac);
	archil_across_finish(ac);
}

static void archil_across_forget(struct archil_deleg **list, unsigned int nr)
{
	while (nr)
		archil_deleg_put(list[--nr]);
}

/* Insert by number, once; consumes the reference. */
static unsigned int archil_across_add(struct archil_deleg **list, unsigned int nr,
				      struct archil_deleg *d)
{
	unsigned int i = nr;

	if (!d)
		return nr;
	while (i && list[i - 1]->number > d->number)
		i--;
	if (i && list[i - 1] == d) {
		archil_deleg_put(d);
		return nr;
	}
	memmove(list + i + 1, list + i, (nr - i) * sizeof(*list));
	list[i] = d;
	return nr + 1;
}

/* The delegations that cover what changes; by number, with references. */
static unsigned int archil_across_concerned(struct archil_across *ac, struct archil_deleg **list)
{
	unsigned int nr;

	list[0] = archil_deleg_of(ac->dir, NULL);
	ac->dir_number = list[0] ? list[0]->number : 0;
	nr = list[0] ? 1 : 0;
	nr = archil_across_add(list, nr, archil_deleg_of(ac->inode, ac->old));
	if (ac->new_dir != ac->dir)
		nr = archil_across_add(list, nr, archil_deleg_of(ac->new_dir, NULL));
	if (ac->target)
		nr = archil_across_add(list, nr, archil_deleg_of(ac->target, ac->new));
	return nr;
}

static int archil_across_hold(struct archil_across *ac)
{
	struct archil_deleg *list[ARCHIL_ACROSS_MAX], *now[ARCHIL_ACROSS_MAX];
	unsigned int nr, nr_now, i;
	int err;

	for (;;) {
		nr = archil_across_concerned(ac, list);
		err = 0;
		for (i = 0; i < nr && !err; i++) {
			err = archil_deleg_quiesce_wait(list[i], MAX_SCHEDULE_TIMEOUT);
			if (!err)
				ac->held[ac->nr_held++] = list[i];
		}
		if (err)
			archil_across_forget(list + ac->nr_held, nr - ac->nr_held);
		if (!err) {
			/* Is it still these? Now that they are held it will stay so. */
			nr_now = archil_across_concerned(ac, now);
			if (nr_now != nr || memcmp(now, list, nr * sizeof(*list)))
				err = -EAGAIN;
			archil_across_forget(now, nr_now);
		}
		if (!err)
			return 0;
		archil_across_let_go(ac);
		if (err != -EAGAIN)
			return err;
	}
}

static int archil_across_flush_tree(struct archil_across *ac, struct inode *dir,
				    struct dentry *dentry)
{
	struct archil_deleg *d = archil_deleg_of(dir, dentry);
	int err = d ? archil_deleg_flush(d, true) : 0;

	archil_deleg_put(d);
	return err;
}

/* Everything that the server may have to know of what changes. */
static int archil_across_flush(struct archil_across *ac)
{
	unsigned int i;
	int err = 0;

	if (S_ISREG(ac->inode->i_mode))
		err = archil_flush_data(ac->inode, true);
	else if (S_ISDIR(ac->inode->i_mode))
		err = archil_across_flush_tree(ac, ac->inode, ac->old);
	if (!err && ac->target && S_ISREG(ac->target->i_mode))
		err = archil_flush_data(ac->target, true);
	else if (!err && ac->exchange && S_ISDIR(ac->target->i_mode))
		err = archil_across_flush_tree(ac, ac->target, ac->new);
	for (i = 0; i < ac->nr_held && !err; i++)
		err = archil_log_wait(ac->held[i], 0, true);
	return err;
}

/* ---- taking in the answer ---- */

/* An orphan has a name again: if it had a delegation of its own, that has ended. */
static void archil_across_adopted(struct archil_across *ac)
{
	unsigned int i;

	archil_orphan_cancel(ac->inode);
	for (i = 0; i < ac->nr_held; i++)
		if (!ac->held[i]->origin)
			archil_deleg_close(ac->held[i]);
}

static void archil_across_done(struct archil_across *ac, const struct archil_wattr *attr,
			       u64 commit)
{
	struct archil_delegs *ds = &archil_mnt(ac->dir->i_sb)->delegs;
	bool dirs = S_ISDIR(ac->inode->i_mode) ||
		    (ac->exchange && S_ISDIR(ac->target->i_mode));

	spin_lock(&ds->lock);
	WRITE_ONCE(ds->epoch, ds->epoch + 1);
	if (dirs && commit > ds->moved)
		WRITE_ONCE(ds->moved, commit);
	spin_unlock(&ds->lock);

	/* The server has picked the cookie of what came. */
	if (ac->type != ARCHIL_REC_UNLINK) {
		archil_dir_incomplete(ac->dir);
		archil_dir_incomplete(ac->new_dir);
	}
	/* Behind that, as archil_dir_complete() wants it; before names go: archil_inode_outdated(). */
	archil_inode_reread(ac->dir, commit);
	archil_inode_reread(ac->new_dir, commit);
	if (ac->type == ARCHIL_REC_LINK)
		archil_across_adopted(ac);
	archil_inode_relinked(ac->inode, attr, commit);
	archil_deleg_put(archil_inode_disown(archil_i(ac->inode)));
	if (ac->type == ARCHIL_REC_UNLINK) {
		archil_dir_unlist(ac->old);
		d_drop(ac->old);
		if (S_ISREG(ac->inode->i_mode) && !ac->inode->i_nlink)
			ac->orphan = ac->inode;
	}
	if (ac->target && !ac->exchange) {
		d_drop(ac->new);
		if (S_ISREG(ac->target->i_mode))
			ac->orphan = ac->target;
	}
	if (ac->target) {
		archil_deleg_put(archil_inode_disown(archil_i(ac->target)));
		archil_inode_tell(ac->target, ac->exchange ? ac->dir_number : 0, commit);
		archil_inode_reread(ac->target, commit);
	}
}

static void archil_across_abandoned(struct archil_across *ac)
{
	if (ac->type != ARCHIL_REC_LINK)
		d_drop(ac->old);
	if (ac->new)
		d_drop(ac->new);
	/* There is a name that is not cached. */
	archil_dir_incomplete(ac->dir);
	archil_dir_incomplete(ac->new_dir);
}

void archil_across_answered(struct archil_across *ac, struct archil_req *req, bool abandoned)
{
	const struct archil_change_rep *rep = req->rep;

	if (!req->error && !req->status) {
		/* Nobody has the directory locked any more: whoever reads it may have what was before. */
		if (abandoned)
			archil_dir_incomplete(ac->dir);
		archil_across_done(ac, &rep->attr, req->commit);
		if (abandoned)
			archil_across_abandoned(ac);
	}
	archil_across_let_go(ac);
}

/* ---- the three ---- */

/* Consumes @ac. */
static int archil_across_change(struct archil_across *ac, struct archil_record *rec, u64 *commit)
{
	int err;

	rec->cookie = 0;
	err = archil_across_hold(ac);
	if (!err)
		err = archil_across_flush(ac);
	if (!err)
		return archil_sync_across(archil_mnt(ac->dir->i_sb), rec, ac, commit);
	archil_across_drop(ac);
	return err;
}

int archil_link_across(struct dentry *old, struct inode *dir, struct dentry *dentry,
		       struct archil_record *rec)
{
	struct inode *inode = d_inode(old);
	struct archil_across *ac;
	u64 commit;
	int err;

	ac = archil_across_new(rec, dir, old, dir, dentry);
	if (!ac)
		return -ENOMEM;
	err = archil_across_change(ac, rec, &commit);
	if (err) {
		d_drop(dentry);
		return err;
	}
	archil_name_seen(dentry, commit);
	ihold(inode);
	d_instantiate(dentry, inode);
	return 0;
}

int archil_unlink_across(struct inode *dir, struct dentry *dentry, struct archil_record *rec)
{
	struct archil_across *ac = archil_across_new(rec, dir, dentry, dir, NULL);
	u64 commit;

	return ac ? archil_across_change(ac, rec, &commit) : -ENOMEM;
}

int archil_rename_across(struct inode *old_dir, struct dentry *old, struct inode *new_dir,
			 struct dentry *new, struct archil_record *rec)
{
	struct archil_across *ac = archil_across_new(rec, old_dir, old, new_dir, new);
	u64 commit;
	int err;

	if (!ac)
		return -ENOMEM;
	err = archil_across_change(ac, rec, &commit);
	if (!err)
		archil_name_seen(old, commit);
	return err;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Files that lost their last name and are still open.
 *
 * 1. An orphan stays in the delegation in which it lost its name. When that is
 *    closed, or no log carried the change, the server gives it one of its own (origin 0);
 *    we ask for the number before anything is changed under it.
 * 2. Its last record is RELEASE, made in advance, appended when it is evicted. While
 *    the delegation drains it waits in d->releases: the drain may have passed the log
 *    already. Then it goes to the same delegation, or to the orphan's own. It may even
 *    be closed by then: an eviction waits for WRITEs, for which the drain does not.
 * 3. A delegation of its own ends when its RELEASE is acknowledged.
 */
#include <linux/slab.h>

#include "inode.h"
#include "orphan.h"

static struct archil_batch_rec *archil_release_new(struct archil_mount *m, u64 ino)
{
	struct archil_record rec = { .type = ARCHIL_REC_RELEASE, .ino = ino };

	return archil_log_rec_new(m, &rec, ARCHIL_LOG_FREE);
}

int archil_orphan_prepare(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);
	struct archil_batch_rec *e;

	if (ai->release)
		return 0;
	e = archil_release_new(archil_mnt(inode->i_sb), ai->ino);
	if (IS_ERR(e))
		return PTR_ERR(e);
	ai->release = e;
	return 0;
}

void archil_orphan_cancel(struct inode *inode)
{
	struct archil_inode *ai = archil_i(inode);

	clear_bit(ARCHIL_I_ORPHAN, &ai->flags);
	if (ai->release)
		archil_log_rec_free(archil_mnt(inode->i_sb), ai->release);
	ai->release = NULL;
}

/* The delegation of an orphan's own, with a reference; it is made if it is not known yet. */
static struct archil_deleg *archil_orphan_deleg(struct archil_mount *m,
						const struct archil_wattr *attr, u64 commit)
{
	u64 number = le64_to_cpu(attr->deleg);
	struct archil_grant grant = {
		.number = attr->deleg,
		.ino = attr->ino,
		.commit = cpu_to_le64(commit),
	};
	struct archil_deleg *d;

	if (!number || attr->nlink)
		return ERR_PTR(-EROFS);
	d = archil_deleg_by_number(m, number);
	if (d)
		return d;
	d = archil_deleg_alloc(m);
	if (!d)
		return ERR_PTR(-ENOMEM);
	refcount_inc(&d->ref);
	archil_deleg_install(d, &grant, NULL);
	return d;
}

int archil_orphan_adopt(struct inode *inode)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	struct archil_wattr attr;
	struct archil_deleg *d;
	u64 commit;
	int err;

	if (mutex_lock_killable(&m->delegs.orphan_mutex))
		return -EINTR;
	err = archil_ask_attr(inode, &attr, &commit);
	if (!err)
		err = archil_orphan_prepare(inode);
	if (err)
		goto out;
	/* What we know of it goes on being right. */
	d = archil_orphan_deleg(m, &attr, min(commit, READ_ONCE(ai->commit)));
	if (IS_ERR(d)) {
		err = PTR_ERR(d);
		goto out;
	}
	set_bit(ARCHIL_I_ORPHAN, &ai->flags);
	archil_inode_tell(inode, d->number, commit);
	archil_inode_own(ai, d, READ_ONCE(m->delegs.epoch));
	archil_deleg_put(d);
out:
	mutex_unlock(&m->delegs.orphan_mutex);
	return err;
}

/* ---- releasing ---- */

void archil_orphan_release(struct inode *inode, struct archil_deleg *d)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_inode *ai = archil_i(inode);
	struct archil_batch_rec *e = ai->release;

	ai->release = NULL;
	if (!e)
		return;
	if (!d || !test_bit(ARCHIL_I_ORPHAN, &ai->flags)) {
		archil_log_rec_free(m, e);
		return;
	}
	spin_lock(&m->delegs.lock);
	switch (d->state) {
	case ARCHIL_OWN_CLOSED:
		refcount_inc(&d->ref);
		if (!queue_work(m->wq, &d->release_work))
			archil_deleg_put(d);
		fallthrough;
	case ARCHIL_OWN_DRAINING:
		e->next = d->releases;
		d->releases = e;
		break;
	default:
		/* Under the lock: a drain that begins now waits for it. */
		WRITE_ONCE(d->released, !d->origin);
		archil_log_append_locked(d, e);
		archil_deleg_stir_locked(d);
	}
	spin_unlock(&m->delegs.lock);
	if (!d->origin)
		archil_log_kick(d);
}

void archil_orphans_go_on(struct archil_deleg *d)
{
	struct archil_batch_rec *e;

	lockdep_assert_held(&d->mount->delegs.lock);
	while ((e = d->releases)) {
		d->releases = e->next;
		WRITE_ONCE(d->released, !d->origin);
		archil_log_append_locked(d, e);
		archil_deleg_stir_locked(d);
	}
}

static void archil_orphan_release_late(struct archil_mount *m, struct archil_batch_rec *e)
{
	struct archil_wattr attr;
	struct archil_deleg *d;
	u64 commit;

	if (archil_ask_attr_of(m, e->rec.ino, &attr, &commit))
		goto out;
	mutex_lock(&m->delegs.orphan_mutex);
	d = archil_orphan_deleg(m, &attr, commit);
	mutex_unlock(&m->delegs.orphan_mutex);
	if (IS_ERR(d))
		goto out;
	WRITE_ONCE(d->released, true);
	archil_log_append(d, e);
	archil_log_kick(d);
	archil_deleg_put(d);
	return;
out:
	archil_log_rec_free(m, e);
}

void archil_orphans_closed(struct archil_deleg *d)
{
	struct archil_batch_rec *e, *late;

	spin_lock(&d->mount->delegs.lock);
	late = d->releases;
	d->releases = NULL;
	spin_unlock(&d->mount->delegs.lock);
	while ((e = late)) {
		late = e->next;
		archil_orphan_release_late(d->mount, e);
	}
}

void archil_orphans_work(struct work_struct *work)
{
	struct archil_deleg *d = container_of(work, struct archil_deleg, release_work);

	archil_orphans_closed(d);
	archil_deleg_put(d);
}

void archil_orphans_forget(struct archil_deleg *d)
{
	struct archil_batch_rec *e;

	while ((e = d->releases)) {
		d->releases = e->next;
		archil_log_rec_free(d->mount, e);
	}
}

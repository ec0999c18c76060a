// SPDX-License-Identifier: GPL-2.0
/*
 * Checkout and checkin, carried by the agent.
 *
 * 1. What the session holds beneath (checkout) or at and beneath (checkin) is
 *    quiesced, in order of number as in across.c, and flushed before the server is asked: the server closes a log at what it
 *    has applied, and that must be all.
 * 2. Once the agent has seen the request, the server may carry it out whenever it
 *    likes: a caller who goes away leaves everything quiesced until the answer.
 * 3. The answer's effect is taken in by a work of the mount's, not by whoever
 *    waits.
 * 4. The server refuses to close what was granted after we had looked (EAGAIN): we look
 *    again, and let no dynamic grant begin meanwhile.
 * 5. An orphan outlives the delegation that it was in: the server gives it one
 *    of its own when that is closed, and we ask for its number before changes go on.
 * 6. Of two delegations whose places overlap the older was taken before the newer was
 *    granted, though its revocation may still be on its way. It is lost as soon as the
 *    checkout is answered, so that nothing is changed under it any more. The server is
 *    asked first: where two seem to overlap, a name in memory may be old.
 * 7. Nobody waits longer than timeo for a request that was made before, his own or another's, and
 *    then timeo for the answer. How long writing back takes is not counted.
 */
#include <linux/capability.h>
#include <linux/slab.h>

#include "beneath.h"
#include "inode.h"
#include "names.h"
#include "netlink.h"
#include "orphan.h"

struct archil_ctl {
	refcount_t ref;			/* caller; the upcall until its effect is taken in */
	struct archil_mount *mount;
	struct dentry *dentry;		/* reference */
	bool checkin;
	unsigned long deadline;		/* jiffies: until then for what was asked before */
	struct archil_slot slot;
	u64 known;			/* all that is held with a number up to this was looked at */
	struct archil_deleg *deleg;	/* prepared for a grant, or NULL */
	struct archil_deleg **held;	/* quiesced, with references */
	unsigned int nr_held, cap_held;
	struct archil_upcall *up;
	struct work_struct work;
	struct completion finished;
	int error;			/* set before finished */
	u32 covered, released;
	u64 number;
	struct archil_ioc_holder holder;
};

static void archil_ctl_put(struct archil_ctl *ctl)
{
	if (!refcount_dec_and_test(&ctl->ref))
		return;
	if (ctl->deleg)
		archil_deleg_put(ctl->deleg);
	if (ctl->up)
		archil_upcall_put(ctl->up);
	dput(ctl->dentry);
	kvfree(ctl->held);
	kfree(ctl);
}

static struct archil_ctl *archil_ctl_new(struct dentry *dentry, bool checkin)
{
	struct archil_ctl *ctl;

	ctl = kzalloc(sizeof(*ctl), GFP_KERNEL);
	if (!ctl)
		return NULL;
	refcount_set(&ctl->ref, 1);
	ctl->mount = archil_mnt(dentry->d_sb);
	ctl->dentry = dget(dentry);
	ctl->checkin = checkin;
	ctl->deadline = jiffies + ctl->mount->timeo * HZ;
	init_completion(&ctl->finished);
	return ctl;
}

static long archil_ctl_left(struct archil_ctl *ctl)
{
	return max(1L, (long)(ctl->deadline - jiffies));
}

/* ---- what is held at and beneath a directory ---- */

static int archil_ctl_hold(struct archil_ctl *ctl, struct archil_deleg *d)
{
	struct archil_deleg **held;
	unsigned int cap;
	int err;

	if (ctl->nr_held == ctl->cap_held) {
		cap = max(16u, ctl->cap_held * 2);
		held = kvmalloc_array(cap, sizeof(*held), GFP_KERNEL);
		if (!held)
			return -ENOMEM;
		if (ctl->nr_held)
			memcpy(held, ctl->held, ctl->nr_held * sizeof(*held));
		kvfree(ctl->held);
		ctl->held = held;
		ctl->cap_held = cap;
	}
	err = archil_deleg_quiesce_wait(d, archil_ctl_left(ctl));
	if (err)
		return err == -EAGAIN || err == -EIO ? 0 : err;
	refcount_inc(&d->ref);
	ctl->held[ctl->nr_held++] = d;
	return 0;
}

/* Quiesce and flush what is held at and beneath. Killable. */
static int archil_ctl_drain(struct archil_ctl *ctl)
{
	struct archil_delegs *ds = &ctl->mount->delegs;
	struct archil_deleg *d;
	u64 number = 0;
	unsigned int i;
	int err;

	/* What is granted by now we have heard of; what comes has a higher number. */
	err = archil_slots_settle(ctl->mount, archil_ctl_left(ctl));
	spin_lock(&ds->lock);
	ctl->known = ds->top;
	spin_unlock(&ds->lock);

	while (!err && (d = archil_beneath_next(ctl->dentry, number))) {
		number = d->number;
		err = archil_ctl_hold(ctl, d);
		archil_deleg_put(d);
	}
	for (i = 0; !err && i < ctl->nr_held; i++) {
		err = archil_deleg_flush(ctl->held[i], true);
		/* Lost meanwhile: whoever waits for it is told, here it is nothing to drain. */
		if (err == -EIO && READ_ONCE(ctl->held[i]->state) == ARCHIL_OWN_TAKEN)
			err = 0;
	}
	return err;
}

static void archil_ctl_let_go(struct archil_ctl *ctl)
{
	unsigned int i;

	for (i = 0; i < ctl->nr_held; i++) {
		archil_deleg_resume(ctl->held[i]);
		archil_deleg_put(ctl->held[i]);
	}
	ctl->nr_held = 0;
}

/* ---- taking in the answer ---- */

/* Asks the server: names in memory may be old, and what stands must not be given up. */
static bool archil_deleg_stands(struct archil_deleg *d)
{
	struct archil_wattr attr;
	u64 commit;

	return !archil_ask_attr_of(d->mount, d->ino, &attr, &commit) &&
	       le64_to_cpu(attr.deleg) == d->number;
}

/* Of two that overlap. Replies come in any order: the older may be the one that was just granted. */
static void archil_ctl_one_stands(struct archil_deleg *d, struct archil_deleg *own)
{
	struct archil_deleg *older = d->number < own->number ? d : own;

	if (d != own && !archil_deleg_stands(older))
		archil_deleg_lost(older);
}

/* Rule 6. */
static void archil_ctl_overtake(struct archil_ctl *ctl)
{
	struct archil_deleg *d, *own = archil_deleg_by_number(ctl->mount, ctl->number);
	struct dentry *at = dget(ctl->dentry), *parent;
	u64 number;

	for (number = 0; own && (d = archil_beneath_next(at, number)); archil_deleg_put(d)) {
		number = d->number;
		archil_ctl_one_stands(d, own);
	}
	while (own && !IS_ROOT(at)) {
		parent = dget_parent(at);
		dput(at);
		at = parent;
		number = 0;
		while ((d = archil_deleg_next_at(ctl->mount, number, archil_i(d_inode(at))->ino))) {
			number = d->number;
			if (d->origin)
				archil_ctl_one_stands(d, own);
			archil_deleg_put(d);
		}
	}
	dput(at);
	archil_deleg_put(own);
}

static int archil_orphan_moves(struct archil_deleg *old, struct inode *inode, void *arg)
{
	if (test_bit(ARCHIL_I_ORPHAN, &archil_i(inode)->flags))
		archil_orphan_adopt(inode);
	return 0;
}

static int archil_given_back(struct archil_deleg *d, struct inode *inode, void *arg)
{
	/* What is dirty now would never be written. */
	WARN_ON_ONCE(S_ISREG(inode->i_mode) && !test_bit(ARCHIL_I_ORPHAN, &archil_i(inode)->flags) &&
		     mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY));
	set_bit(ARCHIL_I_GIVEN, &archil_i(inode)->flags);
	atomic_inc(&archil_i(inode)->given);
	archil_inode_expire(inode);
	return 0;
}

static void archil_ctl_close_held(struct archil_ctl *ctl)
{
	unsigned int i;

	for (i = 0; i < ctl->nr_held; i++) {
		struct archil_deleg *d = ctl->held[i];

		archil_deleg_for_inodes(d, archil_orphan_moves, NULL);
		if (ctl->checkin)
			archil_deleg_for_inodes(d, archil_given_back, NULL);
		archil_deleg_close(d);
		archil_orphans_closed(d);
		archil_deleg_put(d);
	}
	ctl->nr_held = 0;
}

static void archil_ctl_holder(struct archil_ctl *ctl)
{
	const struct archil_error *e = ctl->up->rep;
	u16 client_len, path_len;
	const char *parts;

	if (!e || ctl->up->rep_len < sizeof(*e))
		return;
	client_len = min_t(u16, le16_to_cpu(e->client_len), ARCHIL_IOC_CLIENT_LEN - 1);
	path_len = min_t(u16, le16_to_cpu(e->path_len), ARCHIL_IOC_PATH_LEN - 1);
	parts = (const char *)(e + 1);
	ctl->holder.since_ns = le64_to_cpu(e->since);
	ctl->holder.number = le64_to_cpu(e->deleg);
	memcpy(ctl->holder.client, parts, client_len);
	memcpy(ctl->holder.path, parts + le16_to_cpu(e->client_len), path_len);
}

static void archil_ctl_grant(struct archil_ctl *ctl)
{
	const struct archil_grant_rep *rep = ctl->up->rep;

	ctl->number = le64_to_cpu(rep->grant.number);
	if (le32_to_cpu(rep->grant.flags) & ARCHIL_GF_COVERED) {
		ctl->covered = 1;
		archil_ctl_let_go(ctl);
		return;
	}
	archil_deleg_install(ctl->deleg, &rep->grant, ctl->dentry);
	ctl->deleg = NULL;
	archil_ctl_close_held(ctl);
	archil_ctl_overtake(ctl);
	archil_inode_update(d_inode(ctl->dentry), &rep->attr, ctl->up->commit);
}

static void archil_ctl_work(struct work_struct *work)
{
	struct archil_ctl *ctl = container_of(work, struct archil_ctl, work);
	struct archil_upcall *up = ctl->up;
	u32 want = ctl->checkin ? sizeof(struct archil_checkin_rep) :
				  sizeof(struct archil_grant_rep);

	ctl->error = up->status;
	if (!ctl->error)
		ctl->error = archil_status_to_errno(up->wire_status);
	if (!ctl->error && up->rep_len < want)
		ctl->error = -EPROTO;
	if (!ctl->error && ctl->checkin) {
		ctl->released = le32_to_cpu(((struct archil_checkin_rep *)up->rep)->released);
		archil_ctl_close_held(ctl);
	} else if (!ctl->error) {
		archil_ctl_grant(ctl);
	} else {
		if (ctl->error == -EBUSY)
			archil_ctl_holder(ctl);
		archil_ctl_let_go(ctl);
	}
	/* A status of its own: no agent has sent it, so the server waits for this number still. */
	archil_slot_put(ctl->mount, &ctl->slot, !up->status);
	complete_all(&ctl->finished);
	archil_ctl_put(ctl);
}

static void archil_ctl_done(struct archil_upcall *up)
{
	struct archil_ctl *ctl = up->private;

	queue_work(ctl->mount->wq, &ctl->work);
}

/* Ask, and wait until the answer is taken in; killable, timeo at most. */
static int archil_ctl_ask(struct archil_ctl *ctl, u16 op, const void *body, u32 len)
{
	struct archil_mount *m = ctl->mount;
	struct archil_upcall *up;
	long left;
	int err;

	up = archil_upcall_new(m, ARCHIL_UPCALL_FORWARD);
	if (!up)
		return -ENOMEM;
	up->op = op;
	up->body_len = len;
	memcpy(up->body, body, len);
	up->private = ctl;
	up->done = archil_ctl_done;
	ctl->up = up;
	INIT_WORK(&ctl->work, archil_ctl_work);
	refcount_inc(&ctl->ref);
	archil_upcall_submit(up);

	left = wait_for_completion_killable_timeout(&ctl->finished, m->timeo * HZ);
	if (left > 0)
		return ctl->error;
	err = left < 0 ? -EINTR : archil_agent_alive(m->net) ? -ETIMEDOUT : -ENOTCONN;
	if (archil_upcall_cancel(up, false)) {
		/* Nobody has seen it: as if it had not been asked. */
		archil_slot_put(m, &ctl->slot, false);
		archil_ctl_let_go(ctl);
		archil_ctl_put(ctl);
	}
	return err;
}

/* ---- the two calls ---- */

/* One at a time. */
static int archil_ctl_lock(struct archil_ctl *ctl)
{
	struct archil_delegs *ds = &ctl->mount->delegs;

	return archil_waited(wait_event_killable_timeout(ds->checkout_wait,
							 !test_and_set_bit_lock(0, &ds->checkout),
							 archil_ctl_left(ctl)));
}

static void archil_ctl_unlock(struct archil_ctl *ctl)
{
	struct archil_delegs *ds = &ctl->mount->delegs;

	clear_bit_unlock(0, &ds->checkout);
	smp_mb__after_atomic(); /* it is clear before we look who waits */
	wake_up(&ds->checkout_wait);
}

static int archil_ctl_locked(struct archil_ctl *ctl)
{
	int err = archil_ctl_drain(ctl);

	if (!err)
		err = archil_slot_get(ctl->mount, &ctl->slot, ctl->mount->timeo * HZ);
	if (err)
		archil_ctl_let_go(ctl);
	return err;
}

static int archil_ctl_begin(struct archil_ctl *ctl)
{
	struct archil_mount *m = ctl->mount;
	int err = archil_ctl_lock(ctl);

	if (!err) {
		err = archil_ctl_locked(ctl);
		if (err)
			archil_ctl_unlock(ctl);
	}
	return err == -ETIMEDOUT && !archil_agent_alive(m->net) ? -ENOTCONN : err;
}

/* Where a delegation of our own begins, as seen from the mounted root. */
static void archil_own_path(struct archil_deleg *d, struct archil_ioc_holder *holder)
{
	struct dentry *root = NULL;
	char *buf, *path;

	spin_lock(&d->mount->delegs.lock);
	if (d->root)
		root = dget(d->root);
	spin_unlock(&d->mount->delegs.lock);
	holder->since_ns = d->since;
	holder->number = d->number;
	if (!root)
		return;
	buf = kmalloc(ARCHIL_IOC_PATH_LEN, GFP_KERNEL);
	if (buf) {
		path = dentry_path_raw(root, buf, ARCHIL_IOC_PATH_LEN);
		if (!IS_ERR(path))
			strscpy(holder->path, path, sizeof(holder->path));
		kfree(buf);
	}
	dput(root);
}

static bool archil_may_force(struct inode *inode)
{
	return ns_capable(inode->i_sb->s_user_ns, CAP_SYS_ADMIN) ||
	       uid_eq(current_fsuid(), inode->i_uid);
}

/* Rule 4. */
static int archil_ctl_until_known(struct dentry *dentry,
				  int (*try)(struct dentry *dentry, void *arg), void *arg)
{
	struct archil_delegs *ds = &archil_mnt(dentry->d_sb)->delegs;
	int err = try(dentry, arg);

	if (err != -EAGAIN)
		return err;
	spin_lock(&ds->lock);
	ds->held_back++;
	spin_unlock(&ds->lock);
	while (err == -EAGAIN)
		err = try(dentry, arg);
	spin_lock(&ds->lock);
	ds->held_back--;
	spin_unlock(&ds->lock);
	wake_up_all(&ds->held_back_wait);
	return err;
}

static int archil_try_checkout(struct dentry *dentry, void *p)
{
	struct archil_mount *m = archil_mnt(dentry->d_sb);
	struct archil_ioc_checkout *arg = p;
	struct archil_grant_req body = { };
	struct archil_ctl *ctl;
	int err;

	ctl = archil_ctl_new(dentry, false);
	if (!ctl)
		return -ENOMEM;
	ctl->deleg = archil_deleg_alloc(m);
	err = ctl->deleg ? archil_ctl_begin(ctl) : -ENOMEM;
	if (err)
		goto out;
	body.slot = ctl->slot;
	body.ino = cpu_to_le64(archil_i(d_inode(dentry))->ino);
	body.origin = cpu_to_le32(ARCHIL_ORIGIN_CHECKOUT);
	body.known = cpu_to_le64(ctl->known);
	if (arg->flags & ARCHIL_CHECKOUT_FORCE)
		body.flags = cpu_to_le32(ARCHIL_GR_FORCE);
	err = archil_ctl_ask(ctl, ARCHIL_OP_GRANT, &body, sizeof(body));
	archil_ctl_unlock(ctl);
	if (!err) {
		arg->covered = ctl->covered;
		arg->number = ctl->number;
	} else if (err == -EBUSY) {
		arg->holder = ctl->holder;
	}
out:
	archil_ctl_put(ctl);
	return err;
}

int archil_checkout(struct dentry *dentry, struct archil_ioc_checkout *arg)
{
	struct inode *inode = d_inode(dentry);
	struct archil_deleg *d;
	int err;

	if (!S_ISREG(inode->i_mode) && !S_ISDIR(inode->i_mode))
		return -EINVAL;
	if (sb_rdonly(inode->i_sb))
		return -EROFS;
	err = inode_permission(&nop_mnt_idmap, inode, MAY_WRITE);
	if (err)
		return err;
	if ((arg->flags & ARCHIL_CHECKOUT_FORCE) && !archil_may_force(inode))
		return -EPERM;

	d = archil_deleg_of(inode, dentry);
	if (d && READ_ONCE(d->state) == ARCHIL_OWN_LIVE && d->origin) {
		arg->covered = 1;
		arg->number = d->number;
		archil_own_path(d, &arg->holder);
		archil_deleg_put(d);
		return 0;
	}
	archil_deleg_put(d);

	return archil_ctl_until_known(dentry, archil_try_checkout, arg);
}

static int archil_try_checkin(struct dentry *dentry, void *p)
{
	struct archil_ioc_checkin *arg = p;
	struct archil_checkin_req body = { };
	struct archil_ctl *ctl;
	int err;

	ctl = archil_ctl_new(dentry, true);
	if (!ctl)
		return -ENOMEM;
	err = archil_ctl_begin(ctl);
	if (err)
		goto out;
	body.slot = ctl->slot;
	body.ino = cpu_to_le64(archil_i(d_inode(dentry))->ino);
	body.known = cpu_to_le64(ctl->known);
	err = archil_ctl_ask(ctl, ARCHIL_OP_CHECKIN, &body, sizeof(body));
	archil_ctl_unlock(ctl);
	if (!err)
		arg->released = ctl->released;
	else if (err == -EBUSY)
		arg->holder = ctl->holder;
out:
	archil_ctl_put(ctl);
	return err;
}

int archil_checkin(struct dentry *dentry, struct archil_ioc_checkin *arg)
{
	struct inode *inode = d_inode(dentry);
	struct archil_deleg *d;

	d = archil_deleg_of(inode, dentry);
	if (d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING &&
	    d->ino != archil_i(inode)->ino) {
		archil_own_path(d, &arg->holder);
		archil_deleg_put(d);
		return -EBUSY;
	}
	archil_deleg_put(d);
	return archil_ctl_until_known(dentry, archil_try_checkin, arg);
}

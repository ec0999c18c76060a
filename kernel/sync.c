// SPDX-License-Identifier: GPL-2.0
/*
 * Synchronous changes.
 *
 * 1. A slot is busy from before its request is submitted until that is
 *    answered, whoever waits; so the server sees a slot's numbers in order and one
 *    at a time, and the last reply is all that it has to remember.
 * 2. What a grant needs in memory is prepared before asking: the reply's effect
 *    is taken in by done(), without the task that asked. done() or that task, when it
 *    is killed, comes first (op->turn): so done() knows whether names will follow.
 * 3. Dentries and inodes that a request holds are let go of by a work that is queued
 *    before the slot is free: who has seen all slots free, and flushed the mount's
 *    workqueue, knows that none is held.
 */
#include <linux/slab.h>

#include "across.h"
#include "inode.h"
#include "sync.h"

void archil_slots_init(struct archil_mount *m)
{
	spin_lock_init(&m->slots.lock);
	init_waitqueue_head(&m->slots.wait);
}

static bool archil_slot_try(struct archil_slots *slots, struct archil_slot *slot)
{
	unsigned long i;

	spin_lock(&slots->lock);
	i = find_first_zero_bit(slots->busy, ARCHIL_SLOTS);
	if (i < ARCHIL_SLOTS) {
		__set_bit(i, slots->busy);
		slot->slot = cpu_to_le32(i);
		slot->seq = cpu_to_le32(slots->seq[i] + 1);
	}
	spin_unlock(&slots->lock);
	return i < ARCHIL_SLOTS;
}

static bool archil_slots_idle(struct archil_slots *slots)
{
	bool idle;

	spin_lock(&slots->lock);
	idle = bitmap_empty(slots->busy, ARCHIL_SLOTS);
	spin_unlock(&slots->lock);
	return idle;
}

void archil_slots_wait_idle(struct archil_mount *m)
{
	wait_event(m->slots.wait, archil_slots_idle(&m->slots));
}

/* Are all slots of this bitmap free or with another request than then? */
static bool archil_slots_passed(struct archil_slots *slots, const unsigned long *busy,
				const u32 *seq)
{
	bool passed = true;
	unsigned int i;

	spin_lock(&slots->lock);
	for_each_set_bit(i, busy, ARCHIL_SLOTS)
		if (test_bit(i, slots->busy) && slots->seq[i] == seq[i])
			passed = false;
	spin_unlock(&slots->lock);
	return passed;
}

int archil_slots_settle(struct archil_mount *m, long timeout)
{
	struct archil_slots *slots = &m->slots;
	DECLARE_BITMAP(busy, ARCHIL_SLOTS);
	u32 seq[ARCHIL_SLOTS];

	spin_lock(&slots->lock);
	bitmap_copy(busy, slots->busy, ARCHIL_SLOTS);
	memcpy(seq, slots->seq, sizeof(seq));
	spin_unlock(&slots->lock);
	return archil_waited(wait_event_killable_timeout(slots->wait,
							 archil_slots_passed(slots, busy, seq),
							 timeout));
}

int archil_slot_get(struct archil_mount *m, struct archil_slot *slot, long timeout)
{
	return archil_waited(wait_event_killable_timeout(m->slots.wait,
							 archil_slot_try(&m->slots, slot),
							 timeout));
}

void archil_slot_put(struct archil_mount *m, const struct archil_slot *slot, bool used)
{
	struct archil_slots *slots = &m->slots;
	u32 i = le32_to_cpu(slot->slot);
	bool idle;

	spin_lock(&slots->lock);
	if (used)
		slots->seq[i] = le32_to_cpu(slot->seq);
	__clear_bit(i, slots->busy);
	idle = bitmap_empty(slots->busy, ARCHIL_SLOTS);
	spin_unlock(&slots->lock);
	if (idle)
		archil_delegs_no_grant_due(m);
	wake_up(&slots->wait);
}

struct archil_sync_op {
	struct archil_slot slot;
	struct archil_deleg *deleg;	/* prepared, or NULL */
	struct dentry *root;		/* reference, for it */
	struct archil_across *across;	/* or NULL */
	atomic_t turn;
	struct kvec vec;
	struct archil_req *req;		/* reference while finish_work is queued */
	struct work_struct finish_work;
	u8 rec[];
};

/* True for who comes first of done() and a caller that was killed. */
static bool archil_sync_first(struct archil_sync_op *op)
{
	return atomic_inc_return(&op->turn) == 1;
}

static void archil_sync_done(struct archil_req *req)
{
	struct archil_sync_op *op = req->private;
	bool abandoned = !archil_sync_first(op);
	const struct archil_grant *grant;

	if (!req->error && !req->status) {
		/* Both replies that can bring a grant begin with it. */
		grant = req->rep;
		if (op->deleg && grant->number && !(le32_to_cpu(grant->flags) & ARCHIL_GF_COVERED)) {
			archil_deleg_install(op->deleg, grant, op->root);
			op->deleg = NULL;
		}
		/* A name that was just made, and will not be seen to be. */
		if (abandoned && op->root && d_is_negative(op->root))
			d_drop(op->root);
	}
	if (op->across)
		archil_across_answered(op->across, req, abandoned);
	if (op->across || op->root) {
		refcount_inc(&req->ref);
		queue_work(req->mount->wq, &op->finish_work);
	}
	archil_room_changed(req->mount);
	archil_slot_put(req->mount, &op->slot, !req->error);
}

static void archil_sync_finish(struct work_struct *work)
{
	struct archil_sync_op *op = container_of(work, struct archil_sync_op, finish_work);

	if (op->across)
		archil_across_finish(op->across);
	dput(op->root);
	archil_req_put(op->req);
}

/* May be called from the receiving thread, which must not be the one to evict an inode. */
static void archil_sync_release(struct archil_req *req)
{
	struct archil_sync_op *op = req->private;

	if (op->deleg)
		archil_deleg_put(op->deleg);
	kfree(op);
}

/* Submit and wait; -EINTR means that done() has been told so. */
static int archil_sync_call(struct archil_req *req)
{
	int err = archil_req_call(req);

	if (err == -EINTR && !archil_sync_first(req->private)) {
		/* It is ending just now, which waits for nobody. */
		wait_for_completion(&req->completion);
		err = archil_req_wait(req);
	}
	return err;
}

/* A request with its slot and what a grant needs; the slot is the first of its body. */
static struct archil_req *archil_sync_new(struct archil_mount *m, enum archil_op opcode,
					  u32 body_len, u32 rep_cap, size_t rec_len, bool grant,
					  struct dentry *root)
{
	struct archil_sync_op *op;
	struct archil_req *req;
	int err = -ENOMEM;

	if (grant && wait_event_killable(m->delegs.held_back_wait, !READ_ONCE(m->delegs.held_back)))
		return ERR_PTR(-EINTR);
	op = kzalloc(sizeof(*op) + rec_len, GFP_NOFS);
	if (!op)
		return ERR_PTR(-ENOMEM);
	if (grant) {
		op->deleg = archil_deleg_alloc(m);
		if (!op->deleg)
			goto err_op;
	}
	req = archil_req_new(m, opcode, body_len, rep_cap, GFP_NOFS);
	if (!req)
		goto err_op;
	err = archil_slot_get(m, &op->slot, MAX_SCHEDULE_TIMEOUT);
	if (err) {
		archil_req_put(req);
		goto err_op;
	}
	op->root = dget(root);
	op->req = req;
	INIT_WORK(&op->finish_work, archil_sync_finish);
	memcpy(req->body, &op->slot, sizeof(op->slot));
	req->private = op;
	req->done = archil_sync_done;
	req->release = archil_sync_release;
	return req;

err_op:
	if (op->deleg)
		archil_deleg_put(op->deleg);
	kfree(op);
	return ERR_PTR(err);
}

static struct archil_req *archil_sync_record(struct archil_mount *m,
					     const struct archil_record *rec, bool grant,
					     struct dentry *root)
{
	struct archil_change_req *body;
	struct archil_sync_op *op;
	struct archil_req *req;
	size_t pos = 0, len = archil_record_size(rec);

	req = archil_sync_new(m, ARCHIL_OP_CHANGE, sizeof(*body),
			      sizeof(struct archil_change_rep), len, grant, root);
	if (IS_ERR(req))
		return req;
	body = req->body;
	body->flags = cpu_to_le32(grant ? ARCHIL_CH_GRANT : 0);
	op = req->private;
	archil_record_put(op->rec, len, &pos, rec);
	op->vec.iov_base = op->rec;
	op->vec.iov_len = len;
	req->out_kvec = &op->vec;
	req->out_nr = 1;
	req->out_len = len;
	req->urgent = true;
	return req;
}

int archil_sync_create(struct archil_mount *m, const struct archil_record *rec, bool grant,
		       struct dentry *root, struct archil_change_rep *rep, u64 *commit)
{
	struct archil_req *req = archil_sync_record(m, rec, grant, root);
	int err;

	if (IS_ERR(req))
		return PTR_ERR(req);
	err = archil_sync_call(req);
	if (!err) {
		memcpy(rep, req->rep, sizeof(*rep));
		*commit = req->commit;
	}
	archil_req_put(req);
	return err;
}

int archil_sync_across(struct archil_mount *m, const struct archil_record *rec,
		       struct archil_across *ac, u64 *commit)
{
	struct archil_req *req = archil_sync_record(m, rec, false, NULL);
	struct archil_sync_op *op;
	int err;

	if (IS_ERR(req)) {
		archil_across_drop(ac);
		return PTR_ERR(req);
	}
	op = req->private;
	op->across = ac;
	err = archil_sync_call(req);
	if (!err)
		*commit = req->commit;
	archil_req_put(req);
	return err;
}

int archil_sync_grant(struct inode *inode, struct dentry *root)
{
	struct archil_mount *m = archil_mnt(inode->i_sb);
	struct archil_grant_rep rep;
	struct archil_grant_req *body;
	struct archil_req *req;
	u64 commit;
	int err;

	req = archil_sync_new(m, ARCHIL_OP_GRANT, sizeof(*body), sizeof(rep), 0, true, root);
	if (IS_ERR(req))
		return PTR_ERR(req);
	body = req->body;
	body->ino = cpu_to_le64(archil_i(inode)->ino);
	body->origin = cpu_to_le32(ARCHIL_ORIGIN_DYNAMIC);
	req->urgent = true;
	err = archil_sync_call(req);
	if (!err) {
		memcpy(&rep, req->rep, sizeof(rep));
		commit = req->commit;
	}
	archil_req_put(req);
	if (err)
		return err;
	return archil_inode_update(inode, &rep.attr, commit);
}

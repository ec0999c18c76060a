// SPDX-License-Identifier: GPL-2.0
/* Applying records: who may, what comes of it, and those that leave names alone. */
#include "fs_priv.h"

int fs_op_touch(struct fs_op *op, enum fs_touch what, struct fs_node *node)
{
	struct fs_place place = { .ino = node->in.ino, .orphan_of = node->in.orphan_of };
	struct fs_chain chain = {};
	int err;

	if (op->who->deleg)
		return fs_node_inside(op->txn, node, op->who->deleg, op->who->root);
	err = fs_chain(&op->txn->view, node->in.ino, &chain);
	if (err)
		goto out;
	place.chain = chain.ino;
	place.n = chain.n;
	err = op->who->may(op->who->ctx, what, &place);
	if (err == -EBUSY || (err == -EROFS && !op->refused))
		op->refused = err;
	if (err == -EBUSY || err == -EROFS)
		err = 0;
out:
	fs_chain_free(&chain);
	return err;
}

/* The inode of a record, which is about to change: else an error, or op->refused. */
static int find_node(struct fs_op *op, bool regular, struct fs_node **nodep)
{
	int err;

	err = fs_node_get(op->txn, op->rec->ino, nodep);
	if (err)
		return err;
	if (regular && !S_ISREG((*nodep)->in.mode))
		return S_ISDIR((*nodep)->in.mode) ? -EISDIR : -EINVAL;
	err = fs_op_touch(op, FS_TOUCH_INODE, *nodep);
	if (!err && !op->refused)
		fs_node_dirty(op->txn, *nodep);
	return err;
}

static int op_setattr(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	struct fs_node *node;
	struct fs_inode *in;
	int err;

	err = find_node(op, rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP), &node);
	if (err || op->refused)
		return err;
	in = &node->in;
	if (rec->valid & ARCHIL_SET_SIZE)
		err = fs_node_resize(op->txn, node, rec->size, op->who->deleg);
	else if (rec->valid & ARCHIL_SET_SIZE_UP)
		err = fs_node_grow(op->txn, node, rec->size, op->who->deleg);
	if (err)
		return err;
	if (rec->valid & ARCHIL_SET_MODE)
		in->mode = (in->mode & S_IFMT) | (rec->mode & 07777);
	if (rec->valid & ARCHIL_SET_UID)
		in->uid = rec->uid;
	if (rec->valid & ARCHIL_SET_GID)
		in->gid = rec->gid;
	if (rec->valid & ARCHIL_SET_ATIME)
		in->atime = rec->atime;
	if (rec->valid & ARCHIL_SET_MTIME)
		in->mtime = rec->mtime;
	if (rec->valid & ARCHIL_SET_CTIME)
		in->ctime = rec->ctime;
	fs_node_change(op->txn, node);
	return 0;
}

/* CONTENT, PUNCH, ALLOC */
static int op_contents(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	struct fs_txn *txn = op->txn;
	struct fs_node *node;
	int err;

	err = find_node(op, true, &node);
	if (err || op->refused)
		return err;
	switch (rec->type) {
	case ARCHIL_REC_CONTENT:
		if (node->in.flags & ARCHIL_AF_BULK)
			return -EINVAL;
		err = fs_node_content(txn, node, rec->off, rec->data, rec->data_len);
		break;
	case ARCHIL_REC_PUNCH:
		err = fs_node_punch(txn, node, rec->off, rec->length);
		break;
	case ARCHIL_REC_ALLOC:
		err = fs_node_alloc(txn, node, rec->off, rec->length,
				    rec->flags & ARCHIL_ALLOC_KEEP_SIZE, op->who->deleg);
		break;
	}
	if (err)
		return err;
	node->in.mtime = rec->time;
	node->in.ctime = rec->time;
	fs_node_change(txn, node);
	return 0;
}

/* SETXATTR, RMXATTR */
static int op_xattr(struct fs_op *op)
{
	const struct archil_record *rec = op->rec;
	bool set = rec->type == ARCHIL_REC_SETXATTR;
	struct fs_node *node;
	struct fs_key key;
	int err, there;

	err = find_node(op, false, &node);
	if (err || op->refused)
		return err;
	fs_key_xattr(&key, rec->ino, rec->name, rec->name_len);
	there = fs_has(&op->txn->view, &key);
	if (there < 0)
		return there;
	if (set) {
		if (!there && node->in.xattr_bytes > UINT32_MAX - rec->name_len - 1)
			return -ENOSPC;
		if (!there)
			node->in.xattr_bytes += rec->name_len + 1;
		err = fs_put(op->txn, &key, rec->data, rec->data_len);
	} else {
		if (!there)
			return -ENODATA;
		node->in.xattr_bytes -= rec->name_len + 1;
		err = fs_del(op->txn, &key);
	}
	if (err)
		return err;
	node->in.ctime = rec->time;
	fs_node_change(op->txn, node);
	return 0;
}

static int op_release(struct fs_op *op)
{
	struct fs_deleg deleg;
	struct fs_node *node;
	u64 was;
	int err;

	err = find_node(op, false, &node);
	if (err || op->refused)
		return err;
	was = node->in.orphan_of;
	if (!was)
		return -EINVAL;
	err = fs_deleg_get(&op->txn->view, was, &deleg);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (deleg.flags & FS_DELEG_ORPHAN)
		op->res->ended = was;
	return fs_orphan_release(op->txn, node);
}

static int apply(struct fs_op *op)
{
	switch (op->rec->type) {
	case ARCHIL_REC_CREATE:
		return fs_op_create(op);
	case ARCHIL_REC_LINK:
		return fs_op_link(op);
	case ARCHIL_REC_UNLINK:
		return fs_op_unlink(op);
	case ARCHIL_REC_RENAME:
		return fs_op_rename(op);
	case ARCHIL_REC_SETATTR:
		return op_setattr(op);
	case ARCHIL_REC_CONTENT:
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		return op_contents(op);
	case ARCHIL_REC_SETXATTR:
	case ARCHIL_REC_RMXATTR:
		return op_xattr(op);
	case ARCHIL_REC_RELEASE:
		return op_release(op);
	default:
		return -EPROTO;
	}
}

/* The server's own trouble; all else says that the record does not fit. */
static bool is_trouble(int err)
{
	return err == -ENOMEM || err == -EIO || err == -EBADMSG;
}

int fs_apply(struct fs_txn *txn, const struct fs_who *who, const struct archil_record *rec,
	     struct fs_result *res)
{
	struct fs_op op = { .txn = txn, .who = who, .rec = rec, .res = res };
	int err;

	memset(res, 0, sizeof(*res));
	res->ino = rec->ino;
	err = apply(&op);
	if (!err)
		return op.refused;
	res->why = err;
	return who->deleg && !is_trouble(err) ? -EUCLEAN : err;
}

static void account(struct fs_log_result *res, const struct archil_record *rec)
{
	res->charge += archil_record_charge(rec);
	if (rec->type == ARCHIL_REC_RENAME || rec->type == ARCHIL_REC_UNLINK ||
	    rec->type == ARCHIL_REC_LINK)
		res->moves = true;
}

/* The records of a part, numbered from @seq on. */
static int apply_part(struct fs_txn *txn, struct fs_deleg *deleg, u64 seq,
		      const struct fs_log_part *part, struct fs_log_result *res)
{
	struct fs_who who = { .deleg = deleg->number, .root = deleg->ino };
	u64 end = seq + part->count;
	struct archil_record rec;
	struct fs_result one;
	size_t pos = 0;
	int r;

	for (; (r = archil_record_next(part->buf, part->len, &pos, &rec)) > 0; seq++) {
		if (seq == end)
			return -EPROTO;
		account(res, &rec);
		if (seq <= deleg->applied)
			continue;
		r = fs_apply(txn, &who, &rec, &one);
		if (r) {
			res->bad_seq = seq;
			res->bad_ino = rec.ino;
			res->bad_type = rec.type;
			res->why = one.why;
			return r;
		}
		if (one.ended)
			res->ended = one.ended;
	}
	if (r < 0)
		res->bad_seq = seq;
	return r < 0 || seq != end ? -EPROTO : 0;
}

int fs_apply_log(struct fs_txn *txn, struct fs_deleg *deleg, u64 first_seq,
		 const struct fs_log_part *part, size_t n, struct fs_log_result *res)
{
	u64 was = deleg->applied, seq = first_seq;
	int err = 0;
	size_t i;

	memset(res, 0, sizeof(*res));
	if (!first_seq || first_seq > was + 1)
		return -EPROTO;
	fs_batch_begin(txn);
	for (i = 0; i < n && !err; i++) {
		err = apply_part(txn, deleg, seq, &part[i], res);
		seq += part[i].count;
	}
	if (err)
		goto out_abort;
	if (seq - 1 > was) {
		deleg->applied = seq - 1;
		err = fs_deleg_put(txn, deleg);
		if (err)
			goto out_applied;
	}
	err = fs_batch_end(txn);
	if (err)
		goto out_applied;
	return 0;

out_applied:
	deleg->applied = was;
out_abort:
	fs_batch_abort(txn);
	return err;
}

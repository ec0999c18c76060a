// SPDX-License-Identifier: GPL-2.0
/* GRANT and CHECKIN: who owns what, asked for by its name. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "session.h"
#include "slotted.h"

static int reply_grant(struct slotted *sl, struct fs_txn *txn, const struct dlg *dlg, bool covered,
		       uint64_t ino)
{
	struct archil_grant_rep rep = { 0 };
	struct archil_attr_rep attr;
	int rc = fs_getattr(fs_txn_view(txn), ino, &attr, NULL);

	if (rc)
		return rc;
	dlg_grant_fill(dlg, &rep.grant);
	if (covered)
		rep.grant.flags = cpu_to_le32(ARCHIL_GF_COVERED);
	rep.attr = attr.attr;
	rep.attr.deleg = rep.grant.number;
	slotted_reply(sl, 0, &rep, sizeof(rep));
	return 0;
}

/* An inode without a name can be owned by those who keep it open, and by nobody else. */
static int grant_orphan(struct slotted *sl, struct fs_txn *txn, uint64_t ino)
{
	uint64_t number;
	struct dlg *dlg;
	int rc = fs_orphan_of(fs_txn_view(txn), ino, &number);

	if (rc)
		return rc;
	dlg = dlg_find(sl->ses->disk, number, sl->ses->rec.id);
	return dlg ? reply_grant(sl, txn, dlg, true, ino) : -ESTALE;
}

static int grant_op(struct slotted *sl, struct fs_txn *txn)
{
	struct archil_grant_req *msg = (void *)sl->req->body;
	uint64_t ino = le64_to_cpu(msg->ino);
	uint32_t origin = le32_to_cpu(msg->origin);
	bool force = le32_to_cpu(msg->flags) & ARCHIL_GR_FORCE;
	struct disk *disk = sl->ses->disk;
	struct archil_attr_rep attr;
	struct deleg *holder;
	uint32_t mode;
	int rc;

	if (origin != ARCHIL_ORIGIN_CHECKOUT && origin != ARCHIL_ORIGIN_DYNAMIC)
		return -EINVAL;
	if (sl->ses->rec.flags & ARCHIL_OS_RO)
		return -EROFS;
	rc = fs_getattr(fs_txn_view(txn), ino, &attr, NULL);
	if (rc)
		return rc;
	mode = le32_to_cpu(attr.attr.mode);
	if (!S_ISREG(mode) && !(S_ISDIR(mode) && origin == ARCHIL_ORIGIN_CHECKOUT))
		return -EINVAL;
	if (le32_to_cpu(attr.attr.flags) & ARCHIL_AF_ORPHAN)
		return grant_orphan(sl, txn, ino);
	rc = fs_chain(fs_txn_view(txn), ino, &sl->chain);
	if (rc)
		return rc;
	rc = place_take(disk, txn, &sl->chain, le64_to_cpu(msg->known), sl->ses->rec.id, force, &sl->ended, &holder);
	switch (rc) {
	case TAKE_FREE:
		break;
	case TAKE_COVERED:
		return reply_grant(sl, txn, holder->data, true, ino);
	case TAKE_BUSY:
		return slotted_busy(sl, txn, holder, NULL);
	case TAKE_PARK:
		return WORK_PARK;
	default:
		return rc;
	}
	sl->granted = deleg_grant(disk, txn, sl->ses, fs_alloc_deleg(txn), ino, origin, &rc);
	return rc ? rc : reply_grant(sl, txn, sl->granted, false, ino);
}

void handle_grant(struct req *req)
{
	slotted_submit(req, grant_op);
}

static int checkin_op(struct slotted *sl, struct fs_txn *txn)
{
	struct archil_checkin_req *msg = (void *)sl->req->body;
	uint64_t ino = le64_to_cpu(msg->ino), session = sl->ses->rec.id;
	struct archil_checkin_rep rep = { 0 };
	struct disk *disk = sl->ses->disk;
	struct deleg **list, *cover;
	size_t n, i;
	int rc;

	rc = fs_chain(fs_txn_view(txn), ino, &sl->chain);
	if (rc)
		return rc;
	list = tree_held(disk, ino, session, &n);
	if (!n) {
		free(list);
		cover = tree_cover(disk, sl->chain.ino, sl->chain.n);
		if (cover && cover->grant.session == session)
			return slotted_busy(sl, txn, cover, NULL);
		return -ENOENT;
	}
	if (any_above(list, n, le64_to_cpu(msg->known))) {
		free(list);
		return -EAGAIN;
	}
	rc = WORK_PARK;
	if (ended_stop(disk, &sl->ended, list, n)) {
		rc = 0;
		for (i = 0; i < n && !rc; i++)
			rc = ended_close(&sl->ended, txn, list[i], FS_CLOSED);
	}
	free(list);
	if (rc)
		return rc;
	rep.released = cpu_to_le32(n);
	slotted_reply(sl, 0, &rep, sizeof(rep));
	return 0;
}

void handle_checkin(struct req *req)
{
	slotted_submit(req, checkin_op);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * CHANGE: one record that no single log can carry.
 *
 * 1. What it needs to own is asked for each place that it changes, after what the
 *    VFS finds first: another session's place is EBUSY, nobody's EROFS, but
 *    that a new name may be made where nobody owns the directory.
 * 2. A session some of whose delegations are about to end waits for that first:
 *    nothing moves out of or into what is being taken.
 */
#include <errno.h>
#include <sys/stat.h>

#include "conn.h"
#include "disk.h"
#include "handlers.h"
#include "record.h"
#include "session.h"
#include "slotted.h"

struct asker {
	struct session *ses;
	const struct deleg *holder;	/* of the first place refused with EBUSY */
};

static struct deleg *cover(struct disk *disk, const struct fs_place *place)
{
	if (place->orphan_of)
		return tree_find(disk, place->orphan_of);
	return tree_cover(disk, place->chain, place->n);
}

static int may(void *ctx, enum fs_touch what, const struct fs_place *place)
{
	struct asker *asker = ctx;
	const struct deleg *deleg = cover(asker->ses->disk, place);

	if (!deleg)
		return what == FS_TOUCH_CREATE ? 0 : -EROFS;
	if (deleg->grant.session == asker->ses->rec.id)
		return 0;
	if (!asker->holder)
		asker->holder = deleg;
	return -EBUSY;
}

static uint64_t own_cover(void *ctx, const struct fs_place *place)
{
	struct asker *asker = ctx;
	const struct deleg *deleg = cover(asker->ses->disk, place);

	return deleg && deleg->grant.session == asker->ses->rec.id ? deleg->grant.number : 0;
}

static uint64_t change_of(struct fs_view *view, uint64_t ino)
{
	struct archil_attr_rep rep;

	return ino && !fs_getattr(view, ino, &rep, NULL) ? le64_to_cpu(rep.attr.change) : 0;
}

/* The one record of the payload. 0 or a negative errno. */
static int parse(const struct req *req, struct archil_record *rec)
{
	size_t pos = 0;

	if (archil_record_next(req->payload, req->payload_len, &pos, rec) != 1 ||
	    pos != req->payload_len)
		return -EPROTO;
	switch (rec->type) {
	case ARCHIL_REC_CREATE:
	case ARCHIL_REC_LINK:
	case ARCHIL_REC_UNLINK:
	case ARCHIL_REC_RENAME:
		return 0;
	default:
		return -EINVAL;
	}
}

/* Does the session own the directory already? */
static int dir_is_own(struct slotted *sl, struct fs_txn *txn, uint64_t dir, bool *own)
{
	int rc = fs_chain(fs_txn_view(txn), dir, &sl->chain);
	struct deleg *cover;

	if (rc)
		return rc;
	cover = tree_cover(sl->ses->disk, sl->chain.ino, sl->chain.n);
	*own = cover && cover->grant.session == sl->ses->rec.id;
	return 0;
}

/* A delegation on what was just created. */
static int grant_new(struct slotted *sl, struct fs_txn *txn, uint64_t number,
		     const struct archil_record *rec)
{
	struct disk *disk = sl->ses->disk;
	bool tmpfile = rec->flags & ARCHIL_CREATE_TMPFILE;
	int rc;

	sl->granted = deleg_grant(disk, txn, sl->ses, number, rec->ino, ARCHIL_ORIGIN_DYNAMIC, &rc);
	if (rc)
		return rc;
	if (tmpfile) {
		sl->granted->rec.flags |= FS_DELEG_ORPHAN;
		return fs_deleg_put(txn, &sl->granted->rec);
	}
	return fs_chain(fs_txn_view(txn), rec->ino, &sl->chain);
}

/* The one-inode delegation of an orphan that got a name has ended. */
static int end_orphan(struct slotted *sl, struct fs_txn *txn, uint64_t number)
{
	struct disk *disk = sl->ses->disk;
	struct deleg *deleg = tree_find(disk, number);

	if (!deleg)
		return -EIO;
	if (!ended_stop(disk, &sl->ended, &deleg, 1))
		return WORK_PARK;
	return ended_close(&sl->ended, txn, deleg, FS_CLOSED);
}

static int reply(struct slotted *sl, struct fs_txn *txn, const struct fs_result *res)
{
	struct fs_view *view = fs_txn_view(txn);
	struct archil_change_rep rep = { 0 };
	struct archil_attr_rep attr = { 0 };
	struct owner_ctx owner;
	int rc = fs_getattr(view, res->ino, &attr, NULL);

	if (rc && rc != -ESTALE)
		return rc;
	rep.attr = attr.attr;
	rep.attr.ino = cpu_to_le64(res->ino);
	if (sl->granted) {
		dlg_grant_fill(sl->granted, &rep.grant);
		rep.attr.deleg = rep.grant.number;
	} else if (!rc) {
		owner_begin(&owner, sl->ses->disk, view, sl->ses->rec.id);
		owner_fill(&owner, &rep.attr);
		owner_end(&owner);
	}
	rep.dir_change = cpu_to_le64(change_of(view, res->dir));
	rep.old_dir_change = cpu_to_le64(change_of(view, res->old_dir));
	slotted_reply(sl, 0, &rep, sizeof(rep));
	return 0;
}

static int change_op(struct slotted *sl, struct fs_txn *txn)
{
	struct archil_change_req *msg = (void *)sl->req->body;
	bool want_grant = le32_to_cpu(msg->flags) & ARCHIL_CH_GRANT;
	struct asker asker = { .ses = sl->ses };
	struct fs_who who = { .may = may, .cover = own_cover, .ctx = &asker };
	struct archil_record rec;
	struct fs_result res;
	bool own;
	int rc;

	if (sl->ses->rec.flags & ARCHIL_OS_RO)
		return -EROFS;
	if (ended_others(sl->ses->disk, &sl->ended, sl->ses))
		return WORK_PARK;
	rc = parse(sl->req, &rec);
	if (rc)
		return rc;
	if (want_grant &&
	    (rec.type != ARCHIL_REC_CREATE || (!S_ISREG(rec.mode) && !S_ISDIR(rec.mode))))
		return -EINVAL;
	if (rec.type == ARCHIL_REC_CREATE) {
		rc = dir_is_own(sl, txn, rec.dir, &own);
		if (rc)
			return rc;
		/* The owner's cookies and names are ahead of ours. */
		if (own && !(rec.flags & ARCHIL_CREATE_TMPFILE))
			return -ESTALE;
		if (want_grant && !own)
			who.grant = fs_alloc_deleg(txn);
	}
	rc = fs_apply(txn, &who, &rec, &res);
	if (rc == -EBUSY && asker.holder)
		return slotted_busy(sl, txn, asker.holder, NULL);
	if (!rc && who.grant)
		rc = grant_new(sl, txn, who.grant, &rec);
	if (!rc && res.ended)
		rc = end_orphan(sl, txn, res.ended);
	return rc ? rc : reply(sl, txn, &res);
}

void handle_change(struct req *req)
{
	slotted_submit(req, change_op);
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Merging log records: the rules are in merge.h, and named here by number. */
#include "merge.h"

#define TIMES		ARCHIL_BATCH_TIMES
#define PENDING_SIZE	ARCHIL_BATCH_PENDING_SIZE
#define SIZES		(ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP)
#define STEPS		8	/* records to look back through, rules 3 and 4 */
#define XATTR_STEPS	32	/* rules 5 and 11 must see the CREATE within so many */

static bool same_name(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && !memcmp(a, b, a_len);
}

/* ---- rules 1 and 2: attributes ---- */

/* Fills the size that P then S come to into S; false: there is none. */
static bool sizes_merge(const struct archil_record *p, struct archil_record *s)
{
	u32 ps = p->valid & SIZES, ss = s->valid & SIZES;

	if (!ps)
		return true;
	if (!ss) {
		s->valid |= ps;
		s->size = p->size;
		return true;
	}
	if (ps == ARCHIL_SET_SIZE_UP) {
		if (ss != ARCHIL_SET_SIZE_UP)
			return false;
		if (s->size < p->size)
			s->size = p->size;
		return true;
	}
	if (s->size > p->size)
		return false;
	if (ss == ARCHIL_SET_SIZE_UP) {
		s->valid = (s->valid & ~(u32)SIZES) | ARCHIL_SET_SIZE;
		s->size = p->size;
	}
	return true;
}

static void take_over(struct archil_record *s, const struct archil_record *p, u32 which)
{
	s->valid |= which;
	if (which & ARCHIL_SET_MODE)
		s->mode = p->mode;
	if (which & ARCHIL_SET_UID)
		s->uid = p->uid;
	if (which & ARCHIL_SET_GID)
		s->gid = p->gid;
	if (which & ARCHIL_SET_ATIME)
		s->atime = p->atime;
	if (which & ARCHIL_SET_MTIME)
		s->mtime = p->mtime;
	if (which & ARCHIL_SET_CTIME)
		s->ctime = p->ctime;
}

static bool merge_create_setattr(struct archil_batch_inode *x, const struct archil_record *s)
{
	struct archil_record *c;

	if (!x->create || s->valid & (SIZES | x->since))
		return false;
	c = &x->create->rec;
	if (s->valid & ARCHIL_SET_MODE)
		c->mode = (c->mode & S_IFMT) | (s->mode & 07777);
	if (s->valid & ARCHIL_SET_UID)
		c->uid = s->uid;
	if (s->valid & ARCHIL_SET_GID)
		c->gid = s->gid;
	if (s->valid & ARCHIL_SET_ATIME)
		c->atime = s->atime;
	if (s->valid & ARCHIL_SET_MTIME)
		c->mtime = s->mtime;
	if (s->valid & ARCHIL_SET_CTIME)
		c->ctime = s->ctime;
	return true;
}

static void merge_setattr(struct archil_batch *b, struct archil_batch_inode *x,
			  struct archil_record *s)
{
	struct archil_batch_rec *p = x->setattr;

	if (p->rec.valid & SIZES && x->since & ARCHIL_SET_SIZE)
		return;
	if (!sizes_merge(&p->rec, s))
		return;
	take_over(s, &p->rec, p->rec.valid & ~(SIZES | x->since | s->valid));
	archil_batch_drop(b, p);
}

static void add_setattr(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino;
	u32 times = e->rec.valid & TIMES;

	if (x->setattr) {
		merge_setattr(b, x, &e->rec);
		times = e->rec.valid & TIMES;
	} else if (merge_create_setattr(x, &e->rec)) {
		archil_batch_junk_add(b, e);
		return;
	}
	archil_batch_insert(b, e);
	archil_batch_sets(b, x, times, e);
	x->setattr = e;
	x->since = x->pending;
}

/* ---- rule 3: contents ---- */

/*
 * The bytes of R below those of E, as one record that is in no list; frees the
 * other. NULL: no memory, and nothing changed.
 */
static struct archil_batch_rec *content_join(struct archil_batch *b, struct archil_batch_rec *r,
					     struct archil_batch_rec *e)
{
	u64 lo = r->rec.off < e->rec.off ? r->rec.off : e->rec.off;
	u64 r_end = r->rec.off + r->rec.data_len, e_end = e->rec.off + e->rec.data_len;
	u32 len = (r_end > e_end ? r_end : e_end) - lo, cap;
	struct archil_batch_rec *all;

	if (len == e->rec.data_len) {	/* nothing of R is left to see */
		archil_batch_drop(b, r);
		return e;
	}
	if (lo == r->rec.off && len <= r->cap) {
		archil_batch_take_out(b, r);
		memcpy(r->parts + (e->rec.off - lo), e->rec.data, e->rec.data_len);
		r->rec.data_len = len;
		r->rec.time = e->rec.time;
		r->pos = e->pos;
		archil_batch_junk_add(b, e);
		return r;
	}
	/* with room, so that many small writes in a row copy little */
	cap = 2 * len < ARCHIL_INLINE_MAX ? 2 * len : ARCHIL_INLINE_MAX;
	all = archil_batch_rec_alloc(cap, false);
	if (!all)
		return NULL;
	all->rec = e->rec;
	all->rec.off = lo;
	all->rec.data_len = len;
	all->rec.data = all->parts;
	all->pos = e->pos;
	all->ino = e->ino;
	memcpy(all->parts + (r->rec.off - lo), r->rec.data, r->rec.data_len);
	memcpy(all->parts + (e->rec.off - lo), e->rec.data, e->rec.data_len);
	archil_batch_drop(b, r);
	archil_batch_junk_add(b, e);
	return all;
}

static bool changes_bytes(const struct archil_batch_rec *e)
{
	switch (e->rec.type) {
	case ARCHIL_REC_CREATE:
	case ARCHIL_REC_PUNCH:
	case ARCHIL_REC_ALLOC:
		return true;
	case ARCHIL_REC_SETATTR:
		return e->rec.valid & SIZES;
	default:
		return false;
	}
}

static void add_content(struct archil_batch *b, struct archil_batch_rec *e)
{
	u64 skip_lo = ~0ull, skip_hi = 0;	/* what later contents lie in that stay */
	struct archil_batch_inode *x = e->ino;
	struct archil_batch_link *l, *prev;
	unsigned int step = 0;

	for (l = x->recs.prev; l != &x->recs && step < STEPS; l = prev, step++) {
		struct archil_batch_rec *r = l->rec, *all;
		u64 lo = r->rec.off, hi = lo + r->rec.data_len;

		prev = l->prev;
		if (changes_bytes(r))
			break;
		if (r->rec.type != ARCHIL_REC_CONTENT)
			continue;
		if (lo <= e->rec.off + e->rec.data_len && hi >= e->rec.off &&
		    (hi <= skip_lo || lo >= skip_hi)) {
			all = content_join(b, r, e);
			if (!all)
				break;
			e = all;
			continue;
		}
		if (lo < skip_lo)
			skip_lo = lo;
		if (hi > skip_hi)
			skip_hi = hi;
	}
	archil_batch_insert(b, e);
	archil_batch_sets(b, x, TIMES | ARCHIL_SET_SIZE, e);
}

/* ---- rules 4 and 5: extended attributes ---- */

static bool sets_xattr(const struct archil_batch_rec *r, const struct archil_record *rec)
{
	return (r->rec.type == ARCHIL_REC_SETXATTR || r->rec.type == ARCHIL_REC_RMXATTR) &&
	       same_name(r->rec.name, r->rec.name_len, rec->name, rec->name_len);
}

static void add_setxattr(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino;
	struct archil_batch_link *l;
	unsigned int step;

	for (l = x->recs.prev, step = 0; l != &x->recs && step < STEPS; l = l->prev, step++) {
		if (!sets_xattr(l->rec, &e->rec))
			continue;
		if (l->rec->rec.type == ARCHIL_REC_SETXATTR)
			archil_batch_drop(b, l->rec);
		break;
	}
	archil_batch_insert(b, e);
	archil_batch_sets(b, x, ARCHIL_SET_CTIME, e);
}

static void add_rmxattr(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino;
	struct archil_batch_link *l, *prev;
	unsigned int step = 0;

	for (l = x->recs.prev; l != &x->recs; l = l->prev)
		if (++step > XATTR_STEPS)
			break;
	if (!x->create || l != &x->recs || archil_batch_left(b) < PENDING_SIZE) {
		archil_batch_insert(b, e);
		archil_batch_sets(b, x, ARCHIL_SET_CTIME, e);
		return;
	}
	for (l = x->recs.prev; l != &x->recs; l = prev) {
		prev = l->prev;
		if (sets_xattr(l->rec, &e->rec))
			archil_batch_drop(b, l->rec);
	}
	archil_batch_touch(b, x, ARCHIL_SET_CTIME, &e->rec.time);
	archil_batch_junk_add(b, e);
}

/* ---- rules 6 and 7: a new inode under its last name ---- */

/* Could the CREATE of x have put its name into @dir, where it now shall be? */
static bool can_place(struct archil_batch *b, const struct archil_batch_inode *x,
		      const struct archil_batch_inode *dir, const struct archil_batch_rec *e)
{
	const struct archil_batch_rec *c = x->create;

	if (!c || x->name_recs || x->as_dir)
		return false;
	if (dir->entries_at > c->pos || (dir->create && dir->create->pos > c->pos))
		return false;
	/* at worst the name grows and three inodes get a pending time */
	if (archil_record_size(&e->rec) + 3 * PENDING_SIZE > archil_batch_left(b))
		return false;
	if (e->rec.type == ARCHIL_REC_LINK)
		return c->rec.flags & ARCHIL_CREATE_TMPFILE;
	/* x has one name: that of its CREATE */
	return c->rec.dir == e->rec.dir &&
	       same_name(c->rec.name, c->rec.name_len, e->rec.name, e->rec.name_len);
}

/* The CREATE sets the times of @dir from its place on. */
static void place_time(struct archil_batch *b, struct archil_batch_inode *dir,
		       struct archil_batch_rec **by, struct archil_batch_rec *c, u32 which)
{
	if (*by ? (*by)->pos > c->pos : (dir->pending & which) != 0) {
		archil_batch_touch(b, dir, which, &c->rec.time);
		return;
	}
	*by = c;
	dir->since |= which;
}

/* The CREATE of x makes @name in @dir, with the cookie and time of @e: consumed. */
static void place(struct archil_batch *b, struct archil_batch_inode *x,
		  struct archil_batch_inode *dir, struct archil_batch_rec *e,
		  const char *name, u16 name_len)
{
	struct archil_batch_rec *c = x->create;
	struct archil_batch_inode *old = c->dir;

	old->as_dir--;
	dir->as_dir++;
	c->dir = dir;
	if (old != dir && !(c->rec.flags & ARCHIL_CREATE_TMPFILE))
		archil_batch_touch(b, old, TIMES, &e->rec.time);
	b->bytes -= archil_record_size(&c->rec);
	c->rec.flags = 0;
	c->rec.dir = dir->ino;
	c->rec.name = name;
	c->rec.name_len = name_len;
	c->rec.cookie = e->rec.cookie;
	c->rec.time = e->rec.time;
	b->bytes += archil_record_size(&c->rec);
	if (dir->entries_at < c->pos)
		dir->entries_at = c->pos;
	place_time(b, dir, &dir->mtime_by, c, ARCHIL_SET_MTIME);
	place_time(b, dir, &dir->ctime_by, c, ARCHIL_SET_CTIME);
	archil_batch_touch(b, x, ARCHIL_SET_CTIME, &e->rec.time);
	x->nlink = 1;

	if (c->extra)
		archil_batch_junk_add(b, c->extra);
	c->extra = e;
}

/* ---- rule 9: what came and went ---- */

/* With @e, which is not in the batch yet. */
static bool can_vanish(struct archil_batch *b, const struct archil_batch_inode *x,
		       const struct archil_batch_rec *e)
{
	size_t dirs = 2;	/* those of e */
	const struct archil_batch_link *l;

	if (!x->create || x->as_dir || e->dir == x || e->new_dir == x)
		return false;
	for (l = x->recs.next; l != &x->recs; l = l->next) {
		if (l->rec->rec.flags & ARCHIL_RENAME_EXCHANGE &&
		    l->rec->rec.type == ARCHIL_REC_RENAME)
			return false;
		dirs += !!l->rec->dir + !!l->rec->new_dir;
	}
	/* at worst each directory gets a pending time */
	return dirs * PENDING_SIZE + archil_record_size(&e->rec) <= archil_batch_left(b);
}

/* x was put over the target of r, and goes: the target is unlinked all the same. */
static void rename_to_unlink(struct archil_batch *b, struct archil_batch_rec *r)
{
	struct archil_record *rec = &r->rec;

	if (r->dir != r->new_dir)
		archil_batch_inherit(b, r->dir, r);
	r->dir->as_dir--;
	b->bytes -= archil_record_size(rec);
	rec->type = ARCHIL_REC_UNLINK;
	rec->flags = rec->flags & ARCHIL_RENAME_OPEN ? ARCHIL_UNLINK_OPEN : 0;
	rec->ino = rec->target;
	rec->dir = rec->new_dir;
	rec->name = rec->new_name;
	rec->name_len = rec->new_name_len;
	rec->target = 0;
	rec->new_dir = 0;
	rec->cookie = 0;
	rec->new_name_len = 0;
	b->bytes += archil_record_size(rec);
	archil_batch_link_del(&r->own);
	r->ino = r->target;
	r->dir = r->new_dir;
	r->target = NULL;
	r->new_dir = NULL;
}

/* All records of x go, and x. */
static void vanish(struct archil_batch *b, struct archil_batch_inode *x)
{
	struct archil_batch_link *l, *next;

	archil_batch_unpend(b, x, TIMES);
	for (l = x->recs.next; l != &x->recs; l = next) {
		struct archil_batch_rec *r = l->rec;

		next = l->next;
		if (r->target == x) {	/* another one took its name */
			archil_batch_link_del(&r->over);
			r->target = NULL;
			r->rec.target = 0;
			r->rec.flags = 0;
		} else if (r->target) {
			rename_to_unlink(b, r);
		} else {
			if (r->dir)
				archil_batch_inherit(b, r->dir, r);
			if (r->new_dir)
				archil_batch_inherit(b, r->new_dir, r);
			archil_batch_drop(b, r);
		}
	}
	archil_batch_inode_forget(b, x);
}

/*
 * A link of x goes, by a record that is not in the batch yet. Returns true if
 * that was the last and x vanished.
 */
static bool link_gone(struct archil_batch *b, struct archil_batch_inode *x, bool open,
		      const struct archil_batch_rec *e)
{
	if (!x->create || --x->nlink || open || !can_vanish(b, x, e))
		return false;
	vanish(b, x);
	return true;
}

/*
 * The record that removes a link stays: if x is gone with it, no time of x may
 * be pending behind it. (Only directories and inodes of this batch ever have.)
 */
static void mark_gone(struct archil_batch *b, struct archil_batch_inode *x, bool open)
{
	if (open || (x->create && x->nlink))
		return;
	archil_batch_unpend(b, x, TIMES);
	x->gone = true;
}

/* ---- names ---- */

static void add_create(struct archil_batch *b, struct archil_batch_rec *e)
{
	bool named = !(e->rec.flags & ARCHIL_CREATE_TMPFILE);

	archil_batch_insert(b, e);
	e->ino->nlink = named;
	e->ino->mtime_by = e;
	e->ino->ctime_by = e;
	if (named) {
		archil_batch_sets(b, e->dir, TIMES, e);
		e->dir->entries_at = e->pos;
	}
}

static void add_link(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino;

	if (can_place(b, x, e->dir, e)) {
		place(b, x, e->dir, e, e->rec.name, e->rec.name_len);
		return;
	}
	archil_batch_insert(b, e);
	x->nlink++;
	archil_batch_sets(b, x, ARCHIL_SET_CTIME, e);
	archil_batch_sets(b, e->dir, TIMES, e);
	e->dir->entries_at = e->pos;
}

/* Rule 8: did a LINK of this batch make the name that e removes? */
static struct archil_batch_rec *undoes_link(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_rec *l = e->ino->last_name;

	if (!e->ino->create || !e->ino->nlink || !l || l->rec.type != ARCHIL_REC_LINK)
		return NULL;
	if (l->dir != e->dir ||
	    !same_name(l->rec.name, l->rec.name_len, e->rec.name, e->rec.name_len))
		return NULL;
	return 2 * PENDING_SIZE <= archil_batch_left(b) ? l : NULL;
}

static void add_unlink(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino, *dir = e->dir;
	bool open = e->rec.flags & ARCHIL_UNLINK_OPEN;
	struct archil_batch_rec *made;

	if (link_gone(b, x, open, e)) {
		archil_batch_touch(b, dir, TIMES, &e->rec.time);
		archil_batch_junk_add(b, e);
		return;
	}
	made = undoes_link(b, e);
	if (made) {
		archil_batch_drop(b, made);
		archil_batch_touch(b, x, ARCHIL_SET_CTIME, &e->rec.time);
		archil_batch_touch(b, dir, TIMES, &e->rec.time);
		archil_batch_junk_add(b, e);
		return;
	}
	archil_batch_insert(b, e);
	archil_batch_sets(b, x, ARCHIL_SET_CTIME, e);
	mark_gone(b, x, open);
	archil_batch_sets(b, dir, TIMES, e);
	dir->entries_at = e->pos;
}

static void add_rename(struct archil_batch *b, struct archil_batch_rec *e)
{
	bool exchange = e->rec.flags & ARCHIL_RENAME_EXCHANGE;
	bool open = e->rec.flags & ARCHIL_RENAME_OPEN;

	e->ino->put_over |= e->target && !exchange;
	if (e->target && !exchange && link_gone(b, e->target, open, e)) {
		e->target = NULL;
		e->rec.target = 0;
		e->rec.flags = 0;
	}
	if (!e->target && can_place(b, e->ino, e->new_dir, e)) {
		place(b, e->ino, e->new_dir, e, e->rec.new_name, e->rec.new_name_len);
		return;
	}
	archil_batch_insert(b, e);
	archil_batch_sets(b, e->ino, ARCHIL_SET_CTIME, e);
	if (e->target) {
		archil_batch_sets(b, e->target, ARCHIL_SET_CTIME, e);
		if (!exchange)
			mark_gone(b, e->target, open);
	}
	archil_batch_sets(b, e->dir, TIMES, e);
	archil_batch_sets(b, e->new_dir, TIMES, e);
	e->dir->entries_at = e->pos;
	e->new_dir->entries_at = e->pos;
}

/* Rule 10: the last that was done to x left it open without a link; it is not open. */
static bool unlink_closed(struct archil_batch_inode *x)
{
	struct archil_batch_rec *r = x->recs.prev->rec;

	if (!r)
		return false;
	if (r->rec.type == ARCHIL_REC_UNLINK && r->rec.flags & ARCHIL_UNLINK_OPEN) {
		r->rec.flags &= ~ARCHIL_UNLINK_OPEN;
		return true;
	}
	if (r->rec.type == ARCHIL_REC_RENAME && r->target == x &&
	    r->rec.flags & ARCHIL_RENAME_OPEN) {
		r->rec.flags &= ~ARCHIL_RENAME_OPEN;
		return true;
	}
	return false;
}

static void add_release(struct archil_batch *b, struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = e->ino;

	if (can_vanish(b, x, e)) {
		vanish(b, x);
		archil_batch_junk_add(b, e);
		return;
	}
	if (unlink_closed(x))
		archil_batch_junk_add(b, e);
	else
		archil_batch_insert(b, e);
	archil_batch_unpend(b, x, TIMES);
	x->gone = true;
}

/* ---- rule 11: contents that are withdrawn ---- */

static bool can_withdraw(const struct archil_batch *b, const struct archil_batch_inode *x)
{
	const struct archil_batch_link *l;
	unsigned int step = 0;

	if (!x || !x->create || x->name_recs || x->put_over || archil_batch_left(b) < PENDING_SIZE)
		return false;
	for (l = x->recs.next; l != &x->recs; l = l->next) {
		if (++step > XATTR_STEPS || (l->rec != x->create && changes_bytes(l->rec)))
			return false;
	}
	return true;
}

/* What is left of x without its contents sets these times last. */
static void sets_without_contents(const struct archil_batch_inode *x, u8 *since,
				  struct archil_batch_rec **mtime_by,
				  struct archil_batch_rec **ctime_by)
{
	const struct archil_batch_link *l;

	*since = 0;
	*mtime_by = x->create;
	*ctime_by = x->create;
	for (l = x->recs.next; l != &x->recs; l = l->next) {
		struct archil_batch_rec *r = l->rec;

		if (r->rec.type == ARCHIL_REC_SETATTR) {
			*since = 0;
			if (r->rec.valid & ARCHIL_SET_MTIME)
				*mtime_by = r;
			if (r->rec.valid & ARCHIL_SET_CTIME)
				*ctime_by = r;
		} else if (r != x->create && r->rec.type != ARCHIL_REC_CONTENT) {
			*since = ARCHIL_SET_CTIME;
			*ctime_by = r;
		}
	}
}

bool archil_batch_withdraw(struct archil_batch *b, u64 ino, u64 *charge)
{
	struct archil_batch_inode *x = archil_batch_inode_find(b, ino);
	struct archil_batch_rec *mtime_by, *ctime_by, *r;
	struct archil_batch_link *l, *next;
	u32 which;

	*charge = 0;
	if (!can_withdraw(b, x))
		return false;
	sets_without_contents(x, &x->since, &mtime_by, &ctime_by);
	for (l = x->recs.next; l != &x->recs; l = next) {
		next = l->next;
		r = l->rec;
		if (r->rec.type != ARCHIL_REC_CONTENT)
			continue;
		*charge += archil_record_charge(&r->rec);
		which = (x->mtime_by == r ? ARCHIL_SET_MTIME : 0) |
			(x->ctime_by == r ? ARCHIL_SET_CTIME : 0);
		archil_batch_drop(b, r);
		if (which & ARCHIL_SET_MTIME)
			x->mtime_by = mtime_by;
		if (which & ARCHIL_SET_CTIME)
			x->ctime_by = ctime_by;
		archil_batch_touch(b, x, which, &r->rec.time);
	}
	x->since |= x->pending;
	return true;
}

/* ---- any ---- */

void archil_batch_add(struct archil_batch *b, struct archil_batch_rec *e)
{
	e->pos = ++b->pos;
	archil_batch_inodes_get(b, e);
	switch (e->rec.type) {
	case ARCHIL_REC_CREATE:
		add_create(b, e);
		break;
	case ARCHIL_REC_LINK:
		add_link(b, e);
		break;
	case ARCHIL_REC_UNLINK:
		add_unlink(b, e);
		break;
	case ARCHIL_REC_RENAME:
		add_rename(b, e);
		break;
	case ARCHIL_REC_SETATTR:
		add_setattr(b, e);
		break;
	case ARCHIL_REC_CONTENT:
		add_content(b, e);
		break;
	case ARCHIL_REC_SETXATTR:
		add_setxattr(b, e);
		break;
	case ARCHIL_REC_RMXATTR:
		add_rmxattr(b, e);
		break;
	case ARCHIL_REC_RELEASE:
		add_release(b, e);
		break;
	default:	/* PUNCH, ALLOC */
		archil_batch_insert(b, e);
		archil_batch_sets(b, e->ino, TIMES | ARCHIL_SET_SIZE, e);
	}
}

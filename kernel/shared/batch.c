// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A batch of records as a value: see batch.h; what is merged, and why, merge.h. */
#include "batch.h"

/* ---- lists ---- */

static void link_init(struct archil_batch_link *head)
{
	head->prev = head;
	head->next = head;
	head->rec = NULL;
}

static void link_add(struct archil_batch_link *head, struct archil_batch_link *link,
		     struct archil_batch_rec *e)
{
	link->rec = e;
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

void archil_batch_link_del(struct archil_batch_link *link)
{
	if (!link->next)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link->next = NULL;
}

/* ---- inodes ---- */

static struct archil_batch_inode **bucket_of(struct archil_batch *b, u64 ino)
{
	return &b->bucket[(ino * 0x9e3779b97f4a7c15ull >> 32) & (b->buckets - 1)];
}

static struct archil_batch_inode *inode_find(struct archil_batch *b, u64 ino)
{
	struct archil_batch_inode *x;

	for (x = *bucket_of(b, ino); x; x = x->next)
		if (x->ino == ino)
			return x;
	return NULL;
}

/* More buckets; if there is no memory, the old ones do. */
static void inodes_spread(struct archil_batch *b)
{
	struct archil_batch_inode **old = b->bucket, *x, *next;
	u32 i, n = b->buckets;

	b->bucket = port_alloc(4 * n * sizeof(*old), false);
	if (!b->bucket) {
		b->bucket = old;
		return;
	}
	b->buckets = 4 * n;
	memset(b->bucket, 0, b->buckets * sizeof(*old));
	for (i = 0; i < n; i++) {
		for (x = old[i]; x; x = next) {
			struct archil_batch_inode **to = bucket_of(b, x->ino);

			next = x->next;
			x->next = *to;
			*to = x;
		}
	}
	if (old != b->few)
		port_free(old);
}

struct archil_batch_inode *archil_batch_inode_get(struct archil_batch *b,
						  struct archil_batch_rec *e, u64 ino)
{
	struct archil_batch_inode *x, **to;

	if (!ino)
		return NULL;
	x = inode_find(b, ino);
	if (x)
		return x;
	if (b->inodes >= 2 * b->buckets)
		inodes_spread(b);
	x = e->spares;
	e->spares = x->next;
	memset(x, 0, sizeof(*x));
	x->ino = ino;
	link_init(&x->recs);
	to = bucket_of(b, ino);
	x->next = *to;
	*to = x;
	b->inodes++;
	return x;
}

void archil_batch_inode_forget(struct archil_batch *b, struct archil_batch_inode *x)
{
	struct archil_batch_inode **p = bucket_of(b, x->ino);

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	b->inodes--;
	port_free(x);
}

/* ---- records ---- */

struct archil_batch_rec *archil_batch_rec_alloc(size_t cap, bool wait)
{
	struct archil_batch_rec *e = port_alloc(sizeof(*e) + cap, wait);

	if (e) {
		memset(e, 0, sizeof(*e));
		e->cap = cap;
	}
	return e;
}

static u8 *part_copy(u8 *to, const void *from, size_t len)
{
	if (len)
		memcpy(to, from, len);
	return to + len;
}

struct archil_batch_rec *archil_batch_rec_new(const struct archil_record *rec)
{
	unsigned int inodes = 1 + !!rec->dir + !!rec->new_dir + !!rec->target;
	struct archil_batch_rec *e;
	u8 *p;

	e = archil_batch_rec_alloc((size_t)rec->name_len + rec->new_name_len + rec->data_len, true);
	if (!e)
		return NULL;
	e->rec = *rec;
	p = e->parts;
	e->rec.data = p;
	p = part_copy(p, rec->data, rec->data_len);
	e->rec.name = (const char *)p;
	p = part_copy(p, rec->name, rec->name_len);
	e->rec.new_name = (const char *)p;
	part_copy(p, rec->new_name, rec->new_name_len);

	while (inodes--) {
		struct archil_batch_inode *x = port_alloc(sizeof(*x), true);

		if (!x) {
			archil_batch_rec_free(e);
			return NULL;
		}
		x->next = e->spares;
		e->spares = x;
	}
	return e;
}

void archil_batch_rec_free(struct archil_batch_rec *e)
{
	struct archil_batch_inode *x;

	while ((x = e->spares)) {
		e->spares = x->next;
		port_free(x);
	}
	if (e->extra)
		archil_batch_rec_free(e->extra);
	port_free(e);
}

static bool is_name_rec(const struct archil_batch_rec *e)
{
	return e->rec.type == ARCHIL_REC_LINK || e->rec.type == ARCHIL_REC_UNLINK ||
	       e->rec.type == ARCHIL_REC_RENAME;
}

/* ---- times: rule B ---- */

static void pend(struct archil_batch *b, struct archil_batch_inode *x, u32 which)
{
	if (x->gone)
		return;
	if (!x->pending && which) {
		b->bytes += ARCHIL_BATCH_PENDING_SIZE;
		b->count++;
	}
	x->pending |= which;
	x->since |= which;
}

void archil_batch_unpend(struct archil_batch *b, struct archil_batch_inode *x, u32 which)
{
	if (!x->pending)
		return;
	x->pending &= ~which;
	if (!x->pending) {
		b->bytes -= ARCHIL_BATCH_PENDING_SIZE;
		b->count--;
	}
}

void archil_batch_sets(struct archil_batch *b, struct archil_batch_inode *x, u32 which,
		       struct archil_batch_rec *e)
{
	archil_batch_unpend(b, x, which);
	x->since |= which;
	if (which & ARCHIL_SET_MTIME)
		x->mtime_by = e;
	if (which & ARCHIL_SET_CTIME)
		x->ctime_by = e;
}

/* Does it set both times of x as its CREATE's parent, and last? */
static bool set_by_child(const struct archil_batch_inode *x)
{
	struct archil_batch_rec *e = x->mtime_by;

	return e && e == x->ctime_by && e->rec.type == ARCHIL_REC_CREATE && e->dir == x;
}

static bool touch_one(struct archil_batch_inode *x, struct archil_batch_rec *by, u32 which,
		      const struct archil_time *time)
{
	if (!by || by->ino != x ||
	    (by->rec.type != ARCHIL_REC_CREATE && by->rec.type != ARCHIL_REC_SETATTR))
		return false;
	if (which == ARCHIL_SET_MTIME)
		by->rec.mtime = *time;
	else
		by->rec.ctime = *time;
	return true;
}

void archil_batch_touch(struct archil_batch *b, struct archil_batch_inode *x, u32 which,
			const struct archil_time *time)
{
	if (which == ARCHIL_BATCH_TIMES && set_by_child(x)) {
		x->mtime_by->rec.time = *time;
		return;
	}
	if (which & ARCHIL_SET_MTIME && !touch_one(x, x->mtime_by, ARCHIL_SET_MTIME, time)) {
		x->mtime = *time;
		x->mtime_by = NULL;
		pend(b, x, ARCHIL_SET_MTIME);
	}
	if (which & ARCHIL_SET_CTIME && !touch_one(x, x->ctime_by, ARCHIL_SET_CTIME, time)) {
		x->ctime = *time;
		x->ctime_by = NULL;
		pend(b, x, ARCHIL_SET_CTIME);
	}
}

void archil_batch_inherit(struct archil_batch *b, struct archil_batch_inode *x,
			  const struct archil_batch_rec *e)
{
	u32 which = 0;

	if (x->mtime_by == e) {
		x->mtime_by = NULL;
		which |= ARCHIL_SET_MTIME;
	}
	if (x->ctime_by == e) {
		x->ctime_by = NULL;
		which |= ARCHIL_SET_CTIME;
	}
	archil_batch_touch(b, x, which, &e->rec.time);
}

/* ---- putting in, taking out ---- */

static void mention(struct archil_batch_inode *x, struct archil_batch_rec *e, s32 n)
{
	if (!x)
		return;
	x->name_recs += n;
	x->last_name = n > 0 ? e : x->last_name == e ? NULL : x->last_name;
}

void archil_batch_insert(struct archil_batch *b, struct archil_batch_rec *e)
{
	link_add(&b->order, &e->order, e);
	link_add(&e->ino->recs, &e->own, e);
	if (e->target)
		link_add(&e->target->recs, &e->over, e);
	if (e->dir)
		e->dir->as_dir++;
	if (e->new_dir)
		e->new_dir->as_dir++;
	if (is_name_rec(e)) {
		mention(e->ino, e, 1);
		mention(e->target, e, 1);
	}
	b->bytes += archil_record_size(&e->rec);
	b->count++;
}

static void unset(struct archil_batch_inode *x, const struct archil_batch_rec *e)
{
	if (!x)
		return;
	if (x->mtime_by == e)
		x->mtime_by = NULL;
	if (x->ctime_by == e)
		x->ctime_by = NULL;
	if (x->setattr == e)
		x->setattr = NULL;
}

void archil_batch_take_out(struct archil_batch *b, struct archil_batch_rec *e)
{
	archil_batch_link_del(&e->order);
	archil_batch_link_del(&e->own);
	archil_batch_link_del(&e->over);
	if (e->dir)
		e->dir->as_dir--;
	if (e->new_dir)
		e->new_dir->as_dir--;
	if (is_name_rec(e)) {
		mention(e->ino, e, -1);
		mention(e->target, e, -1);
	}
	unset(e->ino, e);
	unset(e->dir, e);
	unset(e->new_dir, e);
	unset(e->target, e);
	b->bytes -= archil_record_size(&e->rec);
	b->count--;
}

void archil_batch_drop(struct archil_batch *b, struct archil_batch_rec *e)
{
	archil_batch_take_out(b, e);
	archil_batch_rec_free(e);
}

/* ---- the batch ---- */

void archil_batch_init(struct archil_batch *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	link_init(&b->order);
	b->max = max;
	b->bucket = b->few;
	b->buckets = ARCHIL_BATCH_BUCKETS;
}

void archil_batch_clear(struct archil_batch *b)
{
	struct archil_batch_link *l, *next_link;
	struct archil_batch_inode *x, *next;
	u32 i;

	for (l = b->order.next; l != &b->order; l = next_link) {
		next_link = l->next;
		archil_batch_rec_free(l->rec);
	}
	for (i = 0; i < b->buckets; i++) {
		for (x = b->bucket[i]; x; x = next) {
			next = x->next;
			port_free(x);
		}
	}
	if (b->bucket != b->few)
		port_free(b->bucket);
	archil_batch_init(b, b->max);
}

int archil_batch_encode(const struct archil_batch *b, void *buf, size_t cap)
{
	const struct archil_batch_inode *x;
	const struct archil_batch_link *l;
	size_t pos = 0;
	int err;
	u32 i;

	for (l = b->order.next; l != &b->order; l = l->next) {
		err = archil_record_put(buf, cap, &pos, &l->rec->rec);
		if (err)
			return err;
	}
	for (i = 0; i < b->buckets; i++) {
		for (x = b->bucket[i]; x; x = x->next) {
			struct archil_record rec = {
				.type = ARCHIL_REC_SETATTR,
				.ino = x->ino,
				.valid = x->pending,
				.mtime = x->mtime,
				.ctime = x->ctime,
			};

			if (!x->pending)
				continue;
			err = archil_record_put(buf, cap, &pos, &rec);
			if (err)
				return err;
		}
	}
	return 0;
}

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

static u32 hash(u64 ino)
{
	u64 h = ino * 0x9e3779b97f4a7c15ull;

	/* again: numbers are mostly in a row, and the low bits of the middle are not even then */
	return (h ^ h >> 32) * 0xbf58476d1ce4e5b9ull >> 32;
}

static struct archil_batch_inode **bucket(struct archil_batch *b, u32 i)
{
	if (i < ARCHIL_BATCH_FEW)
		return &b->few[i];
	return &b->segments[i / ARCHIL_BATCH_SEGMENT]->bucket[i % ARCHIL_BATCH_SEGMENT];
}

/* Buckets that are not there yet still lie in the one that they will be split from. */
static struct archil_batch_inode **bucket_of(struct archil_batch *b, u64 ino)
{
	u32 i = hash(ino) & b->mask;

	return bucket(b, i < b->buckets ? i : i & (b->mask >> 1));
}

struct archil_batch_inode *archil_batch_inode_find(struct archil_batch *b, u64 ino)
{
	struct archil_batch_inode *x;

	for (x = *bucket_of(b, ino); x; x = x->next)
		if (x->ino == ino)
			return x;
	return NULL;
}

/* Is there room for one more bucket? */
static bool segment_get(struct archil_batch *b)
{
	struct archil_batch_segment **s;

	if (b->buckets == ARCHIL_BATCH_SEGMENT * ARCHIL_BATCH_SEGMENT)
		return false;
	if (!b->segments) {
		b->segments = port_alloc(ARCHIL_BATCH_SEGMENT * sizeof(*s), false);
		if (!b->segments)
			return false;
		memset(b->segments, 0, ARCHIL_BATCH_SEGMENT * sizeof(*s));
	}
	s = &b->segments[b->buckets / ARCHIL_BATCH_SEGMENT];
	if (!*s)
		*s = port_alloc(sizeof(**s), false);
	return *s;
}

/* One bucket more; if there is no memory, those that are there do. */
static void bucket_split(struct archil_batch *b)
{
	struct archil_batch_inode **from, **to, *x;
	u32 i = b->buckets;

	if (!segment_get(b))
		return;
	b->buckets++;
	if (i > b->mask)
		b->mask = 2 * b->mask + 1;
	from = bucket(b, i & (b->mask >> 1));
	to = bucket(b, i);
	*to = NULL;
	while ((x = *from)) {
		if ((hash(x->ino) & b->mask) != i) {
			from = &x->next;
			continue;
		}
		*from = x->next;
		x->next = *to;
		*to = x;
	}
}

/* Rule 4: where its inode may lie. */
static struct archil_batch_inode *inode_room(struct archil_batch_rec *e)
{
	return e->has_inode ? (struct archil_batch_inode *)e->parts : NULL;
}

static struct archil_batch_inode *inode_new(struct archil_batch_rec *e, u64 ino)
{
	struct archil_batch_inode *x = ino == e->rec.ino ? inode_room(e) : NULL;
	bool in_rec = x;

	if (!x) {
		x = e->spares;
		e->spares = x->next;
	}
	memset(x, 0, sizeof(*x));
	x->ino = ino;
	x->in_rec = in_rec;
	if (in_rec && e->rec.type == ARCHIL_REC_CREATE)
		x->create = e;
	link_init(&x->recs);
	return x;
}

static struct archil_batch_inode *inode_get(struct archil_batch *b, struct archil_batch_rec *e,
					    u64 ino)
{
	struct archil_batch_inode *x, **to;

	if (!ino)
		return NULL;
	x = archil_batch_inode_find(b, ino);
	if (x)
		return x;
	/* the few buckets may be fuller, or many small batches would take two pages each */
	if (b->inodes >= b->buckets && b->inodes >= 4 * ARCHIL_BATCH_FEW)
		bucket_split(b);
	x = inode_new(e, ino);
	to = bucket_of(b, ino);
	x->next = *to;
	*to = x;
	b->inodes++;
	return x;
}

static void spares_free(struct archil_batch_rec *e)
{
	struct archil_batch_inode *x;

	while ((x = e->spares)) {
		e->spares = x->next;
		port_free(x);
	}
}

void archil_batch_inodes_get(struct archil_batch *b, struct archil_batch_rec *e)
{
	e->ino = inode_get(b, e, e->rec.ino);
	e->dir = inode_get(b, e, e->rec.dir);
	e->new_dir = inode_get(b, e, e->rec.new_dir);
	e->target = inode_get(b, e, e->rec.target);
	spares_free(e);
}

static void inode_free(struct archil_batch_inode *x)
{
	if (!x->in_rec)
		port_free(x);
}

void archil_batch_inode_forget(struct archil_batch *b, struct archil_batch_inode *x)
{
	struct archil_batch_inode **p = bucket_of(b, x->ino);

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	b->inodes--;
	inode_free(x);
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
	if (len && from)
		memcpy(to, from, len);
	return to + len;
}

/* Rule 4: does it stay as long as its inode, if that is new to the batch? */
static bool stays(const struct archil_record *rec)
{
	return rec->type != ARCHIL_REC_SETATTR && rec->type != ARCHIL_REC_CONTENT &&
	       rec->type != ARCHIL_REC_SETXATTR && rec->type != ARCHIL_REC_RMXATTR;
}

static bool spare_add(struct archil_batch_rec *e)
{
	struct archil_batch_inode *x = port_alloc(sizeof(*x), true);

	if (!x)
		return false;
	x->next = e->spares;
	e->spares = x;
	return true;
}

struct archil_batch_rec *archil_batch_rec_new(const struct archil_record *rec)
{
	size_t room = stays(rec) ? sizeof(struct archil_batch_inode) : 0;
	struct archil_batch_rec *e;
	unsigned int spares;
	u8 *p;

	e = archil_batch_rec_alloc(room + rec->data_len + rec->name_len + rec->new_name_len, true);
	if (!e)
		return NULL;
	e->has_inode = room;
	e->rec = *rec;
	p = e->parts + room;
	e->rec.data = p;
	p = part_copy(p, rec->data, rec->data_len);
	e->rec.name = (const char *)p;
	p = part_copy(p, rec->name, rec->name_len);
	e->rec.new_name = (const char *)p;
	part_copy(p, rec->new_name, rec->new_name_len);

	spares = !room + !!rec->dir + (rec->new_dir && rec->new_dir != rec->dir) + !!rec->target;
	while (spares--) {
		if (!spare_add(e)) {
			archil_batch_rec_free(e);
			return NULL;
		}
	}
	return e;
}

void archil_batch_rec_fill(struct archil_batch_rec *e, const void *data, u32 data_len,
			   const struct archil_time *time)
{
	memcpy(e->parts, data, data_len);
	e->rec.data_len = data_len;
	e->rec.time = *time;
}

void archil_batch_rec_free(struct archil_batch_rec *e)
{
	spares_free(e);
	if (e->extra)
		archil_batch_rec_free(e->extra);
	port_free(e);
}

/* ---- junk ---- */

static void push(struct archil_batch_rec **list, struct archil_batch_rec *e)
{
	e->next = *list;
	*list = e;
}

void archil_batch_junk_add(struct archil_batch *b, struct archil_batch_rec *e)
{
	if (e->extra)
		push(&b->junk, e->extra);
	e->extra = NULL;
	push(&b->junk, e);
}

struct archil_batch_rec *archil_batch_junk(struct archil_batch *b)
{
	struct archil_batch_rec *list = b->junk;

	b->junk = NULL;
	return list;
}

void archil_batch_junk_free(struct archil_batch_rec *list)
{
	struct archil_batch_rec *next;

	for (; list; list = next) {
		next = list->next;
		archil_batch_rec_free(list);
		port_relax();
	}
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
	e->prev = b->last;
	e->next = NULL;
	*(b->last ? &b->last->next : &b->first) = e;
	b->last = e;
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
	*(e->prev ? &e->prev->next : &b->first) = e->next;
	*(e->next ? &e->next->prev : &b->last) = e->prev;
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
	archil_batch_junk_add(b, e);
}

/* ---- the batch ---- */

void archil_batch_init(struct archil_batch *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max;
	b->buckets = ARCHIL_BATCH_FEW;
	b->mask = ARCHIL_BATCH_FEW - 1;
}

/* Frees what was only for adding; the inodes with pending times are late then. */
static void settle(struct archil_batch *b)
{
	struct archil_batch_inode **tail = &b->late, *x, *next;
	u32 i;

	if (b->draining)
		return;
	b->draining = true;
	for (i = 0; i < b->buckets; i++) {
		for (x = *bucket(b, i); x; x = next) {
			next = x->next;
			if (x->pending) {
				*tail = x;
				tail = &x->next;
			} else {
				inode_free(x);
			}
		}
		port_relax();
	}
	*tail = NULL;
	for (i = 0; b->segments && i < ARCHIL_BATCH_SEGMENT; i++)
		port_free(b->segments[i]);
	port_free(b->segments);
	b->segments = NULL;
}

/* The first one, which has been written. */
static void drain_rec(struct archil_batch *b, struct archil_batch_rec *e)
{
	b->first = e->next;
	if (e->next)
		e->next->prev = NULL;
	else
		b->last = NULL;
	/* e->ino may be freed already, but not if it lies in e */
	if (e->ino == inode_room(e) && e->ino->pending)
		push(&b->kept, e);
	else
		archil_batch_rec_free(e);
}

static void late_record(const struct archil_batch_inode *x, struct archil_record *rec)
{
	memset(rec, 0, sizeof(*rec));
	rec->type = ARCHIL_REC_SETATTR;
	rec->ino = x->ino;
	rec->valid = x->pending;
	rec->mtime = x->mtime;
	rec->ctime = x->ctime;
}

bool archil_batch_drain(struct archil_batch *b, void *buf, size_t cap, size_t *len, u32 *count,
			u64 *charge)
{
	struct archil_batch_inode *x;
	struct archil_batch_rec *e;
	struct archil_record rec;

	settle(b);
	*len = 0;
	*count = 0;
	*charge = 0;
	while ((e = b->first)) {
		if (archil_record_put(buf, cap, len, &e->rec))
			goto out;
		*charge += archil_record_charge(&e->rec);
		++*count;
		drain_rec(b, e);
		port_relax();
	}
	while ((x = b->late)) {
		late_record(x, &rec);
		if (archil_record_put(buf, cap, len, &rec))
			goto out;
		++*count;
		b->late = x->next;
		inode_free(x);
		port_relax();
	}
	archil_batch_junk_free(b->kept);
	b->kept = NULL;
out:
	b->bytes -= *len;
	b->count -= *count;
	return !b->first && !b->late;
}

void archil_batch_clear(struct archil_batch *b)
{
	struct archil_batch_inode *x;

	settle(b);
	while ((x = b->late)) {
		b->late = x->next;
		inode_free(x);
	}
	archil_batch_junk_free(b->first);
	archil_batch_junk_free(b->kept);
	archil_batch_junk_free(b->junk);
	archil_batch_init(b, b->max);
}

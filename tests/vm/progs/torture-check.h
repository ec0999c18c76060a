/* SPDX-License-Identifier: GPL-2.0 */
/*
 * torture: is what is found one of the states that section 5 of semantics.md allows?
 *
 * What is found is a struct model too: its ids are its own, the blocks of bulk files say
 * who wrote them.
 *
 * 1. Names, attributes, xattrs and small contents are those of one state K. A small write over
 *    several pages is a step for each: only some of its pages may be there, the first ones.
 * 2. K is not before the last operation that an acknowledged sync covers. fsync and O_SYNC cover
 *    the last change of the file itself and of the names and attributes that lead to it,
 *    syncfs and checkin everything.
 * 3. The last operation may have failed, or nobody knows: it is there, in part, or not.
 * 4. A bulk file's size and blocks. Something about a block is *firm* at a state K: a truncate
 *    up to K; a write that is covered by a sync, or by a rename over another name up to K. A
 *    block is what the last firm operation made it, or what any later write made it (also one
 *    after K: bulk data is outside the order); zeros only if the last firm operation, or a
 *    later one, left a hole there. This is said of each of its words: who overwrites a block that
 *    is on its way to the server may find the old and the new mixed.
 * 5. Its size is at most what it was in state K; at least what it would be if of all
 *    writes only the firm ones had been. A truncate makes it certain only if it was certain.
 * 6. Its times are those of state K, or older ones, back to the last operation whose times are
 *    in order (mtime: truncate, utimes; ctime: all but writes) or which is firm. A bulk
 *    write in several pieces has set several, from when it began on.
 * 7. Without loss, all is covered: K is the last state.
 */
#ifndef TORTURE_CHECK_H
#define TORTURE_CHECK_H

#include "prog.h"
#include "torture-model.h"

#define NEVER	0xffffffffu
#define ABSENT	0xfffffffeu	/* beyond the end */

/* Up to operation `upto`, everything (id 0) or one file is durable. */
struct ack {
	uint32_t upto, id;
};

struct trial {
	const struct model *base;	/* state 0 */
	const struct op *ops;		/* ops[0] is number 1 */
	uint32_t n;			/* operations that succeeded */
	bool more;			/* one more was begun */
	struct ack *acks;
	unsigned int nacks;
	uint32_t least;			/* K is not below */
};

static const struct op *op_of(const struct trial *t, uint32_t i)
{
	return &t->ops[i - 1];
}

/* ---- what was promised ---- */

static void add_ack(struct trial *t, uint32_t upto, uint32_t id, uint32_t least)
{
	if (!(t->nacks & (t->nacks - 1))) {
		t->acks = realloc(t->acks, (t->nacks * 2 + 1) * sizeof(*t->acks));
		if (!t->acks)
			die("memory");
	}
	t->acks[t->nacks++] = (struct ack){ upto, id };
	if (least > t->least)
		t->least = least;
}

/* The last operation that concerns what is at op->dir/name or the way to it. */
static uint32_t concerns(struct model *m, const struct op *op)
{
	uint32_t last = node_of(m, op->id)->changed, dir;

	for (dir = op->dir; dir && dir != TOP; dir = node_of(m, dir)->parent)
		if (node_of(m, dir)->led > last)
			last = node_of(m, dir)->led;
	return last;
}

/* Shows that the directory was still owned. */
static bool needs_ownership(const struct op *op)
{
	return op->what != FSYNC && op->what != SYNCFS;
}

/*
 * What the worker itself was told. A directory's fsync through a new descriptor may not hear of
 * what was lost before: it counts if something that needs ownership came after it.
 */
static void promises(struct trial *t)
{
	static struct model m;
	uint32_t i, owned = 0;
	bool told = false;	/* by a syncfs, that something was lost: the next does not say it again */

	m = *t->base;
	for (i = 1; i <= t->n; i++)
		if (needs_ownership(op_of(t, i)))
			owned = i;
	for (i = 1; i <= t->n + t->more; i++) {
		const struct op *op = op_of(t, i);

		if (op->what == RELEASE && op->value)
			add_ack(t, i - 1, 0, i - 1);
		if (i > t->n)
			break;
		apply(&m, op);
		told |= op->what == SYNCFS && op->err;
		if (op->err)
			continue;
		if (op->what == SYNCFS && (!told || i < owned))
			add_ack(t, i, 0, i);
		else if ((op->what == FSYNC && (op->id == TOP || i < owned ||
						node_of(&m, op->id)->kind != DIRECTORY)) ||
			 ((op->what == WRITE || op->what == BULK_WRITE) && op->how == BY_SYNC))
			add_ack(t, i, op->id, concerns(&m, op));
	}
}

/* ---- comparing ---- */

struct compare {
	const struct trial *t;
	struct model *m, *f;
	uint32_t partial;		/* id of a small file with half a write: its times are not known */
	bool all;			/* find all differences, not just one */
	bool say;
	unsigned int count;
	struct node *match[NODES];	/* in f, by place in m->node */
	char path[DIRS * 8 + 16];
	uint32_t told[16];		/* ids that something was said of */
	unsigned int ntold;
};

__attribute__((format(printf, 3, 4)))
static void differ(struct compare *c, uint32_t id, const char *fmt, ...)
{
	va_list ap;
	unsigned int i;

	c->count++;
	if (!c->say)
		return;
	printf("  /%s (file %u): ", c->path, id);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	for (i = 0; i < c->ntold; i++)
		if (c->told[i] == id)
			return;
	if (c->ntold < 16)
		c->told[c->ntold++] = id;
}

static bool time_is(uint64_t want, uint64_t got)
{
	return !want || want == got;
}

static void compare_node(struct compare *c, struct node *n, struct node *f)
{
	static const char *const kinds[] = { "small file", "bulk file", "symlink", "directory" };
	unsigned int i;

	c->match[n - c->m->node] = f;
	if (n->kind != f->kind) {
		differ(c, n->id, "a %s, should be a %s", kinds[f->kind], kinds[n->kind]);
		return;
	}
	if (n->ino && n->ino != f->ino)
		differ(c, n->id, "inode %lu, should be %lu", f->ino, n->ino);
	if (n->mode != f->mode)
		differ(c, n->id, "mode %o, should be %o", f->mode, n->mode);
	if (n->links != f->links)
		differ(c, n->id, "%u links, should be %u", f->links, n->links);
	for (i = 0; i < XATTRS; i++)
		if (n->xattr[i] != f->xattr[i])
			differ(c, n->id, "xattr %u is %u, should be %u", i, f->xattr[i], n->xattr[i]);
	if (n->kind == BULK)
		return;
	if (n->kind != DIRECTORY && n->size != f->size)
		differ(c, n->id, n->kind == SYMLINK ? "target %u, should be %u" :
		       "size %u, should be %u", f->size, n->size);
	if (n->id == c->partial)
		return;
	if (!time_is(n->mtime, f->mtime))
		differ(c, n->id, "mtime %lu, should be %lu", f->mtime, n->mtime);
	if (!time_is(n->ctime, f->ctime))
		differ(c, n->id, "ctime %lu, should be %lu", f->ctime, n->ctime);
}

static void compare_dir(struct compare *c, struct node *dir, struct node *fdir)
{
	size_t len = strlen(c->path);
	unsigned int i;

	compare_node(c, dir, fdir);
	for (i = 0; i < NAMES && (c->all || !c->count); i++) {
		struct node *n = node_of(c->m, dir->slot[i]), *f = node_of(c->f, fdir->slot[i]);

		snprintf(c->path + len, sizeof(c->path) - len, "%sn%u", len ? "/" : "", i);
		if (!n && f)
			differ(c, dir->id, "there, should not be (inode %lu)", f->ino);
		else if (n && !f)
			differ(c, n->id, "not there, should be (inode %lu)", n->ino);
		else if (n && n->kind == DIRECTORY && f->kind == DIRECTORY)
			compare_dir(c, n, f);
		else if (n)
			compare_node(c, n, f);
		c->path[len] = '\0';
	}
}

/* ---- bulk files ---- */

struct bulk {
	uint32_t low, high;		/* bounds of its size */
	uint32_t firm_upto;
	uint32_t firm_at[BLOCKS];	/* operation, 0 is the round's start */
	uint32_t firm[BLOCKS];		/* what it left: who wrote it, 0, or ABSENT */
	uint32_t zero_at[BLOCKS];	/* the last one that left a hole, or NEVER */
};

static void set_firm(struct bulk *b, uint32_t from, uint32_t to, uint32_t at, uint32_t what)
{
	for (from /= BLOCK; from < to / BLOCK; from++) {
		b->firm_at[from] = at;
		b->firm[from] = what;
	}
}

static void set_hole(struct bulk *b, uint32_t from, uint32_t to, uint32_t at, bool firm)
{
	if (firm)
		set_firm(b, from, to, at, 0);
	for (from /= BLOCK; from < to / BLOCK; from++)
		b->zero_at[from] = at;
}

/* What may be in a file in state @k; rules 4, 5. */
static void bulk_allowed(const struct trial *t, uint32_t id, uint32_t k, struct bulk *b)
{
	struct node *start = node_of((struct model *)t->base, id);
	uint32_t size = start ? start->size : 0, i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < BLOCKS; i++) {
		b->firm[i] = i < size / BLOCK ? start->bulk.block[i] : ABSENT;
		b->zero_at[i] = NEVER;
	}
	b->low = b->high = size;
	for (i = 0; i < t->nacks; i++)
		if ((!t->acks[i].id || t->acks[i].id == id) && t->acks[i].upto > b->firm_upto)
			b->firm_upto = t->acks[i].upto;
	for (i = 1; i <= k; i++)
		if (op_of(t, i)->what == RENAME && op_of(t, i)->id == id && op_of(t, i)->id2 &&
		    i > b->firm_upto)
			b->firm_upto = i;
	for (i = 1; i <= t->n + t->more; i++) {
		const struct op *op = op_of(t, i);
		uint32_t end = op->at + op->len;

		if (op->id != id)
			continue;
		if (op->what == BULK_WRITE) {
			if (op->at > size)
				set_hole(b, size, op->at, i, i <= b->firm_upto);
			if (i <= b->firm_upto) {
				set_firm(b, op->at, end, i, t->base->before + i);
				b->low = b->low > end ? b->low : end;
			}
			size = size > end ? size : end;
			if (i <= k && b->high < end)
				b->high = end;
		} else if (op->what == BULK_CUT) {
			if (i <= k) {
				set_firm(b, op->len, BULK_MAX, i, ABSENT);
				/* what had grown may still be shorter */
				if (b->low == b->high || b->low > op->len)
					b->low = op->len;
				b->high = op->len;
			}
			if (op->len > size)
				set_hole(b, size, op->len, i, i <= k);
			size = op->len;
		} else if (op->what == PUNCH && i <= k) {
			set_hole(b, op->at, end, i, true);
		}
	}
}

static bool block_allowed(const struct trial *t, const struct bulk *b, uint32_t id, uint32_t block,
			  uint32_t who)
{
	uint32_t i = who - t->base->before, at = block * BLOCK;
	struct node *start = node_of((struct model *)t->base, id);
	const struct op *op;

	if (who == b->firm[block])
		return true;
	if (!b->firm_at[block] && b->firm[block] != ABSENT && block_has(&start->bulk, block, who))
		return true;
	if (who == 0)
		return b->zero_at[block] != NEVER && b->zero_at[block] >= b->firm_at[block];
	if (who == BLOCK_BAD || who <= t->base->before || i > t->n + t->more ||
	    i < b->firm_at[block])
		return false;
	op = op_of(t, i);
	return op->what == BULK_WRITE && op->id == id && op->at <= at && at < op->at + op->len;
}

static void say_block(struct compare *c, const struct bulk *b, struct node *n, uint32_t block,
		      uint32_t who)
{
	const struct trial *t = c->t;
	char is[40], was[40];

	snprintf(is, sizeof(is), "write %d", (int)(who - t->base->before));
	snprintf(was, sizeof(was), b->firm[block] == ABSENT ? "beyond the end" : b->firm[block] ?
		 "write %d" : "zeros", (int)(b->firm[block] - t->base->before));
	differ(c, n->id, "block %u is %s; operation %u is firm and left %s, the last hole is %d",
	       block, who == BLOCK_BAD ? "nobody's" : who ? is : "zeros", b->firm_at[block], was,
	       (int)b->zero_at[block]);
}

static bool is_ordered(const struct op *op, bool mtime)
{
	if (op->what == CREATE || op->what == BULK_CUT || op->what == PUNCH || op->what == UTIMES)
		return true;
	return !mtime && op->what != BULK_WRITE;
}

/* Rule 6. */
static void compare_time(struct compare *c, struct node *n, uint64_t got, uint32_t firm_upto,
			 bool mtime)
{
	struct node *start = node_of((struct model *)c->t->base, n->id);
	uint64_t first = start ? mtime ? start->mtime : start->ctime : 0, want = first;
	uint32_t i, j, k = c->m->n, from = 0;
	bool found = false;

	if (time_is(mtime ? n->mtime : n->ctime, got))
		return;
	for (i = 1; i <= k && i <= c->t->n; i++) {
		const struct op *op = op_of(c->t, i);

		for (j = 0; j < SEEN && op->seen[j].id != n->id; j++)
			;
		if (j == SEEN)
			continue;
		want = mtime ? op->seen[j].mtime : op->seen[j].ctime;
		if (is_ordered(op, mtime) || i <= firm_upto) {
			from = i;
			first = want;
			found = false;
		}
		found |= time_is(want, got) || (op->what == BULK_WRITE && op->began &&
						op->began <= got && got <= want);
	}
	if (!found && !time_is(first, got))
		differ(c, n->id, "%s %lu, should be %lu (operation %u), %lu or between",
		       mtime ? "mtime" : "ctime", got, first, from, want);
}

static void compare_bulk(struct compare *c, struct node *n, struct node *f)
{
	static struct bulk b;
	uint32_t i;

	bulk_allowed(c->t, n->id, c->m->n, &b);
	if (f->size < b.low || f->size > b.high || f->size % BLOCK)
		differ(c, n->id, "size %u, should be %u to %u", f->size, b.low, b.high);
	for (i = 0; i < f->size / BLOCK && i < BLOCKS && (c->all || !c->count); i++) {
		if (block_allowed(c->t, &b, n->id, i, f->bulk.block[i]))
			continue;
		say_block(c, &b, n, i, f->bulk.block[i]);
		/* one of each sort */
		while (i + 1 < f->size / BLOCK && f->bulk.block[i + 1] == f->bulk.block[i])
			i++;
	}
	for (i = 0; i < f->bulk.mixes && (c->all || !c->count); i++)
		if (!block_allowed(c->t, &b, n->id, f->bulk.mix[i].block, f->bulk.mix[i].who))
			say_block(c, &b, n, f->bulk.mix[i].block, f->bulk.mix[i].who);
	compare_time(c, n, f->mtime, b.firm_upto, true);
	compare_time(c, n, f->ctime, b.firm_upto, false);
}

static void compare_contents(struct compare *c)
{
	struct node *n = NULL, *f;
	uint32_t i, dir, name;

	while ((n = node_next(c->m, n)) && (c->all || !c->count)) {
		f = c->match[n - c->m->node];
		if (!f || f->kind != n->kind || !is_file(n))
			continue;
		if (c->say && find_name(c->m, n->id, &dir, &name))
			snprintf(c->path, sizeof(c->path), ".../n%u", name);
		if (n->kind == BULK) {
			compare_bulk(c, n, f);
			continue;
		}
		if (!memcmp(n->data, f->data, SMALL_MAX))
			continue;
		for (i = 0; n->data[i] == f->data[i]; i++)
			;
		differ(c, n->id, "contents differ from byte %u on", i);
	}
	c->path[0] = '\0';
}

/* Returns the number of differences; without c->all, 0 or not. */
static unsigned int compare(struct compare *c)
{
	c->count = 0;
	memset(c->match, 0, sizeof(c->match));
	c->path[0] = '\0';
	compare_dir(c, node_of(c->m, TOP), node_of(c->f, TOP));
	if (c->all || !c->count)
		compare_contents(c);
	return c->count;
}

/* ---- searching ---- */

struct result {
	uint32_t k;			/* of the state that fits best, or fits */
	uint32_t part;			/* bytes of the next operation */
	unsigned int differences;
};

/* Bytes of a small write in its first pages, of which there are more than @done; 0: all. */
static uint32_t next_part(const struct op *op, uint32_t done)
{
	uint32_t part = PAGE - (op->at + done) % PAGE + done;

	return op->what == WRITE && part < op->len ? part : 0;
}

static bool try_state(struct compare *c, struct result *best, uint32_t part)
{
	unsigned int count = compare(c);

	if (count < best->differences)
		*best = (struct result){ c->m->n, part, count };
	return !count;
}

/* The first state from @from on that fits; else the one that fits best. c->m is left there if it fits. */
static struct result search(struct compare *c, uint32_t from)
{
	struct result best = { .differences = ~0u };
	static struct node whole;
	const struct trial *t = c->t;
	uint32_t k, part;

	*c->m = *t->base;
	for (k = 0; ; k++) {
		const struct op *op = op_of(t, k + 1);
		struct node *n;

		if (k >= from && try_state(c, &best, 0))
			return best;
		if (k == t->n + t->more)
			return best;
		n = op->what == WRITE ? node_of(c->m, op->id) : NULL;
		for (part = 0; n && k >= from && (part = next_part(op, part)); ) {
			whole = *n;
			c->partial = op->id;
			c->m->n++;
			small_write(c->m, n, op, part);
			c->m->n--;
			if (try_state(c, &best, part))
				return best;
			c->partial = 0;
			*n = whole;
		}
		apply(c->m, op);
	}
}

static void say_op(const struct trial *t, uint32_t i)
{
	const struct op *op = op_of(t, i);
	unsigned int j;

	printf("    %u %s file %u at %u/n%u", i, what_names[op->what], op->id, op->dir, op->name);
	if (op->what == RENAME || op->what == EXCHANGE || op->what == LINK)
		printf(" -> %u/n%u (file %u)", op->dir2, op->name2, op->id2);
	if (op->what == WRITE || op->what == BULK_WRITE || op->what == CUT || op->what == BULK_CUT ||
	    op->what == PUNCH)
		printf(" [%u, %u) how %u", op->at, op->at + op->len, op->how);
	if (op->value)
		printf(" value %u", op->value);
	for (j = 0; j < SEEN && op->seen[j].id; j++)
		printf("; %u: ino %lu m %lu c %lu", op->seen[j].id, op->seen[j].ino,
		       op->seen[j].mtime, op->seen[j].ctime);
	printf("%s\n", op->err ? ", failed" : i > t->n ? ", not known" : "");
}

static bool is_about(const struct op *op, uint32_t id)
{
	return op->id == id || op->id2 == id || op->dir == id ||
		((op->what == RENAME || op->what == EXCHANGE || op->what == LINK) && op->dir2 == id);
}

/* Operation @last, and those before that were about what it is about. */
static void say_ops(const struct trial *t, uint32_t last)
{
	const struct op *op = op_of(t, last);
	uint32_t i;

	for (i = 1; i <= last; i++)
		if (is_about(op_of(t, i), op->id) || (op->id2 && is_about(op_of(t, i), op->id2)) ||
		    (op->dir != TOP && is_about(op_of(t, i), op->dir)))
			say_op(t, i);
}

static void say_failure(struct compare *c, struct result *best)
{
	const struct trial *t = c->t;
	struct result any;
	unsigned int i, j;
	uint32_t k;

	c->all = true;
	*best = search(c, t->least);
	any = search(c, 0);
	printf("  state %u and %u bytes of the next of %u to %u fits best: %u differences\n", best->k,
	       best->part, t->least, t->n + t->more, best->differences);
	if (any.differences < best->differences)
		printf("  state %u, before what was promised, has %u differences\n", any.k,
		       any.differences);
	*c->m = *t->base;
	for (k = 1; k <= best->k; k++)
		apply(c->m, op_of(t, k));
	c->say = true;
	compare(c);
	for (i = 0; i < c->ntold; i++) {
		printf("  operations on %u:\n", c->told[i]);
		for (k = t->n + t->more, j = 0; k && j < 12; k--)
			if (is_about(op_of(t, k), c->told[i])) {
				say_op(t, k);
				j++;
			}
	}
	printf("  the last of all, and those around the state:\n");
	for (k = 1; k <= t->n + t->more; k++)
		if (k + 5 > t->n + t->more || (k + 4 > best->k && k < best->k + 4))
			say_op(t, k);
}

/* @m is the state that was found: it becomes the next round's start, with @f's bulk and times. */
static void settle(struct compare *c)
{
	struct node *n = NULL, *f;
	const struct op *op;
	uint32_t i;

	while ((n = node_next(c->m, n))) {
		f = c->match[n - c->m->node];
		n->ino = f->ino;
		n->mtime = f->mtime;
		n->ctime = f->ctime;
		n->changed = n->led = 0;
		if (n->kind == BULK) {
			n->size = f->size;
			n->bulk = f->bulk;
		}
	}
	for (i = 1; i <= c->t->n + c->t->more; i++) {
		op = op_of(c->t, i);
		if (op->id > c->m->last_id)
			c->m->last_id = op->id;
	}
	c->m->before += c->t->n + c->t->more;
	c->m->n = c->m->ntouched = c->m->held = 0;
}

/*
 * Is @f allowed? If so, @next is the state that it is, and result.differences is 0. With @say what
 * differs is told.
 */
static struct result check_state(const struct trial *t, struct model *f, struct model *next, bool say)
{
	static struct model m;
	struct compare c = { .t = t, .m = &m, .f = f };
	struct result result = search(&c, t->least);

	if (result.differences) {
		if (say)
			say_failure(&c, &result);
		return result;
	}
	settle(&c);
	if (next)
		*next = m;
	return result;
}

#endif

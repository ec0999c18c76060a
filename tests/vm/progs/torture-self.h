/* SPDX-License-Identifier: GPL-2.0 */
/*
 * torture --self-test: the checker is given states that are right, and finds them so, and
 * states with one thing wrong, and finds that.
 *
 * The operations are random, the disk is made up: a clock that moves with every operation, so
 * that no two states that differ look alike.
 */
#ifndef TORTURE_SELF_H
#define TORTURE_SELF_H

#include "torture-check.h"

#define SELF_OPS	400

struct self {
	struct model base, f, m;
	struct op ops[SELF_OPS + 1];
	struct trial t;
	uint64_t r, clock;
	unsigned int seed;
};

static void self_touch(struct self *s, struct model *m, struct op *op)
{
	unsigned int i, k = 0;
	struct node *n;

	s->clock += 1000;
	for (i = 0; i < m->ntouched; i++) {
		n = node_of(m, m->touched[i]);
		if (!n)
			continue;
		n->ino = 1000 + n->id;
		n->mtime = n->mtime ? n->mtime : s->clock;
		n->ctime = s->clock;
		op->seen[k++] = (struct seen){ n->id, n->ino, n->mtime, n->ctime };
	}
}

/* Bulk blocks of state @k as a machine without faults would leave them, or with @faults. */
static void self_bulk(struct self *s, struct model *f, uint32_t k, bool faults)
{
	static struct bulk firm;
	struct node *n = NULL, *start;
	uint32_t i, b, size;

	while ((n = node_next(f, n))) {
		if (n->kind != BULK)
			continue;
		start = node_of(&s->base, n->id);
		size = start ? start->size : 0;
		bulk_allowed(&s->t, n->id, k, &firm);	/* for firm_upto only */
		for (b = 0; b < BLOCKS; b++)
			n->bulk.block[b] = b < size / BLOCK ? start->bulk.block[b] : ABSENT;
		n->bulk.mixes = 0;
		for (i = 1; i <= (faults ? s->t.n : k); i++) {
			const struct op *op = op_of(&s->t, i);

			if (op->id != n->id)
				continue;
			if (op->what == BULK_CUT && i <= k) {
				for (b = op->len / BLOCK; b < BLOCKS; b++)
					block_set(&n->bulk, b, ABSENT);
				for (b = size / BLOCK; b < op->len / BLOCK; b++)
					block_set(&n->bulk, b, 0);
				size = op->len;
			}
			if (op->what == PUNCH && i <= k)
				for (b = op->at / BLOCK; b < (op->at + op->len) / BLOCK; b++)
					block_set(&n->bulk, b,
						  n->bulk.block[b] == ABSENT ? ABSENT : 0);
			if (op->what != BULK_WRITE)
				continue;
			for (b = size / BLOCK; i <= k && b < op->at / BLOCK; b++)
				block_set(&n->bulk, b, 0);
			for (b = op->at / BLOCK; b < (op->at + op->len) / BLOCK; b++)
				if (i <= firm.firm_upto || !faults || rnd(&s->r, 8))
					block_set(&n->bulk, b, s->base.before + i);
				else if (n->bulk.block[b] != ABSENT && n->bulk.mixes < MIXES &&
					 rnd(&s->r, 2))
					block_mix(&n->bulk, b, s->base.before + i);
			if (i <= k && size < op->at + op->len)
				size = op->at + op->len;
		}
		for (b = 0; b < size / BLOCK && n->bulk.block[b] != ABSENT; b++)
			;
		n->size = b * BLOCK;
		for (; b < BLOCKS; b++)
			block_set(&n->bulk, b, 0);
	}
}

/* s->f becomes what state @k looks like, without operation @skip. */
static void self_state(struct self *s, uint32_t k, uint32_t skip, bool faults)
{
	uint32_t i;

	s->f = s->base;
	for (i = 1; i <= k; i++) {
		if (i == skip)
			s->f.n++;
		else
			apply(&s->f, op_of(&s->t, i));
	}
	self_bulk(s, &s->f, k, faults);
}

static void self_log(struct self *s, unsigned int seed, uint32_t n)
{
	static struct model m;
	struct op *op;
	uint32_t i;

	s->r = rnd_init(seed, 0, s->base.before);
	m = s->base;
	s->t.nacks = s->t.least = 0;
	s->t.base = &s->base;
	s->t.ops = s->ops;
	s->t.n = n;
	for (i = 1; i <= n; i++) {
		op = &s->ops[i - 1];
		choose(&m, &s->r, op);
		if (op->what == RELEASE) {
			m.held = 0;
			op->value = 1;
		}
		apply(&m, op);
		self_touch(s, &m, op);
	}
	promises(&s->t);
}

static bool self_fits(struct self *s, struct model *next)
{
	return !check_state(&s->t, &s->f, next, false).differences;
}

/* ---- what can be wrong ---- */

enum sin {
	SKIPPED, OLD_CONTENT, NOT_SYNCED, NOBODYS, ELSEWHERE, MIXED, HOLE, CUT_AWAY, PUNCHED, SHORTER, LONGER, EXTRA,
	MISSING, SWAPPED, HALF_RENAME, OTHER_PAGE, OLD_TIME, SINS
};

static const char *const sin_names[SINS] = {
	"an operation in the middle is missing", "small contents older than a later name",
	"what was synced is lost", "a block that nobody wrote", "a block that was written elsewhere",
	"a block that was in part written elsewhere",
	"a hole in what was synced", "what a truncate cut away is back", "what was punched is back",
	"a bulk file shorter than its sync", "a bulk file longer than ever", "a name too many",
	"a name is missing", "two names swapped",
	"both names of a rename", "the second page of a write without the first", "a time that never was",
};

/* A node of this kind, or NULL. */
static struct node *self_pick(struct self *s, unsigned int kinds)
{
	uint32_t dir, name;

	return pick(&s->f, &s->r, kinds, &dir, &name);
}

/* The last operation up to @k that left a trace. */
static uint32_t self_trace(struct self *s, uint32_t k)
{
	while (k && (op_of(&s->t, k)->what == BULK_WRITE || !op_of(&s->t, k)->seen[0].id))
		k--;
	return k;
}

/* Did something else leave a trace in s->f after @k? */
static bool self_later(struct self *s, uint32_t k)
{
	struct node *n = NULL;

	while ((n = node_next(&s->f, n)))
		if (n->changed > k && n->kind != BULK)
			return true;
	return false;
}

static bool sin_names_of(struct self *s, enum sin sin)
{
	uint32_t dir, name, dir2, name2;
	struct node *n, *d;

	n = pick(&s->f, &s->r, ANY, &dir, &name);
	if (!n)
		return false;
	d = pick_place(&s->f, &s->r, &dir2, &name2);
	switch (sin) {
	case EXTRA:
		if (d || n->kind == DIRECTORY)
			return false;
		node_of(&s->f, dir2)->slot[name2] = n->id;
		return true;
	case MISSING:
		node_of(&s->f, dir)->slot[name] = 0;
		return true;
	case SWAPPED:
		if (!d || d == n || d->kind == DIRECTORY || n->kind == DIRECTORY)
			return false;
		node_of(&s->f, dir)->slot[name] = d->id;
		node_of(&s->f, dir2)->slot[name2] = n->id;
		return true;
	default:
		return false;
	}
}

static bool sin_half_rename(struct self *s)
{
	uint32_t i;

	for (i = s->t.n; i; i--) {
		const struct op *op = op_of(&s->t, i);

		if (op->what == RENAME && op->id2 == 0)
			break;
	}
	if (!i)
		return false;
	self_state(s, i, 0, false);
	node_of(&s->f, op_of(&s->t, i)->dir)->slot[op_of(&s->t, i)->name] = op_of(&s->t, i)->id;
	return true;
}

static bool sin_bulk(struct self *s, enum sin sin)
{
	struct node *n = self_pick(s, MASK(BULK));
	static struct bulk b;
	uint32_t i, at, k = s->t.n;
	const struct op *op;

	if (!n || !n->size)
		return false;
	bulk_allowed(&s->t, n->id, k, &b);
	at = rnd(&s->r, n->size / BLOCK);
	switch (sin) {
	case NOBODYS:
		n->bulk.block[at] = BLOCK_BAD;
		return true;
	case ELSEWHERE: case MIXED:
		/* a write of another place of this file, or of another file */
		i = 1 + rnd(&s->r, k);
		op = op_of(&s->t, i);
		if (op->what != BULK_WRITE || (op->id == n->id && op->at <= at * BLOCK &&
					       at * BLOCK < op->at + op->len))
			return false;
		if (sin == MIXED)
			block_mix(&n->bulk, at, s->base.before + i);
		else
			n->bulk.block[at] = s->base.before + i;
		return true;
	case HOLE:
		/* written and synced, and no hole since */
		i = n->bulk.block[at] - s->base.before;
		if (n->bulk.block[at] <= s->base.before || i > b.firm_upto)
			return false;
		for (; i <= k; i++)
			if ((op_of(&s->t, i)->what == BULK_CUT || op_of(&s->t, i)->what == PUNCH) &&
			    op_of(&s->t, i)->id == n->id)
				return false;
		n->bulk.block[at] = 0;
		return true;
	case PUNCHED:
		/* and written before */
		for (i = k; i && (op_of(&s->t, i)->what != PUNCH || op_of(&s->t, i)->id != n->id); i--)
			;
		if (!i)
			return false;
		op = op_of(&s->t, i);
		at = (op->at + rnd(&s->r, op->len)) / BLOCK;
		if (at >= n->size / BLOCK)
			return false;
		while (--i) {
			op = op_of(&s->t, i);
			if (op->what != BULK_WRITE || op->id != n->id || op->at > at * BLOCK ||
			    op->at + op->len <= at * BLOCK)
				continue;
			n->bulk.block[at] = s->base.before + i;
			return true;
		}
		return false;
	case CUT_AWAY:
		for (i = k; i && (op_of(&s->t, i)->what != BULK_CUT || op_of(&s->t, i)->id != n->id); i--)
			;
		if (!i || at < op_of(&s->t, i)->len / BLOCK)
			return false;
		while (--i) {
			op = op_of(&s->t, i);
			if (op->what != BULK_WRITE || op->id != n->id || op->at > at * BLOCK ||
			    op->at + op->len <= at * BLOCK)
				continue;
			n->bulk.block[at] = s->base.before + i;
			return true;
		}
		return false;
	case SHORTER:
		for (i = k; i && (op_of(&s->t, i)->what != FSYNC || op_of(&s->t, i)->id != n->id); i--)
			if (op_of(&s->t, i)->what == BULK_CUT && op_of(&s->t, i)->id == n->id)
				return false;
		if (!i)
			return false;
		/* the size at that sync is the least, whatever followed */
		s->m = s->base;
		for (at = 1; at <= i; at++)
			apply(&s->m, op_of(&s->t, at));
		if (!node_of(&s->m, n->id)->size)
			return false;
		n->size = node_of(&s->m, n->id)->size - BLOCK;
		return true;
	case LONGER:
		n->bulk.block[n->size / BLOCK] = 0;
		n->size += BLOCK;
		return n->size <= BULK_MAX;
	default:
		return false;
	}
}

static bool sin_small(struct self *s, enum sin sin)
{
	static struct node now;
	struct node *n = self_pick(s, MASK(SMALL));
	const struct op *op;
	uint32_t j, id;

	if (!n || !n->changed)
		return false;
	id = n->id;
	j = n->changed;
	op = op_of(&s->t, j);
	switch (sin) {
	case SKIPPED:
		if ((op->what != WRITE && op->what != CHMOD && op->what != SETXATTR && op->what != UTIMES) ||
		    !self_later(s, j))
			return false;
		self_state(s, s->t.n, j, false);
		return true;
	case OLD_CONTENT:
		if (op->what != WRITE || !self_later(s, j))
			return false;
		now = *n;
		self_state(s, s->t.n, j, false);
		n = node_of(&s->f, id);
		n->changed = now.changed;
		n->mtime = now.mtime;
		n->ctime = now.ctime;
		return n->size != now.size || memcmp(n->data, now.data, SMALL_MAX);
	case OTHER_PAGE:
		for (j = s->t.n; j && (op_of(&s->t, j)->what != WRITE || !next_part(op_of(&s->t, j), 0)); j--)
			;
		if (!j || j - 1 < s->t.least)
			return false;
		op = op_of(&s->t, j);
		self_state(s, j - 1, 0, false);
		n = node_of(&s->f, op->id);
		now = *n;
		small_write(&s->f, n, op, 0);
		s->f.n++;
		small_write(&s->f, n, op, op->len);
		s->f.n--;
		memcpy(n->data + op->at, now.data + op->at, next_part(op, 0));
		return true;
	case OLD_TIME:
		n->mtime += 1;
		return true;
	default:
		return false;
	}
}

/* Puts something wrong into s->f; false: there was nothing that it could be done to. */
static bool commit_sin(struct self *s, enum sin sin)
{
	uint32_t k = s->t.n;

	self_state(s, k, 0, false);
	switch (sin) {
	case NOT_SYNCED:
		k = self_trace(s, s->t.least);
		if (!k)
			return false;
		self_state(s, k - 1, 0, false);
		return true;
	case EXTRA: case MISSING: case SWAPPED:
		return sin_names_of(s, sin);
	case HALF_RENAME:
		return sin_half_rename(s);
	case SKIPPED: case OLD_CONTENT: case OTHER_PAGE: case OLD_TIME:
		return sin_small(s, sin);
	default:
		return sin_bulk(s, sin);
	}
}

/* ---- the test ---- */

static void self_right(struct self *s)
{
	uint32_t i, k, part;
	struct node *n;

	for (i = 0; i < 12; i++) {
		k = s->t.least + rnd(&s->r, s->t.n - s->t.least + 1);
		self_state(s, k, 0, i & 1);
		if (!self_fits(s, NULL))
			wrong("seed %u: state %u of %u to %u%s is not taken", s->seed, k, s->t.least,
			      s->t.n, i & 1 ? ", with old and new bulk data," : "");
	}
	for (k = s->t.least; k < s->t.n; k++) {
		const struct op *op = op_of(&s->t, k + 1);

		part = next_part(op, 0);
		if (!part)
			continue;
		self_state(s, k, 0, false);
		n = node_of(&s->f, op->id);
		s->f.n++;
		small_write(&s->f, n, op, part);
		if (!self_fits(s, NULL))
			wrong("seed %u: the first page of write %u is not taken", s->seed, k + 1);
		break;
	}
}

static int self_test(unsigned int seed)
{
	static struct self s;
	unsigned int found[SINS] = { 0 }, missed, rounds, round, sin, tries;

	for (rounds = 0; rounds < 15; rounds++) {
		s.seed = seed + rounds;
		model_init(&s.base, rounds % WORKERS);
		for (round = 0; round < 3; round++) {
			self_log(&s, s.seed, SELF_OPS - rnd(&s.r, 200));
			self_right(&s);
			for (sin = 0; sin < SINS; sin++) {
				for (tries = 0; tries < 10; tries++)
					if (commit_sin(&s, sin))
						break;
				if (tries == 10)
					continue;
				if (self_fits(&s, NULL)) {
					wrong("seed %u, round %u: not found: %s", s.seed, round,
					      sin_names[sin]);
					commit_sin(&s, sin);
				}
				found[sin]++;
			}
			/* goes on from some state, as after a loss */
			self_state(&s, s.t.least + rnd(&s.r, s.t.n - s.t.least + 1), 0, true);
			if (!self_fits(&s, &s.m))
				wrong("seed %u: the state to go on from is not taken", s.seed);
			s.base = s.m;
		}
	}
	for (sin = missed = 0; sin < SINS; sin++) {
		printf("%4u times: %s\n", found[sin], sin_names[sin]);
		missed += !found[sin];
	}
	if (missed)
		wrong("%u sorts were never tried", missed);
	return prog_failed != 0;
}

#endif

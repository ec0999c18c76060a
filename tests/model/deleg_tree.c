// SPDX-License-Identifier: GPL-2.0
/*
 * The delegation tree against a naive one: an array of delegations that is
 * searched from end to end, and a table of parents that is walked. Random
 * checkouts, forces, checkins, session ends, orphans, creates, removes and
 * renames; every answer is compared, and with them what memory is in use.
 * Then the same calls with a million delegations beneath one directory: the
 * steps they take must not grow.
 *
 * usage: deleg_tree [SEED [OPERATIONS]], or SEED in the environment
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../random.h"

static long allocated;		/* pieces in use */
static long fail_after = -1;	/* allocations that still succeed; -1: all */

static void *test_calloc(size_t n, size_t size)
{
	void *p;

	if (!fail_after)
		return NULL;
	if (fail_after > 0)
		fail_after--;
	p = calloc(n, size);
	allocated += !!p;
	return p;
}

static void test_free(void *p)
{
	allocated -= !!p;
	free(p);
}

#define calloc test_calloc
#define free test_free
#include "../../tools/lib/htable.c"
#include "../../tools/server/deleg_tree.c"
#undef calloc
#undef free

#define INODES		1500
#define SESSIONS	6
#define DEPTH_MAX	24
#define DELEGS_MAX	400
#define ROOT		1

static uint64_t seed;
static struct rnd random_numbers;
static long op;

#define CHECK(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "deleg_tree: %s:%d: %s: false at operation %ld, seed %llu\n", \
				__FILE__, __LINE__, #cond, op,		\
				(unsigned long long)seed);		\
			abort();					\
		}							\
	} while (0)

static uint64_t rnd(uint64_t n)
{
	return rnd64(&random_numbers) % n;
}

static uint64_t steps(struct deleg_tree *tree)
{
	return deleg_tree_visits(tree);
}

/* ---- the naive side ---- */

struct inode {
	bool exists;
	bool dir;
	unsigned int parent;	/* 0 for the root */
};

struct naive {
	struct deleg_grant grant;
	bool orphan;
};

static struct inode inodes[INODES];	/* by number; a number is used again here */
static struct naive delegs[DELEGS_MAX];	/* in order of insertion */
static size_t n_delegs;
static uint64_t next_number = 1;
static struct deleg_tree tree;

static bool at_or_above(unsigned int a, unsigned int b)
{
	for (; b; b = inodes[b].parent)
		if (a == b)
			return true;
	return false;
}

static size_t chain_of(unsigned int ino, uint64_t *chain)
{
	unsigned int i;
	size_t n = 0, at;

	for (i = ino; i; i = inodes[i].parent)
		n++;
	CHECK(n <= DEPTH_MAX);
	at = n;
	for (i = ino; i; i = inodes[i].parent)
		chain[--at] = i;
	return n;
}

static unsigned int height(unsigned int ino)
{
	unsigned int i, max = 0;

	for (i = 1; i < INODES; i++) {
		unsigned int depth = 0, j;

		if (!inodes[i].exists || !at_or_above(ino, i))
			continue;
		for (j = i; j != ino; j = inodes[j].parent)
			depth++;
		if (depth > max)
			max = depth;
	}
	return max;
}

static bool empty(unsigned int ino)
{
	unsigned int i;

	for (i = 1; i < INODES; i++)
		if (inodes[i].exists && inodes[i].parent == ino)
			return false;
	return true;
}

static unsigned int any_inode(bool dir)
{
	for (;;) {
		unsigned int i = 1 + rnd(INODES - 1);

		if (inodes[i].exists && (!dir || inodes[i].dir))
			return i;
	}
}

static unsigned int unused_inode(void)
{
	unsigned int start = rnd(INODES), i, k;

	for (i = 0; i < INODES; i++) {
		unsigned int ino = (start + i) % INODES;

		if (ino <= ROOT || inodes[ino].exists)
			continue;
		for (k = 0; k < n_delegs && delegs[k].grant.ino != ino; k++)
			;
		if (k == n_delegs)
			return ino;
	}
	return 0;
}

static struct naive *naive_find(uint64_t number)
{
	size_t i;

	for (i = 0; i < n_delegs; i++)
		if (delegs[i].grant.number == number)
			return &delegs[i];
	return NULL;
}

static struct naive *naive_cover(unsigned int ino)
{
	size_t i;

	for (i = 0; i < n_delegs; i++)
		if (!delegs[i].orphan && at_or_above(delegs[i].grant.ino, ino))
			return &delegs[i];
	return NULL;
}

static bool naive_conflicts(const struct naive *d, unsigned int ino, uint64_t session)
{
	return !d->orphan && d->grant.session != session &&
	       (at_or_above(d->grant.ino, ino) || at_or_above(ino, d->grant.ino));
}

static bool naive_held(const struct naive *d, unsigned int ino, uint64_t session)
{
	return !d->orphan && d->grant.session == session && at_or_above(ino, d->grant.ino);
}

static void naive_add(const struct deleg_grant *grant, bool orphan)
{
	CHECK(n_delegs < DELEGS_MAX);
	delegs[n_delegs++] = (struct naive){ .grant = *grant, .orphan = orphan };
}

static void naive_del(uint64_t number)
{
	struct naive *d = naive_find(number);

	CHECK(d);
	memmove(d, d + 1, (delegs + n_delegs - (d + 1)) * sizeof(*d));
	n_delegs--;
}

/* ---- both sides compared ---- */

static void same(const struct deleg *d, const struct naive *naive)
{
	CHECK(!d == !naive);
	if (!d)
		return;
	CHECK(d->grant.number == naive->grant.number);
	CHECK(d->grant.ino == naive->grant.ino);
	CHECK(d->grant.session == naive->grant.session);
	CHECK(d->grant.commit == naive->grant.commit);
	CHECK(d->grant.since == naive->grant.since);
	CHECK(d->grant.origin == naive->grant.origin);
	CHECK(!d->node == naive->orphan);
}

/* out[0..n) are exactly the naive ones that match() accepts. */
static void same_set(struct deleg **out, size_t n, unsigned int ino, uint64_t session,
		     bool (*match)(const struct naive *d, unsigned int ino, uint64_t session))
{
	size_t i, j, expected = 0;

	for (i = 0; i < n_delegs; i++)
		expected += match(&delegs[i], ino, session);
	CHECK(n == expected);
	for (i = 0; i < n; i++) {
		struct naive *d = naive_find(out[i]->grant.number);

		CHECK(d && match(d, ino, session));
		for (j = 0; j < i; j++)
			CHECK(out[j] != out[i]);
	}
}

/* Pieces of memory that are buckets of hash tables. */
static size_t segments(void)
{
	const struct htable *tables[] = {
		&tree.numbers, &tree.orphan_inos, &tree.nodes, &tree.holds, &tree.sessions,
	};
	size_t t, i, n = 0;

	for (t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (i = 1; i < HTABLE_SEGMENTS; i++)
			n += !!tables[t]->segment[i];
	return n;
}

/* Everything: order, counts, nodes and holds just where rules 2 and 3 want them, memory. */
static void compare_all(void)
{
	static uint64_t above[SESSIONS + 1][INODES];	/* delegations at or beneath */
	static uint64_t all_above[INODES];
	size_t i, j, nodes = 0, holds = 0, sessions = 0, places = 0;
	struct deleg *d, *tmp;
	uint64_t s;

	memset(above, 0, sizeof(above));
	memset(all_above, 0, sizeof(all_above));
	for (i = 0; i < n_delegs; i++) {
		unsigned int ino = delegs[i].grant.ino;

		same(deleg_tree_find(&tree, delegs[i].grant.number), &delegs[i]);
		same(deleg_tree_at(&tree, ino), &delegs[i]);
		if (delegs[i].orphan)
			continue;
		places++;
		for (j = 0; j < i; j++)
			CHECK(delegs[j].orphan || !(at_or_above(delegs[j].grant.ino, ino) ||
						    at_or_above(ino, delegs[j].grant.ino)));
		for (; ino; ino = inodes[ino].parent) {
			nodes += !all_above[ino]++;
			holds += !above[delegs[i].grant.session][ino]++;
		}
	}
	CHECK(tree.count == places && tree.orphans == n_delegs - places);
	i = 0;
	deleg_tree_for_each(d, tmp, &tree) {
		CHECK(i < n_delegs);
		same(d, &delegs[i++]);
	}
	CHECK(i == n_delegs);
	for (s = 1; s <= SESSIONS; s++) {
		size_t of = 0;

		i = 0;
		deleg_tree_for_each_of_session(d, tmp, &tree, s) {
			while (i < n_delegs && delegs[i].grant.session != s)
				i++;
			CHECK(i < n_delegs);
			same(d, &delegs[i++]);
			of++;
		}
		while (i < n_delegs && delegs[i].grant.session != s)
			i++;
		CHECK(i == n_delegs);
		CHECK(deleg_tree_session_count(&tree, s) == of);
		sessions += !!of;
		for (i = 1; i < INODES; i++)
			if (inodes[i].exists)
				CHECK(deleg_tree_held(&tree, i, s, NULL, 0) == above[s][i]);
	}
	CHECK(tree.nodes.count == nodes && tree.holds.count == holds);
	CHECK(tree.sessions.count == sessions);
	CHECK((size_t)allocated == n_delegs + nodes + holds + sessions + segments());
}

/* ---- operations ---- */

static struct deleg_grant make_grant(unsigned int ino, uint64_t session)
{
	return (struct deleg_grant){
		.number = next_number++,
		.ino = ino,
		.session = session,
		.commit = rnd(1000),
		.since = rnd(UINT64_MAX),
		.origin = 1 + rnd(3),
	};
}

/* The place is free: now and then without memory, without a list, or with a number that is taken. */
static void grant(unsigned int ino, uint64_t session)
{
	struct deleg_grant g = make_grant(ino, session), taken;
	struct deleg_list swallowed;
	struct deleg *inner[DELEGS_MAX], *d;
	uint64_t chain[DEPTH_MAX];
	size_t n = chain_of(ino, chain), n_inner, i = 0;
	int err;

	n_inner = deleg_tree_held(&tree, ino, session, inner, DELEGS_MAX);
	same_set(inner, n_inner, ino, session, naive_held);

	if (!rnd(8)) {
		size_t before = allocated - segments();

		fail_after = rnd(2 * n + 2);
		err = deleg_tree_insert(&tree, chain, n, &g, NULL, NULL);
		fail_after = -1;
		if (!err) {
			naive_add(&g, false);
			return;
		}
		CHECK(err == -ENOMEM || (err == -ENOTEMPTY && n_inner));
		CHECK(allocated - segments() == before);
		if (!rnd(16))
			compare_all();
	}
	if (n_inner)
		CHECK(deleg_tree_insert(&tree, chain, n, &g, NULL, NULL) == -ENOTEMPTY);
	if (n_delegs) {
		taken = g;
		taken.number = delegs[rnd(n_delegs)].grant.number;
		CHECK(deleg_tree_insert(&tree, chain, n, &taken, NULL, &swallowed) == -EEXIST);
	}
	CHECK(deleg_tree_insert(&tree, chain, 0, &g, NULL, &swallowed) == -EINVAL);
	if (n > 1)
		CHECK(deleg_tree_insert(&tree, chain, n - 1, &g, NULL, &swallowed) < 0);

	CHECK(!deleg_tree_insert(&tree, chain, n, &g, &d, &swallowed));
	TAILQ_FOREACH(d, &swallowed, of_session) {
		struct naive *naive = naive_find(d->grant.number);

		CHECK(naive && naive_held(naive, ino, session));
		naive_del(d->grant.number);
		i++;
	}
	CHECK(i == n_inner);
	deleg_list_free(&swallowed);
	naive_add(&g, false);
	same(deleg_tree_find(&tree, g.number), &delegs[n_delegs - 1]);
}

static void checkout(unsigned int ino, uint64_t session, bool force)
{
	struct deleg *found[DELEGS_MAX];
	struct deleg_conflict conflict;
	uint64_t chain[DEPTH_MAX];
	size_t n = chain_of(ino, chain), n_found, i;
	struct naive *cover = naive_cover(ino);
	uint64_t before = steps(&tree);
	int verdict = deleg_tree_check(&tree, chain, n, session, &conflict);

	/* Far below what looking at every delegation would cost. */
	CHECK(steps(&tree) - before < 20 * DEPTH_MAX);
	n_found = deleg_tree_conflicts(&tree, chain, n, session, found, DELEGS_MAX);
	same_set(found, n_found, ino, session, naive_conflicts);
	CHECK(conflict.count == n_found);

	switch (verdict) {
	case DELEG_COVERED: {
		struct deleg_grant g = make_grant(ino, session);

		CHECK(cover && cover->grant.session == session);
		same(conflict.deleg, cover);
		CHECK(deleg_tree_insert(&tree, chain, n, &g, NULL, NULL) == -EEXIST);
		return;
	}
	case DELEG_CONFLICT: {
		struct deleg_grant g = make_grant(ino, session);
		struct naive *d = naive_find(conflict.deleg->grant.number);
		struct deleg *one = NULL;

		CHECK(n_found && d && naive_conflicts(d, ino, session));
		CHECK(deleg_tree_insert(&tree, chain, n, &g, NULL, NULL) == -EBUSY);
		CHECK(deleg_tree_conflicts(&tree, chain, n, session, &one, 1) == n_found && one);
		if (!force)
			return;
		for (i = 0; i < n_found; i++) {
			naive_del(found[i]->grant.number);
			deleg_tree_remove(&tree, found[i]);
		}
		CHECK(deleg_tree_check(&tree, chain, n, session, NULL) == DELEG_FREE);
		break;
	}
	default:
		CHECK(verdict == DELEG_FREE && !n_found && !conflict.deleg);
	}
	if (n_delegs < DELEGS_MAX)
		grant(ino, session);
}

static void checkin(unsigned int ino, uint64_t session)
{
	struct deleg *found[DELEGS_MAX];
	size_t n = deleg_tree_held(&tree, ino, session, found, DELEGS_MAX), i;

	same_set(found, n, ino, session, naive_held);
	for (i = 0; i < n; i++) {
		naive_del(found[i]->grant.number);
		deleg_tree_remove(&tree, found[i]);
	}
}

static void end_session(uint64_t session)
{
	struct deleg *d, *tmp;

	deleg_tree_for_each_of_session(d, tmp, &tree, session) {
		CHECK(d->grant.session == session);
		naive_del(d->grant.number);
		deleg_tree_remove(&tree, d);
	}
	CHECK(!deleg_tree_session_count(&tree, session));
	CHECK(!deleg_tree_session_first(&tree, session));
}

static void create(void)
{
	unsigned int parent = any_inode(true), ino = unused_inode();
	uint64_t session = 1 + rnd(SESSIONS), chain[DEPTH_MAX];
	struct naive *cover = naive_cover(parent);

	if (!ino || chain_of(parent, chain) == DEPTH_MAX)
		return;
	inodes[ino] = (struct inode){ .exists = true, .dir = rnd(2), .parent = parent };
	/* dynamic ownership, where nobody owns the directory */
	if (!cover && n_delegs < DELEGS_MAX)
		grant(ino, session);
}

/* What only the owner of the place can do: nothing that the tree needs to hear of. */
static void rename_or_remove(void)
{
	unsigned int ino = any_inode(false), to = any_inode(true);
	struct naive *from = ino == ROOT ? NULL : naive_cover(inodes[ino].parent);
	struct naive *into = naive_cover(to);
	uint64_t chain[DEPTH_MAX];

	if (!from)
		return;
	CHECK(!deleg_tree_at(&tree, ino));
	if (empty(ino) && rnd(2)) {
		struct deleg_grant g = make_grant(ino, from->grant.session);

		inodes[ino].exists = false;
		inodes[ino].parent = 0;
		/* still open, and its delegation was checked in: an orphan of its own */
		if (!rnd(2) || n_delegs == DELEGS_MAX)
			return;
		if (!rnd(4)) {
			int err;

			fail_after = rnd(2);
			err = deleg_tree_insert_orphan(&tree, &g, NULL);
			fail_after = -1;
			CHECK(err == -ENOMEM || !err);
			if (!err)
				naive_add(&g, true);
			return;
		}
		CHECK(!deleg_tree_insert_orphan(&tree, &g, NULL));
		naive_add(&g, true);
		g.number = next_number++;
		CHECK(deleg_tree_insert_orphan(&tree, &g, NULL) == -EEXIST);
		return;
	}
	if (!into || into->grant.session != from->grant.session || at_or_above(ino, to) ||
	    chain_of(to, chain) + 1 + height(ino) > DEPTH_MAX)
		return;
	inodes[ino].parent = to;
}

static void ask(void)
{
	unsigned int ino = any_inode(false);
	uint64_t chain[DEPTH_MAX], wrong[3] = { ROOT };
	size_t n = chain_of(ino, chain), i;
	struct naive *d = naive_cover(ino);
	struct deleg_grant g;
	bool leads = false;

	for (i = 0; i < n_delegs; i++)
		leads |= !delegs[i].orphan && at_or_above(ino, delegs[i].grant.ino);
	CHECK(deleg_tree_leads(&tree, ino) == leads);
	same(deleg_tree_cover(&tree, chain, n), d);
	same(deleg_tree_find(&tree, next_number), NULL);
	same(deleg_tree_at(&tree, ino), d && d->grant.ino == ino ? d : NULL);

	/* an inode of the tree at another place than it has */
	if (!n_delegs)
		return;
	i = rnd(n_delegs);
	d = naive_cover(ROOT);
	if (d || delegs[i].orphan)
		return;
	wrong[1] = delegs[i].grant.ino;
	if (inodes[wrong[1]].parent == ROOT || wrong[1] == ROOT)
		return;
	CHECK(deleg_tree_check(&tree, wrong, 2, 1, NULL) == -EUCLEAN);
	CHECK(!deleg_tree_cover(&tree, wrong, 2));
	CHECK(!deleg_tree_conflicts(&tree, wrong, 2, 1, NULL, 0));
	/* and beneath one that the tree does not know */
	g = make_grant(wrong[1], 1);
	wrong[2] = wrong[1];
	wrong[1] = INODES;
	CHECK(deleg_tree_insert(&tree, wrong, 3, &g, NULL, NULL) == -EUCLEAN);
	CHECK(!deleg_tree_at(&tree, INODES));
}

static void operate(void)
{
	uint64_t session = 1 + rnd(SESSIONS);

	switch (rnd(16)) {
	case 0 ... 3:
		if (n_delegs < DELEGS_MAX)
			create();
		break;
	case 4 ... 6:
		checkout(any_inode(false), session, false);
		break;
	case 7:
		checkout(any_inode(false), session, !rnd(4));
		break;
	case 8 ... 10:
		rename_or_remove();
		break;
	case 11:
		if (!rnd(8))
			checkin(any_inode(true), session);
		break;
	case 12:
		if (n_delegs) {
			uint64_t number = delegs[rnd(n_delegs)].grant.number;

			deleg_tree_remove(&tree, deleg_tree_find(&tree, number));
			naive_del(number);
		}
		break;
	case 13:
		if (!rnd(500))
			end_session(session);
		break;
	default:
		ask();
	}
}

static void against_naive(long operations)
{
	long most = 0;

	deleg_tree_init(&tree, rnd(UINT64_MAX));
	inodes[ROOT] = (struct inode){ .exists = true, .dir = true };
	for (op = 0; op < operations; op++) {
		operate();
		if ((long)n_delegs > most)
			most = n_delegs;
		if (op % 499 == 0)
			compare_all();
	}
	compare_all();
	if (rnd(2)) {
		uint64_t s;

		for (s = 1; s <= SESSIONS; s++)
			end_session(s);
		CHECK(!allocated);
	}
	deleg_tree_destroy(&tree);
	CHECK(!allocated);
	printf("deleg_tree: %ld operations, up to %ld delegations\n", operations, most);
}

/* ---- scale ---- */

#define SCALE_SESSIONS	10000

struct costs {
	uint64_t insert, conflict, covered, foreign, lookup, held, remove;	/* most steps of one call */
};

static void most(uint64_t *max, uint64_t before)
{
	uint64_t n = steps(&tree) - before;

	if (n > *max)
		*max = n;
}

/* n delegations beneath /2/3, and what calls cost when they are all there. */
static struct costs measure(uint64_t n, uint64_t sessions)
{
	uint64_t chain[4] = { ROOT, 2, 3 }, i, before;
	struct costs costs = { 0 };
	struct deleg_conflict conflict;
	struct deleg *out[1];

	deleg_tree_init(&tree, rnd(UINT64_MAX));
	for (i = 0; i < n; i++) {
		struct deleg_grant g = {
			.number = i + 1, .ino = 100 + i, .session = 1 + i % sessions,
		};

		chain[3] = g.ino;
		before = steps(&tree);
		CHECK(!deleg_tree_insert(&tree, chain, 4, &g, NULL, NULL));
		most(&costs.insert, before);
	}
	for (i = 0; i < 1000; i++) {
		uint64_t at = rnd(n), owner = 1 + at % sessions;

		/* the directory itself, by one who owns something in it and by a stranger */
		before = steps(&tree);
		CHECK(deleg_tree_check(&tree, chain, 3, sessions + 1, &conflict) == DELEG_CONFLICT);
		CHECK(conflict.count == n);
		most(&costs.conflict, before);
		before = steps(&tree);
		if (sessions > 1) {
			CHECK(deleg_tree_check(&tree, chain, 1 + rnd(3), owner, &conflict) ==
			      DELEG_CONFLICT);
			CHECK(conflict.deleg->grant.session != owner);
		}
		most(&costs.conflict, before);

		chain[3] = 100 + at;
		before = steps(&tree);
		CHECK(deleg_tree_check(&tree, chain, 4, owner, &conflict) == DELEG_COVERED);
		most(&costs.covered, before);
		before = steps(&tree);
		CHECK(deleg_tree_check(&tree, chain, 4, sessions + 1, &conflict) == DELEG_CONFLICT);
		most(&costs.foreign, before);
		before = steps(&tree);
		CHECK(deleg_tree_find(&tree, at + 1) == deleg_tree_at(&tree, 100 + at));
		CHECK(deleg_tree_cover(&tree, chain, 4) == conflict.deleg);
		most(&costs.lookup, before);
		before = steps(&tree);
		CHECK(deleg_tree_held(&tree, 2, owner, out, 1) == (n - owner) / sessions + 1);
		most(&costs.held, before);
	}
	while (tree.count) {
		struct deleg *d = deleg_tree_first(&tree);

		before = steps(&tree);
		deleg_tree_remove(&tree, d);
		most(&costs.remove, before);
	}
	CHECK(!allocated);
	deleg_tree_destroy(&tree);
	return costs;
}

static void at_scale(uint64_t sessions)
{
	struct costs few = measure(sessions > 1000 ? sessions : 1000, sessions);
	struct costs many = measure(1000000, sessions);

	printf("deleg_tree: a million beneath one directory, %llu sessions: most steps of a call: "
	       "insert %llu, conflict %llu, covered %llu, taken %llu, lookup %llu, held %llu, remove %llu\n",
	       (unsigned long long)sessions, (unsigned long long)many.insert,
	       (unsigned long long)many.conflict, (unsigned long long)many.covered,
	       (unsigned long long)many.foreign, (unsigned long long)many.lookup,
	       (unsigned long long)many.held, (unsigned long long)many.remove);
	/*
	 * The most of a million calls meets longer hash chains than the most of
	 * a thousand; a cost that grew with the number would be a hundred times.
	 */
#define FLAT(what)	CHECK(many.what <= 3 * few.what + 12 && many.what < 150)
	FLAT(insert);
	FLAT(conflict);
	FLAT(covered);
	FLAT(foreign);
	FLAT(lookup);
	FLAT(held);
	FLAT(remove);
#undef FLAT
}

int main(int argc, char **argv)
{
	const char *text = argc > 1 ? argv[1] : getenv("SEED");
	long operations = argc > 2 ? atol(argv[2]) : 300000;

	seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	random_numbers.state = seed;
	printf("deleg_tree: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	against_naive(operations);
	op = -1;
	at_scale(1);
	at_scale(SCALE_SESSIONS);
	return 0;
}

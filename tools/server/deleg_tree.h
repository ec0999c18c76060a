/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The delegations of one disk, in memory: who owns what, and who is in
 * whose way. A pure data structure: no locks, no I/O; the caller keeps out
 * concurrent calls (one tree belongs to one disk's committer).
 *
 * A place is given as its chain: inode numbers from the root of the disk
 * down to the inode itself, both included. Costs are O(chain length), with
 * any number of delegations anywhere; what returns a list costs
 * O(list x depth).
 */
#ifndef ARCHIL_DELEG_TREE_H
#define ARCHIL_DELEG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "htable.h"

/* What is granted; the first three are keys, the rest is only kept. */
struct deleg_grant {
	uint64_t number;	/* never used twice on a disk */
	uint64_t ino;		/* its root inode: the last of the chain */
	uint64_t session;	/* id of the owner */
	uint64_t commit;	/* commit number at which it was granted */
	uint64_t since;		/* ns, CLOCK_REALTIME */
	uint8_t origin;		/* enum archil_origin */
};

struct deleg {
	struct deleg_grant grant;	/* never changes */
	uint8_t state;			/* the caller's; 0 at first */
	void *data;			/* the caller's; NULL at first */
	/* private from here on */
	struct deleg_node *node;	/* its place; NULL for an orphan */
	struct deleg_session *session;
	TAILQ_ENTRY(deleg) all;
	TAILQ_ENTRY(deleg) of_session;
	struct hlink by_number;
	struct hlink by_ino;	/* orphans only; the others: by node */
};

TAILQ_HEAD(deleg_list, deleg);

struct deleg_tree {
	uint64_t count;		/* delegations with a place */
	uint64_t orphans;	/* and without; read only */
	/* private from here on */
	uint64_t visits;		/* of holds */
	uint64_t seed;
	struct deleg_list all;		/* in order of insertion */
	struct htable numbers;
	struct htable orphan_inos;
	struct htable nodes;
	struct htable holds;
	struct htable sessions;
};

enum deleg_verdict {
	DELEG_FREE,		/* it can be granted */
	DELEG_COVERED,		/* the session owns the place already */
	DELEG_CONFLICT,		/* another session owns it, or something beneath */
};

struct deleg_conflict {
	struct deleg *deleg;	/* COVERED: through what. CONFLICT: one of them */
	uint64_t count;		/* CONFLICT: how many are in the way; else 0 */
};

/* seed: random, so that a client cannot choose inode numbers that collide. */
void deleg_tree_init(struct deleg_tree *tree, uint64_t seed);
/* Frees everything, every struct deleg included (not what data points to). */
void deleg_tree_destroy(struct deleg_tree *tree);

/*
 * Could session be granted the inode at chain[n - 1]?
 * out: filled for COVERED and CONFLICT; may be NULL.
 * Returns an enum deleg_verdict, or -EINVAL (n is 0), or -EUCLEAN (the chain
 * contradicts that of an existing delegation: damage or the caller's error).
 */
int deleg_tree_check(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		     uint64_t session, struct deleg_conflict *out);

/*
 * Grants. What the session holds beneath is taken out of the tree and put on
 * *swallowed (which the call initialises); the caller then frees it with
 * deleg_list_free. swallowed may be NULL where there can be nothing beneath.
 * out: the new delegation, valid until it is removed or swallowed; may be NULL.
 *
 * Returns 0, or with the tree unchanged: -EINVAL (n is 0, or grant->ino is not
 * chain[n - 1]), -EEXIST (the number is taken, the session owns the place
 * already, or the inode is an orphan with a delegation of its own),
 * -EBUSY (another session's is in the way), -ENOTEMPTY (swallowed is NULL but
 * there is something to swallow), -EUCLEAN as above, -ENOMEM.
 */
int deleg_tree_insert(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		      const struct deleg_grant *grant, struct deleg **out,
		      struct deleg_list *swallowed);

/*
 * An unlisted delegation of one inode that has no name left. It is found by
 * number, by inode and by session, and is never in anybody's way.
 * Returns 0, -EEXIST (number or inode taken), -ENOMEM.
 */
int deleg_tree_insert_orphan(struct deleg_tree *tree, const struct deleg_grant *grant,
			     struct deleg **out);

/* Takes it out and frees it. */
void deleg_tree_remove(struct deleg_tree *tree, struct deleg *deleg);
/* Frees what deleg_tree_insert swallowed. */
void deleg_list_free(struct deleg_list *list);

/* By number; NULL: none. */
struct deleg *deleg_tree_find(struct deleg_tree *tree, uint64_t number);
/* The one whose root is ino, orphans included; NULL: none. */
struct deleg *deleg_tree_at(struct deleg_tree *tree, uint64_t ino);
/* Is it the root of one, or on the way to one? false: none lies in it, however deep. */
bool deleg_tree_leads(struct deleg_tree *tree, uint64_t ino);
/* The one on the inode at chain[n - 1] or on an ancestor of it; NULL: none. */
struct deleg *deleg_tree_cover(struct deleg_tree *tree, const uint64_t *chain, size_t n);

/*
 * All delegations of other sessions that keep session from the inode at
 * chain[n - 1]: what a force takes away. Fills at most max entries of out
 * (which may be NULL when max is 0), returns how many there are.
 */
size_t deleg_tree_conflicts(struct deleg_tree *tree, const uint64_t *chain, size_t n,
			    uint64_t session, struct deleg **out, size_t max);
/* The same for what session itself holds on ino and beneath: what a checkin ends. */
size_t deleg_tree_held(struct deleg_tree *tree, uint64_t ino, uint64_t session,
		       struct deleg **out, size_t max);

/* How many delegations session has, its orphans included. */
uint64_t deleg_tree_session_count(struct deleg_tree *tree, uint64_t session);

struct deleg *deleg_tree_session_first(struct deleg_tree *tree, uint64_t session);

/* Steps taken so far: what the calls cost, whatever the machine. */
uint64_t deleg_tree_visits(const struct deleg_tree *tree);

static inline struct deleg *deleg_tree_first(struct deleg_tree *tree)
{
	return TAILQ_FIRST(&tree->all);
}

static inline struct deleg *deleg_next(struct deleg *deleg)
{
	return deleg ? TAILQ_NEXT(deleg, all) : NULL;
}

static inline struct deleg *deleg_session_next(struct deleg *deleg)
{
	return deleg ? TAILQ_NEXT(deleg, of_session) : NULL;
}

/* Everything, or everything of a session, oldest first; d may be removed in the body. */
#define deleg_tree_for_each(d, tmp, tree)					\
	for ((d) = deleg_tree_first(tree), (tmp) = deleg_next(d); (d);		\
	     (d) = (tmp), (tmp) = deleg_next(d))
#define deleg_tree_for_each_of_session(d, tmp, tree, id)			\
	for ((d) = deleg_tree_session_first(tree, id), (tmp) = deleg_session_next(d);	\
	     (d); (d) = (tmp), (tmp) = deleg_session_next(d))

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * The delegation tree. Rules:
 *
 * 1. Delegations with a place are disjoint: none lies at, above or beneath
 *    another. Insert keeps it so: it refuses what another session holds and
 *    swallows what the same session holds beneath.
 * 2. A *node* is an inode that is the root of a delegation or lies above one:
 *    exactly these have nodes. So an inode without a node has nothing at or
 *    beneath it, and a walk down a chain may stop there.
 * 3. A *hold* is (node, session): that session has at least one delegation at
 *    or beneath that node. The holds of one session form a trie along the
 *    nodes, whose leaves are its delegations (by rule 1 no delegation is above
 *    another). So another session's delegation beneath a node is reached by
 *    taking any hold of another session there and going down, and a session's
 *    own are listed without seeing anybody else's.
 * 4. Nodes and holds count the delegations at or beneath them and are freed
 *    at 0.
 * 5. There is no move. The chain of a delegation's root cannot change while the
 *    delegation lives: renaming that root, or any directory above it, changes
 *    the entries of a directory above it, which only a session may do that owns
 *    that directory; it would own all beneath (rule 1). The same holds for the
 *    home link of a file with several links, and a chain goes by home links.
 *    Inodes *inside* a delegation move freely: they have no nodes.
 * 6. An orphan's delegation has no place: no node, no hold, in nobody's way. An
 *    orphan that gets a name again has its delegation removed in the same commit.
 * 7. A call that fails leaves the tree as it was. Only insert allocates
 *    what it must have, and it does so before it changes a count.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "deleg_tree.h"

LIST_HEAD(deleg_holds, deleg_hold);

struct deleg_node {
	struct hlink link;		/* tree->nodes */
	struct deleg_node *parent;	/* NULL: the disk's root */
	struct deleg *deleg;		/* whose root this is */
	struct deleg_holds holds;	/* one for each session */
	uint64_t count;
};

struct deleg_hold {
	struct hlink link;		/* tree->holds */
	struct deleg_node *node;
	struct deleg_session *session;
	struct deleg_hold *parent;	/* the same session's at node->parent */
	struct deleg_holds inner;	/* the same session's, one level down */
	LIST_ENTRY(deleg_hold) sibling;	/* in parent->inner */
	LIST_ENTRY(deleg_hold) of_node;	/* in node->holds */
	uint64_t count;
};

struct deleg_session {			/* lives while it has a delegation */
	struct hlink link;		/* tree->sessions */
	uint64_t id;
	uint64_t count;
	struct deleg_list delegs;	/* in order of insertion */
};

static uint64_t hash_key(const struct deleg_tree *tree, uint64_t key)
{
	return htable_hash(tree->seed, key);
}

/* ---- sessions ---- */

static struct deleg_session *session_find(struct deleg_tree *tree, uint64_t id)
{
	struct hlink *link = htable_find(&tree->sessions, hash_key(tree, id));

	return link ? container_of(link, struct deleg_session, link) : NULL;
}

static struct deleg_session *session_get(struct deleg_tree *tree, uint64_t id)
{
	struct deleg_session *session = session_find(tree, id);

	if (session)
		return session;
	session = calloc(1, sizeof(*session));
	if (!session)
		return NULL;
	session->id = id;
	TAILQ_INIT(&session->delegs);
	htable_add(&tree->sessions, &session->link, hash_key(tree, id));
	return session;
}

/* Frees it if it has nothing. */
static void session_put(struct deleg_tree *tree, struct deleg_session *session)
{
	if (session->count)
		return;
	htable_del(&tree->sessions, &session->link);
	free(session);
}

/* ---- nodes and holds ---- */

static struct deleg_node *node_find(struct deleg_tree *tree, uint64_t ino)
{
	struct hlink *link = htable_find(&tree->nodes, hash_key(tree, ino));

	return link ? container_of(link, struct deleg_node, link) : NULL;
}

static struct deleg_node *node_new(struct deleg_tree *tree, uint64_t ino,
				   struct deleg_node *parent)
{
	struct deleg_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->parent = parent;
	LIST_INIT(&node->holds);
	htable_add(&tree->nodes, &node->link, hash_key(tree, ino));
	return node;
}

/* Frees it if there is nothing at or beneath it. */
static void node_put(struct deleg_tree *tree, struct deleg_node *node)
{
	if (node->count)
		return;
	htable_del(&tree->nodes, &node->link);
	free(node);
}

static uint64_t hold_hash(const struct deleg_node *node, const struct deleg_session *session)
{
	uint64_t hash = (node->link.hash ^ (session->link.hash << 1)) * 0x9e3779b97f4a7c15ull;

	return hash ^ (hash >> 32);
}

static struct deleg_hold *hold_find(struct deleg_tree *tree, struct deleg_node *node,
				    struct deleg_session *session)
{
	uint64_t hash = hold_hash(node, session);
	struct hlink *link = htable_find(&tree->holds, hash);

	while (link) {
		struct deleg_hold *hold = container_of(link, struct deleg_hold, link);

		if (hold->node == node && hold->session == session)
			return hold;
		link = htable_next(&tree->holds, link);
	}
	return NULL;
}

static struct deleg_hold *hold_get(struct deleg_tree *tree, struct deleg_node *node,
				   struct deleg_session *session, struct deleg_hold *parent)
{
	struct deleg_hold *hold = hold_find(tree, node, session);

	if (hold)
		return hold;
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		return NULL;
	hold->node = node;
	hold->session = session;
	hold->parent = parent;
	LIST_INIT(&hold->inner);
	if (parent)
		LIST_INSERT_HEAD(&parent->inner, hold, sibling);
	LIST_INSERT_HEAD(&node->holds, hold, of_node);
	htable_add(&tree->holds, &hold->link, hold_hash(node, session));
	return hold;
}

/* Takes n delegations off hold and all above it; frees what has none left. */
static void path_put(struct deleg_tree *tree, struct deleg_hold *hold, uint64_t n)
{
	while (hold) {
		struct deleg_hold *parent = hold->parent;
		struct deleg_node *node = hold->node;

		tree->visits++;
		hold->count -= n;
		node->count -= n;
		if (!hold->count) {
			if (parent)
				LIST_REMOVE(hold, sibling);
			LIST_REMOVE(hold, of_node);
			htable_del(&tree->holds, &hold->link);
			free(hold);
		}
		node_put(tree, node);
		hold = parent;
	}
}

/*
 * Makes the nodes and holds of a chain that are not there yet, counting
 * nothing: path_put(..., 0) undoes it.
 */
static int path_get(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		    struct deleg_session *session, struct deleg_hold **leaf)
{
	struct deleg_hold *hold = NULL;
	size_t i;
	int err;

	for (i = 0; i < n; i++) {
		struct deleg_node *parent = hold ? hold->node : NULL;
		struct deleg_node *node = node_find(tree, chain[i]);
		struct deleg_hold *next;

		if (node && node->parent != parent) {
			err = -EUCLEAN;
			goto out_put;
		}
		err = -ENOMEM;
		if (!node)
			node = node_new(tree, chain[i], parent);
		if (!node)
			goto out_put;
		next = hold_get(tree, node, session, hold);
		if (!next) {
			node_put(tree, node);
			goto out_put;
		}
		hold = next;
	}
	*leaf = hold;
	return 0;

out_put:
	path_put(tree, hold, 0);
	return err;
}

/* The first delegation of the trie beneath hold (a leaf is one itself). */
static struct deleg_hold *hold_first_leaf(struct deleg_tree *tree, struct deleg_hold *hold)
{
	while (!LIST_EMPTY(&hold->inner)) {
		tree->visits++;
		hold = LIST_FIRST(&hold->inner);
	}
	return hold;
}

/* The leaf after that one, within top's trie; NULL after the last. */
static struct deleg_hold *hold_next_leaf(struct deleg_tree *tree, struct deleg_hold *top,
					 struct deleg_hold *leaf)
{
	while (leaf != top) {
		tree->visits++;
		if (LIST_NEXT(leaf, sibling))
			return hold_first_leaf(tree, LIST_NEXT(leaf, sibling));
		leaf = leaf->parent;
	}
	return NULL;
}

/* Writes the delegations of top's trie to out[at], ..., while at < max; returns the new at. */
static size_t hold_list(struct deleg_tree *tree, struct deleg_hold *top,
			struct deleg **out, size_t at, size_t max)
{
	struct deleg_hold *leaf = hold_first_leaf(tree, top);

	for (; leaf && at < max; leaf = hold_next_leaf(tree, top, leaf))
		out[at++] = leaf->node->deleg;
	return at;
}

/* ---- questions ---- */

/*
 * Walks down a chain as far as there are nodes. *cover: the delegation at or
 * above its end. *last: without such a one, the node of its end, if there is
 * one: something is beneath it.
 */
static int walk(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		struct deleg **cover, struct deleg_node **last)
{
	struct deleg_node *parent = NULL;
	size_t i;

	*cover = NULL;
	*last = NULL;
	if (!n)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		struct deleg_node *node = node_find(tree, chain[i]);

		if (!node)
			return 0;
		if (node->parent != parent)
			return -EUCLEAN;
		if (node->deleg) {
			*cover = node->deleg;
			return 0;
		}
		parent = node;
	}
	*last = parent;
	return 0;
}

/* The first hold on node, from hold on, that is another session's. */
static struct deleg_hold *hold_of_other(struct deleg_hold *hold, uint64_t session)
{
	while (hold && hold->session->id == session)
		hold = LIST_NEXT(hold, of_node);
	return hold;
}

static uint64_t count_of(struct deleg_tree *tree, struct deleg_node *node, uint64_t id)
{
	struct deleg_session *session = session_find(tree, id);
	struct deleg_hold *hold = session ? hold_find(tree, node, session) : NULL;

	return hold ? hold->count : 0;
}

int deleg_tree_check(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		     uint64_t session, struct deleg_conflict *out)
{
	struct deleg_conflict ignored;
	struct deleg_hold *hold;
	struct deleg_node *last;
	struct deleg *cover;
	int err;

	if (!out)
		out = &ignored;
	out->deleg = NULL;
	out->count = 0;
	err = walk(tree, chain, n, &cover, &last);
	if (err)
		return err;
	if (cover) {
		out->deleg = cover;
		if (cover->grant.session == session)
			return DELEG_COVERED;
		out->count = 1;
		return DELEG_CONFLICT;
	}
	hold = last ? hold_of_other(LIST_FIRST(&last->holds), session) : NULL;
	if (!hold)
		return DELEG_FREE;
	out->deleg = hold_first_leaf(tree, hold)->node->deleg;
	out->count = last->count - count_of(tree, last, session);
	return DELEG_CONFLICT;
}

size_t deleg_tree_conflicts(struct deleg_tree *tree, const uint64_t *chain, size_t n,
			    uint64_t session, struct deleg **out, size_t max)
{
	struct deleg_hold *hold;
	struct deleg_node *last;
	struct deleg *cover;
	size_t at = 0;

	if (walk(tree, chain, n, &cover, &last))
		return 0;
	if (cover) {
		if (cover->grant.session == session)
			return 0;
		if (max)
			out[0] = cover;
		return 1;
	}
	if (!last)
		return 0;
	hold = hold_of_other(LIST_FIRST(&last->holds), session);
	while (hold && at < max) {
		at = hold_list(tree, hold, out, at, max);
		hold = hold_of_other(LIST_NEXT(hold, of_node), session);
	}
	return last->count - count_of(tree, last, session);
}

size_t deleg_tree_held(struct deleg_tree *tree, uint64_t ino, uint64_t session,
		       struct deleg **out, size_t max)
{
	struct deleg_session *owner = session_find(tree, session);
	struct deleg_node *node = node_find(tree, ino);
	struct deleg_hold *hold = owner && node ? hold_find(tree, node, owner) : NULL;

	if (!hold)
		return 0;
	hold_list(tree, hold, out, 0, max);
	return hold->count;
}

struct deleg *deleg_tree_find(struct deleg_tree *tree, uint64_t number)
{
	struct hlink *link = htable_find(&tree->numbers, hash_key(tree, number));

	return link ? container_of(link, struct deleg, by_number) : NULL;
}

static struct deleg *orphan_find(struct deleg_tree *tree, uint64_t ino)
{
	struct hlink *link = htable_find(&tree->orphan_inos, hash_key(tree, ino));

	return link ? container_of(link, struct deleg, by_ino) : NULL;
}

struct deleg *deleg_tree_at(struct deleg_tree *tree, uint64_t ino)
{
	struct deleg_node *node = node_find(tree, ino);

	if (node && node->deleg)
		return node->deleg;
	return orphan_find(tree, ino);
}

bool deleg_tree_leads(struct deleg_tree *tree, uint64_t ino)
{
	return node_find(tree, ino);
}

struct deleg *deleg_tree_cover(struct deleg_tree *tree, const uint64_t *chain, size_t n)
{
	struct deleg_node *last;
	struct deleg *cover;

	if (walk(tree, chain, n, &cover, &last))
		return NULL;
	return cover;
}

struct deleg *deleg_tree_session_first(struct deleg_tree *tree, uint64_t session)
{
	struct deleg_session *found = session_find(tree, session);

	return found ? TAILQ_FIRST(&found->delegs) : NULL;
}

uint64_t deleg_tree_session_count(struct deleg_tree *tree, uint64_t session)
{
	struct deleg_session *found = session_find(tree, session);

	return found ? found->count : 0;
}

/* ---- changes ---- */

static struct deleg *deleg_new(const struct deleg_grant *grant, struct deleg_session *session)
{
	struct deleg *deleg = calloc(1, sizeof(*deleg));

	if (!deleg)
		return NULL;
	deleg->grant = *grant;
	deleg->session = session;
	return deleg;
}

/* The part that is the same with a place and without. */
static void deleg_link(struct deleg_tree *tree, struct deleg *deleg)
{
	TAILQ_INSERT_TAIL(&tree->all, deleg, all);
	TAILQ_INSERT_TAIL(&deleg->session->delegs, deleg, of_session);
	deleg->session->count++;
	htable_add(&tree->numbers, &deleg->by_number, hash_key(tree, deleg->grant.number));
}

/* Takes it out of everything but memory. */
static void deleg_unlink(struct deleg_tree *tree, struct deleg *deleg)
{
	struct deleg_session *session = deleg->session;

	if (deleg->node) {
		struct deleg_hold *hold = hold_find(tree, deleg->node, session);

		path_put(tree, hold, 1);	/* nothing is beneath: the node goes too */
		deleg->node = NULL;
		tree->count--;
	} else {
		htable_del(&tree->orphan_inos, &deleg->by_ino);
		tree->orphans--;
	}
	htable_del(&tree->numbers, &deleg->by_number);
	TAILQ_REMOVE(&tree->all, deleg, all);
	TAILQ_REMOVE(&session->delegs, deleg, of_session);
	session->count--;
	session_put(tree, session);
	deleg->session = NULL;
}

int deleg_tree_insert(struct deleg_tree *tree, const uint64_t *chain, size_t n,
		      const struct deleg_grant *grant, struct deleg **out,
		      struct deleg_list *swallowed)
{
	struct deleg_session *session;
	struct deleg_hold *leaf, *hold;
	struct deleg *deleg;
	int err;

	if (swallowed)
		TAILQ_INIT(swallowed);
	err = deleg_tree_check(tree, chain, n, grant->session, NULL);
	if (err < 0)
		return err;
	if (chain[n - 1] != grant->ino)
		return -EINVAL;
	if (err == DELEG_CONFLICT)
		return -EBUSY;
	if (err == DELEG_COVERED || deleg_tree_find(tree, grant->number) ||
	    orphan_find(tree, grant->ino))
		return -EEXIST;

	session = session_get(tree, grant->session);
	if (!session)
		return -ENOMEM;
	deleg = deleg_new(grant, session);
	if (!deleg) {
		err = -ENOMEM;
		goto out_session;
	}
	err = path_get(tree, chain, n, session, &leaf);
	if (err)
		goto out_deleg;
	if (leaf->count && !swallowed) {
		path_put(tree, leaf, 0);
		err = -ENOTEMPTY;
		goto out_deleg;
	}

	/* From here on nothing can fail. */
	for (hold = leaf; hold; hold = hold->parent) {
		tree->visits++;
		hold->count++;
		hold->node->count++;
	}
	deleg->node = leaf->node;
	leaf->node->deleg = deleg;
	deleg_link(tree, deleg);
	tree->count++;
	while (!LIST_EMPTY(&leaf->inner)) {
		struct deleg *inner = hold_first_leaf(tree, leaf)->node->deleg;

		deleg_unlink(tree, inner);
		TAILQ_INSERT_TAIL(swallowed, inner, of_session);
	}
	if (out)
		*out = deleg;
	return 0;

out_deleg:
	free(deleg);
out_session:
	session_put(tree, session);
	return err;
}

int deleg_tree_insert_orphan(struct deleg_tree *tree, const struct deleg_grant *grant,
			     struct deleg **out)
{
	struct deleg_session *session;
	struct deleg *deleg;

	if (deleg_tree_find(tree, grant->number) || deleg_tree_at(tree, grant->ino))
		return -EEXIST;
	session = session_get(tree, grant->session);
	if (!session)
		return -ENOMEM;
	deleg = deleg_new(grant, session);
	if (!deleg) {
		session_put(tree, session);
		return -ENOMEM;
	}
	deleg_link(tree, deleg);
	htable_add(&tree->orphan_inos, &deleg->by_ino, hash_key(tree, grant->ino));
	tree->orphans++;
	if (out)
		*out = deleg;
	return 0;
}

void deleg_tree_remove(struct deleg_tree *tree, struct deleg *deleg)
{
	deleg_unlink(tree, deleg);
	free(deleg);
}

void deleg_list_free(struct deleg_list *list)
{
	struct deleg *deleg;

	while ((deleg = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, deleg, of_session);
		free(deleg);
	}
}

uint64_t deleg_tree_visits(const struct deleg_tree *tree)
{
	return tree->visits + tree->numbers.visits + tree->orphan_inos.visits +
	       tree->nodes.visits + tree->holds.visits + tree->sessions.visits;
}

void deleg_tree_init(struct deleg_tree *tree, uint64_t seed)
{
	*tree = (struct deleg_tree){ .seed = seed };
	TAILQ_INIT(&tree->all);
	htable_init(&tree->numbers);
	htable_init(&tree->orphan_inos);
	htable_init(&tree->nodes);
	htable_init(&tree->holds);
	htable_init(&tree->sessions);
}

void deleg_tree_destroy(struct deleg_tree *tree)
{
	struct deleg *deleg;

	while ((deleg = TAILQ_FIRST(&tree->all)))
		deleg_tree_remove(tree, deleg);
	htable_destroy(&tree->numbers);
	htable_destroy(&tree->orphan_inos);
	htable_destroy(&tree->nodes);
	htable_destroy(&tree->holds);
	htable_destroy(&tree->sessions);
}

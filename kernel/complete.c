// SPDX-License-Identifier: GPL-2.0
/*
 * Complete directories.
 *
 * 1. A directory is complete, under a delegation, while every name in it is in the dcache: it was
 *    made under that delegation, or had never had an entry when it was granted, or was read whole,
 *    and none was dropped since. Then what is not listed is not there. The dcache may have other
 *    names, older ones: lookups ask for those.
 * 2. While it is complete its names are listed, in the order of their cookies, which is the
 *    server's order: a listing may begin in memory and go on at the server, or the reverse.
 * 3. Names change with the directory locked, and are listed and unlisted with that. What memory
 *    pressure drops is unlisted at that moment (archil_d_prune()), and completeness ends.
 * 4. A reading makes complete only what nothing disturbed from its beginning to its end: no
 *    change, no name dropped, no other reading that began later (`gen`). What was disturbed
 *    lists nothing any more: readings share the directory's lock, and one name may be in several.
 * 5. A listing holds no reference. A name leaves it before its dentry goes; a directory that goes
 *    lets go of its names first. A name's directory is found under RCU, then confirmed under
 *    the lock.
 * 6. Who looks for one name after the other in a directory that is ours has all of it read instead
 *    (archil_dir_read_around()): with the second name that the server would be asked for, later
 *    in a large one, so that reading costs little more than asking did. One does so at a
 *    time: it waits for names that others are looking up, and they must not wait for its own.
 */
#include <linux/dcache.h>
#include <linux/slab.h>

#include "complete.h"
#include "inode.h"
#include "names.h"

#define ARCHIL_AROUND_ASKED	2	/* names that are asked for before all are read, */
#define ARCHIL_AROUND_PART	64	/* and at least this part of what there can be; */
#define ARCHIL_AROUND_FAILED	8	/* twice as many after each time in vain, so often */

void archil_listing_init(struct archil_listing *l)
{
	spin_lock_init(&l->lock);
	l->deleg = 0;
	l->names = RB_ROOT;
	l->last = NULL;
	l->gen = 0;
	l->asked = 0;
	l->failed = 0;
	l->reading_around = false;
}

static struct archil_listed *archil_listed_of(struct rb_node *node)
{
	return rb_entry(node, struct archil_listed, by_cookie);
}

/* ---- putting in, taking out; the listing is locked ---- */

static void archil_listing_erase(struct archil_listing *l, struct archil_listed *e)
{
	if (l->last == &e->by_cookie)
		l->last = rb_prev(&e->by_cookie);
	rb_erase(&e->by_cookie, &l->names);
	WRITE_ONCE(e->dir, NULL);
}

static void archil_listing_clear(struct archil_listing *l)
{
	struct rb_node *node;

	while ((node = rb_first(&l->names)))
		archil_listing_erase(l, archil_listed_of(node));
}

/* Most are new: their cookie is above all others. */
static void archil_listing_insert(struct archil_inode *dir, struct archil_listed *e, u64 cookie)
{
	struct archil_listing *l = &dir->listing;
	struct rb_node **link = &l->names.rb_node, *parent = NULL;
	bool last = true;

	if (l->last && archil_listed_of(l->last)->cookie < cookie) {
		parent = l->last;
		link = &parent->rb_right;
	}
	while (*link) {
		parent = *link;
		if (cookie < archil_listed_of(parent)->cookie) {
			link = &parent->rb_left;
			last = false;
		} else {
			link = &parent->rb_right;
		}
	}
	e->cookie = cookie;
	rb_link_node(&e->by_cookie, parent, link);
	rb_insert_color(&e->by_cookie, &l->names);
	if (last)
		l->last = &e->by_cookie;
	WRITE_ONCE(e->dir, dir);
}

static void archil_listing_end(struct archil_listing *l)
{
	WRITE_ONCE(l->deleg, 0);
	l->gen++;
}

void archil_dir_unlist(struct dentry *dentry)
{
	struct archil_listed *e = &archil_name_of(dentry)->listed;
	struct archil_inode *dir;

	rcu_read_lock();
	while ((dir = READ_ONCE(e->dir))) {
		spin_lock(&dir->listing.lock);
		if (e->dir == dir)
			archil_listing_erase(&dir->listing, e);
		spin_unlock(&dir->listing.lock);
	}
	rcu_read_unlock();
}

void archil_listing_exit(struct inode *dir)
{
	struct archil_listing *l = &archil_i(dir)->listing;

	spin_lock(&l->lock);
	archil_listing_end(l);
	archil_listing_clear(l);
	spin_unlock(&l->lock);
}

/* ---- being complete ---- */

/* Did it never have an entry? What the server said since the grant is right: we have made none. */
static bool archil_dir_unused(struct archil_inode *dir, const struct archil_deleg *d)
{
	bool unused;

	spin_lock(&dir->lock);
	unused = dir->next_cookie == ARCHIL_COOKIE_FIRST && dir->commit >= d->commit &&
		 dir->commit >= dir->floor;
	spin_unlock(&dir->lock);
	return unused;
}

bool archil_dir_complete(struct inode *dir, u64 *commit)
{
	struct archil_listing *l = &archil_i(dir)->listing;
	u64 floor = READ_ONCE(archil_i(dir)->floor);
	struct archil_deleg *d;
	bool complete;

	smp_rmb(); /* what raised it may have ended this before: archil_across_done() */
	if (!READ_ONCE(l->deleg) && READ_ONCE(archil_i(dir)->next_cookie) != ARCHIL_COOKIE_FIRST)
		return false;
	d = archil_deleg_told(dir);
	if (d && READ_ONCE(l->deleg) != d->number && archil_dir_unused(archil_i(dir), d))
		archil_dir_read(dir, archil_dir_reading(dir, d->number), d->number);
	complete = d && READ_ONCE(d->state) <= ARCHIL_OWN_DRAINING &&
		   READ_ONCE(l->deleg) == d->number;
	if (complete)
		*commit = max(d->commit, floor);
	archil_deleg_put(d);
	return complete;
}

int archil_dir_lists(struct inode *dir)
{
	struct archil_listing *l = &archil_i(dir)->listing;
	int ret;

	/* A name leaves the listing after that has ended being complete. */
	spin_lock(&l->lock);
	ret = !l->deleg ? -EAGAIN : !RB_EMPTY_ROOT(&l->names);
	spin_unlock(&l->lock);
	return ret;
}

void archil_dir_begins(struct inode *dir, u64 number)
{
	WRITE_ONCE(archil_i(dir)->listing.deleg, number);
}

void archil_dir_incomplete(struct inode *dir)
{
	struct archil_listing *l = &archil_i(dir)->listing;

	spin_lock(&l->lock);
	archil_listing_end(l);
	spin_unlock(&l->lock);
}

u32 archil_dir_reading(struct inode *dir, u64 number)
{
	struct archil_listing *l = &archil_i(dir)->listing;
	u32 gen;

	spin_lock(&l->lock);
	gen = ++l->gen;
	/* What was listed under an earlier delegation may be gone. */
	if (!number || l->deleg != number) {
		WRITE_ONCE(l->deleg, 0);
		archil_listing_clear(l);
	}
	spin_unlock(&l->lock);
	return gen;
}

void archil_dir_read(struct inode *dir, u32 gen, u64 number)
{
	struct archil_listing *l = &archil_i(dir)->listing;

	spin_lock(&l->lock);
	if (l->gen == gen) {
		WRITE_ONCE(l->deleg, number);
		l->failed = 0;
	}
	spin_unlock(&l->lock);
}

bool archil_dir_undisturbed(struct inode *dir, u32 gen)
{
	return READ_ONCE(archil_i(dir)->listing.gen) == gen;
}

bool archil_dir_around_begin(struct inode *dir)
{
	struct archil_inode *ai = archil_i(dir);
	struct archil_listing *l = &ai->listing;
	u64 entries = READ_ONCE(ai->next_cookie) - ARCHIL_COOKIE_FIRST, asked;
	bool begin;

	if (entries > ARCHIL_DIR_PRIME || !archil_owned(dir))
		return false;
	spin_lock(&l->lock);
	asked = ++l->asked >> l->failed;
	begin = !l->reading_around && asked >= min_t(u64, entries, ARCHIL_AROUND_ASKED) &&
		asked >= entries / ARCHIL_AROUND_PART;
	if (begin) {
		l->reading_around = true;
		l->asked = 0;
	}
	spin_unlock(&l->lock);
	return begin;
}

void archil_dir_around_end(struct inode *dir, bool failed)
{
	struct archil_listing *l = &archil_i(dir)->listing;

	spin_lock(&l->lock);
	l->reading_around = false;
	if (failed && l->failed < ARCHIL_AROUND_FAILED)
		l->failed++;
	spin_unlock(&l->lock);
}

/* ---- entries ---- */

/* Locks the listing of @dir; the name is in none. */
static void archil_dir_lock_unlisted(struct inode *dir, struct dentry *dentry)
	__acquires(&archil_i(dir)->listing.lock)
{
	struct archil_listing *l = &archil_i(dir)->listing;

	for (;;) {
		archil_dir_unlist(dentry);
		spin_lock(&l->lock);
		/* Another reader of the directory may have been here. */
		if (!READ_ONCE(archil_name_of(dentry)->listed.dir))
			return;
		spin_unlock(&l->lock);
	}
}

void archil_dir_list(struct inode *dir, struct dentry *dentry, u64 cookie)
{
	struct archil_inode *ai = archil_i(dir);
	struct archil_listing *l = &ai->listing;

	archil_dir_lock_unlisted(dir, dentry);
	if (l->deleg)
		archil_listing_insert(ai, &archil_name_of(dentry)->listed, cookie);
	else
		l->gen++;
	spin_unlock(&l->lock);
}

void archil_dir_list_read(struct inode *dir, struct dentry *dentry, u64 cookie, u32 gen)
{
	struct archil_listed *e = &archil_name_of(dentry)->listed;
	struct archil_inode *ai = archil_i(dir);
	struct archil_listing *l = &ai->listing;

	if (READ_ONCE(e->dir) == ai && READ_ONCE(e->cookie) == cookie)
		return;
	archil_dir_lock_unlisted(dir, dentry);
	if (l->gen == gen)
		archil_listing_insert(ai, e, cookie);
	spin_unlock(&l->lock);
}

u64 archil_dir_cookie_of(struct dentry *dentry)
{
	struct archil_listed *e = &archil_name_of(dentry)->listed;

	return READ_ONCE(e->dir) ? e->cookie : 0;
}

static struct rb_node *archil_listing_above(struct archil_listing *l, u64 cookie)
{
	struct rb_node *node = l->names.rb_node, *found = NULL;

	while (node) {
		if (archil_listed_of(node)->cookie > cookie) {
			found = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

int archil_dir_next(struct inode *dir, u64 after, struct dentry **found, u64 *cookies,
		    unsigned int max)
{
	struct archil_listing *l = &archil_i(dir)->listing;
	int i, n = 0, got = 0;
	struct rb_node *node;

	rcu_read_lock();
	spin_lock(&l->lock);
	for (node = archil_listing_above(l, after); node && n < max; node = rb_next(node)) {
		found[n] = container_of(archil_listed_of(node), struct archil_name, listed)->dentry;
		cookies[n++] = archil_listed_of(node)->cookie;
	}
	spin_unlock(&l->lock);
	/* Not under the lock: it is taken with a dentry's held. */
	while (got < n && lockref_get_not_dead(&found[got]->d_lockref))
		got++;
	rcu_read_unlock();
	for (i = 0; i < got; i++)
		if (d_unhashed(found[i]) || d_is_negative(found[i]) ||
		    d_inode(found[i]->d_parent) != dir)
			break;
	if (i == n)
		return n;
	while (got--)
		dput(found[got]);
	archil_dir_incomplete(dir);
	return -EAGAIN;
}

/* SPDX-License-Identifier: GPL-2.0 */
/* Cached names: how long what a dentry says is believed. */
#ifndef ARCHIL_NAMES_H
#define ARCHIL_NAMES_H

#include <linux/dcache.h>

#include "complete.h"

struct archil_deleg;

/* A dentry's d_fsdata. */
struct archil_name {
	struct dentry *dentry;
	struct archil_listed listed;
	u64 commit;
	unsigned long expires;		/* jiffies */
	u32 epoch;			/* delegs->names_epoch when it was seen */
	bool primed;			/* it came from a listing, not from a lookup */
	struct rcu_head rcu;
};

static inline struct archil_name *archil_name_of(const struct dentry *dentry)
{
	return dentry->d_fsdata;
}

/* This dentry, positive or negative, is what the server said at a commit. */
void archil_name_seen(struct dentry *dentry, u64 commit);
/* The same, in a listing that was asked for then (jiffies). */
void archil_name_listed(struct dentry *dentry, u64 commit, unsigned long asked);
/* What the server said may not be so any more: ask. */
void archil_name_doubt(struct dentry *dentry);

/* It was asked for again, and is what it was. */
void archil_name_asked(struct dentry *dentry, u64 commit);
/* A directory that has not changed since @change is there, at @commit: then its name is right, too. */
void archil_name_confirm(struct dentry *dentry, u64 change, u64 commit, unsigned long asked);

/* Was that under this delegation? */
bool archil_name_under(struct dentry *dentry, const struct archil_deleg *d);

extern const struct dentry_operations archil_dentry_ops;

#endif /* ARCHIL_NAMES_H */
